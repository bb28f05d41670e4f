//! `aap serve`: from the command line to a running server.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process,
    sync::Arc,
};

use anyhow::Context;
use clap::{ArgGroup, Args, ValueEnum};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use crate::{
    audit::{log::Options, recovery::OnLoss},
    clock::Clock,
    config::{
        Config, Overrides,
        follow::Follower,
        listeners::{ListenerConfig, Security},
        telemetry::{Otlp, TelemetryConfig},
    },
    server::{
        self, ServiceManager, Settings, Stores, Telemetry,
        accept::Door,
        listen::{self, Listener},
        reload::Reload,
    },
    store::start::Verification,
    telemetry::log::{Filter, Format, Log},
};

use super::{dev, environment, failure::ToldInLog, say};

/// How to serve.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["dev", "config"])))]
pub(super) struct Arguments {
    /// Try it out: listen on loopback with fresh credentials, a data directory in the current
    /// directory, and an example to look at.
    #[arg(long)]
    dev: bool,
    /// The configuration file.
    #[arg(long, env = "AAP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and stop.
    #[arg(long, requires = "config")]
    check_config: bool,
    /// Where to listen in plain text, over the configuration's `listen`; may be repeated.
    #[arg(long, env = "AAP_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Where the data is kept, over the configuration.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What to verify of the data before serving: what the start reads anyway, or everything.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Quick)]
    verify: Verify,
    /// Serve although the audit log is damaged. Records whose files are gone are named to readers as
    /// damaged; proofs over what is damaged are refused; a log that can't go on (its end is gone, or
    /// it isn't what was signed) is left as it is and not served, and a new one follows it. The log,
    /// the start's record, a metric and `/readyz` say so. Does nothing if nothing is damaged.
    #[arg(long)]
    serve_damaged_log: bool,
    /// What to log, over the configuration: a level, or a list such as `info,aap::audit=debug`.
    #[arg(long, env = "AAP_LOG", value_name = "FILTER")]
    log: Option<Filter>,
}

/// What to verify before serving.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verify {
    /// What the start reads anyway.
    Quick,
    /// Everything: each event of the journal, each record, and each hash and checkpoint of the tree.
    /// If anything is damaged, it is named, and nothing is served without `--serve-damaged-log`. A
    /// damaged event of the journal ends the start in any case.
    Full,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { dev, config, check_config, listen, data_dir, verify, serve_damaged_log, log } =
        arguments;
    let verification = match verify {
        Verify::Quick => Verification::Quick,
        Verify::Full => Verification::Full,
    };
    let on_loss = if serve_damaged_log { OnLoss::StandIn } else { OnLoss::Refuse };
    let how = How { verification, on_loss };
    let overrides = Overrides { listen, data_dir, log };
    if let Some(path) = config {
        let (config, file) = Follower::open(&path, overrides)?;
        if check_config {
            let digest = config.digest().map(|byte| format!("{byte:02x}")).concat();
            say(format_args!("configuration `{}` is valid; digest {digest}", path.display()));
            for warning in config.warnings(Clock::system().now()) {
                say(format_args!("warning: {warning}"));
            }
            return Ok(());
        }
        let log = Log::start(&config.log)?;
        let reload = Reload { file, requests: Arc::default(), log: Some(log.clone()) };
        let served = start(&config, Some(reload), Vec::new(), &how);
        return tell_end(&log, served);
    }
    // Without a configuration file, clap asked for `--dev`.
    debug_assert!(dev);
    let world = dev::World::make(overrides)?;
    Log::start(&world.config.log)?;
    let served = start(&world.config, None, world.seed.clone(), &how);
    world.forget_credentials();
    served
}

/// What the command line says that no configuration does.
struct How {
    verification: Verification,
    on_loss: OnLoss,
}

/// Says why a server ends, if it must, where each line is an object for machines. What the filter
/// hides would be said nowhere, and is left to be printed.
fn tell_end(log: &Log, served: anyhow::Result<()>) -> anyhow::Result<()> {
    let is_told = log.format() == Format::Json && tracing::enabled!(tracing::Level::ERROR);
    match served {
        Err(error) if is_told => {
            tracing::error!(error = format!("{error:#}"), "the server ends");
            Err(ToldInLog.into())
        }
        served => served,
    }
}

