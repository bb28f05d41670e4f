//! The journal's one writer: judges changes, puts them on disk, publishes, answers. In that order.
//!
//! It owns the working state, which includes the changes of a batch that isn't on disk yet, so that
//! each is judged against all before it. Nothing is published before it is synced: a check could
//! cite a revision that a crash erases. After a failure the working state is worthless and the
//! writer refuses everything until a restart.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tokio::sync::{oneshot, watch};

use crate::{
    domain::{
        catalog::Catalog,
        command::Batch,
        decide::{Rejected, Verdict, decide},
        event::Event,
        limits::Limits,
    },
    projection::{Published, State},
};

use super::{
    journal::Journal,
    space::{ReserveReached, Space},
};

/// The most requests that wait. Most are small; this bounds the wait, not the memory.
const QUEUE_LENGTH: usize = 1_024;
/// After how many changes one sync covers no further requests.
const SYNC_LENGTH: usize = 256;

/// Hands changes to the writer.
#[derive(Clone, Debug)]
pub struct ChangeWriter {
    queue: SyncSender<Job>,
    space: Arc<Space>,
    condition: watch::Receiver<JournalCondition>,
}

/// Whether the journal can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalCondition {
    /// It can.
    Working,
    /// It can't, until the server has restarted.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// Whether a change is made or only judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is made.
    Apply,
    /// It is judged, and nothing changes.
    ValidateOnly,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was judged and rejected.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Too many wait.
    #[error("too many changes wait to be written")]
    Busy,
    /// The disk is too full.
    #[error(transparent)]
    Reserve(#[from] ReserveReached),
    /// The journal can't be written; whether the change was made is unknown.
    #[error("the journal can't be written")]
    Unavailable,
}

/// What changes led to.
#[derive(Clone, Debug)]
pub struct Made {
    /// An event for each, in order.
    pub events: Vec<Event>,
    /// What there is after them.
    pub after: Catalog,
}

type Answer = Result<Made, SubmitError>;

#[derive(Debug)]
struct Job {
    batch: Batch,
    mode: Mode,
    answer: oneshot::Sender<Answer>,
}

impl ChangeWriter {
    /// Has changes judged and made, all or none. Answers with the events that they led to, on disk
    /// and published; for a repeated request, with those that it led to first.
    pub async fn submit(&self, batch: Batch, mode: Mode) -> Answer {
        self.space.admit_change()?;
        let (answer, answered) = oneshot::channel();
        match self.queue.try_send(Job { batch, mode, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(SubmitError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(SubmitError::Unavailable),
        }
        // Ends with the batch that the job is in, or when the writer is gone.
        answered.await.unwrap_or(Err(SubmitError::Unavailable))
    }

    /// Tells whether the journal can be written, now and when that changes.
    pub fn condition(&self) -> watch::Receiver<JournalCondition> {
        self.condition.clone()
    }
}

/// Starts the writer on a journal whose events are all in `state`. The thread ends when the last
/// [`ChangeWriter`] is dropped and all that was queued is answered.
pub fn start(
    journal: Box<dyn Journal>,
    state: State,
    published: Arc<Published>,
    (space, limits): (Arc<Space>, Limits),
) -> io::Result<(ChangeWriter, thread::JoinHandle<()>)> {
    let (queue, jobs) = sync_channel(QUEUE_LENGTH);
    let (condition_sender, condition) = watch::channel(JournalCondition::Working);
    let writer = Writer { journal, limits, state, published, condition: condition_sender };
    let thread = thread::Builder::new()
        .name("journal-writer".to_owned())
        .spawn(move || writer.run(&jobs))?;
    Ok((ChangeWriter { queue, space, condition }, thread))
}

struct Writer {
    journal: Box<dyn Journal>,
    limits: Limits,
    /// Includes what is not yet on disk.
    state: State,
    published: Arc<Published>,
    condition: watch::Sender<JournalCondition>,
}

/// What a job comes to, once all is on disk.
type Pending = (oneshot::Sender<Answer>, Result<Outcome, Rejected>);

enum Outcome {
    Made(Box<Made>),
    Before { first: u64, last: u64 },
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        // Ends when all senders are gone and the queue is empty.
        while let Ok(first) = jobs.recv() {
            if let Err(reason) = self.write(first, jobs) {
                tracing::error!(
                    reason,
                    "the journal can't be written; changes are refused until a restart"
                );
                self.condition.send_replace(JournalCondition::Failed { reason: reason.into() });
                // Dropping a job answers it: unavailable.
                jobs.iter().for_each(drop);
                return;
            }
        }
    }

    /// Makes the changes of a job and of those that wait behind it, with one sync for all.
    fn write(&mut self, first: Job, jobs: &Receiver<Job>) -> Result<(), String> {
        let durable_last = self.state.revision();
        let mut events = Vec::new();
        let mut pending: Vec<Pending> = Vec::new();
        let mut judged = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            judged += job.batch.requests().len();
            let outcome = self.judge(&job, &mut events);
            pending.push((job.answer, outcome));
            next = (judged < SYNC_LENGTH).then(|| jobs.try_recv().ok()).flatten();
        }
        if !events.is_empty() {
            self.journal.append(durable_last, &events).map_err(|error| error.to_string())?;
            self.published.publish(self.state.clone());
        }
        for (answer, outcome) in pending {
            let outcome = self.answer(outcome);
            // Nobody waits any more if the caller has gone away.
            let _ = answer.send(outcome);
        }
        Ok(())
    }

    fn judge(&mut self, job: &Job, happened: &mut Vec<Event>) -> Result<Outcome, Rejected> {
        match decide(&self.state.catalog, &self.limits, &job.batch)? {
            Verdict::AnsweredBefore { first, last } => Ok(Outcome::Before { first, last }),
            Verdict::Happened(events) if job.mode == Mode::ValidateOnly => {
                let mut after = self.state.catalog.clone();
                for event in &events {
                    after.evolve(event);
                }
                Ok(Outcome::Made(Box::new(Made { events, after })))
            }
            Verdict::Happened(events) => {
                for event in &events {
                    self.state.evolve(event);
                }
                happened.extend_from_slice(&events);
                let after = self.state.catalog.clone();
                Ok(Outcome::Made(Box::new(Made { events, after })))
            }
        }
    }

    fn answer(&self, outcome: Result<Outcome, Rejected>) -> Answer {
        match outcome? {
            Outcome::Made(made) => Ok(*made),
            Outcome::Before { first, last } => {
                let count = usize::try_from(last - first + 1).unwrap_or_default();
                match self.journal.read(first, count) {
                    Ok(events) => Ok(Made { events, after: self.state.catalog.clone() }),
                    Err(error) => {
                        tracing::error!(%error, "a repeated request can't be answered again");
                        Err(SubmitError::Unavailable)
                    }
                }
            }
        }
    }
}
