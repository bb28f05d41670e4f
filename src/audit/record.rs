//! A record's bytes: one serialized `aap.v1.AuditRecord`, encoded once and never again.
//!
//! Its first fields have a fixed width and a fixed place, because their values are known only to the
//! writer, which stamps them in. Everything in a record is bounded by the types it comes from.

pub mod session;

use std::{net::SocketAddr, str};

use crate::domain::{
    check::{Check, Subject},
    decision::{Decision, DenyReason},
    network::OriginNetwork,
    resource::Uid,
    rules::RulesVersion,
    session::ShownSession,
    time::UnixNanos,
};

use super::{log::Mode, succession::Head, text::TextBuffer, wire};
use session::SessionDraft;

/// The most bytes that a record has.
pub const MAX_RECORD_BYTES: usize = 4_096;
/// Where a user agent is cut.
pub const MAX_USER_AGENT_BYTES: usize = 256;
/// The longest filter that a record of a read has in full.
const MAX_FILTER_BYTES: usize = 1_024;
/// Where the name of a refused method is cut.
pub const MAX_METHOD_BYTES: usize = 128;

/// Where the stamped values stand: after the tag of each field (and its length, where it has one).
const SEQUENCE: usize = 1;
const RECORD_TIME: usize = SEQUENCE + 8 + 2;
const NONCE: usize = RECORD_TIME + wire::FIXED_TIMESTAMP_BYTES + 2;
const PREVIOUS: usize = NONCE + NONCE_BYTES + 1;
/// Where the rest begins.
pub(super) const STAMPED_BYTES: usize = PREVIOUS + 8;
/// The field of the first kind of event; the others follow.
pub(super) const FIRST_EVENT_FIELD: u32 = 16;
/// How many random bytes a record has.
pub const NONCE_BYTES: usize = 16;

/// What a record says, but for what the writer stamps in.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The account that the event belongs to, or nothing.
    pub account: &'a str,
    /// The region that the event belongs to, or nothing.
    pub region: &'a str,
    /// Who called, and from where.
    pub call: Call<'a>,
    /// What happened.
    pub event: EventDraft<'a>,
}

/// Who called, and from where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// The authenticated caller's name, or nothing.
    pub caller: &'a str,
    /// The socket's other end.
    pub peer: Option<SocketAddr>,
    /// Whose connection a trusted proxy says that it forwards, if there is one.
    pub forwarded: Option<SocketAddr>,
    /// The id that the caller gave the request, or nothing.
    pub request_id: &'a str,
    /// The trace that the call belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// What the caller says it is; cut where it is too long.
    pub user_agent: &'a str,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum EventDraft<'a> {
    /// A check was decided.
    Check(&'a CheckDraft<'a>),
    /// A call was refused, or several that have no record of their own.
    RefusedCall {
        /// The method, cut where it is too long; nothing of several.
        method: &'a str,
        /// The canonical code.
        code: u8,
        /// The reason's name.
        reason: &'a str,
        /// How many there were, if they have no record of their own.
        suppressed: u64,
    },
    /// The server started.
    ServerStart {
        /// The server's version.
        version: &'a str,
        /// The journal's last event.
        revision: u64,
        /// A digest of the configuration.
        configuration_digest: &'a [u8; 32],
        /// How the run before it ended.
        previous_stop: PreviousStop,
        /// When its decisions are answered.
        mode: Mode,
        /// Whether the log is served as it should be.
        integrity: Integrity,
    },
    /// The server stopped.
    ServerStop {
        /// The journal's last event.
        revision: u64,
    },
    /// The configuration was read again.
    ConfigurationLoad(LoadDraft<'a>),
    /// Something is missing before this record.
    Gap(GapDraft),
    /// The audit log was read.
    AuditRead(AuditReadDraft<'a>),
    /// An application asked for a session.
    Session(&'a SessionDraft<'a>),
}

/// Whether a log is served as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integrity {
    /// Nothing is known to be wrong that would keep a server from starting.
    #[default]
    Whole,
    /// It is damaged, and served because who started the server said so.
    ServedDamaged,
}

/// What is missing, and why.
#[derive(Clone, Copy, Debug)]
pub enum GapDraft {
    /// A log ended, and this one follows it.
    PreviousLog(Head),
    /// Records from the first to the last of these are no longer kept.
    Removed(u64, u64),
}

/// What came of reading the configuration again.
#[derive(Clone, Copy, Debug)]
pub enum LoadDraft<'a> {
    /// It counts.
    Applied {
        /// A digest of the configuration.
        digest: &'a [u8; 32],
        /// The keys of what counts after a restart only.
        awaits_restart: &'a [&'static str],
    },
    /// It is broken.
    Refused {
        /// How many problems it has.
        problems: u32,
    },
}

