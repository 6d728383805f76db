//! Make the cluster equal the plans, report, repeat.
//!
//! Every replica watches and knows; the one that holds the lease writes. One task owns the [`Index`]; what it finds to be
//! done for a workload runs beside it, one at a time for each.

pub mod adapter;
mod attach;
pub mod metrics;
mod ownership;
mod policy_status;
mod reconcile;
mod report;
mod roll;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use nimscale_rules::platform::Platform;
use nimscale_rules::workload::{Object, WorkloadId, WorkloadKind};
use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep_until};

use crate::hpa::Hpa;
use crate::index::{Index, Named, StoredPlan, StoredPolicy};
use crate::lease::Leadership;
use crate::nim_service::{self, NimService};
use crate::scaling_plan::ScalingPlan;
use crate::watch::{Labels, Seen, namespaces, watch, workloads};
use adapter::Published;
use metrics::Metrics;
use ownership::Standing;
use policy_status::Teller;
use reconcile::{Context, Done, Job, Memo, reconcile};

pub use roll::{Timing, Wanted};

/// How many workloads are worked on at once: the API server takes about 700 small writes a second.
const AT_ONCE: usize = 16;

/// The counts in a policy's status are for people: a burst of workloads is one write.
const POLICIES_SETTLE: Duration = Duration::from_secs(1);

/// How a workload's HPA comes and goes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long an HPA outlives its keys: `kubectl rollout undo` takes them away, too.
    pub grace: Duration,
    /// After how long without a value a new expression is said to have none.
    pub overdue: Duration,
}

/// What a watch has told.
enum Change {
    Workloads(WorkloadKind, Seen<Object>),
    Hpas(Seen<Hpa>),
    Plans(Seen<StoredPlan>),
    Policies(Seen<StoredPolicy>),
    Namespaces(Seen<(String, Labels)>),
    Services(Seen<(Named, NimService)>),
}

impl Change {
    /// What every cluster has.
    const SOURCES: usize = 6;

    fn source(&self) -> usize {
        match self {
            Self::Workloads(WorkloadKind::Deployment, _) => 0,
            Self::Workloads(WorkloadKind::StatefulSet, _) => 1,
            Self::Hpas(_) => 2,
            Self::Plans(_) => 3,
            Self::Policies(_) => 4,
            Self::Namespaces(_) => 5,
            // Not every cluster has the kind.
            Self::Services(_) => Self::SOURCES,
        }
    }
}

/// Runs until the process ends.
pub struct Controller {
    index: Index,
    context: Arc<Context>,
    settings: Settings,
    changes: SelectAll<BoxStream<'static, Change>>,
    /// How many sources must have been listed before anything is written: absence means something only then. A NIMService
    /// that is not known yet would take its workload's HPA away.
    sources: usize,
    listed: BTreeSet<usize>,
    leadership: Leadership,
    wanted: channel::Sender<Option<Wanted>>,
    published: channel::Receiver<Published>,
    /// The image patterns of policies that attach what is not annotated.
    attaches: channel::Sender<Vec<String>>,
    memos: BTreeMap<WorkloadId, Memo>,
    /// Workloads to look at later.
    later: BTreeMap<WorkloadId, Instant>,
    running: BTreeSet<WorkloadId>,
    synced: channel::Sender<bool>,
    /// The revision of the index that others were last told of.
    told: Option<u64>,
}

/// The ends of the channels that others hold.
pub struct Ends {
    pub wanted: channel::Receiver<Option<Wanted>>,
    pub published: channel::Sender<Published>,
    pub attaches: channel::Receiver<Vec<String>>,
    /// Everything was listed once.
    pub synced: channel::Receiver<bool>,
}

impl Controller {
    /// `nim_services`: whether the cluster has NIM Operator's kinds already.
    pub fn new(
        client: Client,
        platform: Platform,
        settings: Settings,
        metrics: Metrics,
        leadership: Leadership,
        nim_services: bool,
    ) -> (Self, Ends) {
        let (wanted, wanted_end) = channel::channel(None);
        let (published_end, published) = channel::channel(Published::default());
        let (attaches, attaches_end) = channel::channel(Vec::new());
        let (synced, synced_end) = channel::channel(false);
        let controller = Self {
            index: Index::new(platform),
            context: Arc::new(Context::new(client.clone(), metrics, leadership.clone())),
            settings,
            changes: changes(&client),
            sources: Change::SOURCES + usize::from(nim_services),
            listed: BTreeSet::new(),
            leadership,
            wanted,
            published,
            attaches,
            memos: BTreeMap::new(),
            later: BTreeMap::new(),
            running: BTreeSet::new(),
            synced,
            told: None,
        };
        let ends = Ends { wanted: wanted_end, published: published_end, attaches: attaches_end, synced: synced_end };
        (controller, ends)
    }

