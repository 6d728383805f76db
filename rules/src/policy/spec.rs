//! State a ClusterScalingPolicy as people write it: the fields of its `spec`, and the schema of its CRD.
//!
//! What the schema can check, it checks: a policy with a mistake is refused by the API server, in `kubectl`'s own output.
//! Fields that later versions will read are here too, since the API server drops what a schema does not know, silently.

use std::collections::BTreeMap;
use std::fmt;

use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::Guard;
use crate::declare::Mode;
use crate::promql;

/// The most replicas that a policy may allow. Up to 2000 the overload bound of any expression fits the HPA's arithmetic.
pub(super) const MOST_REPLICAS: u32 = 1000;
/// The most metrics that a policy may allow: the HPA asks for each of them every 15 seconds.
pub(super) const MOST_METRICS: u32 = 16;
pub(super) const MOST_GPUS: u32 = 1_000_000;
/// The compiler's own limit of one expression.
pub(super) const MOST_BYTES: u32 = 4096;
/// The compiler's own limit of one expression.
pub(super) const MOST_SELECTORS: u32 = promql::Limits::AUTHOR.selectors as u32;
/// Of either sign.
pub(super) const MOST_PRIORITY: i32 = 1_000_000;
pub(super) const MOST_ENTRIES: usize = 32;
/// Of a pattern or a name; the longest of Kubernetes' own.
pub(super) const MOST_CHARACTERS: usize = 253;

/// Defaults and limits of the workloads that it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(
    transform = RecursiveTransform(plain_integer),
    extend("x-kubernetes-validations" = validations(&[
        ("!has(self.presets)", "presets are not supported by this version yet"),
        (
            "!has(self.defaults) || !has(self.defaults.replicas) || self.defaults.replicas.max <= \
             (has(self.limits) && has(self.limits.maxReplicas) ? self.limits.maxReplicas : 16)",
            "defaults.replicas.max is over limits.maxReplicas, which is 16 where it is not stated",
        ),
    ]))
)]
pub struct Spec {
    /// Of several policies that match, the one with the highest priority gives the defaults; of equal ones the first by
    /// name.
    #[serde(default)]
    #[schemars(range(min = -MOST_PRIORITY, max = MOST_PRIORITY))]
    pub priority: i32,
    /// Observe compiles and publishes metrics and makes no HPA. Without it annotated workloads are enforced, and those
    /// that the policy attaches by itself are observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Mode")]
    pub mode: Option<Mode>,
    /// Which workloads.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matches: Match,
    /// What becomes of spec.replicas when an update would undo what the HPA chose: Preserve keeps the live value (the
    /// default), Warn says so and "Off", which needs its quotes in YAML, does nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replica_guard: Guard,
    /// What holds where a workload's annotations say nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub defaults: Defaults,
    /// What no annotation may exceed. Of several policies that match a workload the strictest limit holds, whatever
    /// their priority.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// For a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque_objects")]
    pub presets: Option<Vec<Value>>,
}

/// Which workloads a policy is about: all of them where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Labels of the namespace; kubernetes.io/metadata.name is its name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace_selector: LabelSelector,
    /// Labels of the Deployment or StatefulSet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub workload_selector: LabelSelector,
    /// Images of NIMs, for `attach: Always`: * is anything but a slash, ** is anything. nvcr.io/nim/** where it is not
    /// stated. A workload is a NIM, too, if it sets NIM_* or NGC_API_KEY and limits its GPUs, or has the labels of NVIDIA's
    /// chart or operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<ImagePattern>", length(max = MOST_ENTRIES))]
    pub images: Option<Vec<String>>,
    /// Annotated workloads only (the default), or Always: NIMs without an annotation, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attach: Attach,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Attach {
    #[default]
    Annotated,
    Always,
}

/// A selector of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_ENTRIES))]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = validations(&[(
    "(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && size(self.values) > 0)",
    "In and NotIn need values, Exists and DoesNotExist have none",
)])))]
pub struct Requirement {
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<LabelValue>", length(max = MOST_ENTRIES))]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// What holds where a workload's annotations say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Defaults {
    /// 1..4 where it is not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Replicas")]
    pub replicas: Option<Replicas>,
    /// For workloads that state no metric; kv-cache and queue-depth where it is not stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_METRICS))]
    pub metrics: Vec<Metric>,
    /// gentle, balanced, fast or steps, as in the annotation nimscale.dev/behavior: up 2/60s; down 1/300s after 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = MOST_CHARACTERS))]
    pub behavior: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = validations(&[("self.min <= self.max", "min is over max")])))]
