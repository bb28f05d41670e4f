//! The audit log as the rest of the program sees it: opened, appended to, followed, watched over.

mod copying;
mod errors;
mod removing;

pub use errors::{OpenError, RecordError};
pub use removing::RemoveError;

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    clock::Clock, domain::time::UnixNanos, store::space::Space, telemetry::meters::WriterMeters,
};

use super::{
    buffer::{self, Buffer, Lanes, NotWritten, Receipts, Wait},
    directory,
    flights::Flights,
    follow::Follower,
    keeper::{self, Keeper},
    leaves::{SegmentLeaves, find_segment, grow_tree, start_tree},
    record::{self, Draft, PreviousStop},
    recovery::{self, Damage, OnLoss, OpenSegment, Recovered},
    retention::Retention,
    segment::Segment,
    succession,
    tail::{Tail, Watching},
    tree::{
        evidence::{self, EachLeaf, Evidence, LeafSource},
        hash::Hash,
    },
    volume::Volume,
    writer::{self, Start, Writer},
};

/// How the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When decisions are answered.
    pub mode: Mode,
    /// How large a segment grows, in bytes.
    pub segment_bytes: u64,
    /// How many bytes may wait for the disk.
    pub buffer_bytes: usize,
    /// What is kept.
    pub retention: Retention,
    /// From how many bytes on records that were taken together are put on disk while the next ones
    /// are written.
    pub overlap_from: usize,
    /// How long records may take to the disk, from the first of a batch on, before callers are told
    /// that it stalls.
    pub stall: Duration,
    /// What comes of it if files of it are missing.
    pub on_loss: OnLoss,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Durable,
            segment_bytes: 64 * 1_024 * 1_024,
            buffer_bytes: 16 * 1_024 * 1_024,
            overlap_from: 128 * 1_024,
            retention: Retention::default(),
            stall: Duration::from_secs(2),
            on_loss: OnLoss::Refuse,
        }
    }
}

/// When decisions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When their records are on disk.
    Durable,
    /// When their records are written, before they are on disk.
    Buffered,
}

/// Whether decisions can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditCondition {
    /// They can.
    Working,
    /// The disk has not answered for too long. It may yet.
    Stalled,
    /// They can't, until the server has restarted.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// The audit log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

/// What the writer, the callers and the readers share.
#[derive(Debug)]
pub struct Shared {
    log_id: Box<str>,
    folder: Box<str>,
    buffer: Buffer,
    lanes: Lanes,
    /// All segments, oldest first. Held for a look-up or a push.
    segments: RwLock<Vec<Arc<Segment>>>,
    flights: Flights,
    synced: watch::Sender<u64>,
    tail: Arc<Tail>,
    condition: watch::Sender<AuditCondition>,
    evidence: Option<Arc<Evidence>>,
    space: Arc<Space>,
    clock: Clock,
    stall: Duration,
    volume: Arc<dyn Volume>,
    /// Whether records are answered when they are written, before they are on disk.
    answers_before_sync: AtomicBool,
    retention: Retention,
    /// Whether it was said that hashes of records can't be read.
    told_without_hashes: AtomicBool,
    /// Held while segments are removed, so that only one does.
    removing: Mutex<()>,
    meters: WriterMeters,
}

/// What opening the log found.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: AuditLog,
    /// How the run before this one ended.
    pub previous_stop: PreviousStop,
    /// What of the log can't be read.
    pub damage: Vec<Damage>,
    /// How many records something stands in for, because their files are gone.
    pub lost: u64,
    /// The threads that work for it; they end after [`AuditLog::close`].
    pub threads: Vec<thread::JoinHandle<()>>,
}

/// What the log is opened with.
#[derive(Debug)]
pub struct Parts {
    /// Where its segments are.
    pub volume: Arc<dyn Volume>,
    /// Its id.
    pub log_id: Uuid,
    /// Where that is within the data directory, which is how its files are named.
    pub folder: String,
    /// What its tree is made of, if it has one.
    pub evidence: Option<evidence::Parts>,
    /// How it is kept.
    pub options: Options,
    /// How many runtimes append to it.
    pub lanes: usize,
    /// The disk's free space.
    pub space: Arc<Space>,
    /// The clock.
    pub clock: Clock,
}

