//! Cut the lines of `keep` into entries.

use crate::findings::{Code, Finding};
use crate::place::Span;
use crate::promql::token::{Bracket, Token, TokenKind, scan};

/// What the next lines hold.
pub(super) enum Next {
    /// The tokens of an entry without its comments, one or more; brackets and strings pair.
    Entry(Vec<Token>),
    /// An entry that is lost by itself.
    Lost(Finding),
    /// Brackets or a string that do not pair. Reading goes on at the byte, where lines may not be what they seem.
    Unpaired(Finding, usize),
}

/// The lines of a value, from the start of some line.
pub(super) struct Lines<'a> {
    value: &'a str,
    from: usize,
    tokens: Vec<Token>,
    next: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn from(value: &'a str, from: usize) -> Self {
        let shifted = |token: Token| Token { kind: token.kind, span: token.span.shifted(from) };
        Self { value, from, tokens: scan(&value[from..]).into_iter().map(shifted).collect(), next: 0 }
    }

    pub(super) fn next_entry(&mut self) -> Option<Next> {
        let mut entry: Vec<Token> = Vec::new();
        let mut open: Vec<Token> = Vec::new();
        let mut indent = 0;
        let mut tab = None;
        let mut unpaired = None;
        while let Some(&token) = self.tokens.get(self.next) {
            if token.is_comment() {
                self.next += 1;
                continue;
            }
            if let Some(margin) = self.margin().filter(|_| open.is_empty()) {
                let tab_at = margin.find('\t');
                if entry.is_empty() {
                    indent = tab_at.unwrap_or(margin.len());
                } else if tab_at.is_none() && margin.len() <= indent {
                    break;
                }
                let line = token.span.start - margin.len();
                tab = tab.or(tab_at.map(|at| Span::at(line + at).to(Span::at(line + at + 1))));
            }
            entry.push(token);
            self.next += 1;
            unpaired = self.pair(token, &mut open);
            if unpaired.is_some() {
                break;
            }
        }
        let first = entry.first()?.span.start;
        let unpaired = unpaired.or_else(|| open.first().map(|bracket| self.never_closed(*bracket)));
        let tab = tab.map(|tab| {
            Finding::at(Code::Ns0122, tab, "tab in the indentation of an entry").help("spaces, two for each step")
        });
        Some(match (unpaired, tab) {
            (Some(finding), tab) => Next::Unpaired(tab.unwrap_or(finding), self.resume(first, indent)),
            (None, Some(tab)) => Next::Lost(tab),
            (None, None) => Next::Entry(entry),
        })
    }

    /// The white space in front of the next token when it is the first of its line.
    fn margin(&self) -> Option<&'a str> {
        let start = match self.next.checked_sub(1) {
            Some(before) => self.tokens[before].span.end,
            None => self.from,
        };
        let gap = &self.value[start..self.tokens[self.next].span.start];
        match gap.rfind('\n') {
            Some(line_feed) => Some(&gap[line_feed + 1..]),
            None => (self.next == 0).then_some(gap),
        }
    }

    /// Opens and closes brackets; a finding when the token pairs with nothing.
    fn pair(&self, token: Token, open: &mut Vec<Token>) -> Option<Finding> {
        let text = token.span.of(self.value);
        match token.kind {
            TokenKind::OpenString => {
                let quote = Span::new(token.span.start, token.span.start + 1);
                let text = quote.of(self.value);
                Some(Finding::at(Code::Ns0301, quote, format!("the string behind {text} is never closed")).help(text))
            }
            TokenKind::Open(_) => {
                open.push(token);
                None
            }
            TokenKind::Close(bracket) => match open.pop() {
                Some(opened) if opened.kind == TokenKind::Open(bracket) => None,
                Some(opened) => {
                    let (opened, help) = (opened.span.of(self.value), closing(opened.kind));
                    let message = format!("\"{text}\" does not close \"{opened}\"");
                    Some(Finding::at(Code::Ns0301, token.span, message).help(help))
                }
                None => {
                    let message = format!("\"{text}\" closes nothing");
                    Some(Finding::at(Code::Ns0301, token.span, message).help("nothing"))
                }
            },
            TokenKind::Word
            | TokenKind::Number
            | TokenKind::String
            | TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::At
            | TokenKind::Comparison
            | TokenKind::Arithmetic
            | TokenKind::Matching
            | TokenKind::Comment
            | TokenKind::Other => None,
        }
    }

    fn never_closed(&self, bracket: Token) -> Finding {
        let message = format!("\"{}\" is never closed", bracket.span.of(self.value));
        Finding::at(Code::Ns0301, bracket.span, message).help(closing(bracket.kind))
    }

    /// The first line behind the one of `start` that is not indented deeper.
    fn resume(&self, start: usize, indent: usize) -> usize {
        let mut line_start = start;
        for line in self.value[start..].split_inclusive('\n') {
            let margin = line.len() - line.trim_start_matches(' ').len();
            let blank = matches!(line[margin..].bytes().next(), None | Some(b'\n' | b'\r' | b'\t' | b'#'));
            if line_start > start && !blank && margin <= indent {
                return line_start;
            }
            line_start += line.len();
        }
        self.value.len()
    }
}

fn closing(open: TokenKind) -> &'static str {
    if open == TokenKind::Open(Bracket::Round) {
        ")"
    } else if open == TokenKind::Open(Bracket::Square) {
        "]"
    } else {
        "}"
    }
}
