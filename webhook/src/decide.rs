//! Decide one request: allow, warn or deny, and which replicas the object shall have.

use std::time::Duration;

use nimscale_rules::compile::Compiled;
use nimscale_rules::findings::{Code, Finding, Severity, cut};

use crate::hpas;
use crate::replicas;
use crate::review::{Operation, Review};
use crate::snapshot::Hpa;

/// The decision on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// What to tell the author beside the outcome; errors too, where they don't deny.
    pub warnings: Vec<Finding>,
    /// `spec.replicas` as it shall be stored; `None` leaves it.
    pub replicas: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    /// The errors that deny.
    Denied(Vec<Finding>),
}

/// What is known of the cluster around the workload; by default nothing, as for a manifest in a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live<'a> {
    /// The HPAs that target it, by name; `None` where there is no cluster to ask.
    pub hpas: Option<&'a [Hpa]>,
    /// How long an HPA outlives the keys of its workload.
    pub grace: Duration,
}

/// Decides a request. Deciding on one's own result changes nothing.
pub fn decide(review: &Review, compiled: &Compiled, live: &Live<'_>) -> Verdict {
    if review.deleting {
        return Verdict { outcome: Outcome::Allowed, warnings: Vec::new(), replicas: None };
    }
    let shown = compiled.findings.iter().filter(|finding| finding.severity() != Severity::Note).cloned();
    let findings = shown.chain(hpas::others(review, compiled, live)).chain(owner(review));
    let (errors, mut warnings): (Vec<Finding>, Vec<Finding>) = findings.partition(Finding::is_error);
    if !errors.is_empty() && may_deny(review) {
        return Verdict { outcome: Outcome::Denied(errors), warnings, replicas: None };
    }
    // A compiler or policy that became stricter must not stop a restart of what was accepted once.
    warnings.splice(0..0, errors);
    let (replicas, of_replicas) = replicas::guard(review, compiled, live);
    warnings.extend(of_replicas);
    Verdict { outcome: Outcome::Allowed, warnings, replicas }
}

/// Only who writes our keys is denied; never who has none, and never who goes back to what was accepted before.
fn may_deny(review: &Review) -> bool {
    let undo = match review.operation {
        Operation::Create => false,
        Operation::Update { undo, .. } => undo,
    };
    review.writes_keys() && !review.workload.annotations.is_empty() && !undo
}