    pub async fn run(mut self) {
        let mut work = FuturesUnordered::new();
        let mut teller = Teller::default();
        let mut policies_at: Option<Instant> = None;
        loop {
            let next = self.later.values().min().copied();
            tokio::select! {
                biased;
                () = self.leadership.changed() => {
                    self.memos.clear();
                    self.index.touch_all();
                    policies_at = Some(Instant::now() + POLICIES_SETTLE);
                }
                changed = self.published.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.index.touch_all();
                }
                Some(done) = work.next() => self.done(done),
                change = self.changes.next() => match change {
                    Some(change) => {
                        self.see(change);
                        // A burst of events is one look at what they came to.
                        while let Some(Some(change)) = self.changes.next().now_or_never() {
                            self.see(change);
                        }
                        if self.tell() {
                            policies_at.get_or_insert_with(|| Instant::now() + POLICIES_SETTLE);
                        }
                    }
                    None => return,
                },
                () = sleep_until(policies_at.unwrap_or_else(Instant::now)), if policies_at.is_some() => {
                    policies_at = None;
                    if self.leadership.is_held() {
                        teller.tell(&self.context.writer, &self.context.client, self.index.policies()).await;
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let now = Instant::now();
                    let due: Vec<WorkloadId> =
                        self.later.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
                    for id in due {
                        self.later.remove(&id);
                        self.index.touch(id);
                    }
                }
            }
            if !self.leadership.is_held() || self.listed.len() < self.sources {
                continue;
            }
            // One at a time for each workload; what changed meanwhile is seen after it.
            while work.len() < AT_ONCE
                && let Some(id) = self.index.take_dirty(&self.running)
            {
                if let Some(job) = self.job(&id) {
                    self.running.insert(id.clone());
                    self.later.remove(&id);
                    work.push(reconcile(Arc::clone(&self.context), job));
                }
            }
        }
    }

    fn see(&mut self, change: Change) {
        if change.source() < self.sources {
            self.listed.insert(change.source());
        }
        match change {
            Change::Workloads(kind, seen) => self.index.see_workloads(kind, seen),
            Change::Hpas(seen) => self.index.see_hpas(seen),
            Change::Plans(seen) => {
                self.index.see_plans(seen);
                self.context.metrics.count(self.index.plans.values());
            }
            Change::Policies(seen) => {
                self.index.see_policies(seen);
                self.told = None;
            }
            Change::Namespaces(seen) => self.index.see_namespaces(seen),
            Change::Services(seen) => self.index.see_services(seen),
        }
    }

    /// Tells the adapter's loop which rules are wanted, and the webhook's which images; false when there is no news.
    fn tell(&mut self) -> bool {
        if self.listed.len() < self.sources || self.told == Some(self.index.revision()) {
            return false;
        }
        self.told = Some(self.index.revision());
        self.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
        let wanted = Wanted { rules: self.index.rules(), in_use: self.index.in_use() };
        self.wanted.send_if_modified(|old| {
            let changed = old.as_ref() != Some(&wanted);
            *old = Some(wanted);
            changed
        });
        let images = self.index.book().attaches();
        self.attaches.send_if_modified(|old| {
            let changed = *old != images;
            *old = images;
            changed
        });
        true
    }

    /// What there is to do for a workload; nothing when it is gone: its objects go with it.
    fn job(&mut self, id: &WorkloadId) -> Option<Job> {
        let Some(entry) = self.index.workloads.get(id).cloned().filter(|entry| !entry.deleting) else {
            self.memos.remove(id);
            self.later.remove(id);
            return None;
        };
        let namespace = id.namespace.clone().unwrap_or_default();
        let plan = self.index.plans.get(&(namespace.clone(), crate::scaling_plan::name(id))).cloned();
        let ours: Vec<Arc<Hpa>> =
            self.index.hpas_of(&namespace).filter(|hpa| hpa.is_ours(&entry.uid)).cloned().collect();
        if entry.compiled.plan.is_none() && entry.compiled.findings.is_empty() && plan.is_none() && ours.is_empty() {
            return None;
        }
        let standing = entry.compiled.plan.is_some().then(|| ownership::standing(&self.index, id, &entry));
        // Before the pass: what goes out of the way while it runs is seen after it.
        self.index.set_blocked(id, matches!(standing, Some(Standing::Blocked { .. })));
        Some(Job {
            id: id.clone(),
            entry,
            standing,
            ours,
            plan,
            memo: self.memos.get(id).cloned().unwrap_or_default(),
            published: self.published.borrow().clone(),
            settings: self.settings,
        })
    }

    fn done(&mut self, done: Done) {
        let Done { id, memo, again } = done;
        self.running.remove(&id);
        if let Some(again) = again {
            self.later.insert(id.clone(), Instant::now() + again);
        }
        self.memos.insert(id, memo);
    }
}

/// Every watch of the controller, in one stream.
fn changes(client: &Client) -> SelectAll<BoxStream<'static, Change>> {
    let all = watcher::Config::default;
    let deployments = workloads(client.clone(), WorkloadKind::Deployment);
    let stateful_sets = workloads(client.clone(), WorkloadKind::StatefulSet);
    let hpas = watch(Api::<HorizontalPodAutoscaler>::all(client.clone()), all(), Hpa::of);
    let plans = watch(Api::<ScalingPlan>::all(client.clone()), all(), StoredPlan::of);
    let policies = crate::policy_watch::watch_all(client.clone());
    let services = nim_service::watch_all(client.clone());
    futures::stream::select_all([
        deployments.map(|seen| Change::Workloads(WorkloadKind::Deployment, seen)).boxed(),
        stateful_sets.map(|seen| Change::Workloads(WorkloadKind::StatefulSet, seen)).boxed(),
        hpas.map(Change::Hpas).boxed(),
        plans.map(Change::Plans).boxed(),
        policies.map(Change::Policies).boxed(),
        namespaces(client.clone()).map(Change::Namespaces).boxed(),
        services.map(Change::Services).boxed(),
    ])
}
