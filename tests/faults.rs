//! The ground's own faults and counts: each does what it says, on programs that run as pods.

use std::thread::sleep;
use std::time::Duration;

use nimscale_ground::scenario::config;
use nimscale_ground::{Ground, Options, eventually, inside};

/// `kubectl` as the program of pods: one that watches, one that writes once a second.
const CLIENTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: clients}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edit, namespace: clients}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: default, namespace: clients}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: seen, namespace: clients}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: watcher, namespace: clients}
spec:
  selector: {matchLabels: {app: watcher}}
  template:
    metadata: {labels: {app: watcher}}
    spec:
      containers:
      - name: watcher
        image: ground/kubectl
        env: [{name: WHERE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]
        args: [get, configmaps, -n, $(WHERE), -o, name, -w]
"#;

#[test]
fn connections_are_cut_and_programs_killed_and_frozen() {
    inside("connections_are_cut_and_programs_killed_and_frozen", Options::default(), |ground| {
        ground.apply(CLIENTS);
        let touch = |name: &str| {
            assert!(ground.kubectl(&["create", "configmap", name, "-n", "clients"], "").accepted);
        };
        let sees = |name: &str| ground.log("clients", "watcher").contains(&format!("configmap/{name}\n"));
        eventually("the pod's own account reads through the proxy", || sees("seen"));
        assert_eq!(ground.running("clients", "watcher").len(), 1);
        assert!(ground.rss("clients", "watcher") > 1 << 20);

        ground.cut_connections();
        eventually("a watch that is cut ends kubectl, and the node starts it again", || restarts(ground) == 1);
        ground.kill("clients", "watcher");
        eventually("killed, it is started again", || restarts(ground) == 2);
        eventually("it runs", || ground.running("clients", "watcher").len() == 1);

        touch("before");
        eventually("it watches", || sees("before"));
        ground.freeze("clients", "watcher");
        touch("while-frozen");
        sleep(Duration::from_secs(2));
        assert!(!sees("while-frozen"), "a frozen program sees nothing");
        ground.thaw("clients", "watcher");
        eventually("it goes on where it was", || sees("while-frozen"));
        assert_eq!(restarts(ground), 2);

        ground.refuse_connections(true);
        eventually("nothing reaches the API server", || ground.log("clients", "watcher").contains("EOF"));
        touch("during-the-outage");
        ground.refuse_connections(false);
        eventually("it comes back", || sees("during-the-outage"));
    });
}

#[test]
fn writes_are_counted_by_their_user() {
    inside("writes_are_counted_by_their_user", Options::default(), |ground| {
        ground.apply(CLIENTS);
        eventually("the role has rules", || ground.get("clusterrole", "", "edit")["rules"][0].is_object());
        let as_client = ["--as=system:serviceaccount:clients:default", "-n", "clients"];
        let run = |args: &[&str]| ground.kubectl(&[args, &as_client].concat(), "");
        assert!(run(&["create", "configmap", "a"]).accepted);
        assert!(run(&["create", "configmap", "b", "--dry-run=server"]).accepted);
        assert!(run(&["scale", "deployment", "watcher", "--replicas=2"]).accepted);
        assert!(!run(&["create", "namespace", "mine"]).accepted);
        let made = || -> Vec<(String, String, String, u16)> {
            let writes = ground.writes("system:serviceaccount:clients:default").into_iter();
            writes.map(|write| (write.verb, write.resource, write.subresource, write.code)).collect()
        };
        let of = |verb: &str, resource: &str, subresource: &str, code| {
            (verb.to_owned(), resource.to_owned(), subresource.to_owned(), code)
        };
        let expected = [
            of("create", "configmaps", "", 201),
            of("patch", "deployments", "scale", 200),
            of("create", "namespaces", "", 403),
        ];
        eventually("two writes and a refusal", || made() == expected);
        assert!(ground.writes("nobody").is_empty());
        let served = ground.api_metric("apiserver_request_total", &[("resource", "configmaps"), ("verb", "POST")]);
        assert!(served >= 2.0, "{served}");
        assert_eq!(ground.api_metric("apiserver_request_total", &[("resource", "no-such-thing")]), 0.0);
    });
}

/// A server with a port named `metrics`, probed by that name, and a pod of the binary itself.
const SERVERS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: servers}
---
apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: servers}
spec:
  containers:
  - name: store
    image: ground/etcd
    env: [{name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    args:
    - --data-dir=/data/etcd
    - --listen-client-urls=http://$(ADDRESS):2379
    - --advertise-client-urls=http://$(ADDRESS):2379
    - --listen-peer-urls=http://$(ADDRESS):2380
    - --listen-metrics-urls=http://$(ADDRESS):8080
    ports: [{name: metrics, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /health, port: metrics}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: nimscale, namespace: servers}
spec:
  containers: [{name: nimscale, image: ground/nimscale, args: [presets]}]
"#;

#[test]
fn a_program_is_probed_and_scraped_as_its_manifest_says() {
    let options = Options { nimscale: Some(env!("CARGO_BIN_EXE_nimscale")), ..Options::default() };
    inside("a_program_is_probed_and_scraped_as_its_manifest_says", options, |ground| {
        eventually("the pods' account is there", || !ground.get("serviceaccount", "default", "default").is_null());
        ground.apply(SERVERS);
        let ready =
            ground.kubectl(&["wait", "pod/etcd", "-n", "servers", "--for=condition=Ready", "--timeout=30s"], "");
        assert!(ready.accepted, "{}", ready.err);
        eventually("Prometheus scrapes it, with the labels of a PodMonitor", || {
            let up = "up{job=\"servers/store\",namespace=\"servers\",pod=\"etcd\",endpoint=\"metrics\",container=\"store\"} == 1";
            !ground.query(up).is_empty()
        });
        eventually("the binary ran", || ground.log("servers", "nimscale").contains("kv-cache"));
    });
}

/// A foreign rule, as a cluster has it before nimscale comes.
const FOREIGN: &str = "rules:
- seriesQuery: 'kube_pod_info{namespace!=\"\",pod!=\"\"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: foreign}
  metricsQuery: 'max by (<<.GroupBy>>) (kube_pod_info{<<.LabelMatchers>>})'
";

#[test]
fn an_adapter_that_was_there_is_pointed_at_another_config() {
    inside("an_adapter_that_was_there_is_pointed_at_another_config", Options::default(), |ground| {
        ground.install_adapter_with(FOREIGN, 2);
        ground.apply(CLIENTS);
        eventually("two adapters serve the foreign rule", || {
            ground.running("monitoring", "prometheus-adapter").len() == 2
                && !ground.metric("clients", "foreign").is_empty()
        });
        let before = ground.running("monitoring", "prometheus-adapter");
        let watched = ground.never_loses("clients", "foreign");
        let renamed = FOREIGN.replace("as: foreign", "as: renamed");
        ground.apply(&config(&renamed.replace("rules:\n", FOREIGN)));
        ground.point_adapter();
        eventually("the adapters that run read the other config", || {
            let now = ground.running("monitoring", "prometheus-adapter");
            now.len() == 2
                && now.iter().all(|pod| !before.contains(pod))
                && !ground.metric("clients", "renamed").is_empty()
        });
        sleep(Duration::from_secs(3));
        drop(watched);

        ground.stop_prometheus();
        eventually("without Prometheus there is no value", || ground.metric("clients", "foreign").is_empty());
        ground.start_prometheus();
        eventually("with it there is one again", || !ground.metric("clients", "foreign").is_empty());
    });
}

fn restarts(ground: &Ground) -> u64 {
    let pods = ground.kubectl(&["get", "pods", "-n", "clients", "-o", "json"], "").out;
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap_or_default();
    pods["items"][0]["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
}
