//! The audit stream: every record once and in order, at the reader's own pace, across restarts, and
//! each tenant its own. What is damaged is named.

use std::{fs, num::NonZeroUsize, path::PathBuf};

use aap::{
    api::{
        audit_entry::{AuditEntry, Content},
        pb::{self, watch_audit_records_request::Start},
    },
    service::watches::WatchLimits,
};
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, OTHER_ENFORCER, Refusal, Setup, TestServer,
    following::Changes,
    refused,
    server::AUDIT,
    watching::{self, Watch, check_of, record, stored},
    world::{self, THERE, ask, ask_all},
};

/// Has so many checks of `acme` answered in batches; returns their receipts.
async fn check_many(enforcer: &Client, count: usize) -> Vec<pb::Receipt> {
    let mut receipts = Vec::new();
    while receipts.len() < count {
        let checks = vec![world::allowed(); (count - receipts.len()).min(1_000)];
        let answers = enforcer.authorization().batch_check_access(ask_all(checks)).await.unwrap();
        let results = answers.into_inner().results;
        receipts.extend(results.into_iter().map(|result| result.receipt.unwrap()));
    }
    receipts
}

/// Has a check of `other` answered, where there is nothing.
async fn check_other(enforcer: &Client) -> pb::Receipt {
    let request = pb::CheckAccessRequest { parent: THERE.to_owned(), ..ask(world::allowed()) };
    enforcer.authorization().check_access(request).await.unwrap().into_inner().receipt.unwrap()
}

fn sequences(entries: &[AuditEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

/// The checks among some entries: each watch has left a record of itself too.
fn checks(mut entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
    entries.retain(|entry| check_of(&record(entry)).is_some());
    entries
}

/// Asserts that entries are exactly the records of these receipts.
#[track_caller]
fn assert_are(entries: &[AuditEntry], receipts: &[pb::Receipt]) {
    assert_eq!(entries.len(), receipts.len());
    for (entry, receipt) in entries.iter().zip(receipts) {
        assert_eq!(entry.sequence, receipt.sequence);
        assert_eq!(entry.leaf_hash, receipt.leaf_hash, "record {}", entry.sequence);
        assert_eq!(record(entry).sequence, entry.sequence);
    }
}

#[tokio::test]
async fn a_watcher_that_stops_reading_slows_nobody_and_misses_nothing() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let mut receipts = vec![world::allow(&enforcer).await];
    let mut slow = Watch::from(&server.client_apart(AUDITOR), receipts[0].sequence).await;
    let mut entries = vec![slow.next().await];

    // Two watches leave a record of their own.
    // The slow one reads nothing while all of this is answered and another one reads it all.
    let auditor = server.client_apart(AUDITOR);
    let first = receipts[0].sequence + 1;
    let follow = tokio::spawn(async move {
        let mut quick = Watch::from(&auditor, first).await;
        checks(quick.all_through(first - 1 + 20_000 + 2).await)
    });
    let many = check_many(&enforcer, 20_000).await;
    assert_are(&follow.await.unwrap(), &many);
    receipts.extend(many);

    entries.extend(slow.all_through(receipts.last().unwrap().sequence).await);
    let entries = checks(entries);
    assert_are(&entries, &receipts);
    let segments = fs::read_dir(server.stop().await.data_dir().join("audit")).unwrap().count();
    assert!(segments > 5, "it went over several segments");
}

#[tokio::test]
async fn a_watch_begins_where_it_is_told_to() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let (enforcer, auditor) = (server.client(ENFORCER), server.client(AUDITOR));
    let receipts = check_many(&enforcer, 5).await;
    let last = receipts[4].sequence;

    let mut inclusive = Watch::from(&auditor, receipts[2].sequence).await;
    assert_are(&inclusive.all_through(last).await, &receipts[2..]);
    let mut all = Watch::from(&auditor, 1).await;
    assert_eq!(sequences(&all.all_through(last).await), (1..=last).collect::<Vec<_>>());
    let mut next = Watch::from(&auditor, last + 3).await;
    let mut end = Watch::from_end(&auditor).await;
    // Each watch has left a record, and the one from the end begins behind its own.
    assert_eq!((next.through, end.through), (last + 2, last + 4));
    let receipt = world::allow(&enforcer).await;
    for watch in [&mut inclusive, &mut all, &mut next, &mut end] {
        let entries = watch.all_through(receipt.sequence).await;
        assert_are(&entries[entries.len() - 1..], std::slice::from_ref(&receipt));
        assert!(entries.len() <= 5, "{entries:?}");
        assert_eq!((watch.through, &watch.log_id), (receipt.sequence, &receipt.log_id));
    }
    drop((inclusive, all, next, end));
    server.stop().await;
}

