//! Finds the log again at the start: reads what its segments say of themselves, and scans what was
//! never sealed.
//!
//! Nothing that was acknowledged is given up: it is there, or it is named as damaged. Only what
//! stands after the last mark may be incomplete, and then it is cut off and overwritten.

use std::{collections::HashMap, io, sync::Arc};

use uuid::Uuid;

use crate::domain::time::UnixNanos;

use super::{
    footer::{self, Footer, HEADER_BYTES, Header, IndexEntry, TRAILER_BYTES},
    frame::{self, Kind, MARK_BYTES, Read, Salt},
    record,
    segment::{Content, Cursor, End, INDEX_STRIDE, Segment},
    trimmed::{Trimmed, TrimmedError},
    volume::{NoFile, Volume, VolumeFile},
};

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The sealed segments, oldest first.
    pub sealed: Vec<Arc<Segment>>,
    /// The segment to go on with, if the last one isn't sealed.
    pub open: Option<OpenSegment>,
    /// Segments that were full but not sealed yet.
    pub unsealed: Vec<OpenSegment>,
    /// Files of records that are no longer kept.
    pub removed: Vec<String>,
    /// The last record's sequence number; 0 if there is none.
    pub last: u64,
    /// When the last record got its place.
    pub last_time: UnixNanos,
    /// The last record of each account.
    pub accounts: HashMap<Box<str>, u64>,
    /// What is damaged, in words.
    pub damage: Vec<Damage>,
    /// How many records something stands in for, because their files are gone.
    pub lost: u64,
    /// Whether the last record is that of a stop, or there is none.
    pub ends_with_stop: bool,
}

/// Something in the log that isn't as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The place in it.
    pub offset: u64,
    /// The first and the last record that can't be read; `None` if none is lost.
    pub records: Option<(u64, u64)>,
}

/// A file that is a segment of this log.
struct FoundFile {
    name: String,
    file: Arc<dyn VolumeFile>,
    header: Header,
}

/// A segment with all that sealing it will need.
#[derive(Debug)]
pub struct OpenSegment {
    /// The segment.
    pub segment: Arc<Segment>,
    /// When its first and its last record got their places.
    pub times: Option<(UnixNanos, UnixNanos)>,
    /// The hashes of its records so far.
    pub leaves: Leaves,
    /// Records that can't be read.
    pub damaged: Vec<u64>,
}

/// A running digest over leaf hashes.
#[derive(Clone)]
pub struct Leaves(ring::digest::Context);

impl Default for Leaves {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Leaves {
    /// Takes in the next leaf hash.
    pub fn push(&mut self, leaf_hash: &[u8; 32]) {
        self.0.update(leaf_hash);
    }

    /// The digest so far.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.clone().finish().as_ref());
        digest
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaves")
    }
}

/// What comes of a log with files that are missing, or that are no segments of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// It isn't opened.
    #[default]
    Refuse,
    /// The records that should be there are named as damaged, each in its place. Only a log that
    /// can't go on is still refused: where its end is lost, nobody knows which numbers were given.
    StandIn,
    /// The same, and it is taken as it is: nobody goes on with it.
    TakeAsIs,
}

