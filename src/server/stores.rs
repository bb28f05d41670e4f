//! What the server keeps its data in: opened, and the audit log with it, so that it can go on, or so
//! that a new one follows it. The tree over that log has a folder and a key.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use uuid::Uuid;

use crate::{
    audit::{
        journal::{self, JournalTree},
        log::{self as audit_log, AuditLog, OpenError, Opened},
        record::{Integrity, PreviousStop},
        recovery::{OnLoss, RecoveryError},
        signed::{SignedLog, SignedLogError},
        succession::{self, Ending, Head},
        tree::{
            checkpoints,
            evidence::Parts,
            note::{NoteError, SigningKey, VerifierKey},
        },
        trimmed::TrimmedError,
        volume::{Folder, Untouched, Volume},
    },
    entropy::{self, EntropyError},
    projection::{Published, State},
    store::{
        cursors::tree::CursorStore,
        data_dir::{
            self, CHECKPOINT_KEY_FILE, DataDir, DataDirError, FORMER_KEY_FILE, Identity,
            LOG_TREE_FOLDER,
        },
        journal::{Journal, JournalReader},
        metered::Metered,
        secret_file,
        sled_journal::SledJournal,
        space::Space,
        writer::{self, ChangeWriter},
    },
    telemetry::meters::JournalMeters,
};

pub use crate::store::data_dir::JOURNAL_TREE_FOLDER;

use super::{ServeError, Settings};

/// What the server keeps its data in. A test can put something else in the place of a part.
#[derive(Debug)]
pub struct Stores {
    /// The directory, locked.
    pub data_dir: DataDir,
    /// The journal.
    pub journal: Box<dyn JournalPart>,
    /// The audit log's cursors.
    pub cursors: Box<dyn CursorStore>,
    /// The audit log's files.
    pub volume: Arc<dyn Volume>,
    /// The audit log before it, and its files.
    pub previous_log: Option<PreviousLog>,
    /// What the audit log's tree is made of. Without it there are no checkpoints and no proofs.
    pub evidence: Option<Parts>,
    /// What the journal's tree is made of.
    pub journal_evidence: Parts,
}

/// An audit log that takes no more records, and its files.
pub type PreviousLog = (Uuid, Arc<dyn Volume>);

/// A journal that can be shown.
pub trait JournalPart: Journal + std::fmt::Debug {}

impl<J: Journal + std::fmt::Debug> JournalPart for J {}

impl Stores {
    /// Opens a data directory, or makes one whose audit log has that origin.
    pub fn open(path: &Path, origin: &str) -> Result<Self, ServeError> {
        // What is made from here on is for the server's own user alone, whoever makes it: sled makes
        // files at times of its own.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let origin = origin.to_owned();
        let new = Identity { node_id: entropy::uuid()?, log_id: entropy::uuid()?, origin };
        let mut data_dir = DataDir::open(path, &new)?;
        let journal = Box::new(SledJournal::open(&data_dir.path().join("journal"))?);
        let cursors = Box::new(journal.cursors()?);
        let log_id = data_dir.identity().log_id;
        let mut volume: Arc<dyn Volume> = Arc::new(Folder::open(data_dir.audit_path(log_id))?);
        if let Some(ending) = succession::ending(volume.as_ref())? {
            if ending == Ending::Buffered {
                succession::seal(volume.as_ref(), log_id).map_err(OpenError::from)?;
                tracing::warn!(
                    ended = %log_id,
                    "the last run answered decisions before they were on disk, and didn't stop in \
                     good order: some may be missing from the end of its audit log"
                );
            }
            volume = begin_log(&mut data_dir)?;
        }
        let previous_log = previous_log(&data_dir);
        let evidence = Some(open_evidence(&data_dir)?);
        let journal_evidence = open_journal_evidence(&data_dir)?;
        Ok(Self { data_dir, journal, cursors, volume, previous_log, evidence, journal_evidence })
    }
}

/// Has a new audit log begin, and gives where its files will be.
fn begin_log(data_dir: &mut DataDir) -> Result<Arc<dyn Volume>, ServeError> {
    let log_id = entropy::uuid()?;
    let volume = Arc::new(Folder::open(data_dir.audit_path(log_id))?);
    data_dir.begin_log(log_id)?;
    tracing::warn!(begun = %log_id, "a new audit log begins");
    Ok(volume)
}

