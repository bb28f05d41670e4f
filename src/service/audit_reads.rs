//! Records of reads of the audit log: who has seen what of it is evidence too.

use crate::audit::{
    log::{AuditLog, RecordError},
    record::{AuditReadDraft, Call, Draft, EventDraft},
};

/// Records that the log is read.
#[derive(Clone, Debug)]
pub struct AuditReads {
    log: AuditLog,
    lane: usize,
}

impl AuditReads {
    /// Records it in the log, on the lane of a runtime that serves it.
    pub fn new(log: AuditLog, lane: usize) -> Self {
        Self { log, lane }
    }

    /// Records a read, and waits until that is on disk.
    ///
    /// A log that takes no more records, because the disk is full or has failed, is read all the
    /// same: that is when somebody must look at it. It has said that it takes none, and no decision
    /// is made meanwhile.
    pub async fn record(&self, account: &str, call: Call<'_>, read: AuditReadDraft<'_>) {
        if let Err(error) = self.record_or_refuse(account, call, read).await {
            tracing::warn!(%error, caller = call.caller, "a read of the audit log isn't recorded");
        }
    }

    /// The same for who must not have what isn't recorded.
    pub async fn record_or_refuse(
        &self,
        account: &str,
        call: Call<'_>,
        read: AuditReadDraft<'_>,
    ) -> Result<(), RecordError> {
        let draft = Draft { account, region: "", call, event: EventDraft::AuditRead(read) };
        self.log.append(self.lane, [draft])?.await?;
        Ok(())
    }
}
