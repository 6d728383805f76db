//! Verbs for tests that read like sentences; `kubectl` does what they say.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Ground;
use crate::control_plane::kubectl;

/// How long anything may take that a cluster does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `kubectl` said.
#[derive(Clone, Debug)]
pub struct Applied {
    pub out: String,
    pub err: String,
    pub accepted: bool,
}

/// Waits until something holds, and fails by its name when it does not.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    if let Err(error) = within(PATIENCE, what, || Ok(holds())) {
        panic!("{error:#}");
    }
}

pub fn within(patience: Duration, what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        if holds()? {
            return Ok(());
        }
        anyhow::ensure!(start.elapsed() < patience, "within {} s not: {what}", patience.as_secs());
        sleep(Duration::from_millis(200));
    }
}

impl Ground {
    /// Runs `kubectl` with some input.
    pub fn kubectl(&self, args: &[&str], input: &str) -> Applied {
        let mut child = kubectl(&self.bin, &self.kubeconfig)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        // What kubectl does not read it does not want.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Applied { out: text(&output.stdout), err: text(&output.stderr), accepted: output.status.success() }
    }

    /// `kubectl apply -f -`, which must succeed.
    pub fn apply(&self, manifests: &str) -> Applied {
        let applied = self.kubectl(&["apply", "-f", "-"], manifests);
        assert!(applied.accepted, "kubectl apply: {}", applied.err);
        applied
    }

    /// `kubectl apply -f -`, which must be refused; what it says of it.
    pub fn rejects(&self, manifests: &str) -> String {
        let applied = self.kubectl(&["apply", "-f", "-"], manifests);
        assert!(!applied.accepted, "accepted: {}", applied.out);
        applied.err
    }

    /// An object, or `null` when it is not there.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let got = self.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"], "");
        serde_json::from_str(&got.out).unwrap_or(Value::Null)
    }

    /// What an aggregated or plain API answers at a path, or the error's text.
    pub fn raw(&self, path: &str) -> Result<Value, String> {
        let got = self.kubectl(&["get", "--raw", path, "--request-timeout=5s"], "");
        if got.accepted { serde_json::from_str(&got.out).map_err(|error| error.to_string()) } else { Err(got.err) }
    }

    /// The values of a Pods metric, in thousandths, by pod; empty while there are none.
    pub fn metric(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        let path = format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/{name}");
        let answer = self.raw(&path).unwrap_or(Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| (text(&item["describedObject"]["name"]), text(&item["value"]))).collect()
    }

    /// What Prometheus answers to an expression now: `data.result`, empty while it has nothing.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let asked = ureq::get("http://127.0.0.1:9090/api/v1/query").query("query", expression).call();
        let answer = asked.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok()).unwrap_or_default();
        let answer: Value = serde_json::from_str(&answer).unwrap_or(Value::Null);
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Reads a metric every second from now on, until what is returned is dropped; it must never be lost.
    pub fn never_loses(&self, namespace: &str, metric: &str) -> Watched {
        let path = format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/{metric}");
        let (bin, kubeconfig) = (self.bin.clone(), self.kubeconfig.clone());
        let (stop, stopped) = mpsc::channel::<()>();
        let reader = thread::spawn(move || {
            let (mut reads, mut failed, mut worst) = (0, 0, 0);
            // A timeout means that nobody has stopped it yet.
            while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let read = kubectl(&bin, &kubeconfig).args(["get", "--raw", &path, "--request-timeout=2s"]).output();
                let items = |out: &[u8]| {
                    serde_json::from_slice::<Value>(out).is_ok_and(|answer| answer["items"][0].is_object())
                };
                reads += 1;
                failed = if read.is_ok_and(|read| items(&read.stdout)) { 0 } else { failed + 1 };
                worst = worst.max(failed);
            }
            (reads, worst)
        });
        Watched { metric: metric.to_owned(), stop: Some(stop), reader: Some(reader) }
    }

    /// The replicas that a workload shall have now.
    pub fn replicas(&self, kind: &str, namespace: &str, name: &str) -> u64 {
        self.get(kind, namespace, name)["spec"]["replicas"].as_u64().unwrap_or(0)
    }

    /// Waits until the workload has this many replicas, and says what the HPAs say when it never has.
    pub fn scales_to(&self, kind: &str, namespace: &str, name: &str, replicas: u64) {
        self.scales_within(PATIENCE, kind, namespace, name, replicas);
    }

    /// [`Self::scales_to`] with another patience: windows that are written in an HPA are real seconds.
    pub fn scales_within(&self, patience: Duration, kind: &str, namespace: &str, name: &str, replicas: u64) {
        let what = format!("{kind} {namespace}/{name} has {replicas} replicas");
        let reached = within(patience, &what, || Ok(self.replicas(kind, namespace, name) == replicas));
        if let Err(error) = reached {
            let hpas = self.kubectl(&["describe", "hpa", "-n", namespace], "").out;
            panic!("{error:#}\n{hpas}");
        }
    }

    /// `kubectl` itself, for what needs more than its last word: `get -w`.
    pub fn kubectl_command(&self) -> Command {
        kubectl(&self.bin, &self.kubeconfig)
    }
}

/// A metric that is read every second; see [`Ground::never_loses`].
pub struct Watched {
    metric: String,
    stop: Option<mpsc::Sender<()>>,
    reader: Option<JoinHandle<(u32, u32)>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.stop.take());
        let Some(Ok((reads, worst))) = self.reader.take().map(JoinHandle::join) else { return };
        println!("{}: read {reads} times, at most {worst} failures in a row", self.metric);
        // A pod that ends races the removal of its endpoint: one or two reads may meet the old one.
        if !thread::panicking() {
            assert!(worst < 3, "{} was lost for {worst} reads in a row", self.metric);
        }
    }
}
