//! Exports that aren't what they were.

use std::fs;

use serde_json::Value;

/// Writes an export of JSON lines anew with its lines changed, and with the count of what is in it,
/// by its name in the last line, put right.
pub fn with_lines((export, counted): (&str, &str), to: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let text = fs::read_to_string(export).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    change(&mut lines);
    let count = lines.len() - 2;
    *lines.last_mut().unwrap() = serde_json::json!({ counted: count });
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    fs::write(to, lines.join("\n") + "\n").unwrap();
}
