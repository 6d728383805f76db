//! Refuse by bytes, tokens, nesting and literals, before the parser sees the text.
//!
//! promql-parser 0.11.1 overflows its stack on deep text, panics on `[1e20]`, takes `010` for 8 and `100m` for 6000, and
//! prints nothing of a selector's matchers beside an `or`. None of that reaches it: what the guard lets through is short,
//! shallow, and means to the parser what it looks like.

use super::lower::experimental;
use super::node::{Aggregate, Aggregator, Cardinality, Matching, Node, NodeKind, Number, Selector};
use super::regex::{Refusal, check as check_regex, check_pattern};
use super::string::{quote, unquote};
use super::template::duration;
use super::token::{Bracket, Literal, Token, TokenKind, scan};
use super::{Limits, functions};
use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::platform::is_label;

/// A text that the parser may see.
pub struct Guarded {
    /// The tokens of the author's text, comments left out.
    pub tokens: Vec<Token>,
    /// The same tokens with every string rewritten so that the parser decodes it as Prometheus would: it knows no
    /// backslash in a backtick string.
    pub clean: String,
}

/// Checks a text before it is parsed.
pub fn guard(text: &str, limits: &Limits) -> Result<Guarded, Vec<Finding>> {
    let whole = Span::new(0, text.len());
    if text.len() > limits.bytes {
        let message = format!("the expression has {} bytes; the limit is {}", text.len(), limits.bytes);
        return Err(vec![Finding::at(Code::Ns0362, whole, message).help("a shorter expression")]);
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        let message = format!("U+{:04X} is not allowed in PromQL", c as u32);
        return Err(vec![Finding::at(Code::Ns0301, Span::new(at, at + c.len_utf8()), message).help("delete it")]);
    }
    let tokens: Vec<Token> = scan(text).into_iter().filter(|token| !token.is_comment()).collect();
    if tokens.is_empty() {
        return Err(vec![Finding::at(Code::Ns0301, whole, "no expression stands here").help("an expression")]);
    }
    if tokens.len() > limits.tokens {
        let message = format!("the expression has {} tokens; the limit is {}", tokens.len(), limits.tokens);
        return Err(vec![Finding::at(Code::Ns0362, whole, message).help("a shorter expression")]);
    }
    let findings = brackets(text, &tokens, limits);
    if !findings.is_empty() {
        return Err(findings);
    }
    let mut findings = Vec::new();
    let clean = literals(text, &tokens, limits, &mut findings);
    if findings.is_empty() { Ok(Guarded { tokens, clean }) } else { Err(findings) }
}

/// Brackets, characters and runs of signs: what makes a text deep or unreadable.
fn brackets(text: &str, tokens: &[Token], limits: &Limits) -> Vec<Finding> {
    let mut open: Vec<(Bracket, Span)> = Vec::new();
    let mut signs = 0;
    for token in tokens {
        let word = token.span.of(text);
        let finding = match token.kind {
            TokenKind::Open(bracket) => {
                open.push((bracket, token.span));
                (open.len() > limits.nesting).then(|| {
                    let message = format!("brackets are nested deeper than {}", limits.nesting);
                    Finding::at(Code::Ns0362, token.span, message).help("a flatter expression")
                })
            }
            TokenKind::Close(bracket) => match open.pop() {
                Some((opened, _)) if opened == bracket => None,
                Some((_, span)) => {
                    let message = format!("\"{}\" is closed by \"{word}\"", span.of(text));
                    Some(Finding::at(Code::Ns0301, token.span, message).help(closing(span.of(text))))
                }
                None => {
                    let message = format!("\"{word}\" closes nothing");
                    Some(Finding::at(Code::Ns0301, token.span, message).help("delete it"))
                }
            },
            TokenKind::OpenString => {
                let quote = &word[..1];
                Some(
                    Finding::at(Code::Ns0301, token.span, format!("the string is never closed by {quote}")).help(quote),
                )
            }
            TokenKind::Other => {
                let finding = Finding::at(Code::Ns0301, token.span, format!("unexpected character {}", cut(word, 8)));
                // As dashboards have them.
                Some(if word.starts_with('$') { finding.help("the variable's value") } else { finding })
            }
            TokenKind::Word
            | TokenKind::Number
            | TokenKind::String
            | TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::At
            | TokenKind::Comparison
            | TokenKind::Arithmetic
            | TokenKind::Matching
            | TokenKind::Comment => None,
        };
        if let Some(finding) = finding {
            return vec![finding];
        }
        signs = if matches!(word, "+" | "-") { signs + 1 } else { 0 };
        if signs > 4 {
            return vec![Finding::at(Code::Ns0362, token.span, "more than 4 signs in a row").help("one sign")];
        }
    }
    match open.pop() {
        Some((_, span)) => {
            let bracket = span.of(text);
            let message = format!("\"{bracket}\" is never closed");
            vec![Finding::at(Code::Ns0301, span, message).help(closing(bracket))]
        }
        None => Vec::new(),
    }
}

