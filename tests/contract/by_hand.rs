//! What a reader can work out from `tests/contract/data.rs` alone, and see that both versions say it.

use super::compiler::Idle::{self, Hold, Zero};
use super::data::WorkloadKind::{Deployment, StatefulSet};
use super::data::{TIMES, WORKLOADS, WorkloadKind};
use super::expression::Root::{self, Level, Max, Sum, Total, Unique};
use super::expression::{Claim, plain};
use super::oracle::BOUND;
use super::request::Request;
use super::world::{Refusal, World};

const RESTARTS: &str = "nim-a-7d4f9c6b5d-x7k2p";
const IDLE: &str = "nim-a-7d4f9c6b5d-q8zrt";
const LATE: &str = "nim-a-large-5c9d8b7f6d-b2c4d";
const GONE: &str = "nim-a-58c6d9f7b4-mmw5v";
/// All pods live at this time; at the end one of `chat` is gone.
const ALL: u64 = TIMES[3];
const END: u64 = TIMES[5];
const QUANTILE: &str = "histogram_quantile(0.95, sum by (le, pod) (rate(latency_seconds_bucket[2m])))";

#[test]
fn values_of_pods_worked_out_by_hand() {
    let llm = |idle: Option<f64>| vec![(RESTARTS, Some(BOUND)), (IDLE, idle), (LATE, Some(-4.0))];
    let chat = vec![(RESTARTS, None), (IDLE, Some(BOUND)), (GONE, Some(2.0))];
    let batch = vec![("nim-a-0", Some(12.0)), ("worker-0", None), ("dcgm-exporter-x7k2p", Some(12.0))];
    let none = vec![(RESTARTS, None), (IDLE, None), (LATE, None)];

    // +Inf is the bound, NaN idles, -Inf is missing, and so is a pod without the series, whatever idle means.
    for (idle, nan) in [(Hold, None), (Zero, Some(0.0))] {
        pods("load_score", Max, idle, "llm", &llm(nan));
        pods("load_score", Max, idle, "chat", &chat);
        pods("load_score", Max, idle, "batch", &batch);
        pods("no_such_metric", Max, idle, "llm", &none);
        pods(QUANTILE, Unique, idle, "llm", &[(IDLE, nan)]);
    }
    // Two series: the larger. Two pods of one name: each its own. Two scrapes of a series: still the larger.
    pods("slots_in_use", Max, Hold, "llm", &[(RESTARTS, Some(7.0))]);
    pods("slots_in_use", Max, Hold, "chat", &[(RESTARTS, Some(20.0))]);
    // The user's own sum counts both scrapes, which is what the text says.
    pods("sum by (pod) (slots_in_use)", Unique, Hold, "llm", &[(RESTARTS, Some(20.0))]);
    pods("sum by (pod) (slots_in_use)", Unique, Hold, "batch", &[("nim-a-0", Some(1000.0))]);
    pods("0 * sum by (pod) (slots_in_use)", Unique, Hold, "llm", &[(RESTARTS, Some(0.0))]);
}

