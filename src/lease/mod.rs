//! Who may write: a lease that one process of several holds.
//!
//! The clock of another machine is never trusted: a lease of another holder has ended once it has not changed for its
//! whole duration as seen by the monotonic clock of this process. Every write compares and swaps by `resourceVersion`.

use std::fmt::Debug;
use std::future::pending;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::remote::{CallError, Calls, Resource, Verb};

const FIELD_MANAGER: &str = "nimscale-lease";

#[derive(Clone, Debug)]
pub struct Settings {
    pub namespace: String,
    pub name: String,
    /// Unique for each process: a lease in this name is taken for our own.
    pub identity: String,
    /// Whole seconds, as the API stores it; 15 s by default.
    pub duration: Duration,
    /// How often to look at a lease of another, and to try again; 2 s by default.
    pub retry: Duration,
}

impl Settings {
    /// What is left of the duration when a holder stops: its calls in flight must end before another may begin.
    fn margin(&self) -> Duration {
        self.duration / 5
    }

    fn call_deadline(&self) -> Duration {
        self.duration / 5
    }

    fn renew_every(&self) -> Duration {
        self.duration / 3
    }
}

/// Starts the task that takes, renews and, at shutdown, releases the lease.
///
/// The writers should have ended when `shutdown` becomes true: another may write as soon as the lease is released.
pub fn run(
    client: kube::Client,
    calls: Calls,
    settings: Settings,
    shutdown: watch::Receiver<bool>,
) -> (Leadership, JoinHandle<()>) {
    let (held, receiver) = watch::channel(None);
    let leases = Api::namespaced(client, &settings.namespace);
    let candidate = Candidate { leases, calls, settings, held, observed: None, term: 0 };
    (Leadership { held: receiver, seen: None }, tokio::spawn(candidate.run(shutdown)))
}

/// Whether this process holds the lease. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    held: watch::Receiver<Option<Held>>,
    /// The term that [`Leadership::changed`] last told of.
    seen: Option<u64>,
}

impl Leadership {
    /// False as soon as the last renewal is too old, even if the task that renews hangs.
    pub fn is_held(&self) -> bool {
        self.term().is_some()
    }

    /// Returns when the lease was won or lost since the last call; a loss between two terms counts.
    pub async fn changed(&mut self) {
        loop {
            let held = *self.held.borrow_and_update();
            let term = held.filter(Held::lasts).map(|held| held.term);
            if term != self.seen {
                self.seen = term;
                return;
            }
            let lapse = async {
                match held.filter(Held::lasts) {
                    Some(held) => sleep_until(held.until).await,
                    None => pending().await,
                }
            };
            tokio::pin!(lapse);
            tokio::select! {
                () = &mut lapse => {}
                // When the task is gone nobody renews: what it last said holds until it lapses.
                said = self.held.changed() => if said.is_err() { lapse.await },
            }
        }
    }

    /// Returns at once when the lease is not held, else at the end of the present term.
    pub async fn until_lost(&self) {
        let term = self.term();
        let mut own = Self { held: self.held.clone(), seen: term };
        if term.is_some() {
            own.changed().await;
        }
    }

