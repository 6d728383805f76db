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

/// The upper edges of the buckets of a NIM's time to first token, in seconds.
const EDGES: [f64; 16] = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

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
    model: Option<Model>,
    /// Pods that serve now.
    serving: usize,
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

    /// Replays a gauge by a script: which pod, and how long it has served.
    pub fn replay(&self, metric: &str, script: impl Fn(usize, Duration) -> Option<f64> + Send + Sync + 'static) {
        self.load().values.insert(metric.to_owned(), Value::Script(Arc::new(script)));
    }

    /// Offers requests that the serving pods share, in place of all values that were set.
    pub fn offer(&self, model: Model) {
        let mut load = self.load();
        load.values.clear();
        load.model = Some(model);
    }

    /// Serves one pod's metrics at its address until what is returned is dropped.
    pub(crate) async fn serve(&self, address: IpAddr) -> std::io::Result<Serving> {
        let listener = TcpListener::bind((address, PORT)).await?;
        let number = {
            let mut load = self.load();
            load.serving += 1;
            load.served += 1;
            load.served - 1
        };
        let first_tokens = Arc::new(Mutex::new(FirstTokens::new()));
        let pod = PodMetrics { fleet: self.clone(), number, start: Instant::now(), first_tokens };
        let router = Router::new().route("/v1/metrics", get(metrics)).with_state(pod);
        let task = tokio::spawn(async move {
            // It ends with the pod.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Serving { fleet: self.clone(), task })
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod that serves; dropping it ends that.
pub(crate) struct Serving {
    fleet: Fleet,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        self.fleet.load().serving -= 1;
    }
}

/// What one pod serves.
#[derive(Clone)]
struct PodMetrics {
    fleet: Fleet,
    number: usize,
    start: Instant,
    first_tokens: Arc<Mutex<FirstTokens>>,
}

/// The histogram of one pod: its counters only grow, from the pod's own start.
struct FirstTokens {
    last: Instant,
    /// Not cumulative; the last one is over every edge.
    buckets: [f64; EDGES.len() + 1],
    sum: f64,
}

impl FirstTokens {
    fn new() -> Self {
        Self { last: Instant::now(), buckets: [0.0; EDGES.len() + 1], sum: 0.0 }
    }

    /// Requests since the last scrape, all with the same latency.
    fn add(&mut self, per_second: f64, latency: f64) {
        let requests = per_second * self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.buckets[EDGES.partition_point(|edge| *edge < latency)] += requests;
        self.sum += requests * latency;
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        writeln!(text, "# TYPE {name} histogram")?;
        let mut count = 0.0;
        for (at, requests) in self.buckets.iter().enumerate() {
            count += requests;
            let edge = EDGES.get(at).map_or_else(|| "+Inf".to_owned(), |edge| format!("{edge:?}"));
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
        let pods = load.serving.max(1) as f64;
        for (metric, value) in &load.values {
            let value = match value {
                Value::Total(total) => total / pods,
                Value::Each(value) => *value,
                Value::Script(script) => match script(self.number, self.start.elapsed()) {
                    Some(value) => value,
                    None => continue,
                },
            };
            let value = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
            writeln!(text, "# TYPE {metric} gauge\n{metric}{{model_name=\"meta/llama3-8b-instruct\"}} {value}")?;
        }
        let Some(model) = load.model else { return Ok(()) };
        let (prefix, cache, labels) = match model.names {
            Names::Nim1 => ("", "gpu_cache_usage_perc", "model_name=\"meta/llama3-8b-instruct\""),
            Names::Vllm => ("vllm:", "kv_cache_usage_perc", "engine=\"0\",model_name=\"meta/llama3-8b-instruct\""),
        };
        let per_second = model.requests_per_second / pods;
        let busy = per_second * model.seconds_per_request;
        let (running, waiting) = (busy.min(model.slots), (busy - model.slots).max(0.0));
        for (name, value) in
            [(cache, running / model.slots), ("num_requests_running", running), ("num_requests_waiting", waiting)]
        {
            writeln!(text, "# TYPE {prefix}{name} gauge\n{prefix}{name}{{{labels}}} {value}")?;
        }
        let mut first_tokens = self.first_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // A tenth of a second, and what every request in front takes of a slot.
        first_tokens.add(per_second, 0.1 + waiting / model.slots * model.seconds_per_request);
        first_tokens.write(text, &format!("{prefix}time_to_first_token_seconds"), labels)
    }
}
