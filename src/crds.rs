//! Define our custom resources, and print their CustomResourceDefinitions.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt};
use nimscale_rules::policy::Spec;
use nimscale_rules::yaml;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The spec of a ClusterScalingPolicy, whose fields the compiler knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "nimscale.dev",
    version = "v1alpha1",
    kind = "ClusterScalingPolicy",
    plural = "clusterscalingpolicies",
    shortname = "cscale",
    status = "PolicyStatus",
    doc = "Defaults and limits of the workloads that nimscale scales.",
    printcolumn = r#"{"name": "Priority", "type": "integer", "jsonPath": ".spec.priority"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Matched", "type": "integer", "jsonPath": ".status.matched"}"#,
    printcolumn = r#"{"name": "Overridden", "type": "integer", "jsonPath": ".status.overridden"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    derive = "PartialEq"
)]
#[serde(transparent)]
pub struct PolicySpec(pub Spec);

/// What became of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The generation that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub observed_generation: Option<i64>,
    /// Workloads that the policy matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub matched: Option<i64>,
    /// Those of them whose defaults another policy gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub overridden: Option<i64>,
    /// Ready: whether the policy is in force as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// All that we define, sorted by name.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![ClusterScalingPolicy::crd(), crate::scaling_plan::definition()]
}

/// Each of them as a document.
pub fn documents() -> anyhow::Result<Vec<String>> {
    all().iter().map(document).collect()
}

fn document(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    yaml::write(crd).context("failed to write a CustomResourceDefinition")
}

/// Conditions as Kubernetes has them, one of each type.
fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string"},
                "observedGeneration": {"type": "integer", "format": "int64"},
                "reason": {"type": "string"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_committed_is_what_is_printed() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
        let mut names = Vec::new();
        for crd in all() {
            let name = format!("nimscale.dev_{}.yaml", crd.spec.names.plural);
            let printed = document(&crd).expect("a definition is written");
            if std::env::var_os("UPDATE").is_some() {
                fs::write(directory.join(&name), &printed).expect("it is written");
            }
            let committed = fs::read_to_string(directory.join(&name)).unwrap_or_default();
            assert_eq!(committed, printed, "`UPDATE=1 cargo test --bin nimscale crds` rewrites {name}");
            names.push(name);
        }
        let mut files: Vec<String> = fs::read_dir(&directory)
            .expect("a folder")
            .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, names, "no file without a definition");
    }
}