/// Why the log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file is missing.
    #[error("audit records {from} to {through} are missing: a segment file is gone; restore it")]
    SegmentMissing {
        /// The first record that is missing.
        from: u64,
        /// The last record that is missing.
        through: u64,
    },
    /// The last file is missing: a segment is sealed only when there is one after it.
    #[error("audit records from {from} on are missing: the last segment file is gone; restore it")]
    EndMissing {
        /// The first record that is missing.
        from: u64,
    },
    /// A file isn't a segment of this log.
    #[error("audit segment `{file}` is not one of this log: {detail}; move it away or restore it")]
    Foreign {
        /// The file.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What was removed isn't known any more.
    #[error(transparent)]
    Trimmed(#[from] TrimmedError),
    /// The file system refused.
    #[error("can't read the audit log")]
    Io(#[from] io::Error),
}

/// Reads the whole log, to go on with it.
pub fn recover(
    volume: &dyn Volume,
    log_id: Uuid,
    on_loss: OnLoss,
) -> Result<Recovered, RecoveryError> {
    let recovered = recover_ended(volume, log_id, on_loss)?;
    if recovered.open.is_none() && !recovered.sealed.is_empty() {
        return Err(RecoveryError::EndMissing { from: recovered.last + 1 });
    }
    Ok(recovered)
}

/// Reads a log that may have ended for ever, so that its last segment may be sealed.
pub fn recover_ended(
    volume: &dyn Volume,
    log_id: Uuid,
    on_loss: OnLoss,
) -> Result<Recovered, RecoveryError> {
    // A killed process may have left names that are seen and not on disk.
    volume.sync()?;
    let (kept, removed, trimmed) = list(volume, on_loss)?;
    let (mut names, first) = (kept, trimmed.first_kept);
    names.sort();
    if names.is_empty() && first > 1 && on_loss != OnLoss::TakeAsIs {
        return Err(RecoveryError::EndMissing { from: first });
    }
    let mut recovered = Recovered {
        removed,
        last: first - 1,
        accounts: trimmed.accounts.into_iter().collect(),
        ends_with_stop: true,
        ..Recovered::default()
    };
    let (mut files, mut has_end) = (Vec::with_capacity(names.len()), true);
    for name in names {
        let file = volume.open(&name)?;
        match read_header(&name, file.as_ref(), log_id) {
            Ok(header) => files.push(FoundFile { name, file, header }),
            Err(RecoveryError::Foreign { file, .. }) if on_loss != OnLoss::Refuse => {
                recovered.damage.push(Damage { file, offset: 0, records: None });
                has_end = false;
                continue;
            }
            Err(error) => return Err(error),
        }
        has_end = true;
    }
    let mut files = files.into_iter().peekable();
    while let Some(found) = files.next() {
        match recovered.refuse_if_out_of_place(&found) {
            Ok(()) => {}
            Err(RecoveryError::SegmentMissing { from, through }) if on_loss != OnLoss::Refuse => {
                recovered.stand_in(from, through);
            }
            Err(error) => return Err(error),
        }
        recovered.last = recovered.last.max(found.header.first_sequence - 1);
        recovered.take(found, files.peek().map(|next| next.header.first_sequence))?;
    }
    if has_end || on_loss == OnLoss::TakeAsIs {
        return Ok(recovered);
    }
    Err(RecoveryError::EndMissing { from: recovered.last + 1 })
}

/// The segment files that belong to the log, those that don't any more, and where it begins.
fn list(
    volume: &dyn Volume,
    on_loss: OnLoss,
) -> Result<(Vec<String>, Vec<String>, Trimmed), RecoveryError> {
    let names = volume.list()?;
    let segments = names.into_iter().filter(|name| Segment::is_file_name(name));
    let segments: Vec<_> = segments.collect();
    let trimmed = match Trimmed::read(volume) {
        Err(TrimmedError::Damaged) if on_loss == OnLoss::TakeAsIs => {
            let oldest = segments.iter().filter_map(|name| Segment::first_of_name(name)).min();
            Trimmed { first_kept: oldest.unwrap_or(1).max(1), accounts: Vec::new() }
        }
        trimmed => trimmed?,
    };
    let is_kept = |name: &String| {
        Segment::first_of_name(name).is_none_or(|first| first >= trimmed.first_kept)
    };
    let (kept, removed) = segments.into_iter().partition(is_kept);
    Ok((kept, removed, trimmed))
}

fn read_header(name: &str, file: &dyn VolumeFile, log_id: Uuid) -> Result<Header, RecoveryError> {
    let foreign = |detail: String| RecoveryError::Foreign { file: name.to_owned(), detail };
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(&mut bytes, 0)?;
    let header = Header::decode(&bytes).ok_or_else(|| foreign("it has no header".to_owned()))?;
    if header.log_id != log_id {
        return Err(foreign(format!("it belongs to log {}", header.log_id)));
    }
    if Segment::file_name(header.first_sequence) != name {
        return Err(foreign(format!("it begins with record {}", header.first_sequence)));
    }
    Ok(header)
}

impl Recovered {
    fn refuse_if_out_of_place(&self, found: &FoundFile) -> Result<(), RecoveryError> {
        let first = found.header.first_sequence;
        if first == self.last + 1 {
            return Ok(());
        }
        if first > self.last {
            return Err(RecoveryError::SegmentMissing { from: self.last + 1, through: first - 1 });
        }
        let detail = format!("the one before it has records up to {}", self.last);
        Err(RecoveryError::Foreign { file: found.name.clone(), detail })
    }

    /// Takes in that a file is gone: all its records are damaged, from its first byte on.
    fn stand_in(&mut self, from: u64, through: u64) {
        let (name, last_time) = (Segment::file_name(from), self.last_time);
        let records = Some((from, through));
        self.damage.push(Damage { file: name.clone(), offset: 0, records });
        let end = End { last: through, last_time, data_end: 0, stranger_bytes: 0 };
        let index = vec![IndexEntry { sequence: from, offset: 0 }];
        let segment = Segment::new(name, Arc::new(NoFile), (from, Salt(0)), end, index);
        segment.set_sealed();
        self.sealed.push(Arc::new(segment));
        (self.last, self.ends_with_stop) = (through, false);
        self.lost += through - from + 1;
    }

    /// `next_first` is the first record of the segment after it.
    fn take(&mut self, found: FoundFile, next_first: Option<u64>) -> Result<(), RecoveryError> {
        if let Some(footer) = read_footer(found.file.as_ref(), found.header)? {
            return self.take_sealed(found, footer);
        }
        let length = found.file.length()?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        found.file.read_at(&mut bytes, 0)?;
        let mut scan = Scan::of(&bytes, found.header);
        if let Some(footer) = scan.footer.clone() {
            // The footer is whole, so only the trailer behind it can be damaged.
            let offset = length.saturating_sub(TRAILER_BYTES as u64);
            self.damage.push(Damage { file: found.name.clone(), offset, records: None });
            return self.take_sealed(found, footer);
        }
        if let Some(next_first) = next_first {
            scan.take_end(next_first, &bytes);
        }
        let open = self.fold(found, &bytes, &scan)?;
        match next_first {
            Some(_) => self.unsealed.push(open),
            None => self.open = Some(open),
        }
        Ok(())
    }

    fn take_sealed(&mut self, found: FoundFile, footer: Footer) -> Result<(), RecoveryError> {
        let FoundFile { name, file, header } = found;
        let last = footer.last_sequence();
        let (last_time, stranger_bytes) = (footer.record_times.1, footer.stranger_bytes);
        self.last = last;
        self.last_time = footer.record_times.1;
        for (account, last_sequence) in footer.accounts {
            self.accounts.insert(account, last_sequence);
        }
        let segment = Arc::new(Segment::new(
            name,
            file,
            (header.first_sequence, header.salt),
            End { last, last_time, data_end: footer.data_end, stranger_bytes },
            footer.index,
        ));
        segment.set_sealed();
        for sequence in footer.damaged {
            if let Some(Content::Damaged { offset, .. }) = read_one(&segment, sequence)? {
                let (file, records) = (segment.name().to_owned(), Some((sequence, sequence)));
                self.damage.push(Damage { file, offset, records });
            }
        }
        self.ends_with_stop = match read_one(&segment, last)? {
            Some(Content::Record(bytes)) => record::is_server_stop(&bytes),
            _ => false,
        };
        self.sealed.push(segment);
        Ok(())
    }

    /// Takes in a segment that was scanned, and cuts off what was never finished.
    fn fold(
        &mut self,
        found: FoundFile,
        bytes: &[u8],
        scan: &Scan,
    ) -> Result<OpenSegment, RecoveryError> {
        let FoundFile { name, file, header } = found;
        let cut = scan.cut();
        let (mut leaves, mut index, mut times) = (Leaves::default(), Vec::new(), None);
        let mut stranger_bytes = 0;
        let mut last = header.first_sequence - 1;
        for found in scan.records.iter().filter(|found| found.sequence < cut.next_sequence) {
            let payload = bytes.get(found.begin..found.end).unwrap_or_default();
            leaves.push(&record::leaf_hash(payload));
            let time = record::record_time(payload).unwrap_or_default();
            times = Some((times.map_or(time, |(first, _)| first), time));
            if (found.sequence - header.first_sequence).is_multiple_of(INDEX_STRIDE) {
                let offset = (found.begin - frame::HEADER_BYTES) as u64;
                index.push(IndexEntry { sequence: found.sequence, offset });
            }
            if record::is_of_stranger(payload) {
                stranger_bytes += (frame::HEADER_BYTES + payload.len()) as u64;
            }
            self.accounts.insert(record::account(payload).into(), found.sequence);
            self.last_time = self.last_time.max(time);
            self.ends_with_stop = record::is_server_stop(payload);
            last = found.sequence;
        }
        if last + 1 < cut.next_sequence {
            // Nobody knows what the last record said.
            self.ends_with_stop = false;
            last = cut.next_sequence - 1;
        }
        let mut damaged = Vec::new();
        for gap in scan.gaps.iter().filter(|gap| gap.from < cut.next_sequence) {
            damaged.extend(gap.from..gap.before);
            let records = (gap.from < gap.before).then(|| (gap.from, gap.before - 1));
            self.damage.push(Damage { file: name.clone(), offset: gap.offset as u64, records });
        }
        settle(file.as_ref(), bytes, &frame::mark(header.salt, last + 1), cut.offset)?;
        self.last = last;
        let (last_time, data_end) = (self.last_time, cut.offset as u64);
        let end = End { last, last_time, data_end, stranger_bytes };
        let segment = Segment::new(name, file, (header.first_sequence, header.salt), end, index);
        Ok(OpenSegment { segment: Arc::new(segment), times, leaves, damaged })
    }
}

/// The footer of a sealed segment, unless it is damaged.
pub fn footer_of(segment: &Segment) -> io::Result<Option<Footer>> {
    let (first_sequence, salt) = (segment.first_sequence(), segment.salt());
    let header = Header { log_id: Uuid::nil(), first_sequence, salt };
    read_footer(segment.file().as_ref(), header)
}

fn read_footer(file: &dyn VolumeFile, header: Header) -> io::Result<Option<Footer>> {
    let length = file.length()?;
    let mut trailer = [0; TRAILER_BYTES];
    let Some(place) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    file.read_at(&mut trailer, place)?;
    let Some(offset) = footer::read_trailer(&trailer).filter(|offset| *offset < place) else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from(place - offset).unwrap_or_default()];
    file.read_at(&mut bytes, offset)?;
    let Read::Frame { kind: Kind::Footer, payload } = frame::read(header.salt, &bytes) else {
        return Ok(None);
    };
    Ok(Footer::decode(payload).filter(|footer| footer.first_sequence == header.first_sequence))
}

/// Reads one record of a segment, if it is there.
pub fn read_one(segment: &Arc<Segment>, sequence: u64) -> io::Result<Option<Content>> {
    let mut cursor = Cursor::new(Arc::clone(segment), sequence);
    let mut entries = Vec::new();
    while cursor.next() <= sequence.min(segment.last()) {
        entries.clear();
        cursor.read(64 * 1_024, &mut entries)?;
    }
    let found = entries.into_iter().find(|entry| entry.sequence == sequence);
    Ok(found.map(|entry| entry.content))
}

/// Puts on disk what was found, so that readers may see it; and overwrites what was never finished,
/// or a later scan would find pieces of it.
fn settle(
    file: &dyn VolumeFile,
    bytes: &[u8],
    mark: &[u8; MARK_BYTES],
    cut: usize,
) -> io::Result<()> {
    let rest = bytes.get(cut..).unwrap_or_default();
    if let Some(end) = rest.iter().rposition(|&byte| byte != 0) {
        file.write_at(&vec![0; end + 1], cut as u64)?;
    }
    file.sync()?;
    file.write_at(mark, cut as u64)
}

/// Everything that stands in a segment that isn't sealed.
#[derive(Debug)]
struct Scan {
    records: Vec<Found>,
    gaps: Vec<Gap>,
    /// Every record before this was on disk when a mark was written.
    marked: u64,
    /// Where the last whole frame ends.
    end: usize,
    /// The sequence number that follows.
    next: u64,
    /// Whether that frame is a mark: then nothing was left to write when it was written.
    ends_with_mark: bool,
    footer: Option<Footer>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    sequence: u64,
    begin: usize,
    end: usize,
}

/// Bytes that are no frame, and the records that should be there: `from..before`.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u64,
    before: u64,
    offset: usize,
}

