//! Write YAML that every reader reads alike.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::plain::is_ambiguous;
use super::tree::{Kind, Node, Style, read};
use crate::place::Span;

/// Writes a value as one document, each string so that no reader takes it for anything else.
///
/// The writer below us follows YAML 1.2 and leaves `off` without quotes; kubectl would read a boolean. What it wrote is
/// read back beside the value: a plain scalar that must be a string gets quotes, and nothing that differs leaves here.
pub fn write<T: Serialize>(value: &T) -> Result<String, WriteError> {
    let failed = |error: &dyn fmt::Display| WriteError(format!("failed to write YAML: {error}"));
    let meant = serde_json::to_value(value).map_err(|error| failed(&error))?;
    let mut text = serialise(value).map_err(|error| failed(&error))?;
    let root = read(&text, Span::new(0, text.len()), 0).map_err(|finding| failed(&finding.message))?;
    let mut quotes = Vec::new();
    match &root {
        Some(root) => compare(root, &meant, &mut quotes)?,
        None if meant.is_null() => {}
        None => return Err(differs(&meant)),
    }
    for span in quotes.iter().rev() {
        // An ambiguous scalar has no character that needs an escape.
        let quoted = format!("\"{}\"", span.of(&text));
        text.replace_range(span.start..span.end, &quoted);
    }
    Ok(text)
}

/// Why a value can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteError(String);

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WriteError {}

/// What stands for one of [`BREAKS`] while the writer below has the text: a character that it can only escape.
const HIDDEN: char = '\u{fffe}';

/// Characters that YAML 1.1 counts as line breaks and YAML 1.2 does not, with their escapes. The writer below would put
/// them into blocks, where the two disagree.
const BREAKS: [(char, char); 3] = [('\u{85}', 'N'), ('\u{2028}', 'L'), ('\u{2029}', 'P')];

/// [`HIDDEN`] itself, hidden: no text of an author is taken for a mark of ours.
const ITSELF: char = 'E';

