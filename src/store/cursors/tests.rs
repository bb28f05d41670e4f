//! What the store of cursors promises: what was answered is there after a restart, what is damaged is
//! named, and nothing is shown or answered before it is on disk.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::runtime::Builder;
use uuid::Uuid;

use super::{
    keeper::{self, Acknowledgement, CursorKeeper, KeeperError, LeaseEnd},
    tree::{Change, CursorStore, CursorTree, Loaded},
};
use crate::{
    clock::Clock,
    domain::{
        audit_cursor::{
            AuditCursor, Begin, Created, CursorLimits, Definition, LeaseToken, Missed, Progress,
            Sent,
        },
        audit_filter::AuditFilter,
        name::{AuditCursorName, AuditCursorParent, Id},
        request::{Fingerprint, RequestId, RequestMark},
        resource::Uid,
        testing::{World, create_network_rule},
        time::UnixNanos,
    },
    store::{
        codec::audit_cursor as codec,
        inspection::JournalCopy,
        journal::Journal as _,
        parts::MAX_VALUE_BYTES,
        sled_journal::SledJournal,
        space::{Reserve, Space},
        testing::check_golden,
        writer::{JournalCondition, Mode},
    },
};

const LOG: Uuid = Uuid::from_u128(0x1111);
const NOW: UnixNanos = UnixNanos(1_795_458_000_123_456_789);

fn name(text: &str) -> AuditCursorName {
    AuditCursorName::parse(text).unwrap()
}

fn small(text: &str) -> AuditCursor {
    let definition = Definition {
        name: name(text),
        uid: Uid(Uuid::from_u128(0x2222)),
        create_time: NOW,
        creator: "eyes".into(),
        mark: None,
        filter: AuditFilter::default(),
        start: 11,
    };
    AuditCursor { definition: Arc::new(definition), progress: Progress::before(LOG, 11) }
}

/// A cursor with everything that one can have.
fn full(text: &str) -> AuditCursor {
    let mut filter = AuditFilter {
        accounts: vec![Id::parse("acme").unwrap()],
        access_points: vec!["accounts/acme/regions/eu-1/accessPoints/app".into()],
        actions: vec!["GetSecretValue".into()],
        resource_prefixes: vec!["secret/".into(), "key/a".into()],
        ..AuditFilter::default()
    };
    for numbers in [&mut filter.kinds, &mut filter.outcomes, &mut filter.reasons] {
        numbers.add(1).unwrap();
        numbers.add(63).unwrap();
    }
    let mark = RequestMark {
        id: RequestId::parse("0b9e-42").unwrap(),
        method: "CreateAuditCursor".into(),
        fingerprint: Fingerprint([0xf7; 32]),
    };
    let definition = Definition { filter, mark: Some(mark), ..(*small(text).definition).clone() };
    AuditCursor { definition: Arc::new(definition), progress: far() }
}

fn far() -> Progress {
    let missed = |from, through| Missed { log_id: LOG, from, through };
    Progress {
        log_id: LOG,
        through: 70_000,
        time: Some(NOW),
        missed: vec![missed(11, Some(40)), missed(99, None)],
        missed_count: 30,
    }
}

/// Opens what there is in a directory.
fn open(path: &Path) -> (SledJournal, Loaded) {
    let journal = SledJournal::open(path).unwrap();
    let loaded = journal.cursors().unwrap().load().unwrap();
    (journal, loaded)
}

