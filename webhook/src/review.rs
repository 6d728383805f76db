//! What an admission request asks, trimmed to what the decision needs.

use nimscale_rules::workload::Workload;

/// One request for a Deployment or StatefulSet.
#[derive(Clone, Debug)]
pub struct Review {
    pub operation: Operation,
    /// The object as it would be stored.
    pub workload: Workload,
    /// `deletionTimestamp` is set: somebody is taking the object away.
    pub deleting: bool,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Create,
    Update {
        /// The object as it is stored.
        old: Box<Workload>,
    },
}

impl Review {
    /// The request that `kubectl create` would send for a manifest.
    pub fn create(workload: Workload) -> Self {
        Self { operation: Operation::Create, workload, deleting: false }
    }

    /// True when the request writes our keys: a CREATE, or a key that differs between the old and the new object.
    pub fn writes_keys(&self) -> bool {
        match &self.operation {
            Operation::Create => true,
            Operation::Update { old } => keys(old) != keys(&self.workload),
        }
    }
}

/// Our annotations as the API stores them: sorted, without the places they were read from.
fn keys(workload: &Workload) -> Vec<(&str, &str)> {
    workload.annotations.iter().map(|annotation| (annotation.key.as_str(), annotation.value.as_str())).collect()
}
