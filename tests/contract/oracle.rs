//! Isolation: what the user's own text says about a pod when the database holds nothing else.
//!
//! The template never enters the expected value, and the root wrap is done here in plain arithmetic.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use super::adapter::instantiate;
use super::compiler::Idle;
use super::data::{self, NAMESPACES, Namespace, PODS, Pod, Series};
use super::prometheus::{self, Prometheus, Sample};

/// The overload bound of target 1.
pub const BOUND: f64 = 1000.0;
/// Prometheus may add in another order than the oracle.
const TOLERANCE: f64 = 1e-9;

/// What makes one sample of a pod's several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Nothing: the text has one at most.
    Unique,
    Max,
    Sum,
}

#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The user's own text.
    pub text: &'a str,
    pub root: Root,
    pub idle: Idle,
    pub template: &'a str,
}

/// What came of one claim, or the sum over many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Instances: a namespace, its pods asked for, a time.
    pub compared: usize,
    /// Of these, with a value for at least one pod.
    pub non_empty: usize,
    /// Not defined in isolation.
    pub skipped: usize,
    /// Pods with two samples.
    pub twice: usize,
    pub failures: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.non_empty += other.non_empty;
        self.skipped += other.skipped;
        self.twice += other.twice;
        self.failures.extend(other.failures);
    }
}

/// The whole database, and one for each pod that holds its series alone without their namespace.
pub struct World {
    whole: Prometheus,
    isolated: Vec<(Pod, Prometheus)>,
}

impl World {
    /// Built once a process, for all tests.
    pub fn shared() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            prometheus::require_tools();
            // The watchers of the servers remove it: a static is never dropped.
            let directory = tempfile::Builder::new().prefix("nimscale-contract-").tempdir();
            let directory = directory.expect("failed to create a directory").keep();
            Self::build(&directory, &data::all_series())
        })
    }

    fn build(directory: &Path, series: &[Series]) -> Self {
        let isolated = |pods: &[Pod]| -> Vec<(Pod, Prometheus)> {
            let start = |pod: &Pod| {
                let text = data::open_metrics(series.iter().filter(|series| series.pod == *pod), Namespace::Erased);
                let directory = directory.join(format!("{}-{}", pod.namespace, pod.name));
                (*pod, Prometheus::start(&directory, &text))
            };
            pods.iter().map(start).collect()
        };
        let (some, others) = PODS.split_at(PODS.len() / 2);
        thread::scope(|scope| {
            let some = scope.spawn(|| isolated(some));
            let whole =
                Prometheus::start(&directory.join("whole"), &data::open_metrics(series.iter(), Namespace::Kept));
            let mut all = isolated(others);
            all.extend(some.join().expect("failed to start the other half"));
            Self { whole, isolated: all }
        })
    }

    /// Each namespace, its whole pod set and one pod alone, at each time.
    pub fn check(&self, claim: Claim<'_>, times: &[u64]) -> Tally {
        let mut tally = Tally::default();
        for (turn, time) in times.iter().enumerate() {
            let time = data::START + time;
            for namespace in NAMESPACES {
                let expected = self.expected(claim, namespace, time);
                let pods: Vec<_> = expected.keys().copied().collect();
                let alone = pods[(claim.text.len() + turn) % pods.len()];
                tally.add(self.compare(claim, namespace, &pods, time, &expected));
                tally.add(self.compare(claim, namespace, &[alone], time, &expected));
            }
        }
        tally
    }

    /// What the adapter makes of the template for all pods of a namespace.
    pub fn metric(&self, template: &str, namespace: &str, time: u64) -> Result<BTreeMap<String, f64>, String> {
        let pods = PODS.iter().filter(|pod| pod.namespace == namespace).map(|pod| pod.name);
        let instance = instantiate(template, namespace, &pods.collect::<Vec<_>>())?;
        let samples = self.whole.query(&instance, data::START + time)?;
        let entry = |sample: Sample| (sample.labels.get("pod").cloned().unwrap_or_default(), sample.value);
        Ok(samples.into_iter().map(entry).collect())
    }

    /// The metric of each pod of the namespace by isolation; an error where the text is not defined.
    fn expected(&self, claim: Claim<'_>, namespace: &str, time: u64) -> Expected {
        let pods = self.isolated.iter().filter(|(pod, _)| pod.namespace == namespace);
        let value = |(pod, server): &(Pod, Prometheus)| {
            let samples = server.query(claim.text, time)?;
            let own = |sample: &Sample| sample.labels.get("pod").is_some_and(|label| label == pod.name);
            assert!(samples.iter().all(own), "not of kind Pods: {:?}", claim.text);
            let values: Vec<_> = samples.iter().map(|sample| sample.value).collect();
            Ok(combined(claim, &values).and_then(|value| wrapped(value, claim.idle)))
        };
        pods.map(|pod| (pod.0.name, value(pod))).collect()
    }

    fn compare(&self, claim: Claim<'_>, namespace: &str, pods: &[&str], time: u64, expected: &Expected) -> Tally {
        let mut tally = Tally::default();
        let mut wanted = BTreeMap::new();
        for pod in pods {
            match &expected[pod] {
                Ok(value) => wanted.insert(*pod, *value),
                Err(_) => return Tally { skipped: 1, ..tally },
            };
        }
        tally.compared = 1;
        tally.non_empty = usize::from(wanted.values().any(Option::is_some));

        let instance = instantiate(claim.template, namespace, pods);
        let result = instance.clone().and_then(|instance| self.whole.query(&instance, time));
        let mut problems = Vec::new();
        match result {
            Ok(samples) => {
                let mut seen: BTreeMap<&str, f64> = BTreeMap::new();
                for Sample { labels, value } in &samples {
                    match labels.get("pod") {
                        Some(pod) if pods.contains(&pod.as_str()) => {
                            if seen.insert(pod, *value).is_some() {
                                tally.twice += 1;
                                problems.push(format!("{pod} twice"));
                            }
                        }
                        Some(pod) => problems.push(format!("{pod} was not asked for")),
                        None => problems.push("a sample without pod".to_owned()),
                    }
                }
                for (pod, want) in &wanted {
                    let got = seen.get(pod).copied();
                    if !same(*want, got) {
                        problems.push(format!("{pod}: expected {}, got {}", shown(*want), shown(got)));
                    }
                }
            }
            Err(error) => problems.push(error),
        }
        if !problems.is_empty() {
            let Claim { text, root, idle, template } = claim;
            tally.failures.push(format!(
                "{}\n  expression: {text:?} ({root:?}, {idle:?})\n  template:   {template}\n  instance:   {} at {time}",
                problems.join("; "),
                instance.unwrap_or_default(),
            ));
        }
        tally
    }
}

