//! Why a log isn't opened, and why a decision isn't recorded.

use std::io;

use crate::{
    audit::{buffer::NotWritten, recovery::RecoveryError, tree::evidence::EvidenceError},
    entropy::EntropyError,
    store::space::ReserveReached,
};

/// Why the log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is there can't be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The file system refused.
    #[error("can't open the audit log")]
    Io(#[from] io::Error),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The records aren't what was signed.
    #[error("the audit log is not what its checkpoints say")]
    Evidence(#[source] EvidenceError),
}

impl From<EvidenceError> for OpenError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Io(error) => Self::Io(error),
            error => Self::Evidence(error),
        }
    }
}

/// Why a decision is not recorded, and so not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too much waits for the disk.
    #[error("too many decisions wait for the disk")]
    Busy,
    /// The disk is too full.
    #[error(transparent)]
    Reserve(#[from] ReserveReached),
    /// The log can't be written.
    #[error("the audit log can't be written")]
    Unavailable,
}

impl From<NotWritten> for RecordError {
    fn from(NotWritten: NotWritten) -> Self {
        Self::Unavailable
    }
}
