//! The journal in sled.
//!
//! sled's `flush` does not put data on the disk for good on Linux; it survives a killed process and
//! not a lost machine. So this keeps a handle of its own on sled's file and syncs that.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::domain::event::Event;

use super::{
    codec,
    cursors::tree::CursorTree,
    data_dir::sync_directory,
    head::Head,
    journal::{AppendError, Journal, JournalReader, ReadError, decode_stored},
    parts,
};

/// sled's page cache. Its default of 1 GiB is no bound on a small machine.
const CACHE_BYTES: u64 = 64 * 1_024 * 1_024;
const TREE: &str = "journal";

/// sled's own threads hold its file for a moment after it was dropped. Other processes are kept out
/// by the lock on the data directory, so this waits only for a journal that this process had open.
const LOCK_ATTEMPTS: u32 = 400;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The journal in sled.
#[derive(Debug)]
pub struct SledJournal {
    database: sled::Db,
    tree: sled::Tree,
    /// sled's own file, opened again to sync it.
    file: File,
    path: PathBuf,
    head: Head,
    last: u64,
}

/// Why the journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine failed, or its files are damaged beyond its own repair.
    #[error("can't open the journal in `{path}`: {detail}; restore it from a backup")]
    Engine {
        /// Where it is.
        path: String,
        /// What the engine says.
        detail: String,
    },
    /// It ends before what was acknowledged.
    #[error(
        "the journal in `{path}` ends at event {last}, but event {acknowledged} was acknowledged; \
         its end is damaged: restore it from a backup"
    )]
    EndMissing {
        /// Where it is.
        path: String,
        /// The last event there is.
        last: u64,
        /// The last event there was.
        acknowledged: u64,
    },
    /// The file system refused.
    #[error("can't open the journal in `{path}`")]
    Io {
        /// Where it is.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// The same, of the journal that what was opened is a copy of.
    pub(super) fn of_original(self, original: &Path) -> Self {
        let path = original.display().to_string();
        match self {
            Self::Engine { path: _, detail } => Self::Engine { path, detail },
            Self::EndMissing { path: _, last, acknowledged } => {
                Self::EndMissing { path, last, acknowledged }
            }
            Self::Io { path: _, source } => Self::Io { path, source },
        }
    }
}

