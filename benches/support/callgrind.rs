//! Counts instructions by valgrind, where a clock would tell more of the machine than of the code.

#![allow(dead_code, unreachable_pub, reason = "bench code: each bench uses a part of it")]

use std::{fs, path::Path};

/// The command that another one's program and arguments are appended to.
pub fn command(out: &Path) -> [String; 3] {
    let out = format!("--callgrind-out-file={}", out.display());
    ["valgrind".to_owned(), "--tool=callgrind".to_owned(), out]
}

/// How many instructions all threads of the program that ended took.
pub fn total(out: &Path) -> f64 {
    let text = fs::read_to_string(out).unwrap();
    let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    totals.unwrap().trim().parse().unwrap()
}
