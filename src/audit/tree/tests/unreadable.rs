//! A disk that fails while everything is read again: a pass comes to its end, and says nothing false.

use std::collections::BTreeSet;

use super::scrubbing::Disks;
use crate::audit::{
    log::{AuditLog, OpenError},
    recovery::OnLoss,
    scrub::{Finding, Position, Scrub},
    segment::Segment,
    testing::{Line, Random, disk::Plan, files::segments},
    tree::hash,
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
    let (disks, mut random) = (Disks::default(), Random(1));
    let running = disks.open(OnLoss::Refuse).unwrap();
    // As a seal does.
    disks.segments.plan(Plan { fail_set_length: true, ..Plan::default() });
    for number in 0..120 {
        running.wait(running.append(&[Line::new(number, &mut random)]).unwrap()).unwrap();
    }
    let log = running.log.clone();
    running.close();
    let segments: BTreeSet<_> = (1..=120)
        .map(|record| log.segment_of(record).unwrap())
        .map(|segment| (segment.first_sequence(), segment.is_sealed()))
        .collect();
    assert!(segments.len() > 3 && segments.iter().all(|(_, is_sealed)| !is_sealed));
    let mut scrub = Scrub::begin(&log, Position::BEGIN);
    assert_eq!(finish(&mut scrub, &log), []);
    assert_eq!(scrub.position().record, 121);
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

#[test]
fn a_place_that_can_not_be_read_is_named_and_the_pass_goes_on_behind_its_file() {
    let (disks, _) = Disks::filled(200);
    let files = segments(&disks.segments);
    let names: Vec<_> = files.keys().cloned().collect();
    let (altered, _) = disks.alter_record(&names[4]);
    let running = disks.open(OnLoss::Refuse).unwrap();
    let sealed = running.log.segment_of(altered).unwrap();
    assert!(sealed.is_sealed());
    let segment = running.log.segment_of(Segment::first_of_name(&names[2]).unwrap()).unwrap();
    let (first, last, data_end) = (segment.first_sequence(), segment.last(), segment.data_end());
    let first_frame = segment.locate(first).offset;
    // In its header, between its records, and in its footer.
    for (place, told_at, passed_over) in
        [(3, 0, None), (2_000, first_frame, Some((first, last))), (data_end + 1, data_end, None)]
    {
        disks.segments.refuse_reads(&names[2], place..place + 1);
        let mut scrub = Scrub::begin(&running.log, Position::BEGIN);
        let findings = finish(&mut scrub, &running.log);
        let (unread, others): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|one| one.file == names[2]);
        assert!(!unread.is_empty());
        for unread in unread {
            assert_eq!((unread.offset, unread.passed_over), (told_at, passed_over));
            assert_eq!(unread.what, "it can't be read: the disk is broken");
        }
        assert_eq!(scrub.position().record, 201);
        let told = format!("record {altered} or its hash: they differ");
        assert!(others.iter().any(|one| one.what == told), "{others:?}");
        disks.segments.allow_reads();
    }
    running.close();
}

#[test]
fn records_are_read_also_while_their_hashes_can_not_be() {
    let (disks, hashes) = Disks::filled(120);
    let running = disks.open(OnLoss::Refuse).unwrap();
    disks.tree.refuse_reads("leaves-00000000000000000000", 0..36 * 120);
    let records = running.records();
    let found: Vec<_> = records.iter().map(|bytes| hash::leaf(bytes)).collect();
    assert_eq!(found, hashes);
    running.close();
}

#[test]
fn a_tree_that_can_not_be_read_at_the_start_is_not_said_to_be_of_another_log() {
    let (disks, _) = Disks::filled(300);
    disks.tree.refuse_reads("leaves-00000000000000000000", 0..36 * 300);
    let error = disks.open(OnLoss::StandIn).unwrap_err();
    assert!(matches!(error, OpenError::Io(_)), "{error:?}");
}
