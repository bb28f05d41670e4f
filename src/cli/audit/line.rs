//! A record as a line for people: aligned, with what matters first.

use std::fmt::Write as _;

use prost::Message as _;

use crate::{
    api::{
        audit_entry::{AuditEntry, Content},
        pb::{self, audit_record::Event},
    },
    cli::output::broken,
    domain::time::UnixNanos,
};

/// Whether lines have colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colors {
    Yes,
    No,
}

/// How a line is to be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Bad,
    Quiet,
    Alarming,
}

impl Mood {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Quiet => "\x1b[2m",
            Self::Alarming => "\x1b[1;31m",
        }
    }
}

/// What stands before a record's own words: its time, its number and what came of it.
const BEFORE: usize = 45;

/// A line, without its end; as several, if it is to fit into a width.
pub(super) fn of(entry: &AuditEntry, colors: Colors, width: Option<usize>) -> String {
    let (mood, time, word, rest) = match &entry.content {
        Some(Content::Record(bytes) | Content::SerializedRecord(bytes)) => {
            match pb::AuditRecord::decode(bytes.clone()) {
                Ok(record) => {
                    let (mood, word, rest) = describe(&record);
                    (mood, time_of(&record), word, rest)
                }
                Err(_) => (Mood::Alarming, String::new(), "unknown", "it is no record".to_owned()),
            }
        }
        Some(Content::Damaged(pb::DamagedRecord { file, offset })) => {
            let place = format!("it can't be read: {file}, byte {offset}");
            (Mood::Alarming, String::new(), "damaged", place)
        }
        None => (Mood::Alarming, String::new(), "unknown", "it is empty".to_owned()),
    };
    let (begin, end) = match colors {
        Colors::Yes => (mood.code(), "\x1b[0m"),
        Colors::No => ("", ""),
    };
    let rest = broken(&shown(&rest), BEFORE, width).join("\n");
    let line = format!("{time:<24}  {:>8}  {begin}{word:<7}{end}  {rest}", entry.sequence);
    line.trim_end().to_owned()
}

/// The record's time to the millisecond, so that all are of one length.
fn time_of(record: &pb::AuditRecord) -> String {
    let Some(time) = record.record_time else { return String::new() };
    let text = UnixNanos::from_parts(time.seconds, 0).to_string();
    format!("{}.{:03}Z", text.trim_end_matches('Z'), time.nanos / 1_000_000)
}

fn describe(record: &pb::AuditRecord) -> (Mood, &'static str, String) {
    let caller = &record.caller;
    match &record.event {
        Some(Event::Check(check)) => describe_check(check, caller),
        Some(Event::RefusedCall(call)) if call.method.is_empty() => {
            let text = format!("{} further calls without a valid credential", call.suppressed);
            (Mood::Bad, "refused", text)
        }
        Some(Event::RefusedCall(pb::RefusedCallEvent { method, reason, .. })) => {
            let who = if caller.is_empty() { "a stranger" } else { caller };
            let text = format!("{method} by {who} from {}: {}", record.peer, short(reason));
            (Mood::Bad, "refused", text)
        }
        Some(Event::ServerStart(start)) => {
            let after = if start.previous_stop_clean { "" } else { ", after an unclean stop" };
            let text = format!("version {} at revision {}{after}", start.version, start.revision);
            (Mood::Quiet, "start", text)
        }
        Some(Event::ServerStop(stop)) => {
            (Mood::Quiet, "stop", format!("at revision {}", stop.revision))
        }
        Some(Event::ConfigurationLoad(load)) => {
            let text = match load.outcome() {
                pb::ConfigurationLoadOutcome::Applied => "a new configuration counts".to_owned(),
                _ => format!("a configuration with {} problems was refused", load.problems),
            };
            (Mood::Quiet, "config", text)
        }
        Some(Event::Session(session)) => describe_session(session),
        Some(Event::AuditRead(read)) => {
            let method = read.method.rsplit('/').next().unwrap_or_default();
            let range = match read.through_sequence {
                0 => format!("from {} on", read.from_sequence),
                through => format!("{} to {through}", read.from_sequence),
            };
            let by = match read.audit_cursor.as_str() {
                "" => String::new(),
                cursor => format!(" by cursor {cursor}"),
            };
            (Mood::Quiet, "read", format!("{range}{by} by {caller} ({method})"))
        }
        Some(Event::Gap(gap)) => {
            use pb::gap_event::Cause;
            let text = match &gap.cause {
                Some(Cause::PreviousLog(log)) => {
                    let (last, id) = (log.last_sequence, &log.log_id);
                    format!("records behind {last} of log {id} may be missing")
                }
                Some(Cause::RemovedRecords(removed)) => {
                    let (from, through) = (removed.from_sequence, removed.through_sequence);
                    let text = format!("records {from} to {through} are no longer kept");
                    return (Mood::Quiet, "gap", text);
                }
                None => "something is missing before this record".to_owned(),
            };
            (Mood::Alarming, "gap", text)
        }
        None => {
            (Mood::Quiet, "other", "a kind of record that this program doesn't know".to_owned())
        }
    }
}

