//! The checker finds what is wrong: histories that a sound server made, each with one thing changed.

use std::{sync::Arc, time::Duration};

use tonic::Code;

use super::{
    checker::{Answer, Asked, History, Operation, Recorded, check},
    model::{
        Change, Content, Event, Kind, Name, Question, Refusal, Remembered, Request, State, Verb,
        Wanted,
    },
};

/// A server that does one thing after the other, and takes a second for each.
#[derive(Debug, Default)]
struct Sound {
    state: State,
    history: History,
    time: u64,
}

impl Sound {
    fn operation(&mut self, asked: Asked, answer: Answer) {
        let (called, answered) = (self.time, self.time + 1);
        self.time += 2;
        let (called, answered) = (Duration::from_secs(called), Duration::from_secs(answered));
        self.history.operations.push(Operation { called, answered, asked, answer });
    }

    fn change(&mut self, request: Request) {
        let request = Arc::new(request);
        let judged = self.state.judge(&request, |revision| format!("uid-{revision}"));
        let asked = Asked::Change(Arc::clone(&request));
        let events = match judged {
            Ok(events) => events,
            Err(refusal) => return self.operation(asked, Answer::Refused(refusal)),
        };
        for event in &events {
            self.state.apply(event);
            let (actor, request_id) = (request.caller.to_owned(), request.id.clone());
            self.history.journal.push(Recorded { actor, request_id, event: event.clone() });
        }
        let (first, last) = (events[0].revision, self.state.revision);
        self.state.remember(Remembered { request, first, last });
        self.operation(asked, Answer::Made(events));
    }

    fn get(&mut self, name: Name) {
        let missing = Refusal::new(Code::NotFound, "RESOURCE_NOT_FOUND");
        let answer = match self.state.get(name) {
            Some(item) => Answer::Found(item.clone()),
            None => {
                let metadata = [("resource".to_owned(), name.to_string())].into();
                Answer::Refused(Refusal { metadata, ..missing })
            }
        };
        self.operation(Asked::Get(name), answer);
    }

    fn ask(&mut self) {
        let question = Question { access_point: 0, secret: 1, network: 1 };
        let (revision, decision) = (self.state.revision, self.state.decide(question));
        let asked = Asked::Check { question, at_least: revision };
        self.operation(asked, Answer::Decided { revision, decision });
    }
}

fn change(name: Name, wanted: Wanted) -> Change {
    Change { name, wanted, etag: None }
}

fn one(id: &str, change: Change) -> Request {
    let (id, changes) = (id.to_owned(), vec![change]);
    Request { caller: "admin", id, validate_only: false, together: false, changes }
}

fn rule(networks: u8) -> Content {
    Content::Rule { networks }
}

/// The places in the history that [`sound`] makes.
const CREATE_RULE: usize = 0;
const APPLY: usize = 1;
const ALLOWED: usize = 2;
const CREATE_AGAIN: usize = 3;
const DELETE_HELD: usize = 4;
const UPDATE: usize = 5;
const GET: usize = 6;
const STALE_ETAG: usize = 7;
const LIST: usize = 8;
const REPEATED: usize = 9;
const MISSING: usize = 10;
const DENIED: usize = 11;

/// A history with one of everything.
fn sound() -> History {
    let mut sound = Sound::default();
    let (rule_0, policy_0, access_point_0) =
        (Name::rule(0), Name::policy(0), Name::access_point(0));
    let create = one("create", change(rule_0, Wanted::Create(rule(1))));
    sound.change(create);
    let policy = Wanted::Create(Content::Policy { secrets: 1, rules: vec![0] });
    let access_point = Wanted::Create(Content::AccessPoint { policies: vec![0], suspended: false });
    let changes = vec![change(policy_0, policy), change(access_point_0, access_point)];
    let together =
        Request { together: true, changes, ..one("apply", change(rule_0, Wanted::Delete)) };
    sound.change(together);
    sound.ask();
    let old = sound.state.get(rule_0).unwrap().etag.clone();
    sound.change(one("", change(rule_0, Wanted::Create(rule(2)))));
    sound.change(one("delete", change(rule_0, Wanted::Delete)));
    let update = one("update", change(rule_0, Wanted::Update(rule(2))));
    sound.change(update.clone());
    sound.get(rule_0);
    let stale = Change { etag: Some(old), ..change(rule_0, Wanted::Update(rule(3))) };
    sound.change(one("", stale));
    let listed = sound.state.list(Kind::Policy);
    sound.operation(Asked::List(Kind::Policy), Answer::Listed(listed));
    let first = sound.history.operations[UPDATE].answer.clone();
    sound.operation(Asked::Change(Arc::new(update)), first);
    sound.get(Name::rule(1));
    sound.ask();
    sound.history
}

