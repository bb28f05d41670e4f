//! How many follow a log, and how far the slowest has come.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Those who follow a log now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watchers(Arc<Mutex<Vec<Arc<AtomicU64>>>>);

/// How far one of them has come. It is one of them as long as this lives.
#[derive(Debug)]
pub struct Position {
    watchers: Watchers,
    through: Arc<AtomicU64>,
}

/// Those who follow a log, when it was looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// How many there are.
    pub count: u64,
    /// How far the slowest has come.
    pub slowest: Option<u64>,
}

impl Watchers {
    /// One more, who has come as far as that.
    pub fn enter(&self, through: u64) -> Position {
        let through = Arc::new(AtomicU64::new(through));
        self.lock().push(Arc::clone(&through));
        Position { watchers: self.clone(), through }
    }

    /// Looks.
    pub fn read(&self) -> Following {
        let positions = self.lock();
        let slowest = positions.iter().map(|one| one.load(Ordering::Relaxed)).min();
        Following { count: u64::try_from(positions.len()).unwrap_or(u64::MAX), slowest }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        // Held to begin, to end and to look; no reading or sending happens under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Position {
    /// It has come that far.
    pub fn reach(&self, through: u64) {
        self.through.store(through, Ordering::Relaxed);
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        self.watchers.lock().retain(|one| !Arc::ptr_eq(one, &self.through));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_is_the_one_who_has_come_least_far() {
        let watchers = Watchers::default();
        assert_eq!(watchers.read(), Following { count: 0, slowest: None });
        let (fast, slow) = (watchers.enter(3), watchers.enter(3));
        fast.reach(9);
        assert_eq!(watchers.read(), Following { count: 2, slowest: Some(3) });
        slow.reach(5);
        assert_eq!(watchers.read(), Following { count: 2, slowest: Some(5) });
        drop(slow);
        assert_eq!(watchers.read(), Following { count: 1, slowest: Some(9) });
    }
}
