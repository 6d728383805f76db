//! Decide the next step with the adapter's config: what to write, when to roll, when to take it back. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use nimscale_rules::emit::adapter::{CONFIG_MAP, Rule, canary, canary_name};
use nimscale_rules::emit::base::{self, Parts};
use nimscale_rules::findings::{Code, cut};
use nimscale_rules::platform::Platform;

use super::report::coded;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Changes that come together are written together.
    pub settle: Duration,
    /// The least time between two rolls.
    pub roll_interval: Duration,
    /// How long a roll may take until the last good config returns.
    pub roll_timeout: Duration,
    /// How often the adapter asks Prometheus which series there are (its `--metrics-relist-interval`).
    pub relist: Duration,
    /// How often a roll is looked at.
    pub poll: Duration,
}

/// A ConfigMap holds 1 MiB; its other fields take some of it.
pub const MOST_BYTES: usize = 1_000_000;
/// Past this people are warned.
const MANY_BYTES: usize = 700 * 1024;
/// So many reverts in [`REVERTS_WITHIN`] are somebody who means it.
const MOST_REVERTS: usize = 3;
const REVERTS_WITHIN: Duration = Duration::from_secs(600);
/// A rule that came with a failed roll is tried again after this many roll intervals.
const QUARANTINE_INTERVALS: u32 = 12;
/// How often an adapter at rest is asked whether it has the config still: others start it again, with what they wrote.
const ASK_EVERY: Duration = Duration::from_secs(300);

/// The rules that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub rules: BTreeMap<String, Rule>,
    /// Metrics that live HPAs of ours read: their rules stay until the HPAs have let go of them.
    pub in_use: BTreeSet<String>,
}

/// The adapter's Deployment, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// The ConfigMap that it mounts its config from.
    pub reads: Option<String>,
    /// Its strategy keeps a pod serving while it rolls.
    pub keeps_serving: bool,
    /// The canary of the config that we last rolled it to.
    pub rolled_to: Option<String>,
    /// Every pod is of the newest template, and available.
    pub rolled_out: bool,
    /// The pod template without our checksum: another one is somebody's doing.
    pub made_of: String,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// `None` until the API has said.
    pub adapter: Option<Adapter>,
    /// The text of our config; `None` when there is no such ConfigMap.
    pub config: Option<String>,
    /// The last config that a roll has proved.
    pub good: Option<String>,
    /// What the adapter ran with before us, until a config with it was proved.
    pub imported: Option<String>,
    /// The API services lead elsewhere: whatever answers is not the adapter.
    pub elsewhere: Option<Trouble>,
    pub rolled_at: Option<Timestamp>,
}

/// What only this process knows, and may lose.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What we last wrote.
    pub written: Option<String>,
    pub reverts: Vec<Timestamp>,
    /// Somebody reverts what we write: we stopped.
    pub contested: bool,
    /// Rules that came with a roll that failed, and when.
    pub quarantine: BTreeMap<String, Timestamp>,
    /// Since when the present config is on trial.
    pub on_trial: Option<(String, Timestamp)>,
    /// Why the last roll was taken back.
    pub failure: Option<String>,
    /// When the adapter last answered for the config that it has proved.
    pub answered: Option<Timestamp>,
    /// Since when it does not know that config any more.
    pub silent: Option<Timestamp>,
    /// The config that it was rolled to once more because of that: where even that does not help, no roll will.
    pub rolled_again: Option<String>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until something changes, or this time has passed.
    Wait(Option<Duration>),
    /// Keep what the adapter runs with now as the base of ours.
    Import,
    /// Write the config. With `roll` the adapter is to load it: what serves now must answer before.
    Write { text: String, roll: bool },
    /// Roll the adapter to the config with this canary.
    Roll { canary: String },
    /// See whether the adapter has loaded the config with this canary.
    Try { canary: String },
    /// See whether the adapter still has the config that it has proved.
    Ask { canary: String },
    /// The roll failed: return to this config.
    Restore { text: String },
}

