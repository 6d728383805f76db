//! The compiler from outside: the rule that the binary makes of a text.

use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Compiled {
    pub is_object: bool,
    /// Of an Object: it is not multiplied by the pods that serve.
    pub is_total: bool,
    pub name: String,
    pub rule: Value,
    pub selectors: Vec<String>,
}

/// Compiles for target 1, which bounds the metric at [`super::oracle::BOUND`]; `None` when the text is refused.
pub fn compile(text: &str, workload: &str, on_idle: Option<&str>) -> Option<Compiled> {
    let mut explain = Command::new(env!("CARGO_BIN_EXE_nimscale"));
    explain.args(["explain", "--expr", text, "--target=1", "--workload", workload, "-o=json"]);
    explain.args(on_idle.map(|on_idle| format!("--on-idle={on_idle}")));
    let output = explain.output().expect("the binary runs");
    let answer: Answer = serde_json::from_slice(&output.stdout).expect("the machine interface");
    match answer {
        Answer::Accepted { kind, name, rule, diagnostics, selectors } => Some(Compiled {
            is_object: kind == "Object",
            is_total: diagnostics.iter().any(|one| one.code == "NS0373"),
            name,
            rule,
            selectors: selectors.into_iter().map(|selector| selector.text).collect(),
        }),
        Answer::Refused {} => None,
    }
}

#[derive(Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Answer {
    Accepted { kind: String, name: String, rule: Value, diagnostics: Vec<Diagnostic>, selectors: Vec<Selector> },
    Refused {},
}

#[derive(Deserialize)]
struct Diagnostic {
    code: String,
}

#[derive(Deserialize)]
struct Selector {
    text: String,
}
