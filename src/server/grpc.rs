//! One gRPC server on a socket of each listener, in a current-thread runtime of its own.

use std::{net::TcpListener, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::{
    api::{
        self, AccessPoints, Audit, Authorization, Backups, Changes, Policies, RamRoles, Services,
        SessionGranting, admission::Admission, observed::Observer, routes::Routes,
    },
    audit::log::AuditLog,
    clock::Clock,
    projection::Published,
    service::{
        audit_reads::AuditReads,
        backups::{self, Sources},
        checks::Checker,
        client_keys::Issuer,
        cursors::Cursors,
        gate::Gate,
        history::History,
        management::Manager,
        proofs::ChangeProofs,
        refusals::Refusals,
        sessions::{Sessions, Shared},
        watches::Watches,
    },
    telemetry::{
        meters::{LaneMeters, Meters},
        trace::Tracer,
        watchers::Watchers,
    },
};

use super::{
    DRAIN, MoreServices, Parts, ServeError,
    accept::{Acceptor, Door, Usher},
    health::Health,
    session_keys,
};

/// Calls that one connection may have open.
const MAX_STREAMS: u32 = 1_024;
/// How many bytes of messages one connection may send ahead. A check has about 150: with less than
/// this, those of many calls at once come behind their headers, and each call costs a turn more.
const CONNECTION_WINDOW: u32 = 256 * 1_024;
/// How many threads go through lists at once for one runtime; further lists wait.
const LISTERS: usize = 2;
const MAX_HEADER_BYTES: u32 = 16 * 1_024;
/// Connections that wait for the server to take them; it does so at once.
const READY: usize = 16;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What every runtime serves.
#[derive(Clone)]
pub(super) struct Doors {
    gate: Gate,
    refusals: Refusals,
    manager: Manager,
    issuer: Issuer,
    sessions: Arc<Shared>,
    published: Arc<Published>,
    log: AuditLog,
    changes: Changes,
    audit: Audit,
    backups: Backups,
    clock: Clock,
    health: Health,
    more_services: Option<MoreServices>,
    usher: Usher,
    stopping: watch::Receiver<bool>,
    meters: Option<Meters>,
    tracer: Option<Tracer>,
    /// The runtimes that have begun to serve.
    serving: watch::Sender<Vec<Handle>>,
}

impl Doors {
    pub(super) fn new(
        parts: &Parts,
        usher: Usher,
        health: Health,
        background: Handle,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let (settings, log) = (&parts.settings, parts.log.clone());
        let clock = settings.clock.clone();
        let published = Arc::clone(&parts.published);
        let gate = Gate::new(Arc::clone(&parts.roster), clock.clone());
        let manager = Manager::new(Arc::clone(&published), parts.changes.clone(), clock.clone());
        let history = History::new(Arc::clone(&published), Arc::clone(&parts.journal));
        let watches = Watches::new(settings.watches, clock.clone());
        let reads = AuditReads::new(log.clone(), parts.background_lane);
        let cursors = Cursors::new(
            parts.cursors.keeper.clone(),
            (log.clone(), parts.data_dir.identity().log_id),
            Arc::clone(&parts.cursors.former_logs),
            background.clone(),
            clock.clone(),
        );
        let backups = Backups::new(
            backups::Backups::new(sources(parts), background.clone(), clock.clone()),
            (log.clone(), reads.clone(), watches.pace()),
            (background.clone(), clock.clone()),
            gate.clone(),
            stopping.clone(),
        );
        let proofs = ChangeProofs::new(history.clone(), parts.journal_tree.clone());
        let readers = (manager.clone(), history, proofs, watches.clone());
        Self {
            refusals: parts.refusals.clone(),
            changes: Changes::new(readers, background.clone(), gate.clone(), stopping.clone()),
            issuer: Issuer::new(manager.clone(), background.clone()),
            sessions: session_keys::granting(parts),
            manager,
            published,
            audit: Audit::new(
                (log.clone(), watches, reads),
                cursors,
                background,
                gate.clone(),
                stopping.clone(),
            ),
            backups,
            gate,
            log,
            clock,
            health,
            more_services: settings.more_services.clone(),
            usher,
            stopping,
            meters: parts.meters.clone(),
            tracer: parts.tracer.clone(),
            serving: watch::Sender::default(),
        }
    }

    /// Who watches the audit log and the journal.
    pub(super) fn watchers(&self) -> (Watchers, Watchers) {
        (self.audit.watchers().clone(), self.changes.watchers().clone())
    }

    /// The audit log's cursors.
    pub(super) fn cursors(&self) -> &Cursors {
        self.audit.cursors()
    }

    /// What sessions are granted by.
    pub(super) fn sessions(&self) -> &Arc<Shared> {
        &self.sessions
    }

    /// The runtimes that have begun to serve.
    pub(super) fn serving(&self) -> watch::Receiver<Vec<Handle>> {
        self.serving.subscribe()
    }

    /// Who counts connections.
    pub(super) fn usher(&self) -> &Usher {
        &self.usher
    }

    fn meters_of(&self, lane: usize) -> Option<Arc<LaneMeters>> {
        self.meters.as_ref()?.lanes.get(lane).map(Arc::clone)
    }

    /// Serves sockets until the server stops and its calls have ended.
    pub(super) fn serve(
        self,
        lane: usize,
        sockets: Vec<(TcpListener, Arc<Door>)>,
    ) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(LISTERS)
            .enable_all()
            .build()?;
        runtime.block_on(self.serve_on(lane, sockets))
    }

    async fn serve_on(
        self,
        lane: usize,
        sockets: Vec<(TcpListener, Arc<Door>)>,
    ) -> Result<(), ServeError> {
        tokio::spawn(self.log.clone().serve_lane(lane));
        let (ready, incoming) = mpsc::channel(READY);
        for (socket, door) in sockets {
            socket.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let acceptor = Acceptor { door, usher: self.usher.clone(), ready: ready.clone() };
            tokio::spawn(acceptor.run(listener, self.stopping.clone()));
        }
        drop(ready);
        let routing = self.routes(lane)?.serve();
        let tracer = self.tracer.as_ref().map(Tracer::apart).transpose()?;
        let observer = Observer::new(self.meters_of(lane), tracer, self.clock.clone());
        let admission = Admission::new(self.gate, self.refusals.on_lane(lane));
        let (mut stop, mut stop_hard) = (self.stopping.clone(), self.stopping);
        let server = Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(observer)
            .layer(admission)
            .serve_with_incoming_shutdown(routing, ReceiverStream::new(incoming), async move {
                // An error means that nobody can stop it any more, which is a stop too.
                let _ = stop.wait_for(|stopping| *stopping).await;
            });
        self.serving.send_modify(|serving| serving.push(Handle::current()));
        tokio::select! {
            served = server => served.map_err(|error| ServeError::Transport(error.to_string())),
            () = async {
                let _ = stop_hard.wait_for(|stopping| *stopping).await;
                tokio::time::sleep(DRAIN).await;
            } => {
                tracing::warn!("calls were still open when the time to end them was over");
                Ok(())
            }
        }
    }

    fn routes(&self, lane: usize) -> Result<Routes, ServeError> {
        let (published, log) = (Arc::clone(&self.published), self.log.clone());
        let keys = Arc::clone(&self.sessions.keys);
        let checker = Checker::new(published, (log.clone(), lane), self.clock.clone(), keys)
            .counting(self.meters_of(lane));
        let sessions = Sessions::new(Arc::clone(&self.sessions), self.refusals.clone(), lane);
        let services = Services {
            access_points: AccessPoints::new(self.manager.clone(), self.issuer.clone()),
            policies: Policies::new(self.manager.clone()),
            ram_roles: RamRoles::new(self.manager.clone()),
            changes: self.changes.clone(),
            authorization: Authorization::new(
                checker,
                log,
                self.refusals.on_lane(lane),
                self.gate.clone(),
                self.stopping.clone(),
            ),
            sessions: SessionGranting::new(sessions),
            audit: self.audit.clone(),
            backups: self.backups.clone(),
        };
        let mut routes = Routes::default();
        services.add_to(&mut routes);
        routes
            .add_service(self.health.service())
            .add_service(reflection().build_v1().map_err(not_reflected)?)
            .add_service(reflection().build_v1alpha().map_err(not_reflected)?);
        if let Some(add) = &self.more_services {
            add(&mut routes);
        }
        Ok(routes)
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        // Each version of reflection lists both.
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(api::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that clients can show what errors carry.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

fn not_reflected(error: tonic_reflection::server::Error) -> ServeError {
    ServeError::Transport(format!("the API's descriptors can't be served: {error}"))
}

/// What backups are of.
fn sources(parts: &Parts) -> Sources {
    let data_dir = &parts.data_dir;
    Sources {
        path: data_dir.path().to_owned(),
        identity: data_dir.identity().clone(),
        previous_logs: data_dir.previous_logs().to_vec(),
        log: parts.log.clone(),
        published: Arc::clone(&parts.published),
        journal: Arc::clone(&parts.journal),
        tree: parts.journal_tree.clone(),
        cursors: parts.cursors.keeper.clone(),
    }
}
