//! A file that is there once all of it is, so that what failed can be tried again.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
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
    /// A file beside the one that is wanted, which takes its name in the end, and is removed if it
    /// doesn't.
    New {
        /// What is written to.
        file: NamedTempFile,
        /// What it is to be called.
        path: PathBuf,
    },
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
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory_of(path))
            .with_context(|| format!("can't make `{}`", path.display()))?;
        Ok(Self::New { file, path: path.to_owned() })
    }

    /// Whether it is the standard output, where nothing else is to be said.
    pub(super) fn is_standard(&self) -> bool {
        matches!(self, Self::Standard(_))
    }

    /// Opens what was written, to read it; the standard output can't be read.
    pub(super) fn reopen(&mut self) -> anyhow::Result<Option<File>> {
        self.flush()?;
        match self {
            Self::Standard(_) => Ok(None),
            Self::New { file, path } => {
                let opened = file.reopen();
                Ok(Some(opened.with_context(|| format!("can't read `{}`", path.display()))?))
            }
        }
    }

    /// Gives it its name, now that everything is written and on disk.
    pub(super) fn keep(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let Self::New { file, path } = self else { return Ok(()) };
        let failed = || format!("can't write `{}`", path.display());
        file.as_file().sync_all().with_context(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => sync_directory(directory_of(&path)).with_context(failed),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(is_there(&path).into())
            }
            Err(error) => Err(error.error).with_context(failed),
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(output) => output.write(bytes),
            Self::New { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(output) => output.flush(),
            Self::New { file, .. } => file.flush(),
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
    use std::fs;

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
}
