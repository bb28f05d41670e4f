//! `AuditService`.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    audit::log::AuditLog,
    service::reading::{self, Progress, ReadingError, Watch},
};

use super::{
    audit_entry::AuditEntry,
    call,
    convert::{
        Violations,
        audit::{self, Form},
    },
    pb::{self, audit_service_server::AuditService},
    status::ApiError,
};

/// How many watches may be open at once.
const MAX_WATCHES: usize = 1_000;
/// How many messages of a watch wait for a slow reader, beyond what its connection holds.
const MESSAGES_AHEAD: usize = 1;

type Message = Result<pb::WatchAuditRecordsResponse, Status>;

/// Serves `AuditService`. Reading happens on another runtime, for it waits for the disk.
#[derive(Clone, Debug)]
pub struct Audit {
    log: AuditLog,
    background: Handle,
    watches: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Audit {
    /// Serves a log from a runtime that may wait for the disk, until the server stops.
    pub fn new(log: AuditLog, background: Handle, stopping: watch::Receiver<bool>) -> Self {
        Self { log, background, watches: Arc::new(Semaphore::new(MAX_WATCHES)), stopping }
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

    type WatchAuditRecordsStream = ReceiverStream<Message>;

    async fn watch_audit_records(
        &self,
        request: Request<pb::WatchAuditRecordsRequest>,
    ) -> Result<Response<Self::WatchAuditRecordsStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let pb::WatchAuditRecordsRequest { form, start } = message;
        let mut violations = Violations::default();
        let form = audit::parse_form(&mut violations, form);
        let start = audit::parse_start(&mut violations, start);
        let (form, start) = violations.finish(form.zip(start))?;
        let permit = Arc::clone(&self.watches)
            .try_acquire_owned()
            .map_err(|_| ApiError::TooManyWatches { limit: MAX_WATCHES })?;
        let watch = Watch::begin(&self.log, caller, start).map_err(ApiError::from)?;
        let (messages, received) = mpsc::channel(MESSAGES_AHEAD);
        let synced = self.log.synced();
        let serving = Serving {
            watch,
            form,
            log_id: self.log.id().into(),
            messages,
            synced,
            stopping: self.stopping.clone(),
            _permit: permit,
        };
        self.background.spawn(serving.run());
        Ok(Response::new(ReceiverStream::new(received)))
    }
}

/// One open watch: reads, sends, waits for the bell.
struct Serving {
    watch: Watch,
    form: Form,
    log_id: Box<str>,
    messages: mpsc::Sender<Message>,
    /// Rings when more is on disk.
    synced: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// Counts it among the open watches while it lasts.
    _permit: OwnedSemaphorePermit,
}

impl Serving {
    async fn run(mut self) {
        // The first message says where the watch begins, also if there is nothing to read yet.
        let next = self.watch.next();
        let began = Progress { entries: Vec::new(), from: next, through: next - 1 };
        if !self.send(Ok(began)).await {
            return;
        }
        loop {
            // Looked at before reading, so that what comes meanwhile rings again.
            self.synced.mark_unchanged();
            let Some((serving, read)) = self.read().await else { return };
            self = serving;
            match read {
                Ok(progress) if progress.through < progress.from => {
                    if !self.wait().await {
                        return;
                    }
                }
                read => {
                    let failed = read.is_err();
                    if !self.send(read).await || failed {
                        return;
                    }
                }
            }
        }
    }

    /// Reads on, where waiting for the disk holds up nobody.
    async fn read(mut self) -> Option<(Self, Result<Progress, ReadingError>)> {
        let read = tokio::task::spawn_blocking(move || {
            let read = self.watch.read();
            (self, read)
        });
        read.await.ok()
    }

    /// Sends what was read; `false` if nobody wants it any more. Waits for the reader: that is all
    /// that a slow one holds up.
    async fn send(&mut self, read: Result<Progress, ReadingError>) -> bool {
        let form = self.form;
        let message = read
            .map(|progress| audit::send_progress(&self.log_id, progress, form))
            .map_err(|error| ApiError::from(error).into());
        tokio::select! {
            sent = self.messages.send(message) => sent.is_ok(),
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Waits for more to be on disk; `false` if the watch ends first.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            more = self.synced.changed() => more.is_ok(),
            () = self.messages.closed() => false,
            _ = self.stopping.wait_for(|stopping| *stopping) => {
                // The reader is told why, if it has room for one more message.
                let _ = self.messages.try_send(Err(ApiError::ShuttingDown.into()));
                false
            }
        }
    }
}
