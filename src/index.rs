//! Keep what is known of every workload, and say which ones to look at again. Synchronous, and without a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nimscale_rules::compile::Compiled;
use nimscale_rules::emit::adapter::{Rule, rule};
use nimscale_rules::findings::{Code, Finding};
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::{Book, Policies, Spec};
use nimscale_rules::presets;
use nimscale_rules::workload::{Object, Workload, WorkloadId, WorkloadKind};
use nimscale_webhook::Memo;

use crate::hpa::Hpa;
use crate::nim_service::NimService;
use crate::scaling_plan::Status;
use crate::watch::{Labels, Seen};

/// A namespace and a name in it.
pub type Named = (String, String);

/// What is known of one workload.
#[derive(Clone, Debug)]
pub struct Entry {
    pub uid: String,
    pub generation: i64,
    /// Somebody is taking it away.
    pub deleting: bool,
    /// As it came.
    pub workload: Workload,
    /// Of the annotations that count: an operator's workload has its owner's.
    pub compiled: Compiled,
}

impl Entry {
    /// The policy that it names is gone, which takes nothing away: it stays as it was until the policy is back.
    pub fn policy_is_gone(&self) -> bool {
        self.compiled.findings.iter().any(|finding| finding.code == Code::Ns0222)
    }
}

/// A ScalingPlan as the API has it: only compared with what would be written, never a source of what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPlan {
    pub namespace: String,
    pub name: String,
    pub status: Status,
}

/// A policy as the API has it; one that is no policy at all says why.
#[derive(Clone, Debug)]
pub struct StoredPolicy {
    pub name: String,
    pub generation: i64,
    pub spec: Result<Spec, String>,
}

/// What was found of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub generation: i64,
    pub findings: Vec<Finding>,
}

/// Everything that watches have told.
pub struct Index {
    platform: Platform,
    pub workloads: BTreeMap<WorkloadId, Arc<Entry>>,
    pub hpas: BTreeMap<Named, Arc<Hpa>>,
    pub plans: BTreeMap<Named, Status>,
    pub services: BTreeMap<Named, NimService>,
    book: Book,
    namespaces: BTreeMap<String, Labels>,
    policies: Policies,
    /// Most workloads ask for the same presets.
    memo: Memo,
    /// Rises with every change of what the adapter shall have.
    revision: u64,
    told: BTreeMap<String, Told>,
    presets: BTreeMap<String, Rule>,
    dirty: BTreeSet<WorkloadId>,
    blocked: BTreeSet<WorkloadId>,
}

impl Index {
    pub fn new(platform: Platform) -> Self {
        let presets = presets::measures(&platform).into_iter();
        Self {
            presets: presets.map(|measure| (measure.name.clone(), rule(&measure, &platform))).collect(),
            revision: 0,
            told: BTreeMap::new(),
            platform,
            workloads: BTreeMap::new(),
            hpas: BTreeMap::new(),
            plans: BTreeMap::new(),
            services: BTreeMap::new(),
            book: Book::default(),
            namespaces: BTreeMap::new(),
            policies: Policies::built_in().clamping(),
            memo: Memo::default(),
            dirty: BTreeSet::new(),
            blocked: BTreeSet::new(),
        }
    }

    /// The next workload to look at that is not being looked at.
    pub fn take_dirty(&mut self, running: &BTreeSet<WorkloadId>) -> Option<WorkloadId> {
        let id = self.dirty.iter().find(|id| !running.contains(*id))?.clone();
        self.dirty.take(&id)
    }

    pub fn touch(&mut self, id: WorkloadId) {
        self.dirty.insert(id);
    }

    /// Everything is to be looked at: the lease was won, or what the adapter serves has changed.
    pub fn touch_all(&mut self) {
        self.dirty.extend(self.workloads.keys().cloned());
    }

    pub fn see_workloads(&mut self, kind: WorkloadKind, seen: Seen<Object>) {
        match seen {
            Seen::All(all) => {
                let known = |id: &&WorkloadId| id.kind == kind;
                let mut gone: BTreeSet<WorkloadId> = self.workloads.keys().filter(known).cloned().collect();
                for object in all {
                    gone.remove(&self.apply(kind, &object));
                }
                gone.iter().for_each(|id| self.forget(id));
            }
            Seen::Applied(object) => {
                self.apply(kind, &object);
            }
            Seen::Gone(object) => self.forget(&object.workload(kind).id),
        }
    }

