//! Lets go of a log's oldest segments: first their proofs are made to do without them, then it is said
//! that they are gone, and then they go.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use crate::audit::{
    retention::Retention,
    segment::Segment,
    tree::evidence::EvidenceError,
    trimmed::{Trimmed, TrimmedError},
};

use super::AuditLog;

/// Why nothing, or not all, is removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It isn't known what was removed before.
    #[error(transparent)]
    Trimmed(#[from] TrimmedError),
    /// What proofs need of it can't be kept.
    #[error("what proofs need of audit records can't be kept")]
    Evidence(#[from] EvidenceError),
    /// The file system refused.
    #[error("can't remove audit segments")]
    Io(#[from] io::Error),
}

impl AuditLog {
    /// What a retention lets go of, now: the first and the last record; `None` if it keeps all.
    pub fn find_expired(&self, retention: &Retention) -> Option<(u64, u64)> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let expired = retention.expired(&segments, self.shared.clock.now());
        // What no checkpoint covers could not be proved any more.
        let signed =
            self.shared.evidence.as_ref().map_or(u64::MAX, |evidence| {
                evidence.latest().map_or(0, |checkpoint| checkpoint.size)
            });
        expired.filter(|(_, through)| *through <= signed)
    }

    /// Whether records of strangers are still kept one by one, or only counted. Records that are on
    /// their way don't count yet.
    pub fn has_room_for_strangers(&self) -> bool {
        let Some(most) = self.shared.retention.max_stranger_bytes else { return true };
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|segment| segment.stranger_bytes()).sum::<u64>() < most
    }

    /// Removes all segments up to a record, which is the last one of its segment. Blocks on the
    /// disk. Who reads one of them reads on to its end.
    pub fn remove_through(&self, through: u64) -> Result<(), RemoveError> {
        let shared = &*self.shared;
        let _removing = shared.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_expired = |segment: &Arc<Segment>| segment.last() <= through && segment.is_sealed();
        let segments = &shared.segments;
        let expired: Vec<_> = {
            let segments = segments.read().unwrap_or_else(PoisonError::into_inner);
            segments.iter().take_while(|segment| is_expired(segment)).cloned().collect()
        };
        let Some(newest) = expired.last() else { return Ok(()) };
        // The place of the first record that is kept, from 0.
        let place = newest.last();
        if let Some(evidence) = &shared.evidence {
            evidence.tree().prepare_to_forget(shared, place)?;
        }
        Trimmed::of(shared.volume.as_ref(), &expired, newest.last() + 1)?
            .write(shared.volume.as_ref())?;
        segments.write().unwrap_or_else(PoisonError::into_inner).drain(..expired.len());
        for segment in &expired {
            match shared.volume.remove(segment.name()) {
                // It was gone already, and something stood in for it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        shared.volume.sync()?;
        if let Some(evidence) = &shared.evidence {
            evidence.tree().forget_before(place)?;
        }
        Ok(())
    }
}
