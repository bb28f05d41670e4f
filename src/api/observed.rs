//! Watches calls from outside all else: which method, how long, with which code.
//!
//! A call that nobody wants to know of costs nothing here. One that is counted costs two looks at
//! the clock and an addition to memory of its own runtime, and a look at a header if there are spans;
//! only the answers of streams are wrapped, since those end later than they begin.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::{
    clock::Clock,
    service::permissions::METHODS,
    telemetry::{
        meters::LaneMeters,
        trace::{Beginning, Span, Tracer},
    },
};

use super::call::{self, SampledTrace};

/// How many methods are told apart: those of the API, and all others together.
pub const METHOD_COUNT: usize = METHODS.len() + 1;

/// The methods whose answers are streams.
pub const STREAMS: [&str; 5] = [
    "/aap.v1.AuthorizationService/StreamCheckAccess",
    "/aap.v1.AuditService/WatchAuditRecords",
    "/aap.v1.AuditService/ReadAuditCursor",
    "/aap.v1.ChangeService/WatchChanges",
    "/aap.v1.BackupService/StreamBackup",
];

const OK: usize = 0;
/// A call that its caller gave up.
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;

/// What metrics call a method, by its number.
pub fn method_name(number: usize) -> &'static str {
    METHODS.get(number).map_or("_OTHER", |(path, _)| path.trim_start_matches('/'))
}

fn number_of(path: &str) -> usize {
    // Checks come first in the table.
    METHODS.iter().position(|(method, _)| *method == path).unwrap_or(METHODS.len())
}

/// Watches the calls of one runtime. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Observer(Option<Arc<Watching>>);

#[derive(Debug)]
struct Watching {
    meters: Arc<LaneMeters>,
    tracer: Option<Tracer>,
    clock: Clock,
}

impl Observer {
    /// Counts what happens, if there is something to count it by, and makes spans of it, if somebody
    /// wants them.
    pub fn new(meters: Option<Arc<LaneMeters>>, tracer: Option<Tracer>, clock: Clock) -> Self {
        Self(meters.map(|meters| Arc::new(Watching { meters, tracer, clock })))
    }

    fn begin<B>(&self, request: &mut Request<B>) -> Option<OpenCall> {
        let watching = Arc::clone(self.0.as_ref()?);
        let path = request.uri().path();
        let answers = if STREAMS.contains(&path) { Answers::UntilItEnds } else { Answers::Once };
        let method = number_of(path);
        let span = watching.begin_span(request, method);
        let began = watching.clock.elapsed();
        Some(OpenCall { watching, method, began, span, answers, is_over: false })
    }
}

impl Watching {
    fn begin_span<B>(&self, request: &mut Request<B>, method: usize) -> Option<Box<Span>> {
        let tracer = self.tracer.as_ref()?;
        // Most calls have none, and are looked at no further.
        let sampled = tracer.sample(call::text(request.headers(), &call::TRACEPARENT))?;
        let connection = call::connection(request.extensions());
        let beginning = Beginning {
            tracestate: call::text(request.headers(), &call::TRACESTATE),
            method: method_name(method),
            peer: connection.map(|connection| connection.peer.ip()),
        };
        let span = tracer.begin(sampled, beginning, &self.clock);
        // So that the audit record names the trace also where it begins here.
        request.extensions_mut().insert(SampledTrace(span.trace_id));
        Some(span)
    }
}

impl<S> Layer<S> for Observer {
    type Service = Observing<S>;

    fn layer(&self, inner: S) -> Observing<S> {
        Observing { observer: self.clone(), inner }
    }
}

/// Watches the calls of a service.
#[derive(Clone, Debug)]
pub struct Observing<S> {
    observer: Observer,
    inner: S,
}

impl<S, B> Service<Request<B>> for Observing<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = self.observer.begin(&mut request);
        Observed { inner: self.inner.call(request), call }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Once,
    UntilItEnds,
}

/// A call that is under way. One that is dropped before it is over was given up.
#[derive(Debug)]
struct OpenCall {
    watching: Arc<Watching>,
    method: usize,
    began: Duration,
    span: Option<Box<Span>>,
    answers: Answers,
    is_over: bool,
}

impl OpenCall {
    fn end(&mut self, code: usize) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        let took = self.watching.clock.elapsed().saturating_sub(self.began);
        if let Some(calls) = self.watching.meters.calls(self.method, code) {
            calls.record_time(took);
        }
        if let (Some(tracer), Some(mut span)) = (&self.watching.tracer, self.span.take()) {
            (span.end, span.code) = (self.watching.clock.now(), code);
            tracer.end(*span);
        }
    }

    /// Sees an answer off: what it says of its end, and of a stream what its end will say.
    fn watch(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(code) = code_of(response.headers()) {
            self.end(code);
            return response;
        }
        if self.answers == Answers::Once {
            self.end(OK);
            return response;
        }
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(trailers) = frame.trailers_ref() {
                    self.end(code_of(trailers).unwrap_or(UNKNOWN));
                }
                frame
            }))
        })
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.end(CANCELLED);
    }
}

