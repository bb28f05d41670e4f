//! Access points.

use prost_types::FieldMask;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        access_point::{AccessPoint, AccessPointState, Authentication, PolicyIds, TrustedRole},
        command::{AccessPointPatch, Command, NewAccessPoint, Target},
        listing::AccessPointFilter,
        name::{AccessPointName, Id, Location, PolicyName, RamRoleName, ResourceName},
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
use pb::access_point::Authentication as SentAuthentication;

impl Mutation for pb::CreateAccessPointRequest {
    const ADDRESS: &'static str = "parent";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        mutation::authorize_in(caller, &self.parent)
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { parent, access_point_id, access_point, request_id: _, validate_only: _ } = self;
        let location = violations.keep(Self::ADDRESS, Location::parse(&parent))?;
        parse_new(violations, &location, &access_point_id, access_point)
            .map(Command::CreateAccessPoint)
    }
}

impl Mutation for pb::UpdateAccessPointRequest {
    const ADDRESS: &'static str = "access_point.name";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        let name = self.access_point.as_ref().map_or("", |given| given.name.as_str());
        mutation::authorize(
            caller,
            Self::ADDRESS,
            AccessPointName::parse(name),
            ResourceName::AccessPoint,
        )
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { access_point, update_mask, request_id: _, validate_only: _ } = self;
        let patched = access_point.unwrap_or_default();
        let name = violations.keep(Self::ADDRESS, AccessPointName::parse(&patched.name))?;
        let etag = parse_etag(&patched.etag);
        let patch = parse_patch(violations, &name.location, patched, update_mask)?;
        Some(Command::UpdateAccessPoint(Target { name, etag }, patch))
    }
}

/// Parses an access point to be created.
fn parse_new(
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

/// What of an access point can be changed.
const CHANGEABLE: &[&str] = &["description", "policies"];

/// Parses what is to be changed.
fn parse_patch(
    violations: &mut Violations,
    location: &Location,
    access_point: pb::AccessPoint,
    mask: Option<FieldMask>,
) -> Option<AccessPointPatch> {
    let mask = Mask::parse(violations, mask, CHANGEABLE);
    let pb::AccessPoint {
        name: _,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        policies,
        state: _,
        authentication: _,
    } = access_point;
    let mask = mask?;
    let mut patch = AccessPointPatch::default();
    if mask.names("description", !description.is_empty()) {
        let field = "access_point.description";
        patch.description = Some(parse_description(violations, field, &description)?);
    }
    if mask.names("policies", !policies.is_empty()) {
        patch.policies = Some(parse_policies(violations, location, &policies)?);
    }
    Some(patch)
}

/// Parses which access points are to be listed.
pub fn parse_filter(
    violations: &mut Violations,
    location: &Location,
    (policy, role, state): (&str, &str, i32),
) -> Option<AccessPointFilter> {
    let policy = match policy {
        "" => Some(None),
        text => parse_policy(location, text)
            .map(Some)
            .map_err(|error| violations.add("policy", error))
            .ok(),
    };
    let role = match role {
        "" => Some(None),
        text => parse_role(violations, "role", location, text).map(Some),
    };
    let state = match pb::AccessPointState::try_from(state) {
        Ok(pb::AccessPointState::Unspecified) => Some(None),
        Ok(pb::AccessPointState::Active) => Some(Some(AccessPointState::Active)),
        Ok(pb::AccessPointState::Suspended) => Some(Some(AccessPointState::Suspended)),
        Err(_) => {
            violations.add("state", "must be ACTIVE or SUSPENDED");
            None
        }
    };
    Some(AccessPointFilter { policy: policy?, role: role?, state: state? })
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
            let field = "access_point.ram_role.trusted_role";
            let trusted_role = parse_trusted_role(violations, field, trusted_role);
            let field = "access_point.ram_role.role";
            let role = parse_role(violations, field, location, &role);
            Some(Authentication::RamRole { trusted_role: trusted_role?, role: role? })
        }
    }
}

/// Parses a type of environment.
pub fn parse_trusted_role(
    violations: &mut Violations,
    field: &str,
    trusted_role: i32,
) -> Option<TrustedRole> {
    match pb::TrustedRole::try_from(trusted_role) {
        Ok(pb::TrustedRole::EcsInstance) => Some(TrustedRole::EcsInstance),
        Ok(pb::TrustedRole::AckWorker) => Some(TrustedRole::AckWorker),
        Ok(pb::TrustedRole::FunctionCompute) => Some(TrustedRole::FunctionCompute),
        Ok(pb::TrustedRole::Unspecified) | Err(_) => {
            violations.add(field, "must be ECS_INSTANCE, ACK_WORKER or FUNCTION_COMPUTE");
            None
        }
    }
}

fn parse_role(
    violations: &mut Violations,
    field: &str,
    location: &Location,
    role: &str,
) -> Option<Id> {
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
    let ids = violations.keep_all(field, policies, |text| parse_policy(location, text));
    if ids.len() < policies.len() {
        return None;
    }
    violations.keep(field, PolicyIds::new(ids))
}

fn parse_policy(location: &Location, text: &str) -> Result<Id, String> {
    let name = PolicyName::parse(text).map_err(|error| error.to_string())?;
    if name.location == *location {
        Ok(name.id)
    } else {
        Err(format!("must be a policy in `{location}`"))
    }
}

/// An access point as it is sent.
pub fn send(access_point: &AccessPoint, header: SentHeader) -> pb::AccessPoint {
    let AccessPoint { name, header: own, authentication, policies, state, .. } = access_point;
    let Header { description, .. } = own;
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
            SentAuthentication::RamRole(pb::RamRoleAuthentication {
                trusted_role: send_trusted_role(*trusted_role).into(),
                role: role.to_string(),
            })
        }
    }
}

/// A type of environment as it is sent.
pub fn send_trusted_role(trusted_role: TrustedRole) -> pb::TrustedRole {
    match trusted_role {
        TrustedRole::EcsInstance => pb::TrustedRole::EcsInstance,
        TrustedRole::AckWorker => pb::TrustedRole::AckWorker,
        TrustedRole::FunctionCompute => pb::TrustedRole::FunctionCompute,
    }
}
