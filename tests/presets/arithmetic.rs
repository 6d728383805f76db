//! What the built-in metrics say of one exposition, in plain arithmetic on its text.

use super::exposition::Series;

/// A family, and the label that one of its series must have.
type Family = (&'static str, Option<(&'static str, &'static str)>);

/// By preset, in the order in which the first that a pod has counts.
const KV_CACHE: &[Family] = &[
    ("gpu_cache_usage_perc", None),
    ("vllm:kv_cache_usage_perc", None),
    ("vllm:gpu_cache_usage_perc", None),
    ("kv_cache_utilization", None),
    ("nv_trt_llm_kv_cache_block_metrics", Some(("kv_cache_block_type", "fraction"))),
    ("sglang:token_usage", None),
];
const QUEUE_DEPTH: &[Family] = &[
    ("num_requests_waiting", None),
    ("vllm:num_requests_waiting", None),
    ("nv_trt_llm_request_metrics", Some(("request_type", "waiting"))),
    ("sglang:num_queue_reqs", None),
];
const TTFT: &[Family] = &[
    ("time_to_first_token_seconds_bucket", None),
    ("vllm:time_to_first_token_seconds_bucket", None),
    ("trtllm_time_to_first_token_seconds_bucket", None),
    ("sglang:time_to_first_token_seconds_bucket", None),
];

/// The value of a preset, if the exposition has one of its families, while all that counts grows at one pace.
pub fn value(preset: &str, series: &[Series]) -> Option<f64> {
    match preset {
        "kv-cache" => first(KV_CACHE, series).map(|family| values(&family).fold(f64::NEG_INFINITY, f64::max)),
        "queue-depth" => first(QUEUE_DEPTH, series).map(|family| values(&family).sum()),
        "ttft-p95" => first(TTFT, series).map(|family| p95(&family).unwrap_or(0.0)),
        other => panic!("no arithmetic for {other}"),
    }
}

fn first<'a>(families: &[Family], series: &'a [Series]) -> Option<Vec<&'a Series>> {
    let family = |(name, label): &Family| -> Vec<_> {
        let has =
            |series: &Series| label.is_none_or(|(label, value)| series.labels.get(label).is_some_and(|v| v == value));
        series.iter().filter(|series| series.name == *name && has(series)).collect()
    };
    families.iter().map(family).find(|found| !found.is_empty())
}

fn values(family: &[&Series]) -> impl Iterator<Item = f64> {
    family.iter().map(|series| series.value)
}

/// `None` where no request was counted, or no bucket holds them all.
fn p95(family: &[&Series]) -> Option<f64> {
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for series in family {
        let edge: f64 = series.labels.get("le")?.parse().ok()?;
        match buckets.iter_mut().find(|(other, _)| *other == edge) {
            Some((_, count)) => *count += series.value,
            None => buckets.push((edge, series.value)),
        }
    }
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (last, all) = *buckets.last()?;
    if buckets.len() < 2 || last != f64::INFINITY || all == 0.0 {
        return None;
    }
    let rank = 0.95 * all;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (low, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (high, count) = buckets[at];
    // Above the last edge nothing is known but the edge.
    Some(if high == f64::INFINITY { low } else { low + (high - low) * (rank - below) / (count - below) })
}
