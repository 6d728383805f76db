//! What the controller counts.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::remote::Calls;
use crate::scaling_plan::Status;

/// The controller's metrics. Clones are the same metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub calls: Calls,
    reconciles: Family<OfResult, Counter>,
    workloads: Family<OfState, Gauge>,
    /// Rules of ours that the adapter serves, by the last proof.
    pub rules: Gauge,
    pub config_bytes: Gauge,
    pub rolls: Counter,
    pub sync_errors: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfResult {
    result: Passed,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Passed {
    Ok,
    Error,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfState {
    state: State,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum State {
    Ready,
    Paused,
    Observed,
    Degraded,
}

impl Metrics {
    /// Registers them, but for those of the calls, which others make, too.
    pub fn register(registry: &mut Registry, calls: Calls) -> Self {
        let metrics = Self { calls, ..Self::default() };
        let Self { calls: _, reconciles, workloads, rules, config_bytes, rolls, sync_errors } = metrics.clone();
        registry.register("nimscale_reconcile", "Passes over a workload by their result", reconciles);
        registry.register("nimscale_workloads", "Workloads with a plan by their state", workloads);
        registry.register("nimscale_adapter_rules", "Rules of ours that the adapter serves", rules);
        registry.register("nimscale_adapter_config_bytes", "Bytes of the adapter's config", config_bytes);
        registry.register("nimscale_adapter_rolls", "Rolls of the adapter", rolls);
        registry.register("nimscale_adapter_sync_errors", "Steps with the adapter's config that failed", sync_errors);
        metrics
    }

    pub fn passed(&self, ok: bool) {
        let result = if ok { Passed::Ok } else { Passed::Error };
        self.reconciles.get_or_create(&OfResult { result }).inc();
    }

    /// Counts the plans anew.
    pub fn count<'a>(&self, plans: impl Iterator<Item = &'a Status>) {
        let all = [State::Ready, State::Paused, State::Observed, State::Degraded];
        let mut counts = all.map(|_| 0_i64);
        for plan in plans {
            counts[state(plan) as usize] += 1;
        }
        for (state, count) in all.into_iter().zip(counts) {
            self.workloads.get_or_create(&OfState { state }).set(count);
        }
    }
}

fn state(plan: &Status) -> State {
    let is = |type_: &str, status: &str| plan.condition(type_).is_some_and(|condition| condition.status == status);
    if plan.mode.as_ref().is_some_and(|mode| mode.value == "observe") {
        State::Observed
    } else if is("Paused", "True") {
        State::Paused
    } else if is("Ready", "True") {
        State::Ready
    } else {
        State::Degraded
    }
}

impl EncodeLabelValue for Passed {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let result = match self {
            Self::Ok => "ok",
            Self::Error => "error",
        };
        EncodeLabelValue::encode(&result, encoder)
    }
}

impl EncodeLabelValue for State {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let state = match self {
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Observed => "observe",
            Self::Degraded => "degraded",
        };
        EncodeLabelValue::encode(&state, encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling_plan::{Condition, Effective};

    #[test]
    fn a_plan_is_in_one_state() {
        let with = |type_: &str, status: &str| Status {
            conditions: vec![Condition { type_: type_.into(), status: status.into(), ..Condition::default() }],
            ..Status::default()
        };
        assert_eq!(state(&with("Ready", "True")), State::Ready);
        assert_eq!(state(&with("Ready", "Unknown")), State::Degraded);
        assert_eq!(state(&with("Paused", "True")), State::Paused);
        let mode = Some(Effective { value: "observe".into(), from: String::new() });
        assert_eq!(state(&Status { mode, ..with("Ready", "False") }), State::Observed);
    }
}
