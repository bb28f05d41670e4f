//! The newest records, kept in memory while somebody watches, so that those who read the end of the
//! log don't all read the disk.
//!
//! It is only a cache: what isn't in it is on disk. Nobody waits for the writer to fill it, and the
//! writer waits for nobody who reads it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use super::{
    frame::{self, MARK_BYTES},
    record,
    segment::{Content, Entry},
};

/// How many bytes of records are kept.
const MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// About how many bytes a piece has. Whoever holds one of its records holds all of it.
const PIECE_BYTES: usize = 256 * 1_024;
/// About what a piece has besides its records.
const PIECE_OVERHEAD: usize = 64;
/// How many pieces are taken at once.
const PIECES: usize = 256;

/// The newest records on disk.
#[derive(Debug, Default)]
pub struct Tail {
    /// How many watch. Without any, nothing is kept.
    watchers: AtomicUsize,
    /// Held for a push or for cloning some pieces.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Contiguous, oldest first.
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// Frames of records that follow each other.
#[derive(Clone, Debug)]
struct Piece {
    first: u64,
    last: u64,
    frames: Bytes,
}

/// Has the newest records kept while it lives.
#[derive(Debug)]
pub struct Watching(Arc<Tail>);

/// What the writer has not yet handed over: somebody read when it came.
#[derive(Debug, Default)]
pub struct Pending(Kept);

impl Watching {
    /// Begins to have them kept.
    pub fn begin(tail: &Arc<Tail>) -> Self {
        tail.watchers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tail))
    }

    /// About `max_bytes` of records from one on that are wanted, and the record that follows those
    /// looked at; `None` if that record isn't kept.
    pub fn read_where(
        &self,
        sequence: u64,
        max_bytes: usize,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Option<(Vec<Entry>, u64)> {
        let pieces = self.0.pieces_from(sequence, max_bytes);
        let mut next = pieces.first().map(|_| sequence)?;
        let mut entries = Vec::new();
        for Piece { frames, .. } in &pieces {
            let mut rest = &frames[..];
            while let Some((payload, others)) = frame::split(rest) {
                rest = others;
                let found = record::sequence(payload).unwrap_or_default();
                if found < next {
                    continue;
                }
                next = found + 1;
                if is_wanted(payload) {
                    let content = Content::Record(frames.slice_ref(payload));
                    entries.push(Entry { sequence: found, content, leaf_hash: None });
                }
            }
        }
        Some((entries, next))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tail {
    /// Takes in a batch, which nobody sees yet: a mark and then the frames of its records, of which
    /// this is the first one.
    pub fn take_in(&self, first: u64, batch: &[u8], pending: &mut Pending) {
        if self.watchers.load(Ordering::Relaxed) == 0 {
            // Whoever comes now begins with what comes now; memory is given back when that is less.
            pending.0 = Kept::default();
            if let Ok(mut kept) = self.kept.try_lock() {
                *kept = Kept::default();
            }
            return;
        }
        pending.0.add_all(first, batch.get(MARK_BYTES..).unwrap_or_default());
    }

    /// Lets watchers see what was taken in up to a record: it is on disk. Waits for nobody who reads.
    pub fn publish(&self, through: u64, pending: &mut Pending) {
        let mut kept = match self.kept.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        while let Some(piece) = pending.0.take_first_if(|piece| piece.last <= through) {
            kept.add(piece);
        }
    }

    fn pieces_from(&self, sequence: u64, max_bytes: usize) -> Vec<Piece> {
        let kept = self.lock();
        let place = kept.pieces.partition_point(|piece| piece.last < sequence);
        let mut bytes = 0;
        let pieces = kept.pieces.range(place..).take(PIECES).take_while(|piece| {
            let fits = bytes < max_bytes;
            bytes += piece.frames.len();
            fits
        });
        match kept.pieces.get(place) {
            Some(piece) if piece.first <= sequence => pieces.cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Copies a batch's frames, in pieces.
    fn add_all(&mut self, mut first: u64, mut frames: &[u8]) {
        while !frames.is_empty() {
            let (mut rest, mut count) = (frames, 0);
            while let Some((_, others)) = frame::split(rest)
                && (count == 0 || frames.len() - others.len() <= PIECE_BYTES)
            {
                rest = others;
                count += 1;
            }
            let Some(piece) = frames.get(..frames.len() - rest.len()).filter(|_| count > 0) else {
                return;
            };
            let last = first + count - 1;
            self.add(Piece { first, last, frames: Bytes::copy_from_slice(piece) });
            (first, frames) = (last + 1, rest);
        }
    }

    fn take_first_if(&mut self, is_wanted: impl FnOnce(&Piece) -> bool) -> Option<Piece> {
        let piece = self.pieces.pop_front_if(|piece| is_wanted(piece))?;
        self.bytes -= piece.frames.len() + PIECE_OVERHEAD;
        Some(piece)
    }

    fn add(&mut self, piece: Piece) {
        if self.pieces.back().is_some_and(|last| last.last + 1 != piece.first) {
            *self = Self::default();
        }
        self.bytes += piece.frames.len() + PIECE_OVERHEAD;
        self.pieces.push_back(piece);
        while self.bytes > MAX_BYTES && self.take_first_if(|_| true).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{frame::Salt, record::Stamp, testing};

    /// A batch with records of about `size` bytes.
    fn batch(first: u64, count: u64, size: usize) -> Vec<u8> {
        let mut bytes = frame::mark(Salt(1), first).to_vec();
        for sequence in first..first + count {
            let line = testing::Line {
                account: "acme",
                method: format!("/{sequence}"),
                user_agent: "u".repeat(size),
            };
            let mut record = Vec::new();
            record::encode(&mut record, "log", &line.draft());
            let (time, nonce) = (crate::domain::time::UnixNanos(0), [0; 16]);
            record::stamp(&mut record, &Stamp { sequence, time, nonce, account_previous: 0 });
            frame::append_record(&mut bytes, &record);
        }
        bytes
    }

    fn push(tail: &Tail, first: u64, batch: &[u8], pending: &mut Pending) {
        tail.take_in(first, batch, pending);
        tail.publish(u64::MAX, pending);
    }

    fn sequences(read: Option<(Vec<Entry>, u64)>) -> Option<(Vec<u64>, u64)> {
        let (entries, next) = read?;
        Some((entries.into_iter().map(|entry| entry.sequence).collect(), next))
    }

    #[test]
    fn what_is_kept_is_read_from_any_record_of_it_on() {
        let (tail, mut pending) = (Arc::new(Tail::default()), Pending::default());
        let watching = Watching::begin(&tail);
        push(&tail, 5, &batch(5, 3, 10), &mut pending);
        push(&tail, 8, &batch(8, 1, 10), &mut pending);
        let read = |from| sequences(watching.read_where(from, 1 << 20, &|_| true));
        assert_eq!(read(5), Some((vec![5, 6, 7, 8], 9)));
        assert_eq!(read(7), Some((vec![7, 8], 9)));
        assert_eq!(read(8), Some((vec![8], 9)));
        assert_eq!((read(4), read(9), read(1_000)), (None, None, None));
        let none = sequences(watching.read_where(6, 1 << 20, &|_| false));
        assert_eq!(none, Some((vec![], 9)), "what isn't wanted is accounted for");
        let some = sequences(watching.read_where(5, 1, &|_| true));
        assert_eq!(some, Some((vec![5, 6, 7], 8)), "a piece at a time");
    }

    #[test]
    fn it_is_bounded_and_lets_go_of_the_oldest_records() {
        let (tail, mut pending) = (Arc::new(Tail::default()), Pending::default());
        let watching = Watching::begin(&tail);
        let mut next = 1;
        for _ in 0..40 {
            push(&tail, next, &batch(next, 1_000, 200), &mut pending);
            next += 1_000;
            assert!(tail.lock().bytes <= MAX_BYTES);
        }
        let piece = |piece: &Piece| piece.frames.len();
        assert!(tail.lock().pieces.iter().map(piece).max().unwrap() <= PIECE_BYTES);
        assert_eq!(watching.read_where(1, 1 << 20, &|_| true), None);
        let kept = tail.lock().pieces.front().unwrap().first;
        assert!(next - kept > 5_000, "{kept}");
        let (found, after) = sequences(watching.read_where(kept, 1 << 30, &|_| true)).unwrap();
        assert_eq!((found, after), ((kept..next).collect::<Vec<_>>(), next));
    }

    #[test]
    fn nothing_is_kept_for_nobody_and_nothing_beyond_a_gap() {
        let (tail, mut pending) = (Arc::new(Tail::default()), Pending::default());
        push(&tail, 1, &batch(1, 2, 10), &mut pending);
        assert!(tail.lock().pieces.is_empty());
        let watching = Watching::begin(&tail);
        push(&tail, 3, &batch(3, 2, 10), &mut pending);
        push(&tail, 9, &batch(9, 2, 10), &mut pending);
        assert_eq!(watching.read_where(3, 1 << 20, &|_| true), None);
        assert!(watching.read_where(9, 1 << 20, &|_| true).is_some());
        let mut unsynced = Pending::default();
        tail.take_in(11, &batch(11, 2, 10), &mut unsynced);
        assert_eq!(watching.read_where(11, 1 << 20, &|_| true), None, "it isn't on disk");
        drop(watching);
        push(&tail, 11, &batch(11, 2, 10), &mut pending);
        assert!(tail.lock().pieces.is_empty());
    }

    #[test]
    fn the_writer_waits_for_no_reader_and_nothing_is_lost_over_it() {
        let (tail, mut pending) = (Arc::new(Tail::default()), Pending::default());
        let watching = Watching::begin(&tail);
        push(&tail, 1, &batch(1, 2, 10), &mut pending);
        let reading = tail.lock();
        push(&tail, 3, &batch(3, 2, 10), &mut pending);
        drop(reading);
        assert_eq!(watching.read_where(3, 1 << 20, &|_| true), None, "it is on disk meanwhile");
        push(&tail, 5, &batch(5, 2, 10), &mut pending);
        let read = sequences(watching.read_where(1, 1 << 20, &|_| true));
        assert_eq!(read, Some(((1..=6).collect(), 7)));
    }
}
