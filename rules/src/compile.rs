//! Compile one workload: what the CLI, admission and the controller all call.

use crate::declare::{Attach, declare};
use crate::findings::Finding;
use crate::plan::{Plan, plan};
use crate::platform::Platform;
use crate::policy::{Guard, Policies};
use crate::resolve::resolve;
use crate::workload::Workload;

/// The outcome of a compilation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Whether the workload is to be scaled at all.
    pub attach: Attach,
    /// `None` when the workload does not want to be scaled, or when an error stands among the findings.
    pub plan: Option<Plan>,
    /// What becomes of `spec.replicas` in an update of a scaled workload.
    pub guard: Guard,
    /// Sorted by place.
    pub findings: Vec<Finding>,
}

/// Compiles the annotations of a workload.
pub fn compile(workload: &Workload, policies: &Policies, platform: &Platform) -> Compiled {
    let (declaration, mut findings) = declare(workload, &policies.limits);
    let attach = declaration.attach;
    let mut compiled = None;
    if let Some(intent) = resolve(&workload.id, declaration, &workload.annotations_place) {
        let (plan, of_metrics) = plan(intent, platform);
        findings.extend(of_metrics);
        compiled = plan;
    }
    findings.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    if findings.iter().any(Finding::is_error) {
        compiled = None;
    }
    Compiled { attach, plan: compiled, guard: Guard::Preserve, findings }
}
