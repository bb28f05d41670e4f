//! Checks over a stream: answered like calls of their own, each in its place, none holding up
//! another.

use std::collections::BTreeSet;

use aap::api::pb::{
    self, DecisionReason as Reason, ErrorReason, Outcome, streamed_result::Result as Answered,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::support::{
    ADMIN, BOUNDED, Client, ENFORCER, Fault, GATEWAY, OTHER_ENFORCER, Refusal, TestServer,
    server::PATIENCE,
    watching,
    world::{self, HERE, THERE, question},
};

/// An open stream of checks.
struct Asking {
    questions: mpsc::Sender<pb::StreamCheckAccessRequest>,
    answers: Streaming<pb::StreamCheckAccessResponse>,
}

impl Asking {
    async fn begin(client: &Client) -> Result<Self, Status> {
        let (questions, asked) = mpsc::channel(1);
        let stream = ReceiverStream::new(asked);
        let answers = client.authorization().stream_check_access(stream).await?.into_inner();
        Ok(Self { questions, answers })
    }

    async fn ask(&self, message: pb::StreamCheckAccessRequest) {
        self.questions.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Result<Option<pb::StreamCheckAccessResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.answers.message()).await.expect("an answer in time")
    }

    async fn answer(&mut self) -> pb::StreamCheckAccessResponse {
        self.next().await.unwrap().expect("the stream goes on")
    }

    /// Reads to the end, which must be an error.
    async fn ending(mut self) -> Status {
        loop {
            match self.next().await {
                Ok(answer) => assert!(answer.is_some(), "the stream ends with an error"),
                Err(status) => return status,
            }
        }
    }
}

/// A message with checks numbered from a number on.
fn message(first: u64, checks: Vec<pb::Check>) -> pb::StreamCheckAccessRequest {
    let checks = (first..).zip(checks);
    pb::StreamCheckAccessRequest {
        parent: HERE.to_owned(),
        checks: checks
            .map(|(correlation_id, check)| pb::StreamedCheck { correlation_id, check: Some(check) })
            .collect(),
        ..Default::default()
    }
}

fn decided(result: &pb::StreamedResult) -> (&pb::Decision, &pb::Receipt) {
    let Some(Answered::Decided(result)) = &result.result else { panic!("{result:?}") };
    (result.decision.as_ref().unwrap(), result.receipt.as_ref().unwrap())
}

fn failed(result: &pb::StreamedResult) -> &pb::CheckFailure {
    let Some(Answered::Failed(failure)) = &result.result else { panic!("{result:?}") };
    failure
}

