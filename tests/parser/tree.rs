//! Compare two readings of Prometheus: its own tree of a text, less what our tree leaves out on purpose.
//!
//! Left out are parentheses, unary plus, a minus before a number (`-1` is a number, `-x` is not), the order of a
//! selector's matchers, and whether the metric's name stood before the braces or in them.

use serde_json::{Value, json};

/// The tree that `/api/v1/parse_query` shows.
pub fn canonical(tree: Value) -> Value {
    let Value::Object(mut node) = tree else {
        return match tree {
            Value::Array(nodes) => nodes.into_iter().map(canonical).collect(),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => plain,
        };
    };
    match node.get("type").and_then(Value::as_str) {
        Some("parenExpr") => return canonical(node["expr"].take()),
        Some("unaryExpr") if node["op"] == "+" => return canonical(node["expr"].take()),
        Some("unaryExpr") => {
            let inner = canonical(node["expr"].take());
            return match inner["type"].as_str() {
                Some("numberLiteral") => number(-value(&inner)),
                _ => json!({"type": "unaryExpr", "op": "-", "expr": inner}),
            };
        }
        Some("numberLiteral") => return number(value(&Value::Object(node))),
        Some("vectorSelector" | "matrixSelector") => {
            // The name is one of the matchers too.
            node.remove("name");
            if let Some(Value::Array(matchers)) = node.get_mut("matchers") {
                matchers.sort_by_key(Value::to_string);
            }
        }
        Some(_) | None => {}
    }
    let plain = |(key, value)| if key == "matchers" { (key, value) } else { (key, canonical(value)) };
    Value::Object(node.into_iter().map(plain).collect())
}

fn number(value: f64) -> Value {
    json!({"type": "numberLiteral", "val": value.to_string()})
}

fn value(number: &Value) -> f64 {
    let written = number["val"].as_str().expect("a number has a value");
    written.parse().expect("Prometheus writes numbers that Rust reads")
}
