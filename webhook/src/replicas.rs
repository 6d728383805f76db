//! Guard `spec.replicas`: what an HPA chose outlives an apply, and its author is told.

use std::time::Duration;

use nimscale_rules::compile::Compiled;
use nimscale_rules::declare::{Attach, Mode, Range, attach};
use nimscale_rules::findings::{Code, Finding, cut};
use nimscale_rules::place::Place;
use nimscale_rules::plan::Plan;
use nimscale_rules::policy::Guard;
use nimscale_rules::workload::Workload;

use crate::decide::Live;
use crate::review::{Operation, Review};
use crate::snapshot::Hpa;

/// `spec.replicas` as it shall be stored, `None` where it stays, and what its author is to know.
pub(crate) fn guard(review: &Review, compiled: &Compiled, live: &Live<'_>) -> (Option<u32>, Vec<Finding>) {
    let Some(replicas) = &review.workload.replicas else {
        return (None, Vec::new());
    };
    let case = Case {
        review,
        plan: compiled.plan.as_ref().filter(|plan| plan.mode.value == Mode::Enforce),
        // What another controller owns, it sets itself.
        guard: if review.workload.owner.is_some() { Guard::Off } else { compiled.guard },
        hpas: live.hpas.unwrap_or_default(),
        grace: live.grace,
        new: replicas.count,
        place: &replicas.place,
    };
    match &review.operation {
        Operation::Create => case.create(),
        Operation::Update { old, .. } => case.update(old, compiled.attach),
    }
}

/// A request that has `spec.replicas`.
struct Case<'a> {
    review: &'a Review,
    /// Only where it makes an HPA.
    plan: Option<&'a Plan>,
    guard: Guard,
    hpas: &'a [Hpa],
    grace: Duration,
    new: u32,
    place: &'a Place,
}

/// How a request ends the scaling of its workload by an HPA of ours.
#[derive(Clone, Copy)]
enum Ending {
    /// The keys are gone; the HPA lives on for the grace.
    KeysRemoved,
    /// `scale: "off"`.
    Off,
}

