//! Confine a per-pod expression to the pods of one request.
//!
//! In a per-pod expression every node carries the pod as its author wrote it, so confining it is: the request's matchers
//! in every selector, and the namespace beside the pod wherever labels are kept, matched or dropped. Nothing ever adds a
//! pod label that the author dropped.

use super::node::{Grouping, LabelList, MatchOp, Matcher, Matching, Node, Rewrite, Selector};
use super::string::go_quote;
use crate::place::Span;
use crate::platform::Platform;

/// What the adapter asks for: some pods of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub namespace: &'a str,
    pub pods: &'a [&'a str],
}

impl Request<'_> {
    /// The text that the adapter puts in place of `<<.LabelMatchers>>`: the namespace, then the pods, each quoted by Go.
    pub fn label_matchers(&self, platform: &Platform) -> String {
        let op = if self.pods.len() == 1 { "=" } else { "=~" };
        format!(
            "{}={},{}{op}{}",
            platform.labels.namespace,
            go_quote(self.namespace),
            platform.labels.pod,
            go_quote(&self.pods.join("|")),
        )
    }

    fn matchers(&self, platform: &Platform) -> [Matcher; 2] {
        let matcher = |label: &str, op, value: &str| Matcher {
            label: label.to_owned(),
            op,
            value: value.to_owned(),
            span: Span::default(),
        };
        let op = if self.pods.len() == 1 { MatchOp::Equal } else { MatchOp::Matches };
        [
            matcher(&platform.labels.namespace, MatchOp::Equal, self.namespace),
            matcher(&platform.labels.pod, op, &self.pods.join("|")),
        ]
    }
}

/// The tree that the instantiated template must be: the author's, confined to the request.
pub fn confine(node: &Node, request: &Request<'_>, platform: &Platform) -> Node {
    node.rewrite(&Confine { request, platform })
}

/// The labels of a `by` or `on` list without namespace and pod, which the template adds itself.
pub fn other_labels<'a>(list: &'a LabelList, platform: &Platform) -> Vec<&'a str> {
    let own = [&platform.labels.namespace, &platform.labels.pod];
    list.labels.iter().filter(|label| !own.contains(label)).map(String::as_str).collect()
}

/// The labels of a `without` or `ignoring` list that may be dropped: all but the namespace.
pub fn dropped_labels<'a>(list: &'a LabelList, platform: &Platform) -> Vec<&'a str> {
    list.labels.iter().filter(|label| **label != platform.labels.namespace).map(String::as_str).collect()
}

struct Confine<'a> {
    request: &'a Request<'a>,
    platform: &'a Platform,
}

impl Confine<'_> {
    fn kept(&self, list: &LabelList) -> LabelList {
        let labels = &self.platform.labels;
        LabelList::of(other_labels(list, self.platform).into_iter().chain([&*labels.namespace, &*labels.pod]))
    }

    fn dropped(&self, list: &LabelList) -> LabelList {
        LabelList::of(dropped_labels(list, self.platform))
    }
}

impl Rewrite for Confine<'_> {
    fn selector(&self, selector: &Selector) -> Selector {
        let required = self.platform.required_matchers.iter().map(|(label, value)| Matcher {
            label: label.clone(),
            op: MatchOp::Equal,
            value: value.clone(),
            span: Span::default(),
        });
        let scope = self.request.matchers(self.platform);
        let matchers = selector.matchers.iter().cloned().chain(required).chain(scope).collect();
        Selector { matchers, ..selector.clone() }
    }

    fn grouping(&self, grouping: &Grouping) -> Grouping {
        match grouping {
            Grouping::By(list) => Grouping::By(self.kept(list)),
            Grouping::Without(list) => Grouping::Without(self.dropped(list)),
        }
    }

    fn matching(&self, matching: &Matching) -> Matching {
        match matching {
            Matching::Default => Matching::Default,
            Matching::On(list) => Matching::On(self.kept(list)),
            Matching::Ignoring(list) => Matching::Ignoring(self.dropped(list)),
        }
    }
}
