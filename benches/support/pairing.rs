//! Which of two is faster, told from short slices that take turns.
//!
//! On a machine that others use too, two long runs one after the other measure the hour as much as
//! the program. So subject and opponent take turns (AB BA AB …), each pair gives one ratio, and the
//! ratios' median and its order statistics say what can be said without assuming a distribution. If
//! the opponent alone varies too much, there is no verdict. It knows nothing of what is measured.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::cast_precision_loss,
    reason = "bench code: each bench uses a part of it and drops the tests, and counts are small"
)]

use std::fmt;
use std::time::Duration;

/// The fewest pairs that are run, and the most.
const PAIRS: (usize, usize) = (10, 1000);
/// How far the opponent's slices may lie apart, relative to their median.
const MAX_SPREAD: f64 = 0.15;
/// How sure the interval is to hold the median, at least.
const CONFIDENCE: f64 = 0.95;

/// The header of the table whose rows pairings print.
pub const HEADER: &str = "\
| what | subject /s | opponent /s | ratio | interval of the median | pairs | spread | verdict |
|---|---:|---:|---:|---:|---:|---:|---|";

/// Runs one slice of a duration and says the rate, in anything a second.
pub type Slice<'a> = &'a mut dyn FnMut(Duration) -> f64;

/// What the pairs say.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairing {
    /// What was compared.
    pub name: String,
    /// The median of the subject's rates.
    pub subject: f64,
    /// The median of the opponent's rates.
    pub opponent: f64,
    /// The median of the ratios of subject to opponent.
    pub ratio: f64,
    /// Between which ratios the median lies, with `confidence`.
    pub interval: (f64, f64),
    /// The probability that such an interval holds the median.
    pub confidence: f64,
    /// How many pairs were run.
    pub pairs: usize,
    /// How far the opponent's slices lie apart, relative to their median.
    pub spread: f64,
    /// What can be said.
    pub verdict: Verdict,
}

/// What can be said of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the opponent varies too much, or a slice had no rate.
    Unknown,
    /// The interval holds 1.
    Level,
    /// The interval is above 1.
    Faster,
    /// The interval is below 1.
    Slower,
}

/// Runs `pairs` pairs (at least 10, at most 1,000) of slices that take turns.
pub fn compare(
    name: &str,
    pairs: usize,
    slice: Duration,
    subject: Slice<'_>,
    opponent: Slice<'_>,
) -> Pairing {
    let pairs = pairs.clamp(PAIRS.0, PAIRS.1);
    let mut rates = Vec::with_capacity(pairs);
    for pair in 0..pairs {
        rates.push(if pair % 2 == 0 {
            let first = subject(slice);
            (first, opponent(slice))
        } else {
            let first = opponent(slice);
            (subject(slice), first)
        });
    }
    Pairing::new(name, &rates)
}

impl Pairing {
    /// Judges rates of subject and opponent, a pair each.
    pub fn new(name: &str, rates: &[(f64, f64)]) -> Self {
        let subjects = sorted(rates.iter().map(|(subject, _)| *subject));
        let opponents = sorted(rates.iter().map(|(_, opponent)| *opponent));
        let ratios = sorted(rates.iter().map(|(subject, opponent)| subject / opponent));
        let (skipped, confidence) = skipped_each_side(rates.len());
        let at = |index: usize| ratios.get(index).copied().unwrap_or(f64::NAN);
        let interval = (at(skipped), at(ratios.len().wrapping_sub(skipped + 1)));
        let spread = match (opponents.first(), opponents.last()) {
            (Some(least), Some(most)) => (most - least) / median(&opponents),
            _ => f64::NAN,
        };
        let is_measured = rates.len() >= PAIRS.0
            && [&subjects, &opponents].iter().all(|rates| rates.iter().all(|rate| is_rate(*rate)));
        let verdict = match interval {
            _ if !is_measured || spread > MAX_SPREAD => Verdict::Unknown,
            (low, _) if low > 1.0 => Verdict::Faster,
            (_, high) if high < 1.0 => Verdict::Slower,
            _ => Verdict::Level,
        };
        Self {
            name: name.to_owned(),
            subject: median(&subjects),
            opponent: median(&opponents),
            ratio: median(&ratios),
            interval,
            confidence,
            pairs: rates.len(),
            spread,
            verdict,
        }
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, subject, opponent, ratio, interval, confidence, .. } = self;
        let (low, high) = interval;
        let (confidence, spread) = (confidence * 100.0, self.spread * 100.0);
        let verdict = match self.verdict {
            Verdict::Unknown => "no verdict",
            Verdict::Level => "no difference",
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
        };
        write!(
            formatter,
            "| {name} | {subject:.0} | {opponent:.0} | {ratio:.3} \
             | {low:.3} to {high:.3} ({confidence:.1} %) | {} | {spread:.1} % | {verdict} |",
            self.pairs,
        )
    }
}

