//! What a review costs against a handler that does nothing, in one process, over TLS and HTTP/1.1, in turns.
//!
//! Words behind `--` choose the bodies. Prints the medians of the rounds. CPU is that of the server's threads alone.

#[path = "../tests/support/client.rs"]
mod client;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use client::{Authority, Connection};
use nimscale_webhook::{Certificates, Metrics, Settings, Snapshot, serve};
use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::{applied, deployment, review};

static SENT: AtomicUsize = AtomicUsize::new(0);

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 4;

const KEYS: &[(&str, &str)] = &[
    ("scale", "1..8"),
    (
        "keep",
        "gpu_cache_usage_perc < 0.75\nbacklog: sum by (pod) (num_requests_waiting) < 8\n\
         ttft_p95: histogram_quantile(0.95, sum by (pod, le) (rate(time_to_first_token_seconds_bucket[2m]))) < 2\n",
    ),
];

/// Stands for a number that is another one in each request.
const MARK: &str = "########";

const NEW: &[(&str, &str)] = &[
    ("scale", "1..8"),
    (
        "keep",
        "gpu_cache_usage_perc{model=\"########\"} < 0.75\n\
         backlog: sum by (pod) (num_requests_waiting{model=\"########\"}) < 8\n\
         ttft_p95: histogram_quantile(0.95, sum by (pod, le) \
         (rate(time_to_first_token_seconds_bucket{model=\"########\"}[2m]))) < 2\n",
    ),
];

fn main() {
    let authority = Authority::new();
    let product = server("product", &authority, product);
    let no_op = server("no-op", &authority, no_op);
    let object = |replicas| applied(deployment(KEYS, replicas));
    let long: String = (0..8).map(|n| format!("m{n}: x{{a=\"{MARK}\"}}{} < {n}1\n", " + x".repeat(9))).collect();
    let bodies = [
        ("CREATE", review(&object(1), None)),
        ("UPDATE", review(&object(3), Some(&object(2)))),
        ("UPDATE, nothing of ours", review(&object(3), Some(&object(3)))),
        ("CREATE, new expressions", review(&applied(deployment(NEW, 1)), None)),
        ("CREATE, 8 new expressions of 10 selectors", review(&deployment(&[("keep", &long)], 1), None)),
    ];
    println!("{CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?} each in turn; medians");
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    for (name, body) in bodies {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word)) {
            continue;
        }
        let bytes = body.to_string().into_bytes();
        let [mut products, mut no_ops] = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            products.push(round(&product, &authority, &bytes));
            no_ops.push(round(&no_op, &authority, &bytes));
        }
        println!("{name}, {} bytes", bytes.len());
        let ratios = products.iter().zip(&no_ops).map(|(product, no_op)| product.cpu / no_op.cpu).collect();
        print("product", &products);
        print("no-op", &no_ops);
        println!("  CPU product / no-op: {:.2}", median(ratios));
    }
}

/// A server with threads of its own, which tell its CPU from that of the load.
struct Server {
    address: SocketAddr,
    threads: Vec<String>,
}

type Serve = fn(TcpListener, (String, String)) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

fn server(name: &'static str, authority: &Authority, serve: Serve) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let leaf = authority.leaf();
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name(name).enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::spawn(serve(listener, leaf)).await }).expect("no panic").expect("it serves");
    });
    Connection::open(address, authority.trusted(&["http/1.1"])).expect("it listens");
    let comm = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").filter_map(Result::ok);
    let threads = tasks.filter(|task| comm(task).trim() == name).map(|task| task.path().display().to_string());
    let threads: Vec<String> = threads.collect();
    assert!(!threads.is_empty(), "{name} has no thread");
    Server { address, threads }
}

fn product(
    listener: TcpListener,
    (chain, key): (String, String),
) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> {
    let certificates = Arc::new(Certificates::new());
    certificates.set(chain.as_bytes(), key.as_bytes()).expect("a pair");
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    Box::pin(serve(listener, certificates, snapshot, metrics, Settings::default(), std::future::pending()))
}

/// Reads a body and answers the same to all.
fn no_op(
    listener: TcpListener,
    (chain, key): (String, String),
) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> {
    const ANSWER: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}"#;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    let answer = |body: Bytes| async move {
        std::hint::black_box(body.len());
        ([(CONTENT_TYPE, "application/json")], ANSWER)
    };
    let app = Router::new().route("/mutate", post(answer)).layer(DefaultBodyLimit::max(7 << 20));
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(config))).acceptor(NoDelayAcceptor::new());
    let server = axum_server::from_tcp(listener).expect("a listener").acceptor(acceptor).http1_only();
    Box::pin(server.serve(app.into_make_service()))
}

struct Figures {
    per_second: f64,
    /// Microseconds a request.
    cpu: f64,
    p50: f64,
    p99: f64,
}

fn round(server: &Server, authority: &Authority, body: &[u8]) -> Figures {
    let (times, taken) = mpsc::channel();
    let cpu = cpu(server);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let times = times.clone();
            scope.spawn(move || {
                let mut connection = Connection::open(server.address, authority.trusted(&["http/1.1"])).expect("TLS");
                let mut own = Vec::new();
                let mut body = body.to_vec();
                let marks: Vec<usize> = (0..body.len()).filter(|at| body[*at..].starts_with(MARK.as_bytes())).collect();
                while started.elapsed() < ROUND {
                    let number = format!("{:08}", SENT.fetch_add(1, Ordering::Relaxed));
                    marks.iter().for_each(|at| body[*at..at + MARK.len()].copy_from_slice(number.as_bytes()));
                    let sent = Instant::now();
                    let reply = connection.post(&body).expect("an answer");
                    assert!(reply.status == 200 && reply.body.starts_with(b"{"));
                    own.push(sent.elapsed());
                }
                times.send(own).expect("somebody waits");
            });
        }
    });
    drop(times);
    let took = started.elapsed();
    let mut times: Vec<Duration> = taken.into_iter().flatten().collect();
    times.sort();
    let count = times.len() as f64;
    let micros = |part: f64| times[((count - 1.0) * part) as usize].as_secs_f64() * 1e6;
    let cpu = (self::cpu(server) - cpu).as_secs_f64() * 1e6 / count;
    Figures { per_second: count / took.as_secs_f64(), cpu, p50: micros(0.5), p99: micros(0.99) }
}

/// What the threads of a server have run, to the nanosecond: the first number of `schedstat`.
fn cpu(server: &Server) -> Duration {
    let ran = |thread: &String| {
        let stat = fs::read_to_string(format!("{thread}/schedstat")).expect("the kernel counts");
        stat.split(' ').next().and_then(|ran| ran.parse().ok()).map(Duration::from_nanos).expect("a number")
    };
    server.threads.iter().map(ran).sum()
}

fn print(name: &str, rounds: &[Figures]) {
    let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
    println!(
        "  {name:8} {:8.0} requests/s  {:6.1} us CPU  p50 {:5.0} us  p99 {:5.0} us",
        of(|figures| figures.per_second),
        of(|figures| figures.cpu),
        of(|figures| figures.p50),
        of(|figures| figures.p99),
    );
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
