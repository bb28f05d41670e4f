//! Reading by cursors of the audit log: each record at least once and in order, by one reader at a
//! time, across killed clients and servers; what is missing is told.

use std::{collections::BTreeSet, num::NonZeroUsize, time::Duration};

use aap::{
    api::pb::{self, audit_record::Event, watch_audit_records_request::Start},
    audit::{log::Options, retention::Retention},
    clock::Clock,
    domain::time::UnixNanos,
    service::watches::WatchLimits,
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, OTHER_ENFORCER, Refusal, Setup, TestServer,
    clients::connect,
    cursors::{Reading, create, get, new_cursor, read_by},
    home::{Home, Server},
    watching::{self, Watch, record},
    world::{self, THERE, ask, ask_all},
};

/// Has so many checks answered; returns the last record.
async fn fill(enforcer: &Client, count: usize) -> u64 {
    let mut last = 0;
    let mut left = count;
    while left > 0 {
        let size = left.min(1_000);
        let batch = ask_all(vec![world::allowed(); size]);
        let answer = enforcer.authorization().batch_check_access(batch).await.unwrap();
        last = answer.into_inner().results.last().unwrap().receipt.as_ref().unwrap().sequence;
        left -= size;
    }
    last
}

fn again(reading: &Reading, name: &str) -> pb::ReadAuditCursorRequest {
    pb::ReadAuditCursorRequest { lease_token: reading.lease_token.clone(), ..read_by(name) }
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_what_is_does_not() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    let last = fill(&server.client(ENFORCER), 500).await;
    let mut reading = Reading::of(&auditor, &name).await;
    let sent = reading.all_through(last).await;
    assert!(sent.iter().map(|entry| entry.sequence).eq(1..=last));
    assert_eq!(reading.acknowledge(100).await.unwrap(), 100);
    for behind in [1, 50, 100] {
        assert_eq!(reading.acknowledge(behind).await.unwrap(), 100, "it never goes back");
    }
    let ahead = Refusal::of(&reading.acknowledge(reading.through + 100).await.unwrap_err());
    ahead.is(Code::OutOfRange, "AUDIT_CURSOR_NOT_SENT").has("audit_cursor", &name);
    ahead.has("through", &(reading.through + 100).to_string());
    let cursor = get(&auditor, &name).await.unwrap();
    assert!(cursor.acknowledge_time.is_some() && cursor.missed.is_empty());
    assert_eq!((cursor.acknowledged_through, cursor.start_sequence), (100, 1));
    let pb::AuditCursorReader { caller, lease_expire_time } = cursor.reader.unwrap();
    assert_eq!((caller.as_str(), lease_expire_time), (AUDITOR, None));

    let request = again(&reading, &name);
    drop(reading);
    let mut reading = Reading::begin(&auditor, request).await.unwrap();
    assert_eq!(reading.through, 100);
    let again = reading.all_through(last).await;
    assert!(again.iter().zip(&sent[100..]).all(|(again, sent)| again.leaf_hash == sent.leaf_hash));
    reading.acknowledge(last).await.unwrap();
    reading.release(0).await.unwrap();
    assert_eq!(reading.end().await.map(|status| status.code()), None, "it was given back");
    assert_eq!(get(&auditor, &name).await.unwrap().reader, None);
    // A restart knows it too, and gives no lease back.
    let server = server.restart().await;
    let auditor = server.client(AUDITOR);
    assert_eq!(get(&auditor, &name).await.unwrap().acknowledged_through, last);
    let next = Reading::of(&auditor, &name).await;
    assert_eq!(next.through, last);
    drop(next);
    server.stop().await;
}

