//! Checkpoints of the audit log and of the journal, and proofs over them: which there are, and who
//! gets them.
//!
//! Checkpoints and proofs of consistency say nothing of a record or a change, so everybody gets them
//! who may read some; a proof of inclusion goes to who may read that record or change.

use std::time::Duration;

use crate::{
    audit::{
        journal::JournalTree,
        log::AuditLog,
        tree::{
            checkpoints::Checkpoint,
            evidence::{Evidence, EvidenceError, Inclusion, LeafSource},
            files::Place,
        },
    },
    identity::caller::Caller,
    store::{
        data_dir::{JOURNAL_TREE_FOLDER, LOG_TREE_FOLDER},
        journal::ReadError,
    },
};

use super::{
    history::{History, HistoryError},
    reading::{self, ReadingError},
};

/// What stands below a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// The records of the audit log.
    Records,
    /// The events of the journal.
    Changes,
}

impl Below {
    fn word(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Changes => "changes",
        }
    }
}

/// Which checkpoint is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The last one.
    Last,
    /// The one of this size.
    OfSize(u64),
    /// The first one from now on that is of this size or larger.
    Covering(u64),
}

/// Why there is no checkpoint or no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// No such checkpoint was signed.
    #[error("{}", no_checkpoint(*.size, *.of))]
    NoCheckpoint {
        /// Its size; 0 for any.
        size: u64,
        /// Of which tree.
        of: Below,
    },
    /// None was signed in time.
    #[error(
        "no checkpoint over {at_least} {} was signed in time; the last is over {size}", .of.word()
    )]
    NotReached {
        /// How many it should cover.
        at_least: u64,
        /// How many the last one covers.
        size: u64,
        /// Of which tree.
        of: Below,
    },
    /// What is needed is damaged.
    #[error("{}", damaged(.place.as_ref()))]
    Damaged {
        /// The file and the place in it, where that is known.
        place: Option<(String, u64)>,
    },
    /// The record isn't read.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// The change isn't read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

fn no_checkpoint(size: u64, of: Below) -> String {
    match size {
        0 => "no checkpoint was signed yet".to_owned(),
        size => format!("no checkpoint over {size} {} was signed", of.word()),
    }
}

fn damaged(place: Option<&(String, u64)>) -> String {
    match place {
        Some((file, offset)) => {
            format!("what proves it is damaged on disk, in `{file}` at byte {offset}")
        }
        None => "what proves it is damaged on disk".to_owned(),
    }
}

/// A record's or a change's place in what a checkpoint covers.
#[derive(Debug)]
pub struct ProvedRecord {
    /// The record, or the change's revision.
    pub sequence: u64,
    /// The proof.
    pub inclusion: Inclusion,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

/// One checkpoint after another.
#[derive(Debug)]
pub struct ProvedGrowth {
    /// The earlier checkpoint.
    pub from: Checkpoint,
    /// The later one.
    pub to: Checkpoint,
    /// The proof.
    pub path: Vec<[u8; 32]>,
}

/// A tree that is asked for checkpoints and proofs.
#[derive(Clone, Copy)]
struct Asked<'a> {
    evidence: &'a Evidence,
    leaves: &'a dyn LeafSource,
    of: Below,
    /// Where the log is within the data directory, if it is one.
    log_folder: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn of_log(log: &'a AuditLog, size: u64) -> Result<Self, ProofError> {
        let of = Below::Records;
        let evidence = log.evidence().ok_or(ProofError::NoCheckpoint { size, of })?;
        Ok(Self { evidence, leaves: log.leaves(), of, log_folder: Some(log.folder()) })
    }

    fn of_journal(tree: &'a JournalTree) -> Self {
        let (evidence, leaves) = (tree.evidence(), tree.leaves());
        Self { evidence, leaves, of: Below::Changes, log_folder: None }
    }

    fn failed(self, error: EvidenceError) -> ProofError {
        match error {
            EvidenceError::Io(error) => match self.of {
                Below::Records => ReadingError::Io(error).into(),
                Below::Changes => HistoryError::Read(ReadError::Engine(error.to_string())).into(),
            },
            EvidenceError::Damaged(Place { file, offset }) => {
                let file = match self.log_folder {
                    Some(folder) => format!("{folder}/{LOG_TREE_FOLDER}/{file}"),
                    None => format!("{JOURNAL_TREE_FOLDER}/{file}"),
                };
                ProofError::Damaged { place: Some((file, offset)) }
            }
            error => {
                tracing::error!(%error, "a proof does not lead to what was signed");
                ProofError::Damaged { place: None }
            }
        }
    }

    fn find(self, wanted: Wanted) -> Result<Checkpoint, ProofError> {
        let latest = self.evidence.latest();
        let (size, checkpoint) = match wanted {
            Wanted::Last => (0, latest),
            Wanted::OfSize(size) => {
                (size, self.evidence.find(size).map_err(|error| self.failed(error.into()))?)
            }
            Wanted::Covering(size) => (size, latest.filter(|latest| latest.size >= size)),
        };
        checkpoint.ok_or(ProofError::NoCheckpoint { size, of: self.of })
    }

