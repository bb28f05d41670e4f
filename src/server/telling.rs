//! Tells operators' tools what there is to tell, while the server runs and once more at its end.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Runtime, sync::Notify, task::JoinHandle};

use super::{
    Parts, ServeError, export::Exporter, grpc::Doors, health::Conditions, metrics::Sources,
    operators,
};

/// How long the collector has to take the last spans and metrics.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What tells, while it does.
pub(super) struct Telling {
    exporter: Option<JoinHandle<()>>,
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
        let mut telling = Self { exporter: None, over: Arc::clone(&over) };
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

    /// Sends what is left. To be called when the last call was served.
    pub(super) fn end(self, background: &Runtime) {
        self.over.notify_one();
        if let Some(exporter) = self.exporter {
            // A collector that doesn't answer holds up no stop.
            let _ = background.block_on(async { tokio::time::timeout(LAST_WORDS, exporter).await });
        }
    }
}
