//! Say what is in effect for a workload, and what changed: its ScalingPlan and the Events on it.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use nimscale_rules::declare::{Attach, Behavior, Change, Direction, Mode, Paused};
use nimscale_rules::findings::{Code, Finding};
use nimscale_rules::plan::{MetricSource, Plan};

use super::adapter::Published;
use super::ownership::Standing;
use crate::hpa::Hpa;
use crate::index::Entry;
use crate::scaling_plan::{Condition, Effective, Metric, Replicas, Status, WorkloadRef};

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub entry: &'a Entry,
    /// `None` when there is no plan to be judged.
    pub standing: Option<&'a Standing>,
    pub hpa: Option<&'a Hpa>,
    /// Metrics of the plan that are not in the HPA yet.
    pub waiting: &'a BTreeSet<String>,
    /// An own expression has been waiting for its first value for longer than a roll takes.
    pub overdue: bool,
    /// The keys are gone, and the HPA will be after what is left of the grace.
    pub ending: bool,
    pub published: &'a Published,
    pub now: Timestamp,
}

/// One link of the chain: what holds, why, and what to say of it.
struct Link {
    type_: &'static str,
    /// `None` is unknown.
    holds: Option<bool>,
    reason: String,
    message: String,
}

/// The status of a ScalingPlan. Conditions that say what they said before keep their time.
pub fn status(facts: &Facts<'_>, before: Option<&Status>) -> Status {
    let Facts { entry, hpa, now, .. } = *facts;
    let id = &entry.workload.id;
    let mut status = Status {
        observed_generation: entry.generation,
        workload: WorkloadRef { kind: id.kind.to_string(), name: id.name.clone() },
        hpa: hpa.map(|hpa| hpa.name.clone()),
        paused: "false".to_owned(),
        policy: entry.compiled.policy.clone(),
        ..Status::default()
    };
    match (&entry.compiled.plan, before) {
        (Some(plan), _) if hpa.is_none() || !entry.policy_is_gone() => {
            describe(&mut status, plan, facts.waiting, hpa.is_some());
        }
        // A plan that became an error, or lost its policy, leaves its HPA as it is: what is in effect is what was.
        (_, Some(before)) if hpa.is_some() => {
            status.replicas.clone_from(&before.replicas);
            status.summary.clone_from(&before.summary);
            status.compiled.clone_from(&before.compiled);
            status.behavior.clone_from(&before.behavior);
            status.paused.clone_from(&before.paused);
            status.mode.clone_from(&before.mode);
        }
        (_, _) => {}
    }
    let mut links = links(facts);
    let ready = match links.iter().find(|link| link.holds != Some(true) && link.counts()) {
        Some(broken) => {
            Link { type_: "Ready", holds: broken.holds, reason: broken.reason.clone(), message: broken.message.clone() }
        }
        None => Link::holds("Ready", "Scaling", String::new()),
    };
    links.push(ready);
    status.conditions = links.into_iter().map(|link| link.condition(before, now)).collect();
    status
}

fn describe(status: &mut Status, plan: &Plan, waiting: &BTreeSet<String>, attached: bool) {
    let bounds = plan.bounds();
    status.replicas = Some(Replicas { min: bounds.min, max: bounds.max, from: plan.replicas.from.to_string() });
    status.summary = plan.metrics.iter().map(|metric| metric.name.to_string()).collect::<Vec<_>>().join(",");
    status.compiled = plan
        .metrics
        .iter()
        .map(|metric| Metric {
            name: metric.name.to_string(),
            rule: metric.measure.name.clone(),
            target: metric.target.value.to_string(),
            from: metric.target.from.to_string(),
            query: metric.measure.template.to_string(),
            state: if !attached || waiting.contains(&metric.measure.name) { "Waiting" } else { "Attached" }.to_owned(),
        })
        .collect();
    status.behavior = Some(Effective { value: spell(&plan.behavior.value), from: plan.behavior.from.to_string() });
    status.paused = match plan.paused.value {
        Paused::Both => "true".to_owned(),
        Paused::Up => "scale-up".to_owned(),
        Paused::Down => "scale-down".to_owned(),
        Paused::At(replicas) => replicas.to_string(),
        Paused::No => "false".to_owned(),
    };
    let mode = match plan.mode.value {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    };
    status.mode = Some(Effective { value: mode.to_owned(), from: plan.mode.from.to_string() });
}

/// A behavior as its annotation is written.
fn spell(behavior: &Behavior) -> String {
    if let Some(name) = Behavior::NAMES.iter().find(|name| Behavior::named(name).as_ref() == Some(behavior)) {
        return (*name).to_owned();
    }
    let direction = |direction: &Direction| match direction {
        Direction::Off => "off".to_owned(),
        Direction::Steps { steps, after_seconds } => {
            let step = |step: &nimscale_rules::declare::Step| match step.change {
                Change::Pods(pods) => format!("{pods}/{}s", step.every_seconds),
                Change::Percent(percent) => format!("{percent}%/{}s", step.every_seconds),
            };
            format!("{} after {after_seconds}s", steps.iter().map(step).collect::<Vec<_>>().join(","))
        }
    };
    format!("up {}; down {}", direction(&behavior.up), direction(&behavior.down))
}

