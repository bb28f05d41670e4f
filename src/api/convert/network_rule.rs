//! Network rules.

use prost_types::FieldMask;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        command::{Command, NetworkRulePatch, NewNetworkRule, Target},
        name::{Location, NetworkRuleName, ResourceName},
        network::{NetworkKind, Prefix, VpcId},
        network_rule::{Addresses, InvalidAddresses, NetworkRule},
        resource::Header,
    },
    identity::caller::Caller,
};

use super::{
    SentHeader, Violations, check_inner_name,
    mask::Mask,
    mutation::{self, Mutation},
    parse_description, parse_etag, parse_id,
};
use pb::network_rule::Kind as SentKind;

impl Mutation for pb::CreateNetworkRuleRequest {
    const ADDRESS: &'static str = "parent";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        mutation::authorize_in(caller, &self.parent)
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { parent, network_rule_id, network_rule, request_id: _, validate_only: _ } = self;
        let location = violations.keep(Self::ADDRESS, Location::parse(&parent))?;
        parse_new(violations, &location, &network_rule_id, network_rule)
            .map(Command::CreateNetworkRule)
    }
}

impl Mutation for pb::UpdateNetworkRuleRequest {
    const ADDRESS: &'static str = "network_rule.name";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        let name = self.network_rule.as_ref().map_or("", |given| given.name.as_str());
        mutation::authorize(
            caller,
            Self::ADDRESS,
            NetworkRuleName::parse(name),
            ResourceName::NetworkRule,
        )
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { network_rule, update_mask, request_id: _, validate_only: _ } = self;
        let patched = network_rule.unwrap_or_default();
        let name = violations.keep(Self::ADDRESS, NetworkRuleName::parse(&patched.name))?;
        let etag = parse_etag(&patched.etag);
        let patch = parse_patch(violations, patched, update_mask)?;
        Some(Command::UpdateNetworkRule(Target { name, etag }, patch))
    }
}

/// Parses a network rule to be created.
fn parse_new(
    violations: &mut Violations,
    location: &Location,
    id: &str,
    rule: Option<pb::NetworkRule>,
) -> Option<NewNetworkRule> {
    let id = parse_id(violations, "network_rule_id", id);
    let rule = violations.require("network_rule", rule)?;
    let pb::NetworkRule {
        name,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        addresses,
        kind,
    } = rule;
    let description = parse_description(violations, "network_rule.description", &description);
    let kind =
        violations.require("network_rule.kind", kind).and_then(|kind| parse_kind(violations, kind));
    let addresses = parse_addresses(violations, &addresses);
    let made = NetworkRuleName { location: location.clone(), id: id? };
    check_inner_name(violations, "network_rule.name", &name, &made.to_string());
    Some(NewNetworkRule {
        name: made,
        description: description?,
        kind: kind?,
        addresses: addresses?,
    })
}

/// What of a network rule can be changed.
const CHANGEABLE: &[&str] = &["description", "addresses"];

/// Parses what is to be changed.
fn parse_patch(
    violations: &mut Violations,
    rule: pb::NetworkRule,
    mask: Option<FieldMask>,
) -> Option<NetworkRulePatch> {
    let mask = Mask::parse(violations, mask, CHANGEABLE);
    let pb::NetworkRule {
        name: _,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        addresses,
        kind: _,
    } = rule;
    let mask = mask?;
    let mut patch = NetworkRulePatch::default();
    if mask.names("description", !description.is_empty()) {
        patch.description = parse_description(violations, "network_rule.description", &description);
    }
    if mask.names("addresses", !addresses.is_empty()) {
        patch.addresses = parse_addresses(violations, &addresses);
    }
    Some(patch)
}

fn parse_kind(violations: &mut Violations, kind: SentKind) -> Option<NetworkKind> {
    match kind {
        SentKind::PublicNetwork(pb::PublicNetwork {}) => Some(NetworkKind::Public),
        SentKind::VpcNetwork(pb::VpcNetwork { vpc_id }) => {
            let field = "network_rule.vpc_network.vpc_id";
            violations.keep(field, VpcId::parse(&vpc_id)).map(NetworkKind::Vpc)
        }
        SentKind::PrivateNetwork(pb::PrivateNetwork {}) => Some(NetworkKind::Private),
    }
}

fn parse_addresses(violations: &mut Violations, addresses: &[String]) -> Option<Addresses> {
    let field = "network_rule.addresses";
    if addresses.len() > Addresses::MAX {
        violations.add(field, InvalidAddresses);
        return None;
    }
    let prefixes = violations.keep_all(field, addresses, |text| Prefix::parse(text));
    if prefixes.len() < addresses.len() {
        return None;
    }
    violations.keep(field, Addresses::new(prefixes))
}

/// A network rule as it is sent.
pub fn send(rule: &NetworkRule, header: SentHeader) -> pb::NetworkRule {
    let NetworkRule { name, header: Header { description, .. }, kind, addresses } = rule;
    let SentHeader { uid, etag, revision, create_time, update_time } = header;
    let kind = match kind {
        NetworkKind::Public => SentKind::PublicNetwork(pb::PublicNetwork {}),
        NetworkKind::Vpc(vpc_id) => {
            SentKind::VpcNetwork(pb::VpcNetwork { vpc_id: vpc_id.as_str().to_owned() })
        }
        NetworkKind::Private => SentKind::PrivateNetwork(pb::PrivateNetwork {}),
    };
    pb::NetworkRule {
        name: name.to_string(),
        uid,
        etag,
        revision,
        create_time,
        update_time,
        description: description.as_str().to_owned(),
        addresses: addresses.iter().map(|prefix| prefix.to_string()).collect(),
        kind: Some(kind),
    }
}
