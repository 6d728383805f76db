//! Say which labels leave an expression, which cannot, why and where; refuse what cannot be right for every pod set.
//!
//! The rules are those of PromQL's label semantics, row by row: a fact is written down with the clause that made it at
//! the moment the clause acts. Analysis never fails; it yields facts and findings. An expression is *separable by pod*
//! when no operation mixes pods, and then its value on many pods is its value on each of them alone.

use super::families::{counter_suffix, is_gauge};
use super::functions::{Effect, Function, OverRange};
pub use super::labels::{Fact, Labels, Presence, Reason};
use super::node::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Cardinality, Grouping, LabelList, MatchOp, Matching, Node, NodeKind,
    Selector, Shift,
};
use super::normalise::plain_matcher;
use super::regex::alternatives;
use super::template::duration;
use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::platform::Platform;

/// What is known of an expression's result.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Does the result of the author's own text carry the pod label?
    pub pod: PodAsWritten,
    /// The clause that dropped the pod label, when one did.
    pub pod_dropped: Option<Reason>,
    pub labels: Labels,
    /// How several samples of one pod become one, where the author does not say.
    pub completion: Option<Completion>,
    /// The sum over the pods is the fleet's own value.
    pub additive: bool,
    /// What may drop pods: a filtering comparison.
    pub partial: Option<Span>,
    /// Reads at least one series.
    pub has_series: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodAsWritten {
    Yes,
    No,
    /// A number or string: it has no labels and agrees with anything.
    Any,
}

/// The aggregation that completes a root whose pods have several samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Gauges: idempotent, so a double scrape or a restart does not double them.
    Max,
    /// Changes of counters: additive.
    Sum,
}

/// The outcome of an analysis.
#[derive(Clone, Debug)]
pub struct Analysis {
    pub flow: Flow,
    pub findings: Vec<Finding>,
}

/// Analyses a per-pod expression of a workload in `own_namespace`, where that is known.
pub fn analyse(node: &Node, platform: &Platform, own_namespace: Option<&str>) -> Analysis {
    let mut walk = Walk { platform, own_namespace, findings: Vec::new(), pods_only: Vec::new() };
    let flow = walk.flow(node);
    let Walk { mut findings, pods_only, .. } = walk;
    // What only a per-pod root may not do; inside one value for the whole workload it is legal.
    if flow.pod == PodAsWritten::Yes {
        findings.extend(pods_only);
    }
    Analysis { flow, findings }
}

impl Flow {
    fn constant() -> Self {
        Self {
            pod: PodAsWritten::Any,
            pod_dropped: None,
            labels: Labels::none("a number has no labels", Span::default()),
            completion: None,
            additive: false,
            partial: None,
            has_series: false,
        }
    }

    fn without_labels(clause: &str, span: Span) -> Self {
        Self { pod: PodAsWritten::No, labels: Labels::none(clause, span), ..Self::constant() }
    }

    /// True when a pod can have one sample only.
    pub fn is_unique(&self, platform: &Platform) -> bool {
        self.labels.closed().is_some_and(|labels| {
            labels.iter().all(|label| *label == platform.labels.pod || *label == platform.labels.namespace)
        })
    }

    /// Moves the pod label's fate on: a clause that drops it is the reason from then on.
    fn drop_pod(&mut self, clause: impl FnOnce() -> Reason) {
        if self.pod == PodAsWritten::Yes {
            self.pod = PodAsWritten::No;
            self.pod_dropped = Some(clause());
        }
    }
}

struct Walk<'a> {
    platform: &'a Platform,
    own_namespace: Option<&'a str>,
    findings: Vec<Finding>,
    /// Findings that hold only if the root is per pod.
    pods_only: Vec<Finding>,
}

