//! A log's tree as it is served: opened against what was signed, grown behind the writer, signed
//! about once a second, and asked for proofs.
//!
//! No proof leaves that doesn't lead to the root that was signed. A hash that is damaged on disk is
//! computed again from what is below it; leaves, from the records.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::sync::watch;

use crate::{audit::volume::Volume, clock::Clock};

use super::{
    checkpoints::{Checkpoint, Checkpoints},
    feed::{self, Feed, Sized, Taken, Waiting},
    files::{self, Files, LEVELS, Place},
    hash::{self, Frontier, Hash},
    note::{SigningKey, VerifierKey},
};

/// How often a checkpoint is signed while records come: more than once a second.
const PERIOD: Duration = Duration::from_millis(900);
/// How long a checkpoint that is wanted at once is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many leaves go to the files at a time when they are made anew.
const CHUNK: usize = 1 << 14;

/// Where leaf hashes come from: the records as they are stored.
pub trait LeafSource {
    /// The hash of one record, by its place from 0; `None` if the record is damaged or gone.
    fn leaf(&self, index: u64) -> io::Result<Option<Hash>>;

    /// The hashes of all records from a place on, in order; those of damaged ones are `None`.
    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()>;
}

/// Takes hashes of records, by their places from 0.
pub type EachLeaf<'a> = &'a mut dyn FnMut(u64, Option<Hash>) -> io::Result<()>;

/// What a tree is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where its files are.
    pub volume: Arc<dyn Volume>,
    /// What signs its checkpoints.
    pub key: SigningKey,
}

/// A log's tree and its checkpoints.
#[derive(Debug)]
pub struct Evidence {
    files: Files,
    checkpoints: Checkpoints,
    key: SigningKey,
    clock: Clock,
    waiting: Arc<Waiting>,
    latest: watch::Sender<Option<Checkpoint>>,
}

/// An open tree.
#[derive(Debug)]
pub struct Opened {
    /// The tree.
    pub evidence: Arc<Evidence>,
    /// What its writer feeds.
    pub feed: Feed,
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

impl Evidence {
    /// Opens the tree of a log that has so many records, or makes it. What the files lack, and what
    /// no checkpoint covers, is made of the records.
    pub fn open(
        parts: Parts,
        records: &dyn LeafSource,
        last: u64,
        clock: Clock,
    ) -> Result<Opened, EvidenceError> {
        let Parts { volume, key } = parts;
        let checkpoints = Checkpoints::open(volume.as_ref())?;
        let latest = watch::Sender::new(checkpoints.last()?);
        let (feed, waiting) = feed::feed();
        let files = Files::open(volume)?;
        let evidence = Self { files, checkpoints, key, clock, waiting, latest };
        let frontier = evidence.resume(records, last)?;
        let whole = (frontier.size(), frontier.root());
        evidence.files.truncate(last)?;
        evidence.sign(whole)?;
        evidence.waiting.begin_at(frontier);
        Ok(Opened { evidence: Arc::new(evidence), feed })
    }

    fn resume(&self, records: &dyn LeafSource, last: u64) -> Result<Frontier, EvidenceError> {
        let latest = self.latest();
        let signed = latest.map_or(0, |checkpoint| checkpoint.size);
        if let Some(checkpoint) = &latest {
            self.refuse_if_foreign(checkpoint)?;
        }
        if signed > last {
            return Err(EvidenceError::CutBack { last, signed });
        }
        let stored = self.files.size()?.min(signed);
        let stored_frontier =
            Frontier::at(stored, &mut |level, index| self.node(records, level, index));
        if let Ok(frontier) = stored_frontier {
            match self.extend(frontier, records, latest) {
                Err(EvidenceError::Differs { .. }) => {}
                extended => return extended,
            }
        }
        tracing::warn!(
            "the tree's files are not what was signed; they are made anew of the records"
        );
        self.extend(Frontier::default(), records, latest)
    }

    fn refuse_if_foreign(&self, checkpoint: &Checkpoint) -> Result<(), EvidenceError> {
        let verifier = self.verifier();
        if verifier.verify(&checkpoint.statement(verifier.name()), &checkpoint.signature) {
            return Ok(());
        }
        let (signed, key) = (checkpoint.size, verifier.name().to_owned());
        Err(EvidenceError::OtherKey { signed, key })
    }

    /// Adds all records behind a frontier, and makes sure that the tree leads to what was signed.
    fn extend(
        &self,
        frontier: Frontier,
        records: &dyn LeafSource,
        signed: Option<Checkpoint>,
    ) -> Result<Frontier, EvidenceError> {
        let from = frontier.size();
        let mut growth =
            Growth { evidence: self, frontier, signed, differs: None, added: Added::default() };
        growth.compare();
        records.leaves(from, &mut |index, leaf_hash| growth.add(index, leaf_hash))?;
        growth.flush()?;
        match growth.differs {
            Some(signed) => Err(EvidenceError::Differs { signed }),
            None => Ok(growth.frontier),
        }
    }

    /// Grows the tree behind its writer, and signs checkpoints, until the writer ends.
    pub fn keep(&self) {
        loop {
            let kept = self.waiting.take(PERIOD).map_err(io::Error::other).and_then(|taken| {
                let is_last = taken.is_last;
                self.take(taken).map(|()| is_last)
            });
            match kept {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    tracing::error!(
                        %error,
                        "no more checkpoints are signed until a restart; decisions go on"
                    );
                    return self.waiting.give_up();
                }
            }
        }
    }

