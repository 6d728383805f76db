//! Databases that hold nothing else: of each pod, each workload and each namespace, beside that of everybody.
//!
//! One server has them all, five weeks apart from each other. No text here looks back further than an hour, so at its own
//! time each of them is alone; hours and weekdays are the same in all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use serde_json::Value;

use super::built::built;
use super::compiler::{Compiled, Kind, compile};
use super::data::{self, Holds, NAMESPACES, PODS, Pod, WORKLOADS, WorkloadKind};
use super::expression::{Claim, Root, plain};
use super::prometheus::{self, DATA, Prometheus, Sample};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Debian's, on the `PATH`.
    V2_42,
    /// The newest, built from its Go module.
    V3,
}

pub const VERSIONS: [Version; 2] = [Version::V2_42, Version::V3];

impl Version {
    pub fn dialect(self) -> &'static str {
        match self {
            Self::V2_42 => "2.42",
            Self::V3 => "3.16",
        }
    }
}

/// Why a claim has no template.
#[derive(Debug)]
pub enum Refusal {
    OtherKind(Kind),
    /// The codes of the errors, each once.
    Codes(Vec<String>),
}

/// One Prometheus over every database, with the platform's file for its version.
pub struct World {
    pub version: Version,
    platform: PathBuf,
    server: Prometheus,
    databases: Vec<Holds>,
}

impl World {
    /// Built once a process, for all tests; in the order of [`VERSIONS`].
    pub fn shared() -> &'static [Self; 2] {
        static WORLDS: OnceLock<[World; 2]> = OnceLock::new();
        WORLDS.get_or_init(|| {
            prometheus::require_tools();
            let directory = directory();
            let databases = databases();
            write(&directory, &databases);
            VERSIONS.map(|version| Self::over(version, &directory.join(version.dialect()), databases.clone()))
        })
    }

    /// A server of 3.x without blocks, which `fill` fills.
    pub fn empty(fill: impl FnOnce(&Self)) -> Self {
        prometheus::require_tools();
        let directory = directory().join("native");
        fs::create_dir_all(directory.join(DATA)).expect("failed to create a database directory");
        let world = Self::over(Version::V3, &directory, databases());
        fill(&world);
        world
    }

    fn over(version: Version, home: &Path, databases: Vec<Holds>) -> Self {
        let platform = home.join("platform.yaml");
        fs::write(&platform, data::platform(version.dialect())).expect("failed to write the platform");
        let server = match version {
            Version::V2_42 => Prometheus::start_over(Path::new("prometheus"), home),
            Version::V3 => Prometheus::start_over(&built("prometheus-3"), home),
        };
        Self { version, platform, server, databases }
    }

    /// Each database, and how many seconds before the first it is.
    pub fn databases(&self) -> impl DoubleEndedIterator<Item = (&Holds, u64)> {
        self.databases.iter().enumerate().map(|(at, holds)| (holds, earlier(at)))
    }

    /// A write request, as another Prometheus sends it.
    pub fn write(&self, request: &[u8]) {
        let answer = ureq::post(format!("{}/write", self.server.url))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .send(request);
        answer.unwrap_or_else(|error| panic!("failed to write: {error}"));
    }

    /// The vector that a text is in a database, so many seconds after its start.
    pub fn query(&self, holds: &Holds, text: &str, time: u64) -> Result<Vec<Sample>, String> {
        self.server.query(text, data::START + time - earlier(self.at(holds)))
    }

    /// [`Self::query`] in the database of each pod; these are all of one namespace.
    pub fn query_each(&self, pods: &[Pod], text: &str, time: u64) -> Vec<Result<Vec<Sample>, String>> {
        // A text that asks where the range begins, or a subquery, whose own steps would fill the weeks between.
        let mut ranges = text.split('[').skip(1).filter_map(|range| range.split(']').next());
        let alone = text.contains('@') || ranges.any(|range| range.contains(':'));
        let together = if alone { None } else { self.query_together(pods, text, time) };
        together.unwrap_or_else(|| pods.iter().map(|pod| self.query(&Holds::of_pod(*pod), text, time)).collect())
    }

    /// The databases are as far from each other as from the next: together they are the steps of one range. `None` where
    /// the text is not defined in one of them.
    fn query_together(&self, pods: &[Pod], text: &str, time: u64) -> Option<Vec<Result<Vec<Sample>, String>>> {
        let at = |pod: &Pod| data::START + time - earlier(self.at(&Holds::of_pod(*pod)));
        let (start, end) = (at(pods.last()?).to_string(), at(pods.first()?).to_string());
        let form = [("query", text), ("start", &start), ("end", &end), ("step", &earlier(1).to_string())];
        let answer: Value = serde_json::from_str(&self.server.ask("query_range", form)).expect("an answer");
        let mut found: Vec<Vec<Sample>> = vec![Vec::new(); pods.len()];
        for series in answer["data"]["result"].as_array()? {
            let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).expect("labels");
            for value in series["values"].as_array().expect("values") {
                let pod = pods.iter().position(|pod| value[0].as_u64() == Some(at(pod))).expect("a step of the range");
                let value = value[1].as_str().and_then(|value| value.parse().ok()).expect("a number");
                found[pod].push(Sample { labels: labels.clone(), value });
            }
        }
        Some(found.into_iter().map(Ok).collect())
    }

    fn at(&self, holds: &Holds) -> usize {
        self.databases.iter().position(|database| database == holds).expect("every database is in the list")
    }

    /// What becomes of the claim's text: the template, where its kind is the claim's.
    pub fn compile(&self, Claim { text, root, idle }: Claim<'_>) -> Result<String, Refusal> {
        let workload = match root {
            Root::Unique | Root::Max | Root::Sum => WorkloadKind::Deployment,
            Root::Total(kind) | Root::Level(kind) => kind,
        };
        match compile(&plain(text), idle, workload, &self.platform) {
            Compiled::Accepted(kind, template) if kind == Kind::of(root) => Ok(template),
            Compiled::Accepted(kind, _) => Err(Refusal::OtherKind(kind)),
            Compiled::Refused(codes) => Err(Refusal::Codes(codes)),
        }
    }
}

