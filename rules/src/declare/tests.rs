//! The examples of the reference, row by row: values are JSON string bodies, as they stand there.
#![expect(clippy::disallowed_types, reason = "the law of `keep` is about what PromQL's parser reads")]

use std::collections::BTreeMap;

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self, Expr, token};
use proptest::prelude::*;

use super::*;
use crate::place::Origin;
use crate::promql::token::scan;
use crate::workload::{WorkloadId, WorkloadKind};

fn workload(values: &[(&str, &str)]) -> Workload {
    let id = WorkloadId { namespace: None, name: "llama".into(), kind: WorkloadKind::Deployment };
    let annotation = |(key, value): (&str, &str)| Annotation {
        key: format!("nimscale.dev/{key}"),
        key_place: Place::of_text(Span::default()),
        value: Text::verbatim(value).at_path(key),
    };
    let sorted: BTreeMap<&str, &str> = values.iter().copied().collect();
    Workload {
        annotations: sorted.into_iter().map(annotation).collect(),
        annotation_bytes: values.iter().map(|(key, value)| key.len() + value.len()).sum(),
        ..Workload::stored(id, &BTreeMap::new())
    }
}

fn read(values: &[(&str, &str)]) -> (Declaration, Vec<Finding>) {
    declare(&workload(values), &Limits::BUILT_IN)
}

fn decoded(body: &str) -> String {
    serde_json::from_str(&format!("\"{body}\"")).expect("a JSON string body")
}

/// The codes when the value is refused, and else what it reads as.
fn outcome(key: &str, body: &str) -> String {
    let (declaration, findings) = read(&[(key, &decoded(body))]);
    let mut words = Vec::new();
    if !findings.iter().any(Finding::is_error) {
        if declaration.attach == Attach::Off {
            words.push("off".to_owned());
        }
        words.extend(declaration.replicas.map(|set| format!("{}..{}", set.value.min, set.value.max)));
        words.extend(declaration.metrics.iter().map(metric));
    }
    words.extend(findings.iter().map(|finding| finding.code.to_string()));
    words.join("; ")
}

fn metric(metric: &DeclaredMetric) -> String {
    let (name, target) = (&metric.name, metric.target.value);
    match &metric.source {
        Source::Preset(_) => format!("{name} {target}"),
        Source::Query(text) => {
            // White space and comments between tokens do not matter.
            let text = text.as_str();
            let tokens = scan(text).into_iter().filter(|token| !token.is_comment());
            let words: Vec<&str> = tokens.map(|token| token.span.of(text)).collect();
            format!("{name} = {} @ {target}", words.join(" "))
        }
    }
}

fn check(key: &str, rows: &[(&[&str], &str)]) {
    for (bodies, expected) in rows {
        for body in *bodies {
            assert_eq!(outcome(key, body), *expected, "{key}: {body}");
        }
    }
}

fn help(key: &str, body: &str) -> Option<String> {
    read(&[(key, &decoded(body))]).1.into_iter().next().and_then(|finding| finding.help)
}

