//! `aap.v1.AuditEntry` with the record as bytes.
//!
//! On the wire a message and bytes look the same, so this is the public message; but the record goes
//! from the disk to the wire as it was stored, without being decoded or encoded. What is hashed is
//! what is sent.

use bytes::Bytes;

use super::pb;

/// Carries one record of the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AuditEntry {
    /// The record's sequence number.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The record's leaf hash.
    #[prost(bytes = "bytes", tag = "2")]
    pub leaf_hash: Bytes,
    /// The record, in the form that was asked for.
    #[prost(oneof = "Content", tags = "3, 4, 5")]
    pub content: Option<Content>,
}

/// The record, in the form that was asked for.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Content {
    /// The bytes of an `aap.v1.AuditRecord`, which clients read as a message.
    #[prost(bytes = "bytes", tag = "3")]
    Record(Bytes),
    /// The same bytes, which clients read as bytes.
    #[prost(bytes = "bytes", tag = "4")]
    SerializedRecord(Bytes),
    /// The record can't be read.
    #[prost(message, tag = "5")]
    Damaged(pb::DamagedRecord),
}
