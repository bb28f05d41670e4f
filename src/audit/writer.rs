//! The audit log's one writer: gives each record its place, time and nonce, hashes it, puts the
//! batch on disk, and only then says so.
//!
//! Where answers needn't wait for the disk ([`AuditLog::answer_before_sync`]), it says so of a batch
//! that is written, and has all of these synced at once, 20 ms after the first of them, by another
//! thread. It goes on meanwhile, but not for longer than that again: what was answered and isn't on
//! disk never spans more than 40 ms, however slow the disk is. Readers see only what is on disk.
//!
//! [`AuditLog::answer_before_sync`]: super::log::AuditLog::answer_before_sync
//!
//! A large batch is synced by the same thread, so that the next one is hashed and written meanwhile:
//! both take about as long. A small one isn't: two threads that wake each other would cost more.
//!
//! A failed sync is never tried again: the kernel may have dropped the pages and would report
//! success. The log is then closed until a restart, which finds out what is there.

use std::{collections::HashMap, io, mem, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use uuid::Uuid;

use crate::{
    clock::Clock,
    domain::time::UnixNanos,
    entropy::{self, EntropyError},
};

use super::{
    buffer::{Batch, Durability, Found, NotWritten, Taken, Written},
    footer::{Footer, Header, IndexEntry},
    frame::{self, HEADER_BYTES, MARK_BYTES, Salt},
    keeper::Keeper,
    log::{AuditCondition, Shared},
    record::{self, NONCE_BYTES, Stamp},
    recovery::{Leaves, OpenSegment},
    segment::{End, INDEX_STRIDE},
    syncer::{Ended, Syncer},
    tail::Pending,
    tree::feed::Feed,
};

/// How long after the first record that was answered before it was on disk all such are synced.
const SYNC_AFTER: Duration = Duration::from_millis(20);
/// When a record that was answered before it was on disk is older, nobody is answered until it is.
const UNSYNCED_AT_MOST: Duration = Duration::from_millis(40);

/// After how many records of a batch it is looked whether the one before it is on disk by now, so that
/// its callers needn't wait for this one too.
const LOOK_EVERY: usize = 64;
/// How many bytes the operating system keeps together.
const PAGE_BYTES: u64 = 4_096;

/// Why the log can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk failed.
    // Shown where the chain of causes isn't: in the log, and as the reason of a condition.
    #[error("can't {doing}: {cause}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A frame in the buffer is not one.
    #[error("the audit buffer holds bytes that are no frame")]
    BrokenBuffer,
}

/// The writer and all that it alone knows.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    keeper: Keeper,
    clock: Clock,
    log_id: Uuid,
    segment_bytes: u64,
    overlap_from: usize,
    open: OpenSegment,
    offset: u64,
    /// How many bytes of the open segment are of strangers.
    stranger_bytes: u64,
    next_sequence: u64,
    last_time: UnixNanos,
    /// The last record of each account.
    accounts: HashMap<Box<str>, u64, RandomState>,
    nonces: Vec<u8>,
    unsynced: Unsynced,
    /// What is being put on disk meanwhile.
    launched: Option<Launched>,
    /// Puts it there; started when it is first needed.
    syncer: Option<Syncer>,
    /// What watchers may see when it is on disk, or couldn't be handed yet.
    pending: Pending,
    /// Where the hashes of what is on disk go, if the log has a tree.
    feed: Option<Feed>,
    /// Hashes of what is on disk that haven't gone there yet.
    unfed: Vec<Arc<[[u8; 32]]>>,
}

/// What is being put on disk.
#[derive(Debug)]
struct Launched {
    records: Unsynced,
    /// Where it ends.
    end: End,
}

/// What is written and not yet on disk.
#[derive(Debug, Default)]
struct Unsynced {
    /// When the first of it was written, if there is any.
    since: Option<Duration>,
    /// Places of records in it.
    index: Vec<IndexEntry>,
    /// The hashes of its records.
    leaf_hashes: Vec<Arc<[[u8; 32]]>>,
    /// Whom to answer when it is on disk.
    promised: Option<Promised>,
}

/// Records that are written, and whose callers wait.
#[derive(Debug)]
struct Promised {
    batch: Arc<Batch>,
    records: u32,
    first_sequence: u64,
    leaf_hashes: Arc<[[u8; 32]]>,
}

