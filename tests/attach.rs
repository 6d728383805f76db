//! When a workload gets its HPA, which metrics are in it, and whose it is: on a real cluster, step by step.

#[path = "support/history.rs"]
mod history;
#[path = "support/workload.rs"]
mod workload;

use std::thread::sleep;
use std::time::Duration;

use history::{ACTIVE, Followed, events};
use nimscale_ground::product::{condition, config, installed, nimscale, options, rolls};
use nimscale_ground::{Ground, Model, Names, eventually, inside, scenario};
use serde_json::{Value, json};
use workload::workload;

/// Two more at once and then none for a minute, whatever the load; down as fast as it goes.
const QUICK: &str = "up 2/60s; down 7/1s after 0s";

/// Again and again: an HPA that came down in two steps forgets the first of them, and counts its next rise wrongly.
const OFTEN: &str = "up 7/1s; down 7/1s after 0s";

#[test]
fn every_way_to_ask_scales_up_and_back() {
    inside("every_way_to_ask_scales_up_and_back", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        quiet(ground);
        installed(ground, &[]);
        let (before, rolled) = (config(ground), rolls(ground));
        apply(ground, &workload("Deployment", "nim", "l0", &[("scale", "1..8"), ("behavior", QUICK)]));
        ground.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: by-policy}\n");
        ground.apply(BY_POLICY);
        apply(ground, &workload("Deployment", "by-policy", "plain", &[]));
        attached(ground, "nim", "l0-nimscale", 2);
        attached(ground, "by-policy", "plain-nimscale", 1);
        assert_eq!((config(ground), rolls(ground)), (before, rolled), "no rule is new, and the adapter is not rolled");

        let three = [("scale", "1..3 kv-cache<75%"), ("keep", OWN), ("behavior", OFTEN)];
        apply(ground, &workload("StatefulSet", "nim", "three", &three));
        attached(ground, "nim", "three-nimscale", 3);
        assert_eq!(rolls(ground), rolled + 1, "free PromQL rolls it once");
        each_is_the_worst_in_turn(ground);
        told_once(ground);
        silent(ground);
    });
}

const OWN: &str = "backlog: sum by (pod) (num_requests_waiting) < 8\nbusy: sum by (pod) (num_requests_running) < 4";

const BY_POLICY: &str = r#"
apiVersion: nimscale.dev/v1alpha1
kind: ClusterScalingPolicy
metadata: {name: by-policy}
spec:
  mode: Enforce
  match:
    attach: Always
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: by-policy}}
  defaults:
    replicas: {min: 1, max: 5}
    metrics: [{preset: queue-depth, target: 4}]
    behavior: "up 2/60s; down 7/1s after 0s"
"#;

/// Every NIM reports its cache, its queue and what it works on, and has nothing to do.
fn quiet(ground: &Ground) {
    ground.fleet.each("gpu_cache_usage_perc", 0.01);
    ground.fleet.each("num_requests_running", 0.0);
    ground.fleet.each("num_requests_waiting", 0.0);
}

/// The others stay low while one is high: who has that metric scales up, and names it.
fn each_is_the_worst_in_turn(ground: &Ground) {
    let l0 = ("deployment", "nim", "l0");
    let (three, plain) = (("statefulset", "nim", "three"), ("deployment", "by-policy", "plain"));
    for (metric, high, who, spared) in [
        ("gpu_cache_usage_perc", 2.3, &[l0, three][..], Some(plain)),
        ("num_requests_waiting", 30.0, &[three, plain], None),
        ("num_requests_running", 20.0, &[three], Some(l0)),
    ] {
        ground.fleet.each(metric, high);
        for (kind, namespace, name) in who.iter().copied() {
            ground.scales_to(kind, namespace, name, 3);
            // Its status follows the step that it took.
            eventually(&format!("{name} says that it follows {metric}"), || {
                said_active(&ground.get("hpa", namespace, &format!("{name}-nimscale"))).contains(metric)
            });
        }
        if let Some((kind, namespace, name)) = spared {
            assert_eq!(ground.replicas(kind, namespace, name), 1, "{name} does not read {metric}");
        }
        quiet(ground);
        for (kind, namespace, name) in [l0, three, plain] {
            ground.scales_to(kind, namespace, name, 1);
        }
    }
}

