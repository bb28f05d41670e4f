//! Roles: what access points demand of them, and what becomes of those that hold one.

use super::*;
use crate::domain::{
    access_point::TrustedRole::{AckWorker, EcsInstance, FunctionCompute},
    command::RamRolePatch,
    testing::{
        ABROAD, World, access_point_name, as_update, by_role, create_access_point, create_policy,
        create_ram_role, create_ram_role_with, delete_access_point, delete_ram_role, full_name,
        policy_name, ram_role_name,
    },
};

fn policy(name: &str) -> Command {
    create_policy(name, "shared", "SECRET_USER", "secret/*", "any")
}

fn application(name: &str, trusted_role: TrustedRole, role: &str) -> Command {
    by_role(create_access_point(name, "p"), trusted_role, role)
}

fn judged(world: &World, command: Command) -> Result<Verdict, Rejection> {
    world.judge(&world.request(command))
}

#[test]
fn an_access_point_needs_its_role_to_be_there() {
    let world = World::given([policy("p")]);
    let role = ResourceName::RamRole(ram_role_name("r"));
    let resource = ResourceName::AccessPoint(access_point_name("a"));
    let missing = vec![role.clone()];
    let rejection = Rejection::ReferencesMissing { resource: resource.clone(), missing };
    assert_eq!(judged(&world, application("a", EcsInstance, "r")), Err(rejection));
    // With everything else that is missing.
    let command = by_role(create_access_point("a", "p q"), EcsInstance, "r");
    let missing = vec![role, ResourceName::Policy(policy_name("q"))];
    let rejection = Rejection::ReferencesMissing { resource, missing };
    assert_eq!(judged(&world, command), Err(rejection));
}

#[test]
fn a_role_of_another_account_is_not_there() {
    let world = World::given([policy("p"), create_ram_role("accounts/other/ramRoles/r", "ecs")]);
    let rejected = judged(&world, application("a", EcsInstance, "r"));
    assert!(matches!(rejected, Err(Rejection::ReferencesMissing { .. })), "{rejected:?}");
}

#[test]
fn an_access_point_needs_its_role_to_trust_its_environment() {
    let world = World::given([
        policy("p"),
        create_ram_role("ecs", "ecs"),
        create_ram_role("fc", "fc"),
        create_ram_role("both", "ecs fc"),
        create_ram_role("none", "oss"),
        create_ram_role_with("unclear", r#"{"Version": "1", "Statement": [{"Condition": {}}]}"#),
    ]);
    let ecs = "`Statement[0].Principal` doesn't name `ecs.aliyuncs.com`";
    let fc = "`Statement[0].Principal` doesn't name `fc.aliyuncs.com`";
    let unclear = "`Statement[0].Condition` isn't understood";
    for (role, trusted_role, obstacle) in [
        ("ecs", EcsInstance, None),
        ("ecs", AckWorker, None),
        ("ecs", FunctionCompute, Some(fc)),
        ("fc", EcsInstance, Some(ecs)),
        ("fc", AckWorker, Some(ecs)),
        ("fc", FunctionCompute, None),
        ("both", EcsInstance, None),
        ("both", FunctionCompute, None),
        ("none", EcsInstance, Some(ecs)),
        ("none", FunctionCompute, Some(fc)),
        ("unclear", EcsInstance, Some(unclear)),
        ("unclear", FunctionCompute, Some(unclear)),
    ] {
        let rejection = judged(&world, application("a", trusted_role, role)).err();
        let text = rejection.map(|rejection| rejection.to_string());
        let expected = obstacle.map(|obstacle| {
            format!("`accounts/acme/ramRoles/{role}` is not trusted for {trusted_role}: {obstacle}")
        });
        assert_eq!(text, expected, "{role} {trusted_role}");
    }
}

#[test]
fn a_role_that_access_points_hold_is_not_deleted() {
    let elsewhere = "accounts/acme/regions/eu-2";
    let abroad = |id: &str| full_name(ABROAD, "accessPoints", id);
    let mut world = World::given([
        policy("p"),
        policy(&full_name(elsewhere, "policies", "p")),
        policy(&full_name(ABROAD, "policies", "p")),
        create_ram_role("r", "ecs"),
        create_ram_role("accounts/other/ramRoles/r", "ecs"),
        application("a", EcsInstance, "r"),
        application(&full_name(elsewhere, "accessPoints", "b"), AckWorker, "r"),
        application(&abroad("c"), EcsInstance, "r"),
    ]);
    let holder = |name: &str| ResourceName::AccessPoint(access_point_name(name));
    let held = Rejection::InUse {
        resource: ResourceName::RamRole(ram_role_name("r")),
        holders: vec![holder("a"), holder(&full_name(elsewhere, "accessPoints", "b"))],
        total: 2,
    };
    assert_eq!(judged(&world, delete_ram_role("r")), Err(held));
    world.carry_out(delete_access_point("a"));
    world.carry_out(delete_access_point(&full_name(elsewhere, "accessPoints", "b")));
    let gone = world.carry_out(delete_ram_role("r"));
    assert!(matches!(gone.change, Change::RamRoleDeleted(_)));
    assert_eq!(world.catalog.holders_of_role(&ram_role_name("r")), None);
}

#[test]
fn a_role_may_lose_the_trust_that_access_points_need_and_they_can_still_be_changed() {
    let mut world = World::given([
        policy("p"),
        policy("q"),
        create_ram_role("r", "ecs"),
        application("a", EcsInstance, "r"),
    ]);
    let before = world.catalog.ram_role(&ram_role_name("r")).unwrap().clone();
    let event = world.carry_out(as_update(create_ram_role("r", "oss")));
    let after = world.catalog.ram_role(&ram_role_name("r")).unwrap();
    assert_eq!(after.header.uid, before.header.uid);
    assert_eq!((after.header.revision, after.header.update_time), (event.sequence, event.time));
    world.carry_out(as_update(create_access_point("a", "q")));
    let again = judged(&world, application("b", EcsInstance, "r"));
    assert!(matches!(again, Err(Rejection::RoleNotTrusted { .. })), "{again:?}");
}

#[test]
fn an_update_of_a_role_changes_what_it_names_and_nothing_else() {
    let mut world = World::given([create_ram_role("r", "ecs")]);
    let before = world.catalog.ram_role(&ram_role_name("r")).unwrap().clone();
    let patch = RamRolePatch {
        description: Some(Description::parse("Nodes").unwrap()),
        trust_policy: None,
    };
    let target =
        Target { name: ram_role_name("r"), etag: Some(before.header.etag().to_string().into()) };
    let command = Command::UpdateRamRole(target, patch);
    world.carry_out(command.clone());
    let after = world.catalog.ram_role(&ram_role_name("r")).unwrap();
    assert_eq!(after.trust_policy, before.trust_policy);
    assert_eq!(after.header.description.as_str(), "Nodes");
    let late = judged(&world, command);
    assert!(matches!(late, Err(Rejection::EtagMismatch { .. })), "{late:?}");
}
