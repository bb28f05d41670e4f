//! RAM roles as they are stored.

use crate::domain::{name::RamRoleName, ram_role::RamRole, trust_policy::TrustPolicy};

use super::{At, DecodeError, decode_header, encode_header, meaningless, pb};

pub(super) fn encode(role: &RamRole) -> pb::Role {
    let RamRole { name, header, trust_policy, sessions_valid_from } = role;
    pb::Role {
        header: Some(encode_header(name.to_string(), header)),
        trust_policy: trust_policy.as_str().to_owned(),
        sessions_valid_from: *sessions_valid_from,
    }
}

pub(super) fn decode(at: At, stored: pb::Role) -> Result<RamRole, DecodeError> {
    let pb::Role { header, trust_policy, sessions_valid_from } = stored;
    let (name, header) = decode_header(at, header)?;
    Ok(RamRole {
        name: RamRoleName::parse(&name).map_err(|error| meaningless("name", error))?,
        header,
        trust_policy: TrustPolicy::parse(&trust_policy)
            .map_err(|error| meaningless("trust_policy", error))?,
        sessions_valid_from,
    })
}
