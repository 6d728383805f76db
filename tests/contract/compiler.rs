//! The compiler from outside: the machine interface of the binary, one run an expression.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::data::WorkloadKind;
use super::expression::Root;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    Hold,
    Zero,
}

impl Idle {
    pub fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Zero => "zero",
        }
    }
}

impl WorkloadKind {
    fn word(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// The metric's kind and template.
    Accepted(Kind, String),
    /// The codes of the errors, each once.
    Refused(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    Pods,
    Object,
}

impl Kind {
    pub fn of(root: Root) -> Self {
        match root {
            Root::Unique | Root::Max | Root::Sum => Self::Pods,
            Root::Total(_) | Root::Level(_) => Self::Object,
        }
    }
}

/// Compiles for target 1, which bounds the metric at [`super::oracle::BOUND`]. The kind is left to the compiler.
pub fn compile(expression: &str, idle: Idle, workload: WorkloadKind, platform: &Path) -> Compiled {
    let mut run = Command::new(env!("CARGO_BIN_EXE_nimscale"))
        .args(["explain", "--expr", "-", "--target", "1", "--on-idle", idle.word(), "-o", "json"])
        .args(["--workload", workload.word(), "--platform"])
        .arg(platform)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("failed to run nimscale");
    // A binary that ends without reading shows it by its output, below.
    let _ = run.stdin.take().expect("stdin is piped").write_all(expression.as_bytes());
    let output = run.wait_with_output().expect("failed to wait for nimscale");

    let answer: Answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("not the machine interface ({error}, {}) for {expression:?}:\n{stdout}\n{stderr}", output.status)
    });
    match answer {
        Answer::Accepted { kind, template } => Compiled::Accepted(kind, template),
        Answer::Refused { diagnostics } => {
            let errors = diagnostics.into_iter().filter(|diagnostic| diagnostic.severity == "error");
            let mut codes: Vec<_> = errors.map(|error| error.code).collect();
            codes.sort();
            codes.dedup();
            Compiled::Refused(codes)
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Answer {
    Accepted { kind: Kind, template: String },
    Refused { diagnostics: Vec<Diagnostic> },
}

#[derive(Deserialize)]
struct Diagnostic {
    code: String,
    severity: String,
}
