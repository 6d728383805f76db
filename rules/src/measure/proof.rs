//! Prove a template: fill it in for several requests, hostile ones too, read each back, and compare it with what was meant.

use super::{Measure, MetricKind};
use crate::findings::{Code, Finding, cut};
use crate::place::Span;
use crate::platform::{Platform, PodLess};
use crate::promql::node::Node;
use crate::promql::scope::{Request, fill, label_of, label_replace};
use crate::promql::{Limits, read};

/// A name that would leave its string, end its selector, or act in a template or a replacement, if anything let it. It is
/// a regular expression, as every name of a workload must be here.
const HOSTILE: &str = "x\",namespace=\"b\\d\n<<$1>>`'";

/// An error says how the template differs from what was meant: whatever it is, it must not become a rule.
pub fn check(measure: &Measure, meant: &Node, platform: &Platform) -> Result<(), String> {
    let literal = measure.template.literal();
    if literal.contains("<<") || literal.contains(">>") {
        return Err("its text holds template marks".to_owned());
    }
    // Requests differ in two operators and in strings that Go quotes: one of each operator, one of them hostile.
    let requests = match measure.kind {
        MetricKind::Pods => vec![
            Request::Pods { namespace: "a", pods: &["p-0", "p-1", "p-2"] },
            Request::Pods { namespace: HOSTILE, pods: &[HOSTILE] },
        ],
        MetricKind::Object(kind) => vec![Request::Workload { namespace: HOSTILE, kind, name: HOSTILE }],
    };
    requests.iter().try_for_each(|request| filled(measure, meant, request, platform))
}

/// Reached by nothing that is known.
pub fn unsafe_to_emit(why: &str, span: Span) -> Finding {
    Finding::at(Code::Ns0363, span, format!("the expression cannot be compiled safely: {}", cut(why, 60)))
}

fn filled(measure: &Measure, meant: &Node, request: &Request<'_>, platform: &Platform) -> Result<(), String> {
    let text = measure.template.instantiate(request, platform);
    let read = read(&text, &Limits::CHECK)
        .map_err(|findings| findings.into_iter().next().map_or_else(String::new, |finding| finding.message))?;
    let wanted = fill(meant, request, platform);
    let wanted = match request {
        Request::Pods { .. } => wanted,
        Request::Workload { kind, name, .. } => label_replace(wanted, [label_of(*kind), name, "", ""]),
    };
    if read != wanted {
        return Err("it reads back as another expression".to_owned());
    }
    // What the comparison already says, once more without it: no selector without the request's namespace.
    let confined = read.selectors().iter().all(|selector| {
        let has = |label: &str, value: &str| {
            selector.matchers.iter().any(|matcher| matcher.label == label && matcher.value == value)
        };
        let cluster = platform.families.get(&selector.name) == Some(&PodLess::Cluster);
        (cluster || has(&platform.names_of(&selector.name).namespace, request.namespace()))
            && platform.required_matchers.iter().all(|(label, value)| has(label, value))
    });
    if confined { Ok(()) } else { Err("a selector is not confined".to_owned()) }
}
