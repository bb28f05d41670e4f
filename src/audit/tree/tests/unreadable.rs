//! A disk that fails while everything is read again: a pass comes to its end, and says nothing false.

use super::scrubbing::Disks;
use crate::audit::{
    log::AuditLog,
    recovery::OnLoss,
    scrub::{Finding, Position, Scrub},
    testing::{Line, Random, disk::Plan},
};

/// More steps than any of these passes takes.
const MOST_STEPS: usize = 10_000;

/// What a pass finds from where it is.
#[track_caller]
fn finish(scrub: &mut Scrub, log: &AuditLog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for _ in 0..MOST_STEPS {
        let step = scrub.step(log, 1).unwrap();
        findings.extend(step.findings);
        if step.is_done {
            return findings;
        }
    }
    panic!("it does not move on from {:?}", scrub.position());
}

#[test]
fn a_full_segment_that_could_not_be_sealed_does_not_stop_a_pass() {
    let mut unsealed = 0;
    for number in 20..60 {
        let (disks, mut random) = (Disks::default(), Random(number));
        let running = disks.open(OnLoss::Refuse).unwrap();
        disks.segments.plan(Plan { fail_sync: Some(number), ..Plan::default() });
        let mut record = |number| {
            let wait = running.append(&[Line::new(number, &mut random)]);
            wait.is_ok_and(|wait| running.wait(wait).is_ok())
        };
        let is_working = (0..120).all(&mut record);
        let log = running.log.clone();
        running.close();
        let (_, last) = log.bounds();
        let newest = log.segment_of(last).unwrap().first_sequence();
        // Otherwise something else has failed.
        if is_working && (1..newest).any(|record| !log.segment_of(record).unwrap().is_sealed()) {
            unsealed += 1;
            let mut scrub = Scrub::begin(&log, Position::BEGIN);
            assert_eq!(finish(&mut scrub, &log), []);
            assert_eq!(scrub.position().record, last + 1);
        }
    }
    assert!(unsealed > 0);
}

#[test]
fn a_tree_that_can_not_be_read_for_a_while_makes_nothing_seem_damaged() {
    let leaves = "leaves-00000000000000000000";
    let (disks, _) = Disks::filled(600);
    let running = disks.open(OnLoss::Refuse).unwrap();
    for max_bytes in [1, 8_000, 1 << 20] {
        disks.tree.refuse_reads(leaves, 36 * 300..36 * 301);
        let mut scrub = Scrub::begin(&running.log, Position::BEGIN);
        let error = (0..MOST_STEPS).find_map(|_| scrub.step(&running.log, max_bytes).err());
        assert!(error.is_some());
        let position = scrub.position();
        assert!(position.record <= 300, "{position:?}");
        scrub.step(&running.log, max_bytes).unwrap_err();
        assert_eq!(scrub.position(), position, "it waits there");
        disks.tree.allow_reads();
        assert_eq!(finish(&mut scrub, &running.log), []);
        assert_eq!(scrub.position().record, 601);
    }
    running.close();
}
