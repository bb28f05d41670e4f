//! The only place that reads a clock.
//!
//! Everything else takes the time as an argument, or a [`Clock`], which a test can set.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::domain::time::{Moment, UnixNanos};

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System { start: Instant },
    Manual { nanos: AtomicI64 },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Source::System { start: instant() }))
    }

    /// A clock that stands still until it is set.
    pub fn manual(time: UnixNanos) -> Self {
        Self(Arc::new(Source::Manual { nanos: AtomicI64::new(time.0) }))
    }

    /// The wall clock's time. May go backwards.
    pub fn now(&self) -> UnixNanos {
        match &*self.0 {
            Source::System { .. } => wall(),
            Source::Manual { nanos } => UnixNanos(nanos.load(Ordering::Relaxed)),
        }
    }

    /// The time since some fixed point. Never goes backwards (unless a test sets it back).
    pub fn elapsed(&self) -> Duration {
        match &*self.0 {
            Source::System { start } => instant().duration_since(*start),
            Source::Manual { .. } => self.now().since(UnixNanos(0)),
        }
    }

    /// This moment, to measure by and to tell.
    pub fn moment(&self) -> Moment {
        Moment { elapsed: self.elapsed(), wall: self.now() }
    }

    /// Sets a manual clock; a system clock stays as it is.
    pub fn set(&self, time: UnixNanos) {
        if let Source::Manual { nanos } = &*self.0 {
            nanos.store(time.0, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::System { .. } => f.write_str("Clock::System"),
            Source::Manual { nanos } => write!(f, "Clock::Manual({nanos:?})"),
        }
    }
}

/// The time since the machine's start without its sleep, which other processes of it tell alike
/// (`CLOCK_MONOTONIC`).
pub fn since_boot() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).try_into().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn wall() -> UnixNanos {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX))
}
