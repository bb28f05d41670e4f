//! Cursors of the audit log as resources: what one is, who may use it, and what is refused. How they
//! are read by is another file's.

use std::num::NonZeroU32;

use aap::{
    api::pb::{self, create_audit_cursor_request::Start},
    domain::audit_cursor::CursorLimits,
};
use tonic::Code;
use tonic_health::ServingStatus;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, Fault, OTHER_AUDITOR, Refusal, Setup,
    TestServer,
    cursors::{self, Reading, create, get, new_cursor, read_by},
    refused, world,
};

const ACME: &str = "accounts/acme";

/// A filter with everything in it.
fn filter() -> pb::AuditRecordFilter {
    pb::AuditRecordFilter {
        accounts: vec!["acme".into()],
        access_points: vec![world::access_point_name("app")],
        kinds: vec![pb::AuditRecordKind::Check.into()],
        outcomes: vec![pb::Outcome::Deny.into(), pb::Outcome::Allow.into()],
        reasons: vec![pb::DecisionReason::PolicyGrants.into()],
        actions: vec!["GetSecretValue".into()],
        resource_prefixes: vec!["secret/".into()],
    }
}

/// The ids of the cursors of a parent, page by page.
async fn list(auditor: &Client, parent: &str, page_size: i32) -> Vec<Vec<String>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            pb::ListAuditCursorsRequest { parent: parent.to_owned(), page_size, page_token };
        let listed = auditor.audit().list_audit_cursors(request).await.unwrap().into_inner();
        let id = |one: &pb::AuditCursor| one.name.rsplit('/').next().unwrap().to_owned();
        pages.push(listed.audit_cursors.iter().map(id).collect());
        page_token = listed.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_cursor_is_kept_as_it_was_created_until_it_is_deleted() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let receipt = world::allow(&server.client(ENFORCER)).await;
    let auditor = server.client(ACME_AUDITOR);
    let request = pb::CreateAuditCursorRequest {
        audit_cursor: Some(pb::AuditCursor {
            name: format!("{ACME}/auditCursors/siem"),
            filter: Some(filter()),
            // What the server makes is read over.
            uid: "x".into(),
            acknowledged_through: 99,
            missed_count: 7,
            ..Default::default()
        }),
        log_id: receipt.log_id.clone(),
        ..new_cursor(ACME, "siem", receipt.sequence)
    };
    let created = auditor.audit().create_audit_cursor(request).await.unwrap().into_inner();
    let wanted = pb::AuditCursor {
        name: format!("{ACME}/auditCursors/siem"),
        uid: created.uid.clone(),
        filter: Some(filter()),
        create_time: created.create_time,
        start_sequence: receipt.sequence,
        log_id: receipt.log_id,
        acknowledged_through: receipt.sequence - 1,
        ..Default::default()
    };
    assert_eq!(created, wanted);
    assert!(created.create_time.is_some() && created.uid.len() == 36);
    assert_eq!(get(&auditor, &created.name).await.unwrap(), created);
    let server = server.restart().await;
    let auditor = server.client(ACME_AUDITOR);
    assert_eq!(get(&auditor, &created.name).await.unwrap(), created);
    let delete = |uid: &str, validate_only| pb::DeleteAuditCursorRequest {
        name: created.name.clone(),
        uid: uid.to_owned(),
        validate_only,
    };
    let other = "00000000-0000-4000-8000-000000000000";
    let gone = |refusal: &Refusal| {
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", &created.name);
        assert_eq!(refusal.resource.as_ref().unwrap().0, "aap.v1.AuditCursor");
    };
    gone(&refused(auditor.audit().delete_audit_cursor(delete(other, false)).await));
    auditor.audit().delete_audit_cursor(delete(&created.uid, true)).await.unwrap();
    assert_eq!(get(&auditor, &created.name).await.unwrap(), created);
    auditor.audit().delete_audit_cursor(delete(&created.uid, false)).await.unwrap();
    gone(&Refusal::of(&get(&auditor, &created.name).await.unwrap_err()));
    let server = server.restart().await;
    let auditor = server.client(ACME_AUDITOR);
    gone(&Refusal::of(&get(&auditor, &created.name).await.unwrap_err()));
    gone(&refused(auditor.audit().delete_audit_cursor(delete("", false)).await));
    // What has its name then is another one.
    let again = auditor.audit().create_audit_cursor(new_cursor(ACME, "siem", 1)).await.unwrap();
    assert_ne!(again.into_inner().uid, created.uid);
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_begins_where_it_is_told_to() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let last = world::allow(&server.client(ENFORCER)).await.sequence;
    let auditor = server.client(AUDITOR);
    let time = |seconds| Start::FromTime(prost_types::Timestamp { seconds, nanos: 0 });
    for (place, (start, first)) in [
        (Start::FromSequence(1), 1),
        (Start::FromSequence(last + 1), last + 1),
        (Start::FromEnd(pb::FromEnd {}), last + 1),
        (time(0), 1),
        (time(9_000_000_000), last + 1),
    ]
    .into_iter()
    .enumerate()
    {
        let request = pb::CreateAuditCursorRequest {
            start: Some(start),
            ..new_cursor("", &format!("c{place}"), 1)
        };
        let created = auditor.audit().create_audit_cursor(request).await.unwrap().into_inner();
        assert_eq!((created.start_sequence, created.acknowledged_through), (first, first - 1));
    }
    let request = new_cursor("", "ahead", last + 2);
    let refusal = refused(auditor.audit().create_audit_cursor(request).await);
    refusal.is(Code::OutOfRange, "SEQUENCE_OUT_OF_RANGE").has("sequence", &format!("{}", last + 2));
    let log_id = "00000000-0000-4000-8000-000000000000".to_owned();
    let request = pb::CreateAuditCursorRequest { log_id, ..new_cursor("", "elsewhere", 1) };
    let refusal = refused(auditor.audit().create_audit_cursor(request).await);
    refusal.is(Code::FailedPrecondition, "OTHER_AUDIT_LOG");
    assert_eq!(list(&auditor, "", 2).await, [vec!["c0", "c1"], vec!["c2", "c3"], vec!["c4"]]);
    server.stop().await;
}