/// What happened is told once each, however often the HPA looked since.
fn told_once(ground: &Ground) {
    let all = |namespace: &str, kind: &str, name: &str| -> Vec<String> {
        events(ground, namespace, kind, name).into_iter().map(|(reason, note)| format!("{reason}: {note}")).collect()
    };
    // Its first pod takes a moment to serve.
    let l0 = [
        "HPACreated: HPA l0-nimscale: kv-cache,queue-depth",
        "MetricRecovered: kv-cache,queue-depth",
        "MetricUnavailable: NS0441: no usable metric: kv-cache, queue-depth returned no value for this workload",
        "RulesPublished: kv-cache,queue-depth",
        "ScalingCompiled: kv-cache,queue-depth",
    ];
    assert_eq!(all("nim", "Deployment", "l0"), l0);
    let three: Vec<String> =
        events(ground, "nim", "StatefulSet", "three").into_iter().map(|(reason, _)| reason).collect();
    for reason in ["HPACreated", "RulesPublished", "ScalingCompiled"] {
        assert_eq!(three.iter().filter(|told| *told == reason).count(), 1, "{reason}: {three:?}");
    }
}

/// Nothing is written but the lease while nothing happens.
fn silent(ground: &Ground) {
    let written = || {
        let all = ground.writes("nimscale-controller");
        all.into_iter().filter(|write| write.resource != "leases").collect::<Vec<_>>()
    };
    // The last step down is still told by the controllers of the cluster.
    eventually("everybody has told what happened", || {
        let before = told(ground);
        sleep(Duration::from_secs(3));
        told(ground) == before
    });
    let (before, told) = (written(), told(ground));
    sleep(Duration::from_secs(10));
    let after = written();
    assert_eq!(&after[before.len()..], [], "nothing to write");
    assert_eq!(self::told(ground), told, "nothing to tell");
}

/// The names of all events, of whomever: they say what they are about.
fn told(ground: &Ground) -> Vec<String> {
    let got = ground.kubectl(&["get", "events", "-A", "-o", "name"], "");
    got.out.lines().map(str::to_owned).collect()
}

/// A window of ten seconds, so that an idle one is seen soon.
const FIRST_TOKEN: &str =
    "ttft: histogram_quantile(0.95, sum by (le, pod) (rate(time_to_first_token_seconds_bucket[10s]))) < 2.5";

#[test]
fn an_idle_latency_lets_it_shrink() {
    inside("an_idle_latency_lets_it_shrink", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        load_and_idle(ground, &[("scale", "1..8 queue-depth<8"), ("keep", FIRST_TOKEN), ("behavior", QUICK)], "10s");
        makes_before_it_breaks(ground);
    });
}

#[test]
#[ignore = "takes 3 minutes: the window of `ttft-p95` is 2; run it with --ignored --nocapture"]
fn an_idle_preset_of_a_latency_lets_it_shrink() {
    inside("an_idle_preset_of_a_latency_lets_it_shrink", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        load_and_idle(ground, &[("scale", "1..8 queue-depth<8 ttft-p95<2.5s"), ("behavior", QUICK)], "2m");
    });
}

