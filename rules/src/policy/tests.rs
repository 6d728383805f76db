//! Policies and annotations together, row by row, and their laws.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::spec::{Limits as LimitsSpec, MOST_REPLICAS, MetricLimits, OnViolation};
use super::*;
use crate::compile::{Compiled, compile};
use crate::declare::{Attach, Paused};
use crate::findings::Severity;
use crate::place::Origin;
use crate::plan::Plan;
use crate::platform::Platform;
use crate::workload::{Pods, WorkloadId, WorkloadKind};
use crate::yaml;

/// Names of policies and their specs; keys of annotations and their values.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn spec(text: &str) -> Spec {
    yaml::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn book(policies: &[(&str, &str)]) -> Book {
    let mut book = Book::default();
    for (name, text) in policies {
        let findings = book.apply(name, spec(text));
        assert!(!findings.iter().any(Finding::is_error), "{text}: {findings:?}");
    }
    book
}

fn policies(policies: &[(&str, &str)]) -> Policies {
    book(policies).policies(&BTreeMap::new())
}

/// A NIM of two GPUs in the namespace prod.
fn nim(annotations: &[(&str, &str)]) -> Workload {
    let id = WorkloadId { namespace: Some("prod".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
    let annotations = annotations.iter().map(|(key, value)| (format!("nimscale.dev/{key}"), (*value).to_owned()));
    let images = vec!["nvcr.io/nim/meta/llama:1".to_owned()];
    Workload { pods: Pods { images, gpus: 2, ..Pods::default() }, ..Workload::stored(id, &annotations.collect()) }
}

fn compiled(policies: &Policies, annotations: &[(&str, &str)]) -> Compiled {
    compile(&nim(annotations), policies, &Platform::default())
}

fn origin(from: &Origin) -> &str {
    match from {
        Origin::Annotation(_) => "annotation",
        Origin::Policy(name) => name,
        Origin::BuiltIn => "built-in",
    }
}

/// What came out, in one line: range, mode, metrics, findings; each value with who set it.
fn told(Compiled { plan, findings, .. }: &Compiled) -> String {
    let mut words = Vec::new();
    if let Some(plan) = plan {
        let Range { min, max } = plan.bounds();
        words.push(format!("{min}..{max} {}", origin(&plan.replicas.from)));
        words.push(format!("{:?} {}", plan.mode.value, origin(&plan.mode.from)));
        let mut metrics: Vec<String> = plan
            .metrics
            .iter()
            .map(|metric| format!("{}<{} {}", metric.name, metric.target.value, origin(&metric.target.from)))
            .collect();
        metrics.sort();
        words.extend(metrics);
    }
    for finding in findings.iter().filter(|finding| finding.severity() != Severity::Note) {
        assert!(finding.message.chars().count() <= 113, "{}", finding.message);
        words.push(format!("{} {}", finding.code, finding.message));
    }
    words.join("; ")
}

const A: &str = "priority: 10\ndefaults: {replicas: {min: 2, max: 6}, metrics: [{preset: ttft-p95, target: 5s}, {preset: kv-cache}], behavior: fast}";
const B: &str = "priority: 5\nmode: Observe\ndefaults: {replicas: {min: 1, max: 3}}";

#[test]
fn defaults_come_from_the_annotation_then_the_first_policy_then_us() {
    let both = [("a", A), ("b", B)];
    let rows: &[(Pairs<'_>, Pairs<'_>, &str)] = &[
        (&[], &[("scale", "auto")], "1..4 built-in; Enforce built-in; kv-cache<0.75 built-in; queue-depth<8 built-in"),
        (&both, &[("scale", "auto")], "2..6 a; Enforce built-in; kv-cache<0.75 built-in; ttft-p95<5 a"),
        (
            &both,
            &[("scale", "1..8 queue-depth<4"), ("mode", "observe")],
            "1..8 annotation; Observe annotation; queue-depth<4 annotation",
        ),
        (&both, &[("scale", "kv-cache<50%")], "2..6 a; Enforce built-in; kv-cache<0.5 annotation"),
        (
            &both,
            &[("scale", "auto"), ("policy", "b")],
            "1..3 b; Observe b; kv-cache<0.75 built-in; queue-depth<8 built-in",
        ),
        (
            &both,
            &[("scale", "auto"), ("policy", "none")],
            "1..4 built-in; Enforce built-in; kv-cache<0.75 built-in; queue-depth<8 built-in",
        ),
        (&both, &[("scale", "off")], ""),
        (&both, &[("policy", "none")], "NS0110 nimscale.dev/policy alone attaches nothing"),
        (
            &both,
            &[("scale", "auto"), ("policy", "c")],
            "1..4 built-in; Observe built-in; kv-cache<0.75 built-in; queue-depth<8 built-in; \
             NS0222 no ClusterScalingPolicy c is in force: observed until one is",
        ),
        (
            &[("z", "priority: 10\nmode: Observe"), ("a", A)],
            &[("scale", "queue-depth")],
            "2..6 a; Enforce built-in; queue-depth<8 built-in",
        ),
    ];
    for (policies_of, annotations, expected) in rows {
        assert_eq!(told(&compiled(&policies(policies_of), annotations)), *expected, "{annotations:?}");
    }
    let plan = compiled(&policies(&both), &[("scale", "auto")]).plan.expect("a plan");
    assert_eq!(plan.behavior, Set { value: Behavior::named("fast").expect("one"), from: Origin::Policy("a".into()) });
}

#[test]
fn policies_select_by_labels_of_namespace_and_workload() {
    let with =
        |selector: &str| policies(&[("a", &format!("match: {selector}\ndefaults: {{replicas: {{min: 1, max: 7}}}}"))]);
    let selected =
        |policies: &Policies, workload: &Workload| compile(workload, policies, &Platform::default()).policy.is_some();
    let mut workload = nim(&[("scale", "auto")]);
    workload.labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let prod = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: prod}}}";
    for (selector, expected) in [
        ("{}", true),
        (prod, true),
        ("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: dev}}}", false),
        ("{namespaceSelector: {matchLabels: {tier: gold}}}", false),
        ("{workloadSelector: {matchLabels: {team: a}}}", true),
        ("{workloadSelector: {matchExpressions: [{key: team, operator: NotIn, values: [a, b]}]}}", false),
        ("{workloadSelector: {matchExpressions: [{key: team, operator: Exists}]}}", true),
    ] {
        assert_eq!(selected(&with(selector), &workload), expected, "{selector}");
    }
    let gold = book(&[("a", "match: {namespaceSelector: {matchLabels: {tier: gold}}}")]);
    let namespaces = |name: &str| BTreeMap::from([(name.to_owned(), BTreeMap::from([("tier".into(), "gold".into())]))]);
    assert!(selected(&gold.policies(&namespaces("prod")), &workload));
    assert!(!selected(&gold.policies(&namespaces("dev")), &workload));
    workload.id.namespace = None;
    assert!(!selected(&with(prod), &workload), "a namespace that nobody states is none");
    let matching = policies(&[("a", "{}"), ("b", "priority: 1"), ("c", "{}")]);
    assert_eq!(matching.matching(&workload), ["b", "a", "c"]);
}

