//! What callers want changed. Imperative; judged by [`super::decide`].

use std::sync::Arc;

use super::{
    access_point::{Authentication, PolicyIds},
    client_key::{ClientKeyOrigin, Notice, PublicKey, Validity},
    name::{AccessPointName, ClientKeyName, Id, NetworkRuleName, PolicyName, RamRoleName},
    network::NetworkKind,
    network_rule::Addresses,
    pattern::ResourcePattern,
    policy::{NetworkAccess, Terms},
    request::RequestMark,
    resource::{Description, Uid},
    room::MAX_ANSWER_BYTES,
    rules::Template,
    time::UnixNanos,
    trust_policy::TrustPolicy,
};

/// A command with everything that judging it needs and that isn't state.
#[derive(Clone, Debug)]
pub struct Request {
    /// The name of the caller.
    pub actor: Arc<str>,
    /// The time at which it is judged.
    pub time: UnixNanos,
    /// The uid that a created resource gets.
    pub uid: Uid,
    /// How it may be repeated.
    pub mark: Option<RequestMark>,
    /// What is wanted.
    pub command: Command,
}

/// Changes of one account that are made together or not at all, each on what those before it leave.
#[derive(Clone, Debug)]
pub struct Batch {
    // INVARIANT: all have the same actor, time and mark, and their commands the same account.
    requests: Vec<Request>,
}

impl Batch {
    /// The most changes in a batch.
    pub const MAX: usize = 1_000;
    /// About how many bytes what a batch leaves may have: an answer has all of it.
    pub const MAX_BYTES: usize = MAX_ANSWER_BYTES;

    /// Puts commands of one account together, in order, each with the uid for what it creates.
    pub fn of(
        actor: &Arc<str>,
        time: UnixNanos,
        mark: Option<&RequestMark>,
        commands: impl IntoIterator<Item = (Uid, Command)>,
    ) -> Self {
        let request = |(uid, command)| {
            let (actor, mark) = (Arc::clone(actor), mark.cloned());
            Request { actor, time, uid, mark, command }
        };
        Self { requests: commands.into_iter().map(request).collect() }
    }

    /// The changes, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}

impl From<Request> for Batch {
    fn from(request: Request) -> Self {
        Self { requests: vec![request] }
    }
}

/// One change that is wanted.
#[derive(Clone, Debug)]
pub enum Command {
    /// Create an access point.
    CreateAccessPoint(NewAccessPoint),
    /// Change an access point.
    UpdateAccessPoint(Target<AccessPointName>, AccessPointPatch),
    /// Deny an access point everything.
    SuspendAccessPoint(Target<AccessPointName>),
    /// Let a suspended access point's policies decide again.
    ResumeAccessPoint(Target<AccessPointName>),
    /// End the sessions of an access point.
    RevokeSessions(Target<AccessPointName>),
    /// Delete an access point.
    DeleteAccessPoint(Target<AccessPointName>),
    /// Create a policy.
    CreatePolicy(NewPolicy),
    /// Change a policy.
    UpdatePolicy(Target<PolicyName>, PolicyPatch),
    /// Delete a policy.
    DeletePolicy(Target<PolicyName>),
    /// Create a network rule.
    CreateNetworkRule(NewNetworkRule),
    /// Change a network rule.
    UpdateNetworkRule(Target<NetworkRuleName>, NetworkRulePatch),
    /// Delete a network rule.
    DeleteNetworkRule(Target<NetworkRuleName>),
    /// Create a RAM role.
    CreateRamRole(NewRamRole),
    /// Change a RAM role.
    UpdateRamRole(Target<RamRoleName>, RamRolePatch),
    /// Delete a RAM role.
    DeleteRamRole(Target<RamRoleName>),
    /// Bind a client key to an access point.
    AddClientKey(NewClientKey),
    /// Let a disabled client key prove something again.
    EnableClientKey(Target<ClientKeyName>),
    /// Let a client key prove nothing, and end its sessions.
    DisableClientKey(Target<ClientKeyName>),
    /// Delete a client key, and end its sessions.
    DeleteClientKey(Target<ClientKeyName>),
    /// Keep when a client key was used.
    KeepClientKeyUse(KnownKey, UnixNanos),
    /// Give a notice of a client key's end.
    GiveClientKeyNotice(KnownKey, Notice),
}

impl Command {
    /// The account that it changes something in.
    pub fn account(&self) -> &Id {
        match self {
            Self::CreateAccessPoint(new) => &new.name.location.account,
            Self::UpdateAccessPoint(target, _)
            | Self::SuspendAccessPoint(target)
            | Self::ResumeAccessPoint(target)
            | Self::RevokeSessions(target)
            | Self::DeleteAccessPoint(target) => &target.name.location.account,
            Self::CreatePolicy(new) => &new.name.location.account,
            Self::UpdatePolicy(target, _) | Self::DeletePolicy(target) => {
                &target.name.location.account
            }
            Self::CreateNetworkRule(new) => &new.name.location.account,
            Self::UpdateNetworkRule(target, _) | Self::DeleteNetworkRule(target) => {
                &target.name.location.account
            }
            Self::CreateRamRole(new) => &new.name.account,
            Self::UpdateRamRole(target, _) | Self::DeleteRamRole(target) => &target.name.account,
            Self::AddClientKey(new) => &new.name.access_point.location.account,
            Self::EnableClientKey(target)
            | Self::DisableClientKey(target)
            | Self::DeleteClientKey(target) => &target.name.access_point.location.account,
            Self::KeepClientKeyUse(key, _) | Self::GiveClientKeyNotice(key, _) => {
                &key.name.access_point.location.account
            }
        }
    }
}

/// An access point to create.
#[derive(Clone, Debug)]
pub struct NewAccessPoint {
    /// Its name.
    pub name: AccessPointName,
    /// Its description.
    pub description: Description,
    /// How it authenticates.
    pub authentication: Authentication,
    /// Its policies.
    pub policies: PolicyIds,
}

/// A policy to create.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    /// Its name.
    pub name: PolicyName,
    /// Its description.
    pub description: Description,
    /// What it grants.
    pub terms: Terms,
}

