//! Which records come: under every filter exactly its own, from any time on, page by page, and for
//! each tenant as if there were no other.

use aap::api::{
    audit_entry::AuditEntry,
    pb::{self, watch_audit_records_request::Start},
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, OTHER_ENFORCER, Refusal, TestServer, refused,
    watching::{Watch, check_of, record},
    world::{self, THERE, ask, ask_all},
};

type Filter = pb::AuditRecordFilter;

/// A server with records of many kinds, two tenants and a restart in its log.
async fn start() -> TestServer {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    fill(&server).await;
    let server = server.restart().await;
    fill(&server).await;
    server
}

async fn fill(server: &TestServer) {
    let (enforcer, other) = (server.client(ENFORCER), server.client(OTHER_ENFORCER));
    for round in 0..6 {
        let mut encrypt = world::question("key/a");
        encrypt.action = "Encrypt".into();
        let mut stranger = world::allowed();
        stranger.subject =
            Some(pb::check::Subject::AccessPoint(world::access_point_name("nobody")));
        let checks = vec![
            world::allowed(),
            world::question(&format!("secret/other/{round}")),
            encrypt,
            stranger,
        ];
        enforcer.authorization().batch_check_access(ask_all(checks)).await.unwrap();
        let foreign = pb::CheckAccessRequest { parent: THERE.into(), ..ask(world::allowed()) };
        other.authorization().check_access(foreign).await.unwrap();
        // Refused, which is recorded too.
        refused(server.client(ADMIN).authorization().check_access(ask(world::allowed())).await);
    }
}

/// A filter, and what it means.
type Case = (Filter, fn(&pb::AuditRecord) -> bool);

fn filters() -> Vec<Case> {
    use pb::{AuditRecordKind as Kind, DecisionReason as Reason, Outcome};
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    vec![
        (Filter::default(), |_| true),
        (Filter { accounts: texts(&["other"]), ..Filter::default() }, |record| {
            record.account == "other"
        }),
        (Filter { kinds: vec![Kind::Check.into()], ..Filter::default() }, |record| {
            check_of(record).is_some()
        }),
        (
            Filter {
                kinds: vec![Kind::RefusedCall.into(), Kind::ServerStop.into()],
                ..Filter::default()
            },
            |record| {
                use pb::audit_record::Event;
                matches!(record.event, Some(Event::RefusedCall(_) | Event::ServerStop(_)))
            },
        ),
        (
            Filter {
                access_points: texts(&[&world::access_point_name("app")]),
                outcomes: vec![Outcome::Deny.into()],
                ..Filter::default()
            },
            |record| {
                check_of(record).is_some_and(|check| {
                    check.access_point == world::access_point_name("app")
                        && check.decision.as_ref().unwrap().outcome() == Outcome::Deny
                })
            },
        ),
        (
            Filter {
                reasons: vec![
                    Reason::AccessPointNotFound.into(),
                    Reason::ResourceNotCovered.into(),
                ],
                accounts: texts(&["acme"]),
                ..Filter::default()
            },
            |record| {
                record.account == "acme"
                    && check_of(record).is_some_and(|check| {
                        let reason = check.decision.as_ref().unwrap().reason();
                        matches!(reason, Reason::AccessPointNotFound | Reason::ResourceNotCovered)
                    })
            },
        ),
        (Filter { actions: texts(&["Encrypt"]), ..Filter::default() }, |record| {
            check_of(record).is_some_and(|check| check.action == "Encrypt")
        }),
        (Filter { resource_prefixes: texts(&["secret/other/"]), ..Filter::default() }, |record| {
            check_of(record).is_some_and(|check| check.resource.starts_with("secret/other/"))
        }),
        (Filter { accounts: texts(&["nobody"]), ..Filter::default() }, |_| false),
    ]
}

