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
        proofs::{ChangeProofs, Wanted as WantedCheckpoint},
        watches::{Permit, Watches},
    },
    store::writer::SubmitError,
    telemetry::watchers::{Position, Watchers},
};

use super::{
    admission::MAX_MESSAGE_BYTES,
    call,
    convert::{
        Violations,
        change::{self, About, Form},
        change_proofs,
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
    proofs: ChangeProofs,
    background: Handle,
    batches: Arc<Semaphore>,
    watches: Watches,
    watchers: Watchers,
    gate: Gate,
    stopping: watch::Receiver<bool>,
}

impl Changes {
    /// Serves it by a manager, a history and proofs of it, in as many watches as may be, from a runtime
    /// that may take long, to whom the gate lets in, until the server stops.
    pub fn new(
        (manager, history, proofs, watches): (Manager, History, ChangeProofs, Watches),
        background: Handle,
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let batches = Arc::new(Semaphore::new(MAX_BATCH_BYTES));
        let watchers = Watchers::default();
        Self { manager, history, proofs, background, batches, watches, watchers, gate, stopping }
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
        let pb::ListChangesRequest { parent: _, page_size: _, page_token: _, resource, form } =
            message;
        let mut violations = Violations::default();
        let place =
            list.parse_place(&mut violations, (size, &token), |revision| revision.parse().ok());
        let wanted = change::parse_wanted(&mut violations, account, &resource);
        let form = change::parse_form(&mut violations, form);
        let (((size, before), wanted), form) = violations.finish(place.zip(wanted).zip(form))?;

        let history = self.history.clone();
        let listed = move || -> Result<_, ApiError> {
            let listed = history.list(&caller, &wanted, Page { before, size })?;
            let Listed { events, next_before } = listed;
            Ok((change::send_all(&history, &events, form)?, next_before))
        };
        let (changes, next_before) = self.in_background(listed).await??;
        let next_page_token = list.token(next_before);
        Ok(Response::new(pb::ListChangesResponse { changes, next_page_token }))
    }

    async fn get_change_checkpoint(
        &self,
        request: Request<pb::GetChangeCheckpointRequest>,
    ) -> Result<Response<pb::ChangeCheckpoint>, Status> {
        let (metadata, _, message) = request.into_parts();
        let wanted = change_proofs::parse_checkpoint(message)?;
        let proofs = self.proofs.clone();
        let checkpoint = match wanted {
            WantedCheckpoint::Covering(size) => {
                proofs.covering(size, call::patience(&metadata)).await
            }
            WantedCheckpoint::Last | WantedCheckpoint::OfSize(_) => {
                self.in_background(move || proofs.find(wanted)).await?
            }
        };
        let checkpoint = checkpoint.map_err(ApiError::from)?;
        Ok(Response::new(change_proofs::send_checkpoint(self.proofs.tree(), &checkpoint)))
    }

    async fn get_change_inclusion_proof(
        &self,
        request: Request<pb::GetChangeInclusionProofRequest>,
    ) -> Result<Response<pb::ChangeInclusionProof>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let (revision, size) = change_proofs::parse_inclusion(message)?;
        let proofs = self.proofs.clone();
        let proof = self.in_background(move || proofs.inclusion(&caller, revision, size)).await?;
        let proof = proof.map_err(ApiError::from)?;
        Ok(Response::new(change_proofs::send_inclusion(self.proofs.tree(), proof)))
    }

    async fn get_change_consistency_proof(
        &self,
        request: Request<pb::GetChangeConsistencyProofRequest>,
    ) -> Result<Response<pb::ChangeConsistencyProof>, Status> {
        let (from, to) = change_proofs::parse_consistency(request.into_inner())?;
        let proofs = self.proofs.clone();
        let proof = self.in_background(move || proofs.consistency(from, to)).await?;
        let proof = proof.map_err(ApiError::from)?;
        Ok(Response::new(change_proofs::send_consistency(self.proofs.tree(), proof)))
    }

    type WatchChangesStream = Messages<pb::WatchChangesResponse>;

    async fn watch_changes(
        &self,
        request: Request<pb::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let authenticated = call::authenticated(&extensions)?.clone();
        let pb::WatchChangesRequest { parent, start, form } = message;
        let (wanted, scope) = if parent == ALL_ACCOUNTS {
            (Wanted::AllOfCaller, Scope::Bound)
        } else {
            let account = parse_account(&authenticated.caller, &parent)?;
            let scope = Scope::Account(account.0.clone());
            (Wanted::Account(account), scope)
        };
        let mut violations = Violations::default();
        let start = change::parse_start(&mut violations, start);
        let form = change::parse_form(&mut violations, form);
        let (start, form) = violations.finish(start.zip(form))?;
        let permit = self.watches.open(&authenticated.caller.name).map_err(ApiError::from)?;
        let watch = self.history.watch(wanted, start).map_err(ApiError::from)?;
        let standing = self.gate.standing(authenticated, WATCH, scope);
        let (outgoing, messages) = stream::open(standing, self.stopping.clone());
        let revisions = self.history.revisions();
        let position = self.watchers.enter(watch.next().saturating_sub(1));
        let history = self.history.clone();
        let serving = Serving { watch, form, history, revisions, position, _permit: permit };
        self.background.spawn(serving.run(outgoing));
        Ok(Response::new(messages))
    }
}

/// One open watch: reads, sends, waits for the bell.
struct Serving {
    watch: ChangeWatch,
    form: Form,
    history: History,
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
        let Self { mut watch, form, history, mut revisions, position, _permit } = self;
        // The first message says where the watch begins, also if there is nothing to read yet.
        let next = watch.next();
        outgoing.send(change::send_progress((next, next - 1), Vec::new())).await?;
        loop {
            // Looked at before reading, so that what comes meanwhile rings again.
            revisions.mark_unchanged();
            let caller = Arc::clone(outgoing.caller());
            let history = history.clone();
            let (read, progress) = in_background(move || {
                let progress = read(&mut watch, &history, &caller, form);
                (watch, progress)
            })
            .await?;
            watch = read;
            let ((from, through), changes) = progress?;
            if through < from {
                outgoing.wait(revisions.changed()).await?;
            } else {
                outgoing.send(change::send_progress((from, through), changes)).await?;
                position.reach(through);
            }
        }
    }
}

/// Reads on, and tells which revisions were looked at.
fn read(
    watch: &mut ChangeWatch,
    history: &History,
    caller: &Caller,
    form: Form,
) -> Result<((u64, u64), Vec<pb::Change>), ApiError> {
    let Progress { events, from, through } = watch.read(caller)?;
    Ok(((from, through), change::send_all(history, &events, form)?))
}

fn parse_account(caller: &Caller, parent: &str) -> Result<AccountName, ApiError> {
    let account = parse_first("parent", AccountName::parse(parent))?;
    Manager::authorize_account(caller, &account)?;
    Ok(account)
}
