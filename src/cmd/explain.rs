//! `nimscale explain --expr E`: say what becomes of one expression, for people or for programs.

use std::io::Read;

use anyhow::Context;
use nimscale_rules::emit::adapter::{Rule, rule};
use nimscale_rules::findings::{Finding, LineIndex, line};
use nimscale_rules::measure::{Cost, Measure, Measured, MetricKind, Question, Reading, confined, measure};
use nimscale_rules::place::{Place, Span};
use nimscale_rules::platform::Platform;
use nimscale_rules::presets::OnIdle;
use nimscale_rules::promql::flow::{Completion, Flow, Presence};
use nimscale_rules::promql::node::Node;
use nimscale_rules::promql::scope::Scope;
use nimscale_rules::promql::template::duration;
use nimscale_rules::promql::{Limits, read};
use nimscale_rules::quantity::Milli;
use serde::Serialize;

use crate::cli::{ExplainArgs, Format};
use crate::output::{Exit, data};

const DEFAULT_TARGET: Milli = Milli::from_thousandths(1000).expect("over 0");

pub fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let platform = super::platform(args.platform.as_deref())?;
    let text = expression(&args.expr)?;
    let question = Question {
        namespace: args.namespace.as_deref(),
        workload: args.workload.into(),
        kind: args.kind.map(Into::into),
        reading: args.reading.map(Into::into),
        on_idle: args.on_idle.map(Into::into),
        ..Question::new(&text, args.target.unwrap_or(DEFAULT_TARGET))
    };
    let mut measured = measure(&question, &platform);
    if let (Some(target), Some(reach)) = (args.target, &measured.reach) {
        let whole = Place::of_text(Span::new(0, text.len()));
        measured.findings.extend(reach.finding(target, &whole));
        measured.findings.sort_by_key(|finding| (finding.place.bytes, finding.code));
    }
    let exit = if measured.measure.is_some() { Exit::Done } else { Exit::Findings };
    match args.output {
        Format::Json => {
            let answer = Answer::of(&text, &measured, &platform);
            let json = serde_json::to_string(&answer).context("failed to write JSON")?;
            data(&format!("{json}\n"))?;
        }
        Format::Text => data(&prose(&text, &measured, &platform))?,
    }
    Ok(exit)
}

/// `-` reads stdin, byte for byte.
fn expression(argument: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("failed to read stdin")?;
    String::from_utf8(bytes).context("failed to read stdin")
}

/// The machine interface: one object, its keys in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    verdict: &'static str,
    diagnostics: Vec<Diagnostic<'a>>,
    #[serde(flatten)]
    accepted: Option<Accepted<'a>>,
}

#[derive(Serialize)]
struct Diagnostic<'a> {
    code: &'static str,
    severity: String,
    message: &'a str,
    span: [usize; 2],
    help: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    kind: &'static str,
    target_type: &'static str,
    name: &'a str,
    template: String,
    series_query: &'a str,
    rule: Rule,
    selectors: Vec<SelectorOf<'a>>,
}

#[derive(Serialize)]
struct SelectorOf<'a> {
    text: &'a str,
    span: [usize; 2],
    side: &'static str,
}

impl<'a> Answer<'a> {
    fn of(text: &'a str, measured: &'a Measured, platform: &'a Platform) -> Self {
        let accepted = measured.measure.as_ref().map(|measure| Accepted {
            kind: match measure.kind {
                MetricKind::Pods => "Pods",
                MetricKind::Object(_) => "Object",
            },
            target_type: "AverageValue",
            name: &measure.name,
            template: measure.template.to_string(),
            series_query: &platform.anchor,
            rule: rule(measure, platform),
            selectors: SelectorOf::all(text, measure, platform),
        });
        Self {
            verdict: if accepted.is_some() { "accepted" } else { "refused" },
            diagnostics: measured.findings.iter().map(Diagnostic::of).collect(),
            accepted,
        }
    }
}

impl<'a> Diagnostic<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            code: finding.code.as_str(),
            severity: finding.severity().to_string(),
            message: &finding.message,
            span: [finding.place.bytes.start, finding.place.bytes.end],
            help: finding.help.as_deref(),
        }
    }
}

