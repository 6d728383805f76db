//! Read the built-in metrics from `presets/`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::measure::{Measure, Question, Writer, measure};
use crate::platform::Platform;
use crate::promql::families::family;
use crate::promql::node::{LabelList, Node, Rewrite};
use crate::quantity::Milli;
use crate::yaml::{self, ParseError};

/// One built-in metric, as its file states it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Preset {
    pub name: String,
    pub unit: Unit,
    /// The target of a `scale` that names none; without it one must be named.
    #[serde(default)]
    pub target: Option<Milli>,
    pub description: String,
    /// Every server's names for it, the first that a pod has counts. It calls the pod [`POD`], whatever the platform does.
    pub query: String,
    pub on_idle: OnIdle,
    /// What an infinite value is lowered to.
    pub bound: u64,
    /// The histogram of NIM whose bucket edges its targets should be.
    #[serde(default)]
    pub histogram: Option<String>,
}

/// What a preset counts, and so how its target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// 0 to 1.
    Ratio,
    /// Requests of one pod.
    Requests,
    RequestsPerSecond,
    Seconds,
}

/// What a metric without traffic reads as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnIdle {
    /// 0, so that an idle workload may shrink.
    Zero,
    /// Nothing, so that the replicas stay.
    Hold,
}

/// The pod label in the queries of presets.
const POD: &str = "pod";

/// All presets, sorted by name.
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

pub fn preset(name: &str) -> Option<&'static Preset> {
    presets().iter().find(|preset| preset.name == name)
}

/// The measures of all presets, sorted by name: published at install, so that a workload that scales on presets needs no
/// rule of its own. One is left out only where the platform says that a family of it has no pod.
pub fn measures(platform: &Platform) -> Vec<Measure> {
    let measured = presets().iter().filter_map(|preset| {
        // A preset states its bound and idle rule: its measure does not depend on the target.
        let target = preset.target.unwrap_or(Milli::MAX);
        measure(&preset.question(target, None), platform).measure
    });
    let mut measures: Vec<Measure> = measured.collect();
    measures.sort_by(|a, b| a.name.cmp(&b.name));
    measures
}

impl Preset {
    /// The bucket edges of NIM in thousandths, ascending; a quantile between two of them is an estimate.
    pub(crate) fn edges(&self) -> &'static [u64] {
        self.histogram.as_deref().and_then(family).map_or(&[], |family| family.edges)
    }

    /// What is to be measured of it in a namespace.
    pub(crate) fn question<'a>(&'a self, target: Milli, namespace: Option<&'a str>) -> Question<'a> {
        let (on_idle, bound) = (Some(self.on_idle), Some(self.bound));
        Question { namespace, on_idle, bound, writer: Writer::Preset, ..Question::new(&self.query, target) }
    }
}

/// A preset's tree in the names of a platform.
pub(crate) fn in_names_of(platform: &Platform, node: &Node) -> Node {
    struct Rename<'a>(&'a str);

    impl Rewrite for Rename<'_> {
        fn list(&self, list: &LabelList) -> LabelList {
            let name = |label: &String| if label == POD { self.0.to_owned() } else { label.clone() };
            LabelList { labels: list.labels.iter().map(name).collect(), ..list.clone() }
        }
    }

    node.rewrite(&Rename(&platform.labels.pod))
}

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../presets/", $name, ".yaml"))),)*]
    };
}

/// Sorted: [`presets`] keeps the order.
const FILES: &[(&str, &str)] = files! {
    "e2e-p95"
    "gpu-util"
    "itl-p95"
    "kv-cache"
    "queue-depth"
    "queue-time"
    "rps"
    "running"
    "ttft-p95"
};

static PRESETS: LazyLock<Vec<Preset>> =
    LazyLock::new(|| FILES.iter().map(|(_, text)| read(text).expect("a test reads every preset file")).collect());

fn read(text: &str) -> Result<Preset, ParseError> {
    yaml::parse(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_preset_file_has_a_line_here_and_reads() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/presets");
        let files: BTreeSet<String> = std::fs::read_dir(directory)
            .expect("the directory exists")
            .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
            .collect();
        let lines: BTreeSet<String> = FILES.iter().map(|(name, _)| format!("{name}.yaml")).collect();
        assert_eq!(files, lines);
        for (name, text) in FILES {
            match read(text) {
                Ok(preset) => assert_eq!(preset.name, *name),
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }

    #[test]
    fn presets_are_sorted_and_whole() {
        assert!(presets().windows(2).all(|pair| pair[0].name < pair[1].name));
        for preset in presets() {
            let name = &preset.name;
            assert_eq!(preset.query.contains("histogram_quantile"), !preset.edges().is_empty(), "{name}");
            assert!(preset.histogram.iter().all(|histogram| preset.query.contains(&format!("({histogram}_bucket"))));
            assert!(!preset.query.contains('\n'), "{name}");
            if !preset.edges().is_empty() {
                let is_edge = |target: Milli| preset.edges().contains(&target.thousandths());
                assert!(preset.target.is_none_or(is_edge), "{name}");
            }
        }
    }

    #[test]
    fn a_preset_is_found_by_its_name() {
        let kv_cache = preset("kv-cache").expect("there is one");
        assert_eq!((kv_cache.unit, kv_cache.on_idle, kv_cache.bound), (Unit::Ratio, OnIdle::Hold, 1000));
        assert_eq!(kv_cache.target, Milli::from_thousandths(750));
        assert_eq!(preset("kvcache"), None);
    }

    #[test]
    fn every_preset_compiles_whatever_the_platform_calls_its_labels() {
        let namespaces = ["namespace", "exported_namespace", "kubernetes_namespace"];
        let pods = ["pod", "exported_pod", "kubernetes_pod_name", "pod_name"];
        for (namespace, pod) in namespaces.into_iter().flat_map(|namespace| pods.map(|pod| (namespace, pod))) {
            let text = format!("labels: {{namespace: {namespace}, pod: {pod}}}\nrequiredMatchers: {{cluster: east}}\n");
            let platform = Platform::read(&text).expect("a platform");
            for preset in presets() {
                let measured = measure(&preset.question(Milli::MAX, Some("a")), &platform);
                let template = measured.measure.map(|measure| measure.template.to_string());
                let template = template.unwrap_or_else(|| panic!("{text}{}: {:?}", preset.name, measured.findings));
                assert_eq!(template.matches("<<.GroupBy>>").count(), template.matches(" by (").count(), "{template}");
                assert!(!template.contains("(pod,") && !template.contains(" pod,"), "{text}{template}");
            }
            assert_eq!(measures(&platform).len(), presets().len(), "{text}");
        }
    }

    #[test]
    fn a_preset_is_measured_as_an_author_would_write_it() {
        for platform in ["{}", "labels: {pod: kubernetes_pod_name}"].map(|text| Platform::read(text).expect("it reads"))
        {
            for preset in presets() {
                let question = preset.question(Milli::MAX, None);
                let written = question.query.replace("pod)", &format!("{})", platform.labels.pod));
                let of_author = Question { query: &written, writer: Writer::Author, ..question };
                assert_eq!(measure(&question, &platform).measure, measure(&of_author, &platform).measure);
            }
        }
    }
}