/// What the writer begins with.
#[derive(Debug)]
pub struct Start {
    /// The segment to go on with.
    pub open: OpenSegment,
    /// The last record's time.
    pub last_time: UnixNanos,
    /// The last record of each account.
    pub accounts: HashMap<Box<str>, u64>,
    /// The log.
    pub log_id: Uuid,
    /// How large a segment grows.
    pub segment_bytes: u64,
    /// From how many bytes on a batch is synced while the next one is written.
    pub overlap_from: usize,
    /// The way to the log's tree, if it has one.
    pub feed: Option<Feed>,
}

impl Unsynced {
    fn take_in(&mut self, index: Vec<IndexEntry>, leaf_hashes: Arc<[[u8; 32]]>) {
        self.index.extend(index);
        self.leaf_hashes.push(leaf_hashes);
    }
}

impl Writer {
    /// A writer that goes on where recovery ended.
    pub fn new(shared: Arc<Shared>, keeper: Keeper, clock: Clock, start: Start) -> Self {
        let Start { open, last_time, accounts, log_id, segment_bytes, overlap_from, feed } = start;
        Self {
            shared,
            keeper,
            clock,
            log_id,
            segment_bytes,
            overlap_from,
            offset: open.segment.data_end(),
            stranger_bytes: open.segment.stranger_bytes(),
            next_sequence: open.segment.last() + 1,
            open,
            last_time,
            accounts: accounts.into_iter().collect(),
            nonces: Vec::new(),
            unsynced: Unsynced::default(),
            launched: None,
            syncer: None,
            pending: Pending::default(),
            feed,
            unfed: Vec::new(),
        }
    }

    /// Writes batch after batch until the buffer is closed or the disk fails.
    pub fn run(mut self) {
        let mut emptied = Vec::new();
        loop {
            let patience = (!self.has_all_synced()).then(|| self.patience());
            let worked = match self.shared.buffer().take(&mut emptied, patience) {
                Found::Records(mut taken) => {
                    self.shared.flights().begin(&taken.batch);
                    let written = self.write(&mut taken);
                    emptied = taken.bytes;
                    written
                }
                Found::SyncEnded => self.settle_if_ended(),
                Found::NothingYet => self.sync_rest(),
                Found::Closed => break,
            };
            // Nobody of what is on disk waits any more.
            self.feed_tree();
            if let Err(error) = worked.and_then(|()| self.write_mark_if_idle()) {
                return self.give_up(&error);
            }
        }
        if let Err(error) = self.end() {
            self.give_up(&error);
        }
    }

    fn end(&mut self) -> Result<(), WriteError> {
        self.sync_rest()?;
        self.feed_tree();
        self.write_mark()?;
        self.sync()?;
        let ended = self.shared.note_all_synced();
        ended.map_err(|cause| WriteError::Io { doing: "end the audit log", cause })
    }

    fn give_up(&self, error: &WriteError) {
        tracing::error!(
            %error,
            "the audit log can't be written; checks are refused until a restart"
        );
        // Who is told sees the condition changed, and can't append in between.
        self.shared.set_condition(AuditCondition::Failed { reason: error.to_string().into() });
        self.shared.buffer().close();
        let mut failed = self.shared.flights().end_all();
        while let Found::Records(taken) = self.shared.buffer().take(&mut Vec::new(), None) {
            failed.push(taken.batch);
        }
        for batch in failed {
            batch.finish(Err(NotWritten));
            self.shared.lanes().ring(&batch);
        }
    }

    fn write(&mut self, taken: &mut Taken) -> Result<(), WriteError> {
        let size = taken.bytes.len();
        let is_fresh = self.next_sequence == self.open.segment.first_sequence();
        if self.offset + size as u64 > self.segment_bytes && !is_fresh {
            self.roll()?;
        }
        let (first_sequence, begin, synced) =
            (self.next_sequence, self.offset, self.open.segment.last());
        let (leaf_hashes, index) = self.stamp(taken)?;
        self.put(&mut taken.bytes)?;
        self.offset += size as u64;
        self.keeper.follow(self.offset);
        self.shared.tail().take_in(first_sequence, &taken.bytes, &mut self.pending);
        let leaf_hashes: Arc<[_]> = leaf_hashes.into();
        let batch = Arc::clone(&taken.batch);
        let hashes = Arc::clone(&leaf_hashes);
        let promised = Promised { batch, records: taken.records, first_sequence, leaf_hashes };
        if self.shared.answers_before_sync() {
            self.unsynced.take_in(index, hashes);
            let durability = self.sync_when_due()?;
            self.answer(promised, durability);
            return Ok(());
        }
        self.settle_launched()?;
        if self.open.segment.last() != synced {
            // The mark that it begins with was made when less was on disk.
            self.put_at(&self.mark(), begin)?;
        }
        self.unsynced.take_in(index, hashes);
        self.unsynced.promised = Some(promised);
        if size >= self.overlap_from
            && let Err(error) = self.start_syncer()
        {
            tracing::warn!(%error, "large batches are synced before the next one is written");
            self.overlap_from = usize::MAX;
        }
        if size < self.overlap_from { self.sync() } else { self.launch() }
    }