#[track_caller]
fn assert_found(what: &str, doctor: impl FnOnce(&mut History)) {
    let mut history = sound();
    doctor(&mut history);
    assert!(check(&history).is_err(), "nobody notices that {what}");
}

/// What was answered, if something happened.
fn made(history: &mut History, place: usize) -> &mut Vec<Event> {
    match &mut history.operations[place].answer {
        Answer::Made(events) => events,
        other => panic!("{other:?}"),
    }
}

/// Lets a call last from one second to another.
fn stretch(history: &mut History, place: usize, called: u64, answered: u64) {
    let operation = &mut history.operations[place];
    operation.called = Duration::from_secs(called);
    operation.answered = Duration::from_secs(answered);
}

#[test]
fn a_sound_history_has_an_order() {
    let report = check(&sound()).unwrap();
    assert_eq!((report["changes"], report["calls that changed something"]), (4, 3));
    for outcome in ["POLICY_GRANTS", "NETWORK_NOT_ALLOWED", "RESOURCE_IN_USE", "ETAG_MISMATCH"] {
        assert_eq!(report[outcome], 1, "{outcome}");
    }
    // Calls that overlap may have happened in either order.
    let mut history = sound();
    stretch(&mut history, GET, 0, 30);
    stretch(&mut history, MISSING, 0, 30);
    stretch(&mut history, REPEATED, 8, 30);
    check(&history).unwrap();
}

#[test]
fn a_journal_that_is_not_what_happened_is_found() {
    assert_found("a change is missing", |history| drop(history.journal.remove(3)));
    assert_found("a change is lost amid others", |history| drop(history.journal.remove(1)));
    assert_found("nobody asked for a change", |history| drop(history.operations.remove(UPDATE)));
    assert_found("it has other content", |history| {
        history.journal[3].event.after.as_mut().unwrap().content = rule(1);
    });
    assert_found("it was another caller", |history| history.journal[0].actor = "eve".to_owned());
    assert_found("a uid is given twice", |history| {
        let uid = history.journal[0].event.uid.clone();
        history.journal[1].event.uid = uid;
    });
    assert_found("a reference dangles", |history| {
        let event = &mut history.journal[3].event;
        (event.verb, event.after) = (Verb::Deleted, None);
        history.operations.truncate(UPDATE);
        let delete = one("", change(Name::rule(0), Wanted::Delete));
        let answer = Answer::Made(vec![history.journal[3].event.clone()]);
        let (called, answered) = (Duration::from_secs(50), Duration::from_secs(51));
        let asked = Asked::Change(Arc::new(delete));
        history.operations.push(Operation { called, answered, asked, answer });
    });
}

