//! How fast those read on who are far behind in the audit log, so that they leave the processor to
//! those whose decisions are being recorded.
//!
//! Catching up is cheap and never waits, so that a few who do it would take all there is. What they
//! get while records come is a rate for all of them together; while next to none come, they get all
//! they can take.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
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

    /// How long somebody waits who has looked at so many records behind the end of the log, which
    /// is this record.
    pub fn rest(&self, looked_at: u64, last: u64) -> Duration {
        let Shared { clock, rate, turns } = &*self.0;
        let now = clock.elapsed();
        let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.count(now, last);
        if turns.coming < BUSY {
            turns.used_up = now;
            return Duration::ZERO;
        }
        let rate = rate.saturating_add(turns.coming);
        let takes = Duration::from_nanos(looked_at.saturating_mul(NANOS) / rate);
        turns.used_up = turns.used_up.max(now) + takes;
        turns.used_up.saturating_sub(now)
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

    #[test]
    fn while_next_to_nothing_comes_nobody_waits() {
        let (pace, clock) = pace();
        for turn in 1..=100 {
            set(&clock, turn * 100);
            let last = 1_000_000 + 9 * u64::try_from(turn).unwrap();
            let rest = pace.rest(1_000_000, last);
            // What there was at first is not known to have come at once.
            assert!(turn == 1 || rest.is_zero(), "{turn}: {rest:?}");
        }
    }

    #[test]
    fn while_records_come_all_together_get_the_rate_and_as_many_as_come() {
        let (pace, clock) = pace();
        // 1,000 come in a second, so that 2,000 may be looked at.
        set(&clock, 1_000);
        assert_eq!(pace.rest(200, 1_000), Duration::from_millis(100));
        assert_eq!(pace.rest(200, 1_000), Duration::from_millis(200), "behind the other one");
        set(&clock, 1_050);
        assert_eq!(pace.rest(20, 1_000), Duration::from_millis(160), "50 ms have passed");
        set(&clock, 2_000);
        assert_eq!(pace.rest(20, 2_000), Duration::from_millis(10), "a pause saves nothing up");
        set(&clock, 3_000);
        assert_eq!(pace.rest(20, 2_010), Duration::ZERO, "next to none come any more");
        assert_eq!(pace.rest(u64::MAX, 2_010), Duration::ZERO);
        set(&clock, 4_000);
        assert!(pace.rest(u64::MAX, u64::MAX) > Duration::ZERO);
    }

    #[test]
    fn in_the_long_run_the_rate_is_kept_to_by_many_too() {
        let (pace, clock) = pace();
        let (mut looked_at, mut due) = (0, [Duration::ZERO; 10]);
        for millis in 0_u64..10_000 {
            set(&clock, i64::try_from(millis).unwrap());
            let now = Duration::from_millis(millis);
            for due in &mut due {
                if *due <= now {
                    // Before any were counted nobody was held up.
                    looked_at += if millis < 1_000 { 0 } else { 50 };
                    *due = now + pace.rest(50, 3 * millis);
                }
            }
        }
        // 4,000 a second for 9 s.
        assert!((35_000..37_000).contains(&looked_at), "{looked_at}");
    }
}
