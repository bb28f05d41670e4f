//! Addresses as text, on the way of every record.

use std::net::{IpAddr, SocketAddr};

/// Text of a bounded length, without allocating; what doesn't fit is left out.
#[derive(Debug)]
pub(super) struct TextBuffer<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for TextBuffer<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> TextBuffer<N> {
    /// What `Display` writes. Of IPv4, which most are, without a formatter: that would be nearly half
    /// of what a record costs.
    pub(super) fn write_socket(&mut self, address: SocketAddr) {
        match address {
            SocketAddr::V4(address) => {
                self.write_ip(IpAddr::V4(*address.ip()));
                self.put(b':');
                self.put_decimal(address.port());
            }
            SocketAddr::V6(_) => self.write(format_args!("{address}")),
        }
    }

    /// The same of an address without a port.
    pub(super) fn write_ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets();
                self.put_decimal(first.into());
                for octet in rest {
                    self.put(b'.');
                    self.put_decimal(octet.into());
                }
            }
            IpAddr::V6(_) => self.write(format_args!("{address}")),
        }
    }

    fn put_decimal(&mut self, value: u16) {
        let digits = [10_000, 1_000, 100, 10].into_iter().skip_while(|unit| *unit > value);
        for unit in digits {
            self.put(b'0' + (value / unit % 10) as u8);
        }
        self.put(b'0' + (value % 10) as u8);
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Only an overflow fails, and then what fits is there.
        let _ = std::fmt::Write::write_fmt(self, text);
    }

    /// What there is.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl<const N: usize> std::fmt::Write for TextBuffer<N> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let target = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        target.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_display() {
        let ips = ["0.0.0.0", "1.20.199.255", "127.0.0.1", "255.255.255.255", "::", "2001:db8::7"];
        for ip in ips.map(|text| text.parse::<IpAddr>().unwrap()) {
            let mut text = TextBuffer::<48>::default();
            text.write_ip(ip);
            assert_eq!(text.as_bytes(), ip.to_string().as_bytes());
            for port in [0, 9, 10, 80, 8_443, 10_000, 65_535] {
                let mut text = TextBuffer::<64>::default();
                let address = SocketAddr::new(ip, port);
                text.write_socket(address);
                assert_eq!(text.as_bytes(), address.to_string().as_bytes());
            }
        }
    }
}