fn closing(bracket: &str) -> &'static str {
    match bracket {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// Numbers, durations, strings and names, one by one; returns the text for the parser.
fn literals(text: &str, tokens: &[Token], limits: &Limits, findings: &mut Vec<Finding>) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    let (mut in_square, mut in_curly) = (false, false);
    for (at, token) in tokens.iter().enumerate() {
        let word = token.span.of(text);
        let before = |n: usize| at.checked_sub(n).map(|at| &tokens[at]);
        let after_offset = at.checked_sub(1).is_some_and(|at| is_offset(text, tokens, at))
            || (before(1).is_some_and(|token| token.kind == TokenKind::Arithmetic)
                && at.checked_sub(2).is_some_and(|at| is_offset(text, tokens, at)));
        let mut push = |code, message: String, help: &str| {
            findings.push(Finding::at(code, token.span, message).help(help));
        };
        match token.kind {
            // `offset Inf` panics the parser.
            TokenKind::Word if after_offset && ["inf", "nan"].iter().any(|word| token.is_word(text, word)) => {
                push(Code::Ns0301, format!("{word} is no duration"), "5m");
            }
            TokenKind::Arithmetic if word == "+" && after_offset => {
                push(Code::Ns0361, "a plus sign behind offset is not read".to_owned(), "offset 5m");
            }
            TokenKind::Open(Bracket::Square) => in_square = true,
            TokenKind::Close(Bracket::Square) => in_square = false,
            TokenKind::Open(Bracket::Curly) => in_curly = true,
            TokenKind::Close(Bracket::Curly) => in_curly = false,
            TokenKind::Number => {
                if let Some((code, message, help)) = number(word, in_square || after_offset) {
                    push(code, message, &help);
                }
            }
            TokenKind::String => {
                let value = match unquote(word) {
                    Ok(value) => value,
                    Err(why) => {
                        push(Code::Ns0301, why, "another escape");
                        continue;
                    }
                };
                if value.len() > limits.string_bytes {
                    let message = format!("the string has {} bytes; the limit is {}", value.len(), limits.string_bytes);
                    push(Code::Ns0362, message, "a shorter string");
                }
                let is_regex = before(1).is_some_and(|token| matches!(token.span.of(text), "=~" | "!~"));
                if is_regex
                    && in_curly
                    && limits.regexes
                    && let Err(refusal) = check_regex(&value)
                {
                    let (code, message, help) = refused(&value, refusal);
                    push(code, message, help);
                }
                let is_name = in_curly && before(1).is_some_and(|token| matches!(token.span.of(text), "{" | ","));
                let is_label = !in_curly && is_quoted_label(text, tokens, at);
                if is_name || is_label {
                    let message = "quoted names are not read".to_owned();
                    push(Code::Ns0361, message, "a name of letters, digits and _");
                }
                clean.push_str(&text[copied..token.span.start]);
                clean.push_str(&quote(&value));
                copied = token.span.end;
            }
            TokenKind::Word => {
                let next = tokens.get(at + 1);
                let is_call = next.is_some_and(|token| token.kind == TokenKind::Open(Bracket::Round));
                if in_curly && word.eq_ignore_ascii_case("or") && before(1).is_some_and(|t| t.kind == TokenKind::String)
                {
                    push(Code::Ns0342, "\"or\" between matchers is not PromQL".to_owned(), "=~\"a|b\"");
                } else if is_call && word == "holt_winters" {
                    // promql-parser knows its later name alone.
                    clean.push_str(&text[copied..token.span.start]);
                    clean.push_str("double_exponential_smoothing");
                    copied = token.span.end;
                } else if is_call
                    && functions::EXPERIMENTAL.binary_search(&word).is_ok()
                    && !is_preprocessor(tokens, at)
                {
                    findings.push(experimental(word, token.span));
                } else if !in_curly && is_newer_keyword(text, tokens, at) {
                    let message = format!("{word} is experimental: it needs a flag of Prometheus");
                    push(Code::Ns0361, message, "the text without it");
                }
            }
            TokenKind::Open(Bracket::Round)
            | TokenKind::Close(Bracket::Round)
            | TokenKind::OpenString
            | TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::At
            | TokenKind::Comparison
            | TokenKind::Arithmetic
            | TokenKind::Matching
            | TokenKind::Comment
            | TokenKind::Other => {}
        }
    }
    clean.push_str(&text[copied..]);
    clean
}

