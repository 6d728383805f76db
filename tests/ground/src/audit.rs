//! Say what the API server was asked to write, and what it measures of itself.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::Ground;
use crate::control_plane::kubectl;

/// The audit policy: who wrote what, once it is done. Reads would only make the log long.
pub const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n\
    omitStages: [RequestReceived, ResponseStarted, Panic]\nrules:\n\
    - {level: None, verbs: [get, list, watch]}\n- {level: Metadata}\n";

/// The file of the audit log.
pub fn log(directory: &Path) -> PathBuf {
    directory.join("logs/audit.json")
}

/// One request that wrote, or tried to; a dry run is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When it was done.
    pub at: Timestamp,
    pub verb: String,
    pub resource: String,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// Who wrote; with `--as`, as whom.
    pub user: String,
    /// What program wrote, as it says itself.
    pub agent: String,
}

impl Ground {
    /// The writes of the users whose names contain this, in their order; a service account is
    /// `system:serviceaccount:NAMESPACE:NAME`. The log may follow the answer by a moment.
    pub fn writes(&self, user_contains: &str) -> Vec<Write> {
        let log = fs::read_to_string(log(self.directory.path())).expect("the API server writes a log");
        let writes = log.lines().filter_map(write);
        writes.filter(|write| write.user.contains(user_contains)).collect()
    }

    /// The sum of a metric of the API server over the series that have these labels; 0 while there are none.
    pub fn api_metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let asked = kubectl(&self.bin, &self.kubeconfig).args(["get", "--raw", "/metrics"]).output();
        let answer = asked.expect("kubectl runs");
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        sum(&String::from_utf8_lossy(&answer.stdout), name, labels)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage_timestamp: Timestamp,
    #[serde(default)]
    user_agent: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    /// Whom the user acted as.
    impersonated_user: Option<User>,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

/// `None` for a dry run, and for a line that is not whole yet.
fn write(line: &str) -> Option<Write> {
    let event: Event = serde_json::from_str(line).ok()?;
    if event.request_uri.contains("dryRun=All") {
        return None;
    }
    let Object { resource, subresource, namespace, name } = event.object_ref.unwrap_or_default();
    Some(Write {
        at: event.stage_timestamp,
        verb: event.verb,
        resource,
        subresource,
        namespace,
        name,
        code: event.response_status.map_or(0, |status| status.code),
        user: event.impersonated_user.unwrap_or(event.user).username,
        agent: event.user_agent,
    })
}

fn sum(exposition: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |set: &str, (label, value): &(&str, &str)| {
        let pair = format!("{label}=\"{value}\"");
        set.match_indices(&pair).any(|(at, _)| set[..at].ends_with(['{', ',']))
    };
    let of_line = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let (set, value) = match rest.rsplit_once('}') {
            Some((set, value)) if set.starts_with('{') => (set, value),
            Some(_) | None => ("", rest.strip_prefix(' ')?),
        };
        if labels.iter().all(|label| has(set, label)) { value.trim().parse::<f64>().ok() } else { None }
    };
    exposition.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_with_the_labels() {
        let text = "# TYPE calls counter\ncalls{code=\"200\",name=\"a\"} 3\ncalls{code=\"500\",name=\"a\"} 1\n\
                    calls{code=\"200\",name=\"b\"} 7\ncalls_total{name=\"a\"} 100\nplain 5\n";
        assert_eq!(sum(text, "calls", &[("name", "a")]), 4.0);
        assert_eq!(sum(text, "calls", &[("name", "a"), ("code", "500")]), 1.0);
        assert_eq!(sum(text, "calls", &[("ame", "a")]), 0.0);
        assert_eq!(sum(text, "plain", &[]), 5.0);
    }

    #[test]
    fn a_dry_run_is_no_write() {
        let line = |uri: &str| {
            format!(
                "{{\"stageTimestamp\": \"2026-01-01T00:00:00.000001Z\", \"verb\": \"patch\", \"requestURI\": \"{uri}\", \"user\": \
                 {{\"username\": \"admin\"}}, \"objectRef\": {{\"resource\": \"deployments\", \"namespace\": \"nim\", \"name\": \
                 \"a\", \"subresource\": \"scale\"}}, \"responseStatus\": {{\"code\": 409}}}}"
            )
        };
        let written = write(&line("/apis/apps/v1/namespaces/nim/deployments/a/scale")).expect("a write");
        assert_eq!((written.verb.as_str(), written.subresource.as_str(), written.code), ("patch", "scale", 409));
        assert_eq!(write(&line("/apis/apps/v1/namespaces/nim/deployments/a/scale?dryRun=All&fieldManager=x")), None);
        assert_eq!(write("{\"stageTimestamp\": \"2026-"), None);
    }
}
