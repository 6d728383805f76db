//! Metamorphic laws of the compiler: one change of a text, and what it changes in the rule. They hold of texts that are
//! refused, too: for the same reasons.
#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeSet;

use nimscale_rules::findings::Finding;
use nimscale_rules::measure::{Measure, Measured, MetricKind, Question, Reading, measure};
use nimscale_rules::place::Span;
use nimscale_rules::platform::Platform;
use nimscale_rules::presets::OnIdle;
use nimscale_rules::promql::flow::Completion;
use nimscale_rules::promql::node::{
    Aggregate, Binary, BinaryOp, Cardinality, LabelList, Matching, Node, NodeKind, Number,
};
use nimscale_rules::promql::token::{Token, TokenKind, scan};
use nimscale_rules::promql::{Limits, read};
use nimscale_rules::quantity::Milli;

const NAMESPACE: &str = "llm";

/// Every construct that is compiled, and some that are refused. No name is known to anybody, none is a label too.
const EXPRESSIONS: &[&str] = &[
    "load",
    "depth{model=~\"meta/.+\",engine!=\"1\",l=`\\d`}",
    "depth offset 1m",
    "sum by (pod) (depth)",
    "avg(depth) by (pod)",
    "sum by (namespace, pod, model) (depth)",
    "max without (engine) (max by (pod, engine) (load)) > bool 3",
    "quantile by (pod) (0.9, clamp(load, -1, 1e3))",
    "stddev by (pod, l) (load)",
    "count by (pod) (load > 1)",
    "topk by (pod) (1, load)",
    "count_values by (pod) (\"v\", load)",
    "group by (pod) (depth)",
    "histogram_quantile(0.95, sum by (le, pod) (rate(time_bucket[2m])))",
    "histogram_quantile(0.95, sum by (pod) (rate(time_bucket[2m])))",
    "histogram_quantile(0.95, rate(native[2m]))",
    "rate(time_bucket{le=\"0.5\"}[2m])",
    "2 * rate(done_total[2m] offset 1m) + 1",
    "increase(done_total[5m]) / 5",
    "irate(done_total[2m])",
    "delta(load[5m])",
    "deriv(load[5m])",
    "max_over_time(abs(load)[10m:30s])",
    "max_over_time(rate(done_total[1m])[5m:])",
    "quantile_over_time(0.9, load[5m])",
    "predict_linear(load[10m], 60)",
    "present_over_time(load[5m])",
    "sum by (pod) (a) / on (pod) sum by (pod) (b)",
    "sum by (pod, l) (a) / on (pod) group_left () sum by (pod) (b)",
    "sum by (pod) (a) * on (pod) group_right () max by (pod, l) (b)",
    "rate(w_hits_total[2m]) / rate(w_queries_total[2m])",
    "histogram_quantile(0.9, rate(w_bucket[2m]))",
    "sum by (pod) (a) / ignoring (l) sum by (pod, l) (b)",
    "a - b + a",
    "-load ^ 2 or 1 - depth",
    "max by (pod) (a) and ignoring (l) max by (pod) (b) >= 0.5",
    "a unless on (pod) b",
    "a and on () b",
    "a and on (pod) max by (pod) (b)",
    "max by (pod) (a) or max by (pod) (b)",
    "a or on (service) b",
    "a / on (service) b",
    "a / on () group_left () sum(b)",
    "a / scalar(sum(b))",
    "a * on (instance) group_left (pod) b",
    "load == bool load",
    "label_replace(load, \"model\", \"$1\", \"engine\", \"(.*)\")",
    "label_join(load, \"model\", \"-\", \"engine\", \"l\")",
    "label_replace(load, \"pod\", \"$1\", \"instance\", \"(.*)\")",
    "sort(load)",
    "round(load, 0.1) % 2 atan2 depth",
    "clamp_min(load, 0) * (time() > bool 5)",
    "timestamp(load)",
    "hour() * load",
    "sum(depth)",
    "avg(load)",
    "sum by (service) (depth)",
    "sum(a) / sum(b)",
    "max without (pod) (load)",
    "histogram_quantile(0.95, sum by (le) (rate(time_bucket[2m])))",
    "depth / sum(depth)",
    "load or vector(0)",
    "absent(load)",
    "topk(3, load)",
    "load @ end()",
    "load @ 1700000000",
    "load{pod=\"p-0\"}",
];

struct Compiled {
    measure: Option<Measure>,
    selectors: Vec<Span>,
    verdict: Verdict,
}

/// All but the text itself.
#[derive(Debug, PartialEq)]
struct Verdict {
    measured: Option<(MetricKind, Reading, OnIdle, u64)>,
    completion: Option<Completion>,
    codes: BTreeSet<&'static str>,
}

