//! Confine an expression to what one request may read.
//!
//! The *spine* of a per-pod expression is what its values are made of: the request's matchers in every selector, and the
//! namespace beside the pod wherever labels are kept, matched or dropped. A *broadcast* side is one value that all pods
//! share, and only its author makes one: it reads the request's namespace. An expression with one value for the whole
//! workload reads that workload's pods, and its text stays as it is. Nothing ever adds a pod label that the author dropped.

use super::functions::{Effect, function};
use super::node::{
    Aggregate, Binary, BinaryOp, Cardinality, Grouping, LabelList, MatchOp, Matcher, Matching, Node, NodeKind, Rewrite,
    Selector,
};
use super::string::go_quote;
use crate::place::Span;
use crate::platform::{Alias, LabelNames, Platform, PodLess};
use crate::workload::WorkloadKind;

/// What confines a selector beside its own matchers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: an author's own selector, or a family of the whole cluster.
    #[default]
    Unconfined,
    /// The adapter's own matchers: namespace and pods of the request.
    Request,
    /// The request's namespace, under this label.
    Namespace(String),
    /// Namespace and pods of the request, under other names than the platform's.
    Pods(LabelNames),
    /// The request's namespace and the pods of its workload, by their names.
    Workload(LabelNames, WorkloadKind),
}

/// What a selector is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Spine,
    Broadcast,
    Workload,
}

/// What the adapter is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Some pods of one namespace.
    Pods { namespace: &'a str, pods: &'a [&'a str] },
    /// A Deployment or StatefulSet by its name.
    Workload { namespace: &'a str, kind: WorkloadKind, name: &'a str },
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spine => "spine",
            Self::Broadcast => "broadcast",
            Self::Workload => "workload",
        }
    }
}

impl Scope {
    pub fn side(&self) -> Side {
        match self {
            Self::Request | Self::Pods(_) => Side::Spine,
            Self::Unconfined | Self::Namespace(_) => Side::Broadcast,
            Self::Workload(..) => Side::Workload,
        }
    }
}

impl Request<'_> {
    pub fn namespace(&self) -> &str {
        match self {
            Self::Pods { namespace, .. } | Self::Workload { namespace, .. } => namespace,
        }
    }

    /// The text that the adapter puts in place of `<<.LabelMatchers>>`: the namespace, then the object or objects, each
    /// quoted by Go.
    pub fn label_matchers(&self, platform: &Platform) -> String {
        let text = |matcher: &Matcher| format!("{}{}{}", matcher.label, matcher.op.as_str(), go_quote(&matcher.value));
        self.matchers(platform).each_ref().map(text).join(",")
    }

    /// The label that the adapter groups by.
    pub fn group<'p>(&self, platform: &'p Platform) -> &'p str {
        match self {
            Self::Pods { .. } => &platform.labels.pod,
            Self::Workload { kind, .. } => label_of(*kind),
        }
    }

    /// The value of that label in the request; several are joined as the alternatives of a regular expression.
    pub fn names(&self) -> String {
        match self {
            Self::Pods { pods, .. } => pods.join("|"),
            Self::Workload { name, .. } => (*name).to_owned(),
        }
    }

    fn matchers(&self, platform: &Platform) -> [Matcher; 2] {
        let op = match self {
            Self::Pods { pods, .. } if pods.len() != 1 => MatchOp::Matches,
            Self::Pods { .. } | Self::Workload { .. } => MatchOp::Equal,
        };
        [
            matcher(&platform.labels.namespace, MatchOp::Equal, self.namespace()),
            matcher(self.group(platform), op, &self.names()),
        ]
    }
}

/// The label by which the adapter knows a workload.
pub fn label_of(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployment",
        WorkloadKind::StatefulSet => "statefulset",
    }
}

