//! Figures of the whole on a real control plane. Nothing is asserted about time: what is printed is the result.
//!
//! ```sh
//! cargo test --release --test figures -- --ignored --nocapture --test-threads=1
//! ```
//!
//! The peer is what people write by themselves: a handler in Python (kopf) that makes the HPA of a Deployment, and nothing
//! else: `python3 -m pip install kopf kubernetes`.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nimscale_ground::product::{config, installed, options, rolls};
use nimscale_ground::{Ground, eventually, inside};

/// A NIM of this number, with these annotations; it has no replicas, so that only the control plane is measured.
fn nim(number: usize, annotations: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: nim-{number}\n  namespace: nim\n  labels: {{measured: \
         \"true\"}}\n  annotations: {{{annotations}}}\nspec:\n  replicas: 0\n  selector: {{matchLabels: {{app: nim-{number}}}}}\n  \
         template:\n    metadata: {{labels: {{app: nim-{number}}}}}\n    spec:\n      containers:\n      - name: nim\n        \
         image: nvcr.io/nim/meta/llama3-8b-instruct:1.0.3\n---\n"
    )
}

const OWN: &str = "nimscale.dev/scale: \"1..8\", nimscale.dev/keep: \"gpu_cache_usage_perc < 0.1\"";

#[test]
#[ignore = "figures, by hand: see the top of this file"]
fn from_apply_to_hpa_beside_a_peer() {
    inside("from_apply_to_hpa_beside_a_peer", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        ground.apply(&nim(0, OWN));
        eventually("the first HPA is there", || !ground.get("hpa", "nim", "nim-0-nimscale").is_null());
        let mut peer = Peer::start(ground);
        ground.apply(&nim(0, "peer.example/hpa: \"true\""));
        eventually("the peer's first HPA is there", || !ground.get("hpa", "nim", "nim-0-peer").is_null());
        for round in 0..2 {
            let first = 1 + round * 100;
            for number in first..first + 50 {
                ground.apply(&nim(number, OWN));
            }
            for number in first + 50..first + 100 {
                ground.apply(&nim(number, "peer.example/hpa: \"true\""));
            }
        }
        eventually("all HPAs are there", || hpas(ground) >= 200);
        peer.stop();
        let (ours, theirs) = (latencies(ground, "-nimscale"), latencies(ground, "-peer"));
        println!("apply -> HPA, ms: ours {}", percentiles(&ours));
        println!("apply -> HPA, ms: kopf {}", percentiles(&theirs));
        println!("ratio of the medians, kopf / ours: {:.2}", median(&theirs) / median(&ours));
    });
}

#[test]
#[ignore = "figures, by hand: see the top of this file"]
fn from_apply_to_served() {
    inside("from_apply_to_served", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &["--controller-arg", "--roll-interval=1s"]);
        ground.fleet.total("gpu_cache_usage_perc", 0.05);
        ground.apply(nimscale_ground::scenario::NIM);
        let mut preset = Vec::new();
        let mut own = Vec::new();
        for round in 0..10 {
            for (times, annotation) in [
                (&mut preset, "nimscale.dev/scale: \"1..8 kv-cache<75%\"".to_owned()),
                (&mut own, format!("nimscale.dev/keep: \"gpu_cache_usage_perc + {round} < 99\"")),
            ] {
                let manifest = nim(900 + round, &annotation).replace("replicas: 0", "replicas: 1");
                let start = Instant::now();
                ground.apply(&manifest);
                let hpa = format!("nim-{}-nimscale", 900 + round);
                eventually("the HPA reads a value", || {
                    ground.get("hpa", "nim", &hpa)["status"]["currentMetrics"][0]["pods"]["current"]["averageValue"]
                        .is_string()
                });
                times.push(start.elapsed().as_secs_f64() * 1000.0);
                ground.kubectl(&["delete", "deployment", "-n", "nim", &format!("nim-{}", 900 + round)], "");
                eventually("it is gone", || ground.get("hpa", "nim", &hpa).is_null());
            }
        }
        println!("apply -> HPA reads a value, ms: preset {}", percentiles(&preset));
        println!("apply -> HPA reads a value, ms: own expression, one roll each {}", percentiles(&own));
    });
}

#[test]
#[ignore = "figures, by hand: see the top of this file"]
fn a_burst_and_a_thousand_that_change_nothing() {
    inside("a_burst_and_a_thousand_that_change_nothing", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        // Two hundred Deployments keep the controllers of the cluster busy for longer than a short roll may take.
        installed(ground, &["--controller-arg", "--roll-timeout=120s"]);
        let settled = (writes(ground), rolls(ground));
        let annotation = |number: usize| format!("nimscale.dev/keep: \"gpu_cache_usage_perc + {} < 99\"", number % 20);
        let all: String = (0..200).map(|number| nim(number, &annotation(number))).collect();
        let start = Instant::now();
        ground.apply(&all);
        let applied = start.elapsed();
        eventually("all HPAs are there", || hpas(ground) >= 200);
        let attached = start.elapsed();
        eventually("the adapter serves them", || {
            let good = ground.get("configmap", "monitoring", "nimscale-adapter-state");
            good["data"]["good.yaml"].as_str().is_some_and(|good| good.contains("+ 19") && good == config(ground))
        });
        let served = start.elapsed();
        std::thread::sleep(Duration::from_secs(10));
        println!("burst of 200, 20 expressions: applied {applied:.1?}, all HPAs {attached:.1?}, served {served:.1?}");
        println!("rolls {}, config {} bytes", rolls(ground) - settled.1, config(ground).len());
        for (what, count) in difference(&writes(ground), &settled.0) {
            println!("writes {what}: {count}");
        }
        for process in ["nimscale-controller", "nimscale-webhook"] {
            println!("RSS {process}: {:.1} MB", ground.rss("nimscale-system", process) as f64 / 1e6);
        }
        println!("webhook as the API server sees it: {:.2} ms a request", seen_by_api_server(ground));
        let before = writes(ground);
        let start = Instant::now();
        for _ in 0..5 {
            ground.apply(&all);
        }
        println!("1,000 re-applies that change nothing: {:.1?}", start.elapsed());
        std::thread::sleep(Duration::from_secs(5));
        let after = difference(&writes(ground), &before);
        println!("writes by them: {after:?}");
        assert!(after.is_empty(), "what changes nothing writes nothing");
    });
}

