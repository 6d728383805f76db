//! Metrics of a workload as a whole scale it by its own pods alone: totals, read as N per replica, and levels.

#[path = "support/workload.rs"]
mod workload;

use std::thread::sleep;
use std::time::Duration;

use nimscale_ground::product::{condition, installed, options};
use nimscale_ground::{Ground, eventually, inside};
use serde_json::{Value, json};
use workload::workload;

const QUEUE: &str = "num_requests_waiting";
const CACHE: &str = "gpu_cache_usage_perc";

const TOTAL: &str = "queue: sum(num_requests_waiting) < 8";
const LEVEL: &str = "worst: max(gpu_cache_usage_perc) < 0.75";

/// Up and down as fast as it goes.
const OFTEN: &str = "up 7/1s; down 7/1s after 0s";

/// Three are called so that one reads another's pods when its own are told by less than namespace and whole name.
const NIM: Of = Of("Deployment", "nim", "nim");
const LARGE: Of = Of("Deployment", "nim", "nim-large");
const OTHER: Of = Of("Deployment", "other", "nim");
const SET: Of = Of("StatefulSet", "nim", "set");

#[test]
fn a_workload_scales_by_its_own_pods_alone() {
    inside("a_workload_scales_by_its_own_pods_alone", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        ground.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n");
        let both = format!("{TOTAL}\n{LEVEL}");
        report_nothing_to_do(ground);
        for (of, keep) in [(NIM, both.as_str()), (LARGE, &both), (OTHER, &both), (SET, LEVEL)] {
            let Of(kind, namespace, name) = of;
            let mut workload =
                workload(kind, namespace, name, &[("scale", "1..8"), ("keep", keep), ("behavior", OFTEN)]);
            // Without a probe its pods are Ready while they load.
            let container = workload["spec"]["template"]["spec"]["containers"][0].as_object_mut();
            container.expect("it has one").remove("readinessProbe");
            ground.apply(&workload.to_string());
        }
        for (of, targets) in
            [(NIM, &["8", "750m"][..]), (LARGE, &["8", "750m"]), (OTHER, &["8", "750m"]), (SET, &["750m"])]
        {
            of.is_attached(ground, targets);
        }
        totals(ground);
        levels(ground);
    });
}