#[test]
fn a_change_that_should_have_come_to_something_else_is_found() {
    assert_found("another revision was told", |history| made(history, UPDATE)[0].revision = 3);
    assert_found("another etag was told", |history| {
        made(history, UPDATE)[0].after.as_mut().unwrap().etag.push('0');
    });
    assert_found("many changes are torn", |history| drop(made(history, APPLY).pop()));
    assert_found("two made the same change", |history| {
        let again = history.operations[UPDATE].answer.clone();
        history.operations[CREATE_AGAIN].answer = again;
    });
    assert_found("a change was made before it was called for", |history| {
        stretch(history, CREATE_RULE, 40, 41);
    });
    assert_found("a change was made after it was answered", |history| {
        stretch(history, UPDATE, 0, 0);
    });
    assert_found("a repetition has other content", |history| {
        let other = one("update", change(Name::rule(0), Wanted::Update(rule(3))));
        history.operations[REPEATED].asked = Asked::Change(Arc::new(other));
    });
    assert_found("a repetition was answered before there was an answer", |history| {
        stretch(history, REPEATED, 0, 1);
    });
    assert_found("a repetition was judged anew", |history| {
        history.operations[REPEATED].answer = history.operations[STALE_ETAG].answer.clone();
    });
    assert_found("a stale etag was taken", |history| {
        let Asked::Change(request) = &history.operations[UPDATE].asked else { panic!() };
        let mut request = Request::clone(request);
        request.changes[0].etag = Some("old".to_owned());
        history.operations[UPDATE].asked = Asked::Change(Arc::new(request));
        history.operations.remove(REPEATED);
    });
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    assert_found("what exists is refused as if it did before it did", |history| {
        stretch(history, CREATE_AGAIN, 0, 0);
        stretch(history, CREATE_RULE, 1, 1);
    });
    assert_found("what nobody holds is in use", |history| stretch(history, DELETE_HELD, 1, 1));
    assert_found("the wrong holders are named", |history| {
        let Answer::Refused(refusal) = &mut history.operations[DELETE_HELD].answer else {
            panic!()
        };
        refusal.names.push(Name::policy(1).to_string());
    });
    assert_found("the current etag is refused", |history| stretch(history, STALE_ETAG, 5, 5));
    assert_found("another etag is named", |history| {
        let Answer::Refused(refusal) = &mut history.operations[STALE_ETAG].answer else { panic!() };
        refusal.metadata.insert("etag".to_owned(), "0-0".to_owned());
    });
    assert_found("a valid request is invalid", |history| {
        let invalid = Refusal::new(Code::InvalidArgument, "INVALID_FIELDS");
        history.operations[CREATE_AGAIN].answer = Answer::Refused(invalid);
    });
}

#[test]
fn a_read_of_what_was_not_is_found() {
    assert_found("what is old is read", |history| {
        let Answer::Made(events) = &history.operations[CREATE_RULE].answer else { panic!() };
        history.operations[GET].answer = Answer::Found(events[0].after.clone().unwrap());
    });
    assert_found("what is to come is read", |history| stretch(history, GET, 5, 5));
    assert_found("what is there is not found", |history| {
        history.operations[GET].answer = history.operations[MISSING].answer.clone();
    });
    assert_found("a list lacks something", |history| {
        history.operations[LIST].answer = Answer::Listed(Vec::new());
    });
    assert_found("time goes back between two reads", |history| {
        // The update lasts so long that each could be right without the other.
        let Answer::Made(events) = &history.operations[CREATE_RULE].answer else { panic!() };
        let old = Answer::Found(events[0].after.clone().unwrap());
        stretch(history, UPDATE, 10, 40);
        stretch(history, GET, 14, 15);
        let mut second = history.operations[GET].clone();
        (second.called, second.answered) = (Duration::from_secs(16), Duration::from_secs(17));
        second.answer = old;
        history.operations.insert(GET + 1, second);
    });
    assert_found("the inside of many changes is seen", |history| {
        history.operations[LIST].called = Duration::from_secs(2);
        history.operations[LIST].answered = Duration::from_secs(3);
        history.operations[LIST].asked = Asked::List(Kind::AccessPoint);
        history.operations[LIST].answer = Answer::Listed(Vec::new());
        let (Answer::Decided { revision, .. }, at_least) =
            (&mut history.operations[ALLOWED].answer, 2)
        else {
            panic!()
        };
        *revision = at_least;
    });
}

#[test]
fn a_check_at_another_revision_is_found() {
    assert_found("it was decided by what was before", |history| {
        let old = history.operations[ALLOWED].answer.clone();
        history.operations[DENIED].answer = old;
    });
    assert_found("the decision is not its revision's", |history| {
        let Answer::Decided { decision, .. } = history.operations[ALLOWED].answer.clone() else {
            panic!()
        };
        let Answer::Decided { decision: told, .. } = &mut history.operations[DENIED].answer else {
            panic!()
        };
        *told = decision;
    });
    assert_found("it was decided before the revision that it demands", |history| {
        let Asked::Check { at_least, .. } = &mut history.operations[ALLOWED].asked else {
            panic!()
        };
        *at_least += 1;
    });
}
