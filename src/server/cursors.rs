//! The cursors of the audit log at a start: read, and handed to their keeper.

use std::{sync::Arc, thread::JoinHandle};

use uuid::Uuid;

use crate::{
    audit::{succession, volume::Untouched},
    domain::audit_cursor::AuditCursor,
    service::cursors::FormerLog,
    store::{
        cursors::{
            keeper::{self, CursorKeeper},
            tree::CursorStore,
        },
        data_dir::DataDir,
        space::Space,
    },
};

use super::{ServeError, Settings};

/// The cursors, with what is needed to tell where they are.
pub(super) struct KeptCursors {
    pub(super) keeper: CursorKeeper,
    /// The audit logs that they may still be in, the oldest first.
    pub(super) former_logs: Arc<[FormerLog]>,
}

impl KeptCursors {
    /// Reads what a store has, and starts the keeper of it.
    pub(super) fn open(
        store: Box<dyn CursorStore>,
        data_dir: &DataDir,
        settings: &Settings,
        space: &Arc<Space>,
    ) -> Result<(Self, JoinHandle<()>), ServeError> {
        let cursors = load(store.as_ref())?;
        let former_logs = former_logs(data_dir, &cursors);
        let parts = (Arc::clone(space), settings.clock.clone());
        let (keeper, thread) = keeper::start(store, cursors, settings.cursors, parts)?;
        Ok((Self { keeper, former_logs }, thread))
    }
}

/// The cursors of a store. Those that are damaged are named, and are as if they weren't there; so are
/// rows that are no cursor's.
fn load(store: &dyn CursorStore) -> Result<Vec<AuditCursor>, ServeError> {
    let loaded = store.load().map_err(ServeError::Cursors)?;
    for damaged in loaded.damaged {
        let name = &damaged.name;
        tracing::error!(name, %damaged, "nobody reads by this cursor until it is created anew");
    }
    for stray in loaded.strays {
        tracing::error!(key = stray.key, %stray, "every cursor is read without it");
    }
    Ok(loaded.cursors)
}

/// The logs that took records before the current one, from the first one on that a cursor is in.
fn former_logs(data_dir: &DataDir, cursors: &[AuditCursor]) -> Arc<[FormerLog]> {
    let is_left = |log_id: &&Uuid| !cursors.iter().any(|one| one.progress.log_id == **log_id);
    let logs = data_dir.previous_logs().iter().skip_while(is_left);
    let former = logs.map(|&log_id| {
        let volume = Untouched::new(data_dir.audit_path(log_id));
        let head = succession::head(&volume, log_id);
        if let Err(error) = &head {
            tracing::warn!(%log_id, %error, "it isn't known where a former audit log ended");
        }
        FormerLog { log_id, last: head.ok().map(|head| head.sequence) }
    });
    former.collect()
}
