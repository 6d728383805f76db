//! Play a fleet of NIMs: each pod serves metrics whose values the test sets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The port of a NIM.
pub const PORT: u16 = 8000;

/// What the pods of the fleet report.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    state: Arc<Mutex<Load>>,
}

#[derive(Debug, Default)]
struct Load {
    values: BTreeMap<String, Value>,
    /// Pods that serve now.
    serving: usize,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    /// Of the fleet: the pods that serve share it.
    Total(f64),
    /// Of every pod.
    Each(f64),
}

impl Fleet {
    /// Offers a load that the serving pods share: more replicas, less for each.
    pub fn total(&self, metric: &str, value: f64) {
        self.load().values.insert(metric.to_owned(), Value::Total(value));
    }

    /// Lets every pod report the same value.
    pub fn each(&self, metric: &str, value: f64) {
        self.load().values.insert(metric.to_owned(), Value::Each(value));
    }

    /// Lets no pod report the metric.
    pub fn nothing(&self, metric: &str) {
        self.load().values.remove(metric);
    }

    /// Serves one pod's metrics at its address until the task is aborted by [`Serving`]'s end.
    pub(crate) async fn serve(&self, address: IpAddr) -> std::io::Result<Serving> {
        let listener = TcpListener::bind((address, PORT)).await?;
        let router = Router::new().route("/v1/metrics", get(Self::metrics)).route("/metrics", get(Self::metrics));
        let fleet = self.clone();
        self.load().serving += 1;
        let task = tokio::spawn(async move {
            // It ends with the pod.
            let _ = axum::serve(listener, router.with_state(fleet)).await;
        });
        Ok(Serving { fleet: self.clone(), task })
    }

    async fn metrics(State(fleet): State<Self>) -> String {
        let load = fleet.load();
        let mut text = String::new();
        for (metric, value) in &load.values {
            let value = match value {
                Value::Total(total) => total / load.serving.max(1) as f64,
                Value::Each(value) => *value,
            };
            let value = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
            // Writing to a string does not fail.
            let _ = writeln!(text, "# TYPE {metric} gauge\n{metric}{{model_name=\"meta/llama3-8b-instruct\"}} {value}");
        }
        text
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
