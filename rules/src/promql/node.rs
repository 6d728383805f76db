//! Our own PromQL tree: what every later step works on.
//!
//! Parentheses, comments, unary plus and the order of modifiers are gone; every node knows the bytes it was written in.
//! Two trees are equal when they mean the same text, wherever it was written: comparisons leave the spans out.

use std::time::Duration;

use super::functions::Function;
use super::scope::Scope;
use crate::place::Span;

/// An expression and where it was written.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    Number(Number),
    String(String),
    /// An instant vector.
    Selector(Selector),
    /// A selector with its range, `m[5m]`.
    Range {
        selector: Selector,
        range: Duration,
    },
    /// `e[range:step]`.
    Subquery {
        inner: Box<Node>,
        range: Duration,
        step: Option<Duration>,
        shift: Shift,
    },
    Negate(Box<Node>),
    Binary(Binary),
    Aggregate(Aggregate),
    Call {
        function: &'static Function,
        args: Vec<Node>,
    },
}

/// A number, equal to itself also when it is `NaN`.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

/// `name{matchers}` with its offset and `@`.
#[derive(Clone, Debug)]
pub struct Selector {
    pub name: String,
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    /// The name and its braces, without range, offset or `@`.
    pub span: Span,
    /// What confines it beside its matchers: nothing in what an author wrote.
    pub scope: Scope,
}

#[derive(Clone, Debug)]
pub struct Matcher {
    pub label: String,
    pub op: MatchOp,
    pub value: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
}

/// When a selector or subquery is evaluated, against the evaluation time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shift {
    /// Milliseconds back in time; negative looks ahead.
    pub offset_ms: i64,
    pub at: Option<At>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Start,
    End,
    /// Seconds since the epoch.
    Fixed(f64),
}

#[derive(Clone, Debug)]
pub struct Binary {
    pub op: BinaryOp,
    pub op_span: Span,
    pub lhs: Box<Node>,
    pub rhs: Box<Node>,
    pub matching: Matching,
    pub cardinality: Cardinality,
    /// A comparison that returns 0 or 1 instead of filtering.
    pub returns_bool: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Unless,
}

/// Which labels two elements must share to be matched.
#[derive(Clone, Debug)]
pub enum Matching {
    Default,
    On(LabelList),
    Ignoring(LabelList),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Cardinality {
    OneToOne,
    /// `group_left`: the labels copied from the right side.
    Left(LabelList),
    /// `group_right`: the labels copied from the left side.
    Right(LabelList),
}

#[derive(Clone, Debug)]
pub struct Aggregate {
    pub op: Aggregator,
    pub param: Option<Box<Node>>,
    pub inner: Box<Node>,
    pub grouping: Grouping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregator {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile,
    Topk,
    Bottomk,
    CountValues,
    Limitk,
    LimitRatio,
}

/// Which labels an aggregation keeps. No clause and an empty `by ()` mean the same: none.
#[derive(Clone, Debug)]
pub enum Grouping {
    By(LabelList),
    Without(LabelList),
}

/// Labels as written, and the clause that holds them: `by (pod)`.
#[derive(Clone, Debug, Default)]
pub struct LabelList {
    pub labels: Vec<String>,
    /// Empty when no clause was written.
    pub span: Span,
    /// The namespace and the pod of the request stand behind the labels: never in what an author wrote.
    pub with_request: bool,
}

impl Node {
    /// A node that nobody wrote: the root wrap around the author's text has the author's span.
    pub fn new(kind: NodeKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// Calls `visit` for this node and every node below it, in the order of the text.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        match &self.kind {
            NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) | NodeKind::Range { .. } => {}
            NodeKind::Subquery { inner, .. } | NodeKind::Negate(inner) => inner.visit(visit),
            NodeKind::Binary(binary) => {
                binary.lhs.visit(visit);
                binary.rhs.visit(visit);
            }
            NodeKind::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    param.visit(visit);
                }
                aggregate.inner.visit(visit);
            }
            NodeKind::Call { args, .. } => args.iter().for_each(|arg| arg.visit(visit)),
        }
    }

    /// The same tree with every selector, label list and call rewritten by `rewrite`.
    pub fn rewrite(&self, rewrite: &impl Rewrite) -> Self {
        let kind = match &self.kind {
            NodeKind::Number(_) | NodeKind::String(_) => self.kind.clone(),
            NodeKind::Selector(selector) => NodeKind::Selector(rewrite.selector(selector)),
            NodeKind::Range { selector, range } => {
                NodeKind::Range { selector: rewrite.selector(selector), range: *range }
            }
            NodeKind::Subquery { inner, range, step, shift } => NodeKind::Subquery {
                inner: Box::new(inner.rewrite(rewrite)),
                range: *range,
                step: *step,
                shift: *shift,
            },
            NodeKind::Negate(inner) => NodeKind::Negate(Box::new(inner.rewrite(rewrite))),
            NodeKind::Binary(binary) => NodeKind::Binary(Binary {
                lhs: Box::new(binary.lhs.rewrite(rewrite)),
                rhs: Box::new(binary.rhs.rewrite(rewrite)),
                matching: binary.matching.rewrite(rewrite),
                cardinality: binary.cardinality.rewrite(rewrite),
                ..binary.clone()
            }),
            NodeKind::Aggregate(aggregate) => NodeKind::Aggregate(Aggregate {
                op: aggregate.op,
                param: aggregate.param.as_ref().map(|param| Box::new(param.rewrite(rewrite))),
                inner: Box::new(aggregate.inner.rewrite(rewrite)),
                grouping: aggregate.grouping.rewrite(rewrite),
            }),
            NodeKind::Call { function, args } => {
                return rewrite.call(function, args.iter().map(|arg| arg.rewrite(rewrite)).collect(), self.span);
            }
        };
        Self { kind, span: self.span }
    }

    /// The selectors of the tree, in the order of the text.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut selectors = Vec::new();
        self.visit(&mut |node| {
            if let NodeKind::Selector(selector) | NodeKind::Range { selector, .. } = &node.kind {
                selectors.push(selector);
            }
        });
        selectors
    }
}

