//! Network rules as they are stored.

use crate::domain::{
    name::NetworkRuleName,
    network::{NetworkKind, Prefix, VpcId},
    network_rule::{Addresses, NetworkRule},
};

use super::{At, DecodeError, decode_header, encode_header, meaningless, missing, pb};
use pb::network_rule::Kind as StoredKind;

pub(super) fn encode(rule: &NetworkRule) -> pb::NetworkRule {
    let NetworkRule { name, header, kind, addresses } = rule;
    let kind = match kind {
        NetworkKind::Public => StoredKind::PublicNetwork(pb::PublicNetwork {}),
        NetworkKind::Vpc(vpc_id) => {
            StoredKind::VpcNetwork(pb::VpcNetwork { vpc_id: vpc_id.as_str().to_owned() })
        }
        NetworkKind::Private => StoredKind::PrivateNetwork(pb::PrivateNetwork {}),
    };
    pb::NetworkRule {
        header: Some(encode_header(name.to_string(), header)),
        kind: Some(kind),
        addresses: addresses.iter().map(|prefix| prefix.to_string()).collect(),
    }
}

pub(super) fn decode(at: At, stored: pb::NetworkRule) -> Result<NetworkRule, DecodeError> {
    let pb::NetworkRule { header, kind, addresses } = stored;
    let (name, header) = decode_header(at, header)?;
    let kind = match kind.ok_or_else(|| missing("kind"))? {
        StoredKind::PublicNetwork(pb::PublicNetwork {}) => NetworkKind::Public,
        StoredKind::VpcNetwork(pb::VpcNetwork { vpc_id }) => {
            NetworkKind::Vpc(VpcId::parse(&vpc_id).map_err(|error| meaningless("vpc_id", error))?)
        }
        StoredKind::PrivateNetwork(pb::PrivateNetwork {}) => NetworkKind::Private,
    };
    let prefixes: Result<Vec<_>, _> = addresses.iter().map(|text| Prefix::parse(text)).collect();
    let prefixes = prefixes.map_err(|error| meaningless("addresses", error))?;
    Ok(NetworkRule {
        name: NetworkRuleName::parse(&name).map_err(|error| meaningless("name", error))?,
        header,
        kind,
        addresses: Addresses::new(prefixes).map_err(|error| meaningless("addresses", error))?,
    })
}
