//! `CheckAccess` against a method that does nothing, against load, and against the bare disk.
//!
//! Servers run in processes of their own: (a) an empty method on default tonic, (b) an empty method
//! in the same process and behind the same layers as the checks, (c) checks by a server without the
//! tree over the audit log and its checkpoints. Each pair of slices runs one after
//! the other, so that the machine's drift touches both; what counts is the ratio.
//!
//! ```text
//! cargo bench --bench check_access                    # 12 pairs of 2 s, 200 in flight; 8 minutes
//! cargo bench --bench check_access -- --short         # 10 pairs of 0.5 s, the main rows
//! cargo bench --bench check_access -- --floors        # fails where a ratio is far below what it was
//! cargo bench --bench check_access -- --tree          # (c) alone, 24 pairs of 1 s
//! cargo bench --bench check_access -- --half-load     # the tail at half load alone
//! cargo bench --bench check_access -- --streams       # streams alone
//! cargo bench --bench check_access -- --instructions  # what a call costs, under valgrind
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/callgrind.rs"]
mod callgrind;
#[path = "support/empty.rs"]
mod empty;
#[path = "support/load.rs"]
mod load;
#[path = "support/pairing.rs"]
mod pairing;
#[path = "support/plot.rs"]
mod plot;
#[path = "support/publisher.rs"]
mod publisher;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/streaming.rs"]
mod streaming;

use std::{collections::HashSet, fs, path::Path, time::Duration};

use aap::api::pb;
use prost::Message;

use load::{Call, Histogram, Load, Report};
use plot::{Line, Plot};
use servers::{LOCATION, Server, Variant};
use streaming::Stream;

const IN_FLIGHT: usize = 200;
const WARMUP: Duration = Duration::from_millis(300);
/// How many questions a message of a stream has, and how many messages are on the way.
const QUESTIONS: usize = 100;
const WINDOW: usize = 24;

/// What no run may be below: checks, and buffered ones, as parts of an empty method's rate, and how
/// many times as fast as calls a stream is. Well below what they are, for machines differ.
const FLOORS: [f64; 3] = [0.3, 0.35, 2.0];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    match arguments.first().map(String::as_str) {
        Some("serve-empty") => servers::serve_empty(),
        Some("serve-aap") => servers::serve_aap(&arguments[1], variant(&arguments[2])),
        _ if has("--instructions") => instructions(),
        _ if has("--tree") => compare_trees(),
        _ if has("--floors") => hold_floors(),
        _ if has("--half-load") => half_load(),
        _ if has("--streams") => streams(),
        _ => compare(has("--short")),
    }
}

fn compare(is_short: bool) {
    let (pairs, slice) =
        if is_short { (10, Duration::from_millis(500)) } else { (12, Duration::from_secs(2)) };
    let (durable, buffered) = (directory(), directory());
    let empty = Server::spawn(&["serve-empty"]);
    let durable_server = serve(&durable, "durable");
    let buffered_server = serve(&buffered, "buffered");
    let check = Subject { server: &durable_server, call: check_call(&durable_server) };
    let buffered = Subject { server: &buffered_server, call: check_call(&buffered_server) };
    let bare_tonic = Subject { server: &empty, call: empty_call(&[]) };
    let own = Subject { server: &durable_server, call: empty_call(&headers(&durable_server)) };

    verify(&check, true);
    verify(&buffered, false);
    println!("\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    for (name, subject, opponent) in [
        ("CheckAccess, durable : (a) empty on default tonic", &check, &bare_tonic),
        ("CheckAccess, durable : (b) empty in the same process", &check, &own),
        ("CheckAccess, buffered : (b) empty in the same process", &buffered, &own),
    ] {
        let row =
            pairing::compare(name, pairs, slice, &mut |slice| subject.rate(slice), &mut |slice| {
                opponent.rate(slice)
            });
        println!("{row}");
    }
    let sent =
        Call { message: check.call.message.clone(), ..empty_call(&headers(&durable_server)) };
    let sent = Subject { server: &durable_server, call: sent };
    let name = "(b), sent the message of a check : (b)";
    let (mut subject, mut opponent) = (|slice| sent.rate(slice), |slice| own.rate(slice));
    println!("{}", pairing::compare(name, pairs, slice, &mut subject, &mut opponent));
    let stream = stream(&durable_server);
    verify_stream(&stream);
    let name = format!("StreamCheckAccess, {QUESTIONS} a message : CheckAccess, both durable");
    let streamed = &mut |slice| stream.rate(slice, &mut |_| {});
    println!("{}", pairing::compare(&name, pairs, slice, streamed, &mut |slice| check.rate(slice)));
    alone(&check, &bare_tonic, slice);
    if !is_short {
        against_load(&[("durable", &check), ("buffered", &buffered), ("(a)", &bare_tonic)], slice);
        at_half_load(&check, &own, 5, 2 * slice);
        while_publishing(&check, pairs, slice);
    }
}