    fn term(&self) -> Option<u64> {
        self.held.borrow().filter(Held::lasts).map(|held| held.term)
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    term: u64,
    until: Instant,
}

impl Held {
    fn lasts(&self) -> bool {
        Instant::now() < self.until
    }
}

struct Candidate {
    leases: Api<Lease>,
    calls: Calls,
    settings: Settings,
    held: watch::Sender<Option<Held>>,
    observed: Option<Observed>,
    term: u64,
}

impl Candidate {
    async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let wait = tokio::select! {
                biased;
                _ = shutdown.wait_for(|asked| *asked) => break,
                wait = self.turn() => wait,
            };
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|asked| *asked) => break,
                () = sleep(wait) => {}
            }
        }
        self.lose("shutdown");
        if timeout(2 * self.settings.call_deadline(), self.release()).await.is_err() {
            tracing::warn!("the lease was not released in time: it ends by itself");
        }
    }

    /// One look or write, and how long to wait after it.
    async fn turn(&mut self) -> Duration {
        let wait = match self.pass().await {
            Ok(Step::Claim | Step::Renew) => self.settings.renew_every(),
            Ok(Step::Wait) => self.settings.retry,
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), "failed to take or renew the lease");
                self.settings.retry
            }
        };
        if self.held.borrow().is_some_and(|held| !held.lasts()) {
            self.lose("not renewed in time");
        }
        wait
    }

    /// Looks, unless the last answer says that the lease is ours; then does what [`decide`] says, and says what it did.
    async fn pass(&mut self) -> Result<Step, CallError> {
        let ours = self.observed.as_ref().is_some_and(|observed| observed.record.is_of(&self.settings.identity));
        if !ours {
            self.look().await?;
        }
        match self.step().await {
            // Somebody wrote in between; it may have been our own call that was given up too early.
            Err(CallError::Conflict(_) | CallError::NotFound(_)) => {
                self.look().await?;
                self.step().await
            }
            done => done,
        }
    }

    async fn step(&mut self) -> Result<Step, CallError> {
        let observed = self.observed.as_ref().expect("every step follows a look");
        let step = decide(observed, &self.settings, Instant::now());
        let claim = match step {
            Step::Wait => return Ok(step),
            Step::Claim => Claim::first(observed, Timestamp::now()),
            Step::Renew => Claim::next(observed, Timestamp::now()),
        };
        let sent = self.apply(self.settings.identity.clone(), claim).await?;
        self.win(sent);
        Ok(step)
    }

    async fn look(&mut self) -> Result<(), CallError> {
        let (name, deadline) = (&self.settings.name, self.settings.call_deadline());
        let found = self.calls.make(Verb::Get, Resource::Leases, deadline, self.leases.get(name)).await;
        let lease = match found {
            // This apply owns no field, so two processes may send it, and late, without taking anything away.
            Err(CallError::NotFound(_)) => {
                let empty = Lease { metadata: self.metadata(None), ..Lease::default() };
                let params = PatchParams::apply("nimscale-lease-creation");
                let apply = async { self.leases.patch(name, &params, &Patch::Apply(&empty)).await };
                self.calls.make(Verb::Apply, Resource::Leases, deadline, apply).await?
            }
            found => found?,
        };
        self.observe(lease);
        Ok(())
    }

    /// Writes the lease as observed, with another holder, and says when it was sent.
    async fn apply(&mut self, holder: String, claim: Claim) -> Result<Instant, CallError> {
        let duration = i32::try_from(self.settings.duration.as_secs().max(1)).unwrap_or(i32::MAX);
        let lease = Lease {
            metadata: self.metadata(Some(claim.version)),
            spec: Some(LeaseSpec {
                holder_identity: Some(holder),
                lease_duration_seconds: Some(duration),
                acquire_time: claim.acquired.map(MicroTime),
                renew_time: Some(MicroTime(claim.renewed)),
                lease_transitions: Some(claim.transitions),
                ..LeaseSpec::default()
            }),
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let deadline = self.settings.call_deadline();
        let sent = Instant::now();
        let apply = async { self.leases.patch(&self.settings.name, &params, &Patch::Apply(&lease)).await };
        let stored = self.calls.make(Verb::Apply, Resource::Leases, deadline, apply).await?;
        self.observe(stored);
        Ok(sent)
    }

    fn metadata(&self, version: Option<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.settings.name.clone()),
            namespace: Some(self.settings.namespace.clone()),
            resource_version: version,
            ..ObjectMeta::default()
        }
    }

    fn observe(&mut self, lease: Lease) {
        let record = Record::of(lease);
        let since = match &self.observed {
            Some(before) if before.record.is_same_term(&record) => before.since,
            Some(_) | None => Instant::now(),
        };
        if self.held.borrow().is_some() && !record.is_of(&self.settings.identity) {
            self.lose("another holds it");
        }
        self.observed = Some(Observed { record, since });
    }

    fn win(&mut self, sent: Instant) {
        let until = sent + self.settings.duration - self.settings.margin();
        if !self.held.borrow().is_some_and(|held| held.lasts()) {
            self.term += 1;
            tracing::info!(identity = self.settings.identity, "holding the lease");
        }
        self.held.send_replace(Some(Held { term: self.term, until }));
    }

    fn lose(&mut self, why: &'static str) {
        if self.held.send_replace(None).is_some() {
            tracing::info!(identity = self.settings.identity, why, "no longer holding the lease");
        }
    }

    /// Empties the holder, so that another need not wait. Looks first: a call that shutdown cut off may have landed.
    async fn release(&mut self) {
        if self.observed.is_none() {
            return;
        }
        if let Err(error) = self.look_and_empty().await {
            let error = anyhow::Error::from(error);
            tracing::warn!(error = format!("{error:#}"), "failed to release the lease: it ends by itself");
        }
    }

    async fn look_and_empty(&mut self) -> Result<(), CallError> {
        self.look().await?;
        let observed = self.observed.as_ref().expect("every step follows a look");
        if observed.record.is_of(&self.settings.identity) {
            self.apply(String::new(), Claim::next(observed, Timestamp::now())).await?;
        }
        Ok(())
    }
}

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    /// `None` when nobody holds it.
    holder: Option<String>,
    acquired: Option<Timestamp>,
    renewed: Option<Timestamp>,
    transitions: i32,
    duration: Option<Duration>,
    version: String,
}

impl Record {
    fn of(lease: Lease) -> Self {
        let spec = lease.spec.unwrap_or_default();
        Self {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            acquired: spec.acquire_time.map(|time| time.0),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or(0),
            duration: spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
            version: lease.metadata.resource_version.unwrap_or_default(),
        }
    }

    fn is_of(&self, identity: &str) -> bool {
        self.holder.as_deref() == Some(identity)
    }

    /// True when nobody renewed or took the lease in between.
    fn is_same_term(&self, later: &Self) -> bool {
        (&self.holder, self.renewed, self.transitions) == (&later.holder, later.renewed, later.transitions)
    }
}

struct Observed {
    record: Record,
    /// Since when the holder has given no sign of life, by our own clock.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Claim,
    Renew,
    Wait,
}

fn decide(observed: &Observed, settings: &Settings, now: Instant) -> Step {
    let Observed { record, since } = observed;
    if record.is_of(&settings.identity) {
        return Step::Renew;
    }
    let duration = record.duration.unwrap_or(settings.duration);
    match record.holder {
        None => Step::Claim,
        Some(_) if now.duration_since(*since) >= duration => Step::Claim,
        Some(_) => Step::Wait,
    }
}

/// The times and counts of the next write.
struct Claim {
    version: String,
    acquired: Option<Timestamp>,
    renewed: Timestamp,
    transitions: i32,
}

impl Claim {
    fn first(observed: &Observed, now: Timestamp) -> Self {
        let Record { version, transitions, .. } = &observed.record;
        let transitions = transitions.saturating_add(1);
        Self { version: version.clone(), acquired: Some(now), renewed: now, transitions }
    }

    fn next(observed: &Observed, now: Timestamp) -> Self {
        let Record { version, acquired, transitions, .. } = &observed.record;
        Self { version: version.clone(), acquired: *acquired, renewed: now, transitions: *transitions }
    }
}

#[cfg(test)]
mod tests;
