//! One file of the log, and reading records out of it. What can't be read is named, never skipped.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::domain::time::UnixNanos;

use super::{
    footer::{HEADER_BYTES, IndexEntry},
    frame::{self, Kind, MARK_BYTES, Read, Salt},
    record::{self, MAX_RECORD_BYTES},
    volume::VolumeFile,
};

/// How many records lie between two places in the index.
pub const INDEX_STRIDE: u64 = 256;

const SUFFIX: &str = ".seg";

/// A file of the log. The one that is written to grows; the others stay as they are.
#[derive(Debug)]
pub struct Segment {
    name: String,
    first_sequence: u64,
    salt: Salt,
    file: Arc<dyn VolumeFile>,
    /// Places of records, sparse and sorted. Guards nothing but itself; held for a look-up.
    index: Mutex<Vec<IndexEntry>>,
    /// Where its synced frames end. Written before `last`.
    data_end: AtomicU64,
    /// How many bytes of them are of strangers.
    stranger_bytes: AtomicU64,
    /// Whether it ends with a footer on disk.
    is_sealed: AtomicBool,
    /// When its last synced record got its place, in nanoseconds. Written before `last`.
    last_time: AtomicI64,
    /// Its last synced record; one less than `first_sequence` if it has none. What a reader sees
    /// of it is on disk.
    last: AtomicU64,
}

impl Segment {
    /// A segment that has records as far as `end` says.
    pub fn new(
        name: String,
        file: Arc<dyn VolumeFile>,
        (first_sequence, salt): (u64, Salt),
        end: End,
        index: Vec<IndexEntry>,
    ) -> Self {
        let End { last, last_time, data_end, stranger_bytes } = end;
        Self {
            name,
            first_sequence,
            salt,
            file,
            index: Mutex::new(index),
            data_end: AtomicU64::new(data_end),
            stranger_bytes: AtomicU64::new(stranger_bytes),
            is_sealed: AtomicBool::new(false),
            last_time: AtomicI64::new(last_time.0),
            last: AtomicU64::new(last),
        }
    }

    /// A segment without a record.
    pub fn empty(name: String, file: Arc<dyn VolumeFile>, first_sequence: u64, salt: Salt) -> Self {
        let (last, last_time) = (first_sequence - 1, UnixNanos::default());
        let end = End { last, last_time, data_end: HEADER_BYTES as u64, stranger_bytes: 0 };
        Self::new(name, file, (first_sequence, salt), end, Vec::new())
    }

    /// The name of a segment's file: its first sequence number, so that names sort.
    pub fn file_name(first_sequence: u64) -> String {
        format!("{first_sequence:020}{SUFFIX}")
    }

    /// The first sequence number of a segment, by its file's name.
    pub fn first_of_name(name: &str) -> Option<u64> {
        name.strip_suffix(SUFFIX)?.parse().ok()
    }

    /// Whether a file is a segment, by its name.
    pub fn is_file_name(name: &str) -> bool {
        name.ends_with(SUFFIX)
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file.
    pub fn file(&self) -> &Arc<dyn VolumeFile> {
        &self.file
    }

    /// The sequence number that its first record has or will have.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// What its checksums begin with.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// Its last record on disk.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Where its frames on disk end.
    pub fn data_end(&self) -> u64 {
        self.data_end.load(Ordering::Acquire)
    }

    /// How many bytes of its frames on disk are of strangers.
    pub fn stranger_bytes(&self) -> u64 {
        self.stranger_bytes.load(Ordering::Acquire)
    }

    /// Whether it is sealed: nothing is written to it any more.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed.load(Ordering::Acquire)
    }

    /// Notes that it is sealed.
    pub fn set_sealed(&self) {
        self.is_sealed.store(true, Ordering::Release);
    }

    /// The index so far.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has records, all of them earlier than a time.
    pub fn ends_before(&self, time: UnixNanos) -> bool {
        self.last() >= self.first_sequence && self.last_time.load(Ordering::Acquire) < time.0
    }

