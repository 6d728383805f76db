//! The facts about the cluster's Prometheus that the compiler is given.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::declare::seconds;
use crate::promql::{NamePattern, is_selector};
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
    /// Families whose namespace and pod stand under other names: an exporter's own series about somebody's pods.
    pub aliases: Vec<Alias>,
    /// Families without a pod label, and what they belong to.
    pub families: BTreeMap<String, PodLess>,
    /// Matchers that go into every selector.
    pub required_matchers: BTreeMap<String, String>,
    /// The `seriesQuery` of every rule.
    pub anchor: String,
    /// How often a pod is scraped: a rate needs a few scrapes in its window.
    pub scrape_interval: Duration,
}

/// The version of the Prometheus whose PromQL is spoken: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dialect {
    major: u16,
    minor: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelNames {
    pub namespace: String,
    pub pod: String,
}

/// The names of the namespace and pod labels of some families.
///
/// Only the administrator says so, family by family: any exporter of a tenant can write such labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub metrics: NamePattern,
    pub labels: LabelNames,
}

/// What a family without a pod label belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodLess {
    Namespace,
    Cluster,
}

/// A platform's file. Every field is optional.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct File {
    dialect: String,
    labels: LabelNames,
    aliases: Vec<AliasOf>,
    families: BTreeMap<String, PodLess>,
    required_matchers: BTreeMap<String, String>,
    anchor: String,
    scrape_interval: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasOf {
    metrics: String,
    namespace: String,
    pod: String,
}

/// Why a platform's file is not read.
#[derive(Debug)]
pub struct ReadError(String);

impl Platform {
    /// Reads a platform's file (YAML).
    pub fn read(text: &str) -> Result<Self, ReadError> {
        let file: File = yaml::parse(text).map_err(|error| ReadError(error.to_string()))?;
        let refuse = |message: String| Err(ReadError(message));
        let dialect = file.dialect.parse()?;
        let names = [&file.labels.namespace, &file.labels.pod];
        if let Some(name) = names.into_iter().chain(file.required_matchers.keys()).find(|name| !is_label(name)) {
            return refuse(format!("{name:?} is no label name"));
        }
        if names[0] == names[1] || names.into_iter().any(|name| file.required_matchers.contains_key(name)) {
            return refuse("namespace, pod and the required matchers must be different labels".to_owned());
        }
        let aliases = file.aliases.into_iter().map(Alias::read).collect::<Result<Vec<_>, _>>()?;
        if let Some(family) = file.families.keys().find(|name| aliases.iter().any(|alias| alias.metrics.matches(name)))
        {
            return refuse(format!("{family} is an alias and without a pod at once"));
        }
        // One series query that fails stops the discovery of every rule.
        if !is_selector(&file.anchor) || file.anchor.contains("<<") || file.anchor.contains(">>") {
            return refuse("anchor is no series selector, such as up{namespace=\"monitoring\"}".to_owned());
        }
        let scrape_interval = match seconds(&file.scrape_interval) {
            Some(seconds @ 1..=600) => Duration::from_secs(u64::from(seconds)),
            Some(_) | None => return refuse("scrapeInterval is a time from 1s to 10m, such as 15s".to_owned()),
        };
        Ok(Self {
            dialect,
            labels: file.labels,
            aliases,
            families: file.families,
            required_matchers: file.required_matchers,
            anchor: file.anchor,
            scrape_interval,
        })
    }

    /// What a family's namespace and pod labels are called.
    pub fn names_of(&self, family: &str) -> &LabelNames {
        self.alias(family).map_or(&self.labels, |alias| &alias.labels)
    }

    /// The alias of a family, if it has one.
    pub fn alias(&self, family: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.metrics.matches(family))
    }
}

