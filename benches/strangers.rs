//! `CheckAccess` while strangers call: what a flood of refused calls costs the checks, and how many
//! records it costs the audit log.
//!
//! Slices with the flood and slices without it take turns. The flood has a rate of its own, because a
//! closed loop would ask for all the processor that there is; and the same rate of empty calls by a
//! known caller shows how much of its cost is that of any call.
//!
//! ```text
//! cargo bench --bench strangers              # 20 pairs of 3 s: a minute of flood
//! cargo bench --bench strangers -- --short   # 10 pairs of 0.5 s
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/empty.rs"]
mod empty;
#[path = "support/load.rs"]
mod load;
#[path = "support/pairing.rs"]
mod pairing;
#[path = "support/servers.rs"]
mod servers;

use std::{cell::Cell, thread, time::Duration};

use aap::api::pb;
use prost::Message;

use load::{Call, Load, Report};
use servers::{LOCATION, Server};

const IN_FLIGHT: usize = 64;
const WARMUP: Duration = Duration::from_millis(200);
/// How many strangers call in a second.
const RATE: f64 = 1_000.0;
/// The most of their calls that are open.
const FLOOD_IN_FLIGHT: usize = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve-aap") => servers::serve_aap(&arguments[1], servers::Variant::Durable),
        _ => compare(arguments.iter().any(|argument| argument == "--short")),
    }
}

fn compare(is_short: bool) {
    let (pairs, slice) =
        if is_short { (10, Duration::from_millis(500)) } else { (20, Duration::from_secs(3)) };
    let directory = tempfile::tempdir_in("target").unwrap();
    let server = Server::spawn(&["serve-aap", directory.path().to_str().unwrap()]);
    let bench = Bench { server: &server, check: check_call(&server), checks: Cell::new(0) };
    let stranger = Call { headers: bearer("aap_wrong"), ..bench.check.clone() };
    let known =
        Call { path: empty::PATH.to_owned(), headers: bearer(&server.token), message: Vec::new() };

    let before = bench.ask_once();
    let mut counted = Counted::default();
    println!("\n{IN_FLIGHT} checks in flight; {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    let row = pairing::compare(
        &format!("CheckAccess, with {RATE} strangers a second : without"),
        pairs,
        slice,
        &mut |slice| bench.rate_with(Some(&stranger), slice, &mut counted),
        &mut |slice| bench.rate_with(None, slice, &mut Counted::default()),
    );
    println!("{row}");
    let with_flood = bench.records_of_strangers(before);
    let row = pairing::compare(
        &format!("CheckAccess, with {RATE} empty calls a second : without"),
        pairs.min(12),
        slice.min(Duration::from_secs(1)),
        &mut |slice| bench.rate_with(Some(&known), slice, &mut Counted::default()),
        &mut |slice| bench.rate_with(None, slice, &mut Counted::default()),
    );
    println!("{row}");
    let Counted { refused, time } = counted;
    println!("\n{refused} calls were refused in {time:?} of flood, and have {with_flood} records");
    // 10 of their own and a count, in each second that a slice touches.
    let most = time.as_secs() * 11 + 22 * pairs as u64;
    assert!(with_flood > 0 && with_flood <= most, "more than {most}");
}

/// What the strangers' calls came to.
#[derive(Default)]
struct Counted {
    refused: u64,
    time: Duration,
}

struct Bench<'a> {
    server: &'a Server,
    check: Call,
    /// How many checks were answered in slices.
    checks: Cell<u64>,
}

impl Bench<'_> {
    fn load<'a>(&self, call: &'a Call, duration: Duration) -> Load<'a> {
        let address = self.server.address;
        Load { address, call, connections: 1, warmup: WARMUP, duration }
    }

    /// The rate of checks, while others call if there are any.
    fn rate_with(&self, others: Option<&Call>, slice: Duration, counted: &mut Counted) -> f64 {
        thread::scope(|scope| {
            let flood = others.map(|call| {
                let load = self.load(call, slice);
                scope.spawn(move || {
                    load.open_loop(RATE, FLOOD_IN_FLIGHT, &mut load::ignore).expect("it runs")
                })
            });
            let mut answered = 0;
            let mut count = |_: &[u8]| answered += 1;
            let report = self.load(&self.check, slice).closed_loop(IN_FLIGHT, &mut count);
            let report = report.expect("the load runs");
            assert_eq!(report.failed, 0, "checks failed");
            self.checks.set(self.checks.get() + answered);
            if let Some(flood) = flood {
                let Report { failed, unsent, .. } = flood.join().unwrap();
                assert_eq!(unsent, 0, "the flood had not its rate");
                counted.refused += failed;
                counted.time += slice + WARMUP;
            }
            report.rate()
        })
    }

    /// Asks one check, and returns its place in the log.
    fn ask_once(&self) -> u64 {
        let mut last = 0;
        let mut see = |bytes: &[u8]| {
            let answer = pb::CheckAccessResponse::decode(bytes).unwrap();
            last = last.max(answer.receipt.unwrap().sequence);
        };
        let load = Load { warmup: Duration::ZERO, ..self.load(&self.check, WARMUP) };
        load.closed_loop(1, &mut see).expect("the load runs");
        last
    }

    /// How many records that aren't of checks came behind one.
    fn records_of_strangers(&self, before: u64) -> u64 {
        let mut asked = 0;
        let mut last = 0;
        let mut see = |bytes: &[u8]| {
            asked += 1;
            let answer = pb::CheckAccessResponse::decode(bytes).unwrap();
            last = last.max(answer.receipt.unwrap().sequence);
        };
        let load = Load { warmup: Duration::ZERO, ..self.load(&self.check, WARMUP) };
        load.closed_loop(1, &mut see).expect("the load runs");
        last - before - asked - self.checks.get()
    }
}

fn bearer(token: &str) -> Vec<(String, String)> {
    vec![("authorization".to_owned(), format!("Bearer {token}"))]
}

fn check_call(server: &Server) -> Call {
    let network = pb::origin::Network::VpcNetwork(pb::VpcNetwork { vpc_id: "vpc-1".to_owned() });
    let access_point = format!("{LOCATION}/accessPoints/app-500");
    let request = pb::CheckAccessRequest {
        parent: LOCATION.to_owned(),
        check: Some(pb::Check {
            subject: Some(pb::check::Subject::AccessPoint(access_point)),
            action: "GetSecretValue".to_owned(),
            resource: "secret/dataKey-500".to_owned(),
            instance: "shared".to_owned(),
            origin: Some(pb::Origin { network: Some(network), address: "192.168.1.20".to_owned() }),
        }),
        request_id: String::new(),
        at_least_revision: 0,
    };
    Call {
        path: "/aap.v1.AuthorizationService/CheckAccess".to_owned(),
        headers: bearer(&server.token),
        message: request.encode_to_vec(),
    }
}
