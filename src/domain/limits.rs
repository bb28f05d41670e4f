//! How many resources of each kind an account may have, so that one tenant can't take the memory of
//! all.
//!
//! Only what is created is judged by them: a limit that is lowered touches nothing that there is, and
//! the state that the journal gives never depends on them.

use std::fmt;

use super::event::Change;

/// The kinds of resources that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Access points, of all regions.
    AccessPoint,
    /// Policies, of all regions.
    Policy,
    /// Network rules, of all regions.
    NetworkRule,
    /// RAM roles.
    RamRole,
}

/// The most resources of each kind that an account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Access points, of all regions.
    pub access_points: u32,
    /// Policies, of all regions.
    pub policies: u32,
    /// Network rules, of all regions.
    pub network_rules: u32,
    /// RAM roles.
    pub ram_roles: u32,
}

impl Default for Limits {
    /// Far more than one tenant has, and little enough that a mistake in a loop is noticed before the
    /// memory is full: an access point with a policy of its own takes about 2 KiB.
    fn default() -> Self {
        Self {
            access_points: 100_000,
            policies: 100_000,
            network_rules: 100_000,
            ram_roles: 10_000,
        }
    }
}

impl Limits {
    /// No limits: for what doesn't come from a tenant.
    pub const NONE: Self = Self {
        access_points: u32::MAX,
        policies: u32::MAX,
        network_rules: u32::MAX,
        ram_roles: u32::MAX,
    };

    /// The limit of one kind.
    pub fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::AccessPoint => self.access_points,
            Kind::Policy => self.policies,
            Kind::NetworkRule => self.network_rules,
            Kind::RamRole => self.ram_roles,
        }
    }
}

impl Kind {
    /// The kind of what a change creates, if it creates anything.
    pub fn created_by(change: &Change) -> Option<Self> {
        match change {
            Change::AccessPointCreated(_) => Some(Self::AccessPoint),
            Change::PolicyCreated(_) => Some(Self::Policy),
            Change::NetworkRuleCreated(_) => Some(Self::NetworkRule),
            Change::RamRoleCreated(_) => Some(Self::RamRole),
            Change::AccessPointUpdated(_)
            | Change::AccessPointSuspended(_)
            | Change::AccessPointResumed(_)
            | Change::SessionsRevoked(_)
            | Change::AccessPointDeleted(_)
            | Change::PolicyUpdated(_)
            | Change::PolicyDeleted(_)
            | Change::NetworkRuleUpdated(_)
            | Change::NetworkRuleDeleted(_)
            | Change::RamRoleUpdated(_)
            | Change::RamRoleDeleted(_)
            | Change::ClientKeyIssued(_)
            | Change::ClientKeyImported(_)
            | Change::ClientKeyEnabled(_)
            | Change::ClientKeyDisabled(_)
            | Change::ClientKeyDeleted(_)
            | Change::ClientKeyUsed(_)
            | Change::ClientKeyNoticeGiven(_) => None,
        }
    }
}

impl fmt::Display for Kind {
    /// What several of them are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessPoint => "access points",
            Self::Policy => "policies",
            Self::NetworkRule => "network rules",
            Self::RamRole => "RAM roles",
        })
    }
}

/// How many resources of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    access_points: u32,
    policies: u32,
    network_rules: u32,
    ram_roles: u32,
}

impl Counts {
    /// How many there are of one kind.
    pub fn of(self, kind: Kind) -> u32 {
        match kind {
            Kind::AccessPoint => self.access_points,
            Kind::Policy => self.policies,
            Kind::NetworkRule => self.network_rules,
            Kind::RamRole => self.ram_roles,
        }
    }

    /// Counts one more of a kind.
    pub(super) fn add(&mut self, kind: Kind) {
        let count = self.count(kind);
        *count = count.saturating_add(1);
    }

    /// Counts one less of a kind.
    pub(super) fn subtract(&mut self, kind: Kind) {
        let count = self.count(kind);
        *count = count.saturating_sub(1);
    }

    fn count(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::AccessPoint => &mut self.access_points,
            Kind::Policy => &mut self.policies,
            Kind::NetworkRule => &mut self.network_rules,
            Kind::RamRole => &mut self.ram_roles,
        }
    }
}
