//! How fast, and how often, what is stored is read again to verify it.

use std::time::Duration;

use super::{Problems, file::ScrubTable};

const MEBIBYTE: u64 = 1_024 * 1_024;
const HOUR: Duration = Duration::from_hours(1);

/// How fast, and how often, what is stored is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubLimits {
    /// How many bytes a second are read.
    pub bytes_per_second: u64,
    /// How long after the beginning of a pass the next one begins.
    pub every: Duration,
}

impl Default for ScrubLimits {
    /// Little enough that a disk in use doesn't notice, and enough for 600 GiB a day.
    fn default() -> Self {
        Self { bytes_per_second: 8 * MEBIBYTE, every: HOUR.saturating_mul(168) }
    }
}

impl ScrubLimits {
    /// How long reading so many bytes has to take.
    pub fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

pub(super) fn check(problems: &mut Problems, table: &ScrubTable) -> ScrubLimits {
    let ScrubTable { mebibytes_per_second, every_hours } = *table;
    let defaults = ScrubLimits::default();
    let bytes_per_second = mebibytes_per_second.map_or(defaults.bytes_per_second, |mebibytes| {
        if !(1..=1_024).contains(&mebibytes) {
            problems.add("scrub.mebibytes_per_second", "must be 1 to 1,024");
        }
        mebibytes.saturating_mul(MEBIBYTE)
    });
    let every = every_hours.map_or(defaults.every, |hours| {
        if !(1..=8_760).contains(&hours) {
            problems.add("scrub.every_hours", "must be 1 to 8,760");
        }
        HOUR.saturating_mul(hours)
    });
    ScrubLimits { bytes_per_second, every }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_as_long_as_the_rate_says() {
        let limits = ScrubLimits { bytes_per_second: 2 * MEBIBYTE, every: HOUR };
        for (bytes, millis) in [(0, 0), (MEBIBYTE, 500), (4 * MEBIBYTE, 2_000)] {
            assert_eq!(limits.time_for(bytes), Duration::from_millis(millis));
        }
        assert!(limits.time_for(u64::MAX) > HOUR);
    }
}