/// Keys on a workload that another controller owns.
fn owner(review: &Review) -> Option<Finding> {
    let workload = &review.workload;
    let owner = workload.owner.as_ref().filter(|_| review.writes_keys())?;
    let place = workload.annotations.first()?.key_place.clone();
    if owner.is_nim_service() {
        // The operator copies a NIMService's annotations down: what it writes itself it does not overwrite.
        let message = "NIM Operator overwrites this annotation";
        let finding = Finding::new(Code::Ns0424, place, message).help("annotate the NIMService");
        return (!review.by_service_account).then_some(finding);
    }
    let message = format!("owned by {} {}: observed only", cut(&owner.kind, 30), cut(&owner.name, 40));
    Some(Finding::new(Code::Ns0423, place, message).help("scale its owner"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nimscale_rules::compile::compile;
    use nimscale_rules::place::{Place, Span};
    use nimscale_rules::platform::Platform;
    use nimscale_rules::policy::Policies;
    use nimscale_rules::workload::{Owner, Replicas, Workload, WorkloadId, WorkloadKind};

    use super::*;

    fn workload(scale: &str) -> Workload {
        let id = WorkloadId { namespace: Some("prod".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
        let replicas = Some(Replicas { count: 1, place: Place::of_text(Span::default()) });
        let keys = BTreeMap::from([("nimscale.dev/scale".to_owned(), scale.to_owned())]);
        Workload { replicas, ..Workload::stored(id, &keys) }
    }

    fn update(old: &str, new: &str) -> Review {
        let operation = Operation::Update { old: Box::new(workload(old)), undo: false };
        Review { operation, states_replicas: false, uid: Some("u".to_owned()), ..Review::create(workload(new)) }
    }

    fn decided(review: &Review) -> Verdict {
        let compiled = compile(&review.workload, &Policies::built_in(), &Platform::default());
        decide(review, &compiled, &Live::default())
    }

    fn denied(review: &Review) -> bool {
        matches!(decided(review).outcome, Outcome::Denied(_))
    }

    fn codes(verdict: &Verdict) -> Vec<Code> {
        verdict.warnings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn an_error_denies_where_keys_are_written_and_warns_elsewhere() {
        assert!(denied(&Review::create(workload("1-8"))));
        assert!(denied(&update("1..8", "1-8")));
        assert!(!denied(&update("1-8", "1-8")));
        assert_eq!(codes(&decided(&update("1-8", "1-8"))), [Code::Ns0111]);
        assert!(!denied(&update("1-8", "1..8")), "what mends it passes");
    }

    #[test]
    fn who_takes_an_object_away_is_told_nothing() {
        let verdict = decided(&Review { deleting: true, ..update("1..8", "1-8") });
        assert_eq!(verdict, Verdict { outcome: Outcome::Allowed, warnings: Vec::new(), replicas: None });
    }

    #[test]
    fn a_rollback_to_what_is_refused_now_warns() {
        let mut review = update("1..8", "1-8");
        review.operation = match review.operation {
            Operation::Update { old, .. } => Operation::Update { old, undo: true },
            Operation::Create => unreachable!("it is an update"),
        };
        assert!(!denied(&review));
        assert_eq!(codes(&decided(&review)), [Code::Ns0111]);
    }

    #[test]
    fn what_has_no_key_of_ours_is_never_denied() {
        let bare = Workload { annotations: Vec::new(), ..workload("1..8") };
        let error = Finding::new(Code::Ns0224, bare.annotations_place.clone(), "policy p is invalid");
        let compiled = Compiled { findings: vec![error], ..Compiled::default() };
        let verdict = decide(&Review::create(bare), &compiled, &Live::default());
        assert_eq!((&verdict.outcome, codes(&verdict)), (&Outcome::Allowed, vec![Code::Ns0224]));
    }

    #[test]
    fn notes_are_for_explain() {
        let review = Review { states_replicas: false, ..Review::create(workload("1..8")) };
        let note = Finding::new(Code::Ns0371, review.workload.annotations_place.clone(), "a division without a guard");
        let compiled = Compiled { findings: vec![note], ..Compiled::default() };
        assert_eq!(decide(&review, &compiled, &Live::default()).warnings, []);
    }

    #[test]
    fn keys_on_what_another_controller_owns_are_pointed_at_their_place() {
        let owned = |api_version: &str, kind: &str| {
            let owner = Owner { api_version: api_version.to_owned(), kind: kind.to_owned(), name: "llama".to_owned() };
            Review { workload: Workload { owner: Some(owner), ..workload("1..8") }, ..update("1..4", "1..8") }
        };
        let verdict = decided(&owned("serving.kserve.io/v1beta1", "InferenceService"));
        assert_eq!(verdict.warnings[0].message, "owned by InferenceService llama: observed only");
        assert_eq!(codes(&verdict), [Code::Ns0423]);
        let operator = owned("apps.nvidia.com/v1alpha1", "NIMService");
        assert_eq!(codes(&decided(&operator)), [Code::Ns0424]);
        assert_eq!(codes(&decided(&Review { by_service_account: true, ..operator })), []);
        let mut untouched = owned("serving.kserve.io/v1beta1", "InferenceService");
        untouched.operation = Operation::Update { old: Box::new(untouched.workload.clone()), undo: false };
        assert_eq!(codes(&decided(&untouched)), [], "who changes no key is not told again");
    }
}
