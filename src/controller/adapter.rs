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
use kube::api::Api;
use kube::{Client, ResourceExt};
use nimscale_rules::emit::adapter::{CONFIG_KEY, CONFIG_MAP};
use nimscale_rules::emit::base::{Maker, PREFIX, foreign_makers};
use nimscale_rules::findings::Code;
use nimscale_rules::platform::Platform;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::metrics::Metrics;
use super::roll::{
    Adapter, Look, MOST_BYTES, Memory, Next, Observed, Step, Timing, Trouble, Wanted, lasts, own_rules, trouble,
};
use super::served::{self, Answer};
use crate::lease::Leadership;
use crate::prometheus::Prometheus;
use crate::remote::{Resource, Verb};
use crate::watch::{Seen, named, watch};
use crate::writer::Writer;

/// Where our own memory of the adapter's config is kept.
pub const STATE_MAP: &str = "nimscale-adapter-state";
/// Stands for the adapter's Deployment among the versions.
const ADAPTER: &str = "adapter";
const GOOD: &str = "good.yaml";
const IMPORTED: &str = "imported.yaml";
const ROLLED_AT: &str = "rolled-at";
/// What a roll was taken back from: it may hold what others wrote last.
const REFUSED: &str = "refused.yaml";

/// The annotation of the adapter's pod template that makes it roll: a key outside of our domain, as a chart's own.
pub const CHECKSUM: &str = "checksum/nimscale-config";

/// No call may hang a loop.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often everything is looked at when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// How long to wait for what others must put right.
const HINDERED: Duration = Duration::from_secs(10);

/// The versions of the metrics API that there may be.
const API_SERVICES: [&str; 2] = ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"];

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
        observed: Observed::default(),
        refused: None,
        versions: BTreeMap::new(),
        writer: Writer::new(metrics.calls.clone(), leadership.clone()),
        metrics,
        memory: Memory::default(),
        listed_before: None,
        services: BTreeMap::new(),
        hindrance: None,
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
    refused: Option<String>,
    /// The resource versions of our maps, so that a write meets nobody else's, and of the adapter.
    versions: BTreeMap<&'static str, String>,
    memory: Memory,
    /// The foreign names that were listed before the roll on trial.
    listed_before: Option<BTreeSet<String>>,
    /// The API services that there are, and where they lead: namespace and name of a Service.
    services: BTreeMap<&'static str, (String, String)>,
    /// Why what was decided has to wait.
    hindrance: Option<Trouble>,
    published: watch::Sender<Published>,
    leadership: Leadership,
    writer: Writer,
}

/// What a watch of this loop has told.
enum Change {
    Config(Option<ConfigMap>),
    State(Option<ConfigMap>),
    Adapter(Option<Box<Deployment>>),
    Service(usize, Option<APIService>),
}

