//! Reads a whole log and its tree again, a piece at a time, beside its writer: every frame, every
//! record's hash against the tree, the tree against the checkpoints.
//!
//! It names what it finds and repairs nothing. It doesn't know when it is run, or how fast.

use std::{io, sync::Arc};

use uuid::Uuid;

use super::{
    footer::{HEADER_BYTES, Header},
    frame::{self, Kind, MARK_BYTES, Read},
    log::AuditLog,
    record,
    recovery::{self, Leaves},
    segment::{Content, Cursor, Entry, Segment},
    tree::{
        evidence::Evidence,
        hash::Hash,
        inspection::{Examination, Flaw, Subject},
    },
};

/// How many checkpoints are looked at before something else is.
const CHECKPOINTS: u64 = 64;
/// About what looking at a checkpoint reads, if it isn't that of the records just read.
const CHECKPOINT_BYTES: u64 = 8 * 1_024;

/// Where a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The record that comes next.
    pub record: u64,
    /// The checkpoint that comes next, by its place from 0.
    pub checkpoint: u64,
}

impl Position {
    /// Where a pass begins.
    pub const BEGIN: Self = Self { record: 1, checkpoint: 0 };
}

/// Something that isn't as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, within the log's folder.
    pub file: String,
    /// The place in it.
    pub offset: u64,
    /// The first and the last record that can't be read; `None` if none is lost.
    pub records: Option<(u64, u64)>,
    /// The first and the last record that weren't looked at because of it; `None` if all were.
    pub passed_over: Option<(u64, u64)>,
    /// What it is.
    pub what: String,
}

/// What a step came to.
#[derive(Debug, Default)]
pub struct Step {
    /// About how much was read.
    pub bytes: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether the pass has come to its end.
    pub is_done: bool,
}

/// A pass over a log.
#[derive(Debug)]
pub struct Scrub {
    position: Position,
    /// The last record of this pass.
    through: u64,
    tree: Tree,
    walk: Option<Walk>,
}

/// How far the tree was looked at.
#[derive(Debug)]
enum Tree {
    NotBegun,
    At(Box<Examination>),
    /// There is none, or it can't be looked at.
    Unknown,
}

/// A segment that is being read.
#[derive(Debug)]
struct Walk {
    cursor: Cursor,
    /// Of all its records, if it is read from its beginning and all were whole.
    leaves: Option<Leaves>,
}

impl Scrub {
    /// Begins a pass over all that is signed now, or goes on with one.
    pub fn begin(log: &AuditLog, position: Position) -> Self {
        let (_, last) = log.bounds();
        let signed = |evidence: &Arc<Evidence>| evidence.latest().map_or(0, |signed| signed.size);
        let through = log.evidence().map_or(last, |evidence| signed(evidence).min(last));
        Self { position, through, tree: Tree::NotBegun, walk: None }
    }

    /// Where it is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Reads about so many bytes on. Blocks on the disk.
    pub fn step(&mut self, log: &AuditLog, max_bytes: usize) -> io::Result<Step> {
        let (first, _) = log.bounds();
        if self.position.record < first {
            self.go_on_at(first);
        }
        let begun = self.position;
        let mut step = Step::default();
        let stepped = self.read_on(log, max_bytes, &mut step);
        let (first, _) = log.bounds();
        if begun.record < first {
            // What was read is being removed: what is missing of it is no damage.
            self.position = begun;
            self.go_on_at(first);
            return Ok(Step { bytes: step.bytes, ..Step::default() });
        }
        if let Err(error) = stepped {
            // Some of what was read may not have come to the tree: all of it is read again.
            self.position = begun;
            self.go_on_at(begun.record);
            return Err(error);
        }
        Ok(step)
    }

    fn go_on_at(&mut self, record: u64) {
        self.position.record = record;
        (self.tree, self.walk) = (Tree::NotBegun, None);
    }

    fn read_on(&mut self, log: &AuditLog, max_bytes: usize, step: &mut Step) -> io::Result<()> {
        if !self.look_at_checkpoints(log, step)? {
            return Ok(());
        }
        if self.position.record > self.through {
            step.is_done = true;
            return Ok(());
        }
        let segment = match &self.walk {
            Some(walk) => Arc::clone(walk.cursor.segment()),
            None => match log.segment_of(self.position.record) {
                Some(segment) => segment,
                None => return Ok(()),
            },
        };
        match self.read_piece(log, &segment, max_bytes, step) {
            Ok((walk, entries)) => self.take_all(log, (walk, entries), step),
            Err((offset, error)) => {
                self.pass_over(&segment, (offset, &error), step);
                Ok(())
            }
        }
    }

