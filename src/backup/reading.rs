//! A backup that is there: read once from its first byte to its last, and held against its own digests.
//! What is damaged is named with its place.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    sync::Arc,
};

use ring::digest::{Context, SHA256};

use crate::audit::{
    copying,
    volume::{Volume, VolumeFile},
};

use super::{
    archive::{self, BLOCK, Block, Entry},
    head::{
        CURSORS_FILE, Digest, EVENTS_PREFIX, HEAD_FILE, Head, SUMS_FILE, events_name, read_sums,
    },
    writing::finish,
};

/// How many bytes are read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How large what is taken into memory whole may be: what a backup says of itself, its digests, the
/// cursors, some events.
const MOST_IN_MEMORY: u64 = 256 << 20;

/// A backup whose every byte is what was written.
#[derive(Debug)]
pub struct Archive {
    file: Arc<dyn VolumeFile>,
    /// Where each file is, by name.
    files: BTreeMap<String, Place>,
    head: Head,
}

/// Where a file is, and its digest.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
    /// Of its bytes.
    pub digest: Digest,
}

/// Why something isn't a whole backup.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is none at all.
    #[error("it is no backup: {0}")]
    NoBackup(String),
    /// It was cut off.
    #[error("it ends at byte {0}, before its end: it was cut off, or never finished")]
    Truncated(u64),
    /// It isn't what was written.
    #[error("it is damaged at byte {offset}, in `{file}`: {detail}")]
    Damaged {
        /// The file in it.
        file: String,
        /// The place in the backup.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// It isn't what it was a moment ago.
    #[error("it is another one now, at byte {0}, than it was when it was verified")]
    Changed(u64),
    /// It can't be read.
    #[error("can't read it")]
    Io(#[from] io::Error),
}

/// Told how many of how many bytes are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Archive {
    /// Reads all of a backup.
    pub fn open(file: Arc<dyn VolumeFile>, progress: Progress<'_>) -> Result<Self, ArchiveError> {
        let length = file.length()?;
        let mut scan = Scan { file: file.as_ref(), length, offset: 0, files: BTreeMap::new() };
        while scan.take_file(progress)? {}
        let Scan { offset, mut files, .. } = scan;
        let damaged = |file: &str, offset, detail: &str| {
            let (file, detail) = (file.to_owned(), detail.to_owned());
            ArchiveError::Damaged { file, offset, detail }
        };
        if offset != length {
            return Err(damaged("", offset, "something follows its end"));
        }
        // Without it, its end is missing, whatever else there is.
        let sums = files.remove(SUMS_FILE).ok_or(ArchiveError::Truncated(length))?;
        let bytes = read_whole(file.as_ref(), &sums)?;
        let wrong = || damaged(SUMS_FILE, sums.offset, "it has a line that is no digest of a file");
        let text = str::from_utf8(&bytes).map_err(|_| wrong())?;
        compare(&files, &read_sums(text).ok_or_else(wrong)?, sums.offset)?;
        let place = files
            .get(HEAD_FILE)
            .ok_or_else(|| ArchiveError::NoBackup(format!("it has no `{HEAD_FILE}`")))?;
        let head = Head::decode(&read_whole(file.as_ref(), place)?);
        let head =
            head.map_err(|detail| ArchiveError::NoBackup(format!("`{HEAD_FILE}`: {detail}")))?;
        if let Some((name, place)) = files.iter().find(|(name, _)| !is_known(name, &head)) {
            return Err(damaged(name, place.offset, "no backup has a file of that name"));
        }
        Ok(Self { file, files, head })
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The files in a folder, by name, and where they are.
    pub fn files_in(&self, folder: &str) -> impl Iterator<Item = (&str, &Place)> {
        self.files.iter().filter_map(move |(name, place)| {
            let rest = name.strip_prefix(folder)?.strip_prefix('/')?;
            (!rest.contains('/')).then_some((rest, place))
        })
    }

    /// All bytes of a file; `None` if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let place = self.files.get(name);
        place.map(|place| read_whole(self.file.as_ref(), place)).transpose()
    }

    /// A file that is read at places.
    pub fn part(&self, place: &Place) -> Part {
        let Place { offset, size, digest: _ } = *place;
        Part { file: Arc::clone(&self.file), bytes: offset..offset + size }
    }

    /// A folder in it, to be looked at like one of the file system.
    pub fn folder(self: &Arc<Self>, folder: &str) -> InArchive {
        InArchive { archive: Arc::clone(self), folder: folder.to_owned() }
    }
}

/// Whether a file may be in a backup.
fn is_known(name: &str, head: &Head) -> bool {
    if name == HEAD_FILE || name == CURSORS_FILE {
        return true;
    }
    if let Some(first) = name.strip_prefix(EVENTS_PREFIX) {
        return first.parse().is_ok_and(|first| events_name(first) == name);
    }
    head.folders().any(|(_, folder)| {
        let rest = name.strip_prefix(folder.as_str()).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| match rest.strip_prefix("tree/") {
            Some(file) => copying::is_of_tree(file),
            None => copying::is_of_log(rest),
        })
    })
}

/// Goes through a backup once.
struct Scan<'a> {
    file: &'a dyn VolumeFile,
    length: u64,
    offset: u64,
    files: BTreeMap<String, Place>,
}

