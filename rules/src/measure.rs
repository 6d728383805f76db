//! Choose kind and idle rule, name the metric, and prove its template.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::platform::Platform;
use crate::presets::OnIdle;
use crate::promql::flow::{Analysis, Completion, Flow, PodAsWritten, analyse};
use crate::promql::functions::{Effect, function};
use crate::promql::node::{
    Aggregate, Aggregator, Binary, BinaryOp, Cardinality, Grouping, LabelList, Matching, Node, NodeKind, Number,
};
use crate::promql::scope::{Request, confine};
use crate::promql::template::Template;
use crate::promql::{Limits, normalise, read};
use crate::quantity::Milli;

/// The version of the canonical form: part of every name, so that a change of it never meets an old rule.
const CANON: u32 = 1;

/// The largest overload bound, 10^13: the HPA sums thousandths of it over all pods in an `i64`.
const MAX_BOUND: u64 = 10_000_000_000_000;

/// How the HPA reads a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// One value per pod, averaged by the HPA.
    Pods,
}

/// One expression to compile, with what its workload and author say of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub query: &'a str,
    pub target: Milli,
    /// The workload's namespace, when it is known.
    pub namespace: Option<&'a str>,
    /// `None` leaves it to the expression's root.
    pub on_idle: Option<OnIdle>,
    /// The overload bound; `None` derives it from the target.
    pub bound: Option<u64>,
}

impl<'a> Question<'a> {
    /// A question that leaves the rest to the expression and its target.
    pub fn new(query: &'a str, target: Milli) -> Self {
        Self { query, target, namespace: None, on_idle: None, bound: None }
    }
}

/// One metric without its workload: equal texts of two workloads are one `Measure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// `nimscale_<slug>_<12 base32>`.
    pub name: String,
    pub kind: MetricKind,
    pub on_idle: OnIdle,
    /// What +Inf reads as: high, and low enough for the HPA's `int32`.
    pub bound: u64,
    pub template: Template,
    /// What the name is made of, for the case that two names collide.
    slug: String,
    hash: String,
}

impl Measure {
    /// The name with more of the hash, should two texts ever share the short one.
    pub fn long_name(&self) -> String {
        format!("nimscale_{}_{}", self.slug, &self.hash[..24])
    }
}

/// What became of a [`Question`]. An error among the findings means no measure; places are in the query.
#[derive(Clone, Debug)]
pub struct Measured {
    pub measure: Option<Measure>,
    pub findings: Vec<Finding>,
    /// The selectors of the query, in its order, name and braces.
    pub selectors: Vec<Span>,
    /// What was learnt of the labels, when the query could be read.
    pub flow: Option<Flow>,
    /// The aggregation that completed the root.
    pub completion: Option<Completion>,
}

/// Compiles one expression for the kind `Pods`.
pub fn measure(question: &Question<'_>, platform: &Platform) -> Measured {
    let node = match read(question.query, &Limits::AUTHOR) {
        Ok(node) => node,
        Err(findings) => {
            return Measured { measure: None, findings, selectors: Vec::new(), flow: None, completion: None };
        }
    };
    let Analysis { flow, mut findings } = analyse(&node, platform, question.namespace);
    let mut completion = None;
    if !findings.iter().any(Finding::is_error) {
        match root(&node, &flow, platform, &mut findings) {
            Ok(chosen) => completion = chosen,
            Err(finding) => findings.push(finding),
        }
    }
    let mut measure = None;
    if !findings.iter().any(Finding::is_error) {
        match prove(&node, completion, question, platform) {
            Ok(proven) => measure = Some(proven),
            Err(finding) => findings.push(finding),
        }
    }
    findings.sort_by_key(|a| (a.place.bytes, a.code));
    findings.dedup();
    let selectors = node.selectors().into_iter().map(|selector| selector.span).collect();
    Measured { measure, findings, selectors, flow: Some(flow), completion }
}

/// 1000 × the next power of 1000 from the target up: high enough to be overload, low enough for the HPA.
pub fn default_bound(target: Milli) -> u64 {
    let mut power = 1_u64;
    while power < target.thousandths() {
        power *= 1000;
    }
    // `power` counts thousandths, so it is 1000 × the power of 1000 in units.
    power.min(MAX_BOUND)
}

