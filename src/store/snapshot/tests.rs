//! A snapshot gives what the journal gives, or it is dropped by name and the journal is folded.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tempfile::TempDir;
use uuid::Uuid;

use super::{FILE, FORMAT, Flaw, NEW_FILE, Origin, Snapshots, read, write};
use crate::{
    domain::{
        catalog::{Catalog, REQUEST_MEMORY},
        command::Request,
        request::{Fingerprint, RequestId, RequestMark},
        rules::RulesVersion,
        testing::{
            World, answer, create_network_rule,
            histories::{AnyQuestion, any_history, any_question},
        },
        time::UnixNanos,
    },
    projection::State,
    store::{
        data_dir::{DataDir, Identity},
        journal::Journal,
        sled_journal::SledJournal,
        start::{self, Loaded, Verification},
    },
};

/// Between two requests of the tests' worlds: so that most of them are forgotten at the end.
const PAUSE: Duration = Duration::from_mins(10);

/// Lets random requests be asked, with ids that are taken over and forgotten, until so much has
/// happened.
fn random_world(runner: &mut TestRunner, event_count: usize) -> World {
    let mut world = World::given([]);
    let mut asked = 0;
    while world.events.len() < event_count {
        for command in any_history().new_tree(runner).unwrap().current() {
            asked += 1;
            let mark = RequestMark {
                id: RequestId::parse(&format!("id-{}", asked % 201)).unwrap(),
                method: if asked % 3 == 0 { "Create" } else { "Update" }.into(),
                fingerprint: Fingerprint([u8::try_from(asked % 7).unwrap(); 32]),
            };
            let time = UnixNanos(i64::try_from(PAUSE.as_nanos()).unwrap() * asked);
            let mark = (asked % 5 > 0).then_some(mark);
            let _ = world.ask(&Request { time, mark, ..world.request(command) });
        }
    }
    world
}

fn runner() -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(Config::default(), rng)
}

fn sampled<S: Strategy>(runner: &mut TestRunner, strategy: &S, count: usize) -> Vec<S::Value> {
    (0..count).map(|_| strategy.new_tree(runner).unwrap().current()).collect()
}

/// A data directory with a journal, and the state that it gives.
struct Place {
    dir: TempDir,
    data_dir: DataDir,
    journal: SledJournal,
    state: State,
}

impl Place {
    fn of(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(1);
        let identity = Identity { node_id: id, log_id: id, origin: "aap.test".to_owned() };
        let data_dir = DataDir::open(&dir.path().join("data"), &identity).unwrap();
        let mut journal = SledJournal::open(&data_dir.path().join("journal")).unwrap();
        for events in world.events.chunks(256) {
            journal.append(journal.last(), events).unwrap();
        }
        let mut place = Self { dir, data_dir, journal, state: State::new(RulesVersion::CURRENT) };
        place.state = place.replayed(u64::MAX);
        place
    }

    fn replayed(&self, last: u64) -> State {
        start::replay(&self.journal, State::new(RulesVersion::CURRENT), last).unwrap()
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::of(&self.data_dir)
    }

    fn file(&self) -> std::path::PathBuf {
        self.data_dir.path().join(FILE)
    }

    /// Writes a snapshot of the state as of a revision.
    fn write(&self, revision: u64) {
        self.snapshots().write(&self.replayed(revision), self.journal.reader().as_ref()).unwrap();
    }

    /// What reading the snapshot comes to; the flaw in words.
    fn read(&self) -> Result<Option<State>, String> {
        let reader = self.journal.reader();
        let read =
            self.snapshots().read(reader.as_ref(), self.journal.last(), RulesVersion::CURRENT);
        read.map_err(|flaw| flaw.to_string())
    }

    fn load(&self, verification: Verification) -> Loaded {
        start::load(&self.journal, &self.snapshots(), verification).unwrap()
    }

