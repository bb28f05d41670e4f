//! HTTP/2 frames and header blocks as bytes (RFC 9113 section 4 and 6, RFC 7541 section 6.2).
//!
//! Requests are encoded once: literals without indexing and without Huffman coding, so that the
//! same block is valid for every stream. Header blocks of answers are not decoded at all. It knows
//! no connection, no stream's state and no socket.

/// What a client says first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest stream id, and the largest window.
pub const MAX_31: u32 = 0x7fff_ffff;
/// The length that frames never exceed unless a peer allows more (RFC 9113 section 4.2).
pub const DEFAULT_MAX_FRAME: usize = 16_384;
/// The size of every window unless a peer says otherwise (RFC 9113 section 6.9.2).
pub const DEFAULT_WINDOW: u32 = 65_535;

/// Frame types (RFC 9113 section 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags (RFC 9113 section 6).
pub mod flag {
    pub const NONE: u8 = 0;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
}

/// Setting identifiers (RFC 9113 section 6.5.2).
pub mod setting {
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// The nine bytes before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Splits a head off, if it is there in full.
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = bytes.split_first_chunk::<3>()?;
        let (&[kind, flags], rest) = rest.split_first_chunk::<2>()?;
        let (stream, rest) = rest.split_first_chunk::<4>()?;
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let stream = u32::from_be_bytes(*stream) & MAX_31;
        Some((Self { length, kind, flags, stream }, rest))
    }

    /// Whether all bits of a flag are set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// Appends a whole frame.
pub fn put_frame(output: &mut Vec<u8>, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) {
    let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
    output.extend_from_slice(&[high, middle, low, kind, flags]);
    output.extend_from_slice(&stream.to_be_bytes());
    output.extend_from_slice(payload);
}

/// Appends a header block as HEADERS, and as CONTINUATION frames what is above `max_frame` bytes.
pub fn put_headers(output: &mut Vec<u8>, stream: u32, block: &[u8], max_frame: usize) {
    let mut kind = kind::HEADERS;
    let mut rest = block;
    while let Some((part, after)) = rest.split_at_checked(max_frame).filter(|(_, r)| !r.is_empty())
    {
        put_frame(output, (kind, flag::NONE), stream, part);
        kind = kind::CONTINUATION;
        rest = after;
    }
    put_frame(output, (kind, flag::END_HEADERS), stream, rest);
}

/// Appends a `WINDOW_UPDATE`; stream 0 is the connection.
pub fn put_window_update(output: &mut Vec<u8>, stream: u32, bytes: u32) {
    put_frame(output, (kind::WINDOW_UPDATE, flag::NONE), stream, &bytes.to_be_bytes());
}

/// Appends SETTINGS.
pub fn put_settings(output: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(settings.len() * 6);
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    put_frame(output, (kind::SETTINGS, flag::NONE), 0, &payload);
}

/// The settings of a payload; none, if its length is wrong.
pub fn settings(payload: &[u8]) -> Option<impl Iterator<Item = (u16, u32)>> {
    let (entries, rest) = payload.as_chunks::<6>();
    rest.is_empty().then(|| {
        entries.iter().map(|&[a, b, s, t, u, v]| {
            (u16::from_be_bytes([a, b]), u32::from_be_bytes([s, t, u, v]))
        })
    })
}

/// The first 32 bits of a payload; none, if it is shorter.
pub fn leading_u32(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The payload of a DATA frame without its padding; none, if there is more padding than payload.
pub fn unpadded(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// A unary gRPC call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method: `/package.Service/Method`.
    pub path: String,
    /// Metadata besides what every call has.
    pub headers: Vec<(String, String)>,
    /// The encoded message, without the prefix of five bytes.
    pub message: Vec<u8>,
}

/// A call as it goes over the wire: the header block, and the body with its prefix.
#[derive(Debug)]
pub struct Request {
    pub block: Vec<u8>,
    pub body: Vec<u8>,
}

impl Request {
    /// Encodes a call for an authority, over cleartext.
    pub fn new(authority: &str, call: &Call) -> Self {
        // Entries 3 and 6 of the static table are `:method: POST` and `:scheme: http`; the names
        // `:authority` and `:path` are 1 and 4.
        let mut block = vec![0x83, 0x86, 0x04];
        put_string(&mut block, &call.path);
        block.push(0x01);
        put_string(&mut block, authority);
        put_field(&mut block, "content-type", "application/grpc");
        put_field(&mut block, "te", "trailers");
        for (name, value) in &call.headers {
            put_field(&mut block, &name.to_ascii_lowercase(), value);
        }
        let mut body = vec![0];
        body.extend_from_slice(&(call.message.len() as u32).to_be_bytes());
        body.extend_from_slice(&call.message);
        Self { block, body }
    }
}

fn put_field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    put_string(block, name);
    put_string(block, value);
}

