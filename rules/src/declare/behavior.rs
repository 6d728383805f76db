//! Read how fast replicas are added and removed.

use super::near;
use crate::findings::{Code, Finding, cut};
use crate::place::Span;

/// How fast replicas are added and removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    pub up: Direction,
    pub down: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Never this way.
    Off,
    Steps {
        /// One or more; the one that changes the most counts.
        steps: Vec<Step>,
        /// The stabilisation window.
        after_seconds: u32,
    },
}

/// At most so much change in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub change: Change,
    pub every_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Pods(u32),
    Percent(u32),
}

impl Behavior {
    pub const NAMES: &[&str] = &["gentle", "balanced", "fast"];

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "gentle" => Some(Self {
                up: steps(120, &[Change::Pods(1), Change::Percent(20)], 60),
                down: steps(600, &[Change::Pods(1)], 1800),
            }),
            "balanced" => Some(Self::balanced()),
            "fast" => Some(Self {
                up: steps(30, &[Change::Pods(4), Change::Percent(100)], 0),
                down: steps(120, &[Change::Pods(2), Change::Percent(25)], 300),
            }),
            _ => None,
        }
    }

    /// A name or steps, as in an annotation.
    pub(crate) fn read(value: &str) -> Result<Self, Finding> {
        read(value, 0)
    }

    /// What holds when nothing is said.
    pub fn balanced() -> Self {
        Self {
            up: steps(60, &[Change::Pods(2), Change::Percent(50)], 0),
            down: steps(300, &[Change::Pods(1), Change::Percent(10)], 600),
        }
    }
}

fn steps(every_seconds: u32, changes: &[Change], after_seconds: u32) -> Direction {
    let steps = changes.iter().map(|change| Step { change: *change, every_seconds }).collect();
    Direction::Steps { steps, after_seconds }
}

/// `periodSeconds` of an HPA ends here.
pub(super) const LONGEST_STEP: u32 = 1800;
/// `stabilizationWindowSeconds` of an HPA ends here.
pub(super) const LONGEST_WINDOW: u32 = 3600;
/// Past this a change is no limit any more.
pub(super) const LARGEST_CHANGE: u32 = 1000;
/// More steps than anybody can picture.
const MOST_STEPS: usize = 8;

pub(super) fn read(value: &str, at: usize) -> Result<Behavior, Finding> {
    if let Some(named) = Behavior::named(value) {
        return Ok(named);
    }
    let mut behavior = Behavior::balanced();
    let mut seen: Vec<&str> = Vec::new();
    let mut words = Words { value, at, next: 0 };
    loop {
        let Some((word, span)) = words.next() else {
            return Err(wrong(Span::at(at + value.len()), "nothing stands after \";\"", "up 2/60s; down 1/300s"));
        };
        if seen.contains(&word) {
            return Err(wrong(span, &format!("\"{word}\" stands twice"), "one of them, its steps with commas"));
        }
        let slot = match word {
            "up" => &mut behavior.up,
            "down" => &mut behavior.down,
            _ => return Err(no_direction(word, span, seen.is_empty())),
        };
        let direction = words.direction(word, span, slot)?;
        *slot = direction;
        seen.push(word);
        match words.next() {
            None => return Ok(behavior),
            Some((";", _)) => {}
            Some((word, span)) => {
                let message = format!("{} is not expected here", quoted(word));
                return Err(wrong(span, &message, "up 2/60s; down 1/300s after 10m"));
            }
        }
    }
}

