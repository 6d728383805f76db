//! Run a test in a network and a process namespace of its own.

use std::env;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{self, Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::Context;

use crate::{Ground, Options};

/// Says that this process is inside already.
const INSIDE: &str = "NIMSCALE_GROUND_INSIDE";

/// Runs `body` on a fresh ground, in namespaces of its own: the test's binary is run again inside, for this test alone.
///
/// `name` is the test's own name. A panic of `body` keeps the logs and says where they are. Whatever ends the process
/// outside (a panic, Ctrl-C, a kill) ends the one inside and all that it started.
pub fn inside(name: &str, options: Options, body: impl FnOnce(&Ground)) {
    if !is_inside() {
        let args = ["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"];
        let mut again = again(&args).stdin(Stdio::piped()).spawn().expect(MISSING);
        // Held, and never written: it closes when this process ends, whatever ends it. `wait` would close it at once.
        let lifeline = again.stdin.take();
        let status = again.wait().expect("a child can be waited for");
        drop(lifeline);
        assert!(status.success(), "{name} failed inside its namespace: see above");
        return;
    }
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        // The outside is gone. This is the namespace's first process: with it all others end.
        process::exit(1);
    });
    let ground = Ground::start(options).unwrap_or_else(|error| panic!("failed to start the ground: {error:#}"));
    match catch_unwind(AssertUnwindSafe(|| body(&ground))) {
        Ok(()) => drop(ground),
        Err(panic) => {
            println!("the logs of {name} are in {}", ground.keep_logs().display());
            resume_unwind(panic)
        }
    }
}

/// Runs `body` on a fresh ground for a person; from outside says how to look at it from another terminal.
pub fn play(options: Options, body: impl FnOnce(&Ground)) -> anyhow::Result<()> {
    if is_inside() {
        body(&Ground::start(options)?);
        return Ok(());
    }
    let mut again = again(&[]).stdin(Stdio::piped()).spawn().context(MISSING)?;
    // The input goes through this process, so that its end, by whatever, ends the ground.
    let mut input = again.stdin.take().context("the input is a pipe")?;
    thread::spawn(move || io::copy(&mut io::stdin(), &mut input));
    let unshare = again.id();
    let children = format!("/proc/{unshare}/task/{unshare}/children");
    let child = || fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
    while child().is_empty() && again.try_wait()?.is_none() {
        sleep(Duration::from_millis(50));
    }
    println!("from another terminal: nsenter --net --pid --mount --target {} sh", child());
    anyhow::ensure!(again.wait()?.success(), "the ground ended with an error");
    Ok(())
}

const MISSING: &str = "unshare (util-linux) and ip (iproute2) make the namespace: install them";

/// Says whether this process is the one inside.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// This binary again, in namespaces of its own.
fn again(args: &[&str]) -> Command {
    let binary = env::current_exe().expect("a running program has a binary");
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--pid", "--mount-proc", "--fork", "--kill-child"]);
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    // 10.244.255.253 is the API server's: a namespace without a route has no other address.
    let enter = "ip link set lo up && ip addr add 10.244.255.253/32 dev lo && exec \"$0\" \"$@\"";
    unshare.args(["sh", "-c", enter]).arg(binary).args(args).env(INSIDE, "1");
    unshare
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout == b"0\n")
}
