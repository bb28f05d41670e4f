//! Lists of what there is in one location, filtered, by name, a page at a time.
//!
//! A page begins after the last id of the page before, so that what is created or deleted meanwhile
//! makes nothing else appear twice or not at all.

use std::{ops::Bound, sync::Arc};

use super::{
    access_point::{AccessPoint, AccessPointState, Authentication, TrustedRole},
    catalog::{Catalog, Holders},
    client_key::ClientKey,
    name::{
        AccessPointName, AccountName, ClientKeyName, Id, Instance, Location, NetworkRuleName,
        PolicyName, RamRoleName,
    },
    network_rule::NetworkRule,
    policy::Policy,
    ram_role::RamRole,
    room::{MAX_ANSWER_BYTES, Room},
};

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// The last id of the page before.
    pub after: Option<Id>,
    /// The most items.
    pub size: usize,
}

/// A page, and whether another one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items, by name.
    pub items: Vec<T>,
    /// Where the next page begins: after this id.
    pub next_after: Option<Id>,
}

/// Which access points are wanted: those to which all that is given applies.
#[derive(Clone, Debug, Default)]
pub struct AccessPointFilter {
    /// They have this policy.
    pub policy: Option<Id>,
    /// They authenticate by this RAM role.
    pub role: Option<Id>,
    /// They are in this state.
    pub state: Option<AccessPointState>,
}

/// Which policies are wanted: those to which all that is given applies.
#[derive(Clone, Debug, Default)]
pub struct PolicyFilter {
    /// They name this network rule.
    pub network_rule: Option<Id>,
    /// They have this scope.
    pub scope: Option<Instance>,
}

/// Which RAM roles are wanted: those to which all that is given applies.
#[derive(Clone, Debug, Default)]
pub struct RamRoleFilter {
    /// They are trusted for this environment.
    pub trusted_role: Option<TrustedRole>,
}

impl Catalog {
    /// Lists access points.
    pub fn list_access_points(
        &self,
        location: &Location,
        filter: &AccessPointFilter,
        page: &Page,
    ) -> Listed<Arc<AccessPoint>> {
        let after = AccessPointName { location: location.clone(), id: page.begin() };
        let is_wanted = |item: &&Arc<AccessPoint>| filter.wants(item);
        let id = |item: &Arc<AccessPoint>| item.name.id.clone();
        // Who holds a policy or a role is known without looking at everybody.
        match filter {
            AccessPointFilter { policy: Some(policy), .. } => {
                let policy = PolicyName { location: location.clone(), id: policy.clone() };
                let names = names_after(self.holders_of_policy(&policy), after);
                let holders = names.filter_map(|name| self.access_point(name));
                page.cut(holders.filter(is_wanted), id)
            }
            AccessPointFilter { role: Some(role), .. } => {
                let role = RamRoleName { account: location.account.clone(), id: role.clone() };
                // A role has holders in every region.
                let names = names_after(self.holders_of_role(&role), after)
                    .take_while(|name| name.location == *location);
                let holders = names.filter_map(|name| self.access_point(name));
                page.cut(holders.filter(is_wanted), id)
            }
            AccessPointFilter { policy: None, role: None, state: _ } => {
                let here = self
                    .access_points_after(&after)
                    .take_while(|item| item.name.location == *location);
                page.cut(here.filter(is_wanted), id)
            }
        }
    }

    /// Lists policies.
    pub fn list_policies(
        &self,
        location: &Location,
        filter: &PolicyFilter,
        page: &Page,
    ) -> Listed<Arc<Policy>> {
        let after = PolicyName { location: location.clone(), id: page.begin() };
        let is_wanted = |item: &&Arc<Policy>| {
            filter.scope.as_ref().is_none_or(|scope| item.terms.scope() == scope)
        };
        let id = |item: &Arc<Policy>| item.name.id.clone();
        match &filter.network_rule {
            Some(rule) => {
                let rule = NetworkRuleName { location: location.clone(), id: rule.clone() };
                let names = names_after(self.holders_of_rule(&rule), after);
                page.cut(names.filter_map(|name| self.policy(name)).filter(is_wanted), id)
            }
            None => {
                let here =
                    self.policies_after(&after).take_while(|item| item.name.location == *location);
                page.cut(here.filter(is_wanted), id)
            }
        }
    }

