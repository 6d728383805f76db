//! Serve admission: HTTP/1.1 over TLS, bounded in bytes, time and work.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::sync::Semaphore;

use crate::answer::{Answer, World, answer};
use crate::memo::Memo;
use crate::metrics::Metrics;
use crate::review::Malformed;
use crate::snapshot::Snapshot;
use crate::tls::{Certificates, server_config};

/// A body up to this many bytes is judged where it was read: handing it over would take longer.
const JUDGED_IN_PLACE: usize = 64 << 10;

/// What one request counts of the bytes in flight at least: its connection has buffers, too.
const LEAST_SHARE: usize = 16 << 10;

/// The bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most bytes of one body. An update carries an object twice, and the API takes 3 MiB of one.
    pub body_bytes: usize,
    /// The most bytes of all bodies at one time; what comes above that is sent away with 429.
    pub in_flight_bytes: usize,
    /// How long a handshake may take, and then the first request's headers.
    pub handshake: Duration,
    /// How long a connection may wait for its next request: longer than the API server keeps an idle one (90 s), so
    /// that we never close one on which it is about to send.
    pub idle: Duration,
    /// How long a body may take.
    pub body: Duration,
    /// How long an HPA outlives the keys of its workload.
    pub grace: Duration,
    /// How long the end may take. In its first half what is new is still taken: that this server ends reaches an API
    /// server later than the server itself.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: 7 << 20,
            in_flight_bytes: 64 << 20,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(120),
            body: Duration::from_secs(10),
            grace: Duration::from_secs(600),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves `POST /mutate` until the shutdown, and lets its clients go elsewhere: each connection ends with its next answer.
pub async fn serve(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let admission = Arc::new(Admission {
        snapshot,
        metrics,
        settings,
        memo: Memo::default(),
        in_flight: Arc::new(Semaphore::new(settings.in_flight_bytes.min(Semaphore::MAX_PERMITS))),
        cores: Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZeroUsize::get))),
        ending: AtomicBool::new(false),
    });
    let ends = Arc::clone(&admission);
    let shutdown = async move {
        shutdown.await;
        ends.ending.store(true, Ordering::Relaxed);
    };
    let app = Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(settings.body_bytes))
        .with_state(admission);
    run(listener, certificates, app, settings, shutdown).await
}

/// Serves a router on the webhook's own terms.
async fn run(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    app: Router,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let handle = Handle::new();
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(server_config(certificates))))
        .handshake_timeout(settings.handshake)
        .acceptor(NoDelayAcceptor::new());
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .http1_only()
        .first_request_timeout(settings.handshake)
        .accept_error_handler(|peer, error| tracing::debug!(?peer, %error, "connection not accepted"))
        .handle(handle.clone());
    server.http_builder().http1().header_read_timeout(settings.idle);
    let serving = server.serve(app.into_make_service());
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = shutdown => {}
    }
    tokio::select! {
        ended = &mut serving => return ended,
        () = tokio::time::sleep(settings.drain / 2) => {}
    }
    handle.graceful_shutdown(Some(settings.drain / 2));
    serving.await
}

/// What every request is judged with.
struct Admission {
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    settings: Settings,
    memo: Memo,
    /// Bytes of bodies.
    in_flight: Arc<Semaphore>,
    /// Judgements off the place where they were read.
    cores: Arc<Semaphore>,
    /// The shutdown has begun.
    ending: AtomicBool,
}

async fn mutate(State(admission): State<Arc<Admission>>, request: Request) -> Response {
    let started = Instant::now();
    let mut response = match judged(&admission, request).await {
        Ok(answer) => {
            admission.metrics.answered(&answer, started.elapsed());
            let Answer { body, outcome, operation, dry_run, workload, codes } = answer;
            tracing::info!(outcome = outcome.as_str(), operation, dry_run, ?workload, ?codes, "answered");
            ([(CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(refusal) => {
            admission.metrics.refused();
            tracing::info!(%refusal, "refused");
            refusal.into_response()
        }
    };
    // A connection that we closed by ourselves might carry a request already, and the API server sends none twice.
    if admission.ending.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn judged(admission: &Arc<Admission>, request: Request) -> Result<Answer, Refusal> {
    let Settings { body_bytes, body: patience, .. } = admission.settings;
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let share: usize = declared.unwrap_or(body_bytes);
    if share > body_bytes {
        return Err(Refusal::TooLarge);
    }
    let share = u32::try_from(share.max(LEAST_SHARE)).map_err(|_| Refusal::TooLarge)?;
    let share = Arc::clone(&admission.in_flight).try_acquire_many_owned(share).map_err(|_| Refusal::TooMany)?;
    let body = tokio::time::timeout(patience, Bytes::from_request(request, &()))
        .await
        .map_err(|_| Refusal::TooSlow)?
        .map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
        _ => Refusal::Cut,
    })?;
    if body.len() <= JUDGED_IN_PLACE {
        return Ok(admission.judge(&body)?);
    }
    let core = Arc::clone(&admission.cores).acquire_owned().await.expect("the semaphore is never closed");
    let admission = Arc::clone(admission);
    let judging = tokio::task::spawn_blocking(move || {
        // Held by the work and not by who waits for it: that one may hang up, and come again.
        let _held = (share, core);
        admission.judge(&body)
    });
    // A judgement does not panic; only the runtime's end takes it away.
    Ok(judging.await.map_err(|_| Refusal::Cut)??)
}

impl Admission {
    fn judge(&self, body: &[u8]) -> Result<Answer, Malformed> {
        let snapshot = self.snapshot.load();
        answer(body, &World { snapshot: &snapshot, memo: &self.memo, grace: self.settings.grace })
    }
}

/// Why a request gets no AdmissionReview. To the API server it is a call that failed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the body is larger than a request may be")]
    TooLarge,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body did not arrive")]
    Cut,
    #[error("too many requests at one time")]
    TooMany,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Malformed(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        };
        (status, format!("{self}\n")).into_response()
    }
}
