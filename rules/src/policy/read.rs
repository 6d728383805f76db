//! Read a policy: every mistake is found, and a policy with one is refused whole.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::limits::OwnLimits;
use super::nim::ImagePattern;
use super::spec::{
    self, MOST_BYTES, MOST_CHARACTERS, MOST_ENTRIES, MOST_GPUS, MOST_METRICS, MOST_PRIORITY, MOST_REPLICAS,
    MOST_SELECTORS, Operator, Source, Spec,
};
use super::{Limits, Policy, PolicyDefaults};
use crate::declare::{Behavior, Range, preset_target, seconds};
use crate::findings::{Code, Finding, cut, nearest};
use crate::place::{Place, Span};
use crate::presets::{Preset, preset, presets};
use crate::promql::{self, NamePattern};
use crate::quantity::Milli;
use crate::workload::{Selector, is_subdomain};

impl Policy {
    /// Parses a policy. `None` with an error among the findings; warnings stop nothing.
    pub fn read(name: &str, spec: Spec) -> (Option<Self>, Vec<Finding>) {
        let mut reader = Reader { name, findings: Vec::new() };
        if !is_subdomain(name) {
            reader.refuse(
                "/metadata/name",
                "the name is none that Kubernetes takes",
                "lower-case letters, digits and -",
            );
        }
        if spec.presets.is_some() {
            reader.refuse("/spec/presets", "presets are not supported by this version yet", "a built-in preset");
        }
        let most = i64::from(MOST_PRIORITY);
        reader.within("/spec/priority", "priority", i64::from(spec.priority), (-most, most));
        let namespaces = reader.selector("/spec/match/namespaceSelector", &spec.matches.namespace_selector);
        let workloads = reader.selector("/spec/match/workloadSelector", &spec.matches.workload_selector);
        let images = reader.images(spec.matches.images.as_deref());
        let limits = reader.limits(&spec.limits);
        let defaults = reader.defaults(&spec.defaults, limits.max_replicas);
        let policy = Self {
            name: name.to_owned(),
            priority: spec.priority,
            mode: spec.mode,
            guard: spec.replica_guard,
            namespaces,
            workloads,
            images,
            attach: spec.matches.attach,
            defaults,
            limits,
        };
        let refused = reader.findings.iter().any(Finding::is_error);
        ((!refused).then_some(policy), reader.findings)
    }
}

/// A finding about a policy, at a path of it.
pub(super) fn finding(code: Code, name: &str, path: &str, why: &str) -> Finding {
    let place = Place { path: path.to_owned(), ..Place::of_text(Span::default()) };
    Finding::new(code, place, format!("policy {}: {}", cut(name, 30), cut(why, 74)))
}

