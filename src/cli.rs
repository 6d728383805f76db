//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nimscale_rules::presets::OnIdle;
use nimscale_rules::quantity::Milli;
use nimscale_rules::workload::is_label;

/// One annotation on a NIM Deployment, a correct multi-metric HPA.
///
/// Exit codes: 0 done; 1 done, with findings; 2 wrong usage; 3 could not finish.
#[derive(Debug, Parser)]
#[command(version, about, long_about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what admission and the controller would make of manifests: workloads, HPAs, the adapter's config.
    Render(RenderArgs),
    /// Say what is wrong with the nimscale annotations of manifests.
    Lint(LintArgs),
    /// Say what becomes of one PromQL expression.
    Explain(ExplainArgs),
    /// List the built-in metrics.
    Presets,
}

#[derive(Debug, Args)]
pub struct InputArgs {
    /// Files of YAML or JSON, directories, or `-` for stdin.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The namespace of objects that state none.
    #[arg(short, long, value_parser = namespace)]
    pub namespace: Option<String>,
    /// What the cluster's Prometheus looks like (YAML).
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// ClusterScalingPolicies that hold (YAML); of namespaces only the names are known. May be repeated.
    #[arg(long = "policy", value_name = "FILE")]
    pub policies: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub input: InputArgs,
    /// The namespace of prometheus-adapter.
    #[arg(long, default_value = "monitoring", value_parser = namespace)]
    pub adapter_namespace: String,
}

#[derive(Debug, Args)]
pub struct LintArgs {
    #[command(flatten)]
    pub input: InputArgs,
    /// From which severity on findings make the exit code 1.
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    pub fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    Error,
    Warning,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// One PromQL expression: what stands left of `<` in `keep`; `-` reads it from stdin, byte for byte.
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub expr: String,
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// The target that the overload bound follows.
    #[arg(long, default_value = "1", value_parser = target)]
    pub target: Milli,
    /// The workload's namespace.
    #[arg(short, long, value_parser = namespace)]
    pub namespace: Option<String>,
    /// The metric kind; without it the expression's root decides.
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// What an idle pod reads as; without it the expression's root decides.
    #[arg(long, value_enum)]
    pub on_idle: Option<Idle>,
    /// What the cluster's Prometheus looks like (YAML).
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// The kind of the workload: the names of its pods follow from it.
    #[arg(long, value_enum, default_value_t = Workload::Deployment)]
    pub workload: Workload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Kind {
    Pods,
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Idle {
    Zero,
    Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Workload {
    Deployment,
    StatefulSet,
}

impl From<Idle> for OnIdle {
    fn from(idle: Idle) -> Self {
        match idle {
            Idle::Zero => Self::Zero,
            Idle::Hold => Self::Hold,
        }
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if is_label(text) { Ok(text.to_owned()) } else { Err("lower-case letters, digits and -, 63 at most".to_owned()) }
}

fn target(text: &str) -> Result<Milli, String> {
    nimscale_rules::declare::target(text).map_err(|finding| finding.message)
}