pub struct Replicas {
    #[schemars(range(min = 1, max = MOST_REPLICAS))]
    pub min: u32,
    #[schemars(range(min = 1, max = MOST_REPLICAS))]
    pub max: u32,
}

/// A preset and what it is to be kept under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = validations(&[
    (
        "!has(self.query) && !has(self.name) && !has(self.kind) && !has(self.onIdle)",
        "query, name, kind and onIdle are not supported by this version yet",
    ),
    ("has(self.preset)", "preset is missing"),
])))]
pub struct Metric {
    /// One of those that `nimscale presets` lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 63))]
    pub preset: Option<String>,
    /// As in the annotation nimscale.dev/scale: 75%, 8, 2.5s; the preset's own where it is not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Target")]
    pub target: Option<Target>,
    /// For a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub query: Option<String>,
    /// For a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub name: Option<String>,
    /// For a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub kind: Option<String>,
    /// For a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub on_idle: Option<String>,
}

/// A target as in `scale`; an integer needs no quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Target {
    Integer(u64),
    Text(String),
}

/// What no annotation may exceed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The most replicas of one workload. 16 holds where no policy that matches states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = MOST_REPLICAS))]
    pub max_replicas: Option<u32>,
    /// The most GPUs of one workload: the most replicas times the GPUs of one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = MOST_GPUS))]
    pub gpus: Option<u32>,
    /// Of the metrics of one workload.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metrics: MetricLimits,
    /// Of the author's own expressions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query: QueryLimits,
    /// Deny refuses what is over maxReplicas, gpus or metrics.max (the default); Clamp lowers it and warns. An expression
    /// is never changed: over a limit it is refused.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_violation: OnViolation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricLimits {
    /// The most metrics of one workload. 8 holds where no policy that matches states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = MOST_METRICS))]
    pub max: Option<u32>,
    /// Any (the default), or PresetsOnly: no expression of an author's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: Source,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Source {
    #[default]
    Any,
    PresetsOnly,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryLimits {
    /// The most bytes of one expression; the compiler itself takes 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = MOST_BYTES))]
    pub max_bytes: Option<u32>,
    /// The longest range, such as 30m; the compiler itself takes 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(max = 8),
        regex(pattern = "^[1-9][0-9]*[smh]$"),
        extend("x-kubernetes-validations" = validations(&[
            ("duration(self) <= duration('1h')", "maxRange is over 1h, the compiler's own limit"),
        ]))
    )]
    pub max_range: Option<String>,
    /// The most selectors of one expression, each of which is looked up; the compiler itself takes 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = MOST_SELECTORS))]
    pub max_selectors: Option<u32>,
    /// Metrics that no expression may read: regular expressions, each of a whole name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<NamePattern>", length(max = MOST_ENTRIES))]
    pub deny_metrics: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnViolation {
    #[default]
    Deny,
    Clamp,
}

/// Bounds the items of a list of strings, which `schemars` cannot say at the list.
macro_rules! bounded_strings {
    ($($name:ident: $schema:tt;)*) => {
        $(struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

bounded_strings! {
    ImagePattern: {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS, "pattern": "^[a-zA-Z0-9._:@/*-]+$"};
    LabelValue: {"type": "string", "maxLength": 63};
    NamePattern: {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS};
}

impl JsonSchema for Target {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerOrText;

        impl Visitor<'_> for IntegerOrText {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer, or a target in quotes such as \"75%\", \"0.75\" or \"2.5s\"")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Target, E> {
                Ok(Target::Integer(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Target, E> {
                Ok(u64::try_from(value).map_or_else(|_| Target::Text(value.to_string()), Target::Integer))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Target, E> {
                Ok(Target::Text(value.to_owned()))
            }
        }

        deserializer.deserialize_any(IntegerOrText)
    }
}

/// As it would be written in `scale`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Rules in CEL, each with what `kubectl` prints.
fn validations(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

fn opaque_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_ENTRIES,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// The API server knows no unsigned integers, and warns of each.
fn plain_integer(schema: &mut Schema) {
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
}
