//! Segments that are no longer kept: what is kept is whole and goes on, whatever was removed is said
//! to be, and a crash in between changes neither.

use std::{collections::HashMap, time::Duration};

use prost::Message;

use crate::{
    api::pb,
    audit::{
        follow::Removed,
        log::{OpenError, Options},
        record::{self, Call, Draft, EventDraft},
        recovery::RecoveryError,
        retention::Retention,
        segment::{Content, Segment},
        testing::{
            Line, Random, Running,
            disk::{Crash, Disk, Plan},
            files::{segments, wait_until_idle},
            small,
        },
    },
    domain::time::UnixNanos,
};

/// Keeps about so many bytes.
fn bytes(max_bytes: u64) -> Retention {
    Retention { max_bytes: Some(max_bytes), ..Retention::default() }
}

/// One log through many runs of which each may remove some, and what was acknowledged of it.
struct Story {
    random: Random,
    disk: Disk,
    /// By sequence number from 1 on.
    hashes: Vec<[u8; 32]>,
    heads: HashMap<String, u64>,
    /// The first record that must be there, and the one before which none may be.
    first: (u64, u64),
}

impl Story {
    fn new(seed: u64) -> Self {
        let (random, disk) = (Random(seed), Disk::default());
        Self { random, disk, hashes: Vec::new(), heads: HashMap::new(), first: (1, 1) }
    }

    fn run_once(&mut self) {
        let crash = (!self.random.one_in(4)).then(|| 1 + self.random.below(160) as u64);
        self.disk.plan(Plan { crash, ..Plan::default() });
        let running = Running::open(&self.disk, small(1_024 << self.random.below(3))).unwrap();
        self.verify(&running);
        for _ in 0..self.random.below(40) {
            self.append(&running);
            if self.random.one_in(5) {
                self.remove(&running);
            }
        }
        if !self.disk.has_crashed() {
            self.verify(&running);
        }
        running.close();
        let crash = if self.random.one_in(2) { Crash::Killed } else { Crash::PowerLost };
        self.disk = self.disk.after_crash(crash, &mut self.random);
    }

    fn append(&mut self, running: &Running) {
        let count = 1 + self.random.below(4) as u64;
        let lines: Vec<_> = (0..count).map(|place| Line::new(place, &mut self.random)).collect();
        let receipts = running.wait(running.append(&lines).unwrap()).unwrap();
        if self.disk.has_crashed() {
            return;
        }
        for (line, receipt) in lines.iter().zip(receipts.iter()) {
            assert_eq!(receipt.sequence, self.hashes.len() as u64 + 1);
            self.hashes.push(receipt.leaf_hash);
            self.heads.insert(line.account.to_owned(), receipt.sequence);
        }
    }

    fn remove(&mut self, running: &Running) {
        let retention = bytes(1_024 * (1 + self.random.below(6) as u64));
        let Some((from, through)) = running.log.find_expired(&retention) else { return };
        let was_alive = !self.disk.has_crashed();
        if was_alive {
            assert_eq!(from, running.log.bounds().0);
            // From now on they may be gone, and when it has returned they are.
            self.first.0 = through + 1;
        }
        running.log.remove_through(through).unwrap();
        assert_eq!(running.log.bounds().0, through + 1);
        if was_alive && !self.disk.has_crashed() {
            self.first.1 = through + 1;
        }
    }

