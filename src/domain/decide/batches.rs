//! Batches: several changes, judged in order, carried out together or not at all.

use super::*;
use crate::domain::{
    request::{Fingerprint, RequestMark},
    resource::Uid,
    testing::{
        World, create_access_point, create_network_rule, create_policy, delete_access_point,
        delete_policy, policy_name,
    },
    time::UnixNanos,
};

fn batch(commands: impl IntoIterator<Item = Command>, mark: Option<&RequestMark>) -> Batch {
    let uid = |number| Uid(uuid::Uuid::from_u128(number));
    let commands = (100..).map(uid).zip(commands);
    Batch::of(&"operator".into(), UnixNanos(7), mark, commands)
}

fn mark(id: &str, content: u8) -> RequestMark {
    RequestMark {
        id: RequestId::parse(id).unwrap(),
        method: "ApplyChanges".into(),
        fingerprint: Fingerprint([content; 32]),
    }
}

/// A rule, a policy that names it, and an access point that has the policy.
fn a_chain(id: &str) -> [Command; 3] {
    [
        create_network_rule(id, "public", "10.0.0.0/8"),
        create_policy(id, "shared", "SECRET_USER", "secret/*", id),
        create_access_point(id, id),
    ]
}

#[test]
fn each_change_is_judged_on_what_those_before_it_leave() {
    let mut world = World::given(a_chain("a"));
    let commands = a_chain("b").into_iter().chain([delete_access_point("b"), delete_policy("b")]);
    let events = world.carry_out_all(&batch(commands, None)).unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    assert!(events.iter().all(|event| event.time == UnixNanos(7) && &*event.actor == "operator"));
    assert!(world.catalog.policy(&policy_name("b")).is_none());
}

#[test]
fn one_that_is_rejected_rejects_all_and_is_named() {
    let world = World::given(a_chain("a"));
    let [rule, policy, access_point] = a_chain("b");
    for (commands, place) in [
        (vec![policy.clone(), rule.clone(), access_point.clone()], 0),
        (vec![rule.clone(), rule.clone()], 1),
        (vec![rule.clone(), policy.clone(), delete_access_point("a"), access_point, policy], 4),
        (vec![rule, delete_policy("a")], 1),
    ] {
        let rejected =
            decide(&world.catalog, &Limits::NONE, &batch(commands.clone(), None)).unwrap_err();
        assert_eq!(rejected.place, place, "{commands:?}: {rejected}");
    }
}

#[test]
fn a_repeated_batch_gets_all_its_events_again() {
    let mut world = World::given(a_chain("a"));
    let (first, second) = (mark("r-1", 1), mark("r-2", 1));
    world.carry_out_all(&batch(a_chain("b"), Some(&first))).unwrap();
    // The next one follows at once, at the same time and with the same content.
    world.carry_out_all(&batch(a_chain("c"), Some(&second))).unwrap();
    let judge = |mark| decide(&world.catalog, &Limits::NONE, &batch(a_chain("b"), Some(mark)));
    assert_eq!(judge(&first), Ok(Verdict::AnsweredBefore { first: 4, last: 6 }));
    assert_eq!(judge(&second), Ok(Verdict::AnsweredBefore { first: 7, last: 9 }));
    let reused = Rejection::RequestIdReused(RequestId::parse("r-1").unwrap());
    assert_eq!(judge(&mark("r-1", 2)), Err(Rejected { place: 0, rejection: reused }));
}
