//! A log's tree as it is served: opened against what was signed, grown behind the writer, signed
//! about once a second, and asked for proofs.
//!
//! No proof leaves that doesn't lead to the root that was signed.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::sync::watch;

use crate::{
    audit::{background, volume::Volume},
    clock::Clock,
};

use super::{
    checkpoints::Checkpoint,
    feed::{self, Added, Feed, Sized, Taken, Waiting},
    files::{Files, LEVELS},
    forgetting,
    hash::{self, Frontier, Hash},
    note::{SigningKey, VerifierKey},
    stored::Tree,
};

pub use super::stored::{EachLeaf, EvidenceError, Inclusion, LeafSource};

/// How often a checkpoint is signed while records come: more than once a second.
const PERIOD: Duration = Duration::from_millis(900);
/// How long a checkpoint that is wanted at once is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how many hashes on their way to the files room is kept.
const KEPT_ROOM: usize = 1 << 16;
/// How many leaves go to the files at a time when they are made anew.
const CHUNK: usize = 1 << 14;

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
    tree: Tree,
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
        let tree = Tree::open(volume, forgetting::gone_before(records.first()))?;
        let latest = watch::Sender::new(tree.checkpoints.last()?);
        let (feed, waiting) = feed::feed();
        let evidence = Self { tree, key, clock, waiting, latest };
        let frontier = evidence.resume(records, last)?;
        let whole = (frontier.size(), frontier.root());
        evidence.tree.files.truncate(last)?;
        // A removal may have been cut short.
        evidence.tree.forget_before(records.first())?;
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
        let stored = self.tree.files.size()?.min(signed);
        let stored_frontier =
            Frontier::at(stored, &mut |level, index| self.tree.node(records, level, index));
        let has_all = records.first() == 0;
        match stored_frontier.and_then(|frontier| self.extend(frontier, records, latest)) {
            // Of a log whose beginning isn't kept it can't be made anew.
            Err(EvidenceError::Differs { .. } | EvidenceError::Damaged(_)) if has_all => {}
            extended => return extended,
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
        let (mut emptied, mut signed) = (Added::default(), self.clock.elapsed());
        loop {
            let since = self.clock.elapsed().saturating_sub(signed);
            let patience = PERIOD.saturating_sub(since);
            let taken = self.waiting.take(emptied, patience).map_err(io::Error::other);
            match taken.and_then(|taken| self.take(&taken).map(|()| taken)) {
                Ok(Taken { is_last: true, .. }) => return,
                Ok(Taken { added, is_early, .. }) => {
                    if !is_early {
                        signed = self.clock.elapsed();
                    }
                    emptied = added.emptied();
                }
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

    fn take(&self, taken: &Taken) -> io::Result<()> {
        let &Taken { ref added, whole, aligned, is_last, is_wanted, is_early } = taken;
        added.write(&self.tree.files, whole.0 - added.leaves.len() as u64)?;
        if is_early {
            return Ok(());
        }
        let latest = self.latest().map_or(0, |checkpoint| checkpoint.size);
        match aligned.filter(|(size, _)| *size > latest) {
            Some(aligned) if !is_last && !is_wanted => self.sign(aligned)?,
            _ => self.sign(whole)?,
        }
        if is_last {
            self.tree.files.sync()?;
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
        self.tree.checkpoints.append(&checkpoint)?;
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
        self.tree.checkpoints.find(size)
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

    /// Proves that the record at a place, from 0, is in what a checkpoint covers. Blocks on the disk.
    pub fn inclusion(
        &self,
        records: &dyn LeafSource,
        index: u64,
        checkpoint: &Checkpoint,
    ) -> Result<Inclusion, EvidenceError> {
        self.tree.inclusion(records, index, checkpoint)
    }

    /// The tree on disk.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Proves that what one checkpoint covers begins with what another one does. Blocks on the disk.
    pub fn consistency(
        &self,
        records: &dyn LeafSource,
        from: &Checkpoint,
        to: &Checkpoint,
    ) -> Result<Vec<Hash>, EvidenceError> {
        self.tree.consistency(records, from, to)
    }
}

/// Runs a tree's thread.
pub fn start(evidence: Arc<Evidence>) -> io::Result<thread::JoinHandle<()>> {
    background::start("audit-tree", move || evidence.keep())
}

impl Added {
    /// The same room with nothing in it.
    pub(super) fn emptied(self) -> Self {
        let Self { mut leaves, mut nodes } = self;
        leaves.clear();
        nodes.clear();
        // What a slow disk let gather isn't kept for ever.
        leaves.shrink_to(KEPT_ROOM);
        nodes.shrink_to(KEPT_ROOM);
        Self { leaves, nodes }
    }

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
        let kept = self.evidence.tree.files.read(0, index, 1)?.into_iter().flatten().next();
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
        added.write(&self.evidence.tree.files, self.frontier.size() - added.leaves.len() as u64)
    }
}
