//! What checks are decided by: access points, policies and rules, compiled, as of one revision.
//!
//! Policies and rules have dense ids, access points hold policy ids, so that a change costs in
//! proportion to what holds it. Cloning is cheap: the structures share what didn't change.

pub mod sessions;

use std::{fmt, sync::Arc};

use foldhash::fast::RandomState;
use rpds::HashTrieMapSync;

use super::{
    access_point::{AccessPoint, AccessPointState, PolicyIds},
    catalog::{Catalog, inventory::Item},
    check::{Check, InstanceText, Subject},
    decision::{Decision, Denial, DenyReason, Grant},
    event::{Change, Event},
    name::{
        AccessPointName, AccessPointRef, Instance, Location, LocationRef, NetworkRuleName,
        PolicyName, RamRoleName,
    },
    network::{ComparableAddress, Origin},
    network_rule::NetworkRule,
    pattern::Resource,
    patterns::Patterns,
    policy::{NetworkAccess, Policy},
    ranges::{Networks, Ordinal},
    resource::Uid,
    rules::{Action, ActionSet, RulesVersion},
    session::{Session, ShownSession},
    slots::{SlotId, Slots},
    time::UnixNanos,
    trie::{NameTrie, Named},
};
use sessions::{HeldKey, HeldRole};

/// Everything that checks are decided by, as of one revision.
#[derive(Clone, Debug)]
pub struct Rulebook {
    version: RulesVersion,
    revision: u64,
    access_points: NameTrie<Subscriber>,
    /// The names of access points by their uids.
    names: Names,
    policies: Slots<PolicyName, Arc<CompiledPolicy>>,
    rules: Rules,
}

type Names = HashTrieMapSync<Uid, Arc<str>, RandomState>;

type Rules = HashTrieMapSync<NetworkRuleName, CompiledRule, RandomState>;

/// An access point as a check sees it.
#[derive(Debug)]
struct Subscriber {
    /// Shared with the names by uids.
    name: Arc<str>,
    uid: Uid,
    policies: [Option<SlotId>; PolicyIds::MAX],
    state: AccessPointState,
    role: RoleStanding,
    /// The revision from which on sessions are good.
    sessions_valid_from: u64,
    keys: Box<[HeldKey]>,
}

impl Named for Subscriber {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Whether the RAM role that an access point authenticates by trusts its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoleStanding {
    /// There is none to ask.
    Unasked,
    /// It does.
    Trusted(HeldRole),
    /// It doesn't, or isn't there.
    NotTrusted,
}

/// A policy as a check sees it.
#[derive(Debug)]
struct CompiledPolicy {
    scope: Scope,
    actions: ActionSet,
    patterns: Patterns,
    name: Arc<str>,
    networks: CompiledNetworks,
}

/// A policy's scope, in place, so that it takes no look anywhere else.
#[derive(Clone, Copy)]
struct Scope {
    text: [u8; Instance::MAX],
    length: u8,
}

#[derive(Debug)]
enum CompiledNetworks {
    Any,
    Rules {
        index: Networks,
        /// The rules' names by their ordinals.
        rules: Box<[Arc<str>]>,
    },
}

/// A network rule as policies are compiled from it.
#[derive(Clone, Debug)]
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
    /// Its name, where it is known by its uid.
    pub name: Option<&'r str>,
}

