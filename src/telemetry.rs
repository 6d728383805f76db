//! What the process says about itself: its logs, and the metrics that no other part owns.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, ValueEnum};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::remote::Calls;

#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// What to log: a level, or levels by target (`info,nimscale::lease=debug`).
    #[arg(long, env = "NIMSCALE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

/// Starts the log of this process, on stderr.
pub fn log(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("failed to read the filter {:?}", args.log))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match args.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => subscriber.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start the log: {error}"))
}

/// The metrics that several parts write. Clones are the same metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub calls: Calls,
    pub certificates: CertificateExpiry,
}

impl Metrics {
    /// Registers them, and what this build is.
    pub fn register(registry: &mut Registry) -> Self {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("nimscale_build", "What this process was built from", build);
        let certificates = CertificateExpiry::default();
        registry.register(
            "nimscale_certificate_expiry_timestamp_seconds",
            "When a certificate of the webhook ends",
            certificates.0.clone(),
        );
        Self { calls: Calls::register(registry), certificates }
    }
}

/// When the certificates in use end.
#[derive(Clone, Debug, Default)]
pub struct CertificateExpiry(Family<CertificateLabels, Gauge>);

impl CertificateExpiry {
    pub fn set(&self, kind: CertificateKind, ends: SystemTime) {
        let seconds = ends.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.0.get_or_create(&CertificateLabels { kind }).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CertificateLabels {
    kind: CertificateKind,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum CertificateKind {
    Ca,
    Leaf,
}

impl EncodeLabelValue for CertificateKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let kind = match self {
            Self::Ca => "ca",
            Self::Leaf => "leaf",
        };
        EncodeLabelValue::encode(&kind, encoder)
    }
}

/// The labels of `nimscale_anchor`: every one that a rule's overrides map to a resource.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Anchor {
    pub namespace: String,
    pub pod: String,
    pub deployment: String,
    pub statefulset: String,
}

/// Registers the series that keeps every rule of ours listed, whatever else is scraped.
pub fn register_anchor(registry: &mut Registry, anchor: &Anchor) {
    let family = Family::<Anchor, Gauge>::default();
    family.get_or_create(anchor).set(1);
    registry.register("nimscale_anchor", "Keeps the rules of nimscale listed by the metrics adapter", family);
}

/// Registers `nimscale_leader`, asked at each scrape: a gauge that a task sets says 1 for as long as the task hangs.
pub fn register_leader(registry: &mut Registry, is_held: impl Fn() -> bool + Send + Sync + 'static) {
    registry.register_collector(Box::new(Leader(is_held)));
}

struct Leader<F>(F);

impl<F> fmt::Debug for Leader<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Leader")
    }
}

impl<F: Fn() -> bool + Send + Sync + 'static> Collector for Leader<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = ConstGauge::new(i64::from((self.0)()));
        let help = "1 while this process holds the lease";
        let metric = encoder.encode_descriptor("nimscale_leader", help, None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).expect("a String takes everything");
        text
    }

    #[test]
    fn the_series_read_as_the_rules_and_alerts_name_them() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.certificates.set(CertificateKind::Ca, UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        metrics.certificates.set(CertificateKind::Leaf, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let (namespace, pod) = ("nimscale-system".to_owned(), "nimscale-controller-0".to_owned());
        let name = "nimscale-controller".to_owned();
        register_anchor(&mut registry, &Anchor { namespace, pod, deployment: name.clone(), statefulset: name });
        let text = text(&registry);
        for line in [
            concat!("nimscale_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n"),
            "nimscale_certificate_expiry_timestamp_seconds{kind=\"ca\"} 1800000000\n",
            "nimscale_certificate_expiry_timestamp_seconds{kind=\"leaf\"} 1700000000\n",
            "nimscale_anchor{namespace=\"nimscale-system\",pod=\"nimscale-controller-0\",\
             deployment=\"nimscale-controller\",statefulset=\"nimscale-controller\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn the_leader_is_asked_at_each_scrape() {
        let mut registry = Registry::default();
        let held = Arc::new(AtomicBool::new(true));
        register_leader(&mut registry, {
            let held = Arc::clone(&held);
            move || held.load(Ordering::Relaxed)
        });
        assert!(text(&registry).contains("nimscale_leader 1\n"));
        held.store(false, Ordering::Relaxed);
        assert!(text(&registry).contains("nimscale_leader 0\n"));
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let args = LogArgs { log: "nimscale=loud".into(), log_format: LogFormat::Text };
        assert!(log(&args).is_err());
    }
}
