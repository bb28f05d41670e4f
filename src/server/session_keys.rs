//! What sessions are granted by: those who vouch for roles, and its keys. Renews the one that is old,
//! and takes another one if the file is gone, which ends all sessions.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch, time::MissedTickBehavior};

use crate::{
    clock::Clock,
    identity::{
        replay::{Limits, ReplayMemory},
        session::SessionKeys,
    },
    service::{
        sessions::{Shared, Turnstile, counts::Counts},
        vouching::Vouching,
    },
    store::{
        data_dir::DataDir,
        session_keys::{SecretFile, SessionKeysError},
    },
};

use super::{Parts, Settings};

/// How often it is looked at the file.
const TICK: Duration = Duration::from_secs(5);
/// How often it is looked whether an issuer is to be asked for its keys again.
const REFRESH_TICK: Duration = Duration::from_secs(30);

/// The keys of a data directory, which gets some if it has none.
pub(super) fn open(
    data_dir: &DataDir,
    clock: &Clock,
) -> Result<Arc<SessionKeys>, SessionKeysError> {
    let secrets = SecretFile::of(data_dir.path()).open(clock.now())?;
    Ok(Arc::new(SessionKeys::new(&secrets)))
}

/// Those who vouch for roles, asked on the second runtime.
pub(super) fn vouching(settings: &Settings, background: &Handle) -> Vouching {
    Vouching::new(&settings.vouchers, settings.clock.clone(), background.clone())
}

/// What sessions are granted by. Proofs from before now may have been shown to the run before.
pub(super) fn granting(parts: &Parts) -> Arc<Shared> {
    Arc::new(Shared {
        published: Arc::clone(&parts.published),
        log: parts.log.clone(),
        clock: parts.settings.clock.clone(),
        keys: Arc::clone(&parts.session_keys),
        audience: parts.settings.audience.clone(),
        started: parts.settings.clock.now(),
        replay: ReplayMemory::new(Limits::default()),
        role_replay: ReplayMemory::new(Limits::OF_ROLES),
        vouching: parts.vouching.clone(),
        turnstile: Turnstile::default(),
        uses: parts.keys.uses.clone(),
        counts: Counts::default(),
    })
}

/// Has issuers asked for their keys again and again, until the server stops.
pub(super) async fn refresh(vouching: Vouching, mut stopping: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(REFRESH_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = tick.tick() => vouching.refresh(),
        }
    }
}

/// Goes on until the server stops.
pub(super) fn keep(
    parts: &Parts,
    mut stopping: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + use<> {
    let file = SecretFile::of(parts.data_dir.path());
    let (keys, clock) = (Arc::clone(&parts.session_keys), parts.settings.clock.clone());
    async move {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                _ = tick.tick() => {}
            }
            let (file, now) = (file.clone(), clock.now());
            match tokio::task::spawn_blocking(move || file.open(now)).await {
                Ok(Ok(secrets)) => keys.replace(&secrets),
                // Those that there are stay.
                Ok(Err(error)) => tracing::error!(%error, "the keys of sessions can't be read"),
                // It panicked, and has said so; the next look may go well.
                Err(_) => {}
            }
        }
    }
}
