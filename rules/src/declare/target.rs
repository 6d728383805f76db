//! Read a target: a plain decimal in `keep`, and one with its preset's unit in `scale`.

use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::presets::{Preset, Unit};
use crate::promql::families::{Stand, stand, usable};
use crate::promql::token::Literal;
use crate::quantity::{Milli, NotMilli};

/// The target of an entry of `keep`; `at` is where it starts.
pub(super) fn number(text: &str, at: usize) -> Result<Milli, Finding> {
    let slip = Slip { text, at };
    let (number, suffix) = slip.parts("8")?;
    if !suffix.is_empty() {
        let finding = slip.finding(Code::Ns0132, "this suffix is not read here");
        return Err(match plain(number, suffix).or_else(|| duration(text)) {
            Some(plain) => finding.help(plain.to_string()),
            None => finding.help(number),
        });
    }
    let too_fine = "multiply both sides of \"<\"";
    Milli::from_decimal(number, 1, 0).map_err(|not| slip.uncounted(not, too_fine))
}

/// The target of a preset in `scale`, and a warning about it.
pub(super) fn quantity(text: &str, at: usize, preset: &Preset) -> Result<(Milli, Option<Finding>), Finding> {
    let slip = Slip { text, at };
    let (number, suffix) = slip.parts(&example(preset))?;
    if Milli::from_decimal(number, 1, 0) == Err(NotMilli::Zero) {
        return Err(slip.finding(Code::Ns0211, "the target must be above 0").help(example(preset)));
    }
    let unit = preset.unit;
    let Some(exponent) = exponent(unit, suffix) else { return Err(slip.unit(number, suffix, preset)) };
    let too_fine = match unit {
        Unit::Ratio => "a multiple of 0.1%",
        Unit::Requests | Unit::RequestsPerSecond => "a multiple of 0.001",
        Unit::Seconds => "a multiple of 1ms",
    };
    let target = Milli::from_decimal(number, 1, exponent).map_err(|not| match (not, unit) {
        // A ratio that is too large to count is over its top first of all.
        (NotMilli::TooLarge, Unit::Ratio) => slip.over_the_top(None, preset),
        (NotMilli::NotPlain | NotMilli::Zero | NotMilli::TooFine | NotMilli::TooLarge, _) => {
            slip.uncounted(not, too_fine)
        }
    })?;
    match unit {
        Unit::Ratio if target >= TOP => Err(slip.over_the_top(suffix.is_empty().then_some(target), preset)),
        Unit::Ratio => Ok((target, (target > MOST_USEFUL).then(|| slip.never_passed()))),
        Unit::Seconds => Ok((target, slip.off_the_edges(target, preset.edges()))),
        Unit::Requests | Unit::RequestsPerSecond => Ok((target, None)),
    }
}

