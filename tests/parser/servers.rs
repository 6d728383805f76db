//! Ask Prometheus of both dialects how it reads a text, and what the text is worth.

use std::fmt::Write;
use std::sync::OnceLock;
use std::thread;

use serde_json::Value;

use super::built::built;
use super::prometheus::{Prometheus, require_tools};
use super::regexes;
use super::tree::canonical;
use super::words::METRICS;

/// Inside the series below, and a multiple of no step.
pub const NOW: u64 = 1_700_003_607;
const START: u64 = 1_700_000_007;
const STEP: u64 = 15;
const STEPS: u64 = 260;
/// Two pods, two values of another label, each with the label's absence.
const LABELS: [&str; 5] = [
    "pod=\"p1\",l=\"a\",le=\"0.5\"",
    "pod=\"p1\",l=\"a\",le=\"+Inf\"",
    "pod=\"p2\",l=\"b\",le=\"1.0\"",
    "pod=\"p2\"",
    "l=\"a,b\",quantile=\"0.5\"",
];

pub struct Servers {
    /// 2.42, which has its own formatter alone, and 3.x, which shows its tree.
    pub debian: Prometheus,
    pub v3: Prometheus,
}

impl Servers {
    /// Started once a process, for all tests.
    pub fn shared() -> &'static Self {
        static SERVERS: OnceLock<Servers> = OnceLock::new();
        SERVERS.get_or_init(|| {
            require_tools();
            let program = built("prometheus-3");
            // The watchers of the servers remove it: a static is never dropped.
            let directory = tempfile::Builder::new().prefix("nimscale-parser-").tempdir();
            let directory = directory.expect("failed to create a directory").keep();
            let series = series();
            thread::scope(|scope| {
                let debian = scope.spawn(|| Prometheus::start(&directory.join("debian"), &series));
                let v3 = Prometheus::start_as(&program, &directory.join("v3"), &series);
                Self { debian: debian.join().expect("the other server starts"), v3 }
            })
        })
    }

    /// What 2.42 reads a text as, in its own spelling.
    pub fn formatted(&self, text: &str) -> Result<String, String> {
        data(&self.debian.ask("format_query", [("query", text)]))
            .map(|formatted| formatted.as_str().expect("a text").to_owned())
    }

    /// What 3.x reads a text as.
    pub fn tree(&self, text: &str) -> Result<Value, String> {
        data(&self.v3.ask("parse_query", [("query", text)])).map(canonical)
    }
}

/// What a text is worth at [`NOW`].
pub fn worth(server: &Prometheus, text: &str) -> Result<Value, String> {
    let mut worth = data(&server.ask("query", [("query", text), ("time", &NOW.to_string())]))?;
    if let Some(series) = worth["result"].as_array_mut() {
        series.sort_by_key(Value::to_string);
    }
    Ok(worth)
}

fn data(answer: &str) -> Result<Value, String> {
    let mut answer: Value = serde_json::from_str(answer).unwrap_or_else(|_| panic!("not an answer: {answer}"));
    match answer["error"].as_str() {
        None => Ok(answer["data"].take()),
        Some(error) => Err(error.to_owned()),
    }
}

/// Each metric with all of [`LABELS`], and `v` with a label of every value that a pattern is tried on.
fn series() -> String {
    let mut text = String::new();
    for (number, metric) in METRICS.iter().enumerate() {
        for (at, labels) in LABELS.iter().enumerate() {
            for step in 0..STEPS {
                let (pace, restart) = (number as u64 + 2 * at as u64 + 1, step % 97);
                let value = if metric.starts_with("x_") { pace * restart } else { (pace * step) % 13 };
                writeln!(text, "{metric}{{{labels}}} {value} {}", START + step * STEP).expect("a string grows");
            }
        }
    }
    for value in regexes::VALUES {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        writeln!(text, "v{{l=\"{value}\"}} 1 {NOW}").expect("a string grows");
    }
    text + "# EOF\n"
}
