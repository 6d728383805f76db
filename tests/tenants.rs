//! What a tenant cannot get by what he writes: an HPA without the right to one, and a value of another namespace.

#[path = "support/workload.rs"]
mod workload;

use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nimscale_ground::product::{condition, config, installed, options};
use nimscale_ground::{Applied, Ground, eventually, inside};
use serde_json::{Value, json};
use workload::workload;

/// What the victim's NIM reports, and nobody else.
const SECRET: &str = "777m";

/// Two accounts in the tenant's namespaces: both write workloads, and one of them HPAs, too. None has any right elsewhere.
const TENANTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: victim}
---
apiVersion: v1
kind: Namespace
metadata: {name: tenant}
---
# Here the webhook is not asked, as while it is down.
apiVersion: v1
kind: Namespace
metadata: {name: unasked, labels: {nimscale.dev/admission: disabled}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: tenant}
rules:
- {apiGroups: [apps], resources: ["*"], verbs: ["*"]}
- {apiGroups: [autoscaling], resources: ["*"], verbs: ["*"]}
- {apiGroups: [custom.metrics.k8s.io], resources: ["*"], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: writer}
rules:
- {apiGroups: [apps], resources: ["*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant}
subjects: [{kind: ServiceAccount, name: tenant, namespace: tenant}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: unasked}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant}
subjects: [{kind: ServiceAccount, name: tenant, namespace: tenant}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: writer, namespace: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writer}
subjects: [{kind: ServiceAccount, name: writer, namespace: tenant}]
"#;

#[test]
fn a_tenant_gets_nothing_that_is_not_his() {
    inside("a_tenant_gets_nothing_that_is_not_his", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        // The first pod of all is the victim's, the last that of a name like another's.
        let late = Arc::new(OnceLock::new());
        let after = Arc::clone(&late);
        ground.fleet.replay("gpu_cache_usage_perc", move |pod, age| {
            let is_late = after.get().is_some_and(|late: &Instant| age < late.elapsed());
            Some(if pod == 0 {
                0.777
            } else if is_late {
                0.555
            } else {
                0.01
            })
        });
        ground.apply(TENANTS);
        ground.apply(&workload("Deployment", "victim", "prey", &[("scale", "1..4 kv-cache")]).to_string());
        eventually("the victim's NIM serves", || {
            !ground.query("gpu_cache_usage_perc{namespace=\"victim\"} == 0.777").is_empty()
        });
        installed(ground, &[]);
        eventually("the victim's own HPA reads it", || {
            ground.get("hpa", "victim", "prey-nimscale").to_string().contains(SECRET)
        });
        without_the_right(ground);
        let accepted = annotations(ground);
        served(ground, &accepted);
        his_own_hpas(ground);
        by_hand(ground);
        names_like_patterns(ground, &late);
        nothing_leaked(ground);
    });
}

fn as_account(ground: &Ground, account: &str, args: &[&str], input: &str) -> Applied {
    ground.kubectl(&[args, &[&format!("--as=system:serviceaccount:tenant:{account}")]].concat(), input)
}

fn without_the_right(ground: &Ground) {
    let message =
        "NS0416 nimscale.dev annotations need the right to create horizontalpodautoscalers in this namespace\n";
    for kind in ["Deployment", "StatefulSet"] {
        let annotated = workload(kind, "tenant", "mine", &[("scale", "1..4")]).to_string();
        let did = as_account(ground, "writer", &["apply", "-f", "-"], &annotated);
        assert!(!did.accepted && did.err.ends_with(message), "{}{}", did.out, did.err);
        let bare = workload(kind, "tenant", "mine", &[]).to_string();
        let did = as_account(ground, "writer", &["apply", "-f", "-"], &bare);
        assert!(did.accepted, "{}", did.err);
        let annotate = ["annotate", kind, "mine", "-n", "tenant", "nimscale.dev/scale=1..4"];
        let did = as_account(ground, "writer", &annotate, "");
        assert!(!did.accepted && did.err.ends_with(message), "{}{}", did.out, did.err);
    }
    assert_eq!(hpas(ground, "tenant"), [] as [Value; 0]);
}

