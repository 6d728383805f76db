//! Turn annotation text into a Declaration, or say which byte is wrong.

mod behavior;
mod charset;
mod control;
mod keep;
mod lines;
mod name;
mod scale;
mod spec;
mod target;

use std::collections::BTreeSet;

pub(crate) use behavior::seconds;
pub use behavior::{Behavior, Change, Direction, Step};
pub use control::{Mode, Paused, Pick};
pub use name::MetricName;

use crate::findings::{Code, Finding, cut, nearest};
use crate::keys::{DOMAIN, KEYS, Key, Recognised, recognise};
use crate::measure::{Kind, Reading};
use crate::place::{Place, Set, Span, Text};
use crate::policy::{Limits, lowered};
use crate::presets::{OnIdle, Preset};
use crate::quantity::Milli;
use crate::workload::{Annotation, Workload};

/// What the annotations of a workload state. What they leave open stays open here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    pub attach: Attach,
    pub replicas: Option<Set<Range>>,
    /// At most one of a name; `scale` first, each in the order of its text.
    pub metrics: Vec<DeclaredMetric>,
    pub behavior: Option<Set<Behavior>>,
    pub paused: Option<Set<Paused>>,
    pub mode: Option<Set<Mode>>,
    pub policy: Option<Set<Pick>>,
    /// The HPA to take over, by its name.
    pub adopt: Option<Set<String>>,
}

/// What the annotations say about scaling at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// `scale`, `keep` or `spec` is there.
    Declared,
    /// No key declares it, and a policy attaches what it is; an annotation alone never says this.
    ByPolicy,
    /// `scale: "off"`: opted out, whatever else is stated.
    Off,
    #[default]
    NotDeclared,
}

/// The fewest and the most replicas; `1 <= min <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u32,
    pub max: u32,
}

/// One metric and what it is to be kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredMetric {
    pub name: MetricName,
    /// The preset's name, the entry's name, or the expression of an entry without one.
    pub place: Place,
    pub source: Source,
    /// Built-in when a preset stands without a target.
    pub target: Set<Milli>,
    pub intended: Intended,
}

/// What its author says of a metric beside its expression; `None` leaves it to the expression's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intended {
    pub kind: Option<Kind>,
    pub on_idle: Option<OnIdle>,
    pub reading: Option<Reading>,
}

/// Where the values of a metric come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Preset(&'static Preset),
    /// PromQL, and where each of its bytes was written.
    Query(Text),
}

