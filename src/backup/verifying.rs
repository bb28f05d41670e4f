//! Whether a backup is what was signed: every event and every record is read, and held against the
//! trees and their checkpoints. Nothing is written anywhere.

use std::{io, sync::Arc};

use crate::{
    audit::{
        inspection::{self, Found},
        tree::{
            hash::{self, Frontier},
            note::{NoteError, Statement, VerifierKey},
            stored::Tree,
        },
        volume::Volume,
    },
    domain::{audit_cursor::AuditCursor, rules::RulesVersion},
    projection::State,
    store::{
        codec::audit_cursor as codec,
        data_dir::{FORMER_KEY_FILE, LOG_TREE_FOLDER},
        journal::{ReadError, decode_stored},
    },
};

use super::{
    head::{CURSORS_FILE, EVENTS_PREFIX, LogHead, events_name},
    reading::{Archive, ArchiveError},
};

/// What was found in a whole backup.
#[derive(Debug)]
pub struct Verified {
    /// What its checkpoints are verified by; none if nothing was signed.
    pub key: Option<VerifierKey>,
    /// The last checkpoint of the journal.
    pub journal: Option<Statement>,
    /// The last checkpoint of the audit log that took records.
    pub log: Option<Statement>,
    /// What of the audit logs was damaged when the backup was made.
    pub problems: Vec<String>,
}

/// Why a backup isn't what was signed, or that can't be told.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It isn't what was written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An event isn't one.
    #[error("its journal is damaged")]
    Event(#[from] ReadError),
    /// The journal isn't what it should be.
    #[error("its journal is not what it says: {0}")]
    Journal(String),
    /// The cursors aren't what they should be.
    #[error("its audit cursors are not what it says: {0}")]
    Cursors(String),
    /// A key or a checkpoint isn't one.
    #[error("its {what} can't be used")]
    Note {
        /// Which one.
        what: &'static str,
        /// Why.
        source: NoteError,
    },
    /// It is signed by another key.
    #[error("{what} is signed by the key `{found}`, which was not given")]
    OtherKey {
        /// What of it.
        what: String,
        /// By which one.
        found: String,
    },
    /// Something in it isn't signed at all.
    #[error("{what} is not signed, so that no key can judge it")]
    NotSigned {
        /// What of it.
        what: String,
    },
    /// The log that took records has what only a log has that ended.
    #[error("`{0}` is what a log has that has ended, and this one has not")]
    OfEnded(String),
    /// It can't be read.
    #[error("can't read it")]
    Io(#[from] io::Error),
}

/// Verifies a backup: by keys that were taken from elsewhere, of which one has signed each part of it,
/// or, without any, by those that it names itself.
pub fn verify(archive: &Arc<Archive>, trusted: &[VerifierKey]) -> Result<Verified, VerifyError> {
    let head = archive.head();
    let parse = |text: &String| {
        let what = "public key";
        VerifierKey::parse(text).map_err(|source| VerifyError::Note { what, source })
    };
    let key = head.public_key.as_ref().map(parse).transpose()?;
    // What it says of itself is signed by nobody; what it has must be, if keys are to judge it.
    let judge = |what: &str, key: Option<&VerifierKey>, is_signed: bool| match key {
        _ if trusted.is_empty() => Ok(()),
        Some(key) if trusted.iter().all(|one| one.named("") != key.named("")) => {
            Err(VerifyError::OtherKey { what: what.to_owned(), found: key.to_string() })
        }
        Some(_) if is_signed => Ok(()),
        _ => Err(VerifyError::NotSigned { what: what.to_owned() }),
    };
    judge("it", key.as_ref(), true)?;
    read_cursors(archive)?;
    let journal = verify_journal(archive, key.as_ref())?;
    judge("its journal", key.as_ref(), journal.is_some() || head.journal.revision == 0)?;
    let (mut problems, mut last) = (Vec::new(), None);
    for (log, folder) in head.folders() {
        let opened = Log::open(archive, log, &folder, key.as_ref())?;
        let (key, what) = (opened.key.clone(), format!("`{folder}`"));
        judge(&what, key.as_ref(), true)?;
        let VerifiedLog { checkpoint, problems: found } = opened.verify()?;
        let has_records = log.last >= log.first;
        judge(&what, key.as_ref(), checkpoint.is_some() || !has_records || !found.is_empty())?;
        problems.extend(found);
        last = checkpoint;
    }
    Ok(Verified { key, journal, log: last, problems })
}

/// The events in a file of them, in order.
pub(super) fn counted(bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.take().filter(|bytes| !bytes.is_empty())?;
        let split = bytes.split_first_chunk::<4>().and_then(|(count, bytes)| {
            bytes.split_at_checked(usize::try_from(u32::from_le_bytes(*count)).ok()?)
        });
        rest = split.map(|(_, rest)| rest);
        Some(split.map(|(event, _)| event))
    })
}

/// Tells every event of the journal, as it is stored, in order, some at a time.
pub(super) fn events<E: From<ArchiveError> + From<VerifyError>>(
    archive: &Archive,
    mut each: impl FnMut(Vec<(u64, Vec<u8>)>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut last = 0;
    let folder = EVENTS_PREFIX.trim_end_matches('/');
    let names: Vec<_> = archive.files_in(folder).map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let name = format!("{EVENTS_PREFIX}{name}");
        if name != events_name(last + 1) {
            let detail = format!("event {} is missing, before `{name}`", last + 1);
            return Err(VerifyError::Journal(detail).into());
        }
        let bytes = archive.read(&name)?.unwrap_or_default();
        let mut some = Vec::new();
        for event in counted(&bytes) {
            last += 1;
            let cut = || VerifyError::Journal(format!("event {last} is cut off, in `{name}`"));
            some.push((last, event.ok_or_else(cut)?.to_vec()));
        }
        each(some)?;
    }
    let wanted = archive.head().journal.revision;
    if last == wanted {
        return Ok(last);
    }
    Err(VerifyError::Journal(format!("it ends at event {last}, not at {wanted}")).into())
}

