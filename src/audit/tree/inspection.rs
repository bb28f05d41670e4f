//! Looks at a whole tree without touching it: every hash against what is below it, down to the
//! records, and every checkpoint against the tree.

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
    let mut looking = Looking { tree, flaws: Vec::new(), frontier: Frontier::default(), next: 0 };
    let begin = first - 1;
    match Frontier::at(begin, &mut |level, index| tree.node(records, level, index)) {
        Ok(frontier) => looking.frontier = frontier,
        Err(EvidenceError::Io(error)) => return Err(error),
        Err(error) => {
            looking.note(files::place(0, begin.saturating_sub(1)), error.to_string());
            return Ok(looking.flaws);
        }
    }
    looking.pass_checkpoints(records, verifier)?;
    let stored = tree.files.size()?.min(last);
    records.leaves(begin, &mut |index, leaf_hash| {
        if index >= stored {
            return Ok(());
        }
        looking.add(index, leaf_hash)?;
        looking.pass_checkpoints(records, verifier)
    })?;
    looking.behind(last)?;
    Ok(looking.flaws)
}

struct Looking<'a> {
    tree: &'a Tree,
    flaws: Vec<Flaw>,
    frontier: Frontier,
    /// The checkpoint that is looked at next, by its place from 0.
    next: u64,
}

impl Looking<'_> {
    fn note(&mut self, place: Place, what: impl Into<String>) {
        self.flaws.push(Flaw { place, what: what.into() });
    }

    fn add(&mut self, index: u64, leaf_hash: Option<Hash>) -> io::Result<()> {
        let kept = self.tree.files.read(0, index, 1)?.into_iter().flatten().next();
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
        let mut completed = Vec::new();
        self.frontier.push(known.unwrap_or_default(), |level, hash| completed.push((level, *hash)));
        for (level, hash) in completed.iter().filter(|(level, _)| LEVELS.contains(level)) {
            let place = index >> level;
            let kept = self.tree.files.read(*level, place, 1)?.into_iter().flatten().next();
            if kept != Some(*hash) {
                self.note(files::place(*level, place), "the hash of a subtree");
            }
        }
        Ok(())
    }

    /// Looks at the checkpoints over as many records as the tree has now, and at those before.
    fn pass_checkpoints(
        &mut self,
        records: &dyn LeafSource,
        verifier: Option<&VerifierKey>,
    ) -> io::Result<()> {
        while self.next < self.tree.checkpoints.count() {
            let checkpoint = self.tree.checkpoints.read(self.next)?;
            if checkpoint.is_some_and(|one| one.size > self.frontier.size()) {
                return Ok(());
            }
            let offset = self.next * checkpoints::ENTRY_BYTES;
            let place = Place { file: checkpoints::FILE.to_owned(), offset };
            self.next += 1;
            let Some(checkpoint) = checkpoint else {
                self.note(place, "a checkpoint");
                continue;
            };
            let Checkpoint { size, root, signature, .. } = checkpoint;
            if self.root(records, size)? != Some(root) {
                self.note(place, format!("the first {size} records are not those signed"));
            } else if let Some(verifier) = verifier
                && !verifier.verify(&checkpoint.statement(verifier.name()), &signature)
            {
                self.note(place, format!("the checkpoint over {size} records is not signed"));
            }
        }
        Ok(())
    }

    fn root(&self, records: &dyn LeafSource, size: u64) -> io::Result<Option<Hash>> {
        if size == self.frontier.size() {
            return Ok(Some(self.frontier.root()));
        }
        match self.tree.root_at(records, size) {
            Ok(root) => Ok(Some(root)),
            Err(EvidenceError::Io(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// What is left when all records were looked at.
    fn behind(&mut self, last: u64) -> io::Result<()> {
        while self.next < self.tree.checkpoints.count() {
            let offset = self.next * checkpoints::ENTRY_BYTES;
            let place = Place { file: checkpoints::FILE.to_owned(), offset };
            self.next += 1;
            match self.tree.checkpoints.read(self.next - 1)? {
                Some(Checkpoint { size, .. }) if size <= last => {}
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
