//! A load generator for unary gRPC calls over cleartext HTTP/2 with prior knowledge.
//!
//! It is made to cost far less than the server that it measures: one thread a connection, blocking
//! sockets of the standard library, requests that are encoded once, and one write for all the calls
//! that begin together. It decodes no header block and no message; `on_message` sees every message
//! that comes, those of the warm-up included, and can tell what is in it.
//!
//! - [`Load::closed_loop`] keeps a number of calls in flight: an answer begins the next call. It
//!   says how much a server can do. Its latency is that of a server that is never idle.
//! - [`Load::open_loop`] begins calls at a fixed rate, whatever the server does, and measures from
//!   when a call was due, so that a server which stalls can't hide how many calls it kept waiting.
//!   It naps for 50 µs between looks, and the kernel wakes it some 50 µs late, so that its latencies
//!   are up to 0.2 ms too high and never too low. It costs a write and a read a nap, far more than
//!   a closed loop.
//!
//! A run that can't be trusted says so: look at [`Report::failed`], [`Report::held_back`],
//! [`Report::unsent`] and [`Report::peak_in_flight`] before its rate.
//!
//! Include it in a bench with `harness = false` by `#[path = "support/load.rs"] mod load;`.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "bench code: each bench uses a part of it and drops the tests, the clock is what it is \
              for, and numbers are far below 2^53"
)]

mod connection;
mod frames;
mod histogram;
mod session;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::connection::{Connection, Reads};
pub use self::frames::Call;
use self::frames::Request;
pub use self::histogram::Histogram;
use self::session::{Event, Room};

/// How long calls that are open at the end may take until they count as failed.
const DRAIN: Duration = Duration::from_secs(10);
/// How long an open loop sleeps at most while answers are due.
const NAP: Duration = Duration::from_micros(50);

/// Sees messages as they come, without their prefix.
pub type OnMessage<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// An [`OnMessage`] for who doesn't look at messages.
pub fn ignore(_: &[u8]) {}

/// What is called, where, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The server, which speaks HTTP/2 without TLS.
    pub address: SocketAddr,
    /// The call that is repeated.
    pub call: &'a Call,
    /// How many connections share the load evenly, a thread each.
    pub connections: usize,
    /// How long calls go out before they count.
    pub warmup: Duration,
    /// How long they count.
    pub duration: Duration,
}

/// What a run measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// The calls that were answered, and counted.
    pub calls: u64,
    /// The calls that failed after the warm-up, those without an answer in the end included.
    pub failed: u64,
    /// How long it was counted; for an open loop, until the last counted answer.
    pub seconds: f64,
    /// How long the counted calls took.
    pub latency: Histogram,
    /// The most calls that were in flight together, summed over the connections.
    pub peak_in_flight: usize,
    /// The calls of an open loop that began late, because too many were in flight for the cap or
    /// the server's limits.
    pub held_back: u64,
    /// The calls of an open loop that were due and never began.
    pub unsent: u64,
    /// The GOAWAYs that the server sent.
    pub goaways: u64,
    /// The connections that broke.
    pub lost_connections: u64,
}

impl Load<'_> {
    /// Keeps `in_flight` calls in flight, or what the server's limits allow.
    ///
    /// A connection that breaks is replaced; it is an error if that fails, or if the server breaks
    /// the protocol.
    pub fn closed_loop(&self, in_flight: usize, on_message: OnMessage<'_>) -> io::Result<Report> {
        self.run(Reads::Wait, on_message, |index| Pace::Closed {
            in_flight: share(in_flight, index, self.connections),
        })
    }

    /// Begins `rate` calls a second at even distances, as long as fewer than `cap` are in flight.
    ///
    /// It fails as [`Self::closed_loop`] does.
    pub fn open_loop(
        &self,
        rate: f64,
        cap: usize,
        on_message: OnMessage<'_>,
    ) -> io::Result<Report> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the rate must be positive"));
        }
        self.run(Reads::Poll, on_message, |index| {
            let cap = share(cap, index, self.connections);
            let (next, stride) = (index as u64, self.connections as u64);
            Pace::Open(Schedule { rate, cap, next, stride, blocked_at: None })
        })
    }

    fn run(
        &self,
        reads: Reads,
        on_message: OnMessage<'_>,
        pace: impl Fn(usize) -> Pace,
    ) -> io::Result<Report> {
        if self.connections == 0 {
            return Err(io::Error::new(ErrorKind::InvalidInput, "there must be a connection"));
        }
        let request = Request::new(&self.address.to_string(), self.call);
        let on_message = Mutex::new(on_message);
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(Connection::open(self.address, &request, reads)?);
        }
        let start = Instant::now();
        let workers = connections.into_iter().enumerate().map(|(index, connection)| Worker {
            load: self,
            request: &request,
            reads,
            connection,
            pace: pace(index),
            start,
            on_message: &on_message,
            report: Report::new(self.duration),
        });
        if self.connections == 1 {
            return workers.map(Worker::drive).collect();
        }
        thread::scope(|scope| {
            let threads: Vec<_> = workers.map(|worker| scope.spawn(|| worker.drive())).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
            });
            joined.collect()
        })
    }
}

