//! Every manifest below some directories: as it is, and with annotations of each level in each of its workloads.
//!
//! `cargo test --test sweep -- DIR...` sweeps directories; without one, the fixtures of the suite.

#[path = "sweep/annotate.rs"]
mod annotate;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use annotate::Workload;
use nimscale_rules::emit::adapter::{CONFIG_KEY, CONFIG_MAP, Config};
use nimscale_rules::place::Span;
use nimscale_rules::yaml;
use serde::Deserialize;
use serde_json::Value;
use walkdir::WalkDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/manifests");
const OURS: &str = "nimscale.dev/";

/// What is written into each workload, and what must come of it.
struct Level {
    name: &'static str,
    annotations: &'static [(&'static str, &'static str)],
    min: u32,
    max: u32,
    metrics: usize,
}

const LEVELS: [Level; 3] = [
    Level { name: "L0", annotations: &[("nimscale.dev/scale", "1..8")], min: 1, max: 8, metrics: 2 },
    Level {
        name: "L1",
        annotations: &[("nimscale.dev/scale", "1..8 kv-cache<75% queue-depth<8 ttft-p95<2.5s")],
        min: 1,
        max: 8,
        metrics: 3,
    },
    Level {
        name: "L2",
        annotations: &[
            ("nimscale.dev/scale", "2..6"),
            (
                "nimscale.dev/keep",
                "# the cache, the queue, the wait\n\
                 gpu_cache_usage_perc < 0.75\n\
                 backlog: sum by (pod) (num_requests_waiting{model_name!=\"a\\\"b\"}) < 8\n\
                 \n\
                 ttft_p95: histogram_quantile(0.95,\n  \
                   sum by (le, pod) (rate(time_to_first_token_seconds_bucket[2m]))) < 2\n",
            ),
        ],
        min: 2,
        max: 6,
        metrics: 3,
    },
];

fn main() -> ExitCode {
    let mut directories: Vec<PathBuf> = Vec::new();
    let mut filters = Vec::new();
    for argument in std::env::args().skip(1) {
        if Path::new(&argument).exists() {
            directories.push(argument.into());
        } else if argument.contains(std::path::MAIN_SEPARATOR) {
            eprintln!("sweep: {argument} does not exist");
            return ExitCode::FAILURE;
        } else if !argument.starts_with('-') {
            filters.push(argument);
        }
    }
    // `cargo test WORD` gives the word to each test, this one included.
    if directories.is_empty() && !filters.is_empty() && !filters.iter().any(|filter| "sweep".contains(&**filter)) {
        println!("sweep: no directory {}: nothing swept", filters.join(" "));
        println!("\ntest result: ok. 0 passed; 0 failed; 1 filtered out");
        return ExitCode::SUCCESS;
    }
    if directories.is_empty() {
        directories.push(FIXTURES.into());
    }

    let mut sweep = Sweep::default();
    for directory in &directories {
        let before = sweep.files;
        sweep.directory(directory);
        if sweep.files == before {
            sweep.fail(directory, "no .yaml, .yml or .json below it".to_owned());
        }
    }
    sweep.print()
}

#[derive(Default)]
struct Sweep {
    files: usize,
    documents: usize,
    workloads: usize,
    renders: usize,
    /// Exit codes of files as they are.
    exits: BTreeMap<i32, usize>,
    /// Workloads without a trial, by the reason.
    skipped: BTreeMap<String, usize>,
    passed: usize,
    failures: Vec<String>,
}