/// A Deployment or StatefulSet: kind, namespace, name.
#[derive(Clone, Copy)]
struct Of(&'static str, &'static str, &'static str);

/// That many of a workload's pods report; the others load still.
const ALL: usize = usize::MAX;

/// 26 / 8, 50 / 8 and 12 / 8, rounded up; 76 / 8 or 38 / 8 would be more.
fn totals(ground: &Ground) {
    for (of, queue) in [(NIM, 26.0), (LARGE, 50.0), (OTHER, 12.0)] {
        of.reports(ground, QUEUE, queue, ALL);
    }
    stay(ground, &[(NIM, 4), (LARGE, 7), (OTHER, 2), (SET, 1)]);
    for (of, each) in [(NIM, "6500m"), (OTHER, "6")] {
        eventually("the HPA says what is a replica's", || of.average(ground, "8") == each);
    }
    quiet(ground);
}

/// 2.6 / 0.75 and 1.4 / 0.75, rounded up, as long as one pod alone serves: nothing runs away while the others load.
fn levels(ground: &Ground) {
    for (of, level, loaded) in [(NIM, 2.6, 1), (LARGE, 0.3, ALL), (OTHER, 0.5, ALL), (SET, 1.4, 1)] {
        of.reports(ground, CACHE, level, loaded);
    }
    stay(ground, &[(NIM, 4), (LARGE, 1), (OTHER, 1), (SET, 2)]);
    eventually("the HPA divides by the replicas", || NIM.average(ground, "750m") == "650m");
    quiet(ground);
    // The neighbours in turn. A level that stays over its target with each pod takes all replicas that there are.
    for (of, level, loaded) in [(NIM, 0.3, ALL), (LARGE, 3.3, 1), (OTHER, 1.2, 1), (SET, 1.4, ALL)] {
        of.reports(ground, CACHE, level, loaded);
    }
    stay(ground, &[(NIM, 1), (LARGE, 5), (OTHER, 2), (SET, 8)]);
    eventually("where all pods serve it is what the text says", || SET.average(ground, "750m") == "1400m");
    quiet(ground);
}

fn quiet(ground: &Ground) {
    report_nothing_to_do(ground);
    stay(ground, &[(NIM, 1), (LARGE, 1), (OTHER, 1), (SET, 1)]);
}

fn report_nothing_to_do(ground: &Ground) {
    for of in [NIM, LARGE, OTHER, SET] {
        of.reports(ground, QUEUE, 0.0, ALL);
        of.reports(ground, CACHE, 0.01, ALL);
    }
}

/// All have these replicas at once, and a few passes of the HPA controller later still.
fn stay(ground: &Ground, replicas: &[(Of, u64)]) {
    for (Of(kind, namespace, name), wanted) in replicas {
        ground.scales_to(kind, namespace, name, *wanted);
    }
    for _ in 0..3 {
        sleep(Duration::from_secs(1));
        for (Of(kind, namespace, name), wanted) in replicas {
            assert_eq!(ground.replicas(kind, namespace, name), *wanted, "{kind} {namespace}/{name}");
        }
    }
}

impl Of {
    /// Lets the first of its pods report a load, and so many of them anything at all.
    fn reports(self, ground: &Ground, metric: &str, load: f64, loaded: usize) {
        let Self(_, namespace, name) = self;
        ground.fleet.replay_of(&format!("{namespace}/{name}"), metric, move |pod, _| {
            (pod < loaded).then_some(if pod == 0 { load } else { 0.0 })
        });
    }

    /// Its HPA reads metrics of the workload itself, with these targets, and the plan says that all is well.
    fn is_attached(self, ground: &Ground, targets: &[&str]) {
        let Self(kind, namespace, name) = self;
        let plan = format!("{}.{name}", kind.to_lowercase());
        eventually(&format!("{namespace}/{name} is ready"), || {
            condition(ground, namespace, &plan, "Ready").0 == "True"
        });
        for type_ in ["ScalingActive", "MetricsAvailable", "RulesPublished"] {
            assert_eq!(condition(ground, namespace, &plan, type_).0, "True", "{type_} of {namespace}/{name}");
        }
        let hpa = self.hpa(ground);
        let metrics = hpa["spec"]["metrics"].as_array().cloned().unwrap_or_default();
        let mut averages: Vec<&str> = Vec::new();
        for metric in &metrics {
            assert_eq!(metric["type"], "Object", "{metric}");
            let described = json!({"apiVersion": "apps/v1", "kind": kind, "name": name});
            assert_eq!(metric["object"]["describedObject"], described);
            let target = &metric["object"]["target"];
            assert_eq!(target["type"], "AverageValue");
            averages.extend(target["averageValue"].as_str());
        }
        averages.sort_unstable();
        averages.sort_by_key(|average| average.ends_with('m'));
        assert_eq!(averages, targets);
    }

    /// What its HPA last read for a replica, of the metric with this target.
    fn average(self, ground: &Ground, target: &str) -> String {
        let hpa = self.hpa(ground);
        let metrics = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let with_target = |metric: &&Value| metric["object"]["target"]["averageValue"] == target;
        let wanted = metrics(&hpa["spec"]["metrics"]);
        let wanted = wanted.iter().find(with_target).expect("it has this target");
        let current = metrics(&hpa["status"]["currentMetrics"]);
        let same = |metric: &&Value| metric["object"]["metric"] == wanted["object"]["metric"];
        let current = current.iter().find(same).map(|metric| metric["object"]["current"]["averageValue"].clone());
        current.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn hpa(self, ground: &Ground) -> Value {
        let Self(_, namespace, name) = self;
        ground.get("hpa", namespace, &format!("{name}-nimscale"))
    }
}
