//! The one table from errors to statuses. Nothing else makes a `tonic::Status`.
//!
//! Every error has a canonical code, one `google.rpc.ErrorInfo` whose reason is a value of the API's
//! `ErrorReason`, and in its metadata every part of the message that varies. What an engine or the
//! file system said is logged where it happened and is not for callers.

mod cursors;
mod management;

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    audit::log::RecordError,
    domain::{decide::Rejection, name::ResourceName},
    service::{
        backups::{self, BackupsError},
        checks::CheckError,
        client_keys::IssueError,
        cursors::CursorError,
        gate::GateError,
        history::HistoryError,
        management::ManageError,
        proofs::ProofError,
        reading::ReadingError,
        sessions::SessionError,
        vouching::WITH_STS,
        watches::TooManyWatches,
    },
    store::{space::ReserveReached, writer::SubmitError},
};

use super::{
    convert::{Violation, Violations},
    pb::{self, ErrorReason as Reason},
};

const DOMAIN: &str = "aap";
/// When to repeat what was refused because too much waited.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// When to ask for a session again: the window in which they are counted.
const SESSION_DELAY: Duration = Duration::from_secs(1);
/// Who couldn't be asked isn't asked again before.
const VOUCHER_DELAY: Duration = Duration::from_secs(10);
/// When to repeat what was refused because others hold something for long.
const LONG_RETRY_DELAY: Duration = Duration::from_secs(5);
/// How many bytes of a status its list of violations may have. A status travels in headers, of
/// which strict clients take 8 KiB in all; others end the whole connection over too many.
const MAX_LISTED_BYTES: usize = 4 * 1_024;
/// About what a violation has besides its texts.
const VIOLATION_BYTES: usize = 12;

/// Everything that a call can be refused with.
#[derive(Debug)]
pub enum ApiError {
    /// The caller isn't let in.
    Gate(GateError),
    /// Fields are invalid.
    Invalid(Violations),
    /// A manager's request isn't met.
    Manage(ManageError),
    /// No client key is given away.
    Issue(IssueError),
    /// No session is granted.
    Session(SessionError),
    /// One of many changes is rejected.
    RejectedChange {
        /// The path of the change.
        path: String,
        /// Its place among them, from 0.
        place: usize,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// A check isn't answered.
    Check(CheckError),
    /// The journal isn't read.
    History(HistoryError),
    /// The audit log isn't read.
    Reading(ReadingError),
    /// The audit log isn't proved.
    Proof(ProofError),
    /// Nothing comes of a request about cursors.
    Cursor(CursorError),
    /// No backup is made.
    Backup(BackupsError),
    /// Too many streams of checks are open.
    TooManyStreams {
        /// How many may be.
        limit: usize,
    },
    /// Too many watches are open.
    TooManyWatches(TooManyWatches),
    /// The message is too large.
    TooLarge {
        /// How many bytes it may have.
        limit: usize,
    },
    /// The server stops.
    ShuttingDown,
    /// The server failed, and its log says why.
    Internal,
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> Self {
        Self::Manage(error)
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        Self::Issue(error)
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        Self::Manage(error.into())
    }
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        Self::Check(error)
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        Self::Check(error.into())
    }
}

impl From<ReadingError> for ApiError {
    fn from(error: ReadingError) -> Self {
        Self::Reading(error)
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Reading(error) => Self::Reading(error),
            error => Self::Cursor(error),
        }
    }
}

impl From<BackupsError> for ApiError {
    fn from(error: BackupsError) -> Self {
        match error {
            BackupsError::Proof(error) => error.into(),
            BackupsError::Reading(error) => error.into(),
            BackupsError::History(error) => error.into(),
            error => Self::Backup(error),
        }
    }
}

impl From<TooManyWatches> for ApiError {
    fn from(error: TooManyWatches) -> Self {
        Self::TooManyWatches(error)
    }
}

