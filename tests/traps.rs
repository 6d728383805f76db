//! The traps that the design goes around, each reproduced on the real control plane: they are why it is as it is.

use std::thread::sleep;
use std::time::Duration;

use nimscale_ground::scenario::{self, ADAPTER, NAME, NIM, config};
use nimscale_ground::{Ground, Model, Names, Options, eventually, inside};

#[test]
fn overload_scales_up_and_never_down() {
    inside("overload_scales_up_and_never_down", Options::default(), |ground| {
        ground.install();
        let short = NIM.replace("1..10\"", "1..4\"\n    nimscale.dev/behavior: \"up 4/1s; down 1/1s after 0s\"");
        let rendered = render(&short);
        ground.apply(&rendered);
        ground.fleet.each("gpu_cache_usage_perc", f64::INFINITY);
        ground.scales_to("deployment", "nim", NAME, 4);
        let metric = ground.metric_of("meta-llama3-8b-instruct-nimscale");
        eventually("+Inf reads as the bound", || {
            let values = ground.metric("nim", &metric);
            values.len() == 4 && values.iter().all(|(_, value)| value == "1k")
        });
        for _ in 0..5 {
            assert_eq!(ground.replicas("deployment", "nim", NAME), 4, "overload holds");
            sleep(Duration::from_secs(1));
        }
        // The same with a bound of 1e12: the HPA casts to int32, and overload becomes a scale-down.
        let mutant = rendered.replace(", 1000) > -Inf", ", 1000000000000) > -Inf");
        assert_ne!(mutant, rendered);
        ground.apply(&mutant);
        roll(ground);
        eventually("a bound of 1e12 scales down under overload", || ground.replicas("deployment", "nim", NAME) < 4);
    });
}

#[test]
fn an_adapter_with_a_bad_rule_dies_at_its_roll_while_the_old_one_serves() {
    inside("an_adapter_with_a_bad_rule_dies_at_its_roll_while_the_old_one_serves", Options::default(), |ground| {
        ground.install();
        ground.fleet.each("gpu_cache_usage_perc", 0.05);
        ground.apply(&render(NIM));
        let metric = ground.metric_of("meta-llama3-8b-instruct-nimscale");
        eventually("the metric is served", || !ground.metric("nim", &metric).is_empty());
        let watched = ground.never_loses("nim", &metric);
        let good = ground.get("configmap", "monitoring", "nimscale-adapter-config");
        let good = good["data"]["config.yaml"].as_str().expect("a config").to_owned();
        let bad = good.replace("<<.GroupBy>>", "<<.GroupBy");
        ground.apply(&config(&bad));
        roll_begins(ground);
        eventually("the new adapter dies again and again", || {
            let pods = ground.kubectl(&["get", "pods", "-n", "monitoring", "-o", "jsonpath={..restartCount}"], "").out;
            pods.split(' ').any(|count| count.parse::<u32>().is_ok_and(|count| count >= 2))
        });
        drop(watched);
        ground.apply(&config(&good));
        roll(ground);
        eventually("the metric is served again", || !ground.metric("nim", &metric).is_empty());
    });
}

#[test]
fn one_bad_series_query_stops_the_discovery_of_all() {
    inside("one_bad_series_query_stops_the_discovery_of_all", Options::default(), |ground| {
        ground.install();
        ground.fleet.each("gpu_cache_usage_perc", 0.05);
        ground.apply(&render(NIM));
        let metric = ground.metric_of("meta-llama3-8b-instruct-nimscale");
        eventually("the metric is served", || !ground.metric("nim", &metric).is_empty());
        let good = ground.get("configmap", "monitoring", "nimscale-adapter-config");
        let good = good["data"]["config.yaml"].as_str().expect("a config").to_owned();
        let bad_rule = "- {seriesQuery: 'rate(up[5m])', resources: {overrides: {namespace: {resource: namespace}}}, name: \
                        {as: bad}, metricsQuery: 'up'}\n";
        ground.apply(&config(&format!("{good}{bad_rule}")));
        roll(ground);
        let names = || {
            let listed = ground.raw("/apis/custom.metrics.k8s.io/v1beta1").unwrap_or_default();
            listed["resources"].as_array().map_or(0, Vec::len)
        };
        for _ in 0..8 {
            assert_eq!(names(), 0, "nothing is listed, though the adapter is Ready");
            sleep(Duration::from_secs(1));
        }
        ground.apply(&config(&good));
        roll(ground);
        eventually("the names are listed again", || names() > 0);
    });
}

