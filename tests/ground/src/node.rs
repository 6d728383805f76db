//! Play the node: make pods Running and Ready, run real programs for those that ask for one, and take them away.
//!
//! Pods come from the real Deployment, ReplicaSet and StatefulSet controllers. An image `ground/PROGRAM` runs that
//! program with the container's arguments; an image of NIM serves the fleet's metrics; any other just becomes Ready.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core;
use k8s_openapi::api::core::v1::{Binding, ConfigMap, Container, ObjectReference, Pod, Probe, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::container::{self, Given};
use crate::control_plane::{self, kubeconfig_of_token};
use crate::fleet::{Fleet, PORT, Serving};
use crate::pod_info::PodInfo;
use crate::process::Process;
use crate::programs::Programs;
use crate::proxy;

const NAME: &str = "ground";

/// How the image of a local program begins.
const PROGRAM: &str = "ground/";

/// How long a foreign program has to end after SIGTERM; a cluster's 30 s would only make the tests slow.
const GRACE: Duration = Duration::from_secs(1);

/// The program of image `ground/nimscale`, which is given all the grace that its pod states.
const NIMSCALE: &str = "nimscale";

/// The container port that Prometheus scrapes, as a PodMonitor names it.
const METRICS: &str = "metrics";

/// Failures in a row of a liveness probe after which a program is started again.
const LIVES: u32 = 3;

/// The annotation of a pod that shall never become Ready.
const FAILS: &str = "ground/fails";

pub struct Settings {
    /// Where volumes are laid.
    pub directory: PathBuf,
    /// The file of Prometheus' targets.
    pub targets: PathBuf,
    pub bin: PathBuf,
    /// The program of image `ground/nimscale`.
    pub nimscale: Option<&'static str>,
    /// The CA of the API server.
    pub ca: PathBuf,
    /// How long a NIM loads before it is Ready and serves.
    pub start_up: Duration,
    pub scrape_twice: bool,
    pub programs: Programs,
    pub pods: PodInfo,
    pub fleet: Fleet,
}

/// The node; dropping it ends every pod's program.
pub struct Node {
    task: JoinHandle<()>,
    programs: Programs,
}

impl Node {
    pub fn start(runtime: &Runtime, client: Client, settings: Settings) -> Self {
        let programs = settings.programs.clone();
        let player = Player { client, settings: Arc::new(settings), next: Arc::new(AtomicU32::new(1)) };
        Self { task: runtime.spawn(player.play()), programs }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
        self.programs.clear();
    }
}

#[derive(Clone)]
struct Player {
    client: Client,
    settings: Arc<Settings>,
    next: Arc<AtomicU32>,
}

/// A pod that was taken on.
struct Taken {
    /// What plays it; `None` once it leaves.
    task: Option<JoinHandle<()>>,
    address: Ipv4Addr,
    targets: Vec<serde_json::Value>,
    /// Its namespace and name.
    name: (String, String),
}

impl Player {
    async fn play(self) {
        // Without the object the controllers leave a pod's address out of its Services.
        let node = core::v1::Node {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            ..Default::default()
        };
        if let Err(error) = Api::all(self.client.clone()).create(&PostParams::default(), &node).await {
            eprintln!("the node failed to register: {error}");
        }
        let mut taken: BTreeMap<String, Taken> = BTreeMap::new();
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut events = watcher(pods, watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => self.see(pod, &mut taken).await,
                Ok(Event::Delete(pod)) => {
                    let uid = pod.uid().unwrap_or_default();
                    if let Some(Taken { task: Some(task), address, .. }) = taken.remove(&uid) {
                        tokio::spawn(self.clone().end(uid, task, address));
                    }
                    self.write_targets(&taken);
                }
                Ok(Event::Init | Event::InitDone) => {}
                Err(error) => {
                    eprintln!("the node lost its watch: {error}");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn see(&self, pod: Pod, taken: &mut BTreeMap<String, Taken>) {
        let uid = pod.uid().unwrap_or_default();
        let is_leaving = pod.metadata.deletion_timestamp.is_some();
        match taken.entry(uid.clone()) {
            Entry::Occupied(mut occupied) if is_leaving => {
                let address = occupied.get().address;
                // It is seen more than once while it leaves.
                if let Some(task) = occupied.get_mut().task.take() {
                    let player = self.clone();
                    tokio::spawn(async move {
                        player.clone().end(uid, task, address).await;
                        player.delete(&pod).await;
                    });
                    self.write_targets(taken);
                }
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(_) if is_leaving => self.delete(&pod).await,
            Entry::Vacant(vacant) => {
                let address = self.address();
                let player = self.clone();
                let targets = self.targets(&pod, address);
                let name = (pod.namespace().unwrap_or_default(), pod.name_any());
                let task = tokio::spawn(async move {
                    let name = pod.name_any();
                    if let Err(error) = player.run(pod, address).await {
                        eprintln!("the node failed to run {name}: {error:#}");
                    }
                });
                vacant.insert(Taken { task: Some(task), address, targets, name });
                self.write_targets(taken);
            }
        }
    }

    /// Ends a pod: its program first, with its grace, and then its address, which a program that drains still needs.
    async fn end(self, uid: String, task: JoinHandle<()>, address: Ipv4Addr) {
        task.abort();
        // Its end is awaited, or it might start a program that nobody ends.
        let _ = task.await;
        self.settings.programs.end(&uid).await;
        let _ = Command::new("ip").args(["addr", "del", &format!("{address}/32"), "dev", "lo"]).output();
    }

    async fn delete(&self, pod: &Pod) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        // It may be gone already.
        let _ = pods.delete(&pod.name_any(), &now).await;
    }

    /// An address of its own, so that two backends of one Service can have the same port.
    fn address(&self) -> Ipv4Addr {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(10, 244, high, low);
        let _ = Command::new("ip").args(["addr", "add", &format!("{address}/32"), "dev", "lo"]).output();
        address
    }

    /// What Prometheus is told of a pod: of a NIM as a ServiceMonitor would tell, of a program as a PodMonitor would.
    fn targets(&self, pod: &Pod, address: Ipv4Addr) -> Vec<serde_json::Value> {
        let Some(container) = container(pod) else { return Vec::new() };
        let image = container.image.as_deref().unwrap_or_default();
        if !is_nim(image) {
            let metrics = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(METRICS));
            let target = metrics.filter(|_| image.starts_with(PROGRAM)).map(|port| {
                let namespace = pod.namespace().unwrap_or_default();
                json!({
                    "targets": [format!("{address}:{}", port.container_port)],
                    "labels": {
                        "job": format!("{namespace}/{}", container.name), "namespace": namespace,
                        "pod": pod.name_any(), "endpoint": METRICS, "container": container.name,
                    },
                })
            });
            return target.into_iter().collect();
        }
        let app = app(pod);
        let headless = format!("{app}-headless");
        let services = if self.settings.scrape_twice { vec![app, headless] } else { vec![app] };
        let target = |service: &String| {
            json!({
                "targets": [format!("{address}:{PORT}")],
                "labels": {
                    "__metrics_path__": "/v1/metrics", "namespace": pod.namespace(), "pod": pod.name_any(),
                    "service": service, "job": service, "endpoint": "http-openai", "container": container.name,
                },
            })
        };
        services.iter().map(target).collect()
    }

    fn write_targets(&self, taken: &BTreeMap<String, Taken>) {
        let here = || taken.values().filter(|taken| taken.task.is_some());
        self.settings.pods.set(here().map(|taken| taken.name.clone()).collect());
        let targets: Vec<_> = here().flat_map(|taken| taken.targets.clone()).collect();
        let part = self.settings.targets.with_extension("part");
        let text = serde_json::Value::from(targets).to_string();
        // Renamed, so that Prometheus never reads half of it.
        let written = fs::write(&part, text).and_then(|()| fs::rename(&part, &self.settings.targets));
        if let Err(error) = written {
            eprintln!("the node failed to write Prometheus' targets: {error}");
        }
    }

    /// Runs a pod until the task is aborted.
    async fn run(&self, pod: Pod, address: Ipv4Addr) -> anyhow::Result<()> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        self.bind(&pods, &name).await?;
        let status = Status { pods, name: &name, address };
        let container = container(&pod).context("a pod has a container")?;
        let image = container.image.as_deref().unwrap_or_default();
        if pod.annotations().contains_key(FAILS) {
            status.write(false, 1, Some("CrashLoopBackOff")).await?;
            return std::future::pending().await;
        }
        if let Some(program) = image.strip_prefix(PROGRAM) {
            return self.program(&pod, container, program, &status).await;
        }
        // Without a probe a container is ready as soon as it runs, and a NIM loads its model for minutes after that.
        status.write(container.readiness_probe.is_none(), 0, None).await?;
        let _serving: Option<Serving> = if is_nim(image) {
            sleep(self.settings.start_up).await;
            let workload = format!("{namespace}/{}", app(&pod));
            Some(self.settings.fleet.serve(IpAddr::V4(address), workload).await.context("failed to serve metrics")?)
        } else {
            None
        };
        status.write(true, 0, None).await?;
        std::future::pending().await
    }

    /// Says that the pod was scheduled here: a pod of no node is deleted without a grace.
    async fn bind(&self, pods: &Api<Pod>, name: &str) -> anyhow::Result<()> {
        let binding = Binding {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(NAME.to_owned()),
                ..ObjectReference::default()
            },
        };
        let _: serde_json::Value = pods.create_subresource("binding", name, &PostParams::default(), &binding).await?;
        Ok(())
    }

    /// Runs a real program, again and again when it ends, as the kubelet does.
    async fn program(
        &self,
        pod: &Pod,
        container: &Container,
        program: &str,
        status: &Status<'_>,
    ) -> anyhow::Result<()> {
        let (uid, namespace) = (pod.uid().unwrap_or_default(), pod.namespace().unwrap_or_default());
        let volumes = self.volumes(pod).await?;
        let (kubeconfig, direct_kubeconfig) = self.kubeconfigs(pod).await?;
        let given = Given {
            address: status.address,
            kubeconfig: &kubeconfig,
            direct_kubeconfig: &direct_kubeconfig,
            home: &self.settings.directory.join(&uid),
            volumes: &volumes,
        };
        let container::Command { environment, args } = container::command(pod, container, &given)?;
        let (binary, grace) = self.binary(pod, program);
        let logs = self.settings.directory.with_file_name("logs");
        let log = format!("{namespace}.{}", status.name);
        let programs = &self.settings.programs;
        for restarts in 0.. {
            let mut command = Command::new(&binary);
            let process = Process::start(&log, command.args(&args).env_clear().envs(&environment), &logs)?;
            programs.add(&uid, &namespace, status.name, process.with_grace(grace));
            status.write(false, restarts, None).await?;
            self.watch(&uid, container, restarts, status).await?;
            // Only the end of the ground takes a program out while its pod is played.
            if !programs.end(&uid).await {
                return std::future::pending().await;
            }
            status.write(false, restarts, Some("CrashLoopBackOff")).await?;
            sleep(Duration::from_secs(1 << restarts.min(4))).await;
        }
        Ok(())
    }

    /// Asks the probes of a program that runs until it has ended, or is not alive any more.
    async fn watch(&self, uid: &str, container: &Container, restarts: i32, status: &Status<'_>) -> anyhow::Result<()> {
        let programs = &self.settings.programs;
        let mut ready = false;
        // A program that was alive and is not any more is started again.
        let (mut lived, mut dead) = (false, 0);
        while !programs.has_ended(uid)? && dead < LIVES {
            if !programs.is_frozen(uid) {
                let alive = probe(container, container.liveness_probe.as_ref(), status.address).await;
                lived |= alive;
                dead = if lived && !alive { dead + 1 } else { 0 };
            }
            let is_ready = probe(container, container.readiness_probe.as_ref(), status.address).await;
            if is_ready != ready {
                ready = is_ready;
                status.write(ready, restarts, None).await?;
            }
            sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }

    /// The file of a program, and how long it has to end.
    fn binary(&self, pod: &Pod, program: &str) -> (PathBuf, Duration) {
        match self.settings.nimscale {
            Some(nimscale) if program == NIMSCALE => {
                let stated = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
                let seconds = stated.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30);
                (PathBuf::from(nimscale), Duration::from_secs(seconds))
            }
            Some(_) | None => (self.settings.bin.join(program), GRACE),
        }
    }

    /// Lays the pod's volumes as they are now; a program that is started again sees what its pod was started with.
    async fn volumes(&self, pod: &Pod) -> anyhow::Result<BTreeMap<String, PathBuf>> {
        let namespace = pod.namespace().unwrap_or_default();
        let root = self.settings.directory.join(pod.uid().unwrap_or_default());
        let mut volumes = BTreeMap::new();
        let wanted = pod.spec.clone().and_then(|spec| spec.volumes).unwrap_or_default();
        for volume in wanted {
            let folder = root.join(&volume.name);
            fs::create_dir_all(&folder)?;
            if let Some(source) = &volume.config_map {
                let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
                let map = wait_for(&maps, &source.name).await?;
                for (key, value) in map.data.iter().flatten() {
                    fs::write(folder.join(key), value)?;
                }
            }
            if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()) {
                let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
                let secret = wait_for(&secrets, name).await?;
                for (key, value) in secret.data.iter().flatten() {
                    fs::write(folder.join(key), &value.0)?;
                }
            }
            volumes.insert(volume.name.clone(), folder);
        }
        Ok(volumes)
    }

    /// Kubeconfigs with a token of the pod's service account, or RBAC would never be tested: one whose connections a
    /// test can cut, and one that goes straight to the API server.
    async fn kubeconfigs(&self, pod: &Pod) -> anyhow::Result<(PathBuf, PathBuf)> {
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".to_owned());
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
        let token = token.status.context("a token was asked for")?.token;
        let folder = self.settings.directory.join(pod.uid().unwrap_or_default());
        fs::create_dir_all(&folder)?;
        let (path, direct) = (folder.join("kubeconfig"), folder.join("direct-kubeconfig"));
        fs::write(&path, kubeconfig_of_token(&self.settings.ca, proxy::ADDRESS, &token))?;
        fs::write(&direct, kubeconfig_of_token(&self.settings.ca, control_plane::ADDRESS, &token))?;
        Ok((path, direct))
    }
}

