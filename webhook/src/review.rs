//! Read what an admission request asks: AdmissionReview v1, trimmed to what the decision needs.

use std::collections::BTreeMap;

use nimscale_rules::workload::{Object, Workload, WorkloadKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Where `kubectl apply` keeps the manifest it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One request for a Deployment or StatefulSet.
#[derive(Clone, Debug)]
pub struct Review {
    pub operation: Operation,
    /// The object as it would be stored.
    pub workload: Workload,
    /// `deletionTimestamp` is set: somebody is taking the object away.
    pub deleting: bool,
    /// The workload's own UID; `None` as long as it is not stored.
    pub uid: Option<String>,
    /// `spec.replicas` certainly stands in the author's manifest. Defaulting has filled the object in before admission, so
    /// that an absent field and a written 1 look the same in the object itself.
    pub states_replicas: bool,
    /// A ServiceAccount asks: another controller rather than a person.
    pub by_service_account: bool,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Create,
    Update {
        /// The object as it is stored.
        old: Box<Workload>,
        /// Keys changed together with the pod template, and no manifest states their new values: this is what
        /// `kubectl rollout undo` does, which brings the annotations of an old ReplicaSet back.
        undo: bool,
    },
}

impl Review {
    /// The request that `kubectl create` would send for a manifest.
    pub fn create(workload: Workload) -> Self {
        let states_replicas = workload.replicas.is_some();
        let (operation, by_service_account) = (Operation::Create, false);
        Self { operation, workload, deleting: false, uid: None, states_replicas, by_service_account }
    }

    /// True when the request writes our keys: a CREATE, or a key that differs between the old and the new object.
    pub fn writes_keys(&self) -> bool {
        match &self.operation {
            Operation::Create => true,
            Operation::Update { old, .. } => keys(old) != keys(&self.workload),
        }
    }
}

/// Our annotations as the API stores them: sorted, without the places they were read from.
fn keys(workload: &Workload) -> BTreeMap<&str, &str> {
    workload.annotations.iter().map(|annotation| (annotation.key.as_str(), annotation.value.as_str())).collect()
}

/// Why a body is not an admission request.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("the body is not JSON, or not an AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1 with a request")]
    Kind,
    #[error("the request has no {0}")]
    Absent(&'static str),
    #[error("{which} is not a workload: {error}")]
    Object { which: &'static str, error: serde_json::Error },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

/// The request of an AdmissionReview, its objects still unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a> {
    /// The request's own, to be sent back.
    pub uid: String,
    kind: GroupVersionKind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    pub operation: String,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    user_info: UserInfo,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
}

impl<'a> Request<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let review: AdmissionReview<'a> = serde_json::from_slice(body)?;
        if review.api_version != "admission.k8s.io/v1" || review.kind != "AdmissionReview" {
            return Err(Malformed::Kind);
        }
        let request = review.request.ok_or(Malformed::Kind)?;
        if request.uid.is_empty() {
            return Err(Malformed::Absent("uid"));
        }
        Ok(request)
    }

    pub fn dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }

    /// What is asked, when it is ours to judge: a workload that is created or updated.
    pub fn review(&self) -> Result<Option<Review>, Malformed> {
        let GroupVersionKind { group, version, kind } = &self.kind;
        let kind = WorkloadKind::of(&format!("{group}/{version}"), kind).filter(|_| self.sub_resource.is_empty());
        let (Some(kind), "CREATE" | "UPDATE") = (kind, self.operation.as_str()) else {
            return Ok(None);
        };
        let json = self.object.ok_or(Malformed::Absent("object"))?;
        let object = self.object_of("object", json)?;
        let workload = object.workload(kind);
        let applied = object.metadata.annotations.get(LAST_APPLIED);
        let (operation, states_replicas, uid) = if self.operation == "CREATE" {
            let states_replicas = Manifest::behind(applied, &Evidence::read(json)).replicas;
            (Operation::Create, states_replicas, None)
        } else {
            let old_json = self.old_object.ok_or(Malformed::Absent("oldObject"))?;
            let old_object = self.object_of("oldObject", old_json)?;
            let old = Box::new(old_object.workload(kind));
            let changed = changed(&old, &workload);
            // Where nothing of this changes, nobody applies a manifest that has to do with us.
            let (mut undo, mut states_replicas) = (false, false);
            if !changed.is_empty()
                || old.replicas != workload.replicas
                || old_object.metadata.annotations.get(LAST_APPLIED) != applied
            {
                let evidence = Evidence::read(json);
                let manifest = Manifest::behind(applied, &evidence);
                states_replicas = manifest.replicas;
                undo = !changed.is_empty()
                    && evidence.template() != Evidence::read(old_json).template()
                    && !changed.iter().any(|(key, value)| manifest.states(key, *value));
            }
            (Operation::Update { old, undo }, states_replicas, Some(old_object.metadata.uid))
        };
        let deleting = object.metadata.deletion_timestamp.is_some();
        let by_service_account = self.user_info.username.starts_with("system:serviceaccount:");
        Ok(Some(Review { operation, workload, deleting, uid, states_replicas, by_service_account }))
    }

    fn object_of(&self, which: &'static str, json: &RawValue) -> Result<Object, Malformed> {
        let mut object: Object =
            serde_json::from_str(json.get()).map_err(|error| Malformed::Object { which, error })?;
        if object.metadata.namespace.is_empty() {
            object.metadata.namespace.clone_from(&self.namespace);
        }
        Ok(object)
    }
}

