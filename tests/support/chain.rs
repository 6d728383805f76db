//! Workloads with expressions of their own, and whether the whole chain holds: the oracle behind every fault.

use std::thread::sleep;
use std::time::Duration;

use nimscale_ground::Ground;
use serde_json::Value;

use nimscale_ground::product::{FOREIGN, condition, config};

/// The namespace of nimscale.
pub const OWN: &str = "nimscale-system";

/// The account of the controllers.
pub const CONTROLLER: &str = "system:serviceaccount:nimscale-system:nimscale-controller";

/// Rolls that follow each other closely.
pub const QUICK: &[&str] = &["--controller-arg", "--roll-interval=3s"];

/// A NIM in the namespace `nim` with an annotation or two, in the flow style of YAML.
pub fn nim(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: nim\n  annotations: {{{annotations}}}\n\
         spec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
         containers: [{{name: nim, image: \"nvcr.io/nim/meta/{name}:1\"}}]\n"
    )
}

/// An expression that no other number has.
pub fn keeps(number: usize) -> String {
    format!("nimscale.dev/keep: \"gpu_cache_usage_perc * {} < 0.5\"", number + 2)
}

/// The pod that holds the lease; empty when none does.
pub fn leader(ground: &Ground) -> String {
    let lease = ground.get("lease", OWN, "nimscale-controller");
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    holder.rsplit_once('_').map_or_else(String::new, |(pod, _)| pod.to_owned())
}

/// The chain of every annotated workload holds to its last link, and nothing of others was touched.
pub fn converges(ground: &Ground, after: &str) {
    let mut broken = String::new();
    for _ in 0..150 {
        match broken_link(ground) {
            None => return,
            Some(link) => broken = link,
        }
        sleep(Duration::from_millis(400));
    }
    let plans = ground.kubectl(&["get", "scalingplans", "-n", "nim", "-o", "yaml"], "").out;
    panic!("after {after}: {broken}\n{plans}");
}

/// What is not as it shall be.
fn broken_link(ground: &Ground) -> Option<String> {
    let config = config(ground);
    let Some(ours) = config.strip_prefix(FOREIGN) else { return Some("a byte of theirs has changed".to_owned()) };
    if ours.lines().any(|line| line.contains("as: ") && !line.contains("as: nimscale_")) {
        return Some("a rule behind theirs is not ours".to_owned());
    }
    let good = ground.get("configmap", "monitoring", "nimscale-adapter-state")["data"]["good.yaml"].clone();
    if good != config.as_str() {
        return Some("the config is not proved".to_owned());
    }
    let adapter = ground.get("deployment", "monitoring", "prometheus-adapter");
    let checksum = &adapter["spec"]["template"]["metadata"]["annotations"]["checksum/nimscale-config"];
    let rolled_to = checksum.as_str().unwrap_or_default().split('.').next().unwrap_or_default();
    if !config.contains(rolled_to) || adapter["status"]["updatedReplicas"] != adapter["status"]["replicas"] {
        return Some("the adapter is not rolled to it".to_owned());
    }
    let holder = leader(ground);
    if !ground.running(OWN, "nimscale-controller").contains(&holder) {
        return Some(format!("{holder:?} holds the lease and does not run"));
    }
    let list = |kind: &str| -> Vec<Value> {
        let listed = ground.kubectl(&["get", kind, "-n", "nim", "-o", "json"], "").out;
        let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
        listed["items"].as_array().cloned().unwrap_or_default()
    };
    let workloads: Vec<String> = list("deployments").iter().filter_map(annotated).collect();
    let plans = list("scalingplans").len();
    if plans != workloads.len() {
        return Some(format!("{plans} plans of {} workloads", workloads.len()));
    }
    workloads.iter().find_map(|name| broken_workload(ground, name, &config))
}

fn annotated(deployment: &Value) -> Option<String> {
    let annotations = deployment["metadata"]["annotations"].as_object()?;
    let ours = annotations.keys().any(|key| key.starts_with("nimscale.dev/"));
    ours.then(|| deployment["metadata"]["name"].as_str().map(str::to_owned))?
}

fn broken_workload(ground: &Ground, name: &str, config: &str) -> Option<String> {
    let (ready, reason, message) = condition(ground, "nim", &format!("deployment.{name}"), "Ready");
    if ready != "True" {
        return Some(format!("{name} is not ready: {reason} {message}"));
    }
    let plan = ground.get("scalingplan", "nim", &format!("deployment.{name}"));
    let hpa = ground.get("hpa", "nim", &format!("{name}-nimscale"));
    let names = |list: &Value, name: fn(&Value) -> &Value| -> Vec<String> {
        let all = list.as_array().into_iter().flatten().filter(|one| one["state"] != "Waiting");
        let mut names: Vec<String> = all.filter_map(|one| name(one).as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    let rules = names(&plan["status"]["compiled"], |metric| &metric["rule"]);
    let attached = names(&hpa["spec"]["metrics"], |metric| &metric["pods"]["metric"]["name"]);
    if rules.is_empty() || rules != attached {
        return Some(format!("{name}: the plan has {rules:?}, the HPA {attached:?}"));
    }
    let unserved = rules.iter().find(|rule| !config.contains(*rule) || ground.metric("nim", rule).is_empty());
    unserved.map(|rule| format!("{name}: {rule} is not served"))
}
