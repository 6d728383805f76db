//! Decode and write PromQL string literals.

/// Decodes a closed string literal with its quotes; the error says what is wrong with it.
///
/// The escapes are those of Prometheus (`strutil.Unquote`). A value that is not UTF-8 is refused: no label has one.
pub fn unquote(literal: &str) -> Result<String, String> {
    let quote = literal.chars().next().ok_or("an empty literal")?;
    let inner = &literal[quote.len_utf8()..literal.len() - quote.len_utf8()];
    if quote == '`' {
        return Ok(inner.to_owned());
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        value.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&rest[at + 1..], quote, &mut value)?;
    }
    value.extend_from_slice(rest.as_bytes());
    String::from_utf8(value).map_err(|_| "the string is not UTF-8".to_owned())
}

/// Decodes what follows a backslash and returns the rest.
fn escape<'a>(text: &'a str, quote: char, value: &mut Vec<u8>) -> Result<&'a str, String> {
    let first = text.chars().next().ok_or("a backslash ends the string")?;
    let rest = &text[first.len_utf8()..];
    let simple = match first {
        'a' => Some(0x07),
        'b' => Some(0x08),
        'f' => Some(0x0c),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(0x0b),
        '\\' => Some(b'\\'),
        '\'' | '"' if first == quote => Some(first as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        value.push(byte);
        return Ok(rest);
    }
    let (digits, width, radix) = match first {
        'x' => (rest, 2, 16),
        'u' => (rest, 4, 16),
        'U' => (rest, 8, 16),
        '0'..='7' => (text, 3, 8),
        _ => return Err(format!("\\{first} is no escape of PromQL")),
    };
    let malformed = || format!("\\{first} needs {width} digits");
    let number = digits.get(..width).ok_or_else(malformed)?;
    if !number.chars().all(|c| c.is_digit(radix)) {
        return Err(malformed());
    }
    let code = u32::from_str_radix(number, radix).map_err(|_| malformed())?;
    match first {
        'u' | 'U' => {
            let c = char::from_u32(code).ok_or_else(|| format!("\\{first}{number} is no character"))?;
            value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        _ => value.push(u8::try_from(code).map_err(|_| format!("\\{number} is no byte"))?),
    }
    Ok(&digits[width..])
}

/// Writes a value as a string literal that is safe inside a Go template: `<` and `>` leave as `\x3c` and `\x3e`, which
/// PromQL decodes, so that no label value can open a template action.
pub fn quote(value: &str) -> String {
    literal(value, |c| match c {
        '<' | '>' => Some(format!("\\x{:02x}", c as u32)),
        c if c.is_control() => Some(format!("\\u{:04x}", c as u32)),
        _ => None,
    })
}

/// Quotes a value of the request as the adapter's template does: Go's `%q`.
pub fn go_quote(value: &str) -> String {
    literal(value, |c| match c {
        '\u{7}' => Some("\\a".to_owned()),
        '\u{8}' => Some("\\b".to_owned()),
        '\u{c}' => Some("\\f".to_owned()),
        '\u{b}' => Some("\\v".to_owned()),
        c if c.is_ascii_control() => Some(format!("\\x{:02x}", c as u32)),
        c if c.is_control() => Some(format!("\\u{:04x}", c as u32)),
        _ => None,
    })
}

/// A literal in double quotes: the escapes that PromQL and Go share, and others by `escape`.
fn literal(value: &str, escape: impl Fn(char) -> Option<String>) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('"');
    for c in value.chars() {
        match c {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c => match escape(c) {
                Some(escaped) => literal.push_str(&escaped),
                None => literal.push(c),
            },
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_those_of_prometheus() {
        assert_eq!(unquote(r#""a\x3c\u00e9\101\n""#).as_deref(), Ok("a<éA\n"));
        assert_eq!(unquote(r"`\d+`").as_deref(), Ok("\\d+"));
        assert_eq!(unquote(r"'\''").as_deref(), Ok("'"));
        assert!(unquote(r#""\d""#).is_err());
        assert!(unquote(r#""\'""#).is_err());
        assert!(unquote(r#""\xff""#).is_err());
        assert!(unquote(r#""\x+1""#).is_err());
        assert!(unquote(r#""\u00é""#).is_err());
        assert!(unquote(r#""\777""#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back_and_opens_no_action(value in "\\PC*|[<>\"\\\\\n\t`']{0,8}") {
            prop_assert_eq!(unquote(&quote(&value)), Ok(value.clone()));
            prop_assert!(!quote(&value).contains(['<', '>']));
            prop_assert_eq!(unquote(&go_quote(&value)), Ok(value));
        }
    }
}
