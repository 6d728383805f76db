//! What the API server sends: reviews of a NIM Deployment, as long as real ones.

use serde_json::{Value, json};

/// A NIM Deployment as it is stored after `kubectl apply`, with its managedFields.
pub fn deployment(keys: &[(&str, &str)], replicas: i64) -> Value {
    let labels = json!({"app.kubernetes.io/name": "llama", "app.kubernetes.io/part-of": "chat", "team": "inference"});
    let annotations: serde_json::Map<String, Value> =
        keys.iter().map(|(key, value)| (format!("nimscale.dev/{key}"), json!(value))).collect();
    let variable = |n: usize| json!({"name": format!("NIM_OPTION_{n}"), "value": format!("value-{n}")});
    let port = json!({"name": "http", "containerPort": 8000, "protocol": "TCP"});
    let probe = json!({"httpGet": {"path": "/v1/health/ready", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1,
        "initialDelaySeconds": 15, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
    let container = json!({
        "name": "nim", "image": "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4", "imagePullPolicy": "IfNotPresent",
        "env": (0..12).map(variable).collect::<Vec<_>>(), "ports": [port],
        "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "64Gi"}, "requests": {"cpu": "8", "memory": "64Gi"}},
        "readinessProbe": probe, "livenessProbe": probe, "startupProbe": probe,
        "volumeMounts": [{"name": "cache", "mountPath": "/opt/nim/.cache"}, {"name": "shm", "mountPath": "/dev/shm"}],
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    });
    let spec = json!({
        "replicas": replicas, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": {"app.kubernetes.io/name": "llama"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"creationTimestamp": null, "labels": labels},
            "spec": {
                "containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 120,
                "imagePullSecrets": [{"name": "ngc"}], "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
                "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "nim-cache"}},
                    {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}],
                "schedulerName": "default-scheduler", "dnsPolicy": "ClusterFirst",
            },
        },
    });
    let own = |of: &Value| -> serde_json::Map<String, Value> {
        of.as_object().expect("an object").keys().map(|key| (format!("f:{key}"), json!({}))).collect()
    };
    let mut container_fields = own(&spec["template"]["spec"]["containers"][0]);
    container_fields.insert(
        "f:env".to_owned(),
        (0..12)
            .map(|n| (format!("k:{{\"name\":\"NIM_OPTION_{n}\"}}"), json!({".": {}, "f:name": {}, "f:value": {}})))
            .collect(),
    );
    let annotation_fields: serde_json::Map<String, Value> =
        annotations.keys().map(|key| (format!("f:{key}"), json!({}))).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "llama", "namespace": "nim", "uid": "0b7f3c9e-6f43-4d3c-9d0a-3a4e9c1d2f10", "generation": 4,
            "resourceVersion": "184467", "creationTimestamp": "2026-01-15T09:30:00Z", "labels": labels,
            "annotations": annotations,
            "managedFields": [{
                "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1",
                "time": "2026-01-15T09:30:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:annotations": annotation_fields, "f:labels": own(&labels)},
                    "f:spec": {"f:replicas": {}, "f:selector": {}, "f:strategy": {"f:type": {}}, "f:template": {
                        "f:metadata": {"f:labels": own(&labels)},
                        "f:spec": {"f:containers": {"k:{\"name\":\"nim\"}": container_fields}, "f:volumes": {}},
                    }},
                },
            }],
        },
        "spec": spec,
    })
}

/// The same with what `kubectl apply` leaves of its manifest.
pub fn applied(mut object: Value) -> Value {
    let mut manifest = object.clone();
    for key in ["uid", "generation", "resourceVersion", "creationTimestamp", "managedFields"] {
        manifest["metadata"].as_object_mut().expect("an object").remove(key);
    }
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(manifest.to_string());
    object
}

/// What the API server sends for an object that is created, or updated from an old one.
pub fn review(object: &Value, old: Option<&Value>) -> Value {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let resource = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource,
            "requestKind": kind, "requestResource": resource, "name": "llama", "namespace": "nim",
            "operation": operation, "userInfo": {"username": "ana", "groups": ["system:authenticated"]},
            "object": object, "oldObject": old, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl"},
        },
    })
}
