//! What a log must hold, as a list: what was acknowledged, and what may be there besides.

use std::collections::HashMap;

use prost::Message;

use super::{Line, Running};
use crate::{
    api::pb,
    audit::{
        buffer::Receipts,
        record,
        segment::{Content, Entry},
    },
};

/// The records that were acknowledged, from 1 on, and the lines that were not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    known: Vec<Known>,
    /// Appended and neither acknowledged nor seen again.
    in_doubt: Vec<Option<Line>>,
}

#[derive(Clone, Debug)]
struct Known {
    leaf_hash: [u8; 32],
    /// None if it is a stop.
    line: Option<Line>,
}

impl Model {
    /// How many records there must be.
    pub(crate) fn last(&self) -> u64 {
        self.known.len() as u64
    }

    /// Takes in lines whose append has succeeded.
    pub(crate) fn acknowledge(&mut self, lines: &[Line], receipts: &Receipts) {
        let receipts: Vec<_> = receipts.iter().collect();
        assert_eq!(receipts.len(), lines.len(), "each record has its receipt");
        for (line, receipt) in lines.iter().zip(receipts) {
            assert_eq!(receipt.sequence, self.last() + 1, "places are given in order");
            self.known.push(Known { leaf_hash: receipt.leaf_hash, line: Some(line.clone()) });
        }
    }

    /// Takes in a stop.
    pub(crate) fn acknowledge_stop(&mut self, receipts: &Receipts) {
        for receipt in receipts.iter() {
            assert_eq!(receipt.sequence, self.last() + 1);
            self.known.push(Known { leaf_hash: receipt.leaf_hash, line: None });
        }
    }

    /// Takes in lines that were appended; nobody knows what became of them.
    pub(crate) fn doubt(&mut self, lines: &[Line]) {
        self.in_doubt.extend(lines.iter().cloned().map(Some));
    }

    /// The same for a stop.
    pub(crate) fn doubt_stop(&mut self) {
        self.in_doubt.push(None);
    }

    /// Compares with all that a log serves. What it has beyond the model was in doubt, and is taken
    /// in: it has been seen, so it stays.
    pub(crate) fn verify(&mut self, running: &Running) {
        let records = running.records();
        assert!(
            records.len() >= self.known.len(),
            "record {} was acknowledged and the log ends with {}",
            self.known.len(),
            records.len(),
        );
        assert_eq!(running.log.bounds(), (1, records.len() as u64));
        let mut heads = HashMap::new();
        let mut last_time = (0, 0);
        for (place, bytes) in records.iter().enumerate() {
            let sequence = place as u64 + 1;
            let decoded = pb::AuditRecord::decode(&bytes[..]).unwrap();
            assert_eq!(decoded.sequence, sequence, "sequence numbers are dense");
            let previous = heads.insert(decoded.account.clone(), sequence).unwrap_or_default();
            assert_eq!(decoded.account_previous_sequence, previous, "at {sequence}");
            let time = decoded.record_time.map(|time| (time.seconds, time.nanos)).unwrap();
            assert!(time >= last_time, "time goes backwards at {sequence}");
            last_time = time;
            self.verify_one(place, bytes, &decoded);
        }
        self.in_doubt.clear();
    }

    fn verify_one(&mut self, place: usize, bytes: &[u8], decoded: &pb::AuditRecord) {
        let leaf_hash = record::leaf_hash(bytes);
        if let Some(known) = self.known.get(place) {
            assert_eq!(known.leaf_hash, leaf_hash, "record {} has other bytes", place + 1);
            assert!(says(decoded, known.line.as_ref()));
            return;
        }
        // What was appended last is there from its beginning on, in order.
        assert!(!self.in_doubt.is_empty(), "nobody appended {decoded:?}");
        let line = self.in_doubt.remove(0);
        assert!(says(decoded, line.as_ref()), "{decoded:?} is not {line:?}");
        self.known.push(Known { leaf_hash, line });
    }

    /// Compares with entries of which some may be damaged: each is there from `from` on, once and in
    /// order, with its bytes or named. Tells which are damaged.
    pub(crate) fn verify_damaged(&self, from: u64, entries: &[Entry]) -> Vec<u64> {
        let mut damaged = Vec::new();
        for (sequence, entry) in (from..).zip(entries) {
            assert_eq!(entry.sequence, sequence, "no record is passed over");
            let Some(known) = usize::try_from(sequence - 1).ok().and_then(|i| self.known.get(i))
            else {
                panic!("there is no record {sequence}")
            };
            match &entry.content {
                Content::Record(bytes) => assert_eq!(record::leaf_hash(bytes), known.leaf_hash),
                Content::Damaged { .. } => damaged.push(sequence),
            }
        }
        assert_eq!(from + entries.len() as u64, self.last() + 1, "every acknowledged one is there");
        damaged
    }
}

fn says(decoded: &pb::AuditRecord, line: Option<&Line>) -> bool {
    match (&decoded.event, line) {
        (Some(pb::audit_record::Event::RefusedCall(call)), Some(line)) => {
            call.method == line.method
                && decoded.account == line.account
                && decoded.user_agent == line.user_agent
        }
        (Some(pb::audit_record::Event::ServerStop(_)), None) => true,
        _ => false,
    }
}
