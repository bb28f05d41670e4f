//! Reading the audit log: which records a caller sees, and how many at a time.

use std::{fmt, io, ops::RangeInclusive};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    audit::{
        filter::Facts,
        follow::{Follower, Removed},
        log::AuditLog,
        segment::{Content, Entry},
    },
    domain::{audit_filter::AuditFilter, room::MAX_ANSWER_BYTES, time::UnixNanos},
    identity::caller::Caller,
};

/// About how many bytes of records a message of a watch carries.
const MESSAGE_BYTES: usize = 256 * 1_024;
/// After how many scanned bytes a watch reports how far it is, though nothing was for its caller.
const SCAN_BYTES: usize = 4 * 1_024 * 1_024;
/// About how many bytes of the log a page of a list looks at, at most.
const LIST_SCAN_BYTES: usize = 32 * 1_024 * 1_024;
/// About what an entry has besides its record.
const ENTRY_BYTES: usize = 64;
/// How many records are read at a time where the last one comes first, and about their bytes.
const STRIDE: u64 = 256;
const STRIDE_BYTES: usize = 128 * 1_024;

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
    /// It is another log's place.
    #[error("records are written to audit log {current}, not to {wanted}")]
    OtherLog {
        /// The log asked for.
        wanted: Uuid,
        /// The log that there is.
        current: Box<str>,
    },
    /// The disk failed.
    #[error("can't read the audit log")]
    Io(#[source] io::Error),
}

impl From<io::Error> for ReadingError {
    /// What a slow reader was to read may have been removed.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Removed>() {
            Ok(Removed { sequence, first, last }) => Self::OutOfRange { sequence, first, last },
            Err(error) => Self::Io(error),
        }
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With this record, inclusive.
    At(u64),
    /// With the first record of this time or later.
    AtTime(UnixNanos),
    /// After the last record on disk.
    End,
}

/// What a watch has read.
#[derive(Debug)]
pub struct Progress {
    /// The records that are wanted and that the caller sees, in order.
    pub entries: Vec<Entry>,
    /// The first record looked at.
    pub from: u64,
    /// The last record looked at; `from - 1` if there is none yet.
    pub through: u64,
}

/// Makes sure that a place is in this log, if it is known which log it is in.
pub fn expect_log(log: &AuditLog, wanted: Option<Uuid>) -> Result<(), ReadingError> {
    match wanted {
        Some(wanted) if wanted.to_string() != log.id() => {
            Err(ReadingError::OtherLog { wanted, current: log.id().into() })
        }
        _ => Ok(()),
    }
}

/// Reads one record. Blocks on the disk.
pub fn read_one(log: &AuditLog, caller: &Caller, sequence: u64) -> Result<Entry, ReadingError> {
    let not_found = || ReadingError::NotFound { sequence };
    let (first, last) = log.bounds();
    if sequence < first {
        return Err(ReadingError::OutOfRange { sequence, first, last });
    }
    if sequence > last {
        return Err(not_found());
    }
    let entry = log.follow(sequence).read(1)?.into_iter().next().ok_or_else(not_found)?;
    let all = AuditFilter::default();
    let is_visible = match &entry.content {
        Content::Record(bytes) => is_wanted(caller, &all, bytes),
        Content::Damaged { .. } => true,
    };
    if is_visible { Ok(entry) } else { Err(not_found()) }
}

/// The first record of a start, which may be yet to come. Blocks on the disk for a time.
pub fn resolve(log: &AuditLog, start: Start) -> Result<u64, ReadingError> {
    let (first, last) = log.bounds();
    match start {
        Start::End => Ok(last + 1),
        Start::AtTime(time) => Ok(log.find_time(time)?),
        Start::At(sequence) if (first..=last + 1).contains(&sequence) => Ok(sequence),
        Start::At(sequence) => Err(ReadingError::OutOfRange { sequence, first, last }),
    }
}

/// A watch on the log. It pulls, so that nobody waits for a slow one.
#[derive(Debug)]
pub struct Watch {
    follower: Follower,
    filter: AuditFilter,
}

impl Watch {
    /// Begins a watch. Blocks on the disk.
    pub fn begin(log: &AuditLog, start: Start, filter: AuditFilter) -> Result<Self, ReadingError> {
        Ok(Self { follower: log.watch(resolve(log, start)?), filter })
    }

    /// Goes on with the first record that is kept, if the next one isn't any more. Tells which were
    /// passed over by that, the first and the last one.
    pub fn pass_over_removed(&mut self) -> Option<(u64, u64)> {
        self.follower.pass_over_removed()
    }

