//! The cursors of `AuditService`: records under a lease, and what comes of it.

use std::{mem, sync::Arc};

use prost::Message as _;
use tonic::{Request, Response};

use crate::{
    api::{
        call,
        convert::{
            Violations,
            audit::{self, Form},
            audit_cursor, audit_filter,
            page::List,
        },
        pb,
        status::ApiError,
        stream::{self, Messages, Outgoing, Over},
    },
    audit::{log::AuditLog, record::AuditReadDraft},
    domain::{
        audit_cursor::{AcknowledgeError, Missed, NotFound, Sent},
        name::{AuditCursorName, AuditCursorParent},
        room::MAX_ANSWER_BYTES,
    },
    service::{
        cursors::{self, CursorError, Reading},
        gate::Scope,
        reading::Progress,
    },
    store::{
        cursors::keeper::{HeldLease, KeeperError, LeaseEnd, Sending},
        writer::Mode,
    },
};

use super::{
    Audit,
    serving::{Carrier, Serving, nothing},
};

const READ: &str = "/aap.v1.AuditService/ReadAuditCursor";
/// About what a resource in a list has besides itself.
const ITEM_BYTES: usize = 8;

impl Audit {
    pub(super) async fn create_cursor(
        &self,
        request: Request<pb::CreateAuditCursorRequest>,
    ) -> Result<Response<pb::AuditCursor>, ApiError> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let parent = audit_cursor::parse_parent(&message.parent)?;
        cursors::authorize(&caller, &parent)?;
        let (new, manner) = audit_cursor::parse_new(&parent, message)?;
        let mode = manner.mode;
        let created = self.cursors.create(&caller, new, manner).await?;
        Ok(Response::new(audit_cursor::send(&created, mode)))
    }

    pub(super) fn get_cursor(
        &self,
        request: Request<pb::GetAuditCursorRequest>,
    ) -> Result<Response<pb::AuditCursor>, ApiError> {
        let (_, extensions, pb::GetAuditCursorRequest { name }) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = audit_cursor::parse_name(&name)?;
        let found = self.cursors.get(caller, &name)?;
        Ok(Response::new(audit_cursor::send(&found, Mode::Apply)))
    }

    pub(super) fn list_cursors(
        &self,
        request: Request<pb::ListAuditCursorsRequest>,
    ) -> Result<Response<pb::ListAuditCursorsResponse>, ApiError> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let parent = audit_cursor::parse_parent(&message.parent)?;
        cursors::authorize(caller, &parent)?;
        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListAuditCursors", &message);
        let pb::ListAuditCursorsRequest { parent: _, page_size: _, page_token: _ } = message;
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, size, &token);
        let page = violations.finish(page)?;
        let (listed, mut next) = self.cursors.list(caller, &parent, page)?;
        let (mut audit_cursors, mut bytes) = (Vec::new(), 0);
        let mut last = None;
        for shown in &listed {
            let sent = audit_cursor::send(shown, Mode::Apply);
            bytes += sent.encoded_len() + ITEM_BYTES;
            if bytes > MAX_ANSWER_BYTES && last.is_some() {
                next = last;
                break;
            }
            last = Some(shown.cursor.definition.name.id.clone());
            audit_cursors.push(sent);
        }
        let next_page_token = list.token(next);
        Ok(Response::new(pb::ListAuditCursorsResponse { audit_cursors, next_page_token }))
    }

    pub(super) async fn delete_cursor(
        &self,
        request: Request<pb::DeleteAuditCursorRequest>,
    ) -> Result<Response<()>, ApiError> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let name = audit_cursor::parse_name(&message.name)?;
        cursors::authorize_one(&caller, &name)?;
        let (uid, mode) = audit_cursor::parse_deletion(message)?;
        self.cursors.delete(&caller, (name, uid), mode).await?;
        Ok(Response::new(()))
    }

    pub(super) async fn read_cursor(
        &self,
        request: Request<pb::ReadAuditCursorRequest>,
    ) -> Result<Response<Messages<pb::ReadAuditCursorResponse>>, ApiError> {
        let (metadata, extensions, message) = request.into_parts();
        let authenticated = call::authenticated(&extensions)?.clone();
        let name = audit_cursor::parse_name(&message.name)?;
        cursors::authorize_one(&authenticated.caller, &name)?;
        let (form, lease) = audit_cursor::parse_reading(message)?;
        let permit = self.watches.open(&authenticated.caller.name)?;
        let begun = self.cursors.begin(&authenticated.caller, name.clone(), lease).await?;
        let Reading { cursor, lease, watch, missed } = begun;
        let (account, scope) = match &name.parent {
            AuditCursorParent::All => ("", Scope::Bound),
            AuditCursorParent::Account(account) => {
                (account.as_str(), Scope::Account(account.clone()))
            }
        };
        let filter = audit_filter::send(&cursor.definition.filter).encode_to_vec();
        let (from, cursor) = (watch.next(), name.to_string());
        let read =
            AuditReadDraft { method: READ, from, through: 0, filter: &filter, cursor: &cursor };
        let facts = call::facts(&authenticated.caller, &metadata, &extensions);
        self.reads.record(account, facts, read).await;
        let standing = self.gate.standing(authenticated, READ, scope);
        let (outgoing, messages) = stream::open(standing, self.stopping.clone());
        let carrier = Leased {
            log: self.log.clone(),
            form,
            sending: lease.sending(),
            first: Some(First { lease_token: lease.token().0.to_string(), missed }),
        };
        let (synced, position) = (self.log.synced(), self.watchers.enter(from - 1));
        let pace = self.watches.pace();
        let serving = Serving { watch, carrier, synced, position, pace, permit };
        self.background.spawn(run(serving, (name, lease), outgoing));
        Ok(Response::new(messages))
    }

    pub(super) async fn acknowledge_cursor(
        &self,
        request: Request<pb::AcknowledgeAuditCursorRequest>,
    ) -> Result<Response<pb::AcknowledgeAuditCursorResponse>, ApiError> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let name = audit_cursor::parse_name(&message.name)?;
        cursors::authorize_one(&caller, &name)?;
        let acknowledgement = audit_cursor::parse_acknowledgement(name, message)?;
        let progress = self.cursors.acknowledge(&caller, acknowledgement).await?;
        Ok(Response::new(pb::AcknowledgeAuditCursorResponse {
            log_id: progress.log_id.to_string(),
            acknowledged_through: progress.through,
        }))
    }
}

