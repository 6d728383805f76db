//! Random expressions of which nearly all are of kind Pods and accepted.
//!
//! Each is correct PromQL by construction, and says how the samples of a pod become one. Spelling varies too: white space,
//! comments, the case of keywords, where `by` stands, parentheses that precedence makes superfluous.

use super::compiler::Idle;
use super::data::{ANGLES, COUNTERS, Family, GAUGES, HISTOGRAM};
use super::oracle::Root;
use super::random::Random;

/// How often an operand stands without the parentheses that are not needed, in percent.
const BARE: usize = 30;

pub struct Expression {
    pub text: String,
    pub root: Root,
    pub idle: Idle,
}

pub fn expression(seed: u64) -> Expression {
    let mut generator = Generator { random: Random::new(seed), subquery_used: false };
    let idle = if generator.random.percent(50) { Idle::Hold } else { Idle::Zero };
    let (node, root) = match generator.random.below(10) {
        0..3 => generator.chain(),
        _ => (generator.grouped(3, &["pod"]), Root::Unique),
    };
    Expression { text: node.text, root, idle }
}

/// An instant vector.
struct Node {
    text: String,
    binds: Binds,
}

/// Where a node may stand as an operand without parentheses. Another precedence may then group the operands in another
/// way, which is the point: any grouping is a vector again, but for a number in front (`3 == 2 > x`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binds {
    Atom,
    Operator,
    NumberFirst,
}

struct Generator {
    random: Random,
    /// The compiler takes one an expression.
    subquery_used: bool,
}

impl Generator {
    /// What gets the default aggregator: one leaf, then functions and numbers.
    fn chain(&mut self) -> (Node, Root) {
        let (mut node, root) = match self.random.below(10) {
            0..3 => (self.gauge(), Root::Max),
            3..5 => (self.over_time(), Root::Max),
            5 => (self.deriv(), Root::Max),
            6..9 => (self.rate(), Root::Sum),
            _ => (self.subquery_over_time(2), Root::Max),
        };
        for _ in 0..self.random.below(4) {
            node = if self.random.percent(50) { self.pointwise(node) } else { self.with_number(node) };
        }
        (node, root)
    }

    /// Exactly the labels `group` at most, hence one sample a pod if that is `pod` alone.
    fn grouped(&mut self, depth: usize, group: &[&str]) -> Node {
        if depth == 0 {
            let inner = self.leaf();
            return self.aggregation(inner, group);
        }
        match self.random.below(16) {
            0..6 => {
                let inner = self.vector(depth - 1);
                self.aggregation(inner, group)
            }
            6..8 => self.quantile(group),
            8 => self.mean(group),
            9 => {
                let inner = self.grouped(depth - 1, group);
                self.pointwise(inner)
            }
            10..12 => {
                let inner = self.grouped(depth - 1, group);
                self.with_number(inner)
            }
            12..14 => {
                let (left, right) = (self.grouped(depth - 1, group), self.grouped(depth - 1, group));
                let operator = self.operator();
                self.matched(left, &operator, group, right)
            }
            _ => {
                let (left, right) = (self.grouped(depth - 1, group), self.grouped(depth - 1, group));
                let operator = self.random.pick(&["and", "or", "or", "unless"]);
                let operator = self.keyword(operator);
                self.matched(left, &operator, group, right)
            }
        }
    }

    /// Any number of samples a pod.
    fn vector(&mut self, depth: usize) -> Node {
        if depth == 0 {
            return self.leaf();
        }
        match self.random.below(20) {
            0..5 => self.leaf(),
            5..7 => self.subquery_over_time(depth),
            7..9 => {
                let inner = self.vector(depth - 1);
                self.pointwise(inner)
            }
            9..11 => {
                let inner = self.vector(depth - 1);
                self.with_number(inner)
            }
            11..13 => {
                let inner = self.vector(depth - 1);
                self.aggregation_without(inner)
            }
            13..17 => {
                let group = self.random.pick::<&[&str]>(&[
                    &["pod"],
                    &["pod", "model_name"],
                    &["pod", "model_name", "service"],
                    &["instance", "pod"],
                ]);
                self.grouped(depth - 1, group)
            }
            17 => self.many_to_one(depth),
            18 => self.moved_in_time(),
            _ => {
                let (left, right) = (self.gauge(), self.gauge());
                let operator = self.random.pick(&["and", "or", "unless", "+", "/", ">"]);
                self.binary(left, operator, right)
            }
        }
    }

