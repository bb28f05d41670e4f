//! Cursors of the audit log as a client uses them.

use std::collections::VecDeque;

use aap::api::{
    audit_entry::AuditEntry,
    pb::{self, create_audit_cursor_request::Start},
};
use tonic::{Status, Streaming};

use super::{clients::Client, server::PATIENCE};

/// A request for a cursor of a parent (an account's name, or nothing) that begins with a record.
pub fn new_cursor(parent: &str, id: &str, from: u64) -> pb::CreateAuditCursorRequest {
    pb::CreateAuditCursorRequest {
        parent: parent.to_owned(),
        audit_cursor_id: id.to_owned(),
        start: Some(Start::FromSequence(from)),
        ..Default::default()
    }
}

/// Creates a cursor over all records, from one on; returns its name.
pub async fn create(auditor: &Client, id: &str, from: u64) -> String {
    let created = auditor.audit().create_audit_cursor(new_cursor("", id, from)).await;
    created.unwrap().into_inner().name
}

/// Reads how a cursor is.
pub async fn get(auditor: &Client, name: &str) -> Result<pb::AuditCursor, Status> {
    let request = pb::GetAuditCursorRequest { name: name.to_owned() };
    Ok(auditor.audit().get_audit_cursor(request).await?.into_inner())
}

/// A request to read by a cursor.
pub fn read_by(name: &str) -> pb::ReadAuditCursorRequest {
    pb::ReadAuditCursorRequest { name: name.to_owned(), ..Default::default() }
}

/// An open read that checks each message against the one before it.
#[derive(Debug)]
pub struct Reading {
    auditor: Client,
    messages: Streaming<pb::ReadAuditCursorResponse>,
    name: String,
    pub lease_token: String,
    pub log_id: String,
    /// Through where the messages so far account for the log.
    pub through: u64,
    /// What was told to be missing.
    pub missed: Vec<pb::MissedRange>,
    entries: VecDeque<AuditEntry>,
}

impl Reading {
    /// Begins to read, and reads the first message.
    pub async fn begin(
        auditor: &Client,
        request: pb::ReadAuditCursorRequest,
    ) -> Result<Self, Status> {
        let name = request.name.clone();
        let mut messages = auditor.audit().read_audit_cursor(request).await?.into_inner();
        let first = messages.message().await?.expect("a first message");
        let scanned = first.scanned.unwrap();
        assert!(first.entries.is_empty() && scanned.through + 1 == scanned.from, "{first:?}");
        let pb::ReadAuditCursorResponse { log_id, lease_token, missed, .. } = first;
        assert!(!lease_token.is_empty());
        let (auditor, entries, through) = (auditor.clone(), VecDeque::new(), scanned.through);
        Ok(Self { auditor, messages, name, lease_token, log_id, through, missed, entries })
    }

    /// Begins to read by a cursor that nobody reads by.
    pub async fn of(auditor: &Client, name: &str) -> Self {
        Self::begin(auditor, read_by(name)).await.unwrap()
    }

    /// Reads one message; `None` when the stream has ended.
    pub async fn read(&mut self) -> Result<Option<()>, Status> {
        let waited = tokio::time::timeout(PATIENCE, self.messages.message()).await;
        let Some(message) = waited.expect("a message in time")? else { return Ok(None) };
        let pb::ReadAuditCursorResponse { entries, scanned, log_id, lease_token, missed } = message;
        let pb::ScannedRange { from, through } = scanned.unwrap();
        assert_eq!((&log_id, lease_token.as_str()), (&self.log_id, ""));
        for range in missed {
            assert_eq!((range.from, &range.log_id), (self.through + 1, &log_id));
            self.through = range.through;
            self.missed.push(range);
        }
        assert_eq!(from, self.through + 1, "ranges are contiguous");
        let mut last = self.through;
        for entry in &entries {
            assert!(entry.sequence > last && entry.sequence <= through, "in order, in the range");
            last = entry.sequence;
        }
        self.through = through;
        self.entries.extend(entries);
        Ok(Some(()))
    }

    /// What was read and not taken yet.
    pub fn take(&mut self) -> Vec<AuditEntry> {
        self.entries.drain(..).collect()
    }

    /// All entries that were not taken yet, through a place in the log.
    pub async fn all_through(&mut self, last: u64) -> Vec<AuditEntry> {
        while self.through < last {
            self.read().await.unwrap().expect("the stream goes on");
        }
        let count = self.entries.partition_point(|entry| entry.sequence <= last);
        self.entries.drain(..count).collect()
    }

    /// Reads on until the stream ends; the error that ended it, if one did.
    pub async fn end(&mut self) -> Option<Status> {
        loop {
            match self.read().await {
                Ok(Some(())) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// An acknowledgement of all through a record.
    pub fn acknowledgement(&self, through: u64) -> pb::AcknowledgeAuditCursorRequest {
        let (name, lease_token) = (self.name.clone(), self.lease_token.clone());
        pb::AcknowledgeAuditCursorRequest { name, lease_token, through, release: false }
    }

    /// Acknowledges all through a record; returns through where all is.
    pub async fn acknowledge(&self, through: u64) -> Result<u64, Status> {
        self.tell(self.acknowledgement(through)).await
    }

    /// Acknowledges, and ends the lease.
    pub async fn release(&self, through: u64) -> Result<u64, Status> {
        let release = self.acknowledgement(through);
        self.tell(pb::AcknowledgeAuditCursorRequest { release: true, ..release }).await
    }

    async fn tell(&self, request: pb::AcknowledgeAuditCursorRequest) -> Result<u64, Status> {
        let told = self.auditor.audit().acknowledge_audit_cursor(request).await?;
        Ok(told.into_inner().acknowledged_through)
    }
}
