//! Decide one request: allow, warn or deny, and which replicas the object shall have.

use nimscale_rules::compile::Compiled;
use nimscale_rules::declare::Mode;
use nimscale_rules::findings::{Code, Finding, Severity};

use crate::review::{Operation, Review};

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

/// Decides a request. Deciding on one's own result changes nothing.
pub fn decide(review: &Review, compiled: &Compiled) -> Verdict {
    let allowed = Verdict { outcome: Outcome::Allowed, warnings: Vec::new(), replicas: None };
    if review.deleting {
        return allowed;
    }
    let shown = compiled.findings.iter().filter(|finding| finding.severity() != Severity::Note);
    let (errors, mut warnings): (Vec<Finding>, Vec<Finding>) = shown.cloned().partition(Finding::is_error);
    if !errors.is_empty() && review.writes_keys() {
        return Verdict { outcome: Outcome::Denied(errors), warnings, replicas: None };
    }
    // A compiler or policy that became stricter must not stop a restart of what was accepted once.
    warnings.splice(0..0, errors);
    let replicas = raised(review, compiled);
    if let Some((finding, _)) = &replicas {
        warnings.push(finding.clone());
    }
    Verdict { outcome: Outcome::Allowed, warnings, replicas: replicas.map(|(_, replicas)| replicas) }
}

/// A new workload starts at its minimum; 0 is the API's own way to hold one.
fn raised(review: &Review, compiled: &Compiled) -> Option<(Finding, u32)> {
    match review.operation {
        Operation::Create => {}
        Operation::Update { .. } => return None,
    }
    let plan = compiled.plan.as_ref().filter(|plan| plan.mode.value == Mode::Enforce)?;
    let replicas = review.workload.replicas.as_ref()?;
    let min = plan.bounds().min;
    if replicas.count == 0 || replicas.count >= min {
        return None;
    }
    let message = format!("replicas raised from {} to the minimum {min}", replicas.count);
    let finding = Finding::new(Code::Ns0403, replicas.place.clone(), message).help("delete the line");
    Some((finding, min))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nimscale_rules::compile::compile;
    use nimscale_rules::place::{Place, Span};
    use nimscale_rules::platform::Platform;
    use nimscale_rules::policy::Policies;
    use nimscale_rules::workload::{Replicas, Workload, WorkloadId, WorkloadKind};

    use super::*;

    fn workload(scale: &str, replicas: Option<u32>) -> Workload {
        let id = WorkloadId { namespace: Some("prod".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
        let place = Place::of_text(Span::default());
        Workload {
            replicas: replicas.map(|count| Replicas { count, place }),
            ..Workload::stored(id, &BTreeMap::from([("nimscale.dev/scale".to_owned(), scale.to_owned())]))
        }
    }

    fn decided(review: &Review) -> Verdict {
        decide(review, &compile(&review.workload, &Policies::built_in(), &Platform::default()))
    }

    fn update(old: &str, new: &str) -> Review {
        let operation = Operation::Update { old: Box::new(workload(old, Some(1))) };
        Review { operation, workload: workload(new, Some(1)), deleting: false }
    }

    #[test]
    fn a_new_workload_starts_at_its_minimum() {
        let verdict = decided(&Review::create(workload("2..8", Some(1))));
        assert_eq!(verdict.replicas, Some(2));
        assert_eq!(verdict.warnings[0].code, Code::Ns0403);
        assert_eq!(
            decided(&Review::create(workload("2..8", Some(2)))).replicas,
            None,
            "deciding twice is deciding once"
        );
    }

    #[test]
    fn zero_and_absent_replicas_stay() {
        assert_eq!(decided(&Review::create(workload("2..8", Some(0)))).replicas, None);
        assert_eq!(decided(&Review::create(workload("2..8", None))).replicas, None);
        assert_eq!(decided(&Review::create(workload("off", Some(1)))).replicas, None);
    }

    #[test]
    fn an_error_denies_where_keys_are_written_and_warns_elsewhere() {
        let denied = |review: &Review| matches!(decided(review).outcome, Outcome::Denied(_));
        assert!(denied(&Review::create(workload("1-8", None))));
        assert!(denied(&update("1..8", "1-8")));
        assert!(!denied(&update("1-8", "1-8")));
        assert_eq!(decided(&update("1-8", "1-8")).warnings[0].code, Code::Ns0111);
        assert!(!denied(&Review { deleting: true, ..update("1..8", "1-8") }));
    }
}