/// A target as an HPA's manifest has it: a plain decimal with a suffix of Kubernetes, where `m` is a thousandth.
pub(super) fn kubernetes(text: &str, at: usize) -> Result<Milli, Finding> {
    let slip = Slip { text, at };
    let (number, suffix) = slip.parts("8")?;
    let known = matches!(suffix, "" | "m" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti");
    let Some((factor, exponent)) = magnitude(suffix).filter(|_| known) else {
        let meant = plain(number, suffix).map_or_else(|| number.to_owned(), |meant| meant.to_string());
        return Err(slip.finding(Code::Ns0132, "this suffix is not read here").help(meant));
    };
    Milli::from_decimal(number, factor, exponent).map_err(|not| slip.uncounted(not, "a multiple of 0.001"))
}

/// A target in thousandths, in the unit of a preset and as `scale` has it.
pub(super) fn in_unit_of(preset: &Preset, target: Milli) -> String {
    written(target, preset.unit)
}

/// A target as an author writes it for a preset.
pub(super) fn example(preset: &Preset) -> String {
    match (preset.target, preset.unit) {
        (Some(target), unit) => written(target, unit),
        (None, Unit::Ratio) => "75%".into(),
        (None, Unit::Requests) => "5".into(),
        (None, Unit::RequestsPerSecond) => "20".into(),
        (None, Unit::Seconds) => "10s".into(),
    }
}

const TOP: Milli = thousandths(1000);
/// Top / 1.1: from here on the HPA's tolerance of 10 % hides that the top is reached.
const MOST_USEFUL: Milli = thousandths(909);

const fn thousandths(thousandths: u64) -> Milli {
    match Milli::from_thousandths(thousandths) {
        Some(milli) => milli,
        None => Milli::MAX,
    }
}

/// What stands on the right of `<`, to say what is wrong with it.
struct Slip<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Slip<'a> {
    /// A plain decimal and what stands behind it: nothing, or letters, `%`, `/s`.
    fn parts(&self, example: &str) -> Result<(&'a str, &'a str), Finding> {
        let (minus, unsigned) = match self.text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.text.strip_prefix('+').unwrap_or(self.text)),
        };
        let is_number_word = ["inf", "nan"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let odd = odd_number(number, suffix);
        let is_number = number.contains(|c: char| c.is_ascii_digit())
            && (odd.is_some() || is_suffix(suffix) || Literal::of(unsigned) == Literal::Duration);
        if !is_number && !is_number_word {
            let message = "the right side of \"<\" must be one number";
            return Err(Finding::at(Code::Ns0130, self.span(), message).help(example));
        }
        if minus && is_number {
            return Err(self.finding(Code::Ns0211, "the target must be above 0").help(example));
        }
        let instead = if let Some(odd) = odd {
            odd.help
        } else if is_number_word || number.matches('.').count() > 1 {
            None
        } else if Milli::from_decimal(number, 1, 0) == Err(NotMilli::NotPlain) {
            Some(format!("{}{suffix}", tidied(number)))
        } else if unsigned.len() < self.text.len() {
            Some(unsigned.to_owned())
        } else {
            return Ok((number, suffix));
        };
        Err(self.finding(Code::Ns0131, "not a plain decimal").help(instead.unwrap_or_else(|| example.to_owned())))
    }

    fn uncounted(&self, not: NotMilli, too_fine: &str) -> Finding {
        match not {
            NotMilli::NotPlain => self.finding(Code::Ns0131, "not a plain decimal"),
            NotMilli::Zero => self.finding(Code::Ns0211, "the target must be above 0").help("a positive number"),
            NotMilli::TooFine => self.finding(Code::Ns0212, "the HPA counts in thousandths").help(too_fine),
            NotMilli::TooLarge => self.finding(Code::Ns0212, "over 10^12").help("divide both sides of \"<\""),
        }
    }

    /// A suffix that is not the preset's.
    fn unit(&self, number: &str, suffix: &str, preset: &Preset) -> Finding {
        let unit = preset.unit;
        let of = |text: &str, exponent| Milli::from_decimal(text, 1, exponent).ok().map(|milli| written(milli, unit));
        if suffix == "m" {
            let help = match unit {
                Unit::Seconds => {
                    let minutes = Milli::from_decimal(number, 60, 0).ok().map(|milli| written(milli, unit));
                    minutes.map(|minutes| format!("{number}ms or {minutes}"))
                }
                Unit::Ratio | Unit::Requests | Unit::RequestsPerSecond => of(number, -3),
            };
            return self
                .finding(Code::Ns0132, "this suffix is not read here")
                .help(help.unwrap_or_else(|| example(preset)));
        }
        let name = &preset.name;
        let (message, help) = match unit {
            Unit::Ratio => (format!("{name} is written as 75% or 0.75"), None),
            Unit::Requests => (format!("{name} is written without a unit"), None),
            Unit::RequestsPerSecond => (format!("{name} is written as 20 or 20/s"), None),
            Unit::Seconds if suffix.is_empty() => {
                let help = format!("{0}s or {0}ms", cut(number, 20));
                return Finding::at(Code::Ns0214, self.span(), format!("{name} needs a unit")).help(help);
            }
            Unit::Seconds => (format!("{name} is written with s or ms"), None),
        };
        // A percentage of requests is a slip of the hand; `1k` and `2h` mean what they say.
        let meant = if suffix == "%" { of(number, 0) } else { plain(number, suffix).map(|milli| written(milli, unit)) };
        self.finding(Code::Ns0214, &message).help(help.or(meant).unwrap_or_else(|| example(preset)))
    }

    /// `bare` is a target without `%`: it may be a percentage.
    fn over_the_top(&self, bare: Option<Milli>, preset: &Preset) -> Finding {
        let percent = bare.and_then(|bare| Milli::from_decimal(&bare.to_string(), 1, -2).ok());
        let help = match percent.filter(|percent| bare != Some(TOP) && *percent < TOP) {
            Some(percent) => written(percent, Unit::Ratio),
            None => "90%".into(),
        };
        let message = format!("{} is not under {}'s top of 1", cut(self.text, 20), preset.name);
        Finding::at(Code::Ns0213, self.span(), message).help(help)
    }

    fn never_passed(&self) -> Finding {
        let message = "over 90.9 % the HPA's 10 % tolerance never lets it scale up";
        Finding::at(Code::Ns0216, self.span(), message).help("90%")
    }

    fn off_the_edges(&self, target: Milli, edges: &[u64]) -> Option<Finding> {
        let edge = |edge: u64| Milli::from_thousandths(edge).unwrap_or(Milli::MAX);
        let (message, meant) = match stand(edges, target.thousandths())? {
            Stand::OnEdge => return None,
            // A quantile is never over the top edge, and the HPA's tolerance wants more than the target.
            Stand::Over { highest, below } => {
                let highest = edge(highest);
                (format!("{target} s is not under the top bucket edge {highest}: the HPA never scales up"), below)
            }
            Stand::Between(below, above) => {
                let meant = usable(edges, below, above);
                (format!("{target} s lies between the bucket edges {} and {}", edge(below), edge(above)), meant)
            }
            Stand::Under(lowest) => (format!("{target} s lies under the lowest bucket edge {}", edge(lowest)), lowest),
        };
        Some(Finding::at(Code::Ns0217, self.span(), message).help(written(edge(meant), Unit::Seconds)))
    }

    fn finding(&self, code: Code, what: &str) -> Finding {
        let text = cut(self.text, 20);
        let message = if code == Code::Ns0131 { format!("{text} is {what}") } else { format!("{text}: {what}") };
        Finding::at(code, self.span(), message)
    }

    fn span(&self) -> Span {
        Span::new(self.at, self.at + self.text.len())
    }
}

