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
    process: Process,
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
        let running = Running { namespace: namespace.to_owned(), pod: pod.to_owned(), process, is_frozen: false };
        self.lock().insert(uid.to_owned(), running);
    }

    /// Takes a program out; dropping its process ends it, which may take its grace.
    pub fn take(&self, uid: &str) -> Option<Process> {
        self.lock().remove(uid).map(|running| running.process)
    }

    /// True when the program ended by itself, or was killed.
    pub fn has_ended(&self, uid: &str) -> anyhow::Result<bool> {
        self.lock().get_mut(uid).map_or(Ok(true), |running| running.process.ended())
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
            running.process.signal(match signal {
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
        let ids = of(&mut running, namespace, prefix).map(|running| running.process.id());
        ids.filter_map(|id| resident(&fs::read_to_string(format!("/proc/{id}/status")).ok()?)).collect()
    }

    /// Ends all of them without a grace: the ground itself ends.
    pub fn clear(&self) {
        for (_, mut running) in std::mem::take(&mut *self.lock()) {
            running.process.signal("KILL");
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
