//! Programs of the control plane, built when they are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a program is: one that `tests/cluster/build` knows.
pub fn built(program: &str) -> PathBuf {
    let build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/build"))
        .arg(program)
        .stderr(Stdio::inherit())
        .output()
        .expect("tests/cluster/build runs");
    assert!(build.status.success(), "tests/cluster/build says above what is missing");
    Path::new(String::from_utf8(build.stdout).expect("UTF-8").trim_end()).join(program)
}
