//! What is told about the server while it runs, and to whom.

use std::{net::SocketAddr, time::Duration};

use http::Uri;

use super::{Problems, file::TelemetryTable};

const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);
/// Enough to see what is usual, and little enough to cost nothing.
const DEFAULT_RATIO: f64 = 0.01;

/// What is told about the server while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TelemetryConfig {
    /// Where metrics can be fetched, and whether the server lives and is ready.
    pub prometheus: Option<SocketAddr>,
    /// Where metrics and traces are sent.
    pub otlp: Option<Otlp>,
}

/// Where metrics and traces are sent by OTLP, over gRPC in plain text.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// The collector, as `http://host:port`.
    pub endpoint: String,
    /// How often metrics are sent.
    pub interval: Duration,
    /// Which part of the calls without a caller's trace has one, from 0 to 1.
    pub ratio: f64,
}

pub(super) fn check(problems: &mut Problems, table: TelemetryTable) -> TelemetryConfig {
    let TelemetryTable { prometheus, otlp_endpoint, metrics_interval_seconds, trace_ratio } = table;
    let interval = metrics_interval_seconds.map_or(DEFAULT_INTERVAL, Duration::from_secs);
    if !(1..=3_600).contains(&interval.as_secs()) {
        problems.add("telemetry.metrics_interval_seconds", "must be 1 to 3,600");
    }
    let ratio = trace_ratio.unwrap_or(DEFAULT_RATIO);
    if !(0.0..=1.0).contains(&ratio) {
        problems.add("telemetry.trace_ratio", "must be 0 to 1");
    }
    let says_how = metrics_interval_seconds.is_some() || trace_ratio.is_some();
    if otlp_endpoint.is_none() && says_how {
        problems.add("telemetry.otlp_endpoint", "is missing: what else is said belongs to it");
    }
    let otlp = otlp_endpoint.map(|endpoint| {
        if !is_collector(&endpoint) {
            let detail = "must be a collector's address in plain text, such as \
                          \"http://127.0.0.1:4317\"";
            problems.add("telemetry.otlp_endpoint", detail);
        }
        Otlp { endpoint, interval, ratio }
    });
    TelemetryConfig { prometheus, otlp }
}

fn is_collector(endpoint: &str) -> bool {
    endpoint.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("http")
            && uri.port().is_some()
            && uri.path_and_query().is_none_or(|path| path.as_str() == "/")
    })
}