/// Our keys that differ, with their new values.
fn changed<'w>(old: &'w Workload, new: &'w Workload) -> Vec<(&'w str, Option<&'w str>)> {
    let (old, new) = (keys(old), keys(new));
    let vanished = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (*key, None));
    let set = new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(key, value)| (*key, Some(*value)));
    vanished.chain(set).collect()
}

/// What shows in an object where it comes from. Read only when it is needed: it is half of a stored object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Evidence<'a> {
    #[serde(borrow)]
    metadata: EvidenceMetadata<'a>,
    #[serde(borrow)]
    spec: EvidenceSpec<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EvidenceMetadata<'a> {
    #[serde(borrow)]
    managed_fields: Vec<Entry<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EvidenceSpec<'a> {
    #[serde(borrow)]
    template: Option<&'a RawValue>,
}

/// An entry of managedFields, its fields still unread.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Entry<'a> {
    operation: String,
    #[serde(borrow)]
    fields_v1: Option<&'a RawValue>,
}

impl<'a> Evidence<'a> {
    /// An object that is no such thing proves nothing.
    fn read(json: &'a RawValue) -> Self {
        serde_json::from_str(json.get()).unwrap_or_default()
    }

    /// The API server writes an object's fields in one order: equal templates are equal text.
    fn template(&self) -> Option<&str> {
        self.spec.template.map(RawValue::get)
    }
}

