//! The series that every contract test is asked about: small, the same in each run, full of what goes wrong.
//!
//! Values are eighths, so that sums are exact whatever their order. Counters restart, pods are idle, late or gone, names
//! repeat across namespaces and nearly repeat inside one, some series are scraped twice through a second Service. Some
//! series are told by somebody else than the pod: GPUs by their exporter, the node of a pod by kube-state-metrics, a
//! queue by its broker, the load of a node by nobody's pod.

use std::fmt::Write;

/// A multiple of two hours and ten minutes: everything lies in one block of the database.
pub const START: u64 = 1_699_999_800;
pub const STEP: u64 = 15;
pub const STEPS: u64 = 160;

/// Seconds after [`START`]. In order: all is well; two samples of the late pod; just after a restart; all is well;
/// inside the look-back of the pod that is gone; the end.
pub const TIMES: [u64; 6] = [607, 922, 1068, 1500, 1725, 2400];

pub const LLAMA: &str = "meta/llama-3.1-8b";
pub const MISTRAL: &str = "mistral";
/// PromQL may hold this in a string, a template must not.
pub const ANGLES: &str = "len<<gth";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    pub namespace: &'static str,
    pub name: &'static str,
}

const fn pod(namespace: &'static str, name: &'static str) -> Pod {
    Pod { namespace, name }
}

const RESTARTS: Pod = pod("llm", "nim-a-7d4f9c6b5d-x7k2p");
const IDLE: Pod = pod("llm", "nim-a-7d4f9c6b5d-q8zrt");
const LATE: Pod = pod("llm", "nim-a-large-5c9d8b7f6d-b2c4d");
/// A Job's: no workload has it.
const BENCH: Pod = pod("llm", "nim-a-bench-x7k2p");
const FIRST: Pod = pod("llm", "nim-b-0");
const SECOND: Pod = pod("llm", "nim-b-1");
/// A Deployment's, of the name of the StatefulSet above; both hashes happen to be numbers.
const DIGITS: Pod = pod("llm", "nim-b-56789-24567");
const RESTARTS_LATER: Pod = pod("chat", "nim-a-7d4f9c6b5d-x7k2p");
const FALLS_IDLE: Pod = pod("chat", "nim-a-7d4f9c6b5d-q8zrt");
/// Of an older ReplicaSet.
const GONE: Pod = pod("chat", "nim-a-58c6d9f7b4-mmw5v");
const STEADY: Pod = pod("batch", "nim-a-0");
/// Exports no `load_score`.
const PLAIN: Pod = pod("batch", "worker-0");
const GPU_EXPORTER: Pod = pod("batch", "dcgm-exporter-x7k2p");

pub const PODS: [Pod; 13] =
    [RESTARTS, IDLE, LATE, BENCH, FIRST, SECOND, DIGITS, RESTARTS_LATER, FALLS_IDLE, GONE, STEADY, PLAIN, GPU_EXPORTER];
pub const NAMESPACES: [&str; 3] = ["llm", "chat", "batch"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
}

#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub namespace: &'static str,
    pub name: &'static str,
    pub pods: &'static [Pod],
}

const fn workload(kind: WorkloadKind, namespace: &'static str, name: &'static str, pods: &'static [Pod]) -> Workload {
    Workload { kind, namespace, name, pods }
}

pub const WORKLOADS: [Workload; 7] = [
    workload(WorkloadKind::Deployment, "llm", "nim-a", &[RESTARTS, IDLE]),
    workload(WorkloadKind::Deployment, "llm", "nim-a-large", &[LATE]),
    workload(WorkloadKind::Deployment, "llm", "nim-b", &[DIGITS]),
    workload(WorkloadKind::Deployment, "chat", "nim-a", &[RESTARTS_LATER, FALLS_IDLE, GONE]),
    workload(WorkloadKind::StatefulSet, "llm", "nim-b", &[FIRST, SECOND]),
    workload(WorkloadKind::StatefulSet, "batch", "nim-a", &[STEADY]),
    workload(WorkloadKind::StatefulSet, "batch", "worker", &[PLAIN]),
];

