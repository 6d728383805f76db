//! Write the answer of a review: AdmissionReview v1, and the lines that `kubectl` prints.

use json_patch::Patch;
use k8s_openapi::ByteString;
use nimscale_rules::findings::{Finding, LineIndex, cut};
use nimscale_rules::workload::Workload;
use serde::Serialize;

/// The most findings that are told in full; the rest is counted.
const MOST_FINDINGS: usize = 16;
/// What the API server asks of a warning; it cuts them all when they are long together.
const MOST_CHARACTERS: usize = 120;
/// The most characters of a refusal: it is one line of a terminal's output, among others.
const MOST_REFUSED: usize = 1024;
/// The most characters of one thing to type.
const MOST_HELP: usize = 160;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// Base64. The API server takes neither of these two without the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    message: String,
    reason: &'static str,
    code: u16,
}

/// Lets a request pass, changed by a patch or as it is.
pub(crate) fn allowed(uid: &str, patch: Option<&Patch>, warnings: Vec<String>) -> Vec<u8> {
    let patch = patch.map(|patch| ByteString(serde_json::to_vec(patch).expect("a patch is numbers and strings")));
    let patch_type = patch.as_ref().map(|_| "JSONPatch");
    written(Response { uid, allowed: true, status: None, patch, patch_type, warnings })
}

/// Refuses a request. `kubectl` prints the message as it is, in its own line:
///
/// ```text
/// Error from server (Forbidden): error when creating "llama.yaml": admission webhook "workloads.nimscale.dev" denied
/// the request: NS0128: two comparisons in one entry (nimscale.dev/keep line 2 column 10; type: ...)
/// ```
///
/// Of all reasons, `Forbidden` is the one of which `kubectl` prints the message alone: for `Invalid` it looks for causes.
pub(crate) fn denied(uid: &str, message: String, warnings: Vec<String>) -> Vec<u8> {
    let status = Some(Status { status: "Failure", message, reason: "Forbidden", code: 403 });
    written(Response { uid, allowed: false, status, patch: None, patch_type: None, warnings })
}

fn written(response: Response<'_>) -> Vec<u8> {
    let review = AdmissionReview { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response };
    serde_json::to_vec(&review).expect("an answer is strings and numbers")
}

/// `CODE: message`, one a finding.
pub(crate) fn warnings(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| cut(&format!("{}: {}", finding.code, finding.message), MOST_CHARACTERS);
    let mut lines: Vec<String> = findings.iter().take(MOST_FINDINGS).map(line).collect();
    lines.extend(more(findings.len(), MOST_FINDINGS));
    lines
}

/// `CODE: message (place; type: help)`, one behind the other in one line.
pub(crate) fn refusal(workload: &Workload, errors: &[Finding]) -> String {
    let mut text = String::new();
    for (told, error) in errors.iter().enumerate() {
        let part = refused(workload, error);
        if told >= MOST_FINDINGS || told > 0 && text.chars().count() + part.chars().count() > MOST_REFUSED {
            text.push_str("; ");
            text.extend(more(errors.len(), told));
            break;
        }
        if told > 0 {
            text.push_str("; ");
        }
        text.push_str(&part);
    }
    text
}

fn more(all: usize, told: usize) -> Option<String> {
    (all > told).then(|| format!("… and {} more: nimscale lint", all - told))
}

fn refused(workload: &Workload, error: &Finding) -> String {
    let mut aside: Vec<String> = place(workload, error).into_iter().collect();
    aside.extend(error.help.as_ref().map(|help| format!("type: {}", cut(&one_line(help), MOST_HELP))));
    let Finding { code, message, .. } = error;
    if aside.is_empty() { format!("{code}: {message}") } else { format!("{code}: {message} ({})", aside.join("; ")) }
}

/// The key, and where in its value when that has several lines.
fn place(workload: &Workload, finding: &Finding) -> Option<String> {
    let path = &finding.place.path;
    let annotation = workload.annotations.iter().find(|annotation| annotation.key_place.path == *path)?;
    let value = annotation.value.as_str();
    let key = cut(&one_line(&annotation.key), 80);
    if !finding.place.exact || finding.place == annotation.key_place || !value.contains('\n') {
        return Some(key);
    }
    let (line, column) = LineIndex::new(value).line_column(finding.place.bytes.start);
    Some(format!("{key} line {line} column {column}"))
}

/// What stands on several lines, or paints a terminal, as one line of plain text.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nimscale_rules::compile::compile;
    use nimscale_rules::findings::Code;
    use nimscale_rules::place::{Place, Span};
    use nimscale_rules::platform::Platform;
    use nimscale_rules::policy::Policies;
    use nimscale_rules::workload::{WorkloadId, WorkloadKind};

    use super::*;

    fn refusal_of(key: &str, value: &str) -> String {
        let id = WorkloadId { namespace: Some("nim".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
        let workload = Workload::stored(id, &BTreeMap::from([(format!("nimscale.dev/{key}"), value.to_owned())]));
        let findings = compile(&workload, &Policies::built_in(), &Platform::default()).findings;
        let errors: Vec<Finding> = findings.into_iter().filter(Finding::is_error).collect();
        refusal(&workload, &errors)
    }

    #[test]
    fn a_refusal_says_code_place_and_what_to_type() {
        assert_eq!(refusal_of("scale", "1-8"), "NS0111: 1-8 is not a range MIN..MAX (nimscale.dev/scale; type: 1..8)");
        let text = refusal_of("keep", "gpu_cache_usage_perc < 0.75\nbacklog: num_requests_waiting > 0 < 8\n");
        assert!(text.starts_with("NS0128: two comparisons in one entry (nimscale.dev/keep line 2 column "), "{text}");
        let unknown = refusal_of("scal", "1..8\nx");
        assert_eq!(unknown, "NS0101: unknown key nimscale.dev/scal (nimscale.dev/scal; type: nimscale.dev/scale)");
    }

    #[test]
    fn a_refusal_is_one_bounded_line() {
        let many: String = (0..8).map(|n| format!("m{n}: x{{a=\"\u{1b}[31m\"}} > {n} < 8\n")).collect();
        let text = refusal_of("keep", &many);
        assert!(!text.contains(char::is_control), "{text:?}");
        let place = Place::of_text(Span::default());
        let error = |n: usize| Finding::new(Code::Ns0301, place.clone(), "m".repeat(100)).help(format!("a\nb{n}"));
        let workload = Workload::stored(
            WorkloadId { namespace: None, name: "llama".into(), kind: WorkloadKind::Deployment },
            &BTreeMap::new(),
        );
        let text = refusal(&workload, &(0..40).map(error).collect::<Vec<_>>());
        assert!(text.chars().count() <= MOST_REFUSED + 40 && text.contains("(type: a\\nb0)"), "{text}");
        assert!(text.ends_with(" more: nimscale lint"), "{text}");
    }

    #[test]
    fn warnings_are_short_and_counted() {
        let place = Place::of_text(Span::default());
        let finding = Finding::new(Code::Ns0401, place, "m".repeat(113));
        let lines = warnings(&vec![finding; 20]);
        assert_eq!((lines.len(), lines[16].as_str()), (17, "… and 4 more: nimscale lint"));
        assert!(lines.iter().all(|line| line.chars().count() <= 120));
        assert!(lines[0].starts_with("NS0401: m"));
        assert_eq!(warnings(&[]), [""; 0]);
    }

    #[test]
    fn an_answer_without_a_change_has_neither_patch_nor_type() {
        let json =
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}}"#;
        assert_eq!(String::from_utf8(allowed("u", None, Vec::new())).expect("JSON is text"), json);
    }
}
