//! Find the objects of a document, and in each what the compiler wants to know.

use std::collections::HashMap;

use nimscale_rules::keys::{Recognised, recognise};
use nimscale_rules::place::{Place, Span, Text};
use nimscale_rules::workload::{self, Annotation, Replicas, Workload, WorkloadId, WorkloadKind, is_subdomain};
use nimscale_rules::yaml::{Anchors, Kind, Node, Reading, Style, reading, token};

use super::checks::{NotString, style};

/// One object of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `None` when it lacks an apiVersion, a kind or a name: no object that anything of ours could be about.
    pub identity: Option<Identity>,
    /// JSON Pointer from the document to the object: `""` for its root, `/items/2` in a `List`.
    pub prefix: String,
    pub bytes: Span,
    /// An anchor stands in it, to which the rest of the document may refer.
    pub anchored: bool,
    pub workload: Option<Workload>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub api_version: String,
    pub kind: String,
    /// As written, else the default that was given; an object outside of namespaces may carry that one, too.
    pub namespace: Option<String>,
    pub name: String,
}

impl Object {
    /// True when the object is the document, not one of a `List`.
    pub fn is_root(&self) -> bool {
        self.prefix.is_empty()
    }
}

/// A mapping that is an object or a `List` of them.
pub(super) struct Manifest<'a> {
    pub node: &'a Node,
    pub prefix: String,
    is_list: bool,
}

/// The document's root or, if it is a `List`, that and all it lists.
pub(super) fn find(root: &Node) -> Vec<Manifest<'_>> {
    let mut found = Vec::new();
    collect(root, String::new(), &mut found);
    found
}

fn collect<'a>(node: &'a Node, prefix: String, found: &mut Vec<Manifest<'a>>) {
    if node.entries().is_empty() {
        return;
    }
    let items = node.lookup("items").filter(|items| matches!(items.kind, Kind::Sequence(_)));
    let items = items.filter(|_| node.lookup("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List")));
    found.push(Manifest { node, prefix: prefix.clone(), is_list: items.is_some() });
    for (i, item) in items.map(Node::items).unwrap_or_default().iter().enumerate() {
        collect(item, format!("{prefix}/items/{i}"), found);
    }
}

/// An entry of a mapping, with its value behind aliases and merges.
pub(super) struct Entry<'a> {
    pub key: &'a str,
    key_node: &'a Node,
    pub value: &'a Node,
    /// The alias that the value, or the whole entry, comes by.
    via: Option<Span>,
    merged: bool,
}

