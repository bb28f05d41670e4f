//! What requests come to, and what the catalog makes of it.

use super::*;
use crate::domain::{
    access_point::{Authentication, PolicyIds},
    pattern::ResourcePattern,
    request::{Fingerprint, RequestMark},
    resource::Uid,
    testing::{
        ABROAD, World, access_point_name, as_update, create_access_point, create_network_rule,
        create_policy, create_ram_role, delete_access_point, delete_network_rule, delete_policy,
        delete_ram_role, full_name, network_rule_name, policy_name, ram_role_name, revoke_sessions,
        suspend_access_point, terms,
    },
    time::UnixNanos,
};

fn rule(name: &str) -> Command {
    create_network_rule(name, "public", "10.0.0.0/8")
}

fn private_rule(name: &str) -> Command {
    create_network_rule(name, "private", "10.0.0.0/8")
}

fn policy(name: &str, networks: &str) -> Command {
    create_policy(name, "shared", "SECRET_USER", "secret/*", networks)
}

fn access_point(name: &str, policies: &str) -> Command {
    create_access_point(name, policies)
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    let mut world = World::given(a_chain());
    let before = world.catalog.policy(&policy_name("p")).unwrap().clone();
    let patch = PolicyPatch {
        resources: Some(vec![ResourcePattern::parse("secret/b").unwrap()]),
        ..PolicyPatch::default()
    };
    let target =
        Target { name: policy_name("p"), etag: Some(before.header.etag().to_string().into()) };
    let event = world.carry_out(Command::UpdatePolicy(target, patch));
    let after = world.catalog.policy(&policy_name("p")).unwrap();
    assert_eq!(after.terms.resources()[0].to_string(), "secret/b");
    assert_eq!(after.terms.permissions(), before.terms.permissions());
    assert_eq!(after.terms.network_access(), before.terms.network_access());
    let Header { uid, revision, create_time, update_time, .. } = after.header;
    assert_eq!((uid, create_time), (before.header.uid, before.header.create_time));
    assert_eq!((revision, update_time), (event.sequence, event.time));
}

#[test]
fn an_update_over_an_old_etag_is_refused() {
    let mut world = World::given(a_chain());
    let before = world.catalog.network_rule(&network_rule_name("n")).unwrap().header.etag();
    world.carry_out(as_update(create_network_rule("n", "public", "11.0.0.0/8")));
    let name = network_rule_name("n");
    let target = Target { name: name.clone(), etag: Some(before.to_string().into()) };
    let command = Command::UpdateNetworkRule(target, NetworkRulePatch::default());
    let current = world.catalog.network_rule(&name).unwrap().header.etag();
    let refused = world.ask(&world.request(command));
    let resource = ResourceName::NetworkRule(name);
    assert_eq!(refused, Err(Rejection::EtagMismatch { resource, current }));
}

#[test]
fn an_update_is_judged_like_a_creation() {
    let mut world = World::given(a_chain());
    world.carry_out(private_rule("secret-net"));
    let secrets_only = PolicyPatch {
        resources: Some(vec![ResourcePattern::parse("key/a").unwrap()]),
        ..PolicyPatch::default()
    };
    let keys = Command::UpdatePolicy(Target { name: policy_name("p"), etag: None }, secrets_only);
    let cases = [
        (keys, Rejection::InvalidTerms(vec![InvalidTerms::NothingToGrant])),
        (
            as_update(policy("p", "n secret-net")),
            Rejection::PrivateRulesNeedInstance { places: vec![1] },
        ),
        (
            as_update(access_point("a", "p gone")),
            Rejection::ReferencesMissing {
                resource: an_access_point("a"),
                missing: vec![ResourceName::Policy(policy_name("gone"))],
            },
        ),
        (as_update(access_point("b", "p")), Rejection::NotFound(an_access_point("b"))),
        (suspend_access_point("b"), Rejection::NotFound(an_access_point("b"))),
        (revoke_sessions("b"), Rejection::NotFound(an_access_point("b"))),
    ];
    for (command, rejection) in cases {
        assert_eq!(world.ask(&world.request(command)), Err(rejection));
    }
}

