//! Cursors of the audit log as they are stored: what of one never changes, and how far it has come.

use prost::Message as _;
use uuid::Uuid;

use crate::domain::{
    audit_cursor::{Definition, Missed, Progress},
    audit_filter::{AuditFilter, Numbers},
    name::{AuditCursorName, Id},
};

use super::{
    DecodeError, decode_time, decode_uid, encode_time,
    event::{decode_mark, encode_mark},
    meaningless, pb,
};

/// Turns what never changes into what is stored of it.
pub fn encode_definition(definition: &Definition) -> Vec<u8> {
    let Definition { name, uid, create_time, creator, mark, filter, start } = definition;
    let stored = pb::AuditCursor {
        name: name.to_string(),
        uid: uid.0.as_bytes().to_vec(),
        create_time: Some(encode_time(*create_time)),
        creator: creator.to_string(),
        request: mark.as_ref().map(encode_mark),
        filter: Some(encode_filter(filter)),
        start_sequence: *start,
    };
    stored.encode_to_vec()
}

/// Turns what is stored into what never changes.
pub fn decode_definition(bytes: &[u8]) -> Result<Definition, DecodeError> {
    let pb::AuditCursor { name, uid, create_time, creator, request, filter, start_sequence } =
        pb::AuditCursor::decode(bytes)?;
    Ok(Definition {
        name: AuditCursorName::parse(&name).map_err(|error| meaningless("name", error))?,
        uid: decode_uid(&uid)?,
        create_time: decode_time("create_time", create_time)?,
        creator: creator.into(),
        mark: request.map(decode_mark).transpose()?,
        filter: decode_filter(filter.unwrap_or_default())?,
        start: start_sequence,
    })
}

/// Turns how far a cursor has come into what is stored of it.
pub fn encode_progress(progress: &Progress) -> Vec<u8> {
    let Progress { log_id, through, time, missed, missed_count } = progress;
    let encode_missed = |missed: &Missed| {
        let Missed { log_id, from, through } = missed;
        let (log_id, through) = (log_id.as_bytes().to_vec(), through.unwrap_or_default());
        pb::MissedRange { log_id, from: *from, through }
    };
    let stored = pb::AuditCursorProgress {
        log_id: log_id.as_bytes().to_vec(),
        through: *through,
        time: time.map(encode_time),
        missed: missed.iter().map(encode_missed).collect(),
        missed_count: *missed_count,
    };
    stored.encode_to_vec()
}

/// Turns what is stored into how far a cursor has come.
pub fn decode_progress(bytes: &[u8]) -> Result<Progress, DecodeError> {
    let pb::AuditCursorProgress { log_id, through, time, missed, missed_count } =
        pb::AuditCursorProgress::decode(bytes)?;
    let decode_missed = |missed: pb::MissedRange| {
        let pb::MissedRange { log_id, from, through } = missed;
        let through = Some(through).filter(|through| *through > 0);
        Ok(Missed { log_id: decode_log_id(&log_id)?, from, through })
    };
    Ok(Progress {
        log_id: decode_log_id(&log_id)?,
        through,
        time: time.map(|time| decode_time("time", Some(time))).transpose()?,
        missed: missed.into_iter().map(decode_missed).collect::<Result<_, DecodeError>>()?,
        missed_count,
    })
}

fn decode_log_id(bytes: &[u8]) -> Result<Uuid, DecodeError> {
    Uuid::from_slice(bytes).map_err(|error| meaningless("log_id", error))
}

fn encode_filter(filter: &AuditFilter) -> pb::AuditCursorFilter {
    let AuditFilter {
        accounts,
        access_points,
        kinds,
        outcomes,
        reasons,
        actions,
        resource_prefixes,
    } = filter;
    let texts = |texts: &[Box<str>]| texts.iter().map(ToString::to_string).collect();
    pb::AuditCursorFilter {
        accounts: accounts.iter().map(ToString::to_string).collect(),
        access_points: texts(access_points),
        kinds: kinds.iter().collect(),
        outcomes: outcomes.iter().collect(),
        reasons: reasons.iter().collect(),
        actions: texts(actions),
        resource_prefixes: texts(resource_prefixes),
    }
}

fn decode_filter(filter: pb::AuditCursorFilter) -> Result<AuditFilter, DecodeError> {
    let pb::AuditCursorFilter {
        accounts,
        access_points,
        kinds,
        outcomes,
        reasons,
        actions,
        resource_prefixes,
    } = filter;
    let texts = |texts: Vec<String>| texts.into_iter().map(Into::into).collect();
    let accounts = accounts.iter().map(|account| Id::parse(account)).collect::<Result<_, _>>();
    Ok(AuditFilter {
        accounts: accounts.map_err(|error| meaningless("accounts", error))?,
        access_points: texts(access_points),
        kinds: decode_numbers("kinds", &kinds)?,
        outcomes: decode_numbers("outcomes", &outcomes)?,
        reasons: decode_numbers("reasons", &reasons)?,
        actions: texts(actions),
        resource_prefixes: texts(resource_prefixes),
    })
}

fn decode_numbers(field: &'static str, stored: &[u32]) -> Result<Numbers, DecodeError> {
    let mut numbers = Numbers::default();
    for number in stored {
        let number = i32::try_from(*number).map_err(|error| meaningless(field, error))?;
        numbers.add(number).map_err(|error| meaningless(field, error))?;
    }
    Ok(numbers)
}
