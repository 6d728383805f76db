//! The binary from outside: what it prints, how it ends, and what it leaves alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nimscale_rules::emit::adapter::Config;
use nimscale_rules::yaml;
use serde_json::Value;

/// How a run of the binary ended.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn nimscale(args: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nimscale"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A run that fails early may not read its input.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("the binary ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

fn render(manifest: &str) -> Run {
    nimscale(&["render", "-"], manifest)
}

/// A Deployment with these lines under `annotations:`.
fn deployment(name: &str, annotations: &str) -> String {
    let annotations: String = annotations.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  annotations:\n{annotations}spec:\n  \
         replicas: 1 # one\n  selector: {{matchLabels: {{app: {name}}}}}\n"
    )
}

/// The documents of a stream, read by YAML's rules.
fn documents(stream: &str) -> Vec<Value> {
    let texts = stream.split("---\n").filter(|text| !text.trim().is_empty());
    texts.map(|text| yaml::parse(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))).collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// The adapter's config in a stream, read as strictly as the adapter reads it.
fn config(documents: &[Value]) -> Config {
    let maps = of_kind(documents, "ConfigMap");
    let text = maps[0]["data"]["config.yaml"].as_str().expect("the config is a text");
    yaml::parse(text).expect("the adapter's closed schema")
}

#[test]
fn one_annotation_is_an_hpa_and_a_rule() {
    let run = nimscale(&["render", "deploy/examples/nim-llm.yaml"], "");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let documents = documents(&run.out);
    let hpa = of_kind(&documents, "HorizontalPodAutoscaler")[0];
    assert_eq!(hpa["apiVersion"], "autoscaling/v2");
    assert_eq!(hpa["metadata"]["name"], "meta-llama3-8b-instruct-nimscale");
    assert_eq!(hpa["metadata"]["namespace"], "nim");
    assert_eq!(hpa["metadata"]["annotations"]["nimscale.dev/adoptable"], "true");
    assert_eq!(hpa["metadata"].get("labels"), None);
    assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&1.into(), &10.into()));
    let metrics = hpa["spec"]["metrics"].as_array().expect("metrics");
    assert_eq!(metrics.len(), 1);
    assert_eq!(metrics[0]["type"], "Pods");
    assert_eq!(metrics[0]["pods"]["target"], serde_json::json!({"type": "AverageValue", "averageValue": "100m"}));
    let rules = config(&documents).rules;
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].name.as_, metrics[0]["pods"]["metric"]["name"]);
    assert!(rules[0].metrics_query.contains("gpu_cache_usage_perc{<<.LabelMatchers>>}"));
}

#[test]
fn the_readme_shows_what_the_first_command_prints() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a README");
    let shown =
        readme.split("```yaml\n# what render adds\n").nth(1).expect("the block").split("```").next().expect("its end");
    let run = nimscale(&["render", "deploy/examples/nim-llm.yaml"], "");
    let added = run.out.split_once("---\n").expect("a second document").1;
    assert_eq!(shown, added);
}

#[test]
fn the_examples_are_clean_and_rendering_them_again_changes_nothing() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    for entry in std::fs::read_dir(examples).expect("examples") {
        let path = entry.expect("a file").path();
        let path = path.to_str().expect("UTF-8");
        let lint = nimscale(&["lint", "--fail-on", "warning", path], "");
        assert_eq!((lint.code, lint.out.as_str()), (0, ""), "{path}");
        let once = nimscale(&["render", path], "").out;
        assert_eq!(render(&once).out, once, "{path}");
    }
}

#[test]
fn neighbours_and_comments_leave_byte_for_byte() {
    let neighbour = "# a neighbour\napiVersion: v1\nkind:   Service\nmetadata: {name: x, labels: {\"a\": 'b'}} # odd\n";
    let scaled = deployment("llama", "nimscale.dev/scale: \"2..4\"");
    let input = format!("{neighbour}---\n{scaled}---   # the end\n# only a comment\n");
    let run = render(&input);
    assert_eq!(run.code, 0, "{}", run.err);
    let expected = input.replace("replicas: 1 # one", "replicas: 2 # one");
    assert!(run.out.starts_with(&expected), "{}", run.out);
    assert!(run.err.contains("-:13:13: NS0403 replicas raised from 1 to the minimum 2"), "{}", run.err);
    assert!(run.err.contains("-:13:13: NS0401 "), "{}", run.err);
}

#[test]
fn what_is_not_annotated_leaves_as_it_came() {
    let input = "apiVersion: apps/v1\r\nkind: Deployment\r\nmetadata: {name: x}\r\n---\r\n\r\n# nothing\r\n...\r\n";
    let run = render(input);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, input, ""));
}

