//! A disk that fails, stalls or fills up: no allow leaves that isn't recorded, the server says why
//! and its health turns, and a restart finds all that was acknowledged.

use std::time::Duration;

use aap::{
    api::pb::{self, Outcome},
    audit::log::Options,
    store::space::Reserve,
};
use tonic::Code;
use tonic_health::ServingStatus::{NotServing, Serving};

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, ENFORCER, Fault, Setup, TestServer, refused,
    server::{ACCESS_POINTS, AUDIT, AUTHORIZATION, POLICIES, WHOLE},
    watching::{self, Watch},
    world::{self, ask, ask_all},
};

/// Asserts that all of these receipts are of records that can be read.
async fn assert_recorded(server: &TestServer, receipts: &[pb::Receipt]) {
    let auditor = server.client(AUDITOR);
    for receipt in receipts {
        let entry = watching::stored(&auditor, receipt.sequence).await.unwrap();
        assert_eq!(entry.leaf_hash, receipt.leaf_hash, "record {}", receipt.sequence);
        assert!(!watching::bytes(&entry).is_empty());
    }
}

/// Lets the audit log fail once, and asserts all that must come of it.
async fn check_audit_failure(fault: Fault) {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let mut receipts = vec![world::allow(&enforcer).await, world::allow(&enforcer).await];

    server.faults.fail_once(fault);
    let refusal = refused(enforcer.authorization().check_access(ask(world::allowed())).await);
    refusal.is(Code::Unavailable, "AUDIT_UNAVAILABLE");
    assert!(server.faults.has_failed());
    for service in [AUTHORIZATION, WHOLE] {
        server.wait_for_health(service, NotServing).await;
    }
    for service in [ACCESS_POINTS, POLICIES, AUDIT] {
        assert_eq!(server.health(service).await, Serving as i32, "{service}");
    }
    for _ in 0..3 {
        let refusal = refused(enforcer.authorization().check_access(ask(world::allowed())).await);
        refusal.is(Code::Unavailable, "AUDIT_UNAVAILABLE");
        let batch = ask_all(vec![world::allowed(); 2]);
        let refusal = refused(enforcer.authorization().batch_check_access(batch).await);
        refusal.is(Code::Unavailable, "AUDIT_UNAVAILABLE");
    }
    assert_recorded(&server, &receipts).await;

    let (setup, outcome) = server.stop_with_outcome().await;
    let said = format!("{:#}", anyhow::Error::from(outcome.unwrap_err()));
    assert_eq!(said, "can't record the server's start or stop: the audit log can't be written");
    let server = setup.start().await;
    assert_recorded(&server, &receipts).await;
    receipts.push(world::allow(&server.client(ENFORCER)).await);
    assert_recorded(&server, &receipts).await;
    assert_start_after_unclean_stop(&server).await;
    server.restart().await.stop().await;
}

/// Asserts that the log is dense, and that the last start says that no stop was before it.
async fn assert_start_after_unclean_stop(server: &TestServer) {
    let auditor = server.client(AUDITOR);
    let mut end = Watch::from_end(&auditor).await;
    let last = end.through;
    let records = Watch::from(&auditor, 1).await.records_through(last).await;
    let sequences: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    let starts = records.iter().filter_map(|record| match &record.event {
        Some(pb::audit_record::Event::ServerStart(start)) => Some(start.previous_stop_clean),
        _ => None,
    });
    assert_eq!(starts.collect::<Vec<_>>(), [true, false]);
    // The watch goes on with what comes after: the other one, and a check.
    let receipt = world::allow(&server.client(ENFORCER)).await;
    assert_eq!(receipt.sequence, last + 2);
    assert_eq!(end.next().await.sequence, last + 1);
    assert_eq!(end.next().await.sequence, last + 2);
}

#[tokio::test]
async fn a_sync_that_fails_once_stops_every_allow_until_a_restart() {
    check_audit_failure(Fault::AuditSync).await;
}

#[tokio::test]
async fn a_write_that_fails_once_stops_every_allow_until_a_restart() {
    check_audit_failure(Fault::AuditWrite).await;
}

