//! What proofs from old checkpoints need of leaves that are no longer kept.
//!
//! A checkpoint over whole groups of 256 leaves needs none: the groups' hashes are kept for ever. Of
//! one that ends within a group, the leaf that it ends with is kept, and the hash beside each step
//! from there to the group's: nine hashes, of which every part of the group follows that a proof can
//! name. They are on disk before the leaves go.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::audit::{
    copying::FileCopy,
    volume::{Volume, VolumeFile},
};

use super::{
    files,
    hash::{self, Hash},
};

/// The file.
pub const FILE: &str = "kept";
/// The levels below that of groups.
const LEVELS: u32 = 8;
/// A leaf, and what stands beside each step.
const HASHES: usize = 9;
const HASH_BYTES: usize = 36;
/// The checkpoint's size, the hashes, and a checksum of the size.
const BLOCK: usize = 8 + HASHES * HASH_BYTES + 4;
/// The bytes that a checkpoint takes up.
pub const BLOCK_BYTES: u64 = BLOCK as u64;

/// Hashes around the ends of old checkpoints, by growing size.
#[derive(Debug)]
pub struct Kept {
    volume: Arc<dyn Volume>,
    /// Made when something is first to be kept.
    file: OnceLock<Arc<dyn VolumeFile>>,
    /// How many checkpoints there are.
    count: AtomicU64,
}

/// What is kept of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// How many leaves it covers.
    pub size: u64,
    /// The last one.
    pub leaf: Hash,
    /// What stands beside each step from there to its group.
    pub beside: [Hash; LEVELS as usize],
}

/// Where a step on the way from a leaf to its group is.
fn step(leaf: u64, level: u32) -> u64 {
    leaf >> level
}

impl Edge {
    /// The edge of a checkpoint that ends within a group, of the tree's nodes.
    pub fn of<E>(
        size: u64,
        mut node_at: impl FnMut(u32, u64) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let (last, mut beside) = (size.saturating_sub(1), [[0; 32]; LEVELS as usize]);
        for (level, target) in (0..LEVELS).zip(&mut beside) {
            *target = node_at(level, step(last, level) ^ 1)?;
        }
        Ok(Self { size, leaf: node_at(0, last)?, beside })
    }

    /// A subtree of its group, if it is on the way or beside it.
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let last = self.size.saturating_sub(1);
        let place = usize::try_from(level).ok()?;
        if step(last, level) ^ 1 == index {
            return self.beside.get(place).copied();
        }
        if step(last, level) != index {
            return None;
        }
        let below = (0..level).zip(&self.beside);
        Some(below.fold(self.leaf, |hash, (level, beside)| {
            if step(last, level) & 1 == 1 {
                hash::node(beside, &hash)
            } else {
                hash::node(&hash, beside)
            }
        }))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_le_bytes().to_vec();
        let last = self.size.saturating_sub(1);
        bytes.extend(files::encode(0, last, &self.leaf));
        for (level, hash) in (0..LEVELS).zip(&self.beside) {
            bytes.extend(files::encode(level, step(last, level) ^ 1, hash));
        }
        bytes.extend(crc32c::crc32c(&self.size.to_le_bytes()).to_le_bytes());
        bytes
    }

    /// Reads one that is whole.
    fn decode(bytes: &[u8; BLOCK]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let (hashes, sum) = rest.split_last_chunk::<4>()?;
        if crc32c::crc32c(size).to_le_bytes() != *sum {
            return None;
        }
        let size = u64::from_le_bytes(*size);
        let last = size.checked_sub(1)?;
        let (leaf, rest) = hashes.split_first_chunk::<HASH_BYTES>()?;
        let mut beside = [[0; 32]; LEVELS as usize];
        for ((level, target), entry) in
            (0..LEVELS).zip(&mut beside).zip(rest.as_chunks::<HASH_BYTES>().0)
        {
            *target = files::decode(level, step(last, level) ^ 1, entry)?;
        }
        Some(Self { size, leaf: files::decode(0, last, leaf)?, beside })
    }
}