#[test]
fn a_nim_without_annotations_is_attached_where_a_policy_says_so() {
    let row = |policy: &str, annotations: &[(&str, &str)]| {
        let compiled = compiled(&policies(&[("a", policy), ("b", "priority: 1")]), annotations);
        let mode = compiled.plan.as_ref().map(|plan| (plan.mode.value, origin(&plan.mode.from).to_owned()));
        let codes: Vec<&str> = compiled.findings.iter().map(|finding| finding.code.as_str()).collect();
        (compiled.attach, mode, compiled.policy, codes.join(" "))
    };
    let a = || Some("a".to_owned());
    let observe = Some((Mode::Observe, "built-in".to_owned()));
    let enforce = Some((Mode::Enforce, "a".to_owned()));
    let always = "match: {attach: Always}";
    assert_eq!(row("{}", &[]), (Attach::NotDeclared, None, None, String::new()));
    assert_eq!(row(always, &[]), (Attach::ByPolicy, observe.clone(), a(), String::new()));
    assert_eq!(row("mode: Enforce\nmatch: {attach: Always}", &[]), (Attach::ByPolicy, enforce, a(), String::new()));
    assert_eq!(row("match: {attach: Always, images: [\"other/**\"]}", &[]).0, Attach::NotDeclared);
    assert_eq!(row(always, &[("paused", "true")]), (Attach::ByPolicy, observe, a(), String::new()));
    assert_eq!(row(always, &[("policy", "none")]), (Attach::NotDeclared, None, None, "NS0110".into()));
    assert_eq!(row(always, &[("policy", "b")]), (Attach::NotDeclared, None, None, "NS0110".into()));
    assert_eq!(row(always, &[("scale", "off")]), (Attach::Off, None, None, String::new()));
    assert_eq!(row(always, &[("scale", "auto")]).2, Some("b".to_owned()), "of all that match, where a key declares");
}

