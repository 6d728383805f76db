//! What to do next so that every leaf that serves verifies against the bundle in place, whatever happens in between.
//!
//! ```text
//! new CA, the old one as previous -> bundle of both -> leaf of the new CA
//!     -> once no leaf of the old CA can live: the new CA alone -> its bundle
//! ```
//! Each arrow is one write, and what follows is found from what is stored: a crash between two writes loses nothing.

use std::time::{Duration, SystemTime};

use anyhow::Context;

use super::chain::{Certificate, certificates, is_key_of, pem, signed_by};
use super::issue::{self, BACKDATED, Issued};
use super::secret::State;

/// At most this many authorities are carried over to a new CA: a Secret that is damaged again and again stays small.
const CARRIED: usize = 3;

/// How long certificates last; each is renewed when a third of its life is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    ca: Duration,
    leaf: Duration,
}

impl Lives {
    /// No leaf longer than its CA, no CA longer than ten years, none too short for the whole seconds of X.509.
    pub fn new(ca: Duration, leaf: Duration) -> Self {
        let (shortest, longest) = (Duration::from_secs(3), Duration::from_secs(3650 * 24 * 60 * 60));
        let ca = ca.clamp(shortest, longest);
        Self { ca, leaf: leaf.clamp(shortest, ca) }
    }

    /// How long a bundle must have been in place before a leaf may need it: each API server has a cache of its own.
    pub fn settling(&self) -> Duration {
        (self.leaf / 20).min(Duration::from_secs(60))
    }
}

/// What the API servers trust.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    /// The `caBundle` of each webhook; no entry while there is no webhook configuration.
    pub entries: &'a [Vec<u8>],
    /// For how long these entries have been seen unchanged.
    pub age: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the Secret: a new CA, and these as previous ones. The leaf stays what it is.
    Authority { previous: Vec<u8> },
    /// Write the Secret: a new leaf of the present CA.
    Leaf,
    /// Write the Secret: without the previous authorities.
    Forget,
    /// Write the webhook configuration.
    Publish { bundle: Vec<u8> },
    /// Nothing to write for this long, unless something changes.
    Rest { at_most: Duration },
}

impl Step {
    /// For the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Authority { .. } => "new CA",
            Self::Leaf => "new leaf",
            Self::Forget => "previous CA dropped",
            Self::Publish { .. } => "bundle published",
            Self::Rest { .. } => "rest",
        }
    }
}

pub fn next_step(state: &State, bundle: &Bundle<'_>, names: &[String], lives: &Lives, now: SystemTime) -> Step {
    let Some(ca) = authority(state, lives, now) else {
        return Step::Authority { previous: pem(&survivors(state, bundle, now)) };
    };
    let previous = certificates(&state.ca_previous);
    let wanted = pem([&ca].into_iter().chain(&previous));
    let chain = certificates(&state.leaf);
    let ca = [ca];
    let has_leaf = chain.first().is_some_and(|leaf| leaf.is_for(names) && is_key_of(&state.leaf_key, leaf))
        && signed_by(&chain, &ca, now)
        && signed_by(&chain, &ca, now + lives.leaf / 3);
    // Where no API server trusts a CA but ours, no leaf that serves could be harmed by a new one.
    let others =
        bundle.entries.iter().any(|entry| certificates(entry).iter().any(|one| *one != ca[0] && one.signs(now)));
    if !has_leaf && !others {
        return Step::Leaf;
    }
    if bundle.entries.iter().any(|entry| *entry != wanted) {
        return Step::Publish { bundle: wanted };
    }
    let Some(left) = has_leaf.then(|| until_forgotten(&ca[0], lives, now)) else {
        return match lives.settling().saturating_sub(bundle.age) {
            Duration::ZERO => Step::Leaf,
            at_most => Step::Rest { at_most },
        };
    };
    if !state.ca_previous.is_empty() && left.is_zero() {
        return Step::Forget;
    }
    let due = [until(ca[0].ends() - lives.ca / 3, now), until(chain[0].ends() - lives.leaf / 3, now)];
    let forgotten = (!state.ca_previous.is_empty()).then_some(left);
    Step::Rest { at_most: due.into_iter().chain(forgotten).min().unwrap_or_default() }
}