/// `sum(slots_in_use)` is 20 + 0 + 7 + 7 + 96 + 32 + 7 in `llm`, 62 + 7 + 7 in `chat`, 1000 + 7 + 7 in `batch`.
#[test]
fn shared_sides_worked_out_by_hand() {
    let share = "sum by (pod) (slots_in_use) / on () group_left () ⟦sum(slots_in_use)⟧";
    pods(
        share,
        Unique,
        Hold,
        "llm",
        &[(RESTARTS, Some(20.0 / 169.0)), (IDLE, Some(0.0)), ("nim-b-0", Some(96.0 / 169.0))],
    );
    pods(share, Unique, Hold, "chat", &[(RESTARTS, Some(62.0 / 76.0)), (GONE, Some(7.0 / 76.0))]);
    let mirrored = "⟦sum(slots_in_use)⟧ - on () group_right () sum by (pod) (slots_in_use)";
    pods(mirrored, Unique, Hold, "llm", &[(RESTARTS, Some(149.0)), (IDLE, Some(169.0))]);
    let largest = "sum by (pod) (slots_in_use) * ⟪scalar(max(slots_in_use))⟫";
    pods(largest, Unique, Hold, "llm", &[(RESTARTS, Some(640.0)), (IDLE, Some(0.0)), ("nim-b-1", Some(BOUND))]);
    let clamped = "clamp_max(sum by (pod) (slots_in_use), ⟪scalar(max(slots_in_use))⟫)";
    pods(clamped, Unique, Hold, "llm", &[(RESTARTS, Some(20.0)), ("nim-b-0", Some(32.0))]);
    // No number where there are two series: it idles.
    for (idle, nan) in [(Hold, None), (Zero, Some(0.0))] {
        pods("max by (pod) (slots_in_use) + ⟪scalar(queue_limit)⟫", Unique, idle, "llm", &[(RESTARTS, nan)]);
    }

    let quiet = "max by (pod) (slots_in_use) unless on () ⟦sum(slots_in_use) > 100⟧";
    pods(quiet, Unique, Hold, "llm", &[(RESTARTS, None), ("nim-b-0", None)]);
    pods(quiet, Unique, Hold, "chat", &[(RESTARTS, Some(20.0)), (GONE, Some(2.5))]);
    let busy = "max by (pod) (slots_in_use) and ignoring (pod) ⟦sum(slots_in_use) > 100⟧";
    pods(busy, Unique, Hold, "llm", &[(RESTARTS, Some(7.0)), ("nim-b-0", Some(32.0))]);
    pods(busy, Unique, Hold, "chat", &[(RESTARTS, None), (GONE, None)]);

    // Of its namespace, by model: 48 and 16 in `llm`, 24 and 8 in `chat`, none in `batch`.
    let of_model =
        "max by (pod) (sum by (pod, model_name) (slots_in_use) / on (model_name) group_left () ⟦queue_limit⟧)";
    pods(of_model, Unique, Hold, "llm", &[(RESTARTS, Some(14.0 / 16.0)), ("nim-b-0", Some(4.0))]);
    pods(of_model, Unique, Hold, "chat", &[(RESTARTS, Some(22.0 / 8.0))]);
    pods(of_model, Unique, Hold, "batch", &[("nim-a-0", None)]);
    // Of the cluster: 3 and 5.
    let of_cluster = "sum by (pod) (slots_in_use) / on () group_left () ⟦sum(cluster_budget)⟧";
    pods(of_cluster, Unique, Hold, "llm", &[(RESTARTS, Some(2.5)), ("nim-b-0", Some(12.0))]);
    pods(of_cluster, Unique, Hold, "batch", &[("nim-a-0", Some(125.0))]);
}

#[test]
fn gpus_worked_out_by_hand() {
    pods("DCGM_FI_DEV_POWER_USAGE", Max, Hold, "llm", &[(RESTARTS, Some(300.0)), (IDLE, Some(60.0)), (LATE, None)]);
    pods("DCGM_FI_DEV_POWER_USAGE", Max, Hold, "chat", &[(RESTARTS, Some(510.0)), (GONE, None)]);
    pods("DCGM_FI_DEV_POWER_USAGE", Max, Hold, "batch", &[("dcgm-exporter-x7k2p", None), ("nim-a-0", None)]);
    pods("deriv(DCGM_FI_DEV_POWER_USAGE[2m])", Max, Hold, "llm", &[(RESTARTS, Some(0.0)), (LATE, None)]);
    let of_slots = "sum by (pod) (DCGM_FI_DEV_POWER_USAGE) / on (pod) sum by (pod) (slots_in_use)";
    pods(of_slots, Unique, Hold, "llm", &[(RESTARTS, Some(20.0)), (IDLE, Some(BOUND)), (LATE, None)]);
    pods(of_slots, Unique, Hold, "chat", &[(RESTARTS, Some(1010.0 / 62.0))]);
    // All of the namespace's: 400 + 110 + 420 in `llm`.
    let share = "1000 * sum by (pod) (DCGM_FI_DEV_POWER_USAGE) / on () group_left () ⟦sum(DCGM_FI_DEV_POWER_USAGE)⟧";
    pods(share, Unique, Hold, "llm", &[(RESTARTS, Some(1000.0 * 400.0 / 930.0)), (LATE, None)]);

    // Alone it counts its own pods; beside the pods' own series it does not.
    let mean = "avg(⟨DCGM_FI_DEV_POWER_USAGE⟩)";
    workload(mean, Level(Deployment), Hold, ALL, &[("llm/nim-a", Some(255.0)), ("llm/nim-a-large", None)]);
    workload(mean, Level(StatefulSet), Hold, ALL, &[("llm/nim-b", Some(210.0)), ("batch/nim-a", None)]);
    let beside = "max(max by (pod) (⟨DCGM_FI_DEV_POWER_USAGE⟩) + on (pod) max by (pod) (⟨slots_in_use⟩))";
    workload(beside, Level(StatefulSet), Hold, ALL, &[("llm/nim-b", Some(2.0 * 252.0))]);
    workload("sum(⟨DCGM_FI_DEV_POWER_USAGE⟩)", Total(Deployment), Hold, ALL, &[("llm/nim-a", Some(510.0))]);
}

