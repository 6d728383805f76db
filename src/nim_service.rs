//! What is read of a NIMService: its own annotations, and whether it scales by itself.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

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

/// The object as the API writes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
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
    pub fn trimmed(self) -> NimService {
        NimService {
            namespace: self.metadata.namespace.unwrap_or_default(),
            name: self.metadata.name.unwrap_or_default(),
            annotations: self.metadata.annotations.unwrap_or_default(),
            replicas: self.spec.replicas,
            scales: self.spec.scale.enabled.unwrap_or(false),
        }
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