/// The status of one pod, as its kubelet would write it.
struct Status<'a> {
    pods: Api<Pod>,
    name: &'a str,
    address: Ipv4Addr,
}

impl Status<'_> {
    async fn write(&self, ready: bool, restarts: i32, waiting: Option<&str>) -> anyhow::Result<()> {
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        // The HPA takes a pod for unready for a while after its start; these pods started long ago.
        let start = "2020-01-01T00:00:00Z";
        let is = |yes: bool| if yes { "True" } else { "False" };
        let condition = |kind: &str, yes: bool| json!({"type": kind, "status": is(yes), "lastTransitionTime": now});
        let state = match waiting {
            Some(reason) => json!({"waiting": {"reason": reason}}),
            None => json!({"running": {"startedAt": start}}),
        };
        let address = self.address.to_string();
        let status = json!({"status": {
            "phase": "Running", "startTime": start, "hostIP": "10.244.255.254",
            "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", ready), condition("Ready", ready)],
            "containerStatuses": [{
                "name": "c", "image": "c", "imageID": "c", "ready": ready, "started": waiting.is_none(),
                "restartCount": restarts, "state": state,
            }],
        }});
        self.pods.patch_status(self.name, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }
}

fn container(pod: &Pod) -> Option<&Container> {
    pod.spec.as_ref()?.containers.first()
}

