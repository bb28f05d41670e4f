//! Folds the journal into what is asked: the catalog (for reading) and the rulebook (for checks).
//!
//! It doesn't know where events come from or when they are on disk; whoever publishes does.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::domain::{catalog::Catalog, event::Event, rulebook::Rulebook, rules::RulesVersion};

/// Everything that is true as of one revision. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// What there is.
    pub catalog: Catalog,
    /// What checks are decided by.
    pub rulebook: Rulebook,
}

impl State {
    /// The state before the first event.
    pub fn new(version: RulesVersion) -> Self {
        Self { catalog: Catalog::default(), rulebook: Rulebook::new(version) }
    }

    /// Takes in the next event.
    pub fn evolve(&mut self, event: &Event) {
        self.catalog.evolve(event);
        self.rulebook.evolve(event, &self.catalog);
    }

    /// The sequence number of the last event in it.
    pub fn revision(&self) -> u64 {
        self.catalog.revision()
    }
}

/// The state that readers see. Reading takes no lock.
#[derive(Debug)]
pub struct Published {
    state: ArcSwap<State>,
    /// Rings for those who wait for a revision.
    revision: watch::Sender<u64>,
}

impl Published {
    /// Publishes a first state.
    pub fn new(state: State) -> Self {
        let revision = watch::Sender::new(state.revision());
        Self { state: ArcSwap::from_pointee(state), revision }
    }

    /// The current state, to look at briefly.
    pub fn load(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// The current state, to keep for a while.
    pub fn load_full(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Replaces the state: what is in it must be on disk.
    pub fn publish(&self, state: State) {
        let revision = state.revision();
        self.state.store(Arc::new(state));
        self.revision.send_replace(revision);
    }

    /// Tells which revision is published, now and when that changes.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Waits until a revision is published. For ever, if it never is.
    pub async fn reach(&self, revision: u64) {
        let mut published = self.revision.subscribe();
        // The sender is this, so it can't be gone.
        let _ = published.wait_for(|published| *published >= revision).await;
    }
}
