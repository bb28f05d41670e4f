//! What is told about the server while it runs, and to whom.

use std::net::SocketAddr;

use super::file::TelemetryTable;

/// What is told about the server while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TelemetryConfig {
    /// Where metrics can be fetched, and whether the server lives and is ready.
    pub prometheus: Option<SocketAddr>,
}

pub(super) fn check(table: TelemetryTable) -> TelemetryConfig {
    let TelemetryTable { prometheus } = table;
    TelemetryConfig { prometheus }
}