impl AuditLog {
    /// Opens a log, or makes one.
    pub fn open(parts: Parts) -> Result<Opened, OpenError> {
        let Parts { volume, log_id, folder, evidence, options, lanes, space, clock } = parts;
        let recovered = recovery::recover(volume.as_ref(), log_id, options.on_loss)?;
        let segments = (options.segment_bytes, options.mode);
        let (mut keeper, keeper_thread) = Keeper::start(Arc::clone(&volume), segments)?;
        let Recovered {
            sealed,
            open,
            unsealed,
            removed,
            last,
            last_time,
            accounts,
            damage,
            lost,
            ends_with_stop,
        } = recovered;
        // It ended between saying that they are gone and removing them.
        removed.iter().try_for_each(|name| volume.remove(name))?;
        let mut segments = sealed;
        segments.extend(seal(unsealed, &accounts)?);
        segments.sort_by_key(|segment| segment.first_sequence());
        let open = match open {
            Some(open) => open,
            None => begin(&keeper, log_id, last, options.segment_bytes)?,
        };
        segments.push(Arc::clone(&open.segment));
        let tree = evidence.map(|parts| grow_tree(parts, &segments, last, &clock)).transpose()?;
        keeper.prepare_spare(open.segment.data_end());
        let lanes = Lanes::new(lanes);
        let shared = Arc::new(Shared {
            log_id: log_id.to_string().into(),
            folder: folder.into(),
            buffer: Buffer::new(options.buffer_bytes, &lanes),
            lanes,
            segments: RwLock::new(segments),
            flights: Flights::default(),
            synced: watch::Sender::new(last),
            tail: Arc::default(),
            condition: watch::Sender::new(AuditCondition::Working),
            evidence: tree.as_ref().map(|tree| Arc::clone(&tree.evidence)),
            space,
            clock: clock.clone(),
            stall: options.stall,
            volume,
            answers_before_sync: AtomicBool::new(false),
            retention: options.retention,
            told_without_hashes: AtomicBool::new(false),
            removing: Mutex::default(),
            meters: WriterMeters::default(),
        });
        let Options { segment_bytes, overlap_from, .. } = options;
        let (feed, tree_thread) = start_tree(tree)?;
        let start = Start { open, last_time, accounts, log_id, segment_bytes, overlap_from, feed };
        let writer = Writer::new(Arc::clone(&shared), keeper, clock, start);
        let writer_thread =
            thread::Builder::new().name("audit-writer".to_owned()).spawn(move || writer.run())?;
        let previous_stop =
            if ends_with_stop { PreviousStop::Clean } else { PreviousStop::Unclean };
        let threads = [writer_thread, keeper_thread].into_iter().chain(tree_thread).collect();
        Ok(Opened { log: Self { shared }, previous_stop, damage, lost, threads })
    }

    /// The log's id.
    pub fn id(&self) -> &str {
        &self.shared.log_id
    }

    /// Where its files are within the data directory.
    pub fn folder(&self) -> &str {
        &self.shared.folder
    }

