//! Refuse regular expressions that Go and Rust read differently, that cost much, or that match everything.
//!
//! Prometheus compiles matchers with Go's RE2 and promql-parser with Rust's `regex`; what both read alike is let through.

use promql_parser::label::Matcher;
use promql_parser::parser::token::T_EQL_REGEX;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassSet, ClassSetItem, Flag, FlagsItemKind, GroupKind, HexLiteralKind, Literal, LiteralKind,
    RepetitionKind, RepetitionRange, SpecialLiteralKind, parse::ParserBuilder,
};

/// The largest counted repetition, `a{100}`.
const MAX_REPEAT: u32 = 100;
/// Groups and classes inside each other.
const MAX_NESTING: u32 = 20;

/// Why a regular expression is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no regular expression of both Go and Rust; in words.
    Syntax(String),
    /// It is one, over a limit; in words.
    Limit(String),
}

/// A regular expression of whole metric names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Matcher);

impl NamePattern {
    /// `None` for what [`check`] refuses.
    pub fn parse(pattern: &str) -> Option<Self> {
        check(pattern).ok()?;
        Matcher::new_matcher(T_EQL_REGEX, "__name__".to_owned(), pattern.to_owned()).ok().map(Self)
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Checks a matcher's regular expression. Prometheus anchors it: it must match the whole label value.
pub fn check(pattern: &str) -> Result<(), Refusal> {
    if matches_empty(&read(pattern)?) {
        return Err(Refusal::Limit("it matches the empty string, so also series without the label".to_owned()));
    }
    Ok(())
}

/// Checks a regular expression that may match the empty string: that of `label_replace`.
pub fn check_pattern(pattern: &str) -> Result<(), Refusal> {
    read(pattern).map(|_| ())
}

fn read(pattern: &str) -> Result<Ast, Refusal> {
    let ast = ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .build()
        .parse(pattern)
        .map_err(|error| Refusal::Syntax(error.kind().to_string()))?;
    common(&ast, 0, pattern)?;
    Ok(ast)
}

/// The literal values of an alternation without any other metacharacter: `a|b`, `(a|b)`.
pub fn alternatives(pattern: &str) -> Option<Vec<&str>> {
    let inner = pattern.strip_prefix("(?:").or_else(|| pattern.strip_prefix('('));
    let pattern = inner.and_then(|inner| inner.strip_suffix(')')).unwrap_or(pattern);
    let literal = |part: &&str| !part.is_empty() && !part.contains(|c| ".+*?()[]{}^$\\".contains(c));
    let parts: Vec<&str> = pattern.split('|').collect();
    parts.iter().all(literal).then_some(parts)
}

fn syntax(what: &str) -> Result<(), Refusal> {
    Err(Refusal::Syntax(what.to_owned()))
}

/// `repeats` is the number of repetitions around this piece of the pattern.
fn common(ast: &Ast, repeats: usize, pattern: &str) -> Result<(), Refusal> {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) => Ok(()),
        Ast::Assertion(one) => assertion(&one.kind),
        Ast::ClassUnicode(_) => syntax("Unicode classes are not read here"),
        Ast::Literal(one) => literal(one),
        Ast::ClassBracketed(class) => class_set(&class.kind),
        Ast::Flags(set) => set.flags.items.iter().try_for_each(|item| flag(&item.kind)),
        Ast::Group(group) => {
            match &group.kind {
                GroupKind::CaptureIndex(_) => {}
                // Rust takes points and brackets in a name too.
                GroupKind::CaptureName { starts_with_p: true, name } if name.name.bytes().all(is_of_name) => {}
                GroupKind::CaptureName { starts_with_p: true, .. } => {
                    return syntax("a group's name has letters, digits and _");
                }
                GroupKind::CaptureName { starts_with_p: false, .. } => return syntax("a group is named (?P<name>…)"),
                GroupKind::NonCapturing(flags) => flags.items.iter().try_for_each(|item| flag(&item.kind))?,
            }
            common(&group.ast, repeats, pattern)
        }
        Ast::Repetition(repetition) => {
            let most = match &repetition.op.kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => None,
                RepetitionKind::Range(RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n)) => Some(*n),
                RepetitionKind::Range(RepetitionRange::Bounded(_, n)) => Some(*n),
            };
            let written = &repetition.op.span;
            if pattern[written.start.offset..written.end.offset].contains(char::is_whitespace) {
                return syntax("a repetition is counted without spaces, which Go takes for text");
            }
            if most.is_some_and(|most| most > MAX_REPEAT) {
                return Err(Refusal::Limit(format!("it repeats more than {MAX_REPEAT} times")));
            }
            if repeats > 0 {
                return Err(Refusal::Limit("it repeats a repetition".to_owned()));
            }
            common(&repetition.ast, repeats + 1, pattern)
        }
        Ast::Alternation(alternation) => alternation.asts.iter().try_for_each(|ast| common(ast, repeats, pattern)),
        Ast::Concat(concat) => concat.asts.iter().try_for_each(|ast| common(ast, repeats, pattern)),
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn assertion(kind: &AssertionKind) -> Result<(), Refusal> {
    match kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(()),
        AssertionKind::WordBoundaryStart
        | AssertionKind::WordBoundaryEnd
        | AssertionKind::WordBoundaryStartAngle
        | AssertionKind::WordBoundaryEndAngle
        | AssertionKind::WordBoundaryStartHalf
        | AssertionKind::WordBoundaryEndHalf => syntax("\\b is the one boundary of words that is read here"),
    }
}

