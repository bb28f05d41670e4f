//! What of the data directory the tree over the audit log is made of: its folder, and its key.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use crate::{
    audit::{
        signed::{SignedLog, SignedLogError},
        tree::{
            checkpoints,
            evidence::Parts,
            note::{NoteError, SigningKey, VerifierKey},
        },
        volume::Folder,
    },
    entropy::EntropyError,
    store::{
        data_dir::{self, DataDir, DataDirError, Identity},
        secret_file,
    },
};

/// The file with the key that signs checkpoints.
const KEY_FILE: &str = "checkpoint.key";
/// Where the tree's files are, beside the log's.
const TREE_FOLDER: &str = "tree";

/// Why it isn't known what verifies checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum VerifierKeysError {
    /// No server has run on the data directory yet.
    #[error("there is no key yet: it is made when a server first starts")]
    NoKeyYet,
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log can't be looked at.
    #[error(transparent)]
    Log(#[from] SignedLogError),
    /// The directory can't be read.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// Why there is no key to sign checkpoints with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There was one.
    #[error("`{path}` is missing, but checkpoints were signed with it; restore it")]
    Missing {
        /// The file.
        path: String,
    },
    /// It is no key.
    #[error("`{path}` can't be used")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: NoteError,
    },
    /// It is the key of another log.
    #[error("`{path}` is the key of `{found}`, not of `{wanted}`; restore the right one")]
    OtherLog {
        /// The file.
        path: String,
        /// The log that it belongs to.
        found: String,
        /// This log.
        wanted: String,
    },
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The file system refused.
    #[error("can't use `{path}`")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The parts of the audit log's tree; its key is made if there was none yet.
pub(super) fn open_evidence(data_dir: &DataDir) -> Result<Parts, KeyError> {
    let Identity { log_id, origin, .. } = data_dir.identity();
    let folder = data_dir.audit_path(*log_id).join(TREE_FOLDER);
    let failed = |path: &Path, source| KeyError::Io { path: path.display().to_string(), source };
    let path = data_dir.path().join(KEY_FILE);
    let secret = match secret_file::read(&path).map_err(|source| failed(&path, source))? {
        Some(secret) => secret,
        None if is_needed(data_dir) => {
            return Err(KeyError::Missing { path: path.display().to_string() });
        }
        None => {
            let secret = SigningKey::generate(origin)?;
            secret_file::create(&path, &secret).map_err(|source| failed(&path, source))?;
            secret
        }
    };
    let key = parse_key(&path, &secret, origin)?.named(&log_name(origin, *log_id));
    let volume = Folder::open(folder.clone()).map_err(|source| failed(&folder, source))?;
    Ok(Parts { volume: Arc::new(volume), key })
}

/// Whether checkpoints were signed already.
fn is_needed(data_dir: &DataDir) -> bool {
    let current = [data_dir.identity().log_id];
    data_dir.previous_logs().iter().chain(&current).any(|log_id| {
        data_dir.audit_path(*log_id).join(TREE_FOLDER).join(checkpoints::FILE).exists()
    })
}

/// The name that a log's checkpoints bear.
fn log_name(origin: &str, log_id: Uuid) -> String {
    format!("{origin}/{log_id}")
}

/// What verifies the checkpoints of a log.
pub fn verifier_key(data_dir: &DataDir, log_id: Uuid) -> Result<VerifierKey, VerifierKeysError> {
    let origin = &data_dir.identity().origin;
    let path = data_dir.path().join(KEY_FILE);
    let secret = secret_file::read(&path)
        .map_err(|source| KeyError::Io { path: path.display().to_string(), source })?;
    let secret = secret.ok_or(VerifierKeysError::NoKeyYet)?;
    let key = parse_key(&path, &secret, origin)?;
    Ok(key.verifier().named(&log_name(origin, log_id)))
}

/// What verifies the checkpoints of each log of a data directory, the current one last. A server may
/// be using it.
pub fn verifier_keys(path: &Path) -> Result<Vec<VerifierKey>, VerifierKeysError> {
    let (Identity { log_id, origin, .. }, mut logs) = DataDir::peek(path)?;
    logs.push(log_id);
    let path = path.join(KEY_FILE);
    let secret = secret_file::read(&path)
        .map_err(|source| KeyError::Io { path: path.display().to_string(), source })?;
    let secret = secret.ok_or(VerifierKeysError::NoKeyYet)?;
    let key = parse_key(&path, &secret, &origin)?;
    let named = |log_id: Uuid| key.verifier().named(&log_name(&origin, log_id));
    Ok(logs.into_iter().map(named).collect())
}

/// A log up to its last checkpoint, and what verifies that.
#[derive(Debug)]
pub struct OpenedSignedLog {
    /// The log.
    pub log: SignedLog,
    /// The key.
    pub verifier: VerifierKey,
}

/// Opens the current log of a data directory to look at it. A server may be using it.
pub fn open_signed_log(path: &Path) -> Result<OpenedSignedLog, VerifierKeysError> {
    let (identity, previous_logs) = DataDir::peek(path)?;
    let verifier = verifier_keys(path)?.pop().ok_or(VerifierKeysError::NoKeyYet)?;
    let folder = data_dir::audit_path(path, &previous_logs, &identity, identity.log_id);
    let log = SignedLog::open(&folder, &folder.join(TREE_FOLDER), identity.log_id)?;
    Ok(OpenedSignedLog { log, verifier })
}

fn parse_key(path: &Path, secret: &str, name: &str) -> Result<SigningKey, KeyError> {
    let path = || path.display().to_string();
    let key =
        SigningKey::parse(secret).map_err(|source| KeyError::Unusable { path: path(), source })?;
    let found = key.verifier().name();
    if found != name {
        let (found, wanted) = (found.to_owned(), name.to_owned());
        return Err(KeyError::OtherLog { path: path(), found, wanted });
    }
    Ok(key)
}

/// Says what of the audit log is damaged.
pub(super) fn name_damage(damage: &crate::audit::recovery::Damage) {
    let crate::audit::recovery::Damage { file, offset, records } = damage;
    if let Some((from, through)) = records {
        tracing::error!(
            file,
            offset,
            from,
            through,
            "audit records are damaged; they are named to readers and the others are served"
        );
    } else {
        tracing::error!(
            file,
            offset,
            "an audit segment is damaged between its records; none is lost"
        );
    }
}
