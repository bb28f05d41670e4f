//! The bytes of a backup, one after another. What they are made of is read when its turn has come, so
//! that a backup of any size needs little memory.

use std::{collections::VecDeque, fmt, io, sync::Arc};

use ring::digest::{Context, SHA256};

use crate::{
    audit::{copying::FileCopy, volume::VolumeFile},
    domain::audit_cursor::AuditCursor,
    store::{
        codec::audit_cursor as codec,
        data_dir::LOG_TREE_FOLDER,
        journal::{JournalReader, ReadError},
    },
};

use super::{
    archive::{self, BLOCK},
    head::{CURSORS_FILE, Digest, HEAD_FILE, SUMS_FILE, add_sum, events_name},
    source::Source,
};

/// About how many bytes are given at a time.
pub const CHUNK_BYTES: usize = 256 * 1_024;
/// How many events go into one file.
pub const EVENTS_AT_ONCE: u64 = 256;
/// What ends an archive.
const END: usize = 2 * BLOCK;

/// A backup that is being made.
#[derive(Debug)]
pub struct Backup {
    items: VecDeque<Item>,
    current: Option<Current>,
    journal: Arc<dyn JournalReader>,
    /// The last event.
    revision: u64,
    /// When it is made, in seconds since 1970.
    seconds: u64,
    sums: String,
}

