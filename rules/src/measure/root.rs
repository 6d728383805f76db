//! Decide what the root of an expression is to the HPA, and wrap it so that it is one finite number.

use super::{Kind, MetricKind, Question, Reading};
use crate::findings::{Code, Finding, cut};
use crate::platform::Platform;
use crate::presets::OnIdle;
use crate::promql::flow::{Completion, Flow, PodAsWritten};
use crate::promql::functions::{Effect, function};
use crate::promql::node::{
    Aggregate, Aggregator, Binary, BinaryOp, Cardinality, Grouping, LabelList, Matching, Node, NodeKind, Number,
    Selector, Shift,
};

/// What the root is.
pub struct Root {
    pub kind: MetricKind,
    pub completion: Option<Completion>,
    pub reading: Reading,
    /// What counts the pods that serve, by which a level is multiplied: the HPA divides by the replicas.
    pub serving: Option<Selector>,
}

/// Decides whether the root can be a metric, and how; what stops it stands among the findings.
pub fn root(
    node: &Node,
    flow: &Flow,
    question: &Question<'_>,
    platform: &Platform,
    findings: &mut Vec<Finding>,
) -> Option<Root> {
    if let Some(finding) = no_value(node, flow) {
        findings.push(finding);
        return None;
    }
    let kind = match (question.kind, flow.pod) {
        (Some(Kind::Object), _) => Kind::Object,
        (Some(Kind::Pods), PodAsWritten::No) => {
            findings.push(no_pod(node, flow, platform));
            return None;
        }
        (None, PodAsWritten::No) => Kind::Object,
        (Some(Kind::Pods) | None, PodAsWritten::Yes | PodAsWritten::Any) => Kind::Pods,
    };
    if let Some(span) = flow.partial {
        let message = match kind {
            Kind::Pods => "pods that do not match are reported as missing, not as 0",
            Kind::Object => "what does not match is reported as missing, not as 0",
        };
        findings.push(Finding::at(Code::Ns0370, span, message).help("> bool, or clamp_min"));
    }
    match kind {
        Kind::Pods => per_pod(node, flow, question, platform, findings),
        Kind::Object => for_workload(node, flow, question, platform, findings),
    }
}

/// What is no vector of series has no value for anybody.
fn no_value(node: &Node, flow: &Flow) -> Option<Finding> {
    let no_value = |message: &str, help: &str| Some(Finding::at(Code::Ns0320, node.span, message).help(help));
    if matches!(node.kind, NodeKind::Range { .. } | NodeKind::Subquery { .. }) {
        return no_value("a range vector is many values; an HPA metric needs one per pod", "max_over_time(…)");
    }
    if !flow.has_series {
        let message = "the expression has no series; an HPA metric needs a value per pod or per workload";
        return no_value(message, "a metric");
    }
    if flow.pod == PodAsWritten::Any {
        let message = "a scalar has no series; an HPA metric needs a value per pod or per workload";
        return no_value(message, "the expression without scalar(), or vector(…) around it");
    }
    None
}

fn no_pod(node: &Node, flow: &Flow, platform: &Platform) -> Finding {
    let pod = &platform.labels.pod;
    let (message, place) = match &flow.pod_dropped {
        Some(reason) => (format!("{} drops {pod}: there is no value per pod", cut(&reason.clause, 50)), reason.span),
        None => ("there is no value per pod".to_owned(), node.span),
    };
    let kept = flow.pod_dropped.as_ref().and_then(|reason| reason.clause.strip_prefix("by (")?.strip_suffix(')'));
    let kept = kept.map_or_else(String::new, |kept| format!("{kept}, "));
    Finding::at(Code::Ns0320, place, message).help(format!("by ({kept}{pod}), or the kind Object"))
}

