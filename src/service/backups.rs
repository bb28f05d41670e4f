//! Backups of a server that runs: which moment one is of, and that one is made at a time.
//!
//! First it is said how far the audit log goes, and then how far the journal: no record names a
//! revision that wasn't there before it. The cursors come before both, so that none is ahead of the log.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use uuid::Uuid;

use crate::{
    audit::{
        journal::JournalTree,
        log::AuditLog,
        tree::{checkpoints::Checkpoint, evidence::Evidence, note::VerifierKey},
    },
    backup::{
        head::{Head, JournalHead},
        source::{self, Source, SourceError, Whose},
        writing::{Backup, BackupError},
    },
    clock::Clock,
    identity::caller::{Accounts, Caller},
    projection::Published,
    store::{cursors::keeper::CursorKeeper, data_dir::Identity, journal::JournalReader},
};

use super::{
    history::HistoryError,
    proofs::{Below, ProofError},
    reading::ReadingError,
};

/// What a server's backups are of.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The data directory.
    pub path: PathBuf,
    /// What it is called.
    pub identity: Identity,
    /// The audit logs before the current one, oldest first.
    pub previous_logs: Vec<Uuid>,
    /// The audit log.
    pub log: AuditLog,
    /// The journal, as far as it is published.
    pub published: Arc<Published>,
    /// What reads it.
    pub journal: Arc<dyn JournalReader>,
    /// Its tree.
    pub tree: JournalTree,
    /// The cursors of the audit log.
    pub cursors: CursorKeeper,
}

/// Makes backups of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backups {
    sources: Arc<Sources>,
    background: Handle,
    clock: Clock,
    running: Arc<Semaphore>,
}

/// How long a backup waits for a reader that takes nothing of it: it has the only turn, and files open
/// that may have been removed. Longer than a connection without a sign of life lasts, and than what
/// reads is likely to pause.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupsError {
    /// Another one is being made.
    #[error("a backup is being made, and one is made at a time")]
    Running,
    /// Its reader took nothing for too long.
    #[error(
        "nothing of the backup was read for {} s, so it was ended, and what came of it is none: \
         begin anew, and read on",
        PATIENCE.as_secs()
    )]
    NotRead,
    /// The caller isn't bound to all accounts.
    #[error("caller `{caller}` is not bound to all accounts, which a backup has")]
    NotOfAll {
        /// The caller.
        caller: Arc<str>,
    },
    /// What it is to have isn't signed.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The audit log can't be read.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// The journal can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl From<BackupError> for BackupsError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Journal(error) => HistoryError::from(error).into(),
            error => ReadingError::Io(io::Error::other(error)).into(),
        }
    }
}

impl From<SourceError> for BackupsError {
    fn from(error: SourceError) -> Self {
        ReadingError::Io(io::Error::other(error)).into()
    }
}

/// The right to make a backup, which nobody else has meanwhile.
#[derive(Debug)]
pub struct Turn {
    backups: Backups,
    permit: OwnedSemaphorePermit,
}

/// A backup that is being made.
#[derive(Debug)]
pub struct Running {
    /// How far it goes.
    pub head: Head,
    backup: Backup,
    /// Ends with it.
    _permit: OwnedSemaphorePermit,
}

impl Running {
    /// The next bytes; none when that was all. Blocks on the disk.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, BackupsError> {
        Ok(self.backup.read()?)
    }
}

impl Backups {
    /// Makes backups of sources; a runtime that may wait for the disk looks into them.
    pub fn new(sources: Sources, background: Handle, clock: Clock) -> Self {
        let running = Arc::new(Semaphore::new(1));
        Self { sources: Arc::new(sources), background, clock, running }
    }

    /// Begins one for a caller, if nobody else makes one.
    pub fn begin(&self, caller: &Caller) -> Result<Turn, BackupsError> {
        if caller.accounts != Accounts::All {
            return Err(BackupsError::NotOfAll { caller: Arc::clone(&caller.name) });
        }
        let permit = Arc::clone(&self.running).try_acquire_owned();
        let permit = permit.map_err(|_| BackupsError::Running)?;
        Ok(Turn { backups: self.clone(), permit })
    }
}

impl Turn {
    /// Settles which moment it is of, once that is signed.
    pub async fn settle(self) -> Result<Running, BackupsError> {
        let Self { backups, permit } = self;
        let Backups { sources, background, clock, .. } = backups;
        let cursors = sources.cursors.all();
        let of = Below::Records;
        let evidence = sources.log.evidence().ok_or(ProofError::NoCheckpoint { size: 0, of })?;
        let evidence = Arc::clone(evidence);
        let records = sign(&evidence, sources.log.bounds().1, of).await?;
        let revision = sources.published.load().revision();
        let events = match revision {
            0 => None,
            revision => Some(sign(sources.tree.evidence(), revision, Below::Changes).await?),
        };
        let time = clock.now();
        let put_together = move || -> Result<_, BackupsError> {
            let Sources { path, identity, previous_logs, log, journal, tree, .. } = &*sources;
            let head = JournalHead {
                revision: events.map_or(0, |signed| signed.size),
                checkpoint: events.map(|signed| tree.evidence().note(&signed)),
            };
            let mut logs = source::copy_idle(path, identity, previous_logs)?;
            let copy = log.copy(&evidence, &records).map_err(ReadingError::Io)?;
            logs.push((identity.log_id, copy));
            let key: &VerifierKey = evidence.verifier();
            let whose = Whose { identity, previous_logs, key: Some(key), time };
            let journal = (Arc::clone(journal), head);
            let source = Source::new(&whose, journal, cursors, logs);
            let head = source.head().clone();
            Ok(Running { head, backup: Backup::begin(source)?, _permit: permit })
        };
        let put_together = background.spawn_blocking(put_together).await;
        put_together.map_err(|error| ReadingError::Io(io::Error::other(error)))?
    }
}

/// The last checkpoint, once one covers so many leaves.
async fn sign(evidence: &Evidence, size: u64, of: Below) -> Result<Checkpoint, ProofError> {
    let is_signed = evidence.sign_soon(size).await;
    let latest = evidence.latest();
    latest.filter(|_| is_signed).ok_or_else(|| {
        let signed = latest.map_or(0, |checkpoint| checkpoint.size);
        ProofError::NotReached { at_least: size, size: signed, of }
    })
}
