//! The expressions that are served, and how each becomes one number.

use std::fs;

use super::compiler::{Compiled, compile};

/// How the samples of a text are one number to the HPA.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    /// One sample for a pod as it stands.
    One,
    /// The largest of a pod's, or their sum.
    Max,
    Sum,
    /// One sample for the workload.
    Total,
    /// One for the workload, times its pods that have the text's first family.
    Level,
    /// Of a pod, out of its `slots`: the text reads other pods, too.
    ByHand(fn(f64) -> f64),
}

#[derive(Clone, Debug)]
pub struct Expression {
    pub text: String,
    pub says: Says,
    /// NaN is 0.
    pub idles: bool,
    /// Ours is 0 for some and not for all; of another nobody knows.
    pub own: bool,
}

/// Our own, and a sample of the file that `NIMSCALE_PROMQL_FILE` names.
pub fn expressions() -> Vec<Expression> {
    let groups = [
        (Says::One, false, ONE),
        (Says::One, true, ONE_THAT_IDLES),
        (Says::Max, false, MAX),
        (Says::Sum, false, SUM),
        (Says::Total, false, TOTALS),
        (Says::Level, false, LEVELS),
        (Says::Level, true, LEVELS_THAT_IDLE),
    ];
    let of_group = |(says, idles, texts): (Says, bool, &'static [&str])| {
        texts.iter().map(move |text| Expression { text: (*text).to_owned(), says, idles, own: true })
    };
    let shared = SHARED.iter().map(|(text, by_hand)| (Says::ByHand(*by_hand), text)).map(|(says, text)| Expression {
        text: (*text).to_owned(),
        says,
        idles: false,
        own: true,
    });
    groups.into_iter().flat_map(of_group).chain(shared).chain(of_file()).collect()
}

/// One sample for a pod.
const ONE: &[&str] = &[
    "sum by (pod) (num_requests_waiting)",
    "avg by (pod) (num_requests_waiting)",
    "min by (pod) (num_requests_waiting)",
    "count by (pod) (num_requests_waiting > 3)",
    "stddev by (pod) (num_requests_waiting)",
    "quantile by (pod) (0.5, num_requests_waiting)",
    "group by (pod) (num_requests_waiting)",
    "max by (pod) (sum by (pod, model_name) (num_requests_waiting))",
    "max by (pod) (sum without (service, job) (num_requests_waiting))",
    "sum by (pod) (rate(request_success_total[1m]))",
    "sum by (pod) (num_requests_waiting) / sum by (pod) (num_requests_limit)",
    "sum by (pod) (num_requests_waiting) / on (pod) max by (pod, instance) (num_request_max)",
    "max by (pod) (num_requests_waiting * on (pod, service) group_left () num_request_max)",
    "max by (pod) (num_requests_waiting / ignoring (model_name) group_left () num_request_max)",
    "max by (pod) (num_request_max) * on (pod) group_left (node) max by (pod, node) (kube_pod_info)",
    "sum by (pod) (half_of_them) or 0 * max by (pod) (num_request_max) + 5",
    "sum by (pod) (num_requests_waiting) unless sum by (pod) (half_of_them)",
    "sum by (pod) (num_requests_waiting) and sum by (pod) (half_of_them)",
    "max by (pod) (topk by (pod) (1, num_requests_waiting))",
    "sum by (pod) (bottomk by (pod) (3, num_requests_waiting))",
    "max by (pod) (count_values by (pod) (\"of\", num_requests_waiting))",
    "max by (pod) (max_over_time(sum by (pod) (rate(request_success_total[30s]))[1m:15s]))",
    "avg_over_time(sum by (pod) (num_requests_waiting)[1m:15s])",
    "sum by (pod) (num_requests_waiting) - sum by (pod) (num_requests_waiting offset 10s)",
    "sum by (pod) (num_requests_waiting > bool 3)",
    "-sum by (pod) (gpu_cache_usage_perc) + 4",
    "abs(sum by (pod) (num_requests_waiting) - 10)",
    "max by (pod) (changes(num_requests_waiting[1m]))",
    "max by (pod) (resets(restarting_total[1m]))",
    "sum by (pod) (label_join(num_requests_waiting, \"both\", \"/\", \"model_name\", \"service\"))",
    "1 - sum by (pod) (rate(time_to_first_token_seconds_bucket{le=\"0.5\"}[1m])) \
     / sum by (pod) (rate(time_to_first_token_seconds_count[1m]))",
];

