//! Copies of a log that is being written to: each is what a checkpoint covers, whole and signed, and
//! stays that, whatever is written, sealed or removed after it was begun.

use std::{collections::BTreeMap, sync::Arc};

use crate::audit::{
    copying::{FileCopy, LogCopy},
    inspection,
    retention::Retention,
    testing::{LOG_ID, Line, Random, Running, clock, disk::Disk, small},
    tree::{
        evidence::{Evidence, Parts},
        note::SigningKey,
    },
};

/// A log with a tree, and what is appended to it.
struct Story {
    random: Random,
    running: Running,
    evidence: Arc<Evidence>,
    last: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let options = small(1_024 << random.below(4));
        let key = SigningKey::of_seed("aap.test/audit", &[7; 32]).unwrap();
        let parts = Parts { volume: Arc::new(Disk::default()), key };
        let volume = Arc::new(Disk::default());
        let running = Running::open_with(volume, Some(parts), options, clock()).unwrap();
        let evidence = Arc::clone(running.log.evidence().unwrap());
        Self { random, running, evidence, last: 0 }
    }

    fn append(&mut self, batches: usize) {
        for _ in 0..batches {
            let count = 1 + self.random.below(5) as u64;
            let lines: Vec<_> =
                (0..count).map(|place| Line::new(place, &mut self.random)).collect();
            self.running.wait(self.running.append(&lines).unwrap()).unwrap();
            self.last += count;
        }
    }

    /// Has all that there is signed, lets the log go on, and copies what was signed.
    fn copy(&mut self) -> LogCopy {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert!(runtime.block_on(self.evidence.sign_soon(self.last)));
        let signed = self.evidence.find(self.last).unwrap().unwrap();
        let batches = self.random.below(12);
        self.append(batches);
        let copy = self.running.log.copy(&self.evidence, &signed).unwrap();
        assert_eq!(copy.last, signed.size);
        copy
    }

    fn remove(&self) {
        let retention = Retention { max_bytes: Some(4_096), ..Retention::default() };
        if let Some((_, through)) = self.running.log.find_expired(&retention) {
            self.running.log.remove_through(through).unwrap();
        }
    }
}

/// What a copy has, read when all else is over.
fn disk_of(files: &[FileCopy]) -> Disk {
    let read = |copy: &FileCopy| {
        let (file, length) = copy.open().unwrap();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len(), "{}", copy.name);
        bytes.extend_from_slice(&copy.end);
        (copy.name.clone(), bytes)
    };
    Disk::holding(&files.iter().map(read).collect::<BTreeMap<_, _>>())
}

#[test]
fn a_copy_is_what_was_signed_whatever_comes_after_it() {
    let mut removed = 0;
    for seed in 0..24 {
        let mut story = Story::new(seed);
        let mut copies = Vec::new();
        for _ in 0..4 {
            let batches = 1 + story.random.below(30);
            story.append(batches);
            copies.push(story.copy());
            if story.random.one_in(2) {
                story.remove();
            }
        }
        story.append(20);
        story.remove();
        let verifier = story.evidence.verifier().clone();
        for LogCopy { files, tree, first, last } in &copies {
            let (records, tree) = (disk_of(files), Arc::new(disk_of(tree)));
            let found = inspection::verify_in(&records, tree, LOG_ID, Some(&verifier)).unwrap();
            assert_eq!(found.problems, Vec::<String>::new(), "seed {seed}, {first} to {last}");
            assert_eq!((found.first, found.last), (*first, *last), "seed {seed}");
            removed += u32::from(*first > 1);
        }
        story.running.close();
    }
    assert!(removed > 10, "of {removed} copies something had been removed before");
}
