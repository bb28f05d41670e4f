//! An access point: how an application authenticates, and which policies it has.

use std::fmt;

use super::{
    distinct::distinct,
    name::{AccessPointName, Id},
    resource::Header,
};

/// An application's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPoint {
    /// Its name.
    pub name: AccessPointName,
    /// What every resource has.
    pub header: Header,
    /// How the application authenticates.
    pub authentication: Authentication,
    /// Its policies.
    pub policies: PolicyIds,
    /// Whether it may be granted anything.
    pub state: AccessPointState,
    /// The revision from which on its sessions are good; what is older is dead for good.
    pub sessions_valid_from: u64,
}

/// Whether an access point may be granted anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessPointState {
    /// Its policies decide.
    Active,
    /// It is denied everything.
    Suspended,
}

/// How an application authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By the RAM role that its workload runs under.
    RamRole {
        /// The environment that the role must trust.
        trusted_role: TrustedRole,
        /// The role's id in the access point's account.
        role: Id,
    },
    /// By a client key.
    ClientKey,
}

/// An environment that a RAM role can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedRole {
    /// An Elastic Compute Service instance.
    EcsInstance,
    /// A worker node of Container Service for Kubernetes.
    AckWorker,
    /// Function Compute.
    FunctionCompute,
}

impl TrustedRole {
    /// Every environment.
    pub const ALL: [Self; 3] = [Self::EcsInstance, Self::AckWorker, Self::FunctionCompute];
}

impl fmt::Display for TrustedRole {
    /// Its name in the API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcsInstance => "ECS_INSTANCE",
            Self::AckWorker => "ACK_WORKER",
            Self::FunctionCompute => "FUNCTION_COMPUTE",
        })
    }
}

/// The ids of 1 to 3 different policies, in the operator's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyIds(Box<[Id]>);

/// Why some ids are no list of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must name 1 to 3 policies")]
pub struct InvalidPolicyIds;

impl PolicyIds {
    /// The most policies an access point has.
    pub const MAX: usize = 3;

    /// Folds repeated ids and checks how many are left.
    pub fn new(ids: impl IntoIterator<Item = Id>) -> Result<Self, InvalidPolicyIds> {
        let ids = distinct(ids);
        if (1..=Self::MAX).contains(&ids.len()) {
            Ok(Self(ids.into()))
        } else {
            Err(InvalidPolicyIds)
        }
    }

    /// The ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Id> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_point_has_one_to_three_different_policies() {
        let ids = |texts: &[&str]| texts.iter().map(|t| Id::parse(t).unwrap()).collect::<Vec<_>>();
        assert_eq!(PolicyIds::new(ids(&[])), Err(InvalidPolicyIds));
        assert_eq!(PolicyIds::new(ids(&["a", "b", "c", "d"])), Err(InvalidPolicyIds));
        let folded = PolicyIds::new(ids(&["b", "a", "b", "c"])).unwrap();
        assert_eq!(folded.iter().map(Id::as_str).collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