#[test]
fn an_updated_access_point_lets_go_of_the_policies_it_had() {
    let mut world = World::given(a_chain());
    world.carry_out(policy("q", "n"));
    world.carry_out(as_update(access_point("a", "q")));
    world.carry_out(delete_policy("p"));
    let held = world.ask(&world.request(delete_policy("q")));
    assert!(matches!(held, Err(Rejection::InUse { total: 1, .. })), "{held:?}");
}

/// A rule `n`, held by a policy `p`, held by an access point `a`.
fn a_chain() -> Vec<Command> {
    vec![rule("n"), policy("p", "n"), access_point("a", "p")]
}

fn an_access_point(name: &str) -> ResourceName {
    ResourceName::AccessPoint(access_point_name(name))
}

fn a_policy(name: &str) -> ResourceName {
    ResourceName::Policy(policy_name(name))
}

fn a_rule(name: &str) -> ResourceName {
    ResourceName::NetworkRule(network_rule_name(name))
}

/// What a command comes to in the world that the given ones made.
fn verdict(given: Vec<Command>, when: Command) -> Result<Verdict, Rejection> {
    let world = World::given(given);
    world.judge(&world.request(when))
}

/// Carries out what is given, and checks that each command is then rejected as it says.
fn check_rejected(given: Vec<Command>, cases: Vec<(Command, Rejection)>) {
    let world = World::given(given);
    for (when, rejection) in cases {
        assert_eq!(world.judge(&world.request(when.clone())), Err(rejection), "{when:?}");
    }
}

#[test]
fn what_is_created_says_everything_about_itself() {
    let mut world = World::given([]);
    let header = |revision: u32| Header {
        uid: Uid(uuid::Uuid::from_u128(revision.into())),
        revision: revision.into(),
        create_time: UnixNanos(revision.into()),
        update_time: UnixNanos(revision.into()),
        description: Description::default(),
    };
    let event = world.carry_out(create_network_rule("n", "public", "10.1.2.3/8"));
    let Change::NetworkRuleCreated(created) = event.change else { panic!("{event:?}") };
    assert_eq!((&created.name, &created.header), (&network_rule_name("n"), &header(1)));
    assert_eq!(created.kind, NetworkKind::Public);
    assert_eq!(created.addresses.iter().map(|a| a.to_string()).collect::<Vec<_>>(), ["10.0.0.0/8"]);

    let event = world.carry_out(policy("p", "n"));
    let Change::PolicyCreated(created) = event.change else { panic!("{event:?}") };
    assert_eq!((&created.name, &created.header), (&policy_name("p"), &header(2)));
    assert_eq!(created.terms, terms("shared", "SECRET_USER", "secret/*", "n").unwrap());

    let event = world.carry_out(access_point("a", "p"));
    let Change::AccessPointCreated(created) = event.change else { panic!("{event:?}") };
    assert_eq!((&created.name, &created.header), (&access_point_name("a"), &header(3)));
    assert_eq!(created.authentication, Authentication::ClientKey);
    assert_eq!(created.policies, PolicyIds::new([Id::parse("p").unwrap()]).unwrap());
    assert_eq!(created.state, AccessPointState::Active);
    assert_eq!(world.catalog.access_point(&access_point_name("a")), Some(&created));
}

#[test]
fn what_is_deleted_is_named_with_its_uid_and_is_gone() {
    let mut world = World::given(a_chain());
    let uid = |n| Uid(uuid::Uuid::from_u128(n));
    for (command, change) in [
        (
            delete_access_point("a"),
            Change::AccessPointDeleted(Gone { name: access_point_name("a"), uid: uid(3) }),
        ),
        (delete_policy("p"), Change::PolicyDeleted(Gone { name: policy_name("p"), uid: uid(2) })),
        (
            delete_network_rule("n"),
            Change::NetworkRuleDeleted(Gone { name: network_rule_name("n"), uid: uid(1) }),
        ),
    ] {
        assert_eq!(world.carry_out(command).change, change);
    }
    assert_eq!(world.catalog.access_point(&access_point_name("a")), None);
    assert_eq!(world.catalog.policy(&policy_name("p")), None);
    assert_eq!(world.catalog.network_rule(&network_rule_name("n")), None);
}