impl Compiled {
    fn template(&self) -> Option<String> {
        self.measure.as_ref().map(|measure| measure.template.to_string())
    }
}

fn compiled(query: &str) -> Compiled {
    let target = Milli::from_thousandths(1000).unwrap();
    let question = Question { namespace: Some(NAMESPACE), ..Question::new(query, target) };
    let Measured { measure, findings, completion, .. } = measure(&question, &Platform::default());
    assert_eq!(measure.is_none(), findings.iter().any(Finding::is_error), "{query}: {findings:?}");
    let measured = measure.as_ref().map(|measure| (measure.kind, measure.reading, measure.on_idle, measure.bound));
    let codes = findings.iter().map(|finding| finding.code.as_str()).collect();
    let selectors = read(query, &Limits::AUTHOR)
        .map_or_else(|_| Vec::new(), |node| node.selectors().into_iter().map(|selector| selector.span).collect());
    Compiled { measure, selectors, verdict: Verdict { measured, completion, codes } }
}

/// The text with something written into each of these selectors' braces.
fn with_matcher(text: &str, selectors: &[Span], matcher: &str) -> String {
    let mut text = text.to_owned();
    for span in selectors.iter().rev() {
        match span.of(&text).find('{') {
            Some(brace) => text.insert_str(span.start + brace + 1, &format!("{matcher},")),
            None => text.insert_str(span.end, &format!("{{{matcher}}}")),
        }
    }
    text
}

/// The text with its tokens rewritten.
fn respelt(text: &str, mut spell: impl FnMut(&Token, &str) -> String) -> String {
    let mut respelt = String::new();
    let mut copied = 0;
    for token in scan(text) {
        respelt.push_str(&text[copied..token.span.start]);
        respelt.push_str(&spell(&token, token.span.of(text)));
        copied = token.span.end;
    }
    respelt + &text[copied..]
}

#[test]
fn most_of_the_list_is_accepted() {
    let accepted = EXPRESSIONS.iter().filter(|text| compiled(text).measure.is_some()).count();
    assert!(accepted > 40);
}

#[test]
fn a_renamed_metric_is_renamed_in_the_template_and_nowhere_else() {
    for text in EXPRESSIONS {
        let before = compiled(text);
        let names: BTreeSet<&str> = before.selectors.iter().map(|span| name_of(span.of(text))).collect();
        for name in names {
            let renamed = |text: &str| {
                respelt(text, |_, word| if word == name { format!("other_{word}") } else { word.to_owned() })
            };
            let after = compiled(&renamed(text));
            assert_eq!(before.verdict, after.verdict, "{text}: {name}");
            assert_eq!(before.template().map(|template| renamed(&template)), after.template(), "{text}: {name}");
            if let (Some(before), Some(after)) = (&before.measure, &after.measure) {
                assert_ne!(before.name, after.name);
                let is_first = name_of(text) == name;
                assert!(!is_first || after.name.starts_with(&format!("nimscale_other_{name}_")), "{}", after.name);
            }
        }
    }
}

fn name_of(selector: &str) -> &str {
    selector.split('{').next().unwrap_or_default()
}

#[test]
fn an_added_matcher_is_added_to_its_selector_and_nowhere_else() {
    const MATCHER: &str = "zzz=\"1\"";
    let written = |template: &str| template.matches(MATCHER).count();
    for text in EXPRESSIONS {
        let before = compiled(text);
        let everywhere = compiled(&with_matcher(text, &before.selectors, MATCHER));
        let mut times = 0;
        for span in &before.selectors {
            let after = compiled(&with_matcher(text, &[*span], MATCHER));
            assert_eq!(before.verdict, after.verdict, "{text}");
            let template = after.template();
            assert_eq!(
                template.as_ref().map(|template| template.replace(&format!("{MATCHER},"), "")),
                before.template()
            );
            times += template.map_or(0, |template| {
                assert!(written(&template) > 0, "{text}: {template}");
                written(&template)
            });
        }
        if let Some(template) = everywhere.template() {
            assert_eq!(written(&template), times, "{text}: each selector has its own");
            assert_eq!(filled(&template).selectors().len(), times, "{text}: every selector has it");
        }
    }
}

/// With it the tenants are kept apart: wherever in a text a selector stands.
#[test]
fn the_own_namespace_says_nothing_and_another_is_refused() {
    for text in EXPRESSIONS {
        let before = compiled(text);
        for span in &before.selectors {
            let own = compiled(&with_matcher(text, &[*span], &format!("namespace=\"{NAMESPACE}\"")));
            assert_eq!(own.measure, before.measure, "{text}");
            assert!(
                own.verdict.codes.is_superset(&before.verdict.codes) && own.verdict.codes.contains("NS0343"),
                "{text}: {:?}",
                own.verdict.codes
            );
            for other in ["=\"kube-system\"", "!=\"llm\"", "=~\".+\"", "=~\"llm|kube-system\"", "=\"\""] {
                let other = compiled(&with_matcher(text, &[*span], &format!("namespace{other}")));
                assert!(
                    other.measure.is_none() && other.verdict.codes.contains("NS0340"),
                    "{text}: {:?}",
                    other.verdict.codes
                );
            }
        }
    }
}

