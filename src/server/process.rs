//! What the operating system knows of this process, as far as it tells.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use crate::telemetry::{
    cells::float,
    instruments::{CPU_TIME, MAX_FDS, MEMORY_USAGE, OPEN_FDS, THREADS},
    reading::Metric,
};

/// What it tells now. Where there is no `/proc`, that is little.
pub(super) fn read() -> Vec<Metric> {
    let mut metrics = Vec::new();
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse)
    {
        let seconds = |ticks: u64| float(ticks) / float(clock_ticks_per_second());
        let times = [("user", stat.user_ticks), ("system", stat.system_ticks)];
        let times = times.map(|(mode, ticks)| (vec![("cpu.mode", mode.into())], seconds(ticks)));
        metrics.push(Metric::by(&CPU_TIME, times));
        let bytes = stat.resident_pages.saturating_mul(u64::try_from(page_size()).unwrap_or(4_096));
        metrics.push(Metric::one(&MEMORY_USAGE, bytes));
        metrics.push(Metric::one(&THREADS, stat.threads));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Reading the directory has it open too.
        let count = u64::try_from(open.count()).unwrap_or(u64::MAX).saturating_sub(1);
        metrics.push(Metric::one(&OPEN_FDS, count));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        metrics.push(Metric::one(&MAX_FDS, limit));
    }
    metrics
}

/// What `/proc/self/stat` says, as `proc(5)` has it.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    user_ticks: u64,
    system_ticks: u64,
    threads: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name stands in parentheses and may have spaces and parentheses in it. What follows is
        // field 3 and on.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            threads: field(20)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_any_name_is_read() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 7 8 0 0 20 0 5 0 900 1000 33 \
                    18446744073709551615 1 1 0";
        let stat = Stat { user_ticks: 7, system_ticks: 8, threads: 5, resident_pages: 33 };
        assert_eq!(Stat::parse(line), Some(stat));
        for bad in ["", "42 (a) S 1", "no parenthesis"] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
    }
}
