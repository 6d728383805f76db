//! The webhook from outside: over TLS on a port of its own.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

#[path = "support/client.rs"]
mod client;
mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use client::{Authority, Connection, Reply, request};
use nimscale_rules::workload::WorkloadKind;
use nimscale_webhook::{Certificates, Hpa, Hpas, Metrics, Settings, Snapshot, serve};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use support::{applied, deployment, review};
use tokio::sync::oneshot;

/// A webhook that serves on a port of its own until it is dropped.
struct Webhook {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    authority: Authority,
    registry: Registry,
    shutdown: Option<oneshot::Sender<()>>,
    runtime: tokio::runtime::Runtime,
    served: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

impl Webhook {
    fn start(settings: Settings, snapshot: Snapshot) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (authority, certificates) = (Authority::new(), Arc::new(Certificates::new()));
        let (chain, key) = authority.leaf();
        certificates.set(chain.as_bytes(), key.as_bytes()).expect("a pair");
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let (shutdown, wait) = oneshot::channel::<()>();
        let wait = async move { wait.await.unwrap_or_default() };
        let served = runtime.spawn(serve(listener, Arc::clone(&certificates), snapshot, metrics, settings, wait));
        let (shutdown, served) = (Some(shutdown), Some(served));
        Self { address, certificates, authority, registry, shutdown, runtime, served }
    }

    fn connect(&self) -> Connection {
        Connection::open(self.address, self.authority.trusted(&["http/1.1"])).expect("a connection")
    }

    /// Begins the shutdown.
    fn stop(&mut self) {
        self.shutdown.take().expect("it runs").send(()).expect("it listens");
    }

    /// Waits for the end of the server.
    fn ended(&mut self) -> io::Result<()> {
        let served = self.served.take().expect("nobody waited yet");
        self.runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(20), served).await })
            .expect("it ends in time")
            .expect("it does not panic")
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("text");
        text
    }
}

fn active() -> Hpa {
    Hpa {
        name: "llama-nimscale".to_owned(),
        owner: Some("0b7f3c9e-6f43-4d3c-9d0a-3a4e9c1d2f10".to_owned()),
        ours: true,
        adoptable: false,
        min: 1,
        max: 8,
        active: Some(true),
        current: 3,
    }
}

fn snapshot(hpas: Vec<Hpa>) -> Snapshot {
    let of = |hpa| ("nim".to_owned(), WorkloadKind::Deployment, "llama".to_owned(), hpa);
    Snapshot { hpas: hpas.into_iter().map(of).collect::<Hpas>(), ..Snapshot::default() }
}

const SCALE: &[(&str, &str)] = &[("scale", "2..8")];

fn start(snapshot: Snapshot) -> Webhook {
    Webhook::start(Settings::default(), snapshot)
}

fn answer(connection: &mut Connection, review: &Value) -> Value {
    let Reply { status, body } = connection.post(review.to_string().as_bytes()).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
    answer["response"].clone()
}

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

