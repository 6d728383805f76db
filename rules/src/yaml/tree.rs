//! Read one document into a tree in which every node knows its bytes of the file.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, Tag};

use super::scalar;
use crate::findings::{Code, Finding, cut};
use crate::place::{Place, Span, Text};

/// How deep a document may nest. Real manifests stay under 20; walking a tree recurses, and must not end in the stack.
const DEPTH: usize = 100;

/// A node of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Bytes of the file. Of a block scalar: from its first character that is no indentation.
    pub span: Span,
    /// The resolved tag, such as `tag:yaml.org,2002:str`; `!` for the one that only says "not plain".
    pub tag: Option<String>,
    /// Set when the node has an anchor; [`Kind::Alias`] refers to it.
    pub anchor: Option<usize>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An absent value is a plain scalar without a text.
    Scalar {
        value: String,
        style: Style,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    Alias(usize),
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// Reads the document in the given bytes of `text`, the `doc`th of its file; `None` when there is nothing in it.
pub fn read(text: &str, bytes: Span, doc: usize) -> Result<Option<Node>, Finding> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let parser = Parser::new_from_str_with_options(bytes.of(text), options);
    Reader { parser, text, bytes, doc }.document()
}

/// One step of a JSON Pointer.
pub fn token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl Node {
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { value, .. } => Some(value),
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_) => None,
        }
    }

    pub fn style(&self) -> Option<Style> {
        match &self.kind {
            Kind::Scalar { style, .. } => Some(*style),
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_) => None,
        }
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            Kind::Scalar { .. } | Kind::Sequence(_) | Kind::Alias(_) => &[],
        }
    }

    /// The items of a sequence; none for anything else.
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar { .. } | Kind::Mapping(_) | Kind::Alias(_) => &[],
        }
    }

    /// The entry with this key. The last one, should there be several: that is the one that counts in a cluster.
    pub fn entry(&self, key: &str) -> Option<&(Self, Self)> {
        self.entries().iter().rev().find(|(k, _)| k.as_str() == Some(key))
    }

    pub fn lookup(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The node at a JSON Pointer, `""` being this one. Aliases are not followed.
    #[cfg(test)]
    pub fn pointer(&self, pointer: &str) -> Option<&Self> {
        let Some(pointer) = pointer.strip_prefix('/') else {
            return pointer.is_empty().then_some(self);
        };
        pointer.split('/').try_fold(self, |node, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            node.lookup(&step).or_else(|| node.items().get(step.parse::<usize>().ok()?))
        })
    }

    /// This node and all below it, in the order of the document.
    pub fn walk<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        for (key, value) in self.entries() {
            key.walk(see);
            value.walk(see);
        }
        for item in self.items() {
            item.walk(see);
        }
    }

    /// The value of a scalar, and the way from its bytes back to the `file` that it was read from.
    pub fn text(&self, file: &str, doc: usize, path: String) -> Option<Text> {
        let Kind::Scalar { value, style } = &self.kind else {
            return None;
        };
        let map = scalar::map(file, self.span, *style, value);
        Some(Text::decoded(value.clone(), doc, path, map, self.span))
    }
}

/// The nodes of a document that aliases refer to.
#[derive(Debug)]
pub struct Anchors<'a>(HashMap<usize, &'a Node>);

impl<'a> Anchors<'a> {
    pub fn of(root: &'a Node) -> Self {
        let mut anchors = HashMap::new();
        root.walk(&mut |node| {
            if let Some(anchor) = node.anchor {
                anchors.insert(anchor, node);
            }
        });
        Self(anchors)
    }

