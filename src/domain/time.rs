//! A point in time. Where it comes from is the clock's business, not this module's.

use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Reaches to the year 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub i64);

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl UnixNanos {
    /// Whole seconds since 1970, rounded towards the past.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// The nanoseconds after [`Self::seconds`], 0 to 999,999,999.
    pub fn subsecond_nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(NANOS_PER_SECOND)).unwrap_or_default()
    }

    /// The point that these seconds and nanoseconds name; saturates at the ends of the range.
    pub fn from_parts(seconds: i64, nanos: i32) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(nanos)))
    }

    /// How long ago `earlier` was, or zero if it wasn't earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_into_seconds_and_nanoseconds_before_and_after_1970() {
        for (nanos, seconds, rest) in
            [(0, 0, 0), (1, 0, 1), (1_500_000_000, 1, 500_000_000), (-1, -1, 999_999_999)]
        {
            let time = UnixNanos(nanos);
            assert_eq!((time.seconds(), time.subsecond_nanos()), (seconds, rest));
            assert_eq!(UnixNanos::from_parts(seconds, i32::try_from(rest).unwrap()), time);
        }
    }

    #[test]
    fn a_later_time_is_not_in_the_past() {
        assert_eq!(UnixNanos(5).since(UnixNanos(9)), Duration::ZERO);
        assert_eq!(UnixNanos(9).since(UnixNanos(5)), Duration::from_nanos(4));
    }
}