/// Up by the latency of a load, down when there is none: then the quantile of nothing is NaN, and reads as 0.
fn load_and_idle(ground: &Ground, keys: &[(&str, &str)], window: &str) {
    let offer = |requests_per_second| {
        let (seconds_per_request, slots, names) = (2.0, 8.0, Names::Nim1);
        ground.fleet.offer(Model { requests_per_second, seconds_per_request, slots, names });
    };
    // Of 3 requests a second 6 hold a slot, and none waits.
    offer(3.0);
    apply(ground, &workload("Deployment", "nim", "busy", keys));
    attached(ground, "nim", "busy-nimscale", 2);
    let hpa = ground.get("hpa", "nim", "busy-nimscale");
    let named = |metric: &Value| metric["pods"]["metric"]["name"].as_str().map(str::to_owned);
    let mut names = hpa["spec"]["metrics"].as_array().into_iter().flatten().filter_map(named);
    let latency = names.find(|name| name.contains("first_token")).expect("the latency is in it");
    // 24 keep a pod's 8 slots so busy that 40 wait for 10 s; among three pods 8 wait for 2.
    offer(24.0);
    ground.scales_to("deployment", "nim", "busy", 3);
    offer(0.0);
    ground.scales_within(Duration::from_secs(240), "deployment", "nim", "busy", 1);
    let quantile =
        format!("histogram_quantile(0.95, sum by (le, pod) (rate(time_to_first_token_seconds_bucket[{window}])))");
    assert!(ground.query(&quantile).iter().any(|sample| sample["value"][1] == "NaN"), "nothing was served");
    eventually("the HPA reads 0", || {
        let values = ground.metric("nim", &latency);
        !values.is_empty() && values.iter().all(|(_, value)| value == "0")
    });
    assert!(said_active(&ground.get("hpa", "nim", "busy-nimscale")).contains("successfully"));
}

/// An expression takes the place of another once it has a value, and until then nothing is missing.
fn makes_before_it_breaks(ground: &Ground) {
    ground.fleet.each("load_a", 0.1);
    let keep = |text: &str| apply(ground, &workload("Deployment", "nim", "change", &[("keep", text)]));
    keep("load_a < 5");
    attached(ground, "nim", "change-nimscale", 1);
    let active = Followed::new(ground, "hpa", "nim", "change-nimscale", ACTIVE);
    keep("load_b < 5");
    let plan = "deployment.change";
    eventually("the adapter has the rule", || condition(ground, "nim", plan, "RulesPublished").0 == "True");
    eventually("the plan says what it waits for", || condition(ground, "nim", plan, "MetricsAvailable").1 == "Waiting");
    assert_eq!(metrics(ground, "change-nimscale"), ["load_a"], "the old one stays");
    ground.fleet.each("load_b", 0.1);
    eventually("the new one is in it", || metrics(ground, "change-nimscale") == ["load_b"]);
    eventually("the HPA reads it", || said_active(&ground.get("hpa", "nim", "change-nimscale")).contains("load_b"));
    assert_eq!(active.said(), ["True"], "it saw a metric all the time");
}

#[test]
fn a_metric_enters_with_its_first_value() {
    inside("a_metric_enters_with_its_first_value", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        ground.fleet.each("load_a", 0.1);
        installed(ground, &["--controller-arg", "--overdue=3s"]);
        // An embedding NIM: no cache, no queue.
        apply(ground, &workload("Deployment", "nim", "embed", &[("scale", "1..4")]));
        apply(ground, &workload("Deployment", "nim", "typo", &[("keep", "load_a < 5")]));
        attached(ground, "nim", "typo-nimscale", 1);
        let active = Followed::new(ground, "hpa", "nim", "typo-nimscale", ACTIVE);
        apply(ground, &workload("Deployment", "nim", "typo", &[("keep", "typo: laod_a < 5")]));

        let plan = "deployment.embed";
        let (status, reason, message) = condition(ground, "nim", plan, "MetricsAvailable");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NoUsableMetric"));
        assert_eq!(message, "NS0441: no usable metric: kv-cache, queue-depth returned no value for this workload");
        assert_eq!(condition(ground, "nim", plan, "Ready").1, "NoUsableMetric");
        assert_eq!(ground.get("hpa", "nim", "embed-nimscale"), Value::Null);

        ground.fleet.each("num_requests_waiting", 0.0);
        attached(ground, "nim", "embed-nimscale", 1);
        eventually("the plan says what is left out", || {
            condition(ground, "nim", plan, "MetricsAvailable").2
                == "kv-cache has no value for this workload, and is left out"
        });
        let states = ground.get("scalingplan", "nim", plan);
        let states = states["status"]["compiled"].as_array().cloned().unwrap_or_default();
        let states: Vec<(&Value, &Value)> = states.iter().map(|one| (&one["name"], &one["state"])).collect();
        assert_eq!(json!(states), json!([["kv-cache", "Waiting"], ["queue-depth", "Attached"]]));

        let plan = "deployment.typo";
        eventually("it is overdue", || condition(ground, "nim", plan, "MetricsAvailable").1 == "NoValue");
        let (status, _, message) = condition(ground, "nim", plan, "MetricsAvailable");
        assert_eq!(status, "False");
        assert_eq!(message, "NS0513: typo has no value for this workload yet; what was attached before stays");
        assert_eq!(metrics(ground, "typo-nimscale"), ["load_a"]);
        assert_eq!(active.said(), ["True"], "the old one is read all the time");
    });
}

