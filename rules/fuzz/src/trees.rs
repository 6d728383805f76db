//! Build a legal tree of every construct from any bytes.

use std::time::Duration;

use nimscale_rules::place::Span;
use nimscale_rules::promql::functions::{FUNCTIONS, Function, Type};
use nimscale_rules::promql::node::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Cardinality, Grouping, LabelList, MatchOp, Matcher, Matching, Node,
    NodeKind, Number, Selector, Shift,
};
use nimscale_rules::promql::scope::Scope;

/// Below the limits for an author's text, with room for what is written beside the nodes.
const NODES: usize = 40;
const SELECTORS: usize = 10;
const DEPTH: usize = 6;

/// Names that the grammar has a use for; all of them are metrics and labels too.
const NAMES: &[&str] = &[
    "x",
    "num_requests_waiting",
    "a:b",
    ":",
    "_",
    "le",
    "pod",
    "sum",
    "by",
    "without",
    "and",
    "or",
    "unless",
    "offset",
    "start",
    "end",
    "step",
    "fill",
    "group",
    "rate",
    "time",
    "count_values",
    "topk",
    "limitk",
    "e1",
    "l",
];
const PATTERNS: &[&str] = &["a|b", ".+", "(a)", "meta/.+", "\\d+", "[^\"\\\\]", "(?i)a<b", "x{2}", "\n+"];

/// The tree that these bytes say; bytes that are missing are zeros.
pub fn tree(bytes: &[u8]) -> Node {
    let mut source = Source { bytes, nodes: NODES, selectors: SELECTORS, subquery: true };
    let wanted = source.pick(&[Type::Vector, Type::Vector, Type::Scalar, Type::Matrix]);
    source.node(wanted, DEPTH)
}

