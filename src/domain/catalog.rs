//! All resources as of one revision, and who holds whom: the fold of the journal.
//!
//! Cloning is cheap (the maps share what didn't change), so every revision can be published whole.

pub mod inventory;
mod resources;

use std::{sync::Arc, time::Duration};

use rpds::{HashTrieMapSync, QueueSync, RedBlackTreeMapSync, RedBlackTreeSetSync};

use self::resources::Resources;
use super::{
    access_point::AccessPoint,
    client_key::ClientKey,
    command::KnownKey,
    event::{Change, Event, KeyNotice, KeyUse},
    limits::{Counts, Kind},
    name::{AccessPointName, ClientKeyName, Id, NetworkRuleName, PolicyName, RamRoleName},
    network_rule::NetworkRule,
    policy::Policy,
    ram_role::RamRole,
    request::{Fingerprint, RequestId, RequestMark},
    time::UnixNanos,
};

/// All resources as of one revision.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    revision: u64,
    access_points: Resources<AccessPoint>,
    policies: Resources<Policy>,
    network_rules: Resources<NetworkRule>,
    ram_roles: Resources<RamRole>,
    client_keys: Resources<ClientKey>,
    /// How much of each kind an account has. An account without anything has no entry.
    counts: RedBlackTreeMapSync<Id, Counts>,
    /// Which access points hold a policy. A policy that none holds has no entry.
    policy_holders: RedBlackTreeMapSync<PolicyName, Holders<AccessPointName>>,
    /// Which policies hold a network rule. A rule that none holds has no entry.
    rule_holders: RedBlackTreeMapSync<NetworkRuleName, Holders<PolicyName>>,
    /// Which access points authenticate by a RAM role. A role that none does has no entry; one that
    /// isn't there may have one, for access points once could name what isn't there.
    role_holders: RedBlackTreeMapSync<RamRoleName, Holders<AccessPointName>>,
    requests: HashTrieMapSync<RequestKey, Answered>,
    /// The same requests, oldest first.
    request_ages: QueueSync<(UnixNanos, RequestKey)>,
}

/// The names of those who hold a resource, in order.
pub type Holders<N> = RedBlackTreeSetSync<N>;

/// How long a request id is remembered.
pub const REQUEST_MEMORY: Duration = Duration::from_hours(24);

/// The scope of a request id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RequestKey {
    actor: Arc<str>,
    account: Id,
    method: Arc<str>,
    id: RequestId,
}

/// What a remembered request led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The first event that it led to.
    pub first: u64,
    /// The last event that it led to; all between them are its own.
    pub last: u64,
    /// What it asked.
    pub fingerprint: Fingerprint,
    /// When it was decided.
    pub time: UnixNanos,
}

impl Catalog {
    /// The sequence number of the last event in it; 0 if it is empty.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The access point of that name.
    pub fn access_point(&self, name: &AccessPointName) -> Option<&Arc<AccessPoint>> {
        self.access_points.get(name)
    }

    /// The policy of that name.
    pub fn policy(&self, name: &PolicyName) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// The network rule of that name.
    pub fn network_rule(&self, name: &NetworkRuleName) -> Option<&Arc<NetworkRule>> {
        self.network_rules.get(name)
    }

    /// The RAM role of that name.
    pub fn ram_role(&self, name: &RamRoleName) -> Option<&Arc<RamRole>> {
        self.ram_roles.get(name)
    }

    /// The client key of that name.
    pub fn client_key(&self, name: &ClientKeyName) -> Option<&Arc<ClientKey>> {
        self.client_keys.get(name)
    }

    /// The client keys of an access point, by id.
    pub fn client_keys_of(
        &self,
        access_point: &AccessPointName,
    ) -> impl Iterator<Item = &Arc<ClientKey>> {
        let before = ClientKeyName { access_point: access_point.clone(), id: Id::before_all() };
        self.client_keys.after(before).take_while(move |key| key.name.access_point == *access_point)
    }

    /// All client keys, in order.
    pub fn client_keys(&self) -> impl Iterator<Item = &Arc<ClientKey>> {
        self.client_keys.iter()
    }

    /// The client keys after a name, in order.
    pub(super) fn client_keys_after(
        &self,
        after: &ClientKeyName,
    ) -> impl Iterator<Item = &Arc<ClientKey>> {
        self.client_keys.after(after.clone())
    }

    /// The access points after a name, in order.
    pub(super) fn access_points_after(
        &self,
        after: &AccessPointName,
    ) -> impl Iterator<Item = &Arc<AccessPoint>> {
        self.access_points.after(after.clone())
    }