#[test]
fn values_of_workloads_worked_out_by_hand() {
    let total = "sum(⟨slots_in_use⟩)";
    let deployments = [("llm/nim-a", 20.0), ("llm/nim-a-large", 7.0), ("llm/nim-b", 7.0), ("chat/nim-a", 76.0)];
    workload(total, Total(Deployment), Hold, ALL, &deployments.map(|(name, value)| (name, Some(value))));
    let sets = [("llm/nim-b", 128.0), ("batch/nim-a", 1000.0), ("batch/worker", 7.0)];
    workload(total, Total(StatefulSet), Hold, ALL, &sets.map(|(name, value)| (name, Some(value))));
    workload(total, Total(Deployment), Hold, END, &[("chat/nim-a", Some(69.0))]);

    // A level is multiplied by the pods that have the series, which the HPA divides by again.
    let level = "max(⟨slots_in_use⟩)";
    workload(level, Level(Deployment), Hold, ALL, &[("llm/nim-a", Some(14.0)), ("chat/nim-a", Some(60.0))]);
    workload(level, Level(Deployment), Hold, END, &[("llm/nim-a", Some(14.0)), ("chat/nim-a", Some(40.0))]);
    workload(level, Level(StatefulSet), Hold, ALL, &[("llm/nim-b", Some(64.0)), ("batch/worker", Some(2.5))]);
    let one = r#"max(⟨slots_in_use{pod!~".*q8zrt"}⟩)"#;
    workload(one, Level(Deployment), Hold, ALL, &[("llm/nim-a", Some(7.0)), ("chat/nim-a", Some(40.0))]);
    // The factor is outside the bound.
    workload("max(⟨load_score⟩)", Level(Deployment), Hold, ALL, &[("llm/nim-a", Some(2.0 * BOUND))]);

    // What is not a number idles, with its factor; a series that is not there is missing.
    for (idle, nan) in [(Hold, None), (Zero, Some(0.0))] {
        let idles = r#"max(⟨load_score{pod=~".*q8zrt"}⟩)"#;
        workload(idles, Level(Deployment), idle, ALL, &[("llm/nim-a", nan), ("llm/nim-a-large", None)]);
        workload("sum(⟨no_such_metric⟩)", Total(Deployment), idle, ALL, &[("llm/nim-a", None)]);
        workload("max(⟨load_score⟩)", Level(StatefulSet), idle, ALL, &[("batch/worker", None)]);
        let mean = r#"sum(rate(⟨latency_seconds_sum{pod=~".*q8zrt"}⟩[2m])) / sum(rate(⟨latency_seconds_count{pod=~".*q8zrt"}⟩[2m]))"#;
        workload(mean, Level(Deployment), idle, ALL, &[("llm/nim-a", nan)]);
    }

    // Sides without a pod, of the namespace and of the cluster.
    workload(
        "sum(⟨queue_limit⟩)",
        Total(Deployment),
        Hold,
        ALL,
        &[("llm/nim-a", Some(64.0)), ("chat/nim-a", Some(32.0))],
    );
    workload("sum(⟨queue_limit⟩)", Total(StatefulSet), Hold, ALL, &[("llm/nim-b", Some(64.0)), ("batch/nim-a", None)]);
    let filled = "sum(⟨slots_in_use⟩) / sum(⟨queue_limit⟩)";
    workload(filled, Level(Deployment), Hold, ALL, &[("llm/nim-a", Some(2.0 * 20.0 / 64.0))]);
    let budget = "sum(⟨slots_in_use⟩) / on () group_left () sum(⟨cluster_budget⟩)";
    workload(budget, Total(Deployment), Hold, ALL, &[("llm/nim-a", Some(2.5)), ("chat/nim-a", Some(9.5))]);
}