/// The Secret after a step that writes it.
pub fn written(step: &Step, state: &State, names: &[String], lives: &Lives, now: SystemTime) -> anyhow::Result<State> {
    match step {
        Step::Authority { previous } => {
            let Issued { certificate, key } = issue::authority(now, lives.ca)?;
            let (ca, ca_key) = (certificate.into_bytes(), key.into_bytes());
            Ok(State { ca, ca_key, ca_previous: previous.clone(), ..state.clone() })
        }
        Step::Leaf => {
            let ca_key = str::from_utf8(&state.ca_key).context("failed to read the CA's key")?;
            let Issued { certificate, key } = issue::leaf(&state.ca, ca_key, names, now, lives.leaf)?;
            Ok(State { leaf: certificate.into_bytes(), leaf_key: key.into_bytes(), ..state.clone() })
        }
        Step::Forget => Ok(State { ca_previous: Vec::new(), ..state.clone() }),
        Step::Publish { .. } | Step::Rest { .. } => Ok(state.clone()),
    }
}

/// The CA of the Secret, if it can sign now and need not be replaced yet.
fn authority(state: &State, lives: &Lives, now: SystemTime) -> Option<Certificate> {
    let ca = certificates(&state.ca).into_iter().next()?;
    (ca.signs(now) && ca.signs(now + lives.ca / 3) && is_key_of(&state.ca_key, &ca)).then_some(ca)
}

/// Every authority that may have signed a leaf that serves: a Secret gets damaged, and leaves live in memory.
fn survivors(state: &State, bundle: &Bundle<'_>, now: SystemTime) -> Vec<Certificate> {
    let mut survivors: Vec<Certificate> = Vec::new();
    let sources = [&state.ca].into_iter().chain(bundle.entries).chain([&state.ca_previous]);
    for authority in sources.flat_map(|pem| certificates(pem)) {
        if survivors.len() < CARRIED && authority.signs(now) && !survivors.contains(&authority) {
            survivors.push(authority);
        }
    }
    survivors
}

/// How long a leaf that an earlier CA signed may still live: a whole leaf's life from the making of this one.
fn until_forgotten(ca: &Certificate, lives: &Lives, now: SystemTime) -> Duration {
    until(ca.begins() + BACKDATED + lives.leaf + lives.settling(), now)
}

