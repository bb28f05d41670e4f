//! The buffer and the bells: who is refused, who is woken, and by whom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    audit::{
        buffer::{
            AppendError, Buffer, Durability, Found, Lanes, NotWritten, Taken, Ticket, Written,
        },
        footer::{HEADER_BYTES, Header},
        frame::{self, Kind, MARK_BYTES, Read},
        log::{AuditCondition, AuditLog, Opened, Options, Parts, RecordError},
        record::MAX_RECORD_BYTES,
        testing::{LOG_ID, Line, Random, Running, clock, disk::Disk, overlapping, small, space},
    },
    domain::time::UnixNanos,
};

const NOW: fn() -> Duration = || Duration::ZERO;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// What a batch of so many records comes to.
fn written(first_sequence: u64, count: usize) -> Written {
    let leaf_hashes = vec![[7; 32]; count].into();
    Written { first_sequence, durability: Durability::OnDisk, leaf_hashes }
}

/// What a buffer holds, which is something.
fn take(buffer: &Buffer, mut emptied: Vec<u8>) -> Taken {
    match buffer.take(&mut emptied, None) {
        Found::Records(taken) => taken,
        other => panic!("{other:?}"),
    }
}

/// The places that a ticket's records got, when its batch is finished.
fn places(runtime: &tokio::runtime::Runtime, ticket: Ticket) -> Vec<u64> {
    let receipts = runtime.block_on(ticket.wait(0)).unwrap();
    receipts.iter().map(|receipt| receipt.sequence).collect()
}

#[test]
fn records_of_one_batch_are_taken_together_in_order() {
    let (lanes, runtime) = (Lanes::new(1), runtime());
    let buffer = Buffer::new(1_000, &lanes);
    assert!(buffer.is_empty());
    let first = buffer.append(b"aabbb", &[2, 5], NOW).unwrap();
    let second = buffer.append(b"c", &[1], NOW).unwrap();
    let none = buffer.append(b"", &[], NOW).unwrap();
    let taken = take(&buffer, b"what was there before".to_vec());
    assert!(buffer.is_empty());
    assert_eq!(taken.records, 3);
    let mut bytes = taken.bytes.clone();
    let mut rest = &mut bytes[MARK_BYTES..];
    for expected in [&b"aa"[..], b"bbb", b"c"] {
        let (_, payload, others) = frame::split_mut(rest).unwrap();
        assert_eq!(payload, expected);
        rest = others;
    }
    assert!(rest.is_empty());
    taken.batch.finish(Ok(written(41, 3)));
    // The first word counts.
    taken.batch.finish(Err(NotWritten));
    assert_eq!(places(&runtime, first), [41, 42]);
    assert_eq!(places(&runtime, second), [43]);
    assert_eq!(places(&runtime, none), [0; 0]);
}

#[test]
fn what_does_not_fit_is_refused_whole_and_the_rest_goes_on() {
    let buffer = Buffer::new(MARK_BYTES + 2 * (frame::HEADER_BYTES + 10), &Lanes::new(1));
    buffer.append(&[1; 10], &[10], NOW).unwrap();
    assert_eq!(buffer.append(&[2; 20], &[10, 20], NOW).unwrap_err(), AppendError::Full);
    assert_eq!(buffer.append(&[2; 11], &[11], NOW).unwrap_err(), AppendError::Full);
    buffer.append(&[3; 10], &[10], NOW).unwrap();
    assert_eq!(buffer.append(&[4; 1], &[1], NOW).unwrap_err(), AppendError::Full);
    assert_eq!(take(&buffer, Vec::new()).records, 2);
    buffer.append(&[5; 10], &[10], NOW).unwrap();
    assert_eq!(take(&buffer, Vec::new()).records, 1);
}

#[test]
fn a_record_that_could_not_be_read_back_is_refused() {
    let buffer = Buffer::new(1 << 20, &Lanes::new(1));
    let (most, long) = (MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1);
    buffer.append(&vec![0; 2 * most], &[most, 2 * most], NOW).unwrap();
    let refused = buffer.append(&vec![0; most + long], &[most, most + long], NOW);
    assert_eq!(refused.unwrap_err(), AppendError::TooLong);
    assert_eq!(take(&buffer, Vec::new()).records, 2);
}

#[test]
fn a_closed_buffer_gives_what_is_there_and_then_ends() {
    let buffer = Buffer::new(1_000, &Lanes::new(1));
    buffer.append(b"a", &[1], NOW).unwrap();
    buffer.close();
    assert_eq!(buffer.append(b"b", &[1], NOW).unwrap_err(), AppendError::Closed);
    assert_eq!(take(&buffer, Vec::new()).records, 1);
    assert!(matches!(buffer.take(&mut Vec::new(), None), Found::Closed));
    let waiting = Arc::new(Buffer::new(1_000, &Lanes::new(1)));
    let taker = thread::spawn({
        let buffer = Arc::clone(&waiting);
        move || matches!(buffer.take(&mut Vec::new(), None), Found::Closed)
    });
    waiting.close();
    assert!(taker.join().unwrap(), "closing wakes the writer");
}

