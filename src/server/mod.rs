//! Puts the parts together, owns the runtimes, and stops in good order.
//!
//! Each thread that serves gRPC has a current-thread runtime of its own, and one socket of each
//! listener. A second, small runtime takes what may wait for the disk. The listeners are passed in,
//! and the signal to stop is any future.

pub mod accept;
pub mod listen;
pub mod reload;

mod bounds;
mod cursors;
mod export;
mod grpc;
mod health;
mod key_lifecycle;
mod metrics;
mod notify;
mod operators;
mod process;
mod proxy;
mod retention;
mod scrub;
mod session_keys;
mod snapshots;
mod stores;
mod telling;
mod tls;
mod transport;

use std::{
    io,
    net::TcpListener,
    num::NonZeroU64,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
};

use crate::{
    api::routes::Routes,
    audit::{
        journal::{JournalTree, JournalTreeError},
        log::{
            self as audit_log, AuditCondition, AuditLog, Mode as AuditMode, Options, RecordError,
        },
        record::{Call, Draft, EventDraft, GapDraft, Integrity, PreviousStop},
        recovery::OnLoss,
        succession::Head,
    },
    clock::Clock,
    config::{ConnectionLimits, scrub::ScrubLimits},
    domain::{
        audit_cursor::CursorLimits,
        command::{Command, Request},
        limits::Limits,
        resource::Uid,
    },
    entropy::{self, EntropyError},
    identity::{caller::Callers, roster::Roster, session::SessionKeys, vouchers::Vouchers},
    projection::Published,
    service::{refusals::Refusals, vouching::Vouching, watches::WatchLimits},
    store::{
        data_dir::{DataDir, DataDirError},
        journal::{JournalReader, ReadError},
        session_keys::SessionKeysError,
        sled_journal::OpenError,
        snapshot::Snapshots,
        space::{Reserve, Space},
        start::{self, Loaded, Verification},
        writer::{ChangeWriter, Mode, SubmitError},
    },
    telemetry::{
        meters::{JournalMeters, Meters},
        trace::{Spans, Tracer},
    },
};

pub use notify::{NoServiceManager, ServiceManager};
pub use stores::{
    JOURNAL_TREE_FOLDER, JournalPart, KeyError, OpenedSignedLog, PreviousLog, Stores,
    VerifierKeysError, journal_verifier_key, open_signed_log, verifier_key, verifier_keys,
};
pub use telling::Telemetry;

use accept::{Door, Usher};
use cursors::KeptCursors;
use key_lifecycle::{KeyCare, KeyLifecycle};
use listen::Listener;
use reload::{Keeper, Kept, Reload};
use scrub::{Scrubber, Soundness};
use snapshots::SnapshotTaker;
use stores::OpenedLog;
use telling::Telling;

/// Adds services to those that are served.
pub type MoreServices = Arc<dyn Fn(&mut Routes) + Send + Sync>;

