//! What `nimscale install` prints, applied to a real API server: who may do what there, and which requests ask the webhook.

#[path = "support/admission.rs"]
mod admission;

use std::net::IpAddr;
use std::process::Command;

use k8s_openapi::ByteString;
use nimscale_ground::scenario::{NAME, NIM};
use nimscale_ground::{Applied, Ground, Options, eventually, inside};
use serde_json::{Value, json};

const MONITORING: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring}\n";
const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: nim}\n";
const CONTROLLER: &str = "--as=system:serviceaccount:nimscale-system:nimscale-controller";
const WEBHOOK: &str = "--as=system:serviceaccount:nimscale-system:nimscale-webhook";

#[test]
fn values_are_refused_before_anything_is_printed() {
    for argument in [
        "--namespace=a\nb",
        "--namespace=A",
        "--adapter-namespace=",
        "--adapter-deployment=a/b",
        "--adapter-config-map=\"",
        "--image=a b",
        "--image=",
        "--replicas=0",
        "--prometheus-url=prometheus:9090",
        "--controller-arg=a\nb",
        "--webhook-arg=",
        "--failure-policy=ignore",
    ] {
        let output = install(&[argument]);
        assert_eq!(output.status.code(), Some(2), "{argument:?}");
        assert!(output.stdout.is_empty(), "{argument:?}");
    }
}

#[test]
fn it_applies_twice_and_its_pods_pass_the_restricted_level() {
    inside("it_applies_twice_and_its_pods_pass_the_restricted_level", Options::default(), |ground| {
        let manifest = installed(ground, &[]);
        eventually("two pods of each are admitted", || {
            pods(ground, "webhook").len() + pods(ground, "controller").len() == 4
        });
        let refused = ground.kubectl(&["run", "shell", "--image=shell", "-n", "nimscale-system"], "");
        assert!(refused.err.contains("violates PodSecurity \"restricted"), "the level holds: {}", refused.err);
        let versions = || {
            let got = ground.kubectl(&["get", "-f", "-", "-o", "json"], &manifest).out;
            let got: Value = serde_json::from_str(&got).expect("a list");
            let of = |object: &Value| (object["metadata"]["name"].clone(), object["metadata"]["generation"].clone());
            got["items"].as_array().expect("a list").iter().map(of).collect::<Vec<_>>()
        };
        let before = versions();
        ground.kubectl(&["apply", "--server-side", "-f", "-"], &manifest);
        assert_eq!(versions(), before, "the second time nothing is new");
        let diff = ground.kubectl(&["diff", "--server-side", "-f", "-"], &manifest);
        assert!(diff.accepted && diff.out.is_empty(), "{}{}", diff.out, diff.err);
        by_name(ground);
    });
}

/// The accounts reach what they write by its name, and nothing beside it.
fn by_name(ground: &Ground) {
    let apply = |account: &str, object: &str| {
        let args = ["apply", "--server-side", "--field-manager=nimscale", "-f", "-", account];
        ground.kubectl(&args, object)
    };
    let named = |version: &str, kind: &str, namespace: &str, name: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n")
    };
    let lease = |name: &str| named("coordination.k8s.io/v1", "Lease", "nimscale-system", name);
    let secret = |name: &str| named("v1", "Secret", "nimscale-system", name);
    let map = |name: &str| named("v1", "ConfigMap", "monitoring", name);
    ground.apply(&format!("{}data: {{config.yaml: \"rules: []\"}}\n", map("prometheus-adapter")));

    for object in [lease("nimscale-controller"), secret("nimscale-webhook-tls"), map("nimscale-adapter-config")] {
        assert!(allows(&apply(WEBHOOK, &object)).is_err(), "the webhook writes nothing: {object}");
        // Once to create it, once to change it.
        for annotation in ["a", "b"] {
            let object = object.replace("metadata: {", &format!("metadata: {{annotations: {{x: {annotation}}}, "));
            allows(&apply(CONTROLLER, &object)).expect("by name");
        }
    }
    for object in
        [lease("other"), secret("other"), map("other"), map("prometheus-adapter"), named("v1", "Pod", "nim", "a")]
    {
        assert!(allows(&apply(CONTROLLER, &object)).is_err(), "{object}");
    }

    let read = |account: &str, path: &str| ground.kubectl(&["get", "--raw", path, account], "");
    let secrets = "/api/v1/namespaces/nimscale-system/secrets";
    let maps = "/api/v1/namespaces/monitoring/configmaps";
    let one = "fieldSelector=metadata.name%3D";
    for account in [CONTROLLER, WEBHOOK] {
        for path in [
            format!("{secrets}?{one}nimscale-webhook-tls"),
            format!("{secrets}?{one}nimscale-webhook-tls&watch=1&timeoutSeconds=1"),
            "/apis/autoscaling/v2/horizontalpodautoscalers?watch=1&timeoutSeconds=1".to_owned(),
        ] {
            allows(&read(account, &path)).expect("what it watches");
        }
        for path in [secrets.to_owned(), "/api/v1/secrets".to_owned(), format!("{maps}/other"), maps.to_owned()] {
            assert!(allows(&read(account, &path)).is_err(), "{path}");
        }
    }
    allows(&read(CONTROLLER, &format!("{secrets}/nimscale-webhook-tls"))).expect("what it keeps");
    allows(&read(CONTROLLER, &format!("{maps}/prometheus-adapter"))).expect("what it imports");
    allows(&read(CONTROLLER, &format!("{maps}?{one}nimscale-adapter-config"))).expect("what it watches");
    assert!(allows(&read(WEBHOOK, "/apis/apps/v1/deployments")).is_err());
}

