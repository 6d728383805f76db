//! Run the webhook, the controller, or both, until the end is asked for.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use axum::http::header::USER_AGENT;
use futures::FutureExt;
use kube::{Client, Config};
use nimscale_rules::platform::Platform;
use nimscale_webhook::{Certificates, Snapshot};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{self, Readiness};
use crate::certs;
use crate::controller::{self, Controller, Ends, adapter};
use crate::flags::{ControllerArgs, ProcessArgs, WebhookArgs};
use crate::lease;
use crate::output::Exit;
use crate::prometheus::Prometheus;
use crate::snapshot;
use crate::telemetry::{self, Anchor, Metrics};

/// The Secret of the webhook's certificates, its configuration, and the lease of the controllers.
pub const SECRET: &str = "nimscale-webhook-tls";
pub const CONFIGURATION: &str = "nimscale";
pub const LEASE: &str = "nimscale-controller";
/// The Service of the webhook: its name is in the certificate.
const SERVICE: &str = "nimscale-webhook";

/// The part that drains.
const SERVER: &str = "server";

/// How long the end may take: a pod gets 30 s.
const END: Duration = Duration::from_secs(20);

/// Runs what is given; `None` is left to another process.
pub fn run(
    args: &ProcessArgs,
    webhook: Option<&WebhookArgs>,
    controller: Option<&ControllerArgs>,
) -> anyhow::Result<Exit> {
    telemetry::log(&args.log)?;
    install_crypto()?;
    let platform = crate::cmd::platform(args.platform.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start")?;
    let ended = runtime.block_on(processes(args, platform, webhook, controller));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended.map(|()| Exit::Done)
}

/// Every user of rustls, the API client and the servers, asks for the one provider that the process has.
pub fn install_crypto() -> anyhow::Result<()> {
    let installed = rustls::crypto::ring::default_provider().install_default();
    anyhow::ensure!(installed.is_ok(), "failed to install the crypto provider");
    Ok(())
}

/// What every part is given.
struct Process {
    client: Client,
    args: ProcessArgs,
    platform: Platform,
    registry: Registry,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: watch::Receiver<bool>,
    /// Whatever ends before the end was asked for ends the process: it is started again, and knows everything anew.
    parts: JoinSet<anyhow::Result<&'static str>>,
}

async fn processes(
    args: &ProcessArgs,
    platform: Platform,
    webhook: Option<&WebhookArgs>,
    controller: Option<&ControllerArgs>,
) -> anyhow::Result<()> {
    let shutdown = crate::signals::shutdown().context("failed to listen for signals")?;
    let mut config = Config::infer().await.context("failed to find the cluster")?;
    // A watch ends by itself after 290 s: a connection that is silent for longer is a dead one.
    config.read_timeout = Some(Duration::from_secs(295));
    // Two pods write as one account: the audit log tells them apart by this.
    let agent = format!("nimscale/{} ({})", env!("CARGO_PKG_VERSION"), args.pod);
    config.headers.push((USER_AGENT, agent.parse().context("--pod is no name of a pod")?));
    let client = Client::try_from(config).context("failed to make a client")?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let deployment = if controller.is_some() { LEASE } else { SERVICE };
    telemetry::register_anchor(
        &mut registry,
        &Anchor {
            namespace: args.own_namespace.clone(),
            pod: args.pod.clone(),
            deployment: deployment.to_owned(),
            statefulset: deployment.to_owned(),
        },
    );
    let mut process = Process {
        client,
        args: args.clone(),
        platform,
        registry,
        metrics,
        readiness: Readiness::default(),
        shutdown,
        parts: JoinSet::new(),
    };
    if let Some(webhook) = webhook {
        process.webhook(webhook)?;
    }
    let released = match controller {
        Some(controller) => Some(process.controller(controller).await?),
        None => None,
    };
    process.until_the_end(webhook.is_some(), released).await
}

impl Process {
    fn webhook(&mut self, args: &WebhookArgs) -> anyhow::Result<()> {
        let listener = listen(args.bind)?;
        let certificates = Arc::new(Certificates::new());
        let snapshot = Snapshot { platform: self.platform.clone(), ..Snapshot::default() };
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let metrics = Arc::new(nimscale_webhook::Metrics::register(&mut self.registry));
        let settings = nimscale_webhook::Settings { grace: self.args.grace, drain: args.drain, ..Default::default() };
        let synced = self.readiness.check("the webhook's caches are synced");
        let followed = certs::Followed {
            namespace: self.args.own_namespace.clone(),
            secret: SECRET.to_owned(),
            webhook_configuration: CONFIGURATION.to_owned(),
        };
        let checks = certs::Checks {
            loaded: self.readiness.check("a certificate is loaded"),
            trusted: self.readiness.check("the API server trusts the certificate"),
        };
        let installed = Arc::clone(&certificates);
        let install = move |chain: &[u8], key: &[u8]| Ok(installed.set(chain, key)?);
        let expiry = self.metrics.certificates.clone();
        let follow = certs::follow(self.client.clone(), followed, expiry, install, checks, self.shutdown.clone());
        self.spawn("certificate", follow.map(Ok));
        self.spawn("snapshot", snapshot::follow(self.client.clone(), Arc::clone(&snapshot), synced).map(Ok));
        let mut shutdown = self.shutdown.clone();
        let end = async move {
            let _ = shutdown.wait_for(|asked| *asked).await;
        };
        self.spawn(SERVER, async move {
            nimscale_webhook::serve(listener, certificates, snapshot, metrics, settings, end).await?;
            Ok(())
        });
        Ok(())
    }

    /// Starts the controller; what is returned says when the lease was released, after the end was asked for.
    async fn controller(&mut self, args: &ControllerArgs) -> anyhow::Result<Released> {
        let (ended, writers_ended) = watch::channel(false);
        let lease = lease::Settings {
            namespace: self.args.own_namespace.clone(),
            name: LEASE.to_owned(),
            // In a container every process is the first: one that is started again takes its own lease at once.
            identity: format!("{}_{}", self.args.pod, std::process::id()),
            duration: args.lease,
            retry: args.lease.min(Duration::from_secs(15)) / 7,
        };
        let (leadership, released) = lease::run(self.client.clone(), self.metrics.calls.clone(), lease, writers_ended);
        let held = leadership.clone();
        telemetry::register_leader(&mut self.registry, move || held.is_held());
        let nim_services = crate::nim_service::are_served(&self.client).await;
        let settings = controller::Settings { grace: self.args.grace, overdue: args.overdue };
        let metrics = controller::metrics::Metrics::register(&mut self.registry, self.metrics.calls.clone());
        let (controller, ends) = Controller::new(
            self.client.clone(),
            self.platform.clone(),
            settings,
            metrics.clone(),
            leadership.clone(),
            nim_services,
        );
        let Ends { wanted, published, attaches, mut synced } = ends;
        let check = self.readiness.check("the controller's caches are synced");
        self.spawn("sync", async move {
            synced.wait_for(|synced| *synced).await?;
            check.set(true);
            std::future::pending().await
        });
        let timing = controller::Timing {
            settle: args.settle,
            roll_interval: args.roll_interval,
            roll_timeout: args.roll_timeout,
            relist: args.relist,
            poll: args.poll,
        };
        let adapter = adapter::Settings {
            namespace: args.adapter_namespace.clone(),
            deployment: args.adapter_deployment.clone(),
            service: args.adapter_service.clone(),
            prometheus: args.prometheus_url.as_deref().map(Prometheus::new),
            timing,
        };
        let kept = adapter::keep(
            self.client.clone(),
            adapter,
            self.platform.clone(),
            metrics,
            wanted,
            published,
            leadership.clone(),
        );
        self.spawn("adapter", kept.map(Ok));
        let certificates = certs::Settings {
            namespace: self.args.own_namespace.clone(),
            secret: SECRET.to_owned(),
            webhook_configuration: CONFIGURATION.to_owned(),
            dns_names: vec![format!("{SERVICE}.{}.svc", self.args.own_namespace)],
            lives: certs::Lives::new(args.ca_life, args.leaf_life),
            check_every: (args.leaf_life / 20).min(Duration::from_secs(600)),
        };
        let kept = certs::keep(
            self.client.clone(),
            self.metrics.clone(),
            certificates,
            attaches,
            leadership,
            self.shutdown.clone(),
        );
        self.spawn("certificates", kept.map(Ok));
        self.spawn("controller", controller.run().map(Ok));
        Ok(Released { ended, released })
    }

    fn spawn(&mut self, name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.parts.spawn(async move {
            part.await.with_context(|| format!("{name} failed"))?;
            Ok(name)
        });
    }

    async fn until_the_end(self, serves: bool, mut released: Option<Released>) -> anyhow::Result<()> {
        let Self { args, registry, readiness, mut shutdown, mut parts, .. } = self;
        let admin = listen(args.admin)?;
        let serving = admin::serve(admin, Arc::new(registry), readiness, shutdown.clone());
        parts.spawn(async move {
            serving.await.context("the admin server failed")?;
            Ok("admin")
        });
        let ended = tokio::select! {
            biased;
            _ = shutdown.wait_for(|asked| *asked) => Ok(()),
            () = lost(released.as_mut()) => Err(anyhow::anyhow!("the lease ended by itself")),
            Some(part) = parts.join_next() => match part.context("a part was lost")? {
                Ok(name) => Err(anyhow::anyhow!("{name} ended by itself")),
                Err(error) => Err(error),
            },
        };
        tracing::info!("ending");
        // Servers drain by themselves; what writes is stopped before the lease is given to another.
        if serves {
            let _ = tokio::time::timeout(END, async {
                while let Some(part) = parts.join_next().await {
                    if matches!(part, Ok(Ok(SERVER))) {
                        break;
                    }
                }
            })
            .await;
        }
        parts.abort_all();
        while parts.join_next().await.is_some() {}
        if let Some(Released { ended, released }) = released.filter(|released| !released.released.is_finished()) {
            let _ = ended.send(true);
            let _ = tokio::time::timeout(END, released).await;
        }
        ended
    }
}

/// Returns when nobody renews the lease any more; never where there is none.
async fn lost(released: Option<&mut Released>) {
    match released {
        Some(released) => drop((&mut released.released).await),
        None => std::future::pending().await,
    }
}

/// The lease of a controller that ends.
struct Released {
    /// Says that nothing writes any more.
    ended: watch::Sender<bool>,
    released: tokio::task::JoinHandle<()>,
}

fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true).context("failed to listen")?;
    Ok(listener)
}
