//! How much an account may have.

use super::*;
use crate::domain::{
    command::Batch,
    limits::{Kind, Limits},
    resource::Uid,
    testing::{
        ABROAD, HOME, World, as_update, create_access_point, create_network_rule, create_policy,
        create_ram_role, delete_network_rule, full_name,
    },
};

const TWO: Limits = Limits { access_points: 2, policies: 2, network_rules: 2, ram_roles: 2 };

fn rule(name: &str) -> Command {
    create_network_rule(name, "public", "10.0.0.0/8")
}

/// What commands come to, judged together.
fn judge(world: &World, commands: Vec<Command>) -> Result<Verdict, Rejected> {
    let commands = commands.into_iter().map(|command| (Uid(uuid::Uuid::nil()), command));
    let batch = Batch::of(&"operator".into(), crate::domain::time::UnixNanos(1), None, commands);
    decide(&world.catalog, &TWO, &batch)
}

#[test]
fn what_would_be_one_too_many_of_its_kind_is_refused_by_name() {
    let policy = |name| create_policy(name, "shared", "SECRET_USER", "secret/*", "any");
    let role = |name| create_ram_role(name, "ecs");
    let world = World::given([
        rule("m"),
        rule("n"),
        policy("p"),
        policy("q"),
        role("r"),
        role("s"),
        create_access_point("a", "p"),
        create_access_point("b", "p"),
    ]);
    for (command, kind, words) in [
        (rule("o"), Kind::NetworkRule, "2 network rules"),
        (policy("o"), Kind::Policy, "2 policies"),
        (role("o"), Kind::RamRole, "2 RAM roles"),
        (create_access_point("o", "p"), Kind::AccessPoint, "2 access points"),
    ] {
        let Rejected { place, rejection } = judge(&world, vec![command]).unwrap_err();
        let account = Id::parse("acme").unwrap();
        let said = format!("account `acme` has {words}, which is as many as it may have");
        assert_eq!(rejection.to_string(), said);
        assert_eq!((place, rejection), (0, Rejection::LimitReached { account, kind, limit: 2 }));
    }
    // A name that is taken is said first; what exists is changed as ever.
    let taken = judge(&world, vec![rule("n")]).unwrap_err();
    assert!(matches!(taken.rejection, Rejection::AlreadyExists(_)));
    assert!(judge(&world, vec![as_update(rule("n"))]).is_ok());
}

#[test]
fn regions_count_together_accounts_do_not_and_what_is_deleted_makes_room() {
    let elsewhere = |place, name| full_name(place, "networkRules", name);
    assert!(ABROAD.starts_with("accounts/other") && HOME.starts_with("accounts/acme"));
    let also_acme = "accounts/acme/regions/elsewhere";
    let world = World::given([rule("m"), rule(&elsewhere(also_acme, "m"))]);
    assert!(judge(&world, vec![rule("n")]).is_err());
    assert!(judge(&world, vec![rule(&elsewhere(ABROAD, "n"))]).is_ok());
    // In order, each on what those before it leave.
    assert!(judge(&world, vec![delete_network_rule("m"), rule("n")]).is_ok());
    let Rejected { place, .. } =
        judge(&world, vec![delete_network_rule("m"), rule("n"), rule("o")]).unwrap_err();
    assert_eq!(place, 2);
}
