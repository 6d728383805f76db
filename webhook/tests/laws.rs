//! What holds for every review: an answer patches once, and any bytes get an answer or a refusal.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod support;

use std::time::Duration;

use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::workload::WorkloadKind;
use nimscale_webhook::answer::{Answer, Outcome, World, answer};
use nimscale_webhook::{Hpa, Hpas, Malformed, Memo, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use support::{applied, deployment, review};

/// What the fuzzer calls, too: any bytes are answered with the request's own UID, or refused.
fn review_bytes(bytes: &[u8]) -> Result<Answer, Malformed> {
    answered(bytes, &Snapshot::default())
}

fn answered(bytes: &[u8], snapshot: &Snapshot) -> Result<Answer, Malformed> {
    answer(bytes, &World { snapshot, memo: &Memo::default(), grace: Duration::from_secs(600) })
}

fn hpa() -> impl Strategy<Value = Hpa> {
    let owner = prop_oneof![
        Just(None),
        Just(Some("0b7f3c9e-6f43-4d3c-9d0a-3a4e9c1d2f10".to_owned())),
        Just(Some("another".to_owned()))
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<Option<bool>>());
    (select(vec!["llama-nimscale", "llama-hpa"]), owner, flags, 1..4_u32, 4..9_u32).prop_map(
        |(name, owner, (ours, adoptable, active), min, max)| Hpa {
            name: name.to_owned(),
            owner,
            ours,
            adoptable,
            min,
            max,
            active,
            current: min,
        },
    )
}

fn snapshot(hpas: Vec<Hpa>) -> Snapshot {
    let of = |hpa| ("nim".to_owned(), WorkloadKind::Deployment, "llama".to_owned(), hpa);
    let hpas: Hpas = hpas.into_iter().map(of).collect();
    Snapshot { policies: Policies::built_in(), platform: Platform::default(), hpas }
}

fn object() -> impl Strategy<Value = Value> {
    let scale = select(vec!["", "1..8", "2..3", "5..8", "off", "auto", "1-8", "1..8 kv-cache<75%"]);
    let keep = select(vec!["", "num_requests_waiting < 8", "x > 0 < 3"]);
    let other = select(vec![("", ""), ("paused", "3"), ("mode", "observe"), ("adopt-hpa", "llama-hpa"), ("scal", "1")]);
    (scale, keep, other, 0..10_i64, any::<(bool, bool, bool)>()).prop_map(
        |(scale, keep, other, replicas, (is_applied, owned, image))| {
            let keys: Vec<(&str, &str)> =
                [("scale", scale), ("keep", keep), other].into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let mut object = deployment(&keys, replicas);
            if owned {
                let owner =
                    json!({"apiVersion": "x/v1", "kind": "Rollout", "name": "llama", "uid": "o", "controller": true});
                object["metadata"]["ownerReferences"] = json!([owner]);
            }
            if image {
                object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
            }
            if is_applied { applied(object) } else { object }
        },
    )
}

/// The object as the API server stores it after an answer.
fn patched(object: &Value, answer: &Answer) -> Value {
    let response: Value = serde_json::from_slice(&answer.body).unwrap();
    let mut object = object.clone();
    assert_eq!(response["response"]["patch"].is_null(), response["response"]["patchType"].is_null());
    if let Value::String(_) = &response["response"]["patch"] {
        let patch: k8s_openapi::ByteString = serde_json::from_value(response["response"]["patch"].clone()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch.0).unwrap();
        assert!(!patch.0.is_empty());
        json_patch::patch(&mut object, &patch).expect("a patch applies to what was received");
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deciding_on_ones_own_result_changes_nothing(
        new in object(), old in prop::option::of(object()), hpas in vec(hpa(), 0..3),
    ) {
        let snapshot = snapshot(hpas);
        let ask = |object: &Value| answered(review(object, old.as_ref()).to_string().as_bytes(), &snapshot).unwrap();
        let once = ask(&new);
        let stored = patched(&new, &once);
        let twice = ask(&stored);
        prop_assert_eq!(patched(&stored, &twice), stored.clone());
        prop_assert_ne!(twice.outcome, Outcome::Patched);
        prop_assert_eq!(once.outcome == Outcome::Denied, twice.outcome == Outcome::Denied);
        let mut otherwise = stored;
        otherwise["spec"]["replicas"] = new["spec"]["replicas"].clone();
        prop_assert_eq!(otherwise, new, "only replicas are ever patched");
    }

    #[test]
    fn who_changes_no_key_is_never_denied(new in object(), hpas in vec(hpa(), 0..3), replicas in 0..10_i64) {
        let mut old = new.clone();
        old["spec"]["replicas"] = json!(replicas);
        let answer = answered(review(&new, Some(&old)).to_string().as_bytes(), &snapshot(hpas)).unwrap();
        prop_assert_ne!(answer.outcome, Outcome::Denied);
    }

    #[test]
    fn any_bytes_are_answered_or_refused(
        seed in (object(), prop::option::of(object())),
        cuts in vec((any::<Index>(), 0..40_usize, vec(any::<u8>(), 0..8)), 0..4),
        words in vec(select(vec!["null", "\"\"", "{}", "[[", "-1", "1e99", "\\u0000", "CREATE", "\"uid\":"]), 0..3),
        at in any::<Index>(),
    ) {
        let mut bytes = review(&seed.0, seed.1.as_ref()).to_string().into_bytes();
        for (from, length, instead) in cuts {
            let from = from.index(bytes.len() + 1);
            bytes.splice(from..(from + length).min(bytes.len()), instead);
        }
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, words.concat().into_bytes());
        check(&bytes)?;
    }

    #[test]
    fn noise_is_answered_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    match review_bytes(bytes) {
        Ok(answer) => {
            // What is skipped unread may hold bytes that are no UTF-8.
            let text = String::from_utf8_lossy(bytes);
            let asked: Value = serde_json::from_str(&text).expect("what is answered is JSON");
            let response: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
            prop_assert_eq!(&response["response"]["uid"], &asked["request"]["uid"]);
            prop_assert!(response["response"]["allowed"].is_boolean());
            prop_assert_ne!(answer.outcome, Outcome::Error);
        }
        Err(refusal) => prop_assert_eq!(refusal.to_string().lines().count(), 1),
    }
    Ok(())
}