/// For servers, whose watchers remove it: a static is never dropped.
fn directory() -> PathBuf {
    let directory = tempfile::Builder::new().prefix("nimscale-contract-").tempdir();
    directory.expect("failed to create a directory").keep()
}

/// A multiple of a week and of every step, and far enough for a block of its own.
fn earlier(database: usize) -> u64 {
    database as u64 * 5 * 7 * 86_400
}

/// Those of the pods of one namespace stand beside each other.
fn databases() -> Vec<Holds> {
    let mut databases = vec![Holds::Everything];
    databases.extend(NAMESPACES.map(Holds::of_namespace));
    databases.extend(PODS.map(Holds::of_pod));
    // A workload of one pod is that pod.
    let several = WORKLOADS.iter().filter(|workload| workload.pods.len() > 1);
    databases.extend(several.map(|workload| Holds::Pods(workload.namespace, workload.pods.to_vec())));
    databases
}

impl Holds {
    pub fn of_namespace(namespace: &'static str) -> Self {
        Self::Pods(namespace, PODS.into_iter().filter(|pod| pod.namespace == namespace).collect())
    }

    pub fn of_pod(pod: Pod) -> Self {
        Self::Pods(pod.namespace, vec![pod])
    }
}

/// Writes the blocks of all databases, once for each version.
fn write(directory: &Path, databases: &[Holds]) {
    let series = data::all_series();
    let write = |at: usize, holds: &Holds| {
        let blocks = directory.join(format!("{at}"));
        prometheus::write_blocks(&blocks, &data::open_metrics(&series, holds, earlier(at)));
        for version in VERSIONS {
            let data = directory.join(version.dialect()).join(DATA);
            fs::create_dir_all(&data).expect("failed to create a database directory");
            copy(&blocks, &data);
        }
        fs::remove_dir_all(&blocks).expect("failed to remove what was copied");
    };
    thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                databases.iter().enumerate().filter(|(at, _)| at % 2 == half).for_each(|(at, holds)| write(at, holds));
            });
        }
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("failed to create a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("failed to copy a block");
        }
    }
}
