//! Single bits that flip anywhere in what is stored: each is found and named, and what is served is
//! what was written, or nothing.

use std::sync::Arc;

use super::scrubbing;
use crate::audit::{
    inspection,
    log::OpenError,
    segment::Content,
    strict,
    testing::{
        LOG_ID, Line, Random, Running, clock,
        disk::Disk,
        files::{Files, SEGMENT_BYTES, records_in, segments},
        small,
    },
    tree::{
        checkpoints::Checkpoint,
        evidence::{EvidenceError, Parts},
        hash::{self, Hash},
        note::SigningKey,
    },
};

const FLIPS: usize = 500;

fn key() -> SigningKey {
    SigningKey::of_seed("aap.test/audit", &[5; 32]).unwrap()
}

fn open(segments: &Disk, tree: &Disk) -> Result<Running, OpenError> {
    let parts = Parts { volume: Arc::new(tree.clone()), key: key() };
    let volume = Arc::new(segments.clone());
    Running::open_with(volume, Some(parts), small(SEGMENT_BYTES), clock())
}

/// A log with a tree, ended in good order.
struct Fixture {
    segments: Files,
    tree: Files,
    records: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    checkpoint: Checkpoint,
}

impl Fixture {
    fn make() -> Self {
        let (disk, tree, mut random) = (Disk::default(), Disk::default(), Random(5));
        // Several runs, so that there are several checkpoints.
        for _ in 0..3 {
            let running = open(&disk, &tree).unwrap();
            for number in 0..200 {
                let line = Line::new(number, &mut random);
                running.wait(running.append(&[line]).unwrap()).unwrap();
            }
            running.close();
        }
        let running = open(&disk, &tree).unwrap();
        let records: Vec<_> = running.records().iter().map(|bytes| bytes.to_vec()).collect();
        let checkpoint = running.log.evidence().unwrap().latest().unwrap();
        running.close();
        let leaves = records.iter().map(|bytes| hash::leaf(bytes)).collect();
        Self { segments: segments(&disk), tree: tree.files(), records, leaves, checkpoint }
    }

    /// What an inspection names.
    fn inspect(segments: &Files, tree: &Files) -> Vec<String> {
        let (volume, tree) = (Disk::holding(segments), Disk::holding(tree));
        let key = key();
        let found =
            inspection::verify_in(&volume, Arc::new(tree), LOG_ID, Some(key.verifier())).unwrap();
        found.problems
    }

    /// Everything that a log serves is as it was; returns what it says is damaged.
    fn assert_right(&self, running: &Running, turn: usize) -> Vec<u64> {
        let mut damaged = Vec::new();
        for entry in running.follow(1, 64 * 1_024) {
            match entry.content {
                Content::Record(bytes) => {
                    let place = usize::try_from(entry.sequence - 1).unwrap();
                    assert!(bytes[..] == self.records[place][..], "record {}", entry.sequence);
                }
                Content::Damaged { .. } => damaged.push(entry.sequence),
            }
        }
        let (evidence, leaves) = (running.log.evidence().unwrap(), running.log.leaves());
        // Others in each turn.
        for (index, leaf) in (0..).zip(&self.leaves).skip(turn % 41).step_by(41) {
            match evidence.inclusion(leaves, index, &self.checkpoint) {
                Ok(proof) => {
                    let Checkpoint { size, root, .. } = self.checkpoint;
                    let led = hash::root_by_inclusion(index, size, leaf, &proof.path);
                    assert_eq!((proof.leaf_hash, led), (*leaf, Some(root)), "record {index}");
                }
                Err(EvidenceError::Damaged(_)) => {}
                Err(error) => panic!("record {index}: {error}"),
            }
        }
        damaged
    }
}

#[test]
fn each_of_500_flipped_bits_is_found_and_what_is_served_is_always_right() {
    let fixture = Fixture::make();
    assert_eq!(Fixture::inspect(&fixture.segments, &fixture.tree), Vec::<String>::new());
    let files = fixture.segments.iter().chain(&fixture.tree);
    let files: Vec<_> = files.filter(|(_, bytes)| !bytes.is_empty()).collect();
    assert!(files.len() > 5, "{} files", files.len());
    // Zeros ahead of use are there too; what matters more is tried as often.
    let written = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte != 0).map_or(1, |at| at + 1);
    let mut random = Random(11);
    for turn in 0..FLIPS {
        let (name, bytes) = files[turn % files.len()];
        let length = if random.one_in(8) { bytes.len() } else { written(bytes) };
        let bit = random.below(length * 8);
        let (mut segments, mut tree) = (fixture.segments.clone(), fixture.tree.clone());
        let place = bit / 8;
        let flipped = segments.get_mut(name).or(tree.get_mut(name)).unwrap();
        flipped[place] ^= 1 << (bit % 8);
        let problems = Fixture::inspect(&segments, &tree);
        let named = problems.iter().any(|problem| problem.contains(&format!("{name}`")));
        assert!(named, "bit {bit} of {name}: {problems:?}");
        let lost = match fixture.segments.get(name) {
            Some(whole) => records_in(whole, &(place..place + 1)),
            None => Vec::new(),
        };
        for sequence in &lost {
            let text = format!("record {sequence} is damaged");
            assert!(problems.iter().any(|one| one.contains(&text)), "{sequence}: {problems:?}");
        }
        let disks = [Disk::holding(&segments), Disk::holding(&tree)];
        match open(&disks[0], &disks[1]) {
            Ok(running) => {
                let told = scrubbing::findings(&running).into_iter().map(|finding| finding.file);
                let told = told.chain(running.damage.iter().map(|damage| damage.file.clone()));
                // What was never in use is zeroed at the start, and a footer is written anew.
                let is_repaired = || match disks[0].files().get(name) {
                    Some(now) => strict::damage(now).is_empty(),
                    None => disks[1].files()[name][place] == bytes[place],
                };
                let is_found = told.into_iter().any(|file| file.ends_with(name));
                assert!(is_found || is_repaired(), "bit {bit} of {name} is not found by a scrub");
                assert_eq!(fixture.assert_right(&running, turn), lost, "bit {bit} of {name}");
                running.close();
            }
            Err(error) => panic!("bit {bit} of {name}: {error}"),
        }
    }
}
