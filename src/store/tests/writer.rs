//! The writer, on a journal that waits and fails on demand: each change is judged against all
//! before it, and nobody sees or hears of a change before it is on disk.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
};

use tokio::runtime::Runtime;

use crate::{
    domain::{
        command::{Command, Request},
        decide::{Rejected, Rejection},
        event::Event,
        limits::Limits,
        request::{Fingerprint, RequestId, RequestMark},
        resource::Uid,
        rules::RulesVersion,
        testing::{create_network_rule, delete_network_rule},
        time::UnixNanos,
    },
    projection::{Published, State},
    store::{
        journal::{AppendError, Journal, JournalReader, ReadError},
        sled_journal::SledJournal,
        space::{Reserve, ReserveReached, Space},
        start,
        writer::{self, ChangeWriter, JournalCondition, Made, Mode, SubmitError},
    },
};

const DAY: i64 = 24 * 3_600 * 1_000_000_000;

/// A journal in memory. An append waits until the test says what becomes of it.
#[derive(Clone, Debug, Default)]
struct Held(Arc<HeldShared>);

#[derive(Debug, Default)]
struct HeldShared {
    state: Mutex<HeldState>,
    /// Ended by an append that begins, or by a word about one.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct HeldState {
    events: Vec<Event>,
    /// How many events each append had.
    appends: Vec<usize>,
    words: VecDeque<Result<(), &'static str>>,
}

impl Held {
    /// Waits until so many appends have begun.
    fn wait_for_appends(&self, count: usize) {
        let mut state = self.0.state.lock().unwrap();
        while state.appends.len() < count {
            state = self.0.changed.wait(state).unwrap();
        }
    }

    /// Lets one append end.
    fn say(&self, word: Result<(), &'static str>) {
        self.0.state.lock().unwrap().words.push_back(word);
        self.0.changed.notify_all();
    }

    fn appends(&self) -> Vec<usize> {
        self.0.state.lock().unwrap().appends.clone()
    }
}

impl Journal for Held {
    fn last(&self) -> u64 {
        self.0.state.lock().unwrap().events.len() as u64
    }

    fn append(&mut self, expected_last: u64, events: &[Event]) -> Result<(), AppendError> {
        let mut state = self.0.state.lock().unwrap();
        assert_eq!(expected_last, state.events.len() as u64);
        state.appends.push(events.len());
        self.0.changed.notify_all();
        loop {
            match state.words.pop_front() {
                Some(Ok(())) => {
                    state.events.extend_from_slice(events);
                    return Ok(());
                }
                Some(Err(reason)) => return Err(AppendError::Engine(reason.to_owned())),
                None => state = self.0.changed.wait(state).unwrap(),
            }
        }
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        let state = self.0.state.lock().unwrap();
        let from = usize::try_from(from - 1).unwrap();
        Ok(state.events.iter().skip(from).take(limit).cloned().collect())
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::new(self.clone())
    }
}

impl JournalReader for Held {
    fn read(&self, from: u64, count: usize) -> Result<Vec<Event>, ReadError> {
        Journal::read(self, from, count)
    }

    fn read_stored(&self, from: u64, count: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        Ok(Journal::read(self, from, count)?.iter().map(crate::store::codec::encode).collect())
    }
}

/// A writer, what it publishes, and a runtime to wait on.
struct Running {
    changes: ChangeWriter,
    published: Arc<Published>,
    space: Arc<Space>,
    thread: JoinHandle<()>,
    runtime: Runtime,
}

type Answer = Result<Arc<Event>, SubmitError>;
type Waiting = Pin<Box<dyn Future<Output = Answer>>>;