/// What follows a workload's name in the names of its pods, as a regular expression.
///
/// A Deployment's are `<name>-<hash>-<suffix>`, both of Kubernetes' safe alphabet (apimachinery, `util/rand`): so
/// `llama-large-…` is no pod of `llama`, and neither is `llama-bench-x7k2p` of a Job.
pub fn pod_suffix(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "-[bcdf-hj-np-tv-xz2456789]{1,10}-[bcdf-hj-np-tv-xz2456789]{5}",
        WorkloadKind::StatefulSet => "-[0-9]+",
    }
}

/// Confines a per-pod expression.
pub fn spine(node: &Node, platform: &Platform) -> Node {
    Confine { platform }.node(node, Region::Spine)
}

/// Confines an expression with one value for a workload.
pub fn workload(node: &Node, kind: WorkloadKind, platform: &Platform) -> Node {
    Confine { platform }.node(node, Region::Workload(kind))
}

/// The alias of a value: of all its selectors, when they share one.
pub fn alias_of<'p>(node: &Node, platform: &'p Platform) -> Option<&'p Alias> {
    let mut aliases = node.selectors().into_iter().map(|selector| platform.alias(&selector.name));
    let first = aliases.next()??;
    aliases.all(|alias| alias == Some(first)).then_some(first)
}

/// True for a label that names the pod of a value: the platform's, or its family's own.
pub fn names_pod(label: &str, alias: Option<&Alias>, platform: &Platform) -> bool {
    label == platform.labels.pod || alias.is_some_and(|alias| label == alias.labels.pod)
}

/// Does a match compare the pods of its sides?
pub fn key_has_pod(binary: &Binary, platform: &Platform) -> bool {
    let alias = match (alias_of(&binary.lhs, platform), alias_of(&binary.rhs, platform)) {
        (Some(left), Some(right)) if left == right => Some(left),
        (Some(_) | None, Some(_) | None) => None,
    };
    match &binary.matching {
        Matching::Default => true,
        Matching::On(list) => list.labels.iter().any(|label| names_pod(label, alias, platform)),
        Matching::Ignoring(list) => !list.labels.iter().any(|label| names_pod(label, alias, platform)),
    }
}

/// Which operand is one value that all pods share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    Neither,
    Left,
    Right,
}

/// The operand that a match broadcasts: what it filters by, or joins, with a key that lacks the pod.
pub fn shared(binary: &Binary, platform: &Platform) -> Shared {
    if key_has_pod(binary, platform) {
        return Shared::Neither;
    }
    match (&binary.cardinality, binary.op) {
        (Cardinality::Left(_), _) | (Cardinality::OneToOne, BinaryOp::And | BinaryOp::Unless) => Shared::Right,
        (Cardinality::Right(_), _) => Shared::Left,
        (Cardinality::OneToOne, _) => Shared::Neither,
    }
}

#[derive(Clone, Copy)]
enum Region {
    Spine,
    Broadcast,
    Workload(WorkloadKind),
}

struct Confine<'a> {
    platform: &'a Platform,
}