/// What is said of a regular expression: its code, message and what to type.
fn refused(pattern: &str, refusal: Refusal) -> (Code, String, &'static str) {
    match refusal {
        Refusal::Syntax(_) if pattern.contains("${") => {
            (Code::Ns0301, format!("{} holds a dashboard's variable", cut(pattern, 40)), "its value")
        }
        Refusal::Syntax(why) => {
            let message = format!("the regular expression cannot be read: {}", cut(&why, 60));
            (Code::Ns0301, message, "a simpler pattern")
        }
        Refusal::Limit(_) if pattern == ".*" => {
            (Code::Ns0362, "\".*\" matches every series".to_owned(), "delete the matcher")
        }
        Refusal::Limit(why) => (Code::Ns0362, format!("regular expression: {why}"), "a narrower one, such as .+"),
    }
}

/// What is wrong with a number: its code, message and what to type.
fn number(word: &str, wants_duration: bool) -> Option<(Code, String, String)> {
    match (Literal::of(word), wants_duration) {
        (Literal::Duration, true) => {
            // promql-parser reads a component over u32::MAX as 0.
            let long = word.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 9);
            long.then(|| (Code::Ns0362, format!("{} is too long a duration", cut(word, 24)), "1h".to_owned()))
        }
        (Literal::Decimal | Literal::LeadingZero | Literal::Hex, true) => {
            Some((Code::Ns0360, format!("{} has no unit; a duration needs one", cut(word, 24)), format!("{word}s")))
        }
        (Literal::Decimal, false) => {
            let is_finite = word.parse::<f64>().is_ok_and(f64::is_finite);
            (!is_finite).then(|| out_of_range(word))
        }
        // Its last digit begins an exponent to some versions: `0x1e-7`, and `0x5e` alone.
        (Literal::Hex, false) if word.ends_with(['e', 'E']) => {
            let decimal = u64::from_str_radix(&word[2..], 16).map_or("a plain number".to_owned(), |n| n.to_string());
            Some((Code::Ns0301, format!("{} is no number to every Prometheus", cut(word, 24)), decimal))
        }
        (Literal::Hex, false) => (word.len() > 2 + 15).then(|| out_of_range(word)),
        (Literal::LeadingZero, false) => {
            let decimal = word.trim_start_matches('0');
            let decimal =
                if decimal.starts_with('.') || decimal.is_empty() { format!("0{decimal}") } else { decimal.to_owned() };
            Some((Code::Ns0360, format!("{} has a leading zero, octal to PromQL", cut(word, 24)), decimal))
        }
        (Literal::Duration, false) => Some((
            Code::Ns0360,
            format!("{} is a duration, in seconds to newer versions, and no number here", cut(word, 24)),
            plain_number(word),
        )),
        (Literal::Neither, _) => {
            Some((Code::Ns0301, format!("{} is no number of PromQL", cut(word, 24)), "a plain number".to_owned()))
        }
    }
}

fn out_of_range(word: &str) -> (Code, String, String) {
    (Code::Ns0301, format!("{} is out of range", cut(word, 24)), "a smaller number".to_owned())
}

/// The number that was meant by a duration: `100m` is a tenth to Kubernetes, `2s` is 2 and `200ms` is 0.2.
fn plain_number(word: &str) -> String {
    let units = [("ms", 1), ("m", 1), ("s", 1000), ("h", 3_600_000)];
    let thousandths = units
        .into_iter()
        .find_map(|(unit, thousandths)| word.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(thousandths));
    match thousandths.and_then(crate::quantity::Milli::from_thousandths) {
        Some(number) => number.to_string(),
        None => "a plain number".to_owned(),
    }
}

/// A string in a label list, `by ("a.b")`: behind `(` or `,`, with such a clause's keyword in front of the bracket.
fn is_quoted_label(text: &str, tokens: &[Token], at: usize) -> bool {
    let words = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    before_bracket(&tokens[..at]).is_some_and(|keyword| words.iter().any(|word| keyword.is_word(text, word)))
}

