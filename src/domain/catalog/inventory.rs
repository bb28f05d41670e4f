//! Everything that a catalog holds, one item after the other, and a catalog made of that again: the
//! same one that folding the events gives.

use std::sync::Arc;

use super::{
    super::{
        access_point::AccessPoint,
        client_key::ClientKey,
        name::Id,
        network_rule::NetworkRule,
        policy::Policy,
        ram_role::RamRole,
        request::{RequestId, RequestMark},
    },
    Answered, Catalog, RequestKey,
};

/// One thing that a catalog holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A network rule.
    NetworkRule(Arc<NetworkRule>),
    /// A policy.
    Policy(Arc<Policy>),
    /// A RAM role.
    RamRole(Arc<RamRole>),
    /// An access point.
    AccessPoint(Arc<AccessPoint>),
    /// A client key.
    ClientKey(Arc<ClientKey>),
    /// A request that may be repeated.
    Request(Remembered),
}

/// A request that is remembered, and what it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The caller.
    pub actor: Arc<str>,
    /// The account in which something was changed.
    pub account: Id,
    /// The method called.
    pub method: Arc<str>,
    /// The id that the caller gave.
    pub id: RequestId,
    /// What it led to.
    pub answered: Answered,
}

impl Remembered {
    /// The request.
    pub fn mark(&self) -> RequestMark {
        let (id, method) = (self.id.clone(), Arc::clone(&self.method));
        RequestMark { id, method, fingerprint: self.answered.fingerprint }
    }
}

impl Catalog {
    /// A catalog as of a revision, which must be given the items that it had then, in their order.
    pub fn as_of(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// Everything in it. What others name comes before them; requests come oldest first.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        // Whole, so that what is added to it is not left out here.
        let Self {
            revision: _,
            access_points,
            policies,
            network_rules,
            ram_roles,
            client_keys,
            counts: _,
            policy_holders: _,
            rule_holders: _,
            role_holders: _,
            requests,
            request_ages,
        } = self;
        let rules = network_rules.iter().map(|rule| Item::NetworkRule(Arc::clone(rule)));
        let policies = policies.iter().map(|policy| Item::Policy(Arc::clone(policy)));
        let roles = ram_roles.iter().map(|role| Item::RamRole(Arc::clone(role)));
        let access_points = access_points.iter().map(Arc::clone).map(Item::AccessPoint);
        let client_keys = client_keys.iter().map(Arc::clone).map(Item::ClientKey);
        let requests = request_ages.iter().filter_map(|(time, key)| {
            let answered = requests.get(key)?;
            // Another request may have taken the id over; what is left of the first one is its age.
            (answered.time == *time).then(|| Item::Request(key.remembered(*answered)))
        });
        // Access points are judged by their keys, so those come before them.
        let resources = rules.chain(policies).chain(roles).chain(client_keys).chain(access_points);
        resources.chain(requests)
    }

    /// Takes in the next item.
    pub fn put(&mut self, item: &Item) {
        match item {
            Item::NetworkRule(rule) => self.put_network_rule(rule),
            Item::Policy(policy) => self.put_policy(policy),
            Item::RamRole(role) => self.put_ram_role(role),
            Item::AccessPoint(access_point) => self.put_access_point(access_point),
            Item::ClientKey(key) => self.put_client_key(key),
            Item::Request(remembered) => {
                let Remembered { actor, account, method, id, answered } = remembered.clone();
                let key = RequestKey { actor, account, method, id };
                self.request_ages.enqueue_mut((answered.time, key.clone()));
                self.requests.insert_mut(key, answered);
            }
        }
    }
}

impl RequestKey {
    fn remembered(&self, answered: Answered) -> Remembered {
        let Self { actor, account, method, id } = self.clone();
        Remembered { actor, account, method, id, answered }
    }
}
