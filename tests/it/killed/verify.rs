//! What must hold after a kill: every acknowledged record and change is there, as it was
//! acknowledged, both logs are dense, and nothing is there twice.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use aap::{
    api::{
        audit_entry::{AuditEntry, Content},
        pb::{self, audit_record::Event as Recording, watch_audit_records_request::Start},
    },
    domain::event::{Change as Happened, Event},
    store::{journal::Journal as _, sled_journal::SledJournal},
};
use prost::Message as _;
use ring::digest::{Context, SHA256};
use tonic::Code;

use super::{
    batches,
    client::{Action, Change, Client, Made},
    load::{Ledger, Recorded},
};

/// Reads the whole audit log up to a record, and returns how many checks it holds that nobody got
/// an answer to.
pub(super) async fn audit_log(client: &mut Client, ledger: &Ledger, marker: u64) -> usize {
    let start = Some(Start::FromSequence(1));
    let request = pb::WatchAuditRecordsRequest {
        start,
        form: pb::RecordForm::Serialized.into(),
        ..Default::default()
    };
    let mut watch = client.audit.watch_audit_records(request).await.unwrap().into_inner();
    let mut reader = Reader::new(ledger);
    let mut through = 0;
    while through < marker {
        let message = watch.message().await.unwrap().unwrap();
        let scanned = message.scanned.unwrap();
        assert_eq!(scanned.from, through + 1, "the scanned ranges are not contiguous");
        through = scanned.through;
        for entry in message.entries {
            reader.take(entry, &message.log_id);
        }
        assert_eq!(reader.last, through, "a range was scanned, but its last record not sent");
    }
    reader.finish(marker)
}

/// Reads record after record.
struct Reader<'a> {
    ledger: &'a Ledger,
    /// The sequence number of the last record.
    last: u64,
    last_time: (i64, i32),
    /// The last record of each account.
    accounts: HashMap<String, u64>,
    /// Where runs of the server begin.
    starts: Vec<u64>,
    /// How many starts there were by the time of each run that answered.
    runs: HashMap<usize, usize>,
    found: usize,
    unacknowledged: usize,
}

impl<'a> Reader<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            last: 0,
            last_time: (0, 0),
            accounts: HashMap::new(),
            starts: Vec::new(),
            runs: HashMap::new(),
            found: 0,
            unacknowledged: 0,
        }
    }

    fn take(&mut self, entry: AuditEntry, log_id: &str) {
        let AuditEntry { sequence, leaf_hash, content } = entry;
        assert_eq!(sequence, self.last + 1, "the audit log is not dense");
        self.last = sequence;
        let Some(Content::SerializedRecord(bytes)) = content else {
            panic!("record {sequence} is not served as stored: {content:?}")
        };
        let hash = leaf_hash_of(&bytes);
        assert_eq!(&leaf_hash[..], hash, "the leaf hash of record {sequence} is not its bytes'");
        let record = pb::AuditRecord::decode(bytes).unwrap();
        assert_eq!((record.sequence, &*record.log_id), (sequence, log_id));
        let time = record.record_time.unwrap();
        let time = (time.seconds, time.nanos);
        assert!(time >= self.last_time, "the time of record {sequence} goes backwards");
        self.last_time = time;
        let previous = self.accounts.insert(record.account.clone(), sequence).unwrap_or(0);
        assert_eq!(record.account_previous_sequence, previous, "record {sequence}: {record:?}");
        match record.event.as_ref().unwrap() {
            Recording::Check(check) => self.take_check(&record, check, &hash),
            Recording::ServerStart(start) => {
                let is_first = self.starts.is_empty();
                assert_eq!(start.previous_stop_clean, is_first, "record {sequence}: {record:?}");
                self.starts.push(sequence);
            }
            // This reads it again and again.
            Recording::AuditRead(_) => assert_eq!(record.caller, "auditor"),
            other => panic!("record {sequence} is of something that never happened: {other:?}"),
        }
    }

    fn take_check(&mut self, record: &pb::AuditRecord, check: &pb::CheckEvent, hash: &[u8]) {
        let sequence = record.sequence;
        let Some(recorded) = self.ledger.records.get(&sequence) else {
            self.unacknowledged += 1;
            return;
        };
        let Recorded { run, log_id, leaf_hash, request_id, outcome } = recorded;
        assert_eq!(leaf_hash, hash, "record {sequence} is another one than was acknowledged");
        assert_eq!((&record.log_id, &record.request_id), (log_id, request_id));
        assert_eq!(check.decision.as_ref().unwrap().outcome, *outcome);
        // A run may have been killed before it answered anything.
        let starts = *self.runs.entry(*run).or_insert(self.starts.len());
        assert_eq!(self.starts.len(), starts, "record {sequence} is in another run");
        self.found += 1;
    }

    /// Everything was there, and the record before the marker is that of the last start.
    fn finish(self, marker: u64) -> usize {
        assert_eq!(self.found, self.ledger.records.len(), "acknowledged records are missing");
        assert_eq!(self.starts.first(), Some(&1));
        assert_eq!(self.starts.last(), Some(&(marker - 1)), "a run does not begin with its start");
        self.unacknowledged
    }
}

