//! The API server takes our definitions, and refuses a policy with a mistake in `kubectl`'s own output.

use nimscale_ground::{Ground, Options, inside};

#[test]
fn the_api_server_refuses_what_a_policy_cannot_say() {
    inside("the_api_server_refuses_what_a_policy_cannot_say", Options::default(), |ground| {
        let crd = include_str!("../deploy/crds/nimscale.dev_clusterscalingpolicies.yaml");
        let applied = ground.kubectl(&["apply", "--server-side", "-f", "-"], crd);
        assert!(applied.accepted, "{}", applied.err);
        assert_eq!(applied.err, "", "no warning about the schema");
        let established = ["wait", "--for=condition=Established", "crd/clusterscalingpolicies.nimscale.dev"];
        assert!(ground.kubectl(&established, "").accepted);

        let everything = "priority: 100\n  mode: Enforce\n  match: {images: [\"nvcr.io/nim/**\"], attach: Always}\n  \
                          replicaGuard: \"Off\"\n  defaults:\n    replicas: {min: 1, max: 20}\n    metrics: [{preset: kv-cache}, \
                          {preset: queue-depth, target: 8}, {preset: ttft-p95, target: 2.5s}]\n    behavior: balanced\n  \
                          limits: {maxReplicas: 20, gpus: 64, query: {maxRange: 30m, denyMetrics: [\"node_.*\"]}}";
        let applied = apply(ground, everything, "--validate=strict");
        assert!(applied.is_ok(), "{applied:?}");
        let listed = ground.kubectl(&["get", "cscale"], "");
        assert_eq!(
            listed.out.split_whitespace().take(8).collect::<Vec<_>>(),
            ["NAME", "PRIORITY", "MODE", "MATCHED", "OVERRIDDEN", "READY", "nim", "100"]
        );

        for (spec, why) in [
            ("presets: [{name: tokens}]", "presets are not supported by this version yet"),
            (
                "defaults: {metrics: [{name: a, query: x}]}",
                "query, name, kind and onIdle are not supported by this version yet",
            ),
            ("defaults: {metrics: [{target: 8}]}", "preset is missing"),
            ("defaults: {behavior: {scaleUp: {pods: 2}}}", "must be of type string"),
            ("defaults: {replicas: {min: 3, max: 2}}", "min is over max"),
            ("defaults: {replicas: {min: 1, max: 17}}", "defaults.replicas.max is over limits.maxReplicas"),
            ("limits: {maxReplicas: 1001}", "should be less than or equal to 1000"),
            ("limits: {query: {maxSelectors: 11}}", "should be less than or equal to 10"),
            ("limits: {query: {maxRange: 2h}}", "maxRange is over 1h, the compiler's own limit"),
            ("match: {workloadSelector: {matchExpressions: [{key: a, operator: In}]}}", "In and NotIn need values"),
            ("match: {attach: Sometimes}", "supported values: \"Annotated\", \"Always\""),
        ] {
            // A client that does not ask for strictness: what the schema does not know would be dropped.
            let error = apply(ground, spec, "--validate=ignore").expect_err(spec);
            assert!(error.contains(why), "{spec}: {error}");
        }
        let error = apply(ground, "prioritty: 1", "--validate=strict").expect_err("an unknown field");
        assert!(error.contains("unknown field \"spec.prioritty\""), "{error}");
    });
}

fn apply(ground: &Ground, spec: &str, validate: &str) -> Result<(), String> {
    let head = "apiVersion: nimscale.dev/v1alpha1\nkind: ClusterScalingPolicy\nmetadata: {name: nim}\nspec:\n  ";
    let applied = ground.kubectl(&["apply", validate, "-f", "-"], &format!("{head}{spec}\n"));
    if applied.accepted { Ok(()) } else { Err(applied.err) }
}
