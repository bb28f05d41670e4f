//! Spans of calls: which calls have one, what it says, and the queue that it waits in.
//!
//! A call has a span if its caller's trace says so, or, without one, once in so many calls. One that
//! has none costs a look at a header. A span that the queue has no room for is dropped and counted:
//! a collector that is dead or slow costs a call nothing more.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    domain::time::UnixNanos,
    entropy::{self, EntropyError},
};

use super::cells::{Counter, float};

/// How many spans wait to be sent.
pub const QUEUE_LENGTH: usize = 2_048;
/// The most bytes of a `tracestate` that go on, as W3C asks for at least.
const MAX_STATE: usize = 512;

/// What a caller's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub span_id: [u8; 8],
    /// Whether the trace is sampled.
    pub is_sampled: bool,
}

impl Parent {
    /// Reads a W3C `traceparent` (version 00), `00-<32 hex>-<16 hex>-<2 hex>`.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let version = parts.next()?;
        let trace_id: u128 = hex(parts.next()?, 32)?;
        let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = hex(parts.next()?, 2)?;
        if version != "00" || parts.next().is_some() || trace_id == 0 || span_id == 0 {
            return None;
        }
        let (trace_id, span_id) = (trace_id.to_be_bytes(), span_id.to_be_bytes());
        Some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

fn hex(digits: &str, length: usize) -> Option<u128> {
    let is_hex = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(digits, 16).ok())?
}

/// A call that has a span, and the span that is its parent.
#[derive(Clone, Copy, Debug)]
pub struct Sampled(Option<Parent>);

/// What a call that has a span is about when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// Its `tracestate`.
    pub tracestate: Option<&'a str>,
    /// The method.
    pub method: &'static str,
    /// Who is at the other end of the connection.
    pub peer: Option<IpAddr>,
}

/// The span of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace_id: [u8; 16],
    /// This span.
    pub span_id: [u8; 8],
    /// The caller's span.
    pub parent_id: Option<[u8; 8]>,
    /// What the caller's tracing has to say to others.
    pub state: Box<str>,
    /// The method.
    pub method: &'static str,
    /// Who is at the other end of the connection.
    pub peer: Option<IpAddr>,
    /// When it began.
    pub begin: UnixNanos,
    /// When it ended.
    pub end: UnixNanos,
    /// The canonical code that it ended with.
    pub code: usize,
}

/// Spans that wait to be sent.
pub type Spans = mpsc::Receiver<Span>;

/// What became of spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    /// Sent to the collector.
    pub sent: Counter,
    /// Dropped because too many waited.
    pub queue_full: Counter,
    /// Dropped because the collector didn't take them.
    pub not_sent: Counter,
}

/// Makes spans, and hands them on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
    numbers: Arc<Numbers>,
    /// A call without a parent has a span if a random number is below this.
    threshold: u64,
}

impl Tracer {
    /// Gives a span to a part of the calls without a parent, from 0 to 1. What is made comes out at
    /// the other end of the queue.
    pub fn new(ratio: f64, length: usize) -> Result<(Self, Spans), EntropyError> {
        let (queue, spans) = mpsc::channel(length);
        let (counts, numbers) = (Arc::default(), Arc::new(Numbers::new()?));
        Ok((Self { queue, counts, numbers, threshold: threshold_of(ratio) }, spans))
    }

    /// The same with random numbers of its own, for another thread.
    pub fn apart(&self) -> Result<Self, EntropyError> {
        Ok(Self { numbers: Arc::new(Numbers::new()?), ..self.clone() })
    }

    /// What became of spans.
    pub fn counts(&self) -> &Arc<SpanCounts> {
        &self.counts
    }

    /// Whether a call is to have a span, by its `traceparent`. All that is asked of most calls.
    pub fn sample(&self, traceparent: Option<&str>) -> Option<Sampled> {
        let parent = traceparent.and_then(Parent::parse);
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled,
            None => self.numbers.next() < self.threshold,
        };
        is_sampled.then_some(Sampled(parent))
    }

    /// The span of a call that has one.
    pub fn begin(&self, sampled: Sampled, beginning: Beginning<'_>, clock: &Clock) -> Box<Span> {
        let (Sampled(parent), Beginning { tracestate, method, peer }) = (sampled, beginning);
        let trace_id = parent.map_or_else(|| self.numbers.trace_id(), |parent| parent.trace_id);
        let state = tracestate.filter(|state| parent.is_some() && state.len() <= MAX_STATE);
        let time = clock.now();
        Box::new(Span {
            trace_id,
            span_id: self.numbers.span_id(),
            parent_id: parent.map(|parent| parent.span_id),
            state: state.unwrap_or_default().into(),
            method,
            peer,
            begin: time,
            end: time,
            code: 0,
        })
    }

    /// Hands a span on that has ended.
    pub fn end(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.queue_full.increment();
        }
    }
}