impl Confine<'_> {
    fn node(&self, node: &Node, region: Region) -> Node {
        let kind = match &node.kind {
            NodeKind::Number(_) | NodeKind::String(_) => node.kind.clone(),
            NodeKind::Selector(selector) => {
                let confined = Node::new(NodeKind::Selector(self.selector(selector, region)), node.span);
                return self.with_pod(confined, &selector.name);
            }
            NodeKind::Range { selector, range } => {
                NodeKind::Range { selector: self.selector(selector, region), range: *range }
            }
            NodeKind::Subquery { inner, range, step, shift } => NodeKind::Subquery {
                inner: Box::new(self.node(inner, region)),
                range: *range,
                step: *step,
                shift: *shift,
            },
            NodeKind::Negate(inner) => NodeKind::Negate(Box::new(self.node(inner, region))),
            NodeKind::Binary(binary) => NodeKind::Binary(self.binary(binary, region)),
            NodeKind::Aggregate(aggregate) => NodeKind::Aggregate(Aggregate {
                op: aggregate.op,
                param: aggregate.param.as_ref().map(|param| Box::new(self.node(param, region))),
                inner: Box::new(self.node(&aggregate.inner, region)),
                grouping: self.grouping(aggregate, region),
            }),
            NodeKind::Call { function, args } => {
                let region = match (function.effect, region) {
                    (Effect::Scalar, Region::Spine) => Region::Broadcast,
                    (_, region) => region,
                };
                // The time of a sample is asked of its series: a label is copied behind the function.
                if let ("timestamp", [Node { kind: NodeKind::Selector(selector), span }]) = (function.name, &args[..]) {
                    let arg = Node::new(NodeKind::Selector(self.selector(selector, region)), *span);
                    let call = Node::new(NodeKind::Call { function, args: vec![arg] }, node.span);
                    return self.with_pod(call, &selector.name);
                }
                let of_range = |arg: &Node| {
                    let NodeKind::Range { selector, .. } = &arg.kind else { return None };
                    Some(selector.name.clone())
                };
                let family = args.iter().find_map(of_range);
                let args = args.iter().map(|arg| self.node(arg, region)).collect();
                let call = Node::new(NodeKind::Call { function, args }, node.span);
                return match family {
                    Some(family) => self.with_pod(call, &family),
                    None => call,
                };
            }
        };
        Node::new(kind, node.span)
    }

    fn selector(&self, selector: &Selector, region: Region) -> Selector {
        let platform = self.platform;
        let required = platform.required_matchers.iter();
        let required = required.map(|(label, value)| matcher(label, MatchOp::Equal, value));
        let matchers = selector.matchers.iter().cloned().chain(required).collect();
        let alias = platform.alias(&selector.name).map(|alias| &alias.labels);
        let names = platform.names_of(&selector.name);
        let scope = match (platform.families.get(&selector.name), region) {
            (Some(PodLess::Cluster), _) => Scope::Unconfined,
            (Some(PodLess::Namespace), _) | (None, Region::Broadcast) => Scope::Namespace(names.namespace.clone()),
            (None, Region::Workload(kind)) => Scope::Workload(names.clone(), kind),
            (None, Region::Spine) => alias.map_or(Scope::Request, |alias| Scope::Pods(alias.clone())),
        };
        Selector { matchers, scope, ..selector.clone() }
    }

    /// A value of an alias family gets its namespace and pod under the platform's names: `pod` means the same everywhere.
    fn with_pod(&self, node: Node, family: &str) -> Node {
        let Some(alias) = self.platform.alias(family) else { return node };
        let names = &self.platform.labels;
        let copied = copied(node, &alias.labels.namespace, &names.namespace);
        self::copied(copied, &alias.labels.pod, &names.pod)
    }

    fn binary(&self, binary: &Binary, region: Region) -> Binary {
        let (left, right) = match (region, shared(binary, self.platform)) {
            (Region::Spine, Shared::Left) => (Region::Broadcast, Region::Spine),
            (Region::Spine, Shared::Right) => (Region::Spine, Region::Broadcast),
            (Region::Spine | Region::Broadcast | Region::Workload(_), _) => (region, region),
        };
        Binary {
            lhs: Box::new(self.node(&binary.lhs, left)),
            rhs: Box::new(self.node(&binary.rhs, right)),
            matching: self.matching(binary, region),
            ..binary.clone()
        }
    }

    fn matching(&self, binary: &Binary, region: Region) -> Matching {
        match (&binary.matching, region, key_has_pod(binary, self.platform)) {
            (Matching::On(list), Region::Spine, true) => Matching::On(self.kept(list)),
            (Matching::Ignoring(list), Region::Spine, true) => Matching::Ignoring(self.dropped(list, None)),
            // The spine got the namespace wherever its author aggregated; the shared side may have none.
            (Matching::Ignoring(list), Region::Spine, false) => {
                let namespace = std::iter::once(&self.platform.labels.namespace);
                let others = self.dropped(list, None).labels;
                Matching::Ignoring(LabelList::of(others.iter().chain(namespace)))
            }
            (matching, Region::Spine | Region::Broadcast | Region::Workload(_), _) => matching.clone(),
        }
    }

    fn grouping(&self, aggregate: &Aggregate, region: Region) -> Grouping {
        match (&aggregate.grouping, region) {
            (Grouping::By(list), Region::Spine) => Grouping::By(self.kept(list)),
            (Grouping::Without(list), Region::Spine) => {
                Grouping::Without(self.dropped(list, alias_of(&aggregate.inner, self.platform)))
            }
            (grouping, Region::Broadcast | Region::Workload(_)) => grouping.clone(),
        }
    }

    /// A list of labels that stay or are matched: namespace and pod stand at its end.
    fn kept(&self, list: &LabelList) -> LabelList {
        let own = [&self.platform.labels.namespace, &self.platform.labels.pod];
        let others = list.labels.iter().filter(|label| !own.contains(label)).cloned().collect();
        LabelList { labels: others, span: list.span, with_request: true }
    }

    /// A list of labels that go: never the namespace; and the pod of an alias family, which is its exporter's in the
    /// author's text, has been written over.
    fn dropped(&self, list: &LabelList, alias: Option<&Alias>) -> LabelList {
        let names = &self.platform.labels;
        let stays = |label: &&String| **label != names.namespace && (alias.is_none() || **label != names.pod);
        LabelList { labels: list.labels.iter().filter(stays).cloned().collect(), ..list.clone() }
    }
}

