//! What the log's tests stand on: a disk in memory that crashes and fails on demand, a log that runs
//! on it, and a model of what was acknowledged.
//!
//! It doesn't know how the log is laid out; it only knows files, names, and what a sync promises.

pub(crate) mod disk;
pub(crate) mod files;
pub(crate) mod model;

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    buffer::{Receipts, Wait},
    log::{AuditLog, OpenError, Opened, Options, Parts, RecordError, Recorded},
    record::{Call, Draft, EventDraft, PreviousStop},
    recovery::Damage,
    segment::{Content, Entry},
    tree::evidence,
};
use crate::{
    clock::Clock,
    domain::time::UnixNanos,
    store::space::{Reserve, Space},
};
use disk::Disk;

/// The log of all tests.
pub(crate) const LOG_ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// Numbers that depend on nothing but a seed (the generator `splitmix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What a test appends: small enough to write down, unique enough to be told from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) account: &'static str,
    /// Says which one it is; the rest is there for its size.
    pub(crate) method: String,
    pub(crate) user_agent: String,
}

/// A call refused in each account, and where nobody was authenticated.
pub(crate) const ACCOUNTS: [&str; 5] = ["", "acme", "beta", "gamma", "a-longer-account-name"];

impl Line {
    pub(crate) fn new(number: u64, random: &mut Random) -> Self {
        Self {
            account: ACCOUNTS[random.below(ACCOUNTS.len())],
            method: format!("/{number}"),
            user_agent: "u".repeat(random.below(200)),
        }
    }

    pub(crate) fn draft(&self) -> Draft<'_> {
        Draft {
            account: self.account,
            region: "",
            call: Call { user_agent: &self.user_agent, ..Call::default() },
            event: EventDraft::RefusedCall {
                method: &self.method,
                code: 7,
                reason: "",
                suppressed: 0,
            },
        }
    }
}

/// The draft of a stop.
pub(crate) fn stop() -> Draft<'static> {
    let event = EventDraft::ServerStop { revision: 7 };
    Draft { account: "", region: "", call: Call::default(), event }
}

/// A log on a disk, and a runtime that waits for it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) log: AuditLog,
    pub(crate) clock: Clock,
    pub(crate) previous_stop: PreviousStop,
    pub(crate) damage: Vec<Damage>,
    opened: Vec<std::thread::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

/// Options with segments that are full after a few dozen records.
pub(crate) fn small(segment_bytes: u64) -> Options {
    let stall = Duration::from_secs(2);
    Options { segment_bytes, buffer_bytes: 1 << 20, stall, ..Options::default() }
}

/// The same, with every batch synced while the next one is written.
pub(crate) fn overlapping(segment_bytes: u64) -> Options {
    Options { overlap_from: 0, ..small(segment_bytes) }
}

/// A clock that stands at some day.
pub(crate) fn clock() -> Clock {
    Clock::manual(UnixNanos(1_800_000_000_000_000_000))
}

/// A disk that is never full.
pub(crate) fn space() -> Arc<Space> {
    let space = Space::new("/".into(), Reserve::default()).unwrap();
    space.set_free_percent(100);
    Arc::new(space)
}

impl Running {
    pub(crate) fn open(disk: &Disk, options: Options) -> Result<Self, OpenError> {
        Self::open_at(disk, options, clock())
    }

    pub(crate) fn open_at(disk: &Disk, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let volume = Arc::new(disk.clone());
        Self::open_with(volume, None, options, clock)
    }

    /// With a tree, if there is to be one.
    pub(crate) fn open_with(
        volume: Arc<Disk>,
        evidence: Option<evidence::Parts>,
        options: Options,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let (folder, space, lanes, log_id) = ("audit".to_owned(), space(), 1, LOG_ID);
        let parts = {
            let clock = clock.clone();
            Parts { volume, log_id, folder, evidence, options, lanes, space, clock }
        };
        let Opened { log, previous_stop, damage, lost: _, threads } = AuditLog::open(parts)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(log.clone().serve_lane(0));
        Ok(Self { log, clock, previous_stop, damage, opened: threads, runtime })
    }

    /// Appends without waiting.
    pub(crate) fn append(&self, lines: &[Line]) -> Result<Wait, RecordError> {
        self.log.append(0, lines.iter().map(Line::draft))
    }

    pub(crate) fn wait(&self, wait: Wait) -> Recorded {
        self.runtime.block_on(wait)
    }

    /// Appends one record and waits for it.
    pub(crate) fn record(&self, draft: Draft<'_>) -> Result<Receipts, RecordError> {
        Ok(self.wait(self.log.append(0, [draft])?)?)
    }

    /// All that can be read from a record on, in pieces of about this size.
    pub(crate) fn follow(&self, from: u64, max_bytes: usize) -> Vec<Entry> {
        let mut follower = self.log.follow(from);
        let mut entries = Vec::new();
        loop {
            let more = follower.read(max_bytes).unwrap();
            if more.is_empty() {
                return entries;
            }
            entries.extend(more);
        }
    }

    /// All records, which must be whole.
    pub(crate) fn records(&self) -> Vec<bytes::Bytes> {
        let entries = self.follow(1, 64 * 1_024);
        let whole = entries.into_iter().map(|entry| match entry.content {
            Content::Record(bytes) => bytes,
            damaged @ Content::Damaged { .. } => panic!("{}: {damaged:?}", entry.sequence),
        });
        whole.collect()
    }

    /// Ends it in good order, without a record of that.
    pub(crate) fn close(self) {
        self.log.close();
        for thread in self.opened {
            thread.join().unwrap();
        }
    }
}
