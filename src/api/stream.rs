//! Streams of answers. One goes on only as long as its caller may have it and the server runs, and
//! its reader is told why it ended.
//!
//! What is sent is not known here.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tonic::Status;

use crate::{
    identity::caller::Caller,
    service::gate::{GateError, Standing},
};

use super::status::ApiError;

/// How many messages wait for a slow reader, beyond what its connection holds.
const MESSAGES_AHEAD: usize = 1;

/// Opens a stream for a caller, until the server stops.
pub fn open<T>(standing: Standing, stopping: watch::Receiver<bool>) -> (Outgoing<T>, Messages<T>) {
    open_ahead(standing, stopping, MESSAGES_AHEAD)
}

/// The same, where another number of messages may wait for a slow reader.
pub fn open_ahead<T>(
    standing: Standing,
    stopping: watch::Receiver<bool>,
    ahead: usize,
) -> (Outgoing<T>, Messages<T>) {
    let (messages, queued) = mpsc::channel(ahead);
    let (end, ended) = oneshot::channel();
    let outgoing = Outgoing { messages, end: Some(end), standing, stopping };
    (outgoing, Messages { queued: Some(queued), ended: Some(ended), last: None })
}

/// Why a stream is over.
#[derive(Debug)]
pub enum Over {
    /// Nobody reads it any more, or all is said.
    Gone,
    /// Its caller may not have it any more.
    Barred(GateError),
    /// Something else, which its reader is told after all messages.
    Failed(ApiError),
    /// What it should answer can't be read, which its reader is told after all messages.
    Unreadable(Status),
}

impl From<ApiError> for Over {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// The end of a stream that messages go in at. One that is dropped before it was ended fails, so that
/// what a lost task has sent is never taken for all there is.
#[derive(Debug)]
pub struct Outgoing<T> {
    messages: mpsc::Sender<T>,
    /// `None` when it was ended.
    end: Option<oneshot::Sender<End>>,
    standing: Standing,
    stopping: watch::Receiver<bool>,
}

#[derive(Debug)]
enum End {
    /// What is queued isn't for its caller any more.
    Now(Status),
    AfterQueue(Status),
}

impl<T> Outgoing<T> {
    /// The caller, with the accounts that it is bound to as of the last wait.
    pub fn caller(&self) -> &Arc<Caller> {
        self.standing.caller()
    }

    /// Sends a message. Waits for the reader: that is all that a slow one holds up.
    pub async fn send(&mut self, message: T) -> Result<(), Over> {
        loop {
            tokio::select! {
                biased;
                standing = self.standing.changed() => standing.map_err(Over::Barred)?,
                _ = self.stopping.wait_for(|stopping| *stopping) => {
                    return Err(ApiError::ShuttingDown.into());
                }
                room = self.messages.reserve() => {
                    room.map_err(|_| Over::Gone)?.send(message);
                    return Ok(());
                }
            }
        }
    }

    /// Waits until there may be more to send: when `more` ends, or its caller is bound to other
    /// accounts.
    pub async fn wait<E>(&mut self, more: impl Future<Output = Result<(), E>>) -> Result<(), Over> {
        tokio::select! {
            biased;
            standing = self.standing.changed() => standing.map_err(Over::Barred),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(ApiError::ShuttingDown.into()),
            () = self.messages.closed() => Err(Over::Gone),
            // Nothing rings any more when what is followed has closed.
            more = more => more.map_err(|_| ApiError::ShuttingDown.into()),
        }
    }

