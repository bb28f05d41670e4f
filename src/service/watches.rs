//! How many watches may be open: of changes and of audit records together, in all and of one caller,
//! so that one caller can't take them all; and how fast those of them go that are far behind.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::clock::Clock;

use super::pace::Pace;

/// How many watches there may be, and what they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// In all.
    pub total: NonZeroUsize,
    /// Of one caller.
    pub per_caller: NonZeroUsize,
    /// How many audit records a second those who are behind may look at, all together, besides as
    /// many as come.
    pub catch_up: NonZeroUsize,
}

impl WatchLimits {
    const TOTAL: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
    const PER_CALLER: NonZeroUsize = NonZeroUsize::new(100).unwrap();
    const CATCH_UP: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self { total: Self::TOTAL, per_caller: Self::PER_CALLER, catch_up: Self::CATCH_UP }
    }
}

/// Why a watch isn't opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyWatches {
    /// All callers together have as many as may be.
    #[error("{limit} watches are open, which is as many as the server allows")]
    InAll {
        /// How many may be.
        limit: usize,
    },
    /// The caller has as many as it may have.
    #[error("caller `{caller}` has {limit} watches open, which is as many as a caller may have")]
    OfCaller {
        /// The caller.
        caller: Arc<str>,
        /// How many it may have.
        limit: usize,
    },
}

/// Counts the open watches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watches(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    limits: WatchLimits,
    pace: Pace,
    /// Held for a look-up when a watch begins or ends.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    of_caller: HashMap<Arc<str>, usize>,
}

/// Counts as one open watch while it lives.
#[derive(Debug)]
pub struct Permit {
    counted: Arc<Counted>,
    caller: Arc<str>,
}

impl Watches {
    /// Counts none yet.
    pub fn new(limits: WatchLimits, clock: Clock) -> Self {
        let pace = Pace::new(limits.catch_up, clock);
        Self(Arc::new(Counted { limits, pace, open: Mutex::default() }))
    }

    /// The pace of those who are behind.
    pub fn pace(&self) -> Pace {
        self.0.pace.clone()
    }

    /// Opens one for a caller, if it may be.
    pub fn open(&self, caller: &Arc<str>) -> Result<Permit, TooManyWatches> {
        let WatchLimits { total, per_caller, .. } = self.0.limits;
        let mut open = self.0.lock();
        let count = open.of_caller.get(caller).copied().unwrap_or_default();
        if count >= per_caller.get() {
            let (caller, limit) = (Arc::clone(caller), per_caller.get());
            return Err(TooManyWatches::OfCaller { caller, limit });
        }
        if open.total >= total.get() {
            return Err(TooManyWatches::InAll { limit: total.get() });
        }
        open.total += 1;
        open.of_caller.insert(Arc::clone(caller), count + 1);
        Ok(Permit { counted: Arc::clone(&self.0), caller: Arc::clone(caller) })
    }
}

impl Counted {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.counted.lock();
        open.total -= 1;
        if let Some(count) = open.of_caller.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.of_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::UnixNanos;

    #[test]
    fn one_caller_leaves_room_for_others_and_what_ends_makes_room() {
        let some = |count| NonZeroUsize::new(count).unwrap();
        let limits = WatchLimits { total: some(3), per_caller: some(2), ..WatchLimits::default() };
        let watches = Watches::new(limits, Clock::manual(UnixNanos(0)));
        let (eyes, ears): (Arc<str>, Arc<str>) = ("eyes".into(), "ears".into());
        let first = watches.open(&eyes).unwrap();
        let second = watches.open(&eyes).unwrap();
        let refused = watches.open(&eyes).unwrap_err();
        assert_eq!(refused, TooManyWatches::OfCaller { caller: Arc::clone(&eyes), limit: 2 });
        let third = watches.open(&ears).unwrap();
        assert_eq!(watches.open(&ears).unwrap_err(), TooManyWatches::InAll { limit: 3 });
        drop(first);
        let again = watches.open(&eyes).unwrap();
        drop((second, third, again));
        assert!(watches.0.lock().of_caller.is_empty());
        assert_eq!(watches.0.lock().total, 0);
    }
}
