//! A tree on a disk: what is signed stays provable, across restarts, lost files and flipped bits.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use crate::audit::{
    testing::{Random, clock, disk::Disk},
    tree::{
        checkpoints::{self, Checkpoint, Checkpoints},
        evidence::{EachLeaf, Evidence, EvidenceError, LeafSource, Opened, Parts},
        feed,
        files::{CHUNK_LEAVES, ENTRY_BYTES, chunk_name, level_name},
        hash::{self, Frontier, Hash},
        note::SigningKey,
    },
    volume::Volume,
};
use crate::store::testing::check_golden;

const NAME: &str = "aap.test/audit";
const SECRET: [u8; 32] = [5; 32];

/// Records whose hashes are known; `None` is a damaged one.
#[derive(Clone)]
struct Known(Vec<Option<Hash>>);

impl Known {
    fn of(count: u64) -> Self {
        Self((0..count).map(|number| Some(hash::leaf(&number.to_le_bytes()))).collect())
    }

    fn hashes(&self) -> Vec<Hash> {
        self.0.iter().map(|hash| hash.unwrap()).collect()
    }

    fn root(&self, size: u64) -> Hash {
        let mut frontier = Frontier::default();
        for hash in self.0.iter().take(usize::try_from(size).unwrap()) {
            frontier.push(hash.unwrap(), |_, _| {});
        }
        frontier.root()
    }

    fn last(&self) -> u64 {
        self.0.len() as u64
    }
}

impl LeafSource for Known {
    fn leaf(&self, index: u64) -> io::Result<Option<Hash>> {
        Ok(self.0.get(usize::try_from(index).unwrap()).copied().flatten())
    }

    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()> {
        let begin = usize::try_from(index).unwrap();
        self.0.iter().zip(0..).skip(begin).try_for_each(|(hash, index)| each(index, *hash))
    }
}

fn key(secret: [u8; 32]) -> SigningKey {
    SigningKey::of_seed(NAME, &secret).unwrap()
}

fn open(disk: &Disk, records: &Known) -> Result<Opened, EvidenceError> {
    let parts = Parts { volume: Arc::new(disk.clone()), key: key(SECRET) };
    Evidence::open(parts, records, records.last(), clock())
}

/// Feeds an open tree all records of a log that it hasn't yet, and ends.
fn grow(opened: Opened, from: u64, records: &Known) -> Arc<Evidence> {
    let Opened { evidence, feed } = opened;
    feed.push(&records.hashes()[usize::try_from(from).unwrap()..]);
    assert_eq!(feed.root(), Some(records.root(records.last())));
    drop(feed);
    evidence.keep();
    evidence
}

/// A tree over so many records, with a checkpoint at each of some sizes.
fn grown(sizes: &[u64]) -> (Disk, Known, Arc<Evidence>) {
    let disk = Disk::default();
    let mut from = 0;
    let mut last = None;
    for size in sizes {
        let before = Known::of(from);
        last = Some(grow(open(&disk, &before).unwrap(), from, &Known::of(*size)));
        from = *size;
    }
    (disk, Known::of(from), last.unwrap())
}

/// Every proof between some sizes, and of some records, is right.
#[track_caller]
fn assert_proves(evidence: &Evidence, records: &Known, source: &Known, sizes: &[u64]) {
    let checkpoint = |size: u64| evidence.find(size).unwrap().unwrap();
    for to in sizes.iter().map(|size| checkpoint(*size)) {
        let note = evidence.verifier().open(&evidence.note(&to)).unwrap();
        assert_eq!((note.size, note.root), (to.size, records.root(to.size)));
        for from in sizes.iter().filter(|from| **from <= to.size).map(|from| checkpoint(*from)) {
            let path = evidence.consistency(source, &from, &to).unwrap();
            assert!(hash::is_consistent((from.size, &from.root), (to.size, &to.root), &path));
        }
        let step = usize::try_from(to.size / 7 + 1).unwrap();
        for index in (0..to.size).step_by(step).chain([to.size - 1]) {
            let proof = evidence.inclusion(source, index, &to).unwrap();
            assert_eq!(Some(proof.leaf_hash), records.0[usize::try_from(index).unwrap()]);
            let root = hash::root_by_inclusion(index, to.size, &proof.leaf_hash, &proof.path);
            assert_eq!(root, Some(to.root));
        }
    }
}

