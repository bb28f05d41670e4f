//! Cursors of the audit log: places in it that the server keeps for readers.
//!
//! What a cursor goes through never changes, and how far it has come only grows. Where the log begins
//! and ends, and what is on disk, is not known here.

mod book;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    audit_filter::AuditFilter, name::AuditCursorName, request::RequestMark, resource::Uid,
    time::UnixNanos,
};

pub use book::{
    AcknowledgeError, Begin, BeginError, Begun, Book, CreateError, Created, LeaseToken, NotFound,
    Reader, Sent, Shown,
};

/// A cursor, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    /// What of it never changes.
    pub definition: Arc<Definition>,
    /// How far it has come.
    pub progress: Progress,
}

/// What of a cursor never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: AuditCursorName,
    /// Its uid.
    pub uid: Uid,
    /// When it was created.
    pub create_time: UnixNanos,
    /// The name of the caller that created it.
    pub creator: Arc<str>,
    /// The request that created it, if that had an id.
    pub mark: Option<RequestMark>,
    /// Which records it goes through.
    pub filter: AuditFilter,
    /// The first record that it goes through, in the log that there was then.
    pub start: u64,
}

/// How far a cursor has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The log that it is in.
    pub log_id: Uuid,
    /// The record through which all is acknowledged.
    pub through: u64,
    /// When that was acknowledged, if anything was.
    pub time: Option<UnixNanos>,
    /// The last ranges that it has missed, oldest first.
    pub missed: Vec<Missed>,
    /// How many sequence numbers it has missed in all.
    pub missed_count: u64,
}

/// A range of records that were gone before they were acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The log that they are of.
    pub log_id: Uuid,
    /// The first one.
    pub from: u64,
    /// The last one, if it is known where that log ended.
    pub through: Option<u64>,
}

/// How many cursors there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorLimits {
    /// In all.
    pub total: NonZeroU32,
    /// Of one account; those over all accounts are counted like those of one.
    pub per_account: NonZeroU32,
}

impl CursorLimits {
    const TOTAL: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
    const PER_ACCOUNT: NonZeroU32 = NonZeroU32::new(100).unwrap();
}

impl Default for CursorLimits {
    fn default() -> Self {
        Self { total: Self::TOTAL, per_account: Self::PER_ACCOUNT }
    }
}

/// How long a lease lasts after its stream has ended, if nothing else is asked for.
pub const LEASE_TIME: Duration = Duration::from_secs(30);
/// The longest that may be asked for.
pub const MAX_LEASE_TIME: Duration = Duration::from_mins(5);

impl Progress {
    /// How many ranges of what was missed are kept.
    pub const MAX_MISSED: usize = 16;

    /// Nothing is acknowledged before a record.
    pub fn before(log_id: Uuid, start: u64) -> Self {
        let through = start.saturating_sub(1);
        Self { log_id, through, time: None, missed: Vec::new(), missed_count: 0 }
    }

    /// Where it is in a log: before all of it, if it isn't in that one yet.
    pub fn through_in(&self, log_id: Uuid) -> u64 {
        if self.log_id == log_id { self.through } else { 0 }
    }

    /// Acknowledges all through a record of a log, and what was said to be missing before that.
    fn advance(&mut self, (log_id, through): (Uuid, u64), told: &[Missed], time: UnixNanos) {
        let before = self.through_in(log_id);
        for missed in told {
            let is_new = if missed.log_id == log_id {
                missed.from <= through && missed.through.is_none_or(|last| last > before)
            } else {
                // That log was left for good with the first acknowledgement in the next one.
                self.log_id != log_id
            };
            if is_new {
                let Missed { log_id: of, from, through: last } = *missed;
                let is_here = of == log_id;
                self.add_missed(Missed {
                    log_id: of,
                    from: if is_here { from.max(before + 1) } else { from },
                    through: last.map(|last| if is_here { last.min(through) } else { last }),
                });
            }
        }
        (self.log_id, self.through, self.time) = (log_id, through, Some(time));
    }

    /// Notes a range that is missed, behind those that were.
    pub fn add_missed(&mut self, missed: Missed) {
        self.missed_count = self.missed_count.saturating_add(missed.count());
        if let Some(last) = self.missed.last_mut()
            && last.log_id == missed.log_id
            && last.through.and_then(|through| through.checked_add(1)) == Some(missed.from)
        {
            last.through = missed.through;
            return;
        }
        self.missed.push(missed);
        let excess = self.missed.len().saturating_sub(Self::MAX_MISSED);
        self.missed.drain(..excess);
    }
}

impl Missed {
    /// How many sequence numbers it has, as far as that is known.
    pub fn count(&self) -> u64 {
        self.through.map_or(0, |last| last.saturating_add(1).saturating_sub(self.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Uuid = Uuid::from_u128(1);
    const NEXT: Uuid = Uuid::from_u128(2);
    const NOW: UnixNanos = UnixNanos(9);

    fn missed(log_id: Uuid, from: u64, through: u64) -> Missed {
        Missed { log_id, from, through: Some(through) }
    }

    #[test]
    fn what_is_missed_is_noted_as_it_is_acknowledged_and_once() {
        let mut progress = Progress::before(LOG, 11);
        let told = [missed(LOG, 11, 20)];
        progress.advance((LOG, 14), &told, NOW);
        assert_eq!((&progress.missed[..], progress.missed_count), (&[missed(LOG, 11, 14)][..], 4));
        progress.advance((LOG, 30), &told, NOW);
        assert_eq!((&progress.missed[..], progress.missed_count), (&[missed(LOG, 11, 20)][..], 10));
        progress.advance((LOG, 31), &told, NOW);
        assert_eq!((progress.through, progress.missed_count), (31, 10));
    }

    #[test]
    fn the_rest_of_a_log_is_missed_when_the_next_one_is_acknowledged() {
        let mut progress = Progress::before(LOG, 5);
        let told = [missed(LOG, 5, 8), missed(NEXT, 1, 3)];
        progress.advance((NEXT, 2), &told, NOW);
        assert_eq!(progress.missed, [missed(LOG, 5, 8), missed(NEXT, 1, 2)]);
        progress.advance((NEXT, 9), &told, NOW);
        assert_eq!(progress.missed, told);
        assert_eq!((progress.log_id, progress.missed_count), (NEXT, 7));
    }

    #[test]
    fn of_many_ranges_the_last_are_kept_and_all_are_counted() {
        let mut progress = Progress::before(LOG, 1);
        for number in 0..40 {
            progress.add_missed(missed(LOG, 10 * number + 1, 10 * number + 5));
        }
        progress.add_missed(Missed { log_id: LOG, from: 1_000, through: None });
        assert_eq!(progress.missed.len(), Progress::MAX_MISSED);
        assert_eq!(progress.missed_count, 200);
        assert_eq!(progress.missed[0], missed(LOG, 251, 255));
    }
}