    /// What is kept is what was acknowledged, and its accounts' chains go on.
    fn verify(&mut self, running: &Running) {
        if self.disk.has_crashed() {
            return;
        }
        let (first, last) = running.log.bounds();
        assert!(first >= self.first.1 && first <= self.first.0, "{first} of {:?}", self.first);
        self.first = (first, first);
        let entries = running.follow(first, 10_000);
        assert_eq!(
            (entries.len() as u64, last >= self.hashes.len() as u64),
            (last + 1 - first, true)
        );
        let mut heads: HashMap<_, u64> = HashMap::new();
        for (sequence, entry) in (first..).zip(&entries) {
            let Content::Record(bytes) = &entry.content else { panic!("{entry:?}") };
            let (place, hash) = (usize::try_from(sequence - 1).unwrap(), record::leaf_hash(bytes));
            let record = pb::AuditRecord::decode(&bytes[..]).unwrap();
            assert_eq!(record.sequence, sequence);
            match self.hashes.get(place) {
                Some(known) => assert_eq!(*known, hash),
                // It was in doubt when the run before this one crashed.
                None => {
                    self.hashes.push(hash);
                    self.heads.insert(record.account.clone(), sequence);
                }
            }
            let previous = heads.insert(record.account, sequence);
            let is_right = match previous {
                Some(previous) => previous == record.account_previous_sequence,
                // The one before it was removed, unless there was none.
                None => record.account_previous_sequence < first,
            };
            assert!(is_right, "the chain of an account is broken at {sequence}");
        }
        for (account, head) in &self.heads {
            assert!(*head < first || heads[account] == *head);
        }
        self.verify_chains_go_on(running);
        self.verify_removed(running, first, last);
    }

    /// Each account's next record names its last one, whether that is kept or not.
    fn verify_chains_go_on(&mut self, running: &Running) {
        let Some((account, head)) = self.heads.iter().next().map(|(a, h)| (a.clone(), *h)) else {
            return;
        };
        let (call, event) = (Call::default(), EventDraft::ServerStop { revision: 0 });
        let receipts =
            running.record(Draft { account: &account, region: "", call, event }).unwrap();
        let receipt = receipts.iter().next().unwrap();
        let entry = running.follow(receipt.sequence, 1).pop().unwrap();
        let Content::Record(bytes) = entry.content else { panic!("{entry:?}") };
        let record = pb::AuditRecord::decode(&bytes[..]).unwrap();
        assert_eq!(record.account_previous_sequence, head, "of {account:?}");
        if !self.disk.has_crashed() {
            self.hashes.push(receipt.leaf_hash);
            self.heads.insert(account, receipt.sequence);
        }
    }

    /// What is removed is said to be, and its files are gone.
    fn verify_removed(&mut self, running: &Running, first: u64, _last: u64) {
        for sequence in [1, first - 1] {
            if sequence > 0 && sequence < first {
                let error = running.log.follow(sequence).read(1).unwrap_err();
                let removed = error.downcast::<Removed>().unwrap();
                assert_eq!((removed.sequence, removed.first), (sequence, first));
            }
        }
        if !self.disk.has_crashed() {
            let oldest = segments(&self.disk).into_keys().next().unwrap();
            assert_eq!(oldest, format!("{first:020}.seg"));
        }
    }
}

#[test]
fn whatever_is_kept_survives_any_crash_and_whatever_was_removed_stays_so() {
    let mut removed = 0;
    for seed in 0..60 {
        let mut story = Story::new(seed);
        for _ in 0..10 {
            story.run_once();
        }
        removed += story.first.1 - 1;
    }
    assert!(removed > 1_000, "{removed}");
}

/// A log with so many segments, all but the last one sealed.
fn filled(options: Options, count: usize) -> (Disk, Running) {
    let (disk, mut random) = (Disk::default(), Random(7));
    let running = Running::open(&disk, options).unwrap();
    while segments(&disk).len() < count {
        let lines = [Line::new(1, &mut random)];
        running.wait(running.append(&lines).unwrap()).unwrap();
        running.clock.set(UnixNanos(running.clock.now().0 + 1_000_000_000));
    }
    wait_until_idle(&disk);
    (disk, running)
}