    /// The policies after a name, in order.
    pub(super) fn policies_after(&self, after: &PolicyName) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.after(after.clone())
    }

    /// The network rules after a name, in order.
    pub(super) fn network_rules_after(
        &self,
        after: &NetworkRuleName,
    ) -> impl Iterator<Item = &Arc<NetworkRule>> {
        self.network_rules.after(after.clone())
    }

    /// The RAM roles after a name, in order.
    pub(super) fn ram_roles_after(
        &self,
        after: &RamRoleName,
    ) -> impl Iterator<Item = &Arc<RamRole>> {
        self.ram_roles.after(after.clone())
    }

    /// How many resources of a kind an account has.
    pub fn count(&self, account: &Id, kind: Kind) -> u32 {
        self.counts.get(account).map_or(0, |counts| counts.of(kind))
    }

    /// The access points that hold a policy; `None` if none does.
    pub fn holders_of_policy(&self, name: &PolicyName) -> Option<&Holders<AccessPointName>> {
        self.policy_holders.get(name)
    }

    /// The policies that hold a network rule; `None` if none does.
    pub fn holders_of_rule(&self, name: &NetworkRuleName) -> Option<&Holders<PolicyName>> {
        self.rule_holders.get(name)
    }

    /// The access points that authenticate by a RAM role; `None` if none does.
    pub fn holders_of_role(&self, name: &RamRoleName) -> Option<&Holders<AccessPointName>> {
        self.role_holders.get(name)
    }

    /// What a request of that id led to, if it is still remembered at `time`.
    pub fn answered(
        &self,
        time: UnixNanos,
        actor: &Arc<str>,
        account: &Id,
        mark: &RequestMark,
    ) -> Option<Answered> {
        let key = RequestKey::new(actor, account, mark);
        let answered = self.requests.get(&key)?;
        (time.since(answered.time) < REQUEST_MEMORY).then_some(*answered)
    }

    /// Takes in the next event. Total: what an event says is what is.
    pub fn evolve(&mut self, event: &Event) {
        self.revision = event.sequence;
        self.remember(event);
        match &event.change {
            Change::AccessPointCreated(access_point)
            | Change::AccessPointUpdated(access_point)
            | Change::AccessPointSuspended(access_point)
            | Change::AccessPointResumed(access_point)
            | Change::SessionsRevoked(access_point) => self.put_access_point(access_point),
            Change::AccessPointDeleted(gone) => {
                self.remove_access_point(&gone.name);
                self.remove_client_keys_of(&gone.name);
            }
            Change::PolicyCreated(policy) | Change::PolicyUpdated(policy) => {
                self.put_policy(policy);
            }
            Change::PolicyDeleted(gone) => self.remove_policy(&gone.name),
            Change::NetworkRuleCreated(rule) | Change::NetworkRuleUpdated(rule) => {
                self.put_network_rule(rule);
            }
            Change::NetworkRuleDeleted(gone) => {
                if self.network_rules.remove(&gone.name) {
                    self.count_less(&gone.name.location.account, Kind::NetworkRule);
                }
            }
            Change::RamRoleCreated(role) | Change::RamRoleUpdated(role) => self.put_ram_role(role),
            Change::RamRoleDeleted(gone) => {
                if self.ram_roles.remove(&gone.name) {
                    self.count_less(&gone.name.account, Kind::RamRole);
                }
            }
            Change::ClientKeyIssued(key)
            | Change::ClientKeyImported(key)
            | Change::ClientKeyEnabled(key)
            | Change::ClientKeyDisabled(key) => self.put_client_key(key),
            Change::ClientKeyDeleted(gone) => {
                self.client_keys.remove(&gone.name);
            }
            Change::ClientKeyUsed(KeyUse { key, time }) => {
                self.change_client_key(key, |known| known.last_use = Some(*time));
            }
            Change::ClientKeyNoticeGiven(KeyNotice { key, notice, end: _ }) => {
                self.change_client_key(key, |known| known.notice = Some(*notice));
            }
        }
    }

    fn put_client_key(&mut self, key: &Arc<ClientKey>) {
        self.client_keys.put(key);
    }

    fn change_client_key(&mut self, key: &KnownKey, change: impl FnOnce(&mut ClientKey)) {
        let known = self.client_keys.get(&key.name).filter(|known| known.header.uid == key.uid);
        let Some(mut known) = known.map(|known| ClientKey::clone(known)) else { return };
        change(&mut known);
        self.put_client_key(&Arc::new(known));
    }

    fn remove_client_keys_of(&mut self, access_point: &AccessPointName) {
        let names: Vec<_> = self.client_keys_of(access_point).map(|key| key.name.clone()).collect();
        for name in names {
            self.client_keys.remove(&name);
        }
    }

    fn put_access_point(&mut self, access_point: &Arc<AccessPoint>) {
        let name = &access_point.name;
        let holds_the_same = self.access_points.get(name).is_some_and(|known| {
            known.policies == access_point.policies
                && known.authentication == access_point.authentication
        });
        if !holds_the_same {
            self.remove_access_point(name);
            for policy in held_policies(access_point) {
                hold(&mut self.policy_holders, policy, name);
            }
            if let Some((role, _)) = access_point.authentication.role(name) {
                hold(&mut self.role_holders, role, name);
            }
        }
        if self.access_points.get(name).is_none() {
            self.count_more(&name.location.account, Kind::AccessPoint);
        }
        self.access_points.put(access_point);
    }

    fn remove_access_point(&mut self, name: &AccessPointName) {
        let Some(access_point) = self.access_points.get(name).cloned() else { return };
        for policy in held_policies(&access_point) {
            let_go(&mut self.policy_holders, policy, name);
        }
        if let Some((role, _)) = access_point.authentication.role(name) {
            let_go(&mut self.role_holders, role, name);
        }
        self.access_points.remove(name);
        self.count_less(&name.location.account, Kind::AccessPoint);
    }

    fn put_policy(&mut self, policy: &Arc<Policy>) {
        let name = &policy.name;
        let known = self.policies.get(name);
        if known.is_none_or(|known| known.terms.rules() != policy.terms.rules()) {
            self.remove_policy(name);
            for rule in held_rules(policy) {
                hold(&mut self.rule_holders, rule, name);
            }
        }
        if self.policies.get(name).is_none() {
            self.count_more(&name.location.account, Kind::Policy);
        }
        self.policies.put(policy);
    }

    fn remove_policy(&mut self, name: &PolicyName) {
        let Some(policy) = self.policies.get(name).cloned() else { return };
        for rule in held_rules(&policy) {
            let_go(&mut self.rule_holders, rule, name);
        }
        self.policies.remove(name);
        self.count_less(&name.location.account, Kind::Policy);
    }

    fn put_network_rule(&mut self, rule: &Arc<NetworkRule>) {
        if self.network_rules.get(&rule.name).is_none() {
            self.count_more(&rule.name.location.account, Kind::NetworkRule);
        }
        self.network_rules.put(rule);
    }

    fn put_ram_role(&mut self, role: &Arc<RamRole>) {
        if self.ram_roles.get(&role.name).is_none() {
            self.count_more(&role.name.account, Kind::RamRole);
        }
        self.ram_roles.put(role);
    }

    fn count_more(&mut self, account: &Id, kind: Kind) {
        let mut counts = self.counts.get(account).copied().unwrap_or_default();
        counts.add(kind);
        self.counts.insert_mut(account.clone(), counts);
    }

    fn count_less(&mut self, account: &Id, kind: Kind) {
        let mut counts = self.counts.get(account).copied().unwrap_or_default();
        counts.subtract(kind);
        if counts == Counts::default() {
            self.counts.remove_mut(account);
        } else {
            self.counts.insert_mut(account.clone(), counts);
        }
    }

    fn remember(&mut self, event: &Event) {
        while let Some((time, key)) = self.request_ages.peek()
            && event.time.since(*time) >= REQUEST_MEMORY
        {
            // A later request may have taken the id over; that one stays.
            if self.requests.get(key).is_some_and(|answered| answered.time == *time) {
                self.requests.remove_mut(&key.clone());
            }
            self.request_ages.dequeue_mut();
        }
        let Some(mark) = &event.request else { return };
        let key = RequestKey::new(&event.actor, event.change.account(), mark);
        let (last, fingerprint, time) = (event.sequence, mark.fingerprint, event.time);
        let is_same = |answered: &&Answered| {
            (answered.last + 1, answered.fingerprint, answered.time) == (last, fingerprint, time)
        };
        // A request may lead to several events, which follow each other.
        if let Some(answered) = self.requests.get(&key).filter(is_same).copied() {
            self.requests.insert_mut(key, Answered { last, ..answered });
            return;
        }
        self.requests.insert_mut(key.clone(), Answered { first: last, last, fingerprint, time });
        self.request_ages.enqueue_mut((time, key));
    }
}

