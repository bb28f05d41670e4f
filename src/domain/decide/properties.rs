//! What holds for the catalog after every history.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    name::AccessPointName,
    testing::{
        World, access_point_name, delete_access_point, delete_policy, delete_ram_role, full_name,
        histories::{ACCESS_POINTS, LOCATIONS, NETWORK_RULES, POLICIES, RAM_ROLES, any_history},
        network_rule_name, policy_name, ram_role_name,
    },
};

/// Every access point of the histories that exists.
fn access_points(world: &World) -> Vec<Arc<AccessPoint>> {
    named("accessPoints", &ACCESS_POINTS)
        .filter_map(|name| world.catalog.access_point(&access_point_name(&name)).cloned())
        .collect()
}

/// Every policy of the histories that exists.
fn policies(world: &World) -> Vec<Arc<Policy>> {
    named("policies", &POLICIES)
        .filter_map(|name| world.catalog.policy(&policy_name(&name)).cloned())
        .collect()
}

fn named(collection: &str, ids: &[&str]) -> impl Iterator<Item = String> {
    LOCATIONS
        .iter()
        .flat_map(move |place| ids.iter().map(move |id| full_name(place, collection, id)))
}

/// The full names of all roles of the histories.
fn ram_roles() -> impl Iterator<Item = String> {
    let of = |account| RAM_ROLES.iter().map(move |id| format!("accounts/{account}/ramRoles/{id}"));
    ["acme", "other"].into_iter().flat_map(of)
}

/// Holds what the catalog says about holders against the resources themselves.
fn check_holders(world: &World) {
    let (access_points, policies) = (access_points(world), policies(world));
    for name in named("policies", &POLICIES).map(|name| policy_name(&name)) {
        let holders: Vec<&AccessPointName> = access_points
            .iter()
            .filter(|a| {
                a.name.location == name.location && a.policies.iter().any(|p| *p == name.id)
            })
            .map(|access_point| &access_point.name)
            .collect();
        assert!(holders.is_empty() || world.catalog.policy(&name).is_some(), "{name} is held");
        let said = world.catalog.holders_of_policy(&name);
        assert_eq!(said.map(|set| set.iter().collect()), some(holders), "{name}");
    }
    for name in named("networkRules", &NETWORK_RULES).map(|name| network_rule_name(&name)) {
        let holders: Vec<&PolicyName> = policies
            .iter()
            .filter(|p| p.name.location == name.location && p.terms.rules().contains(&name.id))
            .map(|policy| &policy.name)
            .collect();
        assert!(
            holders.is_empty() || world.catalog.network_rule(&name).is_some(),
            "{name} is held"
        );
        let said = world.catalog.holders_of_rule(&name);
        assert_eq!(said.map(|set| set.iter().collect()), some(holders), "{name}");
    }
    for account in ["acme", "other"].map(|id| Id::parse(id).unwrap()) {
        let of = |location: &crate::domain::name::Location| location.account == account;
        let count = |kind| usize::try_from(world.catalog.count(&account, kind)).unwrap();
        let here = access_points.iter().filter(|one| of(&one.name.location)).count();
        assert_eq!(count(Kind::AccessPoint), here);
        assert_eq!(
            count(Kind::Policy),
            policies.iter().filter(|one| of(&one.name.location)).count()
        );
        let rules = named("networkRules", &NETWORK_RULES).map(|name| network_rule_name(&name));
        let rules = rules.filter(|name| of(&name.location));
        let rules = rules.filter(|name| world.catalog.network_rule(name).is_some()).count();
        assert_eq!(count(Kind::NetworkRule), rules);
        let roles = ram_roles().map(|name| ram_role_name(&name));
        let roles = roles.filter(|name| name.account == account);
        let roles = roles.filter(|name| world.catalog.ram_role(name).is_some()).count();
        assert_eq!(count(Kind::RamRole), roles);
    }
    for name in ram_roles().map(|name| ram_role_name(&name)) {
        let holders: Vec<&AccessPointName> = access_points
            .iter()
            .filter(|a| a.authentication.role(&a.name).is_some_and(|(role, _)| role == name))
            .map(|access_point| &access_point.name)
            .collect();
        assert!(holders.is_empty() || world.catalog.ram_role(&name).is_some(), "{name} is held");
        let said = world.catalog.holders_of_role(&name);
        assert_eq!(said.map(|set| set.iter().collect()), some(holders), "{name}");
    }
}

/// A list, or nothing if nothing is in it.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

proptest! {
    #[test]
    fn references_never_dangle_and_holders_are_exactly_those_who_hold(steps in any_history()) {
        let mut world = World::given([]);
        for step in steps {
            world.step(step);
            check_holders(&world);
        }
        // Whatever happened, everything can be deleted in the order of the references.
        for name in named("accessPoints", &ACCESS_POINTS) {
            world.step(delete_access_point(&name));
        }
        for name in named("policies", &POLICIES) {
            world.step(delete_policy(&name));
        }
        for name in ram_roles() {
            world.step(delete_ram_role(&name));
            prop_assert!(world.catalog.ram_role(&ram_role_name(&name)).is_none());
        }
        check_holders(&world);
        prop_assert!(access_points(&world).is_empty() && policies(&world).is_empty());
    }

    #[test]
    fn the_journal_is_dense_and_says_when_each_resource_was_changed(steps in any_history()) {
        let mut world = World::given([]);
        for step in steps {
            world.step(step);
        }
        for (sequence, event) in (1..).zip(&world.events) {
            prop_assert_eq!(event.sequence, sequence);
            match &event.change {
                Change::AccessPointCreated(access_point) => {
                    prop_assert_eq!(access_point.header.revision, sequence);
                }
                Change::PolicyCreated(policy) => prop_assert_eq!(policy.header.revision, sequence),
                Change::NetworkRuleCreated(rule) => prop_assert_eq!(rule.header.revision, sequence),
                Change::RamRoleCreated(role) => prop_assert_eq!(role.header.revision, sequence),
                Change::ClientKeyIssued(key) | Change::ClientKeyDisabled(key) => {
                    let found = (key.header.revision, key.sessions_valid_from);
                    prop_assert_eq!(found, (sequence, sequence));
                }
                _ => {}
            }
        }
        let length = u64::try_from(world.events.len()).unwrap();
        prop_assert_eq!((world.catalog.revision(), world.rulebook.revision()), (length, length));
    }
}
