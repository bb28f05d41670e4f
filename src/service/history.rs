//! Reading the journal: what was changed, when and by whom, for those who are bound to its account.
//!
//! Only published events are read: what isn't on disk hasn't happened.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    domain::{
        event::Event,
        name::{AccountName, ResourceName},
        room::MAX_ANSWER_BYTES,
    },
    identity::caller::Caller,
    projection::Published,
    store::journal::{JournalReader, ReadError},
};

/// How many events are read from the disk at once.
const CHUNK: usize = 64;
/// How many events one page of a list looks at, at most.
const PAGE_SCAN: usize = 8 * 1_024;
/// After how many events a watch reports how far it is, though nothing was for its caller.
const WATCH_SCAN: usize = 4 * 1_024;
/// About how many bytes of changes a message of a watch carries.
const MESSAGE_BYTES: usize = 256 * 1_024;

/// Reads the journal of one server.
#[derive(Clone, Debug)]
pub struct History {
    published: Arc<Published>,
    journal: Arc<dyn JournalReader>,
}

/// Why the journal isn't read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The journal doesn't have the place asked for yet.
    #[error("the journal has revisions 1 to {last}, not {revision}")]
    OutOfRange {
        /// The place asked for.
        revision: u64,
        /// The last revision there is.
        last: u64,
    },
    /// There is no such change, or it isn't for the caller: the two look the same.
    #[error("change {revision} is not found")]
    NotFound {
        /// The change asked for.
        revision: u64,
    },
    /// What is stored can't be read.
    #[error("can't read the journal")]
    Read(#[from] ReadError),
}

/// Which changes are wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Those of one account.
    Account(AccountName),
    /// Those of one resource.
    Resource(ResourceName),
    /// Those of all accounts that the caller is bound to.
    AllOfCaller,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The last revision that the page before looked at.
    pub before: Option<u64>,
    /// The most changes.
    pub size: usize,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The changes, the last one first.
    pub events: Vec<Event>,
    /// Where the next page begins, if one follows: before this revision.
    pub next_before: Option<u64>,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With this revision, inclusive.
    At(u64),
    /// After the last revision there is.
    End,
}

/// What a watch has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The changes that are wanted, in order.
    pub events: Vec<Event>,
    /// The first revision looked at.
    pub from: u64,
    /// The last revision looked at; `from - 1` if there is none yet.
    pub through: u64,
}

impl History {
    /// Reads what is published of a journal.
    pub fn new(published: Arc<Published>, journal: Arc<dyn JournalReader>) -> Self {
        Self { published, journal }
    }

    /// Lists changes, the last one first. Blocks on the disk.
    pub fn list(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        page: Page,
    ) -> Result<Listed, HistoryError> {
        let last = self.published.load().revision();
        let end = page.before.map_or(last, |before| before.saturating_sub(1).min(last));
        let stop = end.saturating_sub(u64::try_from(PAGE_SCAN).unwrap_or(u64::MAX));
        let (mut events, mut bytes) = (Vec::<Event>::new(), 0);
        let mut through = end;
        while through > stop {
            let count = CHUNK.min(usize::try_from(through - stop).unwrap_or(CHUNK));
            let from = through + 1 - u64::try_from(count).unwrap_or_default();
            for event in self.journal.read(from, count)?.into_iter().rev() {
                if wanted.includes(caller, &event) {
                    bytes += event.change.approximate_bytes();
                    let is_full = events.len() == page.size || bytes > MAX_ANSWER_BYTES;
                    if is_full && !events.is_empty() {
                        return Ok(Listed { events, next_before: Some(through + 1) });
                    }
                    events.push(event);
                }
                through -= 1;
            }
        }
        Ok(Listed { events, next_before: (through > 0).then_some(through + 1) })
    }

    /// Finds a change that is for the caller. Blocks on the disk.
    pub fn find(&self, caller: &Caller, revision: u64) -> Result<Event, HistoryError> {
        let not_found = || HistoryError::NotFound { revision };
        if !(1..=self.published.load().revision()).contains(&revision) {
            return Err(not_found());
        }
        let found = self.journal.read(revision, 1)?.into_iter().next();
        found.filter(|event| Wanted::AllOfCaller.includes(caller, event)).ok_or_else(not_found)
    }

    /// The bytes of changes as they were first written, each with the change. Blocks on the disk.
    pub fn stored(&self, events: &[Event]) -> Result<Vec<Vec<u8>>, HistoryError> {
        let (mut stored, mut rest) = (Vec::with_capacity(events.len()), events);
        while let Some(first) = rest.first() {
            // Those that follow each other are read at once.
            let next = (first.sequence..).zip(rest);
            let count = next.take_while(|(expected, event)| event.sequence == *expected).count();
            stored.extend(self.journal.read_stored(first.sequence, count)?);
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(stored)
    }

    /// Tells how far the journal is published, now and when that changes.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.published.revisions()
    }

    /// Begins a watch.
    pub fn watch(&self, wanted: Wanted, start: Start) -> Result<ChangeWatch, HistoryError> {
        let last = self.published.load().revision();
        let next = match start {
            Start::End => last + 1,
            Start::At(revision) if revision <= last + 1 => revision,
            Start::At(revision) => return Err(HistoryError::OutOfRange { revision, last }),
        };
        Ok(ChangeWatch { history: self.clone(), wanted, next })
    }
}

/// A watch on the journal. It pulls, so that nobody waits for a slow one.
#[derive(Debug)]
pub struct ChangeWatch {
    history: History,
    wanted: Wanted,
    next: u64,
}

impl ChangeWatch {
    /// The revision that it looks at next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Reads on, for a caller. Blocks on the disk, but never for a change that isn't there yet.
    pub fn read(&mut self, caller: &Caller) -> Result<Progress, HistoryError> {
        let from = self.next;
        let last = self.history.published.load().revision();
        let mut events = Vec::new();
        let (mut bytes, mut scanned) = (0, 0);
        while self.next <= last && bytes < MESSAGE_BYTES && scanned < WATCH_SCAN {
            let left = usize::try_from(last + 1 - self.next).unwrap_or(CHUNK);
            for event in self.history.journal.read(self.next, CHUNK.min(left))? {
                self.next = event.sequence + 1;
                scanned += 1;
                if self.wanted.includes(caller, &event) {
                    bytes += event.change.approximate_bytes();
                    events.push(event);
                }
                if bytes >= MESSAGE_BYTES {
                    break;
                }
            }
        }
        Ok(Progress { events, from, through: self.next - 1 })
    }
}

impl Wanted {
    fn includes(&self, caller: &Caller, event: &Event) -> bool {
        let account = event.change.account();
        // Asked again for each, for a caller's accounts may change while a watch goes on.
        caller.accounts.include(account.as_str())
            && match self {
                Self::Account(wanted) => wanted.0 == *account,
                Self::Resource(wanted) => event.change.resource() == *wanted,
                Self::AllOfCaller => true,
            }
    }
}

#[cfg(test)]
mod tests;
