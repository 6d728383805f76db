//! A user's text with what the oracle must know of its places: which sides all pods share, and where series are read.
//!
//! Such a place stands in brackets that PromQL has not: `⟦…⟧` around a vector that all pods share, `⟪…⟫` around a number
//! that they share, `⟨…⟩` around a selector.

use super::compiler::Idle;
use super::data::{WorkloadKind, is_own};

/// What makes one sample of several, and so what the metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// One value a pod, by nothing: the text has one sample at most.
    Unique,
    /// The largest of a pod's.
    Max,
    /// The sum of a pod's.
    Sum,
    /// One value for a workload: what grows with its pods.
    Total(WorkloadKind),
    /// One value for a workload, which does not: times the pods that serve.
    Level(WorkloadKind),
}

#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The user's own text, with brackets.
    pub text: &'a str,
    pub root: Root,
    pub idle: Idle,
}

/// One place of a text.
pub enum Piece<'a> {
    Text(&'a str),
    SharedVector(&'a str),
    SharedNumber(&'a str),
}

const BRACKETS: [char; 6] = ['⟦', '⟧', '⟪', '⟫', '⟨', '⟩'];

/// The text as the user typed it.
pub fn plain(text: &str) -> String {
    text.replace(BRACKETS, "")
}

/// The text, cut where a side begins or ends that all pods share.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(['⟦', '⟪']) {
        pieces.push(Piece::Text(before));
        let vector = rest[before.len()..].starts_with('⟦');
        let (side, after) = from.split_once(['⟧', '⟫']).expect("a bracket closes");
        pieces.push(if vector { Piece::SharedVector(side) } else { Piece::SharedNumber(side) });
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// The selectors of a text, without range and offset.
pub fn selectors(text: &str) -> impl Iterator<Item = &str> {
    text.split('⟨').skip(1).map(|from| from.split_once('⟩').expect("a bracket closes").0)
}

pub fn family(selector: &str) -> &str {
    selector.split('{').next().unwrap_or_default().trim_end()
}

/// The selector by which the pods that serve are counted: the first whose series the pods make themselves, else the
/// first whose series have a pod at all.
pub fn serving(text: &str) -> Option<&str> {
    let mut with_pod = selectors(text).filter(|selector| super::data::has_pod(family(selector)));
    selectors(text).find(|selector| is_own(family(selector))).or_else(|| with_pod.next())
}

/// True for what reads series of pods: it changes with their number.
pub fn grows(text: &str) -> bool {
    selectors(text).any(|selector| super::data::has_pod(family(selector)))
}