    /// Asserts that a start succeeds in spite of the snapshot, which is gone then.
    #[track_caller]
    fn assert_dropped(&self, verification: Verification, case: &str) {
        let loaded = self.load(verification);
        assert_eq!(loaded.snapshot_revision, 0, "{case}");
        assert_same(&loaded.state.catalog, &self.state.catalog);
        assert!(!self.file().exists(), "{case}");
    }
}

fn write_to(path: &Path, state: &State) {
    write::write(path, &origin(state.revision()), &state.catalog).unwrap();
}

fn origin(revision: u64) -> Origin {
    let node_id = Uuid::from_u128(1);
    Origin { node_id, version: RulesVersion::CURRENT, revision, last_event: [0; 32] }
}

fn read_from(path: &Path) -> Result<State, Flaw> {
    read::read(File::open(path).unwrap(), |_| Ok(()))
}

#[track_caller]
fn assert_same(one: &Catalog, other: &Catalog) {
    assert_eq!(one.revision(), other.revision());
    assert!(one.items().eq(other.items()), "the catalogs differ");
}

#[track_caller]
fn assert_same_answers(one: &State, other: &State, questions: &[AnyQuestion]) {
    for question in questions.iter().map(AnyQuestion::ask) {
        let (given, again) = (answer(&one.rulebook, &question), answer(&other.rulebook, &question));
        assert_eq!(given, again, "{question:?}");
    }
}

#[test]
fn ten_thousand_checks_are_answered_the_same_with_a_snapshot_and_without() {
    let mut runner = runner();
    let place = Place::of(&random_world(&mut runner, 3_000));
    let questions = sampled(&mut runner, &any_question(), 10_000);
    let last = place.journal.last();
    for revision in [last, last / 2, 1, 0] {
        place.write(revision);
        let with = place.load(Verification::Quick);
        assert_eq!(with.snapshot_revision, revision);
        assert_same(&with.state.catalog, &place.state.catalog);
        assert_same_answers(&with.state, &place.state, &questions);
        let full = place.load(Verification::Full);
        assert_eq!(full.snapshot_revision, revision);
        assert_same(&full.state.catalog, &place.state.catalog);
    }
    place.snapshots().remove().unwrap();
    let without = place.load(Verification::Quick);
    assert_eq!(without.snapshot_revision, 0);
    assert_same_answers(&without.state, &place.state, &questions);
}

#[test]
fn whatever_happens_after_a_snapshot_happens_as_it_would_without_it() {
    let mut runner = runner();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let world = random_world(&mut runner, 600);
    let mut folded = State::new(RulesVersion::CURRENT);
    let mut restarted = folded.clone();
    for (number, event) in world.events.iter().enumerate() {
        if number % 20 == 0 {
            write_to(&path, &restarted);
            restarted = read_from(&path).unwrap();
        }
        folded.evolve(event);
        restarted.evolve(event);
        assert_same(&folded.catalog, &restarted.catalog);
    }
    let questions = sampled(&mut runner, &any_question(), 500);
    assert_same_answers(&folded, &restarted, &questions);
}