/// Why a rule is not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason of a condition.
    pub reason: &'static str,
    /// With its code in front.
    pub message: String,
}

impl Trouble {
    /// Whether what was proved before does not count any more.
    pub fn ends_service(&self) -> bool {
        matches!(self.reason, "AdapterMismatch" | "AdapterSilent" | "ConfigContested")
    }
}

/// The step, and what to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    pub step: Step,
    pub trouble: Option<Trouble>,
    /// Rules of ours that stay out of the config.
    pub left_out: BTreeSet<String>,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub wanted: &'a Wanted,
    pub observed: &'a Observed,
    pub timing: &'a Timing,
    pub platform: &'a Platform,
    pub now: Timestamp,
}

/// A config as it shall be, and our rules in it, the canary apart.
struct Composed {
    text: String,
    rules: Vec<Rule>,
}

impl Look<'_> {
    /// Decides. Every state that a crash can leave is one that this starts from.
    pub fn next(&self, memory: &mut Memory) -> Next {
        let mut left_out = BTreeSet::new();
        let (step, trouble) = match self.decide(memory, &mut left_out) {
            Ok((step, trouble)) => (step, trouble),
            Err(trouble) => (Step::Wait(None), Some(trouble)),
        };
        Next { step, trouble, left_out }
    }

    fn decide(&self, memory: &mut Memory, left_out: &mut BTreeSet<String>) -> Result<(Step, Option<Trouble>), Trouble> {
        let Self { observed, timing, now, .. } = *self;
        let Some(adapter) = &observed.adapter else {
            return Err(trouble("AdapterMismatch", Code::Ns0507, "the adapter's Deployment is not there"));
        };
        let reads_ours = adapter.reads.as_deref() == Some(CONFIG_MAP);
        let Some(config) = &observed.config else {
            // Whoever has pointed the adapter at ours already has no config that we could take over.
            let base = observed.good.as_deref().or(observed.imported.as_deref()).or(reads_ours.then_some(""));
            let Some(base) = base else {
                return Ok((Step::Import, None));
            };
            let parts = split(base)?;
            let Composed { text, .. } = self.compose(&parts, memory, left_out)?;
            return Ok((Step::Write { text, roll: false }, None));
        };
        let parts = split(config)?;
        notice_revert(memory, config, &parts, now);
        let Composed { text, rules } = self.compose(&parts, memory, left_out)?;
        let has = canary_of(&parts);
        let good = observed.good.as_deref().map(split).transpose()?;
        let is_good = has.is_some() && good.as_ref().and_then(canary_of) == has;
        let added = adds(&rules, &parts);
        let rules_are_back =
            good.as_ref().is_some_and(|good| good.own.iter().all(|(name, rule)| parts.own.get(name) == Some(rule)));
        if !added || rules_are_back {
            if memory.contested {
                memory.reverts.clear();
            }
            memory.contested = false;
        }
        if memory.contested {
            let message = "somebody reverts the adapter's config; stopped writing until our rules are back";
            return Err(trouble("ConfigContested", Code::Ns0503, message));
        }
        let mismatch = if reads_ours {
            observed.elsewhere.clone()
        } else {
            let message = format!("the adapter does not read {CONFIG_MAP}: set rules.existing");
            Some(trouble("AdapterMismatch", Code::Ns0507, &message))
        };
        if mismatch.is_some() {
            let step = if added { Step::Write { text, roll: false } } else { Step::Wait(None) };
            return Ok((step, mismatch));
        }
        let failure = memory
            .failure
            .as_ref()
            .map(|why| trouble("RollFailed", Code::Ns0505, &format!("{why}; the last good config is back")));
        let Some(has) = has else {
            return Ok((Step::Write { text, roll: false }, None));
        };
        let rolled_to = adapter.rolled_to.as_deref();
        if is_good && rolled_to.is_none_or(|rolled_to| rolled_to == has) {
            memory.on_trial = None;
            if let Some(since) = memory.silent {
                return self.after_silence(since, has, adapter, memory);
            }
            if !added {
                let failure = failure.or_else(|| near_limit(config));
                if memory.answered.is_none_or(|at| elapsed(at, now) >= ASK_EVERY) {
                    return Ok((Step::Ask { canary: has }, failure));
                }
                return Ok((Step::Wait(quarantine_ends(memory, timing, now)), failure));
            }
            // Our own rules, put back where somebody took them: the adapter has them loaded.
            if observed.good.as_deref() == Some(text.as_str()) {
                return Ok((Step::Write { text, roll: false }, failure));
            }
            return Ok(match may_roll(observed, adapter, timing, now)? {
                None => (Step::Write { text, roll: true }, failure),
                Some(wait) => (Step::Wait(Some(wait)), failure),
            });
        }
        if is_good {
            // A restore that was cut short.
            return Ok((Step::Roll { canary: has }, failure));
        }
        // On trial: written, and not proved yet.
        let since = match &memory.on_trial {
            Some((canary, since)) if *canary == has => *since,
            Some(_) | None => {
                memory.on_trial = Some((has.clone(), now));
                now
            }
        };
        if rolled_to == Some(has.as_str()) && elapsed(since, now) > timing.roll_timeout.max(timing.relist * 2) {
            let text = self.last_good(&parts, memory)?;
            if text != *config {
                return Ok((Step::Restore { text }, failure));
            }
            let message = "the adapter lists no metric of ours: Prometheus has no series of the anchor";
            return Ok((Step::Try { canary: has }, Some(trouble("AnchorMissing", Code::Ns0511, message))));
        }
        Ok((Step::Try { canary: has }, failure))
    }

    /// The adapter does not know what it has proved: somebody started it with something else, or the anchor is gone. The
    /// first is put right by a roll.
    fn after_silence(
        &self,
        since: Timestamp,
        has: String,
        adapter: &Adapter,
        memory: &mut Memory,
    ) -> Result<(Step, Option<Trouble>), Trouble> {
        let Self { observed, timing, now, .. } = *self;
        // A pod that has just begun lists nothing until it has asked Prometheus.
        if !adapter.rolled_out || !lasts(since, timing, now) {
            return Ok((Step::Ask { canary: has }, None));
        }
        let silent = trouble("AdapterSilent", Code::Ns0512, "the adapter does not know the config that it has proved");
        if memory.rolled_again.as_ref() == Some(&has) {
            return Ok((Step::Ask { canary: has }, Some(silent)));
        }
        if let Some(wait) = may_roll(observed, adapter, timing, now)? {
            return Ok((Step::Wait(Some(wait)), Some(silent)));
        }
        memory.rolled_again = Some(has.clone());
        memory.silent = None;
        Ok((Step::Roll { canary: has }, Some(silent)))
    }

    /// The config with every wanted rule and every rule that an HPA still reads.
    fn compose(&self, parts: &Parts, memory: &Memory, left_out: &mut BTreeSet<String>) -> Result<Composed, Trouble> {
        let Self { wanted, timing, now, .. } = *self;
        let mut rules = wanted.rules.clone();
        for name in wanted.in_use.iter().filter(|name| !wanted.rules.contains_key(*name)) {
            match parts.own.get(name) {
                Some(Some(rule)) => {
                    rules.insert(name.clone(), rule.clone());
                }
                // It is there, and a person's edit made it something that we could not answer for.
                Some(None) => {
                    left_out.insert(name.clone());
                }
                None => {}
            }
        }
        let held = timing.roll_interval * QUARANTINE_INTERVALS;
        for (name, _) in memory.quarantine.iter().filter(|(_, at)| elapsed(**at, now) < held) {
            if rules.remove(name).is_some() {
                left_out.insert(name.clone());
            }
        }
        let rules: Vec<Rule> = rules.into_values().collect();
        Ok(Composed { text: write(&parts.foreign, &rules, self.platform)?, rules })
    }

    /// The last config that was proved; where there is none, what others wrote, with nothing of ours but a canary.
    fn last_good(&self, parts: &Parts, memory: &mut Memory) -> Result<String, Trouble> {
        let Self { observed, now, .. } = *self;
        let good = match &observed.good {
            Some(good) => good.clone(),
            None => write(&parts.foreign, &[], self.platform)?,
        };
        let proved = own_rules(&good);
        let new = parts.own.keys().filter(|name| !proved.contains(*name));
        memory.quarantine.extend(new.map(|name| (name.clone(), now)));
        Ok(good)
    }
}

