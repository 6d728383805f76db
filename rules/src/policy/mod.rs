//! Policies: what holds for a workload beside its annotations, and what they may not exceed.

mod book;
mod hold;
mod limits;
mod nim;
mod read;
pub mod spec;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use book::Book;
pub(crate) use hold::{hold, lowered};
pub use limits::{Limit, Limits};
use nim::ImagePattern;
pub use spec::Spec;

use crate::declare::{Behavior, Mode, Pick, Range};
use crate::findings::{Code, Finding, cut, nearest};
use crate::place::Set;
use crate::presets::Preset;
use crate::quantity::Milli;
use crate::workload::{Selector, Workload};

/// What becomes of `spec.replicas` when an update would undo what an HPA chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Guard {
    /// The live value is kept, and the author is told.
    #[default]
    Preserve,
    /// The author is told.
    Warn,
    Off,
}

/// A ClusterScalingPolicy that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: String,
    priority: i32,
    mode: Option<Mode>,
    guard: Guard,
    namespaces: Selector,
    workloads: Selector,
    images: Vec<ImagePattern>,
    attach: spec::Attach,
    defaults: PolicyDefaults,
    limits: limits::OwnLimits,
}

/// What a policy states where annotations state nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicyDefaults {
    pub(crate) replicas: Option<Range>,
    /// A preset has its own target where the policy states none.
    pub(crate) metrics: Vec<(&'static Preset, Option<Milli>)>,
    pub(crate) behavior: Option<Behavior>,
}

/// The policies of a cluster, and the labels of its namespaces as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Sorted by name.
    policies: Vec<Policy>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    clamping: bool,
}

/// What the policies say about one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective<'p> {
    /// The policy whose defaults apply.
    pub(crate) policy: Option<&'p Policy>,
    /// That policy attaches the workload though no key of it declares it.
    pub(crate) attaches: bool,
    /// Of the policy whose defaults apply, or would apply if a key declared the workload.
    pub(crate) guard: Guard,
    /// The workload names a policy that is not there.
    pub(crate) missing: Option<Finding>,
}

/// The label by which every namespace can be selected by its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

impl Policies {
    /// No policy at all.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// The same policies, whose numbers of replicas, GPUs and metrics lower instead of refusing: a ceiling that comes
    /// down binds the workloads, too, that were admitted under a higher one.
    #[must_use]
    pub fn clamping(&self) -> Self {
        Self { clamping: true, ..self.clone() }
    }

    /// The names of the policies that select a workload, the one whose defaults come first in front.
    pub fn matching(&self, workload: &Workload) -> Vec<&str> {
        self.by_priority(workload).into_iter().map(|policy| policy.name.as_str()).collect()
    }

    /// The limits of a workload: of all the policies that select it, whichever gives the defaults.
    pub(crate) fn limits(&self, workload: &Workload) -> Limits {
        let labels = self.namespace_labels(workload);
        let matching = self.policies.iter().filter(|policy| policy.selects(workload, &labels));
        let limits = Limits::strictest(matching);
        if self.clamping { limits.clamping() } else { limits }
    }

    /// Which policy gives the defaults: the one that the workload picks, else the first that selects it.
    ///
    /// A workload that no key declares counts only for a policy that attaches such workloads. What is picked need not
    /// select the workload: it gives nothing that an annotation could not state, and lifts no limit.
    pub(crate) fn effective(&self, workload: &Workload, declared: bool, pick: Option<&Set<Pick>>) -> Effective<'_> {
        let attaches = |policy: &Policy| policy.attaches(workload);
        let candidates: Vec<&Policy> = match pick.map(|pick| &pick.value) {
            Some(Pick::None) => Vec::new(),
            Some(Pick::Named(name)) => self.policies.iter().filter(|policy| policy.name == *name).collect(),
            None => self.by_priority(workload),
        };
        let policy = candidates.iter().copied().find(|policy| declared || attaches(policy));
        let guard = policy.or(candidates.first().copied()).map(|policy| policy.guard).unwrap_or_default();
        let missing = match pick.map(|pick| (&pick.value, &pick.from)) {
            Some((Pick::Named(name), from)) if candidates.is_empty() => {
                let message = format!("no ClusterScalingPolicy {} is in force: observed until one is", cut(name, 40));
                let place = from.place().unwrap_or(&workload.annotations_place).clone();
                let finding = Finding::new(Code::Ns0222, place, message);
                let near = nearest(&cut(name, 64), self.policies.iter().map(|policy| policy.name.as_str()));
                Some(match near {
                    Some(near) => finding.help(near),
                    None => finding,
                })
            }
            Some(_) | None => None,
        };
        Effective { policy, attaches: !declared && policy.is_some(), guard, missing }
    }

    /// The policies that select a workload, the highest priority first.
    fn by_priority(&self, workload: &Workload) -> Vec<&Policy> {
        let labels = self.namespace_labels(workload);
        let mut policies: Vec<&Policy> =
            self.policies.iter().filter(|policy| policy.selects(workload, &labels)).collect();
        // Stable: of equal priorities the first by name comes first.
        policies.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
        policies
    }

    /// The name is a label of every namespace, also of one that is not known yet.
    fn namespace_labels(&self, workload: &Workload) -> BTreeMap<String, String> {
        let Some(namespace) = &workload.id.namespace else {
            return BTreeMap::new();
        };
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAMESPACE_NAME.to_owned(), namespace.clone());
        labels
    }
}

impl Policy {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn defaults(&self) -> &PolicyDefaults {
        &self.defaults
    }

    pub(crate) fn mode(&self) -> Option<Mode> {
        self.mode
    }

    fn selects(&self, workload: &Workload, namespace: &BTreeMap<String, String>) -> bool {
        self.namespaces.matches(namespace) && self.workloads.matches(&workload.labels)
    }

    /// Whether it attaches a workload that no key declares.
    fn attaches(&self, workload: &Workload) -> bool {
        match self.attach {
            spec::Attach::Annotated => false,
            spec::Attach::Always => nim::is_nim(workload, &self.images),
        }
    }
}

#[cfg(test)]
mod tests;