#[test]
fn what_was_signed_stays_provable_across_restarts() {
    let sizes = [1, 2, 255, 256, 257, 511, 512, 1_000, CHUNK_LEAVES - 1, CHUNK_LEAVES + 300];
    let (disk, records, evidence) = grown(&sizes);
    assert_proves(&evidence, &records, &records, &sizes);
    assert_eq!(evidence.latest().map(|one| one.size), sizes.last().copied());
    // Nothing that is there is made anew: damaged records are no matter.
    let damaged = Known(vec![None; records.0.len()]);
    let opened = open(&disk, &damaged).unwrap();
    assert_proves(&opened.evidence, &records, &damaged, &sizes);
    assert!(evidence.find(3).unwrap().is_none());
}

#[test]
fn files_that_are_gone_or_cut_off_are_made_anew_of_the_records() {
    let sizes = [100, 700, CHUNK_LEAVES + 10];
    let (disk, records, _) = grown(&sizes);
    let whole = disk.files();
    for name in whole.keys().filter(|name| *name != checkpoints::FILE) {
        for length in [None, Some(0), Some(7), Some(36 * 3), Some(36 * 200)] {
            let mut files = whole.clone();
            match length {
                None => drop(files.remove(name)),
                Some(length) => files.get_mut(name).unwrap().truncate(length),
            }
            let opened = open(&Disk::holding(&files), &records).unwrap();
            assert_proves(&opened.evidence, &records, &records, &sizes);
        }
    }
    // Whatever else they are.
    let mut random = Random(7);
    for _ in 0..20 {
        let mut files = whole.clone();
        for (_, bytes) in files.iter_mut().filter(|(name, _)| *name != checkpoints::FILE) {
            let begin = random.below(bytes.len() + 1);
            bytes[begin..].fill(0);
        }
        let opened = open(&Disk::holding(&files), &records).unwrap();
        assert_proves(&opened.evidence, &records, &records, &sizes);
    }
}