/// The audit log before the current one, and its files.
fn previous_log(data_dir: &DataDir) -> Option<PreviousLog> {
    data_dir.previous_logs().last().map(|&log_id| {
        let folder: Arc<dyn Volume> = Arc::new(Untouched::new(data_dir.audit_path(log_id)));
        (log_id, folder)
    })
}

/// An audit log that is open.
#[derive(Debug)]
pub(super) struct OpenedLog {
    /// The log.
    pub(super) opened: Opened,
    /// What it follows, if it is new.
    pub(super) previous_head: Option<Head>,
    /// Whether it is served as it should be.
    pub(super) integrity: Integrity,
}

/// Whether a log is there and can't go on: what was signed or written last can't be shown, or isn't
/// there any more.
fn ends_log(error: &OpenError) -> bool {
    match error {
        OpenError::Recovery(RecoveryError::Io(_) | RecoveryError::Trimmed(TrimmedError::Io(_)))
        | OpenError::Io(_)
        | OpenError::Entropy(_) => false,
        OpenError::Recovery(_) | OpenError::Evidence(_) => true,
    }
}

/// Opens the audit log of a data directory. One that can't go on is left as it is and a new one
/// follows it, if the server was told to serve all the same.
pub(super) fn open_log(
    data_dir: &mut DataDir,
    (parts, previous): (audit_log::Parts, Option<PreviousLog>),
) -> Result<OpenedLog, ServeError> {
    let (options, lanes) = (parts.options, parts.lanes);
    let (space, clock) = (Arc::clone(&parts.space), parts.clock.clone());
    let volume = Arc::clone(&parts.volume);
    let mut ended = None;
    let (mut opened, previous) = match AuditLog::open(parts) {
        Err(error) if ends_log(&error) && options.on_loss == OnLoss::StandIn => {
            let ended_log = data_dir.identity().log_id;
            let detail = anyhow::Error::from(error);
            tracing::error!(
                ended = %ended_log, error = %format_args!("{detail:#}"),
                "the audit log is so damaged that it can't go on; it is left as it is and not \
                 served, because the server was told to serve all the same"
            );
            succession::give_up(volume.as_ref())?;
            let (volume, on_loss) = (begin_log(data_dir)?, OnLoss::Refuse);
            let log_id = data_dir.identity().log_id;
            let evidence = Some(open_evidence(data_dir)?);
            let options = audit_log::Options { on_loss, ..options };
            ended = Some(ended_log);
            let folder = data_dir.audit_folder(log_id);
            let parts =
                audit_log::Parts { volume, log_id, folder, evidence, options, lanes, space, clock };
            (AuditLog::open(parts)?, previous_log(data_dir))
        }
        opened => (opened?, previous),
    };
    opened.damage.iter().for_each(name_damage);
    let is_damaged = ended.is_some() || opened.lost > 0;
    let integrity = if is_damaged { Integrity::ServedDamaged } else { Integrity::Whole };
    let previous_head = head_of(previous, &opened.log)?;
    if previous_head.is_some() {
        opened.previous_stop = PreviousStop::Unclean;
    }
    Ok(OpenedLog { opened, previous_head, integrity })
}

/// A journal that is open, with its one writer.
#[derive(Debug)]
pub(super) struct OpenedChanges {
    /// Reads it.
    pub(super) reader: Arc<dyn JournalReader>,
    /// Its tree.
    pub(super) tree: JournalTree,
    /// Writes it.
    pub(super) writer: ChangeWriter,
    /// What the writer counts.
    pub(super) meters: Arc<JournalMeters>,
    /// The writer's thread and the tree's.
    pub(super) threads: [JoinHandle<()>; 2],
}

/// Opens the tree of a journal, all of whose events are in a state, and starts its writer. The events
/// behind a revision are held against their hashes.
pub(super) fn open_changes(
    (journal, evidence): (Box<dyn Journal>, Parts),
    (state, behind): (State, u64),
    (published, space): (&Arc<Published>, &Arc<Space>),
    settings: &Settings,
) -> Result<OpenedChanges, ServeError> {
    let (reader, clock) = (journal.reader(), &settings.clock);
    let (journal, meters) = Metered::new(journal, clock.clone());
    let journal::Opened { tree, journal, thread } =
        journal::open(evidence, Box::new(journal), behind, clock.clone())?;
    let (published, space) = (Arc::clone(published), Arc::clone(space));
    let (writer, writer_thread) =
        writer::start(Box::new(journal), state, published, (space, settings.limits))?;
    Ok(OpenedChanges { reader, tree, writer, meters, threads: [writer_thread, thread] })
}

