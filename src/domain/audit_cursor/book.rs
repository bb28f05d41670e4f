//! All cursors, and who reads by them: what may be done with one, judged one thing after another.
//!
//! Leases are here and nowhere else; they don't outlive the process, and a token of another process
//! is that of no lease.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::domain::{
    name::{AuditCursorName, AuditCursorParent, Id},
    request::{RequestId, RequestMark},
    resource::Uid,
    time::Moment,
};

use super::{AuditCursor, CursorLimits, Definition, Missed, Progress};

/// All cursors, and who reads by them.
#[derive(Debug)]
pub struct Book {
    cursors: BTreeMap<AuditCursorName, Kept>,
    limits: CursorLimits,
}

#[derive(Debug)]
struct Kept {
    cursor: AuditCursor,
    lease: Option<Lease>,
}

/// Tells a lease from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken(pub Uuid);

/// The right to acknowledge by a cursor.
#[derive(Debug)]
struct Lease {
    token: LeaseToken,
    caller: Arc<str>,
    /// How long it lasts after its stream.
    time: Duration,
    hold: Hold,
    /// The log that is read under it.
    log_id: Uuid,
    /// Through where that was sent.
    sent: u64,
    /// What was said to be missing.
    missed: Vec<Missed>,
}

/// How long a lease goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// As long as its stream is open.
    Open,
    /// Its stream has ended.
    Until(Moment),
}

/// A cursor, and who reads by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The cursor.
    pub cursor: AuditCursor,
    /// Who has a lease of it.
    pub reader: Option<Reader>,
}

/// Who has a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The caller.
    pub caller: Arc<str>,
    /// When the lease ends, if its stream has ended: by how much time passes, whatever the wall clock
    /// shows then.
    pub expires: Option<Moment>,
}

/// There is no such cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not found")]
pub struct NotFound(pub AuditCursorName);

/// What a request to create a cursor leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    Now(AuditCursor),
    /// The same request has created it.
    Before(AuditCursor),
}

/// Why a cursor isn't created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The name is taken.
    #[error("`{0}` already exists")]
    AlreadyExists(AuditCursorName),
    /// The request's id was used with other content.
    #[error("request id `{}` was used for another request", .0.as_str())]
    RequestIdReused(RequestId),
    /// There are as many as may be.
    #[error("account `{account}` has {limit} audit cursors, which is as many as it may have")]
    LimitReached {
        /// The account; `*` is all together.
        account: Box<str>,
        /// How many there may be.
        limit: u32,
    },
}

/// Somebody who wants to read.
#[derive(Clone, Debug)]
pub struct Begin {
    /// By which cursor.
    pub name: AuditCursorName,
    /// Who it is.
    pub caller: Arc<str>,
    /// The lease that is to be had.
    pub token: LeaseToken,
    /// A lease that it may have.
    pub own: Option<LeaseToken>,
    /// Whether it takes over from whoever reads.
    pub takes_over: bool,
    /// How long the lease is to last after the stream.
    pub time: Duration,
    /// The log that is read.
    pub log_id: Uuid,
}

/// What a reader has.
#[derive(Debug)]
pub struct Begun {
    /// The cursor.
    pub cursor: AuditCursor,
    /// The lease that ended by that.
    pub ended: Option<LeaseToken>,
}

/// Why somebody doesn't read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// There is no such cursor.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Somebody else reads.
    #[error("`{name}` is being read by caller `{}`", reader.caller)]
    Leased {
        /// The cursor.
        name: AuditCursorName,
        /// Who reads.
        reader: Reader,
        /// How long until that can be over.
        wait: Duration,
    },
}

/// What is about to be sent to a reader.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Through which record.
    pub through: u64,
    /// What is said to be missing.
    pub missed: Vec<Missed>,
}

/// Why nothing is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// There is no such cursor.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The lease is over.
    #[error("the lease of `{0}` is over: another reader may have begun where it was")]
    LeaseLost(AuditCursorName),
    /// It wasn't sent.
    #[error("`{name}` was sent through {sent}, not through {through}")]
    NotSent {
        /// The cursor.
        name: AuditCursorName,
        /// What was to be acknowledged.
        through: u64,
        /// What was sent.
        sent: u64,
    },
}