/// Streams alone.
fn streams() {
    let directory = directory();
    let server = serve(&directory, "durable");
    let check = Subject { server: &server, call: check_call(&server) };
    verify(&check, true);
    let (pairs, slice) = (12, Duration::from_secs(2));
    let stream = stream(&server);
    verify_stream(&stream);
    println!("\n{}", pairing::HEADER);
    let name = format!("StreamCheckAccess, {QUESTIONS} a message : CheckAccess, both durable");
    let streamed = &mut |slice| stream.rate(slice, &mut |_| {});
    println!("{}", pairing::compare(&name, pairs, slice, streamed, &mut |slice| check.rate(slice)));
}

/// The tail at half load alone.
fn half_load() {
    let directory = directory();
    let server = serve(&directory, "durable");
    let check = Subject { server: &server, call: check_call(&server) };
    verify(&check, true);
    let own = Subject { server: &server, call: empty_call(&headers(&server)) };
    at_half_load(&check, &own, 5, Duration::from_secs(4));
}

fn variant(name: &str) -> Variant {
    match name {
        "durable" => Variant::Durable,
        "buffered" => Variant::Buffered,
        "without-tree" => Variant::WithoutTree,
        _ => panic!("{name} is no variant"),
    }
}

/// Fails if checks have become far slower than an empty method in the same process, or a stream not
/// faster than calls. Only ratios of one run are judged, and only where the whole interval is below.
fn hold_floors() {
    let (pairs, slice) = (10, Duration::from_millis(500));
    let (durable, buffered) = (directory(), directory());
    let (durable, buffered) = (serve(&durable, "durable"), serve(&buffered, "buffered"));
    let check = Subject { server: &durable, call: check_call(&durable) };
    let buffered = Subject { server: &buffered, call: check_call(&buffered) };
    let own = Subject { server: &durable, call: empty_call(&headers(&durable)) };
    verify(&check, true);
    verify(&buffered, false);
    let stream = stream(&durable);
    verify_stream(&stream);
    println!("\n{}", pairing::HEADER);
    let against_empty = |name: &str, subject: &Subject<'_>| {
        let (mut subject, mut empty) = (|slice| subject.rate(slice), |slice| own.rate(slice));
        pairing::compare(name, pairs, slice, &mut subject, &mut empty)
    };
    let streamed = &mut |slice| stream.rate(slice, &mut |_| {});
    let rows = [
        (against_empty("CheckAccess, durable : (b)", &check), FLOORS[0]),
        (against_empty("CheckAccess, buffered : (b)", &buffered), FLOORS[1]),
        (
            pairing::compare(
                "StreamCheckAccess : CheckAccess",
                pairs,
                slice,
                streamed,
                &mut |slice| check.rate(slice),
            ),
            FLOORS[2],
        ),
    ];
    for (row, floor) in rows {
        println!("{row}");
        let (_, high) = row.interval;
        assert!(high >= floor, "{}: at most {high:.3}, and the floor is {floor}", row.name);
    }
}

