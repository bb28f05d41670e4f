//! `BackupService`.

use std::{convert::Infallible, time::Duration};

use tokio::{runtime::Handle, sync::watch};
use tonic::{Request, Response, Status};

use crate::{
    audit::{log::AuditLog, record::AuditReadDraft},
    backup::head::{Head, LogHead},
    service::{
        audit_reads::AuditReads,
        backups::{Backups as Making, Running},
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

/// Serves `BackupService`.
#[derive(Clone, Debug)]
pub struct Backups {
    making: Making,
    log: AuditLog,
    reads: AuditReads,
    pace: Pace,
    background: Handle,
    gate: Gate,
    stopping: watch::Receiver<bool>,
}

impl Backups {
    /// Serves backups, which are recorded in a log and go at the pace of those who read much of it,
    /// from a runtime that may wait for the disk, to whom the gate lets in, until the server stops.
    pub fn new(
        making: Making,
        (log, reads, pace): (AuditLog, AuditReads, Pace),
        background: Handle,
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { making, log, reads, pace, background, gate, stopping }
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
        let (log, pace) = (self.log.clone(), self.pace.clone());
        self.background.spawn(run(running, log, pace, outgoing));
        Ok(Response::new(messages))
    }
}

async fn run(
    running: Running,
    log: AuditLog,
    pace: Pace,
    mut outgoing: Outgoing<pb::StreamBackupResponse>,
) {
    let over = match send(running, &log, &pace, &mut outgoing).await {
        Ok(()) => Over::Gone,
        Err(over) => over,
    };
    outgoing.end(over);
}

/// Sends all of it.
async fn send(
    mut running: Running,
    log: &AuditLog,
    pace: &Pace,
    outgoing: &mut Outgoing<pb::StreamBackupResponse>,
) -> Result<(), Over> {
    let extent = Some(extent_of(&running.head));
    outgoing.send(pb::StreamBackupResponse { extent, content: Vec::new() }).await?;
    loop {
        let (_, last) = log.bounds();
        if let Some(rest) = pace.due(last) {
            outgoing.wait(after(rest.min(REST))).await?;
            continue;
        }
        let (rest, read) = in_background(move || {
            let read = running.read();
            (running, read)
        })
        .await?;
        running = rest;
        let Some(content) = read.map_err(ApiError::from)? else { return Ok(()) };
        pace.note(content.len() as u64 / RECORD_BYTES, last);
        outgoing.send(pb::StreamBackupResponse { extent: None, content }).await?;
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
