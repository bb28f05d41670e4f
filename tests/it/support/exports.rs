//! Exports that aren't what they were, and what contradicts them.

use std::{fs, path::Path};

use aap::audit::tree::note::{SigningKey, Statement};
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

/// Another history of as many leaves, or of more, signed by the key of a data directory: the note of
/// its checkpoint.
pub fn another_history(data_dir: &Path, origin: &str, size: u64) -> String {
    let key = fs::read_to_string(data_dir.join("checkpoint.key")).unwrap();
    let key = SigningKey::parse(&key).unwrap().named(origin);
    let statement = Statement { origin: origin.to_owned(), size, root: [7; 32] };
    key.verifier().note(&statement, &key.sign(&statement))
}
