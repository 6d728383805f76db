//! A hundred metrics, served by the real adapter and read as the HPA reads them, are what their authors' texts say.
//!
//! As in `tests/contract.rs` the text, unchanged, is asked of a Prometheus that holds one pod's samples and nothing
//! else, or those of one workload's pods. `NIMSCALE_PROMQL_FILE=FILE` adds expressions, one a line.

#[path = "served/compiler.rs"]
mod compiler;
#[path = "served/expressions.rs"]
mod expressions;
#[path = "served/load.rs"]
mod load;
#[path = "served/oracle.rs"]
mod oracle;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "served/reading.rs"]
mod reading;
#[path = "support/workload.rs"]
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use compiler::{Compiled, compile};
use expressions::{Expression, Says, expressions};
use nimscale_ground::scenario::{ADAPTER, config};
use nimscale_ground::{Ground, Options, eventually, inside};
use oracle::{Isolated, is_served};
use reading::{Answer, Reader};
use serde_json::{Value, json};
use workload::workload;

/// How long all pods are scraped, after those that are asked for were first: longer than the windows reach back.
const SCRAPED: Duration = Duration::from_secs(20);

/// The adapter lists the pods of each request: without limits of its own it answers as fast as it is asked.
const RELIST: &str = "        - --metrics-relist-interval=2s\n";
const OFTEN: &str = "        - --client-qps=1000\n        - --client-burst=1000\n";

/// A workload that is asked for, in the namespace `nim`.
struct Asked {
    kind: &'static str,
    resource: &'static str,
    name: &'static str,
}

const ASKED: [Asked; 2] = [
    Asked { kind: "Deployment", resource: "deployments.apps", name: "chat" },
    Asked { kind: "StatefulSet", resource: "statefulsets.apps", name: "embed" },
];

/// Kind, namespace, name and replicas, in the order in which they get their numbers. Who is asked for has neighbours of
/// the same name in another namespace, pods of the same name too, and one whose name begins with its own.
const WORKLOADS: [(&str, &str, &str, usize); 6] = [
    ("Deployment", "nim", "chat", 3),
    ("StatefulSet", "nim", "embed", 2),
    ("Deployment", "nim", "chat-large", 2),
    ("StatefulSet", "other", "embed", 2),
    ("Deployment", "other", "chat", 1),
    ("Deployment", "monitoring", "kube-state-metrics", 1),
];

#[test]
fn a_hundred_metrics_are_what_their_texts_say() {
    // Each pod has each series twice, so that a sum, a mean and a maximum differ.
    let options = Options { scrape_twice: true, ..Options::default() };
    inside("a_hundred_metrics_are_what_their_texts_say", options, |ground| {
        prometheus::require_tools();
        let metrics: Vec<Metric> = expressions().into_iter().map(Metric::compiled).collect();
        ground.apply(&ADAPTER.replace(RELIST, &format!("{RELIST}{OFTEN}")));
        // A client-side apply would keep a copy of it all in an annotation.
        let applied = ground.kubectl(&["apply", "--server-side", "-f", "-"], &config(&rules(&metrics)));
        assert!(applied.accepted, "{}", applied.err);
        report(ground, &metrics);
        apply(ground);
        sleep(SCRAPED);
        // A scrape that begins before a query and ends after it would be seen by one side only.
        let queries = ground.end_scraping();
        eventually("Prometheus is there again", || !ground.query("slots").is_empty());
        let mut reader = Reader::new(ground, &queries);
        eventually("every metric is listed", || {
            let listed = reader.listed();
            let of = |metric: &Metric, asked: usize| {
                let resource = if metric.is_object() { ASKED[asked].resource } else { "pods" };
                format!("\"{resource}/{}\"", metric.compiled[asked].name)
            };
            metrics.iter().all(|metric| listed.contains(&of(metric, 0)) && listed.contains(&of(metric, 1)))
        });
        let mut read = |asked| metrics.iter().map(|metric| reader.read(&metric.path(asked))).collect::<Vec<_>>();
        let answers = [read(0), read(1)];
        let directory = tempfile::tempdir().expect("a directory");
        let mut tally = Tally::default();
        for (asked, answers) in ASKED.iter().zip(answers) {
            let isolated = Isolated::copy(ground, "nim", &pods(ground, asked.name), &directory.path().join(asked.name));
            for (metric, answer) in metrics.iter().zip(&answers) {
                tally.compare(asked, metric, answer, &isolated);
            }
        }
        tally.judge(&metrics);
    });
}

struct Metric {
    expression: Expression,
    /// For each of [`ASKED`].
    compiled: [Compiled; 2],
}

impl Metric {
    fn compiled(expression: Expression) -> Self {
        let on_idle = (!expression.own).then_some("hold");
        let compiled = ASKED.map(|asked| {
            let compiled = compile(&expression.text, asked.kind, on_idle);
            compiled.unwrap_or_else(|| panic!("{} is refused", expression.text))
        });
        let is_object = matches!(expression.says, Says::Total | Says::Level);
        assert_eq!(compiled[0].is_object, is_object, "{}", expression.text);
        assert_eq!(compiled[0].is_total, matches!(expression.says, Says::Total), "{}", expression.text);
        Self { expression, compiled }
    }

    fn is_object(&self) -> bool {
        self.compiled[0].is_object
    }