impl Sweep {
    fn directory(&mut self, directory: &Path) {
        for entry in WalkDir::new(directory).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() && is_manifest(entry.path()) => self.file(entry.path()),
                Ok(_) => {}
                Err(error) => self.fail(directory, error.to_string()),
            }
        }
    }

    fn file(&mut self, file: &Path) {
        self.files += 1;
        let Some(rendered) = self.as_it_is(file) else { return };
        // What is no text was refused above.
        let Ok(text) = fs::read_to_string(file) else { return };
        let json = file.extension().is_some_and(|extension| extension == "json");
        for (index, bytes) in documents(&text, json).into_iter().enumerate() {
            self.documents += 1;
            let Ok(Some(root)) = yaml::read(&text, bytes, index) else { continue };
            for workload in annotate::workloads(&text, &root) {
                self.workloads += 1;
                if !rendered {
                    *self.skipped.entry("a file that has errors as it is".to_owned()).or_default() += 1;
                    continue;
                }
                for level in &LEVELS {
                    match self.annotated(&text, json, &workload, level) {
                        Ok(()) => self.passed += 1,
                        Err(Trial::Impossible(why)) => {
                            *self.skipped.entry(why.to_owned()).or_default() += 1;
                            break;
                        }
                        Err(Trial::Failed(why)) => {
                            self.fail(file, format!("{} {} {}: {why}", workload.kind, workload.name, level.name));
                        }
                    }
                }
            }
        }
    }

    /// Whether the file as it stands could be rendered; `None` when that failed where nothing may.
    fn as_it_is(&mut self, file: &Path) -> Option<bool> {
        self.renders += 1;
        let failures = self.failures.len();
        let lint = run("lint", file, None);
        let render = run("render", file, None);
        for (command, ran) in [("lint", &lint), ("render", &render)] {
            if ran.stderr.contains("panicked") || ![0, 1, 3].contains(&ran.code) {
                self.fail(file, format!("{command} ended with {}: {}", ran.code, ran.stderr));
            }
        }
        *self.exits.entry(render.code).or_default() += 1;
        let input = fs::read(file).unwrap_or_default();
        let annotated = String::from_utf8_lossy(&input).contains(OURS);
        if render.code != 0 && !render.stdout.is_empty() {
            self.fail(file, "an error, and output all the same".to_owned());
        }
        if render.code == 0 && !annotated && render.stdout != input {
            self.fail(file, format!("nothing is annotated, and {}", difference(&input, &render.stdout)));
        }
        if self.failures.len() > failures {
            return None;
        }
        self.passed += 1;
        Some(render.code == 0)
    }

    fn annotated(&mut self, text: &str, json: bool, workload: &Workload, level: &Level) -> Result<(), Trial> {
        let (input, replicas) = workload.annotated(text, level.annotations).map_err(Trial::Impossible)?;
        check_insertion(text, &input, json).map_err(Trial::Failed)?;
        self.renders += 2;
        let output = render(&input, json)?;
        let generated = rest(&output, &expected(&input, replicas, workload, level))?;
        check_generated(generated, workload, level).map_err(Trial::Failed)?;
        let again = render(&output, false)?;
        if again == output {
            Ok(())
        } else {
            Err(Trial::Failed(format!("rendered again: {}", difference(output.as_bytes(), again.as_bytes()))))
        }
    }

    fn fail(&mut self, file: &Path, why: String) {
        self.failures.push(format!("{}: {}", file.display(), why.trim_end()));
    }

    fn print(&self) -> ExitCode {
        let Self { files, documents, workloads, renders, exits, skipped, passed, failures } = self;
        let exits: String = exits.iter().fold(String::new(), |mut text, (code, count)| {
            let _ = write!(text, "; {count} exit with {code}");
            text
        });
        println!("{files} files{exits}");
        println!("{documents} documents, {workloads} workloads, {renders} renders");
        for (why, count) in skipped {
            println!("  not annotated: {count} in {why}");
        }
        for failure in failures {
            println!("FAILED {failure}");
        }
        let (word, exit) = if failures.is_empty() { ("ok", ExitCode::SUCCESS) } else { ("FAILED", ExitCode::FAILURE) };
        println!("\ntest result: {word}. {passed} passed; {} failed", failures.len());
        exit
    }
}

enum Trial {
    /// The annotations cannot be written into this text.
    Impossible(&'static str),
    Failed(String),
}

/// The annotated input as it must come out: only the digits of `spec.replicas` may differ.
fn expected(input: &str, replicas: Option<Span>, workload: &Workload, level: &Level) -> String {
    match (replicas, workload.replicas) {
        (Some(span), Some((_, count))) if count > 0 && count < level.min => {
            format!("{}{}{}", &input[..span.start], level.min, &input[span.end..])
        }
        (Some(_) | None, Some(_) | None) => input.to_owned(),
    }
}

/// What stands behind the documents of the input.
fn rest<'a>(output: &'a str, expected: &str) -> Result<&'a str, Trial> {
    let rest = output.strip_prefix(expected).ok_or_else(|| {
        let same = output.as_bytes().get(..expected.len()).unwrap_or(output.as_bytes());
        Trial::Failed(format!("the input's documents: {}", difference(expected.as_bytes(), same)))
    })?;
    let rest = if expected.ends_with('\n') { Some(rest) } else { rest.strip_prefix('\n') };
    let after_marker = expected.lines().next_back() == Some("...");
    let rest = rest.and_then(|rest| if after_marker { Some(rest) } else { rest.strip_prefix("---\n") });
    rest.ok_or_else(|| Trial::Failed("no separator behind the input".to_owned()))
}

/// Our own insertion, read by another reader: the input and nothing but annotations more.
fn check_insertion(before: &str, after: &str, json: bool) -> Result<(), String> {
    let (mut before, mut after) = (values(before, json)?, values(after, json)?);
    for value in before.iter_mut().chain(&mut after) {
        strip_annotations(value);
    }
    if before == after { Ok(()) } else { Err("the sweep broke the manifest".to_owned()) }
}

