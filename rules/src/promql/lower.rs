//! Turn the parser's tree and our tokens into a [`Node`] tree, once: the only place that sees `promql_parser`'s `Expr`.
//!
//! The parser's tree has no positions. The walk consumes the tokens in step with the tree, so every node gets the bytes
//! it was written in; a step that does not fit is a refusal, never a guess.
#![expect(clippy::disallowed_types, reason = "the one module that sees promql_parser's Expr")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::{MatchOp as ParserMatchOp, Matcher as ParserMatcher};
use promql_parser::parser::token::TokenType;
use promql_parser::parser::{
    AtModifier, BinModifier, BinaryExpr, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector, parse,
};

use super::Limits;
use super::functions::{Effect, Function, Type, function};
use super::guard::Guarded;
use super::node::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Cardinality, Grouping, LabelList, MatchOp, Matcher, Matching, Node,
    NodeKind, Number, Selector, Shift,
};
use super::scope::Scope;
use super::token::{Bracket, Literal, Token, TokenKind};
use crate::findings::{Code, Finding, cut};
use crate::place::Span;

/// Of `@`, in seconds.
const LAST_TIME: f64 = 253_402_300_799.0;

/// Parses and lowers a guarded text.
pub fn lower(text: &str, guarded: &Guarded, limits: &Limits) -> Result<Node, Finding> {
    let whole = Span::new(0, text.len());
    // The guard keeps away every panic that is known of promql-parser 0.11.1; an unknown one is a refusal all the same.
    let parsed = catch_unwind(AssertUnwindSafe(|| parse(&guarded.clean)))
        .unwrap_or_else(|_| Err("the parser gave up".to_owned()));
    let expr = match parsed {
        Ok(expr) => expr,
        Err(words) => return Err(not_promql(text, &guarded.tokens, &words)),
    };
    let mut walk = Walk { text, tokens: &guarded.tokens, at: 0, nodes: 0, most: limits.nodes };
    let node = walk.expr(&expr)?;
    match walk.peek() {
        None => type_of(&node).map(|_| node),
        Some(token) => Err(walk.lost(token.span.to(Span::at(whole.end)))),
    }
}

/// True for a text that is one selector, with or without a name, as `/api/v1/series` takes it.
pub fn is_selector(text: &str) -> bool {
    matches!(parse(text), Ok(Expr::VectorSelector(selector)) if selector.offset.is_none() && selector.at.is_none())
}

/// The type of an expression, or which argument has a wrong one; promql-parser lets some of them through.
fn type_of(node: &Node) -> Result<Type, Finding> {
    Ok(match &node.kind {
        NodeKind::Number(_) => Type::Scalar,
        NodeKind::String(_) => Type::String,
        NodeKind::Selector(_) => Type::Vector,
        NodeKind::Range { .. } => Type::Matrix,
        NodeKind::Subquery { inner, .. } => {
            expect_type(inner, Type::Vector, "a subquery")?;
            Type::Matrix
        }
        NodeKind::Negate(inner) => match type_of(inner)? {
            Type::Scalar => Type::Scalar,
            Type::Vector => Type::Vector,
            other @ (Type::Matrix | Type::String) => return Err(wrong_type(inner, "a scalar or vector", "-", other)),
        },
        NodeKind::Binary(binary) => {
            let op = binary.op.as_str();
            let mut result = Type::Scalar;
            for side in [&binary.lhs, &binary.rhs] {
                match type_of(side)? {
                    Type::Scalar if binary.op.is_set() => {
                        return Err(wrong_type(side, "an instant vector", op, Type::Scalar));
                    }
                    Type::Scalar => {}
                    Type::Vector => result = Type::Vector,
                    other @ (Type::Matrix | Type::String) => {
                        return Err(wrong_type(side, "a scalar or vector", op, other));
                    }
                }
            }
            if result == Type::Scalar && binary.op.is_comparison() && !binary.returns_bool {
                let message = "comparisons between two numbers need bool";
                return Err(Finding::at(Code::Ns0301, binary.op_span, message).help(format!("{op} bool")));
            }
            result
        }
        NodeKind::Aggregate(aggregate) => {
            let name = aggregate.op.as_str();
            if let Some(param) = &aggregate.param {
                let wanted = if aggregate.op == Aggregator::CountValues { Type::String } else { Type::Scalar };
                expect_type(param, wanted, name)?;
            }
            expect_type(&aggregate.inner, Type::Vector, name)?;
            Type::Vector
        }
        NodeKind::Call { function, args } => {
            let wanted = function.args.iter().copied();
            let optional = function.optional.map(|(optional, _)| optional);
            for (arg, wanted) in args.iter().zip(wanted.chain(optional.into_iter().cycle())) {
                expect_type(arg, wanted, function.name)?;
            }
            returns(function)
        }
    })
}

