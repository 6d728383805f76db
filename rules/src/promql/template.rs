//! Print our tree: plain PromQL for people, and the template for the adapter. The only writer of `<<`.

use std::fmt;
use std::time::Duration;

use super::node::{
    At, Binary, BinaryOp, Cardinality, Grouping, LabelList, Matching, Node, NodeKind, Number, Selector, Shift,
};
use super::scope::{Request, Scope, label_of, pod_suffix};
use super::string::{go_quote, quote};
use crate::platform::Platform;
use crate::workload::WorkloadKind;

/// The text of a rule's `metricsQuery`, in pieces: what the author wrote is never a piece that can act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// One piece of a [`Template`]. Whatever a request says is quoted by the template: a name of an object may hold quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// PromQL, as it stands. Holds neither `<<` nor `>>`.
    Text(String),
    /// `<<.LabelMatchers>>`: the namespace and the pods of the request.
    Scope,
    /// `<<.GroupBy>>`: the label of what is asked for.
    Group,
    /// The value of this label in the request, as a string.
    Value(String),
    /// A regular expression, as a string: the names of a workload's pods.
    PodNames(WorkloadKind),
}

impl Template {
    /// Prints a confined per-pod tree.
    pub fn of_pods(node: &Node, platform: &Platform) -> Self {
        let mut printer = Printer { pieces: Vec::new(), platform: Some(platform) };
        printer.node(node);
        Self { pieces: printer.pieces }
    }

    /// Prints a confined tree with one value for a workload, stamped with its name: no series of a pod carries it.
    pub fn of_workload(node: &Node, kind: WorkloadKind, platform: &Platform) -> Self {
        let mut printer = Printer { pieces: Vec::new(), platform: Some(platform) };
        printer.text("label_replace(");
        printer.node(node);
        printer.text(", \"");
        printer.pieces.push(Piece::Group);
        printer.text("\", ");
        printer.pieces.push(Piece::Value(label_of(kind).to_owned()));
        printer.text(", \"\", \"\")");
        Self { pieces: printer.pieces }
    }

    /// The query that the adapter sends for a request.
    pub fn instantiate(&self, request: &Request<'_>, platform: &Platform) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Scope => request.label_matchers(platform),
                Piece::Group => request.group(platform).to_owned(),
                Piece::Value(label) if *label == platform.labels.namespace => go_quote(request.namespace()),
                Piece::Value(_) => go_quote(&request.names()),
                Piece::PodNames(kind) => go_quote(&format!("{}{}", request.names(), pod_suffix(*kind))),
            })
            .collect()
    }

    /// The text without what acts in it.
    pub fn literal(&self) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Scope | Piece::Group | Piece::Value(_) | Piece::PodNames(_) => None,
        };
        self.pieces.iter().filter_map(text).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Scope => f.write_str("<<.LabelMatchers>>"),
            Piece::Group => f.write_str("<<.GroupBy>>"),
            Piece::Value(label) => write!(f, "<<printf \"%q\" (index .LabelValuesByName \"{label}\")>>"),
            Piece::PodNames(kind) => {
                let (suffix, label) = (pod_suffix(*kind), label_of(*kind));
                write!(f, "<<printf \"%q\" (printf \"%s{suffix}\" (index .LabelValuesByName \"{label}\"))>>")
            }
        })
    }
}

/// Prints a tree as plain PromQL.
pub fn plain(node: &Node) -> String {
    let mut printer = Printer { pieces: Vec::new(), platform: None };
    printer.node(node);
    Template { pieces: printer.pieces }.literal()
}

