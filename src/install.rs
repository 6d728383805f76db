//! Make what installs nimscale, from the templates in `deploy/install`.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::cli::{FailurePolicy, InstallArgs};
use crate::crds;

/// In the order in which they are applied: what asks the webhook comes behind the webhook.
const TEMPLATES: &[&str] = &[
    include_str!("../deploy/install/platform.yaml"),
    include_str!("../deploy/install/controller-rbac.yaml"),
    include_str!("../deploy/install/webhook-rbac.yaml"),
    include_str!("../deploy/install/author-policy.yaml"),
    include_str!("../deploy/install/controller.yaml"),
    include_str!("../deploy/install/webhook.yaml"),
    include_str!("../deploy/install/webhook-configuration.yaml"),
];

const NAMESPACE: &str = include_str!("../deploy/install/namespace.yaml");

/// Everything, as one stream for `kubectl apply --server-side -f -`.
pub fn manifests(args: &InstallArgs) -> anyhow::Result<String> {
    let values = Values::of(args)?;
    let namespace = values.fill(NAMESPACE)?;
    let crds = crds::documents()?;
    let rest = TEMPLATES.iter().map(|template| values.fill(template)).collect::<anyhow::Result<Vec<_>>>()?;
    let texts = std::iter::once(&namespace).chain(&crds).chain(&rest);
    Ok(stream(texts.map(String::as_str)))
}

/// The CRDs alone.
pub fn definitions() -> anyhow::Result<String> {
    Ok(stream(crds::documents()?.iter().map(String::as_str)))
}

fn stream<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(|text| text.strip_prefix("---\n").unwrap_or(text)).collect::<Vec<_>>().join("---\n")
}

/// The text of the platform's file, which both processes will be able to read.
fn platform(args: &InstallArgs) -> anyhow::Result<String> {
    let Some(file) = &args.platform else { return Ok("{}\n".to_owned()) };
    crate::cmd::platform(Some(file))?;
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}

/// What stands for the placeholders: `"${name}"` for a text, `${name}` for a word, a line `# ${name}` for items of a list.
struct Values {
    scalars: BTreeMap<&'static str, String>,
    lists: BTreeMap<&'static str, Vec<String>>,
}

impl Values {
    fn of(args: &InstallArgs) -> anyhow::Result<Self> {
        let failure_policy = match args.failure_policy {
            FailurePolicy::Ignore => "Ignore",
            FailurePolicy::Fail => "Fail",
        };
        let scalars = [
            ("namespace", args.namespace.as_str()),
            ("image", &args.image),
            ("version", env!("CARGO_PKG_VERSION")),
            ("adapter-namespace", &args.adapter_namespace),
            ("adapter-deployment", &args.adapter_deployment),
            ("adapter-config-map", &args.adapter_config_map),
            ("failure-policy", failure_policy),
            ("platform", &platform(args)?),
            ("replicas", &args.replicas.to_string()),
        ];
        let prometheus = args.prometheus_url.iter().map(|url| format!("--prometheus-url={url}"));
        Ok(Self {
            scalars: scalars.map(|(name, value)| (name, value.to_owned())).into(),
            lists: BTreeMap::from([
                ("controller-args", prometheus.chain(args.controller_args.iter().cloned()).collect()),
                ("webhook-args", args.webhook_args.clone()),
            ]),
        })
    }

    /// Fails on a placeholder that nothing stands for: a mistake in a template.
    fn fill(&self, template: &str) -> anyhow::Result<String> {
        let mut filled = String::new();
        for line in template.lines() {
            let item = line.trim_start().strip_prefix("# ${").and_then(|name| name.strip_suffix('}'));
            if let Some(name) = item {
                let indent = &line[..line.len() - line.trim_start().len()];
                let items = self.lists.get(name).with_context(|| format!("a template has ${{{name}}} as a list"))?;
                for item in items {
                    filled.push_str(&format!("{indent}- {}\n", quoted(item)));
                }
            } else {
                self.fill_line(line, &mut filled)?;
                filled.push('\n');
            }
        }
        Ok(filled)
    }

    fn fill_line(&self, line: &str, filled: &mut String) -> anyhow::Result<()> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("a template has ${ without }")?;
            let value = self.scalars.get(name).with_context(|| format!("a template has ${{{name}}} as a value"))?;
            filled.push_str(before);
            let quoted = quoted(value);
            // The template has the quotes.
            filled.push_str(&quoted[1..quoted.len() - 1]);
            rest = after;
        }
        filled.push_str(rest);
        Ok(())
    }
}

/// JSON's strings are YAML's, and nothing in them ends them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use nimscale_rules::yaml;
    use serde_json::Value;

    use super::*;
    use crate::cli::{Cli, Command};

    fn install(args: &[&str]) -> InstallArgs {
        let Command::Install(args) = Cli::parse_from([&["nimscale", "install"], args].concat()).command else {
            panic!("install is install");
        };
        args
    }

    #[test]
    fn every_placeholder_is_filled_and_every_document_is_yaml() {
        let every_flag = [
            "--namespace=true",
            "--image=example.com/nimscale:1@sha256:00",
            "--replicas=3",
            "--adapter-namespace=123",
            "--adapter-deployment=a.b",
            "--adapter-config-map=null",
            "--prometheus-url=http://prometheus:9090/x?a=b#c",
            "--controller-arg=--roll-interval=5s",
            "--webhook-arg=a: b # \"c\" \\ ${image}",
            "--failure-policy=Fail",
        ];
        // One is typed in an argument, and stays as it was typed.
        for (args, typed) in [(&[][..], 0), (&every_flag, 1)] {
            let text = manifests(&install(args)).expect("all placeholders are known");
            assert_eq!(text.matches("${").count(), typed, "{text}");
            for document in text.split("---\n") {
                yaml::parse::<Value>(document).unwrap_or_else(|error| panic!("{error}:\n{document}"));
            }
        }
        let text = manifests(&install(&every_flag)).expect("all placeholders are known");
        let webhook = text.split("---\n").find(|text| {
            text.contains("\n  name: nimscale-webhook\n  namespace: \"true\"\n") && text.contains("kind: Deployment")
        });
        let webhook: Value = yaml::parse(webhook.expect("a Deployment")).expect("YAML");
        let container = &webhook["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"][4], "a: b # \"c\" \\ ${image}");
        assert_eq!(container["image"], "example.com/nimscale:1@sha256:00");
    }

    #[test]
    fn a_value_never_leaves_its_quotes() {
        let values = Values { scalars: BTreeMap::from([("a", "x\"\n- y\\\"".to_owned())]), lists: BTreeMap::new() };
        let parsed: Value = yaml::parse(&values.fill("k: [\"${a}\"]\n").expect("known")).expect("YAML");
        assert_eq!(parsed["k"][0], "x\"\n- y\\\"");
        assert!(values.fill("k: ${b}\n").is_err());
        assert!(values.fill("# ${b}\n").is_err());
    }
}
