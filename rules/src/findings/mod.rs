//! Hold findings as data: what is wrong, where, and what to type instead.

mod codes;
mod line;

pub use codes::{Code, Severity};
pub use line::{LineIndex, line};

use crate::place::{Place, Span, Text};

/// One thing to tell the author of a text.
///
/// The message stands alone: it says what is wrong in the author's words, in one line of at most 120 characters with
/// the code in front. `help` is what to type instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
}

impl Finding {
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = if message.contains(char::is_control) { message.chars().map(visible).collect() } else { message };
        Self { code, place, message, help: None }
    }

    /// A finding about some bytes of a text that was read by itself.
    pub fn at(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Place::of_text(span), message)
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same finding about a text that itself was written somewhere.
    #[must_use]
    pub fn through(mut self, text: &Text) -> Self {
        self.place = text.place(self.place.bytes);
        self
    }

    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    pub fn is_error(&self) -> bool {
        self.severity() == Severity::Error
    }
}

/// A message quotes what people wrote. A control character in it would break the line, or paint the terminal: a picture
/// of it takes its place, one for one, so that the message gets no longer.
fn visible(c: char) -> char {
    match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Shortens a value that is shown inside a message: its middle becomes `…` when it has more than `max` characters.
pub fn cut(value: &str, max: usize) -> String {
    let count = value.chars().count();
    if count <= max {
        return value.to_owned();
    }
    let head = max.saturating_sub(1).div_ceil(2);
    let tail = max.saturating_sub(1) / 2;
    value.chars().take(head).chain(['…']).chain(value.chars().skip(count - tail)).collect()
}

/// The nearest of `candidates` to a word that is none of them, at most two edits away.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word that is mostly edits is no near miss.
    let most = 2.min(word.chars().count() / 2);
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of inserted, deleted, replaced or swapped characters between two words (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_paints_nothing() {
        let finding = Finding::at(Code::Ns0301, Span::default(), "a\tb\nc \u{1b}[31m \u{7f}\u{9b}1m é");
        assert_eq!(finding.message, "a␉b␊c ␛[31m ␡\u{fffd}1m é");
    }

    #[test]
    fn a_long_value_loses_its_middle() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 5), "ab…fg");
    }

    #[test]
    fn a_near_miss_is_at_most_two_edits_away() {
        let keys = ["scale", "keep", "spec"];
        assert_eq!(nearest("scal", keys), Some("scale"));
        assert_eq!(nearest("kepe", keys), Some("keep"));
        assert_eq!(nearest("replicas", keys), None);
        assert_eq!(nearest("x", keys), None);
        assert_eq!(nearest("gpu", ["rps"]), None);
    }
}
