//! Snapshots of the state, so that a start need not fold the whole journal. Only a cache: whatever
//! is wrong with one, it is dropped, and the journal gives the same state.
//!
//! The way of a snapshot: `frame` (bytes with checksums) ← `write` and `read`. When one is
//! written is decided by who owns the threads.

mod frame;
mod read;
mod write;

use std::{
    fs, io,
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use crate::{domain::rules::RulesVersion, projection::State};

use super::{
    codec,
    data_dir::DataDir,
    journal::{JournalReader, ReadError},
};

/// The format of snapshots. It is raised when their bytes change, and also when folding the same
/// events gives another state: a snapshot holds what they were folded into.
const FORMAT: u32 = 3;
/// After how many changes a new one is written, unless it is said otherwise: folding so many takes a
/// part of a second, and so does writing one of 100,000 access points.
pub const DEFAULT_EVERY: NonZeroU64 = match NonZeroU64::new(20_000) {
    Some(every) => every,
    None => NonZeroU64::MIN,
};

const FILE: &str = "snapshot";
const NEW_FILE: &str = "snapshot.new";

/// The snapshot in a data directory.
#[derive(Clone, Debug)]
pub struct Snapshots {
    directory: PathBuf,
    node_id: uuid::Uuid,
}

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    node_id: uuid::Uuid,
    version: RulesVersion,
    revision: u64,
    /// SHA-256 of the event with that number.
    last_event: [u8; 32],
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// Bytes in it are not those that were written.
    #[error("it is damaged at byte {offset}: {detail}")]
    Damaged {
        /// Where the frame begins that is damaged.
        offset: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// It has another format.
    #[error("it has format {found}; this version reads format {FORMAT}")]
    Format {
        /// The one it has.
        found: u32,
    },
    /// It was made under other rules.
    #[error("it is of rules version {found}, not {wanted}")]
    Rules {
        /// Those that it has.
        found: u32,
        /// Those that count.
        wanted: u32,
    },
    /// It was made by another node.
    #[error("it belongs to node {found}")]
    Foreign {
        /// That node.
        found: String,
    },
    /// It has events that the journal doesn't have.
    #[error("it ends with event {revision}, but the journal ends with event {last}")]
    BeyondJournal {
        /// Its last event.
        revision: u64,
        /// The journal's last event.
        last: u64,
    },
    /// The journal was another one when it was made.
    #[error("event {revision}, with which it ends, is another one in this journal")]
    AnotherJournal {
        /// Its last event.
        revision: u64,
    },
}

/// Why a snapshot could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The journal can't say what its last event is.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Snapshots {
    /// The snapshot of a data directory.
    pub fn of(data_dir: &DataDir) -> Self {
        Self { directory: data_dir.path().to_owned(), node_id: data_dir.identity().node_id }
    }

    /// Where it is, if there is one.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Reads and verifies it; `None` if there is none. `last` is the journal's last event.
    pub fn read(
        &self,
        journal: &dyn JournalReader,
        last: u64,
        version: RulesVersion,
    ) -> Result<Option<State>, Flaw> {
        let file = match fs::File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let accept = |origin: &Origin| self.accept(origin, journal, last, version);
        read::read(file, accept).map(Some)
    }

    /// Whether a snapshot is of this journal.
    fn accept(
        &self,
        origin: &Origin,
        journal: &dyn JournalReader,
        last: u64,
        version: RulesVersion,
    ) -> Result<(), Flaw> {
        let Origin { node_id, version: found, revision, last_event } = origin;
        let revision = *revision;
        if *node_id != self.node_id {
            return Err(Flaw::Foreign { found: node_id.to_string() });
        }
        if *found != version {
            return Err(Flaw::Rules { found: found.number(), wanted: version.number() });
        }
        if revision > last {
            return Err(Flaw::BeyondJournal { revision, last });
        }
        // A damaged event is the journal's matter: it is found when the journal is folded.
        let same = digest_of_event(journal, revision).is_ok_and(|digest| digest == *last_event);
        if same { Ok(()) } else { Err(Flaw::AnotherJournal { revision }) }
    }

    /// Writes a snapshot of a state that is in the journal, and puts it in the place of the one
    /// before. It is on disk when this returns. Must not run twice at once.
    pub fn write(&self, state: &State, journal: &dyn JournalReader) -> Result<(), WriteError> {
        let origin = Origin {
            node_id: self.node_id,
            version: state.rulebook.version(),
            revision: state.revision(),
            last_event: digest_of_event(journal, state.revision())?,
        };
        let new = self.directory.join(NEW_FILE);
        let written = write::write(&new, &origin, &state.catalog);
        let placed = written.and_then(|()| fs::rename(&new, self.path()));
        if let Err(error) = placed {
            // What is half written is of no use, and may have filled the disk.
            let _ = fs::remove_file(&new);
            return Err(error.into());
        }
        super::data_dir::sync_directory(&self.directory)?;
        Ok(())
    }

    /// Removes it, and what is left of one that was never finished.
    pub fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.path())?;
        remove_if_there(&self.directory.join(NEW_FILE))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// SHA-256 of an event as it is stored; of nothing for the state before the first one.
fn digest_of_event(journal: &dyn JournalReader, revision: u64) -> Result<[u8; 32], ReadError> {
    let mut stored = Vec::new();
    if revision > 0 {
        stored.extend(journal.read(revision, 1)?.iter().flat_map(codec::encode));
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &stored).as_ref());
    Ok(digest)
}

#[cfg(test)]
mod tests;
