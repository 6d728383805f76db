//! Prometheus servers, each over a database made of text, that end with the test process.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The servers live in a static, which is never dropped, and a test may panic or be killed. So a shell watches its
/// standard input, which closes with this process, then ends the server and removes its files. It ignores the interrupt
/// of a terminal, which this process takes. Of a server that ended by itself (not by signal 9) the files stay.
const WATCHER: &str = r#"
trap '' INT
exec 3<&0
directory=$1
shift
"$@" </dev/null >"$directory/log" 2>&1 &
server=$!
{ cat <&3 >/dev/null; kill -9 "$server"; } &
wait "$server"
[ $? -ne 137 ] || { rm -rf "$directory"; rmdir "${directory%/*}"; }
"#;

/// Long enough for ten servers that start at once on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Prometheus {
    /// Of its API.
    pub url: String,
    agent: ureq::Agent,
    directory: PathBuf,
    /// Holds the pipe that the shell reads.
    watcher: Child,
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Panics with one clear line when a tool is missing: what is skipped holds for nothing.
pub fn require_tools() {
    for tool in ["prometheus", "promtool"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(found.is_ok(), "the tests need {tool} on the PATH: apt-get install prometheus, or a release tarball");
    }
}

/// Where a server's database is in its directory.
pub const DATA: &str = "data";

/// Makes the database of a server, or adds to it what overlaps with nothing in it.
pub fn write_blocks(data: &Path, open_metrics: &str) {
    let text = data.join("series.txt");
    fs::create_dir_all(data).expect("failed to create a database directory");
    fs::write(&text, open_metrics).expect("failed to write the series");
    let blocks = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, data])
        .output()
        .expect("failed to run promtool");
    assert!(blocks.status.success(), "promtool: {}", String::from_utf8_lossy(&blocks.stderr));
    fs::remove_file(&text).expect("failed to remove the series");
}

impl Prometheus {
    /// `directory` is made, filled and, when this process ends, removed.
    pub fn start(directory: &Path, open_metrics: &str) -> Self {
        Self::start_as(Path::new("prometheus"), directory, open_metrics)
    }

    /// As [`Self::start`], with another Prometheus than the one on the `PATH`.
    pub fn start_as(program: &Path, directory: &Path, open_metrics: &str) -> Self {
        write_blocks(&directory.join(DATA), open_metrics);
        Self::start_over(program, directory)
    }

    /// Over the database that [`write_blocks`] wrote into [`DATA`] of `directory`.
    pub fn start_over(program: &Path, directory: &Path) -> Self {
        let (data, config) = (directory.join(DATA), directory.join("prometheus.yml"));
        fs::write(&config, "global: {}\n").expect("failed to write the configuration");
        // Another process may take the free port before the server does.
        (0..3).find_map(|_| Self::serve(program, directory, &config, &data)).unwrap_or_else(|| {
            panic!("prometheus does not start:\n{}", log(directory));
        })
    }

    /// `None` if the server ended at once.
    fn serve(program: &Path, directory: &Path, config: &Path, data: &Path) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("failed to find a free port");
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "watcher"])
            .arg(directory)
            .arg(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver", "--log.level=warn"])
            .stdin(Stdio::piped())
            // The shell's own words: that it killed the server.
            .stderr(Stdio::null())
            .spawn()
            .expect("failed to run sh");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();

        let url = format!("http://{address}/api/v1");
        let mut server = Self { url, agent, directory: directory.to_owned(), watcher };

        let ready = format!("http://{address}/-/ready");
        let started = Instant::now();
        while !server.agent.get(&ready).call().is_ok_and(|response| response.status() == 200) {
            if server.watcher.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            assert!(started.elapsed() < START_TIMEOUT, "prometheus does not get ready:\n{}", log(directory));
            thread::sleep(Duration::from_millis(25));
        }
        Some(server)
    }

    /// The vector at `time`, in seconds or as in RFC 3339, or the server's words why there is none.
    pub fn query(&self, expression: &str, time: impl ToString) -> Result<Vec<Sample>, String> {
        let answer = self.ask("query", [("query", expression), ("time", &time.to_string())]);
        let answer = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("not an answer: {error}: {answer}"));
        match answer {
            Answer::Success { data: Data::Vector(samples) } => Ok(samples.into_iter().map(RawSample::parse).collect()),
            Answer::Success { data: Data::Matrix(_) | Data::Scalar(_) | Data::String(_) } => {
                Err("the result is not a vector".to_owned())
            }
            Answer::Error { error } => Err(error),
        }
    }

    /// The whole answer of one of the API's resources.
    pub fn ask<const N: usize>(&self, resource: &str, form: [(&str, &str); N]) -> String {
        let answer = self
            .agent
            .post(format!("{}/{resource}", self.url))
            .send_form(form)
            .and_then(|mut response| response.body_mut().read_to_string());
        answer.unwrap_or_else(|error| panic!("failed to ask {resource}: {error}\n{}", log(&self.directory)))
    }
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_else(|error| format!("no log: {error}"))
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Data },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<RawSample>),
    Matrix(serde::de::IgnoredAny),
    Scalar(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct RawSample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl RawSample {
    fn parse(self) -> Sample {
        let value = self.value.1.parse().expect("Prometheus writes numbers that Rust reads");
        Sample { labels: self.metric, value }
    }
}