type Expected = BTreeMap<&'static str, Result<Option<f64>, String>>;

/// The aggregators of Prometheus: `max` prefers every number to NaN, `sum` does not.
fn combined(claim: Claim<'_>, values: &[f64]) -> Option<f64> {
    match (claim.root, values) {
        (Root::Unique | Root::Max | Root::Sum, []) => None,
        (Root::Unique, [value]) => Some(*value),
        (Root::Unique, _) => panic!("several samples a pod: {:?}", claim.text),
        (Root::Max, _) => values.iter().copied().reduce(f64::max),
        (Root::Sum, _) => Some(values.iter().sum()),
    }
}

/// The root wrap: overload stays high, what is not a number is missing, or zero when the pod idles.
fn wrapped(value: f64, idle: Idle) -> Option<f64> {
    match idle {
        Idle::Hold if value.is_nan() => None,
        Idle::Zero if value.is_nan() => Some(0.0),
        Idle::Hold | Idle::Zero if value == f64::NEG_INFINITY => None,
        Idle::Hold | Idle::Zero => Some(value.min(BOUND)),
    }
}

fn same(want: Option<f64>, got: Option<f64>) -> bool {
    match (want, got) {
        (None, None) => true,
        (Some(want), Some(got)) => {
            let close = (want - got).abs() <= TOLERANCE * want.abs().max(got.abs());
            want == got || want.is_nan() && got.is_nan() || want.is_finite() && got.is_finite() && close
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("no sample".to_owned(), |value| value.to_string())
}