/// The name of its workload, as its Service has it.
fn app(pod: &Pod) -> String {
    pod.labels().get("app").cloned().unwrap_or_default()
}

fn is_nim(image: &str) -> bool {
    image.starts_with("nvcr.io/nim/")
}

/// Asks a probe; without one a running program is ready and alive.
async fn probe(container: &Container, probe: Option<&Probe>, address: Ipv4Addr) -> bool {
    let Some(get) = probe.and_then(|probe| probe.http_get.clone()) else {
        return true;
    };
    let Some(port) = container::port(container, &get.port) else { return false };
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let url = format!("{scheme}://{address}:{port}{}", get.path.as_deref().unwrap_or("/"));
    let asked = tokio::task::spawn_blocking(move || {
        // The kubelet does not check the certificate either.
        let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
        let agent = ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(Duration::from_secs(1))).build();
        ureq::Agent::new_with_config(agent).get(&url).call().is_ok()
    });
    asked.await.unwrap_or(false)
}

/// A pod waits for what its volumes name.
async fn wait_for<T: Clone + DeserializeOwned + std::fmt::Debug>(api: &Api<T>, name: &str) -> anyhow::Result<T> {
    for _ in 0..100 {
        if let Some(found) = api.get_opt(name).await? {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("a volume names {name}, which is not there")
}
