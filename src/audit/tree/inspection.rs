//! Looks at a tree without touching it, at once or a piece at a time: every hash against what is below
//! it, down to the records, and every checkpoint against the tree.

use std::io;

use super::{
    checkpoints::{self, Checkpoint},
    files::{self, LEVELS, Place},
    hash::{Frontier, Hash},
    note::VerifierKey,
    stored::{EvidenceError, LeafSource, Tree},
};

/// Something in a tree that isn't as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub what: String,
}

/// Finds everything that is wrong with the tree over the records `first` (from 1 on) to `last`.
pub fn verify(
    tree: &Tree,
    records: &dyn LeafSource,
    (first, last): (u64, u64),
    verifier: Option<&VerifierKey>,
) -> io::Result<Vec<Flaw>> {
    let subject = Subject { tree, records, verifier };
    let begin = first - 1;
    let mut examination = match Examination::begin(&subject, begin, 0)? {
        Ok(examination) => examination,
        Err(flaw) => return Ok(vec![flaw]),
    };
    examination.pass_checkpoints(&subject, u64::MAX)?;
    let stored = tree.files.size()?.min(last);
    records.leaves(begin, &mut |index, leaf_hash| {
        if index < stored {
            examination.add(&subject, index, leaf_hash)?;
        } else {
            // The next start makes its hash; what was signed shows whether it is the right one.
            examination.push(leaf_hash);
        }
        examination.pass_checkpoints(&subject, u64::MAX)?;
        Ok(())
    })?;
    examination.behind(&subject, last)?;
    Ok(examination.flaws)
}

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// The records below it.
    pub records: &'a dyn LeafSource,
    /// What its checkpoints must be signed by, if that is known.
    pub verifier: Option<&'a VerifierKey>,
}

/// How far a tree was looked at, and what was found.
#[derive(Debug)]
pub struct Examination {
    frontier: Frontier,
    /// The checkpoint that is looked at next, by its place from 0.
    next: u64,
    /// The size of that one, as far as it is known.
    due: u64,
    /// Stored hashes of leaves from a place on, read ahead.
    ahead: (u64, Vec<Option<Hash>>),
    /// Where the hash of a record is kept that can neither be read nor computed: the roots over it
    /// can't be known.
    unknown: Option<Place>,
    flaws: Vec<Flaw>,
}

/// How many hashes of leaves are read ahead.
const AHEAD: u64 = 256;

impl Examination {
    /// Begins with the record at a place, from 0, and the checkpoint at another one; or tells why the
    /// tree can't be looked at from there.
    pub fn begin(
        subject: &Subject<'_>,
        index: u64,
        checkpoint: u64,
    ) -> io::Result<Result<Self, Flaw>> {
        let mut node_at = |level, index| subject.tree.node(subject.records, level, index);
        let (ahead, unknown, flaws) = ((0, Vec::new()), None, Vec::new());
        match Frontier::at(index, &mut node_at) {
            Ok(frontier) => {
                Ok(Ok(Self { frontier, next: checkpoint, due: 0, ahead, unknown, flaws }))
            }
            Err(EvidenceError::Io(error)) => Err(error),
            Err(error) => {
                let place = files::place(0, index.saturating_sub(1));
                Ok(Err(Flaw { place, what: error.to_string() }))
            }
        }
    }

    /// The record that is to be added next, by its place from 0, and the checkpoint that is looked at
    /// next.
    pub fn position(&self) -> (u64, u64) {
        (self.frontier.size(), self.next)
    }

    /// What was found since this was asked last.
    pub fn take_flaws(&mut self) -> Vec<Flaw> {
        std::mem::take(&mut self.flaws)
    }

    fn note(&mut self, place: Place, what: impl Into<String>) {
        self.flaws.push(Flaw { place, what: what.into() });
    }

    /// Adds a hash, which is all that is known of the next record; gives what is complete with it.
    fn push(&mut self, leaf_hash: Option<Hash>) -> Vec<(u32, Hash)> {
        if leaf_hash.is_none() {
            self.unknown.get_or_insert(files::place(0, self.frontier.size()));
        }
        let mut completed = Vec::new();
        self.frontier.push(leaf_hash.unwrap_or_default(), |level, hash| {
            completed.push((level, *hash));
        });
        completed
    }

