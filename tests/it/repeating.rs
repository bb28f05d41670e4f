//! Requests with an id, over every method that changes something: answered once, for a day.

use std::time::Duration;

use aap::{
    api::pb::{self, requested_change::Change as Requested},
    clock::Clock,
    domain::time::{Date, UnixNanos},
};
use bytes::Bytes;
use prost::Message as _;
use tonic::Code;

use crate::support::{
    ADMIN, Client, OTHER_ADMIN, Refusal, SECOND_ADMIN, Setup, TestServer,
    methods::{METHODS, Method},
    refused,
    world::{self, THERE},
};

const DAY: Duration = Duration::from_hours(24);

/// A call that changes something, and how it was answered first.
struct Answered {
    path: &'static str,
    message: Vec<u8>,
    first: Bytes,
}

/// The example of a method, if it changes something, so that it does.
fn change(method: Method) -> Option<Vec<u8>> {
    let name = method.path.rsplit('/').next().unwrap();
    let words = ["Create", "Update", "Suspend", "Resume", "Revoke", "Delete"];
    if name == "ApplyChanges" {
        let mut request = pb::ApplyChangesRequest::decode(&method.message()[..]).unwrap();
        request.validate_only = false;
        return Some(request.encode_to_vec());
    }
    // Client keys have ids that nobody knows before: `client_keys.rs` has them. Cursors are
    // remembered as long as they exist: `cursors.rs` has them.
    let is_elsewhere = ["ClientKey", "AuditCursor"].iter().any(|other| name.contains(other));
    let is_change = words.iter().any(|word| name.starts_with(word)) && !is_elsewhere;
    is_change.then(|| method.message())
}

/// The same request about another region, or about another name where there is none: other content.
fn elsewhere(message: &[u8]) -> Vec<u8> {
    let mut changed = message.to_vec();
    for (from, to) in [(&b"eu-1"[..], &b"eu-2"[..]), (b"\x03new", b"\x03nev"), (b"s/new", b"s/nev")]
    {
        for place in 0..=message.len() - from.len() {
            if message[place..].starts_with(from) {
                changed[place..place + to.len()].copy_from_slice(to);
            }
        }
    }
    assert_ne!(changed, message);
    changed
}

async fn assert_repeated(admin: &Client, calls: &[Answered], when: &str) {
    for Answered { path, message, first } in calls {
        let again = admin.raw(path, message.clone()).await;
        assert_eq!(again.as_ref().ok(), Some(first), "{path}, {when}: {again:?}");
        let other = admin.raw(path, elsewhere(message)).await.unwrap_err();
        Refusal::of(&other).is(Code::FailedPrecondition, "REQUEST_ID_REUSED");
    }
}

#[tokio::test]
async fn every_change_is_answered_as_first_for_a_day_also_after_a_restart() {
    let start = UnixNanos::start_of(Date { year: 2030, month: 1, day: 1 }).unwrap();
    let clock = Clock::manual(start);
    let at = |after: Duration| UnixNanos(start.0 + i64::try_from(after.as_nanos()).unwrap());
    let server = Setup { clock: clock.clone(), ..Setup::new() }.start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let mut calls = Vec::new();
    for method in METHODS {
        let Some(message) = change(method) else { continue };
        let first = admin.raw(method.path, message.clone()).await.unwrap();
        calls.push(Answered { path: method.path, message, first });
    }
    assert!(calls.len() >= 12, "{}", calls.len());
    assert_repeated(&admin, &calls, "at once").await;
    let server = server.restart().await;
    let admin = server.client(ADMIN);
    assert_repeated(&admin, &calls, "after a restart").await;
    clock.set(at(DAY.saturating_sub(Duration::from_nanos(1))));
    assert_repeated(&admin, &calls, "at the last moment").await;

    // What was made is gone by now, so all of it can be made anew; but what was made together with
    // others is still there.
    clock.set(at(DAY));
    for Answered { path, message, first } in &calls {
        let answered = admin.raw(path, message.clone()).await;
        if path.ends_with("ApplyChanges") {
            let refusal = Refusal::of(&answered.unwrap_err());
            refusal.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS");
        } else {
            let is_new = answered.unwrap() != *first;
            assert_eq!(is_new, !path.contains("Delete"), "{path} is judged anew after a day");
        }
    }
    server.stop().await;
}

fn apply(changes: Vec<pb::CreatePolicyRequest>) -> pb::ApplyChangesRequest {
    let requested = |change| pb::RequestedChange { change: Some(Requested::CreatePolicy(change)) };
    pb::ApplyChangesRequest {
        parent: "accounts/acme".into(),
        changes: changes.into_iter().map(requested).collect(),
        request_id: "once".into(),
        validate_only: false,
    }
}

#[tokio::test]
async fn a_rejected_request_is_not_remembered() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let (mut policies, mut changes) = (admin.policies(), admin.changes());
    let with_id = |request: pb::CreatePolicyRequest| pb::CreatePolicyRequest {
        request_id: "once".into(),
        ..request
    };
    let wrong = with_id(world::new_policy("p", &["secret/a"], &["gone"]));
    let invalid = with_id(world::new_policy("p", &["nothing"], &[]));
    let judged = pb::CreatePolicyRequest {
        validate_only: true,
        ..with_id(world::new_policy("p", &["secret/b"], &[]))
    };
    refused(policies.create_policy(wrong.clone()).await)
        .is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND");
    refused(policies.create_policy(invalid).await).is(Code::InvalidArgument, "INVALID_FIELDS");
    policies.create_policy(judged).await.unwrap();
    let right = with_id(world::new_policy("p", &["secret/a"], &[]));
    let made = policies.create_policy(right.clone()).await.unwrap().into_inner();
    assert_eq!(policies.create_policy(right).await.unwrap().into_inner(), made);

    let new = |id: &str, rules: &[&str]| world::new_policy(id, &["secret/a"], rules);
    let wrong = apply(vec![new("q", &[]), new("r", &["gone"])]);
    let judged = pb::ApplyChangesRequest { validate_only: true, ..apply(vec![new("s", &[])]) };
    refused(changes.apply_changes(wrong).await).is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND");
    changes.apply_changes(judged).await.unwrap();
    let right = apply(vec![new("q", &[]), new("r", &[])]);
    let made = changes.apply_changes(right.clone()).await.unwrap().into_inner();
    assert_eq!(changes.apply_changes(right).await.unwrap().into_inner(), made);
    server.stop().await;
}

#[tokio::test]
async fn an_id_of_many_changes_means_something_to_its_caller_account_and_method_alone() {
    let server = TestServer::start().await;
    let new = |id: &str| vec![world::new_policy(id, &["secret/a"], &[])];
    let admin = server.client(ADMIN);
    let first = admin.changes().apply_changes(apply(new("p"))).await.unwrap().into_inner();
    // Another method.
    let request = pb::CreatePolicyRequest { request_id: "once".into(), ..new("q").remove(0) };
    admin.policies().create_policy(request).await.unwrap();
    // Another caller.
    let second = server.client(SECOND_ADMIN);
    second.changes().apply_changes(apply(new("r"))).await.unwrap();
    // Another account.
    let mut theirs = apply(new("p"));
    theirs.parent = "accounts/other".into();
    let Some(Requested::CreatePolicy(create)) = &mut theirs.changes[0].change else { panic!() };
    create.parent = THERE.into();
    server.client(OTHER_ADMIN).changes().apply_changes(theirs).await.unwrap();
    // And none of them has taken the first one's place.
    let again = admin.changes().apply_changes(apply(new("p"))).await.unwrap().into_inner();
    assert_eq!(again, first);
    server.stop().await;
}
