//! A backup on its way to where it can't be read again: whether all of it came.
//!
//! It looks at what frames the files, not into them: whether they are what was written is seen by who
//! reads the backup.

use super::{
    archive::{self, BLOCK, Block, Entry},
    head::SUMS_FILE,
    reading::ArchiveError,
};

/// How many blocks of zeros a backup ends with.
const LAST_BLOCKS: u64 = 2;

/// A backup as far as it has passed.
#[derive(Debug, Default)]
pub struct Passing {
    /// How many bytes passed.
    offset: u64,
    /// How many of the next ones are a file's.
    rest: u64,
    /// What has come of the block behind these, which is no file's.
    block: Vec<u8>,
    /// The file that came last.
    file: String,
    /// How many of the last blocks came.
    last_blocks: u64,
}

impl Passing {
    /// Looks at the next bytes.
    pub fn pass(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            let wanted = match self.rest {
                0 => BLOCK - self.block.len(),
                rest => usize::try_from(rest).unwrap_or(usize::MAX),
            };
            let (taken, more) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            if self.rest == 0 {
                self.block.extend_from_slice(taken);
            } else {
                self.rest -= taken.len() as u64;
            }
            self.offset += taken.len() as u64;
            if let Some(block) = self.block.first_chunk().copied() {
                self.block.clear();
                self.take(&block)?;
            }
            bytes = more;
        }
        Ok(())
    }

    /// Makes sure that nothing is missing, now that nothing more comes.
    pub fn end(self) -> Result<(), ArchiveError> {
        let is_whole = self.last_blocks == LAST_BLOCKS && self.block.is_empty();
        if is_whole { Ok(()) } else { Err(ArchiveError::Truncated(self.offset)) }
    }

    fn take(&mut self, block: &[u8; BLOCK]) -> Result<(), ArchiveError> {
        match archive::read(block) {
            Ok(Block::End) if self.file == SUMS_FILE && self.last_blocks < LAST_BLOCKS => {
                self.last_blocks += 1;
                Ok(())
            }
            Ok(Block::End) => Err(self.damaged("there are zeros where a file should be")),
            Ok(Block::Entry(_)) if self.file == SUMS_FILE => {
                Err(self.damaged("something follows its end"))
            }
            Ok(Block::Entry(Entry { name, size })) => {
                let with_padding = size.checked_next_multiple_of(BLOCK as u64);
                self.rest = with_padding.ok_or_else(|| self.damaged("a file is too large"))?;
                self.file = name;
                Ok(())
            }
            Err(detail) => Err(self.damaged(detail)),
        }
    }

    fn damaged(&self, detail: &str) -> ArchiveError {
        let (file, detail) = (self.file.clone(), detail.to_owned());
        ArchiveError::Damaged { file, offset: self.offset - BLOCK as u64, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of two files, the digests last.
    fn archive() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, size) in [("backup.json", 700), (SUMS_FILE, 512)] {
            bytes.extend(archive::header(name, size as u64, 0).unwrap());
            bytes.resize((bytes.len() + size).next_multiple_of(BLOCK), 0);
        }
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    /// What is said of bytes that come in pieces.
    fn told(bytes: &[u8], piece: usize) -> Result<(), String> {
        let mut passing = Passing::default();
        let passed = bytes.chunks(piece).try_for_each(|piece| passing.pass(piece));
        passed.and_then(|()| passing.end()).map_err(|error| error.to_string())
    }

    #[test]
    fn all_of_a_backup_is_whole_and_less_of_it_is_not_however_it_comes() {
        let whole = archive();
        for piece in [1, 7, 511, 512, 513, whole.len()] {
            assert_eq!(told(&whole, piece), Ok(()), "{piece}");
            for length in 0..whole.len() {
                let cut = told(&whole[..length], piece).unwrap_err();
                let wanted = format!("it ends at byte {length}, before its end");
                assert!(cut.starts_with(&wanted), "{cut}");
            }
        }
    }

    #[test]
    fn what_does_not_go_on_as_a_backup_does_is_none() {
        let more = |bytes: &[u8]| [&archive(), bytes].concat();
        let header = archive::header("more", 0, 0).unwrap();
        let huge = archive::header("huge", u64::MAX, 0).unwrap();
        let end = archive().len();
        for (bytes, wanted) in [
            (more(&[0; BLOCK]), format!("at byte {end}, in `SHA256SUMS`: there are zeros")),
            (more(&header), format!("at byte {end}, in `SHA256SUMS`: something follows")),
            (more(&[1]), format!("it ends at byte {}", end + 1)),
            (vec![0; BLOCK], "at byte 0, in ``: there are zeros".to_owned()),
            (vec![1; BLOCK], "at byte 0, in ``: its header's".to_owned()),
            (huge.to_vec(), "at byte 0, in ``: a file is too large".to_owned()),
        ] {
            let told = told(&bytes, 100).unwrap_err();
            assert!(told.contains(&wanted), "{told}");
        }
    }
}