/// Serves a read until it is over, or its lease is.
async fn run(
    serving: Serving<Leased>,
    (name, mut lease): (AuditCursorName, HeldLease),
    mut outgoing: Outgoing<pb::ReadAuditCursorResponse>,
) {
    let over = tokio::select! {
        biased;
        end = lease.lost() => over(end, name),
        served = serving.follow(&mut outgoing) => {
            let Err(over) = served;
            over
        }
    };
    // Before its reader is told, so that the lease's time has begun when it knows.
    drop(lease);
    outgoing.end(over);
}

/// What a reader is told whose lease is over.
fn over(end: LeaseEnd, name: AuditCursorName) -> Over {
    let error = match end {
        LeaseEnd::Released => return Over::Gone,
        LeaseEnd::TakenOver => CursorError::Acknowledge(AcknowledgeError::LeaseLost(name)),
        LeaseEnd::Deleted => NotFound(name).into(),
        LeaseEnd::Unavailable => CursorError::Keeper(KeeperError::Unavailable),
    };
    Over::Failed(error.into())
}

/// The messages of `ReadAuditCursor`.
struct Leased {
    log: AuditLog,
    form: Form,
    sending: Sending,
    /// What the first message has besides; `None` when it was sent.
    first: Option<First>,
}

struct First {
    lease_token: String,
    missed: Vec<Missed>,
}

impl Leased {
    fn message(
        &mut self,
        progress: Progress,
        (lease_token, missed): (String, Vec<Missed>),
    ) -> pb::ReadAuditCursorResponse {
        let told = missed.iter().map(audit_cursor::send_missed).collect();
        self.sending.note(Sent { through: progress.through, missed });
        let pb::WatchAuditRecordsResponse { entries, scanned, log_id } =
            audit::send_progress(&self.log, progress, self.form);
        pb::ReadAuditCursorResponse { entries, scanned, log_id, lease_token, missed: told }
    }
}

impl Carrier for Leased {
    type Message = pb::ReadAuditCursorResponse;

    fn carry(&mut self, progress: Progress) -> Self::Message {
        let first = self.first.take().map(|First { lease_token, missed }| (lease_token, missed));
        self.message(progress, first.unwrap_or_default())
    }

    fn carry_missing(&mut self, from: u64, through: u64) -> Option<Self::Message> {
        let log_id = uuid::Uuid::parse_str(self.log.id()).ok()?;
        let missed = vec![Missed { log_id, from, through: Some(through) }];
        Some(self.message(nothing(through + 1, through), (String::new(), missed)))
    }
}
