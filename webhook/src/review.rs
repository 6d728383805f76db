//! Read what an admission request asks: AdmissionReview v1, trimmed to what the decision needs.

use std::collections::BTreeMap;

use nimscale_rules::workload::{Object, Replicas, Workload, WorkloadKind};
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
    #[error("an object of the request is not a workload: {0}")]
    Object(#[source] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "N: Deserialize<'de>, O: Deserialize<'de>"))]
struct AdmissionReview<N, O> {
    api_version: String,
    kind: String,
    request: Option<Asked<N, O>>,
}

/// The request of an AdmissionReview, its new and its old object read as far as is wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "N: Deserialize<'de>, O: Deserialize<'de>"))]
struct Asked<N, O> {
    uid: String,
    kind: GroupVersionKind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    user_info: UserInfo,
    object: Option<N>,
    old_object: Option<O>,
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

/// An object as it is stored, read for what may differ.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    metadata: StoredMetadata,
    spec: StoredSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredMetadata {
    uid: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredSpec {
    replicas: Option<u32>,
}

/// One admission request as it came.
pub(crate) struct Request<'a> {
    asked: Asked<Object, Stored>,
    /// `None` when it is not ours to judge.
    kind: Option<WorkloadKind>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let read = serde_json::from_slice::<AdmissionReview<Object, Stored>>(body);
        let error = match read {
            Ok(review) => {
                let asked = review.asked()?;
                return Ok(Self { kind: asked.workload_kind(), asked, body });
            }
            Err(error) => error,
        };
        // Another kind of object need not look like a workload.
        let asked = serde_json::from_slice::<AdmissionReview<IgnoredAny, IgnoredAny>>(body)?.asked()?;
        match asked.workload_kind() {
            Some(_) => Err(Malformed::Object(error)),
            None => Ok(Self { asked: asked.without_objects(), kind: None, body }),
        }
    }

    /// The request's own, to be sent back.
    pub fn uid(&self) -> &str {
        &self.asked.uid
    }

    pub fn operation(&self) -> &str {
        &self.asked.operation
    }

    pub fn dry_run(&self) -> bool {
        self.asked.dry_run.unwrap_or(false)
    }

    /// What is asked, when it is ours to judge: a workload that is created or updated.
    pub fn review(self) -> Result<Option<Review>, Malformed> {
        let Self { asked, kind, body } = self;
        let Some(kind) = kind else {
            return Ok(None);
        };
        let mut object = asked.object.ok_or(Malformed::Absent("object"))?;
        if object.metadata.namespace.is_empty() {
            object.metadata.namespace = asked.namespace;
        }
        let workload = object.workload(kind);
        let applied = object.metadata.annotations.get(LAST_APPLIED);
        let (operation, states_replicas, uid) = if asked.operation == "CREATE" {
            let mut manifest = Manifest::applied(applied);
            if !manifest.replicas {
                manifest.add_owned(&evidence(body)?.0);
            }
            (Operation::Create, manifest.replicas, None)
        } else {
            let Stored { metadata, spec } = asked.old_object.ok_or(Malformed::Absent("oldObject"))?;
            let replicas = spec.replicas.zip(workload.replicas.as_ref());
            let replicas = replicas.map(|(count, new)| Replicas { count, place: new.place.clone() });
            let old = Workload { replicas, ..Workload::stored(workload.id.clone(), &metadata.annotations) };
            let changed = changed(&old, &workload);
            // Where nothing of this changes, nobody applies a manifest that has to do with us.
            let (mut undo, mut states_replicas) = (false, false);
            if !changed.is_empty()
                || old.replicas != workload.replicas
                || metadata.annotations.get(LAST_APPLIED) != applied
            {
                let mut manifest = Manifest::applied(applied);
                if !changed.is_empty() || !manifest.replicas {
                    let (new, stored) = evidence(body)?;
                    manifest.add_owned(&new);
                    undo = !changed.is_empty()
                        && new.template() != stored.template()
                        && !changed.iter().any(|(key, value)| manifest.states(key, *value));
                }
                states_replicas = manifest.replicas;
            }
            (Operation::Update { old: Box::new(old), undo }, states_replicas, Some(metadata.uid))
        };
        let deleting = object.metadata.deletion_timestamp.is_some();
        let by_service_account = asked.user_info.username.starts_with("system:serviceaccount:");
        Ok(Some(Review { operation, workload, deleting, uid, states_replicas, by_service_account }))
    }
}

impl<N, O> AdmissionReview<N, O> {
    fn asked(self) -> Result<Asked<N, O>, Malformed> {
        if self.api_version != "admission.k8s.io/v1" || self.kind != "AdmissionReview" {
            return Err(Malformed::Kind);
        }
        let asked = self.request.ok_or(Malformed::Kind)?;
        if asked.uid.is_empty() { Err(Malformed::Absent("uid")) } else { Ok(asked) }
    }
}

impl<N, O> Asked<N, O> {
    fn workload_kind(&self) -> Option<WorkloadKind> {
        let GroupVersionKind { group, version, kind } = &self.kind;
        let judged = self.sub_resource.is_empty() && matches!(self.operation.as_str(), "CREATE" | "UPDATE");
        WorkloadKind::of(&format!("{group}/{version}"), kind).filter(|_| judged)
    }

    fn without_objects<A, B>(self) -> Asked<A, B> {
        let Self { uid, kind, sub_resource, namespace, operation, dry_run, user_info, object: _, old_object: _ } = self;
        let (object, old_object) = (None, None);
        Asked { uid, kind, sub_resource, namespace, operation, dry_run, user_info, object, old_object }
    }
}

/// What shows in the new and the old object where they come from.
///
/// Read from the body once more, and only when it is needed: it is half of a stored object.
fn evidence(body: &[u8]) -> Result<(Evidence<'_>, Evidence<'_>), Malformed> {
    let review: Shown<'_> = serde_json::from_slice(body)?;
    Ok((review.request.object.unwrap_or_default(), review.request.old_object.unwrap_or_default()))
}

#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    request: ShownRequest<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownRequest<'a> {
    #[serde(borrow)]
    object: Option<Evidence<'a>>,
    #[serde(borrow)]
    old_object: Option<Evidence<'a>>,
}

