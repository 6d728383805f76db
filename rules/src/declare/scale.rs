//! Read `scale`: `off`, `auto`, or a range and preset targets.

use super::behavior::count;
use super::{DeclaredMetric, Intended, MetricName, Range, Source, near, target, trimmed, twice};
use crate::findings::{Code, Finding, cut};
use crate::place::{Origin, Place, Set, Span, Text};
use crate::policy::{Limits, lowered};
use crate::presets::{Preset, preset, presets};

/// What a `scale` states; `off` and `auto` state nothing here.
#[derive(Debug, Default)]
pub(super) struct Scale {
    pub(super) replicas: Option<Set<Range>>,
    pub(super) metrics: Vec<DeclaredMetric>,
}

/// Reads up to the first word that fails.
pub(super) fn read(text: &Text, limits: &Limits, findings: &mut Vec<Finding>) -> Scale {
    let mut reader = Reader { text, value: text.as_str(), words: words(text.as_str()), next: 0, limits, findings };
    let mut scale = Scale::default();
    if let Err(finding) = reader.scale(&mut scale) {
        findings.push(finding);
    }
    scale
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    /// Any comparison, and `=`.
    Operator,
    /// `,` and `;`.
    Separator,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    kind: Kind,
    span: Span,
}

fn words(value: &str) -> Vec<Word> {
    let bytes = value.as_bytes();
    let is_operator = |at: usize| match bytes.get(at) {
        Some(b'<' | b'>' | b'=') => true,
        Some(b'!') => bytes.get(at + 1) == Some(&b'='),
        Some(_) | None => false,
    };
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        let kind = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b',' | b';' => Kind::Separator,
            _ if is_operator(start) => {
                at += usize::from(bytes.get(at) == Some(&b'='));
                Kind::Operator
            }
            _ => {
                while bytes.get(at).is_some_and(|b| !b" \t\n\r,;".contains(b)) && !is_operator(at) {
                    at += 1;
                }
                Kind::Word
            }
        };
        words.push(Word { kind, span: Span::new(start, at) });
    }
    words
}

struct Reader<'a> {
    text: &'a Text,
    value: &'a str,
    words: Vec<Word>,
    next: usize,
    limits: &'a Limits,
    /// For what stops nothing.
    findings: &'a mut Vec<Finding>,
}

impl<'a> Reader<'a> {
    fn scale(&mut self, scale: &mut Scale) -> Result<(), Finding> {
        let mut compared = false;
        while let Some(Word { kind, span }) = self.take() {
            match kind {
                Kind::Word => compared = self.word(span, scale)?,
                Kind::Operator => return Err(self.operator_alone(span, compared)),
                Kind::Separator => {
                    let message = format!("\"{}\" does not separate here", span.of(self.value));
                    return Err(Finding::at(Code::Ns0133, span, message).help("a space"));
                }
            }
        }
        Ok(())
    }

    /// True when the word was a preset with its target.
    fn word(&mut self, span: Span, scale: &mut Scale) -> Result<bool, Finding> {
        let word = span.of(self.value);
        let first = self.next == 1;
        if word == "off" || word == "auto" {
            let alone = trimmed(self.value).0 == word;
            let finding = || Finding::at(Code::Ns0116, span, format!("{word} stands alone")).help(word);
            return if alone { Ok(false) } else { Err(finding()) };
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let (range, from) = self.range(word, span, first, scale)?;
            if let Origin::Annotation(_) = from {
                self.findings.extend(never_scales(range, span));
            }
            scale.replicas = Some(Set { value: range, from });
            return Ok(false);
        }
        if word.contains(['(', ')', '{', '}', '[', ']', '"', '\'', '_', '`']) {
            let message = format!("{}: PromQL belongs in nimscale.dev/keep", cut(word, 40));
            let entry = self.phrase().of(self.value).replace('\'', "''");
            return Err(Finding::at(Code::Ns0115, span, message).help(format!("nimscale.dev/keep: '{entry}'")));
        }
        match preset(word) {
            Some(preset) => self.target(preset, span, scale),
            None => Err(self.unknown(word, span)),
        }
    }

    /// A range and who set it: of one that is lowered, whoever set the limit.
    fn range(&mut self, word: &str, span: Span, first: bool, scale: &Scale) -> Result<(Range, Origin), Finding> {
        let limit = &self.limits.max_replicas;
        let Some((min, max)) = bounds(word) else {
            let message = format!("{} is not a range MIN..MAX", cut(word, 30));
            return Err(Finding::at(Code::Ns0111, span, message).help(self.meant(word, scale)));
        };
        if !first {
            let message = "the range stands once, before the targets";
            let help = match &scale.replicas {
                Some(_) => "one range".into(),
                None => format!("{} {}", word, self.value[..span.start].trim()),
            };
            return Err(Finding::at(Code::Ns0112, span, message).help(help));
        }
        let (range, lowered) = held(word, (min, max), span, self.limits)?;
        let from = match &lowered {
            Some(_) => limit.by.clone(),
            None => Origin::Annotation(self.text.place(span)),
        };
        self.findings.extend(lowered);
        Ok((range, from))
    }

