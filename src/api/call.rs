//! What a call says about itself besides its message.

use std::{sync::Arc, time::Duration};

use http::{
    Extensions, HeaderMap, HeaderName,
    header::{AsHeaderName, USER_AGENT},
};
use tonic::metadata::MetadataMap;

use crate::{
    audit::record::Call,
    identity::{
        caller::{Authenticated, Caller},
        connection::{Connection, SharedConnection},
    },
    service::gate::GateError,
    telemetry::trace::Parent,
};

use super::status::ApiError;

/// The caller that admission let in.
pub fn caller(extensions: &Extensions) -> Result<&Arc<Caller>, ApiError> {
    authenticated(extensions).map(|authenticated| &authenticated.caller)
}

/// The caller that admission let in, and what it showed: for calls that last.
pub fn authenticated(extensions: &Extensions) -> Result<&Authenticated, ApiError> {
    // Without admission before it, a handler serves nobody.
    extensions.get().ok_or(ApiError::Gate(GateError::Unauthenticated))
}

/// What records of a call say about it, but for the request id, which must be valid first.
pub fn facts<'a>(
    caller: &'a Caller,
    metadata: &'a MetadataMap,
    extensions: &Extensions,
) -> Call<'a> {
    facts_of(&caller.name, metadata, extensions)
}

/// The same for somebody of that name, or of none.
pub fn facts_of<'a>(
    caller: &'a str,
    metadata: &'a MetadataMap,
    extensions: &Extensions,
) -> Call<'a> {
    let connection = connection(extensions);
    Call {
        caller,
        peer: connection.map(|connection| connection.peer),
        forwarded: connection.and_then(|connection| connection.forwarded),
        request_id: "",
        trace_id: trace_id(metadata, extensions),
        user_agent: text(metadata.as_ref(), USER_AGENT).unwrap_or_default(),
    }
}

/// How long a check may wait for a revision, if its caller sets no deadline.
pub const PATIENCE: Duration = Duration::from_secs(2);
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// How long a call may wait: nine tenths of the time to its deadline, so that the answer to a wait in
/// vain still arrives.
pub fn patience(metadata: &MetadataMap) -> Duration {
    let timeout = text(metadata.as_ref(), &GRPC_TIMEOUT).and_then(timeout);
    timeout.map_or(PATIENCE, |timeout| (timeout / 10 * 9).min(MAX_PATIENCE))
}

/// The value of `grpc-timeout`: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(value.saturating_mul(60))),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// The connection that a call came on.
pub fn connection(extensions: &Extensions) -> Option<&Connection> {
    extensions.get::<SharedConnection>().map(Arc::as_ref)
}

// Names that need not be read for each call.
/// The caller's trace and span, as W3C has it.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What the caller's tracing has to say to others.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The code that a call ends with.
pub static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A header's text, if it is visible ASCII.
pub fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The trace that begins or goes on with a call, if it is sampled.
#[derive(Clone, Copy, Debug)]
pub struct SampledTrace(pub [u8; 16]);

/// The caller's trace, or one that begins with the call.
fn trace_id(metadata: &MetadataMap, extensions: &Extensions) -> Option<[u8; 16]> {
    let parent = text(metadata.as_ref(), &TRACEPARENT).and_then(Parent::parse);
    let begun = || extensions.get().map(|SampledTrace(trace_id)| *trace_id);
    parent.map(|parent| parent.trace_id).or_else(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_before_the_deadline() {
        for (header, patience) in [
            ("100m", Duration::from_millis(90)),
            ("2S", Duration::from_millis(1_800)),
            ("99999999H", MAX_PATIENCE),
            ("0n", Duration::ZERO),
            ("", PATIENCE),
            ("S", PATIENCE),
            ("+1S", PATIENCE),
            ("1x", PATIENCE),
            ("123456789S", PATIENCE),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", header.parse().unwrap());
            assert_eq!(super::patience(&MetadataMap::from_headers(headers)), patience, "{header}");
        }
    }
}
