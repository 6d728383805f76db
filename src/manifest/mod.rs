//! Split files and streams into documents, open `List`s, hand untouched bytes back.

mod checks;
mod objects;
mod rewrite;
mod split;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nimscale_rules::findings::{Code, Finding};
use nimscale_rules::place::{Place, Span};
use nimscale_rules::yaml::{self, Node};
use walkdir::WalkDir;

pub use objects::{Identity, Object};
pub use rewrite::rewrite;
pub use split::split;

/// Bytes of one file. The API server takes 1.5 MiB an object; the largest `List`s people keep are a few MiB.
const MAX_BYTES: u64 = 32 << 20;

/// Files of all folders together: a wrong path, such as `/`, ends soon and says why.
const MAX_FILES: usize = 10_000;

/// The name of the standard input, where a file would have its path.
const STDIN: &str = "-";

/// What was read, and what could not be read.
#[derive(Debug, Default)]
pub struct Manifests {
    pub files: Vec<File>,
    pub failures: Vec<Failure>,
}

/// A file that could not be read, or not as text.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub name: String,
    pub reason: String,
}

#[derive(Debug)]
pub struct File {
    /// As given, or as found under a folder that was given.
    pub name: String,
    pub text: String,
    /// Side by side: their bytes cover the text.
    pub documents: Vec<Document>,
}

#[derive(Debug)]
pub struct Document {
    /// 0-based.
    pub index: usize,
    pub bytes: Span,
    /// The object, or those of a `List`; none when the document was not read or holds something else.
    pub objects: Vec<Object>,
    /// What only a file can have wrong. What is wrong in our annotations, the compiler says.
    pub findings: Vec<Finding>,
}

/// Reads files, folders (their `.yaml`, `.yml` and `.json` files, sorted) and `-`, the standard input, as ordered.
///
/// A failure stops nothing: what else is there is read.
pub fn read(paths: &[PathBuf], default_namespace: Option<&str>) -> Manifests {
    let mut manifests = Manifests::default();
    for path in paths {
        if path == Path::new("-") {
            manifests.add(STDIN.to_owned(), text(io::stdin().lock()), default_namespace);
        } else if path.is_dir() {
            manifests.add_folder(path, default_namespace);
        } else {
            manifests.add_file(path, default_namespace);
        }
    }
    manifests
}

impl Manifests {
    fn add_folder(&mut self, folder: &Path, default_namespace: Option<&str>) {
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() && is_manifest(entry.path()) => {
                    if self.files.len() >= MAX_FILES {
                        let reason = format!("more than {MAX_FILES} manifests");
                        self.failures.push(Failure { name: folder.display().to_string(), reason });
                        return;
                    }
                    self.add_file(entry.path(), default_namespace);
                }
                Ok(_) => {}
                Err(error) => {
                    let name = error.path().unwrap_or(folder).display().to_string();
                    self.failures.push(Failure { name, reason: error.to_string() });
                }
            }
        }
    }

    fn add_file(&mut self, path: &Path, default_namespace: Option<&str>) {
        self.add(path.display().to_string(), fs::File::open(path).and_then(text), default_namespace);
    }

    fn add(&mut self, name: String, text: io::Result<String>, default_namespace: Option<&str>) {
        match text {
            Ok(text) => self.files.push(File::new(name, text, default_namespace)),
            Err(error) => self.failures.push(Failure { name, reason: error.to_string() }),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to read {}: {}", self.name, self.reason)
    }
}

impl File {
    pub fn new(name: String, text: String, default_namespace: Option<&str>) -> Self {
        let whole = Span::new(0, text.len());
        let spans = if has_extension(Path::new(&name), &["json"]) { vec![whole] } else { split(&text) };
        let document = |(index, bytes)| Document::read(&text, bytes, index, default_namespace);
        let documents = spans.into_iter().enumerate().map(document).collect();
        Self { name, text, documents }
    }
}