/// RFC 9162's hash of a leaf.
fn leaf_hash_of(bytes: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(bytes);
    context.finish().as_ref().to_vec()
}

/// What was not answered is made by a repetition: once, whether it had been made or not.
pub(super) async fn repetitions(client: &mut Client, ledger: &mut Ledger) {
    for change in std::mem::take(&mut ledger.unanswered) {
        let before = client.get(change.kind, change.id).await;
        let made = client.perform(change).await.unwrap();
        assert_eq!(client.perform(change).await.unwrap(), made, "{change:?} happened twice");
        if let (Action::Create, Ok(before)) = (change.action, before) {
            assert_eq!(made.as_ref(), Some(&before), "{change:?} happened twice");
        }
        ledger.note_change(change, made);
    }
}

/// Every acknowledged change of resources from an id on is there.
pub(super) async fn changes(client: &mut Client, ledger: &Ledger, first_id: u64) {
    for (change, made) in ledger.changes.iter().filter(|(change, _)| change.id >= first_id) {
        let Change { action: _, kind, id } = *change;
        match client.get(kind, id).await {
            Ok(found) => {
                assert!(!ledger.is_deleted(kind, id), "{} is deleted, but there", change.name());
                assert_eq!(Some(&found), made.as_ref(), "{} is another one", change.name());
            }
            Err(status) => {
                assert!(ledger.is_deleted(kind, id), "{} is lost: {status:?}", change.name());
                assert_eq!(status.code(), Code::NotFound, "{status:?}");
            }
        }
    }
}

/// The journal is dense, and holds what was acknowledged and nothing else, each once.
pub(super) fn journal(path: &Path, ledger: &Ledger) {
    let journal = SledJournal::open(path).unwrap();
    let events = journal.read(1, usize::MAX).unwrap();
    assert_eq!(events.len() as u64, journal.last());
    assert_eq!(journal.blob_count().unwrap(), 0);
    let mut happened = BTreeMap::new();
    batches::journal(&events, ledger);
    for (sequence, event) in (1..).zip(&events) {
        assert_eq!(event.sequence, sequence, "the journal is not dense");
        if batches::is_of_batch(event) {
            continue;
        }
        let before = happened.insert(description(event), event);
        assert!(before.is_none(), "{before:?} happened again as {event:?}");
    }
    assert_eq!(happened.len(), ledger.changes.len(), "the journal has what nobody asked for");
    for (change, made) in &ledger.changes {
        let event = happened.get(&(change.action, change.name()));
        let event = event.unwrap_or_else(|| panic!("{change:?} is not in the journal"));
        let request = event.request.as_ref().unwrap();
        assert_eq!(request.id.as_str(), change.request_id());
        if let Some(Made { uid, revision, .. }) = made {
            assert_eq!((&uid_of(event), revision), (uid, &event.sequence), "{change:?}");
        }
    }
}

/// What an event did, and to what.
fn description(event: &Event) -> (Action, String) {
    match &event.change {
        Happened::NetworkRuleCreated(rule) => (Action::Create, rule.name.to_string()),
        Happened::PolicyCreated(policy) => (Action::Create, policy.name.to_string()),
        Happened::AccessPointCreated(access_point) => {
            (Action::Create, access_point.name.to_string())
        }
        Happened::NetworkRuleDeleted(gone) => (Action::Delete, gone.name.to_string()),
        Happened::PolicyDeleted(gone) => (Action::Delete, gone.name.to_string()),
        Happened::AccessPointDeleted(gone) => (Action::Delete, gone.name.to_string()),
        other => panic!("nobody asked for {other:?}"),
    }
}

fn uid_of(event: &Event) -> String {
    let uid = match &event.change {
        Happened::NetworkRuleCreated(rule) => rule.header.uid,
        Happened::PolicyCreated(policy) => policy.header.uid,
        Happened::AccessPointCreated(access_point) => access_point.header.uid,
        Happened::NetworkRuleDeleted(gone) => gone.uid,
        Happened::PolicyDeleted(gone) => gone.uid,
        Happened::AccessPointDeleted(gone) => gone.uid,
        other => panic!("nobody asked for {other:?}"),
    };
    uid.to_string()
}
