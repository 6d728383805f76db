//! Count and time what admission does.

use std::time::Duration;

use nimscale_rules::findings::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::answer::{Answer, Outcome};

/// The upper bounds of the buckets in seconds: from a small request to what the API server waits for.
const BUCKETS: [f64; 11] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];

/// The metrics of admission. Its labels are closed sets.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Requests, Counter>,
    durations: Family<Durations, Histogram, fn() -> Histogram>,
    diagnostics: Family<Diagnostics, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requests {
    operation: &'static str,
    outcome: &'static str,
    dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Durations {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Diagnostics {
    code: &'static str,
    at: &'static str,
}

impl Metrics {
    /// Adds the metrics of admission to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            diagnostics: Family::default(),
        };
        registry.register("nimscale_admission_requests", "Admission requests, by outcome", metrics.requests.clone());
        registry.register(
            "nimscale_admission_duration_seconds",
            "Time from a request's headers to its answer",
            metrics.durations.clone(),
        );
        registry.register("nimscale_diagnostics", "Findings told to authors, by code", metrics.diagnostics.clone());
        metrics
    }

    pub(crate) fn answered(&self, answer: &Answer, took: Duration) {
        let Answer { outcome, operation, dry_run, ref codes, .. } = *answer;
        self.requests.get_or_create(&Requests { operation, outcome: outcome.as_str(), dry_run }).inc();
        self.durations.get_or_create(&Durations { operation }).observe(took.as_secs_f64());
        for code in codes {
            self.diagnostics.get_or_create(&Diagnostics { code: Code::as_str(*code), at: "admission" }).inc();
        }
    }

    /// A request that was not answered by an AdmissionReview: to the API server, a call that failed.
    pub(crate) fn refused(&self) {
        let (operation, outcome) = ("OTHER", Outcome::Error.as_str());
        self.requests.get_or_create(&Requests { operation, outcome, dry_run: false }).inc();
    }
}