#[test]
fn an_apply_of_replicas_resets_what_the_hpa_chose() {
    inside("an_apply_of_replicas_resets_what_the_hpa_chose", Options::default(), |ground| {
        ground.install();
        let manifest = NIM
            .replace("1..10\"", "1..10\"\n    nimscale.dev/behavior: \"up 4/1s\"")
            .replace("spec:\n  selector:", "spec:\n  replicas: 1\n  selector:");
        assert_ne!(manifest, NIM);
        ground.fleet.total("gpu_cache_usage_perc", 0.25);
        ground.apply(&render(&manifest));
        ground.scales_to("deployment", "nim", NAME, 3);
        ground.apply(&manifest);
        assert_eq!(ground.replicas("deployment", "nim", NAME), 1, "the line in the manifest wins, for a while");
        ground.scales_to("deployment", "nim", NAME, 3);
    });
}

#[test]
fn a_metric_is_listed_before_its_first_pod_exists() {
    inside("a_metric_is_listed_before_its_first_pod_exists", Options::default(), |ground| {
        ground.install();
        // The rules alone: no workload has ever run.
        let rendered = render(NIM);
        let rules = rendered.split("---\n").find(|text| text.contains("kind: ConfigMap")).expect("the rules");
        ground.apply(rules);
        eventually("the metric is listed", || {
            let listed = ground.raw("/apis/custom.metrics.k8s.io/v1beta1").unwrap_or_default();
            listed.to_string().contains("pods/nimscale_gpu_cache_usage_perc_")
        });
    });
}

/// What keeps a NIM that loads from multiplying: on the way up the HPA counts a pod without a sample as 0.
#[test]
fn pods_without_a_sample_hold_the_way_up() {
    inside("pods_without_a_sample_hold_the_way_up", Options::default(), |ground| {
        ground.install();
        let loads = Duration::from_secs(8);
        ground.fleet.replay("gpu_cache_usage_perc", move |pod, served| (pod == 0 || served > loads).then_some(0.29));
        let short = NIM.replace("1..10\"", "1..10\"\n    nimscale.dev/behavior: \"up 9/1s\"");
        ground.apply(&render(&short));
        ground.scales_to("deployment", "nim", NAME, 3);
        sleep(loads / 2);
        assert_eq!(ground.replicas("deployment", "nim", NAME), 3, "290m of three pods is 97m each");
        ground.scales_to("deployment", "nim", NAME, 9);
    });
}

#[test]
fn a_pod_that_never_becomes_ready_makes_its_roll_fail() {
    inside("a_pod_that_never_becomes_ready_makes_its_roll_fail", Options::default(), |ground| {
        ground.install();
        let failing = NIM.replace(
            "labels: {app: meta-llama3-8b-instruct}\n    spec:",
            "labels: {app: meta-llama3-8b-instruct}\n      annotations: {ground/fails: \"true\"}\n    spec:",
        );
        assert_ne!(failing, NIM);
        ground.apply(NIM);
        let status = |timeout: &str| {
            let deployment = format!("deployment/{NAME}");
            ground.kubectl(&["rollout", "status", &deployment, "-n", "nim", "--timeout", timeout], "").accepted
        };
        assert!(status("30s"), "the first pod becomes Ready");
        ground.apply(&failing);
        assert!(!status("5s"), "the roll waits for a pod that never comes");
        let refused = ground.rejects(&NIM.replace("spec:\n  selector:", "spec:\n  replicas: -1\n  selector:"));
        assert!(refused.contains("must be greater than or equal to 0"), "{refused}");
    });
}

