//! Select labels as Kubernetes does: `matchLabels` and `matchExpressions`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A label selector. The empty one matches everything, as it does for a policy; a workload's is never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

/// An operator that Kubernetes does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOperator(pub String);

impl Selector {
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|Requirement { key, rule }| {
            let value = labels.get(key);
            match rule {
                Rule::In(values) => value.is_some_and(|value| values.contains(value)),
                // A label that is not there is in no list.
                Rule::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Rule::Exists => value.is_some(),
                Rule::DoesNotExist => value.is_none(),
            }
        })
    }
}

impl TryFrom<LabelSelector> for Selector {
    type Error = UnknownOperator;

    fn try_from(selector: LabelSelector) -> Result<Self, UnknownOperator> {
        let labels = selector.match_labels.unwrap_or_default().into_iter();
        let mut requirements: Vec<Requirement> =
            labels.map(|(key, value)| Requirement { key, rule: Rule::In(BTreeSet::from([value])) }).collect();
        for expression in selector.match_expressions.unwrap_or_default() {
            let values = expression.values.unwrap_or_default().into_iter().collect();
            let rule = match expression.operator.as_str() {
                "In" => Rule::In(values),
                "NotIn" => Rule::NotIn(values),
                "Exists" => Rule::Exists,
                "DoesNotExist" => Rule::DoesNotExist,
                _ => return Err(UnknownOperator(expression.operator)),
            };
            requirements.push(Requirement { key: expression.key, rule });
        }
        Ok(Self { requirements })
    }
}

/// As `kubectl -l` and the API's `labelSelector` write it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { key, rule }) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match rule {
                Rule::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values))?,
                Rule::In(values) => write!(f, "{key} in ({})", list(values))?,
                Rule::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Rule::Exists => f.write_str(key)?,
                Rule::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for UnknownOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not In, NotIn, Exists or DoesNotExist", self.0)
    }
}

impl std::error::Error for UnknownOperator {}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: serde_json::Value) -> Selector {
        Selector::try_from(serde_json::from_value::<LabelSelector>(json).expect("a selector")).expect("known operators")
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let selector = selector(serde_json::json!({
            "matchLabels": {"app": "llama"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["test", "old"]},
                {"key": "team", "operator": "Exists"},
                {"key": "legacy", "operator": "DoesNotExist"},
            ],
        }));
        assert_eq!(selector.to_string(), "app=llama,tier notin (old,test),team,!legacy");
        assert!(selector.matches(&labels(&[("app", "llama"), ("team", "a")])));
        for wrong in [
            &[("app", "llama")][..],
            &[("app", "other"), ("team", "a")],
            &[("app", "llama"), ("team", "a"), ("tier", "old")],
            &[("app", "llama"), ("team", "a"), ("legacy", "")],
        ] {
            assert!(!selector.matches(&labels(wrong)), "{wrong:?}");
        }
        assert!(Selector::default().matches(&labels(&[])));
    }

    #[test]
    fn an_unknown_operator_is_named() {
        let selector: LabelSelector =
            serde_json::from_str(r#"{"matchExpressions":[{"key":"a","operator":"Like"}]}"#).expect("a selector");
        assert_eq!(Selector::try_from(selector), Err(UnknownOperator("Like".into())));
    }
}