#[test]
fn what_was_written_is_there_after_opening_anew_beside_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::given([]);
    world.carry_out(create_network_rule("n", "public", "10.0.0.0/8"));
    // As an older version leaves it.
    let mut journal = SledJournal::open(dir.path()).unwrap();
    journal.append(0, &world.events).unwrap();
    drop(journal);
    let (journal, loaded) = open(dir.path());
    assert!(loaded.cursors.is_empty() && loaded.damaged.is_empty());
    let mut tree = journal.cursors().unwrap();
    let (one, two) = (small("auditCursors/one"), full("accounts/acme/auditCursors/two"));
    let three = small("accounts/acme/auditCursors/three");
    let all = [&one, &two, &three].map(|cursor| Change::Create(cursor.clone()));
    tree.write(&all).unwrap();
    drop((tree, journal));
    let (journal, loaded) = open(dir.path());
    assert_eq!(loaded.cursors, [three.clone(), two.clone(), one.clone()]);
    let mut tree = journal.cursors().unwrap();
    let changes = [
        Change::Advance(name("auditCursors/one"), Progress::before(LOG, 90)),
        Change::Delete(name("accounts/acme/auditCursors/two")),
        Change::Delete(name("accounts/acme/auditCursors/three")),
        // In the same batch, a name is given anew.
        Change::Create(three.clone()),
        Change::Advance(name("auditCursors/one"), far()),
    ];
    tree.write(&changes).unwrap();
    drop((tree, journal));
    let (journal, loaded) = open(dir.path());
    assert_eq!(loaded.cursors, [three, AuditCursor { progress: far(), ..one }]);
    assert_eq!(journal.read(1, 9).unwrap(), world.events);
}

#[test]
fn a_damaged_cursor_is_named_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let mut tree = journal.cursors().unwrap();
    let (one, two) = (small("auditCursors/one"), full("auditCursors/two"));
    tree.write(&[Change::Create(one.clone()), Change::Create(two.clone())]).unwrap();
    let rows: Vec<_> =
        tree.rows().into_iter().filter(|(key, _)| key.starts_with(b"auditCursors/two")).collect();
    assert_eq!(rows.len(), 2);
    let told = |wanted: &str| {
        let Loaded { cursors, damaged, strays } = tree.load().unwrap();
        assert!(strays.is_empty(), "{strays:?}");
        let told: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        assert_eq!((&cursors[..], told.len()), (&[one.clone()][..], 1), "{wanted}: {told:?}");
        assert!(told[0].starts_with("audit cursor `auditCursors/two` is damaged: "), "{told:?}");
        assert!(told[0].contains(wanted), "{told:?}");
    };
    for (key, value) in &rows {
        for place in 0..value.len() {
            let mut flipped = value.clone();
            flipped[place] ^= 1;
            tree.overwrite(key, Some(flipped));
            told("checksum");
            tree.overwrite(key, Some(value[..place].to_vec()));
            told(if place < 4 { "too short" } else { "checksum" });
        }
        tree.overwrite(key, None);
        told("missing");
        // What is another's row is damage, though it is whole.
        let other =
            tree.rows().into_iter().find(|(other, _)| other.ends_with(&key[key.len() - 2..]));
        tree.overwrite(key, Some(other.unwrap().1));
        told("checksum");
        tree.overwrite(key, Some(value.clone()));
    }
    assert_eq!(tree.load().unwrap().cursors, [one, two]);
}

#[test]
fn a_row_that_means_nothing_is_named_and_goes_with_what_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let mut tree = journal.cursors().unwrap();
    let (one, two) = (small("auditCursors/one"), full("auditCursors/two"));
    // Its name begins like another's.
    let longer = small("auditCursors/one-more");
    let create = |cursor: &AuditCursor| Change::Create(cursor.clone());
    tree.write(&[&one, &two, &longer].map(create)).unwrap();
    let keys: [&[u8]; 5] = [
        b"auditCursors/one\0\x07",
        b"auditCursors/one-more\0",
        b"auditCursors/three\0\x02",
        b"auditCursors/two\0\x01\x01",
        b"nothing",
    ];
    for key in keys {
        // What a later version would write, and what nobody would.
        tree.overwrite(key, Some(vec![0; 9]));
    }
    let told = |tree: &CursorTree| {
        let Loaded { cursors, damaged, strays } = tree.load().unwrap();
        assert_eq!((cursors.len(), damaged.len()), (3, 0), "{damaged:?}");
        strays.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let strays = told(&tree);
    assert_eq!(strays.len(), keys.len(), "{strays:?}");
    assert_eq!(
        strays[0],
        "a row of audit cursors means nothing: its key is `auditCursors/one\\x00\\x07`"
    );
    assert_eq!(tree.load().unwrap().cursors, [one.clone(), longer.clone(), two]);
    // An acknowledgement leaves them alone; a deletion takes them with it, and so does a creation.
    let advance = Change::Advance(name("auditCursors/one"), far());
    tree.write(&[advance]).unwrap();
    assert_eq!(told(&tree).len(), 5);
    tree.write(&[Change::Delete(name("auditCursors/one"))]).unwrap();
    tree.write(&[create(&one)]).unwrap();
    assert_eq!(told(&tree), strays[1..]);
    let three = small("auditCursors/three");
    tree.write(&[create(&three), Change::Delete(name("auditCursors/three"))]).unwrap();
    assert_eq!(tree.rows().len(), 6 + 3);
    tree.write(&[create(&longer)]).unwrap();
    assert_eq!(told(&tree), strays[3..]);
    drop((tree, journal));
    let (_journal, loaded) = open(dir.path());
    assert_eq!((loaded.cursors.len(), loaded.strays.len()), (3, 2));
}