/// The administrator's words about the families below.
pub fn platform(dialect: &str) -> String {
    format!(
        "dialect: \"{dialect}\"\n\
         aliases: [{{metrics: 'DCGM_FI_.*', namespace: exported_namespace, pod: exported_pod}}]\n\
         families: {{queue_length: namespace, queue_limit: namespace, node_load: cluster, cluster_budget: cluster}}\n"
    )
}

/// Those of [`platform`] that have no pod.
pub fn has_pod(family: &str) -> bool {
    !["queue_length", "queue_limit", "node_load", "cluster_budget"].contains(&family)
}

/// Those whose series the pods make themselves.
pub fn is_own(family: &str) -> bool {
    has_pod(family) && !family.starts_with("kube_") && !family.starts_with("DCGM_FI_")
}

/// A family as the expression generator sees it: its name and the labels that tell its series apart inside a pod.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub labels: &'static [(&'static str, &'static [&'static str])],
}

const MODELS: (&str, &[&str]) = ("model_name", &[LLAMA, MISTRAL]);
const ENGINES: (&str, &[&str]) = ("engine", &["0", "1"]);
const SERVICES: (&str, &[&str]) = ("service", &["nim", "nim-all"]);
const GPUS: (&str, &[&str]) = ("gpu", &["0", "1"]);

pub const GAUGES: [Family; 5] = [
    Family { name: "queue_depth", labels: &[MODELS, ENGINES] },
    Family { name: "num_requests_running", labels: &[MODELS, SERVICES] },
    Family { name: "slots_in_use", labels: &[MODELS, SERVICES] },
    Family { name: "load_score", labels: &[MODELS] },
    Family { name: "pod:num_requests_running:max", labels: &[MODELS] },
];

/// Of an exporter, about others' pods.
pub const GPU_GAUGES: [Family; 2] = [
    Family { name: "DCGM_FI_DEV_GPU_UTIL", labels: &[GPUS] },
    Family { name: "DCGM_FI_DEV_POWER_USAGE", labels: &[GPUS, ("exported_container", &["nim"])] },
];
pub const GPU_COUNTER: Family = Family { name: "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", labels: &[GPUS] };

/// 1 for each pod, whether it serves or not; with the pod's node.
pub const POD_INFO: Family = Family { name: "kube_pod_info", labels: &[("node", &["n1", "n2"])] };

pub const OF_NAMESPACE: [Family; 2] =
    [Family { name: "queue_length", labels: &[MODELS] }, Family { name: "queue_limit", labels: &[MODELS] }];
pub const NODE_LOAD: Family = Family { name: "node_load", labels: &[("node", &["n1", "n2"])] };
pub const CLUSTER_BUDGET: Family = Family { name: "cluster_budget", labels: &[MODELS] };

pub const COUNTERS: [Family; 4] = [
    Family { name: "request_success_total", labels: &[MODELS, ("reason", &["stop", ANGLES]), SERVICES] },
    Family { name: "generation_tokens_total", labels: &[MODELS, ENGINES] },
    Family { name: "latency_seconds_sum", labels: &[MODELS] },
    Family { name: "latency_seconds_count", labels: &[MODELS] },
];

pub const HISTOGRAM: Family = Family { name: "latency_seconds_bucket", labels: &[MODELS] };

