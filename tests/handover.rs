//! No request fails while certificates change and webhooks come and go, though none may pass unasked.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nimscale_ground::product::{installed, options};
use nimscale_ground::{Ground, eventually, inside};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use x509_parser::prelude::{FromDer, X509Certificate};

#[test]
fn no_apply_fails_while_certificates_and_webhooks_change() {
    inside(
        "no_apply_fails_while_certificates_and_webhooks_change",
        options(env!("CARGO_BIN_EXE_nimscale")),
        |ground| {
            let lives = ["--controller-arg", "--ca-life=36s", "--controller-arg", "--leaf-life=15s"];
            installed(ground, &[&["--failure-policy=Fail"], &lives[..]].concat());
            eventually("there are two webhooks", || webhooks(ground).len() == 2);
            let applies = Applies::start(ground);
            rotates(ground);
            let taken = applies.taken();
            replaced(ground);
            let (all, failed) = applies.end();
            println!("{taken} applies while certificates changed, {} while webhooks did", all - taken);
            assert!(taken > 200 && all - taken > 100, "a load: {taken}, {all}");
            assert_eq!(failed, [""; 0]);
        },
    );
}

/// Server-side applies, one after the other on each of some workloads with our keys.
struct Applies {
    runtime: Runtime,
    taken: Arc<AtomicUsize>,
    end: watch::Sender<bool>,
    appliers: Vec<JoinHandle<Vec<String>>>,
}

impl Applies {
    fn start(ground: &Ground) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let kubeconfig = Kubeconfig::read_from(ground.kubeconfig()).expect("the ground has one");
        let (taken, (end, ends)) = (Arc::new(AtomicUsize::new(0)), watch::channel(false));
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            Client::try_from(config.expect("it is one")).expect("a client")
        });
        let api: Api<Deployment> = Api::namespaced(client, "nim");
        let applier = |n: usize| applier(api.clone(), format!("load-{n}"), Arc::clone(&taken), ends.clone());
        let appliers = (0..4).map(|n| runtime.spawn(applier(n))).collect();
        Self { runtime, taken, end, appliers }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many were taken, and what was said of those that were not.
    fn end(self) -> (usize, Vec<String>) {
        self.end.send_replace(true);
        let failed = self.appliers.into_iter().flat_map(|applier| self.runtime.block_on(applier).expect("no panic"));
        let failed = failed.collect();
        (self.taken.load(Ordering::Relaxed), failed)
    }
}

async fn applier(
    api: Api<Deployment>,
    name: String,
    taken: Arc<AtomicUsize>,
    end: watch::Receiver<bool>,
) -> Vec<String> {
    let mut failed = Vec::new();
    let params = PatchParams::apply("load").force();
    for round in 0.. {
        if *end.borrow() {
            break;
        }
        let workload = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "annotations": {"nimscale.dev/scale": "1..2", "round": round.to_string()}},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "nim", "image": "nvcr.io/nim/meta/llama3-8b-instruct:1.0.3"}]},
                },
            },
        });
        match api.patch(&name, &params, &Patch::Apply(&workload)).await {
            Ok(_) => drop(taken.fetch_add(1, Ordering::Relaxed)),
            Err(error) => failed.push(format!("{name} {round}: {error}")),
        }
        sleep(Duration::from_millis(20)).await;
    }
    failed
}

/// The pods of the webhook that run, with their addresses.
fn webhooks(ground: &Ground) -> Vec<(String, String)> {
    let args = ["get", "pods", "-n", "nimscale-system", "-l", "app.kubernetes.io/component=webhook", "-o", "json"];
    let pods: Value = serde_json::from_str(&ground.kubectl(&args, "").out).expect("a list");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = pods["items"].as_array().expect("a list").iter();
    let ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    pods.filter(ready).map(|pod| (text(&pod["metadata"]["name"]), text(&pod["status"]["podIP"]))).collect()
}

/// Leaves and a CA change; at every moment whoever trusts the bundle can talk to every webhook.
fn rotates(ground: &Ground) {
    let (pods, start) = (webhooks(ground), Instant::now());
    let mut serials: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut bundles: BTreeSet<String> = BTreeSet::new();
    while serials.len() < 4 || bundles.len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(120), "{} leaves, {} bundles", serials.len(), bundles.len());
        let stored = ground.get("mutatingwebhookconfiguration", "", "nimscale");
        let bundle = stored["webhooks"][0]["clientConfig"]["caBundle"].as_str().expect("a bundle").to_owned();
        for (pod, address) in &pods {
            serials.insert(serial(address, &bundle).unwrap_or_else(|error| panic!("{pod}: {error}")));
        }
        bundles.insert(bundle);
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(webhooks(ground), pods, "the same pods");
    for (pod, _) in &pods {
        let restarts =
            ground.get("pod", "nimscale-system", pod)["status"]["containerStatuses"][0]["restartCount"].clone();
        assert_eq!(restarts, 0, "{pod}");
    }
}

/// A handshake as the API server's; the serial number of the certificate that is shown.
fn serial(address: &str, bundle: &str) -> Result<Vec<u8>, String> {
    let bundle: ByteString = serde_json::from_value(json!(bundle)).expect("base64");
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&bundle.0) {
        roots.add(authority.expect("PEM")).expect("a CA");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("nimscale-webhook.nimscale-system.svc").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut tcp = TcpStream::connect((address, 8443)).map_err(|error| error.to_string())?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).map_err(|error| error.to_string())?;
    }
    let shown = tls.peer_certificates().expect("it shows one");
    let (_, leaf) = X509Certificate::from_der(&shown[0]).map_err(|error| error.to_string())?;
    Ok(leaf.raw_serial().to_vec())
}

/// One webhook ends by itself, one is taken away, and then all are, one after the other.
fn replaced(ground: &Ground) {
    let before = webhooks(ground);
    ground.terminate("nimscale-system", &before[0].0);
    let ready = |pod: &(String, String)| webhooks(ground).contains(pod);
    eventually("it is not ready while it drains", || !ready(&before[0]));
    eventually("the node has started it again", || ready(&before[0]));
    let taken = ["delete", "pod", &before[1].0, "-n", "nimscale-system", "--wait=false"];
    assert!(ground.kubectl(&taken, "").accepted);
    eventually("another has taken its place", || webhooks(ground).len() == 2 && !ready(&before[1]));
    let before = webhooks(ground);
    for args in [&["rollout", "restart"][..], &["rollout", "status", "--timeout=60s"]] {
        let did = ground.kubectl(&[args, &["deployment/nimscale-webhook", "-n", "nimscale-system"]].concat(), "");
        assert!(did.accepted, "{}", did.err);
    }
    eventually("the old ones have drained", || ground.running("nimscale-system", "nimscale-webhook").len() == 2);
    assert!(!before.iter().any(ready), "all are new");
}
