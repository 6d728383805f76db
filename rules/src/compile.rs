//! Compile one workload: what the CLI, admission and the controller all call.

use crate::declare::{Attach, declare};
use crate::findings::{Code, Finding};
use crate::measure::{Measured, Question, measure};
use crate::plan::{Plan, plan};
use crate::platform::Platform;
use crate::policy::{Guard, Policies, hold};
use crate::resolve::resolve;
use crate::workload::Workload;

/// The outcome of a compilation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Whether the workload is to be scaled at all.
    pub attach: Attach,
    /// The policy whose defaults apply to a workload that is to be scaled.
    pub policy: Option<String>,
    /// `None` when the workload does not want to be scaled, or when an error stands among the findings.
    pub plan: Option<Plan>,
    /// What becomes of `spec.replicas` in an update of a scaled workload.
    pub guard: Guard,
    /// Sorted by place.
    pub findings: Vec<Finding>,
}

/// Compiles the annotations of a workload under the policies of its cluster.
pub fn compile(workload: &Workload, policies: &Policies, platform: &Platform) -> Compiled {
    compile_with(workload, policies, platform, &measure)
}

/// Compiles the annotations of a workload for a caller that may know the answer to a question already: what it hands in
/// must answer as [`measure`] does.
pub fn compile_with(
    workload: &Workload,
    policies: &Policies,
    platform: &Platform,
    measure: &dyn Fn(&Question<'_>, &Platform) -> Measured,
) -> Compiled {
    let limits = policies.limits(workload);
    let (mut declaration, mut findings) = declare(workload, &limits);
    let declared = match declaration.attach {
        Attach::Declared | Attach::Off | Attach::ByPolicy => true,
        Attach::NotDeclared => false,
    };
    let effective = policies.effective(workload, declared, declaration.policy.as_ref());
    if effective.attaches {
        declaration.attach = Attach::ByPolicy;
        // Keys that only modify have something to modify now.
        findings.retain(|finding| finding.code != Code::Ns0110);
    }
    let attach = declaration.attach;
    findings.extend(effective.missing.clone());
    let (intent, lowered) = resolve(workload, declaration, &effective, &limits);
    // A default in the place of what could not be read is nobody's.
    let broken = findings.iter().any(Finding::is_error);
    findings.extend(lowered.into_iter().filter(|_| !broken));
    let scaled = intent.is_some();
    let mut compiled = None;
    if let Some(mut intent) = intent {
        let held = hold(&mut intent, workload, &limits).into_iter();
        findings.extend(held.filter(|finding| !broken || finding.is_error()));
        let (plan, of_metrics) = plan(intent, platform, measure);
        findings.extend(of_metrics);
        compiled = plan;
    }
    findings.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    if findings.iter().any(Finding::is_error) {
        compiled = None;
    }
    Compiled {
        attach,
        policy: effective.policy.filter(|_| scaled).map(|policy| policy.name().to_owned()),
        plan: compiled,
        guard: effective.guard,
        findings,
    }
}