/// The links in their order from the annotation to the replicas.
fn links(facts: &Facts<'_>) -> Vec<Link> {
    let compiled = compiled(facts);
    let Some(plan) = &facts.entry.compiled.plan else {
        return std::iter::once(compiled).chain(facts.hpa.map(active)).collect();
    };
    let limited = facts.entry.compiled.findings.iter().find(|finding| finding.code == Code::Ns0221);
    let limited = match limited {
        Some(finding) => Link::holds("Limited", "PolicyLimit", said(finding)),
        None => Link::broken("Limited", "WithinLimits", String::new()),
    };
    let paused = match plan.paused.value {
        Paused::No => Link::broken("Paused", "NotPaused", String::new()),
        Paused::Both | Paused::Up | Paused::Down | Paused::At(_) => {
            Link::holds("Paused", "Paused", format!("by {}", plan.paused.from))
        }
    };
    let mut links =
        vec![compiled, rules_published(facts, plan), metrics_available(facts, plan), hpa_ready(facts, plan)];
    links.extend(facts.hpa.map(active));
    links.extend([limited, paused]);
    links
}

fn compiled(facts: &Facts<'_>) -> Link {
    let compiled = &facts.entry.compiled;
    if let Some(error) = compiled.findings.iter().find(|finding| finding.is_error()) {
        return Link::broken("Compiled", "Invalid", said(error));
    }
    match compiled.attach {
        Attach::NotDeclared if facts.ending => {
            let message =
                "the nimscale keys are gone; scaling ends with the grace (kubectl rollout undo removes keys, too)";
            Link::broken("Compiled", "KeysRemoved", coded(Code::Ns0404, message))
        }
        Attach::NotDeclared | Attach::Off => Link::broken("Compiled", "NotDeclared", String::new()),
        Attach::Declared | Attach::ByPolicy => {
            let warnings = compiled
                .findings
                .iter()
                .filter(|finding| finding.code.severity() == nimscale_rules::findings::Severity::Warning);
            Link::holds("Compiled", "Compiled", warnings.map(said).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn rules_published(facts: &Facts<'_>, plan: &Plan) -> Link {
    let Published { rules, left_out, trouble, .. } = facts.published;
    let missing = plan.metrics.iter().map(|metric| &metric.measure.name).find(|name| !rules.contains(*name));
    match (missing, trouble) {
        (None, _) => Link::holds("RulesPublished", "Published", String::new()),
        (Some(name), _) if left_out.contains(name) => {
            let message = format!("rule {name} held back: no adapter has come up with it");
            Link::broken("RulesPublished", "Quarantined", coded(Code::Ns0502, &message))
        }
        (Some(_), Some(trouble)) => Link::broken("RulesPublished", trouble.reason, trouble.message.clone()),
        (Some(name), None) => {
            Link::unknown("RulesPublished", "Pending", format!("{name} enters with the next roll of the adapter"))
        }
    }
}

fn metrics_available(facts: &Facts<'_>, plan: &Plan) -> Link {
    const TYPE: &str = "MetricsAvailable";
    let waits = |metric: &&nimscale_rules::plan::Metric| facts.waiting.contains(&metric.measure.name);
    let names = |own: bool| {
        let waiting = plan.metrics.iter().filter(waits).filter(|metric| (metric.source != MetricSource::Preset) == own);
        waiting.map(|metric| metric.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (own, presets) = (names(true), names(false));
    if facts.hpa.is_none() && plan.mode.value == Mode::Enforce && facts.waiting.len() == plan.metrics.len() {
        let message = format!("no usable metric: {presets} returned no value for this workload");
        return Link::broken(TYPE, "NoUsableMetric", coded(Code::Ns0441, &message));
    }
    if !own.is_empty() {
        let message = format!("{own} has no value for this workload yet; what was attached before stays");
        let message = coded(Code::Ns0513, &message);
        return if facts.overdue {
            Link::broken(TYPE, "NoValue", message)
        } else {
            Link::unknown(TYPE, "Waiting", message)
        };
    }
    let failed = facts
        .hpa
        .and_then(|hpa| hpa.conditions.get("ScalingActive"))
        .filter(|active| !active.is && active.reason.starts_with("FailedGet"));
    // An HPA of an own expression is there before its rule is.
    let unpublished = plan.metrics.iter().any(|metric| !facts.published.rules.contains(&metric.measure.name));
    match failed {
        Some(_) if unpublished => Link::unknown(TYPE, "Waiting", "the adapter does not serve the rules yet".to_owned()),
        Some(active) => Link::broken(TYPE, "NoValue", coded(Code::Ns0513, &active.message)),
        None if presets.is_empty() => Link::holds(TYPE, "Available", String::new()),
        None => Link::holds(TYPE, "Available", format!("{presets} has no value for this workload, and is left out")),
    }
}

fn hpa_ready(facts: &Facts<'_>, plan: &Plan) -> Link {
    const TYPE: &str = "HPAReady";
    match (plan.mode.value, facts.standing, facts.hpa) {
        (_, Some(Standing::Blocked { reason, finding }), _) => Link::broken(TYPE, reason.as_str(), said(finding)),
        (Mode::Observe, _, Some(_)) if facts.entry.policy_is_gone() => {
            let message = "the policy that is named is gone: the HPA stays as it is";
            Link::broken(TYPE, "PolicyMissing", coded(Code::Ns0222, message))
        }
        (Mode::Observe, _, _) => Link::broken(TYPE, "Observed", format!("mode observe by {}", plan.mode.from)),
        (Mode::Enforce, _, Some(_)) => Link::holds(TYPE, "Attached", String::new()),
        (Mode::Enforce, _, None) => Link::unknown(TYPE, "Waiting", "the HPA comes with the first metric".to_owned()),
    }
}

/// The HPA's own word.
fn active(hpa: &Hpa) -> Link {
    const TYPE: &str = "ScalingActive";
    match hpa.conditions.get(TYPE) {
        Some(active) if active.is => Link::holds(TYPE, &active.reason, String::new()),
        Some(active) => Link::broken(TYPE, &active.reason, active.message.clone()),
        None => Link::unknown(TYPE, "Waiting", "the HPA has not looked yet".to_owned()),
    }
}

/// A finding as a condition says it.
pub fn said(finding: &Finding) -> String {
    let message = coded(finding.code, &finding.message);
    match &finding.help {
        Some(help) => format!("{message} (help: {help})"),
        None => message,
    }
}

/// A message with its code in front.
pub fn coded(code: Code, message: &str) -> String {
    format!("{code}: {message}")
}

impl Link {
    fn holds(type_: &'static str, reason: &str, message: String) -> Self {
        Self { type_, holds: Some(true), reason: reason.to_owned(), message }
    }

    fn broken(type_: &'static str, reason: &str, message: String) -> Self {
        Self { type_, holds: Some(false), reason: reason.to_owned(), message }
    }

    fn unknown(type_: &'static str, reason: &str, message: String) -> Self {
        Self { type_, holds: None, reason: reason.to_owned(), message }
    }

    /// Whether the workload is not ready without it.
    fn counts(&self) -> bool {
        !matches!(self.type_, "Limited" | "Paused")
    }

    fn condition(self, before: Option<&Status>, now: Timestamp) -> Condition {
        let status = match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = before.and_then(|before| before.condition(self.type_)).filter(|old| old.status == status);
        let at =
            old.map_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), |old| old.last_transition_time.clone());
        Condition {
            type_: self.type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason,
            message: self.message,
            last_transition_time: at,
        }
    }
}

/// What the HPA went through in this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Created(String),
    Updated(String),
    /// Somebody had changed it.
    Reverted(String),
    Deleted(String),
}

/// The Events between two statuses: on transitions only.
pub fn events(before: Option<&Status>, after: &Status, deed: Option<&Deed>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |warning: bool, reason: &str, note: &str| {
        events.push(Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: (!note.is_empty()).then(|| note.to_owned()),
            action: "Scaling".to_owned(),
            secondary: None,
        });
    };
    match deed {
        Some(Deed::Created(name)) => tell(false, "HPACreated", &format!("HPA {name}: {}", after.summary)),
        Some(Deed::Updated(name)) => tell(false, "HPAUpdated", &format!("HPA {name}: {}", after.summary)),
        Some(Deed::Reverted(name)) => {
            tell(
                false,
                "HPAReverted",
                &format!("HPA {name} was edited; nimscale.dev/paused is the way to hold replicas"),
            );
        }
        Some(Deed::Deleted(name)) => tell(false, "HPADeleted", &format!("HPA {name}; the replicas stay as they are")),
        None => {}
    }
    for condition in &after.conditions {
        let old = before.and_then(|before| before.condition(&condition.type_));
        if old.is_some_and(|old| (&old.status, &old.reason) == (&condition.status, &condition.reason)) {
            continue;
        }
        let note = &condition.message;
        match (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()) {
            ("Compiled", "True", _) => tell(false, "ScalingCompiled", &after.summary),
            ("Compiled", _, "Invalid") => tell(true, "AnnotationInvalid", note),
            ("Compiled", _, "KeysRemoved") => tell(true, "ScalingEnding", note),
            ("RulesPublished", "True", _) => tell(false, "RulesPublished", &after.summary),
            ("RulesPublished", "False", reason) => tell(true, reason, note),
            ("MetricsAvailable", "False", _) => tell(true, "MetricUnavailable", note),
            ("MetricsAvailable", "True", _) if old.is_some_and(|old| old.status == "False") => {
                tell(false, "MetricRecovered", &after.summary);
            }
            ("HPAReady", "False", "PolicyMissing") => tell(true, "PolicyMissing", note),
            ("HPAReady", "False", reason) if reason != "Observed" => tell(true, "HPAConflict", note),
            ("Limited", "True", _) => tell(false, "LimitApplied", note),
            ("Paused", "True", _) if after.paused.parse::<u32>().is_ok() => tell(true, "ReplicasPinned", note),
            ("Paused", "True", _) => tell(false, "ScalingPaused", note),
            (_, _, _) => {}
        }
    }
    events
}