    /// Appends records, all or none; the future ends when they are on disk. `lane` is the runtime
    /// that waits for it.
    pub fn append<'a>(
        &self,
        lane: usize,
        drafts: impl IntoIterator<Item = Draft<'a>>,
    ) -> Result<Wait, RecordError> {
        self.shared.space.admit_check()?;
        self.append_in_reserve(lane, drafts)
    }

    /// The same for records of what makes room: they come out of the disk's reserve.
    pub fn append_in_reserve<'a>(
        &self,
        lane: usize,
        drafts: impl IntoIterator<Item = Draft<'a>>,
    ) -> Result<Wait, RecordError> {
        let shared = &*self.shared;
        if *shared.condition.borrow() != AuditCondition::Working {
            return Err(RecordError::Unavailable);
        }
        let appended = SCRATCH.with_borrow_mut(|Scratch { bytes, ends }| {
            bytes.clear();
            ends.clear();
            for draft in drafts {
                record::encode(bytes, &shared.log_id, &draft);
                ends.push(bytes.len());
            }
            shared.buffer.append(bytes, ends, || shared.clock.elapsed())
        });
        match appended {
            Ok(ticket) => Ok(ticket.wait(lane)),
            Err(buffer::AppendError::Full) => Err(RecordError::Busy),
            Err(buffer::AppendError::Closed) => Err(RecordError::Unavailable),
            Err(error @ buffer::AppendError::TooLong) => {
                tracing::error!(%error, "a decision can't be recorded, and is not given");
                Err(RecordError::Unavailable)
            }
        }
    }

    /// Wakes those who wait on one runtime. Each runtime that appends runs this.
    pub async fn serve_lane(self, lane: usize) {
        self.shared.lanes.serve(lane).await;
    }

    /// Follows the log from a record on, inclusive. It need not exist yet.
    pub fn follow(&self, sequence: u64) -> Follower {
        Follower::new(Arc::clone(&self.shared), sequence)
    }

    /// The same, for somebody who goes on to the end and beyond: the newest records, which are then
    /// kept in memory, come from there.
    pub fn watch(&self, sequence: u64) -> Follower {
        let watching = Watching::begin(&self.shared.tail);
        Follower::new(Arc::clone(&self.shared), sequence).with_tail(watching)
    }

    /// The first and the last record on disk; the last is one less than the first if there is none.
    pub fn bounds(&self) -> (u64, u64) {
        self.shared.bounds()
    }

    /// The first record that was given its place at a time or later; one past the last if there is
    /// none yet. Blocks on the disk.
    pub fn find_time(&self, time: UnixNanos) -> io::Result<u64> {
        let (_, last) = self.bounds();
        let segment = {
            let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
            directory::segment_of(&segments, time)
        };
        segment.map_or(Ok(last + 1), |segment| directory::find(&segment, time))
    }

    /// Tells the last record on disk, now and each time that there are more.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.shared.synced.subscribe()
    }

    /// The tree over its records, if it has one.
    pub fn evidence(&self) -> Option<&Arc<Evidence>> {
        self.shared.evidence.as_ref()
    }

    /// Where the tree's leaves come from.
    pub fn leaves(&self) -> &dyn LeafSource {
        &*self.shared
    }

    /// The segment that has or will have a record.
    pub(super) fn segment_of(&self, sequence: u64) -> Option<Arc<Segment>> {
        self.shared.segment_of(sequence)
    }

    /// Tells whether decisions can be recorded, now and when that changes.
    pub fn condition(&self) -> watch::Receiver<AuditCondition> {
        self.shared.condition.subscribe()
    }

    /// What its writer counts.
    pub fn meters(&self) -> &WriterMeters {
        &self.shared.meters
    }

    /// How long the oldest record has waited that isn't on disk yet.
    pub fn lag(&self) -> Duration {
        self.shared.lag()
    }

    /// Asks the writer whether it lives. Ends when it has come back to look for records: not while the
    /// disk keeps it, and never when it is gone.
    pub fn ask_writer(&self) -> impl Future<Output = ()> + use<> {
        self.shared.buffer.ask()
    }

    /// Looks whether the disk has answered lately; tells those who wait if not. To be called a few
    /// times a second.
    pub fn check_for_stall(&self) {
        self.shared.check_for_stall();
    }

    /// Has records answered from now on when they are written, before they are on disk. If the log
    /// doesn't end in good order, it ends for ever: [`succession`].
    pub fn answer_before_sync(&self) -> io::Result<()> {
        succession::announce(self.shared.volume.as_ref())?;
        self.shared.answers_before_sync.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes no more records. What was appended is still written.
    pub fn close(&self) {
        self.shared.buffer.close();
    }
}

/// Seals segments that are full.
fn seal(
    full: Vec<OpenSegment>,
    accounts: &HashMap<Box<str>, u64>,
) -> io::Result<Vec<Arc<Segment>>> {
    for full in &full {
        if let Some(footer) = writer::footer_of(full, accounts) {
            keeper::seal(&full.segment, &footer)?;
        }
    }
    Ok(full.into_iter().map(|full| full.segment).collect())
}

fn begin(
    keeper: &Keeper,
    log_id: Uuid,
    last: u64,
    segment_bytes: u64,
) -> Result<OpenSegment, OpenError> {
    let header = writer::new_header(log_id, last + 1)?;
    let segment = keeper.begin_first_segment(header, segment_bytes)?;
    Ok(OpenSegment {
        segment,
        times: None,
        leaves: recovery::Leaves::default(),
        damaged: Vec::new(),
    })
}

impl Shared {
    /// The shared buffer.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The tree over its records, if it has one.
    pub fn evidence(&self) -> Option<&Arc<Evidence>> {
        self.evidence.as_ref()
    }

    /// Notes that hashes of records can't be read; tells whether it wasn't known.
    pub fn is_first_time_without_hashes(&self) -> bool {
        !self.told_without_hashes.swap(true, Ordering::Relaxed)
    }

