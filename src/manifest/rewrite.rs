//! Replace some bytes of a text and leave all others.

use nimscale_rules::place::Span;

/// The text with each range replaced. Of two edits that overlap, the one that starts first is made.
pub fn rewrite(text: &str, mut edits: Vec<(Span, String)>) -> String {
    edits.sort_by_key(|(span, _)| *span);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, new) in edits {
        debug_assert!(span.start >= at, "edits do not overlap");
        if let Some(kept) = text.get(at..span.start)
            && text.is_char_boundary(span.end)
        {
            out.push_str(kept);
            out.push_str(&new);
            at = span.end;
        }
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_stays_byte_for_byte() {
        let text = "\u{feff}a: 1 # é\r\nb:\t2\r\n";
        let one = Span::new(6, 7);
        assert_eq!(rewrite(text, vec![]), text);
        assert_eq!(rewrite(text, vec![(one, "10".into())]), text.replace('1', "10"));
        let edits = vec![(Span::at(text.len()), "c".into()), (one, String::new())];
        assert_eq!(rewrite(text, edits), format!("{}c", text.replace('1', "")));
        assert_eq!(rewrite(text, vec![(Span::new(99, 100), "x".into())]), text);
    }
}