#[test]
fn limits_refuse_or_lower_and_name_who_set_them() {
    let ceiling = "limits: {maxReplicas: 4}";
    let clamp = "limits: {maxReplicas: 4, onViolation: Clamp}";
    let rows: &[(&str, Pairs<'_>, &str)] = &[
        ("{}", &[("scale", "1..17 queue-depth")], "NS0203 max 17 is over the ceiling 16 (built-in)"),
        (
            "limits: {maxReplicas: 64}",
            &[("scale", "1..64 queue-depth")],
            "1..64 annotation; Enforce built-in; queue-depth<8 built-in",
        ),
        (ceiling, &[("scale", "1..5 queue-depth")], "NS0203 max 5 is over the ceiling 4 (lim)"),
        (
            clamp,
            &[("scale", "5..8 queue-depth")],
            "4..4 lim; Enforce built-in; queue-depth<8 built-in; NS0221 max 8 lowered to 4 (lim)",
        ),
        (ceiling, &[("scale", "1..2 queue-depth"), ("paused", "5")], "NS0203 paused at 5 is over the ceiling 4 (lim)"),
        (
            clamp,
            &[("scale", "1..2 queue-depth"), ("paused", "5")],
            "4..4 annotation; Enforce built-in; queue-depth<8 built-in; NS0221 paused at 5 lowered to 4 (lim)",
        ),
        (
            "limits: {maxReplicas: 2}",
            &[("scale", "queue-depth")],
            "1..2 lim; Enforce built-in; queue-depth<8 built-in; NS0221 default max 4 lowered to 2 (lim)",
        ),
        ("limits: {gpus: 8}", &[("scale", "1..5 queue-depth")], "NS0205 5 x 2 GPUs is over the limit 8 (lim)"),
        (
            "limits: {gpus: 8, onViolation: Clamp}",
            &[("scale", "1..5 queue-depth")],
            "1..4 lim; Enforce built-in; queue-depth<8 built-in; NS0221 max 5 lowered to 4 (lim)",
        ),
        (
            "limits: {gpus: 4}",
            &[("scale", "queue-depth")],
            "1..2 lim; Enforce built-in; queue-depth<8 built-in; NS0221 max 4 lowered to 2 (lim)",
        ),
        (
            "limits: {gpus: 1, onViolation: Clamp}",
            &[("scale", "1..2 queue-depth")],
            "NS0205 1 x 2 GPUs is over the limit 1 (lim)",
        ),
        (
            "limits: {gpus: 4}",
            &[("scale", "1..2 queue-depth"), ("paused", "3")],
            "NS0205 3 x 2 GPUs is over the limit 4 (lim)",
        ),
        (
            "limits: {metrics: {max: 1}}",
            &[("scale", "1..2 queue-depth kv-cache")],
            "NS0206 2 metrics; the limit is 1 (lim)",
        ),
        (
            "limits: {metrics: {max: 1}, onViolation: Clamp}",
            &[("scale", "1..2 queue-depth"), ("keep", "x < 3")],
            "1..2 annotation; Enforce built-in; queue-depth<8 built-in; NS0221 2 metrics lowered to 1 (lim)",
        ),
        (
            "limits: {metrics: {max: 1}}",
            &[("scale", "1..2")],
            "1..2 annotation; Enforce built-in; kv-cache<0.75 built-in; NS0221 2 default metrics lowered to 1 (lim)",
        ),
        ("limits: {metrics: {source: PresetsOnly}}", &[("keep", "x < 3")], "NS0208 lim allows presets only"),
        (
            "limits: {metrics: {source: PresetsOnly}}",
            &[("scale", "1..2 queue-depth")],
            "1..2 annotation; Enforce built-in; queue-depth<8 built-in",
        ),
        (
            "limits: {query: {denyMetrics: [\"node_.*\", up]}}",
            &[("keep", "max by (pod) (x) + on (pod) max by (pod) (node_load1) < 3")],
            "NS0209 node_load1 is denied by lim",
        ),
        (
            "limits: {query: {denyMetrics: [\"node_.*\", up]}}",
            &[("scale", "1..2"), ("keep", "sum by (pod) (upx) < 3")],
            "1..2 annotation; Enforce built-in; upx<3 annotation",
        ),
        (
            "limits: {query: {maxRange: 1m}}",
            &[("keep", "sum by (pod) (rate(x_total[2m])) < 3")],
            "NS0362 2m is over the limit of 1m for a range (lim)",
        ),
        (
            "limits: {query: {maxSelectors: 2}}",
            &[("keep", "x + y * x + y < 3")],
            "NS0362 4 selectors are over the limit of 2 (lim)",
        ),
        (
            "limits: {query: {maxSelectors: 2}}",
            &[("scale", "1..2 queue-time<1s"), ("keep", "x + x < 3")],
            "1..2 annotation; Enforce built-in; queue-time<1 annotation; x<3 annotation",
        ),
        (
            "limits: {query: {maxBytes: 10}}",
            &[("keep", "sum by (pod) (x) < 3")],
            "NS0362 the entry takes 20 bytes; the limit is 10 (lim)",
        ),
    ];
    for (limit, annotations, expected) in rows {
        let with = policies(&[("a", "priority: 9"), ("lim", limit)]);
        assert_eq!(told(&compiled(&with, annotations)), *expected, "{limit} {annotations:?}");
        let mut pick = annotations.to_vec();
        pick.push(("policy", "none"));
        assert_eq!(told(&compiled(&with, &pick)), *expected, "limits hold whatever gives the defaults");
    }
}

#[test]
fn a_policy_that_is_picked_lifts_no_limit() {
    let far =
        "match: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: dev}}}\nlimits: {maxReplicas: 100}";
    let compiled = compiled(&policies(&[("far", far)]), &[("scale", "1..100"), ("policy", "far")]);
    assert_eq!(told(&compiled), "NS0203 max 100 is over the ceiling 16 (built-in)");
}

#[test]
fn clamping_lowers_what_was_admitted_under_a_higher_ceiling() {
    let clamping = policies(&[("lim", "limits: {maxReplicas: 4, gpus: 6, metrics: {max: 2}}")]).clamping();
    let annotations = [("scale", "1..99 queue-depth"), ("keep", "x < 1\ny < 1")];
    assert_eq!(
        told(&compiled(&clamping, &annotations)),
        "1..3 lim; Enforce built-in; queue-depth<8 built-in; x<1 annotation; NS0221 max 99 lowered to 4 (lim); \
         NS0221 max 4 lowered to 3 (lim); NS0221 3 metrics lowered to 2 (lim)"
    );
    let built_in = Policies::built_in().clamping();
    assert_eq!(
        told(&compiled(&built_in, &[("scale", "1..99 queue-depth")])),
        "1..16 built-in; Enforce built-in; queue-depth<8 built-in; NS0221 max 99 lowered to 16 (built-in)"
    );
}

#[test]
fn a_policy_with_a_mistake_is_refused_whole_and_says_what_to_type() {
    let rows = [
        ("priority: 2000000", "priority 2000000 is not between -1000000 and 1000000", "1000000"),
        ("limits: {maxReplicas: 2000}", "maxReplicas 2000 is not between 1 and 1000", "1000"),
        ("limits: {gpus: 0}", "gpus 0 is not between 1 and 1000000", "1"),
        ("limits: {metrics: {max: 17}}", "metrics.max 17 is not between 1 and 16", "16"),
        ("limits: {query: {maxBytes: 5000}}", "query.maxBytes 5000 is not between 1 and 4096", "4096"),
        ("limits: {query: {maxRange: 2h}}", "query.maxRange 2h is over 1h, the compiler's limit", "1h"),
        ("limits: {query: {maxSelectors: 11}}", "query.maxSelectors 11 is not between 1 and 10", "10"),
        ("limits: {query: {maxRange: 5}}", "query.maxRange: 5 is no time such as 30m", "1h"),
        (
            "limits: {query: {denyMetrics: [\"a(\"]}}",
            "denyMetrics: a( is no pattern of names",
            "node_.*, and metrics.source: PresetsOnly for all of them",
        ),
        ("defaults: {replicas: {min: 3, max: 2}}", "min 3 is over max 2", "{min: 2, max: 3}"),
        ("defaults: {replicas: {min: 0, max: 2}}", "min 0 is not between 1 and 1000", "1"),
        ("defaults: {replicas: {min: 1, max: 17}}", "default max 17 is over the ceiling 16", "limits.maxReplicas: 17"),
        ("defaults: {metrics: [{preset: kvcache}]}", "unknown preset kvcache", "kv-cache"),
        ("defaults: {metrics: [{preset: rps}]}", "rps has no default target", "a target"),
        (
            "defaults: {metrics: [{preset: kv-cache, target: 75}]}",
            "kv-cache: 75 is not under kv-cache's top of 1",
            "75%",
        ),
        ("defaults: {metrics: [{preset: kv-cache}, {preset: kv-cache}]}", "kv-cache stands twice", "one of the two"),
        ("defaults: {metrics: [{target: 8}]}", "a metric without a preset", "preset: kv-cache"),
        (
            "defaults: {metrics: [{name: a, query: x, target: 8}]}",
            "metrics: query is not supported by this version yet",
            "preset: kv-cache",
        ),
        (
            "defaults: {behavior: balancd}",
            "behavior: \"balancd\" is not gentle, balanced, fast, up or down",
            "balanced",
        ),
        ("match: {images: [\"a b\"]}", "a b is no pattern of images", "nvcr.io/nim/**"),
        ("match: {workloadSelector: {matchExpressions: [{key: a, operator: In}]}}", "In needs values", "values: [a]"),
        (
            "match: {workloadSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
            "Exists has no values",
            "no values",
        ),
        ("presets: [{name: tokens}]", "presets are not supported by this version yet", "a built-in preset"),
    ];
    for (text, why, help) in rows {
        let (policy, findings) = Policy::read("nim", spec(text));
        assert_eq!(policy, None, "{text}");
        let told: Vec<_> =
            findings.iter().map(|finding| (finding.code, finding.message.as_str(), finding.help.as_deref())).collect();
        let message = format!("policy nim: {why}");
        assert_eq!(told, [(Code::Ns0224, message.as_str(), Some(help))], "{text}");
    }
    let (policy, findings) = Policy::read("nim", spec("defaults: {metrics: [{preset: ttft-p95, target: 2s}]}"));
    assert!(policy.is_some(), "a warning stops nothing");
    assert_eq!(findings[0].code, Code::Ns0217);
    assert_eq!(findings[0].place.path, "/spec/defaults/metrics/0");
}

#[test]
fn the_last_good_one_stays_in_force() {
    let mut book = book(&[("a", "limits: {maxReplicas: 3}")]);
    let ceiling = |book: &Book| told(&compiled(&book.policies(&BTreeMap::new()), &[("scale", "1..9")]));
    let refused = book.apply("a", spec("limits: {maxReplicas: 0}"));
    let message = "policy a: maxReplicas 0 is not between 1 and 1000; the last good one stays";
    assert_eq!(refused.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>(), [message]);
    assert_eq!(ceiling(&book), "NS0203 max 9 is over the ceiling 3 (a)");
    let refused = book.refuse("b", &"unknown field ".repeat(20));
    assert_eq!((refused[0].code, refused[0].message.chars().count() <= 113), (Code::Ns0224, true));
    book.apply("a", spec("limits: {maxReplicas: 4}"));
    assert_eq!(ceiling(&book), "NS0203 max 9 is over the ceiling 4 (a)");
    book.remove("a");
    assert!(ceiling(&book).starts_with("1..9 annotation"));
}

#[test]
fn equal_priorities_are_told_and_image_patterns_gathered() {
    let mut book = book(&[("b", "priority: 7\nmatch: {attach: Always}")]);
    let tied =
        book.apply("a", spec("priority: 7\nmatch: {attach: Always, images: [\"mirror/nim/*\", \"nvcr.io/nim/**\"]}"));
    assert_eq!(tied[0].message, "a and b both have priority 7; a wins");
    assert_eq!((tied.len(), tied[0].code), (1, Code::Ns0223));
    assert_eq!(book.apply("c", spec("match: {images: [\"x\"]}")), []);
    assert_eq!(book.attaches(), ["mirror/nim/*", "nvcr.io/nim/**"]);
}

#[test]
fn the_guard_is_that_of_the_policy_whose_defaults_apply() {
    let with = policies(&[("a", "priority: 1\nreplicaGuard: Warn"), ("b", "replicaGuard: \"Off\"")]);
    let guard = |annotations: &[(&str, &str)]| compiled(&with, annotations).guard;
    assert_eq!(guard(&[("scale", "auto")]), Guard::Warn);
    assert_eq!(guard(&[("scale", "auto"), ("policy", "b")]), Guard::Off);
    assert_eq!(guard(&[("scale", "auto"), ("policy", "none")]), Guard::Preserve);
    assert_eq!(guard(&[]), Guard::Warn, "what held while there were keys");
}

const EVERYTHING: &str = r#"
priority: 100
mode: Enforce
match:
  namespaceSelector: {matchLabels: {tier: gold}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}
  workloadSelector: {matchLabels: {app: llama}, matchExpressions: [{key: a, operator: Exists}]}
  images: ["nvcr.io/nim/**"]
  attach: Always
replicaGuard: Warn
defaults:
  replicas: {min: 1, max: 4}
  metrics: [{preset: kv-cache, target: 80%}, {preset: queue-depth, target: 8}]
  behavior: up 2/60s; down off
limits:
  maxReplicas: 16
  gpus: 64
  metrics: {max: 4, source: PresetsOnly}
  query: {maxBytes: 1024, maxRange: 30m, maxSelectors: 4, denyMetrics: ["node_.*"]}
  onViolation: Clamp
"#;

#[test]
fn a_spec_is_written_as_it_is_read_and_the_schema_knows_every_field() {
    let everything = spec(EVERYTHING);
    let written = serde_json::to_value(&everything).expect("it is written");
    assert_eq!(written, yaml::parse::<serde_json::Value>(EVERYTHING).expect("it is YAML"));
    assert_eq!(serde_json::from_value::<Spec>(written.clone()).expect("it reads back"), everything);
    assert!(Policy::read("nim", everything).0.is_some());
    let settings = schemars::generate::SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Spec>().to_value();
    fields(&schema, &written, "");
}

/// Every field of a value is one of its schema, and every field of the schema stands in the value or is for later.
fn fields(schema: &serde_json::Value, value: &serde_json::Value, path: &str) {
    let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) else { return };
    for (name, value) in object {
        let at = format!("{path}/{name}");
        let property = properties.get(name).unwrap_or_else(|| panic!("{at} is not in the schema"));
        fields(property, value, &at);
        for item in value.as_array().into_iter().flatten() {
            fields(&property["items"], item, &at);
        }
    }
    let later = |name: &str| properties[name]["description"] == "For a later version.";
    let optional =
        ["/defaults/metrics", "/match/namespaceSelector/matchExpressions", "/match/workloadSelector/matchExpressions"];
    for name in properties.keys().filter(|name| !later(name) && !optional.contains(&path)) {
        assert!(object.contains_key(name), "{path}/{name} is not in the example");
    }
}

