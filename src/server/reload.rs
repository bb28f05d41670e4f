//! Keeps callers, certificates, who vouches for roles and how the log is kept up to date while the
//! server runs: takes in what the configuration says anew, and has streams end whose caller has
//! expired.
//!
//! A configuration is taken whole or not at all. It counts at once, since barring somebody must not
//! wait for a disk; its record stands in the audit log before those of the calls that it lets in.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::MissedTickBehavior,
};

use crate::{
    audit::{
        log::{AuditLog, RecordError},
        record::{Call, Draft, EventDraft, LoadDraft},
    },
    clock::Clock,
    config::{
        ConfigError,
        follow::{Follower, Loaded},
    },
    domain::time::UnixNanos,
    identity::roster::Roster,
    service::vouching::Vouching,
    telemetry::log::Log,
};

use super::{ServiceManager, accept::Door, health::Conditions};

/// How often it is looked whether the file has changed and whether somebody has expired. A change is
/// taken at the second look that finds it.
const TICK: Duration = Duration::from_millis(250);

/// Where the configuration is read again.
#[derive(Debug)]
pub struct Reload {
    /// The file.
    pub file: Follower,
    /// Rings when it is to be read whether it has changed or not.
    pub requests: Arc<Notify>,
    /// The process's log, if the configuration says how it is kept.
    pub log: Option<Log>,
}

/// Keeps callers and certificates up to date.
pub(super) struct Keeper {
    kept: Kept,
    clock: Clock,
    log: AuditLog,
    /// What people are told.
    told: Option<Log>,
    lane: usize,
    /// Loads whose record the log hasn't taken yet, in order.
    unrecorded: Vec<Load>,
    /// Until when it is known who has expired.
    looked: UnixNanos,
}

/// What a new configuration changes while the server runs.
pub(super) struct Kept {
    pub(super) roster: Arc<Roster>,
    /// One for each listener that the server was started with.
    pub(super) doors: Vec<Arc<Door>>,
    /// Who vouches for roles.
    pub(super) vouching: Vouching,
    /// Who wants to hear that the configuration is read again, and how the server is then.
    pub(super) manager: Option<Arc<ServiceManager>>,
    pub(super) conditions: Conditions,
}

/// Why the configuration may have to be read again.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// Somebody has asked for it.
    Asked,
    /// It is time to look whether it has changed.
    Time,
}

/// What came of reading the configuration again, as it is recorded.
enum Load {
    Applied { digest: [u8; 32], awaits_restart: Vec<&'static str> },
    Refused { problems: usize },
}

impl Keeper {
    pub(super) fn new(kept: Kept, clock: Clock, log: AuditLog, lane: usize) -> Self {
        let looked = clock.now();
        Self { kept, clock, log, told: None, lane, unrecorded: Vec::new(), looked }
    }

    /// Goes on until the server stops.
    pub(super) async fn run(mut self, reload: Option<Reload>, mut stopping: watch::Receiver<bool>) {
        let (mut file, requests) = match reload {
            Some(Reload { file, requests, log }) => {
                self.told = log;
                (Some(file), requests)
            }
            None => (None, Arc::default()),
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let cause = tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = requests.notified() => Cause::Asked,
                _ = tick.tick() => Cause::Time,
            };
            self.look_for_expired();
            if let Some(followed) = file.take() {
                file = self.read(followed, cause).await;
            }
            self.record();
        }
    }

    /// Reads the file again, if there is reason to, and takes what is in it. Returns the file, if
    /// there is something to go on with.
    async fn read(&mut self, mut followed: Follower, cause: Cause) -> Option<Follower> {
        let manager = self.kept.manager.clone();
        if let (Cause::Asked, Some(manager)) = (cause, &manager) {
            manager.begin_reload();
        }
        let reading = tokio::task::spawn_blocking(move || match cause {
            Cause::Asked => (Some(followed.reload()), followed),
            Cause::Time => (followed.look(), followed),
        });
        // If it panicked, it has said so.
        let (found, followed) = reading.await.ok()?;
        if let Some(found) = found {
            let said = self.take(&followed, found);
            if let Some(manager) = manager {
                manager.end_reload(said, &self.kept.conditions);
            }
        }
        Some(followed)
    }

    /// Has streams look again whose caller may have expired since the last look.
    fn look_for_expired(&mut self) {
        let now = self.clock.now();
        if self.kept.roster.take_expired(self.looked, now) {
            self.kept.roster.ring();
        }
        self.looked = now;
    }

    /// Takes a configuration, if it is one; says in a line what came of it.
    fn take(&mut self, file: &Follower, found: Result<Loaded, ConfigError>) -> &'static str {
        let path = file.path().display();
        match found {
            Ok(Loaded { config, awaits_restart }) => {
                let digest = config.digest();
                if let Some(log) = &self.told {
                    log.replace(&config.log);
                }
                for warning in config.warnings(self.clock.now()) {
                    tracing::warn!(%path, %warning, "a certificate is not valid");
                }
                let callers = config.callers.by_name().len();
                tracing::info!(%path, callers, "the configuration was loaded");
                if !awaits_restart.is_empty() {
                    let keys = awaits_restart.join(", ");
                    tracing::warn!(%keys, "settings have changed that count after a restart only");
                }
                self.unrecorded.push(Load::Applied { digest, awaits_restart });
                self.record();
                for (door, listener) in self.kept.doors.iter().zip(&config.listeners) {
                    door.replace(listener);
                }
                self.kept.vouching.replace(&config.vouchers);
                self.kept.roster.replace(config.callers);
                "the configuration was loaded"
            }
            Err(error) => {
                let problems = error.problems();
                tracing::error!(
                    %path,
                    ?problems,
                    "the configuration is broken; the one before it stays in force"
                );
                self.unrecorded.push(Load::Refused { problems: problems.len() });
                "the configuration is broken, and the one before it stays in force"
            }
        }
    }

    /// Records what isn't recorded yet, without waiting for the disk.
    fn record(&mut self) {
        while let Some(load) = self.unrecorded.first() {
            let event = EventDraft::ConfigurationLoad(load.draft());
            let draft = Draft { account: "", region: "", call: Call::default(), event };
            match self.log.append(self.lane, [draft]) {
                Ok(_) => {}
                Err(RecordError::Busy | RecordError::Reserve(_)) => return,
                Err(error @ RecordError::Unavailable) => {
                    tracing::error!(%error, "a load of the configuration is not recorded");
                }
            }
            self.unrecorded.remove(0);
        }
    }
}

impl Load {
    fn draft(&self) -> LoadDraft<'_> {
        match self {
            Self::Applied { digest, awaits_restart } => {
                LoadDraft::Applied { digest, awaits_restart }
            }
            Self::Refused { problems } => {
                LoadDraft::Refused { problems: u32::try_from(*problems).unwrap_or(u32::MAX) }
            }
        }
    }
}