fn describe_session(session: &pb::SessionEvent) -> (Mood, &'static str, String) {
    let name = short_name(&session.access_point);
    let how = match session.proof_method() {
        pb::ProofMethod::ClientKeyAssertion => "by assertion",
        pb::ProofMethod::ClientKeyTls => "by TLS",
        pb::ProofMethod::RoleToken => "by role token",
        pb::ProofMethod::CallerIdentity => "by caller identity",
        pb::ProofMethod::Unspecified => "without a proof",
    };
    if session.outcome() == pb::Outcome::Allow {
        return (Mood::Good, "session", format!("granted to {name} {how}"));
    }
    let mut text = format!("refused to {name} {how}: {}", short(session.reason().as_str_name()));
    if session.problem() != pb::ProofProblem::Unspecified {
        let problem = session.problem().as_str_name();
        text.push_str(", ");
        text.push_str(problem.strip_prefix("PROOF_PROBLEM_").unwrap_or(problem));
    }
    (Mood::Bad, "session", text)
}

fn describe_check(check: &pb::CheckEvent, caller: &str) -> (Mood, &'static str, String) {
    let decision = check.decision.clone().unwrap_or_default();
    let is_allowed = decision.outcome() == pb::Outcome::Allow;
    let (mood, word) = if is_allowed { (Mood::Good, "allow") } else { (Mood::Bad, "deny") };
    let reason = if is_allowed { "" } else { short(decision.reason().as_str_name()) };
    let mut text = format!(
        "{reason:<22}  {:<16}  {:<24}  {:<20}",
        check.action,
        shown(&check.resource),
        short_name(&check.access_point),
    );
    let mut more = Vec::new();
    if !check.instance.is_empty() && check.instance != "shared" {
        more.push(check.instance.clone());
    }
    if let Some(origin) = &check.origin {
        more.push(origin_of(origin));
    }
    for (what, name) in [
        ("policy", &decision.policy),
        ("nearest policy", &decision.nearest_policy),
        ("rule", &decision.network_rule),
    ] {
        if !name.is_empty() {
            more.push(format!("{what} {}", name.rsplit('/').next().unwrap_or_default()));
        }
    }
    more.push(format!("asked by {caller}"));
    // Writing to a text can't fail.
    let _ = write!(text, "  {}", more.join(", "));
    (mood, word, text)
}

fn origin_of(origin: &pb::Origin) -> String {
    let network = match &origin.network {
        Some(pb::origin::Network::PublicNetwork(_)) => "public",
        Some(pb::origin::Network::VpcNetwork(vpc)) => vpc.vpc_id.as_str(),
        Some(pb::origin::Network::PrivateNetwork(_)) => "private",
        None => "nowhere",
    };
    format!("from {network} {}", origin.address).trim_end().to_owned()
}

/// An enum's value without what all of them begin with.
fn short(value: &str) -> &str {
    value.trim_start_matches("DECISION_REASON_").trim_start_matches("ERROR_REASON_")
}

/// An access point's name without the words that all names have.
fn short_name(name: &str) -> String {
    let parts: Vec<_> = name.split('/').collect();
    match parts[..] {
        [_, account, _, region, _, id] => format!("{account}/{region}/{id}"),
        _ => name.to_owned(),
    }
}

/// A text that does nothing to a terminal: what records say comes from others.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) { shown.extend(letter.escape_unicode()) } else { shown.push(letter) }
    }
    shown
}

/// Whether a character is for the terminal, or turns the direction of what follows.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
