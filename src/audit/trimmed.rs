//! Which segments were removed on purpose: so that a file that is missing is told apart from one that
//! is no longer kept, and that the chain of an account goes on from its last record.
//!
//! It is one small file that is replaced whole, on disk before the first segment goes. So a removal
//! that was cut short is finished at the next start.

use std::{collections::HashMap, io, sync::Arc};

use prost::Message;

use crate::store::pb;

use super::{
    recovery,
    segment::{Content, Cursor, Segment},
    volume::Volume,
};

/// The file, and the one that takes its place.
pub const FILE: &str = "trimmed";
const NEW_FILE: &str = "trimmed.new";
const MAGIC: &[u8; 8] = b"AAPTRIM1";
/// The magic number, the length and the checksum.
const HEADER_BYTES: usize = 16;
/// How much of a segment without a footer is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Where a log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// The first record that is kept.
    pub first_kept: u64,
    /// The last record before that of each account.
    pub accounts: Vec<(Box<str>, u64)>,
}

/// Why it isn't known where a log begins.
#[derive(Debug, thiserror::Error)]
pub enum TrimmedError {
    /// The file is damaged.
    #[error(
        "`{FILE}` is damaged, so that nobody can tell which audit records were removed; restore it"
    )]
    Damaged,
    /// The file system refused.
    #[error("can't read `{FILE}` of the audit log")]
    Io(#[from] io::Error),
}

impl Trimmed {
    /// Nothing was removed.
    fn none() -> Self {
        Self { first_kept: 1, accounts: Vec::new() }
    }

    /// Reads where a log begins.
    pub fn read(volume: &dyn Volume) -> Result<Self, TrimmedError> {
        if !volume.list()?.iter().any(|name| name == FILE) {
            return Ok(Self::none());
        }
        let file = volume.open(FILE)?;
        let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        // Twice, so that one flipped bit costs nothing.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        Self::decode(first).or_else(|| Self::decode(second)).ok_or(TrimmedError::Damaged)
    }

    /// Where a log begins when these, its oldest segments, are removed as well.
    pub fn of(
        volume: &dyn Volume,
        expired: &[Arc<Segment>],
        first_kept: u64,
    ) -> Result<Self, TrimmedError> {
        let mut heads: HashMap<_, _> = Self::read(volume)?.accounts.into_iter().collect();
        for segment in expired {
            heads.extend(heads_of(segment)?);
        }
        let mut accounts: Vec<_> = heads.into_iter().collect();
        accounts.sort();
        Ok(Self { first_kept, accounts })
    }

    /// Puts it on disk.
    pub fn write(&self, volume: &dyn Volume) -> io::Result<()> {
        if volume.list()?.iter().any(|name| name == NEW_FILE) {
            volume.remove(NEW_FILE)?;
        }
        let file = volume.create(NEW_FILE)?;
        file.write_at(&self.encode().repeat(2), 0)?;
        file.sync()?;
        volume.rename(NEW_FILE, FILE)?;
        volume.sync()
    }

    fn encode(&self) -> Vec<u8> {
        let accounts = self.accounts.iter().map(|(account, last)| pb::AccountHead {
            account: account.to_string(),
            last_sequence: *last,
        });
        let (first_kept_sequence, accounts) = (self.first_kept, accounts.collect());
        let payload = pb::TrimMarker { first_kept_sequence, accounts }.encode_to_vec();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sum, payload) = rest.split_first_chunk::<4>()?;
        let is_whole = usize::try_from(u32::from_le_bytes(*length)) == Ok(payload.len())
            && crc32c::crc32c(payload).to_le_bytes() == *sum;
        if !is_whole {
            return None;
        }
        let pb::TrimMarker { first_kept_sequence, accounts } =
            pb::TrimMarker::decode(payload).ok()?;
        let accounts = accounts
            .into_iter()
            .map(|pb::AccountHead { account, last_sequence }| (account.into(), last_sequence));
        let accounts = accounts.collect();
        (first_kept_sequence > 1).then_some(Self { first_kept: first_kept_sequence, accounts })
    }
}

/// The last record of each account in a sealed segment.
fn heads_of(segment: &Arc<Segment>) -> io::Result<HashMap<Box<str>, u64>> {
    if let Some(footer) = recovery::footer_of(segment)? {
        return Ok(footer.accounts.into_iter().collect());
    }
    // Its footer is damaged; its records say the same.
    let (mut heads, mut entries) = (HashMap::new(), Vec::new());
    let mut cursor = Cursor::new(Arc::clone(segment), segment.first_sequence());
    while cursor.next() <= segment.last() {
        cursor.read(CHUNK_BYTES, &mut entries)?;
        for entry in entries.drain(..) {
            if let Content::Record(bytes) = entry.content {
                heads.insert(super::record::account(&bytes).into(), entry.sequence);
            }
        }
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::disk::Disk;

    #[test]
    fn what_was_removed_reads_back_and_survives_any_one_flipped_bit() {
        let accounts = vec![("".into(), 3), ("acme".into(), 40)];
        let trimmed = Trimmed { first_kept: 41, accounts };
        let disk = Disk::default();
        assert_eq!(Trimmed::read(&disk).unwrap(), Trimmed::none());
        for _ in 0..2 {
            trimmed.write(&disk).unwrap();
            assert_eq!(Trimmed::read(&disk).unwrap(), trimmed);
        }
        let length = disk.files()[FILE].len();
        for bit in 0..length * 8 {
            disk.alter(FILE, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            assert_eq!(Trimmed::read(&disk).unwrap(), trimmed, "bit {bit}");
            disk.alter(FILE, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
        disk.alter(FILE, |bytes| bytes.fill(0));
        assert!(matches!(Trimmed::read(&disk), Err(TrimmedError::Damaged)));
    }
}
