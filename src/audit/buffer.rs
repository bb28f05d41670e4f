//! The one buffer that all callers append to, and how a batch of them is woken.
//!
//! A channel and a oneshot for each call cost more than the disk: a foreign thread would wake every
//! waiting task one by one. Here the writer takes the whole buffer, and when it is on disk rings one
//! bell a runtime; a task of that runtime wakes the rest from inside.

use std::{
    iter, mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    frame::{self, MARK_BYTES},
    record::MAX_RECORD_BYTES,
};

/// What became of a batch.
pub type Outcome = Result<Written, NotWritten>;

/// The batch is written.
#[derive(Debug)]
pub struct Written {
    /// The place of its first record.
    pub first_sequence: u64,
    /// Whether it is on disk, too.
    pub durability: Durability,
    /// The leaf hash of each record.
    pub leaf_hashes: Arc<[[u8; 32]]>,
}

/// How safe it is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk.
    OnDisk,
    /// The operating system has it: a killed process loses nothing of it, a lost machine may.
    Buffered,
}

/// The batch is not known to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWritten;

/// Records that go to the disk together.
#[derive(Debug)]
pub struct Batch {
    outcome: OnceLock<Outcome>,
    /// Who waits, by lane. Held for a push or a swap; nobody is woken under it.
    waiting: Box<[Mutex<Vec<Waker>>]>,
    /// When its first record was appended.
    opened: Duration,
}

impl Batch {
    fn new(lanes: usize, opened: Duration) -> Self {
        let waiting = (0..lanes).map(|_| Mutex::default()).collect();
        Self { outcome: OnceLock::new(), waiting, opened }
    }

    /// When its first record was appended.
    pub fn opened(&self) -> Duration {
        self.opened
    }