#[test]
fn a_flipped_bit_in_the_tree_changes_no_proof() {
    let sizes = [1, 300, 513, 700];
    let (disk, records, _) = grown(&sizes);
    let whole = disk.files();
    let mut random = Random(1);
    for name in whole.keys().filter(|name| *name != checkpoints::FILE) {
        for _ in 0..whole[name].len().min(60) {
            let bit = random.below(whole[name].len() * 8);
            let disk = Disk::holding(&whole);
            let running = open(&disk, &records).unwrap();
            disk.alter(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            assert_proves(&running.evidence, &records, &records, &sizes);
            let started = open(&disk, &records).unwrap();
            assert_proves(&started.evidence, &records, &records, &sizes);
        }
    }
}

#[test]
fn a_hash_that_is_damaged_with_its_record_is_named_by_file_and_place() {
    let (disk, mut records, evidence) = grown(&[1_000]);
    let checkpoint = evidence.latest().unwrap();
    disk.alter(&chunk_name(0), |bytes| bytes[36 * 700 + 3] ^= 1);
    records.0[700] = None;
    let error = evidence.inclusion(&records, 701, &checkpoint).unwrap_err();
    let EvidenceError::Damaged(place) = error else { panic!("{error}") };
    assert_eq!((place.file, place.offset), (chunk_name(0), 700 * ENTRY_BYTES));
    // What needs only what stands above it is proved.
    evidence.inclusion(&records, 10, &checkpoint).unwrap();
}

#[test]
fn a_false_hash_with_a_right_checksum_never_becomes_a_proof() {
    let (disk, records, evidence) = grown(&[700]);
    let checkpoint = evidence.latest().unwrap();
    // The hash of another record's place, as a file of another log would have it.
    let (other, ..) = {
        let mut others = records.clone();
        others.0[500] = Some([1; 32]);
        let disk = Disk::default();
        grow(open(&disk, &Known::of(0)).unwrap(), 0, &others);
        (disk.files(), others)
    };
    for name in [chunk_name(0), level_name(8)] {
        let files = other.clone();
        disk.alter(&name, |bytes| bytes.clone_from(&files[&name]));
        let error = evidence.inclusion(&records, 300, &checkpoint).unwrap_err();
        assert!(matches!(error, EvidenceError::Differs { signed: 700 }), "{error}");
    }
    // A start finds it out, and makes the files anew.
    let opened = open(&disk, &records).unwrap();
    assert_proves(&opened.evidence, &records, &records, &[700]);
}

#[test]
fn a_log_that_is_not_what_was_signed_is_refused() {
    let (disk, records, _) = grown(&[300, 700]);
    let cut = open(&disk, &Known::of(699)).unwrap_err();
    assert!(matches!(cut, EvidenceError::CutBack { last: 699, signed: 700 }), "{cut}");
    let lost = open(&disk, &Known::of(0)).unwrap_err();
    assert!(matches!(lost, EvidenceError::CutBack { last: 0, signed: 700 }), "{lost}");
    // Without the tree's files, the records alone must lead there.
    let signed: BTreeMap<_, _> =
        disk.files().into_iter().filter(|(name, _)| name == checkpoints::FILE).collect();
    let mut changed = records.clone();
    changed.0[5] = Some([1; 32]);
    let changed = open(&Disk::holding(&signed), &changed).unwrap_err();
    assert!(matches!(changed, EvidenceError::Differs { signed: 700 }), "{changed}");
    open(&Disk::holding(&signed), &records).unwrap();
    let parts = Parts { volume: Arc::new(disk.clone()), key: key([6; 32]) };
    let other = Evidence::open(parts, &records, 700, clock()).unwrap_err();
    assert!(matches!(other, EvidenceError::OtherKey { signed: 700, .. }), "{other}");
}

#[test]
fn a_record_that_was_damaged_before_its_hash_was_kept_has_no_proof_and_stops_nothing() {
    let disk = Disk::default();
    let mut records = Known::of(700);
    let known = records.0[3].take();
    let opened = open(&disk, &records).unwrap();
    let checkpoint = opened.evidence.latest().unwrap();
    let proof = opened.evidence.inclusion(&records, 3, &checkpoint).unwrap();
    assert_ne!(Some(proof.leaf_hash), known);
    assert_eq!(proof.leaf_hash, hash::leaf(&[]));
    opened.evidence.inclusion(&records, 2, &checkpoint).unwrap();
    // And stays what it is.
    open(&disk, &records).unwrap();
}

#[test]
fn golden_trees_are_read_and_written_as_ever() {
    let (disk, records, _) = grown(&[1, 300, 700]);
    let today: Vec<_> = disk
        .files()
        .into_iter()
        .map(|(name, mut bytes)| {
            // What is zeroed ahead of use says nothing.
            let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(written);
            (name, bytes)
        })
        .collect();
    let today: Vec<_> = today.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let lengths = |bytes: &[u8]| format!("{} bytes\n", bytes.len());
    check_golden("tree", &today, lengths);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree");
    let golden = |name: &str| fs::read(directory.join(name).with_extension("bin")).unwrap();
    let kept = today.iter().map(|(name, _)| ((*name).to_owned(), golden(name))).collect();
    // With nothing but these, all that was signed is provable, and no record is looked at.
    let nothing = Known(vec![None; 700]);
    let opened = open(&Disk::holding(&kept), &nothing).unwrap();
    assert_proves(&opened.evidence, &records, &nothing, &[1, 300, 700]);
}

#[test]
fn checkpoints_are_found_by_their_sizes_also_beside_damaged_ones() {
    let disk = Disk::default();
    let checkpoints = Checkpoints::open(&disk).unwrap();
    let time = clock().now();
    let one = |size: u64| Checkpoint { size, root: [1; 32], time, signature: [2; 64] };
    for number in 1..=1_500 {
        checkpoints.append(&one(number * 3)).unwrap();
    }
    let damaged = [0, 1, 2, 700, 701, 1_400, 1_498, 1_499];
    for place in damaged {
        disk.alter(checkpoints::FILE, |bytes| bytes[place * 128 + place % 128] ^= 4);
    }
    let opened = Checkpoints::open(&disk).unwrap();
    assert_eq!(opened.count(), 1_500);
    for place in 0..1_500 {
        let size = (place as u64 + 1) * 3;
        let expected = (!damaged.contains(&place)).then(|| one(size));
        for checkpoints in [&checkpoints, &opened] {
            assert_eq!(checkpoints.find(size).unwrap(), expected, "{size}");
            assert_eq!(checkpoints.find(size - 1).unwrap(), None);
        }
    }
    assert_eq!(opened.last().unwrap(), Some(one(1_498 * 3)));
    assert_eq!(opened.first_from(1).unwrap(), Some(one(12)));
    assert_eq!(opened.first_from(4_500).unwrap(), None);
}

#[test]
fn a_checkpoint_is_on_disk_before_it_is_seen() {
    let (disk, records, evidence) = grown(&[300]);
    let seen = evidence.latest().unwrap();
    let after = disk.after_crash(crate::audit::testing::disk::Crash::PowerLost, &mut Random(3));
    assert_eq!(Checkpoints::open(&after).unwrap().last().unwrap(), Some(seen));
    let opened = open(&after, &records).unwrap();
    assert_proves(&opened.evidence, &records, &records, &[300]);
}

#[test]
fn a_tree_that_can_not_be_written_stops_no_writer() {
    use crate::audit::testing::disk::Plan;
    let disk = Disk::default();
    let Opened { evidence, feed } = open(&disk, &Known::of(0)).unwrap();
    disk.plan(Plan { fail_write: Some((1, 5)), ..Plan::default() });
    let records = Known::of(300);
    feed.push(&records.hashes());
    std::thread::scope(|scope| {
        scope.spawn(|| evidence.keep());
        // Ends when the thread has given up.
        while feed.root().is_some() {
            std::thread::yield_now();
        }
    });
    feed.push(&records.hashes());
    drop(feed);
    assert_eq!(evidence.latest(), None);
    let opened = open(&disk, &records).unwrap();
    assert_proves(&opened.evidence, &records, &records, &[300]);
}

#[test]
fn leaves_wait_for_the_files_within_bounds() {
    let (feed, waiting) = feed::feed();
    let leaves = vec![[3; 32]; 1 << 16];
    for _ in 0..16 {
        feed.push(&leaves);
    }
    assert!(feed.root().is_some());
    feed.push(&leaves[..1]);
    assert!(feed.root().is_none());
    waiting.take(feed::Added::default(), std::time::Duration::ZERO).unwrap_err();
}

#[test]
fn many_leaves_are_taken_before_the_time_and_without_what_a_checkpoint_would_be_of() {
    let (feed, waiting) = feed::feed();
    let day = std::time::Duration::from_hours(24);
    let many = 1 << 15;
    feed.push(&vec![[3; 32]; many]);
    let taken = waiting.take(feed::Added::default(), day).unwrap();
    assert_eq!((taken.is_early, taken.aligned), (true, None));
    assert_eq!((taken.added.leaves.len(), taken.whole.0), (many, many as u64));
    feed.push(&[[4; 32]; 3]);
    // By the time; the aligned one was kept for it.
    let taken = waiting.take(taken.added.emptied(), std::time::Duration::ZERO).unwrap();
    assert!(!taken.is_early);
    assert_eq!(taken.aligned.map(|(size, _)| size), Some(many as u64));
    assert_eq!((taken.added.leaves.len(), taken.whole.0), (3, many as u64 + 3));
}

#[test]
fn names_are_on_disk_when_a_tree_has_ended() {
    let (disk, ..) = grown(&[700]);
    let after = disk.after_crash(crate::audit::testing::disk::Crash::PowerLost, &mut Random(9));
    assert_eq!(after.list().unwrap(), disk.list().unwrap());
    assert_eq!(after.files(), disk.files());
}
