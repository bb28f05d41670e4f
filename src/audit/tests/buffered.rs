//! Answers before the disk has the records: how much of them may be lost, what readers see of them,
//! and that a log that may have lost some takes no more.

use std::time::Duration;

use crate::{
    audit::{
        buffer::{Durability, NotWritten, Receipt},
        log::{AuditCondition, OpenError},
        record,
        recovery::{self, RecoveryError},
        segment::{Content, Cursor},
        succession::{self, Ending, Head},
        testing::{
            LOG_ID, Line, Random, Running,
            disk::{Crash, Disk, Plan},
            small, stop,
        },
    },
    domain::time::UnixNanos,
};

/// How long what was answered waits for the disk, at most.
const UNSYNCED_AT_MOST: Duration = Duration::from_millis(40);

/// One run of a log that doesn't wait for the disk, and what it told before it crashed.
struct Story {
    random: Random,
    disk: Disk,
    /// What was answered, and when.
    answered: Vec<(UnixNanos, Receipt)>,
    /// Through where the log said that all is on disk.
    synced: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let (random, disk) = (Random(seed), Disk::default());
        Self { random, disk, answered: Vec::new(), synced: 0 }
    }

    /// Runs until a crash that is planned, or until it has had enough.
    fn run(&mut self, crash: Crash) -> Disk {
        let planned = (!self.random.one_in(5)).then(|| 1 + self.random.below(160) as u64);
        self.disk.plan(Plan { crash: planned, ..Plan::default() });
        let running = Running::open(&self.disk, small(2_048 << self.random.below(4))).unwrap();
        self.record(&running, 1);
        running.log.answer_before_sync().unwrap();
        for _ in 0..self.random.below(60) {
            let moved = Duration::from_millis(self.random.below(12) as u64);
            let moved = i64::try_from(moved.as_nanos()).unwrap();
            running.clock.set(UnixNanos(running.clock.now().0 + moved));
            let count = 1 + self.random.below(5) as u64;
            self.record(&running, count);
            look_at(&running);
        }
        if self.random.one_in(3) {
            running.record(stop()).unwrap();
            running.close();
            return self.disk.after_crash(crash, &mut self.random);
        }
        let disk = self.disk.after_crash(crash, &mut self.random);
        running.close();
        disk
    }

    fn record(&mut self, running: &Running, count: u64) {
        let lines: Vec<_> = (0..count).map(|place| Line::new(place, &mut self.random)).collect();
        let receipts = running.wait(running.append(&lines).unwrap()).unwrap();
        let synced = running.log.bounds().1;
        if self.disk.has_crashed() {
            return;
        }
        let now = running.clock.now();
        self.answered.extend(receipts.iter().map(|receipt| (now, receipt)));
        self.synced = synced;
        for (time, receipt) in &self.answered {
            if receipt.durability == Durability::OnDisk {
                assert!(receipt.sequence <= synced);
            }
            if receipt.sequence > synced {
                assert!(
                    now.since(*time) < UNSYNCED_AT_MOST,
                    "{receipt:?} was to be on disk by now"
                );
            }
        }
    }

    /// What is on a disk after the crash is what was promised.
    fn verify(&mut self, disk: &Disk, crash: Crash) {
        if !has_ended(disk) {
            // Then nothing is missing, and it goes on.
            let running = Running::open(disk, small(1 << 20)).unwrap();
            let hashes: Vec<_> =
                running.records().iter().map(|bytes| record::leaf_hash(bytes)).collect();
            running.close();
            return self.compare(&hashes, None);
        }
        let planned = 1 + self.random.below(30) as u64;
        disk.plan(Plan { crash: Some(planned), ..Plan::default() });
        succession::seal(disk, LOG_ID).unwrap();
        let disk = disk.after_crash(crash, &mut self.random);
        succession::seal(&disk, LOG_ID).unwrap();
        let refused = Running::open(&disk, small(1 << 20)).unwrap_err();
        let end_missing = RecoveryError::EndMissing { from: 0 };
        let OpenError::Recovery(refused) = refused else { panic!("{refused}") };
        assert_eq!(std::mem::discriminant(&refused), std::mem::discriminant(&end_missing));
        let hashes = read(&disk);
        let (sequence, leaf_hash) = (hashes.len() as u64, hashes.last().copied());
        let head = succession::head(&disk, LOG_ID).unwrap();
        assert_eq!(head, Head { log_id: LOG_ID, sequence, leaf_hash });
        assert!(self.synced <= sequence, "what was on disk is there");
        self.compare(&hashes, Some(crash));
    }

    fn compare(&self, hashes: &[[u8; 32]], ended: Option<Crash>) {
        for (_, receipt) in &self.answered {
            if let Some(hash) = hashes.get(usize::try_from(receipt.sequence - 1).unwrap()) {
                assert_eq!(*hash, receipt.leaf_hash, "record {} is another", receipt.sequence);
            } else {
                assert_eq!(ended, Some(Crash::PowerLost), "{receipt:?} is missing");
                assert_eq!(receipt.durability, Durability::Buffered, "{receipt:?} is missing");
                assert!(receipt.sequence > self.synced);
            }
        }
    }
}

fn has_ended(disk: &Disk) -> bool {
    succession::ending(disk).unwrap() == Some(Ending::Buffered)
}

