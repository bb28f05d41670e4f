//! The cursors of the audit log on disk, and the one thread that changes them.
//!
//! The way of a change: [`keeper`] (judges it, in the order in which it came) → [`tree`] (rows, in
//! sled) → shown and answered. A change of the journal never waits for one, nor does a check.

pub mod keeper;
pub mod tree;

#[cfg(test)]
mod tests;