/// A length with a prefix of seven bits (RFC 7541 section 5.1), then the bytes as they are.
fn put_string(block: &mut Vec<u8>, text: &str) {
    let length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            block.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_parsed_as_it_was_put() {
        let mut output = Vec::new();
        put_frame(&mut output, (kind::DATA, flag::END_STREAM), 0x0102_0305, b"abc");
        let (head, payload) = Head::split(&output).unwrap();
        assert_eq!(head, Head { length: 3, kind: 0, flags: 1, stream: 0x0102_0305 });
        assert_eq!(payload, b"abc");
        assert!(Head::split(&output[..8]).is_none());
    }

    #[test]
    fn the_reserved_bit_of_a_stream_id_is_ignored() {
        let (head, _) = Head::split(&[1, 2, 3, 9, 4, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!(head, Head { length: 0x01_0203, kind: 9, flags: 4, stream: MAX_31 });
    }

    #[test]
    fn a_header_block_is_split_where_a_frame_is_full() {
        for (length, kinds) in [(0, vec![1]), (4, vec![1]), (5, vec![1, 9]), (9, vec![1, 9, 9])] {
            let mut output = Vec::new();
            put_headers(&mut output, 7, &vec![b'x'; length], 4);
            let mut rest = &output[..];
            let mut found = Vec::new();
            let mut block = 0;
            while let Some((head, after)) = Head::split(rest) {
                found.push(head.kind);
                block += head.length;
                rest = &after[head.length..];
                assert_eq!(head.has(flag::END_HEADERS), rest.is_empty());
            }
            assert_eq!((found, block), (kinds, length));
        }
    }

    #[test]
    fn settings_are_parsed_as_they_were_put() {
        let mut output = Vec::new();
        put_settings(&mut output, &[(3, 100), (4, MAX_31)]);
        let (_, payload) = Head::split(&output).unwrap();
        assert_eq!(settings(payload).unwrap().collect::<Vec<_>>(), [(3, 100), (4, MAX_31)]);
        assert!(settings(&payload[1..]).is_none());
    }

    #[test]
    fn padding_is_removed_and_never_more_than_there_is() {
        let head = Head { length: 0, kind: kind::DATA, flags: flag::PADDED, stream: 1 };
        assert_eq!(unpadded(head, &[2, 7, 8, 0, 0]), Some(&[7, 8][..]));
        assert_eq!(unpadded(head, &[2, 0, 0]), Some(&[][..]));
        assert_eq!(unpadded(head, &[3, 0, 0]), None);
        assert_eq!(unpadded(head, &[]), None);
        assert_eq!(unpadded(Head { flags: 0, ..head }, &[2, 7]), Some(&[2, 7][..]));
    }

    #[test]
    fn lengths_have_a_prefix_of_seven_bits() {
        for (length, bytes) in [
            (0, vec![0]),
            (126, vec![126]),
            (127, vec![127, 0]),
            (254, vec![127, 127]),
            (255, vec![127, 0x80, 1]),
            (1464, vec![127, 0xb9, 10]),
        ] {
            let mut block = Vec::new();
            put_string(&mut block, &"a".repeat(length));
            assert_eq!(block[..block.len() - length], bytes, "{length}");
        }
    }

    #[test]
    fn a_request_is_literals_and_a_prefixed_body() {
        let headers = vec![("X-A".to_owned(), "b".to_owned())];
        let call = Call { path: "/s/m".to_owned(), headers, message: vec![9, 9] };
        let request = Request::new("h:1", &call);
        let block = b"\x83\x86\x04\x04/s/m\x01\x03h:1\
            \0\x0ccontent-type\x10application/grpc\0\x02te\x08trailers\0\x03x-a\x01b";
        assert_eq!(request.block, block);
        assert_eq!(request.body, [0, 0, 0, 0, 2, 9, 9]);
    }
}