#[tokio::test]
async fn a_write_that_is_torn_stops_every_allow_until_a_restart() {
    check_audit_failure(Fault::TornAuditWrite).await;
}

#[tokio::test]
async fn a_batch_that_is_not_synced_is_not_answered_in_part() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let receipt = world::allow(&enforcer).await;
    server.faults.fail_once(Fault::TornAuditWrite);
    let batch = ask_all(vec![world::allowed(); 1_000]);
    let refusal = refused(enforcer.authorization().batch_check_access(batch).await);
    refusal.is(Code::Unavailable, "AUDIT_UNAVAILABLE");
    let (setup, outcome) = server.stop_with_outcome().await;
    assert!(outcome.is_err());
    let server = setup.start().await;
    assert_recorded(&server, &[receipt]).await;
    world::allow(&server.client(ENFORCER)).await;
    assert_start_after_unclean_stop(&server).await;
    server.stop().await;
}

/// Lets the journal fail once, and asserts all that must come of it.
async fn check_journal_failure(fault: Fault) -> TestServer {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let request = world::new_policy("kept", &["secret/kept"], &[]);
    let kept = admin.policies().create_policy(request).await.unwrap().into_inner();

    server.faults.fail_once(fault);
    let refusal = refused(admin.policies().create_policy(unknown()).await);
    refusal.is(Code::Unavailable, "JOURNAL_UNAVAILABLE");
    for service in [ACCESS_POINTS, POLICIES, WHOLE] {
        server.wait_for_health(service, NotServing).await;
    }
    for service in [AUTHORIZATION, AUDIT] {
        assert_eq!(server.health(service).await, Serving as i32, "{service}");
    }
    // No change is made or judged any more, and none that wasn't answered is seen.
    let refusal = refused(admin.policies().create_policy(unknown()).await);
    refusal.is(Code::Unavailable, "JOURNAL_UNAVAILABLE");
    let refusal =
        refused(admin.access_points().delete_access_point(world::delete_access_point("app")).await);
    refusal.is(Code::Unavailable, "JOURNAL_UNAVAILABLE");
    let name = world::policy_name("unknown");
    let refusal = refused(admin.policies().get_policy(pb::GetPolicyRequest { name }).await);
    refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND");
    // Checks go on at the last revision that was published.
    let answered = world::answer(&server.client(ENFORCER), world::allowed()).await;
    assert_eq!(answered.revision, kept.revision);
    assert_eq!(answered.decision.unwrap().outcome(), Outcome::Allow);

    let server = server.restart().await;
    let get = pb::GetPolicyRequest { name: kept.name.clone() };
    let found = server.client(ADMIN).policies().get_policy(get).await.unwrap().into_inner();
    assert_eq!(found, kept);
    world::allow(&server.client(ENFORCER)).await;
    server
}

/// The change whose fate is unknown to the caller.
fn unknown() -> pb::CreatePolicyRequest {
    let request = world::new_policy("unknown", &["secret/unknown"], &[]);
    pb::CreatePolicyRequest { request_id: "unknown-1".into(), ..request }
}

