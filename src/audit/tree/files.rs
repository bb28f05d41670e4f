//! The tree's hashes on disk: every leaf's, and every complete subtree's of 2^8, 2^16, 2^24 and 2^32
//! leaves. All else is computed from these, so that a proof reads a few KiB whatever the log's size.
//!
//! Each hash has a checksum that begins with its place. So a damaged hash is known by itself, is read
//! as missing, and is computed again from what is below it. It doesn't know what is below leaves.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::audit::{
    copying::FileCopy,
    volume::{Volume, VolumeFile},
};

use super::hash::Hash;

/// The levels whose hashes are kept.
pub const LEVELS: [u32; 5] = [0, 8, 16, 24, 32];
/// How many leaves one file holds.
pub const CHUNK_LEAVES: u64 = 1 << 16;
/// The bytes of a hash and its checksum.
pub const ENTRY_BYTES: u64 = 36;
const ENTRY: usize = 36;

/// The files.
#[derive(Debug)]
pub struct Files {
    volume: Arc<dyn Volume>,
    /// Leaves, by the first one's index. Held for a look-up or a push.
    chunks: RwLock<BTreeMap<u64, Arc<dyn VolumeFile>>>,
    /// Subtrees, of the levels above 0.
    levels: Vec<Arc<dyn VolumeFile>>,
    /// Held while hashes are written, and while a file is replaced that they may go to.
    writing: Mutex<()>,
}

/// A file that is to take the place of another one.
const NEW_CHUNK: &str = "unfinished";

/// Where a hash is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The place in it.
    pub offset: u64,
}

/// The file of leaves that begins with one.
pub fn chunk_name(first: u64) -> String {
    format!("leaves-{first:020}")
}

/// The file of a level's subtrees.
pub fn level_name(level: u32) -> String {
    format!("level-{level:02}")
}

/// Whether a file holds hashes, by its name.
pub fn is_file_name(name: &str) -> bool {
    first_of_name(name).is_some() || LEVELS.iter().skip(1).any(|level| level_name(*level) == name)
}

/// The first leaf of a file of leaves, by its name.
fn first_of_name(name: &str) -> Option<u64> {
    let first = name.strip_prefix("leaves-")?.parse().ok()?;
    (chunk_name(first) == name).then_some(first)
}

/// Where the hash of a subtree is kept; of one of [`LEVELS`].
pub fn place(level: u32, index: u64) -> Place {
    if level > 0 {
        return Place { file: level_name(level), offset: index * ENTRY_BYTES };
    }
    let first = index / CHUNK_LEAVES * CHUNK_LEAVES;
    Place { file: chunk_name(first), offset: (index - first) * ENTRY_BYTES }
}

impl Files {
    /// Opens the files, or makes them.
    pub fn open(volume: Arc<dyn Volume>) -> io::Result<Self> {
        let names = volume.list()?;
        let mut chunks = BTreeMap::new();
        for name in &names {
            if let Some(first) = first_of_name(name) {
                chunks.insert(first, volume.open(name)?);
            }
        }
        let open = |level: &u32| open_or_create(volume.as_ref(), &level_name(*level), &names);
        let levels = LEVELS.iter().skip(1).map(open).collect::<io::Result<_>>()?;
        Ok(Self { volume, chunks: RwLock::new(chunks), levels, writing: Mutex::default() })
    }

    /// How many leaves of a tree are there, by the length of every file.
    pub fn size(&self) -> io::Result<u64> {
        let mut size = {
            let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
            match chunks.last_key_value() {
                Some((first, file)) => first + file.length()? / ENTRY_BYTES,
                None => 0,
            }
        };
        for (level, file) in LEVELS.iter().skip(1).zip(&self.levels) {
            let complete = file.length()? / ENTRY_BYTES;
            size = size.min(((complete + 1) << level) - 1);
        }
        Ok(size)
    }

    /// Reads hashes of one level; those that are missing or damaged are `None`.
    pub fn read(&self, level: u32, index: u64, count: u64) -> io::Result<Vec<Option<Hash>>> {
        let mut hashes = Vec::new();
        let mut at = index;
        while at < index + count {
            let (file, first) = self.file(level, at);
            // Leaves lie in several files.
            let end = if level == 0 { first + CHUNK_LEAVES } else { u64::MAX };
            let end = end.min(index + count);
            let wanted = usize::try_from(end - at).map_err(io::Error::other)?;
            let mut bytes = vec![0; wanted * ENTRY];
            let read = match file {
                Some(file) => file.read_at(&mut bytes, (at - first) * ENTRY_BYTES)?,
                None => 0,
            };
            bytes.truncate(read);
            let entries = bytes.as_chunks::<ENTRY>().0.iter().zip(at..);
            hashes.extend(entries.map(|(entry, index)| decode(level, index, entry)));
            at = end;
            hashes.resize(usize::try_from(at - index).map_err(io::Error::other)?, None);
        }
        Ok(hashes)
    }