const ONE_THAT_IDLES: &[&str] = &[
    "histogram_quantile(0.95, sum by (le, pod) (rate(time_to_first_token_seconds_bucket[1m])))",
    "histogram_quantile(0.5, sum by (pod, le) (increase(e2e_request_latency_seconds_bucket[1m])))",
    "10 * histogram_quantile(0.9, sum by (pod, le) (rate(e2e_request_latency_seconds_bucket[30s])))",
    "sum by (pod) (rate(time_to_first_token_seconds_sum[1m])) \
     / sum by (pod) (rate(time_to_first_token_seconds_count[1m]))",
];

const MAX: &[&str] = &[
    "gpu_cache_usage_perc",
    "num_requests_waiting{model_name=\"small\"}",
    "num_requests_waiting{model_name=~\"sm.*|lar.e\"}",
    "num_requests_waiting{model_name!=\"small\"}",
    "100 * gpu_cache_usage_perc",
    "num_requests_waiting + 1",
    "2 ^ gpu_cache_usage_perc",
    "gpu_cache_usage_perc > 0.3",
    "load_score",
    "half_of_them",
    "vllm:num_requests_running",
    "max_over_time(gpu_cache_usage_perc[1m])",
    "avg_over_time(num_requests_waiting[1m])",
    "quantile_over_time(0.9, num_requests_waiting[1m])",
    "stddev_over_time(num_requests_waiting[1m])",
    "ceil(num_requests_waiting / 3)",
    "clamp(num_requests_waiting, 2, 7)",
    "round(gpu_cache_usage_perc, 0.05)",
    "sqrt(num_requests_waiting)",
    "num_requests_waiting offset 20s",
    "deriv(generation_tokens[1m])",
    "num_requests_waiting / num_requests_limit",
    "num_requests_waiting and num_requests_limit > 17",
    "max_over_time(num_requests_waiting[1m:15s])",
    "num_requests_waiting @ end()",
    "label_replace(num_requests_waiting, \"tier\", \"$1\", \"model_name\", \"(.*)\")",
    "sort_desc(num_requests_waiting)",
    "last_over_time(num_requests_waiting[30s] offset 10s)",
];

const SUM: &[&str] = &[
    "rate(request_success_total[1m])",
    "rate(request_success_total{finished_reason=\"stop\"}[1m])",
    "increase(generation_tokens_total[1m])",
    "rate(generation_tokens_total[1m]) * 60",
    "rate(restarting_total[1m])",
    "rate(time_to_first_token_seconds_count[1m])",
    "rate(request_success_total[30s] offset 15s)",
];

const TOTALS: &[&str] = &[
    "sum(num_requests_waiting)",
    "sum(num_requests_waiting{model_name=\"small\"})",
    "2 * sum(num_requests_waiting)",
    "sum(num_requests_waiting) + sum(num_requests_running)",
    "sum(rate(request_success_total[1m]))",
    "sum(increase(generation_tokens_total[1m])) / 60",
    "count(num_requests_waiting)",
    "count(num_requests_waiting > 3)",
    "sum(max by (pod) (num_requests_waiting))",
    "sum(sum_over_time(gpu_cache_usage_perc[30s]))",
    "sum(num_requests_waiting > bool 3)",
    "sum(rate(restarting_total[30s] offset 10s))",
    "sum(half_of_them) or vector(0)",
];