impl Kept {
    /// Opens the file, if there is one. What is there of checkpoints over fewer leaves than a number is
    /// needed, and was on disk before they went; all else may be broken, and is made again.
    pub fn open(volume: Arc<dyn Volume>, gone: u64) -> io::Result<Self> {
        let (file, mut count) = (OnceLock::new(), 0);
        if volume.list()?.iter().any(|name| name == FILE) {
            let found = volume.open(FILE)?;
            let is_needed = |edge: Option<Edge>| edge.is_some_and(|edge| edge.size < gone);
            count = found.length()? / BLOCK_BYTES;
            while count > 0 && !is_needed(read(found.as_ref(), count - 1)?) {
                count -= 1;
            }
            let _ = file.set(found);
        }
        Ok(Self { volume, file, count: AtomicU64::new(count) })
    }

    /// What is copied of it, if there is anything.
    pub fn copy(&self) -> Option<FileCopy> {
        let length = self.count.load(Ordering::Acquire) * BLOCK_BYTES;
        let file = self.file.get()?;
        Some(FileCopy::begun(FILE.to_owned(), Arc::clone(file), length))
    }

    fn read(&self, place: u64) -> io::Result<Option<Edge>> {
        self.file.get().map_or(Ok(None), |file| read(file.as_ref(), place))
    }

    /// The size of the last checkpoint that it has something of.
    pub fn last_size(&self) -> io::Result<u64> {
        match self.count.load(Ordering::Acquire).checked_sub(1) {
            Some(place) => Ok(self.read(place)?.map_or(0, |edge| edge.size)),
            None => Ok(0),
        }
    }

    /// Adds edges of larger checkpoints. They are on disk when this returns, and the folder is synced
    /// the next time. Only one may add at a time.
    pub fn append(&self, edges: &[Edge]) -> io::Result<()> {
        if edges.is_empty() {
            return Ok(());
        }
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let made = self.volume.create(FILE)?;
                self.file.get_or_init(|| made)
            }
        };
        let count = self.count.load(Ordering::Acquire);
        let bytes: Vec<u8> = edges.iter().flat_map(Edge::encode).collect();
        file.write_at(&bytes, count * BLOCK_BYTES)?;
        file.sync()?;
        self.count.store(count + edges.len() as u64, Ordering::Release);
        Ok(())
    }

    /// The hash of a subtree below a group's, if something is kept of it.
    pub fn find(&self, level: u32, index: u64) -> io::Result<Option<Hash>> {
        let group = index << level >> LEVELS;
        let (begin, end) = (group << LEVELS, (group + 1) << LEVELS);
        let mut place = self.first_from(begin + 1)?;
        while place < self.count.load(Ordering::Acquire) {
            let edge = self.read(place)?;
            if edge.as_ref().is_some_and(|edge| edge.size >= end) {
                break;
            }
            if let Some(hash) = edge.and_then(|edge| edge.node(level, index)) {
                return Ok(Some(hash));
            }
            place += 1;
        }
        Ok(None)
    }

    /// The place of the first one of at least a size; a damaged one counts as smaller.
    fn first_from(&self, size: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count.load(Ordering::Acquire));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.whole_within(middle, high)? {
                Some((place, edge)) if edge.size < size => low = place + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn whole_within(&self, begin: u64, end: u64) -> io::Result<Option<(u64, Edge)>> {
        for place in begin..end {
            if let Some(edge) = self.read(place)? {
                return Ok(Some((place, edge)));
            }
        }
        Ok(None)
    }
}

fn read(file: &dyn VolumeFile, place: u64) -> io::Result<Option<Edge>> {
    let mut block = [0; BLOCK];
    let read = file.read_at(&mut block, place * BLOCK_BYTES)?;
    Ok(if read == BLOCK { Edge::decode(&block) } else { None })
}
