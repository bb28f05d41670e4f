//! About how much room things take in a message, so that answers with many of them can be bounded
//! before they are made.

use super::{
    access_point::{AccessPoint, Authentication, TrustedRole},
    client_key::{ClientKey, ClientKeyOrigin},
    event::{Change, KeyNotice, KeyUse},
    name::{ClientKeyName, Id, Location, RamRoleName},
    network::Prefix,
    network_rule::NetworkRule,
    pattern::ResourcePattern,
    policy::Policy,
    ram_role::RamRole,
    resource::Header,
    trust_policy::Trust,
};

/// About how many bytes of changes or resources one answer has at most: clients take messages of
/// 4 MiB.
pub const MAX_ANSWER_BYTES: usize = 3 * 1_024 * 1_024;

/// Uid, etag, revision, times, and whatever else is of about the same size everywhere.
const FIXED: usize = 256;
/// What a name has besides its ids: `accounts/`, `/regions/`, the collection, and the field's key.
const AROUND_IDS: usize = 40;
/// The most characters that an address with its prefix length has, and the field's key.
const IPV4: usize = 20;
const IPV6: usize = 45;
/// What a sentence about a role's trust has besides the element that it is about.
const OBSTACLE: usize = 64;

impl Change {
    /// About how many bytes it takes in a message; rather more than fewer.
    pub fn approximate_bytes(&self) -> usize {
        match self {
            Self::AccessPointCreated(access_point)
            | Self::AccessPointUpdated(access_point)
            | Self::AccessPointSuspended(access_point)
            | Self::AccessPointResumed(access_point)
            | Self::SessionsRevoked(access_point) => access_point.approximate_bytes(),
            Self::PolicyCreated(policy) | Self::PolicyUpdated(policy) => policy.approximate_bytes(),
            Self::NetworkRuleCreated(rule) | Self::NetworkRuleUpdated(rule) => {
                rule.approximate_bytes()
            }
            Self::AccessPointDeleted(gone) => of_name(&gone.name.location, &gone.name.id),
            Self::PolicyDeleted(gone) => of_name(&gone.name.location, &gone.name.id),
            Self::NetworkRuleDeleted(gone) => of_name(&gone.name.location, &gone.name.id),
            Self::RamRoleCreated(role) | Self::RamRoleUpdated(role) => role.approximate_bytes(),
            Self::RamRoleDeleted(gone) => of_role_name(&gone.name),
            Self::ClientKeyIssued(key)
            | Self::ClientKeyImported(key)
            | Self::ClientKeyEnabled(key)
            | Self::ClientKeyDisabled(key) => key.approximate_bytes(),
            Self::ClientKeyDeleted(gone) => of_key_name(&gone.name),
            Self::ClientKeyUsed(KeyUse { key, .. })
            | Self::ClientKeyNoticeGiven(KeyNotice { key, .. }) => FIXED + of_key_name(&key.name),
        }
    }
}

/// What has a size in a message.
pub trait Room {
    /// About how many bytes it takes in a message; rather more than fewer.
    fn approximate_bytes(&self) -> usize;
}

impl Room for AccessPoint {
    fn approximate_bytes(&self) -> usize {
        let Self { name, header, authentication, policies, .. } = self;
        let role = match authentication {
            Authentication::RamRole { trusted_role: _, role } => of_name(&name.location, role),
            Authentication::ClientKey => 0,
        };
        let policies: usize = policies.iter().map(|id| of_name(&name.location, id)).sum();
        of_header(&name.location, &name.id, header) + role + policies
    }
}

impl Room for Policy {
    fn approximate_bytes(&self) -> usize {
        let Self { name, header, terms } = self;
        let pattern = |pattern: &ResourcePattern| pattern.stem().len() + 4;
        let resources: usize = terms.resources().iter().map(pattern).sum();
        let rules: usize = terms.rules().iter().map(|id| of_name(&name.location, id)).sum();
        of_header(&name.location, &name.id, header) + resources + rules
    }
}

impl Room for NetworkRule {
    fn approximate_bytes(&self) -> usize {
        let Self { name, header, kind: _, addresses } = self;
        let address = |prefix: Prefix| if prefix.bounds().0.is_ipv4() { IPV4 } else { IPV6 };
        let addresses: usize = addresses.iter().map(address).sum();
        of_header(&name.location, &name.id, header) + addresses
    }
}

impl Room for RamRole {
    fn approximate_bytes(&self) -> usize {
        let Self { name, header, trust_policy, sessions_valid_from: _ } = self;
        let obstacles = TrustedRole::ALL.map(|trusted_role| match self.trust(trusted_role) {
            Trust::Trusted => OBSTACLE,
            Trust::Untrusted(obstacle) => OBSTACLE + obstacle.element.len(),
        });
        let obstacles: usize = obstacles.into_iter().sum();
        let texts = header.description.as_str().len() + trust_policy.as_str().len();
        FIXED + of_role_name(name) + texts + obstacles
    }
}

impl Room for ClientKey {
    fn approximate_bytes(&self) -> usize {
        let Self { name, header: _, state: _, origin, public_key, validity: _, .. } = self;
        let certificate = match origin {
            ClientKeyOrigin::Issued(certificate) => certificate.len(),
            ClientKeyOrigin::Imported => 0,
        };
        // They are sent as PEM.
        FIXED + of_key_name(name) + (public_key.info.len() + certificate) * 3 / 2
    }
}

fn of_key_name(name: &ClientKeyName) -> usize {
    let ClientKeyName { access_point, id } = name;
    of_name(&access_point.location, &access_point.id) + id.as_str().len() + AROUND_IDS
}

fn of_role_name(name: &RamRoleName) -> usize {
    let RamRoleName { account, id } = name;
    account.as_str().len() + id.as_str().len() + AROUND_IDS
}

fn of_header(location: &Location, id: &Id, header: &Header) -> usize {
    FIXED + of_name(location, id) + header.description.as_str().len()
}

fn of_name(location: &Location, id: &Id) -> usize {
    let Location { account, region } = location;
    account.as_str().len() + region.as_str().len() + id.as_str().len() + AROUND_IDS
}
