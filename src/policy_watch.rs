//! Watch the ClusterScalingPolicies, and tell each what became of it.

use futures::Stream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::Deserialize;

use crate::index::StoredPolicy;
use crate::scaling_plan::{GROUP, VERSION};
use crate::watch::{Seen, watch};

/// All policies. A spec that this version cannot read is told apart from none: the last good one stays in force.
pub fn watch_all(client: Client) -> impl Stream<Item = Seen<StoredPolicy>> {
    watch(Api::<Raw>::all(client), watcher::Config::default(), Raw::read)
}

/// A policy whose spec has not been read yet: one that cannot be must not stop the watch.
#[derive(Clone, Debug, Deserialize)]
struct Raw {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: serde_json::Value,
}

impl Raw {
    fn read(self) -> StoredPolicy {
        StoredPolicy {
            name: self.metadata.name.unwrap_or_default(),
            generation: self.metadata.generation.unwrap_or_default(),
            spec: serde_json::from_value(self.spec).map_err(|error| error.to_string()),
        }
    }
}

impl Resource for Raw {
    type DynamicType = ();
    type Scope = kube::core::ClusterResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "ClusterScalingPolicy".into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "clusterscalingpolicies".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
