//! Has everything that is stored read again in the background, at a bounded rate, so that what rots
//! unread is found: the journal, event by event, with its tree, and then the audit log with its own. It
//! can also be done at once, before anybody is served.
//!
//! It keeps its place over restarts, and says each damage once.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    audit::{
        journal::JournalTree,
        log::{AuditCondition, AuditLog},
        scrub::{Finding, Position, Scrub, Step},
        tree::{
            hash,
            inspection::{Examination, Flaw, Subject},
        },
    },
    clock::Clock,
    config::scrub::ScrubLimits,
    domain::time::UnixNanos,
    projection::Published,
    store::{
        data_dir::JOURNAL_TREE_FOLDER,
        journal::{JournalReader, ReadError, decode_stored},
        scrub_place::{Place, ScrubPlace},
    },
};

use super::{Parts, stores};

/// How much is read at a time.
const CHUNK_BYTES: usize = 256 * 1_024;
/// How many events are read at a time.
const CHUNK_EVENTS: u64 = 64;
/// About what an event takes on the disk, to know how fast events may be read.
const EVENT_BYTES: u64 = 1_024;
/// The longest that decisions may wait for the disk while this goes on, and how long it waits then.
const BUSY: Duration = Duration::from_millis(20);
const BREATH: Duration = Duration::from_millis(100);
/// How often the place is kept.
const KEEP: Duration = Duration::from_secs(10);
/// Stands for the event behind all that a pass reads.
const NO_EVENT: u64 = i64::MAX.cast_unsigned();
/// How long nothing is tried after the disk failed.
const PAUSE: Duration = Duration::from_mins(1);
/// How often it is looked whether a pass is due, and, where it is done at once, said how far it is.
const LOOK: Duration = Duration::from_mins(1);
const TELL: Duration = Duration::from_secs(5);
/// How many damages are told apart; beyond it, more are told again.
const MOST_KNOWN: usize = 10_000;

/// What is known of what is stored.
#[derive(Debug, Default)]
pub(super) struct Soundness {
    /// The audit record that was read last.
    record: AtomicU64,
    /// How many bytes were read.
    bytes: AtomicU64,
    /// When the last pass ended, in nanoseconds; 0 if none has.
    finished: AtomicI64,
    /// Places that are damaged: of the audit log, and of the journal.
    damaged: [AtomicU64; 2],
    /// Whether the audit log is served though it is damaged.
    served_damaged: AtomicBool,
}

/// Which log a damage is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Log {
    Audit,
    Journal,
}