impl Book {
    /// Has these cursors, and no readers.
    pub fn new(cursors: impl IntoIterator<Item = AuditCursor>, limits: CursorLimits) -> Self {
        let kept =
            |cursor: AuditCursor| (cursor.definition.name.clone(), Kept { cursor, lease: None });
        Self { cursors: cursors.into_iter().map(kept).collect(), limits }
    }

    /// A cursor as it is at a time.
    pub fn show(&self, name: &AuditCursorName, now: Moment) -> Option<Shown> {
        let kept = self.cursors.get(name)?;
        let reader = kept.lease.as_ref().filter(|lease| lease.is_on(now)).map(Lease::reader);
        Some(Shown { cursor: kept.cursor.clone(), reader })
    }

    /// Judges whether a cursor can be created.
    pub fn judge(&self, new: AuditCursor) -> Result<Created, CreateError> {
        let Definition { name, creator, mark, .. } = &*new.definition;
        if let Some(mark) = mark
            && let Some(before) = self.created_by(&name.parent, creator, mark)
        {
            let same = before.definition.mark.as_ref().is_some_and(|one| one == mark);
            return if same && before.definition.name == *name {
                Ok(Created::Before(before.clone()))
            } else {
                Err(CreateError::RequestIdReused(mark.id.clone()))
            };
        }
        if self.cursors.contains_key(name) {
            return Err(CreateError::AlreadyExists(name.clone()));
        }
        let CursorLimits { total, per_account } = self.limits;
        let full = |account: &str, limit: u32| CreateError::LimitReached {
            account: account.into(),
            limit,
        };
        let as_many = |count: usize, limit: u32| u32::try_from(count).is_ok_and(|it| it < limit);
        if !as_many(self.of(&name.parent).count(), per_account.get()) {
            return Err(full(name.parent.account(), per_account.get()));
        }
        if !as_many(self.cursors.len(), total.get()) {
            return Err(full("*", total.get()));
        }
        Ok(Created::Now(new))
    }

    /// Creates a cursor, if it can be.
    pub fn create(&mut self, new: AuditCursor) -> Result<Created, CreateError> {
        let created = self.judge(new)?;
        if let Created::Now(cursor) = &created {
            let kept = Kept { cursor: cursor.clone(), lease: None };
            self.cursors.insert(cursor.definition.name.clone(), kept);
        }
        Ok(created)
    }

    /// The cursor that a caller's request with that id has created.
    fn created_by(
        &self,
        parent: &AuditCursorParent,
        creator: &Arc<str>,
        mark: &RequestMark,
    ) -> Option<&AuditCursor> {
        self.of(parent).find(|cursor| {
            let Definition { creator: by, mark: one, .. } = &*cursor.definition;
            by == creator && one.as_ref().is_some_and(|one| one.id == mark.id)
        })
    }

