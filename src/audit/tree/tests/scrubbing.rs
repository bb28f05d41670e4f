//! What rots unread is found by reading everything again, a piece at a time, whatever happens to the
//! log meanwhile; and a log is served over files that are gone, if it is to be.

use std::{collections::BTreeSet, sync::Arc};

use crate::audit::{
    footer::HEADER_BYTES,
    frame::{self, Kind},
    inspection,
    log::{OpenError, Options},
    record,
    recovery::{OnLoss, RecoveryError},
    scrub::{Finding, Position, Scrub},
    segment::{Content, Entry, Segment},
    testing::{
        LOG_ID, Line, Random, Running, clock,
        disk::Disk,
        files::{FramePlace, SEGMENT_BYTES, frames, header, segments},
        small,
    },
    tree::{
        evidence::Parts,
        hash::{self, Hash},
        note::SigningKey,
    },
};

/// The least that is read at a time.
const STEP_BYTES: usize = 1;

/// All that a pass from the beginning to the end finds.
pub(super) fn findings(running: &Running) -> Vec<Finding> {
    let mut scrub = Scrub::begin(&running.log, Position::BEGIN);
    let mut findings = Vec::new();
    loop {
        let step = scrub.step(&running.log, STEP_BYTES).unwrap();
        findings.extend(step.findings);
        if step.is_done {
            return findings;
        }
    }
}

fn key() -> SigningKey {
    SigningKey::of_seed("aap.test/audit", &[5; 32]).unwrap()
}

/// A log and its tree.
#[derive(Clone, Default)]
pub(super) struct Disks {
    pub(super) segments: Disk,
    pub(super) tree: Disk,
}

impl Disks {
    pub(super) fn open(&self, on_loss: OnLoss) -> Result<Running, OpenError> {
        let parts = Parts { volume: Arc::new(self.tree.clone()), key: key() };
        let options = Options { on_loss, ..small(SEGMENT_BYTES) };
        Running::open_with(Arc::new(self.segments.clone()), Some(parts), options, clock())
    }

    /// With so many records, closed in good order; and their hashes.
    pub(super) fn filled(count: u64) -> (Self, Vec<Hash>) {
        let (disks, mut random) = (Self::default(), Random(count));
        // In several runs, so that there are several checkpoints.
        for part in 0..3 {
            let running = disks.open(OnLoss::Refuse).unwrap();
            for number in count * part / 3..count * (part + 1) / 3 {
                running.wait(running.append(&[Line::new(number, &mut random)]).unwrap()).unwrap();
            }
            running.close();
        }
        let running = disks.open(OnLoss::Refuse).unwrap();
        let hashes = running.records().iter().map(|bytes| hash::leaf(bytes)).collect();
        running.close();
        (disks, hashes)
    }

    /// Changes a byte of a record, and makes its checksum right; tells which record, and where.
    pub(super) fn alter_record(&self, name: &str) -> (u64, u64) {
        let mut altered = (0, 0);
        self.segments.alter(name, |bytes| {
            let is_record = |one: &FramePlace| one.kind == Kind::Record;
            let place = frames(bytes).into_iter().filter(is_record).nth(2).unwrap();
            altered = (place.sequence, place.bytes.start as u64);
            let salt = header(bytes).salt;
            let (header, payload, _) = frame::split_mut(&mut bytes[place.bytes]).unwrap();
            *payload.last_mut().unwrap() ^= 1;
            frame::seal(salt, header, payload);
        });
        altered
    }
}

#[test]
fn a_record_that_was_altered_with_its_checksum_is_not_served_and_is_found() {
    let (disks, hashes) = Disks::filled(120);
    let names: Vec<_> = segments(&disks.segments).into_keys().collect();
    let (altered, offset) = disks.alter_record(&names[1]);
    let running = disks.open(OnLoss::Refuse).unwrap();
    for entry in running.follow(1, 64 * 1_024) {
        let place = usize::try_from(entry.sequence - 1).unwrap();
        match entry.content {
            Content::Record(bytes) => {
                assert_eq!(record::leaf_hash(&bytes), hashes[place]);
                assert_eq!(entry.leaf_hash, Some(hashes[place]), "so it isn't computed again");
            }
            Content::Damaged { file, offset: told } => {
                assert_eq!((entry.sequence, &*file, told), (altered, &*names[1], offset));
            }
        }
    }
    let damaged = |entry: &Entry| matches!(entry.content, Content::Damaged { .. });
    assert_eq!(running.follow(1, 1).iter().filter(|entry| damaged(entry)).count(), 1);
    let found = findings(&running);
    let told = format!("record {altered} or its hash: they differ");
    assert!(found.iter().any(|one| one.what == told), "{found:?}");
    assert!(found.iter().any(|one| one.file == names[1]), "its segment was sealed: {found:?}");
    running.close();
}

