//! Random expressions of which nearly all are accepted, of kind Pods and of kind Object.
//!
//! Each is correct PromQL by construction. The generator knows of each how its samples become one, whether its value grows
//! with the pods, and which sides all pods share; nothing of that is asked of the compiler.

use super::compiler::Idle;
use super::data::{NODE_LOAD, OF_NAMESPACE, POD_INFO, WorkloadKind};
use super::expression::{Claim, Root, serving};
use super::random::Random;
use super::rows::{Row, Rows};
use super::world::Version;

pub struct Expression {
    /// With the brackets of [`super::expression`].
    pub text: String,
    pub root: Root,
    pub idle: Idle,
    pub rows: Rows,
}

impl Expression {
    pub fn claim(&self) -> Claim<'_> {
        Claim { text: &self.text, root: self.root, idle: self.idle }
    }
}

pub fn expression(seed: u64, version: Version) -> Expression {
    let random = Random::new(seed);
    let mut generator = Generator { random, version, rows: Rows::default(), subquery_used: false, side: Side::Spine };
    let idle = if generator.random.percent(50) { Idle::Hold } else { Idle::Zero };
    let (node, root) = match generator.random.below(20) {
        0..4 => generator.chain(),
        4..10 => (generator.root(&["pod"]), Root::Unique),
        _ => {
            generator.side = Side::Free;
            let kind = generator.random.pick(&[WorkloadKind::Deployment, WorkloadKind::StatefulSet]);
            let node = generator.root(&[]);
            let total = node.additive || serving(&node.text).is_none();
            (node, if total { Root::Total(kind) } else { Root::Level(kind) })
        }
    };
    Expression { text: node.text, root, idle, rows: generator.rows }
}

/// An instant vector.
pub struct Node {
    pub text: String,
    pub binds: Binds,
    /// Its sum over the pods is the whole workload's value, so that it grows with them.
    pub additive: bool,
    /// Nothing has mixed pods yet.
    pub separable: bool,
}

/// Where a node may stand as an operand without parentheses. Another precedence may then group the operands in another
/// way, which is the point: any grouping is a vector again, and grows with the pods or does not as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    Atom,
    Operator,
    /// What another grouping makes something else of: `3 == 2 > x`, `a or vector(0) * 2`, a join.
    Whole,
}

/// Where the generator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the values of pods are made of.
    Spine,
    /// The same at other times, where no side can be shared: the oracle knows its value at one time alone.
    Subquery,
    /// What all pods share, or one value for a workload: pods may be mixed.
    Free,
}

pub struct Generator {
    pub random: Random,
    pub version: Version,
    pub rows: Rows,
    /// The compiler takes one an expression.
    pub subquery_used: bool,
    pub side: Side,
}

