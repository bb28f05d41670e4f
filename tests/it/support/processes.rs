//! Other processes, started so that they keep no lock of ours.
//!
//! Between its fork and its exec a child holds all files of this process, locks on them included. A
//! server that starts in that moment on the directory of one that has just stopped would find it
//! still in use.

use std::{
    io,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Held while a child is started, and while a data directory is locked.
static FORKING: Mutex<()> = Mutex::new(());

/// Keeps children from being started while the guard lives.
pub fn while_nobody_forks() -> MutexGuard<'static, ()> {
    FORKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process; it has only its own files when this returns.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let _nobody_else = while_nobody_forks();
    command.spawn()
}
