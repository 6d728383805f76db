//! Isolation: what a text says of a pod, or of a workload, when Prometheus holds nothing else.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::thread;

use nimscale_ground::Ground;
use serde_json::Value;

use super::expressions::{Expression, Says};
use super::prometheus::{Prometheus, Sample};

/// The overload bound of target 1.
pub const BOUND: f64 = 1000.0;
/// Prometheus may add in another order than the oracle.
const TOLERANCE: f64 = 1e-9;

/// A workload's pods, each with a database of its own, and one for all of them.
pub struct Isolated {
    pub pods: Vec<(String, Prometheus)>,
    whole: Prometheus,
    families: BTreeSet<String>,
}

impl Isolated {
    /// Copies what the ground's Prometheus holds of these pods. For a pod alone its namespace is erased: the request
    /// chooses it, not the text.
    pub fn copy(ground: &Ground, namespace: &str, pods: &[String], directory: &Path) -> Self {
        let series: Vec<Vec<Value>> = pods.iter().map(|pod| samples(ground, namespace, pod)).collect();
        let name = |one: &Value| one["metric"]["__name__"].as_str().map(str::to_owned);
        let families = series.iter().flatten().filter_map(name).collect();
        let start = |name: &str, text: String| Prometheus::start(&directory.join(name), &text);
        let (pods, whole) = thread::scope(|scope| {
            let whole = scope.spawn(|| start("whole", open_metrics(series.iter().flatten(), false)));
            let alone =
                pods.iter().zip(&series).map(|(pod, series)| (pod.clone(), start(pod, open_metrics(series, true))));
            (alone.collect(), whole.join().expect("the other server starts"))
        });
        Self { pods, whole, families }
    }

    /// The metric of a pod; an error where the text is not defined for it alone.
    pub fn of_pod(&self, expression: &Expression, pod: &str, at: &str) -> Result<Option<f64>, String> {
        let (_, server) = self.pods.iter().find(|(name, _)| name == pod).expect("one of the workload's");
        if let Says::ByHand(by_hand) = expression.says {
            let slots = values(&server.query("max(slots)", at)?);
            return Ok(slots.first().map(|slots| by_hand(*slots)));
        }
        let samples = server.query(&expression.text, at)?;
        assert!(
            samples.iter().all(|one| one.labels.get("pod").is_some_and(|label| label == pod)),
            "{}",
            expression.text
        );
        let values = values(&samples);
        let value = match expression.says {
            Says::Max => values.into_iter().reduce(f64::max),
            Says::Sum => values.into_iter().reduce(|a, b| a + b),
            Says::One | Says::Total | Says::Level | Says::ByHand(_) => one(values),
        };
        Ok(value.and_then(|value| wrapped(value, expression)))
    }

    /// The metric of the workload.
    pub fn of_workload(&self, expression: &Expression, at: &str) -> Result<Option<f64>, String> {
        let value = one(values(&self.whole.query(&expression.text, at)?)).and_then(|value| wrapped(value, expression));
        let is_level = matches!(expression.says, Says::Level);
        let (Some(value), Some(family)) = (value, self.first_family(&expression.text).filter(|_| is_level)) else {
            return Ok(value);
        };
        let serve = |server: &Prometheus| server.query(family, at).is_ok_and(|samples| !samples.is_empty());
        Ok(Some(value * self.pods.iter().filter(|(_, server)| serve(server)).count() as f64))
    }

    /// The first family of a text that the pods themselves report.
    fn first_family<'a>(&self, text: &'a str) -> Option<&'a str> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let mut words = text.split(|c| !is_name(c));
        words.find(|word| self.families.contains(*word) && !word.starts_with("kube_"))
    }
}

/// Whether the adapter's thousandths are this value: it cuts off what is under one.
pub fn is_served(value: Option<f64>, served: Option<i64>) -> bool {
    match (value, served) {
        (None, None) => true,
        (Some(value), Some(served)) => {
            let error = TOLERANCE * value.abs();
            (((value - error) * 1000.0) as i64..=((value + error) * 1000.0) as i64).contains(&served)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The root wrap: overload stays high, what is not a number is missing, or 0 when the pod idles.
fn wrapped(value: f64, expression: &Expression) -> Option<f64> {
    if value.is_nan() {
        return expression.idles.then_some(0.0);
    }
    (value != f64::NEG_INFINITY).then_some(value.min(BOUND))
}

fn one(values: Vec<f64>) -> Option<f64> {
    assert!(values.len() < 2, "several samples: {values:?}");
    values.first().copied()
}

fn values(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.value).collect()
}

/// All series of a pod with all their samples.
fn samples(ground: &Ground, namespace: &str, pod: &str) -> Vec<Value> {
    let series = ground.query(&format!("{{namespace=\"{namespace}\",pod=\"{pod}\"}}[20m]"));
    assert!(!series.is_empty(), "{pod} was scraped");
    series
}

/// The text of `promtool tsdb create-blocks-from openmetrics`.
fn open_metrics<'a>(series: impl IntoIterator<Item = &'a Value>, erases_namespace: bool) -> String {
    let mut text = String::new();
    for one in series {
        let labels = one["metric"].as_object().expect("a series has labels");
        let name = labels["__name__"].as_str().expect("a series has a name");
        let hidden = |label: &str| label == "__name__" || label == "namespace" && erases_namespace;
        // JSON escapes as OpenMetrics does what labels hold here.
        let labels = labels.iter().filter(|(label, _)| !hidden(label)).map(|(label, value)| format!("{label}={value}"));
        let labels = labels.collect::<Vec<_>>().join(",");
        for sample in one["values"].as_array().into_iter().flatten() {
            let seconds = sample[0].as_f64().expect("a time");
            let value = sample[1].as_str().expect("a value");
            // promtool cuts thousandths off: half of one more keeps the time as it is.
            writeln!(text, "{name}{{{labels}}} {value} {:.4}", (seconds * 1000.0).round() / 1000.0 + 0.0005)
                .expect("a String takes all");
        }
    }
    text + "# EOF\n"
}
