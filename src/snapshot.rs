//! Keep what the webhook knows of the cluster: policies, HPAs and namespaces, as one value that a request reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use nimscale_rules::policy::Book;
use nimscale_webhook::Snapshot;
use tokio::time::sleep;

use crate::admin::Check;
use crate::hpa::Hpa;
use crate::index::{Labels, Named, StoredPolicy, enter_policies};
use crate::watch::{Seen, watch};

/// An HPA's status is written at every scrape; a new snapshot for each of a thousand would be work for nothing.
const SETTLE: Duration = Duration::from_millis(20);

enum Change {
    Hpas(Seen<Hpa>),
    Policies(Seen<StoredPolicy>),
    Namespaces(Seen<(String, Labels)>),
}

/// Runs until the process ends; `synced` is met once everything was listed.
pub async fn follow(client: Client, snapshot: Arc<ArcSwap<Snapshot>>, synced: Check) {
    let mut known = Known::default();
    let mut changes = changes(client);
    while let Some(change) = changes.next().await {
        let mut news = known.see(change);
        sleep(SETTLE).await;
        while let Some(Some(change)) = changes.next().now_or_never() {
            news |= known.see(change);
        }
        if news && known.listed == [true; 3] {
            snapshot.store(Arc::new(known.snapshot(&snapshot.load())));
            synced.set(true);
        }
    }
}

fn changes(client: Client) -> BoxStream<'static, Change> {
    let all = watcher::Config::default;
    let hpas = watch(Api::<HorizontalPodAutoscaler>::all(client.clone()), all(), Hpa::of).map(Change::Hpas);
    let policies = crate::policy_watch::watch_all(client.clone()).map(Change::Policies);
    let namespaces = watch(Api::<Namespace>::all(client), all(), |namespace| {
        (namespace.name_any(), namespace.metadata.labels.unwrap_or_default())
    });
    futures::stream::select_all([hpas.boxed(), policies.boxed(), namespaces.map(Change::Namespaces).boxed()]).boxed()
}

#[derive(Default)]
struct Known {
    hpas: BTreeMap<Named, Hpa>,
    book: Book,
    namespaces: BTreeMap<String, Labels>,
    /// HPAs, policies, namespaces.
    listed: [bool; 3],
}

impl Known {
    /// True when something changed that a request is judged by.
    fn see(&mut self, change: Change) -> bool {
        match change {
            Change::Hpas(seen) => {
                self.listed[0] = true;
                self.see_hpas(seen)
            }
            Change::Policies(seen) => {
                self.listed[1] = true;
                enter_policies(&mut self.book, seen, |_, _| {});
                true
            }
            Change::Namespaces(seen) => {
                self.listed[2] = true;
                match seen {
                    Seen::All(all) => self.namespaces = all.into_iter().collect(),
                    Seen::Applied((name, labels)) => {
                        return self.namespaces.insert(name, labels.clone()) != Some(labels);
                    }
                    Seen::Gone((name, _)) => return self.namespaces.remove(&name).is_some(),
                }
                true
            }
        }
    }

    fn see_hpas(&mut self, seen: Seen<Hpa>) -> bool {
        let key = |hpa: &Hpa| (hpa.namespace.clone(), hpa.name.clone());
        match seen {
            Seen::All(all) => {
                self.hpas = all.into_iter().map(|hpa| (key(&hpa), hpa)).collect();
                true
            }
            Seen::Applied(hpa) => {
                let old = self.hpas.insert(key(&hpa), hpa.clone());
                old.is_none_or(|old| !old.says_the_same(&hpa))
            }
            Seen::Gone(hpa) => self.hpas.remove(&key(&hpa)).is_some(),
        }
    }

    fn snapshot(&self, before: &Snapshot) -> Snapshot {
        let hpas = self.hpas.values().filter_map(|hpa| {
            let target = hpa.target.as_ref()?;
            Some((hpa.namespace.clone(), target.kind, target.name.clone(), trimmed(hpa)))
        });
        Snapshot {
            policies: self.book.policies(&self.namespaces),
            platform: before.platform.clone(),
            hpas: hpas.collect(),
        }
    }
}

fn trimmed(hpa: &Hpa) -> nimscale_webhook::Hpa {
    let count = |count: i32| u32::try_from(count).unwrap_or(0);
    nimscale_webhook::Hpa {
        name: hpa.name.clone(),
        owner: hpa.owner.clone(),
        ours: hpa.written_by_us,
        adoptable: hpa.adoptable,
        // 1 is the API's default.
        min: hpa.spec.min_replicas.map_or(1, count),
        max: count(hpa.spec.max_replicas),
        active: hpa.active(),
        current: hpa.replicas,
    }
}