fn serialise<T: Serialize>(value: &T) -> Result<String, serde_yaml::Error> {
    let mut value = serde_yaml::to_value(value)?;
    hide(&mut value);
    let show = |text: String, (_, name)| text.replace(&format!("\\uFFFE{name}"), &format!("\\{name}"));
    let text = BREAKS.into_iter().fold(serde_yaml::to_string(&value)?, show);
    Ok(text.replace(&format!("\\uFFFE{ITSELF}"), "\\uFFFE"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other value holds no text")]
fn hide(value: &mut serde_yaml::Value) {
    match value {
        serde_yaml::Value::String(text) if text.contains(HIDDEN) || text.contains(BREAKS.map(|(c, _)| c)) => {
            let plain = text.replace(HIDDEN, &format!("{HIDDEN}{ITSELF}"));
            *text = BREAKS.iter().fold(plain, |text, (c, name)| text.replace(*c, &format!("{HIDDEN}{name}")));
        }
        serde_yaml::Value::Sequence(items) => items.iter_mut().for_each(hide),
        serde_yaml::Value::Mapping(entries) => {
            for (mut key, mut value) in std::mem::take(entries) {
                hide(&mut key);
                hide(&mut value);
                entries.insert(key, value);
            }
        }
        _ => {}
    }
}

/// Collects, in the order of the text, the plain scalars that need quotes.
fn compare(node: &Node, meant: &Value, quotes: &mut Vec<Span>) -> Result<(), WriteError> {
    let same = match (&node.kind, meant) {
        _ if node.tag.is_some() => false,
        (Kind::Mapping(entries), Value::Object(object)) => {
            for (key, value) in entries {
                let text = key.as_str().ok_or_else(|| differs(meant))?;
                string(key, text, quotes)?;
                compare(value, object.get(text).ok_or_else(|| differs(meant))?, quotes)?;
            }
            entries.len() == object.len()
        }
        (Kind::Sequence(items), Value::Array(array)) => {
            for (item, value) in items.iter().zip(array) {
                compare(item, value, quotes)?;
            }
            items.len() == array.len()
        }
        (Kind::Scalar { .. }, Value::String(text)) => return string(node, text, quotes),
        (Kind::Scalar { style, .. }, Value::Null | Value::Bool(_) | Value::Number(_)) => *style == Style::Plain,
        _ => false,
    };
    if same { Ok(()) } else { Err(differs(meant)) }
}

fn string(node: &Node, text: &str, quotes: &mut Vec<Span>) -> Result<(), WriteError> {
    if node.as_str() != Some(text) {
        return Err(differs(&Value::from(text)));
    }
    if node.style() == Some(Style::Plain) && is_ambiguous(text) {
        quotes.push(node.span);
    }
    Ok(())
}

fn differs(meant: &Value) -> WriteError {
    let meant = crate::findings::cut(&meant.to_string(), 60);
    WriteError(format!("failed to write YAML: {meant} would be read as something else"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const HOSTILE: &[&str] = &[
        "on",
        "On",
        "ON",
        "off",
        "Off",
        "OFF",
        "yes",
        "Yes",
        "YES",
        "no",
        "No",
        "NO",
        "y",
        "Y",
        "n",
        "N",
        "true",
        "True",
        "TRUE",
        "false",
        "False",
        "FALSE",
        "",
        "~",
        "null",
        "Null",
        "NULL",
        "0",
        "3",
        "-1",
        "+1",
        "010",
        "08",
        "0x1F",
        "0X1f",
        "-0x1F",
        "0o14",
        "0b11",
        "1_000",
        "1__0",
        "1e3",
        "1E+3",
        "1.5e-3",
        "1.5",
        ".5",
        "5.",
        "+.5",
        ".inf",
        "-.INF",
        "+.Inf",
        ".nan",
        ".NaN",
        "1:30",
        "190:20:30",
        "-1:30.5",
        "2024-01-01",
        "2024-1-1 10:00:00",
        "<<",
        "=",
        "18446744073709551616",
        "0x",
        "685_230.15",
    ];
    const AWKWARD: &[&str] = &[
        "a: b",
        "a #b",
        "# a",
        "- a",
        "-",
        "?",
        ": a",
        "!x",
        "&x",
        "*x",
        "%x",
        "@x",
        "`x",
        "{a",
        "[a",
        "a,b",
        "'",
        "\"",
        "\\",
        " a",
        "a ",
        "\ta",
        "a\n",
        "\na",
        " \n a",
        "a\n\n",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "---",
        "--- a",
        "...",
        "é",
        "\u{feff}",
        "\u{feff}a",
        "\u{a0}",
        "\u{85}",
        "a\u{2028}b",
        "\u{fffe}N",
        "\u{fffe}E\u{fffe}\u{2028}L",
        "\u{1}",
        "\u{7f}",
        "\u{1b}[0m",
        "{{ .x }}",
        "tRue",
        "1..8",
        "|",
        ">",
        "a:",
        "sum by (pod) (x{a=\"b\"}) < 8 # c",
    ];

    fn strings(text: &str) -> Vec<(String, Style)> {
        let root = read(text, Span::new(0, text.len()), 0).expect("yaml").expect("a document");
        let both = |(key, value): &(Node, Node)| [key.clone(), value.items()[0].clone()];
        let string = |node: Node| Some((node.as_str()?.to_owned(), node.style()?));
        root.entries().iter().flat_map(both).filter_map(string).collect()
    }

    fn written(text: &str) -> String {
        write(&BTreeMap::from([(text, [text])])).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn hostile_strings_are_quoted_as_keys_and_values() {
        for text in HOSTILE {
            let yaml = written(text);
            for (read, style) in strings(&yaml) {
                assert_eq!(&read, text);
                assert!(style != Style::Plain || *text == "0x", "{yaml}");
            }
        }
        for text in AWKWARD {
            assert!(strings(&written(text)).iter().all(|(read, _)| read == text), "{text:?}");
        }
    }

    #[test]
    fn numbers_booleans_and_null_stay_as_they_are() {
        let value = serde_json::json!({"minReplicas": 1, "a": [true, null, 1.5, "true"], "b": {}, "c": [], "d": "x"});
        let yaml = write(&value).expect("yaml");
        assert_eq!(yaml, "a:\n- true\n- null\n- 1.5\n- 'true'\nb: {}\nc: []\nd: x\nminReplicas: 1\n");
        assert_eq!(write(&"off").as_deref(), Ok("\"off\"\n"));
    }

    #[test]
    fn fields_stay_in_their_order() {
        #[derive(Serialize)]
        struct Sample {
            b: &'static str,
            a: Option<u8>,
        }
        assert_eq!(write(&[Sample { b: "no", a: None }]).as_deref(), Ok("- b: \"no\"\n  a: null\n"));
    }

    #[test]
    fn what_json_has_no_word_for_is_refused() {
        #[derive(Serialize)]
        enum Tagged {
            A(u8),
        }
        assert!(write(&Tagged::A(1)).is_err());
    }

    proptest! {
        #[test]
        fn every_string_is_read_back(text in "[\\PC\n\t\r\u{85}\u{2028}\u{2029} ]{0,40}", key in "[a-z0-9.:_+\\-~=<]{0,8}") {
            let yaml = write(&BTreeMap::from([(&key, [&text])])).expect("yaml");
            let read: Vec<String> = strings(&yaml).into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(read, vec![key, text]);
        }
    }
}
