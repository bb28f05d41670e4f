//! What the server keeps of client keys by itself, while it runs: when they were used, and that they
//! end soon.

use std::sync::Arc;

use tokio::{
    runtime::Runtime,
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::service::{
    key_notices::{self, EndingKeys},
    key_uses::{self, KeyUses, NotedUses},
    system::System,
};

use super::Parts;

/// Where it comes from, and what is told of it.
pub(super) struct KeyCare {
    /// Where uses are noted.
    pub(super) uses: KeyUses,
    /// Those that were, until somebody keeps them.
    noted: Option<NotedUses>,
    /// How many keys end soon.
    pub(super) ending: Arc<EndingKeys>,
}

impl KeyCare {
    pub(super) fn new() -> Self {
        let (uses, noted) = key_uses::channel();
        Self { uses, noted: Some(noted), ending: Arc::default() }
    }
}

/// The tasks that keep it.
pub(super) struct KeyLifecycle {
    uses: Option<JoinHandle<()>>,
    notices: JoinHandle<()>,
    /// Rings when no key will be used any more.
    over: Arc<Notify>,
}

impl KeyLifecycle {
    pub(super) fn begin(
        parts: &mut Parts,
        background: &Runtime,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let system = System::new(parts.changes.clone(), parts.settings.clock.clone());
        let over = Arc::new(Notify::new());
        let noted = parts.keys.noted.take();
        let uses =
            noted.map(|noted| background.spawn(noted.keep(system.clone(), Arc::clone(&over))));
        let (published, ending) = (Arc::clone(&parts.published), Arc::clone(&parts.keys.ending));
        let notices = background.spawn(key_notices::give((system, published), ending, stopping));
        Self { uses, notices, over }
    }

    /// Keeps what is left. To be called when the last call was served, and before the journal closes.
    pub(super) fn end(self, background: &Runtime) {
        self.over.notify_one();
        if let Some(uses) = self.uses {
            let _ = background.block_on(uses);
        }
        let _ = background.block_on(self.notices);
    }
}