impl Walk<'_> {
    fn flow(&mut self, node: &Node) -> Flow {
        match &node.kind {
            NodeKind::Number(_) | NodeKind::String(_) => Flow::constant(),
            NodeKind::Selector(selector) => self.selector(selector, node.span),
            NodeKind::Range { selector, .. } => self.selector(selector, node.span),
            NodeKind::Subquery { inner, shift, .. } => {
                self.shift(*shift, node.span);
                self.flow(inner)
            }
            NodeKind::Negate(inner) => self.flow(inner),
            NodeKind::Binary(binary) => self.binary(binary),
            NodeKind::Aggregate(aggregate) => self.aggregate(aggregate, node.span),
            NodeKind::Call { function, args } => self.call(function, args, node.span),
        }
    }

    fn selector(&mut self, selector: &Selector, span: Span) -> Flow {
        let why = Reason { clause: format!("series of {}", cut(&selector.name, 60)), span: selector.span };
        let mut labels = Labels::open(why.clone());
        let names = &self.platform.labels;
        labels.set(&names.namespace, Presence::Surely, why.clone());
        labels.set(&names.pod, Presence::Surely, why.clone());
        // Scraping sets both; a recording rule, by its colon, may have dropped them.
        if !selector.name.contains(':') {
            labels.set("job", Presence::Surely, why.clone());
            labels.set("instance", Presence::Surely, why.clone());
        }
        for matcher in &selector.matchers {
            let why = Reason { clause: format!("the matcher on {}", cut(&matcher.label, 40)), span: matcher.span };
            match (matcher.op, matcher.value.is_empty()) {
                (MatchOp::Equal, true) => labels.set(&matcher.label, Presence::Never, why),
                (MatchOp::Equal, false) | (MatchOp::NotEqual, true) | (MatchOp::Matches, false) => {
                    labels.set(&matcher.label, Presence::Surely, why);
                }
                (MatchOp::NotEqual, false) | (MatchOp::Matches, true) | (MatchOp::NotMatches, _) => {}
            }
        }
        self.confinement(selector);
        self.shift(selector.shift, span);
        let pod = match self.platform.families.get(&selector.name) {
            Some(_) => PodAsWritten::No,
            None => PodAsWritten::Yes,
        };
        let counter = counter_suffix(&selector.name).is_some();
        Flow {
            pod,
            pod_dropped: (pod == PodAsWritten::No).then_some(why),
            labels,
            completion: (!counter).then_some(Completion::Max),
            additive: false,
            partial: None,
            has_series: true,
        }
    }

    /// Matchers on the namespace and pod labels: the request sets both.
    fn confinement(&mut self, selector: &Selector) {
        let names = &self.platform.labels;
        for matcher in selector.matchers.iter().map(plain_matcher) {
            let value = cut(&matcher.value, 40);
            if matcher.label == names.namespace {
                let own = self.own_namespace;
                if matcher.op == MatchOp::Equal && own == Some(matcher.value.as_str()) {
                    let message = format!("{}=\"{value}\" is redundant and was removed", names.namespace);
                    self.push(Code::Ns0343, matcher.span, message, None);
                } else {
                    let message = match own {
                        Some(own) => {
                            format!(
                                "reads from namespace \"{value}\" are not allowed from namespace \"{}\"",
                                cut(own, 30)
                            )
                        }
                        None => format!("a matcher on {} is not allowed: the workload's own is added", names.namespace),
                    };
                    self.push(Code::Ns0340, matcher.span, message, Some("delete the matcher"));
                }
            } else if matcher.label == names.pod {
                match (matcher.op, matcher.value.as_str()) {
                    (MatchOp::Equal, "") => {
                        let message = format!("{}=\"\" reads series that belong to no pod", names.pod);
                        self.push(Code::Ns0340, matcher.span, message, Some("delete the matcher"));
                    }
                    (MatchOp::NotMatches, ".+") => {
                        let message = format!("{}!~\".+\" reads series that belong to no pod", names.pod);
                        self.push(Code::Ns0340, matcher.span, message, Some("delete the matcher"));
                    }
                    (MatchOp::NotEqual, "") => {}
                    (MatchOp::Equal, _) => self.pinned(matcher.span, &value),
                    (MatchOp::Matches, pattern) if alternatives(pattern).is_some() => self.pinned(matcher.span, &value),
                    (MatchOp::Matches | MatchOp::NotMatches | MatchOp::NotEqual, _) => {
                        let message = "limits the metric to these pods; the others count as missing".to_owned();
                        self.push(Code::Ns0344, matcher.span, message, None);
                    }
                }
            }
        }
    }

    fn pinned(&mut self, span: Span, value: &str) {
        let message = format!("pins pod names that the next roll replaces: {value}");
        self.push(Code::Ns0345, span, message, Some("delete the matcher: the adapter adds the pods"));
    }

    fn shift(&mut self, shift: Shift, span: Span) {
        match shift.at {
            None | Some(At::Start | At::End) => {}
            Some(At::Fixed(_)) => {
                let message = "a fixed @ timestamp makes the metric constant".to_owned();
                self.push(Code::Ns0350, span, message, Some("delete @"));
            }
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate, span: Span) -> Flow {
        if let Some(param) = &aggregate.param {
            self.flow(param);
        }
        let mut flow = self.flow(&aggregate.inner);
        let name = aggregate.op.as_str();
        let (namespace, pod) = (&self.platform.labels.namespace, &self.platform.labels.pod);
        let list = aggregate.grouping.list();
        let keeps_pod = match &aggregate.grouping {
            Grouping::By(list) => list.contains(pod),
            Grouping::Without(list) => !list.contains(pod),
        };
        match aggregate.op {
            Aggregator::Topk | Aggregator::Bottomk => {
                if keeps_pod {
                    self.not_yet(name, span);
                } else if flow.pod == PodAsWritten::Yes {
                    let message = format!("{name} across pods picks winners between pods");
                    let finding = Finding::at(Code::Ns0324, span, message).help(format!("max by ({pod}) (…)"));
                    self.pods_only.push(finding);
                } else {
                    self.not_yet(name, span);
                }
                flow.completion = None;
                return flow;
            }
            Aggregator::Limitk | Aggregator::LimitRatio => {
                let message = format!("{name} is newer than the dialect {}, or experimental", self.platform.dialect);
                self.push(Code::Ns0361, span, message, Some("an aggregation of Prometheus 2.42"));
                return flow;
            }
            Aggregator::CountValues => {
                let label = aggregate.param.as_deref().and_then(string_of);
                self.writes_label(name, label, span);
            }
            Aggregator::Sum
            | Aggregator::Avg
            | Aggregator::Min
            | Aggregator::Max
            | Aggregator::Count
            | Aggregator::Group
            | Aggregator::Stddev
            | Aggregator::Stdvar
            | Aggregator::Quantile => {}
        }
        let (clause, place) = match &aggregate.grouping {
            Grouping::By(list) if list.span.is_empty() => (format!("{name} without by"), span),
            Grouping::By(list) => (format!("by ({})", cut(&list.labels.join(", "), 60)), list.span),
            Grouping::Without(list) => (format!("without ({})", cut(&list.labels.join(", "), 60)), list.span),
        };
        let why = Reason { clause, span: place };
        match &aggregate.grouping {
            Grouping::By(_) => flow.labels.keep(list, namespace, &why),
            Grouping::Without(_) => flow.labels.drop(list, namespace, &why),
        }
        if !keeps_pod {
            flow.drop_pod(|| why);
        }
        flow.completion = None;
        flow.additive = matches!(aggregate.op, Aggregator::Sum | Aggregator::Count);
        flow
    }

    fn call(&mut self, function: &'static Function, args: &[Node], span: Span) -> Flow {
        let flows: Vec<Flow> = args.iter().map(|arg| self.flow(arg)).collect();
        // The argument that carries the series: functions of PromQL have at most one.
        let data = args.iter().zip(&flows).find(|(_, flow)| flow.pod != PodAsWritten::Any);
        let mut flow = data.map_or_else(Flow::constant, |(_, flow)| flow.clone());
        let name = function.name;
        match function.effect {
            Effect::Constant => {}
            Effect::Pointwise => flow.additive = false,
            Effect::Date if args.is_empty() => return Flow::without_labels("a date of the evaluation time", span),
            Effect::Date => flow.additive = false,
            Effect::OverRange(over) => {
                if let Some((range, _)) = data {
                    self.over_range(name, over, range);
                }
                // Buckets are cumulative: their sum over le counts a request many times.
                let all_buckets = flow.labels.fact("le").presence != Presence::Surely
                    && args.iter().flat_map(Node::selectors).any(|selector| selector.name.ends_with("_bucket"));
                flow.completion = match over {
                    OverRange::Rate if all_buckets => None,
                    OverRange::Rate => Some(Completion::Sum),
                    OverRange::OverTime | OverRange::Slope => Some(Completion::Max),
                    OverRange::GaugeChange | OverRange::Other => None,
                };
                flow.additive = over == OverRange::Rate;
            }
            Effect::Quantile => {
                let le = flow.labels.fact("le").clone();
                if le.presence == Presence::Never {
                    self.lost_buckets(args, &le.why, span);
                }
                let why = Reason { clause: name.to_owned(), span };
                flow.labels.drop(&LabelList::of(["le"]), &self.platform.labels.namespace, &why);
                flow.completion = None;
                flow.additive = false;
            }
            Effect::Scalar => {
                self.not_yet("scalar", span);
                return Flow { has_series: flow.has_series, ..Flow::constant() };
            }
            Effect::Vector => {
                return Flow { has_series: flow.has_series, ..Flow::without_labels("vector() has no labels", span) };
            }
            Effect::Absent => {
                let message = format!("{name}() has a value only when there is no data");
                self.push(Code::Ns0323, span, message, Some("delete it: a missing metric already holds the replicas"));
            }
            Effect::WritesLabel => {
                self.writes_label(name, args.get(1).and_then(string_of), span);
                flow.completion = None;
            }
            Effect::Later => self.not_yet(name, span),
        }
        flow
    }

    fn over_range(&mut self, name: &str, over: OverRange, range: &Node) {
        let (metric, window) = match &range.kind {
            NodeKind::Range { selector, range } => (Some(selector.name.as_str()), *range),
            NodeKind::Subquery { range, .. } => (None, *range),
            // Its type is a range vector: nothing else is one.
            NodeKind::Number(_)
            | NodeKind::String(_)
            | NodeKind::Selector(_)
            | NodeKind::Negate(_)
            | NodeKind::Binary(_)
            | NodeKind::Aggregate(_)
            | NodeKind::Call { .. } => return,
        };
        match over {
            OverRange::GaugeChange | OverRange::Slope => {
                if let Some(suffix) = metric.and_then(counter_suffix) {
                    let message =
                        format!("{name}() turns a restart of the counter (…{suffix}) into a large negative value");
                    let help = format!("increase({}[2m])", cut(metric.unwrap_or_default(), 60));
                    self.push(Code::Ns0312, range.span, message, Some(&help));
                }
            }
            OverRange::Rate => {
                if let Some(metric) = metric.filter(|metric| is_gauge(metric)) {
                    let message = format!("{} is a gauge: {name}() of it means nothing", cut(metric, 50));
                    self.push(Code::Ns0311, range.span, message, Some(cut(metric, 60).as_str()));
                }
                if window.as_secs() > 120 {
                    let window = duration(window);
                    let message = format!("young pods look idle for the whole window of {window}");
                    self.push(Code::Ns0315, range.span, message, Some("[2m]"));
                }
            }
            OverRange::OverTime | OverRange::Other => {}
        }
    }

    /// A quantile without `le`: over classic buckets it is always empty.
    fn lost_buckets(&mut self, args: &[Node], why: &Reason, span: Span) {
        let classic = args.iter().flat_map(Node::selectors).any(|selector| selector.name.ends_with("_bucket"));
        if classic {
            let message = format!("{} drops le, so the quantile has no buckets", cut(&why.clause, 60));
            self.push(Code::Ns0313, why.span, message, Some("add le: by (le, pod)"));
        } else {
            self.not_yet("a native histogram", span);
        }
    }

    fn writes_label(&mut self, name: &str, label: Option<&str>, span: Span) {
        let names = &self.platform.labels;
        match label {
            Some(label) if *label == names.pod || *label == names.namespace => {
                let message = format!("{label} is computed by {name}");
                self.push(Code::Ns0341, span, message, Some("the source label, in the platform's label names"));
            }
            Some(_) | None => self.not_yet(name, span),
        }
    }

    fn binary(&mut self, binary: &Binary) -> Flow {
        let lhs = self.flow(&binary.lhs);
        let rhs = self.flow(&binary.rhs);
        let has_series = lhs.has_series || rhs.has_series;
        let filters = binary.op.is_comparison() && !binary.returns_bool;
        let mut flow = match (lhs.pod, rhs.pod) {
            (PodAsWritten::Any, PodAsWritten::Any) => Flow::constant(),
            (PodAsWritten::Any, PodAsWritten::Yes | PodAsWritten::No) => with_number(binary, rhs),
            (PodAsWritten::Yes | PodAsWritten::No, PodAsWritten::Any) => with_number(binary, lhs),
            (PodAsWritten::Yes | PodAsWritten::No, PodAsWritten::Yes | PodAsWritten::No) => {
                self.vectors(binary, &lhs, &rhs)
            }
        };
        if binary.op == BinaryOp::Div && flow.pod != PodAsWritten::Any && !is_guarded(&binary.rhs) {
            let message = "x/0 is read as overload, and 0/0 as the idle rule says".to_owned();
            self.push(Code::Ns0371, binary.op_span, message, None);
        }
        if filters && flow.pod != PodAsWritten::Any {
            flow.partial = flow.partial.or(Some(binary.op_span));
        }
        flow.has_series = has_series;
        flow
    }

    fn vectors(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) -> Flow {
        let names = &self.platform.labels;
        let key_has_pod = match &binary.matching {
            Matching::Default => true,
            Matching::On(list) => list.contains(&names.pod),
            Matching::Ignoring(list) => !list.contains(&names.pod),
        };
        if let Cardinality::Left(copied) | Cardinality::Right(copied) = &binary.cardinality {
            if let Some(label) = [&names.pod, &names.namespace].into_iter().find(|label| copied.contains(label)) {
                let message = format!("group_left or group_right would overwrite the {label} label");
                self.push(Code::Ns0333, copied.span, message, Some("drop it from the list"));
            } else if key_has_pod && lhs.pod != rhs.pod {
                self.disagree(binary, lhs, rhs);
            } else {
                self.not_yet("a match with group_left or group_right", copied.span);
            }
            return lhs.clone();
        }
        match binary.op {
            BinaryOp::And | BinaryOp::Unless => {
                if !key_has_pod {
                    self.not_yet(&format!("{} with a key that lacks the pod", binary.op.as_str()), binary.op_span);
                } else if lhs.pod == rhs.pod {
                    self.can_meet(binary, lhs, rhs);
                } else {
                    self.disagree(binary, lhs, rhs);
                }
                // The right side only decides which samples of the left side stay.
                Flow { additive: false, partial: lhs.partial.or(Some(binary.op_span)), ..lhs.clone() }
            }
            BinaryOp::Or => self.or(binary, lhs, rhs, key_has_pod),
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual => self.one_to_one(binary, lhs, rhs, key_has_pod),
        }
    }

    fn or(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow, key_has_pod: bool) -> Flow {
        if self.stands_in(binary, lhs, rhs) {
            return lhs.clone();
        }
        if key_has_pod {
            if lhs.pod != rhs.pod {
                self.disagree(binary, lhs, rhs);
            }
        } else if lhs.pod == PodAsWritten::Yes || rhs.pod == PodAsWritten::Yes {
            let message = "with this key one pod's sample hides another pod's".to_owned();
            let help = format!("or on ({}, …)", self.platform.labels.pod);
            self.push(Code::Ns0332, binary.op_span, message, Some(&help));
        }
        Flow {
            pod: lhs.pod,
            pod_dropped: lhs.pod_dropped.clone().or_else(|| rhs.pod_dropped.clone()),
            labels: lhs.labels.join(&rhs.labels),
            completion: lhs.completion.filter(|_| lhs.completion == rhs.completion),
            additive: lhs.additive && rhs.additive,
            partial: lhs.partial.and(rhs.partial),
            has_series: true,
        }
    }

    fn one_to_one(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow, key_has_pod: bool) -> Flow {
        let per_pod = (lhs.pod == PodAsWritten::Yes, rhs.pod == PodAsWritten::Yes);
        if self.stands_in(binary, lhs, rhs) {
            return lhs.clone();
        }
        match (key_has_pod, per_pod) {
            (true, (true, true) | (false, false)) => self.can_meet(binary, lhs, rhs),
            (false, (false, false)) => {}
            (false, (true, true)) => {
                let message = format!("{} works with one pod and fails with two", matching_text(binary));
                let help = format!("on ({}, …), or aggregate both sides", self.platform.labels.pod);
                self.push(Code::Ns0334, binary.op_span, message, Some(&help));
            }
            (true | false, (true, false) | (false, true)) => self.disagree(binary, lhs, rhs),
        }
        let namespace = &self.platform.labels.namespace;
        let mut labels = lhs.labels.meet(&rhs.labels);
        match &binary.matching {
            Matching::Default => {}
            Matching::On(list) => {
                let why = Reason { clause: format!("on ({})", cut(&list.labels.join(", "), 60)), span: list.span };
                labels.keep(list, namespace, &why);
            }
            Matching::Ignoring(list) => {
                let why =
                    Reason { clause: format!("ignoring ({})", cut(&list.labels.join(", "), 60)), span: list.span };
                labels.drop(list, namespace, &why);
            }
        }
        let sums = matches!(binary.op, BinaryOp::Add | BinaryOp::Sub);
        Flow {
            pod: lhs.pod,
            pod_dropped: lhs.pod_dropped.clone().or_else(|| rhs.pod_dropped.clone()),
            labels,
            // The maximum of ratios is a ratio of the pod; the sum of ratios of rates is nothing.
            completion: match (lhs.completion, rhs.completion) {
                (Some(Completion::Max), Some(Completion::Max)) => Some(Completion::Max),
                (Some(Completion::Sum), Some(Completion::Sum)) if sums => Some(Completion::Sum),
                (Some(_) | None, Some(_) | None) => None,
            },
            additive: sums && lhs.additive && rhs.additive,
            partial: lhs.partial.or(rhs.partial),
            has_series: true,
        }
    }

    /// `vector(k)` beside a per-pod side: it has no pod label, so it stands in for nothing.
    fn stands_in(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) -> bool {
        let is_vector =
            |node: &Node| matches!(&node.kind, NodeKind::Call { function, .. } if function.effect == Effect::Vector);
        let found = match (lhs.pod, rhs.pod) {
            (PodAsWritten::Yes, _) if is_vector(&binary.rhs) => &binary.rhs,
            (_, PodAsWritten::Yes) if is_vector(&binary.lhs) => &binary.lhs,
            (PodAsWritten::Yes | PodAsWritten::No | PodAsWritten::Any, _) => return false,
        };
        let message = "vector() has no pod label, so it cannot stand in for a missing pod".to_owned();
        let help = format!("delete it, or … or 0 * max by ({}) (up)", self.platform.labels.pod);
        self.push(Code::Ns0322, found.span, message, Some(&help));
        true
    }

    fn disagree(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) {
        let op = binary.op.as_str();
        let (with, other) = if lhs.pod == PodAsWritten::Yes { ("left", rhs) } else { ("right", lhs) };
        let message = match &other.pod_dropped {
            Some(reason) => {
                format!(
                    "only the {with} side has a value per pod: {} drops {}",
                    cut(&reason.clause, 40),
                    self.platform.labels.pod
                )
            }
            None => format!("only the {with} side of {op} has a value per pod"),
        };
        let help = format!("by ({}) on both sides", self.platform.labels.pod);
        self.push(Code::Ns0330, binary.op_span, message, Some(&help));
    }

    /// Labels of the key that one side surely has and the other cannot have: the sides never match.
    fn can_meet(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) {
        let in_key = |label: &str| match &binary.matching {
            Matching::Default => true,
            Matching::On(list) => list.contains(label),
            Matching::Ignoring(list) => !list.contains(label),
        };
        let labels = lhs.labels.known().chain(rhs.labels.known()).map(|(label, _)| label);
        let apart = labels.filter(|label| in_key(label)).find_map(|label| {
            let (left, right) = (lhs.labels.fact(label), rhs.labels.fact(label));
            match (left.presence, right.presence) {
                (Presence::Surely, Presence::Never) => Some((label, right)),
                (Presence::Never, Presence::Surely) => Some((label, left)),
                (Presence::Surely | Presence::Maybe | Presence::Never, _) => None,
            }
        });
        if let Some((label, dropped)) = apart {
            let message =
                format!("{} drops {label}, which the other side has: they never match", cut(&dropped.why.clause, 50));
            let help = format!("on ({}), or the same aggregation on both sides", self.platform.labels.pod);
            self.push(Code::Ns0331, binary.op_span, message, Some(&help));
        }
    }

    fn not_yet(&mut self, what: &str, span: Span) {
        self.push(Code::Ns0363, span, format!("{what} is not compiled yet"), None);
    }

    fn push(&mut self, code: Code, span: Span, message: String, help: Option<&str>) {
        let finding = Finding::at(code, span, message);
        self.findings.push(match help {
            Some(help) => finding.help(help),
            None => finding,
        });
    }
}

