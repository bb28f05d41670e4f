//! The header by which a proxy says whose connection it forwards: version 2 of the PROXY protocol,
//! the binary one, and nothing else. Who may say so is decided elsewhere.
//!
//! Exactly the header is read, since what comes after it isn't this module's.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and protocol, and the length of the rest.
const FIXED_BYTES: usize = 16;
/// The most bytes after these: addresses, and what proxies add, certificates' names included.
const MAX_REST_BYTES: usize = 2_048;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("what came is no header of the PROXY protocol, version 2")]
    NoHeader,
}

/// Reads a header: whose connection it is, or nothing if it is the proxy's own.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await?;
    let [signature @ .., command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if signature != SIGNATURE || length > MAX_REST_BYTES {
        return Err(HeaderError::NoHeader);
    }
    let mut rest = [0; MAX_REST_BYTES];
    let rest = rest.get_mut(..length).ok_or(HeaderError::NoHeader)?;
    stream.read_exact(rest).await?;
    match (command, family) {
        // LOCAL: whatever the rest says isn't about this connection.
        (0x20, _) => Ok(None),
        // PROXY, with TCP over IPv4 or over IPv6.
        (0x21, 0x11) => source::<4>(rest),
        (0x21, 0x21) => source::<16>(rest),
        _ => Err(HeaderError::NoHeader),
    }
}

/// The source among two addresses and two ports.
fn source<const BYTES: usize>(rest: &[u8]) -> Result<Option<SocketAddr>, HeaderError>
where
    IpAddr: From<[u8; BYTES]>,
{
    let (source, rest) = rest.split_first_chunk::<BYTES>().ok_or(HeaderError::NoHeader)?;
    let (_, rest) = rest.split_first_chunk::<BYTES>().ok_or(HeaderError::NoHeader)?;
    let ([high, low, _, _], _) = rest.split_first_chunk::<4>().ok_or(HeaderError::NoHeader)?;
    let port = u16::from_be_bytes([*high, *low]);
    Ok(Some(SocketAddr::new(IpAddr::from(*source).to_canonical(), port)))
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    fn read(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, String>, usize) {
        let runtime = Builder::new_current_thread().build().unwrap();
        let header = runtime.block_on(read_header(&mut bytes));
        (header.map_err(|error| error.to_string()), bytes.len())
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// 10.1.2.3:4660 to 192.0.2.1:443.
    const V4: [u8; 12] = [10, 1, 2, 3, 192, 0, 2, 1, 0x12, 0x34, 1, 187];

    fn v6(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x12, 0x34, 1, 187]].concat()
    }

    #[test]
    fn a_header_is_read_and_no_byte_after_it() {
        for (what, header, from) in [
            ("IPv4", header(0x21, 0x11, &V4), Some("10.1.2.3:4660")),
            ("IPv6", header(0x21, 0x21, &v6("2001:db8::7")), Some("[2001:db8::7]:4660")),
            ("mapped", header(0x21, 0x21, &v6("::ffff:10.1.2.3")), Some("10.1.2.3:4660")),
            ("more", header(0x21, 0x11, &[&V4[..], &[4, 0, 1, 9]].concat()), Some("10.1.2.3:4660")),
            ("the proxy's own", header(0x20, 0x00, &[]), None),
            ("the proxy's own, with addresses", header(0x20, 0x11, &V4), None),
            ("the longest", header(0x20, 0x00, &[0; MAX_REST_BYTES]), None),
        ] {
            let found = read(&[&header[..], b"PRI"].concat());
            assert_eq!(found, (Ok(from.map(|from| from.parse().unwrap())), 3), "{what}");
            for length in 0..header.len() {
                assert!(read(&header[..length]).0.is_err(), "{what}, cut off after {length}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let mut no_signature = header(0x21, 0x11, &V4);
        no_signature[3] = b' ';
        for (what, header) in [
            ("version 1", b"PROXY TCP4 10.1.2.3 192.0.2.1 4660 443\r\n".to_vec()),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
            ("another signature", no_signature),
            ("another version", header(0x11, 0x11, &V4)),
            ("another command", header(0x22, 0x11, &V4)),
            ("no family", header(0x21, 0x00, &V4)),
            ("UDP", header(0x21, 0x12, &V4)),
            ("a socket's path", header(0x21, 0x31, &[b'/'; 216])),
            ("too few addresses", header(0x21, 0x11, &V4[..11])),
            ("IPv4 said to be IPv6", header(0x21, 0x21, &V4)),
            ("too much", header(0x20, 0x00, &[0; MAX_REST_BYTES + 1])),
        ] {
            let (found, _) = read(&header);
            assert_eq!(found, Err(HeaderError::NoHeader.to_string()), "{what}");
        }
    }
}
