//! A tree on disk: read, and asked for proofs. It signs nothing and writes nothing.
//!
//! A hash that is damaged is computed from what is below it; leaves, from the records.

use std::{io, sync::Arc};

use crate::audit::{copying::FileCopy, volume::Volume};

use super::{
    checkpoints::{Checkpoint, Checkpoints},
    files::{self, Files, LEVELS, Place},
    hash::{self, Hash},
    kept::Kept,
};

/// Where leaf hashes come from: the records as they are stored.
pub trait LeafSource {
    /// The place of the first record that is kept, from 0.
    fn first(&self) -> u64 {
        0
    }

    /// The hash of one record, by its place from 0; `None` if the record is damaged or gone.
    fn leaf(&self, index: u64) -> io::Result<Option<Hash>>;

    /// The hashes of all records from a place on, in order; those of damaged ones are `None`.
    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()>;
}

/// Takes hashes of records, by their places from 0.
pub type EachLeaf<'a> = &'a mut dyn FnMut(u64, Option<Hash>) -> io::Result<()>;

/// A tree's files.
#[derive(Debug)]
pub struct Tree {
    pub(super) files: Files,
    pub(super) checkpoints: Checkpoints,
    pub(super) kept: Kept,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The log ends before what was signed.
    #[error(
        "the log has {last} records, but a checkpoint over {signed} was signed: it was cut back; \
         restore it"
    )]
    CutBack {
        /// How many records there are.
        last: u64,
        /// How many there were.
        signed: u64,
    },
    /// The records aren't those that were signed.
    #[error("the log's first {signed} records are not those that a checkpoint was signed over")]
    Differs {
        /// The checkpoint's size.
        signed: u64,
    },
    /// The last checkpoint was signed by another key.
    #[error("the checkpoint over {signed} records is not signed by the key `{key}`")]
    OtherKey {
        /// The checkpoint's size.
        signed: u64,
        /// The key.
        key: String,
    },
    /// A hash can neither be read nor computed.
    #[error("a hash is damaged, in `{}` at byte {}", .0.file, .0.offset)]
    Damaged(Place),
    /// The file system refused.
    #[error("can't read the tree")]
    Io(#[from] io::Error),
}

/// A proof that a record is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The record's hash.
    pub leaf_hash: Hash,
    /// The hashes from there to the root.
    pub path: Vec<Hash>,
}

impl Tree {
    /// Opens a tree's files, or makes them; so many leaves may be gone.
    pub fn open(volume: Arc<dyn Volume>, gone: u64) -> io::Result<Self> {
        let checkpoints = Checkpoints::open(volume.as_ref())?;
        let kept = Kept::open(Arc::clone(&volume), gone)?;
        Ok(Self { files: Files::open(volume)?, checkpoints, kept })
    }

    /// The last checkpoint that can be read.
    pub fn latest(&self) -> io::Result<Option<Checkpoint>> {
        self.checkpoints.last()
    }

    /// The hashes of so many records from a place on, from 0, as they are kept; `None` for those that
    /// aren't, or whose hash is damaged. Blocks on the disk.
    pub fn kept_leaves(&self, index: u64, count: u64) -> io::Result<Vec<Option<Hash>>> {
        self.files.read(0, index, count)
    }

    /// What is copied of it, up to a size. Blocks on the disk.
    pub fn copy(&self, size: u64) -> io::Result<Vec<FileCopy>> {
        let mut copied = vec![self.checkpoints.copy(size)?];
        copied.extend(self.kept.copy());
        copied.extend(self.files.copy(size)?);
        Ok(copied)
    }

    /// The root of the tree of a size. Blocks on the disk.
    pub fn root_at(&self, records: &dyn LeafSource, size: u64) -> Result<Hash, EvidenceError> {
        hash::root_of(0, size, &mut |level, index| self.node(records, level, index))
    }

    /// Proves that the record at a place, from 0, is in what a checkpoint covers. Blocks on the disk.
    pub fn inclusion(
        &self,
        records: &dyn LeafSource,
        index: u64,
        checkpoint: &Checkpoint,
    ) -> Result<Inclusion, EvidenceError> {
        let Checkpoint { size, root, .. } = checkpoint;
        let mut node_at = |level, index| self.node(records, level, index);
        let leaf_hash = node_at(0, index)?;
        let path = hash::inclusion(index, *size, &mut node_at)?;
        if hash::root_by_inclusion(index, *size, &leaf_hash, &path) == Some(*root) {
            Ok(Inclusion { leaf_hash, path })
        } else {
            Err(EvidenceError::Differs { signed: *size })
        }
    }

    /// Proves that what one checkpoint covers begins with what another one does. Blocks on the disk.
    pub fn consistency(
        &self,
        records: &dyn LeafSource,
        from: &Checkpoint,
        to: &Checkpoint,
    ) -> Result<Vec<Hash>, EvidenceError> {
        let mut node_at = |level, index| self.node(records, level, index);
        let path = hash::consistency(from.size, to.size, &mut node_at)?;
        if hash::is_consistent((from.size, &from.root), (to.size, &to.root), &path) {
            Ok(path)
        } else {
            Err(EvidenceError::Differs { signed: to.size })
        }
    }

    /// The hash of a complete subtree: read where it is kept, and else computed from below.
    pub(super) fn node(
        &self,
        records: &dyn LeafSource,
        level: u32,
        index: u64,
    ) -> Result<Hash, EvidenceError> {
        let kept = LEVELS.iter().rev().find(|kept| **kept <= level).copied().unwrap_or_default();
        let shift = level - kept;
        let first = index << shift;
        let read = self.files.read(kept, first, 1 << shift)?.into_iter().zip(first..);
        let hashes = read.map(|(hash, index)| match hash {
            Some(hash) => Ok(hash),
            None => self.compute(records, kept, index),
        });
        match hashes.collect::<Result<_, _>>() {
            Ok(hashes) => Ok(hash::fold(hashes)),
            Err(EvidenceError::Damaged(place)) if level < 8 => {
                // Perhaps its leaves are gone on purpose.
                self.kept.find(level, index)?.ok_or(EvidenceError::Damaged(place))
            }
            Err(error) => Err(error),
        }
    }

    /// The hash of a subtree of a kept level, from what is below it.
    pub(super) fn compute(
        &self,
        records: &dyn LeafSource,
        level: u32,
        index: u64,
    ) -> Result<Hash, EvidenceError> {
        if level == 0 {
            let leaf_hash = records.leaf(index)?;
            return leaf_hash.ok_or_else(|| EvidenceError::Damaged(files::place(level, index)));
        }
        let below = level - 8;
        let children = self.files.read(below, index << 8, 1 << 8)?.into_iter().zip(index << 8..);
        let hashes = children.map(|(hash, index)| match hash {
            Some(hash) => Ok(hash),
            None => self.compute(records, below, index),
        });
        Ok(hash::fold(hashes.collect::<Result<_, _>>()?))
    }
}
