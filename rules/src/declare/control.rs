//! Read the one-word keys: `paused`, `mode`, `policy` and `adopt-hpa`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::near;
use crate::findings::{Code, Finding, cut};
use crate::place::{Place, Span};
use crate::policy::{Limits, lowered};
use crate::workload::is_subdomain;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    Enforce,
    /// Metrics are compiled and published, and no HPA is made.
    Observe,
}

/// Which policy gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    Named(String),
    /// `none`: the built-in ones.
    None,
}

/// Lowers a number over the ceiling where the limit says so.
pub(super) fn paused(value: &str, at: usize, limits: &Limits, warnings: &mut Vec<Finding>) -> Result<Paused, Finding> {
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
    let limit = &limits.max_replicas;
    let ceiling = limit.value;
    if count > ceiling {
        let shown = cut(value, 20);
        if limit.lowers() {
            warnings.push(lowered(&format!("paused at {shown}"), ceiling, limit, Place::of_text(span)));
            return Ok(Paused::At(ceiling));
        }
        let message = format!("paused at {shown} is over the ceiling {ceiling} {}", limit.who());
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

pub(super) fn policy(value: &str, at: usize) -> Result<Pick, Finding> {
    if value == "none" {
        return Ok(Pick::None);
    }
    if is_subdomain(value) {
        return Ok(Pick::Named(value.to_owned()));
    }
    let shown = cut(value, 40).replace(char::is_whitespace, " ");
    let message = format!("policy: {shown} is no name of a policy");
    Err(Finding::at(Code::Ns0153, Span::new(at, at + value.len()), message).help("a ClusterScalingPolicy, or none"))
}

/// The name of an HPA; whether there is one is not known here.
pub(super) fn adopt(value: &str, at: usize) -> Result<String, Finding> {
    if is_subdomain(value) {
        return Ok(value.to_owned());
    }
    let shown = cut(value, 40).replace(char::is_whitespace, " ");
    let message = format!("adopt-hpa: {shown} is not the name of an HPA");
    let lower = value.to_ascii_lowercase();
    let name = lower.rsplit('/').next().filter(|name| is_subdomain(name));
    Err(Finding::at(Code::Ns0153, Span::new(at, at + value.len()), message).help(name.unwrap_or("kubectl get hpa")))
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