/// How the server is to be run.
pub struct Settings {
    /// Who may call.
    pub callers: Callers,
    /// How the audit log is kept.
    pub audit: Options,
    /// What of the disk stays free.
    pub reserve: Reserve,
    /// How much an account may have.
    pub limits: Limits,
    /// How many watches may be open.
    pub watches: WatchLimits,
    /// How many cursors of the audit log there may be.
    pub cursors: CursorLimits,
    /// What this server is called by applications that ask for sessions.
    pub audience: Option<Arc<str>>,
    /// Who vouches for the RAM roles of applications.
    pub vouchers: Vouchers,
    /// After how many changes a new snapshot of the state is written.
    pub snapshot_every: NonZeroU64,
    /// How much of what is on disk is verified first.
    pub verification: Verification,
    /// How what is stored is verified while the server runs.
    pub scrub: ScrubLimits,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// The clock.
    pub clock: Clock,
    /// SHA-256 of the configuration without its secrets.
    pub configuration_digest: [u8; 32],
    /// Where the configuration is read again, if it is in a file.
    pub reload: Option<Reload>,
    /// What is created first if the journal is empty.
    pub seed: Vec<Command>,
    /// Adds further services behind the same layers.
    pub more_services: Option<MoreServices>,
    /// What is told about the server while it runs.
    pub telemetry: Telemetry,
    /// Who started it, if it wants to hear how it is.
    pub manager: Option<Arc<ServiceManager>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

/// Why the server doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal can't be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal can't be read.
    #[error("the journal is damaged; restore it from a backup")]
    Replay(#[from] ReadError),
    /// The cursors of the audit log can't be read.
    #[error("can't read the audit log's cursors: {0}; restore the journal from a backup")]
    Cursors(String),
    /// The journal isn't what was signed.
    #[error(transparent)]
    JournalTree(#[from] JournalTreeError),
    /// The key that signs checkpoints can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The audit log can't be opened.
    #[error(transparent)]
    Audit(#[from] audit_log::OpenError),
    /// Everything was verified, and not all is as it was written.
    #[error(
        "{places} places of what is stored are damaged, as the log says; restore them from a backup, \
         or serve all the same by `--serve-damaged-log`: what can't be read is named to readers as \
         damaged, and proofs over it are refused"
    )]
    Damaged {
        /// How many.
        places: u64,
    },
    /// The start or the stop can't be recorded.
    #[error("can't record the server's start or stop")]
    Record(#[from] RecordError),
    /// The first resources can't be created.
    #[error("can't create the first resources")]
    Seed(#[source] SubmitError),
    /// The server can't listen.
    #[error("can't serve: {0}")]
    Transport(String),
    /// There are no keys for sessions.
    #[error(transparent)]
    SessionKeys(#[from] SessionKeysError),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The operating system refused.
    #[error("can't start")]
    Io(#[from] io::Error),
}

/// How many threads read from the disk at once for watches.
const DISK_READERS: usize = 8;
/// How long open calls may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the disk still answers.
const STALL_TICK: Duration = Duration::from_millis(250);
/// How often it is looked how much of the disk is free, and said who was turned away, and how many
/// strangers were refused beyond their budget.
const SPACE_TICK: Duration = Duration::from_secs(1);

/// Serves until `stop` ends, and then until all open calls have ended.
pub fn run(
    stores: Stores,
    settings: Settings,
    listeners: Vec<Listener>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let lanes = Lanes::of(listeners);
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(DISK_READERS)
        .thread_name("background")
        .enable_all()
        .build()?;
    let mut parts = Parts::open(stores, settings, (lanes.sockets.len(), background.handle()))?;
    parts.verify()?;
    let served = parts.serve(&background, lanes, stop);
    background.shutdown_timeout(DRAIN);
    served
}

/// What each thread that serves gRPC listens on.
struct Lanes {
    doors: Vec<Arc<Door>>,
    /// One socket of each listener, if it has that many.
    sockets: Vec<Vec<(TcpListener, Arc<Door>)>>,
}

impl Lanes {
    fn of(listeners: Vec<Listener>) -> Self {
        let (mut doors, mut lanes) = (Vec::new(), Vec::new());
        for Listener { sockets, door } in listeners {
            let count = sockets.len().max(lanes.len());
            lanes.resize_with(count, Vec::new);
            for (lane, socket) in lanes.iter_mut().zip(sockets) {
                lane.push((socket, Arc::clone(&door)));
            }
            doors.push(door);
        }
        Self { doors, sockets: lanes }
    }
}

/// Everything that is open.
struct Parts {
    /// Held for its lock.
    data_dir: DataDir,
    settings: Settings,
    roster: Arc<Roster>,
    published: Arc<Published>,
    journal: Arc<dyn JournalReader>,
    journal_tree: JournalTree,
    changes: ChangeWriter,
    cursors: KeptCursors,
    log: AuditLog,
    refusals: Refusals,
    session_keys: Arc<SessionKeys>,
    /// What is kept of client keys while it runs.
    keys: KeyCare,
    vouching: Vouching,
    space: Arc<Space>,
    snapshots: SnapshotTaker,
    previous_stop: PreviousStop,
    /// What the log follows, if it is new.
    previous_head: Option<Head>,
    /// Whether the log is served as it should be.
    integrity: Integrity,
    /// What is known of what is stored.
    soundness: Arc<Soundness>,
    /// What verifies it.
    scrubber: Option<Scrubber>,
    /// What is counted, if somebody wants to know.
    meters: Option<Meters>,
    journal_meters: Arc<JournalMeters>,
    /// Makes spans of calls, if somebody wants them.
    tracer: Option<Tracer>,
    /// Those that were made.
    spans: Option<Spans>,
    /// The runtime that isn't one of gRPC's.
    background_lane: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Parts {
    fn open(
        stores: Stores,
        settings: Settings,
        (lanes, background): (usize, &Handle),
    ) -> Result<Self, ServeError> {
        let Stores {
            mut data_dir,
            journal,
            cursors,
            volume,
            previous_log,
            evidence,
            journal_evidence,
        } = stores;
        let space = Arc::new(Space::new(data_dir.path().to_owned(), settings.reserve)?);
        let snapshots = Snapshots::of(&data_dir);
        let Loaded { state, snapshot_revision } =
            start::load(journal.as_ref(), &snapshots, settings.verification)?;
        let log_parts =
            stores::log_parts((volume, evidence), &data_dir, &settings, &space, lanes + 1);
        let OpenedLog { opened, previous_head, integrity } =
            stores::open_log(&mut data_dir, (log_parts, previous_log))?;
        let published = Arc::new(Published::new(state.clone()));
        let changes = stores::open_changes(
            (journal, journal_evidence),
            (state, snapshot_revision),
            (&published, &space),
            &settings,
        )?;
        let (cursors, cursor_thread) = KeptCursors::open(cursors, &data_dir, &settings, &space)?;
        let parts = (Arc::clone(&changes.reader), Arc::clone(&published), Arc::clone(&space));
        let when = (settings.snapshot_every, snapshot_revision);
        let snapshots = SnapshotTaker::new(snapshots, parts, when);
        let (tracer, spans) = settings.telemetry.tracer()?.unzip();
        let (log, previous_stop) = (opened.log, opened.previous_stop);
        let threads = opened.threads.into_iter().chain(changes.threads).chain([cursor_thread]);
        Ok(Self {
            keys: KeyCare::new(),
            session_keys: session_keys::open(&data_dir, &settings.clock)?,
            vouching: session_keys::vouching(&settings, background),
            refusals: Refusals::new(log.clone(), settings.clock.clone()).on_lane(lanes),
            data_dir,
            roster: Arc::new(Roster::new(settings.callers.clone())),
            meters: settings.telemetry.meters(lanes),
            tracer,
            spans,
            journal_meters: changes.meters,
            settings,
            published,
            journal: changes.reader,
            journal_tree: changes.tree,
            changes: changes.writer,
            cursors,
            log,
            space,
            snapshots,
            previous_stop,
            previous_head,
            integrity,
            soundness: Arc::default(),
            scrubber: None,
            background_lane: lanes,
            threads: threads.collect(),
        })
    }

    /// Verifies all that is stored, if that is wanted first.
    fn verify(&mut self) -> Result<(), ServeError> {
        let mut scrubber = Scrubber::of(self);
        if self.settings.verification == Verification::Full {
            let damaged = scrubber.run_whole()?;
            if damaged > 0 && self.settings.audit.on_loss == OnLoss::Refuse {
                return Err(ServeError::Damaged { places: damaged });
            }
            if damaged > 0 {
                self.integrity = Integrity::ServedDamaged;
            }
        }
        self.scrubber = Some(scrubber);
        if self.integrity == Integrity::ServedDamaged {
            self.soundness.set_served_damaged();
            tracing::error!(
                "what is stored is damaged, and served because the server was told to: what can't \
                 be read is named to readers, and proofs over it are refused"
            );
        }
        Ok(())
    }

    fn serve(
        mut self,
        background: &Runtime,
        lanes: Lanes,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        background.spawn(self.log.clone().serve_lane(self.background_lane));
        // Polled from here on, so that a signal that comes while it starts isn't lost.
        let stop = background.spawn(stop);
        background.block_on(self.begin())?;
        let (connections, clock) = (self.settings.connections, self.settings.clock.clone());
        let usher = Usher::new(connections, Arc::clone(&self.roster), clock);
        let (log, space) = (self.log.clone(), Arc::clone(&self.space));
        background.spawn(look_after(log, self.refusals.clone(), space, usher.clone()));
        let (stopping, stopped) = watch::channel(false);
        let Lanes { doors, sockets } = lanes;
        let health = health::Health::new();
        let conditions = health::Conditions {
            audit: self.log.condition(),
            journal: self.changes.condition(),
            cursors: self.cursors.keeper.condition(),
            stopping: stopped.clone(),
            soundness: Arc::clone(&self.soundness),
        };
        let keeper = self.keep_callers(background, doors, conditions.clone());
        background.spawn(health.clone().follow(conditions.clone()));
        background.spawn(session_keys::keep(&self, stopped.clone()));
        background.spawn(session_keys::refresh(self.vouching.clone(), stopped.clone()));
        let snapshots = background.spawn(self.snapshots.clone().run(stopped.clone()));
        let (log, lane) = (self.log.clone(), self.background_lane);
        let kept = self.settings.audit.retention;
        let retention = background.spawn(retention::keep(log, kept, lane, stopped.clone()));
        if let Some(scrubber) = self.scrubber.take() {
            background.spawn(scrubber.keep(stopped.clone()));
        }
        let key_lifecycle = KeyLifecycle::begin(&mut self, background, stopped.clone());
        let background_handle = background.handle().clone();
        let doors = grpc::Doors::new(&self, usher, health, background_handle, stopped);
        let telling = Telling::begin(&mut self, background, &doors, conditions)?;
        let mut servers = Vec::new();
        for (lane, sockets) in sockets.into_iter().enumerate() {
            let (doors, stopping) = (doors.clone(), stopping.clone());
            let thread = thread::Builder::new().name(format!("grpc-{lane}"));
            servers.push(thread.spawn(move || {
                let served = doors.serve(lane, sockets);
                // If one listener fails, the others stop too.
                stopping.send_replace(true);
                served
            })?);
        }
        drop(doors);
        background.block_on(until_stop(stop, &stopping));
        tracing::info!("stopping: open calls may end");
        telling.tell_stop();
        let served = join(servers);
        telling.end(background);
        key_lifecycle.end(background);
        // The stop's record is the last one.
        let _ = background.block_on(keeper);
        let _ = background.block_on(retention);
        // Ends when no snapshot is being written any more.
        if let Ok(snapshots) = background.block_on(snapshots) {
            self.snapshots = snapshots;
        }
        served.and(self.end(background))
    }

    fn keep_callers(
        &mut self,
        background: &Runtime,
        doors: Vec<Arc<Door>>,
        conditions: health::Conditions,
    ) -> tokio::task::JoinHandle<()> {
        let (roster, clock) = (Arc::clone(&self.roster), self.settings.clock.clone());
        let log = self.log.clone();
        let (manager, stopping) = (self.settings.manager.clone(), conditions.stopping.clone());
        let kept = Kept { roster, doors, vouching: self.vouching.clone(), manager, conditions };
        let keeper = Keeper::new(kept, clock, log, self.background_lane);
        background.spawn(keeper.run(self.settings.reload.take(), stopping))
    }

    /// Creates what is to be there first, and records the start.
    async fn begin(&self) -> Result<(), ServeError> {
        if let Some(head) = self.previous_head {
            self.record(EventDraft::Gap(GapDraft::PreviousLog(head))).await?;
        }
        if self.published.load().revision() == 0 {
            for command in &self.settings.seed {
                let request = Request {
                    actor: "seed".into(),
                    time: self.settings.clock.now(),
                    uid: Uid(entropy::uuid()?),
                    mark: None,
                    command: command.clone(),
                };
                self.changes.submit(request.into(), Mode::Apply).await.map_err(ServeError::Seed)?;
            }
        }
        let revision = self.published.load().revision();
        let event = EventDraft::ServerStart {
            version: env!("CARGO_PKG_VERSION"),
            revision,
            configuration_digest: &self.settings.configuration_digest,
            previous_stop: self.previous_stop,
            mode: self.settings.audit.mode,
            integrity: self.integrity,
        };
        self.record(event).await?;
        if self.settings.audit.mode == AuditMode::Buffered {
            self.log.answer_before_sync()?;
            tracing::warn!(
                "decisions are answered before they are on disk: a lost machine loses the last ones"
            );
        }
        let (_, last) = self.log.bounds();
        if let Some(evidence) = self.log.evidence()
            && !evidence.sign_soon(last).await
        {
            tracing::warn!(records = last, "no checkpoint is signed over the start");
        }
        tracing::info!(revision, audit_records = last, "serving");
        Ok(())
    }

    async fn record(&self, event: EventDraft<'_>) -> Result<(), RecordError> {
        let draft = Draft { account: "", region: "", call: Call::default(), event };
        self.log.append(self.background_lane, [draft])?.await?;
        Ok(())
    }

    /// Records the stop, and ends the writers when they have written all they have.
    fn end(self, background: &Runtime) -> Result<(), ServeError> {
        self.refusals.report();
        let revision = self.published.load().revision();
        let recorded = background.block_on(self.record(EventDraft::ServerStop { revision }));
        self.log.close();
        // The journal's writer ends when nobody can hand it changes any more.
        drop(self.changes);
        self.cursors.keeper.close();
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        self.snapshots.finish();
        recorded?;
        // The last sync may come after the stop was recorded.
        let condition = self.log.condition().borrow().clone();
        match condition {
            AuditCondition::Failed { .. } => Err(RecordError::Unavailable.into()),
            AuditCondition::Working | AuditCondition::Stalled => Ok(()),
        }
    }
}

async fn look_after(log: AuditLog, refusals: Refusals, space: Arc<Space>, usher: Usher) {
    let mut stall = tokio::time::interval(STALL_TICK);
    let mut free = tokio::time::interval(SPACE_TICK);
    loop {
        tokio::select! {
            _ = stall.tick() => log.check_for_stall(),
            _ = free.tick() => {
                usher.report();
                refusals.report();
                if let Err(error) = space.refresh() {
                    tracing::warn!(%error, "can't tell how much of the disk is free");
                }
            }
        }
    }
}

async fn until_stop(stop: tokio::task::JoinHandle<()>, stopping: &watch::Sender<bool>) {
    let mut failed = stopping.subscribe();
    tokio::select! {
        // One that panicked stops it too.
        _ = stop => {}
        // Ends when a listener has failed.
        _ = failed.wait_for(|stopping| *stopping) => {}
    }
    stopping.send_replace(true);
}

fn join(servers: Vec<JoinHandle<Result<(), ServeError>>>) -> Result<(), ServeError> {
    let mut served = Ok(());
    for server in servers {
        let ended = server
            .join()
            .unwrap_or_else(|_| Err(ServeError::Transport("a listener's thread panicked".into())));
        served = served.and(ended);
    }
    served
}