#[test]
fn whose_a_workload_is() {
    inside("whose_a_workload_is", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        ground.fleet.each("gpu_cache_usage_perc", 0.01);
        ground.fleet.each("num_requests_waiting", 0.0);
        installed(ground, &[]);
        // Here the webhook is not asked, as while it is down: the controller alone holds to the rules.
        ground.apply(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: glass, labels: {nimscale.dev/admission: disabled}}\n",
        );
        another_hpa(ground);
        pods_of_two(ground);
        adoption(ground);
        a_rendered_hpa(ground);
        an_edit(ground);
        nim_operator(ground);
        another_owner(ground);
    });
}

fn foreign_hpa(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "glass"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1, "maxReplicas": 2,
            "metrics": [{"type": "Pods", "pods": {
                "metric": {"name": "foreign_running"}, "target": {"type": "AverageValue", "averageValue": "100"}}}],
        },
    })
}

/// What stands between a workload in `glass` and its HPA: reason and message.
fn stands_between(ground: &Ground, plan: &str, reason: &str) -> String {
    eventually(&format!("{plan} says {reason}"), || condition(ground, "glass", plan, "HPAReady").1 == reason);
    condition(ground, "glass", plan, "HPAReady").2
}

const KEYS: [(&str, &str); 1] = [("scale", "1..4 kv-cache")];

fn another_hpa(ground: &Ground) {
    apply(ground, &workload("Deployment", "glass", "taken", &[]));
    apply(ground, &foreign_hpa("theirs", "taken"));
    apply(ground, &workload("Deployment", "glass", "taken", &KEYS));
    let said = stands_between(ground, "deployment.taken", "HPAConflict");
    assert_eq!(said, "NS0411: taken is already managed by the HPA theirs (help: delete it, or nimscale.dev/adopt-hpa)");
    assert_eq!(ground.get("hpa", "glass", "taken-nimscale"), Value::Null, "no second one on the target");
    let note = ("HPAConflict".to_owned(), said);
    assert!(events(ground, "glass", "Deployment", "taken").contains(&note));
    let deleted = ground.kubectl(&["delete", "hpa", "theirs", "-n", "glass"], "");
    assert!(deleted.accepted, "{}", deleted.err);
    attached(ground, "glass", "taken-nimscale", 1);
}

fn pods_of_two(ground: &Ground) {
    apply(ground, &workload("Deployment", "glass", "first", &KEYS));
    attached(ground, "glass", "first-nimscale", 1);
    let mut second = workload("Deployment", "glass", "second", &KEYS);
    second["spec"]["template"]["metadata"]["labels"]["app"] = "first".into();
    second["spec"]["template"]["metadata"]["labels"]["part"] = "second".into();
    second["spec"]["selector"] = json!({"matchLabels": {"part": "second"}});
    apply(ground, &second);
    let said = stands_between(ground, "deployment.second", "SelectorOverlap");
    assert_eq!(
        said,
        "NS0412: second's pods are also selected by first, which HPA first-nimscale scales (help: distinct labels)"
    );
    assert_eq!(ground.get("hpa", "glass", "second-nimscale"), Value::Null);
    // A deletion of the workload takes its HPA and its plan along, and makes way for the other.
    delete(ground, "deployment", "first");
    eventually("its HPA and plan are gone", || {
        ground.get("hpa", "glass", "first-nimscale").is_null()
            && ground.get("scalingplan", "glass", "deployment.first").is_null()
    });
    attached(ground, "glass", "second-nimscale", 1);
}

