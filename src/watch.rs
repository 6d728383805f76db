//! Watch objects of the API: all of them at first and after each gap, then one change after the other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use nimscale_rules::workload::{self, Metadata, Object, OwnerReference, WorkloadKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What a watch has seen.
#[derive(Clone, Debug)]
pub enum Seen<T> {
    /// All that there are: whatever is not among them is gone.
    All(Vec<T>),
    Applied(T),
    Gone(T),
}

/// Watches without an end; gaps are bridged by listing again, with a growing wait between tries.
///
/// `trim` keeps of an object what is needed, before a list of thousands is held.
pub fn watch<K, T>(
    api: Api<K>,
    config: watcher::Config,
    trim: impl Fn(K) -> T + Send + 'static,
) -> BoxStream<'static, Seen<T>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    let mut listed: Vec<T> = Vec::new();
    let seen = events.filter_map(move |event| {
        let seen = match event {
            Ok(Event::Init) => {
                listed = Vec::new();
                None
            }
            Ok(Event::InitApply(object)) => {
                listed.push(trim(object));
                None
            }
            Ok(Event::InitDone) => Some(Seen::All(std::mem::take(&mut listed))),
            Ok(Event::Apply(object)) => Some(Seen::Applied(trim(object))),
            Ok(Event::Delete(object)) => Some(Seen::Gone(trim(object))),
            Err(error) => {
                tracing::warn!(error = %error, "a watch was interrupted");
                None
            }
        };
        futures::future::ready(seen)
    });
    seen.boxed()
}

impl<K: Ord, V: PartialEq> Seen<(K, V)> {
    /// Makes a map what was seen; false when it was that already.
    pub fn enter(self, map: &mut BTreeMap<K, V>) -> bool {
        match self {
            Self::All(all) => {
                let all = all.into_iter().collect();
                let changed = *map != all;
                *map = all;
                changed
            }
            Self::Applied((key, value)) => match map.entry(key) {
                Entry::Occupied(known) if *known.get() == value => false,
                entry @ (Entry::Occupied(_) | Entry::Vacant(_)) => {
                    entry.insert_entry(value);
                    true
                }
            },
            Self::Gone((key, _)) => map.remove(&key).is_some(),
        }
    }
}

/// The labels of all namespaces, by name.
pub fn namespaces(client: Client) -> BoxStream<'static, Seen<(String, Labels)>> {
    watch(Api::<Namespace>::all(client), watcher::Config::default(), |namespace| {
        (namespace.name_any(), namespace.metadata.labels.unwrap_or_default())
    })
}

/// One object, by its name: rights may be given on that alone.
pub fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// All Deployments or StatefulSets, trimmed to what the compiler reads.
pub fn workloads(client: Client, kind: WorkloadKind) -> impl Stream<Item = Seen<Object>> {
    watch(Api::<Trimmed>::all_with(client, &kind), watcher::Config::default(), Trimmed::object)
}

/// A Deployment or StatefulSet of which the API client keeps only what is read: about 12 KB each would be too much.
#[derive(Clone, Debug, Deserialize)]
struct Trimmed {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: workload::Spec,
}

impl Trimmed {
    fn object(self) -> Object {
        let meta = self.metadata;
        let owners = meta.owner_references.unwrap_or_default().into_iter().map(|owner| OwnerReference {
            api_version: owner.api_version,
            kind: owner.kind,
            name: owner.name,
            uid: owner.uid,
            controller: owner.controller.unwrap_or(false),
        });
        let metadata = Metadata {
            name: meta.name.unwrap_or_default(),
            generate_name: meta.generate_name.unwrap_or_default(),
            namespace: meta.namespace.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            owner_references: owners.collect(),
            deletion_timestamp: meta.deletion_timestamp.map(|time| time.0.to_string()),
        };
        Object { metadata, spec: self.spec }
    }
}

impl Resource for Trimmed {
    type DynamicType = WorkloadKind;
    type Scope = kube::core::NamespaceResourceScope;

    fn kind(kind: &WorkloadKind) -> std::borrow::Cow<'_, str> {
        kind.as_str().into()
    }

    fn group(_: &WorkloadKind) -> std::borrow::Cow<'_, str> {
        "apps".into()
    }

    fn version(_: &WorkloadKind) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }

    fn plural(kind: &WorkloadKind) -> std::borrow::Cow<'_, str> {
        match kind {
            WorkloadKind::Deployment => "deployments".into(),
            WorkloadKind::StatefulSet => "statefulsets".into(),
        }
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
