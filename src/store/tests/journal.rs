//! The journal on a real disk: opened again and again, appended to by who is wrong about its end,
//! and cut off behind its own back.

use std::{fs, path::Path};

use super::some_events;
use crate::{
    domain::event::Event,
    store::{
        journal::{AppendError, Journal, ReadError},
        sled_journal::{OpenError, SledJournal},
    },
};

/// All events that a journal reads.
pub(super) fn read_all(journal: &SledJournal) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    loop {
        let more = journal.read(events.len() as u64 + 1, 7)?;
        if more.is_empty() {
            return Ok(events);
        }
        events.extend(more);
    }
}

/// Makes a journal with these events, some at a time, and closes it.
pub(super) fn write_journal(path: &Path, events: &[Event]) {
    let mut journal = SledJournal::open(path).unwrap();
    append_all(&mut journal, events, 50);
}

fn append_all(journal: &mut SledJournal, events: &[Event], at_a_time: usize) {
    for events in events.chunks(at_a_time) {
        journal.append(events[0].sequence - 1, events).unwrap();
    }
}

#[test]
fn events_are_there_in_order_however_often_the_journal_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let events = some_events(300);
    for some in events.chunks(37) {
        let mut journal = SledJournal::open(&path).unwrap();
        assert_eq!(journal.last(), some[0].sequence - 1);
        append_all(&mut journal, some, 10);
        assert_eq!(journal.last(), some.last().unwrap().sequence);
    }
    let journal = SledJournal::open(&path).unwrap();
    assert_eq!(read_all(&journal).unwrap(), events);
    assert_eq!(journal.read(297, 2).unwrap(), events[296..298]);
    assert_eq!(journal.read(300, 10).unwrap(), events[299..]);
    assert_eq!(journal.read(301, 10).unwrap(), []);
    assert_eq!(journal.read(5, 0).unwrap(), []);
}

#[test]
fn who_is_wrong_about_the_end_appends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let events = some_events(6);
    let mut journal = SledJournal::open(dir.path()).unwrap();
    journal.append(0, &events[..3]).unwrap();
    for expected_last in [0, 2, 4, u64::MAX] {
        let error = journal.append(expected_last, &events[3..4]).unwrap_err();
        assert!(
            matches!(error, AppendError::NotTheEnd { expected, actual: 3 } if expected == expected_last),
            "{error}"
        );
    }
    assert_eq!((journal.last(), read_all(&journal).unwrap()), (3, events[..3].to_vec()));
    journal.append(3, &[]).unwrap();
    journal.append(3, &events[3..]).unwrap();
    assert_eq!(read_all(&journal).unwrap(), events);
}

#[test]
fn nothing_but_the_next_events_can_be_appended() {
    let dir = tempfile::tempdir().unwrap();
    let events = some_events(6);
    let mut journal = SledJournal::open(dir.path()).unwrap();
    let gap = [events[0].clone(), events[2].clone()];
    let backwards = [events[0].clone(), events[0].clone()];
    for wrong in [&gap[..], &backwards, &events[1..3]] {
        let error = journal.append(0, wrong).unwrap_err();
        assert!(matches!(error, AppendError::NotDense { .. }), "{error}");
    }
    assert_eq!((journal.last(), read_all(&journal).unwrap()), (0, vec![]));
}

#[test]
fn thousands_of_events_and_large_ones_leave_no_file_that_is_never_synced() {
    let dir = tempfile::tempdir().unwrap();
    let events = some_events(3_000);
    let mut journal = SledJournal::open(dir.path()).unwrap();
    append_all(&mut journal, &events, 200);
    assert_eq!(journal.blob_count().unwrap(), 0);
    assert_eq!(read_all(&journal).unwrap(), events);
    drop(journal);
    assert_eq!(SledJournal::open(dir.path()).unwrap().blob_count().unwrap(), 0);
}

#[test]
fn an_older_copy_of_the_journal_is_refused_by_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let events = some_events(40);
    write_journal(&path, &events[..20]);
    let older = files(&path);
    let mut journal = SledJournal::open(&path).unwrap();
    append_all(&mut journal, &events[20..], 3);
    drop(journal);
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "head" && entry.file_type().unwrap().is_file() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for (name, bytes) in &older {
        if name != "head" {
            fs::write(path.join(name), bytes).unwrap();
        }
    }
    let error = SledJournal::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::EndMissing { last: 20, acknowledged: 40, .. }), "{error}");
    assert!(error.to_string().contains("ends at event 20, but event 40 was acknowledged"));
}

/// The files of a journal, without folders.
pub(super) fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let files = files
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.collect()
}
