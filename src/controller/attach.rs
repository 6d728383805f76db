//! Decide the HPA of a workload: which metrics are in it now, and within which bounds. Make before break.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerSpec, MetricSpec};
use k8s_openapi::jiff::Timestamp;
use nimscale_rules::declare::{Change, Direction, Range};
use nimscale_rules::emit::hpa;
use nimscale_rules::place::Origin;
use nimscale_rules::plan::{Metric, MetricSource, Plan};

use crate::hpa::{Hpa, name};

/// What the decision goes by.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub plan: &'a Plan,
    /// The live HPA of ours, or the one that is adopted: it is the memory of what works.
    pub live: Option<&'a Hpa>,
    /// The metrics of the plan that have returned a value for the workload.
    pub served: &'a BTreeSet<String>,
    pub now: Timestamp,
}

/// What shall be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// `None` as long as there is nothing to scale on.
    pub spec: Option<HorizontalPodAutoscalerSpec>,
    /// Metrics of the plan that are not in the HPA yet.
    pub waiting: BTreeSet<String>,
    /// An own expression is among them.
    pub own_waits: bool,
    /// A ceiling that is walked down moves again after this time.
    pub again: Option<Duration>,
}

/// Decides.
///
/// A metric that is in the HPA stays as long as the plan has it. A new one enters once it has returned a value for the
/// workload; an own expression of a workload without an HPA enters at once, because nothing can break. A metric that the
/// plan dropped stays while an own expression that came for it has no value yet.
pub fn attach(question: &Question<'_>) -> Attachment {
    let Question { plan, live, served, .. } = *question;
    let in_it: BTreeSet<&str> = live.map(|live| live.metric_names().collect()).unwrap_or_default();
    let enters = |metric: &Metric| {
        let name = metric.measure.name.as_str();
        in_it.contains(name) || served.contains(name) || (live.is_none() && metric.source != MetricSource::Preset)
    };
    let (ready, waiting): (Vec<&Metric>, Vec<&Metric>) = plan.metrics.iter().partition(|metric| enters(metric));
    let own_waits = waiting.iter().any(|metric| metric.source != MetricSource::Preset);
    let mut metrics: Vec<MetricSpec> = ready.iter().map(|metric| hpa::metric(plan, metric)).collect();
    if own_waits || ready.is_empty() {
        let planned: BTreeSet<&str> = plan.metrics.iter().map(|metric| metric.measure.name.as_str()).collect();
        let dropped = live.map(Hpa::metrics).unwrap_or_default().iter();
        metrics.extend(dropped.filter(|metric| name(metric).is_none_or(|name| !planned.contains(name))).cloned());
        metrics.sort_by(|a, b| name(a).cmp(&name(b)));
    }
    let waiting = waiting.iter().map(|metric| metric.measure.name.clone()).collect();
    if metrics.is_empty() {
        return Attachment { spec: None, waiting, own_waits, again: None };
    }
    let (bounds, again) = bounds(question);
    Attachment { spec: Some(hpa::spec(plan, bounds, metrics)), waiting, own_waits, again }
}

/// The bounds of the plan; a ceiling that a policy lowered under the live replicas is reached step by step, as fast as
/// the workload's own behavior scales down: cutting it would end pods that serve.
fn bounds(question: &Question<'_>) -> (Range, Option<Duration>) {
    let bounds = question.plan.bounds();
    let Some(live) = question.live else { return (bounds, None) };
    let by_policy = matches!(question.plan.replicas.from, Origin::Policy(_));
    let ceiling = u32::try_from(live.spec.max_replicas).unwrap_or(bounds.max);
    if !by_policy || live.replicas <= bounds.max || ceiling <= bounds.max {
        return (bounds, None);
    }
    let (step, every) = step_down(&question.plan.behavior.value.down, live.replicas);
    let since = live.last_scale.map(|last| Duration::try_from(question.now.duration_since(last)).unwrap_or_default());
    let (max, again) = match since {
        Some(since) if since < every => (live.replicas, every - since),
        Some(_) | None => (live.replicas.saturating_sub(step).max(bounds.max), every),
    };
    // Never back up: in the pass that scales, the HPA's status still has the replicas from before it.
    let max = max.min(ceiling);
    (Range { min: bounds.min.min(max), max }, Some(again))
}