#[test]
fn the_measure_of_a_preset_is_published_whatever_the_workload() {
    let platforms = ["{}", "requiredMatchers: {cluster: east}\n", "labels: {pod: kubernetes_pod_name}\n"];
    for platform in platforms.map(|text| Platform::read(text).expect("a platform")) {
        let published = crate::presets::measures(&platform);
        assert_eq!(published.len(), crate::presets::presets().len());
        assert!(published.windows(2).all(|pair| pair[0].name < pair[1].name));
        let scales = [
            "1..8 kv-cache<1% queue-depth<1000 queue-time<1s ttft-p95<100ms itl-p95",
            "1..8 e2e-p95<7s gpu-util rps<9/s running<1",
        ];
        let plan = |scale| compile(&nim(&[("scale", scale)]), &Policies::built_in(), &platform).plan.expect("a plan");
        let metrics = scales.into_iter().flat_map(|scale| plan(scale).metrics);
        let mut measures: Vec<_> = metrics.map(|metric| metric.measure).collect();
        measures.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(measures, published);
    }
}

#[test]
fn every_default_target_fits_the_hpa_at_the_highest_ceiling() {
    let limit = format!("limits: {{maxReplicas: {MOST_REPLICAS}}}");
    let with = policies(&[("a", &limit)]);
    let scale = format!("1..{MOST_REPLICAS} kv-cache queue-depth ttft-p95");
    // 1.001 is the worst for an expression: its bound is a million times the target.
    let most = compiled(&with, &[("scale", &scale), ("keep", "sum by (pod) (x) < 1.001")]);
    assert_eq!(most.plan.map(|plan| plan.bounds().max), Some(MOST_REPLICAS), "{:?}", most.findings);
    let tiny = compiled(&with, &[("scale", "1..1000 queue-depth<0.001")]);
    assert_eq!(told(&tiny), "NS0212 queue-depth: a target of 0.001 is too small for 1000 replicas");
}

