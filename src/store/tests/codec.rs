//! Events as bytes: those of today are read back whole, those of every version before still are.

use proptest::{prelude::*, sample::select};

use super::{Details, address_list, some_events, with_details};
use crate::{
    domain::{
        access_point::{Authentication, TrustedRole},
        client_key::Notice,
        command::{Command, KnownKey, Request},
        event::Event,
        name::Id,
        request::{Fingerprint, RequestId, RequestMark},
        testing::{
            ANY_NETWORK, World, add_client_key, as_update, client_key_name, create_access_point,
            create_network_rule, create_policy, create_ram_role, create_ram_role_with,
            delete_access_point, delete_client_key, delete_network_rule, delete_policy,
            delete_ram_role, disable_client_key, enable_client_key, histories::any_history,
            resume_access_point, revoke_sessions, suspend_access_point,
        },
        time::UnixNanos,
    },
    store::{
        codec::{DecodeError, decode, encode},
        parts,
        testing::check_golden,
    },
};

fn mark() -> RequestMark {
    RequestMark {
        id: RequestId::parse("0b9e-42").unwrap(),
        method: "/aap.v1.PolicyService/CreatePolicy".into(),
        fingerprint: Fingerprint([0xf7; 32]),
    }
}

/// One event of each kind, and of each shape that a kind can have.
fn every_kind() -> Vec<(&'static str, Event)> {
    let mut world = World::given([]);
    world.carry_out(create_network_rule("office", "public", "203.0.113.0/24 2001:db8::1"));
    world.carry_out(create_network_rule("cluster", "vpc-1", "10.0.0.0/8"));
    world.carry_out(create_network_rule("inside", "private", "0.0.0.0/0 ::/0"));
    let (templates, resources) =
        ("CRYPTO_SERVICE_SECRET_USER CRYPTO_SERVICE_KEY_USER", "secret/db-* key/a**");
    world.carry_out(create_policy("ruled", "kst-1", templates, resources, "cluster inside"));
    world.carry_out(create_policy("open", "shared", "SECRET_USER", "secret/*", ANY_NETWORK));
    world.carry_out(create_access_point("app", "ruled open"));
    world.carry_out(create_access_point("job", "open"));
    world.carry_out(as_update(create_access_point("job", "ruled")));
    world.carry_out(suspend_access_point("job"));
    world.carry_out(resume_access_point("job"));
    world.carry_out(as_update(create_policy(
        "open",
        "shared",
        "SECRET_USER",
        "secret/b",
        "office",
    )));
    world.carry_out(as_update(create_network_rule("cluster", "vpc-1", "10.1.0.0/16")));
    world.carry_out(as_update(create_access_point("job", "open")));
    world.carry_out(as_update(create_policy("open", "shared", "SECRET_USER", "secret/b", "any")));
    world.carry_out(delete_access_point("app"));
    world.carry_out(delete_policy("ruled"));
    world.carry_out(delete_network_rule("office"));
    world.carry_out(create_ram_role("workers", "ecs"));
    world.carry_out(as_update(create_ram_role_with("workers", "{\"Statement\": [\"\u{e4}\"]}\n")));
    world.carry_out(delete_ram_role("workers"));
    world.carry_out(add_client_key("job", "KAAP.1", 0));
    world.carry_out(add_client_key("job", "KAAP.2", 1));
    world.carry_out(disable_client_key("job", "KAAP.1"));
    world.carry_out(enable_client_key("job", "KAAP.1"));
    world.carry_out(delete_client_key("job", "KAAP.1"));
    world.carry_out(revoke_sessions("job"));
    what_the_server_keeps(&mut world);
    let details = Details {
        time: UnixNanos(1_795_458_000_123_456_789),
        create_time: UnixNanos(1_795_458_000_000_000_000),
        description: "für die Ablage".to_owned(),
        authentication: Authentication::RamRole {
            trusted_role: TrustedRole::AckWorker,
            role: Id::parse("workers").unwrap(),
        },
    };
    let names = [
        "network_rule_created_public",
        "network_rule_created_vpc",
        "network_rule_created_private",
        "policy_created_with_network_rules",
        "policy_created_for_any_network",
        "access_point_created_with_ram_role",
        "access_point_created_with_client_key",
        "access_point_updated",
        "access_point_suspended_ending_sessions",
        "access_point_resumed_without_its_sessions",
        "policy_updated",
        "network_rule_updated",
        "access_point_updated_without_its_sessions",
        "policy_updated_again",
        "access_point_deleted",
        "policy_deleted",
        "network_rule_deleted",
        "ram_role_created",
        "ram_role_updated_ending_sessions",
        "ram_role_deleted",
        "client_key_issued",
        "client_key_imported",
        "client_key_disabled",
        "client_key_enabled",
        "client_key_deleted",
        "sessions_revoked",
        "client_key_used",
        "client_key_notice_given",
        "client_key_enabled_that_was_used",
    ];
    let events = names.into_iter().zip(&world.events).map(|(name, event)| match name {
        "access_point_created_with_client_key" | "network_rule_created_private" => {
            (name, event.clone())
        }
        _ => (name, Event { request: Some(mark()), ..with_details(event, &details) }),
    });
    events.collect()
}

