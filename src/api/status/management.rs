//! What changes of resources are refused with.

use std::time::Duration;

use tonic::Code;
use tonic_types::PreconditionViolation;

use crate::{
    api::convert::{self, Violations},
    domain::{
        client_key::MAX_CLIENT_KEYS,
        command::Batch,
        decide::{Rejected, Rejection},
        name::{AccessPointName, ClientKeyName, RamRoleName, ResourceName},
        trust_policy::Obstacle,
    },
    service::{
        client_keys::{IssueError, MAX_PENDING},
        management::ManageError,
    },
    store::writer::SubmitError,
};

use super::{Problem, RETRY_DELAY, Reason, as_many_as_fit, invalid, reserve};

/// When to ask again for a client key: making one of RSA takes a part of a second.
const KEY_DELAY: Duration = Duration::from_secs(1);

pub(super) fn manage(error: ManageError) -> Problem {
    let message = error.to_string();
    match error {
        ManageError::NotFound(resource) => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message).about(&resource)
        }
        ManageError::LocationNotFound(location) => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message)
                .with("resource", location)
        }
        ManageError::AccountNotFound(account) => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message)
                .with("resource", account)
        }
        ManageError::Submit(error) => submit(error),
        ManageError::Entropy(error) => {
            tracing::error!(%error, "no uid can be made");
            Problem::new(Code::Internal, Reason::Internal, "the server failed; its log says why")
        }
    }
}

pub(super) fn issue(error: IssueError) -> Problem {
    let message = error.to_string();
    match error {
        IssueError::Manage(error) => manage(error),
        IssueError::IssuedBefore(name) => {
            Problem::new(Code::FailedPrecondition, Reason::ClientKeyIssuedBefore, message)
                .with("client_key", name)
        }
        IssueError::Busy => {
            Problem::new(Code::ResourceExhausted, Reason::KeyGenerationBusy, message)
                .with("limit", MAX_PENDING)
                .retry_after(KEY_DELAY)
        }
        IssueError::Make(error) => {
            tracing::error!(%error, "no client key can be made");
            Problem::new(Code::Internal, Reason::Internal, "the server failed; its log says why")
        }
        IssueError::Gone => {
            Problem::new(Code::Unavailable, Reason::ShuttingDown, "the server is stopping")
        }
    }
}

fn submit(error: SubmitError) -> Problem {
    match error {
        SubmitError::Rejected(Rejected { place: _, rejection }) => rejected(rejection),
        SubmitError::Busy => Problem::new(
            Code::ResourceExhausted,
            Reason::JournalBusy,
            "too many changes wait to be written",
        )
        .retry_after(RETRY_DELAY),
        SubmitError::Reserve(reached) => reserve(reached),
        SubmitError::Unavailable => Problem::new(
            Code::Unavailable,
            Reason::JournalUnavailable,
            "the journal can't be written; whether the change was made is unknown: \
             repeat it with the same request id when the server has restarted",
        ),
    }
}

