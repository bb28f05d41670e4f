//! What goes wrong, as the command line says it: every violation on a line of its own, and an exit
//! code by the kind of failure, so that a script need not read the text.

use std::{fmt, process::ExitCode};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::api::pb;

use super::output::clean;

/// The exit codes, for the help.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0   done; of `check`: allowed; of `diff`: no difference
  1   failed
  2   the command line, a document or the request is not valid
  3   the caller is not known, or may not do that
  4   there is no such thing
  5   in conflict with what there is: it exists, is held, has changed, is at its limit
  6   the server can't be reached or can't do it now; try again
  10  `check`: denied
  11  `diff`: there are differences
  130 interrupted by ctrl-c";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Failed.
    Failed = 1,
    /// Something that was given is not valid.
    Invalid = 2,
    /// The caller is unknown, or may not.
    Forbidden = 3,
    /// There is no such thing.
    NotFound = 4,
    /// In conflict with what there is.
    Conflict = 5,
    /// Not now.
    Unavailable = 6,
    /// A check was denied.
    Denied = 10,
    /// There are differences.
    Different = 11,
    /// By a person, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program fails stands in its log already.
#[derive(Debug, thiserror::Error)]
#[error("the log says why")]
pub(super) struct ToldInLog;

/// A failure with a kind of its own, and perhaps more to say than one line.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    details: Vec<String>,
}

impl Failure {
    /// Something that was given is not valid.
    pub(super) fn invalid(message: impl Into<String>, details: Vec<String>) -> Self {
        Self { exit: Exit::Invalid, message: message.into(), details }
    }

    /// It is in conflict with what there is.
    pub(super) fn conflict(message: impl Into<String>, details: Vec<String>) -> Self {
        Self { exit: Exit::Conflict, message: message.into(), details }
    }

    /// It failed, and there is something to do about it.
    pub(super) fn failed(message: impl Into<String>, details: Vec<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), details }
    }

    /// The server can't be reached.
    pub(super) fn unreachable(message: impl Into<String>, details: Vec<String>) -> Self {
        Self { exit: Exit::Unavailable, message: message.into(), details }
    }

    /// A person has ended it.
    pub(super) fn interrupted(message: impl Into<String>, details: Vec<String>) -> Self {
        Self { exit: Exit::Interrupted, message: message.into(), details }
    }

    /// The same with more to say.
    pub(super) fn and(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// How the program ends after an error.
    pub(super) fn exit_of(error: &anyhow::Error) -> Exit {
        error.downcast_ref::<Self>().map_or(Exit::Failed, |failure| failure.exit)
    }

    /// What an error has to say besides.
    pub(super) fn details_of(error: &anyhow::Error) -> &[String] {
        error.downcast_ref::<Self>().map_or(&[], |failure| &failure.details)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::of(&status, |_, field| shown_field(field), without_only_change(status.message()))
    }
}

impl Failure {
    /// What is wrong with one of several changes, by the names of what they are about.
    pub(super) fn of_changes(status: &Status, names: &[&str]) -> Self {
        let (place, said) = match status.message().split_once("`: ") {
            Some((before, said)) if before.starts_with("`changes[") => {
                (place_of(before.trim_start_matches('`')), said)
            }
            _ => (None, status.message()),
        };
        let name = |place: Option<usize>| names.get(place?).copied();
        let message = match name(place) {
            Some(name) => format!("{name}: {said}"),
            None => said.to_owned(),
        };
        let field = |place, field: &str| match name(place) {
            Some(name) => format!("{name}: {}", shown_field(field)),
            None => shown_field(field),
        };
        Self::of(status, field, &message)
    }

    fn of(status: &Status, shown: impl Fn(Option<usize>, &str) -> String, message: &str) -> Self {
        let details = status.get_error_details();
        let mut lines = Vec::new();
        if let Some(bad) = details.bad_request() {
            lines.extend(bad.field_violations.iter().map(|one| {
                format!("{} {}", shown(place_of(&one.field), &one.field), clean(&one.description))
            }));
        }
        if let Some(precondition) = details.precondition_failure() {
            lines.extend(
                precondition
                    .violations
                    .iter()
                    .map(|one| clean(&format!("`{}` {}", one.subject, one.description))),
            );
        }
        if let Some(after) = details.retry_info().and_then(|info| info.retry_delay) {
            lines.push(format!("try again in {} ms", after.as_millis()));
        }
        let message = match lines.len() {
            // The server's message has the first of them, and then how many more there are.
            1.. if details.bad_request().is_some() => "the request is not valid".to_owned(),
            _ if message.is_empty() => format!("{:?}", status.code()),
            _ => clean(message),
        };
        let reason = details.error_info().map_or("", |info| info.reason.as_str());
        let is_full = [pb::ErrorReason::LimitReached, pb::ErrorReason::TooManyClientKeys]
            .iter()
            .any(|limit| limit.as_str_name() == reason);
        let exit = if is_full { Exit::Conflict } else { exit_for(status.code()) };
        Self { exit, message, details: lines }
    }
}

/// The place of a change in a path such as `changes[3].create_policy`.
pub(super) fn place_of(path: &str) -> Option<usize> {
    path.strip_prefix("changes[")?.split_once(']')?.0.parse().ok()
}

/// What is said of the only change there is, without its place.
fn without_only_change(message: &str) -> &str {
    let placed = message.strip_prefix("`changes[0].").and_then(|rest| rest.split_once("`: "));
    placed.map_or(message, |(_, message)| message)
}

/// The path of a field as a person knows it: without the request around the resource.
pub(super) fn shown_field(path: &str) -> String {
    let mut parts = path.split('.').peekable();
    let mut shown = Vec::new();
    while let Some(part) = parts.next() {
        let wraps = part.starts_with("changes[")
            || ["create_", "update_", "delete_", "suspend_", "resume_", "revoke_"]
                .iter()
                .any(|verb| part.starts_with(verb))
            || matches!(
                part,
                "access_point" | "policy" | "network_rule" | "ram_role" | "check" | "audit_cursor"
            );
        if !wraps || parts.peek().is_none() {
            shown.push(part);
        }
    }
    format!("`{}`", clean(&shown.join(".")))
}

fn exit_for(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Invalid,
        Code::Unauthenticated | Code::PermissionDenied => Exit::Forbidden,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_shown_without_the_request_around_it() {
        for (path, shown) in [
            ("changes[0].create_policy.policy.resources[2]", "`resources[2]`"),
            ("changes[0].create_policy.policy_id", "`policy_id`"),
            ("changes[3].create_access_point.access_point.ram_role.role", "`role`"),
            ("check.origin.address", "`origin.address`"),
            ("check", "`check`"),
            ("audit_cursor.filter.kinds[0]", "`filter.kinds[0]`"),
            ("parent", "`parent`"),
        ] {
            assert_eq!(shown_field(path), shown, "{path}");
        }
    }
}
