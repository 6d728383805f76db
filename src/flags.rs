//! What the processes in a cluster are started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::telemetry::LogArgs;

/// What both processes have.
#[derive(Clone, Debug, Args)]
pub struct ProcessArgs {
    /// Where /livez, /readyz and /metrics answer.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub admin: SocketAddr,
    /// The namespace of nimscale itself.
    #[arg(long, env = "POD_NAMESPACE", default_value = "nimscale-system")]
    pub own_namespace: String,
    /// The name of this pod: who holds the lease.
    #[arg(long, env = "POD_NAME", default_value = "nimscale")]
    pub pod: String,
    /// What the cluster's Prometheus looks like (YAML).
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// How long an HPA outlives its keys: kubectl rollout undo takes them away, too.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub grace: Duration,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub struct WebhookArgs {
    /// Where the API server reaches POST /mutate.
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    pub bind: SocketAddr,
    /// How long the end may take; in its first half new requests are still taken.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub drain: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct ControllerArgs {
    /// The namespace of prometheus-adapter.
    #[arg(long, default_value = "monitoring")]
    pub adapter_namespace: String,
    /// The Deployment of prometheus-adapter.
    #[arg(long, default_value = "prometheus-adapter")]
    pub adapter_deployment: String,
    /// The Service of prometheus-adapter, by which the API services reach it.
    #[arg(long, default_value = "prometheus-adapter")]
    pub adapter_service: String,
    /// Where Prometheus answers. With it a roll waits for Prometheus, and foreign metrics are judged after it.
    #[arg(long, value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// The least time between two rolls of the adapter.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub roll_interval: Duration,
    /// How long a roll may take until the last good config returns.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub roll_timeout: Duration,
    /// The adapter's --metrics-relist-interval.
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub relist: Duration,
    /// How often a roll is looked at.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub poll: Duration,
    /// How long changes of rules are gathered before they are written.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub settle: Duration,
    /// After how long without a value a new expression is said to have none.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub overdue: Duration,
    /// How long a lease outlives its holder.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub lease: Duration,
    /// How long the webhook's own authority lasts; it is renewed after two thirds.
    #[arg(long, default_value = "365d", value_parser = duration)]
    pub ca_life: Duration,
    /// How long the webhook's certificate lasts; it is renewed after two thirds.
    #[arg(long, default_value = "7d", value_parser = duration)]
    pub leaf_life: Duration,
}

/// `250ms`, `30s`, `10m`, `1h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number with ms, s, m, h or d, such as 30s".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "5", "s", "5x", "-5s", "1.5s", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
