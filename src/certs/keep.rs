//! Keep Secret and bundle as [`next_step`] wants them, while the lease is held.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use futures::stream::{Stream, StreamExt, select, unfold};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::rotate::{Bundle, Lives, Step, next_step, written};
use super::secret::State;
use super::{bundles, tell_expiry, unannotated, watched};
use crate::lease::Leadership;
use crate::remote::{CallError, Resource, Verb};
use crate::telemetry::Metrics;
use crate::writer::Writer;

const CALL_DEADLINE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Settings {
    pub namespace: String,
    pub secret: String,
    pub webhook_configuration: String,
    /// The names that the API server dials: `SERVICE.NAMESPACE.svc`.
    pub dns_names: Vec<String>,
    pub lives: Lives,
    /// How long to trust the watches before looking again.
    pub check_every: Duration,
}

/// Makes and renews the certificates until shutdown, whenever the lease is held.
pub async fn keep(
    client: kube::Client,
    metrics: Metrics,
    settings: Settings,
    images: watch::Receiver<Vec<String>>,
    mut leadership: Leadership,
    mut shutdown: watch::Receiver<bool>,
) {
    let keeper = Keeper {
        secrets: Api::namespaced(client.clone(), &settings.namespace),
        configurations: Api::all(client),
        // On these objects it applies nothing else: an apply drops what it no longer states.
        writer: Writer::new(metrics.calls.clone(), leadership.clone()),
        metrics,
        settings,
        images,
    };
    loop {
        let term = async {
            if leadership.is_held() {
                tokio::select! {
                    biased;
                    () = leadership.until_lost() => {}
                    () = keeper.work() => {}
                }
            } else {
                leadership.changed().await;
            }
        };
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|asked| *asked) => return,
            () = term => {}
        }
    }
}

struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    metrics: Metrics,
    settings: Settings,
    /// The image patterns of policies that attach what is not annotated.
    images: watch::Receiver<Vec<String>>,
    writer: Writer,
}

/// What one process remembers between two looks.
#[derive(Default)]
struct Memory {
    bundles: Option<(Vec<Vec<u8>>, Instant)>,
    /// When it last made a CA: whoever keeps damaging the Secret gets no new one at his own pace.
    made_authority: Option<Instant>,
}