#[test]
fn a_hostile_name_reads_another_namespace_only_without_quotes() {
    inside("a_hostile_name_reads_another_namespace_only_without_quotes", Options::default(), |ground| {
        ground.apply(ADAPTER);
        ground.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n");
        ground.fleet.each("gpu_cache_usage_perc", 0.05);
        ground.apply(NIM);
        // A Deployment's metric is listed by a series with its label; here the service has the Deployment's name.
        let rule = |name: &str, workload: &str| {
            format!(
                "- seriesQuery: gpu_cache_usage_perc\n  resources: {{overrides: {{namespace: {{resource: namespace}}, \
                 service: {{group: apps, resource: deployment}}}}}}\n  name: {{as: {name}}}\n  metricsQuery: \
                 'label_replace(max(gpu_cache_usage_perc{{namespace=<<printf \"%q\" (index .LabelValuesByName \
                 \"namespace\")>>,pod=~{workload}}}), \"service\", <<printf \"%q\" (index .LabelValuesByName \
                 \"service\")>>, \"\", \"\")'\n"
            )
        };
        let bare = rule("bare", "\"<<index .LabelValuesByName \"service\">>-.*\"");
        let quoted = rule("quoted", "<<printf \"%q\" (printf \"%s-.*\" (index .LabelValuesByName \"service\"))>>");
        ground.apply(&config(&format!("rules:\n{bare}{quoted}")));
        // Asked from a namespace that has no NIM; the name closes the matcher and reads the other one's.
        let ask = |metric: &str, name: &str| {
            let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            ground.raw(&format!(
                "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/deployments.apps/{name}/{metric}"
            ))
        };
        let hostile = "zz\"} or gpu_cache_usage_perc{namespace=\"nim\",pod!~\"zz";
        eventually("without quotes the name reads another namespace", || {
            ask("bare", hostile).is_ok_and(|answer| answer["items"][0]["value"] == "50m")
        });
        let own = ground
            .raw("/apis/custom.metrics.k8s.io/v1beta1/namespaces/nim/deployments.apps/meta-llama3-8b-instruct/quoted");
        assert_eq!(own.expect("its own namespace reads it")["items"][0]["value"], "50m");
        assert!(ask("quoted", hostile).is_err(), "with quotes it reads nothing");
    });
}

#[test]
fn every_preset_is_served_for_both_kinds() {
    // Two monitors find each pod, as with nim-llm's chart: nothing may double.
    let options = Options { scrape_twice: true, ..Options::default() };
    inside("every_preset_is_served_for_both_kinds", options, |ground| {
        ground.install();
        let model = |names| Model { requests_per_second: 12.0, seconds_per_request: 2.0, slots: 8.0, names };
        let annotated = NIM.replace(
            "    nimscale.dev/keep: \"gpu_cache_usage_perc < 0.1\"\n",
            "    nimscale.dev/behavior: \"up off; down off\"\n",
        );
        let annotated = annotated.replace("\"1..10\"", "\"1..10 kv-cache<75% queue-depth<8 ttft-p95<2.5s\"");
        let stateful = annotated
            .replace("kind: Deployment", "kind: StatefulSet")
            .replace("meta-llama3-8b-instruct", "my-nim")
            .replace("\nspec:\n", "\nspec:\n  serviceName: my-nim\n");
        let rendered = render(&format!("{annotated}---\n{stateful}"));
        let dry = ground.kubectl(&["apply", "--dry-run=server", "-f", "-"], &rendered);
        assert!(dry.accepted, "{}", dry.err);
        ground.apply(&rendered);
        let hpa = ground.get("hpa", "nim", "my-nim-nimscale");
        let metrics = hpa["spec"]["metrics"].as_array().expect("metrics").clone();
        assert_eq!(metrics.len(), 3);
        eventually("both pods serve", || {
            let ready =
                ground.kubectl(&["wait", "pod", "--all", "-n", "nim", "--for=condition=Ready", "--timeout=5s"], "");
            ready.out.matches("condition met").count() == 2
        });
        for names in [Names::Nim1, Names::Vllm] {
            ground.fleet.offer(model(names));
            for metric in &metrics {
                let name = metric["pods"]["metric"]["name"].as_str().expect("a name");
                // Two pods share 12 requests a second of 2 s each: 12 want the 8 slots of a pod, so 4 wait, and each in
                // front of them takes its time: 0.1 s and half of 2 s, in the bucket from 1.0 to 2.5; p95 by
                // interpolation is 1 + 1.5 x 0.95 = 2.425.
                let of_metric = [("gpu_cache", "1"), ("num_requests_waiting", "4"), ("time_to_first_token", "2425m")];
                let (_, expected) =
                    of_metric.into_iter().find(|(part, _)| name.contains(part)).expect("one of the three");
                eventually(&format!("{name} is {expected} for a pod of each kind, {names:?}"), || {
                    let values = ground.metric("nim", name);
                    let of =
                        |prefix: &str| values.iter().any(|(pod, value)| pod.starts_with(prefix) && value == expected);
                    values.len() == 2 && of("my-nim-0") && of("meta-llama3-")
                });
            }
            let prefix = if names == Names::Vllm { "vllm:" } else { "" };
            for family in ["request_success_total", "generation_tokens_total", "e2e_request_latency_seconds_bucket"] {
                let family = format!("{prefix}{family}");
                eventually(&format!("{family} grows"), || {
                    !ground.query(&format!("rate({family}[10s]) > 0")).is_empty()
                });
            }
        }
    });
}

