//! What is refused over cursors of the audit log.

use tonic::Code;

use crate::{
    domain::{
        audit_cursor::{AcknowledgeError, BeginError, CreateError, NotFound, Reader},
        name::AuditCursorName,
    },
    service::cursors::CursorError,
    store::cursors::keeper::KeeperError,
};

use super::{Problem, RETRY_DELAY, Reason, reading, reserve};

const TYPE_NAME: &str = "aap.v1.AuditCursor";

pub(super) fn cursor(error: CursorError) -> Problem {
    let message = error.to_string();
    match error {
        CursorError::NotFound(NotFound(name))
        | CursorError::Begin(BeginError::NotFound(NotFound(name)))
        | CursorError::Acknowledge(AcknowledgeError::NotFound(NotFound(name))) => {
            about(Code::NotFound, Reason::ResourceNotFound, message, &name)
        }
        CursorError::ParentNotFound(parent) => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message).with("resource", parent)
        }
        CursorError::Create(error) => create(error),
        CursorError::Begin(BeginError::Leased { name, reader, wait }) => {
            let Reader { caller, expires } = reader;
            let problem =
                Problem::new(Code::FailedPrecondition, Reason::AuditCursorLeased, message)
                    .with("audit_cursor", name)
                    .with("caller", caller)
                    .retry_after(wait);
            match expires {
                Some(expires) => problem.with("lease_expire_time", expires.wall),
                None => problem,
            }
        }
        CursorError::Acknowledge(AcknowledgeError::LeaseLost(name)) => {
            Problem::new(Code::Aborted, Reason::AuditCursorLeaseLost, message)
                .with("audit_cursor", name)
        }
        CursorError::Acknowledge(AcknowledgeError::NotSent { name, through, sent }) => {
            Problem::new(Code::OutOfRange, Reason::AuditCursorNotSent, message)
                .with("audit_cursor", name)
                .with("through", through)
                .with("sent_through", sent)
        }
        CursorError::Keeper(error) => keeper(error),
        CursorError::Reading(error) => reading(&error),
        CursorError::Entropy(error) => {
            tracing::error!(%error, "no uid and no lease can be made");
            Problem::new(Code::Internal, Reason::Internal, "the server failed; its log says why")
        }
    }
}

fn create(error: CreateError) -> Problem {
    let message = error.to_string();
    match error {
        CreateError::AlreadyExists(name) => {
            about(Code::AlreadyExists, Reason::ResourceAlreadyExists, message, &name)
        }
        CreateError::RequestIdReused(id) => {
            Problem::new(Code::FailedPrecondition, Reason::RequestIdReused, message)
                .with("request_id", id.as_str())
        }
        CreateError::LimitReached { account, limit } => {
            Problem::new(Code::ResourceExhausted, Reason::LimitReached, message)
                .with("account", account)
                .with("kind", "audit cursors")
                .with("limit", limit)
        }
    }
}

fn keeper(error: KeeperError<std::convert::Infallible>) -> Problem {
    match error {
        KeeperError::Refused(never) => match never {},
        KeeperError::Busy => Problem::new(
            Code::ResourceExhausted,
            Reason::JournalBusy,
            "too many changes wait to be written",
        )
        .retry_after(RETRY_DELAY),
        KeeperError::Reserve(reached) => reserve(reached),
        KeeperError::Unavailable => Problem::new(
            Code::Unavailable,
            Reason::JournalUnavailable,
            "audit cursors can't be written; whether it was done is unknown until the server has \
             restarted",
        ),
    }
}

fn about(code: Code, reason: Reason, message: String, name: &AuditCursorName) -> Problem {
    let mut problem = Problem::new(code, reason, message);
    let (name, description) = (name.to_string(), problem.message.clone());
    problem.details.set_resource_info(TYPE_NAME, name.clone(), String::new(), description);
    problem.with("resource", name)
}
