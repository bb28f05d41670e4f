//! What checks are decided by: access points, policies and rules, compiled, as of one revision.
//!
//! Policies and rules have dense ids, access points hold policy ids, so that a change costs in
//! proportion to what holds it. Cloning is cheap: the structures share what didn't change.

use std::sync::Arc;

use foldhash::fast::RandomState;
use rpds::HashTrieMapSync;

use super::{
    access_point::{AccessPoint, AccessPointState, PolicyIds},
    catalog::{Catalog, inventory::Item},
    check::{Check, Subject},
    decision::{Decision, Denial, DenyReason, Grant},
    event::{Change, Event},
    name::{
        AccessPointRef, Instance, Location, LocationRef, NetworkRuleName, PolicyName, RamRoleName,
    },
    network::{ComparableAddress, Origin},
    network_rule::NetworkRule,
    pattern::Resource,
    patterns::Patterns,
    policy::{NetworkAccess, Policy},
    ranges::{Networks, Ordinal},
    resource::Uid,
    rules::{Action, ActionSet, RulesVersion},
    slots::{SlotId, Slots},
};

/// Everything that checks are decided by, as of one revision.
#[derive(Clone, Debug)]
pub struct Rulebook {
    version: RulesVersion,
    revision: u64,
    access_points: HashTrieMapSync<Arc<str>, Arc<Subscriber>, RandomState>,
    policies: Slots<PolicyName, Arc<CompiledPolicy>>,
    rules: Slots<NetworkRuleName, Arc<CompiledRule>>,
}

/// An access point as a check sees it.
#[derive(Debug)]
struct Subscriber {
    uid: Uid,
    state: AccessPointState,
    role: RoleStanding,
    policies: [Option<SlotId>; PolicyIds::MAX],
}

/// Whether the RAM role that an access point authenticates by trusts its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoleStanding {
    /// It does, or there is none to ask.
    Good,
    /// It doesn't, or isn't there.
    NotTrusted,
}

/// A policy as a check sees it.
#[derive(Debug)]
struct CompiledPolicy {
    name: Arc<str>,
    scope: Instance,
    actions: ActionSet,
    patterns: Patterns,
    networks: CompiledNetworks,
}

#[derive(Debug)]
enum CompiledNetworks {
    Any,
    Rules {
        index: Networks,
        /// The rules by their ordinals.
        rules: Box<[SlotId]>,
    },
}

/// A network rule as policies are compiled from it.
#[derive(Debug)]
struct CompiledRule {
    name: Arc<str>,
    rule: Arc<NetworkRule>,
}

/// A decision, and what the record of it says about the access point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement<'r> {
    /// The decision.
    pub decision: Decision<'r>,
    /// The access point's uid, if it exists.
    pub access_point: Option<Uid>,
}

impl Rulebook {
    /// A rulebook without any access point, which decides by one version of the rules.
    pub fn new(version: RulesVersion) -> Self {
        Self {
            version,
            revision: 0,
            access_points: HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::default()),
            policies: Slots::default(),
            rules: Slots::default(),
        }
    }

    /// The version of the rules that it decides by.
    pub fn version(&self) -> RulesVersion {
        self.version
    }

    /// The sequence number of the last event in it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Decides. Pure: the same rulebook and check give the same answer, always.
    pub fn decide(&self, check: &Check<'_>) -> Judgement<'_> {
        let Subject::Asserted(name) = check.subject;
        let Some(subscriber) = self.find(name, check.location) else {
            return Judgement::denied(DenyReason::AccessPointNotFound, None);
        };
        if subscriber.state == AccessPointState::Suspended {
            return Judgement::denied(DenyReason::AccessPointSuspended, Some(subscriber.uid));
        }
        if subscriber.role == RoleStanding::NotTrusted {
            return Judgement::denied(DenyReason::RoleNotTrusted, Some(subscriber.uid));
        }
        let decision = self.decide_by_policies(subscriber, check);
        Judgement { decision, access_point: Some(subscriber.uid) }
    }

    /// Finds an access point; one of another account or region isn't there at all.
    fn find(&self, name: AccessPointRef<'_>, location: LocationRef<'_>) -> Option<&Subscriber> {
        if name.location() != location {
            return None;
        }
        self.access_points.get(name.as_str()).map(Arc::as_ref)
    }

    fn decide_by_policies(&self, subscriber: &Subscriber, check: &Check<'_>) -> Decision<'_> {
        let question = Question::read(check);
        let mut nearest = Denial { reason: DenyReason::ScopeNotCovered, nearest_policy: None };
        for id in subscriber.policies.iter().flatten() {
            let Some(policy) = self.policies.get(*id) else { continue };
            match policy.judge(&question) {
                Ok(matched) => {
                    let rule = matched.and_then(|id| self.rules.get(id)).map(|rule| &*rule.name);
                    return Decision::Allow(Grant::new(&policy.name, rule));
                }
                Err(reason) if reason > nearest.reason || nearest.nearest_policy.is_none() => {
                    nearest = Denial { reason, nearest_policy: Some(&policy.name) };
                }
                Err(_) => {}
            }
        }
        Decision::Deny(nearest)
    }
}

impl Judgement<'_> {
    fn denied(reason: DenyReason, access_point: Option<Uid>) -> Self {
        let decision = Decision::Deny(Denial { reason, nearest_policy: None });
        Self { decision, access_point }
    }
}