struct Source<'a> {
    bytes: &'a [u8],
    /// What the tree may still have.
    nodes: usize,
    selectors: usize,
    subquery: bool,
}

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn node(&mut self, wanted: Type, depth: usize) -> Node {
        self.nodes = self.nodes.saturating_sub(1);
        let depth = if self.nodes == 0 { 0 } else { depth };
        let kind = match wanted {
            Type::Scalar => self.scalar(depth),
            Type::Vector => self.vector(depth),
            Type::Matrix => self.matrix(depth),
            Type::String => NodeKind::String(self.string()),
        };
        Node::new(kind, Span::default())
    }

    fn boxed(&mut self, wanted: Type, depth: usize) -> Box<Node> {
        Box::new(self.node(wanted, depth.saturating_sub(1)))
    }

    fn scalar(&mut self, depth: usize) -> NodeKind {
        match self.below(if depth == 0 { 1 } else { 5 }) {
            0 | 1 => NodeKind::Number(self.number()),
            2 => self.negate(Type::Scalar, depth),
            3 => self.call(&["time", "pi", "scalar"], depth),
            _ => self.binary(Type::Scalar, Type::Scalar, depth),
        }
    }

    fn vector(&mut self, depth: usize) -> NodeKind {
        if depth == 0 {
            return self.leaf();
        }
        match self.below(7) {
            0 | 1 => self.leaf(),
            2 => self.negate(Type::Vector, depth),
            3 => {
                let (lhs, rhs) = self.pick(&[
                    (Type::Vector, Type::Vector),
                    (Type::Vector, Type::Scalar),
                    (Type::Scalar, Type::Vector),
                    (Type::Vector, Type::Vector),
                ]);
                self.binary(lhs, rhs, depth)
            }
            4 => self.aggregate(depth),
            _ => {
                let returned = |function: &&Function| !matches!(function.name, "time" | "pi" | "scalar");
                // promql-parser does not know it.
                let read = |function: &&Function| function.name != "holt_winters";
                let names: Vec<&str> =
                    FUNCTIONS.iter().filter(returned).filter(read).map(|function| function.name).collect();
                self.call(&names, depth)
            }
        }
    }

    fn leaf(&mut self) -> NodeKind {
        if self.selectors == 0 {
            return self.call(&["hour"], 0);
        }
        NodeKind::Selector(self.selector())
    }

    fn matrix(&mut self, depth: usize) -> NodeKind {
        if depth == 0 || !self.subquery || self.below(4) > 0 {
            return NodeKind::Range { selector: self.selector(), range: self.range() };
        }
        self.subquery = false;
        let inner = self.boxed(Type::Vector, depth);
        let step = self.pick(&[None, Some(15), Some(60), Some(90)]).map(Duration::from_secs);
        NodeKind::Subquery { inner, range: self.range(), step, shift: self.shift() }
    }

    fn range(&mut self) -> Duration {
        Duration::from_millis(1 + self.word() % 3_600_000)
    }

    fn negate(&mut self, wanted: Type, depth: usize) -> NodeKind {
        let inner = self.boxed(wanted, depth);
        match inner.kind {
            // A minus before a number is the number's.
            NodeKind::Number(Number(value)) => NodeKind::Number(Number(-value)),
            NodeKind::String(_)
            | NodeKind::Selector(_)
            | NodeKind::Range { .. }
            | NodeKind::Subquery { .. }
            | NodeKind::Negate(_)
            | NodeKind::Binary(_)
            | NodeKind::Aggregate(_)
            | NodeKind::Call { .. } => NodeKind::Negate(inner),
        }
    }

    fn binary(&mut self, lhs: Type, rhs: Type, depth: usize) -> NodeKind {
        let of_vectors = (lhs, rhs) == (Type::Vector, Type::Vector);
        let ops: Vec<BinaryOp> = BinaryOp::ALL.into_iter().filter(|op| of_vectors || !op.is_set()).collect();
        let op = self.pick(&ops);
        let of_scalars = (lhs, rhs) == (Type::Scalar, Type::Scalar);
        let returns_bool = op.is_comparison() && (of_scalars || self.below(2) == 1);
        let (mut matching, mut cardinality) = (Matching::Default, Cardinality::OneToOne);
        if of_vectors && self.below(2) == 1 {
            let list = self.labels();
            // What is matched on is not copied.
            let mut copied = self.labels();
            copied.labels.retain(|label| !list.contains(label));
            matching = if self.below(2) == 1 { Matching::On(list) } else { Matching::Ignoring(list) };
            cardinality = match self.below(3) {
                1 if !op.is_set() => Cardinality::Left(copied),
                2 if !op.is_set() => Cardinality::Right(copied),
                _ => Cardinality::OneToOne,
            };
        }
        let (lhs, rhs) = (self.boxed(lhs, depth), self.boxed(rhs, depth));
        NodeKind::Binary(Binary { op, op_span: Span::default(), lhs, rhs, matching, cardinality, returns_bool })
    }

    fn aggregate(&mut self, depth: usize) -> NodeKind {
        use Aggregator::{
            Avg, Bottomk, Count, CountValues, Group, LimitRatio, Limitk, Max, Min, Quantile, Stddev, Stdvar, Sum, Topk,
        };
        let op = self.pick(&[Sum, Avg, Min, Max, Count, Group, Stddev, Stdvar, Quantile, Topk, Bottomk, CountValues]);
        let param = match op {
            Sum | Avg | Min | Max | Count | Group | Stddev | Stdvar => None,
            Quantile | Topk | Bottomk | Limitk | LimitRatio => Some(self.boxed(Type::Scalar, depth)),
            CountValues => Some(Box::new(Node::new(NodeKind::String(self.label()), Span::default()))),
        };
        let list = self.labels();
        let grouping = if self.below(2) == 1 { Grouping::Without(list) } else { Grouping::By(list) };
        NodeKind::Aggregate(Aggregate { op, param, inner: self.boxed(Type::Vector, depth), grouping })
    }

    fn call(&mut self, names: &[&str], depth: usize) -> NodeKind {
        let name = self.pick(names);
        let function = FUNCTIONS.iter().find(|function| function.name == name).expect("a name of the table");
        let mut wanted = function.args.to_vec();
        if let Some((optional, most)) = function.optional.filter(|_| depth > 0) {
            wanted.extend((0..self.below(most.min(3) + 1)).map(|_| optional));
        }
        let arg = |(number, wanted)| match (name, wanted) {
            // The source of `label_replace` is any text, its pattern one that is read.
            ("label_replace", Type::String) if number == 4 => {
                Node::new(NodeKind::String(self.pick(PATTERNS).to_owned()), Span::default())
            }
            ("label_replace", Type::String) if number > 1 => self.node(wanted, depth),
            ("label_join", Type::String) if number == 2 => self.node(wanted, depth),
            (_, Type::String) => Node::new(NodeKind::String(self.label()), Span::default()),
            (_, Type::Scalar | Type::Vector | Type::Matrix) => *self.boxed(wanted, depth),
        };
        NodeKind::Call { function, args: wanted.into_iter().enumerate().map(arg).collect() }
    }

    fn selector(&mut self) -> Selector {
        self.selectors = self.selectors.saturating_sub(1);
        let name = self.name();
        let matchers = (0..self.below(4)).map(|_| self.matcher()).collect();
        Selector { name, matchers, shift: self.shift(), span: Span::default(), scope: Scope::Unconfined }
    }

    fn matcher(&mut self) -> Matcher {
        let op = self.pick(&[MatchOp::Equal, MatchOp::NotEqual, MatchOp::Matches, MatchOp::NotMatches]);
        let value = match op {
            MatchOp::Equal | MatchOp::NotEqual => self.string(),
            MatchOp::Matches | MatchOp::NotMatches => self.pick(PATTERNS).to_owned(),
        };
        Matcher { label: self.label(), op, value, span: Span::default() }
    }

    fn shift(&mut self) -> Shift {
        let offset_ms =
            if self.below(4) == 1 { i64::try_from(self.word() % 86_400_000).unwrap_or_default() } else { 0 };
        let at = match self.below(8) {
            1 => Some(At::Start),
            2 => Some(At::End),
            // As a reader makes it of milliseconds.
            3 => Some(At::Fixed(Duration::from_millis(self.word() % 10_000_000_000_000).as_secs_f64())),
            _ => None,
        };
        Shift { offset_ms, at }
    }

    fn labels(&mut self) -> LabelList {
        // The one word that is a label in braces and none in a list.
        let labels = (0..self.below(4)).map(|_| self.label()).filter(|label| label != "without");
        LabelList::of(labels.collect::<Vec<_>>())
    }

    fn name(&mut self) -> String {
        match self.below(NAMES.len() + 4) {
            at if at < NAMES.len() => NAMES[at].to_owned(),
            _ => {
                let letters = b"abcdefinorstuyABINS_019:";
                let rest: String = (0..self.below(8)).map(|_| char::from(self.pick(letters))).collect();
                // Not one of the words that the grammar keeps for itself.
                format!("m{rest}")
            }
        }
    }

    fn label(&mut self) -> String {
        self.name().replace(':', "_")
    }

    fn string(&mut self) -> String {
        let characters =
            ['a', '"', '\\', '`', '\'', '\n', '\u{0}', '\u{7f}', '<', '>', '{', '#', '\u{e9}', '\u{2028}', '\u{1f980}'];
        (0..self.below(8))
            .map(|_| match self.below(4) {
                0 => char::from_u32(self.word() as u32 & 0x1f_ffff).unwrap_or('x'),
                1 => char::from(self.byte() & 0x7f),
                _ => self.pick(&characters),
            })
            .collect()
    }

    fn number(&mut self) -> Number {
        Number(match self.below(6) {
            0 => f64::from(self.byte()),
            1 => f64::from(self.byte()) / 100.0,
            2 => -f64::from(self.byte()),
            3 => self.pick(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0, 1e15, 1e-5, 5e-324, f64::MAX]),
            4 => self.word() as f64,
            _ => f64::from_bits(self.word()),
        })
    }
}
