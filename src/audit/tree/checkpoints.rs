//! What was signed, kept for ever: one entry of 128 bytes a checkpoint, by growing size. An entry is
//! on disk before anybody sees the checkpoint. It doesn't know what a checkpoint says of records.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    audit::{
        copying::FileCopy,
        volume::{Volume, VolumeFile},
    },
    domain::time::UnixNanos,
};

use super::{
    files::open_or_create,
    hash::Hash,
    note::{Signature, Statement},
};

/// The file.
pub const FILE: &str = "checkpoints";
/// The bytes of an entry.
pub const ENTRY_BYTES: u64 = 128;
const ENTRY: usize = 128;
/// So many bytes are zeroed ahead, so that a sync has no new space to note.
const AHEAD_BYTES: usize = 64 * 1_024;

/// A signed checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many records the log had.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// When it was signed.
    pub time: UnixNanos,
    /// Of its statement.
    pub signature: Signature,
}

impl Checkpoint {
    /// What it states, of a log of that name.
    pub fn statement(&self, origin: &str) -> Statement {
        Statement { origin: origin.to_owned(), size: self.size, root: self.root }
    }

    fn encode(&self) -> [u8; ENTRY] {
        let Self { size, root, time, signature } = self;
        let mut content =
            [&size.to_le_bytes()[..], &time.0.to_le_bytes(), root, signature].concat();
        content.resize(ENTRY - 4, 0);
        content.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        let mut entry = [0; ENTRY];
        for (target, byte) in entry.iter_mut().zip(content) {
            *target = byte;
        }
        entry
    }

    fn decode(entry: &[u8; ENTRY]) -> Option<Self> {
        let (content, sum) = entry.split_last_chunk::<4>()?;
        let (size, rest) = content.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let (signature, _) = rest.split_first_chunk::<64>()?;
        let (size, time) = (u64::from_le_bytes(*size), UnixNanos(i64::from_le_bytes(*time)));
        // A checksum of zeros is zero.
        let is_whole = size > 0 && crc32c::crc32c(content).to_le_bytes() == *sum;
        is_whole.then_some(Self { size, root: *root, time, signature: *signature })
    }
}

/// All checkpoints of a log.
#[derive(Debug)]
pub struct Checkpoints {
    file: Arc<dyn VolumeFile>,
    /// How many entries are there, damaged ones included.
    count: AtomicU64,
}

impl Checkpoints {
    /// Opens the file, or makes it.
    pub fn open(volume: &dyn Volume) -> io::Result<Self> {
        let file = open_or_create(volume, FILE, &volume.list()?)?;
        let mut end = file.length()?;
        let mut block = vec![0; AHEAD_BYTES];
        // The end is zeros that were written ahead.
        while end > 0 {
            let begin = (end - 1) / AHEAD_BYTES as u64 * AHEAD_BYTES as u64;
            let read = file.read_at(&mut block, begin)?;
            let written = block.iter().take(read).rposition(|&byte| byte != 0);
            end = begin + written.map_or(0, |last| last as u64 + 1);
            if written.is_some() {
                break;
            }
        }
        let count = AtomicU64::new(end.div_ceil(ENTRY_BYTES));
        Ok(Self { file, count })
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Reads an entry, from 0 on; `None` if it is damaged.
    pub fn read(&self, place: u64) -> io::Result<Option<Checkpoint>> {
        let mut entry = [0; ENTRY];
        self.file.read_at(&mut entry, place * ENTRY_BYTES)?;
        Ok(Checkpoint::decode(&entry))
    }

    /// The last one that can be read.
    pub fn last(&self) -> io::Result<Option<Checkpoint>> {
        for place in (0..self.count()).rev() {
            if let Some(found) = self.read(place)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The one of a size.
    pub fn find(&self, size: u64) -> io::Result<Option<Checkpoint>> {
        Ok(self.first_from(size)?.filter(|found| found.size == size))
    }

    /// The first one of at least a size that can be read.
    pub fn first_from(&self, size: u64) -> io::Result<Option<Checkpoint>> {
        Ok(self.search(size)?.map(|(_, found)| found))
    }

    /// Tells those of sizes from one on and before another one, in order.
    pub fn between(
        &self,
        (from, before): (u64, u64),
        mut each: impl FnMut(Checkpoint) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some((first, _)) = self.search(from)? else { return Ok(()) };
        for place in first..self.count() {
            match self.read(place)? {
                Some(found) if found.size < before => each(found)?,
                Some(_) => break,
                None => {}
            }
        }
        Ok(())
    }

    /// What is copied of them: those up to a size.
    pub fn copy(&self, size: u64) -> io::Result<FileCopy> {
        let place = self.search(size.saturating_add(1))?.map(|(place, _)| place);
        let length = place.unwrap_or(self.count()) * ENTRY_BYTES;
        Ok(FileCopy::begun(FILE.to_owned(), Arc::clone(&self.file), length))
    }

    fn search(&self, size: u64) -> io::Result<Option<(u64, Checkpoint)>> {
        let (mut low, mut high, mut found) = (0, self.count(), None);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.whole_within(middle, high)? {
                None => high = middle,
                Some((place, whole)) if whole.size >= size => {
                    found = Some((place, whole));
                    high = middle;
                }
                Some((place, _)) => low = place + 1,
            }
        }
        Ok(found)
    }

    fn whole_within(&self, begin: u64, end: u64) -> io::Result<Option<(u64, Checkpoint)>> {
        for place in begin..end {
            if let Some(whole) = self.read(place)? {
                return Ok(Some((place, whole)));
            }
        }
        Ok(None)
    }

    /// Adds one. It is on disk when this returns.
    pub fn append(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let count = self.count();
        let offset = count * ENTRY_BYTES;
        if offset >= self.file.length()? {
            self.file.write_at(&vec![0; AHEAD_BYTES], offset)?;
        }
        self.file.write_at(&checkpoint.encode(), offset)?;
        self.file.sync()?;
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }
}
