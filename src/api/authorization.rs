//! `AuthorizationService`: the hot path. An answer leaves when its record is on disk.

use std::{pin::Pin, sync::Arc};

use http::Extensions;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    audit::{buffer::NotWritten, log::AuditLog, record::Call},
    domain::check::Check,
    identity::caller::Caller,
    service::{
        checks::{CheckError, Checker, Deciding},
        gate::{Gate, Scope},
        refusals::{Refusal, Refusals},
    },
};

use super::{
    call,
    check_stream::{ANSWERS_AHEAD, CheckStream, STREAM_CHECK},
    convert::{check, decision},
    pb::{self, authorization_service_server::AuthorizationService},
    status::{self, ApiError},
    stream::{self, Messages},
};

/// Serves `AuthorizationService`.
#[derive(Clone, Debug)]
pub struct Authorization {
    checker: Checker,
    log: AuditLog,
    refusals: Refusals,
    gate: Gate,
    streams: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// How many streams of checks one runtime serves at once.
const MAX_STREAMS: usize = 256;

impl Authorization {
    /// Serves it by a checker that records in a log. Streams go on as long as the gate lets their
    /// callers in and the server runs.
    pub fn new(
        checker: Checker,
        log: AuditLog,
        refusals: Refusals,
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { checker, log, refusals, gate, streams, stopping }
    }

    /// Waits for the revision that a check demands; most demand none.
    async fn reach(&self, at_least: u64, metadata: &MetadataMap) -> Result<(), ApiError> {
        if at_least > 0 {
            self.checker.reach(at_least, call::patience(metadata)).await?;
        }
        Ok(())
    }

    /// What is asked, by whom.
    fn question<'m>(
        &self,
        metadata: &'m MetadataMap,
        extensions: &'m Extensions,
        message: &'m pb::CheckAccessRequest,
    ) -> Result<(&'m Caller, Call<'m>, Check<'m>), Status> {
        let caller = call::caller(extensions)?;
        let pb::CheckAccessRequest { parent, check, request_id, at_least_revision: _ } = message;
        let location = check::parse_parent(parent)?;
        let facts = call::facts(caller, metadata, extensions);
        Checker::authorize(caller, location)
            .map_err(|error| refuse(&self.refusals, facts, CHECK, error))?;
        let question = check::parse_one(location, check.as_ref(), request_id)?;
        Ok((caller, Call { request_id, ..facts }, question))
    }

    /// Decides, and has it recorded.
    fn check(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        message: &pb::CheckAccessRequest,
    ) -> Result<Deciding<pb::Decision>, Status> {
        let (caller, facts, question) = self.question(metadata, extensions, message)?;
        let deciding = self.checker.check(caller, facts, question, decision::send);
        deciding.map_err(|error| refuse(&self.refusals, facts, CHECK, error))
    }

    async fn answer(
        &self,
        deciding: Result<Deciding<pb::Decision>, Status>,
    ) -> Result<Response<pb::CheckAccessResponse>, Status> {
        let Deciding { rendered, revision, recorded } = deciding?;
        // Ends when the record is on disk, or when the disk stalls.
        let receipts = recorded.await.map_err(not_recorded)?;
        let receipt = receipts.iter().next().ok_or(ApiError::Internal)?;
        Ok(Response::new(pb::CheckAccessResponse {
            decision: Some(rendered),
            receipt: Some(decision::send_receipt(self.log.id(), receipt)),
            revision,
        }))
    }
}

/// Records that an enforcer asked what it may not ask.
pub(super) fn refuse(
    refusals: &Refusals,
    call: Call<'_>,
    method: &str,
    error: CheckError,
) -> Status {
    let is_refusal = !matches!(error, CheckError::Record(_));
    let status: Status = ApiError::from(error).into();
    if is_refusal {
        let reason = status::reason_of(&status);
        let code = u8::try_from(i32::from(status.code())).unwrap_or_default();
        refusals.record(&Refusal { call, account: "", method, code, reason: &reason });
    }
    status
}

type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

const CHECK: &str = "/aap.v1.AuthorizationService/CheckAccess";
const BATCH_CHECK: &str = "/aap.v1.AuthorizationService/BatchCheckAccess";

#[tonic::async_trait]
impl AuthorizationService for Authorization {
    // Written as a function so that what the call brought is let go before its record is waited for:
    // of a thousand calls that wait at once, each holds little, and a processor's cache holds them.
    fn check_access<'service, 'answer>(
        &'service self,
        request: Request<pb::CheckAccessRequest>,
    ) -> BoxFuture<'answer, Result<Response<pb::CheckAccessResponse>, Status>>
    where
        'service: 'answer,
    {
        let (metadata, extensions, message) = request.into_parts();
        if self.checker.is_at(message.at_least_revision) {
            let deciding = self.check(&metadata, &extensions, &message);
            return Box::pin(self.answer(deciding));
        }
        Box::pin(async move {
            self.question(&metadata, &extensions, &message)?;
            self.reach(message.at_least_revision, &metadata).await?;
            self.answer(self.check(&metadata, &extensions, &message)).await
        })
    }

    async fn batch_check_access(
        &self,
        request: Request<pb::BatchCheckAccessRequest>,
    ) -> Result<Response<pb::BatchCheckAccessResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let pb::BatchCheckAccessRequest { parent, checks, request_id, at_least_revision } =
            &message;
        let location = check::parse_parent(parent)?;
        let facts = call::facts(caller, &metadata, &extensions);
        Checker::authorize(caller, location)
            .map_err(|error| refuse(&self.refusals, facts, BATCH_CHECK, error))?;
        let questions = check::parse_all(location, checks, request_id)?;
        self.reach(*at_least_revision, &metadata).await?;
        let facts = Call { request_id, ..facts };
        let deciding = self
            .checker
            .check_all(caller, facts, &questions, decision::send)
            .map_err(|error| refuse(&self.refusals, facts, BATCH_CHECK, error))?;
        // Ends when the records are on disk, or when the disk stalls.
        let receipts = deciding.recorded.await.map_err(not_recorded)?;
        let results = deciding.rendered.into_iter().zip(receipts.iter());
        let results = results.map(|(decided, receipt)| pb::CheckResult {
            decision: Some(decided),
            receipt: Some(decision::send_receipt(self.log.id(), receipt)),
        });
        Ok(Response::new(pb::BatchCheckAccessResponse {
            results: results.collect(),
            revision: deciding.revision,
        }))
    }

    type StreamCheckAccessStream = Messages<pb::StreamCheckAccessResponse>;

    async fn stream_check_access(
        &self,
        request: Request<Streaming<pb::StreamCheckAccessRequest>>,
    ) -> Result<Response<Self::StreamCheckAccessStream>, Status> {
        let (metadata, extensions, questions) = request.into_parts();
        let authenticated = call::authenticated(&extensions)?.clone();
        let permit = Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| ApiError::TooManyStreams { limit: MAX_STREAMS })?;
        let standing = self.gate.standing(authenticated, STREAM_CHECK, Scope::EachMessage);
        let (outgoing, messages) =
            stream::open_ahead(standing, self.stopping.clone(), ANSWERS_AHEAD);
        let stream = CheckStream {
            checker: self.checker.clone(),
            log: self.log.clone(),
            refusals: self.refusals.clone(),
            questions,
            metadata,
            extensions,
            _permit: permit,
        };
        tokio::spawn(stream.run(outgoing));
        Ok(Response::new(messages))
    }
}

pub(super) fn not_recorded(error: NotWritten) -> ApiError {
    ApiError::Check(CheckError::Record(error.into()))
}