const LEVELS: &[&str] = &[
    "max(gpu_cache_usage_perc)",
    "min(gpu_cache_usage_perc)",
    "avg(num_requests_waiting)",
    "max(half_of_them)",
    "max(load_score)",
    "avg(vllm:num_requests_running)",
    "stddev(num_requests_waiting)",
    "quantile(0.75, num_requests_waiting)",
    "sum(num_requests_waiting) / sum(num_requests_limit)",
    "sum(rate(generation_tokens_total[1m])) / sum(rate(request_success_total[1m]))",
    "max(max_over_time(gpu_cache_usage_perc[1m]))",
    "max(num_requests_waiting offset 20s)",
    "max(sum by (pod) (num_requests_waiting))",
    "max(sum by (pod) (num_requests_waiting) / sum by (pod) (num_requests_limit))",
    "avg(num_requests_waiting / on (pod, service) group_left () num_request_max)",
    "sum(topk(2, num_requests_waiting))",
    "avg(topk(2, num_requests_waiting))",
    "max_over_time(sum(num_requests_waiting)[1m:15s])",
    "max(max_over_time(sum by (pod) (rate(request_success_total[30s]))[1m:15s]))",
    "clamp_max(avg(num_requests_waiting), 7)",
    "ceil(avg(num_requests_waiting))",
    "avg(num_requests_waiting) > 1",
    "max(num_requests_waiting unless on (pod) half_of_them)",
    "max(num_requests_waiting and on (pod) half_of_them)",
    "max(half_of_them or on (pod, model_name, service) num_requests_waiting)",
    "max(num_requests_waiting) / scalar(max(num_request_max))",
    "max(num_requests_waiting / on () group_left () max(num_request_max))",
    "max(label_replace(num_requests_waiting, \"tier\", \"$1\", \"model_name\", \"(.*)\"))",
    "max(max without (service, job) (num_requests_waiting))",
    "avg(deriv(generation_tokens[1m]))",
    "max(num_request_max * on (pod) group_left (node) kube_pod_info)",
];

const LEVELS_THAT_IDLE: &[&str] = &[
    "histogram_quantile(0.95, sum by (le) (rate(time_to_first_token_seconds_bucket[1m])))",
    "histogram_quantile(0.5, sum by (le) (increase(e2e_request_latency_seconds_bucket[1m])))",
    "sum(rate(time_to_first_token_seconds_sum[1m])) / sum(rate(time_to_first_token_seconds_count[1m]))",
];

type ByHand = fn(f64) -> f64;

/// The seven pods of the namespace have 1 to 7 `slots`, each twice: 1, 2 and 3 the Deployment's, 4 and 5 the
/// StatefulSet's. Those of the other namespace have more.
const SHARED: &[(&str, ByHand)] = &[
    ("max by (pod) (slots) / on () group_left () sum(max by (pod) (slots))", |slots| slots / 28.0),
    ("max by (pod) (slots) / scalar(sum(max by (pod) (slots)))", |slots| slots / 28.0),
    ("max by (pod) (slots / on (service) group_left () sum by (service) (slots))", |slots| {
        slots / if slots < 3.5 { 6.0 } else { 9.0 }
    }),
    ("max by (pod) (slots) and on () (sum(slots) == 56)", |slots| slots),
    ("max by (pod) (slots) unless on () (max(slots) > 7)", |slots| slots),
    ("clamp_max(max by (pod) (slots), scalar(avg(slots)))", |slots| slots.min(4.0)),
    ("max by (pod) (slots) > bool on () group_left () avg(slots)", |slots| f64::from(slots > 4.0)),
    ("max by (pod) (slots) - on () group_left () min(slots)", |slots| slots - 1.0),
];

/// How many of a file are enough.
const OF_FILE: usize = 150;

/// The accepted ones of the file, evenly chosen.
fn of_file() -> Vec<Expression> {
    let Some(file) = std::env::var_os("NIMSCALE_PROMQL_FILE") else { return Vec::new() };
    let file = fs::read_to_string(file).expect("a file of expressions, one a line");
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |text: &str| {
        let Compiled { is_object, is_total, .. } = compile(text, "Deployment", Some("hold"))?;
        // A rate is completed with the sum, any other with the maximum; what is one sample is not completed.
        let says = match (is_object, is_total) {
            (true, true) => Says::Total,
            (true, false) => Says::Level,
            (false, _) if ["rate(", "increase("].iter().any(|function| text.contains(function)) => Says::Sum,
            (false, _) => Says::Max,
        };
        Some(Expression { text: text.to_owned(), says, idles: false, own: false })
    };
    let mut accepted: Vec<Expression> = lines.filter_map(read).collect();
    accepted.dedup_by(|a, b| a.text == b.text);
    let step = accepted.len().div_ceil(OF_FILE).max(1);
    accepted.into_iter().step_by(step).collect()
}
