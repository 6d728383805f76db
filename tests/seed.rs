//! The scenario that everything started with, on a real control plane: a NIM whose KV cache fills up scales from 1 to 3
//! and back to 1.

use std::thread::sleep;
use std::time::Duration;

use nimscale_ground::scenario::{self, NAME, NIM};
use nimscale_ground::{Ground, Options, Version, eventually, inside};

/// The rule and the HPA, as people write them by hand.
const BY_HAND: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: nimscale-adapter-config, namespace: monitoring}
data:
  config.yaml: |
    rules:
    - seriesQuery: 'gpu_cache_usage_perc{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      name: {as: gpu_cache_usage_perc}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: by-hand, namespace: nim}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: meta-llama3-8b-instruct}
  minReplicas: 1
  maxReplicas: 10
  metrics:
  - type: Pods
    pods:
      metric: {name: gpu_cache_usage_perc}
      target: {type: AverageValue, averageValue: 100m}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 2, periodSeconds: 2}]}
"#;

#[test]
fn rule_and_hpa_by_hand() {
    inside("rule_and_hpa_by_hand", Options::default(), |ground| {
        ground.install();
        ground.apply(NIM);
        ground.apply(BY_HAND);
        scales_up_and_back(ground, "gpu_cache_usage_perc");
    });
}

#[test]
fn one_annotation_rendered_and_applied() {
    inside("one_annotation_rendered_and_applied", Options::default(), one_annotation);
}

#[test]
fn one_annotation_on_prometheus_3() {
    let options = Options { prometheus: Version::V3, ..Options::default() };
    inside("one_annotation_on_prometheus_3", options, one_annotation);
}

fn one_annotation(ground: &Ground) {
    ground.install();
    let short = NIM.replace(
        "    nimscale.dev/scale: \"1..10\"\n",
        "    nimscale.dev/scale: \"1..10\"\n    nimscale.dev/behavior: \"down 2/2s after 0s\"\n",
    );
    let rendered = render(&short);
    let dry = ground.kubectl(&["apply", "--dry-run=server", "-f", "-"], &rendered);
    assert!(dry.accepted, "{}", dry.err);
    ground.apply(&rendered);
    let name = ground.metric_of("meta-llama3-8b-instruct-nimscale");
    scales_up_and_back(ground, &name);
}

#[test]
#[ignore = "takes 19 minutes: the windows of `balanced` are real seconds; run it with --ignored --nocapture"]
fn one_annotation_in_real_time() {
    inside("one_annotation_in_real_time", Options::default().in_real_time(), |ground| {
        ground.install();
        ground.apply(&render(NIM));
        ground.in_real_time();
    });
}

#[test]
#[ignore = "takes 10 minutes: the HPA's own window on the way down is 5; run it with --ignored --nocapture"]
fn by_hand_in_real_time() {
    inside("by_hand_in_real_time", Options::default().in_real_time(), |ground| {
        ground.install();
        ground.apply(NIM);
        // As in the post: no behavior.
        let (by_hand, _) = BY_HAND.split_once("  behavior:").expect("it has one");
        ground.apply(by_hand);
        ground.in_real_time();
    });
}

/// The post's values, as loads of the whole fleet: more replicas, less for each.
fn scales_up_and_back(ground: &Ground, metric: &str) {
    eventually("the metric is served", || {
        let values = ground.metric("nim", metric);
        values.len() == 1 && values[0].1 == "9m"
    });
    eventually("Prometheus knows the pod, with the labels of a ServiceMonitor", || {
        let scraped =
            ground.query("gpu_cache_usage_perc{namespace=\"nim\",container=\"nim\",endpoint=\"http-openai\"}");
        let known = ground.query("kube_pod_info{namespace=\"nim\"}");
        scraped.len() == 1 && known.len() == 1 && scraped[0]["metric"]["pod"] == known[0]["metric"]["pod"]
    });
    for quiet in [0.008, 0.001, 0.033, 0.056, 0.039] {
        ground.fleet.total("gpu_cache_usage_perc", quiet);
        sleep(Duration::from_secs(1));
    }
    assert_eq!(ground.replicas("deployment", "nim", NAME), 1, "a quiet NIM stays alone");
    ground.fleet.total("gpu_cache_usage_perc", 0.208);
    ground.scales_to("deployment", "nim", NAME, 3);
    ground.fleet.total("gpu_cache_usage_perc", 0.293);
    eventually("each of three pods has a third", || {
        let values = ground.metric("nim", metric);
        values.len() == 3 && values.iter().all(|(_, value)| value == "97m")
    });
    assert_eq!(ground.replicas("deployment", "nim", NAME), 3, "97m each is under the target");
    ground.fleet.total("gpu_cache_usage_perc", 0.007);
    ground.scales_to("deployment", "nim", NAME, 1);
}

fn render(manifest: &str) -> String {
    scenario::render(env!("CARGO_BIN_EXE_nimscale"), manifest)
}
