//! A NIM of either kind, as JSON.

use serde_json::{Value, json};

/// A NIM with annotations under our domain.
pub fn workload(kind: &str, namespace: &str, name: &str, keys: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<String, Value> =
        keys.iter().map(|(key, value)| (format!("nimscale.dev/{key}"), (*value).into())).collect();
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "nim", "image": "nvcr.io/nim/meta/llama3-8b-instruct:1.0.3",
                    "ports": [{"name": "http-openai", "containerPort": 8000}],
                    "readinessProbe": {"httpGet": {"path": "/v1/health/ready", "port": "http-openai"}},
                }]},
            },
        },
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = name.into();
    }
    workload
}
