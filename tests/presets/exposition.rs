//! What a server shows at `/metrics`: its text, and the database that scraping it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A multiple of two hours and ten minutes: everything lies in one block of the database.
const START: u64 = 1_699_999_800;
const SCRAPE: u64 = 15;
const SCRAPES: u64 = 20;
/// The last scrape: when the metrics are asked for.
pub const END: u64 = START + SCRAPES * SCRAPE;
/// The seconds in which what counts grows by its value at the first scrape.
pub const GROWS_IN: f64 = (END - START) as f64;
/// Two targets are never scraped at the same moment.
const PHASE: u64 = 7;
/// The chart of NIM has two Services of equal labels, so a ServiceMonitor scrapes each pod through both.
const SERVICES: [(&str, u64); 2] = [("nim", 0), ("nim-sts", PHASE)];

/// One line of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A pod and what it shows at the first scrape.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub series: Vec<Series>,
    pub traffic: Traffic,
    /// Labels of its text come before those of its scraping (`honorLabels: true`), as a metric of another pod needs.
    pub honored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// What counts grows from a scrape to the next, from its value to twice that.
    Flows,
    /// What counts stands still.
    Idle,
}

/// The series of a text, each once, and the number of its lines that are none.
pub fn read(text: &str) -> (Vec<Series>, usize) {
    let (mut series, mut seen, mut skipped) = (Vec::new(), BTreeSet::new(), 0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line_of(line) {
            Some(new) if seen.insert((new.name.clone(), new.labels.clone())) => series.push(new),
            Some(_) | None => skipped += 1,
        }
    }
    (series, skipped)
}

fn line_of(line: &str) -> Option<Series> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels_of(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A timestamp may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    is_name(&name.replace(':', "_")).then(|| Series { name: name.to_owned(), labels, value })
}

fn labels_of(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        // As it stands, escapes and all: it is written again just so.
        let escaped = |at: usize| quoted[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
        let end = quoted.match_indices('"').map(|(at, _)| at).find(|at| !escaped(*at))?;
        labels.insert(name.to_owned(), quoted[..end].to_owned());
        rest = &quoted[end + 1..];
        if !is_name(name) {
            return None;
        }
    }
}

fn is_name(name: &str) -> bool {
    let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    legal && !name.starts_with(|first: char| first.is_ascii_digit()) && !name.is_empty()
}

/// The text of `promtool tsdb create-blocks-from openmetrics` for pods behind a ServiceMonitor.
pub fn open_metrics(pods: &[Pod]) -> String {
    let mut text = String::new();
    for (index, pod) in pods.iter().enumerate() {
        for (service, phase) in SERVICES {
            let target = [
                ("container", "nim"),
                ("endpoint", "http-openai"),
                ("instance", &format!("10.0.{}.{}:8000", index / 250, index % 250)),
                ("job", service),
                ("namespace", &pod.namespace),
                ("pod", &pod.name),
                ("service", service),
            ];
            for series in &pod.series {
                let mut labels = BTreeMap::from(target.map(|(name, value)| (name.to_owned(), value.to_owned())));
                for (name, value) in &series.labels {
                    let exported = if labels.contains_key(name) && !pod.honored { "exported_" } else { "" };
                    labels.insert(format!("{exported}{name}"), value.clone());
                }
                let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                let labels = labels.join(",");
                for scrape in (0..=SCRAPES).filter(|scrape| phase == 0 || *scrape < SCRAPES) {
                    let time = START + scrape * SCRAPE + phase;
                    let value = number(series.at(time, pod.traffic));
                    writeln!(text, "{}{{{labels}}} {value} {time}", series.name).expect("a String takes all");
                }
            }
        }
    }
    text + "# EOF\n"
}

impl Series {
    fn at(&self, time: u64, traffic: Traffic) -> f64 {
        let ends = ["_bucket", "_count", "_sum", "_total", "_success", "_failure", "_us"];
        // Triton calls its queue a count.
        let counts =
            ends.iter().any(|end| self.name.ends_with(end)) && self.name != "nv_inference_pending_request_count";
        match traffic {
            Traffic::Flows if counts => self.value * (1.0 + (time - START) as f64 / GROWS_IN),
            Traffic::Flows | Traffic::Idle => self.value,
        }
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() { format!("{}Inf", if value > 0.0 { '+' } else { '-' }) } else { value.to_string() }
}
