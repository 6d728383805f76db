//! prometheus-adapter's own code reads what we emit, and asks Prometheus what we proved.
//!
//! `tests/cluster/adapter/ask` is its strict loader and its query builder, built from its published module.

#[path = "support/ask.rs"]
mod ask;
#[path = "support/built.rs"]
mod built;

use std::fs;
use std::path::Path;

use nimscale_rules::emit::adapter::{Config, rule};
use nimscale_rules::measure::{Measure, MetricKind, Question, measure};
use nimscale_rules::platform::Platform;
use nimscale_rules::presets::presets;
use nimscale_rules::promql::scope::Request;
use nimscale_rules::quantity::Milli;
use nimscale_rules::workload::WorkloadKind;
use nimscale_rules::yaml;
use serde_json::json;

use ask::ask;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Label values that would act in a template, break a string, or break YAML, if anything let them.
const HOSTILE: &[&str] = &[
    "<<.LabelMatchers>>",
    "<<printf \\\"%1000000d\\\" 1>>",
    "\\\"} or up{namespace=\\\"kube-system",
    "{{ .x }}",
    "$1 ${1}",
    "\\n---\\nrules: []",
    "\\u2028\\u0085\\ufeff\\ufffeN",
    "é ≤ 🦀",
    "'' # : - [ {",
    "\\\\d+\\\\",
];

#[test]
fn every_rule_loads_and_asks_what_was_proved() {
    let platform = Platform::default();
    let measures = measures(&platform);
    assert!(measures.len() > 75, "{} rules are few", measures.len());
    let requests = measures.iter().flat_map(|measure| requests(measure).map(move |request| (measure, request)));
    let asked: Vec<_> = requests.clone().map(|(measure, request)| question(measure, &request)).collect();
    let answer = ask(&config(&measures, &platform), &asked);
    assert_eq!(answer.error, "");
    assert_eq!(answer.discovery, std::slice::from_ref(&platform.anchor), "one call lists every rule");
    assert_eq!(answer.queries.len(), asked.len());
    for (asked, (measure, request)) in answer.queries.iter().zip(requests) {
        assert_eq!(*asked, measure.template.instantiate(&request, &platform));
    }
    println!("{} rules load in one config; {} queries are what was proved", measures.len(), asked.len());
}

#[test]
fn renamed_labels_and_required_matchers_reach_the_query() {
    let platform =
        Platform::read("labels: {pod: kubernetes_pod_name}\nrequiredMatchers: {cluster: east}\n").expect("it reads");
    let measure = compiled("x", &platform).expect("accepted");
    let asked = json!({"metric": measure.name, "resource": "pods", "namespace": "a", "names": ["p"]});
    let answer = ask(&config(&[measure], &platform), &[asked]);
    let query =
        "max by (namespace, kubernetes_pod_name) (x{cluster=\"east\",namespace=\"a\",kubernetes_pod_name=\"p\"})";
    assert!(answer.queries[0].contains(query), "{} {:?}", answer.error, answer.queries);
}

#[test]
fn what_our_reader_refuses_the_adapter_refuses_too() {
    let good = config(&[compiled("x", &Platform::default()).expect("accepted")], &Platform::default());
    for bad in [
        good.replace("seriesQuery", "seriesquery"),
        good.replace("rules:", "rule:"),
        good.replace("  name:", "  names:"),
        format!("{good}rules: []\n"),
    ] {
        assert!(yaml::parse::<Config>(&bad).is_err(), "{bad}");
        assert_ne!(ask(&bad, &[]).error, "", "{bad}");
    }
}

const HOSTILE_NAMESPACE: &str = "a\"b\\c\n<<$1>>";
const HOSTILE_NAME: &str = "x\",namespace=\"b`\t\u{7f}é\\d";

/// What the adapter may be asked for of a metric.
fn requests(measure: &Measure) -> [Request<'static>; 3] {
    match measure.kind {
        MetricKind::Pods => [
            Request::Pods { namespace: "prod", pods: &["llama-0"] },
            Request::Pods {
                namespace: "prod",
                pods: &["llama-7c9d5b8f6-abcde", "llama-7c9d5b8f6-fghij", "llama-7c9d5b8f6-klmno"],
            },
            Request::Pods { namespace: HOSTILE_NAMESPACE, pods: &[HOSTILE_NAME, "`\t\u{7f}é"] },
        ],
        MetricKind::Object(kind) => ["llama", "a.b", HOSTILE_NAME].map(|name| {
            let namespace = if name == HOSTILE_NAME { HOSTILE_NAMESPACE } else { "prod" };
            Request::Workload { namespace, kind, name }
        }),
    }
}

fn question(measure: &Measure, request: &Request<'_>) -> serde_json::Value {
    let (resource, names) = match request {
        Request::Pods { pods, .. } => ("pods", pods.to_vec()),
        Request::Workload { kind: WorkloadKind::Deployment, name, .. } => ("deployments.apps", vec![*name]),
        Request::Workload { kind: WorkloadKind::StatefulSet, name, .. } => ("statefulsets.apps", vec![*name]),
    };
    json!({"metric": measure.name, "resource": resource, "namespace": request.namespace(), "names": names})
}

/// The presets, every accepted expression of the literate cases, and hostile label values.
fn measures(platform: &Platform) -> Vec<Measure> {
    let mut texts: Vec<String> = presets().iter().map(|preset| preset.query.clone()).collect();
    for entry in fs::read_dir(Path::new(ROOT).join("rules/cases")).expect("the cases") {
        let file = fs::read_to_string(entry.expect("a file").path()).expect("UTF-8");
        for block in file.split("```promql").skip(1) {
            let (info, rest) = block.split_once('\n').expect("a block");
            let block = rest.split("\n```").next().expect("its end");
            if info.contains("names") {
                texts.extend(block.lines().map(str::to_owned));
            } else {
                texts.push(block.to_owned());
            }
        }
    }
    if let Some(file) = std::env::var_os("NIMSCALE_PROMQL_FILE") {
        let file = fs::read_to_string(file).expect("a file of expressions, one a line");
        texts.extend(file.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    texts.extend(HOSTILE.iter().map(|value| format!("x{{a=\"{value}\"}}")));
    let hostile = texts.len() - HOSTILE.len();
    let mut measures: Vec<Measure> = texts
        .iter()
        .enumerate()
        .flat_map(|(at, text)| {
            let measure = compiled(text, platform);
            assert!(at < hostile || measure.is_some(), "{text} is a legal label value");
            let of_set = measure.as_ref().filter(|measure| measure.kind != MetricKind::Pods);
            let of_set = of_set.and_then(|_| compiled_for(text, WorkloadKind::StatefulSet, platform));
            measure.into_iter().chain(of_set)
        })
        .collect();
    measures.sort_by(|a, b| a.name.cmp(&b.name));
    measures.dedup();
    measures
}

fn compiled(query: &str, platform: &Platform) -> Option<Measure> {
    compiled_for(query, WorkloadKind::Deployment, platform)
}

fn compiled_for(query: &str, workload: WorkloadKind, platform: &Platform) -> Option<Measure> {
    let target = Milli::from_thousandths(1000)?;
    measure(&Question { workload, ..Question::new(query, target) }, platform).measure
}

fn config(measures: &[Measure], platform: &Platform) -> String {
    let rules = measures.iter().map(|measure| rule(measure, platform)).collect();
    yaml::write(&Config { rules }).expect("it can be written")
}