/// What the tree and its checkpoints cost.
fn compare_trees() {
    let (pairs, slice) = (24, Duration::from_secs(1));
    let (with, without) = (directory(), directory());
    let with = serve(&with, "durable");
    let without = serve(&without, "without-tree");
    let with = Subject { server: &with, call: check_call(&with) };
    let without = Subject { server: &without, call: check_call(&without) };
    verify(&with, true);
    verify(&without, true);
    println!("\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    let name = "CheckAccess, durable : (c) without tree and checkpoints";
    let (mut subject, mut opponent) = (|slice| with.rate(slice), |slice| without.rate(slice));
    println!("{}", pairing::compare(name, pairs, slice, &mut subject, &mut opponent));
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("target").unwrap()
}

fn serve(directory: &tempfile::TempDir, mode: &str) -> Server {
    Server::spawn(&["serve-aap", directory.path().to_str().unwrap(), mode])
}

/// One call at a time: what it takes beside an empty call and a synced write of a record's size.
fn alone(check: &Subject<'_>, empty: &Subject<'_>, slice: Duration) {
    println!("\none call at a time\n");
    println!("| | p50 | p99 |\n|---|---:|---:|");
    let bare = bare::appends(Path::new("target"), RECORD, slice);
    let call = empty.run(1, slice);
    let check = check.run(1, slice);
    for (name, histogram) in [
        ("`CheckAccess`, durable", &check.latency),
        ("(a) empty on default tonic", &call.latency),
        ("write of a record and `fdatasync`, bare", &bare),
    ] {
        let micros = |percent| histogram.percentile(percent).as_secs_f64() * 1e6;
        println!("| {name} | {:.0} us | {:.0} us |", micros(50.0), micros(99.0));
    }
}

/// How long calls take, the more of them are in flight.
fn against_load(subjects: &[(&'static str, &Subject<'_>)], slice: Duration) {
    println!("\nlatency against load (closed loop)\n");
    println!("| what | in flight | calls /s | p50 | p99 | p99.9 |\n|---|---:|---:|---:|---:|---:|");
    let mut lines = Vec::new();
    for &(name, subject) in subjects {
        let (mut middle, mut high) = (Vec::new(), Vec::new());
        for in_flight in [1, 2, 5, 10, 20, 50, 100, 200, 500] {
            let report = subject.run(in_flight, slice);
            let millis = |percent| report.percentile(percent).as_secs_f64() * 1e3;
            let rate = report.rate();
            let [p50, p99, p999] = [50.0, 99.0, 99.9].map(millis);
            println!("| {name} | {in_flight} | {rate:.0} | {p50:.3} | {p99:.3} | {p999:.3} |");
            middle.push((in_flight as f64, p50));
            high.push((in_flight as f64, p99));
        }
        lines.push(Line { name: format!("{name}, p50"), points: middle });
        lines.push(Line { name: format!("{name}, p99"), points: high });
    }
    let plot = Plot {
        title: "Latency of CheckAccess against calls in flight",
        horizontal: "calls in flight",
        vertical: "ms",
        lines,
    };
    plot.draw("target/check_access.svg");
    println!("\nplot: target/check_access.svg");
}

/// The tail at half of what the server can do, beside the tail of bare synced writes of as many bytes
/// as come in the time of one, and that of as many empty calls, which shows what the machine itself
/// does: in turns, so that all three meet the same.
fn at_half_load(check: &Subject<'_>, empty: &Subject<'_>, turns: usize, slice: Duration) {
    let rate = check.rate(slice) / 2.0;
    let syncs_take = bare::appends(Path::new("target"), RECORD, slice / 4).percentile(50.0);
    let bytes = ((rate * syncs_take.as_secs_f64()).ceil() as usize).max(1) * RECORD;
    let millis = |histogram: &Histogram, percent| histogram.percentile(percent).as_secs_f64() * 1e3;
    println!("\nat half load, {rate:.0} calls a second (open loop), {turns} turns of {slice:?}\n");
    println!("| what | p50 | p99 | p99.9 | most | the host took |");
    println!("|---|---:|---:|---:|---:|---:|");
    let show = |what: &str, histogram: &Histogram, taken: Duration| {
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| millis(histogram, percent));
        let (most, taken) = (histogram.max().as_secs_f64() * 1e3, taken.as_millis());
        println!(
            "| {what} | {p50:.3} ms | {p99:.3} ms | {p999:.3} ms | {most:.3} ms | {taken} ms |"
        );
    };
    let open = |name: &str, subject: &Subject<'_>| {
        let before = taken_by_the_host();
        let report = subject.load(slice).open_loop(rate, 2_000, &mut load::ignore).unwrap();
        assert_eq!(report.failed, 0, "calls failed");
        let late = match report.unsent {
            0 => String::new(),
            unsent => format!(" ({unsent} more never began)"),
        };
        show(&format!("{name}{late}"), &report.latency, taken_by_the_host().saturating_sub(before));
        millis(&report.latency, 99.9)
    };
    let (mut to_bare, mut to_empty) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        let checked = open("`CheckAccess`, durable", check);
        let before = taken_by_the_host();
        let bare = bare::appends(Path::new("target"), bytes, slice);
        let name = format!("write of {bytes} bytes and `fdatasync`, bare");
        show(&name, &bare, taken_by_the_host().saturating_sub(before));
        let answered = open("(b) empty in the same process", empty);
        to_bare.push(checked / millis(&bare, 99.9));
        to_empty.push(checked / answered);
    }
    for (name, mut ratios) in [("bare p99.9", to_bare), ("p99.9 of (b)", to_empty)] {
        ratios.sort_by(f64::total_cmp);
        let (least, middle, most) = (ratios[0], ratios[turns / 2], ratios[turns - 1]);
        println!("\np99.9 : {name} = {middle:.1} ({least:.1} to {most:.1})");
    }
}

