//! Read `keep`: PromQL entries, each with the number that it is to be kept under.

use super::lines::{Lines, Next};
use super::scale::{BOOL, WRONG_DIRECTION};
use super::{DeclaredMetric, Intended, MetricName, Source, target};
use crate::findings::{Code, Finding, cut};
use crate::place::{Set, Span, Text};
use crate::policy::Limits;
use crate::presets::{Preset, presets};
use crate::promql::token::{Bracket, Token, TokenKind};

/// Each slip reads the rest again, so their number bounds the work.
const MOST_SLIPS: usize = 8;

/// Reads the entries; each that fails is one finding.
pub(super) fn read(text: &Text, limits: &Limits, findings: &mut Vec<Finding>) -> Vec<DeclaredMetric> {
    let value = text.as_str();
    let mut lines = Lines::from(value, 0);
    let mut metrics = Vec::new();
    let mut slips = 0;
    let mut empty = true;
    while let Some(next) = lines.next_entry() {
        empty = false;
        // Behind the first slip only accepted entries count.
        let quiet = slips > 0;
        let result = match next {
            Next::Entry(tokens) => read_entry(text, &tokens, limits),
            Next::Lost(finding) => Err(finding),
            Next::Unpaired(finding, resume) => {
                slips += 1;
                lines = Lines::from(value, resume);
                Err(finding)
            }
        };
        match result {
            Ok(metric) => metrics.push(metric),
            Err(finding) if !quiet => findings.push(finding),
            Err(_) => {}
        }
        if slips == MOST_SLIPS {
            break;
        }
    }
    if empty {
        let finding = Finding::at(Code::Ns0106, Span::new(0, value.len()), "nimscale.dev/keep is empty");
        findings.push(finding.help(EXAMPLE));
    }
    metrics
}

const EXAMPLE: &str = "backlog: sum by (pod) (num_requests_waiting) < 8";

/// The checks stand in the order of the reference; the first that fails is the entry's finding.
fn read_entry(text: &Text, tokens: &[Token], limits: &Limits) -> Result<DeclaredMetric, Finding> {
    let value = text.as_str();
    let whole = span_of(tokens);
    if let Some(finding) = too_long(whole, limits) {
        return Err(finding);
    }
    if let [dash, ..] = tokens
        && dash.span.of(value) == "-"
        && value[dash.span.end..].starts_with([' ', '\t', '\n', '\r'])
    {
        let finding = Finding::at(Code::Ns0135, dash.span, "\"- \" would negate the expression");
        return Err(finding.help(shown(value, &tokens[1..])));
    }
    let (name, body) = split_name(value, tokens)?;
    let entry = Entry { value, name, body };
    let comparison = entry.comparison()?;
    let (left, right) = (&body[..comparison], &body[comparison + 1..]);
    let right = span_of(right);
    let target =
        target::number(right.of(value), right.start).map_err(|finding| entry.no_target(finding, comparison))?;

    let expression = span_of(left);
    let named = name.and_then(|span| Some((MetricName::parse(span.of(value))?, span)));
    let (name, place) = named.unwrap_or_else(|| (derived_name(value, left), expression));
    Ok(DeclaredMetric {
        name,
        place: text.place(place),
        source: Source::Query(text.slice(expression)),
        target: Set::annotation(target, text.place(right)),
        intended: Intended::default(),
    })
}

/// The finding about an entry, or an expression, of more bytes than one may have.
pub(super) fn too_long(whole: Span, limits: &Limits) -> Option<Finding> {
    let (bytes, limit) = (whole.end - whole.start, &limits.entry_bytes);
    let by = limit.policy().map_or_else(String::new, |policy| format!(" ({policy})"));
    let message = format!("the entry takes {bytes} bytes; the limit is {}{by}", limit.value);
    (bytes > limit.value).then(|| Finding::at(Code::Ns0362, whole, message).help("a shorter expression"))
}