#[test]
fn several_inputs_become_one_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"A\", \"metadata\": {\"name\": \"a\"}}";
    std::fs::write(path("a.json"), json).expect("a file");
    std::fs::write(path("b.yaml"), deployment("b", "nimscale.dev/keep: x < 3")).expect("a file");
    let run = nimscale(&["render", folder.path().to_str().expect("UTF-8")], "");
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.starts_with(&format!("{json}\n---\napiVersion: apps/v1\n")), "{}", run.out);
    let kinds: Vec<String> = documents(&run.out).iter().map(|d| d["kind"].as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(kinds, ["A", "Deployment", "HorizontalPodAutoscaler", "ConfigMap"]);
}

#[test]
fn the_order_of_the_input_changes_the_documents_alone() {
    let (a, b) = (deployment("a", "nimscale.dev/scale: auto"), deployment("b", "nimscale.dev/keep: x < 3"));
    let generated = |input: &str| {
        let out = render(input).out;
        assert!(out.starts_with(input));
        out[input.len()..].to_owned()
    };
    assert_eq!(generated(&format!("{a}---\n{b}")), generated(&format!("{b}---\n{a}")));
}

#[test]
fn a_rendered_stream_is_a_fixed_point_also_inside_a_list() {
    let input = deployment("llama", "nimscale.dev/scale: \"1..4\"");
    let once = render(&input).out;
    assert_eq!(render(&once).out, once);
    // The HPA is older, and the adapter's namespace another.
    let old = once.replace("maxReplicas: 4", "maxReplicas: 9").replace("averageValue: '8'", "averageValue: '9'");
    assert_eq!(render(&old).out, once);
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: autoscaling/v1\n  kind: HorizontalPodAutoscaler\n  metadata:\n    \
                name: llama-nimscale\n# the end\n";
    let listed = render(&format!("{input}---\n{list}"));
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(listed.out.contains("\n- {\"apiVersion\":\"autoscaling/v2\""), "{}", listed.out);
    assert!(listed.out.contains("\n# the end\n"));
    assert_eq!(render(&listed.out).out, listed.out);
}

#[test]
fn a_stream_stays_yaml_whatever_it_is_made_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let scaled = deployment("a", "nimscale.dev/scale: auto");
    std::fs::write(path("a.yaml"), &scaled).expect("a file");
    std::fs::write(path("b.yaml"), "\u{feff}---\nkind: B\n").expect("a file");
    std::fs::write(path("c.yaml"), "%YAML 1.2\n---\nkind: C").expect("a file");
    std::fs::write(path("d.yaml"), "\u{feff}kind: D\n").expect("a file");
    let once = nimscale(&["render", folder.path().to_str().expect("UTF-8")], "");
    assert_eq!(once.code, 0, "{}", once.err);
    assert!(
        once.out.starts_with(&format!("{scaled}---\nkind: B\n...\n%YAML 1.2\n---\nkind: C\n---\nkind: D\n---\n")),
        "{}",
        once.out
    );
    let twice = render(&once.out);
    assert_eq!((twice.code, twice.out.as_str()), (0, once.out.as_str()), "{}", twice.err);
}

#[test]
fn a_number_that_an_anchor_shares_is_left_alone() {
    let list = "kind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: a, annotations: \
                {nimscale.dev/scale: 2..4}}\n  spec: {replicas: &r 1}\n- {kind: X, replicas: *r}\n";
    assert!(render(list).out.starts_with(list));
    let hpa = "kind: List\nitems:\n- {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: \
               a-nimscale, labels: &l {a: b}}}\n- {kind: X, labels: *l}\n";
    let run = render(&format!("{list}---\n{hpa}"));
    assert_eq!((run.code, run.out.as_str()), (3, ""), "{}", run.err);
}

#[test]
fn an_error_leaves_nothing_on_stdout() {
    let good = deployment("a", "nimscale.dev/scale: auto");
    let bad = deployment("b", "nimscale.dev/keep: |\n  # held\n  backlog: num_requests_waiting > 0 < 8");
    let run = render(&format!("{good}---\n{bad}"));
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("-:18:37: NS0128 two comparisons in one entry"), "{}", run.err);
}

#[test]
fn observe_publishes_without_an_hpa_and_off_does_nothing() {
    let observed = render(&deployment("a", "nimscale.dev/scale: auto\nnimscale.dev/mode: observe"));
    let kinds: Vec<_> = documents(&observed.out).iter().map(|d| d["kind"].clone()).collect();
    assert_eq!(kinds, ["Deployment", "ConfigMap"]);
    let off = deployment("a", "nimscale.dev/scale: \"off\"\nnimscale.dev/behavior: fast");
    assert_eq!(render(&off).out, off);
}