#[test]
fn an_author_needs_the_right_that_he_makes_use_of() {
    inside("an_author_needs_the_right_that_he_makes_use_of", Options::default(), |ground| {
        ground.apply(NAMESPACE);
        installed(ground, &[]);
        ground.apply(TENANTS);
        let plain = NIM.replace("nimscale.dev/", "example.com/");
        let as_user = |user: &str, args: &[&str], input: &str| {
            ground.kubectl(&[args, &["-n", "nim", &format!("--as={user}")]].concat(), input)
        };
        let tenant = |args: &[&str], input: &str| as_user("tenant", args, input);
        let refused = |did: Applied| {
            let message =
                "NS0416 nimscale.dev annotations need the right to create horizontalpodautoscalers in this namespace\n";
            assert!(!did.accepted && did.err.ends_with(message), "{}{}", did.out, did.err);
        };
        let apply = ["apply", "-f", "-"];
        eventually("the policy is in force", || !tenant(&["apply", "--dry-run=server", "-f", "-"], NIM).accepted);

        refused(tenant(&apply, NIM));
        refused(tenant(
            &apply,
            &NIM.replace("kind: Deployment", "kind: StatefulSet").replace("\nspec:\n", "\nspec:\n  serviceName: a\n"),
        ));
        allows(&tenant(&apply, &plain)).expect("nothing of ours");
        let deployment = format!("deployment/{NAME}");
        refused(tenant(&["annotate", &deployment, "nimscale.dev/scale=1..2"], ""));
        let status = r#"{"metadata": {"annotations": {"nimscale.dev/scale": "1..2"}}}"#;
        refused(tenant(&["patch", &deployment, "--subresource=status", "--type=merge", "-p", status], ""));
        assert!(ground.kubectl(&["annotate", &deployment, "nimscale.dev/scale=1..3", "-n", "nim"], "").accepted);
        refused(tenant(&["annotate", &deployment, "--overwrite", "nimscale.dev/scale=1..4"], ""));
        refused(tenant(&["annotate", &deployment, "nimscale.dev/scale-"], ""));
        allows(&tenant(&["annotate", &deployment, "example.com/team=a"], "")).expect("not ours");
        allows(&tenant(&["rollout", "restart", &deployment], "")).expect("our key stays");
        allows(&tenant(&["scale", &deployment, "--replicas=2"], "")).expect("our key stays");

        for step in [&["nimscale.dev/scale=1..4", "--overwrite"][..], &["nimscale.dev/scale-"]] {
            allows(&as_user("author", &[&["annotate", &deployment], step].concat(), "")).expect("he may create HPAs");
        }
        allows(&tenant(&["delete", &deployment], "")).expect("a deletion makes no HPA");
    });
}

/// Two users of one namespace: both write workloads, and one of them may create HPAs.
const TENANTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: workloads, namespace: nim}
rules:
- {apiGroups: [apps], resources: ["*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: hpas, namespace: nim}
rules:
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: workloads, namespace: nim}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: workloads}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: tenant}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: author}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: hpas, namespace: nim}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: hpas}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: author}]
"#;

