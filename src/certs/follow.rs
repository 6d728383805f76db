//! Serve the certificate of the Secret, and know whether the API server trusts it.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::chain::bundle_matches;
use super::secret::State;
use super::{bundles, tell_expiry, watched};
use crate::admin::Check;
use crate::telemetry::CertificateExpiry;

/// How often to ask again whether the bundle matches: certificates end without an event.
const ASK_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Followed {
    pub namespace: String,
    pub secret: String,
    pub webhook_configuration: String,
}

/// Hands each certificate of the Secret to `install`, and keeps the two checks, until shutdown.
///
/// What cannot be installed is passed over: the certificate before it goes on serving.
pub async fn follow(
    client: kube::Client,
    followed: Followed,
    expiry: CertificateExpiry,
    install: impl Fn(&[u8], &[u8]) -> anyhow::Result<()>,
    checks: Checks,
    mut shutdown: watch::Receiver<bool>,
) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &followed.namespace);
    let mut secrets = std::pin::pin!(watched(secrets, &followed.secret));
    let mut configurations = std::pin::pin!(watched(Api::all(client), &followed.webhook_configuration));
    let mut follower = Follower { install, expiry, checks, served: State::default(), bundles: Vec::new() };
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|asked| *asked) => return,
            Some(secret) = futures::StreamExt::next(&mut secrets) => {
                if let Some(secret) = secret {
                    follower.serve(State::read(&secret));
                }
            }
            Some(configuration) = futures::StreamExt::next(&mut configurations) => {
                follower.bundles = bundles(configuration.as_ref());
            }
            _ = ask.tick() => {}
        }
        follower.check(SystemTime::now());
    }
}

/// What readiness waits for.
#[derive(Clone, Debug)]
pub struct Checks {
    /// A certificate is installed.
    pub loaded: Check,
    /// Every webhook's `caBundle` holds the CA of the certificate that is served.
    pub trusted: Check,
}

struct Follower<F> {
    install: F,
    expiry: CertificateExpiry,
    checks: Checks,
    served: State,
    bundles: Vec<Vec<u8>>,
}

impl<F: Fn(&[u8], &[u8]) -> anyhow::Result<()>> Follower<F> {
    fn serve(&mut self, state: State) {
        let same = (&self.served.leaf, &self.served.leaf_key) == (&state.leaf, &state.leaf_key);
        if same || state.leaf.is_empty() || state.leaf_key.is_empty() {
            return;
        }
        match (self.install)(&state.leaf, &state.leaf_key) {
            Ok(()) => {
                tracing::info!("serving the certificate of the Secret");
                tell_expiry(&state, &self.expiry);
                self.served = state;
                self.checks.loaded.set(true);
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "failed to take the certificate of the Secret"),
        }
    }

    fn check(&self, now: SystemTime) {
        let matches = |bundle: &Vec<u8>| bundle_matches(bundle, &self.served.leaf, now);
        self.checks.trusted.set(!self.bundles.is_empty() && self.bundles.iter().all(matches));
    }
}