impl Keeper {
    /// Looks, writes, looks again; never ends.
    async fn work(&self) {
        let mut changes = std::pin::pin!(self.changes());
        let mut memory = Memory::default();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.pass(&mut memory).await {
                Ok(None) => pause = FIRST_PAUSE,
                Ok(Some(rest)) => {
                    pause = FIRST_PAUSE;
                    // A rest ends when something changes; its length is no reason to spin.
                    let rest = rest.clamp(Duration::from_millis(100), self.settings.check_every);
                    let _ = timeout(rest, changes.next()).await;
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "failed to keep the webhook's certificates");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn changes(&self) -> impl Stream<Item = ()> + use<> {
        let images = unfold(self.images.clone(), |mut images| async move {
            images.changed().await.ok()?;
            Some(((), images))
        });
        let secret = watched(self.secrets.clone(), &self.settings.secret).map(|_| ());
        let configuration = watched(self.configurations.clone(), &self.settings.webhook_configuration).map(|_| ());
        select(select(secret, configuration), images)
    }

    /// One look and at most one write; how long to rest where there was none.
    async fn pass(&self, memory: &mut Memory) -> anyhow::Result<Option<Duration>> {
        let Settings { dns_names, lives, .. } = &self.settings;
        let secret = self.read(Resource::Secrets, &self.secrets, &self.settings.secret).await?;
        let configuration = &self.settings.webhook_configuration;
        let configuration = self.read(Resource::WebhookConfigurations, &self.configurations, configuration).await?;
        let state = secret.as_ref().map(State::read).unwrap_or_default();
        tell_expiry(&state, &self.metrics.certificates);

        let now = Instant::now();
        let entries = bundles(configuration.as_ref());
        let since = match memory.bundles.take() {
            Some((before, since)) if before == entries => since,
            Some(_) | None => now,
        };
        let step = {
            let bundle = Bundle { entries: &entries, age: now.duration_since(since) };
            next_step(&state, &bundle, dns_names, lives, SystemTime::now())
        };
        memory.bundles = Some((entries, since));
        match &step {
            Step::Rest { at_most } => {
                let unlike = configuration.filter(|there| !self.has_unannotated(there));
                let Some(configuration) = unlike else { return Ok(Some(*at_most)) };
                let bundle = bundles(Some(&configuration)).into_iter().next().unwrap_or_default();
                self.publish(&configuration, &bundle).await?;
            }
            Step::Publish { bundle } => {
                // Nothing is published while there is no configuration: such a step does not come up.
                let Some(configuration) = configuration else { return Ok(None) };
                self.publish(&configuration, bundle).await?;
            }
            Step::Authority { .. } => {
                let waits = memory.made_authority.map(|made| lives.settling().saturating_sub(made.elapsed()));
                if let Some(wait) = waits.filter(|wait| !wait.is_zero()) {
                    return Ok(Some(wait));
                }
                memory.made_authority = Some(now);
                self.store(secret.as_ref(), &written(&step, &state, dns_names, lives, SystemTime::now())?).await?;
            }
            Step::Leaf | Step::Forget => {
                self.store(secret.as_ref(), &written(&step, &state, dns_names, lives, SystemTime::now())?).await?;
            }
        }
        tracing::info!(step = step.name(), "the webhook's certificates took a step");
        Ok(None)
    }

    /// Whether the webhook for unannotated workloads is as the policies ask.
    fn has_unannotated(&self, configuration: &MutatingWebhookConfiguration) -> bool {
        unannotated::is_there(configuration.webhooks.as_deref().unwrap_or_default(), &self.images.borrow())
    }

    async fn read<K>(&self, resource: Resource, api: &Api<K>, name: &str) -> anyhow::Result<Option<K>>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        match self.metrics.calls.make(Verb::Get, resource, CALL_DEADLINE, api.get(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(CallError::NotFound(_)) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {name}")),
        }
    }

    /// Compares and swaps the Secret; the first write creates it.
    async fn store(&self, found: Option<&Secret>, state: &State) -> anyhow::Result<()> {
        let name = &self.settings.secret;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata(name, found.and_then(|secret| secret.metadata.resource_version.as_deref())),
            "data": state.data(),
        });
        self.writer.apply(Resource::Secrets, &self.secrets, &secret).await.map(drop)
    }

    /// Writes the bundle to every webhook of the configuration, and of the webhook for unannotated workloads all.
    async fn publish(&self, found: &MutatingWebhookConfiguration, bundle: &[u8]) -> anyhow::Result<()> {
        let name = &self.settings.webhook_configuration;
        let bundle = k8s_openapi::ByteString(bundle.to_vec());
        let there = found.webhooks.as_deref().unwrap_or_default();
        let entry = |name: &String| json!({"name": name, "clientConfig": {"caBundle": bundle}});
        let installed = there.iter().filter(|webhook| !unannotated::is_unannotated(&webhook.name));
        let mut webhooks: Vec<Value> = installed.map(|webhook| entry(&webhook.name)).collect();
        if let Some(mut webhook) = unannotated::webhook(there, &self.images.borrow()) {
            webhook.client_config.ca_bundle = Some(bundle.clone());
            webhooks.push(serde_json::to_value(webhook)?);
        }
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": metadata(name, found.metadata.resource_version.as_deref()),
            "webhooks": webhooks,
        });
        self.writer.apply(Resource::WebhookConfigurations, &self.configurations, &configuration).await.map(drop)
    }
}

fn metadata(name: &str, version: Option<&str>) -> Value {
    match version {
        Some(version) => json!({"name": name, "resourceVersion": version}),
        None => json!({"name": name}),
    }
}
