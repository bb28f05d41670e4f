//! What telling about itself costs a server: `CheckAccess`, durable, with telemetry and without, in
//! one run: metrics alone, spans of one call in a hundred besides, and both with a collector that is
//! dead or takes connections and says nothing.
//!
//! All servers run in processes of their own, and slices take turns; what counts is the ratio. Those
//! with metrics are asked for them once a second, which is more often than Prometheus does.
//!
//! ```text
//! cargo bench --bench telemetry              # 20 pairs of 2 s each, 200 in flight: 8 minutes
//! cargo bench --bench telemetry -- --short   # 12 pairs of 0.4 s each: 2 minutes
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

#[path = "support/collector.rs"]
mod collector;
#[path = "support/empty.rs"]
mod empty;
#[path = "support/load.rs"]
mod load;
#[path = "support/pairing.rs"]
mod pairing;
#[path = "support/servers.rs"]
mod servers;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use load::{Call, Load};
use servers::{Server, Variant};

const IN_FLIGHT: usize = 200;
const WARMUP: Duration = Duration::from_millis(200);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize| arguments.get(place).map_or("", String::as_str);
    match word(0) {
        "collect" => collector::serve(),
        "serve-silent" => servers::serve_aap(word(1), Variant::Durable),
        "serve-metrics" => servers::serve_aap(word(1), Variant::TellsMetrics),
        "serve-all" => {
            servers::serve_aap(word(1), Variant::TellsAll { collector: word(2).parse().unwrap() });
        }
        _ => compare(arguments.iter().any(|argument| argument == "--short")),
    }
}

fn compare(is_short: bool) {
    let (pairs, slice) =
        if is_short { (12, Duration::from_millis(400)) } else { (20, Duration::from_secs(2)) };
    let directory = tempfile::tempdir_in("target").unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let collector = Server::spawn(&["collect"]);
    // Nobody listens there any more.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // Takes connections, and says nothing.
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow_address = slow.local_addr().unwrap().to_string();
    let address = collector.address.to_string();
    let silent = Server::spawn(&["serve-silent", &path("silent")]);
    let metrics = Server::spawn(&["serve-metrics", &path("metrics")]);
    let all = Server::spawn(&["serve-all", &path("all"), &address]);
    let to_dead = Server::spawn(&["serve-all", &path("dead"), &dead]);
    let to_slow = Server::spawn(&["serve-all", &path("slow"), &slow_address]);
    let is_over = Arc::new(AtomicBool::new(false));
    let told = [&metrics, &all, &to_dead, &to_slow].map(|server| server.metrics.unwrap());
    let scraping = told.map(|address| scrape(address, Arc::clone(&is_over)));

    println!("\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    for (name, subject) in [
        ("metrics : nothing", &metrics),
        ("metrics, 1 % of spans : nothing", &all),
        ("the same, collector dead : nothing", &to_dead),
        ("the same, collector silent : nothing", &to_slow),
        ("nothing : itself", &silent),
    ] {
        let row =
            pairing::compare(name, pairs, slice, &mut |slice| rate(subject, slice), &mut |slice| {
                rate(&silent, slice)
            });
        println!("{row}");
    }
    is_over.store(true, Ordering::Relaxed);
    println!();
    for scraped in scraping {
        println!("{}", scraped.join().unwrap());
    }
}

fn rate(server: &Server, duration: Duration) -> f64 {
    let call = Call {
        path: "/aap.v1.AuthorizationService/CheckAccess".to_owned(),
        headers: vec![("authorization".to_owned(), format!("Bearer {}", server.token))],
        message: servers::check_message(),
    };
    let address = server.address;
    let load = Load { address, call: &call, connections: 1, warmup: WARMUP, duration };
    let report = load.closed_loop(IN_FLIGHT, &mut load::ignore).expect("the load runs");
    assert_eq!(report.failed, 0, "calls failed");
    report.rate()
}

/// Asks for metrics once a second; returns what became of spans, as the last answer has it.
fn scrape(address: SocketAddr, is_over: Arc<AtomicBool>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut answer = String::new();
        while !is_over.load(Ordering::Relaxed) {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: aap\r\n\r\n").unwrap();
            answer.clear();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains("aap_decisions_total"), "{answer}");
            thread::sleep(Duration::from_secs(1));
        }
        let spans = answer.lines().filter(|line| line.starts_with("aap_telemetry_spans_total"));
        spans.collect::<Vec<_>>().join("  ")
    })
}