/// A number that only PromQL or a programmer reads.
struct Odd {
    help: Option<String>,
}

fn odd_number(number: &str, suffix: &str) -> Option<Odd> {
    let after = &suffix[suffix.chars().next().map_or(0, char::len_utf8)..];
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if suffix.starts_with(['x', 'X']) && number == "0" && after.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(Odd { help: u64::from_str_radix(after, 16).ok().map(|value| value.to_string()) });
    }
    if suffix.starts_with(['e', 'E']) && digits(after.strip_prefix(['+', '-']).unwrap_or(after)) {
        let exponent = after.parse::<i32>().ok().filter(|exponent| exponent.abs() <= 30);
        let value = exponent.and_then(|exponent| Milli::from_decimal(&tidied(number), 1, exponent).ok());
        return Some(Odd { help: value.map(|value| value.to_string()) });
    }
    if suffix.starts_with('_') && suffix.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.')) {
        return Some(Odd { help: Some(format!("{number}{suffix}").replace('_', "")) });
    }
    None
}

fn is_suffix(suffix: &str) -> bool {
    matches!(suffix, "" | "%" | "/s") || suffix.bytes().all(|b| b.is_ascii_alphabetic())
}

/// The plain decimal of a number with leading zeros or a bare point.
fn tidied(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// The power of ten of a suffix that a unit is written with.
fn exponent(unit: Unit, suffix: &str) -> Option<i32> {
    match (unit, suffix) {
        (Unit::Ratio | Unit::Requests | Unit::RequestsPerSecond, "") => Some(0),
        (Unit::RequestsPerSecond, "/s") | (Unit::Seconds, "s") => Some(0),
        (Unit::Ratio, "%") => Some(-2),
        (Unit::Seconds, "ms") => Some(-3),
        (Unit::Ratio | Unit::Requests | Unit::RequestsPerSecond | Unit::Seconds, _) => None,
    }
}

/// What a number with a well-known suffix most likely means; `m` is milli, as in an HPA.
fn plain(number: &str, suffix: &str) -> Option<Milli> {
    let (factor, exponent) = magnitude(suffix)?;
    Milli::from_decimal(number, factor, exponent).ok()
}

/// The factor and the power of ten of a well-known suffix.
fn magnitude(suffix: &str) -> Option<(u64, i32)> {
    Some(match suffix {
        "" | "s" | "/s" => (1, 0),
        "m" | "ms" => (1, -3),
        "%" => (1, -2),
        "min" => (60, 0),
        "h" => (3600, 0),
        "d" => (86_400, 0),
        "k" | "K" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        _ => return None,
    })
}

/// The seconds of a compound duration, such as `1h30m`.
fn duration(text: &str) -> Option<Milli> {
    let mut thousandths = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, behind) = unit.split_at(unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len()));
        let part = plain(number, if unit == "m" { "min" } else { unit })?;
        thousandths = thousandths.checked_add(part.thousandths())?;
        rest = behind;
    }
    Milli::from_thousandths(thousandths)
}