#[test]
fn the_largest_cursor_fits_into_values_that_are_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (journal, _) = open(&path);
    let mut tree = journal.cursors().unwrap();
    let long = "a".repeat(128);
    let mut changes = Vec::new();
    for number in 0..300 {
        let mut cursor = full(&format!("accounts/{long}/auditCursors/c{number:0126}"));
        let definition = Arc::make_mut(&mut cursor.definition);
        // The most bytes of a filter that is taken, and somewhat more.
        definition.filter.resource_prefixes = vec!["x".repeat(512).into(); 8];
        definition.creator = long.as_str().into();
        cursor.progress.missed =
            vec![
                Missed { log_id: LOG, from: u64::MAX, through: Some(u64::MAX) };
                Progress::MAX_MISSED
            ];
        assert!(codec::encode_definition(&cursor.definition).len() < MAX_VALUE_BYTES - 1_024);
        changes.push(Change::Create(cursor));
    }
    tree.write(&changes).unwrap();
    for round in 0..20 {
        let progress = Progress { through: round, ..far() };
        let advance = |change: &Change| match change {
            Change::Create(cursor) => {
                Change::Advance(cursor.definition.name.clone(), progress.clone())
            }
            other => other.clone(),
        };
        tree.write(&changes.iter().map(advance).collect::<Vec<_>>()).unwrap();
    }
    assert_eq!(tree.load().unwrap().cursors.len(), 300);
    assert_eq!(journal.blob_count().unwrap(), 0);
    let copied = JournalCopy::open(&path, dir.path()).unwrap();
    assert_eq!(copied.journal().cursors().unwrap().load().unwrap().cursors.len(), 300);
}

#[test]
fn golden_cursors_are_read_and_written_as_ever() {
    let (least, most) = (small("auditCursors/siem"), full("accounts/acme/auditCursors/siem"));
    let definitions = [
        ("definition", codec::encode_definition(&least.definition)),
        ("definition_with_everything", codec::encode_definition(&most.definition)),
    ];
    check_golden("audit_cursors/definitions", &definitions, |bytes| {
        format!("{:#?}\n", codec::decode_definition(bytes).unwrap())
    });
    let progress = [
        ("progress_at_the_start", codec::encode_progress(&least.progress)),
        ("progress_with_what_was_missed", codec::encode_progress(&most.progress)),
    ];
    check_golden("audit_cursors/progress", &progress, |bytes| {
        format!("{:#?}\n", codec::decode_progress(bytes).unwrap())
    });
    assert!(codec::decode_definition(&[]).is_err() && codec::decode_progress(&[]).is_err());
}

/// A store in memory that can be held up and can fail.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    writes: AtomicUsize,
    held_up: Mutex<bool>,
    released: Condvar,
    /// The number of the write that fails, from 1; none does if it is 0.
    fails_at: AtomicUsize,
    /// The number of the write that panics, likewise.
    panics_at: AtomicUsize,
}