fn returns(function: &Function) -> Type {
    match function.effect {
        Effect::Constant | Effect::Scalar => Type::Scalar,
        Effect::OverRange(_)
        | Effect::Pointwise
        | Effect::Date
        | Effect::Quantile
        | Effect::Fraction
        | Effect::Sort
        | Effect::Vector
        | Effect::Absent
        | Effect::WritesLabel => Type::Vector,
    }
}

fn expect_type(node: &Node, wanted: Type, of: &str) -> Result<(), Finding> {
    let found = type_of(node)?;
    if found == wanted { Ok(()) } else { Err(wrong_type(node, type_name(wanted), of, found)) }
}

fn wrong_type(node: &Node, wanted: &str, of: &str, found: Type) -> Finding {
    let message = format!("{of} wants {wanted} here and is given {}", type_name(found));
    Finding::at(Code::Ns0301, node.span, message)
}

fn type_name(of: Type) -> &'static str {
    match of {
        Type::Scalar => "a scalar",
        Type::Vector => "an instant vector",
        Type::Matrix => "a range vector",
        Type::String => "a string",
    }
}

/// The tokens that are left, while the tree is walked.
struct Walk<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    nodes: usize,
    most: usize,
}

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<Node, Finding> {
        let start = self.here();
        // A chain of operators leans left, one level an operator: it is walked in a loop, so that only brackets and
        // powers, which the guard keeps few, recurse.
        let mut chain = Vec::new();
        let mut leftmost = expr;
        while let Expr::Binary(binary) = leftmost {
            chain.push(binary);
            leftmost = &binary.lhs;
        }
        let signed = self.take_text("+");
        while self.take_text("+") {}
        let mut node = self.node(start, |walk| walk.kind(leftmost))?;
        // The sign goes, and what it may not stand before must be refused here.
        let of_a_sign = match &node.kind {
            NodeKind::String(_) => Some(Type::String),
            NodeKind::Range { .. } | NodeKind::Subquery { .. } => Some(Type::Matrix),
            NodeKind::Number(_)
            | NodeKind::Selector(_)
            | NodeKind::Negate(_)
            | NodeKind::Binary(_)
            | NodeKind::Aggregate(_)
            | NodeKind::Call { .. } => None,
        };
        if let Some(found) = of_a_sign.filter(|_| signed) {
            return Err(wrong_type(&node, "a scalar or vector", "+", found));
        }
        for binary in chain.into_iter().rev() {
            node = self.node(start, |walk| walk.binary(binary, node))?;
        }
        Ok(node)
    }

    fn node(
        &mut self,
        start: usize,
        kind: impl FnOnce(&mut Self) -> Result<NodeKind, Finding>,
    ) -> Result<Node, Finding> {
        self.nodes += 1;
        if self.nodes > self.most {
            let message = format!("the expression has over {} parts", self.most);
            let whole = Span::new(0, self.text.len());
            return Err(Finding::at(Code::Ns0362, whole, message).help("a shorter expression"));
        }
        let kind = kind(self)?;
        Ok(Node { kind, span: self.since(start) })
    }

    fn binary(&mut self, binary: &BinaryExpr, lhs: Node) -> Result<NodeKind, Finding> {
        let op_span = self.take()?.span;
        let op = binary_op(binary.op).ok_or_else(|| self.lost(op_span))?;
        let (matching, cardinality, returns_bool) = self.modifier(binary.modifier.as_ref())?;
        let (lhs, rhs) = (Box::new(lhs), Box::new(self.expr(&binary.rhs)?));
        Ok(NodeKind::Binary(Binary { op, op_span, lhs, rhs, matching, cardinality, returns_bool }))
    }

    fn kind(&mut self, expr: &Expr) -> Result<NodeKind, Finding> {
        match expr {
            Expr::Paren(paren) => {
                self.expect("(")?;
                let inner = self.expr(&paren.expr)?;
                self.expect(")")?;
                Ok(inner.kind)
            }
            Expr::NumberLiteral(literal) => {
                // `- - 1` is one literal to the parser.
                while self.take_text("+") || self.take_text("-") {}
                let written = self.take()?.span;
                // The guard takes some metrics called `offset` for the keyword.
                if Literal::of(written.of(self.text)) == Literal::Duration {
                    return Err(self.lost(written));
                }
                Ok(NodeKind::Number(Number(literal.val)))
            }
            Expr::StringLiteral(literal) => {
                self.take()?;
                Ok(NodeKind::String(literal.val.clone()))
            }
            Expr::Unary(unary) => {
                self.expect("-")?;
                let inner = self.expr(&unary.expr)?;
                // `-(1)` is a number too, as the printed `-1` is.
                if let NodeKind::Number(number) = inner.kind {
                    return Ok(NodeKind::Number(Number(-number.0)));
                }
                Ok(NodeKind::Negate(Box::new(inner)))
            }
            Expr::VectorSelector(selector) => {
                let mut lowered = self.selector(selector)?;
                lowered.shift = self.shift(selector.offset.as_ref(), selector.at.as_ref())?;
                Ok(NodeKind::Selector(lowered))
            }
            Expr::MatrixSelector(matrix) => {
                let mut selector = self.selector(&matrix.vs)?;
                self.expect("[")?;
                self.skip_to_close()?;
                selector.shift = self.shift(matrix.vs.offset.as_ref(), matrix.vs.at.as_ref())?;
                Ok(NodeKind::Range { selector, range: matrix.range })
            }
            Expr::Subquery(subquery) => {
                let inner = Box::new(self.expr(&subquery.expr)?);
                self.expect("[")?;
                self.skip_to_close()?;
                let shift = self.shift(subquery.offset.as_ref(), subquery.at.as_ref())?;
                Ok(NodeKind::Subquery { inner, range: subquery.range, step: subquery.step, shift })
            }
            Expr::Binary(_) => self.expr(expr).map(|node| node.kind),
            Expr::Aggregate(aggregate) => {
                let name = self.take()?.span;
                let op = Aggregator::of(name.of(self.text)).ok_or_else(|| self.lost(name))?;
                let prefix = self.clause(&["by", "without"])?;
                self.expect("(")?;
                let param = match &aggregate.param {
                    Some(param) => {
                        let param = self.expr(param)?;
                        self.expect(",")?;
                        Some(Box::new(param))
                    }
                    None => None,
                };
                let inner = Box::new(self.expr(&aggregate.expr)?);
                self.expect(")")?;
                let span = match prefix {
                    Some(span) => span,
                    None => self.clause(&["by", "without"])?.unwrap_or_default(),
                };
                let grouping = match &aggregate.modifier {
                    None => Grouping::By(LabelList::default()),
                    Some(LabelModifier::Include(labels)) => Grouping::By(list(&labels.labels, span)),
                    Some(LabelModifier::Exclude(labels)) => Grouping::Without(list(&labels.labels, span)),
                };
                Ok(NodeKind::Aggregate(Aggregate { op, param, inner, grouping }))
            }
            Expr::Call(call) => {
                let name = self.take()?.span;
                // The name as written: the guard gives the parser a newer name of `holt_winters`.
                let written = name.of(self.text);
                let function = function(written).ok_or_else(|| experimental(written, name))?;
                self.expect("(")?;
                self.check_timestamp(function)?;
                let mut args = Vec::with_capacity(call.args.len());
                for (at, arg) in call.args.args.iter().enumerate() {
                    if at > 0 {
                        self.expect(",")?;
                    }
                    args.push(self.expr(arg)?);
                }
                self.expect(")")?;
                Ok(NodeKind::Call { function, args })
            }
            Expr::Extension(_) => Err(self.lost(Span::new(self.here(), self.text.len()))),
        }
    }

    /// Of a selector `timestamp` is the sample's time, of anything else the evaluation's: here alone a plus sign acts.
    fn check_timestamp(&self, function: &Function) -> Result<(), Finding> {
        let inner = self.tokens[self.at..].iter().find(|token| token.kind != TokenKind::Open(Bracket::Round));
        match inner.filter(|token| function.name == "timestamp" && token.span.of(self.text) == "+") {
            Some(sign) => {
                let message = "timestamp() of a signed metric is the time of the evaluation";
                Err(Finding::at(Code::Ns0301, sign.span, message).help("no sign"))
            }
            None => Ok(()),
        }
    }

    fn selector(&mut self, selector: &VectorSelector) -> Result<Selector, Finding> {
        let start = self.here();
        if selector.name.is_some() {
            self.take()?;
        }
        let mut matchers = Vec::with_capacity(selector.matchers.matchers.len());
        let mut written = selector.matchers.matchers.iter();
        if self.take_text("{") {
            while !self.take_text("}") {
                let label = self.take()?.span;
                self.take()?;
                let value = self.take()?.span;
                let span = label.to(value);
                let matcher = written.next().ok_or_else(|| self.lost(span))?;
                matchers.push(self.matcher(matcher, span)?);
                self.take_text(",");
            }
        }
        let span = self.since(start);
        if written.next().is_some() || !selector.matchers.or_matchers.is_empty() {
            return Err(self.lost(span));
        }
        // `{__name__="x"}` is `x`; anything else that matches the name is no literal name.
        let is_name = |matcher: &Matcher| matcher.label == "__name__";
        let name = match &selector.name {
            Some(name) => Some(name.clone()),
            None => matchers
                .iter()
                .position(|matcher| is_name(matcher) && matcher.op == MatchOp::Equal && !matcher.value.is_empty())
                .map(|at| matchers.remove(at).value),
        };
        match name {
            Some(name) if is_metric_name(&name) && !matchers.iter().any(is_name) => {
                Ok(Selector { name, matchers, shift: Shift::default(), span, scope: Scope::Unconfined })
            }
            Some(_) | None => {
                let message = "the selector has no literal metric name";
                Err(Finding::at(Code::Ns0342, span, message).help("name the metric literally: num_requests_waiting{…}"))
            }
        }
    }

    fn matcher(&self, matcher: &ParserMatcher, span: Span) -> Result<Matcher, Finding> {
        let op = match &matcher.op {
            ParserMatchOp::Equal => MatchOp::Equal,
            ParserMatchOp::NotEqual => MatchOp::NotEqual,
            ParserMatchOp::Re(_) => MatchOp::Matches,
            ParserMatchOp::NotRe(_) => MatchOp::NotMatches,
        };
        Ok(Matcher { label: matcher.name.clone(), op, value: matcher.value.clone(), span })
    }

    /// Consumes `offset d` and `@ t` in any order; their values come from the tree.
    fn shift(&mut self, offset: Option<&Offset>, at: Option<&AtModifier>) -> Result<Shift, Finding> {
        let start = self.here();
        loop {
            if self.peek_word("offset") {
                self.take()?;
                self.take_text("-");
                self.take_text("+");
                self.take()?;
            } else if self.peek().is_some_and(|token| token.kind == TokenKind::At) {
                self.take()?;
                while self.take_text("-") || self.take_text("+") {}
                self.take()?;
                if self.take_text("(") {
                    self.expect(")")?;
                }
            } else {
                break;
            }
        }
        let span = self.since(start);
        let ms = |duration: &Duration| i64::try_from(duration.as_millis()).map_err(|_| self.lost(span));
        let offset_ms = match offset {
            None => 0,
            Some(Offset::Pos(duration)) => ms(duration)?,
            Some(Offset::Neg(duration)) => -ms(duration)?,
        };
        let at = match at {
            None => None,
            Some(AtModifier::Start) => Some(At::Start),
            Some(AtModifier::End) => Some(At::End),
            Some(AtModifier::At(time)) => {
                let seconds = match time.duration_since(UNIX_EPOCH) {
                    Ok(since) => since.as_secs_f64(),
                    Err(before) => -before.duration().as_secs_f64(),
                };
                // Prometheus has a bound, and beyond it promql-parser takes any time for the last one.
                if seconds.abs() > LAST_TIME {
                    let message = "the time behind @ is past the year 9999";
                    return Err(Finding::at(Code::Ns0301, span, message).help("@ end()"));
                }
                Some(At::Fixed(seconds))
            }
        };
        Ok(Shift { offset_ms, at })
    }

    fn modifier(&mut self, modifier: Option<&BinModifier>) -> Result<(Matching, Cardinality, bool), Finding> {
        if self.peek_word("bool") {
            self.take()?;
        }
        let on = self.clause(&["on", "ignoring"])?.unwrap_or_default();
        let group = self.clause(&["group_left", "group_right"])?.unwrap_or_default();
        let Some(modifier) = modifier else {
            return Ok((Matching::Default, Cardinality::OneToOne, false));
        };
        let matching = match &modifier.matching {
            None => Matching::Default,
            Some(LabelModifier::Include(labels)) => Matching::On(list(&labels.labels, on)),
            Some(LabelModifier::Exclude(labels)) => Matching::Ignoring(list(&labels.labels, on)),
        };
        let cardinality = match &modifier.card {
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Cardinality::OneToOne,
            VectorMatchCardinality::ManyToOne(labels) => Cardinality::Left(list(&labels.labels, group)),
            VectorMatchCardinality::OneToMany(labels) => Cardinality::Right(list(&labels.labels, group)),
        };
        Ok((matching, cardinality, modifier.return_bool))
    }

    /// Consumes one of the keywords and the label list behind it, which `group_left` may leave out.
    fn clause(&mut self, keywords: &[&str]) -> Result<Option<Span>, Finding> {
        if !keywords.iter().any(|keyword| self.peek_word(keyword)) {
            return Ok(None);
        }
        let keyword = self.take()?.span;
        if self.take_text("(") {
            while !self.take_text(")") {
                self.take()?;
            }
        }
        Ok(Some(Span::new(keyword.start, self.behind())))
    }

    fn skip_to_close(&mut self) -> Result<(), Finding> {
        while self.take()?.kind != TokenKind::Close(Bracket::Square) {}
        Ok(())
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn peek_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(self.text, word))
    }

    fn take(&mut self) -> Result<Token, Finding> {
        let token = self.peek().ok_or_else(|| self.lost(Span::at(self.text.len())))?;
        self.at += 1;
        Ok(token)
    }

    fn take_text(&mut self, wanted: &str) -> bool {
        let taken = self.peek().is_some_and(|token| token.span.of(self.text) == wanted);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Finding> {
        if self.take_text(wanted) {
            return Ok(());
        }
        let span = self.peek().map_or(Span::at(self.text.len()), |token| token.span);
        Err(self.lost(span))
    }

    /// Where the next token starts.
    fn here(&self) -> usize {
        self.peek().map_or(self.text.len(), |token| token.span.start)
    }

    /// Where the last token ended.
    fn behind(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |at| self.tokens[at].span.end)
    }

    /// What was taken from `start` on; nothing, where tree and tokens disagree.
    fn since(&self, start: usize) -> Span {
        Span::new(start, self.behind().max(start))
    }

    /// Tree and tokens disagree: the text is read otherwise than it looks, so it is refused.
    fn lost(&self, span: Span) -> Finding {
        let message = "the expression cannot be read here";
        Finding::at(Code::Ns0301, span, message).help("a simpler way to write it")
    }
}