/// A target in its unit, the way it is written in `scale`.
fn written(target: Milli, unit: Unit) -> String {
    let thousandths = target.thousandths();
    match unit {
        Unit::Ratio if thousandths.is_multiple_of(10) => format!("{}%", thousandths / 10),
        Unit::Ratio => format!("{}.{}%", thousandths / 10, thousandths % 10),
        Unit::Requests | Unit::RequestsPerSecond => target.to_string(),
        Unit::Seconds if thousandths < 1000 => format!("{thousandths}ms"),
        Unit::Seconds => format!("{target}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets::preset;

    fn kept(text: &str) -> Result<u64, (Code, Option<String>)> {
        number(text, 0).map(Milli::thousandths).map_err(|finding| (finding.code, finding.help))
    }

    fn scaled(name: &str, text: &str) -> Result<(u64, Option<String>), (Code, Option<String>)> {
        let preset = preset(name).expect("a preset");
        match quantity(text, 0, preset) {
            Ok((target, warning)) => Ok((target.thousandths(), warning.and_then(|finding| finding.help))),
            Err(finding) => Err((finding.code, finding.help)),
        }
    }

    fn no(code: Code, help: &str) -> (Code, Option<String>) {
        (code, Some(help.to_owned()))
    }

    #[test]
    fn a_number_is_told_what_to_type() {
        assert_eq!(kept("0.75"), Ok(750));
        assert_eq!(kept("007"), Err(no(Code::Ns0131, "7")));
        assert_eq!(kept("0x1F"), Err(no(Code::Ns0131, "31")));
        assert_eq!(kept("1e-3"), Err(no(Code::Ns0131, "0.001")));
        assert_eq!(kept("1_000"), Err(no(Code::Ns0131, "1000")));
        assert_eq!(kept("5."), Err(no(Code::Ns0131, "5")));
        assert_eq!(kept("+.5"), Err(no(Code::Ns0131, "0.5")));
        assert_eq!(kept("NaN"), Err(no(Code::Ns0131, "8")));
        assert_eq!(kept("1h30m"), Err(no(Code::Ns0132, "5400")));
        assert_eq!(kept("20/s"), Err(no(Code::Ns0132, "20")));
        assert_eq!(kept("2h"), Err(no(Code::Ns0132, "7200")));
        assert_eq!(kept("-.5"), Err(no(Code::Ns0211, "8")));
        assert_eq!(kept("1000000000001").map_err(|(code, _)| code), Err(Code::Ns0212));
    }

    #[test]
    fn a_quantity_is_read_in_the_unit_of_its_preset() {
        assert_eq!(scaled("kv-cache", "33.3%"), Ok((333, None)));
        assert_eq!(scaled("kv-cache", "90.9%"), Ok((909, None)));
        assert_eq!(scaled("kv-cache", "91%"), Ok((910, Some("90%".into()))));
        assert_eq!(scaled("kv-cache", "75"), Err(no(Code::Ns0213, "75%")));
        assert_eq!(scaled("kv-cache", "1"), Err(no(Code::Ns0213, "90%")));
        assert_eq!(scaled("kv-cache", "9999999999999"), Err(no(Code::Ns0213, "90%")));
        assert_eq!(scaled("kv-cache", "0%"), Err(no(Code::Ns0211, "75%")));
        assert_eq!(scaled("queue-depth", "8%"), Err(no(Code::Ns0214, "8")));
        assert_eq!(scaled("queue-depth", "1k"), Err(no(Code::Ns0214, "1000")));
        assert_eq!(scaled("rps", "20/s"), Ok((20_000, None)));
        assert_eq!(scaled("ttft-p95", "2s"), Ok((2000, Some("2.5s".into()))));
        assert_eq!(scaled("ttft-p95", "2500ms"), Ok((2500, None)));
        assert_eq!(scaled("ttft-p95", "20s"), Ok((20_000, Some("7.5s".into()))));
        assert_eq!(scaled("ttft-p95", "10s"), Ok((10_000, Some("7.5s".into()))), "the quantile ends there");
        assert_eq!(scaled("ttft-p95", "9s"), Ok((9000, Some("7.5s".into()))), "no target may be the top edge");
        assert_eq!(scaled("e2e-p95", "500ms"), Ok((500, Some("1s".into()))));
        assert_eq!(scaled("ttft-p95", "1h"), Err(no(Code::Ns0214, "3600s")));
        assert_eq!(scaled("ttft-p95", "0.5ms"), Err(no(Code::Ns0212, "a multiple of 1ms")));
    }
}
