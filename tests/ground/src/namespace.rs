//! Run a test in a network and a process namespace of its own.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;

use crate::{Ground, Options};

/// Says that this process is inside already.
const INSIDE: &str = "NIMSCALE_GROUND_INSIDE";

/// Runs `body` on a fresh ground, in namespaces of its own: the test's binary is run again inside, for this test alone.
///
/// `name` is the test's own name. A panic of `body` keeps the logs and says where they are. Whatever ends the process
/// outside (a panic, Ctrl-C, a kill) ends the one inside and all that it started.
pub fn inside(name: &str, options: Options, body: impl FnOnce(&Ground)) {
    if env::var_os(INSIDE).is_none() {
        return again(name);
    }
    let ground = Ground::start(options).unwrap_or_else(|error| panic!("failed to start the ground: {error:#}"));
    match catch_unwind(AssertUnwindSafe(|| body(&ground))) {
        Ok(()) => drop(ground),
        Err(panic) => {
            println!("the logs of {name} are in {}", ground.keep_logs().display());
            resume_unwind(panic)
        }
    }
}

fn again(name: &str) {
    let binary = env::current_exe().expect("a test has a binary");
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--pid", "--mount-proc", "--fork", "--kill-child"]);
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    let status = unshare
        .args(["sh", "-c", "ip link set lo up && ip addr add 10.244.255.253/32 dev lo && exec \"$0\" \"$@\""])
        .arg(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) and ip (iproute2) make the namespace: install them");
    assert!(status.success(), "{name} failed inside its namespace: see above");
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout == b"0\n")
}
