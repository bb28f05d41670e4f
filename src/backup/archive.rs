//! The frame of a backup: a POSIX archive (ustar), which every `tar` lists and unpacks.
//!
//! Of that form it has what a backup needs and nothing else: plain files with short names, of mode
//! 0600 and of nobody in particular. What the files are is not known here.

/// Everything in an archive comes in blocks of so many bytes.
pub const BLOCK: usize = 512;
/// The longest name.
const MAX_NAME_BYTES: usize = 100;
/// Where a header has what it says, as POSIX has it.
const MODE: usize = 100;
const SIZE: usize = 124;
const SIZE_DIGITS: usize = 11;
const TIME: usize = 136;
const SUM: usize = 148;
const KIND: usize = 156;
const MAGIC: usize = 257;
const USTAR: &[u8; 8] = b"ustar\x0000";
/// What begins a size that is written as a binary number: it has too many digits.
const BINARY: u8 = 0x80;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's name.
    pub name: String,
    /// How many bytes it has.
    pub size: u64,
}

/// What a block is where a header should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A file's header.
    Entry(Entry),
    /// Zeros: the archive ends.
    End,
}

/// Makes a header; `None` if the name is too long. The time is in seconds since 1970.
pub fn header(name: &str, size: u64, seconds: u64) -> Option<[u8; BLOCK]> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.as_bytes());
    put(&mut block, MODE, b"0000600\x000000000\x000000000\x00");
    let octal = |number: u64| format!("{number:0SIZE_DIGITS$o}\0");
    match octal(size) {
        size if size.len() == SIZE_DIGITS + 1 => put(&mut block, SIZE, size.as_bytes()),
        _ => {
            put(&mut block, SIZE, &[BINARY, 0, 0, 0]);
            put(&mut block, SIZE + 4, &size.to_be_bytes());
        }
    }
    put(&mut block, TIME, octal(seconds & ((1 << 33) - 1)).as_bytes());
    put(&mut block, KIND, b"0");
    put(&mut block, MAGIC, USTAR);
    let sum = format!("{:06o}\0 ", sum_of(&block));
    put(&mut block, SUM, sum.as_bytes());
    Some(block)
}

/// Reads a block that stands where a header should.
pub fn read(block: &[u8; BLOCK]) -> Result<Block, &'static str> {
    if block.iter().all(|&byte| byte == 0) {
        return Ok(Block::End);
    }
    let field = |place: usize, length: usize| block.get(place..place + length).unwrap_or_default();
    if octal(field(SUM, 6)) != Some(sum_of(block)) {
        return Err("its header's checksum does not match");
    }
    if field(MAGIC, USTAR.len()) != USTAR || field(KIND, 1) != b"0" {
        return Err("it is no plain file of a POSIX archive");
    }
    let size = match field(SIZE, SIZE_DIGITS + 1) {
        [BINARY, 0, 0, 0, size @ ..] => size.first_chunk().copied().map(u64::from_be_bytes),
        digits => octal(digits.get(..SIZE_DIGITS).unwrap_or_default()),
    };
    let name = field(0, MAX_NAME_BYTES).split(|&byte| byte == 0).next().unwrap_or_default();
    let name = str::from_utf8(name).ok().filter(|name| !name.is_empty());
    match (name, size) {
        (Some(name), Some(size)) => Ok(Block::Entry(Entry { name: name.to_owned(), size })),
        _ => Err("its header means nothing"),
    }
}

/// How many zeros stand behind a file of a size.
pub fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

fn put(block: &mut [u8; BLOCK], place: usize, bytes: &[u8]) {
    for (target, byte) in block.iter_mut().skip(place).zip(bytes) {
        *target = *byte;
    }
}

/// The sum of all bytes, with spaces where the sum itself stands.
fn sum_of(block: &[u8; BLOCK]) -> u64 {
    let bytes = block.iter().enumerate();
    bytes
        .map(|(place, byte)| if (SUM..SUM + 8).contains(&place) { 32 } else { u64::from(*byte) })
        .sum()
}

fn octal(digits: &[u8]) -> Option<u64> {
    let are_digits = digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let text = str::from_utf8(digits).ok().filter(|_| are_digits)?;
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_found() {
        for (name, size) in
            [("a", 0), ("audit/tree/level-08", 1), ("b", (1 << 33) - 1), ("c", 1 << 33)]
        {
            let block = header(name, size, 1_800_000_000).unwrap();
            let entry = Block::Entry(Entry { name: name.to_owned(), size });
            assert_eq!(read(&block), Ok(entry.clone()));
            for bit in 0..BLOCK * 8 {
                let mut flipped = block;
                flipped[bit / 8] ^= 1 << (bit % 8);
                // What stands behind the digits of the sum says nothing.
                let says_nothing = (SUM + 6..SUM + 8).contains(&(bit / 8));
                assert!(says_nothing || read(&flipped).is_err(), "{name}, bit {bit}");
            }
        }
        assert_eq!(read(&[0; BLOCK]), Ok(Block::End));
        assert!(header("", 0, 0).is_none() && header(&"n".repeat(101), 0, 0).is_none());
        assert!(header(&"n".repeat(100), 0, 0).is_some());
    }

    #[test]
    fn what_other_programs_put_into_archives_is_none_of_it() {
        // A link, and a name from an older form.
        for (place, bytes) in [(KIND, b"2".as_slice()), (MAGIC, b"ustar  \0")] {
            let mut block = header("a", 0, 0).unwrap();
            put(&mut block, place, bytes);
            let sum = format!("{:06o}", sum_of(&block));
            put(&mut block, SUM, sum.as_bytes());
            assert_eq!(read(&block), Err("it is no plain file of a POSIX archive"));
        }
    }

    #[test]
    fn files_end_at_blocks() {
        let cases = [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)];
        for (size, wanted) in cases {
            assert_eq!(padding(size), wanted);
        }
    }
}