#[test]
fn behavior_and_paused_are_in_the_hpa() {
    let behavior = |annotations: &str| {
        let run = render(&deployment("a", &format!("nimscale.dev/scale: \"1..8\"\n{annotations}")));
        assert_eq!(run.code, 0, "{}", run.err);
        of_kind(&documents(&run.out), "HorizontalPodAutoscaler")[0]["spec"].clone()
    };
    let step =
        |kind: &str, value: u32, every: u32| serde_json::json!({"type": kind, "value": value, "periodSeconds": every});
    let fast = behavior("nimscale.dev/behavior: fast");
    assert_eq!(
        fast["behavior"]["scaleUp"]["policies"],
        serde_json::json!([step("Pods", 4, 30), step("Percent", 100, 30)])
    );
    assert_eq!(fast["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 300);
    let own = behavior("nimscale.dev/behavior: up 2/60s,50%/60s; down off");
    assert_eq!(own["behavior"]["scaleUp"]["selectPolicy"], "Max");
    assert_eq!(own["behavior"]["scaleDown"], serde_json::json!({"selectPolicy": "Disabled"}));
    let paused = behavior("nimscale.dev/paused: \"true\"");
    assert_eq!(paused["behavior"]["scaleUp"]["selectPolicy"], "Disabled");
    let held = behavior("nimscale.dev/paused: \"3\"");
    assert_eq!((&held["minReplicas"], &held["maxReplicas"]), (&3.into(), &3.into()));
}

#[test]
fn lint_points_at_the_byte_that_is_wrong() {
    let input = deployment(
        "a",
        "nimscale.dev/scale: off\nnimscale.dev/scal: x\nnimscal.dev/keep: x\nnimscale.dev/keep: |\n  a: x < 1\n  b: \
         sum(y)) < 2\nnimscale.dev/behavior: \"up\\u00a02/60s\"",
    );
    let run = nimscale(&["lint", "-"], &input);
    let found: Vec<&str> = run.out.lines().map(|line| &line[..line.find(" NS").expect("a code") + 7]).collect();
    assert_eq!(run.code, 1);
    assert_eq!(
        found,
        ["-:6:25: NS0104", "-:7:5: NS0101", "-:8:5: NS0102", "-:11:16: NS0301", "-:12:31: NS0109"],
        "{}",
        run.out
    );
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let clean = deployment("a", "nimscale.dev/scale: auto").replace("  replicas: 1 # one\n", "");
    let warned = deployment("a", "nimscale.dev/scale: auto");
    let wrong = deployment("a", "nimscale.dev/scale: 1-8");
    let lint = |args: &[&str], input: &str| nimscale(&[&["lint"], args].concat(), input).code;
    assert_eq!(lint(&["-"], &clean), 0);
    assert_eq!(lint(&["-"], &warned), 0);
    assert_eq!(lint(&["--fail-on", "warning", "-"], &warned), 1);
    assert_eq!(lint(&["-"], &wrong), 1);
    assert_eq!(lint(&[], ""), 2);
    assert_eq!(lint(&["--nonsense", "-"], ""), 2);
    assert_eq!(lint(&["no/such/file.yaml"], ""), 3);
    assert_eq!(lint(&["no/such/file.yaml", "-"], &wrong), 3, "3 wins over 1");
    assert_eq!(lint(&["--platform", "no/such/file.yaml", "-"], ""), 3);
    assert_eq!(nimscale(&["render", "no/such/file.yaml", "-"], &clean).out, "");
    assert_eq!(nimscale(&["explain", "--expr", "x"], "").code, 0);
    assert_eq!(nimscale(&["explain", "--expr", "sum(x"], "").code, 1);
    assert_eq!(nimscale(&["explain", "--expr", "x", "--target", "0"], "").code, 2);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let input: String =
        (0..300).map(|n| format!("{}---\n", deployment(&format!("a{n}"), "nimscale.dev/scale: auto"))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("many.yaml");
    std::fs::write(&path, input).expect("a file");
    let script = format!(
        "'{}' render '{}' 2>/dev/null | head -1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_nimscale"),
        path.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "apiVersion: apps/v1\n0\n");
}

#[test]
fn explain_answers_with_one_object_whose_keys_are_in_order() {
    let expr = "sum by (pod) (rate(x_total{a=\"é\"}[5m]))";
    let run = nimscale(&["explain", "--expr", "-", "-o", "json", "--target", "0.5"], expr);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.ends_with("}\n") && run.out.lines().count() == 1);
    let keys = ["verdict", "diagnostics", "kind", "targetType", "name", "template", "seriesQuery", "rule", "selectors"];
    let at: Vec<usize> = keys.iter().map(|key| run.out.find(&format!("\"{key}\":")).expect(key)).collect();
    assert!(at.is_sorted(), "{}", run.out);
    let answer: BTreeMap<String, Value> = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(answer.len(), keys.len());
    assert_eq!(answer["diagnostics"][0]["code"], "NS0315");
    assert_eq!(answer["diagnostics"][0]["severity"], "warning");
    assert_eq!(answer["rule"]["metricsQuery"], answer["template"]);
    assert_eq!(answer["rule"]["name"]["as"], answer["name"]);
    let selector = &answer["selectors"][0];
    assert_eq!(selector["side"], "spine");
    let span = |n: usize| usize::try_from(selector["span"][n].as_u64().expect("a number")).expect("small");
    assert_eq!(selector["text"], expr[span(0)..span(1)]);
    assert_eq!(selector["text"], "x_total{a=\"é\"}");
}

#[test]
fn explain_refuses_with_the_same_shape() {
    let run = nimscale(&["explain", "--expr", "{job=\"x\"}", "-o", "json"], "");
    assert_eq!(run.code, 1);
    let expected = "{\"verdict\":\"refused\",\"diagnostics\":[{\"code\":\"NS0342\",\"severity\":\"error\",\"message\":\"the \
                    selector has no literal metric name\",\"span\":[0,9],\"help\":\"name the metric literally: \
                    num_requests_waiting{…}\"}]}\n";
    assert_eq!(run.out, expected);
    let object = nimscale(&["explain", "--expr", "x", "--kind", "Object", "-o", "json"], "");
    assert_eq!(object.code, 1);
    assert!(object.out.contains("NS0321"), "a value per pod is several for the workload: {}", object.out);
    let pods = nimscale(&["explain", "--expr", "sum(x)", "--kind", "Pods", "-o", "json"], "");
    assert_eq!(pods.code, 1);
    assert!(pods.out.contains("NS0320") && pods.out.contains("drops pod"), "{}", pods.out);
}

#[test]
fn explain_tells_a_value_for_the_workload_and_a_shared_side_apart() {
    let object = nimscale(&["explain", "--expr", "max(x)", "-o", "json", "--workload", "StatefulSet"], "");
    assert_eq!(object.code, 0, "{}", object.out);
    for part in [
        "\"kind\":\"Object\"",
        "\"side\":\"workload\"",
        "\"statefulset\":{\"group\":\"apps\",\"resource\":\"statefulset\"}",
        "%s-[0-9]+",
    ] {
        assert!(object.out.contains(part), "{part}: {}", object.out);
    }
    let shared = nimscale(&["explain", "--expr", "x / on () group_left () sum(y)"], "");
    assert!(shared.out.contains("broadcast y: the whole namespace"), "{}", shared.out);
}

#[test]
fn explain_warns_of_a_stated_target_that_is_never_reached() {
    let stated = nimscale(&["explain", "--expr", "gpu_cache_usage_perc", "--target", "75"], "");
    assert!(stated.code == 0 && stated.out.contains("NS0375") && stated.out.contains("0.75"), "{}", stated.out);
    let assumed = nimscale(&["explain", "--expr", "gpu_cache_usage_perc"], "");
    assert!(assumed.code == 0 && !assumed.out.contains("NS0375"), "{}", assumed.out);
}

#[test]
fn a_platform_renames_labels_and_adds_matchers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("platform.yaml");
    std::fs::write(&path, "labels: {pod: kubernetes_pod_name}\nrequiredMatchers: {cluster: east}\n").expect("a file");
    let args = ["explain", "--expr", "max by (kubernetes_pod_name) (x)", "-o", "json", "--platform"];
    let run = nimscale(&[&args[..], &[path.to_str().expect("UTF-8")]].concat(), "");
    assert_eq!(run.code, 0, "{}", run.out);
    let answer: Value = serde_json::from_str(&run.out).expect("JSON");
    let overrides =
        serde_json::json!({"namespace": {"resource": "namespace"}, "kubernetes_pod_name": {"resource": "pod"}});
    assert_eq!(answer["rule"]["resources"]["overrides"], overrides);
    assert!(answer["template"].as_str().is_some_and(|t| t.contains("x{cluster=\"east\",<<.LabelMatchers>>}")));
}

