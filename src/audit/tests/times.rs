//! A time as a place in the log.

use crate::{
    audit::testing::{
        Line, Random, Running, clock,
        disk::Disk,
        files::{frames, segments},
        small,
    },
    domain::time::UnixNanos,
};

const SEGMENT_BYTES: u64 = 64 * 1_024;
const RECORDS: u64 = 2_000;
const BEGIN: i64 = 1_800_000_000_000_000_000;

/// A log with a clock that goes on every third record by 10 ns, and goes backwards once.
fn filled(disk: &Disk) -> (Running, Vec<i64>) {
    let (clock, mut random, mut times) = (clock(), Random(1), Vec::new());
    let running = Running::open_at(disk, small(SEGMENT_BYTES), clock.clone()).unwrap();
    let mut now = BEGIN;
    for number in 1..=RECORDS {
        if number % 3 == 0 {
            now += 10;
        }
        let told = if number == 1_000 { BEGIN } else { now };
        clock.set(UnixNanos(told));
        running.record(Line::new(number, &mut random).draft()).unwrap();
        times.push(now);
    }
    (running, times)
}

/// The place that a time has by the list of all times.
fn expected(times: &[i64], time: i64) -> u64 {
    times.partition_point(|one| *one < time) as u64 + 1
}

fn assert_found(running: &Running, times: &[i64]) {
    let mut wanted = vec![i64::MIN, 0, BEGIN, i64::MAX];
    for time in times.iter().step_by(7) {
        wanted.extend([time - 1, *time, time + 1]);
    }
    for time in wanted {
        let found = running.log.find_time(UnixNanos(time)).unwrap();
        assert_eq!(found, expected(times, time), "{time}");
    }
}

#[test]
fn a_time_is_where_the_first_record_of_it_or_later_is() {
    let disk = Disk::default();
    let (running, times) = filled(&disk);
    assert!(segments(&disk).len() > 3, "it went over several segments");
    assert_found(&running, &times);
    running.close();
    // As the footers and the scan of the last segment tell it.
    let running = Running::open(&disk, small(SEGMENT_BYTES)).unwrap();
    assert_found(&running, &times);
    running.close();
}

#[test]
fn in_an_empty_log_every_time_is_its_end() {
    let running = Running::open(&Disk::default(), small(SEGMENT_BYTES)).unwrap();
    for time in [i64::MIN, BEGIN, i64::MAX] {
        assert_eq!(running.log.find_time(UnixNanos(time)).unwrap(), 1);
    }
    running.close();
}

#[test]
fn a_damaged_record_before_a_time_counts_as_of_that_time() {
    let disk = Disk::default();
    let (running, times) = filled(&disk);
    running.close();
    let damaged = 700;
    for (name, bytes) in segments(&disk) {
        for frame in frames(&bytes).iter().filter(|frame| frame.sequence == damaged) {
            disk.alter(&name, |bytes| bytes[frame.bytes.start + 20] ^= 1);
        }
    }
    let running = Running::open(&disk, small(SEGMENT_BYTES)).unwrap();
    // 699 begins a new time; 700 and 701 have the same.
    let time = times[698];
    assert_eq!((expected(&times, time), expected(&times, time + 1)), (699, 702));
    assert_eq!(running.log.find_time(UnixNanos(time)).unwrap(), 699);
    assert_eq!(running.log.find_time(UnixNanos(time + 1)).unwrap(), 702);
    for behind in [701, 703] {
        let all_before = times[behind - 1] + 1;
        let found = running.log.find_time(UnixNanos(all_before)).unwrap();
        assert!(found <= expected(&times, all_before), "nothing is left out");
    }
    running.close();
}
