//! One call to the API server: its deadline, its outcome, its count.

use std::fmt::{self, Write};
use std::future::Future;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::time::timeout;

/// The way every call goes. Clones count into the same family.
#[derive(Clone, Debug, Default)]
pub struct Calls(Family<Labels, Counter>);

impl Calls {
    pub fn register(registry: &mut Registry) -> Self {
        let calls = Self::default();
        registry.register("nimscale_remote_calls", "Calls to the API server by outcome", calls.0.clone());
        calls
    }

    /// Makes one call, gives it up at the deadline, and counts how it went.
    pub async fn make<T>(
        &self,
        verb: Verb,
        resource: Resource,
        deadline: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let answer = match timeout(deadline, call).await {
            Ok(answer) => answer.map_err(CallError::of),
            Err(_) => Err(CallError::Timeout(deadline)),
        };
        let outcome = answer.as_ref().err().map_or(Outcome::Ok, CallError::outcome);
        self.0.get_or_create(&Labels { verb, resource, outcome }).inc();
        answer
    }
}

/// Why a call brought nothing. Callers branch on the first two.
#[derive(Debug, Error)]
pub enum CallError {
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    NotFound(String),
    #[error("the API server refused with {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("no answer from the API server in {0:?}")]
    Timeout(Duration),
    #[error("failed to reach the API server")]
    Failed(#[source] Box<kube::Error>),
}

impl CallError {
    fn of(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Failed(Box::new(error));
        };
        match status.code {
            404 => Self::NotFound(status.message),
            409 => Self::Conflict(status.message),
            code => Self::Refused { code, message: status.message },
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Conflict(_) => Outcome::Conflict,
            Self::NotFound(_) => Outcome::NotFound,
            Self::Refused { .. } => Outcome::Refused,
            Self::Timeout(_) => Outcome::Timeout,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    verb: Verb,
    resource: Resource,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Verb {
    Get,
    Apply,
    Delete,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Resource {
    Leases,
    Secrets,
    WebhookConfigurations,
    HorizontalPodAutoscalers,
    ScalingPlans,
    ClusterScalingPolicies,
    ConfigMaps,
    Deployments,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Outcome {
    Ok,
    Conflict,
    NotFound,
    Refused,
    Timeout,
    Failed,
}

impl EncodeLabelValue for Verb {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Get => "get",
            Self::Apply => "apply",
            Self::Delete => "delete",
        })
    }
}

impl EncodeLabelValue for Resource {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Leases => "leases",
            Self::Secrets => "secrets",
            Self::WebhookConfigurations => "mutatingwebhookconfigurations",
            Self::HorizontalPodAutoscalers => "horizontalpodautoscalers",
            Self::ScalingPlans => "scalingplans",
            Self::ClusterScalingPolicies => "clusterscalingpolicies",
            Self::ConfigMaps => "configmaps",
            Self::Deployments => "deployments",
        })
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use kube::core::Status;
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn refusal(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: "no".into(), ..Status::default() }))
    }

    #[tokio::test(start_paused = true)]
    async fn every_outcome_has_its_count() {
        let mut registry = Registry::default();
        let calls = Calls::register(&mut registry);
        let second = Duration::from_secs(1);
        for (answer, outcome) in [
            (Ok(()), None),
            (Err(refusal(404)), Some(Outcome::NotFound)),
            (Err(refusal(409)), Some(Outcome::Conflict)),
            (Err(refusal(403)), Some(Outcome::Refused)),
            (Err(kube::Error::LinesCodecMaxLineLengthExceeded), Some(Outcome::Failed)),
        ] {
            let answer = calls.make(Verb::Get, Resource::Leases, second, ready(answer)).await;
            assert_eq!(answer.err().as_ref().map(CallError::outcome), outcome);
        }
        let silence = calls.make(Verb::Apply, Resource::Secrets, second, pending::<kube::Result<()>>()).await;
        assert!(matches!(silence, Err(CallError::Timeout(_))));

        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes everything");
        for outcome in ["ok", "not_found", "conflict", "refused", "failed"] {
            let line =
                format!("nimscale_remote_calls_total{{verb=\"get\",resource=\"leases\",outcome=\"{outcome}\"}} 1\n");
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.contains("{verb=\"apply\",resource=\"secrets\",outcome=\"timeout\"} 1\n"), "{text}");
    }
}
