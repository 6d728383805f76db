//! The facts about the cluster's Prometheus that the compiler is given.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::promql::is_selector;
use crate::yaml;

/// The one `seriesQuery` of every rule, unless the platform says otherwise.
///
/// It is pinned to our own and the monitoring namespace, so that listing costs one call with a handful of series and no
/// tenant's series counts. `nimscale_anchor` is ours; the others keep every metric listed while we are down, and before
/// the first pod of a workload exists.
const ANCHOR: &str = concat!(
    "{__name__=~\"kube_deployment_created|kube_statefulset_created|nimscale_anchor|prometheus_build_info\",",
    "namespace=~\"monitoring|nimscale-system\",pod!=\"\"}"
);

/// What Prometheus looks like in this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The version of PromQL.
    pub dialect: Dialect,
    /// What the namespace and pod labels are called after scraping.
    pub labels: LabelNames,
    /// Families without a pod label, and what they belong to.
    pub families: BTreeMap<String, PodLess>,
    /// Matchers that go into every selector.
    pub required_matchers: BTreeMap<String, String>,
    /// The `seriesQuery` of every rule.
    pub anchor: String,
}

/// The Prometheus whose PromQL is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    #[default]
    V2_42,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelNames {
    pub namespace: String,
    pub pod: String,
}

/// What a family without a pod label belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodLess {
    Namespace,
    Cluster,
}

/// A platform's file. Every field is optional; what this version does not do yet is refused by name.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct File {
    dialect: String,
    labels: LabelNames,
    aliases: Vec<serde_json::Value>,
    families: BTreeMap<String, PodLess>,
    required_matchers: BTreeMap<String, String>,
    anchor: String,
    scrape_interval: Option<String>,
}

/// Why a platform's file is not read.
#[derive(Debug)]
pub struct ReadError(String);

impl Platform {
    /// Reads a platform's file (YAML).
    pub fn read(text: &str) -> Result<Self, ReadError> {
        let file: File = yaml::parse(text).map_err(|error| ReadError(error.to_string()))?;
        let refuse = |message: String| Err(ReadError(message));
        if file.dialect != Dialect::V2_42.to_string() {
            return refuse(format!("dialect {} is not supported by this version yet: \"2.42\" is", file.dialect));
        }
        if !file.aliases.is_empty() {
            return refuse("aliases are not supported by this version yet".to_owned());
        }
        if file.scrape_interval.is_some() {
            return refuse("scrapeInterval is not supported by this version yet".to_owned());
        }
        let names = [&file.labels.namespace, &file.labels.pod];
        if let Some(name) = names.into_iter().chain(file.required_matchers.keys()).find(|name| !is_label(name)) {
            return refuse(format!("{name:?} is no label name"));
        }
        if names[0] == names[1] || names.into_iter().any(|name| file.required_matchers.contains_key(name)) {
            return refuse("namespace, pod and the required matchers must be different labels".to_owned());
        }
        // One series query that fails stops the discovery of every rule.
        if !is_selector(&file.anchor) || file.anchor.contains("<<") || file.anchor.contains(">>") {
            return refuse("anchor is no series selector, such as up{namespace=\"monitoring\"}".to_owned());
        }
        Ok(Self {
            dialect: Dialect::V2_42,
            labels: file.labels,
            families: file.families,
            required_matchers: file.required_matchers,
            anchor: file.anchor,
        })
    }
}

fn is_label(name: &str) -> bool {
    // `inf` and `nan` are numbers in a list of labels.
    let kept = ["__name__", "inf", "nan"].iter().any(|kept| kept.eq_ignore_ascii_case(name));
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    !kept && starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Default for File {
    fn default() -> Self {
        let Platform { dialect, labels, families, required_matchers, anchor } = Platform::default();
        let dialect = dialect.to_string();
        Self { dialect, labels, aliases: Vec::new(), families, required_matchers, anchor, scrape_interval: None }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            labels: LabelNames::default(),
            families: BTreeMap::new(),
            required_matchers: BTreeMap::new(),
            anchor: ANCHOR.to_owned(),
        }
    }
}

impl Default for LabelNames {
    fn default() -> Self {
        Self { namespace: "namespace".to_owned(), pod: "pod".to_owned() }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V2_42 => "2.42",
        })
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_optional() {
        assert!(matches!(Platform::read("{}"), Ok(platform) if platform == Platform::default()));
        let platform = Platform::read("labels: {pod: kubernetes_pod_name}\nrequiredMatchers: {cluster: east}\n");
        let platform = platform.unwrap();
        assert_eq!((&*platform.labels.namespace, &*platform.labels.pod), ("namespace", "kubernetes_pod_name"));
        assert_eq!(platform.required_matchers["cluster"], "east");
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for text in [
            "dialect: \"3.5\"",
            "aliases: [{metrics: \"DCGM_.*\", namespace: exported_namespace, pod: exported_pod}]",
            "scrapeInterval: 15s",
            "labels: {pod: \"a b\"}",
            "labels: {pod: namespace}",
            "requiredMatchers: {pod: x}",
            "anchor: \"\"",
            "anchor: \"up{\"",
            "anchor: 5",
            "anchor: rate(up[5m])",
            "anchor: up{a=\"<<.Series>>\"}",
            "labels: {pod: inf}",
            "requiredMatchers: {__name__: y}",
            "label: {}",
        ] {
            assert!(Platform::read(text).is_err(), "{text}");
        }
    }
}
