//! Publish the rules: keep our ConfigMap, roll the adapter, and take back what does not work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use nimscale_rules::emit::adapter::{CONFIG_KEY, CONFIG_MAP};
use nimscale_rules::emit::base::PREFIX;
use nimscale_rules::platform::Platform;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::metrics::Metrics;
use super::roll::{Adapter, Memory, Next, Observed, Step, Timing, Trouble, Wanted, next, own_rules, trouble};
use super::served::{self, Answer};
use crate::hpa::FIELD_MANAGER;
use crate::lease::Leadership;
use crate::prometheus::Prometheus;
use crate::watch::{Seen, named, watch};

/// Where our own memory of the adapter's config is kept.
pub const STATE_MAP: &str = "nimscale-adapter-state";
const GOOD: &str = "good.yaml";
const IMPORTED: &str = "imported.yaml";
const ROLLED_AT: &str = "rolled-at";

/// The annotation of the adapter's pod template that makes it roll: a key outside of our domain, as a chart's own.
pub const CHECKSUM: &str = "checksum/nimscale-config";

/// No call may hang a loop.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the API services are looked at when nothing else happens.
const ROUTES_EVERY: Duration = Duration::from_secs(300);

/// Where the adapter is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub namespace: String,
    pub deployment: String,
    /// The Service that the API services must name.
    pub service: String,
    /// Asked before a roll, and about what is missing after it.
    pub prometheus: Option<Prometheus>,
    pub timing: Timing,
}

/// What the adapter serves of ours, by the last proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub rules: BTreeSet<String>,
    pub left_out: BTreeSet<String>,
    pub trouble: Option<Trouble>,
}

/// Keeps the adapter's config while the lease is held.
pub async fn keep(
    client: Client,
    settings: Settings,
    platform: Platform,
    metrics: Metrics,
    wanted: watch::Receiver<Option<Wanted>>,
    published: watch::Sender<Published>,
    leadership: Leadership,
) {
    let mut keeper = Keeper {
        maps: Api::namespaced(client.clone(), &settings.namespace),
        deployments: Api::namespaced(client.clone(), &settings.namespace),
        client,
        settings,
        platform,
        metrics,
        observed: Observed::default(),
        versions: BTreeMap::new(),
        memory: Memory::default(),
        listed_before: None,
        routes: None,
        published,
        leadership,
    };
    keeper.run(wanted).await;
}

struct Keeper {
    client: Client,
    maps: Api<ConfigMap>,
    deployments: Api<Deployment>,
    settings: Settings,
    platform: Platform,
    metrics: Metrics,
    observed: Observed,
    /// The resource versions of our maps: a write meets nobody else's.
    versions: BTreeMap<&'static str, String>,
    memory: Memory,
    /// The foreign names that were listed before the roll on trial.
    listed_before: Option<BTreeSet<String>>,
    routes: Option<(tokio::time::Instant, Result<(), Trouble>)>,
    published: watch::Sender<Published>,
    leadership: Leadership,
}

/// What a watch of this loop has told.
enum Change {
    Config(Option<ConfigMap>),
    State(Option<ConfigMap>),
    Adapter(Option<Box<Deployment>>),
}