    /// Has what was written put on disk, by another thread, if it has waited for long enough.
    fn sync_when_due(&mut self) -> Result<Durability, WriteError> {
        self.unsynced.since.get_or_insert_with(|| self.clock.elapsed());
        self.settle_if_ended()?;
        if self.launched.is_some() && self.unsynced_for() >= UNSYNCED_AT_MOST {
            self.settle_launched()?;
        }
        if self.launched.is_none() {
            if self.unsynced_for() >= UNSYNCED_AT_MOST {
                self.sync()?;
                return Ok(Durability::OnDisk);
            }
            if self.unsynced_for() >= SYNC_AFTER {
                self.launch()?;
            }
        }
        Ok(Durability::Buffered)
    }

    /// Answers those who wait for a batch.
    fn answer(&self, promised: Promised, durability: Durability) {
        let Promised { batch, records, first_sequence, leaf_hashes } = promised;
        self.shared.flights().end(&batch);
        batch.finish(Ok(Written { first_sequence, durability, leaf_hashes }));
        self.shared.lanes().ring(&batch);
        let meters = self.shared.meters();
        meters.batches.record(records.into());
        meters.waits.record_time(self.clock.elapsed().saturating_sub(batch.opened()));
        self.shared.note_progress();
    }

    /// When the first record was written that isn't known to be on disk, if there is one.
    fn oldest_unsynced(&self) -> Option<Duration> {
        let launched = self.launched.as_ref().and_then(|launched| launched.records.since);
        launched.or(self.unsynced.since)
    }

    /// How long records are waited for while something isn't on disk: as long as a sync goes on, or
    /// until the next one is due.
    fn patience(&self) -> Duration {
        let waited = if self.launched.is_some() { Duration::ZERO } else { self.unsynced_for() };
        SYNC_AFTER.saturating_sub(waited)
    }

    fn has_all_synced(&self) -> bool {
        self.launched.is_none() && self.unsynced.leaf_hashes.is_empty()
    }

    fn unsynced_for(&self) -> Duration {
        let since = self.oldest_unsynced();
        since.map_or(Duration::ZERO, |since| self.clock.elapsed().saturating_sub(since))
    }

    /// Writes at the segment's end, with zeros up to the end of a page: nothing else stands there, and
    /// the page needn't be read for what comes behind these bytes.
    fn put(&self, bytes: &mut Vec<u8>) -> Result<(), WriteError> {
        let (size, end) = (bytes.len(), self.offset + bytes.len() as u64);
        let page_end = end.next_multiple_of(PAGE_BYTES).min(self.segment_bytes.max(end));
        bytes.resize(size + usize::try_from(page_end - end).unwrap_or_default(), 0);
        let written = self.put_at(bytes, self.offset);
        bytes.truncate(size);
        written
    }

    fn put_at(&self, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
        let written = self.open.segment.file().write_at(bytes, offset);
        written.map_err(|cause| WriteError::Io { doing: "write an audit segment", cause })
    }

    /// Puts on disk what was written, and lets readers see it.
    fn sync(&mut self) -> Result<(), WriteError> {
        self.settle_launched()?;
        let began = self.clock.elapsed();
        let result = self.open.segment.file().sync();
        let took = self.clock.elapsed().saturating_sub(began);
        let launched = Launched { records: mem::take(&mut self.unsynced), end: self.written() };
        self.launched = Some(launched);
        self.settle(Ended { result, took })
    }

