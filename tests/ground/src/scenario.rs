//! The NIM and the adapter that the scenarios are played with.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Ground;

/// The NIM, as people deploy it.
pub const NIM: &str = include_str!("../../../deploy/examples/nim-llm.yaml");

/// The name of its Deployment.
pub const NAME: &str = "meta-llama3-8b-instruct";

/// prometheus-adapter, as its chart installs it; it waits for the ConfigMap of [`config`].
pub const ADAPTER: &str = include_str!("../manifests/adapter.yaml");

/// The ConfigMap of nimscale with a config for the adapter.
pub fn config(config: &str) -> String {
    config_map("nimscale-adapter-config", config)
}

fn config_map(name: &str, config: &str) -> String {
    let indented: String = config.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: monitoring}}\ndata:\n  config.yaml: \
         |\n{indented}"
    )
}

/// What the chart calls what it installs, for a release of that name.
const CHART: &str = "prometheus-adapter";

/// What `nimscale render`, by its binary, prints for a manifest.
pub fn render(binary: &str, manifest: &str) -> String {
    let mut render = Command::new(binary)
        .args(["render", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    render.stdin.take().expect("piped").write_all(manifest.as_bytes()).expect("it listens");
    let output = render.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

impl Ground {
    /// Installs the adapter and the namespace of the NIM, which is quiet.
    pub fn install(&self) {
        self.apply(ADAPTER);
        self.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n");
        self.fleet.total("gpu_cache_usage_perc", 0.009);
    }

    /// Installs the adapter as a cluster has it before nimscale comes: its chart's own ConfigMap, with this config.
    pub fn install_adapter_with(&self, config: &str, replicas: u32) {
        let own = ADAPTER.replace("nimscale-adapter-config", CHART);
        let own = own.replace("  replicas: 1\n", &format!("  replicas: {replicas}\n"));
        self.apply(&own);
        self.apply(&config_map(CHART, config));
    }

    /// Points the adapter at the ConfigMap of nimscale, as its chart does with `rules.existing`.
    pub fn point_adapter(&self) {
        let patch = "{\"spec\": {\"template\": {\"spec\": {\"volumes\": [{\"name\": \"config\", \"configMap\": {\"name\": \
                     \"nimscale-adapter-config\"}}]}}}}";
        let patched = self.kubectl(&["patch", "deployment", CHART, "-n", "monitoring", "-p", patch], "");
        assert!(patched.accepted, "{}", patched.err);
    }

    /// The post's values in real time, with `kubectl get hpa -w` beside them: 1 → 3 → 1.
    pub fn in_real_time(&self) {
        let mut watch = self.kubectl_command().args(["get", "hpa", "-n", "nim", "-w"]).spawn().expect("kubectl runs");
        for quiet in [0.009, 0.008, 0.001, 0.033, 0.056, 0.039] {
            self.fleet.total("gpu_cache_usage_perc", quiet);
            sleep(Duration::from_secs(20));
        }
        assert_eq!(self.replicas("deployment", "nim", NAME), 1, "a quiet NIM stays alone");
        self.fleet.total("gpu_cache_usage_perc", 0.208);
        self.scales_within(Duration::from_secs(120), "deployment", "nim", NAME, 3);
        sleep(Duration::from_secs(40));
        self.fleet.total("gpu_cache_usage_perc", 0.293);
        sleep(Duration::from_secs(60));
        assert_eq!(self.replicas("deployment", "nim", NAME), 3, "a third each is under the target");
        self.fleet.total("gpu_cache_usage_perc", 0.007);
        self.scales_within(Duration::from_secs(1500), "deployment", "nim", NAME, 1);
        sleep(Duration::from_secs(30));
        watch.kill().and_then(|()| watch.wait()).expect("kubectl runs still");
    }

    /// The name of the first metric of an HPA in `nim`.
    pub fn metric_of(&self, hpa: &str) -> String {
        let hpa = self.get("hpa", "nim", hpa);
        hpa["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("one Pods metric").to_owned()
    }
}