/// A check, read once for all policies.
struct Question<'a> {
    action: Option<Action>,
    resource: Resource<'a>,
    check: &'a Check<'a>,
    address: Option<ComparableAddress>,
}

impl<'a> Question<'a> {
    fn read(check: &'a Check<'a>) -> Self {
        Self {
            action: Action::from_name(check.action.as_str()),
            resource: Resource::read(check.resource.as_str()),
            check,
            address: check.origin.address.map(ComparableAddress::from),
        }
    }
}

impl CompiledPolicy {
    /// Whether it grants, and by which of its rules; or how far it got.
    fn judge(&self, question: &Question<'_>) -> Result<Option<SlotId>, DenyReason> {
        if !question.check.instance.is(&self.scope) {
            return Err(DenyReason::ScopeNotCovered);
        }
        let permitted = question
            .action
            .is_some_and(|action| self.actions.contains(action) && action.fits(&question.resource));
        if !permitted {
            return Err(DenyReason::ActionNotPermitted);
        }
        if !self.patterns.match_resource(&question.resource) {
            return Err(DenyReason::ResourceNotCovered);
        }
        self.networks.admit(&question.check.origin, question.address)
    }

    fn compile(
        policy: &Policy,
        version: RulesVersion,
        rules: &Slots<NetworkRuleName, Arc<CompiledRule>>,
    ) -> Self {
        let terms = &policy.terms;
        let actions = terms
            .permissions()
            .iter()
            .fold(ActionSet::default(), |all, template| all.union(template.actions(version)));
        Self {
            name: policy.name.to_string().into(),
            scope: terms.scope().clone(),
            actions,
            patterns: Patterns::compile(terms.resources()),
            networks: CompiledNetworks::compile(terms.network_access(), &policy.name, rules),
        }
    }
}

impl CompiledNetworks {
    fn admit(
        &self,
        origin: &Origin<'_>,
        address: Option<ComparableAddress>,
    ) -> Result<Option<SlotId>, DenyReason> {
        match self {
            Self::Any => Ok(None),
            Self::Rules { index, rules } => origin
                .network
                .zip(address)
                .and_then(|(network, address)| index.first_match(network, address))
                .and_then(|ordinal: Ordinal| rules.get(usize::from(ordinal)).copied())
                .map(Some)
                .ok_or(DenyReason::NetworkNotAllowed),
        }
    }

    fn compile(
        access: &NetworkAccess,
        policy: &PolicyName,
        rules: &Slots<NetworkRuleName, Arc<CompiledRule>>,
    ) -> Self {
        let NetworkAccess::Rules(ids) = access else { return Self::Any };
        let location = &policy.location;
        let held: Vec<_> = ids
            .iter()
            .map(|id| NetworkRuleName { location: location.clone(), id: id.clone() })
            .filter_map(|name| rules.find(&name))
            .collect();
        Self::Rules {
            index: Networks::merge(held.iter().map(|(_, compiled)| &*compiled.rule)),
            rules: held.iter().map(|(id, _)| *id).collect(),
        }
    }
}

/// How events change it.
impl Rulebook {
    /// A rulebook as of a revision, which must be given the items of the catalog that belongs to it,
    /// in their order.
    pub fn as_of(version: RulesVersion, revision: u64) -> Self {
        Self { revision, ..Self::new(version) }
    }

    /// Takes in the next item. The catalog must have the RAM roles that came before it.
    pub fn put(&mut self, item: &Item, catalog: &Catalog) {
        match item {
            Item::NetworkRule(rule) => self.put_rule(rule),
            Item::Policy(policy) => self.put_policy(policy),
            Item::AccessPoint(access_point) => self.put_access_point(access_point, catalog),
            // Access points come after the roles that they name, and nobody decides by a request.
            Item::RamRole(_) | Item::Request(_) => {}
        }
    }

