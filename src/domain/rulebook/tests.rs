//! The decision, condition by condition.
//!
//! A case is a line: access point, action, resource, instance, origin => outcome.

use super::*;
use crate::domain::{
    command::Command,
    testing::{
        ABROAD, HOME, Question, World, access_point_name, answer, as_update, create_access_point,
        create_network_rule, create_policy, delete_access_point, delete_network_rule,
        delete_policy, policy_name, resume_access_point, suspend_access_point,
    },
};

/// Everywhere that these tests ask from, if they don't say more.
const VPC: &str = "vpc-1 192.168.7.9";

/// An application in one VPC reads some secrets.
fn a_reader() -> Vec<Command> {
    vec![
        create_network_rule("n", "vpc-1", "192.168.0.0/16"),
        create_policy("p", "shared", "SECRET_USER", "secret/data****", "n"),
        create_access_point("app", "p"),
    ]
}

/// One policy of an access point `app`, open to any network.
fn one_policy(scope: &str, permissions: &str, resources: &str) -> Vec<Command> {
    vec![create_policy("p", scope, permissions, resources, "any"), create_access_point("app", "p")]
}

fn question(fields: [&str; 5]) -> Question<'_> {
    let [access_point, action, resource, instance, origin] = fields;
    Question { location: HOME, access_point, action, resource, instance, origin }
}

fn check(given: Vec<Command>, table: &str) {
    check_in(&World::given(given), table);
}

/// Checks a table of questions and outcomes; no field has a space in it but the origin.
fn check_in(world: &World, table: &str) {
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let (asked, outcome) = line.split_once(" => ").unwrap();
        let asked: Vec<_> = asked.split_whitespace().collect();
        let [access_point, action, resource, instance, network, address] = asked[..] else {
            panic!("it has not six words: {line}")
        };
        let origin = format!("{network} {address}");
        check_one(world, [access_point, action, resource, instance, &origin], outcome);
    }
}

fn check_one(world: &World, asked: [&str; 5], outcome: &str) {
    assert_eq!(world.answer(&question(asked)).outcome.to_string(), outcome, "{asked:?}");
}

#[test]
fn a_policy_grants_if_scope_action_resource_and_network_all_hold() {
    check(
        a_reader(),
        "
        app  GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9  => allow p from n
        app  GetSecretValue  secret/data   shared  vpc-1 192.168.7.9  => allow p from n
        app  GetSecretValue  secret/data1  kst-1   vpc-1 192.168.7.9  => ScopeNotCovered at p
        app  Decrypt         secret/data1  shared  vpc-1 192.168.7.9  => ActionNotPermitted at p
        app  GetSecretValue  secret/other  shared  vpc-1 192.168.7.9  => ResourceNotCovered at p
        app  GetSecretValue  secret/data1  shared  vpc-1 10.0.0.1     => NetworkNotAllowed at p
        ",
    );
}

#[test]
fn a_deny_names_the_first_condition_that_does_not_hold() {
    check(
        a_reader(),
        "
        app  Decrypt         key/k         kst-1   - -  => ScopeNotCovered at p
        app  Decrypt         key/k         shared  - -  => ActionNotPermitted at p
        app  GetSecretValue  secret/x      shared  - -  => ResourceNotCovered at p
        app  GetSecretValue  secret/data1  shared  - -  => NetworkNotAllowed at p
        ",
    );
}

#[test]
fn an_unknown_access_point_is_denied() {
    check(
        a_reader(),
        "
        nobody  GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9  => AccessPointNotFound
        App     GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9  => AccessPointNotFound
        p       GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9  => AccessPointNotFound
        ",
    );
    check(
        vec![],
        "app  GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9  => AccessPointNotFound",
    );
}

#[test]
fn a_resumed_access_point_is_decided_by_its_policies_again() {
    let mut world = World::given(a_reader());
    world.carry_out(suspend_access_point("app"));
    world.carry_out(resume_access_point("app"));
    let asked = Question {
        location: HOME,
        access_point: "app",
        action: "GetSecretValue",
        resource: "secret/data1",
        instance: "shared",
        origin: VPC,
    };
    assert_eq!(world.answer(&asked).outcome.to_string(), "allow p from n");
}

