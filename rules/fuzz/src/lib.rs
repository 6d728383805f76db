//! What holds for any bytes. The fuzzer calls these functions, and so does the suite (`rules/tests/fuzz.rs`).
//!
//! In `rules`, with cargo-fuzz and a stable compiler, for `annotations` and for `promql` (`printer` reads bytes that no
//! person wrote: it has neither seeds nor a dictionary):
//!
//! ```text
//! mkdir -p fuzz/corpus/promql
//! cargo fuzz run --sanitizer none promql fuzz/corpus/promql fuzz/seeds/promql -- \
//!     -dict=fuzz/dictionaries/promql.dict -max_total_time=180
//! ```

mod trees;

use std::collections::BTreeMap;

use nimscale_rules::bundle::bundle;
use nimscale_rules::compile::compile;
use nimscale_rules::declare::Range;
use nimscale_rules::emit::adapter::{self, Config};
use nimscale_rules::emit::hpa;
use nimscale_rules::findings::Finding;
use nimscale_rules::keys::DOMAIN;
use nimscale_rules::measure::{Question, measure};
use nimscale_rules::place::Span;
use nimscale_rules::plan::Plan;
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::{Limits, Policies};
use nimscale_rules::promql::token::scan;
use nimscale_rules::promql::{self, read, template};
use nimscale_rules::quantity::Milli;
use nimscale_rules::workload::{Workload, WorkloadId, WorkloadKind};
use nimscale_rules::yaml::{self, token};

const ANNOTATIONS: &str = "/metadata/annotations";

/// Annotations `KEY=VALUE` with a NUL between two; a key without a domain gets ours.
///
/// Whatever they say, findings point into them, and what is accepted is emitted and read back.
pub fn annotations(bytes: &[u8]) {
    let map = map(bytes);
    let workload = workload(&map);
    let (policies, platform) = (Policies::built_in(), Platform::default());
    let compiled = compile(&workload, &policies, &platform);
    assert_eq!(compile(&workload, &policies, &platform), compiled);
    for finding in &compiled.findings {
        let value = map.iter().find(|(key, _)| finding.place.path == path(key)).map(|(_, value)| value.as_str());
        let value = value.or_else(|| (finding.place.path == ANNOTATIONS).then_some(""));
        check(finding, value.unwrap_or_else(|| panic!("somewhere else: {finding:?}")));
    }
    if let Some(plan) = compiled.plan {
        assert!(!compiled.findings.iter().any(Finding::is_error), "a plan in spite of {:?}", compiled.findings);
        emitted(plan, &platform);
    }
}

fn map(bytes: &[u8]) -> BTreeMap<String, String> {
    let record = |record: &[u8]| {
        let record = String::from_utf8_lossy(record);
        let (key, value) = record.split_once('=').unwrap_or((&record, ""));
        let domain = if key.contains('/') { String::new() } else { format!("{DOMAIN}/") };
        (format!("{domain}{key}"), value.to_owned())
    };
    bytes.split(|byte| *byte == 0).map(record).collect()
}

/// As a cluster has it: values by themselves, without a file.
fn workload(map: &BTreeMap<String, String>) -> Workload {
    let id = WorkloadId { namespace: Some("llm".to_owned()), name: "nim".to_owned(), kind: WorkloadKind::Deployment };
    Workload::stored(id, map)
}

fn path(key: &str) -> String {
    format!("{ANNOTATIONS}/{}", token(key))
}

fn emitted(plan: Plan, platform: &Platform) {
    let limits = Limits::BUILT_IN;
    let Range { min, max } = plan.bounds();
    assert!(1 <= min && min <= max && max <= limits.max_replicas.value, "{min}..{max}");
    assert!((1..=limits.metrics.value).contains(&plan.metrics.len()), "{} metrics", plan.metrics.len());
    yaml::write(&hpa::hpa(&plan)).expect("an HPA is written");
    let names: Vec<_> = plan.metrics.iter().map(|metric| metric.measure.name.clone()).collect();
    let bundle = bundle(vec![plan]);
    let text = adapter::config(&bundle, platform).expect("a config is written");
    let config: Config = yaml::parse(&text).expect("a config is read back");
    for rule in &config.rules {
        check_template(&rule.metrics_query);
    }
    let listed = |name: &String| config.rules.iter().any(|rule| rule.name.as_ == *name);
    assert!(names.iter().all(listed), "{names:?} have no rules in {text}");
}

/// One expression: what is read is printed and read as the same tree; what is compiled acts in no way but ours.
pub fn promql(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read(text, &promql::Limits::AUTHOR) {
        Ok(node) => {
            // Brackets that were left to precedence are written out: what is printed may nest deeper.
            let printed = template::plain(&node);
            assert_eq!(read(&printed, &promql::Limits::CHECK), Ok(node), "{text:?} was printed as {printed:?}");
        }
        Err(findings) => {
            assert!(findings.iter().any(Finding::is_error), "refused without a reason: {text:?}");
            findings.iter().for_each(|finding| check(finding, text));
        }
    }
    let target = Milli::from_thousandths(8000).expect("a target above 0");
    let question = Question { namespace: Some("llm"), ..Question::new(text, target) };
    let measured = measure(&question, &Platform::default());
    measured.findings.iter().for_each(|finding| check(finding, text));
    assert_eq!(measured.measure.is_none(), measured.findings.iter().any(Finding::is_error), "{text:?}: {measured:?}");
    if let Some(measure) = measured.measure {
        check_template(&measure.template.to_string());
    }
}

/// What the bytes say, as a tree: it is printed and read as the same tree. Returns the print.
pub fn printer(bytes: &[u8]) -> String {
    let node = trees::tree(bytes);
    let printed = template::plain(&node);
    let limits = promql::Limits::AUTHOR;
    let is_short = printed.len() <= limits.bytes && scan(&printed).len() <= limits.tokens;
    if is_short && node.selectors().len() <= limits.selectors {
        let reread = read(&printed, &limits);
        assert_eq!(reread.as_ref(), Ok(&node), "it was printed as {printed:?}");
        let again = reread.map(|node| template::plain(&node));
        assert_eq!(again.as_deref(), Ok(printed.as_str()));
    }
    printed
}

fn check(finding: &Finding, text: &str) {
    let Span { start, end } = finding.place.bytes;
    assert!(text.get(start..end).is_some(), "outside of {text:?}: {finding:?}");
    let message = &finding.message;
    assert!(message.chars().count() <= 120 - "NS0000 ".len(), "too long: {message}");
    assert!(!message.contains(char::is_control), "not one line: {message:?}");
    assert!(!message.starts_with("the expression cannot be compiled safely"), "{text:?}: {message}");
}

/// The adapter fills in what the request says, quoted, and nothing that anybody wrote.
fn check_template(template: &str) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("<<") {
        assert!(!before.contains(">>"), "{template}");
        let (action, after) = after.split_once(">>").unwrap_or_else(|| panic!("never closed: {template}"));
        let quoted = action.starts_with("printf \"%q\" (") && action.contains(".LabelValuesByName");
        assert!(quoted || [".LabelMatchers", ".GroupBy"].contains(&action), "{action}: {template}");
        rest = after;
    }
    assert!(!rest.contains(">>"), "{template}");
}
