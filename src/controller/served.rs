//! Ask custom.metrics.k8s.io what it has.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use nimscale_rules::workload::{Selector, WorkloadId, WorkloadKind};
use serde::Deserialize;

const API: &str = "/apis/custom.metrics.k8s.io/v1beta1";

/// The adapter asks Prometheus for each answer; an HPA's own request gives up after 10 s, too.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a question to the metrics API came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Value,
    /// The metric is listed, and has no value now.
    Empty,
    /// 404: the adapter does not know the metric.
    Unknown,
    /// The API did not answer, or refused.
    Failed,
}

/// Asks for a Pods metric of the pods that a selector matches.
pub async fn pods(client: &Client, namespace: &str, metric: &str, selector: &Selector) -> Answer {
    let path = format!("{API}/namespaces/{namespace}/pods/*/{metric}");
    ask(client, &path, &ListParams::default().labels(&selector.to_string())).await
}

/// Asks for a metric of a workload itself.
pub async fn of_workload(client: &Client, id: &WorkloadId, metric: &str) -> Answer {
    let namespace = id.namespace.as_deref().unwrap_or_default();
    let resource = match id.kind {
        WorkloadKind::Deployment => "deployments.apps",
        WorkloadKind::StatefulSet => "statefulsets.apps",
    };
    let path = format!("{API}/namespaces/{namespace}/{resource}/{}/{metric}", id.name);
    ask(client, &path, &ListParams::default()).await
}

/// Asks for a metric of a namespace itself, as canaries are.
pub async fn of_namespace(client: &Client, namespace: &str, metric: &str) -> Answer {
    ask(client, &format!("{API}/namespaces/{namespace}/metrics/{metric}"), &ListParams::default()).await
}

/// The names of all metrics that are listed; `None` when the API does not answer.
pub async fn listed(client: &Client) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        resources: Vec<Resource>,
    }
    #[derive(Deserialize)]
    struct Resource {
        name: String,
    }
    let request = axum::http::Request::get(API).body(Vec::new()).ok()?;
    let list = tokio::time::timeout(TIMEOUT, client.request::<List>(request)).await.ok()?.ok()?;
    let name = |resource: Resource| resource.name.split_once('/').map(|(_, name)| name.to_owned());
    Some(list.resources.into_iter().filter_map(name).collect())
}

async fn ask(client: &Client, path: &str, params: &ListParams) -> Answer {
    #[derive(Deserialize)]
    struct Values {
        #[serde(default)]
        items: Vec<serde::de::IgnoredAny>,
    }
    // The path ends where the query begins; `list` writes both.
    let Ok(request) = Request::new(path).list(params) else { return Answer::Failed };
    match tokio::time::timeout(TIMEOUT, client.request::<Values>(request)).await {
        Ok(Ok(values)) if values.items.is_empty() => Answer::Empty,
        Ok(Ok(_)) => Answer::Value,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Answer::Unknown,
        Ok(Err(_)) | Err(_) => Answer::Failed,
    }
}
