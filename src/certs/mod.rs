//! The certificates of the webhook: the lease holder keeps them, every webhook follows.
//!
//! ```text
//! keep: Secret, webhook configuration --next_step--> one write --> look again
//! follow: Secret --> the certificate that is served; with the webhook configuration: does the API server trust it?
//! ```

mod chain;
mod follow;
mod issue;
mod keep;
mod rotate;
mod secret;
mod unannotated;

use std::fmt::Debug;

use futures::stream::{Stream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use serde::de::DeserializeOwned;

pub use follow::{Checks, Followed, follow};
pub use keep::{Settings, keep};
pub use rotate::Lives;

use crate::telemetry::{CertificateExpiry, CertificateKind};
use chain::certificates;
use secret::State;

/// One object by name, again whenever it changes; `None` while there is none. A broken watch starts again by itself.
fn watched<K>(api: Api<K>, name: &str) -> impl Stream<Item = Option<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_object(api, name).default_backoff().filter_map(async |seen| match seen {
        Ok(object) => Some(object),
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::warn!(error = format!("{error:#}"), "failed to watch");
            None
        }
    })
}

/// The `caBundle` of each webhook, empty where there is none.
fn bundles(configuration: Option<&MutatingWebhookConfiguration>) -> Vec<Vec<u8>> {
    let webhooks = configuration.and_then(|configuration| configuration.webhooks.as_deref()).unwrap_or_default();
    let bundle = |bundle: &Option<k8s_openapi::ByteString>| bundle.clone().map(|bundle| bundle.0).unwrap_or_default();
    webhooks.iter().map(|webhook| bundle(&webhook.client_config.ca_bundle)).collect()
}

/// Says when the certificates of the Secret end.
fn tell_expiry(state: &State, expiry: &CertificateExpiry) {
    for (kind, pem) in [(CertificateKind::Ca, &state.ca), (CertificateKind::Leaf, &state.leaf)] {
        if let Some(certificate) = certificates(pem).first() {
            expiry.set(kind, certificate.ends());
        }
    }
}

#[cfg(test)]
mod tests;