/// Whether an adapter has been silent for longer than one needs that has just begun.
pub fn lasts(since: Timestamp, timing: &Timing, now: Timestamp) -> bool {
    elapsed(since, now) > timing.relist * 2
}

/// Whether the adapter, which has not loaded the config on trial by itself, may be rolled to it: the time to wait, or
/// none.
pub fn may_roll(
    observed: &Observed,
    adapter: &Adapter,
    timing: &Timing,
    now: Timestamp,
) -> Result<Option<Duration>, Trouble> {
    if !adapter.keeps_serving {
        let message = "the adapter's strategy stops every pod in a roll: use RollingUpdate with maxUnavailable 0";
        return Err(trouble("AdapterStrategy", Code::Ns0505, message));
    }
    let since = observed.rolled_at.map(|rolled| elapsed(rolled, now));
    Ok(since.and_then(|since| timing.roll_interval.checked_sub(since)).filter(|wait| !wait.is_zero()))
}

/// The names of our rules in a config, the canary apart.
pub fn own_rules(text: &str) -> BTreeSet<String> {
    let own = base::split(text).map(|parts| parts.own).unwrap_or_default();
    own.into_iter().filter_map(|(name, rule)| rule.filter(|rule| !rule.is_canary()).map(|_| name)).collect()
}

