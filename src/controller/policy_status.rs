//! Tell each policy what became of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use serde_json::json;

use super::report::said;
use crate::crds::{ClusterScalingPolicy, PolicyStatus};
use crate::index::Told;
use crate::remote::Resource;
use crate::scaling_plan::{GROUP, VERSION};
use crate::writer::Writer;

/// What each policy was last told, so that only news is written.
#[derive(Default)]
pub struct Teller(BTreeMap<String, PolicyStatus>);

impl Teller {
    /// Writes what is new; what fails is written with the next change.
    pub async fn tell(&mut self, writer: &Writer, client: &Client, policies: BTreeMap<String, (Told, i64, i64)>) {
        self.0.retain(|name, _| policies.contains_key(name));
        for (name, (told, matched, overridden)) in policies {
            let status = status(&told, matched, overridden, self.0.get(&name));
            if self.0.get(&name) == Some(&status) {
                continue;
            }
            match write(writer, client, &name, &status).await {
                Ok(()) => drop(self.0.insert(name, status)),
                Err(error) => tracing::warn!(policy = name, error = format!("{error:#}"), "a policy was not told"),
            }
        }
    }
}

fn status(told: &Told, matched: i64, overridden: i64, before: Option<&PolicyStatus>) -> PolicyStatus {
    let wrong = told.findings.iter().find(|finding| finding.is_error());
    let (is, reason) = if wrong.is_some() { ("False", "Invalid") } else { ("True", "InForce") };
    let message = wrong.or(told.findings.first()).map_or_else(String::new, said);
    let old = before.and_then(|before| before.conditions.first()).filter(|old| old.status == is);
    let condition = Condition {
        type_: "Ready".to_owned(),
        status: is.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(told.generation),
        last_transition_time: old.map_or_else(|| Time(Timestamp::now()), |old| old.last_transition_time.clone()),
    };
    PolicyStatus {
        observed_generation: Some(told.generation),
        matched: Some(matched),
        overridden: Some(overridden),
        conditions: vec![condition],
    }
}

async fn write(writer: &Writer, client: &Client, name: &str, status: &PolicyStatus) -> anyhow::Result<()> {
    let policies: Api<ClusterScalingPolicy> = Api::all(client.clone());
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "ClusterScalingPolicy", "metadata": {"name": name},
        "status": status,
    });
    writer.apply_status(Resource::ClusterScalingPolicies, &policies, &object).await.map(drop)
}
