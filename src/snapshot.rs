//! Keep what the webhook knows of the cluster: policies, HPAs and namespaces, as one value that a request reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use nimscale_rules::policy::Book;
use nimscale_rules::workload::WorkloadId;
use nimscale_webhook::Snapshot;
use tokio::time::sleep;

use crate::admin::Check;
use crate::hpa::Hpa;
use crate::index::{Named, StoredPolicy, enter_policies};
use crate::watch::{Labels, Seen, namespaces, watch};

/// An HPA's status is written at every scrape; a new snapshot for each of a thousand would be work for nothing.
const SETTLE: Duration = Duration::from_millis(20);

enum Change {
    Hpas(Seen<(Named, Target)>),
    Policies(Seen<StoredPolicy>),
    Namespaces(Seen<(String, Labels)>),
}

/// An HPA and the workload that it scales; `None` for one that scales something else.
type Target = Option<(WorkloadId, nimscale_webhook::Hpa)>;

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
    let hpas = watch(Api::<HorizontalPodAutoscaler>::all(client.clone()), watcher::Config::default(), |hpa| {
        let hpa = Hpa::of(hpa);
        ((hpa.namespace.clone(), hpa.name.clone()), hpa.target.clone().map(|target| (target, trimmed(&hpa))))
    });
    let policies = crate::policy_watch::watch_all(client.clone()).map(Change::Policies);
    let namespaces = namespaces(client).map(Change::Namespaces);
    futures::stream::select_all([hpas.map(Change::Hpas).boxed(), policies.boxed(), namespaces.boxed()]).boxed()
}

#[derive(Default)]
struct Known {
    hpas: BTreeMap<Named, Target>,
    book: Book,
    namespaces: BTreeMap<String, Labels>,
    /// HPAs, policies, namespaces.
    listed: [bool; 3],
}

impl Known {
    /// True when something changed that a request is judged by, or was listed for the first time.
    fn see(&mut self, change: Change) -> bool {
        let (source, changed) = match change {
            Change::Hpas(seen) => (0, seen.enter(&mut self.hpas)),
            Change::Policies(seen) => {
                enter_policies(&mut self.book, seen, |_, _| {});
                (1, true)
            }
            Change::Namespaces(seen) => (2, seen.enter(&mut self.namespaces)),
        };
        !std::mem::replace(&mut self.listed[source], true) || changed
    }

    fn snapshot(&self, before: &Snapshot) -> Snapshot {
        let hpas = self.hpas.iter().filter_map(|((namespace, _), target)| {
            let (workload, hpa) = target.clone()?;
            Some((namespace.clone(), workload.kind, workload.name, hpa))
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