impl CursorStore for Memory {
    fn load(&self) -> Result<Loaded, String> {
        Ok(Loaded::default())
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), String> {
        assert!(!changes.is_empty());
        let number = self.0.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let held_up = self.0.held_up.lock().unwrap();
        // Ends when the test lets it.
        drop(self.0.released.wait_while(held_up, |held_up| *held_up).unwrap());
        assert_ne!(number, self.0.panics_at.load(Ordering::Relaxed), "the test wants it");
        let fails = number == self.0.fails_at.load(Ordering::Relaxed);
        if fails { Err("the disk fails".to_owned()) } else { Ok(()) }
    }
}

impl Memory {
    fn hold_up(&self, held_up: bool) {
        *self.0.held_up.lock().unwrap() = held_up;
        self.0.released.notify_all();
    }

    async fn wait_for_writes(&self, count: usize) {
        while self.0.writes.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    }
}

/// A keeper of no cursors on a store and a clock.
fn start(memory: &Memory, clock: &Clock) -> (CursorKeeper, JoinHandle<()>) {
    let space = Arc::new(Space::new("/".into(), Reserve::default()).unwrap());
    space.set_free_percent(100);
    let (store, parts) = (Box::new(memory.clone()), (space, clock.clone()));
    keeper::start(store, Vec::new(), CursorLimits::default(), parts).unwrap()
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Runs a test on a keeper, its store and its clock.
fn with_keeper<F: Future<Output = ()>>(test: impl FnOnce(CursorKeeper, Memory, Clock) -> F) {
    let (memory, clock) = (Memory::default(), Clock::manual(NOW));
    let (keeper, thread) = start(&memory, &clock);
    block_on(test(keeper.clone(), memory, clock));
    keeper.close();
    thread.join().unwrap();
}

fn begin(text: &str, token: u128) -> Begin {
    Begin {
        name: name(text),
        caller: "eyes".into(),
        token: LeaseToken(Uuid::from_u128(token)),
        own: None,
        takes_over: false,
        time: Duration::from_secs(30),
        log_id: LOG,
    }
}

fn acknowledge(text: &str, token: u128, through: u64) -> Acknowledgement {
    let (name, token) = (name(text), LeaseToken(Uuid::from_u128(token)));
    Acknowledgement { name, token, through, releases: false }
}

const C: &str = "auditCursors/c";

#[test]
fn many_acknowledgements_go_to_the_disk_at_once_and_none_is_shown_before() {
    with_keeper(|keeper, memory, _clock| async move {
        let cursors = (0..40).map(|number| format!("auditCursors/c{number}")).collect::<Vec<_>>();
        let mut leases = Vec::new();
        for text in &cursors {
            keeper.create(small(text), Mode::Apply).await.unwrap();
            let (cursor, lease) = keeper.begin(begin(text, 1)).await.unwrap();
            assert_eq!(cursor.progress.through, 10);
            lease.sending().note(Sent { through: 50, missed: Vec::new() });
            leases.push(lease);
        }
        let before = memory.0.writes.load(Ordering::Relaxed);
        memory.hold_up(true);
        let all: Vec<_> = cursors
            .iter()
            .map(|text| {
                let (keeper, text) = (keeper.clone(), text.clone());
                tokio::spawn(async move { keeper.acknowledge(acknowledge(&text, 1, 20)).await })
            })
            .collect();
        // The first write takes some of them, and all others wait for it.
        memory.wait_for_writes(before + 1).await;
        let through = |text: &String| keeper.show(&name(text)).unwrap().cursor.progress.through;
        assert!(cursors.iter().all(|text| through(text) == 10));
        assert!(all.iter().all(|one| !one.is_finished()));
        memory.hold_up(false);
        for one in all {
            assert_eq!(one.await.unwrap().unwrap().through, 20);
        }
        assert!(cursors.iter().all(|text| through(text) == 20));
        let writes = memory.0.writes.load(Ordering::Relaxed) - before;
        assert!(writes <= 3, "{writes} writes");
        // What changes nothing is not written.
        let again = keeper.acknowledge(acknowledge(&cursors[0], 1, 20)).await.unwrap();
        assert_eq!(again.through, 20);
        assert_eq!(memory.0.writes.load(Ordering::Relaxed) - before, writes);
    });
}

#[test]
fn calls_that_are_given_up_wait_like_others_until_they_are_written() {
    with_keeper(|keeper, memory, _clock| async move {
        memory.hold_up(true);
        let stalled = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.create(small(C), Mode::Apply).await }
        });
        memory.wait_for_writes(1).await;
        let mut given_up = 0;
        let refusal = loop {
            assert!(given_up < 3_000, "what waits is bounded");
            tokio::select! {
                biased;
                refused = keeper.delete(name(C), None, Mode::ValidateOnly) => break refused,
                () = std::future::ready(()) => given_up += 1,
            }
        };
        // One place has the call whose write is held up.
        assert_eq!((refusal, given_up), (Err(KeeperError::Busy), 1_023));
        memory.hold_up(false);
        stalled.await.unwrap().unwrap();
        while keeper.delete(name(C), None, Mode::ValidateOnly).await == Err(KeeperError::Busy) {
            tokio::task::yield_now().await;
        }
        keeper.delete(name(C), None, Mode::Apply).await.unwrap();
    });
}

