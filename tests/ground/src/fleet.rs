//! Play a fleet of NIMs: each pod serves metrics, of values that the test sets or of a load that the pods share.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The port of a NIM.
pub const PORT: u16 = 8000;

/// The upper edges of a NIM's buckets, in seconds: of the time to the first token, between two tokens, of a request.
const FIRST_TOKEN: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const NEXT_TOKEN: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const REQUEST: &[f64] = &[1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0];

/// Tokens of one request of the model.
const PROMPT_TOKENS: f64 = 100.0;
const GENERATED_TOKENS: f64 = 50.0;

/// What the pods of the fleet report.
#[derive(Clone, Default)]
pub struct Fleet {
    state: Arc<Mutex<Load>>,
}

/// Requests that the pods share, and what they do to a pod: more replicas really lower its KV cache, queue and latency.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub requests_per_second: f64,
    /// How long one request holds its slot.
    pub seconds_per_request: f64,
    /// Requests that one pod works on at a time; the rest waits.
    pub slots: f64,
    pub names: Names,
}

/// What a server calls its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Nim1,
    /// vLLM's, and NIM 2.x's.
    Vllm,
}

#[derive(Default)]
struct Load {
    values: BTreeMap<String, Value>,
    /// Of the pods of one workload, by its namespace and name.
    own: BTreeMap<String, BTreeMap<String, Arc<Script>>>,
    model: Option<Model>,
    /// Pods that serve now, with the workload of each.
    serving: BTreeMap<usize, String>,
    /// Pods that ever served.
    served: usize,
}

#[derive(Clone)]
enum Value {
    /// Of the fleet: the pods that serve share it.
    Total(f64),
    /// Of every pod.
    Each(f64),
    Script(Arc<Script>),
}

/// What the `n`th pod of the fleet, from 0, reports so long after it began to serve; `None` is no sample.
type Script = dyn Fn(usize, Duration) -> Option<f64> + Send + Sync;

impl Fleet {
    /// Offers a load of one gauge that the serving pods share: more replicas, less for each.
    pub fn total(&self, metric: &str, value: f64) {
        self.load().values.insert(metric.to_owned(), Value::Total(value));
    }

    /// Lets every pod report the same value of a gauge.
    pub fn each(&self, metric: &str, value: f64) {
        self.load().values.insert(metric.to_owned(), Value::Each(value));
    }

    /// Replays a gauge by a script: which pod, and how long it has served. A metric may state its own labels.
    pub fn replay(&self, metric: &str, script: impl Fn(usize, Duration) -> Option<f64> + Send + Sync + 'static) {
        self.load().values.insert(metric.to_owned(), Value::Script(Arc::new(script)));
    }

    /// Replays a gauge of one workload's pods, `NAMESPACE/NAME`, in place of the fleet's: which of those that serve.
    pub fn replay_of(
        &self,
        workload: &str,
        metric: &str,
        script: impl Fn(usize, Duration) -> Option<f64> + Send + Sync + 'static,
    ) {
        self.load().own.entry(workload.to_owned()).or_default().insert(metric.to_owned(), Arc::new(script));
    }

    /// Offers requests that the serving pods share, in place of all values that were set.
    pub fn offer(&self, model: Model) {
        let mut load = self.load();
        load.values.clear();
        load.own.clear();
        load.model = Some(model);
    }

