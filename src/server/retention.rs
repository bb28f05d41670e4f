//! Lets go of audit records that are too old or too many, as the configuration says. What goes is
//! recorded, on disk, before it goes; no decision waits for it.

use std::time::Duration;

use tokio::sync::watch;

use crate::audit::{
    log::{AuditLog, RecordError, RemoveError},
    record::{Call, Draft, EventDraft, GapDraft},
    retention::Retention,
};

/// How often it is looked.
const TICK: Duration = Duration::from_secs(1);
/// How long a record may take to come to disk before it is tried again with another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    /// It can't be recorded now.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The disk failed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

/// Looks again and again until the server stops. `lane` is the runtime that this runs on.
pub(super) async fn keep(
    log: AuditLog,
    retention: Retention,
    lane: usize,
    mut stopping: watch::Receiver<bool>,
) {
    if !retention.has_bounds() {
        return;
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            // An error means that nobody can stop it any more, which is a stop too.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        match remove_expired(&log, &retention, lane).await {
            // The log has said why, and takes records again, or not until a restart.
            Ok(()) | Err(RetentionError::Record(_)) => {}
            Err(RetentionError::Remove(error)) => {
                tracing::error!(%error, "no more audit records are removed until a restart");
                return;
            }
        }
    }
}

async fn remove_expired(
    log: &AuditLog,
    retention: &Retention,
    lane: usize,
) -> Result<(), RetentionError> {
    let Some((from, through)) = log.find_expired(retention) else { return Ok(()) };
    let (call, event) = (Call::default(), EventDraft::Gap(GapDraft::Removed(from, through)));
    let draft = Draft { account: "", region: "", call, event };
    let mut synced = log.synced();
    let recorded = log.append_in_reserve(lane, [draft])?.await.map_err(RecordError::from)?;
    let sequence = recorded.iter().map(|receipt| receipt.sequence).last().unwrap_or_default();
    let on_disk = synced.wait_for(|last| *last >= sequence);
    if !matches!(tokio::time::timeout(PATIENCE, on_disk).await, Ok(Ok(_))) {
        return Err(RecordError::Unavailable.into());
    }
    let log = log.clone();
    let removed = tokio::task::spawn_blocking(move || log.remove_through(through)).await;
    // A thread that panicked has said so.
    if let Ok(removed) = removed {
        removed?;
        tracing::info!(from, through, "audit records were removed: they are no longer kept");
    }
    Ok(())
}
