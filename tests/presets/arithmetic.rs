//! What the built-in metrics say of one exposition, in plain arithmetic on its text.

use std::collections::BTreeMap;

use super::exposition::{GROWS_IN, Series};

/// A family, and the label that one of its series must have.
type Family = (&'static str, Option<(&'static str, &'static str)>);

/// By preset, in the order in which the first that a pod has counts.
const KV_CACHE: &[Family] = &[
    ("gpu_cache_usage_perc", None),
    ("vllm:kv_cache_usage_perc", None),
    ("vllm:gpu_cache_usage_perc", None),
    ("kv_cache_utilization", None),
    ("trtllm_kv_cache_utilization", None),
    ("nv_trt_llm_kv_cache_block_metrics", Some(("kv_cache_block_type", "fraction"))),
    ("sglang:token_usage", None),
    ("dynamo_component_kvstats_gpu_cache_usage_percent", None),
];
const QUEUE_DEPTH: &[Family] = &[
    ("num_requests_waiting", None),
    ("vllm:num_requests_waiting", None),
    ("nv_trt_llm_request_metrics", Some(("request_type", "waiting"))),
    ("sglang:num_queue_reqs", None),
    ("nv_inference_pending_request_count", None),
    ("dynamo_frontend_queued_requests", None),
];
const RUNNING: &[Family] = &[
    ("num_requests_running", None),
    ("vllm:num_requests_running", None),
    ("nv_trt_llm_request_metrics", Some(("request_type", "scheduled"))),
    ("sglang:num_running_reqs", None),
    ("dynamo_component_inflight_requests", None),
    ("dynamo_frontend_inflight_requests", None),
];
const RPS: &[Family] = &[
    ("request_success_total", None),
    ("vllm:request_success_total", None),
    ("trtllm_request_success_total", None),
    ("sglang:num_requests_total", None),
    ("request_count_total", None),
    (TRITON_REQUESTS, None),
    ("dynamo_component_requests_total", None),
    ("dynamo_frontend_request_duration_seconds_count", None),
];
const TTFT: &[Family] = &[
    ("time_to_first_token_seconds_bucket", None),
    ("vllm:time_to_first_token_seconds_bucket", None),
    ("trtllm_time_to_first_token_seconds_bucket", None),
    ("sglang:time_to_first_token_seconds_bucket", None),
    ("dynamo_frontend_time_to_first_token_seconds_bucket", None),
];
const ITL: &[Family] = &[
    ("time_per_output_token_seconds_bucket", None),
    ("vllm:inter_token_latency_seconds_bucket", None),
    ("vllm:time_per_output_token_seconds_bucket", None),
    ("trtllm_time_per_output_token_seconds_bucket", None),
    ("sglang:inter_token_latency_seconds_bucket", None),
    ("sglang:time_per_output_token_seconds_bucket", None),
    ("dynamo_frontend_inter_token_latency_seconds_bucket", None),
];
const E2E: &[Family] = &[
    ("e2e_request_latency_seconds_bucket", None),
    ("vllm:e2e_request_latency_seconds_bucket", None),
    ("trtllm_e2e_request_latency_seconds_bucket", None),
    ("sglang:e2e_request_latency_seconds_bucket", None),
    ("dynamo_frontend_request_duration_seconds_bucket", None),
];
/// Histograms of the time in the queue.
const QUEUE_TIME: &[&str] = &[
    "vllm:request_queue_time_seconds",
    "trtllm_request_queue_time_seconds",
    "request_queue_time_seconds",
    "sglang:queue_time_seconds",
];
const TRITON_REQUESTS: &str = "nv_inference_request_success";
const TRITON_QUEUE: &str = "nv_inference_queue_duration_us";

/// The value of a preset, if the exposition has one of its families, while all that counts grows at one pace.
pub fn value(preset: &str, series: &[Series]) -> Option<f64> {
    match preset {
        "kv-cache" => first(KV_CACHE, series).map(|family| highest(values(&family))),
        "queue-depth" => first(QUEUE_DEPTH, series).map(|family| sum_over_groups(&family)),
        "running" => first(RUNNING, series).map(|family| sum_over_groups(&family)),
        "rps" => first(RPS, series).map(|family| rate(&family)),
        "ttft-p95" => first(TTFT, series).map(|family| p95(&family).unwrap_or(0.0)),
        "itl-p95" => first(ITL, series).map(|family| p95(&family).unwrap_or(0.0)),
        "e2e-p95" => first(E2E, series).map(|family| p95(&family).unwrap_or(0.0)),
        "gpu-util" => gpu_util(series),
        "queue-time" => queue_time(series),
        other => panic!("no arithmetic for {other}"),
    }
}

fn first<'a>(families: &[Family], series: &'a [Series]) -> Option<Vec<&'a Series>> {
    let family = |(name, label): &Family| -> Vec<_> {
        let has =
            |series: &Series| label.is_none_or(|(label, value)| series.labels.get(label).is_some_and(|v| v == value));
        named(name, series).into_iter().filter(|series| has(series)).collect()
    };
    families.iter().map(family).find(|found| !found.is_empty())
}

fn named<'a>(name: &str, series: &'a [Series]) -> Vec<&'a Series> {
    series.iter().filter(|series| series.name == name).collect()
}

fn values(family: &[&Series]) -> impl Iterator<Item = f64> {
    family.iter().map(|series| series.value)
}

fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

/// The ranks of a tensor show what is their group's.
fn sum_over_groups(family: &[&Series]) -> f64 {
    let mut groups: BTreeMap<Vec<(&String, &String)>, f64> = BTreeMap::new();
    for series in family {
        let group = series.labels.iter().filter(|(label, _)| !["tp_rank", "pp_rank"].contains(&label.as_str()));
        let group = groups.entry(group.collect()).or_insert(series.value);
        *group = group.max(series.value);
    }
    groups.into_values().sum()
}

fn rate(family: &[&Series]) -> f64 {
    let of_triton = family.iter().any(|series| series.name == TRITON_REQUESTS);
    (if of_triton { highest(values(family)) } else { values(family).sum() }) / GROWS_IN
}

fn gpu_util(series: &[Series]) -> Option<f64> {
    let known = |name: &str| -> Vec<f64> { values(&named(name, series)).filter(|value| *value <= 100.0).collect() };
    let shares = [
        ("gpu_utilization", 1.0),
        ("nv_gpu_utilization", 1.0),
        ("DCGM_FI_DEV_GPU_UTIL", 100.0),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.0),
    ];
    let shares = shares.into_iter().map(|(name, whole)| (known(name), whole));
    let (values, whole) = shares.into_iter().find(|(values, _)| !values.is_empty())?;
    Some(highest(values.into_iter()) / whole)
}

fn queue_time(series: &[Series]) -> Option<f64> {
    const BOUND: f64 = 10_000.0;
    let read = |mean: f64| if mean.is_nan() { 0.0 } else { mean.min(BOUND) };
    for name in QUEUE_TIME {
        let [sum, count] = ["sum", "count"].map(|part| named(&format!("{name}_{part}"), series));
        if !sum.is_empty() && !count.is_empty() {
            return Some(read(values(&sum).sum::<f64>() / values(&count).sum::<f64>()));
        }
    }
    let requests = named(TRITON_REQUESTS, series);
    let waits = named(TRITON_QUEUE, series).into_iter().filter_map(|queue| {
        let requests = requests.iter().find(|requests| requests.labels == queue.labels)?;
        Some(queue.value / requests.value / 1e6)
    });
    waits.reduce(f64::max).map(read)
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
