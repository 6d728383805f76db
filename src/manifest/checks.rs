//! Find what only a file can have wrong: keys in wrong places, keys twice, values that are no strings.

use std::collections::BTreeMap;
use std::fmt;

use nimscale_rules::findings::{Code, Finding, cut, nearest};
use nimscale_rules::keys::{ADOPTABLE, DOMAIN, Recognised, recognise};
use nimscale_rules::workload::{WorkloadKind, is_subdomain};
use nimscale_rules::yaml::{Kind, Node, Reading, Style, reading, token};

use super::objects::{Entry, Manifest, Scope};

/// The label of a namespace that admission goes by.
const ADMISSION: &str = "nimscale.dev/admission";

/// What a value is that YAML 1.1 does not read as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotString {
    Boolean,
    Number,
    Null,
    List,
    Map,
}

/// What YAML 1.1 makes of a value, if that is no string.
pub(super) fn style(value: &Node) -> Option<NotString> {
    let plain = match &value.kind {
        Kind::Sequence(_) => return Some(NotString::List),
        Kind::Mapping(_) => return Some(NotString::Map),
        Kind::Alias(_) => return None,
        Kind::Scalar { value, style } => (*style == Style::Plain).then_some(value),
    };
    match value.tag.as_deref().map(|tag| tag.strip_prefix("tag:yaml.org,2002:").unwrap_or(tag)) {
        Some("bool") => Some(NotString::Boolean),
        Some("int" | "float") => Some(NotString::Number),
        Some("null") => Some(NotString::Null),
        Some(_) => None,
        None => match reading(plain?) {
            Reading::String => None,
            Reading::Boolean => Some(NotString::Boolean),
            Reading::Number => Some(NotString::Number),
            Reading::Null => Some(NotString::Null),
        },
    }
}

pub(super) fn carries_our_keys(root: &Node) -> bool {
    let mut any = false;
    root.walk(&mut |node| any |= node.entries().iter().any(|(key, _)| key.as_str().is_some_and(is_ours)));
    any
}

/// Checks the metadata of one object and of its pod template.
pub(super) fn check<'a>(scope: &Scope<'a>, manifest: &Manifest<'a>, findings: &mut Vec<Finding>) {
    let (node, prefix) = (manifest.node, &manifest.prefix);
    let (Some(api_version), Some(kind)) = (scope.string(node, &["apiVersion"]), scope.string(node, &["kind"])) else {
        return;
    };
    let mut each = |keys: &[&str], check: &dyn Fn(&Entry<'a>, String) -> Vec<Finding>| {
        for entry in scope.entries(node, keys) {
            let path = format!("{prefix}/{}/{}", keys.join("/"), token(entry.key));
            findings.extend(check(&entry, path));
        }
    };
    // The name of the HPA comes from it: `generateName` is none yet, and `{{ .Values.name }}` is none at all.
    let nameless = WorkloadKind::of(api_version, kind).is_some()
        && !scope.string(node, &["metadata", "name"]).is_some_and(is_subdomain);
    let annotated = scope.entries(node, &["metadata", "annotations"]).iter().any(|entry| is_ours(entry.key));
    each(&["metadata", "annotations"], &|entry, path| {
        if !is_ours(entry.key) {
            // One annotation that is no string fails all of them, or makes kubectl drop them in silence: ours too.
            let not_a_string = if annotated { not_a_string(scope, entry, path.clone()) } else { None };
            return near_miss(scope, entry, path).into_iter().chain(not_a_string).collect();
        }
        let misplaced = if nameless {
            let whereabouts = format!("on a {kind} without a valid name");
            Some(no_effect(scope, entry, path.clone(), &whereabouts).help("metadata.name"))
        } else if takes(api_version, kind, entry.key) {
            None
        } else {
            Some(no_effect(scope, entry, path.clone(), &on(api_version, kind)))
        };
        misplaced.into_iter().chain(not_a_string(scope, entry, path)).collect()
    });
    each(&["metadata", "labels"], &|entry, path| {
        let wrong = is_ours(entry.key) && !(kind == "Namespace" && entry.key == ADMISSION);
        wrong.then(|| no_effect(scope, entry, path, "as a label")).into_iter().collect()
    });
    for keys in [["spec", "template", "metadata", "annotations"], ["spec", "template", "metadata", "labels"]] {
        each(&keys, &|entry, path| {
            is_ours(entry.key).then(|| no_effect(scope, entry, path, "on a pod template")).into_iter().collect()
        });
    }
}

/// Finds keys that stand twice in one mapping, anywhere in the document.
pub(super) fn duplicates(scope: &Scope<'_>, root: &Node, findings: &mut Vec<Finding>) {
    visit(scope, root, &mut String::new(), findings);
}

