//! Cut a text into documents before any of it is parsed.

use nimscale_rules::place::Span;

/// The documents of a YAML text, side by side from its first byte to its last.
///
/// A document starts at `---` and after `...`: at the start of a line these are content nowhere, not in a block and not
/// in quotes. Directives, comments and blank lines in front of a document are part of it, those at the end of the text
/// are part of the last.
pub fn split(text: &str) -> Vec<Span> {
    let mut documents: Vec<Span> = Vec::new();
    let (mut start, mut opened) = (0, false);
    for line in lines(text) {
        let body = line.of(text).trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        if is_marker(body, "---") {
            if opened {
                documents.push(Span::new(start, line.start));
                start = line.start;
            }
            opened = true;
        } else if is_marker(body, "...") && opened {
            documents.push(Span::new(start, line.end));
            (start, opened) = (line.end, false);
        } else {
            opened |= !(body.starts_with('%') || body.trim_start().is_empty() || body.trim_start().starts_with('#'));
        }
    }
    let rest = Span::new(start, text.len());
    match documents.last_mut() {
        Some(last) if !opened => *last = last.to(rest),
        _ if rest.is_empty() => {}
        _ => documents.push(rest),
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// Lines with their breaks. A carriage return by itself is a break to YAML.
fn lines(text: &str) -> impl Iterator<Item = Span> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let rest = &text[start..];
        let len = rest.find(['\n', '\r']).map_or(rest.len(), |len| len + 1);
        at += len + usize::from(rest[..len].ends_with('\r') && rest[len..].starts_with('\n'));
        (at > start).then(|| Span::new(start, at))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|span| span.of(text)).collect()
    }

    #[test]
    fn documents_start_at_markers() {
        assert_eq!(pieces("a\n---\nb\n--- # c\n--- |\nd"), ["a\n", "---\nb\n", "--- # c\n", "--- |\nd"]);
        assert_eq!(pieces("---\n---\n"), ["---\n", "---\n"]);
        assert_eq!(pieces("a\r\n---\r\nb\r\n"), ["a\r\n", "---\r\nb\r\n"]);
        assert_eq!(pieces("a\r---\rb"), ["a\r", "---\rb"]);
        assert_eq!(pieces("a: |\n  ---\n ---\n----\n---a\n"), ["a: |\n  ---\n ---\n----\n---a\n"]);
        assert_eq!(pieces(""), [""; 0]);
    }

    #[test]
    fn what_leads_to_a_document_is_part_of_it() {
        let license = "\u{feff}# license\n\n%YAML 1.2\n---\na\n";
        assert_eq!(pieces(license), [license]);
        assert_eq!(pieces("\u{feff}---\na\n---\nb"), ["\u{feff}---\na\n", "---\nb"]);
        assert_eq!(pieces("a\n...\n# b\n%YAML 1.2\n---\nb\n"), ["a\n...\n", "# b\n%YAML 1.2\n---\nb\n"]);
        assert_eq!(pieces("a\n...\n# end\n"), ["a\n...\n# end\n"]);
        assert_eq!(pieces("a\n...\nb\n"), ["a\n...\n", "b\n"]);
        assert_eq!(pieces("# only\n"), ["# only\n"]);
    }

    proptest! {
        #[test]
        fn documents_together_are_the_text(text in "(---|\\.\\.\\.|\r|\n|\n|a|#| |%|é|\u{feff}){0,30}") {
            prop_assert_eq!(pieces(&text).concat(), text);
        }
    }
}