#[tokio::test]
async fn one_reads_at_a_time_and_who_takes_over_fences_the_other_off() {
    let clock = Clock::manual(UnixNanos(1_800_000_000_000_000_000));
    let server = Setup { clock: clock.clone(), ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    let last = fill(&server.client(ENFORCER), 50).await;
    let request = pb::ReadAuditCursorRequest { lease_seconds: 40, ..read_by(&name) };
    let mut first = Reading::begin(&auditor, request).await.unwrap();
    first.all_through(last).await;
    let refused =
        async || Refusal::of(&Reading::begin(&auditor, read_by(&name)).await.unwrap_err());
    let refusal = refused().await;
    refusal.is(Code::FailedPrecondition, "AUDIT_CURSOR_LEASED");
    refusal.has("audit_cursor", &name).has("caller", AUDITOR);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(40)));

    let request = pb::ReadAuditCursorRequest { take_over: true, ..read_by(&name) };
    let mut second = Reading::begin(&auditor, request).await.unwrap();
    let lost = |status: tonic::Status| {
        let refusal = Refusal::of(&status);
        refusal.is(Code::Aborted, "AUDIT_CURSOR_LEASE_LOST").has("audit_cursor", &name);
    };
    lost(first.end().await.expect("it is told"));
    lost(first.acknowledge(10).await.unwrap_err());
    lost(first.release(0).await.unwrap_err());
    assert_eq!(second.through, 0);
    second.all_through(last).await;
    assert_eq!(second.acknowledge(20).await.unwrap(), 20);

    // After its stream has ended, what was received can be acknowledged for as long as it was told.
    let token = second.lease_token.clone();
    let acknowledgement = |through| {
        let (name, lease_token) = (name.clone(), token.clone());
        pb::AcknowledgeAuditCursorRequest { name, lease_token, through, release: false }
    };
    drop(second);
    let mut expires = None;
    while expires.is_none() {
        let reader = get(&auditor, &name).await.unwrap().reader.unwrap();
        expires = reader.lease_expire_time;
    }
    assert_eq!(expires.unwrap().seconds, 1_800_000_030);
    let refusal = refused().await;
    refusal.has("lease_expire_time", "2027-01-15T08:00:30Z");
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(30)));
    clock.set(UnixNanos(1_800_000_029_000_000_000));
    assert_eq!(refused().await.retry_after, Some(Duration::from_secs(1)));
    auditor.audit().acknowledge_audit_cursor(acknowledgement(30)).await.unwrap();
    clock.set(UnixNanos(1_800_000_030_000_000_000));
    assert_eq!(get(&auditor, &name).await.unwrap().reader, None);
    lost(auditor.audit().acknowledge_audit_cursor(acknowledgement(31)).await.unwrap_err());
    let third = Reading::of(&auditor, &name).await;
    assert_eq!(third.through, 30);
    drop(third);
    server.stop().await;
}

