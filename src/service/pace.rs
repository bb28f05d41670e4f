//! How fast those read on who are far behind in the audit log, so that they leave the processor to
//! those whose decisions are being recorded.
//!
//! Catching up is cheap and never waits, so that a few who do it would take all there is. What they
//! get while records come is a rate for all of them together; while next to none come, they get all
//! they can take.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Clock;

/// Over how long it is measured how many records come, at least.
const WINDOW: Duration = Duration::from_millis(100);
/// With fewer records in a second nobody is held up: there is room for all.
const BUSY: u64 = 100;
const NANOS: u64 = 1_000_000_000;

/// The pace of all who catch up together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// How many records a second they may look at, besides as many as come.
    rate: u64,
    /// Held for some arithmetic, once for a message of those who catch up.
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// When the records were counted.
    counted: Duration,
    /// The last record then.
    last: u64,
    /// How many came in a second before that.
    coming: u64,
    /// Until when the rate is used up.
    used_up: Duration,
}

impl Pace {
    /// Lets so many records a second be looked at, besides as many as come.
    pub fn new(rate: NonZeroUsize, clock: Clock) -> Self {
        let rate = u64::try_from(rate.get()).unwrap_or(u64::MAX);
        Self(Arc::new(Shared { clock, rate, turns: Mutex::default() }))
    }

    /// How long somebody who is behind the end of the log, which is this record, waits until they may
    /// look at more; `None` if they may now. To be asked again after a while: it may have become less.
    pub fn due(&self, last: u64) -> Option<Duration> {
        let now = self.0.clock.elapsed();
        let mut turns = self.0.turns(now, last);
        if turns.coming < BUSY {
            turns.used_up = now;
        }
        let rest = turns.used_up.saturating_sub(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// Notes that somebody has looked at so many records.
    pub fn note(&self, looked_at: u64, last: u64) {
        let now = self.0.clock.elapsed();
        let mut turns = self.0.turns(now, last);
        if turns.coming >= BUSY {
            let rate = self.0.rate.saturating_add(turns.coming);
            let takes = Duration::from_nanos(looked_at.saturating_mul(NANOS) / rate);
            turns.used_up = turns.used_up.max(now) + takes;
        }
    }
}

impl Shared {
    fn turns(&self, now: Duration, last: u64) -> MutexGuard<'_, Turns> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.count(now, last);
        turns
    }
}

impl Turns {
    fn count(&mut self, now: Duration, last: u64) {
        let passed = now.saturating_sub(self.counted);
        if passed < WINDOW {
            return;
        }
        let came = u128::from(last.saturating_sub(self.last)) * u128::from(NANOS);
        self.coming = u64::try_from(came / passed.as_nanos().max(1)).unwrap_or(u64::MAX);
        (self.counted, self.last) = (now, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::UnixNanos;

    /// A pace of 1,000 records a second, and its clock.
    fn pace() -> (Pace, Clock) {
        let clock = Clock::manual(UnixNanos(0));
        (Pace::new(NonZeroUsize::new(1_000).unwrap(), clock.clone()), clock)
    }

    fn set(clock: &Clock, millis: i64) {
        clock.set(UnixNanos(millis * 1_000_000));
    }

    const NONE: Option<Duration> = None;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn while_next_to_nothing_comes_nobody_waits() {
        let (pace, clock) = pace();
        set(&clock, 1_000);
        for turn in 2..=100 {
            let last = 1_000_000 + 9 * u64::try_from(turn).unwrap();
            pace.note(1_000_000, last);
            set(&clock, turn * 1_000);
            // What there was at first is not known to have come at once.
            assert!(turn == 2 || pace.due(last).is_none(), "{turn}");
        }
    }

    #[test]
    fn while_records_come_all_together_get_the_rate_and_as_many_as_come() {
        let (pace, clock) = pace();
        // 1,000 come in a second, so that 2,000 may be looked at.
        set(&clock, 1_000);
        assert_eq!(pace.due(1_000), NONE);
        pace.note(200, 1_000);
        assert_eq!(pace.due(1_000), Some(millis(100)));
        pace.note(200, 1_000);
        assert_eq!(pace.due(1_000), Some(millis(200)), "both together");
        set(&clock, 1_050);
        assert_eq!(pace.due(1_000), Some(millis(150)), "50 ms have passed");
        set(&clock, 2_000);
        assert_eq!(pace.due(2_000), NONE, "a pause saves nothing up");
        pace.note(20, 2_000);
        assert_eq!(pace.due(2_000), Some(millis(10)));
        pace.note(u64::MAX, 2_000);
        assert!(pace.due(2_000) > Some(millis(1_000_000)));
        set(&clock, 3_000);
        assert_eq!(pace.due(2_010), NONE, "next to none come any more");
        pace.note(u64::MAX, 2_010);
        assert_eq!(pace.due(2_010), NONE);
    }

    #[test]
    fn in_the_long_run_the_rate_is_kept_to_by_many_who_come_and_go() {
        let (pace, clock) = pace();
        let mut looked_at = 0;
        for turn in 1_000_u64..11_000 {
            set(&clock, i64::try_from(turn).unwrap());
            // Ten more at each turn, who each begin with a question and go.
            for _ in 0..10 {
                if pace.due(3 * turn).is_none() {
                    looked_at += 50;
                    pace.note(50, 3 * turn);
                }
            }
            assert!(pace.due(3 * turn) < Some(millis(50)), "nobody waits for those who are gone");
        }
        // 4,000 a second for 10 s, less what a turn is too long.
        assert!((38_000..41_000).contains(&looked_at), "{looked_at}");
    }
}
