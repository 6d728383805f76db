//! Say which values an expression can have at all, where its families tell, and whether a target is one of them.
//!
//! Only roots whose value surely is a family's own are known: a selector, what picks or averages its samples, a factor on
//! them, a quantile of its buckets. A sum has no top.

use super::families::{Family, Kind, Stand, family, stand, usable};
use super::node::{Aggregate, Aggregator, Binary, BinaryOp, Node, NodeKind, Selector};
use crate::findings::{Code, Finding, cut};
use crate::place::Place;
use crate::quantity::Milli;

/// What the values of an expression are bounded by.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// The first of its families.
    metric: String,
    /// What the family's values are multiplied with.
    scale: f64,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// The highest value, in thousandths.
    Top(u64),
    /// The bucket edges of a quantile, in thousandths.
    Edges(&'static [u64]),
}

/// The values that an expression can have; `None` where nothing is known.
pub fn reach(node: &Node) -> Option<Reach> {
    match &node.kind {
        NodeKind::Selector(selector) | NodeKind::Range { selector, .. } => of_selector(selector),
        NodeKind::Subquery { inner, .. } => reach(inner),
        NodeKind::Binary(binary) => of_binary(binary),
        NodeKind::Aggregate(Aggregate { op, param, inner, .. }) => match op {
            Aggregator::Max
            | Aggregator::Min
            | Aggregator::Avg
            | Aggregator::Topk
            | Aggregator::Bottomk
            | Aggregator::Limitk
            | Aggregator::LimitRatio => reach(inner),
            Aggregator::Quantile => reach(inner).filter(|_| param.as_deref().is_some_and(is_share)),
            Aggregator::Sum
            | Aggregator::Count
            | Aggregator::Group
            | Aggregator::Stddev
            | Aggregator::Stdvar
            | Aggregator::CountValues => None,
        },
        NodeKind::Call { function, args } => match (function.name, &args[..]) {
            ("max_over_time" | "min_over_time" | "avg_over_time" | "last_over_time", [inner]) => reach(inner),
            ("sort" | "sort_desc" | "clamp_max" | "label_replace" | "label_join", [inner, ..]) => reach(inner),
            ("quantile_over_time", [quantile, inner]) if is_share(quantile) => reach(inner),
            ("histogram_quantile", [quantile, inner]) if is_share(quantile) => of_buckets(inner),
            _ => None,
        },
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Negate(_) => None,
    }
}

impl Reach {
    /// What is wrong with a target that stands at `place`.
    pub fn finding(&self, target: Milli, place: &Place) -> Option<Finding> {
        let (code, message, meant) = match self.bound {
            Bound::Top(top) => self.under_the_top(target, top)?,
            Bound::Edges(edges) => self.among_edges(target, edges)?,
        };
        let help = meant.map_or_else(|| "multiply both sides of \"<\"".to_owned(), |meant| meant.to_string());
        Some(Finding::new(code, place.clone(), message).help(help))
    }

    fn under_the_top(&self, target: Milli, top: u64) -> Option<(Code, String, Option<Milli>)> {
        let metric = cut(&self.metric, 50);
        let meant = self.value(top * 9 / 10);
        // The target in the family's own unit, and ten times as fine.
        let own = (target.thousandths() as f64 / self.scale * 10.0).round() as u64;
        if own >= top * 10 {
            let percent = Milli::from_thousandths(target.thousandths() / 100)
                .filter(|percent| percent.thousandths() * 100 == target.thousandths() && percent.thousandths() <= 909);
            let is_ratio = self.value(top) == Milli::from_thousandths(1000) && own > top * 10;
            let message = format!("{metric} is at most {} here: no value passes {target}", self.shown(top));
            return Some((Code::Ns0375, message, percent.filter(|_| is_ratio).or(meant)));
        }
        // Top / 1.1: from here on the HPA's tolerance of 10 % hides that the top is reached.
        (own * 11 >= top * 100).then(|| {
            let message = format!("over 90.9 % of {metric}'s top the HPA's 10 % tolerance never lets it scale up");
            (Code::Ns0216, message, meant)
        })
    }

    fn among_edges(&self, target: Milli, edges: &[u64]) -> Option<(Code, String, Option<Milli>)> {
        let metric = cut(&self.metric, 50);
        let own = (target.thousandths() as f64 / self.scale).round() as u64;
        match stand(edges, own)? {
            Stand::OnEdge => None,
            Stand::Over { highest, below } => {
                let highest = self.shown(highest);
                let message = format!("the quantile ends at {highest}, {metric}'s top edge: no value passes {target}");
                Some((Code::Ns0375, message, self.value(below)))
            }
            Stand::Between(below, above) => {
                let (low, high) = (self.shown(below), self.shown(above));
                let message = format!("{target} lies between {metric}'s edges {low} and {high}");
                Some((Code::Ns0217, message, self.value(usable(edges, below, above))))
            }
            Stand::Under(lowest) => {
                let message = format!("{target} lies under {}, {metric}'s lowest edge", self.shown(lowest));
                Some((Code::Ns0217, message, self.value(lowest)))
            }
        }
    }

