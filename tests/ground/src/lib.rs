//! A real control plane to test on: etcd, kube-apiserver, kube-controller-manager and Prometheus as local processes, with
//! a node that plays pods and a fleet that plays NIMs. No containers, no GPUs.
//!
//! Everything runs in a network and a process namespace of the test's own: ports are free there, and whatever ends the
//! test ends all of it.

mod audit;
mod container;
mod control_plane;
mod faults;
mod fleet;
mod namespace;
mod node;
mod pki;
mod pod_info;
mod process;
pub mod product;
mod programs;
mod prometheus;
mod proxy;
pub mod scenario;
mod verbs;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
pub use audit::Write;
pub use fleet::{Fleet, Model, Names};
use kube::config::{KubeConfigOptions, Kubeconfig};
pub use namespace::{inside, is_inside, play};
pub use verbs::{Applied, Watched, eventually};

use control_plane::ControlPlane;
use node::Node;
use pod_info::PodInfo;
use process::Process;
use programs::Programs;
use proxy::Proxy;

/// How a ground is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often the HPA controller looks at an HPA; a real cluster's is 15 s.
    pub hpa_sync: Duration,
    /// How long a NIM loads its model before it is ready.
    pub start_up: Duration,
    /// Scrapes each NIM twice, as two Services with the same labels make Prometheus do.
    pub scrape_twice: bool,
    pub prometheus: Version,
    /// The binary that a pod of image `ground/nimscale` runs.
    pub nimscale: Option<&'static str>,
}

/// Which Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Debian's 2.42.
    Debian,
    /// 3.x, from its module.
    V3,
}

impl Options {
    /// As a cluster is: the HPA controller's own period, and a NIM that loads.
    pub fn in_real_time(self) -> Self {
        Self { hpa_sync: Duration::from_secs(15), start_up: Duration::from_secs(20), ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hpa_sync: Duration::from_secs(1),
            start_up: Duration::from_millis(500),
            scrape_twice: false,
            prometheus: Version::Debian,
            nimscale: None,
        }
    }
}

/// A running control plane. Dropping it stops its processes; leaving the namespace ends whatever is left.
pub struct Ground {
    pub fleet: Fleet,
    bin: PathBuf,
    kubeconfig: PathBuf,
    options: Options,
    prometheus: Mutex<Option<Process>>,
    programs: Programs,
    proxy: Proxy,
    node: Node,
    runtime: tokio::runtime::Runtime,
    control_plane: ControlPlane,
    directory: tempfile::TempDir,
}

impl Ground {
    /// Starts everything and waits until the API server is ready.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let bin = programs()?;
        let directory = tempfile::Builder::new().prefix("nimscale-ground").tempdir()?;
        let control_plane = ControlPlane::start(&bin, directory.path(), options.hpa_sync)?;
        let kubeconfig = control_plane.kubeconfig().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let client = runtime.block_on(client(&kubeconfig))?;
        let fleet = Fleet::default();
        let pods = PodInfo::start(&runtime)?;
        let programs = Programs::default();
        let proxy = Proxy::start(&runtime, proxy::ADDRESS, control_plane::ADDRESS)?;
        let prometheus = prometheus::start(&bin, options.prometheus, directory.path())?;
        let node = Node::start(
            &runtime,
            client,
            node::Settings {
                directory: directory.path().join("pods"),
                targets: prometheus::targets(directory.path()),
                bin: bin.clone(),
                nimscale: options.nimscale,
                ca: control_plane.ca().to_owned(),
                start_up: options.start_up,
                scrape_twice: options.scrape_twice,
                programs: programs.clone(),
                pods,
                fleet: fleet.clone(),
            },
        );
        let prometheus = Mutex::new(Some(prometheus));
        Ok(Self {
            fleet,
            bin,
            kubeconfig,
            options,
            prometheus,
            programs,
            proxy,
            node,
            runtime,
            control_plane,
            directory,
        })
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder of the programs, `kubectl` among them.
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    /// Keeps the logs of a failed test, and says where.
    pub fn keep_logs(self) -> PathBuf {
        let Self { node, runtime, control_plane, prometheus, directory, .. } = self;
        drop(node);
        runtime.shutdown_timeout(Duration::from_secs(2));
        drop(prometheus.into_inner().unwrap_or_else(PoisonError::into_inner));
        drop(control_plane);
        directory.keep()
    }
}

/// The folder of the programs, built when they are missing.
fn programs() -> anyhow::Result<PathBuf> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/build");
    let output = std::process::Command::new(&build)
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("failed to run {}", build.display()))?;
    anyhow::ensure!(output.status.success(), "failed to build the control plane: see above");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}

async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
