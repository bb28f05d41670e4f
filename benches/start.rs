//! Starts with a snapshot and without one, on a journal of a million events.
//!
//! The journal is made by the real store, in a temporary directory. A start is opening the data
//! directory and the journal, loading the state, and publishing it. Whatever it starts from, the
//! state must give the same answers to 100,000 random checks.
//!
//! ```text
//! cargo bench --bench start                     # 1,000,000 events, 100,000 access points
//! cargo bench --bench start -- --events 50000   # fewer, with a tenth as many access points
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/worlds.rs"]
mod worlds;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aap::{
    domain::{
        command::{Batch, Command, Request},
        decide::{Verdict, decide},
        decision::Decision,
        event::Event,
        limits::Limits,
        request::{Fingerprint, RequestId, RequestMark},
        resource::Uid,
        rules::RulesVersion,
        time::UnixNanos,
    },
    projection::{Published, State},
    store::{
        data_dir::{DataDir, Identity},
        journal::Journal,
        sled_journal::SledJournal,
        snapshot::{self, Snapshots},
        start::{self, Verification},
    },
};
use uuid::Uuid;

use worlds::{Random, Shape, World};

const EVENTS: usize = 1_000_000;
const CHECKS: usize = 100_000;
/// Between two changes: 86,400 of them are within a day.
const PAUSE_SECONDS: i64 = 1;
/// Every so many changes have a request id, so half of those of the last day are remembered.
const MARKED: usize = 2;
const TURNS: usize = 3;
/// What a start with a snapshot may take, with a million events.
const BAR: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let events = arguments.iter().position(|argument| argument == "--events");
    let events = events.map_or(EVENTS, |place| arguments[place + 1].parse().unwrap());
    // As the server does: the engine makes files at times of its own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let dir = tempfile::tempdir_in("target").unwrap();
    let path = dir.path().join("data");
    let world = World(Shape {
        accounts: 20,
        access_points: events / 10,
        policies: events / 100,
        rules: events / 500,
        rules_per_policy: 3,
        patterns: 5,
        addresses: 10,
    });
    let after_a_crash = events as u64 - (snapshot::DEFAULT_EVERY.get() - 1).min(events as u64 / 2);
    let mut maker = Maker::new(&path);
    maker.make(&world, events, after_a_crash);
    maker.report();
    let crashed = maker.crashed.take().unwrap();
    drop(maker);

    let mut table = Vec::new();
    write(&path, None);
    let (times, without) = start(&path);
    table.push(("without a snapshot", vec![times]));
    let mut last = None;
    for (name, of) in [
        ("with a snapshot of the last event (after a stop)", &without),
        ("with a snapshot as old as it gets (after a crash)", &crashed),
    ] {
        let took = write(&path, Some(of));
        println!("writing a snapshot of event {}: {:?}", of.revision(), took);
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            let (times, with) = start(&path);
            turns.push(times);
            last = Some(with);
        }
        compare(&world, &without, &last.take().unwrap());
        table.push((name, turns));
    }
    println!("\n{CHECKS} random checks are answered the same, whatever the start was from\n");
    show(table);
}

/// Shows the median of each start, and which miss the bar.
fn show(table: Vec<(&str, Vec<Times>)>) {
    println!("| start | journal opened | state loaded | published | in all (median) |");
    println!("|---|---:|---:|---:|---:|");
    let mut misses = Vec::new();
    for (name, mut turns) in table {
        turns.sort_by_key(Times::in_all);
        let median = &turns[turns.len() / 2];
        let Times { opened, loaded, published } = median;
        println!(
            "| {name} | {opened:.2?} | {loaded:.2?} | {published:.2?} | {:.2?} |",
            median.in_all()
        );
        if turns.len() == TURNS && median.in_all() > BAR {
            misses.push(name);
        }
    }
    if misses.is_empty() {
        println!("\nwith a snapshot: within {BAR:?}");
    } else {
        println!("\nNOT within {BAR:?}: {}", misses.join(", "));
    }
}

/// Makes the journal.
struct Maker {
    journal: SledJournal,
    state: State,
    waiting: Vec<Event>,
    asked: usize,
    /// The state at the time of a snapshot before a crash.
    crashed: Option<State>,
    _data_dir: DataDir,
}

impl Maker {
    fn new(path: &Path) -> Self {
        let data_dir = open_directory(path);
        let journal = SledJournal::open(&path.join("journal")).unwrap();
        let state = State::new(RulesVersion::CURRENT);
        Self { journal, state, waiting: Vec::new(), asked: 0, crashed: None, _data_dir: data_dir }
    }

