//! Write PromQL of every construct, oddly spelt, and spoil what was written.

use nimscale_rules::promql::functions::{FUNCTIONS, Type};
use nimscale_rules::promql::token::scan;

use super::random::Random;
use super::regexes;
use super::words::{AGGREGATORS, COMMON, DURATIONS, LABELS, METRICS, NUMBERS, ODD_NAMES, OPERATORS, PIECES, VALUES};

/// An instant vector, or at times another type.
pub fn expression(random: &mut Random) -> String {
    let mut writer = Writer { text: String::new(), random, in_square: false };
    let depth = 1 + writer.random.below(3);
    match writer.random.below(20) {
        0 => writer.scalar(depth),
        1 => writer.matrix(depth),
        _ => writer.vector(depth),
    }
    writer.text
}

/// The same text with some of its bytes or tokens gone, doubled, swapped, or others between them.
pub fn spoil(text: &str, random: &mut Random) -> String {
    let mut spoilt = text.to_owned();
    for _ in 0..=random.below(2) {
        spoilt = if random.percent(60) { spoil_token(&spoilt, random) } else { spoil_character(&spoilt, random) };
    }
    spoilt
}

fn spoil_token(text: &str, random: &mut Random) -> String {
    let tokens = scan(text);
    if tokens.is_empty() {
        return random.pick(PIECES).to_owned();
    }
    let (one, other) = (tokens[random.below(tokens.len())].span, tokens[random.below(tokens.len())].span);
    let (before, written, after) = (&text[..one.start], one.of(text), &text[one.end..]);
    match random.below(6) {
        0 => format!("{before}{after}"),
        1 => format!("{before}{written} {written}{after}"),
        2 => format!("{before}{}{after}", random.pick(PIECES)),
        3 => format!("{before}{} {written}{after}", random.pick(PIECES)),
        4 => format!("{before}{written}{}{after}", random.pick(PIECES)),
        _ if one.end <= other.start => {
            format!("{before}{}{}{written}{}", other.of(text), &text[one.end..other.start], &text[other.end..])
        }
        _ => format!("{before}{}{after}", other.of(text)),
    }
}

fn spoil_character(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return String::new();
    }
    let at = random.below(characters.len());
    let piece = random.pick(PIECES);
    match random.below(3) {
        0 => drop(characters.remove(at)),
        1 => drop(characters.splice(at..at, piece.chars().take(1))),
        _ => drop(characters.splice(at..=at, piece.chars().take(1))),
    }
    characters.into_iter().collect()
}

struct Writer<'a> {
    text: String,
    random: &'a mut Random,
    in_square: bool,
}