/// How long this machine's processors were given to others, if it is a virtual one whose host says so.
fn taken_by_the_host() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse().ok());
    Duration::from_millis(10) * ticks.unwrap_or(0)
}

/// Full load, with a policy published over and over and without, in turns.
fn while_publishing(check: &Subject<'_>, pairs: usize, slice: Duration) {
    let (mut calm, mut busy) = (Histogram::new(), Histogram::new());
    let mut published = 0;
    for _ in 0..pairs / 2 {
        calm.add(&check.run(IN_FLIGHT, slice).latency);
        let publisher = publisher::Publisher::start(check.server);
        busy.add(&check.run(IN_FLIGHT, slice).latency);
        published += publisher.stop();
    }
    println!("\nwhile a policy is published, {published} times in all\n");
    println!("| | p50 | p99 | p99.9 | most |\n|---|---:|---:|---:|---:|");
    let mut lines = Vec::new();
    for (name, histogram) in [("without", &calm), ("with", &busy)] {
        let millis = |percent| histogram.percentile(percent).as_secs_f64() * 1e3;
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(millis);
        let most = histogram.max().as_secs_f64() * 1e3;
        println!("| {name} | {p50:.3} ms | {p99:.3} ms | {p999:.3} ms | {most:.3} ms |");
        let name = format!("{name} a policy being published");
        let points = SLOWER.map(|one_in| (one_in, millis(100.0 - 100.0 / one_in))).to_vec();
        lines.push(Line { name, points });
    }
    let plot = Plot {
        title: "Latency of CheckAccess at full load, while policies are published",
        horizontal: "one call in so many takes longer",
        vertical: "ms",
        lines,
    };
    plot.draw("target/publishing.svg");
    println!("\nplot: target/publishing.svg");
}

/// Which parts of all calls a latency is plotted for.
const SLOWER: [f64; 10] = [2.0, 4.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0];