    /// A value of the family, in thousandths, as the expression has it.
    fn value(&self, thousandths: u64) -> Option<Milli> {
        Milli::from_thousandths((thousandths as f64 * self.scale).round() as u64)
    }

    fn shown(&self, thousandths: u64) -> String {
        self.value(thousandths).map_or_else(|| "0".to_owned(), |value| value.to_string())
    }

    fn times(self, factor: f64) -> Option<Self> {
        let scale = self.scale * factor;
        (factor > 0.0 && scale.is_finite()).then_some(Self { scale, ..self })
    }

    /// Bounded alike, whatever the families are called.
    fn is_like(&self, other: &Self) -> bool {
        (self.scale, self.bound) == (other.scale, other.bound)
    }
}

fn of_selector(selector: &Selector) -> Option<Reach> {
    let family = family(&selector.name).filter(|family| family.kind == Kind::Gauge)?;
    Some(Reach { metric: selector.name.clone(), scale: 1.0, bound: Bound::Top(family.top()?) })
}

/// Whatever is done to buckets of one set of edges, their quantile lies among these edges.
fn of_buckets(buckets: &Node) -> Option<Reach> {
    let selectors = buckets.selectors();
    let edges = |selector: &&Selector| {
        let family: &Family = family(selector.name.strip_suffix("_bucket")?)?;
        (!family.edges.is_empty()).then_some(family.edges)
    };
    let first = selectors.first()?;
    let metric = first.name.strip_suffix("_bucket")?.to_owned();
    let bound = edges(first)?;
    let alike = selectors.iter().all(|selector| edges(selector) == Some(bound));
    alike.then_some(Reach { metric, scale: 1.0, bound: Bound::Edges(bound) })
}

fn of_binary(binary: &Binary) -> Option<Reach> {
    let number = |node: &Node| {
        let NodeKind::Number(number) = node.kind else { return None };
        Some(number.0)
    };
    let (lhs, rhs) = (&*binary.lhs, &*binary.rhs);
    match binary.op {
        BinaryOp::Mul => match (number(lhs), number(rhs)) {
            (Some(factor), None) => reach(rhs)?.times(factor),
            (None, Some(factor)) => reach(lhs)?.times(factor),
            (Some(_), Some(_)) | (None, None) => None,
        },
        BinaryOp::Div => reach(lhs)?.times(1.0 / number(rhs)?),
        BinaryOp::And | BinaryOp::Unless => reach(lhs),
        // A side may answer where the other is missing.
        BinaryOp::Or => reach(lhs).filter(|lhs| reach(rhs).is_some_and(|rhs| lhs.is_like(&rhs))),
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual => reach(lhs).filter(|_| !binary.returns_bool),
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Atan2 => None,
    }
}

