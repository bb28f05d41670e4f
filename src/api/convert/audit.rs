//! Records of the audit log, as they are sent: the stored bytes, never encoded again.

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    api::{
        audit_entry::{AuditEntry, Content as SentContent},
        pb,
    },
    audit::{
        log::AuditLog,
        record,
        segment::{Content, Entry},
    },
    service::reading::{Listed, Progress, Start},
};

use super::{Violations, audit_filter, page::List, parse_uuid};
use pb::watch_audit_records_request::Start as SentStart;

/// In which form records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As messages.
    Message,
    /// As bytes.
    Serialized,
}

/// Parses the form wanted.
pub fn parse_form(violations: &mut Violations, form: i32) -> Option<Form> {
    match pb::RecordForm::try_from(form) {
        Ok(pb::RecordForm::Unspecified | pb::RecordForm::Message) => Some(Form::Message),
        Ok(pb::RecordForm::Serialized) => Some(Form::Serialized),
        Err(_) => {
            violations.add("form", "must be MESSAGE or SERIALIZED");
            None
        }
    }
}

/// Parses which log a place is in, if that is said.
pub fn parse_log_id(violations: &mut Violations, log_id: &str) -> Option<Option<Uuid>> {
    parse_uuid(violations, "log_id", log_id)
}

/// Parses where a watch begins.
pub fn parse_start(violations: &mut Violations, start: Option<SentStart>) -> Option<Start> {
    match violations.require("start", start)? {
        SentStart::FromSequence(0) => {
            violations.add("from_sequence", "must be at least 1");
            None
        }
        SentStart::FromSequence(sequence) => Some(Start::At(sequence)),
        SentStart::FromEnd(pb::FromEnd {}) => Some(Start::End),
        SentStart::FromTime(time) => {
            audit_filter::parse_time(violations, "from_time", time).map(Start::AtTime)
        }
    }
}

/// A record as it is sent, of a log whose files are in a folder.
pub fn send_entry(folder: &str, entry: Entry, form: Form) -> AuditEntry {
    let Entry { sequence, content, leaf_hash } = entry;
    let (leaf_hash, content) = match content {
        Content::Damaged { file, offset } => {
            let file = format!("{folder}/{file}");
            (Bytes::new(), SentContent::Damaged(pb::DamagedRecord { file, offset }))
        }
        Content::Record(bytes) => {
            let leaf_hash = leaf_hash.unwrap_or_else(|| record::leaf_hash(&bytes));
            let leaf_hash = Bytes::copy_from_slice(&leaf_hash);
            match form {
                Form::Message => (leaf_hash, SentContent::Record(bytes)),
                Form::Serialized => (leaf_hash, SentContent::SerializedRecord(bytes)),
            }
        }
    };
    AuditEntry { sequence, leaf_hash, content: Some(content) }
}

fn send_entries(log: &AuditLog, entries: Vec<Entry>, form: Form) -> Vec<AuditEntry> {
    entries.into_iter().map(|entry| send_entry(log.folder(), entry, form)).collect()
}

/// What a watch has read, as it is sent.
pub fn send_progress(
    log: &AuditLog,
    progress: Progress,
    form: Form,
) -> pb::WatchAuditRecordsResponse {
    let Progress { entries, from, through } = progress;
    pb::WatchAuditRecordsResponse {
        entries: send_entries(log, entries, form),
        scanned: Some(pb::ScannedRange { from, through }),
        log_id: log.id().to_owned(),
    }
}

/// A page of a list, as it is sent.
pub fn send_page(
    log: &AuditLog,
    listed: Listed,
    form: Form,
    list: &List,
) -> pb::ListAuditRecordsResponse {
    let Listed { entries, scanned: (from, through), next } = listed;
    pb::ListAuditRecordsResponse {
        entries: send_entries(log, entries, form),
        next_page_token: list.token(next),
        scanned: Some(pb::ScannedRange { from, through }),
        log_id: log.id().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_is_known_is_sent_and_not_computed_again() {
        let bytes = Bytes::from_static(b"record");
        let sent = |leaf_hash| {
            let content = Content::Record(bytes.clone());
            send_entry("audit", Entry { sequence: 1, content, leaf_hash }, Form::Serialized)
        };
        assert_eq!(sent(Some([7; 32])).leaf_hash[..], [7; 32]);
        assert_eq!(sent(None).leaf_hash[..], record::leaf_hash(&bytes));
    }
}
