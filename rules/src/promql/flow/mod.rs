//! Say which labels leave an expression, which cannot, why and where; refuse what cannot be right for every pod set.
//!
//! The rules are those of PromQL's label semantics, row by row: a fact is written down with the clause that made it at
//! the moment the clause acts. Analysis never fails; it yields facts and findings. An expression is *separable by pod*
//! when no operation mixes pods, and then its value on many pods is its value on each of them alone.

mod call;
mod labels;
mod matching;
mod selector;

use super::node::{Aggregate, Aggregator, Grouping, Node, NodeKind};
use super::scope::{alias_of, names_pod};
use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::platform::Platform;
pub use labels::{Fact, Labels, Presence, Reason};

/// What is known of an expression's result.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Does the result of the author's own text carry the pod label?
    pub pod: PodAsWritten,
    /// The clause that dropped the pod label, when one did.
    pub pod_dropped: Option<Reason>,
    pub labels: Labels,
    /// At most one sample: for each pod where the pod label is there, else for the workload.
    pub unique: bool,
    /// How several samples of one pod become one, where the author does not say.
    pub completion: Option<Completion>,
    /// The sum over the pods is the fleet's own value.
    pub additive: bool,
    /// No operation has mixed pods yet.
    pub separable: bool,
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

/// Analyses an expression of a workload in `own_namespace`, where that is known.
pub fn analyse(node: &Node, platform: &Platform, own_namespace: Option<&str>) -> Analysis {
    let mut walk = Walk { platform, own_namespace, findings: Vec::new(), pods_only: Vec::new(), bare: Vec::new() };
    let flow = walk.flow(node);
    let Walk { mut findings, pods_only, bare, .. } = walk;
    // What only a per-pod root may not do; inside one value for the whole workload it is legal.
    if flow.pod == PodAsWritten::Yes {
        findings.extend(pods_only);
    }
    findings.extend(bare);
    Analysis { flow, findings }
}

impl Flow {
    fn constant() -> Self {
        Self {
            pod: PodAsWritten::Any,
            pod_dropped: None,
            labels: Labels::none("a number has no labels", Span::default()),
            unique: true,
            completion: None,
            additive: false,
            separable: false,
            partial: None,
            has_series: false,
        }
    }

    fn without_labels(clause: &str, span: Span) -> Self {
        Self { pod: PodAsWritten::No, labels: Labels::none(clause, span), ..Self::constant() }
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
    /// Findings that hold only on the spine of a per-pod root.
    pods_only: Vec<Finding>,
    /// Counters whose value is used as it stands, unless something takes their value away.
    bare: Vec<Finding>,
}

impl Walk<'_> {
    fn flow(&mut self, node: &Node) -> Flow {
        match &node.kind {
            NodeKind::Number(_) | NodeKind::String(_) => Flow::constant(),
            NodeKind::Selector(selector) => {
                self.bare_counter(selector);
                self.selector(selector, node.span)
            }
            NodeKind::Range { selector, .. } => self.selector(selector, node.span),
            NodeKind::Subquery { inner, shift, .. } => {
                self.shift(*shift, node.span);
                // A function over it may make a rate of a counter's values.
                self.presence(inner)
            }
            NodeKind::Negate(inner) => self.flow(inner),
            NodeKind::Binary(binary) => self.binary(binary),
            NodeKind::Aggregate(aggregate) => self.aggregate(aggregate, node.span),
            NodeKind::Call { function, args } => self.call(function, args, node.span),
        }
    }

    /// The flow of a side that all pods share: what only a spine may not do, it may.
    fn shared(&mut self, node: &Node) -> Flow {
        let before = self.pods_only.len();
        let flow = self.flow(node);
        self.pods_only.truncate(before);
        flow
    }

    /// The flow of an operand whose values are not used, only that they are there.
    fn presence(&mut self, node: &Node) -> Flow {
        let before = self.bare.len();
        let flow = self.flow(node);
        self.bare.truncate(before);
        flow
    }

    fn aggregate(&mut self, aggregate: &Aggregate, span: Span) -> Flow {
        if let Some(param) = &aggregate.param {
            self.flow(param);
        }
        let counts = matches!(aggregate.op, Aggregator::Count | Aggregator::Group);
        let mut flow = if counts { self.presence(&aggregate.inner) } else { self.flow(&aggregate.inner) };
        let alias = alias_of(&aggregate.inner, self.platform);
        let names_pod = |label: &String| names_pod(label, alias, self.platform);
        let keeps_pod = match &aggregate.grouping {
            Grouping::By(list) => list.labels.iter().any(names_pod),
            // The pod of an alias family is its exporter's.
            Grouping::Without(list) => {
                let own = alias.map_or(&self.platform.labels.pod, |alias| &alias.labels.pod);
                !list.contains(own)
            }
        };
        match aggregate.op {
            Aggregator::Topk | Aggregator::Bottomk => return self.topk(aggregate, flow, keeps_pod, span),
            Aggregator::Limitk | Aggregator::LimitRatio => {
                let name = aggregate.op.as_str();
                let message = format!("{name} is experimental: it needs a flag of Prometheus");
                let help = format!("max by ({}) (…)", self.platform.labels.pod);
                self.push(Code::Ns0361, span, message, Some(&help));
                return flow;
            }
            Aggregator::Quantile => self.quantile_of_gauges(aggregate, span),
            Aggregator::Sum
            | Aggregator::Avg
            | Aggregator::Min
            | Aggregator::Max
            | Aggregator::Count
            | Aggregator::Group
            | Aggregator::Stddev
            | Aggregator::Stdvar
            | Aggregator::CountValues => {}
        }
        flow.additive = match aggregate.op {
            Aggregator::Sum => flow.separable || flow.additive,
            Aggregator::Count => flow.separable,
            Aggregator::Avg
            | Aggregator::Min
            | Aggregator::Max
            | Aggregator::Group
            | Aggregator::Stddev
            | Aggregator::Stdvar
            | Aggregator::Quantile
            | Aggregator::Topk
            | Aggregator::Bottomk
            | Aggregator::CountValues
            | Aggregator::Limitk
            | Aggregator::LimitRatio => false,
        };
        flow.separable &= keeps_pod && !aggregate.param.as_deref().is_some_and(|param| self.grows(param));
        self.group(aggregate, &mut flow, keeps_pod, span);
        if aggregate.op == Aggregator::CountValues {
            self.count_values(aggregate, &mut flow, span);
        }
        flow
    }

