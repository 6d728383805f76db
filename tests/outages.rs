//! Faults, one a line: whatever happens, the cluster comes to the same state, and one process at a time writes.

#[path = "support/chain.rs"]
mod chain;

use std::thread::sleep;
use std::time::Duration;

use chain::{CONTROLLER, OWN, QUICK, converges, keeps, leader, nim};
use nimscale_ground::product::{FOREIGN, config, installed, options, rolls};
use nimscale_ground::{Ground, eventually, inside};

/// What happens while a workload gets another expression.
type Fault = (&'static str, fn(&Ground));

const OF_PROCESSES: &[Fault] = &[
    ("the leader is killed", |ground| ground.kill(OWN, &leader(ground))),
    ("every controller is killed", |ground| ground.kill(OWN, "nimscale-controller")),
    ("the webhook is killed", |ground| ground.kill(OWN, "nimscale-webhook")),
    ("the adapter is killed", |ground| ground.kill("monitoring", "prometheus-adapter")),
    ("every connection is cut", Ground::cut_connections),
    ("the API server is away, and a workload goes meanwhile", api_server_is_away),
    ("Prometheus is away", |ground| {
        ground.stop_prometheus();
        sleep(Duration::from_secs(4));
        ground.start_prometheus();
    }),
    ("the leader sleeps for longer than its lease", leader_sleeps),
];

const OF_DATA: &[Fault] = &[
    ("the state, the lease and the plans are deleted", |ground| {
        delete(ground, &["configmap", "nimscale-adapter-state", "-n", "monitoring"]);
        delete(ground, &["lease", "nimscale-controller", "-n", OWN]);
        delete(ground, &["scalingplans", "--all", "-n", "nim"]);
    }),
    ("the config is deleted", |ground| delete(ground, &["configmap", "nimscale-adapter-config", "-n", "monitoring"])),
    ("an HPA of ours is deleted", |ground| delete(ground, &["hpa", "a-nimscale", "-n", "nim"])),
    ("an HPA of ours is edited", |ground| {
        patch(ground, &["hpa", "a-nimscale", "-n", "nim"], "{\"spec\": {\"maxReplicas\": 2}}");
    }),
    ("a bad entry of ours is written into the config", |ground| {
        write_config(
            ground,
            &format!("{}- seriesQuery: up\n  name: {{as: nimscale_bad}}\n  metricsQuery: '<<'\n", config(ground)),
        );
    }),
    ("the adapter is started with a config of others while no controller runs", started_with_what_others_wrote),
    ("a policy has a typo", policy_with_a_typo),
];

#[test]
fn processes_come_and_go() {
    inside("processes_come_and_go", options(env!("CARGO_BIN_EXE_nimscale")), |ground| every(ground, OF_PROCESSES));
}

#[test]
fn people_delete_and_edit() {
    inside("people_delete_and_edit", options(env!("CARGO_BIN_EXE_nimscale")), |ground| every(ground, OF_DATA));
}

fn every(ground: &Ground, faults: &[Fault]) {
    installed(ground, QUICK);
    ground.fleet.each("gpu_cache_usage_perc", 0.01);
    ground.fleet.each("num_requests_running", 1.0);
    ground.apply(&nim("steady", &keeps(1000)));
    for (number, (name, fault)) in faults.iter().enumerate() {
        ground.apply(&nim("a", &keeps(number)));
        println!("{name}");
        fault(ground);
        converges(ground, name);
    }
}

fn delete(ground: &Ground, what: &[&str]) {
    let deleted = ground.kubectl(&[&["delete", "--wait=false"], what].concat(), "");
    assert!(deleted.accepted, "{}", deleted.err);
}

fn patch(ground: &Ground, what: &[&str], patch: &str) {
    let patched = ground.kubectl(&[&["patch"], what, &["--type=merge", "-p", patch]].concat(), "");
    assert!(patched.accepted, "{}", patched.err);
}

/// As `kubectl edit` does: with the version that was read.
fn write_config(ground: &Ground, text: &str) {
    let data = serde_json::json!({"data": {"config.yaml": text}}).to_string();
    patch(ground, &["configmap", "nimscale-adapter-config", "-n", "monitoring"], &data);
}

fn api_server_is_away(ground: &Ground) {
    ground.apply(&nim("leaves", &keeps(500)));
    eventually("it has a plan", || !ground.get("scalingplan", "nim", "deployment.leaves").is_null());
    ground.refuse_connections(true);
    delete(ground, &["deployment", "leaves", "-n", "nim"]);
    ground.apply(&nim("arrives", &keeps(501)));
    sleep(Duration::from_secs(5));
    ground.refuse_connections(false);
    eventually("what came meanwhile is seen", || !ground.get("scalingplan", "nim", "deployment.arrives").is_null());
}

/// Another takes over, and the one that was asleep writes nothing any more.
fn leader_sleeps(ground: &Ground) {
    let first = leader(ground);
    ground.freeze(OWN, &first);
    ground.apply(&nim("a", &keeps(600)));
    eventually("another holds the lease", || leader(ground) != first);
    eventually("the other has written", || writers(ground).last().is_some_and(|last| *last != first));
    let written = writers(ground).iter().filter(|writer| **writer == first).count();
    ground.thaw(OWN, &first);
    ground.apply(&nim("a", &keeps(601)));
    converges(ground, "the leader was thawed");
    assert_eq!(writers(ground).iter().filter(|writer| **writer == first).count(), written, "it writes no more");
}

/// Which pods have written anything but the lease, in their order, each once for every turn of its own.
fn writers(ground: &Ground) -> Vec<String> {
    let writes = ground.writes(CONTROLLER).into_iter().filter(|write| write.resource != "leases" && write.code < 300);
    let pod = |agent: &str| agent.split_once('(').map(|(_, pod)| pod.trim_end_matches(')').to_owned());
    writes.filter_map(|write| pod(&write.agent)).collect()
}

fn started_with_what_others_wrote(ground: &Ground) {
    scale_controllers(ground, 0);
    let before = config(ground);
    write_config(ground, FOREIGN);
    let rolled = rolls(ground);
    let restarted = ground.kubectl(&["rollout", "restart", "deployment/prometheus-adapter", "-n", "monitoring"], "");
    assert!(restarted.accepted, "{}", restarted.err);
    eventually("the adapter has theirs alone", || {
        let steady = ground.get("hpa", "nim", "steady-nimscale");
        let metric = steady["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("one metric").to_owned();
        rolls(ground) > rolled && ground.metric("nim", &metric).is_empty()
    });
    assert_ne!(before, FOREIGN);
    scale_controllers(ground, 2);
}

fn scale_controllers(ground: &Ground, replicas: usize) {
    let count = format!("--replicas={replicas}");
    let scaled = ground.kubectl(&["scale", "deployment/nimscale-controller", "-n", OWN, &count], "");
    assert!(scaled.accepted, "{}", scaled.err);
    eventually("so many run", || ground.running(OWN, "nimscale-controller").len() == replicas);
}

/// The last good defaults stay with what they were attached to, and the policy says what is wrong with it.
fn policy_with_a_typo(ground: &Ground) {
    let policy = |preset: &str| {
        format!(
            "apiVersion: nimscale.dev/v1alpha1\nkind: ClusterScalingPolicy\nmetadata: {{name: house}}\nspec:\n  match: \
             {{workloadSelector: {{matchLabels: {{house: \"yes\"}}}}}}\n  defaults: {{metrics: [{{preset: {preset}, target: 60%}}]}}\n"
        )
    };
    ground.apply(&policy("kv-cache"));
    let labelled = nim("by-policy", "nimscale.dev/scale: \"1..3\"")
        .replace("  namespace: nim\n", "  namespace: nim\n  labels: {house: \"yes\"}\n");
    ground.apply(&labelled);
    converges(ground, "a policy came");
    let spec = |ground: &Ground| ground.get("hpa", "nim", "by-policy-nimscale")["spec"].clone();
    let before = spec(ground);
    ground.apply(&policy("kv-cachee"));
    eventually("the policy says what is wrong", || {
        let policy = ground.get("clusterscalingpolicy", "", "house");
        let ready = &policy["status"]["conditions"][0];
        ready["status"] == "False" && ready["message"].as_str().is_some_and(|said| said.starts_with("NS0224"))
    });
    sleep(Duration::from_secs(2));
    assert_eq!(spec(ground), before, "the last good defaults stay");
    ground.apply(&policy("kv-cache"));
}

/// Kills the one that writes as soon as its nth write is there: between the HPA and the plan, between the config and the
/// roll, during the trial.
#[test]
fn a_crash_behind_any_write_is_made_good() {
    inside("a_crash_behind_any_write_is_made_good", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, QUICK);
        ground.fleet.each("gpu_cache_usage_perc", 0.01);
        ground.fleet.each("num_requests_running", 1.0);
        for n in 1..=6 {
            let before = writers(ground).len();
            ground.apply(&nim("a", &keeps(n)));
            eventually("it has written so often", || writers(ground).len() >= before + n);
            ground.kill(OWN, &leader(ground));
            converges(ground, &format!("a kill behind write {n}"));
        }
    });
}
