//! Lets go of leaves whose records are no longer kept, so that every checkpoint is still proved, and
//! every record that is kept.

use std::io;

use super::{
    kept::Edge,
    stored::{EvidenceError, LeafSource, Tree},
};

/// How many leaves a group has whose hash is kept for ever.
const GROUP: u64 = 1 << 8;
/// How many groups are looked at at a time, and for how many checkpoints something is kept at once.
const STRIDE: u64 = 1 << 10;

/// How many leaves go when the records before a place go.
pub fn gone_before(place: u64) -> u64 {
    place / GROUP * GROUP
}

impl Tree {
    /// Has all that proofs need on disk, so that they don't need the records before a place, from 0,
    /// any more, or their leaves. Blocks on the disk.
    pub fn prepare_to_forget(
        &self,
        records: &dyn LeafSource,
        place: u64,
    ) -> Result<(), EvidenceError> {
        let end = place / GROUP;
        let mut group = self.files.first_leaf() / GROUP;
        while group < end {
            let count = STRIDE.min(end - group);
            let hashes = self.files.read(8, group, count)?;
            for (index, _) in (group..).zip(&hashes).filter(|(_, hash)| hash.is_none()) {
                let hash = self.compute(records, 8, index)?;
                self.files.write(8, index, &[hash])?;
            }
            group += count;
        }
        self.keep_edges(records, end * GROUP)?;
        Ok(self.files.sync()?)
    }

    fn keep_edges(&self, records: &dyn LeafSource, before: u64) -> Result<(), EvidenceError> {
        let mut edges = Vec::new();
        self.checkpoints.between((self.kept.last_size()? + 1, before), |checkpoint| {
            let size = checkpoint.size;
            if size.is_multiple_of(GROUP) {
                return Ok(());
            }
            match Edge::of(size, |level, index| self.node(records, level, index)) {
                Ok(edge) => edges.push(edge),
                Err(EvidenceError::Io(error)) => return Err(error),
                Err(error) => tracing::error!(
                    %error, size,
                    "a checkpoint can't be proved any more: what it needs is damaged"
                ),
            }
            if edges.len() as u64 >= STRIDE {
                self.kept.append(&edges)?;
                edges.clear();
            }
            Ok(())
        })?;
        Ok(self.kept.append(&edges)?)
    }

    /// Lets go of the leaves that [`Self::prepare_to_forget`] has made needless.
    pub fn forget_before(&self, place: u64) -> io::Result<()> {
        self.files.forget_before(gone_before(place))
    }
}