/// What the manifests behind an object state.
#[derive(Default)]
struct Manifest {
    replicas: bool,
    /// The annotations that `kubectl apply` applied last.
    annotations: BTreeMap<String, String>,
    /// The annotations that a server-side apply owns, as `f:KEY`.
    owned: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Applied {
    metadata: AppliedMetadata,
    spec: AppliedSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AppliedMetadata {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AppliedSpec {
    replicas: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "f:metadata")]
    metadata: FieldsMetadata,
    #[serde(rename = "f:spec")]
    spec: FieldsSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FieldsMetadata {
    #[serde(rename = "f:annotations")]
    annotations: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FieldsSpec {
    #[serde(rename = "f:replicas")]
    replicas: Option<IgnoredAny>,
}

impl Manifest {
    /// An update owns what defaulting filled in; an apply owns what its manifest states.
    fn behind(applied: Option<&String>, evidence: &Evidence<'_>) -> Self {
        let applied: Applied = applied.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let mut manifest = Self {
            replicas: applied.spec.replicas.is_some(),
            annotations: applied.metadata.annotations.unwrap_or_default(),
            owned: BTreeMap::new(),
        };
        let entries = evidence.metadata.managed_fields.iter().filter(|entry| entry.operation == "Apply");
        for fields in entries.filter_map(|entry| entry.fields_v1) {
            let fields: Fields = serde_json::from_str(fields.get()).unwrap_or_default();
            manifest.replicas |= fields.spec.replicas.is_some();
            manifest.owned.extend(fields.metadata.annotations);
        }
        manifest
    }

    /// A key that vanished is stated nowhere.
    fn states(&self, key: &str, value: Option<&str>) -> bool {
        value.is_some_and(|value| {
            self.annotations.get(key).is_some_and(|applied| applied == value)
                || self.owned.contains_key(&format!("f:{key}"))
        })
    }
}

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::support::{applied, deployment, review};
    use super::*;

    fn read(object: &Value, old: Option<&Value>) -> Review {
        let body = review(object, old).to_string();
        Request::read(body.as_bytes()).and_then(|request| request.review()).expect("a review").expect("a workload")
    }

    fn undo(old: &Value, new: &Value) -> bool {
        match read(new, Some(old)).operation {
            Operation::Update { undo, .. } => undo,
            Operation::Create => unreachable!("there is an old object"),
        }
    }

    /// The same keys with another image: what a new ReplicaSet is made for.
    fn other_template(mut object: Value) -> Value {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nvcr.io/nim/meta/llama:2");
        object
    }

    /// An object whose fields of `paths` a server-side apply of Helm owns.
    fn owned(mut object: Value, operation: &str, fields: Value) -> Value {
        let entry = json!({"manager": "helm", "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-15T09:30:00Z", "fieldsV1": fields});
        object["metadata"]["managedFields"].as_array_mut().expect("a list").push(entry);
        object
    }

    const ONE: &[(&str, &str)] = &[("keep", "num_requests_waiting < 8")];
    const TWO: &[(&str, &str)] = &[("keep", "num_requests_waiting > 0 < 8")];

    #[test]
    fn a_review_says_what_the_decision_needs() {
        let review = read(&deployment(ONE, 2), Some(&deployment(TWO, 3)));
        assert_eq!(review.workload.id.to_string(), "apps/v1 Deployment nim/llama");
        assert_eq!(review.uid.as_deref(), Some("0b7f3c9e-6f43-4d3c-9d0a-3a4e9c1d2f10"));
        assert!(review.writes_keys() && !review.deleting && !review.by_service_account);
        let mut leaving = deployment(ONE, 2);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-15T09:30:00Z");
        leaving["metadata"]["namespace"] = Value::Null;
        leaving["metadata"].as_object_mut().expect("an object").remove("namespace");
        let review = read(&leaving, Some(&deployment(ONE, 2)));
        assert!(review.deleting && !review.writes_keys());
        assert_eq!(review.workload.id.namespace.as_deref(), Some("nim"), "the request's");
    }

    #[test]
    fn an_undo_brings_back_what_no_manifest_states() {
        // The live manifest stays in last-applied; keys and template are those of the old ReplicaSet.
        let live = applied(deployment(ONE, 2));
        let mut undone = other_template(deployment(TWO, 2));
        undone["metadata"]["annotations"][LAST_APPLIED] = live["metadata"]["annotations"][LAST_APPLIED].clone();
        assert!(undo(&live, &undone));
        let mut before_annotating = other_template(deployment(&[], 2));
        before_annotating["metadata"]["annotations"][LAST_APPLIED] =
            live["metadata"]["annotations"][LAST_APPLIED].clone();
        assert!(undo(&live, &before_annotating));
    }

    #[test]
    fn an_apply_of_keys_and_template_is_no_undo() {
        let live = applied(deployment(ONE, 2));
        assert!(!undo(&live, &applied(other_template(deployment(TWO, 2)))));
        let fields = json!({"f:metadata": {"f:annotations": {"f:nimscale.dev/keep": {}}}});
        let by_helm = |operation| owned(other_template(deployment(TWO, 2)), operation, fields.clone());
        assert!(!undo(&deployment(ONE, 2), &by_helm("Apply")));
        assert!(undo(&deployment(ONE, 2), &by_helm("Update")), "an update states nothing for sure");
    }

    #[test]
    fn an_edit_of_keys_alone_is_no_undo() {
        assert!(!undo(&deployment(ONE, 2), &deployment(TWO, 2)));
        assert!(!undo(&deployment(ONE, 2), &other_template(deployment(ONE, 2))), "a restart changes no key");
    }

    #[test]
    fn replicas_are_stated_by_a_manifest_and_not_by_defaulting() {
        assert!(read(&applied(deployment(ONE, 1)), None).states_replicas);
        assert!(!read(&deployment(ONE, 1), None).states_replicas);
        let fields = json!({"f:spec": {"f:replicas": {}}});
        assert!(read(&owned(deployment(ONE, 1), "Apply", fields.clone()), None).states_replicas);
        assert!(!read(&owned(deployment(ONE, 1), "Update", fields), None).states_replicas);
        let mut absent = applied(deployment(ONE, 1));
        absent["metadata"]["annotations"][LAST_APPLIED] = json!("{\"spec\":{\"replicas\":null}}");
        assert!(!read(&absent, None).states_replicas);
        absent["metadata"]["annotations"][LAST_APPLIED] = json!("not JSON");
        assert!(!read(&absent, None).states_replicas);
    }

    #[test]
    fn a_restart_is_not_told_of_the_manifest_again() {
        let live = applied(deployment(ONE, 3));
        let mut restarted = live.clone();
        restarted["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
        assert!(!read(&restarted, Some(&live)).states_replicas);
        assert!(read(&applied(deployment(ONE, 1)), Some(&live)).states_replicas);
    }
}