fn adoption(ground: &Ground) {
    apply(ground, &workload("Deployment", "glass", "adopts", &[]));
    apply(ground, &foreign_hpa("old", "adopts"));
    let uid = ground.get("hpa", "glass", "old")["metadata"]["uid"].clone();
    apply(ground, &workload("Deployment", "glass", "adopts", &[KEYS[0], ("adopt-hpa", "old")]));
    let said = stands_between(ground, "deployment.adopts", "AdoptionRefused");
    assert_eq!(said, "NS0413: HPA old does not carry nimscale.dev/adoptable: \"true\" (help: annotate it)");
    let annotated = ground.kubectl(&["annotate", "hpa", "old", "-n", "glass", "nimscale.dev/adoptable=true"], "");
    assert!(annotated.accepted, "{}", annotated.err);
    eventually("it is ours", || {
        let hpa = ground.get("hpa", "glass", "old");
        hpa["metadata"]["ownerReferences"][0]["name"] == "adopts" && hpa["spec"]["maxReplicas"] == 4
    });
    assert_eq!(ground.get("hpa", "glass", "old")["metadata"]["uid"], uid, "the same object");
    // A key that names nothing later takes nothing away.
    apply(ground, &workload("Deployment", "glass", "adopts", &[("scale", "1..5 kv-cache"), ("adopt-hpa", "odl")]));
    eventually("it is still written", || ground.get("hpa", "glass", "old")["spec"]["maxReplicas"] == 5);
    assert_eq!(ground.get("hpa", "glass", "old")["metadata"]["uid"], uid, "the same object");
}

fn a_rendered_hpa(ground: &Ground) {
    let annotated = workload("Deployment", "glass", "rendered", &KEYS).to_string();
    let rendered = scenario::render(env!("CARGO_BIN_EXE_nimscale"), &annotated);
    let hpa = rendered.split("---\n").find(|document| document.contains("kind: HorizontalPodAutoscaler"));
    apply(ground, &workload("Deployment", "glass", "rendered", &[]));
    ground.apply(hpa.expect("it renders one"));
    attached(ground, "glass", "rendered-nimscale", 1);
    let before = ground.get("hpa", "glass", "rendered-nimscale");
    assert_eq!(before["metadata"]["ownerReferences"], Value::Null);
    let active = Followed::new(ground, "hpa", "glass", "rendered-nimscale", ACTIVE);
    ground.apply(&annotated);
    eventually("it is ours", || {
        let hpa = ground.get("hpa", "glass", "rendered-nimscale");
        hpa["metadata"]["ownerReferences"][0]["name"] == "rendered"
    });
    let after = ground.get("hpa", "glass", "rendered-nimscale");
    assert_eq!((&after["metadata"]["uid"], &after["spec"]), (&before["metadata"]["uid"], &before["spec"]));
    sleep(Duration::from_secs(3));
    assert_eq!(active.said(), ["True"]);
}

fn an_edit(ground: &Ground) {
    let hpa = "taken-nimscale";
    let selector =
        r#"[{"op": "add", "path": "/spec/metrics/0/pods/metric/selector", "value": {"matchLabels": {"a": "b"}}}]"#;
    for patch in [r#"[{"op": "replace", "path": "/spec/maxReplicas", "value": 9}]"#, selector] {
        let version = ground.get("hpa", "glass", hpa)["spec"].clone();
        let patched = ground.kubectl(&["patch", "hpa", hpa, "-n", "glass", "--type=json", "-p", patch], "");
        assert!(patched.accepted, "{}", patched.err);
        eventually("the edit is reverted", || ground.get("hpa", "glass", hpa)["spec"] == version);
    }
    eventually("both are told", || {
        let note = "HPA taken-nimscale was edited; nimscale.dev/paused is the way to hold replicas".to_owned();
        let told = events(ground, "glass", "Deployment", "taken");
        told.iter().filter(|event| **event == ("HPAReverted".to_owned(), note.clone())).count() == 2
    });
    delete(ground, "hpa", hpa);
    attached(ground, "glass", hpa, 1);
}

/// NIM Operator's kind, as far as it is read.
const NIM_SERVICES: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: nimservices.apps.nvidia.com}
spec:
  group: apps.nvidia.com
  scope: Namespaced
  names: {kind: NIMService, plural: nimservices, singular: nimservice}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