    fn leaf(&mut self) -> Node {
        match self.random.below(10) {
            0..3 => self.gauge(),
            3..6 => self.rate(),
            6..8 => self.over_time(),
            8 => self.deriv(),
            _ => self.changes(),
        }
    }

    fn gauge(&mut self) -> Node {
        let family = self.random.pick(&GAUGES);
        let selector = self.selector(family);
        let offset = self.offset(10);
        if self.random.percent(5) {
            return self.call("time() - timestamp", &selector, Binds::NumberFirst);
        }
        Node { text: selector + &offset, binds: Binds::Atom }
    }

    fn rate(&mut self) -> Node {
        let family = self.random.pick(&COUNTERS);
        let function = self.random.pick(&["rate", "rate", "increase", "irate"]);
        let range = self.range(family);
        self.call(function, &range, Binds::Atom)
    }

    fn over_time(&mut self) -> Node {
        let family = self.random.pick(&GAUGES);
        let range = self.range(family);
        self.over(&range)
    }

    fn over(&mut self, range: &str) -> Node {
        let function = self.random.pick(&[
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
            "last_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "present_over_time",
            "quantile_over_time",
        ]);
        if function == "quantile_over_time" {
            let quantile = self.random.pick(&["0.5", ".9", "1"]);
            return self.call(function, &format!("{quantile}, {range}"), Binds::Atom);
        }
        self.call(function, range, Binds::Atom)
    }

    fn deriv(&mut self) -> Node {
        let family = self.random.pick(&GAUGES);
        let range = self.range(family);
        self.call("deriv", &range, Binds::Atom)
    }

    fn changes(&mut self) -> Node {
        let function = self.random.pick(&["delta", "idelta", "predict_linear", "changes", "resets"]);
        let counts_restarts = function == "changes" || function == "resets";
        let family = if counts_restarts && self.random.percent(50) {
            self.random.pick(&COUNTERS)
        } else {
            self.random.pick(&GAUGES)
        };
        let range = self.range(family);
        if function == "predict_linear" {
            return self.call(function, &format!("{range}, 60"), Binds::Atom);
        }
        self.call(function, &range, Binds::Atom)
    }

    fn subquery_over_time(&mut self, depth: usize) -> Node {
        if self.subquery_used {
            return self.over_time();
        }
        self.subquery_used = true;
        let inner = if self.random.percent(40) { self.rate() } else { self.vector(depth - 1) };
        let inner = self.operand(inner, 0);
        let range = self.random.pick(&["2m", "5m", "10m"]);
        let step = self.random.pick(&["15s", "30s", "1m"]);
        let offset = self.offset(20);
        self.over(&format!("{inner}[{range}:{step}]{offset}"))
    }

    fn quantile(&mut self, group: &[&str]) -> Node {
        let range = self.range(HISTOGRAM);
        let rate = self.call("rate", &range, Binds::Atom);
        let mut labels = vec!["le"];
        labels.extend(group);
        let sum = self.aggregate("sum", rate, &labels);
        let quantile = self.random.pick(&["0.5", "0.95", ".99"]);
        let gap = self.gap();
        self.call("histogram_quantile", &format!("{quantile},{gap}{}", sum.text), Binds::Atom)
    }

    /// A latency mean, which is 0/0 where nothing was observed.
    fn mean(&mut self, group: &[&str]) -> Node {
        let [.., sum, count] = COUNTERS;
        let window = self.random.pick(&["1m", "2m"]);
        let [sum, count] = [sum, count].map(|family| {
            let rate = self.call("rate", &format!("{}[{window}]", family.name), Binds::Atom);
            self.aggregate("sum", rate, group)
        });
        self.matched(sum, "/", group, count)
    }

    fn many_to_one(&mut self, depth: usize) -> Node {
        let many = self.grouped(depth - 1, &["pod", "model_name"]);
        let one = self.grouped(depth - 1, &["pod"]);
        let (on, group_left) = (self.keyword("on"), self.keyword("group_left"));
        let operator = self.random.pick(&["*", "/", "-", ">", "<= bool"]);
        let labels = self.random.pick(&["", "()"]);
        self.binary_in_parentheses(many, &format!("{operator} {on} (pod) {group_left}{labels}"), one)
    }