/// What was read of the audit log.
#[derive(Clone, Copy, Debug)]
pub struct AuditReadDraft<'a> {
    /// The method.
    pub method: &'a str,
    /// The first record looked at.
    pub from: u64,
    /// The last one; 0 if it goes on.
    pub through: u64,
    /// The filter's bytes; a long one's are only digested.
    pub filter: &'a [u8],
    /// The name of the cursor that it was read by; empty if it was none.
    pub cursor: &'a str,
}

/// How a run of the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousStop {
    /// With a record of its stop, or there was none.
    Clean,
    /// Without.
    Unclean,
}

/// A decided check.
#[derive(Clone, Copy, Debug)]
pub struct CheckDraft<'a> {
    /// When it was decided.
    pub time: UnixNanos,
    /// The question.
    pub check: Check<'a>,
    /// The access point's uid, if it exists.
    pub access_point: Option<Uid>,
    /// Its name, where the question doesn't have it.
    pub name: Option<&'a str>,
    /// The answer.
    pub decision: Decision<'a>,
    /// The revision decided at.
    pub revision: u64,
    /// The rules decided by.
    pub rules_version: RulesVersion,
    /// How long it took to decide.
    pub nanos: u64,
}

/// Appends a record's bytes, with nothing stamped in yet.
pub fn encode(out: &mut Vec<u8>, log_id: &str, draft: &Draft<'_>) {
    wire::fixed(out, 1, 0);
    wire::bytes(out, 2, &wire::fixed_timestamp(UnixNanos(0)));
    wire::bytes(out, 3, &[0; NONCE_BYTES]);
    wire::fixed(out, 4, 0);
    wire::bytes(out, 5, log_id.as_bytes());
    wire::bytes(out, 6, draft.account.as_bytes());
    wire::bytes(out, 7, draft.region.as_bytes());
    encode_call(out, &draft.call);
    match draft.event {
        EventDraft::Check(check) => wire::long_message(out, 16, |out| encode_check(out, check)),
        EventDraft::RefusedCall { method, code, reason, suppressed } => {
            wire::message(out, 17, |out| {
                wire::bytes(out, 1, cut(method, MAX_METHOD_BYTES).as_bytes());
                wire::integer(out, 2, u64::from(code));
                wire::bytes(out, 3, reason.as_bytes());
                wire::integer(out, 4, suppressed);
            });
        }
        EventDraft::ServerStart {
            version,
            revision,
            configuration_digest,
            previous_stop,
            mode,
            integrity,
        } => {
            wire::message(out, 18, |out| {
                wire::bytes(out, 1, version.as_bytes());
                wire::integer(out, 2, revision);
                wire::bytes(out, 3, configuration_digest);
                wire::integer(out, 4, u64::from(previous_stop == PreviousStop::Clean));
                wire::integer(out, 5, u64::from(mode == Mode::Buffered));
                wire::integer(out, 6, u64::from(integrity == Integrity::ServedDamaged));
            });
        }
        EventDraft::ServerStop { revision } => {
            wire::message(out, 19, |out| wire::integer(out, 1, revision));
        }
        EventDraft::ConfigurationLoad(load) => {
            wire::message(out, 20, |out| encode_load(out, load));
        }
        EventDraft::Gap(gap) => wire::message(out, 21, |out| encode_gap(out, gap)),
        EventDraft::AuditRead(read) => wire::message(out, 22, |out| encode_audit_read(out, &read)),
        EventDraft::Session(draft) => {
            wire::message(out, 24, |out| session::encode(out, draft));
        }
    }
}

fn encode_call(out: &mut Vec<u8>, call: &Call<'_>) {
    wire::bytes(out, 8, call.caller.as_bytes());
    encode_address(out, 9, call.peer);
    wire::bytes(out, 10, call.request_id.as_bytes());
    wire::bytes(out, 11, call.trace_id.as_ref().map_or(&[], |id| &id[..]));
    wire::bytes(out, 12, cut(call.user_agent, MAX_USER_AGENT_BYTES).as_bytes());
    encode_address(out, 13, call.forwarded);
}

fn encode_address(out: &mut Vec<u8>, field: u32, address: Option<SocketAddr>) {
    if let Some(address) = address {
        let mut text = TextBuffer::<64>::default();
        text.write_socket(address);
        wire::bytes(out, field, text.as_bytes());
    }
}

