//! One file a command.

pub mod explain;
pub mod lint;
pub mod presets;
pub mod render;

use std::fs;
use std::path::Path;

use anyhow::Context;
use nimscale_rules::compile::compile;
use nimscale_rules::declare::Mode;
use nimscale_rules::findings::{Code, Finding, LineIndex, Severity, line};
use nimscale_rules::place::Place;
use nimscale_rules::plan::Plan;
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::workload::Workload;
use nimscale_webhook::{Outcome, Review, Verdict, decide};

use crate::manifest::File;

/// The platform of `--platform FILE`, or the default one.
fn platform(file: Option<&Path>) -> anyhow::Result<Platform> {
    let Some(file) = file else {
        return Ok(Platform::default());
    };
    let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    Platform::read(&text).with_context(|| format!("failed to read {}", file.display()))
}

/// What became of one file.
struct Examined {
    /// Errors and warnings, by place.
    findings: Vec<Finding>,
    plans: Vec<Plan>,
    /// `spec.replicas` as admission would store it, and where it stands.
    replicas: Vec<(Place, u32)>,
}

/// Compiles every workload of a file and asks admission about each, as if it were created.
fn examine(file: &File, policies: &Policies, platform: &Platform) -> Examined {
    let mut examined = Examined { findings: Vec::new(), plans: Vec::new(), replicas: Vec::new() };
    for document in &file.documents {
        examined.findings.extend(document.findings.iter().cloned());
        for workload in document.objects.iter().filter_map(|object| object.workload.as_ref()) {
            let compiled = compile(workload, policies, platform);
            let Verdict { outcome, warnings, replicas } = decide(&Review::create(workload.clone()), &compiled);
            examined.findings.extend(warnings);
            match outcome {
                Outcome::Allowed => {}
                Outcome::Denied(errors) => examined.findings.extend(errors),
            }
            if let (Some(written), Some(replicas)) = (&workload.replicas, replicas) {
                examined.replicas.push((written.place.clone(), replicas));
            }
            if let Some(plan) = compiled.plan {
                examined.findings.extend(replicas_line(workload, &plan));
                examined.plans.push(plan);
            }
        }
    }
    examined.findings.retain(|finding| finding.severity() != Severity::Note);
    examined.findings.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    examined.findings.dedup();
    examined
}

/// A manifest that states the replicas of a workload that an HPA scales.
fn replicas_line(workload: &Workload, plan: &Plan) -> Option<Finding> {
    let replicas = workload.replicas.as_ref().filter(|_| plan.mode.value == Mode::Enforce)?;
    let message = "spec.replicas is set: each apply resets what the HPA chose; delete the line";
    Some(Finding::new(Code::Ns0401, replicas.place.clone(), message))
}

/// The findings of a file, one a line.
fn lines(file: &File, findings: &[Finding]) -> Vec<String> {
    let index = LineIndex::new(&file.text);
    findings.iter().map(|finding| line(finding, &file.name, &index)).collect()
}