    /// Writes hashes of one level.
    pub fn write(&self, level: u32, index: u64, hashes: &[Hash]) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = hashes;
        let mut at = index;
        while !rest.is_empty() {
            let (file, first) = match self.file(level, at) {
                (Some(file), first) => (file, first),
                (None, first) => (self.create_chunk(first)?, first),
            };
            let room = if level == 0 { first + CHUNK_LEAVES - at } else { u64::MAX };
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            let entries = now.iter().zip(at..).map(|(hash, index)| encode(level, index, hash));
            let bytes: Vec<u8> = entries.flatten().collect();
            file.write_at(&bytes, (at - first) * ENTRY_BYTES)?;
            (rest, at) = (later, at + count as u64);
        }
        Ok(())
    }

    /// Cuts off all that a tree of a size doesn't have.
    pub fn truncate(&self, size: u64) -> io::Result<()> {
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        while let Some((first, file)) = chunks.last_key_value().filter(|(first, file)| {
            file.length().map_or(true, |length| *first + length / ENTRY_BYTES > size)
        }) {
            if *first < size {
                file.set_length((size - first) * ENTRY_BYTES)?;
                break;
            }
            self.volume.remove(&chunk_name(*first))?;
            chunks.pop_last();
        }
        drop(chunks);
        for (level, file) in LEVELS.iter().skip(1).zip(&self.levels) {
            let length = (size >> level) * ENTRY_BYTES;
            if file.length()? > length {
                file.set_length(length)?;
            }
        }
        Ok(())
    }

    /// What is copied of them: what a tree of a size has, as far as it is there.
    pub fn copy(&self, size: u64) -> io::Result<Vec<FileCopy>> {
        let copied = |name: String, file: &Arc<dyn VolumeFile>, entries: u64| {
            let length = (entries * ENTRY_BYTES).min(file.length()?);
            Ok(FileCopy::begun(name, Arc::clone(file), length))
        };
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        let leaves = chunks.iter().filter(|(first, _)| **first < size).map(|(first, file)| {
            copied(chunk_name(*first), file, (size - first).min(CHUNK_LEAVES))
        });
        let levels = LEVELS.iter().skip(1).zip(&self.levels);
        let levels = levels.map(|(level, file)| copied(level_name(*level), file, size >> level));
        leaves.chain(levels).collect()
    }

    /// Where the files of leaves begin.
    pub fn first_leaf(&self) -> u64 {
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        chunks.first_key_value().map_or(0, |(first, _)| *first)
    }

    /// Lets go of all leaves before one. What is put in the place of a file that has some of both is
    /// as long, and has holes.
    pub fn forget_before(&self, leaf: u64) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(entry) = chunks.first_entry() {
            let first = *entry.key();
            if first + CHUNK_LEAVES > leaf {
                break;
            }
            self.volume.remove(&chunk_name(first))?;
            entry.remove();
        }
        if let Some(mut entry) = chunks.first_entry().filter(|entry| *entry.key() < leaf) {
            let first = *entry.key();
            if let Some(tail) = self.copy_tail(entry.get().as_ref(), leaf - first)? {
                self.volume.rename(NEW_CHUNK, &chunk_name(first))?;
                entry.insert(tail);
            }
        }
        self.volume.sync()
    }

    /// A file with a part of another one's entries, at the same places; `None` if it has no others.
    fn copy_tail(
        &self,
        file: &dyn VolumeFile,
        begin: u64,
    ) -> io::Result<Option<Arc<dyn VolumeFile>>> {
        let offset = begin * ENTRY_BYTES;
        let mut head = vec![0; usize::try_from(offset).map_err(io::Error::other)?];
        let read = file.read_at(&mut head, 0)?;
        if head.iter().take(read).all(|&byte| byte == 0) {
            return Ok(None);
        }
        if self.volume.list()?.iter().any(|name| name == NEW_CHUNK) {
            self.volume.remove(NEW_CHUNK)?;
        }
        let length = file.length()?;
        let rest = usize::try_from(length.saturating_sub(offset)).map_err(io::Error::other)?;
        let mut tail = vec![0; rest];
        file.read_at(&mut tail, offset)?;
        let new = self.volume.create(NEW_CHUNK)?;
        new.set_length(length)?;
        new.write_at(&tail, offset)?;
        new.sync()?;
        Ok(Some(new))
    }

    /// Puts everything on disk.
    pub fn sync(&self) -> io::Result<()> {
        let last = {
            let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
            chunks.last_key_value().map(|(_, file)| Arc::clone(file))
        };
        last.iter().chain(&self.levels).try_for_each(|file| file.sync())?;
        self.volume.sync()
    }

    /// The file that holds a hash, and the index of the first one in it.
    fn file(&self, level: u32, index: u64) -> (Option<Arc<dyn VolumeFile>>, u64) {
        if let Some(place) = LEVELS.iter().skip(1).position(|one| *one == level) {
            return (self.levels.get(place).map(Arc::clone), 0);
        }
        let first = index / CHUNK_LEAVES * CHUNK_LEAVES;
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        (chunks.get(&first).map(Arc::clone), first)
    }

    fn create_chunk(&self, first: u64) -> io::Result<Arc<dyn VolumeFile>> {
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, full)) = chunks.last_key_value() {
            // It isn't written to again.
            full.sync()?;
        }
        let file = self.volume.create(&chunk_name(first))?;
        chunks.insert(first, Arc::clone(&file));
        Ok(file)
    }
}

/// Opens a file of a volume, or makes it.
pub fn open_or_create(
    volume: &dyn Volume,
    name: &str,
    names: &[String],
) -> io::Result<Arc<dyn VolumeFile>> {
    if names.iter().any(|found| found == name) { volume.open(name) } else { volume.create(name) }
}

fn checksum(level: u32, index: u64, hash: &Hash) -> u32 {
    let place = crc32c::crc32c_append(level, &index.to_le_bytes());
    crc32c::crc32c_append(place, hash)
}

pub(super) fn encode(level: u32, index: u64, hash: &Hash) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let content = hash.iter().copied().chain(checksum(level, index, hash).to_le_bytes());
    for (target, byte) in entry.iter_mut().zip(content) {
        *target = byte;
    }
    entry
}

pub(super) fn decode(level: u32, index: u64, entry: &[u8; ENTRY]) -> Option<Hash> {
    let (hash, sum) = entry.split_first_chunk::<32>()?;
    (checksum(level, index, hash).to_le_bytes() == *sum).then_some(*hash)
}