    fn moved_in_time(&mut self) -> Node {
        let family = self.random.pick(&GAUGES);
        let selector = self.selector(family);
        let offset = self.offset(100);
        let before = Node { text: format!("{selector}{offset}"), binds: Binds::Atom };
        self.binary(Node { text: selector, binds: Binds::Atom }, "-", before)
    }

    fn aggregation(&mut self, inner: Node, group: &[&str]) -> Node {
        let operator = self
            .random
            .pick(&["sum", "sum", "max", "max", "avg", "avg", "min", "count", "group", "stddev", "stdvar", "quantile"]);
        self.aggregate(operator, inner, group)
    }

    fn aggregate(&mut self, operator: &str, inner: Node, group: &[&str]) -> Node {
        let by = self.keyword("by");
        let labels = self.labels(group);
        let space = self.random.pick(&["", " "]);
        self.aggregate_with(operator, inner, &format!("{by}{space}{labels}"))
    }

    fn aggregation_without(&mut self, inner: Node) -> Node {
        let operator = self.random.pick(&["sum", "max", "avg", "min", "count"]);
        let gone = self.random.pick::<&[&str]>(&[
            &["service"],
            &["model_name"],
            &["instance", "job", "service", "endpoint"],
            &["service", "reason", "engine"],
        ]);
        let without = self.keyword("without");
        let labels = self.labels(gone);
        self.aggregate_with(operator, inner, &format!("{without} {labels}"))
    }

    fn aggregate_with(&mut self, operator: &str, inner: Node, modifier: &str) -> Node {
        let parameter = if operator == "quantile" { self.random.pick(&["0.5, ", ".9,", "1, "]) } else { "" };
        let operator = self.keyword(operator);
        let (before, after, gap) = (self.gap(), self.gap(), self.gap());
        let arguments = format!("({before}{parameter}{}{after})", inner.text);
        let text = if self.random.percent(60) {
            format!("{operator} {modifier}{gap}{arguments}")
        } else {
            format!("{operator}{arguments}{gap}{modifier}")
        };
        Node { text, binds: Binds::Atom }
    }

    fn pointwise(&mut self, inner: Node) -> Node {
        let function = self.random.pick(&[
            "abs",
            "ceil",
            "floor",
            "round",
            "round_to",
            "clamp",
            "clamp_min",
            "clamp_max",
            "exp",
            "ln",
            "log2",
            "log10",
            "sqrt",
            "sgn",
            "sin",
            "deg",
            "hour",
            "sort_desc",
            "-",
            "-",
        ]);
        let arguments = match function {
            "-" => {
                let inner = self.operand(inner, 0);
                return Node { text: format!("-{inner}"), binds: Binds::Operator };
            }
            "round_to" => return self.call("round", &format!("{}, 0.5", inner.text), Binds::Atom),
            "clamp" => format!("{}, -2, 10", inner.text),
            "clamp_min" => format!("{}, 1", inner.text),
            "clamp_max" => format!("{}, 8", inner.text),
            _ => inner.text,
        };
        self.call(function, &arguments, Binds::Atom)
    }

    fn with_number(&mut self, inner: Node) -> Node {
        let number = self
            .random
            .pick(&["1", "2", "3.", "0.5", ".25", "10", "100", "1e2", "0x10", "-1", "60", "(2 * 3)", "pi()", "0"]);
        let operator = self.operator();
        let number = Node { text: number.to_owned(), binds: Binds::Atom };
        if self.random.percent(75) {
            return self.binary(inner, &operator, number);
        }
        let text = self.binary(number, &operator, inner).text;
        Node { text, binds: Binds::NumberFirst }
    }

    fn operator(&mut self) -> String {
        if self.random.percent(65) {
            return self.random.pick(&["+", "-", "*", "*", "/", "/", "%", "^"]).to_owned();
        }
        let mut comparison = self.random.pick(&[">", ">", "<", ">=", "<=", "!=", "=="]).to_owned();
        if self.random.percent(50) {
            comparison = format!("{comparison} {}", self.keyword("bool"));
        }
        comparison
    }

    /// Both sides have the labels `group`; the match is the default one, or says the same in other words.
    fn matched(&mut self, left: Node, operator: &str, group: &[&str], right: Node) -> Node {
        match self.random.below(4) {
            0 => {
                let (on, labels) = (self.keyword("on"), self.labels(group));
                self.binary_in_parentheses(left, &format!("{operator} {on} {labels}"), right)
            }
            1 => {
                let ignoring = self.keyword("ignoring");
                let absent = self.random.pick(&["()", "(endpoint)", "(job, endpoint)"]);
                self.binary_in_parentheses(left, &format!("{operator} {ignoring}{absent}"), right)
            }
            _ => self.binary(left, operator, right),
        }
    }

