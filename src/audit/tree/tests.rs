//! The tree against the definition in RFC 9162, and its files against damage.

mod hashing;
mod keeping;
