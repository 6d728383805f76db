//! Bring trees that mean the same into one form, so that they are one rule.
//!
//! No algebra: operands keep their order, since labels and floating point depend on it.

use super::node::{Cardinality, Grouping, LabelList, MatchOp, Matcher, Matching, Node, Rewrite, Selector};
use super::regex::alternatives;

/// Sorts what has no order, drops what says nothing, and removes the matcher on the own namespace.
pub fn normalise(node: &Node, own_namespace: Option<(&str, &str)>) -> Node {
    node.rewrite(&Normalise { own_namespace })
}

struct Normalise<'a> {
    /// The name of the namespace label and the workload's own namespace.
    own_namespace: Option<(&'a str, &'a str)>,
}

impl Rewrite for Normalise<'_> {
    fn selector(&self, selector: &Selector) -> Selector {
        let mut matchers: Vec<Matcher> = selector.matchers.iter().map(plain_matcher).collect();
        matchers.retain(|matcher| {
            let (op, pair) = (matcher.op, (matcher.label.as_str(), matcher.value.as_str()));
            !(op == MatchOp::Equal && self.own_namespace == Some(pair))
        });
        matchers.sort_by(|a, b| (&a.label, a.op, &a.value).cmp(&(&b.label, b.op, &b.value)));
        matchers.dedup();
        Selector { matchers, ..selector.clone() }
    }

    fn grouping(&self, grouping: &Grouping) -> Grouping {
        match grouping {
            Grouping::By(list) => Grouping::By(sorted(list)),
            Grouping::Without(list) => Grouping::Without(sorted(list)),
        }
    }

    fn matching(&self, matching: &Matching) -> Matching {
        match matching {
            Matching::Default => Matching::Default,
            Matching::Ignoring(list) if list.labels.is_empty() => Matching::Default,
            Matching::Ignoring(list) => Matching::Ignoring(sorted(list)),
            Matching::On(list) => Matching::On(sorted(list)),
        }
    }

    fn cardinality(&self, cardinality: &Cardinality) -> Cardinality {
        match cardinality {
            Cardinality::OneToOne => Cardinality::OneToOne,
            Cardinality::Left(list) => Cardinality::Left(sorted(list)),
            Cardinality::Right(list) => Cardinality::Right(sorted(list)),
        }
    }
}

/// A regular expression without a metacharacter is a plain value.
pub(super) fn plain_matcher(matcher: &Matcher) -> Matcher {
    let is_literal = alternatives(&matcher.value).is_some_and(|values| values.len() == 1);
    let op = match matcher.op {
        MatchOp::Matches if is_literal => MatchOp::Equal,
        MatchOp::NotMatches if is_literal => MatchOp::NotEqual,
        op @ (MatchOp::Equal | MatchOp::NotEqual | MatchOp::Matches | MatchOp::NotMatches) => op,
    };
    Matcher { op, ..matcher.clone() }
}

fn sorted(list: &LabelList) -> LabelList {
    let mut labels = list.labels.clone();
    labels.sort();
    labels.dedup();
    LabelList { labels, span: list.span }
}
