//! Lease, keeper and follower on a real API server, with the rights of the manifests' roles and no other.

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use kube::config::{KubeConfigOptions, Kubeconfig};
use nimscale_ground::{Ground, Options, eventually, inside};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::chain::bundle_matches;
use super::{Checks, Followed, Lives, Settings, follow, keep};
use crate::admin::Readiness;
use crate::lease::{self, Leadership};
use crate::telemetry::Metrics;

const NAMESPACE: &str = "nimscale-system";
const SECRET: &str = "nimscale-webhook-tls";
const SECOND: Duration = Duration::from_secs(1);

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: nimscale-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: nimscale-controller, namespace: nimscale-system}
rules:
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [nimscale-webhook-tls]
  verbs: [get, list, watch, patch, create]
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [nimscale], verbs: [get, patch, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nimscale-controller}
rules:
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingwebhookconfigurations]
  resourceNames: [nimscale]
  verbs: [get, list, watch, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: nimscale-controller, namespace: nimscale-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: nimscale-controller}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: nimscale-controller}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nimscale-controller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nimscale-controller}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: nimscale-controller}]
"#;

const CONFIGURATION: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: nimscale}
webhooks:
- name: workloads.nimscale.dev
  clientConfig: {service: {namespace: nimscale-system, name: nimscale-webhook, path: /mutate}}
  failurePolicy: Ignore
  sideEffects: None
  timeoutSeconds: 3
  admissionReviewVersions: [v1]
  rules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]
- name: more.nimscale.dev
  clientConfig: {service: {namespace: nimscale-system, name: nimscale-webhook, path: /more}}
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
"#;

/// A controller's part: it stands for a lease and keeps the certificates while it holds it.
struct Controller {
    leadership: Leadership,
    tasks: Vec<JoinHandle<()>>,
    shutdown: watch::Sender<bool>,
}

impl Controller {
    fn start(runtime: &Runtime, ground: &Ground, identity: &str) -> Self {
        let _inside = runtime.enter();
        let client = runtime.block_on(client(ground));
        let metrics = Metrics::register(&mut Registry::default());
        let (shutdown, receiver) = watch::channel(false);
        let lease = lease::Settings {
            namespace: NAMESPACE.into(),
            name: "nimscale".into(),
            identity: identity.into(),
            duration: 3 * SECOND,
            retry: SECOND / 2,
        };
        let (leadership, task) = lease::run(client.clone(), metrics.calls.clone(), lease, receiver.clone());
        let settings = Settings {
            namespace: NAMESPACE.into(),
            secret: SECRET.into(),
            webhook_configuration: "nimscale".into(),
            dns_names: vec!["nimscale-webhook.nimscale-system.svc".into()],
            lives: Lives::new(30 * SECOND, 24 * SECOND),
            check_every: SECOND,
        };
        let keeper =
            runtime.spawn(keep(client, metrics, settings, watch::channel(Vec::new()).1, leadership.clone(), receiver));
        Self { leadership, tasks: vec![task, keeper], shutdown }
    }

    /// As a killed process: no word to anybody.
    fn kill(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What a webhook serves.
#[derive(Clone, Default)]
struct Served(Arc<Mutex<Vec<Vec<u8>>>>);

impl Served {
    fn chains(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().expect("no holder panics")
    }

    fn start(runtime: &Runtime, ground: &Ground) -> (Self, Checks, watch::Sender<bool>) {
        let client = runtime.block_on(client(ground));
        let mut readiness = Readiness::default();
        let checks =
            Checks { loaded: readiness.check("certificate loaded"), trusted: readiness.check("bundle matches") };
        let (shutdown, receiver) = watch::channel(false);
        let followed =
            Followed { namespace: NAMESPACE.into(), secret: SECRET.into(), webhook_configuration: "nimscale".into() };
        let served = Self::default();
        let install = {
            let served = served.clone();
            move |chain: &[u8], _key: &[u8]| {
                served.chains().push(chain.to_vec());
                Ok(())
            }
        };
        let expiry = Metrics::default().certificates;
        runtime.spawn(follow(client, followed, expiry, install, checks.clone(), receiver));
        (served, checks, shutdown)
    }
}

async fn client(ground: &Ground) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(ground.kubeconfig()).expect("the ground wrote it");
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the ground wrote it");
    config.auth_info.impersonate = Some("nimscale-controller".into());
    kube::Client::try_from(config).expect("the crypto provider is installed")
}

fn bundles(ground: &Ground) -> Vec<Vec<u8>> {
    let stored = ground.get("mutatingwebhookconfiguration", "", "nimscale");
    let configuration = serde_json::from_value(stored).expect("the API's own type");
    super::bundles(Some(&configuration))
}

/// Every leaf that serves is trusted, all the while until something holds.
fn trusted_until(ground: &Ground, served: &Served, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < 60 * SECOND, "{what}");
        let chain = served.chains().last().cloned().expect("something serves");
        for bundle in bundles(ground) {
            assert!(bundle_matches(&bundle, &chain, SystemTime::now()), "not trusted, waiting for: {what}");
        }
        sleep(SECOND / 10);
    }
}