/// Which part of all numbers lies below a threshold.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio is from 0 to 1, and what is too large becomes the largest"
)]
fn threshold_of(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * float(u64::MAX)) as u64
}

/// Random numbers whose secrecy nothing depends on, as `SplitMix64` makes them.
#[derive(Debug)]
struct Numbers(AtomicU64);

impl Numbers {
    fn new() -> Result<Self, EntropyError> {
        let mut seed = [0; 8];
        entropy::fill(&mut seed)?;
        Ok(Self(AtomicU64::new(u64::from_ne_bytes(seed))))
    }

    fn next(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut number = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn span_id(&self) -> [u8; 8] {
        // Zero stands for none.
        self.next().max(1).to_be_bytes()
    }

    fn trace_id(&self) -> [u8; 16] {
        let number = u128::from(self.next()) << 64 | u128::from(self.next().max(1));
        number.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn begin(tracer: &Tracer, traceparent: Option<&str>) -> Option<Box<Span>> {
        let beginning = Beginning { tracestate: Some("a=b"), method: "m", peer: None };
        let sampled = tracer.sample(traceparent)?;
        Some(tracer.begin(sampled, beginning, &Clock::manual(UnixNanos(7))))
    }

    #[test]
    fn a_traceparent_is_read_whole_or_not_at_all() {
        let parent = Parent::parse(PARENT).unwrap();
        assert_eq!(parent.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!((parent.span_id[7], parent.is_sampled), (0xb7, true));
        assert!(!Parent::parse(&PARENT.replace("-01", "-00")).unwrap().is_sampled);
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(Parent::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_callers_trace_says_whether_a_call_has_a_span_and_a_ratio_does_without() {
        for (ratio, traceparent, has_span) in [
            (0.0, Some(PARENT.to_owned()), true),
            (1.0, Some(PARENT.replace("-01", "-00")), false),
            (1.0, Some("nonsense".to_owned()), true),
            (0.0, None, false),
            (1.0, None, true),
        ] {
            let (tracer, _spans) = Tracer::new(ratio, 1).unwrap();
            let span = begin(&tracer, traceparent.as_deref());
            assert_eq!(span.is_some(), has_span, "{ratio} {traceparent:?}");
        }
    }

    #[test]
    fn a_span_goes_on_in_its_callers_trace() {
        let (tracer, mut spans) = Tracer::new(0.0, 1).unwrap();
        tracer.end(*begin(&tracer, Some(PARENT)).unwrap());
        let (span, parent) = (spans.try_recv().unwrap(), Parent::parse(PARENT).unwrap());
        assert_eq!((span.trace_id, span.parent_id), (parent.trace_id, Some(parent.span_id)));
        assert_eq!((&*span.state, span.begin), ("a=b", UnixNanos(7)));
        assert_ne!(span.span_id, parent.span_id);
    }

    #[test]
    fn about_as_many_calls_have_a_span_as_the_ratio_says() {
        let (tracer, _spans) = Tracer::new(0.01, 1).unwrap();
        let tracer = tracer.apart().unwrap();
        let sampled = (0..100_000).filter(|_| begin(&tracer, None).is_some()).count();
        // Fifteen standard deviations to either side.
        assert!((530..1_470).contains(&sampled), "{sampled}");
    }

    #[test]
    fn what_the_queue_has_no_room_for_is_dropped_and_counted() {
        let (tracer, spans) = Tracer::new(1.0, 2).unwrap();
        for _ in 0..5 {
            tracer.end(*begin(&tracer, None).unwrap());
        }
        assert_eq!((spans.len(), tracer.counts().queue_full.read()), (2, 3));
        drop(spans);
        tracer.end(*begin(&tracer, None).unwrap());
        assert_eq!(tracer.counts().queue_full.read(), 4);
    }
}