fn owned(ground: &Ground, name: &str, owner: &Value, keys: &[(&str, &str)]) {
    let mut workload = workload("Deployment", "glass", name, keys);
    workload["metadata"]["ownerReferences"] = json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true,
    }]);
    apply(ground, &workload);
}

/// The operator is installed while nimscale runs. What its Deployment says counts for nothing: the NIMService's keys do.
fn nim_operator(ground: &Ground) {
    ground.apply(NIM_SERVICES);
    let established = ["wait", "--for=condition=Established", "crd/nimservices.apps.nvidia.com"];
    assert!(ground.kubectl(&established, "").accepted);
    let service = json!({
        "apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMService",
        "metadata": {"name": "op", "namespace": "glass", "annotations": {"nimscale.dev/scale": "1..3 kv-cache"}},
        "spec": {"scale": {"enabled": false}},
    });
    apply(ground, &service);
    let service = ground.get("nimservices.apps.nvidia.com", "glass", "op");
    owned(ground, "op", &service, &[("scale", "1..2 kv-cache")]);
    attached(ground, "glass", "op-nimscale", 1);
    assert_eq!(ground.get("hpa", "glass", "op-nimscale")["spec"]["maxReplicas"], 3);
    for (set, path, code) in [
        (
            json!({"scale": {"enabled": true}}),
            "/spec/scale/enabled",
            "NS0422: NIMService op has its own HPA (scale.enabled)",
        ),
        (
            json!({"replicas": 2}),
            "/spec/replicas",
            "NS0421: NIM Operator resets replicas: NIMService op sets spec.replicas",
        ),
    ] {
        let patch = json!({"spec": set}).to_string();
        let patched = ground.kubectl(&["patch", "nimservice", "op", "-n", "glass", "--type=merge", "-p", &patch], "");
        assert!(patched.accepted, "{}", patched.err);
        let said = stands_between(ground, "deployment.op", "OwnerConflict");
        let help = format!(
            "kubectl -n glass patch nimservice op --type=json -p='[{{\"op\":\"remove\",\"path\":\"{path}\"}}]'"
        );
        assert_eq!(said, format!("{code} (help: {help})"));
        eventually("the HPA made way", || ground.get("hpa", "glass", "op-nimscale").is_null());
        // What it says is typed as it stands.
        let mut shell = std::process::Command::new("sh");
        let typed = help.replacen("kubectl", &ground.programs().join("kubectl").display().to_string(), 1);
        let ran = shell.args(["-c", &typed]).env("KUBECONFIG", ground.kubeconfig()).status();
        assert!(ran.is_ok_and(|status| status.success()), "{help}");
        attached(ground, "glass", "op-nimscale", 1);
    }
    // Started again, it knows the services before it judges: the HPA is the same one.
    let uid = ground.get("hpa", "glass", "op-nimscale")["metadata"]["uid"].clone();
    let started = ground.log("nimscale-system", "nimscale-controller").matches("holding the lease").count();
    ground.kill("nimscale-system", "nimscale-controller");
    eventually("one of them writes again", || {
        ground.log("nimscale-system", "nimscale-controller").matches("holding the lease").count() > started
    });
    sleep(Duration::from_secs(3));
    assert_eq!(ground.get("hpa", "glass", "op-nimscale")["metadata"]["uid"], uid);
}

fn another_owner(ground: &Ground) {
    ground.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owner, namespace: glass}\n");
    let owner = ground.get("configmap", "glass", "owner");
    owned(ground, "kept", &owner, &KEYS);
    let said = stands_between(ground, "deployment.kept", "OwnerConflict");
    assert_eq!(said, "NS0423: owned by ConfigMap owner: observed only (help: scale its owner)");
    assert_eq!(ground.get("hpa", "glass", "kept-nimscale"), Value::Null);
}

fn delete(ground: &Ground, kind: &str, name: &str) {
    let deleted = ground.kubectl(&["delete", kind, name, "-n", "glass", "--wait=false"], "");
    assert!(deleted.accepted, "{}", deleted.err);
}

