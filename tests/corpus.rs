//! What people write of inference servers and GPUs becomes a metric, or they are told where it fails and what to type.
//!
//! `tests/corpus/verdicts.txt` says what becomes of each of its expressions. `NIMSCALE_PROMQL_FILE=FILE cargo test
//! --test corpus -- --nocapture` judges the expressions of a file, one a line, and shows what is refused, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::{env, fmt, fs, panic};

use nimscale_rules::findings::{Code, Finding};
use nimscale_rules::measure::{Measure, Measured, MetricKind, Question, Reading, measure};
use nimscale_rules::place::Span;
use nimscale_rules::platform::Platform;
use nimscale_rules::promql::token::{Token, TokenKind, scan};
use nimscale_rules::quantity::Milli;

const VERDICTS: &str = include_str!("corpus/verdicts.txt");
/// Only the source has the titles of the codes.
const CODES: &str = include_str!("../rules/src/findings/codes.rs");
/// A message's share of a line of 120, behind its code.
const MESSAGE: usize = 113;

#[test]
fn verdicts_are_as_written() {
    let mut wrong = Vec::new();
    for (verdict, text) in written() {
        let judged = Judged::of(text).verdict();
        if judged != verdict {
            wrong.push(format!("{verdict:<16}{text}\n  is {judged}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_refused_is_told_where_and_what_to_type() {
    let file = env::var_os("NIMSCALE_PROMQL_FILE")
        .map(|file| fs::read_to_string(&file).unwrap_or_else(|error| panic!("NIMSCALE_PROMQL_FILE: {error}")));
    let texts: Vec<&str> = match &file {
        Some(file) => expressions(file).collect(),
        None => written().map(|(_, text)| text).collect(),
    };
    let [mut plain, mut unfilled, mut filled] = [const { Totals::new() }; 3];
    for text in texts {
        let judged = Judged::of(text);
        judged.is_told();
        if judged.text == text {
            plain.add(judged);
        } else {
            let as_it_stands = Judged::as_it_stands(text);
            as_it_stands.is_told();
            unfilled.add(as_it_stands);
            filled.add(judged);
        }
    }
    println!("without variables of a dashboard: {plain}");
    println!("with variables, as they stand:    {unfilled}");
    println!("with variables, filled in:        {filled}");
    print_refused(plain.refused.into_iter().chain(filled.refused));
}

fn expressions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Verdicts and their expressions.
fn written() -> impl Iterator<Item = (&'static str, &'static str)> {
    expressions(VERDICTS).map(|line| {
        let (verdict, text) = line.split_once(' ').expect("a verdict and an expression");
        (verdict, text.trim_start())
    })
}

/// What became of one expression.
struct Judged {
    /// What was compiled: the variables of a dashboard are gone.
    text: String,
    /// The workload's, where the text itself names one.
    namespace: Option<String>,
    measured: Measured,
}

impl Judged {
    /// Whoever names one namespace means the workload's own: what is refused of that alone is compiled once more, there.
    fn of(text: &str) -> Self {
        let judged = Self::as_it_stands(&filled_in(text));
        match own_namespace(&judged) {
            Some(namespace) => {
                let measured = compiled(&judged.text, Some(&namespace));
                Self { namespace: Some(namespace), measured, ..judged }
            }
            None => judged,
        }
    }

    fn as_it_stands(text: &str) -> Self {
        Self { text: text.to_owned(), namespace: None, measured: compiled(text, None) }
    }

    fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.measured.findings.iter().filter(|finding| finding.is_error())
    }

    fn codes(&self) -> BTreeSet<Code> {
        self.errors().map(|finding| finding.code).collect()
    }

    fn code(&self) -> Code {
        self.codes().pop_first().expect("what is refused has an error")
    }

    /// `Pods`, `Object:total` (N per replica), `Object:level` (as it stands), or the codes; behind `@` the namespace.
    fn verdict(&self) -> String {
        let verdict = match &self.measured.measure {
            Some(measure) => accepted(measure).to_owned(),
            None => self.codes().into_iter().map(Code::as_str).collect::<Vec<_>>().join("+"),
        };
        self.namespace.as_ref().map_or(verdict.clone(), |namespace| format!("{verdict}@{namespace}"))
    }

    /// What holds for every text, whatever becomes of it.
    fn is_told(&self) {
        let text = &self.text;
        assert_eq!(self.measured.measure.is_none(), self.errors().count() > 0, "{text}: {:?}", self.measured.findings);
        for finding in &self.measured.findings {
            let Span { start, end } = finding.place.bytes;
            assert!(start < end && text.get(start..end).is_some(), "{text} has no {start}..{end}: {finding:?}");
            assert!(finding.message.chars().count() <= MESSAGE, "{text}: {finding:?}");
        }
        for finding in self.errors() {
            let is_told = finding.help.as_ref().is_some_and(|help| !help.is_empty());
            // The parser's own words are all there is of some texts.
            assert!(is_told || finding.code == Code::Ns0301, "{text}: {finding:?}");
            let Some(typed) = typed(text, finding) else { continue };
            let of_code = |findings: &[Finding]| findings.iter().filter(|other| other.code == finding.code).count();
            let after = compiled(&typed, self.namespace.as_deref()).findings;
            assert!(of_code(&after) < of_code(&self.measured.findings), "{typed}: {after:?}");
        }
        // Its own namespace is redundant: without the matcher the metric is the same.
        if let (Some(namespace), Some(own)) = (&self.namespace, &self.measured.measure) {
            let without = without_matchers(text, |value| value == namespace);
            let other = compiled(&without, None).measure;
            assert_eq!(other.map(|measure| measure.name).as_ref(), Some(&own.name), "{without}");
        }
    }
}

fn accepted(measure: &Measure) -> &'static str {
    match (measure.kind, measure.reading) {
        (MetricKind::Pods, _) => "Pods",
        (MetricKind::Object(_), Reading::PerReplica) => "Object:total",
        (MetricKind::Object(_), Reading::AsItStands) => "Object:level",
    }
}

fn compiled(text: &str, namespace: Option<&str>) -> Measured {
    let target = Milli::from_thousandths(1000).expect("over 0");
    let question = Question { namespace, ..Question::new(text, target) };
    panic::catch_unwind(|| measure(&question, &Platform::default())).unwrap_or_else(|_| panic!("{text} panics"))
}

/// The namespace of a text that is refused only because it names one.
fn own_namespace(judged: &Judged) -> Option<String> {
    let named = |finding: &Finding| {
        let value = finding.place.bytes.of(&judged.text).strip_prefix("namespace")?.trim_start().strip_prefix('=')?;
        value.trim_start().strip_prefix(['"', '\'', '`'])?.strip_suffix(['"', '\'', '`']).map(str::to_owned)
    };
    let is_of_namespaces = judged.codes().into_iter().eq([Code::Ns0340]);
    let named: Option<BTreeSet<String>> = judged.errors().map(named).collect();
    named.filter(|named| is_of_namespaces && named.len() == 1)?.pop_first()
}

/// What a dashboard fills in: intervals are two minutes here, and matchers on a variable's value are left out.
fn filled_in(text: &str) -> String {
    let mut text = text.to_owned();
    for interval in ["rate_interval", "interval", "range"] {
        text = text.replace(&format!("$__{interval}"), "2m").replace(&format!("${{__{interval}}}"), "2m");
    }
    let is_name = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{'));
    without_matchers(&text, |value| {
        let mut marks = value.match_indices('$').chain(value.match_indices("[["));
        marks.any(|(at, mark)| is_name(&value[at + mark.len()..]))
    })
}

/// The text without the matchers on such values.
fn without_matchers(text: &str, is_left_out: impl Fn(&str) -> bool) -> String {
    let tokens = scan(text);
    let is_matcher = |three: &&[Token]| {
        let [_, operator, value] = three else { return false };
        let is_operator = ["=", "!=", "=~", "!~"].contains(&operator.span.of(text));
        is_operator
            && value.kind == TokenKind::String
            && is_left_out(Span::new(value.span.start + 1, value.span.end - 1).of(text))
    };
    let spans: Vec<Span> = tokens.windows(3).filter(is_matcher).map(|three| three[0].span.to(three[2].span)).collect();
    spans.into_iter().rev().fold(text.to_owned(), |text, span| without(&text, span))
}

/// The text without one of its matchers, and the comma behind it.
fn without(text: &str, matcher: Span) -> String {
    let rest = text[matcher.end..].trim_start();
    format!("{}{}", &text[..matcher.start], rest.strip_prefix(',').unwrap_or(rest))
}

/// The text with the help of a finding typed in, where a machine can do it.
fn typed(text: &str, finding: &Finding) -> Option<String> {
    let (span, help) = (finding.place.bytes, finding.help.as_deref()?);
    if finding.code == Code::Ns0321 {
        let first = help.split(", or ").next()?;
        return Some(first.replace('…', text));
    }
    help.starts_with("delete the matcher").then(|| without(text, span))
}

/// What became of many expressions.
struct Totals {
    accepted: BTreeMap<&'static str, usize>,
    /// Of the accepted ones.
    in_own_namespace: usize,
    refused: Vec<Judged>,
}

impl Totals {
    const fn new() -> Self {
        Self { accepted: BTreeMap::new(), in_own_namespace: 0, refused: Vec::new() }
    }

    fn add(&mut self, judged: Judged) {
        match &judged.measured.measure {
            Some(measure) => {
                *self.accepted.entry(accepted(measure)).or_default() += 1;
                self.in_own_namespace += usize::from(judged.namespace.is_some());
            }
            None => self.refused.push(judged),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, in_own_namespace, refused } = self;
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for judged in refused {
            *codes.entry(judged.code().as_str()).or_default() += 1;
        }
        let number: usize = accepted.values().sum();
        write!(f, "{number} accepted {accepted:?}, {in_own_namespace} of them in the namespace that they name; ")?;
        write!(f, "{} refused {codes:?}", refused.len())
    }
}

/// By their codes: how many, the code's title, and each text once with what its author is told.
fn print_refused(refused: impl Iterator<Item = Judged>) {
    let mut by_code: BTreeMap<Code, Vec<Judged>> = BTreeMap::new();
    for judged in refused {
        by_code.entry(judged.code()).or_default().push(judged);
    }
    for (code, refused) in by_code {
        let line = CODES.lines().find(|line| line.contains(&format!("{:?}", code.as_str())));
        let title = line.and_then(|line| line.split('"').nth(3)).expect("every code has a title");
        println!("{:>4} {code} {title}", refused.len());
        let mut shown = BTreeSet::new();
        for judged in refused.iter().filter(|judged| shown.insert(&judged.text)) {
            println!("       {}", judged.text);
            for Finding { code, message, help, .. } in judged.errors() {
                println!("         {code} {message} -> {}", help.as_deref().unwrap_or_default());
            }
        }
    }
}
