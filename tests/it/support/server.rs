//! A whole server in the process of the test: its own thread, a real socket, a real directory.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroU64,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use aap::{
    audit::log::Options,
    clock::Clock,
    config::{
        self, Config, ConnectionLimits, Overrides, follow::Follower, listeners::ListenerConfig,
        scrub::ScrubLimits, telemetry::Otlp,
    },
    domain::{audit_cursor::CursorLimits, limits::Limits},
    server::{
        self, ServeError, ServiceManager, Settings, Stores, Telemetry,
        accept::Door,
        listen::{self, Listener},
        reload::Reload,
    },
    service::watches::WatchLimits,
    store::{snapshot, space::Reserve, start::Verification},
};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tonic::{Status, transport::Channel};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
};

use super::{
    clients::{self, Client, connect},
    configuration::Text,
    faults::{Faults, FaultyCursors, FaultyJournal, FaultyVolume},
    processes,
};

/// How long anything that a test waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Services whose health is told, the server as a whole included.
pub const WHOLE: &str = "";
pub const AUTHORIZATION: &str = "aap.v1.AuthorizationService";
pub const AUDIT: &str = "aap.v1.AuditService";
pub const BACKUPS: &str = "aap.v1.BackupService";
pub const ACCESS_POINTS: &str = "aap.v1.AccessPointService";
pub const POLICIES: &str = "aap.v1.PolicyService";
pub const RAM_ROLES: &str = "aap.v1.RamRoleService";
pub const SESSIONS: &str = "aap.v1.SessionService";
pub const CHANGES: &str = "aap.v1.ChangeService";

/// How a server is to be run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub options: Options,
    pub reserve: Reserve,
    pub limits: Limits,
    pub watches: WatchLimits,
    pub cursors: CursorLimits,
    pub audience: Option<&'static str>,
    /// After how many changes a snapshot is written.
    pub snapshot_every: NonZeroU64,
    /// What is verified at the start.
    pub verification: Verification,
    /// How many runtimes serve.
    pub listeners: usize,
    pub clock: Clock,
    /// What stands in its configuration file at the start; without one everybody may call, and it
    /// listens in plain text.
    pub configuration: Option<Text>,
    /// Whether metrics can be fetched.
    pub tells_metrics: bool,
    /// Where metrics and traces are sent.
    pub otlp: Option<Otlp>,
    /// Who is told how it is.
    pub manager: Option<Arc<ServiceManager>>,
    /// What the directories are in; removed with the last of them that need it.
    pub dir: Arc<TempDir>,
}