    /// Adds the next record; `None` if it is damaged.
    pub fn add(
        &mut self,
        subject: &Subject<'_>,
        index: u64,
        leaf_hash: Option<Hash>,
    ) -> io::Result<()> {
        let files = &subject.tree.files;
        let kept = self.kept(subject, index)?;
        let known = match (kept, leaf_hash) {
            (None, _) => {
                self.note(files::place(0, index), format!("the hash of record {}", index + 1));
                leaf_hash
            }
            (Some(kept), Some(leaf_hash)) if kept != leaf_hash => {
                let what = format!("record {} or its hash: they differ", index + 1);
                self.note(files::place(0, index), what);
                Some(kept)
            }
            (kept, _) => kept,
        };
        for (level, hash) in self.push(known).iter().filter(|(level, _)| LEVELS.contains(level)) {
            let place = index >> level;
            let kept = files.read(*level, place, 1)?.into_iter().flatten().next();
            if kept != Some(*hash) {
                self.note(files::place(*level, place), "the hash of a subtree");
            }
        }
        Ok(())
    }

    fn kept(&mut self, subject: &Subject<'_>, index: u64) -> io::Result<Option<Hash>> {
        let found = |(first, hashes): &(u64, Vec<Option<Hash>>)| {
            let place = usize::try_from(index.checked_sub(*first)?).ok()?;
            hashes.get(place).copied()
        };
        if let Some(kept) = found(&self.ahead).flatten() {
            return Ok(Some(kept));
        }
        self.ahead = (index, subject.tree.files.read(0, index, AHEAD)?);
        Ok(found(&self.ahead).flatten())
    }

    /// Looks at the checkpoints over as many records as the tree has now, and at those before, but at
    /// no more than a number; tells whether there is none left.
    pub fn pass_checkpoints(&mut self, subject: &Subject<'_>, most: u64) -> io::Result<bool> {
        if self.due > self.frontier.size() {
            return Ok(true);
        }
        let checkpoints = &subject.tree.checkpoints;
        let end = self.next.saturating_add(most);
        while self.next < checkpoints.count() {
            let checkpoint = checkpoints.read(self.next)?;
            self.due = checkpoint.map_or(0, |checkpoint| checkpoint.size);
            if self.due > self.frontier.size() {
                return Ok(true);
            }
            if self.next >= end {
                return Ok(false);
            }
            let place = checkpoint_place(self.next);
            self.next += 1;
            match checkpoint {
                Some(checkpoint) => self.compare(subject, &checkpoint, place)?,
                None => self.note(place, "a checkpoint"),
            }
        }
        Ok(true)
    }

    /// Holds a checkpoint, which stands at a place, against the tree and the key.
    fn compare(
        &mut self,
        subject: &Subject<'_>,
        checkpoint: &Checkpoint,
        place: Place,
    ) -> io::Result<()> {
        let Checkpoint { size, root, signature, .. } = checkpoint;
        match self.root(subject, *size) {
            Ok(found) if found != *root => {
                self.note(place, format!("the first {size} records are not those signed"));
            }
            Ok(_)
                if subject.verifier.is_some_and(|verifier| {
                    !verifier.verify(&checkpoint.statement(verifier.name()), signature)
                }) =>
            {
                self.note(place, format!("the checkpoint over {size} records is not signed"));
            }
            Ok(_) => {}
            Err(EvidenceError::Io(error)) => return Err(error),
            Err(error) => {
                let what = format!("the first {size} records can't be compared with it: {error}");
                self.note(place, what);
            }
        }
        Ok(())
    }

    fn root(&self, subject: &Subject<'_>, size: u64) -> Result<Hash, EvidenceError> {
        if size != self.frontier.size() {
            return subject.tree.root_at(subject.records, size);
        }
        match &self.unknown {
            Some(place) => Err(EvidenceError::Damaged(place.clone())),
            None => Ok(self.frontier.root()),
        }
    }

    /// What is left when all records were looked at.
    pub fn behind(&mut self, subject: &Subject<'_>, last: u64) -> io::Result<()> {
        while self.next < subject.tree.checkpoints.count() {
            let place = checkpoint_place(self.next);
            self.next += 1;
            match subject.tree.checkpoints.read(self.next - 1)? {
                // It stands behind one over more records.
                Some(checkpoint) if checkpoint.size <= last => {
                    self.compare(subject, &checkpoint, place)?;
                }
                Some(Checkpoint { size, .. }) => {
                    let what = format!("{size} records were signed, but there are {last}");
                    self.note(place, what);
                }
                None => self.note(place, "a checkpoint"),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("tree", self.tree).finish_non_exhaustive()
    }
}

fn checkpoint_place(place: u64) -> Place {
    Place { file: checkpoints::FILE.to_owned(), offset: place * checkpoints::ENTRY_BYTES }
}
