//! What may be done with a cursor, one thing after another: fencing, limits, repeats.

use super::*;
use crate::domain::{audit_filter::AuditFilter, request::Fingerprint, time::UnixNanos};

const LOG: Uuid = Uuid::from_u128(1);
const NEXT_LOG: Uuid = Uuid::from_u128(2);
const NOW: Moment = Moment { elapsed: Duration::from_millis(7), wall: UnixNanos(1_000) };
const A: LeaseToken = LeaseToken(Uuid::from_u128(0xa));
const B: LeaseToken = LeaseToken(Uuid::from_u128(0xb));
const TIME: Duration = Duration::from_secs(30);

fn name(text: &str) -> AuditCursorName {
    AuditCursorName::parse(text).unwrap()
}

fn cursor(text: &str, mark: Option<(&str, u8)>) -> AuditCursor {
    let mark = mark.map(|(id, content)| RequestMark {
        id: RequestId::parse(id).unwrap(),
        method: "CreateAuditCursor".into(),
        fingerprint: Fingerprint([content; 32]),
    });
    let definition = Definition {
        name: name(text),
        uid: Uid(Uuid::from_u128(7)),
        create_time: NOW.wall,
        creator: "eyes".into(),
        mark,
        filter: AuditFilter::default(),
        start: 11,
    };
    AuditCursor { definition: Arc::new(definition), progress: Progress::before(LOG, 11) }
}

fn book(limits: (u32, u32)) -> Book {
    let some = |count| std::num::NonZeroU32::new(count).unwrap();
    Book::new([], CursorLimits { total: some(limits.0), per_account: some(limits.1) })
}

/// A book with one cursor, `auditCursors/c`, and its name.
fn with_one() -> (Book, AuditCursorName) {
    let mut book = book((10, 10));
    book.create(cursor("auditCursors/c", None)).unwrap();
    (book, name("auditCursors/c"))
}

fn begin(name: &AuditCursorName, token: LeaseToken) -> Begin {
    let (name, caller) = (name.clone(), "eyes".into());
    Begin { name, caller, token, own: None, takes_over: false, time: TIME, log_id: LOG }
}

fn sent(through: u64) -> Sent {
    Sent { through, missed: Vec::new() }
}

fn after(seconds: u64) -> Moment {
    NOW.plus(Duration::from_secs(seconds))
}

#[test]
fn what_was_sent_can_be_acknowledged_and_a_cursor_never_goes_back() {
    let (mut book, name) = with_one();
    let begun = book.begin(begin(&name, A), NOW).unwrap();
    assert_eq!((begun.cursor.progress.through, begun.ended), (10, None));
    book.send(&name, A, sent(20));
    let (progress, has_moved) = book.acknowledge(&name, A, 15, NOW).unwrap();
    assert_eq!((progress.through, progress.time, has_moved), (15, Some(NOW.wall), true));
    for behind in [0, 3, 15] {
        let (progress, has_moved) = book.acknowledge(&name, A, behind, after(1)).unwrap();
        assert_eq!((progress.through, progress.time, has_moved), (15, Some(NOW.wall), false));
    }
    let ahead = book.acknowledge(&name, A, 21, NOW).unwrap_err();
    assert_eq!(ahead, AcknowledgeError::NotSent { name: name.clone(), through: 21, sent: 20 });
    assert_eq!(book.acknowledge(&name, A, 20, NOW).unwrap().0.through, 20);
}