#[tokio::test]
async fn a_watch_does_not_begin_where_there_is_no_log() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let refusal = Refusal::of(&Watch::begin(&auditor, Start::FromSequence(0)).await.unwrap_err());
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!(refusal.paths(), ["from_sequence"]);
    let request = pb::WatchAuditRecordsRequest { form: 9, ..Default::default() };
    let refusal = refused(auditor.audit().watch_audit_records(request).await);
    assert_eq!(refusal.paths(), ["form", "start"]);
    for ahead in [3, 1_000, u64::MAX] {
        let begun = Watch::begin(&auditor, Start::FromSequence(ahead)).await;
        let refusal = Refusal::of(&begun.unwrap_err());
        refusal.is(Code::OutOfRange, "SEQUENCE_OUT_OF_RANGE");
        refusal.has("sequence", &ahead.to_string()).has("first", "1").has("last", "1");
    }
    for (sequence, code) in [(0, Code::InvalidArgument), (2, Code::NotFound), (1, Code::Ok)] {
        let found = stored(&auditor, sequence).await;
        assert_eq!(found.err().map_or(Code::Ok, |status| status.code()), code, "{sequence}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_auditor_of_one_account_sees_a_complete_chain_of_its_own_records() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut ours = Vec::new();
    let mut server = server;
    for round in 0..3 {
        let (enforcer, other) = (server.client(ENFORCER), server.client(OTHER_ENFORCER));
        for count in [3, 40, 900] {
            check_other(&other).await;
            ours.extend(check_many(&enforcer, count).await);
            check_other(&other).await;
        }
        if round < 2 {
            server = server.restart().await;
        }
    }
    let last_foreign = check_other(&server.client(OTHER_ENFORCER)).await.sequence;

    let auditor = server.client(ACME_AUDITOR);
    let mut watch = Watch::from(&auditor, 1).await;
    let entries = watch.all_through(last_foreign).await;
    assert_are(&entries, &ours);
    let mut previous = 0;
    for entry in &entries {
        let record = record(entry);
        assert_eq!((record.account.as_str(), record.account_previous_sequence), ("acme", previous));
        previous = record.sequence;
    }
    // What comes for others only moves the range on.
    let foreign = check_other(&server.client(OTHER_ENFORCER)).await.sequence;
    assert!(watch.all_through(foreign).await.is_empty());

    let missing = stored(&auditor, foreign + 1).await.unwrap_err();
    for hidden in [1, last_foreign] {
        let status = stored(&auditor, hidden).await.unwrap_err();
        let message = missing.message().replace(&(foreign + 1).to_string(), &hidden.to_string());
        assert_eq!((status.code(), status.message()), (Code::NotFound, message.as_str()));
    }
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_ends_with_the_server_and_goes_on_after_a_restart() {
    let mut server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut seen = Vec::new();
    let mut through = 0;
    for round in 0..3 {
        let enforcer = server.client(ENFORCER);
        let watch = Watch::from(&server.client_apart(AUDITOR), through + 1).await;
        assert_eq!(watch.through, through);
        check_many(&enforcer, 1_500 + round).await;
        let ((entries, status, reached), setup) = tokio::join!(watch.end(), server.stop());
        if let Some(status) = status {
            Refusal::of(&status).is(Code::Unavailable, "SHUTTING_DOWN");
        }
        seen.extend(sequences(&entries));
        through = reached;
        server = setup.start().await;
    }
    let last = world::allow(&server.client(ENFORCER)).await.sequence;
    let mut watch = Watch::from(&server.client(AUDITOR), through + 1).await;
    seen.extend(sequences(&watch.all_through(last).await));
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_watch_is_told_that_the_server_stops() {
    let server = TestServer::start().await;
    let watch = Watch::from_end(&server.client_apart(AUDITOR)).await;
    let ((entries, status, _), _) = tokio::join!(watch.end(), server.stop());
    assert!(entries.is_empty());
    Refusal::of(&status.unwrap()).is(Code::Unavailable, "SHUTTING_DOWN");
}

#[tokio::test]
async fn starts_and_stops_are_records() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let server = server.restart().await;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(3).await;
    let [first, stop, second] = &records[..] else { panic!("{records:?}") };
    let start = |revision| {
        Some(pb::audit_record::Event::ServerStart(pb::ServerStartEvent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision,
            configuration_digest: vec![7; 32],
            previous_stop_clean: true,
            buffered: false,
            served_damaged: false,
        }))
    };
    assert_eq!((&first.event, &second.event), (&start(0), &start(4)));
    let stopped = pb::audit_record::Event::ServerStop(pb::ServerStopEvent { revision: 4 });
    assert_eq!(stop.event, Some(stopped));
    server.stop().await;
}

#[tokio::test]
async fn many_watches_that_are_left_open_hold_up_nobody() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(Watch::from(&server.client_apart(AUDITOR), 1).await);
    }
    let receipts = check_many(&server.client(ENFORCER), 3_000).await;
    let mut late = Watch::from(&server.client_apart(AUDITOR), receipts[0].sequence).await;
    assert_are(&late.all_through(receipts.last().unwrap().sequence).await, &receipts);
    drop((open, late));
    assert_eq!(server.health(AUDIT).await, 1);
    server.stop().await;
}