impl Log {
    const ALL: [(Self, &'static str); 2] = [(Self::Audit, "audit"), (Self::Journal, "journal")];
}

impl Soundness {
    pub(super) fn record(&self) -> u64 {
        self.record.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last pass ended, in whole seconds since 1970; 0 if none has.
    pub(super) fn finished(&self) -> u64 {
        u64::try_from(self.finished.load(Ordering::Relaxed) / 1_000_000_000).unwrap_or_default()
    }

    /// How many places of each log are damaged.
    pub(super) fn damaged(&self) -> [(&'static str, u64); 2] {
        let count = |log: Log| match &self.damaged {
            [audit, journal] => match log {
                Log::Audit => audit.load(Ordering::Relaxed),
                Log::Journal => journal.load(Ordering::Relaxed),
            },
        };
        Log::ALL.map(|(log, name)| (name, count(log)))
    }

    /// Whether the audit log is served though it is damaged.
    pub(super) fn is_served_damaged(&self) -> bool {
        self.served_damaged.load(Ordering::Relaxed)
    }

    pub(super) fn set_served_damaged(&self) {
        self.served_damaged.store(true, Ordering::Relaxed);
    }

    fn set_damaged(&self, known: &HashSet<(Log, String, u64)>) {
        let count = |wanted: Log| known.iter().filter(|(log, ..)| *log == wanted).count() as u64;
        let [audit, journal] = &self.damaged;
        audit.store(count(Log::Audit), Ordering::Relaxed);
        journal.store(count(Log::Journal), Ordering::Relaxed);
    }
}

/// Reads everything again.
#[derive(Debug)]
pub(super) struct Scrubber {
    log: AuditLog,
    journal: Arc<dyn JournalReader>,
    journal_tree: JournalTree,
    published: Arc<Published>,
    clock: Clock,
    limits: ScrubLimits,
    keeper: ScrubPlace,
    place: Place,
    /// The pass over the journal, while it lasts.
    events: Option<EventPass>,
    /// The pass over the audit log, if it has come there.
    pass: Option<Scrub>,
    /// What was told.
    known: HashSet<(Log, String, u64)>,
    /// What this pass has found.
    found: HashSet<(Log, String, u64)>,
    soundness: Arc<Soundness>,
}

/// A pass over the journal.
#[derive(Debug)]
struct EventPass {
    examination: Examination,
    /// The last event that it reads.
    through: u64,
}

impl Scrubber {
    /// Goes on where the run before was, if that is known.
    pub(super) fn of(parts: &Parts) -> Self {
        let keeper = ScrubPlace::of(&parts.data_dir);
        let mut place = keeper.read().unwrap_or_default();
        if place.damaged > 0 {
            // What was found has to be found again to be known.
            place = Place { finished: place.finished, ..Place::default() };
        }
        let soundness = Arc::clone(&parts.soundness);
        soundness.finished.store(place.finished.0, Ordering::Relaxed);
        Self {
            log: parts.log.clone(),
            journal: Arc::clone(&parts.journal),
            journal_tree: parts.journal_tree.clone(),
            published: Arc::clone(&parts.published),
            clock: parts.settings.clock.clone(),
            limits: parts.settings.scrub,
            keeper,
            place,
            events: None,
            pass: None,
            known: HashSet::new(),
            found: HashSet::new(),
            soundness,
        }
    }

    /// Reads on until the server stops.
    pub(super) async fn keep(mut self, mut stopping: watch::Receiver<bool>) {
        let mut kept = self.clock.elapsed();
        loop {
            let pause = if !self.is_due() {
                LOOK
            } else if self.is_busy() {
                BREATH
            } else {
                let stepped = tokio::task::spawn_blocking(move || {
                    let stepped = self.step(CHUNK_BYTES);
                    (self, stepped)
                });
                // A thread that panicked has said so.
                let Ok((this, stepped)) = stepped.await else { return };
                self = this;
                match stepped {
                    Ok(bytes) => self.limits.time_for(bytes),
                    Err(error) => {
                        tracing::warn!(%error, "what is stored can't be read to verify it");
                        PAUSE
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // An error means that nobody can stop it any more, which is a stop too.
                _ = stopping.wait_for(|stopping| *stopping) => return self.keep_place(),
            }
            if self.clock.elapsed().saturating_sub(kept) >= KEEP {
                kept = self.clock.elapsed();
                self.keep_place();
            }
        }
    }

    /// Reads everything at once, from the beginning; tells how many places are damaged.
    pub(super) fn run_whole(&mut self) -> io::Result<u64> {
        self.place = Place { finished: self.place.finished, ..Place::default() };
        let (mut told, before) = (self.clock.elapsed(), self.place.finished);
        while self.place.finished == before {
            self.step(1 << 20)?;
            if self.clock.elapsed().saturating_sub(told) >= TELL {
                told = self.clock.elapsed();
                let events = self.published.load().revision();
                let event = self.place.event.saturating_sub(1).min(events);
                let (record, (_, records)) = (self.place.record - 1, self.log.bounds());
                tracing::info!(event, events, record, records, "verifying what is stored");
            }
        }
        self.keep_place();
        Ok(self.known.len() as u64)
    }

    /// Whether a pass has begun, or has to.
    fn is_due(&self) -> bool {
        let Place { began, finished, .. } = self.place;
        let is_under_way = began > finished || finished == UnixNanos(0);
        let every = i64::try_from(self.limits.every.as_nanos()).unwrap_or(i64::MAX);
        is_under_way || self.clock.now().0.saturating_sub(began.0) >= every
    }

    /// Whether those who wait for a decision need the disk.
    fn is_busy(&self) -> bool {
        *self.log.condition().borrow() != AuditCondition::Working || self.log.lag() > BUSY
    }

    fn keep_place(&self) {
        if let Err(error) = self.keeper.write(&self.place) {
            tracing::debug!(%error, "the place of the verification isn't kept");
        }
    }

    /// Reads a piece; tells about how many bytes. Blocks on the disk.
    fn step(&mut self, max_bytes: usize) -> io::Result<u64> {
        if self.place.began <= self.place.finished {
            let began = UnixNanos(self.clock.now().0.max(self.place.finished.0 + 1));
            self.place = Place { finished: self.place.finished, began, ..Place::default() };
        }
        let bytes = match self.place.event {
            NO_EVENT => self.read_records(max_bytes)?,
            _ => self.read_events()?,
        };
        self.soundness.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    fn read_events(&mut self) -> io::Result<u64> {
        let tree = self.journal_tree.clone();
        let evidence = tree.evidence();
        let (records, verifier) = (tree.leaves(), Some(evidence.verifier()));
        let subject = Subject { tree: evidence.tree(), records, verifier };
        let mut pass = match self.events.take() {
            Some(pass) => pass,
            None => {
                // It is small, so that a restart begins it again.
                self.place.event = 1;
                let signed = evidence.latest().map_or(0, |checkpoint| checkpoint.size);
                let through = signed.min(self.published.load().revision());
                let begun = Examination::begin(&subject, 0, 0)?;
                let examination = begun.map_err(|Flaw { what, .. }| io::Error::other(what))?;
                EventPass { examination, through }
            }
        };
        let from = self.place.event;
        let last = pass.through.min(from + CHUNK_EVENTS - 1);
        for event in from..=last {
            let stored = self.journal.read_stored(event, 1).map(|stored| stored.concat());
            let (leaf_hash, damage) = match stored {
                Ok(bytes) => (Some(hash::leaf(&bytes)), decode_stored(event, &bytes).err()),
                Err(ReadError::Engine(error)) => return Err(io::Error::other(error)),
                Err(error @ ReadError::Damaged { .. }) => (None, Some(error)),
            };
            if let Some(error) = damage
                && self.is_news((Log::Journal, String::new(), event))
            {
                tracing::error!(event, %error, "an event of the journal is damaged");
            }
            pass.examination.add(&subject, event - 1, leaf_hash)?;
            pass.examination.pass_checkpoints(&subject, u64::MAX)?;
        }
        for Flaw { place, what } in pass.examination.take_flaws() {
            let (file, offset) = (format!("{JOURNAL_TREE_FOLDER}/{}", place.file), place.offset);
            if self.is_news((Log::Journal, file.clone(), offset)) {
                tracing::error!(file, offset, what, "the journal or its tree is damaged");
            }
        }
        if last < pass.through {
            self.place.event = last + 1;
            self.events = Some(pass);
        } else {
            self.place.event = NO_EVENT;
        }
        Ok((last + 1).saturating_sub(from) * EVENT_BYTES)
    }

    fn read_records(&mut self, max_bytes: usize) -> io::Result<u64> {
        let Place { record, checkpoint, log_id, .. } = self.place;
        let position = Position { record, checkpoint };
        let is_of_log = log_id.to_string() == self.log.id();
        let position = if is_of_log { position } else { Position::BEGIN };
        let log = self.log.clone();
        let pass = self.pass.get_or_insert_with(|| Scrub::begin(&log, position));
        let Step { bytes, findings, is_done } = pass.step(&log, max_bytes)?;
        let Position { record, checkpoint } = pass.position();
        (self.place.record, self.place.checkpoint) = (record, checkpoint);
        self.place.log_id = self.log.id().parse().unwrap_or_default();
        self.soundness.record.store(record - 1, Ordering::Relaxed);
        for finding in findings {
            self.tell(&finding);
        }
        if is_done {
            self.finish();
        }
        Ok(bytes)
    }

    fn tell(&mut self, finding: &Finding) {
        let Finding { file, offset, records, passed_over, what } = finding;
        if !self.is_news((Log::Audit, file.clone(), *offset)) {
            return;
        }
        if let Some(records) = records {
            stores::name_records(file, *offset, *records);
        } else if let Some((from, through)) = passed_over {
            tracing::error!(
                file,
                offset,
                from,
                through,
                what,
                "the audit log can't be read from the disk; these records were not verified"
            );
        } else {
            tracing::error!(
                file,
                offset,
                what,
                "the audit log is damaged; no record is lost by it"
            );
        }
    }

    /// Notes a damage; tells whether it wasn't known.
    fn is_news(&mut self, damage: (Log, String, u64)) -> bool {
        if self.found.len() < MOST_KNOWN {
            self.found.insert(damage.clone());
        }
        let is_news = self.known.len() < MOST_KNOWN && self.known.insert(damage);
        if is_news {
            self.soundness.set_damaged(&self.known);
            self.place.damaged = self.known.len() as u64;
        }
        is_news
    }

    fn finish(&mut self) {
        self.pass = None;
        // What isn't damaged any more is gone: it was restored, or is no longer kept.
        self.known = std::mem::take(&mut self.found);
        self.soundness.set_damaged(&self.known);
        let damaged = self.known.len() as u64;
        let finished = UnixNanos(self.clock.now().0.max(self.place.began.0));
        self.place = Place { began: finished, finished, damaged, ..Place::default() };
        self.soundness.finished.store(finished.0, Ordering::Relaxed);
        let (_, records) = self.log.bounds();
        tracing::info!(records, damaged, "all that is stored was verified");
    }
}
