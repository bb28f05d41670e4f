//! Folds the journal into what is asked: the catalog (for reading) and the rulebook (for checks).
//!
//! It doesn't know where events come from or when they are on disk; whoever publishes does.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

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
pub struct Published(ArcSwap<State>);

impl Published {
    /// Publishes a first state.
    pub fn new(state: State) -> Self {
        Self(ArcSwap::from_pointee(state))
    }

    /// The current state, to look at briefly.
    pub fn load(&self) -> Guard<Arc<State>> {
        self.0.load()
    }

    /// The current state, to keep for a while.
    pub fn load_full(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Replaces the state: what is in it must be on disk.
    pub fn publish(&self, state: State) {
        self.0.store(Arc::new(state));
    }
}