#[test]
fn an_event_says_who_asked_for_what_and_when() {
    let world = World::given([rule("n")]);
    let mark = RequestMark {
        id: RequestId::parse("r-1").unwrap(),
        method: "CreatePolicy".into(),
        fingerprint: Fingerprint([7; 32]),
    };
    let request = Request {
        actor: "alice".into(),
        time: UnixNanos(99),
        mark: Some(mark.clone()),
        ..world.request(policy("p", "n"))
    };
    let Ok(Verdict::Happened(events)) = world.judge(&request) else { panic!() };
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.sequence, event.time, &*event.actor), (2, UnixNanos(99), "alice"));
    assert_eq!(event.request.as_ref(), Some(&mark));
}

#[test]
fn an_events_sequence_is_the_revision_and_one() {
    let mut world = World::given(a_chain());
    world.carry_out(delete_access_point("a"));
    world.carry_out(access_point("a", "p"));
    let sequences: Vec<_> = world.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert_eq!((world.catalog.revision(), world.rulebook.revision()), (5, 5));
    drop(world.ask(&world.request(delete_policy("p"))));
    assert_eq!(world.catalog.revision(), 5, "what is rejected leaves no trace");
}

#[test]
fn what_exists_is_not_created_again() {
    check_rejected(
        a_chain(),
        vec![
            (rule("n"), Rejection::AlreadyExists(a_rule("n"))),
            (private_rule("n"), Rejection::AlreadyExists(a_rule("n"))),
            (policy("p", "n"), Rejection::AlreadyExists(a_policy("p"))),
            (policy("p", "unknown"), Rejection::AlreadyExists(a_policy("p"))),
            (access_point("a", "p"), Rejection::AlreadyExists(an_access_point("a"))),
            (access_point("a", "unknown"), Rejection::AlreadyExists(an_access_point("a"))),
        ],
    );
}

#[test]
fn what_is_not_there_is_not_deleted() {
    let abroad = |collection, id| full_name(ABROAD, collection, id);
    let (a, p, n) =
        (abroad("accessPoints", "a"), abroad("policies", "p"), abroad("networkRules", "n"));
    check_rejected(
        a_chain(),
        vec![
            (delete_network_rule("p"), Rejection::NotFound(a_rule("p"))),
            (delete_policy("a"), Rejection::NotFound(a_policy("a"))),
            (delete_access_point("n"), Rejection::NotFound(an_access_point("n"))),
            (delete_network_rule(&n), Rejection::NotFound(a_rule(&n))),
            (delete_policy(&p), Rejection::NotFound(a_policy(&p))),
            (delete_access_point(&a), Rejection::NotFound(an_access_point(&a))),
        ],
    );
}

#[test]
fn a_name_is_free_in_every_other_account_and_region() {
    for location in [ABROAD, "accounts/acme/regions/eu-2"] {
        let mut world = World::given(a_chain());
        world.carry_out(rule(&full_name(location, "networkRules", "n")));
        world.carry_out(policy(&full_name(location, "policies", "p"), "n"));
        world.carry_out(access_point(&full_name(location, "accessPoints", "a"), "p"));
    }
}

#[test]
fn all_missing_references_are_named_at_once_in_order() {
    let missing = |resource, missing: Vec<_>| Rejection::ReferencesMissing { resource, missing };
    check_rejected(
        a_chain(),
        vec![
            (
                access_point("b", "x p y"),
                missing(an_access_point("b"), vec![a_policy("x"), a_policy("y")]),
            ),
            (policy("q", "n y x"), missing(a_policy("q"), vec![a_rule("y"), a_rule("x")])),
        ],
    );
}