#[test]
fn after_a_failure_nothing_is_known_and_nothing_is_shown_that_is_not_on_disk() {
    with_keeper(|keeper, memory, _clock| async move {
        keeper.create(small(C), Mode::Apply).await.unwrap();
        let (_, mut lease) = keeper.begin(begin(C, 1)).await.unwrap();
        lease.sending().note(Sent { through: 50, missed: Vec::new() });
        memory.0.fails_at.store(2, Ordering::Relaxed);
        let failed = keeper.acknowledge(acknowledge(C, 1, 20)).await.unwrap_err();
        assert_eq!(failed, KeeperError::Unavailable);
        assert_eq!(lease.lost().await, LeaseEnd::Unavailable);
        assert_eq!(keeper.show(&name(C)).unwrap().reader, None);
        assert_eq!(keeper.begin(begin(C, 2)).await.unwrap_err(), KeeperError::Unavailable);
        let created = keeper.create(small("auditCursors/d"), Mode::Apply).await;
        assert_eq!(created.unwrap_err(), KeeperError::Unavailable);
        let deleted = keeper.delete(name(C), None, Mode::Apply).await;
        assert_eq!(deleted.unwrap_err(), KeeperError::Unavailable);
        assert_eq!(keeper.show(&name(C)).unwrap().cursor.progress.through, 10);
        assert_eq!(keeper.show(&name("auditCursors/d")), None);
    });
}

#[test]
fn one_that_panics_says_that_it_has_failed_and_one_that_is_closed_does_not() {
    for panics_at in [2, 0] {
        let (memory, clock) = (Memory::default(), Clock::manual(NOW));
        let (keeper, thread) = start(&memory, &clock);
        memory.0.panics_at.store(panics_at, Ordering::Relaxed);
        block_on(async {
            keeper.create(small(C), Mode::Apply).await.unwrap();
            let (_, mut lease) = keeper.begin(begin(C, 1)).await.unwrap();
            lease.sending().note(Sent { through: 50, missed: Vec::new() });
            assert!(keeper.show(&name(C)).unwrap().reader.is_some());
            let acknowledged = keeper.acknowledge(acknowledge(C, 1, 20)).await;
            if panics_at == 0 {
                acknowledged.unwrap();
                return;
            }
            assert_eq!(acknowledged.unwrap_err(), KeeperError::Unavailable);
            assert_eq!(lease.lost().await, LeaseEnd::Unavailable);
            let again = keeper.create(small("auditCursors/d"), Mode::Apply).await;
            assert_eq!(again.unwrap_err(), KeeperError::Unavailable);
        });
        keeper.close();
        assert_eq!(thread.join().is_err(), panics_at > 0);
        let condition = keeper.condition();
        let has_failed = matches!(&*condition.borrow(), JournalCondition::Failed { reason }
            if reason.contains("panicked"));
        assert_eq!(has_failed, panics_at > 0, "{condition:?}");
        // To close it ends no lease.
        assert_eq!(keeper.show(&name(C)).unwrap().reader.is_none(), panics_at > 0);
    }
}