    pub fn see_hpas(&mut self, seen: Seen<Hpa>) {
        let key = |hpa: &Hpa| (hpa.namespace.clone(), hpa.name.clone());
        match seen {
            Seen::All(all) => {
                let all: BTreeMap<Named, Arc<Hpa>> = all.into_iter().map(|hpa| (key(&hpa), Arc::new(hpa))).collect();
                self.hpas = all;
                self.revision += 1;
                self.touch_all();
            }
            Seen::Applied(hpa) => {
                let old = self.hpas.insert(key(&hpa), Arc::new(hpa.clone()));
                if old.as_ref().is_none_or(|old| !old.says_the_same(&hpa)) {
                    self.touch_namespace_of(&hpa, old.as_deref());
                }
            }
            Seen::Gone(hpa) => {
                self.hpas.remove(&key(&hpa));
                // Whoever waited for its name, or for its pods, waits no more.
                self.touch_namespace_of(&hpa, None);
            }
        }
    }

    pub fn see_plans(&mut self, seen: Seen<StoredPlan>) {
        let key = |plan: &StoredPlan| (plan.namespace.clone(), plan.name.clone());
        match seen {
            Seen::All(all) => {
                self.plans = all.into_iter().map(|plan| (key(&plan), plan.status)).collect();
                self.touch_all();
            }
            Seen::Applied(plan) => {
                let key = key(&plan);
                let id = plan.status.id(&plan.namespace);
                if self.plans.insert(key, plan.status.clone()).as_ref() != Some(&plan.status) {
                    self.dirty.extend(id);
                }
            }
            Seen::Gone(plan) => {
                self.plans.remove(&key(&plan));
                self.dirty.extend(plan.status.id(&plan.namespace));
            }
        }
    }

    pub fn see_services(&mut self, seen: Seen<(Named, NimService)>) {
        if !seen.enter(&mut self.services) {
            return;
        }
        let owned = self.workloads.iter().filter(|(_, entry)| entry.workload.owner.is_some());
        let owned: Vec<WorkloadId> = owned.map(|(id, _)| id.clone()).collect();
        for id in owned {
            self.compile_again(&id);
            // What a NIMService says of its replicas is no part of the plan.
            self.touch(id);
        }
    }

    pub fn see_policies(&mut self, seen: Seen<StoredPolicy>) {
        match &seen {
            Seen::All(_) => self.told.clear(),
            Seen::Gone(policy) => drop(self.told.remove(&policy.name)),
            Seen::Applied(_) => {}
        }
        let told = &mut self.told;
        enter_policies(&mut self.book, seen, |name, of| {
            told.insert(name.to_owned(), of);
        });
        self.resolve_again();
    }

    pub fn see_namespaces(&mut self, seen: Seen<(String, Labels)>) {
        if seen.enter(&mut self.namespaces) && !self.book.is_empty() {
            self.resolve_again();
        }
    }

    /// The HPAs of a namespace, anybody's.
    pub fn hpas_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Hpa>> {
        let first = (namespace.to_owned(), String::new());
        self.hpas.range(first..).map(|(_, hpa)| hpa).take_while(move |hpa| hpa.namespace == namespace)
    }

    /// What was found of each policy that is there, and how many workloads it matches and is overridden on.
    pub fn policies(&self) -> BTreeMap<String, (Told, i64, i64)> {
        let mut policies: BTreeMap<String, (Told, i64, i64)> =
            self.told.iter().map(|(name, told)| (name.clone(), (told.clone(), 0, 0))).collect();
        for entry in self.workloads.values().filter(|entry| entry.compiled.plan.is_some()) {
            for name in self.policies.matching(&entry.workload) {
                if let Some((_, matched, overridden)) = policies.get_mut(name) {
                    *matched += 1;
                    *overridden += i64::from(entry.compiled.policy.as_deref() != Some(name));
                }
            }
        }
        policies
    }

    /// The policies in force.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The rules that the adapter shall have: those of every preset, so that a preset never makes it roll, and those of
    /// every plan; sorted, each once.
    pub fn rules(&self) -> BTreeMap<String, Rule> {
        let planned = self.workloads.values().filter_map(|entry| entry.compiled.plan.as_ref());
        let planned = planned.flat_map(|plan| plan.metrics.iter().map(|metric| &metric.measure));
        let mut rules = self.presets.clone();
        for measure in planned {
            if !rules.contains_key(&measure.name) {
                rules.insert(measure.name.clone(), rule(measure, &self.platform));
            }
        }
        rules
    }

