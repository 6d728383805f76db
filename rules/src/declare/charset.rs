//! Refuse the characters that look like others, hide, or turn text around.

use crate::findings::{Code, Finding};
use crate::place::Span;
use crate::promql::token::{TokenKind, scan};

/// The first refused character of a value without PromQL.
pub(super) fn plain(value: &str) -> Option<Finding> {
    first_refused(value, &[])
}

/// The first refused character of a value with PromQL, where strings and comments may hold any script.
pub(super) fn promql(value: &str) -> Option<Finding> {
    let free = |kind| matches!(kind, TokenKind::String | TokenKind::OpenString | TokenKind::Comment);
    let spans: Vec<Span> = scan(value).into_iter().filter(|token| free(token.kind)).map(|token| token.span).collect();
    first_refused(value, &spans)
}

/// The first refused character of YAML, whose scalars are then judged by themselves.
pub(super) fn yaml(value: &str) -> Option<Finding> {
    first_refused(value, &[Span::new(0, value.len())])
}

/// `free` are the spans of strings and comments, in order.
fn first_refused(value: &str, free: &[Span]) -> Option<Finding> {
    let mut free = free.iter().copied().peekable();
    value.char_indices().find_map(|(at, c)| {
        while free.next_if(|span| span.end <= at).is_some() {}
        let inside = free.peek().is_some_and(|span| span.start <= at);
        let allowed = match c {
            '\t' | '\n' => true,
            '\r' => value[at + 1..].starts_with('\n'),
            _ if inside => !c.is_control() && !is_hidden(c),
            _ => matches!(c, ' '..='~'),
        };
        (!allowed).then(|| refused(c, at))
    })
}

/// Turns the direction of text around, or is a byte order mark.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn refused(c: char, at: usize) -> Finding {
    let (name, instead) = known(c);
    let code = u32::from(c);
    let message = match name {
        Some(name) => format!("U+{code:04X} ({name}) is not allowed here"),
        None => format!("U+{code:04X} is not allowed here"),
    };
    Finding::at(Code::Ns0109, Span::new(at, at + c.len_utf8()), message).help(instead)
}

/// What people call a character, and what to type instead of it.
fn known(c: char) -> (Option<&'static str>, &'static str) {
    match c {
        '\u{a0}' | '\u{202f}' | '\u{2007}' => (Some("no-break space"), "a plain space"),
        '\u{2000}'..='\u{200a}' | '\u{3000}' => (Some("wide space"), "a plain space"),
        '\u{feff}' => (Some("byte order mark"), "nothing"),
        '\u{200b}'..='\u{200d}' | '\u{2060}' => (Some("zero width"), "nothing"),
        '\u{2018}' | '\u{2019}' => (Some("typographic quote"), "'"),
        '\u{201c}'..='\u{201f}' => (Some("typographic quote"), "\""),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => (Some("dash"), "-"),
        '\u{2026}' => (Some("ellipsis"), ".."),
        '\u{2264}' | '\u{ff1c}' => (Some("a sign like <"), "<"),
        '\r' => (Some("carriage return"), "a line feed"),
        _ if is_hidden(c) => (Some("bidirectional control"), "nothing"),
        _ if c.is_control() => (Some("control character"), "nothing"),
        _ => (None, "plain ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_hold_any_script() {
        assert_eq!(promql("x{a=\"\u{e9}\"} < 3 # \u{2264}\n\ty"), None);
        let finding = promql("x{a=\"\u{202e}\"} < 3").expect("a bidirectional control is refused");
        assert_eq!(finding.place.bytes, Span::new(5, 8));
        assert!(promql("x # \u{7}").is_some());
    }

    #[test]
    fn a_carriage_return_stands_before_a_line_feed() {
        assert_eq!(plain("1..8\r\n"), None);
        let finding = plain("1..8\r").expect("a lone carriage return is refused");
        assert_eq!(finding.message, "U+000D (carriage return) is not allowed here");
    }
}
