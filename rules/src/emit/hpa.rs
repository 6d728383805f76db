//! Write the HorizontalPodAutoscaler of a plan.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget,
    ObjectMetricSource, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::declare::{Change, Direction, Range, Step};
use crate::keys::ADOPTABLE;
use crate::measure::MetricKind;
use crate::plan::{Metric, Plan};

/// What a name of a Kubernetes object may have at most (a DNS subdomain).
const MOST_CHARACTERS: usize = 253;

/// The HPA of a plan, as a person would apply it: a controller may take it over later without a key.
pub fn hpa(plan: &Plan) -> HorizontalPodAutoscaler {
    let bounds = plan.bounds();
    let metrics = plan.metrics.iter().map(|metric| self::metric(plan, metric)).collect();
    HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            name: Some(name(&plan.id.name)),
            namespace: plan.id.namespace.clone(),
            annotations: Some(BTreeMap::from([(ADOPTABLE.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(spec(plan, bounds, metrics)),
        status: None,
    }
}

/// The spec of a plan's HPA, with bounds and metrics that may differ from the plan's for a while.
pub fn spec(plan: &Plan, bounds: Range, metrics: Vec<MetricSpec>) -> HorizontalPodAutoscalerSpec {
    let behavior = plan.behavior();
    HorizontalPodAutoscalerSpec {
        scale_target_ref: target(plan),
        min_replicas: Some(count(bounds.min)),
        max_replicas: count(bounds.max),
        metrics: Some(metrics),
        // Always written out: without it the API server's own algorithm differs, and its spikes outlive their cause.
        behavior: Some(HorizontalPodAutoscalerBehavior {
            scale_up: Some(rules(&behavior.up)),
            scale_down: Some(rules(&behavior.down)),
        }),
    }
}

fn target(plan: &Plan) -> CrossVersionObjectReference {
    CrossVersionObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: plan.id.kind.to_string(),
        name: plan.id.name.clone(),
    }
}

/// `<workload>-nimscale`: never the workload's own name, by which NIM Operator deletes HPAs. A name that would be too
/// long for Kubernetes is cut, with a hash of the whole in its place.
pub fn name(workload: &str) -> String {
    cut_name(workload, "-nimscale")
}

/// A name with a suffix; of one that would be too long for Kubernetes the middle becomes a hash of the whole.
pub fn cut_name(name: &str, suffix: &str) -> String {
    if name.len() + suffix.len() <= MOST_CHARACTERS {
        return format!("{name}{suffix}");
    }
    let hash = BASE32_NOPAD.encode(&Sha256::digest(name)).to_ascii_lowercase();
    let room = MOST_CHARACTERS - suffix.len() - 9;
    let cut = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}-{}{suffix}", name[..cut].trim_end_matches(['-', '.']), &hash[..8])
}

/// One metric of a plan's HPA.
pub fn metric(plan: &Plan, metric: &Metric) -> MetricSpec {
    let identifier = MetricIdentifier { name: metric.measure.name.clone(), selector: None };
    let average = MetricTarget {
        type_: "AverageValue".to_owned(),
        average_value: Some(Quantity(metric.target.value.quantity())),
        ..MetricTarget::default()
    };
    match metric.measure.kind {
        MetricKind::Pods => MetricSpec {
            type_: "Pods".to_owned(),
            pods: Some(PodsMetricSource { metric: identifier, target: average }),
            ..MetricSpec::default()
        },
        MetricKind::Object(_) => MetricSpec {
            type_: "Object".to_owned(),
            object: Some(ObjectMetricSource { described_object: target(plan), metric: identifier, target: average }),
            ..MetricSpec::default()
        },
    }
}

fn rules(direction: &Direction) -> HPAScalingRules {
    match direction {
        Direction::Off => HPAScalingRules { select_policy: Some("Disabled".to_owned()), ..HPAScalingRules::default() },
        Direction::Steps { steps, after_seconds } => HPAScalingRules {
            policies: Some(steps.iter().map(policy).collect()),
            select_policy: Some("Max".to_owned()),
            stabilization_window_seconds: Some(count(*after_seconds)),
            tolerance: None,
        },
    }
}

fn policy(step: &Step) -> HPAScalingPolicy {
    let (type_, value) = match step.change {
        Change::Pods(pods) => ("Pods", pods),
        Change::Percent(percent) => ("Percent", percent),
    };
    HPAScalingPolicy { type_: type_.to_owned(), value: count(value), period_seconds: count(step.every_seconds) }
}

/// Every number of a plan is far below `i32::MAX`; the API's type is signed.
fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_never_the_workloads_own() {
        assert_eq!(name("llama"), "llama-nimscale");
        let long = "a".repeat(253);
        let other = format!("{}b", "a".repeat(252));
        assert_eq!(name(&long).len(), 253);
        assert_ne!(name(&long), name(&other));
        assert!(name(&long).ends_with("-nimscale"));
    }
}
