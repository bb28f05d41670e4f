//! Metrics and spans as the OpenTelemetry protocol (OTLP) has them. Who they are sent to, and how, is
//! not known here.

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as SentMetric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as SentSpan, Status, span::SpanKind, status::StatusCode,
    },
};

use crate::domain::time::UnixNanos;

use super::{
    instruments::{Instrument, Kind},
    meters::CODE_NAMES,
    reading::{Attribute, Metric, Point, Value},
    trace::Span,
};

/// The codes that are the server's fault, as OpenTelemetry's conventions have it: unknown, deadline
/// exceeded, unimplemented, internal, unavailable and data loss.
const SERVER_FAULTS: [usize; 6] = [2, 4, 12, 13, 14, 15];
/// W3C's flag of a trace that is sampled.
const SAMPLED: u32 = 1;

/// What all instruments said at a time; counters and histograms count from another on.
pub fn metrics(
    resource: &[Attribute],
    metrics: Vec<Metric>,
    (from, time): (UnixNanos, UnixNanos),
) -> ExportMetricsServiceRequest {
    let times = (unsigned(from), unsigned(time));
    let metrics = metrics.into_iter().map(|metric| send_metric(metric, times)).collect();
    let scope = ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(send_resource(resource)),
            scope_metrics: vec![scope],
            schema_url: String::new(),
        }],
    }
}

/// Spans that have ended.
pub fn spans(resource: &[Attribute], spans: Vec<Span>) -> ExportTraceServiceRequest {
    let spans = spans.into_iter().map(send_span).collect();
    let scope = ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(send_resource(resource)),
            scope_spans: vec![scope],
            schema_url: String::new(),
        }],
    }
}

fn unsigned(time: UnixNanos) -> u64 {
    u64::try_from(time.0).unwrap_or_default()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "aap".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn send_resource(attributes: &[Attribute]) -> Resource {
    Resource { attributes: send_attributes(attributes), ..Resource::default() }
}

fn send_attributes(attributes: &[Attribute]) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| text(name, value.as_ref())).collect()
}

fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn send_metric(metric: Metric, times: (u64, u64)) -> SentMetric {
    let Metric { instrument, points } = metric;
    let Instrument { name, kind, unit, description, attributes: _ } = instrument;
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: points.iter().filter_map(|point| number(point, times)).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: points.iter().filter_map(|point| number(point, (0, times.1))).collect(),
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: points.iter().filter_map(|point| distribution(point, times)).collect(),
            aggregation_temporality: temporality,
        }),
    };
    SentMetric {
        name: (*name).to_owned(),
        description: (*description).to_owned(),
        unit: (*unit).to_owned(),
        data: Some(data),
        ..SentMetric::default()
    }
}

fn number(point: &Point, (from, time): (u64, u64)) -> Option<NumberDataPoint> {
    let value = match point.value {
        Value::Whole(number) => {
            number_data_point::Value::AsInt(i64::try_from(number).unwrap_or(i64::MAX))
        }
        Value::Float(number) => number_data_point::Value::AsDouble(number),
        Value::Distribution(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: send_attributes(&point.attributes),
        start_time_unix_nano: from,
        time_unix_nano: time,
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn distribution(point: &Point, (from, time): (u64, u64)) -> Option<HistogramDataPoint> {
    let Value::Distribution(distribution) = &point.value else { return None };
    Some(HistogramDataPoint {
        attributes: send_attributes(&point.attributes),
        start_time_unix_nano: from,
        time_unix_nano: time,
        count: distribution.count(),
        sum: Some(distribution.sum_in_units()),
        bucket_counts: distribution.counts.clone(),
        explicit_bounds: distribution.bounds_in_units().collect(),
        ..HistogramDataPoint::default()
    })
}

fn send_span(span: Span) -> SentSpan {
    let Span { trace_id, span_id, parent_id, state, method, peer, begin, end, code } = span;
    let code_name = CODE_NAMES.get(code).copied().unwrap_or("UNKNOWN");
    let mut attributes = vec![
        text("rpc.system.name", "grpc"),
        text("rpc.method", method),
        text("rpc.response.status_code", code_name),
    ];
    attributes.extend(peer.map(|peer| text("network.peer.address", &peer.to_string())));
    let is_fault = SERVER_FAULTS.contains(&code);
    if is_fault {
        attributes.push(text("error.type", code_name));
    }
    let status = if is_fault { StatusCode::Error } else { StatusCode::Unset };
    SentSpan {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        trace_state: state.into(),
        parent_span_id: parent_id.map(Vec::from).unwrap_or_default(),
        flags: SAMPLED,
        name: method.to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: unsigned(begin),
        end_time_unix_nano: unsigned(end),
        attributes,
        status: Some(Status { message: String::new(), code: status.into() }),
        ..SentSpan::default()
    }
}