    /// Takes in the next event, which the catalog has taken in already. Total, like
    /// [`Catalog::evolve`].
    pub fn evolve(&mut self, event: &Event, catalog: &Catalog) {
        self.revision = event.sequence;
        match &event.change {
            Change::AccessPointCreated(access_point)
            | Change::AccessPointUpdated(access_point)
            | Change::AccessPointSuspended(access_point)
            | Change::AccessPointResumed(access_point) => {
                self.put_access_point(access_point, catalog);
            }
            Change::AccessPointDeleted(gone) => {
                self.access_points.remove_mut(gone.name.to_string().as_str());
            }
            Change::PolicyCreated(policy) | Change::PolicyUpdated(policy) => {
                self.put_policy(policy);
            }
            // INVARIANT: nothing holds what is deleted, or who gets its place would be held instead.
            Change::PolicyDeleted(gone) => self.policies.remove(&gone.name),
            Change::NetworkRuleCreated(rule) => self.put_rule(rule),
            Change::NetworkRuleUpdated(rule) => {
                self.put_rule(rule);
                let holders = catalog.holders_of_rule(&rule.name);
                for policy in holders.into_iter().flatten().filter_map(|name| catalog.policy(name))
                {
                    self.put_networks(policy);
                }
            }
            Change::NetworkRuleDeleted(gone) => self.rules.remove(&gone.name),
            Change::RamRoleCreated(role) | Change::RamRoleUpdated(role) => {
                self.put_holders_of_role(&role.name, catalog);
            }
            Change::RamRoleDeleted(gone) => self.put_holders_of_role(&gone.name, catalog),
        }
    }

    fn put_policy(&mut self, policy: &Policy) {
        let compiled = CompiledPolicy::compile(policy, self.version, &self.rules);
        self.policies.put(policy.name.clone(), Arc::new(compiled));
    }

    /// Compiles again what of a policy depends on its rules.
    fn put_networks(&mut self, policy: &Policy) {
        let Some((_, known)) = self.policies.find(&policy.name) else { return };
        let access = policy.terms.network_access();
        let networks = CompiledNetworks::compile(access, &policy.name, &self.rules);
        let CompiledPolicy { name, scope, actions, patterns, networks: _ } = &**known;
        let (name, scope, patterns) = (Arc::clone(name), scope.clone(), patterns.clone());
        let compiled = CompiledPolicy { name, scope, actions: *actions, patterns, networks };
        self.policies.put(policy.name.clone(), Arc::new(compiled));
    }

    fn put_rule(&mut self, rule: &Arc<NetworkRule>) {
        let name = rule.name.to_string().into();
        let compiled = CompiledRule { name, rule: Arc::clone(rule) };
        self.rules.put(rule.name.clone(), Arc::new(compiled));
    }

    fn put_holders_of_role(&mut self, role: &RamRoleName, catalog: &Catalog) {
        let holders = catalog.holders_of_role(role);
        for holder in holders.into_iter().flatten().filter_map(|name| catalog.access_point(name)) {
            self.put_access_point(holder, catalog);
        }
    }

    fn put_access_point(&mut self, access_point: &AccessPoint, catalog: &Catalog) {
        let mut policies = [None; PolicyIds::MAX];
        for (place, id) in policies.iter_mut().zip(access_point.policies.iter()) {
            *place = self.policy_id(&access_point.name.location, id);
        }
        let subscriber = Subscriber {
            uid: access_point.header.uid,
            state: access_point.state,
            role: RoleStanding::of(access_point, catalog),
            policies,
        };
        self.access_points.insert_mut(access_point.name.to_string().into(), Arc::new(subscriber));
    }

    fn policy_id(&self, location: &Location, id: &super::name::Id) -> Option<SlotId> {
        let name = PolicyName { location: location.clone(), id: id.clone() };
        self.policies.find(&name).map(|(id, _)| id)
    }
}

impl RoleStanding {
    fn of(access_point: &AccessPoint, catalog: &Catalog) -> Self {
        let Some((role, trusted_role)) = access_point.authentication.role(&access_point.name)
        else {
            return Self::Good;
        };
        match catalog.ram_role(&role) {
            Some(role) if role.trust(trusted_role).is_trusted() => Self::Good,
            Some(_) | None => Self::NotTrusted,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod roles;

#[cfg(test)]
mod properties;

#[cfg(test)]
mod removals;