    fn binary(&mut self, left: Node, operator: &str, right: Node) -> Node {
        let (left, right) = (self.operand(left, BARE), self.operand(right, BARE));
        let (before, after) = (self.gap(), self.gap());
        Node { text: format!("{left} {before}{operator} {after}{right}"), binds: Binds::Operator }
    }

    /// A match of two vectors: its operands must not become numbers.
    fn binary_in_parentheses(&mut self, left: Node, operator: &str, right: Node) -> Node {
        let (left, right) = (self.operand(left, 0), self.operand(right, 0));
        let gap = self.gap();
        Node { text: format!("{left} {operator} {gap}{right}"), binds: Binds::Operator }
    }

    fn operand(&mut self, node: Node, bare: usize) -> String {
        let bare = match node.binds {
            Binds::Atom => !self.random.percent(10),
            Binds::Operator => self.random.percent(bare),
            Binds::NumberFirst => false,
        };
        if bare { node.text } else { format!("({}{})", self.gap(), node.text) }
    }

    fn call(&mut self, function: &str, arguments: &str, binds: Binds) -> Node {
        let (before, after) = (self.gap(), self.gap());
        Node { text: format!("{function}({before}{arguments}{after})"), binds }
    }

    fn range(&mut self, family: Family) -> String {
        let selector = self.selector(family);
        let range = self.random.pick(&["30s", "1m", "1m30s", "120s", "2m", "2m", "5m"]);
        let offset = self.offset(5);
        format!("{selector}[{range}]{offset}")
    }

    fn offset(&mut self, chance: usize) -> String {
        if !self.random.percent(chance) {
            return String::new();
        }
        let offset = self.random.pick(&["15s", "1m", "90s", "5m"]);
        format!(" {} {offset}", self.keyword("offset"))
    }

    fn selector(&mut self, family: Family) -> String {
        let mut matchers = Vec::new();
        for _ in 0..self.random.pick(&[0, 0, 0, 1, 1, 2]) {
            matchers.push(self.matcher(family));
        }
        if matchers.is_empty() {
            return format!("{}{}", family.name, self.random.pick(&["", "", "", "{}"]));
        }
        let (space, before, after) = (self.random.pick(&["", "", " "]), self.gap(), self.gap());
        let comma = self.random.pick(&["", "", ","]);
        format!("{}{space}{{{before}{}{comma}{after}}}", family.name, matchers.join(", "))
    }

    fn matcher(&mut self, family: Family) -> String {
        match self.random.below(20) {
            0 => return r#"pod=~"nim-.+""#.to_owned(),
            1 => return r#"job="nim""#.to_owned(),
            _ => {}
        }
        let (label, values) = self.random.pick(family.labels);
        let value = self.random.pick(values);
        let quote = self.random.pick(&['"', '"', '\'']);
        match self.random.below(8) {
            0..3 => format!("{label}={quote}{value}{quote}"),
            3 => format!("{label} != {quote}{value}{quote}"),
            4 => format!("{label}=~{quote}{}.*{quote}", &value[..1]),
            5 => format!("{label}=~{quote}{value}|{ANGLES}{quote}"),
            6 => format!("{label}=~{quote}{}{quote}", value.replace('.', r"\\.")),
            _ => format!("{label}!~{quote}{value}|none{quote}"),
        }
    }

    fn labels(&mut self, labels: &[&str]) -> String {
        let mut labels = labels.to_vec();
        for index in 1..labels.len() {
            labels.swap(index, self.random.below(index + 1));
        }
        let (before, comma) = (self.gap(), self.random.pick(&[", ", ",", " ,"]));
        format!("({before}{})", labels.join(comma))
    }

    fn keyword(&mut self, word: &str) -> String {
        if self.random.percent(10) { word.to_uppercase() } else { word.to_owned() }
    }

    fn gap(&mut self) -> &'static str {
        match self.random.below(24) {
            0..3 => " ",
            3 => "\n",
            4 => "\t ",
            5 => " # why, by (nobody) {said}\n",
            _ => "",
        }
    }
}
