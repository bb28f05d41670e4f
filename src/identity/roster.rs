//! The callers as of now. They are replaced whole while calls are served, and whoever serves a call
//! that lasts hears of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::domain::time::UnixNanos;

use super::caller::Callers;

/// The callers as of now. Reading takes no lock.
#[derive(Debug)]
pub struct Roster {
    callers: ArcSwap<Callers>,
    /// When the certificates expire by which streams go on. Locked to add one and to look.
    expiries: Mutex<BTreeSet<UnixNanos>>,
    /// Rings when a caller may have another standing than before.
    bell: watch::Sender<()>,
}

impl Roster {
    /// A roster with its first callers.
    pub fn new(callers: Callers) -> Self {
        let (callers, expiries) = (ArcSwap::from_pointee(callers), Mutex::default());
        Self { callers, expiries, bell: watch::Sender::new(()) }
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

    /// Remembers when a certificate expires by which a stream goes on.
    pub fn await_expiry(&self, time: UnixNanos) {
        self.expiries.lock().unwrap_or_else(PoisonError::into_inner).insert(time);
    }

    /// Whether a caller, or a certificate that is remembered, expired after one time and by another.
    pub fn take_expired(&self, after: UnixNanos, by: UnixNanos) -> bool {
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        let later = expiries.split_off(&UnixNanos(by.0.saturating_add(1)));
        let expired = std::mem::replace(&mut *expiries, later);
        !expired.is_empty() || self.load().expire_between(after, by)
    }

    /// Rings when it is time to look again.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}
