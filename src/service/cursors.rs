//! Cursors of the audit log: who may use one, where it is in the log, and what it has missed.
//!
//! A cursor of an account is for auditors who are bound to it, one over all accounts for auditors of
//! all. For everybody else it is as if it weren't there.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{
    audit::log::AuditLog,
    clock::Clock,
    domain::{
        audit_cursor::{
            AcknowledgeError, AuditCursor, Begin, BeginError, CreateError, Created, Definition,
            LeaseToken, Missed, NotFound, Progress, Shown,
        },
        audit_filter::AuditFilter,
        listing::Page,
        name::{AuditCursorName, AuditCursorParent, Id},
        request::RequestMark,
        resource::Uid,
    },
    entropy::{self, EntropyError},
    identity::caller::{Accounts, Caller},
    store::{
        cursors::keeper::{Acknowledgement, CursorKeeper, HeldLease, KeeperError},
        writer::Mode,
    },
};

use super::{
    management::Manner,
    reading::{self, ReadingError, Start, Watch},
};

/// The cursors of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cursors {
    keeper: CursorKeeper,
    log: AuditLog,
    log_id: Uuid,
    former_logs: Arc<[FormerLog]>,
    background: Handle,
    clock: Clock,
}

/// An audit log that takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerLog {
    /// Which one.
    pub log_id: Uuid,
    /// Its last record, if that is known; 0 if it has none.
    pub last: Option<u64>,
}

/// Why nothing comes of a request about cursors.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// There is no such cursor, or it isn't for the caller: the two look the same.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The caller isn't bound to whose records they would go through.
    #[error("`{0}` is not found")]
    ParentNotFound(AuditCursorParent),
    /// It isn't created.
    #[error(transparent)]
    Create(CreateError),
    /// It isn't read.
    #[error(transparent)]
    Begin(BeginError),
    /// Nothing is acknowledged.
    #[error(transparent)]
    Acknowledge(AcknowledgeError),
    /// The keeper of cursors did nothing.
    #[error("{0}")]
    Keeper(KeeperError<Infallible>),
    /// The log doesn't have its place.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl CursorError {
    fn of<E>(error: KeeperError<E>, refused: impl FnOnce(E) -> Self) -> Self {
        match error {
            KeeperError::Refused(error) => refused(error),
            KeeperError::Busy => Self::Keeper(KeeperError::Busy),
            KeeperError::Reserve(reached) => Self::Keeper(KeeperError::Reserve(reached)),
            KeeperError::Unavailable => Self::Keeper(KeeperError::Unavailable),
        }
    }
}

/// A cursor that is wanted.
#[derive(Clone, Debug)]
pub struct NewCursor {
    /// Its name.
    pub name: AuditCursorName,
    /// Which records it is to go through.
    pub filter: AuditFilter,
    /// Where it is to begin.
    pub start: Start,
    /// The log that this is of, if that is said.
    pub log_id: Option<Uuid>,
}

/// How somebody wants to read.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// How long the lease is to last after the stream.
    pub time: Duration,
    /// A lease that the caller may have.
    pub own: Option<LeaseToken>,
    /// Whether it takes over from whoever reads.
    pub takes_over: bool,
}

/// A read that begins.
#[derive(Debug)]
pub struct Reading {
    /// The cursor.
    pub cursor: AuditCursor,
    /// The lease that it is read under.
    pub lease: HeldLease,
    /// What goes through the log.
    pub watch: Watch,
    /// What is missing before that.
    pub missed: Vec<Missed>,
}

/// Makes sure that a caller may use the cursors of a parent.
pub fn authorize(caller: &Caller, parent: &AuditCursorParent) -> Result<(), CursorError> {
    if may_use(caller, parent) { Ok(()) } else { Err(CursorError::ParentNotFound(parent.clone())) }
}

/// Makes sure that a caller may use a cursor.
pub fn authorize_one(caller: &Caller, name: &AuditCursorName) -> Result<(), CursorError> {
    if may_use(caller, &name.parent) { Ok(()) } else { Err(NotFound(name.clone()).into()) }
}

