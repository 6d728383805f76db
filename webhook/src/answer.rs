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
    let asked = Asked::of(&request);
    asked.within(|| {
        let Some(review) = request.review()? else {
            return Ok(asked.passed(Outcome::Skipped));
        };
        let verdict = judge(&review, world);
        Ok(asked.told(review, verdict))
    })
}

fn judge(review: &Review, world: &World<'_>) -> Verdict {
    let Snapshot { policies, platform, hpas } = world.snapshot;
    let compiled = world.memo.compile(&review.workload, policies, platform);
    let live = Live { hpas: Some(hpas.of(&review.workload.id)), grace: world.grace };
    decide(review, &compiled, &live)
}

/// What every answer repeats of its request.
struct Asked {
    uid: String,
    operation: &'static str,
    dry_run: bool,
}

impl Asked {
    fn of(request: &Request<'_>) -> Self {
        let operation = match request.operation() {
            "CREATE" => "CREATE",
            "UPDATE" => "UPDATE",
            _ => "OTHER",
        };
        Self { uid: request.uid().to_owned(), operation, dry_run: request.dry_run() }
    }

    /// A request on which we fail is let pass, as it would be if we were not there: the controller sees the object too.
    fn within(&self, judged: impl FnOnce() -> Result<Answer, Malformed>) -> Result<Answer, Malformed> {
        // Nothing that a judgement leaves half done is read again: what is shared is the memo, and its lock is not held.
        catch_unwind(AssertUnwindSafe(judged)).unwrap_or_else(|_| Ok(self.passed(Outcome::Error)))
    }

    fn passed(&self, outcome: Outcome) -> Answer {
        let body = reply::allowed(&self.uid, None, Vec::new());
        Answer { body, outcome, operation: self.operation, dry_run: self.dry_run, workload: None, codes: Vec::new() }
    }

    fn told(&self, review: Review, verdict: Verdict) -> Answer {
        let Verdict { outcome, warnings, replicas } = verdict;
        let warned = reply::warnings(&warnings);
        let mut findings = warnings;
        let (body, outcome) = match outcome {
            decide::Outcome::Allowed => {
                let patch = patch(&review.workload, replicas);
                let outcome = if patch.is_some() { Outcome::Patched } else { Outcome::Allowed };
                (reply::allowed(&self.uid, patch.as_ref(), warned), outcome)
            }
            decide::Outcome::Denied(errors) => {
                let message = reply::refusal(&review.workload, &errors);
                findings.extend(errors);
                (reply::denied(&self.uid, message, warned), Outcome::Denied)
            }
        };
        let codes = findings.iter().map(|Finding { code, .. }| *code).collect();
        let (operation, dry_run) = (self.operation, self.dry_run);
        Answer { body, outcome, operation, dry_run, workload: Some(review.workload.id), codes }
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
        let asked = Asked::of(&Request::read(body).expect("a request"));
        let answer = asked.within(|| panic!("as a test of what the server does then")).expect("an answer");
        assert_eq!((answer.outcome, answer.operation, answer.dry_run), (Outcome::Error, "CREATE", true));
        assert_eq!(answer.body, reply::allowed("u", None, Vec::new()));
    }
}
