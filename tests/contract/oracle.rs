//! Isolation: what the user's own text says about a pod, or a workload, when the database holds nothing else.
//!
//! The template never enters the expected value, and the root wrap is done here in plain arithmetic. A side that all pods
//! share is worth what its text alone is worth in the database of the namespace; as a constant it stands in the user's
//! text when that is asked about a pod.

use std::collections::BTreeMap;

use super::compiler::Idle;
use super::data::{Holds, NAMESPACES, PODS, Pod, WORKLOADS, Workload};
use super::expression::{Claim, Piece, Root, pieces, plain, serving};
use super::prometheus::Sample;
use super::request::Request;
use super::world::World;

/// The overload bound of target 1.
pub const BOUND: f64 = 1000.0;
/// Prometheus may add in another order than the oracle, or than itself on another database.
const TOLERANCE: f64 = 1e-9;
/// A variance of equal values is then 1e-30, not 0.
const ROUNDING: f64 = 1e-12;

/// What came of one claim, or the sum over many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Instances: pods of a namespace, or a workload, at a time.
    pub compared: usize,
    /// Of these, with a value.
    pub non_empty: usize,
    /// Not defined in isolation.
    pub skipped: usize,
    /// Names with two samples.
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

/// What one request must be answered at one time.
pub struct Instance {
    request: Request,
    time: u64,
    /// The metric of each name; an error where the text is not defined.
    wanted: Result<BTreeMap<&'static str, Option<f64>>, String>,
}

impl World {
    /// By isolation: for every namespace, its whole pod set and one pod alone, or for every workload of the kind.
    pub fn expected(&self, claim: Claim<'_>, times: &[u64]) -> Vec<Instance> {
        let mut instances = Vec::new();
        for (turn, time) in times.iter().copied().enumerate() {
            match claim.root {
                Root::Unique | Root::Max | Root::Sum => {
                    for namespace in NAMESPACES {
                        let pods: Vec<_> = PODS.into_iter().filter(|pod| pod.namespace == namespace).collect();
                        let alone = pods[(claim.text.len() + turn) % pods.len()];
                        let values = self.of_pods(claim, &pods, time);
                        for pods in [pods, vec![alone]] {
                            let names: Vec<_> = pods.iter().map(|pod| pod.name).collect();
                            let of = |name: &&'static str| Ok((*name, values[name].clone()?));
                            let wanted = names.iter().map(of).collect();
                            instances.push(Instance { request: Request::Pods(namespace, names), time, wanted });
                        }
                    }
                }
                Root::Total(kind) | Root::Level(kind) => {
                    for workload in WORKLOADS.into_iter().filter(|workload| workload.kind == kind) {
                        let wanted = self.of_workload(claim, workload, time);
                        let wanted = wanted.map(|value| BTreeMap::from([(workload.name, value)]));
                        instances.push(Instance { request: Request::Workload(workload), time, wanted });
                    }
                }
            }
        }
        instances
    }

    /// Asks the template about the whole database.
    pub fn check(&self, claim: Claim<'_>, template: &str, instances: &[Instance]) -> Tally {
        let mut tally = Tally::default();
        instances.iter().for_each(|instance| tally.add(self.compare(claim, template, instance)));
        tally
    }

    /// What the adapter makes of the template: each sample by its name, also a second one.
    pub fn metric(&self, template: &str, request: &Request, time: u64) -> Result<Vec<(String, f64)>, String> {
        let samples = self.query(&Holds::Everything, &request.instantiate(template)?, time)?;
        let name = |sample: &Sample| sample.labels.get(request.label()).cloned().unwrap_or_default();
        Ok(samples.into_iter().map(|sample| (name(&sample), sample.value)).collect())
    }