#[test]
fn request_ids_are_remembered_and_forgotten_as_if_there_had_been_no_restart() {
    let mut world = World::given([]);
    let mark = |id: &str| RequestMark {
        id: RequestId::parse(id).unwrap(),
        method: "CreateNetworkRule".into(),
        fingerprint: Fingerprint([1; 32]),
    };
    let begin = UnixNanos(1_000);
    for (name, time) in [("a", begin), ("b", begin.plus_seconds(3_600))] {
        let command = create_network_rule(name, "public", "10.0.0.0/8");
        let request = Request { time, mark: Some(mark(name)), ..world.request(command) };
        world.ask(&request).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let (catalog, rulebook) = (world.catalog.clone(), world.rulebook.clone());
    write_to(&path, &State { catalog, rulebook });
    let restarted = read_from(&path).unwrap().catalog;
    let (actor, account) = ("operator".into(), world.events[0].change.account().clone());
    let day = i64::try_from(REQUEST_MEMORY.as_secs()).unwrap();
    for (seconds, a, b) in [(0, true, true), (day - 1, true, true), (day, false, true)] {
        let time = begin.plus_seconds(seconds);
        for (name, known) in [("a", a), ("b", b)] {
            for catalog in [&world.catalog, &restarted] {
                let answered = catalog.answered(time, &actor, &account, &mark(name));
                assert_eq!(answered.is_some(), known, "{name} after {seconds} s");
            }
        }
    }
    assert_eq!(
        restarted.answered(begin, &actor, &account, &mark("b")),
        world.catalog.answered(begin, &actor, &account, &mark("b"))
    );
}

#[test]
fn a_byte_flipped_or_cut_off_anywhere_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let world = random_world(&mut runner(), 30);
    write_to(&path, &State { catalog: world.catalog, rulebook: world.rulebook });
    let whole = fs::read(&path).unwrap();
    assert!(read_from(&path).is_ok());
    // A prime, so that every part of every kind of field has its turn.
    for place in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(&path, flipped).unwrap();
        assert!(read_from(&path).is_err(), "byte {place} of {}", whole.len());
    }
    for length in (0..whole.len()).step_by(11) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(read_from(&path).is_err(), "{length} of {} bytes", whole.len());
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert!(read_from(&path).is_err(), "one byte more");
}

#[test]
fn frames_that_are_left_out_doubled_or_in_another_order_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    // Large rules, for several frames.
    let mut world = World::given([]);
    let addresses = (0..800).map(|n| format!("2001:db8::{n:x}")).collect::<Vec<_>>().join(" ");
    for number in 0..80 {
        world.carry_out(create_network_rule(&format!("n{number}"), "public", &addresses));
    }
    write_to(&path, &State { catalog: world.catalog, rulebook: world.rulebook });
    let whole = fs::read(&path).unwrap();
    let mut frames = Vec::new();
    let mut rest = &whole[8..];
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap());
        let (frame, behind) = rest.split_at(8 + usize::try_from(length).unwrap());
        frames.push(frame);
        rest = behind;
    }
    assert!(frames.len() >= 4, "{} frames", frames.len());
    let last = frames.len() - 1;
    let orders: [Vec<usize>; 6] = [
        (1..=last).collect(),
        (0..last).collect(),
        (0..=last).filter(|place| *place != 2).collect(),
        (0..=last).chain([1]).collect(),
        [0, 2, 1].into_iter().chain(3..=last).collect(),
        vec![0, last],
    ];
    for order in orders {
        let pieces = order.iter().map(|place| frames[*place]);
        let bytes: Vec<_> = [&whole[..8]].into_iter().chain(pieces).flatten().copied().collect();
        fs::write(&path, bytes).unwrap();
        assert!(read_from(&path).is_err(), "{order:?}");
    }
}