    /// Takes in records that are on disk now.
    pub fn grow(&self, end: End, index: &[IndexEntry]) {
        let End { last, last_time, data_end, stranger_bytes } = end;
        self.stranger_bytes.store(stranger_bytes, Ordering::Release);
        if !index.is_empty() {
            self.index.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(index);
        }
        self.data_end.store(data_end, Ordering::Release);
        self.last_time.store(last_time.0, Ordering::Release);
        self.last.store(last, Ordering::Release);
    }

    /// The nearest place at or before a record from which it can be read on.
    pub fn locate(&self, sequence: u64) -> IndexEntry {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let after = index.partition_point(|entry| entry.sequence <= sequence);
        let found = after.checked_sub(1).and_then(|place| index.get(place)).copied();
        found.unwrap_or(IndexEntry { sequence: self.first_sequence, offset: HEADER_BYTES as u64 })
    }
}

/// Where a record's frame begins, or at least behind where.
pub fn place_of(segment: &Segment, sequence: u64) -> io::Result<u64> {
    let found = find(segment, sequence)?;
    Ok(found.map_or_else(|| segment.locate(sequence).offset, |(begin, _)| begin))
}

/// Where a record's frame ends; `None` if it isn't found among whole ones.
pub fn end_of(segment: &Segment, sequence: u64) -> io::Result<Option<u64>> {
    Ok(find(segment, sequence)?.map(|(_, end)| end))
}

/// Where a record's frame begins and ends.
fn find(segment: &Segment, sequence: u64) -> io::Result<Option<(u64, u64)>> {
    let IndexEntry { sequence: first, offset } = segment.locate(sequence);
    let most = sequence.saturating_sub(first).min(INDEX_STRIDE) + 1;
    let most = usize::try_from(most).unwrap_or(1);
    let mut bytes = vec![0; most * (MAX_FRAME_BYTES + MARK_BYTES)];
    let count = segment.file.read_at(&mut bytes, offset)?;
    bytes.truncate(count);
    let mut place = 0;
    while let Read::Frame { kind, payload } =
        frame::read(segment.salt, bytes.get(place..).unwrap_or_default())
    {
        let end = place + frame::HEADER_BYTES + payload.len();
        if kind == Kind::Record && record::sequence(payload) == Some(sequence) {
            return Ok(Some((offset + place as u64, offset + end as u64)));
        }
        place = end;
    }
    Ok(None)
}

/// How far a segment has records that are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last record.
    pub last: u64,
    /// When that got its place.
    pub last_time: UnixNanos,
    /// Where the frames end.
    pub data_end: u64,
    /// How many bytes of them are of strangers.
    pub stranger_bytes: u64,
}

/// A record as it was read, or what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record's sequence number.
    pub sequence: u64,
    /// Its bytes.
    pub content: Content,
    /// The hash of a whole record's bytes, if whoever read it has computed that.
    pub leaf_hash: Option<[u8; 32]>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The record's bytes as stored.
    Record(Bytes),
    /// The bytes are damaged, at this place of the file.
    Damaged {
        /// The file.
        file: Arc<str>,
        /// The place in it.
        offset: u64,
    },
}

/// Reads a segment's records in order, from a place on.
#[derive(Debug)]
pub struct Cursor {
    segment: Arc<Segment>,
    /// Where the next frame begins.
    offset: u64,
    /// The record that is to come next.
    next: u64,
    /// Where damage began that no record was found behind yet.
    damage: Option<u64>,
    /// Places of damage that cost no record, if somebody wants to know.
    harmless: Option<Vec<u64>>,
}

impl Cursor {
    /// Begins at the nearest place at or before a record.
    pub fn new(segment: Arc<Segment>, sequence: u64) -> Self {
        let IndexEntry { sequence: next, offset } = segment.locate(sequence);
        Self { segment, offset, next, damage: None, harmless: None }
    }

    /// Has it note damage between records too.
    #[must_use]
    pub fn noting_all(self) -> Self {
        Self { harmless: Some(Vec::new()), ..self }
    }