impl From<ProofError> for ApiError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Reading(error) => Self::Reading(error),
            ProofError::History(error) => Self::History(error),
            error => Self::Proof(error),
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Gate(error) => gate(error),
            ApiError::Invalid(violations) => invalid(violations),
            ApiError::Manage(error) => management::manage(error),
            ApiError::Issue(error) => management::issue(error),
            ApiError::Session(error) => session(error),
            ApiError::RejectedChange { path, place, rejection } => {
                management::rejected_change(&path, place, *rejection)
            }
            ApiError::Check(error) => check(error),
            ApiError::History(error) => history(&error),
            ApiError::Reading(error) => reading(&error),
            ApiError::Proof(error) => proof(&error),
            ApiError::Cursor(error) => cursors::cursor(error),
            ApiError::Backup(error) => backup(&error),
            ApiError::TooManyStreams { limit } => too_many_streams(limit),
            ApiError::TooManyWatches(error) => too_many_watches(&error),
            ApiError::TooLarge { limit } => too_large(limit),
            ApiError::ShuttingDown => {
                Problem::new(Code::Unavailable, Reason::ShuttingDown, "the server is stopping")
            }
            ApiError::Internal => Problem::new(
                Code::Internal,
                Reason::Internal,
                "the server failed; its log says why",
            ),
        }
        .into_status()
    }
}

/// The status for a message that can't be decoded.
pub fn malformed(error: &prost::DecodeError) -> Status {
    let detail = error.to_string();
    Problem::new(
        Code::InvalidArgument,
        Reason::MalformedMessage,
        format!("the request is not a message of this method: {detail}"),
    )
    .with("detail", detail)
    .into_status()
}

/// The status for a message that can't be encoded.
pub fn not_encoded(error: &prost::EncodeError) -> Status {
    tracing::error!(%error, "a message can't be encoded");
    ApiError::Internal.into()
}

/// The status for a call of a service that isn't there.
pub fn not_served() -> Status {
    Status::unimplemented("there is no such service")
}

/// A status in the place of one answer among many.
pub fn failure(status: &Status) -> pb::CheckFailure {
    let details = status.get_error_details();
    let (reason, metadata) =
        details.error_info().map_or((Reason::Internal, HashMap::new()), |info| {
            let reason = Reason::from_str_name(&info.reason).unwrap_or(Reason::Internal);
            (reason, info.metadata.clone())
        });
    let violations =
        details.bad_request().map(|bad_request| bad_request.field_violations.as_slice());
    let invalid_fields = violations.unwrap_or_default().iter().map(|violation| pb::InvalidField {
        field: violation.field.clone(),
        description: violation.description.clone(),
    });
    pb::CheckFailure {
        code: status.code().into(),
        reason: reason.into(),
        message: status.message().to_owned(),
        metadata,
        invalid_fields: invalid_fields.collect(),
    }
}

