//! The tests that know only the crate's public face: a real server behind a real socket, and the
//! program itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "test code: what goes wrong here is a failed test"
)]

mod support;

mod decisions;

mod applying;
mod backups;
mod bounds;
mod buffered;
mod caller_identity;
mod callers;
mod changing;
mod checks;
mod client_keys;
mod commands;
mod configuration;
mod coverage;
mod cursor_commands;
mod cursor_reads;
mod cursors;
mod documents;
mod errors;
mod evidence;
mod failing;
mod filtering;
mod history;
mod hostile;
mod key_lifecycle;
mod killed;
mod limits;
mod linearizable;
mod logging;
mod management;
mod pacing;
mod pages;
mod program;
mod proving;
mod proving_changes;
mod proxies;
mod refusing;
mod reloading;
mod repeating;
mod replay;
mod retention;
mod role_tokens;
mod roles;
mod scrubbing;
mod service_manager;
mod sessions;
mod snapshots;
mod soaking;
mod strangers;
mod streaming;
mod tailing;
mod telemetry;
mod tenants;
mod tls;
mod tool_commands;
mod tools;
mod tracing;
mod watching;
mod wizard;