    /// The record that it looks at next.
    pub fn next(&self) -> u64 {
        self.follower.next()
    }

    /// Goes on behind the last record on disk.
    pub fn skip_to_end(&mut self) {
        self.follower.skip_to_end();
    }

    /// Whether it has looked at all that is on disk.
    pub fn is_at_end(&self) -> bool {
        self.follower.is_at_end()
    }

    /// Reads on for a caller from memory, if it is near the end of the log; otherwise it is
    /// [`Self::read`] that can. Never waits.
    pub fn read_newest(&mut self, caller: &Caller) -> Option<Progress> {
        let Self { follower, filter } = self;
        let from = follower.next();
        let mut entries = Vec::new();
        if !follower.is_at_end() {
            let is_wanted = |bytes: &[u8]| is_wanted(caller, filter, bytes);
            entries = follower.read_newest_where(MESSAGE_BYTES, &is_wanted)?;
            hold_no_more_than_needed(&mut entries);
        }
        Some(Progress { entries, from, through: follower.next() - 1 })
    }

    /// Reads on for a caller. Blocks on the disk, but never for a record that isn't there yet.
    pub fn read(&mut self, caller: &Caller) -> Result<Progress, ReadingError> {
        let Self { follower, filter } = self;
        let from = follower.next();
        let (mut entries, mut scanned) = (Vec::new(), 0);
        while entries.is_empty() && scanned < SCAN_BYTES {
            let before = follower.next();
            entries =
                follower.read_where(MESSAGE_BYTES, &|bytes| is_wanted(caller, filter, bytes))?;
            if follower.next() == before {
                break;
            }
            scanned += MESSAGE_BYTES;
        }
        hold_no_more_than_needed(&mut entries);
        Ok(Progress { entries, from, through: follower.next() - 1 })
    }
}

/// Which part of the log is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first record, if that is bounded.
    pub from: Option<u64>,
    /// The last record, if that is bounded.
    pub through: Option<u64>,
    /// The earliest record time, if that is bounded.
    pub start: Option<UnixNanos>,
    /// The time that all are before, if that is bounded.
    pub end: Option<UnixNanos>,
}

/// In which order records are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The last one first.
    NewestFirst,
    /// The first one first.
    OldestFirst,
}

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Where it begins, unless it is the first page.
    pub place: Option<Place>,
    /// The most records.
    pub size: usize,
}

/// Where a page of a list that isn't the first one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record that it looks at first.
    pub begin: u64,
    /// The last record of the whole list, as of its first page: each page that is read is recorded,
    /// and a list that goes on to its own traces has no end.
    pub last: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begin, last } = self;
        write!(f, "{begin}-{last}")
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct Listed {
    /// The records.
    pub entries: Vec<Entry>,
    /// The first and the last record looked at; nothing was if the last one comes before the first.
    pub scanned: (u64, u64),
    /// Where the next page begins, if one follows.
    pub next: Option<Place>,
}

/// Lists records. Blocks on the disk; ends early when nobody waits for it any more.
pub fn list(
    log: &AuditLog,
    caller: &Caller,
    (filter, bounds, order): (&AuditFilter, Bounds, Order),
    page: Page,
    is_awaited: &dyn Fn() -> bool,
) -> Result<Listed, ReadingError> {
    let (mut first, mut last) = log.bounds();
    let Bounds { from, through, start, end } = bounds;
    let begin = page.place.map(|place| place.begin);
    // What is no longer kept is never passed over without a word.
    if let Some(sequence) = begin.or(from).filter(|sequence| *sequence < first) {
        return Err(ReadingError::OutOfRange { sequence, first, last });
    }
    first = first.max(from.unwrap_or(first));
    last = last.min(through.unwrap_or(last));
    if let Some(start) = start {
        first = first.max(log.find_time(start)?);
    }
    if let Some(end) = end {
        last = last.min(log.find_time(end)? - 1);
    }
    if let Some(Place { last: as_of_first, .. }) = page.place {
        last = last.min(as_of_first);
    }
    let mut list = List { entries: Vec::new(), bytes: 0, scanned: 0, size: page.size, is_awaited };
    let is_wanted = |bytes: &[u8]| is_wanted(caller, filter, bytes);
    match order {
        Order::OldestFirst => {
            let begin = begin.map_or(first, |begin| begin.max(first));
            let end = list.forward(log, begin..=last, &is_wanted)?;
            let next = (end < last).then_some(Place { begin: end + 1, last });
            Ok(Listed { entries: list.entries, scanned: (begin, end), next })
        }
        Order::NewestFirst => {
            let end = begin.map_or(last, |begin| begin.min(last));
            let begin = list.backward(log, first..=end, &is_wanted)?;
            let next = (begin > first).then(|| Place { begin: begin - 1, last });
            Ok(Listed { entries: list.entries, scanned: (begin, end), next })
        }
    }
}