/// What stands in front of the bracket around the place behind these tokens: brackets that are closed before do not count.
fn before_bracket(tokens: &[Token]) -> Option<Token> {
    let mut closed = 0_usize;
    let open = tokens.iter().rposition(|token| {
        let opens = matches!(token.kind, TokenKind::Open(_));
        if opens && closed == 0 {
            return true;
        }
        closed += usize::from(matches!(token.kind, TokenKind::Close(_)));
        closed -= usize::from(opens);
        false
    });
    Some(tokens[open?.checked_sub(1)?])
}

/// The keyword, which stands behind an operand; a metric may have the same name.
fn is_offset(text: &str, tokens: &[Token], at: usize) -> bool {
    tokens[at].is_word(text, "offset") && ends_operand(text, &tokens[..at])
}

/// Whether an operand may end with the last of these tokens. `and` is an operator behind an operand, and else a metric.
fn ends_operand(text: &str, tokens: &[Token]) -> bool {
    let Some((last, before)) = tokens.split_last() else { return false };
    let is = |words: &[&str]| words.iter().any(|word| last.is_word(text, word));
    if is(&["and", "or", "unless"]) {
        return !ends_operand(text, before);
    }
    // A list of labels belongs to the operator: `a * on (l) unless` ends with a metric.
    if last.kind == TokenKind::Close(Bracket::Round) {
        let words = ["on", "ignoring", "group_left", "group_right"];
        return !before_bracket(before).is_some_and(|keyword| words.iter().any(|word| keyword.is_word(text, word)));
    }
    matches!(last.kind, TokenKind::Close(_) | TokenKind::Word | TokenKind::Number)
        && !is(&["atan2", "bool", "group_left", "group_right"])
}

/// `start()` and `end()` behind `@`.
fn is_preprocessor(tokens: &[Token], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|at| tokens[at].kind == TokenKind::At)
}

/// `fill`, `fill_left`, `fill_right` behind an operator's other modifiers, `limitk` and `limit_ratio` as aggregations,
/// `smoothed` and `anchored` behind a selector.
fn is_newer_keyword(text: &str, tokens: &[Token], at: usize) -> bool {
    let token = tokens[at];
    let is = |words: &[&str]| words.iter().any(|word| token.is_word(text, word));
    let opens = tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::Open(Bracket::Round));
    let follows_operand =
        at.checked_sub(1).is_some_and(|at| matches!(tokens[at].kind, TokenKind::Close(_) | TokenKind::Word));
    let is_grouped =
        tokens.get(at + 1).is_some_and(|next| ["by", "without"].iter().any(|word| next.is_word(text, word)));
    (is(&["fill", "fill_left", "fill_right"]) && opens)
        || (is(&["limitk", "limit_ratio"]) && (opens || is_grouped))
        || (is(&["smoothed", "anchored"]) && follows_operand)
}