/// How many instructions a call costs the whole server, all threads: valgrind counts two runs of the
/// server that differ by a number of calls alone.
fn instructions() {
    println!("\n| what | instructions a call |\n|---|---:|");
    for name in ["CheckAccess, durable", "(b) empty in the same process"] {
        let counted = [2_000, 12_000].map(|calls| {
            let directory = directory();
            let out = directory.path().join("callgrind.out");
            let valgrind = callgrind::command(&out);
            let valgrind: Vec<&str> = valgrind.iter().map(String::as_str).collect();
            let data = directory.path().to_str().unwrap();
            let server = Server::spawn_under(&valgrind, &["serve-aap", data, "durable"]);
            let call = match name {
                "CheckAccess, durable" => check_call(&server),
                _ => empty_call(&headers(&server)),
            };
            let subject = Subject { server: &server, call };
            subject.wait_until_it_answers();
            subject.calls(calls);
            server.stop();
            callgrind::total(&out)
        });
        println!("| {name} | {:.0} |", (counted[1] - counted[0]) / 10_000.0);
    }
}

/// How many bytes a check's record has on disk, about.
const RECORD: usize = 512;

/// Looks at every answer once: an allow, on disk or not yet, with a place of its own.
fn verify(check: &Subject<'_>, is_durable: bool) {
    let mut sequences = HashSet::new();
    let mut see = |bytes: &[u8]| {
        let answer = pb::CheckAccessResponse::decode(bytes).unwrap();
        let (decision, receipt) = (answer.decision.unwrap(), answer.receipt.unwrap());
        assert_eq!(decision.outcome(), pb::Outcome::Allow);
        // A buffered answer may come after the sync, too.
        assert!(receipt.durable || !is_durable);
        assert!(sequences.insert(receipt.sequence));
    };
    check.wait_until_it_answers();
    let report = check.load(Duration::from_millis(500)).closed_loop(IN_FLIGHT, &mut see).unwrap();
    assert_eq!(report.failed, 0);
    let answers = sequences.len();
    println!(
        "verified {answers} answers: allowed, durable: {is_durable}, each with a place of its own"
    );
}

/// Looks at one answer of each message that comes over a stream.
fn verify_stream(stream: &Stream<'_>) {
    let mut see = |bytes: &[u8]| {
        let answer = pb::StreamCheckAccessResponse::decode(bytes).unwrap();
        assert_eq!(answer.results.len(), QUESTIONS);
        for result in answer.results {
            let Some(pb::streamed_result::Result::Decided(decided)) = result.result else {
                panic!("{result:?}");
            };
            assert_eq!(decided.decision.unwrap().outcome(), pb::Outcome::Allow);
            assert!(decided.receipt.unwrap().durable);
        }
    };
    stream.rate(Duration::from_millis(200), &mut see);
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

    /// Making its world takes a server a while, longer under valgrind or on a busy disk.
    fn wait_until_it_answers(&self) {
        let load = Load { warmup: Duration::ZERO, ..self.load(Duration::ZERO) };
        let answers = || load.closed_loop(1, &mut load::ignore).is_ok();
        assert!((0..50).any(|_| answers()), "the server doesn't answer");
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

    /// Makes exactly so many calls.
    fn calls(&self, calls: u32) {
        let rate = 1_000.0;
        let duration = Duration::from_secs_f64(f64::from(calls) / rate);
        let load = Load { warmup: Duration::ZERO, duration, ..self.load(duration) };
        let report = load.open_loop(rate, 10_000, &mut load::ignore).expect("the load runs");
        assert_eq!((report.failed, report.calls), (0, u64::from(calls)));
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

fn stream(server: &Server) -> Stream<'_> {
    let check =
        |number| pb::StreamedCheck { correlation_id: number, check: Some(servers::check()) };
    let message = pb::StreamCheckAccessRequest {
        parent: LOCATION.to_owned(),
        checks: (0..QUESTIONS as u64).map(check).collect(),
        request_id: String::new(),
        at_least_revision: 0,
    };
    Stream {
        address: server.address,
        token: &server.token,
        message: message.encode_to_vec().into(),
        questions: QUESTIONS,
        window: WINDOW,
    }
}
