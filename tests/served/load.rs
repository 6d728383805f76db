//! What the pods report: other values for each pod, model and second.

use std::collections::BTreeSet;
use std::time::Duration;

use nimscale_ground::Fleet;

/// The upper edges of a histogram's buckets in seconds, and how many of a hundred requests end under each: of a pod
/// with an even number, and of one with an odd number.
const BUCKETS: [(&str, [f64; 2]); 5] = [
    ("0.1", [10.0, 0.0]),
    ("0.5", [60.0, 25.0]),
    ("1.0", [85.0, 50.0]),
    ("2.5", [95.0, 90.0]),
    ("+Inf", [100.0, 100.0]),
];

/// Labels that Prometheus gives: a pod that reports them reports something else.
const OF_TARGET: &[&str] = &["namespace", "pod", "service", "job", "instance", "endpoint", "container"];

/// Reports all families of our own expressions.
pub fn own(fleet: &Fleet) {
    for (at, model) in ["small", "large"].into_iter().enumerate() {
        let gauge = |metric: &str, value: fn(f64, f64, f64) -> Option<f64>| {
            let script = move |pod, served: Duration| value(pod as f64, at as f64, served.as_secs_f64().floor());
            fleet.replay(&format!("{metric}{{model_name=\"{model}\"}}"), script);
        };
        gauge("gpu_cache_usage_perc", |pod, at, second| Some(0.0625 * (pod + 1.0 + at) + second % 7.0 / 128.0));
        gauge("num_requests_waiting", |pod, at, second| Some((3.0 * pod + 2.0 * at + second) % 17.0 + 0.25));
        gauge("num_requests_running", |pod, at, second| Some((pod + 5.0 * at + 2.0 * second) % 11.0));
        gauge("num_requests_limit", |pod, at, _| Some(16.0 + pod + 8.0 * at));
        gauge("generation_tokens", |pod, at, second| Some((pod + 1.0) * (at + 2.0) * second));
        gauge("generation_tokens_total", |pod, at, second| Some((pod + 1.0) * (at + 2.0) * second));
        gauge("restarting_total", |pod, at, second| Some((pod + 1.0) * (at + 0.5) * (second % 13.0)));
        gauge("half_of_them", |pod, at, _| (pod % 2.0 == 0.0).then_some(1.5 + pod + at));
    }
    for (engine, more) in [("0", 1.5), ("1", 2.75)] {
        let script = move |pod, served: Duration| Some(more * (pod + 1) as f64 + (served.as_secs() % 5) as f64);
        fleet.replay(&format!("vllm:num_requests_running{{engine=\"{engine}\"}}"), script);
    }
    for (reason, share) in [("stop", 0.75), ("length", 0.25)] {
        let script = move |pod, served: Duration| Some(share * (pod + 1) as f64 * served.as_secs_f64());
        fleet.replay(&format!("request_success_total{{finished_reason=\"{reason}\"}}"), script);
    }
    for (family, slower) in [("time_to_first_token_seconds", 1), ("e2e_request_latency_seconds", 2)] {
        // Each third pod has had requests, and has none any more.
        let requests = |pod: usize, served: Duration| {
            if pod % 3 == 1 { 500.0 } else { 100.0 * (pod + 1) as f64 * served.as_secs_f64().floor() }
        };
        for (le, of_hundred) in BUCKETS {
            let script = move |pod, served| Some(requests(pod, served) * of_hundred[(pod / slower) % 2] / 100.0);
            fleet.replay(&format!("{family}_bucket{{le=\"{le}\"}}"), script);
        }
        fleet.replay(&format!("{family}_count"), move |pod, served| Some(requests(pod, served)));
        fleet.replay(&format!("{family}_sum"), move |pod, served| Some(requests(pod, served) * (pod + 1) as f64 / 8.0));
    }
    fleet.replay("num_request_max", |pod, _| Some(16.0 + pod as f64));
    fleet.replay("slots", |pod, _| Some(pod as f64 + 1.0));
    fleet.replay("load_score", |pod, _| {
        [f64::INFINITY, f64::NAN, 3.5, f64::NEG_INFINITY, 2.25].get(pod).copied().or(Some(9.0))
    });
}

/// Reports what selectors of others ask for: each a series of its family, with the labels that it names. Families of
/// ours are reported already.
pub fn foreign(fleet: &Fleet, selectors: &BTreeSet<&str>, own: &BTreeSet<&str>) {
    for (at, selector) in selectors.iter().enumerate() {
        let (family, matchers) = (family(selector), selector.split_once('{').map_or("", |(_, matchers)| matchers));
        if own.contains(family) {
            continue;
        }
        let matchers = matchers.trim_end_matches('}');
        let equal = matchers.split(',').filter_map(|matcher| matcher.trim().split_once('='));
        let equal = equal.filter(|(label, value)| {
            let is_plain = value.len() > 2 && value.starts_with('"') && value.ends_with('"');
            is_plain && !label.ends_with('!') && !OF_TARGET.contains(label)
        });
        let labels: Vec<String> = equal.map(|(label, value)| format!("{label}={value}")).collect();
        let edges = if family.ends_with("_bucket") && !labels.iter().any(|label| label.starts_with("le=")) {
            BUCKETS.iter().map(|(le, _)| Some(*le)).collect()
        } else {
            vec![None]
        };
        for (bucket, edge) in edges.into_iter().enumerate() {
            let mut labels = labels.clone();
            labels.extend(edge.map(|le| format!("le=\"{le}\"")));
            let script = move |pod, served: Duration| {
                Some((at % 5 + 1) as f64 + (bucket + 1) as f64 * (pod + 1) as f64 * served.as_secs_f64())
            };
            fleet.replay(&format!("{family}{{{}}}", labels.join(",")), script);
        }
    }
}

/// The family that a selector names.
pub fn family(selector: &str) -> &str {
    selector.split_once('{').map_or(selector, |(family, _)| family).trim()
}