impl SledJournal {
    /// Opens or creates the journal in a directory.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.display().to_string();
        let failed = |source| OpenError::Io { path: path.clone(), source };
        let engine = |detail: String| OpenError::Engine { path: path.clone(), detail };
        let database = open_database(directory).map_err(engine)?;
        let tree = guarded(|| database.open_tree(TREE)).map_err(engine)?;
        guarded(|| database.flush()).map_err(engine)?;
        let file = File::open(directory.join("db")).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        close_to_others(directory).map_err(failed)?;
        let (head, acknowledged) = Head::open(&directory.join("head")).map_err(failed)?;
        sync_directory(directory).map_err(failed)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent).map_err(failed)?;
        }
        let last = last_sequence(&tree).map_err(engine)?;
        if last < acknowledged {
            return Err(OpenError::EndMissing { path, last, acknowledged });
        }
        Ok(Self { database, tree, file, path: directory.to_owned(), head, last })
    }

    /// The cursors of the audit log, which are in the same files.
    pub fn cursors(&self) -> Result<CursorTree, OpenError> {
        CursorTree::open(&self.database, &self.path)
    }

    /// Appends events as they are stored elsewhere, each with its sequence number, so that their
    /// bytes, which are what is hashed, stay what they are.
    pub fn append_stored(&mut self, events: &[(u64, Vec<u8>)]) -> Result<(), AppendError> {
        for (expected, (actual, _)) in (self.last + 1..).zip(events) {
            if *actual != expected {
                return Err(AppendError::NotDense { expected, actual: *actual });
            }
        }
        self.write(self.last, events.iter().map(|(sequence, bytes)| (*sequence, bytes)))
    }

    fn write<B: AsRef<[u8]>>(
        &mut self,
        expected_last: u64,
        events: impl IntoIterator<Item = (u64, B)>,
    ) -> Result<(), AppendError> {
        let (mut batch, mut last) = (sled::Batch::default(), expected_last);
        for (sequence, bytes) in events {
            let parts = parts::cut(sequence, bytes.as_ref());
            let parts = parts.ok_or(AppendError::TooLarge { sequence })?;
            last = sequence;
            for (key, value) in parts {
                batch.insert(&key, value);
            }
        }
        guarded(|| self.tree.apply_batch(batch)).map_err(AppendError::Engine)?;
        guarded(|| self.database.flush()).map_err(AppendError::Engine)?;
        let failed = |error: io::Error| AppendError::Engine(error.to_string());
        self.file.sync_data().map_err(failed)?;
        self.head.advance(last).map_err(failed)?;
        self.last = last;
        Ok(())
    }

    /// Puts something else in the place of a value, below everything that would notice.
    #[cfg(test)]
    pub(super) fn overwrite(&self, key: &[u8], value: Vec<u8>) {
        self.tree.insert(key, value).unwrap();
        self.database.flush().unwrap();
    }

    /// How many values sled has moved out of its file. Anything but 0 is not safe on disk.
    pub fn blob_count(&self) -> io::Result<usize> {
        match fs::read_dir(self.path.join("blobs")) {
            Ok(entries) => Ok(entries.count()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl Journal for SledJournal {
    fn last(&self) -> u64 {
        self.last
    }

    fn append(&mut self, expected_last: u64, events: &[Event]) -> Result<(), AppendError> {
        if expected_last != self.last {
            return Err(AppendError::NotTheEnd { expected: expected_last, actual: self.last });
        }
        for (expected, event) in (self.last + 1..).zip(events) {
            if event.sequence != expected {
                return Err(AppendError::NotDense { expected, actual: event.sequence });
            }
        }
        self.write(expected_last, events.iter().map(|event| (event.sequence, codec::encode(event))))
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        let there = (self.last + 1).saturating_sub(from);
        read_events(&self.tree, from, limit.min(usize::try_from(there).unwrap_or(limit)))
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::new(SledReader { tree: self.tree.clone() })
    }
}

/// Reads the journal beside its writer.
#[derive(Debug)]
struct SledReader {
    tree: sled::Tree,
}

impl JournalReader for SledReader {
    fn read(&self, from: u64, count: usize) -> Result<Vec<Event>, ReadError> {
        read_events(&self.tree, from, count)
    }

    fn read_stored(&self, from: u64, count: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut rows = self.tree.range(parts::key(from, 0)..);
        (from..).take(count).map(|sequence| read_bytes(&mut rows, sequence)).collect()
    }
}

fn read_events(tree: &sled::Tree, from: u64, count: usize) -> Result<Vec<Event>, ReadError> {
    let mut rows = tree.range(parts::key(from, 0)..);
    (from..).take(count).map(|sequence| read_event(&mut rows, sequence)).collect()
}

/// Reads one event, which must be what comes next.
fn read_event(rows: &mut sled::Iter, sequence: u64) -> Result<Event, ReadError> {
    decode_stored(sequence, &read_bytes(rows, sequence)?)
}

/// Reads the parts of one event, which must be what comes next.
fn read_bytes(rows: &mut sled::Iter, sequence: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let (mut part, mut count) = (0, 1);
    while part < count {
        let damaged = |detail: String| ReadError::Damaged { sequence, part, detail };
        let row = guarded(|| rows.next().transpose()).map_err(damaged)?;
        let (key, value) = row.ok_or_else(|| damaged("it is missing".to_owned()))?;
        if parts::read_key(&key) != Some((sequence, part)) {
            return Err(damaged("it is missing".to_owned()));
        }
        let read = parts::read_value(sequence, part, &value)
            .map_err(|error| damaged(error.to_string()))?;
        bytes.extend_from_slice(read.body);
        count = read.count;
        part += 1;
    }
    Ok(bytes)
}

fn open_database(directory: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(directory)
        .cache_capacity(CACHE_BYTES)
        // Every append is flushed and synced on its own: nothing is left for a timer.
        .flush_every_ms(None);
    for _ in 0..LOCK_ATTEMPTS {
        match guarded(|| config.open()) {
            Err(error) if error.contains("could not acquire lock") => {
                thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
    guarded(|| config.open())
}

fn last_sequence(tree: &sled::Tree) -> Result<u64, String> {
    let Some((key, _)) = guarded(|| tree.last())? else { return Ok(0) };
    let (sequence, _) = parts::read_key(&key).ok_or("its last key is damaged")?;
    Ok(sequence)
}

/// sled panics over some kinds of damage; an operator should read a reason instead, and no thread
/// should end without saying that it failed.
pub(super) fn guarded<T>(action: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_text(panic.as_ref()).to_owned()),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("its files are damaged")
}

/// sled makes its files with the process's umask.
fn close_to_others(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let mode = if entry.file_type()?.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
    }
    Ok(())
}