#[tokio::test]
async fn every_check_gets_the_answer_of_a_call_of_its_own_and_a_record() {
    const MESSAGES: u64 = 50;
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let mut asking = Asking::begin(&enforcer).await.unwrap();
    let checks = || vec![world::allowed(), question("secret/other"), world::allowed()];
    let (mut sequences, mut asked) = (BTreeSet::new(), 0);
    for number in 0..MESSAGES {
        let request_id = format!("m-{number}");
        asking.ask(pb::StreamCheckAccessRequest { request_id, ..message(asked, checks()) }).await;
        asked += 3;
    }
    let (mut answered, mut last) = (0, None);
    while answered < asked {
        let answer = asking.answer().await;
        assert_eq!(answer.revision, 4);
        for result in &answer.results {
            assert_eq!(result.correlation_id, answered);
            let (decision, receipt) = decided(result);
            let own = world::answer(&enforcer, checks()[(answered % 3) as usize].clone()).await;
            assert_eq!(Some(decision), own.decision.as_ref());
            assert!(receipt.durable && sequences.insert(receipt.sequence));
            last = Some(receipt.clone());
            answered += 1;
        }
    }
    let receipt = last.unwrap();
    let auditor = server.client(crate::support::AUDITOR);
    let stored = watching::stored(&auditor, receipt.sequence).await.unwrap();
    assert_eq!(stored.leaf_hash, receipt.leaf_hash);
    // The client says its last, and the stream ends well.
    let Asking { questions, mut answers } = asking;
    drop(questions);
    assert_eq!(answers.message().await.unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn what_can_not_be_answered_fails_in_its_place_and_the_stream_goes_on() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut asking = Asking::begin(&server.client(ENFORCER)).await.unwrap();
    let wrong = pb::Check { action: "?".into(), instance: String::new(), ..world::allowed() };
    let mut mixed = message(7, vec![world::allowed(), wrong.clone(), question("key/a")]);
    mixed.checks.push(pb::StreamedCheck { correlation_id: 10, check: None });
    asking.ask(mixed).await;
    let answer = asking.answer().await;
    let numbers: Vec<_> = answer.results.iter().map(|result| result.correlation_id).collect();
    assert_eq!(numbers, [7, 8, 9, 10]);
    assert_eq!(decided(&answer.results[0]).0.outcome(), Outcome::Allow);
    assert_eq!(decided(&answer.results[2]).0.reason(), Reason::ActionNotPermitted);
    let failure = failed(&answer.results[1]);
    assert_eq!(failure.code, i32::from(Code::InvalidArgument));
    assert_eq!(failure.reason(), ErrorReason::InvalidFields);
    assert_eq!(failure.metadata["violations"], "2");
    let fields: Vec<_> = failure.invalid_fields.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["check.action", "check.instance"]);
    assert_eq!(failed(&answer.results[3]).invalid_fields[0].field, "check");

    let elsewhere = pb::StreamCheckAccessRequest {
        parent: THERE.into(),
        ..message(1, vec![world::allowed(), wrong])
    };
    asking.ask(elsewhere).await;
    let answer = asking.answer().await;
    assert_eq!((answer.results.len(), answer.revision), (2, 0));
    for result in &answer.results {
        let failure = failed(result);
        assert_eq!(failure.code, i32::from(Code::PermissionDenied));
        assert_eq!(failure.reason(), ErrorReason::AccountNotBound);
        assert_eq!(failure.metadata["account"], "other");
    }
    let request_id = "two words".into();
    let one = || message(1, vec![world::allowed()]);
    asking.ask(pb::StreamCheckAccessRequest { request_id, ..one() }).await;
    let answer = asking.answer().await;
    assert_eq!(failed(&answer.results[0]).invalid_fields[0].field, "request_id");
    asking.ask(one()).await;
    assert_eq!(decided(&asking.answer().await.results[0]).0.outcome(), Outcome::Allow);

    let mut gateway = Asking::begin(&server.client(GATEWAY)).await.unwrap();
    gateway.ask(one()).await;
    let answer = gateway.answer().await;
    assert_eq!(failed(&answer.results[0]).reason(), ErrorReason::IdentityAssertionNotAllowed);
    // One that lies beyond what the enforcer may vouch for fails its whole message.
    let mut bounded = Asking::begin(&server.client(BOUNDED)).await.unwrap();
    let wrong = pb::Check { action: "?".into(), ..world::allowed() };
    let beyond = pb::Check { instance: "kst-1".into(), ..world::allowed() };
    bounded.ask(message(1, vec![wrong, world::allowed(), beyond])).await;
    let answer = bounded.answer().await;
    for result in &answer.results {
        assert_eq!(failed(result).reason(), ErrorReason::EnforcerBoundsExceeded);
        assert_eq!(failed(result).metadata["check"], "2");
    }
    drop((asking, gateway, bounded));
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_asks_nothing_or_too_much_or_is_none_ends_the_stream() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    for count in [0, 1_001] {
        let asking = Asking::begin(&server.client(ENFORCER)).await.unwrap();
        asking.ask(message(0, vec![world::allowed()])).await;
        asking.ask(message(0, vec![world::allowed(); count])).await;
        let refusal = Refusal::of(&asking.ending().await);
        assert_eq!(refusal.is(Code::InvalidArgument, "INVALID_FIELDS").paths(), ["checks"]);
    }
    let path = "/aap.v1.AuthorizationService/StreamCheckAccess";
    let garbage = server.client(ENFORCER).raw(path, vec![0xff]).await.unwrap_err();
    Refusal::of(&garbage).is(Code::InvalidArgument, "MALFORMED_MESSAGE");
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_waits_for_a_revision_holds_up_no_other() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let mut asking = Asking::begin(&server.client(ENFORCER)).await.unwrap();
    let early = |first, at_least_revision| pb::StreamCheckAccessRequest {
        at_least_revision,
        ..message(first, vec![world::allowed()])
    };
    asking.ask(early(1, 5)).await;
    asking.ask(early(2, 4)).await;
    let answer = asking.answer().await;
    assert_eq!((answer.results[0].correlation_id, answer.revision), (2, 4));
    let policy = world::new_policy("p", &["secret/a"], &[]);
    admin.policies().create_policy(policy).await.unwrap();
    let answer = asking.answer().await;
    assert_eq!((answer.results[0].correlation_id, answer.revision), (1, 5));
    asking.ask(early(3, 1_000)).await;
    let answer = asking.answer().await;
    let failure = failed(&answer.results[0]);
    assert_eq!(failure.reason(), ErrorReason::RevisionNotReached);
    assert_eq!(failure.metadata["at_least_revision"], "1000");
    drop(asking);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_read_no_questions_and_holds_up_nobody() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut asking = Asking::begin(&server.client_apart(ENFORCER)).await.unwrap();
    let full = message(0, vec![world::allowed(); 1_000]);
    let mut sent = 0;
    // As long as the server reads, a message finds its way out soon.
    let soon = std::time::Duration::from_secs(1);
    while tokio::time::timeout(soon, asking.ask(full.clone())).await.is_ok() {
        sent += 1;
        assert!(sent < 1_000, "the server reads on and on");
    }
    world::allow(&server.client(ENFORCER)).await;
    // When it reads, all that was asked is answered.
    for _ in 0..sent {
        assert_eq!(asking.answer().await.results.len(), 1_000);
    }
    drop(asking);
    server.stop().await;
}

#[tokio::test]
async fn what_can_not_be_recorded_is_not_given() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut asking = Asking::begin(&server.client(ENFORCER)).await.unwrap();
    asking.ask(message(0, vec![world::allowed()])).await;
    assert_eq!(decided(&asking.answer().await.results[0]).0.outcome(), Outcome::Allow);
    server.faults.fail_once(Fault::AuditSync);
    for _ in 0..2 {
        asking.ask(message(0, vec![world::allowed(); 2])).await;
        let answer = asking.answer().await;
        assert_eq!(answer.revision, 0);
        for result in &answer.results {
            assert_eq!(failed(result).reason(), ErrorReason::AuditUnavailable);
        }
    }
    drop(asking);
    let (setup, outcome) = server.stop_with_outcome().await;
    assert!(outcome.is_err());
    setup.start().await.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_server_and_others_ask_for_themselves() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut other = Asking::begin(&server.client(OTHER_ENFORCER)).await.unwrap();
    other.ask(message(0, vec![world::allowed()])).await;
    assert_eq!(failed(&other.answer().await.results[0]).reason(), ErrorReason::AccountNotBound);
    let stopping = tokio::spawn(server.stop());
    Refusal::of(&other.ending().await).is(Code::Unavailable, "SHUTTING_DOWN");
    stopping.await.unwrap();
}
