//! What a function does to the labels and samples of its argument.

use super::{Completion, Flow, PodAsWritten, Presence, Reason, Walk};
use crate::findings::{Code, cut};
use crate::place::Span;
use crate::promql::families::{counter_suffix, is_gauge};
use crate::promql::functions::{CLASSIC_FRACTION, Effect, Exists, Function, OverRange};
use crate::promql::node::{LabelList, Node, NodeKind};
use crate::promql::scope::alias_of;
use crate::promql::template::duration;

/// A rate over a longer window is late: a young pod has no full window.
const LONG_WINDOW_SECONDS: u64 = 120;
/// What a window must hold of scrapes to bear one that failed.
const SCRAPES: u32 = 4;

impl Walk<'_> {
    pub(super) fn call(&mut self, function: &'static Function, args: &[Node], span: Span) -> Flow {
        self.exists(function, span);
        let name = function.name;
        if function.effect == Effect::Scalar {
            let flows: Vec<Flow> = args.iter().map(|arg| self.shared(arg)).collect();
            return Flow { has_series: flows.iter().any(|flow| flow.has_series), ..Flow::constant() };
        }
        let only_presence = name == "timestamp" || matches!(function.effect, Effect::Absent);
        let flows: Vec<Flow> =
            args.iter().map(|arg| if only_presence { self.presence(arg) } else { self.flow(arg) }).collect();
        // The argument that carries the series: functions of PromQL have at most one.
        let data = args.iter().zip(&flows).find(|(_, flow)| flow.pod != PodAsWritten::Any);
        let mut flow = data.map_or_else(Flow::constant, |(_, flow)| flow.clone());
        let mut parameters = args.iter().zip(&flows).filter(|(_, flow)| flow.pod == PodAsWritten::Any);
        let grows = parameters.any(|(arg, _)| self.grows(arg));
        flow.separable &= !grows;
        match function.effect {
            Effect::Constant | Effect::Scalar => {}
            // What a sum of histograms holds is the sum of what they hold. A total that is rounded or bounded still is one.
            Effect::Pointwise => {
                let bounds = ["abs", "ceil", "clamp", "clamp_max", "clamp_min", "floor", "round"];
                flow.additive &= matches!(name, "histogram_count" | "histogram_sum")
                    || (flow.pod == PodAsWritten::No && !grows && bounds.contains(&name));
            }
            Effect::Date if args.is_empty() => return Flow::without_labels("a date of the evaluation time", span),
            Effect::Date => flow.additive = false,
            Effect::OverRange(over) => self.over_range_of(name, over, args, data.map(|(arg, _)| arg), &mut flow),
            Effect::Quantile | Effect::Fraction => self.buckets(function, args, &mut flow, span),
            Effect::Sort => {
                let message = format!("{name}() orders what has no order here");
                self.push(Code::Ns0376, span, message, None);
            }
            Effect::Vector => {
                let has_series = flows.iter().any(|flow| flow.has_series);
                return Flow { has_series, ..Flow::without_labels("vector() has no labels", span) };
            }
            Effect::Absent => {
                let message = format!("{name}() has a value only when there is no data");
                self.push(Code::Ns0323, span, message, Some("delete it: a missing metric already holds the replicas"));
            }
            Effect::WritesLabel => self.label(name, args, &mut flow, span),
        }
        flow
    }

    fn exists(&mut self, function: &Function, span: Span) {
        let dialect = self.platform.dialect;
        if function.exists.in_dialect(dialect) {
            return;
        }
        let name = function.name;
        let (message, help) = match function.exists {
            Exists::Always => return,
            Exists::Since(first) => {
                let message = format!("{name}() needs Prometheus {first}; the platform's dialect is {dialect}");
                (message, format!("a function of Prometheus {dialect}"))
            }
            Exists::Before(end) => {
                let message = format!("{name}() is gone since Prometheus {end}; the platform's dialect is {dialect}");
                (message, "predict_linear or deriv".to_owned())
            }
        };
        self.push(Code::Ns0361, span, message, Some(&help));
    }

    fn over_range_of(&mut self, name: &str, over: OverRange, args: &[Node], range: Option<&Node>, flow: &mut Flow) {
        if let Some(range) = range {
            self.over_range(name, over, range);
        }
        // Buckets are cumulative: their sum over le counts a request many times.
        let all_buckets = flow.labels.fact("le").presence != Presence::Surely
            && args.iter().flat_map(Node::selectors).any(|selector| selector.name.ends_with("_bucket"));
        let rate = matches!(over, OverRange::Rate | OverRange::InstantRate);
        flow.completion = match over {
            OverRange::Rate | OverRange::InstantRate if all_buckets => None,
            OverRange::Rate | OverRange::InstantRate => Some(Completion::Sum),
            OverRange::OverTime | OverRange::Slope => Some(Completion::Max),
            OverRange::GaugeChange | OverRange::Other => None,
        };
        flow.additive = rate && (flow.separable || flow.additive);
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
        let written = metric.map_or_else(|| "…".to_owned(), |metric| cut(metric, 50));
        match over {
            OverRange::GaugeChange | OverRange::Slope => {
                if let Some(suffix) = metric.and_then(counter_suffix) {
                    let message =
                        format!("{name}() turns a restart of the counter (…{suffix}) into a large negative value");
                    let help = format!("increase({written}[2m])");
                    self.push(Code::Ns0312, range.span, message, Some(&help));
                }
            }
            OverRange::Rate | OverRange::InstantRate => {
                if let Some(metric) = metric.filter(|metric| is_gauge(metric)) {
                    let message = format!("{} is a gauge: {name}() of it means nothing", cut(metric, 50));
                    self.push(Code::Ns0311, range.span, message, Some(cut(metric, 60).as_str()));
                }
                if over == OverRange::InstantRate {
                    let message = "irate() follows the last two scrapes: the replicas follow every spike".to_owned();
                    self.push(Code::Ns0316, range.span, message, Some(&format!("rate({written}[2m])")));
                } else if window.as_secs() > LONG_WINDOW_SECONDS {
                    let window = duration(window);
                    let message = format!("young pods look idle for the whole window of {window}");
                    self.push(Code::Ns0315, range.span, message, Some("[2m]"));
                }
                self.rate_of_aggregation(name, range);
            }
            OverRange::OverTime | OverRange::Other => return,
        }
        let floor = self.platform.scrape_interval * SCRAPES;
        if window < floor && metric.is_some() {
            let (window, scrape) = (duration(window), duration(self.platform.scrape_interval));
            let message = format!("a window of {window} holds less than {SCRAPES} scrapes of {scrape}: it has gaps");
            self.push(Code::Ns0314, range.span, message, Some(&format!("[{}]", duration(floor))));
        }
    }

    /// A restart of one counter in a sum of several is a fall of the sum, which a rate takes for a restart of all.
    fn rate_of_aggregation(&mut self, name: &str, range: &Node) {
        let NodeKind::Subquery { inner, .. } = &range.kind else { return };
        let mut aggregates = false;
        inner.visit(&mut |node| aggregates |= matches!(node.kind, NodeKind::Aggregate(_)));
        if aggregates {
            let message = format!("{name}() of an aggregation takes a restart of one for a restart of all");
            self.push(Code::Ns0319, range.span, message, Some(&format!("sum({name}(…))")));
        }
    }

    /// `histogram_quantile` and `histogram_fraction`: of classic buckets, by their `le`, or of native histograms.
    fn buckets(&mut self, function: &Function, args: &[Node], flow: &mut Flow, span: Span) {
        let selectors: Vec<_> = args.iter().flat_map(Node::selectors).collect();
        let classic = selectors.iter().any(|selector| selector.name.ends_with("_bucket"));
        let le = flow.labels.fact("le").clone();
        if classic && le.presence == Presence::Never {
            let message = format!("{} drops le, so {} has no buckets", cut(&le.why.clause, 50), function.name);
            self.push(Code::Ns0313, le.why.span, message, Some("add le: by (le, …)"));
        }
        let dialect = self.platform.dialect;
        if classic && function.effect == Effect::Fraction && dialect < CLASSIC_FRACTION {
            let message = format!(
                "{}() reads buckets since Prometheus {CLASSIC_FRACTION}; the dialect is {dialect}",
                function.name
            );
            self.push(Code::Ns0361, span, message, Some("rate of one bucket / rate of _count"));
        }
        if let Some(gauge) = selectors.iter().find(|selector| is_gauge(&selector.name)) {
            let message = format!("{} is a gauge: {} of it has no value", cut(&gauge.name, 50), function.name);
            self.push(Code::Ns0318, gauge.span, message, Some("the family's _bucket series"));
        }
        let why = Reason { clause: function.name.to_owned(), span };
        flow.labels.drop(&LabelList::of(["le"]), None, &why);
        let of = &args[args.len() - 1];
        flow.unique |= self.is_unique(flow, of);
        // Each series of a rate has a quantile of its own: the maximum is one of the pod's.
        let rate = Effect::OverRange(OverRange::Rate);
        let of_rate = matches!(&of.kind, NodeKind::Call { function, .. } if function.effect == rate);
        flow.completion = of_rate.then_some(Completion::Max);
        flow.additive = false;
    }

    /// `label_replace` and `label_join`: sample by sample.
    fn label(&mut self, name: &str, args: &[Node], flow: &mut Flow, span: Span) {
        let text = |at: usize| match args.get(at).map(|arg| &arg.kind) {
            Some(NodeKind::String(text)) => text.as_str(),
            Some(_) | None => "",
        };
        let label = text(1);
        // The alias of a family, copied to where it is copied anyway.
        let alias = args.first().and_then(|arg| alias_of(arg, self.platform)).map(|alias| &alias.labels);
        let names = &self.platform.labels;
        let copies = alias.is_some_and(|alias| {
            let copied = [(&names.pod, &alias.pod), (&names.namespace, &alias.namespace)];
            name == "label_replace"
                && text(2) == "$1"
                && matches!(text(4), "(.*)" | "(.+)")
                && copied.iter().any(|(to, from)| *to == label && *from == text(3))
        });
        if copies {
            return;
        }
        self.writes_label(name, label, span);
        let why = Reason { clause: format!("{name} writes {}", cut(label, 40)), span };
        flow.labels.set(label, Presence::Maybe, why);
    }
}