#[test]
fn a_changed_rule_changes_what_every_policy_that_holds_it_grants() {
    let mut world = World::given(a_reader());
    let asked = |origin| Question {
        location: HOME,
        access_point: "app",
        action: "GetSecretValue",
        resource: "secret/data1",
        instance: "shared",
        origin,
    };
    world.carry_out(as_update(create_network_rule("n", "vpc-1", "10.0.0.0/8")));
    let outcome = |origin| world.answer(&asked(origin)).outcome.to_string();
    assert_eq!(outcome(VPC), "NetworkNotAllowed at p");
    assert_eq!(outcome("vpc-1 10.1.2.3"), "allow p from n");
    // The kind of a network rule stays.
    assert_eq!(outcome("public 10.1.2.3"), "NetworkNotAllowed at p");
}

#[test]
fn a_suspended_access_point_is_denied_everything() {
    let mut world = World::given(a_reader());
    world.carry_out(suspend_access_point("app"));
    check_in(
        &world,
        "
        app  GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9  => AccessPointSuspended
        app  Decrypt         key/k         kst-1   - -                => AccessPointSuspended
        ",
    );
}

#[test]
fn an_access_point_of_another_account_or_region_is_not_there_at_all() {
    for other in [ABROAD, "accounts/acme/regions/eu-2"] {
        // The same names mean something else there: everything is open.
        let (policy, access_point) =
            (format!("{other}/policies/p"), format!("{other}/accessPoints/app"));
        let mut given = a_reader();
        given.push(create_policy(&policy, "shared", "SECRET_USER", "secret/*", "any"));
        given.push(create_access_point(&access_point, "p"));
        let world = World::given(given);
        let home = format!("{HOME}/accessPoints/app");
        for (location, access_point, resource, outcome) in [
            (HOME, &home, "secret/data1", "allow p from n"),
            (HOME, &home, "secret/x", "ResourceNotCovered at p"),
            (HOME, &access_point, "secret/data1", "AccessPointNotFound"),
            (other, &home, "secret/data1", "AccessPointNotFound"),
            (other, &access_point, "secret/x", "allow p"),
        ] {
            let asked = ["", "GetSecretValue", resource, "shared", VPC];
            let question = Question { location, access_point, ..question(asked) };
            let answer = world.answer(&question);
            assert_eq!(answer.outcome.to_string(), outcome, "{question:?}");
            let found = outcome != "AccessPointNotFound";
            assert_eq!(answer.access_point.is_some(), found, "{question:?}");
        }
    }
}

#[test]
fn an_answer_has_the_uid_of_the_access_point_that_it_is_about() {
    let mut world = World::given(a_reader());
    let uid = |world: &World| {
        world.catalog.access_point(&access_point_name("app")).map(|found| found.header.uid)
    };
    for resource in ["secret/data1", "secret/x"] {
        let asked = question(["app", "GetSecretValue", resource, "shared", VPC]);
        assert_eq!(world.answer(&asked).access_point, uid(&world));
    }
    let first = uid(&world);
    world.carry_out(suspend_access_point("app"));
    let asked = question(["app", "GetSecretValue", "secret/a", "shared", VPC]);
    assert_eq!(world.answer(&asked).access_point, first);
    world.carry_out(delete_access_point("app"));
    assert_eq!(world.answer(&asked).access_point, None);
    world.carry_out(create_access_point("app", "p"));
    assert_eq!(world.answer(&asked).access_point, uid(&world));
    assert_ne!(uid(&world), first);
}

