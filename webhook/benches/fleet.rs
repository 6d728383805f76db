//! What many workloads with few distinct expressions cost the controller: each compiled through the memo, all bundled, and
//! the adapter's config of them.
//!
//! `cargo bench -p nimscale-webhook --bench fleet`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hint::black_box;
use std::time::Instant;

use nimscale_rules::bundle::bundle;
use nimscale_rules::emit::adapter::{config, rule};
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::workload::{Workload, WorkloadId, WorkloadKind};
use nimscale_webhook::Memo;

const WORKLOADS: usize = 10_000;
const NAMESPACES: usize = 200;

/// What people write, with its target: distinct, so each is a rule.
const EXPRESSIONS: [(&str, &str); 20] = [
    ("gpu_cache_usage_perc", "0.75"),
    ("max by (pod) (vllm:kv_cache_usage_perc)", "0.75"),
    ("vllm:gpu_cache_usage_perc * 100", "75"),
    ("sum by (pod) (num_requests_waiting)", "8"),
    ("sum by (pod) (vllm:num_requests_waiting)", "8"),
    ("sum by (pod) (vllm:num_requests_running)", "5"),
    ("num_requests_running / num_request_max", "0.8"),
    ("avg_over_time(num_requests_waiting[1m])", "8"),
    ("sum by (pod) (rate(request_success_total[2m]))", "20"),
    ("sum by (pod) (rate(vllm:request_success_total{finished_reason=\"stop\"}[2m]))", "20"),
    ("sum by (pod) (rate(prompt_tokens_total[1m])) + sum by (pod) (rate(generation_tokens_total[1m]))", "2000"),
    ("histogram_quantile(0.95, sum by (pod, le) (rate(time_to_first_token_seconds_bucket[2m])))", "2.5"),
    ("histogram_quantile(0.9, sum by (pod, le) (rate(vllm:time_to_first_token_seconds_bucket[2m])))", "2.5"),
    ("histogram_quantile(0.95, sum by (pod, le) (rate(time_per_output_token_seconds_bucket[2m])))", "0.1"),
    ("histogram_quantile(0.95, sum by (pod, le) (rate(vllm:inter_token_latency_seconds_bucket[2m])))", "0.1"),
    ("histogram_quantile(0.95, sum by (pod, le) (rate(e2e_request_latency_seconds_bucket[2m])))", "30"),
    (
        "sum by (pod) (rate(vllm:request_queue_time_seconds_sum[2m])) / sum by (pod) (rate(vllm:request_queue_time_seconds_count[2m]))",
        "1",
    ),
    ("max by (pod) (DCGM_FI_DEV_GPU_UTIL)", "75"),
    ("max by (pod) (nv_inference_pending_request_count)", "16"),
    ("max by (pod) (gpu_utilization)", "0.75"),
];

/// Each workload keeps three of them.
const EACH: usize = 3;

fn main() {
    let (platform, policies, memo) = (Platform::default(), Policies::built_in(), Memo::default());
    let workloads: Vec<Workload> = (0..WORKLOADS).map(workload).collect();
    let (before, started) = (memory("VmHWM"), Instant::now());
    let plans = workloads.iter().map(|workload| {
        let compiled = memo.compile(workload, &policies, &platform);
        compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.findings))
    });
    let plans: Vec<_> = plans.collect();
    let compiled = started.elapsed();
    let held = memory("VmRSS");
    let started = Instant::now();
    let bundle = bundle(plans);
    let bundled = started.elapsed();
    let started = Instant::now();
    let config = black_box(config(&bundle, &platform)).expect("it reads back");
    let written = started.elapsed();
    let peak = memory("VmHWM");

    let queries: BTreeSet<String> =
        bundle.measures.iter().map(|measure| rule(measure, &platform).series_query).collect();
    println!("{WORKLOADS} workloads in {NAMESPACES} namespaces, {EACH} of {} expressions each", EXPRESSIONS.len());
    println!("  compiled through the memo {:8.1} ms, {:.1} us each", compiled.as_secs_f64() * 1e3, {
        compiled.as_secs_f64() * 1e6 / WORKLOADS as f64
    });
    println!("  bundled                   {:8.1} ms", bundled.as_secs_f64() * 1e3);
    println!("  config written            {:8.1} ms, {} bytes", written.as_secs_f64() * 1e3, config.len());
    println!("  {} rules, {} distinct seriesQuery", bundle.measures.len(), queries.len());
    println!("  memory before {before:.1} MiB, with the plans {held:.1} MiB, at its peak {peak:.1} MiB");
}

fn workload(at: usize) -> Workload {
    let keep = (0..EACH).map(|n| EXPRESSIONS[(at + 7 * n) % EXPRESSIONS.len()]).enumerate();
    let keep: String = keep.map(|(n, (query, target))| format!("m{n}: {query} < {target}\n")).collect();
    let annotations =
        BTreeMap::from([("nimscale.dev/scale".to_owned(), "1..8".to_owned()), ("nimscale.dev/keep".to_owned(), keep)]);
    let namespace = Some(format!("team-{}", at % NAMESPACES));
    let id = WorkloadId { namespace, name: format!("nim-{at}"), kind: WorkloadKind::Deployment };
    Workload::stored(id, &annotations)
}

/// MiB of this process, as the kernel counts them.
fn memory(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("the kernel counts it");
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<f64>().expect("a number of KiB") / 1024.0
}