/// Splits the name from the front of an entry; a name that is returned is one.
fn split_name<'t>(value: &str, tokens: &'t [Token]) -> Result<(Option<Span>, &'t [Token]), Finding> {
    let whole = span_of(tokens);
    let rest = whole.of(value);
    let in_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let run = &rest[..rest.find(|c| !in_run(c)).unwrap_or(rest.len())];
    let behind = &rest[run.len()..];
    let next = behind.trim_start();
    let refused = |end: usize, name: &str, why: &str| {
        let span = Span::new(whole.start, whole.start + end);
        let message = format!("\"{}\" is no name: {why}", cut(&span.of(value).replace(char::is_whitespace, " "), 24));
        Err(Finding::at(Code::Ns0121, span, message).help(format!("{}: ", MetricName::suggested(name))))
    };
    if let Some(name) = run.strip_suffix(':').filter(|_| behind.is_empty() || behind.len() > next.len()) {
        if MetricName::parse(name).is_none() {
            return refused(name.len(), name, MetricName::RULE);
        }
        let end = whole.start + run.len();
        let body = &tokens[tokens.partition_point(|token| token.span.start < end)..];
        return Ok((Some(Span::new(whole.start, end - 1)), body));
    }
    if let Some((name, series)) = run.split_once(':') {
        // `a:b-sum(x)` is a difference, and nothing can follow `a:sum` directly.
        let word = &next[..next.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(next.len())];
        let called = next.starts_with('(') || ["by", "without"].iter().any(|by| word.eq_ignore_ascii_case(by));
        if called && !series.contains('-') {
            return refused(run.len(), name, "it needs a space after the colon");
        }
    } else if !run.is_empty() && next.starts_with(':') {
        let end = rest.len() - next.len() + 1;
        return refused(end, run, "no space before the colon");
    }
    Ok((None, tokens))
}

/// An entry with its name split off.
struct Entry<'a> {
    value: &'a str,
    name: Option<Span>,
    body: &'a [Token],
}