/// What he writes in `keep`, and the code that refuses it; `None` is no mistake, and reads what is his.
const ATTACKS: &[(&str, &str, Option<&str>)] = &[
    ("other", "gpu_cache_usage_perc{namespace=\"victim\"} < 0.1", Some("NS0340")),
    ("pattern", "gpu_cache_usage_perc{namespace=~\"vic.*\"} < 0.1", Some("NS0340")),
    ("every", "gpu_cache_usage_perc{namespace=~\".*\"} < 0.1", Some("NS0362")),
    ("not-mine", "gpu_cache_usage_perc{namespace!=\"unasked\"} < 0.1", Some("NS0340")),
    ("relabelled", "gpu_cache_usage_perc{exported_namespace=\"\",namespace!=\"\"} < 0.1", Some("NS0340")),
    ("or", "(sum by (pod) (absent_metric) or sum by (pod) (gpu_cache_usage_perc)) < 0.1", None),
    (
        "widened",
        "(sum by (pod) (absent_metric) or max without (namespace) (gpu_cache_usage_perc)) < 0.1",
        Some("NS0321"),
    ),
    ("template", "gpu_cache_usage_perc{model_name!=\"<<.LabelMatchers>>\"} < 0.1", None),
    ("braces", "gpu_cache_usage_perc{model_name!=\"{{ .Series }}<<end>>\"} < 0.1", None),
    (
        "quotes",
        r#"gpu_cache_usage_perc{model_name!="\"} or gpu_cache_usage_perc{namespace=\"victim\"} or x{a=\""} < 0.1"#,
        None,
    ),
    ("backslash", r#"gpu_cache_usage_perc{model_name!="\\"} < 0.1"#, None),
    ("newline", r#"gpu_cache_usage_perc{model_name!="a\n- seriesQuery: x\r\n\u2028'"} < 0.1"#, None),
    ("ticks", "gpu_cache_usage_perc{model_name!=`\"} or gpu_cache_usage_perc{namespace=\"victim\"`} < 0.1", None),
    ("replace", "label_replace(gpu_cache_usage_perc, \"namespace\", \"unasked\", \"\", \"\") < 0.1", Some("NS0341")),
    ("nameless", "max by (pod) ({__name__=~\".+\"}) < 0.1", Some("NS0342")),
    ("subquery", "max_over_time(max by (pod) (gpu_cache_usage_perc)[1m:15s]) < 0.1", None),
    ("offset", "max_over_time(gpu_cache_usage_perc[10s] offset 1s) < 0.1", None),
    ("at-end", "max_over_time(gpu_cache_usage_perc[10s] @ end()) < 0.1", None),
    ("at", "gpu_cache_usage_perc @ 0 < 0.1", Some("NS0350")),
    ("document", "a: gpu_cache_usage_perc < 0.1\n---\nrules: [{seriesQuery: gpu_cache_usage_perc}]", Some("NS")),
    ("alias", "*victim < 0.1", Some("NS")),
    ("comment", "a: gpu_cache_usage_perc < 0.1 # }\"'\nb: gpu_cache_usage_perc < 0.2", None),
];

/// Each is refused in his namespace, or compiled; where nobody asks, the controller says the same. The names of those
/// that were compiled.
fn annotations(ground: &Ground) -> Vec<&'static str> {
    let mut accepted = Vec::new();
    for (name, keep, code) in ATTACKS {
        let asked = workload("Deployment", "tenant", name, &[("keep", keep)]).to_string();
        let did = as_account(ground, "tenant", &["apply", "--dry-run=server", "-f", "-"], &asked);
        match code {
            Some(code) => {
                assert!(
                    !did.accepted && did.err.contains(&format!("denied the request: {code}")),
                    "{name}: {}",
                    did.err
                );
            }
            None => assert!(did.accepted, "{name}: {}", did.err),
        }
        let unasked = workload("StatefulSet", "unasked", name, &[("keep", keep)]).to_string();
        let did = as_account(ground, "tenant", &["apply", "-f", "-"], &unasked);
        assert!(did.accepted, "{name}: {}", did.err);
        if code.is_none() {
            accepted.push(*name);
        }
    }
    let adopts =
        workload("StatefulSet", "unasked", "adopts", &[("scale", "1..4 kv-cache"), ("adopt-hpa", "prey-nimscale")]);
    assert!(as_account(ground, "tenant", &["apply", "-f", "-"], &adopts.to_string()).accepted);
    eventually("he adopts nothing that is not his", || {
        condition(ground, "unasked", "statefulset.adopts", "HPAReady").2
            == "NS0413: no HPA prey-nimscale targets adopts (help: the name of one, or delete the key)"
    });
    for (name, _, code) in ATTACKS.iter().filter_map(|(name, keep, code)| Some((name, keep, (*code)?))) {
        let plan = format!("statefulset.{name}");
        eventually(&format!("{name} is refused by the controller, too"), || {
            let (status, reason, message) = condition(ground, "unasked", &plan, "Compiled");
            (status.as_str(), reason.as_str()) == ("False", "Invalid") && message.starts_with(code)
        });
        assert!(ground.get("hpa", "unasked", &format!("{name}-nimscale")).is_null(), "{name}");
    }
    accepted
}

/// What compiled is served by the real adapter, with the values of his own pods.
fn served(ground: &Ground, accepted: &[&str]) {
    for name in accepted {
        eventually(&format!("{name} reads its own pod"), || {
            let hpa = ground.get("hpa", "unasked", &format!("{name}-nimscale"));
            hpa["status"]["currentMetrics"][0]["pods"]["current"]["averageValue"] == "10m"
        });
    }
    assert!(!config(ground).contains("victim\"}"), "no rule selects another namespace");
}

/// HPAs that he writes himself, on a metric of ours that reads the victim's pods for the victim.
fn his_own_hpas(ground: &Ground) {
    let prey = ground.get("hpa", "victim", "prey-nimscale");
    let metric = prey["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("a Pods metric").to_owned();
    let pod = ground.metric("victim", &metric)[0].0.clone();
    let target = json!({"type": "AverageValue", "averageValue": "1"});
    let value = json!({"type": "Value", "value": "1"});
    let of = |selector: Value| json!({"name": metric, "selector": {"matchLabels": selector}});
    let object = |kind: &str, version: &str, name: &str| {
        json!({"type": "Object", "object": {
            "describedObject": {"kind": kind, "apiVersion": version, "name": name}, "metric": {"name": metric}, "target": value}})
    };
    let hostile = "zz\"} or gpu_cache_usage_perc{namespace=\"victim\",pod!~\"zz";
    let metrics = [
        json!({"type": "Pods", "pods": {"metric": of(json!({"namespace": "victim"})), "target": target}}),
        json!({"type": "Pods", "pods": {"metric": of(json!({"pod": pod})), "target": target}}),
        object("Pod", "v1", &pod),
        object("Namespace", "v1", "victim"),
        object("Pod", "v1", ".*"),
        object("Pod", "v1", "x|.*"),
        object("Deployment", "apps/v1", "prey"),
        object("Pod", "v1", hostile),
        object("Pod", "v1", "../../victim/pods/prey"),
    ];
    for (at, metric) in metrics.iter().enumerate() {
        let bare = workload("Deployment", "unasked", &format!("own-{at}"), &[]).to_string();
        assert!(as_account(ground, "tenant", &["apply", "-f", "-"], &bare).accepted);
        let hpa = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": format!("own-{at}"), "namespace": "unasked"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("own-{at}")},
                "maxReplicas": 2, "metrics": [metric],
            },
        });
        let did = as_account(ground, "tenant", &["apply", "-f", "-"], &hpa.to_string());
        // A name that no path can have is refused by the API server itself.
        if !did.accepted {
            println!("own-{at}: {}", did.err);
            continue;
        }
        eventually(&format!("own-{at} has looked"), || {
            let hpa = ground.get("hpa", "unasked", &format!("own-{at}"));
            hpa["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["type"] == "ScalingActive"))
        });
    }
}

