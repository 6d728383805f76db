//! What is known of a selector's series, and which of its matchers reach past its own namespace and pods.

use super::{Completion, Flow, Labels, PodAsWritten, Presence, Reason, Walk};
use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::platform::{LabelNames, PodLess};
use crate::promql::families::counter_suffix;
use crate::promql::node::{At, MatchOp, Selector, Shift};
use crate::promql::normalise::plain_matcher;
use crate::promql::regex::alternatives;

impl Walk<'_> {
    pub(super) fn selector(&mut self, selector: &Selector, span: Span) -> Flow {
        let why = Reason { clause: format!("series of {}", cut(&selector.name, 60)), span: selector.span };
        let pod_less = self.platform.families.get(&selector.name).copied();
        let labels = self.labels(selector, pod_less, &why);
        self.confinement(selector);
        self.shift(selector.shift, span);
        let pod = if pod_less.is_some() { PodAsWritten::No } else { PodAsWritten::Yes };
        let counter = counter_suffix(&selector.name).is_some();
        Flow {
            pod,
            pod_dropped: (pod == PodAsWritten::No).then_some(why),
            labels,
            unique: false,
            completion: (!counter).then_some(Completion::Max),
            additive: false,
            separable: true,
            partial: None,
            has_series: true,
        }
    }

    fn labels(&self, selector: &Selector, pod_less: Option<PodLess>, why: &Reason) -> Labels {
        let mut labels = Labels::open(why.clone());
        let names = &self.platform.labels;
        match pod_less {
            None => {
                labels.set(&names.namespace, Presence::Surely, why.clone());
                labels.set(&names.pod, Presence::Surely, why.clone());
            }
            Some(PodLess::Namespace) => labels.set(&names.namespace, Presence::Surely, why.clone()),
            Some(PodLess::Cluster) => {}
        }
        if let Some(alias) = self.platform.alias(&selector.name) {
            labels.set(&alias.labels.namespace, Presence::Surely, why.clone());
            labels.set(&alias.labels.pod, Presence::Surely, why.clone());
        }
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
        labels
    }

    /// A counter only grows: its value as it stands is a target that is passed once and for ever.
    pub(super) fn bare_counter(&mut self, selector: &Selector) {
        if counter_suffix(&selector.name).is_some() {
            let message = format!("{} only grows: kept under a target it scales up for ever", cut(&selector.name, 50));
            let help = format!("rate({}[2m])", cut(&selector.name, 60));
            self.bare.push(Finding::at(Code::Ns0317, selector.span, message).help(help));
        }
    }

    /// Matchers on the namespace and pod labels: the request sets both.
    fn confinement(&mut self, selector: &Selector) {
        let platform = self.platform;
        // Of an alias family the platform's own labels name the exporter.
        let LabelNames { namespace, pod } = platform.names_of(&selector.name);
        for matcher in selector.matchers.iter().map(plain_matcher) {
            if matcher.label == *namespace {
                self.on_namespace(namespace, matcher.op, &matcher.value, matcher.span);
            } else if matcher.label == *pod {
                self.on_pod(pod, matcher.op, &matcher.value, matcher.span);
            }
        }
    }

    fn on_namespace(&mut self, label: &str, op: MatchOp, value: &str, span: Span) {
        let (own, shown) = (self.own_namespace, cut(value, 40));
        if op == MatchOp::Equal && own == Some(value) {
            let message = format!("{label}=\"{shown}\" is redundant and was removed");
            self.push(Code::Ns0343, span, message, None);
            return;
        }
        let message = match own {
            Some(own) => {
                format!("reads from namespace \"{shown}\" are not allowed from namespace \"{}\"", cut(own, 30))
            }
            None => format!("a matcher on {label} is not allowed: the workload's own is added"),
        };
        self.push(Code::Ns0340, span, message, Some("delete the matcher"));
    }

    fn on_pod(&mut self, label: &str, op: MatchOp, value: &str, span: Span) {
        match (op, value) {
            (MatchOp::Equal, "") => {
                let message = format!("{label}=\"\" reads series that belong to no pod");
                self.push(Code::Ns0340, span, message, Some("delete the matcher"));
            }
            (MatchOp::NotMatches, ".+") => {
                let message = format!("{label}!~\".+\" reads series that belong to no pod");
                self.push(Code::Ns0340, span, message, Some("delete the matcher"));
            }
            (MatchOp::NotEqual, "") => {}
            (MatchOp::Equal, _) => self.pinned(span, &cut(value, 40)),
            (MatchOp::Matches, pattern) if alternatives(pattern).is_some() => self.pinned(span, &cut(value, 40)),
            (MatchOp::Matches | MatchOp::NotMatches | MatchOp::NotEqual, _) => {
                let message = "limits the metric to these pods; the others count as missing".to_owned();
                self.push(Code::Ns0344, span, message, None);
            }
        }
    }

    fn pinned(&mut self, span: Span, value: &str) {
        let message = format!("pins pod names that the next roll replaces: {value}");
        self.push(Code::Ns0345, span, message, Some("delete the matcher: the adapter adds the pods"));
    }

    pub(super) fn shift(&mut self, shift: Shift, span: Span) {
        match shift.at {
            None | Some(At::Start | At::End) => {}
            Some(At::Fixed(_)) => {
                let message = "a fixed @ timestamp makes the metric constant".to_owned();
                self.push(Code::Ns0350, span, message, Some("delete @"));
            }
        }
    }
}
