//! Taking something away never gives anybody more: whatever is removed, in whatever order, a check
//! that was denied stays denied.

use proptest::{prelude::*, sample::Index};

use crate::domain::{
    access_point::{AccessPoint, PolicyIds},
    command::{AccessPointPatch, Command, NetworkRulePatch, PolicyPatch, RamRolePatch, Target},
    name::Id,
    network_rule::{Addresses, NetworkRule},
    policy::{NetworkAccess, Policy},
    ram_role::RamRole,
    testing::{
        World, access_point_name, create_ram_role, delete_access_point, delete_network_rule,
        delete_policy, delete_ram_role, full_name,
        histories::{
            ACCESS_POINTS, AnyQuestion, LOCATIONS, NETWORK_RULES, POLICIES, RAM_ROLES, any_history,
            any_question,
        },
        network_rule_name, policy_name, ram_role_name, suspend_access_point,
    },
};

/// Everything that can be taken away from a world, one at a time. What is held is still there after
/// it: that is one of the reasons why nothing is gained.
fn removals(world: &World) -> Vec<Command> {
    let catalog = &world.catalog;
    let mut all = Vec::new();
    for place in LOCATIONS {
        let names = |collection, ids: &[&str]| -> Vec<String> {
            ids.iter().map(|id| full_name(place, collection, id)).collect()
        };
        for name in names("accessPoints", &ACCESS_POINTS) {
            let found = catalog.access_point(&access_point_name(&name));
            all.extend(found.into_iter().flat_map(|found| from_access_point(found)));
        }
        for name in names("policies", &POLICIES) {
            let found = catalog.policy(&policy_name(&name));
            all.extend(found.into_iter().flat_map(|found| from_policy(found)));
        }
        for name in names("networkRules", &NETWORK_RULES) {
            let found = catalog.network_rule(&network_rule_name(&name));
            all.extend(found.into_iter().flat_map(|found| from_network_rule(found)));
        }
    }
    for account in ["acme", "other"] {
        for id in RAM_ROLES {
            let name = ram_role_name(&format!("accounts/{account}/ramRoles/{id}"));
            let found = catalog.ram_role(&name);
            all.extend(found.into_iter().flat_map(|found| from_ram_role(found)));
        }
    }
    all
}

/// Every list that has one item less.
fn each_left_out<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    (0..items.len()).map(|place| [&items[..place], &items[place + 1..]].concat()).collect()
}

fn from_access_point(found: &AccessPoint) -> Vec<Command> {
    let name = found.name.to_string();
    let policies: Vec<Id> = found.policies.iter().cloned().collect();
    let fewer = each_left_out(&policies).into_iter().filter_map(|ids| PolicyIds::new(ids).ok());
    let without = fewer.map(|ids| {
        let patch = AccessPointPatch { policies: Some(ids), ..Default::default() };
        Command::UpdateAccessPoint(Target { name: found.name.clone(), etag: None }, patch)
    });
    without.chain([delete_access_point(&name), suspend_access_point(&name)]).collect()
}

fn from_policy(found: &Policy) -> Vec<Command> {
    let terms = &found.terms;
    let mut patches = Vec::new();
    for permissions in each_left_out(terms.permissions()) {
        patches.push(PolicyPatch { permissions: Some(permissions), ..Default::default() });
    }
    for resources in each_left_out(terms.resources()) {
        patches.push(PolicyPatch { resources: Some(resources), ..Default::default() });
    }
    for rules in each_left_out(terms.rules()) {
        let network_access = Some(NetworkAccess::Rules(rules.into()));
        patches.push(PolicyPatch { network_access, ..Default::default() });
    }
    let target = || Target { name: found.name.clone(), etag: None };
    let without = patches.into_iter().map(|patch| Command::UpdatePolicy(target(), patch));
    without.chain([delete_policy(&found.name.to_string())]).collect()
}

fn from_network_rule(found: &NetworkRule) -> Vec<Command> {
    let addresses: Vec<_> = found.addresses.iter().collect();
    let fewer = each_left_out(&addresses).into_iter().filter_map(|some| Addresses::new(some).ok());
    let without = fewer.map(|addresses| {
        let patch = NetworkRulePatch { addresses: Some(addresses), ..Default::default() };
        Command::UpdateNetworkRule(Target { name: found.name.clone(), etag: None }, patch)
    });
    without.chain([delete_network_rule(&found.name.to_string())]).collect()
}

fn from_ram_role(found: &RamRole) -> Vec<Command> {
    let text = found.trust_policy.as_str();
    let named: Vec<&str> = ["ecs", "fc", "oss"]
        .into_iter()
        .filter(|service| text.contains(&format!("\"{service}.aliyuncs.com\"")))
        .collect();
    // One that has more to it than names is only deleted.
    let is_plain = !text.contains("Condition") && !text.contains("Deny") && !named.is_empty();
    let fewer = each_left_out(&named).into_iter().filter(|_| is_plain).map(|services| {
        let Command::CreateRamRole(new) = create_ram_role("r", &services.join(" ")) else {
            panic!("it creates a role")
        };
        let patch = RamRolePatch { trust_policy: Some(new.trust_policy), ..Default::default() };
        Command::UpdateRamRole(Target { name: found.name.clone(), etag: None }, patch)
    });
    fewer.chain([delete_ram_role(&found.name.to_string())]).collect()
}

fn allowed(world: &World, questions: &[AnyQuestion]) -> Vec<bool> {
    questions.iter().map(|question| world.answer(&question.ask()).outcome.allows()).collect()
}

proptest! {
    #[test]
    fn whatever_is_removed_in_whatever_order_turns_no_deny_into_an_allow(
        steps in any_history(),
        removed in prop::collection::vec(any::<Index>(), 1..30),
        questions in prop::collection::vec(any_question(), 1..60),
    ) {
        let mut world = World::given([]);
        for step in steps {
            world.step(step);
        }
        let mut before = allowed(&world, &questions);
        for index in removed {
            let all = removals(&world);
            if all.is_empty() {
                break;
            }
            let removal = index.get(&all).clone();
            world.step(removal.clone());
            let after = allowed(&world, &questions);
            for ((question, before), after) in questions.iter().zip(&before).zip(&after) {
                prop_assert!(*before || !after, "{:?} allows {:?}", removal, question);
            }
            before = after;
        }
    }
}