fn start(
    config: &Config,
    reload: Option<Reload>,
    seed: Vec<crate::domain::command::Command>,
    how: &How,
) -> anyhow::Result<()> {
    let How { verification, on_loss } = how;
    let clock = Clock::system();
    for warning in config.warnings(clock.now()) {
        tracing::warn!(%warning, "a certificate is not valid");
    }
    if let Err(possible) = listen::allow_connections(config.connections.max) {
        let wanted = config.connections.max;
        tracing::warn!(wanted, possible, "the limit on open files allows fewer connections");
    }
    let listeners = config.listeners.iter().map(open).collect::<anyhow::Result<_>>()?;
    let stores = Stores::open(&config.data_dir, &config.origin)?;
    let stop = stop_signals(reload.as_ref().map(|reload| Arc::clone(&reload.requests)));
    let settings = Settings {
        callers: config.callers.clone(),
        audit: Options { on_loss: *on_loss, ..config.audit },
        reserve: config.reserve,
        limits: config.limits,
        watches: config.watches,
        cursors: config.cursors,
        audience: config.audience.clone(),
        vouchers: config.vouchers.clone(),
        snapshot_every: config.snapshot_every,
        verification: *verification,
        scrub: config.scrub,
        connections: config.connections,
        clock,
        configuration_digest: config.digest(),
        reload,
        seed,
        more_services: None,
        telemetry: open_telemetry(&config.telemetry)?,
        manager: service_manager(),
    };
    server::run(stores, settings, listeners, stop)?;
    tracing::info!("stopped");
    Ok(())
}

fn open(config: &ListenerConfig) -> anyhow::Result<Listener> {
    let door = Arc::new(Door::new(config.clone())?);
    let address = config.address;
    let sockets = listen::listen(address, listen::sockets_per_address())
        .with_context(|| format!("can't listen on {address}"))?;
    // Port 0 stands for any: what was got is what callers need.
    if let Some(Ok(address)) = sockets.first().map(TcpListener::local_addr) {
        match config.security {
            Security::Plain => tracing::info!(%address, "listening"),
            Security::Tls(_) => tracing::info!(%address, "listening, with TLS"),
        }
    }
    Ok(Listener { sockets, door })
}

/// Who started this process, if it wants to hear how it is (`sd_notify(3)`).
fn service_manager() -> Option<Arc<ServiceManager>> {
    let address = environment("NOTIFY_SOCKET")?;
    // The watchdog may wait for another process.
    let is_meant = environment("WATCHDOG_PID").is_none_or(|pid| pid == process::id().to_string());
    let patience = environment("WATCHDOG_USEC").filter(|_| is_meant);
    let manager = ServiceManager::new(address.as_ref(), patience.as_deref());
    let manager = manager.inspect_err(
        |error| tracing::warn!(%error, "the service manager isn't told how the server is"),
    );
    manager.ok().map(Arc::new)
}

fn open_telemetry(config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
    let TelemetryConfig { prometheus, otlp } = config;
    let otlp = otlp.clone();
    if let Some(Otlp { endpoint, ratio, .. }) = &otlp {
        tracing::info!(endpoint, ratio, "sending metrics and traces");
    }
    let Some(address) = prometheus else { return Ok(Telemetry { metrics: None, otlp }) };
    let listener = TcpListener::bind(address)
        .with_context(|| format!("can't listen on {address} for metrics"))?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening for who asks for metrics and health");
    }
    Ok(Telemetry { metrics: Some(listener), otlp })
}

/// Ends at SIGTERM and at ctrl-c. SIGHUP asks for the configuration to be read again; without one it
/// means that the terminal is gone, and ends this too.
async fn stop_signals(reload: Option<Arc<Notify>>) {
    let listen =
        |kind| signal(kind).map_err(|error| tracing::error!(%error, "can't listen to signals"));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
        listen(SignalKind::hangup()),
    ) else {
        // A server that can't be told to stop is not left running.
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => match &reload {
                Some(requests) => requests.notify_one(),
                None => return,
            },
        }
    }
}
