//! A network rule: a kind of network, and addresses in it.

use super::{
    distinct::distinct,
    name::NetworkRuleName,
    network::{NetworkKind, Prefix},
    resource::Header,
};

/// Says where a call may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRule {
    /// Its name.
    pub name: NetworkRuleName,
    /// What every resource has.
    pub header: Header,
    /// The kind of network.
    pub kind: NetworkKind,
    /// The addresses in it.
    pub addresses: Addresses,
}

/// 1 to 800 different prefixes, in the operator's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Box<[Prefix]>);

/// Why some prefixes are no list of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 800 addresses or CIDRs")]
pub struct InvalidAddresses;

impl Addresses {
    /// The most prefixes that a rule has: the KMS's own limit.
    pub const MAX: usize = 800;

    /// Checks how many there are, and folds repeated ones.
    pub fn new(prefixes: Vec<Prefix>) -> Result<Self, InvalidAddresses> {
        if (1..=Self::MAX).contains(&prefixes.len()) {
            Ok(Self(distinct(prefixes).into()))
        } else {
            Err(InvalidAddresses)
        }
    }

    /// The prefixes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Prefix> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_to_eight_hundred_prefixes() {
        let one = Prefix::parse("10.0.0.0/8").unwrap();
        assert_eq!(Addresses::new(vec![]), Err(InvalidAddresses));
        assert_eq!(Addresses::new(vec![one; 801]), Err(InvalidAddresses));
        assert_eq!(Addresses::new(vec![one; 800]).unwrap().iter().count(), 1);
    }
}
