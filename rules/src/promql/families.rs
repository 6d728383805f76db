//! Say what is known of a metric family by its name.

use self::Kind::{Counter, Gauge, Histogram};
use self::Unit::{Microseconds, Other, Percent, Ratio, Seconds};

/// A family of NIM, vLLM, SGLang, TensorRT-LLM, Triton, Dynamo or DCGM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub kind: Kind,
    pub unit: Unit,
    /// The bucket edges below +Inf in thousandths, ascending. Empty where they are not known, or are a server's option.
    pub edges: &'static [u64],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
    /// With classic buckets: its series end in `_bucket`, `_count` and `_sum`.
    Histogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 1.
    Ratio,
    /// 0 to 100.
    Percent,
    Seconds,
    Microseconds,
    /// Requests, tokens, bytes, watts: what nothing bounds.
    Other,
}

/// Where a target stands among the edges of a histogram whose quantile it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    OnEdge,
    /// Under the lowest edge.
    Under(u64),
    /// The quantile is an estimate there.
    Between(u64, u64),
    /// Not under the highest edge, which no quantile passes; with the edge below that.
    Over {
        highest: u64,
        below: u64,
    },
}

impl Family {
    /// The highest value of its series, in thousandths.
    pub fn top(&self) -> Option<u64> {
        match self.unit {
            Ratio => Some(1000),
            Percent => Some(100_000),
            Seconds | Microseconds | Other => None,
        }
    }
}

/// What is known of a family, by its own name or by that of a series of a histogram.
pub fn family(name: &str) -> Option<&'static Family> {
    let named = |name: &str| {
        let at = FAMILIES.binary_search_by_key(&name, |(own, _)| own).ok()?;
        Some(&FAMILIES[at].1)
    };
    named(name).or_else(|| {
        let histogram = ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| name.strip_suffix(suffix))?;
        named(histogram).filter(|family| family.kind == Histogram)
    })
}

/// The suffix by which a name is a counter's, if it has one; of a counter that is known without one, its last word.
pub fn counter_suffix(name: &str) -> Option<&str> {
    let suffix = ["_total", "_count", "_sum", "_bucket"].into_iter().find(|suffix| name.ends_with(suffix));
    let last_word = || {
        family(name).filter(|family| family.kind == Counter)?;
        name.rfind('_').map(|at| &name[at..])
    };
    // A queue may be called a count: `nv_inference_pending_request_count` goes up and down.
    suffix.filter(|_| !is_gauge(name)).or_else(last_word)
}

/// True for a name that is known to be a gauge's.
pub fn is_gauge(name: &str) -> bool {
    family(name).is_some_and(|family| family.kind == Gauge)
}

/// Where a target stands among edges; `None` without edges.
pub fn stand(edges: &[u64], target: u64) -> Option<Stand> {
    let (&lowest, [.., below, highest]) = (edges.first()?, edges) else { return None };
    if target >= *highest {
        return Some(Stand::Over { highest: *highest, below: *below });
    }
    let above = edges.partition_point(|edge| *edge < target);
    Some(match (above.checked_sub(1).map(|below| edges[below]), edges[above]) {
        (_, edge) if edge == target => Stand::OnEdge,
        (Some(below), above) => Stand::Between(below, above),
        (None, _) => Stand::Under(lowest),
    })
}

/// Of two neighbours the edge to use as a target: the upper one, unless it is the top, which no quantile passes.
pub fn usable(edges: &[u64], below: u64, above: u64) -> u64 {
    if edges.last() == Some(&above) { below } else { above }
}

const NO_EDGES: &[u64] = &[];
const NIM_FIRST_TOKEN: &[u64] = &[1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000];
const NIM_BETWEEN_TOKENS: &[u64] = &[10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 2500];
const NIM_REQUEST: &[u64] = &[1000, 2500, 5000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000];
/// Of its newest versions: older ones end at 10 s, and what is over their top may be under this one.
const VLLM_FIRST_TOKEN: &[u64] = &[
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000, 20_000, 40_000, 80_000, 160_000,
    640_000, 2_560_000,
];
const VLLM_BETWEEN_TOKENS: &[u64] =
    &[10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 2500, 5000, 7500, 10_000, 20_000, 40_000, 80_000];
