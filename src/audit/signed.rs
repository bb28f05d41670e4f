//! What of a log is signed, looked at without touching it, also while a server writes to it: only
//! records up to the last checkpoint are read, and those don't change any more.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    leaves::{self, SegmentLeaves},
    recovery::{self, OnLoss, Recovered, RecoveryError},
    segment::{Cursor, Entry, Segment},
    tree::{
        checkpoints::Checkpoint,
        hash::Hash,
        stored::{EvidenceError, Inclusion, Tree},
    },
    volume::Untouched,
};

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A log up to its last checkpoint.
#[derive(Debug)]
pub struct SignedLog {
    tree: Tree,
    segments: Vec<Arc<Segment>>,
    latest: Checkpoint,
}

/// Why a log can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SignedLogError {
    /// Nothing was signed.
    #[error("no checkpoint was signed yet")]
    NoCheckpoint,
    /// The records can't be found.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The file system refused.
    #[error("can't read the audit log")]
    Io(#[from] io::Error),
}

impl SignedLog {
    /// Opens the log in a folder.
    pub fn open(folder: &Path, tree: &Path, log_id: Uuid) -> Result<Self, SignedLogError> {
        let tree = Tree::open(Arc::new(Untouched::new(tree.to_owned())), u64::MAX)?;
        // Before the records are looked for, so that they are there.
        let latest = tree.latest()?.ok_or(SignedLogError::NoCheckpoint)?;
        let recovered =
            recovery::recover_ended(&Untouched::new(folder.to_owned()), log_id, OnLoss::Refuse)?;
        let Recovered { mut sealed, open, unsealed, .. } = recovered;
        sealed.extend(unsealed.into_iter().chain(open).map(|one| one.segment));
        sealed.sort_by_key(|segment| segment.first_sequence());
        Ok(Self { tree, segments: sealed, latest })
    }

    /// Its last checkpoint.
    pub fn latest(&self) -> &Checkpoint {
        &self.latest
    }

    /// The root of the tree over its first records.
    pub fn root_at(&self, size: u64) -> Result<Hash, EvidenceError> {
        self.tree.root_at(&self.leaves(), size)
    }

    /// Proves that a record is in what the last checkpoint covers.
    pub fn inclusion(&self, sequence: u64) -> Result<Inclusion, EvidenceError> {
        self.tree.inclusion(&self.leaves(), sequence - 1, &self.latest)
    }

    /// The first record that is kept.
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(1, |segment| segment.first_sequence())
    }

    /// Reads records in order; what can't be read is named.
    pub fn read<E: From<io::Error>>(
        &self,
        first: u64,
        last: u64,
        each: &mut dyn FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut next, mut entries) = (first, Vec::new());
        while next <= last {
            let Some(segment) = leaves::find_segment(&self.segments, next) else { break };
            if segment.last() < next {
                break;
            }
            let mut cursor = Cursor::new(Arc::clone(&segment), next);
            while next <= last.min(segment.last()) {
                cursor.read(CHUNK_BYTES, &mut entries)?;
                for entry in entries.drain(..) {
                    if (next..=last).contains(&entry.sequence) {
                        next = entry.sequence + 1;
                        each(entry)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn leaves(&self) -> SegmentLeaves<impl Fn(u64) -> Option<Arc<Segment>> + '_> {
        let segment_of = |sequence| leaves::find_segment(&self.segments, sequence);
        SegmentLeaves { first: self.first(), last: self.latest.size, segment_of }
    }
}