fn per_pod(
    node: &Node,
    flow: &Flow,
    question: &Question<'_>,
    platform: &Platform,
    findings: &mut Vec<Finding>,
) -> Option<Root> {
    let pod = &platform.labels.pod;
    if question.reading == Some(Reading::AsItStands) {
        findings.push(no_level(node, "is per pod"));
        return None;
    }
    if !flow.additive {
        let message = "the HPA averages this value over the pods; that is not the fleet's own value";
        findings.push(Finding::at(Code::Ns0372, node.span, message));
    }
    let completion = match (flow.unique, flow.completion) {
        (true, _) => None,
        (false, Some(completion)) => Some(completion),
        (false, None) => {
            let message = match several(flow, platform) {
                Some(labels) => format!("returns one sample per ({labels})"),
                None => "returns several samples per pod, and nothing says how they become one".to_owned(),
            };
            let help = format!("max by ({pod}) (…), or sum by ({pod}) (…)");
            findings.push(Finding::at(Code::Ns0321, node.span, message).help(help));
            return None;
        }
    };
    Some(Root { kind: MetricKind::Pods, completion, reading: Reading::AsItStands, serving: None })
}

fn for_workload(
    node: &Node,
    flow: &Flow,
    question: &Question<'_>,
    platform: &Platform,
    findings: &mut Vec<Finding>,
) -> Option<Root> {
    if !flow.unique || flow.pod == PodAsWritten::Yes {
        let message = match several(flow, platform) {
            Some(labels) => format!("returns one sample per ({labels}), not one for the workload"),
            None => "returns several samples for the workload, and nothing says how they become one".to_owned(),
        };
        findings.push(Finding::at(Code::Ns0321, node.span, message).help("max(…), or sum(…)"));
        return None;
    }
    let serving = serving(node, platform);
    let kind = MetricKind::Object(question.workload);
    let total = flow.additive || serving.is_none();
    let reading = question.reading.unwrap_or(if total { Reading::PerReplica } else { Reading::AsItStands });
    let inferred = question.reading.is_none();
    match (reading, serving) {
        (Reading::AsItStands, None) => {
            findings.push(no_level(node, "reads no series of the workload's pods"));
            None
        }
        (Reading::AsItStands, serving) => {
            findings.extend(sum_of_groups(node).filter(|_| inferred));
            Some(Root { kind, completion: None, reading, serving })
        }
        (Reading::PerReplica, _) => {
            let message = "one total for the workload: its target is read as N per replica";
            findings.extend(inferred.then(|| Finding::at(Code::Ns0373, node.span, message)));
            Some(Root { kind, completion: None, reading, serving: None })
        }
    }
}

/// `sum(max by (instance) (x))` may grow with the pods, as a total does, and nothing in the text says so.
fn sum_of_groups(node: &Node) -> Option<Finding> {
    let NodeKind::Aggregate(Aggregate { op: op @ (Aggregator::Sum | Aggregator::Count), .. }) = &node.kind else {
        return None;
    };
    let message = format!("this {} is read as it stands, and more pods may not lower it", op.as_str());
    Some(
        Finding::at(Code::Ns0377, node.span, message)
            .help("by (pod) inside of it, or averageValue in nimscale.dev/spec"),
    )
}

/// `value` where the HPA has nothing to divide by: a metric per pod, or one that no pod of the workload has.
fn no_level(node: &Node, why: &str) -> Finding {
    let message = format!("value is the level of a whole workload; this one {why}");
    Finding::at(Code::Ns0218, node.span, message).help("averageValue")
}

/// The labels that tell the samples apart, when they are known.
fn several(flow: &Flow, platform: &Platform) -> Option<String> {
    let mut labels = flow.labels.closed()?;
    labels.retain(|label| *label != platform.labels.namespace);
    (!labels.is_empty()).then(|| cut(&labels.join(", "), 60))
}

/// The series by which serving pods are counted: the first selector's whose family is made by the pods themselves, so
/// that pods that still load their model do not count. `None` where no series has a pod.
fn serving(node: &Node, platform: &Platform) -> Option<Selector> {
    let selectors = node.selectors();
    let mut of_pods = selectors.iter().filter(|selector| !platform.families.contains_key(&selector.name));
    let own = |selector: &&&Selector| !selector.name.starts_with("kube_") && platform.alias(&selector.name).is_none();
    let chosen = of_pods.clone().find(own).or_else(|| of_pods.next())?;
    Some(Selector { shift: Shift::default(), ..(*chosen).clone() })
}