    fn make(&mut self, world: &World, events: usize, crash: u64) {
        let begin = Instant::now();
        world.commands().for_each(|command| self.carry_out(command, crash));
        let mut random = Random::new(2026);
        let mut suspended = None;
        while self.state.revision() < events as u64 {
            let turn = self.asked;
            let command = match (random.below(100), suspended.take()) {
                (_, Some(number)) => Command::ResumeAccessPoint(world.target(number)),
                (0..2, _) => world.update_rule(random.below(world.0.rules), turn),
                (2..10, _) => world.update_policy(random.below(world.0.policies), turn),
                (10..13, _) => {
                    let number = random.below(world.0.access_points);
                    suspended = Some(number);
                    Command::SuspendAccessPoint(world.target(number))
                }
                (13..40, _) => world.update_access_point(random.below(world.0.access_points), turn),
                _ => world.describe_access_point(random.below(world.0.access_points), turn),
            };
            self.carry_out(command, crash);
        }
        self.append();
        println!("made a journal of {} events in {:.1?}", self.journal.last(), begin.elapsed());
    }

    fn carry_out(&mut self, command: Command, crash: u64) {
        self.asked += 1;
        let mark = RequestMark {
            id: RequestId::parse(&format!("request-{}", self.asked)).unwrap(),
            method: "ApplyChanges".into(),
            fingerprint: Fingerprint([3; 32]),
        };
        let request = Request {
            actor: "operator".into(),
            time: UnixNanos(0).plus_seconds(self.asked as i64 * PAUSE_SECONDS),
            uid: Uid(Uuid::from_u128(self.asked as u128)),
            mark: self.asked.is_multiple_of(MARKED).then_some(mark),
            command,
        };
        let verdict = decide(&self.state.catalog, &Limits::NONE, &Batch::from(request)).unwrap();
        let Verdict::Happened(events) = verdict else { panic!("it was answered before") };
        for event in events {
            self.state.evolve(&event);
            self.waiting.push(event);
        }
        if self.waiting.len() >= 1_000 {
            self.append();
        }
        if self.state.revision() == crash {
            self.crashed = Some(self.state.clone());
        }
    }

    fn append(&mut self) {
        self.journal.append(self.journal.last(), &self.waiting).unwrap();
        self.waiting.clear();
    }

    fn report(&self) {
        let requests = self
            .state
            .catalog
            .items()
            .filter(|item| matches!(item, aap::domain::catalog::inventory::Item::Request(_)));
        println!("{} request ids are remembered at its end", requests.count());
    }
}

fn open_directory(path: &Path) -> DataDir {
    let id = Uuid::from_u128(1);
    let identity = Identity { node_id: id, log_id: id, origin: "aap.local/bench".to_owned() };
    DataDir::open(path, &identity).unwrap()
}

/// Puts a snapshot of that state in the place of the one there is; tells how long it took.
fn write(path: &Path, state: Option<&State>) -> Duration {
    let data_dir = open_directory(path);
    let snapshots = Snapshots::of(&data_dir);
    snapshots.remove().unwrap();
    let Some(state) = state else { return Duration::ZERO };
    let journal = SledJournal::open(&path.join("journal")).unwrap();
    let begin = Instant::now();
    snapshots.write(state, journal.reader().as_ref()).unwrap();
    println!("it has {} bytes", std::fs::metadata(snapshots.path()).unwrap().len());
    begin.elapsed()
}

struct Times {
    opened: Duration,
    loaded: Duration,
    published: Duration,
}

impl Times {
    fn in_all(&self) -> Duration {
        self.opened + self.loaded + self.published
    }
}

fn start(path: &Path) -> (Times, State) {
    let begin = Instant::now();
    let data_dir = open_directory(path);
    let journal = SledJournal::open(&path.join("journal")).unwrap();
    let opened = begin.elapsed();
    let begin = Instant::now();
    let snapshots = Snapshots::of(&data_dir);
    let state = start::load(&journal, &snapshots, Verification::Quick).unwrap().state;
    let loaded = begin.elapsed();
    let begin = Instant::now();
    let published = Published::new(state.clone());
    assert_eq!(published.load().revision(), journal.last());
    (Times { opened, loaded, published: begin.elapsed() }, state)
}

/// Asserts that two states give the same answers.
fn compare(world: &World, one: &State, other: &State) {
    let mut random = Random::new(7);
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..CHECKS {
        let question = world.question(&mut random);
        let check = question.check();
        let (given, again) = (one.rulebook.decide(&check), other.rulebook.decide(&check));
        assert_eq!(given, again, "{question:?}");
        match given.decision {
            Decision::Allow(_) => allowed += 1,
            Decision::Deny(_) => denied += 1,
        }
    }
    assert!(allowed > CHECKS / 100 && denied > CHECKS / 100, "{allowed} allowed, {denied} denied");
    assert!(one.catalog.items().eq(other.catalog.items()), "the catalogs differ");
    println!("{allowed} checks allowed, {denied} denied");
}
