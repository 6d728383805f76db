//! Write the one patch there is: `spec.replicas`.

use json_patch::{Patch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use nimscale_rules::workload::Workload;

/// The patch that makes a received object's `spec.replicas` what it shall be; `None` where nothing changes.
///
/// The API server refuses the whole request when a patch does not apply, under `failurePolicy: Ignore` too. So it is made
/// only where the object has the field.
pub(crate) fn patch(received: &Workload, replicas: Option<u32>) -> Option<Patch> {
    let (stated, wanted) = (received.replicas.as_ref()?.count, replicas?);
    let path = PointerBuf::from_tokens(["spec", "replicas"]);
    let replace = PatchOperation::Replace(ReplaceOperation { path, value: wanted.into() });
    (stated != wanted).then(|| Patch(vec![replace]))
}

#[cfg(test)]
mod tests {
    use nimscale_rules::workload::{Object, WorkloadKind};
    use serde_json::json;

    use super::*;

    fn received(object: serde_json::Value) -> Workload {
        serde_json::from_value::<Object>(object).expect("an object").workload(WorkloadKind::Deployment)
    }

    #[test]
    fn the_patch_sets_replicas_and_nothing_else() {
        let object = json!({"metadata": {"name": "llama"}, "spec": {"replicas": 1, "paused": true}});
        let patch = patch(&received(object.clone()), Some(3)).expect("a patch");
        let mut patched = object;
        json_patch::patch(&mut patched, &patch).expect("it applies");
        assert_eq!(patched, json!({"metadata": {"name": "llama"}, "spec": {"replicas": 3, "paused": true}}));
    }

    #[test]
    fn no_change_is_no_patch() {
        assert_eq!(patch(&received(json!({"spec": {"replicas": 3}})), Some(3)), None);
        assert_eq!(patch(&received(json!({"spec": {"replicas": 3}})), None), None);
        assert_eq!(patch(&received(json!({"spec": {}})), Some(3)), None, "there is nothing to replace");
    }
}
