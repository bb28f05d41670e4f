//! What telling about itself costs a server: `CheckAccess`, durable, with telemetry and without, in
//! one run: metrics alone, and spans of one call in a hundred besides; and whether a collector that is
//! dead, or takes connections and says nothing, costs more than one that takes what it is sent.
//!
//! Both servers of a row run in processes of their own, and slices take turns; what counts is the
//! ratio. Those with metrics are asked for them in each slice, and send them once a second to a
//! collector, both many times as often as they would be. The data is in memory (`/dev/shm`), for what
//! a disk does varies by more than is asked for here, and who waits for one has time to spare.
//!
//! ```text
//! cargo bench --bench telemetry               # 32 pairs of 5 slices of 0.4 s each; 14 minutes, 12 GB
//! cargo bench --bench telemetry -- metrics    # a row alone: metrics, spans, dead, silent, nothing
//! cargo bench --bench telemetry -- --short    # 12 pairs of 2 slices each; 3 minutes
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
    path::Path,
    thread,
    time::Duration,
};

use load::{Call, Load};
use pairing::{Pairing, Verdict};
use servers::{Server, Variant};

/// Calls that are on the way at once.
const IN_FLIGHT: usize = 200;
/// How long calls go out before a slice counts.
const WARMUP: Duration = Duration::from_millis(100);
/// How long it counts. Short, so that what the machine does meanwhile touches both of a pair.
const SLICE: Duration = Duration::from_millis(400);
/// How long servers must have nothing to do before the first slice, and what is nothing, in hundredths
/// of a second.
const REST: Duration = Duration::from_secs(1);
const NOTHING: u64 = 3;
/// How long they may take to get there.
const MOST_RESTS: usize = 60;

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
        _ => compare(&arguments),
    }
}

/// Who is compared, and with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Nothing,
    Metrics,
    /// Metrics, and spans of one call in a hundred, to a collector that takes them.
    All,
    /// To one that is dead.
    AllToDead,
    /// To one that takes connections and says nothing.
    AllToSilent,
}

struct Row {
    /// What it is called on the command line, and in the table.
    option: &'static str,
    name: &'static str,
    subject: Telling,
    opponent: Telling,
    /// Which part of the opponent's rate there must be, if there must.
    bar: Option<f64>,
}

/// That telemetry costs at most 3 % is the goal; nothing more is what can't be told from nothing here.
const ROWS: [Row; 5] = [
    Row {
        option: "metrics",
        name: "metrics : nothing",
        subject: Telling::Metrics,
        opponent: Telling::Nothing,
        bar: Some(0.97),
    },
    Row {
        option: "spans",
        name: "metrics and 1 % of spans : nothing",
        subject: Telling::All,
        opponent: Telling::Nothing,
        bar: Some(0.97),
    },
    Row {
        option: "dead",
        name: "collector dead : collector that takes them",
        subject: Telling::AllToDead,
        opponent: Telling::All,
        bar: Some(0.99),
    },
    Row {
        option: "silent",
        name: "collector silent : collector that takes them",
        subject: Telling::AllToSilent,
        opponent: Telling::All,
        bar: Some(0.99),
    },
    Row {
        option: "nothing",
        name: "nothing : nothing",
        subject: Telling::Nothing,
        opponent: Telling::Nothing,
        bar: None,
    },
];

fn compare(arguments: &[String]) {
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let (pairs, turns) = if has("--short") { (12, 2) } else { (32, 5) };
    let is_alone = ROWS.iter().any(|row| has(row.option));
    println!(
        "\n{IN_FLIGHT} in flight on one connection, {pairs} pairs of {turns} slices of {SLICE:?} each\n"
    );
    let (names, line) = pairing::HEADER.split_once('\n').unwrap();
    println!("{names} bar |\n{line}---|");
    for row in ROWS.iter().filter(|row| !is_alone || has(row.option)) {
        let collectors = Collectors::new();
        let start = |telling| Subject::start(telling, &collectors);
        let (subject, opponent) = (start(row.subject), start(row.opponent));
        wait_until_idle(&[&subject.server, &opponent.server]);
        let rates: Vec<_> =
            (0..pairs).map(|number| pair(&subject, &opponent, number % 2 == 0, turns)).collect();
        let pairing = Pairing::new(row.name, &rates);
        println!("{pairing} {} |", verdict(&pairing, row.bar));
        for (side, subject) in [("subject", subject), ("opponent", opponent)] {
            if let Some(address) = subject.server.metrics {
                eprintln!("{side}: {}", spans(&scrape(address)));
            }
        }
    }
}

