//! Checkpoints of the audit log and proofs over it: which there are, and who gets them.
//!
//! Checkpoints and proofs of consistency say nothing of a record, so every auditor gets them; a proof
//! of inclusion goes to who may read the record.

use std::{sync::Arc, time::Duration};

use crate::{
    audit::{
        log::AuditLog,
        tree::{
            checkpoints::Checkpoint,
            evidence::{Evidence, EvidenceError, Inclusion},
        },
    },
    identity::caller::Caller,
};

use super::reading::{self, ReadingError};

/// Where the tree's files are, in the data directory.
const TREE_FOLDER: &str = "audit/tree";

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
    #[error("{}", no_checkpoint(*.size))]
    NoCheckpoint {
        /// Its size; 0 for any.
        size: u64,
    },
    /// None was signed in time.
    #[error("no checkpoint over {at_least} records was signed in time; the last is over {size}")]
    NotReached {
        /// How many records it should cover.
        at_least: u64,
        /// How many the last one covers.
        size: u64,
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
}

fn no_checkpoint(size: u64) -> String {
    match size {
        0 => "no checkpoint was signed yet".to_owned(),
        size => format!("no checkpoint over {size} records was signed"),
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

impl From<EvidenceError> for ProofError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Io(error) => Self::Reading(ReadingError::Io(error)),
            EvidenceError::Damaged(place) => Self::Damaged {
                place: Some((format!("{TREE_FOLDER}/{}", place.file), place.offset)),
            },
            error => {
                tracing::error!(%error, "a proof does not lead to what was signed");
                Self::Damaged { place: None }
            }
        }
    }
}

/// A record's place in what a checkpoint covers.
#[derive(Debug)]
pub struct ProvedRecord {
    /// The record.
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

fn evidence(log: &AuditLog, size: u64) -> Result<&Arc<Evidence>, ProofError> {
    log.evidence().ok_or(ProofError::NoCheckpoint { size })
}

/// Finds a checkpoint. Blocks on the disk.
pub fn find(log: &AuditLog, wanted: Wanted) -> Result<Checkpoint, ProofError> {
    let (size, checkpoint) = match wanted {
        Wanted::Last => (0, evidence(log, 0)?.latest()),
        Wanted::OfSize(size) => {
            (size, evidence(log, size)?.find(size).map_err(EvidenceError::from)?)
        }
        Wanted::Covering(size) => {
            (size, evidence(log, size)?.latest().filter(|checkpoint| checkpoint.size >= size))
        }
    };
    checkpoint.ok_or(ProofError::NoCheckpoint { size })
}

fn of_size(log: &AuditLog, size: u64) -> Result<Checkpoint, ProofError> {
    find(log, if size == 0 { Wanted::Last } else { Wanted::OfSize(size) })
}

/// Waits for a checkpoint that covers so many records.
pub async fn covering(
    log: &AuditLog,
    at_least: u64,
    patience: Duration,
) -> Result<Checkpoint, ProofError> {
    let mut checkpoints = evidence(log, at_least)?.checkpoints();
    let is_enough = |latest: &Option<Checkpoint>| latest.is_some_and(|one| one.size >= at_least);
    let reached = tokio::time::timeout(patience, checkpoints.wait_for(is_enough)).await;
    let reached = reached.ok().and_then(Result::ok).and_then(|checkpoint| *checkpoint);
    let size = evidence(log, at_least)?.latest().map_or(0, |checkpoint| checkpoint.size);
    reached.ok_or(ProofError::NotReached { at_least, size })
}

/// Proves that a record is in what a checkpoint covers, or the last one if its size is 0. `None` if
/// the checkpoint doesn't cover the record. Blocks on the disk.
pub fn inclusion(
    log: &AuditLog,
    caller: &Caller,
    sequence: u64,
    size: u64,
) -> Result<ProvedRecord, ProofError> {
    // Who may not see it learns nothing of it.
    reading::read_one(log, caller, sequence)?;
    let checkpoint = match size {
        0 => find(log, Wanted::Covering(sequence))?,
        size => find(log, Wanted::OfSize(size))?,
    };
    let inclusion = evidence(log, size)?.inclusion(log.leaves(), sequence - 1, &checkpoint)?;
    Ok(ProvedRecord { sequence, inclusion, checkpoint })
}

/// Proves that one checkpoint continues another, of which the later is the last one if its size is 0.
/// Blocks on the disk.
pub fn consistency(log: &AuditLog, from: u64, to: u64) -> Result<ProvedGrowth, ProofError> {
    let (from, to) = (of_size(log, from)?, of_size(log, to)?);
    let path = evidence(log, 0)?.consistency(log.leaves(), &from, &to)?;
    Ok(ProvedGrowth { from, to, path })
}