/// Decides whether the root can be a metric, and what completes it.
fn root(
    node: &Node,
    flow: &Flow,
    platform: &Platform,
    findings: &mut Vec<Finding>,
) -> Result<Option<Completion>, Finding> {
    let pod = &platform.labels.pod;
    let no_value = |message: &str, help: &str| Finding::at(Code::Ns0320, node.span, message).help(help);
    if matches!(node.kind, NodeKind::Range { .. } | NodeKind::Subquery { .. }) {
        return Err(no_value("a range vector is many values; an HPA metric needs one per pod", "max_over_time(…)"));
    }
    if flow.pod == PodAsWritten::Any || !flow.has_series {
        let message = "the expression has no series; an HPA metric needs a value per pod or per workload";
        return Err(no_value(message, "a metric"));
    }
    if flow.pod == PodAsWritten::No {
        let (message, place) = match &flow.pod_dropped {
            Some(reason) => {
                let message =
                    format!("{} drops {pod}: one value for all pods is not compiled yet", cut(&reason.clause, 50));
                (message, reason.span)
            }
            None => ("one value for all pods is not compiled yet".to_owned(), node.span),
        };
        let kept = flow.pod_dropped.as_ref().and_then(|reason| reason.clause.strip_prefix("by (")?.strip_suffix(')'));
        let kept = kept.map_or_else(String::new, |kept| format!("{kept}, "));
        return Err(Finding::at(Code::Ns0363, place, message).help(format!("by ({kept}{pod}) for one value per pod")));
    }
    if let Some(span) = flow.partial {
        let message = "pods that do not match are reported as missing, not as 0";
        findings.push(Finding::at(Code::Ns0370, span, message).help("> bool, or clamp_min"));
    }
    if !flow.additive {
        let message = "the HPA averages this value over the pods; that is not the fleet's own value";
        findings.push(Finding::at(Code::Ns0372, node.span, message));
    }
    if flow.is_unique(platform) {
        return Ok(None);
    }
    match flow.completion {
        Some(completion) => Ok(Some(completion)),
        None => {
            let message = match flow.labels.closed() {
                Some(mut labels) => {
                    labels.retain(|label| *label != platform.labels.namespace);
                    format!("returns one sample per ({})", cut(&labels.join(", "), 60))
                }
                None => "returns several samples per pod, and nothing says how they become one".to_owned(),
            };
            Err(Finding::at(Code::Ns0321, node.span, message)
                .help(format!("max by ({pod}) (…), or sum by ({pod}) (…)")))
        }
    }
}

/// Wraps, prints and names the expression, and proves that the template is what was meant.
fn prove(
    node: &Node,
    completion: Option<Completion>,
    question: &Question<'_>,
    platform: &Platform,
) -> Result<Measure, Finding> {
    let own = question.namespace.map(|namespace| (platform.labels.namespace.as_str(), namespace));
    let normal = normalise(node, own);
    let on_idle = question.on_idle.unwrap_or_else(|| idle_of(node));
    let bound = question.bound.unwrap_or_else(|| default_bound(question.target));
    let wrapped = wrap(normal, completion, bound, on_idle, platform);
    let template = Template::of(&wrapped, platform);
    let metric = node.selectors().first().map_or("metric", |selector| selector.name.as_str());
    let (slug, hash) = (slug(metric), hash(&template, platform));
    let name = format!("nimscale_{slug}_{}", &hash[..12]);
    let measure = Measure { name, kind: MetricKind::Pods, on_idle, bound, template, slug, hash };
    check(&measure, &wrapped, platform).map_err(|why| {
        // Reached by nothing that is known: whatever it is, it must not become a rule.
        let message = format!("the expression cannot be compiled safely: {}", cut(&why, 60));
        Finding::at(Code::Ns0363, node.span, message)
    })?;
    Ok(measure)
}

