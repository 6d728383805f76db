//! Say what YAML 1.1 makes of a plain scalar: kubectl, Helm, Argo CD and kustomize read by it.

/// What go-yaml resolves a plain scalar without a tag to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    String,
    Boolean,
    Number,
    Null,
}

/// How kubectl reads a plain scalar. A date is a timestamp to go-yaml, and a string again by the time it is JSON.
pub fn reading(text: &str) -> Reading {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Reading::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Reading::Boolean,
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Reading::Boolean,
        _ if is_number(text) => Reading::Number,
        _ => Reading::String,
    }
}

/// True when some reader takes the plain scalar for anything but a string: go-yaml, or one that follows YAML 1.1 or
/// 1.2 to the letter. What we write is quoted then.
pub(super) fn is_ambiguous(text: &str) -> bool {
    reading(text) != Reading::String || matches!(text, "<<" | "=") || is_sexagesimal(text) || is_date(text)
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // go-yaml drops every underscore, but tries only what starts with a sign or a digit (or, as it stands, with a dot).
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let digits = unsigned.replace('_', "");
    match digits.get(..2) {
        Some("0x" | "0X") => all(&digits[2..], |b| b.is_ascii_hexdigit()),
        Some("0o" | "0O") => all(&digits[2..], |b| (b'0'..=b'7').contains(&b)),
        Some("0b" | "0B") => all(&digits[2..], |b| matches!(b, b'0' | b'1')),
        _ => is_decimal(&digits),
    }
}

fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.is_none_or(|e| all(e.strip_prefix(['+', '-']).unwrap_or(e), |b| b.is_ascii_digit()));
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent
}

/// `1:30` and `1:30:45.5`: numbers to base 60 in YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digit = |b: u8| b.is_ascii_digit() || b == b'_';
    whole.contains(':') && whole.split(':').all(|part| all(part, digit)) && fraction.bytes().all(digit)
}

/// `2024-01-01`, and anything that goes on from there.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (year, month, rest) = (parts.next(), parts.next(), parts.next());
    let digits = |part: Option<&str>| part.is_some_and(|part| all(part, |b| b.is_ascii_digit()));
    digits(year) && digits(month) && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn all(text: &str, byte: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_scalar_reads_as_kubectl_reads_it() {
        for text in ["on", "Off", "YES", "n", "TRUE", "false", "No"] {
            assert_eq!(reading(text), Reading::Boolean, "{text}");
        }
        let numbers = "3 010 0x1F 0o14 0b11 1_000 1e3 1.5 .5 5. +1 -1 .inf -.INF .nan 08 1e+3 -0x1F 1.5e-3 0";
        for text in numbers.split(' ') {
            assert_eq!(reading(text), Reading::Number, "{text}");
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(reading(text), Reading::Null, "{text}");
        }
        let strings = "1..8 1.. 1-8 3m 75% 1:30 2024-01-01 tRue oN . - + -- e3 .e3 0x 0b2 1e 1.2.3 _1 nUll é 1é +.nan";
        for text in strings.split(' ') {
            assert_eq!(reading(text), Reading::String, "{text}");
        }
    }

    #[test]
    fn what_any_reader_takes_for_no_string_is_ambiguous() {
        for text in ["1:30", "-1:30:45.5", "2024-01-01", "2024-1-1T10:00:00Z", "<<", "=", "off", "0o14", "1e3"] {
            assert!(is_ambiguous(text), "{text}");
        }
        for text in ["1..8", "a:1", "1-8", "max", "nvcr.io/nim/**", "10m", "1:", "2024-", ":30"] {
            assert!(!is_ambiguous(text), "{text}");
        }
    }
}
