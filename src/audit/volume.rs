//! The files that segments live in: the only code that opens them, and the seam where tests let
//! writes and syncs fail.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    num::NonZero,
    ops::Range,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{Advice, FallocateFlags, OFlags},
    io::Errno,
};

/// A folder of files.
pub trait Volume: fmt::Debug + Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file. The name is on disk after [`Volume::sync`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>>;
    /// The same for a file that is filled with zeros for later: they needn't stay in memory.
    fn create_for_later(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        self.create(name)
    }
    /// Opens a file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>>;
    /// Gives a file another name, which is on disk after [`Volume::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Puts the names on disk.
    fn sync(&self) -> io::Result<()>;
}

/// An open file, read and written at places.
pub trait VolumeFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads from a place on; as much as there is, up to the buffer's length.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at a place.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends it.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Extends an empty file, which reads as zeros then, and has space set aside for it if it can be.
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.set_length(length)
    }
    /// Puts its content on disk.
    fn sync(&self) -> io::Result<()>;
    /// Says that its content up to a place, which is on disk, won't be read soon: it needn't stay in
    /// memory.
    fn let_go(&self, _end: u64) {}
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, or makes it.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        // Its own name must be on disk too, or all that is in it is lost with that.
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { path })
    }
}

impl Volume for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(options.open(self.path.join(name))?))
    }

    fn create_for_later(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let file = options.clone().create_new(true).open(&path)?;
        // Not every file system has a way past the page cache. Then all goes through it.
        let past_cache = options.custom_flags(DIRECT).open(&path).ok();
        Ok(Arc::new(ForLater { file, past_cache }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl VolumeFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..)
            && !rest.is_empty()
        {
            match FileExt::read_at(self, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, length) {
            // Not every file system can. Then it is taken when something is written.
            Err(Errno::NOTSUP | Errno::NOSYS) => self.set_len(length),
            allocated => allocated.map_err(io::Error::from),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn let_go(&self, end: u64) {
        // Only advice: where it isn't taken, the memory is kept for longer.
        let _ = rustix::fs::fadvise(self, 0, NonZero::new(end), Advice::DontNeed);
    }
}

/// A folder whose files are only read. What would be written is kept from the disk, and nothing is
/// made: who looks at a log must leave it as it is.
#[derive(Debug)]
pub struct Untouched {
    path: PathBuf,
}

#[derive(Debug)]
struct UntouchedFile(File);

impl Untouched {
    /// A folder that is there.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Volume for Untouched {
    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn VolumeFile>> {
        Ok(Arc::new(UntouchedFile(File::open(self.path.join(name))?)))
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

impl VolumeFile for UntouchedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        VolumeFile::read_at(&self.0, buffer, offset)
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

/// Stands for a file that is gone: it has no bytes and takes none.
#[derive(Debug)]
pub struct NoFile;

impl VolumeFile for NoFile {
    fn length(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn list(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// A file that is filled now and used later. What begins and ends with blocks goes past the page
/// cache, in which it would take the place of something that is used now, at the cost of a copy.
#[derive(Debug)]
struct ForLater {
    file: File,
    past_cache: Option<File>,
}

impl VolumeFile for ForLater {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        VolumeFile::read_at(&self.file, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let is_blocks = [offset, bytes.len() as u64, bytes.as_ptr().addr() as u64]
            .iter()
            .all(|place| place.is_multiple_of(BLOCK_BYTES));
        match &self.past_cache {
            // A file system may have larger blocks, or open files this way and not write them so.
            Some(file) if is_blocks => {
                file.write_all_at(bytes, offset).or_else(|_| self.file.write_all_at(bytes, offset))
            }
            _ => self.file.write_all_at(bytes, offset),
        }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// What is written past the page cache begins and ends with blocks of so many bytes, in the file and
/// in memory; more than any disk that there is asks for.
const BLOCK_BYTES: u64 = 4_096;
const DIRECT: i32 = OFlags::DIRECT.bits().cast_signed();

#[repr(align(4096))]
struct Zeros([u8; 256 * 1_024]);

static ZEROS: Zeros = Zeros([0; 256 * 1_024]);

/// Fills a part of a file with zeros, so that later syncs have no new space to note; it is on disk
/// when this returns.
pub fn fill_with_zeros(file: &dyn VolumeFile, part: Range<u64>) -> io::Result<()> {
    let mut offset = part.start;
    while offset < part.end {
        let count = usize::try_from(part.end - offset).unwrap_or(usize::MAX).min(ZEROS.0.len());
        file.write_at(ZEROS.0.get(..count).unwrap_or_default(), offset)?;
        offset += count as u64;
    }
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_later_has_what_was_written_past_the_page_cache_and_what_could_not_be() {
        let directory = tempfile::tempdir_in("target").unwrap();
        let folder = Folder::open(directory.path().join("segments")).unwrap();
        let file = folder.create_for_later("later").unwrap();
        folder.create_for_later("later").unwrap_err();
        file.write_at(&[1; 100], 0).unwrap();
        fill_with_zeros(file.as_ref(), 4_096..3 * 262_144 + 5).unwrap();
        let opened = folder.open("later").unwrap();
        let mut bytes = vec![7; 1 << 20];
        let count = opened.read_at(&mut bytes, 0).unwrap();
        assert_eq!(count, 3 * 262_144 + 5);
        assert!(bytes[..100].iter().all(|byte| *byte == 1));
        assert!(bytes[100..count].iter().all(|byte| *byte == 0));
        // What is written through the page cache isn't hidden by what is past it, nor the other way.
        opened.write_at(&[2; 8_192], 4_000).unwrap();
        fill_with_zeros(file.as_ref(), 8_192..12_288).unwrap();
        opened.read_at(&mut bytes, 0).unwrap();
        assert!(bytes[4_000..8_192].iter().all(|byte| *byte == 2));
        assert!(bytes[8_192..12_288].iter().all(|byte| *byte == 0));
    }
}
