//! Serve `kube_pod_info` of the pods that run, as kube-state-metrics does.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Where it listens.
pub const ADDRESS: &str = "127.0.0.1:8081";

/// The namespaces and names of the pods that run.
#[derive(Clone, Default)]
pub struct PodInfo {
    pods: Arc<Mutex<Vec<(String, String)>>>,
}

impl PodInfo {
    /// Serves until the runtime ends.
    pub fn start(runtime: &Runtime) -> anyhow::Result<Self> {
        let info = Self::default();
        let router = Router::new().route("/metrics", get(metrics)).with_state(info.clone());
        let listener = runtime.block_on(TcpListener::bind(ADDRESS))?;
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(info)
    }

    pub fn set(&self, pods: Vec<(String, String)>) {
        *self.pods.lock().unwrap_or_else(PoisonError::into_inner) = pods;
    }
}

async fn metrics(State(info): State<PodInfo>) -> String {
    let mut text = "# TYPE kube_pod_info gauge\n".to_owned();
    for (namespace, pod) in info.pods.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "kube_pod_info{{namespace=\"{namespace}\",pod=\"{pod}\",node=\"ground\"}} 1");
    }
    text
}
