//! Laws of the compiler: what changes a rule, and what does not.
#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use nimscale_rules::bundle::{Bundle, bundle};
use nimscale_rules::compile::{Compiled, compile};
use nimscale_rules::declare::Range;
use nimscale_rules::emit::adapter::{self, Config};
use nimscale_rules::findings::Finding;
use nimscale_rules::measure::{Measure, Question, measure};
use nimscale_rules::plan::Plan;
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::promql::token::scan;
use nimscale_rules::quantity::Milli;
use nimscale_rules::workload::{Workload, WorkloadId, WorkloadKind};
use nimscale_rules::yaml;
use proptest::prelude::*;

/// Accepted expressions with every construct that is compiled.
const EXPRESSIONS: &[&str] = &[
    "gpu_cache_usage_perc",
    "num_requests_waiting{model_name=~\"meta/.+\",engine!=\"1\",a=`\\d`}",
    "sum by (pod) (num_requests_waiting)",
    "histogram_quantile(0.95, sum by (le, pod) (rate(time_to_first_token_seconds_bucket[2m])))",
    "2 * rate(request_success_total[2m] offset 1m) + 1",
    "max_over_time(abs(x)[10m:30s])",
    "sum by (pod) (a) / on (pod) sum by (pod) (b)",
    "max without (engine) (max by (pod, engine) (x)) > bool 3",
    "-x ^ 2 or 1 - y",
    "max by (pod) (a) and ignoring (l) max by (pod) (b) >= 0.5",
    "quantile by (pod) (0.9, clamp(x, -1, 1e3))",
];

fn measured(query: &str) -> Measure {
    let target = Milli::from_thousandths(1000).unwrap();
    let measured = measure(&Question::new(query, target), &Platform::default());
    measured.measure.unwrap_or_else(|| panic!("{query}: {:?}", measured.findings))
}

fn workload(name: &str, annotations: &[(&str, &str)]) -> Workload {
    let id = WorkloadId { namespace: Some("prod".into()), name: name.into(), kind: WorkloadKind::Deployment };
    let annotations = annotations.iter().map(|(key, value)| (format!("nimscale.dev/{key}"), (*value).to_owned()));
    Workload::stored(id, &annotations.collect())
}

fn compiled(workload: &Workload) -> Compiled {
    compile(workload, &Policies::built_in(), &Platform::default())
}

fn planned(name: &str, annotations: &[(&str, &str)]) -> Plan {
    let compiled = compiled(&workload(name, annotations));
    compiled.plan.unwrap_or_else(|| panic!("{name}: {:?}", compiled.findings))
}

fn config(bundle: &Bundle) -> String {
    adapter::config(bundle, &Platform::default()).unwrap()
}

#[test]
fn a_target_that_is_never_reached_is_warned_of_where_it_stands() {
    let keep = "cache: gpu_cache_usage_perc < 75\nsum by (pod) (gpu_cache_usage_perc) < 75\n";
    let compiled = compiled(&workload("a", &[("scale", "1..8"), ("keep", keep)]));
    assert!(compiled.plan.is_some(), "a warning stops nothing");
    let told: Vec<_> = compiled.findings.iter().map(|f| (f.code.as_str(), f.place.bytes.of(keep))).collect();
    assert_eq!(told, [("NS0375", "75")], "{:?}", compiled.findings);
    assert_eq!(compiled.findings[0].place.bytes.end, keep.find('\n').unwrap());
}

#[test]
fn equal_expressions_of_two_workloads_are_one_rule() {
    let a = planned("a", &[("keep", "sum by (pod) (x) < 8")]);
    let b = planned("b", &[("keep", "backlog: sum(x) by (pod) < 9\nmax by (pod) (y) < 1")]);
    let bundle = bundle(vec![a, b]);
    assert_eq!(bundle.measures.len(), 2);
    let read: Config = yaml::parse(&config(&bundle)).unwrap();
    assert_eq!(read.rules.len(), 2);
}

#[test]
fn a_target_that_needs_another_overload_bound_is_another_rule() {
    let bundle = bundle(vec![planned("a", &[("keep", "x < 8")]), planned("b", &[("keep", "x < 0.5")])]);
    assert_eq!(bundle.measures.len(), 2);
}

