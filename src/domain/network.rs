//! Networks: the prefixes that a rule names, and the origin that a call has.
//!
//! IPv4-mapped IPv6 addresses are folded into IPv4 here, in rules and in origins alike; nothing
//! after this module sees one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net};

/// An address range in canonical form: no host bits, and never inside `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an IPv4 or IPv6 address or CIDR")]
pub struct InvalidPrefix;

/// The length of the prefix that IPv4 is mapped into.
const MAPPED_PREFIX_LENGTH: u8 = 96;

impl Prefix {
    /// Parses an address or CIDR; host bits are masked off, and what is inside `::ffff:0:0/96` is
    /// the IPv4 range that it maps.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let net = match text.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| InvalidPrefix)?),
        };
        Ok(Self(unmap(net).trunc()))
    }

    /// Whether a text has host bits, which [`Self::parse`] masks off.
    pub fn has_host_bits(text: &str) -> bool {
        text.parse::<IpNet>().is_ok_and(|net| unmap(net).trunc() != unmap(net))
    }

    /// Whether it is every address of its family.
    pub fn covers_all(self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Whether an address is in it.
    pub fn includes(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The first and the last address.
    pub fn bounds(self) -> (IpAddr, IpAddr) {
        (self.0.network(), self.0.broadcast())
    }
}

fn unmap(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let (Some(address), Some(length)) =
        (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(MAPPED_PREFIX_LENGTH))
    else {
        return net;
    };
    Ipv4Net::new(address, length).map_or(net, IpNet::V4)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

/// A VPC's id: 1 to 64 of `[A-Za-z0-9_-]`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VpcId(Arc<str>);

/// Why a text is no VPC id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must begin with a letter or digit and have 1 to 64 of `A-Z a-z 0-9 _ -`")]
pub struct InvalidVpcId;

impl VpcId {
    /// The most bytes a VPC id has.
    pub const MAX_BYTES: usize = 64;

    /// Parses a VPC id.
    pub fn parse(text: &str) -> Result<Self, InvalidVpcId> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidVpcId) }
    }

    /// Whether a text is a VPC id.
    pub fn is_valid(text: &str) -> bool {
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on_well =
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        begins_well && goes_on_well && text.len() <= Self::MAX_BYTES
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kind of network that a rule admits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkKind {
    /// The public endpoint.
    Public,
    /// One VPC, to the shared KMS.
    Vpc(VpcId),
    /// The private network of a dedicated instance.
    Private,
}

/// The network that a call came through, as reported; borrowed from the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginNetwork<'a> {
    /// The public endpoint.
    Public,
    /// A VPC, by its id.
    Vpc(&'a str),
    /// The private network of a dedicated instance.
    Private,
}

impl NetworkKind {
    /// Whether a call through `network` is of this kind, VPC id included.
    pub fn admits(&self, network: OriginNetwork<'_>) -> bool {
        match (self, network) {
            (Self::Public, OriginNetwork::Public) | (Self::Private, OriginNetwork::Private) => true,
            (Self::Vpc(id), OriginNetwork::Vpc(reported)) => id.as_str() == reported,
            _ => false,
        }
    }
}

/// Where a call came from. What is not known matches no rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The network, if it was reported.
    pub network: Option<OriginNetwork<'a>>,
    /// The source address, if it was reported; made canonical where it is compared.
    pub address: Option<IpAddr>,
}

/// An address to compare: an IPv4-mapped one is the IPv4 one that it maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparableAddress {
    /// An IPv4 address.
    V4(u32),
    /// An IPv6 address that maps no IPv4 one.
    V6(u128),
}

impl From<IpAddr> for ComparableAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6(v6.to_bits()),
        }
    }
}

impl From<Ipv4Addr> for ComparableAddress {
    fn from(address: Ipv4Addr) -> Self {
        Self::V4(address.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_stored_in_canonical_form() {
        for (text, canonical) in [
            ("192.168.0.0/16", "192.168.0.0/16"),
            ("10.10.10.10/24", "10.10.10.0/24"),
            ("10.10.10.10", "10.10.10.10"),
            ("10.10.10.10/32", "10.10.10.10"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::1", "2001:db8::1"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
        ] {
            assert_eq!(Prefix::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for bad in [
            "",
            " ",
            "10.0.0.1 ",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0",
            "010.0.0.1",
            "::/129",
            "fe80::1%eth0",
            "example.com",
            "10.0.0.0/8/8",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
        ] {
            assert_eq!(Prefix::parse(bad), Err(InvalidPrefix), "{bad:?}");
        }
    }

    #[test]
    fn a_vpc_rule_admits_its_vpc_alone() {
        let vpc = NetworkKind::Vpc(VpcId::parse("vpc-1").unwrap());
        assert!(vpc.admits(OriginNetwork::Vpc("vpc-1")));
        for other in [OriginNetwork::Vpc("vpc-2"), OriginNetwork::Public, OriginNetwork::Private] {
            assert!(!vpc.admits(other), "{other:?}");
        }
    }

    #[test]
    fn mapped_addresses_compare_as_the_ipv4_ones_they_map() {
        let mapped: IpAddr = "::ffff:1.2.3.4".parse().unwrap();
        let plain: IpAddr = "1.2.3.4".parse().unwrap();
        assert_eq!(ComparableAddress::from(mapped), ComparableAddress::from(plain));
    }
}