#[test]
fn a_record_that_was_altered_is_found_by_a_check_also_where_the_hashes_are_gone() {
    let leaves = "leaves-00000000000000000000";
    let (disks, _) = Disks::filled(120);
    let check = |disks: &Disks| {
        let (tree, key) = (Arc::new(disks.tree.clone()), key());
        inspection::verify_in(&disks.segments, tree, LOG_ID, Some(key.verifier())).unwrap().problems
    };
    // The last one isn't sealed, so that nothing but the tree says what was in it.
    let (name, _) = segments(&disks.segments).pop_last().unwrap();
    for length in [None, Some(0), Some(36 * 5)] {
        let (segments, mut tree) = (disks.segments.files(), disks.tree.files());
        match length {
            None => drop(tree.remove(leaves)),
            Some(length) => tree.get_mut(leaves).unwrap().truncate(length),
        }
        let disks = Disks { segments: Disk::holding(&segments), tree: Disk::holding(&tree) };
        assert_eq!(check(&disks), Vec::<String>::new(), "the next start makes them of the records");
        disks.alter_record(&name);
        let problems = check(&disks);
        let told = "`tree/checkpoints` is damaged at byte 256: the first 120 records are not those \
                    signed";
        assert_eq!(problems, [told]);
    }
}

#[test]
fn a_checkpoint_over_a_hash_that_is_lost_is_not_said_to_be_over_other_records() {
    let leaves = "leaves-00000000000000000000";
    let (disks, _) = Disks::filled(120);
    let (name, bytes) = segments(&disks.segments).pop_last().unwrap();
    let is_record = |one: &FramePlace| one.kind == Kind::Record;
    let lost = frames(&bytes).into_iter().find(is_record).unwrap();
    disks.segments.alter(&name, |bytes| bytes[lost.bytes.start + 9] ^= 1);
    let place = usize::try_from(lost.sequence - 1).unwrap() * 36;
    let flipped = |bytes: &mut Vec<u8>| bytes[place] ^= 1;
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(place);
    for change in [&flipped as &dyn Fn(&mut Vec<u8>), &cut] {
        let tree = Disk::holding(&disks.tree.files());
        tree.alter(leaves, |bytes| change(bytes));
        let key = key();
        let found = inspection::verify_in(
            &disks.segments,
            Arc::new(tree.clone()),
            LOG_ID,
            Some(key.verifier()),
        );
        let told = format!(
            "`tree/checkpoints` is damaged at byte 256: the first 120 records can't be compared \
             with it: a hash is damaged, in `{leaves}` at byte {place}"
        );
        let problems = found.unwrap().problems;
        assert!(problems.contains(&told), "{problems:?}");
        assert!(!problems.iter().any(|one| one.contains("not those signed")), "{problems:?}");
    }
}

#[test]
fn a_pass_that_is_cut_short_anywhere_finds_the_same_when_it_goes_on() {
    let (disks, _) = Disks::filled(150);
    let names: Vec<_> = segments(&disks.segments).into_keys().collect();
    disks.alter_record(&names[2]);
    disks.segments.alter(&names[3], |bytes| bytes[HEADER_BYTES + 20] ^= 4);
    disks.tree.alter("leaves-00000000000000000000", |bytes| bytes[36 * 7] ^= 1);
    disks.tree.alter("checkpoints", |bytes| bytes[3] ^= 1);
    let running = disks.open(OnLoss::Refuse).unwrap();
    let known = |findings: &[Finding]| -> BTreeSet<(String, u64)> {
        // What a segment was sealed with is known of one that was read in one go.
        let sealed = |one: &&Finding| !one.what.contains("sealed with");
        findings.iter().filter(sealed).map(|one| (one.file.clone(), one.offset)).collect()
    };
    let whole = findings(&running);
    assert!(known(&whole).len() >= 4, "{whole:?}");
    let (mut position, mut found) = (Position::BEGIN, Vec::new());
    loop {
        let mut scrub = Scrub::begin(&running.log, position);
        let step = scrub.step(&running.log, STEP_BYTES).unwrap();
        found.extend(step.findings);
        if step.is_done {
            break;
        }
        assert!(scrub.position() != position || step.bytes == 0, "{position:?}");
        position = scrub.position();
    }
    assert_eq!(known(&found), known(&whole));
    running.close();
}

