//! Say what is known of a metric family by its name.

/// The suffix by which a name is a counter's, if it has one.
pub fn counter_suffix(name: &str) -> Option<&'static str> {
    ["_total", "_count", "_sum", "_bucket"].into_iter().find(|suffix| name.ends_with(suffix))
}

/// True for a name that is known to be a gauge's: of NIM, vLLM, SGLang, Triton and DCGM.
pub fn is_gauge(name: &str) -> bool {
    let name = name.strip_prefix("vllm:").or_else(|| name.strip_prefix("sglang:")).unwrap_or(name);
    GAUGES.binary_search(&name).is_ok()
}

/// Sorted. Names of vLLM and SGLang stand without their prefix.
const GAUGES: &[&str] = &[
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_MEM_COPY_UTIL",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_PROF_DRAM_ACTIVE",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
    "DCGM_FI_PROF_PCIE_RX_BYTES",
    "DCGM_FI_PROF_PCIE_TX_BYTES",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "cache_hit_rate",
    "cpu_cache_usage_perc",
    "gen_throughput",
    "gpu_cache_usage_perc",
    "gpu_memory_used_bytes",
    "gpu_power_usage_watts",
    "gpu_utilization",
    "kv_cache_usage_perc",
    "kv_cache_utilization",
    "num_queue_reqs",
    "num_request_max",
    "num_requests_running",
    "num_requests_swapped",
    "num_requests_waiting",
    "num_running_reqs",
    "nv_gpu_utilization",
    "nv_trt_llm_kv_cache_block_metrics",
    "nv_trt_llm_request_metrics",
    "token_usage",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_known_with_and_without_their_servers_prefix() {
        assert!(GAUGES.is_sorted());
        assert!(is_gauge("gpu_cache_usage_perc") && is_gauge("vllm:num_requests_waiting"));
        assert!(!is_gauge("request_success_total"));
        assert_eq!(counter_suffix("x_bucket"), Some("_bucket"));
    }
}
