//! What people see in `kubectl` of a workload that nimscale scales, and what becomes of it while the webhook is away.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nimscale_ground::product::{condition, install, installed, options, rolls};
use nimscale_ground::scenario::NAME;
use nimscale_ground::{Applied, Ground, eventually, inside, scenario};

const HPA: &str = "meta-llama3-8b-instruct-nimscale";
const DEPLOYMENT: &str = "deployment/meta-llama3-8b-instruct";

/// Up and down as fast as it goes.
const FAST: &str = "nimscale.dev/behavior: up 4/1s; down 2/2s after 0s";
const KEYS: &[&str] = &["nimscale.dev/scale: 1..10", "nimscale.dev/keep: gpu_cache_usage_perc < 0.1", FAST];

/// The NIM of the examples with other annotations, and with `lines` of its spec.
fn nim(annotations: &[&str], lines: &str) -> String {
    let (head, rest) = scenario::NIM.split_once("  annotations:\n").expect("it has annotations");
    let (_, tail) = rest.split_once("spec:\n").expect("it has a spec");
    let stated = |line: &&str| {
        let (key, value) = line.split_once(": ").expect("KEY: VALUE");
        format!("    {key}: \"{value}\"\n")
    };
    let annotations: String = annotations.iter().map(stated).collect();
    format!("{head}  annotations:\n{annotations}spec:\n  {lines}\n{tail}")
        .replace("  annotations:\nspec:", "spec:")
        // As the API server stores it: otherwise each apply would change it.
        .replace("nvidia.com/gpu: 1}", "nvidia.com/gpu: \"1\"}")
}

/// Another model server: what `kubectl rollout undo` goes back from.
fn version(manifest: &str, version: &str) -> String {
    manifest.replace("llama3-8b-instruct:1.0.3", &format!("llama3-8b-instruct:{version}"))
}

/// All that `kubectl` printed: what it did, and what it warned of or failed with.
#[track_caller]
fn says(did: &Applied, done: &str, err: &str) {
    let out = if done.is_empty() { String::new() } else { format!("deployment.apps/{NAME} {done}\n") };
    let did = (did.out.as_str(), did.err.as_str());
    assert_eq!(did, (&*out, err));
}

fn apply(ground: &Ground, manifest: &str, more: &[&str]) -> Applied {
    ground.kubectl(&[&["apply", "-f", "-"], more].concat(), manifest)
}

/// `kubectl ARGS -n nim`.
fn kubectl(ground: &Ground, args: &[&str]) -> Applied {
    ground.kubectl(&[args, &["-n", "nim"]].concat(), "")
}

fn replicas(ground: &Ground) -> u64 {
    ground.replicas("deployment", "nim", NAME)
}

fn hpa_uid(ground: &Ground) -> Option<String> {
    ground.get("hpa", "nim", HPA)["metadata"]["uid"].as_str().map(str::to_owned)
}

/// Waits until the HPA says of itself that it scales, or that it does not.
fn active(ground: &Ground, is: &str) {
    eventually(&format!("ScalingActive is {is}"), || {
        let hpa = ground.get("hpa", "nim", HPA);
        let conditions = hpa["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "ScalingActive" && condition["status"] == is)
    });
}

/// How often the API server has asked a webhook of ours.
fn asked(ground: &Ground, webhook: &str) -> f64 {
    ground.api_metric("apiserver_admission_webhook_request_total", &[("name", webhook)])
}

const ANNOTATED: &str = "workloads.nimscale.dev";

const STATED: &str = "Warning: NS0401: spec.replicas is set: each apply resets what the HPA chose; delete the line\n";
const KEPT: &str =
    "Warning: NS0402: replicas kept at 3 (manifest: 1); delete spec.replicas, or hold with paused: \"1\"\n";

#[test]
fn what_the_hpa_chose_outlives_an_apply() {
    inside("what_the_hpa_chose_outlives_an_apply", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        ground.fleet.total("gpu_cache_usage_perc", 0.25);
        let one = nim(KEYS, "replicas: 1");
        says(&apply(ground, &one, &[]), "created", STATED);
        ground.scales_to("deployment", "nim", NAME, 3);
        active(ground, "True");

        says(&apply(ground, &one, &[]), "configured", KEPT);
        assert_eq!(replicas(ground), 3);
        looks(ground, &one);
        scaled_by_hand(ground);
        server_side(ground, &one);
        restarted_and_edited(ground);
        ways_out(ground, &one);
    });
}

