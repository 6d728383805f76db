//! `nimscale status`: print each workload's chain, and the link of it that is broken.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Serialize;

use crate::cli::{Format, StatusArgs};
use crate::output::{Exit, data};
use crate::scaling_plan::{Condition, ScalingPlan, Status};

/// One workload, as JSON prints it.
#[derive(Serialize)]
struct Line {
    namespace: String,
    #[serde(flatten)]
    status: Status,
}

/// Exit 1 when a workload is not ready.
pub fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let plans = super::in_cluster(async |client, config| {
        let plans = match (&args.namespace, args.all_namespaces) {
            (_, true) => Api::all(client),
            (Some(namespace), false) => Api::namespaced(client, namespace),
            (None, false) => Api::namespaced(client, &config.default_namespace),
        };
        list(&plans).await
    })?;
    let ready = plans.iter().all(|plan| plan.status.condition("Ready").is_some_and(|ready| ready.status == "True"));
    match args.output {
        Format::Json => {
            let lines: Vec<Line> = plans
                .into_iter()
                .map(|plan| Line { namespace: plan.namespace().unwrap_or_default(), status: plan.status })
                .collect();
            data(&format!("{}\n", serde_json::to_string(&lines)?))?;
        }
        Format::Text if plans.is_empty() => {
            crate::output::talk("nimscale: no workload has a plan here; -A looks everywhere")
        }
        Format::Text => data(&plans.iter().map(text).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(if ready { Exit::Done } else { Exit::Findings })
}

async fn list(plans: &Api<ScalingPlan>) -> anyhow::Result<Vec<ScalingPlan>> {
    let list = tokio::time::timeout(Duration::from_secs(30), plans.list(&ListParams::default())).await?;
    let mut plans = list.context("failed to list ScalingPlans")?.items;
    plans.sort_by_key(|plan| (plan.namespace(), plan.name_any()));
    Ok(plans)
}

/// The chain of a workload, link by link.
fn text(plan: &ScalingPlan) -> String {
    let status = &plan.status;
    let mut text = String::new();
    let range = status
        .replicas
        .as_ref()
        .map_or_else(String::new, |replicas| format!("  {}..{} ({})", replicas.min, replicas.max, replicas.from));
    let namespace = plan.namespace().unwrap_or_default();
    let _ = writeln!(text, "{} {namespace}/{}{range}", status.workload.kind, status.workload.name);
    for metric in &status.compiled {
        let _ =
            writeln!(text, "  {} < {} ({}): {}", metric.name, metric.target, metric.from, metric.state.to_lowercase());
    }
    let mut broken = false;
    for (type_, what) in [
        ("Compiled", "annotations"),
        ("RulesPublished", "rules in the adapter"),
        ("MetricsAvailable", "values"),
        ("HPAReady", "HPA"),
        ("ScalingActive", "scaling"),
    ] {
        let Some(condition) = status.condition(type_) else { continue };
        // Behind a broken link the others only say the same.
        let mark = match condition.status.as_str() {
            "True" => "√",
            _ if broken => "-",
            "False" => "×",
            _ => "…",
        };
        broken |= condition.status == "False";
        let _ = writeln!(text, "{mark} {what}{}", said(condition));
    }
    if status.paused != "false" {
        let _ = writeln!(text, "‼ paused: {}", status.paused);
    }
    text
}

fn said(condition: &Condition) -> String {
    match (condition.status.as_str(), condition.message.is_empty()) {
        ("True", true) => String::new(),
        (_, true) => format!(": {}", condition.reason),
        (_, false) => format!(": {}", condition.message.replace('\n', "\n  ")),
    }
}