/// The canary in a config.
pub fn canary_of(parts: &Parts) -> Option<String> {
    parts.own.values().flatten().find(|rule| rule.is_canary()).map(|rule| rule.name.as_.clone())
}

fn write(foreign: &str, rules: &[Rule], platform: &Platform) -> Result<String, Trouble> {
    let mut rules = [rules, &[canary(foreign, rules, platform)]].concat();
    rules.sort_by(|a, b| a.name.as_.cmp(&b.name.as_));
    let text = base::join(foreign, &rules).map_err(|error| not_loadable(&error))?;
    if text.len() > MOST_BYTES {
        let message = format!("the adapter config would take {} KiB of 1 MiB: it stays as it is", text.len() / 1024);
        return Err(trouble("ConfigTooLarge", Code::Ns0506, &message));
    }
    Ok(text)
}

/// True when a rule comes, or others changed theirs: a removal alone is no reason to write.
fn adds(rules: &[Rule], parts: &Parts) -> bool {
    let is_there = |rule: &Rule| parts.own.get(&rule.name.as_).is_some_and(|there| there.as_ref() == Some(rule));
    let there: Vec<Rule> = parts.own.values().flatten().filter(|rule| !rule.is_canary()).cloned().collect();
    // A canary is named after all that stands beside it.
    let stale = parts.own.values().any(Option::is_none)
        || canary_of(parts).as_ref() != Some(&canary_name(&parts.foreign, &there));
    stale || !rules.iter().all(is_there)
}

/// Counts how often what we wrote was taken out again.
fn notice_revert(memory: &mut Memory, config: &str, parts: &Parts, now: Timestamp) {
    let Some(written) = &memory.written else { return };
    if written == config {
        return;
    }
    let ours = base::split(written).map(|written| written.own).unwrap_or_default();
    let taken = ours.iter().any(|(name, rule)| parts.own.get(name) != Some(rule));
    memory.written = None;
    if taken {
        memory.reverts.retain(|at| elapsed(*at, now) < REVERTS_WITHIN);
        memory.reverts.push(now);
        memory.contested |= memory.reverts.len() >= MOST_REVERTS;
    }
}