/// Nothing of what only looks differs from what is there.
fn looks(ground: &Ground, one: &str) {
    let stored = || {
        let stored = ground.get("deployment", "nim", NAME);
        (stored["metadata"]["annotations"].clone(), stored["metadata"]["generation"].clone(), stored["spec"].clone())
    };
    let before = stored();
    let diff = ground.kubectl(&["diff", "-f", "-"], one);
    says(&diff, "", KEPT);
    assert!(diff.accepted, "no difference");
    says(&apply(ground, one, &["--dry-run=server"]), "configured (server dry run)", KEPT);
    assert_eq!(stored(), before, "a dry run writes nothing");
}

fn scaled_by_hand(ground: &Ground) {
    let before = asked(ground, ANNOTATED);
    says(&kubectl(ground, &["scale", DEPLOYMENT, "--replicas=4"]), "scaled", "");
    assert_eq!(asked(ground, ANNOTATED), before, "kubectl scale writes the subresource, which asks nobody");
    ground.scales_to("deployment", "nim", NAME, 3);
}

fn restarted_and_edited(ground: &Ground) {
    says(&kubectl(ground, &["rollout", "restart", DEPLOYMENT]), "restarted", "");
    assert!(kubectl(ground, &["rollout", "status", DEPLOYMENT, "--timeout=30s"]).accepted);
    assert_eq!(replicas(ground), 3);

    let edit = ground
        .kubectl_command()
        .args(["edit", DEPLOYMENT, "-n", "nim"])
        .env("KUBE_EDITOR", "sed -i 's/^  replicas: 3$/  replicas: 1/'")
        .output()
        .expect("kubectl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let edit = Applied { out: text(&edit.stdout), err: text(&edit.stderr), accepted: edit.status.success() };
    says(&edit, "edited", KEPT);
    assert_eq!(replicas(ground), 3);
}

fn server_side(ground: &Ground, one: &str) {
    let conflict = apply(ground, one, &["--server-side"]);
    assert!(!conflict.accepted);
    let head = "error: Apply failed with 1 conflict: conflict with \"kube-controller-manager\" with subresource \
                \"scale\" using apps/v1: .spec.replicas\n";
    assert!(conflict.err.starts_with(head), "{}", conflict.err);
    says(&apply(ground, one, &["--server-side", "--force-conflicts"]), "serverside-applied", KEPT);
    assert_eq!(replicas(ground), 3);
}

/// `paused` holds the replicas that it names; 0 is the API's own way to stop a workload, and n to start it.
fn ways_out(ground: &Ground, one: &str) {
    let paused = nim(&[KEYS, &["nimscale.dev/paused: 1"]].concat(), "replicas: 1");
    says(&apply(ground, &paused, &[]), "configured", STATED);
    ground.scales_to("deployment", "nim", NAME, 1);
    sleep(Duration::from_secs(3));
    assert_eq!(replicas(ground), 1, "under a load for 3");
    says(&apply(ground, one, &[]), "configured", STATED);
    ground.scales_to("deployment", "nim", NAME, 3);

    says(&apply(ground, &nim(KEYS, "replicas: 0"), &[]), "configured", STATED);
    assert_eq!(replicas(ground), 0);
    active(ground, "False");
    says(&apply(ground, &nim(KEYS, "replicas: 2"), &[]), "configured", STATED);
    ground.scales_to("deployment", "nim", NAME, 3);
}

#[test]
fn keys_come_and_go() {
    inside("keys_come_and_go", options(env!("CARGO_BIN_EXE_nimscale")), |ground| {
        installed(ground, &[]);
        an_hpa_that_sees_nothing(ground);
        ground.fleet.total("gpu_cache_usage_perc", 0.25);
        ground.apply(&nim(KEYS, "replicas: 1"));
        ground.scales_to("deployment", "nim", NAME, 3);
        active(ground, "True");
        keys_removed(ground);
        keys_put_back(ground);
        off(ground);
    });
}

/// An HPA whose metric nobody has adds no replicas back, and more of them may be what helps.
fn an_hpa_that_sees_nothing(ground: &Ground) {
    let keys = &["nimscale.dev/scale: 1..10", "nimscale.dev/keep: no_such_metric < 5"];
    ground.apply(&nim(keys, "replicas: 3"));
    active(ground, "False");
    says(&apply(ground, &nim(keys, "replicas: 1"), &[]), "configured", KEPT);
    assert_eq!(replicas(ground), 3);
    says(&apply(ground, &nim(keys, "replicas: 5"), &[]), "configured", STATED);
    assert_eq!(replicas(ground), 5);
    ground.kubectl(&["delete", DEPLOYMENT, "-n", "nim"], "");
    eventually("its HPA goes with it", || hpa_uid(ground).is_none());
}

fn keys_removed(ground: &Ground) {
    let bare = nim(&[], "replicas: 1");
    let before = hpa_uid(ground);
    let told =
        "Warning: NS0404: keys removed (rollout undo?): scaling ends in 5 s; replicas stay 3, the next apply sets 1\n";
    says(&apply(ground, &bare, &[]), "configured", told);
    assert_eq!(replicas(ground), 3);
    assert!(before.is_some() && hpa_uid(ground) == before, "the HPA outlives its keys");
    ending(ground);
    eventually("the HPA goes after the grace", || hpa_uid(ground).is_none());
    eventually("the plan goes, too", || ground.get("scalingplan", "nim", &format!("deployment.{NAME}")).is_null());
    assert_eq!(replicas(ground), 3);
    says(&apply(ground, &bare, &[]), "configured", "");
    assert_eq!(replicas(ground), 1, "as the first apply said");
}

/// The plan says that the scaling ends.
fn ending(ground: &Ground) {
    let message =
        "NS0404: the nimscale keys are gone; scaling ends with the grace (kubectl rollout undo removes keys, too)";
    eventually("the plan says so", || {
        condition(ground, "nim", &format!("deployment.{NAME}"), "Compiled")
            == ("False".to_owned(), "KeysRemoved".to_owned(), message.to_owned())
    });
}

fn keys_put_back(ground: &Ground) {
    ground.apply(&nim(KEYS, "replicas: 1"));
    ground.scales_to("deployment", "nim", NAME, 3);
    active(ground, "True");
    let before = hpa_uid(ground);
    let told = "Warning: NS0404: keys removed (rollout undo?): scaling ends in 5 s; put them back to keep it\n";
    says(&apply(ground, &nim(&[], "replicas: 3"), &[]), "configured", told);
    ending(ground);
    ground.apply(&nim(KEYS, "replicas: 3"));
    sleep(Duration::from_secs(7));
    assert!(before.is_some() && hpa_uid(ground) == before, "it never left");
    assert_eq!(condition(ground, "nim", &format!("deployment.{NAME}"), "Ready").0, "True");
}

fn off(ground: &Ground) {
    let off = nim(&["nimscale.dev/scale: off"], "replicas: 1");
    let told = "Warning: NS0404: scaling is off: replicas stay 3 now, the next apply sets 1\n";
    let start = Instant::now();
    says(&apply(ground, &off, &[]), "configured", told);
    eventually("the HPA goes at once", || hpa_uid(ground).is_none());
    assert!(start.elapsed() < Duration::from_secs(5), "not after a grace: {:?}", start.elapsed());
    assert_eq!(replicas(ground), 3);
    says(&apply(ground, &off, &[]), "configured", "");
    assert_eq!(replicas(ground), 1);
}

#[test]
fn a_mistake_is_refused_where_it_is_made_and_nowhere_else() {
    inside(
        "a_mistake_is_refused_where_it_is_made_and_nowhere_else",
        options(env!("CARGO_BIN_EXE_nimscale")),
        |ground| {
            installed(ground, &[]);
            ground.fleet.total("gpu_cache_usage_perc", 0.009);
            refused(ground);
            undone(ground);
            now_refused(ground);
            a_stricter_policy(ground);
        },
    );
}

const BROKEN: &[&str] = &["nimscale.dev/scale: 1..10", "nimscale.dev/keep: gpu_cache_usage_perc > 0.1", FAST];
const OTHER: &[&str] = &["nimscale.dev/scale: 1..10", "nimscale.dev/keep: gpu_cache_usage_perc < 0.2", FAST];
const MISTAKE: &str = "NS0125: wrong direction: a target is an upper bound";
const WHAT_TO_TYPE: &str = "(nimscale.dev/keep; type: gpu_cache_usage_perc < 0.1)";

/// On a CREATE and where a key changes: code, place and what to type, in `kubectl`'s own output.
fn refused(ground: &Ground) {
    let told = "admission webhook \"workloads.nimscale.dev\" denied the request";
    let create = apply(ground, &nim(BROKEN, ""), &[]);
    assert!(!create.accepted);
    says(
        &create,
        "",
        &format!("Error from server (Forbidden): error when creating \"STDIN\": {told}: {MISTAKE} {WHAT_TO_TYPE}\n"),
    );
    ground.apply(&version(&nim(&[], ""), "1"));
    let change = apply(ground, &nim(BROKEN, ""), &[]);
    assert!(change.err.starts_with("Error from server (Forbidden): error when applying patch:\n"), "{}", change.err);
    let tail = format!("for: \"STDIN\": error when patching \"STDIN\": {told}: {MISTAKE} {WHAT_TO_TYPE}\n");
    assert!(change.err.ends_with(&tail), "{}", change.err);
    let annotate = kubectl(ground, &["annotate", DEPLOYMENT, "nimscale.dev/scale=1-8"]);
    says(
        &annotate,
        "",
        &format!(
            "Error from server (Forbidden): {told}: NS0111: 1-8 is not a range MIN..MAX (nimscale.dev/scale; type: 1..8)\n"
        ),
    );
}

/// The target of the one metric that the HPA has.
fn target(ground: &Ground) -> String {
    let hpa = ground.get("hpa", "nim", HPA);
    hpa["spec"]["metrics"][0]["pods"]["target"]["averageValue"].as_str().unwrap_or_default().to_owned()
}

/// Goes back to a revision, past what `kubectl` says of every undo after an apply.
fn undo(ground: &Ground, revision: u32) -> Applied {
    let Applied { out, err, accepted } =
        kubectl(ground, &["rollout", "undo", DEPLOYMENT, &format!("--to-revision={revision}")]);
    let own = |line: &&str| !line.contains("was previously managed with 'kubectl apply'. Rolling back will not update");
    let err = err.split_inclusive('\n').filter(own).collect();
    Applied { out, err, accepted }
}

/// The revision that is live.
fn revision(ground: &Ground) -> u32 {
    assert!(kubectl(ground, &["rollout", "status", DEPLOYMENT, "--timeout=30s"]).accepted);
    let live = ground.get("deployment", "nim", NAME);
    let revision = live["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().map(str::parse);
    revision.expect("the controller numbers it").expect("a number")
}

/// An undo brings the annotations of an old ReplicaSet back: other ones, or none.
fn undone(ground: &Ground) {
    let bare = revision(ground);
    ground.apply(&version(&nim(KEYS, ""), "2"));
    eventually("the HPA is there", || target(ground) == "100m");
    eventually("its rule is rolled out", || {
        condition(ground, "nim", &format!("deployment.{NAME}"), "RulesPublished").0 == "True"
    });
    let (first, before) = (revision(ground), rolls(ground));
    ground.apply(&version(&nim(OTHER, ""), "3"));
    eventually("the HPA follows", || target(ground) == "200m");
    let uid = hpa_uid(ground);
    assert_eq!(rolls(ground), before, "another target is no other rule");
    let _ = revision(ground);

    says(&undo(ground, first), "rolled back", "");
    eventually("the HPA follows the expression of old", || target(ground) == "100m");
    // What an undo brings back gets a new number.
    let first = revision(ground);
    let told = "Warning: NS0404: keys removed (rollout undo?): scaling ends in 5 s; put them back to keep it\n";
    says(&undo(ground, bare), "rolled back", told);
    ending(ground);
    assert!(uid.is_some() && hpa_uid(ground) == uid, "for the grace");
    eventually("the HPA goes after it", || hpa_uid(ground).is_none());
    says(&undo(ground, first), "rolled back", "");
    eventually("the HPA comes back with the keys", || target(ground) == "100m");
}

/// What an older nimscale took, or what was stored while the webhook was away, can be restarted, rolled back and deleted.
fn now_refused(ground: &Ground) {
    let good = revision(ground);
    let uid = hpa_uid(ground);
    let glass = |label: &str| {
        assert!(ground.kubectl(&["label", "namespace", "nim", label], "").accepted);
    };
    glass("nimscale.dev/admission=disabled");
    let broken = version(&nim(BROKEN, ""), "4");
    eventually("the glass is broken", || apply(ground, &broken, &[]).accepted);
    glass("nimscale.dev/admission-");
    let warned = format!("Warning: {MISTAKE}\n");
    eventually("the webhook is asked again", || {
        kubectl(ground, &["label", DEPLOYMENT, "a=b", "--overwrite"]).err == warned
    });
    stays_as_it_was(ground, uid.as_deref());
    says(&kubectl(ground, &["label", DEPLOYMENT, "a=c", "--overwrite"]), "labeled", &warned);
    says(&kubectl(ground, &["rollout", "restart", DEPLOYMENT]), "restarted", &warned);
    says(&kubectl(ground, &["scale", DEPLOYMENT, "--replicas=1"]), "scaled", "");
    let broken = revision(ground);

    says(&undo(ground, good), "rolled back", "");
    eventually("the plan is good again", || {
        condition(ground, "nim", &format!("deployment.{NAME}"), "Compiled").0 == "True"
    });
    let _ = revision(ground);
    says(&undo(ground, broken), "rolled back", &warned);
    stays_as_it_was(ground, uid.as_deref());
    sleep(Duration::from_secs(6));
    stays_as_it_was(ground, uid.as_deref());
    assert!(kubectl(ground, &["delete", DEPLOYMENT]).accepted);
    eventually("its HPA goes with it", || hpa_uid(ground).is_none());
}

/// The plan says what is wrong, and the HPA is what it was.
fn stays_as_it_was(ground: &Ground, uid: Option<&str>) {
    eventually("the plan says what is wrong", || {
        let (status, reason, message) = condition(ground, "nim", &format!("deployment.{NAME}"), "Compiled");
        (status.as_str(), reason.as_str()) == ("False", "Invalid") && message.starts_with(MISTAKE)
    });
    assert!(uid.is_some() && hpa_uid(ground).as_deref() == uid);
    assert_eq!(target(ground), "100m");
}

const STRICT: &str = "
apiVersion: nimscale.dev/v1alpha1
kind: ClusterScalingPolicy
metadata: {name: strict}
spec: {limits: {maxReplicas: 4}}
";

fn a_stricter_policy(ground: &Ground) {
    ground.apply(&version(&nim(KEYS, ""), "1"));
    let wide = revision(ground);
    let narrow = nim(&["nimscale.dev/scale: 1..3", "nimscale.dev/keep: gpu_cache_usage_perc < 0.1", FAST], "");
    ground.apply(&version(&narrow, "2"));
    let _ = revision(ground);
    ground.apply(STRICT);
    let over = "NS0203: max 10 is over the ceiling 4 (strict)";
    eventually("the policy holds", || {
        !kubectl(ground, &["annotate", DEPLOYMENT, "nimscale.dev/scale=1..10", "--overwrite", "--dry-run=server"])
            .accepted
    });
    says(&undo(ground, wide), "rolled back", &format!("Warning: {over}\n"));
    let max = || ground.get("hpa", "nim", HPA)["spec"]["maxReplicas"].as_u64();
    eventually("the limit holds nevertheless", || max() == Some(4));
    assert_eq!(condition(ground, "nim", &format!("deployment.{NAME}"), "Limited").1, "PolicyLimit");
    says(&kubectl(ground, &["rollout", "restart", DEPLOYMENT]), "restarted", &format!("Warning: {over}\n"));
    let change = kubectl(ground, &["annotate", DEPLOYMENT, "nimscale.dev/scale=1..9", "--overwrite"]);
    let refused = "admission webhook \"workloads.nimscale.dev\" denied the request: NS0203: max 9 is over the ceiling 4 \
                   (strict) (nimscale.dev/scale; type: 1..4)";
    says(&change, "", &format!("Error from server (Forbidden): {refused}\n"));
}

const PLAIN: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain, namespace: nim}
spec:
  replicas: 1
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain}}
    spec: {containers: [{name: plain, image: example.com/plain}]}