    /// What a malformed range was to be.
    fn meant(&self, word: &str, scale: &Scale) -> String {
        let before = self.next.checked_sub(2).and_then(|at| self.words.get(at));
        if let (Some(Word { kind: Kind::Word, span }), false) = (before, scale.metrics.is_empty()) {
            // `kv-cache 75%`
            return format!("{}<{}", span.of(self.value), cut(word, 20));
        }
        let ceiling = self.limits.max_replicas.value;
        let mut numbers = word
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().unwrap_or(u32::MAX).clamp(1, ceiling));
        match (numbers.next(), numbers.next()) {
            (Some(min), Some(max)) if min <= max => format!("{min}..{max}"),
            (Some(max), None) if max > 1 => format!("1..{max}"),
            (_, _) => "1..8".into(),
        }
    }

    fn unknown(&self, word: &str, span: Span) -> Finding {
        let lower = word.to_ascii_lowercase();
        if ["off", "no", "false", "none", "disabled"].contains(&lower.as_str()) {
            return Finding::at(Code::Ns0113, span, format!("{word} is not a word of scale")).help("off");
        }
        if ["auto", "on", "yes", "true", "enabled"].contains(&lower.as_str()) {
            return Finding::at(Code::Ns0113, span, format!("{word} is not a word of scale")).help("auto");
        }
        if !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let finding = Finding::at(Code::Ns0113, span, format!("{} is not a word of scale", cut(word, 40)));
            let named = presets().iter().find(|preset| word.starts_with(&preset.name));
            return match named {
                Some(preset) => finding.help(format!("{}<{}", preset.name, target::example(preset))),
                None => finding.help("1..8 kv-cache<75%"),
            };
        }
        let finding = Finding::at(Code::Ns0114, span, format!("unknown preset {}", cut(word, 40)));
        match near(&lower, ["off", "auto"].into_iter().chain(presets().iter().map(|preset| preset.name.as_str()))) {
            Some(name) => finding.help(name),
            None if self.value.contains(['(', '{', '[']) => finding.help("nimscale.dev/keep for PromQL"),
            None => {
                // `queue` for `queue-depth`, where one preset alone can be meant.
                let mut meant = presets().iter().filter(|preset| preset.name.split('-').any(|part| part == lower));
                if let (Some(preset), None) = (meant.next(), meant.next()) {
                    return finding.help(preset.name.as_str());
                }
                let names: Vec<&str> = presets().iter().map(|preset| preset.name.as_str()).collect();
                finding.help(format!("one of {}", names.join(", ")))
            }
        }
    }

    fn target(&mut self, preset: &'static Preset, span: Span, scale: &mut Scale) -> Result<bool, Finding> {
        let name = MetricName::derived(&preset.name);
        if scale.metrics.iter().any(|metric| metric.name == name) {
            // The place is this text's own here, as in every finding of a reader.
            let place = Place::of_text(span);
            return Err(twice(&name, place).help("one of the two"));
        }
        let compared = self.peek(Kind::Operator).is_some();
        let target = if compared {
            let span = self.compared(preset)?;
            let (target, warning) = target::quantity(span.of(self.value), span.start, preset)?;
            self.findings.extend(warning);
            Set::annotation(target, self.text.place(span))
        } else {
            let Some(target) = preset.target else {
                let message = format!("{name} has no default target");
                let help = format!("{name}<{}", target::example(preset));
                return Err(Finding::at(Code::Ns0215, span, message).help(help));
            };
            Set::built_in(target)
        };
        scale.metrics.push(DeclaredMetric {
            name,
            place: self.text.place(span),
            source: Source::Preset(preset),
            target,
            intended: Intended::default(),
        });
        Ok(compared)
    }

    /// Takes the operator behind a preset and returns what it compares with.
    fn compared(&mut self, preset: &Preset) -> Result<Span, Finding> {
        let operator = self.take().map_or(Span::default(), |word| word.span);
        let right = self.peek(Kind::Word);
        let shown = right.map_or_else(|| target::example(preset), |right| cut(right.of(self.value), 20));
        let help = format!("{}<{shown}", preset.name);
        if let Some(second) = self.peek(Kind::Operator) {
            return Err(two_comparisons(second));
        }
        if right.is_some_and(|right| right.of(self.value) == "bool") {
            return Err(Finding::at(Code::Ns0127, operator, BOOL).help("<"));
        }
        match operator.of(self.value) {
            "<" => {}
            ">" => return Err(Finding::at(Code::Ns0125, operator, WRONG_DIRECTION).help(help)),
            other => {
                let message = format!("\"{other}\" is not the target's sign");
                return Err(Finding::at(Code::Ns0126, operator, message).help(help));
            }
        }
        let Some(right) = right else {
            return Err(Finding::at(Code::Ns0134, operator, "nothing stands after \"<\"").help(help));
        };
        self.next += 1;
        Ok(right)
    }

    /// An operator without a preset on its left.
    fn operator_alone(&self, span: Span, compared: bool) -> Finding {
        match span.of(self.value) {
            _ if compared => two_comparisons(span),
            ">" => Finding::at(Code::Ns0125, span, WRONG_DIRECTION).help("kv-cache<75%"),
            "<" => Finding::at(Code::Ns0134, span, "nothing stands before \"<\"").help("kv-cache<75%"),
            other => Finding::at(Code::Ns0126, span, format!("\"{other}\" is not the target's sign")).help("<"),
        }
    }

    fn take(&mut self) -> Option<Word> {
        let word = self.words.get(self.next).copied()?;
        self.next += 1;
        Some(word)
    }

    fn peek(&self, kind: Kind) -> Option<Span> {
        self.words.get(self.next).filter(|word| word.kind == kind).map(|word| word.span)
    }

    /// The word just taken, and what stands close to it or behind an operator.
    fn phrase(&self) -> Span {
        let mut words = self.words[self.next.saturating_sub(1)..].iter().copied();
        let Some(mut last) = words.next() else { return Span::default() };
        let first = last.span;
        for word in words {
            let close = word.span.start == last.span.end && word.kind != Kind::Separator;
            if !close && word.kind != Kind::Operator && last.kind != Kind::Operator {
                break;
            }
            last = word;
        }
        first.to(last.span)
    }
}