#[test]
fn the_readmes_platform_is_one() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a README");
    let shown = readme.split("```yaml\n# platform.yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("platform.yaml");
    std::fs::write(&path, shown.expect("the block")).expect("a file");
    let args = ["explain", "--expr", "max by (pod) (DCGM_FI_DEV_GPU_UTIL)", "-o", "json", "--platform"];
    let run = nimscale(&[&args[..], &[path.to_str().expect("UTF-8")]].concat(), "");
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    for part in ["cluster=", "exported_namespace=", "exported_pod=~"] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
}

#[test]
fn presets_are_listed() {
    let run = nimscale(&["presets"], "");
    assert_eq!((run.code, run.out.lines().count()), (0, 10));
    assert!(run.out.contains("kv-cache     ratio 0..1     0.75"), "{}", run.out);
}

#[test]
fn a_spec_is_a_whole_hpa_and_its_slips_are_found_in_the_file() {
    const SPEC: &str = "nimscale.dev/spec: |
  replicas: {min: 2, max: 6}
  metrics:
  - name: level
    query: |
      max(gpu_cache_usage_perc)
    target: {value: 750m}
  - {preset: queue-depth, target: 4}
  behavior: fast";
    let run = render(&deployment("a", SPEC));
    assert_eq!(run.code, 0, "{}", run.err);
    let documents = documents(&run.out);
    let spec = &of_kind(&documents, "HorizontalPodAutoscaler")[0]["spec"];
    assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&2.into(), &6.into()));
    assert_eq!(spec["behavior"]["scaleUp"]["policies"][0]["value"], 4);
    let (level, queue) = (&spec["metrics"][0]["object"], &spec["metrics"][1]["pods"]);
    let target = |value: &str| serde_json::json!({"type": "AverageValue", "averageValue": value});
    assert_eq!((&level["target"], &queue["target"]), (&target("750m"), &target("4")), "{spec}");
    assert_eq!(level["describedObject"]["name"], "a");

    for (right, wrong, found) in [
        ("max(gpu", "max((gpu", "-:11:14: NS0301 \"(\" is never closed"),
        ("750m", "750s", "-:12:25: NS0132 750s: this suffix is not read here"),
        ("name: level", "nome: level", "-:9:9: NS0142 unknown field metrics[0].nome"),
        ("behavior: fast", "behavior: fest", "-:14:17: NS0151 \"fest\" is not gentle, balanced, fast, up or down"),
    ] {
        let run = nimscale(&["lint", "-"], &deployment("a", &SPEC.replace(right, wrong)));
        assert!(run.out.starts_with(found), "{}", run.out);
    }
}

