//! Read ClusterScalingPolicies from files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nimscale_rules::findings::Finding;
use nimscale_rules::policy::{Book, Policies, Spec};
use nimscale_rules::yaml;
use serde::Deserialize;

use crate::manifest::split;
use crate::output::talk;

/// A policy as a manifest has it; of its metadata only the name counts here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
    #[serde(rename = "status")]
    _status: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

/// The policies of all files together; one that cannot be in force is an error. Of namespaces only the names are known.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Policies> {
    let mut book = Book::default();
    let mut names = BTreeSet::new();
    for file in files {
        add(file, &mut book, &mut names).with_context(|| format!("failed to read {}", file.display()))?;
    }
    Ok(book.policies(&BTreeMap::new()))
}

fn add(file: &Path, book: &mut Book, names: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let mut read = 0;
    for span in split(&text) {
        let document = span.of(&text);
        if yaml::parse::<serde_json::Value>(document).is_ok_and(|value| value.is_null()) {
            continue;
        }
        let before = text[..span.start].matches('\n').count() as u64;
        let Document { api_version, kind, metadata, spec, _status } = match yaml::parse(document) {
            Ok(document) => document,
            Err(error) => match error.at {
                Some((line, column)) => bail!("line {}, column {column}: {error}", before + line),
                None => bail!("{error}"),
            },
        };
        let is_ours = api_version == "nimscale.dev/v1alpha1" && kind == "ClusterScalingPolicy";
        ensure!(is_ours, "{api_version} {kind} is no nimscale.dev/v1alpha1 ClusterScalingPolicy");
        ensure!(names.insert(metadata.name.clone()), "policy {} stands twice", metadata.name);
        let findings = book.apply(&metadata.name, spec);
        let (errors, warnings): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(Finding::is_error);
        for warning in &warnings {
            talk(&format!("{}: {}", file.display(), told(warning)));
        }
        ensure!(errors.is_empty(), "{}", errors.iter().map(told).collect::<Vec<_>>().join("\n"));
        read += 1;
    }
    ensure!(read > 0, "no policy stands there");
    Ok(())
}

fn told(finding: &Finding) -> String {
    let Finding { code, place, message, help } = finding;
    let help = help.as_ref().map_or_else(String::new, |help| format!(" (help: {help})"));
    format!("{code} {message} at {}{help}", place.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Policies, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("it is written");
        read(&[file.path().to_owned()]).map_err(|error| {
            let told = format!("{error:#}");
            told.split_once(": ").map_or(told.clone(), |(_, why)| why.to_owned())
        })
    }

    const HEAD: &str = "apiVersion: nimscale.dev/v1alpha1\nkind: ClusterScalingPolicy\n";

    #[test]
    fn documents_are_policies_and_mistakes_are_told_with_their_line() {
        let two = format!(
            "# ours\n---\n{HEAD}metadata: {{name: a, labels: {{x: y}}}}\nspec: {{}}\n---\n\
                           {HEAD}metadata: {{name: b}}\nspec: {{priority: 1}}\n---\n"
        );
        assert!(read_text(&two).is_ok(), "{:?}", read_text(&two));
        let mistake =
            |spec: &str| read_text(&format!("---\n{HEAD}metadata: {{name: a}}\nspec:\n  {spec}\n")).unwrap_err();
        assert!(mistake("prioritty: 1").starts_with("line 6, column 3: "), "{}", mistake("prioritty: 1"));
        assert!(mistake("mode: enforce").contains("enforce"), "{}", mistake("mode: enforce"));
        assert_eq!(
            mistake("limits: {maxReplicas: 0}"),
            "NS0224 policy a: maxReplicas 0 is not between 1 and 1000 at /spec/limits/maxReplicas (help: 1)"
        );
        let twice = format!("{HEAD}metadata: {{name: a}}\nspec: {{}}\n---\n{HEAD}metadata: {{name: a}}\nspec: {{}}\n");
        assert_eq!(read_text(&twice), Err("policy a stands twice".to_owned()));
        let other = read_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nspec: {}\n");
        assert_eq!(other, Err("v1 ConfigMap is no nimscale.dev/v1alpha1 ClusterScalingPolicy".to_owned()));
        assert_eq!(read_text("# nothing\n"), Err("no policy stands there".to_owned()));
    }
}
