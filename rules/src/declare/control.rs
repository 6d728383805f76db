//! Read the one-word keys: `paused` and `mode`.

use super::near;
use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::policy::Limits;

/// How the replicas are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// `true`: as they are.
    Both,
    /// `scale-up`: none is added.
    Up,
    /// `scale-down`: none is removed.
    Down,
    /// At this number, 1 or more.
    At(u32),
    /// `false`.
    No,
}

/// How far a declaration reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    /// Metrics are compiled and published, and no HPA is made.
    Observe,
}

pub(super) fn paused(value: &str, at: usize, limits: &Limits) -> Result<Paused, Finding> {
    let span = Span::new(at, at + value.len());
    match value {
        "true" => return Ok(Paused::Both),
        "false" => return Ok(Paused::No),
        "scale-up" => return Ok(Paused::Up),
        "scale-down" => return Ok(Paused::Down),
        _ => {}
    }
    let is_count = !value.starts_with('0') && value.bytes().all(|b| b.is_ascii_digit());
    if !is_count {
        let shown = cut(value, 20).replace(char::is_whitespace, " ");
        let message = format!("paused: {shown} is not true, false, scale-up, scale-down or N >= 1");
        return Err(Finding::at(Code::Ns0152, span, message).help(instead_of(value)));
    }
    // A number that does not fit is over any ceiling.
    let count = value.parse().unwrap_or(u32::MAX);
    let ceiling = limits.max_replicas;
    if count > ceiling {
        let message = format!("paused at {} is over the ceiling {ceiling} (built-in)", cut(value, 20));
        return Err(Finding::at(Code::Ns0203, span, message).help(format!("\"{ceiling}\"")));
    }
    Ok(Paused::At(count))
}

pub(super) fn mode(value: &str, at: usize) -> Result<Mode, Finding> {
    match value {
        "enforce" => Ok(Mode::Enforce),
        "observe" => Ok(Mode::Observe),
        _ => {
            let shown = cut(value, 20).replace(char::is_whitespace, " ");
            let message = format!("mode: {shown} is not enforce or observe");
            let help = near(&value.to_ascii_lowercase(), ["enforce", "observe"]).unwrap_or("enforce or observe");
            Err(Finding::at(Code::Ns0153, Span::new(at, at + value.len()), message).help(help))
        }
    }
}

fn instead_of(value: &str) -> String {
    let lower = value.to_ascii_lowercase();
    if !value.is_empty() && value.bytes().all(|b| b == b'0') {
        return "kubectl scale --replicas 0".into();
    }
    let word = match lower.as_str() {
        "no" | "off" | "n" | "none" | "disabled" => "false",
        "up" => "scale-up",
        "down" => "scale-down",
        _ => near(&lower, ["true", "false", "scale-up", "scale-down"]).unwrap_or("true"),
    };
    format!("\"{word}\"")
}