/// What a pass over the tree changes; the rest of the tree is copied.
pub trait Rewrite {
    fn selector(&self, selector: &Selector) -> Selector {
        selector.clone()
    }

    /// The labels of a clause.
    fn list(&self, list: &LabelList) -> LabelList;

    fn call(&self, function: &'static Function, args: Vec<Node>, span: Span) -> Node {
        Node::new(NodeKind::Call { function, args }, span)
    }
}

impl LabelList {
    /// Labels that nobody wrote.
    pub fn of(labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { labels: labels.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    pub fn contains(&self, label: &str) -> bool {
        self.labels.iter().any(|l| l == label)
    }
}

impl Matching {
    /// An empty `ignoring ()` is no clause.
    fn rewrite(&self, rewrite: &impl Rewrite) -> Self {
        match self {
            Self::Default => Self::Default,
            Self::Ignoring(list) if list.labels.is_empty() => Self::Default,
            Self::Ignoring(list) => Self::Ignoring(rewrite.list(list)),
            Self::On(list) => Self::On(rewrite.list(list)),
        }
    }
}

impl Cardinality {
    fn rewrite(&self, rewrite: &impl Rewrite) -> Self {
        match self {
            Self::OneToOne => Self::OneToOne,
            Self::Left(list) => Self::Left(rewrite.list(list)),
            Self::Right(list) => Self::Right(rewrite.list(list)),
        }
    }
}

impl Grouping {
    fn rewrite(&self, rewrite: &impl Rewrite) -> Self {
        match self {
            Self::By(list) => Self::By(rewrite.list(list)),
            Self::Without(list) => Self::Without(rewrite.list(list)),
        }
    }

    pub fn list(&self) -> &LabelList {
        match self {
            Self::By(list) | Self::Without(list) => list,
        }
    }
}

impl BinaryOp {
    pub const ALL: [Self; 16] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Mod,
        Self::Pow,
        Self::Atan2,
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::And,
        Self::Or,
        Self::Unless,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Higher binds tighter.
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }

    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual
        )
    }

    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl Aggregator {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Quantile => "quantile",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The aggregator of a name, whatever its case.
    pub fn of(name: &str) -> Option<Self> {
        const ALL: [Aggregator; 14] = [
            Aggregator::Sum,
            Aggregator::Avg,
            Aggregator::Min,
            Aggregator::Max,
            Aggregator::Count,
            Aggregator::Group,
            Aggregator::Stddev,
            Aggregator::Stdvar,
            Aggregator::Quantile,
            Aggregator::Topk,
            Aggregator::Bottomk,
            Aggregator::CountValues,
            Aggregator::Limitk,
            Aggregator::LimitRatio,
        ];
        ALL.into_iter().find(|op| op.as_str().eq_ignore_ascii_case(name))
    }
}

impl MatchOp {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::NotMatches => "!~",
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.is_nan() && other.0.is_nan())
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.matchers, self.shift, &self.scope)
            == (&other.name, &other.matchers, other.shift, &other.scope)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.op, &self.value) == (&other.label, other.op, &other.value)
    }
}

impl PartialEq for Binary {
    fn eq(&self, other: &Self) -> bool {
        (self.op, self.returns_bool, &self.matching, &self.cardinality)
            == (other.op, other.returns_bool, &other.matching, &other.cardinality)
            && self.lhs == other.lhs
            && self.rhs == other.rhs
    }
}

/// `ignoring ()` is what PromQL does without a clause.
impl PartialEq for Matching {
    fn eq(&self, other: &Self) -> bool {
        let ignored = |matching: &Self| match matching {
            Self::Default => Some(LabelList::default()),
            Self::Ignoring(list) => Some(list.clone()),
            Self::On(_) => None,
        };
        match (self, other) {
            (Self::On(a), Self::On(b)) => a == b,
            (Self::Default | Self::Ignoring(_), Self::Default | Self::Ignoring(_)) => ignored(self) == ignored(other),
            (Self::On(_), Self::Default | Self::Ignoring(_)) | (Self::Default | Self::Ignoring(_), Self::On(_)) => {
                false
            }
        }
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.grouping) == (other.op, &other.grouping)
            && self.param == other.param
            && self.inner == other.inner
    }
}

impl PartialEq for Grouping {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::By(a), Self::By(b)) | (Self::Without(a), Self::Without(b)) => a == b,
            (Self::By(_), Self::Without(_)) | (Self::Without(_), Self::By(_)) => false,
        }
    }
}

impl PartialEq for LabelList {
    fn eq(&self, other: &Self) -> bool {
        (&self.labels, self.with_request) == (&other.labels, other.with_request)
    }
}