#[derive(Clone, Debug)]
pub struct Series {
    about: About,
    name: &'static str,
    /// Without `namespace` and `pod`.
    labels: Vec<(&'static str, String)>,
    /// The pod that they name, which is not always the one that the series is about.
    told_by: Option<Pod>,
    /// One value a step; `None` where the pod does not live.
    values: Vec<Option<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Pod(Pod),
    Namespace(&'static str),
    Cluster,
    /// A GPU that no pod has.
    Nobody,
}

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    Everything,
    /// What is about some pods of one namespace, about the namespace, and about the cluster. The request chooses the
    /// namespace, so no series names it; and a series about a pod names that pod.
    Pods(&'static str, Vec<Pod>),
}

pub fn all_series() -> Vec<Series> {
    let pods = PODS.into_iter().flat_map(series_of);
    pods.chain(NAMESPACES.into_iter().flat_map(of_namespace)).chain(of_cluster()).collect()
}

/// The text of `promtool tsdb create-blocks-from openmetrics` for a database, `earlier` by so many seconds.
pub fn open_metrics(series: &[Series], holds: &Holds, earlier: u64) -> String {
    let mut text = String::new();
    for series in series {
        let Some(labels) = series.labels_in(holds) else { continue };
        for (step, value) in (0..).zip(&series.values) {
            let Some(value) = value else { continue };
            let time = START + step * STEP - earlier;
            writeln!(text, "{}{{{labels}}} {} {time}", series.name, number(*value)).expect("a String takes all");
        }
    }
    text + "# EOF\n"
}

impl Series {
    fn labels_in(&self, holds: &Holds) -> Option<String> {
        let (namespace, pod) = match (holds, self.about) {
            (Holds::Everything, About::Pod(_) | About::Nobody) => {
                (self.told_by.map(|pod| pod.namespace), self.told_by.map(|pod| pod.name))
            }
            (Holds::Everything, About::Namespace(namespace)) => (Some(namespace), None),
            (Holds::Pods(_, pods), About::Pod(pod)) if pods.contains(&pod) => (None, Some(pod.name)),
            (Holds::Pods(own, _), About::Namespace(namespace)) if *own == namespace => (None, None),
            (Holds::Everything | Holds::Pods(..), About::Cluster) => (None, None),
            (Holds::Pods(..), About::Pod(_) | About::Namespace(_) | About::Nobody) => return None,
        };
        let own =
            [("namespace", namespace), ("pod", pod)].into_iter().filter_map(|(label, value)| Some((label, value?)));
        let others = self.labels.iter().map(|(label, value)| (*label, value.as_str()));
        let labels: Vec<_> = own.chain(others).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        Some(labels.join(","))
    }
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

fn series_of(pod: Pod) -> Vec<Series> {
    let mut out = Writer { about: About::Pod(pod), told_by: Some(pod), series: Vec::new() };

    for (model, engine) in [(LLAMA, "0"), (LLAMA, "1"), (MISTRAL, "0")] {
        let labels = [("model_name", model), ("engine", engine)];
        out.gauge("queue_depth", &labels, |noise| (noise % 41) as f64);
        out.counter("generation_tokens_total", &labels, 4);
    }
    for model in [LLAMA, MISTRAL] {
        out.twice("num_requests_running", model, |noise| (noise % 64) as f64 / 4.0);
        out.gauge("pod:num_requests_running:max", &[("model_name", model)], |noise| (noise % 64) as f64 / 4.0);
        for service in ["nim", "nim-all"] {
            for reason in ["stop", ANGLES] {
                let labels = [("model_name", model), ("reason", reason), ("service", service)];
                out.counter("request_success_total", &labels, 3);
            }
        }
        out.histogram("latency_seconds", model);
    }

    let (llama, mistral) = slots(pod);
    out.twice("slots_in_use", LLAMA, |_| llama);
    out.twice("slots_in_use", MISTRAL, |_| mistral);
    if let Some((llama, mistral)) = load(pod) {
        out.gauge("load_score", &[("model_name", LLAMA)], |_| llama);
        out.gauge("load_score", &[("model_name", MISTRAL)], |_| mistral);
    }

    // kube-state-metrics tells of a pod before it serves, and is scraped for it.
    let node = if noise(out.seed("node", &[]), 0).is_multiple_of(2) { "n1" } else { "n2" };
    let labels = [("node", node), ("job", "kube-state-metrics"), ("instance", "10.0.1.9:8080"), ("service", "ksm")];
    out.push("kube_pod_info", &labels, vec![Some(1.0); STEPS as usize + 1]);

    if let Some(watts) = power(pod) {
        for (gpu, watts) in ["0", "1"].into_iter().zip(watts) {
            out.gpu(gpu, watts);
        }
    }
    if pod == GPU_EXPORTER {
        out.about = About::Nobody;
        out.gpu("1", 40.0);
    }
    out.series
}

fn of_namespace(namespace: &'static str) -> Vec<Series> {
    let mut out = Writer { about: About::Namespace(namespace), told_by: None, series: Vec::new() };
    let (llama, mistral) = if namespace == "llm" { (48.0, 16.0) } else { (24.0, 8.0) };
    for (model, limit) in [(LLAMA, llama), (MISTRAL, mistral)] {
        let labels = [("model_name", model), ("service", "broker")];
        out.gauge("queue_length", &labels, |noise| (noise % 31) as f64);
        if namespace != "batch" {
            out.gauge("queue_limit", &labels, |_| limit);
        }
    }
    out.series
}

fn of_cluster() -> Vec<Series> {
    let mut out = Writer { about: About::Cluster, told_by: None, series: Vec::new() };
    for node in ["n1", "n2"] {
        out.gauge("node_load", &[("node", node), ("service", "node-exporter")], |noise| (noise % 17) as f64 / 2.0);
    }
    for (model, budget) in [(LLAMA, 3.0), (MISTRAL, 5.0)] {
        out.gauge("cluster_budget", &[("model_name", model), ("service", "finance")], |_| budget);
    }
    out.series
}

/// Constants for the values worked out by hand: `(llama, mistral)` of `slots_in_use`.
fn slots(pod: Pod) -> (f64, f64) {
    if pod == RESTARTS {
        (3.0, 7.0)
    } else if pod == IDLE {
        (0.0, 0.0)
    } else if pod == FIRST {
        (16.0, 32.0)
    } else if pod == SECOND {
        (4.0, 12.0)
    } else if pod == RESTARTS_LATER {
        (20.0, 11.0)
    } else if pod == STEADY {
        (100.0, 400.0)
    } else {
        (1.0, 2.5)
    }
}

/// `DCGM_FI_DEV_POWER_USAGE` of a pod's two GPUs.
fn power(pod: Pod) -> Option<[f64; 2]> {
    if pod == RESTARTS {
        Some([100.0, 300.0])
    } else if pod == IDLE {
        Some([50.0, 60.0])
    } else if pod == FIRST {
        Some([200.0, 220.0])
    } else if pod == RESTARTS_LATER || pod == FALLS_IDLE {
        Some([500.0, 510.0])
    } else {
        None
    }
}

/// `(llama, mistral)` of `load_score`, the gauge that is not always a number.
fn load(pod: Pod) -> Option<(f64, f64)> {
    if pod == PLAIN {
        None
    } else if pod == RESTARTS {
        Some((f64::INFINITY, 3.0))
    } else if pod == IDLE {
        Some((f64::NAN, f64::NAN))
    } else if pod == LATE {
        Some((-4.0, -9.0))
    } else if pod == RESTARTS_LATER {
        Some((f64::NEG_INFINITY, f64::NEG_INFINITY))
    } else if pod == FALLS_IDLE {
        Some((5000.0, 1.0))
    } else if pod == GONE {
        Some((f64::NAN, 2.0))
    } else {
        Some((0.5, 12.0))
    }
}

struct Writer {
    about: About,
    told_by: Option<Pod>,
    series: Vec<Series>,
}

impl Writer {
    fn gauge(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: impl Fn(u64) -> f64) {
        let seed = self.seed(name, labels);
        let values = (0..=STEPS).map(|step| self.lives(step).then(|| value(noise(seed, step)))).collect();
        self.push(name, labels, values);
    }

    /// One gauge, scraped through two Services.
    fn twice(&mut self, name: &'static str, model: &str, value: impl Fn(u64) -> f64) {
        self.gauge(name, &[("model_name", model)], value);
        let mut again = self.series.last().expect("the line above wrote it").clone();
        for (label, value) in &mut again.labels {
            if *label == "service" {
                "nim-all".clone_into(value);
            }
        }
        self.series.push(again);
    }

    /// Grows by less than `speed` a step. Both Services scrape one counter, hence no service in the seed.
    fn counter(&mut self, name: &'static str, labels: &[(&'static str, &str)], speed: u64) {
        let own: Vec<_> = labels.iter().copied().filter(|(label, _)| *label != "service").collect();
        let seed = self.seed(name, &own);
        let values = self.totals(seed % 50, |step| noise(seed, step) % speed);
        let values = values.into_iter().map(|total| total.map(|total| total as f64)).collect();
        self.push(name, labels, values);
    }

    fn histogram(&mut self, name: &'static str, model: &str) {
        // Name of the bucket, and the share of the observations that it holds, in eighths.
        const BUCKETS: [(&str, u64); 5] = [("0.1", 1), ("0.5", 4), ("1", 6), ("5", 7), ("+Inf", 8)];
        assert_eq!(name, "latency_seconds", "the names below are constants");

        let seed = self.seed(name, &[("model_name", model)]);
        // A step makes 0, 8 or 16 observations. Some come a bucket late, so that quantiles move.
        for (bucket, share) in BUCKETS {
            let totals = self.totals(0, |step| {
                let noise = noise(seed, step);
                let late = if share < 8 && noise.is_multiple_of(5) { 1 } else { 0 };
                noise % 3 * (share - late)
            });
            let values = totals.into_iter().map(|total| total.map(|total| total as f64)).collect();
            self.push("latency_seconds_bucket", &[("model_name", model), ("le", bucket)], values);
        }
        let count = self.totals(0, |step| noise(seed, step) % 3 * 8);
        let sum = count.iter().map(|total| total.map(|total| total as f64 * 0.875)).collect();
        let count = count.into_iter().map(|total| total.map(|total| total as f64)).collect();
        self.push("latency_seconds_sum", &[("model_name", model)], sum);
        self.push("latency_seconds_count", &[("model_name", model)], count);
    }

    /// A counter with this pod's restart and idleness.
    fn totals(&self, first: u64, growth: impl Fn(u64) -> u64) -> Vec<Option<u64>> {
        let mut total = first;
        let mut values = Vec::new();
        for step in 0..=STEPS {
            let idle = self.is_about(IDLE) || self.is_about(FALLS_IDLE) && step >= 80;
            let restarts = self.is_about(RESTARTS) && step == 70 || self.is_about(RESTARTS_LATER) && step == 100;
            if restarts {
                total = 0;
            } else if !idle {
                total += growth(step);
            }
            values.push(self.lives(step).then_some(total));
        }
        values
    }

    fn lives(&self, step: u64) -> bool {
        !(self.is_about(LATE) && step < 60 || self.is_about(GONE) && step > 110)
    }

    fn is_about(&self, pod: Pod) -> bool {
        self.about == About::Pod(pod)
    }

    /// A GPU as its exporter tells of it. The exporter's scrape renamed the labels that name the GPU's pod.
    fn gpu(&mut self, gpu: &'static str, watts: f64) {
        let from = self.series.len();
        self.gauge("DCGM_FI_DEV_GPU_UTIL", &[("gpu", gpu)], |noise| (noise % 101) as f64);
        self.gauge("DCGM_FI_DEV_POWER_USAGE", &[("gpu", gpu), ("exported_container", "nim")], |_| watts);
        self.counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", &[("gpu", gpu)], 6);
        for series in &mut self.series[from..] {
            if let About::Pod(pod) = series.about {
                series.labels.push(("exported_namespace", pod.namespace.to_owned()));
                series.labels.push(("exported_pod", pod.name.to_owned()));
            }
            series.told_by = Some(GPU_EXPORTER);
            series.labels.retain(|(label, _)| !["instance", "service"].contains(label));
            series.labels.extend([("instance", "10.0.0.12:9400".to_owned()), ("service", "dcgm-exporter".to_owned())]);
        }
    }

    fn push(&mut self, name: &'static str, labels: &[(&'static str, &str)], values: Vec<Option<f64>>) {
        let index = PODS.iter().position(|pod| self.is_about(*pod)).unwrap_or(PODS.len());
        let mut all = vec![
            ("job", "nim".to_owned()),
            ("instance", format!("10.0.0.{index}:8000")),
            ("endpoint", "metrics".to_owned()),
            ("service", "nim".to_owned()),
        ];
        if name.contains(':') {
            // A recording rule keeps what its author grouped by.
            all.clear();
        }
        for (label, value) in labels {
            all.retain(|(name, _)| name != label);
            all.push((label, (*value).to_owned()));
        }
        self.series.push(Series { about: self.about, name, labels: all, told_by: self.told_by, values });
    }

    fn seed(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325;
        let about = match self.about {
            About::Pod(pod) => [pod.namespace, pod.name],
            About::Namespace(namespace) => [namespace, ""],
            About::Cluster | About::Nobody => ["", ""],
        };
        let words = labels.iter().flat_map(|(label, value)| [*label, *value]);
        for byte in about.into_iter().chain([name]).chain(words).flat_map(str::bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        hash
    }
}

fn noise(seed: u64, step: u64) -> u64 {
    super::random::Random::new(seed.wrapping_add(step)).draw()
}
