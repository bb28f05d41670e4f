//! What a backup is made of: a journal that can be read, cursors, and the files of audit logs.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use crate::{
    audit::{
        copying::{self, LogCopy},
        recovery::RecoveryError,
        tree::{checkpoints::Checkpoints, note::VerifierKey},
        volume::{Untouched, Volume as _},
    },
    domain::{audit_cursor::AuditCursor, time::UnixNanos},
    store::{
        data_dir::{
            DataDir, Identity, JOURNAL_TREE_FOLDER, LOG_TREE_FOLDER, audit_folder, audit_path,
        },
        journal::JournalReader,
    },
};

use super::head::{FORMAT, Head, JournalHead, LogHead};

/// Everything that goes into a backup.
#[derive(Debug)]
pub struct Source {
    /// What it says of itself.
    pub(super) head: Head,
    /// When it is made.
    pub(super) time: UnixNanos,
    /// The journal.
    pub(super) journal: Arc<dyn JournalReader>,
    /// The cursors of the audit log.
    pub(super) cursors: Vec<AuditCursor>,
    /// The audit logs and their folders, oldest first.
    pub(super) logs: Vec<(String, LogCopy)>,
}

/// Why there is nothing to make a backup of.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An audit log can't be read.
    #[error(transparent)]
    Log(#[from] RecoveryError),
    /// The file system refused.
    #[error("can't read the data directory")]
    Io(#[from] io::Error),
}

/// Whose data is backed up, how it is signed, and when.
#[derive(Debug)]
pub struct Whose<'a> {
    /// What it is called.
    pub identity: &'a Identity,
    /// The audit logs before the current one, oldest first.
    pub previous_logs: &'a [Uuid],
    /// What verifies its checkpoints.
    pub key: Option<&'a VerifierKey>,
    /// The time.
    pub time: UnixNanos,
}

impl Source {
    /// Puts it together: a journal up to a revision with the last checkpoint over it, cursors, and
    /// every audit log with its id, oldest first.
    pub fn new(
        whose: &Whose<'_>,
        (journal, head): (Arc<dyn JournalReader>, JournalHead),
        cursors: Vec<AuditCursor>,
        logs: Vec<(Uuid, LogCopy)>,
    ) -> Self {
        let Whose { identity, previous_logs, key, time } = whose;
        let Identity { node_id, log_id: current, origin } = identity;
        let log_head = |(log_id, copy): &(Uuid, LogCopy)| LogHead {
            log_id: *log_id,
            first: copy.first,
            last: copy.last,
        };
        let head = Head {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            time: time.to_string(),
            node_id: *node_id,
            origin: origin.clone(),
            public_key: key.map(|key| key.named(origin).to_string()),
            journal: head,
            cursors: cursors.len() as u64,
            logs: logs.iter().map(log_head).collect(),
        };
        let with_folder = |(log_id, copy)| (audit_folder(previous_logs, *current, log_id), copy);
        let logs = logs.into_iter().map(with_folder).collect();
        Self { head, time: *time, journal, cursors, logs }
    }

    /// What is in a data directory that no server uses: everything that there is.
    pub fn of_stopped(
        data_dir: &DataDir,
        (journal, revision): (Arc<dyn JournalReader>, u64),
        cursors: Vec<AuditCursor>,
        (key, time): (Option<&VerifierKey>, UnixNanos),
    ) -> Result<Self, SourceError> {
        let (identity, previous_logs) = (data_dir.identity(), data_dir.previous_logs());
        let whose = Whose { identity, previous_logs, key, time };
        let checkpoint = journal_note(data_dir.path(), identity, key)?;
        let mut logs = copy_idle(data_dir.path(), identity, previous_logs)?;
        logs.push((
            identity.log_id,
            copy_one(data_dir.path(), identity, previous_logs, identity.log_id)?,
        ));
        let head = JournalHead { revision, checkpoint };
        Ok(Self::new(&whose, (journal, head), cursors, logs))
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

/// What is copied of the audit logs that have ended.
pub fn copy_idle(
    path: &Path,
    identity: &Identity,
    previous_logs: &[Uuid],
) -> Result<Vec<(Uuid, LogCopy)>, SourceError> {
    let copied = previous_logs
        .iter()
        .map(|&log_id| Ok((log_id, copy_one(path, identity, previous_logs, log_id)?)));
    copied.collect()
}

fn copy_one(
    path: &Path,
    identity: &Identity,
    previous_logs: &[Uuid],
    log_id: Uuid,
) -> Result<LogCopy, SourceError> {
    let folder = audit_path(path, previous_logs, identity, log_id);
    let tree = Untouched::new(folder.join(LOG_TREE_FOLDER));
    Ok(copying::of_idle(Arc::new(Untouched::new(folder)), Arc::new(tree), log_id)?)
}

/// The last checkpoint of the journal, as a signed note, if there is one.
fn journal_note(
    path: &Path,
    identity: &Identity,
    key: Option<&VerifierKey>,
) -> io::Result<Option<String>> {
    let Some(key) = key else { return Ok(None) };
    let folder = Untouched::new(path.join(JOURNAL_TREE_FOLDER));
    let checkpoints = match folder.list() {
        Ok(_) => Checkpoints::open(&folder),
        Err(error) => Err(error),
    };
    let last = match checkpoints {
        // It is made when a server first starts.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            None
        }
        checkpoints => checkpoints?.last()?,
    };
    let key = key.named(&identity.journal_name());
    Ok(last.map(|last| key.note(&last.statement(key.name()), &last.signature)))
}