    /// Reads a piece of a segment, or tells where it can't be read.
    fn read_piece(
        &mut self,
        log: &AuditLog,
        segment: &Arc<Segment>,
        max_bytes: usize,
        step: &mut Step,
    ) -> Result<(Walk, Vec<Entry>), (u64, io::Error)> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => Walk::begin(Arc::clone(segment), self.position.record, log.id(), step)
                .map_err(|error| (HEADER_BYTES as u64, error))?,
        };
        let begun = walk.cursor.offset();
        let mut entries = Vec::new();
        walk.cursor.read(max_bytes, &mut entries).map_err(|error| (begun, error))?;
        step.bytes += walk.cursor.offset().saturating_sub(begun);
        Ok((walk, entries))
    }

    /// Goes on behind what of a segment can't be read, at its end: a disk that fails takes long to
    /// say so, at each place.
    fn pass_over(
        &mut self,
        segment: &Segment,
        (offset, error): (u64, &io::Error),
        step: &mut Step,
    ) {
        let last = segment.last().min(self.through);
        step.note_unreadable(segment, offset, Some((self.position.record, last)), error);
        self.go_on_at(last + 1);
    }

    fn take_all(
        &mut self,
        log: &AuditLog,
        (mut walk, entries): (Walk, Vec<Entry>),
        step: &mut Step,
    ) -> io::Result<()> {
        for entry in entries {
            self.take(log, entry, &mut walk, step)?;
        }
        let segment = Arc::clone(walk.cursor.segment());
        for offset in walk.cursor.take_harmless() {
            step.note(&segment, offset, "bytes between records");
        }
        if walk.cursor.next() <= segment.last() {
            self.walk = Some(walk);
        } else if segment.is_sealed()
            && let Err(error) = walk.end(step)
        {
            step.note_unreadable(&segment, segment.data_end(), None, &error);
        }
        Ok(())
    }

    /// Looks at some of the checkpoints that are due; tells whether none is left.
    fn look_at_checkpoints(&mut self, log: &AuditLog, step: &mut Step) -> io::Result<bool> {
        let Some(evidence) = log.evidence() else { return Ok(true) };
        let subject = subject_of(log, evidence);
        if let Tree::NotBegun = self.tree {
            let Position { record, checkpoint } = self.position;
            self.tree = match Examination::begin(&subject, record - 1, checkpoint)? {
                Ok(examination) => Tree::At(Box::new(examination)),
                Err(flaw) => {
                    step.findings.push(Finding::of_tree(flaw));
                    Tree::Unknown
                }
            };
        }
        let Tree::At(examination) = &mut self.tree else { return Ok(true) };
        let (_, before) = examination.position();
        let is_done = examination.pass_checkpoints(&subject, CHECKPOINTS)?;
        (_, self.position.checkpoint) = examination.position();
        step.bytes += (self.position.checkpoint - before) * CHECKPOINT_BYTES;
        step.findings.extend(examination.take_flaws().into_iter().map(Finding::of_tree));
        Ok(is_done)
    }

    fn take(
        &mut self,
        log: &AuditLog,
        entry: Entry,
        walk: &mut Walk,
        step: &mut Step,
    ) -> io::Result<()> {
        let Entry { sequence, content, .. } = entry;
        let leaf_hash = match &content {
            Content::Record(bytes) => Some(record::leaf_hash(bytes)),
            Content::Damaged { .. } => None,
        };
        // It may have begun somewhat before the record that it goes on with.
        if sequence < self.position.record || sequence > self.through {
            walk.leaves = None;
            return Ok(());
        }
        match (leaf_hash, &mut walk.leaves) {
            (Some(leaf_hash), Some(leaves)) => leaves.push(&leaf_hash),
            _ => walk.leaves = None,
        }
        if let Content::Damaged { file, offset } = content {
            step.note_record(&file, offset, sequence);
        }
        self.position.record = sequence + 1;
        self.grow(log, sequence - 1, leaf_hash, step)
    }

    fn grow(
        &mut self,
        log: &AuditLog,
        index: u64,
        leaf_hash: Option<Hash>,
        step: &mut Step,
    ) -> io::Result<()> {
        let (Some(evidence), Tree::At(examination)) = (log.evidence(), &mut self.tree) else {
            return Ok(());
        };
        let subject = subject_of(log, evidence);
        examination.add(&subject, index, leaf_hash)?;
        // Those that end here, while the root is known without looking for it.
        examination.pass_checkpoints(&subject, CHECKPOINTS)?;
        (_, self.position.checkpoint) = examination.position();
        step.findings.extend(examination.take_flaws().into_iter().map(Finding::of_tree));
        Ok(())
    }
}