fn rejected(rejection: Rejection) -> Problem {
    let message = rejection.to_string();
    match rejection {
        Rejection::NotFound(resource) => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message).about(&resource)
        }
        Rejection::AlreadyExists(resource) => {
            Problem::new(Code::AlreadyExists, Reason::ResourceAlreadyExists, message)
                .about(&resource)
        }
        Rejection::ReferencesMissing { resource, missing } => {
            let problem =
                Problem::new(Code::FailedPrecondition, Reason::ReferenceNotFound, message)
                    .with("missing", missing.len());
            preconditions(problem, "MISSING", &missing, "does not exist").with("resource", resource)
        }
        Rejection::RoleNotTrusted { role, trusted_role, obstacle } => {
            let problem = Problem::new(Code::FailedPrecondition, Reason::RoleNotTrusted, message)
                .with("trusted_role", trusted_role);
            role_not_trusted(problem, &role, &obstacle)
        }
        Rejection::InUse { resource, holders, total } => {
            let problem = Problem::new(Code::FailedPrecondition, Reason::ResourceInUse, message)
                .with("holders", total);
            preconditions(problem, "HELD", &holders, "holds it").with("resource", resource)
        }
        Rejection::EtagMismatch { resource, current } => {
            Problem::new(Code::Aborted, Reason::EtagMismatch, message)
                .about(&resource)
                .with("etag", current)
        }
        Rejection::LimitReached { account, kind, limit } => {
            Problem::new(Code::ResourceExhausted, Reason::LimitReached, message)
                .with("account", account)
                .with("kind", kind)
                .with("limit", limit)
        }
        Rejection::NotByClientKey(name) => {
            about_client_keys(&name, Reason::ClientKeysNotUsed, message)
        }
        Rejection::ClientKeysFull(name) => {
            about_client_keys(&name, Reason::TooManyClientKeys, message)
                .with("limit", MAX_CLIENT_KEYS)
        }
        Rejection::NothingNew(name) => nothing_new(name, message),
        Rejection::BatchTooLarge => {
            Problem::new(Code::ResourceExhausted, Reason::BatchTooLarge, message)
                .with("limit_bytes", Batch::MAX_BYTES)
        }
        Rejection::RequestIdReused(id) => {
            Problem::new(Code::FailedPrecondition, Reason::RequestIdReused, message)
                .with("request_id", id.as_str())
        }
        Rejection::InvalidTerms(problems) => {
            let mut violations = Violations::default();
            convert::policy::add_problems(&mut violations, &problems);
            invalid(violations)
        }
        Rejection::PrivateRulesNeedInstance { places } => private_rules(&places),
    }
}

/// Only the server itself asks for what is rejected like this.
fn nothing_new(name: ClientKeyName, message: String) -> Problem {
    Problem::new(Code::AlreadyExists, Reason::ResourceAlreadyExists, message)
        .about(&ResourceName::ClientKey(name))
}

fn private_rules(places: &[usize]) -> Problem {
    let mut violations = Violations::default();
    for place in places {
        violations.add(
            format!("policy.network_rules.names[{place}]"),
            "is private, which needs the scope of a dedicated instance",
        );
    }
    invalid(violations)
}

fn about_client_keys(name: &AccessPointName, reason: Reason, message: String) -> Problem {
    let code = match reason {
        Reason::TooManyClientKeys => Code::ResourceExhausted,
        _ => Code::FailedPrecondition,
    };
    Problem::new(code, reason, message).with("access_point", name)
}

fn role_not_trusted(problem: Problem, role: &RamRoleName, obstacle: &Obstacle) -> Problem {
    let resources = [ResourceName::RamRole(role.clone())];
    preconditions(problem, "ROLE_NOT_TRUSTED", &resources, &obstacle.to_string())
        .with("role", role)
        .with("element", &obstacle.element)
        .with("obstacle", obstacle.problem)
}

pub(super) fn rejected_change(path: &str, place: usize, rejection: Rejection) -> Problem {
    let mut problem = rejected(rejection);
    problem.message = format!("`{path}`: {}", problem.message);
    if let Some(mut bad_request) = problem.details.bad_request().cloned() {
        for violation in &mut bad_request.field_violations {
            violation.field = format!("{path}.{}", violation.field);
        }
        problem.details.set_bad_request(bad_request.field_violations);
    }
    problem.with("change", place)
}

fn preconditions(
    mut problem: Problem,
    kind: &str,
    resources: &[ResourceName],
    description: &str,
) -> Problem {
    let violations = resources
        .iter()
        .map(|resource| PreconditionViolation::new(kind, resource.to_string(), description));
    let size =
        |one: &PreconditionViolation| one.r#type.len() + one.subject.len() + one.description.len();
    problem.details.set_precondition_failure(as_many_as_fit(violations, size));
    problem
}
