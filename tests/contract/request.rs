//! What the adapter is asked, and the query that it makes of a template for it, from the template's text alone.

use super::adapter;
use super::data::{Workload, WorkloadKind};

#[derive(Clone, Debug)]
pub enum Request {
    Pods(&'static str, Vec<&'static str>),
    Workload(Workload),
}

/// The label by which the adapter knows a workload, and the resource that it stands for.
pub fn label_of(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployment",
        WorkloadKind::StatefulSet => "statefulset",
    }
}

impl Request {
    pub fn namespace(&self) -> &'static str {
        match self {
            Self::Pods(namespace, _) | Self::Workload(Workload { namespace, .. }) => namespace,
        }
    }

    /// The label whose values the answer is read by.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Pods(..) => "pod",
            Self::Workload(workload) => label_of(workload.kind),
        }
    }

    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Pods(_, pods) => pods.clone(),
            Self::Workload(workload) => vec![workload.name],
        }
    }

    pub fn instantiate(&self, template: &str) -> Result<String, String> {
        match self {
            Self::Pods(namespace, pods) => adapter::instantiate(template, namespace, pods),
            Self::Workload(workload) => of_workload(template, workload),
        }
    }
}

fn of_workload(template: &str, workload: &Workload) -> Result<String, String> {
    let label = label_of(workload.kind);
    let quoted = |label: &str| format!("printf \"%q\" (index .LabelValuesByName \"{label}\")");
    let mut instance = String::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("<<") {
        let (action, after) = after.split_once(">>").ok_or("an action without >>")?;
        instance += text;
        let name = format!(" (index .LabelValuesByName \"{label}\"))");
        let pods = action.strip_prefix("printf \"%q\" (printf \"%s").and_then(|action| action.strip_suffix(&name));
        instance += &match (action, pods.and_then(|suffix| suffix.strip_suffix('"'))) {
            (_, Some(suffix)) => format!("\"{}{suffix}\"", workload.name),
            (".GroupBy", None) => label.to_owned(),
            (action, None) if action == quoted("namespace") => format!("\"{}\"", workload.namespace),
            (action, None) if action == quoted(label) => format!("\"{}\"", workload.name),
            (other, None) => return Err(format!("no action of an Object rule: <<{other}>>")),
        };
        rest = after;
    }
    Ok(instance + rest)
}
