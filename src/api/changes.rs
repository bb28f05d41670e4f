//! `ChangeService`.

use std::{convert::Infallible, mem, sync::Arc};

use prost::Message as _;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};
use tonic::{Request, Response, Status};

use crate::{
    domain::{
        decide::{Rejected, Rejection},
        name::AccountName,
    },
    identity::caller::Caller,
    service::{
        gate::{Gate, Scope},
        history::{ChangeWatch, History, Listed, Page, Progress, Wanted},
        management::{ManageError, Manager},
        watches::{Permit, Watches},
    },
    store::writer::{Mode, SubmitError},
    telemetry::watchers::{Position, Watchers},
};

use super::{
    admission::MAX_MESSAGE_BYTES,
    call,
    convert::{
        Violations,
        change::{self, About},
        page::List,
        parse_first,
    },
    in_background,
    pb::{self, change_service_server::ChangeService},
    status::ApiError,
    stream::{self, Messages, Outgoing, Over},
};

/// How many bytes of requests for many changes are worked on at once: eight of the largest ones, or
/// as many small ones as there are.
const MAX_BATCH_BYTES: usize = 8 * MAX_MESSAGE_BYTES;

/// Stands for all accounts that a caller is bound to.
const ALL_ACCOUNTS: &str = "accounts/-";
const WATCH: &str = "/aap.v1.ChangeService/WatchChanges";

/// Serves `ChangeService`. What goes through many changes happens on another runtime.
#[derive(Clone, Debug)]
pub struct Changes {
    manager: Manager,
    history: History,
    background: Handle,
    batches: Arc<Semaphore>,
    watches: Watches,
    watchers: Watchers,
    gate: Gate,
    stopping: watch::Receiver<bool>,
}

impl Changes {
    /// Serves it by a manager and a history, in as many watches as may be, from a runtime that may take long, to whom the gate lets
    /// in, until the server stops.
    pub fn new(
        (manager, history, watches): (Manager, History, Watches),
        background: Handle,
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let batches = Arc::new(Semaphore::new(MAX_BATCH_BYTES));
        let watchers = Watchers::default();
        Self { manager, history, background, batches, watches, watchers, gate, stopping }
    }

    /// Who watches now.
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.background.spawn_blocking(work).await.map_err(|_| ApiError::Internal)
    }

    async fn apply(
        &self,
        caller: &Caller,
        account: AccountName,
        message: pb::ApplyChangesRequest,
    ) -> Result<pb::ApplyChangesResponse, ApiError> {
        let bytes = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
        let _working = self.batches.try_acquire_many(bytes).map_err(|_| SubmitError::Busy)?;
        let parsed = move || change::parse_all(&account, message);
        let (manner, requested) = self.in_background(parsed).await??;
        let mode = manner.mode;
        let (commands, about): (Vec<_>, Vec<_>) =
            requested.into_iter().map(|one| (one.command, one.about)).unzip();
        let made = self.manager.change_all(caller, manner, commands).await;
        let made = made.map_err(|error| rejected(error, &about))?;
        self.in_background(move || change::send_made(mode, &about, &made)).await
    }
}

/// Says which of the changes is rejected.
fn rejected(error: ManageError, about: &[About]) -> ApiError {
    match error {
        ManageError::Submit(SubmitError::Rejected(Rejected { place, rejection }))
            if !matches!(rejection, Rejection::RequestIdReused(_)) =>
        {
            let kind = about.get(place).map_or("", |about| about.kind);
            let path = format!("changes[{place}].{kind}");
            ApiError::RejectedChange { path, place, rejection: Box::new(rejection) }
        }
        error => error.into(),
    }
}