#[test]
fn the_sides_of_a_commutative_operator_can_be_swapped() {
    const SIDES: &[&str] = &[
        "load",
        "2",
        "time()",
        "sum by (pod) (depth)",
        "max by (pod, l) (depth)",
        "rate(done_total[2m])",
        "histogram_quantile(0.9, sum by (le, pod) (rate(time_bucket[2m])))",
        "label_replace(load, \"l\", \"$1\", \"engine\", \"(.*)\")",
        "scalar(sum(depth))",
        "sum(depth)",
        "sum by (service) (depth)",
        "(load > 1)",
    ];
    const MATCHINGS: &[(&str, &str)] = &[
        ("", ""),
        ("on (pod)", "on (pod)"),
        ("ignoring (l)", "ignoring (l)"),
        ("on (pod) group_left ()", "on (pod) group_right ()"),
        ("on (pod) group_right (m)", "on (pod) group_left (m)"),
        ("on () group_left ()", "on () group_right ()"),
        ("ignoring (l) group_left (pod)", "ignoring (l) group_right (pod)"),
    ];
    let mut accepted = 0;
    for (op, written) in
        [(BinaryOp::Add, "+"), (BinaryOp::Mul, "*"), (BinaryOp::Equal, "== bool"), (BinaryOp::NotEqual, "!= bool")]
    {
        for (matching, mirrored) in MATCHINGS {
            for (at, one) in SIDES.iter().enumerate() {
                for other in &SIDES[at..] {
                    let text = format!("{one} {written} {matching} {other}");
                    let (before, after) = (compiled(&text), compiled(&format!("{other} {written} {mirrored} {one}")));
                    assert_eq!(before.verdict, after.verdict, "{text}");
                    if let (Some(before), Some(after)) = (before.template(), after.template()) {
                        assert_eq!(swapped(&tree(&before), op), tree(&after), "{text}");
                        accepted += 1;
                    }
                }
            }
        }
    }
    assert!(accepted > 150);
}

/// The author's part of a template, without the number of pods that a level of a workload is multiplied by: it is counted
/// by the first of his selectors.
fn tree(template: &str) -> Node {
    let root = filled(template);
    if let NodeKind::Call { function, args } = &root.kind
        && function.name == "label_replace"
        && let NodeKind::Binary(binary) = &args[0].kind
        && is_count_of_pods(binary)
    {
        return *binary.lhs.clone();
    }
    root
}

fn is_count_of_pods(binary: &Binary) -> bool {
    binary.matching == Matching::On(LabelList::default()) && binary.cardinality == Cardinality::OneToOne
}

/// A template as a tree, with something in place of what the adapter fills in.
fn filled(template: &str) -> Node {
    let mut text = template.replace("<<.LabelMatchers>>", "request=\"\"").replace("<<.GroupBy>>", "request");
    while let (Some(start), Some(end)) = (text.find("<<"), text.find(">>")) {
        text.replace_range(start..end + 2, "\"request\"");
    }
    read(&text, &Limits::CHECK).unwrap_or_else(|findings| panic!("{text}: {findings:?}"))
}

/// Swaps the sides of this operator but where the root has it: `0 * e`, `e == 1`.
fn swapped(node: &Node, op: BinaryOp) -> Node {
    let boxed = |node: &Node| Box::new(swapped(node, op));
    let kind = match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) | NodeKind::Range { .. } => node.kind.clone(),
        NodeKind::Subquery { inner, range, step, shift } => {
            NodeKind::Subquery { inner: boxed(inner), range: *range, step: *step, shift: *shift }
        }
        NodeKind::Negate(inner) => NodeKind::Negate(boxed(inner)),
        NodeKind::Binary(binary) => {
            let sides = (boxed(&binary.lhs), boxed(&binary.rhs));
            let is_authors =
                binary.op == op && binary.returns_bool == op.is_comparison() && !is_number(&binary.lhs, 0.0);
            let (lhs, rhs) = if is_authors { (sides.1, sides.0) } else { sides };
            let cardinality = match binary.cardinality.clone() {
                Cardinality::Left(list) if is_authors => Cardinality::Right(list),
                Cardinality::Right(list) if is_authors => Cardinality::Left(list),
                same @ (Cardinality::OneToOne | Cardinality::Left(_) | Cardinality::Right(_)) => same,
            };
            NodeKind::Binary(Binary { lhs, rhs, cardinality, ..binary.clone() })
        }
        NodeKind::Aggregate(aggregate) => {
            let param = aggregate.param.as_deref().map(boxed);
            NodeKind::Aggregate(Aggregate { inner: boxed(&aggregate.inner), param, ..aggregate.clone() })
        }
        NodeKind::Call { function, args } => {
            NodeKind::Call { function, args: args.iter().map(|arg| swapped(arg, op)).collect() }
        }
    };
    Node::new(kind, node.span)
}

