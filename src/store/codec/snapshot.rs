//! The items of a snapshot as they are stored. Resources have the form that they have in events.

use std::sync::Arc;

use crate::domain::{
    catalog::{
        Answered,
        inventory::{Item, Remembered},
    },
    name::Id,
    request::RequestMark,
    resource::Header,
};

use super::{
    At, DecodeError, access_point, client_key, decode_time, encode_time,
    event::{decode_mark, encode_mark},
    meaningless, missing, network_rule, pb, policy, ram_role,
};
use pb::{snapshot_item::Item as StoredItem, snapshot_resource::Resource as StoredResource};

/// Turns an item into what is stored of it.
pub fn encode_item(item: &Item) -> pb::SnapshotItem {
    let resource = |header: &Header, resource| {
        StoredItem::Resource(pb::SnapshotResource {
            revision: header.revision,
            update_time: Some(encode_time(header.update_time)),
            resource: Some(resource),
        })
    };
    let item = match item {
        Item::NetworkRule(rule) => {
            resource(&rule.header, StoredResource::NetworkRule(network_rule::encode(rule)))
        }
        Item::Policy(policy) => {
            resource(&policy.header, StoredResource::Policy(policy::encode(policy)))
        }
        Item::RamRole(role) => {
            resource(&role.header, StoredResource::RamRole(ram_role::encode(role)))
        }
        Item::AccessPoint(access_point) => {
            let stored = StoredResource::AccessPoint(access_point::encode(access_point));
            resource(&access_point.header, stored)
        }
        Item::ClientKey(key) => {
            resource(&key.header, StoredResource::ClientKey(client_key::encode(key)))
        }
        Item::Request(remembered) => StoredItem::Request(encode_request(remembered)),
    };
    pb::SnapshotItem { item: Some(item) }
}

fn encode_request(remembered: &Remembered) -> pb::RememberedRequest {
    let Remembered { actor, account, method: _, id: _, answered } = remembered;
    let Answered { first, last, fingerprint: _, time } = answered;
    pb::RememberedRequest {
        actor: actor.to_string(),
        account: account.to_string(),
        mark: Some(encode_mark(&remembered.mark())),
        first: *first,
        last: *last,
        time: Some(encode_time(*time)),
    }
}

/// Turns what is stored into the item that it was made from.
pub fn decode_item(stored: pb::SnapshotItem) -> Result<Item, DecodeError> {
    let pb::SnapshotItem { item } = stored;
    match item.ok_or_else(|| missing("item"))? {
        StoredItem::Resource(stored) => decode_resource(stored),
        StoredItem::Request(stored) => decode_request(stored).map(Item::Request),
    }
}

fn decode_resource(stored: pb::SnapshotResource) -> Result<Item, DecodeError> {
    let pb::SnapshotResource { revision, update_time, resource } = stored;
    let at = At { sequence: revision, time: decode_time("update_time", update_time)? };
    Ok(match resource.ok_or_else(|| missing("resource"))? {
        StoredResource::NetworkRule(stored) => {
            Item::NetworkRule(Arc::new(network_rule::decode(at, stored)?))
        }
        StoredResource::Policy(stored) => Item::Policy(Arc::new(policy::decode(at, stored)?)),
        StoredResource::RamRole(stored) => Item::RamRole(Arc::new(ram_role::decode(at, stored)?)),
        StoredResource::AccessPoint(stored) => {
            Item::AccessPoint(Arc::new(access_point::decode(at, stored)?))
        }
        StoredResource::ClientKey(stored) => {
            Item::ClientKey(Arc::new(client_key::decode(at, stored)?))
        }
    })
}

fn decode_request(stored: pb::RememberedRequest) -> Result<Remembered, DecodeError> {
    let pb::RememberedRequest { actor, account, mark, first, last, time } = stored;
    let mark = decode_mark(mark.ok_or_else(|| missing("mark"))?)?;
    let RequestMark { id, method, fingerprint } = mark;
    let time = decode_time("time", time)?;
    Ok(Remembered {
        actor: actor.into(),
        account: Id::parse(&account).map_err(|error| meaningless("account", error))?,
        method,
        id,
        answered: Answered { first, last, fingerprint, time },
    })
}