#[test]
fn a_policy_from_a_file_gives_defaults_and_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let head = "apiVersion: nimscale.dev/v1alpha1\nkind: ClusterScalingPolicy\n";
    let policy = file(
        "policy.yaml",
        &format!(
            "{head}metadata: {{name: nim-default}}\nspec:\n  match: {{attach: Always}}\n  mode: Enforce\n  defaults:\n    \
             replicas: {{min: 2, max: 6}}\n    metrics: [{{preset: queue-depth, target: 4}}]\n  limits: {{maxReplicas: 6}}\n"
        ),
    );
    let image = "  template:\n    spec:\n      containers:\n      - {name: nim, image: nvcr.io/nim/meta/llama3-8b-instruct:1}\n";
    let plain = deployment("a", "other: x") + image;
    assert_eq!(of_kind(&documents(&render(&plain).out), "HorizontalPodAutoscaler").len(), 0);
    let run = nimscale(&["render", "--policy", &policy, "-"], &plain);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("NS0403 replicas raised from 1 to the minimum 2"), "{}", run.err);
    let documents = documents(&run.out);
    let hpa = of_kind(&documents, "HorizontalPodAutoscaler")[0];
    assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&2.into(), &6.into()));
    assert_eq!(hpa["spec"]["metrics"].as_array().map(Vec::len), Some(1));
    let over = nimscale(&["lint", "--policy", &policy, "-"], &deployment("a", "nimscale.dev/scale: 1..7"));
    assert!(over.out.contains("NS0203 max 7 is over the ceiling 6 (nim-default) (help: 1..6)"), "{}", over.out);
    assert_eq!(over.code, 1);

    let bad = file("bad.yaml", &format!("{head}metadata: {{name: bad}}\nspec: {{presets: []}}\n"));
    for (wrong, why) in
        [(bad.as_str(), "NS0224 policy bad: presets are not supported"), ("missing.yaml", "missing.yaml")]
    {
        let run = nimscale(&["render", "--policy", &policy, "--policy", wrong, "-"], &plain);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{}", run.err);
        assert!(run.err.contains(why), "{}", run.err);
    }
}