    /// Serves the metrics of a workload's pod at its address until what is returned is dropped.
    pub(crate) async fn serve(&self, address: IpAddr, workload: String) -> std::io::Result<Serving> {
        let listener = TcpListener::bind((address, PORT)).await?;
        let number = {
            let mut load = self.load();
            let number = load.served;
            load.serving.insert(number, workload.clone());
            load.served += 1;
            number
        };
        let counters = Arc::new(Mutex::new(Counters::new()));
        let pod = PodMetrics { fleet: self.clone(), number, workload, start: Instant::now(), counters };
        let router = Router::new().route("/v1/metrics", get(metrics)).with_state(pod);
        let task = tokio::spawn(async move {
            // It ends with the pod.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Serving { fleet: self.clone(), number, task })
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod that serves; dropping it ends that.
pub(crate) struct Serving {
    fleet: Fleet,
    number: usize,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        self.fleet.load().serving.remove(&self.number);
    }
}

/// What one pod serves.
#[derive(Clone)]
struct PodMetrics {
    fleet: Fleet,
    number: usize,
    workload: String,
    start: Instant,
    counters: Arc<Mutex<Counters>>,
}

/// The counters of one pod: they only grow, from the pod's own start.
struct Counters {
    last: Instant,
    requests: f64,
    first_token: Histogram,
    next_token: Histogram,
    request: Histogram,
}

impl Counters {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            requests: 0.0,
            first_token: Histogram::new(FIRST_TOKEN),
            next_token: Histogram::new(NEXT_TOKEN),
            request: Histogram::new(REQUEST),
        }
    }

    /// Requests since the last scrape, all with the same latencies.
    fn add(&mut self, per_second: f64, first_token: f64, generation: f64) {
        let requests = per_second * self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.requests += requests;
        self.first_token.add(requests, first_token);
        self.next_token.add(requests * GENERATED_TOKENS, generation / GENERATED_TOKENS);
        self.request.add(requests, first_token + generation);
    }
}

struct Histogram {
    edges: &'static [f64],
    /// Not cumulative; the last one is over every edge.
    buckets: Vec<f64>,
    sum: f64,
}

impl Histogram {
    fn new(edges: &'static [f64]) -> Self {
        Self { edges, buckets: vec![0.0; edges.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, count: f64, seconds: f64) {
        self.buckets[self.edges.partition_point(|edge| *edge < seconds)] += count;
        self.sum += count * seconds;
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        writeln!(text, "# TYPE {name} histogram")?;
        let mut count = 0.0;
        for (at, events) in self.buckets.iter().enumerate() {
            count += events;
            let edge = self.edges.get(at).map_or_else(|| "+Inf".to_owned(), |edge| format!("{edge:?}"));
            writeln!(text, "{name}_bucket{{le=\"{edge}\",{labels}}} {count}")?;
        }
        writeln!(text, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {count}", self.sum)
    }
}

async fn metrics(State(pod): State<PodMetrics>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = pod.write(&mut text);
    text
}

impl PodMetrics {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let load = self.fleet.load();
        let pods = load.serving.len().max(1) as f64;
        let served = self.start.elapsed();
        let before = load.serving.range(..self.number).filter(|(_, workload)| **workload == self.workload).count();
        let own = load.own.get(&self.workload);
        let of_fleet = load.values.iter().filter(|(metric, _)| own.is_none_or(|own| !own.contains_key(*metric)));
        let of_fleet = of_fleet.map(|(metric, value)| {
            let value = match value {
                Value::Total(total) => Some(total / pods),
                Value::Each(value) => Some(*value),
                Value::Script(script) => script(self.number, served),
            };
            (metric, value)
        });
        let own = own.into_iter().flatten().map(|(metric, script)| (metric, script(before, served)));
        for (metric, value) in of_fleet.chain(own) {
            let Some(value) = value else { continue };
            let value = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
            if metric.ends_with('}') {
                writeln!(text, "{metric} {value}")?;
            } else {
                writeln!(text, "# TYPE {metric} gauge\n{metric}{{model_name=\"meta/llama3-8b-instruct\"}} {value}")?;
            }
        }
        let Some(model) = load.model else { return Ok(()) };
        let (prefix, cache, next_token, labels) = match model.names {
            Names::Nim1 => {
                ("", "gpu_cache_usage_perc", "time_per_output_token_seconds", "model_name=\"meta/llama3-8b-instruct\"")
            }
            Names::Vllm => (
                "vllm:",
                "kv_cache_usage_perc",
                "inter_token_latency_seconds",
                "engine=\"0\",model_name=\"meta/llama3-8b-instruct\"",
            ),
        };
        let per_second = model.requests_per_second / pods;
        let busy = per_second * model.seconds_per_request;
        let (running, waiting) = (busy.min(model.slots), (busy - model.slots).max(0.0));
        for (name, value) in
            [(cache, running / model.slots), ("num_requests_running", running), ("num_requests_waiting", waiting)]
        {
            writeln!(text, "# TYPE {prefix}{name} gauge\n{prefix}{name}{{{labels}}} {value}")?;
        }
        // NIM 2.x shows this one without a prefix, too.
        writeln!(text, "# TYPE num_request_max gauge\nnum_request_max{{{labels}}} {}", model.slots)?;
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        // A tenth of a second, and what every request in front takes of a slot.
        let first_token = 0.1 + waiting / model.slots * model.seconds_per_request;
        counters.add(per_second, first_token, model.seconds_per_request);
        for (name, value) in [
            ("request_success_total", counters.requests),
            ("prompt_tokens_total", counters.requests * PROMPT_TOKENS),
            ("generation_tokens_total", counters.requests * GENERATED_TOKENS),
        ] {
            writeln!(text, "# TYPE {prefix}{name} counter\n{prefix}{name}{{{labels}}} {value}")?;
        }
        counters.first_token.write(text, &format!("{prefix}time_to_first_token_seconds"), labels)?;
        counters.next_token.write(text, &format!("{prefix}{next_token}"), labels)?;
        counters.request.write(text, &format!("{prefix}e2e_request_latency_seconds"), labels)
    }
}
