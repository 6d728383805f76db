//! Cut PromQL text into tokens with their bytes, whatever the text is.
//!
//! The scanner never fails: a string that is not closed and a character that PromQL does not know are tokens too. It
//! serves whoever must know where things stand: `keep` looks for its `<`, the guard counts and checks literals, the
//! lowering gives each node its span.

use crate::place::Span;

/// A token and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A name, a keyword, `Inf` or `NaN`; outside square brackets it may hold colons.
    Word,
    /// What starts like a number: `8`, `1e3`, `0x1F`, `5m`, and also `2xx`. See [`Literal`].
    Number,
    /// A closed string with its quotes.
    String,
    /// A string without its closing quote, up to the end of the line (of the text for a backtick).
    OpenString,
    Open(Bracket),
    Close(Bracket),
    Comma,
    /// The `:` of a subquery.
    Colon,
    At,
    /// `< <= > >= == !=`.
    Comparison,
    /// `+ - * / % ^`.
    Arithmetic,
    /// `= =~ !~`, and a lone `!`.
    Matching,
    /// `#` up to the end of the line, which a carriage return is too.
    Comment,
    /// Any other character.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bracket {
    Round,
    Square,
    Curly,
}

/// What a [`TokenKind::Number`] token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `8`, `1e3`, `.5`, `5.`
    Decimal,
    /// `010`: octal to PromQL.
    LeadingZero,
    /// `0x1F`
    Hex,
    /// `5m`, `1h30m`
    Duration,
    /// `2xx`, `1_000`, `75k`
    Neither,
}

/// Cuts a text into tokens; white space between them is left out, comments are not.
pub fn scan(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, in_square: false };
    let mut tokens = Vec::new();
    while let Some(kind_and_start) = scanner.next_token(text) {
        let (kind, start) = kind_and_start;
        tokens.push(Token { kind, span: Span::new(start, scanner.at) });
    }
    tokens
}

impl Token {
    pub fn is_comment(self) -> bool {
        self.kind == TokenKind::Comment
    }

    /// True for the given keyword; PromQL's keywords are case-insensitive.
    pub fn is_word(self, text: &str, word: &str) -> bool {
        self.kind == TokenKind::Word && self.span.of(text).eq_ignore_ascii_case(word)
    }
}

impl Literal {
    /// Classifies the text of a number token.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        if is_duration(bytes) {
            Self::Duration
        } else if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            let is_hex = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
            if is_hex { Self::Hex } else { Self::Neither }
        } else if !is_decimal(bytes) {
            Self::Neither
        } else if bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit() {
            Self::LeadingZero
        } else {
            Self::Decimal
        }
    }
}

/// `digits [. digits] [e [sign] digits]`, with digits on at least one side of the point.
fn is_decimal(bytes: &[u8]) -> bool {
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut at = whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return false;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == bytes.len()
}

/// One or more of `digits unit`, with the units of PromQL.
fn is_duration(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        at += digits;
        at += match bytes[at..] {
            [b'm', b's', ..] => 2,
            [b's' | b'm' | b'h' | b'd' | b'w' | b'y', ..] => 1,
            _ => return false,
        };
    }
    at > 0
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    in_square: bool,
}