/// `E` with a Value target against `E * count(pods serving E)` with an AverageValue target, while new pods load.
///
/// E is 200m against 100m, so one pod should become two, and nothing is known of more until the second one serves.
#[test]
fn a_value_target_runs_away_while_pods_load_without_a_probe() {
    const LOADING: Duration = Duration::from_secs(20);
    let options = Options { start_up: LOADING, ..Options::default() };
    inside("a_value_target_runs_away_while_pods_load_without_a_probe", options, |ground| {
        ground.apply(ADAPTER);
        ground.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n");
        ground.fleet.each("gpu_cache_usage_perc", 0.05);
        let own = "gpu_cache_usage_perc{namespace=<<printf \"%q\" (index .LabelValuesByName \"namespace\")>>,service=<<printf \
                   \"%q\" (index .LabelValuesByName \"service\")>>}";
        let rule = |name: &str, query: &str| {
            format!(
                "- seriesQuery: gpu_cache_usage_perc\n  resources: {{overrides: {{namespace: {{resource: namespace}}, \
                 service: {{group: apps, resource: deployment}}}}}}\n  name: {{as: {name}}}\n  metricsQuery: '{query}'\n"
            )
        };
        let value = rule("value", &format!("max by (service) ({own})"));
        let times =
            rule("times", &format!("max by (service) ({own}) * count by (service) (count by (service, pod) ({own}))"));
        ground.apply(&config(&format!("rules:\n{value}{times}")));
        let variants = [
            ("value-probe", "value", "Value", true),
            ("value-bare", "value", "Value", false),
            ("times-probe", "times", "AverageValue", true),
            ("times-bare", "times", "AverageValue", false),
        ];
        for (name, metric, target, probe) in variants {
            let probe = if probe { "readinessProbe: {httpGet: {path: /v1/health/ready, port: 8000}}, " } else { "" };
            ground.apply(&format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: nim}}\nspec:\n  selector: \
                 {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: \
                 {{containers: [{{name: nim, {probe}image: nvcr.io/nim/meta/llama3-8b-instruct:1.0.3}}]}}\n"
            ));
            let field = if target == "Value" { "value" } else { "averageValue" };
            ground.apply(&format!(
                "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: {name}, namespace: nim}}\nspec:\n  \
                 scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}\n  maxReplicas: 8\n  metrics:\n  - \
                 type: Object\n    object: {{describedObject: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}, metric: \
                 {{name: {metric}}}, target: {{type: {target}, {field}: 100m}}}}\n  behavior: {{scaleUp: {{policies: [{{type: \
                 Percent, value: 100, periodSeconds: 1}}]}}}}\n"
            ));
        }
        let served = |name: &str| {
            let path = format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/nim/deployments.apps/{name}/times");
            ground.raw(&path).is_ok_and(|answer| answer["items"][0]["value"] == "50m")
        };
        eventually("the first pod of each serves", || variants.iter().all(|(name, ..)| served(name)));
        ground.fleet.each("gpu_cache_usage_perc", 0.2);
        eventually("each wants a second pod", || {
            variants.iter().all(|(name, ..)| ground.replicas("deployment", "nim", name) >= 2)
        });
        // The second pods load; what the HPA asks for until they serve is what it makes up.
        sleep(Duration::from_secs(10));
        println!("{:<12} {:<14} {:<6} replicas while the second pod loads", "query", "target", "probe");
        let mut replicas = Vec::new();
        for (name, metric, target, probe) in variants {
            replicas.push(ground.replicas("deployment", "nim", name));
            println!("{metric:<12} {target:<14} {probe:<6} {}", replicas[replicas.len() - 1]);
        }
        assert_eq!(replicas, [2, 8, 2, 2]);
    });
}

/// Restarts the adapter and waits until the new one has taken over.
fn roll(ground: &Ground) {
    roll_begins(ground);
    let rolled = ground
        .kubectl(&["rollout", "status", "deployment/prometheus-adapter", "-n", "monitoring", "--timeout=60s"], "");
    assert!(rolled.accepted, "{}", rolled.err);
}

fn roll_begins(ground: &Ground) {
    let restarted = ground.kubectl(&["rollout", "restart", "deployment/prometheus-adapter", "-n", "monitoring"], "");
    assert!(restarted.accepted, "{}", restarted.err);
}

fn render(manifest: &str) -> String {
    scenario::render(env!("CARGO_BIN_EXE_nimscale"), manifest)
}
