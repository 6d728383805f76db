//! The lease against a scripted API server, in paused time.

use std::sync::{Arc, Mutex};

use axum::http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, SendResponse};

use super::*;

/// One lease as the API server keeps it, and how it answers.
#[derive(Debug, Default)]
struct Store {
    spec: Option<Value>,
    version: u64,
    mood: Mood,
    /// What was asked: method, field manager and holder.
    asked: Vec<String>,
    /// Calls that never get an answer.
    hanging: Vec<SendResponse<Response<Body>>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Answers,
    Hangs,
    /// The next write lands, and its answer is lost.
    LosesAnAnswer,
    /// Another takes the lease just before the next write.
    Robs,
}

impl Store {
    fn write(&mut self, spec: Value) {
        self.version += 1;
        self.spec = Some(spec);
    }

    fn holder(&self) -> &str {
        self.spec.as_ref().and_then(|spec| spec["holderIdentity"].as_str()).unwrap_or_default()
    }

    fn lease(&self) -> (u16, Value) {
        let metadata = json!({"name": "nimscale", "resourceVersion": self.version.to_string()});
        (200, json!({"apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": self.spec}))
    }

    fn answer(&mut self, request: &Request<()>, body: &Value) -> (u16, Value) {
        let refuse = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
        };
        self.asked.push(format!("{} {}", request.method(), body["spec"]["holderIdentity"].as_str().unwrap_or("-")));
        if request.method() == Method::GET {
            return if self.spec.is_some() { self.lease() } else { refuse(404, "NotFound") };
        }
        if self.mood == Mood::Robs {
            self.mood = Mood::Answers;
            self.write(other("thief", 1));
        }
        match body["metadata"]["resourceVersion"].as_str() {
            Some(version) if self.spec.is_none() || version != self.version.to_string() => refuse(409, "Conflict"),
            Some(_) => {
                self.write(body["spec"].clone());
                self.lease()
            }
            None => {
                // What the creation owns is nothing, so it changes nothing that is there.
                assert!(body["spec"].is_null(), "only a compare-and-swap may write the spec: {body}");
                if self.spec.is_none() {
                    self.write(json!({}));
                }
                self.lease()
            }
        }
    }
}

fn other(holder: &str, transitions: i32) -> Value {
    json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": transitions,
        "renewTime": "1999-01-01T00:00:00.000000Z"})
}

struct Rig {
    store: Arc<Mutex<Store>>,
    client: kube::Client,
}

impl Rig {
    fn start(spec: Option<Value>) -> Self {
        let store = Arc::new(Mutex::new(Store { spec, ..Store::default() }));
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let served = Arc::clone(&store);
        tokio::spawn(async move {
            while let Some((request, reply)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                assert!(parts.uri.path().ends_with("/namespaces/nimscale-system/leases/nimscale"), "{}", parts.uri);
                let body = body.collect_bytes().await.expect("a request has its body");
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let mut store = served.lock().expect("no test panics with it");
                if store.mood == Mood::Hangs {
                    store.hanging.push(reply);
                    continue;
                }
                let (code, answer) = store.answer(&Request::from_parts(parts, ()), &body);
                if store.mood == Mood::LosesAnAnswer {
                    store.mood = Mood::Answers;
                    store.hanging.push(reply);
                    continue;
                }
                let answer = Body::from(answer.to_string().into_bytes());
                reply.send_response(Response::builder().status(code).body(answer).expect("a plain response"));
            }
        });
        Self { store, client: kube::Client::new(service, "default") }
    }

    fn candidate(&self, identity: &str) -> (Leadership, JoinHandle<()>, watch::Sender<bool>) {
        let (shutdown, receiver) = watch::channel(false);
        let settings = settings(identity);
        let (leadership, task) = run(self.client.clone(), Calls::default(), settings, receiver);
        (leadership, task, shutdown)
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().expect("no test panics with it")
    }
}