impl RequestKey {
    fn new(actor: &Arc<str>, account: &Id, mark: &RequestMark) -> Self {
        Self {
            actor: Arc::clone(actor),
            account: account.clone(),
            method: Arc::clone(&mark.method),
            id: mark.id.clone(),
        }
    }
}

/// Who holds what, by name of what is held.
type HoldersOf<N, H> = RedBlackTreeMapSync<N, Holders<H>>;

/// Notes that something is held.
fn hold<N: Clone + Ord, H: Clone + Ord>(all: &mut HoldersOf<N, H>, held: N, holder: &H) {
    if let Some(holders) = all.get_mut(&held) {
        holders.insert_mut(holder.clone());
    } else {
        all.insert_mut(held, Holders::default().insert(holder.clone()));
    }
}

/// Notes that something is held by one less. What nobody holds has no entry.
fn let_go<N: Clone + Ord, H: Clone + Ord>(all: &mut HoldersOf<N, H>, held: N, holder: &H) {
    let Some(holders) = all.get_mut(&held) else { return };
    holders.remove_mut(holder);
    if holders.is_empty() {
        all.remove_mut(&held);
    }
}

fn held_policies(access_point: &AccessPoint) -> impl Iterator<Item = PolicyName> {
    access_point
        .policies
        .iter()
        .map(|id| PolicyName { location: access_point.name.location.clone(), id: id.clone() })
}