impl Case<'_> {
    /// A new workload starts at its minimum; 0 is the API's own way to hold one.
    fn create(&self) -> (Option<u32>, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut stored = None;
        let min = self.plan.map_or(0, |plan| plan.bounds().min);
        if self.new != 0 && self.new < min {
            let new = self.new;
            let message = match self.guard {
                Guard::Preserve => {
                    stored = Some(min);
                    Some(format!("replicas raised from {new} to the minimum {min}"))
                }
                Guard::Warn => {
                    Some(format!("replicas {new} are under the minimum {min}, to which the HPA raises them"))
                }
                Guard::Off => None,
            };
            findings.extend(message.map(|text| self.finding(Code::Ns0403, text).help("delete the line")));
        }
        findings.extend(self.stated());
        (stored, findings)
    }

    fn update(&self, old: &Workload, attach: Attach) -> (Option<u32>, Vec<Finding>) {
        let Some(was) = old.replicas.as_ref().map(|replicas| replicas.count) else {
            return (None, Vec::new());
        };
        let ending = self.ending(old, attach);
        let opted_out = attach == Attach::Off && ending.is_none();
        let resets = !opted_out && self.resets(was, ending);
        let kept = match self.guard {
            Guard::Preserve => resets,
            Guard::Warn | Guard::Off => false,
        };
        let mut findings = Vec::new();
        if let Some(ending) = ending {
            findings.extend(self.ends(ending, was, kept));
        } else if resets && self.guard != Guard::Off {
            findings.push(self.reset(was, kept));
        } else if !opted_out {
            findings.extend(self.stated());
        }
        findings.extend(self.moves(if kept { was } else { self.new }));
        (kept.then_some(was), findings)
    }

    /// True when the request would undo what an HPA chose. To and from 0 is the API's own way to hold a workload.
    fn resets(&self, was: u32, ending: Option<Ending>) -> bool {
        let (up_or_down, between) = (was != self.new, was != 0 && self.new != 0);
        let active = self.hpas.iter().any(|hpa| hpa.active == Some(true));
        // Where `paused` leaves the HPA no choice, the request says what the HPA will do.
        let held = self.plan.map(Plan::bounds).is_some_and(|range| (range.min, range.max) == (self.new, self.new));
        // An HPA that sees no metric adds nothing back: what it had chosen is all there is. More may be just what helps.
        let undoes = !self.hpas.is_empty() && (active || ending.is_some() || self.new < was);
        up_or_down && between && !held && undoes
    }

    fn ending(&self, old: &Workload, now: Attach) -> Option<Ending> {
        self.hpas.iter().find(|hpa| hpa.is_of(self.review.uid.as_deref()))?;
        match (attach(old), now) {
            (Attach::Declared, Attach::NotDeclared) => Some(Ending::KeysRemoved),
            (Attach::Declared, Attach::Off) => Some(Ending::Off),
            // A policy keeps what the keys began.
            (Attach::Declared, Attach::Declared | Attach::ByPolicy) => None,
            (Attach::Off | Attach::NotDeclared | Attach::ByPolicy, _) => None,
        }
    }

    fn ends(&self, ending: Ending, was: u32, kept: bool) -> Option<Finding> {
        let new = self.new;
        let (message, help) = match (ending, kept) {
            (Ending::KeysRemoved, _) => {
                let grace = spoken(self.grace);
                let then = if kept {
                    format!("; replicas stay {was}, the next apply sets {new}")
                } else {
                    "; put them back to keep it".to_owned()
                };
                let message = format!("keys removed (rollout undo?): scaling ends in {grace}{then}");
                (message, "put the keys back, or nimscale.dev/scale: \"off\"")
            }
            (Ending::Off, true) => {
                (format!("scaling is off: replicas stay {was} now, the next apply sets {new}"), "delete spec.replicas")
            }
            (Ending::Off, false) => return None,
        };
        Some(self.finding(Code::Ns0404, message).help(help))
    }

    fn reset(&self, was: u32, kept: bool) -> Finding {
        let new = self.new;
        let (becomes, line) = if kept {
            (format!("replicas kept at {was} (manifest: {new})"), "spec.replicas")
        } else {
            (format!("replicas {was} -> {new} until the HPA's next pass"), "the line")
        };
        let ways_out = match (self.plan, self.hpas.first()) {
            (None, Some(hpa)) => format!("; HPA {} scales it: delete {line}", cut(&hpa.name, 18)),
            (Some(_), _) | (None, None) => format!("; delete {line}, or hold with paused: \"{new}\""),
        };
        let message = format!("{becomes}{ways_out}");
        self.finding(Code::Ns0402, message).help("delete the line")
    }

    /// A manifest that states the replicas of a workload that an HPA scales, or will.
    fn stated(&self) -> Option<Finding> {
        let scaled = self.plan.is_some() && self.review.workload.owner.is_none() || !self.hpas.is_empty();
        let message = "spec.replicas is set: each apply resets what the HPA chose; delete the line";
        (self.review.states_replicas && scaled).then(|| self.finding(Code::Ns0401, message))
    }

    /// Live replicas that the author's own edit of the range moves at once.
    fn moves(&self, live: u32) -> Option<Finding> {
        let plan = self.plan.filter(|_| self.review.writes_keys() && self.review.workload.owner.is_none())?;
        let inside = |range: Range| (range.min..=range.max).contains(&live);
        let bounds = plan.bounds();
        let ours = self.hpas.iter().find(|hpa| hpa.is_of(self.review.uid.as_deref()));
        // Outside of the range that holds already, it is on its way, and not by this request.
        let was_inside = ours.is_none_or(|hpa| inside(Range { min: hpa.min, max: hpa.max }));
        let moves = live != 0 && was_inside && !inside(bounds);
        let to = live.clamp(bounds.min, bounds.max);
        moves.then(|| {
            Finding::new(
                Code::Ns0405,
                self.review.workload.annotations_place.clone(),
                format!("live {live} -> {to} now"),
            )
        })
    }

    fn finding(&self, code: Code, message: impl Into<String>) -> Finding {
        Finding::new(code, self.place.clone(), message)
    }
}

fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        60 => "1 minute".to_owned(),
        seconds if seconds > 60 && seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nimscale_rules::compile::compile;
    use nimscale_rules::platform::Platform;
    use nimscale_rules::policy::Policies;
    use nimscale_rules::workload::{Owner, Replicas, WorkloadId, WorkloadKind};

    use super::*;
    use crate::decide::decide;

    const GRACE: Duration = Duration::from_secs(600);

    fn workload(scale: &str, replicas: Option<u32>) -> Workload {
        let id = WorkloadId { namespace: Some("prod".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
        let keys = [("nimscale.dev/scale".to_owned(), scale.to_owned())].into_iter();
        let place = Place { path: "/spec/replicas".to_owned(), ..Place::of_text(Default::default()) };
        Workload {
            replicas: replicas.map(|count| Replicas { count, place }),
            ..Workload::stored(id, &keys.filter(|(_, scale)| !scale.is_empty()).collect::<BTreeMap<_, _>>())
        }
    }

    fn created(scale: &str, replicas: u32) -> Review {
        Review { states_replicas: false, ..Review::create(workload(scale, Some(replicas))) }
    }

    /// From one scale and replicas to others.
    fn update(old: (&str, u32), new: (&str, u32)) -> Review {
        let operation = Operation::Update { old: Box::new(workload(old.0, Some(old.1))), undo: false };
        Review { operation, uid: Some("u".to_owned()), ..created(new.0, new.1) }
    }

    fn hpa(active: Option<bool>) -> Hpa {
        let (name, owner) = ("llama-nimscale".to_owned(), Some("u".to_owned()));
        Hpa { name, owner, ours: true, adoptable: false, min: 1, max: 8, active, current: 3 }
    }

    fn foreign() -> Hpa {
        Hpa { name: "llama-hpa".to_owned(), owner: None, ours: false, ..hpa(Some(true)) }
    }

    /// The replicas as they are stored where they are changed, and what is told.
    fn guarded_by(guard: Guard, review: &Review, hpas: &[Hpa]) -> (Option<u32>, Vec<String>) {
        let compiled = Compiled { guard, ..compile(&review.workload, &Policies::built_in(), &Platform::default()) };
        let verdict = decide(review, &compiled, &Live { hpas: Some(hpas), grace: GRACE });
        let told = verdict.warnings.iter().map(|finding| format!("{} {}", finding.code, finding.message)).collect();
        (verdict.replicas, told)
    }

    fn guarded(review: &Review, hpas: &[Hpa]) -> (Option<u32>, Vec<String>) {
        guarded_by(Guard::Preserve, review, hpas)
    }

    const NOTHING: (Option<u32>, Vec<String>) = (None, Vec::new());

    #[test]
    fn create_with_0_stays_0() {
        assert_eq!(guarded(&created("2..8", 0), &[]), NOTHING);
    }

    #[test]
    fn create_below_the_minimum_is_the_minimum() {
        let told = vec!["NS0403 replicas raised from 1 to the minimum 2".to_owned()];
        assert_eq!(guarded(&created("2..8", 1), &[]), (Some(2), told));
        assert_eq!(guarded(&created("2..8", 2), &[]), NOTHING);
        assert_eq!(guarded(&created("2..8", 9), &[]), NOTHING);
        assert_eq!(guarded(&created("off", 1), &[]), NOTHING);
        let absent = Review::create(workload("2..8", None));
        assert_eq!(guarded(&absent, &[]), NOTHING, "an absent line stays absent");
    }

    #[test]
    fn update_under_an_active_hpa_keeps_the_live_value() {
        let kept = |was, manifest| {
            let ways_out = format!("delete spec.replicas, or hold with paused: \"{manifest}\"");
            (Some(was), vec![format!("NS0402 replicas kept at {was} (manifest: {manifest}); {ways_out}")])
        };
        let active = [hpa(Some(true))];
        assert_eq!(guarded(&update(("1..8", 3), ("1..8", 1)), &active), kept(3, 1));
        assert_eq!(guarded(&update(("1..8", 3), ("1..8", 5)), &active), kept(3, 5));
        assert_eq!(guarded(&update(("1..8", 3), ("1..8", 3)), &active), NOTHING);
        let stated = Review { states_replicas: true, ..update(("1..8", 3), ("1..8", 1)) };
        assert_eq!(guarded(&stated, &active), kept(3, 1), "one line about one thing");
        let refused_now = update(("1-8", 3), ("1-8", 1));
        assert_eq!(guarded(&refused_now, &active).0, Some(3), "an error does not take the guard away");
    }

    #[test]
    fn update_under_somebody_elses_hpa_keeps_the_live_value_too() {
        let told = "NS0402 replicas kept at 3 (manifest: 1); HPA llama-hpa scales it: delete spec.replicas";
        assert_eq!(guarded(&update(("", 3), ("", 1)), &[foreign()]), (Some(3), vec![told.to_owned()]));
    }

    #[test]
    fn update_under_an_hpa_that_is_not_active_keeps_decreases_back() {
        for active in [Some(false), None] {
            assert_eq!(guarded(&update(("1..8", 3), ("1..8", 1)), &[hpa(active)]).0, Some(3));
            assert_eq!(guarded(&update(("1..8", 3), ("1..8", 5)), &[hpa(active)]), NOTHING);
        }
    }

    #[test]
    fn update_without_an_hpa_passes() {
        assert_eq!(guarded(&update(("1..8", 3), ("1..8", 1)), &[]), NOTHING);
    }

    #[test]
    fn to_and_from_0_passes() {
        for (was, new) in [(0, 5), (5, 0)] {
            assert_eq!(guarded(&update(("1..8", was), ("1..8", new)), &[hpa(Some(true))]), NOTHING);
        }
    }

    #[test]
    fn replicas_that_are_held_are_what_the_hpa_will_choose() {
        let held = |count: u32| {
            let mut review = update(("1..8", 3), ("1..8", count));
            let keys = [("scale", "1..8"), ("paused", "1")].map(|(key, value)| (format!("nimscale.dev/{key}"), value));
            let keys = keys.map(|(key, value)| (key, value.to_owned())).into_iter().collect();
            let held = Workload::stored(review.workload.id.clone(), &keys);
            review.workload.annotations = held.annotations;
            review
        };
        assert_eq!(guarded(&held(1), &[hpa(Some(true))]), NOTHING);
        assert_eq!(guarded(&held(2), &[hpa(Some(true))]).0, Some(3), "another number is none of the HPA's");
    }

    #[test]
    fn removed_keys_keep_the_live_value_once() {
        let told = "NS0404 keys removed (rollout undo?): scaling ends in 10 minutes; \
                    replicas stay 3, the next apply sets 1";
        for active in [Some(true), Some(false)] {
            let review = update(("1..8", 3), ("", 1));
            assert_eq!(guarded(&review, &[hpa(active)]), (Some(3), vec![told.to_owned()]));
        }
        let told = "NS0404 keys removed (rollout undo?): scaling ends in 10 minutes; put them back to keep it";
        assert_eq!(guarded(&update(("1..8", 3), ("", 3)), &[hpa(Some(true))]), (None, vec![told.to_owned()]));
        assert_eq!(guarded(&update(("1..8", 3), ("", 1)), &[]), NOTHING, "there was no HPA");
    }

    #[test]
    fn off_keeps_the_live_value_once() {
        let told = "NS0404 scaling is off: replicas stay 3 now, the next apply sets 1";
        assert_eq!(guarded(&update(("1..8", 3), ("off", 1)), &[hpa(Some(true))]), (Some(3), vec![told.to_owned()]));
        assert_eq!(guarded(&update(("1..8", 3), ("off", 3)), &[hpa(Some(true))]), NOTHING);
        assert_eq!(guarded(&update(("off", 3), ("off", 1)), &[foreign()]), NOTHING, "who opted out is left alone");
    }

    #[test]
    fn a_foreign_owner_turns_the_guard_off() {
        let owner = Owner { api_version: "x/v1".to_owned(), kind: "Rollout".to_owned(), name: "llama".to_owned() };
        let owned = |review: Review| Review {
            workload: Workload { owner: Some(owner.clone()), ..review.workload.clone() },
            states_replicas: true,
            ..review
        };
        assert_eq!(guarded(&owned(update(("", 3), ("", 1))), &[]), NOTHING);
        assert_eq!(guarded(&owned(update(("1..8", 3), ("1..8", 1))), &[hpa(Some(true))]).0, None);
        let (replicas, told) = guarded(&owned(created("2..8", 1)), &[]);
        assert_eq!((replicas, told), (None, vec!["NS0423 owned by Rollout llama: observed only".to_owned()]));
    }

    #[test]
    fn warn_tells_without_a_patch_and_off_is_silent() {
        let (apply, create) = (update(("1..8", 3), ("1..8", 1)), created("2..8", 1));
        let told = "NS0402 replicas 3 -> 1 until the HPA's next pass; delete the line, or hold with paused: \"1\"";
        assert_eq!(guarded_by(Guard::Warn, &apply, &[hpa(Some(true))]), (None, vec![told.to_owned()]));
        let told = "NS0403 replicas 1 are under the minimum 2, to which the HPA raises them";
        assert_eq!(guarded_by(Guard::Warn, &create, &[]), (None, vec![told.to_owned()]));
        assert_eq!(guarded_by(Guard::Off, &apply, &[hpa(Some(true))]), NOTHING);
        assert_eq!(guarded_by(Guard::Off, &create, &[]), NOTHING);
    }

    #[test]
    fn a_line_that_each_apply_brings_back_is_pointed_at() {
        let told =
            vec!["NS0401 spec.replicas is set: each apply resets what the HPA chose; delete the line".to_owned()];
        let stated = |review: Review| Review { states_replicas: true, ..review };
        assert_eq!(guarded(&stated(created("1..8", 3)), &[]), (None, told.clone()));
        assert_eq!(guarded(&stated(update(("1..8", 3), ("1..8", 3))), &[hpa(Some(true))]), (None, told));
        assert_eq!(guarded(&update(("1..8", 3), ("1..8", 3)), &[hpa(Some(true))]), NOTHING, "it may be a default");
        assert_eq!(guarded(&stated(created("off", 3)), &[]), NOTHING);
        assert_eq!(guarded(&stated(update(("", 3), ("", 3))), &[]), NOTHING, "nothing scales it");
    }

    #[test]
    fn an_edit_that_moves_live_replicas_says_so() {
        let moves = |from: &str| vec![format!("NS0405 live {from} now")];
        let hpas = [hpa(Some(true))];
        assert_eq!(guarded(&update(("1..8", 8), ("1..3", 8)), &hpas), (None, moves("8 -> 3")));
        assert_eq!(guarded(&update(("1..8", 1), ("2..8", 1)), &hpas), (None, moves("1 -> 2")));
        assert_eq!(guarded(&update(("", 8), ("1..3", 8)), &[]), (None, moves("8 -> 3")));
        assert_eq!(guarded(&update(("1..8", 3), ("1..4", 3)), &hpas), NOTHING);
        assert_eq!(guarded(&update(("1..8", 0), ("2..8", 0)), &hpas), NOTHING, "0 is held");
        assert_eq!(guarded(&update(("1..3", 9), ("1..4", 9)), &hpas), NOTHING, "it is on its way already");
        let (replicas, told) = guarded(&update(("1..8", 8), ("1..3", 1)), &hpas);
        assert_eq!((replicas, &told[1..]), (Some(8), &moves("8 -> 3")[..]), "what is kept moves");
    }

    #[test]
    fn the_longest_lines_fit() {
        let (low, high) = (999_999_998, 999_999_999);
        let long = Hpa { name: "x".repeat(253), ..foreign() };
        let reviews = [(("1..8", high), ("1..8", low)), (("1..8", high), ("", low)), (("", high), ("", low))];
        for (review, guard) in reviews
            .iter()
            .flat_map(|(old, new)| [Guard::Preserve, Guard::Warn].map(|guard| (update(*old, *new), guard)))
        {
            for hpas in [vec![long.clone()], vec![hpa(Some(true))]] {
                for line in guarded_by(guard, &review, &hpas).1 {
                    assert!(line.chars().count() < 120, "{} {line}", line.len());
                }
            }
        }
    }

    #[test]
    fn a_grace_is_spoken_as_people_do() {
        let spoken = |seconds| spoken(Duration::from_secs(seconds));
        assert_eq!([spoken(600), spoken(60), spoken(90), spoken(5)], ["10 minutes", "1 minute", "90 s", "5 s"]);
    }
}
