//! Say where a thing was written and who set it.

use std::fmt;

/// A half-open range of bytes of some text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end, "a span runs forwards");
        Self { start, end }
    }

    /// The empty span in front of the byte at `at`.
    pub fn at(at: usize) -> Self {
        Self { start: at, end: at }
    }

    /// From the start of the first to the end of the second.
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start.min(other.start), self.end.max(other.end))
    }

    pub fn shifted(self, by: usize) -> Self {
        Self::new(self.start + by, self.end + by)
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes of `text` that the span covers.
    ///
    /// Panics when the span does not lie on character boundaries of `text`, that is when it was made for another text.
    pub fn of(self, text: &str) -> &str {
        &text[self.start..self.end]
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Where something was written: a document, a path in it, and the bytes of the text that was read.
///
/// The text is the file in the CLI, and the annotation's own value in a cluster, where there is no file. Lines and
/// columns exist only in what prints a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 0-based index of the document in its file.
    pub doc: usize,
    pub bytes: Span,
    /// JSON Pointer into the document, `""` for the whole of it.
    pub path: String,
    /// False when the exact bytes are not known and `bytes` covers the whole scalar that holds them.
    pub exact: bool,
}

impl Place {
    /// A range of a text that was read by itself.
    pub fn of_text(bytes: Span) -> Self {
        Self { doc: 0, bytes, path: String::new(), exact: true }
    }
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Annotation(Place),
    /// A ClusterScalingPolicy, by its name.
    Policy(String),
    BuiltIn,
}

impl Origin {
    /// Where it is written, for what an annotation sets.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Annotation(place) => Some(place),
            Self::Policy(_) | Self::BuiltIn => None,
        }
    }
}

/// As people are told: `annotation nimscale.dev/scale`, `policy nim-default`, `built-in`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation(place) => {
                let key = place.path.rsplit_once('/').map_or(place.path.as_str(), |(_, key)| key);
                write!(f, "annotation {}", key.replace("~1", "/").replace("~0", "~"))
            }
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// A value and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    pub value: T,
    pub from: Origin,
}

impl<T> Set<T> {
    pub fn annotation(value: T, place: Place) -> Self {
        Self { value, from: Origin::Annotation(place) }
    }

    pub fn built_in(value: T) -> Self {
        Self { value, from: Origin::BuiltIn }
    }
}

/// Text that somebody wrote, and the way from each of its bytes back to where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    value: String,
    doc: usize,
    path: String,
    source: Source,
}

/// How the bytes of a decoded value lie in the text that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The value is the text that was read, from this byte on.
    Verbatim { from: usize },
    /// Entry `i` is the range that byte `i` of the value was decoded from; a last entry stands for the end.
    Decoded(Vec<Span>),
    /// Only the whole is known.
    Whole(Span),
}

impl Text {
    /// A value that is itself the text that was read: an expression on the command line, an annotation in a cluster.
    pub fn verbatim(value: impl Into<String>) -> Self {
        Self { value: value.into(), doc: 0, path: String::new(), source: Source::Verbatim { from: 0 } }
    }

    /// A value decoded from a file, with the source range of each of its bytes, and one more range for its end.
    ///
    /// Falls back to the `whole` scalar when the ranges do not fit the value: a place is exact or the whole, never wrong.
    pub fn decoded(value: String, doc: usize, path: String, ranges: Option<Vec<Span>>, whole: Span) -> Self {
        let source = match ranges {
            Some(ranges) if ranges.len() == value.len() + 1 => Source::Decoded(ranges),
            _ => Source::Whole(whole),
        };
        Self { value, doc, path, source }
    }

    /// The same text at another path: an annotation's value in the cluster is verbatim, and still has a key.
    pub fn at_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// Where the given bytes of the value were written.
    pub fn place(&self, span: Span) -> Place {
        let (bytes, exact) = match &self.source {
            Source::Verbatim { from } => (span.shifted(*from), true),
            Source::Decoded(ranges) if span.end < ranges.len() => {
                let start = ranges[span.start].start;
                let end = if span.is_empty() { start } else { ranges[span.end - 1].end };
                (Span::new(start, end.max(start)), true)
            }
            Source::Decoded(ranges) => {
                let first = ranges.first().map_or(0, |range| range.start);
                let last = ranges.last().map_or(first, |range| range.end);
                (Span::new(first, last), false)
            }
            Source::Whole(whole) => (*whole, false),
        };
        Place { doc: self.doc, bytes, path: self.path.clone(), exact }
    }

    /// Where the whole value was written.
    pub fn whole(&self) -> Place {
        match &self.source {
            Source::Whole(whole) => Place { doc: self.doc, bytes: *whole, path: self.path.clone(), exact: true },
            Source::Verbatim { .. } | Source::Decoded(_) => self.place(Span::new(0, self.value.len())),
        }
    }

    /// The same value, of a text that was itself written somewhere.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let source = match self.source {
            Source::Verbatim { from } => outer.slice(Span::new(from, from + self.value.len())).source,
            Source::Decoded(ranges) => {
                let places: Vec<Place> = ranges.into_iter().map(|range| outer.place(range)).collect();
                match places.iter().find(|place| !place.exact) {
                    Some(whole) => Source::Whole(whole.bytes),
                    None => Source::Decoded(places.into_iter().map(|place| place.bytes).collect()),
                }
            }
            Source::Whole(whole) => Source::Whole(outer.place(whole).bytes),
        };
        Self { value: self.value, doc: outer.doc, path: outer.path.clone(), source }
    }

    /// A part of the value that still knows where it was written.
    pub fn slice(&self, span: Span) -> Self {
        let source = match &self.source {
            Source::Verbatim { from } => Source::Verbatim { from: from + span.start },
            Source::Decoded(ranges) => {
                let mut part = ranges[span.start..span.end].to_vec();
                let end = part.last().map_or(ranges[span.start].start, |range| range.end);
                part.push(Span::at(end));
                Source::Decoded(part)
            }
            Source::Whole(whole) => Source::Whole(*whole),
        };
        Self { value: span.of(&self.value).to_owned(), doc: self.doc, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped() -> Text {
        // "a\u00a0b" in a file: the no-break space is two bytes of the value and six of the file.
        let ranges = vec![Span::new(11, 12), Span::new(12, 18), Span::new(12, 18), Span::new(18, 19), Span::at(19)];
        Text::decoded("a\u{a0}b".into(), 0, "/x".into(), Some(ranges), Span::new(10, 20))
    }

    #[test]
    fn a_place_covers_the_bytes_that_were_decoded() {
        assert_eq!(escaped().place(Span::new(1, 3)).bytes, Span::new(12, 18));
        assert_eq!(escaped().place(Span::at(4)).bytes, Span::at(19));
        assert_eq!(escaped().whole().bytes, Span::new(11, 19));
    }

    #[test]
    fn a_slice_keeps_its_place() {
        let part = escaped().slice(Span::new(3, 4));
        assert_eq!(part.as_str(), "b");
        assert_eq!(part.place(Span::new(0, 1)).bytes, Span::new(18, 19));
    }

    #[test]
    fn a_map_that_does_not_fit_points_at_the_whole_scalar() {
        let text = Text::decoded("ab".into(), 0, "/x".into(), Some(vec![Span::at(0)]), Span::new(10, 20));
        let place = text.place(Span::new(0, 1));
        assert_eq!((place.bytes, place.exact), (Span::new(10, 20), false));
    }
}
