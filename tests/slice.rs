//! One annotation scales a NIM on a real cluster, from `kubectl apply` to the replicas.

use std::thread::sleep;
use std::time::Duration;

use nimscale_ground::product::{condition, config, installed, nimscale, options, rolls};
use nimscale_ground::scenario::{NAME, NIM};
use nimscale_ground::{Ground, eventually, inside};

/// The NIM of the examples with other annotations, one a line; down as fast as it goes.
fn nim(annotations: &str) -> String {
    let (head, rest) = NIM.split_once("  annotations:\n").expect("it has annotations");
    let (_, tail) = rest.split_once("spec:\n").expect("it has a spec");
    format!("{head}  annotations:\n    nimscale.dev/behavior: \"down 2/2s after 0s\"\n{annotations}spec:\n{tail}")
}

#[test]
fn one_annotation() {
    inside("one_annotation", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        let before = rolls(ground);
        ground.fleet.total("gpu_cache_usage_perc", 0.009);
        ground.apply(&nim("    nimscale.dev/keep: \"gpu_cache_usage_perc < 0.1\"\n"));
        up_and_back(ground);
        assert!(config(ground).contains("nimscale_gpu_cache_usage_perc_"), "the rule is in the ConfigMap");
        assert_eq!(rolls(ground), before + 1, "the adapter was rolled for it, once");
        let (ready, ..) = condition(ground, "nim", &format!("deployment.{NAME}"), "Ready");
        assert_eq!(ready, "True");
        let (status, talk, done) = nimscale(ground, &["status", "-n", "nim"]);
        assert!(done, "{status}{talk}");
        println!("{status}");
    });
}

#[test]
#[ignore = "takes 19 minutes: the windows of `balanced` are real seconds; run it with --ignored --nocapture"]
fn one_annotation_in_real_time() {
    let options = options(env!("CARGO_BIN_EXE_nimscale")).in_real_time();
    inside("one_annotation_in_real_time", options, |ground| {
        installed(ground, &[]);
        ground.fleet.total("gpu_cache_usage_perc", 0.009);
        ground.apply(NIM);
        sees_a_value(ground);
        ground.in_real_time();
    });
}

/// 1 → 3 → 1, by the post's values.
fn up_and_back(ground: &Ground) {
    sees_a_value(ground);
    for quiet in [0.008, 0.033, 0.056] {
        ground.fleet.total("gpu_cache_usage_perc", quiet);
        sleep(Duration::from_secs(1));
    }
    assert_eq!(ground.replicas("deployment", "nim", NAME), 1, "a quiet NIM stays alone");
    ground.fleet.total("gpu_cache_usage_perc", 0.208);
    ground.scales_to("deployment", "nim", NAME, 3);
    ground.fleet.total("gpu_cache_usage_perc", 0.007);
    ground.scales_to("deployment", "nim", NAME, 1);
}

fn sees_a_value(ground: &Ground) {
    eventually("the HPA is there and sees a value", || {
        let hpa = ground.get("hpa", "nim", &format!("{NAME}-nimscale"));
        // A metric that was not read is an object, too.
        hpa["status"]["currentMetrics"][0]["pods"]["current"]["averageValue"].is_string()
    });
}