struct Reader<'a> {
    name: &'a str,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn refuse(&mut self, path: &str, why: &str, help: &str) {
        self.findings.push(finding(Code::Ns0224, self.name, path, why).help(help));
    }

    fn within(&mut self, path: &str, what: &str, value: i64, (least, most): (i64, i64)) {
        if value < least || most < value {
            let why = format!("{what} {value} is not between {least} and {most}");
            self.refuse(path, &why, &value.clamp(least, most).to_string());
        }
    }

    fn entries(&mut self, path: &str, what: &str, count: usize) {
        if count > MOST_ENTRIES {
            self.refuse(path, &format!("{count} {what}; the limit is {MOST_ENTRIES}"), "fewer");
        }
    }

    fn selector(&mut self, path: &str, selector: &spec::LabelSelector) -> Selector {
        self.entries(path, "requirements", selector.match_expressions.len());
        let mut expressions = Vec::new();
        for spec::Requirement { key, operator, values } in &selector.match_expressions {
            let (operator, listed) = match operator {
                Operator::In => ("In", true),
                Operator::NotIn => ("NotIn", true),
                Operator::Exists => ("Exists", false),
                Operator::DoesNotExist => ("DoesNotExist", false),
            };
            if listed == values.is_empty() {
                let (why, help) = if listed { ("needs values", "values: [a]") } else { ("has no values", "no values") };
                self.refuse(path, &format!("{operator} {why}"), help);
            }
            let values = (!values.is_empty()).then(|| values.clone());
            expressions.push(LabelSelectorRequirement { key: key.clone(), operator: operator.to_owned(), values });
        }
        let match_labels = Some(selector.match_labels.clone());
        LabelSelector { match_labels, match_expressions: Some(expressions) }
            .try_into()
            .expect("every operator of a policy is one of Kubernetes")
    }

    fn images(&mut self, images: Option<&[String]>) -> Vec<ImagePattern> {
        let Some(images) = images else {
            return vec![ImagePattern::of_nvidia()];
        };
        self.entries("/spec/match/images", "images", images.len());
        let mut patterns = Vec::new();
        for image in images {
            match ImagePattern::parse(image) {
                Some(pattern) => patterns.push(pattern),
                None => {
                    let why = format!("{} is no pattern of images", cut(image, 40));
                    self.refuse("/spec/match/images", &why, "nvcr.io/nim/**");
                }
            }
        }
        patterns
    }

    fn limits(&mut self, limits: &spec::Limits) -> OwnLimits {
        let mut stated = |path: &str, what: &str, value: Option<u32>, most: u32| {
            if let Some(value) = value {
                self.within(path, what, i64::from(value), (1, i64::from(most)));
            }
            value
        };
        let max_replicas = stated("/spec/limits/maxReplicas", "maxReplicas", limits.max_replicas, MOST_REPLICAS);
        let gpus = stated("/spec/limits/gpus", "gpus", limits.gpus, MOST_GPUS);
        let metrics = stated("/spec/limits/metrics/max", "metrics.max", limits.metrics.max, MOST_METRICS);
        let max_bytes = stated("/spec/limits/query/maxBytes", "query.maxBytes", limits.query.max_bytes, MOST_BYTES);
        let (query, most) = (&limits.query, MOST_SELECTORS);
        let max_selectors = stated("/spec/limits/query/maxSelectors", "query.maxSelectors", query.max_selectors, most);
        let max_range = limits.query.max_range.as_deref().and_then(|range| self.range(range));
        OwnLimits {
            max_replicas,
            gpus,
            metrics: metrics.map(|most| most as usize),
            presets_only: limits.metrics.source == Source::PresetsOnly,
            max_bytes: max_bytes.map(|most| most as usize),
            max_range,
            max_selectors: max_selectors.map(|most| most as usize),
            deny_metrics: self.denied(&limits.query.deny_metrics),
            on_violation: limits.on_violation,
        }
    }

    fn range(&mut self, range: &str) -> Option<Duration> {
        const PATH: &str = "/spec/limits/query/maxRange";
        let longest = promql::Limits::AUTHOR.range;
        match seconds(range).map(|seconds| Duration::from_secs(seconds.into())) {
            Some(Duration::ZERO) | None => {
                self.refuse(PATH, &format!("query.maxRange: {} is no time such as 30m", cut(range, 20)), "1h");
                None
            }
            Some(stated) if stated > longest => {
                self.refuse(PATH, &format!("query.maxRange {} is over 1h, the compiler's limit", cut(range, 20)), "1h");
                None
            }
            Some(stated) => Some(stated),
        }
    }

    fn denied(&mut self, patterns: &[String]) -> Vec<NamePattern> {
        const PATH: &str = "/spec/limits/query/denyMetrics";
        self.entries(PATH, "denyMetrics", patterns.len());
        let mut denied = Vec::new();
        for pattern in patterns {
            match NamePattern::parse(pattern).filter(|_| pattern.len() <= MOST_CHARACTERS) {
                Some(pattern) => denied.push(pattern),
                None => {
                    let why = format!("denyMetrics: {} is no pattern of names", cut(pattern, 30));
                    self.refuse(PATH, &why, "node_.*, and metrics.source: PresetsOnly for all of them");
                }
            }
        }
        denied
    }

    fn defaults(&mut self, defaults: &spec::Defaults, max_replicas: Option<u32>) -> PolicyDefaults {
        const METRICS: &str = "/spec/defaults/metrics";
        let replicas = defaults.replicas.map(|replicas| self.replicas(replicas, max_replicas));
        let most = MOST_METRICS as usize;
        if defaults.metrics.len() > most {
            let why = format!("{} metrics; the limit is {most}", defaults.metrics.len());
            self.refuse(METRICS, &why, "fewer");
        }
        let mut metrics: Vec<(&'static Preset, Option<Milli>)> = Vec::new();
        for (at, metric) in defaults.metrics.iter().enumerate() {
            let Some((preset, target)) = self.metric(&format!("{METRICS}/{at}"), metric) else { continue };
            if metrics.iter().any(|(other, _)| other.name == preset.name) {
                self.refuse(METRICS, &format!("{} stands twice", preset.name), "one of the two");
            }
            metrics.push((preset, target));
        }
        let behavior = defaults.behavior.as_deref().and_then(|text| match Behavior::read(text) {
            Ok(behavior) => Some(behavior),
            Err(finding) => {
                let help = finding.help.unwrap_or_default();
                self.refuse("/spec/defaults/behavior", &format!("behavior: {}", finding.message), &help);
                None
            }
        });
        PolicyDefaults { replicas, metrics, behavior }
    }

    fn replicas(&mut self, spec::Replicas { min, max }: spec::Replicas, max_replicas: Option<u32>) -> Range {
        const PATH: &str = "/spec/defaults/replicas";
        self.within(PATH, "min", i64::from(min), (1, i64::from(MOST_REPLICAS)));
        let ceiling = max_replicas.unwrap_or(Limits::BUILT_IN.max_replicas.value);
        if min > max {
            let why = format!("min {min} is over max {max}");
            self.refuse(PATH, &why, &format!("{{min: {max}, max: {min}}}"));
        } else if max > ceiling {
            let why = format!("default max {max} is over the ceiling {ceiling}");
            self.refuse(PATH, &why, &format!("limits.maxReplicas: {max}"));
        }
        Range { min, max }
    }

    fn metric(&mut self, path: &str, metric: &spec::Metric) -> Option<(&'static Preset, Option<Milli>)> {
        let spec::Metric { preset: name, target, query, name: own_name, kind, on_idle } = metric;
        let later = [("query", query), ("name", own_name), ("kind", kind), ("onIdle", on_idle)];
        if let Some((field, _)) = later.into_iter().find(|(_, value)| value.is_some()) {
            self.refuse(path, &format!("metrics: {field} is not supported by this version yet"), "preset: kv-cache");
            return None;
        }
        let Some(name) = name else {
            self.refuse(path, "a metric without a preset", "preset: kv-cache");
            return None;
        };
        let Some(preset) = preset(name) else {
            let names = presets().iter().map(|preset| preset.name.as_str());
            let help = nearest(&cut(name, 64), names).unwrap_or("one of `nimscale presets`");
            self.refuse(path, &format!("unknown preset {}", cut(name, 40)), help);
            return None;
        };
        let Some(target) = target else {
            if preset.target.is_none() {
                self.refuse(path, &format!("{name} has no default target"), "a target");
            }
            return Some((preset, None));
        };
        match preset_target(&target.to_string(), preset) {
            Ok((target, warning)) => {
                let warning = warning.map(|warning| {
                    let about = finding(warning.code, self.name, path, &format!("{name}: {}", warning.message));
                    Finding { help: warning.help, ..about }
                });
                self.findings.extend(warning);
                Some((preset, Some(target)))
            }
            Err(refused) => {
                let help = refused.help.unwrap_or_default();
                self.refuse(path, &format!("{name}: {}", refused.message), &help);
                None
            }
        }
    }
}
