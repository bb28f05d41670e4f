//! Reads the log in order, at the reader's own pace, from the disk, or from memory what is newest. A
//! follower holds no records and nobody waits for it.
//!
//! What comes from the disk is held against the tree: bytes whose hash isn't the one that was kept when
//! they were recorded aren't that record, though their checksum is right.

use std::{io, sync::Arc};

use super::{
    log::Shared,
    record,
    segment::{Content, Cursor, Entry, Segment, place_of},
    tail::Watching,
};

/// The record that is to be read next is no longer kept. It comes in an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit record {sequence} is no longer kept; {first} is the first one that is")]
pub struct Removed {
    /// The record.
    pub sequence: u64,
    /// The first one that is kept.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// Reads on from a record.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    next: u64,
    cursor: Option<Cursor>,
    /// If it is somebody who goes on to the end.
    tail: Option<Watching>,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, sequence: u64) -> Self {
        Self { shared, next: sequence, cursor: None, tail: None }
    }

    pub(super) fn with_tail(self, watching: Watching) -> Self {
        Self { tail: Some(watching), ..self }
    }

    /// Whether all that is on disk was read.
    pub fn is_at_end(&self) -> bool {
        self.next > self.shared.last()
    }

    /// Goes on behind the last record on disk.
    pub fn skip_to_end(&mut self) {
        self.next = self.next.max(self.shared.last() + 1);
    }

    /// Goes on with the first record that is kept, if the next one isn't any more. Tells which were
    /// passed over by that, the first and the last one.
    pub fn pass_over_removed(&mut self) -> Option<(u64, u64)> {
        let (next, (first, _)) = (self.next, self.shared.bounds());
        if next >= first {
            return None;
        }
        (self.next, self.cursor) = (first, None);
        Some((next, first - 1))
    }

    /// Reads about `max_bytes` on from memory, without waiting for the disk: those records that are
    /// wanted. `None` if the next record isn't there; it may be on disk.
    pub fn read_newest_where(
        &mut self,
        max_bytes: usize,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Option<Vec<Entry>> {
        let tail = self.tail.as_ref()?;
        let (entries, next) = tail.read_where(self.next, max_bytes, is_wanted)?;
        self.next = next;
        Some(entries)
    }

    /// The record that it reads next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Reads about `max_bytes` of what is on disk: every record from the next one on, in order,
    /// whole or damaged. Nothing if there is no more. Blocks on the disk.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Entry>> {
        self.read_where(max_bytes, &|_| true)
    }

    /// The same, but of the whole records only those that are wanted. There is no more when what it
    /// reads next stays the same.
    pub fn read_where(
        &mut self,
        max_bytes: usize,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> io::Result<Vec<Entry>> {
        let (next, mut entries) = (self.next, Vec::new());
        while self.next == next {
            let Some(cursor) = self.cursor()? else { break };
            cursor.read_where(max_bytes, is_wanted, &mut entries)?;
            // It may have begun somewhat before the next record.
            let reached = cursor.next();
            entries.retain(|entry| entry.sequence >= next);
            let segment = Arc::clone(cursor.segment());
            self.name_altered(&segment, &mut entries)?;
            self.next = next.max(reached);
        }
        Ok(entries)
    }

    /// Puts damage in the place of records that aren't those that the tree has.
    fn name_altered(&self, segment: &Arc<Segment>, entries: &mut [Entry]) -> io::Result<()> {
        let Some(evidence) = self.shared.evidence() else { return Ok(()) };
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let (first, count) = (first.sequence, last.sequence - first.sequence + 1);
        let kept = match evidence.tree().kept_leaves(first - 1, count) {
            Ok(kept) => kept,
            Err(error) => {
                // Nothing speaks against what their checksums say is whole.
                if self.shared.is_first_time_without_hashes() {
                    tracing::warn!(
                        %error,
                        "hashes of audit records can't be read; such records are served without \
                         being held against them"
                    );
                }
                return Ok(());
            }
        };
        for Entry { sequence, content, leaf_hash } in entries {
            let place = usize::try_from(*sequence - first).unwrap_or(usize::MAX);
            let (Some(Some(hash)), Content::Record(bytes)) = (kept.get(place), &*content) else {
                continue;
            };
            let found = record::leaf_hash(bytes);
            if found == *hash {
                *leaf_hash = Some(found);
            } else {
                let (file, offset) = (segment.name().into(), place_of(segment, *sequence)?);
                *content = Content::Damaged { file, offset };
            }
        }
        Ok(())
    }

    /// A cursor that has something to read; `None` if nothing is on disk yet.
    fn cursor(&mut self) -> io::Result<Option<&mut Cursor>> {
        let has_more = |cursor: &Cursor| cursor.next() <= cursor.segment().last();
        if !self.cursor.as_ref().is_some_and(has_more) {
            let segment = self.shared.segment_of(self.next).ok_or_else(|| {
                let (first, last) = self.shared.bounds();
                let removed = Removed { sequence: self.next, first, last };
                io::Error::new(io::ErrorKind::NotFound, removed)
            })?;
            if segment.last() < self.next {
                return Ok(None);
            }
            let goes_on = self.cursor.as_ref().is_some_and(|cursor| {
                Arc::ptr_eq(cursor.segment(), &segment) && cursor.next() == self.next
            });
            if !goes_on {
                self.cursor = Some(Cursor::new(segment, self.next));
            }
        }
        Ok(self.cursor.as_mut())
    }
}