#[test]
fn only_annotated_workloads_ask_the_webhook() {
    inside("only_annotated_workloads_ask_the_webhook", Options::default(), |ground| {
        ground.apply(NAMESPACE);
        ground.apply(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: glass, labels: {nimscale.dev/admission: disabled}}\n",
        );
        // An image that runs no program: the pods only have addresses, and the server listens there in their place.
        let manifest = installed(ground, &["--image=example.com/nimscale:1"]);
        eventually("the pods have addresses", || pods(ground, "webhook").len() == 2);
        let host = "nimscale-webhook.nimscale-system.svc";
        let server = admission::Admission::start(host, &pods(ground, "webhook"));
        trusts(ground, &server.ca);
        let kept = || {
            ground.get("mutatingwebhookconfiguration", "", "nimscale")["webhooks"][0]["clientConfig"]["caBundle"]
                .is_string()
        };
        ground.kubectl(&["apply", "--server-side", "-f", "-"], &manifest);
        assert!(kept(), "a second install leaves the controller's caBundle");

        let plain = NIM.replace("nimscale.dev/", "example.com/");
        let create = |manifest: &str, namespace: &str, dry: &[&str]| {
            let manifest = manifest.replace("namespace: nim", &format!("namespace: {namespace}"));
            allows(&ground.kubectl(&[&["apply", "-f", "-"], dry].concat(), &manifest)).expect("allowed");
        };
        let asked = |count: &dyn Fn()| {
            let before = server.calls();
            count();
            server.calls() - before
        };
        let dry = ["--dry-run=server"];
        eventually("the API server asks it, through its Service", || asked(&|| create(NIM, "nim", &dry)) == 1);

        assert_eq!(asked(&|| create(&plain, "nim", &dry)), 0, "without our keys");
        assert_eq!(asked(&|| create(NIM, "kube-system", &dry)), 0, "the cluster's own namespace");
        assert_eq!(asked(&|| create(NIM, "nimscale-system", &dry)), 0, "our own namespace");
        assert_eq!(asked(&|| create(NIM, "glass", &dry)), 0, "a namespace that broke the glass");

        // A workload that is there, and what the controllers write of it meanwhile.
        let deployment = format!("deployment/{NAME}");
        let edit = |args: &[&str]| allows(&ground.kubectl(&[args, &["-n", "nim"]].concat(), "")).expect("allowed");
        assert_eq!(
            asked(&|| {
                create(&plain, "nim", &[]);
                edit(&["rollout", "restart", &deployment]);
                edit(&["rollout", "status", &deployment, "--timeout=30s"]);
                edit(&["scale", &deployment, "--replicas=2"]);
            }),
            0,
            "a life without our keys"
        );
        assert!(asked(&|| edit(&["annotate", &deployment, "nimscale.dev/scale=1..2"])) >= 1, "a key comes");
        assert!(asked(&|| edit(&["annotate", &deployment, "nimscale.dev/scale-"])) >= 1, "a key goes");
        let of = [("name", "workloads.nimscale.dev")];
        let calls = ground.api_metric("apiserver_admission_webhook_request_total", &of);
        assert_eq!(calls, f64::from(server.calls()), "the API server counts the same");

        assert_eq!(ground.api_metric("apiserver_admission_webhook_fail_open_count", &of), 0.0);
        drop(server);
        create(NIM, "nim", &dry);
        assert_eq!(
            ground.api_metric("apiserver_admission_webhook_fail_open_count", &of),
            1.0,
            "nobody answers: it passes"
        );
    });
}

/// Writes the CA as the controller does, by its own account, until the API server has seen it.
fn trusts(ground: &Ground, ca: &str) {
    let ca = ByteString(ca.as_bytes().to_vec());
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "nimscale"},
        "webhooks": [{"name": "workloads.nimscale.dev", "clientConfig": {"caBundle": ca}}],
    });
    let args = ["apply", "--server-side", "--field-manager=nimscale-controller", "-f", "-", CONTROLLER];
    allows(&ground.kubectl(&args, &configuration.to_string())).expect("by name");
}

/// Installs, and gives back the manifest.
fn installed(ground: &Ground, args: &[&str]) -> String {
    ground.apply(MONITORING);
    let printed = install(args);
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let manifest = String::from_utf8(printed.stdout).expect("UTF-8");
    allows(&ground.kubectl(&["apply", "--server-side", "-f", "-"], &manifest)).expect("the manifest applies");
    manifest
}

fn install(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_nimscale")).arg("install").args(args).output().expect("the binary runs")
}

/// The addresses of the pods of a component that run.
fn pods(ground: &Ground, component: &str) -> Vec<IpAddr> {
    let label = format!("app.kubernetes.io/component={component}");
    let addresses = "jsonpath={range .items[*]}{.status.podIP}{\" \"}{end}";
    let got = ground.kubectl(&["get", "pods", "-n", "nimscale-system", "-l", &label, "-o", addresses], "");
    got.out.split_whitespace().filter_map(|address| address.parse().ok()).collect()
}

fn allows(did: &Applied) -> Result<(), String> {
    if did.accepted { Ok(()) } else { Err(did.err.clone()) }
}
