//! Access points.

use crate::{
    api::pb,
    domain::{
        access_point::{AccessPoint, AccessPointState, Authentication, PolicyIds, TrustedRole},
        command::NewAccessPoint,
        name::{AccessPointName, Id, Location, PolicyName, RamRoleName},
        resource::Header,
    },
};

use super::{SentHeader, Violations, check_inner_name, parse_description, parse_id};
use pb::access_point::Authentication as SentAuthentication;

/// Parses an access point to be created.
pub fn parse_new(
    violations: &mut Violations,
    location: &Location,
    id: &str,
    access_point: Option<pb::AccessPoint>,
) -> Option<NewAccessPoint> {
    let id = parse_id(violations, "access_point_id", id);
    let access_point = violations.require("access_point", access_point)?;
    let pb::AccessPoint {
        name,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        policies,
        state: _,
        authentication,
    } = access_point;
    let description = parse_description(violations, "access_point.description", &description);
    let authentication = violations
        .require("access_point.authentication", authentication)
        .and_then(|given| parse_authentication(violations, location, given));
    let policies = parse_policies(violations, location, &policies);
    let made = AccessPointName { location: location.clone(), id: id? };
    check_inner_name(violations, "access_point.name", &name, &made.to_string());
    Some(NewAccessPoint {
        name: made,
        description: description?,
        authentication: authentication?,
        policies: policies?,
    })
}

fn parse_authentication(
    violations: &mut Violations,
    location: &Location,
    authentication: SentAuthentication,
) -> Option<Authentication> {
    match authentication {
        SentAuthentication::ClientKey(pb::ClientKeyAuthentication {}) => {
            Some(Authentication::ClientKey)
        }
        SentAuthentication::RamRole(pb::RamRoleAuthentication { trusted_role, role }) => {
            let trusted_role = parse_trusted_role(violations, trusted_role);
            let role = parse_role(violations, location, &role);
            Some(Authentication::RamRole { trusted_role: trusted_role?, role: role? })
        }
    }
}

fn parse_trusted_role(violations: &mut Violations, trusted_role: i32) -> Option<TrustedRole> {
    match pb::TrustedRole::try_from(trusted_role) {
        Ok(pb::TrustedRole::EcsInstance) => Some(TrustedRole::EcsInstance),
        Ok(pb::TrustedRole::AckWorker) => Some(TrustedRole::AckWorker),
        Ok(pb::TrustedRole::FunctionCompute) => Some(TrustedRole::FunctionCompute),
        Ok(pb::TrustedRole::Unspecified) | Err(_) => {
            violations.add(
                "access_point.ram_role.trusted_role",
                "must be ECS_INSTANCE, ACK_WORKER or FUNCTION_COMPUTE",
            );
            None
        }
    }
}

fn parse_role(violations: &mut Violations, location: &Location, role: &str) -> Option<Id> {
    let field = "access_point.ram_role.role";
    let name = violations.keep(field, RamRoleName::parse(role))?;
    if name.account == location.account {
        return Some(name.id);
    }
    violations.add(field, format!("must be of account `{}`", location.account));
    None
}

fn parse_policies(
    violations: &mut Violations,
    location: &Location,
    policies: &[String],
) -> Option<PolicyIds> {
    let field = "access_point.policies";
    // Counted first, so that a long list isn't parsed; repetitions count.
    if !(1..=PolicyIds::MAX).contains(&policies.len()) {
        violations.add(field, crate::domain::access_point::InvalidPolicyIds);
        return None;
    }
    let ids = violations.keep_all(field, policies, |text| {
        let name = PolicyName::parse(text).map_err(|error| error.to_string())?;
        if name.location == *location {
            Ok(name.id)
        } else {
            Err(format!("must be a policy in `{location}`"))
        }
    });
    if ids.len() < policies.len() {
        return None;
    }
    violations.keep(field, PolicyIds::new(ids))
}

/// An access point as it is sent.
pub fn send(access_point: &AccessPoint, header: SentHeader) -> pb::AccessPoint {
    let AccessPoint { name, header: Header { description, .. }, authentication, policies, state } =
        access_point;
    let SentHeader { uid, etag, revision, create_time, update_time } = header;
    let policy = |id: &Id| PolicyName { location: name.location.clone(), id: id.clone() };
    pb::AccessPoint {
        name: name.to_string(),
        uid,
        etag,
        revision,
        create_time,
        update_time,
        description: description.as_str().to_owned(),
        policies: policies.iter().map(|id| policy(id).to_string()).collect(),
        state: send_state(*state).into(),
        authentication: Some(send_authentication(&name.location, authentication)),
    }
}

fn send_state(state: AccessPointState) -> pb::AccessPointState {
    match state {
        AccessPointState::Active => pb::AccessPointState::Active,
        AccessPointState::Suspended => pb::AccessPointState::Suspended,
    }
}

fn send_authentication(location: &Location, authentication: &Authentication) -> SentAuthentication {
    match authentication {
        Authentication::ClientKey => SentAuthentication::ClientKey(pb::ClientKeyAuthentication {}),
        Authentication::RamRole { trusted_role, role } => {
            let role = RamRoleName { account: location.account.clone(), id: role.clone() };
            let trusted_role = match trusted_role {
                TrustedRole::EcsInstance => pb::TrustedRole::EcsInstance,
                TrustedRole::AckWorker => pb::TrustedRole::AckWorker,
                TrustedRole::FunctionCompute => pb::TrustedRole::FunctionCompute,
            };
            SentAuthentication::RamRole(pb::RamRoleAuthentication {
                trusted_role: trusted_role.into(),
                role: role.to_string(),
            })
        }
    }
}
