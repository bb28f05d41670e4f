//! The state at a start: from the snapshot and the events behind it, or from the whole journal. Both
//! give the same.

use crate::{domain::rules::RulesVersion, projection::State};

use super::{
    journal::{Journal, ReadError},
    snapshot::Snapshots,
};

/// How many events are folded at a time.
const CHUNK: usize = 1_024;

/// How much of what is on disk is verified before the server serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// What the start reads anyway. The rest is verified whenever it is read.
    #[default]
    Quick,
    /// Everything.
    Full,
}

/// What was found at a start.
#[derive(Debug)]
pub struct Loaded {
    /// The state with every event of the journal in it.
    pub state: State,
    /// The revision of the snapshot that there is; 0 if there is none.
    pub snapshot_revision: u64,
}

/// Loads the state. A snapshot that isn't right is named in the log and dropped.
pub fn load(
    journal: &dyn Journal,
    snapshots: &Snapshots,
    verification: Verification,
) -> Result<Loaded, ReadError> {
    let version = RulesVersion::CURRENT;
    let snapshot = match snapshots.read(journal.reader().as_ref(), journal.last(), version) {
        Ok(snapshot) => snapshot,
        Err(flaw) => {
            drop_snapshot(snapshots, &flaw);
            None
        }
    };
    let mut snapshot_revision = snapshot.as_ref().map_or(0, State::revision);
    let state = match (snapshot, verification) {
        (Some(state), Verification::Quick) => state,
        (Some(snapshot), Verification::Full) => {
            let state = replay(journal, State::new(version), snapshot.revision())?;
            if !state.catalog.items().eq(snapshot.catalog.items()) {
                drop_snapshot(snapshots, &"the journal up to its last event gives another state");
                snapshot_revision = 0;
            }
            state
        }
        (None, _) => State::new(version),
    };
    let read = (state.revision(), snapshot_revision);
    let state = replay(journal, state, u64::MAX)?;
    tracing::info!(
        revision = state.revision(),
        snapshot_revision = read.1,
        events = state.revision() - read.0,
        "the state is loaded"
    );
    Ok(Loaded { state, snapshot_revision })
}

/// Folds a journal into a state, verifying each event, up to a revision or to its end.
pub fn replay(journal: &dyn Journal, mut state: State, last: u64) -> Result<State, ReadError> {
    while state.revision() < last {
        let wanted = usize::try_from(last - state.revision()).unwrap_or(CHUNK);
        let events = journal.read(state.revision() + 1, wanted.min(CHUNK))?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            state.evolve(event);
        }
    }
    Ok(state)
}

fn drop_snapshot(snapshots: &Snapshots, why: &dyn std::fmt::Display) {
    let path = snapshots.path();
    tracing::warn!(
        path = %path.display(),
        %why,
        "the snapshot is not used and removed; the journal is folded instead"
    );
    if let Err(error) = snapshots.remove() {
        tracing::warn!(path = %path.display(), %error, "the snapshot can't be removed");
    }
}
