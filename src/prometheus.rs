//! Ask Prometheus itself, where the controller is told where it is: whether it answers, and what it has.

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
        self.ask("query", "query", "vector(1)").await.is_some()
    }

    /// Whether a series of this name was scraped lately.
    pub async fn has_series(&self, name: &str) -> bool {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let found = self.ask("query", "query", &format!("count({{__name__=\"{quoted}\"}})")).await;
        found.is_some_and(|result| result.as_array().is_some_and(|result| !result.is_empty()))
    }

    async fn ask(&self, path: &str, key: &'static str, value: &str) -> Option<serde_json::Value> {
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            result: serde_json::Value,
        }
        let (agent, url, value) = (self.agent.clone(), format!("{}/api/v1/{path}", self.url), value.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let text = agent.get(&url).query(key, &value).call().ok()?.body_mut().read_to_string().ok()?;
            serde_json::from_str::<Answer>(&text).ok()
        });
        Some(asked.await.ok()??.data.result)
    }
}