    fn take(&self, taken: Taken) -> io::Result<()> {
        let Taken { leaves, nodes, whole, aligned, is_last, is_wanted } = taken;
        let size = whole.0 - leaves.len() as u64;
        Added { leaves, nodes }.write(&self.files, size)?;
        let latest = self.latest().map_or(0, |checkpoint| checkpoint.size);
        match aligned.filter(|(size, _)| *size > latest) {
            Some(aligned) if !is_last && !is_wanted => self.sign(aligned)?,
            _ => self.sign(whole)?,
        }
        if is_last {
            self.files.sync()?;
        }
        Ok(())
    }

    /// Signs a checkpoint, if it says more than the last one.
    fn sign(&self, (size, root): Sized) -> io::Result<()> {
        if size <= self.latest().map_or(0, |checkpoint| checkpoint.size) {
            return Ok(());
        }
        let (time, signature) = (self.clock.now(), [0; 64]);
        let mut checkpoint = Checkpoint { size, root, time, signature };
        checkpoint.signature = self.key.sign(&checkpoint.statement(self.verifier().name()));
        self.checkpoints.append(&checkpoint)?;
        self.latest.send_replace(Some(checkpoint));
        Ok(())
    }

    /// Has a checkpoint signed over so many records as soon as the tree has them, without waiting for
    /// the time or the number; tells when there is one, or that there won't be one soon.
    pub async fn sign_soon(&self, size: u64) -> bool {
        let mut checkpoints = self.checkpoints();
        self.waiting.want_checkpoint(size);
        let signed = checkpoints.wait_for(|latest| latest.is_some_and(|one| one.size >= size));
        tokio::time::timeout(PATIENCE, signed).await.is_ok()
    }

    /// The last checkpoint.
    pub fn latest(&self) -> Option<Checkpoint> {
        *self.latest.borrow()
    }

    /// Tells the last checkpoint, now and each time that there is another one.
    pub fn checkpoints(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.latest.subscribe()
    }

    /// The checkpoint of a size.
    pub fn find(&self, size: u64) -> io::Result<Option<Checkpoint>> {
        self.checkpoints.find(size)
    }

    /// What checks the checkpoints' signatures.
    pub fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// A checkpoint as a signed note.
    pub fn note(&self, checkpoint: &Checkpoint) -> String {
        let verifier = self.verifier();
        verifier.note(&checkpoint.statement(verifier.name()), &checkpoint.signature)
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
    fn node(
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
        Ok(hash::fold(hashes.collect::<Result<_, _>>()?))
    }

    /// The hash of a subtree of a kept level, from what is below it.
    fn compute(
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

/// Runs a tree's thread.
pub fn start(evidence: Arc<Evidence>) -> io::Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name("audit-tree".to_owned());
    thread.spawn(move || evidence.keep())
}

/// Hashes that go to the files.
#[derive(Debug, Default)]
struct Added {
    leaves: Vec<Hash>,
    nodes: Vec<(u32, Hash)>,
}

impl Added {
    /// Writes them behind a tree of a size.
    fn write(&self, files: &Files, size: u64) -> io::Result<()> {
        let Self { leaves, nodes } = self;
        files.write(0, size, leaves)?;
        for level in LEVELS.iter().skip(1) {
            let of_level = nodes.iter().filter(|(one, _)| one == level).map(|(_, hash)| *hash);
            let hashes: Vec<_> = of_level.collect();
            files.write(*level, size >> level, &hashes)?;
        }
        Ok(())
    }
}

/// A tree that grows by the records at the start.
struct Growth<'a> {
    evidence: &'a Evidence,
    frontier: Frontier,
    signed: Option<Checkpoint>,
    /// The checkpoint that it doesn't lead to.
    differs: Option<u64>,
    added: Added,
}

impl Growth<'_> {
    fn add(&mut self, index: u64, leaf_hash: Option<Hash>) -> io::Result<()> {
        if self.differs.is_some() {
            return Ok(());
        }
        let leaf_hash = match leaf_hash {
            Some(leaf_hash) => leaf_hash,
            None => self.kept_leaf(index)?,
        };
        let Added { leaves, nodes } = &mut self.added;
        leaves.push(leaf_hash);
        self.frontier.push(leaf_hash, |level, hash| {
            if LEVELS.contains(&level) {
                nodes.push((level, *hash));
            }
        });
        self.compare();
        if self.added.leaves.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// The hash of a record that is damaged. Where it isn't kept either, the tree goes on with that of
    /// nothing, which no record has.
    fn kept_leaf(&self, index: u64) -> io::Result<Hash> {
        let kept = self.evidence.files.read(0, index, 1)?.into_iter().flatten().next();
        Ok(kept.unwrap_or_else(|| {
            let sequence = index + 1;
            tracing::error!(sequence, "a damaged record has no hash either; it has no proof");
            hash::leaf(&[])
        }))
    }

    fn compare(&mut self) {
        if let Some(signed) = self.signed
            && signed.size == self.frontier.size()
            && signed.root != self.frontier.root()
        {
            self.differs = Some(signed.size);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let added = std::mem::take(&mut self.added);
        added.write(&self.evidence.files, self.frontier.size() - added.leaves.len() as u64)
    }
}
