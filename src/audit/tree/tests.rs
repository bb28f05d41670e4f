//! The tree against the definition in RFC 9162, and its files against damage.

mod flips;
mod forgetting;
mod hashing;
mod keeping;
mod scrubbing;
mod unreadable;
