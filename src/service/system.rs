//! Changes that the server itself makes: it keeps when client keys were used, and gives notice of their
//! ends. Nobody's answer waits for them, and few are made at once.

use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    clock::Clock,
    domain::{
        command::{Command, Request},
        resource::Uid,
    },
    store::writer::{ChangeWriter, Mode, SubmitError},
};

/// Who makes them, in the journal. No caller has this name.
pub const ACTOR: &str = "system";
/// How many are handed to the journal's writer at once, so that callers' changes don't wait for them.
const AT_ONCE: usize = 64;

/// Makes changes for the server itself.
#[derive(Clone, Debug)]
pub struct System {
    changes: ChangeWriter,
    clock: Clock,
    actor: Arc<str>,
}

impl System {
    /// Has them made by this writer.
    pub fn new(changes: ChangeWriter, clock: Clock) -> Self {
        Self { changes, clock, actor: ACTOR.into() }
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Has changes made, each by itself. What has become pointless is left out; what can't be made now
    /// is given back.
    pub async fn make(&self, commands: Vec<Command>) -> Vec<Command> {
        let mut postponed = Vec::new();
        let mut commands = commands.into_iter();
        loop {
            let mut making = JoinSet::new();
            for command in commands.by_ref().take(AT_ONCE) {
                let system = self.clone();
                making.spawn(async move { system.submit(command).await });
            }
            if making.is_empty() {
                return postponed;
            }
            let before = postponed.len();
            postponed.extend(making.join_all().await.into_iter().flatten());
            if postponed.len() > before {
                // The others would fare no better.
                postponed.extend(commands);
                return postponed;
            }
        }
    }

    async fn submit(self, command: Command) -> Option<Command> {
        let request = Request {
            actor: self.actor,
            time: self.clock.now(),
            // Nothing is created.
            uid: Uid(Uuid::nil()),
            mark: None,
            command: command.clone(),
        };
        match self.changes.submit(request.into(), Mode::Apply).await {
            // The key is gone, or it is known: it was asked for twice.
            Ok(_) | Err(SubmitError::Rejected(_)) => None,
            Err(SubmitError::Busy | SubmitError::Reserve(_) | SubmitError::Unavailable) => {
                Some(command)
            }
        }
    }
}