    /// Ends the stream.
    pub fn end(mut self, over: Over) {
        let end = self.end.take();
        match over {
            Over::Gone => {}
            Over::Barred(error) => tell(end, End::Now(ApiError::Gate(error).into())),
            Over::Failed(error) => tell(end, End::AfterQueue(error.into())),
            Over::Unreadable(status) => tell(end, End::AfterQueue(status)),
        }
    }
}

impl<T> Drop for Outgoing<T> {
    fn drop(&mut self) {
        if self.end.is_some() {
            let is_stopping = *self.stopping.borrow();
            let error = if is_stopping { ApiError::ShuttingDown } else { ApiError::Internal };
            tell(self.end.take(), End::AfterQueue(error.into()));
        }
    }
}

fn tell(told: Option<oneshot::Sender<End>>, end: End) {
    // Who is gone isn't told.
    let _ = told.map(|told| told.send(end));
}

/// The end of a stream that messages come out at.
#[derive(Debug)]
pub struct Messages<T> {
    /// `None` when the stream is over.
    queued: Option<mpsc::Receiver<T>>,
    /// `None` when it has told.
    ended: Option<oneshot::Receiver<End>>,
    last: Option<Status>,
}

impl<T> Stream for Messages<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(ended) = &mut this.ended
            && let Poll::Ready(end) = Pin::new(ended).poll(context)
        {
            this.ended = None;
            match end {
                Ok(End::Now(status)) => {
                    this.queued = None;
                    return Poll::Ready(Some(Err(status)));
                }
                Ok(End::AfterQueue(status)) => this.last = Some(status),
                Err(_) => {}
            }
        }
        let Some(queued) = &mut this.queued else { return Poll::Ready(None) };
        match ready!(queued.poll_recv(context)) {
            Some(message) => Poll::Ready(Some(Ok(message))),
            // Both ends of the sender go at once, but not in one instant: the other one wakes this.
            None if this.ended.is_some() => Poll::Pending,
            None => {
                this.queued = None;
                Poll::Ready(this.last.take().map(Err))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio_stream::StreamExt as _;
    use tonic::Code;

    use super::*;
    use crate::{
        clock::Clock,
        domain::time::UnixNanos,
        identity::{
            caller::{Accounts, CallerRole, Callers, Credential},
            roster::Roster,
            token::TokenDigest,
        },
        service::gate::{Gate, Scope},
    };

    const METHOD: &str = "/aap.v1.AuditService/WatchAuditRecords";

    /// A stream, and what decides how long it goes on.
    struct Open {
        roster: Arc<Roster>,
        stop: watch::Sender<bool>,
        outgoing: Outgoing<u8>,
        messages: Messages<u8>,
    }

    fn open() -> Open {
        let (mut callers, token) = (Callers::default(), TokenDigest::of("token"));
        let (name, accounts) = ("eyes".into(), Accounts::All);
        let eyes = Caller { name, role: CallerRole::Auditor, accounts, expires: None };
        assert!(callers.add(token, eyes));
        let roster = Arc::new(Roster::new(callers));
        let gate = Gate::new(Arc::clone(&roster), Clock::manual(UnixNanos(0)));
        let authenticated = gate.admit(Credential::Token(token), METHOD).unwrap();
        let standing = gate.standing(authenticated, METHOD, Scope::Bound);
        let (stop, stopping) = watch::channel(false);
        let (outgoing, messages) = super::open(standing, stopping);
        Open { roster, stop, outgoing, messages }
    }

    fn run(test: impl Future<Output = ()>) {
        Builder::new_current_thread().build().unwrap().block_on(test);
    }

    #[test]
    fn what_was_sent_before_a_failure_is_read_before_it() {
        run(async {
            let Open { mut outgoing, mut messages, stop: _stop, .. } = open();
            outgoing.send(1).await.unwrap();
            outgoing.end(ApiError::Internal.into());
            assert_eq!(messages.next().await.unwrap().unwrap(), 1);
            assert_eq!(messages.next().await.unwrap().unwrap_err().code(), Code::Internal);
            assert!(messages.next().await.is_none());
        });
    }

    #[test]
    fn a_reader_that_is_barred_gets_nothing_that_waits_for_it() {
        run(async {
            let Open { mut outgoing, mut messages, stop: _stop, roster } = open();
            outgoing.send(1).await.unwrap();
            roster.replace(Callers::default());
            let over = outgoing.send(2).await.unwrap_err();
            outgoing.end(over);
            let told = messages.next().await.unwrap().unwrap_err();
            assert_eq!(told.code(), Code::Unauthenticated);
            assert!(messages.next().await.is_none());
        });
    }

    #[test]
    fn whatever_ends_a_stream_ends_its_waits() {
        run(async {
            let never = || std::future::pending::<Result<(), ()>>();
            let Open { mut outgoing, messages: _messages, stop: _stop, roster } = open();
            roster.ring();
            outgoing.wait(never()).await.unwrap();
            outgoing.wait(async { Ok::<_, ()>(()) }).await.unwrap();
            let over = outgoing.wait(async { Err(()) }).await.unwrap_err();
            assert!(matches!(over, Over::Failed(ApiError::ShuttingDown)));
            roster.replace(Callers::default());
            assert!(matches!(outgoing.wait(never()).await, Err(Over::Barred(_))));

            let Open { mut outgoing, messages, stop, roster: _roster } = open();
            stop.send_replace(true);
            outgoing.wait(never()).await.unwrap();
            let over = outgoing.wait(never()).await.unwrap_err();
            assert!(matches!(over, Over::Failed(ApiError::ShuttingDown)));
            drop(messages);
            let Open { mut outgoing, messages, stop: _stop, roster: _roster } = open();
            drop(messages);
            outgoing.wait(never()).await.unwrap();
            assert!(matches!(outgoing.wait(never()).await, Err(Over::Gone)));
            assert!(matches!(outgoing.send(1).await, Err(Over::Gone)));
        });
    }

    #[test]
    fn a_stream_of_which_all_is_said_ends_without_an_error() {
        run(async {
            let Open { mut outgoing, mut messages, stop: _stop, roster: _roster } = open();
            outgoing.send(1).await.unwrap();
            outgoing.end(Over::Gone);
            assert_eq!(messages.next().await.unwrap().unwrap(), 1);
            assert!(messages.next().await.is_none());
        });
    }

    #[test]
    fn a_stream_whose_task_is_lost_is_not_taken_for_whole() {
        for (is_stopping, code) in [(false, Code::Internal), (true, Code::Unavailable)] {
            run(async {
                let Open { mut outgoing, mut messages, stop, roster: _roster } = open();
                outgoing.send(1).await.unwrap();
                stop.send_replace(is_stopping);
                drop(outgoing);
                assert_eq!(messages.next().await.unwrap().unwrap(), 1);
                assert_eq!(messages.next().await.unwrap().unwrap_err().code(), code);
                assert!(messages.next().await.is_none());
            });
        }
    }
}
