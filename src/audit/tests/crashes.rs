//! Crashes at any operation of the disk: what was acknowledged is there, and nothing is there that
//! nobody appended.

use crate::{
    audit::{
        record::{self, PreviousStop},
        testing::{
            Line, Random, Running, clock,
            disk::{Crash, Disk, Plan},
            model::Model,
            overlapping, small, stop,
        },
    },
    clock::Clock,
    domain::time::UnixNanos,
};

/// One log through many runs.
struct Story {
    random: Random,
    disk: Disk,
    model: Model,
    appended: u64,
}

#[test]
fn whatever_was_acknowledged_survives_any_crash() {
    for seed in 0..120 {
        let (disk, model) = (Disk::default(), Model::default());
        let mut story = Story { random: Random(seed), disk, model, appended: 0 };
        for _ in 0..16 {
            story.run_once();
        }
        assert!(story.model.last() > 0, "seed {seed} did nothing");
    }
}

impl Story {
    /// One run of the process: opened, looked at, appended to, and ended in one way or another.
    fn run_once(&mut self) {
        let crash = (!self.random.one_in(4)).then(|| 1 + self.random.below(90) as u64);
        self.disk.plan(Plan { crash, ..Plan::default() });
        let make = if self.random.one_in(2) { small } else { overlapping };
        let options = make(2_048 << self.random.below(5));
        let clock = self.any_clock();
        let running = Running::open_at(&self.disk, options, clock).unwrap();
        if !self.disk.has_crashed() {
            self.look_at(&running);
            self.append_to(&running);
        }
        running.close();
        let crash = if self.random.one_in(2) { Crash::Killed } else { Crash::PowerLost };
        self.disk = self.disk.after_crash(crash, &mut self.random);
    }

    /// A clock that may have gone backwards since the last run.
    fn any_clock(&mut self) -> Clock {
        let moved = i64::try_from(self.random.below(2_000_000_000)).unwrap();
        Clock::manual(UnixNanos(clock().now().0 + moved - 1_000_000_000))
    }

    fn look_at(&mut self, running: &Running) {
        assert_eq!(running.damage.iter().filter(|damage| damage.records.is_some()).count(), 0);
        self.model.verify(running);
        let records = running.records();
        let is_clean = records.last().is_none_or(|last| record::is_server_stop(last));
        let stop = if is_clean { PreviousStop::Clean } else { PreviousStop::Unclean };
        assert_eq!(running.previous_stop, stop);
        let from = self.random.below(records.len() + 2) as u64 + 1;
        let read = running.follow(from, self.random.below(100_000));
        let rest = records.get(usize::try_from(from - 1).unwrap()..).unwrap_or_default();
        assert_eq!(read.len(), rest.len());
        assert!((from..).zip(&read).all(|(sequence, entry)| entry.sequence == sequence));
    }

    fn append_to(&mut self, running: &Running) {
        let mut follower = running.log.follow(self.model.last() + 1);
        let mut seen = self.model.last();
        for _ in 0..self.random.below(20) {
            running.clock.set(self.any_clock().now());
            let batches: Vec<_> = (0..=self.random.below(4)).map(|_| self.any_batch()).collect();
            let waits: Vec<_> =
                batches.iter().map(|lines| running.append(lines).unwrap()).collect();
            for (lines, wait) in batches.iter().zip(waits) {
                let receipts = running.wait(wait).unwrap();
                if self.disk.has_crashed() {
                    // It may have been acknowledged before the crash or after.
                    self.model.doubt(lines);
                } else {
                    self.model.acknowledge(lines, &receipts);
                }
            }
            for entry in follower.read(self.random.below(9_000)).unwrap() {
                assert_eq!(entry.sequence, seen + 1, "each once and in order");
                seen = entry.sequence;
            }
            if self.disk.has_crashed() {
                return;
            }
        }
        if self.random.one_in(2) {
            let receipts = running.record(stop()).unwrap();
            if self.disk.has_crashed() {
                self.model.doubt_stop();
            } else {
                self.model.acknowledge_stop(&receipts);
            }
        }
    }

    fn any_batch(&mut self) -> Vec<Line> {
        let count = 1 + self.random.below(6);
        self.appended += count as u64;
        let first = self.appended;
        (0..count as u64).map(|place| Line::new(first - place, &mut self.random)).collect()
    }
}