#[test]
fn references_stay_within_account_and_region() {
    for location in [ABROAD, "accounts/acme/regions/eu-2"] {
        let there = |collection, id| full_name(location, collection, id);
        let (a, p) = (there("accessPoints", "a"), there("policies", "p"));
        check_rejected(
            a_chain(),
            vec![
                (
                    access_point(&a, "p"),
                    Rejection::ReferencesMissing {
                        resource: an_access_point(&a),
                        missing: vec![a_policy(&p)],
                    },
                ),
                (
                    policy(&p, "n"),
                    Rejection::ReferencesMissing {
                        resource: a_policy(&p),
                        missing: vec![a_rule(&there("networkRules", "n"))],
                    },
                ),
            ],
        );
    }
}

#[test]
fn private_rules_need_a_dedicated_instance() {
    let given = || vec![rule("n"), private_rule("m"), private_rule("o")];
    let dedicated = create_policy("q", "kst-1", "CRYPTO_SERVICE_KEY_USER", "key/*", "m n o");
    assert!(verdict(given(), dedicated).is_ok());
    check_rejected(
        given(),
        vec![
            (policy("p", "m"), Rejection::PrivateRulesNeedInstance { places: vec![0] }),
            (policy("p", "m n o"), Rejection::PrivateRulesNeedInstance { places: vec![0, 2] }),
            (
                policy("p", "m x"),
                Rejection::ReferencesMissing {
                    resource: a_policy("p"),
                    missing: vec![a_rule("x")],
                },
            ),
        ],
    );
}

#[test]
fn what_is_held_is_not_deleted_and_its_holders_are_named() {
    let mut given = a_chain();
    given.extend([policy("q", "n"), access_point("b", "q p"), access_point("c", "q")]);
    check_rejected(
        given,
        vec![
            (
                delete_policy("p"),
                Rejection::InUse {
                    resource: a_policy("p"),
                    holders: vec![an_access_point("a"), an_access_point("b")],
                    total: 2,
                },
            ),
            (
                delete_network_rule("n"),
                Rejection::InUse {
                    resource: a_rule("n"),
                    holders: vec![a_policy("p"), a_policy("q")],
                    total: 2,
                },
            ),
        ],
    );
}

#[test]
fn only_the_first_hundred_holders_are_named_but_all_are_counted() {
    for (number, named) in [(99, 99), (100, 100), (101, 100), (250, 100)] {
        let mut given = vec![policy("p", "any")];
        given.extend((0..number).map(|i| access_point(&format!("a{i:03}"), "p")));
        let Err(Rejection::InUse { holders, total, .. }) = verdict(given, delete_policy("p"))
        else {
            panic!("it is held")
        };
        let first: Vec<_> = (0..named).map(|i| an_access_point(&format!("a{i:03}"))).collect();
        assert_eq!((holders, total), (first, number));
    }
}

#[test]
fn what_its_last_holder_let_go_of_can_be_deleted() {
    let mut given = a_chain();
    given.push(access_point("b", "p"));
    let mut world = World::given(given);
    world.carry_out(delete_access_point("a"));
    let held =
        Rejection::InUse { resource: a_policy("p"), holders: vec![an_access_point("b")], total: 1 };
    assert_eq!(world.ask(&world.request(delete_policy("p"))), Err(held));
    world.carry_out(delete_access_point("b"));
    world.carry_out(delete_policy("p"));
    world.carry_out(delete_network_rule("n"));
    assert_eq!(world.catalog.holders_of_policy(&policy_name("p")), None);
    assert_eq!(world.catalog.holders_of_rule(&network_rule_name("n")), None);
}

/// The same command, by a caller who says which state it saw.
fn with_etag(command: Command, etag: &str) -> Command {
    fn at<N>(target: Target<N>, etag: &str) -> Target<N> {
        Target { etag: Some(etag.into()), ..target }
    }
    match command {
        Command::DeleteAccessPoint(target) => Command::DeleteAccessPoint(at(target, etag)),
        Command::DeletePolicy(target) => Command::DeletePolicy(at(target, etag)),
        Command::DeleteNetworkRule(target) => Command::DeleteNetworkRule(at(target, etag)),
        Command::DeleteRamRole(target) => Command::DeleteRamRole(at(target, etag)),
        other => other,
    }
}

