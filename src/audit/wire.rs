//! As much of the protobuf encoding as records need, straight into a buffer.
//!
//! A record is encoded on the way of every check, so it doesn't go through a message with strings of
//! its own. That the bytes are those of `aap.v1.AuditRecord` is held by a test.

use crate::domain::time::UnixNanos;

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;

/// Appends a variable-length integer.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

/// Appends an integer field, unless it is zero.
pub fn integer(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        tag(out, field, VARINT);
        varint(out, value);
    }
}

/// Appends a text or bytes field, unless it is empty.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        tag(out, field, LENGTH_DELIMITED);
        varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

/// Appends a `fixed64` field, also if it is zero: its place is what matters.
pub fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a message field, also if it is empty.
pub fn message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    prefixed::<1>(out, field, content);
}

/// The same for one that mostly has 128 bytes or more, which then needn't be moved.
pub fn long_message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    prefixed::<2>(out, field, content);
}

/// Appends a message field with so many bytes for its length; where that has more or fewer, the
/// content is moved.
fn prefixed<const N: usize>(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH_DELIMITED);
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    content(out);
    let end = out.len();
    let length = (end - start - N) as u64;
    let width = varint_bytes(length);
    if width != N {
        // Longer first, so that all has its place.
        out.resize(end.max(end + width - N), 0);
        out.copy_within(start + N..end, start + width);
        out.truncate(end + width - N);
    }
    let mut rest = length;
    for place in out.iter_mut().skip(start).take(width - 1) {
        *place = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    if let Some(place) = out.get_mut(start + width - 1) {
        *place = (rest & 0x7f) as u8;
    }
}

/// How many bytes a variable-length integer has.
fn varint_bytes(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Appends a `google.protobuf.Timestamp` field.
pub fn timestamp(out: &mut Vec<u8>, field: u32, time: UnixNanos) {
    message(out, field, |out| {
        integer(out, 1, time.seconds().cast_unsigned());
        integer(out, 2, u64::from(time.subsecond_nanos()));
    });
}

/// The bytes of a `google.protobuf.Timestamp` field's content when it has a fixed width.
pub const FIXED_TIMESTAMP_BYTES: usize = 12;

/// A timestamp's content, always 12 bytes long: both varints are padded to five bytes. Good for the
/// years 1970 to 3058.
pub fn fixed_timestamp(time: UnixNanos) -> [u8; FIXED_TIMESTAMP_BYTES] {
    let seconds = padded_varint(time.seconds().cast_unsigned());
    let nanos = padded_varint(u64::from(time.subsecond_nanos()));
    let [s0, s1, s2, s3, s4] = seconds;
    let [n0, n1, n2, n3, n4] = nanos;
    [0x08, s0, s1, s2, s3, s4, 0x10, n0, n1, n2, n3, n4]
}

fn padded_varint(value: u64) -> [u8; 5] {
    let septet = |place: u32| ((value >> (7 * place)) & 0x7f) as u8;
    [septet(0) | 0x80, septet(1) | 0x80, septet(2) | 0x80, septet(3) | 0x80, septet(4)]
}

/// A field as it is read back.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Integer(u64),
    /// A fixed integer.
    Fixed(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

/// Takes the next field off a message; `None` at its end and where it isn't one.
pub fn next_field<'a>(message: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let tag = u32::try_from(read_varint(message)?).ok()?;
    let value = match tag & 7 {
        VARINT => Value::Integer(read_varint(message)?),
        FIXED_64 => {
            let (bytes, rest) = message.split_first_chunk::<8>()?;
            *message = rest;
            Value::Fixed(u64::from_le_bytes(*bytes))
        }
        LENGTH_DELIMITED => {
            let length = usize::try_from(read_varint(message)?).ok()?;
            let (bytes, rest) = message.split_at_checked(length)?;
            *message = rest;
            Value::Bytes(bytes)
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_fixed_timestamp_decodes_as_any_other() {
        for nanos in [0, 1, 999_999_999, 1_795_458_000_123_456_789, 253_402_300_799_i64] {
            let time = UnixNanos(nanos);
            let decoded = prost_types::Timestamp::decode(&fixed_timestamp(time)[..]).unwrap();
            assert_eq!(UnixNanos::from_parts(decoded.seconds, decoded.nanos), time);
        }
    }

    #[test]
    fn messages_of_any_length_get_their_shortest_prefix() {
        for length in [0, 1, 100, 125, 126, 127, 128, 300, 4_000, 20_000] {
            let text = "x".repeat(length);
            let mut ours = Vec::new();
            message(&mut ours, 3, |out| bytes(out, 1, text.as_bytes()));
            let mut theirs = Vec::new();
            prost::encoding::message::encode(3, &text, &mut theirs);
            assert_eq!(ours, theirs, "{length}");
            let mut long = Vec::new();
            long_message(&mut long, 3, |out| bytes(out, 1, text.as_bytes()));
            assert_eq!(long, theirs, "{length}");
        }
    }

    #[test]
    fn fields_read_back() {
        let mut out = Vec::new();
        integer(&mut out, 1, 300);
        integer(&mut out, 2, 0);
        fixed(&mut out, 3, 7);
        bytes(&mut out, 40, b"abc");
        let mut rest = out.as_slice();
        assert_eq!(next_field(&mut rest), Some((1, Value::Integer(300))));
        assert_eq!(next_field(&mut rest), Some((3, Value::Fixed(7))));
        assert_eq!(next_field(&mut rest), Some((40, Value::Bytes(b"abc"))));
        assert_eq!(next_field(&mut rest), None);
        assert_eq!(next_field(&mut [0x0a, 0x05, 0x00].as_slice()), None);
    }
}
