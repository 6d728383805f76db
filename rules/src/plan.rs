//! Decide one workload's HPA: target, bounds, behavior, metrics. Nothing here is formatted.

use crate::declare::{Behavior, DeclaredMetric, Direction, Intended, MetricName, Mode, Paused, Range, Source};
use crate::findings::{Code, Finding, cut};
use crate::measure::{Measure, Measured, MetricKind, Question};
use crate::place::{Set, Text};
use crate::platform::Platform;
use crate::quantity::Milli;
use crate::resolve::Intent;
use crate::workload::{WorkloadId, WorkloadKind};

/// One workload's HPA, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub id: WorkloadId,
    /// What was asked for, within every limit.
    pub replicas: Set<Range>,
    /// Sorted by the measure's name, then by target.
    pub metrics: Vec<Metric>,
    pub behavior: Set<Behavior>,
    pub paused: Set<Paused>,
    pub mode: Set<Mode>,
    /// The HPA that its author wants to be taken over, by its name.
    pub adopt: Option<String>,
}

/// One metric of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What its author calls it.
    pub name: MetricName,
    pub measure: Measure,
    pub target: Set<Milli>,
    pub source: MetricSource,
}

/// Where a metric's expression comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricSource {
    /// Attached only once it has returned a value for the workload: not every NIM has its series.
    Preset,
    /// The author's own expression, as written.
    Query(String),
}

impl Plan {
    /// The bounds of the HPA: a hold is both of them.
    pub fn bounds(&self) -> Range {
        match self.paused.value {
            Paused::At(replicas) => Range { min: replicas, max: replicas },
            Paused::Both | Paused::Up | Paused::Down | Paused::No => self.replicas.value,
        }
    }

    /// The behavior of the HPA, with what is paused turned off.
    pub fn behavior(&self) -> Behavior {
        let Behavior { up, down } = self.behavior.value.clone();
        match self.paused.value {
            Paused::Both => Behavior { up: Direction::Off, down: Direction::Off },
            Paused::Up => Behavior { up: Direction::Off, down },
            Paused::Down => Behavior { up, down: Direction::Off },
            Paused::At(_) | Paused::No => Behavior { up, down },
        }
    }
}

/// Compiles every metric of an intent by `measure`. An error among the findings means no plan.
pub fn plan(
    intent: Intent,
    platform: &Platform,
    measure: &dyn Fn(&Question<'_>, &Platform) -> Measured,
) -> (Option<Plan>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut metrics = Vec::new();
    let max = match intent.paused.value {
        Paused::At(replicas) => replicas,
        Paused::Both | Paused::Up | Paused::Down | Paused::No => intent.replicas.value.max,
    };
    for metric in &intent.metrics {
        let target = metric.target.value;
        let namespace = intent.id.namespace.as_deref();
        let measured = match &metric.source {
            Source::Query(text) => {
                let Intended { kind, on_idle, reading } = metric.intended;
                let workload = intent.id.kind;
                let asked = Question::new(text.as_str(), target);
                let question = Question { namespace, workload, kind, on_idle, reading, ..asked };
                let measured = measure(&question, platform);
                let place = metric.target.from.place().unwrap_or(&metric.place);
                findings.extend(measured.reach.as_ref().and_then(|reach| reach.finding(target, place)));
                of_author(measured, text, &mut findings)
            }
            Source::Preset(preset) => {
                let measured = measure(&preset.question(target, namespace), platform);
                // The author wrote the preset's name, not its query: only what stops it is his to know.
                let errors = measured.findings.into_iter().filter(Finding::is_error);
                findings.extend(errors.map(|finding| Finding { place: metric.place.clone(), ..finding }));
                measured.measure
            }
        };
        let Some(measured) = measured else { continue };
        if !fits(measured.bound, target, max) {
            let message =
                format!("{}: a target of {target} is too small for {max} replicas", cut(metric.name.as_str(), 30));
            findings.push(Finding::new(Code::Ns0212, metric.place.clone(), message).help("a larger target"));
        }
        findings.extend(cut_names(&intent, &measured, metric));
        let source = match &metric.source {
            Source::Preset(_) => MetricSource::Preset,
            Source::Query(text) => MetricSource::Query(text.as_str().to_owned()),
        };
        metrics.push(Metric { name: metric.name.clone(), measure: measured, target: metric.target.clone(), source });
    }
    if findings.iter().any(Finding::is_error) {
        return (None, findings);
    }
    metrics.sort_by(|a, b| a.key().cmp(&b.key()));
    let Intent { id, replicas, behavior, paused, mode, adopt, metrics: _ } = intent;
    let adopt = adopt.map(|name| name.value);
    (Some(Plan { id, replicas, metrics, behavior, paused, mode, adopt }), findings)
}

/// Kubernetes cuts the names of a Deployment's pods at 63 characters, and then they no longer start with its whole name:
/// 10 of the template's hash, 5 of the pod's own and two dashes leave 46.
fn cut_names(intent: &Intent, measure: &Measure, metric: &DeclaredMetric) -> Option<Finding> {
    const MOST: usize = 46;
    let length = intent.id.name.len();
    let object = measure.kind == MetricKind::Object(WorkloadKind::Deployment);
    (object && length > MOST).then(|| {
        let message = format!("a name of {length} characters: Kubernetes cuts pod names over {MOST}");
        Finding::new(Code::Ns0436, metric.place.clone(), message).help("a shorter name, or a value per pod")
    })
}

impl Metric {
    /// The order of metrics in a plan and its HPA.
    pub(crate) fn key(&self) -> (&str, Milli) {
        (&self.measure.name, self.target.value)
    }
}

/// Findings about an author's expression stand where it was written; notes are for `explain` alone.
fn of_author(measured: Measured, text: &Text, findings: &mut Vec<Finding>) -> Option<Measure> {
    let shown = measured.findings.into_iter().filter(|finding| finding.severity() != crate::findings::Severity::Note);
    findings.extend(shown.map(|finding| finding.through(text)));
    measured.measure
}

/// The HPA casts ceil(value / target × pods) to `int32`, and from 2^31 on an overloaded metric scales *down*.
fn fits(bound: u64, target: Milli, max: u32) -> bool {
    let wanted = u128::from(bound) * 1000 * u128::from(max);
    wanted < u128::from(target.thousandths()) << 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::default_bound;
    use crate::policy::Limits;
    use crate::presets::presets;

    fn milli(thousandths: u64) -> Milli {
        Milli::from_thousandths(thousandths).expect("a target above 0")
    }

    #[test]
    fn an_overloaded_metric_never_overflows_the_hpa() {
        assert!(fits(1000, milli(100), 16));
        assert!(!fits(1_000_000_000_000, milli(100), 10), "what made an HPA scale 10 to 1");
        for target in [1, 2, 999, 1000, 1001, 75_000, 999_999_999, Milli::MAX.thousandths()] {
            assert!(fits(default_bound(milli(target)), milli(target), 2000), "{target}");
        }
    }

    #[test]
    fn presets_fit_the_built_in_ceiling_at_the_smallest_target() {
        for preset in presets() {
            assert!(fits(preset.bound, milli(1), Limits::BUILT_IN.max_replicas.value), "{}", preset.name);
        }
    }
}