/// What the nodes of one document are read with.
pub(super) struct Scope<'a> {
    file: &'a str,
    doc: usize,
    anchors: Anchors<'a>,
    default_namespace: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub fn new(file: &'a str, doc: usize, root: &'a Node, default_namespace: Option<&'a str>) -> Self {
        Self { file, doc, anchors: Anchors::of(root), default_namespace }
    }

    pub fn object(&self, manifest: &Manifest<'a>) -> Option<Object> {
        if manifest.is_list {
            return None;
        }
        let Manifest { node, prefix, .. } = manifest;
        let identity = self.identity(node);
        let workload = identity.as_ref().and_then(|identity| self.workload(node, prefix, identity));
        let mut anchored = false;
        node.walk(&mut |node| anchored |= node.anchor.is_some());
        Some(Object { identity, prefix: prefix.clone(), bytes: node.span, anchored, workload })
    }

    /// The node at a path of keys, through aliases.
    pub fn at(&self, node: &'a Node, keys: &[&str]) -> Option<&'a Node> {
        keys.iter().try_fold(node, |node, key| Some(self.anchors.resolve(node.lookup(key)?)))
    }

    pub fn string(&self, node: &'a Node, keys: &[&str]) -> Option<&'a str> {
        self.at(node, keys)?.as_str().filter(|text| !text.is_empty())
    }

    /// The entries of a mapping at a path of keys. Of equal keys the last is there, and what is merged comes by `<<`.
    pub fn entries(&self, node: &'a Node, keys: &[&str]) -> Vec<Entry<'a>> {
        let Some(mapping) = self.at(node, keys) else {
            return Vec::new();
        };
        let (mut entries, mut index) = (Vec::<Entry<'a>>::new(), HashMap::new());
        let mut add = |entry: Entry<'a>| match index.get(entry.key) {
            Some(at) if !entry.merged => entries[*at] = entry,
            Some(_) => {}
            None => {
                index.insert(entry.key, entries.len());
                entries.push(entry);
            }
        };
        let is_merge = |key: &Node| key.style() == Some(Style::Plain) && key.as_str() == Some("<<");
        for (key_node, value) in mapping.entries().iter().filter(|(key, _)| !is_merge(key)) {
            if let Some(key) = key_node.as_str() {
                let via = matches!(value.kind, Kind::Alias(_)).then_some(value.span);
                add(Entry { key, key_node, value: self.anchors.resolve(value), via, merged: false });
            }
        }
        // One level: what is merged into the merged would have to be bounded.
        for (_, merged) in mapping.entries().iter().filter(|(key, _)| is_merge(key)) {
            let one = std::slice::from_ref(merged);
            for alias in if merged.items().is_empty() { one } else { merged.items() } {
                for (key_node, value) in self.anchors.resolve(alias).entries() {
                    if let Some(key) = key_node.as_str() {
                        let value = self.anchors.resolve(value);
                        add(Entry { key, key_node, value, via: Some(alias.span), merged: true });
                    }
                }
            }
        }
        entries
    }

    pub fn key_place(&self, entry: &Entry<'_>, path: String) -> Place {
        let span = if entry.merged { entry.via } else { None };
        self.place(span.unwrap_or(entry.key_node.span), path)
    }

    pub fn value_place(&self, entry: &Entry<'_>, path: String) -> Place {
        self.place(entry.via.unwrap_or(entry.value.span), path)
    }

    pub fn place(&self, bytes: Span, path: String) -> Place {
        Place { doc: self.doc, bytes, path, exact: true }
    }

    fn identity(&self, node: &'a Node) -> Option<Identity> {
        let namespace = self.string(node, &["metadata", "namespace"]).or(self.default_namespace);
        Some(Identity {
            api_version: self.string(node, &["apiVersion"])?.to_owned(),
            kind: self.string(node, &["kind"])?.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: self.string(node, &["metadata", "name"])?.to_owned(),
        })
    }

    fn workload(&self, node: &'a Node, prefix: &str, identity: &Identity) -> Option<Workload> {
        let kind = WorkloadKind::of(&identity.api_version, &identity.kind).filter(|_| is_subdomain(&identity.name))?;
        let id = WorkloadId { namespace: identity.namespace.clone(), name: identity.name.clone(), kind };
        let path = format!("{prefix}/metadata/annotations");
        let all = self.entries(node, &["metadata", "annotations"]);
        let bytes = |entry: &Entry<'_>| entry.key.len() + entry.value.as_str().map_or(0, str::len);
        let annotation_bytes = all.iter().map(bytes).sum();
        let mut annotations: Vec<Annotation> =
            all.iter().filter_map(|entry| self.annotation(entry, format!("{path}/{}", token(entry.key)))).collect();
        annotations.sort_by(|a, b| a.key.cmp(&b.key));
        let metadata = self.at(node, &["metadata"]);
        let key = metadata.and_then(|metadata| metadata.entry("annotations")).or_else(|| node.entry("metadata"));
        let annotations_place = self.place(key.map_or(node.span, |(key, _)| key.span), path);
        let replicas = self.replicas(node, prefix);
        let facts = self.facts(node);
        let (labels, owner, pods) = (facts.metadata.labels.clone(), facts.owner(), facts.pods());
        Some(Workload { id, replicas, annotations, annotation_bytes, annotations_place, labels, owner, pods })
    }

    /// What the object says beside its annotations, as the API would read it; nothing at all where it would not.
    fn facts(&self, node: &'a Node) -> workload::Object {
        let json = self.json(node, 0, &mut 0);
        json.and_then(|json| serde_json::from_value(json).ok()).unwrap_or_default()
    }

    /// A node as JSON, its aliases followed. `None` where no manifest is so deep or large: aliases multiply, and
    /// may stand inside of what they name.
    fn json(&self, node: &'a Node, depth: usize, nodes: &mut usize) -> Option<serde_json::Value> {
        const DEEPEST: usize = 100;
        const MOST_NODES: usize = 100_000;
        *nodes += 1;
        if depth > DEEPEST || *nodes > MOST_NODES {
            return None;
        }
        let node = self.anchors.resolve(node);
        Some(match &node.kind {
            Kind::Scalar { value, style } => match reading(value) {
                _ if *style != Style::Plain || node.tag.is_some() => value.as_str().into(),
                Reading::String | Reading::Boolean if value != "true" && value != "false" => value.as_str().into(),
                Reading::String | Reading::Boolean => (value == "true").into(),
                Reading::Number => value.parse::<serde_json::Number>().map_or(value.as_str().into(), Into::into),
                Reading::Null => serde_json::Value::Null,
            },
            Kind::Sequence(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| self.json(item, depth + 1, nodes)).collect();
                items?.into()
            }
            Kind::Mapping(_) => {
                let entries = self.entries(node, &[]).into_iter();
                let mut map = serde_json::Map::new();
                for entry in entries {
                    let value = self.json(entry.value, depth + 1, nodes)?;
                    // The API leaves out what is null, and takes it for absent.
                    if !value.is_null() {
                        map.insert(entry.key.to_owned(), value);
                    }
                }
                map.into()
            }
            Kind::Alias(_) => serde_json::Value::Null,
        })
    }

    /// An annotation of ours; none if it has no text, which `checks` has something to say about.
    fn annotation(&self, entry: &Entry<'a>, path: String) -> Option<Annotation> {
        match recognise(entry.key) {
            Recognised::Foreign => None,
            Recognised::Key(_) | Recognised::Unknown => {
                let value = match entry.via {
                    None => entry.value.text(self.file, self.doc, path.clone())?,
                    Some(via) => Text::decoded(entry.value.as_str()?.to_owned(), self.doc, path.clone(), None, via),
                };
                let key_place = self.key_place(entry, path);
                Some(Annotation { key: entry.key.to_owned(), key_place, value })
            }
        }
        .filter(|_| style(entry.value) != Some(NotString::Null))
    }

    /// `spec.replicas`, if it is what the API takes: a plain decimal number.
    fn replicas(&self, node: &'a Node, prefix: &str) -> Option<Replicas> {
        let spec = self.at(node, &["spec"])?;
        // An anchored number stands for others too: it is not ours to change.
        let written = spec.lookup("replicas").filter(|written| written.anchor.is_none())?;
        let value = self.anchors.resolve(written);
        let digits = value.as_str().filter(|_| value.style() == Some(Style::Plain) && value.tag.is_none())?;
        let plain = digits == "0" || !digits.starts_with(['0', '+']);
        let count = digits.parse().ok().filter(|_| plain)?;
        Some(Replicas { count, place: self.place(written.span, format!("{prefix}/spec/replicas")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use nimscale_rules::yaml::read;

    fn objects(file: &str) -> Vec<Object> {
        let root = read(file, Span::new(0, file.len()), 0).expect("yaml").expect("a document");
        let scope = Scope::new(file, 0, &root, None);
        find(&root).iter().filter_map(|manifest| scope.object(manifest)).collect()
    }

    fn workload(file: &str) -> Workload {
        objects(file).remove(0).workload.expect("a workload")
    }

    const HEAD: &str = "apiVersion: apps/v1\nkind: Deployment\n";

    #[test]
    fn annotations_know_their_places() {
        let file = format!(
            "{HEAD}metadata:\n  name: a\n  annotations:\n    other: x\n    \"nimscale.dev/scale\": '1..8'\n    \
             nimscale.dev/keep: |\n\n      # é\n      a < 1\n    x.nimscale.dev/y: z\n"
        );
        let workload = workload(&file);
        let keys: Vec<_> = workload.annotations.iter().map(|annotation| annotation.key.as_str()).collect();
        assert_eq!(keys, ["nimscale.dev/keep", "nimscale.dev/scale", "x.nimscale.dev/y"]);
        let keep = workload.annotation("keep").expect("keep");
        assert_eq!(keep.value.as_str(), "\n# é\na < 1\n");
        let place = keep.value.place(Span::new(6, 7));
        assert_eq!((place.bytes.of(&file), place.exact), ("a", true));
        assert_eq!(place.path, "/metadata/annotations/nimscale.dev~1keep");
        let scale = workload.annotation("scale").expect("scale");
        assert_eq!(scale.value.whole().bytes.of(&file), "1..8");
        assert_eq!(scale.key_place.bytes.of(&file), "\"nimscale.dev/scale\"");
        assert_eq!(workload.annotations_place.bytes.of(&file), "annotations");
        assert_eq!(workload.annotation_bytes, 6 + 22 + 29 + 17);
    }

    #[test]
    fn replicas_are_a_plain_number() {
        let count =
            |value: &str| workload(&format!("{HEAD}metadata: {{name: a}}\nspec: {{replicas: {value}}}\n")).replicas;
        for (value, expected) in [("0", 0), ("3", 3), ("4294967295", u32::MAX)] {
            assert_eq!(count(value).map(|replicas| replicas.count), Some(expected));
        }
        for value in ["", "~", "-1", "+1", "010", "\"3\"", "&r 3", "1.5", "4294967296", "[1]", "*x", "!!str 3"] {
            let file = format!("x: &x {{}}\n{HEAD}metadata: {{name: a}}\nspec: {{replicas: {value}}}\n");
            assert_eq!(workload(&file).replicas, None, "{value}");
        }
    }

    #[test]
    fn aliases_and_merges_are_followed_and_pointed_at_whole() {
        let file = format!(
            "x-common: &common\n  nimscale.dev/scale: auto\n  nimscale.dev/mode: observe\nx-keep: &keep a < 1\n{HEAD}\
             metadata:\n  name: a\n  annotations:\n    <<: *common\n    nimscale.dev/keep: *keep\n    nimscale.dev/mode: enforce\n"
        );
        let workload = workload(&file);
        let value = |name: &str| {
            let annotation = workload.annotation(name)?;
            Some((
                annotation.value.as_str(),
                annotation.value.whole().bytes.of(&file),
                annotation.key_place.bytes.of(&file),
            ))
        };
        assert_eq!(value("scale"), Some(("auto", "*common", "*common")));
        assert_eq!(value("keep"), Some(("a < 1", "*keep", "nimscale.dev/keep")));
        assert_eq!(value("mode"), Some(("enforce", "enforce", "nimscale.dev/mode")));
        let keep = workload.annotation("keep").expect("keep");
        assert!(!keep.value.place(Span::new(0, 1)).exact);
    }

    #[test]
    fn lists_nest_and_what_has_no_identity_is_an_object_all_the_same() {
        let file = "kind: List\nitems:\n- {kind: PodList, items: [{kind: Pod}, 7, &x [*x]]}\n- &me {kind: List, items: [*me]}\n- x: 1\n";
        let found: Vec<_> = objects(file).iter().map(|object| (object.prefix.clone(), object.bytes.of(file))).collect();
        assert_eq!(found, [("/items/0/items/0".into(), "{kind: Pod}"), ("/items/2".into(), "x: 1")]);
        assert!(objects(file).iter().all(|object| object.identity.is_none() && object.workload.is_none()));
        assert_eq!(objects("- a\n"), []);
        assert_eq!(objects("apiVersion: v1\nkind: ConfigMapList\nitems: []\n"), []);
        assert_eq!(
            objects("apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: a}\n")[0].workload,
            None
        );
    }
}
