//! What requests about client keys come to.

use super::*;
use crate::domain::{
    access_point::TrustedRole,
    client_key::{ClientKey, ClientKeyState, Notice},
    command::KnownKey,
    testing::{
        World, add_client_key, by_role, client_key_name, create_access_point, create_policy,
        create_ram_role, delete_access_point, delete_client_key, disable_client_key,
        enable_client_key,
    },
    time::UnixNanos,
};

fn world() -> World {
    World::given([
        create_policy("p", "shared", "SECRET_USER", "secret/*", "any"),
        create_access_point("a", "p"),
        create_access_point("b", "p"),
    ])
}

fn key(world: &World, id: &str) -> ClientKey {
    ClientKey::clone(world.catalog.client_key(&client_key_name("a", id)).unwrap())
}

#[test]
fn an_access_point_has_three_client_keys_at_most_and_each_public_key_once() {
    let mut world = world();
    world.carry_out(add_client_key("a", "k", 0));
    let same = ResourceName::ClientKey(client_key_name("a", "k"));
    for again in [add_client_key("a", "k", 1), add_client_key("a", "l", 0)] {
        assert_eq!(world.ask(&world.request(again)), Err(Rejection::AlreadyExists(same.clone())));
    }
    // Who has the same key elsewhere is neither refused nor told.
    world.carry_out(add_client_key("b", "k", 0));
    world.carry_out(add_client_key("a", "l", 1));
    world.carry_out(disable_client_key("a", "l"));
    world.carry_out(add_client_key("a", "m", 2));
    let mut fourth = add_client_key("a", "n", 0);
    let Command::AddClientKey(new) = &mut fourth else { panic!() };
    new.public_key.info = [0x30, 0].into();
    let name = crate::domain::testing::access_point_name("a");
    let full = Err(Rejection::ClientKeysFull(name));
    assert_eq!(world.ask(&world.request(fourth.clone())), full);
    world.carry_out(delete_client_key("a", "l"));
    world.carry_out(fourth);
}

#[test]
fn only_who_authenticates_by_client_keys_has_any() {
    let mut world = world();
    world.carry_out(create_ram_role("r", "ecs"));
    let role = by_role(create_access_point("c", "p"), TrustedRole::EcsInstance, "r");
    world.carry_out(role);
    let name = crate::domain::testing::access_point_name;
    for (access_point, why) in [
        ("c", Rejection::NotByClientKey(name("c"))),
        ("d", Rejection::NotFound(ResourceName::AccessPoint(name("d")))),
    ] {
        assert_eq!(world.ask(&world.request(add_client_key(access_point, "k", 0))), Err(why));
    }
}

#[test]
fn what_a_key_proved_before_it_was_disabled_stays_void() {
    let mut world = world();
    let made = world.carry_out(add_client_key("a", "k", 0)).sequence;
    assert_eq!(key(&world, "k").sessions_valid_from, made);
    let disabled = world.carry_out(disable_client_key("a", "k")).sequence;
    assert_eq!(key(&world, "k").state, ClientKeyState::Disabled);
    world.carry_out(enable_client_key("a", "k"));
    let enabled = key(&world, "k");
    assert_eq!((enabled.state, enabled.sessions_valid_from), (ClientKeyState::Enabled, disabled));
}

#[test]
fn keys_go_with_their_access_point_and_do_not_come_back_with_its_name() {
    let mut world = world();
    world.carry_out(add_client_key("a", "k", 0));
    world.carry_out(add_client_key("b", "k", 0));
    world.carry_out(delete_access_point("a"));
    world.carry_out(create_access_point("a", "p"));
    assert_eq!(world.catalog.client_key(&client_key_name("a", "k")), None);
    assert!(world.catalog.client_key(&client_key_name("b", "k")).is_some());
    // An update is no deletion.
    world.carry_out(crate::domain::testing::as_update(create_access_point("b", "p")));
    assert!(world.catalog.client_key(&client_key_name("b", "k")).is_some());
}

#[test]
fn what_the_server_keeps_of_a_key_is_no_change_of_it_and_never_of_another() {
    let mut world = world();
    world.carry_out(add_client_key("a", "k", 0));
    let before = key(&world, "k");
    let known = KnownKey { name: before.name.clone(), uid: before.header.uid };
    let used = |time| Command::KeepClientKeyUse(known.clone(), UnixNanos::from_parts(time, 0));
    world.carry_out(used(7_200));
    assert_eq!(
        world.ask(&world.request(used(10_799))),
        Err(Rejection::NothingNew(known.name.clone()))
    );
    world.carry_out(used(10_800));
    let after = key(&world, "k");
    assert_eq!(after.last_use, Some(UnixNanos::from_parts(10_800, 0)));
    assert_eq!(ClientKey { last_use: None, ..after }, before);

    // It stays through what happens to the key, and isn't another's that gets its name.
    world.carry_out(disable_client_key("a", "k"));
    world.carry_out(enable_client_key("a", "k"));
    assert!(key(&world, "k").last_use.is_some());
    world.carry_out(delete_client_key("a", "k"));
    let gone = Err(Rejection::NotFound(ResourceName::ClientKey(known.name.clone())));
    assert_eq!(world.ask(&world.request(used(20_000))), gone);
    world.carry_out(add_client_key("a", "k", 0));
    assert_eq!(key(&world, "k").last_use, None);
    let notice = Command::GiveClientKeyNotice(known.clone(), Notice::Day);
    for late in [used(20_000), notice] {
        assert_eq!(world.ask(&world.request(late)), gone);
    }
}
