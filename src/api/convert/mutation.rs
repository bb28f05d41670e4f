//! Requests for one change: whom they concern, how they may be repeated, and what they want.

use std::mem;

use prost::Message;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        command::{Command, Target},
        name::{
            AccessPointName, ClientKeyName, InvalidName, Location, NetworkRuleName, PolicyName,
            RamRoleName, ResourceName,
        },
    },
    identity::caller::Caller,
    service::management::{Manager, Manner},
};

use super::{Repetition, Violations, parse_etag, parse_first};

/// A request that may be repeated.
pub trait Repeatable: Message {
    /// The method that takes it.
    const METHOD: &'static str;

    /// Takes the request's id out of it; empty if it has none.
    fn take_request_id(&mut self) -> String;

    /// Whether it only is to be judged.
    fn validate_only(&self) -> bool;
}

macro_rules! repeatable {
    ($($message:ident: $method:literal;)*) => {
        $(impl Repeatable for pb::$message {
            const METHOD: &'static str = $method;

            fn take_request_id(&mut self) -> String {
                mem::take(&mut self.request_id)
            }

            fn validate_only(&self) -> bool {
                self.validate_only
            }
        })*
    };
}

repeatable!(
    CreateAccessPointRequest: "CreateAccessPoint";
    UpdateAccessPointRequest: "UpdateAccessPoint";
    SuspendAccessPointRequest: "SuspendAccessPoint";
    ResumeAccessPointRequest: "ResumeAccessPoint";
    RevokeSessionsRequest: "RevokeSessions";
    DeleteAccessPointRequest: "DeleteAccessPoint";
    CreatePolicyRequest: "CreatePolicy";
    UpdatePolicyRequest: "UpdatePolicy";
    DeletePolicyRequest: "DeletePolicy";
    CreateNetworkRuleRequest: "CreateNetworkRule";
    UpdateNetworkRuleRequest: "UpdateNetworkRule";
    DeleteNetworkRuleRequest: "DeleteNetworkRule";
    CreateRamRoleRequest: "CreateRamRole";
    UpdateRamRoleRequest: "UpdateRamRole";
    DeleteRamRoleRequest: "DeleteRamRole";
    ApplyChangesRequest: "ApplyChanges";
    CreateAuditCursorRequest: "CreateAuditCursor";
    IssueClientKeyRequest: "IssueClientKey";
    ImportClientKeyRequest: "ImportClientKey";
    EnableClientKeyRequest: "EnableClientKey";
    DisableClientKeyRequest: "DisableClientKey";
    DeleteClientKeyRequest: "DeleteClientKey";
);

/// A request for one change.
pub trait Mutation: Repeatable {
    /// The path of the field that says whom or where it concerns.
    const ADDRESS: &'static str;

    /// Makes sure that the caller may ask for it, before anything is looked at.
    fn authorize(&self, caller: &Caller) -> Result<(), ApiError>;

    /// What it wants.
    fn parse(self, violations: &mut Violations) -> Option<Command>;
}

/// What a request that stands on its own wants, and how, if its caller may ask for it.
pub fn read<M: Mutation>(caller: &Caller, mut request: M) -> Result<(Manner, Command), ApiError> {
    request.authorize(caller)?;
    let repetition = Repetition::of(&mut request);
    let mut violations = Violations::default();
    let manner = repetition.manner(&mut violations);
    let command = request.parse(&mut violations);
    violations.finish(manner.zip(command))
}

/// What a request wants that is one of many: they are repeated together or not at all.
pub fn read_one_of_many<M: Mutation>(
    violations: &mut Violations,
    mut request: M,
) -> Option<Command> {
    if !request.take_request_id().is_empty() {
        violations.add("request_id", "must be empty: the request as a whole has one");
    }
    if request.validate_only() {
        violations.add("validate_only", "must not be set: the request as a whole has one");
    }
    request.parse(violations)
}

/// Makes sure that a caller may create something in a place.
pub fn authorize_in(caller: &Caller, parent: &str) -> Result<(), ApiError> {
    let location = parse_first("parent", Location::parse(parent))?;
    Ok(Manager::authorize_in(caller, &location)?)
}

/// Makes sure that a caller may change what is named.
pub fn authorize<N>(
    caller: &Caller,
    field: &str,
    parsed: Result<N, InvalidName>,
    resource: impl FnOnce(N) -> ResourceName,
) -> Result<(), ApiError> {
    Ok(Manager::authorize(caller, &resource(parse_first(field, parsed)?))?)
}

/// Requests that name a resource, and say no more about it.
macro_rules! targeted {
    ($($message:ident: $name:ident, $resource:ident, $command:ident;)*) => {
        $(impl Mutation for pb::$message {
            const ADDRESS: &'static str = "name";

            fn authorize(&self, caller: &Caller) -> Result<(), ApiError> {
                authorize(caller, Self::ADDRESS, $name::parse(&self.name), ResourceName::$resource)
            }

            fn parse(self, violations: &mut Violations) -> Option<Command> {
                let Self { name, etag, request_id: _, validate_only: _ } = self;
                let name = violations.keep(Self::ADDRESS, $name::parse(&name))?;
                Some(Command::$command(Target { name, etag: parse_etag(&etag) }))
            }
        })*
    };
}

targeted!(
    SuspendAccessPointRequest: AccessPointName, AccessPoint, SuspendAccessPoint;
    ResumeAccessPointRequest: AccessPointName, AccessPoint, ResumeAccessPoint;
    RevokeSessionsRequest: AccessPointName, AccessPoint, RevokeSessions;
    DeleteAccessPointRequest: AccessPointName, AccessPoint, DeleteAccessPoint;
    DeletePolicyRequest: PolicyName, Policy, DeletePolicy;
    DeleteNetworkRuleRequest: NetworkRuleName, NetworkRule, DeleteNetworkRule;
    DeleteRamRoleRequest: RamRoleName, RamRole, DeleteRamRole;
    EnableClientKeyRequest: ClientKeyName, ClientKey, EnableClientKey;
    DisableClientKeyRequest: ClientKeyName, ClientKey, DisableClientKey;
    DeleteClientKeyRequest: ClientKeyName, ClientKey, DeleteClientKey;
);