#[test]
fn the_first_granting_policy_in_the_access_points_order_is_named() {
    let policy = |name, resources| create_policy(name, "shared", "SECRET_USER", resources, "any");
    check(
        vec![
            policy("wide", "secret/*"),
            policy("narrow", "secret/a"),
            policy("other", "secret/b"),
            create_access_point("wide-first", "wide narrow other"),
            create_access_point("narrow-first", "other narrow wide"),
        ],
        "
        wide-first    GetSecretValue  secret/a  shared  - -  => allow wide
        narrow-first  GetSecretValue  secret/a  shared  - -  => allow narrow
        narrow-first  GetSecretValue  secret/b  shared  - -  => allow other
        narrow-first  GetSecretValue  secret/c  shared  - -  => allow wide
        ",
    );
}

#[test]
fn the_first_matching_rule_in_the_policys_order_is_named() {
    let policy =
        |name, networks| create_policy(name, "shared", "SECRET_USER", "secret/*", networks);
    check(
        vec![
            create_network_rule("wide", "public", "0.0.0.0/0"),
            create_network_rule("narrow", "public", "203.0.113.0/24 198.51.100.7"),
            create_network_rule("vpc", "vpc-1", "0.0.0.0/0"),
            policy("wide-first", "vpc wide narrow"),
            policy("narrow-first", "vpc narrow wide"),
            create_access_point("a", "wide-first"),
            create_access_point("b", "narrow-first"),
        ],
        "
        a  GetSecretValue  secret/a  shared  public 203.0.113.5   => allow wide-first from wide
        b  GetSecretValue  secret/a  shared  public 203.0.113.5   => allow narrow-first from narrow
        b  GetSecretValue  secret/a  shared  public 198.51.100.7  => allow narrow-first from narrow
        b  GetSecretValue  secret/a  shared  public 198.51.100.8  => allow narrow-first from wide
        b  GetSecretValue  secret/a  shared  vpc-1 203.0.113.5    => allow narrow-first from vpc
        ",
    );
}

#[test]
fn a_deny_names_the_first_of_the_policies_that_came_nearest() {
    check(
        vec![
            create_network_rule("n", "public", "10.0.0.0/8"),
            create_policy("scope", "kst-2", "SECRET_USER", "secret/*", "n"),
            create_policy("action", "kst-1", "CRYPTO_SERVICE_KEY_USER", "key/*", "n"),
            create_policy("resource", "kst-1", "SECRET_USER", "secret/x", "n"),
            create_policy("network", "kst-1", "SECRET_USER", "secret/a", "n"),
            create_policy("network-2", "kst-1", "SECRET_USER", "secret/*", "n"),
            create_access_point("a", "scope"),
            create_access_point("b", "scope action"),
            create_access_point("c", "resource scope action"),
            create_access_point("d", "scope network network-2"),
            create_access_point("e", "network-2 resource network"),
        ],
        "
        a  GetSecretValue  secret/a  kst-1  - -  => ScopeNotCovered at scope
        b  GetSecretValue  secret/a  kst-1  - -  => ActionNotPermitted at action
        b  GetSecretValue  secret/a  kst-9  - -  => ScopeNotCovered at scope
        c  GetSecretValue  secret/a  kst-1  - -  => ResourceNotCovered at resource
        d  GetSecretValue  secret/a  kst-1  - -  => NetworkNotAllowed at network
        e  GetSecretValue  secret/a  kst-1  - -  => NetworkNotAllowed at network-2
        e  GetSecretValue  secret/x  kst-1  - -  => NetworkNotAllowed at network-2
        ",
    );
}

