//! Audit records that are no longer kept: said to be gone to who asks for them, on record, and never
//! those that are to stay.

use std::time::Duration;

use aap::{
    api::pb::{self, audit_record::Event, gap_event::Cause, watch_audit_records_request::Start},
    audit::{log::Options, retention::Retention},
    clock::Clock,
    domain::time::UnixNanos,
};
use bytes::Bytes;
use tonic::Code;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, Refusal, Setup, TestServer,
    watching::{self, Watch, record, refused_call_of},
    world::{self, ask_all},
};

/// Records enough for a segment and more.
async fn fill(enforcer: &Client) -> u64 {
    let mut last = 0;
    for _ in 0..5 {
        let batch = ask_all(vec![world::allowed(); 1_000]);
        let answer = enforcer.authorization().batch_check_access(batch).await.unwrap();
        last = answer.into_inner().results.last().unwrap().receipt.as_ref().unwrap().sequence;
    }
    last
}

/// A server that keeps about two segments of 1 MiB.
async fn start(retention: Retention, clock: Clock) -> TestServer {
    let setup = Setup::new();
    let options = Options { retention, ..setup.options };
    let server = Setup { options, clock, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

/// Waits for the record of a removal; returns the first record that is kept after it.
async fn next_removal(watch: &mut Watch) -> u64 {
    loop {
        let record = watch.next_record().await;
        if let Some(Event::Gap(pb::GapEvent { cause: Some(Cause::RemovedRecords(removed)) })) =
            record.event
        {
            return removed.through_sequence + 1;
        }
    }
}

/// Waits until a record can't be read any more because it is gone.
async fn until_gone(auditor: &Client, sequence: u64) {
    let mut newest = Watch::from_end(auditor).await;
    while watching::stored(auditor, sequence).await.is_ok() {
        // Something is recorded each time that there is more to remove, and nothing else waits.
        let end = Watch::from_end(auditor).await;
        newest.through = newest.through.max(end.through);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said_to_be_gone_and_by_whom_it_was_to_be_read() {
    let server = start(Retention::default(), Clock::system()).await;
    for _ in 0..3 {
        fill(&server.client(ENFORCER)).await;
    }
    let through = Watch::from_end(&server.client(AUDITOR)).await.through;
    let retention = Retention { max_bytes: Some(2 << 20), ..Retention::default() };
    let setup = server.stop().await;
    let options = Options { retention, ..setup.options };
    let server = Setup { options, ..setup }.start().await;
    let auditor = server.client(AUDITOR);
    let mut end = Watch::from(&auditor, through + 1).await;
    let first = next_removal(&mut end).await;
    until_gone(&auditor, first - 1).await;
    let told = |status: tonic::Status, sequence: u64| {
        let refusal = Refusal::of(&status);
        refusal.is(Code::OutOfRange, "SEQUENCE_OUT_OF_RANGE");
        refusal.has("sequence", &sequence.to_string()).has("first", &first.to_string());
    };
    for auditor in [AUDITOR, ACME_AUDITOR] {
        let auditor = server.client(auditor);
        for sequence in [1, first - 1] {
            told(watching::stored(&auditor, sequence).await.unwrap_err(), sequence);
            let watch = Watch::begin(&auditor, Start::FromSequence(sequence)).await;
            told(watch.unwrap_err(), sequence);
            let list =
                pb::ListAuditRecordsRequest { from_sequence: sequence, ..Default::default() };
            told(auditor.audit().list_audit_records(list).await.unwrap_err(), sequence);
        }
    }
    // The first one kept is there, and all after it.
    let oldest = Start::FromTime(prost_types::Timestamp::default());
    let mut watch = Watch::begin(&auditor, oldest).await.unwrap();
    assert_eq!(watch.next().await.sequence, first);
    drop((watch, end));

    let server = server.restart().await;
    let auditor = server.client(AUDITOR);
    let mut watch = Watch::from(&auditor, first).await;
    let last = world::allow(&server.client(ENFORCER)).await.sequence;
    let entries = watch.all_through(last).await;
    assert_eq!(entries.len() as u64, last + 1 - first);
    told(watching::stored(&auditor, first - 1).await.unwrap_err(), first - 1);
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_old_goes_when_its_time_has_come() {
    let clock = Clock::manual(UnixNanos(1_800_000_000_000_000_000));
    let day = Duration::from_hours(24);
    let retention = Retention { max_age: Some(day), ..Retention::default() };
    let server = start(retention, clock.clone()).await;
    let (auditor, enforcer) = (server.client(AUDITOR), server.client(ENFORCER));
    for _ in 0..3 {
        fill(&enforcer).await;
    }
    let mut end = Watch::from_end(&auditor).await;
    let before = end.through;
    assert!(watching::stored(&auditor, 1).await.is_ok());
    let later = clock.now().0 + i64::try_from(day.as_nanos()).unwrap() + 1;
    clock.set(UnixNanos(later));
    let first = next_removal(&mut end).await;
    assert!(first > 1 && first <= before, "{first} of {before}");
    until_gone(&auditor, first - 1).await;
    assert_eq!(record(&Watch::from(&auditor, first).await.next().await).sequence, first);
    drop(end);
    server.stop().await;
}

#[tokio::test]
async fn strangers_are_only_counted_when_their_budget_is_used_up() {
    let max_stranger_bytes = Some(1);
    let retention = Retention { max_stranger_bytes, ..Retention::default() };
    let server = start(retention, Clock::system()).await;
    let stranger = Client::new(server.channel().clone(), "aap_wrong");
    let path = "/aap.v1.PolicyService/GetPolicy";
    stranger.raw(path, Bytes::new()).await.unwrap_err();
    // On disk before what comes after it.
    world::allow(&server.client(ENFORCER)).await;
    for _ in 0..5 {
        stranger.raw(path, Bytes::new()).await.unwrap_err();
    }
    let server = server.restart().await;
    let auditor = server.client(AUDITOR);
    let last = Watch::from_end(&auditor).await.through;
    let records = Watch::from(&auditor, 1).await.records_through(last).await;
    let calls: Vec<_> = records.iter().filter_map(refused_call_of).collect();
    let (own, counted): (Vec<&pb::RefusedCallEvent>, Vec<_>) =
        calls.iter().partition(|call| call.suppressed == 0);
    let counted: u64 = counted.into_iter().map(|call| call.suppressed).sum();
    assert_eq!((own.len(), counted), (1, 5));
    server.stop().await;
}