fn visit(scope: &Scope<'_>, node: &Node, path: &mut String, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let len = path.len();
    for (key, value) in node.entries() {
        let text = key.as_str().unwrap_or_default();
        path.push('/');
        path.push_str(&token(text));
        let times = seen.entry(text).or_default();
        *times += 1;
        // `<<` may stand as often as it likes, and a key that is no scalar has no text to compare.
        if *times == 2 && key.as_str().is_some() && text != "<<" {
            let message = format!("{} stands twice; kubectl takes the last", cut(text, 60));
            findings.push(Finding::new(Code::Ns0163, scope.place(key.span, path.clone()), message).help("delete one"));
        }
        visit(scope, value, path, findings);
        path.truncate(len);
    }
    for (i, item) in node.items().iter().enumerate() {
        path.push_str(&format!("/{i}"));
        visit(scope, item, path, findings);
        path.truncate(len);
    }
}

fn is_ours(key: &str) -> bool {
    match recognise(key) {
        Recognised::Key(_) | Recognised::Unknown => true,
        Recognised::Foreign => false,
    }
}

/// True when an annotation of ours does something on an object of this kind, or is judged there by its name.
fn takes(api_version: &str, kind: &str, key: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("apps.nvidia.com", "NIMService") => true,
        ("autoscaling", "HorizontalPodAutoscaler") => key == ADOPTABLE,
        _ => WorkloadKind::of(api_version, kind).is_some(),
    }
}

fn on(api_version: &str, kind: &str) -> String {
    let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    // A Deployment of a group that is gone would read as if Deployments took no key.
    let of = if WorkloadKind::of("apps/v1", kind).is_some() {
        format!(" of {}", cut(api_version, 20))
    } else {
        String::new()
    };
    format!("on {article} {}{of}", cut(kind, 30))
}

fn no_effect(scope: &Scope<'_>, entry: &Entry<'_>, path: String, whereabouts: &str) -> Finding {
    let message = format!("{} has no effect {whereabouts}", cut(entry.key, 40));
    Finding::new(Code::Ns0103, scope.key_place(entry, path), message)
        .help("move it to the workload's metadata.annotations")
}

fn near_miss(scope: &Scope<'_>, entry: &Entry<'_>, path: String) -> Option<Finding> {
    let (domain, name) = entry.key.split_once('/')?;
    nearest(domain, [DOMAIN])?;
    let message = format!("{} is not a {DOMAIN}/ key", cut(entry.key, 60));
    Some(Finding::new(Code::Ns0102, scope.key_place(entry, path), message).help(format!("{DOMAIN}/{name}")))
}

fn not_a_string(scope: &Scope<'_>, entry: &Entry<'_>, path: String) -> Option<Finding> {
    let what = style(entry.value)?;
    let message = match what {
        NotString::Null => format!("{} is null in YAML: kubectl apply drops every annotation", cut(entry.key, 50)),
        NotString::Boolean | NotString::Number | NotString::List | NotString::Map => {
            format!("{} is {what} in YAML, not a string", cut(entry.key, 60))
        }
    };
    let help = match (what, recognise(entry.key)) {
        (NotString::Boolean | NotString::Number, _) => entry.value.as_str().map(|text| format!("\"{text}\"")),
        (NotString::Null, Recognised::Key(key)) => Some(format!("\"{}\"", key.example)),
        (NotString::Null, Recognised::Unknown | Recognised::Foreign) => Some("\"\"".to_owned()),
        (NotString::List | NotString::Map, _) => Some(format!("{}: |", entry.key)),
    };
    let finding = Finding::new(Code::Ns0104, scope.value_place(entry, path), message);
    Some(match help {
        Some(help) => finding.help(help),
        None => finding,
    })
}

