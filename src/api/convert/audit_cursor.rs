//! Cursors of the audit log: what is asked about them, and what is told.

use std::time::Duration;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        audit_cursor::{
            Definition, LEASE_TIME, LeaseToken, MAX_LEASE_TIME, Missed, Progress, Reader, Shown,
        },
        audit_filter::AuditFilter,
        name::{AuditCursorName, AuditCursorParent},
        resource::Uid,
    },
    service::{
        cursors::{Lease, NewCursor},
        management::Manner,
        reading::Start,
    },
    store::{cursors::keeper::Acknowledgement, writer::Mode},
};

use super::{
    Repetition, Violations,
    audit::{self, Form},
    audit_filter, check_inner_name, parse_first, parse_id, parse_uuid, timestamp,
};
use pb::{
    create_audit_cursor_request::Start as NewStart,
    watch_audit_records_request::Start as WatchStart,
};

/// Parses whose cursors are asked for.
pub fn parse_parent(parent: &str) -> Result<AuditCursorParent, ApiError> {
    parse_first("parent", AuditCursorParent::parse(parent))
}

/// Parses which cursor is asked for.
pub fn parse_name(name: &str) -> Result<AuditCursorName, ApiError> {
    parse_first("name", AuditCursorName::parse(name))
}

/// What a request wants created, and how, in a place that its caller may create it in.
pub fn parse_new(
    parent: &AuditCursorParent,
    mut request: pb::CreateAuditCursorRequest,
) -> Result<(NewCursor, Manner), ApiError> {
    let repetition = Repetition::of(&mut request);
    let pb::CreateAuditCursorRequest {
        parent: _,
        audit_cursor_id,
        audit_cursor,
        start,
        log_id,
        request_id: _,
        validate_only: _,
    } = request;
    let mut violations = Violations::default();
    let manner = repetition.manner(&mut violations);
    let id = parse_id(&mut violations, "audit_cursor_id", &audit_cursor_id);
    let name = id.map(|id| AuditCursorName { parent: parent.clone(), id });
    let filter = parse_cursor(&mut violations, name.as_ref(), audit_cursor.unwrap_or_default());
    if let Some(filter) = &filter {
        check_accounts(&mut violations, parent, filter);
    }
    let start = parse_start(&mut violations, start);
    let log_id = audit::parse_log_id(&mut violations, &log_id);
    let parsed = manner.zip(name).zip(filter).zip(start).zip(log_id);
    let ((((manner, name), filter), start), log_id) = violations.finish(parsed)?;
    Ok((NewCursor { name, filter, start, log_id }, manner))
}

/// What of a cursor that is to be created isn't made here: its filter.
fn parse_cursor(
    violations: &mut Violations,
    made: Option<&AuditCursorName>,
    cursor: pb::AuditCursor,
) -> Option<AuditFilter> {
    let pb::AuditCursor {
        name,
        filter,
        uid: _,
        create_time: _,
        start_sequence: _,
        log_id: _,
        acknowledged_through: _,
        acknowledge_time: _,
        reader: _,
        missed: _,
        missed_count: _,
    } = cursor;
    if let Some(made) = made {
        check_inner_name(violations, "audit_cursor.name", &name, &made.to_string());
    }
    violations
        .within(|| "audit_cursor.".to_owned(), |violations| audit_filter::parse(violations, filter))
}

/// A cursor of an account that asks for others would stay silent for ever.
fn check_accounts(violations: &mut Violations, parent: &AuditCursorParent, filter: &AuditFilter) {
    let AuditCursorParent::Account(own) = parent else { return };
    for (place, account) in filter.accounts.iter().enumerate() {
        if account != own {
            let field = format!("audit_cursor.filter.accounts[{place}]");
            violations.add(field, format!("must be `{own}`: others have no records for it"));
        }
    }
}

fn parse_start(violations: &mut Violations, start: Option<NewStart>) -> Option<Start> {
    let start = start.map(|start| match start {
        NewStart::FromSequence(sequence) => WatchStart::FromSequence(sequence),
        NewStart::FromEnd(end) => WatchStart::FromEnd(end),
        NewStart::FromTime(time) => WatchStart::FromTime(time),
    });
    audit::parse_start(violations, start)
}