    /// True for what reads series of pods: whatever all pods share of it changes with their number.
    fn grows(&self, node: &Node) -> bool {
        node.selectors().iter().any(|selector| !self.platform.families.contains_key(&selector.name))
    }

    /// What an aggregation leaves of the labels, and so of the samples.
    fn group(&self, aggregate: &Aggregate, flow: &mut Flow, keeps_pod: bool, span: Span) {
        let (clause, place) = match &aggregate.grouping {
            Grouping::By(list) if list.span.is_empty() => (format!("{} without by", aggregate.op.as_str()), span),
            Grouping::By(list) => (format!("by ({})", cut(&list.labels.join(", "), 60)), list.span),
            Grouping::Without(list) => (format!("without ({})", cut(&list.labels.join(", "), 60)), list.span),
        };
        let why = Reason { clause, span: place };
        if !keeps_pod {
            flow.drop_pod(|| why.clone());
        }
        let beside = self.beside(flow.pod);
        match &aggregate.grouping {
            Grouping::By(list) => flow.labels.keep(list, beside, &why),
            Grouping::Without(list) => flow.labels.drop(list, beside, &why),
        }
        flow.completion = None;
        flow.unique = self.is_unique(flow, &aggregate.inner);
    }

    /// The namespace, which stands beside the pod wherever labels are kept or matched on a spine.
    fn beside(&self, pod: PodAsWritten) -> Option<&str> {
        (pod == PodAsWritten::Yes).then_some(self.platform.labels.namespace.as_str())
    }

    /// One sample at most, by the labels alone: no label is there that tells samples of one pod, or workload, apart.
    fn is_unique(&self, flow: &Flow, series: &Node) -> bool {
        let names = &self.platform.labels;
        let alias = alias_of(series, self.platform);
        let known = |label: &str| {
            let of_alias = alias.is_some_and(|alias| label == alias.labels.namespace);
            let pod = flow.pod == PodAsWritten::Yes && names_pod(label, alias, self.platform);
            label == names.namespace || of_alias || pod
        };
        flow.labels.closed().is_some_and(|labels| labels.into_iter().all(known))
    }

    fn topk(&mut self, aggregate: &Aggregate, mut flow: Flow, keeps_pod: bool, span: Span) -> Flow {
        if !keeps_pod && flow.pod == PodAsWritten::Yes {
            let message = format!("{} across pods picks winners between pods", aggregate.op.as_str());
            let help = format!("max by ({}) (…)", self.platform.labels.pod);
            self.pods_only.push(Finding::at(Code::Ns0324, span, message).help(help));
        }
        flow.separable &= keeps_pod && !aggregate.param.as_deref().is_some_and(|param| self.grows(param));
        Flow { completion: None, additive: false, unique: false, ..flow }
    }

    fn count_values(&mut self, aggregate: &Aggregate, flow: &mut Flow, span: Span) {
        let Some(NodeKind::String(label)) = aggregate.param.as_deref().map(|param| &param.kind) else { return };
        self.writes_label(aggregate.op.as_str(), label, span);
        let why = Reason { clause: format!("count_values writes {}", cut(label, 40)), span };
        flow.labels.set(label, Presence::Surely, why);
        flow.unique = false;
        flow.additive = false;
    }

    /// A quantile over series is one of the series, whatever they count; over requests it needs a histogram.
    fn quantile_of_gauges(&mut self, aggregate: &Aggregate, span: Span) {
        if aggregate.inner.selectors().iter().any(|selector| super::families::is_gauge(&selector.name)) {
            let message = "quantile over gauges picks one of the series, not one of the requests".to_owned();
            self.push(Code::Ns0318, span, message, Some("histogram_quantile(…) over buckets, or max"));
        }
    }

    /// The request sets the namespace and pod labels: nothing may write them.
    fn writes_label(&mut self, name: &str, label: &str, span: Span) {
        let names = &self.platform.labels;
        if label == names.pod || label == names.namespace {
            let message = format!("{label} is computed by {name}");
            self.push(Code::Ns0341, span, message, Some("the source label, in the platform's label names"));
        }
    }

    fn push(&mut self, code: Code, span: Span, message: String, help: Option<&str>) {
        let finding = Finding::at(code, span, message);
        self.findings.push(match help {
            Some(help) => finding.help(help),
            None => finding,
        });
    }
}