#[tokio::test]
async fn one_caller_opens_only_so_many_watches_and_leaves_room_for_others() {
    let some = |count| NonZeroUsize::new(count).unwrap();
    let watches = WatchLimits { total: some(3), per_caller: some(2), ..WatchLimits::default() };
    let server = Setup { watches, ..Setup::new() }.start().await;
    let auditor = server.client_apart(AUDITOR);
    let first = Watch::from_end(&auditor).await;
    let second = Watch::from_end(&auditor).await;
    let open = async |client: &Client| {
        Watch::begin(client, Start::FromEnd(pb::FromEnd {})).await.map_err(|status| {
            let refusal = Refusal::of(&status);
            refusal.is(Code::ResourceExhausted, "TOO_MANY_WATCHES");
            refusal
        })
    };
    open(&auditor).await.unwrap_err().has("limit", "2").has("caller", AUDITOR);
    let acme = server.client_apart(ACME_AUDITOR);
    let third = open(&acme).await.unwrap();
    open(&acme).await.unwrap_err().has("limit", "3");
    // Watches of changes count too.
    let admin = server.client(ADMIN);
    let start = pb::watch_changes_request::Start::FromRevision(1);
    let refused = Changes::begin(&admin, "accounts/-", start).await.unwrap_err();
    Refusal::of(&refused).is(Code::ResourceExhausted, "TOO_MANY_WATCHES").has("limit", "3");
    drop((first, second, third));
    server.stop().await;
}

#[tokio::test]
async fn where_many_records_come_a_message_has_several() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    let mut watch = Watch::from_end(&server.client_apart(AUDITOR)).await;
    let mut asked = JoinSet::new();
    for _ in 0..300 {
        let enforcer = enforcer.clone();
        asked.spawn(async move { world::allow(&enforcer).await.sequence });
    }
    let last = asked.join_all().await.into_iter().max().unwrap();
    let entries = watch.all_through(last).await;
    assert_eq!(entries.len(), 300);
    assert!(watch.messages_read < 100, "{} messages", watch.messages_read);
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_of_nothing_is_told_now_and_then_how_far_it_is() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let nobodys = pb::AuditRecordFilter { accounts: vec!["nobody".into()], ..Default::default() };
    let start = Start::FromEnd(pb::FromEnd {});
    let auditor = server.client_apart(AUDITOR);
    let mut watch = Watch::begin_where(&auditor, start, Some(nobodys)).await.unwrap();
    let receipts = check_many(&server.client(ENFORCER), 20_000).await;
    assert!(watch.all_through(receipts.last().unwrap().sequence).await.is_empty());
    assert!(watch.messages_read < 60, "{} messages", watch.messages_read);
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn who_reads_the_log_is_recorded_once_for_each_call_and_stream() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let receipts = check_many(&server.client(ENFORCER), 30).await;
    let (first, last) = (receipts[0].sequence, receipts[29].sequence);
    let auditor = server.client(AUDITOR);
    stored(&auditor, first).await.unwrap();
    stored(&auditor, 10_000).await.unwrap_err();
    let filter = pb::AuditRecordFilter { accounts: vec!["acme".into()], ..Default::default() };
    let order = pb::AuditRecordOrder::OldestFirst.into();
    let mut request = pb::ListAuditRecordsRequest {
        filter: Some(filter.clone()),
        page_size: 20,
        order,
        ..Default::default()
    };
    let page = auditor.audit().list_audit_records(request.clone()).await.unwrap().into_inner();
    let end = page.scanned.unwrap().through;
    request.page_token = page.next_page_token;
    auditor.audit().list_audit_records(request).await.unwrap();
    let start = Start::FromSequence(first);
    let watch = Watch::begin_where(&auditor, start, Some(filter.clone())).await.unwrap();
    let refused = Watch::begin(&auditor, Start::FromSequence(10_000)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);

    let records = Watch::from(&auditor, last + 1).await.records_through(last + 5).await;
    let reads = records.iter().map(|record| {
        assert_eq!((record.account.as_str(), record.caller.as_str()), ("", AUDITOR));
        let Some(pb::audit_record::Event::AuditRead(read)) = &record.event else {
            panic!("{record:?}")
        };
        let method = read.method.rsplit('/').next().unwrap();
        (method, read.from_sequence, read.through_sequence, read.filter.clone())
    });
    let filter = filter.encode_to_vec();
    let expected = [
        ("GetAuditRecord", first, first, Vec::new()),
        ("ListAuditRecords", 1, end, filter.clone()),
        // The second page ends where the log did when the first one was asked for.
        ("ListAuditRecords", end + 1, last + 1, filter.clone()),
        ("WatchAuditRecords", first, 0, filter),
        ("WatchAuditRecords", last + 1, 0, Vec::new()),
    ];
    assert_eq!(reads.collect::<Vec<_>>(), expected);
    drop(watch);
    server.stop().await;
}

