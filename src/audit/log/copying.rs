//! What is copied of a log that is being written to: all that a checkpoint covers, and not a byte more.
//! Whatever is written or removed meanwhile, what is told here stays readable.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use crate::audit::{
    copying::{self, FileCopy, From, LogCopy},
    frame,
    segment::{self, Segment},
    tree::{checkpoints::Checkpoint, evidence::Evidence},
};

use super::AuditLog;

impl AuditLog {
    /// What is copied of it: the records that a checkpoint covers, and its evidence over them. Blocks
    /// on the disk.
    pub fn copy(&self, evidence: &Evidence, signed: &Checkpoint) -> io::Result<LogCopy> {
        let shared = &*self.shared;
        // So that what is said of removed records is true of the others.
        let _removing = shared.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let last = signed.size;
        let segments = {
            let segments = shared.segments.read().unwrap_or_else(PoisonError::into_inner);
            let covered = segments.partition_point(|segment| segment.first_sequence() <= last);
            segments.iter().take(covered).cloned().collect::<Vec<_>>()
        };
        let first = segments.first().map_or(last + 1, |segment| segment.first_sequence());
        let mut files = Vec::with_capacity(segments.len() + 1);
        for (place, segment) in segments.iter().enumerate() {
            let is_last = place + 1 == segments.len();
            files.extend(copy_segment(segment, is_last.then_some(last))?);
        }
        for name in shared.volume.list()? {
            if !copying::is_marker(&name) {
                continue;
            }
            let from = From::Open(shared.volume.open(&name)?);
            files.push(FileCopy { name, from, length: None, end: Vec::new() });
        }
        Ok(LogCopy { files, tree: evidence.tree().copy(last)?, first, last })
    }
}

/// What is copied of a segment: all of it, or, of the last one, what it has up to a record. That one
/// isn't sealed in a copy, for a log without an open segment has lost its end. Of one whose file is
/// gone, and which something stands in for, there is nothing.
fn copy_segment(segment: &Arc<Segment>, last: Option<u64>) -> io::Result<Option<FileCopy>> {
    let (name, file) = (segment.name().to_owned(), Arc::clone(segment.file()));
    if file.length()? == 0 {
        return Ok(None);
    }
    let copied = |from, length, end| Some(FileCopy { name, from, length, end });
    if segment.is_sealed() && last.is_none() {
        return Ok(copied(From::Open(file), None, Vec::new()));
    }
    let last = last.unwrap_or(u64::MAX).min(segment.last());
    let end = segment::end_of(segment, last)?.ok_or_else(|| {
        let detail = format!("record {last} can't be read where it should be");
        io::Error::new(io::ErrorKind::InvalidData, detail)
    })?;
    let mark = frame::mark(segment.salt(), last + 1).to_vec();
    Ok(copied(From::Open(file), Some(end), mark))
}
