//! Gather the plans of a run and every measure that they need, each once, in a stable order.

use std::collections::{BTreeMap, BTreeSet};

use crate::measure::Measure;
use crate::plan::Plan;

/// The plans of a run and their measures; the same whatever the order of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Sorted by workload.
    pub plans: Vec<Plan>,
    /// Sorted by name; one of each name.
    pub measures: Vec<Measure>,
}

/// Bundles plans; equal expressions of different workloads become one measure.
pub fn bundle(mut plans: Vec<Plan>) -> Bundle {
    plans.sort_by(|a, b| a.id.cmp(&b.id));
    extend_colliding_names(&mut plans);
    let measures: BTreeMap<&str, &Measure> = plans
        .iter()
        .flat_map(|plan| &plan.metrics)
        .map(|metric| (metric.measure.name.as_str(), &metric.measure))
        .collect();
    let measures = measures.into_values().cloned().collect();
    Bundle { plans, measures }
}

/// Two texts with one name would be one rule for both: their names take more of the hash. 60 bits make it a matter of
/// principle: ten thousand rules collide with a probability of 4e-11.
fn extend_colliding_names(plans: &mut [Plan]) {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for measure in plans.iter().flat_map(|plan| &plan.metrics).map(|metric| &metric.measure) {
        texts.entry(measure.name.clone()).or_default().insert(measure.template.to_string());
    }
    texts.retain(|_, texts| texts.len() > 1);
    if texts.is_empty() {
        return;
    }
    for plan in plans {
        for measure in plan.metrics.iter_mut().map(|metric| &mut metric.measure) {
            if texts.contains_key(&measure.name) {
                measure.name = measure.long_name();
            }
        }
        plan.metrics.sort_by(|a, b| a.key().cmp(&b.key()));
    }
}
