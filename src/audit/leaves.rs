//! The leaf hashes of records, read from their segments: for the tree, where it has to be made, or
//! can't be read.

use std::{io, sync::Arc, thread};

use crate::clock::Clock;

use super::{
    record,
    segment::{Content, Cursor, Segment},
    tree::{
        evidence::{self, EachLeaf, Evidence, EvidenceError, LeafSource},
        feed::Feed,
        hash::Hash,
    },
};

/// How much is read at a time when all are.
const CHUNK_BYTES: usize = 1 << 20;
/// How much is read at a time when one is.
const SMALL_CHUNK_BYTES: usize = 1 << 16;

/// The records up to one, in segments.
#[derive(Debug)]
pub struct SegmentLeaves<F> {
    /// The first record's sequence number.
    pub first: u64,
    /// The last record's sequence number.
    pub last: u64,
    /// Says the segment that has a record.
    pub segment_of: F,
}

/// Of some segments, oldest first, the one that has or will have a record.
pub fn find_segment(segments: &[Arc<Segment>], sequence: u64) -> Option<Arc<Segment>> {
    let after = segments.partition_point(|segment| segment.first_sequence() <= sequence);
    segments.get(after.checked_sub(1)?).map(Arc::clone)
}

impl<F: Fn(u64) -> Option<Arc<Segment>>> LeafSource for SegmentLeaves<F> {
    fn first(&self) -> u64 {
        self.first - 1
    }

    fn leaf(&self, index: u64) -> io::Result<Option<Hash>> {
        let (sequence, mut found) = (index + 1, None);
        self.read(sequence, (sequence.min(self.last), SMALL_CHUNK_BYTES), &mut |_, leaf_hash| {
            found = leaf_hash;
            Ok(())
        })?;
        Ok(found)
    }

    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()> {
        self.read(index + 1, (self.last, CHUNK_BYTES), each)
    }
}

impl<F: Fn(u64) -> Option<Arc<Segment>>> SegmentLeaves<F> {
    fn read(
        &self,
        sequence: u64,
        (last, chunk_bytes): (u64, usize),
        each: EachLeaf<'_>,
    ) -> io::Result<()> {
        let (mut next, mut entries) = (sequence, Vec::new());
        while next <= last {
            let segment = (self.segment_of)(next).filter(|segment| segment.last() >= next);
            let Some(segment) = segment else {
                // It was there once and isn't any more.
                each(next - 1, None)?;
                next += 1;
                continue;
            };
            let mut cursor = Cursor::new(Arc::clone(&segment), next);
            while next <= last.min(segment.last()) {
                cursor.read(chunk_bytes, &mut entries)?;
                for entry in entries.drain(..).filter(|entry| entry.sequence <= last) {
                    if entry.sequence < next {
                        continue;
                    }
                    let leaf_hash = match &entry.content {
                        Content::Record(bytes) => Some(record::leaf_hash(bytes)),
                        Content::Damaged { .. } => None,
                    };
                    each(entry.sequence - 1, leaf_hash)?;
                    next = entry.sequence + 1;
                }
            }
        }
        Ok(())
    }
}

/// Opens the tree over all records of some segments, oldest first.
pub(super) fn grow_tree(
    parts: evidence::Parts,
    segments: &[Arc<Segment>],
    last: u64,
    clock: &Clock,
) -> Result<evidence::Opened, EvidenceError> {
    let first = segments.first().map_or(1, |segment| segment.first_sequence());
    let segment_of = |sequence| find_segment(segments, sequence);
    let leaves = SegmentLeaves { first, last, segment_of };
    Evidence::open(parts, &leaves, last, clock.clone())
}

/// Starts the thread that keeps the tree; the writer feeds it.
pub(super) fn start_tree(
    tree: Option<evidence::Opened>,
) -> io::Result<(Option<Feed>, Option<thread::JoinHandle<()>>)> {
    let Some(evidence::Opened { evidence, feed }) = tree else { return Ok((None, None)) };
    Ok((Some(feed), Some(evidence::start(evidence)?)))
}
