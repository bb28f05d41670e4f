//! A witness of where the journal ends, in a file of its own.
//!
//! The engine takes a damaged tail of its log for one that was never finished, and drops it without
//! a word. So the last acknowledged sequence number is kept beside it, and a journal that ends
//! before it is refused.
//!
//! The file has two slots of 512 bytes, written in turn: a torn write leaves the other one.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

const SLOT_BYTES: u64 = 512;
const SLOTS: u64 = 2;
/// A sequence number and its checksum.
const ENTRY_BYTES: usize = 12;

/// The file that holds the last acknowledged sequence number.
#[derive(Debug)]
pub struct Head {
    file: File,
    turn: u64,
}

impl Head {
    /// Opens or creates the file; tells the last sequence number in it.
    pub fn open(path: &Path) -> io::Result<(Self, u64)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let last = slots.iter().flatten().max().copied();
        if last.is_none() && file.metadata()?.len() > 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("both slots of `{}` are damaged", path.display()),
            ));
        }
        // The next write goes to the slot that doesn't hold the last number.
        let turn = u64::from(last.is_some() && slots[0] == last);
        Ok((Self { file, turn }, last.unwrap_or_default()))
    }

    /// Notes the last sequence number. It is on disk when this returns.
    pub fn advance(&mut self, sequence: u64) -> io::Result<()> {
        let mut entry = [0; ENTRY_BYTES];
        let (number, checksum) = entry.split_at_mut(8);
        number.copy_from_slice(&sequence.to_le_bytes());
        checksum.copy_from_slice(&crc32c::crc32c(&sequence.to_le_bytes()).to_le_bytes());
        self.file.write_all_at(&entry, self.turn * SLOT_BYTES)?;
        self.file.sync_data()?;
        self.turn = (self.turn + 1) % SLOTS;
        Ok(())
    }
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<u64>> {
    let mut entry = [0; ENTRY_BYTES];
    match file.read_exact_at(&mut entry, slot * SLOT_BYTES) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some((number, checksum)) = entry.split_first_chunk::<8>() else { return Ok(None) };
    let matches = crc32c::crc32c(number).to_le_bytes().as_slice() == checksum;
    // An untouched slot is all zeros, which is no entry: sequence numbers begin with 1.
    let sequence = u64::from_le_bytes(*number);
    Ok((matches && sequence > 0).then_some(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_there_after_opening_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        for sequence in 1..6 {
            let (mut head, last) = Head::open(&path).unwrap();
            assert_eq!(last, sequence - 1);
            head.advance(sequence).unwrap();
        }
    }

    #[test]
    fn a_torn_write_leaves_the_number_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        let (mut head, _) = Head::open(&path).unwrap();
        for sequence in 1..=4 {
            head.advance(sequence).unwrap();
        }
        // 4 went to the second slot.
        head.file.write_all_at(&[0xff; 3], SLOT_BYTES).unwrap();
        assert_eq!(Head::open(&path).unwrap().1, 3);
        head.file.write_all_at(&[0xff; 3], 0).unwrap();
        assert!(Head::open(&path).unwrap_err().to_string().contains("both slots"));
    }
}