impl Scan<'_> {
    /// Takes in the next file; `false` at the end.
    fn take_file(&mut self, progress: Progress<'_>) -> Result<bool, ArchiveError> {
        let begin = self.offset;
        let entry = match archive::read(&self.take_block()?) {
            Ok(Block::Entry(entry)) => entry,
            Ok(Block::End) => {
                let block = self.take_block()?;
                if begin > 0 && archive::read(&block) == Ok(Block::End) {
                    return Ok(false);
                }
                return Err(self.damaged("", begin, "there are zeros where a file should be"));
            }
            Err(detail) if begin == 0 => return Err(ArchiveError::NoBackup(detail.to_owned())),
            Err(detail) => return Err(self.damaged("", begin, detail)),
        };
        if begin == 0 && entry.name != HEAD_FILE {
            let detail = format!("it begins with `{}`, not with `{HEAD_FILE}`", entry.name);
            return Err(ArchiveError::NoBackup(detail));
        }
        let Entry { name, size } = entry;
        let offset = self.offset;
        let end = offset.checked_add(size).and_then(|end| end.checked_add(archive::padding(size)));
        let end = end.filter(|end| *end <= self.length);
        let end = end.ok_or(ArchiveError::Truncated(self.length))?;
        let mut digest = Context::new(&SHA256);
        let mut buffer = vec![0; CHUNK_BYTES];
        while self.offset < offset + size {
            let left = usize::try_from(offset + size - self.offset).unwrap_or(usize::MAX);
            let chunk = buffer.get_mut(..left.min(CHUNK_BYTES)).unwrap_or_default();
            self.read(chunk)?;
            digest.update(chunk);
            progress(self.offset, self.length);
        }
        let place = Place { offset, size, digest: finish(digest) };
        let mut zeros = vec![0; usize::try_from(end - self.offset).unwrap_or_default()];
        self.read(&mut zeros)?;
        if zeros.iter().any(|&byte| byte != 0) {
            return Err(self.damaged(&name, offset + size, "what stands behind it is not zero"));
        }
        if self.files.contains_key(SUMS_FILE) {
            return Err(self.damaged(&name, begin, "it stands behind the last file"));
        }
        if self.files.insert(name.clone(), place).is_some() {
            return Err(self.damaged(&name, begin, "it is there twice"));
        }
        Ok(true)
    }

    fn take_block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        self.read(&mut block)?;
        Ok(block)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        if read < buffer.len() { Err(ArchiveError::Truncated(self.offset)) } else { Ok(()) }
    }

    /// Damage in a file, or behind the last one that was taken in.
    fn damaged(&self, name: &str, offset: u64, detail: &str) -> ArchiveError {
        let before = || self.files.iter().max_by_key(|(_, place)| place.offset);
        let file = match name {
            "" => before().map_or(String::new(), |(name, _)| name.clone()),
            name => name.to_owned(),
        };
        ArchiveError::Damaged { file, offset, detail: detail.to_owned() }
    }
}

/// Makes sure that the files are exactly those whose digests are known, and are what was written.
fn compare(
    files: &BTreeMap<String, Place>,
    sums: &HashMap<&str, Digest>,
    at: u64,
) -> Result<(), ArchiveError> {
    for (name, Place { offset, digest, .. }) in files {
        let detail = match sums.get(name.as_str()) {
            Some(wanted) if wanted == digest => continue,
            Some(_) => "its SHA-256 is another one",
            None => "its SHA-256 is not known",
        };
        let (file, offset, detail) = (name.clone(), *offset, detail.to_owned());
        return Err(ArchiveError::Damaged { file, offset, detail });
    }
    match sums.keys().find(|name| !files.contains_key(**name)) {
        Some(missing) => Err(ArchiveError::Damaged {
            file: SUMS_FILE.to_owned(),
            offset: at,
            detail: format!("`{missing}` is missing"),
        }),
        None => Ok(()),
    }
}

fn read_whole(file: &dyn VolumeFile, place: &Place) -> Result<Vec<u8>, ArchiveError> {
    let Place { offset, size, .. } = *place;
    if size > MOST_IN_MEMORY {
        return Err(ArchiveError::NoBackup(format!("the file at byte {offset} is too large")));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let read = file.read_at(&mut bytes, offset)?;
    if read < bytes.len() {
        return Err(ArchiveError::Truncated(offset + read as u64));
    }
    // It was read before, and may have become another one since.
    let mut digest = Context::new(&SHA256);
    digest.update(&bytes);
    if finish(digest) == place.digest { Ok(bytes) } else { Err(ArchiveError::Changed(offset)) }
}

/// A file in a backup. What would be written to it is kept from it.
#[derive(Debug)]
pub struct Part {
    file: Arc<dyn VolumeFile>,
    bytes: Range<u64>,
}

impl VolumeFile for Part {
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.end - self.bytes.start)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let begin = self.bytes.start.saturating_add(offset).min(self.bytes.end);
        let left = usize::try_from(self.bytes.end - begin).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), begin)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder in a backup.
#[derive(Debug)]
pub struct InArchive {
    archive: Arc<Archive>,
    folder: String,
}

impl Volume for InArchive {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.archive.files_in(&self.folder).map(|(name, _)| name.to_owned()).collect())
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let place = self.archive.files.get(&format!("{}/{name}", self.folder));
        Ok(Arc::new(self.archive.part(place.ok_or(io::ErrorKind::NotFound)?)))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
