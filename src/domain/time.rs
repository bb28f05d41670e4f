//! A point in time. Where it comes from is the clock's business, not this module's.

use std::{fmt, time::Duration};

/// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Reaches to the year 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub i64);

/// A point in time by two clocks: one to measure by, and one to tell people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since some fixed point of this process; never goes backwards.
    pub elapsed: Duration,
    /// What the wall clock showed. May be set, forwards and back.
    pub wall: UnixNanos,
}

impl Moment {
    /// So much later, if nobody sets the wall clock meanwhile; saturates at the ends of the range.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let wall = UnixNanos(self.wall.0.saturating_add(nanos));
        Self { elapsed: self.elapsed.saturating_add(time), wall }
    }
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
/// From the first day of the year 1 to that of 1970, in the calendar of RFC 3339.
const DAYS_BEFORE_1970: i64 = 719_162;

/// A day of the calendar of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year, from 1.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
}

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

    /// The beginning of a day in UTC; `None` if there is no such day. Saturates like
    /// [`Self::from_parts`].
    pub fn start_of(date: Date) -> Option<Self> {
        let Date { year, month, day } = date;
        let year = i64::from(year);
        let months = months_of(year);
        let length = *months.get(usize::from(month).checked_sub(1)?)?;
        let day = i64::from(day);
        if year < 1 || !(1..=length).contains(&day) {
            return None;
        }
        let before: i64 = months.iter().take(usize::from(month) - 1).sum();
        let days = first_day_of(year) + before + day - 1;
        Some(Self::from_parts(days * SECONDS_PER_DAY, 0))
    }

    /// So much later, or earlier if it is negative; saturates at the ends of the range.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)))
    }

    /// How long ago `earlier` was, or zero if it wasn't earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

/// The first day of a year, counted from that of 1970.
fn first_day_of(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400 - DAYS_BEFORE_1970
}

/// How many days the months of a year have.
fn months_of(year: i64) -> [i64; 12] {
    let february = first_day_of(year + 1) - first_day_of(year) - 337;
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

impl fmt::Display for UnixNanos {
    /// As RFC 3339 has it, in UTC; with nanoseconds if there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.seconds().div_euclid(SECONDS_PER_DAY);
        let second = self.seconds().rem_euclid(SECONDS_PER_DAY);
        // No year is longer than 366 days, so this one isn't too late.
        let mut year = 1969 + days.div_euclid(366);
        while first_day_of(year + 1) <= days {
            year += 1;
        }
        let (mut month, mut day) = (1, days - first_day_of(year));
        for length in months_of(year) {
            if day < length {
                break;
            }
            (month, day) = (month + 1, day - length);
        }
        write!(f, "{year:04}-{month:02}-{:02}", day + 1)?;
        write!(f, "T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)?;
        match self.subsecond_nanos() {
            0 => f.write_str("Z"),
            nanos => write!(f, ".{nanos:09}Z"),
        }
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

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_399_000_000_000, "2000-02-28T23:59:59Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (1_795_458_000_123_456_789, "2026-11-23T18:20:00.123456789Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(UnixNanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_the_calendar_begins_where_it_is_written_to() {
        let mut wanted = UnixNanos(0);
        for (year, month, day) in (1970..2262)
            .flat_map(|year| (1..=12).map(move |month| (year, month)))
            .flat_map(|(year, month)| (1..=31).map(move |day| (year, month, day)))
        {
            let Some(start) = UnixNanos::start_of(Date { year, month, day }) else { continue };
            assert_eq!(start, wanted);
            assert_eq!(start.to_string(), format!("{year}-{month:02}-{day:02}T00:00:00Z"));
            wanted = wanted.plus_seconds(SECONDS_PER_DAY);
        }
    }

    #[test]
    fn what_is_no_day_has_no_beginning() {
        for (year, month, day) in
            [(0, 1, 1), (2026, 0, 1), (2026, 13, 1), (2026, 1, 0), (2026, 2, 29), (2100, 2, 29)]
        {
            assert_eq!(
                UnixNanos::start_of(Date { year, month, day }),
                None,
                "{year} {month} {day}"
            );
        }
        assert_eq!(
            UnixNanos::start_of(Date { year: 9999, month: 1, day: 1 }),
            Some(UnixNanos(i64::MAX))
        );
    }
}
