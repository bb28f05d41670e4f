//! `BackupService`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch};
use tonic::{Request, Response, Status};

use crate::{
    audit::{log::AuditLog, record::AuditReadDraft},
    backup::head::{Head, LogHead},
    clock::Clock,
    service::{
        audit_reads::AuditReads,
        backups::{Backups as Making, BackupsError, PATIENCE, Running},
        gate::{Gate, Scope},
        pace::Pace,
    },
};

use super::{
    call, in_background,
    pb::{self, backup_service_server::BackupService},
    status::ApiError,
    stream::{self, Messages, Outgoing, Over},
};

const STREAM: &str = "/aap.v1.BackupService/StreamBackup";
/// About how many bytes an audit record has: the pace of those who read much is counted in records.
const RECORD_BYTES: u64 = 320;
/// How long a backup waits at most until it asks again whether it may go on.
const REST: Duration = Duration::from_millis(250);
/// How often it is asked how long nothing was read.
const LOOK: Duration = Duration::from_millis(250);

/// Serves `BackupService`.
#[derive(Clone, Debug)]
pub struct Backups {
    making: Making,
    log: AuditLog,
    reads: AuditReads,
    pace: Pace,
    background: Handle,
    clock: Clock,
    gate: Gate,
    stopping: watch::Receiver<bool>,
}

impl Backups {
    /// Serves backups, which are recorded in a log and go at the pace of those who read much of it,
    /// from a runtime that may wait for the disk, by a clock, to whom the gate lets in, until the server
    /// stops.
    pub fn new(
        making: Making,
        (log, reads, pace): (AuditLog, AuditReads, Pace),
        (background, clock): (Handle, Clock),
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { making, log, reads, pace, background, clock, gate, stopping }
    }
}

#[tonic::async_trait]
impl BackupService for Backups {
    type StreamBackupStream = Messages<pb::StreamBackupResponse>;

    async fn stream_backup(
        &self,
        request: Request<pb::StreamBackupRequest>,
    ) -> Result<Response<Self::StreamBackupStream>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let pb::StreamBackupRequest {} = message;
        let authenticated = call::authenticated(&extensions)?.clone();
        let turn = self.making.begin(&authenticated.caller).map_err(ApiError::from)?;
        // Before it is settled how far the backup goes: it has the record of itself.
        let (from, _) = self.log.bounds();
        let read = AuditReadDraft { method: STREAM, from, through: 0, filter: &[], cursor: "" };
        let facts = call::facts(&authenticated.caller, &metadata, &extensions);
        let recorded = self.reads.record_or_refuse("", facts, read).await;
        recorded.map_err(|error| ApiError::Check(error.into()))?;
        let running = turn.settle().await.map_err(ApiError::from)?;
        let standing = self.gate.standing(authenticated, STREAM, Scope::Bound);
        let (outgoing, messages) = stream::open(standing, self.stopping.clone());
        let (log, pace, clock) = (self.log.clone(), self.pace.clone(), self.clock.clone());
        let sending = Sending { outgoing, log, pace, clock };
        self.background.spawn(sending.run(running));
        Ok(Response::new(messages))
    }
}

/// A backup on its way to who reads it.
struct Sending {
    outgoing: Outgoing<pb::StreamBackupResponse>,
    log: AuditLog,
    pace: Pace,
    clock: Clock,
}

impl Sending {
    async fn run(mut self, running: Running) {
        let over = match self.send_all(running).await {
            Ok(()) => Over::Gone,
            Err(over) => over,
        };
        self.outgoing.end(over);
    }

    async fn send_all(&mut self, mut running: Running) -> Result<(), Over> {
        let extent = Some(extent_of(&running.head));
        self.send(pb::StreamBackupResponse { extent, content: Vec::new() }).await?;
        loop {
            let (_, last) = self.log.bounds();
            if let Some(rest) = self.pace.due(last) {
                self.outgoing.wait(after(rest.min(REST))).await?;
                continue;
            }
            let (rest, read) = in_background(move || {
                let read = running.read();
                (running, read)
            })
            .await?;
            running = rest;
            let Some(content) = read.map_err(ApiError::from)? else { return Ok(()) };
            self.pace.note(content.len() as u64 / RECORD_BYTES, last);
            self.send(pb::StreamBackupResponse { extent: None, content }).await?;
        }
    }

    /// Sends a message, unless what was sent before isn't read for too long.
    async fn send(&mut self, message: pb::StreamBackupResponse) -> Result<(), Over> {
        let Self { outgoing, clock, .. } = self;
        let caller = Arc::clone(outgoing.caller());
        tokio::select! {
            biased;
            sent = outgoing.send(message) => sent,
            () = have_passed(PATIENCE, clock) => {
                tracing::warn!(caller = %caller.name, "a backup is ended: nothing of it is read");
                Err(ApiError::from(BackupsError::NotRead).into())
            }
        }
    }
}

/// Ends when so much time has passed.
async fn have_passed(time: Duration, clock: &Clock) {
    let began = clock.elapsed();
    while clock.elapsed().saturating_sub(began) < time {
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends after a while.
async fn after(rest: Duration) -> Result<(), Infallible> {
    tokio::time::sleep(rest).await;
    Ok(())
}

fn extent_of(head: &Head) -> pb::BackupExtent {
    let mut extent =
        pb::BackupExtent { revision: head.journal.revision, ..pb::BackupExtent::default() };
    if let Some(LogHead { log_id, first, last }) = head.logs.last() {
        extent.log_id = log_id.to_string();
        (extent.first_sequence, extent.last_sequence) = (*first, *last);
    }
    extent
}