    /// Takes note of what has come to disk meanwhile.
    fn settle_if_ended(&mut self) -> Result<(), WriteError> {
        let syncer = self.launched.as_ref().and(self.syncer.as_ref());
        syncer.and_then(Syncer::poll).map_or(Ok(()), |ended| self.settle(ended))
    }

    /// The same, if there is anything that isn't on disk.
    fn sync_rest(&mut self) -> Result<(), WriteError> {
        self.settle_launched()?;
        if self.unsynced.since.is_some() { self.sync() } else { Ok(()) }
    }

    fn start_syncer(&mut self) -> io::Result<()> {
        if self.syncer.is_none() {
            let shared = Arc::clone(&self.shared);
            self.syncer = Some(Syncer::start(self.clock.clone(), shared)?);
        }
        Ok(())
    }

    /// Has what was written put on disk while more is written behind it.
    fn launch(&mut self) -> Result<(), WriteError> {
        self.start_syncer()
            .map_err(|cause| WriteError::Io { doing: "start a thread that syncs", cause })?;
        if let Some(syncer) = &self.syncer {
            syncer.begin(Arc::clone(self.open.segment.file()));
        }
        let launched = Launched { records: mem::take(&mut self.unsynced), end: self.written() };
        self.launched = Some(launched);
        Ok(())
    }

    /// Waits until what is being put on disk is there.
    fn settle_launched(&mut self) -> Result<(), WriteError> {
        let ended = self.launched.as_ref().and(self.syncer.as_ref()).map(Syncer::wait);
        ended.map_or(Ok(()), |ended| self.settle(ended))
    }

    /// Lets readers see what is on disk now, and answers those who wait for it.
    fn settle(&mut self, Ended { result, took }: Ended) -> Result<(), WriteError> {
        self.shared.meters().syncs.record_time(took);
        result.map_err(|cause| WriteError::Io { doing: "sync an audit segment", cause })?;
        let Some(Launched { records, end }) = self.launched.take() else { return Ok(()) };
        let Unsynced { since: _, index, mut leaf_hashes, promised } = records;
        self.unfed.append(&mut leaf_hashes);
        let last = end.last;
        if last > self.open.segment.last() {
            self.open.segment.grow(end, &index);
            self.shared.tail().publish(last, &mut self.pending);
            self.shared.set_synced(last);
        }
        if let Some(promised) = promised {
            self.answer(promised, Durability::OnDisk);
        }
        Ok(())
    }

    /// Where what was written ends.
    fn written(&self) -> End {
        End {
            last: self.next_sequence - 1,
            last_time: self.last_time,
            data_end: self.offset,
            stranger_bytes: self.stranger_bytes,
        }
    }

    /// Hands the tree the hashes of what is on disk.
    fn feed_tree(&mut self) {
        for leaf_hashes in self.unfed.drain(..) {
            if let Some(feed) = &self.feed {
                feed.push(&leaf_hashes);
            }
        }
    }

    fn write_mark_if_idle(&self) -> Result<(), WriteError> {
        if self.has_all_synced() && self.shared.buffer().is_empty() {
            self.write_mark()?;
        }
        Ok(())
    }

    /// Says that all before it is on disk. The next batch begins with a mark at the same place; this
    /// one is for the time until then, and costs no sync.
    fn write_mark(&self) -> Result<(), WriteError> {
        self.put(&mut self.mark().to_vec())
    }

    /// Says what is on disk.
    fn mark(&self) -> [u8; MARK_BYTES] {
        frame::mark(self.open.segment.salt(), self.open.segment.last() + 1)
    }

    /// Gives every record of a batch its place, and returns their hashes and what the index needs.
    fn stamp(&mut self, taken: &mut Taken) -> Result<(Vec<[u8; 32]>, Vec<IndexEntry>), WriteError> {
        let salt = self.open.segment.salt();
        let count = usize::try_from(taken.records).unwrap_or_default();
        self.nonces.resize(count * NONCE_BYTES, 0);
        entropy::fill(&mut self.nonces)?;
        let nonces = mem::take(&mut self.nonces);
        self.last_time = self.last_time.max(self.clock.now());
        let (mark, mut rest) =
            taken.bytes.split_at_mut_checked(MARK_BYTES).ok_or(WriteError::BrokenBuffer)?;
        mark.copy_from_slice(&self.mark());
        let mut offset = self.offset + MARK_BYTES as u64;
        let (mut leaf_hashes, mut index) = (Vec::with_capacity(count), Vec::new());
        for (place, nonce) in nonces.as_chunks::<NONCE_BYTES>().0.iter().enumerate() {
            if place.is_multiple_of(LOOK_EVERY) {
                self.settle_if_ended()?;
            }
            let (header, payload, others) =
                frame::split_mut(rest).ok_or(WriteError::BrokenBuffer)?;
            let size = (HEADER_BYTES + payload.len()) as u64;
            leaf_hashes.push(self.stamp_one(salt, header, payload, nonce));
            let sequence = self.next_sequence;
            if (sequence - self.open.segment.first_sequence()).is_multiple_of(INDEX_STRIDE) {
                index.push(IndexEntry { sequence, offset });
            }
            self.next_sequence += 1;
            offset += size;
            rest = others;
        }
        self.nonces = nonces;
        Ok((leaf_hashes, index))
    }

