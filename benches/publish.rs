//! What publishing a change costs with 100,000 access points, and whether checks notice.
//!
//! A change is judged, folded into the catalog and the rulebook (what holds it is compiled again),
//! and published: that is what the bar is for. Its append to the journal, the disk's share, is shown
//! apart. Meanwhile another thread checks in a loop, in slices with changes and without, in turns.
//!
//! ```text
//! cargo bench --bench publish               # 10 pairs of slices of 1 s
//! cargo bench --bench publish -- --short    # 4 pairs of 0.3 s
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/worlds.rs"]
mod worlds;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aap::{
    domain::{
        command::{Batch, Command, Request},
        decide::{Verdict, decide},
        limits::Limits,
        resource::Uid,
        rules::RulesVersion,
        time::UnixNanos,
    },
    projection::{Published, State},
    store::{journal::Journal, sled_journal::SledJournal},
};
use uuid::Uuid;

use histogram::Histogram;
use worlds::{Random, Shape, World};

const CHANGES: usize = 1_000;
/// What publishing a change that at most 10 others hold may take.
const BAR: Duration = Duration::from_millis(1);

/// Policies as a team has them: each rule is held by 10 policies, each policy by 10 access points.
const SHARED: Shape = Shape {
    accounts: 20,
    access_points: 100_000,
    policies: 10_000,
    rules: 3_000,
    rules_per_policy: 3,
    patterns: 5,
    addresses: 10,
};
/// The same, with as many rules and patterns as a policy may have.
const LARGE: Shape = Shape { rules: 40_000, rules_per_policy: 40, patterns: 30, ..SHARED };

fn main() {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let (pairs, slice) =
        if is_short { (4, Duration::from_millis(300)) } else { (10, Duration::from_secs(1)) };
    println!(
        "| world | change | judged | folded | published | in all, median | in all, p99 | disk, median |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    let mut misses = Vec::new();
    for (name, shape) in [("shared policies", SHARED), ("largest policies", LARGE)] {
        let mut writer = Writer::new(World(shape));
        for kind in [Kind::Rule, Kind::Policy, Kind::AccessPoint] {
            let row = writer.measure(kind);
            println!("| {name} | {} | {row} |", kind.name());
            if row.in_all.percentile(50.0) > BAR {
                misses.push(format!("{name}: {}", kind.name()));
            }
        }
        if shape.rules == SHARED.rules {
            readers(&mut writer, pairs, slice);
            println!();
        }
    }
    if misses.is_empty() {
        println!("\nall within {BAR:?}");
    } else {
        println!("\nNOT within {BAR:?}: {}", misses.join(", "));
    }
}

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rule,
    Policy,
    AccessPoint,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Rule => "a rule that 10 policies hold",
            Self::Policy => "a policy that 10 access points hold",
            Self::AccessPoint => "an access point",
        }
    }
}

/// What changes took.
struct Row {
    judged: Histogram,
    folded: Histogram,
    published: Histogram,
    in_all: Histogram,
    disk: Histogram,
}

impl Row {
    fn new() -> Self {
        let [judged, folded, published, in_all, disk] = [(); 5].map(|()| Histogram::new());
        Self { judged, folded, published, in_all, disk }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let median = |histogram: &Histogram| histogram.percentile(50.0);
        write!(
            f,
            "{:.1?} | {:.1?} | {:.1?} | {:.1?} | {:.1?} | {:.1?}",
            median(&self.judged),
            median(&self.folded),
            median(&self.published),
            median(&self.in_all),
            self.in_all.percentile(99.0),
            median(&self.disk)
        )
    }
}

/// Does what the journal's writer does, in its order.
struct Writer {
    world: World,
    state: State,
    published: Arc<Published>,
    journal: SledJournal,
    random: Random,
    asked: usize,
    _dir: tempfile::TempDir,
}

impl Writer {
    fn new(world: World) -> Self {
        let dir = tempfile::tempdir_in("target").unwrap();
        let journal = SledJournal::open(&dir.path().join("journal")).unwrap();
        let state = State::new(RulesVersion::CURRENT);
        let mut writer = Self {
            world,
            published: Arc::new(Published::new(state.clone())),
            state,
            journal,
            random: Random::new(2026),
            asked: 0,
            _dir: dir,
        };
        let mut events = Vec::new();
        for command in world.commands() {
            let batch = writer.batch(command);
            let Ok(Verdict::Happened(made)) = decide(&writer.state.catalog, &Limits::NONE, &batch)
            else {
                panic!("the world is made")
            };
            for event in &made {
                writer.state.evolve(event);
            }
            events.extend(made);
        }
        for events in events.chunks(1_000) {
            writer.journal.append(writer.journal.last(), events).unwrap();
        }
        writer.published.publish(writer.state.clone());
        writer
    }

