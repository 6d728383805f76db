//! The adapter is rolled when it must be and when it may be, and nobody's metric is lost by it.

#[path = "support/chain.rs"]
mod chain;

use std::thread::sleep;
use std::time::Duration;

use chain::{CONTROLLER, OWN, QUICK, converges, keeps, leader, nim};
use nimscale_ground::product::{FOREIGN, condition, config, install, installed, nimscale, options, rolls};
use nimscale_ground::{Ground, eventually, inside};
use serde_json::{Value, json};

/// A NIM of somebody who scales it by hand, on the foreign rule.
const THEIR_HPA: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: theirs, namespace: nim}\nspec:\n  \
    scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: theirs}\n  minReplicas: 1\n  maxReplicas: 3\n  metrics:\n  - \
    {type: Pods, pods: {metric: {name: foreign_running}, target: {type: AverageValue, averageValue: \"100\"}}}\n";

#[test]
fn a_foreign_metric_is_never_lost() {
    inside("a_foreign_metric_is_never_lost", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        ground.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n");
        ground.fleet.each("num_requests_running", 5.0);
        ground.fleet.each("gpu_cache_usage_perc", 0.01);
        ground.install_adapter_with(FOREIGN, 2);
        ground.apply(&nim("theirs", ""));
        ground.apply(THEIR_HPA);
        eventually("their metric is served", || !ground.metric("nim", "foreign_running").is_empty());
        let watched = ground.never_loses("nim", "foreign_running");
        install(ground, &[]);
        eventually("their config was taken over", || config(ground).starts_with(FOREIGN));
        ground.point_adapter();
        eventually("the adapter serves the config", || !good(ground).is_null());
        presets_roll_nothing(ground);
        own_expressions_roll_seldom(ground);

        let bad = "- seriesQuery: up\n  name: {as: nimscale_bad}\n  metricsQuery: '<<'\n";
        write_config(ground, &format!("{}{bad}", config(ground)));
        eventually("a bad entry of ours is taken out", || !config(ground).contains("nimscale_bad"));
        converges(ground, "a bad entry");
        ground.kill("monitoring", &ground.running("monitoring", "prometheus-adapter")[0]);
        ground.kill(OWN, &leader(ground));
        eventually("two adapters run again", || {
            ground.get("deployment", "monitoring", "prometheus-adapter")["status"]["readyReplicas"] == 2
        });
        converges(ground, "restarts");

        ground.scales_to("deployment", "nim", "one", 1);
        let (out, talk, done) = nimscale(ground, &["uninstall"]);
        assert!(done, "{out}{talk}");
        println!("{talk}");
        assert!(
            talk.contains(" rules out of monitoring/nimscale-adapter-config; all others are as they were\n"),
            "{talk}"
        );
        assert_eq!(config(ground), FOREIGN, "their bytes, and no other");
        let named = |kind: &str| ground.kubectl(&["get", kind, "-n", "nim", "-o", "name"], "").out;
        assert_eq!(named("hpa"), "horizontalpodautoscaler.autoscaling/theirs\n");
        assert_eq!(named("scalingplans"), "");
        assert_eq!(ground.replicas("deployment", "nim", "one"), 1, "replicas are as they were");
        assert_eq!(ground.get("namespace", "", OWN)["status"]["phase"], "Active");
        assert!(ground.get("secret", OWN, "nimscale-webhook-tls").is_null());
        ground
            .kubectl(&["rollout", "status", "deployment/prometheus-adapter", "-n", "monitoring", "--timeout=30s"], "");
        sleep(Duration::from_secs(4));
        let listed = ground.raw("/apis/custom.metrics.k8s.io/v1beta1").unwrap_or_default().to_string();
        assert!(listed.contains("foreign_running") && !listed.contains("nimscale_"), "{listed}");
        drop(watched);
    });
}

/// Their rules are there from the first day: neither a write nor a roll.
fn presets_roll_nothing(ground: &Ground) {
    let before = (rolls(ground), config_writes(ground), config(ground));
    ground.apply(&nim("one", "nimscale.dev/scale: \"1..8\""));
    converges(ground, "a workload with presets");
    assert_eq!((rolls(ground), config_writes(ground), config(ground)), before);
}

/// Twenty expressions at once are a roll or two, at their distance; their end is none.
fn own_expressions_roll_seldom(ground: &Ground) {
    let (rolled, written) = (rolls(ground), config_writes(ground));
    let burst: Vec<String> = (0..20).map(|i| nim(&format!("burst-{i}"), &keeps(i))).collect();
    ground.apply(&burst.join("---\n"));
    converges(ground, "a burst of expressions");
    assert!((1..=2).contains(&(rolls(ground) - rolled)), "{} rolls", rolls(ground) - rolled);
    assert!(config_writes(ground) - written <= 2, "{} writes", config_writes(ground) - written);
    let at: Vec<_> = roll_times(ground);
    let near = at.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).min();
    assert!(near.is_none_or(|seconds| seconds >= 9), "{at:?}");

    let before = (rolls(ground), config_writes(ground), config(ground));
    for i in 0..20 {
        let deleted = ground.kubectl(&["delete", "deployment", &format!("burst-{i}"), "-n", "nim", "--wait=false"], "");
        assert!(deleted.accepted, "{}", deleted.err);
    }
    sleep(Duration::from_secs(12));
    assert_eq!((rolls(ground), config_writes(ground), config(ground)), before, "a removal alone");
}

fn good(ground: &Ground) -> Value {
    ground.get("configmap", "monitoring", "nimscale-adapter-state")["data"]["good.yaml"].clone()
}

fn config_writes(ground: &Ground) -> usize {
    let writes = ground.writes(CONTROLLER);
    writes.iter().filter(|write| write.name == "nimscale-adapter-config" && write.code < 300).count()
}

/// When the controller has rolled the adapter.
fn roll_times(ground: &Ground) -> Vec<k8s_openapi::jiff::Timestamp> {
    let writes = ground.writes(CONTROLLER).into_iter();
    writes.filter(|write| write.resource == "deployments" && write.code < 300).map(|write| write.at).collect()
}

fn write_config(ground: &Ground, text: &str) {
    patch(ground, "configmap/nimscale-adapter-config", &json!({"data": {"config.yaml": text}}));
}

fn patch(ground: &Ground, what: &str, patch: &Value) {
    let patched = ground.kubectl(&["patch", what, "-n", "monitoring", "--type=merge", "-p", &patch.to_string()], "");
    assert!(patched.accepted, "{}", patched.err);
}

fn patch_adapter(ground: &Ground, spec: &Value) {
    patch(ground, "deployment/prometheus-adapter", &json!({ "spec": spec }));
}

fn route(ground: &Ground, service: &str) {
    let spec = json!({"spec": {"service": {"name": service}}});
    patch(ground, "apiservice/v1beta1.custom.metrics.k8s.io", &spec);
}

fn fails(fails: Option<&str>) -> Value {
    json!({"template": {"metadata": {"annotations": {"ground/fails": fails}}}})
}

fn mounts(map: &str) -> Value {
    json!({"template": {"spec": {"volumes": [
        {"name": "config", "configMap": {"name": map}}, {"name": "tmp", "emptyDir": {}}]}}})
}

/// What keeps an adapter from being rolled: how it begins, what a new expression's plan says meanwhile, how it ends.
struct Hindrance {
    name: &'static str,
    begins: fn(&Ground),
    says: (&'static str, &'static str),
    ends: fn(&Ground),
}

const HINDRANCES: &[Hindrance] = &[
    Hindrance {
        name: "Prometheus is away before a roll",
        begins: Ground::stop_prometheus,
        says: ("PrometheusUnreachable", "NS0515: Prometheus does not answer: the adapter is not rolled"),
        ends: Ground::start_prometheus,
    },
    Hindrance {
        name: "the adapter's own rollout does not come up",
        begins: |ground| patch_adapter(ground, &fails(Some("true"))),
        says: ("AdapterNotReady", "NS0508: the newest pods of the adapter are not available: it is not rolled"),
        ends: |ground| patch_adapter(ground, &fails(None)),
    },
    Hindrance {
        name: "the strategy stops every pod",
        begins: |ground| patch_adapter(ground, &json!({"strategy": {"type": "Recreate", "rollingUpdate": null}})),
        says: (
            "AdapterStrategy",
            "NS0505: the adapter's strategy stops every pod in a roll: use RollingUpdate with maxUnavailable 0",
        ),
        ends: |ground| {
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
            patch_adapter(ground, &json!({ "strategy": strategy }));
        },
    },
    Hindrance {
        name: "the adapter reads another config",
        begins: |ground| patch_adapter(ground, &mounts("prometheus-adapter")),
        says: ("AdapterMismatch", "NS0507: the adapter does not read nimscale-adapter-config: set rules.existing"),
        ends: |ground| patch_adapter(ground, &mounts("nimscale-adapter-config")),
    },
    Hindrance {
        name: "the API leads elsewhere",
        begins: |ground| route(ground, "somebody"),
        says: (
            "AdapterMismatch",
            "NS0504: v1beta1.custom.metrics.k8s.io is served by monitoring/somebody, not by monitoring/prometheus-adapter",
        ),
        ends: |ground| route(ground, "prometheus-adapter"),
    },
    Hindrance {
        name: "the config does not load",
        begins: |ground| write_config(ground, &format!("{}- seriesquery: up\n", config(ground))),
        says: ("ConfigNotLoadable", "NS0501: adapter config not written: it does not load: line "),
        ends: |ground| write_config(ground, good(ground).as_str().expect("proved")),
    },
    Hindrance {
        name: "the config is reverted by hand three times",
        begins: |ground| {
            for _ in 0..3 {
                write_config(ground, FOREIGN);
                sleep(Duration::from_secs(2));
            }
            assert_eq!(config(ground), FOREIGN, "it is somebody's will");
        },
        says: (
            "ConfigContested",
            "NS0503: somebody reverts the adapter's config; stopped writing until our rules are back",
        ),
        ends: |ground| write_config(ground, good(ground).as_str().expect("proved")),
    },
];

#[test]
fn a_roll_that_must_wait_says_why() {
    inside("a_roll_that_must_wait_says_why", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, QUICK);
        ground.fleet.each("gpu_cache_usage_perc", 0.01);
        ground.fleet.each("num_requests_running", 1.0);
        ground.apply(&nim("a", &keeps(100)));
        converges(ground, "the first expression");
        for (number, Hindrance { name, begins, says: (reason, message), ends }) in HINDRANCES.iter().enumerate() {
            println!("{name}");
            begins(ground);
            let rolled = roll_times(ground).len();
            ground.apply(&nim("a", &keeps(number)));
            eventually(name, || {
                let (status, is, said) = published(ground, "a");
                status == "False" && is == *reason && said.starts_with(message)
            });
            let told = since(ground);
            sleep(Duration::from_secs(4));
            let (_, is, said) = published(ground, "a");
            assert_eq!((is.as_str(), said.starts_with(message)), (*reason, true), "{said}");
            assert!(said.chars().count() <= 120, "{said}");
            assert_eq!(roll_times(ground).len(), rolled, "{name}: nothing is rolled");
            assert_eq!(since(ground), told, "{name}: what stays as it is is said once");
            ends(ground);
            converges(ground, name);
        }
    });
}

