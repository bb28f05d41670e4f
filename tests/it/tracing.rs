//! Spans and metrics as a collector gets them that serves the official protocol: in the caller's
//! trace, sampled as the caller says, and never at the cost of a call.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use aap::{
    api::pb,
    config::{
        self, Overrides,
        telemetry::{Headers, Otlp},
    },
    telemetry::instruments,
};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Identity, ServerTlsConfig},
};

use crate::support::{
    ADMIN, AUDITOR, ENFORCER, Setup, TestServer,
    certificates::{Authority, Pair},
    configuration::Text,
    server::PATIENCE,
    watching::{self, Watch},
    world,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const CHECK: &str = "aap.v1.AuthorizationService/CheckAccess";

/// A collector that hands on what it gets.
#[derive(Clone, Debug)]
struct Collector {
    spans: mpsc::UnboundedSender<(Vec<KeyValue>, Span)>,
    metrics: mpsc::UnboundedSender<ExportMetricsServiceRequest>,
    /// If there is one, nothing is answered before it rings.
    answers: Option<Arc<Notify>>,
    /// What every call must show.
    authorization: Option<&'static str>,
}

impl Collector {
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let shown = request.metadata().get("authorization").map(|value| value.to_str().unwrap());
        if self.authorization.is_some() && self.authorization != shown {
            return Err(Status::unauthenticated("who are you?"));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(answers) = &self.answers {
            answers.notified().await;
        }
        self.admit(&request)?;
        for of_resource in request.into_inner().resource_spans {
            let resource = of_resource.resource.unwrap().attributes;
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let _ = self.spans.send((resource.clone(), span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if let Some(answers) = &self.answers {
            answers.notified().await;
        }
        self.admit(&request)?;
        let _ = self.metrics.send(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// What a collector has got.
struct Received {
    address: SocketAddr,
    spans: mpsc::UnboundedReceiver<(Vec<KeyValue>, Span)>,
    metrics: mpsc::UnboundedReceiver<ExportMetricsServiceRequest>,
}

impl Received {
    async fn collect(answers: Option<Arc<Notify>>) -> Self {
        Self::collect_with(tonic::transport::Server::builder(), answers, None).await
    }

    async fn collect_with(
        mut server: tonic::transport::Server,
        answers: Option<Arc<Notify>>,
        authorization: Option<&'static str>,
    ) -> Self {
        let ((spans, got_spans), (metrics, got_metrics)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let collector = Collector { spans, metrics, answers, authorization };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = server
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector))
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
        tokio::spawn(serving);
        Self { address, spans: got_spans, metrics: got_metrics }
    }

    async fn span(&mut self) -> (Vec<KeyValue>, Span) {
        tokio::time::timeout(PATIENCE, self.spans.recv()).await.unwrap().unwrap()
    }
}

async fn start(collector: SocketAddr, ratio: f64) -> TestServer {
    let endpoint = format!("http://{collector}");
    let (tls, headers) = (None, Headers::default());
    let otlp = Otlp { endpoint, tls, headers, interval: Duration::from_millis(50), ratio };
    start_with(otlp).await
}

async fn start_with(otlp: Otlp) -> TestServer {
    let server = Setup { otlp: Some(otlp), tells_metrics: true, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

/// Asks whether something is allowed that is, in a trace if there is one.
async fn check(server: &TestServer, traceparent: Option<&str>) -> u64 {
    let mut request = Request::new(world::ask(world::allowed()));
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        request.metadata_mut().insert("tracestate", "vendor=1".parse().unwrap());
    }
    let answer = server.client(ENFORCER).authorization().check_access(request).await;
    answer.unwrap().into_inner().receipt.unwrap().sequence
}

async fn record(server: &TestServer, sequence: u64) -> pb::AuditRecord {
    let entry = watching::stored(&server.client(AUDITOR), sequence).await.unwrap();
    pb::AuditRecord::decode(watching::bytes(&entry)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(value)) => value,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_span_has_the_callers_as_its_parent() {
    let mut received = Received::collect(None).await;
    let server = start(received.address, 0.0).await;
    let sequence = check(&server, Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
    let (resource, span) = received.span().await;
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert!(span.span_id.len() == 8 && hex(&span.span_id) != PARENT);
    assert_eq!((span.name.as_str(), span.trace_state.as_str()), (CHECK, "vendor=1"));
    assert_eq!(span.kind(), SpanKind::Server);
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    assert_eq!(span.status.unwrap().code(), StatusCode::Unset);
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", CHECK),
        ("rpc.response.status_code", "OK"),
        ("network.peer.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(&span.attributes, name), value, "{name}");
    }
    assert_eq!(attribute(&resource, "service.name"), "aap");
    let record = record(&server, sequence).await;
    assert_eq!(hex(&record.trace_id), TRACE);
    server.stop().await;
}

#[tokio::test]
async fn the_caller_says_whether_its_trace_is_sampled() {
    let mut received = Received::collect(None).await;
    let server = start(received.address, 0.0).await;
    check(&server, Some(&format!("00-{TRACE}-{PARENT}-00"))).await;
    check(&server, None).await;
    check(&server, Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
    server.stop().await;
    let (_, span) = received.span().await;
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert!(received.spans.try_recv().is_err(), "only one is sampled");
}

#[tokio::test]
async fn a_trace_that_begins_here_is_named_by_the_record_and_ends_with_the_code() {
    let mut received = Received::collect(None).await;
    let server = start(received.address, 1.0).await;
    let sequence = check(&server, None).await;
    let auditor = server.client(AUDITOR);
    let record = record(&server, sequence).await;
    let (_, span) = loop {
        let (resource, span) = received.span().await;
        if span.name == CHECK {
            break (resource, span);
        }
    };
    assert_eq!(span.trace_id, record.trace_id);
    assert!(span.parent_span_id.is_empty());

    let refusal = auditor.authorization().check_access(world::ask(world::allowed())).await;
    assert_eq!(refusal.unwrap_err().code(), Code::PermissionDenied);
    drop(Watch::from(&auditor, 1).await);
    server.stop().await;
    let (mut codes, mut watches) = (Vec::new(), 0);
    while let Ok((_, span)) = received.spans.try_recv() {
        let code = attribute(&span.attributes, "rpc.response.status_code").to_owned();
        if span.name == CHECK {
            codes.push(code);
        } else if span.name.ends_with("WatchAuditRecords") {
            watches += 1;
        }
    }
    assert_eq!(codes, ["PERMISSION_DENIED"]);
    assert_eq!(watches, 1, "a stream has a span too");
}

#[tokio::test]
async fn metrics_are_sent_from_the_same_instruments() {
    let mut received = Received::collect(None).await;
    let server = start(received.address, 0.0).await;
    check(&server, None).await;
    server.stop().await;
    let mut last = None;
    while let Ok(request) = received.metrics.try_recv() {
        last = Some(request);
    }
    let of_resource = last.unwrap().resource_metrics.remove(0);
    assert_eq!(attribute(&of_resource.resource.unwrap().attributes, "service.name"), "aap");
    let metrics = &of_resource.scope_metrics[0].metrics;
    let mut names: Vec<_> = metrics.iter().map(|metric| (&*metric.name, &*metric.unit)).collect();
    let mut wanted: Vec<_> = instruments::ALL.iter().map(|one| (one.name, one.unit)).collect();
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn a_collector_that_is_dead_or_never_answers_costs_no_call_and_no_stop() {
    // Bound and not listening, so that nobody else gets it.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Received::collect(Some(Arc::new(Notify::new()))).await;
    for collector in [dead, silent.address] {
        let server = start(collector, 1.0).await;
        for _ in 0..100 {
            check(&server, None).await;
        }
        server.stop().await;
    }
}

/// A directory with what a configuration of a collector names.
struct Files {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new(headers: &str) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new() };
        files.write("ca.pem", &files.authority.certificate);
        files.write("headers", headers);
        files.authority.client("spiffe://acme/aap").write(files.dir.path(), "client");
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// What a configuration says that names them.
    fn parse(&self, endpoint: &str) -> Result<Otlp, config::ConfigError> {
        let dir = self.dir.path().display();
        let text = Text::new(&self.dir.path().join("data"))
            .and(&format!(
                "[telemetry]\notlp_endpoint = \"{endpoint}\"\notlp_ca = \"{dir}/ca.pem\"\n\
                 otlp_certificate = \"{dir}/client.pem\"\notlp_key = \"{dir}/client-key.pem\"\n\
                 otlp_headers_file = \"{dir}/headers\"\nmetrics_interval_seconds = 1\n\
                 trace_ratio = 1.0\n"
            ))
            .with(ADMIN, "role = \"admin\"\naccounts = [\"acme\"]");
        let parsed = config::parse("aap.toml", text.as_str(), Overrides::default());
        Ok(parsed?.telemetry.otlp.unwrap())
    }
}

/// A collector that speaks TLS and demands a certificate of an authority and a header.
async fn collect_by_tls(shown: &Pair, authority: &Authority) -> Received {
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&shown.certificate, &shown.key))
        .client_ca_root(Certificate::from_pem(&authority.certificate));
    let server = tonic::transport::Server::builder().tls_config(tls).unwrap();
    Received::collect_with(server, None, Some(AUTHORIZATION)).await
}

const AUTHORIZATION: &str = "Bearer of-the-collector";

#[tokio::test]
async fn a_collector_behind_tls_gets_spans_and_metrics_of_who_shows_what_it_demands() {
    let files = Files::new(&format!("Authorization: {AUTHORIZATION}\n\nx-tenant: acme\n"));
    let shown = files.authority.local_server();
    let mut received = collect_by_tls(&shown, &files.authority).await;
    let otlp = files.parse(&format!("https://{}", received.address)).unwrap();
    let told = format!("{otlp:?}");
    assert!(told.contains("authorization") && !told.contains("of-the-collector"), "{told}");
    assert!(!told.contains("PRIVATE"), "{told}");
    let server = start_with(otlp).await;
    check(&server, None).await;
    let (_, span) = received.span().await;
    assert!(!span.span_id.is_empty());
    let metrics = tokio::time::timeout(PATIENCE, received.metrics.recv()).await.unwrap().unwrap();
    assert!(!metrics.resource_metrics.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_collector_that_nobody_vouches_for_gets_nothing_and_costs_no_call() {
    let files = Files::new(&format!("authorization: {AUTHORIZATION}\n"));
    let other = Authority::new();
    let mut received = collect_by_tls(&other.local_server(), &files.authority).await;
    let otlp = files.parse(&format!("https://{}", received.address)).unwrap();
    let server = start_with(otlp).await;
    for _ in 0..10 {
        check(&server, None).await;
    }
    server.stop().await;
    assert!(received.spans.try_recv().is_err() && received.metrics.try_recv().is_err());
}

#[test]
fn what_a_collector_is_to_be_shown_is_checked_and_never_quoted() {
    for (headers, wrong) in [
        ("", "must have 1 to 16 headers"),
        ("a-secret-without-a-name", "has a line 1 that has no colon behind a name"),
        ("a name: secret", "has a line 1 that begins with no header's name"),
        ("a: b\nsecret header: c", "has a line 2 that begins with no header's name"),
        ("grpc-timeout: secret", "has a line 1 that has a name that gRPC uses itself"),
        ("trace-bin: secret", "has a line 1 that has a name of binary values"),
        ("a: ", "has a line 1 that has no value"),
        ("a: secret\u{7f}", "has a line 1 that has no value"),
        ("a: secret\nA: secret", "has `a` twice"),
        (&format!("a: {}", "s".repeat(8 * 1_024)), "must have 1 to 16 headers, of at most 8 KiB"),
    ] {
        let files = Files::new(headers);
        let error = files.parse("https://collector:4317").unwrap_err().to_string();
        assert!(error.contains(&format!("`telemetry.otlp_headers_file` {wrong}")), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let files = Files::new("a: b");
    let error = files.parse("http://collector:4317").unwrap_err().to_string();
    for problem in [
        "`telemetry.otlp_ca` belongs to an endpoint with `https://`",
        "`telemetry.otlp_key` belongs to an endpoint with `https://`",
        "`telemetry.otlp_headers_file` belongs to an endpoint with `https://` or on loopback",
    ] {
        assert!(error.contains(problem), "{error}");
    }
    files.write("client-key.pem", "");
    files.write("ca.pem", "");
    let error = files.parse("https://collector:4317").unwrap_err().to_string();
    for problem in
        ["`telemetry.otlp_ca` has no certificate", "`telemetry.otlp_key` has no private key"]
    {
        assert!(error.contains(problem), "{error}");
    }
}