    /// What an alias stands for; any other node is itself.
    pub fn resolve(&self, node: &'a Node) -> &'a Node {
        match &node.kind {
            Kind::Alias(anchor) => self.0.get(anchor).copied().unwrap_or(node),
            Kind::Scalar { .. } | Kind::Sequence(_) | Kind::Mapping(_) => node,
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    bytes: Span,
    doc: usize,
}

// The parser's events are open to extension: what is none of ours is no node.
#[expect(clippy::wildcard_enum_match_arm, reason = "granit_parser::Event is non-exhaustive")]
impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Option<Node>, Finding> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::DocumentStart(..) if root.is_none() => {}
                Event::DocumentStart(..) => return Err(self.refuse(span, "a second document")),
                event if event.is_node() => root = Some(self.node(event, span, 0)?),
                _ => {}
            }
        }
        // A document that is only `---` has one absent value, which is the same as having nothing.
        Ok(root.filter(|node| !(node.span.is_empty() && node.tag.is_none() && node.as_str() == Some(""))))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Finding> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok(Some((event, Span::new(range.start, range.end.max(range.start)).shifted(self.bytes.start))))
            }
            Some(Err(error)) => Err(self.syntax(&error)),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Finding> {
        if depth > DEPTH {
            return Err(self.refuse(span, &format!("nested deeper than {DEPTH} levels")));
        }
        let anchor = event.anchor_id();
        let tag = event.tag().map(tag);
        let node = |span, kind| Node { span, tag, anchor, kind };
        Ok(match event {
            Event::Scalar(value, style, ..) => {
                let style = Style::from(style);
                // The parser says `~` where nothing is written.
                let absent = style == Style::Plain && span.is_empty();
                let value = if absent { String::new() } else { value.into_owned() };
                node(span, Kind::Scalar { value, style })
            }
            Event::SequenceStart(style, ..) => {
                let (mut items, mut end) = (Vec::new(), span);
                while let Some((event, inner)) = self.inside(&mut end, style)? {
                    let item = self.node(event, inner, depth + 1)?;
                    end = end.to(item.span);
                    items.push(item);
                }
                node(span.to(end), Kind::Sequence(items))
            }
            Event::MappingStart(style, ..) => {
                let (mut entries, mut end) = (Vec::new(), span);
                while let Some((event, inner)) = self.inside(&mut end, style)? {
                    let key = self.node(event, inner, depth + 1)?;
                    let Some((event, inner)) = self.inside(&mut end, style)? else {
                        return Err(self.refuse(key.span, "a key without a value"));
                    };
                    let value = self.node(event, inner, depth + 1)?;
                    end = end.to(key.span).to(value.span);
                    entries.push((key, value));
                }
                node(span.to(end), Kind::Mapping(entries))
            }
            Event::Alias(id) => node(span, Kind::Alias(id)),
            _ => return Err(self.refuse(span, "a value is missing")),
        })
    }

    /// The next node inside a collection, or `None` at its end. A block collection has no end of its own: the parser
    /// puts it at whatever comes next, so it ends with its last node.
    fn inside(&mut self, end: &mut Span, style: StructureStyle) -> Result<Option<(Event<'a>, Span)>, Finding> {
        match self.next()? {
            Some((event, span)) if event.is_node() => Ok(Some((event, span))),
            Some((_, span)) => {
                if style == StructureStyle::Flow {
                    *end = end.to(span);
                }
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn syntax(&self, error: &ScanError) -> Finding {
        let mut at = (self.bytes.start + error.marker().byte_offset().unwrap_or(0)).min(self.bytes.end);
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let words = error.info();
        let finding = self.refuse(Span::at(at), &words);
        match self.key_of_line(at) {
            Some(key) if words.starts_with("mapping values") => finding.help(format!("{key}: |")),
            _ => finding,
        }
    }

    /// `nimscale.dev/keep` of `  nimscale.dev/keep: backlog: x < 8`: a block takes any text.
    fn key_of_line(&self, at: usize) -> Option<&'a str> {
        let line = self.text[self.bytes.start..at].rsplit(['\n', '\r']).next()?;
        let (key, _) = line.trim_start_matches([' ', '-']).split_once(": ")?;
        (!key.is_empty() && key.len() <= 80 && !key.contains(['{', '[', '"', '\''])).then_some(key)
    }

    fn refuse(&self, bytes: Span, words: &str) -> Finding {
        let place = Place { doc: self.doc, bytes, path: String::new(), exact: true };
        Finding::new(Code::Ns0161, place, format!("not YAML: {}", cut(words, 100)))
    }
}

impl From<ScalarStyle> for Style {
    fn from(style: ScalarStyle) -> Self {
        match style {
            ScalarStyle::Plain => Self::Plain,
            ScalarStyle::SingleQuoted => Self::Single,
            ScalarStyle::DoubleQuoted => Self::Double,
            ScalarStyle::Literal => Self::Literal,
            ScalarStyle::Folded => Self::Folded,
        }
    }
}

fn tag(tag: &Tag) -> String {
    let (handle, suffix) = tag.parts();
    format!("{handle}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Node {
        read(text, Span::new(0, text.len()), 0).expect("yaml").expect("a document")
    }

    #[test]
    fn spans_are_bytes_of_the_file() {
        let file = "é: 1\n---\na:\n- b: [x, {y: z}]\n  c: |\n\n   l1\n   l2\n\n# end\n";
        let doc = Span::new(10, file.len());
        let root = read(file, doc, 1).expect("yaml").expect("a document");
        let at = |path: &str| root.pointer(path).map(|node| node.span.of(file));
        assert_eq!(at("/a/0/b"), Some("[x, {y: z}]"));
        assert_eq!(at("/a/0/b/1"), Some("{y: z}"));
        assert_eq!(at("/a/0/c"), Some("l1\n   l2\n\n"));
        assert_eq!(at("/a/0"), Some("b: [x, {y: z}]\n  c: |\n\n   l1\n   l2\n\n"));
        assert_eq!(at("/a/1"), None);
        assert_eq!(at("a"), None);
    }

    #[test]
    fn a_document_without_content_is_none() {
        for text in ["", "# only a comment\n", "---\n", "--- # x\n...\n", "\u{feff}", "%YAML 1.2\n---\n"] {
            assert_eq!(read(text, Span::new(0, text.len()), 0), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_syntax_error_points_at_its_byte() {
        let text = "a: é\nnimscale.dev/keep: backlog: x < 8\n";
        let finding = read(text, Span::new(0, text.len()), 3).expect_err("no YAML");
        assert_eq!(finding.code, Code::Ns0161);
        assert_eq!(finding.message, "not YAML: mapping values are not allowed in this context");
        assert_eq!((finding.place.doc, finding.place.bytes), (3, Span::at(32)));
        assert_eq!(finding.help.as_deref(), Some("nimscale.dev/keep: |"));
    }

    #[test]
    fn nothing_nests_without_end() {
        for text in
            ["[".repeat(50_000), "{a: ".repeat(50_000), "- ".repeat(50_000), format!("{}x", "? ".repeat(50_000))]
        {
            assert!(read(&text, Span::new(0, text.len()), 0).is_err());
        }
        let deep = format!("{}{}", "[".repeat(90), "]".repeat(90));
        assert!(read(&deep, Span::new(0, deep.len()), 0).is_ok());
    }

    #[test]
    fn aliases_lead_to_their_anchors() {
        let text = "a: &x !!str 3\nb: *x\nc: &x 4\nd: *x\n";
        let root = root(text);
        let anchors = Anchors::of(&root);
        let value = |key: &str| root.lookup(key).map(|node| anchors.resolve(node)).and_then(Node::as_str);
        assert_eq!((value("b"), value("d")), (Some("3"), Some("4")));
        assert_eq!(root.lookup("a").and_then(|a| a.tag.as_deref()), Some("tag:yaml.org,2002:str"));
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_nothing_is_an_empty_plain_scalar() {
        let root = root("a: 1\nb:\na: 2\nc: \"\"\n");
        assert_eq!(root.lookup("a").and_then(Node::as_str), Some("2"));
        let style = |key: &str| root.lookup(key).and_then(|node| Some((node.as_str()?, node.style()?)));
        assert_eq!(style("b"), Some(("", Style::Plain)));
        assert_eq!(style("c"), Some(("", Style::Double)));
    }

    #[test]
    fn a_pointer_escapes_slash_and_tilde() {
        assert_eq!(token("nimscale.dev/a~b"), "nimscale.dev~1a~0b");
        let root = root("a:\n  n/x~: 1\n");
        assert_eq!(root.pointer("/a/n~1x~0").and_then(Node::as_str), Some("1"));
    }
}