fn open_with(disk: &Disk, lanes: usize, options: Options) -> (Opened, crate::clock::Clock) {
    let clock = clock();
    let (volume, space) = (Arc::new(disk.clone()), space());
    let parts = Parts {
        volume,
        log_id: LOG_ID,
        folder: "audit".to_owned(),
        evidence: None,
        options,
        lanes,
        space,
        clock: clock.clone(),
    };
    (AuditLog::open(parts).unwrap(), clock)
}

/// Appends on a runtime of its own; tells the places that it got.
fn append_on(log: AuditLog, lane: usize, count: u64) -> Vec<u64> {
    let served = log.clone().serve_lane(lane);
    let appended = async {
        let mut places = Vec::new();
        let mut random = Random(lane as u64);
        for number in 0..count {
            let lines = [Line::new(number, &mut random), Line::new(number, &mut random)];
            let wait = log.append(lane, lines.iter().map(Line::draft)).unwrap();
            // Who gives up disturbs nobody.
            drop(log.append(lane, [lines[0].draft()]).unwrap());
            let mut abandoned = Box::pin(log.append(lane, [lines[1].draft()]).unwrap());
            tokio::select! { biased; _ = &mut abandoned => {} () = std::future::ready(()) => {} }
            drop(abandoned);
            places.extend(wait.await.unwrap().iter().map(|receipt| receipt.sequence));
        }
        places
    };
    runtime().block_on(async {
        tokio::select! { places = appended => places, () = served => vec![] }
    })
}

#[test]
fn waiters_on_all_runtimes_are_woken_and_none_gets_the_place_of_another() {
    const LANES: usize = 4;
    const COUNT: u64 = 60;
    let disk = Disk::default();
    let (opened, _) = open_with(&disk, LANES, small(16_384));
    let threads: Vec<_> = (0..LANES)
        .map(|lane| {
            let log = opened.log.clone();
            thread::spawn(move || append_on(log, lane, COUNT))
        })
        .collect();
    let mut places: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    places.sort_unstable();
    let count = places.len();
    places.dedup();
    assert_eq!((count, places.len()), (480, 480));
    opened.log.close();
    opened.threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(opened.log.bounds(), (1, 960), "abandoned records are recorded");
    let running = Running::open(&disk, small(16_384)).unwrap();
    assert_eq!(running.records().len(), 960);
    running.close();
}

