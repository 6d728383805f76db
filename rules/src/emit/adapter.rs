//! Write prometheus-adapter's config, in the closed schema that its loader reads.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bundle::Bundle;
use crate::measure::{Measure, MetricKind};
use crate::platform::Platform;
use crate::promql::scope::label_of;
use crate::yaml;

/// The ConfigMap that the adapter is pointed at.
pub const CONFIG_MAP: &str = "nimscale-adapter-config";

/// The key of the config in its ConfigMap: a file name to the adapter.
pub const CONFIG_KEY: &str = "config.yaml";

/// The adapter's config (prometheus-adapter v0.12.0, `pkg/config/config.go`), read by `UnmarshalStrict`: an unknown
/// field is fatal to the whole adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    pub rules: Vec<Rule>,
}

/// A rule of ours. The adapter knows more fields; none of them is emitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// Decides only whether the metric is listed. One text for every rule: one call, and no tenant can stop it.
    pub series_query: String,
    pub resources: Resources,
    pub name: Name,
    /// A Go template.
    pub metrics_query: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    pub overrides: BTreeMap<String, Resource>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The core group where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// Constant: it goes through Go's regexp expansion, and holds no `$`.
    #[serde(rename = "as")]
    pub as_: String,
}

/// A ConfigMap with its fields in the order that people write them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    data: BTreeMap<&'static str, String>,
}

/// Why a config was not written: what was read back is not what was meant.
#[derive(Debug)]
pub struct WriteError(String);

/// The rule of a measure.
pub fn rule(measure: &Measure, platform: &Platform) -> Rule {
    let overrides = match measure.kind {
        MetricKind::Pods => BTreeMap::from([
            (platform.labels.namespace.clone(), Resource::core("namespace")),
            (platform.labels.pod.clone(), Resource::core("pod")),
        ]),
        MetricKind::Object(kind) => BTreeMap::from([
            (platform.labels.namespace.clone(), Resource::core("namespace")),
            (label_of(kind).to_owned(), Resource { group: Some("apps".to_owned()), ..Resource::core(label_of(kind)) }),
        ]),
    };
    Rule {
        series_query: platform.anchor.clone(),
        resources: Resources { overrides },
        name: Name { as_: measure.name.clone() },
        metrics_query: measure.template.to_string(),
    }
}

/// What the name of a canary starts with.
const CANARY: &str = "nimscale_canary_";

/// The rule that tells which config an adapter has loaded. It is named after the config, so that a pod with another one
/// cannot answer for it, and has a value for every namespace without any series: what it needs is a Prometheus that
/// answers, and the anchor that lists it.
pub fn canary(foreign: &str, rules: &[Rule], platform: &Platform) -> Rule {
    let namespace = &platform.labels.namespace;
    Rule {
        series_query: platform.anchor.clone(),
        resources: Resources { overrides: BTreeMap::from([(namespace.clone(), Resource::core("namespace"))]) },
        name: Name { as_: canary_name(foreign, rules) },
        metrics_query: format!(
            "label_replace(vector(1), \"<<.GroupBy>>\", <<printf \"%q\" (index .LabelValuesByName \"{namespace}\")>>, \"\", \"\")"
        ),
    }
}

/// The name of the canary that stands beside these rules of ours, behind what others wrote.
pub fn canary_name(foreign: &str, rules: &[Rule]) -> String {
    let mut hash = Sha256::new();
    hash.update(foreign);
    for rule in rules {
        // The name holds a hash of the query; the anchor is the platform's.
        hash.update([0]);
        hash.update(&rule.name.as_);
        hash.update(&rule.series_query);
    }
    let hash = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    format!("{CANARY}{}", &hash[..12])
}

impl Resource {
    fn core(resource: &str) -> Self {
        Self { group: None, resource: resource.to_owned() }
    }
}

impl Rule {
    pub fn is_canary(&self) -> bool {
        self.name.as_.starts_with(CANARY)
    }
}

/// The adapter's config with the rules of a bundle, as text that was read back strictly.
pub fn config(bundle: &Bundle, platform: &Platform) -> Result<String, WriteError> {
    let config = Config { rules: bundle.measures.iter().map(|measure| rule(measure, platform)).collect() };
    let text = yaml::write(&config).map_err(|error| WriteError(error.to_string()))?;
    let read: Config = yaml::parse(&text).map_err(|error| WriteError(error.to_string()))?;
    if read == config { Ok(text) } else { Err(WriteError("the config reads back as another one".to_owned())) }
}

/// The ConfigMap around a config.
pub fn config_map(config: String, namespace: &str) -> ConfigMap {
    ConfigMap {
        api_version: "v1",
        kind: "ConfigMap",
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: BTreeMap::from([(CONFIG_KEY, config)]),
    }
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to write the adapter's config: {}", self.0)
    }
}

impl std::error::Error for WriteError {}