fn quarantine_ends(memory: &Memory, timing: &Timing, now: Timestamp) -> Option<Duration> {
    let held = timing.roll_interval * QUARANTINE_INTERVALS;
    memory.quarantine.values().filter_map(|at| held.checked_sub(elapsed(*at, now))).min()
}

fn near_limit(config: &str) -> Option<Trouble> {
    let message = || format!("adapter config {} KiB of 1 MiB: fewer own expressions", config.len() / 1024);
    (config.len() > MANY_BYTES).then(|| trouble("ConfigNearLimit", Code::Ns0506, &message()))
}

fn split(text: &str) -> Result<Parts, Trouble> {
    base::split(text).map_err(|error| not_loadable(&error))
}

fn not_loadable(error: &base::NotLoadable) -> Trouble {
    let message = format!("adapter config not written: it does not load: {}", cut(&error.to_string(), 60));
    trouble("ConfigNotLoadable", Code::Ns0501, &message)
}

pub fn trouble(reason: &'static str, code: Code, message: &str) -> Trouble {
    Trouble { reason, message: coded(code, message) }
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nimscale_rules::presets;

    use super::*;

    const FOREIGN: &str = "rules:\n- seriesQuery: theirs\n  name: {as: theirs}\n  metricsQuery: sum(theirs)\n";

    /// A cluster in which a step does what it says, and time passes.
    struct World {
        observed: Observed,
        memory: Memory,
        wanted: Wanted,
        now: Timestamp,
        /// The config that the adapter has loaded.
        loaded: Option<String>,
        /// Configs with this in them are loaded and answer nothing.
        poison: Option<String>,
        rolls: usize,
        writes: usize,
        trouble: Option<Trouble>,
        left_out: BTreeSet<String>,
    }

    fn timing() -> Timing {
        Timing {
            settle: Duration::from_secs(1),
            roll_interval: Duration::from_secs(300),
            roll_timeout: Duration::from_secs(60),
            relist: Duration::from_secs(20),
            poll: Duration::from_secs(2),
        }
    }

    /// Our presets' rules, and some more by their number.
    fn wanted(more: usize) -> Wanted {
        let platform = Platform::default();
        let presets = presets::measures(&platform);
        let mut rules: BTreeMap<String, Rule> = presets
            .iter()
            .take(1)
            .map(|measure| (measure.name.clone(), nimscale_rules::emit::adapter::rule(measure, &platform)))
            .collect();
        for i in 0..more {
            let mut rule = rules.values().next().expect("there are presets").clone();
            rule.name.as_ = format!("nimscale_own_{i:012}");
            rules.insert(rule.name.as_.clone(), rule);
        }
        Wanted { rules, in_use: BTreeSet::new() }
    }

    fn world(reads: &str) -> World {
        World {
            observed: Observed {
                adapter: Some(Adapter {
                    reads: Some(reads.into()),
                    keeps_serving: true,
                    rolled_to: None,
                    rolled_out: true,
                    made_of: String::new(),
                }),
                ..Observed::default()
            },
            memory: Memory::default(),
            wanted: wanted(0),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            loaded: Some(FOREIGN.to_owned()),
            poison: None,
            rolls: 0,
            writes: 0,
            trouble: None,
            left_out: BTreeSet::new(),
        }
    }

    impl World {
        fn next(&mut self) -> Step {
            let platform = Platform::default();
            let (wanted, observed, now) = (&self.wanted, &self.observed, self.now);
            let look = Look { wanted, observed, timing: &timing(), platform: &platform, now };
            let Next { step, trouble, left_out } = look.next(&mut self.memory);
            (self.trouble, self.left_out) = (trouble, left_out);
            step
        }

        /// Does a step, wholly.
        fn act(&mut self, step: &Step) {
            match step {
                Step::Wait(_) => {}
                Step::Import => self.observed.imported = Some(FOREIGN.to_owned()),
                Step::Write { text, roll } => {
                    self.write(text);
                    if *roll {
                        self.roll();
                    }
                }
                Step::Roll { .. } => self.roll(),
                Step::Ask { canary } => {
                    let knows = self.loaded.as_ref().is_some_and(|loaded| loaded.contains(canary));
                    self.memory.answered = knows.then_some(self.now);
                    self.memory.silent = if knows { None } else { self.memory.silent.or(Some(self.now)) };
                }
                Step::Restore { text } => {
                    self.memory.failure = Some("adapter roll failed".into());
                    self.write(text);
                    self.roll();
                }
                Step::Try { canary } => self.try_out(canary),
            }
        }

        fn write(&mut self, text: &str) {
            self.writes += 1;
            self.observed.config = Some(text.to_owned());
            self.memory.written = Some(text.to_owned());
        }

        fn roll(&mut self) {
            let config = self.observed.config.clone().expect("what is rolled to is written");
            let canary = canary_of(&split(&config).expect("it loads"));
            self.observed.adapter.as_mut().expect("there is one").rolled_to = canary;
            self.observed.rolled_at = Some(self.now);
            self.loaded = Some(config);
            self.rolls += 1;
        }

        fn try_out(&mut self, canary: &str) {
            let loaded = self.loaded.clone().unwrap_or_default();
            let poisoned = self.poison.as_ref().is_some_and(|poison| loaded.contains(poison.as_str()));
            if loaded.contains(canary) && !poisoned {
                self.observed.good = self.observed.config.clone();
                self.memory.failure = None;
                return;
            }
            let adapter = self.observed.adapter.clone().expect("there is one");
            let free = may_roll(&self.observed, &adapter, &timing(), self.now) == Ok(None);
            if adapter.rolled_to.as_deref() != Some(canary) && free {
                self.roll();
            }
        }

        fn settle(&mut self) {
            for _ in 0..600 {
                let step = self.next();
                if matches!(step, Step::Wait(_)) && self.is_settled() {
                    return;
                }
                self.act(&step);
                self.pass(2);
            }
        }

        fn is_settled(&self) -> bool {
            self.observed.config == self.observed.good || self.trouble.is_some()
        }

        fn pass(&mut self, seconds: i64) {
            self.now += k8s_openapi::jiff::SignedDuration::from_secs(seconds);
        }

        fn foreign(&self) -> String {
            split(self.observed.config.as_deref().expect("written")).expect("it loads").foreign
        }
    }

    #[test]
    fn the_running_config_is_imported_and_a_person_points_the_adapter_at_ours() {
        let mut world = world("prometheus-adapter");
        world.settle();
        assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("AdapterMismatch"));
        assert_eq!((world.foreign().as_str(), world.writes, world.rolls), (FOREIGN, 1, 0));
        world.observed.adapter.as_mut().expect("there is one").reads = Some(CONFIG_MAP.into());
        world.loaded = world.observed.config.clone();
        world.settle();
        assert_eq!((world.trouble.clone(), world.rolls), (None, 0), "it has loaded ours by itself");
        assert_eq!(world.observed.good, world.observed.config);
    }

    fn settled() -> World {
        let mut world = world(CONFIG_MAP);
        world.observed.imported = Some(FOREIGN.to_owned());
        world.settle();
        assert_eq!((world.writes, world.rolls), (1, 1), "it started before the first write");
        world
    }

    #[test]
    fn what_changes_nothing_writes_nothing_and_a_removal_alone_neither() {
        let mut world = settled();
        world.pass(3600);
        world.wanted = wanted(3);
        world.settle();
        assert_eq!((world.writes, world.rolls), (2, 2));
        world.pass(3600);
        world.wanted = wanted(0);
        world.settle();
        assert_eq!((world.writes, world.rolls), (2, 2));
        world.wanted = wanted(1);
        world.settle();
        assert_eq!((world.writes, world.rolls), (2, 2), "what left and came back is there still");
    }

    #[test]
    fn rolls_keep_their_distance() {
        let mut world = settled();
        world.wanted = wanted(1);
        world.pass(10);
        assert!(matches!(world.next(), Step::Wait(Some(wait)) if wait <= Duration::from_secs(290)));
        world.pass(300);
        world.settle();
        assert_eq!(world.rolls, 2);
    }

    #[test]
    fn a_removed_rule_leaves_with_the_next_roll_unless_an_hpa_reads_it() {
        let mut world = settled();
        world.pass(3600);
        world.wanted = wanted(2);
        world.settle();
        let name = |i: usize| format!("nimscale_own_{i:012}");
        world.wanted = wanted(0);
        world.wanted.rules.insert(name(7), {
            let mut rule = wanted(1).rules[&name(0)].clone();
            rule.name.as_ = name(7);
            rule
        });
        world.wanted.in_use = BTreeSet::from([name(1)]);
        world.pass(3600);
        world.settle();
        let own = own_rules(world.observed.config.as_deref().expect("written"));
        assert_eq!((own.contains(&name(0)), own.contains(&name(1)), own.contains(&name(7))), (false, true, true));
    }

    #[test]
    fn a_failed_roll_is_taken_back_and_what_came_with_it_is_held() {
        let mut world = settled();
        let good = world.observed.good.clone();
        world.pass(3600);
        world.wanted = wanted(1);
        world.poison = Some("nimscale_own_".into());
        world.settle();
        assert_eq!(world.observed.config, good);
        assert_eq!(world.loaded, good);
        assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("RollFailed"));
        assert_eq!(world.left_out.len(), 1);
        let rolls = world.rolls;
        world.pass(600);
        world.settle();
        assert_eq!(world.rolls, rolls, "it is not tried again and again");
        world.poison = None;
        world.pass(3600);
        world.settle();
        assert_eq!(world.observed.config, world.observed.good);
        assert!(own_rules(world.observed.good.as_deref().expect("proved")).contains("nimscale_own_000000000000"));
    }

    #[test]
    fn without_a_series_of_the_anchor_nothing_is_rolled_for_ever() {
        let mut world = world(CONFIG_MAP);
        world.poison = Some("nimscale_canary_".into());
        for _ in 0..400 {
            let step = world.next();
            world.act(&step);
            world.pass(10);
        }
        assert!(world.rolls <= 2, "{}", world.rolls);
        assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("AnchorMissing"));
    }

    #[test]
    fn a_revert_is_put_right_twice_and_then_it_is_somebodys_will() {
        let mut world = settled();
        let good = world.observed.good.clone();
        for round in 1..=3 {
            world.observed.config = Some(FOREIGN.to_owned());
            let step = world.next();
            if round < 3 {
                assert!(matches!(step, Step::Write { roll: false, .. }), "{step:?}");
                world.act(&step);
                assert_eq!(world.observed.config, good);
            } else {
                assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("ConfigContested"));
            }
            world.pass(60);
        }
        assert_eq!(world.rolls, 1, "the adapter has ours loaded all the time");
        world.pass(7200);
        assert_eq!(world.next(), Step::Wait(None));
        world.wanted = wanted(1);
        assert_eq!(world.next(), Step::Wait(None), "what is new is no reason either");
        world.observed.config = good;
        world.next();
        assert_eq!(world.trouble, None);
        world.observed.config = Some(FOREIGN.to_owned());
        assert!(matches!(world.next(), Step::Write { .. }), "the count begins anew");
    }

    #[test]
    fn an_adapter_that_others_started_with_what_they_wrote_is_rolled_once_more() {
        let mut world = settled();
        world.pass(3600);
        world.observed.config = Some(FOREIGN.to_owned());
        world.loaded = Some(FOREIGN.to_owned());
        world.memory = Memory::default();
        world.settle();
        assert_eq!((world.rolls, &world.loaded), (2, &world.observed.good));
        // Where no pod ever lists ours, a roll does not help, and there is no second one.
        world.memory = Memory::default();
        for _ in 0..400 {
            world.loaded = Some(FOREIGN.to_owned());
            let step = world.next();
            world.act(&step);
            world.pass(10);
        }
        assert_eq!(world.rolls, 3);
        assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("AdapterSilent"));
    }

    #[test]
    fn a_config_that_was_deleted_returns_with_what_others_had_added() {
        let mut world = settled();
        let more = world.observed.config.clone().expect("written").replacen("sum(theirs)", "sum(theirs) + 1", 1);
        world.observed.config = Some(more);
        world.pass(3600);
        world.settle();
        let good = world.observed.good.clone();
        assert!(good.as_ref().is_some_and(|good| good.contains("sum(theirs) + 1")));
        world.observed.config = None;
        let step = world.next();
        world.act(&step);
        assert_eq!(world.observed.config, good);
    }

    #[test]
    fn while_the_api_leads_elsewhere_nothing_is_rolled() {
        let mut world = settled();
        world.pass(3600);
        world.observed.elsewhere = Some(trouble("AdapterMismatch", Code::Ns0504, "elsewhere"));
        world.wanted = wanted(1);
        let step = world.next();
        assert!(matches!(step, Step::Write { roll: false, .. }), "{step:?}");
        world.act(&step);
        world.pass(600);
        assert_eq!(world.next(), Step::Wait(None));
        assert!(world.trouble.as_ref().is_some_and(Trouble::ends_service));
    }

    #[test]
    fn what_others_add_is_kept_and_loaded() {
        let mut world = settled();
        world.pass(3600);
        let config = world.observed.config.clone().expect("written");
        let theirs = "- seriesQuery: more\n  name: {as: more}\n  metricsQuery: sum(more)\n";
        world.observed.config = Some(config.replacen("rules:\n", &format!("rules:\n{theirs}"), 1));
        world.settle();
        assert!(world.foreign().contains("sum(more)") && world.foreign().contains("sum(theirs)"));
        assert_eq!((world.rolls, &world.loaded), (2, &world.observed.good));
    }

    #[test]
    fn what_does_not_load_is_not_touched() {
        let mut world = settled();
        world.observed.config = Some("rules: [".to_owned());
        assert_eq!(world.next(), Step::Wait(None));
        assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("ConfigNotLoadable"));
    }

    #[test]
    fn an_adapter_that_would_stop_is_not_rolled() {
        let mut world = settled();
        world.pass(3600);
        world.observed.adapter.as_mut().expect("there is one").keeps_serving = false;
        world.wanted = wanted(1);
        assert_eq!(world.next(), Step::Wait(None));
        assert_eq!(world.trouble.as_ref().map(|trouble| trouble.reason), Some("AdapterStrategy"));
    }

    /// A crash between any two writes, at any step: a new process starts from what is there, without a memory.
    #[test]
    fn every_crash_ends_in_the_same_state() {
        for crash in 0..8 {
            for half in [false, true] {
                let mut world = settled();
                world.pass(3600);
                world.wanted = wanted(2);
                for step_number in 0..80 {
                    let step = world.next();
                    match (&step, step_number == crash && half) {
                        (Step::Write { text, .. } | Step::Restore { text }, true) => world.write(text),
                        (
                            Step::Wait(_) | Step::Import | Step::Roll { .. } | Step::Try { .. } | Step::Ask { .. },
                            true,
                        ) => {}
                        (_, false) => world.act(&step),
                    }
                    if step_number == crash {
                        world.memory = Memory::default();
                    }
                    world.pass(10);
                }
                assert_eq!(world.observed.config, world.observed.good, "{crash} {half}");
                assert_eq!(world.loaded, world.observed.good, "{crash} {half}");
                assert_eq!(own_rules(world.observed.good.as_deref().expect("proved")).len(), world.wanted.rules.len());
            }
        }
    }
}
