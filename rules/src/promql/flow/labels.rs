//! Know which labels a result surely has, may have, and cannot have, and which clause made it so.

use std::collections::BTreeMap;

use crate::place::Span;
use crate::promql::node::LabelList;

/// The labels of a result: those something is known of, and what holds for all others.
#[derive(Clone, Debug)]
pub struct Labels {
    known: BTreeMap<String, Fact>,
    /// `Never` when the set is closed.
    rest: Fact,
}

/// Why something is so: a clause of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub clause: String,
    pub span: Span,
}

/// What is known of one label.
#[derive(Clone, Debug)]
pub struct Fact {
    pub presence: Presence,
    pub why: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Surely,
    Maybe,
    Never,
}

impl Labels {
    /// Any label may be there.
    pub fn open(why: Reason) -> Self {
        Self { known: BTreeMap::new(), rest: Fact { presence: Presence::Maybe, why } }
    }

    /// No label at all.
    pub fn none(clause: &str, span: Span) -> Self {
        let why = Reason { clause: clause.to_owned(), span };
        Self { known: BTreeMap::new(), rest: Fact { presence: Presence::Never, why } }
    }

    /// What is known of a label.
    pub fn fact(&self, label: &str) -> &Fact {
        self.known.get(label).unwrap_or(&self.rest)
    }

    /// The labels that something is known of, with their facts.
    pub fn known(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.known.iter().map(|(label, fact)| (label.as_str(), fact))
    }

    /// What holds for every label that is not named.
    pub fn rest(&self) -> &Fact {
        &self.rest
    }

    /// The labels that may be there, when no other can be.
    pub fn closed(&self) -> Option<Vec<&str>> {
        let there = self.known.iter().filter(|(_, fact)| fact.presence != Presence::Never);
        (self.rest.presence == Presence::Never).then(|| there.map(|(label, _)| label.as_str()).collect())
    }

    pub fn set(&mut self, label: &str, presence: Presence, why: Reason) {
        self.known.insert(label.to_owned(), Fact { presence, why });
    }

    /// Only the listed labels stay. On a spine `beside` is the namespace: the request fixes it, and it stays.
    pub fn keep(&mut self, list: &LabelList, beside: Option<&str>, why: &Reason) {
        let kept = list.labels.iter().map(String::as_str).chain(beside);
        self.known = kept.map(|label| (label.to_owned(), self.fact(label).clone())).collect();
        self.rest = Fact { presence: Presence::Never, why: why.clone() };
    }

    /// The listed labels go, but for the namespace of a spine.
    pub fn drop(&mut self, list: &LabelList, beside: Option<&str>, why: &Reason) {
        for label in list.labels.iter().filter(|label| Some(label.as_str()) != beside) {
            self.set(label, Presence::Never, why.clone());
        }
    }

    /// Of two sides whose labels were found equal: what either side knows holds.
    pub fn meet(&self, other: &Self) -> Self {
        self.combine(other, |a, b| match (a.presence, b.presence) {
            (Presence::Maybe, _) => b.clone(),
            (Presence::Surely | Presence::Never, _) => a.clone(),
        })
    }

    /// Of one side or the other: only what both sides know holds.
    pub fn join(&self, other: &Self) -> Self {
        self.combine(other, |a, b| {
            let presence = if a.presence == b.presence { a.presence } else { Presence::Maybe };
            Fact { presence, why: if b.presence == Presence::Maybe { b.why.clone() } else { a.why.clone() } }
        })
    }

    fn combine(&self, other: &Self, fact: impl Fn(&Fact, &Fact) -> Fact) -> Self {
        let labels = self.known.keys().chain(other.known.keys());
        let known = labels.map(|label| (label.clone(), fact(self.fact(label), other.fact(label)))).collect();
        Self { known, rest: fact(&self.rest, &other.rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(clause: &str) -> Reason {
        Reason { clause: clause.to_owned(), span: Span::default() }
    }

    fn series(sure: &[&str]) -> Labels {
        let mut labels = Labels::open(why("series"));
        sure.iter().for_each(|label| labels.set(label, Presence::Surely, why("series")));
        labels
    }

    #[test]
    fn by_closes_the_set_and_keeps_the_namespace() {
        let mut labels = series(&["namespace", "pod", "job"]);
        labels.keep(&LabelList::of(["pod", "engine"]), Some("namespace"), &why("by (pod, engine)"));
        assert_eq!(labels.closed(), Some(vec!["engine", "namespace", "pod"]));
        assert_eq!(labels.fact("job").presence, Presence::Never);
        assert_eq!(labels.fact("job").why.clause, "by (pod, engine)");
        assert_eq!(labels.fact("engine").presence, Presence::Maybe);
    }

    #[test]
    fn without_drops_the_listed_but_never_the_namespace() {
        let mut labels = series(&["namespace", "pod"]);
        labels.drop(&LabelList::of(["pod", "namespace"]), Some("namespace"), &why("without"));
        assert_eq!(labels.fact("pod").presence, Presence::Never);
        assert_eq!(labels.fact("namespace").presence, Presence::Surely);
        assert_eq!(labels.closed(), None);
    }

    #[test]
    fn a_match_knows_what_either_side_knows_and_a_union_what_both_know() {
        let (a, b) = (series(&["pod"]), series(&["engine"]));
        assert_eq!(a.meet(&b).fact("engine").presence, Presence::Surely);
        assert_eq!(a.join(&b).fact("engine").presence, Presence::Maybe);
    }
}