#[test]
fn one_reads_at_a_time_until_its_lease_is_over() {
    let (mut book, name) = with_one();
    book.begin(begin(&name, A), NOW).unwrap();
    let refused = book.begin(begin(&name, B), after(1_000)).unwrap_err();
    let reader = Reader { caller: "eyes".into(), expires: None };
    let leased = |reader, wait| BeginError::Leased { name: name.clone(), reader, wait };
    assert_eq!(refused, leased(reader, TIME));
    book.send(&name, A, sent(20));
    book.end(&name, A, after(1_000));
    let reader = Reader { caller: "eyes".into(), expires: Some(after(1_030)) };
    assert_eq!(book.show(&name, after(1_000)).unwrap().reader, Some(reader.clone()));
    let refused = book.begin(begin(&name, B), after(1_020)).unwrap_err();
    assert_eq!(refused, leased(reader, Duration::from_secs(10)));
    // What was received can still be acknowledged.
    assert!(book.acknowledge(&name, A, 15, after(1_029)).unwrap().1);
    let late = book.acknowledge(&name, A, 16, after(1_030)).unwrap_err();
    assert_eq!(late, AcknowledgeError::LeaseLost(name.clone()));
    assert_eq!(book.show(&name, after(1_030)).unwrap().reader, None);
    let begun = book.begin(begin(&name, B), after(1_030)).unwrap();
    assert_eq!((begun.cursor.progress.through, begun.ended), (15, None));
    // The end of a stream whose lease was taken changes nothing.
    book.end(&name, A, after(1_031));
    assert_eq!(book.show(&name, after(2_000)).unwrap().reader.unwrap().expires, None);
}

#[test]
fn a_lease_lasts_as_long_whatever_the_wall_clock_is_set_to() {
    let (mut book, name) = with_one();
    book.begin(begin(&name, A), NOW).unwrap();
    book.send(&name, A, sent(20));
    book.end(&name, A, NOW);
    // Set back by as much as it has gone, or forwards by a day.
    let early = Moment { wall: UnixNanos(0), ..after(30) };
    let late = Moment { wall: NOW.wall.plus_seconds(86_400), ..after(29) };
    assert_eq!(book.show(&name, late).unwrap().reader.unwrap().expires, Some(after(30)));
    let refused = book.begin(begin(&name, B), late).unwrap_err();
    assert!(
        matches!(refused, BeginError::Leased { wait, .. } if wait == Duration::from_secs(1)),
        "{refused:?}"
    );
    let (progress, _) = book.acknowledge(&name, A, 15, late).unwrap();
    assert_eq!(progress.time, Some(late.wall));
    assert_eq!(book.show(&name, early).unwrap().reader, None);
    let lost = book.acknowledge(&name, A, 16, early).unwrap_err();
    assert_eq!(lost, AcknowledgeError::LeaseLost(name.clone()));
    assert_eq!(book.begin(begin(&name, B), early).unwrap().ended, None);
}

#[test]
fn who_takes_over_fences_the_other_one_off() {
    let (mut book, name) = with_one();
    for (own, takes_over) in [(None, true), (Some(A), false), (Some(A), true)] {
        book.begin(Begin { takes_over: true, ..begin(&name, A) }, NOW).unwrap();
        book.send(&name, A, sent(30));
        let other = Begin { own, takes_over, ..begin(&name, B) };
        assert_eq!(book.begin(other, NOW).unwrap().ended, Some(A));
        let lost = book.acknowledge(&name, A, 12, NOW).unwrap_err();
        assert_eq!(lost, AcknowledgeError::LeaseLost(name.clone()));
        // What the other one was sent isn't what this one was.
        book.send(&name, A, sent(40));
        let ahead = book.acknowledge(&name, B, 12, NOW);
        assert!(matches!(ahead, Err(AcknowledgeError::NotSent { sent: 10, .. })), "{ahead:?}");
        assert!(!book.release(&name, A) && book.release(&name, B));
        assert_eq!(book.show(&name, NOW).unwrap().reader, None);
    }
    // A token that is nobody's is none that takes over.
    book.begin(begin(&name, A), NOW).unwrap();
    let refused = book.begin(Begin { own: Some(B), ..begin(&name, B) }, NOW);
    assert!(matches!(refused, Err(BeginError::Leased { .. })), "{refused:?}");
}

