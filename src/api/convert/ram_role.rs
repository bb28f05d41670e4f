//! RAM roles.

use prost_types::FieldMask;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        access_point::TrustedRole,
        command::{Command, NewRamRole, RamRolePatch, Target},
        listing::RamRoleFilter,
        name::{AccountName, RamRoleName, ResourceName},
        ram_role::RamRole,
        resource::Header,
        trust_policy::{Trust, TrustPolicy},
    },
    identity::caller::Caller,
    service::management::Manager,
};

use super::{
    SentHeader, Violations, access_point, check_inner_name,
    mask::Mask,
    mutation::{self, Mutation},
    parse_account, parse_description, parse_etag, parse_id,
};

impl Mutation for pb::CreateRamRoleRequest {
    const ADDRESS: &'static str = "parent";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        Ok(Manager::authorize_account(caller, &parse_account(&self.parent)?)?)
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { parent, ram_role_id, ram_role, request_id: _, validate_only: _ } = self;
        let account = violations.keep(Self::ADDRESS, AccountName::parse(&parent))?;
        parse_new(violations, account, &ram_role_id, ram_role).map(Command::CreateRamRole)
    }
}

impl Mutation for pb::UpdateRamRoleRequest {
    const ADDRESS: &'static str = "ram_role.name";

    fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
        let name = self.ram_role.as_ref().map_or("", |given| given.name.as_str());
        mutation::authorize(caller, Self::ADDRESS, RamRoleName::parse(name), ResourceName::RamRole)
    }

    fn parse(self, violations: &mut Violations) -> Option<Command> {
        let Self { ram_role, update_mask, request_id: _, validate_only: _ } = self;
        let patched = ram_role.unwrap_or_default();
        let name = violations.keep(Self::ADDRESS, RamRoleName::parse(&patched.name))?;
        let etag = parse_etag(&patched.etag);
        let patch = parse_patch(violations, patched, update_mask)?;
        Some(Command::UpdateRamRole(Target { name, etag }, patch))
    }
}

/// Parses a RAM role to be created.
fn parse_new(
    violations: &mut Violations,
    account: AccountName,
    id: &str,
    role: Option<pb::RamRole>,
) -> Option<NewRamRole> {
    let id = parse_id(violations, "ram_role_id", id);
    let role = violations.require("ram_role", role)?;
    let pb::RamRole {
        name,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        trust_policy,
        trusts: _,
    } = role;
    let description = parse_description(violations, DESCRIPTION, &description);
    let trust_policy = violations.keep(TRUST_POLICY, TrustPolicy::parse(&trust_policy));
    let made = RamRoleName { account: account.0, id: id? };
    check_inner_name(violations, "ram_role.name", &name, &made.to_string());
    Some(NewRamRole { name: made, description: description?, trust_policy: trust_policy? })
}

const DESCRIPTION: &str = "ram_role.description";
const TRUST_POLICY: &str = "ram_role.trust_policy";

/// What of a RAM role can be changed.
const CHANGEABLE: &[&str] = &["description", "trust_policy"];

/// Parses what is to be changed.
fn parse_patch(
    violations: &mut Violations,
    role: pb::RamRole,
    mask: Option<FieldMask>,
) -> Option<RamRolePatch> {
    let mask = Mask::parse(violations, mask, CHANGEABLE);
    let pb::RamRole {
        name: _,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        description,
        trust_policy,
        trusts: _,
    } = role;
    let mask = mask?;
    let mut patch = RamRolePatch::default();
    if mask.names("description", !description.is_empty()) {
        patch.description = parse_description(violations, DESCRIPTION, &description);
    }
    if mask.names("trust_policy", !trust_policy.is_empty()) {
        patch.trust_policy = violations.keep(TRUST_POLICY, TrustPolicy::parse(&trust_policy));
    }
    Some(patch)
}

/// Parses which RAM roles are to be listed.
pub fn parse_filter(violations: &mut Violations, trusted_role: i32) -> Option<RamRoleFilter> {
    if trusted_role == i32::from(pb::TrustedRole::Unspecified) {
        return Some(RamRoleFilter::default());
    }
    let trusted_role = access_point::parse_trusted_role(violations, "trusted_role", trusted_role)?;
    Some(RamRoleFilter { trusted_role: Some(trusted_role) })
}

/// A RAM role as it is sent.
pub fn send(role: &RamRole, header: SentHeader) -> pb::RamRole {
    let RamRole { name, header: Header { description, .. }, trust_policy, sessions_valid_from: _ } =
        role;
    let SentHeader { uid, etag, revision, create_time, update_time } = header;
    let trusts = TrustedRole::ALL.map(|trusted_role| send_trust(role, trusted_role));
    pb::RamRole {
        name: name.to_string(),
        uid,
        etag,
        revision,
        create_time,
        update_time,
        description: description.as_str().to_owned(),
        trust_policy: trust_policy.as_str().to_owned(),
        trusts: trusts.into(),
    }
}

fn send_trust(role: &RamRole, trusted_role: TrustedRole) -> pb::RoleTrust {
    let (state, element, obstacle) = match role.trust(trusted_role) {
        Trust::Trusted => (pb::RoleTrustState::Trusted, String::new(), String::new()),
        Trust::Untrusted(obstacle) => (
            pb::RoleTrustState::NotTrusted,
            obstacle.element.to_string(),
            obstacle.problem.to_string(),
        ),
    };
    let trusted_role = access_point::send_trusted_role(trusted_role).into();
    pb::RoleTrust { trusted_role, state: state.into(), element, obstacle }
}
