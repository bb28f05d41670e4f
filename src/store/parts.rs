//! How an event lies in a key-value store: one or more parts, each with a checksum.
//!
//! A part's key is the event's sequence number and the part's number, both big-endian, so that
//! keys sort in the journal's order. Its value is a checksum, the number of parts, and a piece of
//! the event's bytes. The checksum covers the key too: a value in another's place is damage.

/// The most bytes in a value. sled moves larger leaves into files that it never syncs.
pub const MAX_VALUE_BYTES: usize = 7 * 1_024;

const CHECKSUM_BYTES: usize = 4;
const HEADER_BYTES: usize = CHECKSUM_BYTES + 2;
const MAX_BODY_BYTES: usize = MAX_VALUE_BYTES - HEADER_BYTES;

/// A part's key: sequence number and part number.
pub type Key = [u8; 10];

/// Makes the key of a part.
pub fn key(sequence: u64, part: u16) -> Key {
    let mut key = [0; 10];
    let (head, tail) = key.split_at_mut(8);
    head.copy_from_slice(&sequence.to_be_bytes());
    tail.copy_from_slice(&part.to_be_bytes());
    key
}

/// Reads a key.
pub fn read_key(key: &[u8]) -> Option<(u64, u16)> {
    let (sequence, part) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*sequence), u16::from_be_bytes(part.try_into().ok()?)))
}

/// Cuts an event's bytes into keys and values; `None` if they are more than 65,535 parts.
pub fn cut(sequence: u64, bytes: &[u8]) -> Option<Vec<(Key, Vec<u8>)>> {
    // An event is never empty: it has a sequence number.
    let count = u16::try_from(bytes.len().div_ceil(MAX_BODY_BYTES)).ok()?;
    let parts = (0..count).zip(bytes.chunks(MAX_BODY_BYTES)).map(|(part, body)| {
        let mut value = Vec::with_capacity(HEADER_BYTES + body.len());
        value.extend_from_slice(&checksum(sequence, part, count, body).to_le_bytes());
        value.extend_from_slice(&count.to_be_bytes());
        value.extend_from_slice(body);
        (key(sequence, part), value)
    });
    Some(parts.collect())
}

/// What a value holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// How many parts the event has.
    pub count: u16,
    /// This part's piece of the event's bytes.
    pub body: &'a [u8],
}

/// Why a value holds no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPart {
    /// It is shorter than a header.
    #[error("it is too short")]
    TooShort,
    /// Its bytes are not those that were written under this key.
    #[error("its checksum does not match")]
    Checksum,
}

/// Reads and verifies a value.
pub fn read_value(sequence: u64, part: u16, value: &[u8]) -> Result<Part<'_>, InvalidPart> {
    let (stored, rest) =
        value.split_first_chunk::<CHECKSUM_BYTES>().ok_or(InvalidPart::TooShort)?;
    let (count, body) = rest.split_first_chunk::<2>().ok_or(InvalidPart::TooShort)?;
    let count = u16::from_be_bytes(*count);
    if checksum(sequence, part, count, body) == u32::from_le_bytes(*stored) {
        Ok(Part { count, body })
    } else {
        Err(InvalidPart::Checksum)
    }
}

fn checksum(sequence: u64, part: u16, count: u16, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&key(sequence, part));
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &count.to_be_bytes()), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_cut_into_parts_that_read_back() {
        for length in [1, MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 3 * MAX_BODY_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let parts = cut(9, &bytes).unwrap();
            assert_eq!(parts.len(), length.div_ceil(MAX_BODY_BYTES));
            let mut read = Vec::new();
            for (key, value) in &parts {
                assert!(value.len() <= MAX_VALUE_BYTES);
                let (sequence, number) = read_key(key).unwrap();
                let part = read_value(sequence, number, value).unwrap();
                assert_eq!(usize::from(part.count), parts.len());
                read.extend_from_slice(part.body);
            }
            assert_eq!(read, bytes);
        }
    }

    #[test]
    fn any_flipped_bit_and_any_other_place_is_noticed() {
        let (_, value) = cut(9, b"some event").unwrap().remove(0);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_value(9, 0, &flipped), Err(InvalidPart::Checksum), "bit {bit}");
        }
        assert_eq!(read_value(8, 0, &value), Err(InvalidPart::Checksum));
        assert_eq!(read_value(9, 1, &value), Err(InvalidPart::Checksum));
        assert_eq!(read_value(9, 0, &value[..5]), Err(InvalidPart::TooShort));
    }

    #[test]
    fn keys_sort_in_the_journals_order() {
        let keys = [key(1, 0), key(1, 1), key(2, 0), key(255, 9), key(256, 0), key(u64::MAX, 0)];
        assert!(keys.is_sorted());
        assert_eq!(read_key(&keys[4]), Some((256, 0)));
        assert_eq!(read_key(b"short"), None);
    }
}