#[test]
fn the_answers_are_these() {
    let webhook = start(snapshot(vec![active()]));
    let mut connection = webhook.connect();
    let mut ask = |review: Value| answer(&mut connection, &review);

    let unchanged = json!({"uid": UID, "allowed": true});
    assert_eq!(ask(review(&deployment(SCALE, 2), None)), unchanged);

    // [{"op":"replace","path":"/spec/replicas","value":2}]
    let raised = "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zcGVjL3JlcGxpY2FzIiwidmFsdWUiOjJ9XQ==";
    let warning = "NS0403: replicas raised from 1 to the minimum 2";
    let patched =
        json!({"uid": UID, "allowed": true, "patch": raised, "patchType": "JSONPatch", "warnings": [warning]});
    assert_eq!(ask(review(&deployment(SCALE, 1), None)), patched);

    let message = "NS0111: 1-8 is not a range MIN..MAX (nimscale.dev/scale; type: 1..8)";
    let status = json!({"status": "Failure", "message": message, "reason": "Forbidden", "code": 403});
    let denied = json!({"uid": UID, "allowed": false, "status": status});
    assert_eq!(ask(review(&deployment(&[("scale", "1-8")], 1), None)), denied);

    let kept = ask(review(&applied(deployment(SCALE, 1)), Some(&applied(deployment(SCALE, 3)))));
    let warning = "NS0402: replicas kept at 3 (manifest: 1); delete spec.replicas, or hold with paused: \"1\"";
    assert_eq!((&kept["allowed"], &kept["warnings"]), (&json!(true), &json!([warning])));

    let mut deleted = review(&deployment(&[("scale", "1-8")], 1), None);
    deleted["request"]["operation"] = json!("DELETE");
    deleted["request"]["oldObject"] = deleted["request"]["object"].take();
    assert_eq!(ask(deleted), unchanged);
    for (field, value) in
        [("subResource", json!("scale")), ("kind", json!({"group": "", "version": "v1", "kind": "Pod"}))]
    {
        let mut other = review(&deployment(&[("scale", "1-8")], 1), None);
        other["request"][field] = value;
        assert_eq!(ask(other), unchanged, "{field}");
    }

    let metrics = webhook.metrics();
    for line in [
        "nimscale_admission_requests_total{operation=\"CREATE\",outcome=\"allowed\",dry_run=\"false\"} 1",
        "nimscale_admission_requests_total{operation=\"CREATE\",outcome=\"patched\",dry_run=\"false\"} 1",
        "nimscale_admission_requests_total{operation=\"CREATE\",outcome=\"denied\",dry_run=\"false\"} 1",
        "nimscale_admission_requests_total{operation=\"CREATE\",outcome=\"skipped\",dry_run=\"false\"} 2",
        "nimscale_admission_requests_total{operation=\"OTHER\",outcome=\"skipped\",dry_run=\"false\"} 1",
        "nimscale_admission_duration_seconds_count{operation=\"UPDATE\"} 1",
        "nimscale_diagnostics_total{code=\"NS0111\",at=\"admission\"} 1",
    ] {
        assert!(metrics.lines().any(|is| is == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_body_that_is_no_review_is_refused_in_a_line() {
    let webhook = start(Snapshot::default());
    let mut connection = webhook.connect();
    let mut without_object = review(&deployment(SCALE, 1), None);
    without_object["request"]["object"] = Value::Null;
    let bodies = [
        b"".to_vec(),
        b"\xff\xfe\x00garbage".to_vec(),
        b"{}".to_vec(),
        br#"{"apiVersion":"v1","kind":"Pod"}"#.to_vec(),
        vec![b'['; 100_000],
        without_object.to_string().into_bytes(),
    ];
    for body in &bodies {
        let reply = connection.post(body).unwrap();
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!((reply.status, text.lines().count(), text.is_empty()), (400, 1, false), "{text}");
    }
    let refused = "nimscale_admission_requests_total{operation=\"OTHER\",outcome=\"error\",dry_run=\"false\"} 6";
    assert!(webhook.metrics().lines().any(|line| line == refused), "{}", webhook.metrics());
    assert_eq!(connection.post(review(&deployment(SCALE, 2), None).to_string().as_bytes()).unwrap().status, 200);
}

#[test]
fn seven_mebibytes_pass_and_a_byte_more_does_not() {
    let webhook = start(Snapshot::default());
    let body = |length: usize| {
        let mut object = deployment(SCALE, 1);
        object["metadata"]["annotations"]["other"] = json!("");
        let room = length - review(&object, None).to_string().len();
        object["metadata"]["labels"]["filler"] = json!("");
        let room = room - ",\"filler\":\"\"".len();
        object["metadata"]["labels"]["filler"] = json!("x".repeat(room));
        review(&object, None).to_string().into_bytes()
    };
    let most = body(7 << 20);
    assert_eq!(most.len(), 7 << 20);
    let reply = webhook.connect().post(&most).unwrap();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &answer["response"]["patchType"]), (200, &json!("JSONPatch")));

    let mut connection = webhook.connect();
    // It is refused by its length alone: the answer may come before the body has been sent.
    let _ = connection.send(&request(&body((7 << 20) + 1))[..4096]);
    assert_eq!(connection.receive().unwrap().status, 413);

    let mut connection = webhook.connect();
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    let mebibyte = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    (0..7).for_each(|_| connection.send(&mebibyte).unwrap());
    connection.send(b"1\r\n \r\n").unwrap();
    assert_eq!(connection.receive().unwrap().status, 413, "a length that is not declared is counted");
}

#[test]
fn what_is_too_much_at_one_time_is_sent_away() {
    let webhook = Webhook::start(Settings { in_flight_bytes: 1 << 20, ..Settings::default() }, Snapshot::default());
    let body = review(&deployment(SCALE, 2), None).to_string().into_bytes();
    let status = || webhook.connect().post(&body).unwrap().status;
    let slow = || {
        let mut slow = webhook.connect();
        slow.send(b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1040000\r\n\r\n{").unwrap();
        thread::sleep(Duration::from_millis(50));
        slow
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut held = slow();
    while status() != 429 {
        assert!(Instant::now() < deadline, "the slow body is never counted");
        // It came while the quick one was in flight, and was sent away itself.
        held = slow();
    }
    drop(held);
    while status() != 200 {
        assert!(Instant::now() < deadline, "what hung up is still counted");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_is_slow_is_cut() {
    let short = Duration::from_millis(200);
    let settings = Settings { handshake: short, body: short, idle: Duration::from_millis(800), ..Settings::default() };
    let webhook = Webhook::start(settings, Snapshot::default());
    let mut rest = Vec::new();

    let mut silent = TcpStream::connect(webhook.address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(matches!(silent.read_to_end(&mut rest), Ok(0)), "a handshake that never comes");

    let mut header = webhook.connect();
    header.send(b"POST /mutate HTTP/1.1\r\nHost: loc").unwrap();
    assert!(header.receive().is_err(), "headers that never end");

    let mut body = webhook.connect();
    body.send(b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    assert_eq!(body.receive().unwrap().status, 408);

    let mut idle = webhook.connect();
    let review = review(&deployment(SCALE, 2), None).to_string().into_bytes();
    assert_eq!(idle.post(&review).unwrap().status, 200);
    thread::sleep(2 * short);
    assert_eq!(idle.post(&review).unwrap().status, 200, "a connection may wait for its next request");
    idle.send(b"POST /mutate HTTP/1.1\r\nHost: loc").unwrap();
    assert!(idle.receive().is_err(), "and not for ever");
}

#[test]
fn http_1_1_is_all_that_is_spoken() {
    let webhook = start(Snapshot::default());
    let mut both = Connection::open(webhook.address, webhook.authority.trusted(&["h2", "http/1.1"])).unwrap();
    assert_eq!(both.post(b"").unwrap().status, 400);
    assert_eq!(both.0.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let only_h2 = Connection::open(webhook.address, webhook.authority.trusted(&["h2"]));
    assert!(only_h2.and_then(|mut connection| connection.post(b"")).is_err());
}

#[test]
fn other_paths_and_methods_are_not_there() {
    let webhook = start(Snapshot::default());
    let mut connection = webhook.connect();
    for (line, status) in [("GET /mutate", 405), ("POST /", 404), ("POST /mutate/x", 404)] {
        connection.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(connection.receive().unwrap().status, status, "{line}");
    }
}

#[test]
fn certificates_are_swapped_under_load() {
    let webhook = start(Snapshot::default());
    let body = review(&deployment(SCALE, 2), None).to_string().into_bytes();
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let first = leaf_shown(&webhook, &body);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // A connection each: every call is a handshake.
                    assert_eq!(webhook.connect().post(&body).unwrap().status, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let mut kept = webhook.connect();
            while !done.load(Ordering::Relaxed) {
                assert_eq!(kept.post(&body).unwrap().status, 200, "a connection outlives the swaps");
            }
        });
        for _ in 0..20 {
            let (before, (chain, key)) = (calls.load(Ordering::Relaxed), webhook.authority.leaf());
            webhook.certificates.set(chain.as_bytes(), key.as_bytes()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while calls.load(Ordering::Relaxed) < before + 3 && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(calls.load(Ordering::Relaxed) >= 60);
    assert_ne!(leaf_shown(&webhook, &body), first);
}

fn leaf_shown(webhook: &Webhook, body: &[u8]) -> Vec<u8> {
    let mut connection = webhook.connect();
    connection.post(body).unwrap();
    connection.0.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn the_shutdown_lets_clients_go_and_then_finishes_what_is_in_flight() {
    let settings = Settings { drain: Duration::from_secs(4), ..Settings::default() };
    let mut webhook = Webhook::start(settings, Snapshot::default());
    let body = review(&deployment(SCALE, 2), None).to_string().into_bytes();
    let (mut in_flight, mut idle) = (webhook.connect(), webhook.connect());
    for _ in 0..2 {
        assert_eq!(idle.post(&body).unwrap().status, 200);
    }
    webhook.stop();
    let deadline = Instant::now() + Duration::from_secs(10);
    let stays = |mut connection: Connection| {
        assert_eq!(connection.post(&body).unwrap().status, 200, "new connections are still taken");
        connection.post(&body).is_ok()
    };
    while stays(webhook.connect()) {
        assert!(Instant::now() < deadline, "connections are kept");
    }
    assert_eq!(idle.post(&body).unwrap().status, 200, "whoever is connected is answered");
    assert!(idle.post(&body).is_err(), "once");
    let whole = request(&body);
    let (begun, rest) = whole.split_at(whole.len() - 100);
    in_flight.send(begun).unwrap();
    while TcpStream::connect(webhook.address).is_ok() {
        assert!(Instant::now() < deadline, "new connections are still taken");
        thread::sleep(Duration::from_millis(5));
    }
    in_flight.send(rest).unwrap();
    assert_eq!(in_flight.receive().unwrap().status, 200);
    webhook.ended().unwrap();
}

#[test]
fn a_body_that_never_ends_does_not_hold_the_shutdown() {
    let settings =
        Settings { drain: Duration::from_millis(200), body: Duration::from_secs(600), ..Settings::default() };
    let mut webhook = Webhook::start(settings, Snapshot::default());
    let mut endless = webhook.connect();
    endless.send(b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    thread::sleep(Duration::from_millis(50));
    webhook.stop();
    webhook.ended().unwrap();
    assert!(endless.receive().is_err());
}

#[test]
fn nothing_is_answered_in_the_clear() {
    let webhook = start(Snapshot::default());
    let mut plain = TcpStream::connect(webhook.address).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"));
}
