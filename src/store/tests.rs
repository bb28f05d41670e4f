//! What the journal promises: bytes that are read forever, events that are all there or named, and
//! answers that follow the disk.

mod codec;
mod damage;
mod journal;
mod writer;

use std::sync::Arc;

use crate::domain::{
    access_point::{AccessPoint, Authentication},
    client_key::ClientKey,
    event::{Change, Event},
    network_rule::NetworkRule,
    policy::Policy,
    ram_role::RamRole,
    resource::{Description, Header},
    testing::{World, create_network_rule, delete_network_rule},
    time::UnixNanos,
};

/// Network rules that are created and deleted again and again: as many events as wanted, of all
/// sizes up to a few parts.
fn some_events(count: usize) -> Vec<Event> {
    let mut world = World::given([]);
    while world.events.len() < count {
        let number = world.events.len();
        let name = format!("rule-{number}");
        let addresses = if number.is_multiple_of(16) { 800 } else { 1 + number % 40 };
        world.carry_out(create_network_rule(&name, "public", &address_list(addresses)));
        if number.is_multiple_of(3) && world.events.len() < count {
            world.carry_out(delete_network_rule(&name));
        }
    }
    world.events
}

/// So many addresses, each as long as one can be.
fn address_list(count: usize) -> String {
    let addresses = (0..count).map(|n| format!("2001:db8:1111:2222:3333:4444:5555:{n:x}/128"));
    addresses.collect::<Vec<_>>().join(" ")
}

/// What is the same in the headers of all resources.
#[derive(Clone, Debug)]
struct Details {
    time: UnixNanos,
    create_time: UnixNanos,
    description: String,
    authentication: Authentication,
}

/// An event with other details than the world gave it.
fn with_details(event: &Event, details: &Details) -> Event {
    let Details { time, create_time, description, authentication } = details;
    let header = |header: &Header| Header {
        create_time: *create_time,
        update_time: *time,
        description: Description::parse(description).unwrap(),
        ..header.clone()
    };
    let access_point = |changed: &Arc<AccessPoint>| {
        Arc::new(AccessPoint {
            header: header(&changed.header),
            authentication: authentication.clone(),
            ..AccessPoint::clone(changed)
        })
    };
    let policy = |changed: &Arc<Policy>| {
        Arc::new(Policy { header: header(&changed.header), ..Policy::clone(changed) })
    };
    let rule = |changed: &Arc<NetworkRule>| {
        Arc::new(NetworkRule { header: header(&changed.header), ..NetworkRule::clone(changed) })
    };
    let role = |changed: &Arc<RamRole>| {
        Arc::new(RamRole { header: header(&changed.header), ..RamRole::clone(changed) })
    };
    // A client key has no description.
    let key = |changed: &Arc<ClientKey>| {
        let description = Description::default();
        let header = Header { description, ..header(&changed.header) };
        Arc::new(ClientKey { header, ..ClientKey::clone(changed) })
    };
    let change = match &event.change {
        Change::AccessPointCreated(it) => Change::AccessPointCreated(access_point(it)),
        Change::AccessPointUpdated(it) => Change::AccessPointUpdated(access_point(it)),
        Change::AccessPointSuspended(it) => Change::AccessPointSuspended(access_point(it)),
        Change::AccessPointResumed(it) => Change::AccessPointResumed(access_point(it)),
        Change::SessionsRevoked(it) => Change::SessionsRevoked(access_point(it)),
        Change::PolicyCreated(it) => Change::PolicyCreated(policy(it)),
        Change::PolicyUpdated(it) => Change::PolicyUpdated(policy(it)),
        Change::NetworkRuleCreated(it) => Change::NetworkRuleCreated(rule(it)),
        Change::NetworkRuleUpdated(it) => Change::NetworkRuleUpdated(rule(it)),
        Change::RamRoleCreated(it) => Change::RamRoleCreated(role(it)),
        Change::RamRoleUpdated(it) => Change::RamRoleUpdated(role(it)),
        Change::ClientKeyIssued(it) => Change::ClientKeyIssued(key(it)),
        Change::ClientKeyImported(it) => Change::ClientKeyImported(key(it)),
        Change::ClientKeyEnabled(it) => Change::ClientKeyEnabled(key(it)),
        Change::ClientKeyDisabled(it) => Change::ClientKeyDisabled(key(it)),
        gone @ (Change::AccessPointDeleted(_)
        | Change::PolicyDeleted(_)
        | Change::NetworkRuleDeleted(_)
        | Change::RamRoleDeleted(_)
        | Change::ClientKeyDeleted(_)
        | Change::ClientKeyUsed(_)
        | Change::ClientKeyNoticeGiven(_)) => gone.clone(),
    };
    Event { time: *time, change, ..event.clone() }
}
