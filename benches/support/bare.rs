//! The disk alone: synced writes into a file that is filled with zeros before, as the audit log has
//! its segments.

#![allow(clippy::disallowed_methods, reason = "bench code: the clock is what it is for")]

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use super::load::Histogram;

const FILE: usize = 64 * 1_024 * 1_024;

/// Appends so many bytes and syncs them, one time after the other.
pub(crate) fn appends(directory: &Path, bytes: usize, duration: Duration) -> Histogram {
    let mut file: File = tempfile::tempfile_in(directory).unwrap();
    file.write_all(&vec![0; FILE]).unwrap();
    file.sync_all().unwrap();
    let block = vec![7; bytes];
    let mut histogram = Histogram::new();
    let began = Instant::now();
    let mut place = FILE;
    while began.elapsed() < duration {
        if place + bytes > FILE {
            file.seek(SeekFrom::Start(0)).unwrap();
            place = 0;
        }
        let before = Instant::now();
        file.write_all(&block).unwrap();
        file.sync_data().unwrap();
        histogram.record(before.elapsed());
        place += bytes;
    }
    histogram
}