/// Each kind of resource, held by nobody: how to create it, how to delete it, and what it is.
fn each_kind() -> [(Vec<Command>, Command, ResourceName); 4] {
    [
        (vec![rule("n")], delete_network_rule("n"), a_rule("n")),
        (
            vec![create_ram_role("r", "ecs")],
            delete_ram_role("r"),
            ResourceName::RamRole(ram_role_name("r")),
        ),
        (vec![policy("p", "any")], delete_policy("p"), a_policy("p")),
        (
            vec![policy("p", "any"), access_point("a", "p")],
            delete_access_point("a"),
            an_access_point("a"),
        ),
    ]
}

fn etag_of(world: &World, resource: &ResourceName) -> Etag {
    let catalog = &world.catalog;
    match resource {
        ResourceName::AccessPoint(name) => catalog.access_point(name).unwrap().header.etag(),
        ResourceName::Policy(name) => catalog.policy(name).unwrap().header.etag(),
        ResourceName::NetworkRule(name) => catalog.network_rule(name).unwrap().header.etag(),
        ResourceName::RamRole(name) => catalog.ram_role(name).unwrap().header.etag(),
        ResourceName::ClientKey(name) => catalog.client_key(name).unwrap().header.etag(),
    }
}

#[test]
fn an_etag_must_name_the_current_state_if_it_is_given() {
    for (given, delete, resource) in each_kind() {
        let world = World::given(given);
        let current = etag_of(&world, &resource);
        let judge = |command| world.judge(&world.request(command));
        assert!(judge(delete.clone()).is_ok(), "{resource}");
        assert!(judge(with_etag(delete.clone(), &current.to_string())).is_ok(), "{resource}");
        for other in ["", "*", &format!("\"{current}\""), &format!("{current}0")] {
            let mismatch = Rejection::EtagMismatch { resource: resource.clone(), current };
            assert_eq!(judge(with_etag(delete.clone(), other)), Err(mismatch), "{other:?}");
        }
    }
}

#[test]
fn an_etag_of_an_earlier_resource_of_that_name_never_matches() {
    for (given, delete, resource) in each_kind() {
        let create = given.last().unwrap().clone();
        let mut world = World::given(given);
        let earlier = etag_of(&world, &resource);
        world.carry_out(delete.clone());
        world.carry_out(create);
        let current = etag_of(&world, &resource);
        let late = world.request(with_etag(delete, &earlier.to_string()));
        assert_eq!(world.ask(&late), Err(Rejection::EtagMismatch { resource, current }));
    }
}

#[test]
fn rejections_say_what_is_wrong() {
    let resource = || a_policy("p");
    let missing = |missing| Rejection::ReferencesMissing { resource: resource(), missing };
    let in_use = |total| Rejection::InUse { resource: resource(), holders: vec![], total };
    let name = "accounts/acme/regions/eu-1/policies/p";
    for (rejection, text) in [
        (Rejection::NotFound(resource()), format!("`{name}` is not found")),
        (Rejection::AlreadyExists(resource()), format!("`{name}` already exists")),
        (missing(vec![a_rule("n")]), format!("`{name}` names 1 resource that can't be found")),
        (
            missing(vec![a_rule("n"), a_rule("m")]),
            format!("`{name}` names 2 resources that can't be found"),
        ),
        (in_use(1), format!("`{name}` is in use by 1 resource")),
        (in_use(250), format!("`{name}` is in use by 250 resources")),
        (
            Rejection::RequestIdReused(RequestId::parse("r-1").unwrap()),
            "request id `r-1` was used for a request with other content".to_owned(),
        ),
        (
            Rejection::PrivateRulesNeedInstance { places: vec![0] },
            "private network rules need the scope of a dedicated instance".to_owned(),
        ),
    ] {
        assert_eq!(rejection.to_string(), text);
    }
}
