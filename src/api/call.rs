//! What a call says about itself besides its message.

use std::{sync::Arc, time::Duration};

use http::Extensions;
use tonic::metadata::MetadataMap;

use crate::{
    audit::record::Call,
    identity::{
        caller::{Authenticated, Caller},
        connection::{Connection, SharedConnection},
    },
    service::gate::GateError,
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
    let connection = connection(extensions);
    Call {
        caller: &caller.name,
        peer: connection.map(|connection| connection.peer),
        forwarded: connection.and_then(|connection| connection.forwarded),
        request_id: "",
        trace_id: text(metadata.as_ref(), "traceparent").and_then(trace_id),
        user_agent: text(metadata.as_ref(), "user-agent").unwrap_or_default(),
    }
}

/// How long a check may wait for a revision, if its caller sets no deadline.
pub const PATIENCE: Duration = Duration::from_secs(2);
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// How long a call may wait: nine tenths of the time to its deadline, so that the answer to a wait in
/// vain still arrives.
pub fn patience(metadata: &MetadataMap) -> Duration {
    let timeout = text(metadata.as_ref(), "grpc-timeout").and_then(timeout);
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

/// A header's text, if it is visible ASCII.
pub fn text<'a>(headers: &'a http::HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The trace id of a W3C `traceparent` (version 00), `00-<32 hex>-<16 hex>-<2 hex>`.
pub fn trace_id(traceparent: &str) -> Option<[u8; 16]> {
    let mut parts = traceparent.split('-');
    let (version, digits) = (parts.next()?, parts.next()?);
    if version != "00" || digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(digits, 16).ok()?;
    (number != 0).then(|| number.to_be_bytes())
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
            let mut headers = http::HeaderMap::new();
            headers.insert("grpc-timeout", header.parse().unwrap());
            assert_eq!(super::patience(&MetadataMap::from_headers(headers)), patience, "{header}");
        }
    }

    #[test]
    fn a_trace_id_is_read_from_a_traceparent() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            trace_id(text),
            Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes())
        );
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(bad), None, "{bad:?}");
        }
    }
}
