//! Install nimscale on a ground, and ask what it has made.

use std::process::Command;

use crate::{Ground, Options, eventually};

/// Where Prometheus answers on the ground.
const PROMETHEUS: &str = "--prometheus-url=http://127.0.0.1:9090";

/// A rule and a metric of somebody else.
pub const FOREIGN: &str = "rules:
# theirs: not a byte of it is ours
- seriesQuery: 'num_requests_running{namespace!=\"\",pod!=\"\"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: foreign_running}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
";

/// A ground on which pods of nimscale run this binary.
pub fn options(binary: &'static str) -> Options {
    Options { nimscale: Some(binary), ..Options::default() }
}

/// What `nimscale ARGS...` does with the cluster's kubeconfig: its output, its talk, whether it exited with 0.
pub fn nimscale(ground: &Ground, args: &[&str]) -> (String, String, bool) {
    let binary = ground.options.nimscale.expect("the options name a binary");
    let output = Command::new(binary).args(args).env("KUBECONFIG", &ground.kubeconfig).output();
    let output = output.expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.success())
}

/// Short waits, and whatever a test needs besides.
pub fn install(ground: &Ground, more: &[&str]) {
    let mut args = vec!["install", "--image=ground/nimscale", PROMETHEUS];
    for arg in [
        "--roll-interval=10s",
        "--roll-timeout=20s",
        "--relist=2s",
        "--poll=500ms",
        "--settle=300ms",
        "--lease=5s",
        "--grace=5s",
    ] {
        let flag = arg.split('=').next().expect("it splits into one at least");
        if !more.iter().any(|more| more.starts_with(flag)) {
            args.extend(["--controller-arg", arg]);
        }
    }
    args.extend(["--webhook-arg", "--grace=5s"]);
    args.extend(more);
    let (manifests, talk, done) = nimscale(ground, &args);
    assert!(done, "{talk}");
    let applied = ground.kubectl(&["apply", "--server-side", "-f", "-"], &manifests);
    assert!(applied.accepted, "{}", applied.err);
    // The definitions are served a moment after they are stored.
    eventually("every pod of nimscale is ready", || {
        let ready = |name: &str| ground.get("deployment", "nimscale-system", name)["status"]["readyReplicas"].as_u64();
        ready("nimscale-controller") >= Some(1) && ready("nimscale-webhook") >= Some(1)
    });
}

/// The adapter with a foreign rule, nimscale, and the one thing that a person does with the adapter's chart.
pub fn installed(ground: &Ground, more: &[&str]) {
    ground.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n");
    ground.install_adapter_with(FOREIGN, 1);
    install(ground, more);
    eventually("nimscale has taken over the adapter's config", || !config(ground).is_empty());
    ground.point_adapter();
    eventually("the adapter serves the config", || {
        ground.get("configmap", "monitoring", "nimscale-adapter-state")["data"]["good.yaml"].is_string()
    });
}

/// The adapter's config as it is now.
pub fn config(ground: &Ground) -> String {
    let map = ground.get("configmap", "monitoring", "nimscale-adapter-config");
    map["data"]["config.yaml"].as_str().unwrap_or_default().to_owned()
}

/// A condition of a workload's ScalingPlan: its status, reason and message.
pub fn condition(ground: &Ground, namespace: &str, plan: &str, type_: &str) -> (String, String, String) {
    let plan = ground.get("scalingplan", namespace, plan);
    let all = plan["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// How often the adapter was rolled: its ReplicaSets, but the first.
pub fn rolls(ground: &Ground) -> usize {
    let sets = ground.kubectl(&["get", "replicasets", "-n", "monitoring", "-o", "name"], "");
    sets.out.lines().filter(|line| line.contains("prometheus-adapter")).count().saturating_sub(1)
}