/// What the audit log is opened with.
pub(super) fn log_parts(
    (volume, evidence): (Arc<dyn Volume>, Option<Parts>),
    data_dir: &DataDir,
    settings: &Settings,
    space: &Arc<Space>,
    lanes: usize,
) -> audit_log::Parts {
    let log_id = data_dir.identity().log_id;
    audit_log::Parts {
        volume,
        log_id,
        folder: data_dir.audit_folder(log_id),
        evidence,
        options: settings.audit,
        lanes,
        space: Arc::clone(space),
        clock: settings.clock.clone(),
    }
}

/// Where the log before a new one ended.
fn head_of(previous: Option<PreviousLog>, log: &AuditLog) -> Result<Option<Head>, OpenError> {
    match previous {
        Some((log_id, volume)) if log.bounds() == (1, 0) => {
            let head: Result<_, RecoveryError> = succession::head(volume.as_ref(), log_id);
            Ok(Some(head?))
        }
        _ => Ok(None),
    }
}

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
    /// There is no such log.
    #[error("there is no audit log `{log_id}`; `aap audit key` names those that there are")]
    NoSuchLog {
        /// Which one.
        log_id: Uuid,
    },
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
fn open_evidence(data_dir: &DataDir) -> Result<Parts, KeyError> {
    let identity = data_dir.identity();
    let log_id = identity.log_id;
    let key = open_key(data_dir)?.named(&identity.log_name(log_id));
    open_tree(data_dir.audit_path(log_id).join(LOG_TREE_FOLDER), key)
}

/// The parts of the journal's tree, which is signed by the same key.
fn open_journal_evidence(data_dir: &DataDir) -> Result<Parts, KeyError> {
    let key = open_key(data_dir)?.named(&data_dir.identity().journal_name());
    open_tree(data_dir.path().join(JOURNAL_TREE_FOLDER), key)
}

fn open_tree(folder: PathBuf, key: SigningKey) -> Result<Parts, KeyError> {
    let path = folder.display().to_string();
    let volume = Folder::open(folder).map_err(|source| KeyError::Io { path, source })?;
    Ok(Parts { volume: Arc::new(volume), key })
}

/// The key of a data directory, which is made if there was none yet.
fn open_key(data_dir: &DataDir) -> Result<SigningKey, KeyError> {
    let origin = &data_dir.identity().origin;
    let failed = |path: &Path, source| KeyError::Io { path: path.display().to_string(), source };
    let path = data_dir.path().join(CHECKPOINT_KEY_FILE);
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
    parse_key(&path, &secret, origin)
}

/// Whether checkpoints were signed with it already.
fn is_needed(data_dir: &DataDir) -> bool {
    let logs = data_dir.previous_logs().iter().chain([&data_dir.identity().log_id]);
    let folders = logs.map(|log_id| data_dir.audit_path(*log_id));
    let own = folders.filter(|folder| !folder.join(FORMER_KEY_FILE).exists());
    let trees = own.map(|folder| folder.join(LOG_TREE_FOLDER));
    let mut trees = trees.chain([data_dir.path().join(JOURNAL_TREE_FOLDER)]);
    trees.any(|tree| tree.join(checkpoints::FILE).exists())
}

/// What verifies the checkpoints of the journal. A server may be using the directory.
pub fn journal_verifier_key(path: &Path) -> Result<VerifierKey, VerifierKeysError> {
    let (identity, _) = DataDir::peek(path)?;
    let key = key_of(path, &identity.origin)?;
    Ok(key.verifier().named(&identity.journal_name()))
}

/// What verifies the checkpoints of a log.
pub fn verifier_key(data_dir: &DataDir, log_id: Uuid) -> Result<VerifierKey, VerifierKeysError> {
    key_of_log(data_dir.path(), (data_dir.identity(), data_dir.previous_logs()), log_id)
}