#[test]
fn segments_may_go_while_they_are_read() {
    let (disks, hashes) = Disks::filled(600);
    let running = disks.open(OnLoss::Refuse).unwrap();
    let mut scrub = Scrub::begin(&running.log, Position::BEGIN);
    let (mut findings, mut steps) = (Vec::new(), 0);
    loop {
        let step = scrub.step(&running.log, STEP_BYTES).unwrap();
        findings.extend(step.findings);
        if step.is_done {
            break;
        }
        steps += 1;
        if steps % 3 == 0 {
            // What was just read, and what is to be read next.
            let next = scrub.position().record;
            let segment = running.log.follow(next).next();
            let last = segments(&disks.segments).into_keys();
            let firsts = last.filter_map(|name| Segment::first_of_name(&name));
            if let Some(first) = firsts.filter(|first| *first > segment).nth(1)
                && first < 500
            {
                running.log.remove_through(first - 1).unwrap();
            }
        }
    }
    assert_eq!(findings, []);
    let (first, last) = running.log.bounds();
    assert!(first > 100 && scrub.position().record == last + 1, "{first} to {last}");
    assert_eq!(last, hashes.len() as u64);
    running.close();
}

/// Records that are lost are named, and all others served, proved and looked at.
fn assert_served_over(broken: &Disks, hashes: &[Hash], (from, before): (u64, u64), more: u64) {
    let running = broken.open(OnLoss::StandIn).unwrap();
    let mut expected = 1;
    for entry in running.follow(1, 16 * 1_024) {
        assert_eq!(entry.sequence, expected);
        expected += 1;
        let is_lost = (from..before).contains(&entry.sequence);
        match entry.content {
            Content::Record(bytes) => {
                let place = usize::try_from(entry.sequence - 1).unwrap();
                assert!(!is_lost);
                assert!(hashes.get(place).is_none_or(|hash| *hash == hash::leaf(&bytes)));
            }
            Content::Damaged { file, offset } => {
                assert!(is_lost, "{}", entry.sequence);
                assert_eq!((&*file, offset), (&*Segment::file_name(from), 0));
            }
        }
    }
    assert_eq!(expected, 301 + more);
    let (evidence, records) = (running.log.evidence().unwrap(), running.log.leaves());
    let checkpoint = evidence.latest().unwrap();
    for (index, leaf) in (0..).zip(hashes) {
        // The hash of what is lost is still known.
        let proof = evidence.inclusion(records, index, &checkpoint).unwrap();
        assert_eq!(proof.leaf_hash, *leaf);
    }
    let found = findings(&running);
    let lost: Vec<_> = found.iter().filter_map(|one| one.records).collect();
    assert_eq!(lost.first().map(|(first, _)| *first), Some(from), "{found:?}");
    assert_eq!(lost.last().map(|(_, last)| *last), Some(before - 1), "{found:?}");
    let line = Line::new(1_000 + more, &mut Random(more));
    running.wait(running.append(&[line]).unwrap()).unwrap();
    running.close();
}

#[test]
fn a_log_is_served_over_a_file_that_is_gone_only_if_it_is_to_be() {
    let (disks, hashes) = Disks::filled(300);
    let files = segments(&disks.segments);
    let names: Vec<_> = files.keys().cloned().collect();
    let first_of = |place: usize| Segment::first_of_name(&names[place]).unwrap();
    let (from, before) = (first_of(2), first_of(4));
    for headless in [false, true] {
        let (mut kept, tree) = (files.clone(), Disk::holding(&disks.tree.files()));
        kept.remove(&names[2]);
        if headless {
            kept.get_mut(&names[3]).unwrap()[..HEADER_BYTES].fill(0);
        } else {
            kept.remove(&names[3]);
        }
        let broken = Disks { segments: Disk::holding(&kept), tree };
        let refused = broken.open(OnLoss::Refuse).unwrap_err();
        let is_named = matches!(
            refused,
            OpenError::Recovery(
                RecoveryError::SegmentMissing { .. } | RecoveryError::Foreign { .. }
            )
        );
        assert!(is_named, "{refused:?}");
        // Twice, with records behind it.
        for more in 0..2 {
            assert_served_over(&broken, &hashes, (from, before), more);
        }
        // What stands in for nothing can be let go of.
        let running = broken.open(OnLoss::StandIn).unwrap();
        running.log.remove_through(before - 1).unwrap();
        assert_eq!(running.log.bounds().0, before);
        running.close();
        broken.open(OnLoss::Refuse).unwrap().close();
    }
}

#[test]
fn an_end_that_is_gone_is_refused_in_any_case() {
    let (disks, _) = Disks::filled(120);
    let mut files = segments(&disks.segments);
    let (name, bytes) = files.pop_last().unwrap();
    let headless: Vec<u8> = bytes
        .iter()
        .enumerate()
        .map(|(place, byte)| if place < HEADER_BYTES { 0 } else { *byte })
        .collect();
    for end in [None, Some(headless)] {
        let mut files = files.clone();
        files.extend(end.map(|bytes| (name.clone(), bytes)));
        let tree = Disk::holding(&disks.tree.files());
        let broken = Disks { segments: Disk::holding(&files), tree };
        let refused = broken.open(OnLoss::StandIn).unwrap_err();
        let is_named = matches!(refused, OpenError::Recovery(RecoveryError::EndMissing { .. }));
        assert!(is_named, "{refused:?}");
    }
}
