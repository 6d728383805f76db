//! Ask prometheus-adapter's own code: does a config load, and what would Prometheus be asked?

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::json;

use super::built::built;

#[derive(Deserialize)]
pub struct Answer {
    /// Empty when the config loads and every request has its query.
    #[serde(default)]
    pub error: String,
    /// The distinct series queries, one call each.
    #[serde(default)]
    pub discovery: Vec<String>,
    /// One for each request.
    #[serde(default)]
    pub queries: Vec<String>,
}

/// Requests are objects of `metric`, `resource`, `namespace` and `names`.
pub fn ask(config: &str, requests: &[serde_json::Value]) -> Answer {
    let mut filter =
        Command::new(filter()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the filter runs");
    let question = json!({"config": config, "requests": requests});
    writeln!(filter.stdin.take().expect("piped"), "{question}").expect("it listens");
    let output = filter.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("one answer")
}

/// The filter, looked for once.
fn filter() -> &'static Path {
    static FILTER: OnceLock<PathBuf> = OnceLock::new();
    FILTER.get_or_init(|| built("adapter-ask"))
}
