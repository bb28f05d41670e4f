//! A journal that counts how much it writes at once, how long that takes, and what operators ask about
//! of what it was.

use std::sync::Arc;

use crate::{
    clock::Clock,
    domain::event::{Change, Event},
    telemetry::meters::JournalMeters,
};

use super::journal::{AppendError, Journal, JournalReader, ReadError};

/// A journal whose appends are counted.
pub struct Metered {
    inner: Box<dyn Journal>,
    meters: Arc<JournalMeters>,
    clock: Clock,
}

impl Metered {
    /// Counts the appends of a journal, by a clock.
    pub fn new(inner: Box<dyn Journal>, clock: Clock) -> (Self, Arc<JournalMeters>) {
        let meters = Arc::new(JournalMeters::default());
        (Self { inner, meters: Arc::clone(&meters), clock }, meters)
    }
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metered").finish_non_exhaustive()
    }
}

impl Journal for Metered {
    fn last(&self) -> u64 {
        self.inner.last()
    }

    fn append(&mut self, expected_last: u64, events: &[Event]) -> Result<(), AppendError> {
        let began = self.clock.elapsed();
        let appended = self.inner.append(expected_last, events);
        self.meters.syncs.record_time(self.clock.elapsed().saturating_sub(began));
        self.meters.batches.record(u64::try_from(events.len()).unwrap_or(u64::MAX));
        if appended.is_ok() {
            let is_revocation = |event: &&Event| matches!(event.change, Change::SessionsRevoked(_));
            let revocations = events.iter().filter(is_revocation).count();
            self.meters.revocations.add(u64::try_from(revocations).unwrap_or(u64::MAX));
        }
        appended
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        self.inner.read(from, limit)
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        self.inner.reader()
    }
}
