//! The one thread that changes cursors: judges what is asked one after another, puts it on disk with
//! one sync for all that waits, shows it, answers. In that order.
//!
//! It owns all cursors and their leases, so nobody acknowledges by a lease that another reader has
//! just taken over. After a failure what it has is worthless, and it refuses everything until a
//! restart. How records are read is not known here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::sync::{oneshot, watch};

use crate::{
    clock::Clock,
    domain::{
        audit_cursor::{
            AcknowledgeError, AuditCursor, Begin, BeginError, Book, CreateError, Created,
            CursorLimits, LeaseToken, NotFound, Progress, Sent, Shown,
        },
        name::{AuditCursorName, AuditCursorParent, Id},
        resource::Uid,
    },
    store::{
        space::{ReserveReached, Space},
        writer::{JournalCondition, Mode},
    },
};

use super::tree::{Change, CursorStore};

/// The most changes that wait, whether or not their callers still do.
const MAX_WAITING: usize = 1_024;
/// After how many requests one sync covers no further ones.
const SYNC_LENGTH: usize = 256;

/// Hands changes of cursors to their keeper, and tells how cursors are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CursorKeeper {
    requests: Sender<Request>,
    condition: watch::Receiver<JournalCondition>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    space: Arc<Space>,
    clock: Clock,
    /// How many changes wait.
    waiting: AtomicUsize,
    /// Cursors as they are on disk. Held for a look-up, and to note what has changed.
    shown: Mutex<BTreeMap<AuditCursorName, Shown>>,
}

/// Why nothing came of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError<E> {
    /// It was judged and refused.
    #[error(transparent)]
    Refused(E),
    /// Too many wait.
    #[error("too many changes of audit cursors wait to be written")]
    Busy,
    /// The disk is too full.
    #[error(transparent)]
    Reserve(#[from] ReserveReached),
    /// Cursors can't be written; whether it was done is unknown.
    #[error("audit cursors can't be written")]
    Unavailable,
}

/// Why a lease is over, though its stream is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Another reader has begun.
    TakenOver,
    /// The cursor was deleted.
    Deleted,
    /// Its reader has given it back.
    Released,
    /// Nothing is known of cursors any more.
    Unavailable,
}

/// An acknowledgement.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// By which cursor.
    pub name: AuditCursorName,
    /// Under which lease.
    pub token: LeaseToken,
    /// Through which record.
    pub through: u64,
    /// Whether the lease ends with it.
    pub releases: bool,
}

/// What a caller is to be answered by. It goes with the request, as does its place among those that
/// wait: a caller that goes away takes neither back.
#[derive(Debug)]
struct Answer<T, E> {
    caller: oneshot::Sender<Result<T, KeeperError<E>>>,
    waiting: Waiting,
}

impl<T, E> Answer<T, E> {
    fn give(self, answer: Result<T, E>) {
        let Self { caller, waiting } = self;
        // It waits no more, whatever its caller asks next.
        drop(waiting);
        // Nobody is there any more if the caller has gone away.
        let _ = caller.send(answer.map_err(KeeperError::Refused));
    }
}

#[derive(Debug)]
enum Request {
    Create(Box<AuditCursor>, Mode, Answer<Created, CreateError>),
    Delete(AuditCursorName, Option<Uid>, Mode, Answer<(), NotFound>),
    Begin(Box<Begin>, CursorKeeper, Answer<(AuditCursor, HeldLease), BeginError>),
    Send(AuditCursorName, LeaseToken, Sent),
    End(AuditCursorName, LeaseToken),
    Acknowledge(Acknowledgement, Answer<Progress, AcknowledgeError>),
    Close,
}

/// A lease whose stream is open, as long as this lives.
#[derive(Debug)]
pub struct HeldLease {
    keeper: CursorKeeper,
    name: AuditCursorName,
    token: LeaseToken,
    lost: oneshot::Receiver<LeaseEnd>,
}

impl HeldLease {
    /// Its token.
    pub fn token(&self) -> LeaseToken {
        self.token
    }

    /// What is told of what is sent under it.
    pub fn sending(&self) -> Sending {
        Sending { keeper: self.keeper.clone(), name: self.name.clone(), token: self.token }
    }