#[test]
fn a_reader_of_a_removed_segment_reads_it_to_its_end_and_is_then_told() {
    let (_, running) = filled(small(2_048), 6);
    let mut slow = running.log.follow(1);
    let read = slow.read(1).unwrap();
    assert_eq!(read.first().map(|entry| entry.sequence), Some(1));
    let (from, through) = running.log.find_expired(&bytes(5_000)).unwrap();
    assert_eq!(from, 1);
    running.log.remove_through(through).unwrap();
    let mut next = slow.next();
    let error = loop {
        match slow.read(1) {
            Ok(entries) => {
                for entry in entries {
                    assert_eq!(entry.sequence, next);
                    assert!(matches!(entry.content, Content::Record(_)));
                    next += 1;
                }
            }
            Err(error) => break error,
        }
    };
    let (first, last) = running.log.bounds();
    assert_eq!(first, through + 1);
    let removed = error.downcast::<Removed>().unwrap();
    assert_eq!(removed, Removed { sequence: next, first, last });
    assert_eq!(running.log.find_time(UnixNanos(0)).unwrap(), first);
    running.close();
}

#[test]
fn what_is_too_old_and_what_is_too_much_expires_and_the_end_never_does() {
    let (_, running) = filled(small(2_048), 6);
    let log = &running.log;
    assert_eq!(log.find_expired(&Retention::default()), None);
    let everything = log.find_expired(&bytes(0)).unwrap();
    // The open segment and the newest sealed one stay.
    let mut sealed_through: Vec<u64> = Vec::new();
    for max_bytes in (0..16_000).step_by(500) {
        sealed_through.extend(log.find_expired(&bytes(max_bytes)).map(|(_, through)| through));
    }
    sealed_through.dedup();
    assert_eq!(sealed_through.len(), 4, "{sealed_through:?}");
    assert!(sealed_through.is_sorted_by(|more, less| more > less));
    let age = |seconds| {
        let max_age = Some(Duration::from_secs(seconds));
        log.find_expired(&Retention { max_age, ..Retention::default() })
    };
    assert_eq!(age(0), Some(everything));
    assert_eq!(age(100_000), None);
    // A second passes with each record, and the last one is as old as the clock's last step.
    let (_, last) = log.bounds();
    let age_of = |sequence: u64| last + 1 - sequence;
    for through in sealed_through {
        assert!(age(age_of(through)).is_none_or(|(_, other)| other < through), "{through}");
        assert_eq!(age(age_of(through) - 1), Some((1, through)));
    }
    running.close();
}

#[test]
fn strangers_displace_no_decision() {
    let stranger = |user_agent| Draft {
        account: "",
        region: "",
        call: Call { user_agent, ..Call::default() },
        event: EventDraft::RefusedCall { method: "/", code: 16, reason: "", suppressed: 0 },
    };
    let (disk, running) = filled(small(2_048), 4);
    let before = running.log.find_expired(&bytes(9_000));
    assert_eq!(before, None);
    let user_agent = "u".repeat(200);
    while segments(&disk).len() < 20 {
        running.record(stranger(&user_agent)).unwrap();
    }
    wait_until_idle(&disk);
    assert_eq!(running.log.find_expired(&bytes(9_000)), None);
    running.close();
    // The footers and the scan say the same at the next start.
    let running = Running::open(&disk, small(2_048)).unwrap();
    assert_eq!(running.log.find_expired(&bytes(9_000)), None);
    assert!(running.log.find_expired(&bytes(4_000)).is_some());
    running.close();
}

#[test]
fn a_kept_segment_that_is_missing_is_told_apart_from_a_removed_one() {
    let (disk, running) = filled(small(2_048), 6);
    let (_, through) = running.log.find_expired(&bytes(6_000)).unwrap();
    running.log.remove_through(through).unwrap();
    running.close();
    let mut files = disk.files();
    let oldest = format!("{:020}.seg", through + 1);
    files.remove(&oldest).unwrap();
    let refused = Running::open(&Disk::holding(&files), small(2_048)).unwrap_err();
    let OpenError::Recovery(RecoveryError::SegmentMissing { from, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(from, through + 1);
    files.retain(|name, _| !Segment::is_file_name(name));
    let refused = Running::open(&Disk::holding(&files), small(2_048)).unwrap_err();
    assert!(matches!(refused, OpenError::Recovery(RecoveryError::EndMissing { .. })), "{refused}");
}