impl Keeper {
    async fn run(&mut self, mut wanted: watch::Receiver<Option<Wanted>>) {
        fn one<T>(seen: Seen<T>) -> Option<T> {
            match seen {
                Seen::All(all) => all.into_iter().next(),
                Seen::Applied(one) => Some(one),
                Seen::Gone(_) => None,
            }
        }
        let config = watch(self.maps.clone(), named(CONFIG_MAP), |map| map).map(|seen| Change::Config(one(seen)));
        let state = watch(self.maps.clone(), named(STATE_MAP), |map| map).map(|seen| Change::State(one(seen)));
        let adapter = watch(self.deployments.clone(), named(&self.settings.deployment), Box::new)
            .map(|seen| Change::Adapter(one(seen)));
        let mut changes = futures::stream::select_all([config.boxed(), state.boxed(), adapter.boxed()]);
        let mut known = [false; 3];
        let mut again: Option<Duration> = None;
        loop {
            tokio::select! {
                biased;
                change = changes.next() => match change {
                    Some(change) => self.see(change, &mut known),
                    None => return,
                },
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // What comes together is written together.
                    sleep(self.settings.timing.settle).await;
                }
                () = self.leadership.changed() => self.memory = Memory::default(),
                () = sleep(again.unwrap_or(ROUTES_EVERY)) => {}
            }
            again = None;
            let rules = wanted.borrow_and_update().clone();
            let Some(rules) = rules.filter(|_| known.iter().all(|known| *known) && self.leadership.is_held()) else {
                continue;
            };
            match self.step(&rules).await {
                Ok(wait) => again = wait,
                Err(error) => {
                    self.metrics.sync_errors.inc();
                    tracing::warn!(error = format!("{error:#}"), "the adapter's config was not kept");
                    again = Some(Duration::from_secs(2));
                }
            }
        }
    }

    fn see(&mut self, change: Change, known: &mut [bool; 3]) {
        let text =
            |map: &Option<ConfigMap>, key: &str| map.as_ref().and_then(|map| map.data.as_ref()?.get(key).cloned());
        let version = |map: &Option<ConfigMap>| map.as_ref().and_then(ResourceExt::resource_version);
        match change {
            Change::Config(map) => {
                known[0] = true;
                self.observed.config = text(&map, CONFIG_KEY);
                self.set_version(CONFIG_MAP, version(&map));
            }
            Change::State(map) => {
                known[1] = true;
                self.observed.good = text(&map, GOOD);
                self.observed.imported = text(&map, IMPORTED);
                self.observed.rolled_at = text(&map, ROLLED_AT).and_then(|at| at.parse().ok());
                self.set_version(STATE_MAP, version(&map));
            }
            Change::Adapter(deployment) => {
                known[2] = true;
                self.observed.adapter = deployment.as_deref().map(adapter);
            }
        }
    }

    fn set_version(&mut self, map: &'static str, version: Option<String>) {
        match version {
            Some(version) => self.versions.insert(map, version),
            None => self.versions.remove(map),
        };
    }

    /// One step, and when to look again.
    async fn step(&mut self, wanted: &Wanted) -> anyhow::Result<Option<Duration>> {
        let timing = self.settings.timing;
        let now = Timestamp::now();
        let Next { step, trouble, left_out } =
            next(wanted, &self.observed, &mut self.memory, &timing, &self.platform, now);
        self.publish(&left_out, trouble).await;
        match step {
            Step::Wait(wait) => Ok(wait),
            Step::Import => self.import().await,
            Step::Write { text, roll } => {
                if roll && let Some(wait) = self.not_now().await {
                    return Ok(Some(wait));
                }
                let canary = roll.then(|| canary(&text)).flatten();
                self.write_config(&text).await?;
                match canary {
                    Some(canary) => self.roll(&canary).await,
                    None => Ok(Some(timing.poll)),
                }
            }
            Step::Roll { canary } => self.roll(&canary).await,
            Step::Try { canary } => self.try_out(&canary).await,
            Step::Restore { text } => {
                tracing::error!("a roll of the adapter failed; the last good config returns");
                let quarantined: Vec<&String> = self.memory.quarantine.keys().collect();
                self.memory.failure = Some(format!("adapter roll failed ({} rules held back)", quarantined.len()));
                self.write_config(&text).await?;
                match canary(&text) {
                    Some(canary) => self.roll(&canary).await,
                    None => Ok(Some(timing.poll)),
                }
            }
        }
    }

    async fn publish(&mut self, left_out: &BTreeSet<String>, trouble: Option<Trouble>) {
        let routes = self.routes().await;
        let trouble = trouble.or(routes.err());
        let reads_ours =
            self.observed.adapter.as_ref().is_some_and(|adapter| adapter.reads.as_deref() == Some(CONFIG_MAP));
        // What is on trial counts once it is proved; until then what was proved before is what serves.
        let rules = self.observed.good.as_deref().filter(|_| reads_ours).map(own_rules).unwrap_or_default();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.rules.set(count(rules.len()));
        self.metrics.config_bytes.set(count(self.observed.config.as_ref().map_or(0, String::len)));
        self.published.send_if_modified(|published| {
            let new = Published { rules, left_out: left_out.clone(), trouble };
            let changed = *published != new;
            *published = new;
            changed
        });
    }

    /// Takes over what the adapter runs with, once.
    async fn import(&mut self) -> anyhow::Result<Option<Duration>> {
        let adapter = self.observed.adapter.as_ref().context("there is an adapter to import from")?;
        let name = adapter.reads.clone().context("the adapter mounts no ConfigMap for its --config")?;
        let map = timeout(TIMEOUT, self.maps.get(&name)).await?;
        let map = map.with_context(|| format!("failed to read the adapter's ConfigMap {name}"))?;
        let text = map.data.and_then(|mut data| data.remove(CONFIG_KEY)).unwrap_or_default();
        tracing::info!(config_map = name, bytes = text.len(), "imported the adapter's config");
        self.write_state(json!({IMPORTED: text})).await?;
        Ok(Some(self.settings.timing.poll))
    }

    async fn write_config(&mut self, text: &str) -> anyhow::Result<()> {
        let version = self.versions.get(CONFIG_MAP).cloned();
        let map = self.write(CONFIG_MAP, json!({CONFIG_KEY: text}), version).await?;
        self.memory.written = Some(text.to_owned());
        self.observed.config = Some(text.to_owned());
        self.set_version(CONFIG_MAP, map.resource_version());
        tracing::info!(bytes = text.len(), "wrote the adapter's config");
        Ok(())
    }

    /// Adds keys to our memory; the keys that are there stay.
    async fn write_state(&mut self, keys: serde_json::Value) -> anyhow::Result<()> {
        let mut data = json!({});
        let rolled_at = self.observed.rolled_at.map(|at| at.to_string());
        for (key, value) in [(GOOD, &self.observed.good), (IMPORTED, &self.observed.imported), (ROLLED_AT, &rolled_at)]
        {
            if let Some(value) = value {
                data[key] = value.as_str().into();
            }
        }
        for (key, value) in keys.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        let map = self.write(STATE_MAP, data, self.versions.get(STATE_MAP).cloned()).await?;
        self.see(Change::State(Some(map)), &mut [false; 3]);
        Ok(())
    }

    /// Server-side apply by name is all that the rights allow; the resource version makes it meet nobody else's write.
    async fn write(&self, name: &str, data: serde_json::Value, version: Option<String>) -> anyhow::Result<ConfigMap> {
        anyhow::ensure!(self.leadership.is_held(), "the lease was lost");
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        if let Some(version) = version {
            map["metadata"]["resourceVersion"] = version.into();
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = timeout(TIMEOUT, self.maps.patch(name, &params, &Patch::Apply(&map))).await?;
        written.with_context(|| format!("failed to write the ConfigMap {name}"))
    }

    /// Before a roll what serves now must answer: a roll into a broken Prometheus proves nothing, and takes the list of
    /// metrics that the old pod still has.
    async fn not_now(&mut self) -> Option<Duration> {
        const WAIT: Duration = Duration::from_secs(10);
        if let Some(prometheus) = &self.settings.prometheus
            && !prometheus.answers().await
        {
            self.tell(trouble(
                "PrometheusUnreachable",
                "NS0515: Prometheus does not answer: the adapter is not rolled",
            ));
            return Some(WAIT.min(self.settings.timing.poll * 5));
        }
        let serving = self.observed.good.as_deref().and_then(canary)?;
        match served::of_namespace(&self.client, &self.settings.namespace, &serving).await {
            Answer::Value => None,
            Answer::Empty | Answer::Unknown | Answer::Failed => {
                self.tell(trouble(
                    "AdapterSilent",
                    "NS0512: the adapter does not answer for what it has: it is not rolled",
                ));
                Some(WAIT.min(self.settings.timing.poll * 5))
            }
        }
    }

    fn tell(&self, trouble: Trouble) {
        self.published.send_if_modified(|published| {
            let changed = published.trouble.as_ref() != Some(&trouble);
            published.trouble = Some(trouble);
            changed
        });
    }

    async fn roll(&mut self, canary: &str) -> anyhow::Result<Option<Duration>> {
        anyhow::ensure!(self.leadership.is_held(), "the lease was lost");
        self.listed_before = served::listed(&self.client).await.map(foreign);
        let roll = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.settings.deployment},
            "spec": {"template": {"metadata": {"annotations": {CHECKSUM: canary}}}},
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let roll = Patch::Apply(&roll);
        let rolled = self.deployments.patch(&self.settings.deployment, &params, &roll);
        let rolled = timeout(TIMEOUT, rolled).await?.context("failed to roll the adapter")?;
        self.observed.adapter = Some(adapter(&rolled));
        self.memory.on_trial = None;
        self.metrics.rolls.inc();
        tracing::info!(canary, "rolled the adapter");
        self.write_state(json!({ROLLED_AT: Timestamp::now().to_string()})).await?;
        Ok(Some(self.settings.timing.poll))
    }

    /// Sees whether the adapter has loaded a config, and serves what it served before.
    async fn try_out(&mut self, canary: &str) -> anyhow::Result<Option<Duration>> {
        let timing = self.settings.timing;
        let again = Ok(Some(timing.poll));
        let Some(adapter) = self.observed.adapter.clone() else { return again };
        if !adapter.rolled_out {
            return again;
        }
        if served::of_namespace(&self.client, &self.settings.namespace, canary).await != Answer::Value {
            if adapter.rolled_to.as_deref() != Some(canary) {
                return match super::roll::may_roll(&self.observed, &adapter, &timing, Timestamp::now()) {
                    Ok(None) if self.not_now().await.is_none() => self.roll(canary).await,
                    Ok(wait) => Ok(Some(wait.unwrap_or(timing.poll))),
                    Err(trouble) => {
                        self.tell(trouble);
                        again
                    }
                };
            }
            // Time in which Prometheus is away is nobody's failure.
            if let Some(prometheus) = &self.settings.prometheus
                && !prometheus.answers().await
            {
                self.memory.on_trial = Some((canary.to_owned(), Timestamp::now()));
            }
            return again;
        }
        if !self.lists_what_it_listed().await {
            return again;
        }
        let text = self.observed.config.clone().context("what is on trial was written")?;
        self.memory.failure = None;
        self.memory.on_trial = None;
        self.listed_before = None;
        self.write_state(json!({GOOD: text})).await?;
        tracing::info!(canary, "the adapter serves the config");
        Ok(Some(Duration::ZERO))
    }

    /// At least the foreign names that were listed before; of those that are missing, Prometheus must have no series:
    /// names come and go with what people run.
    async fn lists_what_it_listed(&self) -> bool {
        let (Some(before), Some(prometheus)) = (&self.listed_before, &self.settings.prometheus) else { return true };
        let Some(now) = served::listed(&self.client).await.map(foreign) else { return false };
        for missing in before.difference(&now) {
            if prometheus.has_series(missing).await {
                tracing::warn!(metric = missing, "a foreign metric is not listed since the roll");
                return false;
            }
        }
        true
    }

    /// Every version of the API that is there must be answered by the configured adapter.
    async fn routes(&mut self) -> Result<(), Trouble> {
        if let Some((at, routes)) = &self.routes
            && routes.is_ok()
            && at.elapsed() < ROUTES_EVERY
        {
            return Ok(());
        }
        let routes = self.find_routes().await;
        self.routes = Some((tokio::time::Instant::now(), routes.clone()));
        routes
    }

    async fn find_routes(&self) -> Result<(), Trouble> {
        let services: Api<APIService> = Api::all(self.client.clone());
        let (mut there, namespace, name) = (false, &self.settings.namespace, &self.settings.service);
        for version in ["v1beta1", "v1beta2"] {
            let object = format!("{version}.custom.metrics.k8s.io");
            let Ok(Ok(service)) = timeout(TIMEOUT, services.get_opt(&object)).await else { continue };
            let Some(service) = service else { continue };
            there = true;
            let routed = service.spec.and_then(|spec| spec.service).unwrap_or_default();
            if routed.namespace.as_ref() != Some(namespace) || routed.name.as_ref() != Some(name) {
                let (namespace, by) = (routed.namespace.unwrap_or_default(), routed.name.unwrap_or_default());
                let message = format!("NS0504: {object} is served by {namespace}/{by}, not by {name}");
                return Err(trouble("AdapterMismatch", &message));
            }
        }
        if there { Ok(()) } else { Err(trouble("AdapterMismatch", "NS0504: nothing serves custom.metrics.k8s.io")) }
    }
}