/// Reads the annotations of a workload; the findings are sorted by place.
pub fn declare(workload: &Workload, limits: &Limits) -> (Declaration, Vec<Finding>) {
    let attach = attach(workload);
    let mut findings = Vec::new();
    if workload.annotation_bytes > limits.annotation_bytes {
        let (bytes, most) = (workload.annotation_bytes, limits.annotation_bytes);
        let message = format!("annotations take {bytes} bytes; the API allows {most}");
        findings
            .push(Finding::new(Code::Ns0207, workload.annotations_place.clone(), message).help("fewer expressions"));
        return (Declaration { attach, ..Declaration::default() }, findings);
    }
    check_keys(workload, attach, &mut findings);

    let mut declaration = Declaration { attach, ..Declaration::default() };
    let mut kept = Vec::new();
    if let Some(text) = value(workload, "scale", &mut findings) {
        let scale = through(text, &mut findings, |findings| scale::read(text, limits, findings));
        declaration.replicas = scale.replicas;
        declaration.metrics = scale.metrics;
    }
    if let Some(text) = value(workload, "keep", &mut findings) {
        kept = through(text, &mut findings, |findings| keep::read(text, limits, findings));
    }
    if let Some(text) = value(workload, "behavior", &mut findings) {
        declaration.behavior = through(text, &mut findings, |findings| stated(text, behavior::read, findings));
    }
    if let Some(text) = value(workload, "paused", &mut findings) {
        declaration.paused = through(text, &mut findings, |findings| {
            let mut warnings = Vec::new();
            let paused = stated(text, |value, at| control::paused(value, at, limits, &mut warnings), findings);
            let lowered = !warnings.is_empty();
            findings.extend(warnings);
            paused.map(|paused| if lowered { Set { from: limits.max_replicas.by.clone(), ..paused } } else { paused })
        });
    }
    if let Some(text) = value(workload, "mode", &mut findings) {
        declaration.mode = through(text, &mut findings, |findings| stated(text, control::mode, findings));
    }
    if let Some(text) = value(workload, "policy", &mut findings) {
        declaration.policy = through(text, &mut findings, |findings| stated(text, control::policy, findings));
    }
    if let Some(text) = value(workload, "adopt-hpa", &mut findings) {
        declaration.adopt = through(text, &mut findings, |findings| stated(text, control::adopt, findings));
    }
    if let Some(text) = value(workload, "spec", &mut findings) {
        let spec = spec::read(text, limits, &mut findings);
        unite_spec(&mut declaration, spec, !kept.is_empty(), &mut findings);
    }
    let most = limits.metrics.value;
    let count = declaration.metrics.len() + kept.len();
    let first_over = declaration.metrics.iter().chain(&kept).nth(most).map(|metric| metric.place.clone());
    // Of more than there may be, those over the limit are not judged one by one.
    kept.truncate(most.saturating_sub(declaration.metrics.len()));
    declaration.metrics.truncate(most);
    unite(&mut declaration.metrics, kept, &mut findings);
    if let Some(first_over) = first_over {
        findings.push(if limits.metrics.lowers() {
            lowered(&format!("{count} metrics"), most, &limits.metrics, first_over)
        } else {
            let message = format!("{count} metrics; the limit is {most} {}", limits.metrics.who());
            Finding::new(Code::Ns0206, first_over, message).help(format!("at most {most}"))
        });
    }

    findings.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    if attach == Attach::Off {
        declaration = Declaration { attach, ..Declaration::default() };
    }
    (declaration, findings)
}

/// Reads the target of a preset as `scale` does, with what there is to warn of.
pub(crate) fn preset_target(text: &str, preset: &Preset) -> Result<(Milli, Option<Finding>), Finding> {
    target::quantity(text, 0, preset)
}

/// Reads one target as `keep` does: a plain decimal above 0.
pub fn target(text: &str) -> Result<Milli, Finding> {
    target::number(text, 0)
}

/// What the annotations of a workload say about scaling at all, be they right or wrong.
pub fn attach(workload: &Workload) -> Attach {
    if workload.annotation("scale").is_some_and(|scale| trimmed(scale.value.as_str()).0 == "off") {
        Attach::Off
    } else if KEYS.iter().any(|key| key.declares && workload.annotation(key.name).is_some()) {
        Attach::Declared
    } else {
        Attach::NotDeclared
    }
}

/// Keys that are unknown, not done yet, empty, or without effect.
fn check_keys(workload: &Workload, attach: Attach, findings: &mut Vec<Finding>) {
    let unknown = workload.annotations.iter().filter(|a| matches!(recognise(&a.key), Recognised::Unknown));
    findings.extend(unknown.map(unknown_key));

    let present = || KEYS.iter().filter_map(|key| Some((key, workload.annotation(key.name)?)));
    for (key, annotation) in present() {
        if let Some(instead) = key.not_yet {
            let message = format!("{} is not supported by this version yet", key.name);
            findings.push(Finding::new(Code::Ns0199, annotation.key_place.clone(), message).help(instead));
        } else if trimmed(annotation.value.as_str()).0.is_empty() {
            findings.push(empty(key, annotation.value.whole()));
        }
    }
    if attach == Attach::NotDeclared
        && let Some((key, annotation)) = present().find(|(key, _)| key.not_yet.is_none())
    {
        let message = format!("{DOMAIN}/{} alone attaches nothing", key.name);
        let help = format!("{DOMAIN}/scale: \"auto\"");
        findings.push(Finding::new(Code::Ns0110, annotation.key_place.clone(), message).help(help));
    }
}

fn unknown_key(annotation: &Annotation) -> Finding {
    let shown = cut(&annotation.key.escape_debug().to_string(), 64);
    let finding = Finding::new(Code::Ns0101, annotation.key_place.clone(), format!("unknown key {shown}"));
    let name = annotation.key.rsplit('/').next().unwrap_or_default();
    match near(name, KEYS.iter().map(|key| key.name)) {
        Some(near) => finding.help(format!("{DOMAIN}/{near}")),
        None => finding,
    }
}