/// Limits that need the tree.
pub fn check(node: &Node, limits: &Limits) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    let mut subqueries: Vec<Span> = Vec::new();
    node.visit(&mut |node| {
        if let NodeKind::Subquery { .. } = node.kind {
            subqueries.push(node.span);
        }
        own_limits(node, limits, &mut findings);
        arguments(node, limits, &mut findings);
    });
    let selectors = node.selectors();
    if let Some(over) = selectors.get(limits.selectors) {
        let message = format!("{} selectors; the limit is {}", selectors.len(), limits.selectors);
        findings.push(Finding::at(Code::Ns0362, over.span, message).help("fewer selectors"));
    }
    if let Some(over) = subqueries.get(limits.subqueries) {
        let message = format!("{} subqueries; the limit is {}", subqueries.len(), limits.subqueries);
        findings.push(Finding::at(Code::Ns0362, *over, message).help("one subquery"));
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// Arguments that Prometheus reads when it answers, not before: names of labels, the pattern of `label_replace`, and the
/// factors of `holt_winters`.
fn arguments(node: &Node, limits: &Limits, findings: &mut Vec<Finding>) {
    let (names, pattern): (Vec<&Node>, Option<&Node>) = match &node.kind {
        NodeKind::Aggregate(Aggregate { op: Aggregator::CountValues, param, .. }) => {
            (param.as_deref().into_iter().collect(), None)
        }
        NodeKind::Call { function, args } if function.name == "label_replace" => {
            (args.iter().skip(1).take(1).collect(), args.get(4))
        }
        NodeKind::Call { function, args } if function.name == "label_join" => {
            (args.iter().enumerate().filter(|(at, _)| *at == 1 || *at > 2).map(|(_, arg)| arg).collect(), None)
        }
        NodeKind::Call { function, args } if function.name == "holt_winters" => {
            let is_factor =
                |arg: &&Node| matches!(arg.kind, NodeKind::Number(Number(factor)) if 0.0 < factor && factor < 1.0);
            for arg in args.iter().skip(1).filter(|arg| !is_factor(arg)) {
                let message = "a factor of holt_winters is a number between 0 and 1";
                findings.push(Finding::at(Code::Ns0301, arg.span, message).help("0.5"));
            }
            return;
        }
        NodeKind::Number(_)
        | NodeKind::String(_)
        | NodeKind::Selector(_)
        | NodeKind::Range { .. }
        | NodeKind::Subquery { .. }
        | NodeKind::Negate(_)
        | NodeKind::Binary(_)
        | NodeKind::Aggregate(_)
        | NodeKind::Call { .. } => return,
    };
    for name in names {
        if let NodeKind::String(label) = &name.kind
            && !is_label(label)
        {
            let message = format!("{} is no label name of letters, digits and _", cut(&quote(label), 40));
            findings.push(Finding::at(Code::Ns0301, name.span, message).help("\"model\""));
        }
    }
    if let Some(Node { kind: NodeKind::String(value), span }) = pattern
        && limits.regexes
        && let Err(refusal) = check_pattern(value)
    {
        let (code, message, help) = refused(value, refusal);
        findings.push(Finding::at(code, *span, message).help(help));
    }
}

fn own_limits(node: &Node, limits: &Limits, findings: &mut Vec<Finding>) {
    let mut over = |span, message: String, help: &str| {
        findings.push(Finding::at(Code::Ns0362, span, message).help(help));
    };
    if let NodeKind::Selector(selector) | NodeKind::Range { selector, .. } = &node.kind
        && selector.matchers.len() > limits.matchers_per_selector
    {
        let message = format!("{} matchers; the limit is {}", selector.matchers.len(), limits.matchers_per_selector);
        over(selector.span, message, "fewer matchers");
    }
    if let NodeKind::Selector(Selector { shift, .. })
    | NodeKind::Range { selector: Selector { shift, .. }, .. }
    | NodeKind::Subquery { shift, .. } = &node.kind
    {
        if shift.offset_ms < 0 {
            over(node.span, "a negative offset looks into the future".to_owned(), "no offset");
        } else if u128::from(shift.offset_ms.unsigned_abs()) > limits.offset.as_millis() {
            over(node.span, "the offset is over the limit of 1d".to_owned(), "offset 1d");
        }
    }
    let mut lists = Vec::new();
    match &node.kind {
        NodeKind::Range { range, .. } if *range > limits.range => {
            over(node.span, format!("{} is over the limit of 1h for a range", duration(*range)), "[5m]");
        }
        NodeKind::Subquery { inner, range, step, .. } => {
            if *range > limits.range {
                over(node.span, format!("{} is over the limit of 1h for a range", duration(*range)), "[5m:1m]");
            }
            if let Some(step) = step {
                if *step < limits.step {
                    over(node.span, "the step of a subquery is at least 15s".to_owned(), "[5m:1m]");
                } else if range.as_millis() / step.as_millis() > limits.points {
                    over(node.span, format!("the subquery has over {} points", limits.points), "[5m:1m]");
                }
            }
            let mut nested = false;
            inner.visit(&mut |node| nested |= matches!(node.kind, NodeKind::Subquery { .. }));
            if nested {
                over(node.span, "a subquery inside a subquery".to_owned(), "one subquery");
            }
        }
        NodeKind::Aggregate(aggregate) => lists.push(aggregate.grouping.list()),
        NodeKind::Binary(binary) => {
            match &binary.matching {
                Matching::Default => {}
                Matching::On(list) | Matching::Ignoring(list) => lists.push(list),
            }
            match &binary.cardinality {
                Cardinality::OneToOne => {}
                Cardinality::Left(list) | Cardinality::Right(list) => lists.push(list),
            }
        }
        NodeKind::Number(_)
        | NodeKind::String(_)
        | NodeKind::Selector(_)
        | NodeKind::Range { .. }
        | NodeKind::Negate(_)
        | NodeKind::Call { .. } => {}
    }
    for list in lists {
        if list.labels.len() > limits.labels_per_list {
            let message = format!("{} labels; the limit is {}", list.labels.len(), limits.labels_per_list);
            over(list.span, message, "fewer labels");
        }
    }
}