/// A duration in Prometheus' shortest form: `1m30s`; years, weeks and days only where nothing is left over.
pub fn duration(duration: Duration) -> String {
    const UNITS: [(&str, u128, bool); 7] = [
        ("y", 365 * 86_400_000, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size, whole) in UNITS {
        if rest >= size && (!whole || rest.is_multiple_of(size)) {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// A number in the shortest form that reads back as the same `f64`.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Inf".to_owned() } else { "-Inf".to_owned() }
    } else if value != 0.0 && !(1e-5..1e15).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// True for an operation of the same precedence: such a chain reads from the left, a chain of powers from the right, and
/// without this a long sum would be brackets inside brackets.
fn chains(operand: &Node, op: BinaryOp) -> bool {
    matches!(&operand.kind, NodeKind::Binary(inner) if inner.op.precedence() == op.precedence())
}

struct Printer<'a> {
    pieces: Vec<Piece>,
    /// `None` prints plain PromQL.
    platform: Option<&'a Platform>,
}

impl Printer<'_> {
    fn node(&mut self, node: &Node) {
        match &node.kind {
            NodeKind::Number(value) => self.text(&number(value.0)),
            NodeKind::String(value) => self.text(&quote(value)),
            NodeKind::Selector(selector) => {
                self.selector(selector);
                self.shift(selector.shift);
            }
            NodeKind::Range { selector, range } => {
                self.selector(selector);
                self.text(&format!("[{}]", duration(*range)));
                self.shift(selector.shift);
            }
            NodeKind::Subquery { inner, range, step, shift } => {
                self.operand(inner);
                let step = step.map(duration).unwrap_or_default();
                self.text(&format!("[{}:{step}]", duration(*range)));
                self.shift(*shift);
            }
            NodeKind::Negate(inner) => {
                self.text("-");
                self.operand(inner);
            }
            NodeKind::Binary(binary) => self.binary(binary),
            NodeKind::Aggregate(aggregate) => {
                self.text(aggregate.op.as_str());
                self.grouping(&aggregate.grouping);
                self.text("(");
                if let Some(param) = &aggregate.param {
                    self.node(param);
                    self.text(", ");
                }
                self.node(&aggregate.inner);
                self.text(")");
            }
            NodeKind::Call { function, args } => {
                self.text(function.name);
                self.text("(");
                for (at, arg) in args.iter().enumerate() {
                    if at > 0 {
                        self.text(", ");
                    }
                    self.node(arg);
                }
                self.text(")");
            }
        }
    }

    /// An operand binds tighter than what is around it: everything with an operator of its own gets parentheses.
    fn operand(&mut self, node: &Node) {
        let needs = matches!(node.kind, NodeKind::Binary(_) | NodeKind::Negate(_));
        if needs {
            self.text("(");
            self.node(node);
            self.text(")");
        } else {
            self.node(node);
        }
    }

    fn binary(&mut self, binary: &Binary) {
        // A sign binds looser than a power: -1 ^ 2 is -(1 ^ 2).
        let negative =
            matches!(binary.lhs.kind, NodeKind::Number(Number(base)) if base.is_sign_negative() && !base.is_nan());
        if negative && binary.op == BinaryOp::Pow {
            self.text("(");
            self.node(&binary.lhs);
            self.text(")");
        } else if binary.op != BinaryOp::Pow && chains(&binary.lhs, binary.op) {
            self.node(&binary.lhs);
        } else {
            self.operand(&binary.lhs);
        }
        self.text(" ");
        self.text(binary.op.as_str());
        if binary.returns_bool {
            self.text(" bool");
        }
        match &binary.matching {
            // `group_left` stands behind a list alone.
            Matching::Default if binary.cardinality != Cardinality::OneToOne => self.text(" ignoring ()"),
            Matching::Default => {}
            Matching::On(list) => self.list("on", list),
            Matching::Ignoring(list) => self.list("ignoring", list),
        }
        match &binary.cardinality {
            Cardinality::OneToOne => {}
            Cardinality::Left(list) => self.list("group_left", list),
            Cardinality::Right(list) => self.list("group_right", list),
        }
        self.text(" ");
        if binary.op == BinaryOp::Pow && chains(&binary.rhs, binary.op) {
            self.node(&binary.rhs);
        } else {
            self.operand(&binary.rhs);
        }
    }

    fn selector(&mut self, selector: &Selector) {
        self.text(&selector.name);
        let matchers = selector.matchers.iter();
        let matchers =
            matchers.map(|matcher| format!("{}{}{}", matcher.label, matcher.op.as_str(), quote(&matcher.value)));
        let matchers = matchers.collect::<Vec<_>>().join(",");
        let (true, Some(platform)) = (selector.scope != Scope::Unconfined, self.platform) else {
            if !matchers.is_empty() {
                self.text(&format!("{{{matchers}}}"));
            }
            return;
        };
        // Static matchers first: `{,a="b"}` is no PromQL when a request has no matchers, `{a="b",}` is.
        self.text("{");
        if !matchers.is_empty() {
            self.text(&format!("{matchers},"));
        }
        match &selector.scope {
            Scope::Unconfined => {}
            Scope::Request => self.pieces.push(Piece::Scope),
            Scope::Namespace(label) => self.value(label, "=", &platform.labels.namespace),
            Scope::Pods(names) => {
                self.value(&names.namespace, "=", &platform.labels.namespace);
                self.text(",");
                self.value(&names.pod, "=~", &platform.labels.pod);
            }
            Scope::Workload(names, kind) => {
                self.value(&names.namespace, "=", &platform.labels.namespace);
                self.text(&format!(",{}=~", names.pod));
                self.pieces.push(Piece::PodNames(*kind));
            }
        }
        self.text("}");
    }

    /// A matcher on what the request says of one of its labels.
    fn value(&mut self, label: &str, op: &str, of: &str) {
        self.text(&format!("{label}{op}"));
        self.pieces.push(Piece::Value(of.to_owned()));
    }

    fn shift(&mut self, shift: Shift) {
        match shift.at {
            None => {}
            Some(At::Start) => self.text(" @ start()"),
            Some(At::End) => self.text(" @ end()"),
            Some(At::Fixed(seconds)) => self.text(&format!(" @ {seconds:.3}")),
        }
        if shift.offset_ms != 0 {
            let sign = if shift.offset_ms < 0 { "-" } else { "" };
            let offset = duration(Duration::from_millis(shift.offset_ms.unsigned_abs()));
            self.text(&format!(" offset {sign}{offset}"));
        }
    }

    fn grouping(&mut self, grouping: &Grouping) {
        match grouping {
            Grouping::By(list) if list.labels.is_empty() && !list.with_request => {}
            Grouping::By(list) => {
                self.list("by", list);
                self.text(" ");
            }
            Grouping::Without(list) => {
                self.list("without", list);
                self.text(" ");
            }
        }
    }

    fn list(&mut self, keyword: &str, list: &LabelList) {
        let labels = list.labels.join(", ");
        let Some(platform) = self.platform.filter(|_| list.with_request) else {
            return self.text(&format!(" {keyword} ({labels})"));
        };
        let comma = if labels.is_empty() { "" } else { ", " };
        self.text(&format!(" {keyword} ({labels}{comma}{}, ", platform.labels.namespace));
        self.pieces.push(Piece::Group);
        self.text(")");
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            Some(Piece::Scope | Piece::Group | Piece::Value(_) | Piece::PodNames(_)) | None => {
                self.pieces.push(Piece::Text(text.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_prometheus_prints_them() {
        let of = |secs| duration(Duration::from_secs(secs));
        assert_eq!(of(90), "1m30s");
        assert_eq!(of(300), "5m");
        assert_eq!(of(86_400), "1d");
        assert_eq!(of(90_000), "1d1h");
        assert_eq!(of(7 * 86_400), "1w");
        assert_eq!(duration(Duration::from_millis(1500)), "1s500ms");
    }

    #[test]
    fn numbers_read_back() {
        for value in [0.1, 1e300, 1e-7, 123_456_789.5, 1e15, 0.0, f64::MIN_POSITIVE] {
            assert_eq!(number(value).parse::<f64>(), Ok(value), "{}", number(value));
        }
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
        assert_eq!(number(1000.0), "1000");
    }
}