fn encode_check(out: &mut Vec<u8>, draft: &CheckDraft<'_>) {
    let CheckDraft { time, check, access_point, name, decision, .. } = draft;
    let CheckDraft { revision, rules_version, nanos, .. } = draft;
    let Check { location: _, subject, action, resource, instance, origin } = check;
    wire::timestamp(out, 1, *time);
    match subject {
        Subject::Asserted(name) => {
            wire::bytes(out, 2, name.as_str().as_bytes());
            encode_uid(out, 3, *access_point);
            wire::message(out, 4, |_| {});
        }
        Subject::Session(ShownSession::Genuine(shown), _) => {
            wire::bytes(out, 2, name.unwrap_or_default().as_bytes());
            encode_uid(out, 3, Some(shown.access_point));
            wire::message(out, 12, |out| session::encode_shown(out, shown));
        }
        Subject::Session(ShownSession::Foreign, _) | Subject::Token(_) => {
            wire::message(out, 12, |_| {});
        }
    }
    wire::bytes(out, 5, action.as_str().as_bytes());
    wire::bytes(out, 6, resource.as_str().as_bytes());
    wire::bytes(out, 7, instance.as_str().as_bytes());
    if origin.network.is_some() || origin.address.is_some() {
        wire::message(out, 8, |out| {
            match origin.network {
                None => {}
                Some(OriginNetwork::Public) => wire::message(out, 1, |_| {}),
                Some(OriginNetwork::Vpc(id)) => {
                    wire::message(out, 2, |out| wire::bytes(out, 1, id.as_bytes()));
                }
                Some(OriginNetwork::Private) => wire::message(out, 3, |_| {}),
            }
            if let Some(address) = origin.address {
                let mut text = TextBuffer::<48>::default();
                text.write_ip(address);
                wire::bytes(out, 4, text.as_bytes());
            }
        });
    }
    wire::message(out, 9, |out| encode_decision(out, decision, *rules_version));
    wire::integer(out, 10, *revision);
    wire::integer(out, 11, *nanos);
}

fn encode_uid(out: &mut Vec<u8>, field: u32, uid: Option<Uid>) {
    if let Some(uid) = uid {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        wire::bytes(out, field, uid.0.hyphenated().encode_lower(&mut text).as_bytes());
    }
}

fn encode_load(out: &mut Vec<u8>, load: LoadDraft<'_>) {
    match load {
        LoadDraft::Applied { digest, awaits_restart } => {
            wire::integer(out, 1, LOAD_APPLIED);
            wire::bytes(out, 2, digest);
            for key in awaits_restart {
                wire::bytes(out, 3, key.as_bytes());
            }
        }
        LoadDraft::Refused { problems } => {
            wire::integer(out, 1, LOAD_REFUSED);
            wire::integer(out, 4, u64::from(problems));
        }
    }
}

fn encode_audit_read(out: &mut Vec<u8>, read: &AuditReadDraft<'_>) {
    let AuditReadDraft { method, from, through, filter, cursor } = read;
    wire::bytes(out, 1, method.as_bytes());
    wire::integer(out, 2, *from);
    wire::integer(out, 3, *through);
    if filter.len() <= MAX_FILTER_BYTES {
        wire::bytes(out, 4, filter);
    } else {
        wire::bytes(out, 5, ring::digest::digest(&ring::digest::SHA256, filter).as_ref());
    }
    wire::bytes(out, 6, cursor.as_bytes());
}

fn encode_gap(out: &mut Vec<u8>, gap: GapDraft) {
    match gap {
        GapDraft::PreviousLog(Head { log_id, sequence, leaf_hash }) => {
            wire::message(out, 1, |out| {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                wire::bytes(out, 1, log_id.hyphenated().encode_lower(&mut text).as_bytes());
                wire::integer(out, 2, sequence);
                wire::bytes(out, 3, leaf_hash.as_ref().map_or(&[], |hash| &hash[..]));
            });
        }
        GapDraft::Removed(from, through) => wire::message(out, 2, |out| {
            wire::integer(out, 1, from);
            wire::integer(out, 2, through);
        }),
    }
}

fn encode_decision(out: &mut Vec<u8>, decision: &Decision<'_>, rules_version: RulesVersion) {
    match decision {
        Decision::Allow(grant) => {
            wire::integer(out, 1, OUTCOME_ALLOW);
            wire::integer(out, 2, REASON_POLICY_GRANTS);
            wire::bytes(out, 3, grant.policy().as_bytes());
            wire::bytes(out, 4, grant.network_rule().unwrap_or_default().as_bytes());
        }
        Decision::Deny(denial) => {
            wire::integer(out, 1, OUTCOME_DENY);
            wire::integer(out, 2, reason_number(denial.reason));
            wire::bytes(out, 5, denial.nearest_policy.unwrap_or_default().as_bytes());
        }
    }
    wire::integer(out, 6, u64::from(rules_version.number()));
}

