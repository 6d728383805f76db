//! The servers that the built-in metrics know, two pods each, and what the metrics say of them, worked out by hand.

use super::exposition::Traffic::{self, Flows, Idle};

pub struct Server {
    /// Also the namespace. The pods are `nim-0`, `nim-1` in each, so that a pod has a namesake everywhere else.
    pub name: &'static str,
    /// Who shows it: the pods themselves, or a DCGM exporter beside each, whose labels are honored.
    pub shown_by: ShownBy,
    pub pods: [Shown; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownBy {
    Itself,
    Exporter,
}

pub struct Shown {
    pub traffic: Traffic,
    pub text: &'static str,
    /// Of the presets that have a value; with any other one the pod must be missing.
    pub values: &'static [(&'static str, f64)],
}

/// What counts grows by its value in 300 seconds: a rate is a three hundredth of it.
///
/// Where a quantile or a mean stands, all grows at one pace, which falls out: `rank` is 0.95 × all, and the quantile lies
/// in the first bucket that holds it, as far in as the rank is.
pub const SERVERS: &[Server] = &[
    Server {
        name: "nim-1",
        shown_by: ShownBy::Itself,
        pods: [
            Shown {
                traffic: Flows,
                text: r#"
                    # TYPE gpu_cache_usage_perc gauge
                    gpu_cache_usage_perc{model_name="meta/llama"} 0.25
                    num_requests_running{model_name="meta/llama"} 32
                    num_requests_waiting{model_name="meta/llama"} 3.0
                    num_request_max{model_name="meta/llama"} 64
                    time_to_first_token_seconds_bucket{le="0.1",model_name="meta/llama"} 60.0
                    time_to_first_token_seconds_bucket{le="0.25",model_name="meta/llama"} 90.0
                    time_to_first_token_seconds_bucket{le="0.5",model_name="meta/llama"} 100.0
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 100.0
                    time_per_output_token_seconds_bucket{le="0.05",model_name="meta/llama"} 80.0
                    time_per_output_token_seconds_bucket{le="0.1",model_name="meta/llama"} 160.0
                    time_per_output_token_seconds_bucket{le="0.15",model_name="meta/llama"} 200.0
                    time_per_output_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 200.0
                    e2e_request_latency_seconds_bucket{le="5.0",model_name="meta/llama"} 50.0
                    e2e_request_latency_seconds_bucket{le="10.0",model_name="meta/llama"} 90.0
                    e2e_request_latency_seconds_bucket{le="15.0",model_name="meta/llama"} 100.0
                    e2e_request_latency_seconds_bucket{le="+Inf",model_name="meta/llama"} 100.0
                    request_success_total{model_name="meta/llama"} 600.0
                    request_failure_total{model_name="meta/llama"} 30.0
                    request_finish_total{finished_reason="stop",model_name="meta/llama"} 600.0
                "#,
                values: &[
                    ("kv-cache", 0.25),
                    ("queue-depth", 3.0),
                    ("running", 32.0),
                    // rank 95: 0.25 + (0.5 - 0.25) × (95 - 90) / (100 - 90)
                    ("ttft-p95", 0.375),
                    // rank 190: 0.1 + (0.15 - 0.1) × (190 - 160) / (200 - 160)
                    ("itl-p95", 0.1375),
                    // rank 95: 10 + (15 - 10) × (95 - 90) / (100 - 90)
                    ("e2e-p95", 12.5),
                    ("rps", 2.0),
                ],
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
                    e2e_request_latency_seconds_bucket{le="50.0",model_name="meta/llama"} 0.0
                    e2e_request_latency_seconds_bucket{le="60.0",model_name="meta/llama"} 10.0
                    e2e_request_latency_seconds_bucket{le="+Inf",model_name="meta/llama"} 40.0
                    request_success_total{model_name="meta/llama"} 0.3e+003
                "#,
                values: &[
                    ("kv-cache", 0.875),
                    ("queue-depth", 11.0),
                    // rank 19: 0.5 + (1 - 0.5) × (19 - 10) / (20 - 10)
                    ("ttft-p95", 0.95),
                    // rank 38, above the last edge
                    ("e2e-p95", 60.0),
                    ("rps", 1.0),
                ],
            },
        ],
    },
    Server {
        name: "nim-1-two-models",
        shown_by: ShownBy::Itself,
        pods: [
            // The fuller model, both queues, the requests of both: le 0.5 holds 60 + 30, le 1 holds 60 + 40.
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_cache_usage_perc{model_name="base"} 0.5
                    gpu_cache_usage_perc{model_name="lora"} 0.625
                    num_requests_waiting{model_name="base"} 4
                    num_requests_waiting{model_name="lora"} 5
                    num_requests_running{model_name="base"} 3
                    num_requests_running{model_name="lora"} 4
                    time_to_first_token_seconds_bucket{le="0.5",model_name="base"} 60
                    time_to_first_token_seconds_bucket{le="1",model_name="base"} 60
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="base"} 60
                    time_to_first_token_seconds_bucket{le="0.5",model_name="lora"} 30
                    time_to_first_token_seconds_bucket{le="1",model_name="lora"} 40
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="lora"} 40
                    time_per_output_token_seconds_bucket{le="0.05",model_name="base"} 10
                    time_per_output_token_seconds_bucket{le="0.1",model_name="base"} 10
                    time_per_output_token_seconds_bucket{le="+Inf",model_name="base"} 10
                    time_per_output_token_seconds_bucket{le="0.05",model_name="lora"} 0
                    time_per_output_token_seconds_bucket{le="0.1",model_name="lora"} 10
                    time_per_output_token_seconds_bucket{le="+Inf",model_name="lora"} 10
                    request_success_total{model_name="base"} 150
                    request_success_total{model_name="lora"} 300
                "#,
                values: &[
                    ("kv-cache", 0.625),
                    ("queue-depth", 9.0),
                    ("running", 7.0),
                    // rank 95: 0.5 + (1 - 0.5) × (95 - 90) / (100 - 90)
                    ("ttft-p95", 0.75),
                    // rank 19: 0.05 + (0.1 - 0.05) × (19 - 10) / (20 - 10)
                    ("itl-p95", 0.095),
                    ("rps", 1.5),
                ],
            },
            // Slower than the last edge: the edge.
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_cache_usage_perc{model_name="base"} 1
                    gpu_cache_usage_perc{model_name="lora"} 0
                    num_requests_waiting{model_name="base"} 0
                    num_requests_waiting{model_name="lora"} 64
                    num_requests_running{model_name="base"} 0
                    num_requests_running{model_name="lora"} 16
                    time_to_first_token_seconds_bucket{le="7.5",model_name="lora"} 0
                    time_to_first_token_seconds_bucket{le="10",model_name="lora"} 8
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="lora"} 40
                "#,
                values: &[("kv-cache", 1.0), ("queue-depth", 64.0), ("running", 16.0), ("ttft-p95", 10.0)],
            },
        ],
    },
    Server {
        name: "idle-and-missing",
        shown_by: ShownBy::Itself,
        pods: [
            // It has served; nobody has come for two minutes.
            Shown {
                traffic: Idle,
                text: r#"
                    gpu_cache_usage_perc{model_name="meta/llama"} 0
                    num_requests_waiting{model_name="meta/llama"} 0
                    num_requests_running{model_name="meta/llama"} 0
                    time_to_first_token_seconds_bucket{le="0.5",model_name="meta/llama"} 70
                    time_to_first_token_seconds_bucket{le="10",model_name="meta/llama"} 71
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 72
                    time_per_output_token_seconds_bucket{le="0.5",model_name="meta/llama"} 70
                    time_per_output_token_seconds_bucket{le="+Inf",model_name="meta/llama"} 72
                    e2e_request_latency_seconds_bucket{le="50",model_name="meta/llama"} 70
                    e2e_request_latency_seconds_bucket{le="+Inf",model_name="meta/llama"} 72
                    request_success_total{model_name="meta/llama"} 72
                "#,
                values: &[
                    ("kv-cache", 0.0),
                    ("queue-depth", 0.0),
                    ("running", 0.0),
                    ("ttft-p95", 0.0),
                    ("itl-p95", 0.0),
                    ("e2e-p95", 0.0),
                    ("rps", 0.0),
                ],
            },
            // It still loads its model.
            Shown {
                traffic: Flows,
                text: r#"
                    process_resident_memory_bytes 1.5e9
                    python_gc_objects_collected_total{generation="0"} 4120
                "#,
                values: &[],
            },
        ],
    },
    Server {
        name: "embedding",
        shown_by: ShownBy::Itself,
        pods: [
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_utilization{device_id="0"} 0.5
                    gpu_utilization{device_id="1"} 0.8125
                    gpu_memory_used_bytes{device_id="0"} 1.4e10
                    gpu_power_usage_watts{device_id="0"} 71.5
                    request_count_total 900
                "#,
                values: &[("gpu-util", 0.8125), ("rps", 3.0)],
            },
            // Scraped at the Triton inside, too: said once.
            Shown {
                traffic: Flows,
                text: r#"
                    gpu_utilization{device_id="0"} 0.25
                    request_count_total 300
                    nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25
                    nv_inference_request_success{model="rerank",version="1"} 300
                    nv_inference_queue_duration_us{model="rerank",version="1"} 1500000
                    nv_inference_pending_request_count{model="rerank",version="1"} 7
                "#,
                // 1500000 us / 300
                values: &[("gpu-util", 0.25), ("rps", 1.0), ("queue-depth", 7.0), ("queue-time", 0.005)],
            },
        ],
    },
    Server {
        name: "nim-2-vllm",
        shown_by: ShownBy::Itself,
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
                    num_requests_running{model_name="gemma"} 12
                    vllm:num_requests_running{engine="0",model_name="gemma"} 12
                    time_to_first_token_seconds_bucket{le="0.5",model_name="gemma"} 10
                    time_to_first_token_seconds_bucket{le="+Inf",model_name="gemma"} 10
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="gemma"} 10
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 10
                    time_per_output_token_seconds_bucket{le="0.01",model_name="gemma"} 0
                    time_per_output_token_seconds_bucket{le="0.025",model_name="gemma"} 100
                    time_per_output_token_seconds_bucket{le="+Inf",model_name="gemma"} 100
                    vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="gemma"} 0
                    vllm:inter_token_latency_seconds_bucket{engine="0",le="0.025",model_name="gemma"} 100
                    vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 100
                    vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="gemma"} 0
                    vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.5",model_name="gemma"} 20
                    vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 20
                    request_success_total{model_name="gemma"} 30
                    vllm:request_success_total{engine="0",finished_reason="stop",model_name="gemma"} 20
                    vllm:request_success_total{engine="0",finished_reason="length",model_name="gemma"} 10
                    vllm:request_queue_time_seconds_sum{engine="0",model_name="gemma"} 6
                    vllm:request_queue_time_seconds_count{engine="0",model_name="gemma"} 30
                "#,
                values: &[
                    ("kv-cache", 0.375),
                    ("queue-depth", 6.0),
                    ("running", 12.0),
                    // rank 9.5: 0 + (0.5 - 0) × 9.5 / 10
                    ("ttft-p95", 0.475),
                    // rank 95: 0.01 + (0.025 - 0.01) × 95 / 100
                    ("itl-p95", 0.02425),
                    // rank 19: 0.3 + (0.5 - 0.3) × 19 / 20
                    ("e2e-p95", 0.49),
                    ("rps", 0.1),
                    // 6 s / 30
                    ("queue-time", 0.2),
                ],
            },
            // One old name alone: the other metrics come by the new ones. What was created when is no count.
            Shown {
                traffic: Flows,
                text: r#"
                    num_requests_waiting{model_name="gemma"} 2
                    vllm:kv_cache_usage_perc{engine="0",model_name="gemma"} 0.75
                    vllm:num_requests_waiting{engine="0",model_name="gemma"} 2
                    vllm:num_requests_waiting_by_reason{engine="0",model_name="gemma",reason="capacity"} 2
                    vllm:num_requests_running{engine="0",model_name="gemma"} 5
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="20.0",model_name="gemma"} 0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="40.0",model_name="gemma"} 4
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 4
                    vllm:inter_token_latency_seconds_bucket{engine="0",le="0.05",model_name="gemma"} 100
                    vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 100
                    vllm:time_per_output_token_seconds_bucket{engine="0",le="0.05",model_name="gemma"} 100
                    vllm:time_per_output_token_seconds_bucket{engine="0",le="+Inf",model_name="gemma"} 100
                    vllm:request_success_total{engine="0",finished_reason="stop",model_name="gemma"} 270
                    vllm:request_success_total{engine="0",finished_reason="length",model_name="gemma"} 30
                    vllm:request_success_total{engine="0",finished_reason="abort",model_name="gemma"} 0
                    vllm:request_success_created{engine="0",finished_reason="stop",model_name="gemma"} 1.7e9
                "#,
                values: &[
                    ("kv-cache", 0.75),
                    ("queue-depth", 2.0),
                    ("running", 5.0),
                    // rank 3.8: 20 + (40 - 20) × 3.8 / 4
                    ("ttft-p95", 39.0),
                    // rank 95: 0 + 0.05 × 95 / 100
                    ("itl-p95", 0.0475),
                    ("rps", 1.0),
                ],
            },
        ],
    },
    Server {
        name: "vllm",
        shown_by: ShownBy::Itself,
        pods: [
            // Two engines: the fuller one, both queues, the requests of both.
            Shown {
                traffic: Flows,
                text: r#"
                    vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} 0.5
                    vllm:kv_cache_usage_perc{engine="1",model_name="qwen"} 0.25
                    vllm:num_requests_waiting{engine="0",model_name="qwen"} 2.0
                    vllm:num_requests_waiting{engine="1",model_name="qwen"} 5.0
                    vllm:num_requests_running{engine="0",model_name="qwen"} 40.0
                    vllm:num_requests_running{engine="1",model_name="qwen"} 41.0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="0.04",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="0.08",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="1",le="0.04",model_name="qwen"} 30.0
                    vllm:time_to_first_token_seconds_bucket{engine="1",le="0.08",model_name="qwen"} 50.0
                    vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="qwen"} 50.0
                    vllm:request_success_total{engine="0",finished_reason="stop",model_name="qwen"} 60.0
                    vllm:request_success_total{engine="1",finished_reason="stop",model_name="qwen"} 90.0
                    vllm:request_queue_time_seconds_sum{engine="0",model_name="qwen"} 20.0
                    vllm:request_queue_time_seconds_sum{engine="1",model_name="qwen"} 10.0
                    vllm:request_queue_time_seconds_count{engine="0",model_name="qwen"} 60.0
                    vllm:request_queue_time_seconds_count{engine="1",model_name="qwen"} 90.0
                "#,
                values: &[
                    ("kv-cache", 0.5),
                    ("queue-depth", 7.0),
                    ("running", 81.0),
                    // rank 95: 0.04 + (0.08 - 0.04) × (95 - 80) / (100 - 80)
                    ("ttft-p95", 0.07),
                    ("rps", 0.5),
                    // (20 + 10) s / (60 + 90)
                    ("queue-time", 0.2),
                ],
            },
            // Before the cache and the time between tokens got their new names; nobody was served yet.
            Shown {
                traffic: Flows,
                text: r#"
                    vllm:gpu_cache_usage_perc{model_name="qwen"} 0.125
                    vllm:num_requests_waiting{model_name="qwen"} 40.0
                    vllm:num_requests_swapped{model_name="qwen"} 3.0
                    vllm:time_to_first_token_seconds_bucket{le="0.001",model_name="qwen"} 0.0
                    vllm:time_to_first_token_seconds_bucket{le="0.005",model_name="qwen"} 0.0
                    vllm:time_to_first_token_seconds_bucket{le="+Inf",model_name="qwen"} 0.0
                    vllm:time_per_output_token_seconds_bucket{le="0.2",model_name="qwen"} 10.0
                    vllm:time_per_output_token_seconds_bucket{le="0.3",model_name="qwen"} 20.0
                    vllm:time_per_output_token_seconds_bucket{le="+Inf",model_name="qwen"} 20.0
                    vllm:request_success_total{finished_reason="stop",model_name="qwen"} 0.0
                    vllm:request_queue_time_seconds_sum{model_name="qwen"} 0.0
                    vllm:request_queue_time_seconds_count{model_name="qwen"} 0.0
                "#,
                values: &[
                    ("kv-cache", 0.125),
                    ("queue-depth", 40.0),
                    ("ttft-p95", 0.0),
                    // rank 19: 0.2 + (0.3 - 0.2) × (19 - 10) / (20 - 10)
                    ("itl-p95", 0.29),
                    ("rps", 0.0),
                    ("queue-time", 0.0),
                ],
            },
        ],
    },
    Server {
        name: "triton-trtllm",
        shown_by: ShownBy::Itself,
        pods: [
            // Its families hold many things by label; only one of each is meant. A request to the ensemble counts in each
            // of its models. It measures no time to first token.
            Shown {
                traffic: Flows,
                text: r#"
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.625
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 3900
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 6239
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 17
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 64
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 81
                    nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
                    nv_inference_request_success{model="ensemble",version="1"} 150
                    nv_inference_request_success{model="preprocessing",version="1"} 150
                    nv_inference_request_success{model="tensorrt_llm",version="1"} 149
                    nv_inference_request_failure{model="tensorrt_llm",version="1",reason="OTHER"} 1
                    nv_inference_queue_duration_us{model="ensemble",version="1"} 0
                    nv_inference_queue_duration_us{model="preprocessing",version="1"} 1500
                    nv_inference_queue_duration_us{model="tensorrt_llm",version="1"} 29800000
                    nv_inference_pending_request_count{model="ensemble",version="1"} 0
                    nv_inference_pending_request_count{model="tensorrt_llm",version="1"} 20
                    nv_gpu_utilization{gpu_uuid="GPU-1"} 0.75
                    nv_gpu_utilization{gpu_uuid="GPU-2"} 0.5
                "#,
                values: &[
                    ("kv-cache", 0.625),
                    ("queue-depth", 17.0),
                    ("running", 64.0),
                    ("rps", 0.5),
                    ("gpu-util", 0.75),
                    // of tensorrt_llm: 29800000 us / 149
                    ("queue-time", 0.2),
                ],
            },
            Shown {
                traffic: Flows,
                text: r#"
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="draft",version="1"} 0.5
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="target",version="1"} 0.75
                    nv_trt_llm_request_metrics{model="draft",request_type="waiting",version="1"} 1
                    nv_trt_llm_request_metrics{model="target",request_type="waiting",version="1"} 8
                    nv_trt_llm_request_metrics{model="draft",request_type="scheduled",version="1"} 1
                    nv_trt_llm_request_metrics{model="target",request_type="scheduled",version="1"} 6
                    nv_trt_llm_request_metrics{model="target",request_type="context",version="1"} 2
                "#,
                values: &[("kv-cache", 0.75), ("queue-depth", 9.0), ("running", 7.0)],
            },
        ],
    },
    Server {
        name: "triton",
        shown_by: ShownBy::Itself,
        pods: [
            // Two models, and one that nobody asked yet: 0 / 0 hides no other.
            Shown {
                traffic: Flows,
                text: r#"
                    nv_inference_request_success{model="asr",version="1"} 300
                    nv_inference_request_success{model="diarizer",version="1"} 60
                    nv_inference_request_success{model="vad",version="1"} 0
                    nv_inference_exec_count{model="asr",version="1"} 40
                    nv_inference_queue_duration_us{model="asr",version="1"} 300000
                    nv_inference_queue_duration_us{model="diarizer",version="1"} 1200000
                    nv_inference_queue_duration_us{model="vad",version="1"} 0
                    nv_inference_pending_request_count{model="asr",version="1"} 3
                    nv_inference_pending_request_count{model="diarizer",version="1"} 4
                    nv_inference_pending_request_count{model="vad",version="1"} 0
                    nv_gpu_utilization{gpu_uuid="GPU-1"} 0.625
                    nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 5.2e9
                "#,
                // of the diarizer: 1200000 us / 60
                values: &[("queue-depth", 7.0), ("rps", 1.0), ("gpu-util", 0.625), ("queue-time", 0.02)],
            },
            Shown {
                traffic: Idle,
                text: r#"
                    nv_inference_request_success{model="asr",version="1"} 300
                    nv_inference_queue_duration_us{model="asr",version="1"} 300000
                    nv_inference_pending_request_count{model="asr",version="1"} 0
                    nv_gpu_utilization{gpu_uuid="GPU-1"} 0
                "#,
                values: &[("queue-depth", 0.0), ("rps", 0.0), ("gpu-util", 0.0), ("queue-time", 0.0)],
            },
        ],
    },
    Server {
        name: "triton-stuck",
        shown_by: ShownBy::Itself,
        pods: [
            // Requests have waited and none succeeded: overload, at the bound.
            Shown {
                traffic: Flows,
                text: r#"
                    nv_inference_request_success{model="asr",version="1"} 0
                    nv_inference_request_failure{model="asr",version="1",reason="OTHER"} 9
                    nv_inference_queue_duration_us{model="asr",version="1"} 90000000
                "#,
                values: &[("rps", 0.0), ("queue-time", 10_000.0)],
            },
            // A mean needs both of its parts.
            Shown {
                traffic: Flows,
                text: r#"
                    nv_inference_queue_duration_us{model="asr",version="1"} 90000000
                    vllm:request_queue_time_seconds_sum{model="asr",version="1"} 8
                "#,
                values: &[],
            },
        ],
    },
    Server {
        name: "trtllm-serve",
        shown_by: ShownBy::Itself,
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
                    trtllm_time_per_output_token_seconds_bucket{engine_type="trtllm",le="0.01",model_name="qwen"} 900.0
                    trtllm_time_per_output_token_seconds_bucket{engine_type="trtllm",le="0.025",model_name="qwen"} 1000.0
                    trtllm_time_per_output_token_seconds_bucket{engine_type="trtllm",le="+Inf",model_name="qwen"} 1000.0
                    trtllm_e2e_request_latency_seconds_bucket{engine_type="trtllm",le="1.0",model_name="qwen"} 40.0
                    trtllm_e2e_request_latency_seconds_bucket{engine_type="trtllm",le="+Inf",model_name="qwen"} 40.0
                    trtllm_request_success_total{engine_type="trtllm",finished_reason="length",model_name="qwen"} 36.0
                    trtllm_request_success_total{engine_type="trtllm",finished_reason="stop",model_name="qwen"} 24.0
                    trtllm_request_success_created{engine_type="trtllm",finished_reason="stop",model_name="qwen"} 1.7e9
                    request_queue_time_seconds_sum{engine_type="trtllm",model_name="qwen"} 4.0
                    request_queue_time_seconds_count{engine_type="trtllm",model_name="qwen"} 16.0
                "#,
                values: &[
                    ("kv-cache", 0.3125),
                    // rank 95: 0.04 + (0.06 - 0.04) × (95 - 50) / (100 - 50)
                    ("ttft-p95", 0.058),
                    // rank 950: 0.01 + (0.025 - 0.01) × (950 - 900) / (1000 - 900)
                    ("itl-p95", 0.0175),
                    // rank 38: 0 + 1 × 38 / 40
                    ("e2e-p95", 0.95),
                    ("rps", 0.2),
                    // 4 s / 16
                    ("queue-time", 0.25),
                ],
            },
            Shown {
                traffic: Idle,
                text: r#"
                    trtllm_kv_cache_utilization{engine_type="trtllm",model_name="qwen"} 0.0625
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="0.04",model_name="qwen"} 2.0
                    trtllm_time_to_first_token_seconds_bucket{engine_type="trtllm",le="+Inf",model_name="qwen"} 2.0
                    trtllm_request_queue_time_seconds_sum{engine_type="trtllm",model_name="qwen"} 3.0
                    trtllm_request_queue_time_seconds_count{engine_type="trtllm",model_name="qwen"} 2.0
                "#,
                values: &[("kv-cache", 0.0625), ("ttft-p95", 0.0), ("queue-time", 0.0)],
            },
        ],
    },
    Server {
        name: "sglang",
        shown_by: ShownBy::Itself,
        pods: [
            // Each rank of the tensor shows the one queue of all.
            Shown {
                traffic: Flows,
                text: r#"
                    sglang:token_usage{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="0"} 0.25
                    sglang:token_usage{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="1"} 0.25
                    sglang:num_queue_reqs{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="0"} 12.0
                    sglang:num_queue_reqs{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="1"} 12.0
                    sglang:num_running_reqs{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="0"} 48.0
                    sglang:num_running_reqs{engine_type="unified",model_name="llama",pp_rank="0",tp_rank="1"} 48.0
                    sglang:time_to_first_token_seconds_bucket{le="1.0",model_name="llama"} 90.0
                    sglang:time_to_first_token_seconds_bucket{le="3.0",model_name="llama"} 95.0
                    sglang:time_to_first_token_seconds_bucket{le="5.0",model_name="llama"} 100.0
                    sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="llama"} 200.0
                    sglang:inter_token_latency_seconds_bucket{le="0.004",model_name="llama"} 0.0
                    sglang:inter_token_latency_seconds_bucket{le="0.006",model_name="llama"} 1000.0
                    sglang:inter_token_latency_seconds_bucket{le="+Inf",model_name="llama"} 1000.0
                    sglang:e2e_request_latency_seconds_bucket{le="20.0",model_name="llama"} 0.0
                    sglang:e2e_request_latency_seconds_bucket{le="40.0",model_name="llama"} 10.0
                    sglang:e2e_request_latency_seconds_bucket{le="+Inf",model_name="llama"} 10.0
                    sglang:num_requests_total{is_streaming="true",model_name="llama"} 180.0
                    sglang:num_requests_total{is_streaming="false",model_name="llama"} 30.0
                    sglang:queue_time_seconds_sum{model_name="llama"} 21.0
                    sglang:queue_time_seconds_count{model_name="llama"} 210.0
                "#,
                values: &[
                    ("kv-cache", 0.25),
                    ("queue-depth", 12.0),
                    ("running", 48.0),
                    // rank 190, above the last edge
                    ("ttft-p95", 5.0),
                    // rank 950: 0.004 + (0.006 - 0.004) × 950 / 1000
                    ("itl-p95", 0.0059),
                    // rank 9.5: 20 + (40 - 20) × 9.5 / 10
                    ("e2e-p95", 39.0),
                    ("rps", 0.7),
                    // 21 s / 210
                    ("queue-time", 0.1),
                ],
            },
            // Two groups, each with a queue and a cache of its own; the ranks of a group show the same.
            Shown {
                traffic: Flows,
                text: r#"
                    sglang:token_usage{dp_rank="0",model_name="llama",pp_rank="0",tp_rank="0"} 0.5
                    sglang:token_usage{dp_rank="1",model_name="llama",pp_rank="0",tp_rank="4"} 0.9375
                    sglang:num_queue_reqs{dp_rank="0",model_name="llama",pp_rank="0",tp_rank="0"} 2.0
                    sglang:num_queue_reqs{dp_rank="0",model_name="llama",pp_rank="0",tp_rank="1"} 2.0
                    sglang:num_queue_reqs{dp_rank="1",model_name="llama",pp_rank="0",tp_rank="4"} 9.0
                    sglang:num_queue_reqs{dp_rank="1",model_name="llama",pp_rank="0",tp_rank="5"} 9.0
                    sglang:num_running_reqs{dp_rank="0",model_name="llama",pp_rank="0",tp_rank="0"} 3.0
                    sglang:num_running_reqs{dp_rank="1",model_name="llama",pp_rank="0",tp_rank="4"} 20.0
                    sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="llama"} 0.0
                    sglang:time_to_first_token_seconds_bucket{le="0.5",model_name="llama"} 16.0
                    sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="llama"} 16.0
                    sglang:time_per_output_token_seconds_bucket{le="0.02",model_name="llama"} 0.0
                    sglang:time_per_output_token_seconds_bucket{le="0.04",model_name="llama"} 40.0
                    sglang:time_per_output_token_seconds_bucket{le="+Inf",model_name="llama"} 40.0
                "#,
                values: &[
                    ("kv-cache", 0.9375),
                    ("queue-depth", 11.0),
                    ("running", 23.0),
                    // rank 15.2: 0.1 + (0.5 - 0.1) × 15.2 / 16
                    ("ttft-p95", 0.48),
                    // rank 38: 0.02 + (0.04 - 0.02) × 38 / 40
                    ("itl-p95", 0.039),
                ],
            },
        ],
    },
    Server {
        name: "dynamo",
        shown_by: ShownBy::Itself,
        pods: [
            // A worker with an engine that counts for itself: said once.
            Shown {
                traffic: Flows,
                text: r#"
                    dynamo_component_kvstats_gpu_cache_usage_percent{dynamo_component="tensorrt_llm",dynamo_namespace="d"} 0.4375
                    dynamo_component_inflight_requests{dynamo_component="tensorrt_llm",dynamo_endpoint="generate",model="q"} 9
                    dynamo_component_requests_total{dynamo_component="tensorrt_llm",dynamo_endpoint="generate",model="q"} 61
                    trtllm_request_success_total{engine_type="trtllm",finished_reason="length",model_name="Q"} 60
                    trtllm_request_queue_time_seconds_sum{engine_type="trtllm",model_name="Q"} 12
                    trtllm_request_queue_time_seconds_count{engine_type="trtllm",model_name="Q"} 60
                "#,
                values: &[("kv-cache", 0.4375), ("running", 9.0), ("rps", 0.2), ("queue-time", 0.2)],
            },
            // A frontend.
            Shown {
                traffic: Flows,
                text: r#"
                    dynamo_frontend_queued_requests{model="q"} 5
                    dynamo_frontend_inflight_requests{model="q"} 14
                    dynamo_frontend_requests_total{endpoint="chat_completions",model="q",request_type="unary",status="success"} 60
                    dynamo_frontend_requests_total{endpoint="completions",model="q",request_type="unary",status="success"} 30
                    dynamo_frontend_request_duration_seconds_bucket{le="1.9",model="q"} 45
                    dynamo_frontend_request_duration_seconds_bucket{le="3.4",model="q"} 90
                    dynamo_frontend_request_duration_seconds_bucket{le="+Inf",model="q"} 90
                    dynamo_frontend_request_duration_seconds_count{model="q"} 90
                    dynamo_frontend_time_to_first_token_seconds_bucket{le="0.022",model="q"} 0
                    dynamo_frontend_time_to_first_token_seconds_bucket{le="0.047",model="q"} 10
                    dynamo_frontend_time_to_first_token_seconds_bucket{le="+Inf",model="q"} 10
                    dynamo_frontend_inter_token_latency_seconds_bucket{le="0.0019",model="q"} 0
                    dynamo_frontend_inter_token_latency_seconds_bucket{le="0.0035",model="q"} 10
                    dynamo_frontend_inter_token_latency_seconds_bucket{le="+Inf",model="q"} 10
                "#,
                values: &[
                    ("queue-depth", 5.0),
                    ("running", 14.0),
                    ("rps", 0.3),
                    // rank 85.5: 1.9 + (3.4 - 1.9) × (85.5 - 45) / (90 - 45)
                    ("e2e-p95", 3.25),
                    // rank 9.5: 0.022 + (0.047 - 0.022) × 9.5 / 10
                    ("ttft-p95", 0.04575),
                    // rank 9.5: 0.0019 + (0.0035 - 0.0019) × 9.5 / 10
                    ("itl-p95", 0.00342),
                ],
            },
        ],
    },
    Server {
        name: "dynamo-worker",
        shown_by: ShownBy::Itself,
        pods: [
            // An engine that shows nothing of its own.
            Shown {
                traffic: Flows,
                text: r#"
                    dynamo_component_inflight_requests{dynamo_component="backend",dynamo_endpoint="generate",model="q"} 4
                    dynamo_component_requests_total{dynamo_component="backend",dynamo_endpoint="generate",model="q"} 240
                "#,
                values: &[("running", 4.0), ("rps", 0.8)],
            },
            Shown {
                traffic: Flows,
                text: r#"
                    dynamo_component_inflight_requests{dynamo_component="backend",dynamo_endpoint="generate",model="q"} 0
                    dynamo_component_requests_total{dynamo_component="backend",dynamo_endpoint="generate",model="q"} 0
                "#,
                values: &[("running", 0.0), ("rps", 0.0)],
            },
        ],
    },
    Server {
        name: "dcgm",
        shown_by: ShownBy::Exporter,
        pods: [
            // The busier of two GPUs. An idle one belongs to the exporter itself.
            Shown {
                traffic: Flows,
                text: r#"
                    DCGM_FI_DEV_GPU_UTIL{UUID="GPU-1",container="nim",gpu="0",namespace="dcgm",pod="nim-0"} 100
                    DCGM_FI_DEV_GPU_UTIL{UUID="GPU-2",container="nim",gpu="1",namespace="dcgm",pod="nim-0"} 30
                    DCGM_FI_DEV_GPU_UTIL{UUID="GPU-3",gpu="2"} 0
                    DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",container="nim",gpu="0",namespace="dcgm",pod="nim-0"} 0.5
                    DCGM_FI_DEV_FB_USED{UUID="GPU-1",container="nim",gpu="0",namespace="dcgm",pod="nim-0"} 71000
                "#,
                values: &[("gpu-util", 1.0)],
            },
            // Slices of a GPU, for which its share of time is not known: a blank, and no overload.
            Shown {
                traffic: Flows,
                text: r#"
                    DCGM_FI_DEV_GPU_UTIL{GPU_I_ID="1",UUID="GPU-1",container="nim",namespace="dcgm",pod="nim-1"} 9223372036854775794
                    DCGM_FI_PROF_GR_ENGINE_ACTIVE{GPU_I_ID="1",UUID="GPU-1",container="nim",namespace="dcgm",pod="nim-1"} 0.625
                    DCGM_FI_PROF_GR_ENGINE_ACTIVE{GPU_I_ID="2",UUID="GPU-1",container="nim",namespace="dcgm",pod="nim-1"} 0.25
                "#,
                values: &[("gpu-util", 0.625)],
            },
        ],
    },
    Server {
        name: "dcgm-blank",
        shown_by: ShownBy::Exporter,
        pods: [
            Shown {
                traffic: Flows,
                text: r#"
                    DCGM_FI_DEV_GPU_UTIL{UUID="GPU-1",container="nim",namespace="dcgm-blank",pod="nim-0"} 9223372036854775794
                    DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",container="nim",namespace="dcgm-blank",pod="nim-0"} 140737488355328
                "#,
                values: &[],
            },
            Shown {
                traffic: Flows,
                text: r#"
                    DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-2",container="nim",namespace="dcgm-blank",pod="nim-1"} 0.4
                "#,
                values: &[("gpu-util", 0.4)],
            },
        ],
    },
];