/// Readers see what is on disk, and all of it.
fn look_at(running: &Running) {
    let before = running.log.bounds().1;
    let read = running.records().len() as u64;
    let after = running.log.bounds().1;
    assert!((before..=after).contains(&read), "{read} of {before} to {after}");
}

/// The leaf hashes of a log that has ended and is sealed.
fn read(disk: &Disk) -> Vec<[u8; 32]> {
    let recovered = recovery::recover_ended(disk, LOG_ID, recovery::OnLoss::Refuse).unwrap();
    assert!(recovered.open.is_none() && recovered.unsealed.is_empty());
    let damage = recovered.damage;
    assert!(damage.iter().all(|damage| damage.records.is_none()), "{damage:?}");
    let mut entries = Vec::new();
    for segment in recovered.sealed {
        let mut cursor = Cursor::new(segment.clone(), segment.first_sequence());
        while cursor.next() <= segment.last() {
            cursor.read(1 << 20, &mut entries).unwrap();
        }
    }
    let hash = |content: &Content| match content {
        Content::Record(bytes) => record::leaf_hash(bytes),
        Content::Damaged { .. } => panic!("{content:?}"),
    };
    entries.iter().map(|entry| hash(&entry.content)).collect()
}

#[test]
fn after_any_crash_only_answers_of_the_last_moment_are_missing_and_the_log_takes_no_more() {
    let mut ended = 0;
    for seed in 0..150 {
        let crash = if seed % 2 == 0 { Crash::Killed } else { Crash::PowerLost };
        let mut story = Story::new(seed);
        let disk = story.run(crash);
        ended += usize::from(has_ended(&disk));
        story.verify(&disk, crash);
    }
    assert!((10..150).contains(&ended), "{ended}");
}

#[test]
fn what_is_answered_before_it_is_on_disk_is_not_shown_before() {
    let (disk, mut random) = (Disk::default(), Random(1));
    let running = Running::open(&disk, small(1 << 20)).unwrap();
    running.wait(running.append(&[Line::new(1, &mut random)]).unwrap()).unwrap();
    running.log.answer_before_sync().unwrap();
    let mut synced = running.log.synced();
    disk.hold_syncs();
    let receipts = running.wait(running.append(&[Line::new(2, &mut random)]).unwrap()).unwrap();
    let receipt = receipts.iter().next().unwrap();
    assert_eq!((receipt.sequence, receipt.durability), (2, Durability::Buffered));
    assert_eq!((running.log.bounds(), running.records().len()), ((1, 1), 1));
    disk.release_syncs();
    // Though nothing more is recorded.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(synced.wait_for(|last| *last == 2)).unwrap();
    assert_eq!(running.records().len(), 2);
    running.close();
    assert!(!has_ended(&disk));
}

#[test]
fn answers_go_on_while_a_sync_takes_its_time_but_only_for_a_moment() {
    let disk = Disk::default();
    let running = Running::open(&disk, small(1 << 20)).unwrap();
    running.log.answer_before_sync().unwrap();
    let start = running.clock.now();
    let after = |millis: i64| running.clock.set(UnixNanos(start.0 + millis * 1_000_000));
    let append = |number| running.append(&[Line::new(number, &mut Random(number))]).unwrap();
    disk.hold_syncs();
    for (millis, number) in [(0, 1), (20, 2), (39, 3)] {
        after(millis);
        let receipts = running.wait(append(number)).unwrap();
        assert_eq!(receipts.iter().next().unwrap().durability, Durability::Buffered);
        assert_eq!(running.log.bounds().1, 0);
    }
    disk.wait_for_held_sync();
    after(40);
    let waiting = append(4);
    after(2_040);
    while *running.log.condition().borrow() == AuditCondition::Working {
        running.log.check_for_stall();
        std::thread::yield_now();
    }
    assert_eq!(running.wait(waiting).unwrap_err(), NotWritten, "it waits for the disk");
    let mut synced = running.log.synced();
    disk.release_syncs();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(synced.wait_for(|last| *last == 4)).unwrap();
    assert_eq!(running.records().len(), 4);
    running.close();
    assert!(!has_ended(&disk));
}

#[test]
fn a_sync_that_fails_later_closes_the_log_and_ends_it() {
    let mut failed = 0;
    // Which sync is the log's own and which one the keeper's is a matter of chance.
    for number in 1..=8 {
        let (disk, mut random) = (Disk::default(), Random(number));
        let running = Running::open(&disk, small(1 << 20)).unwrap();
        running.log.answer_before_sync().unwrap();
        disk.plan(Plan { fail_sync: Some(number), ..Plan::default() });
        let lines = [Line::new(1, &mut random)];
        let receipts = running.wait(running.append(&lines).unwrap()).unwrap();
        assert_eq!(receipts.iter().next().unwrap().durability, Durability::Buffered);
        let (condition, synced) = (running.log.condition(), running.log.synced());
        running.close();
        let has_failed = *condition.borrow() != AuditCondition::Working;
        let has_ended = has_ended(&disk);
        // Where it failed to say that all is on disk, all is.
        assert!(has_ended == has_failed || has_failed && *synced.borrow() == 1, "{number}");
        failed += usize::from(has_ended);
    }
    assert!(failed > 0);
}