#[tokio::test]
async fn a_creation_that_is_repeated_answers_with_the_cursor_and_one_that_is_only_judged_makes_none()
 {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let create = async |request: pb::CreateAuditCursorRequest| {
        let created = auditor.audit().create_audit_cursor(request).await;
        created.map(tonic::Response::into_inner).map_err(|status| Refusal::of(&status))
    };
    let request = pb::CreateAuditCursorRequest {
        request_id: "first".into(),
        start: Some(Start::FromEnd(pb::FromEnd {})),
        ..new_cursor("", "siem", 1)
    };
    let judged = pb::CreateAuditCursorRequest { validate_only: true, ..request.clone() };
    let answer = create(judged.clone()).await.unwrap();
    assert_eq!((answer.uid.as_str(), answer.create_time), ("", None));
    assert_eq!((answer.name.as_str(), answer.start_sequence), ("auditCursors/siem", 2));
    assert!(list(&auditor, "", 0).await[0].is_empty());
    let first = create(request.clone()).await.unwrap();
    // The log has moved on, and the end is elsewhere.
    cursors::create(&auditor, "other", 1).await;
    let mut reading = Reading::of(&auditor, "auditCursors/siem").await;
    reading.read().await.unwrap();
    let again = create(request.clone()).await.unwrap();
    assert_eq!(again.uid, first.uid);
    drop(reading);
    let server = server.restart().await;
    let auditor = server.client(AUDITOR);
    let create = async |request: pb::CreateAuditCursorRequest| {
        let created = auditor.audit().create_audit_cursor(request).await;
        created.map(tonic::Response::into_inner).map_err(|status| Refusal::of(&status))
    };
    assert_eq!(create(request.clone()).await.unwrap(), first);
    for other in [
        pb::CreateAuditCursorRequest { start: Some(Start::FromSequence(1)), ..request.clone() },
        pb::CreateAuditCursorRequest { audit_cursor_id: "new".into(), ..request.clone() },
        judged,
    ] {
        let wanted =
            if other.validate_only { "RESOURCE_ALREADY_EXISTS" } else { "REQUEST_ID_REUSED" };
        let refusal = create(other).await.unwrap_err();
        assert_eq!(refusal.reason, format!("ERROR_REASON_{wanted}"), "{refusal}");
    }
    let refusal = create(new_cursor("", "siem", 1)).await.unwrap_err();
    refusal.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS").has("resource", &first.name);
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_that_is_not_the_callers_is_as_if_it_were_not_there() {
    let server = TestServer::start().await;
    let (all, acme) = (server.client(AUDITOR), server.client(ACME_AUDITOR));
    create(&all, "siem", 1).await;
    acme.audit().create_audit_cursor(new_cursor(ACME, "siem", 1)).await.unwrap();
    // Auditors of all accounts use those of each.
    let mut reading = Reading::of(&all, &format!("{ACME}/auditCursors/siem")).await;
    reading.read().await.unwrap();
    let token = reading.lease_token.clone();
    for (caller, name) in [
        (OTHER_AUDITOR, format!("{ACME}/auditCursors/siem")),
        (ACME_AUDITOR, "auditCursors/siem".into()),
    ] {
        let client = server.client(caller);
        let mut answers = Vec::new();
        let missing = name.replace("siem", "miss");
        for name in [&name, &missing] {
            let mut audit = client.audit();
            let delete = pb::DeleteAuditCursorRequest {
                name: name.clone(),
                uid: "x".into(),
                ..Default::default()
            };
            let read = pb::ReadAuditCursorRequest { form: 9, ..read_by(name) };
            let mut acknowledge = reading.acknowledgement(1);
            acknowledge.name.clone_from(name);
            let told = [
                Refusal::of(&get(&client, name).await.unwrap_err()),
                refused(audit.delete_audit_cursor(delete).await),
                refused(audit.read_audit_cursor(read).await),
                refused(audit.acknowledge_audit_cursor(acknowledge).await),
            ];
            answers.push(told.map(|refusal| refusal.to_string().replace(name, "<name>")));
        }
        assert_eq!(answers[0], answers[1], "{caller}");
        assert!(answers[0].iter().all(|told| told.contains("RESOURCE_NOT_FOUND")), "{answers:?}");
        assert!(!answers[0].iter().any(|told| told.contains(&token)));
        let parent = name.rsplit_once("auditCursors").unwrap().0.trim_end_matches('/');
        let empty = pb::CreateAuditCursorRequest { parent: parent.into(), ..Default::default() };
        let refusal = refused(client.audit().create_audit_cursor(empty).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND");
        let page_token = "x".to_owned();
        let request =
            pb::ListAuditCursorsRequest { parent: parent.into(), page_size: -1, page_token };
        let refusal = refused(client.audit().list_audit_cursors(request).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    drop(reading);
    server.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_creation_is_said_at_once() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let mut audit = auditor.audit();
    let wrong = pb::CreateAuditCursorRequest {
        parent: ACME.into(),
        audit_cursor_id: "a/b".into(),
        audit_cursor: Some(pb::AuditCursor {
            filter: Some(pb::AuditRecordFilter {
                accounts: vec!["-".into()],
                kinds: vec![99],
                ..Default::default()
            }),
            ..Default::default()
        }),
        start: Some(Start::FromSequence(0)),
        log_id: "x".into(),
        request_id: "two words".into(),
        validate_only: false,
    };
    let refusal = refused(audit.create_audit_cursor(wrong).await);
    let filter = "audit_cursor.filter";
    let wanted = [
        "request_id",
        "audit_cursor_id",
        &format!("{filter}.accounts[0]"),
        &format!("{filter}.kinds[0]"),
        "from_sequence",
        "log_id",
    ];
    assert_eq!(refusal.paths(), wanted);
    let foreign = pb::AuditRecordFilter {
        accounts: vec!["acme".into(), "other".into()],
        ..Default::default()
    };
    let inner = pb::AuditCursor {
        name: "auditCursors/other".into(),
        filter: Some(foreign),
        ..Default::default()
    };
    let wrong = pb::CreateAuditCursorRequest {
        audit_cursor: Some(inner),
        start: None,
        ..new_cursor(ACME, "siem", 1)
    };
    let refusal = refused(audit.create_audit_cursor(wrong).await);
    let wanted = ["audit_cursor.name", &format!("{filter}.accounts[1]"), "start"];
    assert_eq!(refusal.paths(), wanted);
    let large = pb::AuditRecordFilter {
        resource_prefixes: vec!["x".repeat(512); 20],
        ..Default::default()
    };
    let inner = pb::AuditCursor { filter: Some(large), ..Default::default() };
    let wrong =
        pb::CreateAuditCursorRequest { audit_cursor: Some(inner), ..new_cursor("", "large", 1) };
    assert_eq!(refused(audit.create_audit_cursor(wrong).await).paths(), [filter]);
    for bad in ["accounts/", "acme", "accounts/acme/regions/eu-1", "accounts/*"] {
        let refusal = refused(audit.create_audit_cursor(new_cursor(bad, "siem", 1)).await);
        let told = (refusal.code, refusal.paths());
        assert_eq!(told, (Code::InvalidArgument, vec!["parent"]), "{bad}");
    }
    server.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_the_use_of_a_cursor_is_said_at_once() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let mut audit = auditor.audit();
    let name = create(&auditor, "siem", 1).await;
    for lease_seconds in [-1, 301, i32::MAX, i32::MIN] {
        let lease_token = "x".into();
        let read =
            pb::ReadAuditCursorRequest { form: 9, lease_seconds, lease_token, ..read_by(&name) };
        let refusal = refused(audit.read_audit_cursor(read).await);
        assert_eq!(refusal.paths(), ["form", "lease_seconds", "lease_token"]);
    }
    let name = || name.clone();
    let delete =
        pb::DeleteAuditCursorRequest { name: name(), uid: "x".into(), ..Default::default() };
    assert_eq!(refused(audit.delete_audit_cursor(delete).await).paths(), ["uid"]);
    let acknowledge = pb::AcknowledgeAuditCursorRequest { name: name(), ..Default::default() };
    let refusal = refused(audit.acknowledge_audit_cursor(acknowledge).await);
    assert_eq!(refusal.paths(), ["lease_token", "through"]);
    let page_token = "x".to_owned();
    let request = pb::ListAuditCursorsRequest { parent: String::new(), page_size: 0, page_token };
    assert_eq!(refused(audit.list_audit_cursors(request).await).paths(), ["page_token"]);
    let long = format!("auditCursors/{}", "a".repeat(129));
    for bad in
        ["", "siem", "auditCursors/", "auditCursors/-", "auditCursors/a/b", "accounts/acme", &long]
    {
        let refusal = Refusal::of(&get(&auditor, bad).await.unwrap_err());
        assert_eq!((refusal.code, refusal.paths()), (Code::InvalidArgument, vec!["name"]), "{bad}");
    }
    server.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_of_an_account_and_in_all() {
    let some = |count| NonZeroU32::new(count).unwrap();
    let cursors = CursorLimits { total: some(4), per_account: some(2) };
    let server = Setup { cursors, ..Setup::new() }.start().await;
    let auditor = server.client(AUDITOR);
    let create = async |parent: &str, id: &str| {
        let created = auditor.audit().create_audit_cursor(new_cursor(parent, id, 1)).await;
        created.map(drop).map_err(|status| Refusal::of(&status))
    };
    create(ACME, "a").await.unwrap();
    create(ACME, "b").await.unwrap();
    let full = |refusal: Refusal, account: &str, limit: &str| {
        refusal.is(Code::ResourceExhausted, "LIMIT_REACHED");
        refusal.has("account", account).has("kind", "audit cursors").has("limit", limit);
    };
    full(create(ACME, "c").await.unwrap_err(), "acme", "2");
    create("", "a").await.unwrap();
    create("accounts/other", "a").await.unwrap();
    full(create("", "b").await.unwrap_err(), "*", "4");
    let name = format!("{ACME}/auditCursors/a");
    let delete = pb::DeleteAuditCursorRequest { name, ..Default::default() };
    auditor.audit().delete_audit_cursor(delete).await.unwrap();
    create("", "b").await.unwrap();
    // A limit that is lowered touches nothing that there is.
    let setup = server.stop().await;
    let cursors = CursorLimits { total: some(1), per_account: some(1) };
    let server = Setup { cursors, ..setup }.start().await;
    assert_eq!(list(&server.client(AUDITOR), "", 9).await, [["a", "b"]]);
    server.stop().await;
}

#[tokio::test]
async fn what_can_not_be_written_is_not_answered_and_not_shown() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    let mut reading = Reading::of(&auditor, &name).await;
    reading.all_through(1).await;
    server.faults.fail_once(Fault::CursorWrite);
    let unavailable = |refusal: Refusal| {
        refusal.is(Code::Unavailable, "JOURNAL_UNAVAILABLE");
    };
    unavailable(Refusal::of(&reading.acknowledge(1).await.unwrap_err()));
    unavailable(Refusal::of(&reading.end().await.unwrap()));
    assert_eq!(get(&auditor, &name).await.unwrap().acknowledged_through, 0);
    unavailable(Refusal::of(&Reading::begin(&auditor, read_by(&name)).await.unwrap_err()));
    unavailable(refused(auditor.audit().create_audit_cursor(new_cursor("", "b", 1)).await));
    // Only a restart helps, and nobody else waits for that.
    server.wait_for_health("livez", ServingStatus::NotServing).await;
    world::enter_page_example(&server.client(ADMIN)).await;
    world::allow(&server.client(ENFORCER)).await;
    drop(reading);
    let server = server.restart().await;
    let reading = Reading::of(&server.client(AUDITOR), &name).await;
    assert_eq!(reading.through, 0);
    drop(reading);
    server.stop().await;
}
