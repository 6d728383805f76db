//! Templates made wrong on purpose, each with the expressions that must show it.
//!
//! A mutant works on the text of a template and says `None` where the text has nothing to make wrong, so that a template
//! that is written in another way is noticed here instead of leaving a mutant without work.

use super::compiler::Idle::{self, Hold, Zero};
use super::data::WorkloadKind::{Deployment, StatefulSet};
use super::expression::Root::{self, Level, Max, Sum, Total, Unique};
use super::surgery::{after_operand, call, replace_first, replace_word, without_label, without_matcher, words};

pub struct Mutant {
    pub name: &'static str,
    pub change: fn(&str) -> Option<String>,
    pub killed_by: &'static [(&'static str, Root, Idle)],
}

const SCOPE: &str = "<<.LabelMatchers>>";
const GROUP: &str = "<<.GroupBy>>";
const NAMESPACE: &str = r#"namespace=<<printf "%q" (index .LabelValuesByName "namespace")>>"#;
/// What follows a Deployment's name in the names of its pods, and a StatefulSet's.
const SAFE: &str = "-[bcdf-hj-np-tv-xz2456789]{1,10}-[bcdf-hj-np-tv-xz2456789]{5}";
const ORDINAL: &str = "-[0-9]+";
const QUANTILE: &str = "histogram_quantile(0.9, sum by (le, pod) (rate(latency_seconds_bucket[2m])))";
const SHARE: &str = "sum by (pod) (slots_in_use) / on () group_left () ⟦sum(slots_in_use)⟧";
const WATTS: &str = "DCGM_FI_DEV_POWER_USAGE";