    /// Waits until it is over.
    pub async fn lost(&mut self) -> LeaseEnd {
        (&mut self.lost).await.unwrap_or(LeaseEnd::Unavailable)
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.keeper.tell(Request::End(self.name.clone(), self.token));
    }
}

/// Tells the keeper what is sent under a lease.
#[derive(Debug)]
pub struct Sending {
    keeper: CursorKeeper,
    name: AuditCursorName,
    token: LeaseToken,
}

impl Sending {
    /// Notes it. To be called before it is sent: who gets it may acknowledge it at once.
    pub fn note(&self, sent: Sent) {
        self.keeper.tell(Request::Send(self.name.clone(), self.token, sent));
    }
}

impl CursorKeeper {
    /// Creates a cursor, or judges whether it could be.
    pub async fn create(
        &self,
        cursor: AuditCursor,
        mode: Mode,
    ) -> Result<Created, KeeperError<CreateError>> {
        self.shared.space.admit_change()?;
        self.ask(|answer| Request::Create(Box::new(cursor), mode, answer)).await
    }

    /// Deletes a cursor, or judges whether it could be.
    pub async fn delete(
        &self,
        name: AuditCursorName,
        uid: Option<Uid>,
        mode: Mode,
    ) -> Result<(), KeeperError<NotFound>> {
        self.shared.space.admit_check()?;
        self.ask(|answer| Request::Delete(name, uid, mode, answer)).await
    }

    /// Gives somebody a lease of a cursor.
    pub async fn begin(
        &self,
        begin: Begin,
    ) -> Result<(AuditCursor, HeldLease), KeeperError<BeginError>> {
        self.ask(|answer| Request::Begin(Box::new(begin), self.clone(), answer)).await
    }

    /// Acknowledges. While changes are refused because the disk is full, readers still get on.
    pub async fn acknowledge(
        &self,
        acknowledgement: Acknowledgement,
    ) -> Result<Progress, KeeperError<AcknowledgeError>> {
        self.shared.space.admit_check()?;
        self.ask(|answer| Request::Acknowledge(acknowledgement, answer)).await
    }

    async fn ask<T, E>(
        &self,
        request: impl FnOnce(Answer<T, E>) -> Request,
    ) -> Result<T, KeeperError<E>> {
        let waiting = Waiting::begin(&self.shared).ok_or(KeeperError::Busy)?;
        let (caller, answered) = oneshot::channel();
        self.tell(request(Answer { caller, waiting }));
        // Ends with the sync that covers it, or when the keeper is gone.
        answered.await.unwrap_or(Err(KeeperError::Unavailable))
    }

    fn tell(&self, request: Request) {
        // One that is gone drops what it is told, and so answers it.
        let _ = self.requests.send(request);
    }

    /// A cursor as it is on disk.
    pub fn show(&self, name: &AuditCursorName) -> Option<Shown> {
        let shown = self.shared.lock().get(name).cloned();
        shown.map(|shown| self.shared.now(shown))
    }

    /// Some cursors of a parent, by id, after one.
    pub fn list(&self, parent: &AuditCursorParent, after: Option<Id>, count: usize) -> Vec<Shown> {
        let place = |id: Id| AuditCursorName { parent: parent.clone(), id };
        let begin = match after {
            Some(id) => Bound::Excluded(place(id)),
            None => Bound::Included(place(Id::before_all())),
        };
        let shown = self.shared.lock();
        let rest = shown.range((begin, Bound::Unbounded));
        let own = rest.take_while(|(name, _)| name.parent == *parent).take(count);
        own.map(|(_, shown)| self.shared.now(shown.clone())).collect()
    }

    /// All cursors as they are on disk, by name.
    pub fn all(&self) -> Vec<AuditCursor> {
        self.shared.lock().values().map(|shown| shown.cursor.clone()).collect()
    }

    /// Tells whether cursors can be written, now and when that changes.
    pub fn condition(&self) -> watch::Receiver<JournalCondition> {
        self.condition.clone()
    }