impl Entry<'_> {
    /// The index of the one `<` that splits expression from target.
    fn comparison(&self) -> Result<usize, Finding> {
        let (value, body) = (self.value, self.body);
        let top: Vec<usize> = top_level(body).collect();
        let of = |index: usize| body[index].span.of(value);
        let comparisons: Vec<usize> = top.iter().copied().filter(|at| is_comparison(value, body[*at])).collect();
        if let Some(preset) = self.preset(comparisons.first().copied()) {
            return Err(self.preset_in_keep(preset));
        }
        if let Some(at) = top.iter().find(|at| matches!(of(**at), "," | ";")) {
            let finding = Finding::at(Code::Ns0133, body[*at].span, format!("\"{}\" does not separate here", of(*at)));
            let is_number = |at: usize| body.get(at).is_some_and(|token| token.kind == TokenKind::Number);
            if *at > 0 && is_number(at - 1) && is_number(at + 1) && of(*at) == "," {
                return Err(finding.help(format!("{}{}", of(at - 1), of(at + 1))));
            }
            return Err(finding.help(if at + 1 == body.len() { "nothing" } else { "a new line" }));
        }
        if let (Some(name), true) = (self.name, body.is_empty()) {
            let help = format!("{}: EXPRESSION < NUMBER", name.of(value));
            return Err(Finding::at(Code::Ns0134, name, "nothing stands after the name").help(help));
        }
        let (Some(&first), Some(&last)) = (comparisons.first(), comparisons.last()) else {
            let message = "no \"<\" here: an entry is EXPRESSION < NUMBER";
            let help = format!("{} < NUMBER", shown(value, body));
            return Err(Finding::at(Code::Ns0124, span_of(body), message).help(help));
        };
        let set_operator = |at: &&usize| ["and", "or", "unless"].iter().any(|word| body[**at].is_word(value, word));
        if let Some(&at) = top.iter().find(set_operator) {
            return Err(self.set_operator(at, first, last));
        }
        if first < last {
            return Err(self.two_comparisons(first, comparisons[1]));
        }
        let operator = body[first].span;
        let (left, right) = (&body[..first], &body[first + 1..]);
        if right.first().is_some_and(|token| token.is_word(value, "bool")) {
            return Err(Finding::at(Code::Ns0127, operator.to(right[0].span), BOOL).help("<"));
        }
        match of(first) {
            "<" => {}
            ">" => {
                let (low, high) = if is_number(left) { (right, left) } else { (left, right) };
                let help = format!("{} < {}", shown(value, low), shown(value, high));
                return Err(Finding::at(Code::Ns0125, operator, WRONG_DIRECTION).help(help));
            }
            other => {
                let message = format!("\"{other}\" is not the target's sign");
                return Err(Finding::at(Code::Ns0126, operator, message).help("<"));
            }
        }
        let missing = |side: &str, help: String| {
            Err(Finding::at(Code::Ns0134, operator, format!("nothing stands {side} \"<\"")).help(help))
        };
        if left.is_empty() {
            return missing("before", format!("EXPRESSION < {}", shown(value, right)));
        }
        if right.is_empty() {
            return missing("after", format!("{} < NUMBER", shown(value, left)));
        }
        Ok(first)
    }

    /// The preset whose name is all that stands before the first comparison.
    fn preset(&self, comparison: Option<usize>) -> Option<&'static Preset> {
        let left = &self.body[..comparison.unwrap_or(self.body.len())];
        // No preset's name has more tokens than this.
        if left.len() > 8 {
            return None;
        }
        let joined: String = left.iter().map(|token| token.span.of(self.value)).collect();
        presets().iter().find(|preset| preset.name == joined)
    }

    fn preset_in_keep(&self, preset: &Preset) -> Finding {
        let message = format!("{} is a preset; keep takes PromQL", preset.name);
        let help = format!("nimscale.dev/scale: \"{}<{}\"", preset.name, target::example(preset));
        Finding::at(Code::Ns0123, span_of(self.body), message).help(help)
    }

    fn set_operator(&self, at: usize, first: usize, last: usize) -> Finding {
        let operator = self.body[at].span;
        let word = operator.of(self.value);
        let message = format!("\"{word}\" beside a comparison: PromQL reads the comparison first");
        let help = if first == last && at < first {
            let (left, right) = (&self.body[..first], &self.body[first + 1..]);
            format!("({}) < {}", shown(self.value, left), shown(self.value, right))
        } else {
            "two entries, one a line".into()
        };
        Finding::at(Code::Ns0129, operator, message).help(help)
    }

    fn two_comparisons(&self, first: usize, second: usize) -> Finding {
        let between = &self.body[first + 1..second];
        if between.is_empty() {
            let sign = span_of(&self.body[first..=second]);
            let message = format!("\"{}\" is not the target's sign", cut(sign.of(self.value), 20));
            return Finding::at(Code::Ns0126, sign, message).help("<");
        }
        let both = self.body[first].span.to(self.body[second].span);
        let finding = Finding::at(Code::Ns0128, both, "two comparisons in one entry");
        match between {
            [_] => {
                let (left, right) = (&self.body[..second], &self.body[second + 1..]);
                finding.help(format!("({}) < {}", shown(self.value, left), shown(self.value, right)))
            }
            [number, ..] if number.kind == TokenKind::Number => {
                let (above, below) = self.body.split_at(first + 2);
                finding.help(format!("{}\n{}", shown(self.value, above), shown(self.value, below)))
            }
            _ => finding.help("one entry a line"),
        }
    }

    /// Says more about a right side that is no number.
    fn no_target(&self, finding: Finding, comparison: usize) -> Finding {
        if finding.code != Code::Ns0130 {
            return finding;
        }
        let (left, right) = (&self.body[..comparison], &self.body[comparison + 1..]);
        let (shown_left, shown_right) = (shown(self.value, left), shown(self.value, right));
        if is_number(left) {
            let help = format!("{shown_right} < {shown_left}");
            return Finding::at(Code::Ns0125, self.body[comparison].span, WRONG_DIRECTION).help(help);
        }
        let inside = match right {
            [open, inside @ .., close]
                if (open.kind, close.kind) == (TokenKind::Open(Bracket::Round), TokenKind::Close(Bracket::Round)) =>
            {
                span_of(inside).of(self.value)
            }
            _ => "",
        };
        if target::number(inside, 0).is_ok() {
            return finding.help(format!("{shown_left} < {inside}"));
        }
        match right {
            [word] if word.kind == TokenKind::Word => {
                let sum = top_level(left).any(|at| left[at].kind == TokenKind::Arithmetic);
                let dividend = if sum { format!("({shown_left})") } else { shown_left };
                finding.help(format!("{dividend} / {shown_right} < 1"))
            }
            _ => finding.help(format!("{shown_left} < NUMBER")),
        }
    }
}