/// A use of a client key, a notice of its end, and what it is like then.
fn what_the_server_keeps(world: &mut World) {
    let name = client_key_name("job", "KAAP.2");
    let found = world.catalog.client_key(&name).unwrap();
    let (uid, end) = (found.header.uid, found.validity.not_after());
    let key = KnownKey { name, uid };
    let used = UnixNanos(1_795_458_000_123_456_789);
    world.carry_out(Command::KeepClientKeyUse(key.clone(), used));
    let request = Request {
        time: end.plus_seconds(-60 * 60),
        ..world.request(Command::GiveClientKeyNotice(key, Notice::Day))
    };
    world.ask(&request).unwrap();
    world.carry_out(enable_client_key("job", "KAAP.2"));
}

#[test]
fn golden_events_are_read_and_written_as_ever() {
    let events = every_kind();
    let today: Vec<_> = events.iter().map(|(name, event)| (*name, encode(event))).collect();
    check_golden("events", &today, |bytes| format!("{:#?}\n", decode(bytes).unwrap()));
    for (name, event) in events {
        assert_eq!(decode(&encode(&event)).unwrap(), event, "{name}");
    }
}

fn any_details() -> impl Strategy<Value = Details> {
    const ROLES: &[TrustedRole] =
        &[TrustedRole::EcsInstance, TrustedRole::AckWorker, TrustedRole::FunctionCompute];
    let ram_role =
        (select(ROLES), "[a-zA-Z0-9][a-z_.-]{0,127}").prop_map(|(trusted_role, role)| {
            Authentication::RamRole { trusted_role, role: Id::parse(&role).unwrap() }
        });
    let authentication = prop_oneof![Just(Authentication::ClientKey), ram_role];
    let times = (0..i64::MAX, 0..i64::MAX);
    let description = "\\PC{0,1024}";
    (times, description, authentication).prop_map(
        |((time, created), description, authentication)| {
            let (time, create_time) = (UnixNanos(time), UnixNanos(created));
            Details { time, create_time, description, authentication }
        },
    )
}

fn any_mark() -> impl Strategy<Value = Option<RequestMark>> {
    let mark = ("[!-~]{1,64}", "\\PC{0,80}", any::<[u8; 32]>()).prop_map(|(id, method, digest)| {
        RequestMark {
            id: RequestId::parse(&id).unwrap(),
            method: method.into(),
            fingerprint: Fingerprint(digest),
        }
    });
    prop::option::of(mark)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_event_reads_back_as_it_was(
        history in any_history(),
        details in any_details(),
        actor in "\\PC{0,80}",
        mark in any_mark(),
    ) {
        let mut world = World::given([]);
        for step in history {
            world.step(step);
        }
        for event in &world.events {
            let (actor, request) = (actor.as_str().into(), mark.clone());
            let event = Event { actor, request, ..with_details(event, &details) };
            prop_assert_eq!(decode(&encode(&event)).unwrap(), event);
        }
    }

    #[test]
    fn bytes_that_are_no_event_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
    ) {
        let _ = decode(&bytes);
        for (_, event) in every_kind() {
            let mut changed = encode(&event);
            let place = place.index(changed.len());
            changed[place] ^= 1;
            let _ = decode(&changed);
            let _ = decode(&changed[..place]);
        }
    }
}

#[test]
fn an_event_that_says_nothing_is_refused_by_what_is_missing() {
    let error = decode(b"").unwrap_err();
    assert!(matches!(error, DecodeError::Meaning { field: "time", .. }), "{error}");
    assert_eq!(error.to_string(), "its `time` means nothing: it is missing");
}

#[test]
fn an_event_of_800_addresses_is_stored_in_parts() {
    let mut world = World::given([]);
    let event = world.carry_out(create_network_rule("large", "vpc-1", &address_list(800)));
    let bytes = encode(&event);
    let parts = parts::cut(event.sequence, &bytes).unwrap();
    assert!(parts.len() > 3, "{} bytes, {} parts", bytes.len(), parts.len());
    assert!(parts.iter().all(|(_, value)| value.len() <= parts::MAX_VALUE_BYTES));
    assert!(some_events(40).iter().any(|event| encode(event).len() > parts::MAX_VALUE_BYTES));
}