    fn batch(&mut self, command: Command) -> Batch {
        self.asked += 1;
        Batch::from(Request {
            actor: "operator".into(),
            time: UnixNanos(self.asked as i64),
            uid: Uid(Uuid::from_u128(self.asked as u128)),
            mark: None,
            command,
        })
    }

    fn command(&mut self, kind: Kind) -> Command {
        let turn = self.asked;
        let Shape { rules, policies, access_points, .. } = self.world.0;
        match kind {
            Kind::Rule => self.world.update_rule(self.random.below(rules), turn),
            Kind::Policy => self.world.update_policy(self.random.below(policies), turn),
            Kind::AccessPoint => {
                self.world.describe_access_point(self.random.below(access_points), turn)
            }
        }
    }

    fn measure(&mut self, kind: Kind) -> Row {
        let mut row = Row::new();
        for _ in 0..CHANGES {
            self.change(kind, &mut row);
        }
        row
    }

    fn change(&mut self, kind: Kind, row: &mut Row) {
        let command = self.command(kind);
        let batch = self.batch(command);
        let durable_last = self.state.revision();
        let begin = Instant::now();
        let verdict = decide(&self.state.catalog, &Limits::NONE, &batch).unwrap();
        let judged = begin.elapsed();
        let Verdict::Happened(events) = verdict else { panic!("it happens") };
        let begin = Instant::now();
        for event in &events {
            self.state.evolve(event);
        }
        let folded = begin.elapsed();
        let begin = Instant::now();
        self.journal.append(durable_last, &events).unwrap();
        let disk = begin.elapsed();
        let begin = Instant::now();
        self.published.publish(self.state.clone());
        let published = begin.elapsed();
        row.judged.record(judged);
        row.folded.record(folded);
        row.published.record(published);
        row.in_all.record(judged + folded + published);
        row.disk.record(disk);
    }
}

const QUIET: u8 = 0;
const CHANGING: u8 = 1;
const OVER: u8 = 2;

/// Checks in a loop on a thread, in slices with changes and without.
fn readers(writer: &mut Writer, pairs: usize, slice: Duration) {
    let phase = Arc::new(AtomicU8::new(QUIET));
    let reader = {
        let (phase, published, world) =
            (Arc::clone(&phase), Arc::clone(&writer.published), writer.world);
        thread::spawn(move || check_in_a_loop(&phase, &published, &world))
    };
    let mut changes = 0;
    for _ in 0..pairs {
        phase.store(QUIET, Ordering::Relaxed);
        thread::sleep(slice);
        phase.store(CHANGING, Ordering::Relaxed);
        let begin = Instant::now();
        let mut row = Row::new();
        while begin.elapsed() < slice {
            let kind = [Kind::Rule, Kind::Policy, Kind::AccessPoint][changes % 3];
            writer.change(kind, &mut row);
            changes += 1;
        }
    }
    phase.store(OVER, Ordering::Relaxed);
    let [quiet, changing] = reader.join().unwrap();
    println!(
        "\na thread that checks in a loop, in {pairs} pairs of slices of {slice:?}, {changes} changes\n"
    );
    println!("| meanwhile | checks | p50 | p99 | p99.9 |");
    println!("|---|---:|---:|---:|---:|");
    for (name, told) in [("nothing is changed", quiet), ("changes are published", changing)] {
        println!(
            "| {name} | {} | {:?} | {:?} | {:?} |",
            told.total(),
            told.percentile(50.0),
            told.percentile(99.0),
            told.percentile(99.9)
        );
    }
}

fn check_in_a_loop(phase: &AtomicU8, published: &Published, world: &World) -> [Histogram; 2] {
    let mut random = Random::new(11);
    let questions: Vec<_> = (0..10_000).map(|_| world.question(&mut random)).collect();
    let mut told = [Histogram::new(), Histogram::new()];
    for question in questions.iter().cycle() {
        let check = question.check();
        let begin = Instant::now();
        black_box(published.load().rulebook.decide(&check));
        let took = begin.elapsed();
        match phase.load(Ordering::Relaxed) {
            OVER => break,
            current => told[usize::from(current)].record(took),
        }
    }
    told
}
