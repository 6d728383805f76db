//! Name a metric: what an author may call it, and what it is called otherwise.

use std::collections::BTreeSet;
use std::fmt;

/// The most characters of a name.
const MOST: usize = 63;

/// The name of a metric, unique in its workload: lower case, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricName(String);

impl MetricName {
    /// What a name is, for who wrote another one.
    pub(super) const RULE: &str = "lower case, digits, \"_\" and \"-\", a letter first, 63 at most";

    /// A name as an author writes it: a lower-case letter first.
    pub fn parse(name: &str) -> Option<Self> {
        let lower_first = name.starts_with(|c: char| c.is_ascii_lowercase());
        (lower_first && name.len() <= MOST && name.bytes().all(may_hold)).then(|| Self(name.to_owned()))
    }

    /// The name that an entry gets from the name of a series.
    pub(super) fn derived(series: &str) -> Self {
        Self::tidied(series)
    }

    /// The nearest name to a text that is none.
    pub(super) fn suggested(text: &str) -> Self {
        let name = Self::tidied(text);
        if name.0.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { Self::tidied(&format!("m{}", name.0)) }
    }

    /// A name like this one that is not taken.
    pub(super) fn other(&self, taken: &BTreeSet<Self>) -> Self {
        let stem: String = self.0.chars().take(MOST - 8).collect();
        let mut others = (2..10).map(|n| Self::suggested(&format!("{stem}_{n}")));
        others.find(|name| !taken.contains(name)).unwrap_or_else(|| Self("other".into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn tidied(text: &str) -> Self {
        let lower = text.bytes().take(MOST).map(|b| b.to_ascii_lowercase());
        Self(lower.map(|b| if may_hold(b) { char::from(b) } else { '_' }).collect())
    }
}

fn may_hold(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_parsed_or_derived() {
        assert!(MetricName::parse("kv-cache_2").is_some());
        for text in ["", "2xx", "-a", "_a", "A", "a.b", &"a".repeat(64)] {
            assert_eq!(MetricName::parse(text), None, "{text}");
        }
        assert_eq!(MetricName::derived("vllm:X_total").as_str(), "vllm_x_total");
        assert_eq!(MetricName::derived(&"a".repeat(70)).as_str().len(), 63);
        assert_eq!(MetricName::suggested("2xx").as_str(), "m2xx");
    }
}