impl fmt::Display for NotString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Null => "null",
            Self::List => "a list",
            Self::Map => "a map",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::File;

    fn found(text: &str) -> Vec<String> {
        let file = File::new("a.yaml".into(), text.into(), None);
        let line = |finding: &super::Finding| {
            let help = finding.help.as_deref().unwrap_or("-");
            assert!(finding.message.chars().count() <= 113, "{}", finding.message);
            format!("{} [{}] {} ({help})", finding.code, finding.place.bytes.of(&file.text), finding.message)
        };
        file.documents.iter().flat_map(|doc| &doc.findings).map(line).collect()
    }

    fn annotated(kind: &str, annotations: &str) -> Vec<String> {
        found(&format!("{kind}\nmetadata:\n  name: a\n  annotations:\n    {annotations}\n"))
    }

    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment";

    #[test]
    fn a_value_that_kubectl_reads_as_no_string_is_found() {
        for (value, what, help) in [
            ("off", "a boolean in YAML, not a string", "\"off\""),
            ("True", "a boolean in YAML, not a string", "\"True\""),
            ("3", "a number in YAML, not a string", "\"3\""),
            ("1_000", "a number in YAML, not a string", "\"1_000\""),
            ("!!int '3'", "a number in YAML, not a string", "\"3\""),
            ("", "null in YAML: kubectl apply drops every annotation", "\"1..8 kv-cache<75%\""),
            ("~", "null in YAML: kubectl apply drops every annotation", "\"1..8 kv-cache<75%\""),
            ("[a]", "a list in YAML, not a string", "nimscale.dev/scale: |"),
            ("{a: b}", "a map in YAML, not a string", "nimscale.dev/scale: |"),
        ] {
            let span = value.trim_start_matches("!!int ");
            let all = annotated(DEPLOYMENT, &format!("nimscale.dev/scale: {value}"));
            assert_eq!(all, [format!("NS0104 [{span}] nimscale.dev/scale is {what} ({help})")]);
        }
        for value in ["1..8", "auto", "\"off\"", "'3'", "!!str 3", "! off", "|\n      3", "1:30", "tRue"] {
            assert_eq!(annotated(DEPLOYMENT, &format!("nimscale.dev/scale: {value}")), [""; 0], "{value}");
        }
        assert_eq!(annotated(DEPLOYMENT, "other: off"), [""; 0]);
        let beside = annotated(DEPLOYMENT, "nimscale.dev/scale: auto\n    other:");
        assert_eq!(beside, ["NS0104 [] other is null in YAML: kubectl apply drops every annotation (\"\")"]);
    }

    #[test]
    fn a_key_that_has_no_effect_is_found() {
        let move_it = "(move it to the workload's metadata.annotations)";
        let key = "nimscale.dev/scale";
        let on = |kind: &str| annotated(kind, "nimscale.dev/scale: auto");
        let expected = |whereabouts: &str| vec![format!("NS0103 [{key}] {key} has no effect {whereabouts} {move_it}")];
        assert_eq!(on("apiVersion: v1\nkind: Service"), expected("on a Service"));
        assert_eq!(on("apiVersion: networking.k8s.io/v1\nkind: Ingress"), expected("on an Ingress"));
        assert_eq!(on("apiVersion: apps/v1beta1\nkind: Deployment"), expected("on a Deployment of apps/v1beta1"));
        assert_eq!(
            on("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler"),
            expected("on a HorizontalPodAutoscaler")
        );
        assert_eq!(on("apiVersion: apps.nvidia.com/v1alpha1\nkind: NIMService"), [""; 0]);
        let hpa = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler";
        assert_eq!(annotated(hpa, "nimscale.dev/adoptable: 'true'"), [""; 0]);
        let label = "metadata: {name: a, labels: {nimscale.dev/scale: auto, nimscale.dev/admission: ignore}}";
        assert_eq!(found(&format!("apiVersion: v1\nkind: Namespace\n{label}")), expected("as a label"));
        let template = "metadata: {name: a}\nspec: {template: {metadata: {annotations: {nimscale.dev/scale: auto}}}}";
        assert_eq!(found(&format!("{DEPLOYMENT}\n{template}")), expected("on a pod template"));
        assert_eq!(found(&template.replace("metadata: {name: a}", "x: 1")), [""; 0]);
        let generated = "metadata: {generateName: a-, annotations: {nimscale.dev/scale: auto}}";
        let nameless =
            format!("NS0103 [{key}] {key} has no effect on a Deployment without a valid name (metadata.name)");
        assert_eq!(found(&format!("{DEPLOYMENT}\n{generated}")), [nameless]);
        let list = format!("kind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  {label}\n");
        assert_eq!(found(&list).len(), 2);
    }

    #[test]
    fn a_domain_that_is_nearly_ours_is_found() {
        let line = "NS0102 [nimscal.dev/scale] nimscal.dev/scale is not a nimscale.dev/ key (nimscale.dev/scale)";
        assert_eq!(annotated(DEPLOYMENT, "nimscal.dev/scale: on"), [line]);
        assert_eq!(annotated("apiVersion: v1\nkind: Service", "nimscal.dev/scale: on"), [line]);
        assert_eq!(annotated(DEPLOYMENT, "nvidia.com/scale: x\n    nimscale.dev.example.com/a: b"), [""; 0]);
    }

    #[test]
    fn a_key_twice_is_found_where_our_keys_are() {
        let twice =
            "nimscale.dev/scale: auto\n    nimscale.dev/scale: '1..8'\n    other: a\n    other: b\n    other: c";
        let message = |key: &str| format!("NS0163 [{key}] {key} stands twice; kubectl takes the last (delete one)");
        assert_eq!(annotated(DEPLOYMENT, twice), [message("nimscale.dev/scale"), message("other")]);
        assert_eq!(annotated(DEPLOYMENT, "other: a\n    other: b"), [""; 0]);
    }
}