impl Writer<'_> {
    fn vector(&mut self, depth: usize) {
        if depth == 0 {
            return self.selector();
        }
        match self.random.below(16) {
            0..=2 => self.selector(),
            3 => {
                self.put("(");
                self.vector(depth - 1);
                self.put(")");
            }
            4 => {
                let sign = self.random.pick(&["-", "+"]);
                self.put(sign);
                self.vector(depth - 1);
            }
            5..=8 => self.binary(depth),
            9..=11 => self.aggregate(depth),
            _ => self.call(depth),
        }
    }

    fn scalar(&mut self, depth: usize) {
        match self.random.below(if depth == 0 { 8 } else { 12 }) {
            0..=6 => {
                // The odd forms are mostly refused.
                let number = if self.random.percent(70) { &NUMBERS[..10] } else { NUMBERS };
                let number = self.random.pick(number);
                self.put(number);
            }
            7 => {
                let sign = self.random.pick(&["-", "+", "- -"]);
                self.put(sign);
                self.scalar(0);
            }
            8 => {
                self.put("(");
                self.scalar(depth - 1);
                self.put(")");
            }
            9 => {
                self.put("scalar");
                self.put("(");
                self.vector(depth - 1);
                self.put(")");
            }
            10 => {
                let constant = self.random.pick(&["time", "pi"]);
                self.put(constant);
                self.put("(");
                self.put(")");
            }
            _ => {
                self.scalar(depth - 1);
                let operator = self.random.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "> bool"]);
                self.put(operator);
                self.scalar(depth - 1);
            }
        }
    }

    fn matrix(&mut self, depth: usize) {
        if depth == 0 || self.random.percent(80) {
            let range = self.duration();
            self.selector_with(Some(range));
            return;
        }
        if self.random.percent(80) {
            self.put("(");
            self.vector(depth - 1);
            self.put(")");
        } else {
            self.vector(depth - 1);
        }
        let range = self.duration();
        self.open();
        self.put(range);
        self.put(":");
        if self.random.percent(60) {
            let step = self.duration();
            self.put(step);
        }
        self.close();
        self.shift();
    }

    fn selector(&mut self) {
        let range = None;
        self.selector_with(range);
    }

    fn selector_with(&mut self, range: Option<&str>) {
        let name = if self.random.percent(90) { self.random.pick(METRICS) } else { self.random.pick(ODD_NAMES) };
        let braced = self.random.percent(8);
        if !braced {
            self.put(name);
        }
        let matchers = self.random.below(4);
        if braced || matchers > 0 && self.random.percent(60) {
            self.put("{");
            if braced {
                self.put("__name__");
                self.put("=");
                self.string(name);
            }
            for number in 0..matchers {
                if number > 0 || braced {
                    self.put(",");
                }
                self.matcher();
            }
            if matchers > 0 && self.random.percent(10) {
                self.put(",");
            }
            self.put("}");
        }
        if let Some(range) = range {
            self.open();
            self.put(range);
            self.close();
        }
        self.shift();
    }

    fn matcher(&mut self) {
        let label = if self.random.percent(85) {
            self.random.pick(&LABELS[..LABELS.len() - 1])
        } else {
            self.random.pick(ODD_NAMES)
        };
        self.put(label);
        let operator = self.random.pick(&["=", "!=", "=~", "!~", "="]);
        self.put(operator);
        if operator.ends_with('~') {
            let pattern = regexes::pattern(self.random);
            self.string(&pattern);
        } else {
            let value = self.random.pick(VALUES);
            self.string(value);
        }
    }

    fn shift(&mut self) {
        let (offset, at) = (self.random.percent(12), self.random.percent(8));
        let at_first = self.random.percent(50);
        if at && at_first {
            self.at();
        }
        if offset {
            self.keyword("offset");
            let sign = self.random.pick(&["", "", "", "+", "-", "- "]);
            if !sign.is_empty() {
                self.put(sign);
            }
            let duration = self.duration();
            self.put(duration);
        }
        if at && !at_first {
            self.at();
        }
    }

    fn at(&mut self) {
        self.put("@");
        let time = self.random.pick(&[
            "start()",
            "end()",
            "start ( )",
            "START()",
            "1700000000",
            "1.7e9",
            "1700000000.1234",
            "-1",
            "+5",
            "- 5",
            "0x5",
            "1e3",
            "1700000000.0005",
            "1e15",
            "9e15",
            "9.2e15",
            "1e18",
            "Inf",
            "1m",
            "010",
            "(5)",
            "--5",
        ]);
        self.put(time);
    }

    fn duration(&mut self) -> &'static str {
        let from = if self.random.percent(80) { COMMON } else { DURATIONS };
        self.random.pick(from)
    }

    fn binary(&mut self, depth: usize) {
        self.side(depth);
        let operator = self.random.pick(OPERATORS);
        self.keyword(operator);
        if operator.starts_with(['=', '!', '<', '>']) && self.random.percent(30) {
            self.keyword("bool");
        }
        if self.random.percent(35) {
            let matching = self.random.pick(&["on", "ignoring"]);
            self.keyword(matching);
            self.list();
            if self.random.percent(40) {
                let group = self.random.pick(&["group_left", "group_right"]);
                self.keyword(group);
                if self.random.percent(60) {
                    self.list();
                }
            }
        }
        self.side(depth);
    }

    fn side(&mut self, depth: usize) {
        match self.random.below(10) {
            0 | 1 => self.scalar(depth - 1),
            2 | 3 => {
                self.put("(");
                self.vector(depth - 1);
                self.put(")");
            }
            _ => self.vector(depth - 1),
        }
    }

    fn aggregate(&mut self, depth: usize) {
        let operator = self.random.pick(AGGREGATORS);
        self.keyword(operator);
        let (clause, before) = (self.random.percent(70), self.random.percent(60));
        if clause && before {
            self.grouping();
        }
        self.put("(");
        match operator {
            "quantile" | "topk" | "bottomk" => {
                self.scalar(depth - 1);
                self.put(",");
            }
            "count_values" => {
                let label = self.random.pick(&["v", "le", "pod", "a-b", "", "1", "\u{e9}"]);
                self.string(label);
                self.put(",");
            }
            _ => {}
        }
        self.vector(depth - 1);
        self.put(")");
        if clause && !before {
            self.grouping();
        }
    }

    fn grouping(&mut self) {
        let clause = self.random.pick(&["by", "without"]);
        self.keyword(clause);
        self.list();
    }

    fn list(&mut self) {
        self.put("(");
        let labels = self.random.below(4);
        for number in 0..labels {
            if number > 0 {
                self.put(",");
            }
            let label = if self.random.percent(88) { self.random.pick(LABELS) } else { self.random.pick(ODD_NAMES) };
            self.put(label);
        }
        if labels > 0 && self.random.percent(10) {
            self.put(",");
        }
        self.put(")");
    }

    fn call(&mut self, depth: usize) {
        let function = &FUNCTIONS[self.random.below(FUNCTIONS.len())];
        let name = function.name;
        self.put(name);
        self.put("(");
        let mut args = function.args.to_vec();
        if let Some((optional, most)) = function.optional {
            args.extend((0..self.random.below(most.min(2) + 1)).map(|_| optional));
        }
        for (number, arg) in args.into_iter().enumerate() {
            if number > 0 {
                self.put(",");
            }
            match arg {
                Type::Scalar => self.scalar(depth - 1),
                Type::Vector => self.vector(depth - 1),
                Type::Matrix => self.matrix(depth - 1),
                Type::String => self.argument(name, number),
            }
        }
        self.put(")");
    }

    /// A string of `label_replace` or `label_join`.
    fn argument(&mut self, name: &str, number: usize) {
        if name == "label_replace" && number == 4 {
            let pattern = if self.random.percent(50) { "(.*)".to_owned() } else { regexes::pattern(self.random) };
            return self.string(&pattern);
        }
        let value = match (name, number) {
            ("label_replace", 2) => self.random.pick(&["$1", "${1}", "$1x", "", "a", "$", "$$1", "${x}"]),
            _ => self.random.pick(&["pod", "l", "le", "new", "pod", "l", "__name__", "", "a-b", "\u{e9}", "1a", "a.b"]),
        };
        self.string(value);
    }

    /// A string literal in any of the three quotes, with some of its characters escaped.
    fn string(&mut self, value: &str) {
        let quote = self.random.pick(&['"', '"', '"', '\'', '`']);
        if quote == '`' && !value.contains('`') {
            return self.put(&format!("`{value}`"));
        }
        let quote = if quote == '`' { '"' } else { quote };
        let mut literal = String::from(quote);
        for c in value.chars() {
            let code = c as u32;
            match c {
                '\\' => literal.push_str("\\\\"),
                '\n' => literal.push_str("\\n"),
                '\u{7f}' => literal.push_str("\\x7f"),
                c if c == quote => literal.extend(['\\', c]),
                c if self.random.percent(95) => literal.push(c),
                _ => literal.push_str(&match self.random.below(4) {
                    0 if code < 128 => format!("\\x{code:02X}"),
                    1 if code < 128 => format!("\\{code:03o}"),
                    2 if code < 65_536 => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                }),
            }
        }
        literal.push(quote);
        self.put(&literal);
    }

    fn keyword(&mut self, word: &str) {
        let spelt = match self.random.below(10) {
            0 => word.to_uppercase(),
            1 => word[..1].to_uppercase() + &word[1..],
            _ => word.to_owned(),
        };
        self.put(&spelt);
    }

    fn open(&mut self) {
        self.put("[");
        self.in_square = true;
    }

    fn close(&mut self) {
        self.put("]");
        self.in_square = false;
    }

    /// A token, behind a gap that keeps it apart from the last one.
    fn put(&mut self, token: &str) {
        let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
        let must = self.text.ends_with(joins) && token.starts_with(joins);
        let gap = match self.random.below(20) {
            0 => "\n",
            1 => "\t",
            2 => "  ",
            3 if !self.in_square => " # (\"why\n",
            4 => "\r\n",
            5 if !self.in_square => "#]\r",
            6..=9 => " ",
            _ if must => " ",
            _ => "",
        };
        self.text.push_str(gap);
        self.text.push_str(token);
    }
}