#[test]
fn one_policy_must_meet_all_conditions_and_several_never_add_up() {
    check(
        vec![
            create_network_rule("near", "vpc-1", "10.0.0.0/8"),
            create_network_rule("far", "vpc-2", "192.168.0.0/16"),
            create_policy("p", "kst-1", "SECRET_USER", "secret/a", "near far"),
            create_policy("q", "kst-1", "CRYPTO_SERVICE_KEY_USER", "key/a", "any"),
            create_policy("r", "kst-2", "SECRET_USER", "secret/*", "any"),
            create_access_point("app", "p q r"),
        ],
        "
        app  GetSecretValue  secret/a  kst-1  vpc-1 10.1.1.1     => allow p from near
        app  GetSecretValue  secret/a  kst-1  public 10.1.1.1    => NetworkNotAllowed at p
        app  GetSecretValue  secret/a  kst-1  vpc-1 192.168.1.1  => NetworkNotAllowed at p
        app  GetSecretValue  secret/a  kst-1  vpc-2 10.1.1.1     => NetworkNotAllowed at p
        app  GetSecretValue  secret/b  kst-1  vpc-1 10.1.1.1     => ResourceNotCovered at p
        app  GetSecretValue  key/a     kst-1  vpc-1 10.1.1.1     => ActionNotPermitted at p
        app  Decrypt         secret/a  kst-1  vpc-1 10.1.1.1     => ActionNotPermitted at p
        ",
    );
}

#[test]
fn each_template_permits_its_actions_on_its_kind_of_resource_alone() {
    let actions = Action::ALL.iter().map(|action| action.name());
    for (template, kind) in [
        ("SECRET_USER", "secret"),
        ("CRYPTO_SERVICE_SECRET_USER", "secret"),
        ("CRYPTO_SERVICE_KEY_USER", "key"),
    ] {
        let world = World::given(one_policy("kst-1", template, "secret/* key/*"));
        for action in actions.clone() {
            for resource in ["secret/a", "key/a", ""] {
                let fits = match action {
                    "GetSecretValue" => kind == "secret" && resource == "secret/a",
                    "GenerateRandom" => kind == "key" && resource.is_empty(),
                    _ => kind == "key" && resource == "key/a",
                };
                let outcome = if fits { "allow p" } else { "ActionNotPermitted at p" };
                check_one(&world, ["app", action, resource, "kst-1", "- -"], outcome);
            }
        }
    }
}

#[test]
fn an_unknown_action_is_a_deny() {
    let everything = "SECRET_USER CRYPTO_SERVICE_SECRET_USER CRYPTO_SERVICE_KEY_USER";
    let world = World::given(one_policy("kst-1", everything, "secret/* key/*"));
    for action in ["DeleteSecret", "getSecretValue", "GetSecretValues", "A", &"a".repeat(64)] {
        for resource in ["secret/a", "key/a", ""] {
            let outcome = "ActionNotPermitted at p";
            check_one(&world, ["app", action, resource, "kst-1", "- -"], outcome);
        }
    }
}

#[test]
fn random_bytes_need_a_key_user_with_a_key_pattern_and_no_resource() {
    let both = "CRYPTO_SERVICE_SECRET_USER CRYPTO_SERVICE_KEY_USER";
    for (permissions, resources, resource, outcome) in [
        (both, "key/a", "", "allow p"),
        (both, "secret/* key/a", "", "allow p"),
        (both, "secret/*", "", "ResourceNotCovered at p"),
        (both, "key/a", "key/a", "ActionNotPermitted at p"),
        (both, "key/*", "*", "ActionNotPermitted at p"),
        ("CRYPTO_SERVICE_SECRET_USER", "secret/* key/*", "", "ActionNotPermitted at p"),
    ] {
        let world = World::given(one_policy("kst-1", permissions, resources));
        check_one(&world, ["app", "GenerateRandom", resource, "kst-1", "- -"], outcome);
    }
}

#[test]
fn a_resource_outside_the_grammar_is_covered_by_nothing() {
    let world = World::given(one_policy("shared", "SECRET_USER", "secret/*"));
    let (longest, too_long) =
        (format!("secret/{}", "k".repeat(192)), format!("secret/{}", "k".repeat(193)));
    for (resource, outcome) in [
        ("secret/a/b+c=d.e@f_g-h", "allow p"),
        (&longest, "allow p"),
        (&too_long, "ResourceNotCovered at p"),
        ("secret/", "ResourceNotCovered at p"),
        ("secret/*", "ResourceNotCovered at p"),
        ("secret/a*", "ResourceNotCovered at p"),
        ("secret/a*b", "ResourceNotCovered at p"),
        ("secret/a b", "ResourceNotCovered at p"),
        ("secret/a\n", "ResourceNotCovered at p"),
        ("secret/a\0", "ResourceNotCovered at p"),
        ("secret/%61", "ResourceNotCovered at p"),
        ("secret/ä", "ResourceNotCovered at p"),
    ] {
        check_one(&world, ["app", "GetSecretValue", resource, "shared", "- -"], outcome);
    }
}