/// The code in headers or trailers, if they say one.
fn code_of(headers: &HeaderMap) -> Option<usize> {
    let code = call::text(headers, &call::GRPC_STATUS)?;
    Some(code.parse().unwrap_or(UNKNOWN))
}

pin_project! {
    /// The answer to a call that is watched.
    #[derive(Debug)]
    pub struct Observed<F> {
        #[pin]
        inner: F,
        call: Option<OpenCall>,
    }
}

impl<F, E> Future for Observed<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(context))?;
        Poll::Ready(Ok(match this.call.take() {
            Some(call) => call.watch(response),
            None => response,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future, task::Waker};

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio_stream::iter;
    use tower::service_fn;

    use super::*;
    use crate::domain::time::UnixNanos;

    const CHECK: &str = "/aap.v1.AuthorizationService/CheckAccess";
    const WATCH: &str = STREAMS[1];

    struct Watched {
        meters: Arc<LaneMeters>,
        clock: Clock,
        observer: Observer,
    }

    impl Watched {
        fn new() -> Self {
            let (meters, clock) =
                (Arc::new(LaneMeters::new(METHOD_COUNT)), Clock::manual(UnixNanos(0)));
            let observer = Observer::new(Some(Arc::clone(&meters)), None, clock.clone());
            Self { meters, clock, observer }
        }

        /// Calls a method that answers with headers and trailers after a millisecond.
        fn call(
            &self,
            path: &str,
            headers: Option<&str>,
            trailers: Option<&str>,
        ) -> Response<Body> {
            let with_code = |code: Option<&str>| {
                let mut map = HeaderMap::new();
                code.map(|code| map.insert("grpc-status", code.parse().unwrap()));
                map
            };
            let frame = http_body::Frame::<Bytes>::trailers(with_code(trailers));
            let frames = trailers.map(|_| Ok::<_, Infallible>(frame));
            let mut response = Response::new(Body::new(StreamBody::new(iter(frames))));
            *response.headers_mut() = with_code(headers);
            let mut answer = Some(response);
            let clock = self.clock.clone();
            let mut service = self.observer.layer(service_fn(move |_: Request<()>| {
                clock.set(UnixNanos(clock.now().0 + 1_000_000));
                future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
            }));
            let call = service.call(Request::builder().uri(path).body(()).unwrap());
            let mut call = std::pin::pin!(call);
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(response)) => response,
                other => panic!("{other:?}"),
            }
        }

        fn counted(&self, path: &str, code: usize) -> (u64, u64) {
            let read = self.meters.calls(number_of(path), code).unwrap().read();
            (read.count(), read.sum)
        }
    }

    fn read_to_the_end(response: Response<Body>) {
        let read = std::pin::pin!(response.into_body().collect());
        assert!(read.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn a_call_counts_when_its_answer_begins_with_the_code_that_it_says() {
        let watched = Watched::new();
        drop(watched.call(CHECK, None, Some("0")));
        drop(watched.call(CHECK, Some("16"), None));
        drop(watched.call("/nowhere", Some("12"), None));
        assert_eq!(watched.counted(CHECK, OK), (1, 1_000_000));
        assert_eq!(watched.counted(CHECK, 16), (1, 1_000_000));
        assert_eq!(watched.counted("/elsewhere", 12), (1, 1_000_000));
    }

    #[test]
    fn a_stream_counts_when_it_ends_or_is_given_up() {
        let watched = Watched::new();
        let response = watched.call(WATCH, None, Some("7"));
        watched.clock.set(UnixNanos(5_000_000));
        assert_eq!(watched.counted(WATCH, 7), (0, 0));
        read_to_the_end(response);
        assert_eq!(watched.counted(WATCH, 7), (1, 5_000_000));
        drop(watched.call(WATCH, None, Some("0")));
        assert_eq!(watched.counted(WATCH, CANCELLED), (1, 1_000_000));
        drop(watched.call(WATCH, Some("8"), None));
        assert_eq!(watched.counted(WATCH, 8), (1, 1_000_000));
    }

    #[test]
    fn a_call_that_is_dropped_counts_as_given_up() {
        let watched = Watched::new();
        let mut service = watched.observer.layer(service_fn(|_: Request<()>| {
            future::pending::<Result<Response<Body>, Infallible>>()
        }));
        drop(service.call(Request::builder().uri(CHECK).body(()).unwrap()));
        assert_eq!(watched.counted(CHECK, CANCELLED), (1, 0));
    }

    #[test]
    fn the_streams_are_those_of_the_api() {
        let descriptors = prost_reflect::DescriptorPool::decode(crate::api::FILE_DESCRIPTOR_SET);
        let streams: Vec<_> = descriptors
            .unwrap()
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(prost_reflect::MethodDescriptor::is_server_streaming)
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        for stream in &streams {
            assert!(STREAMS.contains(&stream.as_str()), "{stream}");
        }
        assert_eq!(streams.len(), STREAMS.len());
    }
}