/// A quantile that is one: over 1 it is +Inf.
fn is_share(quantile: &Node) -> bool {
    matches!(quantile.kind, NodeKind::Number(quantile) if (0.0..=1.0).contains(&quantile.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Span;
    use crate::promql::{Limits, read};

    fn told(text: &str, thousandths: u64) -> Option<(&'static str, String)> {
        let node = read(text, &Limits::AUTHOR).expect("an expression");
        let target = Milli::from_thousandths(thousandths).expect("a target");
        let finding = reach(&node)?.finding(target, &Place::of_text(Span::default()))?;
        assert!(finding.message.chars().count() <= 113, "{}", finding.message);
        Some((finding.code.as_str(), finding.help.expect("what to type")))
    }

    #[test]
    fn what_is_known_is_the_familys_own_value_and_no_sum() {
        for (text, known) in [
            ("gpu_cache_usage_perc", true),
            ("max by (pod) (avg_over_time(gpu_cache_usage_perc{a=\"b\"}[2m]))", true),
            ("quantile by (pod) (0.9, gpu_cache_usage_perc)", true),
            ("quantile by (pod) (9, gpu_cache_usage_perc)", false),
            ("100 * DCGM_FI_PROF_GR_ENGINE_ACTIVE / 2", true),
            ("gpu_cache_usage_perc * -1", false),
            ("gpu_cache_usage_perc / num_requests_running", false),
            ("1 / gpu_cache_usage_perc", false),
            ("gpu_cache_usage_perc > 0.1 and num_requests_running", true),
            ("gpu_cache_usage_perc > bool 0.1", false),
            ("gpu_cache_usage_perc or vllm:kv_cache_usage_perc", true),
            ("gpu_cache_usage_perc or num_requests_running", false),
            ("gpu_cache_usage_perc or DCGM_FI_DEV_GPU_UTIL", false),
            ("gpu_cache_usage_perc or DCGM_FI_DEV_GPU_UTIL / 100", false),
            ("sum by (pod) (gpu_cache_usage_perc)", false),
            ("rate(gpu_cache_usage_perc[2m])", false),
            ("sum_over_time(gpu_cache_usage_perc[2m])", false),
            ("max_over_time(max by (pod) (gpu_cache_usage_perc)[5m:30s])", true),
            ("num_requests_waiting", false),
            ("e2e_request_latency_seconds_sum", false),
            ("histogram_quantile(0.9, sum by (le, pod) (rate(e2e_request_latency_seconds_bucket[2m])))", true),
            ("histogram_quantile(0.9, rate(e2e_request_latency_seconds_bucket[2m])) * 1000", true),
            ("histogram_quantile(1.9, rate(e2e_request_latency_seconds_bucket[2m]))", false),
            ("histogram_quantile(0.9, rate(dynamo_frontend_request_duration_seconds_bucket[2m]))", false),
            ("histogram_quantile(0.9, rate(e2e_request_latency_seconds[2m]))", false),
            (
                "histogram_quantile(0.9, e2e_request_latency_seconds_bucket + vllm:e2e_request_latency_seconds_bucket)",
                false,
            ),
        ] {
            let node = read(text, &Limits::AUTHOR).expect("an expression");
            assert_eq!(reach(&node).is_some(), known, "{text}");
        }
    }

    #[test]
    fn a_target_over_the_top_is_told_what_to_type() {
        let some = |code, help: &str| Some((code, help.to_owned()));
        assert_eq!(told("gpu_cache_usage_perc", 750), None);
        assert_eq!(told("gpu_cache_usage_perc", 909), None);
        assert_eq!(told("gpu_cache_usage_perc", 910), some("NS0216", "0.9"));
        assert_eq!(told("gpu_cache_usage_perc", 1000), some("NS0375", "0.9"));
        assert_eq!(told("gpu_cache_usage_perc", 75_000), some("NS0375", "0.75"));
        assert_eq!(told("gpu_cache_usage_perc", 95_000), some("NS0375", "0.9"));
        assert_eq!(told("DCGM_FI_DEV_GPU_UTIL", 75_000), None);
        assert_eq!(told("DCGM_FI_DEV_GPU_UTIL", 90_909), None);
        assert_eq!(told("DCGM_FI_DEV_GPU_UTIL", 90_910), some("NS0216", "90"));
        assert_eq!(told("DCGM_FI_DEV_GPU_UTIL", 750_000), some("NS0375", "90"));
        assert_eq!(told("DCGM_FI_DEV_GPU_UTIL / 100", 75_000), some("NS0375", "0.75"));
        assert_eq!(told("gpu_cache_usage_perc * 100", 75_000), None);
        assert_eq!(told("gpu_cache_usage_perc * 100", 91_000), some("NS0216", "90"));
        assert_eq!(told("gpu_cache_usage_perc * 100", 100_000), some("NS0375", "90"));
        assert_eq!(told("gpu_cache_usage_perc / 1000000", 1), some("NS0375", "multiply both sides of \"<\""));
    }

    #[test]
    fn a_quantiles_target_is_told_the_edges() {
        let some = |code, help: &str| Some((code, help.to_owned()));
        let quantile = "histogram_quantile(0.95, sum by (le, pod) (rate(time_to_first_token_seconds_bucket[2m])))";
        assert_eq!(told(quantile, 2500), None);
        assert_eq!(told(quantile, 2000), some("NS0217", "2.5"));
        assert_eq!(told(quantile, 9000), some("NS0217", "7.5"), "the top edge itself is never passed");
        assert_eq!(told(quantile, 10_000), some("NS0375", "7.5"));
        assert_eq!(told(&format!("{quantile} * 1000"), 2_000_000), some("NS0217", "2500"));
        assert_eq!(told(&format!("{quantile} * 1000"), 250_000), None);
        assert_eq!(told(&quantile.replace("time_to", "vllm:time_to"), 20_000_000), some("NS0375", "640"));
        assert_eq!(told(&quantile.replace("time_to_first", "time_per_output"), 5), some("NS0217", "0.01"));
    }
}