#[test]
fn a_resource_of_no_known_kind_is_no_resource_for_any_action() {
    let world = World::given(one_policy("shared", "SECRET_USER", "secret/*"));
    for resource in ["", "*", "secret", "Secret/a", " secret/a", "/secret/a", "alias/a", "key/a"] {
        let outcome = "ActionNotPermitted at p";
        check_one(&world, ["app", "GetSecretValue", resource, "shared", "- -"], outcome);
    }
}

#[test]
fn an_instance_is_compared_byte_for_byte() {
    let mut given = one_policy("shared", "SECRET_USER", "secret/*");
    given.push(create_policy("d", "kst-1", "SECRET_USER", "secret/*", "any"));
    given.push(create_access_point("dedicated", "d"));
    let world = World::given(given);
    for (access_point, instance, outcome) in [
        ("app", "shared", "allow p"),
        ("app", "Shared", "ScopeNotCovered at p"),
        ("app", "kst-1", "ScopeNotCovered at p"),
        ("app", "*", "ScopeNotCovered at p"),
        ("dedicated", "kst-1", "allow d"),
        ("dedicated", "kst-10", "ScopeNotCovered at d"),
        ("dedicated", "KST-1", "ScopeNotCovered at d"),
        ("dedicated", "kst-1 ", "ScopeNotCovered at d"),
        ("dedicated", "shared", "ScopeNotCovered at d"),
    ] {
        check_one(&world, [access_point, "GetSecretValue", "secret/a", instance, "- -"], outcome);
    }
}

#[test]
fn an_origin_must_match_kind_vpc_and_address_of_one_rule() {
    let allow = "allow p from n";
    let deny = "NetworkNotAllowed at p";
    let world = World::given(a_reader());
    for (origin, outcome) in [
        ("vpc-1 192.168.0.0", allow),
        ("vpc-1 192.168.255.255", allow),
        ("vpc-1 ::ffff:192.168.7.9", allow),
        ("vpc-1 192.167.255.255", deny),
        ("vpc-1 192.169.0.0", deny),
        ("vpc-1 ::ffff:10.0.0.1", deny),
        ("vpc-1 ::192.168.7.9", deny),
        ("vpc-2 192.168.7.9", deny),
        ("vpc-11 192.168.7.9", deny),
        ("VPC-1 192.168.7.9", deny),
        ("public 192.168.7.9", deny),
        ("private 192.168.7.9", deny),
        ("- 192.168.7.9", deny),
        ("vpc-1 -", deny),
        ("- -", deny),
    ] {
        check_one(&world, ["app", "GetSecretValue", "secret/data1", "shared", origin], outcome);
    }
}

#[test]
fn a_mapped_rule_is_the_ipv4_rule_and_a_wider_one_is_ipv6_alone() {
    let check = |addresses, origin, outcome| {
        let world = World::given([
            create_network_rule("n", "public", addresses),
            create_policy("p", "shared", "SECRET_USER", "secret/*", "n"),
            create_access_point("app", "p"),
        ]);
        check_one(&world, ["app", "GetSecretValue", "secret/a", "shared", origin], outcome);
    };
    check("::ffff:10.0.0.0/104", "public 10.1.2.3", "allow p from n");
    check("::ffff:10.0.0.0/104", "public ::ffff:10.1.2.3", "allow p from n");
    check("::ffff:10.0.0.0/104", "public 11.1.2.3", "NetworkNotAllowed at p");
    check("::ffff:0:0/96", "public 10.1.2.3", "allow p from n");
    check("::/0", "public 10.1.2.3", "NetworkNotAllowed at p");
    check("::/0", "public ::ffff:10.1.2.3", "NetworkNotAllowed at p");
    check("::/0", "public 2001:db8::1", "allow p from n");
    check("0.0.0.0/0", "public 2001:db8::1", "NetworkNotAllowed at p");
}