/// Parses what is to be deleted, by a request whose caller may ask for it.
pub fn parse_deletion(
    request: pb::DeleteAuditCursorRequest,
) -> Result<(Option<Uid>, Mode), ApiError> {
    let pb::DeleteAuditCursorRequest { name: _, uid, validate_only } = request;
    let mut violations = Violations::default();
    let uid = parse_uuid(&mut violations, "uid", &uid).map(|uid| uid.map(Uid));
    let mode = if validate_only { Mode::ValidateOnly } else { Mode::Apply };
    Ok((violations.finish(uid)?, mode))
}

/// Parses how somebody wants to read.
pub fn parse_reading(request: pb::ReadAuditCursorRequest) -> Result<(Form, Lease), ApiError> {
    let pb::ReadAuditCursorRequest { name: _, form, lease_seconds, lease_token, take_over } =
        request;
    let mut violations = Violations::default();
    let form = audit::parse_form(&mut violations, form);
    let time = parse_lease_time(&mut violations, lease_seconds);
    let own = parse_uuid(&mut violations, "lease_token", &lease_token);
    let ((form, time), own) = violations.finish(form.zip(time).zip(own))?;
    Ok((form, Lease { time, own: own.map(LeaseToken), takes_over: take_over }))
}

fn parse_lease_time(violations: &mut Violations, seconds: i32) -> Option<Duration> {
    let time = match u64::try_from(seconds) {
        Ok(0) => Some(LEASE_TIME),
        Ok(seconds) => Some(Duration::from_secs(seconds)).filter(|time| *time <= MAX_LEASE_TIME),
        Err(_) => None,
    };
    if time.is_none() {
        let most = MAX_LEASE_TIME.as_secs();
        violations.add("lease_seconds", format!("must be 1 to {most}, or 0 for the default"));
    }
    time
}

/// Parses an acknowledgement, by a cursor that its caller may use.
pub fn parse_acknowledgement(
    name: AuditCursorName,
    request: pb::AcknowledgeAuditCursorRequest,
) -> Result<Acknowledgement, ApiError> {
    let pb::AcknowledgeAuditCursorRequest { name: _, lease_token, through, release } = request;
    let mut violations = Violations::default();
    let token = parse_uuid(&mut violations, "lease_token", &lease_token);
    if lease_token.is_empty() {
        violations.add("lease_token", "is required");
    }
    if through == 0 && !release {
        violations.add("through", "must be at least 1, or the lease be released");
    }
    let token = violations.finish(token.flatten().map(LeaseToken))?;
    Ok(Acknowledgement { name, token, through, releases: release })
}

/// A cursor as it is sent.
pub fn send(shown: &Shown, mode: Mode) -> pb::AuditCursor {
    let Shown { cursor, reader } = shown;
    let Definition { name, uid, create_time, creator: _, mark: _, filter, start } =
        &*cursor.definition;
    let Progress { log_id, through, time, missed, missed_count } = &cursor.progress;
    let is_made = mode == Mode::Apply;
    pb::AuditCursor {
        name: name.to_string(),
        // What was only judged has none.
        uid: if is_made { uid.to_string() } else { String::new() },
        filter: (*filter != AuditFilter::default()).then(|| audit_filter::send(filter)),
        create_time: is_made.then(|| timestamp(*create_time)),
        start_sequence: *start,
        log_id: log_id.to_string(),
        acknowledged_through: *through,
        acknowledge_time: time.map(timestamp),
        reader: reader.as_ref().map(send_reader),
        missed: missed.iter().map(send_missed).collect(),
        missed_count: *missed_count,
    }
}

fn send_reader(reader: &Reader) -> pb::AuditCursorReader {
    let Reader { caller, expires } = reader;
    let lease_expire_time = expires.map(|end| timestamp(end.wall));
    pb::AuditCursorReader { caller: caller.to_string(), lease_expire_time }
}

/// A range that is missed, as it is sent.
pub fn send_missed(missed: &Missed) -> pb::MissedRange {
    let Missed { log_id, from, through } = *missed;
    let (log_id, through) = (log_id.to_string(), through.unwrap_or_default());
    pb::MissedRange { log_id, from, through }
}