    /// Where the HPA of one of [`ASKED`] reads it.
    fn path(&self, asked: usize) -> String {
        let (Compiled { name: metric, .. }, Asked { resource, name, .. }) = (&self.compiled[asked], &ASKED[asked]);
        if self.is_object() {
            format!("/namespaces/nim/{resource}/{name}/{metric}")
        } else {
            format!("/namespaces/nim/pods/*/{metric}?labelSelector=app%3D{name}")
        }
    }
}

/// All rules in one config; JSON is YAML too.
fn rules(metrics: &[Metric]) -> String {
    let compiled = metrics.iter().flat_map(|metric| &metric.compiled);
    let by_name: BTreeMap<&str, &Value> = compiled.map(|one| (one.name.as_str(), &one.rule)).collect();
    json!({"rules": by_name.values().collect::<Vec<_>>()}).to_string()
}

fn report(ground: &Ground, metrics: &[Metric]) {
    load::own(&ground.fleet);
    let selectors = |own: bool| {
        let metrics = metrics.iter().filter(move |metric| metric.expression.own == own);
        metrics.flat_map(|metric| &metric.compiled[0].selectors).map(String::as_str)
    };
    // What lists the metrics of workloads: nimscale's own anchor is not here.
    for series in ["kube_deployment_created{deployment=\"chat\"}", "kube_statefulset_created{statefulset=\"embed\"}"] {
        ground.fleet.replay_of("monitoring/kube-state-metrics", series, |_, _| Some(1.0));
    }
    load::foreign(&ground.fleet, &selectors(false).collect(), &selectors(true).map(load::family).collect());
}

fn apply(ground: &Ground) {
    let mut serving = 0;
    for namespace in ["nim", "other"] {
        ground.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
    }
    for (kind, namespace, name, replicas) in WORKLOADS {
        let mut workload = workload(kind, namespace, name, &[]);
        workload["spec"]["replicas"] = replicas.into();
        ground.apply(&workload.to_string());
        serving += replicas;
        let all = serving.to_string();
        eventually(&format!("{namespace}/{name} is scraped"), || {
            let scraped = ground.query("count(count by (namespace, pod) (slots))");
            scraped.first().is_some_and(|scraped| scraped["value"][1] == *all)
        });
    }
}

fn pods(ground: &Ground, app: &str) -> Vec<String> {
    let path = "-o=jsonpath={.items[*].metadata.name}";
    let pods = ground.kubectl(&["get", "pods", "-n=nim", "-l", &format!("app={app}"), path], "").out;
    pods.split_whitespace().map(str::to_owned).collect()
}

/// What came of all comparisons.
#[derive(Default)]
struct Tally {
    /// Values of pods and of objects that were compared, and how many of both are missing on both sides.
    pods: usize,
    objects: usize,
    missing: usize,
    /// The texts that had a value, and those that had one that is not 0.
    with_value: BTreeSet<String>,
    not_zero: BTreeSet<String>,
    failures: Vec<String>,
}

impl Tally {
    fn compare(&mut self, asked: &Asked, metric: &Metric, answer: &Answer, isolated: &Isolated) {
        let (expression, Answer { at, query, values }) = (&metric.expression, answer);
        let whose: Vec<(&str, Result<Option<f64>, String>)> = if metric.is_object() {
            vec![(asked.name, isolated.of_workload(expression, at))]
        } else {
            isolated.pods.iter().map(|(pod, _)| (pod.as_str(), isolated.of_pod(expression, pod, at))).collect()
        };
        if let Some(stranger) = values.keys().find(|name| whose.iter().all(|(own, _)| own != name)) {
            self.failures.push(format!("{stranger} was not asked for: {}\n  {query}", expression.text));
        }
        for (name, expected) in whose {
            let served = values.get(name).copied();
            match expected {
                Ok(expected) if is_served(expected, served) => self.count(metric, served),
                expected => self.failures.push(format!(
                    "{}/{name} at {at}: {} is {expected:?}, and {served:?} thousandths were served by\n  {query}",
                    asked.kind, expression.text
                )),
            }
        }
    }

    fn count(&mut self, metric: &Metric, served: Option<i64>) {
        let text = &metric.expression.text;
        match served {
            None => self.missing += 1,
            Some(thousandths) => {
                *(if metric.is_object() { &mut self.objects } else { &mut self.pods }) += 1;
                self.with_value.insert(text.clone());
                if thousandths != 0 {
                    self.not_zero.insert(text.clone());
                }
            }
        }
    }

    fn judge(&self, metrics: &[Metric]) {
        for failure in self.failures.iter().take(5) {
            println!("{failure}");
        }
        assert_eq!(self.failures.len(), 0, "the first are above");
        let own = metrics.iter().filter(|metric| metric.expression.own);
        let idle: Vec<&str> =
            own.map(|metric| metric.expression.text.as_str()).filter(|text| !self.not_zero.contains(*text)).collect();
        assert!(idle.is_empty(), "nothing but 0 was compared of {idle:?}");
        let read = metrics.iter().filter(|metric| self.with_value.contains(&metric.expression.text));
        let (objects, of_pods): (Vec<&Metric>, Vec<&Metric>) = read.partition(|metric| metric.is_object());
        println!(
            "{} metrics read, {} of pods, {} of objects: {} and {} values, all equal; {} missing on both sides",
            objects.len() + of_pods.len(),
            of_pods.len(),
            objects.len(),
            self.pods,
            self.objects,
            self.missing
        );
        assert!(of_pods.len() >= 60 && objects.len() >= 40, "too few are read");
    }
}