    /// Says what became of it. The first word counts.
    pub fn finish(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    /// Whether it was said what became of it. What is in it may still be written.
    pub fn is_finished(&self) -> bool {
        self.outcome.get().is_some()
    }

    fn wake(&self, lane: usize) {
        let Some(waiting) = self.waiting.get(lane) else { return };
        let wakers = mem::take(&mut *lock(waiting));
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A runtime's bell, and the batches that it is rung for.
#[derive(Debug, Default)]
struct Lane {
    bell: Notify,
    /// Held for a push or a swap.
    finished: Mutex<Vec<Arc<Batch>>>,
}

/// The bells of all runtimes.
#[derive(Debug)]
pub struct Lanes(Box<[Lane]>);

impl Lanes {
    /// Bells for as many runtimes.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Lane::default()).collect())
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    /// Has everybody woken who waits for a batch, which is finished. A runtime on which nobody does
    /// is let sleep: who asks later finds that it is finished.
    pub fn ring(&self, batch: &Arc<Batch>) {
        for (lane, waiting) in self.0.iter().zip(&batch.waiting) {
            if !lock(waiting).is_empty() {
                lock(&lane.finished).push(Arc::clone(batch));
                lane.bell.notify_one();
            }
        }
    }

    /// Wakes those who wait on one runtime. Runs there, for ever.
    pub async fn serve(&self, number: usize) {
        let Some(lane) = self.0.get(number) else { return };
        loop {
            lane.bell.notified().await;
            let finished = mem::take(&mut *lock(&lane.finished));
            for batch in finished {
                batch.wake(number);
            }
        }
    }
}

/// The shared buffer.
#[derive(Debug)]
pub struct Buffer {
    /// Guards what is appended until the writer takes it. Held for a copy of a record or a swap.
    state: Mutex<State>,
    /// Wakes the writer; it waits while there is nothing to write.
    writer: Condvar,
    /// Up to which question the writer has answered whether it lives.
    answered: watch::Sender<u64>,
    max_bytes: usize,
    lanes: usize,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    records: u32,
    batch: Option<Arc<Batch>>,
    gate: Gate,
    writer_waits: bool,
    /// Whether a sync has ended that the writer doesn't wait for by itself.
    sync_ended: bool,
    /// How often it was asked whether the writer lives, and up to which time it has answered.
    asked: u64,
    answered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

/// What the writer takes.
#[derive(Debug)]
pub struct Taken {
    /// Room for a mark, and then the records' frames.
    pub bytes: Vec<u8>,
    /// How many records there are.
    pub records: u32,
    /// Who waits for them.
    pub batch: Arc<Batch>,
}

/// What the writer finds.
#[derive(Debug)]
pub enum Found {
    /// Records.
    Records(Taken),
    /// None, but a sync has ended.
    SyncEnded,
    /// None came for as long as the writer waits.
    NothingYet,
    /// None, and none will come.
    Closed,
}

/// Why a record could not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much waits for the disk.
    #[error("too many decisions wait for the disk")]
    Full,
    /// The log is closed.
    #[error("the audit log is closed")]
    Closed,
    /// A record is longer than any that is read back.
    #[error("a record is too long")]
    TooLong,
}

impl Buffer {
    /// An empty buffer.
    pub fn new(max_bytes: usize, lanes: &Lanes) -> Self {
        let state = State {
            bytes: empty_bytes(Vec::new()),
            records: 0,
            batch: None,
            gate: Gate::Open,
            writer_waits: false,
            sync_ended: false,
            asked: 0,
            answered: 0,
        };
        Self {
            state: Mutex::new(state),
            writer: Condvar::new(),
            answered: watch::Sender::new(0),
            max_bytes,
            lanes: lanes.count(),
        }
    }

    /// Appends records, all or none, and tells how to wait for them.
    pub fn append(
        &self,
        records: &[u8],
        ends: &[usize],
        opened: impl FnOnce() -> Duration,
    ) -> Result<Ticket, AppendError> {
        let begins = iter::once(&0).chain(ends);
        if begins.zip(ends).any(|(begin, end)| end.saturating_sub(*begin) > MAX_RECORD_BYTES) {
            return Err(AppendError::TooLong);
        }
        let mut state = lock(&self.state);
        if state.gate == Gate::Closed {
            return Err(AppendError::Closed);
        }
        let size = records.len() + ends.len() * frame::HEADER_BYTES;
        if state.bytes.len() + size > self.max_bytes {
            return Err(AppendError::Full);
        }
        let mut begin = 0;
        for &end in ends {
            frame::append_record(&mut state.bytes, records.get(begin..end).unwrap_or_default());
            begin = end;
        }
        let first = state.records;
        let count = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        state.records += count;
        let lanes = self.lanes;
        let batch = state.batch.get_or_insert_with(|| Arc::new(Batch::new(lanes, opened())));
        let ticket = Ticket { batch: Arc::clone(batch), first, count };
        let writer_waits = mem::take(&mut state.writer_waits);
        // The writer would only wait for this again.
        drop(state);
        if writer_waits {
            self.writer.notify_one();
        }
        Ok(ticket)
    }

    /// Takes all that is there, leaving an emptied buffer; waits until there is something, or as
    /// long as it is told.
    pub fn take(&self, emptied: &mut Vec<u8>, patience: Option<Duration>) -> Found {
        let mut state = lock(&self.state);
        let mut is_over = false;
        loop {
            if state.answered != state.asked {
                state.answered = state.asked;
                self.answered.send_replace(state.asked);
            }
            if let Some(batch) = state.batch.take() {
                let emptied = empty_bytes(mem::take(emptied));
                let bytes = mem::replace(&mut state.bytes, emptied);
                let records = mem::take(&mut state.records);
                return Found::Records(Taken { bytes, records, batch });
            }
            if mem::take(&mut state.sync_ended) {
                state.writer_waits = false;
                return Found::SyncEnded;
            }
            if state.gate == Gate::Closed {
                return Found::Closed;
            }
            if is_over {
                state.writer_waits = false;
                return Found::NothingYet;
            }
            // Ended by an append, by closing, by a sync that ended, by who asks whether it lives, or
            // by the time.
            state.writer_waits = true;
            (state, is_over) = match patience {
                None => {
                    let waited = self.writer.wait(state);
                    (waited.unwrap_or_else(PoisonError::into_inner), false)
                }
                Some(patience) => {
                    let waited = self.writer.wait_timeout(state, patience);
                    let (state, ended) = waited.unwrap_or_else(PoisonError::into_inner);
                    (state, ended.timed_out())
                }
            };
        }
    }

    /// Asks the writer whether it lives; the answer ends when it has looked for records once more,
    /// and never if it doesn't any more.
    pub fn ask(&self) -> impl Future<Output = ()> + use<> {
        let mut answered = self.answered.subscribe();
        let mut state = lock(&self.state);
        state.asked += 1;
        let asked = state.asked;
        self.writer.notify_one();
        drop(state);
        async move {
            if answered.wait_for(|answered| *answered >= asked).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets the writer know that a sync has ended.
    pub fn note_sync_ended(&self) {
        let mut state = lock(&self.state);
        state.sync_ended = true;
        self.writer.notify_one();
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).batch.is_none()
    }

    /// The batch that waits to be taken.
    pub fn waiting(&self) -> Option<Arc<Batch>> {
        lock(&self.state).batch.clone()
    }

    /// Takes no more. The writer ends when it has written what is there.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.gate = Gate::Closed;
        self.writer.notify_one();
    }
}

fn empty_bytes(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.clear();
    bytes.resize(MARK_BYTES, 0);
    bytes
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands for records that were appended and are not yet known to be written.
#[derive(Debug)]
pub struct Ticket {
    batch: Arc<Batch>,
    first: u32,
    count: u32,
}

impl Ticket {
    /// Waits until the records are on disk, or only written where that is enough. Ends with their
    /// batch, or when that stalls.
    pub fn wait(self, lane: usize) -> Wait {
        Wait { ticket: self, lane, place: None }
    }

    fn outcome(&self) -> Option<Result<Receipts, NotWritten>> {
        let outcome = self.batch.outcome.get()?;
        let (batch, first, count) = (Arc::clone(&self.batch), self.first, self.count);
        Some(match outcome {
            Ok(_) => Ok(Receipts { batch, first, count }),
            Err(NotWritten) => Err(NotWritten),
        })
    }
}

/// Waits for a [`Ticket`].
#[derive(Debug)]
pub struct Wait {
    ticket: Ticket,
    lane: usize,
    /// Where its waker stands among those that wait.
    place: Option<usize>,
}

impl Future for Wait {
    type Output = Result<Receipts, NotWritten>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.ticket.outcome() {
            return Poll::Ready(outcome);
        }
        let batch = Arc::clone(&self.ticket.batch);
        let Some(waiting) = batch.waiting.get(self.lane) else {
            return Poll::Ready(Err(NotWritten));
        };
        let mut waiting = lock(waiting);
        // It may have been finished, and everybody woken, since the look above.
        if let Some(outcome) = self.ticket.outcome() {
            return Poll::Ready(outcome);
        }
        if let Some(waker) = self.place.and_then(|place| waiting.get_mut(place)) {
            waker.clone_from(context.waker());
        } else {
            self.place = Some(waiting.len());
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// Says where records that are written stand.
#[derive(Debug)]
pub struct Receipts {
    batch: Arc<Batch>,
    first: u32,
    count: u32,
}

/// Says where one record that is written stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its sequence number.
    pub sequence: u64,
    /// Its leaf hash.
    pub leaf_hash: [u8; 32],
    /// Whether it is on disk.
    pub durability: Durability,
}

impl Receipts {
    /// One receipt for each record, in order.
    pub fn iter(&self) -> impl Iterator<Item = Receipt> {
        let written = self.batch.outcome.get().and_then(|outcome| outcome.as_ref().ok());
        let range = self.first..self.first.saturating_add(self.count);
        range.filter_map(move |place| {
            let written = written?;
            let leaf_hash = *written.leaf_hashes.get(usize::try_from(place).ok()?)?;
            let sequence = written.first_sequence + u64::from(place);
            Some(Receipt { sequence, leaf_hash, durability: written.durability })
        })
    }
}
