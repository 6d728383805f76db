//! Tell whether a workload is a NIM: by its images, its environment, or the labels of NVIDIA's chart and operator.

use std::collections::BTreeMap;

use super::spec::MOST_CHARACTERS;
use crate::workload::Workload;

/// The images of a policy that states none.
const IMAGES: &str = "nvcr.io/nim/**";

/// A pattern of images: `*` is anything but a slash, `**` is anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ImagePattern(String);

impl ImagePattern {
    pub(super) fn of_nvidia() -> Self {
        Self(IMAGES.to_owned())
    }

    /// `None` for what no image could match, and for three stars in a row.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let in_image = |c: char| c.is_ascii_alphanumeric() || "._:@/*-".contains(c);
        let fits = (1..=MOST_CHARACTERS).contains(&text.len());
        (fits && text.chars().all(in_image) && !text.contains("***")).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// In the time of one product of lengths, whatever the stars.
    pub(super) fn matches(&self, image: &str) -> bool {
        let image = image.as_bytes();
        let pattern = self.0.as_bytes();
        // Whether what was read of the pattern matches the first `n` bytes of the image.
        let mut matched = vec![false; image.len() + 1];
        matched[0] = true;
        let mut at = 0;
        while let Some(byte) = pattern.get(at) {
            let any = *byte == b'*';
            let across = any && pattern.get(at + 1) == Some(&b'*');
            at += if across { 2 } else { 1 };
            let mut before = matched[0];
            matched[0] &= any;
            for (n, read) in image.iter().enumerate() {
                let here = matched[n + 1];
                matched[n + 1] =
                    if any { here || matched[n] && (across || *read != b'/') } else { before && read == byte };
                before = here;
            }
        }
        matched[image.len()]
    }
}

pub(super) fn is_nim(workload: &Workload, images: &[ImagePattern]) -> bool {
    let pods = &workload.pods;
    let by_image = || pods.images.iter().any(|image| images.iter().any(|pattern| pattern.matches(image)));
    by_image()
        || (pods.nim_environment && pods.gpus > 0)
        || [&workload.labels, &pods.labels].into_iter().any(is_labelled)
}

/// As nim-llm's chart, NIM Operator and Run:ai label what they make.
fn is_labelled(labels: &BTreeMap<String, String>) -> bool {
    let is = |label: &str, value: &str| labels.get(label).is_some_and(|is| is == value);
    is("app.kubernetes.io/name", "nim-llm")
        || labels.get("helm.sh/chart").is_some_and(|chart| chart.starts_with("nim-llm-"))
        || is("app.kubernetes.io/managed-by", "k8s-nim-operator")
        || is("run.ai/nim-workload", "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Pods, WorkloadId, WorkloadKind};

    #[test]
    fn stars_stop_at_a_slash_or_do_not() {
        for (pattern, image, matches) in [
            ("nvcr.io/nim/**", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8", true),
            ("nvcr.io/nim/**", "nvcr.io/nim/", true),
            ("nvcr.io/nim/**", "nvcr.io/nvidia/tritonserver", false),
            ("nvcr.io/nim/**", "mirror/nvcr.io/nim/x", false),
            ("nvcr.io/nim/*", "nvcr.io/nim/llama:1", true),
            ("nvcr.io/nim/*", "nvcr.io/nim/meta/llama", false),
            ("**/nim/**", "a/b/nim/c/d", true),
            ("**/llama*:1.*", "a/b/llama-3:1.8", true),
            ("**/llama*:1.*", "a/b/llama/x:1.8", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "ab", false),
            ("a", "a", true),
            ("a", "aa", false),
            ("**", "", true),
        ] {
            let pattern = ImagePattern::parse(pattern).expect("a pattern");
            assert_eq!(pattern.matches(image), matches, "{} {image}", pattern.as_str());
        }
        for none in ["", "a b", "***", "a\"b", "é"] {
            assert_eq!(ImagePattern::parse(none), None, "{none}");
        }
        let stars = ImagePattern::parse(&"a*".repeat(100)).expect("a pattern");
        assert!(!stars.matches(&"a".repeat(99)) && stars.matches(&"a".repeat(253)));
    }

    #[test]
    fn a_nim_is_known_by_any_of_its_marks() {
        let id = WorkloadId { namespace: None, name: "a".into(), kind: WorkloadKind::Deployment };
        let images = [ImagePattern::of_nvidia()];
        let is = |pods: Pods, label: Option<(&str, &str)>| {
            let labels = label.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            is_nim(&Workload { labels, pods, ..Workload::stored(id.clone(), &BTreeMap::new()) }, &images)
        };
        let image = |image: &str| Pods { images: vec!["proxy".into(), image.into()], ..Pods::default() };
        assert!(is(image("nvcr.io/nim/meta/llama:1"), None));
        assert!(!is(image("vllm/vllm-openai"), None));
        assert!(is(Pods { nim_environment: true, gpus: 1, ..Pods::default() }, None));
        assert!(!is(Pods { nim_environment: true, ..Pods::default() }, None), "a client may carry the key, too");
        assert!(is(Pods::default(), Some(("app.kubernetes.io/name", "nim-llm"))));
        assert!(is(Pods::default(), Some(("helm.sh/chart", "nim-llm-1.13.1"))));
        assert!(is(Pods::default(), Some(("app.kubernetes.io/managed-by", "k8s-nim-operator"))));
        assert!(!is(Pods::default(), Some(("app.kubernetes.io/managed-by", "Helm"))));
    }
}
