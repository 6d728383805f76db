//! PromQL: from the author's text to a template that is right for every pod set.
//!
//! `guard` refuses by bytes, tokens and literals what the parser must not see; `lower` turns the parser's tree into a
//! [`node::Node`], once; `flow` says which labels leave it and refuses what cannot be right per pod; `template` prints
//! it for the adapter.

pub(crate) mod families;
pub mod flow;
pub mod functions;
mod guard;
mod lower;
pub mod node;
mod normalise;
pub mod reach;
mod regex;
pub mod scope;
mod string;
pub mod template;
pub mod token;

use std::time::Duration;

use crate::findings::Finding;
pub use lower::is_selector;
use node::Node;
pub use normalise::normalise;
pub use regex::NamePattern;

/// What one expression may be at most. Everything here is checked before the work that it bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    pub tokens: usize,
    /// Brackets inside brackets.
    pub nesting: usize,
    pub nodes: usize,
    pub selectors: usize,
    pub labels_per_list: usize,
    pub matchers_per_selector: usize,
    /// Check regular expressions: ours are lists of pods.
    pub regexes: bool,
    /// Of one string literal.
    pub string_bytes: usize,
    /// Subqueries, also one beside the other.
    pub subqueries: usize,
    pub range: Duration,
    pub offset: Duration,
    /// The finest step of a subquery.
    pub step: Duration,
    /// Evaluations of one subquery.
    pub points: u128,
}

impl Limits {
    /// For text that somebody wrote.
    pub const AUTHOR: Self = Self {
        bytes: 4096,
        tokens: 512,
        nesting: 32,
        nodes: 200,
        selectors: 10,
        labels_per_list: 20,
        matchers_per_selector: 20,
        regexes: true,
        string_bytes: 256,
        subqueries: 1,
        range: Duration::from_secs(3600),
        offset: Duration::from_secs(86_400),
        step: Duration::from_secs(15),
        points: 240,
    };

    /// For our own output, read back: the root wrap repeats an expression three times, counts pods and adds scopes.
    pub const CHECK: Self = Self {
        bytes: 16 * Self::AUTHOR.bytes,
        tokens: 16 * Self::AUTHOR.tokens,
        nesting: Self::AUTHOR.nesting + 16,
        // A family with labels of its own gets its namespace and pod by ten nodes each time.
        nodes: 3 * (Self::AUTHOR.nodes + 10 * Self::AUTHOR.selectors) + 32,
        selectors: 3 * Self::AUTHOR.selectors + 1,
        subqueries: 3 * Self::AUTHOR.subqueries,
        labels_per_list: Self::AUTHOR.labels_per_list + 2,
        matchers_per_selector: 2 * Self::AUTHOR.matchers_per_selector + 2,
        regexes: false,
        string_bytes: 4096,
        ..Self::AUTHOR
    };
}