/// What no template could be right for.
#[test]
fn what_has_no_value_is_refused() {
    let of_pod = [
        ("absent(slots_in_use)", "NS0323"),
        ("topk(2, slots_in_use)", "NS0324"),
        ("max by (pod) (slots_in_use) or vector(0)", "NS0322"),
        ("max by (pod) (slots_in_use) or on (model_name) max by (pod) (queue_depth)", "NS0332"),
        ("max by (pod) (slots_in_use) / max(slots_in_use)", "NS0330"),
        ("max by (pod) (slots_in_use) * on () max by (pod) (queue_depth)", "NS0334"),
        (r#"max by (pod) (label_replace(slots_in_use, "pod", "x", "", ""))"#, "NS0341"),
    ];
    for world in World::shared() {
        for (text, codes) in of_pod {
            match world.compile(Claim { text, root: Unique, idle: Hold }) {
                Err(Refusal::Codes(found)) => assert_eq!(found.join(" "), codes, "{text}"),
                other @ (Ok(_) | Err(Refusal::OtherKind(_))) => panic!("{text}: {other:?}"),
            }
        }
    }
}

fn pods(text: &str, root: Root, idle: Idle, namespace: &'static str, expected: &[(&'static str, Option<f64>)]) {
    let names = expected.iter().map(|(name, _)| *name).collect();
    by_hand(Claim { text, root, idle }, ALL, &[(Request::Pods(namespace, names), expected.to_vec())]);
}

/// The names are `namespace/name`.
fn workload(text: &str, root: Root, idle: Idle, time: u64, expected: &[(&str, Option<f64>)]) {
    let request = |(path, value): &(&str, Option<f64>)| {
        let named = WORKLOADS.iter().find(|workload| {
            format!("{}/{}", workload.namespace, workload.name) == *path && Some(workload.kind) == kind(root)
        });
        let workload = *named.unwrap_or_else(|| panic!("no workload {path}"));
        (Request::Workload(workload), vec![(workload.name, *value)])
    };
    by_hand(Claim { text, root, idle }, time, &expected.iter().map(request).collect::<Vec<_>>());
}

fn kind(root: Root) -> Option<WorkloadKind> {
    match root {
        Unique | Max | Sum => None,
        Total(kind) | Level(kind) => Some(kind),
    }
}

/// A name, and its value if it has one.
type Named<'a> = (&'a str, Option<f64>);

fn by_hand(claim: Claim<'_>, time: u64, requests: &[(Request, Vec<Named<'_>>)]) {
    let text = claim.text;
    for world in World::shared() {
        let template = accepted(world, claim);
        for (request, expected) in requests {
            let values = world.metric(&template, request, time);
            let values = values.unwrap_or_else(|error| panic!("{text}: {error}\n{template}"));
            for (name, want) in expected {
                let found: Vec<_> = values.iter().filter(|(found, _)| found == name).map(|(_, value)| *value).collect();
                let close = match (want, &found[..]) {
                    (None, []) => true,
                    (Some(want), [got]) => (want - got).abs() <= 1e-9 * want.abs(),
                    (None | Some(_), _) => false,
                };
                let asked = (world.version, request);
                assert!(close, "{name}: expected {want:?}, got {found:?}: {text} {asked:?}\n{template}");
            }
        }
    }
    // What the oracle says is no other thing; one version is enough.
    let world = &World::shared()[text.len() % 2];
    let tally = world.check(claim, &accepted(world, claim), &world.expected(claim, &[time]));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

pub fn accepted(world: &World, claim: Claim<'_>) -> String {
    world.compile(claim).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", plain(claim.text)))
}