    fn stamp_one(
        &mut self,
        salt: Salt,
        header: &mut [u8; HEADER_BYTES],
        payload: &mut [u8],
        nonce: &[u8; NONCE_BYTES],
    ) -> [u8; 32] {
        let sequence = self.next_sequence;
        let account = record::account(payload);
        if account.is_empty() && record::is_of_stranger(payload) {
            self.stranger_bytes += (HEADER_BYTES + payload.len()) as u64;
        }
        let account_previous = self.put_account_head(account, sequence);
        let time = self.last_time;
        record::stamp(payload, &Stamp { sequence, time, nonce: *nonce, account_previous });
        frame::seal(salt, header, payload);
        let leaf_hash = record::leaf_hash(payload);
        self.open.leaves.push(&leaf_hash);
        self.open.times = Some((self.open.times.map_or(time, |(first, _)| first), time));
        leaf_hash
    }

    fn put_account_head(&mut self, account: &str, sequence: u64) -> u64 {
        if let Some(last) = self.accounts.get_mut(account) {
            return mem::replace(last, sequence);
        }
        self.accounts.insert(account.into(), sequence);
        0
    }

    /// Goes on in a new segment; the full one is sealed in the background.
    fn roll(&mut self) -> Result<(), WriteError> {
        // A segment that has another one behind it is whole.
        self.sync_rest()?;
        self.write_mark()?;
        let failed = |cause| WriteError::Io { doing: "begin an audit segment", cause };
        let header = new_header(self.log_id, self.next_sequence)?;
        let segment = self.keeper.begin_segment(header).map_err(failed)?;
        self.shared.add_segment(Arc::clone(&segment));
        let (leaves, damaged) = (Leaves::default(), Vec::new());
        let full =
            mem::replace(&mut self.open, OpenSegment { segment, times: None, leaves, damaged });
        self.offset = self.open.segment.data_end();
        self.stranger_bytes = 0;
        if let Some(footer) = footer_of(&full, &self.accounts) {
            self.keeper.seal(full.segment, footer);
        }
        self.keeper.prepare_spare(self.offset);
        Ok(())
    }
}

/// A new segment's header, with a salt that nobody can guess.
pub fn new_header(log_id: Uuid, first_sequence: u64) -> Result<Header, EntropyError> {
    let mut salt = [0; 4];
    entropy::fill(&mut salt)?;
    Ok(Header { log_id, first_sequence, salt: Salt(u32::from_le_bytes(salt)) })
}

/// Sums a segment up; `None` if it has no record.
pub fn footer_of<'a>(
    open: &OpenSegment,
    accounts: impl IntoIterator<Item = (&'a Box<str>, &'a u64)>,
) -> Option<Footer> {
    let OpenSegment { segment, times, leaves, damaged } = open;
    let (first, last) = (segment.first_sequence(), segment.last());
    let in_segment =
        accounts.into_iter().filter(|(_, sequence)| (first..=last).contains(*sequence));
    let mut accounts: Vec<_> =
        in_segment.map(|(account, sequence)| (account.clone(), *sequence)).collect();
    accounts.sort();
    Some(Footer {
        first_sequence: first,
        record_count: (last + 1).checked_sub(first).filter(|count| *count > 0)?,
        data_end: segment.data_end(),
        stranger_bytes: segment.stranger_bytes(),
        record_times: (*times)?,
        leaves_digest: leaves.digest(),
        index: segment.index(),
        accounts,
        damaged: damaged.clone(),
    })
}