";

#[test]
fn whom_the_webhook_is_asked_for_and_what_becomes_of_them_without_it() {
    inside(
        "whom_the_webhook_is_asked_for_and_what_becomes_of_them_without_it",
        options(env!("CARGO_BIN_EXE_nimscale")),
        |ground| {
            installed(ground, &[]);
            ground.fleet.total("gpu_cache_usage_perc", 0.009);
            let life = |manifest: &str, name: &str| {
                ground.apply(manifest);
                let deployment = format!("deployment/{name}");
                for args in [&["rollout", "restart", &deployment][..], &["scale", &deployment, "--replicas=2"]] {
                    assert!(kubectl(ground, args).accepted);
                }
                assert!(kubectl(ground, &["rollout", "status", &deployment, "--timeout=30s"]).accepted);
                assert!(kubectl(ground, &["delete", &deployment]).accepted);
            };
            let counts = || (asked(ground, ANNOTATED), asked(ground, UNANNOTATED));
            let before = counts();
            life(PLAIN, "plain");
            life(&nim(&[], "replicas: 1"), NAME);
            assert_eq!(counts(), before, "without our keys nothing is asked");
            life(&nim(KEYS, "replicas: 1"), NAME);
            assert!(asked(ground, ANNOTATED) > before.0, "with them it is");
            eventually("its HPA goes with it", || hpa_uid(ground).is_none());

            without_a_webhook(ground);
            a_policy_that_attaches(ground, &life);
            install(ground, &[]);
        },
    );
}