#[test]
fn one_that_is_closed_ends_though_what_it_writes_last_fails() {
    let (memory, clock) = (Memory::default(), Clock::manual(NOW));
    let (keeper, thread) = start(&memory, &clock);
    memory.0.fails_at.store(2, Ordering::Relaxed);
    memory.hold_up(true);
    block_on(async {
        let create = |text: &'static str| {
            let keeper = keeper.clone();
            tokio::spawn(async move { keeper.create(small(text), Mode::Apply).await })
        };
        let first = create(C);
        memory.wait_for_writes(1).await;
        // Both come into the same batch, behind the write that is held up.
        let second = create("auditCursors/d");
        tokio::task::yield_now().await;
        keeper.close();
        memory.hold_up(false);
        assert!(first.await.unwrap().is_ok());
        assert_eq!(second.await.unwrap().unwrap_err(), KeeperError::Unavailable);
        let ended = async {
            while !thread.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it ends");
    });
    thread.join().unwrap();
}

#[test]
fn a_lease_lasts_as_long_as_its_stream_and_a_while() {
    with_keeper(|keeper, _memory, clock| async move {
        keeper.create(small(C), Mode::Apply).await.unwrap();
        let (_, lease) = keeper.begin(begin(C, 1)).await.unwrap();
        let reader = || keeper.show(&name(C)).unwrap().reader;
        assert_eq!(reader().unwrap().expires, None);
        drop(lease);
        let refused = keeper.begin(begin(C, 2)).await.unwrap_err();
        assert!(matches!(refused, KeeperError::Refused(_)), "{refused:?}");
        let expires = reader().unwrap().expires.unwrap();
        assert_eq!(expires.wall, NOW.plus_seconds(30));
        clock.set(NOW.plus_seconds(30));
        assert_eq!(reader(), None);
        // Nobody waits for what is begun here, so its stream ends at once; also if it is answered first.
        let abandoned = begin(C, 3);
        tokio::select! {
            biased;
            begun = keeper.begin(abandoned) => drop(begun.unwrap()),
            () = std::future::ready(()) => {}
        }
        let taken = Begin { takes_over: true, ..begin(C, 4) };
        let (_, mut lease) = keeper.begin(taken).await.unwrap();
        let acknowledged =
            keeper.acknowledge(Acknowledgement { releases: true, ..acknowledge(C, 4, 0) });
        acknowledged.await.unwrap();
        assert_eq!((lease.lost().await, reader()), (LeaseEnd::Released, None));
        let (_, mut first) = keeper.begin(begin(C, 5)).await.unwrap();
        let own = Begin { own: Some(LeaseToken(Uuid::from_u128(5))), ..begin(C, 6) };
        let (_, mut second) = keeper.begin(own).await.unwrap();
        assert_eq!(first.lost().await, LeaseEnd::TakenOver);
        keeper.delete(name(C), None, Mode::Apply).await.unwrap();
        assert_eq!(second.lost().await, LeaseEnd::Deleted);
    });
}

#[test]
fn what_is_only_judged_changes_nothing_and_lists_are_by_id() {
    with_keeper(|keeper, memory, _clock| async move {
        let judged = keeper.create(small(C), Mode::ValidateOnly).await.unwrap();
        assert!(matches!(judged, Created::Now(_)));
        assert_eq!(memory.0.writes.load(Ordering::Relaxed), 0);
        for text in ["auditCursors/b", "auditCursors/a", "accounts/a/auditCursors/z", C] {
            keeper.create(small(text), Mode::Apply).await.unwrap();
        }
        keeper.delete(name(C), None, Mode::ValidateOnly).await.unwrap();
        let list = |parent: &str, after: Option<&str>, count| {
            let parent = AuditCursorParent::parse(parent).unwrap();
            let after = after.map(|after| Id::parse(after).unwrap());
            let listed = keeper.list(&parent, after, count);
            let ids = listed.iter().map(|shown| shown.cursor.definition.name.id.to_string());
            ids.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list("", None, 9), "a b c");
        assert_eq!(list("", None, 2), "a b");
        assert_eq!(list("", Some("a"), 9), "b c");
        assert_eq!(list("accounts/a", None, 9), "z");
        assert_eq!(list("accounts/b", None, 9), "");
    });
}