const VLLM_REQUEST: &[u64] = &[
    300, 500, 800, 1000, 1500, 2000, 2500, 5000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000, 120_000,
    240_000, 480_000, 960_000, 1_920_000, 7_680_000,
];

const fn gauge(unit: Unit) -> Family {
    Family { kind: Gauge, unit, edges: NO_EDGES }
}

const fn counter(unit: Unit) -> Family {
    Family { kind: Counter, unit, edges: NO_EDGES }
}

const fn histogram(unit: Unit, edges: &'static [u64]) -> Family {
    Family { kind: Histogram, unit, edges }
}

/// Sorted by name.
const FAMILIES: &[(&str, Family)] = &[
    ("DCGM_FI_DEV_DEC_UTIL", gauge(Percent)),
    ("DCGM_FI_DEV_ENC_UTIL", gauge(Percent)),
    ("DCGM_FI_DEV_FB_FREE", gauge(Other)),
    ("DCGM_FI_DEV_FB_USED", gauge(Other)),
    ("DCGM_FI_DEV_GPU_TEMP", gauge(Other)),
    ("DCGM_FI_DEV_GPU_UTIL", gauge(Percent)),
    ("DCGM_FI_DEV_MEMORY_TEMP", gauge(Other)),
    ("DCGM_FI_DEV_MEM_CLOCK", gauge(Other)),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", gauge(Percent)),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", counter(Other)),
    ("DCGM_FI_DEV_POWER_USAGE", gauge(Other)),
    ("DCGM_FI_DEV_SM_CLOCK", gauge(Other)),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", counter(Other)),
    ("DCGM_FI_PROF_DRAM_ACTIVE", gauge(Ratio)),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", gauge(Ratio)),
    ("DCGM_FI_PROF_PCIE_RX_BYTES", gauge(Other)),
    ("DCGM_FI_PROF_PCIE_TX_BYTES", gauge(Other)),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", gauge(Ratio)),
    ("DCGM_FI_PROF_SM_ACTIVE", gauge(Ratio)),
    ("DCGM_FI_PROF_SM_OCCUPANCY", gauge(Ratio)),
    ("dynamo_component_inflight_requests", gauge(Other)),
    ("dynamo_component_kvstats_active_blocks", gauge(Other)),
    ("dynamo_component_kvstats_gpu_cache_usage_percent", gauge(Ratio)),
    ("dynamo_component_kvstats_gpu_prefix_cache_hit_rate", gauge(Ratio)),
    ("dynamo_component_kvstats_total_blocks", gauge(Other)),
    ("dynamo_component_requests_total", counter(Other)),
    ("dynamo_frontend_disconnected_clients", gauge(Other)),
    ("dynamo_frontend_inflight_requests", gauge(Other)),
    ("dynamo_frontend_inter_token_latency_seconds", histogram(Seconds, NO_EDGES)),
    ("dynamo_frontend_output_tokens_total", counter(Other)),
    ("dynamo_frontend_queued_requests", gauge(Other)),
    ("dynamo_frontend_request_duration_seconds", histogram(Seconds, NO_EDGES)),
    ("dynamo_frontend_requests_total", counter(Other)),
    ("dynamo_frontend_time_to_first_token_seconds", histogram(Seconds, NO_EDGES)),
    ("e2e_request_latency_seconds", histogram(Seconds, NIM_REQUEST)),
    ("generation_tokens_total", counter(Other)),
    ("gpu_cache_usage_perc", gauge(Ratio)),
    ("gpu_memory_total_bytes", gauge(Other)),
    ("gpu_memory_used_bytes", gauge(Other)),
    ("gpu_power_limit_watts", gauge(Other)),
    ("gpu_power_usage_watts", gauge(Other)),
    ("gpu_total_energy_consumption_joules", counter(Other)),
    ("gpu_utilization", gauge(Ratio)),
    ("kv_cache_hit_rate", gauge(Ratio)),
    ("kv_cache_utilization", gauge(Ratio)),
    ("num_request_max", gauge(Other)),
    ("num_requests_running", gauge(Other)),
    ("num_requests_waiting", gauge(Other)),
    ("nv_cpu_memory_total_bytes", gauge(Other)),
    ("nv_cpu_memory_used_bytes", gauge(Other)),
    ("nv_cpu_utilization", gauge(Ratio)),
    ("nv_energy_consumption", counter(Other)),
    ("nv_gpu_memory_total_bytes", gauge(Other)),
    ("nv_gpu_memory_used_bytes", gauge(Other)),
    ("nv_gpu_power_limit", gauge(Other)),
    ("nv_gpu_power_usage", gauge(Other)),
    ("nv_gpu_utilization", gauge(Ratio)),
    ("nv_inference_compute_infer_duration_us", counter(Microseconds)),
    ("nv_inference_compute_input_duration_us", counter(Microseconds)),
    ("nv_inference_compute_output_duration_us", counter(Microseconds)),
    ("nv_inference_count", counter(Other)),
    ("nv_inference_exec_count", counter(Other)),
    ("nv_inference_pending_request_count", gauge(Other)),
    ("nv_inference_queue_duration_us", counter(Microseconds)),
    ("nv_inference_request_duration_us", counter(Microseconds)),
    ("nv_inference_request_failure", counter(Other)),
    ("nv_inference_request_success", counter(Other)),
    ("nv_trt_llm_inflight_batcher_metrics", gauge(Other)),
    ("nv_trt_llm_kv_cache_block_metrics", gauge(Other)),
    ("nv_trt_llm_request_metrics", gauge(Other)),
    ("nv_trt_llm_runtime_memory_metrics", gauge(Other)),
    ("prompt_tokens_total", counter(Other)),
    ("request_count_total", counter(Other)),
    ("request_failure_total", counter(Other)),
    ("request_finish_total", counter(Other)),
    ("request_generation_tokens", histogram(Other, NO_EDGES)),
    ("request_prompt_tokens", histogram(Other, NO_EDGES)),
    ("request_queue_time_seconds", histogram(Seconds, NO_EDGES)),
    ("request_success_total", counter(Other)),
    ("sglang:cache_hit_rate", gauge(Ratio)),
    ("sglang:e2e_request_latency_seconds", histogram(Seconds, NO_EDGES)),
    ("sglang:gen_throughput", gauge(Other)),
    ("sglang:generation_tokens_total", counter(Other)),
    ("sglang:inter_token_latency_seconds", histogram(Seconds, NO_EDGES)),
    ("sglang:num_queue_reqs", gauge(Other)),
    ("sglang:num_requests_total", counter(Other)),
    ("sglang:num_running_reqs", gauge(Other)),
    ("sglang:num_used_tokens", gauge(Other)),
    ("sglang:prompt_tokens_total", counter(Other)),
    ("sglang:queue_time_seconds", histogram(Seconds, NO_EDGES)),
    ("sglang:time_per_output_token_seconds", histogram(Seconds, NO_EDGES)),
    ("sglang:time_to_first_token_seconds", histogram(Seconds, NO_EDGES)),
    ("sglang:token_usage", gauge(Ratio)),
    ("time_per_output_token_seconds", histogram(Seconds, NIM_BETWEEN_TOKENS)),
    ("time_to_first_token_seconds", histogram(Seconds, NIM_FIRST_TOKEN)),
    ("trtllm_e2e_request_latency_seconds", histogram(Seconds, NO_EDGES)),
    ("trtllm_kv_cache_hit_rate", gauge(Ratio)),
    ("trtllm_kv_cache_utilization", gauge(Ratio)),
    ("trtllm_request_queue_time_seconds", histogram(Seconds, NO_EDGES)),
    ("trtllm_request_success_total", counter(Other)),
    ("trtllm_time_per_output_token_seconds", histogram(Seconds, NO_EDGES)),
    ("trtllm_time_to_first_token_seconds", histogram(Seconds, VLLM_FIRST_TOKEN)),
    ("vision_encoder_latency_seconds", histogram(Seconds, NO_EDGES)),
    ("vllm:avg_generation_throughput_toks_per_s", gauge(Other)),
    ("vllm:avg_prompt_throughput_toks_per_s", gauge(Other)),
    ("vllm:cpu_cache_usage_perc", gauge(Ratio)),
    ("vllm:e2e_request_latency_seconds", histogram(Seconds, VLLM_REQUEST)),
    ("vllm:generation_tokens_total", counter(Other)),
    ("vllm:gpu_cache_usage_perc", gauge(Ratio)),
    ("vllm:inter_token_latency_seconds", histogram(Seconds, VLLM_BETWEEN_TOKENS)),
    ("vllm:iteration_tokens_total", histogram(Other, NO_EDGES)),
    ("vllm:kv_cache_usage_perc", gauge(Ratio)),
    ("vllm:num_preemptions_total", counter(Other)),
    ("vllm:num_requests_running", gauge(Other)),
    ("vllm:num_requests_swapped", gauge(Other)),
    ("vllm:num_requests_waiting", gauge(Other)),
    ("vllm:num_requests_waiting_by_reason", gauge(Other)),
    ("vllm:prefix_cache_hits_total", counter(Other)),
    ("vllm:prefix_cache_queries_total", counter(Other)),
    ("vllm:prompt_tokens_total", counter(Other)),
    ("vllm:request_decode_time_seconds", histogram(Seconds, VLLM_REQUEST)),
    ("vllm:request_generation_tokens", histogram(Other, NO_EDGES)),
    ("vllm:request_inference_time_seconds", histogram(Seconds, VLLM_REQUEST)),
    ("vllm:request_prefill_time_seconds", histogram(Seconds, VLLM_REQUEST)),
    ("vllm:request_prompt_tokens", histogram(Other, NO_EDGES)),
    ("vllm:request_queue_time_seconds", histogram(Seconds, VLLM_REQUEST)),
    ("vllm:request_success_total", counter(Other)),
    ("vllm:request_time_per_output_token_seconds", histogram(Seconds, VLLM_BETWEEN_TOKENS)),
    ("vllm:time_per_output_token_seconds", histogram(Seconds, VLLM_BETWEEN_TOKENS)),
    ("vllm:time_to_first_token_seconds", histogram(Seconds, VLLM_FIRST_TOKEN)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_sorted_and_their_edges_ascend() {
        assert!(FAMILIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, family) in FAMILIES {
            assert!(family.edges.windows(2).all(|pair| pair[0] < pair[1]) && family.edges.len() != 1, "{name}");
            assert!(family.edges.is_empty() || family.kind == Histogram, "{name}");
            let counts = [
                "_total",
                "_joules",
                "_us",
                "_success",
                "_failure",
                "_count",
                "_consumption",
                "_COUNTER",
                "_CONSUMPTION",
            ];
            assert!(family.kind != Counter || counts.iter().any(|end| name.ends_with(end)), "{name}");
        }
    }

    #[test]
    fn a_name_says_what_its_series_are() {
        assert!(is_gauge("gpu_cache_usage_perc") && is_gauge("vllm:num_requests_waiting"));
        assert!(!is_gauge("request_success_total") && !is_gauge("x"));
        assert_eq!(counter_suffix("x_bucket"), Some("_bucket"));
        assert_eq!(counter_suffix("nv_inference_request_success"), Some("_success"));
        assert_eq!(counter_suffix("nv_inference_pending_request_count"), None);
        assert_eq!(counter_suffix("gpu_cache_usage_perc"), None);
        let edges = |name: &str| family(name).map(|family| family.edges);
        assert_eq!(edges("time_to_first_token_seconds_bucket"), Some(NIM_FIRST_TOKEN));
        assert_eq!(edges("vllm:e2e_request_latency_seconds_sum"), Some(VLLM_REQUEST));
        assert_eq!(edges("time_to_first_token_seconds_created"), None);
        assert_eq!(edges("gpu_cache_usage_perc_sum"), None, "a gauge has no sum");
        assert_eq!(family("DCGM_FI_DEV_GPU_UTIL").and_then(Family::top), Some(100_000));
        assert_eq!(family("sglang:token_usage").and_then(Family::top), Some(1000));
        assert_eq!(family("num_requests_waiting").and_then(Family::top), None);
    }

    #[test]
    fn a_target_stands_on_an_edge_or_off_the_edges() {
        let stand = |target| stand(&[100, 250, 1000], target);
        assert_eq!(stand(50), Some(Stand::Under(100)));
        assert_eq!(stand(100), Some(Stand::OnEdge));
        assert_eq!(stand(101), Some(Stand::Between(100, 250)));
        assert_eq!(stand(999), Some(Stand::Between(250, 1000)));
        assert_eq!(stand(1000), Some(Stand::Over { highest: 1000, below: 250 }));
        assert_eq!(super::stand(&[], 1), None);
    }
}
