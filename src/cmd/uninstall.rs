//! `nimscale uninstall`: take nimscale out of a cluster and leave everybody else's rules where they are.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use nimscale_rules::emit::adapter::{CONFIG_KEY, CONFIG_MAP};
use nimscale_rules::emit::base;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::cli::UninstallArgs;
use crate::controller::adapter::{CHECKSUM, STATE_MAP, adapter};
use crate::hpa::Hpa;
use crate::install;
use crate::output::{Exit, talk};
use crate::processes::{LEASE, SECRET};
use crate::scaling_plan::ScalingPlan;
use crate::writer::apply_params;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Admission and the processes first, so that nobody puts back what is taken away.
pub fn run(args: &UninstallArgs) -> anyhow::Result<Exit> {
    super::in_cluster(async |client, _| {
        let cluster = Cluster { client, args };
        cluster.delete_installed().await?;
        cluster.delete_made().await?;
        if args.keep {
            talk("kept: the HPAs, and the rules in the adapter; kubectl delete hpa takes one away");
        } else {
            cluster.delete_plans().await?;
            cluster.delete_hpas().await?;
            cluster.restore_adapter().await?;
        }
        talk("left: the CRDs (nimscale install --crds | kubectl delete -f -)");
        talk(&format!(
            "left: the namespace, which others may use (kubectl delete namespace {})",
            args.install.namespace
        ));
        Ok(())
    })?;
    Ok(Exit::Done)
}

struct Cluster<'a> {
    client: Client,
    args: &'a UninstallArgs,
}

impl Cluster<'_> {
    /// Deletes what `install` printed, last things first, but for the definitions, and the namespace with whatever else is
    /// in it.
    async fn delete_installed(&self) -> anyhow::Result<()> {
        let text = install::manifests(&self.args.install)?;
        let mut objects = Vec::new();
        for document in text.split("\n---\n") {
            let object: serde_json::Value = nimscale_rules::yaml::parse(document)?;
            let of = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
            let named = |key: &str| object["metadata"][key].as_str().map(str::to_owned);
            let (api_version, kind) = (of("apiVersion"), of("kind"));
            let Some(name) =
                named("name").filter(|_| !matches!(kind.as_str(), "CustomResourceDefinition" | "Namespace"))
            else {
                continue;
            };
            objects.push((api_version, kind, named("namespace"), name));
        }
        // The last that was applied asks the webhook: it goes first.
        for (api_version, kind, namespace, name) in objects.iter().rev() {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            if deleted(timeout(TIMEOUT, api.delete(name, &DeleteParams::foreground())).await?)? {
                talk(&format!("deleted {} {}", kind.to_lowercase(), name));
            }
            if kind == "Deployment" {
                self.gone(&api, name).await?;
            }
        }
        Ok(())
    }

    /// Deletes what the controller made for itself.
    async fn delete_made(&self) -> anyhow::Result<()> {
        let namespace = &self.args.install.namespace;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        deleted(timeout(TIMEOUT, secrets.delete(SECRET, &DeleteParams::default())).await?)?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        deleted(timeout(TIMEOUT, leases.delete(LEASE, &DeleteParams::default())).await?)?;
        Ok(())
    }

    /// A process that still runs would write again.
    async fn gone(&self, api: &Api<DynamicObject>, name: &str) -> anyhow::Result<()> {
        for _ in 0..60 {
            if timeout(TIMEOUT, api.get_opt(name)).await??.is_none() {
                return Ok(());
            }
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::bail!("{name} does not end")
    }

    async fn delete_plans(&self) -> anyhow::Result<()> {
        let plans: Api<ScalingPlan> = Api::all(self.client.clone());
        let Some(list) = found(timeout(TIMEOUT, plans.list(&ListParams::default())).await?)? else { return Ok(()) };
        for plan in list.items {
            let api: Api<ScalingPlan> = Api::namespaced(self.client.clone(), &plan.namespace().unwrap_or_default());
            deleted(timeout(TIMEOUT, api.delete(&plan.name_any(), &DeleteParams::default())).await?)?;
        }
        Ok(())
    }

    /// Those that our field manager wrote and a workload owns; replicas stay as they are.
    async fn delete_hpas(&self) -> anyhow::Result<()> {
        let hpas: Api<HorizontalPodAutoscaler> = Api::all(self.client.clone());
        let list = timeout(TIMEOUT, hpas.list(&ListParams::default())).await?.context("failed to list HPAs")?;
        for hpa in list.items.into_iter().map(Hpa::of).filter(|hpa| hpa.written_by_us && hpa.owner.is_some()) {
            let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), &hpa.namespace);
            if deleted(timeout(TIMEOUT, api.delete(&hpa.name, &DeleteParams::default())).await?)? {
                talk(&format!("deleted the HPA {}/{}", hpa.namespace, hpa.name));
            }
        }
        Ok(())
    }

    /// Takes our rules out of the config and rolls the adapter to what is left. The ConfigMap stays: the adapter mounts
    /// it, and exits without it.
    async fn restore_adapter(&self) -> anyhow::Result<()> {
        let namespace = &self.args.install.adapter_namespace;
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let Some(map) = timeout(TIMEOUT, maps.get_opt(CONFIG_MAP)).await?? else { return Ok(()) };
        let version = map.resource_version();
        let text = map.data.and_then(|mut data| data.remove(CONFIG_KEY)).unwrap_or_default();
        let parts = base::split(&text).context("the adapter's config does not load: take our rules out by hand")?;
        if !parts.own.is_empty() {
            let restored = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP, "resourceVersion": version},
                "data": {CONFIG_KEY: parts.foreign},
            });
            let written = timeout(TIMEOUT, maps.patch(CONFIG_MAP, &apply_params(), &Patch::Apply(&restored))).await?;
            written.with_context(|| format!("failed to write {namespace}/{CONFIG_MAP}"))?;
        }
        deleted(timeout(TIMEOUT, maps.delete(STATE_MAP, &DeleteParams::default())).await?)?;
        self.roll_adapter().await?;
        talk(&format!("took {} rules out of {namespace}/{CONFIG_MAP}; all others are as they were", parts.own.len()));
        Ok(())
    }

    async fn roll_adapter(&self) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.args.install.adapter_namespace);
        let name = &self.args.install.adapter_deployment;
        let Some(deployment) = timeout(TIMEOUT, deployments.get_opt(name)).await?? else { return Ok(()) };
        let adapter = adapter(&deployment);
        if adapter.reads.as_deref() != Some(CONFIG_MAP) || adapter.rolled_to.as_deref() == Some(UNINSTALLED) {
            return Ok(());
        }
        if !adapter.keeps_serving {
            talk(&format!("{name} was not rolled: its strategy stops every pod; its next start drops our rules"));
            return Ok(());
        }
        let roll = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"template": {"metadata": {"annotations": {CHECKSUM: UNINSTALLED}}}},
        });
        let rolled = timeout(TIMEOUT, deployments.patch(name, &apply_params(), &Patch::Apply(&roll))).await?;
        rolled.map(drop).with_context(|| format!("failed to roll {name}"))
    }
}

/// The value of our checksum once nothing of ours is in the config.
const UNINSTALLED: &str = "uninstalled";

/// False when it was not there: an uninstall that was cut short can be run again.
fn deleted<T>(answer: kube::Result<T>) -> anyhow::Result<bool> {
    found(answer).map(|found| found.is_some())
}

fn found<T>(answer: kube::Result<T>) -> anyhow::Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}
