//! Make one workload's HPA and ScalingPlan what they shall be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::events::{Recorder, Reporter};
use nimscale_rules::declare::{Attach, Mode};
use nimscale_rules::measure::MetricKind;
use nimscale_rules::plan::{MetricSource, Plan};
use nimscale_rules::workload::WorkloadId;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::Settings;
use super::adapter::Published;
use super::attach::{Attachment, Question, attach, holds};
use super::metrics::Metrics;
use super::ownership::Standing;
use super::report::{Deed, Facts, events, status};
use super::served::{self, Answer};
use crate::hpa::Hpa;
use crate::index::Entry;
use crate::lease::Leadership;
use crate::remote::Resource;
use crate::scaling_plan::{self, GROUP, ScalingPlan, Status, VERSION};
use crate::writer::{FIELD_MANAGER, Writer};

/// No Event may hold a workload up for longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What every reconciliation needs.
pub struct Context {
    pub client: Client,
    pub metrics: Metrics,
    pub writer: Writer,
    recorder: Recorder,
}

/// One workload, as the index has it now.
pub struct Job {
    pub id: WorkloadId,
    pub entry: Arc<Entry>,
    /// How it stands to other HPAs, when it has a plan.
    pub standing: Option<Standing>,
    /// The HPAs that we wrote for it; more than one after an adoption.
    pub ours: Vec<Arc<Hpa>>,
    /// Its ScalingPlan as stored.
    pub plan: Option<Status>,
    pub memo: Memo,
    pub published: Published,
    pub settings: Settings,
}

/// What is remembered of a workload between passes. Losing it costs a wait, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// Since when its keys have been gone.
    gone: Option<Instant>,
    /// Since when an own expression has been waiting for its first value.
    waiting: Option<Instant>,
    /// How often a value was asked for in vain.
    tries: u32,
    /// How often a pass has failed.
    failures: u32,
    /// The spec that we last wrote: what differs from it is somebody's edit.
    applied: Option<HorizontalPodAutoscalerSpec>,
}

/// What a pass came to.
pub struct Done {
    pub id: WorkloadId,
    pub memo: Memo,
    /// When to look again without a change.
    pub again: Option<Duration>,
}

impl Context {
    pub fn new(client: Client, metrics: Metrics, leadership: Leadership) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
        let writer = Writer::new(metrics.calls.clone(), leadership);
        Self { recorder: Recorder::new(client.clone(), reporter), client, metrics, writer }
    }

    fn hpas(&self, namespace: &str) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn plans(&self, id: &WorkloadId) -> Api<ScalingPlan> {
        Api::namespaced(self.client.clone(), id.namespace.as_deref().unwrap_or_default())
    }
}

/// One pass; a failure is logged and tried again.
pub async fn reconcile(context: Arc<Context>, job: Job) -> Done {
    let id = job.id.clone();
    let mut pass = Pass { context: &context, memo: job.memo.clone(), job: &job, deed: None };
    let passed = pass.run().await;
    context.metrics.passed(passed.is_ok());
    let again = match passed {
        Ok(again) => {
            pass.memo.failures = 0;
            again
        }
        Err(error) => {
            tracing::warn!(workload = %id, error = format!("{error:#}"), "a workload was not reconciled");
            pass.memo.failures += 1;
            Some(backoff(pass.memo.failures, Duration::from_secs(30)))
        }
    };
    Done { id, memo: pass.memo, again }
}

struct Pass<'a> {
    context: &'a Context,
    job: &'a Job,
    memo: Memo,
    deed: Option<Deed>,
}

