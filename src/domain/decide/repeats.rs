//! Requests with an id: what a repeat comes to, and for how long.

use std::time::Duration;

use super::*;
use crate::domain::{
    catalog::REQUEST_MEMORY,
    request::{Fingerprint, RequestMark},
    testing::{ABROAD, World, create_policy, delete_policy, full_name, policy_name},
    time::UnixNanos,
};

fn policy(name: &str) -> Command {
    create_policy(name, "shared", "SECRET_USER", "secret/*", "any")
}

fn mark(id: &str, method: &str, content: u8) -> RequestMark {
    RequestMark {
        id: RequestId::parse(id).unwrap(),
        method: method.into(),
        fingerprint: Fingerprint([content; 32]),
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

/// The last moment at which a request is remembered that was decided at the start.
fn last_moment() -> Duration {
    REQUEST_MEMORY.saturating_sub(NANOSECOND)
}

fn at(after: Duration) -> UnixNanos {
    UnixNanos(1_000_000 + i64::try_from(after.as_nanos()).unwrap())
}

/// `alice` creates a policy of that name under the request id `r-1`, some time after the start.
fn marked(world: &World, after: Duration, name: &str, content: u8) -> Request {
    Request {
        actor: "alice".into(),
        time: at(after),
        mark: Some(mark("r-1", "CreatePolicy", content)),
        ..world.request(policy(name))
    }
}

/// A world in which `alice` created the policy `p` under the request id `r-1` at the start.
fn answered_once() -> World {
    let mut world = World::given([]);
    let first = marked(&world, Duration::ZERO, "p", 1);
    assert!(matches!(world.ask(&first), Ok(Verdict::Happened(_))));
    world
}

#[test]
fn a_repeated_request_gets_its_first_answer_for_a_day() {
    let world = answered_once();
    let answered = Ok(Verdict::AnsweredBefore { first: 1, last: 1 });
    let reused = || Err(Rejection::RequestIdReused(RequestId::parse("r-1").unwrap()));
    let judged_anew = Err(Rejection::AlreadyExists(ResourceName::Policy(policy_name("p"))));
    for (after, content, outcome) in [
        (Duration::ZERO, 1, answered.clone()),
        (NANOSECOND, 1, answered.clone()),
        (last_moment(), 1, answered),
        (REQUEST_MEMORY, 1, judged_anew.clone()),
        (REQUEST_MEMORY + NANOSECOND, 1, judged_anew.clone()),
        (Duration::ZERO, 2, reused()),
        (last_moment(), 2, reused()),
        (REQUEST_MEMORY, 2, judged_anew),
    ] {
        let request = marked(&world, after, "p", content);
        assert_eq!(world.judge(&request), outcome, "{after:?} {content}");
    }
}

#[test]
fn a_clock_that_went_back_forgets_nothing() {
    let world = answered_once();
    let earlier = Request { time: UnixNanos(0), ..marked(&world, Duration::ZERO, "p", 1) };
    let answered = Ok(Verdict::AnsweredBefore { first: 1, last: 1 });
    assert_eq!(world.judge(&earlier), answered);
}

#[test]
fn a_request_id_means_something_to_its_caller_account_and_method_alone() {
    let world = answered_once();
    let repeat = || marked(&world, NANOSECOND, "p", 1);
    let judged_anew = || Err(Rejection::AlreadyExists(ResourceName::Policy(policy_name("p"))));
    for (request, what) in [
        (Request { actor: "bob".into(), ..repeat() }, "another caller"),
        (Request { mark: Some(mark("r-1", "CreateOther", 1)), ..repeat() }, "another method"),
        (Request { mark: Some(mark("r-2", "CreatePolicy", 1)), ..repeat() }, "another id"),
        (Request { mark: Some(mark("R-1", "CreatePolicy", 1)), ..repeat() }, "another case"),
        (Request { mark: None, ..repeat() }, "no id"),
    ] {
        assert_eq!(world.judge(&request), judged_anew(), "{what}");
    }
    let abroad = marked(&world, NANOSECOND, &full_name(ABROAD, "policies", "p"), 1);
    assert!(matches!(world.judge(&abroad), Ok(Verdict::Happened(_))));
    let other_region = marked(&world, NANOSECOND, "accounts/acme/regions/eu-2/policies/p", 2);
    let reused = Rejection::RequestIdReused(RequestId::parse("r-1").unwrap());
    assert_eq!(world.judge(&other_region), Err(reused));
}

#[test]
fn a_repeated_deletion_is_answered_although_nothing_is_left() {
    let mut world = World::given([policy("p")]);
    let mark = Some(mark("r-1", "DeletePolicy", 1));
    let request = Request { mark, ..world.request(delete_policy("p")) };
    assert!(matches!(world.ask(&request), Ok(Verdict::Happened(_))));
    assert_eq!(world.ask(&request), Ok(Verdict::AnsweredBefore { first: 2, last: 2 }));
}

#[test]
fn a_rejected_request_does_not_use_its_id_up() {
    let mut world = World::given([policy("p")]);
    let rejected = marked(&world, Duration::ZERO, "p", 1);
    assert!(world.ask(&rejected).is_err());
    let corrected = marked(&world, NANOSECOND, "q", 2);
    assert!(matches!(world.ask(&corrected), Ok(Verdict::Happened(_))));
}

#[test]
fn a_request_id_that_was_forgotten_is_used_anew_and_remembered_again() {
    let mut world = answered_once();
    let again = marked(&world, REQUEST_MEMORY, "q", 2);
    assert!(matches!(world.ask(&again), Ok(Verdict::Happened(_))));
    let repeat = marked(&world, REQUEST_MEMORY + last_moment(), "q", 2);
    assert_eq!(world.ask(&repeat), Ok(Verdict::AnsweredBefore { first: 2, last: 2 }));
}

#[test]
fn forgetting_the_first_use_of_a_request_id_keeps_the_second() {
    // The clock goes back after the first event, so `r-1` stands behind a younger request in the
    // order of forgetting, and is used again before its turn comes.
    let mut world = World::given([]);
    let younger = Request {
        mark: Some(mark("r-0", "CreatePolicy", 0)),
        ..marked(&world, Duration::from_hours(10), "o", 0)
    };
    assert!(matches!(world.ask(&younger), Ok(Verdict::Happened(_))));
    for (after, name, content) in [(Duration::ZERO, "p", 1), (REQUEST_MEMORY, "q", 2)] {
        let request = marked(&world, after, name, content);
        assert!(matches!(world.ask(&request), Ok(Verdict::Happened(_))));
    }
    let after = REQUEST_MEMORY + Duration::from_hours(10);
    let unmarked = Request { mark: None, ..marked(&world, after, "s", 0) };
    assert!(matches!(world.ask(&unmarked), Ok(Verdict::Happened(_))));
    let repeat = marked(&world, after, "q", 2);
    assert_eq!(world.ask(&repeat), Ok(Verdict::AnsweredBefore { first: 3, last: 3 }));
}
