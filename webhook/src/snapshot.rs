//! Hold what the request path may know of the cluster.

use std::collections::BTreeMap;

use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::workload::{WorkloadId, WorkloadKind};

/// What was known of the cluster at one moment. A request is judged by one snapshot from its start to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub policies: Policies,
    pub platform: Platform,
    pub hpas: Hpas,
}

/// The HPAs of a cluster by the workload that they target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hpas(BTreeMap<(String, WorkloadKind, String), Vec<Hpa>>);

/// A HorizontalPodAutoscaler, trimmed to what admission needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hpa {
    pub name: String,
    /// The UID of its controlling owner.
    pub owner: Option<String>,
    /// Our field manager wrote it.
    pub ours: bool,
    /// It carries `nimscale.dev/adoptable: "true"`.
    pub adoptable: bool,
    pub min: u32,
    pub max: u32,
    /// Its condition `ScalingActive`; `None` before its first pass.
    pub active: Option<bool>,
    /// `status.currentReplicas`.
    pub current: u32,
}

impl Hpas {
    /// Those that target a workload, by name.
    pub fn of(&self, id: &WorkloadId) -> &[Hpa] {
        let key = (id.namespace.clone().unwrap_or_default(), id.kind, id.name.clone());
        self.0.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// From the namespace, the kind and the name of a workload, each with an HPA that targets it.
impl FromIterator<(String, WorkloadKind, String, Hpa)> for Hpas {
    fn from_iter<I: IntoIterator<Item = (String, WorkloadKind, String, Hpa)>>(hpas: I) -> Self {
        let mut all: BTreeMap<_, Vec<Hpa>> = BTreeMap::new();
        for (namespace, kind, workload, hpa) in hpas {
            all.entry((namespace, kind, workload)).or_default().push(hpa);
        }
        all.values_mut().for_each(|hpas| hpas.sort_by(|a, b| a.name.cmp(&b.name)));
        Self(all)
    }
}

impl Hpa {
    /// True for the HPA that we made for, or gave to, the workload of this UID.
    pub fn is_of(&self, uid: Option<&str>) -> bool {
        self.ours && uid.is_some() && self.owner.as_deref() == uid
    }

    /// True for an HPA that we made for a workload that is gone: the garbage collector takes it away.
    pub(crate) fn is_left_behind(&self, uid: Option<&str>) -> bool {
        self.ours && self.owner.is_some() && self.owner.as_deref() != uid
    }
}