fn sequences(entries: &[AuditEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

async fn everything(auditor: &Client, last: u64) -> Vec<pb::AuditRecord> {
    let mut records = Watch::from(auditor, 1).await.records_through(last).await;
    records.retain(|record| record.sequence <= last);
    records
}

async fn last_record(server: &TestServer) -> u64 {
    Watch::from_end(&server.client(AUDITOR)).await.through
}

fn list(filter: Filter) -> pb::ListAuditRecordsRequest {
    pb::ListAuditRecordsRequest { filter: Some(filter), page_size: 7, ..Default::default() }
}

/// All pages of a list; each accounts for what comes behind the one before it.
async fn all_pages(auditor: &Client, mut request: pb::ListAuditRecordsRequest) -> Vec<AuditEntry> {
    let is_oldest_first = request.order() == pb::AuditRecordOrder::OldestFirst;
    let (mut entries, mut expected) = (Vec::new(), None);
    loop {
        let page = auditor.audit().list_audit_records(request.clone()).await.unwrap().into_inner();
        let scanned = page.scanned.unwrap();
        let (begin, end) = if is_oldest_first {
            (scanned.from, scanned.through + 1)
        } else {
            (scanned.through, scanned.from - 1)
        };
        assert!(expected.is_none_or(|expected| expected == begin), "pages are contiguous");
        expected = Some(end);
        assert!(page.entries.len() <= 7);
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_filter_lets_exactly_its_records_through_in_streams_and_lists() {
    let server = start().await;
    let last = last_record(&server).await;
    for caller in [AUDITOR, ACME_AUDITOR] {
        let auditor = server.client(caller);
        let visible = everything(&auditor, last).await;
        for (filter, is_wanted) in filters() {
            let wanted = visible.iter().filter(|record| is_wanted(record));
            let mut wanted: Vec<_> = wanted.map(|record| record.sequence).collect();
            let start = Start::FromSequence(1);
            let mut watch =
                Watch::begin_where(&auditor, start, Some(filter.clone())).await.unwrap();
            let mut streamed = sequences(&watch.all_through(last).await);
            streamed.retain(|sequence| *sequence <= last);
            assert_eq!(streamed, wanted, "{caller} {filter:?}");

            let bounded = pb::ListAuditRecordsRequest { through_sequence: last, ..list(filter) };
            let mut request = bounded.clone();
            request.set_order(pb::AuditRecordOrder::OldestFirst);
            assert_eq!(sequences(&all_pages(&auditor, request).await), wanted);
            wanted.reverse();
            assert_eq!(sequences(&all_pages(&auditor, bounded).await), wanted);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_anothers_is_filtered_as_if_it_was_not_there() {
    let server = start().await;
    let (auditor, last) = (server.client(ACME_AUDITOR), last_record(&server).await);
    let of = |account: &str| Filter { accounts: vec![account.to_owned()], ..Filter::default() };
    let mut pages = Vec::new();
    for account in ["other", "nobod"] {
        let request = pb::ListAuditRecordsRequest { through_sequence: last, ..list(of(account)) };
        let page = auditor.audit().list_audit_records(request).await.unwrap().into_inner();
        pages.push(page);
    }
    assert_eq!(pages[0], pages[1]);
    assert!(pages[0].entries.is_empty() && pages[0].next_page_token.is_empty());
    server.stop().await;
}

fn time_of(record: &pb::AuditRecord) -> Timestamp {
    record.record_time.unwrap()
}

fn nanos(time: Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

fn from_nanos(nanos: i128) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap(),
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap(),
    }
}

#[tokio::test]
async fn a_time_is_a_place_to_begin_and_a_bound() {
    let server = start().await;
    let (auditor, last) = (server.client(AUDITOR), last_record(&server).await);
    let records = everything(&auditor, last).await;
    let times: Vec<_> = records.iter().map(|record| nanos(time_of(record))).collect();
    let before = |time: i128| times.iter().filter(|one| **one < time).count() as u64;
    for time in times.iter().flat_map(|time| [time - 1, *time, time + 1]) {
        let start = Start::FromTime(from_nanos(time));
        let begun = Watch::begin(&auditor, start).await.unwrap();
        if before(time) < last {
            assert_eq!(begun.through, before(time), "{time}");
        } else {
            assert!(begun.through >= last, "past the end is the end");
        }
    }
    let first = Watch::begin(&auditor, Start::FromTime(Timestamp::default())).await.unwrap();
    assert_eq!(first.through, 0, "before the first record is the first record");

    let (start, end) = (times[times.len() / 4], times[times.len() / 2]);
    let request = pb::ListAuditRecordsRequest {
        start_time: Some(from_nanos(start)),
        end_time: Some(from_nanos(end)),
        order: pb::AuditRecordOrder::OldestFirst.into(),
        ..list(Filter::default())
    };
    let within = records.iter().filter(|record| (start..end).contains(&nanos(time_of(record))));
    let within: Vec<_> = within.map(|record| record.sequence).collect();
    assert!(within.len() > 5);
    assert_eq!(sequences(&all_pages(&auditor, request.clone()).await), within);
    let narrower = pb::ListAuditRecordsRequest {
        from_sequence: within[1],
        through_sequence: within[3],
        order: 0,
        ..request
    };
    assert_eq!(sequences(&all_pages(&auditor, narrower).await), [within[3], within[2], within[1]]);
    server.stop().await;
}

#[tokio::test]
async fn a_filter_that_is_wrong_is_refused_with_all_that_is_wrong() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let wrong = Filter {
        accounts: vec!["acme".into(), "-".into()],
        access_points: vec!["app".into()],
        kinds: vec![0, 1, 99],
        outcomes: vec![3],
        reasons: vec![-1],
        actions: vec!["?".into(); 21],
        resource_prefixes: vec!["r".repeat(513)],
    };
    let paths = |wrong: &Filter| {
        let mut paths = vec!["filter.actions".to_owned(), "filter.accounts[1]".to_owned()];
        paths.push("filter.access_points[0]".to_owned());
        paths.extend(
            ["kinds[0]", "kinds[2]", "outcomes[0]", "reasons[0]"]
                .map(|path| format!("filter.{path}")),
        );
        paths.extend((0..wrong.actions.len()).map(|place| format!("filter.actions[{place}]")));
        paths.push("filter.resource_prefixes[0]".to_owned());
        paths
    };
    let begun = Watch::begin_where(&auditor, Start::FromSequence(0), Some(wrong.clone())).await;
    let refusal = Refusal::of(&begun.unwrap_err());
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
    let mut expected = vec!["from_sequence".to_owned()];
    expected.extend(paths(&wrong));
    assert_eq!(refusal.paths(), expected);

    let bad_time = Some(Timestamp { seconds: 5, nanos: -1 });
    let request = pb::ListAuditRecordsRequest {
        page_size: -1,
        order: 9,
        from_sequence: 5,
        through_sequence: 4,
        start_time: bad_time,
        end_time: bad_time,
        form: 9,
        ..list(wrong.clone())
    };
    let refusal = refused(auditor.audit().list_audit_records(request).await);
    let mut expected = vec!["page_size".to_owned()];
    expected.extend(paths(&wrong));
    let rest = ["order", "start_time", "end_time", "through_sequence", "form"];
    expected.extend(rest.map(str::to_owned));
    assert_eq!(refusal.paths(), expected);

    let resource_prefixes = vec!["r".repeat(500); 9];
    let long = Filter { resource_prefixes, ..Filter::default() };
    let refusal = refused(auditor.audit().list_audit_records(list(long)).await);
    assert_eq!(refusal.paths(), ["filter"]);
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let backwards = pb::ListAuditRecordsRequest {
        start_time: time(5),
        end_time: time(5),
        ..Default::default()
    };
    let refusal = refused(auditor.audit().list_audit_records(backwards).await);
    assert_eq!(refusal.paths(), ["end_time"]);
    server.stop().await;
}

#[tokio::test]
async fn a_page_token_is_for_the_list_that_gave_it() {
    let server = start().await;
    let auditor = server.client(AUDITOR);
    let request = list(Filter::default());
    let page = auditor.audit().list_audit_records(request.clone()).await.unwrap().into_inner();
    let token = page.next_page_token;
    let other = Filter { accounts: vec!["acme".into()], ..Filter::default() };
    for stolen in [
        pb::ListAuditRecordsRequest { page_token: token.clone(), ..list(other) },
        pb::ListAuditRecordsRequest { page_token: token.clone(), order: 2, ..request.clone() },
        pb::ListAuditRecordsRequest { page_token: "x".into(), ..request.clone() },
    ] {
        let refusal = refused(auditor.audit().list_audit_records(stolen).await);
        assert_eq!(refusal.paths(), ["page_token"]);
    }
    let next = pb::ListAuditRecordsRequest { page_token: token, page_size: 1, ..request };
    let page = auditor.audit().list_audit_records(next).await.unwrap().into_inner();
    assert_eq!(page.entries.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_list_goes_through_several_segments_a_bounded_part_a_call() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    for _ in 0..6 {
        let checks = vec![world::allowed(); 1_000];
        enforcer.authorization().batch_check_access(ask_all(checks)).await.unwrap();
    }
    let (auditor, last) = (server.client(AUDITOR), last_record(&server).await);
    for order in [1, 2] {
        let mut request = pb::ListAuditRecordsRequest {
            page_size: 1_000,
            order,
            through_sequence: last,
            ..Default::default()
        };
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let answered = auditor.audit().list_audit_records(request.clone()).await;
            let page = answered.unwrap().into_inner();
            pages += 1;
            seen.extend(page.entries.iter().map(|entry| record(entry).sequence));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if order == 1 {
            seen.reverse();
        }
        assert_eq!(seen, (1..=last).collect::<Vec<_>>());
        assert!(pages > 6);
    }
    server.stop().await;
}
