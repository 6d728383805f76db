//! Turn the bytes of a request into the bytes of its answer. Pure, and never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nimscale_rules::findings::{Code, Finding};
use nimscale_rules::workload::WorkloadId;

use crate::decide::{self, Live, Verdict, decide};
use crate::memo::Memo;
use crate::patch::patch;
use crate::reply;
use crate::review::{Malformed, Request, Review};
use crate::snapshot::Snapshot;

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    pub memo: &'a Memo,
    /// How long an HPA outlives the keys of its workload.
    pub grace: Duration,
}

/// The answer of a request, and what became of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// An AdmissionReview in JSON.
    pub body: Vec<u8>,
    pub outcome: Outcome,
    /// `CREATE` or `UPDATE`; of others only that they are others.
    pub operation: &'static str,
    pub dry_run: bool,
    /// The workload, when the request is about one.
    pub workload: Option<WorkloadId>,
    /// What its author was told.
    pub codes: Vec<Code>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Patched,
    Denied,
    /// It is not ours to judge.
    Skipped,
    /// It was let pass unjudged: we failed.
    Error,
}

/// Answers a request.
pub fn answer(body: &[u8], world: &World<'_>) -> Result<Answer, Malformed> {
    let request = Request::read(body)?;
    within(&request, || {
        let Some(review) = request.review()? else {
            return Ok(passed(&request, Outcome::Skipped));
        };
        let verdict = judge(&review, world);
        Ok(told(&request, review, verdict))
    })
}

fn judge(review: &Review, world: &World<'_>) -> Verdict {
    let Snapshot { policies, platform, hpas } = world.snapshot;
    let compiled = world.memo.compile(&review.workload, policies, platform);
    let live = Live { hpas: Some(hpas.of(&review.workload.id)), grace: world.grace };
    decide(review, &compiled, &live)
}

/// A request on which we fail is let pass, as it would be if we were not there: the controller sees the object too.
fn within(request: &Request<'_>, judged: impl FnOnce() -> Result<Answer, Malformed>) -> Result<Answer, Malformed> {
    // Nothing that a judgement leaves half done is read again: what is shared is the memo, and its lock is not held.
    catch_unwind(AssertUnwindSafe(judged)).unwrap_or_else(|_| Ok(passed(request, Outcome::Error)))
}

fn passed(request: &Request<'_>, outcome: Outcome) -> Answer {
    let body = reply::allowed(&request.uid, None, Vec::new());
    let (operation, dry_run) = (operation(request), request.dry_run());
    Answer { body, outcome, operation, dry_run, workload: None, codes: Vec::new() }
}

fn told(request: &Request<'_>, review: Review, verdict: Verdict) -> Answer {
    let Verdict { outcome, warnings, replicas } = verdict;
    let warned = reply::warnings(&warnings);
    let mut findings = warnings;
    let (body, outcome) = match outcome {
        decide::Outcome::Allowed => {
            let patch = patch(&review.workload, replicas);
            let outcome = if patch.is_some() { Outcome::Patched } else { Outcome::Allowed };
            (reply::allowed(&request.uid, patch.as_ref(), warned), outcome)
        }
        decide::Outcome::Denied(errors) => {
            let message = reply::refusal(&review.workload, &errors);
            findings.extend(errors);
            (reply::denied(&request.uid, message, warned), Outcome::Denied)
        }
    };
    let codes = findings.iter().map(|Finding { code, .. }| *code).collect();
    let (operation, dry_run) = (operation(request), request.dry_run());
    Answer { body, outcome, operation, dry_run, workload: Some(review.workload.id), codes }
}

fn operation(request: &Request<'_>) -> &'static str {
    match request.operation.as_str() {
        "CREATE" => "CREATE",
        "UPDATE" => "UPDATE",
        _ => "OTHER",
    }
}

impl Outcome {
    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Patched => "patched",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_lets_the_request_pass_without_a_word() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",
            "kind":{"group":"apps","version":"v1","kind":"Deployment"},"operation":"CREATE","dryRun":true}}"#;
        let request = Request::read(body).expect("a request");
        let answer = within(&request, || panic!("as a test of what the server does then")).expect("an answer");
        assert_eq!((answer.outcome, answer.operation, answer.dry_run), (Outcome::Error, "CREATE", true));
        assert_eq!(answer.body, reply::allowed("u", None, Vec::new()));
    }
}
