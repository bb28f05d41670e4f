//! A segment's ends: the header that it begins with, and the footer and trailer that seal it.

use prost::Message;
use uuid::Uuid;

use crate::{domain::time::UnixNanos, store::pb};

use super::frame::{self, Salt};

const MAGIC: &[u8; 8] = b"AAPAUDIT";
const VERSION: u32 = 1;
const HEADER_COPY_BYTES: usize = 64;
/// Where frames begin: after two copies of the header, so that one flipped bit costs none.
pub const HEADER_BYTES: usize = 2 * HEADER_COPY_BYTES;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The log that it belongs to.
    pub log_id: Uuid,
    /// The sequence number of its first record.
    pub first_sequence: u64,
    /// What its checksums begin with.
    pub salt: Salt,
}

impl Header {
    /// The header's bytes, twice.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut copy = Vec::with_capacity(HEADER_COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        copy.extend_from_slice(&self.salt.0.to_le_bytes());
        copy.extend_from_slice(self.log_id.as_bytes());
        copy.extend_from_slice(&self.first_sequence.to_le_bytes());
        copy.resize(HEADER_COPY_BYTES - 4, 0);
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        let mut bytes = [0; HEADER_BYTES];
        for (target, byte) in bytes.iter_mut().zip(copy.iter().cycle()) {
            *target = *byte;
        }
        bytes
    }

    /// Reads the first copy that is whole.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.chunks_exact(HEADER_COPY_BYTES).take(2).find_map(Self::decode_copy)
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let (content, checksum) = copy.split_last_chunk::<4>()?;
        if crc32c::crc32c(content).to_le_bytes() != *checksum {
            return None;
        }
        let rest = content.strip_prefix(MAGIC)?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk::<4>()?;
        let (log_id, rest) = rest.split_first_chunk::<16>()?;
        let (first_sequence, _) = rest.split_first_chunk::<8>()?;
        let first_sequence = u64::from_le_bytes(*first_sequence);
        (u32::from_le_bytes(*version) == VERSION && first_sequence > 0).then_some(Self {
            log_id: Uuid::from_bytes(*log_id),
            first_sequence,
            salt: Salt(u32::from_le_bytes(*salt)),
        })
    }
}

/// Where a record's frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The record.
    pub sequence: u64,
    /// The place in the file.
    pub offset: u64,
}

/// What a sealed segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The sequence number of its first record.
    pub first_sequence: u64,
    /// How many records it has, damaged ones included.
    pub record_count: u64,
    /// Where its frames end.
    pub data_end: u64,
    /// How many bytes of them are of strangers.
    pub stranger_bytes: u64,
    /// When its first and its last record got their places.
    pub record_times: (UnixNanos, UnixNanos),
    /// SHA-256 of its records' leaf hashes, in order.
    pub leaves_digest: [u8; 32],
    /// Places of some of its records.
    pub index: Vec<IndexEntry>,
    /// The last record of each account in it.
    pub accounts: Vec<(Box<str>, u64)>,
    /// Records that were damaged when it was sealed.
    pub damaged: Vec<u64>,
}

const TRAILER_MAGIC: &[u8; 8] = b"AAPSEAL1";
/// The bytes after the footer's frame: its offset, a magic number, a checksum of both.
pub const TRAILER_BYTES: usize = 20;

impl Footer {
    /// The last record's sequence number.
    pub fn last_sequence(&self) -> u64 {
        self.first_sequence + self.record_count - 1
    }

    /// The footer's frame and the trailer.
    pub fn encode(&self, salt: Salt) -> Vec<u8> {
        let Self {
            first_sequence,
            record_count,
            data_end,
            stranger_bytes,
            record_times,
            leaves_digest,
            index,
            accounts,
            damaged,
        } = self;
        let index = index
            .iter()
            .map(|&IndexEntry { sequence, offset }| pb::IndexEntry { sequence, offset });
        let accounts = accounts.iter().map(|(account, last)| pb::AccountHead {
            account: account.to_string(),
            last_sequence: *last,
        });
        let stored = pb::SegmentFooter {
            first_sequence: *first_sequence,
            record_count: *record_count,
            data_end: *data_end,
            first_record_nanos: record_times.0.0,
            last_record_nanos: record_times.1.0,
            leaves_digest: leaves_digest.to_vec(),
            index: index.collect(),
            accounts: accounts.collect(),
            damaged_sequences: damaged.clone(),
            stranger_bytes: *stranger_bytes,
        };
        let mut bytes = frame::footer(salt, &stored.encode_to_vec());
        let mut trailer = data_end.to_le_bytes().to_vec();
        trailer.extend_from_slice(TRAILER_MAGIC);
        trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
        bytes.extend(trailer);
        bytes
    }

    /// Reads a footer frame's payload.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let pb::SegmentFooter {
            first_sequence,
            record_count,
            data_end,
            first_record_nanos,
            last_record_nanos,
            leaves_digest,
            index,
            accounts,
            damaged_sequences,
            stranger_bytes,
        } = pb::SegmentFooter::decode(payload).ok()?;
        let index = index
            .into_iter()
            .map(|pb::IndexEntry { sequence, offset }| IndexEntry { sequence, offset });
        let accounts = accounts
            .into_iter()
            .map(|pb::AccountHead { account, last_sequence }| (account.into(), last_sequence));
        // What is behind the last one has a number, too.
        first_sequence.checked_add(record_count).filter(|_| record_count > 0)?;
        Some(Self {
            first_sequence,
            record_count,
            data_end,
            stranger_bytes,
            record_times: (UnixNanos(first_record_nanos), UnixNanos(last_record_nanos)),
            leaves_digest: leaves_digest.try_into().ok()?,
            index: index.collect(),
            accounts: accounts.collect(),
            damaged: damaged_sequences,
        })
    }
}

/// Where a footer's frame begins, by the trailer.
pub fn read_trailer(bytes: &[u8; TRAILER_BYTES]) -> Option<u64> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let (offset, magic) = content.split_first_chunk::<8>()?;
    let valid = crc32c::crc32c(content).to_le_bytes() == *checksum && magic == TRAILER_MAGIC;
    valid.then_some(u64::from_le_bytes(*offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_any_one_flipped_bit() {
        let header =
            Header { log_id: Uuid::from_u128(3), first_sequence: 9, salt: Salt(0x0102_0304) };
        let bytes = header.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Some(header), "bit {bit}");
        }
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
    }

    #[test]
    fn a_footer_reads_back_through_its_trailer() {
        let footer = Footer {
            first_sequence: 5,
            record_count: 3,
            data_end: 0,
            stranger_bytes: 40,
            record_times: (UnixNanos(1), UnixNanos(2)),
            leaves_digest: [9; 32],
            index: vec![IndexEntry { sequence: 5, offset: 128 }],
            accounts: vec![("acme".into(), 7)],
            damaged: vec![6],
        };
        let bytes = footer.encode(Salt(1));
        assert_eq!(read_trailer(bytes.last_chunk().unwrap()), Some(0));
        let frame::Read::Frame { kind: frame::Kind::Footer, payload } =
            frame::read(Salt(1), &bytes)
        else {
            panic!("no footer")
        };
        assert_eq!(Footer::decode(payload), Some(footer));
        assert_eq!(Footer::decode(b""), None);
    }
}
