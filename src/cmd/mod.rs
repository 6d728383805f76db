//! One file a command.

pub mod explain;
pub mod install;
pub mod lint;
pub mod presets;
pub mod render;
pub mod status;
pub mod uninstall;

use std::fs;
use std::path::Path;

use anyhow::Context;
use nimscale_rules::compile::compile;
use nimscale_rules::findings::{Finding, LineIndex, Severity, line};
use nimscale_rules::place::Place;
use nimscale_rules::plan::Plan;
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_webhook::{Live, Outcome, Review, Verdict, decide};

use crate::manifest::File;

/// Runs something against the cluster of the kubeconfig, as `kubectl` would find it.
fn in_cluster<T>(run: impl AsyncFnOnce(kube::Client, &kube::Config) -> anyhow::Result<T>) -> anyhow::Result<T> {
    crate::processes::install_crypto()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start")?;
    runtime.block_on(async {
        let config = kube::Config::infer().await.context("failed to find a cluster: set KUBECONFIG")?;
        let client = kube::Client::try_from(config.clone()).context("failed to make a client")?;
        run(client, &config).await
    })
}

/// The platform of `--platform FILE`, or the default one.
pub(crate) fn platform(file: Option<&Path>) -> anyhow::Result<Platform> {
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
            let review = Review::create(workload.clone());
            let Verdict { outcome, warnings, replicas } = decide(&review, &compiled, &Live::default());
            examined.findings.extend(warnings);
            match outcome {
                Outcome::Allowed => {}
                Outcome::Denied(errors) => examined.findings.extend(errors),
            }
            if let (Some(written), Some(replicas)) = (&workload.replicas, replicas) {
                examined.replicas.push((written.place.clone(), replicas));
            }
            examined.plans.extend(compiled.plan);
        }
    }
    examined.findings.retain(|finding| finding.severity() != Severity::Note);
    examined.findings.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    examined.findings.dedup();
    examined
}

/// The findings of a file, one a line.
fn lines(file: &File, findings: &[Finding]) -> Vec<String> {
    let index = LineIndex::new(&file.text);
    findings.iter().map(|finding| line(finding, &file.name, &index)).collect()
}
