//! Reading much of what a server has while it serves: how fast one is who watches the audit log from
//! far behind, and what ten of them, or a backup, cost those who append.
//!
//! The readers are in another process than the server, but on the same cores: what they spend on
//! reading is in every figure.
//!
//! ```text
//! cargo bench --bench watch                # 2,000,000 records, 12 pairs of 2 s
//! cargo bench --bench watch -- --backup    # the same, for a backup alone
//! cargo bench --bench watch -- --short     # 500,000 records, 10 pairs of 0.5 s; also with --backup
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/copier.rs"]
mod copier;
#[path = "support/empty.rs"]
mod empty;
#[path = "support/load.rs"]
mod load;
#[path = "support/pairing.rs"]
mod pairing;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/streaming.rs"]
mod streaming;
#[path = "support/watcher.rs"]
mod watcher;

use std::time::{Duration, Instant};

use aap::api::pb;
use prost::Message;

use copier::Copier;
use load::{Call, Load};
use servers::{LOCATION, Server, Variant};
use streaming::Stream;
use watcher::{Crowd, Watcher};

const IN_FLIGHT: usize = 200;
const WARMUP: Duration = Duration::from_millis(200);
const WATCHERS: usize = 10;
const TURNS: usize = 3;
/// What one watcher is to read in a second.
const BAR: f64 = 200_000.0;
/// What is to be left of the rate of appending.
const KEPT_BAR: f64 = 0.8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve-aap") => servers::serve_aap(&arguments[1], Variant::Durable),
        _ => {
            let is_there = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
            measure(is_there("--short"), is_there("--backup"));
        }
    }
}

fn measure(is_short: bool, is_backup: bool) {
    let (records, pairs, slice) = if is_short {
        (500_000, 10, Duration::from_millis(500))
    } else {
        (2_000_000, 12, Duration::from_secs(2))
    };
    let directory = tempfile::tempdir_in("target").unwrap();
    let server = Server::spawn(&["serve-aap", directory.path().to_str().unwrap()]);
    let call = check_call(&server);
    let check = Load {
        address: server.address,
        call: &call,
        connections: 1,
        warmup: WARMUP,
        duration: slice,
    };
    let is_up = || check.closed_loop(1, &mut load::ignore).is_ok();
    assert!((0..50).any(|_| is_up()), "the server doesn't answer");
    let records = fill(&server, records);
    println!("\n{records} records of checks, {} MiB on disk\n", size(directory.path()) >> 20);
    if is_backup {
        back_up(&server, &check, (pairs, slice));
    } else {
        catch_up(&server, records);
        append(&server, &check, (pairs, slice), records);
    }
    server.stop();
}

/// Has so many checks recorded, at least; says how many.
fn fill(server: &Server, records: u64) -> u64 {
    let check =
        |number| pb::StreamedCheck { correlation_id: number, check: Some(servers::check()) };
    let message = pb::StreamCheckAccessRequest {
        parent: LOCATION.to_owned(),
        checks: (0..100).map(check).collect(),
        ..pb::StreamCheckAccessRequest::default()
    };
    let (address, token) = (server.address, server.token.as_str());
    let message = message.encode_to_vec().into();
    let stream = Stream { address, token, message, questions: 100, window: 16 };
    let mut last = 0;
    while last < records {
        stream.rate(Duration::from_secs(1), &mut |bytes| {
            let Some(result) = pb::StreamCheckAccessResponse::decode(bytes).unwrap().results.pop()
            else {
                return;
            };
            if let Some(pb::streamed_result::Result::Decided(decided)) = result.result {
                last = last.max(decided.receipt.unwrap().sequence);
            }
        });
    }
    last
}