/// A function that stands behind a flag, or that no version known here has.
pub(super) fn experimental(name: &str, span: Span) -> Finding {
    let message = format!("{}() is experimental: it needs a flag of Prometheus", cut(name, 30));
    Finding::at(Code::Ns0361, span, message).help("a function without a flag")
}

/// A name that can be written without quotes: PromQL's grammar keeps some words for itself.
fn is_metric_name(name: &str) -> bool {
    const KEPT: [&str; 10] =
        ["anchored", "atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on", "smoothed"];
    if KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
        return false;
    }
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn list(labels: &[String], span: Span) -> LabelList {
    LabelList { labels: labels.to_vec(), span, with_request: false }
}

fn binary_op(op: TokenType) -> Option<BinaryOp> {
    let written = op.to_string();
    BinaryOp::ALL.into_iter().find(|op| op.as_str() == written)
}

/// A refusal by the parser, whose words have no place: the token where no expression can go on, or the whole text.
fn not_promql(text: &str, tokens: &[Token], words: &str) -> Finding {
    let whole = Span::new(0, text.len());
    if let Some((span, message)) = unexpected(text, tokens) {
        return Finding::at(Code::Ns0301, span, message);
    }
    let words = if words == "invalid promql query" { "not PromQL" } else { words };
    let place = named_token(text, tokens, words).unwrap_or(whole);
    let finding = Finding::at(Code::Ns0301, place, cut(words, 110));
    // `rate(x)`, the slip that is made most.
    if words.starts_with("expected type matrix") {
        finding.help("a range such as [2m] behind the series")
    } else {
        finding
    }
}