fn verify_journal(
    archive: &Archive,
    key: Option<&VerifierKey>,
) -> Result<Option<Statement>, VerifyError> {
    let head = archive.head();
    let opened = |note: &String| {
        let unsigned = || VerifyError::NotSigned { what: "its journal".to_owned() };
        let key = key.ok_or_else(unsigned)?;
        let name = head.identity().map(|identity| identity.journal_name()).unwrap_or_default();
        let opened = key.named(&name).open(note);
        opened.map_err(|source| VerifyError::Note { what: "checkpoint of the journal", source })
    };
    let signed = head.journal.checkpoint.as_ref().map(opened).transpose()?;
    let (mut frontier, mut differs) = (Frontier::default(), false);
    // What can't be folded isn't found out at the restored server's first start.
    let mut state = State::new(RulesVersion::CURRENT);
    let last = events(archive, |some| -> Result<(), VerifyError> {
        for (sequence, bytes) in some {
            state.evolve(&decode_stored(sequence, &bytes)?);
            frontier.push(hash::leaf(&bytes), |_, _| {});
            let is_signed = signed.as_ref().filter(|signed| signed.size == sequence);
            differs |= is_signed.is_some_and(|signed| signed.root != frontier.root());
        }
        Ok(())
    })?;
    match &signed {
        Some(signed) if signed.size > last => Err(VerifyError::Journal(format!(
            "it has {last} events, but a checkpoint over {} was signed",
            signed.size
        ))),
        Some(signed) if differs => Err(VerifyError::Journal(format!(
            "its first {} events are not those that its checkpoint was signed over",
            signed.size
        ))),
        _ => Ok(signed),
    }
}

/// The cursors of a backup.
pub(super) fn read_cursors(archive: &Archive) -> Result<Vec<AuditCursor>, VerifyError> {
    let bytes = archive.read(CURSORS_FILE)?.unwrap_or_default();
    let wrong = |detail: String| VerifyError::Cursors(detail);
    let mut parts = counted(&bytes);
    let mut cursors = Vec::new();
    while let Some(definition) = parts.next() {
        let cut = || wrong("one is cut off".to_owned());
        let definition = codec::decode_definition(definition.ok_or_else(cut)?);
        let progress = codec::decode_progress(parts.next().flatten().ok_or_else(cut)?);
        let meaningless = |error: crate::store::codec::DecodeError| wrong(error.to_string());
        cursors.push(AuditCursor {
            definition: Arc::new(definition.map_err(meaningless)?),
            progress: progress.map_err(meaningless)?,
        });
    }
    let wanted = archive.head().cursors;
    if cursors.len() as u64 == wanted {
        return Ok(cursors);
    }
    Err(wrong(format!("there are {}, not {wanted}", cursors.len())))
}

/// An audit log in a backup.
struct Log<'a> {
    head: &'a LogHead,
    folder: String,
    records: Box<dyn Volume>,
    tree: Arc<dyn Volume>,
    key: Option<VerifierKey>,
}

struct VerifiedLog {
    checkpoint: Option<Statement>,
    problems: Vec<String>,
}

impl<'a> Log<'a> {
    fn open(
        archive: &Arc<Archive>,
        head: &'a LogHead,
        folder: &str,
        key: Option<&VerifierKey>,
    ) -> Result<Self, VerifyError> {
        let file = format!("{folder}/{FORMER_KEY_FILE}");
        let former = archive.read(&file)?;
        if former.is_some() && archive.head().logs.last() == Some(head) {
            return Err(VerifyError::OfEnded(file));
        }
        let key = match former {
            Some(text) => {
                let key = VerifierKey::parse(String::from_utf8_lossy(&text).trim_end());
                Some(key.map_err(|source| VerifyError::Note { what: "former public key", source })?)
            }
            None => key.cloned(),
        };
        let name = archive.head().identity().map(|identity| identity.log_name(head.log_id));
        let key = key.map(|key| key.named(&name.unwrap_or_default()));
        let records = Box::new(archive.folder(folder));
        let tree = Arc::new(archive.folder(&format!("{folder}/{LOG_TREE_FOLDER}")));
        Ok(Self { head, folder: folder.to_owned(), records, tree, key })
    }

    fn verify(self) -> Result<VerifiedLog, VerifyError> {
        let Self { head, folder, records, tree, key } = self;
        let found =
            inspection::verify_in(records.as_ref(), Arc::clone(&tree), head.log_id, key.as_ref())?;
        let Found { first, last, problems, segments: _ } = found;
        // Also of one that was given up: who alters a log could say that of it, too.
        let mut problems: Vec<_> =
            problems.into_iter().map(|problem| format!("`{folder}`: {problem}")).collect();
        if problems.is_empty() && (first, last) != (head.first, head.last) {
            problems.push(format!(
                "`{folder}`: it has the records {first} to {last}, not {} to {}",
                head.first, head.last
            ));
        }
        let has_tree = !tree.list()?.is_empty();
        // Where nothing is wrong, each is signed by the key.
        let checkpoint = match key.filter(|_| has_tree && problems.is_empty()) {
            Some(key) => {
                let latest = Tree::open(tree, u64::MAX)?.latest()?;
                latest.map(|latest| latest.statement(key.name()))
            }
            None => None,
        };
        Ok(VerifiedLog { checkpoint, problems })
    }
}