/// `label_replace(node, "to", "$1", "from", "(.*)")`.
fn copied(node: Node, from: &str, to: &str) -> Node {
    if from == to { node } else { label_replace(node, [to, "$1", from, "(.*)"]) }
}

/// `label_replace` with its four strings.
pub fn label_replace(node: Node, strings: [&str; 4]) -> Node {
    let function = function("label_replace").expect("it is in the table");
    let span = node.span;
    let strings = strings.map(|text| Node::new(NodeKind::String(text.to_owned()), span));
    let args = std::iter::once(node).chain(strings).collect();
    Node::new(NodeKind::Call { function, args }, span)
}

fn matcher(label: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher { label: label.to_owned(), op, value: value.to_owned(), span: Span::default() }
}

/// The tree that an instantiated template must be: the confined one, with what the request says.
pub fn fill(node: &Node, request: &Request<'_>, platform: &Platform) -> Node {
    node.rewrite(&Fill { request, platform })
}

struct Fill<'a> {
    request: &'a Request<'a>,
    platform: &'a Platform,
}

impl Rewrite for Fill<'_> {
    fn selector(&self, selector: &Selector) -> Selector {
        let namespace = |label: &str| matcher(label, MatchOp::Equal, self.request.namespace());
        let scope = match &selector.scope {
            Scope::Unconfined => Vec::new(),
            Scope::Request => self.request.matchers(self.platform).to_vec(),
            Scope::Namespace(label) => vec![namespace(label)],
            Scope::Pods(names) => {
                vec![namespace(&names.namespace), matcher(&names.pod, MatchOp::Matches, &self.request.names())]
            }
            Scope::Workload(names, kind) => {
                let pods = format!("{}{}", self.request.names(), pod_suffix(*kind));
                vec![namespace(&names.namespace), matcher(&names.pod, MatchOp::Matches, &pods)]
            }
        };
        let matchers = selector.matchers.iter().cloned().chain(scope).collect();
        Selector { matchers, scope: Scope::Unconfined, ..selector.clone() }
    }

    fn list(&self, list: &LabelList) -> LabelList {
        if !list.with_request {
            return list.clone();
        }
        let own = [&*self.platform.labels.namespace, self.request.group(self.platform)];
        LabelList::of(list.labels.iter().map(String::as_str).chain(own))
    }
}
