//! Read custom.metrics.k8s.io as the HPA does, and what Prometheus was asked for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use nimscale_ground::{Ground, eventually};
use serde_json::Value;

const API: &str = "http://127.0.0.1:8001/apis/custom.metrics.k8s.io/v1beta1";

/// One answer.
pub struct Answer {
    /// When Prometheus evaluated the query, to the millisecond.
    pub at: String,
    pub query: String,
    /// Thousandths, by the name of the pod or the workload; empty where there is no value.
    pub values: BTreeMap<String, i64>,
}

/// A client of the API, through `kubectl proxy`: it asks often.
pub struct Reader {
    agent: ureq::Agent,
    proxy: Child,
    queries: BufReader<File>,
}

impl Reader {
    /// `queries` is the file in which Prometheus notes each query.
    pub fn new(ground: &Ground, queries: &Path) -> Self {
        let proxy = ground.kubectl_command().args(["proxy", "--port=8001"]).stdout(Stdio::null()).spawn();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let queries = BufReader::new(File::open(queries).expect("Prometheus notes its queries"));
        let reader = Self { agent, proxy: proxy.expect("kubectl runs"), queries };
        eventually("the proxy answers", || reader.agent.get(API).call().is_ok());
        reader
    }

    pub fn listed(&self) -> String {
        let (_, listed) = self.get("");
        listed.to_string()
    }

    /// Reads a metric at its path within the API.
    pub fn read(&mut self, path: &str) -> Answer {
        self.queries.by_ref().lines().for_each(drop);
        let (status, answer) = self.get(path);
        let values = match status {
            200 => answer["items"].as_array().into_iter().flatten().map(of_item).collect(),
            // An object without a value.
            404 if answer["reason"] == "NotFound" => BTreeMap::new(),
            _ => panic!("{path}: {answer}"),
        };
        let asked: Vec<String> = self.queries.by_ref().lines().map(|line| line.expect("UTF-8")).collect();
        let [asked] = &asked[..] else { panic!("{path}: not one query, but {asked:?}: {answer}") };
        let asked: Value = serde_json::from_str(asked).expect("Prometheus writes JSON");
        let param = |name: &str| asked["params"][name].as_str().expect("an instant query has it").to_owned();
        Answer { at: param("end"), query: param("query"), values }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let mut answer = self.agent.get(format!("{API}{path}")).call().expect("the proxy answers");
        let body = answer.body_mut().read_to_string().expect("UTF-8");
        (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

fn of_item(item: &Value) -> (String, i64) {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    (text(&item["describedObject"]["name"]), thousandths(&text(&item["value"])))
}

/// A quantity as Kubernetes writes it.
fn thousandths(quantity: &str) -> i64 {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &quantity[digits.len()..] {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        other => panic!("a unit that nothing here has: {other}"),
    };
    digits.parse::<i64>().expect("a number") * factor
}