    /// How many cursors there are, and how far each has come.
    pub fn progress<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = &Progress>) -> T) -> T {
        look(&mut self.shared.lock().values().map(|shown| &shown.cursor.progress))
    }

    /// Has the keeper end when it has done all that it was asked to.
    pub fn close(&self) {
        self.tell(Request::Close);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AuditCursorName, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cursor without a lease that is over by now.
    fn now(&self, mut shown: Shown) -> Shown {
        let now = self.clock.moment();
        shown.reader.take_if(|reader| reader.expires.is_some_and(|end| end.elapsed <= now.elapsed));
        shown
    }
}

/// Counts as one change that waits, while it lives.
#[derive(Debug)]
struct Waiting(Arc<Shared>);

impl Waiting {
    fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let before = shared.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(Arc::clone(shared));
        (before < MAX_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts the keeper of these cursors, which are all that the store has. The thread ends when it is
/// closed.
pub fn start(
    store: Box<dyn CursorStore>,
    cursors: Vec<AuditCursor>,
    limits: CursorLimits,
    (space, clock): (Arc<Space>, Clock),
) -> io::Result<(CursorKeeper, thread::JoinHandle<()>)> {
    let (requests, queue) = channel();
    let show = |cursor: &AuditCursor| {
        let shown = Shown { cursor: cursor.clone(), reader: None };
        (cursor.definition.name.clone(), shown)
    };
    let shown = Mutex::new(cursors.iter().map(show).collect());
    let shared = Arc::new(Shared { space, clock, waiting: AtomicUsize::new(0), shown });
    let book = Book::new(cursors, limits);
    let (told, condition) = watch::channel(JournalCondition::Working);
    let (streams, mine) = (HashMap::new(), Arc::clone(&shared));
    let keeper = Keeper { store, book, streams, condition: told, shared: mine, has_ended: false };
    let thread = thread::Builder::new()
        .name("cursor-keeper".to_owned())
        .spawn(move || keeper.run(&queue))?;
    Ok((CursorKeeper { requests, condition, shared }, thread))
}

struct Keeper {
    store: Box<dyn CursorStore>,
    /// Includes what is not yet on disk.
    book: Book,
    /// Who is to be told that a lease is over.
    streams: HashMap<LeaseToken, oneshot::Sender<LeaseEnd>>,
    condition: watch::Sender<JournalCondition>,
    shared: Arc<Shared>,
    /// Whether its work came to an end, well or not.
    has_ended: bool,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.has_ended {
            self.fail("the thread that keeps them has panicked");
        }
    }
}

/// What some requests have led to.
#[derive(Default)]
struct Batch {
    /// What is to be on disk.
    changes: Vec<Change>,
    /// The cursors that are to be shown anew.
    touched: BTreeSet<AuditCursorName>,
    /// What is to be answered then.
    answers: Vec<Box<dyn FnOnce()>>,
}

impl Batch {
    fn answer<T: 'static, E: 'static>(&mut self, answer: Answer<T, E>, with: Result<T, E>) {
        self.answers.push(Box::new(move || answer.give(with)));
    }
}

/// Whether more requests are to be judged before the sync.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    Close,
}

impl Keeper {
    fn run(mut self, queue: &Receiver<Request>) {
        self.work(queue);
        self.has_ended = true;
    }

    /// Does what it is asked to until it is closed.
    fn work(&mut self, queue: &Receiver<Request>) {
        while let Ok(first) = queue.recv() {
            let mut batch = Batch::default();
            let mut next = self.judge(first, &mut batch);
            for _ in 1..SYNC_LENGTH {
                let Some(request) = (next == Next::More).then(|| queue.try_recv().ok()).flatten()
                else {
                    break;
                };
                next = self.judge(request, &mut batch);
            }
            if let Err(reason) = self.finish(batch) {
                tracing::error!(
                    reason,
                    "audit cursors can't be written; nobody reads by one until a restart"
                );
                self.fail(&reason);
                // Dropping a request answers it: unavailable.
                while next == Next::More
                    && let Ok(request) = queue.recv()
                    && !matches!(request, Request::Close)
                {}
                return;
            }
            if next == Next::Close {
                return;
            }
        }
    }

    /// Has everybody know that cursors can't be written; nobody has a lease from here on.
    fn fail(&mut self, reason: &str) {
        self.condition.send_replace(JournalCondition::Failed { reason: reason.into() });
        for shown in self.shared.lock().values_mut() {
            shown.reader = None;
        }
        self.streams.clear();
    }

