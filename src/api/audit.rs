//! `AuditService`.

use std::{convert::Infallible, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tonic::{Request, Response, Status};

use crate::{
    audit::log::AuditLog,
    identity::caller::Caller,
    service::{
        gate::{Gate, Scope},
        reading::{self, Progress, ReadingError, Watch},
    },
};

use super::{
    audit_entry::AuditEntry,
    call,
    convert::{
        Violations,
        audit::{self, Form},
    },
    in_background,
    pb::{self, audit_service_server::AuditService},
    status::ApiError,
    stream::{self, Messages, Outgoing, Over},
};

/// How many watches may be open at once.
const MAX_WATCHES: usize = 1_000;
const WATCH: &str = "/aap.v1.AuditService/WatchAuditRecords";

/// Serves `AuditService`. Reading happens on another runtime, for it waits for the disk.
#[derive(Clone, Debug)]
pub struct Audit {
    log: AuditLog,
    background: Handle,
    watches: Arc<Semaphore>,
    gate: Gate,
    stopping: watch::Receiver<bool>,
}

impl Audit {
    /// Serves a log from a runtime that may wait for the disk, to whom the gate lets in, until the
    /// server stops.
    pub fn new(
        log: AuditLog,
        background: Handle,
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { log, background, watches: Arc::new(Semaphore::new(MAX_WATCHES)), gate, stopping }
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_audit_record(
        &self,
        request: Request<pb::GetAuditRecordRequest>,
    ) -> Result<Response<AuditEntry>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let pb::GetAuditRecordRequest { sequence, form } = message;
        let mut violations = Violations::default();
        let form = audit::parse_form(&mut violations, form);
        if sequence == 0 {
            violations.add("sequence", "must be at least 1");
        }
        let form = violations.finish(form)?;
        let log = self.log.clone();
        let read =
            self.background.spawn_blocking(move || reading::read_one(&log, &caller, sequence));
        let entry = read.await.map_err(|_| ApiError::Internal)?.map_err(ApiError::from)?;
        Ok(Response::new(audit::send_entry(entry, form)))
    }

    type WatchAuditRecordsStream = Messages<pb::WatchAuditRecordsResponse>;

    async fn watch_audit_records(
        &self,
        request: Request<pb::WatchAuditRecordsRequest>,
    ) -> Result<Response<Self::WatchAuditRecordsStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let authenticated = call::authenticated(&extensions)?.clone();
        let pb::WatchAuditRecordsRequest { form, start } = message;
        let mut violations = Violations::default();
        let form = audit::parse_form(&mut violations, form);
        let start = audit::parse_start(&mut violations, start);
        let (form, start) = violations.finish(form.zip(start))?;
        let permit = Arc::clone(&self.watches)
            .try_acquire_owned()
            .map_err(|_| ApiError::TooManyWatches { limit: MAX_WATCHES })?;
        let watch = Watch::begin(&self.log, start).map_err(ApiError::from)?;
        let standing = self.gate.standing(authenticated, WATCH, Scope::Bound);
        let (outgoing, messages) = stream::open(standing, self.stopping.clone());
        let synced = self.log.synced();
        let serving =
            Serving { watch, form, log_id: self.log.id().into(), synced, _permit: permit };
        self.background.spawn(serving.run(outgoing));
        Ok(Response::new(messages))
    }
}

/// One open watch: reads, sends, waits for the bell.
struct Serving {
    watch: Watch,
    form: Form,
    log_id: Box<str>,
    /// Rings when more is on disk.
    synced: watch::Receiver<u64>,
    /// Counts it among the open watches while it lasts.
    _permit: OwnedSemaphorePermit,
}

impl Serving {
    async fn run(self, mut outgoing: Outgoing<pb::WatchAuditRecordsResponse>) {
        let Err(over) = self.follow(&mut outgoing).await;
        outgoing.end(over);
    }

    /// Goes on until the watch is over.
    async fn follow(
        self,
        outgoing: &mut Outgoing<pb::WatchAuditRecordsResponse>,
    ) -> Result<Infallible, Over> {
        let Self { mut watch, form, log_id, mut synced, _permit } = self;
        // The first message says where the watch begins, also if there is nothing to read yet.
        let next = watch.next();
        let began = Progress { entries: Vec::new(), from: next, through: next - 1 };
        outgoing.send(audit::send_progress(&log_id, began, form)).await?;
        loop {
            // Looked at before reading, so that what comes meanwhile rings again.
            synced.mark_unchanged();
            let (read, progress) = read(watch, Arc::clone(outgoing.caller())).await?;
            watch = read;
            let progress = progress.map_err(ApiError::from)?;
            if progress.through < progress.from {
                outgoing.wait(synced.changed()).await?;
            } else {
                outgoing.send(audit::send_progress(&log_id, progress, form)).await?;
            }
        }
    }
}

/// Reads on, where waiting for the disk holds up nobody.
async fn read(
    mut watch: Watch,
    caller: Arc<Caller>,
) -> Result<(Watch, Result<Progress, ReadingError>), ApiError> {
    in_background(move || {
        let progress = watch.read(&caller);
        (watch, progress)
    })
    .await
}