/// A workload's word on its rules: the status, reason and message of `RulesPublished`.
fn published(ground: &Ground, name: &str) -> (String, String, String) {
    condition(ground, "nim", &format!("deployment.{name}"), "RulesPublished")
}

/// Since when a workload's rules have been told what they are told.
fn since(ground: &Ground) -> Value {
    let plan = ground.get("scalingplan", "nim", "deployment.a");
    let all = plan["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let published = all.into_iter().find(|condition| condition["type"] == "RulesPublished").unwrap_or_default();
    published["lastTransitionTime"].clone()
}

/// A rule of others that the adapter loads and cannot run by: it never becomes ready.
const FATAL: &str =
    "- seriesQuery: up\n  resources: {template: \"<<.Resource\"}\n  name: {as: fatal}\n  metricsQuery: up\n";

#[test]
fn a_roll_that_fails_is_taken_back() {
    inside("a_roll_that_fails_is_taken_back", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, QUICK);
        ground.fleet.each("gpu_cache_usage_perc", 0.01);
        ground.fleet.each("num_requests_running", 1.0);
        ground.apply(&nim("a", &keeps(0)));
        converges(ground, "the first expression");
        let watched = ground.never_loses("nim", "foreign_running");
        let proved = config(ground);
        let hpa = ground.get("hpa", "nim", "a-nimscale")["spec"].clone();
        write_config(ground, &proved.replacen(FOREIGN, &format!("{FOREIGN}{FATAL}"), 1));
        eventually("the adapter is rolled to it", || {
            config(ground) != proved && good(ground) != config(ground).as_str()
        });
        eventually("and back", || config(ground) == proved);
        let state = ground.get("configmap", "monitoring", "nimscale-adapter-state");
        assert!(state["data"]["refused.yaml"].as_str().is_some_and(|text| text.contains(FATAL)), "their edit is kept");
        assert_eq!(ground.get("hpa", "nim", "a-nimscale")["spec"], hpa);
        converges(ground, "a roll that failed");

        let mut foreign = String::new();
        for round in 0..20 {
            let rule = format!(
                "# round {round}\n- seriesQuery: up\n  resources: {{overrides: {{namespace: {{resource: namespace}}}}}}\n  name: {{as: theirs_{round}}}\n  metricsQuery: up\n"
            );
            foreign.push_str(&rule);
            if round % 5 == 0 {
                ground.apply(&nim("a", &keeps(round + 1)));
            }
            eventually("their edit meets no other", || edits(ground, &rule));
        }
        eventually("theirs and ours are proved", || {
            let config = config(ground);
            let rest = config.strip_prefix(FOREIGN).unwrap_or_default();
            let (kept, _): (Vec<&str>, Vec<&str>) = rest.lines().partition(|line| foreign.contains(line));
            let rule = ground.get("scalingplan", "nim", "deployment.a")["status"]["compiled"][0]["rule"].clone();
            kept.join("\n").contains(foreign.trim_end())
                && good(ground) == config.as_str()
                && config.contains(rule.as_str().unwrap_or("none"))
        });
        drop(watched);
    });
}

