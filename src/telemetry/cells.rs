//! What is counted where it happens: counters and histograms of plain atomic numbers.
//!
//! Each thread that counts often has cells of its own, so that counting is an addition to memory that
//! no other core writes to.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what happens.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts more.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a histogram's numbers mean.
#[derive(Debug, PartialEq, Eq)]
pub struct Scale {
    /// The highest number of each bucket but the last, ascending.
    pub bounds: &'static [u64],
    /// How many of its numbers make one of its unit.
    pub per_unit: u64,
}

/// Durations, in nanoseconds, told in seconds: from a check in memory to a call that gives up.
pub const DURATIONS: Scale = Scale {
    bounds: &[
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        1_000_000_000,
        5_000_000_000,
        30_000_000_000,
    ],
    per_unit: 1_000_000_000,
};

/// Numbers of things that are done at once.
pub const BATCHES: Scale =
    Scale { bounds: &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000], per_unit: 1 };

/// More than any scale has.
const MOST_BUCKETS: usize = 16;

/// Counts numbers by how large they are.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    counts: [AtomicU64; MOST_BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one.
    pub fn new(scale: &'static Scale) -> Self {
        Self { scale, counts: Default::default(), sum: AtomicU64::default() }
    }

    /// Counts a number.
    pub fn record(&self, number: u64) {
        let place = self.scale.bounds.partition_point(|bound| *bound < number);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// Counts a duration, where the numbers are nanoseconds.
    pub fn record_time(&self, time: std::time::Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was counted.
    pub fn read(&self) -> Distribution {
        let buckets = self.scale.bounds.len() + 1;
        let counts = self.counts.iter().take(buckets);
        let counts = counts.map(|count| count.load(Ordering::Relaxed)).collect();
        Distribution { scale: self.scale, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// What a histogram had counted when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// What its numbers mean.
    pub scale: &'static Scale,
    /// How many there were in each bucket.
    pub counts: Vec<u64>,
    /// All numbers together.
    pub sum: u64,
}

impl Distribution {
    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another one of the same scale to it.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// All numbers together, in the scale's unit.
    pub fn sum_in_units(&self) -> f64 {
        self.scale.in_units(self.sum)
    }

    /// The highest number of each bucket but the last, in the scale's unit.
    pub fn bounds_in_units(&self) -> impl Iterator<Item = f64> {
        self.scale.bounds.iter().map(|bound| self.scale.in_units(*bound))
    }
}

impl Scale {
    fn in_units(&self, number: u64) -> f64 {
        float(number) / float(self.per_unit)
    }
}

/// A number as metrics tell it. Beyond 2^53 the last digits are lost, which nobody reads.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_number_counts_in_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&BATCHES);
        for number in [0, 1, 2, 3, 5, 5_000, 5_001, 1_000_000] {
            histogram.record(number);
        }
        let read = histogram.read();
        assert_eq!(read.counts, [2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((read.count(), read.sum), (8, 1_010_012));
    }

    #[test]
    fn durations_are_told_in_seconds() {
        let histogram = Histogram::new(&DURATIONS);
        histogram.record_time(Duration::from_millis(1_500));
        let mut read = histogram.read();
        read.add(&histogram.read());
        assert!((read.sum_in_units() - 3.0).abs() < 1e-9);
        assert_eq!(read.bounds_in_units().next(), Some(0.0001));
        assert_eq!(read.bounds_in_units().last(), Some(30.0));
    }

    #[test]
    fn every_scale_has_room() {
        for scale in [&DURATIONS, &BATCHES] {
            assert!(scale.bounds.len() < MOST_BUCKETS && scale.bounds.is_sorted());
        }
    }
}
