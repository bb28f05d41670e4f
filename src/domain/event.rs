//! What happened. Past tense, facts, never renamed; each has the full state after it.

use std::sync::Arc;

use super::{
    access_point::AccessPoint,
    client_key::{ClientKey, Notice},
    command::KnownKey,
    name::{
        AccessPointName, ClientKeyName, Id, NetworkRuleName, PolicyName, RamRoleName, ResourceName,
    },
    network_rule::NetworkRule,
    policy::Policy,
    ram_role::RamRole,
    request::RequestMark,
    resource::Uid,
    time::UnixNanos,
};

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the journal, from 1 and dense: the revision of what it changes.
    pub sequence: u64,
    /// When it was decided.
    pub time: UnixNanos,
    /// The caller that asked for it.
    pub actor: Arc<str>,
    /// The request that it answers, if that may be repeated.
    pub request: Option<RequestMark>,
    /// What happened.
    pub change: Change,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An access point was created.
    AccessPointCreated(Arc<AccessPoint>),
    /// An access point's description or policies were changed.
    AccessPointUpdated(Arc<AccessPoint>),
    /// An access point was suspended.
    AccessPointSuspended(Arc<AccessPoint>),
    /// A suspended access point was resumed.
    AccessPointResumed(Arc<AccessPoint>),
    /// The sessions of an access point were ended.
    SessionsRevoked(Arc<AccessPoint>),
    /// An access point was deleted.
    AccessPointDeleted(Gone<AccessPointName>),
    /// A policy was created.
    PolicyCreated(Arc<Policy>),
    /// A policy was changed.
    PolicyUpdated(Arc<Policy>),
    /// A policy was deleted.
    PolicyDeleted(Gone<PolicyName>),
    /// A network rule was created.
    NetworkRuleCreated(Arc<NetworkRule>),
    /// A network rule was changed.
    NetworkRuleUpdated(Arc<NetworkRule>),
    /// A network rule was deleted.
    NetworkRuleDeleted(Gone<NetworkRuleName>),
    /// A RAM role was created.
    RamRoleCreated(Arc<RamRole>),
    /// A RAM role was changed.
    RamRoleUpdated(Arc<RamRole>),
    /// A RAM role was deleted.
    RamRoleDeleted(Gone<RamRoleName>),
    /// A client key was made here and given away.
    ClientKeyIssued(Arc<ClientKey>),
    /// A client key that was made elsewhere was taken in.
    ClientKeyImported(Arc<ClientKey>),
    /// A disabled client key was enabled.
    ClientKeyEnabled(Arc<ClientKey>),
    /// A client key was disabled.
    ClientKeyDisabled(Arc<ClientKey>),
    /// A client key was deleted.
    ClientKeyDeleted(Gone<ClientKeyName>),
    /// A client key was used: kept at most once an hour.
    ClientKeyUsed(KeyUse),
    /// A notice of a client key's end was given.
    ClientKeyNoticeGiven(KeyNotice),
}

/// A use of a client key. It comes often, so it has no more than what is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: KnownKey,
    /// When it was used.
    pub time: UnixNanos,
}

/// A notice of a client key's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNotice {
    /// The key.
    pub key: KnownKey,
    /// Which notice.
    pub notice: Notice,
    /// The key's end.
    pub end: UnixNanos,
}

/// What is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone<N> {
    /// Its name.
    pub name: N,
    /// Its uid.
    pub uid: Uid,
}

impl Change {
    /// The account that it happened in.
    pub fn account(&self) -> &Id {
        match self {
            Self::AccessPointCreated(access_point)
            | Self::AccessPointUpdated(access_point)
            | Self::AccessPointSuspended(access_point)
            | Self::AccessPointResumed(access_point)
            | Self::SessionsRevoked(access_point) => &access_point.name.location.account,
            Self::AccessPointDeleted(gone) => &gone.name.location.account,
            Self::PolicyCreated(policy) | Self::PolicyUpdated(policy) => {
                &policy.name.location.account
            }
            Self::PolicyDeleted(gone) => &gone.name.location.account,
            Self::NetworkRuleCreated(rule) | Self::NetworkRuleUpdated(rule) => {
                &rule.name.location.account
            }
            Self::NetworkRuleDeleted(gone) => &gone.name.location.account,
            Self::RamRoleCreated(role) | Self::RamRoleUpdated(role) => &role.name.account,
            Self::RamRoleDeleted(gone) => &gone.name.account,
            Self::ClientKeyIssued(key)
            | Self::ClientKeyImported(key)
            | Self::ClientKeyEnabled(key)
            | Self::ClientKeyDisabled(key) => &key.name.access_point.location.account,
            Self::ClientKeyDeleted(gone) => &gone.name.access_point.location.account,
            Self::ClientKeyUsed(KeyUse { key, .. })
            | Self::ClientKeyNoticeGiven(KeyNotice { key, .. }) => {
                &key.name.access_point.location.account
            }
        }
    }

    /// The resource that it happened to.
    pub fn resource(&self) -> ResourceName {
        match self {
            Self::AccessPointCreated(access_point)
            | Self::AccessPointUpdated(access_point)
            | Self::AccessPointSuspended(access_point)
            | Self::AccessPointResumed(access_point)
            | Self::SessionsRevoked(access_point) => {
                ResourceName::AccessPoint(access_point.name.clone())
            }
            Self::AccessPointDeleted(gone) => ResourceName::AccessPoint(gone.name.clone()),
            Self::PolicyCreated(policy) | Self::PolicyUpdated(policy) => {
                ResourceName::Policy(policy.name.clone())
            }
            Self::PolicyDeleted(gone) => ResourceName::Policy(gone.name.clone()),
            Self::NetworkRuleCreated(rule) | Self::NetworkRuleUpdated(rule) => {
                ResourceName::NetworkRule(rule.name.clone())
            }
            Self::NetworkRuleDeleted(gone) => ResourceName::NetworkRule(gone.name.clone()),
            Self::RamRoleCreated(role) | Self::RamRoleUpdated(role) => {
                ResourceName::RamRole(role.name.clone())
            }
            Self::RamRoleDeleted(gone) => ResourceName::RamRole(gone.name.clone()),
            Self::ClientKeyIssued(key)
            | Self::ClientKeyImported(key)
            | Self::ClientKeyEnabled(key)
            | Self::ClientKeyDisabled(key) => ResourceName::ClientKey(key.name.clone()),
            Self::ClientKeyDeleted(gone) => ResourceName::ClientKey(gone.name.clone()),
            Self::ClientKeyUsed(KeyUse { key, .. })
            | Self::ClientKeyNoticeGiven(KeyNotice { key, .. }) => {
                ResourceName::ClientKey(key.name.clone())
            }
        }
    }
}