fn subject_of<'a>(log: &'a AuditLog, evidence: &'a Evidence) -> Subject<'a> {
    let (tree, records) = (evidence.tree(), log.leaves());
    Subject { tree, records, verifier: Some(evidence.verifier()) }
}

impl Walk {
    fn begin(
        segment: Arc<Segment>,
        record: u64,
        log_id: &str,
        step: &mut Step,
    ) -> io::Result<Self> {
        look_at_ends(&segment, log_id, step);
        let leaves = (segment.first_sequence() == record).then(Leaves::default);
        let cursor = Cursor::new(segment, record).noting_all();
        if leaves.is_some() {
            look_at_marks(cursor.segment(), (HEADER_BYTES as u64, cursor.offset()), step)?;
        }
        Ok(Self { cursor, leaves })
    }

    /// Looks at what is behind the last record of a sealed segment.
    fn end(self, step: &mut Step) -> io::Result<()> {
        let segment = self.cursor.segment();
        look_at_marks(segment, (self.cursor.offset(), segment.data_end()), step)?;
        let Some(leaves) = &self.leaves else { return Ok(()) };
        if let Some(footer) = recovery::footer_of(segment)?
            && footer.leaves_digest != leaves.digest()
        {
            step.note(
                segment,
                segment.data_end(),
                "its records are not those that it was sealed with",
            );
        }
        Ok(())
    }
}

/// Looks at a part of a segment that has nothing but marks.
fn look_at_marks(
    segment: &Arc<Segment>,
    (begin, end): (u64, u64),
    step: &mut Step,
) -> io::Result<()> {
    let length = usize::try_from(end.saturating_sub(begin)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let count = segment.file().read_at(&mut bytes, begin)?;
    bytes.truncate(count);
    let mut place = 0;
    while let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty()) {
        let Read::Frame { kind: Kind::Mark, .. } = frame::read(segment.salt(), rest) else {
            step.note(segment, begin + place as u64, "bytes between records");
            return Ok(());
        };
        place += MARK_BYTES;
    }
    Ok(())
}

/// Looks at what a segment says of itself.
fn look_at_ends(segment: &Segment, log_id: &str, step: &mut Step) {
    let mut bytes = [0; HEADER_BYTES];
    if let Err(error) = segment.file().read_at(&mut bytes, 0) {
        step.note_unreadable(segment, 0, None, &error);
    } else {
        look_at_header(segment, &bytes, log_id, step);
    }
    if segment.is_sealed() {
        match recovery::footer_of(segment) {
            Ok(Some(footer)) if footer.data_end == segment.data_end() => {}
            Ok(_) => {
                step.note(segment, segment.data_end(), "its footer, or what says where that is");
            }
            Err(error) => step.note_unreadable(segment, segment.data_end(), None, &error),
        }
    }
}

fn look_at_header(segment: &Segment, bytes: &[u8; HEADER_BYTES], log_id: &str, step: &mut Step) {
    let (one, other) = bytes.split_at(HEADER_BYTES / 2);
    if let Some(place) = one.iter().zip(other).position(|(one, other)| one != other) {
        step.note(segment, place as u64, "one of its two headers");
    }
    let (first_sequence, salt) = (segment.first_sequence(), segment.salt());
    let expected =
        Uuid::parse_str(log_id).ok().map(|log_id| Header { log_id, first_sequence, salt });
    if Header::decode(bytes) != expected {
        step.note(segment, 0, "its header");
    }
}

impl Step {
    fn note(&mut self, segment: &Segment, offset: u64, what: &str) {
        let (file, what) = (segment.name().to_owned(), what.to_owned());
        self.findings.push(Finding { file, offset, records: None, passed_over: None, what });
    }

    fn note_unreadable(
        &mut self,
        segment: &Segment,
        offset: u64,
        passed_over: Option<(u64, u64)>,
        error: &io::Error,
    ) {
        let (file, what) = (segment.name().to_owned(), format!("it can't be read: {error}"));
        self.findings.push(Finding { file, offset, records: None, passed_over, what });
    }

    /// Records of one damage are told together.
    fn note_record(&mut self, file: &str, offset: u64, sequence: u64) {
        if let Some(Finding { file: last_file, offset: last_offset, records, .. }) =
            self.findings.last_mut()
            && let Some((_, through)) = records
            && (&**last_file, *last_offset, *through + 1) == (file, offset, sequence)
        {
            *through = sequence;
            return;
        }
        let (file, records) = (file.to_owned(), Some((sequence, sequence)));
        let what = "records".to_owned();
        self.findings.push(Finding { file, offset, records, passed_over: None, what });
    }
}

impl Finding {
    fn of_tree(Flaw { place, what }: Flaw) -> Self {
        let file = format!("tree/{}", place.file);
        Self { file, offset: place.offset, records: None, passed_over: None, what }
    }
}
