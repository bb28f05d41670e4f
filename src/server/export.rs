//! Sends metrics and spans to a collector by OTLP. Nobody waits for it: what it doesn't take in time
//! is dropped and counted.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::metrics_service_client::MetricsServiceClient,
    trace::v1::trace_service_client::TraceServiceClient,
};
use tokio::{sync::Notify, time::MissedTickBehavior};
use tonic::{
    Request,
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    config::telemetry::{CollectorTls, Otlp, ShownCertificate},
    domain::time::UnixNanos,
    telemetry::{
        otlp,
        trace::{Span, SpanCounts, Spans},
    },
};

use super::{ServeError, metrics::Sources};

/// The most spans that are sent at once.
const BATCH: usize = 512;
/// How long spans wait for others to be sent with them.
const GATHERING: Duration = Duration::from_secs(1);
/// How often it is looked for those others. They come by thousands a second: whoever waited for them
/// would be woken by each, and waking somebody costs a call more than its span.
const GLANCE: Duration = Duration::from_millis(100);
/// How long the collector has to take something, and how long it is left alone after it didn't.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends what there is to send.
pub(super) struct Exporter {
    channel: Channel,
    /// What each call to the collector says besides.
    headers: MetadataMap,
    interval: Duration,
    sources: Arc<Sources>,
    spans: Spans,
    counts: Arc<SpanCounts>,
    /// When counting began.
    from: UnixNanos,
    collector: Collector,
}

/// What the log was last told of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collector {
    Takes,
    Refuses,
}

impl Exporter {
    /// Sends to a collector, which need not be there yet.
    pub(super) fn new(
        otlp: &Otlp,
        sources: Arc<Sources>,
        (spans, counts): (Spans, Arc<SpanCounts>),
    ) -> Result<Self, ServeError> {
        let refused = |error: tonic::transport::Error| ServeError::Transport(error.to_string());
        let mut endpoint = Endpoint::from_shared(otlp.endpoint.clone()).map_err(refused)?;
        if let Some(tls) = &otlp.tls {
            endpoint = endpoint.tls_config(tls_of(tls)).map_err(refused)?;
        }
        let headers = otlp.headers.iter().cloned().collect();
        let headers = MetadataMap::from_headers(headers);
        let channel = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).connect_lazy();
        let (interval, from) = (otlp.interval, sources.clock.now());
        Ok(Self {
            channel,
            headers,
            interval,
            sources,
            spans,
            counts,
            from,
            collector: Collector::Takes,
        })
    }

    /// Goes on until there will be nothing more to tell, and then sends what is left.
    pub(super) async fn run(mut self, over: Arc<Notify>) {
        let mut tick = tokio::time::interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                () = over.notified() => break,
                _ = tick.tick() => self.send_metrics().await,
                received = self.spans.recv_many(&mut batch, BATCH) => {
                    if received < BATCH {
                        tokio::select! {
                            // Rings again for the loop.
                            () = over.notified() => over.notify_one(),
                            // Ends when there are enough, or the time is over.
                            _ = tokio::time::timeout(GATHERING, gather(&mut self.spans, &mut batch)) => {}
                        }
                    }
                    self.send_spans(batch).await;
                }
            }
        }
        let mut rest = Vec::new();
        while let Ok(span) = self.spans.try_recv() {
            rest.push(span);
        }
        self.send_metrics().await;
        if !rest.is_empty() {
            self.send_spans(rest).await;
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request
    }

    async fn send_spans(&mut self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let request = otlp::spans(&self.sources.resource(), spans);
        let mut client = TraceServiceClient::new(self.channel.clone());
        let sent = client.export(self.request(request)).await;
        let counter = if sent.is_ok() { &self.counts.sent } else { &self.counts.not_sent };
        counter.add(count);
        self.note(sent.map(drop)).await;
    }

    async fn send_metrics(&mut self) {
        let (read, now) = (self.sources.read(), self.sources.clock.now());
        let request = otlp::metrics(&self.sources.resource(), read, (self.from, now));
        let mut client = MetricsServiceClient::new(self.channel.clone());
        let sent = client.export(self.request(request)).await;
        self.note(sent.map(drop)).await;
    }

    /// Says in the log when the collector begins to refuse and when it takes again, and leaves one
    /// alone for a while that refuses.
    async fn note(&mut self, sent: Result<(), tonic::Status>) {
        match (sent, self.collector) {
            (Ok(()), Collector::Refuses) => {
                tracing::info!("the collector takes metrics and traces again");
                self.collector = Collector::Takes;
            }
            (Ok(()), Collector::Takes) => {}
            (Err(status), before) => {
                if before == Collector::Takes {
                    let (code, message) = (status.code(), status.message());
                    tracing::warn!(?code, message, "the collector takes no metrics and traces");
                    self.collector = Collector::Refuses;
                }
                tokio::time::sleep(GATHERING).await;
            }
        }
    }
}

fn tls_of(tls: &CollectorTls) -> ClientTlsConfig {
    let CollectorTls { authorities, shown } = tls;
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
    match shown {
        Some(ShownCertificate { certificate, key }) => {
            config.identity(Identity::from_pem(certificate, key))
        }
        None => config,
    }
}

/// Takes spans until there are enough for a batch, looking for them now and then.
async fn gather(spans: &mut Spans, batch: &mut Vec<Span>) {
    while batch.len() < BATCH {
        tokio::time::sleep(GLANCE).await;
        let room = BATCH.saturating_sub(batch.len());
        batch.extend(std::iter::from_fn(|| spans.try_recv().ok()).take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        telemetry::trace::{Beginning, Tracer},
    };

    #[tokio::test]
    async fn spans_are_gathered_until_there_are_enough_and_the_others_go_on_waiting() {
        let (tracer, mut spans) = Tracer::new(1.0, 2 * BATCH).unwrap();
        let clock = Clock::manual(UnixNanos(0));
        let make = |count: usize| {
            for _ in 0..count {
                let beginning = Beginning { tracestate: None, method: "m", peer: None };
                tracer.end(*tracer.begin(tracer.sample(None).unwrap(), beginning, &clock));
            }
        };
        make(3);
        let mut batch = Vec::new();
        spans.recv_many(&mut batch, BATCH).await;
        assert_eq!(batch.len(), 3);
        // Some come before it looks, and some between two looks.
        make(4);
        let more = async {
            tokio::task::yield_now().await;
            make(BATCH);
        };
        tokio::join!(gather(&mut spans, &mut batch), more);
        assert_eq!((batch.len(), spans.len()), (BATCH, 7));
    }
}
