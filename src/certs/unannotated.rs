//! The second webhook, for workloads that a policy attaches without an annotation; there only while such a policy is.
//!
//! It is a webhook of its own, all of whose fields are ours: the first one belongs to whoever installed it, and two
//! writers of one `matchConditions` would be two owners of one field.

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, MutatingWebhook};

/// The webhook of annotated workloads, which is the model for this one.
const ANNOTATED: &str = "workloads.nimscale.dev";
const UNANNOTATED: &str = "policies.nimscale.dev";

/// The webhook that the image patterns of such policies ask for; `None` without patterns, or without the model.
pub fn webhook(webhooks: &[MutatingWebhook], images: &[String]) -> Option<MutatingWebhook> {
    let model = webhooks.iter().find(|webhook| webhook.name == ANNOTATED).filter(|_| !images.is_empty())?;
    let declared = model.match_conditions.iter().flatten().map(|condition| format!("!({})", condition.expression));
    let condition = |name: &str, expression: String| MatchCondition { name: name.to_owned(), expression };
    let conditions = declared.enumerate().map(|(i, expression)| condition(&format!("not-declared-{i}"), expression));
    Some(MutatingWebhook {
        name: UNANNOTATED.to_owned(),
        match_conditions: Some(conditions.chain([condition("nim", is_nim(images))]).collect()),
        ..model.clone()
    })
}

/// Whether the configuration has what the patterns ask for.
pub fn is_there(webhooks: &[MutatingWebhook], images: &[String]) -> bool {
    let there = webhooks.iter().find(|webhook| webhook.name == UNANNOTATED);
    let wanted = webhook(webhooks, images);
    there.map(|there| &there.match_conditions) == wanted.as_ref().map(|wanted| &wanted.match_conditions)
}

/// True for a webhook that is left out because no policy asks for it any more.
pub fn is_unannotated(name: &str) -> bool {
    name == UNANNOTATED
}

/// What a NIM is, in CEL: an image of a pattern, or the environment of one. What only the controller can tell (the labels
/// of charts and operators) it repairs without admission.
fn is_nim(images: &[String]) -> String {
    let image = images.iter().map(|pattern| format!("c.image.matches('^{}$')", regex(pattern)));
    let image = image.collect::<Vec<_>>().join(" || ");
    format!(
        "object.spec.template.spec.containers.exists(c, (has(c.image) && ({image})) || \
         (has(c.env) && c.env.exists(e, e.name == 'NGC_API_KEY' || e.name.startsWith('NIM_'))))"
    )
}

/// `*` is anything but a slash, `**` anything; of the characters that a pattern may have only the dot means something.
fn regex(pattern: &str) -> String {
    let escaped = pattern.replace('.', "\\\\.");
    escaped.split("**").map(|part| part.replace('*', "[^/]*")).collect::<Vec<_>>().join(".*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> MutatingWebhook {
        MutatingWebhook {
            name: ANNOTATED.into(),
            match_conditions: Some(vec![MatchCondition { name: "declared".into(), expression: "a || b".into() }]),
            ..MutatingWebhook::default()
        }
    }

    #[test]
    fn it_is_there_while_a_policy_asks_for_it() {
        let images = vec!["nvcr.io/nim/**".to_owned(), "own/*/nim".to_owned()];
        let webhook = webhook(&[model()], &images).expect("there is a model");
        let conditions: Vec<&str> =
            webhook.match_conditions.iter().flatten().map(|condition| condition.expression.as_str()).collect();
        assert_eq!(conditions[0], "!(a || b)");
        assert!(
            conditions[1].contains("c.image.matches('^nvcr\\\\.io/nim/.*$') || c.image.matches('^own/[^/]*/nim$')")
        );
        assert!(!is_there(&[model()], &images) && is_there(&[model(), webhook.clone()], &images));
        assert!(is_there(&[model()], &[]) && !is_there(&[model(), webhook], &[]));
    }
}