/// A list that is being made, and what bounds it.
struct List<'a> {
    entries: Vec<Entry>,
    bytes: usize,
    scanned: usize,
    size: usize,
    is_awaited: &'a dyn Fn() -> bool,
}

impl List<'_> {
    /// Whether it may look at more of the log.
    fn goes_on(&self) -> bool {
        self.scanned < LIST_SCAN_BYTES && self.entries.len() < self.size && (self.is_awaited)()
    }

    /// Takes in a record, if there is room.
    fn take(&mut self, entry: Entry) -> Result<(), Full> {
        let bytes = match &entry.content {
            Content::Record(bytes) => bytes.len() + ENTRY_BYTES,
            Content::Damaged { .. } => ENTRY_BYTES,
        };
        if self.entries.len() == self.size || self.bytes + bytes > MAX_ANSWER_BYTES {
            return Err(Full);
        }
        self.bytes += bytes;
        self.entries.push(entry);
        Ok(())
    }

    /// Goes through records in order; returns the last one looked at.
    fn forward(
        &mut self,
        log: &AuditLog,
        range: RangeInclusive<u64>,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<u64, ReadingError> {
        let (begin, last) = range.into_inner();
        let mut follower = log.follow(begin);
        while follower.next() <= last && self.goes_on() {
            let before = follower.next();
            let mut found = follower.read_where(MESSAGE_BYTES, is_wanted)?;
            if follower.next() == before {
                break;
            }
            self.scanned += MESSAGE_BYTES;
            found.retain(|entry| entry.sequence <= last);
            hold_no_more_than_needed(&mut found);
            for entry in found {
                let sequence = entry.sequence;
                if self.take(entry).is_err() {
                    return Ok(sequence - 1);
                }
            }
        }
        Ok((follower.next() - 1).min(last.max(begin - 1)))
    }

    /// Goes through records from the last one on; returns the first one looked at.
    fn backward(
        &mut self,
        log: &AuditLog,
        range: RangeInclusive<u64>,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<u64, ReadingError> {
        let (first, mut end) = range.into_inner();
        let begin = |end: u64| end + 1;
        while end >= first && self.goes_on() {
            let stride = (end + 1).saturating_sub(STRIDE).max(first);
            let mut follower = log.follow(stride);
            let mut found = Vec::new();
            while follower.next() <= end {
                let before = follower.next();
                found.extend(follower.read_where(STRIDE_BYTES, is_wanted)?);
                if follower.next() == before {
                    break;
                }
                self.scanned += STRIDE_BYTES;
            }
            found.retain(|entry| entry.sequence <= end);
            hold_no_more_than_needed(&mut found);
            for entry in found.into_iter().rev() {
                let sequence = entry.sequence;
                if self.take(entry).is_err() {
                    return Ok(begin(sequence));
                }
            }
            end = stride - 1;
        }
        Ok(begin(end))
    }
}

/// No more fits into a list.
struct Full;

/// Whether a caller sees a record and wants it. Asked again for each, for a caller's accounts may
/// change while a watch goes on.
///
/// A damaged record is shown to everybody: whose it was can't be told, and leaving it out would be
/// a loss that nobody notices.
fn is_wanted(caller: &Caller, filter: &AuditFilter, record: &[u8]) -> bool {
    let facts = Facts::of(record);
    caller.accounts.include(facts.account) && facts.are_wanted_by(filter)
}

/// Lets go of what was read besides a few records: they would hold all of it while they wait for
/// their reader.
fn hold_no_more_than_needed(entries: &mut [Entry]) {
    let bytes = |entry: &Entry| match &entry.content {
        Content::Record(bytes) => bytes.len(),
        Content::Damaged { .. } => 0,
    };
    if entries.iter().map(bytes).sum::<usize>() > MESSAGE_BYTES / 4 {
        return;
    }
    for entry in entries {
        if let Content::Record(bytes) = &mut entry.content {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    }
}
