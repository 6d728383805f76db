//! Choose kind and idle rule of an expression, name the metric, and prove its template.

mod proof;
mod root;

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::findings::Finding;
use crate::place::Span;
use crate::platform::Platform;
use crate::presets::{OnIdle, in_names_of};
use crate::promql::flow::{Analysis, Completion, Flow, analyse};
use crate::promql::node::{Node, NodeKind};
use crate::promql::reach::{Reach, reach};
use crate::promql::scope::{self, Scope};
use crate::promql::template::Template;
use crate::promql::{Limits, normalise, read};
use crate::quantity::Milli;
use crate::workload::WorkloadKind;

/// The version of the canonical form: part of every name, so that a change of it never meets an old rule.
const CANON: u32 = 1;

/// The largest overload bound, 10^13: the HPA sums thousandths of it over all pods in an `i64`.
const MAX_BOUND: u64 = 10_000_000_000_000;

/// How the HPA reads a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// One value per pod, averaged by the HPA.
    Pods,
    /// One value for a workload of this kind, divided by its replicas.
    Object(WorkloadKind),
}

/// Which kind an author asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Pods,
    Object,
}

/// How the target of one value for a workload is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// So much per replica: a total.
    PerReplica,
    /// The expression as it stands: a level, whatever the number of replicas.
    AsItStands,
}

/// One expression to compile, with what its workload and author say of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub query: &'a str,
    pub target: Milli,
    /// The workload's namespace, when it is known.
    pub namespace: Option<&'a str>,
    /// Its kind decides how its pods are called.
    pub workload: WorkloadKind,
    /// `None` leaves it to the expression's root.
    pub kind: Option<Kind>,
    /// `None` leaves it to the expression's root.
    pub reading: Option<Reading>,
    /// `None` leaves it to the expression's root.
    pub on_idle: Option<OnIdle>,
    /// The overload bound; `None` derives it from the target.
    pub bound: Option<u64>,
    pub writer: Writer,
}

/// Whose text a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// It calls the labels as the platform does.
    Author,
    /// It is the same on every platform.
    Preset,
}

impl<'a> Question<'a> {
    /// A question that leaves the rest to the expression and its target.
    pub fn new(query: &'a str, target: Milli) -> Self {
        Self {
            query,
            target,
            namespace: None,
            workload: WorkloadKind::Deployment,
            kind: None,
            reading: None,
            on_idle: None,
            bound: None,
            writer: Writer::Author,
        }
    }
}

/// One metric without its workload: equal texts of two workloads are one `Measure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// `nimscale_<slug>_<12 base32>`.
    pub name: String,
    pub kind: MetricKind,
    /// How its target is read; a value per pod is one as it stands.
    pub reading: Reading,
    pub on_idle: OnIdle,
    /// What +Inf reads as: high, and low enough for the HPA's `int32`.
    pub bound: u64,
    pub template: Template,
    /// What the name is made of, for the case that two names collide.
    slug: String,
    hash: String,
}

impl Measure {
    /// The name with more of the hash, should two texts ever share the short one.
    pub fn long_name(&self) -> String {
        format!("nimscale_{}_{}", self.slug, &self.hash[..24])
    }
}

/// What became of a [`Question`]. An error among the findings means no measure; places are in the query.
#[derive(Clone, Debug)]
pub struct Measured {
    pub measure: Option<Measure>,
    pub findings: Vec<Finding>,
    /// What was learnt of the labels, when the query could be read.
    pub flow: Option<Flow>,
    /// The aggregation that completed the root.
    pub completion: Option<Completion>,
    /// Which values it can have, where that is known.
    pub reach: Option<Reach>,
}

/// What one evaluation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub selectors: usize,
    /// The longest way back in time, offsets left out.
    pub range: Duration,
}

/// Compiles one expression.
pub fn measure(question: &Question<'_>, platform: &Platform) -> Measured {
    let node = match read(question.query, &Limits::AUTHOR) {
        Ok(node) => node,
        Err(findings) => {
            return Measured { measure: None, findings, flow: None, completion: None, reach: None };
        }
    };
    let node = match question.writer {
        Writer::Author => node,
        Writer::Preset => in_names_of(platform, &node),
    };
    let Analysis { flow, mut findings } = analyse(&node, platform, question.namespace);
    let (mut measure, mut completion) = (None, None);
    if !findings.iter().any(Finding::is_error)
        && let Some(root) = root::root(&node, &flow, question, platform, &mut findings)
    {
        completion = root.completion;
        match prove(&node, &root, question, platform) {
            Ok(proven) => measure = Some(proven),
            Err(finding) => findings.push(finding),
        }
    }
    findings.sort_by_key(|a| (a.place.bytes, a.code));
    findings.dedup();
    let reach = reach(&node);
    Measured { measure, findings, flow: Some(flow), completion, reach }
}

