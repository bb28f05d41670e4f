//! Access points as they are stored.

use crate::domain::{
    access_point::{AccessPoint, AccessPointState, Authentication, PolicyIds, TrustedRole},
    name::{AccessPointName, Id},
};

use super::{At, DecodeError, decode_header, encode_header, meaningless, missing, pb};
use pb::access_point::Authentication as StoredAuthentication;

pub(super) fn encode(access_point: &AccessPoint) -> pb::AccessPoint {
    let AccessPoint { name, header, authentication, policies, state, sessions_valid_from } =
        access_point;
    let state = match state {
        AccessPointState::Active => pb::AccessPointState::Active,
        AccessPointState::Suspended => pb::AccessPointState::Suspended,
    };
    pb::AccessPoint {
        header: Some(encode_header(name.to_string(), header)),
        authentication: Some(encode_authentication(authentication)),
        policies: policies.iter().map(ToString::to_string).collect(),
        state: state.into(),
        sessions_valid_from: *sessions_valid_from,
    }
}

fn encode_authentication(authentication: &Authentication) -> StoredAuthentication {
    match authentication {
        Authentication::RamRole { trusted_role, role } => {
            let trusted_role = match trusted_role {
                TrustedRole::EcsInstance => pb::TrustedRole::EcsInstance,
                TrustedRole::AckWorker => pb::TrustedRole::AckWorker,
                TrustedRole::FunctionCompute => pb::TrustedRole::FunctionCompute,
            };
            StoredAuthentication::RamRole(pb::RamRole {
                trusted_role: trusted_role.into(),
                role: role.to_string(),
            })
        }
        Authentication::ClientKey => StoredAuthentication::ClientKey(pb::ClientKey {}),
    }
}

pub(super) fn decode(at: At, stored: pb::AccessPoint) -> Result<AccessPoint, DecodeError> {
    let pb::AccessPoint { header, authentication, policies, state, sessions_valid_from } = stored;
    let (name, header) = decode_header(at, header)?;
    let state = match pb::AccessPointState::try_from(state) {
        Ok(pb::AccessPointState::Active) => AccessPointState::Active,
        Ok(pb::AccessPointState::Suspended) => AccessPointState::Suspended,
        Ok(pb::AccessPointState::Unspecified) | Err(_) => return Err(meaningless("state", state)),
    };
    let policies: Result<Vec<_>, _> = policies.iter().map(|text| Id::parse(text)).collect();
    let policies = policies.map_err(|error| meaningless("policies", error))?;
    Ok(AccessPoint {
        name: AccessPointName::parse(&name).map_err(|error| meaningless("name", error))?,
        header,
        authentication: decode_authentication(authentication)?,
        policies: PolicyIds::new(policies).map_err(|error| meaningless("policies", error))?,
        state,
        sessions_valid_from,
    })
}

fn decode_authentication(
    authentication: Option<StoredAuthentication>,
) -> Result<Authentication, DecodeError> {
    match authentication.ok_or_else(|| missing("authentication"))? {
        StoredAuthentication::ClientKey(pb::ClientKey {}) => Ok(Authentication::ClientKey),
        StoredAuthentication::RamRole(pb::RamRole { trusted_role, role }) => {
            let trusted_role = match pb::TrustedRole::try_from(trusted_role) {
                Ok(pb::TrustedRole::EcsInstance) => TrustedRole::EcsInstance,
                Ok(pb::TrustedRole::AckWorker) => TrustedRole::AckWorker,
                Ok(pb::TrustedRole::FunctionCompute) => TrustedRole::FunctionCompute,
                Ok(pb::TrustedRole::Unspecified) | Err(_) => {
                    return Err(meaningless("trusted_role", trusted_role));
                }
            };
            let role = Id::parse(&role).map_err(|error| meaningless("role", error))?;
            Ok(Authentication::RamRole { trusted_role, role })
        }
    }
}