pub const MUTANTS: [Mutant; 38] = [
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
        change: |template| replace_first(template, SCOPE, NAMESPACE),
        killed_by: &[("queue_depth", Max, Hold), ("sum by (pod) (slots_in_use)", Unique, Zero)],
    },
    Mutant {
        name: "no static matcher",
        change: |template| {
            let (before, after) = template.split_once(SCOPE)?;
            let (before, matchers) = before.rsplit_once('{')?;
            (!matchers.trim().is_empty()).then(|| format!("{before}{{{SCOPE}{after}"))
        },
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
    Mutant {
        name: "or by no pod",
        change: |template| replace_first(template, " or ", " or on (namespace) "),
        killed_by: &[("max by (pod) (load_score) or max by (pod) (queue_depth)", Unique, Hold)],
    },
    Mutant {
        name: "the pods in a shared side",
        change: |template| replace_first(template, NAMESPACE, SCOPE),
        killed_by: &[
            (SHARE, Unique, Hold),
            ("sum by (pod) (slots_in_use) * ⟪scalar(max(slots_in_use))⟫", Unique, Hold),
            ("max by (pod) (slots_in_use) unless on () ⟦sum(slots_in_use) > 100⟧", Unique, Hold),
        ],
    },
    Mutant {
        name: "a shared side of all namespaces",
        change: |template| without_matcher(template, NAMESPACE),
        killed_by: &[
            (SHARE, Unique, Hold),
            ("max by (pod) (slots_in_use) and on () ⟦sum(slots_in_use) > 170⟧", Unique, Hold),
        ],
    },
    Mutant {
        name: "a pod of its own for a shared side",
        change: |template| {
            let joined = replace_first(template, "on ()", "on (namespace, <<.GroupBy>>)")?;
            replace_first(&joined, " sum(", " sum by (namespace, <<.GroupBy>>) (")
        },
        killed_by: &[(SHARE, Unique, Hold)],
    },
    Mutant {
        name: "a shared filter for no pod",
        change: |template| {
            let start = words(template, "unless").next()?;
            let operand = template[start..].find("on ()")? + start + "on ()".len();
            Some(format!("{}{}", &template[..start], after_operand(&template[operand..])))
        },
        killed_by: &[("max by (pod) (slots_in_use) unless on () ⟦(sum(slots_in_use) > 100)⟧", Unique, Hold)],
    },
    Mutant {
        name: "a family of the cluster confined",
        change: |template| replace_first(template, "cluster_budget", &format!("cluster_budget{{{NAMESPACE}}}")),
        killed_by: &[
            ("sum by (pod) (slots_in_use) / on () group_left () ⟦sum(cluster_budget)⟧", Unique, Hold),
            ("sum(⟨slots_in_use⟩) - sum(⟨cluster_budget⟩)", Total(StatefulSet), Hold),
        ],
    },
    Mutant {
        name: "a family of all namespaces",
        change: |template| {
            let start = template.find("queue_limit{")?;
            Some(format!("{}{}", &template[..start], without_matcher(&template[start..], NAMESPACE)?))
        },
        killed_by: &[
            ("max by (pod) (slots_in_use) / on () group_left () ⟦sum(queue_limit)⟧", Unique, Hold),
            ("sum(⟨queue_limit⟩)", Total(Deployment), Hold),
            ("sum(⟨slots_in_use⟩) / sum(⟨queue_limit⟩)", Level(StatefulSet), Hold),
        ],
    },
    Mutant {
        name: "an exporter's pod for its GPUs'",
        change: |template| replace_first(template, r#""pod", "$1""#, r#""copied", "$1""#),
        killed_by: &[
            (WATTS, Max, Hold),
            (
                "max(max by (pod) (⟨slots_in_use⟩) * on (pod) group_left () max by (pod) (⟨DCGM_FI_DEV_GPU_UTIL⟩))",
                Level(Deployment),
                Hold,
            ),
        ],
    },
    Mutant {
        name: "a family of other names by the platform's",
        change: |template| {
            let confined = replace_first(template, &format!("exported_{NAMESPACE}"), NAMESPACE)?;
            replace_first(&confined, "exported_pod=~", "pod=~")
        },
        killed_by: &[(WATTS, Max, Hold), ("avg(⟨DCGM_FI_DEV_POWER_USAGE⟩)", Level(StatefulSet), Hold)],
    },
    Mutant {
        name: "a level without its factor",
        change: |template| {
            let (before, factor) = template.split_once(" * on () count")?;
            Some(format!("{before}{}", after_operand(factor)))
        },
        killed_by: &[
            ("max(⟨slots_in_use⟩)", Level(Deployment), Hold),
            ("avg(⟨queue_depth⟩)", Level(StatefulSet), Zero),
        ],
    },
    Mutant {
        name: "a total with a factor",
        change: |template| {
            let start = template.find("slots_in_use{")?;
            let series = &template[start..=start + template[start..].find("})")?];
            let (value, stamp) = template.strip_prefix("label_replace(")?.split_once(", \"<<")?;
            let factor = format!("* on () count(count by (pod) ({series}))");
            Some(format!("label_replace(({value}) {factor}, \"<<{stamp}"))
        },
        killed_by: &[
            ("sum(⟨slots_in_use⟩)", Total(Deployment), Hold),
            ("sum(⟨slots_in_use⟩)", Total(StatefulSet), Zero),
        ],
    },
    Mutant {
        name: "series counted for pods",
        change: |template| {
            let counted = words(template, "count").nth(1)?;
            Some(format!("{}{}", &template[..counted], template[counted..].replacen("count by (pod) ", "", 1)))
        },
        killed_by: &[("max(⟨slots_in_use⟩)", Level(Deployment), Hold)],
    },
    Mutant {
        name: "a count without the author's matchers",
        change: |template| {
            let (value, factor) = template.split_once(" * on () count")?;
            Some(format!("{value} * on () count{}", without_matcher(factor, r#"pod!~".*q8zrt""#)?))
        },
        killed_by: &[(r#"max(⟨slots_in_use{pod!~".*q8zrt"}⟩)"#, Level(Deployment), Hold)],
    },
    Mutant {
        name: "pods counted of all namespaces",
        change: |template| {
            let (value, factor) = template.split_once(" * on () count")?;
            Some(format!("{value} * on () count{}", without_matcher(factor, NAMESPACE)?))
        },
        killed_by: &[("max(⟨slots_in_use⟩)", Level(Deployment), Hold)],
    },
    Mutant {
        name: "a workload of all namespaces",
        change: |template| without_matcher(template, NAMESPACE),
        killed_by: &[("sum(⟨slots_in_use⟩)", Total(Deployment), Hold), ("max(⟨queue_depth⟩)", Level(Deployment), Hold)],
    },
    Mutant {
        name: "pods counted that do not serve",
        change: |template| {
            let (value, factor) = template.split_once(" * on () count")?;
            Some(format!("{value} * on () count{}", replace_first(factor, "slots_in_use", "kube_pod_info")?))
        },
        killed_by: &[(
            "max(⟨kube_pod_info⟩ * on (pod) group_left () max by (pod) (⟨slots_in_use⟩))",
            Level(Deployment),
            Hold,
        )],
    },
    Mutant {
        name: "every name that begins so",
        change: |template| replace_first(template, SAFE, "-.*"),
        killed_by: &[("sum(⟨slots_in_use⟩)", Total(Deployment), Hold), ("max(⟨queue_depth⟩)", Level(Deployment), Hold)],
    },
    Mutant {
        name: "a Deployment's names for a StatefulSet's",
        change: |template| replace_first(template, ORDINAL, SAFE),
        killed_by: &[("sum(⟨slots_in_use⟩)", Total(StatefulSet), Hold)],
    },
    Mutant {
        name: "a Job's pod",
        change: |template| replace_first(template, SAFE, "-[a-z0-9]{1,10}-[a-z0-9]{5}"),
        killed_by: &[("sum(⟨slots_in_use⟩)", Total(Deployment), Hold)],
    },
    Mutant {
        name: "no stamp",
        change: |template| Some(template.strip_prefix("label_replace(")?.split_once(", \"<<")?.0.to_owned()),
        killed_by: &[
            ("sum(⟨slots_in_use⟩)", Total(Deployment), Hold),
            ("max(⟨queue_depth⟩)", Level(StatefulSet), Zero),
        ],
    },
];