pub(super) const WRONG_DIRECTION: &str = "wrong direction: a target is an upper bound";
pub(super) const BOOL: &str = "\"< bool\" gives 0 or 1, nothing to scale on";

fn two_comparisons(second: Span) -> Finding {
    Finding::at(Code::Ns0128, second, "two comparisons in one target").help("kv-cache<75% queue-depth<8")
}

/// Holds a range, written `MIN..MAX`, to what an HPA and the limits allow; a warning says what was lowered.
pub(super) fn held(
    word: &str,
    (min, max): (u32, u32),
    span: Span,
    limits: &Limits,
) -> Result<(Range, Option<Finding>), Finding> {
    let limit = &limits.max_replicas;
    let ceiling = limit.value;
    let (shown_min, shown_max) = word.split_once("..").unwrap_or((word, word));
    if min == 0 {
        let message = "scale to zero is not supported: min must be 1 or more";
        return Err(Finding::at(Code::Ns0202, span, message).help(format!("1..{}", max.clamp(1, ceiling))));
    }
    if min > max {
        let message = format!("min {} is over max {}", cut(shown_min, 20), cut(shown_max, 20));
        let (low, high) = (max.clamp(1, ceiling), min.min(ceiling));
        return Err(Finding::at(Code::Ns0201, span, message).help(format!("{low}..{high}")));
    }
    if max <= ceiling {
        return Ok((Range { min, max }, None));
    }
    let shown = cut(shown_max, 20);
    if limit.lowers() {
        let lowered = lowered(&format!("max {shown}"), ceiling, limit, Place::of_text(span));
        return Ok((Range { min: min.min(ceiling), max: ceiling }, Some(lowered)));
    }
    let message = format!("max {shown} is over the ceiling {ceiling} {}", limit.who());
    Err(Finding::at(Code::Ns0203, span, message).help(format!("{}..{ceiling}", min.min(ceiling))))
}

/// The warning about a range of one number.
pub(super) fn never_scales(Range { min, max }: Range, span: Span) -> Option<Finding> {
    let help = if max == 1 { "1..2".into() } else { format!("1..{max}") };
    (min == max).then(|| Finding::at(Code::Ns0204, span, format!("{min}..{max} never scales")).help(help))
}

/// `MIN..MAX`; a number that does not fit is over any ceiling.
pub(super) fn bounds(word: &str) -> Option<(u32, u32)> {
    let (min, max) = word.split_once("..")?;
    Some((count(min)?, count(max)?))
}
