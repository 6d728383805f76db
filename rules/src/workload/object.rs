//! Read a Deployment or StatefulSet as the API writes it, trimmed to what scaling it needs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Deserializer};

use super::{Owner, Pods, Replicas, Workload, WorkloadId, WorkloadKind};
use crate::place::{Place, Span};

/// A workload's JSON. Of a typed Deployment (about 12 KB) this keeps what is read here; the rest is skipped unread.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Object {
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    /// Of an object that is to be named by the API server.
    pub generate_name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: i64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owner_references: Vec<OwnerReference>,
    /// Set while somebody is taking the object away.
    pub deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: bool,
}

/// The part of a workload's spec that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Spec {
    #[serde(deserialize_with = "count")]
    replicas: Option<u32>,
    selector: Option<LabelSelector>,
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: TemplateMetadata,
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateMetadata {
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    image: String,
    env: Vec<Variable>,
    resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    limits: BTreeMap<String, Quantity>,
}

impl Object {
    /// The workload that the compiler is given. Places are in the annotations' own values: there is no file.
    pub fn workload(&self, kind: WorkloadKind) -> Workload {
        let metadata = &self.metadata;
        let name = if metadata.name.is_empty() { &metadata.generate_name } else { &metadata.name };
        let id = WorkloadId { namespace: Some(metadata.namespace.clone()), name: name.clone(), kind };
        let place = Place { path: "/spec/replicas".to_owned(), ..Place::of_text(Span::default()) };
        Workload {
            replicas: self.spec.replicas.map(|count| Replicas { count, place }),
            labels: metadata.labels.clone(),
            owner: self.owner(),
            pods: self.pods(),
            ..Workload::stored(id, &metadata.annotations)
        }
    }

    /// What the workload says of itself and its pods beside its annotations; the same from a file and from the API.
    pub fn pods(&self) -> Pods {
        let template = &self.spec.template;
        let containers = &template.spec.containers;
        let is_nim = |variable: &Variable| variable.name == "NGC_API_KEY" || variable.name.starts_with("NIM_");
        Pods {
            // An operator that the API does not know it does not store either.
            selector: self.spec.selector.clone().and_then(|selector| selector.try_into().ok()).unwrap_or_default(),
            labels: template.metadata.labels.clone(),
            images: containers.iter().map(|container| container.image.clone()).collect(),
            nim_environment: containers.iter().flat_map(|container| &container.env).any(is_nim),
            gpus: containers.iter().map(gpus).fold(0, u32::saturating_add),
        }
    }

    pub fn owner(&self) -> Option<Owner> {
        let owner = self.metadata.owner_references.iter().find(|owner| owner.controller)?;
        Some(Owner { api_version: owner.api_version.clone(), kind: owner.kind.clone(), name: owner.name.clone() })
    }
}

/// A number that the API is going to refuse is none: admission sees an object before it is validated.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.and_then(|count| u32::try_from(count).ok()))
}

/// GPUs are whole: the API takes no other quantity of an extended resource.
fn gpus(container: &Container) -> u32 {
    container.resources.limits.get("nvidia.com/gpu").and_then(|gpus| gpus.0.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(json: serde_json::Value) -> Workload {
        serde_json::from_value::<Object>(json).expect("an object").workload(WorkloadKind::Deployment)
    }

    #[test]
    fn what_scaling_needs_is_read() {
        let workload = workload(serde_json::json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "llama", "namespace": "nim", "labels": {"team": "a"},
                "annotations": {"nimscale.dev/scale": "1..8", "other": "x"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "1"},
                    {"apiVersion": "apps.nvidia.com/v1alpha1", "kind": "NIMService", "name": "llama", "uid": "2", "controller": true},
                ],
            },
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "llama"}},
                "template": {
                    "metadata": {"labels": {"app": "llama"}},
                    "spec": {"containers": [
                        {"image": "nvcr.io/nim/meta/llama:1", "env": [{"name": "NGC_API_KEY", "valueFrom": {}}],
                         "resources": {"limits": {"nvidia.com/gpu": "2", "memory": "8Gi"}}, "readinessProbe": {"httpGet": {}}},
                        {"image": "proxy", "resources": {"limits": {"nvidia.com/gpu": 1}}},
                    ]},
                },
            },
        }));
        assert_eq!(workload.id.to_string(), "apps/v1 Deployment nim/llama");
        assert_eq!(workload.annotation("scale").map(|scale| scale.value.as_str()), Some("1..8"));
        assert_eq!(workload.annotations[0].key_place.path, "/metadata/annotations/nimscale.dev~1scale");
        assert_eq!((workload.annotations.len(), workload.annotation_bytes), (1, 28));
        assert_eq!(workload.replicas.map(|replicas| replicas.count), Some(3));
        assert!(workload.owner.is_some_and(|owner| owner.is_nim_service()));
        let pods = workload.pods;
        assert!(pods.selector.matches(&pods.labels) && pods.nim_environment);
        assert_eq!((pods.gpus, pods.images.len()), (3, 2));
    }

    #[test]
    fn what_is_absent_is_empty() {
        let workload = workload(serde_json::json!({"metadata": {"generateName": "llama-", "namespace": "nim"}}));
        assert_eq!((workload.id.name.as_str(), workload.replicas, workload.owner), ("llama-", None, None));
        assert_eq!(workload.pods, Pods::default());
    }

    #[test]
    fn replicas_below_zero_are_none() {
        assert_eq!(workload(serde_json::json!({"spec": {"replicas": -1}})).replicas, None);
    }
}
