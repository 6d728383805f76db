//! An admission server that allows everything and counts what it is asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::post;

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub struct Admission {
    /// The certificate that signed the server's own, as PEM.
    pub ca: String,
    calls: Arc<AtomicU32>,
    // Dropping it stops the server.
    _runtime: Runtime,
}

impl Admission {
    /// Serves `POST /mutate` for a host on port 8443 of each address.
    pub fn start(host: &str, addresses: &[IpAddr]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let calls = Arc::new(AtomicU32::new(0));
        let (ca, config) = certificates(host);
        for address in addresses {
            let router = Router::new().route("/mutate", post(allow)).with_state(Arc::clone(&calls));
            let server = axum_server::bind_rustls(SocketAddr::new(*address, 8443), config.clone());
            runtime.spawn(async move { server.serve(router.into_make_service()).await.expect("it serves") });
        }
        Self { ca, calls, _runtime: runtime }
    }

    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn allow(State(calls): State<Arc<AtomicU32>>, review: String) -> String {
    calls.fetch_add(1, Ordering::Relaxed);
    let review: Value = serde_json::from_str(&review).unwrap_or_default();
    let response = json!({"uid": review["request"]["uid"], "allowed": true});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string()
}

fn certificates(host: &str) -> (String, RustlsConfig) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&authority_key).expect("a certificate").pem();
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([host.to_owned()]).expect("a host name");
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("they belong together");
    (ca, RustlsConfig::from_config(Arc::new(config)))
}