// The numbers of `aap.v1.ConfigurationLoadOutcome`, `aap.v1.Outcome` and `aap.v1.DecisionReason`.
// Tests hold them equal.
const LOAD_APPLIED: u64 = 1;
const LOAD_REFUSED: u64 = 2;
const OUTCOME_DENY: u64 = 1;
const OUTCOME_ALLOW: u64 = 2;
const REASON_POLICY_GRANTS: u64 = 1;

fn reason_number(reason: DenyReason) -> u64 {
    match reason {
        DenyReason::AccessPointNotFound => 2,
        DenyReason::AccessPointSuspended => 3,
        DenyReason::ScopeNotCovered => 4,
        DenyReason::ActionNotPermitted => 5,
        DenyReason::ResourceNotCovered => 6,
        DenyReason::NetworkNotAllowed => 7,
        DenyReason::RoleNotTrusted => 8,
        DenyReason::CredentialUnknown => 9,
        DenyReason::CredentialInvalid => 10,
        DenyReason::CredentialDisabled => 11,
        DenyReason::CredentialNotYetValid => 12,
        DenyReason::CredentialExpired => 13,
        DenyReason::AuthenticationMethodMismatch => 14,
    }
}

/// Cuts a text at a character's end.
fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or_default()
}

/// What the writer stamps into a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The record's place.
    pub sequence: u64,
    /// When it got its place.
    pub time: UnixNanos,
    /// Random bytes.
    pub nonce: [u8; NONCE_BYTES],
    /// The place of the account's record before it.
    pub account_previous: u64,
}

/// Stamps a record. Its length doesn't change.
pub fn stamp(record: &mut [u8], stamp: &Stamp) {
    let mut put = |place: usize, bytes: &[u8]| {
        if let Some(target) = record.get_mut(place..place + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    };
    put(SEQUENCE, &stamp.sequence.to_le_bytes());
    put(RECORD_TIME, &wire::fixed_timestamp(stamp.time));
    put(NONCE, &stamp.nonce);
    put(PREVIOUS, &stamp.account_previous.to_le_bytes());
}

/// A record's sequence number; `None` if the bytes are no record.
pub fn sequence(record: &[u8]) -> Option<u64> {
    let bytes = record.get(SEQUENCE..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The account that a record belongs to; empty if it belongs to none.
pub fn account(record: &[u8]) -> &str {
    let mut rest = record.get(STAMPED_BYTES..).unwrap_or_default();
    while let Some((field, value)) = wire::next_field(&mut rest) {
        match (field, value) {
            (5, _) => {}
            (6, wire::Value::Bytes(account)) => return str::from_utf8(account).unwrap_or_default(),
            _ => break,
        }
    }
    ""
}

/// Whether a record is of a call that nobody who is known made.
pub fn is_of_stranger(record: &[u8]) -> bool {
    let mut rest = record.get(STAMPED_BYTES..).unwrap_or_default();
    while let Some((field, _)) = wire::next_field(&mut rest) {
        match field {
            // The account, and the caller.
            6 | 8 => return false,
            17 | 24 => return true,
            _ => {}
        }
    }
    false
}

/// When a record got its place.
pub fn record_time(record: &[u8]) -> Option<UnixNanos> {
    let mut content = record.get(RECORD_TIME..RECORD_TIME + wire::FIXED_TIMESTAMP_BYTES)?;
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((field, value)) = wire::next_field(&mut content) {
        match (field, value) {
            (1, wire::Value::Integer(value)) => seconds = value.cast_signed(),
            (2, wire::Value::Integer(value)) => nanos = i32::try_from(value).ok()?,
            _ => return None,
        }
    }
    Some(UnixNanos::from_parts(seconds, nanos))
}

/// Whether a record is that of a stop.
pub fn is_server_stop(record: &[u8]) -> bool {
    let mut rest = record;
    while let Some((field, _)) = wire::next_field(&mut rest) {
        if field == 19 {
            return true;
        }
    }
    false
}

/// RFC 9162's hash of a leaf: SHA-256 of a zero byte and the record's bytes.
pub fn leaf_hash(record: &[u8]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&[0]);
    context.update(record);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