fn is_number(node: &Node, value: f64) -> bool {
    matches!(node.kind, NodeKind::Number(Number(number)) if number == value)
}

#[test]
fn by_and_without_are_equal_where_the_labels_are_known() {
    const CLOSED: &str = "max by (pod, l, m) (load)";
    for op in ["sum", "avg", "min", "max", "count", "stddev", "group"] {
        for (by, without) in [("pod", "l, m"), ("pod, l", "m"), ("l, m", "pod"), ("pod, l, m", "x"), ("m", "l, pod")] {
            let (by, without) = (format!("{op} by ({by}) ({CLOSED})"), format!("{op} without ({without}) ({CLOSED})"));
            assert_eq!(compiled(&by).verdict, compiled(&without).verdict, "{by}");
            for around in ["abs(_)", "_ * 2", "max by (pod) (_)", "_ / on (pod) max by (pod) (depth)", "-_ or _"] {
                let (by, without) = (around.replace('_', &by), around.replace('_', &without));
                assert_eq!(compiled(&by).verdict, compiled(&without).verdict, "{by}");
            }
        }
    }
    for (on, ignoring) in [("pod", "l, m"), ("pod, l", "m"), ("l", "pod, m"), ("pod, l, m", "x")] {
        for op in ["+", "and", "or", "unless", ">"] {
            let (on, ignoring) =
                (format!("{CLOSED} {op} on ({on}) {CLOSED}"), format!("{CLOSED} {op} ignoring ({ignoring}) {CLOSED}"));
            assert_eq!(compiled(&on).verdict, compiled(&ignoring).verdict, "{on}");
        }
    }
}

#[test]
fn the_case_of_keywords_and_the_order_of_labels_change_nothing() {
    const KEYWORDS: &str = "sum avg min max count stddev quantile topk group count_values by without on ignoring \
                            group_left group_right bool and or unless atan2 offset";
    for text in EXPRESSIONS {
        let before = compiled(text);
        let upper = respelt(text, |token, word| {
            let is_keyword = token.kind == TokenKind::Word && KEYWORDS.split(' ').any(|keyword| keyword == word);
            if is_keyword { word.to_uppercase() } else { word.to_owned() }
        });
        let reversed = reversed_lists(text);
        for same in [upper, reversed] {
            let after = compiled(&same);
            assert_eq!(after.measure, before.measure, "{same}");
            assert_eq!(after.verdict.codes, before.verdict.codes, "{same}");
        }
    }
}

/// The text with each list of labels the other way round, and its first label twice.
fn reversed_lists(text: &str) -> String {
    const LISTS: &[&str] = &["by (", "without (", "on (", "ignoring (", "group_left (", "group_right ("];
    let mut reversed = text.to_owned();
    for list in LISTS {
        let mut from = 0;
        while let Some(at) = reversed[from..].find(list) {
            let start = from + at + list.len();
            let end = start + reversed[start..].find(')').unwrap();
            let mut labels: Vec<&str> = reversed[start..end].split(", ").collect();
            labels.reverse();
            labels.extend(labels.first().copied().filter(|label| !label.is_empty()));
            let labels = labels.join(", ");
            reversed.replace_range(start..end, &labels);
            from = start;
        }
    }
    reversed
}

/// What the compiler adds at the root is what the author could have written there.
#[test]
fn a_root_completed_by_hand_is_the_same_rule() {
    let mut completed = 0;
    for text in EXPRESSIONS {
        let before = compiled(text);
        let by = match before.verdict.completion {
            Some(Completion::Max) => "max",
            Some(Completion::Sum) => "sum",
            None => continue,
        };
        let Some(measure) = &before.measure else { continue };
        let by_hand = format!("{by} by (pod) ({text})");
        let after = compiled(&by_hand);
        assert_eq!(after.verdict.completion, None, "{by_hand}");
        let codes = after.verdict.codes;
        let after = after.measure.unwrap_or_else(|| panic!("{by_hand}: {codes:?}"));
        assert_eq!(after, *measure, "{by_hand}");
        completed += 1;
    }
    assert!(completed > 8, "{completed}");
}
