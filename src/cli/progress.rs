//! How far something is that takes longer than a person likes to wait: one line on a terminal, which is
//! gone when it is done. A script sees nothing of it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crate::clock::Clock;

/// What is over sooner needs no line.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is written again.
const TICK: Duration = Duration::from_millis(200);

/// A line that says how far something is.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    clock: Clock,
    is_terminal: bool,
    /// When the line is to be written next.
    next: Duration,
    is_shown: bool,
}

impl Progress {
    /// Begins something.
    pub(super) fn begin(what: &'static str) -> Self {
        let clock = Clock::system();
        let next = clock.elapsed() + PATIENCE;
        Self { what, next, clock, is_terminal: io::stderr().is_terminal(), is_shown: false }
    }

    /// So many bytes are done, of so many if that is known.
    pub(super) fn reach(&mut self, done: u64, total: Option<u64>) {
        if !self.is_terminal || self.clock.elapsed() < self.next {
            return;
        }
        self.next = self.clock.elapsed() + TICK;
        self.is_shown = true;
        let (what, bytes) = (self.what, shown_bytes(done));
        let of = match total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = u128::from(done) * 100 / u128::from(total);
                format!("{percent:>3} % of {}", shown_bytes(total))
            }
            None => bytes,
        };
        // Nobody needs it who doesn't see it.
        let _ = write!(io::stderr(), "\r\u{1b}[K{what}: {of}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// A number of bytes as people say it.
pub(super) fn shown_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    // In tenths of the unit.
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) / 1_024, "KiB");
    for next in UNITS.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1_024, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_as_people_say_them() {
        for (bytes, wanted) in [
            (0, "0 bytes"),
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64.0 MiB"),
            ((1 << 40) - 1, "1023.9 GiB"),
            (1 << 40, "1.0 TiB"),
        ] {
            assert_eq!(shown_bytes(bytes), wanted);
        }
    }
}
