//! `aap audit cursor read`: what was shown is acknowledged, and each start goes on behind that.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use aap::{api::pb, identity::token::NewToken};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, body::Body, server::NamedService, transport::Channel};
use tower::{Service, ServiceExt as _};

use crate::{
    support::{
        ADMIN, AUDITOR, Client, ENFORCER, TestServer,
        clients::{connect, token_of},
        cursors::{Reading, create, get, read_by},
        home::{Home, Server},
        watching::Watch,
        world::{self, ask_all},
    },
    tailing::Tail,
};

fn read(address: SocketAddr, token: &str, arguments: &[&str]) -> Tail {
    let words = ["audit", "cursor", "read", "siem", "--all-accounts", "--json"];
    Tail::by(&words, address, token, arguments)
}

/// The sequence numbers of lines of JSON.
fn sequences(lines: &[String]) -> Vec<u64> {
    let sequence = |line: &String| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["sequence"].as_str().unwrap().parse().unwrap()
    };
    lines.iter().map(sequence).collect()
}

async fn fill(enforcer: &Client, count: usize) {
    let batch = ask_all(vec![world::allowed(); count]);
    enforcer.authorization().batch_check_access(batch).await.unwrap();
}

/// Waits until all through a record is acknowledged.
async fn until_acknowledged(auditor: &Client, name: &str, sequence: u64) -> u64 {
    loop {
        let through = get(auditor, name).await.unwrap().acknowledged_through;
        if through >= sequence {
            return through;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_start_goes_on_behind_what_was_shown_before() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let (auditor, enforcer) = (server.client(AUDITOR), server.client(ENFORCER));
    let name = create(&auditor, "siem", 1).await;
    let mut shown = Vec::new();
    for signal in [Signal::INT, Signal::TERM, Signal::INT] {
        fill(&enforcer, 40).await;
        let (tail, lines) = read(server.address(), &token_of(AUDITOR), &[]).lines(40).await;
        shown.extend(sequences(&lines));
        until_acknowledged(&auditor, &name, *shown.last().unwrap()).await;
        let (code, lines, told) = tail.rest(signal).await;
        assert_eq!((code, told.as_str()), (Some(0), ""));
        shown.extend(sequences(&lines));
        // It has given its lease back, so that the next one begins at once.
        assert_eq!(get(&auditor, &name).await.unwrap().reader, None);
        let through = get(&auditor, &name).await.unwrap().acknowledged_through;
        shown.retain(|sequence| *sequence <= through);
        assert_eq!(shown, (1..=*shown.last().unwrap()).collect::<Vec<_>>());
    }
    server.stop().await;
}

/// Stands before a server, and refuses the first acknowledgements in its place.
#[derive(Clone)]
struct Refusing {
    server: Channel,
    refusals: Arc<AtomicUsize>,
}

impl Refusing {
    /// Refuses so many from now on; returns where it listens.
    async fn begin(server: &TestServer, refusals: usize) -> SocketAddr {
        let refusals = Arc::new(AtomicUsize::new(refusals));
        let refusing = Self { server: server.channel().clone(), refusals };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tonic::transport::Server::builder().add_service(refusing);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn refuses(&self, path: &str) -> bool {
        let less = |left: usize| left.checked_sub(1);
        path.ends_with("/AcknowledgeAuditCursor")
            && self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl NamedService for Refusing {
    const NAME: &'static str = "aap.v1.AuditService";
}

impl Service<http::Request<Body>> for Refusing {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let refusal = self.refuses(request.uri().path());
        let server = self.server.clone();
        Box::pin(async move {
            if refusal {
                return Ok(Status::resource_exhausted("too much waits").into_http());
            }
            let answered = server.oneshot(request).await;
            Ok(answered.unwrap_or_else(|error| Status::from_error(error.into()).into_http()))
        })
    }
}

#[tokio::test]
async fn what_was_shown_is_acknowledged_at_last_and_not_shown_again_for_it() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    fill(&server.client(ENFORCER), 20).await;
    let address = Refusing::begin(&server, 2).await;
    let (tail, lines) = read(address, &token_of(AUDITOR), &[]).lines(20).await;
    let mut shown = sequences(&lines);
    until_acknowledged(&auditor, &name, shown[19]).await;
    let (code, lines, told) = tail.rest(Signal::INT).await;
    shown.extend(sequences(&lines));
    assert_eq!(shown, (1..=*shown.last().unwrap()).collect::<Vec<_>>());
    assert_eq!(code, Some(0), "{told}");
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (line, wait) in told.into_iter().zip(["250ms", "500ms"]) {
        assert!(line.ends_with(&format!("too much waits; telling it again in {wait}")), "{line}");
    }
    server.stop().await;
}

#[tokio::test]
async fn one_reads_at_a_time_and_another_one_takes_over() {
    let server = TestServer::start().await;
    let auditor = server.client(AUDITOR);
    let name = create(&auditor, "siem", 1).await;
    let start = |arguments: &[&str]| read(server.address(), &token_of(AUDITOR), arguments);
    let (first, _) = start(&[]).lines(1).await;
    let (code, told) = start(&[]).end().await;
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("is being read by caller `auditor`"), "{told}");
    assert!(told.contains("--take-over"), "{told}");
    let (second, _) = start(&["--take-over"]).lines(1).await;
    let (code, told) = first.end().await;
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("the lease of `auditCursors/siem` is over"), "{told}");
    // Killed, it leaves a lease that ends by itself; the next one waits for that.
    second.signal(Signal::KILL).await;
    let request = pb::ReadAuditCursorRequest { take_over: true, ..read_by(&name) };
    let short = pb::ReadAuditCursorRequest { lease_seconds: 1, ..request };
    drop(Reading::begin(&auditor, short).await.unwrap());
    while get(&auditor, &name)
        .await
        .unwrap()
        .reader
        .is_some_and(|it| it.lease_expire_time.is_none())
    {
        tokio::task::yield_now().await;
    }
    let (third, _) = start(&[]).lines(1).await;
    let (code, _) = third.interrupt().await;
    assert_eq!(code, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn it_goes_on_after_a_restart_of_the_server_and_leaves_nothing_out() {
    let home = Home::new();
    let mut server = home.start();
    let address = server.address;
    // Each on a connection of its own: what was connected before is lost with the server.
    let client = |token: &NewToken| Client::new(connect(address), token.reveal());
    world::enter_page_example(&client(&home.admin)).await;
    create(&client(&home.auditor), "siem", 1).await;
    let mut tail = read(address, home.auditor.reveal(), &[]);
    let mut shown = BTreeSet::new();
    for round in 0..3 {
        fill(&client(&home.enforcer), 30).await;
        let (goes_on, lines) = tail.lines(30).await;
        tail = goes_on;
        shown.extend(sequences(&lines));
        server = restart(&home, server, round).await;
    }
    let last = Watch::from_end(&client(&home.auditor)).await.through;
    while *shown.last().unwrap() < last {
        let (goes_on, lines) = tail.lines(1).await;
        tail = goes_on;
        shown.extend(sequences(&lines));
    }
    assert!(shown.iter().copied().eq(1..=*shown.last().unwrap()), "{shown:?}");
    let (code, told) = tail.interrupt().await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("behind what is acknowledged"), "{told}");
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}

/// Stops a server, well or not, and starts it again where it was.
async fn restart(home: &Home, server: Server, round: usize) -> Server {
    let address = server.address;
    if round == 1 {
        server.kill();
        server.wait_killed();
    } else {
        tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    }
    home.start_at(address)
}