impl Running {
    fn start(journal: impl Journal + 'static) -> Self {
        let state = start::replay(&journal, State::new(RulesVersion::CURRENT), u64::MAX).unwrap();
        let published = Arc::new(Published::new(state.clone()));
        let space = Arc::new(Space::new("/".into(), Reserve::default()).unwrap());
        space.set_free_percent(100);
        let (changes, thread) = writer::start(
            Box::new(journal),
            state,
            Arc::clone(&published),
            (Arc::clone(&space), Limits::NONE),
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { changes, published, space, thread, runtime }
    }

    /// Submits, and doesn't wait.
    fn submit(&self, request: Request, mode: Mode) -> Waiting {
        let changes = self.changes.clone();
        let mut waiting: Waiting =
            Box::pin(async move { the_only(changes.submit(request.into(), mode).await) });
        assert!(self.is_waiting(&mut waiting), "it is answered at once");
        waiting
    }

    /// Whether there is no answer yet.
    fn is_waiting(&self, waiting: &mut Waiting) -> bool {
        let polled = async {
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await
        };
        self.runtime.block_on(polled).is_pending()
    }

    fn wait(&self, waiting: Waiting) -> Answer {
        self.runtime.block_on(waiting)
    }

    /// Has a change made.
    fn change(&self, request: Request) -> Answer {
        self.answer(request, Mode::Apply)
    }

    /// Submits and waits.
    fn answer(&self, request: Request, mode: Mode) -> Answer {
        the_only(self.runtime.block_on(self.changes.submit(request.into(), mode)))
    }

    fn revision(&self) -> u64 {
        self.published.load().revision()
    }

    fn stop(self) {
        let Self { changes, thread, runtime, .. } = self;
        drop((changes, runtime));
        thread.join().unwrap();
    }
}

/// What a request for one change came to.
fn the_only(answer: Result<Made, SubmitError>) -> Answer {
    let mut events = answer?.events;
    assert_eq!(events.len(), 1);
    Ok(Arc::new(events.remove(0)))
}

fn request(command: Command) -> Request {
    let (actor, time, uid) = ("operator".into(), UnixNanos(1), Uid(uuid::Uuid::from_u128(1)));
    Request { actor, time, uid, mark: None, command }
}

fn create(name: &str) -> Request {
    request(create_network_rule(name, "public", "10.0.0.0/8"))
}

fn marked(request: Request, id: &str, content: u8, time: i64) -> Request {
    let mark = RequestMark {
        id: RequestId::parse(id).unwrap(),
        method: "Create".into(),
        fingerprint: Fingerprint([content; 32]),
    };
    Request { mark: Some(mark), time: UnixNanos(time), ..request }
}

#[test]
fn changes_of_one_batch_are_judged_against_each_other_and_answered_after_the_sync() {
    let journal = Held::default();
    let running = Running::start(journal.clone());
    let first = running.submit(create("one"), Mode::Apply);
    journal.wait_for_appends(1);
    // These wait while the first is at the disk, and go there together.
    let requests = [
        create("two"),
        create("two"),
        create("one"),
        request(delete_network_rule("two")),
        create("two"),
    ];
    let mut waiting: Vec<_> =
        requests.into_iter().map(|request| running.submit(request, Mode::Apply)).collect();
    assert_eq!(running.revision(), 0, "nothing is published before it is on disk");
    journal.say(Ok(()));
    assert_eq!(running.wait(first).unwrap().sequence, 1);
    journal.wait_for_appends(2);
    assert_eq!(running.revision(), 1);
    for waiting in &mut waiting {
        assert!(running.is_waiting(waiting), "rejections too are answered after the sync");
    }
    journal.say(Ok(()));
    let answers: Vec<_> = waiting.into_iter().map(|waiting| running.wait(waiting)).collect();
    let sequences: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|event| event.sequence)).collect();
    assert_eq!(sequences, [Some(2), None, None, Some(3), Some(4)]);
    for rejected in &answers[1..3] {
        let Err(SubmitError::Rejected(rejection)) = rejected else { panic!("{rejected:?}") };
        assert!(matches!(rejection.rejection, Rejection::AlreadyExists(_)), "{rejection}");
    }
    assert_eq!((journal.appends(), running.revision()), (vec![1, 3], 4));
    running.stop();
}

#[test]
fn what_is_only_judged_changes_nothing() {
    let journal = Held::default();
    let running = Running::start(journal.clone());
    let judged = |request| running.answer(request, Mode::ValidateOnly);
    assert_eq!(judged(create("one")).unwrap().sequence, 1);
    assert_eq!(judged(create("one")).unwrap().sequence, 1);
    assert!(judged(request(delete_network_rule("one"))).is_err());
    assert_eq!((journal.appends(), running.revision()), (vec![], 0));
    running.stop();
}

#[test]
fn a_failed_append_is_told_to_its_batch_and_to_all_after_it() {
    let journal = Held::default();
    let running = Running::start(journal.clone());
    let first = running.submit(create("one"), Mode::Apply);
    journal.wait_for_appends(1);
    let second = running.submit(create("two"), Mode::Apply);
    let rejected = running.submit(create("two"), Mode::Apply);
    journal.say(Ok(()));
    running.wait(first).unwrap();
    journal.wait_for_appends(2);
    let queued = running.submit(create("three"), Mode::Apply);
    journal.say(Err("the disk is gone"));
    for waiting in [second, rejected, queued] {
        let answer = running.wait(waiting);
        assert!(matches!(answer, Err(SubmitError::Unavailable)), "{answer:?}");
    }
    assert_eq!(running.revision(), 1, "what failed is not published");
    let mut condition = running.changes.condition();
    let failed = |condition: &JournalCondition| {
        let reason = "can't write the journal: the disk is gone".into();
        *condition == JournalCondition::Failed { reason }
    };
    running.runtime.block_on(condition.wait_for(failed)).unwrap();
    for _ in 0..3 {
        let answer = running.change(create("four"));
        assert!(matches!(answer, Err(SubmitError::Unavailable)), "{answer:?}");
    }
    assert_eq!(journal.appends(), [1, 1], "nothing is tried again");
    running.stop();
}

