//! The audit log alone, without gRPC: records appended and awaited until they are on disk, by few
//! and by many at once, beside a bare file that is written and synced for each record.
//!
//! ```text
//! cargo bench --bench append               # 10 pairs of 1 s for each number of waiters
//! cargo bench --bench append -- --short    # 10 pairs of 0.2 s
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/load.rs"]
mod load;
#[path = "support/pairing.rs"]
mod pairing;

use std::{
    cell::RefCell,
    fs,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use aap::{
    audit::{
        log::{AuditLog, Opened, Options, Parts},
        record::{Call, Draft, EventDraft},
    },
    clock::Clock,
    server::Stores,
    store::space::{Reserve, Space},
};
use tokio::{runtime::Runtime, task::LocalSet};

use load::Histogram;

/// How many wait for their records at once.
const WAITERS: [usize; 4] = [1, 16, 64, 256];
/// How many bytes a record has, about: as many as a check's.
const RECORD: usize = 512;
/// What makes it so long.
const USER_AGENT: &str = "an agent whose name is as long as the fields that a record of a check has \
    besides those that every record has, among them the access point and its uid, the action, the \
    resource, the instance, the origin, the outcome, the policy, and the rule that let it pass; so \
    it goes";

fn main() {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let slice = Duration::from_millis(if is_short { 200 } else { 1_000 });
    let directory = tempfile::tempdir_in("target").unwrap();
    let bench = Bench::open(&directory.path().join("data"));
    println!("records of about {RECORD} bytes, 10 pairs of {slice:?}\n\n{}", pairing::HEADER);
    let mut rows = Vec::new();
    for waiters in WAITERS {
        let mut latency = Histogram::new();
        let (mut records, mut busy, mut time) = (0, Duration::ZERO, Duration::ZERO);
        let batches = bench.batches();
        let mut append = |slice| {
            let (before, began) = (writer_time(), Instant::now());
            let count = bench.append(waiters, slice, &mut latency);
            let took = began.elapsed();
            records += count;
            busy += writer_time().saturating_sub(before);
            time += took;
            count as f64 / took.as_secs_f64()
        };
        let name = format!("{waiters} waiting : one bare write and sync a record");
        let mut bare = |slice| {
            let histogram = bare::appends(directory.path(), RECORD, slice);
            histogram.total() as f64 / slice.as_secs_f64()
        };
        println!("{}", pairing::compare(&name, 10, slice, &mut append, &mut bare));
        let batches = bench.batches() - batches;
        rows.push((waiters, latency, records as f64 / batches as f64, busy.div_duration_f64(time)));
    }
    println!("\n| waiting | p50 | p99 | records a sync | the writer's share of a core |");
    println!("|---:|---:|---:|---:|---:|");
    for (waiters, latency, each, share) in rows {
        let millis = |percent| latency.percentile(percent).as_secs_f64() * 1e3;
        let (p50, p99, share) = (millis(50.0), millis(99.0), share * 100.0);
        println!("| {waiters} | {p50:.3} ms | {p99:.3} ms | {each:.1} | {share:.0} % |");
    }
    bench.close();
}

struct Bench {
    opened: Opened,
    runtime: Runtime,
    local: LocalSet,
    /// Holds the lock on the directory.
    _stores: Box<dyn std::any::Any>,
}

impl Bench {
    fn open(path: &Path) -> Self {
        let Stores { data_dir, journal, volume, evidence, .. } =
            Stores::open(path, "aap.local/bench").unwrap();
        let reserve = Reserve { management_percent: 0, check_percent: 0 };
        let opened = AuditLog::open(Parts {
            volume,
            log_id: data_dir.identity().log_id,
            folder: "audit".to_owned(),
            evidence,
            options: Options::default(),
            lanes: 1,
            space: Arc::new(Space::new(path.to_owned(), reserve).unwrap()),
            clock: Clock::system(),
        })
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.spawn_local(opened.log.clone().serve_lane(0));
        Self { opened, runtime, local, _stores: Box::new((data_dir, journal)) }
    }

    /// So many append one record after the other, each once the one before is on disk. Says how many
    /// that were.
    fn append(&self, waiters: usize, slice: Duration, latency: &mut Histogram) -> u64 {
        let began = Instant::now();
        let took = Rc::new(RefCell::new(std::mem::replace(latency, Histogram::new())));
        let before = took.borrow().total();
        self.local.block_on(&self.runtime, async {
            let waiting: Vec<_> = (0..waiters)
                .map(|_| {
                    let (log, took) = (self.opened.log.clone(), Rc::clone(&took));
                    tokio::task::spawn_local(async move {
                        while began.elapsed() < slice {
                            let asked = Instant::now();
                            log.append(0, [draft()]).unwrap().await.unwrap();
                            took.borrow_mut().record(asked.elapsed());
                        }
                    })
                })
                .collect();
            for waiter in waiting {
                waiter.await.unwrap();
            }
        });
        *latency = took.replace(Histogram::new());
        latency.total() - before
    }

    /// How many batches were synced until now.
    fn batches(&self) -> u64 {
        self.opened.log.meters().batches.read().count()
    }

    fn close(self) {
        self.opened.log.close();
        for thread in self.opened.threads {
            thread.join().unwrap();
        }
    }
}

fn draft() -> Draft<'static> {
    Draft {
        account: "acme",
        region: "eu-1",
        call: Call { caller: "gateway", user_agent: USER_AGENT, ..Call::default() },
        event: EventDraft::RefusedCall {
            method: "/aap.v1.AuthorizationService/CheckAccess",
            code: 7,
            reason: "ACCOUNT_NOT_BOUND",
            suppressed: 0,
        },
    }
}

/// How long the log's writer has been on a processor until now.
fn writer_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let name = |path: &Path| fs::read_to_string(path.join("comm")).unwrap_or_default();
    let writer = threads.into_iter().find(|path| name(path).trim() == "audit-writer").unwrap();
    let nanos = fs::read_to_string(writer.join("schedstat")).unwrap();
    Duration::from_nanos(nanos.split(' ').next().unwrap().parse().unwrap())
}