#[tokio::test]
async fn a_token_of_before_a_restart_acknowledges_nothing() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    let mut reading = Reading::of(&auditor, &name).await;
    reading.all_through(1).await;
    let stale = reading.acknowledgement(1);
    let (request, server) = (again(&reading, &name), {
        drop(reading);
        server.restart().await
    });
    let auditor = server.client(AUDITOR);
    let late = auditor.audit().acknowledge_audit_cursor(stale.clone()).await.unwrap_err();
    Refusal::of(&late).is(Code::Aborted, "AUDIT_CURSOR_LEASE_LOST");
    // It does no harm to show it to begin anew.
    let reading = Reading::begin(&auditor, request).await.unwrap();
    let late = auditor.audit().acknowledge_audit_cursor(stale).await.unwrap_err();
    Refusal::of(&late).is(Code::Aborted, "AUDIT_CURSOR_LEASE_LOST");
    assert_eq!(get(&auditor, &name).await.unwrap().acknowledged_through, 0);
    drop(reading);
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_of_an_account_goes_through_its_records_alone_under_its_filter() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let (all, acme) = (server.client(AUDITOR), server.client(ACME_AUDITOR));
    let filter =
        pb::AuditRecordFilter { outcomes: vec![pb::Outcome::Deny.into()], ..Default::default() };
    let inner = pb::AuditCursor { filter: Some(filter), ..Default::default() };
    let request = pb::CreateAuditCursorRequest {
        audit_cursor: Some(inner),
        ..new_cursor("accounts/acme", "denied", 1)
    };
    let denied = acme.audit().create_audit_cursor(request).await.unwrap().into_inner().name;
    let request = new_cursor("accounts/acme", "all", 1);
    let own = acme.audit().create_audit_cursor(request).await.unwrap().into_inner().name;
    let enforcer = server.client(ENFORCER);
    world::allow(&enforcer).await;
    let refused = world::answer(&enforcer, world::question("secret/other")).await;
    let elsewhere = pb::CheckAccessRequest { parent: THERE.into(), ..ask(world::allowed()) };
    server.client(OTHER_ENFORCER).authorization().check_access(elsewhere).await.unwrap();
    let last = world::allow(&enforcer).await.sequence;
    // An auditor of all accounts gets no more by it.
    for client in [&acme, &all] {
        let mut reading = Reading::of(client, &denied).await;
        let entries = reading.all_through(last).await;
        let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, [refused.receipt.as_ref().unwrap().sequence]);
        reading.release(0).await.unwrap();
        let mut reading = Reading::of(client, &own).await;
        let entries = reading.all_through(last).await;
        assert!(entries.iter().all(|entry| record(entry).account == "acme"));
        assert!(entries.len() >= 3);
        reading.release(0).await.unwrap();
    }
    // That it is read is a record of its account.
    let through = Watch::from_end(&all).await.through;
    let records = Watch::from(&acme, 1).await.records_through(through).await;
    let reads: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.event {
            Some(Event::AuditRead(read)) => Some((record.caller.as_str(), read)),
            _ => None,
        })
        .collect();
    let cursors: Vec<_> =
        reads.iter().map(|(caller, read)| (*caller, read.audit_cursor.as_str())).collect();
    let (denied, own) = (denied.as_str(), own.as_str());
    let wanted = [(ACME_AUDITOR, denied), (ACME_AUDITOR, own), (AUDITOR, denied), (AUDITOR, own)];
    assert_eq!(cursors, wanted);
    let (_, read) = reads[0];
    assert_eq!(read.method, "/aap.v1.AuditService/ReadAuditCursor");
    assert_eq!((read.from_sequence, read.through_sequence, read.filter.len()), (1, 0, 3));
    server.stop().await;
}

#[tokio::test]
async fn a_read_counts_as_a_watch_and_ends_with_its_cursor_and_its_server() {
    let some = |count| NonZeroUsize::new(count).unwrap();
    let watches = WatchLimits { total: some(2), per_caller: some(2), ..WatchLimits::default() };
    let server = Setup { watches, ..Setup::new() }.start().await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "a", 1).await;
    let other = create(&auditor, "b", 1).await;
    let mut reading = Reading::of(&auditor, &name).await;
    let watch = Watch::from_end(&auditor).await;
    let refusal = Refusal::of(&Reading::begin(&auditor, read_by(&other)).await.unwrap_err());
    refusal.is(Code::ResourceExhausted, "TOO_MANY_WATCHES");
    drop(watch);
    let delete = pb::DeleteAuditCursorRequest { name: name.clone(), ..Default::default() };
    auditor.audit().delete_audit_cursor(delete).await.unwrap();
    let ended = Refusal::of(&reading.end().await.unwrap());
    ended.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", &name);
    let mut reading = loop {
        match Reading::begin(&auditor, read_by(&other)).await {
            Ok(reading) => break reading,
            // The watches before it are yet to be noticed as gone.
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
    };
    let (ended, _) = tokio::join!(reading.end(), server.stop());
    Refusal::of(&ended.unwrap()).is(Code::Unavailable, "SHUTTING_DOWN");
}

/// A server that keeps about two segments of 1 MiB.
async fn keeping_little(setup: Setup) -> TestServer {
    let retention = Retention { max_bytes: Some(2 << 20), ..Retention::default() };
    let options = Options { retention, ..setup.options };
    Setup { options, ..setup }.start().await
}

