//! The tests that know only the crate's public face.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what goes wrong here is a failed test"
)]

mod decisions;
mod killed;
