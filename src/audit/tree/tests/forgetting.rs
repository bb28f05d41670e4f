//! A tree whose first leaves are gone: every checkpoint is still proved, and every record that is kept.

use std::{collections::BTreeSet, io, sync::Arc};

use crate::audit::{
    testing::{
        Random, clock,
        disk::{Crash, Disk, Plan},
    },
    tree::{
        checkpoints::Checkpoint,
        evidence::{EachLeaf, Evidence, EvidenceError, LeafSource, Opened, Parts},
        files::{ENTRY_BYTES, chunk_name},
        hash::{self, Hash},
        kept::{self, BLOCK_BYTES},
        note::SigningKey,
    },
};

/// Records of which the first ones are gone.
#[derive(Clone)]
struct Records {
    first: u64,
    hashes: Vec<Hash>,
}

impl Records {
    fn until(&self, last: u64) -> Self {
        let hashes = self.hashes[..usize::try_from(last).unwrap()].to_vec();
        Self { first: self.first, hashes }
    }
}

impl LeafSource for Records {
    fn first(&self) -> u64 {
        self.first
    }

    fn leaf(&self, index: u64) -> io::Result<Option<Hash>> {
        let known = self.hashes.get(usize::try_from(index).unwrap()).copied();
        Ok(known.filter(|_| index >= self.first))
    }

    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()> {
        (index..self.hashes.len() as u64).try_for_each(|index| each(index, self.leaf(index)?))
    }
}

fn open(disk: &Disk, records: &Records) -> Result<Opened, EvidenceError> {
    let key = SigningKey::of_seed("aap.test/audit", &[5; 32]).unwrap();
    let parts = Parts { volume: Arc::new(disk.clone()), key };
    Evidence::open(parts, records, records.hashes.len() as u64, clock())
}

/// A tree with a checkpoint at each of these sizes.
fn grown(disk: &Disk, records: &Records, sizes: &BTreeSet<u64>) {
    let mut from = 0;
    for &size in sizes {
        let Opened { evidence, feed } = open(disk, &records.until(from)).unwrap();
        let range = usize::try_from(from).unwrap()..usize::try_from(size).unwrap();
        feed.push(&records.hashes[range]);
        drop(feed);
        evidence.keep();
        from = size;
    }
}

fn records(count: u64) -> Records {
    let hashes = (0..count).map(|number| hash::leaf(&number.to_le_bytes())).collect();
    Records { first: 0, hashes }
}

/// All that can be proved is: each checkpoint from each before it, and what is kept from each.
fn verify(evidence: &Evidence, records: &Records, sizes: &BTreeSet<u64>, random: &mut Random) {
    let found = |size: &u64| evidence.find(*size).unwrap().unwrap();
    let checkpoints: Vec<Checkpoint> = sizes.iter().map(found).collect();
    for (place, to) in checkpoints.iter().enumerate() {
        for from in &checkpoints[..place] {
            let path = evidence.consistency(records, from, to).unwrap_or_else(|error| {
                panic!("from {} to {} with {} gone: {error}", from.size, to.size, records.first)
            });
            assert!(hash::is_consistent((from.size, &from.root), (to.size, &to.root), &path));
        }
        for _ in 0..4 {
            let kept = to.size.saturating_sub(records.first);
            if kept == 0 {
                continue;
            }
            let index = records.first + random.next() % kept;
            let proof = evidence.inclusion(records, index, to).unwrap();
            assert_eq!(proof.leaf_hash, records.hashes[usize::try_from(index).unwrap()]);
        }
    }
}

fn some_sizes(random: &mut Random, last: u64) -> BTreeSet<u64> {
    let mut sizes: BTreeSet<u64> = (0..8).map(|_| 1 + random.next() % last).collect();
    // Around groups and powers of two, and many within one group.
    sizes.extend([1, 2, 3, 255, 256, 257, 511, 512, 513, 1_024, 1_025, last]);
    sizes.extend((0..5).map(|_| 768 + random.next() % 256));
    sizes
}

#[test]
fn every_checkpoint_is_proved_when_the_records_before_it_are_gone() {
    for seed in 0..2 {
        let (disk, mut random) = (Disk::default(), Random(seed));
        let mut records = records(2_500);
        let sizes = some_sizes(&mut random, 2_500);
        grown(&disk, &records, &sizes);
        for place in [256, 700 + random.next() % 400, 2_300] {
            let evidence = open(&disk, &records).unwrap().evidence;
            evidence.tree().prepare_to_forget(&records, place).unwrap();
            records.first = place;
            evidence.tree().forget_before(place).unwrap();
            verify(&evidence, &records, &sizes, &mut random);
            let evidence = open(&disk, &records).unwrap().evidence;
            verify(&evidence, &records, &sizes, &mut random);
        }
        let files = disk.files();
        let leaves = &files[&chunk_name(0)];
        let whole = 2_300 / 256 * 256 * usize::try_from(ENTRY_BYTES).unwrap();
        assert!(leaves[..whole].iter().all(|&byte| byte == 0), "they take no room");
        let unaligned = sizes.range(..2_300 / 256 * 256).filter(|size| *size % 256 > 0).count();
        assert_eq!(files[kept::FILE].len() as u64, unaligned as u64 * BLOCK_BYTES);
    }
}

#[test]
fn a_crash_while_leaves_go_leaves_all_provable() {
    for seed in 0..10 {
        let (disk, mut random) = (Disk::default(), Random(seed));
        let mut records = records(1_400);
        let sizes = some_sizes(&mut random, 1_400);
        grown(&disk, &records, &sizes);
        let evidence = open(&disk, &records).unwrap().evidence;
        let place = 300 + random.next() % 1_000;
        let crash = Some(1 + random.below(16) as u64);
        disk.plan(Plan { crash, ..Plan::default() });
        evidence.tree().prepare_to_forget(&records, place).unwrap();
        let is_prepared = !disk.has_crashed();
        evidence.tree().forget_before(place).unwrap();
        let crash = if random.one_in(2) { Crash::Killed } else { Crash::PowerLost };
        let disk = disk.after_crash(crash, &mut random);
        if is_prepared {
            // From then on the records may be gone.
            records.first = place;
        }
        let evidence = open(&disk, &records).unwrap().evidence;
        verify(&evidence, &records, &sizes, &mut random);
        evidence.tree().prepare_to_forget(&records, place).unwrap();
        records.first = place;
        evidence.tree().forget_before(place).unwrap();
        verify(&evidence, &records, &sizes, &mut random);
    }
}

#[test]
fn a_damaged_tree_whose_records_are_gone_is_named_and_not_made_anew() {
    let disk = Disk::default();
    let mut records = records(1_000);
    grown(&disk, &records, &BTreeSet::from([1_000]));
    let evidence = open(&disk, &records).unwrap().evidence;
    evidence.tree().prepare_to_forget(&records, 800).unwrap();
    evidence.tree().forget_before(800).unwrap();
    records.first = 800;
    disk.alter("level-08", |bytes| bytes[40] ^= 1);
    let error = open(&disk, &records).unwrap_err();
    assert!(matches!(error, EvidenceError::Damaged(_)), "{error}");
}