impl Document {
    fn read(file: &str, bytes: Span, index: usize, default_namespace: Option<&str>) -> Self {
        let unread = |finding: Option<Finding>| Self {
            index,
            bytes,
            objects: Vec::new(),
            findings: finding.into_iter().collect(),
        };
        let template = bytes.of(file).find("{{").map(|at| {
            let braces = Span::new(bytes.start + at, bytes.start + at + 2);
            let place = Place { doc: index, bytes: braces, path: String::new(), exact: true };
            Finding::new(Code::Ns0162, place, "template text: this document was not checked")
                .help("helm template . | nimscale lint -")
        });
        match yaml::read(file, bytes, index) {
            Err(finding) => unread(Some(template.unwrap_or(finding))),
            Ok(Some(root)) if template.is_some() && has_mapping_as_key(&root) => unread(template),
            Ok(None) => unread(None),
            Ok(Some(root)) => {
                let scope = objects::Scope::new(file, index, &root, default_namespace);
                let found = objects::find(&root);
                let mut findings = Vec::new();
                for manifest in &found {
                    checks::check(&scope, manifest, &mut findings);
                }
                if checks::carries_our_keys(&root) {
                    checks::duplicates(&scope, &root, &mut findings);
                }
                findings.sort_by_key(|finding| finding.place.bytes);
                let objects = found.iter().filter_map(|manifest| scope.object(manifest)).collect();
                Self { index, bytes, objects, findings }
            }
        }
    }
}

/// `{{ .Values.x }}` is YAML after all: a mapping whose key is a mapping.
fn has_mapping_as_key(root: &Node) -> bool {
    let mut any = false;
    root.walk(&mut |node| any |= node.entries().iter().any(|(key, _)| !key.entries().is_empty()));
    any
}

fn text(input: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("more than {} MiB", MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes)
        .map_err(|error| io::Error::other(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))
}

fn is_manifest(path: &Path) -> bool {
    has_extension(path, &["yaml", "yml", "json"])
}

