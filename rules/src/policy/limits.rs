//! Say what no annotation may exceed, and who says so: the strictest of the policies that match, else the built-in.

use std::time::Duration;

use super::Policy;
use super::spec::OnViolation;
use crate::findings::cut;
use crate::place::Origin;
use crate::promql::{self, NamePattern};

/// The limits that one workload is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most replicas that a range, or a hold, may name.
    pub max_replicas: Limit<u32>,
    /// The most replicas times the GPUs of one pod.
    pub gpus: Option<Limit<u32>>,
    /// The most metrics of one workload.
    pub metrics: Limit<usize>,
    /// The policy that allows presets only.
    pub presets_only: Option<String>,
    /// The most bytes of all annotations of an object: the API's own limit.
    pub annotation_bytes: usize,
    /// The most bytes of one entry of `keep`.
    pub entry_bytes: Limit<usize>,
    /// The longest range of an expression.
    pub range: Limit<Duration>,
    /// The most selectors of an expression.
    pub selectors: Limit<usize>,
    /// Metrics that no expression may read.
    pub(crate) denied: Vec<Denied>,
}

/// One limit: the strictest value that is stated, and who stated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit<T> {
    pub value: T,
    pub by: Origin,
    pub(crate) on_violation: OnViolation,
}

/// Metrics that a policy denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) pattern: NamePattern,
    pub(crate) policy: String,
}

impl Limits {
    pub const BUILT_IN: Self = Self {
        max_replicas: Limit::built_in(16),
        gpus: None,
        metrics: Limit::built_in(8),
        presets_only: None,
        annotation_bytes: 262_144,
        entry_bytes: Limit::built_in(promql::Limits::AUTHOR.bytes),
        range: Limit::built_in(promql::Limits::AUTHOR.range),
        selectors: Limit::built_in(promql::Limits::AUTHOR.selectors),
        denied: Vec::new(),
    };

    /// The strictest of policies in the order of their names; the built-in one where none states a limit.
    pub(super) fn strictest<'p>(policies: impl Iterator<Item = &'p Policy> + Clone) -> Self {
        let built_in = Self::BUILT_IN;
        let denied = policies.clone().flat_map(|policy| {
            let denied = |pattern: &NamePattern| Denied { pattern: pattern.clone(), policy: policy.name.clone() };
            policy.limits.deny_metrics.iter().map(denied)
        });
        Self {
            max_replicas: strictest(policies.clone(), |own| own.max_replicas).unwrap_or(built_in.max_replicas),
            gpus: strictest(policies.clone(), |own| own.gpus),
            metrics: strictest(policies.clone(), |own| own.metrics).unwrap_or(built_in.metrics),
            presets_only: policies.clone().find(|own| own.limits.presets_only).map(|own| own.name.clone()),
            annotation_bytes: built_in.annotation_bytes,
            entry_bytes: strictest(policies.clone(), |own| own.max_bytes).unwrap_or(built_in.entry_bytes),
            range: strictest(policies.clone(), |own| own.max_range).unwrap_or(built_in.range),
            selectors: strictest(policies.clone(), |own| own.max_selectors).unwrap_or(built_in.selectors),
            denied: denied.collect(),
        }
    }

    /// The same, where numbers of replicas, GPUs and metrics lower instead of refusing.
    pub(super) fn clamping(mut self) -> Self {
        self.max_replicas.on_violation = OnViolation::Clamp;
        self.metrics.on_violation = OnViolation::Clamp;
        if let Some(gpus) = &mut self.gpus {
            gpus.on_violation = OnViolation::Clamp;
        }
        self
    }
}

/// The least value; of equal ones a refusal, then the first by name.
fn strictest<'p, T: Copy + Ord>(
    policies: impl Iterator<Item = &'p Policy>,
    of: impl Fn(&OwnLimits) -> Option<T>,
) -> Option<Limit<T>> {
    let stated = policies.filter_map(|policy| Some((of(&policy.limits)?, policy)));
    let strictest = stated.min_by_key(|(value, policy)| (*value, policy.limits.on_violation == OnViolation::Clamp));
    strictest.map(|(value, policy)| Limit {
        value,
        by: Origin::Policy(policy.name.clone()),
        on_violation: policy.limits.on_violation,
    })
}

/// What one policy states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnLimits {
    pub(super) max_replicas: Option<u32>,
    pub(super) gpus: Option<u32>,
    pub(super) metrics: Option<usize>,
    pub(super) presets_only: bool,
    pub(super) max_bytes: Option<usize>,
    pub(super) max_range: Option<Duration>,
    pub(super) max_selectors: Option<usize>,
    pub(super) deny_metrics: Vec<NamePattern>,
    pub(super) on_violation: OnViolation,
}

impl<T> Limit<T> {
    const fn built_in(value: T) -> Self {
        Self { value, by: Origin::BuiltIn, on_violation: OnViolation::Deny }
    }

    pub(crate) fn lowers(&self) -> bool {
        match self.on_violation {
            OnViolation::Clamp => true,
            OnViolation::Deny => false,
        }
    }

    /// Who set it, behind the number in a message: `(built-in)`, `(nim-default)`.
    pub(crate) fn who(&self) -> String {
        format!("({})", named(&self.by).unwrap_or("built-in".to_owned()))
    }

    /// The policy that states it, for a message; `None` for a built-in one.
    pub(crate) fn policy(&self) -> Option<String> {
        named(&self.by)
    }
}

fn named(by: &Origin) -> Option<String> {
    match by {
        Origin::Policy(name) => Some(cut(name, 30)),
        Origin::BuiltIn | Origin::Annotation(_) => None,
    }
}