#[test]
fn a_repeated_request_is_answered_with_its_event_also_in_the_same_batch() {
    let journal = Held::default();
    let running = Running::start(journal.clone());
    let first = running.submit(marked(create("one"), "r-1", 7, 1), Mode::Apply);
    journal.wait_for_appends(1);
    let requests = [
        marked(create("two"), "r-2", 7, 2),
        marked(create("two"), "r-2", 7, 3),
        marked(create("two"), "r-2", 8, 3),
        marked(create("one"), "r-1", 7, 3),
    ];
    let waiting = requests.map(|request| running.submit(request, Mode::Apply));
    journal.say(Ok(()));
    journal.say(Ok(()));
    let first = running.wait(first).unwrap();
    let [made, repeated, reused, before] = waiting.map(|waiting| running.wait(waiting));
    let made = made.unwrap();
    assert_eq!((made.sequence, repeated.unwrap()), (2, made));
    assert!(
        matches!(
            reused,
            Err(SubmitError::Rejected(Rejected { rejection: Rejection::RequestIdReused(_), .. }))
        ),
        "{reused:?}"
    );
    assert_eq!(before.unwrap(), first);
    running.stop();
}

#[test]
fn a_request_is_remembered_over_a_restart_and_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(SledJournal::open(dir.path()).unwrap());
    let made = running.change(marked(create("one"), "r-1", 7, 1)).unwrap();
    let other = running.change(create("other")).unwrap();
    running.stop();
    let running = Running::start(SledJournal::open(dir.path()).unwrap());
    assert_eq!(running.revision(), 2);
    let repeated = running.change(marked(create("one"), "r-1", 7, DAY)).unwrap();
    assert_eq!((repeated, running.revision()), (made, other.sequence));
    let reused = running.change(marked(create("two"), "r-1", 8, DAY));
    assert!(
        matches!(
            reused,
            Err(SubmitError::Rejected(Rejected { rejection: Rejection::RequestIdReused(_), .. }))
        ),
        "{reused:?}"
    );
    // A day after it was made the id is free, and the content is judged anew.
    let judged = running.change(marked(create("one"), "r-1", 7, DAY + 2));
    assert!(
        matches!(
            judged,
            Err(SubmitError::Rejected(Rejected { rejection: Rejection::AlreadyExists(_), .. }))
        ),
        "{judged:?}"
    );
    let made = running.change(marked(create("two"), "r-1", 8, DAY + 2)).unwrap();
    assert_eq!(made.sequence, 3);
    running.stop();
}

#[test]
fn what_was_published_is_what_a_restart_finds() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(SledJournal::open(dir.path()).unwrap());
    let mut events = Vec::new();
    for number in 0..60 {
        let name = format!("rule-{}", number % 7);
        let command = if number % 3 == 2 {
            delete_network_rule(&name)
        } else {
            create_network_rule(&name, "public", "10.0.0.0/8")
        };
        events.extend(running.change(request(command)).ok());
    }
    let published = running.published.load().catalog.clone();
    running.stop();
    let journal = SledJournal::open(dir.path()).unwrap();
    let replayed = start::replay(&journal, State::new(RulesVersion::CURRENT), u64::MAX).unwrap();
    assert_eq!(replayed.revision(), events.len() as u64);
    assert_eq!(format!("{:?}", replayed.catalog), format!("{published:?}"));
    for (sequence, event) in (1..).zip(&events) {
        assert_eq!(journal.read(sequence, 1).unwrap(), [Event::clone(event)]);
    }
}

#[test]
fn a_full_disk_and_a_long_queue_refuse_before_anything_is_judged() {
    let journal = Held::default();
    let running = Running::start(journal.clone());
    running.space.set_free_percent(4);
    let refused = running.change(create("one"));
    assert!(
        matches!(refused, Err(SubmitError::Reserve(ReserveReached { free_percent: 4, .. }))),
        "{refused:?}"
    );
    running.space.set_free_percent(5);
    let first = running.submit(create("one"), Mode::Apply);
    journal.wait_for_appends(1);
    let mut waiting = Vec::new();
    let busy = loop {
        let mut next: Waiting = Box::pin({
            let (changes, name) = (running.changes.clone(), format!("rule-{}", waiting.len()));
            async move { the_only(changes.submit(create(&name).into(), Mode::Apply).await) }
        });
        if running.is_waiting(&mut next) {
            waiting.push(next);
        } else {
            break waiting.len();
        }
    };
    assert_eq!(busy, 1_024);
    for _ in 0..6 {
        journal.say(Ok(()));
    }
    running.wait(first).unwrap();
    let answered = waiting.into_iter().map(|waiting| running.wait(waiting).unwrap().sequence);
    assert!(answered.eq(2..=1_025), "in the order in which they came");
    assert_eq!(journal.appends(), [1, 256, 256, 256, 256]);
    running.stop();
}

#[test]
fn who_gives_up_waiting_disturbs_nobody() {
    let journal = Held::default();
    let running = Running::start(journal.clone());
    let first = running.submit(create("one"), Mode::Apply);
    journal.wait_for_appends(1);
    let (gone, stays) =
        (running.submit(create("two"), Mode::Apply), running.submit(create("three"), Mode::Apply));
    drop((first, gone));
    journal.say(Ok(()));
    journal.say(Ok(()));
    assert_eq!(running.wait(stays).unwrap().sequence, 3);
    assert_eq!(running.revision(), 3);
    running.stop();
}
