//! Looks at every byte of a segment: what reading gets over without losing a record is damage too.

use super::{
    footer::{self, HEADER_BYTES, Header, TRAILER_BYTES},
    frame::{self, Kind, MARK_BYTES, Read},
};

/// The places of a segment's bytes that aren't as they were written. Records that can't be read are
/// among them.
pub fn damage(bytes: &[u8]) -> Vec<u64> {
    let mut places = Vec::new();
    let (one, other) = bytes.split_at_checked(HEADER_BYTES / 2).unwrap_or((bytes, &[]));
    if let Some(place) = one.iter().zip(other).position(|(one, other)| one != other) {
        places.push(place as u64);
    }
    let Some(header) = Header::decode(bytes) else {
        places.push(0);
        return places;
    };
    let mut place = HEADER_BYTES;
    loop {
        let rest = bytes.get(place..).unwrap_or_default();
        match frame::read(header.salt, rest) {
            Read::Frame { kind: Kind::Mark, .. } => place += MARK_BYTES,
            Read::Frame { kind: Kind::Record, payload } => {
                place += frame::HEADER_BYTES + payload.len();
            }
            Read::Frame { kind: Kind::Footer, payload } => {
                let end = place + frame::HEADER_BYTES + payload.len();
                let trailer = bytes.get(end..).and_then(|rest| rest.first_chunk::<TRAILER_BYTES>());
                let is_whole = trailer.and_then(footer::read_trailer) == Some(place as u64)
                    && bytes.len() == end + TRAILER_BYTES;
                if !is_whole {
                    places.push(end as u64);
                }
                return places;
            }
            Read::End if rest.iter().all(|&byte| byte == 0) => return places,
            Read::End | Read::Partial | Read::Invalid => {
                places.push(place as u64);
                // What stands among zeros is looked for near to where they end.
                let zeros = rest.iter().position(|&byte| byte != 0).unwrap_or_default();
                let begin = zeros.saturating_sub(frame::HEADER_BYTES);
                let behind = rest.get(begin..).unwrap_or_default();
                match frame::resynchronize(header.salt, behind) {
                    Some(distance) => place += begin + distance,
                    None => return places,
                }
            }
        }
    }
}