#[test]
fn any_network_is_any_origin_and_none() {
    let world = World::given(one_policy("shared", "SECRET_USER", "secret/*"));
    for origin in
        ["public 8.8.8.8", "vpc-9 10.0.0.1", "private ::1", "public -", "- 8.8.8.8", "- -"]
    {
        check_one(&world, ["app", "GetSecretValue", "secret/a", "shared", origin], "allow p");
    }
}

#[test]
fn a_deleted_access_point_is_denied_until_there_is_a_new_one() {
    let mut world = World::given(a_reader());
    let ask = |world: &World, outcome| {
        check_one(world, ["app", "GetSecretValue", "secret/data1", "shared", VPC], outcome);
    };
    world.carry_out(delete_access_point("app"));
    ask(&world, "AccessPointNotFound");
    world.carry_out(create_access_point("app", "p"));
    ask(&world, "allow p from n");
}

#[test]
fn what_takes_the_place_of_something_deleted_inherits_nothing() {
    let mut world = World::given(a_reader());
    for command in [
        delete_access_point("app"),
        delete_policy("p"),
        delete_network_rule("n"),
        // In the places that were freed, and under the names that were freed.
        create_network_rule("m", "public", "203.0.113.0/24"),
        create_network_rule("n", "private", "10.0.0.0/8"),
        create_policy("q", "kst-1", "CRYPTO_SERVICE_KEY_USER", "key/*", "n"),
        create_policy("p", "shared", "SECRET_USER", "secret/b", "m"),
        create_access_point("app", "p"),
        create_access_point("other", "q"),
    ] {
        world.carry_out(command);
    }
    check_in(
        &world,
        "
        app    GetSecretValue  secret/data1  shared  vpc-1 192.168.7.9   => ResourceNotCovered at p
        app    GetSecretValue  secret/b      shared  vpc-1 192.168.7.9   => NetworkNotAllowed at p
        app    GetSecretValue  secret/b      shared  public 203.0.113.9  => allow p from m
        other  GetSecretValue  secret/b      shared  public 203.0.113.9  => ScopeNotCovered at q
        other  Sign            key/k         kst-1   private 10.0.0.1    => allow q from n
        ",
    );
}

#[test]
fn what_is_deleted_gives_its_place_to_the_next() {
    let mut world = World::given(a_reader());
    let place = |world: &World, policy| world.rulebook.policies.find(&policy).map(|(id, _)| id);
    let before = place(&world, policy_name("p"));
    for command in [delete_access_point("app"), delete_policy("p"), delete_network_rule("n")] {
        world.carry_out(command);
    }
    assert_eq!(place(&world, policy_name("p")), None);
    assert_eq!(world.rulebook.rules.size(), 0);
    world.carry_out(create_network_rule("m", "public", "203.0.113.0/24"));
    world.carry_out(create_policy("q", "shared", "SECRET_USER", "secret/b", "m"));
    assert_eq!(place(&world, policy_name("q")), before);
}

#[test]
fn a_published_rulebook_stays_as_it_was() {
    let mut world = World::given(a_reader());
    let published = world.rulebook.clone();
    for command in [
        delete_access_point("app"),
        delete_policy("p"),
        create_policy("q", "shared", "SECRET_USER", "secret/*", "any"),
        create_access_point("app", "q"),
    ] {
        world.carry_out(command);
    }
    let asked = question(["app", "GetSecretValue", "secret/data1", "shared", VPC]);
    let before = answer(&published, &asked).outcome.to_string();
    assert_eq!((before.as_str(), published.revision()), ("allow p from n", 3));
    assert_eq!(
        (world.answer(&asked).outcome.to_string(), world.rulebook.revision()),
        ("allow q".to_owned(), 7)
    );
    assert_eq!(published.version(), RulesVersion::CURRENT);
}
