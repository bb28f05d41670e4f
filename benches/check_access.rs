//! `CheckAccess`, durable, against a method that does nothing.
//!
//! Servers run in processes of their own: (a) an empty method on default tonic, (b) an empty method
//! in the same process and behind the same layers as the checks, (c) checks by a server without the
//! tree over the audit log and its checkpoints. Each pair of slices runs one after
//! the other, so that the machine's drift touches both; what counts is the ratio.
//!
//! ```text
//! cargo bench --bench check_access              # 12 pairs of 2 s, 200 in flight
//! cargo bench --bench check_access -- --short   # 10 pairs of 0.5 s
//! cargo bench --bench check_access -- --tree    # (c) alone, 24 pairs of 1 s
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

use std::{collections::HashSet, time::Duration};

use aap::api::pb;
use prost::Message;

use load::{Call, Load, Report};
use servers::Server;

const IN_FLIGHT: usize = 200;
const WARMUP: Duration = Duration::from_millis(300);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve-empty") => servers::serve_empty(),
        Some("serve-aap") => servers::serve_aap(&arguments[1], servers::Tells::Nothing),
        Some("serve-aap-without-tree") => servers::serve_aap_without_tree(&arguments[1]),
        _ => {
            let is_short = arguments.iter().any(|argument| argument == "--short");
            if arguments.iter().any(|argument| argument == "--tree") {
                compare_trees();
            } else {
                compare(is_short);
            }
        }
    }
}

fn compare(is_short: bool) {
    let (pairs, slice) =
        if is_short { (10, Duration::from_millis(500)) } else { (12, Duration::from_secs(2)) };
    let directory = tempfile::tempdir_in("target").unwrap();
    let empty = Server::spawn(&["serve-empty"]);
    let aap = Server::spawn(&["serve-aap", directory.path().to_str().unwrap()]);
    let check = Subject { server: &aap, call: check_call(&aap) };
    let default_empty = Subject { server: &empty, call: empty_call(&[]) };
    let own_empty = Subject { server: &aap, call: empty_call(&headers(&aap)) };

    verify(&check);
    println!("\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    for (name, opponent) in [
        ("CheckAccess, durable : (a) empty on default tonic", &default_empty),
        ("CheckAccess, durable : (b) empty in the same process", &own_empty),
    ] {
        let row =
            pairing::compare(name, pairs, slice, &mut |slice| check.rate(slice), &mut |slice| {
                opponent.rate(slice)
            });
        println!("{row}");
    }
    println!("\nlatency\n");
    for (name, subject, in_flight) in [
        ("CheckAccess, durable, 200 in flight", &check, IN_FLIGHT),
        ("CheckAccess, durable, 1 in flight", &check, 1),
        ("(a) 200 in flight", &default_empty, IN_FLIGHT),
        ("(a) 1 in flight", &default_empty, 1),
    ] {
        println!("{name}: {}", subject.run(in_flight, slice));
    }
}

/// What the tree and its checkpoints cost.
fn compare_trees() {
    let (pairs, slice) = (24, Duration::from_secs(1));
    let directory = tempfile::tempdir_in("target").unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let with = Server::spawn(&["serve-aap", &path("with")]);
    let without = Server::spawn(&["serve-aap-without-tree", &path("without")]);
    let with = Subject { server: &with, call: check_call(&with) };
    let without = Subject { server: &without, call: check_call(&without) };
    verify(&with);
    verify(&without);
    println!("\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    let name = "CheckAccess, durable : (c) without tree and checkpoints";
    let (mut subject, mut opponent) = (|slice| with.rate(slice), |slice| without.rate(slice));
    println!("{}", pairing::compare(name, pairs, slice, &mut subject, &mut opponent));
}

/// Looks at every answer once: an allow, on disk, with a place of its own.
fn verify(check: &Subject<'_>) {
    let mut sequences = HashSet::new();
    let mut see = |bytes: &[u8]| {
        let answer = pb::CheckAccessResponse::decode(bytes).unwrap();
        let (decision, receipt) = (answer.decision.unwrap(), answer.receipt.unwrap());
        assert_eq!(decision.outcome(), pb::Outcome::Allow);
        assert!(receipt.durable && sequences.insert(receipt.sequence));
    };
    // Making its world takes a server a while, and a disk that others use too longer.
    let is_up = || check.load(Duration::ZERO).closed_loop(1, &mut load::ignore).is_ok();
    assert!((0..50).any(|_| is_up()), "the server doesn't answer");
    let report = check.load(Duration::from_millis(500)).closed_loop(IN_FLIGHT, &mut see).unwrap();
    assert_eq!(report.failed, 0);
    println!(
        "verified {} answers: allowed, durable, each with a sequence of its own",
        sequences.len()
    );
}

struct Subject<'a> {
    server: &'a Server,
    call: Call,
}

impl Subject<'_> {
    fn load(&self, duration: Duration) -> Load<'_> {
        let address = self.server.address;
        Load { address, call: &self.call, connections: 1, warmup: WARMUP, duration }
    }

    fn run(&self, in_flight: usize, duration: Duration) -> Report {
        let report =
            self.load(duration).closed_loop(in_flight, &mut load::ignore).expect("the load runs");
        assert_eq!(report.failed, 0, "{}: calls failed", self.call.path);
        report
    }

    fn rate(&self, duration: Duration) -> f64 {
        self.run(IN_FLIGHT, duration).rate()
    }
}

fn headers(server: &Server) -> Vec<(String, String)> {
    vec![("authorization".to_owned(), format!("Bearer {}", server.token))]
}

fn empty_call(headers: &[(String, String)]) -> Call {
    Call { path: empty::PATH.to_owned(), headers: headers.to_vec(), message: Vec::new() }
}

fn check_call(server: &Server) -> Call {
    Call {
        path: "/aap.v1.AuthorizationService/CheckAccess".to_owned(),
        headers: headers(server),
        message: servers::check_message(),
    }
}