/// As an editor does: what was read, with a rule behind theirs, in the version that was read.
fn edits(ground: &Ground, rule: &str) -> bool {
    let map = ground.get("configmap", "monitoring", "nimscale-adapter-config");
    let text = map["data"]["config.yaml"].as_str().unwrap_or_default();
    // Ours begin with the first of our anchor.
    let at = text.match_indices("\n- ").map(|(at, _)| at + 1).find(|at| is_ours(&text[*at..])).unwrap_or(text.len());
    let text = format!("{}{rule}{}", &text[..at], &text[at..]);
    let edit =
        json!({"metadata": {"resourceVersion": map["metadata"]["resourceVersion"]}, "data": {"config.yaml": text}});
    let what = ["patch", "configmap/nimscale-adapter-config", "-n", "monitoring", "--type=merge", "-p"];
    ground.kubectl(&[&what[..], &[&edit.to_string()]].concat(), "").accepted
}

fn is_ours(rules: &str) -> bool {
    let rule = rules[1..].find("\n- ").map_or(rules, |end| &rules[..end]);
    rule.contains("as: nimscale_")
}

#[test]
fn what_is_kept_scales_on_without_nimscale() {
    inside("what_is_kept_scales_on_without_nimscale", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, QUICK);
        ground.fleet.total("gpu_cache_usage_perc", 0.05);
        ground.fleet.each("num_requests_running", 1.0);
        ground.apply(&nim("a", &format!("{}, nimscale.dev/behavior: \"down 2/2s after 0s\"", keeps(0))));
        converges(ground, "the first expression");
        let (out, talk, done) = nimscale(ground, &["uninstall", "--keep"]);
        assert!(done, "{out}{talk}");
        println!("{talk}");
        assert!(ground.running(OWN, "").is_empty(), "nothing of nimscale runs");
        let before = config(ground);
        ground.kill("monitoring", "prometheus-adapter");
        ground.fleet.total("gpu_cache_usage_perc", 0.7);
        ground.scales_to("deployment", "nim", "a", 3);
        ground.fleet.total("gpu_cache_usage_perc", 0.01);
        ground.scales_to("deployment", "nim", "a", 1);
        assert_eq!(config(ground), before);
        assert!(!ground.metric("nim", "foreign_running").is_empty());
    });
}