/// The largest step down, and the time that it takes; a workload that never scales down by itself goes pod by pod.
fn step_down(down: &Direction, replicas: u32) -> (u32, Duration) {
    const SLOWEST: (u32, u64) = (1, 300);
    let steps = match down {
        Direction::Steps { steps, .. } => steps.as_slice(),
        Direction::Off => &[],
    };
    let size = |change: &Change| match change {
        Change::Pods(pods) => *pods,
        // The HPA rounds a percentage of what is left upwards, which removes less.
        Change::Percent(percent) => {
            replicas - (u64::from(replicas) * u64::from(100 - (*percent).min(100))).div_ceil(100) as u32
        }
    };
    let largest = steps.iter().map(|step| (size(&step.change).max(1), u64::from(step.every_seconds))).max();
    let (step, seconds) = largest.unwrap_or(SLOWEST);
    (step, Duration::from_secs(seconds))
}

/// True when `live` says everything that `wanted` says: the API server fills in what was left open, but in no metric of
/// ours, where a selector that somebody adds is another metric.
pub fn holds(live: &HorizontalPodAutoscalerSpec, wanted: &HorizontalPodAutoscalerSpec) -> bool {
    let apart = |spec: &HorizontalPodAutoscalerSpec| {
        let mut spec = spec.clone();
        let mut metrics = spec.metrics.take().unwrap_or_default();
        metrics.sort_by(|a, b| name(a).cmp(&name(b)));
        (serde_json::to_value(spec), metrics)
    };
    match (apart(live), apart(wanted)) {
        ((Ok(live), live_metrics), (Ok(wanted), metrics)) => live_metrics == metrics && covers(&live, &wanted),
        (_, _) => false,
    }
}

