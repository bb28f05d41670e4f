//! A file that is there once all of it is, so that what failed can be tried again.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use tempfile::NamedTempFile;

use crate::store::data_dir::sync_directory;

use super::failure::Failure;

/// What the user's mask leaves of this is who may read a new file.
const MODE: u32 = 0o666;
/// The mode of a file that is for its owner alone.
const PRIVATE_MODE: u32 = 0o600;

/// Where something is written: the standard output, or a new file.
#[derive(Debug)]
pub(super) enum WholeFile {
    /// The standard output, which gets everything at once.
    Standard(io::Stdout),
    /// A file beside the one that is wanted, which takes its name in the end.
    New {
        /// What is written to.
        file: Unfinished,
        /// What it is to be called.
        path: PathBuf,
    },
}

/// A file that hasn't its name.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It has none at all, so nothing is left of it whatever ends the program.
    Nameless(File),
    /// Where the file system has no such files: it has another one, and is removed when this is dropped.
    Named(NamedTempFile),
}

impl Unfinished {
    fn begin(directory: &Path, mode: u32) -> io::Result<Self> {
        match Self::nameless(directory, mode) {
            Ok(file) => Ok(file),
            // What else is wrong with the directory is told by the other way, too.
            Err(_) => Self::named(directory, mode),
        }
    }

    fn nameless(directory: &Path, mode: u32) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = File::from(open(directory, flags, Mode::from_raw_mode(mode))?);
        // It can be given a name by what the system calls it alone.
        called(&file).symlink_metadata()?;
        Ok(Self::Nameless(file))
    }

    fn named(directory: &Path, mode: u32) -> io::Result<Self> {
        let permissions = Permissions::from_mode(mode);
        let file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory)?;
        Ok(Self::Named(file))
    }

    fn file(&self) -> &File {
        match self {
            Self::Nameless(file) => file,
            Self::Named(file) => file.as_file(),
        }
    }

    /// Gives it its name, if nothing has that.
    fn keep(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Nameless(file) => {
                Ok(linkat(CWD, called(&file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
            }
            Self::Named(file) => Ok(file.persist_noclobber(path).map(drop)?),
        }
    }
}

/// What the system calls a file that is open.
fn called(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

impl WholeFile {
    /// Begins one; `-` is the standard output. A file that is there stays as it is.
    pub(super) fn begin(path: &Path) -> anyhow::Result<Self> {
        Self::begin_with(path, MODE)
    }

    /// The same for a file that nobody but its owner may read.
    pub(super) fn begin_private(path: &Path) -> anyhow::Result<Self> {
        Self::begin_with(path, PRIVATE_MODE)
    }

    fn begin_with(path: &Path, mode: u32) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard(io::stdout()));
        }
        if path.symlink_metadata().is_ok() {
            return Err(is_there(path).into());
        }
        let file = Unfinished::begin(directory_of(path), mode);
        let file = file.with_context(|| format!("can't make `{}`", path.display()))?;
        Ok(Self::New { file, path: path.to_owned() })
    }

    /// Whether it is the standard output, where nothing else is to be said.
    pub(super) fn is_standard(&self) -> bool {
        matches!(self, Self::Standard(_))
    }

    /// What was written, to be read at places; the standard output can't be read.
    pub(super) fn reopen(&mut self) -> anyhow::Result<Option<File>> {
        self.flush()?;
        match self {
            Self::Standard(_) => Ok(None),
            Self::New { file, path } => {
                let opened = file.file().try_clone();
                Ok(Some(opened.with_context(|| format!("can't read `{}`", path.display()))?))
            }
        }
    }

    /// Gives it its name, now that everything is written and on disk.
    pub(super) fn keep(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let Self::New { file, path } = self else { return Ok(()) };
        let failed = || format!("can't write `{}`", path.display());
        file.file().sync_all().with_context(failed)?;
        match file.keep(&path) {
            Ok(()) => sync_directory(directory_of(&path)).with_context(failed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(is_there(&path).into())
            }
            Err(error) => Err(error).with_context(failed),
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(output) => output.write(bytes),
            Self::New { file, .. } => file.file().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(output) => output.flush(),
            Self::New { file, .. } => file.file().flush(),
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

fn is_there(path: &Path) -> Failure {
    let remedy = "nothing is written over it: name another one".to_owned();
    Failure::conflict(format!("`{}` is there already", path.display()), vec![remedy])
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt as _};

    use super::*;

    #[test]
    fn a_file_is_there_once_it_is_kept_and_never_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("export");
        let begun = || {
            let mut file = WholeFile::begin(&path).unwrap();
            file.write_all(b"some").unwrap();
            file
        };
        drop(begun());
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "what failed leaves nothing"
        );
        let (first, second) = (begun(), begun());
        first.keep().unwrap();
        fs::write(&path, "all").unwrap();
        for error in [second.keep().unwrap_err(), WholeFile::begin(&path).unwrap_err()] {
            assert!(error.to_string().ends_with("is there already"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
    #[test]
    fn a_file_is_the_same_whether_it_has_another_name_until_then_or_none() {
        for (number, begin) in [Unfinished::nameless, Unfinished::named].into_iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            let names = || fs::read_dir(directory.path()).unwrap().count();
            let begun = match begin(directory.path(), PRIVATE_MODE) {
                Ok(begun) => begun,
                // Not every file system has files without a name.
                Err(error) if number == 0 => {
                    assert_ne!(error.kind(), io::ErrorKind::NotFound, "{error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            assert_eq!(names(), number, "none but by the name that it has until then");
            begun.file().write_all_at(b"all", 0).unwrap();
            let path = directory.path().join("export");
            begun.keep(&path).unwrap();
            assert_eq!((fs::read(&path).unwrap(), names()), (b"all".to_vec(), 1));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE_MODE);
            let another = begin(directory.path(), PRIVATE_MODE).unwrap();
            let error = another.keep(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!((fs::read(&path).unwrap(), names()), (b"all".to_vec(), 1));
        }
    }
}
