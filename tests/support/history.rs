//! What an object of the API said over time, and what was told of it.

use std::io::Read;
use std::process::{Child, Stdio};

use nimscale_ground::Ground;
use serde_json::Value;

/// What an object said at a path from now on, each time that it changed; `kubectl get -w` reads it.
pub struct Followed(Child);

impl Followed {
    pub fn new(ground: &Ground, kind: &str, namespace: &str, name: &str, path: &str) -> Self {
        let path = format!("jsonpath={{{path}}}{{\"\\n\"}}");
        let mut watch = ground.kubectl_command();
        watch.args(["get", kind, name, "-n", namespace, "-w", "-o", &path]).stdout(Stdio::piped());
        Self(watch.spawn().expect("kubectl runs"))
    }

    /// Each value once, as often as it came anew.
    pub fn said(mut self) -> Vec<String> {
        let _ = self.0.kill();
        let mut text = String::new();
        let mut out = self.0.stdout.take().expect("piped");
        out.read_to_string(&mut text).expect("UTF-8");
        let _ = self.0.wait();
        let mut said: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        said.dedup();
        said
    }
}

/// Where an HPA says whether it sees its metrics.
pub const ACTIVE: &str = ".status.conditions[?(@.type==\"ScalingActive\")].status";

/// The reasons and notes of the Events on an object, sorted.
pub fn events(ground: &Ground, namespace: &str, kind: &str, name: &str) -> Vec<(String, String)> {
    let fields = format!("--field-selector=involvedObject.kind={kind},involvedObject.name={name}");
    let got = ground.kubectl(&["get", "events", "-n", namespace, &fields, "-o", "json"], "");
    let got: Value = serde_json::from_str(&got.out).unwrap_or_default();
    let ours = got["items"].as_array().cloned().unwrap_or_default().into_iter();
    let ours = ours.filter(|event| event["reportingComponent"] == "nimscale-controller");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A series is one Event that came again.
    let repeated = |event: &Value| event["series"]["count"].as_u64().unwrap_or(1) as usize;
    let mut events: Vec<(String, String)> =
        ours.flat_map(|event| vec![(text(&event["reason"]), text(&event["message"])); repeated(&event)]).collect();
    events.sort();
    events
}