    /// Puts on disk what is to be there, and then shows and answers it. Dropping answers says that
    /// nothing is known.
    fn finish(&mut self, batch: Batch) -> Result<(), String> {
        let Batch { changes, touched, answers } = batch;
        if !changes.is_empty() {
            self.store.write(&changes)?;
        }
        let now = self.shared.clock.moment();
        let mut shown = self.shared.lock();
        for name in touched {
            match self.book.show(&name, now) {
                Some(cursor) => shown.insert(name, cursor),
                None => shown.remove(&name),
            };
        }
        drop(shown);
        for answer in answers {
            answer();
        }
        Ok(())
    }

    fn judge(&mut self, request: Request, batch: &mut Batch) -> Next {
        let now = self.shared.clock.moment();
        match request {
            Request::Create(cursor, mode, answer) => {
                let created = self.create(*cursor, mode, batch);
                batch.answer(answer, created);
            }
            Request::Delete(name, uid, mode, answer) => {
                let deleted = self.delete(name, uid, mode, batch);
                batch.answer(answer, deleted);
            }
            Request::Begin(begin, keeper, answer) => {
                let begun = self.begin(*begin, keeper, batch);
                batch.answer(answer, begun);
            }
            Request::Send(name, token, sent) => self.book.send(&name, token, sent),
            Request::End(name, token) => {
                self.streams.remove(&token);
                self.book.end(&name, token, now);
                batch.touched.insert(name);
            }
            Request::Acknowledge(acknowledgement, answer) => {
                let acknowledged = self.acknowledge(acknowledgement, batch);
                batch.answer(answer, acknowledged);
            }
            Request::Close => return Next::Close,
        }
        Next::More
    }

    fn create(
        &mut self,
        cursor: AuditCursor,
        mode: Mode,
        batch: &mut Batch,
    ) -> Result<Created, CreateError> {
        if mode == Mode::ValidateOnly {
            return self.book.judge(cursor);
        }
        let created = self.book.create(cursor)?;
        if let Created::Now(cursor) = &created {
            batch.touched.insert(cursor.definition.name.clone());
            batch.changes.push(Change::Create(cursor.clone()));
        }
        Ok(created)
    }

    fn delete(
        &mut self,
        name: AuditCursorName,
        uid: Option<Uid>,
        mode: Mode,
        batch: &mut Batch,
    ) -> Result<(), NotFound> {
        if mode == Mode::ValidateOnly {
            return self.book.find(&name, uid);
        }
        let ended = self.book.delete(&name, uid)?;
        self.end_stream(ended, LeaseEnd::Deleted);
        batch.touched.insert(name.clone());
        batch.changes.push(Change::Delete(name));
        Ok(())
    }

    fn begin(
        &mut self,
        begin: Begin,
        keeper: CursorKeeper,
        batch: &mut Batch,
    ) -> Result<(AuditCursor, HeldLease), BeginError> {
        let (name, token) = (begin.name.clone(), begin.token);
        let begun = self.book.begin(begin, self.shared.clock.moment())?;
        self.end_stream(begun.ended, LeaseEnd::TakenOver);
        let (ended, lost) = oneshot::channel();
        self.streams.insert(token, ended);
        batch.touched.insert(name.clone());
        // Dropped with the answer if nobody waits for it: then its stream has ended.
        Ok((begun.cursor, HeldLease { keeper, name, token, lost }))
    }

    fn acknowledge(
        &mut self,
        acknowledgement: Acknowledgement,
        batch: &mut Batch,
    ) -> Result<Progress, AcknowledgeError> {
        let Acknowledgement { name, token, through, releases } = acknowledgement;
        let now = self.shared.clock.moment();
        let (progress, has_moved) = self.book.acknowledge(&name, token, through, now)?;
        if has_moved {
            batch.changes.push(Change::Advance(name.clone(), progress.clone()));
        }
        if releases && self.book.release(&name, token) {
            self.end_stream(Some(token), LeaseEnd::Released);
        }
        batch.touched.insert(name);
        Ok(progress)
    }

    fn end_stream(&mut self, token: Option<LeaseToken>, why: LeaseEnd) {
        if let Some(stream) = token.and_then(|token| self.streams.remove(&token)) {
            // It may be ending just now.
            let _ = stream.send(why);
        }
    }
}
