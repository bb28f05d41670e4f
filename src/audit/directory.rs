//! Finds the place of a time in the log: by the last time of each segment, which is kept in memory,
//! and then by halving inside one segment. Times of records never go backwards.

use std::{io, sync::Arc};

use crate::domain::time::UnixNanos;

use super::{
    record,
    segment::{Content, Cursor, Segment},
};

/// How many bytes are read at a time when looking for a record.
const CHUNK_BYTES: usize = 64 * 1_024;

/// The first of some segments, oldest first, that may have a record of a time or later.
pub fn segment_of(segments: &[Arc<Segment>], time: UnixNanos) -> Option<Arc<Segment>> {
    let place = segments.partition_point(|segment| segment.ends_before(time));
    segments.get(place).map(Arc::clone)
}

/// The sequence number behind the last record of a segment that is known to be earlier than a time.
/// What is damaged right before that time is counted as of that time.
pub fn find(segment: &Arc<Segment>, time: UnixNanos) -> io::Result<u64> {
    let index = segment.index();
    let (mut low, mut high) = (0, index.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(entry) = index.get(middle) else { break };
        // A place whose record is damaged is as good as a later one: the walk begins before it.
        if is_before(segment, entry.sequence, time)? { low = middle + 1 } else { high = middle }
    }
    let begin = low.checked_sub(1).and_then(|place| index.get(place));
    let begin = begin.map_or(segment.first_sequence(), |entry| entry.sequence);
    walk(segment, begin, time)
}

fn is_before(segment: &Arc<Segment>, sequence: u64, time: UnixNanos) -> io::Result<bool> {
    let mut cursor = Cursor::new(Arc::clone(segment), sequence);
    let mut entries = Vec::new();
    cursor.read(1, &mut entries)?;
    Ok(match entries.into_iter().next().map(|entry| entry.content) {
        Some(Content::Record(bytes)) => record::record_time(&bytes).unwrap_or_default() < time,
        Some(Content::Damaged { .. }) | None => false,
    })
}

fn walk(segment: &Arc<Segment>, begin: u64, time: UnixNanos) -> io::Result<u64> {
    let mut cursor = Cursor::new(Arc::clone(segment), begin);
    let (mut found, mut entries) = (begin, Vec::new());
    while cursor.next() <= segment.last() {
        entries.clear();
        cursor.read(CHUNK_BYTES, &mut entries)?;
        for entry in &entries {
            let Content::Record(bytes) = &entry.content else { continue };
            if record::record_time(bytes).unwrap_or_default() >= time {
                return Ok(found);
            }
            found = entry.sequence + 1;
        }
    }
    // Whatever is damaged at the end comes before the next segment's first record.
    Ok(found)
}
