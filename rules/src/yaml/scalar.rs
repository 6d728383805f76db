//! Decode a scalar a second time, to know from which bytes of the file each byte of its value was made.

use super::tree::Style;
use crate::place::Span;

/// For each byte of `value` the bytes of `file` that it was decoded from, and one more range for its end.
///
/// `None` unless the decoding here reproduces the parser's value: a place is exact or the whole scalar, never wrong.
pub(super) fn map(file: &str, span: Span, style: Style, value: &str) -> Option<Vec<Span>> {
    // What follows the scalar must stay out of sight.
    let text = file.get(..span.end)?;
    let mut decoded = match style {
        Style::Plain => flow(text, span.start, style)?,
        Style::Single => flow(text.strip_suffix('\'')?, span.start + 1, style)?,
        Style::Double => flow(text.strip_suffix('"')?, span.start + 1, style)?,
        Style::Literal => block(text, span.start, false)?,
        Style::Folded => block(text, span.start, true)?,
    };
    if matches!(style, Style::Literal | Style::Folded) {
        decoded.chomp(value.len());
    }
    if decoded.value != value {
        return None;
    }
    let start = match style {
        Style::Single | Style::Double => span.start + 1,
        Style::Plain | Style::Literal | Style::Folded => span.start,
    };
    let end = decoded.ranges.last().map_or(start, |range| range.end);
    decoded.ranges.push(Span::at(end));
    Some(decoded.ranges)
}

#[derive(Default)]
struct Decoded {
    value: String,
    ranges: Vec<Span>,
}

impl Decoded {
    fn push(&mut self, c: char, from: Span) {
        self.value.push(c);
        self.ranges.extend(std::iter::repeat_n(from, c.len_utf8()));
    }

    fn verbatim(&mut self, text: &str, span: Span) {
        for (at, c) in span.of(text).char_indices() {
            self.push(c, Span::new(span.start + at, span.start + at + c.len_utf8()));
        }
    }

    /// Drops line feeds at the end down to `len` bytes: `-`, `+` and neither differ in nothing else.
    fn chomp(&mut self, len: usize) {
        while self.value.len() > len && self.value.ends_with('\n') {
            self.value.pop();
            self.ranges.pop();
        }
    }
}

/// A plain or quoted scalar without its quotes, from `at` to the end of `text`.
fn flow(text: &str, mut at: usize, style: Style) -> Option<Decoded> {
    let mut out = Decoded::default();
    while let Some(c) = text.get(at..)?.chars().next() {
        at = if is_space(c) {
            fold(text, at, false, &mut out)
        } else if c == '\\' && style == Style::Double {
            escape(text, at, &mut out)?
        } else {
            let quotes = c == '\'' && style == Style::Single;
            let end = at + if quotes { 2 } else { c.len_utf8() };
            out.push(c, Span::new(at, end));
            end
        };
    }
    Some(out)
}

/// White space inside a flow scalar, which starts at `at`; returns where it ends. White space around a line break is
/// nothing, one break is a space (nothing, if it was `escaped`), and every further one is a line feed.
fn fold(text: &str, at: usize, escaped: bool, out: &mut Decoded) -> usize {
    let end = text[at..].find(|c| !is_space(c)).map_or(text.len(), |len| at + len);
    match (escaped, breaks(text, Span::new(at, end)).as_slice()) {
        (true, all) => all.iter().for_each(|each| out.push('\n', *each)),
        (false, []) => out.verbatim(text, Span::new(at, end)),
        (false, [one]) => out.push(' ', *one),
        (false, [_, more @ ..]) => more.iter().for_each(|each| out.push('\n', *each)),
    }
    end
}