#[test]
fn the_order_of_the_input_changes_nothing() {
    let plans = || {
        vec![
            planned("c", &[("scale", "1..4 kv-cache ttft-p95<2.5s")]),
            planned("a", &[("keep", "x < 8\ny < 0.5")]),
            planned("b", &[("scale", "auto")]),
        ]
    };
    let forwards = bundle(plans());
    let backwards = bundle(plans().into_iter().rev().collect());
    assert_eq!(forwards, backwards);
    assert_eq!(config(&forwards), config(&backwards));
    let names: Vec<&str> = forwards.plans.iter().map(|plan| plan.id.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn no_label_of_a_workload_gets_into_a_rule() {
    let one = bundle(vec![planned("llama", &[("keep", "x{namespace=\"prod\"} < 8")])]);
    let text = config(&one);
    assert!(!text.contains("prod") && !text.contains("llama"), "{text}");
}

#[test]
fn default_metrics_are_those_of_the_page() {
    let plan = planned("a", &[("scale", "1..8")]);
    assert_eq!(plan.bounds(), Range { min: 1, max: 8 });
    let targets: Vec<String> = plan.metrics.iter().map(|metric| metric.target.value.quantity()).collect();
    assert_eq!(targets, ["750m", "8"]);
    let plan = planned("a", &[("scale", "auto")]);
    assert_eq!((plan.bounds(), plan.metrics.len()), (Range { min: 1, max: 4 }, 2));
}

#[test]
fn a_pause_at_a_number_holds_it() {
    let plan = planned("a", &[("scale", "1..8"), ("paused", "3")]);
    assert_eq!(plan.bounds(), Range { min: 3, max: 3 });
}

#[test]
fn hostile_annotations_cost_little_and_get_a_code() {
    let long = "x + ".repeat(40_000);
    let deep = format!("{}x{} < 3", "(".repeat(2000), ")".repeat(2000));
    let many: String = (0..2000).map(|n| format!("m{n} < 1\n")).collect();
    let quotes = "x{a=\"".repeat(500);
    let braces = "{".repeat(4000);
    let action = "x{a=\"<<range $i := index .LabelValuesByName \\\"x\\\">>\"} < 3";
    let cases: &[(&str, &str, &str)] = &[
        ("keep", &long, "NS0362"),
        ("keep", &deep, "NS0362"),
        ("keep", &many, "NS0206"),
        ("keep", &quotes, "NS0301"),
        ("keep", &braces, "NS0301"),
        ("keep", "x{namespace=\"kube-system\"} < 3", "NS0340"),
        ("keep", "x{namespace=~\".+\"} < 3", "NS0340"),
        ("keep", "max_over_time(x[50m:1ms]) < 3", "NS0362"),
        ("keep", "max_over_time(x[30d]) < 3", "NS0362"),
        ("keep", "topk(scalar(y{namespace=\"kube-system\"}), x) < 3", "NS0340"),
        ("scale", &"kv-cache ".repeat(20_000), "NS0107"),
        ("scale", "1..99999999999999999999999999", "NS0203"),
        ("spec", &"[".repeat(4000), "NS0141"),
        ("spec", &format!("metrics:\n{}", "- {preset: kv-cache}\n".repeat(5000)), "NS0107"),
        ("spec", &"a: 1\n".repeat(40_000), "NS0145"),
        ("policy", "Nim Default", "NS0153"),
        ("adopt-hpa", "hpa/x", "NS0153"),
        ("suppress", "NS0401", "NS0199"),
        ("scale", "1..4 gpu-util<75", "NS0213"),
        ("scales", "1..4", "NS0101"),
    ];
    for (key, value, code) in cases {
        let compiled = compiled(&workload("a", &[(key, value)]));
        let codes: Vec<&str> = compiled.findings.iter().map(|finding| finding.code.as_str()).collect();
        assert!(codes.contains(code), "{key}: {codes:?}, not {code}");
        assert!(compiled.plan.is_none(), "{key}");
        for Finding { place, message, .. } in &compiled.findings {
            assert!(place.bytes.end <= value.len() && message.chars().count() <= 113, "{key}: {message}");
        }
    }
    let text = config(&bundle(vec![planned("a", &[("keep", action)])]));
    assert!(text.contains("\\x3c\\x3crange") && text.matches("<<").count() == 2, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn white_space_and_comments_change_nothing(
        at in 0..EXPRESSIONS.len(),
        gaps in prop::collection::vec(prop::sample::select(vec![" ", "\n", "\t ", "  ", " # why, (not\n", "\r\n"]), 64),
    ) {
        let text = EXPRESSIONS[at];
        let mut in_brackets = false;
        let mut spaced = String::new();
        for (token, gap) in scan(text).into_iter().zip(gaps.iter().cycle()) {
            let word = token.span.of(text);
            in_brackets = (in_brackets || word == "[") && word != "]";
            // PromQL knows no comment between `[` and `]`.
            spaced.push_str(word);
            spaced.push_str(if in_brackets { " " } else { gap });
        }
        prop_assert_eq!(measured(&spaced), measured(text), "{}", spaced);
    }

    #[test]
    fn redundant_parentheses_change_nothing(at in 0..EXPRESSIONS.len(), depth in 1..6_usize) {
        let text = EXPRESSIONS[at];
        prop_assert_eq!(measured(&format!("{}{text}{}", "(".repeat(depth), ")".repeat(depth))), measured(text));
    }

    #[test]
    fn the_order_of_matchers_changes_nothing(order in Just(vec!["a=\"1\"", "b!=\"2\"", "c=~\"x.+\"", "a=\"1\""]).prop_shuffle()) {
        let text = format!("x{{{}}}", order.join(", "));
        prop_assert_eq!(measured(&text), measured("x{a=\"1\",b!=\"2\",c=~\"x.+\"}"));
    }
}