    /// Lists network rules.
    pub fn list_network_rules(&self, location: &Location, page: &Page) -> Listed<Arc<NetworkRule>> {
        let after = NetworkRuleName { location: location.clone(), id: page.begin() };
        let here =
            self.network_rules_after(&after).take_while(|item| item.name.location == *location);
        page.cut(here, |item| item.name.id.clone())
    }

    /// Lists RAM roles.
    pub fn list_ram_roles(
        &self,
        account: &AccountName,
        filter: &RamRoleFilter,
        page: &Page,
    ) -> Listed<Arc<RamRole>> {
        let after = RamRoleName { account: account.0.clone(), id: page.begin() };
        let here = self.ram_roles_after(&after).take_while(|item| item.name.account == account.0);
        let is_wanted = |item: &&Arc<RamRole>| {
            filter.trusted_role.is_none_or(|trusted_role| item.trust(trusted_role).is_trusted())
        };
        page.cut(here.filter(is_wanted), |item| item.name.id.clone())
    }
}

impl Catalog {
    /// Lists the client keys of an access point.
    pub fn list_client_keys(
        &self,
        access_point: &AccessPointName,
        page: &Page,
    ) -> Listed<Arc<ClientKey>> {
        let after = ClientKeyName { access_point: access_point.clone(), id: page.begin() };
        let here = self
            .client_keys_after(&after)
            .take_while(|key| key.name.access_point == after.access_point);
        page.cut(here, |item| item.name.id.clone())
    }
}

impl AccessPointFilter {
    fn wants(&self, access_point: &AccessPoint) -> bool {
        let has_role = |wanted: &Id| match &access_point.authentication {
            Authentication::RamRole { role, .. } => role == wanted,
            Authentication::ClientKey => false,
        };
        self.role.as_ref().is_none_or(has_role)
            && self.state.is_none_or(|state| access_point.state == state)
    }
}

impl Page {
    fn begin(&self) -> Id {
        self.after.clone().unwrap_or_else(Id::before_all)
    }

    /// As many items as are wanted and fit into an answer, but at least one.
    fn cut<'a, T: Room + 'a>(
        &self,
        items: impl Iterator<Item = &'a Arc<T>>,
        id: impl Fn(&Arc<T>) -> Id,
    ) -> Listed<Arc<T>> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        for item in items {
            bytes += item.approximate_bytes();
            let is_full = page.len() == self.size || bytes > MAX_ANSWER_BYTES;
            if is_full && let Some(last) = page.last() {
                let next_after = Some(id(last));
                return Listed { items: page, next_after };
            }
            page.push(Arc::clone(item));
        }
        Listed { items: page, next_after: None }
    }
}