    fn of_pods(
        &self,
        claim: Claim<'_>,
        pods: &[Pod],
        time: u64,
    ) -> BTreeMap<&'static str, Result<Option<f64>, String>> {
        let text = match self.with_shared_sides(claim.text, pods[0].namespace, time) {
            Ok(text) => text,
            Err(error) => return pods.iter().map(|pod| (pod.name, Err(error.clone()))).collect(),
        };
        let value = |(pod, samples): (&Pod, Result<Vec<Sample>, String>)| {
            let value = samples.map(|samples| {
                let own = |sample: &Sample| sample.labels.get("pod").is_some_and(|label| label == pod.name);
                assert!(samples.iter().all(own), "not of kind Pods: {}", claim.text);
                let values: Vec<_> = samples.iter().map(|sample| sample.value).collect();
                combined(claim, &values).and_then(|value| wrapped(value, claim.idle))
            });
            (pod.name, value)
        };
        pods.iter().zip(self.query_each(pods, &text, time)).map(value).collect()
    }

    fn of_workload(&self, claim: Claim<'_>, workload: Workload, time: u64) -> Result<Option<f64>, String> {
        let alone = Holds::Pods(workload.namespace, workload.pods.to_vec());
        let values = |text: &str| -> Result<Vec<f64>, String> {
            Ok(self.query(&alone, text, time)?.iter().map(|sample| sample.value).collect())
        };
        let value = combined(claim, &values(&plain(claim.text))?).and_then(|value| wrapped(value, claim.idle));
        let counts = match (claim.root, serving(claim.text)) {
            (Root::Level(_), Some(series)) => values(&format!("count(count by (pod) ({series}))"))?,
            (Root::Unique | Root::Max | Root::Sum | Root::Total(_) | Root::Level(_), _) => vec![1.0],
        };
        Ok(value.and_then(|value| Some(value * counts.first()?)))
    }

    /// The text with each shared side as a constant.
    fn with_shared_sides(&self, text: &str, namespace: &'static str, time: u64) -> Result<String, String> {
        let everybody = Holds::of_namespace(namespace);
        let mut constant = String::new();
        for piece in pieces(text) {
            constant += &match piece {
                Piece::Text(text) => plain(text),
                Piece::SharedVector(side) => vector(&self.query(&everybody, &plain(side), time)?),
                Piece::SharedNumber(side) => {
                    let value = self.query(&everybody, &format!("vector({})", plain(side)), time)?;
                    format!("({})", number(value[0].value))
                }
            };
        }
        Ok(constant)
    }

    fn compare(&self, claim: Claim<'_>, template: &str, instance: &Instance) -> Tally {
        let Instance { request, time, wanted: Ok(wanted) } = instance else {
            return Tally { skipped: 1, ..Tally::default() };
        };
        let non_empty = usize::from(wanted.values().any(Option::is_some));
        let mut tally = Tally { compared: 1, non_empty, ..Tally::default() };

        let mut problems = Vec::new();
        match self.metric(template, request, *time) {
            Ok(samples) => {
                let mut seen: BTreeMap<&str, f64> = BTreeMap::new();
                for (name, value) in &samples {
                    if !wanted.contains_key(name.as_str()) {
                        problems.push(format!("{name:?} was not asked for"));
                    } else if seen.insert(name, *value).is_some() {
                        tally.twice += 1;
                        problems.push(format!("{name} twice"));
                    }
                }
                for (name, want) in wanted {
                    let got = seen.get(name).copied();
                    if !same(*want, got) {
                        problems.push(format!("{name}: expected {}, got {}", shown(*want), shown(got)));
                    }
                }
            }
            Err(error) => problems.push(error),
        }
        if !problems.is_empty() {
            let Claim { text, root, idle } = claim;
            tally.failures.push(format!(
                "{}\n  expression: {text} ({root:?}, {idle:?}, {:?})\n  template:   {template}\n  instance:   {} at {time}",
                problems.join("; "),
                self.version,
                request.instantiate(template).unwrap_or_default(),
            ));
        }
        tally
    }
}

/// The vector as a text without series.
fn vector(samples: &[Sample]) -> String {
    let sample = |sample: &Sample| {
        let constant = format!("vector({})", number(sample.value));
        sample.labels.iter().fold(constant, |inner, (label, value)| {
            format!("label_replace({inner}, \"{label}\", {value:?}, \"\", \"\")")
        })
    };
    let samples: Vec<_> = samples.iter().map(sample).collect();
    if samples.is_empty() { "(vector(0) > 0)".to_owned() } else { format!("({})", samples.join(" or ")) }
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:e}") } else { value.to_string() }
}

/// The aggregators of Prometheus: `max` prefers every number to NaN, `sum` does not.
fn combined(claim: Claim<'_>, values: &[f64]) -> Option<f64> {
    match (claim.root, values) {
        (Root::Unique | Root::Max | Root::Sum | Root::Total(_) | Root::Level(_), []) => None,
        (Root::Unique | Root::Total(_) | Root::Level(_), [value]) => Some(*value),
        (Root::Unique | Root::Total(_) | Root::Level(_), _) => panic!("several samples: {}", claim.text),
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
            let close = (want - got).abs() <= TOLERANCE * want.abs().max(got.abs()) + ROUNDING;
            want == got || want.is_nan() && got.is_nan() || want.is_finite() && got.is_finite() && close
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("no sample".to_owned(), |value| value.to_string())
}