/// What a random policy states.
fn limits() -> impl Strategy<Value = LimitsSpec> {
    let of = |most: u32| prop::option::of(1..=most);
    (of(30), of(40), of(10), any::<bool>()).prop_map(|(max_replicas, gpus, max, clamps)| LimitsSpec {
        max_replicas,
        gpus,
        metrics: MetricLimits { max, ..MetricLimits::default() },
        on_violation: if clamps { OnViolation::Clamp } else { OnViolation::Deny },
        ..LimitsSpec::default()
    })
}

fn within(plan: &Plan, limits: &LimitsSpec) -> bool {
    let max = plan.bounds().max;
    limits.max_replicas.is_none_or(|most| max <= most)
        && limits.gpus.is_none_or(|most| max * 2 <= most)
        && limits.metrics.max.is_none_or(|most| plan.metrics.len() <= most as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_strictest_limit_holds_in_any_order_and_none_is_loosened(
        stated in prop::collection::vec((limits(), -3..3_i32), 0..5),
        max in 1..40_u32,
        hold in prop::option::of(1..40_u32),
        keys in prop::collection::vec(prop::sample::select(vec!["kv-cache", "queue-depth", "ttft-p95"]), 0..3),
        clamping in any::<bool>(),
    ) {
        let mut forwards = Book::default();
        let mut backwards = Book::default();
        let spec = |(limits, priority): &(LimitsSpec, i32)| Spec { limits: limits.clone(), priority: *priority, ..Spec::default() };
        for (at, one) in stated.iter().enumerate() {
            forwards.apply(&format!("p{at}"), spec(one));
        }
        for (at, one) in stated.iter().enumerate().rev() {
            backwards.apply(&format!("p{at}"), spec(one));
        }
        let keys: std::collections::BTreeSet<&str> = keys.into_iter().collect();
        let scale = format!("1..{max} {}", keys.into_iter().collect::<Vec<_>>().join(" "));
        let hold = hold.map(|hold| hold.to_string());
        let mut annotations = vec![("scale", scale.as_str())];
        annotations.extend(hold.as_deref().map(|hold| ("paused", hold)));
        let of = |book: &Book| {
            let policies = book.policies(&BTreeMap::new());
            compiled(&if clamping { policies.clamping() } else { policies }, &annotations)
        };
        let compiled = of(&forwards);
        prop_assert_eq!(&compiled, &of(&backwards));
        let ceiling = stated.iter().filter_map(|(limits, _)| limits.max_replicas).min().unwrap_or(16);
        if let Some(plan) = &compiled.plan {
            prop_assert!(stated.iter().all(|(limits, _)| within(plan, limits)), "{:?}", plan);
            prop_assert!(plan.bounds().max <= ceiling && plan.bounds().min >= 1);
            prop_assert!(!clamping || !matches!(plan.paused.value, Paused::At(held) if held > ceiling));
        } else {
            let single = stated.iter().any(|(limits, _)| limits.gpus == Some(1));
            prop_assert!(!clamping || single, "only a pod with more GPUs than allowed is not lowered");
        }
    }
}