fn names_after<N: Ord>(holders: Option<&Holders<N>>, after: N) -> impl Iterator<Item = &N> {
    let range = (Bound::Excluded(after), Bound::Unbounded);
    holders.map(move |names| names.range(range)).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::testing::{
        ABROAD, HOME, World, as_update, create_access_point, create_network_rule, create_policy,
        delete_access_point, full_name, suspend_access_point,
    };

    fn world(count: usize) -> World {
        let mut commands = vec![
            create_network_rule("n", "public", "10.0.0.0/8"),
            create_policy("p", "shared", "SECRET_USER", "secret/*", "n"),
            create_policy("q", "kst-1", "SECRET_USER", "secret/*", "any"),
            create_policy(
                &full_name(ABROAD, "policies", "p"),
                "shared",
                "SECRET_USER",
                "secret/*",
                "any",
            ),
            create_access_point(&full_name(ABROAD, "accessPoints", "a000"), "p"),
        ];
        for number in 0..count {
            let policies = if number % 3 == 0 { "p q" } else { "p" };
            commands.push(create_access_point(&format!("a{number:03}"), policies));
        }
        World::given(commands)
    }

    fn home() -> Location {
        Location::parse(HOME).unwrap()
    }

    /// All ids, a page at a time; `between` happens between two pages.
    fn pages(
        world: &mut World,
        filter: &AccessPointFilter,
        size: usize,
        between: impl Fn(&mut World, usize),
    ) -> Vec<String> {
        let (mut ids, mut after) = (Vec::new(), None);
        for number in 0.. {
            let page = Page { after, size };
            let listed = world.catalog.list_access_points(&home(), filter, &page);
            assert!(listed.items.len() <= size);
            ids.extend(listed.items.iter().map(|item| item.name.id.to_string()));
            after = listed.next_after;
            if after.is_none() {
                break;
            }
            between(world, number);
        }
        ids
    }

    #[test]
    fn filters_leave_out_what_they_do_not_name() {
        let mut world = world(9);
        world.carry_out(suspend_access_point("a003"));
        let id = |text| Some(Id::parse(text).unwrap());
        let state = Some(AccessPointState::Suspended);
        for (filter, wanted) in [
            (AccessPointFilter { policy: id("q"), ..Default::default() }, "a000 a003 a006"),
            (AccessPointFilter { policy: id("q"), state, ..Default::default() }, "a003"),
            (AccessPointFilter { policy: id("none"), ..Default::default() }, ""),
            (AccessPointFilter { role: id("ECSRole"), ..Default::default() }, ""),
        ] {
            for size in [1, 2, 50] {
                let ids = pages(&mut world, &filter, size, |_, _| {}).join(" ");
                assert_eq!(ids, wanted, "{filter:?}");
            }
        }
    }

    #[test]
    fn policies_are_listed_by_rule_and_by_scope() {
        let world = world(0);
        let page = Page { after: None, size: 50 };
        let list = |filter: &PolicyFilter| {
            let listed = world.catalog.list_policies(&home(), filter, &page);
            listed.items.iter().map(|item| item.name.id.to_string()).collect::<Vec<_>>().join(" ")
        };
        let network_rule = Some(Id::parse("n").unwrap());
        let scope = Some(Instance::parse("kst-1").unwrap());
        assert_eq!(list(&PolicyFilter::default()), "p q");
        assert_eq!(list(&PolicyFilter { network_rule: network_rule.clone(), scope: None }), "p");
        assert_eq!(list(&PolicyFilter { network_rule: None, scope: scope.clone() }), "q");
        assert_eq!(list(&PolicyFilter { network_rule, scope }), "");
        let rules = world.catalog.list_network_rules(&home(), &page);
        assert_eq!((rules.items.len(), rules.next_after), (1, None));
    }

    proptest! {
        // Each case makes a world of its own, which takes longer than listing it.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_stays_appears_exactly_once_whatever_changes_between_pages(
            count in 0_usize..40,
            size in 1_usize..9,
            changed in prop::collection::vec(0_usize..45, 0..12),
        ) {
            let mut world = world(count);
            let ids = pages(&mut world, &AccessPointFilter::default(), size, |world, number| {
                let Some(number) = changed.get(number) else { return };
                let name = format!("a{number:03}");
                // What is there goes, or changes; what isn't there comes.
                world.step(as_update(create_access_point(&name, "q")));
                world.step(delete_access_point(&name));
                world.step(create_access_point(&format!("{name}-new"), "p"));
            });
            prop_assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] != two[1]), "{:?}", ids);
            for number in (0..count).filter(|number| !changed.contains(number)) {
                prop_assert!(ids.contains(&format!("a{number:03}")), "{} in {:?}", number, ids);
            }
        }
    }
}
