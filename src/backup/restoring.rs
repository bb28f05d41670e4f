//! A new data directory of a backup. It counts as one when everything in it is on disk: its description
//! is written last.
//!
//! The restored server is another one than that which was lost: the lost one may have recorded and
//! signed more than the backup has. So it gets a name of its own, its journal a new line of
//! checkpoints, and a new audit log follows those that are in the backup.

use std::{io, path::Path, sync::Arc};

use ring::digest::{Context, SHA256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    audit::{
        recovery::RecoveryError,
        succession,
        tree::note::{NoteError, SigningKey, VerifierKey},
        volume::{Folder, Volume, VolumeFile as _},
    },
    entropy::{self, EntropyError},
    store::{
        cursors::tree::{Change, CursorStore as _},
        data_dir::{
            CHECKPOINT_KEY_FILE, DataDir, DataDirError, FORMER_KEY_FILE, Identity, LOG_TREE_FOLDER,
        },
        journal::AppendError,
        secret_file,
        sled_journal::{OpenError, SledJournal},
    },
};

use super::{
    head::HEAD_FILE,
    reading::{Archive, ArchiveError, Place, Progress},
    verifying::{self, Verified, VerifyError},
    writing::finish,
};

/// How many bytes are copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What a restored server signs checkpoints with.
#[derive(Debug)]
pub enum SigningBy {
    /// A key that is made for it.
    NewKey,
    /// The key that the lost server signed with.
    FormerKey(Zeroizing<String>),
}

/// A data directory that was restored.
#[derive(Debug)]
pub struct Restored {
    /// What it is called.
    pub identity: Identity,
    /// What verifies the checkpoints of its new audit log.
    pub key: VerifierKey,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no room for it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The backup isn't what it was a moment ago.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The same, by what it says.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The journal can't be made.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal can't be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The cursors can't be written.
    #[error("can't write the audit log's cursors: {0}")]
    Cursors(String),
    /// An audit log can't be ended.
    #[error(transparent)]
    Log(#[from] RecoveryError),
    /// The signing key is none.
    #[error("the signing key can't be used")]
    Key(#[from] NoteError),
    /// The signing key is another one's.
    #[error("the signing key is that of `{found}`, which did not sign this backup")]
    OtherKey {
        /// The public half.
        found: String,
    },
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The file system refused.
    #[error("can't write the data directory")]
    Io(#[from] io::Error),
}

/// Makes a data directory of a backup that was verified.
pub fn restore(
    (archive, verified): (&Arc<Archive>, &Verified),
    path: &Path,
    signing: SigningBy,
    progress: Progress<'_>,
) -> Result<Restored, RestoreError> {
    let head = archive.head();
    let secret = match signing {
        SigningBy::NewKey => SigningKey::generate(&head.origin)?,
        SigningBy::FormerKey(secret) => secret,
    };
    let key = SigningKey::parse(&secret)?;
    let new = Identity {
        node_id: entropy::uuid()?,
        log_id: entropy::uuid()?,
        origin: head.origin.clone(),
    };
    // The engine makes files at times of its own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let made = DataDir::prepare(path)?;
    restore_journal(archive, &path.join("journal"))?;
    restore_logs((archive, verified), path, progress)?;
    secret_file::create(&path.join(CHECKPOINT_KEY_FILE), &secret)?;
    let logs: Vec<_> = head.logs.iter().map(|log| log.log_id).collect();
    made.finish(&new, &logs)?;
    let key = key.verifier().named(&new.log_name(new.log_id));
    Ok(Restored { identity: new, key })
}

/// Reads a key that the lost server signed with, which must be the one that signed a backup.
pub fn former_key(
    verified: &Verified,
    secret: Zeroizing<String>,
) -> Result<SigningBy, RestoreError> {
    let key = SigningKey::parse(&secret)?;
    if verified.key.as_ref() == Some(key.verifier()) {
        return Ok(SigningBy::FormerKey(secret));
    }
    Err(RestoreError::OtherKey { found: key.verifier().to_string() })
}

fn restore_journal(archive: &Arc<Archive>, path: &Path) -> Result<(), RestoreError> {
    let mut journal = SledJournal::open(path)?;
    verifying::events(archive, |some| -> Result<(), RestoreError> {
        Ok(journal.append_stored(&some)?)
    })?;
    let cursors = verifying::read_cursors(archive)?;
    let created: Vec<_> = cursors.into_iter().map(Change::Create).collect();
    journal.cursors()?.write(&created).map_err(RestoreError::Cursors)
}

/// Copies the audit logs, all of which have ended now.
fn restore_logs(
    (archive, verified): (&Arc<Archive>, &Verified),
    path: &Path,
    progress: Progress<'_>,
) -> Result<(), RestoreError> {
    let head = archive.head();
    let (mut done, total) =
        (0, head.folders().flat_map(|(_, folder)| sizes(archive, &folder)).sum());
    let identity = head.identity();
    for (log, folder) in head.folders() {
        let tree = format!("{folder}/{LOG_TREE_FOLDER}");
        for part in [&folder, &tree] {
            let volume = Folder::open(path.join(part))?;
            for (name, place) in archive.files_in(part) {
                copy(archive, (name, place), &volume)?;
                done += place.size;
                progress(done, total);
            }
            volume.sync()?;
        }
        let volume = Folder::open(path.join(&folder))?;
        let is_current = identity.as_ref().is_some_and(|current| current.log_id == log.log_id);
        if is_current {
            end(&volume, log.log_id)?;
            let origin = archive.read(HEAD_FILE)?.unwrap_or_default();
            succession::note_restored(&volume, &origin)?;
        }
        let named = identity.as_ref().map(|identity| identity.log_name(log.log_id));
        if let (Some(key), Some(name)) = (&verified.key, named) {
            leave_key(&volume, &key.named(&name))?;
        }
    }
    Ok(())
}

/// How many bytes the files of a log have.
fn sizes(archive: &Archive, folder: &str) -> Vec<u64> {
    let tree = format!("{folder}/{LOG_TREE_FOLDER}");
    let size = |(_, place): (&str, &Place)| place.size;
    archive.files_in(folder).map(size).chain(archive.files_in(&tree).map(size)).collect()
}

/// Has a log end. One that is too damaged for that is left as it was found.
fn end(volume: &Folder, log_id: Uuid) -> Result<(), RestoreError> {
    match succession::seal(volume, log_id) {
        Ok(()) => Ok(()),
        Err(error @ RecoveryError::Io(_)) => Err(error.into()),
        Err(_) => Ok(succession::give_up(volume)?),
    }
}

/// Leaves what verifies a log's checkpoints, unless an earlier restore has done so.
fn leave_key(volume: &Folder, key: &VerifierKey) -> io::Result<()> {
    if volume.list()?.iter().any(|name| name == FORMER_KEY_FILE) {
        return Ok(());
    }
    let file = volume.create(FORMER_KEY_FILE)?;
    file.write_at(format!("{key}\n").as_bytes(), 0)?;
    file.sync()?;
    volume.sync()
}

/// Copies a file, which must still be the one that was verified.
fn copy(
    archive: &Archive,
    (name, place): (&str, &Place),
    volume: &dyn Volume,
) -> Result<(), RestoreError> {
    let (part, file) = (archive.part(place), volume.create(name)?);
    let (mut digest, mut offset) = (Context::new(&SHA256), 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = part.read_at(&mut buffer, offset)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        digest.update(bytes);
        file.write_at(bytes, offset)?;
        offset += read as u64;
    }
    if finish(digest) != place.digest {
        return Err(ArchiveError::Changed(place.offset).into());
    }
    Ok(file.sync()?)
}
