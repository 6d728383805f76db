//! Hold the programs that run as pods, so that a test can kill, freeze and weigh them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::process::Process;

/// The programs that run now, by the uid of their pod.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    running: Arc<Mutex<BTreeMap<String, Running>>>,
}

#[derive(Debug)]
struct Running {
    namespace: String,
    pod: String,
    /// `None` while it ends: it may drain, and still answers.
    process: Option<Process>,
    is_frozen: bool,
}

/// What a test does to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Kill,
    Terminate,
    Freeze,
    Thaw,
}

impl Programs {
    pub fn add(&self, uid: &str, namespace: &str, pod: &str, process: Process) {
        let (namespace, pod) = (namespace.to_owned(), pod.to_owned());
        let running = Running { namespace, pod, process: Some(process), is_frozen: false };
        self.lock().insert(uid.to_owned(), running);
    }

    /// Ends a program, which may take its grace; it runs until then. False when there is none to end.
    pub async fn end(&self, uid: &str) -> bool {
        let process = self.lock().get_mut(uid).and_then(|running| running.process.take());
        let ended = match process {
            Some(process) => tokio::task::spawn_blocking(move || drop(process)).await.is_ok(),
            None => false,
        };
        self.lock().remove(uid);
        ended
    }

    /// True when the program ended by itself, or was killed.
    pub fn has_ended(&self, uid: &str) -> anyhow::Result<bool> {
        let mut running = self.lock();
        let process = running.get_mut(uid).and_then(|running| running.process.as_mut());
        process.map_or(Ok(true), Process::ended)
    }

    pub fn is_frozen(&self, uid: &str) -> bool {
        self.lock().get(uid).is_some_and(|running| running.is_frozen)
    }

    /// The pods of a namespace whose names begin so, sorted.
    pub fn pods(&self, namespace: &str, prefix: &str) -> Vec<String> {
        let mut running = self.lock();
        let mut pods: Vec<String> = of(&mut running, namespace, prefix).map(|running| running.pod.clone()).collect();
        pods.sort();
        pods
    }

    /// Sends a signal to every program whose pod's name begins so; how many there were.
    pub fn signal(&self, namespace: &str, prefix: &str, signal: Signal) -> usize {
        let mut count = 0;
        for running in of(&mut self.lock(), namespace, prefix) {
            let Some(process) = &mut running.process else { continue };
            process.signal(match signal {
                Signal::Kill => "KILL",
                Signal::Terminate => "TERM",
                Signal::Freeze => "STOP",
                Signal::Thaw => "CONT",
            });
            running.is_frozen = signal == Signal::Freeze;
            count += 1;
        }
        count
    }

    /// The resident memory of each, in bytes.
    pub fn memory(&self, namespace: &str, prefix: &str) -> Vec<u64> {
        let mut running = self.lock();
        let ids = of(&mut running, namespace, prefix).filter_map(|running| Some(running.process.as_ref()?.id()));
        ids.filter_map(|id| resident(&fs::read_to_string(format!("/proc/{id}/status")).ok()?)).collect()
    }

    /// Ends all of them without a grace: the ground itself ends.
    pub fn clear(&self) {
        for mut process in std::mem::take(&mut *self.lock()).into_values().filter_map(|running| running.process) {
            process.signal("KILL");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(
    running: &'a mut BTreeMap<String, Running>,
    namespace: &str,
    prefix: &str,
) -> impl Iterator<Item = &'a mut Running> {
    running.values_mut().filter(move |running| running.namespace == namespace && running.pod.starts_with(prefix))
}

/// `VmRSS:   12345 kB` of a process' status, in bytes.
fn resident(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kibibytes.parse::<u64>().ok()? * 1024)
}