#[test]
fn what_a_policy_gives_and_takes() {
    inside("what_a_policy_gives_and_takes", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        ground.fleet.each("num_requests_waiting", 0.0);
        installed(ground, &[]);
        ground.apply(&gold(6, ""));
        apply(ground, &workload("Deployment", "nim", "given", &[("scale", "auto"), ("policy", "gold")]));
        apply(ground, &stating("1..5"));
        attached(ground, "nim", "given-nimscale", 1);
        attached(ground, "nim", "own-nimscale", 1);
        who_set_what(ground);
        ceilings(ground);
        a_typo(ground);
        a_policy_that_is_gone(ground);
    });
}

/// Up to `max`, down by one in four seconds.
fn gold(max: u32, limits: &str) -> String {
    format!(
        "apiVersion: nimscale.dev/v1alpha1\nkind: ClusterScalingPolicy\nmetadata: {{name: gold}}\nspec:\n  priority: 10\n  \
         match: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: nim}}}}}}\n  defaults:\n    replicas: \
         {{min: 1, max: {max}}}\n    metrics: [{{preset: queue-depth, target: 4}}]\n    behavior: \"up 9/15s; down 1/4s after \
         0s\"\n  limits: {{{limits}}}\n"
    )
}

fn who_set_what(ground: &Ground) {
    eventually("both are ready", || {
        ["deployment.given", "deployment.own"].iter().all(|plan| condition(ground, "nim", plan, "Ready").0 == "True")
    });
    let (status, _, done) = nimscale(ground, &["status", "-n", "nim"]);
    assert!(done, "{status}");
    assert_eq!(
        status,
        "Deployment nim/given  1..6 (policy gold)\n  queue-depth < 4 (policy gold): attached\n√ annotations\n√ rules in the \
         adapter\n√ values\n√ HPA\n√ scaling\n\nDeployment nim/own  1..5 (annotation nimscale.dev/scale)\n  queue-depth < 4 \
         (annotation nimscale.dev/scale): attached\n√ annotations\n√ rules in the adapter\n√ values\n√ HPA\n√ scaling\n"
    );
    let columns = |args: &[&str]| -> Vec<Vec<String>> {
        let got = ground.kubectl(args, "");
        got.out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let plans = columns(&["get", "splan", "-n", "nim", "-o", "wide"]);
    assert_eq!(
        plans[0],
        ["NAME", "MIN", "MAX", "METRICS", "READY", "SCALING", "PAUSED", "POLICY", "AGE", "HPA", "REASON", "MESSAGE"]
    );
    assert_eq!(plans[1][..8], ["deployment.given", "1", "6", "queue-depth", "True", "True", "false", "gold"]);
    assert_eq!(plans[1][9..], ["given-nimscale", "Scaling"]);
    eventually("the policy is told whom it matches", || {
        let policies = columns(&["get", "cscale"]);
        policies[0] == ["NAME", "PRIORITY", "MODE", "MATCHED", "OVERRIDDEN", "READY"]
            && policies[1] == ["gold", "10", "2", "1", "True"]
    });
}

/// A policy's lower ceiling is walked down to; the author's own is obeyed at once.
fn ceilings(ground: &Ground) {
    ground.fleet.each("num_requests_waiting", 40.0);
    ground.scales_to("deployment", "nim", "given", 6);
    ground.scales_to("deployment", "nim", "own", 5);
    let given = Followed::new(ground, "hpa", "nim", "given-nimscale", ".spec.maxReplicas");
    let own = Followed::new(ground, "hpa", "nim", "own-nimscale", ".spec.maxReplicas");
    sleep(Duration::from_secs(1));
    let start = std::time::Instant::now();
    ground.apply(&gold(2, ""));
    apply(ground, &stating("1..2"));
    ground.scales_to("deployment", "nim", "own", 2);
    ground.scales_to("deployment", "nim", "given", 2);
    assert!(start.elapsed() >= Duration::from_secs(12), "three waits of four seconds lie between four steps");
    assert_eq!(own.said(), ["5", "2"], "the author's own is obeyed at once");
    assert_eq!(given.said(), ["6", "5", "4", "3", "2"], "a policy's is walked down to");
    ground.fleet.each("num_requests_waiting", 0.0);
}

/// What the schema cannot know and the compiler refuses: the last good one stays in force.
fn a_typo(ground: &Ground) {
    ground.apply(&gold(3, "query: {denyMetrics: [\"node_(.*\"]}"));
    let ready = || -> Value {
        let policy = ground.get("cscale", "default", "gold");
        policy["status"]["conditions"][0].clone()
    };
    eventually("the policy says what is wrong", || ready()["status"] == "False");
    assert_eq!(ready()["reason"], "Invalid");
    assert_eq!(
        ready()["message"],
        "NS0224: policy gold: denyMetrics: node_(.* is no pattern of names; the last good one stays (help: node_.*, and \
         metrics.source: PresetsOnly for all of them)"
    );
    assert_eq!(ground.get("hpa", "nim", "given-nimscale")["spec"]["maxReplicas"], 2);
    ground.apply(&gold(3, ""));
    eventually("it is mended", || ready()["status"] == "True");
    eventually("it is in force", || ground.get("hpa", "nim", "given-nimscale")["spec"]["maxReplicas"] == 3);
}

/// Whoever names a policy that is gone keeps what it gave.
fn a_policy_that_is_gone(ground: &Ground) {
    let plan = "deployment.given";
    let before = ground.get("hpa", "nim", "given-nimscale");
    let deleted = ground.kubectl(&["delete", "cscale", "gold"], "");
    assert!(deleted.accepted, "{}", deleted.err);
    eventually("the plan says so", || condition(ground, "nim", plan, "HPAReady").1 == "PolicyMissing");
    let said = condition(ground, "nim", plan, "HPAReady").2;
    assert_eq!(said, "NS0222: the policy that is named is gone: the HPA stays as it is");
    let said = condition(ground, "nim", plan, "Compiled").2;
    assert_eq!(said, "NS0222: no ClusterScalingPolicy gold is in force: observed until one is");
    let after = ground.get("hpa", "nim", "given-nimscale");
    assert_eq!((&after["metadata"]["uid"], &after["spec"]), (&before["metadata"]["uid"], &before["spec"]));
    assert_eq!(
        ground.get("scalingplan", "nim", plan)["status"]["replicas"],
        json!({"min": 1, "max": 3, "from": "policy gold"})
    );
    ground.apply(&gold(4, ""));
    eventually("it is back", || ground.get("hpa", "nim", "given-nimscale")["spec"]["maxReplicas"] == 4);
}

/// A workload that states its own range, and takes no policy's defaults.
fn stating(range: &str) -> Value {
    let scale = format!("{range} queue-depth<4");
    let behavior = ("behavior", "up 9/15s; down 1/4s after 0s");
    workload("Deployment", "nim", "own", &[("scale", &scale), ("policy", "none"), behavior])
}

fn apply(ground: &Ground, object: &Value) {
    ground.apply(&object.to_string());
}

/// Waits until an HPA has so many metrics and has read one.
fn attached(ground: &Ground, namespace: &str, hpa: &str, metrics: usize) {
    eventually(&format!("the HPA {hpa} has {metrics} metrics and reads them"), || {
        let hpa = ground.get("hpa", namespace, hpa);
        let count = |list: &Value| list.as_array().map_or(0, Vec::len);
        // A metric that was not read is an object, too.
        count(&hpa["spec"]["metrics"]) == metrics && said_active(&hpa).contains("successfully")
    });
}

/// What the names of an HPA's metrics say of themselves, without `nimscale_` and the hash.
fn metrics(ground: &Ground, hpa: &str) -> Vec<String> {
    let hpa = ground.get("hpa", "nim", hpa);
    let metrics = hpa["spec"]["metrics"].as_array().cloned().unwrap_or_default();
    let name = |metric: &Value| {
        let name = metric["pods"]["metric"]["name"].as_str()?.strip_prefix("nimscale_")?.rsplit_once('_')?.0.to_owned();
        Some(name)
    };
    metrics.iter().filter_map(name).collect()
}

/// What an HPA says of `ScalingActive`.
fn said_active(hpa: &Value) -> String {
    let conditions = hpa["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let active = conditions.into_iter().find(|one| one["type"] == "ScalingActive").unwrap_or_default();
    active["message"].as_str().unwrap_or_default().to_owned()
}