/// The value of a key when there is anything to read in it.
fn value<'w>(workload: &'w Workload, name: &str, findings: &mut Vec<Finding>) -> Option<&'w Text> {
    let text = &workload.annotation(name)?.value;
    if trimmed(text.as_str()).0.is_empty() {
        return None;
    }
    let refused = match name {
        "keep" => charset::promql(text.as_str()),
        "spec" => charset::yaml(text.as_str()),
        _ => charset::plain(text.as_str()),
    };
    if let Some(finding) = refused {
        findings.push(finding.through(text));
        return None;
    }
    Some(text)
}

/// Runs a reader of one text and turns the places that it finds into those where the text was written.
fn through<T>(text: &Text, findings: &mut Vec<Finding>, read: impl FnOnce(&mut Vec<Finding>) -> T) -> T {
    let mut own = Vec::new();
    let result = read(&mut own);
    findings.extend(own.into_iter().map(|finding| finding.through(text)));
    result
}

/// Reads a value that is one thing as a whole.
fn stated<T>(
    text: &Text,
    read: impl FnOnce(&str, usize) -> Result<T, Finding>,
    findings: &mut Vec<Finding>,
) -> Option<Set<T>> {
    let (value, at) = trimmed(text.as_str());
    match read(value, at) {
        Ok(stated) => Some(Set::annotation(stated, text.place(Span::new(at, at + value.len())))),
        Err(finding) => {
            findings.push(finding);
            None
        }
    }
}

/// Adds the entries of `keep` to the targets of `scale`: names are unique over both.
fn unite(metrics: &mut Vec<DeclaredMetric>, kept: Vec<DeclaredMetric>, findings: &mut Vec<Finding>) {
    let mut names: BTreeSet<MetricName> = metrics.iter().map(|metric| metric.name.clone()).collect();
    for metric in kept {
        if names.insert(metric.name.clone()) {
            metrics.push(metric);
        } else {
            findings.push(twice(&metric.name, metric.place).help(format!("{}: ", metric.name.other(&names))));
        }
    }
}

/// Adds what `spec` states, but for what another key states too.
fn unite_spec(declaration: &mut Declaration, spec: spec::Spec, keeps: bool, findings: &mut Vec<Finding>) {
    let mut twice = |what: &str, key: &str, place: Place| {
        let message = format!("{what} in spec and in {key}");
        findings.push(Finding::new(Code::Ns0108, place, message).help("one of the two"));
    };
    match (&declaration.replicas, spec.replicas) {
        (Some(_), Some((_, place))) => twice("replicas are stated", "scale", place),
        (None, Some((replicas, _))) => declaration.replicas = replicas,
        (Some(_) | None, None) => {}
    }
    match (declaration.metrics.is_empty(), keeps, spec.metrics) {
        (_, _, None) => {}
        (true, false, Some((metrics, _))) => declaration.metrics = metrics,
        (true, true, Some((_, place))) => twice("metrics are stated", "keep", place),
        (false, _, Some((_, place))) => twice("metrics are stated", "scale", place),
    }
    match (&declaration.behavior, spec.behavior) {
        (Some(_), Some((_, place))) => twice("behavior is stated", "an annotation of its own", place),
        (None, Some((behavior, _))) => declaration.behavior = behavior,
        (Some(_) | None, None) => {}
    }
}

fn twice(name: &MetricName, place: Place) -> Finding {
    Finding::new(Code::Ns0107, place, format!("two metrics are called {name}"))
}

fn empty(key: &Key, place: Place) -> Finding {
    Finding::new(Code::Ns0106, place, format!("{DOMAIN}/{} is empty", key.name)).help(key.example)
}

/// [`nearest`], the word itself included; a word much longer than any candidate is near none.
fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 { None } else { nearest(word, candidates) }
}

/// A value without the white space around it, and where it then starts.
fn trimmed(value: &str) -> (&str, usize) {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let start = value.len() - value.trim_start_matches(is_space).len();
    (value.trim_matches(is_space), start)
}

#[cfg(test)]
mod tests;
