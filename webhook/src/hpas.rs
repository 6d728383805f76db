//! Judge the HPAs that stand on a workload already.

use nimscale_rules::compile::Compiled;
use nimscale_rules::declare::Mode;
use nimscale_rules::emit::hpa;
use nimscale_rules::findings::{Code, Finding, cut};
use nimscale_rules::keys::{ADOPTABLE, DOMAIN};
use nimscale_rules::plan::Plan;

use crate::decide::Live;
use crate::review::Review;
use crate::snapshot::Hpa;

/// HPAs that keep ours from being made: two on one target work against each other.
pub(crate) fn others(review: &Review, compiled: &Compiled, live: &Live<'_>) -> Vec<Finding> {
    let plan = compiled.plan.as_ref().filter(|plan| plan.mode.value == Mode::Enforce);
    // Who wrote no key asked for no HPA: what a policy would have made is for its plan to tell.
    let (Some(hpas), Some(plan), false) = (live.hpas, plan, review.workload.annotations.is_empty()) else {
        return Vec::new();
    };
    rival(review, plan, hpas).into_iter().chain(refused(review, plan, hpas)).collect()
}

fn rival(review: &Review, plan: &Plan, hpas: &[Hpa]) -> Option<Finding> {
    let own_name = hpa::name(&plan.id.name);
    let uid = review.uid.as_deref();
    let rival = hpas.iter().find(|hpa| {
        let taken_over = hpa.adoptable && hpa.name == own_name || plan.adopt.as_ref() == Some(&hpa.name);
        !(hpa.is_of(uid) || hpa.is_left_behind(uid) || taken_over)
    })?;
    let (workload, name) = (cut(&plan.id.name, 40), cut(&rival.name, 40));
    let message = format!("{workload} is already managed by the HPA {name}");
    let help = format!("kubectl delete hpa {}, or {DOMAIN}/adopt-hpa: {}", rival.name, rival.name);
    Some(Finding::new(Code::Ns0411, review.workload.annotations_place.clone(), message).help(help))
}