fn held_rules(policy: &Policy) -> impl Iterator<Item = NetworkRuleName> {
    policy
        .terms
        .rules()
        .iter()
        .map(|id| NetworkRuleName { location: policy.name.location.clone(), id: id.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::{Batch, Request},
        resource::Uid,
        testing::{
            World, access_point_name, create_access_point, create_network_rule, create_policy,
            network_rule_name, policy_name,
        },
    };

    /// A policy of that name, created at that time under a request id of its own.
    fn create_marked(world: &mut World, name: &str, time: UnixNanos) {
        let command = create_policy(name, "shared", "SECRET_USER", "secret/*", "any");
        let mark = RequestMark {
            id: RequestId::parse(name).unwrap(),
            method: "CreatePolicy".into(),
            fingerprint: Fingerprint([0; 32]),
        };
        let request = Request { time, mark: Some(mark), ..world.request(command) };
        assert!(world.ask(&request).is_ok());
    }

    #[test]
    fn forgotten_requests_take_no_room() {
        let mut world = World::given([]);
        let day = i64::try_from(REQUEST_MEMORY.as_nanos()).unwrap();
        for (name, time, remembered) in
            [("a", 0, 1), ("b", 1, 2), ("c", day - 1, 3), ("d", day, 3), ("e", 3 * day, 1)]
        {
            create_marked(&mut world, name, UnixNanos(time));
            let catalog = &world.catalog;
            assert_eq!(catalog.requests.size(), remembered, "{name}");
            assert_eq!(catalog.request_ages.len(), remembered, "{name}");
        }
    }

    #[test]
    fn a_request_takes_the_same_room_however_many_events_it_led_to() {
        let mut world = World::given([]);
        let mark = RequestMark {
            id: RequestId::parse("r").unwrap(),
            method: "ApplyChanges".into(),
            fingerprint: Fingerprint([0; 32]),
        };
        let commands = ["a", "b", "c"].map(|name| {
            let command = create_network_rule(name, "public", "10.0.0.0/8");
            (Uid(uuid::Uuid::nil()), command)
        });
        let batch = Batch::of(&"operator".into(), UnixNanos(1), Some(&mark), commands);
        world.carry_out_all(&batch).unwrap();
        assert_eq!((world.catalog.requests.size(), world.catalog.request_ages.len()), (1, 1));
    }

    /// The next event, with a change that no command leads to yet.
    fn next_event(world: &World, change: Change) -> Event {
        let last = world.events.last().unwrap().clone();
        Event { sequence: last.sequence + 1, change, ..last }
    }

    #[test]
    fn what_an_event_says_of_something_known_takes_the_place_of_what_was_known() {
        let mut world = World::given([
            create_network_rule("n", "public", "10.0.0.0/8"),
            create_network_rule("m", "public", "10.0.0.0/8"),
            create_policy("p", "shared", "SECRET_USER", "secret/*", "n"),
            create_policy("q", "shared", "SECRET_USER", "secret/*", "m"),
            create_access_point("a", "p"),
            create_access_point("b", "q"),
        ]);
        let (p, q) = (policy_name("p"), policy_name("q"));
        let (a, b) = (access_point_name("a"), access_point_name("b"));
        let like_q = Policy { name: p.clone(), ..Policy::clone(world.catalog.policy(&q).unwrap()) };
        let event = next_event(&world, Change::PolicyCreated(Arc::new(like_q)));
        world.catalog.evolve(&event);
        assert_eq!(world.catalog.holders_of_rule(&network_rule_name("n")), None);
        let holders = world.catalog.holders_of_rule(&network_rule_name("m")).unwrap();
        assert_eq!(holders.iter().collect::<Vec<_>>(), [&p, &q]);

        let other = AccessPoint::clone(world.catalog.access_point(&b).unwrap());
        let like_b = AccessPoint { name: a.clone(), ..other };
        let event = next_event(&world, Change::AccessPointCreated(Arc::new(like_b)));
        world.catalog.evolve(&event);
        assert_eq!(world.catalog.holders_of_policy(&p), None);
        let holders = world.catalog.holders_of_policy(&q).unwrap();
        assert_eq!(holders.iter().collect::<Vec<_>>(), [&a, &b]);
    }
}