fn share(total: usize, index: usize, connections: usize) -> usize {
    total / connections + usize::from(index < total % connections)
}

/// When calls begin.
#[derive(Debug)]
enum Pace {
    Closed { in_flight: usize },
    Open(Schedule),
}

/// Call number `next`, and from there every `stride`th, is due at `next / rate` seconds.
#[derive(Debug)]
struct Schedule {
    rate: f64,
    cap: usize,
    next: u64,
    stride: u64,
    /// Until when calls that were due could not begin.
    blocked_at: Option<Duration>,
}

impl Schedule {
    fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next as f64 / self.rate)
    }
}

/// One connection of a run.
struct Worker<'a, 'm> {
    load: &'a Load<'a>,
    request: &'a Request,
    reads: Reads,
    connection: Connection<'a>,
    pace: Pace,
    start: Instant,
    on_message: &'a Mutex<OnMessage<'m>>,
    report: Report,
}

impl Worker<'_, '_> {
    fn drive(mut self) -> io::Result<Report> {
        let end = self.load.warmup + self.load.duration;
        let mut is_over = false;
        loop {
            let now = self.start.elapsed();
            if !is_over {
                self.begin(now, end);
            }
            is_over = now >= end;
            let open = self.connection.session.open();
            self.report.peak_in_flight = self.report.peak_in_flight.max(open);
            if is_over && (open == 0 || now >= end + DRAIN) {
                return Ok(self.finish(end));
            }
            match self.exchange() {
                Ok(0) if self.reads == Reads::Poll => thread::sleep(self.nap(end)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error),
                Err(_) => self.replace_lost()?,
            }
            let session = &self.connection.session;
            if session.room() == Room::Ended && session.open() == 0 {
                self.report.goaways += u64::from(session.is_left());
                self.reconnect()?;
            }
        }
    }

    /// Begins what is due; when the time is over, that is what an open loop woke too late for.
    fn begin(&mut self, now: Duration, end: Duration) {
        let session = &mut self.connection.session;
        match &mut self.pace {
            Pace::Closed { in_flight } => {
                while now < end && session.open() < *in_flight && session.room() == Room::Open {
                    session.begin(now);
                }
            }
            Pace::Open(schedule) => {
                let mut due = schedule.due();
                while due <= now && due < end {
                    if session.open() >= schedule.cap || session.room() != Room::Open {
                        schedule.blocked_at = Some(now);
                        return;
                    }
                    let is_late = schedule.blocked_at.is_some_and(|blocked_at| due <= blocked_at);
                    self.report.held_back += u64::from(is_late && due >= self.load.warmup);
                    session.begin(due);
                    schedule.next += schedule.stride;
                    due = schedule.due();
                }
            }
        }
    }

    /// Writes what there is, reads what there is, and counts it.
    fn exchange(&mut self) -> io::Result<usize> {
        self.connection.write()?;
        let Self { load, connection, pace, start, on_message, report, .. } = self;
        let mut counter = Counter { load, pace, start, now: None, report };
        connection.read(&mut |event| match event {
            Event::Message(message) => {
                (on_message.lock().unwrap_or_else(PoisonError::into_inner))(message);
            }
            Event::Answered(begun) => counter.answered(begun),
            Event::Failed(begun) => counter.failed(begun),
        })
    }