impl Pass<'_> {
    async fn run(&mut self) -> anyhow::Result<Option<Duration>> {
        let compiled = &self.job.entry.compiled;
        match (&compiled.plan, compiled.attach) {
            (Some(plan), _) => {
                self.memo.gone = None;
                self.planned(plan).await
            }
            (None, Attach::Off) => {
                self.remove_hpas(None).await?;
                self.remove_plan().await?;
                Ok(None)
            }
            (None, Attach::NotDeclared) => self.undeclared().await,
            // An error: what is there stays as it is.
            (None, Attach::Declared | Attach::ByPolicy) => {
                self.memo.gone = None;
                let hpa = self.job.ours.first().cloned();
                self.report(hpa.as_deref(), &BTreeSet::new(), false).await?;
                Ok(None)
            }
        }
    }

    /// The keys are gone: deleted on purpose, or by `kubectl rollout undo`, which brings a whole older object back.
    async fn undeclared(&mut self) -> anyhow::Result<Option<Duration>> {
        let gone = *self.memo.gone.get_or_insert_with(Instant::now);
        let Some(hpa) = self.job.ours.first().cloned() else {
            if self.job.entry.compiled.findings.iter().any(nimscale_rules::findings::Finding::is_error) {
                self.report(None, &BTreeSet::new(), false).await?;
            } else {
                self.remove_plan().await?;
            }
            return Ok(None);
        };
        if let Some(left) = self.job.settings.grace.checked_sub(gone.elapsed()).filter(|left| !left.is_zero()) {
            self.report(Some(&hpa), &BTreeSet::new(), true).await?;
            return Ok(Some(left));
        }
        self.remove_hpas(None).await?;
        self.remove_plan().await?;
        Ok(None)
    }

    async fn planned(&mut self, plan: &Plan) -> anyhow::Result<Option<Duration>> {
        if self.job.entry.policy_is_gone()
            && let Some(hpa) = self.job.ours.first().cloned()
        {
            self.report(Some(&hpa), &BTreeSet::new(), false).await?;
            return Ok(None);
        }
        let (name, live) = match &self.job.standing {
            Some(Standing::Free { name, live }) if plan.mode.value == Mode::Enforce => (name.clone(), live.clone()),
            Some(Standing::Free { .. } | Standing::Blocked { .. }) | None => {
                self.remove_hpas(None).await?;
                self.report(None, &all_of(plan), false).await?;
                return Ok(None);
            }
        };
        let served = self.served(plan, live.as_deref()).await;
        let question = Question { plan, live: live.as_deref(), served: &served, now: Timestamp::now() };
        let Attachment { spec, waiting, own_waits, again } = attach(&question);
        let mut hpa = live.clone();
        if let Some(spec) = spec
            && let Some(applied) = self.apply(&name, live.as_deref(), spec).await?
        {
            hpa = Some(Arc::new(applied));
        }
        self.remove_hpas(Some(&name)).await?;
        self.memo.waiting = own_waits.then(|| self.memo.waiting.unwrap_or_else(Instant::now));
        self.report(hpa.as_deref(), &waiting, false).await?;
        // Only what the adapter has can get a value.
        let asked = waiting.iter().any(|name| self.job.published.rules.contains(name));
        self.memo.tries = if asked { self.memo.tries.saturating_add(1) } else { 0 };
        let most = Duration::from_secs(if hpa.is_some() && !own_waits { 300 } else { 30 });
        let ask_again = asked.then(|| backoff(self.memo.tries, most));
        Ok([again, ask_again].into_iter().flatten().min())
    }

    /// The metrics of the plan that have a value for the workload: asked of those alone that are not attached.
    async fn served(&self, plan: &Plan, live: Option<&Hpa>) -> BTreeSet<String> {
        let attached: BTreeSet<&str> = live.map(|live| live.metric_names().collect()).unwrap_or_default();
        let mut served = BTreeSet::new();
        let namespace = self.job.id.namespace.as_deref().unwrap_or_default();
        for metric in &plan.metrics {
            let name = &metric.measure.name;
            let at_once = live.is_none() && metric.source != MetricSource::Preset;
            if at_once || attached.contains(name.as_str()) || !self.job.published.rules.contains(name) {
                continue;
            }
            let client = &self.context.client;
            let answer = match metric.measure.kind {
                MetricKind::Pods => {
                    let selector = &self.job.entry.workload.pods.selector;
                    served::pods(client, namespace, name, selector).await
                }
                MetricKind::Object(_) => served::of_workload(client, &self.job.id, name).await,
            };
            if answer == Answer::Value {
                served.insert(name.clone());
            }
        }
        served
    }

    /// Writes the HPA unless it says all that already, and is ours.
    async fn apply(
        &mut self,
        name: &str,
        live: Option<&Hpa>,
        spec: HorizontalPodAutoscalerSpec,
    ) -> anyhow::Result<Option<Hpa>> {
        let entry = &self.job.entry;
        if live.is_some_and(|live| live.is_ours(&entry.uid) && holds(&live.spec, &spec)) {
            self.memo.applied = Some(spec);
            return Ok(None);
        }
        let namespace = self.job.id.namespace.as_deref().unwrap_or_default();
        let hpa = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": [self.owner()]},
            "spec": spec,
        });
        let api = self.context.hpas(namespace);
        let written = self.context.writer.apply(Resource::HorizontalPodAutoscalers, &api, &hpa).await?;
        self.deed = Some(match live {
            None => Deed::Created(name.to_owned()),
            Some(_) if self.memo.applied.as_ref() == Some(&spec) => Deed::Reverted(name.to_owned()),
            Some(_) => Deed::Updated(name.to_owned()),
        });
        self.memo.applied = Some(spec);
        Ok(Some(Hpa::of(written)))
    }

    /// Deletes the HPAs that we wrote for the workload, but for one.
    async fn remove_hpas(&mut self, but: Option<&str>) -> anyhow::Result<()> {
        for hpa in self.job.ours.iter().filter(|hpa| Some(hpa.name.as_str()) != but) {
            let api = self.context.hpas(&hpa.namespace);
            // The one that was judged, and as it was judged.
            let preconditions = Preconditions { uid: Some(hpa.uid.clone()), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            let writer = &self.context.writer;
            if writer.delete(Resource::HorizontalPodAutoscalers, &api, &hpa.name, &params).await? {
                self.deed = Some(Deed::Deleted(hpa.name.clone()));
                self.memo.applied = None;
            }
        }
        Ok(())
    }

    async fn remove_plan(&mut self) -> anyhow::Result<()> {
        let Some(before) = &self.job.plan else { return Ok(()) };
        let (api, name) = (self.context.plans(&self.job.id), scaling_plan::name(&self.job.id));
        self.context.writer.delete(Resource::ScalingPlans, &api, &name, &DeleteParams::default()).await?;
        for event in events(Some(before), &Status::default(), self.deed.as_ref()) {
            self.publish(event).await;
        }
        Ok(())
    }

    /// Writes the ScalingPlan when it says something new, with the Events of the transition.
    async fn report(&mut self, hpa: Option<&Hpa>, waiting: &BTreeSet<String>, ending: bool) -> anyhow::Result<()> {
        let overdue = self.memo.waiting.is_some_and(|since| since.elapsed() > self.job.settings.overdue);
        let facts = Facts {
            entry: &self.job.entry,
            standing: self.job.standing.as_ref(),
            hpa,
            waiting,
            overdue,
            ending,
            published: &self.job.published,
            now: Timestamp::now(),
        };
        let before = self.job.plan.as_ref();
        let status = status(&facts, before);
        let news = events(before, &status, self.deed.as_ref());
        if before.is_none_or(|before| !before.says_the_same(&status)) {
            let plan = json!({
                "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "ScalingPlan",
                "metadata": {
                    "name": scaling_plan::name(&self.job.id),
                    "namespace": self.job.id.namespace,
                    "ownerReferences": [self.owner()],
                },
                "status": status,
            });
            self.context.writer.apply(Resource::ScalingPlans, &self.context.plans(&self.job.id), &plan).await?;
        }
        for event in news {
            self.publish(event).await;
        }
        Ok(())
    }

    /// An Event that is lost changes nothing: it is what people read.
    async fn publish(&self, event: kube::runtime::events::Event) {
        let id = &self.job.id;
        let workload = ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some(id.kind.to_string()),
            namespace: id.namespace.clone(),
            name: Some(id.name.clone()),
            uid: Some(self.job.entry.uid.clone()),
            ..ObjectReference::default()
        };
        match timeout(TIMEOUT, self.context.recorder.publish(&event, &workload)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, reason = event.reason, "an Event was not written"),
            Err(_) => tracing::warn!(reason = event.reason, "an Event was not written in time"),
        }
    }

    fn owner(&self) -> serde_json::Value {
        json!({
            "apiVersion": "apps/v1", "kind": self.job.id.kind.as_str(), "name": self.job.id.name,
            "uid": self.job.entry.uid, "controller": true,
        })
    }
}

fn all_of(plan: &Plan) -> BTreeSet<String> {
    plan.metrics.iter().map(|metric| metric.measure.name.clone()).collect()
}

/// 1 s, 2 s, 4 s, up to a most.
fn backoff(tries: u32, most: Duration) -> Duration {
    Duration::from_secs(1 << tries.saturating_sub(1).min(16)).min(most)
}
