//! The ScalingPlan: what is in effect for one workload, who set it, and which link of its chain is broken.
//!
//! It is status only: written on transitions, read by people and by `nimscale status`, and never by a decision.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::schema::StructuralSchemaRewriter;
use nimscale_rules::workload::{WorkloadId, WorkloadKind};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub const GROUP: &str = "nimscale.dev";
pub const VERSION: &str = "v1alpha1";

/// The object; it has no spec, so there is nothing that a status subresource would have to be kept apart from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPlan {
    #[serde(default)]
    pub api_version: String,
    #[serde(default)]
    pub kind: String,
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub status: Status,
}

/// What is in effect for one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// The generation of the workload when this was written. Every step of the HPA makes a new one, which is no news.
    pub observed_generation: i64,
    pub workload: WorkloadRef,
    /// The HPA, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hpa: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// The metrics' names, for a column.
    pub summary: String,
    /// How each metric was compiled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compiled: Vec<Metric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Effective>,
    /// `false`, `true`, `scale-up`, `scale-down`, or the number that the replicas are held at.
    pub paused: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Effective>,
    /// The policy that gives the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WorkloadRef {
    pub kind: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Replicas {
    pub min: u32,
    pub max: u32,
    /// Who set them.
    pub from: String,
}

/// A value and who set it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Effective {
    pub value: String,
    pub from: String,
}

/// One metric, from what was written to what the HPA reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Metric {
    pub name: String,
    /// The metric of custom.metrics.k8s.io, and its rule.
    pub rule: String,
    pub target: String,
    /// Who set the target.
    pub from: String,
    /// The query that the adapter's rule holds, as a template.
    pub query: String,
    /// `Attached`, or `Waiting` for its first value.
    pub state: String,
}

/// As in every Kubernetes object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    pub reason: String,
    pub message: String,
    pub last_transition_time: String,
}

/// `deployment.llama`: both kinds may have a workload of one name. What is too long is cut as an HPA's name is.
pub fn name(id: &WorkloadId) -> String {
    let kind = match id.kind {
        WorkloadKind::Deployment => "deployment",
        WorkloadKind::StatefulSet => "statefulset",
    };
    nimscale_rules::emit::hpa::cut_name(&format!("{kind}.{}", id.name), "")
}

impl Status {
    /// The workload that the plan is about.
    pub fn id(&self, namespace: &str) -> Option<WorkloadId> {
        let kind = WorkloadKind::of("apps/v1", &self.workload.kind)?;
        Some(WorkloadId { namespace: Some(namespace.to_owned()), name: self.workload.name.clone(), kind })
    }

    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// True when nothing but times and the generation differs: those alone are no reason to write.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let timeless = |status: &Self| {
            let mut status = Self { observed_generation: 0, ..status.clone() };
            for condition in &mut status.conditions {
                condition.last_transition_time.clear();
            }
            status
        };
        timeless(self) == timeless(other)
    }
}

/// The definition of the kind.
pub fn definition() -> CustomResourceDefinition {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    // The root's: transformations, `nullable` among them, are made there alone.
    let status = settings.with_transform(StructuralSchemaRewriter).into_generator().into_root_schema_for::<Status>();
    let column = |name: &str, type_: &str, path: &str, priority: u32| json!({"name": name, "type": type_, "jsonPath": path, "priority": priority});
    let condition = |type_: &str, field: &str| format!(".status.conditions[?(@.type==\"{type_}\")].{field}");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("scalingplans.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": "ScalingPlan", "plural": "scalingplans", "singular": "scalingplan", "shortNames": ["splan"]},
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "additionalPrinterColumns": [
                    column("Min", "integer", ".status.replicas.min", 0),
                    column("Max", "integer", ".status.replicas.max", 0),
                    column("Metrics", "string", ".status.summary", 0),
                    column("Ready", "string", &condition("Ready", "status"), 0),
                    column("Scaling", "string", &condition("ScalingActive", "status"), 0),
                    column("Paused", "string", ".status.paused", 0),
                    column("Policy", "string", ".status.policy", 0),
                    column("Age", "date", ".metadata.creationTimestamp", 0),
                    column("HPA", "string", ".status.hpa", 1),
                    column("Reason", "string", &condition("Ready", "reason"), 1),
                    column("Message", "string", &condition("Ready", "message"), 1),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "What is in effect for one workload, who set it, and which link of its chain is broken. \
                        Written by nimscale; editing it changes nothing.",
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                        "status": status,
                    },
                }},
            }],
        },
    });
    serde_json::from_value(definition).expect("a definition of literal fields and a derived schema")
}

impl Resource for ScalingPlan {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "ScalingPlan".into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "scalingplans".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_kinds_have_plans_of_their_own() {
        let id = |kind| WorkloadId { namespace: Some("nim".into()), name: "llama".into(), kind };
        assert_eq!(name(&id(WorkloadKind::Deployment)), "deployment.llama");
        assert_eq!(name(&id(WorkloadKind::StatefulSet)), "statefulset.llama");
    }

    #[test]
    fn the_definition_is_structural() {
        let definition = serde_json::to_value(definition()).expect("JSON");
        let status = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(status["type"], "object");
        assert_eq!(status["properties"]["conditions"]["items"]["properties"]["lastTransitionTime"]["type"], "string");
    }
}