impl<'a> SelectorOf<'a> {
    fn all(text: &'a str, measure: &Measure, platform: &Platform) -> Vec<Self> {
        let confined = tree(text).map(|node| confined(&node, measure.kind, platform)).unwrap_or_default();
        let of = |(span, scope): (Span, Scope)| Self {
            text: span.of(text),
            span: [span.start, span.end],
            side: scope.side().as_str(),
        };
        confined.into_iter().map(of).collect()
    }
}

/// The tree of a text that was accepted: the compiler keeps none.
fn tree(text: &str) -> Option<Node> {
    read(text, &Limits::AUTHOR).ok()
}

fn prose(text: &str, measured: &Measured, platform: &Platform) -> String {
    let mut out = String::new();
    let mut say = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    match &measured.measure {
        Some(measure) => {
            say(&format!("accepted: {}", verdict(measure)));
            say(&format!("  name      {}", measure.name));
            say(&format!("  template  {}", measure.template));
            say(&format!("  lists by  {}", platform.anchor));
            let idle = match measure.on_idle {
                OnIdle::Zero => "NaN reads as 0, a missing series stays missing",
                OnIdle::Hold => "NaN and a missing series hold the replicas",
            };
            say(&format!("  idle      {idle}"));
            say(&format!("  overload  +Inf reads as {}", measure.bound));
            let node = tree(text);
            for (span, scope) in node.iter().flat_map(|node| confined(node, measure.kind, platform)) {
                say(&format!("  {:<9} {}: {}", scope.side().as_str(), span.of(text), reads(&scope)));
            }
            if let Some(completion) = measured.completion {
                let name = match completion {
                    Completion::Max => "max",
                    Completion::Sum => "sum",
                };
                say(&format!("  completed with {name} by ({}): a pod may have several series", platform.labels.pod));
            }
            if let Some(Cost { selectors, range }) = node.as_ref().map(Cost::of) {
                let selectors = if selectors == 1 { "1 selector".to_owned() } else { format!("{selectors} selectors") };
                say(&format!("  cost      {selectors}, the widest range {}", duration(range)));
            }
        }
        None => say("refused"),
    }
    if let Some(flow) = &measured.flow {
        labels(flow, platform, &mut say);
    }
    let lines = LineIndex::new(text);
    for finding in &measured.findings {
        say(&format!("{} {}", finding.severity(), line(finding, "expr", &lines)));
    }
    out
}

/// What the HPA makes of the metric.
fn verdict(measure: &Measure) -> String {
    match (measure.kind, measure.reading) {
        (MetricKind::Pods, _) => "a Pods metric with an AverageValue target".to_owned(),
        (MetricKind::Object(kind), Reading::PerReplica) => {
            format!("an Object metric on the {kind} with an AverageValue target, read as N per replica")
        }
        (MetricKind::Object(kind), Reading::AsItStands) => format!(
            "an Object metric on the {kind} with an AverageValue target, times the pods that serve: as it stands"
        ),
    }
}

fn reads(scope: &Scope) -> &'static str {
    match scope {
        Scope::Unconfined => "the whole cluster",
        Scope::Request => "the request's namespace and pods",
        Scope::Namespace(_) => "the whole namespace, also other workloads' series",
        Scope::Pods(_) => "the request's namespace and pods, by the names of its family",
        Scope::Workload(..) => "the request's namespace and the workload's pods",
    }
}

/// What is known of the labels of the result, and which clause made it so.
fn labels(flow: &Flow, platform: &Platform, say: &mut impl FnMut(&str)) {
    if let Some(reason) = &flow.pod_dropped {
        let pod = &platform.labels.pod;
        say(&format!("  label     {pod} is gone: {} at {} drops it", reason.clause, reason.span));
    }
    for (label, fact) in flow.labels.known() {
        let presence = match fact.presence {
            Presence::Surely => "is there",
            Presence::Maybe => "may be there",
            Presence::Never => "is gone",
        };
        say(&format!("  label     {label} {presence}: {} at {}", fact.why.clause, fact.why.span));
    }
    let rest = flow.labels.rest();
    if flow.labels.closed().is_some() {
        say(&format!("  label     any other is gone: {} at {}", rest.why.clause, rest.why.span));
    }
}
