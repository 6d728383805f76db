//! The servers that the built-in metrics know, two pods each, and what the metrics say of them, worked out by hand.

use super::exposition::Traffic::{self, Flows, Idle};

pub struct Server {
    /// Also the namespace. The pods are `nim-0`, `nim-1` in each, so that a pod has a namesake everywhere else.
    pub name: &'static str,
    pub pods: [Shown; 2],
}

pub struct Shown {
    pub traffic: Traffic,
    pub text: &'static str,
    /// In the order of [`super::PRESETS`]; `None` where the pod must be missing.
    pub values: [Option<f64>; 3],
}

/// Where a quantile stands, all buckets grow at one pace: a rate is its bucket times a constant, which falls out. `rank`
/// is 0.95 × all, and the quantile lies in the first bucket that holds it, as far in as the rank is.
pub const SERVERS: &[Server] = &[
    Server {
        name: "nim-1",
        pods: [
            Shown {
                traffic: Flows,
                text: r#"
                    # TYPE gpu_cache_usage_perc gauge
                    gpu_cache_usage_perc{model_name="meta/llama"} 0.25
                    num_requests_running{model_name="meta/llama"} 32
                    num_requests_waiting{model_name="meta/llama"} 3.0
                    time_to_first_token_seconds_bucket{le="0.1",model_name="meta/llama"} 60.0
                    time_to_first_token_seconds_bucket{le="0.25",model_name="meta/llama"} 90.0
                    time_to_first_token_seconds_bucket{le="0.5",model_name="meta/llama"} 100.0
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 100.0
                "#,
                // rank 95: 0.25 + (0.5 - 0.25) × (95 - 90) / (100 - 90)
                values: [Some(0.25), Some(3.0), Some(0.375)],
            },
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_cache_usage_perc{model_name="meta/llama"} 0.875
                    num_requests_waiting{model_name="meta/llama"} 1.1e+001
                    time_to_first_token_seconds_bucket{le="0.25",model_name="meta/llama"} 0.0
                    time_to_first_token_seconds_bucket{le="0.5",model_name="meta/llama"} 10.0
                    time_to_first_token_seconds_bucket{le="1.0",model_name="meta/llama"} 20.0
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 20.0
                "#,
                // rank 19: 0.5 + (1 - 0.5) × (19 - 10) / (20 - 10)
                values: [Some(0.875), Some(11.0), Some(0.95)],
            },
        ],
    },
    Server {
        name: "nim-1-two-models",
        pods: [
            // The fuller model, both queues, the requests of both: le 0.5 holds 60 + 30, le 1 holds 60 + 40.
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_cache_usage_perc{model_name="base"} 0.5
                    gpu_cache_usage_perc{model_name="lora"} 0.625
                    num_requests_waiting{model_name="base"} 4
                    num_requests_waiting{model_name="lora"} 5
                    time_to_first_token_seconds_bucket{le="0.5",model_name="base"} 60
                    time_to_first_token_seconds_bucket{le="1",model_name="base"} 60
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="base"} 60
                    time_to_first_token_seconds_bucket{le="0.5",model_name="lora"} 30
                    time_to_first_token_seconds_bucket{le="1",model_name="lora"} 40
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="lora"} 40
                "#,
                // rank 95: 0.5 + (1 - 0.5) × (95 - 90) / (100 - 90)
                values: [Some(0.625), Some(9.0), Some(0.75)],
            },
            // Slower than the last edge: the edge.
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_cache_usage_perc{model_name="base"} 1
                    gpu_cache_usage_perc{model_name="lora"} 0
                    num_requests_waiting{model_name="base"} 0
                    num_requests_waiting{model_name="lora"} 64
                    time_to_first_token_seconds_bucket{le="7.5",model_name="lora"} 0
                    time_to_first_token_seconds_bucket{le="10",model_name="lora"} 8
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="lora"} 40
                "#,
                values: [Some(1.0), Some(64.0), Some(10.0)],
            },
        ],
    },
    Server {
        name: "idle-and-missing",
        pods: [
            // It has served; nobody has come for two minutes.
            Shown {
                traffic: Idle,
                text: r#"
                    gpu_cache_usage_perc{model_name="meta/llama"} 0
                    num_requests_waiting{model_name="meta/llama"} 0
                    time_to_first_token_seconds_bucket{le="0.5",model_name="meta/llama"} 70
                    time_to_first_token_seconds_bucket{le="10",model_name="meta/llama"} 71
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 72
                "#,
                values: [Some(0.0), Some(0.0), Some(0.0)],
            },
            // An embedding NIM.
            Shown {
                traffic: Flows,
                text: r#"
                    request_success_total{model_name="embed"} 12
                    process_resident_memory_bytes 1.5e9
                    e2e_request_latency_seconds_bucket{le="1",model_name="embed"} 12
                    e2e_request_latency_seconds_bucket{le="+Inf",model_name="embed"} 12
                "#,
                values: [None, None, None],
            },
        ],
    },
    Server {
        name: "nim-2-vllm",
        pods: [
            // The old names beside the new ones, of the same engine: said once.
            Shown {
                traffic: Flows,
                text: r#"
                    num_request_max{model_name="gemma"} 256
                    gpu_cache_usage_perc{model_name="gemma"} 0.375
                    vllm:kv_cache_usage_perc{engine="0",model_name="gemma"} 0.375
                    num_requests_waiting{model_name="gemma"} 6
                    vllm:num_requests_waiting{engine="0",model_name="gemma"} 6
                    time_to_first_token_seconds_bucket{le="0.5",model_name="gemma"} 10
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="gemma"} 10
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="gemma"} 10
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 10
                "#,
                // rank 9.5: 0 + (0.5 - 0) × 9.5 / 10
                values: [Some(0.375), Some(6.0), Some(0.475)],
            },
            // One old name alone: the other metrics come by the new ones.
            Shown {
                traffic: Flows,
                text: r#"
                    num_requests_waiting{model_name="gemma"} 2
                    vllm:kv_cache_usage_perc{engine="0",model_name="gemma"} 0.75
                    vllm:num_requests_waiting{engine="0",model_name="gemma"} 2
                    vllm:num_requests_waiting_by_reason{engine="0",model_name="gemma",reason="capacity"} 2
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="20.0",model_name="gemma"} 0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="40.0",model_name="gemma"} 4
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 4
                "#,
                // rank 3.8: 20 + (40 - 20) × 3.8 / 4
                values: [Some(0.75), Some(2.0), Some(39.0)],
            },
        ],
    },
    Server {
        name: "vllm",
        pods: [
            // Two engines: the fuller one, both queues, the requests of both.
            Shown {
                traffic: Flows,
                text: r#"
                    vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} 0.5
                    vllm:kv_cache_usage_perc{engine="1",model_name="qwen"} 0.25
                    vllm:num_requests_waiting{engine="0",model_name="qwen"} 2.0
                    vllm:num_requests_waiting{engine="1",model_name="qwen"} 5.0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="0.04",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="0.08",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="1",le="0.04",model_name="qwen"} 30.0
                    vllm:time_to_first_token_seconds_bucket{engine="1",le="0.08",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="qwen"} 50.0
                "#,
                // rank 95: 0.04 + (0.08 - 0.04) × (95 - 80) / (100 - 80)
                values: [Some(0.5), Some(7.0), Some(0.07)],
            },
            // Before the cache got its new name.
            Shown {
                traffic: Flows,
                text: r#"
                    vllm:gpu_cache_usage_perc{model_name="qwen"} 0.125
                    vllm:num_requests_waiting{model_name="qwen"} 40.0
                    vllm:num_requests_swapped{model_name="qwen"} 3.0
                    vllm:time_to_first_token_seconds_bucket{le="0.001",model_name="qwen"} 0.0
                    vllm:time_to_first_token_seconds_bucket{le="0.005",model_name="qwen"} 0.0
                    vllm:time_to_first_token_seconds_bucket{le="+Inf",model_name="qwen"} 0.0
                "#,
                // Nobody was served yet.
                values: [Some(0.125), Some(40.0), Some(0.0)],
            },
        ],
    },
    Server {
        name: "triton-trtllm",
        pods: [
            // Its families hold many things by label; only one of each is meant. It measures no time to first token.
            Shown {
                traffic: Flows,
                text: r#"
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.625
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 3900
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 6239
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 17
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 81
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
                "#,
                values: [Some(0.625), Some(17.0), None],
            },
            Shown {
                traffic: Flows,
                text: r#"
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="draft",version="1"} 0.5
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="target",version="1"} 0.75
                    nv_trt_llm_request_metrics{model="draft",request_type="waiting",version="1"} 1
                    nv_trt_llm_request_metrics{model="target",request_type="waiting",version="1"} 8
                    nv_trt_llm_request_metrics{model="target",request_type="context",version="1"} 2
                "#,
                values: [Some(0.75), Some(9.0), None],
            },
        ],
    },
    Server {
        name: "trtllm-serve",
        pods: [
            // It has no gauge of its queue.
            Shown {
                traffic: Flows,
                text: r#"
                    kv_cache_utilization{engine_type="trtllm",model_name="qwen"} 0.3125
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="0.02",model_name="qwen"} 0.0
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="0.04",model_name="qwen"} 50.0
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="0.06",model_name="qwen"} 100.0
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="+Inf",model_name="qwen"} 100.0
                "#,
                // rank 95: 0.04 + (0.06 - 0.04) × (95 - 50) / (100 - 50)
                values: [Some(0.3125), None, Some(0.058)],
            },
            Shown {
                traffic: Idle,
                text: r#"
                    kv_cache_utilization{engine_type="trtllm",model_name="qwen"} 0
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="0.04",model_name="qwen"} 2.0
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="+Inf",model_name="qwen"} 2.0
                "#,
                values: [Some(0.0), None, Some(0.0)],
            },
        ],
    },
    Server {
        name: "sglang",
        pods: [
            Shown {
                traffic: Flows,
                text: r#"
                    sglang:token_usage{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="0"} 0.25
                    sglang:num_queue_reqs{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="0"} 12.0
                    sglang:num_running_reqs{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="0"} 48.0
                    sglang:time_to_first_token_seconds_bucket{le="1.0",model_name="llama"} 90.0
                    sglang:time_to_first_token_seconds_bucket{le="3.0",model_name="llama"} 95.0
                    sglang:time_to_first_token_seconds_bucket{le="5.0",model_name="llama"} 100.0
                    sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="llama"} 200.0
                "#,
                // rank 190, above the last edge
                values: [Some(0.25), Some(12.0), Some(5.0)],
            },
            // Two ranks: what shows itself is the first rank of a data-parallel group, which has a queue and a cache of
            // its own; the ranks below it repeat them and are silent.
            Shown {
                traffic: Flows,
                text: r#"
                    sglang:token_usage{dp_rank="0",model_name="llama",pp_rank="0",tp_rank="0"} 0.5
                    sglang:token_usage{dp_rank="1",model_name="llama",pp_rank="0",tp_rank="4"} 0.9375
                    sglang:num_queue_reqs{dp_rank="0",model_name="llama",pp_rank="0",tp_rank="0"} 0.0
                    sglang:num_queue_reqs{dp_rank="1",model_name="llama",pp_rank="0",tp_rank="4"} 9.0
                    sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="llama"} 0.0
                    sglang:time_to_first_token_seconds_bucket{le="0.5",model_name="llama"} 16.0
                    sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="llama"} 16.0
                "#,
                // rank 15.2: 0.1 + (0.5 - 0.1) × 15.2 / 16
                values: [Some(0.9375), Some(9.0), Some(0.48)],
            },
        ],
    },
];