    /// The places of damage between records since this was asked last.
    pub fn take_harmless(&mut self) -> Vec<u64> {
        self.harmless.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Where it reads on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The record that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The segment that it reads.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Reads about `max_bytes` on; appends what it finds to `entries`. Reads nothing beyond what is
    /// on disk. Every record up to the segment's last comes out, whole or damaged.
    pub fn read(&mut self, max_bytes: usize, entries: &mut Vec<Entry>) -> io::Result<()> {
        self.read_where(max_bytes, &|_| true, entries)
    }

    /// The same, but of the whole records only those that are wanted come out.
    pub fn read_where(
        &mut self,
        max_bytes: usize,
        is_wanted: &dyn Fn(&[u8]) -> bool,
        entries: &mut Vec<Entry>,
    ) -> io::Result<()> {
        let last = self.segment.last();
        if self.next > last {
            return Ok(());
        }
        let chunk = self.read_chunk(max_bytes.max(LEAST_CHUNK_BYTES))?;
        let mut place = 0;
        while self.next <= last {
            let rest = chunk.bytes.get(place..).unwrap_or_default();
            match frame::read(self.segment.salt, rest) {
                Read::Frame { kind: Kind::Record, payload } => {
                    let sequence = record::sequence(payload).unwrap_or_default();
                    if sequence > last {
                        // It came to disk since `last` was read: all up to there stood before it.
                        self.name_damage(last + 1, entries);
                        break;
                    }
                    let record = || is_wanted(payload).then(|| chunk.bytes.slice_ref(payload));
                    self.take_record(sequence, record, entries);
                    place += frame::HEADER_BYTES + payload.len();
                }
                Read::Frame { kind: Kind::Mark, .. } => place += MARK_BYTES,
                _ if !chunk.is_last && rest.len() < MAX_FRAME_BYTES => break,
                _ => {
                    self.damage.get_or_insert(self.offset + place as u64);
                    match frame::resynchronize(self.segment.salt, rest) {
                        Some(distance) => place += distance,
                        // The next whole frame may begin in the last bytes of this chunk.
                        None if !chunk.is_last => place = chunk.bytes.len() - MAX_FRAME_BYTES + 1,
                        None => {
                            // A whole file may be gone.
                            let through = last.min(self.next.saturating_add(MOST_NAMED - 1));
                            self.name_damage(through + 1, entries);
                            break;
                        }
                    }
                }
            }
        }
        self.offset += place as u64;
        Ok(())
    }

    fn read_chunk(&self, max_bytes: usize) -> io::Result<Chunk> {
        let left = self.segment.data_end().saturating_sub(self.offset);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let mut buffer = vec![0; left.min(max_bytes)];
        let count = self.segment.file.read_at(&mut buffer, self.offset)?;
        // A file that is shorter than it should be ends here too.
        let is_last = left <= max_bytes || count < buffer.len();
        buffer.truncate(count);
        Ok(Chunk { bytes: buffer.into(), is_last })
    }

    fn take_record(
        &mut self,
        sequence: u64,
        record: impl FnOnce() -> Option<Bytes>,
        entries: &mut Vec<Entry>,
    ) {
        if sequence >= self.next {
            self.name_damage(sequence, entries);
            let content = record().map(Content::Record);
            entries.extend(content.map(|content| Entry { sequence, content, leaf_hash: None }));
            self.next = sequence + 1;
        }
    }

    /// Names every record that should have come before `sequence`.
    fn name_damage(&mut self, sequence: u64, entries: &mut Vec<Entry>) {
        let damage = self.damage.take();
        if self.next == sequence
            && let (Some(places), Some(offset)) = (&mut self.harmless, damage)
        {
            places.push(offset);
        }
        let offset = damage.unwrap_or(self.offset);
        for damaged in self.next..sequence {
            let file = self.segment.name.as_str().into();
            let content = Content::Damaged { file, offset };
            entries.push(Entry { sequence: damaged, content, leaf_hash: None });
        }
        self.next = self.next.max(sequence);
    }
}

struct Chunk {
    bytes: Bytes,
    /// Whether the segment's frames end with it.
    is_last: bool,
}

/// How many records are named as damaged at a time, where nothing comes behind them.
const MOST_NAMED: u64 = 4_096;
/// The most bytes of a frame with a record.
const MAX_FRAME_BYTES: usize = frame::HEADER_BYTES + MAX_RECORD_BYTES;
/// A chunk holds some whole frames, or reading would not move.
const LEAST_CHUNK_BYTES: usize = 4 * MAX_FRAME_BYTES;
