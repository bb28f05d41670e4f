//! Events as they are stored.

use std::sync::Arc;

use prost::Message;

use crate::domain::{
    command::KnownKey,
    event::{Change, Event, Gone, KeyNotice, KeyUse},
    name::{AccessPointName, ClientKeyName, InvalidName, NetworkRuleName, PolicyName, RamRoleName},
    request::{Fingerprint, RequestId, RequestMark},
    resource::Uid,
    time::UnixNanos,
};

use super::{
    At, DecodeError, access_point, client_key, decode_time, decode_uid, encode_time, meaningless,
    missing, network_rule, pb, policy, ram_role,
};
use pb::event::Change as StoredChange;

/// Turns an event into the bytes that are stored.
pub fn encode(event: &Event) -> Vec<u8> {
    let Event { sequence, time, actor, request, change } = event;
    let stored = pb::Event {
        sequence: *sequence,
        time: Some(encode_time(*time)),
        actor: actor.to_string(),
        request: request.as_ref().map(encode_mark),
        change: Some(encode_change(change)),
    };
    stored.encode_to_vec()
}

pub(super) fn encode_mark(mark: &RequestMark) -> pb::RequestMark {
    let RequestMark { id, method, fingerprint } = mark;
    pb::RequestMark {
        id: id.as_str().to_owned(),
        method: method.to_string(),
        fingerprint: fingerprint.0.to_vec(),
    }
}

fn encode_change(change: &Change) -> StoredChange {
    match change {
        Change::AccessPointCreated(created) => {
            StoredChange::AccessPointCreated(access_point::encode(created))
        }
        Change::AccessPointDeleted(gone) => {
            StoredChange::AccessPointDeleted(encode_gone(&gone.name.to_string(), gone.uid))
        }
        Change::AccessPointUpdated(changed) => {
            StoredChange::AccessPointUpdated(access_point::encode(changed))
        }
        Change::AccessPointSuspended(changed) => {
            StoredChange::AccessPointSuspended(access_point::encode(changed))
        }
        Change::AccessPointResumed(changed) => {
            StoredChange::AccessPointResumed(access_point::encode(changed))
        }
        Change::SessionsRevoked(changed) => {
            StoredChange::SessionsRevoked(access_point::encode(changed))
        }
        Change::PolicyCreated(created) => StoredChange::PolicyCreated(policy::encode(created)),
        Change::PolicyUpdated(changed) => StoredChange::PolicyUpdated(policy::encode(changed)),
        Change::PolicyDeleted(gone) => {
            StoredChange::PolicyDeleted(encode_gone(&gone.name.to_string(), gone.uid))
        }
        Change::NetworkRuleCreated(created) => {
            StoredChange::NetworkRuleCreated(network_rule::encode(created))
        }
        Change::NetworkRuleUpdated(changed) => {
            StoredChange::NetworkRuleUpdated(network_rule::encode(changed))
        }
        Change::NetworkRuleDeleted(gone) => {
            StoredChange::NetworkRuleDeleted(encode_gone(&gone.name.to_string(), gone.uid))
        }
        Change::RamRoleCreated(created) => StoredChange::RamRoleCreated(ram_role::encode(created)),
        Change::RamRoleUpdated(changed) => StoredChange::RamRoleUpdated(ram_role::encode(changed)),
        Change::RamRoleDeleted(gone) => {
            StoredChange::RamRoleDeleted(encode_gone(&gone.name.to_string(), gone.uid))
        }
        Change::ClientKeyIssued(key) => StoredChange::ClientKeyIssued(client_key::encode(key)),
        Change::ClientKeyImported(key) => StoredChange::ClientKeyImported(client_key::encode(key)),
        Change::ClientKeyEnabled(key) => StoredChange::ClientKeyEnabled(client_key::encode(key)),
        Change::ClientKeyDisabled(key) => StoredChange::ClientKeyDisabled(client_key::encode(key)),
        Change::ClientKeyDeleted(gone) => {
            StoredChange::ClientKeyDeleted(encode_gone(&gone.name.to_string(), gone.uid))
        }
        Change::ClientKeyUsed(used) => StoredChange::ClientKeyUsed(encode_use(used)),
        Change::ClientKeyNoticeGiven(notice) => {
            StoredChange::ClientKeyNoticeGiven(encode_notice(notice))
        }
    }
}

fn encode_use(used: &KeyUse) -> pb::KeyUse {
    let KeyUse { key: KnownKey { name, uid }, time } = used;
    let (name, uid) = (name.to_string(), uid.0.as_bytes().to_vec());
    pb::KeyUse { name, uid, time: Some(encode_time(*time)) }
}

fn encode_notice(given: &KeyNotice) -> pb::KeyNotice {
    let KeyNotice { key: KnownKey { name, uid }, notice, end } = given;
    let (name, uid) = (name.to_string(), uid.0.as_bytes().to_vec());
    pb::KeyNotice { name, uid, days: notice.days().into(), end: end.seconds() }
}

fn encode_gone(name: &str, uid: Uid) -> pb::Deletion {
    pb::Deletion { name: name.to_owned(), uid: uid.0.as_bytes().to_vec() }
}

