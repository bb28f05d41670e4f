//! The way from the log's writer to the tree: the writer adds leaf hashes of what it has put on disk
//! to the right edge, and never waits; a thread takes them from here to the tree's files.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    files::LEVELS,
    hash::{Frontier, Hash},
};

/// How many leaves may wait for the tree's files: 32 MiB.
const MAX_WAITING: usize = 1 << 20;
/// From how many on they are taken before the time: 1 MiB. What is used again and again is in reach
/// of the processor, and the system needn't make new memory ready.
const MANY: usize = 1 << 15;
/// The sizes at which a checkpoint is preferred: then no subtree of a kept level is incomplete.
const ALIGNMENT: u64 = 256;

/// A size, and the root of the tree of that size.
pub type Sized = (u64, Hash);

/// What the writer has; dropped when it ends.
#[derive(Debug)]
pub struct Feed(Arc<Waiting>);

/// What waits between the writer and the files.
#[derive(Debug)]
pub struct Waiting {
    /// All of it; held for a batch of hashes.
    pending: Mutex<Pending>,
    /// Rings when the thread should not wait any longer.
    bell: Condvar,
}

#[derive(Debug)]
struct Pending {
    frontier: Frontier,
    aligned: Option<Sized>,
    added: Added,
    state: State,
    /// The size that a checkpoint is wanted at.
    wanted: Option<u64>,
}

/// Hashes that go to the files.
#[derive(Debug, Default)]
pub struct Added {
    /// Leaves that follow those before.
    pub leaves: Vec<Hash>,
    /// The subtrees of the kept levels above 0 that they complete, with their levels, in order.
    pub nodes: Vec<(u32, Hash)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fed,
    Ended,
    /// The files can't be written, or not as fast; leaves are no longer kept.
    GivenUp,
}

/// What the thread takes.
#[derive(Debug)]
pub struct Taken {
    /// What was added since.
    pub added: Added,
    /// The tree with all of them.
    pub whole: Sized,
    /// The largest tree among them whose size a checkpoint should have.
    pub aligned: Option<Sized>,
    /// Whether no more come.
    pub is_last: bool,
    /// Whether a checkpoint over all of them is wanted, whatever their number.
    pub is_wanted: bool,
    /// Whether this is only because there are many, so that no checkpoint is due.
    pub is_early: bool,
}

/// The files didn't keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many leaf hashes wait for the tree's files")]
pub struct Behind;

/// Both ends, for a tree without leaves.
pub fn feed() -> (Feed, Arc<Waiting>) {
    let pending = Pending {
        frontier: Frontier::default(),
        aligned: None,
        added: Added::default(),
        state: State::Fed,
        wanted: None,
    };
    let waiting = Arc::new(Waiting { pending: Mutex::new(pending), bell: Condvar::new() });
    (Feed(Arc::clone(&waiting)), waiting)
}

impl Feed {
    /// Adds leaf hashes of records that are on disk.
    pub fn push(&self, leaf_hashes: &[Hash]) {
        let mut pending = self.0.lock();
        if pending.state != State::Fed {
            return;
        }
        if pending.added.leaves.len() + leaf_hashes.len() > MAX_WAITING {
            pending.give_up();
            return;
        }
        let Pending { frontier, aligned, added: Added { leaves, nodes }, .. } = &mut *pending;
        for leaf_hash in leaf_hashes {
            frontier.push(*leaf_hash, |level, hash| {
                if LEVELS.contains(&level) {
                    nodes.push((level, *hash));
                }
            });
            if frontier.size().is_multiple_of(ALIGNMENT) {
                *aligned = Some((frontier.size(), frontier.root()));
            }
        }
        leaves.extend_from_slice(leaf_hashes);
        if pending.is_wanted() || pending.has_many() {
            self.0.bell.notify_one();
        }
    }

    /// The root of the tree with all leaves so far; `None` if it isn't kept any more.
    pub fn root(&self) -> Option<Hash> {
        let pending = self.0.lock();
        (pending.state == State::Fed).then(|| pending.frontier.root())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        if pending.state == State::Fed {
            pending.state = State::Ended;
        }
        drop(pending);
        self.0.bell.notify_one();
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing panics while it holds this.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what has come after a while, when it is much, or when the writer has ended; leaves what
    /// is emptied.
    pub fn take(&self, emptied: Added, patience: Duration) -> Result<Taken, Behind> {
        let pending = self.lock();
        // Ends when the writer ends, a checkpoint is wanted or many leaves wait, or by the time.
        let is_patient =
            |one: &mut Pending| one.state == State::Fed && !one.is_wanted() && !one.has_many();
        let waited = self.bell.wait_timeout_while(pending, patience, is_patient);
        let (mut pending, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if pending.state == State::GivenUp {
            return Err(Behind);
        }
        let (is_wanted, is_last) = (pending.is_wanted(), pending.state == State::Ended);
        let is_early = !waited.timed_out() && !patience.is_zero() && !is_wanted && !is_last;
        if is_wanted {
            pending.wanted = None;
        }
        Ok(Taken {
            added: mem::replace(&mut pending.added, emptied),
            whole: (pending.frontier.size(), pending.frontier.root()),
            aligned: if is_early { None } else { pending.aligned.take() },
            is_last,
            is_wanted,
            is_early,
        })
    }

    /// Begins with a frontier.
    pub fn begin_at(&self, frontier: Frontier) {
        self.lock().frontier = frontier;
    }

    /// Asks for a checkpoint as soon as there are so many leaves.
    pub fn want_checkpoint(&self, size: u64) {
        self.lock().wanted = Some(size);
        self.bell.notify_one();
    }

    /// Takes no more leaves.
    pub fn give_up(&self) {
        self.lock().give_up();
    }
}

impl Pending {
    fn is_wanted(&self) -> bool {
        self.wanted.is_some_and(|size| size <= self.frontier.size())
    }

    fn has_many(&self) -> bool {
        self.added.leaves.len() >= MANY
    }

    fn give_up(&mut self) {
        self.state = State::GivenUp;
        self.added = Added::default();
    }
}