/// The words of a one-liner; `,` and `;` are words of their own.
struct Words<'a> {
    value: &'a str,
    /// Where the value starts in its text.
    at: usize,
    next: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(&'a str, Span)> {
        let (word, start) = self.peek()?;
        self.next = start + word.len();
        Some((word, Span::new(start, self.next).shifted(self.at)))
    }

    fn next_if(&mut self, wanted: &str) -> bool {
        let found = self.peek().filter(|(word, _)| *word == wanted);
        if let Some((word, start)) = found {
            self.next = start + word.len();
        }
        found.is_some()
    }

    fn peek(&self) -> Option<(&'a str, usize)> {
        let rest = &self.value[self.next..];
        let start = self.next + (rest.len() - rest.trim_ascii_start().len());
        let rest = &self.value[start..];
        let first = rest.chars().next()?;
        let ends = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ';');
        let length = if ends(first) { 1 } else { rest.find(ends).unwrap_or(rest.len()) };
        Some((&rest[..length], start))
    }

    /// What stands behind `up` or `down`; without `after` the window stays as `default` has it.
    fn direction(&mut self, name: &str, name_span: Span, default: &Direction) -> Result<Direction, Finding> {
        let off = self.next_if("off");
        let mut steps = Vec::new();
        let mut more = !off;
        while more {
            let (word, span) = match self.peek() {
                None | Some((";" | "after", _)) => {
                    return Err(wrong(name_span, &format!("\"{name}\" has no step"), &format!("{name} 2/60s")));
                }
                Some((word, start)) => (word, Span::new(start, start + word.len()).shifted(self.at)),
            };
            self.next();
            if steps.len() == MOST_STEPS {
                return Err(wrong(span, &format!("more than {MOST_STEPS} steps"), "fewer steps: the largest counts"));
            }
            steps.push(step(name, word, span)?);
            more = self.next_if(",");
        }
        let mut after_seconds = match default {
            Direction::Steps { after_seconds, .. } => *after_seconds,
            Direction::Off => 0,
        };
        if self.next_if("after") {
            let end = Span::at(self.at + self.next);
            let (word, span) = self.next().unwrap_or(("", end));
            after_seconds = window(word, span)?;
        }
        Ok(if off { Direction::Off } else { Direction::Steps { steps, after_seconds } })
    }
}

/// `2/60s`, `50%/60s`.
fn step(direction: &str, word: &str, span: Span) -> Result<Step, Finding> {
    let Some((change, period)) = word.split_once('/') else {
        let help = if count(word.trim_end_matches('%')).is_some() { word } else { "2" };
        let message = format!("\"{direction} {}\" has no period", cut(word, 20));
        return Err(wrong(span, &message, &format!("{direction} {}/60s", cut(help, 20))));
    };
    let (number, percent) = match change.strip_suffix('%') {
        Some(number) => (number, true),
        None => (change, false),
    };
    let number = match count(number) {
        Some(number @ 1..=LARGEST_CHANGE) => number,
        Some(0) => return Err(wrong(span, "a step of 0 changes nothing", &format!("{direction} off"))),
        Some(_) => {
            let message = format!("{} is over {LARGEST_CHANGE}", quoted(change));
            let unit = if percent { "%" } else { "" };
            return Err(wrong(span, &message, &format!("{LARGEST_CHANGE}{unit}/{}", cut(period, 20))));
        }
        None => return Err(wrong(span, &format!("{} is not N or N%", quoted(change)), "2/60s")),
    };
    let every_seconds = match seconds(period) {
        Some(seconds @ 1..=LONGEST_STEP) => seconds,
        Some(_) => {
            let message = format!("a period is 1s to 30m, not {}", cut(period, 20));
            let nearest = if period.starts_with('0') { "1s" } else { "30m" };
            return Err(wrong(span, &message, &format!("{change}/{nearest}")));
        }
        None => {
            let meant = count(period).or_else(|| compound(period)).unwrap_or(60);
            let message = format!("{} is not a period such as 60s or 5m", quoted(period));
            return Err(wrong(span, &message, &format!("{change}/{meant}s")));
        }
    };
    Ok(Step { change: if percent { Change::Percent(number) } else { Change::Pods(number) }, every_seconds })
}

/// `1m30s`, which an HPA's period cannot say but in seconds.
fn compound(period: &str) -> Option<u32> {
    let parts = period.split_inclusive(['s', 'm', 'h']).map(seconds);
    parts.sum::<Option<u32>>().filter(|seconds| (1..=LONGEST_STEP).contains(seconds))
}

fn window(word: &str, span: Span) -> Result<u32, Finding> {
    match seconds(word) {
        Some(seconds @ 0..=LONGEST_WINDOW) => Ok(seconds),
        Some(_) => Err(wrong(span, &format!("a window is 0s to 1h, not {}", cut(word, 20)), "after 1h")),
        None => Err(wrong(span, "\"after\" takes a time such as 60s or 10m", "after 10m")),
    }
}