#[test]
fn scale_is_read_as_the_reference_says() {
    check(
        "scale",
        &[
            (&["off"], "off"),
            (&["auto"], ""),
            (&["1..8"], "1..8"),
            (
                &["1..8 kv-cache<75% queue-depth<8 ttft-p95<2s"],
                "1..8; kv-cache 0.75; queue-depth 8; ttft-p95 2; NS0217",
            ),
            (&["kv-cache < 75%"], "kv-cache 0.75"),
            (&[r"1..8\n kv-cache", r"1..8\tkv-cache<0.75"], "1..8; kv-cache 0.75"),
            (&["1..8 ttft-p95<200ms"], "1..8; ttft-p95 0.2; NS0217"),
            (&["1..8 queue-depth<0.5"], "1..8; queue-depth 0.5"),
            (&["1..8 kv-cache<95%"], "1..8; kv-cache 0.95; NS0216"),
            (&["3..3"], "3..3; NS0204"),
            (&["", " "], "NS0106"),
            (&["1-8", "1 .. 8", "1..", "01..8", "8"], "NS0111"),
            (&["kv-cache<75% 1..8", "1..4 1..8"], "NS0112"),
            (&["Off", "false", "1..8 kv-cache:75%"], "NS0113"),
            (&["1..8 kvcache<75%", "1..8 KV-Cache"], "NS0114"),
            (&["1..8 gpu_cache_usage_perc<0.75", "sum(x)<3"], "NS0115"),
            (&["1..8 off", "auto kv-cache"], "NS0116"),
            (&["8..1"], "NS0201"),
            (&["0..8"], "NS0202"),
            (&["1..17", "1..99999999999999999999"], "NS0203"),
            (&["1..8 queue-depth<8 queue-depth<9"], "NS0107"),
            (&["1..8 kv-cache<75%, queue-depth<8"], "NS0133"),
            (&["1..8 kv-cache>75%"], "NS0125"),
            (&["1..8 kv-cache<=75%", "1..8 kv-cache=75%"], "NS0126"),
            (&["1..8 kv-cache<", "1..8 <75%"], "NS0134"),
            (&["1..8 queue-depth<010", "queue-depth<1e3", "queue-depth<.5"], "NS0131"),
            (&["1..8 kv-cache<100m", "1..8 ttft-p95<2m"], "NS0132"),
            (&["1..8 ttft-p95<2", "1..8 queue-depth<8%", "1..8 queue-depth<1k"], "NS0214"),
            (&["1..8 kv-cache<75", "kv-cache<100%"], "NS0213"),
            (&["kv-cache<33.33%"], "NS0212"),
            (&["running"], "NS0215"),
            (&[r"1..8\u00a0kv-cache<75%", r"\ufeff1..8"], "NS0109"),
            // Not rows of the page.
            (&["kv-cache<75%<80%", "kv-cache<<75%"], "NS0128"),
            (&["kv-cache < bool 1"], "NS0127"),
            (&["kv-cache<x", "kv-cache<-"], "NS0130"),
            (&["kv-cache<-5%"], "NS0211"),
        ],
    );
    assert_eq!(help("scale", "1..8 kv-cache<100m").as_deref(), Some("10%"));
    assert_eq!(help("scale", "1..8 ttft-p95<2m").as_deref(), Some("2ms or 120s"));
    for (body, expected) in [
        ("1-8", "1..8"),
        ("1..32", "1..16"),
        ("8..1", "1..8"),
        ("kv-cache<75% 1..8", "1..8 kv-cache<75%"),
        ("1..8 kvcache<75%", "kv-cache"),
        ("kv-cache 75%", "kv-cache<75%"),
        ("1..8 gpu_cache_usage_perc < 0.75", "nimscale.dev/keep: 'gpu_cache_usage_perc < 0.75'"),
        ("running", "running<5"),
        ("kv-cache>75%", "kv-cache<75%"),
        ("Off", "off"),
        ("kv-cache<75", "75%"),
    ] {
        assert_eq!(help("scale", body).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn keep_is_read_as_the_reference_says() {
    check(
        "keep",
        &[
            (&["x<3", r"x\t<\t3", "x < 3 # why (not"], "x = x @ 3"),
            (&["backlog: sum by (pod) (x) < 8"], "backlog = sum by ( pod ) ( x ) @ 8"),
            (&[r"a < 1\nb < 2", r"a < 1\r\nb < 2\r\n", r" a < 1\n\n# c < 9\nb < 2"], "a = a @ 1; b = b @ 2"),
            (
                &[r"sum by (\npod\n) (x) < 3\ny < 2", r"sum by (pod) (x)\n  < 3\ny < 2"],
                "x = sum by ( pod ) ( x ) @ 3; y = y @ 2",
            ),
            (&[r"sum(\n\tx\n) < 3"], "x = sum ( x ) @ 3"),
            (&[r"x # y < 9\n  < 1"], "x = x @ 1"),
            (&["vllm:num_requests_waiting < 5"], "vllm_num_requests_waiting = vllm:num_requests_waiting @ 5"),
            (&["a:b < 3"], "a_b = a:b @ 3"),
            (&["a: b < 3"], "a = b @ 3"),
            (&[r#"x{l=\"<\"} < 3"#], r#"x = x { l = "<" } @ 3"#),
            (&[r#"x{l=~\"a<b\"} < 3"#], r#"x = x { l =~ "a<b" } @ 3"#),
            (&[r##"x{l=\"# no comment\"} < 3"##], r##"x = x { l = "# no comment" } @ 3"##),
            (&[r"x{l=`a\nb < 9`} < 3"], "x = x { l = `a\nb < 9` } @ 3"),
            (&[r#"x{l=\"\u00a0\"} < 3"#], "x = x { l = \"\u{a0}\" } @ 3"),
            (&["rate(x[5m:1m]) < 3"], "x = rate ( x [ 5m : 1m ] ) @ 3"),
            (&["x offset 5m < 3"], "x = x offset 5m @ 3"),
            (&["-x < 3"], "x = - x @ 3"),
            (&["(x > 0) < 3"], "x = ( x > 0 ) @ 3"),
            (&["(x or y) < 2"], "x = ( x or y ) @ 2"),
            (&["(x < bool 3) < 1"], "x = ( x < bool 3 ) @ 1"),
            (&["running{} < 5"], "running = running { } @ 5"),
            (&["kv-cache: gpu_cache_usage_perc < 0.75"], "kv-cache = gpu_cache_usage_perc @ 0.75"),
            (&["# only a comment", ""], "NS0106"),
            (&[r"a: x < 1\na: y < 2", r"sum(x) < 1\nmax(x) < 2"], "NS0107"),
            (&[r"x\u00a0< 3", r"\ufeffx < 3", r"x\r< 3", r#"x{l=\"\u202e\"} < 3"#, r"x \u2264 3"], "NS0109"),
            (
                &["backlog:sum by (pod) (x) < 8", "Backlog: x < 8", "backlog : x < 8", "ttft.p95: x < 8", "2xx: x < 3"],
                "NS0121",
            ),
            (&[r"\tx < 3", r"a < 1\n\tb < 2"], "NS0122"),
            (&["kv-cache < 0.75", "kv-cache < 75%", "kv - cache < 1", "running < 5"], "NS0123"),
            (&["x", "x + y", "x or y", r#"\"x < 3\""#], "NS0124"),
            (&["x > 3", "0.75 > x", "0.75 < x"], "NS0125"),
            (&["x <= 3", "x >= 3", "x == 3", "x = 3"], "NS0126"),
            (&["x < bool 3"], "NS0127"),
            (&["a < b < 3", "0 < x < 8", "x > 0 < 8", "a < 1 b < 2", r"a < 1\n  b < 2"], "NS0128"),
            (&["x < 3 or y < 2", "x or y < 2", "x < 3 and y"], "NS0129"),
            (&["x < y", "x < 3 + 5", "x < (3)", "x < 3 by (pod)"], "NS0130"),
            (&["x < 010", "x < 0x10", "x < 1e3", "x < .5", "x < +5", "x < Inf"], "NS0131"),
            (&["x < 100m", "x < 75%", "x < 2s", "x < 8k"], "NS0132"),
            (&["x < 8,", "a < 1, b < 2", "a < 1; b < 2"], "NS0133"),
            (&["< 8", "x <", "backlog:", "backlog: < 8"], "NS0134"),
            (&["- x < 3"], "NS0135"),
            (&["x < 0", "x < -5"], "NS0211"),
            (&["x < 0.0005"], "NS0212"),
            (&["sum by (pod (x < 8", "sum(x)) < 8", r#"x{a=\"b < 8"#, r#"x{a=\"b\nc < 9\"} < 3"#], "NS0301"),
            (&[&format!("{} < 3", ["x"; 1250].join(" + "))], "NS0362"),
            (&[&["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|x| format!("{x} < 1")).join(r"\n")], "NS0206"),
            (&[&"x < 3 ".repeat(50 * 1024)], "NS0207"),
            (&[r"sum by (pod (x < 8\ny < 2"], "NS0301"),
            // Not rows of the page.
            (&["kv-cache:sum(x) < 3", "a:b: x < 3", ": x < 3"], "NS0121"),
            (&["a:b-sum(x) < 3"], "a_b = a:b - sum ( x ) @ 3"),
            (&[r"x{a=\u0022b\u0022\n  } < 3\n\n\n"], r#"x = x { a = "b" } @ 3"#),
            (&[r#"{__name__=\"y\"} < 3"#], r#"metric = { __name__ = "y" } @ 3"#),
            (&["a / on (pod) group_left (node) b < 3"], "a = a / on ( pod ) group_left ( node ) b @ 3"),
            (&["1 - avg without (gpu) (x{y=\\\"z\\\"}) < 3"], r#"x = 1 - avg without ( gpu ) ( x { y = "z" } ) @ 3"#),
            (&[r"a < 1\n\t# a comment\nb < 2"], "a = a @ 1; b = b @ 2"),
            (&["x < 20/s"], "NS0132"),
        ],
    );
}

#[test]
fn keep_says_what_to_type() {
    for (body, expected) in [
        ("x < 100m", "0.1"),
        ("x < 75%", "0.75"),
        ("x < 2s", "2"),
        ("x < 8k", "8000"),
        ("x < 010", "10"),
        ("x < 0x10", "16"),
        ("x < 1e3", "1000"),
        ("x < .5", "0.5"),
        ("x < +5", "5"),
        ("x > 0 < 8", "(x > 0) < 8"),
        ("a < 1 b < 2", "a < 1\nb < 2"),
        ("x or y < 2", "(x or y) < 2"),
        ("a < b", "a / b < 1"),
        ("a + b < c", "(a + b) / c < 1"),
        ("x < (3)", "x < 3"),
        ("0.75 > x", "x < 0.75"),
        ("0.75 < x", "x < 0.75"),
        ("Backlog: x < 8", "backlog: "),
        ("ttft.p95: x < 8", "ttft_p95: "),
        ("backlog:sum by (pod) (x) < 8", "backlog: "),
        ("kv-cache < 0.75", "nimscale.dev/scale: \"kv-cache<75%\""),
        ("running < 5", "nimscale.dev/scale: \"running<5\""),
        (r"a: x < 1\na: y < 2", "a_2: "),
        ("x <", "x < NUMBER"),
        ("- x < 3", "x < 3"),
        (r"x \u2264 3", "<"),
    ] {
        assert_eq!(help("keep", body).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn behind_a_slip_only_accepted_entries_count() {
    let (declaration, findings) = read(&[("keep", "a < 1\nsum by (pod (x < 8\n  nonsense\ny < 2\nz > 2")]);
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::Ns0301]);
    assert_eq!(declaration.metrics.iter().map(metric).collect::<Vec<_>>(), ["a = a @ 1", "y = y @ 2"]);
}

#[test]
fn behavior_and_paused_are_read_as_the_reference_says() {
    let behavior = |body| {
        let (declaration, findings) = read(&[("scale", "auto"), ("behavior", body)]);
        (declaration.behavior.map(|set| set.value.down), findings.first().map(|finding| finding.code))
    };
    assert_eq!(behavior("up 2/60s; down off"), (Some(Direction::Off), None));
    assert_eq!(behavior("up 2"), (None, Some(Code::Ns0151)));
    assert_eq!(behavior("up 2/60s; up 1/60s"), (None, Some(Code::Ns0151)));

    let paused = |body| {
        let (declaration, findings) = read(&[("scale", "auto"), ("paused", body)]);
        (declaration.paused.map(|set| set.value), findings.first().map(|finding| finding.code))
    };
    assert_eq!(paused("3"), (Some(Paused::At(3)), None));
    assert_eq!(paused("0"), (None, Some(Code::Ns0152)));
    assert_eq!(paused("yes"), (None, Some(Code::Ns0152)));
    assert_eq!(paused("17"), (None, Some(Code::Ns0203)));
    for (body, expected) in
        [("true", Paused::Both), ("false", Paused::No), ("scale-up", Paused::Up), ("scale-down", Paused::Down)]
    {
        assert_eq!(paused(body), (Some(expected), None));
    }

    let (declaration, findings) = read(&[("scale", "auto"), ("mode", " observe\n")]);
    assert_eq!((declaration.mode.map(|set| set.value), findings.len()), (Some(Mode::Observe), 0));
    let (_, findings) = read(&[("scale", "auto"), ("mode", "enforced")]);
    assert_eq!(findings[0].message, "mode: enforced is not enforce or observe");
    assert_eq!(findings[0].help.as_deref(), Some("enforce"));
}

#[test]
fn adopt_names_an_hpa() {
    let (declaration, findings) = read(&[("scale", "auto"), ("adopt-hpa", " llama-hpa\n")]);
    assert_eq!(declaration.adopt.map(|set| set.value).as_deref(), Some("llama-hpa"));
    assert_eq!(findings, []);
    for (value, help) in [("hpa/llama", "llama"), ("Llama", "llama"), ("a b", "kubectl get hpa")] {
        let (_, findings) = read(&[("scale", "auto"), ("adopt-hpa", value)]);
        assert_eq!(findings[0].message, format!("adopt-hpa: {value} is not the name of an HPA"));
        assert_eq!((findings[0].code, findings[0].help.as_deref()), (Code::Ns0153, Some(help)));
    }
}

#[test]
fn keys_are_checked() {
    let codes = |values: &[(&str, &str)]| -> Vec<(Code, Option<String>)> {
        read(values).1.into_iter().map(|finding| (finding.code, finding.help)).collect()
    };
    let scale = ("scale", "auto");
    assert_eq!(codes(&[scale, ("scal", "1..8")]), [(Code::Ns0101, Some("nimscale.dev/scale".into()))]);
    assert_eq!(codes(&[scale, ("replicas", "1")]), [(Code::Ns0101, None)]);
    assert_eq!(codes(&[scale, ("suppress", "NS0401")]).len(), 1);
    assert_eq!(codes(&[("paused", "true")]), [(Code::Ns0110, Some("nimscale.dev/scale: \"auto\"".into()))]);
    assert_eq!(codes(&[]), []);
    assert_eq!(read(&[]).0, Declaration::default());
    for key in KEYS.iter().filter(|key| key.not_yet.is_none()) {
        assert!(codes(&[(key.name, "")]).iter().any(|(code, _)| *code == Code::Ns0106), "{}", key.name);
        // A key that is done is read: no value of any of them may hold this.
        assert!(codes(&[(key.name, "\u{7}")]).iter().any(|(code, _)| *code == Code::Ns0109), "{}", key.name);
    }
}

#[test]
fn spec_says_everything_in_one_value() {
    const SPEC: &str = r#"
replicas: {min: 1, max: 8}
metrics:
- {preset: kv-cache, target: 75%}
- preset: ttft-p95
- {preset: queue-depth, target: {averageValue: 8}}
- name: backlog
  query: |
    # what waits, of this family alone
    sum by (pod) (num_requests_waiting{model_name=~"mèta/.*"})
  target: {averageValue: 100m}
- {name: level, query: max(gpu_cache_usage_perc), target: {value: 0.75}, kind: Object, onIdle: zero}
- {name: plain, query: "max(x)", target: 2}
behavior:
  scaleUp: {pods: 2, percent: 50, every: 60s}
  scaleDown: off
"#;
    let (declaration, findings) = read(&[("spec", SPEC)]);
    assert_eq!(findings, []);
    assert_eq!(declaration.replicas.map(|set| set.value), Some(Range { min: 1, max: 8 }));
    assert_eq!(declaration.behavior.map(|set| set.value), Behavior::read("up 2/60s,50%/60s; down off").ok());
    let metrics: Vec<_> = declaration
        .metrics
        .iter()
        .map(|metric| {
            let Intended { kind, on_idle, reading } = &metric.intended;
            let expression = match &metric.source {
                Source::Preset(_) => "",
                Source::Query(text) => text.as_str(),
            };
            (metric.name.as_str(), expression, metric.target.value.thousandths(), *kind, *on_idle, *reading)
        })
        .collect();
    let backlog = "# what waits, of this family alone\nsum by (pod) (num_requests_waiting{model_name=~\"mèta/.*\"})";
    let (per_replica, level) = (Some(Reading::PerReplica), Some(Reading::AsItStands));
    assert_eq!(
        metrics,
        [
            ("kv-cache", "", 750, None, None, None),
            ("ttft-p95", "", 2500, None, None, None),
            ("queue-depth", "", 8000, None, None, None),
            ("backlog", backlog, 100, None, None, per_replica),
            ("level", "max(gpu_cache_usage_perc)", 750, Some(Kind::Object), Some(OnIdle::Zero), level),
            ("plain", "max(x)", 2000, None, None, None),
        ]
    );
    // A place inside of the expression is one of the annotation.
    let Source::Query(text) = &declaration.metrics[3].source else { panic!("a query") };
    let at = backlog.find("num_requests").expect("it is there");
    assert_eq!(text.place(Span::new(at, at + 3)).bytes.start, SPEC.find("num_requests").expect("it is there"));
}

#[test]
fn a_slip_in_spec_says_what_to_type() {
    for (value, code, bytes, message, help) in [
        ("{", Code::Ns0141, "", "spec is not YAML", "block style"),
        ("# nothing", Code::Ns0106, "# nothing", "nimscale.dev/spec is empty", "replicas: {min: 1, max: 8}"),
        ("[]", Code::Ns0143, "[]", "spec must be a mapping", "replicas: …"),
        ("replica: 3", Code::Ns0142, "replica", "unknown field replica", "replicas"),
        ("metrics:\n- querry: x", Code::Ns0142, "querry", "unknown field metrics[0].querry", "query"),
        (
            "metrics: [{name: b, query: sum by (a, b) (x), target: 8}]",
            Code::Ns0142,
            "b) (x)",
            "unknown field metrics[0].b) (x)",
            "query: |",
        ),
        ("replicas: {min: 1, max: \"8\"}", Code::Ns0143, "\"8\"", "replicas.max must be an integer", "max: 8"),
        ("replicas: {max: 8}", Code::Ns0143, "{max: 8}", "replicas needs min and max", "{min: 1, max: 8}"),
        ("replicas: {min: 0, max: 8}", Code::Ns0202, "{min: 0, max: 8}", "scale to zero", "{min: 1, max: 8}"),
        ("replicas: {min: 1, max: 99}", Code::Ns0203, "{min: 1, max: 99}", "max 99 is over", "{min: 1, max: 16}"),
        (
            "metrics:\n- target: 8",
            Code::Ns0144,
            "target: 8",
            "metrics[0] needs either preset or query",
            "preset: kv-cache",
        ),
        (
            "metrics:\n- {query: x, target: 8}",
            Code::Ns0144,
            "{query: x, target: 8}",
            "metrics[0] needs a name",
            "name: backlog",
        ),
        (
            "metrics:\n- {name: a, query: x}",
            Code::Ns0144,
            "{name: a, query: x}",
            "metrics[0] needs a target",
            "target: {averageValue: 8}",
        ),
        ("metrics:\n- {preset: kv-cach}", Code::Ns0114, "kv-cach", "unknown preset kv-cach", "kv-cache"),
        ("metrics:\n- {preset: rps}", Code::Ns0215, "rps", "rps has no default target", "target: 20"),
        (
            "metrics:\n- {preset: kv-cache, onIdle: zero}",
            Code::Ns0142,
            "zero",
            "metrics[0].onIdle stands beside a query only",
            "the preset alone",
        ),
        ("metrics:\n- {preset: kv-cache, target: 75}", Code::Ns0213, "75", "75 is not under", "75%"),
        ("metrics:\n- {preset: kv-cache, target: {value: 1}}", Code::Ns0218, "1", "value is the level", "averageValue"),
        ("metrics:\n- {name: A, query: x, target: 8}", Code::Ns0121, "A", "\"A\" is no name", "name: a"),
        (
            "metrics:\n- {name: a, query: x, target: 8}\n- {name: a, query: y, target: 8}",
            Code::Ns0107,
            "a",
            "two metrics are called a",
            "a_2",
        ),
        ("metrics:\n- {name: a, query: x, target: 75%}", Code::Ns0132, "75%", "75%: this suffix", "0.75"),
        ("metrics:\n- {name: a, query: x, target: {averageValue: 2s}}", Code::Ns0132, "2s", "2s: this suffix", "2"),
        (
            "metrics:\n- {name: a, query: x, target: many}",
            Code::Ns0143,
            "many",
            "metrics[0].target must be a number",
            "8",
        ),
        (
            "metrics:\n- {name: a, query: x, target: 8, kind: pods}",
            Code::Ns0143,
            "pods",
            "metrics[0].kind is Pods or Object",
            "Pods",
        ),
        ("metrics:\n- {name: a, query: x\u{2264}, target: 8}", Code::Ns0109, "\u{2264}", "U+2264", "<"),
        (
            "metrics:\n- &a {preset: kv-cache}",
            Code::Ns0145,
            "{preset: kv-cache}",
            "an anchor is not allowed",
            "the value itself",
        ),
        (
            "replicas: !!map {min: 1, max: 8}",
            Code::Ns0145,
            "{min: 1, max: 8}",
            "a tag is not allowed",
            "the value itself",
        ),
        ("replicas: {min: 1, min: 2, max: 8}", Code::Ns0145, "min", "a repeated key", "one of the two"),
        ("behavior: balancd", Code::Ns0151, "balancd", "\"balancd\" is not", "balanced"),
        (
            "behavior: {scaleUp: {pods: 2}}",
            Code::Ns0143,
            "{pods: 2}",
            "scaleUp needs pods or percent",
            "{pods: 2, every: 60s}",
        ),
        ("behavior: {scaleDown: {pods: 0, every: 60s}}", Code::Ns0143, "0", "scaleDown.pods is 1 to 1000", "pods: 1"),
        (
            "behavior: {scaleDown: {pods: 1, every: 2h}}",
            Code::Ns0143,
            "2h",
            "scaleDown.every must be a time from 1s to 30m",
            "every: 60s",
        ),
    ] {
        let (_, findings) = read(&[("spec", value)]);
        let [finding] = &findings[..] else { panic!("{value}: {findings:?}") };
        assert_eq!((finding.code, finding.help.as_deref()), (code, Some(help)), "{value}: {}", finding.message);
        assert!(finding.message.starts_with(message), "{value}: {}", finding.message);
        assert!(
            bytes.is_empty() || finding.place.bytes.of(value) == bytes,
            "{value}: {:?}",
            finding.place.bytes.of(value)
        );
    }
}

#[test]
fn what_spec_states_no_other_key_states() {
    const SPEC: &str = "replicas: {min: 1, max: 8}\nmetrics: [{preset: kv-cache}]\nbehavior: fast";
    let codes = |values: &[(&str, &str)]| -> Vec<(Code, String)> {
        read(values).1.into_iter().map(|finding| (finding.code, finding.message)).collect()
    };
    let twice = |message: &str| vec![(Code::Ns0108, message.to_owned())];
    assert_eq!(codes(&[("spec", SPEC), ("scale", "1..4")]), twice("replicas are stated in spec and in scale"));
    assert_eq!(codes(&[("spec", SPEC), ("scale", "rps<20")]), twice("metrics are stated in spec and in scale"));
    assert_eq!(codes(&[("spec", SPEC), ("keep", "x < 1")]), twice("metrics are stated in spec and in keep"));
    assert_eq!(
        codes(&[("spec", SPEC), ("behavior", "fast")]),
        twice("behavior is stated in spec and in an annotation of its own")
    );
    assert_eq!(codes(&[("spec", "metrics: [{preset: kv-cache}]"), ("scale", "1..4"), ("behavior", "fast")]), []);
}

#[test]
fn off_checks_the_other_keys_and_drops_them() {
    let (declaration, findings) = read(&[("scale", "off"), ("keep", "x > 3"), ("paused", "true")]);
    assert_eq!(declaration, Declaration { attach: Attach::Off, ..Declaration::default() });
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::Ns0125]);
}

#[test]
fn names_are_unique_over_scale_and_keep() {
    let (declaration, findings) = read(&[("scale", "1..8 queue-depth<8"), ("keep", "x < 1\nqueue-depth: y < 2")]);
    assert_eq!(declaration.metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(), ["queue-depth", "x"]);
    assert_eq!(findings[0].message, "two metrics are called queue-depth");
    assert_eq!(findings[0].place.bytes, Span::new(6, 17));
}

#[test]
fn places_are_the_bytes_that_were_written() {
    let at = |key: &str, value: &str| {
        let (declaration, findings) = read(&[(key, value)]);
        let places = findings.into_iter().map(|finding| finding.place.bytes.of(value).to_owned());
        let metrics = declaration.metrics.iter().map(|metric| metric.place.bytes.of(value).to_owned());
        (places.collect::<Vec<_>>(), metrics.collect::<Vec<_>>())
    };
    assert_eq!(at("scale", "1..8 kv-cache<75"), (vec!["75".into()], vec![]));
    assert_eq!(at("scale", "1..8 kv-cache, x").0, [","]);
    assert_eq!(at("scale", "1..8 kv-cache kv-cache").0, ["kv-cache"]);
    assert_eq!(at("keep", "b: a < 1\nx{l=\"\u{e9}\"} < 8k").0, ["8k"]);
    assert_eq!(at("keep", " a < 1\n b:  y < 1\n sum(z)\n  < 2").1, ["a", "b", "sum(z)"]);
    assert_eq!(at("keep", "sum(a) < 1\nb: x < 1").1, ["sum(a)", "b"]);
    assert_eq!(at("keep", "a < 1\n\n  (x").0, ["("]);
    assert_eq!(at("keep", "x > 0 < 8").0, ["> 0 <"]);
    assert_eq!(at("keep", "a < 1\na < 2").0, ["a"]);
    assert_eq!(at("behavior", "up 2/60s; down 1"), (vec![String::new(), "1".into()], vec![]));

    let (declaration, _) = read(&[("keep", "backlog: sum(x) < 8")]);
    let Source::Query(query) = &declaration.metrics[0].source else { panic!("an entry is a query") };
    assert_eq!(query.place(Span::new(4, 5)).bytes, Span::new(13, 14));
    assert_eq!(
        declaration.metrics[0].target.from,
        Origin::Annotation(Text::verbatim("backlog: sum(x) < 8").at_path("keep").place(Span::new(18, 19)))
    );
}

#[test]
fn a_hostile_text_is_read_in_time() {
    // Quadratic work over so many bytes would not end.
    let most = Limits::BUILT_IN.annotation_bytes / 4;
    for piece in [
        "a: 1\n", "- a\n", "[", "? ", "(\n", "\"\n", "`", "x < 3\n", "x(", "\t\n", "a:\n", "#\n", "x<", "kv-cache",
        "a,", "9", "-", " (\n", "]\n",
    ] {
        let value = piece.repeat(most / piece.len());
        for key in ["scale", "keep", "spec", "behavior", "paused", "mode"] {
            read(&[(key, &value)]);
        }
    }
}

/// Pieces of entries, to be glued to something that is nearly one.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "x", "a:b", "sum", "by", "(pod)", "(", ")", "{", "}", "rate(x[5m])", "x{l=\"<\"}", "-", "+", "/", ",", ";",
            "or", "and", "bool", "offset", "5m", "Inf", "kv-cache", "name:", "a: ", ":", "#", "\"", "`", "'", "[", "]",
            "\n", "\n  ", "\t", "\r", "..", "off", "auto", "%", "1..8", "ttft-p95", "up", "down", "after", "2/60s", "@",
            "metrics:\n- ", "{name: a, query: x", "query: |\n  ", "target: ", "{averageValue: ", "}", "behavior: ", "preset: ",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["<", " < ", "> ", "<=", "==", "="]).prop_map(str::to_owned),
        2 => "[0-9]{1,3}(\\.[0-9]{1,4})?(m|ms|s|%|k|e3)?",
        1 => "\\PC{0,4}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    (prop::collection::vec(piece(), 0..12), any::<bool>())
        .prop_map(|(pieces, spaced)| pieces.join(if spaced { " " } else { "" }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_and_every_finding_lies_in_it(value in text()) {
        for key in ["scale", "keep", "spec", "behavior", "paused", "mode"] {
            let (_, findings) = read(&[(key, &value)]);
            for finding in findings {
                let bytes = finding.place.bytes;
                prop_assert!(value.get(bytes.start..bytes.end).is_some(), "{key}: {finding:?}");
                let message = format!("{}: {}", finding.code, finding.message);
                prop_assert!(message.chars().count() <= 120, "{message}");
                prop_assert!(!message.contains(char::is_control), "{message:?}");
                prop_assert!(!finding.help.is_some_and(|help| help.is_empty()), "{message}");
            }
        }
    }

    #[test]
    fn an_accepted_entry_is_the_same_comparison_to_promql(value in text(), number in "(0|[1-9][0-9]{0,2})(\\.[0-9]{1,3})?") {
        for value in [format!("{value} < {number}"), value] {
            let (declaration, findings) = read(&[("keep", &value)]);
            if findings.iter().any(Finding::is_error) {
                continue;
            }
            for metric in declaration.metrics {
                let Source::Query(query) = &metric.source else { panic!("an entry is a query") };
                let Origin::Annotation(target) = &metric.target.from else { panic!("stated") };
                let start = query.whole().bytes.start;
                let entry = &value[start..target.bytes.end];
                // A number compared with a number is no PromQL; the compiler refuses such an expression anyway.
                let is_vector = |expr: &Expr| matches!(expr.value_type(), ValueType::Vector);
                if !parser::parse(query.as_str()).is_ok_and(|expr| is_vector(&expr)) {
                    continue;
                }
                let Ok(Expr::Binary(binary)) = parser::parse(entry) else {
                    return Err(TestCaseError::fail(format!("{entry:?} is no comparison")));
                };
                prop_assert_eq!(binary.op.id(), token::T_LSS, "{}", entry);
                let Expr::NumberLiteral(right) = binary.rhs.as_ref() else {
                    return Err(TestCaseError::fail(format!("{entry:?} has no number on the right")));
                };
                prop_assert_eq!(right.val.to_string(), metric.target.value.to_string());
            }
        }
    }
}
