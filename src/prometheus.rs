//! Ask Prometheus itself, where the controller is told where it is: whether it answers, and what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A Prometheus by its URL.
#[derive(Clone, Debug)]
pub struct Prometheus {
    agent: ureq::Agent,
    url: String,
}

impl Prometheus {
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
        Self { agent, url: url.trim_end_matches('/').to_owned() }
    }

    pub async fn answers(&self) -> bool {
        self.ask("vector(1)").await.is_some()
    }

    /// The names of the series that a selector has lately found; none where Prometheus does not say.
    pub async fn series_of(&self, selector: &str) -> BTreeSet<String> {
        #[derive(Deserialize)]
        struct Series {
            metric: BTreeMap<String, String>,
        }
        let found = self.ask(&format!("group by (__name__) ({selector})")).await;
        let found = found.and_then(|result| serde_json::from_value::<Vec<Series>>(result).ok()).unwrap_or_default();
        found.into_iter().filter_map(|mut series| series.metric.remove("__name__")).collect()
    }

    async fn ask(&self, expression: &str) -> Option<serde_json::Value> {
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            result: serde_json::Value,
        }
        let (agent, url) = (self.agent.clone(), format!("{}/api/v1/query", self.url));
        let expression = expression.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let text = agent.get(&url).query("query", &expression).call().ok()?.body_mut().read_to_string().ok()?;
            serde_json::from_str::<Answer>(&text).ok()
        });
        Some(asked.await.ok()??.data.result)
    }
}
