//! Roles: an access point is granted something only while its role trusts its environment.

use crate::domain::{
    access_point::TrustedRole::{AckWorker, EcsInstance, FunctionCompute},
    command::Command,
    event::{Change, Event},
    testing::{
        HOME, Question, World, as_update, by_role, create_access_point, create_policy,
        create_ram_role, full_name, ram_role_name, suspend_access_point,
    },
};

/// One access point for each environment, by the role `r`, and one with a client key.
fn applications() -> Vec<Command> {
    let app = |name| create_access_point(name, "p");
    vec![
        create_policy("p", "shared", "SECRET_USER", "secret/a", "any"),
        create_ram_role("r", "ecs fc"),
        by_role(app("vm"), EcsInstance, "r"),
        by_role(app("node"), AckWorker, "r"),
        by_role(app("function"), FunctionCompute, "r"),
        app("key"),
    ]
}

fn answered(world: &World, access_point: &str, resource: &str) -> String {
    let question = Question {
        location: HOME,
        access_point,
        action: "GetSecretValue",
        resource,
        instance: "shared",
        origin: "- -",
    };
    world.answer(&question).outcome.to_string()
}

fn check(world: &World, outcomes: [&str; 4]) {
    let answers = ["vm", "node", "function", "key"].map(|name| answered(world, name, "secret/a"));
    assert_eq!(answers.each_ref().map(String::as_str), outcomes);
}

const NOT: &str = "RoleNotTrusted";
const ALLOW: &str = "allow p";

#[test]
fn a_changed_role_changes_what_access_points_that_hold_it_are_granted_at_once() {
    let mut world = World::given(applications());
    check(&world, [ALLOW; 4]);
    for (services, outcomes) in [
        ("ecs", [ALLOW, ALLOW, NOT, ALLOW]),
        ("fc", [NOT, NOT, ALLOW, ALLOW]),
        ("oss", [NOT, NOT, NOT, ALLOW]),
        ("ecs fc", [ALLOW; 4]),
    ] {
        world.carry_out(as_update(create_ram_role("r", services)));
        check(&world, outcomes);
    }
}

#[test]
fn another_role_changes_nothing() {
    let mut world = World::given(applications());
    world.carry_out(create_ram_role("accounts/other/ramRoles/r", "oss"));
    world.carry_out(create_ram_role("R", "oss"));
    check(&world, [ALLOW; 4]);
}

#[test]
fn a_changed_role_counts_in_every_region_of_its_account() {
    let mut world = World::given(applications());
    let elsewhere = "accounts/acme/regions/eu-2";
    let name = full_name(elsewhere, "accessPoints", "vm");
    let policy = full_name(elsewhere, "policies", "p");
    world.carry_out(create_policy(&policy, "shared", "SECRET_USER", "secret/a", "any"));
    world.carry_out(by_role(create_access_point(&name, "p"), EcsInstance, "r"));
    let ask = |world: &World| {
        let question = Question {
            location: elsewhere,
            access_point: &name,
            action: "GetSecretValue",
            resource: "secret/a",
            instance: "shared",
            origin: "- -",
        };
        world.answer(&question).outcome.to_string()
    };
    assert_eq!(ask(&world), ALLOW);
    world.carry_out(as_update(create_ram_role("r", "fc")));
    assert_eq!(ask(&world), NOT);
}

#[test]
fn suspension_comes_before_the_role_and_the_role_before_the_policies() {
    let mut world = World::given(applications());
    world.carry_out(as_update(create_ram_role("r", "oss")));
    assert_eq!(answered(&world, "vm", "secret/other"), NOT);
    world.carry_out(suspend_access_point("vm"));
    assert_eq!(answered(&world, "vm", "secret/other"), "AccessPointSuspended");
}

#[test]
fn an_access_point_whose_role_is_not_there_is_not_trusted_until_it_is() {
    // As journals have it that were begun before there were roles.
    let mut world = World::given(applications());
    let gone = world.catalog.ram_role(&ram_role_name("r")).unwrap().clone();
    let mut journal: Vec<Event> = world.events.clone();
    journal.retain(|event| !matches!(event.change, Change::RamRoleCreated(_)));
    let mut old = World::given([]);
    for (sequence, event) in (1..).zip(journal) {
        let event = Event { sequence, ..event };
        old.catalog.evolve(&event);
        old.rulebook.evolve(&event, &old.catalog);
    }
    check(&old, [NOT, NOT, NOT, ALLOW]);
    old.carry_out(create_ram_role("r", "ecs"));
    check(&old, [ALLOW, ALLOW, NOT, ALLOW]);
    // A journal that says that a role is gone is believed.
    let change = Change::RamRoleDeleted(crate::domain::event::Gone {
        name: ram_role_name("r"),
        uid: gone.header.uid,
    });
    let event = Event { sequence: world.catalog.revision() + 1, change, ..world.events[0].clone() };
    world.catalog.evolve(&event);
    world.rulebook.evolve(&event, &world.catalog);
    check(&world, [NOT, NOT, NOT, ALLOW]);
}