    /// What [`Self::rules`] and [`Self::in_use`] say is the same as long as this is.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The metrics that live HPAs of ours read: their rules stay, whatever the plans say by now.
    pub fn in_use(&self) -> BTreeSet<String> {
        let ours = self.hpas.values().filter(|hpa| hpa.written_by_us);
        ours.flat_map(|hpa| hpa.metric_names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    fn apply(&mut self, kind: WorkloadKind, object: &Object) -> WorkloadId {
        let workload = object.workload(kind);
        let id = workload.id.clone();
        let deleting = object.metadata.deletion_timestamp.is_some();
        // A Deployment's status changes all the time, and none of it is ours to read.
        let same = self.workloads.get(&id).is_some_and(|known| {
            known.uid == object.metadata.uid && known.deleting == deleting && known.workload == workload
        });
        if !same {
            let compiled = self.compile(&workload);
            let (uid, generation) = (object.metadata.uid.clone(), object.metadata.generation);
            self.insert(Entry { uid, generation, deleting, workload, compiled });
        }
        id
    }

    fn compile(&self, workload: &Workload) -> Compiled {
        let of_owner = self.service_of(workload).map(|service| {
            let Workload { annotations, annotation_bytes, .. } =
                Workload::stored(workload.id.clone(), &service.annotations);
            Workload { annotations, annotation_bytes, ..workload.clone() }
        });
        self.memo.compile(of_owner.as_ref().unwrap_or(workload), &self.policies, &self.platform)
    }

    /// The NIMService that controls a workload: the annotations of its own Deployment are overwritten at each sync.
    pub fn service_of(&self, workload: &Workload) -> Option<&NimService> {
        let owner = workload.owner.as_ref().filter(|owner| owner.is_nim_service())?;
        self.services.get(&(workload.id.namespace.clone().unwrap_or_default(), owner.name.clone()))
    }

    fn insert(&mut self, entry: Entry) {
        let (id, planned) = (entry.workload.id.clone(), entry.compiled.plan.is_some());
        let old = self.workloads.insert(id.clone(), Arc::new(entry));
        self.revision += u64::from(planned || old.is_some_and(|old| old.compiled.plan.is_some()));
        self.touch_blocked(id.namespace.as_deref());
        self.dirty.insert(id);
    }

    fn forget(&mut self, id: &WorkloadId) {
        let old = self.workloads.remove(id);
        self.revision += u64::from(old.is_some_and(|old| old.compiled.plan.is_some()));
        self.dirty.insert(id.clone());
        self.blocked.remove(id);
        self.touch_blocked(id.namespace.as_deref());
    }

    fn compile_again(&mut self, id: &WorkloadId) {
        let Some(known) = self.workloads.get(id).cloned() else { return };
        let compiled = self.compile(&known.workload);
        if compiled != known.compiled {
            self.insert(Entry { compiled, ..Entry::clone(&known) });
        }
    }

    fn resolve_again(&mut self) {
        self.policies = self.book.policies(&self.namespaces).clamping();
        let ids: Vec<WorkloadId> = self.workloads.keys().cloned().collect();
        ids.iter().for_each(|id| self.compile_again(id));
    }

    /// Says whether something stands between a workload and its HPA: only these wait for what others do.
    pub fn set_blocked(&mut self, id: &WorkloadId, blocked: bool) {
        if blocked {
            self.blocked.insert(id.clone());
        } else {
            self.blocked.remove(id);
        }
    }

    fn touch_blocked(&mut self, namespace: Option<&str>) {
        let waiting = self.blocked.iter().filter(|id| id.namespace.as_deref() == namespace);
        self.dirty.extend(waiting.cloned());
    }

    fn touch_namespace_of(&mut self, hpa: &Hpa, old: Option<&Hpa>) {
        self.revision += u64::from(hpa.written_by_us);
        self.dirty.extend(hpa.target.clone());
        self.dirty.extend(old.and_then(|old| old.target.clone()));
        if old.is_none_or(|old| old.target != hpa.target || old.owner != hpa.owner) {
            self.touch_blocked(Some(&hpa.namespace));
        }
    }
}

impl StoredPlan {
    pub fn of(plan: crate::scaling_plan::ScalingPlan) -> Self {
        let (namespace, name) = (plan.metadata.namespace, plan.metadata.name);
        Self { namespace: namespace.unwrap_or_default(), name: name.unwrap_or_default(), status: plan.status }
    }
}

/// Enters what a watch of the policies has told; a policy with a mistake leaves its last good one in force.
///
/// What is found of each is told to `told`.
pub fn enter_policies(book: &mut Book, seen: Seen<StoredPolicy>, mut told: impl FnMut(&str, Told)) {
    let mut enter = |book: &mut Book, policy: StoredPolicy| {
        let findings = match policy.spec {
            Ok(spec) => book.apply(&policy.name, spec),
            Err(why) => book.refuse(&policy.name, &why),
        };
        for finding in &findings {
            tracing::warn!(policy = policy.name, finding = finding.message, "a policy has a finding");
        }
        told(&policy.name, Told { generation: policy.generation, findings });
    };
    match seen {
        Seen::All(all) => {
            let names: BTreeSet<&str> = all.iter().map(|policy| policy.name.as_str()).collect();
            let gone: Vec<String> = book.names().filter(|name| !names.contains(name)).map(str::to_owned).collect();
            gone.iter().for_each(|name| book.remove(name));
            all.into_iter().for_each(|policy| enter(book, policy));
        }
        Seen::Applied(policy) => enter(book, policy),
        Seen::Gone(policy) => book.remove(&policy.name),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    use serde_json::json;

    use super::*;

    fn object(name: &str, uid: &str, scale: &str) -> Object {
        let object = json!({
            "metadata": {"name": name, "namespace": "nim", "uid": uid, "annotations": {"nimscale.dev/scale": scale}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
        });
        serde_json::from_value(object).expect("a workload")
    }

    fn hpa(name: &str, workload: &str) -> Hpa {
        let hpa = json!({
            "metadata": {"name": name, "namespace": "nim"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload}},
        });
        Hpa::of(serde_json::from_value::<HorizontalPodAutoscaler>(hpa).expect("an HPA"))
    }

    fn id(name: &str) -> WorkloadId {
        WorkloadId { namespace: Some("nim".into()), name: name.into(), kind: WorkloadKind::Deployment }
    }

    /// What there is to look at, which is none afterwards.
    fn dirty(index: &mut Index) -> Vec<String> {
        std::iter::from_fn(|| index.take_dirty(&BTreeSet::new())).map(|id| id.name).collect()
    }

    fn index(workloads: &[(&str, &str)]) -> Index {
        let mut index = Index::new(Platform::default());
        let all = workloads.iter().map(|(name, scale)| object(name, name, scale)).collect();
        index.see_workloads(WorkloadKind::Deployment, Seen::All(all));
        dirty(&mut index);
        index
    }

    #[test]
    fn what_changes_nothing_is_not_looked_at() {
        let mut index = index(&[("a", "1..4")]);
        let revision = index.revision();
        index.see_workloads(WorkloadKind::Deployment, Seen::Applied(object("a", "a", "1..4")));
        assert_eq!((dirty(&mut index), index.revision()), (vec![], revision));
        index.see_workloads(WorkloadKind::Deployment, Seen::Applied(object("a", "a", "1..5")));
        assert_eq!(dirty(&mut index), ["a"]);
        index.see_workloads(WorkloadKind::Deployment, Seen::Applied(object("a", "again", "1..5")));
        assert_eq!(dirty(&mut index), ["a"], "it was made anew under its name");
        assert!(index.revision() > revision);
    }

    #[test]
    fn what_a_list_leaves_out_is_gone() {
        let mut index = index(&[("a", "1..4"), ("b", "1..4")]);
        index.see_workloads(WorkloadKind::Deployment, Seen::All(vec![object("b", "b", "1..4")]));
        assert_eq!(dirty(&mut index), ["a"]);
        assert!(!index.workloads.contains_key(&id("a")) && index.workloads.contains_key(&id("b")));
    }

    #[test]
    fn who_is_blocked_is_looked_at_when_an_hpa_comes_or_goes() {
        let mut index = index(&[("a", "1..4"), ("b", "1..4"), ("c", "1..4")]);
        index.set_blocked(&id("b"), true);
        index.see_hpas(Seen::Applied(hpa("x", "a")));
        assert_eq!(dirty(&mut index), ["a", "b"]);
        index.see_hpas(Seen::Applied(hpa("x", "a")));
        assert_eq!(dirty(&mut index), [""; 0], "it says what it said");
        index.see_hpas(Seen::Gone(hpa("x", "a")));
        assert_eq!(dirty(&mut index), ["a", "b"], "its name and its pods are free");
        index.set_blocked(&id("b"), false);
        index.see_hpas(Seen::Applied(hpa("x", "a")));
        assert_eq!(dirty(&mut index), ["a"]);
    }

    #[test]
    fn one_at_a_time_for_each() {
        let mut index = index(&[("a", "1..4"), ("b", "1..4")]);
        index.touch_all();
        assert_eq!(index.take_dirty(&BTreeSet::from([id("a")])), Some(id("b")));
        assert_eq!(index.take_dirty(&BTreeSet::from([id("a")])), None);
        assert_eq!(index.take_dirty(&BTreeSet::new()), Some(id("a")));
    }
}