/// What he asks the metrics API himself.
fn by_hand(ground: &Ground) {
    let prey = ground.get("hpa", "victim", "prey-nimscale");
    let metric = prey["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("a Pods metric").to_owned();
    let base = "/apis/custom.metrics.k8s.io/v1beta1/namespaces";
    let get = |path: &str| as_account(ground, "tenant", &["get", "--raw", path], "");
    let own = get(&format!("{base}/unasked/pods/*/{metric}"));
    assert!(own.accepted && own.out.contains("10m"), "his own he reads: {}{}", own.out, own.err);
    for path in [format!("{base}/victim/pods/*/{metric}"), format!("{base}/victim/metrics/{metric}")] {
        let did = get(&path);
        assert!(!did.accepted && did.err.contains("(Forbidden)"), "{path}: {}{}", did.out, did.err);
    }
    for path in [
        format!("{base}/unasked/pods/*/{metric}?metricLabelSelector=namespace%3Dvictim"),
        format!("{base}/unasked/pods/*/{metric}?metricLabelSelector=namespace%20in%20(victim,unasked)"),
        format!("{base}/unasked/pods/*/{metric}?labelSelector=app%3Dprey"),
        format!("{base}/unasked/pods/.*/{metric}"),
        format!("{base}/unasked/pods/x%7C.*/{metric}"),
        format!("{base}/unasked/pods/%22%7D%20or%20gpu_cache_usage_perc%7Bnamespace%3D%22victim/{metric}"),
        format!("{base}/unasked/metrics/{metric}"),
    ] {
        let did = get(&path);
        assert!(!did.out.contains(SECRET), "{path}: {}", did.out);
    }
}

/// A dot in a name is any character in a pattern, and still only itself.
fn names_like_patterns(ground: &Ground, late: &OnceLock<Instant>) {
    let dotted = workload("Deployment", "unasked", "a.b", &[("scale", "1..4 kv-cache")]);
    let did = as_account(ground, "tenant", &["apply", "-f", "-"], &dotted.to_string());
    assert!(did.accepted, "{}", did.err);
    let read =
        || ground.get("hpa", "unasked", "a.b-nimscale")["status"]["currentMetrics"][0]["pods"]["current"].clone();
    eventually("its HPA reads a value", || read()["averageValue"] == "10m");
    let pods = ground.kubectl(&["get", "pods", "-n", "unasked", "-l", "app=a.b", "-o", "name"], "").out;
    let pod = pods.trim().strip_prefix("pod/").expect("one pod");
    late.set(Instant::now()).expect("once");
    let alike = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.replacen('.', "-", 1), "namespace": "unasked"},
        "spec": dotted["spec"]["template"]["spec"],
    });
    ground.apply(&alike.to_string());
    let hpa = ground.get("hpa", "unasked", "a.b-nimscale");
    let metric = hpa["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("a Pods metric");
    eventually("a pod of a name like it is read, too", || {
        let pods = ground.metric("unasked", metric);
        let of = |name: &str| pods.iter().find(|(pod, _)| pod == name).map(|(_, value)| value.clone());
        of(&pod.replacen('.', "-", 1)).as_deref() == Some("555m") && of(pod).as_deref() == Some("10m")
    });
    sleep(Duration::from_secs(3));
    assert_eq!(read()["averageValue"], "10m", "the HPA of a.b reads its own pod");
}

fn hpas(ground: &Ground, namespace: &str) -> Vec<Value> {
    let got = ground.kubectl(&["get", "hpa", "-n", namespace, "-o", "json"], "");
    let got: Value = serde_json::from_str(&got.out).expect("a list");
    got["items"].as_array().cloned().expect("a list")
}

/// No HPA of his shows it, nor any plan or Event; the victim's own still does.
fn nothing_leaked(ground: &Ground) {
    for kind in ["hpa", "splan", "events", "statefulset", "deployment"] {
        for namespace in ["tenant", "unasked"] {
            let got = ground.kubectl(&["get", kind, "-n", namespace, "-o", "json"], "");
            assert!(got.accepted && !got.out.contains(SECRET), "{kind} of {namespace}");
        }
    }
    for name in ground.kubectl(&["get", "hpa", "-n", "unasked", "-o", "name"], "").out.lines() {
        println!("{name}");
    }
    assert!(hpas(ground, "victim")[0].to_string().contains(SECRET), "the value is there to be found");
}