fn literal(literal: &Literal) -> Result<(), Refusal> {
    match &literal.kind {
        LiteralKind::Verbatim | LiteralKind::Meta | LiteralKind::Superfluous | LiteralKind::Octal => Ok(()),
        LiteralKind::HexFixed(HexLiteralKind::X) | LiteralKind::HexBrace(HexLiteralKind::X) => Ok(()),
        LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => syntax("\\u and \\U are written \\x{…}"),
        LiteralKind::Special(SpecialLiteralKind::Space) => syntax("an escaped space is not read here"),
        LiteralKind::Special(_) => Ok(()),
    }
}

fn flag(flag: &FlagsItemKind) -> Result<(), Refusal> {
    match flag {
        FlagsItemKind::Negation => Ok(()),
        FlagsItemKind::Flag(Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed) => {
            Ok(())
        }
        FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) => {
            syntax("only the flags i, m, s and U are read here")
        }
    }
}

fn class_set(set: &ClassSet) -> Result<(), Refusal> {
    match set {
        ClassSet::BinaryOp(_) => syntax("&&, -- and ~~ in a class are not read here"),
        ClassSet::Item(item) => class_item(item),
    }
}

fn class_item(item: &ClassSetItem) -> Result<(), Refusal> {
    match item {
        ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(()),
        ClassSetItem::Literal(one) => literal(one),
        // Prometheus 3.16 finds a digit in `(?i)[a-é]`.
        ClassSetItem::Range(range) if !range.end.c.is_ascii() => syntax("a range ends with an ASCII character"),
        ClassSetItem::Range(range) => literal(&range.start).and_then(|()| literal(&range.end)),
        ClassSetItem::Unicode(_) => syntax("Unicode classes are not read here"),
        ClassSetItem::Bracketed(_) => syntax("a class inside a class is not read here"),
        ClassSetItem::Union(union) => union.items.iter().try_for_each(class_item),
    }
}

fn matches_empty(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Assertion(_) => true,
        Ast::Dot(_) | Ast::Literal(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => false,
        Ast::Group(group) => matches_empty(&group.ast),
        Ast::Repetition(repetition) => match &repetition.op.kind {
            RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => true,
            RepetitionKind::OneOrMore => matches_empty(&repetition.ast),
            RepetitionKind::Range(
                RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(n, _),
            ) => *n == 0 || matches_empty(&repetition.ast),
        },
        Ast::Alternation(alternation) => alternation.asts.iter().any(matches_empty),
        Ast::Concat(concat) => concat.asts.iter().all(matches_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_and_rust_read_alike_passes() {
        for pattern in ["meta/.*x", "a|b", "[a-z0-9]{1,10}", "(?i)llama.+", "llama-[^-]+", "\\d+\\.x", "(?P<n>a)"] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_they_read_differently_does_not() {
        for pattern in [
            "(?x)a b",
            "(?<n>a)",
            "(?P<a[0]>b)",
            "\\u00e9",
            "[a&&b]",
            "[[a]b]",
            "\\pL",
            "(?R)a",
            "a(",
            "[z-a]",
            "\\Qa\\E",
            "a{1, 2}",
            "a{ 2 }",
            "[a-é]",
            "\\<a",
            "a\\>",
            "\\b{start}a",
        ] {
            assert!(matches!(check(pattern), Err(Refusal::Syntax(_))), "{pattern}: {:?}", check(pattern));
        }
    }

    #[test]
    fn what_costs_much_or_matches_everything_does_not() {
        for pattern in ["a{101}", "(a{2}){2}", "a**b", "(a+)+b", ".*", "a|", "(b?)", "^$", ""] {
            assert!(matches!(check(pattern), Err(Refusal::Limit(_))), "{pattern}: {:?}", check(pattern));
        }
    }

    #[test]
    fn a_pattern_of_names_is_anchored() {
        let pattern = NamePattern::parse("node_.*|up").expect("a pattern");
        let matches = ["node_load1", "up", "kube_node_info", "upx"].map(|name| pattern.matches(name));
        assert_eq!(matches, [true, true, false, false]);
        assert_eq!(NamePattern::parse("a("), None);
    }

    #[test]
    fn a_list_of_names_is_no_pattern() {
        assert_eq!(alternatives("a|b-1"), Some(vec!["a", "b-1"]));
        assert_eq!(alternatives("(a|b)"), Some(vec!["a", "b"]));
        assert_eq!(alternatives("(a)|(b)"), None);
        assert_eq!(alternatives("a.*"), None);
        assert_eq!(alternatives("a|"), None);
    }
}
