//! Read the built-in metrics from `presets/`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::measure::{Measure, Question, measure};
use crate::platform::Platform;
use crate::promql::Limits;
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
    /// `None` when this version does not measure it yet.
    #[serde(default)]
    pub query: Option<String>,
    /// What to `keep` as long as there is no query.
    #[serde(default)]
    pub instead: Option<String>,
    #[serde(default)]
    pub on_idle: Option<OnIdle>,
    /// What an infinite value is lowered to.
    #[serde(default)]
    pub bound: Option<u64>,
    /// The bucket edges of NIM in seconds, ascending; a quantile between two of them is an estimate.
    #[serde(default)]
    pub edges: Vec<Milli>,
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

/// All presets, sorted by name.
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

pub fn preset(name: &str) -> Option<&'static Preset> {
    presets().iter().find(|preset| preset.name == name)
}

/// The measures of all presets that have a query, sorted by name: published at install, so that a workload that scales on
/// presets needs no rule of its own.
pub fn measures(platform: &Platform) -> Vec<Measure> {
    let measured = presets().iter().filter_map(|preset| {
        // A preset states its bound and idle rule: its measure does not depend on the target.
        let target = preset.target.unwrap_or(Milli::MAX);
        measure(&preset.question(target, None)?, platform).measure
    });
    let mut measures: Vec<Measure> = measured.collect();
    measures.sort_by(|a, b| a.name.cmp(&b.name));
    measures
}

impl Preset {
    /// What is to be measured of it in a namespace; `None` without a query.
    pub(crate) fn question<'a>(&'a self, target: Milli, namespace: Option<&'a str>) -> Option<Question<'a>> {
        let query = self.query.as_deref()?;
        Some(Question {
            namespace,
            on_idle: self.on_idle,
            bound: self.bound,
            limits: &Limits::PRESET,
            ..Question::new(query, target)
        })
    }
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
            assert!(preset.query.is_some() != preset.instead.is_some(), "{name}: a query, or what to keep instead");
            assert_eq!(preset.query.is_some(), preset.on_idle.is_some() && preset.bound.is_some(), "{name}");
            assert_eq!(preset.unit == Unit::Seconds, !preset.edges.is_empty(), "{name}");
            assert!(preset.edges.is_sorted(), "{name}");
            for text in preset.query.iter().chain(&preset.instead) {
                assert!(promql_parser::parser::parse(text).is_ok(), "{name}: {text}");
                assert!(!text.contains('\n'), "{name}");
            }
            if preset.unit == Unit::Seconds {
                assert!(preset.target.is_none_or(|target| preset.edges.contains(&target)), "{name}");
            }
        }
    }

    #[test]
    fn a_preset_is_found_by_its_name() {
        let kv_cache = preset("kv-cache").expect("there is one");
        assert_eq!((kv_cache.unit, kv_cache.on_idle, kv_cache.bound), (Unit::Ratio, Some(OnIdle::Hold), Some(1000)));
        assert_eq!(kv_cache.target, Milli::from_thousandths(750));
        assert_eq!(preset("kvcache"), None);
    }
}