/// The reason that a status carries, for records.
pub fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// What a status is made from.
struct Problem {
    code: Code,
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Problem {
    fn new(code: Code, reason: Reason, message: impl Into<String>) -> Self {
        let (metadata, details) = (HashMap::new(), ErrorDetails::new());
        Self { code, reason, message: message.into(), metadata, details }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    fn about(mut self, resource: &ResourceName) -> Self {
        let description = self.message.clone();
        self.details.set_resource_info(
            resource.type_name(),
            resource.to_string(),
            String::new(),
            description,
        );
        self.with("resource", resource)
    }

    fn into_status(self) -> Status {
        let Self { code, reason, message, metadata, mut details } = self;
        details.set_error_info(reason.as_str_name(), DOMAIN, metadata);
        Status::with_error_details(code, message, details)
    }
}

fn gate(error: GateError) -> Problem {
    let message = error.to_string();
    match error {
        GateError::Unauthenticated => {
            Problem::new(Code::Unauthenticated, Reason::CallerUnauthenticated, message)
        }
        GateError::Expired { caller, expires } => {
            Problem::new(Code::Unauthenticated, Reason::CallerExpired, message)
                .with("caller", caller)
                .with("expire_time", expires)
        }
        GateError::Role { caller, role, needs, method } => {
            Problem::new(Code::PermissionDenied, Reason::RoleNotSufficient, message)
                .with("caller", caller)
                .with("role", role)
                .with("required_role", needs)
                .with("method", method)
        }
        GateError::AccountLost { caller, account } => {
            Problem::new(Code::PermissionDenied, Reason::AccountNotBound, message)
                .with("caller", caller)
                .with("account", account)
        }
    }
}

fn invalid(violations: Violations) -> Problem {
    let count = violations.count();
    let message = match (violations.noted().first(), count.saturating_sub(1)) {
        (None, _) => "the request is invalid".to_owned(),
        (Some(Violation { field, description }), 0) => format!("`{field}` {description}"),
        (Some(Violation { field, description }), 1) => {
            format!("`{field}` {description}; 1 more field is invalid")
        }
        (Some(Violation { field, description }), more) => {
            format!("`{field}` {description}; {more} more fields are invalid")
        }
    };
    let mut problem = Problem::new(Code::InvalidArgument, Reason::InvalidFields, message);
    let violations = violations
        .noted()
        .iter()
        .map(|Violation { field, description }| FieldViolation::new(field, description));
    let size = |one: &FieldViolation| one.field.len() + one.description.len();
    problem.details.set_bad_request(as_many_as_fit(violations, size));
    problem.with("violations", count)
}

/// The first of some violations; how many there are is in the metadata.
fn as_many_as_fit<T>(violations: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut room = MAX_LISTED_BYTES;
    let fits = |violation: &T| {
        let left = room.checked_sub(size(violation) + VIOLATION_BYTES);
        room = left.unwrap_or_default();
        left.is_some()
    };
    violations.take_while(fits).collect()
}

fn session(error: SessionError) -> Problem {
    let message = error.to_string();
    match error {
        SessionError::Refused => {
            Problem::new(Code::Unauthenticated, Reason::SessionRefused, message)
        }
        SessionError::TooMany => {
            Problem::new(Code::ResourceExhausted, Reason::TooManySessionRequests, message)
                .retry_after(SESSION_DELAY)
        }
        SessionError::NoAudience => {
            Problem::new(Code::FailedPrecondition, Reason::NoSessionAudience, message)
        }
        SessionError::NoTokenIssuers => {
            Problem::new(Code::FailedPrecondition, Reason::NoTokenIssuers, message)
        }
        SessionError::NoSts => Problem::new(Code::FailedPrecondition, Reason::NoSts, message),
        SessionError::StsBusy => {
            Problem::new(Code::ResourceExhausted, Reason::TooManyCallerIdentities, message)
                .with("limit", WITH_STS)
                .retry_after(SESSION_DELAY)
        }
        SessionError::VoucherUnavailable => {
            Problem::new(Code::Unavailable, Reason::VoucherUnavailable, message)
                .retry_after(VOUCHER_DELAY)
        }
        SessionError::Record(error) => check(error.into()),
    }
}

fn check(error: CheckError) -> Problem {
    let message = error.to_string();
    match error {
        CheckError::AccountNotBound { caller, account } => {
            Problem::new(Code::PermissionDenied, Reason::AccountNotBound, message)
                .with("caller", caller)
                .with("account", account)
        }
        CheckError::AssertionNotAllowed { caller } => {
            Problem::new(Code::PermissionDenied, Reason::IdentityAssertionNotAllowed, message)
                .with("caller", caller)
        }
        CheckError::BeyondBounds { caller, bound, value, place } => {
            let problem =
                Problem::new(Code::PermissionDenied, Reason::EnforcerBoundsExceeded, message)
                    .with("caller", caller)
                    .with("bound", bound)
                    .with("value", value);
            match place {
                Some(place) => problem.with("check", place),
                None => problem,
            }
        }
        CheckError::RevisionNotReached { at_least, revision } => {
            Problem::new(Code::Unavailable, Reason::RevisionNotReached, message)
                .with("at_least_revision", at_least)
                .with("revision", revision)
        }
        CheckError::Record(RecordError::Busy) => {
            Problem::new(Code::ResourceExhausted, Reason::AuditBusy, message)
                .retry_after(RETRY_DELAY)
        }
        CheckError::Record(RecordError::Reserve(reached)) => reserve(reached),
        CheckError::Record(RecordError::Unavailable) => Problem::new(
            Code::Unavailable,
            Reason::AuditUnavailable,
            "the decision can't be recorded, so it isn't given",
        ),
    }
}

fn reserve(reached: ReserveReached) -> Problem {
    Problem::new(Code::ResourceExhausted, Reason::DiskReserveReached, reached.to_string())
        .with("free_percent", reached.free_percent)
        .with("reserve_percent", reached.reserve_percent)
}

fn history(error: &HistoryError) -> Problem {
    let message = error.to_string();
    match error {
        HistoryError::OutOfRange { revision, last } => {
            Problem::new(Code::OutOfRange, Reason::SequenceOutOfRange, message)
                .with("sequence", revision)
                .with("first", 1)
                .with("last", last)
        }
        HistoryError::NotFound { revision } => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message)
                .with("resource", format_args!("change {revision}"))
        }
        HistoryError::Read(error) => {
            tracing::error!(%error, "the journal can't be read");
            Problem::new(Code::Internal, Reason::Internal, "the server failed; its log says why")
        }
    }
}