fn catch_up(server: &Server, records: u64) {
    let nobody = pb::AuditRecordFilter {
        access_points: vec![format!("{LOCATION}/accessPoints/nobody")],
        ..pb::AuditRecordFilter::default()
    };
    println!(
        "| one watcher, {records} records behind | records /s, of {TURNS} turns | bar of 200,000 |\n|---|---:|---|"
    );
    for (name, watcher) in [
        ("records as bytes", Watcher::new(server, pb::RecordForm::Serialized)),
        ("records as messages, decoded", Watcher::new(server, pb::RecordForm::Message)),
        (
            "a filter that admits none",
            Watcher::new(server, pb::RecordForm::Serialized).only(nobody),
        ),
    ] {
        let mut rates: Vec<f64> = (0..TURNS)
            .map(|_| {
                let (seen, took) = watcher.catch_up(records);
                seen.through as f64 / took.as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        let verdict = if rates[TURNS / 2] >= BAR { "met" } else { "missed" };
        println!(
            "| {name} | {:.0} ({:.0} to {:.0}) | {verdict} |",
            rates[TURNS / 2],
            rates[0],
            rates[TURNS - 1]
        );
    }
}

/// Checks, whose records are appended, while others catch up and while nobody does.
fn append(server: &Server, check: &Load<'_>, (pairs, slice): (usize, Duration), records: u64) {
    println!("\n{IN_FLIGHT} checks in flight, {pairs} pairs of {slice:?}\n\n{}", pairing::HEADER);
    let watcher = Watcher::new(server, pb::RecordForm::Serialized);
    let (mut read, mut time) = (0, Duration::ZERO);
    let row = pairing::compare(
        &format!("appending while {WATCHERS} watchers catch up : while nobody does"),
        pairs,
        slice,
        &mut |_| {
            let crowd = Crowd::gather(&watcher, WATCHERS, records);
            let (before, began) = (crowd.read(), Instant::now());
            let rate = rate(check);
            read += crowd.read() - before;
            time += began.elapsed();
            crowd.leave();
            rate
        },
        &mut |_| rate(check),
    );
    println!("{row}");
    let verdict = if row.ratio >= KEPT_BAR { "met" } else { "missed" };
    println!(
        "\nbar of {KEPT_BAR}: {verdict}; the watchers read {:.0} records a second meanwhile",
        read as f64 / time.as_secs_f64()
    );
}

/// Checks while somebody takes backups, one after another, and while nobody does.
fn back_up(server: &Server, check: &Load<'_>, (pairs, slice): (usize, Duration)) {
    println!("\n{IN_FLIGHT} checks in flight, {pairs} pairs of {slice:?}\n\n{}", pairing::HEADER);
    let (mut read, mut time) = (0, Duration::ZERO);
    let row = pairing::compare(
        "checks while a backup is taken : while none is",
        pairs,
        slice,
        &mut |_| {
            let copier = Copier::begin(server);
            let (before, began) = (copier.read(), Instant::now());
            let rate = rate(check);
            read += copier.read() - before;
            time += began.elapsed();
            copier.leave();
            rate
        },
        &mut |_| rate(check),
    );
    println!("{row}");
    let verdict = if row.ratio >= KEPT_BAR { "met" } else { "missed" };
    println!(
        "\nbar of {KEPT_BAR}: {verdict}; {:.1} MB of backup a second came meanwhile",
        read as f64 / time.as_secs_f64() / 1e6
    );
}

/// The rate of checks in a slice.
fn rate(check: &Load<'_>) -> f64 {
    let report = check.closed_loop(IN_FLIGHT, &mut load::ignore).expect("the load runs");
    assert_eq!(report.failed, 0);
    report.rate()
}

fn check_call(server: &Server) -> Call {
    Call {
        path: "/aap.v1.AuthorizationService/CheckAccess".to_owned(),
        headers: vec![("authorization".to_owned(), format!("Bearer {}", server.token))],
        message: servers::check_message(),
    }
}

/// The bytes of all files below a directory.
fn size(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let of = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        found if found.is_dir() => size(&entry.path()),
        found => found.len(),
    };
    entries.map(of).sum()
}