/// 1000 × the next power of 1000 from the target up: high enough to be overload, low enough for the HPA.
pub fn default_bound(target: Milli) -> u64 {
    let mut power = 1_u64;
    while power < target.thousandths() {
        power *= 1000;
    }
    // `power` counts thousandths, so it is 1000 × the power of 1000 in units.
    power.min(MAX_BOUND)
}

impl Cost {
    pub fn of(node: &Node) -> Self {
        Self { selectors: node.selectors().len(), range: widest(node) }
    }
}

/// The longest way back that a value of this expression looks.
fn widest(node: &Node) -> Duration {
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) => Duration::ZERO,
        NodeKind::Range { range, .. } => *range,
        NodeKind::Subquery { inner, range, .. } => *range + widest(inner),
        NodeKind::Negate(inner) => widest(inner),
        NodeKind::Binary(binary) => widest(&binary.lhs).max(widest(&binary.rhs)),
        NodeKind::Aggregate(aggregate) => {
            let param = aggregate.param.as_deref().map_or(Duration::ZERO, widest);
            param.max(widest(&aggregate.inner))
        }
        NodeKind::Call { args, .. } => args.iter().map(widest).max().unwrap_or_default(),
    }
}

/// What confines each selector of a metric's expression, name and braces, in the order of the text.
pub fn confined(node: &Node, kind: MetricKind, platform: &Platform) -> Vec<(Span, Scope)> {
    let confined = confine(node, kind, platform);
    let mut selectors: Vec<(Span, Scope)> =
        confined.selectors().into_iter().map(|selector| (selector.span, selector.scope.clone())).collect();
    selectors.sort_by_key(|(span, _)| *span);
    selectors
}

fn confine(node: &Node, kind: MetricKind, platform: &Platform) -> Node {
    match kind {
        MetricKind::Pods => scope::spine(node, platform),
        MetricKind::Object(workload) => scope::workload(node, workload, platform),
    }
}

/// Wraps, prints and names the expression, and proves that the template is what was meant.
fn prove(node: &Node, root: &root::Root, question: &Question<'_>, platform: &Platform) -> Result<Measure, Finding> {
    let own = question.namespace.map(|namespace| (platform, namespace));
    let on_idle = question.on_idle.unwrap_or_else(|| root::idle_of(node));
    let bound = question.bound.unwrap_or_else(|| default_bound(question.target));
    // Behind the wrap: it repeats a selector of the author's.
    let wrapped = normalise(&root::wrap(node.clone(), root, bound, on_idle, platform), own);
    let meant = confine(&wrapped, root.kind, platform);
    let template = match root.kind {
        MetricKind::Pods => Template::of_pods(&meant, platform),
        MetricKind::Object(workload) => Template::of_workload(&meant, workload, platform),
    };
    let metric = node.selectors().first().map_or("metric", |selector| selector.name.as_str());
    let (slug, hash) = (slug(metric), hash(&template, root.kind, platform));
    let name = format!("nimscale_{slug}_{}", &hash[..12]);
    let (kind, reading) = (root.kind, root.reading);
    let measure = Measure { name, kind, reading, on_idle, bound, template, slug, hash };
    proof::check(&measure, &meant, platform).map_err(|why| proof::unsafe_to_emit(&why, node.span))?;
    Ok(measure)
}

/// What people see of the metric in its rule's name.
fn slug(metric: &str) -> String {
    let characters = metric.chars().take(30);
    characters.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// In base32, over everything that the value depends on.
fn hash(template: &Template, kind: MetricKind, platform: &Platform) -> String {
    let labels = &platform.labels;
    let mapping = match kind {
        MetricKind::Pods => format!("Pods\nnamespace={}\npod={}", labels.namespace, labels.pod),
        MetricKind::Object(workload) => format!("Object\nnamespace={}\n{workload}", labels.namespace),
    };
    let text = format!("{CANON}\n{mapping}\n{template}");
    BASE32_NOPAD.encode(&Sha256::digest(text)).to_ascii_lowercase()
}