#[test]
fn many_waiters_of_one_runtime_are_all_woken() {
    let disk = Disk::default();
    let (opened, _) = open_with(&disk, 1, small(16_384));
    runtime().block_on(async {
        tokio::spawn(opened.log.clone().serve_lane(0));
        let tasks: Vec<_> = (0..500)
            .map(|number| {
                let log = opened.log.clone();
                tokio::spawn(async move {
                    let line = Line::new(number, &mut Random(number));
                    log.append(0, [line.draft()]).unwrap().await.unwrap().iter().count()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 1);
        }
    });
    opened.log.close();
    opened.threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_disk_that_stalls_is_told_to_all_who_wait_and_forgiven_when_it_answers() {
    let disk = Disk::default();
    let running = Running::open(&disk, small(1 << 20)).unwrap();
    let line = |number| [Line::new(number, &mut Random(number))];
    running.wait(running.append(&line(1)).unwrap()).unwrap();
    let start = running.clock.now();
    let after = |millis: i64| running.clock.set(UnixNanos(start.0 + millis * 1_000_000));
    disk.hold_syncs();
    let at_disk = running.append(&line(2)).unwrap();
    disk.wait_for_held_sync();
    after(1_999);
    running.log.check_for_stall();
    assert_eq!(*running.log.condition().borrow(), AuditCondition::Working);
    let waiting = running.append(&line(3)).unwrap();
    after(2_000);
    running.log.check_for_stall();
    assert_eq!(*running.log.condition().borrow(), AuditCondition::Stalled);
    assert_eq!(running.append(&line(4)).unwrap_err(), RecordError::Unavailable);
    assert_eq!(running.wait(at_disk).unwrap_err(), NotWritten);
    assert_eq!(running.wait(waiting).unwrap_err(), NotWritten);
    let mut condition = running.log.condition();
    disk.release_syncs();
    runtime().block_on(condition.wait_for(|now| *now == AuditCondition::Working)).unwrap();
    running.wait(running.append(&line(5)).unwrap()).unwrap();
    // Those who were told that they failed have their records all the same.
    assert_eq!(running.records().len(), 4);
    after(10_000);
    running.log.check_for_stall();
    assert_eq!(*running.log.condition().borrow(), AuditCondition::Working, "nothing waits");
    running.close();
}

#[test]
fn a_stall_that_is_looked_for_all_the_time_never_outlives_the_disks_answer() {
    let disk = Disk::default();
    let options = Options { stall: Duration::ZERO, ..small(1 << 20) };
    let running = Running::open(&disk, options).unwrap();
    let stopping = Arc::new(AtomicBool::new(false));
    let checkers: Vec<_> = (0..3)
        .map(|_| {
            let (log, stopping) = (running.log.clone(), Arc::clone(&stopping));
            thread::spawn(move || {
                while !stopping.load(Ordering::Relaxed) {
                    log.check_for_stall();
                }
            })
        })
        .collect();
    let mut random = Random(5);
    for number in 0..2_000 {
        // Whatever is looked for, the log works again when the disk has answered.
        let mut condition = running.log.condition();
        runtime().block_on(condition.wait_for(|now| *now == AuditCondition::Working)).unwrap();
        if let Ok(wait) = running.append(&[Line::new(number, &mut random)]) {
            let _ = running.wait(wait);
        }
    }
    stopping.store(true, Ordering::Relaxed);
    for checker in checkers {
        checker.join().unwrap();
    }
    running.close();
}

#[test]
fn a_batch_is_written_while_the_one_before_it_is_synced_and_answered_when_it_is_synced_too() {
    let disk = Disk::default();
    let running = Running::open(&disk, overlapping(1 << 20)).unwrap();
    let append = |method: &str| {
        let (method, user_agent) = (method.to_owned(), String::new());
        running.append(&[Line { account: "", method, user_agent }]).unwrap()
    };
    disk.hold_syncs();
    let first = append("/the-first-one");
    disk.wait_for_held_sync();
    let second = append("/the-second-one");
    let is_written = |method: &[u8]| {
        let files = disk.files();
        files.values().any(|bytes| bytes.windows(method.len()).any(|window| window == method))
    };
    while !is_written(b"/the-second-one") {
        thread::yield_now();
    }
    // Of neither it is said that it is on disk.
    assert_eq!(running.log.bounds().1, 0);
    disk.release_syncs();
    for (wait, sequence) in [(first, 1), (second, 2)] {
        let receipt = running.wait(wait).unwrap().iter().next().unwrap();
        assert_eq!((receipt.sequence, receipt.durability), (sequence, Durability::OnDisk));
    }
    running.close();
    // The second one's mark was made when the first one wasn't on disk yet, and says that it is.
    let files = disk.files();
    let bytes = files.values().find(|bytes| bytes.starts_with(b"AAPAUDIT")).unwrap();
    let header = Header::decode(bytes).unwrap();
    let (mut rest, mut frames) = (&bytes[HEADER_BYTES..], Vec::new());
    while let Read::Frame { kind, payload } = frame::read(header.salt, rest) {
        rest = &rest[frame::HEADER_BYTES + payload.len()..];
        let marked = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        frames.push((kind, marked.filter(|_| kind == Kind::Mark)));
    }
    let (record, mark) = ((Kind::Record, None), |next| (Kind::Mark, Some(next)));
    assert_eq!(frames, [mark(1), record, mark(2), record, mark(3)]);
}

#[test]
fn closing_writes_what_was_appended_and_refuses_the_rest() {
    let disk = Disk::default();
    let running = Running::open(&disk, small(1 << 20)).unwrap();
    disk.hold_syncs();
    let mut random = Random(3);
    let mut line = || [Line::new(1, &mut random)];
    let waits: Vec<_> = (0..5).map(|_| running.append(&line()).unwrap()).collect();
    running.log.close();
    assert_eq!(running.append(&line()).unwrap_err(), RecordError::Unavailable);
    disk.release_syncs();
    for wait in waits {
        assert_eq!(running.wait(wait).unwrap().iter().count(), 1);
    }
    running.close();
    let running = Running::open(&disk, small(1 << 20)).unwrap();
    assert_eq!(running.records().len(), 5);
    running.close();
}

#[test]
fn a_full_buffer_refuses_before_a_place_is_given() {
    let disk = Disk::default();
    let options = Options { buffer_bytes: 1_024, ..small(1 << 20) };
    let running = Running::open(&disk, options).unwrap();
    disk.hold_syncs();
    let mut random = Random(4);
    let mut waits = Vec::new();
    let mut refused = 0;
    for number in 0..40 {
        match running.append(&[Line::new(number, &mut random)]) {
            Ok(wait) => waits.push(wait),
            Err(error) => {
                assert_eq!(error, RecordError::Busy);
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused}");
    disk.release_syncs();
    let count = waits.len() as u64;
    for wait in waits {
        running.wait(wait).unwrap();
    }
    assert_eq!(running.log.bounds(), (1, count));
    running.close();
}
