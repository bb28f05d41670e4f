//! The batches that the writer has taken and not answered yet: one, or two where one is being synced
//! while the next is written.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::buffer::Batch;

/// The batches, oldest first.
#[derive(Debug, Default)]
pub struct Flights(
    /// Held for a look or a push, and while it is said that the disk stalls.
    Mutex<Vec<Arc<Batch>>>,
);

impl Flights {
    /// Notes that a batch is being written.
    pub fn begin(&self, batch: &Arc<Batch>) {
        self.hold().push(Arc::clone(batch));
    }

    /// Notes that it is written.
    pub fn end(&self, batch: &Arc<Batch>) {
        self.hold().retain(|one| !Arc::ptr_eq(one, batch));
    }

    /// Notes that none of them will be.
    pub fn end_all(&self) -> Vec<Arc<Batch>> {
        mem::take(&mut *self.hold())
    }

    /// The one that was taken first.
    pub fn oldest(&self) -> Option<Arc<Batch>> {
        self.hold().first().cloned()
    }

    /// Lets none begin or end meanwhile.
    pub fn hold(&self) -> MutexGuard<'_, Vec<Arc<Batch>>> {
        // Nothing panics while it holds this.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