impl Alias {
    fn read(file: AliasOf) -> Result<Self, ReadError> {
        // Labels that scraping itself writes, or moves out of the way: nothing else can be trusted to name a pod.
        const NAMESPACES: [&str; 3] = ["namespace", "exported_namespace", "kubernetes_namespace"];
        const PODS: [&str; 4] = ["pod", "exported_pod", "kubernetes_pod_name", "pod_name"];
        for (name, known) in [(&file.namespace, &NAMESPACES[..]), (&file.pod, &PODS[..])] {
            if !known.contains(&name.as_str()) {
                return Err(ReadError(format!("{name:?} of aliases is none of {}", known.join(", "))));
            }
        }
        let metrics = NamePattern::parse(&file.metrics);
        let metrics = metrics.ok_or_else(|| ReadError(format!("{:?} of aliases is no pattern", file.metrics)))?;
        Ok(Self { metrics, labels: LabelNames { namespace: file.namespace, pod: file.pod } })
    }
}

impl Dialect {
    /// The oldest that is spoken, and what is assumed where nothing is said.
    pub const V2_42: Self = Self::new(2, 42);

    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self::V2_42
    }
}

impl FromStr for Dialect {
    type Err = ReadError;

    fn from_str(text: &str) -> Result<Self, ReadError> {
        let number = |text: &str| if text.starts_with('+') { None } else { text.parse().ok() };
        let version = text.split_once('.').and_then(|(major, minor)| Some(Self::new(number(major)?, number(minor)?)));
        match version {
            Some(version) if version.major <= 3 && version >= Self::V2_42 => Ok(version),
            Some(_) => Err(ReadError(format!("dialect {text} is not spoken: \"2.42\" and later, and \"3.x\" are"))),
            None => {
                Err(ReadError(format!("dialect {text:?} is no version of Prometheus, such as \"2.42\" or \"3.5\"")))
            }
        }
    }
}

pub(crate) fn is_label(name: &str) -> bool {
    // `inf` and `nan` are numbers in a list of labels.
    let kept = ["__name__", "inf", "nan"].iter().any(|kept| kept.eq_ignore_ascii_case(name));
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    !kept && starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Default for File {
    fn default() -> Self {
        let Platform { dialect, labels, aliases: _, families, required_matchers, anchor, scrape_interval } =
            Platform::default();
        Self {
            dialect: dialect.to_string(),
            labels,
            aliases: Vec::new(),
            families,
            required_matchers,
            anchor,
            scrape_interval: format!("{}s", scrape_interval.as_secs()),
        }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            labels: LabelNames::default(),
            aliases: Vec::new(),
            families: BTreeMap::new(),
            required_matchers: BTreeMap::new(),
            anchor: ANCHOR.to_owned(),
            scrape_interval: Duration::from_secs(15),
        }
    }
}

impl Default for LabelNames {
    fn default() -> Self {
        Self { namespace: "namespace".to_owned(), pod: "pod".to_owned() }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    fn a_family_may_carry_its_pod_under_another_name() {
        let text = "aliases: [{metrics: \"DCGM_FI_.*\", namespace: exported_namespace, pod: exported_pod}]";
        let platform = Platform::read(text).unwrap();
        assert_eq!(platform.alias("DCGM_FI_DEV_GPU_UTIL").unwrap().labels.pod, "exported_pod");
        assert_eq!(platform.alias("xDCGM_FI_"), None, "the whole name");
    }

    #[test]
    fn dialects_are_ordered_as_versions_are() {
        let of = |text: &str| text.parse::<Dialect>().unwrap();
        assert!(of("2.42") < of("2.55") && of("2.55") < of("3.0") && of("3.4") < of("3.14"));
        assert_eq!(of("3.14").to_string(), "3.14");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for text in [
            "dialect: \"2.41\"",
            "dialect: \"4.0\"",
            "dialect: \"+3.+5\"",
            "dialect: v3",
            "dialect: \"3\"",
            "aliases: [{metrics: \"DCGM_.*\", namespace: exported_namespace, pod: tenant}]",
            "aliases: [{metrics: \"DCGM_.*\", namespace: job, pod: exported_pod}]",
            "aliases: [{metrics: \".*\", namespace: exported_namespace, pod: exported_pod}]",
            "aliases: [{metrics: \"a\", namespace: exported_namespace, pod: exported_pod}]\nfamilies: {a: cluster}",
            "scrapeInterval: 15",
            "scrapeInterval: 0s",
            "scrapeInterval: 1d",
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
