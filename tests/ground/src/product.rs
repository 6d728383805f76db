//! Install nimscale on a ground, and ask what it has made.

use std::process::Command;

use crate::{Ground, eventually};

/// A rule and a metric of somebody else.
pub const FOREIGN: &str = "rules:
# theirs: not a byte of it is ours
- seriesQuery: 'num_requests_running{namespace!=\"\",pod!=\"\"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: foreign_running}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
";

/// The waits of a cluster, made short.
const SHORT: [&str; 7] = [
    "--roll-interval=10s",
    "--roll-timeout=20s",
    "--relist=2s",
    "--poll=500ms",
    "--settle=300ms",
    "--lease=5s",
    "--grace=5s",
];

impl Ground {
    /// What `nimscale ARGS...` says to the ground's cluster: its output, its talk, whether it exited with 0.
    pub fn nimscale(&self, args: &[&str]) -> (String, String, bool) {
        let binary = self.options.nimscale.expect("the options name a binary");
        let output =
            Command::new(binary).args(args).env("KUBECONFIG", &self.kubeconfig).output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.success())
    }

    /// `nimscale install | kubectl apply --server-side -f -`, with short waits; returns when its pods are ready.
    pub fn install_nimscale(&self, more: &[&str]) {
        let mut args = vec!["install", "--image=ground/nimscale", "--prometheus-url=http://127.0.0.1:9090"];
        args.extend(SHORT.into_iter().flat_map(|arg| ["--controller-arg", arg]));
        args.extend(["--webhook-arg", "--grace=5s"]);
        args.extend(more);
        let (manifests, talk, done) = self.nimscale(&args);
        assert!(done, "{talk}");
        let applied = self.kubectl(&["apply", "--server-side", "-f", "-"], &manifests);
        assert!(applied.accepted, "{}", applied.err);
        eventually("every pod of nimscale is ready", || {
            ["nimscale-controller", "nimscale-webhook"].iter().all(|name| {
                let status = &self.get("deployment", "nimscale-system", name)["status"];
                status["readyReplicas"].as_u64() >= Some(1)
            })
        });
    }

    /// The adapter with a foreign rule, nimscale, and the one thing that a person does with the adapter's chart.
    pub fn install_all(&self, more: &[&str]) {
        self.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n");
        self.install_adapter_with(FOREIGN, 1);
        self.install_nimscale(more);
        eventually("nimscale has taken over the adapter's config", || !self.adapter_config().is_empty());
        self.point_adapter();
        eventually("the adapter serves the config", || {
            self.get("configmap", "monitoring", "nimscale-adapter-state")["data"]["good.yaml"].is_string()
        });
    }

    /// The adapter's config as it is now.
    pub fn adapter_config(&self) -> String {
        let map = self.get("configmap", "monitoring", "nimscale-adapter-config");
        map["data"]["config.yaml"].as_str().unwrap_or_default().to_owned()
    }

    /// A condition of a ScalingPlan: its status, reason and message.
    pub fn condition(&self, namespace: &str, plan: &str, type_: &str) -> (String, String, String) {
        let plan = self.get("scalingplan", namespace, plan);
        let all = plan["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default();
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// How often the adapter was rolled: its ReplicaSets, but the first.
    pub fn rolls(&self) -> usize {
        let sets = self.kubectl(&["get", "replicasets", "-n", "monitoring", "-o", "name"], "");
        sets.out.lines().filter(|line| line.contains("prometheus-adapter")).count().saturating_sub(1)
    }
}
