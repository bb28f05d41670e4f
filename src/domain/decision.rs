//! The answer to a check. Only the rulebook can make one that allows.

/// The answer to a check, with names borrowed from the rulebook that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'r> {
    /// It may.
    Allow(Grant<'r>),
    /// It may not.
    Deny(Denial<'r>),
}

/// Shows that a policy grants what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'r> {
    policy: &'r str,
    network_rule: Option<&'r str>,
}

impl<'r> Grant<'r> {
    /// Only [`super::rulebook::Rulebook::decide`] calls this.
    pub(super) fn new(policy: &'r str, network_rule: Option<&'r str>) -> Self {
        Self { policy, network_rule }
    }

    /// The name of the policy that grants.
    pub fn policy(&self) -> &'r str {
        self.policy
    }

    /// The name of the network rule that matches; `None` if the policy is open to any network.
    pub fn network_rule(&self) -> Option<&'r str> {
        self.network_rule
    }
}

/// Says why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial<'r> {
    /// Why not.
    pub reason: DenyReason,
    /// The name of the policy that came nearest, if it is the policies that deny.
    pub nearest_policy: Option<&'r str>,
}

/// Why a check is denied. Ordered: the later, the nearer it came to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DenyReason {
    /// There is no such access point there.
    AccessPointNotFound,
    /// The access point is suspended.
    AccessPointSuspended,
    /// The credential isn't there any more.
    CredentialUnknown,
    /// The credential isn't genuine, or was revoked.
    CredentialInvalid,
    /// The credential is disabled.
    CredentialDisabled,
    /// The credential isn't valid yet.
    CredentialNotYetValid,
    /// The credential, or the session, has expired.
    CredentialExpired,
    /// The access point authenticates in another way.
    AuthenticationMethodMismatch,
    /// The access point's RAM role doesn't trust its environment, or isn't there.
    RoleNotTrusted,
    /// No policy has that scope.
    ScopeNotCovered,
    /// No policy of that scope permits the action on that kind of resource.
    ActionNotPermitted,
    /// No policy that permits the action covers the resource.
    ResourceNotCovered,
    /// No policy that covers the resource admits the origin.
    NetworkNotAllowed,
}

impl DenyReason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::AccessPointNotFound,
        Self::AccessPointSuspended,
        Self::CredentialUnknown,
        Self::CredentialInvalid,
        Self::CredentialDisabled,
        Self::CredentialNotYetValid,
        Self::CredentialExpired,
        Self::AuthenticationMethodMismatch,
        Self::RoleNotTrusted,
        Self::ScopeNotCovered,
        Self::ActionNotPermitted,
        Self::ResourceNotCovered,
        Self::NetworkNotAllowed,
    ];
}