fn has_extension(path: &Path, any: &[&str]) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| any.contains(&extension))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, text: &str) -> File {
        File::new(name.into(), text.into(), None)
    }

    fn codes(document: &Document) -> Vec<&'static str> {
        document.findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    fn names(document: &Document) -> Vec<&str> {
        document.objects.iter().map(|object| object.identity.as_ref().map_or("", |id| id.name.as_str())).collect()
    }

    #[test]
    fn one_bad_document_loses_only_itself() {
        let file = file(
            "a.yaml",
            "apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\na: [\n---\nx: {{ .Values.x }}\n---\n\
             {{- if x }}\nnimscale.dev/scale: auto\n---\n# nothing\n---\napiVersion: v1\nkind: B\nmetadata: {name: b}\n",
        );
        assert_eq!(file.documents.iter().map(|doc| doc.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        let all: Vec<_> = file.documents.iter().map(|doc| (names(doc), codes(doc))).collect();
        assert_eq!(all[0], (vec!["a"], vec![]));
        assert_eq!(all[1], (vec![], vec!["NS0161"]));
        assert_eq!(all[2], (vec![], vec!["NS0162"]));
        assert_eq!(all[3], (vec![], vec!["NS0162"]));
        assert_eq!(all[4], (vec![], vec![]));
        assert_eq!(all[5], (vec!["b"], vec![]));
        let template = &file.documents[2].findings[0];
        assert_eq!(template.place.bytes.of(&file.text), "{{");
    }

    #[test]
    fn json_is_one_document_and_may_be_a_list() {
        let text = "{\n\t\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"A\",\n\
                    \t\t\t\"metadata\": {\"name\": \"\\u0061\"}}\n\t]\n}\n";
        let file = file("a.json", text);
        assert_eq!(file.documents.len(), 1);
        assert_eq!(file.documents[0].bytes, Span::new(0, text.len()));
        assert_eq!(names(&file.documents[0]), ["a"]);
        assert!(file.documents[0].objects[0].bytes.of(text).starts_with("{\"apiVersion\": \"v1\", \"kind\": \"A\""));
        assert_eq!(codes(&File::new("a.json".into(), "{\"a\": 1".into(), None).documents[0]), ["NS0161"]);
    }

    #[test]
    fn replicas_are_rewritten_where_they_stand() {
        let text = "\u{feff}# web\r\napiVersion: apps/v1\r\nkind: Deployment\r\nmetadata: {name: a}\r\nspec:\r\n  \
                    replicas: 2 # two\r\n---\r\napiVersion: v1\r\nkind: List\r\nitems:\r\n- apiVersion: apps/v1\r\n  \
                    kind: StatefulSet\r\n  metadata: {name: b, namespace: n}\r\n  spec: {replicas: 3}\r\n";
        let file = File::new("a.yaml".into(), text.into(), Some("default"));
        let objects: Vec<&Object> = file.documents.iter().flat_map(|doc| &doc.objects).collect();
        let identity = |kind: &str, namespace: &str, name: &str| Identity {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            namespace: Some(namespace.into()),
            name: name.into(),
        };
        assert_eq!(objects[0].identity, Some(identity("Deployment", "default", "a")));
        assert_eq!(objects[1].identity, Some(identity("StatefulSet", "n", "b")));
        assert_eq!((objects[0].is_root(), objects[1].prefix.as_str()), (true, "/items/0"));
        let replicas = |object: &&Object| object.workload.clone().and_then(|workload| workload.replicas);
        let places: Vec<_> = objects.iter().filter_map(replicas).map(|replicas| replicas.place).collect();
        assert_eq!(places[1].path, "/items/0/spec/replicas");
        let edits = places.into_iter().map(|place| (place.bytes, "10".to_owned())).collect();
        let expected = text.replace("replicas: 2", "replicas: 10").replace("replicas: 3", "replicas: 10");
        assert_eq!(rewrite(&file.text, edits), expected);
    }

    #[test]
    fn folders_are_read_in_order_and_failures_stop_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).expect("a folder");
        for name in ["b.yaml", "a.yml", "c.json", "ignored.txt", "sub/d.yaml"] {
            fs::write(at(name), "{}").expect("a file");
        }
        fs::write(at("bad.yaml"), b"a: \xff").expect("a file");
        let read = read(&[at("c.json"), folder.path().into(), at("missing.yaml"), at("ignored.txt")], None);
        let names: Vec<_> = read.files.iter().map(|file| PathBuf::from(&file.name)).collect();
        assert_eq!(names, ["c.json", "a.yml", "b.yaml", "c.json", "sub/d.yaml", "ignored.txt"].map(at));
        let failed: Vec<_> = read.failures.iter().map(ToString::to_string).collect();
        assert_eq!(failed[0], format!("failed to read {}: not UTF-8 at byte 3", at("bad.yaml").display()));
        assert!(failed[1].contains("missing.yaml"), "{failed:?}");
    }

    #[test]
    fn input_has_a_limit() {
        assert!(text(io::repeat(b' ')).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_file(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "apiVersion: apps/v1\n", "kind: Deployment\n", "kind: List\n", "metadata:\n", "  name: a\n",
                    "  annotations: ", "nimscale.dev/scale: ", "    nimscale.dev/keep: |\n", "      é < 1\n", "items:\n",
                    "- ", "  ", "\n", "\r\n", "---\n", "...\n", "{", "}", "[", "]", "&x ", "*x", "<<: ", "{{", "}}", "off", "'",
                    "\"", "#", "\u{feff}", "spec: {replicas: 1}\n", "!!str ", "%",
                ]),
                0..24,
            ),
        ) {
            let file = file("a.yaml", &parts.concat());
            let joined: String = file.documents.iter().map(|document| document.bytes.of(&file.text)).collect();
            prop_assert_eq!(joined, parts.concat());
            for document in &file.documents {
                for object in &document.objects {
                    object.bytes.of(&file.text);
                }
                for finding in &document.findings {
                    finding.place.bytes.of(&file.text);
                }
            }
        }
    }
}
