//! Write data to stdout and talk to stderr, and say how a command ended.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

/// How a command ended; the same numbers for every command and output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and nothing found.
    Done,
    /// Done, with findings; an expression that was refused.
    Findings,
    /// Could not finish: an input that cannot be read, a write that failed.
    Unfinished,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Findings => Self::from(1),
            // 2 is wrong usage, and clap's.
            Exit::Unfinished => Self::from(3),
        }
    }
}

/// Writes data to stdout. A reader that closed the pipe has what it wanted.
pub fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to stdout"),
    }
}

/// Writes a line to stderr. When nobody listens there is nobody to tell.
pub fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