/// Waits until a record is gone; returns the first one that is kept.
async fn until_gone(auditor: &Client, sequence: u64) -> u64 {
    loop {
        let Err(status) = watching::stored(auditor, sequence).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let refusal = Refusal::of(&status);
        refusal.is(Code::OutOfRange, "SEQUENCE_OUT_OF_RANGE");
        return refusal.metadata["first"].parse().unwrap();
    }
}

#[tokio::test]
async fn what_was_removed_before_it_was_acknowledged_is_told_as_missed() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let auditor = server.client(AUDITOR);
    fill(&server.client(ENFORCER), 10).await;
    let name = create(&auditor, "siem", 3).await;
    let read_soon = create(&auditor, "soon", 1).await;
    fill(&server.client(ENFORCER), 15_000).await;
    let mut reading = Reading::of(&auditor, &read_soon).await;
    reading.all_through(10).await;
    reading.acknowledge(10).await.unwrap();
    drop(reading);
    let server = keeping_little(server.stop().await).await;
    let auditor = server.client(AUDITOR);
    let first = until_gone(&auditor, 10).await;
    assert!(first > 1_000, "a cursor holds nothing back");
    let log_id = Watch::from_end(&auditor).await.log_id;
    let missed = |from, through| vec![pb::MissedRange { log_id: log_id.clone(), from, through }];
    // It is told before anybody reads, and counted.
    let cursor = get(&auditor, &name).await.unwrap();
    assert_eq!((cursor.acknowledged_through, cursor.missed_count), (2, first - 3));
    assert_eq!(cursor.missed, missed(3, first - 1));
    let mut reading = Reading::of(&auditor, &name).await;
    assert_eq!((&reading.missed, reading.through), (&missed(3, first - 1), first - 1));
    let entries = reading.all_through(first + 20).await;
    assert!(entries.iter().map(|entry| entry.sequence).eq(first..=first + 20));
    // Told again as long as nothing behind it is acknowledged, and kept when it is.
    let request = again(&reading, &name);
    drop(reading);
    let mut reading = Reading::begin(&auditor, request).await.unwrap();
    assert_eq!(reading.missed, missed(3, first - 1));
    reading.all_through(first).await;
    reading.acknowledge(first).await.unwrap();
    reading.release(0).await.unwrap();
    let server = server.restart().await;
    let auditor = server.client(AUDITOR);
    let cursor = get(&auditor, &name).await.unwrap();
    assert_eq!((cursor.acknowledged_through, cursor.missed_count), (first, first - 3));
    assert_eq!(cursor.missed, missed(3, first - 1));
    let reading = Reading::of(&auditor, &name).await;
    assert_eq!((reading.missed.len(), reading.through), (0, first));
    drop(reading);
    // Who had read further has missed less.
    assert_eq!(get(&auditor, &read_soon).await.unwrap().missed, missed(11, first - 1));
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_is_overtaken_by_removals_is_told_and_goes_on() {
    let server = keeping_little(Setup::new()).await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let (auditor, enforcer) = (server.client(AUDITOR), server.client(ENFORCER));
    let name = create(&auditor, "siem", 1).await;
    // Reads nothing while all of this comes and goes.
    let mut reading = Reading::of(&server.client_apart(AUDITOR), &name).await;
    let last = fill(&enforcer, 60_000).await;
    until_gone(&auditor, last / 2).await;
    let entries = reading.all_through(last).await;
    let gone: u64 = reading.missed.iter().map(|range| range.through - range.from + 1).sum();
    assert!(gone > 0 && entries[0].sequence == 1, "{:?}", reading.missed);
    assert_eq!(entries.len() as u64 + gone, last);
    reading.acknowledge(last).await.unwrap();
    let cursor = get(&auditor, &name).await.unwrap();
    assert_eq!((cursor.missed, cursor.missed_count), (reading.missed.clone(), gone));
    drop(reading);
    server.stop().await;
}