/// The escape whose backslash is at `at`; returns where it ends.
fn escape(text: &str, at: usize, out: &mut Decoded) -> Option<usize> {
    let c = text[at + 1..].chars().next()?;
    let mut end = at + 1 + c.len_utf8();
    let decoded = match c {
        '\n' | '\r' => {
            end += usize::from(text[at + 1..].starts_with("\r\n"));
            return Some(fold(text, end, true, out));
        }
        'x' => hex(text, &mut end, 2)?,
        'u' => match hex(text, &mut end, 4)? {
            // JSON writes what is beyond 16 bits as a pair of escapes.
            high @ 0xD800..=0xDBFF if text[end..].starts_with("\\u") => {
                end += 2;
                let low = hex(text, &mut end, 4)?.checked_sub(0xDC00)?;
                0x1_0000 + ((high - 0xD800) << 10) + low
            }
            code => code,
        },
        'U' => hex(text, &mut end, 8)?,
        '0' => 0,
        'a' => 7,
        'b' => 8,
        't' | '\t' => 9,
        'n' => 10,
        'v' => 11,
        'f' => 12,
        'r' => 13,
        'e' => 0x1b,
        ' ' | '"' | '/' | '\\' => c.into(),
        'N' => 0x85,
        '_' => 0xa0,
        'L' => 0x2028,
        'P' => 0x2029,
        _ => return None,
    };
    out.push(char::from_u32(decoded)?, Span::new(at, end));
    Some(end)
}

fn hex(text: &str, at: &mut usize, digits: usize) -> Option<u32> {
    let code = text.get(*at..*at + digits)?;
    *at += digits;
    u32::from_str_radix(code, 16).ok()
}

/// A block scalar with every line feed at its end, whatever the header says about them.
///
/// `start` is behind the indentation of the first line with content; the lines in front of it belong to the value too.
fn block(text: &str, start: usize, folded: bool) -> Option<Decoded> {
    let mut out = Decoded::default();
    let line = text[..start].rfind(['\n', '\r']).map_or(0, |at| at + 1);
    let indent = start - line;
    if start == text.len() || !text[line..start].bytes().all(|b| b == b' ') {
        return Some(out);
    }
    let header = text[..line].trim_end_matches([' ', '\n', '\r']).len();
    // The first of these breaks ends the header.
    let mut blank: Vec<Span> = breaks(text, Span::new(header, line)).into_iter().skip(1).collect();
    let (mut at, mut pending, mut was_deep) = (start, None, false);
    while at < text.len() {
        let end = text[at..].find(['\n', '\r']).map_or(text.len(), |len| at + len);
        let feed = line_break(text, end).unwrap_or(Span::at(end));
        let content = Span::new(at, end);
        if content.is_empty() {
            blank.push(feed);
        } else {
            let deep = text[at..].starts_with([' ', '\t']);
            if let Some(feed) = pending {
                // Between two lines of a folded paragraph a break is a space, and blank lines stand for themselves.
                let paragraph = folded && !was_deep && !deep;
                if !paragraph {
                    out.push('\n', feed);
                } else if blank.is_empty() {
                    out.push(' ', feed);
                }
            }
            blank.drain(..).for_each(|each| out.push('\n', each));
            out.verbatim(text, content);
            (pending, was_deep) = (Some(feed), deep);
        }
        at = feed.end;
        at += text[at..].bytes().take(indent).take_while(|b| *b == b' ').count();
    }
    pending.into_iter().chain(blank).for_each(|each| out.push('\n', each));
    Some(out)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn line_break(text: &str, at: usize) -> Option<Span> {
    let rest = &text[at..];
    let len = if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with(['\n', '\r'])) };
    (len > 0).then(|| Span::new(at, at + len))
}

