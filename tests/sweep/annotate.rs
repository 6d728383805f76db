//! Write annotations into a manifest as a person would: into its text, all other bytes as they were.

use nimscale_rules::place::Span;
use nimscale_rules::workload::WorkloadKind;
use nimscale_rules::yaml::{Kind, Node};

/// A Deployment or StatefulSet in a text.
pub struct Workload {
    pub kind: WorkloadKind,
    pub name: String,
    pub namespace: Option<String>,
    /// Bytes of `spec.replicas` and what they say, where that is a plain number.
    pub replicas: Option<(Span, u32)>,
    place: Result<Place, &'static str>,
}

/// Where the annotations go.
enum Place {
    /// In front of the first entry of a block mapping, in its column.
    Block { at: usize, column: usize, new: bool },
    /// Behind the brace of a flow mapping.
    Flow { at: usize, new: bool, more: bool },
}

/// The workloads of a document, also inside of `List`s. `file` is the text that the spans of `root` are of.
pub fn workloads(file: &str, root: &Node) -> Vec<Workload> {
    let mut found = Vec::new();
    collect(file, root, &mut found);
    found
}

fn collect(file: &str, node: &Node, found: &mut Vec<Workload>) {
    let string = |keys: &[&str]| keys.iter().try_fold(node, |node, key| node.lookup(key))?.as_str().map(str::to_owned);
    let kind = string(&["kind"]).unwrap_or_default();
    if kind.ends_with("List") {
        node.lookup("items").into_iter().flat_map(Node::items).for_each(|item| collect(file, item, found));
    }
    let kind = WorkloadKind::of(&string(&["apiVersion"]).unwrap_or_default(), &kind);
    if let (Some(kind), Some(name)) = (kind, string(&["metadata", "name"]).filter(|name| !name.is_empty())) {
        let replicas = node.lookup("spec").and_then(|spec| spec.lookup("replicas"));
        let replicas = replicas.and_then(|replicas| Some((replicas.span, replicas.span.of(file).parse().ok()?)));
        let namespace = string(&["metadata", "namespace"]).filter(|namespace| !namespace.is_empty());
        let place = node.lookup("metadata").ok_or("no metadata").and_then(|metadata| place(file, metadata));
        found.push(Workload { kind, name, namespace, replicas, place });
    }
}

fn place(file: &str, metadata: &Node) -> Result<Place, &'static str> {
    let (mapping, new) = match metadata.lookup("annotations") {
        Some(annotations) => (annotations, false),
        None => (metadata, true),
    };
    let Kind::Mapping(entries) = &mapping.kind else { return Err("annotations that are no mapping") };
    if entries.iter().any(|(key, _)| key.as_str().is_some_and(|key| key.starts_with("nimscale.dev/"))) {
        return Err("annotated already");
    }
    if file[mapping.span.start..].starts_with('{') {
        return Ok(Place::Flow { at: mapping.span.start + 1, new, more: !entries.is_empty() });
    }
    let at = entries.first().ok_or("a mapping of nothing")?.0.span.start;
    let column = at - file[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let indented = file[at - column..at].bytes().all(|byte| byte == b' ');
    if indented { Ok(Place::Block { at, column, new }) } else { Err("a mapping that starts behind something") }
}

impl Workload {
    /// The text with the annotations in it, and where `spec.replicas` stands then.
    pub fn annotated(&self, file: &str, annotations: &[(&str, &str)]) -> Result<(String, Option<Span>), &'static str> {
        let (at, inserted) = match *self.place.as_ref().map_err(|why| *why)? {
            Place::Block { at, column, new } => (at, block(annotations, column, new, file.contains("\r\n"))),
            Place::Flow { at, new, more } => (at, flow(annotations, new, more)),
        };
        let moved = |span: Span| if span.start >= at { span.shifted(inserted.len()) } else { span };
        let text = format!("{}{inserted}{}", &file[..at], &file[at..]);
        Ok((text, self.replicas.map(|(span, _)| moved(span))))
    }
}

fn block(annotations: &[(&str, &str)], column: usize, new: bool, windows: bool) -> String {
    let outer = " ".repeat(column);
    let inner = if new { format!("{outer}  ") } else { outer.clone() };
    let mut lines = Vec::new();
    if new {
        lines.push("annotations:".to_owned());
    }
    for (key, value) in annotations {
        if value.contains('\n') {
            lines.push(format!("{inner}{key}: |"));
            lines.extend(value.lines().map(|line| format!("{inner}  {line}").trim_end().to_owned()));
        } else {
            lines.push(format!("{inner}{key}: \"{value}\""));
        }
    }
    let end = if windows { "\r\n" } else { "\n" };
    // The indentation of the first line stands there; the old first entry needs one.
    lines.iter().map(|line| format!("{line}{end}")).collect::<String>().trim_start().to_owned() + &outer
}

/// JSON, which YAML is, too.
fn flow(annotations: &[(&str, &str)], new: bool, more: bool) -> String {
    let entry = |(key, value): &(&str, &str)| format!("\"{key}\": {}", serde_json::Value::from(*value));
    let entries = annotations.iter().map(entry).collect::<Vec<_>>().join(", ");
    let inserted = if new { format!("\"annotations\": {{{entries}}}") } else { entries };
    inserted + if more { ", " } else { "" }
}
