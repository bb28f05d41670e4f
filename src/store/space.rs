//! How much of the disk is free, and what is refused when it is too little.
//!
//! Management is refused before checks are, so that an operator can still make room.

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

/// Percentages of the disk that must stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Below this, changes are refused.
    pub management_percent: u8,
    /// Below this, checks are refused too.
    pub check_percent: u8,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { management_percent: 5, check_percent: 1 }
    }
}

/// What of the disk is free, as last looked at.
#[derive(Debug)]
pub struct Space {
    path: PathBuf,
    reserve: Reserve,
    free_percent: AtomicU8,
    free_bytes: AtomicU64,
    size_bytes: AtomicU64,
}

/// The disk is fuller than its reserve allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{free_percent} % of the disk is free, {reserve_percent} % are kept in reserve")]
pub struct ReserveReached {
    /// What is free.
    pub free_percent: u8,
    /// What must stay free.
    pub reserve_percent: u8,
}

impl Space {
    /// Looks at the disk that holds `path`.
    pub fn new(path: PathBuf, reserve: Reserve) -> io::Result<Self> {
        let space = Self {
            path,
            reserve,
            free_percent: AtomicU8::new(100),
            free_bytes: AtomicU64::default(),
            size_bytes: AtomicU64::default(),
        };
        space.refresh()?;
        Ok(space)
    }

    /// Looks again.
    pub fn refresh(&self) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.path)?;
        let percent = disk.f_bavail.saturating_mul(100).checked_div(disk.f_blocks).unwrap_or(100);
        self.set_free_percent(u8::try_from(percent).unwrap_or(100));
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        self.free_bytes.store(bytes(disk.f_bavail), Ordering::Relaxed);
        self.size_bytes.store(bytes(disk.f_blocks), Ordering::Relaxed);
        Ok(())
    }

    /// How many bytes of the disk are free, and how many it has, as last looked at.
    pub fn bytes(&self) -> (u64, u64) {
        (self.free_bytes.load(Ordering::Relaxed), self.size_bytes.load(Ordering::Relaxed))
    }

    /// Notes what is free.
    pub fn set_free_percent(&self, percent: u8) {
        self.free_percent.store(percent, Ordering::Relaxed);
    }

    /// Whether a change may be written.
    pub fn admit_change(&self) -> Result<(), ReserveReached> {
        self.admit(self.reserve.management_percent)
    }

    /// Whether a decision may be written.
    pub fn admit_check(&self) -> Result<(), ReserveReached> {
        self.admit(self.reserve.check_percent)
    }

    fn admit(&self, reserve_percent: u8) -> Result<(), ReserveReached> {
        let free_percent = self.free_percent.load(Ordering::Relaxed);
        if free_percent < reserve_percent {
            Err(ReserveReached { free_percent, reserve_percent })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn management_is_refused_before_checks_are() {
        let space = Space::new("/".into(), Reserve::default()).unwrap();
        for (free, change, check) in
            [(5, true, true), (4, false, true), (1, false, true), (0, false, false)]
        {
            space.set_free_percent(free);
            assert_eq!(
                (space.admit_change().is_ok(), space.admit_check().is_ok()),
                (change, check)
            );
        }
    }
}
