//! Merge a Declaration, a policy's defaults and the built-in ones into an Intent: nothing left open, every value with
//! who set it.

use crate::declare::{
    Attach, Behavior, Declaration, DeclaredMetric, Intended, MetricName, Mode, Paused, Range, Source,
};
use crate::findings::Finding;
use crate::place::{Origin, Set};
use crate::policy::{Effective, Limits, lowered};
use crate::presets::{Preset, preset};
use crate::quantity::Milli;
use crate::workload::{Workload, WorkloadId};

/// The range of a workload for which nobody states one.
const DEFAULT_RANGE: Range = Range { min: 1, max: 4 };

/// The metrics of a workload for which nobody states one.
const DEFAULT_METRICS: [&str; 2] = ["kv-cache", "queue-depth"];

/// What a workload shall have. Queries are still text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub id: WorkloadId,
    pub replicas: Set<Range>,
    pub metrics: Vec<DeclaredMetric>,
    pub behavior: Set<Behavior>,
    pub paused: Set<Paused>,
    pub mode: Set<Mode>,
    pub adopt: Option<Set<String>>,
}

/// `None` when the workload does not want to be scaled. A default over a limit is lowered: it is not the author's.
pub(crate) fn resolve(
    workload: &Workload,
    declaration: Declaration,
    effective: &Effective<'_>,
    limits: &Limits,
) -> (Option<Intent>, Vec<Finding>) {
    let mut findings = Vec::new();
    let by_itself = match declaration.attach {
        Attach::Declared => Mode::Enforce,
        Attach::ByPolicy => Mode::Observe,
        Attach::Off | Attach::NotDeclared => return (None, findings),
    };
    let mode = if effective.missing.is_some() {
        // Whatever defaults were wanted, they are not these.
        Set::built_in(Mode::Observe)
    } else {
        let of_policy = effective.policy.and_then(|policy| Some(of_policy(policy.mode()?, policy.name())));
        declaration.mode.or(of_policy).unwrap_or(Set::built_in(by_itself))
    };
    let behavior = effective.policy.and_then(|policy| {
        let behavior = policy.defaults().behavior.clone()?;
        Some(of_policy(behavior, policy.name()))
    });
    let metrics = if declaration.metrics.is_empty() {
        default_metrics(workload, effective, limits, &mut findings)
    } else {
        declaration.metrics
    };
    let intent = Intent {
        id: workload.id.clone(),
        replicas: declaration.replicas.unwrap_or_else(|| default_range(workload, effective, limits, &mut findings)),
        metrics,
        behavior: declaration.behavior.or(behavior).unwrap_or_else(|| Set::built_in(Behavior::balanced())),
        paused: declaration.paused.unwrap_or(Set::built_in(Paused::No)),
        mode,
        adopt: declaration.adopt,
    };
    (Some(intent), findings)
}

fn of_policy<T>(value: T, policy: &str) -> Set<T> {
    Set { value, from: Origin::Policy(policy.to_owned()) }
}

fn default_range(
    workload: &Workload,
    effective: &Effective<'_>,
    limits: &Limits,
    findings: &mut Vec<Finding>,
) -> Set<Range> {
    let of_policy = effective.policy.and_then(|policy| Some(of_policy(policy.defaults().replicas?, policy.name())));
    let range = of_policy.unwrap_or(Set::built_in(DEFAULT_RANGE));
    let limit = &limits.max_replicas;
    let (Range { min, max }, most) = (range.value, limit.value);
    if max <= most {
        return range;
    }
    findings.push(lowered(&format!("default max {max}"), most, limit, workload.annotations_place.clone()));
    Set { value: Range { min: min.min(most), max: most }, from: limit.by.clone() }
}

fn default_metrics(
    workload: &Workload,
    effective: &Effective<'_>,
    limits: &Limits,
    findings: &mut Vec<Finding>,
) -> Vec<DeclaredMetric> {
    let of_policy = effective.policy.filter(|policy| !policy.defaults().metrics.is_empty());
    let stated: Vec<(&'static Preset, Option<Milli>)> = match of_policy {
        Some(policy) => policy.defaults().metrics.clone(),
        None => DEFAULT_METRICS.into_iter().filter_map(|name| Some((preset(name)?, None))).collect(),
    };
    let most = limits.metrics.value;
    if stated.len() > most {
        let what = format!("{} default metrics", stated.len());
        findings.push(lowered(&what, most, &limits.metrics, workload.annotations_place.clone()));
    }
    let metric = |(preset, target): (&'static Preset, Option<Milli>)| {
        let of_policy = target.zip(of_policy).map(|(target, policy)| self::of_policy(target, policy.name()));
        Some(DeclaredMetric {
            name: MetricName::parse(&preset.name)?,
            place: workload.annotations_place.clone(),
            source: Source::Preset(preset),
            target: of_policy.or(preset.target.map(Set::built_in))?,
            intended: Intended::default(),
        })
    };
    stated.into_iter().take(most).filter_map(metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_metric_is_a_preset_with_a_target() {
        for name in DEFAULT_METRICS {
            assert!(preset(name).is_some_and(|preset| preset.target.is_some()), "{name}");
            assert!(MetricName::parse(name).is_some(), "{name}");
        }
    }
}
