//! How a log ends for ever, and another one follows it.
//!
//! Where decisions are answered before their records are on disk, a lost machine loses some that
//! somebody has a receipt of. A log that went on would give their places to other records, and two
//! would bear one number. So a log that was written in this way and didn't end in good order takes
//! no more records: it is sealed and kept as it was found, and a new log begins, with an id of its
//! own, whose first record names the last one that the old log has.
//!
//! A file says that a log is written in this way. It is there before the first such answer, and
//! gone when all that was answered is on disk.
//!
//! A log that is so damaged that it can't go on ends too, if who starts the server says so. Another
//! file says that; such a log is left exactly as it was found.
//!
//! A log that was restored from a backup ends where the backup does: what the lost server has recorded
//! behind that has places that must not be given again. A file says that, and what it was restored
//! from.

use std::{io, sync::Arc};

use uuid::Uuid;

use super::{
    keeper, record,
    recovery::{self, OnLoss, OpenSegment, Recovered, RecoveryError},
    segment::{Content, Segment},
    volume::Volume,
    writer,
};

/// The file that says how a log is written.
const ANNOUNCEMENT: &str = "buffered";
/// The file that says that a log can't go on.
const SURRENDER: &str = "given-up";

/// The file that says what a log was restored from.
const ORIGIN: &str = "restored";

/// Why a log takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Decisions were answered before they were on disk, and some may be missing.
    Buffered,
    /// It is damaged.
    Damaged,
    /// It was restored from a backup.
    Restored,
}

/// The last record that a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log.
    pub log_id: Uuid,
    /// The record; 0 if there is none.
    pub sequence: u64,
    /// Its leaf hash; `None` if it is damaged, or there is none.
    pub leaf_hash: Option<[u8; 32]>,
}

/// Says that answers may leave before their records are on disk.
pub(super) fn announce(volume: &dyn Volume) -> io::Result<()> {
    match volume.create(ANNOUNCEMENT) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    volume.sync()
}

/// Says that none has left whose record isn't on disk.
pub(super) fn revoke(volume: &dyn Volume) -> io::Result<()> {
    volume.remove(ANNOUNCEMENT)?;
    volume.sync()
}

/// Says that a damaged log takes no more records.
pub fn give_up(volume: &dyn Volume) -> io::Result<()> {
    match volume.create(SURRENDER) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    volume.sync()
}

/// Says that a log was restored, and from what.
pub fn note_restored(volume: &dyn Volume, from: &[u8]) -> io::Result<()> {
    let file = volume.create(ORIGIN)?;
    file.write_at(from, 0)?;
    file.sync()?;
    volume.sync()
}

/// Whether a file says something of how a log ended, by its name.
pub fn is_file_name(name: &str) -> bool {
    [ANNOUNCEMENT, SURRENDER, ORIGIN].contains(&name)
}

/// Whether a log takes no more records, and why.
pub fn ending(volume: &dyn Volume) -> io::Result<Option<Ending>> {
    let names = volume.list()?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(SURRENDER) {
        return Ok(Some(Ending::Damaged));
    }
    if has(ANNOUNCEMENT) {
        return Ok(Some(Ending::Buffered));
    }
    Ok(has(ORIGIN).then_some(Ending::Restored))
}

/// Seals all of a log that has ended. Does no harm if it is done twice.
pub fn seal(volume: &dyn Volume, log_id: Uuid) -> Result<(), RecoveryError> {
    let recovered = recovery::recover_ended(volume, log_id, OnLoss::Refuse)?;
    let Recovered { open, unsealed, accounts, .. } = recovered;
    for OpenSegment { segment, .. } in open.iter().filter(|open| is_empty(&open.segment)) {
        volume.remove(segment.name())?;
    }
    for full in unsealed.into_iter().chain(open) {
        if let Some(footer) = writer::footer_of(&full, &accounts) {
            keeper::seal(&full.segment, &footer)?;
        }
    }
    volume.sync()?;
    Ok(())
}

fn is_empty(segment: &Arc<Segment>) -> bool {
    segment.last() < segment.first_sequence()
}

/// The last record that is there of a log that has ended.
pub fn head(volume: &dyn Volume, log_id: Uuid) -> Result<Head, RecoveryError> {
    let on_loss = match ending(volume)? {
        Some(Ending::Damaged) => OnLoss::TakeAsIs,
        Some(Ending::Buffered | Ending::Restored) | None => OnLoss::Refuse,
    };
    let Recovered { sealed, unsealed, open, last: sequence, .. } =
        recovery::recover_ended(volume, log_id, on_loss)?;
    let rest = unsealed.into_iter().chain(open).map(|open| open.segment);
    let last = sealed
        .into_iter()
        .chain(rest)
        .find(|segment| segment.last() == sequence && !is_empty(segment));
    let content = match last {
        Some(segment) => recovery::read_one(&segment, sequence)?,
        None => None,
    };
    let leaf_hash = match content {
        Some(Content::Record(bytes)) => Some(record::leaf_hash(&bytes)),
        Some(Content::Damaged { .. }) | None => None,
    };
    Ok(Head { log_id, sequence, leaf_hash })
}