fn until(time: SystemTime, now: SystemTime) -> Duration {
    time.duration_since(now).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::UNIX_EPOCH;

    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::super::chain::bundle_matches;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// How far behind an API server's copy of the webhook configuration may be.
    const API_LAG: Duration = Duration::from_secs(30);

    /// A cluster with three webhooks, and a keeper that is killed now and then.
    struct World {
        now: SystemTime,
        lives: Lives,
        names: Vec<String>,
        secret: State,
        bundle: Vec<u8>,
        /// The bundle before, which an API server may still go by until `API_LAG` after the change.
        bundle_before: Vec<u8>,
        bundle_changed: SystemTime,
        /// Since when the keeper that runs now has seen this bundle.
        seen_since: SystemTime,
        /// What each webhook serves, and when it looks at the Secret next.
        served: Vec<(Vec<u8>, SystemTime)>,
        random: u64,
        kills_in_a_row: u32,
        leaves: usize,
        authorities: usize,
    }

    impl World {
        fn new(seed: u64, lives: Lives) -> Self {
            let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            Self {
                now,
                lives,
                names: vec!["nimscale-webhook.nimscale-system.svc".into()],
                secret: State::default(),
                bundle: Vec::new(),
                bundle_before: Vec::new(),
                bundle_changed: now,
                seen_since: now,
                served: vec![(Vec::new(), now); 3],
                random: seed,
                kills_in_a_row: 0,
                leaves: 0,
                authorities: 0,
            }
        }

        /// splitmix64, below the bound.
        fn random(&mut self, bound: u64) -> u64 {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % bound
        }

        fn step(&self) -> Step {
            let entries = [self.bundle.clone(), self.bundle.clone()];
            let age = self.now.duration_since(self.seen_since).expect("time goes on");
            next_step(&self.secret, &Bundle { entries: &entries, age }, &self.names, &self.lives, self.now)
        }

        fn write(&mut self, step: &Step) {
            if let Step::Publish { bundle } = step {
                self.bundle_before = std::mem::replace(&mut self.bundle, bundle.clone());
                (self.bundle_changed, self.seen_since) = (self.now, self.now);
            }
            self.authorities += usize::from(matches!(step, Step::Authority { .. }));
            self.leaves += usize::from(*step == Step::Leaf);
            self.secret = written(step, &self.secret, &self.names, &self.lives, self.now).expect("it can be made");
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            for index in 0..self.served.len() {
                if self.served[index].1 <= self.now && !self.secret.leaf.is_empty() {
                    // A watch tells at once; a broken one takes hours at worst.
                    let hours = if self.random(2) == 0 { 0 } else { 12 };
                    let next = self.now + self.random(hours * 3600 + 1) as u32 * SECOND;
                    self.served[index] = (self.secret.leaf.clone(), next);
                }
            }
        }

        /// Every leaf that serves verifies at every API server.
        fn assert_served(&self, what: &str) {
            let late = self.now < self.bundle_changed + API_LAG;
            for leaf in self.served.iter().map(|(leaf, _)| leaf).collect::<BTreeSet<_>>() {
                assert!(bundle_matches(&self.bundle, leaf, self.now), "{what}, day {}", self.day());
                assert!(
                    !late || bundle_matches(&self.bundle_before, leaf, self.now),
                    "{what}, day {}: a late API server",
                    self.day()
                );
            }
        }

        fn day(&self) -> u64 {
            until(self.now, UNIX_EPOCH).as_secs() / 86_400 - 1_800_000_000 / 86_400
        }

        /// One look of the keeper, which may be killed before its write or after it, for hours.
        fn turn(&mut self) {
            let step = self.step();
            match step {
                Step::Rest { at_most } => self.pass(at_most.min(6 * HOUR).max(SECOND)),
                Step::Authority { .. } | Step::Leaf | Step::Forget | Step::Publish { .. } => {
                    let fate = if self.kills_in_a_row < 5 { self.random(4) } else { 3 };
                    if fate != 0 {
                        self.write(&step);
                    }
                    let seconds = self.random(3) + 1;
                    self.pass(seconds as u32 * SECOND);
                    self.kills_in_a_row = if fate < 2 { self.kills_in_a_row + 1 } else { 0 };
                    if fate < 2 {
                        self.assert_served("killed");
                        let down = self.random(6 * 3600);
                        self.pass(down as u32 * SECOND);
                        self.seen_since = self.now;
                    }
                }
            }
        }

        /// From nothing to a bundle that every API server knows.
        fn installed(seed: u64, lives: Lives) -> Self {
            let mut world = Self::new(seed, lives);
            while !matches!(world.step(), Step::Rest { .. }) {
                world.write(&world.step());
            }
            world.pass(API_LAG);
            world
        }
    }

    fn lives() -> Lives {
        Lives::new(365 * DAY, 7 * DAY)
    }

    #[test]
    fn from_nothing_there_are_a_ca_a_leaf_and_a_bundle_and_then_rest() {
        let mut world = World::new(0, lives());
        assert_eq!(world.step(), Step::Authority { previous: Vec::new() });
        world.write(&world.step());
        assert_eq!(world.step(), Step::Leaf, "nobody trusts anything yet, so there is nothing to wait for");
        world.write(&world.step());
        let Step::Publish { bundle } = world.step() else { panic!("{:?}", world.step()) };
        assert_eq!(certificates(&bundle), certificates(&world.secret.ca));
        world.write(&Step::Publish { bundle });
        let Step::Rest { at_most } = world.step() else { panic!("{:?}", world.step()) };
        assert_eq!(at_most.as_secs(), (7 * DAY * 2 / 3).as_secs());
        world.now += at_most + SECOND;
        assert_eq!(world.step(), Step::Leaf);
    }

    #[test]
    fn a_new_ca_is_trusted_everywhere_before_a_leaf_needs_it_and_the_old_one_until_no_leaf_does() {
        let mut world = World::installed(1, lives());
        world.now += 364 * DAY * 2 / 3;
        world.write(&Step::Leaf);
        world.now += 2 * DAY;
        let old = world.secret.ca.clone();
        assert!(matches!(world.step(), Step::Authority { .. }));
        world.write(&world.step());
        assert_eq!(certificates(&world.secret.ca_previous), certificates(&old));
        let Step::Publish { bundle } = world.step() else { panic!("{:?}", world.step()) };
        assert_eq!(certificates(&bundle).len(), 2);
        world.write(&Step::Publish { bundle });
        let leaf = world.secret.leaf.clone();
        assert_eq!(world.step(), Step::Rest { at_most: 60 * SECOND });
        world.now += 59 * SECOND;
        world.seen_since = world.now;
        assert_eq!(world.step(), Step::Rest { at_most: 60 * SECOND }, "a new keeper knows not how long");
        world.now += 60 * SECOND;
        assert_eq!(world.step(), Step::Leaf);
        assert!(bundle_matches(&world.bundle, &leaf, world.now), "the old leaf serves all the while");
        world.write(&Step::Leaf);
        let made = world.now;
        while world.step() != Step::Forget {
            let Step::Rest { at_most } = world.step() else {
                world.write(&world.step());
                continue;
            };
            world.now += at_most + SECOND;
        }
        assert!(world.now.duration_since(made).expect("later") >= 7 * DAY - 121 * SECOND);
        world.write(&Step::Forget);
        assert!(matches!(world.step(), Step::Publish { bundle } if certificates(&bundle).len() == 1));
    }

    #[test]
    fn damage_is_mended_and_harms_no_leaf_that_serves() {
        type Damage = fn(&mut State);
        let damages: [Damage; 10] = [
            |secret| *secret = State::default(),
            |secret| secret.ca.clear(),
            |secret| secret.ca_key.clear(),
            |secret| secret.ca_key = secret.leaf_key.clone(),
            |secret| secret.ca = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_vec(),
            |secret| secret.ca = secret.leaf.clone(),
            |secret| secret.leaf.clear(),
            |secret| secret.leaf = vec![0xff; 100],
            |secret| secret.leaf_key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec(),
            |secret| secret.ca_previous = b"-----BEGIN".to_vec(),
        ];
        for (index, damage) in damages.into_iter().enumerate() {
            let mut world = World::installed(2, lives());
            let serving = world.served[0].0.clone();
            damage(&mut world.secret);
            let mut writes = 0;
            loop {
                assert!(bundle_matches(&world.bundle, &serving, world.now), "damage {index}");
                match world.step() {
                    Step::Rest { at_most } if at_most > 60 * SECOND => break,
                    Step::Rest { at_most } => world.now += at_most,
                    step @ (Step::Authority { .. } | Step::Leaf | Step::Forget | Step::Publish { .. }) => {
                        world.write(&step);
                        writes += 1;
                        assert!(writes <= 4, "damage {index} never ends: {step:?}");
                    }
                }
            }
            assert!(bundle_matches(&world.bundle, &world.secret.leaf, world.now), "damage {index}");
            assert!(bundle_matches(&world.bundle, &serving, world.now), "damage {index}");
        }
    }

    #[test]
    fn authorities_carried_over_are_bounded() {
        let mut world = World::installed(3, lives());
        for _ in 0..10 {
            world.secret.ca_key.clear();
            world.write(&world.step());
        }
        assert_eq!(certificates(&world.secret.ca_previous).len(), CARRIED);
    }

    #[test]
    fn other_names_need_another_leaf() {
        let mut world = World::installed(4, lives());
        world.names.push("nimscale-webhook.elsewhere.svc".into());
        assert_eq!(world.step(), Step::Leaf);
        world.write(&Step::Leaf);
        assert!(matches!(world.step(), Step::Rest { .. }));
    }

    #[test]
    fn a_bundle_that_somebody_edited_is_written_again() {
        let mut world = World::installed(5, lives());
        let right = std::mem::take(&mut world.bundle);
        assert_eq!(world.step(), Step::Publish { bundle: right.clone() });
        world.bundle = [right.clone(), right.clone()].concat();
        assert_eq!(world.step(), Step::Publish { bundle: right.clone() });
        let half = [right.clone(), Vec::new()];
        let bundle = Bundle { entries: &half, age: Duration::ZERO };
        let step = next_step(&world.secret, &bundle, &world.names, &world.lives, world.now);
        assert_eq!(step, Step::Publish { bundle: right }, "every webhook of the configuration counts");
    }

    #[test]
    fn lives_of_seconds_are_kept_too() {
        let mut world = World::new(6, Lives::new(60 * SECOND, 5 * SECOND));
        let end = world.now + 600 * SECOND;
        while world.now < end {
            let step = world.step();
            let Step::Rest { at_most } = step else {
                world.write(&step);
                continue;
            };
            world.now += at_most.clamp(SECOND / 10, SECOND);
            assert!(bundle_matches(&world.bundle, &world.secret.leaf, world.now));
        }
        assert!(world.leaves > 100 && world.authorities >= 10, "{} {}", world.leaves, world.authorities);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, ..ProptestConfig::default() })]

        #[test]
        fn for_three_years_every_leaf_that_serves_verifies(seed in any::<u64>()) {
            let mut world = World::installed(seed, lives());
            let end = world.now + 3 * 365 * DAY;
            while world.now < end {
                world.turn();
                world.assert_served("at work");
            }
            assert!((4..=7).contains(&world.authorities), "{}", world.authorities);
            assert!((220..=300).contains(&world.leaves), "{}", world.leaves);
            assert!(certificates(&world.bundle).len() <= 2);
        }
    }
}
