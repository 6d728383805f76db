//! `nimscale render`: print what admission and the controller would make of manifests.

use std::collections::BTreeMap;

use anyhow::Context;
use nimscale_rules::bundle::{Bundle, bundle};
use nimscale_rules::declare::Mode;
use nimscale_rules::emit::{adapter, hpa};
use nimscale_rules::findings::Finding;
use nimscale_rules::place::Span;
use nimscale_rules::plan::Plan;
use nimscale_rules::platform::Platform;
use nimscale_rules::workload::WorkloadId;
use nimscale_rules::yaml;
use serde::Serialize;

use super::{Examined, examine, lines};
use crate::cli::RenderArgs;
use crate::manifest::{self, Document, File, Identity};
use crate::output::{Exit, data, talk};
use crate::policies;

/// Prints documents in their order, then HPAs, then the adapter's ConfigMap; nothing at all when there is an error, so
/// that a pipe never applies half.
pub fn run(args: &RenderArgs) -> anyhow::Result<Exit> {
    let platform = super::platform(args.input.platform.as_deref())?;
    let policies = policies::read(&args.input.policies)?;
    let manifests = manifest::read(&args.input.paths, args.input.namespace.as_deref());
    let examined: Vec<(&File, Examined)> =
        manifests.files.iter().map(|file| (file, examine(file, &policies, &platform))).collect();
    for line in examined.iter().flat_map(|(file, examined)| lines(file, &examined.findings)) {
        talk(&line);
    }
    for failure in &manifests.failures {
        talk(&format!("nimscale: {failure}"));
    }
    if !manifests.failures.is_empty() {
        return Ok(Exit::Unfinished);
    }
    if examined.iter().any(|(_, examined)| examined.findings.iter().any(Finding::is_error)) {
        return Ok(Exit::Findings);
    }
    let bundle = bundle(one_plan_a_workload(&examined));
    let mut outputs = Outputs::of(&bundle, &platform, &args.adapter_namespace)?;
    let mut stream = Stream::default();
    for (file, examined) in &examined {
        for document in &file.documents {
            stream.push(&outputs.document(file, document, examined)?);
        }
    }
    for output in outputs.all.iter().filter(|output| !output.placed) {
        stream.push(&output.yaml);
    }
    data(&stream.text)?;
    Ok(Exit::Done)
}

/// Of a workload that stands twice the last one counts, as for `kubectl apply`.
fn one_plan_a_workload(examined: &[(&File, Examined)]) -> Vec<Plan> {
    let mut plans: BTreeMap<WorkloadId, Plan> = BTreeMap::new();
    for plan in examined.iter().flat_map(|(_, examined)| &examined.plans) {
        if plans.insert(plan.id.clone(), plan.clone()).is_some() {
            talk(&format!("nimscale: {} stands twice; the last one counts", plan.id));
        }
    }
    plans.into_values().collect()
}

/// One generated object.
struct Output {
    group: &'static str,
    kind: &'static str,
    namespace: Option<String>,
    name: String,
    yaml: String,
    /// On one line, for the inside of a `List`.
    json: String,
    /// It took the place of an input object.
    placed: bool,
}

struct Outputs {
    /// HPAs by workload, then the ConfigMap.
    all: Vec<Output>,
}

impl Outputs {
    fn of(bundle: &Bundle, platform: &Platform, adapter_namespace: &str) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for plan in bundle.plans.iter().filter(|plan| plan.mode.value == Mode::Enforce) {
            let name = hpa::name(&plan.id.name);
            all.push(Output::of(
                "autoscaling",
                "HorizontalPodAutoscaler",
                plan.id.namespace.clone(),
                name,
                &hpa::hpa(plan),
            )?);
        }
        if !bundle.measures.is_empty() {
            let config = adapter::config(bundle, platform)?;
            let map = adapter::config_map(config, adapter_namespace);
            let namespace = Some(adapter_namespace.to_owned());
            all.push(Output::of("", "ConfigMap", namespace, adapter::CONFIG_MAP.to_owned(), &map)?);
        }
        Ok(Self { all })
    }

    /// The text of a document as it leaves: replicas set, objects that are outputs replaced, all else untouched.
    fn document(&mut self, file: &File, document: &Document, examined: &Examined) -> anyhow::Result<String> {
        let text = document.bytes.of(&file.text);
        let within = |span: Span| Span::new(span.start - document.bytes.start, span.end - document.bytes.start);
        let mut edits: Vec<(Span, String)> = Vec::new();
        for (place, replicas) in examined.replicas.iter().filter(|(place, _)| place.doc == document.index) {
            edits.push((within(place.bytes), replicas.to_string()));
        }
        for object in &document.objects {
            let Some(output) = object.identity.as_ref().and_then(|identity| self.replaces(identity)) else { continue };
            output.placed = true;
            if object.is_root() {
                // The separator is the document's; the rest is ours, comments included.
                let separator = text.split_inclusive('\n').next().filter(|line| line.starts_with("---"));
                return Ok(format!("{}{}", separator.map_or("", |_| "---\n"), output.yaml));
            }
            anyhow::ensure!(
                !object.anchored,
                "{}: the {} {} in a List is generated too, and others may refer to its anchors: write it without them",
                file.name,
                output.kind,
                output.name,
            );
            edits.push((within(object.bytes), output.json.clone()));
        }
        Ok(manifest::rewrite(text, edits))
    }

    fn replaces(&mut self, identity: &Identity) -> Option<&mut Output> {
        let group = identity.api_version.split_once('/').map_or("", |(group, _)| group);
        self.all.iter_mut().find(|output| {
            (output.group, output.kind, output.name.as_str()) == (group, identity.kind.as_str(), identity.name.as_str())
                && output.namespace == identity.namespace
        })
    }
}

impl Output {
    fn of(
        group: &'static str,
        kind: &'static str,
        namespace: Option<String>,
        name: String,
        object: &impl Serialize,
    ) -> anyhow::Result<Self> {
        let yaml = yaml::write(object).with_context(|| format!("failed to write the {kind} {name}"))?;
        let json = serde_json::to_string(object).with_context(|| format!("failed to write the {kind} {name}"))?;
        Ok(Self { group, kind, namespace, name, yaml, json, placed: false })
    }
}

/// Documents one behind the other, each with its separator.
#[derive(Default)]
struct Stream {
    text: String,
}

impl Stream {
    fn push(&mut self, document: &str) {
        if self.text.is_empty() {
            return self.text.push_str(document);
        }
        // A byte order mark is legal at the start of a stream only.
        let document = document.strip_prefix('\u{feff}').unwrap_or(document);
        if document.is_empty() {
            return;
        }
        if !self.text.ends_with(['\n', '\r']) {
            self.text.push('\n');
        }
        if !document.starts_with("---") && !ends_with_marker(&self.text) {
            // Behind a document a directive needs its end.
            self.text.push_str(if document.starts_with('%') { "...\n" } else { "---\n" });
        }
        self.text.push_str(document);
    }
}

/// Behind `...` a document starts by itself.
fn ends_with_marker(text: &str) -> bool {
    let last = text.lines().next_back().and_then(|line| line.strip_prefix("..."));
    last.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}