fn settings(identity: &str) -> Settings {
    Settings {
        namespace: "nimscale-system".into(),
        name: "nimscale".into(),
        identity: identity.into(),
        duration: Duration::from_secs(15),
        retry: Duration::from_secs(2),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_lease_that_does_not_exist_is_created_empty_and_taken_by_compare_and_swap() {
    let rig = Rig::start(None);
    let (mut leadership, _task, _shutdown) = rig.candidate("a");
    assert!(!leadership.is_held());
    leadership.changed().await;
    assert!(leadership.is_held());
    assert_eq!(rig.store().asked, ["GET -", "PATCH -", "PATCH a"]);
    assert_eq!(rig.store().spec.as_ref().map(|spec| spec["leaseTransitions"].clone()), Some(json!(1)));
    sleep(61 * SECOND).await;
    assert!(leadership.is_held(), "renewed for a minute");
    assert_eq!(rig.store().asked.len(), 3 + 12, "a renewal each third of the duration, and nothing else");
    let spec = rig.store().spec.clone().expect("taken");
    assert_eq!(spec["leaseTransitions"], json!(1));
    assert_ne!(spec["acquireTime"], spec["renewTime"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_another_is_taken_only_after_its_whole_duration_without_a_sign_of_life() {
    let rig = Rig::start(Some(other("b", 4)));
    let start = Instant::now();
    let (mut leadership, _task, _shutdown) = rig.candidate("a");
    sleep(10 * SECOND).await;
    // Its clock is decades behind: a later time is a sign of life all the same.
    rig.store().write(json!({"holderIdentity": "b", "leaseDurationSeconds": 15, "leaseTransitions": 4,
        "renewTime": "1999-01-01T00:00:01.000000Z"}));
    leadership.changed().await;
    let waited = start.elapsed();
    assert!(waited >= 25 * SECOND && waited <= 30 * SECOND, "{waited:?}");
    assert_eq!(rig.store().holder(), "a");
    assert_eq!(rig.store().spec.as_ref().map(|spec| spec["leaseTransitions"].clone()), Some(json!(5)));
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_race_for_a_free_lease_follows() {
    let rig = Rig::start(Some(json!({})));
    rig.store().mood = Mood::Robs;
    let (leadership, _task, _shutdown) = rig.candidate("a");
    sleep(10 * SECOND).await;
    assert!(!leadership.is_held());
    assert_eq!(rig.store().holder(), "thief");
    assert_eq!(rig.store().asked[..3], ["GET -", "PATCH a", "GET -"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_lost_at_the_next_renewal() {
    let rig = Rig::start(None);
    let (mut leadership, _task, _shutdown) = rig.candidate("a");
    leadership.changed().await;
    rig.store().mood = Mood::Robs;
    let start = Instant::now();
    leadership.until_lost().await;
    assert!(!leadership.is_held());
    assert!(start.elapsed() <= 6 * SECOND, "{:?}", start.elapsed());
    assert_eq!(rig.store().holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_does_not_cost_the_lease() {
    let rig = Rig::start(None);
    let (mut leadership, _task, _shutdown) = rig.candidate("a");
    leadership.changed().await;
    rig.store().mood = Mood::LosesAnAnswer;
    tokio::select! {
        () = leadership.until_lost() => panic!("lost"),
        () = sleep(60 * SECOND) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_hangs_the_lease_ends_before_another_may_take_it() {
    let rig = Rig::start(None);
    let (mut leadership, _task, _shutdown) = rig.candidate("a");
    leadership.changed().await;
    rig.store().mood = Mood::Hangs;
    let start = Instant::now();
    leadership.until_lost().await;
    assert_eq!(start.elapsed().as_secs(), 12, "the duration but for the margin");
    assert!(!leadership.is_held());
    rig.store().mood = Mood::Answers;
    leadership.changed().await;
    leadership.changed().await;
    assert!(leadership.is_held(), "nobody took it meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_gone_holds_nothing() {
    let rig = Rig::start(None);
    let (mut leadership, task, _shutdown) = rig.candidate("a");
    leadership.changed().await;
    task.abort();
    let start = Instant::now();
    leadership.until_lost().await;
    assert_eq!(start.elapsed().as_secs(), 12);
    leadership.changed().await;
    assert!(!leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let rig = Rig::start(None);
    let (mut first, task, shutdown) = rig.candidate("a");
    first.changed().await;
    let (mut second, _task, _shutdown) = rig.candidate("b");
    sleep(20 * SECOND).await;
    assert!(first.is_held() && !second.is_held());
    shutdown.send_replace(true);
    let start = Instant::now();
    task.await.expect("no panic");
    assert!(!first.is_held());
    assert_eq!(rig.store().holder(), "");
    second.changed().await;
    assert!(second.is_held() && start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_hangs_has_a_deadline() {
    let rig = Rig::start(None);
    let (mut leadership, task, shutdown) = rig.candidate("a");
    leadership.changed().await;
    rig.store().mood = Mood::Hangs;
    shutdown.send_replace(true);
    let ended = timeout(7 * SECOND, task).await;
    assert!(ended.is_ok());
    assert!(!leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn two_terms_with_a_loss_between_them_are_two() {
    let (held, receiver) = watch::channel(None);
    let until = Instant::now() + 15 * SECOND;
    let mut leadership = Leadership { held: receiver, seen: None };
    held.send_replace(Some(Held { term: 1, until }));
    leadership.changed().await;
    let other = leadership.clone();
    let lost = other.until_lost();
    tokio::pin!(lost);
    assert!(timeout(SECOND, &mut lost).await.is_err());
    held.send_replace(None);
    held.send_replace(Some(Held { term: 2, until }));
    assert!(timeout(SECOND, &mut lost).await.is_ok());
    leadership.changed().await;
    assert!(leadership.is_held());
}
