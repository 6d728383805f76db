//! The plain port of a process: is it alive, is it ready, its metrics.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::Handle;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// How long requests in flight may take after the end was asked for; a scrape takes milliseconds.
const DRAIN: Duration = Duration::from_secs(5);
/// A probe sends its few headers at once; who does not holds a connection for nothing.
const HEADERS: Duration = Duration::from_secs(5);

/// Serves `/livez`, `/readyz` and `/metrics` until shutdown, and at most [`DRAIN`] longer.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    readiness: Readiness,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get("ok\n"))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(readiness))
        .merge(Router::new().route("/metrics", get(metrics)).with_state(registry));
    let handle = Handle::<SocketAddr>::new();
    let mut server = axum_server::from_tcp(listener)?.http1_only().handle(handle.clone());
    server.http_builder().http1().header_read_timeout(HEADERS);
    let mut serving = std::pin::pin!(server.serve(routes.into_make_service()));
    tokio::select! {
        // The server first: its handle wakes who waits already, and forgets an end that was asked for before.
        biased;
        served = &mut serving => return served,
        _ = shutdown.wait_for(|asked| *asked) => handle.graceful_shutdown(Some(DRAIN)),
    }
    serving.await
}

/// What must hold before a process is ready, by name.
#[derive(Debug, Default)]
pub struct Readiness(Vec<(&'static str, Check)>);

impl Readiness {
    /// Adds a check, not met until [`Check::set`] says so.
    pub fn check(&mut self, name: &'static str) -> Check {
        let check = Check::default();
        self.0.push((name, check.clone()));
        check
    }

    fn missing(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, check)| !check.is_met()).map(|(name, _)| *name).collect()
    }
}

/// One thing that readiness waits for. Clones are the same check.
#[derive(Clone, Debug, Default)]
pub struct Check(Arc<AtomicBool>);

impl Check {
    pub fn set(&self, met: bool) {
        self.0.store(met, Ordering::Release);
    }

    pub fn is_met(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> (StatusCode, String) {
    let missing = readiness.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.iter().map(|name| format!("not ready: {name}\n")).collect())
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "failed to write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;
    use crate::telemetry::Metrics;

    struct Served {
        address: SocketAddr,
        shutdown: watch::Sender<bool>,
        task: JoinHandle<io::Result<()>>,
    }

    fn served(readiness: Readiness) -> Served {
        let mut registry = Registry::default();
        Metrics::register(&mut registry);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (shutdown, receiver) = watch::channel(false);
        let task = tokio::spawn(serve(listener, Arc::new(registry), readiness, receiver));
        Served { address, shutdown, task }
    }

    async fn asked(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers in UTF-8");
        answer
    }

    #[tokio::test]
    async fn readiness_names_what_it_waits_for() {
        let mut readiness = Readiness::default();
        let loaded = readiness.check("certificate loaded");
        let synced = readiness.check("caches synced");
        let Served { address, shutdown: _running, .. } = served(readiness);
        assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200"), "alive long before it is ready");
        synced.set(true);
        let answer = asked(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nnot ready: certificate loaded\n"), "{answer}");
        loaded.set(true);
        assert!(asked(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        synced.set(false);
        assert!(asked(address, "/readyz").await.ends_with("\r\n\r\nnot ready: caches synced\n"));
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let Served { address, shutdown: _running, .. } = served(Readiness::default());
        let answer = asked(address, "/metrics").await;
        assert!(answer.contains("application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.contains("nimscale_build_info{"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        assert!(asked(address, "/debug").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_delays_the_end_by_the_drain_only() {
        let Served { address, shutdown, task } = served(Readiness::default());
        let mut idle = TcpStream::connect(address).await.expect("it listens");
        idle.write_all(b"GET /livez HT").await.expect("it reads");
        sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        shutdown.send_replace(true);
        let ended = timeout(DRAIN + Duration::from_secs(5), task).await;
        assert!(ended.expect("in time").expect("no panic").is_ok());
        assert!(start.elapsed() < DRAIN + Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(TcpStream::connect(address).await.is_err(), "it no longer listens");
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_before_the_start_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (_asked, shutdown) = watch::channel(true);
        let serving = serve(listener, Arc::default(), Readiness::default(), shutdown);
        assert!(timeout(Duration::from_secs(5), serving).await.expect("in time").is_ok());
    }
}