/// The mean rates of subject and opponent in slices that take turns.
fn pair(subject: &Subject, opponent: &Subject, is_first: bool, turns: usize) -> (f64, f64) {
    let (mut ours, mut theirs) = (0.0, 0.0);
    for turn in 0..turns {
        if is_first == (turn % 2 == 0) {
            ours += subject.rate();
            theirs += opponent.rate();
        } else {
            theirs += opponent.rate();
            ours += subject.rate();
        }
    }
    (ours / turns as f64, theirs / turns as f64)
}

fn verdict(pairing: &Pairing, bar: Option<f64>) -> String {
    let Some(bar) = bar else { return "none".to_owned() };
    let verdict = match pairing.interval {
        (low, _) if low >= bar => "met",
        (_, high) if high < bar => "not met",
        _ => "no verdict",
    };
    let doubt = if pairing.verdict == Verdict::Unknown { ", but for the spread" } else { "" };
    format!("{bar}, {verdict}{doubt}")
}

/// What is told may be sent to.
struct Collectors {
    taking: Server,
    /// Nobody listens there any more.
    dead: SocketAddr,
    /// Takes connections, and says nothing.
    silent: TcpListener,
}

impl Collectors {
    fn new() -> Self {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            taking: Server::spawn(&["collect"]),
            dead: nobody.local_addr().unwrap(),
            silent: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }
}

/// A server with a directory of its own, and what it is asked.
struct Subject {
    server: Server,
    call: Call,
    directory: tempfile::TempDir,
}

impl Subject {
    fn start(telling: Telling, collectors: &Collectors) -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory } else { Path::new("target") };
        let directory = tempfile::tempdir_in(place).unwrap();
        let data = directory.path().join("aap").to_str().unwrap().to_owned();
        let all = |address: SocketAddr| Server::spawn(&["serve-all", &data, &address.to_string()]);
        let server = match telling {
            Telling::Nothing => Server::spawn(&["serve-silent", &data]),
            Telling::Metrics => Server::spawn(&["serve-metrics", &data]),
            Telling::All => all(collectors.taking.address),
            Telling::AllToDead => all(collectors.dead),
            Telling::AllToSilent => all(collectors.silent.local_addr().unwrap()),
        };
        let call = Call {
            path: "/aap.v1.AuthorizationService/CheckAccess".to_owned(),
            headers: vec![("authorization".to_owned(), format!("Bearer {}", server.token))],
            message: servers::check_message(),
        };
        Self { server, call, directory }
    }

    /// The rate of one slice, with a look at the metrics in it, if there are some.
    fn rate(&self) -> f64 {
        let (address, call) = (self.server.address, &self.call);
        let load = Load { address, call, connections: 1, warmup: WARMUP, duration: SLICE };
        let report = thread::scope(|scope| {
            if let Some(metrics) = self.server.metrics {
                scope.spawn(move || {
                    thread::sleep(WARMUP + SLICE / 4);
                    scrape(metrics);
                });
            }
            load.closed_loop(IN_FLIGHT, &mut load::ignore).expect("the load runs")
        });
        assert_eq!(report.failed, 0, "calls failed");
        report.rate()
    }
}

/// Waits until servers have made their worlds, and have nothing to do.
fn wait_until_idle(servers: &[&Server]) {
    let used = || servers.iter().map(|server| processor_time(server.id())).sum::<u64>();
    let mut before = used();
    for _ in 0..MOST_RESTS {
        thread::sleep(REST);
        let now = used();
        if now - before <= NOTHING {
            return;
        }
        before = now;
    }
    panic!("a server does not come to rest");
}

/// How long the processors have worked for a process, in hundredths of a second.
fn processor_time(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name is in parentheses, and may have anything in it.
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11..=12].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

/// What a server tells now.
fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: aap\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("aap_decisions_total"), "{answer}");
    answer
}

/// What became of spans.
fn spans(told: &str) -> String {
    let spans = told.lines().filter(|line| line.starts_with("aap_telemetry_spans_total"));
    spans.collect::<Vec<_>>().join("  ")
}