/// Turns stored bytes into the event that they were made from.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let pb::Event { sequence, time, actor, request, change } = pb::Event::decode(bytes)?;
    let time = decode_time("time", time)?;
    let change = change.ok_or_else(|| missing("change"))?;
    Ok(Event {
        sequence,
        time,
        actor: actor.into(),
        request: request.map(decode_mark).transpose()?,
        change: decode_change(At { sequence, time }, change)?,
    })
}

pub(super) fn decode_mark(mark: pb::RequestMark) -> Result<RequestMark, DecodeError> {
    let pb::RequestMark { id, method, fingerprint } = mark;
    let fingerprint: [u8; 32] =
        fingerprint.as_slice().try_into().map_err(|error| meaningless("fingerprint", error))?;
    Ok(RequestMark {
        id: RequestId::parse(&id).map_err(|error| meaningless("request.id", error))?,
        method: method.into(),
        fingerprint: Fingerprint(fingerprint),
    })
}

fn decode_change(at: At, change: StoredChange) -> Result<Change, DecodeError> {
    let access_point = |stored| access_point::decode(at, stored).map(Arc::new);
    let key = |stored| client_key::decode(at, stored).map(Arc::new);
    Ok(match change {
        StoredChange::AccessPointCreated(stored) => {
            Change::AccessPointCreated(access_point(stored)?)
        }
        StoredChange::AccessPointDeleted(gone) => {
            Change::AccessPointDeleted(decode_gone(&gone, AccessPointName::parse)?)
        }
        StoredChange::AccessPointUpdated(stored) => {
            Change::AccessPointUpdated(access_point(stored)?)
        }
        StoredChange::AccessPointSuspended(stored) => {
            Change::AccessPointSuspended(access_point(stored)?)
        }
        StoredChange::AccessPointResumed(stored) => {
            Change::AccessPointResumed(access_point(stored)?)
        }
        StoredChange::SessionsRevoked(stored) => Change::SessionsRevoked(access_point(stored)?),
        StoredChange::PolicyUpdated(stored) => {
            Change::PolicyUpdated(Arc::new(policy::decode(at, stored)?))
        }
        StoredChange::NetworkRuleUpdated(stored) => {
            Change::NetworkRuleUpdated(Arc::new(network_rule::decode(at, stored)?))
        }
        StoredChange::PolicyCreated(stored) => {
            Change::PolicyCreated(Arc::new(policy::decode(at, stored)?))
        }
        StoredChange::PolicyDeleted(gone) => {
            Change::PolicyDeleted(decode_gone(&gone, PolicyName::parse)?)
        }
        StoredChange::NetworkRuleCreated(stored) => {
            Change::NetworkRuleCreated(Arc::new(network_rule::decode(at, stored)?))
        }
        StoredChange::NetworkRuleDeleted(gone) => {
            Change::NetworkRuleDeleted(decode_gone(&gone, NetworkRuleName::parse)?)
        }
        StoredChange::RamRoleCreated(stored) => {
            Change::RamRoleCreated(Arc::new(ram_role::decode(at, stored)?))
        }
        StoredChange::RamRoleUpdated(stored) => {
            Change::RamRoleUpdated(Arc::new(ram_role::decode(at, stored)?))
        }
        StoredChange::RamRoleDeleted(gone) => {
            Change::RamRoleDeleted(decode_gone(&gone, RamRoleName::parse)?)
        }
        StoredChange::ClientKeyIssued(stored) => Change::ClientKeyIssued(key(stored)?),
        StoredChange::ClientKeyImported(stored) => Change::ClientKeyImported(key(stored)?),
        StoredChange::ClientKeyEnabled(stored) => Change::ClientKeyEnabled(key(stored)?),
        StoredChange::ClientKeyDisabled(stored) => Change::ClientKeyDisabled(key(stored)?),
        StoredChange::ClientKeyDeleted(gone) => {
            Change::ClientKeyDeleted(decode_gone(&gone, ClientKeyName::parse)?)
        }
        StoredChange::ClientKeyUsed(stored) => Change::ClientKeyUsed(decode_use(stored)?),
        StoredChange::ClientKeyNoticeGiven(stored) => {
            Change::ClientKeyNoticeGiven(decode_notice(stored)?)
        }
    })
}

fn decode_use(stored: pb::KeyUse) -> Result<KeyUse, DecodeError> {
    let pb::KeyUse { name, uid, time } = stored;
    Ok(KeyUse { key: decode_key(&name, &uid)?, time: decode_time("time", time)? })
}

fn decode_notice(stored: pb::KeyNotice) -> Result<KeyNotice, DecodeError> {
    let pb::KeyNotice { name, uid, days, end } = stored;
    let (key, notice) = (decode_key(&name, &uid)?, client_key::decode_notice(days)?);
    Ok(KeyNotice { key, notice, end: UnixNanos::from_parts(end, 0) })
}

fn decode_key(name: &str, uid: &[u8]) -> Result<KnownKey, DecodeError> {
    let name = ClientKeyName::parse(name).map_err(|error| meaningless("name", error))?;
    Ok(KnownKey { name, uid: decode_uid(uid)? })
}

fn decode_gone<N>(
    gone: &pb::Deletion,
    parse: fn(&str) -> Result<N, InvalidName>,
) -> Result<Gone<N>, DecodeError> {
    let pb::Deletion { name, uid } = gone;
    let name = parse(name).map_err(|error| meaningless("name", error))?;
    Ok(Gone { name, uid: decode_uid(uid)? })
}