/// Why a backup can't be made to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The journal can't be read.
    #[error("the journal can't be read")]
    Journal(#[from] ReadError),
    /// A file can't be read.
    #[error("can't read `{file}`")]
    File {
        /// Which one.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file has fewer bytes than it should have.
    #[error("`{file}` ends at byte {found}; it should have {wanted}")]
    Shorter {
        /// Which one.
        file: String,
        /// How many it has.
        found: u64,
        /// How many it should have.
        wanted: u64,
    },
    /// What it says of itself can't be written.
    #[error("can't write what the backup says of itself")]
    Head(#[from] serde_json::Error),
    /// A file's name is too long.
    #[error("`{0}` is too long for a name")]
    Name(String),
}

/// What is still to come.
#[derive(Debug)]
enum Item {
    Bytes(String, Vec<u8>),
    File(String, FileCopy),
    /// All events from one on.
    Events(u64),
    Sums,
    End,
}

/// A file of which some bytes are still to come: those of another file, and then some of its own.
struct Current {
    name: String,
    digest: Context,
    size: u64,
    file: Option<(Arc<dyn VolumeFile>, u64)>,
    /// Where the next bytes of the other file stand.
    offset: u64,
    end: Vec<u8>,
    /// How many bytes of its own were given.
    given: usize,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Backup {
    /// Begins a backup.
    pub fn begin(source: Source) -> Result<Self, BackupError> {
        let Source { head, time, journal, cursors, logs } = source;
        let mut items = VecDeque::from([Item::Bytes(HEAD_FILE.to_owned(), head.encode()?)]);
        if head.journal.revision > 0 {
            items.push_back(Item::Events(1));
        }
        items.push_back(Item::Bytes(CURSORS_FILE.to_owned(), encode_cursors(&cursors)));
        for (folder, copy) in logs {
            let file = |copy: FileCopy| Item::File(format!("{folder}/{}", copy.name), copy);
            items.extend(copy.files.into_iter().map(file));
            let file = |copy: FileCopy| {
                Item::File(format!("{folder}/{LOG_TREE_FOLDER}/{}", copy.name), copy)
            };
            items.extend(copy.tree.into_iter().map(file));
        }
        items.extend([Item::Sums, Item::End]);
        let seconds = u64::try_from(time.seconds()).unwrap_or_default();
        let (revision, sums) = (head.journal.revision, String::new());
        Ok(Self { items, current: None, journal, revision, seconds, sums })
    }

    /// The next bytes, at most [`CHUNK_BYTES`]; none when that was all. Blocks on the disk.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        let mut out = Vec::with_capacity(CHUNK_BYTES);
        while out.len() + END <= CHUNK_BYTES {
            if let Some(current) = self.current.take() {
                self.go_on(current, &mut out)?;
            } else if let Some(item) = self.items.pop_front() {
                self.start(item, &mut out)?;
            } else {
                break;
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    /// Begins with what comes next.
    fn start(&mut self, item: Item, out: &mut Vec<u8>) -> Result<(), BackupError> {
        let (name, file, end) = match item {
            Item::Bytes(name, bytes) => (name, None, bytes),
            Item::File(name, copy) => {
                let opened = copy.open();
                let file =
                    opened.map_err(|source| BackupError::File { file: name.clone(), source })?;
                (name, Some(file), copy.end)
            }
            Item::Events(from) => {
                let count = EVENTS_AT_ONCE.min(self.revision + 1 - from);
                if from + count <= self.revision {
                    self.items.push_front(Item::Events(from + count));
                }
                (events_name(from), None, self.read_events(from, count)?)
            }
            Item::Sums => (SUMS_FILE.to_owned(), None, std::mem::take(&mut self.sums).into_bytes()),
            Item::End => {
                out.resize(out.len() + END, 0);
                return Ok(());
            }
        };
        let size = file.as_ref().map_or(0, |(_, length)| *length) + end.len() as u64;
        let header = archive::header(&name, size, self.seconds);
        out.extend_from_slice(&header.ok_or_else(|| BackupError::Name(name.clone()))?);
        let digest = Context::new(&SHA256);
        self.current = Some(Current { name, digest, size, file, offset: 0, end, given: 0 });
        Ok(())
    }

    /// Gives some more of a file.
    fn go_on(&mut self, mut current: Current, out: &mut Vec<u8>) -> Result<(), BackupError> {
        let begin = out.len();
        let room = CHUNK_BYTES - BLOCK - begin;
        if let Some((file, length)) = current.file.take_if(|(_, length)| *length > current.offset) {
            let left = usize::try_from(length - current.offset).unwrap_or(usize::MAX);
            out.resize(begin + room.min(left), 0);
            let read = file.read_at(out.get_mut(begin..).unwrap_or_default(), current.offset);
            let name = || current.name.clone();
            let read = read.map_err(|source| BackupError::File { file: name(), source })?;
            if read < out.len() - begin {
                let (found, wanted) = (current.offset + read as u64, length);
                return Err(BackupError::Shorter { file: name(), found, wanted });
            }
            current.offset += read as u64;
            current.file = Some((file, length));
        } else {
            let rest = current.end.get(current.given..).unwrap_or_default();
            let (now, _) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            out.extend_from_slice(now);
            current.given += now.len();
        }
        current.digest.update(out.get(begin..).unwrap_or_default());
        let done = current.offset + current.given as u64;
        if done < current.size {
            self.current = Some(current);
            return Ok(());
        }
        let Current { name, digest, size, .. } = current;
        let padding = usize::try_from(archive::padding(size)).unwrap_or_default();
        out.resize(out.len() + padding, 0);
        add_sum(&mut self.sums, &finish(digest), &name);
        Ok(())
    }

    fn read_events(&self, from: u64, count: u64) -> Result<Vec<u8>, ReadError> {
        let count = usize::try_from(count).unwrap_or_default();
        let mut bytes = Vec::new();
        for event in self.journal.read_stored(from, count)? {
            append_counted(&mut bytes, &event);
        }
        Ok(bytes)
    }
}

/// A digest's bytes.
pub(super) fn finish(context: Context) -> Digest {
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

fn encode_cursors(cursors: &[AuditCursor]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for AuditCursor { definition, progress } in cursors {
        append_counted(&mut bytes, &codec::encode_definition(definition));
        append_counted(&mut bytes, &codec::encode_progress(progress));
    }
    bytes
}

/// Appends bytes behind how many there are: 4 bytes, little-endian.
fn append_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}