const UNANNOTATED: &str = "policies.nimscale.dev";

/// Everything is taken, in time, and the controller repairs what was missed.
fn without_a_webhook(ground: &Ground) {
    let two = nim(&["nimscale.dev/scale: 2..10", KEYS[1], FAST], "replicas: 1");
    let quickly = |what: &str| {
        let start = Instant::now();
        says(&apply(ground, &two, &[]), what, "");
        // The API server waits for 3 s.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    };
    ground.freeze("nimscale-system", "nimscale-webhook");
    quickly("created");
    ground.thaw("nimscale-system", "nimscale-webhook");
    ground.scales_to("deployment", "nim", NAME, 2);

    let scale = |replicas: &str| {
        let args = ["scale", "deployment/nimscale-webhook", "-n", "nimscale-system", replicas];
        assert!(ground.kubectl(&args, "").accepted);
    };
    scale("--replicas=0");
    eventually("no webhook is left", || ground.running("nimscale-system", "nimscale-webhook").is_empty());
    quickly("configured");
    assert_eq!(replicas(ground), 1, "nobody guards it");
    ground.scales_to("deployment", "nim", NAME, 2);
    assert!(apply(ground, &nim(BROKEN, ""), &[]).accepted);
    eventually("the plan says what nobody could", || {
        condition(ground, "nim", &format!("deployment.{NAME}"), "Compiled").1 == "Invalid"
    });
    scale("--replicas=2");
    eventually("it answers again", || {
        let told =
            kubectl(ground, &["annotate", DEPLOYMENT, "nimscale.dev/scale=1-8", "--overwrite", "--dry-run=server"]);
        told.err.contains("denied the request: NS0111: 1-8 is not a range")
    });
    ground.kubectl(&["delete", DEPLOYMENT, "-n", "nim"], "");
    eventually("its HPA goes with it", || hpa_uid(ground).is_none());
}

const ATTACHING: &str = "
apiVersion: nimscale.dev/v1alpha1
kind: ClusterScalingPolicy
metadata: {name: attaching}
spec:
  mode: Enforce
  match: {attach: Always}
  defaults:
    replicas: {min: 1, max: 10}
    metrics: [{preset: kv-cache, target: 10%}]
    behavior: 'up 4/1s; down 2/2s after 0s'
";

/// NIMs without a key of ours are asked for only while a policy attaches them.
fn a_policy_that_attaches(ground: &Ground, life: &dyn Fn(&str, &str)) {
    let webhooks = || {
        let stored = ground.get("mutatingwebhookconfiguration", "", "nimscale");
        stored["webhooks"].as_array().cloned().unwrap_or_default()
    };
    assert_eq!(webhooks().len(), 1);
    ground.apply(ATTACHING);
    eventually("there is a second webhook", || webhooks().iter().any(|webhook| webhook["name"] == UNANNOTATED));
    let bundles: Vec<_> = webhooks().iter().map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect();
    assert!(bundles.len() == 2 && bundles[0].is_string() && bundles[0] == bundles[1], "{bundles:?}");

    ground.fleet.total("gpu_cache_usage_perc", 0.25);
    let one = nim(&[], "replicas: 1");
    ground.apply(&one);
    ground.scales_to("deployment", "nim", NAME, 3);
    active(ground, "True");
    says(&apply(ground, &one, &[]), "configured", KEPT);
    assert_eq!(replicas(ground), 3);
    assert!(asked(ground, UNANNOTATED) >= 1.0);
    let before = asked(ground, ANNOTATED) + asked(ground, UNANNOTATED);
    life(PLAIN, "plain");
    assert_eq!(asked(ground, ANNOTATED) + asked(ground, UNANNOTATED), before, "what is no NIM costs no call");
    install(ground, &[]);
    assert_eq!(webhooks().len(), 2, "an install takes nothing of the controller's away");

    assert!(ground.kubectl(&["delete", "cscale", "attaching"], "").accepted);
    eventually("the second webhook goes with the policy", || webhooks().len() == 1);
    eventually("and the HPA, after the grace", || hpa_uid(ground).is_none());
    says(&apply(ground, &one, &[]), "configured", "");
    assert_eq!(replicas(ground), 1);
}
