//! Print a finding as one plain line, `file:line:column: code message`.

use super::Finding;

/// Where each line of a text starts, to turn bytes into lines and columns when a place is printed.
#[derive(Clone, Debug)]
pub struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// 1-based line and column of a byte; columns count Unicode code points, a tab is one and a BOM is none.
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        let before = &self.text.as_bytes()[start..byte];
        // A code point has one byte that is no continuation byte; this also holds when `byte` splits one.
        let column = before.iter().filter(|b| (**b & 0xC0) != 0x80).count();
        let bom = usize::from(start == 0 && before.starts_with("\u{feff}".as_bytes()));
        (line, column - bom + 1)
    }
}

/// One finding as one line, `file:line:column: code message`; what to type instead follows in brackets.
pub fn line(finding: &Finding, file: &str, lines: &LineIndex<'_>) -> String {
    let (line, column) = lines.line_column(finding.place.bytes.start);
    let code = finding.code;
    let message = &finding.message;
    match &finding.help {
        Some(help) => format!("{file}:{line}:{column}: {code} {message} (help: {})", help.replace('\n', "\\n")),
        None => format!("{file}:{line}:{column}: {code} {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_without_the_bom() {
        let lines = LineIndex::new("\u{feff}a\u{e9}b\nc\td\n");
        assert_eq!(lines.line_column(3), (1, 1));
        assert_eq!(lines.line_column(6), (1, 3));
        assert_eq!(lines.line_column(8), (2, 1));
        assert_eq!(lines.line_column(10), (2, 3));
        assert_eq!(lines.line_column(999), (3, 1));
    }
}
