//! A histogram of durations with buckets of equal relative width, for latencies.
//!
//! It holds nanoseconds in 128 buckets an octave, so what it says is at most 0.8 % above what was
//! recorded; the largest value is kept exactly. It knows neither a clock nor what was timed.

use std::time::Duration;

/// The buckets of an octave, as a power of two.
const BITS: u32 = 7;
const BUCKETS: usize = ((64 - BITS as usize) + 1) << BITS;

/// How often each duration was seen.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// A histogram of nothing.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = duration.as_nanos() as u64;
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts all that the other one counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest duration, exactly.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The duration that `percent` of all (0 to 100) don't exceed; zero if there is none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank =
            ((percent / 100.0 * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_edge(index).min(self.max));
            }
        }
        self.max()
    }
}

/// Values below 2^BITS have a bucket each; above, the leading BITS + 1 bits choose.
fn bucket(nanos: u64) -> usize {
    let shift = (nanos | 1).ilog2().saturating_sub(BITS);
    ((shift as usize) << BITS) + (nanos >> shift) as usize
}

fn upper_edge(index: usize) -> u64 {
    let shift = (index >> BITS).saturating_sub(1);
    let leading = (index - (shift << BITS)) as u64;
    (leading << shift) | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_in_its_bucket_and_the_next_value_is_not() {
        for index in 1..BUCKETS {
            assert_eq!(bucket(upper_edge(index)), index);
            if index + 1 < BUCKETS {
                assert_eq!(bucket(upper_edge(index) + 1), index + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn an_edge_is_less_than_one_percent_above_any_value_of_its_bucket() {
        let mut nanos = 1_u64;
        while nanos < u64::MAX / 3 {
            let edge = upper_edge(bucket(nanos));
            assert!(edge >= nanos && (edge - nanos) as f64 <= nanos as f64 / 100.0, "{nanos}");
            nanos += nanos / 3 + 1;
        }
    }

    #[test]
    fn percentiles_are_of_the_counted_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(50.0), Duration::ZERO);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!(twice.total(), 2000);
        for (percent, micros) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (0.0, 1.0)] {
            let found = twice.percentile(percent).as_secs_f64() * 1e6;
            assert!(found >= micros && found <= micros * 1.01, "{percent}: {found}");
        }
        assert_eq!(twice.percentile(100.0), Duration::from_millis(1));
        assert_eq!(twice.max(), Duration::from_millis(1));
    }
}
