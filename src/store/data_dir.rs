//! The data directory: whose it is, which format it has, and that one process uses it at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The format that this version writes. Others are refused by name.
const FORMAT_VERSION: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";

/// Where the files of an audit log's tree are, within the log's folder.
pub const LOG_TREE_FOLDER: &str = "tree";
/// Where the files of the journal's tree are, within the directory.
pub const JOURNAL_TREE_FOLDER: &str = "journal-tree";
/// The file with the key that signs checkpoints.
pub const CHECKPOINT_KEY_FILE: &str = "checkpoint.key";
/// The file with what verifies the checkpoints of an audit log that another key has signed, within
/// the log's folder.
pub const FORMER_KEY_FILE: &str = "former.key";

/// An open data directory. The lock on it ends when this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    /// The audit logs that there were before, oldest first.
    previous_logs: Vec<Uuid>,
    /// Held, never read. A directory that is only looked at may have none.
    _lock: Option<File>,
}

/// A data directory that has no description yet, and so is none: whoever opens it is refused.
#[derive(Debug)]
pub struct NewDataDir {
    path: PathBuf,
    lock: File,
}

/// What a data directory is called by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Tells this server from others.
    pub node_id: Uuid,
    /// Tells this audit log from every other.
    pub log_id: Uuid,
    /// The name that the audit log's checkpoints bear.
    pub origin: String,
}

impl Identity {
    /// The name that the checkpoints of one of its audit logs bear.
    pub fn log_name(&self, log_id: Uuid) -> String {
        format!("{}/{log_id}", self.origin)
    }