fn data(ground: &Ground, key: &str) -> Value {
    ground.get("secret", NAMESPACE, SECRET)["data"][key].clone()
}

fn holder(ground: &Ground) -> Value {
    ground.get("lease", NAMESPACE, "nimscale")["spec"]["holderIdentity"].clone()
}

#[test]
fn certificates_rotate_on_a_real_api_server_through_the_death_of_their_keeper() {
    let name = "certs::tests::certificates_rotate_on_a_real_api_server_through_the_death_of_their_keeper";
    inside(name, Options::default(), |ground| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        ground.apply(MANIFESTS);
        let runtime = Runtime::new().expect("a runtime");
        let (served, checks, _following) = Served::start(&runtime, ground);
        let [first, second] = ["first", "second"].map(|identity| Controller::start(&runtime, ground, identity));
        eventually("one leads", || first.leadership.is_held() || second.leadership.is_held());
        eventually("a leaf serves before there is a configuration", || checks.loaded.is_met());
        assert!(!checks.trusted.is_met());
        ground.apply(CONFIGURATION);
        eventually("the bundle matches", || checks.trusted.is_met());

        let authority = data(ground, "ca.crt");
        trusted_until(ground, &served, "a new CA", || data(ground, "ca.crt") != authority);
        assert!(data(ground, "ca-previous.crt").is_string(), "the old one is carried over");
        let leaves = served.chains().len();
        trusted_until(ground, &served, "a leaf of the new CA", || served.chains().len() > leaves);

        assert!(first.leadership.is_held() != second.leadership.is_held(), "one writes");
        let (leader, other) = if first.leadership.is_held() { (first, second) } else { (second, first) };
        let before = holder(ground);
        leader.kill();
        let leaves = served.chains().len();
        trusted_until(ground, &served, "the other takes over", || other.leadership.is_held());
        assert_ne!(holder(ground), before);
        trusted_until(ground, &served, "another leaf", || served.chains().len() > leaves);

        // Somebody empties the Secret: what serves goes on until what is new is trusted.
        let leaves = served.chains().len();
        let emptied = json!({"data": null}).to_string();
        let patch = ["patch", "secret", SECRET, "-n", NAMESPACE, "--type=merge", "-p", &emptied];
        assert!(ground.kubectl(&patch, "").accepted);
        trusted_until(ground, &served, "a leaf after the damage", || served.chains().len() > leaves);

        owned_is_the_bundle_alone(ground);
        other.shutdown.send_replace(true);
        eventually("the lease is released", || holder(ground) == json!(""));
        assert!(!other.leadership.is_held());
        for task in other.tasks {
            runtime.block_on(task).expect("no panic");
        }
    });
}

fn owned_is_the_bundle_alone(ground: &Ground) {
    let shown = ["get", "mutatingwebhookconfiguration", "nimscale", "-o", "json", "--show-managed-fields"];
    let stored: Value = serde_json::from_str(&ground.kubectl(&shown, "").out).expect("JSON");
    let managers = stored["metadata"]["managedFields"].as_array().expect("there are some");
    let ours = managers.iter().find(|entry| entry["manager"] == "nimscale-controller").expect("it wrote");
    let own = json!({".": {}, "f:name": {}, "f:clientConfig": {"f:caBundle": {}}});
    let webhooks = json!({"k:{\"name\":\"workloads.nimscale.dev\"}": own, "k:{\"name\":\"more.nimscale.dev\"}": own});
    assert_eq!(ours["fieldsV1"], json!({"f:webhooks": webhooks}));
    assert_eq!(stored["webhooks"][0]["timeoutSeconds"], 3, "what others stated stays");
    assert_eq!(stored["webhooks"][0]["clientConfig"]["service"]["path"], "/mutate");
}