/// What verifies the checkpoints of each log of a data directory, the current one last. A server may
/// be using it.
pub fn verifier_keys(path: &Path) -> Result<Vec<VerifierKey>, VerifierKeysError> {
    let (identity, previous) = DataDir::peek(path)?;
    let logs = previous.iter().chain([&identity.log_id]);
    logs.map(|&log_id| key_of_log(path, (&identity, &previous), log_id)).collect()
}

/// What verifies the checkpoints of a log: what a restore has left of its key, if another server wrote
/// it, and else the directory's own.
fn key_of_log(
    path: &Path,
    (identity, previous): (&Identity, &[Uuid]),
    log_id: Uuid,
) -> Result<VerifierKey, VerifierKeysError> {
    let name = identity.log_name(log_id);
    let file = data_dir::audit_path(path, previous, identity, log_id).join(FORMER_KEY_FILE);
    let shown = || file.display().to_string();
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(key_of(path, &identity.origin)?.verifier().named(&name))
        }
        Err(source) => Err(KeyError::Io { path: shown(), source }.into()),
        Ok(text) => {
            let key = VerifierKey::parse(text.trim_end())
                .map_err(|source| KeyError::Unusable { path: shown(), source })?;
            refuse_if_other(&key, &name, shown)?;
            Ok(key)
        }
    }
}

/// A log up to its last checkpoint, and what verifies that.
#[derive(Debug)]
pub struct OpenedSignedLog {
    /// The log.
    pub log: SignedLog,
    /// The key.
    pub verifier: VerifierKey,
}

/// Opens a log of a data directory to look at it: the current one, or one that has ended. A server may
/// be using it.
pub fn open_signed_log(
    path: &Path,
    log_id: Option<Uuid>,
) -> Result<OpenedSignedLog, VerifierKeysError> {
    let (identity, previous) = DataDir::peek(path)?;
    let log_id = log_id.unwrap_or(identity.log_id);
    if log_id != identity.log_id && !previous.contains(&log_id) {
        return Err(VerifierKeysError::NoSuchLog { log_id });
    }
    let verifier = key_of_log(path, (&identity, &previous), log_id)?;
    let folder = data_dir::audit_path(path, &previous, &identity, log_id);
    let log = SignedLog::open(&folder, &folder.join(LOG_TREE_FOLDER), log_id)?;
    Ok(OpenedSignedLog { log, verifier })
}

/// The key of a data directory that is only looked at.
fn key_of(path: &Path, origin: &str) -> Result<SigningKey, VerifierKeysError> {
    let path = path.join(CHECKPOINT_KEY_FILE);
    let secret = secret_file::read(&path)
        .map_err(|source| KeyError::Io { path: path.display().to_string(), source })?;
    let secret = secret.ok_or(VerifierKeysError::NoKeyYet)?;
    Ok(parse_key(&path, &secret, origin)?)
}

fn parse_key(path: &Path, secret: &str, name: &str) -> Result<SigningKey, KeyError> {
    let path = || path.display().to_string();
    let key =
        SigningKey::parse(secret).map_err(|source| KeyError::Unusable { path: path(), source })?;
    refuse_if_other(key.verifier(), name, path)?;
    Ok(key)
}

fn refuse_if_other(
    key: &VerifierKey,
    name: &str,
    path: impl Fn() -> String,
) -> Result<(), KeyError> {
    let found = key.name();
    if found == name {
        return Ok(());
    }
    let (found, wanted) = (found.to_owned(), name.to_owned());
    Err(KeyError::OtherLog { path: path(), found, wanted })
}

/// Says what of the audit log is damaged.
fn name_damage(damage: &crate::audit::recovery::Damage) {
    let crate::audit::recovery::Damage { file, offset, records } = damage;
    if let Some(records) = records {
        name_records(file, *offset, *records);
    } else {
        tracing::error!(
            file,
            offset,
            "an audit segment is damaged between its records; none is lost"
        );
    }
}

/// Says which audit records are damaged, from one through another.
pub(super) fn name_records(file: &str, offset: u64, (from, through): (u64, u64)) {
    tracing::error!(
        file,
        offset,
        from,
        through,
        "audit records are damaged; they are named to readers and the others are served"
    );
}