#[tonic::async_trait]
impl ChangeService for Changes {
    async fn apply_changes(
        &self,
        request: Request<pb::ApplyChangesRequest>,
    ) -> Result<Response<pb::ApplyChangesResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let account = parse_account(caller, &message.parent)?;
        Ok(Response::new(self.apply(caller, account, message).await?))
    }

    async fn list_changes(
        &self,
        request: Request<pb::ListChangesRequest>,
    ) -> Result<Response<pb::ListChangesResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let account = parse_account(&caller, &message.parent)?;

        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListChanges", &message);
        let pb::ListChangesRequest { parent: _, page_size: _, page_token: _, resource } = message;
        let mut violations = Violations::default();
        let place =
            list.parse_place(&mut violations, (size, &token), |revision| revision.parse().ok());
        let wanted = change::parse_wanted(&mut violations, account, &resource);
        let ((size, before), wanted) = violations.finish(place.zip(wanted))?;

        let history = self.history.clone();
        let listed = move || history.list(&caller, &wanted, Page { before, size });
        let Listed { events, next_before } =
            self.in_background(listed).await?.map_err(ApiError::from)?;
        Ok(Response::new(pb::ListChangesResponse {
            changes: events.iter().map(|event| change::send(Mode::Apply, event)).collect(),
            next_page_token: list.token(next_before),
        }))
    }

    type WatchChangesStream = Messages<pb::WatchChangesResponse>;

    async fn watch_changes(
        &self,
        request: Request<pb::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let authenticated = call::authenticated(&extensions)?.clone();
        let pb::WatchChangesRequest { parent, start } = message;
        let (wanted, scope) = if parent == ALL_ACCOUNTS {
            (Wanted::AllOfCaller, Scope::Bound)
        } else {
            let account = parse_account(&authenticated.caller, &parent)?;
            let scope = Scope::Account(account.0.clone());
            (Wanted::Account(account), scope)
        };
        let mut violations = Violations::default();
        let start = change::parse_start(&mut violations, start);
        let start = violations.finish(start)?;
        let permit = self.watches.open(&authenticated.caller.name).map_err(ApiError::from)?;
        let watch = self.history.watch(wanted, start).map_err(ApiError::from)?;
        let standing = self.gate.standing(authenticated, WATCH, scope);
        let (outgoing, messages) = stream::open(standing, self.stopping.clone());
        let revisions = self.history.revisions();
        let position = self.watchers.enter(watch.next().saturating_sub(1));
        let serving = Serving { watch, revisions, position, _permit: permit };
        self.background.spawn(serving.run(outgoing));
        Ok(Response::new(messages))
    }
}

/// One open watch: reads, sends, waits for the bell.
struct Serving {
    watch: ChangeWatch,
    /// Rings when more is published.
    revisions: watch::Receiver<u64>,
    /// How far it has come.
    position: Position,
    /// Counts it among the open watches while it lasts.
    _permit: Permit,
}

impl Serving {
    async fn run(self, mut outgoing: Outgoing<pb::WatchChangesResponse>) {
        let Err(over) = self.follow(&mut outgoing).await;
        outgoing.end(over);
    }

    /// Goes on until the watch is over.
    async fn follow(
        self,
        outgoing: &mut Outgoing<pb::WatchChangesResponse>,
    ) -> Result<Infallible, Over> {
        let Self { mut watch, mut revisions, position, _permit } = self;
        // The first message says where the watch begins, also if there is nothing to read yet.
        let next = watch.next();
        let began = Progress { events: Vec::new(), from: next, through: next - 1 };
        outgoing.send(change::send_progress(&began)).await?;
        loop {
            // Looked at before reading, so that what comes meanwhile rings again.
            revisions.mark_unchanged();
            let caller = Arc::clone(outgoing.caller());
            let (read, progress) = in_background(move || {
                let progress = watch.read(&caller);
                (watch, progress)
            })
            .await?;
            watch = read;
            let progress = progress.map_err(ApiError::from)?;
            if progress.through < progress.from {
                outgoing.wait(revisions.changed()).await?;
            } else {
                outgoing.send(change::send_progress(&progress)).await?;
                position.reach(progress.through);
            }
        }
    }
}

fn parse_account(caller: &Caller, parent: &str) -> Result<AccountName, ApiError> {
    let account = parse_first("parent", AccountName::parse(parent))?;
    Manager::authorize_account(caller, &account)?;
    Ok(account)
}