fn reading(error: &ReadingError) -> Problem {
    let message = error.to_string();
    match error {
        ReadingError::NotFound { sequence } => {
            Problem::new(Code::NotFound, Reason::ResourceNotFound, message)
                .with("resource", format_args!("audit record {sequence}"))
        }
        ReadingError::OutOfRange { sequence, first, last } => {
            Problem::new(Code::OutOfRange, Reason::SequenceOutOfRange, message)
                .with("sequence", sequence)
                .with("first", first)
                .with("last", last)
        }
        ReadingError::OtherLog { wanted, current } => {
            Problem::new(Code::FailedPrecondition, Reason::OtherAuditLog, message)
                .with("log_id", wanted)
                .with("current_log_id", current)
        }
        ReadingError::Io(error) => {
            tracing::error!(%error, "the audit log can't be read");
            Problem::new(Code::Internal, Reason::Internal, "the server failed; its log says why")
        }
    }
}

fn proof(error: &ProofError) -> Problem {
    let message = error.to_string();
    match error {
        ProofError::NoCheckpoint { size, of: _ } => {
            Problem::new(Code::NotFound, Reason::CheckpointNotFound, message).with("size", size)
        }
        ProofError::NotReached { at_least, size, of: _ } => {
            Problem::new(Code::Unavailable, Reason::CheckpointNotReached, message)
                .with("at_least_size", at_least)
                .with("size", size)
        }
        ProofError::Damaged { place } => {
            let problem = Problem::new(Code::DataLoss, Reason::EvidenceDamaged, message);
            match place {
                Some((file, offset)) => problem.with("file", file).with("offset", offset),
                None => problem,
            }
        }
        ProofError::Reading(error) => reading(error),
        ProofError::History(error) => history(error),
    }
}

fn backup(error: &BackupsError) -> Problem {
    let message = error.to_string();
    match error {
        BackupsError::Running => {
            Problem::new(Code::ResourceExhausted, Reason::BackupRunning, message)
                .retry_after(LONG_RETRY_DELAY)
        }
        BackupsError::NotRead => {
            Problem::new(Code::DeadlineExceeded, Reason::BackupNotRead, message)
                .with("seconds", backups::PATIENCE.as_secs())
        }
        BackupsError::NotOfAll { caller } => {
            Problem::new(Code::PermissionDenied, Reason::AccountNotBound, message)
                .with("caller", caller)
                .with("account", "*")
        }
        BackupsError::Proof(error) => proof(error),
        BackupsError::Reading(error) => reading(error),
        BackupsError::History(error) => history(error),
    }
}

fn too_many_streams(limit: usize) -> Problem {
    let message = format!("{limit} streams of checks are open, which is as many as may be");
    Problem::new(Code::ResourceExhausted, Reason::TooManyStreams, message)
        .with("limit", limit)
        .retry_after(LONG_RETRY_DELAY)
}

fn too_many_watches(error: &TooManyWatches) -> Problem {
    let problem = Problem::new(Code::ResourceExhausted, Reason::TooManyWatches, error.to_string())
        .retry_after(LONG_RETRY_DELAY);
    match error {
        TooManyWatches::InAll { limit } => problem.with("limit", limit),
        TooManyWatches::OfCaller { caller, limit } => {
            problem.with("limit", limit).with("caller", caller)
        }
    }
}

fn too_large(limit: usize) -> Problem {
    let message = format!("the message is larger than {limit} bytes");
    Problem::new(Code::ResourceExhausted, Reason::MessageTooLarge, message)
        .with("limit_bytes", limit)
}

/// Gives what tonic says of a streamed message that is too large this API's form.
pub fn unreadable(status: Status) -> Status {
    if status.code() == Code::OutOfRange && status.details().is_empty() {
        let limit = super::admission::MAX_MESSAGE_BYTES;
        return ApiError::TooLarge { limit }.into();
    }
    status
}

/// An error as a whole response.
pub fn response<B: Default>(error: ApiError) -> http::Response<B> {
    Status::from(error).into_http()
}

/// Gives a refusal that tonic made on its own, over a message that is too large, this API's form.
pub fn with_own_reason<B: Default>(response: http::Response<B>) -> http::Response<B> {
    let headers = response.headers();
    let is_too_large = headers.get(Status::GRPC_STATUS).is_some_and(|code| code == "11")
        && !headers.contains_key("grpc-status-details-bin");
    if is_too_large {
        let limit = super::admission::MAX_MESSAGE_BYTES;
        self::response(ApiError::TooLarge { limit })
    } else {
        response
    }
}