/// Reads an expression: guard, parser, lowering. Findings have places in `text` itself.
pub fn read(text: &str, limits: &Limits) -> Result<Node, Vec<Finding>> {
    let guarded = guard::guard(text, limits)?;
    let node = lower::lower(text, &guarded, limits).map_err(|finding| vec![finding])?;
    guard::check(&node, limits)?;
    Ok(node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::node::NodeKind;
    use super::*;
    use crate::findings;

    /// Texts of every construct, with the spans that are hard to get right.
    const TEXTS: &[&str] = &[
        "x",
        "x{a=\"b\"}",
        "{__name__=\"x\",a!=\"b\"}",
        "x{a=`\\d+`, } offset 5m",
        "x @ end() offset 1m",
        "x offset 1m @ start()",
        "rate(x_total[2m])",
        "rate ( x_total{a=\"b\"} [ 2m ] offset 30s )",
        "max_over_time(rate(x[1m])[5m:30s])",
        "max_over_time((x > 0)[5m:] @ end())",
        "-x",
        "- -x",
        "+x + -1",
        "-1 ^ 2 * x",
        "(-1) ^ x",
        "2 ^ 3 ^ x",
        "a - b - c",
        "a - (b - c)",
        "a + on (pod) b",
        "a / ignoring (l, m) group_left (n) b",
        "a * on (pod) group_right b",
        "a > bool 1",
        "a atan2 b",
        "a AND on() b unless c or d",
        "SUM BY (pod, le) (x)",
        "sum(x) by (pod)",
        "sum without () (x)",
        "quantile by (pod) (0.9, x)",
        "topk(3, x)",
        "count_values(\"v\", x)",
        "histogram_quantile(0.95, sum by (le, pod) (rate(x_bucket[2m]))) # p95",
        "label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")",
        "round(x, 0.001) == 1e-7",
        "time() - x",
        "hour()",
        "x{a=\"<<.Foo>>\"} + 0x1F",
        "x < NaN or y > Inf",
        "vllm:num_requests_waiting{engine=~\"0|1\"}",
        "((((x))))",
        "offset + 2 and offset offset 5m",
        "x + -(1) - -(-(2))",
        "a - b + c - d",
        "a - (b + c)",
        "a * b / (c * d) % e",
        "(a ^ b) ^ c ^ d",
        "a or b or c and d unless (e or f)",
        "a > b == bool c",
        "(a > b) + c > d",
        "a > ignoring () group_left b",
        "label_replace(sum(a) by (pod), \"l\", \"$1\", \"m\", \"(.*)\")",
        "label_join(a * on (pod) group_left (m) b, \"l\", \"-\", \"m\")",
        "and offset 5m and and offset 5m",
        "x == on (l) group_left offset - 2",
        "x unless ignoring (l) unless offset 5m",
        "sum(x) by (l) unless y",
        "holt_winters(x[5m], 0.5, 1e-7)",
        "a # it ends here\r+ b",
        "NaN ^ x",
    ];

    fn tree(text: &str) -> Node {
        read(text, &Limits::AUTHOR).unwrap_or_else(|findings| panic!("{text}: {findings:?}"))
    }

    #[test]
    fn the_text_of_every_node_is_the_node() {
        for text in TEXTS {
            tree(text).visit(&mut |node| {
                let written = node.span.of(text);
                match &node.kind {
                    // A string is no expression that the guard lets stand alone in every place, and a scalar comparison
                    // needs bool; everything else must read back.
                    NodeKind::String(value) => assert_eq!(string::unquote(written).as_ref(), Ok(value), "{text}"),
                    NodeKind::Number(_)
                    | NodeKind::Selector(_)
                    | NodeKind::Range { .. }
                    | NodeKind::Subquery { .. }
                    | NodeKind::Negate(_)
                    | NodeKind::Binary(_)
                    | NodeKind::Aggregate(_)
                    | NodeKind::Call { .. } => assert_eq!(&tree(written), node, "{text}: {written}"),
                }
            });
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_tree() {
        for text in TEXTS {
            let node = tree(text);
            let printed = template::plain(&node);
            assert_eq!(tree(&printed), node, "{text} was printed as {printed}");
            let normal = normalise(&node, None);
            assert_eq!(normalise(&normal, None), normal, "{text}");
            assert_eq!(normalise(&tree(&template::plain(&normal)), None), normal, "{text}");
        }
    }

    #[test]
    fn a_pattern_of_one_value_is_the_value() {
        for pattern in ["b", "(b)", "(?:b)"] {
            for (matches, equals) in [("=~", "="), ("!~", "!=")] {
                let (pattern, value) = (format!("x{{a{matches}\"{pattern}\"}}"), format!("x{{a{equals}\"b\"}}"));
                assert_eq!(normalise(&tree(&pattern), None), tree(&value), "{pattern}");
            }
        }
        let several = tree("x{a=~\"(b|c)\"}");
        assert_eq!(normalise(&several, None), several);
    }

    #[test]
    fn hostile_text_is_refused_with_a_code_in_bounded_time() {
        let cases = [
            ("(".repeat(4096), "NS0362"),
            ("(".repeat(100_000), "NS0362"),
            ("sum(".repeat(1000), "NS0362"),
            (format!("{}x{}", "sum(".repeat(40), ")".repeat(40)), "NS0362"),
            (format!("{}x", "-".repeat(100)), "NS0362"),
            (format!("x{}", "+x".repeat(250)), "NS0362"),
            (format!("x{}", "+1".repeat(250)), "NS0362"),
            (format!("x{{a=\"{}\"}}", "b".repeat(300)), "NS0362"),
            (format!("x{{{}}}", "a=\"b\",".repeat(25)), "NS0362"),
            (format!("sum by ({}) (x)", "a,".repeat(25)), "NS0362"),
            ("x[1e20]".into(), "NS0360"),
            ("x offset Inf".into(), "NS0301"),
            ("x[1h5000000000s]".into(), "NS0362"),
            ("x[0]".into(), "NS0360"),
            ("x[2h]".into(), "NS0362"),
            ("max_over_time(x[50m:1ms])".into(), "NS0362"),
            ("max_over_time(max_over_time(x[5m:1m])[5m:1m])".into(), "NS0362"),
            ("x{a=~\"((((a){100}){100}){100})\"}".into(), "NS0362"),
            ("x{a=~\"(\"}".into(), "NS0301"),
            ("x{a=\"b\" or namespace=\"kube-system\"}".into(), "NS0342"),
            ("{\"x.y\"}".into(), "NS0361"),
            ("{a=\"b\"}".into(), "NS0342"),
            ("sum by (\"a.b\") (x)".into(), "NS0361"),
            ("limitk(1, x) fill (0) y".into(), "NS0361"),
            ("x\u{0}".into(), "NS0301"),
            ("x \u{2264} 3".into(), "NS0301"),
            ("x{a=\"\\xff\"}".into(), "NS0301"),
            (String::new(), "NS0301"),
            ("# only a comment".into(), "NS0301"),
            ("ln(-1)".into(), "NS0301"),
            ("1 > 2".into(), "NS0301"),
            ("rate(x)".into(), "NS0301"),
            ("x * 1e400".into(), "NS0301"),
            ("x * 0x8000000000000000".into(), "NS0301"),
            ("{__name__=\"on\"}".into(), "NS0342"),
            ("x{a==\"b\"}".into(), "NS0301"),
            ("foo(x)".into(), "NS0301"),
            ("x offset +5m".into(), "NS0361"),
            ("+\"x\"".into(), "NS0301"),
            ("x + +y[5m]".into(), "NS0301"),
            ("limitk by (a) (1, x)".into(), "NS0361"),
            ("limit_ratio(0.5, x)".into(), "NS0361"),
            ("count_values(\"a-b\", x)".into(), "NS0301"),
            ("label_replace(x, \"\", \"\", \"\", \"\")".into(), "NS0301"),
            ("label_replace(x, \"a\", \"$1\", \"b\", \"(\")".into(), "NS0301"),
            ("label_join(x, \"a\", \"-\", \"b\", \"1\")".into(), "NS0301"),
            ("{__name__=\"smoothed\"}".into(), "NS0342"),
            ("x == on (l) group_left offset - 2m".into(), "NS0360"),
            ("x == on (l) offset - 2m".into(), "NS0360"),
            ("0x1e-7 * x".into(), "NS0301"),
            ("x + 0x5E".into(), "NS0301"),
            ("x @ 1e18".into(), "NS0301"),
            ("timestamp((+x))".into(), "NS0301"),
            ("x * # c\r{a=~\"b\"}".into(), "NS0342"),
            ("holt_winters(x[5m], 1, 0.5)".into(), "NS0301"),
            ("holt_winters(x[5m], 0.5, time())".into(), "NS0301"),
        ];
        for (text, code) in cases {
            let findings = read(&text, &Limits::AUTHOR).err().unwrap_or_default();
            let shown = findings::cut(&text, 40);
            let codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
            assert!(codes.contains(&code), "{shown}: {codes:?}");
            for finding in findings {
                assert!(finding.place.bytes.end <= text.len(), "{shown}");
                assert!(finding.message.chars().count() <= 113, "{}", finding.message);
            }
        }
    }

    fn pieces() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "x",
            "sum",
            "by",
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
            "5m",
            ":",
            "offset",
            "@",
            "1",
            "010",
            "-",
            "+",
            "*",
            "^",
            "<",
            "bool",
            "on",
            "group_left",
            "pod",
            ",",
            "=",
            "=~",
            "\"a\"",
            "`b`",
            "'c",
            "#\n",
            "or",
            "and",
            "rate",
            "le",
            "histogram_quantile",
            "0.9",
            "Inf",
            "\u{e9}",
            "_total",
            "vector",
            "absent",
            "topk",
            "namespace",
            "start",
        ]);
        prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_text_panics_and_every_place_lies_in_it(text in prop_oneof![4 => pieces(), 1 => "\\PC{0,60}"]) {
            match read(&text, &Limits::AUTHOR) {
                Err(findings) => {
                    prop_assert!(!findings.is_empty());
                    for finding in findings {
                        prop_assert!(text.is_char_boundary(finding.place.bytes.start));
                        prop_assert!(text.is_char_boundary(finding.place.bytes.end));
                    }
                }
                Ok(node) => {
                    let printed = template::plain(&node);
                    prop_assert_eq!(read(&printed, &Limits::AUTHOR), Ok(node), "printed as {}", printed);
                }
            }
        }
    }
}