/// Reads until it has sent an acknowledgement or two, or is refused; returns what it has processed.
async fn consume(auditor: Client, name: String, turn: usize, last: u64) -> BTreeSet<u64> {
    let mut processed = BTreeSet::new();
    let request =
        pb::ReadAuditCursorRequest { take_over: turn.is_multiple_of(3), ..read_by(&name) };
    let Ok(mut reading) = Reading::begin(&auditor, request).await else { return processed };
    for _ in 0..=turn % 4 {
        if reading.through < last && reading.read().await.is_err() {
            // Somebody has taken over.
            return processed;
        }
        let (through, sequences) = (reading.through, reading.take());
        let sequences: BTreeSet<_> = sequences.iter().map(|entry| entry.sequence).collect();
        let half = sequences.iter().nth(sequences.len() / 2).copied().unwrap_or(through);
        let through = if turn.is_multiple_of(2) { through } else { half };
        if reading.acknowledge(through).await.is_err() {
            return processed;
        }
        processed.extend(sequences.range(..=through));
        if through != reading.through {
            break;
        }
    }
    // Some give it back, some are just gone.
    if turn.is_multiple_of(5) {
        drop(reading);
    } else {
        let _ = reading.release(0).await;
    }
    processed
}

#[tokio::test]
async fn ten_consumers_that_pass_one_cursor_around_lose_nothing() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    let enforcer = server.client(ENFORCER);
    let last = fill(&enforcer, 20_000).await;
    let mut consumers = JoinSet::new();
    for number in 0..10_usize {
        let (auditor, name) = (server.client_apart(AUDITOR), name.clone());
        consumers.spawn(async move {
            let mut processed = BTreeSet::new();
            for turn in (number..).step_by(7) {
                if get(&auditor, &name).await.unwrap().acknowledged_through >= last {
                    break;
                }
                processed.extend(consume(auditor.clone(), name.clone(), turn, last).await);
            }
            processed
        });
    }
    let mut all = BTreeSet::new();
    let mut busy = 0;
    for processed in consumers.join_all().await {
        busy += usize::from(!processed.is_empty());
        all.extend(processed);
    }
    all.retain(|sequence| *sequence <= last);
    assert!(all.into_iter().eq(1..=last), "each record was processed by somebody");
    assert!(busy > 1, "it was passed around");
    server.stop().await;
}

struct Callers {
    admin: Client,
    enforcer: Client,
    auditor: Client,
}

impl Callers {
    fn of(home: &Home, server: &Server) -> Self {
        let channel = connect(server.address);
        let client =
            |token: &aap::identity::token::NewToken| Client::new(channel.clone(), token.reveal());
        let (admin, enforcer) = (client(&home.admin), client(&home.enforcer));
        Self { admin, enforcer, auditor: client(&home.auditor) }
    }
}

#[tokio::test]
async fn what_was_acknowledged_stays_so_though_the_server_is_killed() {
    let home = Home::new();
    let mut server = home.start();
    world::enter_page_example(&Callers::of(&home, &server).admin).await;
    let name = create(&Callers::of(&home, &server).auditor, "siem", 1).await;
    let mut processed = BTreeSet::new();
    let mut acknowledged = 0;
    for round in 0..6 {
        let Callers { enforcer, auditor, .. } = Callers::of(&home, &server);
        let last = fill(&enforcer, 300 + 50 * round).await;
        let cursor = get(&auditor, &name).await.unwrap();
        assert!(cursor.acknowledged_through >= acknowledged, "{cursor:?} {acknowledged}");
        let mut reading = Reading::of(&auditor, &name).await;
        assert_eq!(reading.through, cursor.acknowledged_through);
        // Killed while it acknowledges record by record.
        let mut kill_at = 40 + 30 * round;
        for entry in reading.all_through(last).await {
            processed.insert(entry.sequence);
            match reading.acknowledge(entry.sequence).await {
                Ok(through) => acknowledged = through,
                Err(_) => break,
            }
            kill_at -= 1;
            if kill_at == 0 {
                server.kill();
            }
        }
        server.wait_killed();
        server = home.start();
    }
    let Callers { auditor, .. } = Callers::of(&home, &server);
    let last = Watch::from_end(&auditor).await.through;
    let mut reading = Reading::of(&auditor, &name).await;
    assert!(reading.through >= acknowledged);
    processed.extend(reading.all_through(last).await.iter().map(|entry| entry.sequence));
    assert!(processed.range(..=last).copied().eq(1..=last), "nothing was left out");
    drop(reading);
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}