fn is_rate(rate: f64) -> bool {
    rate.is_finite() && rate > 0.0
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted values; not a number, if there are none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    match middle.checked_sub(1).and_then(|below| sorted.get(below)) {
        Some(lower) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
        _ => upper,
    }
}

/// How many of `count` ratios at each end an interval can leave out and still hold the median with
/// enough confidence, and with how much: how many ratios lie below the median is binomial with one
/// half.
fn skipped_each_side(count: usize) -> (usize, f64) {
    let mut term = 0.5_f64.powf(count as f64);
    let mut tail = term;
    let mut skipped = 0;
    loop {
        let next = term * (count - skipped) as f64 / (skipped + 1) as f64;
        if skipped >= count / 2 || 1.0 - 2.0 * (tail + next) < CONFIDENCE {
            return (skipped, 1.0 - 2.0 * tail);
        }
        term = next;
        tail += term;
        skipped += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn slices_take_turns() {
        let order = RefCell::new(String::new());
        let slice = Duration::from_millis(3);
        let mut subject = |duration: Duration| {
            order.borrow_mut().push('a');
            duration.as_secs_f64()
        };
        let mut opponent = |_: Duration| {
            order.borrow_mut().push('b');
            0.001
        };
        let pairing = compare("x", 3, slice, &mut subject, &mut opponent);
        assert_eq!(*order.borrow(), "abba".repeat(5));
        assert_eq!((pairing.pairs, pairing.verdict), (10, Verdict::Faster));
        assert!((pairing.ratio - 3.0).abs() < 1e-9);
    }

    /// The ranks are those of the usual tables for the median's interval.
    #[test]
    fn the_interval_is_the_narrowest_that_is_sure_enough() {
        for (count, skipped, confidence) in [
            (6, 0, 0.969),
            (10, 1, 0.979),
            (15, 3, 0.965),
            (20, 5, 0.959),
            (25, 7, 0.957),
            (50, 17, 0.967),
            (100, 39, 0.965),
        ] {
            let found = skipped_each_side(count);
            assert_eq!(found.0, skipped, "{count}");
            assert!((found.1 - confidence).abs() < 1e-3, "{count}: {found:?}");
        }
    }

    #[test]
    fn the_verdict_is_in_the_interval() {
        let steady = |ratio: f64| (0..10).map(|i| (ratio * 100.0 + f64::from(i), 100.0)).collect();
        let wild = (0..10).map(|i| (900.0, 100.0 + 2.0 * f64::from(i))).collect();
        let cases: [(Vec<(f64, f64)>, Verdict); 7] = [
            (steady(1.5), Verdict::Faster),
            (steady(0.8), Verdict::Slower),
            (steady(0.95), Verdict::Level),
            (wild, Verdict::Unknown),
            (vec![(0.0, 1.0); 10], Verdict::Unknown),
            (vec![(2.0, f64::NAN); 10], Verdict::Unknown),
            (vec![(2.0, 1.0); 9], Verdict::Unknown),
        ];
        for (rates, verdict) in cases {
            assert_eq!(Pairing::new("x", &rates).verdict, verdict, "{rates:?}");
        }
        assert_eq!(Pairing::new("x", &[]).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_pairing_is_one_row() {
        let rates: Vec<_> = (0..10).map(|i| (200.0 + f64::from(i), 100.0)).collect();
        let row = "| x | 204 | 100 | 2.045 | 2.010 to 2.080 (97.9 %) | 10 | 0.0 % | faster |";
        assert_eq!(Pairing::new("x", &rates).to_string(), row);
        assert_eq!(HEADER.lines().next().unwrap().matches('|').count(), row.matches('|').count());
    }
}
