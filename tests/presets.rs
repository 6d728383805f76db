//! What the built-in metrics say of every server that they know: rendered by the binary, filled in as the adapter does,
//! answered by a real Prometheus that scrapes each pod twice.
//!
//! `NIMSCALE_METRICS_DIR=DIR cargo test --test presets -- --nocapture` asks about the expositions (`*.prom`) of a
//! directory, too.

#[path = "support/adapter.rs"]
mod adapter;
#[path = "presets/arithmetic.rs"]
mod arithmetic;
#[path = "presets/exposition.rs"]
mod exposition;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "presets/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use exposition::{END, Pod, Traffic};
use nimscale_rules::emit::adapter::{CONFIG_KEY, Config};
use nimscale_rules::presets::{Unit, presets};
use nimscale_rules::promql::{Limits, read};
use nimscale_rules::yaml;
use prometheus::Prometheus;
use servers::{SERVERS, Server, Shown, ShownBy};

const DIRECTORY: &str = "NIMSCALE_METRICS_DIR";
const TOLERANCE: f64 = 1e-9;

#[test]
fn every_server_gives_the_values_worked_out_by_hand() {
    let pods = |server: &'static Server| (0..).zip(&server.pods).map(|(index, shown)| pod(server, index, shown));
    let world = World::of(&SERVERS.iter().flat_map(pods).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for server in SERVERS {
        for preset in names() {
            let value = |shown: &Shown| shown.values.iter().find(|(name, _)| *name == preset).map(|(_, value)| *value);
            let want = server.pods.each_ref().map(value);
            let got = world.values(preset, server.name);
            println!("{:17} {preset:11} {}", server.name, shown(&got));
            if !same(&want, &got) {
                wrong.push(format!("{} {preset}: {}, not {}", server.name, shown(&got), shown(&want)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_family_of_a_preset_gives_a_value_worked_out_by_hand() {
    let stated = SERVERS.iter().flat_map(|server| &server.pods);
    for preset in presets() {
        let of_preset = |shown: &&Shown| shown.values.iter().any(|(name, value)| *name == preset.name && *value != 0.0);
        let texts: Vec<&str> = stated.clone().filter(of_preset).map(|shown| shown.text).collect();
        let query = read(&preset.query, &Limits::AUTHOR).expect("a test compiles every preset");
        let families: Vec<&str> = query.selectors().into_iter().map(|selector| selector.name.as_str()).collect();
        for (at, family) in families.iter().enumerate() {
            let has = |text: &str, family: &str| exposition::read(text).0.iter().any(|series| series.name == family);
            let earlier = |text: &str| families[..at].iter().any(|earlier| family != earlier && has(text, earlier));
            // A mean needs both of its parts, and the second stands behind the first.
            let alone = texts.iter().any(|text| has(text, family) && (!earlier(text) || preset.name == "queue-time"));
            assert!(alone, "{}: no server has {family} first", preset.name);
        }
    }
    let known = |(name, _): &(&str, f64)| names().any(|preset| preset == *name);
    assert!(stated.clone().flat_map(|shown| shown.values).all(known), "a value of no preset");
}

/// The same values where scraping moved the labels of the workload aside, once the platform says so.
#[test]
fn exported_labels_are_the_workloads_by_the_platforms_word() {
    const ALIAS: &str = "aliases: [{metrics: DCGM_.*, namespace: exported_namespace, pod: exported_pod}]";
    let exporters: Vec<_> = SERVERS.iter().filter(|server| server.shown_by == ShownBy::Exporter).collect();
    let moved = |server: &Server, index: usize| Pod { honored: false, ..pod(server, index, &server.pods[index]) };
    let pods: Vec<Pod> = exporters.iter().flat_map(|server| [0, 1].map(|index| moved(server, index))).collect();
    let (aliased, plain) = (World::with(&pods, ALIAS), World::of(&pods));
    for server in exporters {
        let want = server.pods.each_ref().map(|shown| shown.values.first().map(|(_, value)| *value));
        let got = aliased.values("gpu-util", server.name);
        assert!(same(&want, &got), "{}: {}, not {}", server.name, shown(&got), shown(&want));
        assert_eq!(plain.values("gpu-util", server.name), [None, None], "without it they are the exporter's");
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    presets().iter().map(|preset| preset.name.as_str())
}

fn pod(server: &Server, index: usize, shown: &Shown) -> Pod {
    let (series, skipped) = exposition::read(shown.text);
    assert_eq!(skipped, 0, "{}: a line that is none", server.name);
    let (name, honored) = match server.shown_by {
        ShownBy::Itself => (pod_name(index), false),
        ShownBy::Exporter => (format!("dcgm-exporter-{index}"), true),
    };
    Pod { namespace: server.name.to_owned(), name, series, traffic: shown.traffic, honored }
}

#[test]
fn real_expositions_give_what_their_text_says() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else {
        // Past the capture: what is not run must be seen.
        let how = format!("not run: {DIRECTORY}=DIR cargo test --test presets -- --nocapture asks about DIR/*.prom\n");
        io::stderr().write_all(how.as_bytes()).expect("failed to write to stderr");
        return;
    };
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("failed to list the directory").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "prom"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no *.prom", directory.display());

    let mut pods = Vec::new();
    for (namespace, file) in files.iter().enumerate() {
        let text = fs::read_to_string(file).expect("failed to read an exposition");
        let (series, skipped) = exposition::read(&text);
        println!("{}: {} series, {skipped} other lines", file.display(), series.len());
        let mut twice = series.clone();
        twice.iter_mut().for_each(|series| series.value *= 2.0);
        for (index, series) in [series, twice].into_iter().enumerate() {
            let namespace = format!("file-{namespace}");
            pods.push(Pod { namespace, name: pod_name(index), series, traffic: Traffic::Flows, honored: false });
        }
    }

    let world = World::of(&pods);
    let (mut wrong, mut values) = (Vec::new(), 0);
    for (file, of_file) in files.iter().zip(pods.chunks_exact(2)) {
        let file = file.file_name().unwrap_or_default().display().to_string();
        for preset in names() {
            let want = [0, 1].map(|pod| arithmetic::value(preset, &of_file[pod].series));
            let got = world.values(preset, &of_file[0].namespace);
            println!("{file:45} {preset:11} {}", shown(&got));
            values += got.iter().flatten().count();
            if !same(&want, &got) {
                wrong.push(format!("{file} {preset}: {}, not {}", shown(&got), shown(&want)));
            }
        }
    }
    println!("{} files, {values} values, {} wrong", files.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The Prometheus of a cluster, and the templates that its adapter has.
struct World {
    prometheus: Prometheus,
    templates: BTreeMap<&'static str, String>,
    _directory: tempfile::TempDir,
}

impl World {
    fn of(pods: &[Pod]) -> Self {
        Self::with(pods, "{}")
    }

    /// With a platform's file.
    fn with(pods: &[Pod], platform: &str) -> Self {
        prometheus::require_tools();
        let directory = tempfile::Builder::new().prefix("nimscale-presets-").tempdir();
        let directory = directory.expect("failed to create a directory");
        let database = directory.path().join("prometheus");
        let prometheus = Prometheus::start(&database, &exposition::open_metrics(pods));
        let file = directory.path().join("platform.yaml");
        fs::write(&file, platform).expect("failed to write the platform");
        Self {
            prometheus,
            templates: names().map(|preset| (preset, template(preset, &file))).collect(),
            _directory: directory,
        }
    }

    /// What the adapter makes of both pods of a namespace, asked for together and alone.
    fn values(&self, preset: &'static str, namespace: &str) -> [Option<f64>; 2] {
        let names = [0, 1].map(pod_name);
        let [first, second] = names.each_ref().map(String::as_str);
        let together = self.ask(preset, namespace, &[first, second]);
        let alone = [first, second].map(|pod| self.ask(preset, namespace, &[pod])[0]);
        assert!(same(&alone, &together), "{namespace} {preset}: {} alone, {}", shown(&alone), shown(&together));
        [together[0], together[1]]
    }

    fn ask(&self, preset: &'static str, namespace: &str, pods: &[&str]) -> Vec<Option<f64>> {
        let query = adapter::instantiate(&self.templates[preset], namespace, pods);
        let samples = query.and_then(|query| self.prometheus.query(&query, END));
        let samples = samples.unwrap_or_else(|error| panic!("{namespace} {preset}: {error}"));
        assert!(
            samples.iter().all(|sample| sample.labels.get("pod").is_some_and(|pod| pods.contains(&&**pod))),
            "{namespace} {preset}: somebody else's: {samples:?}"
        );
        let value = |pod: &&str| {
            let mut own = samples.iter().filter(|sample| sample.labels["pod"] == **pod);
            let value = own.next().map(|sample| sample.value);
            assert!(own.next().is_none(), "{namespace} {preset}: {pod} twice: {samples:?}");
            value
        };
        pods.iter().map(value).collect()
    }
}

/// The one template of the ConfigMap that is rendered for a preset.
fn template(preset: &str, platform: &Path) -> String {
    let unit = presets().iter().find(|known| known.name == preset).map(|preset| preset.unit);
    let target = match unit {
        Some(Unit::Ratio) => "75%",
        Some(Unit::Seconds) => "1s",
        Some(Unit::Requests | Unit::RequestsPerSecond) | None => "8",
    };
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: nim\n  annotations:\n    \
         nimscale.dev/scale: \"1..8 {preset}<{target}\"\n"
    );
    let mut run = Command::new(env!("CARGO_BIN_EXE_nimscale"))
        .args(["render", "-", "--platform"])
        .arg(platform)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("failed to run nimscale");
    let mut stdin = run.stdin.take().expect("stdin is piped");
    stdin.write_all(manifest.as_bytes()).expect("failed to write the manifest");
    drop(stdin);
    let output = run.wait_with_output().expect("failed to wait for nimscale");
    let text = String::from_utf8(output.stdout).expect("nimscale writes UTF-8");
    let last = text.rsplit("\n---\n").next().unwrap_or_default();
    let map: serde_json::Value = yaml::parse(last).unwrap_or_else(|error| panic!("{error}: {text}"));
    let config: Config = yaml::parse(map["data"][CONFIG_KEY].as_str().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(config.rules.len(), 1, "{text}");
    config.rules.into_iter().next().expect("one rule").metrics_query
}

fn pod_name(index: usize) -> String {
    format!("nim-{index}")
}

fn same(want: &[Option<f64>], got: &[Option<f64>]) -> bool {
    let close = |(want, got): (&Option<f64>, &Option<f64>)| match (want, got) {
        (None, None) => true,
        (Some(want), Some(got)) => (want - got).abs() <= TOLERANCE * want.abs().max(1.0),
        (None, Some(_)) | (Some(_), None) => false,
    };
    want.len() == got.len() && want.iter().zip(got).all(close)
}

fn shown(values: &[Option<f64>]) -> String {
    let value = |value: &Option<f64>| value.map_or("missing".to_owned(), |value| value.to_string());
    values.iter().map(value).collect::<Vec<_>>().join(" ")
}
