//! Frames: how records, marks and footers lie one after the other in a segment.
//!
//! A frame is a word (kind in the upper four bits, length of the payload in the others), a CRC32C
//! of that word and the payload, and the payload. All numbers are little-endian. A word of zero is
//! the end: files are filled with zeros ahead of use.
//!
//! A mark says that every record before the sequence number in it was on disk when the mark was
//! written. Each batch begins with one. So whatever is damaged before the last mark was
//! acknowledged and is named; what is broken after it was never finished.
//!
//! Checksums begin with a segment's random [`Salt`]. A caller decides about some of a record's bytes
//! and could write a frame of its own into them, which would be found when the record around it is
//! damaged; without the salt its checksum is wrong.

use super::record::{self, MAX_RECORD_BYTES};

/// The bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 8;
/// The bytes of a whole mark.
pub const MARK_BYTES: usize = HEADER_BYTES + 8;

const KIND_SHIFT: u32 = 28;
const LENGTH_MASK: u32 = (1 << KIND_SHIFT) - 1;

/// What the checksums of one segment begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub u32);

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record.
    Record,
    /// A mark.
    Mark,
    /// A segment's footer.
    Footer,
}

impl Kind {
    fn number(self) -> u32 {
        match self {
            Self::Record => 1,
            Self::Mark => 2,
            Self::Footer => 3,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Record),
            2 => Some(Self::Mark),
            3 => Some(Self::Footer),
            _ => None,
        }
    }
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// A whole frame.
    Frame {
        /// What it holds.
        kind: Kind,
        /// Its payload.
        payload: &'a [u8],
    },
    /// The beginning of a frame that may go on after these bytes.
    Partial,
    /// Nothing was written here yet.
    End,
    /// No frame.
    Invalid,
}

/// Reads the frame at the beginning of some bytes.
pub fn read(salt: Salt, bytes: &[u8]) -> Read<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return if bytes.iter().all(|&byte| byte == 0) { Read::End } else { Read::Partial };
    };
    let [w0, w1, w2, w3, c0, c1, c2, c3] = *header;
    let word = u32::from_le_bytes([w0, w1, w2, w3]);
    if word == 0 {
        return Read::End;
    }
    let length = usize::try_from(word & LENGTH_MASK).unwrap_or(usize::MAX);
    let Some(kind) = Kind::from_number(word >> KIND_SHIFT) else { return Read::Invalid };
    if kind == Kind::Record && length > MAX_RECORD_BYTES
        || kind == Kind::Mark && length != MARK_BYTES - HEADER_BYTES
    {
        return Read::Invalid;
    }
    let Some(payload) = rest.get(..length) else { return Read::Partial };
    if checksum(salt, word, payload) == u32::from_le_bytes([c0, c1, c2, c3]) {
        Read::Frame { kind, payload }
    } else {
        Read::Invalid
    }
}

/// Finds the first place after the beginning of some bytes where a valid frame stands.
pub fn resynchronize(salt: Salt, bytes: &[u8]) -> Option<usize> {
    (1..bytes.len()).find(|&place| {
        bytes.get(place..).is_some_and(|rest| match read(salt, rest) {
            Read::Frame { kind: Kind::Record, payload } => record::sequence(payload).is_some(),
            Read::Frame { .. } => true,
            _ => false,
        })
    })
}

/// Appends a record's frame without its checksum, which [`seal`] fills in.
pub fn append_record(out: &mut Vec<u8>, record: &[u8]) {
    out.extend_from_slice(&word(Kind::Record, record.len()).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(record);
}

/// Splits the first frame off some bytes: its header and its payload, then the rest.
pub fn split_mut(bytes: &mut [u8]) -> Option<(&mut [u8; HEADER_BYTES], &mut [u8], &mut [u8])> {
    let (header, rest) = bytes.split_first_chunk_mut::<HEADER_BYTES>()?;
    let [w0, w1, w2, w3, ..] = *header;
    let length = usize::try_from(u32::from_le_bytes([w0, w1, w2, w3]) & LENGTH_MASK).ok()?;
    let (payload, rest) = rest.split_at_mut_checked(length)?;
    Some((header, payload, rest))
}

/// Splits the first frame off some bytes that are known to be whole: its payload, then the rest.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [w0, w1, w2, w3, ..] = *header;
    let length = usize::try_from(u32::from_le_bytes([w0, w1, w2, w3]) & LENGTH_MASK).ok()?;
    rest.split_at_checked(length)
}

