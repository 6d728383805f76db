//! Templates made wrong on purpose, each with the expressions that must show it.
//!
//! A mutant works on the text of a template and says `None` where the text has nothing to make wrong, so that a template
//! that is written in another way is noticed here instead of leaving a mutant without work.

use super::compiler::Idle::{self, Hold, Zero};
use super::oracle::Root::{self, Max, Sum, Unique};

pub struct Mutant {
    pub name: &'static str,
    pub change: fn(&str) -> Option<String>,
    pub killed_by: &'static [(&'static str, Root, Idle)],
}

const SCOPE: &str = "<<.LabelMatchers>>";
const GROUP: &str = "<<.GroupBy>>";
const QUANTILE: &str = "histogram_quantile(0.9, sum by (le, pod) (rate(latency_seconds_bucket[2m])))";

pub const MUTANTS: [Mutant; 18] = [
    Mutant {
        name: "no scope",
        change: |template| replace_first(template, SCOPE, ""),
        killed_by: &[
            ("queue_depth", Max, Hold),
            ("sum by (pod) (rate(request_success_total[2m]))", Unique, Hold),
            (QUANTILE, Unique, Zero),
        ],
    },
    Mutant {
        name: "no scope in a second selector",
        change: |template| {
            let (first, rest) = template.split_once(SCOPE)?;
            Some(format!("{first}{SCOPE}{}", replace_first(rest, SCOPE, "")?))
        },
        killed_by: &[
            ("max by (pod) (queue_depth) or min by (pod) (load_score)", Unique, Hold),
            ("max by (pod) (load_score) or min by (pod) (queue_depth)", Unique, Hold),
        ],
    },
    Mutant {
        name: "the namespace alone",
        change: |template| {
            replace_first(template, SCOPE, r#"namespace=<<printf "%q" (index .LabelValuesByName "namespace")>>"#)
        },
        killed_by: &[("queue_depth", Max, Hold), ("sum by (pod) (slots_in_use)", Unique, Zero)],
    },
    Mutant {
        name: "no static matcher",
        change: without_static_matchers,
        killed_by: &[
            (r#"slots_in_use{model_name="meta/llama-3.1-8b"}"#, Max, Hold),
            (r#"sum by (pod) (slots_in_use{service!="nim-all"})"#, Unique, Hold),
            (r#"max by (pod) (rate(request_success_total{reason="len<<gth"}[2m]))"#, Unique, Hold),
        ],
    },
    Mutant {
        name: "no pod in a group",
        change: |template| without_label(template, GROUP),
        killed_by: &[
            ("queue_depth", Max, Hold),
            ("sum by (pod) (slots_in_use)", Unique, Hold),
            (QUANTILE, Unique, Hold),
        ],
    },
    Mutant {
        name: "no namespace in a group",
        change: |template| without_label(template, "namespace"),
        killed_by: &[("max by (pod) (queue_depth) / ignoring (job) max by (pod) (slots_in_use)", Unique, Hold)],
    },
    Mutant {
        name: "no le in a group",
        change: |template| without_label(template, "le"),
        killed_by: &[(QUANTILE, Unique, Hold), (QUANTILE, Unique, Zero)],
    },
    Mutant {
        name: "max for sum",
        change: |template| replace_word(template, "sum", "max"),
        killed_by: &[("sum by (pod) (slots_in_use)", Unique, Hold), ("rate(request_success_total[2m])", Sum, Hold)],
    },
    Mutant {
        name: "sum for max",
        change: |template| replace_word(template, "max", "sum"),
        killed_by: &[("slots_in_use", Max, Hold), ("max by (pod) (max_over_time(queue_depth[2m]))", Unique, Hold)],
    },
    Mutant {
        name: "- for +",
        change: |template| replace_first(template, " + ", " - "),
        killed_by: &[("sum by (pod) (queue_depth) + sum by (pod) (slots_in_use)", Unique, Hold)],
    },
    Mutant {
        name: "irate for rate",
        change: |template| replace_word(template, "rate", "irate"),
        killed_by: &[
            ("rate(generation_tokens_total[2m])", Sum, Hold),
            ("sum by (pod) (rate(latency_seconds_count[2m]))", Unique, Hold),
        ],
    },
    Mutant {
        name: "a longer range",
        change: |template| replace_first(template, "[2m]", "[5m]"),
        killed_by: &[
            ("increase(generation_tokens_total[2m])", Sum, Hold),
            ("max by (pod) (max_over_time(queue_depth[2m]))", Unique, Hold),
        ],
    },
    Mutant {
        name: "no offset",
        change: |template| replace_first(template, " offset 1m", ""),
        killed_by: &[("max by (pod) (queue_depth offset 1m)", Unique, Hold)],
    },
    Mutant {
        name: "no bool",
        change: |template| replace_first(template, " bool ", " "),
        killed_by: &[("max by (pod) (queue_depth) > bool 20", Unique, Hold)],
    },
    Mutant {
        name: "no overload bound",
        change: |template| {
            let call = call(template, "clamp_max")?;
            Some(format!("{}({}){}", call.before, call.arguments.rsplit_once(',')?.0, call.after))
        },
        killed_by: &[
            ("load_score", Max, Hold),
            ("load_score", Max, Zero),
            ("1 / max by (pod) (0 * queue_depth)", Unique, Hold),
        ],
    },
    Mutant {
        name: "no finite guard",
        change: |template| {
            let guard = ["> -Inf", "> (-Inf)"].into_iter().find(|guard| template.contains(guard))?;
            replace_first(&replace_first(template, guard, "")?, "< Inf", "")
        },
        killed_by: &[("load_score", Max, Hold), (QUANTILE, Unique, Hold)],
    },
    Mutant {
        name: "idle is missing where it is zero",
        change: |template| {
            let is_zero = |at: &usize| template[at + "or".len()..].trim_start_matches([' ', '(']).starts_with("0 *");
            let start = words(template, "or").filter(is_zero).last()?;
            Some(format!("{}{}", &template[..start], after_operand(&template[start..])))
        },
        killed_by: &[("load_score", Max, Zero), (QUANTILE, Unique, Zero)],
    },
    Mutant {
        name: "idle is zero where it is missing",
        change: |template| {
            let expression = call(template, "clamp_max")?.arguments.rsplit_once(',')?.0;
            Some(format!("({template}) or 0 * ((({expression}) != bool ({expression})) == 1)"))
        },
        killed_by: &[("load_score", Max, Hold), (QUANTILE, Unique, Hold)],
    },
];

fn replace_first(template: &str, old: &str, new: &str) -> Option<String> {
    template.contains(old).then(|| template.replacen(old, new, 1))
}

fn replace_word(template: &str, old: &str, new: &str) -> Option<String> {
    let start = words(template, old).next()?;
    Some(format!("{}{new}{}", &template[..start], &template[start + old.len()..]))
}

/// Takes a label out of the first list `(…)` that has it.
fn without_label(template: &str, label: &str) -> Option<String> {
    let is_listed = |start: &usize| {
        let (before, after) = (&template[..*start], &template[start + label.len()..]);
        before.trim_end().ends_with(['(', ',']) && after.trim_start().starts_with([')', ','])
    };
    let start = template.match_indices(label).map(|(start, _)| start).find(is_listed)?;
    let (before, after) = (template[..start].trim_end(), template[start + label.len()..].trim_start());
    Some(match (before.strip_suffix(','), after.strip_prefix(',')) {
        (_, Some(after)) => format!("{before}{after}"),
        (Some(before), None) => format!("{before}{after}"),
        (None, None) => format!("{before}{after}"),
    })
}

fn without_static_matchers(template: &str) -> Option<String> {
    let (before, after) = template.split_once(SCOPE)?;
    let (before, matchers) = before.rsplit_once('{')?;
    (!matchers.trim().is_empty()).then(|| format!("{before}{{{SCOPE}{after}"))
}

struct Call<'a> {
    before: &'a str,
    arguments: &'a str,
    after: &'a str,
}

/// The first call of a function.
fn call<'a>(template: &'a str, function: &str) -> Option<Call<'a>> {
    let start = words(template, function).next()?;
    let rest = template[start + function.len()..].trim_start();
    let after = after_operand(rest);
    let arguments = rest[..rest.len() - after.len()].trim_end().strip_prefix('(')?.strip_suffix(')')?;
    Some(Call { before: &template[..start], arguments, after })
}

/// What follows the first parentheses of `text`.
fn after_operand(text: &str) -> &str {
    let mut depth = 0;
    for (index, char) in outside_strings(text) {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return &text[index + 1..];
        }
    }
    ""
}

/// Where `word` stands as a whole, outside strings.
fn words(text: &str, word: &str) -> impl Iterator<Item = usize> {
    let in_word = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    outside_strings(text).map(|(index, _)| index).filter(move |index| {
        let (before, rest) = text.split_at(*index);
        rest.strip_prefix(word).is_some_and(|after| !before.ends_with(in_word) && !after.starts_with(in_word))
    })
}

fn outside_strings(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().filter(move |(_, char)| match quote {
        None => {
            quote = matches!(char, '"' | '\'' | '`').then_some(*char);
            quote.is_none()
        }
        Some(open) => {
            if *char == open && !escaped {
                quote = None;
            }
            escaped = *char == '\\' && !escaped;
            false
        }
    })
}
