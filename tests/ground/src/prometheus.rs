//! Prometheus, with the labels that a ServiceMonitor or a PodMonitor gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::{Version, pod_info};

/// Scrapes what the node writes into [`targets`], and itself as the operator would: the anchor of every rule.
pub fn start(bin: &Path, version: Version, directory: &Path) -> anyhow::Result<Process> {
    let targets = targets(directory);
    if !targets.exists() {
        fs::write(&targets, "[]")?;
    }
    let pods = format!(
        "- job_name: kube-state-metrics\n  honor_labels: true\n  static_configs: [{{targets: [\"{}\"]}}]\n\
         - job_name: pods\n  file_sd_configs: [{{files: [\"{}\"], refresh_interval: 1s}}]\n",
        pod_info::ADDRESS,
        targets.display()
    );
    start_with(bin, version, directory, "", &pods)
}

/// Scrapes itself alone and goes on with what is stored of the pods; each query goes into [`query_log`].
pub fn start_over_what_is_stored(bin: &Path, version: Version, directory: &Path) -> anyhow::Result<Process> {
    let log = format!(", query_log_file: \"{}\"", query_log(directory).display());
    start_with(bin, version, directory, &log, "")
}

fn start_with(bin: &Path, version: Version, directory: &Path, global: &str, jobs: &str) -> anyhow::Result<Process> {
    let program = match version {
        Version::Debian => PathBuf::from("prometheus"),
        Version::V3 => bin.join("prometheus-3"),
    };
    let config = directory.join("prometheus.yml");
    let itself =
        "{namespace: monitoring, pod: prometheus-0, service: prometheus, endpoint: web, container: prometheus}";
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s{global}}}\nscrape_configs:\n\
             - job_name: prometheus\n  static_configs: [{{targets: [\"127.0.0.1:9090\"], labels: {itself}}}]\n{jobs}"
        ),
    )?;
    Process::start(
        "prometheus",
        Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()))
            .args(["--web.listen-address=127.0.0.1:9090", "--log.level=warn"]),
        &directory.join("logs"),
    )
}

/// The file that says when which query was evaluated, a JSON object a line.
pub fn query_log(directory: &Path) -> PathBuf {
    directory.join("queries.log")
}

/// The file of the targets.
pub fn targets(directory: &Path) -> PathBuf {
    directory.join("targets.json")
}