/// The writes of the controller by kind, but for the lease.
fn writes(ground: &Ground) -> BTreeMap<String, usize> {
    let mut writes = BTreeMap::new();
    for write in ground.writes("nimscale-controller").into_iter().filter(|write| write.resource != "leases") {
        *writes.entry(format!("{} {}", write.verb, write.resource)).or_default() += 1;
    }
    writes
}

fn difference(after: &BTreeMap<String, usize>, before: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let more = after.iter().map(|(what, count)| (what.clone(), count - before.get(what).unwrap_or(&0)));
    more.filter(|(_, count)| *count > 0).collect()
}

fn hpas(ground: &Ground) -> usize {
    ground.kubectl(&["get", "hpa", "-n", "nim", "-o", "name"], "").out.lines().count()
}

/// From the end of a Deployment's creation to the end of its HPA's, by the API server's own log.
fn latencies(ground: &Ground, suffix: &str) -> Vec<f64> {
    let all = ground.writes("");
    let created = |resource: &str, name: &str| {
        all.iter().find(|write| write.resource == resource && write.name == name && write.code < 300)
    };
    let hpas = all.iter().filter(|write| write.resource == "horizontalpodautoscalers" && write.subresource.is_empty());
    let names: std::collections::BTreeSet<&str> =
        hpas.filter_map(|write| write.name.strip_suffix(suffix)).filter(|name| *name != "nim-0").collect();
    let latency = |name: &&str| {
        let deployment = created("deployments", name)?;
        let hpa = created("horizontalpodautoscalers", &format!("{name}{suffix}"))?;
        Some((hpa.at.as_microsecond() - deployment.at.as_microsecond()) as f64 / 1000.0)
    };
    names.iter().filter_map(latency).collect()
}

fn percentiles(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| sorted.get(((sorted.len() as f64 - 1.0) * part).round() as usize).copied().unwrap_or(f64::NAN);
    format!("p50 {:.1}, p99 {:.1}, most {:.1} (n = {})", at(0.5), at(0.99), at(1.0), sorted.len())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn seen_by_api_server(ground: &Ground) -> f64 {
    let labels = [("name", "workloads.nimscale.dev"), ("operation", "CREATE")];
    let total = |part: &str| {
        ground.api_metric(&format!("apiserver_admission_webhook_admission_duration_seconds_{part}"), &labels)
    };
    total("sum") / total("count") * 1000.0
}

/// A handler in Python that makes an HPA for each Deployment that asks for one.
struct Peer(Child);

impl Peer {
    fn start(ground: &Ground) -> Self {
        const HANDLER: &str = "import kopf, kubernetes
@kopf.on.startup()
def quiet(settings, **_):
    settings.posting.enabled = False
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix='peer.example')
@kopf.on.event('apps', 'v1', 'deployments', annotations={'peer.example/hpa': 'true'})
def made(type, name, namespace, **_):
    if type == 'DELETED': return
    target = kubernetes.client.V2CrossVersionObjectReference(api_version='apps/v1', kind='Deployment', name=name)
    metric = kubernetes.client.V2MetricSpec(type='Pods', pods=kubernetes.client.V2PodsMetricSource(
        metric=kubernetes.client.V2MetricIdentifier(name='gpu_cache_usage_perc'),
        target=kubernetes.client.V2MetricTarget(type='AverageValue', average_value='100m')))
    hpa = kubernetes.client.V2HorizontalPodAutoscaler(
        metadata=kubernetes.client.V1ObjectMeta(name=name + '-peer', namespace=namespace),
        spec=kubernetes.client.V2HorizontalPodAutoscalerSpec(scale_target_ref=target, max_replicas=8, metrics=[metric]))
    try:
        kubernetes.client.AutoscalingV2Api().create_namespaced_horizontal_pod_autoscaler(namespace, hpa)
    except kubernetes.client.ApiException as error:
        if error.status != 409: raise
";
        let handler = std::env::temp_dir().join(format!("peer-{}.py", std::process::id()));
        fs::write(&handler, HANDLER).expect("it can be written");
        let child = Command::new("python3")
            .args(["-m", "kopf", "run", "--all-namespaces", "--quiet"])
            .arg(&handler)
            .env("KUBECONFIG", ground.kubeconfig())
            .stdout(Stdio::null())
            .spawn()
            .expect("python3 -m pip install kopf kubernetes");
        Self(child)
    }

    fn stop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it ran");
    }
}
