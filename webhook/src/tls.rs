//! Hold the certificate that is served: swapped without a restart, and without a connection that fails.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificate of the webhook. Handshakes that began keep what they began with.
#[derive(Debug, Default)]
pub struct Certificates(ArcSwapOption<CertifiedKey>);

/// Why a certificate is not served. What was served before still is.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate chain is not PEM: {0}")]
    Chain(#[source] pem::Error),
    #[error("the certificate chain is empty")]
    NoCertificate,
    #[error("the key is not PEM: {0}")]
    Key(#[source] pem::Error),
    #[error("the key does not serve the certificate: {0}")]
    Pair(#[source] rustls::Error),
}

impl Certificates {
    /// No certificate yet: every handshake fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a certificate, the leaf first, from the next handshake on.
    pub fn set(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
        let chain = chain.map_err(TlsError::Chain)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(TlsError::Key)?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Pair)?;
        self.0.store(Some(Arc::new(pair)));
        Ok(())
    }

    pub fn is_loaded(&self) -> bool {
        self.0.load().is_some()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// TLS 1.2 and 1.3 with HTTP/1.1, which is what the API server speaks to a Service.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The API server keeps connections, and resumes no session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_served_leaves_what_is() {
        let (certificates, (chain, key)) = (Certificates::new(), pair());
        assert!(!certificates.is_loaded());
        certificates.set(chain.as_bytes(), key.as_bytes()).expect("a pair");
        let served = certificates.0.load_full();
        let (_, other) = pair();
        assert!(matches!(certificates.set(chain.as_bytes(), other.as_bytes()), Err(TlsError::Pair(_))));
        assert!(matches!(certificates.set(b"", key.as_bytes()), Err(TlsError::NoCertificate)));
        assert!(matches!(certificates.set(chain.as_bytes(), b""), Err(TlsError::Key(_))));
        let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(matches!(certificates.set(broken, key.as_bytes()), Err(TlsError::Chain(_))));
        let still = certificates.0.load_full();
        assert!(certificates.is_loaded() && served.zip(still).is_some_and(|(a, b)| Arc::ptr_eq(&a, &b)));
    }
}
