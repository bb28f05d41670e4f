//! When client keys were used: noted where sessions are granted, without waiting, and kept behind
//! everybody's back, at most once an hour for each key.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::MissedTickBehavior,
};

use crate::domain::{
    client_key::ClientKey,
    command::{Command, KnownKey},
    resource::Uid,
    time::UnixNanos,
};

use super::system::System;

/// How many uses wait at most, noted and not yet kept. What there is no room for is kept at the key's
/// next use.
const WAITING: usize = 4_096;
/// How long uses are gathered, so that many are kept by one write.
const GATHERING: Duration = Duration::from_secs(1);

/// Notes uses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyUses(mpsc::Sender<Use>);

/// The uses that were noted.
#[derive(Debug)]
pub struct NotedUses(mpsc::Receiver<Use>);

#[derive(Debug)]
struct Use {
    key: Arc<ClientKey>,
    time: UnixNanos,
}

/// Where uses are noted, and where they come from.
pub fn channel() -> (KeyUses, NotedUses) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (KeyUses(sender), NotedUses(receiver))
}

impl KeyUses {
    /// Notes that a key was used, unless what is kept is young enough. Never waits.
    pub fn note(&self, key: &Arc<ClientKey>, time: UnixNanos) {
        if key.keeps_use(time) {
            let _ = self.0.try_send(Use { key: Arc::clone(key), time });
        }
    }
}

impl NotedUses {
    /// Keeps what is noted until it is over, and then what is left.
    pub async fn keep(mut self, system: System, over: Arc<Notify>) {
        let mut pending = HashMap::new();
        let mut tick = tokio::time::interval(GATHERING);
        // While nothing is pending it isn't waited for, and what was missed is not made up for.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Nobody notes anything any more.
                () = over.notified() => break,
                Some(noted) = self.0.recv() => gather(&mut pending, noted),
                _ = tick.tick(), if !pending.is_empty() => write(&mut pending, &system).await,
            }
        }
        while let Ok(noted) = self.0.try_recv() {
            gather(&mut pending, noted);
        }
        write(&mut pending, &system).await;
    }
}

/// Remembers the last use of each key.
fn gather(pending: &mut HashMap<Uid, Command>, Use { key, time }: Use) {
    let uid = key.header.uid;
    if pending.len() < WAITING || pending.contains_key(&uid) {
        let known = KnownKey { name: key.name.clone(), uid };
        pending.insert(uid, Command::KeepClientKeyUse(known, time));
    }
}

async fn write(pending: &mut HashMap<Uid, Command>, system: &System) {
    let commands = std::mem::take(pending).into_values().collect();
    for command in system.make(commands).await {
        if let Command::KeepClientKeyUse(key, _) = &command {
            pending.insert(key.uid, command);
        }
    }
}