    /// The cursors of a parent, by id.
    fn of<'a>(
        &'a self,
        parent: &AuditCursorParent,
    ) -> impl Iterator<Item = &'a AuditCursor> + use<'a> {
        let parent = parent.clone();
        let begin = AuditCursorName { parent: parent.clone(), id: Id::before_all() };
        let rest = self.cursors.range(begin..);
        rest.take_while(move |(name, _)| name.parent == parent).map(|(_, kept)| &kept.cursor)
    }

    /// Makes sure that a cursor is there, under a uid if it is given.
    pub fn find(&self, name: &AuditCursorName, uid: Option<Uid>) -> Result<(), NotFound> {
        let found = self.cursors.get(name);
        let is_it = |kept: &&Kept| uid.is_none_or(|uid| kept.cursor.definition.uid == uid);
        found.filter(is_it).map(|_| ()).ok_or_else(|| NotFound(name.clone()))
    }

    /// Deletes a cursor; tells the lease that ended by that.
    pub fn delete(
        &mut self,
        name: &AuditCursorName,
        uid: Option<Uid>,
    ) -> Result<Option<LeaseToken>, NotFound> {
        self.find(name, uid)?;
        let gone = self.cursors.remove(name);
        Ok(gone.and_then(|kept| kept.lease).map(|lease| lease.token))
    }

    /// Gives somebody a lease.
    pub fn begin(&mut self, begin: Begin, now: Moment) -> Result<Begun, BeginError> {
        let Begin { name, caller, token, own, takes_over, time, log_id } = begin;
        let kept = self.cursors.get_mut(&name).ok_or_else(|| NotFound(name.clone()))?;
        let before = kept.lease.as_ref().filter(|lease| lease.is_on(now));
        if let Some(lease) = before
            && !takes_over
            && own != Some(lease.token)
        {
            let (reader, wait) = (lease.reader(), lease.wait(now));
            return Err(BeginError::Leased { name, reader, wait });
        }
        let ended = before.map(|lease| lease.token);
        let sent = kept.cursor.progress.through_in(log_id);
        let (hold, missed) = (Hold::Open, Vec::new());
        kept.lease = Some(Lease { token, caller, time, hold, log_id, sent, missed });
        Ok(Begun { cursor: kept.cursor.clone(), ended })
    }

    /// Notes what is about to be sent under a lease.
    pub fn send(&mut self, name: &AuditCursorName, token: LeaseToken, sent: Sent) {
        if let Some(lease) = self.lease(name, token) {
            lease.sent = lease.sent.max(sent.through);
            lease.missed.extend(sent.missed);
        }
    }

    /// Notes that the stream of a lease has ended.
    pub fn end(&mut self, name: &AuditCursorName, token: LeaseToken, now: Moment) {
        if let Some(lease) = self.lease(name, token) {
            lease.hold = Hold::Until(now.plus(lease.time));
        }
    }

    /// Ends a lease; whether it was one.
    pub fn release(&mut self, name: &AuditCursorName, token: LeaseToken) -> bool {
        let kept = self.cursors.get_mut(name);
        kept.is_some_and(|kept| kept.lease.take_if(|lease| lease.token == token).is_some())
    }

    /// Acknowledges all through a record under a lease. Tells how far the cursor is then, and
    /// whether it has moved.
    pub fn acknowledge(
        &mut self,
        name: &AuditCursorName,
        token: LeaseToken,
        through: u64,
        now: Moment,
    ) -> Result<(Progress, bool), AcknowledgeError> {
        let kept = self.cursors.get_mut(name).ok_or_else(|| NotFound(name.clone()))?;
        let Kept { cursor, lease } = kept;
        let lease = lease.as_mut().filter(|lease| lease.token == token && lease.is_on(now));
        let lease = lease.ok_or_else(|| AcknowledgeError::LeaseLost(name.clone()))?;
        if through > lease.sent {
            let (name, sent) = (name.clone(), lease.sent);
            return Err(AcknowledgeError::NotSent { name, through, sent });
        }
        let has_moved = through > cursor.progress.through_in(lease.log_id);
        if has_moved {
            cursor.progress.advance((lease.log_id, through), &lease.missed, now.wall);
            // What is told from now on lies behind it.
            lease.missed.retain(|missed| {
                missed.log_id == lease.log_id && missed.through.is_none_or(|last| last > through)
            });
        }
        Ok((cursor.progress.clone(), has_moved))
    }

    fn lease(&mut self, name: &AuditCursorName, token: LeaseToken) -> Option<&mut Lease> {
        self.cursors.get_mut(name)?.lease.as_mut().filter(|lease| lease.token == token)
    }
}

impl Lease {
    fn is_on(&self, now: Moment) -> bool {
        match self.hold {
            Hold::Open => true,
            Hold::Until(end) => now.elapsed < end.elapsed,
        }
    }

    fn reader(&self) -> Reader {
        let expires = match self.hold {
            Hold::Open => None,
            Hold::Until(end) => Some(end),
        };
        Reader { caller: Arc::clone(&self.caller), expires }
    }

    /// How long until it can be over.
    fn wait(&self, now: Moment) -> Duration {
        match self.hold {
            Hold::Open => self.time,
            Hold::Until(end) => end.elapsed.saturating_sub(now.elapsed),
        }
    }
}

#[cfg(test)]
mod tests;
