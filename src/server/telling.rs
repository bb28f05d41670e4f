//! Tells operators' tools what there is to tell, while the server runs and once more at its end.

use std::{net::TcpListener, sync::Arc, time::Duration};

use tokio::{runtime::Runtime, sync::Notify, task::JoinHandle};

use crate::{
    api::observed,
    config::telemetry::Otlp,
    entropy::EntropyError,
    telemetry::{
        meters::Meters,
        trace::{self, Spans, Tracer},
    },
};

use super::{
    Parts, ServeError, ServiceManager, export::Exporter, grpc::Doors, health::Conditions,
    metrics::Sources, notify::Vitals, operators,
};

/// How long the collector has to take the last spans and metrics.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What is told about the server while it runs.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Where metrics can be fetched, and whether the server lives and is ready.
    pub metrics: Option<TcpListener>,
    /// Where metrics and traces are sent.
    pub otlp: Option<Otlp>,
}

impl Telemetry {
    /// Counts for that many runtimes, if somebody wants to know.
    pub(super) fn meters(&self, lanes: usize) -> Option<Meters> {
        let somebody = self.metrics.is_some() || self.otlp.is_some();
        somebody.then(|| Meters::new(lanes, observed::METHOD_COUNT))
    }

    /// Makes spans of calls, if somebody wants them.
    pub(super) fn tracer(&self) -> Result<Option<(Tracer, Spans)>, EntropyError> {
        let ratio = self.otlp.as_ref().map(|otlp| otlp.ratio);
        ratio.map(|ratio| Tracer::new(ratio, trace::QUEUE_LENGTH)).transpose()
    }
}

/// What tells, while it does.
pub(super) struct Telling {
    exporter: Option<JoinHandle<()>>,
    /// Who started the process, if it wants to hear how it is.
    manager: Option<Arc<ServiceManager>>,
    /// Rings when there will be nothing more to tell.
    over: Arc<Notify>,
}

impl Telling {
    /// Begins to answer who may ask, and to send to whom it is to be sent.
    pub(super) fn begin(
        parts: &mut Parts,
        background: &Runtime,
        doors: &Doors,
        conditions: Conditions,
    ) -> Result<Self, ServeError> {
        let (stopping, over) = (conditions.stopping.clone(), Arc::new(Notify::new()));
        let manager = parts.settings.manager.take();
        if let Some(manager) = manager.clone() {
            let (log, serving) = (parts.log.clone(), doors.serving());
            let (conditions, lanes) = (conditions.clone(), parts.background_lane);
            let vitals = Vitals { conditions, log, serving, lanes };
            background.spawn(async move { vitals.report(&manager).await });
        }
        let mut telling = Self { exporter: None, manager, over: Arc::clone(&over) };
        let Some(sources) = Sources::of(parts, doors, conditions) else { return Ok(telling) };
        let sources = Arc::new(sources);
        if let Some(listener) = parts.settings.telemetry.metrics.take() {
            background.spawn(operators::serve(listener, Arc::clone(&sources), stopping));
        }
        if let Some(otlp) = &parts.settings.telemetry.otlp
            && let Some(counts) = parts.tracer.as_ref().map(|tracer| Arc::clone(tracer.counts()))
            && let Some(spans) = parts.spans.take()
        {
            // Connecting comes later, and needs the runtime all the same.
            let _inside = background.enter();
            let exporter = Exporter::new(otlp, sources, (spans, counts))?;
            telling.exporter = Some(background.spawn(exporter.run(over)));
        }
        Ok(telling)
    }

    /// Says that the server stops.
    pub(super) fn tell_stop(&self) {
        if let Some(manager) = &self.manager {
            manager.stop();
        }
    }

    /// Sends what is left. To be called when the last call was served.
    pub(super) fn end(self, background: &Runtime) {
        self.over.notify_one();
        if let Some(exporter) = self.exporter {
            // A collector that doesn't answer holds up no stop.
            let _ = background.block_on(async { tokio::time::timeout(LAST_WORDS, exporter).await });
        }
    }
}
