//! Reading the audit log as a client does.

use std::collections::VecDeque;

use aap::api::{
    audit_entry::{AuditEntry, Content},
    pb::{self, watch_audit_records_request::Start},
};
use prost::Message as _;
use tonic::{Status, Streaming};

use super::{
    clients::Client,
    faults::Fault,
    server::{PATIENCE, TestServer},
};

/// An open watch that checks each message against the one before it.
#[derive(Debug)]
pub struct Watch {
    messages: Streaming<pb::WatchAuditRecordsResponse>,
    /// Through where the messages so far account for the log.
    pub through: u64,
    pub log_id: String,
    entries: VecDeque<AuditEntry>,
    /// How many messages had something to account for.
    pub messages_read: usize,
}

impl Watch {
    /// Begins a watch, and reads its first message.
    pub async fn begin(auditor: &Client, start: Start) -> Result<Self, Status> {
        Self::begin_where(auditor, start, None).await
    }

    /// Begins a watch under a filter, and reads its first message.
    pub async fn begin_where(
        auditor: &Client,
        start: Start,
        filter: Option<pb::AuditRecordFilter>,
    ) -> Result<Self, Status> {
        let request =
            pb::WatchAuditRecordsRequest { start: Some(start), filter, ..Default::default() };
        let mut messages = auditor.audit().watch_audit_records(request).await?.into_inner();
        let first = messages.message().await?.expect("a first message");
        let scanned = first.scanned.unwrap();
        assert!(first.entries.is_empty() && scanned.through + 1 == scanned.from, "{first:?}");
        let (through, log_id) = (scanned.through, first.log_id);
        Ok(Self { messages, through, log_id, entries: VecDeque::new(), messages_read: 0 })
    }

    /// Begins a watch with a record, inclusive.
    pub async fn from(auditor: &Client, sequence: u64) -> Self {
        Self::begin(auditor, Start::FromSequence(sequence)).await.unwrap()
    }

    /// Begins a watch after the last record.
    pub async fn from_end(auditor: &Client) -> Self {
        Self::begin(auditor, Start::FromEnd(pb::FromEnd {})).await.unwrap()
    }

    /// Reads one message into the entries; `None` when the watch has ended.
    async fn read(&mut self) -> Result<Option<()>, Status> {
        let waited = tokio::time::timeout(PATIENCE, self.messages.message()).await;
        let Some(message) = waited.expect("a message in time")? else { return Ok(None) };
        let pb::WatchAuditRecordsResponse { entries, scanned, log_id } = message;
        let pb::ScannedRange { from, through } = scanned.unwrap();
        assert_eq!(log_id, self.log_id);
        assert_eq!(from, self.through + 1, "ranges are contiguous");
        assert!(through >= from, "a message accounts for something");
        let mut last = self.through;
        for entry in &entries {
            assert!(entry.sequence > last && entry.sequence <= through, "in order, in the range");
            last = entry.sequence;
        }
        self.through = through;
        self.messages_read += 1;
        self.entries.extend(entries);
        Ok(Some(()))
    }

    /// The next entry that the caller sees, whenever it comes.
    pub async fn next(&mut self) -> AuditEntry {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return entry;
            }
            self.read().await.unwrap().expect("the watch goes on");
        }
    }

    /// The next record that the caller sees, whenever it comes.
    pub async fn next_record(&mut self) -> pb::AuditRecord {
        record(&self.next().await)
    }

    /// All entries that are not read yet, through a place in the log.
    pub async fn all_through(&mut self, last: u64) -> Vec<AuditEntry> {
        while self.through < last {
            self.read().await.unwrap().expect("the watch goes on");
        }
        let count = self.entries.partition_point(|entry| entry.sequence <= last);
        self.entries.drain(..count).collect()
    }

    /// All records that are not read yet, through a place in the log.
    pub async fn records_through(&mut self, last: u64) -> Vec<pb::AuditRecord> {
        self.all_through(last).await.iter().map(record).collect()
    }

    /// Reads until the watch ends: what was still to come, and the error that ended it, if one did.
    pub async fn end(mut self) -> (Vec<AuditEntry>, Option<Status>, u64) {
        loop {
            match self.read().await {
                Ok(Some(())) => {}
                Ok(None) => return (self.entries.into(), None, self.through),
                Err(status) => return (self.entries.into(), Some(status), self.through),
            }
        }
    }
}

/// The record in an entry.
#[track_caller]
pub fn record(entry: &AuditEntry) -> pb::AuditRecord {
    match &entry.content {
        Some(Content::Record(bytes)) => pb::AuditRecord::decode(&bytes[..]).unwrap(),
        other => panic!("record {} is {other:?}", entry.sequence),
    }
}

/// What is answered to who asks for the first record while the disk fails.
pub async fn read_from_a_failing_disk(server: &TestServer, auditor: &Client) -> Status {
    // The log is verified meanwhile, so that the one read that fails may be another one.
    for _ in 0..100 {
        server.faults.fail_once(Fault::AuditRead);
        if let Err(unread) = stored(auditor, 1).await {
            return unread;
        }
    }
    panic!("no read fails");
}

/// One record's entry with its bytes as stored.
pub async fn stored(auditor: &Client, sequence: u64) -> Result<AuditEntry, Status> {
    let form = pb::RecordForm::Serialized.into();
    let request = pb::GetAuditRecordRequest { sequence, form, log_id: String::new() };
    Ok(auditor.audit().get_audit_record(request).await?.into_inner())
}

/// The stored bytes in an entry.
#[track_caller]
pub fn bytes(entry: &AuditEntry) -> &[u8] {
    match &entry.content {
        Some(Content::SerializedRecord(bytes)) => bytes,
        other => panic!("record {} is {other:?}", entry.sequence),
    }
}

/// The check in a record, if it is one.
pub fn check_of(record: &pb::AuditRecord) -> Option<&pb::CheckEvent> {
    match &record.event {
        Some(pb::audit_record::Event::Check(check)) => Some(check),
        _ => None,
    }
}

/// The refused call in a record, if it is one.
pub fn refused_call_of(record: &pb::AuditRecord) -> Option<&pb::RefusedCallEvent> {
    match &record.event {
        Some(pb::audit_record::Event::RefusedCall(call)) => Some(call),
        _ => None,
    }
}
