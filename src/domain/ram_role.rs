//! A RAM role: a role of the platform that workloads run under, and whom it trusts.

use super::{
    access_point::{Authentication, TrustedRole},
    name::{AccessPointName, RamRoleName},
    resource::Header,
    trust_policy::{Trust, TrustPolicy},
};

/// A role of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamRole {
    /// Its name.
    pub name: RamRoleName,
    /// What every resource has.
    pub header: Header,
    /// Who may assume it.
    pub trust_policy: TrustPolicy,
    /// The revision from which on sessions that it proved are good: whom it trusts is what was proved,
    /// so what is older than its trust policy is dead for good.
    pub sessions_valid_from: u64,
}

impl RamRole {
    /// Whether it is trusted for an environment.
    pub fn trust(&self, trusted_role: TrustedRole) -> &Trust {
        self.trust_policy.trust(trusted_role)
    }

    /// Whether anybody else may assume it than an environment's service, so that to be the role is
    /// not yet to be in that environment.
    pub fn is_shared(&self, trusted_role: TrustedRole) -> bool {
        let service = trusted_role.service();
        let mut others = TrustedRole::ALL.into_iter().filter(|other| other.service() != service);
        others.any(|other| self.trust(other).is_trusted())
            || self.trust_policy.further_principals().next().is_some()
    }
}

impl Authentication {
    /// The role that an access point of that name authenticates by, and the environment that the
    /// role must trust.
    pub fn role(&self, access_point: &AccessPointName) -> Option<(RamRoleName, TrustedRole)> {
        match self {
            Self::ClientKey => None,
            Self::RamRole { trusted_role, role } => {
                let account = access_point.location.account.clone();
                Some((RamRoleName { account, id: role.clone() }, *trusted_role))
            }
        }
    }
}