#[test]
fn a_lease_reads_one_log_and_the_next_one_begins_before_its_first_record() {
    let (mut book, name) = with_one();
    book.begin(Begin { log_id: NEXT_LOG, ..begin(&name, A) }, NOW).unwrap();
    let missed = Missed { log_id: LOG, from: 11, through: Some(14) };
    book.send(&name, A, Sent { through: 0, missed: vec![missed] });
    let (progress, has_moved) = book.acknowledge(&name, A, 0, NOW).unwrap();
    assert_eq!((progress.log_id, progress.through, has_moved), (LOG, 10, false));
    // Its place in the log before is none in this one.
    assert!(book.acknowledge(&name, A, 1, NOW).is_err());
    book.send(&name, A, sent(2));
    let (progress, has_moved) = book.acknowledge(&name, A, 2, NOW).unwrap();
    assert_eq!((progress.log_id, progress.through, has_moved), (NEXT_LOG, 2, true));
    assert_eq!((progress.missed, progress.missed_count), (vec![missed], 4));
}

#[test]
fn a_request_that_is_repeated_finds_what_it_has_created() {
    let mut book = book((10, 10));
    let first = cursor("auditCursors/c", Some(("id", 1)));
    assert_eq!(book.create(first.clone()), Ok(Created::Now(first.clone())));
    let again = AuditCursor { progress: Progress::before(LOG, 99), ..first.clone() };
    assert_eq!(book.create(again), Ok(Created::Before(first)));
    let reused = CreateError::RequestIdReused(RequestId::parse("id").unwrap());
    for other in
        [cursor("auditCursors/c", Some(("id", 2))), cursor("auditCursors/d", Some(("id", 1)))]
    {
        assert_eq!(book.create(other), Err(reused.clone()));
    }
    let taken = CreateError::AlreadyExists(name("auditCursors/c"));
    assert_eq!(book.create(cursor("auditCursors/c", None)), Err(taken.clone()));
    assert_eq!(book.create(cursor("auditCursors/c", Some(("other", 1)))), Err(taken));
    // Ids are those of an account.
    assert!(book.create(cursor("accounts/acme/auditCursors/c", Some(("id", 2)))).is_ok());
}

#[test]
fn there_are_only_so_many_of_an_account_and_in_all() {
    let mut book = book((4, 2));
    let full =
        |account: &str, limit| Err(CreateError::LimitReached { account: account.into(), limit });
    for (text, wanted) in [
        ("accounts/acme/auditCursors/a", Ok(())),
        ("accounts/acme/auditCursors/b", Ok(())),
        ("accounts/acme/auditCursors/c", full("acme", 2)),
        ("auditCursors/a", Ok(())),
        ("accounts/acme2/auditCursors/a", Ok(())),
        ("auditCursors/b", full("*", 4)),
    ] {
        assert_eq!(book.create(cursor(text, None)).map(drop), wanted, "{text}");
    }
    book.delete(&name("accounts/acme/auditCursors/a"), None).unwrap();
    assert!(book.create(cursor("auditCursors/b", None)).is_ok());
}

#[test]
fn what_is_deleted_is_gone_with_its_lease_and_only_if_it_is_meant() {
    let (mut book, name) = with_one();
    book.begin(begin(&name, A), NOW).unwrap();
    let other = Uid(Uuid::from_u128(8));
    assert_eq!(book.delete(&name, Some(other)), Err(NotFound(name.clone())));
    assert_eq!(book.delete(&name, Some(Uid(Uuid::from_u128(7)))), Ok(Some(A)));
    assert_eq!(book.delete(&name, None), Err(NotFound(name.clone())));
    assert_eq!(book.show(&name, NOW), None);
    assert!(book.begin(begin(&name, B), NOW).is_err() && !book.release(&name, A));
    assert!(book.acknowledge(&name, A, 1, NOW).is_err());
    // A new one of that name is another one.
    book.create(cursor("auditCursors/c", None)).unwrap();
    assert!(matches!(book.acknowledge(&name, A, 1, NOW), Err(AcknowledgeError::LeaseLost(_))));
}