    /// The name that the journal's checkpoints bear.
    pub fn journal_name(&self) -> String {
        let Self { node_id, origin, log_id: _ } = self;
        format!("{origin}/{node_id}/journal")
    }
}

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses it.
    #[error("data directory `{path}` is in use by process {holder}; stop that one first")]
    InUse {
        /// The directory.
        path: String,
        /// The process, as far as it is known.
        holder: String,
    },
    /// Others than its owner can read or write it.
    #[error("`{path}` has mode {mode:03o}, which lets others in; run `chmod -R go= '{directory}'`")]
    TooOpen {
        /// The directory or file.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// The data directory.
        directory: String,
    },
    /// It was written by another version.
    #[error(
        "data directory `{path}` has format {found}; this version reads format {FORMAT_VERSION}"
    )]
    UnknownFormat {
        /// The directory.
        path: String,
        /// What it says of itself.
        found: String,
    },
    /// It isn't a data directory.
    #[error(
        "`{path}` has no `{FORMAT_FILE}` file but is not empty; name an empty or new directory"
    )]
    NotADataDir {
        /// The directory.
        path: String,
    },
    /// It should be new.
    #[error("`{path}` is not empty; name an empty or new directory")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// Its description can't be read.
    #[error("`{path}` is damaged: {detail}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The file system refused.
    #[error("can't open data directory `{path}`")]
    Io {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FormatFile {
    version: u32,
    node_id: Uuid,
    log_id: Uuid,
    origin: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous_logs: Vec<Uuid>,
}

impl DataDir {
    /// Opens a data directory, or makes one with the identity given.
    pub fn open(path: &Path, new: &Identity) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        refuse_if_open_to_others(path)?;
        let lock = lock(path)?;
        let (identity, previous_logs) = match read_format(path)? {
            Some(found) => found,
            None => (write_format(path, new, &[])?, Vec::new()),
        };
        Ok(Self { path: path.to_owned(), identity, previous_logs, _lock: Some(lock) })
    }

    /// Opens a data directory to look at it: not a byte in it is changed. It is locked all the same,
    /// unless no process ever was in it.
    pub fn inspect(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.display().to_string(), source };
        refuse_if_open_to_others(path)?;
        let lock = match File::open(path.join(LOCK_FILE)) {
            Ok(mut file) => {
                try_lock(path, &mut file)?;
                Some(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let not_one = || DataDirError::NotADataDir { path: path.display().to_string() };
        let (identity, previous_logs) = read_format(path)?.ok_or_else(not_one)?;
        Ok(Self { path: path.to_owned(), identity, previous_logs, _lock: lock })
    }

    /// What others call a data directory and the audit logs that it had before, while somebody may be
    /// using it.
    pub fn peek(path: &Path) -> Result<(Identity, Vec<Uuid>), DataDirError> {
        let not_one = || DataDirError::NotADataDir { path: path.display().to_string() };
        read_format(path)?.ok_or_else(not_one)
    }

    /// Begins a new data directory, which counts as one when it is finished.
    pub fn prepare(path: &Path) -> Result<NewDataDir, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        refuse_if_open_to_others(path)?;
        let lock = lock(path)?;
        if path.join(FORMAT_FILE).exists() || holds_anything_else(path).map_err(failed)? {
            return Err(DataDirError::NotEmpty { path: path.display().to_string() });
        }
        Ok(NewDataDir { path: path.to_owned(), lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What others call it by.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The audit logs that there were before the one that records are written to, oldest first.
    pub fn previous_logs(&self) -> &[Uuid] {
        &self.previous_logs
    }

    /// Where an audit log is: the first one in a folder by itself, each later one in a folder of
    /// its own inside that.
    pub fn audit_path(&self, log_id: Uuid) -> PathBuf {
        audit_path(&self.path, &self.previous_logs, &self.identity, log_id)
    }

    /// The same within the directory, as files of the log are named.
    pub fn audit_folder(&self, log_id: Uuid) -> String {
        audit_folder(&self.previous_logs, self.identity.log_id, log_id)
    }

    /// Has records written to another audit log from now on, whose folder is there.
    pub fn begin_log(&mut self, log_id: Uuid) -> Result<(), DataDirError> {
        let mut previous_logs = self.previous_logs.clone();
        previous_logs.push(self.identity.log_id);
        let identity = Identity { log_id, ..self.identity.clone() };
        self.identity = write_format(&self.path, &identity, &previous_logs)?;
        self.previous_logs = previous_logs;
        Ok(())
    }
}

impl NewDataDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it a data directory, which had these audit logs before, oldest first.
    pub fn finish(self, new: &Identity, previous: &[Uuid]) -> Result<DataDir, DataDirError> {
        let Self { path, lock } = self;
        let identity = write_format(&path, new, previous)?;
        Ok(DataDir { path, identity, previous_logs: previous.to_vec(), _lock: Some(lock) })
    }
}

/// Where an audit log of a data directory is.
pub fn audit_path(path: &Path, previous: &[Uuid], identity: &Identity, log_id: Uuid) -> PathBuf {
    path.join(audit_folder(previous, identity.log_id, log_id))
}

/// The same within the directory, which had some audit logs before the current one.
pub fn audit_folder(previous: &[Uuid], current: Uuid, log_id: Uuid) -> String {
    let first = previous.first().unwrap_or(&current);
    if log_id == *first { "audit".to_owned() } else { format!("audit/{}", log_id.hyphenated()) }
}

fn refuse_if_open_to_others(directory: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io { path: directory.display().to_string(), source };
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 && !metadata.is_symlink() {
            return Err(DataDirError::TooOpen {
                path: path.display().to_string(),
                mode,
                directory: directory.display().to_string(),
            });
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed)? {
                pending.push(entry.map_err(failed)?.path());
            }
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, DataDirError> {
    let failed = |source| DataDirError::Io { path: directory.display().to_string(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(directory.join(LOCK_FILE)).map_err(failed)?;
    try_lock(directory, &mut file)?;
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn try_lock(directory: &Path, file: &mut File) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io { path: directory.display().to_string(), source };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            let holder = if holder.is_empty() { "(unknown)" } else { holder.trim() };
            Err(DataDirError::InUse {
                path: directory.display().to_string(),
                holder: holder.to_owned(),
            })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn read_format(directory: &Path) -> Result<Option<(Identity, Vec<Uuid>)>, DataDirError> {
    let failed = |source| DataDirError::Io { path: directory.display().to_string(), source };
    let path = directory.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if holds_anything_else(directory).map_err(failed)? {
                Err(DataDirError::NotADataDir { path: directory.display().to_string() })
            } else {
                Ok(None)
            };
        }
        Err(error) => return Err(failed(error)),
    };
    let damaged =
        |detail: String| DataDirError::Damaged { path: path.display().to_string(), detail };
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| damaged(error.to_string()))?;
    let version = table.get("version").ok_or_else(|| damaged("it has no `version`".to_owned()))?;
    if version.as_integer() != Some(i64::from(FORMAT_VERSION)) {
        let (path, found) = (directory.display().to_string(), version.to_string());
        return Err(DataDirError::UnknownFormat { path, found });
    }
    let format: FormatFile = table.try_into().map_err(|error| damaged(error.to_string()))?;
    let FormatFile { version: _, node_id, log_id, origin, previous_logs } = format;
    Ok(Some((Identity { node_id, log_id, origin }, previous_logs)))
}

fn holds_anything_else(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != NEW_FORMAT_FILE {
            return Ok(true);
        }
    }
    Ok(false)
}

const NEW_FORMAT_FILE: &str = "FORMAT.new";

fn write_format(
    directory: &Path,
    new: &Identity,
    previous_logs: &[Uuid],
) -> Result<Identity, DataDirError> {
    let failed = |source| DataDirError::Io { path: directory.display().to_string(), source };
    let Identity { node_id, log_id, origin } = new.clone();
    let (version, previous_logs) = (FORMAT_VERSION, previous_logs.to_vec());
    let format = FormatFile { version, node_id, log_id, origin, previous_logs };
    let text = toml::to_string(&format).map_err(|error| failed(io::Error::other(error)))?;
    let new_path = directory.join(NEW_FORMAT_FILE);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new_path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(new_path, directory.join(FORMAT_FILE)).map_err(failed)?;
    sync_directory(directory).map_err(failed)?;
    Ok(new.clone())
}

/// Puts the names in a directory on disk.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn identity(number: u128) -> Identity {
        let id = Uuid::from_u128(number);
        Identity { node_id: id, log_id: id, origin: "aap.test/\"quoted\"".to_owned() }
    }

    #[test]
    fn a_data_directory_keeps_the_identity_it_was_made_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let made = DataDir::open(&path, &identity(1)).unwrap().identity().clone();
        let opened = DataDir::open(&path, &identity(2)).unwrap().identity().clone();
        assert_eq!((&made, &opened), (&identity(1), &identity(1)));
    }

    #[test]
    fn a_new_audit_log_has_a_folder_of_its_own_and_the_old_ones_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let [first, second, third] = [1, 2, 3].map(Uuid::from_u128);
        let mut opened = DataDir::open(&path, &identity(1)).unwrap();
        assert_eq!(opened.audit_path(first), path.join("audit"));
        for (log_id, previous) in [(second, &[first][..]), (third, &[first, second])] {
            opened.begin_log(log_id).unwrap();
            drop(opened);
            opened = DataDir::open(&path, &identity(9)).unwrap();
            let known = opened.identity();
            assert_eq!((known.node_id, known.log_id), (first, log_id));
            assert_eq!(opened.previous_logs(), previous);
        }
        let folders = [first, second, third].map(|log_id| opened.audit_path(log_id));
        let inside = |name: &str| path.join("audit").join(name);
        let expected = [
            path.join("audit"),
            inside("00000000-0000-0000-0000-000000000002"),
            inside("00000000-0000-0000-0000-000000000003"),
        ];
        assert_eq!(folders, expected);
    }

    #[test]
    fn a_second_process_is_refused_with_the_first_ones_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let _first = DataDir::open(&path, &identity(1)).unwrap();
        let error = DataDir::open(&path, &identity(1)).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    }

    #[test]
    fn who_looks_changes_nothing_and_keeps_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let gone = DataDir::inspect(&path).unwrap_err().to_string();
        assert!(gone.contains("can't open data directory") && !path.exists(), "{gone}");
        drop(DataDir::open(&path, &identity(1)).unwrap());
        let files = || ["LOCK", "FORMAT"].map(|name| fs::read(path.join(name)).unwrap());
        fs::write(path.join("LOCK"), "1\n").unwrap();
        let before = files();
        let looking = DataDir::inspect(&path).unwrap();
        assert_eq!((looking.identity(), files()), (&identity(1), before));
        let refused = DataDir::open(&path, &identity(1)).unwrap_err().to_string();
        assert!(refused.contains("is in use by process 1"), "{refused}");
        drop(looking);
        let _server = DataDir::open(&path, &identity(1)).unwrap();
        assert!(matches!(DataDir::inspect(&path), Err(DataDirError::InUse { .. })));
    }

    #[test]
    fn a_new_directory_is_none_until_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let new = DataDir::prepare(&path).unwrap();
        fs::create_dir(path.join("journal")).unwrap();
        fs::set_permissions(path.join("journal"), fs::Permissions::from_mode(0o700)).unwrap();
        drop(new);
        let refused = DataDir::open(&path, &identity(1)).unwrap_err().to_string();
        assert!(refused.contains("no `FORMAT` file but is not empty"), "{refused}");
        let refused = DataDir::prepare(&path).unwrap_err().to_string();
        assert!(refused.ends_with("is not empty; name an empty or new directory"), "{refused}");
        fs::remove_dir(path.join("journal")).unwrap();
        drop(DataDir::prepare(&path).unwrap().finish(&identity(3), &[]).unwrap());
        assert_eq!(DataDir::open(&path, &identity(1)).unwrap().identity(), &identity(3));
    }

    #[test]
    fn what_others_can_read_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        drop(DataDir::open(&path, &identity(1)).unwrap());
        fs::set_permissions(path.join("FORMAT"), fs::Permissions::from_mode(0o640)).unwrap();
        let error = DataDir::open(&path, &identity(1)).unwrap_err().to_string();
        assert!(error.contains("FORMAT` has mode 640"), "{error}");
    }

    #[test]
    fn another_format_and_another_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        drop(DataDir::open(&path, &identity(1)).unwrap());
        let text = fs::read_to_string(path.join("FORMAT")).unwrap();
        fs::write(path.join("FORMAT"), text.replace("version = 1", "version = 2")).unwrap();
        let error = DataDir::open(&path, &identity(1)).unwrap_err().to_string();
        assert!(error.ends_with("has format 2; this version reads format 1"), "{error}");

        fs::remove_file(path.join("FORMAT")).unwrap();
        fs::write(path.join("other"), "x").unwrap();
        fs::set_permissions(path.join("other"), fs::Permissions::from_mode(0o600)).unwrap();
        let error = DataDir::open(&path, &identity(1)).unwrap_err().to_string();
        assert!(error.contains("no `FORMAT` file but is not empty"), "{error}");
    }
}