/// Our keys that differ, with their new values.
fn changed<'w>(old: &'w Workload, new: &'w Workload) -> Vec<(&'w str, Option<&'w str>)> {
    let (old, new) = (keys(old), keys(new));
    let vanished = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (*key, None));
    let set = new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(key, value)| (*key, Some(*value)));
    vanished.chain(set).collect()
}

/// What shows in an object where it comes from.
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
    /// The annotations, as `f:KEY`, that are as `kubectl apply` left them; `None` where nothing shows that.
    untouched: Option<BTreeMap<String, IgnoredAny>>,
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
    fn applied(last: Option<&String>) -> Self {
        let applied: Applied = last.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Self {
            replicas: applied.spec.replicas.is_some(),
            annotations: applied.metadata.annotations.unwrap_or_default(),
            untouched: None,
            owned: BTreeMap::new(),
        }
    }

    /// Adds what a server-side apply states. An update owns what defaulting filled in, too: of it only the annotations
    /// that are as `kubectl apply` left them say something.
    fn add_owned(&mut self, evidence: &Evidence<'_>) {
        for Entry { operation, fields_v1 } in &evidence.metadata.managed_fields {
            let fields: Fields =
                fields_v1.and_then(|fields| serde_json::from_str(fields.get()).ok()).unwrap_or_default();
            let annotations = fields.metadata.annotations;
            if operation == "Apply" {
                self.replicas |= fields.spec.replicas.is_some();
                self.owned.extend(annotations);
            } else if annotations.contains_key(&format!("f:{LAST_APPLIED}")) {
                self.untouched.get_or_insert_default().extend(annotations);
            }
        }
    }

    /// A key that vanished is stated nowhere. One that an undo brought back is the undo's own, even if the manifest that
    /// was applied last, and undone since, says the same.
    fn states(&self, key: &str, value: Option<&str>) -> bool {
        let field = format!("f:{key}");
        value.is_some_and(|value| {
            let applied = self.annotations.get(key).is_some_and(|applied| applied == value);
            applied && self.untouched.as_ref().is_none_or(|untouched| untouched.contains_key(&field))
                || self.owned.contains_key(&field)
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
    fn another_kind_need_not_look_like_a_workload() {
        let mut pod = review(&json!({"spec": "none of ours"}), None);
        let read = |review: &Value| Request::read(review.to_string().as_bytes()).and_then(Request::review);
        assert!(matches!(read(&pod), Err(Malformed::Object(_))));
        pod["request"]["kind"]["kind"] = json!("Pod");
        assert!(matches!(read(&pod), Ok(None)));
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
    fn an_undo_of_an_undo_brings_back_what_was_applied_last() {
        // The live manifest is the one that was undone, and the keys are its own again.
        let again = applied(other_template(deployment(TWO, 2)));
        let left_by_apply = |keys: &[&str]| {
            let keys: Value = keys.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
            owned(again.clone(), "Update", json!({"f:metadata": {"f:annotations": keys}}))
        };
        assert!(undo(&deployment(ONE, 2), &left_by_apply(&[LAST_APPLIED])));
        assert!(!undo(&deployment(ONE, 2), &left_by_apply(&[LAST_APPLIED, "nimscale.dev/keep"])));
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
