//! What is generated and committed is what the binary prints; `UPDATE=1 cargo test --test generated` writes it again.

use std::process::Command;
use std::{env, fs};

#[test]
fn the_static_manifest_is_what_install_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_nimscale")).arg("install").output().expect("the binary runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
    if env::var_os("UPDATE").is_some() {
        fs::write(path, &printed).expect("the tree can be written");
    }
    let committed = fs::read_to_string(path).expect("it is committed");
    assert!(committed == printed, "deploy/install.yaml is old: UPDATE=1 cargo test --test generated");
}
