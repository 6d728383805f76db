//! Merge a Declaration and the built-in defaults into an Intent: nothing left open, every value with who set it.

use crate::declare::{Attach, Behavior, Declaration, DeclaredMetric, MetricName, Mode, Paused, Range, Source};
use crate::place::{Place, Set};
use crate::presets::preset;
use crate::workload::WorkloadId;

/// The range of a workload whose author states none.
const DEFAULT_RANGE: Range = Range { min: 1, max: 4 };

/// The metrics of a workload whose author states none.
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
}

/// `None` when the workload does not want to be scaled. `place` stands for what nobody wrote.
pub fn resolve(id: &WorkloadId, declaration: Declaration, place: &Place) -> Option<Intent> {
    match declaration.attach {
        Attach::Declared => {}
        Attach::Off | Attach::NotDeclared => return None,
    }
    let metrics = if declaration.metrics.is_empty() { default_metrics(place) } else { declaration.metrics };
    Some(Intent {
        id: id.clone(),
        replicas: declaration.replicas.unwrap_or(Set::built_in(DEFAULT_RANGE)),
        metrics,
        behavior: declaration.behavior.unwrap_or_else(|| Set::built_in(Behavior::balanced())),
        paused: declaration.paused.unwrap_or(Set::built_in(Paused::No)),
        mode: declaration.mode.unwrap_or(Set::built_in(Mode::Enforce)),
    })
}

fn default_metrics(place: &Place) -> Vec<DeclaredMetric> {
    let presets = DEFAULT_METRICS.into_iter().filter_map(preset);
    presets
        .filter_map(|preset| {
            Some(DeclaredMetric {
                name: MetricName::parse(&preset.name)?,
                place: place.clone(),
                source: Source::Preset(preset),
                target: Set::built_in(preset.target?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_metric_is_a_preset_with_a_query_and_a_target() {
        let metrics = default_metrics(&Place::of_text(Default::default()));
        assert_eq!(metrics.len(), DEFAULT_METRICS.len());
        for name in DEFAULT_METRICS {
            assert!(preset(name).is_some_and(|preset| preset.query.is_some()), "{name}");
        }
    }
}
