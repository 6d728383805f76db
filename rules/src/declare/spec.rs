//! Read `spec`: replicas, metrics and behavior in one YAML value.

use std::collections::BTreeSet;

use super::behavior::{LARGEST_CHANGE, LONGEST_STEP, LONGEST_WINDOW, count, seconds};
use super::{
    Behavior, Change, DeclaredMetric, Direction, Intended, MetricName, Range, Source, Step, behavior, charset, keep,
    near, scale, target, twice,
};
use crate::findings::{Code, Finding, cut};
use crate::measure::{Kind, Reading};
use crate::place::{Origin, Place, Set, Span, Text};
use crate::policy::Limits;
use crate::presets::{OnIdle, Preset, preset, presets};
use crate::quantity::Milli;
use crate::yaml::{self, Kind as Yaml, Node, Style};

/// What a `spec` states, each with where: also what is stated wrong is stated.
#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) replicas: Option<(Option<Set<Range>>, Place)>,
    pub(super) metrics: Option<(Vec<DeclaredMetric>, Place)>,
    pub(super) behavior: Option<(Option<Set<Behavior>>, Place)>,
}

/// Reads what it can; the findings have their final places.
pub(super) fn read(text: &Text, limits: &Limits, findings: &mut Vec<Finding>) -> Spec {
    let value = text.as_str();
    let root = match yaml::read(value, Span::new(0, value.len()), 0) {
        Ok(Some(root)) => root,
        Ok(None) => {
            findings.push(Finding::new(Code::Ns0106, text.whole(), "nimscale.dev/spec is empty").help(EXAMPLE));
            return Spec::default();
        }
        Err(finding) => {
            let message = format!("spec is {}", finding.message);
            let help = finding.help.clone().unwrap_or_else(|| "block style".into());
            findings.push(Finding { code: Code::Ns0141, message, ..finding }.help(help).through(text));
            return Spec::default();
        }
    };
    let mut reader = Reader { text, limits, findings };
    if !reader.plain_tree(&root) {
        return Spec::default();
    }
    reader.spec(&root).unwrap_or_default()
}

/// Somebody who sees these mends the others, too.
const MOST_SLIPS: usize = 8;

const EXAMPLE: &str = "replicas: {min: 1, max: 8}";

