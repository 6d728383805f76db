//! `nimscale lint`: say what is wrong with the annotations of manifests.

use nimscale_rules::findings::{Finding, Severity};

use super::{examine, lines};
use crate::cli::{FailOn, LintArgs};
use crate::manifest;
use crate::output::{Exit, data, talk};
use crate::policies;

pub fn run(args: &LintArgs) -> anyhow::Result<Exit> {
    let platform = super::platform(args.input.platform.as_deref())?;
    let policies = policies::read(&args.input.policies)?;
    let manifests = manifest::read(&args.input.paths, args.input.namespace.as_deref());
    let mut text = String::new();
    let mut exit = Exit::Done;
    for file in &manifests.files {
        let findings = examine(file, &policies, &platform).findings;
        for line in lines(file, &findings) {
            text.push_str(&line);
            text.push('\n');
        }
        if findings.iter().any(|finding| fails(finding, args.fail_on)) {
            exit = Exit::Findings;
        }
    }
    data(&text)?;
    for failure in &manifests.failures {
        talk(&format!("nimscale: {failure}"));
        exit = Exit::Unfinished;
    }
    Ok(exit)
}

fn fails(finding: &Finding, fail_on: FailOn) -> bool {
    match (finding.severity(), fail_on) {
        (Severity::Error, FailOn::Error | FailOn::Warning) | (Severity::Warning, FailOn::Warning) => true,
        (Severity::Warning, FailOn::Error) | (Severity::Note, FailOn::Error | FailOn::Warning) => false,
    }
}