/// A number beside a vector: each sample is treated by itself.
fn with_number(binary: &Binary, vector: Flow) -> Flow {
    let by_number = matches!(binary.rhs.kind, NodeKind::Number(_));
    let scales = binary.op == BinaryOp::Mul || (binary.op == BinaryOp::Div && by_number);
    Flow { additive: vector.additive && scales, ..vector }
}

/// A divisor that is a number, or kept away from zero.
fn is_guarded(divisor: &Node) -> bool {
    let is_number = |node: &Node| matches!(node.kind, NodeKind::Number(_));
    match &divisor.kind {
        NodeKind::Call { function, .. } => function.name == "clamp_min",
        NodeKind::Binary(sum) if sum.op == BinaryOp::Add => is_number(&sum.lhs) || is_number(&sum.rhs),
        NodeKind::Number(_)
        | NodeKind::Binary(_)
        | NodeKind::String(_)
        | NodeKind::Selector(_)
        | NodeKind::Range { .. }
        | NodeKind::Subquery { .. }
        | NodeKind::Negate(_)
        | NodeKind::Aggregate(_) => is_number(divisor),
    }
}

fn matching_text(binary: &Binary) -> String {
    match &binary.matching {
        Matching::Default => "the match".to_owned(),
        Matching::On(list) => format!("on ({})", cut(&list.labels.join(", "), 40)),
        Matching::Ignoring(list) => format!("ignoring ({})", cut(&list.labels.join(", "), 40)),
    }
}

fn string_of(node: &Node) -> Option<&str> {
    let NodeKind::String(value) = &node.kind else { return None };
    Some(value)
}
