//! Events to stored bytes and back. Bytes once written are read forever; what an older version
//! wrote is lifted to today's event here, and the rest of the program sees only that.

mod access_point;
pub mod audit_cursor;
mod client_key;
mod event;
mod network_rule;
mod policy;
mod ram_role;
mod snapshot;

pub use event::{decode, encode};
pub use snapshot::{decode_item, encode_item};

use crate::domain::{
    resource::{Description, Header, Uid},
    time::UnixNanos,
};

use super::pb;

/// Why stored bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are no message.
    #[error("it is not a stored event: {0}")]
    Message(#[from] prost::DecodeError),
    /// A field is missing or means nothing.
    #[error("its `{field}` means nothing: {detail}")]
    Meaning {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

fn meaningless(field: &'static str, detail: impl ToString) -> DecodeError {
    DecodeError::Meaning { field, detail: detail.to_string() }
}

fn missing(field: &'static str) -> DecodeError {
    meaningless(field, "it is missing")
}

fn encode_time(time: UnixNanos) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.subsecond_nanos()).unwrap_or_default();
    prost_types::Timestamp { seconds: time.seconds(), nanos }
}

fn decode_time(
    field: &'static str,
    time: Option<prost_types::Timestamp>,
) -> Result<UnixNanos, DecodeError> {
    let prost_types::Timestamp { seconds, nanos } = time.ok_or_else(|| missing(field))?;
    Ok(UnixNanos::from_parts(seconds, nanos))
}

fn encode_header(name: String, header: &Header) -> pb::Header {
    pb::Header {
        name,
        uid: header.uid.0.as_bytes().to_vec(),
        create_time: Some(encode_time(header.create_time)),
        description: header.description.as_str().to_owned(),
    }
}

/// What decoding a resource needs from its event.
#[derive(Clone, Copy)]
struct At {
    sequence: u64,
    time: UnixNanos,
}

fn decode_header(at: At, header: Option<pb::Header>) -> Result<(String, Header), DecodeError> {
    let header = header.ok_or_else(|| missing("header"))?;
    let pb::Header { name, uid, create_time, description } = header;
    let header = Header {
        uid: decode_uid(&uid)?,
        revision: at.sequence,
        create_time: decode_time("create_time", create_time)?,
        update_time: at.time,
        description: Description::parse(&description)
            .map_err(|error| meaningless("description", error))?,
    };
    Ok((name, header))
}

fn decode_uid(bytes: &[u8]) -> Result<Uid, DecodeError> {
    uuid::Uuid::from_slice(bytes).map(Uid).map_err(|error| meaningless("uid", error))
}
