//! Bits that flip in the engine's file: all events, or an error that names the place.

use std::{fs, panic::catch_unwind, path::Path};

use super::{
    journal::{files, read_all, write_journal},
    some_events,
};
use crate::{domain::event::Event, store::sled_journal::SledJournal};

/// How many of the damaged journals were read whole, and how many were refused.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    whole: usize,
    refused: usize,
}

/// What opening and reading a whole journal comes to, in words if it fails.
fn outcome(path: &Path) -> Result<Vec<Event>, String> {
    let journal = SledJournal::open(path).map_err(|error| error.to_string())?;
    read_all(&journal).map_err(|error| error.to_string())
}

/// Flips so many bits, one at a time and all over the engine's file.
fn flip_bits(events: &[Event], flips: usize) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let (original, copy) = (dir.path().join("original"), dir.path().join("the-copy"));
    write_journal(&original, events);
    let files = files(&original);
    let (_, database) = files.iter().find(|(name, _)| name == "db").unwrap();
    // What is zero was mostly never written.
    let written: Vec<_> = (0..database.len()).filter(|&place| database[place] != 0).collect();
    let put_copy = || {
        fs::create_dir(&copy).unwrap();
        for (name, bytes) in &files {
            fs::write(copy.join(name), bytes).unwrap();
        }
    };
    put_copy();
    assert!(outcome(&copy).is_ok_and(|found| found == events), "a copy isn't whole by itself");
    fs::remove_dir_all(&copy).unwrap();
    let mut tally = Tally { whole: 0, refused: 0 };
    for turn in 0..flips {
        put_copy();
        let place = written[turn * written.len() / flips];
        let mut damaged = database.clone();
        damaged[place] ^= 1 << (turn % 8);
        fs::write(copy.join("db"), damaged).unwrap();
        let found = catch_unwind(|| outcome(&copy));
        match found.unwrap_or_else(|_| panic!("a flip at {place} escapes as a panic")) {
            Ok(found) => {
                assert_eq!(found.len(), events.len(), "a flip at {place} changes the journal");
                assert!(found == events, "a flip at {place} changes an event");
                tally.whole += 1;
            }
            Err(error) => {
                let names_it = error.contains("journal event") || error.contains("the-copy");
                assert!(names_it, "a flip at {place}: {error}");
                tally.refused += 1;
            }
        }
        fs::remove_dir_all(&copy).unwrap();
    }
    tally
}

#[test]
fn a_flipped_bit_in_a_small_journal_leaves_all_events_or_an_error_that_names_the_place() {
    let Tally { whole, refused } = flip_bits(&some_events(40), 200);
    assert!(refused > 0 && whole + refused == 200, "{whole} whole, {refused} refused");
}

#[test]
fn a_flipped_bit_in_a_journal_of_many_segments_leaves_all_events_or_names_the_place() {
    let Tally { whole, refused } = flip_bits(&some_events(330), 130);
    // How many are read whole depends on whether the engine had written a snapshot of its own by then.
    assert!(refused > 0 && whole + refused == 130, "{whole} whole, {refused} refused");
}
