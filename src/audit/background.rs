//! Threads whose work can wait: where processors are few, those that answer go first.

use std::{io, thread};

/// How far behind others, from 0 to 19: of a processor that all want they get about a tenth.
const NICE: i32 = 10;

/// Starts a thread that lets others go first.
pub(super) fn start(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Of this thread alone, as Linux has it. Without it, it is only less polite.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "a thread keeps its priority");
        }
        work();
    })
}