fn canary(text: &str) -> Option<String> {
    nimscale_rules::emit::base::split(text).ok().and_then(|parts| super::roll::canary_of(&parts))
}

fn foreign(names: BTreeSet<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| !name.starts_with(PREFIX)).collect()
}

/// What counts of the adapter's Deployment.
fn adapter(deployment: &Deployment) -> Adapter {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    let template = spec.template.metadata.unwrap_or_default();
    let replicas = spec.replicas.unwrap_or(1);
    let rolled_out = status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.replicas == Some(replicas)
        && status.available_replicas == Some(replicas);
    let pod = spec.template.spec.unwrap_or_default();
    // The volume behind the folder of `--config`.
    let config = pod.containers.iter().flat_map(|container| {
        let args = container.args.iter().chain(&container.command).flatten();
        let file = args.filter_map(|arg| arg.strip_prefix("--config=")).next();
        let folder = file.and_then(|file| file.rsplit_once('/')).map(|(folder, _)| folder);
        let mounts = container.volume_mounts.iter().flatten();
        mounts.filter(move |mount| Some(mount.mount_path.trim_end_matches('/')) == folder).map(|mount| &mount.name)
    });
    let volume = config.take(1).next();
    let volumes = pod.volumes.iter().flatten();
    let reads = volumes.filter(|one| Some(&one.name) == volume).filter_map(|one| one.config_map.as_ref()).next();
    let strategy = spec.strategy.unwrap_or_default();
    let unavailable = match strategy.rolling_update.and_then(|rolling| rolling.max_unavailable) {
        Some(IntOrString::Int(pods)) => pods,
        // Percentages are rounded down; 25 % is the API's default.
        Some(IntOrString::String(percent)) => {
            percent.trim_end_matches('%').parse::<i32>().unwrap_or(100) * replicas / 100
        }
        None => replicas / 4,
    };
    Adapter {
        reads: reads.map(|source| source.name.clone()),
        keeps_serving: strategy.type_.as_deref() != Some("Recreate") && replicas > unavailable,
        rolled_to: template.annotations.and_then(|mut annotations| annotations.remove(CHECKSUM)),
        rolled_out,
    }
}