/// What must have been seen before anything is done.
const SOURCES: usize = 3 + API_SERVICES.len();

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
        let mut streams = vec![config.boxed(), state.boxed(), adapter.boxed()];
        for (i, name) in API_SERVICES.into_iter().enumerate() {
            let services = watch(Api::<APIService>::all(self.client.clone()), named(name), |service| service);
            streams.push(services.map(move |seen| Change::Service(i, one(seen))).boxed());
        }
        let mut changes = futures::stream::select_all(streams);
        let mut known = [false; SOURCES];
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
                () = sleep(again.unwrap_or(LOOK_EVERY)) => {}
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

    /// True for an answer to a former write of ours that a watch brings later than the answer to the last one.
    fn is_stale(&self, what: &'static str, version: Option<&str>) -> bool {
        // They are revisions of etcd, which grow; where they are none, what comes is believed.
        let number = |version: &str| version.parse::<u64>().ok();
        let known = self.versions.get(what).and_then(|known| number(known));
        version.and_then(number).is_some_and(|version| known.is_some_and(|known| version < known))
    }

    fn see(&mut self, change: Change, known: &mut [bool; SOURCES]) {
        let text =
            |map: &Option<ConfigMap>, key: &str| map.as_ref().and_then(|map| map.data.as_ref()?.get(key).cloned());
        let version = |map: &Option<ConfigMap>| map.as_ref().and_then(ResourceExt::resource_version);
        match change {
            Change::Config(map) => {
                known[0] = true;
                if self.is_stale(CONFIG_MAP, version(&map).as_deref()) {
                    return;
                }
                self.observed.config = text(&map, CONFIG_KEY);
                self.set_version(CONFIG_MAP, version(&map));
            }
            Change::State(map) => {
                known[1] = true;
                if self.is_stale(STATE_MAP, version(&map).as_deref()) {
                    return;
                }
                self.observed.good = text(&map, GOOD);
                self.observed.imported = text(&map, IMPORTED);
                self.refused = text(&map, REFUSED);
                self.observed.rolled_at = text(&map, ROLLED_AT).and_then(|at| at.parse().ok());
                self.set_version(STATE_MAP, version(&map));
            }
            Change::Adapter(deployment) => {
                known[2] = true;
                let version = deployment.as_ref().and_then(|deployment| deployment.resource_version());
                if self.is_stale(ADAPTER, version.as_deref()) {
                    return;
                }
                self.set_version(ADAPTER, version);
                let seen = deployment.as_deref().map(adapter);
                // Somebody has changed it, or started it again: what failed before may work now, and what worked may not.
                if self.observed.adapter.as_ref().map(|adapter| &adapter.made_of)
                    != seen.as_ref().map(|seen| &seen.made_of)
                {
                    self.memory.quarantine.clear();
                    self.memory.failure = None;
                }
                self.memory.answered = None;
                self.observed.adapter = seen;
            }
            Change::Service(i, service) => {
                known[3 + i] = true;
                let name = API_SERVICES[i];
                let leads_to = service.map(|service| {
                    let to = service.spec.and_then(|spec| spec.service).unwrap_or_default();
                    (to.namespace.unwrap_or_default(), to.name.unwrap_or_default())
                });
                match leads_to {
                    Some(to) => self.services.insert(name, to),
                    None => self.services.remove(name),
                };
                self.observed.elsewhere = elsewhere(&self.services, &self.settings);
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
        let (observed, platform, now) = (&self.observed, &self.platform, Timestamp::now());
        let look = Look { wanted, observed, timing: &timing, platform, now };
        let Next { step, trouble, left_out } = look.next(&mut self.memory);
        if matches!(step, Step::Wait(_)) {
            self.hindrance = None;
        }
        self.publish(&left_out, trouble);
        match step {
            Step::Wait(wait) => Ok(wait),
            Step::Ask { canary } => Ok(Some(self.ask(&canary).await)),
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
                let held_back = self.memory.quarantine.len();
                self.memory.failure = Some(format!("adapter roll failed ({held_back} rules held back)"));
                self.keep_refused().await?;
                self.write_config(&text).await?;
                match canary(&text) {
                    Some(canary) => self.roll(&canary).await,
                    None => Ok(Some(timing.poll)),
                }
            }
        }
    }

    fn publish(&self, left_out: &BTreeSet<String>, trouble: Option<Trouble>) {
        // What is on trial counts once it is proved; until then what was proved before is what serves.
        let serves = !trouble.as_ref().is_some_and(Trouble::ends_service);
        let rules = self.observed.good.as_deref().filter(|_| serves).map(own_rules).unwrap_or_default();
        let trouble = trouble.or_else(|| self.hindrance.clone());
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
        let map = self.metrics.calls.make(Verb::Get, Resource::ConfigMaps, DEADLINE, self.maps.get(&name)).await;
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

    /// Adds keys to our memory. What was imported leaves with the first config that is proved, and what was refused with
    /// the next: two configs of the largest size are more than a ConfigMap holds.
    async fn write_state(&mut self, keys: serde_json::Value) -> anyhow::Result<()> {
        let mut data = json!({});
        let rolled_at = self.observed.rolled_at.map(|at| at.to_string());
        let imported = self.observed.imported.as_ref().filter(|_| keys.get(GOOD).is_none());
        for (key, value) in [
            (GOOD, self.observed.good.as_ref()),
            (IMPORTED, imported),
            (ROLLED_AT, rolled_at.as_ref()),
            (REFUSED, self.refused.as_ref()),
        ] {
            if let Some(value) = value {
                data[key] = value.as_str().into();
            }
        }
        for (key, value) in keys.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        let map = self.write(STATE_MAP, data, self.versions.get(STATE_MAP).cloned()).await?;
        self.see(Change::State(Some(map)), &mut [false; SOURCES]);
        Ok(())
    }

    /// Keeps what a roll is taken back from, where there is room for it.
    async fn keep_refused(&mut self) -> anyhow::Result<()> {
        let good = self.observed.good.as_ref().map_or(0, String::len);
        self.refused = self.observed.config.clone().filter(|text| text.len() + good < MOST_BYTES);
        self.write_state(json!({})).await
    }

    /// Server-side apply by name is all that the rights allow; the resource version makes it meet nobody else's write.
    async fn write(&self, name: &str, data: serde_json::Value, version: Option<String>) -> anyhow::Result<ConfigMap> {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        if let Some(version) = version {
            map["metadata"]["resourceVersion"] = version.into();
        }
        self.writer.apply(Resource::ConfigMaps, &self.maps, &map).await
    }

    /// Before a roll what serves now must answer: a roll into a broken Prometheus proves nothing, and takes the list of
    /// metrics that the old pod still has.
    async fn not_now(&mut self) -> Option<Duration> {
        let wait = HINDERED.min(self.settings.timing.poll * 5);
        if self.observed.adapter.as_ref().is_some_and(|adapter| !adapter.rolled_out) {
            let message = "the newest pods of the adapter are not available: it is not rolled";
            return Some(self.hinder(trouble("AdapterNotReady", Code::Ns0508, message), wait));
        }
        if let Some(prometheus) = &self.settings.prometheus
            && !prometheus.answers().await
        {
            let message = "Prometheus does not answer: the adapter is not rolled";
            return Some(self.hinder(trouble("PrometheusUnreachable", Code::Ns0515, message), wait));
        }
        if let Some(serving) = self.observed.good.as_deref().and_then(canary) {
            match served::of_namespace(&self.client, &self.settings.namespace, &serving).await {
                Answer::Value => self.memory.silent = None,
                // It was started with something else: there is nothing of ours that a roll could take.
                Answer::Unknown if self.is_silent() => {}
                answer @ (Answer::Empty | Answer::Unknown | Answer::Failed) => {
                    if answer == Answer::Unknown {
                        self.memory.silent.get_or_insert_with(Timestamp::now);
                    }
                    let message = "the adapter does not answer for what it has: it is not rolled";
                    return Some(self.hinder(trouble("AdapterSilent", Code::Ns0512, message), wait));
                }
            }
        }
        self.hindrance = None;
        None
    }

    fn is_silent(&self) -> bool {
        self.memory.silent.is_some_and(|since| lasts(since, &self.settings.timing, Timestamp::now()))
    }

    fn hinder(&mut self, hindrance: Trouble, wait: Duration) -> Duration {
        self.published.send_if_modified(|published| {
            let changed = published.trouble.as_ref() != Some(&hindrance);
            published.trouble = Some(hindrance.clone());
            changed
        });
        self.hindrance = Some(hindrance);
        wait
    }

    /// Sees whether the adapter still has what it has proved: only that it does not know it says that it has not.
    async fn ask(&mut self, canary: &str) -> Duration {
        match served::of_namespace(&self.client, &self.settings.namespace, canary).await {
            Answer::Value => {
                self.memory.answered = Some(Timestamp::now());
                self.memory.silent = None;
                self.memory.rolled_again = None;
                Duration::ZERO
            }
            Answer::Unknown => {
                self.memory.answered = None;
                self.memory.silent.get_or_insert_with(Timestamp::now);
                self.settings.timing.poll
            }
            // It, or Prometheus, is away: it will be asked again.
            Answer::Empty | Answer::Failed => {
                self.memory.silent = None;
                HINDERED.min(self.settings.timing.poll * 5)
            }
        }
    }

    async fn roll(&mut self, canary: &str) -> anyhow::Result<Option<Duration>> {
        self.listed_before = served::listed(&self.client).await.map(foreign);
        let rolled_to = self.observed.adapter.as_ref().and_then(|adapter| adapter.rolled_to.as_deref());
        // The same value would roll nothing.
        let checksum = if rolled_to == Some(canary) {
            format!("{canary}.{}", Timestamp::now().as_second())
        } else {
            canary.to_owned()
        };
        let roll = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.settings.deployment},
            "spec": {"template": {"metadata": {"annotations": {CHECKSUM: checksum}}}},
        });
        let rolled = self.writer.apply(Resource::Deployments, &self.deployments, &roll).await?;
        self.observed.adapter = Some(adapter(&rolled));
        self.set_version(ADAPTER, rolled.resource_version());
        self.memory.on_trial = None;
        self.memory.silent = None;
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
            if adapter.rolled_to.as_deref() != Some(canary) {
                return Ok(self.not_now().await.or(Some(timing.poll)));
            }
            return again;
        }
        if served::of_namespace(&self.client, &self.settings.namespace, canary).await != Answer::Value {
            if adapter.rolled_to.as_deref() != Some(canary) {
                return match super::roll::may_roll(&self.observed, &adapter, &timing, Timestamp::now()) {
                    Ok(Some(wait)) => Ok(Some(wait)),
                    Ok(None) => match self.not_now().await {
                        None => self.roll(canary).await,
                        wait => Ok(wait),
                    },
                    Err(trouble) => Ok(Some(self.hinder(trouble, timing.poll))),
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

    /// At least the foreign names that were listed before. Of those that are missing, only those are lost that a rule of
    /// the present config makes of series that Prometheus has: rules, and what people run, come and go.
    async fn lists_what_it_listed(&self) -> bool {
        let (Some(before), Some(prometheus)) = (&self.listed_before, &self.settings.prometheus) else { return true };
        let Some(now) = served::listed(&self.client).await.map(foreign) else { return false };
        let missing: BTreeSet<&String> = before.difference(&now).collect();
        if missing.is_empty() {
            return true;
        }
        let makers = self.observed.config.as_deref().map(foreign_makers).unwrap_or_default();
        for Maker { series_query, name } in makers {
            let series = prometheus.series_of(&series_query).await;
            let made = |missing: &&&String| match &name {
                Some(name) => name == **missing && !series.is_empty(),
                None => series.contains(**missing),
            };
            if let Some(lost) = missing.iter().find(made) {
                tracing::warn!(metric = lost.as_str(), "a foreign metric is not listed since the roll");
                return false;
            }
        }
        true
    }
}

/// Every version of the API that is there must be answered by the configured adapter.
fn elsewhere(services: &BTreeMap<&str, (String, String)>, settings: &Settings) -> Option<Trouble> {
    let (namespace, name) = (&settings.namespace, &settings.service);
    let wrong = services.iter().find(|(_, to)| (&to.0, &to.1) != (namespace, name));
    match wrong {
        Some((object, (to, by))) => {
            let message = format!("{object} is served by {to}/{by}, not by {namespace}/{name}");
            Some(trouble("AdapterMismatch", Code::Ns0504, &message))
        }
        None if services.is_empty() => {
            Some(trouble("AdapterMismatch", Code::Ns0504, "nothing serves custom.metrics.k8s.io"))
        }
        None => None,
    }
}

fn canary(text: &str) -> Option<String> {
    nimscale_rules::emit::base::split(text).ok().and_then(|parts| super::roll::canary_of(&parts))
}

fn foreign(names: BTreeSet<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| !name.starts_with(PREFIX)).collect()
}

/// What counts of the adapter's Deployment.
pub fn adapter(deployment: &Deployment) -> Adapter {
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
    let mut annotations = template.annotations.unwrap_or_default();
    // What stands behind the dot made the adapter roll to the same once more.
    let rolled_to = annotations.remove(CHECKSUM);
    let rolled_to = rolled_to.map(|checksum| checksum.split('.').next().unwrap_or_default().to_owned());
    Adapter {
        made_of: serde_json::to_string(&(&pod, &annotations)).unwrap_or_default(),
        reads: reads.map(|source| source.name.clone()),
        keeps_serving: strategy.type_.as_deref() != Some("Recreate") && replicas > unavailable,
        rolled_to,
        rolled_out,
    }
}