    fn of_size(self, size: u64) -> Result<Checkpoint, ProofError> {
        self.find(if size == 0 { Wanted::Last } else { Wanted::OfSize(size) })
    }

    fn inclusion(self, sequence: u64, size: u64) -> Result<ProvedRecord, ProofError> {
        let checkpoint = match size {
            0 => self.find(Wanted::Covering(sequence))?,
            size => self.find(Wanted::OfSize(size))?,
        };
        let inclusion = self.evidence.inclusion(self.leaves, sequence - 1, &checkpoint);
        let inclusion = inclusion.map_err(|error| self.failed(error))?;
        Ok(ProvedRecord { sequence, inclusion, checkpoint })
    }

    fn consistency(self, from: u64, to: u64) -> Result<ProvedGrowth, ProofError> {
        let (from, to) = (self.of_size(from)?, self.of_size(to)?);
        let path = self.evidence.consistency(self.leaves, &from, &to);
        let path = path.map_err(|error| self.failed(error))?;
        Ok(ProvedGrowth { from, to, path })
    }
}

async fn await_covering(
    evidence: &Evidence,
    of: Below,
    at_least: u64,
    patience: Duration,
) -> Result<Checkpoint, ProofError> {
    let mut checkpoints = evidence.checkpoints();
    let is_enough = |latest: &Option<Checkpoint>| latest.is_some_and(|one| one.size >= at_least);
    let reached = tokio::time::timeout(patience, checkpoints.wait_for(is_enough)).await;
    let reached = reached.ok().and_then(Result::ok).and_then(|checkpoint| *checkpoint);
    let size = evidence.latest().map_or(0, |checkpoint| checkpoint.size);
    reached.ok_or(ProofError::NotReached { at_least, size, of })
}

fn size_of(wanted: Wanted) -> u64 {
    match wanted {
        Wanted::Last => 0,
        Wanted::OfSize(size) | Wanted::Covering(size) => size,
    }
}

/// Finds a checkpoint. Blocks on the disk.
pub fn find(log: &AuditLog, wanted: Wanted) -> Result<Checkpoint, ProofError> {
    Asked::of_log(log, size_of(wanted))?.find(wanted)
}

/// Waits for a checkpoint that covers so many records.
pub async fn covering(
    log: &AuditLog,
    at_least: u64,
    patience: Duration,
) -> Result<Checkpoint, ProofError> {
    let of = Below::Records;
    let evidence = log.evidence().ok_or(ProofError::NoCheckpoint { size: at_least, of })?;
    await_covering(evidence, of, at_least, patience).await
}

/// Proves that a record is in what a checkpoint covers, or the last one if its size is 0.
/// Blocks on the disk.
pub fn inclusion(
    log: &AuditLog,
    caller: &Caller,
    sequence: u64,
    size: u64,
) -> Result<ProvedRecord, ProofError> {
    // Who may not see it learns nothing of it.
    reading::read_one(log, caller, sequence)?;
    Asked::of_log(log, size)?.inclusion(sequence, size)
}

/// Proves that one checkpoint continues another, of which the later is the last one if its size is 0.
/// Blocks on the disk.
pub fn consistency(log: &AuditLog, from: u64, to: u64) -> Result<ProvedGrowth, ProofError> {
    Asked::of_log(log, 0)?.consistency(from, to)
}

/// The same for the journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChangeProofs {
    history: History,
    tree: JournalTree,
}

impl ChangeProofs {
    /// Proves by a tree what of the journal a caller may read.
    pub fn new(history: History, tree: JournalTree) -> Self {
        Self { history, tree }
    }

    /// The tree.
    pub fn tree(&self) -> &JournalTree {
        &self.tree
    }

    /// Finds a checkpoint. Blocks on the disk.
    pub fn find(&self, wanted: Wanted) -> Result<Checkpoint, ProofError> {
        Asked::of_journal(&self.tree).find(wanted)
    }

    /// Waits for a checkpoint that covers so many changes.
    pub async fn covering(
        &self,
        at_least: u64,
        patience: Duration,
    ) -> Result<Checkpoint, ProofError> {
        await_covering(self.tree.evidence(), Below::Changes, at_least, patience).await
    }

    /// Proves that a change is in what a checkpoint covers, or the last one if its size is 0. Blocks
    /// on the disk.
    pub fn inclusion(
        &self,
        caller: &Caller,
        revision: u64,
        size: u64,
    ) -> Result<ProvedRecord, ProofError> {
        self.history.find(caller, revision)?;
        Asked::of_journal(&self.tree).inclusion(revision, size)
    }

    /// Proves that one checkpoint continues another, of which the later is the last one if its size
    /// is 0. Blocks on the disk.
    pub fn consistency(&self, from: u64, to: u64) -> Result<ProvedGrowth, ProofError> {
        Asked::of_journal(&self.tree).consistency(from, to)
    }
}