/// Acknowledges some of the log behind the one that a cursor is in: what it had missed stays told.
async fn go_on(auditor: &Client, before: &pb::AuditCursor, through: u64) {
    let mut reading = Reading::of(auditor, &before.name).await;
    assert_eq!((&reading.missed, reading.through), (&before.missed, 0));
    reading.all_through(through).await;
    assert_eq!(reading.acknowledge(through).await.unwrap(), through);
    let moved = get(auditor, &before.name).await.unwrap();
    assert_eq!((&moved.log_id, moved.acknowledged_through), (&reading.log_id, through));
    assert_eq!((&moved.missed, moved.missed_count), (&before.missed, before.missed_count));
}

#[tokio::test]
async fn a_cursor_says_what_it_missed_of_a_log_that_ended_and_goes_on_in_the_next() {
    let home = Home::with_audit("mode = \"buffered-may-lose-decisions\"");
    let server = home.start();
    let Callers { admin, enforcer, auditor } = Callers::of(&home, &server);
    world::enter_page_example(&admin).await;
    let name = create(&auditor, "siem", 1).await;
    let done = create(&auditor, "done", 1).await;
    let last = fill(&enforcer, 300).await;
    let mut reading = Reading::of(&auditor, &name).await;
    reading.all_through(last).await;
    reading.acknowledge(100).await.unwrap();
    let old = reading.log_id.clone();
    let mut other = Reading::of(&auditor, &done).await;
    other.all_through(last + 2).await;
    let all = other.acknowledge(last + 2).await.unwrap();
    assert_eq!(all, last + 2);
    server.kill();
    server.wait_killed();
    drop((reading, other));
    let server = home.start();
    let Callers { auditor, .. } = Callers::of(&home, &server);
    let cursor = get(&auditor, &name).await.unwrap();
    assert_eq!((&cursor.log_id, cursor.acknowledged_through), (&old, 100));
    let [missed] = &cursor.missed[..] else { panic!("{cursor:?}") };
    assert_eq!((&missed.log_id, missed.from), (&old, 101));
    assert!(missed.through >= last, "{missed:?}");
    assert_eq!(cursor.missed_count, missed.through - 100);
    // Both count to the end of the old log, which may lie behind what one of them had acknowledged.
    let at_end = get(&auditor, &done).await.unwrap();
    assert_eq!((&at_end.log_id, at_end.acknowledged_through), (&old, all));
    let rest: Vec<_> = (missed.through > all)
        .then(|| pb::MissedRange { from: all + 1, ..missed.clone() })
        .into_iter()
        .collect();
    assert_eq!((&at_end.missed, at_end.missed_count), (&rest, missed.through.saturating_sub(all)));
    go_on(&auditor, &at_end, 1).await;
    for _ in 0..2 {
        let mut reading = Reading::of(&auditor, &name).await;
        assert_ne!(reading.log_id, old);
        assert_eq!((&reading.missed, reading.through), (&cursor.missed, 0));
        let first = record(&reading.all_through(1).await[0]);
        assert!(matches!(first.event, Some(Event::Gap(_))), "{first:?}");
        reading.release(0).await.unwrap();
    }
    go_on(&auditor, &cursor, 2).await;
    let start = Start::FromSequence(1);
    assert!(Watch::begin(&auditor, start).await.unwrap().records_through(2).await.len() == 2);
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}
