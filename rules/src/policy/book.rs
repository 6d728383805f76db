//! Keep the policies of a cluster by name, of each the last good one.

use std::collections::{BTreeMap, BTreeSet};

use super::read::finding;
use super::{Policies, Policy, Spec, spec};
use crate::findings::{Code, Finding, cut};

/// All policies by name. One with a mistake leaves the last good one of its name in force.
#[derive(Clone, Debug, Default)]
pub struct Book {
    policies: BTreeMap<String, Policy>,
}

impl Book {
    /// Takes a policy as it is now; what is wrong with it stands in the findings.
    pub fn apply(&mut self, name: &str, spec: Spec) -> Vec<Finding> {
        let (policy, mut findings) = Policy::read(name, spec);
        match policy {
            Some(policy) => {
                findings.extend(self.tie(&policy));
                self.policies.insert(name.to_owned(), policy);
                findings
            }
            None => findings.into_iter().map(|finding| self.stays(name, finding)).collect(),
        }
    }

    /// Takes note of a policy that could not even be read as one.
    pub fn refuse(&self, name: &str, why: &str) -> Vec<Finding> {
        let finding = finding(Code::Ns0224, name, "/spec", why).help("kubectl explain cscale.spec");
        vec![self.stays(name, finding)]
    }

    /// The names of the policies in force.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    pub fn remove(&mut self, name: &str) {
        self.policies.remove(name);
    }

    /// The policies in force, for workloads in namespaces with these labels.
    pub fn policies(&self, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> Policies {
        Policies {
            policies: self.policies.values().cloned().collect(),
            namespaces: namespaces.clone(),
            clamping: false,
        }
    }

    /// The image patterns of the policies that attach by themselves, sorted: `*` is anything but a slash, `**` anything.
    pub fn attaches(&self) -> Vec<String> {
        let always = self.policies.values().filter(|policy| policy.attach == spec::Attach::Always);
        let patterns: BTreeSet<&str> =
            always.flat_map(|policy| &policy.images).map(super::nim::ImagePattern::as_str).collect();
        patterns.into_iter().map(str::to_owned).collect()
    }

    fn stays(&self, name: &str, finding: Finding) -> Finding {
        if !finding.is_error() || !self.policies.contains_key(name) {
            return finding;
        }
        Finding { message: format!("{}; the last good one stays", cut(&finding.message, 88)), ..finding }
    }

    /// Equal priorities are decided by name, which its author may not have had in mind.
    fn tie(&self, policy: &Policy) -> Option<Finding> {
        let tied = |other: &&Policy| other.priority == policy.priority && other.name != policy.name;
        let other = self.policies.values().find(tied)?;
        let (first, second) = if other.name < policy.name { (other, policy) } else { (policy, other) };
        let (winner, second, priority) = (cut(&first.name, 24), cut(&second.name, 24), policy.priority);
        let message = format!("{winner} and {second} both have priority {priority}; {winner} wins");
        let place = finding(Code::Ns0223, &policy.name, "/spec/priority", "").place;
        Some(Finding::new(Code::Ns0223, place, message).help("other priorities"))
    }
}