/// The indexes of the tokens outside brackets; brackets pair.
fn top_level(tokens: &[Token]) -> impl Iterator<Item = usize> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter_map(move |(at, token)| {
        if matches!(token.kind, TokenKind::Close(_)) {
            depth = depth.saturating_sub(1);
        }
        let outside = depth == 0;
        if matches!(token.kind, TokenKind::Open(_)) {
            depth += 1;
        }
        outside.then_some(at)
    })
}

fn is_comparison(value: &str, token: Token) -> bool {
    token.kind == TokenKind::Comparison || (token.kind == TokenKind::Matching && token.span.of(value) == "=")
}

/// A number literal, with or without a sign.
fn is_number(tokens: &[Token]) -> bool {
    match tokens {
        [number] => number.kind == TokenKind::Number,
        [sign, number] => sign.kind == TokenKind::Arithmetic && number.kind == TokenKind::Number,
        _ => false,
    }
}

/// The name of the leftmost metric: outside braces, no keyword, no function, no label.
fn derived_name(value: &str, tokens: &[Token]) -> MetricName {
    let mut curly = false;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        let called = next.is_some_and(|next| next.kind == TokenKind::Open(Bracket::Round));
        match token.kind {
            TokenKind::Open(Bracket::Curly) => curly = true,
            TokenKind::Close(Bracket::Curly) => curly = false,
            TokenKind::Word if !curly => {
                let is_any = |words: &[&str]| words.iter().any(|word| token.is_word(value, word));
                let aggregates = next.is_some_and(|next| next.is_word(value, "by") || next.is_word(value, "without"));
                if called && is_any(LABEL_LISTS) {
                    while tokens.get(at).is_some_and(|t| t.kind != TokenKind::Close(Bracket::Round)) {
                        at += 1;
                    }
                } else if !called && !aggregates && !is_any(LABEL_LISTS) && !is_any(KEYWORDS) {
                    return MetricName::derived(token.span.of(value));
                }
            }
            TokenKind::Word
            | TokenKind::Number
            | TokenKind::String
            | TokenKind::OpenString
            | TokenKind::Open(_)
            | TokenKind::Close(_)
            | TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::At
            | TokenKind::Comparison
            | TokenKind::Arithmetic
            | TokenKind::Matching
            | TokenKind::Comment
            | TokenKind::Other => {}
        }
        at += 1;
    }
    MetricName::derived("metric")
}

const LABEL_LISTS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that name no series although nothing is called by them.
const KEYWORDS: &[&str] = &["and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"];

/// From the first token to the last; empty without any.
fn span_of(tokens: &[Token]) -> Span {
    match tokens {
        [] => Span::default(),
        [first, .., last] => first.span.to(last.span),
        [only] => only.span,
    }
}

/// A piece of an entry for a help text; long or many-lined PromQL is only hinted at.
fn shown(value: &str, tokens: &[Token]) -> String {
    let text = span_of(tokens).of(value);
    if text.is_empty() || text.len() > 80 || text.contains(['\n', '#']) { "EXPRESSION".into() } else { text.to_owned() }
}
