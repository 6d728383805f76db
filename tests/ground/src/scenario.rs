//! The NIM and the adapter that the scenarios are played with.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::Ground;

/// The NIM, as people deploy it.
pub const NIM: &str = include_str!("../../../deploy/examples/nim-llm.yaml");

/// prometheus-adapter, as its chart installs it; it waits for the ConfigMap of [`config`].
pub const ADAPTER: &str = include_str!("../manifests/adapter.yaml");

/// The adapter's ConfigMap with a config.
pub fn config(config: &str) -> String {
    let indented: String = config.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: nimscale-adapter-config, namespace: monitoring}}\ndata:\n  \
         config.yaml: |\n{indented}"
    )
}

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

    /// The name of the first metric of an HPA in `nim`.
    pub fn metric_of(&self, hpa: &str) -> String {
        let hpa = self.get("hpa", "nim", hpa);
        hpa["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("one Pods metric").to_owned()
    }
}