struct Reader<'a> {
    text: &'a Text,
    limits: &'a Limits,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    /// False when the tree holds what makes one value stand in two places, or mean what it does not say.
    fn plain_tree(&mut self, root: &Node) -> bool {
        let mut refused: Vec<(Span, &str, &str)> = Vec::new();
        root.walk(&mut |node| {
            let what = match (&node.kind, &node.tag, node.anchor) {
                (Yaml::Alias(_), _, _) => "an alias",
                (_, Some(_), _) => "a tag",
                (_, _, Some(_)) => "an anchor",
                (Yaml::Scalar { .. } | Yaml::Sequence(_) | Yaml::Mapping(_), None, None) => "",
            };
            if !what.is_empty() {
                refused.push((node.span, what, "the value itself"));
            }
            let mut keys = BTreeSet::new();
            for (key, _) in node.entries() {
                if key.as_str() == Some("<<") {
                    refused.push((key.span, "a merge key", "the value itself"));
                } else if !keys.insert(key.as_str()) {
                    refused.push((key.span, "a repeated key", "one of the two"));
                }
            }
        });
        let first = refused.into_iter().min();
        if let Some((span, what, help)) = first {
            self.refuse(Code::Ns0145, span, format!("{what} is not allowed in spec"), help);
        }
        first.is_none()
    }

    fn spec(&mut self, root: &Node) -> Option<Spec> {
        let [replicas, metrics, behavior] = self.fields(root, "", ["replicas", "metrics", "behavior"])?;
        let replicas = replicas.map(|node| (self.replicas(node), self.text.place(node.span)));
        let metrics = metrics.map(|node| (self.metrics(node), self.text.place(node.span)));
        let behavior = behavior.map(|node| (self.behavior(node), self.text.place(node.span)));
        Some(Spec { replicas, metrics, behavior })
    }

    fn replicas(&mut self, node: &Node) -> Option<Set<Range>> {
        let [min, max] = self.fields(node, "replicas", ["min", "max"])?;
        let (Some(min), Some(max)) = (min, max) else {
            self.refuse(Code::Ns0143, node.span, "replicas needs min and max", "{min: 1, max: 8}");
            return None;
        };
        let (min, max) = (self.integer(min, "replicas.min", "min: 1"), self.integer(max, "replicas.max", "max: 8"));
        let (min, max) = (min?, max?);
        let in_spec = |finding: Finding| {
            let range = finding.help.as_deref().and_then(scale::bounds);
            match range {
                Some((min, max)) => finding.help(format!("{{min: {min}, max: {max}}}")).through(self.text),
                None => finding.through(self.text),
            }
        };
        match scale::held(&format!("{min}..{max}"), (min, max), node.span, self.limits) {
            Ok((value, Some(lowered))) => {
                let lowered = in_spec(lowered);
                self.findings.push(lowered);
                Some(Set { value, from: self.limits.max_replicas.by.clone() })
            }
            Ok((range, None)) => {
                let never = scale::never_scales(range, node.span).map(in_spec);
                self.findings.extend(never);
                Some(Set { value: range, from: Origin::Annotation(self.text.place(node.span)) })
            }
            Err(finding) => {
                let finding = in_spec(finding);
                self.findings.push(finding);
                None
            }
        }
    }

    fn metrics(&mut self, node: &Node) -> Vec<DeclaredMetric> {
        let Yaml::Sequence(items) = &node.kind else {
            self.refuse(Code::Ns0143, node.span, "metrics must be a list", "- preset: kv-cache");
            return Vec::new();
        };
        let (mut metrics, mut names) = (Vec::new(), BTreeSet::new());
        let mut slips = 0;
        for (at, item) in items.iter().enumerate() {
            match self.metric(item, &format!("metrics[{at}]")) {
                Some(metric) if names.insert(metric.name.clone()) => metrics.push(metric),
                Some(again) => {
                    slips += 1;
                    self.findings.push(twice(&again.name, again.place).help(again.name.other(&names).to_string()));
                }
                None => slips += 1,
            }
            if slips == MOST_SLIPS {
                break;
            }
        }
        metrics
    }

    fn metric(&mut self, node: &Node, path: &str) -> Option<DeclaredMetric> {
        let known = ["preset", "name", "query", "target", "kind", "onIdle"];
        let [of_preset, name, query, target, kind, on_idle] = self.fields(node, path, known)?;
        match (of_preset, query) {
            (Some(of_preset), None) => {
                let of_query = [("name", name), ("kind", kind), ("onIdle", on_idle)];
                if let Some((field, node)) = of_query.into_iter().find_map(|(field, node)| Some((field, node?))) {
                    let message = format!("{path}.{field} stands beside a query only: a preset has its own");
                    self.refuse(Code::Ns0142, node.span, message, "the preset alone");
                    return None;
                }
                self.of_preset(of_preset, target, path)
            }
            (None, Some(query)) => self.of_query(node, [name, target, kind, on_idle], query, path),
            (Some(_), Some(_)) | (None, None) => {
                let message = format!("{path} needs either preset or query");
                self.refuse(Code::Ns0144, node.span, message, "preset: kv-cache");
                None
            }
        }
    }

    fn of_preset(&mut self, node: &Node, target: Option<&Node>, path: &str) -> Option<DeclaredMetric> {
        let (name, place) = self.word(node, &format!("{path}.preset"), "preset: kv-cache")?;
        let Some(preset) = preset(name) else {
            let names = presets().iter().map(|preset| preset.name.as_str());
            let help = near(name, names).unwrap_or("one of `nimscale presets`");
            self.refuse(Code::Ns0114, node.span, format!("unknown preset {}", cut(name, 40)), help);
            return None;
        };
        let target = match target {
            None => preset.target.map(Set::built_in),
            Some(target) => Some(self.target_of_preset(target, preset, path)?),
        };
        let Some(target) = target else {
            let help = format!("target: {}", target::example(preset));
            self.refuse(Code::Ns0215, node.span, format!("{} has no default target", preset.name), &help);
            return None;
        };
        let (name, source) = (MetricName::derived(&preset.name), Source::Preset(preset));
        Some(DeclaredMetric { name, place, source, target, intended: Intended::default() })
    }

    fn target_of_preset(&mut self, node: &Node, preset: &Preset, path: &str) -> Option<Set<Milli>> {
        let (text, node) = match self.target(node, path)? {
            Target::Plain(text) => (text, node),
            Target::Value(node) => {
                self.refuse(
                    Code::Ns0218,
                    node.span,
                    "value is the level of a whole workload; a preset is per pod",
                    "averageValue",
                );
                return None;
            }
            Target::AverageValue(node) => {
                let target = self.quantity(node, path)?;
                (Text::verbatim(target::in_unit_of(preset, target.value)), node)
            }
        };
        match target::quantity(text.as_str(), 0, preset) {
            Ok((target, warning)) => {
                let place = self.text.place(node.span);
                self.findings.extend(warning.map(|warning| Finding { place: place.clone(), ..warning }));
                Some(Set::annotation(target, place))
            }
            Err(finding) => self.no_target(finding, node, path),
        }
    }

    fn of_query(
        &mut self,
        node: &Node,
        [name, target, kind, on_idle]: [Option<&Node>; 4],
        query: &Node,
        path: &str,
    ) -> Option<DeclaredMetric> {
        let Some(name) = name else {
            self.refuse(Code::Ns0144, node.span, format!("{path} needs a name"), "name: backlog");
            return None;
        };
        let (word, place) = self.word(name, &format!("{path}.name"), "name: backlog")?;
        let Some(name) = MetricName::parse(word) else {
            let message = format!("\"{}\" is no name: {}", cut(word, 24), MetricName::RULE);
            self.refuse(Code::Ns0121, name.span, message, &format!("name: {}", MetricName::suggested(word)));
            return None;
        };
        let expression = self.expression(query, path)?;
        let Some(target) = target else {
            self.refuse(Code::Ns0144, node.span, format!("{path} needs a target"), "target: {averageValue: 8}");
            return None;
        };
        let (reading, target) = match self.target(target, path)? {
            Target::Plain(text) => match target::number(text.as_str(), 0) {
                Ok(number) => (None, Set::annotation(number, self.text.place(target.span))),
                Err(finding) => return self.no_target(finding, target, path),
            },
            Target::AverageValue(node) => (Some(Reading::PerReplica), self.quantity(node, path)?),
            Target::Value(node) => (Some(Reading::AsItStands), self.quantity(node, path)?),
        };
        let kinds = [("Pods", Kind::Pods), ("Object", Kind::Object)];
        let kind = self.one_of(kind, &format!("{path}.kind"), kinds)?;
        let idles = [("hold", OnIdle::Hold), ("zero", OnIdle::Zero)];
        let on_idle = self.one_of(on_idle, &format!("{path}.onIdle"), idles)?;
        let intended = Intended { kind, on_idle, reading };
        Some(DeclaredMetric { name, place, source: Source::Query(expression), target, intended })
    }

    /// The PromQL of a query, without the white space around it.
    fn expression(&mut self, node: &Node, path: &str) -> Option<Text> {
        let text = self.scalar(node).filter(|text| !text.as_str().trim_ascii().is_empty());
        let Some(text) = text else {
            self.refuse(Code::Ns0143, node.span, format!("{path}.query must be PromQL"), "query: |");
            return None;
        };
        let start = text.as_str().len() - text.as_str().trim_ascii_start().len();
        let end = text.as_str().trim_ascii_end().len();
        let expression = text.slice(Span::new(start, end));
        let whole = Span::new(0, end - start);
        let refused = charset::promql(expression.as_str()).or_else(|| keep::too_long(whole, self.limits));
        match refused {
            None => Some(expression),
            Some(finding) => {
                self.findings.push(finding.through(&expression));
                None
            }
        }
    }

    /// What a target says; how it is read depends on what it is the target of.
    fn target<'n>(&mut self, node: &'n Node, path: &str) -> Option<Target<'n>> {
        if let Some(text) = self.scalar(node) {
            return Some(Target::Plain(text));
        }
        let [average, value] = self.fields(node, &format!("{path}.target"), ["averageValue", "value"])?;
        match (average, value) {
            (Some(node), None) => Some(Target::AverageValue(node)),
            (None, Some(node)) => Some(Target::Value(node)),
            (Some(_), Some(_)) | (None, None) => {
                let message = format!("{path}.target is either averageValue or value");
                self.refuse(Code::Ns0143, node.span, message, "{averageValue: 8}");
                None
            }
        }
    }

    fn quantity(&mut self, node: &Node, path: &str) -> Option<Set<Milli>> {
        let text = self.scalar(node).unwrap_or_else(|| Text::verbatim(""));
        match target::kubernetes(text.as_str(), 0) {
            Ok(quantity) => Some(Set::annotation(quantity, self.text.place(node.span))),
            Err(finding) => self.no_target(finding, node, path),
        }
    }

    /// A slip in a target, at its place here.
    fn no_target<T>(&mut self, finding: Finding, node: &Node, path: &str) -> Option<T> {
        let finding = if finding.code == Code::Ns0130 {
            Finding { code: Code::Ns0143, message: format!("{path}.target must be a number"), ..finding }
        } else {
            finding
        };
        self.findings.push(Finding { place: self.text.place(node.span), ..finding });
        None
    }

    fn behavior(&mut self, node: &Node) -> Option<Set<Behavior>> {
        let place = self.text.place(node.span);
        if let Some(text) = self.scalar(node) {
            return match behavior::read(text.as_str().trim_ascii(), 0) {
                Ok(behavior) => Some(Set::annotation(behavior, place)),
                Err(finding) => {
                    self.findings.push(Finding { place, ..finding });
                    None
                }
            };
        }
        let [up, down] = self.fields(node, "behavior", ["scaleUp", "scaleDown"])?;
        let Behavior { up: default_up, down: default_down } = Behavior::balanced();
        let up = up.map_or(Some(default_up.clone()), |node| self.direction(node, "scaleUp", &default_up));
        let down = down.map_or(Some(default_down.clone()), |node| self.direction(node, "scaleDown", &default_down));
        Some(Set::annotation(Behavior { up: up?, down: down? }, place))
    }

    /// What is left out of the window stays as `default` has it.
    fn direction(&mut self, node: &Node, path: &str, default: &Direction) -> Option<Direction> {
        if node.as_str() == Some("off") {
            return Some(Direction::Off);
        }
        let [pods, percent, every, window] = self.fields(node, path, ["pods", "percent", "every", "window"])?;
        let most = LARGEST_CHANGE;
        let mut changes = Vec::new();
        for (field, stated, change) in
            [("pods", pods, Change::Pods as fn(u32) -> Change), ("percent", percent, Change::Percent)]
        {
            let Some(stated) = stated else { continue };
            let number = self.integer(stated, &format!("{path}.{field}"), &format!("{field}: 2"))?;
            if !(1..=most).contains(&number) {
                let message = format!("{path}.{field} is 1 to {most}");
                self.refuse(Code::Ns0143, stated.span, message, &format!("{field}: {}", number.clamp(1, most)));
                return None;
            }
            changes.push(change(number));
        }
        let (false, Some(every)) = (changes.is_empty(), every) else {
            let message = format!("{path} needs pods or percent, and every");
            self.refuse(Code::Ns0143, node.span, message, "{pods: 2, every: 60s}");
            return None;
        };
        let every_seconds = self.time(every, &format!("{path}.every"), (1, LONGEST_STEP), "every: 60s")?;
        let after_seconds = match (window, default) {
            (Some(window), _) => self.time(window, &format!("{path}.window"), (0, LONGEST_WINDOW), "window: 10m")?,
            (None, Direction::Steps { after_seconds, .. }) => *after_seconds,
            (None, Direction::Off) => 0,
        };
        let steps = changes.into_iter().map(|change| Step { change, every_seconds }).collect();
        Some(Direction::Steps { steps, after_seconds })
    }

    fn time(&mut self, node: &Node, path: &str, (least, most): (u32, u32), help: &str) -> Option<u32> {
        let time = node.as_str().and_then(seconds).filter(|seconds| (least..=most).contains(seconds));
        if time.is_none() {
            let message = format!("{path} must be a time from {least}s to {}m", most / 60);
            self.refuse(Code::Ns0143, node.span, message, help);
        }
        time
    }

    fn integer(&mut self, node: &Node, path: &str, help: &str) -> Option<u32> {
        let number = node.as_str().filter(|_| node.style() == Some(Style::Plain)).and_then(count);
        if number.is_none() {
            self.refuse(Code::Ns0143, node.span, format!("{path} must be an integer"), help);
        }
        number
    }

    /// `None` when what is stated is none of them.
    fn one_of<T: Copy>(&mut self, node: Option<&Node>, path: &str, known: [(&str, T); 2]) -> Option<Option<T>> {
        let Some(node) = node else { return Some(None) };
        let stated = node.as_str().and_then(|word| known.iter().find(|(name, _)| *name == word));
        let Some((_, value)) = stated else {
            let [(first, _), (second, _)] = known;
            let message = format!("{path} is {first} or {second}");
            let help = node.as_str().and_then(|word| near(word, [first, second])).unwrap_or(first);
            self.refuse(Code::Ns0143, node.span, message, help);
            return None;
        };
        Some(Some(*value))
    }

    /// A word, and where it stands.
    fn word<'n>(&mut self, node: &'n Node, path: &str, help: &str) -> Option<(&'n str, Place)> {
        let Some(word) = node.as_str().filter(|word| !word.is_empty()) else {
            self.refuse(Code::Ns0143, node.span, format!("{path} must be a word"), help);
            return None;
        };
        if let Some(refused) = charset::plain(word) {
            let place = self.text.place(node.span);
            self.findings.push(Finding { place, ..refused });
            return None;
        }
        Some((word, self.text.place(node.span)))
    }

    /// The fields of a mapping, in the order of `known`; one that is unknown, or no mapping, is refused.
    fn fields<'n, const N: usize>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: [&'static str; N],
    ) -> Option<[Option<&'n Node>; N]> {
        let Yaml::Mapping(entries) = &node.kind else {
            let message = format!("{} must be a mapping", if path.is_empty() { "spec" } else { path });
            self.refuse(Code::Ns0143, node.span, message, &format!("{}: …", known[0]));
            return None;
        };
        let unknown = entries.iter().find(|(key, _)| !key.as_str().is_some_and(|key| known.contains(&key)));
        let Some((key, _)) = unknown else { return Some(known.map(|name| node.lookup(name))) };
        let name = key.as_str().unwrap_or_default();
        let dot = if path.is_empty() { "" } else { "." };
        let message = format!("unknown field {path}{dot}{}", cut(name, 40));
        // PromQL in flow style is cut at its commas.
        let help = if name.contains(['(', ')', '{', '}', '[', ']']) { Some("query: |") } else { near(name, known) };
        let listed = format!("one of {}", known.join(", "));
        self.refuse(Code::Ns0142, key.span, message, help.unwrap_or(&listed));
        None
    }

    /// The text of a scalar, each byte of which knows where it was written.
    fn scalar(&self, node: &Node) -> Option<Text> {
        Some(node.text(self.text.as_str(), 0, String::new())?.within(self.text))
    }

    fn refuse(&mut self, code: Code, span: Span, message: impl Into<String>, help: &str) {
        self.findings.push(Finding::new(code, self.text.place(span), message).help(help));
    }
}

/// How a target is stated.
enum Target<'n> {
    Plain(Text),
    /// So much per replica.
    AverageValue(&'n Node),
    /// The expression as it stands.
    Value(&'n Node),
}
