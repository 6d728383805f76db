//! What is read of a NIMService: its own annotations, and whether it scales by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::index::Named;
use crate::watch::{Seen, watch};

/// How often a cluster without the kind is asked for it: NIM Operator may be installed later.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// A NIMService of NVIDIA's NIM Operator, trimmed.
#[derive(Clone, Debug, PartialEq)]
pub struct NimService {
    pub namespace: String,
    pub name: String,
    pub annotations: BTreeMap<String, String>,
    /// `spec.replicas`: the operator writes it at each sync (k8s-nim-operator, `nimservice.go`). `None` leaves it alone.
    pub replicas: Option<i64>,
    /// `spec.scale.enabled`: the operator makes an HPA of its own.
    pub scales: bool,
}

/// Whether the cluster has the kind.
pub async fn are_served(client: &Client) -> bool {
    let asked = timeout(Duration::from_secs(10), client.list_api_group_resources("apps.nvidia.com/v1alpha1")).await;
    asked.is_ok_and(|served| served.is_ok_and(|list| list.resources.iter().any(|one| one.name == "nimservices")))
}

/// All NIMServices, from when the cluster has the kind.
pub fn watch_all(client: Client) -> impl Stream<Item = Seen<(Named, NimService)>> {
    let served = async move {
        while !are_served(&client).await {
            sleep(ASK_EVERY).await;
        }
        watch(Api::<Object>::all(client), watcher::Config::default(), Object::trimmed)
    };
    futures::stream::once(served).flatten()
}

/// The object as the API writes it.
#[derive(Clone, Debug, Deserialize)]
struct Object {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: Option<i64>,
    scale: Scale,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Scale {
    enabled: Option<bool>,
}

impl Object {
    fn trimmed(self) -> (Named, NimService) {
        let named = (self.metadata.namespace.unwrap_or_default(), self.metadata.name.unwrap_or_default());
        let service = NimService {
            namespace: named.0.clone(),
            name: named.1.clone(),
            annotations: self.metadata.annotations.unwrap_or_default(),
            replicas: self.spec.replicas,
            scales: self.spec.scale.enabled.unwrap_or(false),
        };
        (named, service)
    }
}

impl Resource for Object {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "NIMService".into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        "apps.nvidia.com".into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "nimservices".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