/// Where to go on.
#[derive(Clone, Copy, Debug)]
struct Cut {
    offset: usize,
    next_sequence: u64,
}

impl Scan {
    fn of(bytes: &[u8], header: Header) -> Self {
        let first = header.first_sequence;
        let mut scan = Self {
            records: Vec::new(),
            gaps: Vec::new(),
            marked: first,
            end: HEADER_BYTES,
            next: first,
            ends_with_mark: true,
            footer: None,
        };
        scan.walk(bytes, header.salt);
        scan
    }

    fn walk(&mut self, bytes: &[u8], salt: Salt) {
        let mut place = HEADER_BYTES;
        let mut damage = None;
        while self.footer.is_none() {
            let rest = bytes.get(place..).unwrap_or_default();
            match frame::read(salt, rest) {
                Read::Frame { kind: Kind::Record, payload } => {
                    let begin = place + frame::HEADER_BYTES;
                    place = begin + payload.len();
                    self.take_record(payload, begin, damage.take());
                    self.ends_with_mark = false;
                }
                Read::Frame { kind: Kind::Mark, payload } => {
                    place += MARK_BYTES;
                    self.take_mark(frame::read_mark(payload).unwrap_or_default(), damage.take());
                    self.ends_with_mark = true;
                }
                Read::Frame { kind: Kind::Footer, payload } => {
                    place += frame::HEADER_BYTES + payload.len();
                    self.footer = Footer::decode(payload);
                }
                Read::End | Read::Partial | Read::Invalid => {
                    damage.get_or_insert(place);
                    match find_frame(salt, rest) {
                        Some(distance) => place += distance,
                        None => return,
                    }
                    continue;
                }
            }
            self.end = place;
        }
    }

