//! Reading the audit log: which records a caller sees, and at which pace they come.

use std::io;

use crate::{
    audit::{
        follow::Follower,
        log::AuditLog,
        record,
        segment::{Content, Entry},
    },
    identity::caller::Caller,
};

/// About how many bytes of records a message of a watch carries.
const MESSAGE_BYTES: usize = 256 * 1_024;
/// After how many scanned bytes a watch reports how far it is, though nothing was for its caller.
const SCAN_BYTES: usize = 4 * 1_024 * 1_024;

/// Why the audit log isn't read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// There is no such record, or it isn't for the caller: the two look the same.
    #[error("audit record {sequence} is not found")]
    NotFound {
        /// The record asked for.
        sequence: u64,
    },
    /// The log doesn't have the place asked for.
    #[error("the audit log has records {first} to {last}, not {sequence}")]
    OutOfRange {
        /// The place asked for.
        sequence: u64,
        /// The first record there is.
        first: u64,
        /// The last record there is.
        last: u64,
    },
    /// The disk failed.
    #[error("can't read the audit log")]
    Io(#[from] io::Error),
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With this record, inclusive.
    At(u64),
    /// After the last record on disk.
    End,
}

/// What a watch has read.
#[derive(Debug)]
pub struct Progress {
    /// The records that the caller sees, in order.
    pub entries: Vec<Entry>,
    /// The first record looked at.
    pub from: u64,
    /// The last record looked at; `from - 1` if there is none yet.
    pub through: u64,
}

/// Reads one record. Blocks on the disk.
pub fn read_one(log: &AuditLog, caller: &Caller, sequence: u64) -> Result<Entry, ReadingError> {
    let not_found = || ReadingError::NotFound { sequence };
    let (first, last) = log.bounds();
    if !(first..=last).contains(&sequence) {
        return Err(not_found());
    }
    let entry = log.follow(sequence).read(1)?.into_iter().next().ok_or_else(not_found)?;
    if is_visible(caller, &entry) { Ok(entry) } else { Err(not_found()) }
}

/// A watch on the log. It pulls, so that nobody waits for a slow one.
#[derive(Debug)]
pub struct Watch {
    follower: Follower,
}

impl Watch {
    /// Begins a watch.
    pub fn begin(log: &AuditLog, start: Start) -> Result<Self, ReadingError> {
        let (first, last) = log.bounds();
        let sequence = match start {
            Start::End => last + 1,
            Start::At(sequence) if (first..=last + 1).contains(&sequence) => sequence,
            Start::At(sequence) => return Err(ReadingError::OutOfRange { sequence, first, last }),
        };
        Ok(Self { follower: log.follow(sequence) })
    }

    /// The record that it looks at next.
    pub fn next(&self) -> u64 {
        self.follower.next()
    }

    /// Reads on for a caller. Blocks on the disk, but never for a record that isn't there yet.
    pub fn read(&mut self, caller: &Caller) -> Result<Progress, ReadingError> {
        let from = self.follower.next();
        let mut visible = Vec::new();
        let mut scanned = 0;
        while visible.is_empty() && scanned < SCAN_BYTES {
            let entries = self.follower.read(MESSAGE_BYTES)?;
            if entries.is_empty() {
                break;
            }
            scanned += MESSAGE_BYTES;
            visible.extend(entries.into_iter().filter(|entry| is_visible(caller, entry)));
        }
        Ok(Progress { entries: visible, from, through: self.follower.next() - 1 })
    }
}

/// A damaged record is shown to everybody: whose it was can't be told, and leaving it out would be
/// a loss that nobody notices.
fn is_visible(caller: &Caller, entry: &Entry) -> bool {
    match &entry.content {
        Content::Record(bytes) => caller.accounts.include(record::account(bytes)),
        Content::Damaged { .. } => true,
    }
}
