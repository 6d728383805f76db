//! What is kept of a live HorizontalPodAutoscaler, and whose it is.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec};
use k8s_openapi::jiff::Timestamp;
use nimscale_rules::keys::ADOPTABLE;
use nimscale_rules::workload::{WorkloadId, WorkloadKind};

use crate::writer::FIELD_MANAGER;

/// An HPA of anybody, trimmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Hpa {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// The workload that it scales; `None` for anything but a Deployment or StatefulSet.
    pub target: Option<WorkloadId>,
    /// The UID of its controlling owner.
    pub owner: Option<String>,
    /// Our field manager is among its writers. Ours it is only together with the owner: names and labels can be copied.
    pub written_by_us: bool,
    pub adoptable: bool,
    pub spec: HorizontalPodAutoscalerSpec,
    /// `status.currentReplicas`.
    pub replicas: u32,
    pub last_scale: Option<Timestamp>,
    pub conditions: BTreeMap<String, Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub is: bool,
    pub reason: String,
    pub message: String,
}

impl Hpa {
    pub fn of(hpa: HorizontalPodAutoscaler) -> Self {
        let meta = hpa.metadata;
        let namespace = meta.namespace.unwrap_or_default();
        let spec = hpa.spec.unwrap_or_default();
        let status = hpa.status.unwrap_or_default();
        let target = &spec.scale_target_ref;
        let kind = WorkloadKind::of(target.api_version.as_deref().unwrap_or_default(), &target.kind);
        let target =
            kind.map(|kind| WorkloadId { namespace: Some(namespace.clone()), name: target.name.clone(), kind });
        let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let condition = |condition: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition| {
            let is = condition.status == "True";
            let (reason, message) = (condition.reason.unwrap_or_default(), condition.message.unwrap_or_default());
            (condition.type_, Condition { is, reason, message })
        };
        Self {
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.clone()),
            written_by_us: meta
                .managed_fields
                .iter()
                .flatten()
                .any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER)),
            adoptable: meta.annotations.iter().flatten().any(|(key, value)| key == ADOPTABLE && value == "true"),
            replicas: status.current_replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(0),
            last_scale: status.last_scale_time.map(|time| time.0),
            conditions: status.conditions.unwrap_or_default().into_iter().map(condition).collect(),
            namespace,
            target,
            spec,
        }
    }

    /// Ours for the workload with this UID.
    pub fn is_ours(&self, uid: &str) -> bool {
        self.written_by_us && self.owner.as_deref() == Some(uid)
    }

    /// True when nothing has changed that anything of ours goes by: an HPA's status is written at every scrape.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let without_version = |hpa: &Self| Self { resource_version: String::new(), ..hpa.clone() };
        without_version(self) == without_version(other)
    }

    pub fn metrics(&self) -> &[MetricSpec] {
        self.spec.metrics.as_deref().unwrap_or_default()
    }

    pub fn metric_names(&self) -> impl Iterator<Item = &str> {
        self.metrics().iter().filter_map(name)
    }

    /// `None` while the HPA has not said.
    pub fn active(&self) -> Option<bool> {
        self.conditions.get("ScalingActive").map(|condition| condition.is)
    }
}

/// The name of a metric that the custom metrics API serves.
pub fn name(metric: &MetricSpec) -> Option<&str> {
    let pods = metric.pods.as_ref().map(|pods| pods.metric.name.as_str());
    pods.or_else(|| metric.object.as_ref().map(|object| object.metric.name.as_str()))
}
