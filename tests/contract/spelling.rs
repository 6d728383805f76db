//! How a random expression is put together, and what that makes of its growth with the pods.
//!
//! Spelling varies: white space, comments, the case of keywords, where `by` stands, parentheses that precedence makes
//! superfluous.

use super::expression::grows;
use super::generate::{Binds, Generator, Node, Side};
use super::rows::Row;

/// How often an operand stands without the parentheses that are not needed, in percent.
const BARE: usize = 30;

impl Generator {
    pub fn uses(&mut self, row: Row) {
        self.rows |= row.into();
    }

    pub fn aggregation(&mut self, inner: Node, group: &[&'static str]) -> Node {
        let operator = self.random.pick(&[
            "sum", "sum", "sum", "max", "max", "avg", "avg", "min", "count", "group", "stddev", "stdvar", "quantile",
        ]);
        self.aggregate(operator, inner, "by", group)
    }

    pub fn aggregation_without(&mut self, inner: Node) -> Node {
        let operator = self.random.pick(&["sum", "max", "avg", "min", "count"]);
        let gone = self.random.pick::<&[&str]>(&[
            &["service"],
            &["model_name"],
            &["instance", "job", "service", "endpoint"],
            &["service", "reason", "engine"],
        ]);
        self.aggregate(operator, inner, "without", gone)
    }

    /// A sum, or a count, of what no operation has mixed grows with the pods; so does a sum of such sums.
    pub fn aggregate(&mut self, operator: &str, inner: Node, modifier: &str, labels: &[&'static str]) -> Node {
        let parameter = self.parameter(operator);
        let keeps_pod = (modifier == "by") == labels.contains(&"pod");
        let additive = match operator {
            "sum" => inner.separable || inner.additive,
            "count" => inner.separable,
            _ => false,
        };
        let separable = inner.separable && keeps_pod && !grows(&parameter);
        self.uses(match (operator, modifier) {
            ("topk" | "bottomk", _) => Row::Topk,
            ("count_values", _) => Row::CountValues,
            (_, "without") => Row::Without,
            _ if labels.is_empty() => Row::NoModifier,
            _ => Row::By,
        });

        let operator = self.keyword(operator);
        let (before, after, gap) = (self.gap(), self.gap(), self.gap());
        let arguments = format!("({before}{parameter}{}{after})", inner.text);
        let modifier = if modifier == "by" && labels.is_empty() && self.random.percent(80) {
            String::new()
        } else {
            let modifier = self.keyword(modifier);
            let labels = self.labels(labels);
            format!(" {modifier}{}{labels}", self.random.pick(&["", " "]))
        };
        let text = if self.random.percent(60) {
            format!("{operator}{modifier}{gap}{arguments}")
        } else {
            format!("{operator}{arguments}{gap}{modifier}")
        };
        Node { text, binds: Binds::Atom, additive, separable }
    }

    fn parameter(&mut self, operator: &str) -> String {
        let parameters: &[&str] = match operator {
            "quantile" => &["0.5", ".9", "1"],
            "topk" | "bottomk" => &["1", "2", "3"],
            "count_values" => return r#""value", "#.to_owned(),
            _ => return String::new(),
        };
        let number = if self.side != Side::Subquery && self.random.percent(15) {
            self.scalar()
        } else {
            self.random.pick(parameters).to_owned()
        };
        number + ", "
    }

    pub fn pointwise(&mut self, inner: Node) -> Node {
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
            "atan",
            "deg",
            "rad",
            "hour",
            "minute",
            "day_of_month",
            "days_in_month",
            "year",
            "-",
            "-",
        ]);
        self.uses(Row::Pointwise);
        let parameters = match function {
            "-" => {
                let text = format!("-{}", self.operand(&inner, 0));
                return Node { text, binds: Binds::Operator, ..inner };
            }
            "clamp_min" | "clamp_max" if self.side != Side::Subquery && self.random.percent(20) => {
                format!(", {}", self.scalar())
            }
            "round_to" => ", 0.5".to_owned(),
            "clamp" => ", -2, 10".to_owned(),
            "clamp_min" => ", 1".to_owned(),
            "clamp_max" => ", 8".to_owned(),
            _ => String::new(),
        };
        let text = self.call(function.trim_end_matches("_to"), &format!("{}{parameters}", inner.text));
        let grows = grows(&parameters);
        // A total that is rounded or bounded still is one.
        let bounds = ["abs", "ceil", "floor", "round", "round_to", "clamp", "clamp_min", "clamp_max"];
        let additive = inner.additive && !inner.separable && !grows && bounds.contains(&function);
        Node { text, binds: Binds::Atom, additive, separable: inner.separable && !grows }
    }