impl Scanner<'_> {
    fn next_token(&mut self, text: &str) -> Option<(TokenKind, usize)> {
        self.take_while(|b| b.is_ascii_whitespace());
        let start = self.at;
        let first = *self.bytes.get(start)?;
        self.at += 1;
        let kind = match first {
            b'#' => {
                self.take_while(|b| !matches!(b, b'\n' | b'\r'));
                TokenKind::Comment
            }
            b'"' | b'\'' | b'`' => self.string(first),
            b'(' => TokenKind::Open(Bracket::Round),
            b')' => TokenKind::Close(Bracket::Round),
            b'{' => TokenKind::Open(Bracket::Curly),
            b'}' => TokenKind::Close(Bracket::Curly),
            b'[' => {
                self.in_square = true;
                TokenKind::Open(Bracket::Square)
            }
            b']' => {
                self.in_square = false;
                TokenKind::Close(Bracket::Square)
            }
            b',' => TokenKind::Comma,
            b'@' => TokenKind::At,
            b':' if self.in_square => TokenKind::Colon,
            b'<' | b'>' => {
                self.take_if(b"=");
                TokenKind::Comparison
            }
            b'=' if self.take_if(b"=") => TokenKind::Comparison,
            b'!' if self.take_if(b"=") => TokenKind::Comparison,
            b'=' | b'!' => {
                self.take_if(b"~");
                TokenKind::Matching
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' => TokenKind::Arithmetic,
            b'0'..=b'9' => self.number(start),
            b'.' if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) => self.number(start),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => {
                let colons = !self.in_square;
                self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_' || (colons && b == b':'));
                TokenKind::Word
            }
            _ => {
                let width = text[start..].chars().next().map_or(1, char::len_utf8);
                self.at = start + width;
                TokenKind::Other
            }
        };
        Some((kind, start))
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|b| wanted(*b)) {
            self.at += 1;
        }
    }

    fn take_if(&mut self, any_of: &[u8]) -> bool {
        let taken = self.bytes.get(self.at).is_some_and(|b| any_of.contains(b));
        self.at += usize::from(taken);
        taken
    }

    fn string(&mut self, quote: u8) -> TokenKind {
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte == b'\n' && quote != b'`' {
                return TokenKind::OpenString;
            }
            self.at += 1;
            if byte == quote {
                return TokenKind::String;
            }
            // An escaped quote does not close the string; an escaped line break is an error all the same.
            if byte == b'\\' && quote != b'`' && self.bytes.get(self.at).is_some_and(|b| *b != b'\n') {
                self.at += 1;
            }
        }
        TokenKind::OpenString
    }

    fn number(&mut self, start: usize) -> TokenKind {
        loop {
            self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
            // `1e-3` is one token and `5m-3` is three.
            let so_far = &self.bytes[start..self.at];
            let exponent = matches!(so_far, [mantissa @ .., b'e' | b'E'] if is_decimal(mantissa));
            if !(exponent && self.take_if(b"+-")) {
                return TokenKind::Number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        scan(text).into_iter().map(|token| token.span.of(text)).collect()
    }

    #[test]
    fn tokens_are_the_pieces_of_promql() {
        assert_eq!(
            words("sum by(pod)(rate(vllm:x{a=~\"b\\\"<\"}[5m:1m] offset 1e-3)) <= 0.75 # c\n"),
            [
                "sum",
                "by",
                "(",
                "pod",
                ")",
                "(",
                "rate",
                "(",
                "vllm:x",
                "{",
                "a",
                "=~",
                "\"b\\\"<\"",
                "}",
                "[",
                "5m",
                ":",
                "1m",
                "]",
                "offset",
                "1e-3",
                ")",
                ")",
                "<=",
                "0.75",
                "# c"
            ]
        );
    }

    #[test]
    fn a_string_ends_at_its_quote_or_is_open() {
        assert_eq!(words("`a\n\\`\"b\nc"), ["`a\n\\`", "\"b", "c"]);
        assert_eq!(scan("\"b\nc")[0].kind, TokenKind::OpenString);
        assert_eq!(scan("'\\'")[0].kind, TokenKind::OpenString);
    }

    #[test]
    fn literals_are_told_apart() {
        let of = |text| Literal::of(text);
        assert!(["8", "0", "0.5", ".5", "5.", "1e3", "1E-3"].iter().all(|t| of(t) == Literal::Decimal));
        assert!(["010", "00.5"].iter().all(|t| of(t) == Literal::LeadingZero));
        assert!(["5m", "1h30m", "100ms", "1y"].iter().all(|t| of(t) == Literal::Duration));
        assert_eq!(of("0x1F"), Literal::Hex);
        assert!(["2xx", "1_000", "75k", "1e", ".", "0x", "1.2.3"].iter().all(|t| of(t) == Literal::Neither));
    }

    #[test]
    fn any_text_is_tokens_in_order() {
        for text in ["\u{2264}\u{a0}x", "!!=~", "]:[", "\\", "1e+", "a:b:"] {
            let tokens = scan(text);
            assert!(tokens.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "{text}");
        }
    }
}