    fn take_record(&mut self, payload: &[u8], begin: usize, damage: Option<usize>) {
        let sequence = record::sequence(payload).unwrap_or_default();
        if sequence < self.next {
            return;
        }
        self.note_gap(sequence, damage);
        self.records.push(Found { sequence, begin, end: begin + payload.len() });
        self.next = sequence + 1;
    }

    fn take_mark(&mut self, next_sequence: u64, damage: Option<usize>) {
        self.note_gap(next_sequence.max(self.next), damage);
        self.marked = self.marked.max(next_sequence);
        self.next = self.next.max(next_sequence);
    }

    fn note_gap(&mut self, before: u64, damage: Option<usize>) {
        if let Some(offset) = damage {
            self.gaps.push(Gap { from: self.next, before, offset });
        } else if before > self.next {
            self.gaps.push(Gap { from: self.next, before, offset: self.end });
        }
    }

    /// Takes in that the next segment begins with a record: it was begun when all before were on disk.
    fn take_end(&mut self, next_first: u64, bytes: &[u8]) {
        let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        if self.ends_with_mark && written <= self.end {
            // Nothing is wrong with it: if records are missing, they were in another file.
            return;
        }
        self.marked = self.marked.max(next_first);
        if self.next < next_first {
            self.note_gap(next_first, Some(self.end));
            self.next = next_first;
            // What is damaged stays as it is.
            self.end = self.end.max(written);
        }
    }

    /// The first gap that no mark stands behind was never acknowledged: the log ends before it.
    fn cut(&self) -> Cut {
        let unfinished =
            self.gaps.iter().find(|gap| gap.before > gap.from && gap.from >= self.marked);
        match unfinished {
            Some(gap) => Cut { offset: gap.offset, next_sequence: gap.from },
            None => Cut { offset: self.end, next_sequence: self.next },
        }
    }
}

fn find_frame(salt: Salt, rest: &[u8]) -> Option<usize> {
    // Mostly there is nothing but zeros, and looking for frames among them would take long.
    let first = rest.iter().position(|&byte| byte != 0)?;
    let begin = first.saturating_sub(frame::HEADER_BYTES);
    frame::resynchronize(salt, rest.get(begin..)?).map(|distance| begin + distance)
}
