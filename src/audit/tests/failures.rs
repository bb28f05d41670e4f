//! A disk that fails once: nobody is told that something is on disk which is not, nothing is
//! recorded from then on, and a restart finds all that was acknowledged.

use crate::audit::{
    log::{AuditCondition, Options, RecordError},
    testing::{
        Line, Random, Running,
        disk::{Crash, Disk, Plan},
        model::Model,
        overlapping, small,
    },
};

/// How many records each story tries to write; enough for several segments.
const RECORDS: u64 = 40;

/// Tells the same story of a log that syncs by itself, and of one that writes on meanwhile.
fn tell(plan: Plan, random: &mut Random) {
    tell_with(plan, small(2_048), random);
    tell_with(plan, overlapping(2_048), random);
}

/// Runs a log on a disk with a plan, and then anew on what is left after a crash.
fn tell_with(plan: Plan, options: Options, random: &mut Random) {
    let disk = Disk::default();
    disk.plan(plan);
    let mut model = Model::default();
    if let Ok(running) = Running::open(&disk, options) {
        append_all(&running, &mut model, random);
        running.close();
    }
    let crash = if random.one_in(2) { Crash::Killed } else { Crash::PowerLost };
    let disk = disk.after_crash(crash, random);
    let running = Running::open(&disk, small(2_048)).unwrap();
    model.verify(&running);
    let lines = [Line::new(RECORDS + 1, random)];
    model.acknowledge(&lines, &running.wait(running.append(&lines).unwrap()).unwrap());
    model.verify(&running);
    running.close();
}

fn append_all(running: &Running, model: &mut Model, random: &mut Random) {
    let mut appended = 0;
    while appended < RECORDS {
        // Several that wait at the same time, of which some may share a batch.
        let batches: Vec<_> = (0..3).map(|place| [Line::new(appended + place, random)]).collect();
        appended += 3;
        let waits = batches.iter().map(|lines| running.append(lines));
        for (lines, wait) in batches.iter().zip(waits.collect::<Vec<_>>()) {
            match wait.map(|wait| running.wait(wait)) {
                Ok(Ok(receipts)) => model.acknowledge(lines, &receipts),
                Ok(Err(_)) => model.doubt(lines),
                // It was not taken, and is not there.
                Err(RecordError::Unavailable) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let acknowledged = model.last();
    if acknowledged < appended {
        verify_failed(running, acknowledged);
    }
}

/// The log says what failed, takes nothing more, and serves what was acknowledged.
fn verify_failed(running: &Running, acknowledged: u64) {
    let condition = running.log.condition().borrow().clone();
    let AuditCondition::Failed { reason } = condition else { panic!("{condition:?}") };
    assert!(reason.ends_with("the disk is broken"), "{reason}");
    let refused = running.append(&[Line::new(0, &mut Random(0))]).unwrap_err();
    assert_eq!(refused, RecordError::Unavailable);
    assert_eq!(running.log.bounds(), (1, acknowledged));
    assert_eq!(running.records().len() as u64, acknowledged);
}

#[test]
fn a_write_that_fails_costs_nothing_that_was_acknowledged() {
    let mut random = Random(1);
    for number in 1..=110 {
        let through = random.below(700);
        tell(Plan { fail_write: Some((number, through)), ..Plan::default() }, &mut random);
    }
}

#[test]
fn a_sync_that_fails_costs_nothing_that_was_acknowledged() {
    let mut random = Random(2);
    for number in 1..=110 {
        tell(Plan { fail_sync: Some(number), ..Plan::default() }, &mut random);
    }
}

#[test]
fn a_write_and_a_later_sync_that_fail_are_no_worse_than_one() {
    let mut random = Random(3);
    for _ in 0..60 {
        let fail_write = Some((1 + random.below(60) as u64, random.below(700)));
        let fail_sync = Some(1 + random.below(60) as u64);
        tell(Plan { fail_write, fail_sync, ..Plan::default() }, &mut random);
    }
}

#[test]
fn segments_that_begin_faster_than_files_are_filled_hold_all_their_records() {
    for seed in 0..8 {
        let (disk, mut model, mut random) = (Disk::default(), Model::default(), Random(seed));
        // Each batch has a segment of its own.
        let running = Running::open(&disk, small(256)).unwrap();
        for number in 0..400 {
            let lines = [Line::new(number, &mut random)];
            model.acknowledge(&lines, &running.wait(running.append(&lines).unwrap()).unwrap());
        }
        let disk = disk.after_crash(Crash::Killed, &mut random);
        running.close();
        let running = Running::open(&disk, small(256)).unwrap();
        model.verify(&running);
        running.close();
    }
}
