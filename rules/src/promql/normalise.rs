//! Bring trees that mean the same into one form, so that they are one rule.
//!
//! No algebra: operands keep their order, since labels and floating point depend on it.

use super::functions::{Effect, Function};
use super::node::{LabelList, MatchOp, Matcher, Node, NodeKind, Rewrite, Selector};
use super::regex::alternatives;
use crate::place::Span;
use crate::platform::Platform;

/// Sorts what has no order, drops what says nothing, and removes the matcher on the own namespace.
pub fn normalise(node: &Node, own_namespace: Option<(&Platform, &str)>) -> Node {
    node.rewrite(&Normalise { own_namespace })
}

struct Normalise<'a> {
    /// The workload's own namespace.
    own_namespace: Option<(&'a Platform, &'a str)>,
}

impl Normalise<'_> {
    /// A matcher that the request brings anyway.
    fn is_own(&self, family: &str, matcher: &Matcher) -> bool {
        self.own_namespace.is_some_and(|(platform, own)| {
            let label = platform.names_of(family).namespace == matcher.label;
            label && matcher.op == MatchOp::Equal && matcher.value == own
        })
    }
}

impl Rewrite for Normalise<'_> {
    fn selector(&self, selector: &Selector) -> Selector {
        let mut matchers: Vec<Matcher> = selector.matchers.iter().map(plain_matcher).collect();
        matchers.retain(|matcher| !self.is_own(&selector.name, matcher));
        matchers.sort_by(|a, b| (&a.label, a.op, &a.value).cmp(&(&b.label, b.op, &b.value)));
        matchers.dedup();
        Selector { matchers, ..selector.clone() }
    }

    fn list(&self, list: &LabelList) -> LabelList {
        let mut labels = list.labels.clone();
        labels.sort();
        labels.dedup();
        LabelList { labels, ..list.clone() }
    }

    /// An instant vector has no order.
    fn call(&self, function: &'static Function, mut args: Vec<Node>, span: Span) -> Node {
        let [arg] = &mut args[..] else { return Node::new(NodeKind::Call { function, args }, span) };
        // A selector under `timestamp` is asked for the time of its sample; as a sorted vector it is not.
        let of_selector = matches!(arg.kind, NodeKind::Selector(_));
        if function.effect == Effect::Sort && !of_selector {
            return args.swap_remove(0);
        }
        Node::new(NodeKind::Call { function, args }, span)
    }
}

/// A regular expression without a metacharacter is a plain value.
pub fn plain_matcher(matcher: &Matcher) -> Matcher {
    let (op, value) = match (matcher.op, alternatives(&matcher.value).as_deref()) {
        (MatchOp::Matches, Some([value])) => (MatchOp::Equal, *value),
        (MatchOp::NotMatches, Some([value])) => (MatchOp::NotEqual, *value),
        (op @ (MatchOp::Equal | MatchOp::NotEqual | MatchOp::Matches | MatchOp::NotMatches), _) => {
            (op, matcher.value.as_str())
        }
    };
    Matcher { op, value: value.to_owned(), ..matcher.clone() }
}
