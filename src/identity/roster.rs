//! The callers as of now. They are replaced whole while calls are served, and whoever serves a call
//! that lasts hears of it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::caller::Callers;

/// The callers as of now. Reading takes no lock.
#[derive(Debug)]
pub struct Roster {
    callers: ArcSwap<Callers>,
    /// Rings when a caller may have another standing than before.
    bell: watch::Sender<()>,
}

impl Roster {
    /// A roster with its first callers.
    pub fn new(callers: Callers) -> Self {
        Self { callers: ArcSwap::from_pointee(callers), bell: watch::Sender::new(()) }
    }

    /// The callers as of now, to look at briefly.
    pub fn load(&self) -> Guard<Arc<Callers>> {
        self.callers.load()
    }

    /// Puts other callers in the place of all.
    pub fn replace(&self, callers: Callers) {
        self.callers.store(Arc::new(callers));
        self.ring();
    }

    /// Has everybody who serves a call that lasts look again.
    pub fn ring(&self) {
        self.bell.send_replace(());
    }

    /// Rings when it is time to look again.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}