/// Fills in a frame's checksum.
pub fn seal(salt: Salt, header: &mut [u8; HEADER_BYTES], payload: &[u8]) {
    let [w0, w1, w2, w3, ..] = *header;
    let sum = checksum(salt, u32::from_le_bytes([w0, w1, w2, w3]), payload);
    if let Some(target) = header.last_chunk_mut::<4>() {
        *target = sum.to_le_bytes();
    }
}

/// A whole mark: every record before `next_sequence` is on disk.
pub fn mark(salt: Salt, next_sequence: u64) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    let word = word(Kind::Mark, MARK_BYTES - HEADER_BYTES);
    let payload = next_sequence.to_le_bytes();
    let content =
        word.to_le_bytes().into_iter().chain(checksum(salt, word, &payload).to_le_bytes());
    for (target, byte) in bytes.iter_mut().zip(content.chain(payload)) {
        *target = byte;
    }
    bytes
}

/// What a mark's payload says.
pub fn read_mark(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// A whole frame around a footer.
pub fn footer(salt: Salt, payload: &[u8]) -> Vec<u8> {
    let word = word(Kind::Footer, payload.len());
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&word.to_le_bytes());
    bytes.extend_from_slice(&checksum(salt, word, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn word(kind: Kind, length: usize) -> u32 {
    kind.number() << KIND_SHIFT | u32::try_from(length).unwrap_or(LENGTH_MASK) & LENGTH_MASK
}

fn checksum(salt: Salt, word: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt.0, &word.to_le_bytes()), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(77);

    fn sealed(record: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_record(&mut bytes, record);
        let (header, payload, _) = split_mut(&mut bytes).unwrap();
        seal(SALT, header, payload);
        bytes
    }

    #[test]
    fn frames_read_back() {
        let record = [7; 100];
        let bytes = sealed(&record);
        assert_eq!(read(SALT, &bytes), Read::Frame { kind: Kind::Record, payload: &record });
        assert_eq!(read(SALT, &bytes[..bytes.len() - 1]), Read::Partial);
        assert_eq!(read(SALT, &bytes[..3]), Read::Partial);
        assert_eq!(
            (read(SALT, &[0; 20]), read(SALT, &[0; 3]), read(SALT, &[])),
            (Read::End, Read::End, Read::End)
        );
        let mark = mark(SALT, 42);
        let Read::Frame { kind: Kind::Mark, payload } = read(SALT, &mark) else {
            panic!("no mark")
        };
        assert_eq!(read_mark(payload), Some(42));
        assert_eq!(
            read(SALT, &footer(SALT, b"f")),
            Read::Frame { kind: Kind::Footer, payload: b"f" }
        );
    }

    #[test]
    fn a_frame_with_another_salt_is_none() {
        assert_eq!(read(Salt(78), &sealed(&[7; 40])), Read::Invalid);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = sealed(&[7; 40]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(read(SALT, &flipped), Read::Frame { .. }), "bit {bit}");
        }
    }

    #[test]
    fn reading_goes_on_at_the_next_whole_frame() {
        let mut bytes = sealed(&[7; 40]);
        let second = bytes.len();
        bytes.extend(sealed(&[8; 40]));
        bytes[2] ^= 1;
        assert_eq!(resynchronize(SALT, &bytes), Some(second));
        assert_eq!(resynchronize(SALT, &bytes[..second]), None);
    }
}