fn refused(review: &Review, plan: &Plan, hpas: &[Hpa]) -> Option<Finding> {
    let name = plan.adopt.as_ref()?;
    let place = review.workload.annotation("adopt-hpa")?.value.whole();
    let uid = review.uid.as_deref();
    let (workload, shown) = (cut(&plan.id.name, 40), cut(name, 30));
    match hpas.iter().find(|hpa| hpa.name == *name) {
        Some(hpa) if hpa.adoptable || hpa.is_of(uid) => None,
        Some(_) => {
            let message = format!("HPA {shown} does not carry {ADOPTABLE}: \"true\"");
            Some(
                Finding::new(Code::Ns0413, place, message)
                    .help(format!("kubectl annotate hpa {name} {ADOPTABLE}=true")),
            )
        }
        // The key stays behind an adoption that is done.
        None if hpas.iter().any(|hpa| hpa.is_of(uid)) => None,
        None => {
            let message = format!("HPA {shown} is not there, or does not target {workload}");
            Some(Finding::new(Code::Ns0413, place, message).help("kubectl get hpa"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use nimscale_rules::compile::compile;
    use nimscale_rules::platform::Platform;
    use nimscale_rules::policy::Policies;
    use nimscale_rules::workload::{Workload, WorkloadId, WorkloadKind};

    use super::*;
    use crate::decide::{Outcome, Verdict, decide};
    use crate::review::Operation;

    fn foreign(name: &str) -> Hpa {
        let (owner, ours, adoptable) = (None, false, false);
        Hpa { name: name.to_owned(), owner, ours, adoptable, min: 1, max: 4, active: Some(true), current: 2 }
    }

    fn ours(owner: &str) -> Hpa {
        Hpa { owner: Some(owner.to_owned()), ours: true, ..foreign("llama-nimscale") }
    }

    fn workload(keys: &[(&str, &str)]) -> Workload {
        let id = WorkloadId { namespace: Some("prod".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
        let keys: BTreeMap<String, String> =
            keys.iter().map(|(key, value)| (format!("nimscale.dev/{key}"), (*value).to_owned())).collect();
        Workload::stored(id, &keys)
    }

    fn annotated(keys: &[(&str, &str)]) -> Review {
        let operation = Operation::Update { old: Box::new(workload(&[])), undo: false };
        Review { operation, uid: Some("u".to_owned()), ..Review::create(workload(keys)) }
    }

    fn decided(review: &Review, hpas: &[Hpa]) -> Verdict {
        let compiled = compile(&review.workload, &Policies::built_in(), &Platform::default());
        decide(review, &compiled, &Live { hpas: Some(hpas), grace: Duration::from_secs(600) })
    }

    fn denied(review: &Review, hpas: &[Hpa]) -> Vec<String> {
        match decided(review, hpas).outcome {
            Outcome::Allowed => Vec::new(),
            Outcome::Denied(errors) => errors.iter().map(|error| format!("{} {}", error.code, error.message)).collect(),
        }
    }

    const SCALE: (&str, &str) = ("scale", "1..8");

    #[test]
    fn another_hpa_on_the_workload_denies() {
        let message = ["NS0411 llama is already managed by the HPA llama-hpa"];
        assert_eq!(denied(&annotated(&[SCALE]), &[foreign("llama-hpa")]), message);
        assert_eq!(denied(&Review::create(workload(&[SCALE])), &[foreign("llama-hpa")]), message);
        assert_eq!(denied(&annotated(&[SCALE]), &[ours("u"), foreign("llama-hpa")]), message);
        let forged = Hpa { ours: true, ..foreign("llama-hpa") };
        assert_eq!(denied(&annotated(&[SCALE]), &[forged]), message, "a field manager without an owner is anybody's");
    }

    #[test]
    fn it_warns_where_no_key_changes() {
        let mut review = annotated(&[SCALE]);
        review.operation = Operation::Update { old: Box::new(review.workload.clone()), undo: false };
        let verdict = decided(&review, &[foreign("llama-hpa")]);
        assert_eq!((verdict.outcome, verdict.warnings[0].code), (Outcome::Allowed, Code::Ns0411));
    }

    #[test]
    fn our_own_hpa_is_no_rival() {
        assert_eq!(denied(&annotated(&[SCALE]), &[ours("u")]), [""; 0]);
        let left_behind = [ours("of a workload that was deleted")];
        assert_eq!(denied(&Review::create(workload(&[SCALE])), &left_behind), [""; 0], "kubectl replace --force");
    }

    #[test]
    fn a_rendered_hpa_of_our_name_is_taken_over() {
        let rendered = Hpa { adoptable: true, ..foreign("llama-nimscale") };
        assert_eq!(denied(&annotated(&[SCALE]), std::slice::from_ref(&rendered)), [""; 0]);
        let elsewhere = Hpa { adoptable: true, ..foreign("llama-hpa") };
        assert_eq!(denied(&annotated(&[SCALE]), &[elsewhere]).len(), 1, "under another name it takes a key");
    }

    #[test]
    fn an_observed_workload_and_one_without_keys_have_no_rival() {
        assert_eq!(denied(&annotated(&[SCALE, ("mode", "observe")]), &[foreign("llama-hpa")]), [""; 0]);
        assert_eq!(denied(&annotated(&[("scale", "off")]), &[foreign("llama-hpa")]), [""; 0]);
        assert_eq!(decided(&annotated(&[]), &[foreign("llama-hpa")]).warnings, []);
    }

    #[test]
    fn adoption_takes_an_hpa_that_is_there_and_says_so_itself() {
        let review = annotated(&[SCALE, ("adopt-hpa", "llama-hpa")]);
        let adoptable = Hpa { adoptable: true, ..foreign("llama-hpa") };
        assert_eq!(denied(&review, &[adoptable]), [""; 0]);
        let refused = ["NS0413 HPA llama-hpa does not carry nimscale.dev/adoptable: \"true\""];
        assert_eq!(denied(&review, &[foreign("llama-hpa")]), refused);
        let absent = ["NS0413 HPA llama-hpa is not there, or does not target llama"];
        assert_eq!(denied(&review, &[]), absent);
    }

    #[test]
    fn the_key_of_an_adoption_that_is_done_may_stay() {
        let review = annotated(&[SCALE, ("adopt-hpa", "llama-hpa")]);
        assert_eq!(denied(&review, &[ours("u")]), [""; 0]);
        assert_eq!(denied(&review, &[Hpa { name: "llama-hpa".to_owned(), ..ours("u") }]), [""; 0]);
    }

    #[test]
    fn a_manifest_in_a_file_has_no_cluster_to_ask() {
        let review = Review::create(workload(&[SCALE, ("adopt-hpa", "llama-hpa")]));
        let compiled = compile(&review.workload, &Policies::built_in(), &Platform::default());
        assert_eq!(decide(&review, &compiled, &Live::default()).outcome, Outcome::Allowed);
    }
}
