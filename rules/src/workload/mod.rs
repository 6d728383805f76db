//! The workload that the compiler is given: the same from a file, an admission review or a watch.

mod object;
mod selector;

use std::collections::BTreeMap;
use std::fmt;

pub use object::{Metadata, Object, OwnerReference, Spec};
pub use selector::{Selector, UnknownOperator};

use crate::keys::{Recognised, recognise};
use crate::place::{Place, Span, Text};
use crate::yaml::token;

/// The two kinds of workload that can be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
}

impl WorkloadKind {
    /// The kind of an object of `apps/v1`, if it is a workload.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        match (api_version, kind) {
            ("apps/v1", "Deployment") => Some(Self::Deployment),
            ("apps/v1", "StatefulSet") => Some(Self::StatefulSet),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which workload: ordered as the output is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// `None` when the manifest leaves it to `kubectl`.
    pub namespace: Option<String>,
    pub name: String,
    pub kind: WorkloadKind,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "apps/v1 {} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// One annotation of ours, or one that is nearly ours: its full key and its value with the places of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    pub key: String,
    pub key_place: Place,
    pub value: Text,
}

/// A Deployment or StatefulSet, trimmed to what scaling it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub id: WorkloadId,
    /// `spec.replicas` as written; `None` when it is absent.
    pub replicas: Option<Replicas>,
    /// The annotations under our domain or a subdomain of it, sorted by key.
    pub annotations: Vec<Annotation>,
    /// Bytes of all keys and values of `metadata.annotations`, ours or not: the API limits their sum.
    pub annotation_bytes: usize,
    /// Where `metadata.annotations` stands.
    pub annotations_place: Place,
    /// `metadata.labels`: what a policy selects by.
    pub labels: BTreeMap<String, String>,
    /// The owner that controls it, if there is one: whatever we would change it may change back.
    pub owner: Option<Owner>,
    pub pods: Pods,
}

/// What controls a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

/// What a workload says of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pub selector: Selector,
    /// The labels of the pod template.
    pub labels: BTreeMap<String, String>,
    /// The images of its containers.
    pub images: Vec<String>,
    /// An environment variable `NGC_API_KEY` or `NIM_*` is set in one of the containers.
    pub nim_environment: bool,
    /// GPUs of one pod: the sum of the containers' limits on `nvidia.com/gpu`.
    pub gpus: u32,
}

impl Owner {
    /// A NIMService of NVIDIA's NIM Operator, in whatever version.
    pub fn is_nim_service(&self) -> bool {
        self.kind == "NIMService" && self.api_version.split('/').next() == Some("apps.nvidia.com")
    }
}

impl Workload {
    /// A workload with annotations as the API stores them; places are in their values. All else is absent.
    pub fn stored(id: WorkloadId, annotations: &BTreeMap<String, String>) -> Self {
        const ANNOTATIONS: &str = "/metadata/annotations";
        let place = |path: String| Place { path, ..Place::of_text(Span::default()) };
        let ours = annotations.iter().filter(|(key, _)| !matches!(recognise(key), Recognised::Foreign));
        let annotation = |(key, value): (&String, &String)| {
            let path = format!("{ANNOTATIONS}/{}", token(key));
            let value = Text::verbatim(value.as_str()).at_path(path.clone());
            Annotation { key: key.clone(), key_place: place(path), value }
        };
        Self {
            id,
            replicas: None,
            annotations: ours.map(annotation).collect(),
            annotation_bytes: annotations.iter().map(|(key, value)| key.len() + value.len()).sum(),
            annotations_place: place(ANNOTATIONS.to_owned()),
            labels: BTreeMap::new(),
            owner: None,
            pods: Pods::default(),
        }
    }

    /// The value of an annotation under our domain, by the part of its key after the slash.
    pub fn annotation(&self, name: &str) -> Option<&Annotation> {
        self.annotations.iter().find(|annotation| annotation.key.split_once('/') == Some((crate::keys::DOMAIN, name)))
    }
}

/// True for a name that Kubernetes takes for a namespace (a DNS label, RFC 1123).
pub fn is_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_subdomain(name)
}

/// True for a name that Kubernetes takes for a workload (a DNS subdomain, RFC 1123).
pub fn is_subdomain(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty() && part.bytes().all(is_inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_part)
}

/// `spec.replicas` and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub count: u32,
    pub place: Place,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        assert!(["a", "a-b", "0", "llama-3.1-8b"].into_iter().all(is_subdomain));
        assert!(
            ["", "-a", "a-", "a..b", "A", "a_b", "{{ .Values.x }}", "é"].into_iter().all(|name| !is_subdomain(name))
        );
        assert!(is_subdomain(&"a".repeat(253)) && !is_subdomain(&"a".repeat(254)));
        assert!(is_label("prod") && !is_label("a.b") && !is_label(&"a".repeat(64)));
    }
}
