//! Who calls without a valid credential, again and again: it costs the log a bounded number of
//! records, and the decisions none of theirs.

use std::collections::HashMap;

use aap::{api::pb, clock::Clock, domain::time::UnixNanos};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Setup, TestServer,
    certificates::connect_from,
    clients::{self, token_of},
    watching::{Watch, check_of, refused_call_of},
    world,
};

/// How many calls each source makes.
const CALLS: u64 = 40;
const SOURCES: [&str; 4] = ["127.0.1.1", "127.0.2.1", "127.0.2.2", "127.0.3.1"];

/// A connection from an address of this machine.
pub fn connect(server: &TestServer, source: &'static str) -> Channel {
    let address = server.address();
    let connector =
        tower::service_fn(
            move |_| async move { connect_from(source, address).await.map(TokioIo::new) },
        );
    Endpoint::from_static("http://aap.test").connect_with_connector_lazy(connector)
}

/// Calls again and again with a token that is nobody's.
async fn flood(server: &TestServer, source: &'static str, token: &str, calls: u64) {
    let client = Client::new(connect(server, source), token);
    for _ in 0..calls {
        let call = client.raw("/aap.v1.PolicyService/GetPolicy", Bytes::new());
        assert_eq!(call.await.unwrap_err().code(), tonic::Code::Unauthenticated);
    }
}

/// Asks as long as something else goes on; returns the receipts.
async fn ask_during(enforcer: &Client, other: impl Future<Output = ()>) -> Vec<pb::Receipt> {
    let mut receipts = Vec::new();
    let mut other = std::pin::pin!(other);
    loop {
        tokio::select! {
            biased;
            () = &mut other => return receipts,
            receipt = world::allow(enforcer) => receipts.push(receipt),
        }
    }
}

/// All records, after a restart, so that there is nothing that may still come.
async fn records_of(server: TestServer) -> Vec<pb::AuditRecord> {
    let server = server.restart().await;
    let last = Watch::from_end(&server.client(AUDITOR)).await.through;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(last).await;
    server.stop().await;
    records
}

#[tokio::test]
async fn a_flood_of_strangers_is_counted_and_every_decision_has_its_record() {
    // It stands still, so that all calls come within one second.
    let clock = Clock::manual(UnixNanos(1_800_000_000_000_000_000));
    let server = Setup { clock, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client_apart(ENFORCER);
    let receipts = ask_during(&enforcer, async {
        for source in SOURCES {
            flood(&server, source, "aap_wrong", CALLS).await;
        }
    })
    .await;
    assert!(receipts.len() > 3, "{}", receipts.len());
    flood(&server, SOURCES[0], &token_of(clients::EXPIRED), 9).await;

    let records = records_of(server).await;
    for receipt in &receipts {
        let record = &records[usize::try_from(receipt.sequence).unwrap() - 1];
        assert!(check_of(record).is_some());
    }
    let (mut by_source, mut counted) = (HashMap::<_, u64>::new(), HashMap::<_, u64>::new());
    for record in &records {
        let Some(call) = refused_call_of(record) else { continue };
        assert_eq!((call.code, call.method.is_empty()), (16, call.suppressed > 0));
        if call.method.is_empty() {
            assert!(
                record.peer.is_empty() && record.caller.is_empty() && record.user_agent.is_empty()
            );
            *counted.entry(call.reason.as_str()).or_default() += call.suppressed;
        } else {
            let source = record.peer.rsplit_once(':').unwrap().0;
            *by_source.entry((source, record.caller.as_str())).or_default() += 1;
        }
    }
    // Of one network 4, of all 10; and those who expired have a budget of their own.
    let expected = [
        ((SOURCES[0], ""), 4),
        ((SOURCES[1], ""), 4),
        ((SOURCES[3], ""), 2),
        ((SOURCES[0], clients::EXPIRED), 4),
    ];
    assert_eq!(by_source, HashMap::from(expected));
    let all = SOURCES.len() as u64 * CALLS;
    let expected =
        [("ERROR_REASON_CALLER_UNAUTHENTICATED", all - 10), ("ERROR_REASON_CALLER_EXPIRED", 5)];
    assert_eq!(counted, HashMap::from(expected), "each is recorded or counted");
}