impl Generator {
    fn root(&mut self, group: &[&'static str]) -> Node {
        let node = self.grouped(3, group);
        if self.random.percent(4) { self.labelled(node, "tier") } else { node }
    }

    /// What gets the default aggregator: one leaf, then functions and numbers.
    fn chain(&mut self) -> (Node, Root) {
        let (mut node, root) = match self.random.below(12) {
            0..3 => (self.gauge(), Root::Max),
            3..5 => (self.over_time(), Root::Max),
            5 => (self.deriv(), Root::Max),
            6..9 => (self.rate(), Root::Sum),
            9 => {
                let [sum, count] = self.rates_of_histogram();
                (self.one_to_one(sum, "/", "", count, true), Root::Max)
            }
            10 => {
                let rate = self.rate_of_buckets();
                (self.of_buckets(rate), Root::Max)
            }
            _ => (self.subquery_over_time(2), Root::Max),
        };
        for _ in 0..self.random.below(4) {
            node = if self.random.percent(50) { self.pointwise(node) } else { self.with_number(node) };
        }
        (node, root)
    }

    /// Exactly the labels `group` at most: one sample a pod if that is `pod` alone, one for all if it is nothing.
    pub fn grouped(&mut self, depth: usize, group: &[&'static str]) -> Node {
        let Some(below) = depth.checked_sub(1) else {
            let inner = self.leaf();
            return self.aggregation(inner, group);
        };
        match self.random.below(30) {
            0..7 => {
                let inner = self.inner(below, group);
                self.aggregation(inner, group)
            }
            7..9 => self.buckets(group),
            9 => self.mean(group),
            10 => {
                let inner = self.grouped(below, group);
                self.pointwise(inner)
            }
            11..14 => {
                let inner = self.grouped(below, group);
                self.with_number(inner)
            }
            14..17 => {
                let (left, right) = (self.grouped(below, group), self.grouped(below, group));
                let operator = self.operator();
                self.matched(left, &operator, group, right)
            }
            17..20 => {
                let (left, right) = (self.grouped(below, group), self.grouped(below, group));
                let operator = self.random.pick(&["and", "or", "or", "unless"]);
                self.matched(left, operator, group, right)
            }
            20 => {
                let inner = self.grouped(below, group);
                self.sorted(inner)
            }
            21 if !self.subquery_used => self.subquery_of_group(below, group),
            22..25 if self.side != Side::Subquery => self.joined_with_shared(below, group),
            25..28 if self.side != Side::Subquery => self.filtered_by_shared(below, group),
            _ if group.is_empty() => self.with_vector(below),
            _ if group.contains(&"pod") => self.many_to_one(below, group),
            _ => {
                let inner = self.pod_less(below);
                self.aggregation(inner, group)
            }
        }
    }

    /// What is aggregated to `group`.
    fn inner(&mut self, depth: usize, group: &[&'static str]) -> Node {
        if !group.contains(&"pod") && self.random.percent(35) { self.pod_less(depth) } else { self.vector(depth) }
    }

    /// Any number of samples a pod.
    pub fn vector(&mut self, depth: usize) -> Node {
        let Some(below) = depth.checked_sub(1) else { return self.leaf() };
        match self.random.below(26) {
            0..5 => self.leaf(),
            5..7 => self.subquery_over_time(depth),
            7..9 => {
                let inner = self.vector(below);
                self.pointwise(inner)
            }
            9..11 => {
                let inner = self.vector(below);
                self.with_number(inner)
            }
            11..13 => {
                let inner = self.vector(below);
                self.aggregation_without(inner)
            }
            13..16 => {
                let group = self.random.pick::<&[&str]>(&[
                    &["pod"],
                    &["pod", "model_name"],
                    &["pod", "model_name", "service"],
                    &["instance", "pod"],
                ]);
                self.grouped(below, group)
            }
            16 => self.many_to_one(below, &["pod", "model_name"]),
            17 => self.moved_in_time(),
            18 => {
                let inner = self.vector(below);
                let label = self.random.pick(&["tier", "tier", "model_name", "service"]);
                self.labelled(inner, label)
            }
            19 | 20 => self.topk(below),
            21 => {
                let inner = self.vector(below);
                let group = self.random.pick::<&[&str]>(&[&["pod"], &["pod", "model_name"]]);
                self.count_values(inner, group)
            }
            22 => self.on_node(below),
            23 if self.side != Side::Subquery => self.joined_with_shared(below, &["pod", "model_name"]),
            24 => {
                let inner = self.vector(below);
                self.sorted(inner)
            }
            _ => {
                let (left, right) = (self.gauge(), self.gauge());
                let operator = self.random.pick(&["and", "or", "unless", "+", "/", ">"]);
                let on = self.random.pick(&["", "", "on (pod, model_name)"]);
                self.one_to_one(left, operator, on, right, true)
            }
        }
    }

    /// Any number of samples, none of them of a pod.
    fn pod_less(&mut self, depth: usize) -> Node {
        let Some(below) = depth.checked_sub(1) else { return self.leaf_without_pod() };
        let group = self.random.pick::<&[&str]>(&[&["model_name"], &["model_name", "service"], &[]]);
        match self.random.below(12) {
            0..3 => self.leaf_without_pod(),
            3 => self.grouped(below, group),
            4 => {
                let inner = self.vector(below);
                self.count_values(inner, group)
            }
            5..9 => {
                let (left, right) = (self.grouped(below, &["model_name"]), self.grouped(below, group));
                let operator = self.random.pick(&["or", "or", "unless", "and"]);
                self.one_to_one(left, operator, "on (model_name)", right, false)
            }
            9 => {
                let inner = self.own_gauge();
                let operator = self.random.pick(&["sum", "max", "count"]);
                let gone = &["pod", "instance", "service", "endpoint", "job"];
                self.aggregate(operator, inner, "without", gone)
            }
            _ => {
                let (left, right) = (self.grouped(below, &["model_name"]), self.grouped(below, &["model_name"]));
                let operator = self.operator();
                self.one_to_one(left, &operator, "on (model_name)", right, false)
            }
        }
    }

    fn buckets(&mut self, group: &[&'static str]) -> Node {
        let rate = self.rate_of_buckets();
        if self.random.percent(30) {
            let quantiles = self.of_buckets(rate);
            return self.aggregation(quantiles, group);
        }
        let mut labels = vec!["le"];
        labels.extend(group);
        let sum = self.aggregate("sum", rate, "by", &labels);
        self.of_buckets(sum)
    }

    /// What the buckets of each series say.
    fn of_buckets(&mut self, buckets: Node) -> Node {
        let function = match self.version {
            Version::V3 if self.random.percent(30) => {
                self.random.pick(&["histogram_fraction(0, 0.5", "histogram_fraction(.25, 2"])
            }
            Version::V2_42 | Version::V3 => self.random.pick(&[
                "histogram_quantile(0.5",
                "histogram_quantile(0.95",
                "histogram_quantile(.99",
                "histogram_quantile(1",
                "histogram_quantile(-1",
                "histogram_quantile(pi() / 4",
            ]),
        };
        self.uses(Row::Buckets);
        let gap = self.gap();
        let text = format!("{function},{gap}{})", buckets.text);
        Node { text, binds: Binds::Atom, additive: false, separable: buckets.separable }
    }

    /// A latency mean, which is 0/0 where nothing was observed.
    fn mean(&mut self, group: &[&'static str]) -> Node {
        let [sum, count] = self.rates_of_histogram();
        let (sum, count) = (self.aggregate("sum", sum, "by", group), self.aggregate("sum", count, "by", group));
        self.matched(sum, "/", group, count)
    }

    fn topk(&mut self, depth: usize) -> Node {
        let inner = self.vector(depth);
        let operator = self.random.pick(&["topk", "bottomk"]);
        // Between pods only where there are no pods left to tell apart.
        if self.side == Side::Free && self.random.percent(60) {
            return self.aggregate(operator, inner, "by", &[]);
        }
        let by: &[&str] = match self.random.below(4) {
            0 => return self.aggregate(operator, inner, "without", &["service"]),
            1 => &["pod", "model_name"],
            _ => &["pod"],
        };
        self.aggregate(operator, inner, "by", by)
    }

    fn count_values(&mut self, inner: Node, group: &[&'static str]) -> Node {
        self.aggregate("count_values", inner, "by", group)
    }

    /// A join whose key has the pod; `group` is the many side's.
    fn many_to_one(&mut self, depth: usize, group: &[&'static str]) -> Node {
        let (many, one) = (self.grouped(depth, group), self.grouped(depth, &["pod"]));
        let operator = self.random.pick(&["*", "/", "-", ">", "<= bool", "atan2"]);
        self.join(many, operator, "on (pod)", one, true)
    }

    /// With the node of each pod, or with what is told of the node.
    fn on_node(&mut self, depth: usize) -> Node {
        let info = self.instant(POD_INFO);
        if self.side == Side::Subquery || self.random.percent(50) {
            let many = if self.random.percent(50) { self.gauge() } else { self.grouped(depth, &["pod", "model_name"]) };
            self.uses(Row::GroupOfPod);
            let copied = self.random.pick(&["", "()", "(node)", " (node)"]);
            let separable = many.separable;
            let text = format!("({}) * on (pod) group_left{copied} {}", many.text, info.text);
            return Node { text, binds: Binds::Whole, additive: false, separable };
        }
        let load = self.shared(|generator| generator.instant(NODE_LOAD));
        self.uses(Row::GroupOfNoPod);
        let (info, load) = (info.text, load.text);
        let text = match self.random.below(3) {
            0 => format!("{info} - on (node) group_left () {load}"),
            1 => format!("{load} + on (node) group_right {info}"),
            _ => format!("{load} * on (node) group_right () {info}"),
        };
        Node { text, binds: Binds::Whole, additive: false, separable: true }
    }

    /// A join whose key lacks the pod: one value, or one a model, for all pods.
    fn joined_with_shared(&mut self, depth: usize, group: &[&'static str]) -> Node {
        let many = self.grouped(depth, group);
        let (key, matching) = self.key_without_pod(group);
        let one = self.shared(|generator| {
            if key == ["model_name"] && matching.starts_with("on") && generator.random.percent(40) {
                let family = generator.random.pick(&OF_NAMESPACE);
                return generator.instant(family);
            }
            generator.grouped(depth.min(1), key)
        });
        let operator = self.random.pick(&["*", "*", "/", "/", "+", "-", ">", "< bool", "%"]);
        self.join(many, operator, &matching, one, false)
    }

    fn filtered_by_shared(&mut self, depth: usize, group: &[&'static str]) -> Node {
        let left = self.grouped(depth, group);
        let (key, matching) = self.key_without_pod(group);
        let right = self.shared(|generator| {
            let any = key.is_empty() && matching.starts_with("on") && generator.random.percent(30);
            let inner = if any { generator.gauge() } else { generator.grouped(depth.min(1), key) };
            let limit = generator.random.pick(&["> 2", "< 30", ">= 0", "!= 1"]);
            Node { text: format!("({}) {limit}", inner.text), binds: Binds::Whole, ..inner }
        });
        let operator = self.random.pick(&["and", "unless"]);
        self.one_to_one(left, operator, &matching, right, false)
    }

    /// A part of `group` without the pod, and the words that match by it.
    fn key_without_pod(&mut self, group: &[&'static str]) -> (&'static [&'static str], String) {
        let of_model = group.contains(&"model_name") && self.random.percent(60);
        let key: &[&str] = if of_model { &["model_name"] } else { &[] };
        if self.random.percent(30) && !group.is_empty() {
            let mut others: Vec<_> = group.iter().copied().filter(|label| !key.contains(label)).collect();
            if !others.contains(&"pod") {
                others.push("pod");
            }
            return (key, format!("ignoring {}", self.labels(&others)));
        }
        (key, format!("on {}", self.labels(key)))
    }

    /// A vector that all pods share.
    fn shared(&mut self, generate: impl FnOnce(&mut Self) -> Node) -> Node {
        let before = self.side;
        self.side = Side::Free;
        let node = generate(self);
        self.side = before;
        match before {
            Side::Free => Node { text: format!("({})", node.text), ..node },
            Side::Spine => Node { text: format!("(⟦{}⟧)", node.text), ..node },
            Side::Subquery => unreachable!("the callers share nothing in a subquery"),
        }
    }

    /// A number that all pods share.
    pub fn scalar(&mut self) -> String {
        let before = self.side;
        self.side = Side::Free;
        let inner = match self.random.below(4) {
            0 => {
                let family = self.random.pick(&OF_NAMESPACE);
                self.instant(family)
            }
            1 => self.grouped(0, &["model_name"]),
            _ => self.grouped(1, &[]),
        };
        self.side = before;
        self.uses(Row::Scalar);
        let call = self.call("scalar", &inner.text);
        match before {
            Side::Free => call,
            Side::Spine => format!("⟪{call}⟫"),
            Side::Subquery => unreachable!("the callers share nothing in a subquery"),
        }
    }

    /// With a vector that has no labels.
    fn with_vector(&mut self, depth: usize) -> Node {
        let left = self.grouped(depth, &[]);
        let chosen = self.random.below(6);
        self.uses(if chosen == 4 { Row::Constant } else { Row::Vector });
        let number = self.random.pick(&["0", "1", "2.5"]);
        let constant =
            Node { text: format!("vector({number})"), binds: Binds::Atom, additive: false, separable: false };
        let on = self.random.pick(&["", "on ()"]);
        match chosen {
            0..3 => {
                let additive = left.additive;
                let node = self.one_to_one(left, "or", on, constant, on.is_empty());
                Node { additive, ..node }
            }
            3 => {
                let operator = self.operator();
                self.one_to_one(left, &operator, on, constant, on.is_empty())
            }
            4 => {
                let function = self.random.pick(&["minute", "hour", "day_of_week"]);
                let date = Node { text: format!("{function}()"), ..constant };
                let operator = self.operator();
                self.one_to_one(left, &operator, on, date, on.is_empty())
            }
            _ => {
                self.uses(Row::Scalar);
                let text = format!("vector(scalar({}))", left.text);
                Node { text, binds: Binds::Atom, additive: false, separable: false }
            }
        }
    }
}
