//! The log: what the process tells people, line by line. What it counts is elsewhere.

use std::io;

use tracing_subscriber::EnvFilter;

/// The log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error(
        "log filter `{filter}` is invalid: {detail}; write for example `info` or `aap=debug,info`"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A log is set up already.
    #[error("a log is set up already")]
    Twice,
}

/// Sends the log to standard error. `filter` is a level, or a list of `target=level`.
pub fn start(filter: &str) -> Result<(), TelemetryError> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        detail: error.to_string(),
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .try_init()
        .map_err(|_| TelemetryError::Twice)
}