/// A plain integer; one that is too large for the type is over every limit.
pub(super) fn count(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    (plain && !text.is_empty()).then(|| text.parse().unwrap_or(u32::MAX))
}

pub(crate) fn seconds(text: &str) -> Option<u32> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        _ => return None,
    };
    Some(count(&text[..text.len() - 1])?.saturating_mul(unit))
}

fn no_direction(word: &str, span: Span, first: bool) -> Finding {
    if Behavior::NAMES.contains(&word) {
        return wrong(span, &format!("{word} stands alone"), word);
    }
    let known = Behavior::NAMES.iter().copied().chain(["up", "down"]);
    let lower = word.to_ascii_lowercase();
    let close = known.clone().find(|name| *name == lower).or_else(|| near(&lower, known));
    let expected = if first { "gentle, balanced, fast, up or down" } else { "up or down" };
    wrong(span, &format!("{} is not {expected}", quoted(word)), close.unwrap_or("up 2/60s; down 1/300s after 10m"))
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", cut(word, 20))
}

fn wrong(span: Span, message: &str, help: &str) -> Finding {
    Finding::at(Code::Ns0151, span, message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(value: &str) -> (Code, Span, Option<String>) {
        let finding = read(value, 0).expect_err(value);
        (finding.code, finding.place.bytes, finding.help)
    }

    #[test]
    fn a_direction_left_out_keeps_its_default() {
        let behavior = read("up 2/60s,50%/1m after 5m", 0).expect("it reads");
        assert_eq!(behavior.up, steps(60, &[Change::Pods(2), Change::Percent(50)], 300));
        assert_eq!(behavior.down, Behavior::balanced().down);
        let behavior = read("down off", 0).expect("it reads");
        assert_eq!((behavior.up, behavior.down), (Behavior::balanced().up, Direction::Off));
    }

    #[test]
    fn names_stand_for_the_numbers_of_the_reference() {
        assert_eq!(
            read("gentle", 0).map_err(|f| f.code),
            read("up 1/2m, 20%/2m after 1m; down 1/10m after 30m", 0).map_err(|f| f.code)
        );
        assert_eq!(read("balanced", 0).ok(), read("down 1/300s,10%/300s; up 2/60s , 50%/60s", 0).ok());
        assert_eq!(read("fast", 0).ok(), read("up 4/30s,100%/30s after 0s;down 2/2m,25%/2m after 5m", 0).ok());
    }

    #[test]
    fn a_slip_says_what_to_type() {
        let no = |start, end, help: &str| (Code::Ns0151, Span::new(start, end), Some(help.to_owned()));
        assert_eq!(refused("up 2"), no(3, 4, "up 2/60s"));
        assert_eq!(refused("up 2/60"), no(3, 7, "2/60s"));
        assert_eq!(refused("up 0/60s"), no(3, 8, "up off"));
        assert_eq!(refused("up 2/2h"), no(3, 7, "2/30m"));
        assert_eq!(refused("up 2/1m30s"), no(3, 10, "2/90s"));
        assert_eq!(refused("up 2000%/30s"), no(3, 12, "1000%/30s"));
        assert_eq!(refused("up"), no(0, 2, "up 2/60s"));
        assert_eq!(refused("up 2/60s after 2h"), no(15, 17, "after 1h"));
        assert_eq!(refused("up 2/60s after"), no(14, 14, "after 10m"));
        assert_eq!(refused("balancd"), no(0, 7, "balanced"));
        assert_eq!(refused("up 2/60s; fast"), no(10, 14, "fast"));
        for value in ["up 2/60s;", "up 2/60s,", "up 2/60s down off", "up 1001/60s", "up 2/0s", "up 1.5/60s", "2/60s"] {
            assert_eq!(refused(value).0, Code::Ns0151, "{value}");
        }
        assert_eq!(refused(&format!("up {}", ["1/60s"; 9].join(","))).0, Code::Ns0151);
    }
}
