//! Faults, each one line in a test, and what is seen of a program meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use crate::programs::Signal;
use crate::{Ground, prometheus};

impl Ground {
    /// The pods of a namespace whose names begin so and whose programs run, sorted; each is a prefix of itself.
    pub fn running(&self, namespace: &str, prefix: &str) -> Vec<String> {
        self.programs.pods(namespace, prefix)
    }

    /// Kills the programs of the pods whose names begin so (SIGKILL); the node starts them again.
    pub fn kill(&self, namespace: &str, prefix: &str) {
        self.signal(namespace, prefix, Signal::Kill);
    }

    /// Asks the programs to end (SIGTERM), and nobody else to take note: the node starts them again.
    pub fn terminate(&self, namespace: &str, prefix: &str) {
        self.signal(namespace, prefix, Signal::Terminate);
    }

    /// Stops the programs where they are (SIGSTOP). Their liveness is not asked: a cluster gives them half a minute.
    pub fn freeze(&self, namespace: &str, prefix: &str) {
        self.signal(namespace, prefix, Signal::Freeze);
    }

    /// Lets frozen programs go on.
    pub fn thaw(&self, namespace: &str, prefix: &str) {
        self.signal(namespace, prefix, Signal::Thaw);
    }

    /// Closes every connection of the pods to the API server; they may come back at once.
    pub fn cut_connections(&self) {
        self.proxy.cut();
    }

    /// Takes the API server away from the pods, or gives it back.
    pub fn refuse_connections(&self, refuses: bool) {
        self.proxy.refuse(refuses);
    }

    /// Slows what goes between the pods and the API server, each way.
    pub fn delay(&self, delay: Duration) {
        self.proxy.delay(delay);
    }

    pub fn stop_prometheus(&self) {
        self.prometheus.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Starts Prometheus again, with what it has stored.
    pub fn start_prometheus(&self) {
        let mut prometheus = self.prometheus.lock().unwrap_or_else(PoisonError::into_inner);
        if prometheus.is_none() {
            let started = prometheus::start(&self.bin, self.options.prometheus, self.directory.path());
            *prometheus = Some(started.expect("Prometheus starts again"));
        }
    }

    /// Lets the pods' samples stand still: Prometheus is started again and scrapes itself alone. What is returned is
    /// the file in which it notes each query, a JSON object a line.
    pub fn end_scraping(&self) -> PathBuf {
        self.stop_prometheus();
        let directory = self.directory.path();
        let started = prometheus::start_over_what_is_stored(&self.bin, self.options.prometheus, directory);
        *self.prometheus.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(started.expect("Prometheus starts again"));
        prometheus::query_log(directory)
    }

    /// What the programs of the pods whose names begin so have printed until now, those of former pods too.
    pub fn log(&self, namespace: &str, prefix: &str) -> String {
        let logs = fs::read_dir(self.directory.path().join("logs")).expect("the ground has logs");
        let mut logs: Vec<_> = logs.filter_map(|entry| Some(entry.ok()?.path())).collect();
        logs.sort();
        let of = format!("{namespace}.{prefix}");
        let named =
            |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&of));
        logs.iter().filter(|path| named(path)).map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// The resident memory, in bytes, of the largest program of the pods whose names begin so.
    pub fn rss(&self, namespace: &str, prefix: &str) -> u64 {
        let memory = self.programs.memory(namespace, prefix).into_iter().max();
        memory.unwrap_or_else(|| panic!("no program runs as {namespace}/{prefix}*"))
    }

    fn signal(&self, namespace: &str, prefix: &str, signal: Signal) {
        let count = self.programs.signal(namespace, prefix, signal);
        assert!(count > 0, "{signal:?}: no program runs as {namespace}/{prefix}*");
    }
}