/// The first token that stands where an operand or an operator is wanted and is none.
fn unexpected(text: &str, tokens: &[Token]) -> Option<(Span, String)> {
    let mut wants_operand = true;
    let mut curly = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let word = token.span.of(text);
        let next_opens = tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::Open(Bracket::Round));
        at += 1;
        match token.kind {
            TokenKind::Open(Bracket::Curly) => curly += 1,
            TokenKind::Close(Bracket::Curly) => {
                curly -= 1;
                wants_operand = false;
            }
            _ if curly > 0 => {}
            TokenKind::Word if is_clause(word) && next_opens => {
                let close = tokens[at..].iter().position(|token| token.kind == TokenKind::Close(Bracket::Round));
                at += close.map_or(0, |close| close + 1);
            }
            TokenKind::Word if matches!(word, "by" | "without" | "on" | "ignoring") && !wants_operand => {
                let next = tokens.get(at).map_or_else(|| Span::at(text.trim_end().len()), |next| next.span);
                return Some((next, format!("( is missing behind {word}")));
            }
            TokenKind::Word if is_operator_word(word) => {
                wants_operand = !word.eq_ignore_ascii_case("bool") || wants_operand
            }
            TokenKind::Word if Aggregator::of(word).is_some() && !next_opens && wants_operand => {
                let follows = tokens.get(at).map(|token| token.span.of(text));
                if !follows.is_some_and(is_clause) {
                    // A metric may be called `sum`; then nothing but an operator follows it.
                    wants_operand = false;
                }
            }
            TokenKind::Word | TokenKind::Number | TokenKind::String => {
                if !wants_operand {
                    return Some((token.span, format!("unexpected {}", cut(word, 40))));
                }
                wants_operand = TokenKind::Word == token.kind && next_opens && Aggregator::of(word).is_some();
            }
            TokenKind::Open(Bracket::Round) => {
                let called = at.checked_sub(2).is_some_and(|at| tokens[at].kind == TokenKind::Word);
                if !wants_operand && !called {
                    return Some((token.span, "unexpected (".to_owned()));
                }
                wants_operand = true;
            }
            TokenKind::Open(Bracket::Square) => {
                let close = tokens[at..].iter().position(|token| token.kind == TokenKind::Close(Bracket::Square));
                at += close.map_or(0, |close| close + 1);
            }
            TokenKind::Close(_) => {
                let empty = at.checked_sub(2).is_some_and(|at| matches!(tokens[at].kind, TokenKind::Open(_)));
                if wants_operand && !empty {
                    return Some((token.span, format!("unexpected {word}: an operand is missing before it")));
                }
                wants_operand = false;
            }
            TokenKind::Comma | TokenKind::Comparison => {
                if wants_operand {
                    return Some((token.span, format!("unexpected {word}: an operand is missing before it")));
                }
                wants_operand = true;
            }
            TokenKind::Arithmetic => {
                if wants_operand && !matches!(word, "+" | "-") {
                    return Some((token.span, format!("unexpected {word}: an operand is missing before it")));
                }
                wants_operand = true;
            }
            TokenKind::At => wants_operand = true,
            TokenKind::Matching => return Some((token.span, format!("unexpected {word} outside braces"))),
            TokenKind::Colon | TokenKind::OpenString | TokenKind::Comment | TokenKind::Other => {}
        }
    }
    wants_operand.then(|| (Span::at(text.trim_end().len()), "unexpected end of the expression".to_owned()))
}

fn is_clause(word: &str) -> bool {
    ["by", "without", "on", "ignoring", "group_left", "group_right"].iter().any(|w| w.eq_ignore_ascii_case(word))
}

fn is_operator_word(word: &str) -> bool {
    ["and", "or", "unless", "atan2", "offset", "bool", "group_left", "group_right"]
        .iter()
        .any(|w| w.eq_ignore_ascii_case(word))
}

/// The parser names a function or label in quotes: point at its first occurrence.
fn named_token(text: &str, tokens: &[Token], words: &str) -> Option<Span> {
    let name = words.split(['\'', '"']).nth(1)?;
    tokens.iter().find(|token| token.kind == TokenKind::Word && token.span.of(text) == name).map(|token| token.span)
}
