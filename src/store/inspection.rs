//! Looks at a journal without touching it. The engine writes to its files whenever it opens them, so
//! what is opened is a copy.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    domain::{event::Event, rules::RulesVersion},
    projection::State,
};

use super::{
    journal::{Journal, ReadError},
    sled_journal::{OpenError, SledJournal},
    start,
};

/// How many events are read at a time.
const CHUNK: usize = 1_024;

/// A copy of a journal, opened. It is removed when this is dropped.
#[derive(Debug)]
pub struct JournalCopy {
    // Dropped before its files are.
    journal: SledJournal,
    _files: TempDir,
}

/// Why a journal can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It can't be copied.
    #[error("can't copy `{path}`")]
    Copy {
        /// The file or directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The copy can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What reading a whole journal comes to.
#[derive(Debug)]
pub struct Verified {
    /// How many events there should be.
    pub events: u64,
    /// Those that are damaged, in order.
    pub damaged: Vec<ReadError>,
    /// What the events give, if none is damaged.
    pub state: Option<State>,
}

impl JournalCopy {
    /// Copies a journal into a directory of its own within `scratch`, and opens the copy.
    pub fn open(journal: &Path, scratch: &Path) -> Result<Self, InspectError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| InspectError::Copy { path, source }
        };
        // For its owner alone, like what is copied into it.
        let made = tempfile::Builder::new().prefix("aap-journal-").tempdir_in(scratch);
        let files = made.map_err(failed(scratch))?;
        let mut pending = vec![PathBuf::new()];
        while let Some(relative) = pending.pop() {
            let (from, to) = (journal.join(&relative), files.path().join("copy").join(&relative));
            if from.is_dir() {
                fs::create_dir_all(&to).map_err(failed(&to))?;
                for entry in fs::read_dir(&from).map_err(failed(&from))? {
                    pending.push(relative.join(entry.map_err(failed(&from))?.file_name()));
                }
            } else {
                fs::copy(&from, &to).map_err(failed(&from))?;
            }
        }
        let opened = SledJournal::open(&files.path().join("copy"));
        let journal = opened.map_err(|error| error.of_original(journal))?;
        Ok(Self { journal, _files: files })
    }

    /// The journal.
    pub fn journal(&self) -> &SledJournal {
        &self.journal
    }
}

/// Reads and verifies every event; one that is damaged doesn't keep the others from being read.
pub fn verify(journal: &dyn Journal) -> Verified {
    let last = journal.last();
    let mut state = Some(State::new(RulesVersion::CURRENT));
    let mut damaged = Vec::new();
    let mut next = 1;
    while next <= last {
        let events = match journal.read(next, CHUNK) {
            Ok(events) => events,
            Err(_) => read_one_by_one(journal, next, &mut damaged),
        };
        if !damaged.is_empty() {
            state = None;
        }
        if let Some(state) = &mut state {
            for event in &events {
                state.evolve(event);
            }
        }
        next += CHUNK as u64;
    }
    Verified { events: last, damaged, state }
}

/// Whether a state is what the events up to its revision give.
pub fn is_fold_of(journal: &dyn Journal, state: &State) -> Result<bool, ReadError> {
    let new = State::new(state.rulebook.version());
    let folded = start::replay(journal, new, state.revision())?;
    Ok(folded.catalog.items().eq(state.catalog.items()))
}

/// Reads a chunk in which something is damaged; gives what isn't.
fn read_one_by_one(journal: &dyn Journal, from: u64, damaged: &mut Vec<ReadError>) -> Vec<Event> {
    let through = (from + CHUNK as u64 - 1).min(journal.last());
    let mut whole = Vec::new();
    for sequence in from..=through {
        match journal.read(sequence, 1) {
            Ok(events) => whole.extend(events),
            Err(error) => damaged.push(error),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::testing::{World, create_network_rule},
        store::{codec, parts},
    };

    #[test]
    fn a_damaged_event_is_named_and_the_others_are_read_and_nothing_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut world = World::given([]);
        for number in 0..30 {
            world.carry_out(create_network_rule(&format!("n{number}"), "public", "10.0.0.0/8"));
        }
        let mut journal = SledJournal::open(&path).unwrap();
        journal.append(0, &world.events).unwrap();
        drop(journal);
        let copy = JournalCopy::open(&path, dir.path()).unwrap();
        let Verified { events, damaged, state } = verify(copy.journal());
        assert_eq!((events, damaged.len(), state.unwrap().revision()), (30, 0, 30));
        drop(copy);

        // Below the engine's own checksums: what it would keep is not what was written.
        let mut value = parts::cut(17, &codec::encode(&world.events[16])).unwrap().remove(0).1;
        *value.last_mut().unwrap() ^= 1;
        let journal = SledJournal::open(&path).unwrap();
        journal.overwrite(&parts::key(17, 0), value);
        drop(journal);
        let files = || -> Vec<_> {
            let read = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = read.filter(|path| path.is_file()).collect();
            files.sort();
            files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect()
        };
        let before = files();
        let copy = JournalCopy::open(&path, dir.path()).unwrap();
        let Verified { events, damaged, state } = verify(copy.journal());
        let told: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        let wanted = "journal event 17, part 0, is damaged: its checksum does not match";
        assert_eq!((events, told, state.is_none()), (30, vec![wanted.to_owned()], true));
        drop(copy);
        assert!(files() == before, "looking changes nothing");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the copies are removed");
    }
}
