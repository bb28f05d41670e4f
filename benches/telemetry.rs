//! What telling about itself costs a server: `CheckAccess`, durable, with metrics and without, in one
//! run.
//!
//! Both servers run in processes of their own, and slices take turns; what counts is the ratio. The
//! one with metrics is asked for them once a second, which is more often than Prometheus does.
//!
//! ```text
//! cargo bench --bench telemetry              # 20 pairs of 2 s, 200 in flight
//! cargo bench --bench telemetry -- --short   # 16 pairs of 0.5 s
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

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use load::{Call, Load};
use servers::Server;

const IN_FLIGHT: usize = 200;
const WARMUP: Duration = Duration::from_millis(200);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve-silent") => servers::serve_aap(&arguments[1], servers::Tells::Nothing),
        Some("serve-telling") => servers::serve_aap(&arguments[1], servers::Tells::Metrics),
        _ => {
            let is_short = arguments.iter().any(|argument| argument == "--short");
            compare(is_short);
        }
    }
}

fn compare(is_short: bool) {
    let (pairs, slice) =
        if is_short { (16, Duration::from_millis(500)) } else { (20, Duration::from_secs(2)) };
    let directories = [(); 2].map(|()| tempfile::tempdir_in("target").unwrap());
    let paths = directories.each_ref().map(|directory| directory.path().to_str().unwrap());
    let silent = Server::spawn(&["serve-silent", paths[0]]);
    let telling = Server::spawn(&["serve-telling", paths[1]]);
    let is_over = Arc::new(AtomicBool::new(false));
    let scraping = scrape(telling.metrics.unwrap(), Arc::clone(&is_over));

    println!("\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {slice:?}\n");
    println!("{}", pairing::HEADER);
    for (name, subject) in [("with metrics : without", &telling), ("without : itself", &silent)] {
        let row =
            pairing::compare(name, pairs, slice, &mut |slice| rate(subject, slice), &mut |slice| {
                rate(&silent, slice)
            });
        println!("{row}");
    }
    is_over.store(true, Ordering::Relaxed);
    let (scrapes, bytes) = scraping.join().unwrap();
    println!("\n{scrapes} scrapes, the last of {bytes} bytes");
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

/// Asks for metrics once a second; returns how often, and how large the last answer was.
fn scrape(address: SocketAddr, is_over: Arc<AtomicBool>) -> thread::JoinHandle<(u32, usize)> {
    thread::spawn(move || {
        let (mut scrapes, mut bytes) = (0, 0);
        while !is_over.load(Ordering::Relaxed) {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: aap\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains("aap_decisions_total"), "{answer}");
            (scrapes, bytes) = (scrapes + 1, answer.len());
            thread::sleep(Duration::from_secs(1));
        }
        (scrapes, bytes)
    })
}