    pub fn sorted(&mut self, inner: Node) -> Node {
        self.uses(Row::Sort);
        let function = self.random.pick(&["sort", "sort_desc"]);
        Node { text: self.call(function, &inner.text), binds: Binds::Atom, ..inner }
    }

    /// Writes a label that is neither pod nor namespace.
    pub fn labelled(&mut self, inner: Node, label: &str) -> Node {
        self.uses(Row::WritesLabel);
        let rest = self.random.pick(&[
            r#""gold", "", """#,
            r#""$1", "model_name", "(.).*""#,
            r#""$1-$2", "service", "(n)im(.*)""#,
            r#""a<<b", "job", "nim""#,
        ]);
        let text = if self.random.percent(30) {
            format!(r#"label_join({}, "{label}", "-", "model_name", "engine")"#, inner.text)
        } else {
            format!(r#"label_replace({}, "{label}", {rest})"#, inner.text)
        };
        Node { text, binds: Binds::Atom, ..inner }
    }

    /// Only a product keeps growing with the pods, by a number that does not.
    pub fn with_number(&mut self, inner: Node) -> Node {
        let operator = self.operator();
        let scalar = self.side != Side::Subquery && self.random.percent(20);
        let number = if scalar { self.scalar() } else { self.number() };
        let first = self.random.percent(25);
        self.uses(Row::WithNumber);
        if !scalar {
            self.uses(Row::Constant);
        }
        let scales = operator == "*" || operator == "/" && !first;
        let constant = !grows(&number);
        let (additive, separable) = (inner.additive && scales && constant, inner.separable && constant);
        let number = Node { text: number, binds: Binds::Atom, additive: false, separable: false };
        let (text, binds) = if first {
            (self.binary(&number, &operator, &inner), Binds::Whole)
        } else {
            (self.binary(&inner, &operator, &number), Binds::Operator)
        };
        Node { text, binds, additive, separable }
    }

    fn number(&mut self) -> String {
        let numbers = [
            "1",
            "2",
            "3.",
            "0.5",
            ".25",
            "10",
            "100",
            "1e2",
            "0x10",
            "-1",
            "60",
            "(2 * 3)",
            "pi()",
            "0",
            "(time() % 60)",
        ];
        self.random.pick(&numbers).to_owned()
    }

    pub fn operator(&mut self) -> String {
        if self.random.percent(65) {
            return self.random.pick(&["+", "+", "-", "*", "*", "/", "/", "%", "^", "atan2"]).to_owned();
        }
        let mut comparison = self.random.pick(&[">", ">", "<", ">=", "<=", "!=", "=="]).to_owned();
        if self.random.percent(50) {
            comparison = format!("{comparison} {}", self.keyword("bool"));
        }
        comparison
    }

    /// Both sides have the labels `group`; the match is the default one, or says the same in other words.
    pub fn matched(&mut self, left: Node, operator: &str, group: &[&'static str], right: Node) -> Node {
        let has_pod = group.contains(&"pod");
        match self.random.below(4) {
            0 => {
                let on = format!("{} {}", self.keyword("on"), self.labels(group));
                self.one_to_one(left, operator, &on, right, has_pod)
            }
            1 => {
                let absent = self.random.pick(&["()", "(endpoint)", "(job, endpoint)"]);
                let absent = if !has_pod && self.random.percent(50) { "(pod)" } else { absent };
                let ignoring = format!("{}{absent}", self.keyword("ignoring"));
                self.one_to_one(left, operator, &ignoring, right, absent != "(pod)")
            }
            _ => self.one_to_one(left, operator, "", right, true),
        }
    }

    /// A match of two vectors; does its key have the pod? Sums and differences of what grows with the pods grow.
    pub fn one_to_one(&mut self, left: Node, operator: &str, matching: &str, right: Node, of_pod: bool) -> Node {
        let row = match (operator, of_pod) {
            ("and" | "unless", true) => Row::FilterOfPod,
            ("and" | "unless", false) => Row::FilterOfNoPod,
            ("or", true) => Row::OrOfPod,
            ("or", false) => Row::OrOfNoPod,
            (_, true) => Row::OneToOneOfPod,
            (_, false) => Row::OneToOneOfNoPod,
        };
        self.uses(row);
        let additive = ["+", "-", "or"].contains(&operator) && left.additive && right.additive;
        let filters = ["and", "unless"].contains(&operator);
        let separable = left.separable && (filters || right.separable);
        // Another grouping of these is something else.
        let binds = if matches!(operator, "and" | "unless" | "or") { Binds::Whole } else { Binds::Operator };
        let operator = self.keyword(operator);
        let text = if matching.is_empty() {
            self.binary(&left, &operator, &right)
        } else {
            // Behind a matching clause an operand must not become a number.
            let (left, right, gap) = (self.operand(&left, 0), self.operand(&right, 0), self.gap());
            format!("{left} {operator} {matching} {gap}{right}")
        };
        Node { text, binds, additive, separable }
    }

    /// A join of many with one. A shared side that does not grow with the pods may scale what grows.
    pub fn join(&mut self, many: Node, operator: &str, matching: &str, one: Node, of_pod: bool) -> Node {
        self.uses(if of_pod { Row::GroupOfPod } else { Row::GroupOfNoPod });
        let shares = !of_pod && grows(&one.text);
        let right = self.random.percent(30);
        let scales = operator == "*" || operator == "/" && !right;
        let additive = many.additive && scales && !of_pod && !shares;
        let separable = many.separable && !shares && (!of_pod || one.separable);
        let (many, one) = (self.operand(&many, 0), self.operand(&one, 0));
        let (first, group, second) = if right { (one, "group_right", many) } else { (many, "group_left", one) };
        // Parentheses right behind it are its list.
        let empty = if second.starts_with('(') { "()" } else { self.random.pick(&["", "()", " ()"]) };
        let text = format!("{first} {operator} {matching} {}{empty} {second}", self.keyword(group));
        Node { text, binds: Binds::Whole, additive, separable }
    }

    fn binary(&mut self, left: &Node, operator: &str, right: &Node) -> String {
        let (left, right) = (self.operand(left, BARE), self.operand(right, BARE));
        let (before, after) = (self.gap(), self.gap());
        format!("{left} {before}{operator} {after}{right}")
    }

    pub fn operand(&mut self, node: &Node, bare: usize) -> String {
        let bare = match node.binds {
            Binds::Atom => !self.random.percent(10),
            Binds::Operator => self.random.percent(bare),
            Binds::Whole => false,
        };
        if bare { node.text.clone() } else { format!("({}{})", self.gap(), node.text) }
    }

    pub fn call(&mut self, function: &str, arguments: &str) -> String {
        let (before, after) = (self.gap(), self.gap());
        format!("{function}({before}{arguments}{after})")
    }

    pub fn labels(&mut self, labels: &[&str]) -> String {
        let mut labels = labels.to_vec();
        for index in 1..labels.len() {
            labels.swap(index, self.random.below(index + 1));
        }
        let (before, comma) = (self.gap(), self.random.pick(&[", ", ",", " ,"]));
        format!("({before}{})", labels.join(comma))
    }

    pub fn keyword(&mut self, word: &str) -> String {
        if self.random.percent(10) { word.to_uppercase() } else { word.to_owned() }
    }

    pub fn gap(&mut self) -> &'static str {
        match self.random.below(24) {
            0..3 => " ",
            3 => "\n",
            4 => "\t ",
            5 => " # why, by (nobody) {said}\n",
            _ => "",
        }
    }
}
