//! A last batch of which only a part reached the disk: the log goes on where it is whole, and what
//! is left of the rest never comes back.

use crate::audit::{
    frame::{Kind, MARK_BYTES},
    testing::{
        Line, Random, Running,
        disk::{Crash, Disk, SECTOR_BYTES},
        files::{Files, Fixture, frames, segments, wait_until_idle},
        model::Model,
        small,
    },
};

const LARGE: u64 = 64 * 1_024;

/// A log before its last batch, and after it.
struct Torn {
    name: String,
    before: Files,
    after: Files,
    model: Model,
    last_batch: Vec<Line>,
}

fn torn(seed: u64) -> Torn {
    let mut random = Random(seed);
    let Fixture { files: before, model } = Fixture::killed(30);
    let disk = Disk::holding(&before);
    let running = Running::open(&disk, small(LARGE)).unwrap();
    let last_batch: Vec<_> = (0..12).map(|number| Line::new(1_000 + number, &mut random)).collect();
    running.wait(running.append(&last_batch).unwrap()).unwrap();
    wait_until_idle(&disk);
    let mut after = segments(&disk);
    running.close();
    let name = after.keys().next_back().unwrap().clone();
    // The mark behind the batch is written after its sync: it is not there if the batch is torn.
    let bytes = after.get_mut(&name).unwrap();
    let end = frames(bytes).last().unwrap().bytes.clone();
    assert_eq!(end.len(), MARK_BYTES);
    bytes[end].fill(0);
    Torn { name, before, after, model, last_batch }
}

/// Opens what is left, appends, and opens it again and again: there is nothing but what should be.
fn verify_recovers(torn: &Torn, left: Vec<u8>, random: &mut Random) {
    let mut files = torn.after.clone();
    files.insert(torn.name.clone(), left);
    let mut model = torn.model.clone();
    model.doubt(&torn.last_batch);
    let mut disk = Disk::holding(&files);
    for round in 0..3 {
        let running = Running::open(&disk, small(LARGE)).unwrap();
        model.verify(&running);
        assert!(running.damage.iter().all(|damage| damage.records.is_none()));
        let count = random.below(4);
        let lines: Vec<_> =
            (0..count as u64).map(|place| Line::new(10 * round + place, random)).collect();
        model.acknowledge(&lines, &running.wait(running.append(&lines).unwrap()).unwrap());
        model.verify(&running);
        running.close();
        disk = disk.after_crash(Crash::Killed, random);
    }
}

/// The part of the file that the last batch changed.
fn changed(torn: &Torn) -> (Vec<u8>, Vec<u8>, std::ops::Range<usize>) {
    let (before, after) = (torn.before[&torn.name].clone(), torn.after[&torn.name].clone());
    let begin = frames(&before).last().unwrap().bytes.start;
    let end = frames(&after).last().unwrap().bytes.end;
    assert_eq!(frames(&after).last().unwrap().kind, Kind::Record);
    (before, after, begin..end)
}

fn padded(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length.max(bytes.len()), 0);
    bytes
}

#[test]
fn a_batch_that_is_cut_off_anywhere_leaves_what_is_whole() {
    let mut random = Random(11);
    let torn = torn(1);
    let (before, after, part) = changed(&torn);
    let before = padded(before, after.len());
    for cut in part.clone().step_by(23) {
        let mut left = before.clone();
        left[..cut].copy_from_slice(&after[..cut]);
        verify_recovers(&torn, left, &mut random);
        // The same where the file ends there.
        verify_recovers(&torn, after[..cut].to_vec(), &mut random);
    }
}

#[test]
fn a_batch_of_which_any_sectors_are_missing_leaves_what_is_whole() {
    let mut random = Random(12);
    for seed in 2..5 {
        let torn = torn(seed);
        let (before, after, part) = changed(&torn);
        let before = padded(before, after.len());
        let sectors: Vec<_> = (part.start / SECTOR_BYTES..=(part.end - 1) / SECTOR_BYTES).collect();
        for choice in 0..1_usize << sectors.len().min(6) {
            let mut left = after.clone();
            for (place, sector) in sectors.iter().enumerate() {
                if choice >> (place % 6) & 1 == 0 {
                    let bytes =
                        sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(left.len());
                    left[bytes.clone()].copy_from_slice(&before[bytes]);
                }
            }
            verify_recovers(&torn, left, &mut random);
        }
    }
}

#[test]
fn what_was_found_and_shown_to_readers_is_named_when_it_rots() {
    let Torn { name, after, mut model, last_batch, .. } = torn(6);
    model.doubt(&last_batch);
    let disk = Disk::holding(&after);
    let running = Running::open(&disk, small(LARGE)).unwrap();
    model.verify(&running);
    // Killed before anything was appended.
    let mut files = segments(&disk);
    running.close();
    let bytes = files.get_mut(&name).unwrap();
    let mut newest_first = frames(bytes).into_iter().rev();
    let last = newest_first.find(|frame| frame.kind == Kind::Record).unwrap();
    bytes[last.bytes.start + 20] ^= 1;
    let running = Running::open(&Disk::holding(&files), small(LARGE)).unwrap();
    assert_eq!(model.verify_damaged(1, &running.follow(1, 1)), [model.last()]);
    running.close();
}