#[tokio::test]
async fn an_append_that_fails_stops_every_change_until_a_restart() {
    let server = check_journal_failure(Fault::JournalAppend).await;
    let admin = server.client(ADMIN);
    let made = admin.policies().create_policy(unknown()).await.unwrap().into_inner();
    assert_eq!(made.revision, 6);
    server.stop().await;
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_answered_when_it_is_repeated() {
    let server = check_journal_failure(Fault::JournalAnswer).await;
    let admin = server.client(ADMIN);
    let name = world::policy_name("unknown");
    let found = admin.policies().get_policy(pb::GetPolicyRequest { name }).await.unwrap();
    let made = admin.policies().create_policy(unknown()).await.unwrap();
    assert_eq!(made.into_inner(), found.into_inner());
    server.stop().await;
}

#[tokio::test]
async fn while_the_disk_stalls_checks_are_unavailable_and_then_they_work_again() {
    let setup = Setup::new();
    let options = Options { stall: Duration::from_millis(500), ..setup.options };
    let server = Setup { options, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let before = world::allow(&enforcer).await;

    server.faults.block_syncs();
    let waiting = tokio::spawn({
        let mut enforcer = enforcer.authorization();
        async move { enforcer.check_access(ask(world::allowed())).await }
    });
    server.faults.wait_until_blocked().await;
    // This one waits for the sync after the one that is blocked.
    let second = enforcer.authorization().check_access(ask(world::allowed())).await;
    refused(second).is(Code::Unavailable, "AUDIT_UNAVAILABLE");
    refused(waiting.await.unwrap()).is(Code::Unavailable, "AUDIT_UNAVAILABLE");
    for service in [AUTHORIZATION, WHOLE] {
        server.wait_for_health(service, NotServing).await;
    }
    let refusal = refused(enforcer.authorization().check_access(ask(world::allowed())).await);
    refusal.is(Code::Unavailable, "AUDIT_UNAVAILABLE");
    assert_recorded(&server, std::slice::from_ref(&before)).await;

    server.faults.release();
    for service in [AUTHORIZATION, WHOLE] {
        server.wait_for_health(service, Serving).await;
    }
    let after = world::allow(&enforcer).await;
    assert!(after.sequence > before.sequence);
    let server = server.restart().await;
    assert_recorded(&server, &[before, after]).await;
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_shown_to_watchers_before_it_is_synced() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let first = world::allow(&enforcer).await;
    let mut watch = Watch::from_end(&server.client(AUDITOR)).await;
    // Behind the record of this watch itself.
    assert_eq!(watch.through, first.sequence + 1);
    server.faults.block_syncs();
    let waiting = tokio::spawn(async move { world::allow(&enforcer).await });
    server.faults.wait_until_blocked().await;
    for auditor in [AUDITOR, ACME_AUDITOR] {
        let unsynced = watching::stored(&server.client(auditor), watch.through + 1).await;
        assert_eq!(unsynced.unwrap_err().code(), Code::NotFound);
    }
    server.faults.release();
    let second = waiting.await.unwrap();
    assert_eq!(watch.next().await.leaf_hash, second.leaf_hash);
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn below_the_reserve_changes_are_refused_and_checks_go_on() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    // No disk has more than all of it free.
    let reserve = Reserve { management_percent: 101, check_percent: 0 };
    let server = Setup { reserve, ..server.stop().await }.start().await;
    let admin = server.client(ADMIN);
    let refusal = refused(admin.policies().create_policy(unknown()).await);
    refusal.is(Code::ResourceExhausted, "DISK_RESERVE_REACHED").has("reserve_percent", "101");
    assert!(refusal.metadata.contains_key("free_percent"), "{refusal}");
    let name = world::policy_name("RAMPolicy");
    admin.policies().get_policy(pb::GetPolicyRequest { name }).await.unwrap();
    world::allow(&server.client(ENFORCER)).await;
    server.stop().await;
}

#[test]
fn a_server_that_could_record_nothing_does_not_start() {
    let reserve = Reserve { management_percent: 101, check_percent: 101 };
    let error = Setup { reserve, ..Setup::new() }.fail_to_start();
    let error = format!("{:#}", anyhow::Error::from(error));
    assert!(error.starts_with("can't record the server's start or stop: "), "{error}");
    assert!(error.ends_with("% of the disk is free, 101 % are kept in reserve"), "{error}");
}

#[tokio::test]
async fn what_waits_for_the_disk_is_bounded() {
    let setup = Setup::new();
    let options = Options { buffer_bytes: 64 * 1_024, ..setup.options };
    let server = Setup { options, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let batch = ask_all(vec![world::allowed(); 1_000]);
    let refusal = refused(enforcer.authorization().batch_check_access(batch).await);
    refusal.is(Code::ResourceExhausted, "AUDIT_BUSY");
    assert!(refusal.retry_after.is_some());
    // Nothing of it was recorded.
    let receipt = world::allow(&enforcer).await;
    assert_eq!(receipt.sequence, 2);
    server.stop().await;
}