fn may_use(caller: &Caller, parent: &AuditCursorParent) -> bool {
    match parent {
        AuditCursorParent::All => caller.accounts == Accounts::All,
        AuditCursorParent::Account(account) => caller.accounts.include(account.as_str()),
    }
}

impl Cursors {
    /// The cursors of a keeper, in a log that follows others, the oldest first; a runtime that may
    /// wait for the disk looks into it.
    pub fn new(
        keeper: CursorKeeper,
        (log, log_id): (AuditLog, Uuid),
        former_logs: Arc<[FormerLog]>,
        background: Handle,
        clock: Clock,
    ) -> Self {
        Self { keeper, log, log_id, former_logs, background, clock }
    }

    /// Creates a cursor.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewCursor,
        manner: Manner,
    ) -> Result<Shown, CursorError> {
        authorize(caller, &new.name.parent)?;
        let Manner { mark, mode } = manner;
        let NewCursor { name, filter, start, log_id } = new;
        // The log may have moved on since it was created.
        if let Some(before) = self.created_before(caller, &name, mark.as_ref()) {
            return Ok(self.told(before));
        }
        reading::expect_log(&self.log, log_id)?;
        let start = self.resolve(start).await?;
        let definition = Definition {
            name,
            uid: Uid(entropy::uuid()?),
            create_time: self.clock.now(),
            creator: Arc::clone(&caller.name),
            mark,
            filter,
            start,
        };
        let progress = Progress::before(self.log_id, start);
        let cursor = AuditCursor { definition: Arc::new(definition), progress };
        let created = self.keeper.create(cursor, mode).await;
        match created.map_err(|error| CursorError::of(error, CursorError::Create))? {
            Created::Now(cursor) => Ok(Shown { cursor, reader: None }),
            Created::Before(cursor) => {
                let now = self.keeper.show(&cursor.definition.name);
                Ok(self.told(now.unwrap_or(Shown { cursor, reader: None })))
            }
        }
    }

    /// The cursor that the same request has created.
    fn created_before(
        &self,
        caller: &Caller,
        name: &AuditCursorName,
        mark: Option<&RequestMark>,
    ) -> Option<Shown> {
        let shown = self.keeper.show(name)?;
        let Definition { creator, mark: before, .. } = &*shown.cursor.definition;
        (mark.is_some() && *creator == caller.name && before.as_ref() == mark).then_some(shown)
    }

    /// The first record of a start.
    async fn resolve(&self, start: Start) -> Result<u64, CursorError> {
        let log = self.log.clone();
        // Ends with a few reads of the disk.
        let resolved = self.background.spawn_blocking(move || reading::resolve(&log, start)).await;
        Ok(resolved.map_err(|error| ReadingError::Io(io::Error::other(error)))??)
    }

    /// Reads how a cursor is.
    pub fn get(&self, caller: &Caller, name: &AuditCursorName) -> Result<Shown, CursorError> {
        authorize_one(caller, name)?;
        let shown = self.keeper.show(name).ok_or_else(|| NotFound(name.clone()))?;
        Ok(self.told(shown))
    }

    /// Lists cursors by id, and tells after which one more follow.
    pub fn list(
        &self,
        caller: &Caller,
        parent: &AuditCursorParent,
        page: Page,
    ) -> Result<(Vec<Shown>, Option<Id>), CursorError> {
        authorize(caller, parent)?;
        let Page { after, size } = page;
        let mut listed = self.keeper.list(parent, after, size.saturating_add(1));
        let has_more = listed.len() > size;
        listed.truncate(size);
        let last = listed.last().filter(|_| has_more);
        let next = last.map(|shown| shown.cursor.definition.name.id.clone());
        Ok((listed.into_iter().map(|shown| self.told(shown)).collect(), next))
    }

    /// Deletes a cursor.
    pub async fn delete(
        &self,
        caller: &Caller,
        (name, uid): (AuditCursorName, Option<Uid>),
        mode: Mode,
    ) -> Result<(), CursorError> {
        authorize_one(caller, &name)?;
        let deleted = self.keeper.delete(name, uid, mode).await;
        deleted.map_err(|error| CursorError::of(error, CursorError::NotFound))
    }

    /// Begins to read by a cursor, from what isn't acknowledged on.
    pub async fn begin(
        &self,
        caller: &Caller,
        name: AuditCursorName,
        lease: Lease,
    ) -> Result<Reading, CursorError> {
        authorize_one(caller, &name)?;
        let Lease { time, own, takes_over } = lease;
        let begin = Begin {
            name,
            caller: Arc::clone(&caller.name),
            token: LeaseToken(entropy::uuid()?),
            own,
            takes_over,
            time,
            log_id: self.log_id,
        };
        let begun = self.keeper.begin(begin).await;
        let (cursor, lease) = begun.map_err(|error| CursorError::of(error, CursorError::Begin))?;
        let (watch, missed) = self.watch(&cursor)?;
        Ok(Reading { cursor, lease, watch, missed })
    }

    fn watch(&self, cursor: &AuditCursor) -> Result<(Watch, Vec<Missed>), CursorError> {
        loop {
            let (next, missed) = self.place(&cursor.progress);
            let begun = Watch::begin(&self.log, Start::At(next), effective_filter(cursor));
            match begun {
                // It was removed in between.
                Err(ReadingError::OutOfRange { sequence, first, .. }) if sequence < first => {}
                begun => return Ok((begun?, missed)),
            }
        }
    }

    /// Acknowledges.
    pub async fn acknowledge(
        &self,
        caller: &Caller,
        acknowledgement: Acknowledgement,
    ) -> Result<Progress, CursorError> {
        authorize_one(caller, &acknowledgement.name)?;
        let acknowledged = self.keeper.acknowledge(acknowledgement).await;
        acknowledged.map_err(|error| CursorError::of(error, CursorError::Acknowledge))
    }

    /// How many cursors there are, and how many records the slowest has yet to have acknowledged.
    pub fn lag(&self) -> (u64, u64) {
        let (_, last) = self.log.bounds();
        self.keeper.progress(|all| {
            all.fold((0, 0), |(count, lag), progress| {
                (count + 1, lag.max(last.saturating_sub(progress.through_in(self.log_id))))
            })
        })
    }

    /// A cursor as it is told: what is missing by now is missed, though nobody was told yet.
    fn told(&self, mut shown: Shown) -> Shown {
        let (_, missed) = self.place(&shown.cursor.progress);
        for missed in missed {
            shown.cursor.progress.add_missed(missed);
        }
        shown
    }

    /// The record that is to be read next, and what is missing before it.
    fn place(&self, progress: &Progress) -> (u64, Vec<Missed>) {
        let mut missed = Vec::new();
        let range = |log_id: Uuid, from: u64, through: Option<u64>| {
            let is_empty = through.is_some_and(|through| through < from);
            (!is_empty).then_some(Missed { log_id, from, through })
        };
        if progress.log_id != self.log_id {
            let mut from = progress.through + 1;
            let mut known = self.former_logs.iter().skip_while(|one| one.log_id != progress.log_id);
            let unknown = FormerLog { log_id: progress.log_id, last: None };
            let first = known.next().copied().unwrap_or(unknown);
            for FormerLog { log_id, last } in [first].into_iter().chain(known.copied()) {
                missed.extend(range(log_id, from, last));
                from = 1;
            }
        }
        let next = progress.through_in(self.log_id) + 1;
        let (first, _) = self.log.bounds();
        missed.extend(range(self.log_id, next, Some(first.saturating_sub(1))));
        (next.max(first), missed)
    }
}

/// Which records a cursor goes through: of its account alone, if it is one's.
fn effective_filter(cursor: &AuditCursor) -> AuditFilter {
    let Definition { name, filter, .. } = &*cursor.definition;
    let mut filter = filter.clone();
    if let AuditCursorParent::Account(account) = &name.parent {
        filter.accounts = vec![account.clone()];
    }
    filter
}
