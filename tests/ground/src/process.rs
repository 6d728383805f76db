//! A local program with its log, ended when it is dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// How long it may take to end when it is asked to.
    grace: Duration,
}

impl Process {
    /// Starts a program; what it prints goes to `logs/NAME.log`.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, grace: Duration::ZERO })
    }

    /// Lets the program end by itself, on SIGTERM, before it is killed.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// `Some` when the program ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, unless the program has ended: its number may be another's then.
    pub fn signal(&mut self, name: &str) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
    }

    /// Fails, with the end of its log, when the program ended by itself.
    pub fn ensure_running(&mut self) -> anyhow::Result<()> {
        if self.ended()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            anyhow::bail!("{} ended:\n{}", self.name, end.join("\n"));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let asked = Instant::now();
        if !self.grace.is_zero() {
            self.signal("TERM");
        }
        while asked.elapsed() < self.grace && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(20));
        }
        // etcd and the API server ignore a polite signal for minutes when the other one is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