/// Quantiles and means of latencies are not a number while idle; under pointwise functions, numbers and a maximum they
/// still are.
pub fn idle_of(node: &Node) -> OnIdle {
    match &node.kind {
        NodeKind::Negate(inner) => idle_of(inner),
        // It passes over what is not a number, and is none itself only where nothing is.
        NodeKind::Aggregate(Aggregate { op: Aggregator::Max | Aggregator::Min, inner, .. }) => idle_of(inner),
        NodeKind::Call { function, args } => match function.effect {
            Effect::Quantile => OnIdle::Zero,
            Effect::Pointwise | Effect::Sort | Effect::WritesLabel => args.first().map_or(OnIdle::Hold, idle_of),
            Effect::OverRange(_)
            | Effect::Fraction
            | Effect::Date
            | Effect::Constant
            | Effect::Scalar
            | Effect::Vector
            | Effect::Absent => OnIdle::Hold,
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

/// One finite sample: completion, overload bound, idle rule, and for a level of a workload its serving pods.
///
/// `X > -Inf < Inf` drops NaN and -Inf; `0 * ((E != bool E) == 1)` is 0 where E is NaN and nothing where E is missing.
pub fn wrap(node: Node, root: &Root, bound: u64, on_idle: OnIdle, platform: &Platform) -> Node {
    let wrap = Wrap { span: node.span };
    let value = match root.completion {
        None => node,
        Some(completion) => {
            let op = match completion {
                Completion::Max => Aggregator::Max,
                Completion::Sum => Aggregator::Sum,
            };
            wrap.aggregate(op, node, &[&platform.labels.pod])
        }
    };
    // u64 to f64 is exact: a bound is at most 10^13.
    let clamped = wrap.call("clamp_max", vec![value.clone(), wrap.number(bound as f64)]);
    let above = wrap.binary(BinaryOp::Greater, clamped, wrap.number(f64::NEG_INFINITY));
    let finite = wrap.binary(BinaryOp::Less, above, wrap.number(f64::INFINITY));
    let wrapped = match on_idle {
        OnIdle::Hold => finite,
        OnIdle::Zero => {
            let differs = wrap.binary_bool(BinaryOp::NotEqual, value.clone(), value);
            let is_nan = wrap.binary(BinaryOp::Equal, differs, wrap.number(1.0));
            wrap.binary(BinaryOp::Or, finite, wrap.binary(BinaryOp::Mul, wrap.number(0.0), is_nan))
        }
    };
    match &root.serving {
        None => wrapped,
        Some(series) => {
            let pod = &platform.names_of(&series.name).pod;
            let series = Node::new(NodeKind::Selector(series.clone()), wrap.span);
            let pods = wrap.aggregate(Aggregator::Count, series, &[pod]);
            let count = wrap.aggregate(Aggregator::Count, pods, &[]);
            wrap.operation(BinaryOp::Mul, wrapped, count, Matching::On(LabelList::default()), false)
        }
    }
}

/// Nodes around the author's: they have his place.
struct Wrap {
    span: crate::place::Span,
}

impl Wrap {
    fn at(&self, kind: NodeKind) -> Node {
        Node::new(kind, self.span)
    }

    fn number(&self, value: f64) -> Node {
        self.at(NodeKind::Number(Number(value)))
    }

    fn binary(&self, op: BinaryOp, lhs: Node, rhs: Node) -> Node {
        self.operation(op, lhs, rhs, Matching::Default, false)
    }

    fn binary_bool(&self, op: BinaryOp, lhs: Node, rhs: Node) -> Node {
        self.operation(op, lhs, rhs, Matching::Default, true)
    }

    fn operation(&self, op: BinaryOp, lhs: Node, rhs: Node, matching: Matching, returns_bool: bool) -> Node {
        self.at(NodeKind::Binary(Binary {
            op,
            op_span: self.span,
            lhs: Box::new(lhs),
            rhs: Box::new(rhs),
            matching,
            cardinality: Cardinality::OneToOne,
            returns_bool,
        }))
    }

    fn aggregate(&self, op: Aggregator, inner: Node, by: &[&str]) -> Node {
        let grouping = Grouping::By(LabelList::of(by.iter().copied()));
        self.at(NodeKind::Aggregate(Aggregate { op, param: None, inner: Box::new(inner), grouping }))
    }

    fn call(&self, name: &str, args: Vec<Node>) -> Node {
        let function = function(name).expect("every function of the wrap is in the table");
        self.at(NodeKind::Call { function, args })
    }
}