    /// The bells.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The batches that are being written.
    pub fn flights(&self) -> &Flights {
        &self.flights
    }

    /// Whether records are answered before they are on disk.
    pub fn answers_before_sync(&self) -> bool {
        self.answers_before_sync.load(Ordering::Acquire)
    }

    /// Notes that all that was answered is on disk, and that nothing more will be.
    pub fn note_all_synced(&self) -> io::Result<()> {
        if self.answers_before_sync() { succession::revoke(self.volume.as_ref()) } else { Ok(()) }
    }

    /// The newest records.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The last record that readers see.
    pub fn last(&self) -> u64 {
        *self.synced.borrow()
    }

    /// What the writer counts.
    pub fn meters(&self) -> &WriterMeters {
        &self.meters
    }

    fn lag(&self) -> Duration {
        let oldest = self.flights.oldest().or_else(|| self.buffer.waiting());
        oldest.map_or(Duration::ZERO, |oldest| self.clock.elapsed().saturating_sub(oldest.opened()))
    }

    /// Lets readers see records that are on disk.
    pub fn set_synced(&self, last: u64) {
        self.synced.send_replace(last);
    }

    /// Notes that the disk answers.
    pub fn note_progress(&self) {
        // Held until the condition is set, like where a stall is looked for.
        let in_flight = self.flights.hold();
        if in_flight.iter().chain(&self.buffer.waiting()).any(|batch| batch.is_finished()) {
            // Whoever joined such a batch would be told what was said of it while the disk stalled,
            // and one that is on its way is as late as then. The writer comes to each of them, and
            // notes progress again.
            return;
        }
        self.condition.send_if_modified(|condition| match condition {
            AuditCondition::Stalled => {
                *condition = AuditCondition::Working;
                true
            }
            AuditCondition::Working | AuditCondition::Failed { .. } => false,
        });
    }

    /// Changes the condition.
    pub fn set_condition(&self, condition: AuditCondition) {
        self.condition.send_replace(condition);
    }

    /// Lets readers find a new segment.
    pub fn add_segment(&self, segment: Arc<Segment>) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    /// The segment that has or will have a record.
    pub fn segment_of(&self, sequence: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        find_segment(&segments, sequence)
    }

    fn segment_leaves(&self) -> SegmentLeaves<impl Fn(u64) -> Option<Arc<Segment>> + '_> {
        let (first, last) = self.bounds();
        SegmentLeaves { first, last, segment_of: |sequence| self.segment_of(sequence) }
    }

    /// The first and the last record on disk.
    pub fn bounds(&self) -> (u64, u64) {
        // In this order: what is removed meanwhile was on disk.
        let first = self.first_sequence();
        (first, *self.synced.borrow())
    }

    fn first_sequence(&self) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first().map_or(1, |segment| segment.first_sequence())
    }

    fn check_for_stall(&self) {
        // Held until the condition is set: the writer gives its batch up before it notes progress,
        // so a stall that is found here is ended by the writer, and not found when it has ended.
        let in_flight = self.flights.hold();
        // Without a batch at the disk, what waits is about to be taken, unless the disk holds the
        // writer up between two batches.
        let waiting = self.buffer.waiting();
        let Some(oldest) = in_flight.first().or(waiting.as_ref()) else { return };
        if self.clock.elapsed().saturating_sub(oldest.opened()) < self.stall {
            return;
        }
        let changed = self.condition.send_if_modified(|condition| {
            let was_working = *condition == AuditCondition::Working;
            if was_working {
                *condition = AuditCondition::Stalled;
            }
            was_working
        });
        if changed {
            tracing::error!(stall = ?self.stall, "no audit sync completes; checks are refused meanwhile");
        }
        let stalled: Vec<_> = in_flight.iter().cloned().chain(waiting).collect();
        for batch in &stalled {
            batch.finish(Err(NotWritten));
        }
        drop(in_flight);
        for batch in &stalled {
            self.lanes.ring(batch);
        }
    }
}

impl LeafSource for Shared {
    fn first(&self) -> u64 {
        self.first_sequence() - 1
    }

    fn leaf(&self, index: u64) -> io::Result<Option<Hash>> {
        self.segment_leaves().leaf(index)
    }

    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()> {
        self.segment_leaves().leaves(index, each)
    }
}

/// Where a thread encodes records before it appends them, kept so that it allocates once.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The outcome of waiting for [`AuditLog::append`].
pub type Recorded = Result<Receipts, NotWritten>;