    /// How long an open loop can sleep without missing what is due, or what may come.
    fn nap(&self, end: Duration) -> Duration {
        let Pace::Open(schedule) = &self.pace else { return Duration::ZERO };
        let due = schedule.due().min(end).saturating_sub(self.start.elapsed());
        match self.connection.session.open() {
            0 if due > Duration::ZERO => due,
            _ if due > Duration::ZERO => due.min(NAP),
            _ => NAP,
        }
    }

    fn replace_lost(&mut self) -> io::Result<()> {
        self.report.lost_connections += 1;
        self.report.goaways += u64::from(self.connection.session.is_left());
        self.abandon();
        self.reconnect()
    }

    fn abandon(&mut self) {
        let Self { load, connection, pace, start, report, .. } = self;
        let mut counter = Counter { load, pace, start, now: None, report };
        connection.session.abandon(&mut |event| {
            if let Event::Failed(begun) = event {
                counter.failed(begun);
            }
        });
    }

    fn reconnect(&mut self) -> io::Result<()> {
        self.connection = Connection::open(self.load.address, self.request, self.reads)?;
        Ok(())
    }

    fn finish(mut self, end: Duration) -> Report {
        self.report.goaways += u64::from(self.connection.session.is_left());
        self.abandon();
        if let Pace::Open(schedule) = &mut self.pace {
            while schedule.due() < end {
                self.report.unsent += u64::from(schedule.due() >= self.load.warmup);
                schedule.next += schedule.stride;
            }
        }
        self.report
    }
}

/// Decides which calls count. It reads the clock once for all that came in one read.
struct Counter<'a> {
    load: &'a Load<'a>,
    pace: &'a Pace,
    start: &'a Instant,
    now: Option<Duration>,
    report: &'a mut Report,
}

impl Counter<'_> {
    fn now(&mut self) -> Duration {
        *self.now.get_or_insert_with(|| self.start.elapsed())
    }

    /// A closed loop counts what ends while it is counted, an open loop what was due then.
    fn answered(&mut self, begun: Duration) {
        let now = self.now();
        let end = self.load.warmup + self.load.duration;
        let (decisive, seconds) = match self.pace {
            Pace::Closed { .. } => (now, self.load.duration),
            Pace::Open(_) => (begun, now.saturating_sub(self.load.warmup)),
        };
        if decisive >= self.load.warmup && decisive < end {
            self.report.calls += 1;
            self.report.latency.record(now.saturating_sub(begun));
            self.report.seconds = self.report.seconds.max(seconds.as_secs_f64());
        }
    }

    fn failed(&mut self, begun: Duration) {
        let decisive = match self.pace {
            Pace::Closed { .. } => self.now(),
            Pace::Open(_) => begun,
        };
        self.report.failed += u64::from(decisive >= self.load.warmup);
    }
}

impl Report {
    fn new(duration: Duration) -> Self {
        Self {
            calls: 0,
            failed: 0,
            seconds: duration.as_secs_f64(),
            latency: Histogram::new(),
            peak_in_flight: 0,
            held_back: 0,
            unsent: 0,
            goaways: 0,
            lost_connections: 0,
        }
    }

    /// Answered calls a second.
    pub fn rate(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// The latency that `percent` of the calls (0 to 100) did not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        self.latency.percentile(percent)
    }

    fn add(mut self, other: &Self) -> Self {
        self.calls += other.calls;
        self.failed += other.failed;
        self.seconds = self.seconds.max(other.seconds);
        self.latency.add(&other.latency);
        self.peak_in_flight += other.peak_in_flight;
        self.held_back += other.held_back;
        self.unsent += other.unsent;
        self.goaways += other.goaways;
        self.lost_connections += other.lost_connections;
        self
    }
}

impl FromIterator<Self> for Report {
    fn from_iter<I: IntoIterator<Item = Self>>(reports: I) -> Self {
        let nothing = Self::new(Duration::ZERO);
        reports.into_iter().fold(nothing, |sum, report| sum.add(&report))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        write!(
            formatter,
            "{:.0} calls/s, {} failed, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
            self.rate(),
            self.failed,
            millis(50.0),
            millis(99.0),
            millis(99.9),
            self.latency.max().as_secs_f64() * 1e3,
        )?;
        for (count, what) in [
            (self.held_back, "held back"),
            (self.unsent, "never sent"),
            (self.goaways, "GOAWAYs"),
            (self.lost_connections, "connections lost"),
        ] {
            if count > 0 {
                write!(formatter, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
