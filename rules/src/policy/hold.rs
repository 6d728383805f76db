//! Hold what a workload shall have to its limits: refuse, or lower and say so.

use super::{Limit, Limits};
use crate::declare::{DeclaredMetric, Paused, Range, Source};
use crate::findings::{Code, Finding, cut};
use crate::place::{Origin, Place, Set, Span, Text};
use crate::promql::node::NodeKind;
use crate::promql::{self, template};
use crate::resolve::Intent;
use crate::workload::Workload;

/// Checks what the readers of the annotations could not: GPUs, and what stands inside of expressions.
pub(crate) fn hold(intent: &mut Intent, workload: &Workload, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(limit) = &limits.gpus {
        gpus(intent, workload, limit, &mut findings);
    }
    for metric in &intent.metrics {
        match &metric.source {
            // A preset is the same for everybody, and reads nothing that a policy could want to hide.
            Source::Preset(_) => {}
            Source::Query(text) => expression(metric, text, limits, &mut findings),
        }
    }
    findings
}

/// The finding about a value that a limit lowered.
pub(crate) fn lowered<T, V: std::fmt::Display>(what: &str, to: V, limit: &Limit<T>, place: Place) -> Finding {
    let message = format!("{what} lowered to {to} {}", limit.who());
    Finding::new(Code::Ns0221, place, message).help(to.to_string())
}

fn gpus(intent: &mut Intent, workload: &Workload, limit: &Limit<u32>, findings: &mut Vec<Finding>) {
    let each = workload.pods.gpus;
    // Replicas are lowered, GPUs of a pod are not.
    let Some(most) = limit.value.checked_div(each) else { return };
    let written = |key: &str| workload.annotation(key).map(|annotation| annotation.value.whole());
    let (what, max, key, stated) = match intent.paused.value {
        Paused::At(replicas) => ("paused at", replicas, "paused", true),
        Paused::Both | Paused::Up | Paused::Down | Paused::No => {
            ("max", intent.replicas.value.max, "scale", matches!(intent.replicas.from, Origin::Annotation(_)))
        }
    };
    if max <= most {
        return;
    }
    let place = written(key).or_else(|| written("spec")).unwrap_or_else(|| workload.annotations_place.clone());
    // What its author did not state is not his to mend.
    if most == 0 || (stated && !limit.lowers()) {
        let max = if most == 0 { 1 } else { max };
        let who = limit.policy().unwrap_or_default();
        let message = format!("{max} x {each} GPUs is over the limit {} ({who})", limit.value);
        let help = if most == 0 { "fewer GPUs for each pod".to_owned() } else { format!("at most {most} replicas") };
        findings.push(Finding::new(Code::Ns0205, place, message).help(help));
        return;
    }
    findings.push(lowered(&format!("{what} {max}"), most, limit, place));
    if let Paused::At(_) = intent.paused.value {
        intent.paused = Set { value: Paused::At(most), from: limit.by.clone() };
    } else {
        let Range { min, max: _ } = intent.replicas.value;
        intent.replicas = Set { value: Range { min: min.min(most), max: most }, from: limit.by.clone() };
    }
}

fn expression(metric: &DeclaredMetric, text: &Text, limits: &Limits, findings: &mut Vec<Finding>) {
    if let Some(policy) = &limits.presets_only {
        let message = format!("{} allows presets only", cut(policy, 40));
        findings.push(Finding::new(Code::Ns0208, metric.place.clone(), message).help("nimscale.dev/scale: \"auto\""));
    }
    let range = limits.range.policy().map(|policy| (limits.range.value, policy));
    let most = limits.selectors.policy().map(|policy| (limits.selectors.value, policy));
    if range.is_none() && most.is_none() && limits.denied.is_empty() {
        return;
    }
    // What cannot be read is refused where it is compiled.
    let Ok(node) = promql::read(text.as_str(), &promql::Limits::AUTHOR) else { return };
    let selectors = node.selectors();
    if let Some((most, policy)) = most
        && let Some(first_over) = selectors.get(most)
    {
        let message = format!("{} selectors are over the limit of {most} ({policy})", selectors.len());
        findings.push(Finding::at(Code::Ns0362, first_over.span, message).help("fewer metrics").through(text));
    }
    for selector in selectors {
        if let Some(denied) = limits.denied.iter().find(|denied| denied.pattern.matches(&selector.name)) {
            let message = format!("{} is denied by {}", cut(&selector.name, 50), cut(&denied.policy, 40));
            let finding = Finding::at(Code::Ns0209, selector.span, message).help("another metric");
            findings.push(finding.through(text));
        }
    }
    let Some((longest, policy)) = range else { return };
    let mut over: Vec<(Span, String)> = Vec::new();
    node.visit(&mut |node| match &node.kind {
        NodeKind::Range { range, .. } | NodeKind::Subquery { range, .. } if *range > longest => {
            over.push((node.span, template::duration(*range)));
        }
        NodeKind::Range { .. }
        | NodeKind::Subquery { .. }
        | NodeKind::Number(_)
        | NodeKind::String(_)
        | NodeKind::Selector(_)
        | NodeKind::Negate(_)
        | NodeKind::Binary(_)
        | NodeKind::Aggregate(_)
        | NodeKind::Call { .. } => {}
    });
    let longest = template::duration(longest);
    findings.extend(over.into_iter().map(|(span, range)| {
        let message = format!("{range} is over the limit of {longest} for a range ({policy})");
        Finding::at(Code::Ns0362, span, message).help(format!("[{longest}]")).through(text)
    }));
}