/// A network rule to create.
#[derive(Clone, Debug)]
pub struct NewNetworkRule {
    /// Its name.
    pub name: NetworkRuleName,
    /// Its description.
    pub description: Description,
    /// The kind of network.
    pub kind: NetworkKind,
    /// The addresses in it.
    pub addresses: Addresses,
}

/// A RAM role to create.
#[derive(Clone, Debug)]
pub struct NewRamRole {
    /// Its name.
    pub name: RamRoleName,
    /// Its description.
    pub description: Description,
    /// Who may assume it.
    pub trust_policy: TrustPolicy,
}

/// A client key to bind.
#[derive(Clone, Debug)]
pub struct NewClientKey {
    /// Its name. Who asks made the id up, and gives it away with the key.
    pub name: ClientKeyName,
    /// Where it comes from.
    pub origin: ClientKeyOrigin,
    /// What the application verifies by.
    pub public_key: PublicKey,
    /// When it proves something.
    pub validity: Validity,
}

/// A client key that the server itself has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Its name.
    pub name: ClientKeyName,
    /// Its uid: one that has got its name since is another.
    pub uid: Uid,
}

/// What exists and is to be changed.
#[derive(Clone, Debug)]
pub struct Target<N> {
    /// Its name.
    pub name: N,
    /// The state that the caller saw, if it says so.
    pub etag: Option<Box<str>>,
}

/// What of an access point is to be changed; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct AccessPointPatch {
    /// Its description.
    pub description: Option<Description>,
    /// Its policies.
    pub policies: Option<PolicyIds>,
}

/// What of a policy is to be changed; what is `None` stays. Its scope always does.
#[derive(Clone, Debug, Default)]
pub struct PolicyPatch {
    /// Its description.
    pub description: Option<Description>,
    /// Its templates.
    pub permissions: Option<Vec<Template>>,
    /// Its patterns.
    pub resources: Option<Vec<ResourcePattern>>,
    /// Where calls may come from.
    pub network_access: Option<NetworkAccess>,
}

/// What of a network rule is to be changed; what is `None` stays. Its kind always does.
#[derive(Clone, Debug, Default)]
pub struct NetworkRulePatch {
    /// Its description.
    pub description: Option<Description>,
    /// The addresses in it.
    pub addresses: Option<Addresses>,
}

/// What of a RAM role is to be changed; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RamRolePatch {
    /// Its description.
    pub description: Option<Description>,
    /// Who may assume it.
    pub trust_policy: Option<TrustPolicy>,
}
