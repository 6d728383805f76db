//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nimscale_rules::measure;
use nimscale_rules::presets::OnIdle;
use nimscale_rules::quantity::Milli;
use nimscale_rules::workload::{WorkloadKind, is_label, is_subdomain};

use crate::flags::{ControllerArgs, ProcessArgs, WebhookArgs};

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
    /// Print what installs nimscale on a cluster, for `kubectl apply --server-side -f -`.
    Install(InstallArgs),
    /// Take nimscale out of a cluster; everybody else's rules stay as they are.
    Uninstall(UninstallArgs),
    /// Print each workload's chain, and the link of it that is broken.
    Status(StatusArgs),
    /// Run admission, in a cluster.
    Webhook(WebhookCommand),
    /// Run the controller, in a cluster.
    Controller(ControllerCommand),
    /// Run both in one process, for trials.
    Serve(ServeCommand),
}

#[derive(Debug, Args)]
pub struct WebhookCommand {
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub webhook: WebhookArgs,
}

#[derive(Debug, Args)]
pub struct ControllerCommand {
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub controller: ControllerArgs,
}

#[derive(Debug, Args)]
pub struct ServeCommand {
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub webhook: WebhookArgs,
    #[command(flatten)]
    pub controller: ControllerArgs,
}

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Leave the HPAs and the rules: scaling goes on, and nothing changes it any more.
    #[arg(long)]
    pub keep: bool,
    /// What was given to install.
    #[command(flatten)]
    pub install: InstallArgs,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The namespace to look into; without it the one of the kubeconfig.
    #[arg(short, long, value_parser = namespace)]
    pub namespace: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
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
    /// The target that the overload bound follows; 1 where it is not stated.
    #[arg(long, value_parser = target)]
    pub target: Option<Milli>,
    /// The workload's namespace.
    #[arg(short, long, value_parser = namespace)]
    pub namespace: Option<String>,
    /// The metric kind; without it the expression's root decides.
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// How one value for a workload is read, a total or a level; without it the expression's root decides.
    #[arg(long, value_enum)]
    pub reading: Option<Reading>,
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

#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Print the CustomResourceDefinitions alone.
    #[arg(long)]
    pub crds: bool,
    /// The namespace of nimscale.
    #[arg(long, default_value = "nimscale-system", value_parser = namespace)]
    pub namespace: String,
    /// The image of nimscale, as your cluster pulls it.
    #[arg(long, default_value = concat!("nimscale:", env!("CARGO_PKG_VERSION")), value_parser = image)]
    pub image: String,
    /// Pods of the webhook, and of the controller.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub replicas: u32,
    /// The namespace of prometheus-adapter.
    #[arg(long, default_value = "monitoring", value_parser = namespace)]
    pub adapter_namespace: String,
    /// The Deployment of prometheus-adapter.
    #[arg(long, default_value = "prometheus-adapter", value_parser = name)]
    pub adapter_deployment: String,
    /// The ConfigMap that prometheus-adapter reads before nimscale comes; its rules are taken over.
    #[arg(long, default_value = "prometheus-adapter", value_parser = name)]
    pub adapter_config_map: String,
    /// Where Prometheus answers, as the controller sees it.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub prometheus_url: Option<String>,
    /// What the cluster's Prometheus looks like (YAML).
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// One more argument of the controller; may be repeated.
    #[arg(long = "controller-arg", value_name = "ARG", allow_hyphen_values = true, value_parser = argument)]
    pub controller_args: Vec<String>,
    /// One more argument of the webhook; may be repeated.
    #[arg(long = "webhook-arg", value_name = "ARG", allow_hyphen_values = true, value_parser = argument)]
    pub webhook_args: Vec<String>,
    /// What becomes of an annotated workload while the webhook does not answer.
    #[arg(long, value_enum, default_value_t = FailurePolicy::Ignore)]
    pub failure_policy: FailurePolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum FailurePolicy {
    /// It is stored as it came, and the controller repairs what was missed.
    Ignore,
    /// It is refused.
    Fail,
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
pub enum Reading {
    /// So much per replica, as `averageValue` has it.
    PerReplica,
    /// The expression as it stands, as `value` has it.
    AsItStands,
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

impl From<Kind> for measure::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pods => Self::Pods,
            Kind::Object => Self::Object,
        }
    }
}

impl From<Reading> for measure::Reading {
    fn from(reading: Reading) -> Self {
        match reading {
            Reading::PerReplica => Self::PerReplica,
            Reading::AsItStands => Self::AsItStands,
        }
    }
}

impl From<Workload> for WorkloadKind {
    fn from(workload: Workload) -> Self {
        match workload {
            Workload::Deployment => Self::Deployment,
            Workload::StatefulSet => Self::StatefulSet,
        }
    }
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

fn name(text: &str) -> Result<String, String> {
    if is_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("lower-case letters, digits, - and ., 253 at most".to_owned())
    }
}

fn image(text: &str) -> Result<String, String> {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b"._/:@-".contains(&b);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && text.len() <= 512 && text.bytes().all(is_inner) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits and . _ / : @ -".to_owned())
    }
}

fn url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_url = host.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()));
    if is_url { Ok(text.to_owned()) } else { Err("http:// or https://, and no spaces".to_owned()) }
}

fn argument(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        Err("one line that is not empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn target(text: &str) -> Result<Milli, String> {
    nimscale_rules::declare::target(text).map_err(|finding| finding.message)
}
