//! How long records are kept: by age, and by how many bytes there are. Whole segments go, the oldest
//! first. Strangers' records don't count, so that nobody who may not call displaces a decision.

use std::{sync::Arc, time::Duration};

use crate::domain::time::UnixNanos;

use super::segment::Segment;

/// What is kept. Without bounds, all is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How old the last record of a segment may get.
    pub max_age: Option<Duration>,
    /// How many bytes all segments may have, without those of strangers.
    pub max_bytes: Option<u64>,
    /// How many bytes of strangers there may be: beyond it, those are only counted.
    pub max_stranger_bytes: Option<u64>,
}

impl Retention {
    /// Whether anything is ever removed.
    pub fn has_bounds(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }

    /// Which records of a log are to go, first and last, of all its segments, oldest first.
    ///
    /// The open segment stays, and so does the newest one that is sealed: what a log ends with is
    /// never removed.
    pub fn expired(&self, segments: &[Arc<Segment>], now: UnixNanos) -> Option<(u64, u64)> {
        let own_bytes =
            |segment: &Arc<Segment>| segment.data_end().saturating_sub(segment.stranger_bytes());
        let mut bytes: u64 = segments.iter().map(own_bytes).sum();
        let oldest_kept = self.max_age.map(|max_age| {
            let nanos = i64::try_from(max_age.as_nanos()).unwrap_or(i64::MAX);
            UnixNanos(now.0.saturating_sub(nanos))
        });
        let mut last = None;
        let candidates = segments.get(..segments.len().saturating_sub(2)).unwrap_or_default();
        for segment in candidates {
            let is_too_old = oldest_kept.is_some_and(|oldest| segment.ends_before(oldest));
            let is_too_much = self.max_bytes.is_some_and(|max_bytes| bytes > max_bytes);
            if !segment.is_sealed() || !(is_too_old || is_too_much) {
                break;
            }
            bytes -= own_bytes(segment);
            last = Some(segment.last());
        }
        Some((segments.first()?.first_sequence(), last?))
    }
}