/// The file and the place in it that hold these bytes.
fn find(setup: &Setup, bytes: &[u8]) -> (PathBuf, usize) {
    for entry in fs::read_dir(setup.data_dir().join("audit")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let content = fs::read(&path).unwrap();
        if let Some(place) = content.windows(bytes.len()).position(|window| window == bytes) {
            return (path, place);
        }
    }
    panic!("no file holds the record");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_the_others_are_served() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let receipts = check_many(&server.client(ENFORCER), 6_000).await;
    let auditor = server.client(AUDITOR);
    let mut flips = Vec::new();
    // One in a sealed segment, one in the last.
    for damaged in [receipts[700].sequence, receipts[5_990].sequence] {
        flips.push((damaged, stored(&auditor, damaged).await.unwrap()));
    }
    let setup = server.stop().await;
    let mut places = Vec::new();
    for (damaged, entry) in &flips {
        let (path, begin) = find(&setup, watching::bytes(entry));
        let place = begin + watching::bytes(entry).len() / 2;
        let mut content = fs::read(&path).unwrap();
        content[place] ^= 1;
        fs::write(&path, content).unwrap();
        let file = format!("audit/{}", path.file_name().unwrap().to_str().unwrap());
        places.push((*damaged, file, begin as u64));
    }
    assert_ne!(places[0].1, places[1].1);

    let server = setup.start().await;
    let after = world::allow(&server.client(ENFORCER)).await;
    for caller in [AUDITOR, ACME_AUDITOR] {
        let auditor = server.client(caller);
        let entries = Watch::from(&auditor, 1).await.all_through(after.sequence).await;
        for (damaged, file, begin) in &places {
            let alone = stored(&auditor, *damaged).await.unwrap();
            let in_stream = entries.iter().find(|entry| entry.sequence == *damaged).unwrap();
            assert_eq!((&alone.content, alone.leaf_hash.len()), (&in_stream.content, 0));
            let Some(Content::Damaged(damage)) = &alone.content else { panic!("{alone:?}") };
            assert_eq!(&damage.file, file);
            assert!(damage.offset <= *begin && begin - damage.offset < 64, "{damage:?} {begin}");
        }
        let whole =
            entries.iter().filter(|entry| places.iter().all(|(at, ..)| *at != entry.sequence));
        let checks = whole.filter(|entry| check_of(&record(entry)).is_some());
        let checks: Vec<_> = checks.cloned().collect();
        let mut expected = receipts.clone();
        expected.push(after.clone());
        expected.retain(|receipt| places.iter().all(|(at, ..)| *at != receipt.sequence));
        assert_are(&checks, &expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_segment_that_is_gone_is_named_and_nothing_starts() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    check_many(&server.client(ENFORCER), 6_000).await;
    let setup = server.stop().await;
    let mut segments: Vec<_> = fs::read_dir(setup.data_dir().join("audit")).unwrap().collect();
    segments.sort_by_key(|entry| entry.as_ref().unwrap().path());
    fs::remove_file(segments[1].as_ref().unwrap().path()).unwrap();
    let error = tokio::task::spawn_blocking(|| setup.fail_to_start()).await.unwrap().to_string();
    assert!(error.contains("are missing: a segment file is gone; restore it"), "{error}");
}
