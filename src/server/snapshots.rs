//! Writes snapshots of the state: after so many changes, and at the stop. Nobody waits for one but
//! the stop, and there are never two at once.

use std::{num::NonZeroU64, sync::Arc};

use tokio::sync::watch;

use crate::{
    projection::{Published, State},
    store::{journal::JournalReader, snapshot::Snapshots, space::Space},
};

/// Writes snapshots.
#[derive(Clone, Debug)]
pub(super) struct SnapshotTaker {
    snapshots: Snapshots,
    journal: Arc<dyn JournalReader>,
    published: Arc<Published>,
    space: Arc<Space>,
    /// After how many changes there is to be a new one.
    every: NonZeroU64,
    /// The revision of the last one, or of the last that was tried.
    last: u64,
}

impl SnapshotTaker {
    /// Writes them after so many changes each; the last one has that revision.
    pub(super) fn new(
        snapshots: Snapshots,
        (journal, published, space): (Arc<dyn JournalReader>, Arc<Published>, Arc<Space>),
        (every, last): (NonZeroU64, u64),
    ) -> Self {
        Self { snapshots, journal, published, space, every, last }
    }

    /// Writes one after so many changes, until the server stops.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) -> Self {
        loop {
            let due = self.last.saturating_add(self.every.get());
            tokio::select! {
                // Ends when the server is told to stop, or is gone.
                _ = stopping.wait_for(|stopping| *stopping) => return self,
                () = self.published.reach(due) => {}
            }
            let state = self.published.load_full();
            self.last = state.revision();
            let taker = self.clone();
            // One that panicked has said so; the next one is tried all the same.
            let _ = tokio::task::spawn_blocking(move || taker.write(&state)).await;
        }
    }

    /// Writes the last one, if anything has changed since the one before.
    pub(super) fn finish(&self) {
        let state = self.published.load_full();
        if state.revision() > self.last {
            self.write(&state);
        }
    }

    fn write(&self, state: &State) {
        let revision = state.revision();
        // The room that is left is for those who make room.
        if let Err(reserve) = self.space.admit_change() {
            tracing::warn!(revision, %reserve, "no snapshot is written");
            return;
        }
        match self.snapshots.write(state, self.journal.as_ref()) {
            Ok(()) => tracing::info!(revision, "a snapshot is written"),
            Err(error) => {
                tracing::warn!(revision, %error, "no snapshot is written; the next start is slower");
            }
        }
    }
}
