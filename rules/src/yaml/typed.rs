//! Read YAML into a type, strictly.

use std::fmt;

use serde::de::DeserializeOwned;

/// Reads the one document of `text`. A key that stands twice is an error; so is an unknown field, if `T` denies those.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(|at| (at.line(), at.column()));
        ParseError { message: error.without_snippet().to_string(), at }
    })
}

/// Why a text is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub message: String,
    /// 1-based line and column, if they are known.
    pub at: Option<(u64, u64)>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        on: bool,
    }

    #[test]
    fn a_type_is_read_strictly() {
        assert_eq!(parse("name: a\non: true\n"), Ok(Sample { name: "a".into(), on: true }));
        for (text, why) in [
            ("name: a\nname: b\n", "duplicate"),
            ("name: a\nnam: b\n", "nam"),
            ("name: a\n---\nname: b\n", "multiple"),
            ("name: a\non: yes\n", "bool"),
            ("name: []", "expected string"),
        ] {
            let error = parse::<Sample>(text).expect_err(text);
            assert!(error.to_string().contains(why), "{text:?}: {error}");
        }
    }
}