impl Rulebook {
    /// A rulebook without any access point, which decides by one version of the rules.
    pub fn new(version: RulesVersion) -> Self {
        Self {
            version,
            revision: 0,
            access_points: NameTrie::default(),
            names: HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::default()),
            policies: Slots::default(),
            rules: HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::default()),
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
        match check.subject {
            Subject::Asserted(name) => {
                let Some(subscriber) = self.find(name, check.location) else {
                    return Judgement::denied(DenyReason::AccessPointNotFound, None);
                };
                self.decide_for(subscriber, check, None)
            }
            Subject::Session(ShownSession::Genuine(session), now) => {
                let Some(subscriber) = self.find_by_uid(session.access_point, check.location)
                else {
                    return Judgement::denied(DenyReason::AccessPointNotFound, None);
                };
                self.decide_for(subscriber, check, Some((&session, now)))
            }
            Subject::Session(ShownSession::Foreign, _) | Subject::Token(_) => {
                Judgement::denied(DenyReason::CredentialInvalid, None)
            }
        }
    }

    fn decide_for<'r>(
        &'r self,
        subscriber: &'r Subscriber,
        check: &Check<'_>,
        session: Option<(&Session, UnixNanos)>,
    ) -> Judgement<'r> {
        if subscriber.state == AccessPointState::Suspended {
            return Judgement::denied(DenyReason::AccessPointSuspended, Some(subscriber));
        }
        let refused = session.and_then(|(session, now)| subscriber.refuse(session, now));
        if let Some(reason) = refused {
            return Judgement::denied(reason, Some(subscriber));
        }
        if subscriber.role == RoleStanding::NotTrusted {
            return Judgement::denied(DenyReason::RoleNotTrusted, Some(subscriber));
        }
        let decision = self.decide_by_policies(subscriber, check);
        Judgement { decision, access_point: Some(subscriber.uid), name: Some(&subscriber.name) }
    }

    fn find_by_uid(&self, uid: Uid, location: LocationRef<'_>) -> Option<&Subscriber> {
        let name = AccessPointRef::parse(self.names.get(&uid)?).ok()?;
        self.find(name, location).filter(|subscriber| subscriber.uid == uid)
    }

    /// Finds an access point; one of another account or region isn't there at all.
    fn find(&self, name: AccessPointRef<'_>, location: LocationRef<'_>) -> Option<&Subscriber> {
        if name.location() != location {
            return None;
        }
        self.access_points.get(name.as_str())
    }

    fn decide_by_policies(&self, subscriber: &Subscriber, check: &Check<'_>) -> Decision<'_> {
        let question = Question::read(check);
        let mut nearest = Denial { reason: DenyReason::ScopeNotCovered, nearest_policy: None };
        // All are found before the first is judged, so that their places are waited for together.
        let policies = subscriber.policies.map(|id| id.and_then(|id| self.policies.get(id)));
        for policy in policies.into_iter().flatten() {
            match policy.judge(&question) {
                Ok(matched) => {
                    return Decision::Allow(Grant::new(&policy.name, matched));
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

impl<'r> Judgement<'r> {
    fn denied(reason: DenyReason, subscriber: Option<&'r Subscriber>) -> Self {
        Self {
            decision: Decision::Deny(Denial { reason, nearest_policy: None }),
            access_point: subscriber.map(|subscriber| subscriber.uid),
            name: subscriber.map(|subscriber| &*subscriber.name),
        }
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

impl Scope {
    fn of(instance: &Instance) -> Self {
        let mut scope = Self { text: [0; Instance::MAX], length: 0 };
        for (place, byte) in scope.text.iter_mut().zip(instance.as_str().bytes()) {
            *place = byte;
            scope.length += 1;
        }
        scope
    }

    fn is(&self, instance: InstanceText<'_>) -> bool {
        self.text.get(..usize::from(self.length)) == Some(instance.as_str().as_bytes())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            self.text.get(..usize::from(self.length)).unwrap_or_default().escape_ascii()
        )
    }
}

impl CompiledPolicy {
    /// Whether it grants, and by which of its rules; or how far it got.
    fn judge(&self, question: &Question<'_>) -> Result<Option<&str>, DenyReason> {
        if !self.scope.is(question.check.instance) {
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

    fn compile(policy: &Policy, version: RulesVersion, rules: &Rules) -> Self {
        let terms = &policy.terms;
        let actions = terms
            .permissions()
            .iter()
            .fold(ActionSet::default(), |all, template| all.union(template.actions(version)));
        Self {
            name: policy.name.to_string().into(),
            scope: Scope::of(terms.scope()),
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
    ) -> Result<Option<&str>, DenyReason> {
        match self {
            Self::Any => Ok(None),
            Self::Rules { index, rules } => origin
                .network
                .zip(address)
                .and_then(|(network, address)| index.first_match(network, address))
                .and_then(|ordinal: Ordinal| rules.get(usize::from(ordinal)))
                .map(|rule| Some(&**rule))
                .ok_or(DenyReason::NetworkNotAllowed),
        }
    }

    fn compile(access: &NetworkAccess, policy: &PolicyName, rules: &Rules) -> Self {
        let NetworkAccess::Rules(ids) = access else { return Self::Any };
        let location = &policy.location;
        let held: Vec<_> = ids
            .iter()
            .map(|id| NetworkRuleName { location: location.clone(), id: id.clone() })
            .filter_map(|name| rules.get(&name))
            .collect();
        Self::Rules {
            index: Networks::merge(held.iter().map(|compiled| &*compiled.rule)),
            rules: held.iter().map(|compiled| Arc::clone(&compiled.name)).collect(),
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

    /// Takes in the next item. The catalog must have the RAM roles and client keys that came before it.
    pub fn put(&mut self, item: &Item, catalog: &Catalog) {
        match item {
            Item::NetworkRule(rule) => self.put_rule(rule),
            Item::Policy(policy) => self.put_policy(policy),
            Item::AccessPoint(access_point) => self.put_access_point(access_point, catalog),
            // Access points come after the roles that they name and after their own keys, and
            // nobody decides by a request.
            Item::RamRole(_) | Item::ClientKey(_) | Item::Request(_) => {}
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
            | Change::AccessPointResumed(access_point)
            | Change::SessionsRevoked(access_point) => {
                self.put_access_point(access_point, catalog);
            }
            Change::AccessPointDeleted(gone) => {
                self.access_points.remove(&gone.name.to_string());
                self.names.remove_mut(&gone.uid);
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
            Change::NetworkRuleDeleted(gone) => {
                self.rules.remove_mut(&gone.name);
            }
            Change::RamRoleCreated(role) | Change::RamRoleUpdated(role) => {
                self.put_holders_of_role(&role.name, catalog);
            }
            Change::RamRoleDeleted(gone) => self.put_holders_of_role(&gone.name, catalog),
            Change::ClientKeyIssued(key)
            | Change::ClientKeyImported(key)
            | Change::ClientKeyEnabled(key)
            | Change::ClientKeyDisabled(key) => self.put_keys_of(&key.name.access_point, catalog),
            Change::ClientKeyDeleted(gone) => self.put_keys_of(&gone.name.access_point, catalog),
            // No decision depends on it.
            Change::ClientKeyUsed(_) | Change::ClientKeyNoticeGiven(_) => {}
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
        let (name, patterns) = (Arc::clone(name), patterns.clone());
        let compiled =
            CompiledPolicy { name, scope: *scope, actions: *actions, patterns, networks };
        self.policies.put(policy.name.clone(), Arc::new(compiled));
    }

    fn put_rule(&mut self, rule: &Arc<NetworkRule>) {
        let name = rule.name.to_string().into();
        let compiled = CompiledRule { name, rule: Arc::clone(rule) };
        self.rules.insert_mut(rule.name.clone(), compiled);
    }

    fn put_holders_of_role(&mut self, role: &RamRoleName, catalog: &Catalog) {
        let holders = catalog.holders_of_role(role);
        for holder in holders.into_iter().flatten().filter_map(|name| catalog.access_point(name)) {
            self.put_access_point(holder, catalog);
        }
    }

    fn put_keys_of(&mut self, access_point: &AccessPointName, catalog: &Catalog) {
        if let Some(access_point) = catalog.access_point(access_point) {
            self.put_access_point(access_point, catalog);
        }
    }

    fn put_access_point(&mut self, access_point: &AccessPoint, catalog: &Catalog) {
        let mut policies = [None; PolicyIds::MAX];
        for (place, id) in policies.iter_mut().zip(access_point.policies.iter()) {
            *place = self.policy_id(&access_point.name.location, id);
        }
        let subscriber = Subscriber {
            name: access_point.name.to_string().into(),
            uid: access_point.header.uid,
            state: access_point.state,
            role: RoleStanding::of(access_point, catalog),
            sessions_valid_from: access_point.sessions_valid_from,
            keys: catalog.client_keys_of(&access_point.name).map(|key| HeldKey::of(key)).collect(),
            policies,
        };
        self.names.insert_mut(subscriber.uid, Arc::clone(&subscriber.name));
        self.access_points.put(subscriber);
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
            return Self::Unasked;
        };
        match catalog.ram_role(&role) {
            Some(role) if role.trust(trusted_role).is_trusted() => {
                Self::Trusted(HeldRole::of(role))
            }
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