/// Everywhere: an alias may repeat the annotations.
fn strip_annotations(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|key, _| !key.starts_with(OURS));
            entries.values_mut().for_each(strip_annotations);
            entries.retain(|key, value| key != "annotations" || value.as_object().is_none_or(|all| !all.is_empty()));
        }
        Value::Array(items) => items.iter_mut().for_each(strip_annotations),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An HPA and a ConfigMap, and nothing else.
fn check_generated(text: &str, workload: &Workload, level: &Level) -> Result<(), String> {
    let values = values(text, false)?;
    let [hpa, map] = values.as_slice() else {
        return Err(format!("{} documents behind the input, not 2", values.len()));
    };
    let wanted = [
        (&hpa["kind"], Value::from("HorizontalPodAutoscaler")),
        (&hpa["apiVersion"], Value::from("autoscaling/v2")),
        (&hpa["metadata"]["namespace"], Value::from(workload.namespace.clone())),
        (&hpa["spec"]["scaleTargetRef"]["apiVersion"], Value::from("apps/v1")),
        (&hpa["spec"]["scaleTargetRef"]["kind"], Value::from(workload.kind.as_str())),
        (&hpa["spec"]["scaleTargetRef"]["name"], Value::from(workload.name.clone())),
        (&hpa["spec"]["minReplicas"], Value::from(level.min)),
        (&hpa["spec"]["maxReplicas"], Value::from(level.max)),
        (&map["kind"], Value::from("ConfigMap")),
        (&map["metadata"]["name"], Value::from(CONFIG_MAP)),
    ];
    if let Some((got, wanted)) = wanted.iter().find(|(got, wanted)| *got != wanted) {
        return Err(format!("{got}, not {wanted}"));
    }
    let metrics = hpa["spec"]["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let config = map["data"][CONFIG_KEY].as_str().unwrap_or_default();
    let config: Config = serde_yaml::from_str(config).map_err(|error| format!("{CONFIG_KEY}: {error}"))?;
    if (metrics.len(), config.rules.len()) != (level.metrics, level.metrics) {
        return Err(format!("{} metrics and {} rules, not {}", metrics.len(), config.rules.len(), level.metrics));
    }
    for metric in metrics {
        let name = metric["pods"]["metric"]["name"].as_str().unwrap_or_default();
        if !config.rules.iter().any(|rule| rule.name.as_ == name) {
            return Err(format!("no rule for the metric {name:?}"));
        }
    }
    Ok(())
}

/// What the documents of a text say, to a reader that is not ours.
fn values(text: &str, json: bool) -> Result<Vec<Value>, String> {
    if json {
        return serde_json::from_str(text).map(|value| vec![value]).map_err(|error| error.to_string());
    }
    serde_yaml::Deserializer::from_str(text.trim_start_matches('\u{feff}'))
        .map(|document| Value::deserialize(document).map_err(|error| error.to_string()))
        .collect()
}

/// The bytes of the documents of a text.
fn documents(text: &str, json: bool) -> Vec<Span> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if !json
            && at > 0
            && line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(' '))
        {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts.windows(2).map(|pair| Span::new(pair[0], pair[1])).collect()
}

struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

fn render(input: &str, json: bool) -> Result<String, Trial> {
    // The name decides how a file is read; the standard input is YAML.
    let folder = tempfile::tempdir().expect("failed to create a folder");
    let file = folder.path().join(if json { "manifest.json" } else { "manifest.yaml" });
    let ran = if json {
        fs::write(&file, input).expect("failed to write a manifest");
        run("render", &file, None)
    } else {
        run("render", Path::new("-"), Some(input))
    };
    match String::from_utf8(ran.stdout) {
        Ok(stdout) if ran.code == 0 => Ok(stdout),
        Ok(_) | Err(_) => Err(Trial::Failed(format!("render ended with {}: {}", ran.code, ran.stderr))),
    }
}

fn run(command: &str, file: &Path, input: Option<&str>) -> Ran {
    let mut run = Command::new(env!("CARGO_BIN_EXE_nimscale"))
        .arg(command)
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("failed to run nimscale");
    let mut stdin = run.stdin.take().expect("stdin is piped");
    // It reads all before it writes. If it ends without, its exit code says so.
    let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    drop(stdin);
    let output = run.wait_with_output().expect("failed to wait for nimscale");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
}

fn difference(wanted: &[u8], got: &[u8]) -> String {
    let at = wanted.iter().zip(got).position(|(a, b)| a != b).unwrap_or(wanted.len().min(got.len()));
    let line = wanted[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 40)]).into_owned();
    format!("line {line} differs: {:?}, not {:?}", shown(got), shown(wanted))
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}