impl Setup {
    /// A server on a new directory.
    pub fn new() -> Self {
        Self {
            options: Options { segment_bytes: 1 << 20, ..Options::default() },
            reserve: Reserve { management_percent: 0, check_percent: 0 },
            limits: Limits::default(),
            watches: WatchLimits::default(),
            cursors: CursorLimits::default(),
            audience: Some(AUDIENCE),
            snapshot_every: snapshot::DEFAULT_EVERY,
            verification: Verification::Quick,
            listeners: 1,
            clock: Clock::system(),
            configuration: None,
            tells_metrics: false,
            otlp: None,
            manager: None,
            dir: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// Where the data is.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where the configuration is, if it is in a file.
    pub fn configuration_path(&self) -> PathBuf {
        self.dir.path().join("aap.toml")
    }

    /// Opens what it listens on.
    fn listen(&self) -> Vec<Listener> {
        let plain = || vec![ListenerConfig::plain("127.0.0.1:0".parse().unwrap())];
        let configs = self.configuration.as_ref().map_or_else(plain, |text| {
            let config: Config =
                config::parse("aap.toml", text.as_str(), Overrides::default()).unwrap();
            config.listeners
        });
        let open = |config: ListenerConfig| {
            let sockets = listen::listen(config.address, self.listeners).unwrap();
            Listener { sockets, door: Arc::new(Door::new(config).unwrap()) }
        };
        configs.into_iter().map(open).collect()
    }

    /// Starts it, and waits until it serves. Its first listener has plain text.
    pub async fn start(self) -> TestServer {
        let listeners = self.listen();
        let address = |one: &Listener| one.sockets[0].local_addr().unwrap();
        let addresses: Vec<_> = listeners.iter().map(address).collect();
        let metrics = self.tells_metrics.then(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let metrics_address = metrics.as_ref().map(|one| one.local_addr().unwrap());
        let telemetry = Telemetry { metrics, otlp: self.otlp.clone() };
        let faults = Faults::default();
        let reload = Arc::new(Notify::new());
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let requests = Arc::clone(&reload);
        let parts = (faults.clone(), telemetry);
        let serving = Serving { setup: self.clone(), parts, requests, listeners };
        thread::spawn(move || {
            let served = serving.run(async {
                // A test that is over without stopping its server stops it too.
                let _ = stopped.await;
            });
            let _ = end.send(served);
        });
        let channel = connect(addresses[0]);
        let server = TestServer {
            setup: self,
            addresses,
            metrics_address,
            channel,
            faults,
            reload,
            stop,
            ended,
        };
        if let Err(status) = server.reach_health(WHOLE, ServingStatus::Serving).await {
            panic!("it doesn't start: {:?}, {status}", server.ended.await);
        }
        server
    }

    /// Runs it on this thread until it fails to start.
    pub fn fail_to_start(self) -> ServeError {
        let listeners = self.listen();
        let (parts, requests) = (Default::default(), Arc::default());
        let serving = Serving { setup: self, parts, requests, listeners };
        serving.run(async {}).unwrap_err()
    }
}

/// What the server's thread needs.
struct Serving {
    setup: Setup,
    parts: (Faults, Telemetry),
    requests: Arc<Notify>,
    listeners: Vec<Listener>,
}

impl Serving {
    fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let Self { setup, parts: (faults, telemetry), requests, listeners } = self;
        let mut stores = {
            let _nobody_forks = processes::while_nobody_forks();
            Stores::open(&setup.data_dir(), "aap.test/audit")?
        };
        stores.volume = Arc::new(FaultyVolume { inner: stores.volume, faults: faults.clone() });
        stores.cursors = Box::new(FaultyCursors { inner: stores.cursors, faults: faults.clone() });
        stores.journal = Box::new(FaultyJournal { inner: stores.journal, faults });
        let followed = setup.configuration.as_ref().map(|text| {
            text.replace(&setup.configuration_path());
            Follower::open(&setup.configuration_path(), Overrides::default()).unwrap()
        });
        let (config, file) = followed.unzip();
        let limits = config.as_ref().map_or_else(ConnectionLimits::default, |one| one.connections);
        let settings = Settings {
            connections: limits,
            callers: config.as_ref().map_or_else(clients::everybody, |one| one.callers.clone()),
            audit: setup.options,
            reserve: setup.reserve,
            limits: setup.limits,
            watches: setup.watches,
            cursors: setup.cursors,
            audience: setup.audience.map(Into::into),
            vouchers: config.as_ref().map(|one| one.vouchers.clone()).unwrap_or_default(),
            snapshot_every: setup.snapshot_every,
            scrub: ScrubLimits::default(),
            verification: setup.verification,
            clock: setup.clock,
            configuration_digest: config.map_or([7; 32], |one| one.digest()),
            reload: file.map(|file| Reload { file, requests, log: None }),
            seed: Vec::new(),
            more_services: None,
            telemetry,
            manager: setup.manager,
        };
        server::run(stores, settings, listeners, stop)
    }
}

/// What test servers are called by applications.
pub const AUDIENCE: &str = "aap.test";

/// A server that runs.
#[derive(Debug)]
pub struct TestServer {
    /// What its disk is told.
    pub faults: Faults,
    setup: Setup,
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    channel: Channel,
    reload: Arc<Notify>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<(), ServeError>>,
}

impl TestServer {
    /// A server as most tests want it.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where a listener of its configuration listens, from 0.
    pub fn address_of(&self, listener: usize) -> SocketAddr {
        self.addresses[listener]
    }

    /// Where metrics can be fetched.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address.expect("it tells metrics")
    }

    /// The connection that clients share.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Where its configuration is, if it is in a file.
    pub fn configuration_path(&self) -> PathBuf {
        self.setup.configuration_path()
    }

    /// Where the data is.
    pub fn data_dir(&self) -> PathBuf {
        self.setup.data_dir()
    }

    /// Puts another configuration in the place of its file, and asks for it to be read.
    pub fn reload(&self, configuration: &Text) {
        configuration.replace(&self.configuration_path());
        self.reload.notify_one();
    }

    /// A caller.
    pub fn client(&self, caller: &str) -> Client {
        Client::new(self.channel.clone(), &clients::token_of(caller))
    }

    /// A caller on a connection of its own.
    pub fn client_apart(&self, caller: &str) -> Client {
        Client::new(connect(self.address()), &clients::token_of(caller))
    }

    /// Stops it; tells how it ended, and how it could be started again.
    pub async fn stop_with_outcome(self) -> (Setup, Result<(), ServeError>) {
        let Self { faults, setup, channel, stop, ended, .. } = self;
        faults.release();
        drop(channel);
        let _ = stop.send(());
        let outcome = tokio::time::timeout(PATIENCE, ended).await.expect("it stops in time");
        (setup, outcome.expect("it doesn't panic"))
    }

    /// Stops it in good order.
    pub async fn stop(self) -> Setup {
        let (setup, outcome) = self.stop_with_outcome().await;
        outcome.unwrap();
        setup
    }

    /// Stops it in good order, and starts it again on the same directory.
    pub async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// Waits until a service's health is told to be this.
    pub async fn wait_for_health(&self, service: &str, wanted: ServingStatus) {
        self.reach_health(service, wanted).await.unwrap();
    }

    async fn reach_health(&self, service: &str, wanted: ServingStatus) -> Result<(), Status> {
        let waited = tokio::time::timeout(PATIENCE, async {
            let mut health = HealthClient::new(self.channel.clone());
            let request = HealthCheckRequest { service: service.to_owned() };
            let mut told = health.watch(request).await?.into_inner();
            while let Some(HealthCheckResponse { status }) = told.message().await? {
                if status == wanted as i32 {
                    return Ok(());
                }
            }
            panic!("the health of `{service}` is told no more");
        });
        waited.await.unwrap_or_else(|_| panic!("the health of `{service}` is not {wanted}"))
    }

    /// A service's health now.
    pub async fn health(&self, service: &str) -> i32 {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut health = HealthClient::new(self.channel.clone());
        health.check(request).await.unwrap().into_inner().status
    }
}