fn covers(live: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).map_or(wanted.is_null(), |live| covers(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nimscale_rules::compile::compile;
    use nimscale_rules::platform::Platform;
    use nimscale_rules::policy::Policies;
    use nimscale_rules::workload::{Workload, WorkloadId, WorkloadKind};

    use super::*;

    fn plan(annotations: &[(&str, &str)]) -> Plan {
        let id = WorkloadId { namespace: Some("nim".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| (format!("nimscale.dev/{key}"), (*value).to_owned())).collect();
        let workload = Workload::stored(id, &annotations);
        compile(&workload, &Policies::built_in(), &Platform::default()).plan.expect("a plan")
    }

    fn live(spec: HorizontalPodAutoscalerSpec, replicas: u32) -> Hpa {
        Hpa {
            namespace: "nim".into(),
            name: "llama-nimscale".into(),
            uid: "2".into(),
            resource_version: "7".into(),
            target: None,
            owner: Some("1".into()),
            written_by_us: true,
            adoptable: false,
            spec,
            replicas,
            last_scale: None,
            conditions: BTreeMap::new(),
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    fn asked(plan: &Plan, live: Option<&Hpa>, served: &[&str]) -> Attachment {
        let served = plan.metrics.iter().filter(|metric| served.contains(&metric.name.as_str()));
        let served = served.map(|metric| metric.measure.name.clone()).collect();
        attach(&Question { plan, live, served: &served, now: now() })
    }

    /// The names that their author gave to the metrics of an attachment; `?` is one of another plan.
    fn names(attachment: &Attachment, plan: &Plan) -> Vec<String> {
        let of = |metric: &MetricSpec| {
            let planned = plan.metrics.iter().find(|planned| Some(planned.measure.name.as_str()) == name(metric));
            planned.map_or("?".to_owned(), |planned| planned.name.to_string())
        };
        let mut names: Vec<String> =
            attachment.spec.iter().flat_map(|spec| spec.metrics.iter().flatten()).map(of).collect();
        names.sort();
        names
    }

    #[test]
    fn an_own_expression_attaches_at_once_and_a_preset_with_its_first_value() {
        let own = plan(&[("keep", "a: x < 1")]);
        assert_eq!(names(&asked(&own, None, &[]), &own), ["a"]);
        let presets = plan(&[("scale", "1..8 kv-cache queue-depth")]);
        assert_eq!(asked(&presets, None, &[]).spec, None);
        assert_eq!(names(&asked(&presets, None, &["queue-depth"]), &presets), ["queue-depth"]);
        let both = plan(&[("scale", "1..8 kv-cache"), ("keep", "a: x < 1")]);
        let attachment = asked(&both, None, &[]);
        assert_eq!((names(&attachment, &both), attachment.waiting.len()), (vec!["a".to_owned()], 1));
    }

    #[test]
    fn what_works_stays_until_what_comes_for_it_has_a_value() {
        let old = plan(&[("keep", "a: x < 1")]);
        let hpa = live(asked(&old, None, &[]).spec.expect("attached"), 1);
        let new = plan(&[("keep", "b: y < 1")]);
        assert_eq!(names(&asked(&new, Some(&hpa), &[]), &new), ["?"]);
        assert_eq!(names(&asked(&new, Some(&hpa), &["b"]), &new), ["b"]);
        let more = plan(&[("keep", "a: x < 1\nb: y < 1")]);
        assert_eq!(names(&asked(&more, Some(&hpa), &[]), &more), ["a"], "one that is served is not given up");
        assert_eq!(names(&asked(&more, Some(&hpa), &["b"]), &more), ["a", "b"]);
    }

    #[test]
    fn a_preset_that_never_has_a_value_holds_nothing_up() {
        let old = plan(&[("keep", "a: x < 1\nb: y < 1")]);
        let hpa = live(asked(&old, None, &[]).spec.expect("attached"), 1);
        let new = plan(&[("scale", "1..8 kv-cache"), ("keep", "a: x < 1")]);
        assert_eq!(names(&asked(&new, Some(&hpa), &[]), &new), ["a"], "b was dropped by its author");
        let only = plan(&[("scale", "1..8 kv-cache")]);
        assert_eq!(names(&asked(&only, Some(&hpa), &[]), &only), ["?", "?"], "an HPA is never left without metrics");
    }

    #[test]
    fn a_new_target_is_taken_at_once() {
        let old = plan(&[("keep", "a: x < 2")]);
        let hpa = live(asked(&old, None, &[]).spec.expect("attached"), 1);
        let new = plan(&[("keep", "a: x < 3")]);
        let spec = asked(&new, Some(&hpa), &[]).spec.expect("attached");
        assert!(!holds(&hpa.spec, &spec));
        assert_eq!(names(&asked(&new, Some(&hpa), &[]), &new), ["a"]);
    }

    #[test]
    fn a_policys_lower_ceiling_is_walked_down_and_an_authors_is_obeyed() {
        let mut wide = plan(&[("scale", "1..8"), ("keep", "a: x < 1"), ("behavior", "down 2/60s")]);
        let spec = asked(&wide, None, &[]).spec.expect("attached");
        let mut hpa = live(spec, 8);
        wide.replicas.value.max = 3;
        let max = |plan: &Plan, hpa: &Hpa| {
            let attachment = asked(plan, Some(hpa), &[]);
            (attachment.spec.expect("attached").max_replicas, attachment.again.map(|again| again.as_secs()))
        };
        assert_eq!(max(&wide, &hpa), (3, None), "the author's own");
        wide.replicas.from = Origin::Policy("nim-default".into());
        assert_eq!(max(&wide, &hpa), (6, Some(60)));
        hpa.last_scale = Some("2025-12-31T23:59:40Z".parse().expect("a time"));
        hpa.spec.max_replicas = 6;
        assert_eq!(max(&wide, &hpa), (6, Some(40)), "the status has the replicas from before the step");
        hpa.replicas = 6;
        assert_eq!(max(&wide, &hpa), (6, Some(40)), "20 s after the last step");
        hpa.last_scale = Some("2025-12-31T23:58:00Z".parse().expect("a time"));
        assert_eq!(max(&wide, &hpa), (4, Some(60)));
        (hpa.replicas, hpa.spec.max_replicas) = (4, 4);
        assert_eq!(max(&wide, &hpa), (3, Some(60)));
        (hpa.replicas, hpa.spec.max_replicas) = (3, 3);
        assert_eq!(max(&wide, &hpa), (3, None));
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_difference() {
        let plan = plan(&[("keep", "a: x < 1"), ("paused", "scale-down")]);
        let wanted = asked(&plan, None, &[]).spec.expect("attached");
        let mut filled = wanted.clone();
        let down = filled.behavior.as_mut().and_then(|behavior| behavior.scale_down.as_mut()).expect("written out");
        assert_eq!(down.policies, None);
        down.stabilization_window_seconds = Some(300);
        assert!(holds(&filled, &wanted) && holds(&wanted, &wanted));
        filled.max_replicas = 9;
        assert!(!holds(&filled, &wanted));
    }
}