/// What people see of the metric in its rule's name.
fn slug(metric: &str) -> String {
    let characters = metric.chars().take(30);
    characters.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// In base32, over everything that the value depends on.
fn hash(template: &Template, platform: &Platform) -> String {
    let labels = &platform.labels;
    let text = format!("{CANON}\nPods\nnamespace={}\npod={}\n{template}", labels.namespace, labels.pod);
    BASE32_NOPAD.encode(&Sha256::digest(text)).to_ascii_lowercase()
}

/// Quantiles and means of latencies are not a number while idle; under pointwise functions and numbers they still are.
fn idle_of(node: &Node) -> OnIdle {
    match &node.kind {
        NodeKind::Negate(inner) => idle_of(inner),
        NodeKind::Call { function, args } => match function.effect {
            Effect::Quantile => OnIdle::Zero,
            Effect::Pointwise => args.first().map_or(OnIdle::Hold, idle_of),
            Effect::OverRange(_)
            | Effect::Date
            | Effect::Constant
            | Effect::Scalar
            | Effect::Vector
            | Effect::Absent
            | Effect::WritesLabel
            | Effect::Later => OnIdle::Hold,
        },
        NodeKind::Binary(Binary { op, lhs, rhs, .. }) => {
            // A side that reads no series is a number: 1000, time(), 10 * 100.
            match (lhs.selectors().is_empty(), rhs.selectors().is_empty()) {
                (true, _) => idle_of(rhs),
                (false, true) => idle_of(lhs),
                (false, false) if *op == BinaryOp::Div && is_mean(lhs, rhs) => OnIdle::Zero,
                (false, false) => OnIdle::Hold,
            }
        }
        NodeKind::Number(_)
        | NodeKind::String(_)
        | NodeKind::Selector(_)
        | NodeKind::Range { .. }
        | NodeKind::Subquery { .. }
        | NodeKind::Aggregate(_) => OnIdle::Hold,
    }
}

/// `f_sum` divided by `f_count`.
fn is_mean(sum: &Node, count: &Node) -> bool {
    match (&sum.selectors()[..], &count.selectors()[..]) {
        ([sum], [count]) => {
            let family = sum.name.strip_suffix("_sum");
            family.is_some() && family == count.name.strip_suffix("_count")
        }
        _ => false,
    }
}

/// One finite sample per pod: completion, overload bound, idle rule.
///
/// `X > -Inf < Inf` drops NaN and -Inf; `0 * ((E != bool E) == 1)` is 0 where E is NaN and nothing where E is missing.
fn wrap(node: Node, completion: Option<Completion>, bound: u64, on_idle: OnIdle, platform: &Platform) -> Node {
    let span = node.span;
    let at = |kind| Node::new(kind, span);
    let number = |value: f64| at(NodeKind::Number(Number(value)));
    let binary = |op, lhs, rhs, returns_bool| {
        at(NodeKind::Binary(Binary {
            op,
            op_span: span,
            lhs: Box::new(lhs),
            rhs: Box::new(rhs),
            matching: Matching::Default,
            cardinality: Cardinality::OneToOne,
            returns_bool,
        }))
    };
    let value = match completion {
        None => node,
        Some(completion) => at(NodeKind::Aggregate(Aggregate {
            op: match completion {
                Completion::Max => Aggregator::Max,
                Completion::Sum => Aggregator::Sum,
            },
            param: None,
            inner: Box::new(node),
            grouping: Grouping::By(LabelList::of([&platform.labels.pod])),
        })),
    };
    // u64 to f64 is exact: a bound is at most 10^13.
    let bound = number(bound as f64);
    let clamped = match function("clamp_max") {
        Some(function) => at(NodeKind::Call { function, args: vec![value.clone(), bound] }),
        None => value.clone(),
    };
    let finite = binary(
        BinaryOp::Less,
        binary(BinaryOp::Greater, clamped, number(f64::NEG_INFINITY), false),
        number(f64::INFINITY),
        false,
    );
    match on_idle {
        OnIdle::Hold => finite,
        OnIdle::Zero => {
            let differs = binary(BinaryOp::NotEqual, value.clone(), value, true);
            let is_nan = binary(BinaryOp::Equal, differs, number(1.0), false);
            binary(BinaryOp::Or, finite, binary(BinaryOp::Mul, number(0.0), is_nan, false), false)
        }
    }
}

/// Instantiates the template for several requests, reads each back, and compares it with the tree that was meant.
fn check(measure: &Measure, wrapped: &Node, platform: &Platform) -> Result<(), String> {
    const HOSTILE: &str = "x\",namespace=\"b\\\n{}<<$1>>`'";
    let requests = [
        Request { namespace: "a", pods: &[] },
        Request { namespace: "a", pods: &["p-0"] },
        Request { namespace: "a", pods: &["p-0", "p-1", "p-2"] },
        Request { namespace: HOSTILE, pods: &[HOSTILE] },
    ];
    for request in &requests {
        let text = measure.template.instantiate(request, platform);
        let read = read(&text, &Limits::CHECK)
            .map_err(|findings| findings.into_iter().next().map_or_else(String::new, |finding| finding.message))?;
        if read != confine(wrapped, request, platform) {
            return Err("it reads back as another expression".to_owned());
        }
        // What the comparison already says, once more without it: no selector without the request's namespace.
        let confined = read.selectors().iter().all(|selector| {
            let has = |label: &str, value: &str| {
                selector.matchers.iter().any(|matcher| matcher.label == label && matcher.value == value)
            };
            has(&platform.labels.namespace, request.namespace)
                && platform.required_matchers.iter().all(|(label, value)| has(label, value))
        });
        if !confined {
            return Err("a selector is not confined".to_owned());
        }
    }
    let text = measure.template.to_string();
    let literal = text.replace("<<.LabelMatchers>>", "").replace("<<.GroupBy>>", "");
    if literal.contains("<<") || literal.contains(">>") {
        return Err("its text holds template marks".to_owned());
    }
    Ok(())
}