fn breaks(text: &str, within: Span) -> Vec<Span> {
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end {
        let feed = line_break(text, at);
        at = feed.map_or(at + 1, |feed| feed.end);
        found.extend(feed);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tree::read;
    use super::*;
    use crate::place::Text;

    fn value(file: &str) -> Text {
        let root = read(file, Span::new(0, file.len()), 0).expect("yaml").expect("a document");
        root.pointer("/k/0/v").and_then(|node| node.text(file, 0, "/k/0/v".into())).expect("a scalar")
    }

    /// Each character of the value, and what stands in the file for it.
    fn parts(file: &str) -> Vec<(char, String)> {
        let text = value(file);
        let part = |(at, c): (usize, char)| {
            let place = text.place(Span::new(at, at + c.len_utf8()));
            assert!(place.exact, "{file:?}");
            (c, place.bytes.of(file).to_owned())
        };
        text.as_str().char_indices().map(part).collect()
    }

    fn joined(file: &str) -> String {
        parts(file).into_iter().map(|(_, source)| format!("[{source}]")).collect()
    }

    #[test]
    fn every_style_leads_back_to_the_file() {
        assert_eq!(joined("k:\n- v: a é\n    b\n\n    c # d"), "[a][ ][é][\n][b][\n][c]");
        assert_eq!(joined("k:\n- v: 'a''b\n  c '"), "[a][''][b][\n][c][ ]");
        assert_eq!(joined(r#"{"k": [{"v": "\ud83d\ude00\/\x41"}]}"#), r"[\ud83d\ude00][\/][\x41]");
        assert_eq!(joined("k:\n- v: \"a \\\r\n\r\n    \\ b\"\r\n"), "[a][ ][\r\n][\\ ][b]");
        assert_eq!(joined("k:\n- v: |-  # header\n   \n\n    é\n     b\n\n"), "[\n][\n][é][\n][ ][b]");
        assert_eq!(
            joined("k:\n- v: >+\n   a\n   b\n\n   c\n    d\n   e\n\nz: 1"),
            "[a][\n][b][\n][c][\n][ ][d][\n][e][\n][\n]"
        );
        assert_eq!(joined("k:\n- v: |2\n      a\n    b"), "[ ][ ][a][\n][b][]");
    }

    #[test]
    fn what_is_not_reproduced_is_the_whole_scalar() {
        let file = "k:\n- v: 'a b'\n";
        assert_eq!(map(file, Span::new(8, 13), Style::Single, "a c"), None);
        assert_eq!(map(file, Span::new(8, 13), Style::Double, "a b"), None);
        assert_eq!(map(file, Span::new(8, 99), Style::Single, "a b"), None);
        assert_eq!(map(file, Span::new(8, 13), Style::Literal, "a b"), None);
        assert!(!value("k:\n- v: |+\n\n\n").place(Span::new(0, 1)).exact);
    }

    /// How a generated value is to be written; `choices` decide wherever there is a choice.
    #[derive(Clone, Debug)]
    struct Hand {
        style: Style,
        indent: usize,
        crlf: bool,
        choices: Vec<u8>,
    }

    fn hand() -> impl Strategy<Value = Hand> {
        let styles = [Style::Plain, Style::Single, Style::Double, Style::Literal, Style::Folded];
        (prop::sample::select(styles.to_vec()), 1..6usize, any::<bool>(), prop::collection::vec(0..4u8, 1..40))
            .prop_map(|(style, indent, crlf, choices)| Hand { style, indent, crlf, choices })
    }

    impl Hand {
        fn file(&self, value: &str) -> String {
            let pad = " ".repeat(2 + self.indent);
            let scalar = match self.style {
                Style::Plain => self.folded(value, &pad),
                Style::Single => format!("'{}'", self.folded(&value.replace('\'', "''"), &pad)),
                Style::Double => format!("\"{}\"", self.escaped(value, &pad)),
                Style::Literal => self.block('|', value, &pad),
                Style::Folded => self.block('>', &self.paragraphs(value), &pad),
            };
            let file = format!("# é\nk:\n- w: x\n  v: {scalar}\n  z: end\n");
            if self.crlf { file.replace('\n', "\r\n") } else { file }
        }

        /// A space between words may be a line break; a line feed is a break and a blank line.
        fn folded(&self, value: &str, pad: &str) -> String {
            let chars: Vec<char> = value.chars().collect();
            let mut out = String::new();
            for (i, c) in chars.iter().enumerate() {
                let alone = i > 0 && i + 1 < chars.len() && !is_space(chars[i - 1]) && !is_space(chars[i + 1]);
                match (*c, self.choices[i % self.choices.len()]) {
                    (' ', 0) if alone => out.push_str(&format!("\n{pad}")),
                    (' ', 1) if alone => out.push_str(&format!(" \t\n{pad}\t")),
                    ('\n', _) => out.push_str(&format!("\n\n{pad}")),
                    (c, _) => out.push(c),
                }
            }
            out
        }

        fn escaped(&self, value: &str, pad: &str) -> String {
            let mut out = String::new();
            for (i, c) in value.chars().enumerate() {
                let code = u32::from(c);
                match (c, self.choices[i % self.choices.len()]) {
                    ('\n', 0) => out.push_str(&format!("\\\n\n{pad}\\\n{pad}")),
                    ('\n', 1) => out.push_str("\\n"),
                    ('"' | '\\', 0 | 1) => out.extend(['\\', c]),
                    (' ', 0) => out.push_str("\\ "),
                    ('\t', 0) => out.push_str("\\t"),
                    (_, 0) if code <= 0xff => out.push_str(&format!("\\x{code:02x}")),
                    (_, 0) if code > 0xffff => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            out.push_str(&format!("\\u{unit:04x}"));
                        }
                    }
                    ('\n' | '"' | '\\', _) | (_, 1) => out.push_str(&format!("\\U{code:08x}")),
                    (' ' | '\t', 2) => out.push_str(&format!("\\x{code:02X}\\\n{pad}")),
                    (c, 2) => out.push_str(&format!("{c}\\\n {pad}")),
                    // A space as it stands must not be beside a break.
                    (' ' | '\t', _) => out.push_str(&format!("\\x{code:02X}")),
                    (c, _) => out.push(c),
                }
            }
            out
        }

        fn block(&self, mark: char, value: &str, pad: &str) -> String {
            let feeds = value.len() - value.trim_end_matches('\n').len();
            let chomping = ["-", "", "+"][feeds.min(2)];
            let explicit = if value.trim_start_matches('\n').starts_with([' ', '\t']) || self.choices[0] == 0 {
                self.indent.to_string()
            } else {
                String::new()
            };
            // The indicator counts from the parent's column, which is 2 here.
            let lines: String = value
                .trim_end_matches('\n')
                .split('\n')
                .map(|line| if line.is_empty() { "\n".into() } else { format!("\n{pad}{line}") })
                .collect();
            format!("{mark}{explicit}{chomping} # h{lines}{}", "\n".repeat(feeds.saturating_sub(1)))
        }

        /// In a folded block: a space may be a break, and a line feed inside is two.
        fn paragraphs(&self, value: &str) -> String {
            let body = value.trim_end_matches('\n');
            let inner = body.replace('\n', "\n\n");
            let folded = self.folded(&inner.replace('\n', "\u{1}"), "").replace('\u{1}', "\n");
            format!("{}{}", folded.replace(" \t\n\t", " "), &value[body.len()..])
        }
    }

    /// A value that the style can hold: block and folded text do not start with blank lines here, plain text is tame.
    fn tame(style: Style, value: &str) -> String {
        let words = |value: &str| {
            let lines = value.split('\n').map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        };
        match style {
            Style::Plain => format!("p{}", words(&value.replace([':', '#', '"', '\'', '\\'], ""))).replace("p\n", "p "),
            Style::Single => format!("s{}e", words(value)),
            Style::Double => value.to_owned(),
            Style::Literal => {
                let blank = value.trim_matches('\n');
                let lines: Vec<&str> =
                    blank.split('\n').map(|line| if line.trim().is_empty() { "" } else { line }).collect();
                let feeds = value.len() - value.trim_end_matches('\n').len();
                format!("l{}e{}", lines.join("\n"), "\n".repeat(feeds))
            }
            Style::Folded => format!("f{}\n", words(value)),
        }
    }

    fn stands_for(source: &str, c: char) -> bool {
        let is_break = matches!(source, "\n" | "\r\n");
        let escaped = || {
            let file = format!("k:\n- v: \"{source}\"");
            value(&file).as_str() == c.to_string()
        };
        source == c.to_string()
            || (c == '\n' || c == ' ') && is_break
            || c == '\'' && source == "''"
            || source.starts_with('\\') && escaped()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn each_character_of_a_value_was_decoded_from_its_source(
            raw in "[a-c é😀\u{a0}:#\"'\\\\\t\n ]{0,24}",
            hand in hand(),
        ) {
            let meant = tame(hand.style, &raw);
            let file = hand.file(&meant);
            prop_assert_eq!(value(&file).as_str().to_owned(), meant, "{}", &file);
            for (c, source) in parts(&file) {
                prop_assert!(stands_for(&source, c), "{:?} is no {:?} in {:?}", source, c, file);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-c:\\-?|>\"'\\[\\]{}&*!%#,\\\\ \r\n\té<]{0,60}") {
            if let Ok(Some(root)) = read(&text, Span::new(0, text.len()), 0) {
                root.walk(&mut |node| {
                    if let Some(scalar) = node.text(&text, 0, String::new()) {
                        scalar.whole().bytes.of(&text);
                        for (at, c) in scalar.as_str().char_indices() {
                            let place = scalar.place(Span::new(at, at + c.len_utf8()));
                            let source = place.bytes.of(&text);
                            assert!(!place.exact || source.is_empty() || stands_for(source, c) || source == "\r", "{text:?}");
                        }
                    }
                });
            }
        }
    }
}