#[test]
fn a_snapshot_that_is_damaged_foreign_or_newer_is_named_and_the_start_succeeds() {
    let place = Place::of(&random_world(&mut runner(), 100));
    let last = place.journal.last();
    let event = |revision| super::digest_of_event(place.journal.reader().as_ref(), revision);
    let right = Origin { last_event: event(last).unwrap(), ..origin(last) };
    let state = &place.state.catalog;
    let written = |origin: &Origin| write::write(&place.file(), origin, state).unwrap();
    let cases: [(&str, &dyn Fn(), String); 7] = [
        (
            "of another node",
            &|| written(&Origin { node_id: Uuid::from_u128(2), ..right.clone() }),
            format!("it belongs to node {}", Uuid::from_u128(2)),
        ),
        (
            "newer than the journal",
            &|| written(&Origin { revision: last + 1, ..right.clone() }),
            format!("it ends with event {}, but the journal ends with event {last}", last + 1),
        ),
        (
            "of another journal",
            &|| written(&Origin { last_event: event(1).unwrap(), ..right.clone() }),
            format!("event {last}, with which it ends, is another one in this journal"),
        ),
        (
            "of another format",
            &|| rewrite_header(&place.file(), &right, state, |header| header.format = FORMAT + 1),
            format!("it has format {}; this version reads format {FORMAT}", FORMAT + 1),
        ),
        (
            "of other rules",
            &|| rewrite_header(&place.file(), &right, state, |header| header.rules_version = 99),
            "it is of rules version 99, not 1".to_owned(),
        ),
        (
            "damaged",
            &|| fs::write(place.file(), b"AAPSNAP\n\x01").unwrap(),
            "it is damaged at byte 8: it ends within a frame".to_owned(),
        ),
        (
            "something else",
            &|| fs::write(place.file(), b"").unwrap(),
            "it is damaged at byte 0: it doesn't begin as a snapshot".to_owned(),
        ),
    ];
    for (case, make, flaw) in cases {
        for verification in [Verification::Quick, Verification::Full] {
            make();
            assert_eq!(place.read().unwrap_err(), flaw, "{case}");
            place.assert_dropped(verification, case);
        }
    }
    written(&right);
    assert_eq!(place.load(Verification::Full).snapshot_revision, last);
}

/// Writes a snapshot with another header than it should have.
fn rewrite_header(
    path: &Path,
    origin: &Origin,
    catalog: &Catalog,
    change: impl FnOnce(&mut crate::store::pb::SnapshotHeader),
) {
    let mut header = write::header(origin);
    change(&mut header);
    write::write_with(path, header, catalog).unwrap();
}

#[test]
fn a_snapshot_of_another_state_is_found_by_a_full_verification() {
    let mut runner = runner();
    let place = Place::of(&random_world(&mut runner, 100));
    let last = place.journal.last();
    let last_event = super::digest_of_event(place.journal.reader().as_ref(), last).unwrap();
    let other = place.replayed(last - 20).catalog;
    let written =
        || write::write(&place.file(), &Origin { last_event, ..origin(last) }, &other).unwrap();
    written();
    assert_eq!(place.load(Verification::Quick).snapshot_revision, last);
    written();
    place.assert_dropped(Verification::Full, "it says something else than the journal");
}

#[test]
fn the_old_snapshot_stays_until_the_new_one_is_whole_and_both_are_closed_to_others() {
    let place = Place::of(&random_world(&mut runner(), 100));
    place.write(50);
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A new one can't even be begun where something else is.
    let new = place.data_dir.path().join(NEW_FILE);
    fs::create_dir(&new).unwrap();
    let reader = place.journal.reader();
    assert!(place.snapshots().write(&place.state, reader.as_ref()).is_err());
    assert_eq!(place.read().unwrap().unwrap().revision(), 50);
    fs::remove_dir(&new).unwrap();
    // What a killed process left half written is of no use to anybody.
    fs::write(&new, b"AAPSNAP\nhalf").unwrap();
    assert_eq!(place.read().unwrap().unwrap().revision(), 50);
    place.write(60);
    assert_eq!(place.read().unwrap().unwrap().revision(), 60);
    assert!(!new.exists());
    assert!(place.dir.path().exists());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_state_reads_back_as_it_was(
        history in any_history(),
        questions in prop::collection::vec(any_question(), 40),
    ) {
        let mut world = World::given([]);
        for command in history {
            world.step(command);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let state = State { catalog: world.catalog, rulebook: world.rulebook };
        write_to(&path, &state);
        let read = read_from(&path).unwrap();
        assert_same(&read.catalog, &state.catalog);
        prop_assert_eq!(read.rulebook.revision(), state.rulebook.revision());
        assert_same_answers(&read, &state, &questions);
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, [&super::frame::MAGIC[..], &bytes].concat()).unwrap();
        prop_assert!(read_from(&path).is_err());
    }
}
