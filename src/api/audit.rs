//! `AuditService`.

mod cursors;
mod serving;

use std::{mem, sync::Arc};

use prost::Message as _;
use tokio::{runtime::Handle, sync::watch};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    audit::{log::AuditLog, record::AuditReadDraft},
    domain::audit_filter::AuditFilter,
    service::{
        audit_reads::AuditReads,
        cursors::Cursors,
        gate::{Gate, Scope},
        proofs::{self as proving, Wanted},
        reading::{self, Bounds, Order, Page, Progress, ReadingError, Start, Watch},
        watches::Watches,
    },
    telemetry::watchers::Watchers,
};

use super::{
    audit_entry::AuditEntry,
    call,
    convert::{
        Violations,
        audit::{self, Form},
        audit_filter::{self, SentBounds},
        page::List,
        proofs,
    },
    pb::{self, audit_service_server::AuditService},
    status::ApiError,
    stream::{self, Messages},
};
use serving::{Carrier, Serving};

const GET: &str = "/aap.v1.AuditService/GetAuditRecord";
const LIST: &str = "/aap.v1.AuditService/ListAuditRecords";
const WATCH: &str = "/aap.v1.AuditService/WatchAuditRecords";

/// Serves `AuditService`. Reading happens on another runtime, for it waits for the disk.
#[derive(Clone, Debug)]
pub struct Audit {
    log: AuditLog,
    background: Handle,
    watches: Watches,
    watchers: Watchers,
    gate: Gate,
    reads: AuditReads,
    cursors: Cursors,
    stopping: watch::Receiver<bool>,
}

impl Audit {
    /// Serves a log and its cursors, in as many watches as may be, from a runtime that may wait for
    /// the disk, to whom the gate lets in, until the server stops.
    pub fn new(
        (log, watches, reads): (AuditLog, Watches, AuditReads),
        cursors: Cursors,
        background: Handle,
        gate: Gate,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let watchers = Watchers::default();
        Self { log, background, watches, watchers, gate, reads, cursors, stopping }
    }

    /// The log's cursors.
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Who watches now.
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// Makes a proof, where waiting for the disk holds up nobody.
    async fn prove<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AuditLog) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let log = self.log.clone();
        self.background.spawn_blocking(move || work(&log)).await.map_err(|_| ApiError::Internal)
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_audit_record(
        &self,
        request: Request<pb::GetAuditRecordRequest>,
    ) -> Result<Response<AuditEntry>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let facts = call::facts(&caller, &metadata, &extensions);
        let pb::GetAuditRecordRequest { sequence, form, log_id } = message;
        let mut violations = Violations::default();
        let form = audit::parse_form(&mut violations, form);
        if sequence == 0 {
            violations.add("sequence", "must be at least 1");
        }
        let log_id = audit::parse_log_id(&mut violations, &log_id);
        let (form, log_id) = violations.finish(form.zip(log_id))?;
        reading::expect_log(&self.log, log_id).map_err(ApiError::from)?;
        let (log, reader) = (self.log.clone(), Arc::clone(&caller));
        let read =
            self.background.spawn_blocking(move || reading::read_one(&log, &reader, sequence));
        let entry = read.await.map_err(|_| ApiError::Internal)?.map_err(ApiError::from)?;
        let (from, through) = (sequence, sequence);
        let read = AuditReadDraft { method: GET, from, through, filter: &[], cursor: "" };
        self.reads.record("", facts, read).await;
        Ok(Response::new(audit::send_entry(self.log.folder(), entry, form)))
    }

    async fn list_audit_records(
        &self,
        request: Request<pb::ListAuditRecordsRequest>,
    ) -> Result<Response<pb::ListAuditRecordsResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let facts = call::facts(&caller, &metadata, &extensions);
        let filter = encode(message.filter.as_ref());
        let (wanted, log_id) = WantedPage::parse(message)?;
        reading::expect_log(&self.log, log_id).map_err(ApiError::from)?;
        let (log, reader) = (self.log.clone(), Arc::clone(&caller));
        // Dropped with the call, so that nobody goes on looking for whom nobody waits.
        let awaited = Arc::new(());
        let alive = Arc::downgrade(&awaited);
        let listed = self.background.spawn_blocking(move || {
            let WantedPage { list, page, filter, bounds, order, form } = wanted;
            let is_awaited = || alive.strong_count() > 0;
            let listed = reading::list(&log, &reader, (&filter, bounds, order), page, &is_awaited)?;
            Ok((listed.scanned, audit::send_page(&log, listed, form, &list)))
        });
        let listed: Result<_, ReadingError> = listed.await.map_err(|_| ApiError::Internal)?;
        drop(awaited);
        let ((from, through), listed) = listed.map_err(ApiError::from)?;
        let read = AuditReadDraft { method: LIST, from, through, filter: &filter, cursor: "" };
        self.reads.record("", facts, read).await;
        Ok(Response::new(listed))
    }

    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::Checkpoint>, Status> {
        let (metadata, _, message) = request.into_parts();
        let wanted = proofs::parse_checkpoint(message)?;
        let patience = call::patience(&metadata);
        let checkpoint = match wanted {
            Wanted::Covering(size) => proving::covering(&self.log, size, patience).await,
            Wanted::Last | Wanted::OfSize(_) => {
                self.prove(move |log| proving::find(log, wanted)).await?
            }
        };
        let checkpoint = checkpoint.map_err(ApiError::from)?;
        Ok(Response::new(proofs::send_checkpoint(&self.log, &checkpoint)))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<pb::GetInclusionProofRequest>,
    ) -> Result<Response<pb::InclusionProof>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = Arc::clone(call::caller(&extensions)?);
        let (sequence, size) = proofs::parse_inclusion(message)?;
        let proof = self.prove(move |log| proving::inclusion(log, &caller, sequence, size)).await?;
        let proof = proof.map_err(ApiError::from)?;
        Ok(Response::new(proofs::send_inclusion(&self.log, proof)))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<pb::GetConsistencyProofRequest>,
    ) -> Result<Response<pb::ConsistencyProof>, Status> {
        let (from, to) = proofs::parse_consistency(request.into_inner())?;
        let proof = self.prove(move |log| proving::consistency(log, from, to)).await?;
        let proof = proof.map_err(ApiError::from)?;
        Ok(Response::new(proofs::send_consistency(&self.log, proof)))
    }

    type WatchAuditRecordsStream = Messages<pb::WatchAuditRecordsResponse>;

    async fn watch_audit_records(
        &self,
        request: Request<pb::WatchAuditRecordsRequest>,
    ) -> Result<Response<Self::WatchAuditRecordsStream>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let authenticated = call::authenticated(&extensions)?.clone();
        let pb::WatchAuditRecordsRequest { form, start, filter, log_id } = message;
        let encoded = encode(filter.as_ref());
        let mut violations = Violations::default();
        let form = audit::parse_form(&mut violations, form);
        let start = audit::parse_start(&mut violations, start);
        let filter = audit_filter::parse(&mut violations, filter);
        let log_id = audit::parse_log_id(&mut violations, &log_id);
        let parsed = form.zip(start).zip(filter).zip(log_id);
        let (((form, start), filter), log_id) = violations.finish(parsed)?;
        reading::expect_log(&self.log, log_id).map_err(ApiError::from)?;
        let permit = self.watches.open(&authenticated.caller.name).map_err(ApiError::from)?;
        let log = self.log.clone();
        let watch = self.background.spawn_blocking(move || Watch::begin(&log, start, filter));
        let mut watch = watch.await.map_err(|_| ApiError::Internal)?.map_err(ApiError::from)?;
        let (method, from) = (WATCH, watch.next());
        let read = AuditReadDraft { method, from, through: 0, filter: &encoded, cursor: "" };
        let facts = call::facts(&authenticated.caller, &metadata, &extensions);
        self.reads.record("", facts, read).await;
        if start == Start::End {
            // Behind the record that says so.
            watch.skip_to_end();
        }
        let standing = self.gate.standing(authenticated, WATCH, Scope::Bound);
        let (outgoing, messages) = stream::open(standing, self.stopping.clone());
        let synced = self.log.synced();
        let position = self.watchers.enter(watch.next().saturating_sub(1));
        let carrier = Plain { log: self.log.clone(), form };
        let pace = self.watches.pace();
        let serving = Serving { watch, carrier, synced, position, pace, permit };
        self.background.spawn(serving.run(outgoing));
        Ok(Response::new(messages))
    }

    async fn create_audit_cursor(
        &self,
        request: Request<pb::CreateAuditCursorRequest>,
    ) -> Result<Response<pb::AuditCursor>, Status> {
        Ok(self.create_cursor(request).await?)
    }

    async fn get_audit_cursor(
        &self,
        request: Request<pb::GetAuditCursorRequest>,
    ) -> Result<Response<pb::AuditCursor>, Status> {
        Ok(self.get_cursor(request)?)
    }

    async fn list_audit_cursors(
        &self,
        request: Request<pb::ListAuditCursorsRequest>,
    ) -> Result<Response<pb::ListAuditCursorsResponse>, Status> {
        Ok(self.list_cursors(request)?)
    }

    async fn delete_audit_cursor(
        &self,
        request: Request<pb::DeleteAuditCursorRequest>,
    ) -> Result<Response<()>, Status> {
        Ok(self.delete_cursor(request).await?)
    }

    type ReadAuditCursorStream = Messages<pb::ReadAuditCursorResponse>;

    async fn read_audit_cursor(
        &self,
        request: Request<pb::ReadAuditCursorRequest>,
    ) -> Result<Response<Self::ReadAuditCursorStream>, Status> {
        Ok(self.read_cursor(request).await?)
    }

    async fn acknowledge_audit_cursor(
        &self,
        request: Request<pb::AcknowledgeAuditCursorRequest>,
    ) -> Result<Response<pb::AcknowledgeAuditCursorResponse>, Status> {
        Ok(self.acknowledge_cursor(request).await?)
    }
}

/// A filter as records of reads have it.
fn encode(filter: Option<&pb::AuditRecordFilter>) -> Vec<u8> {
    filter.map(pb::AuditRecordFilter::encode_to_vec).unwrap_or_default()
}

/// What a page of a list is made by.
struct WantedPage {
    list: List,
    page: Page,
    filter: AuditFilter,
    bounds: Bounds,
    order: Order,
    form: Form,
}

impl WantedPage {
    /// And the log that it is of, if that is said.
    fn parse(mut message: pb::ListAuditRecordsRequest) -> Result<(Self, Option<Uuid>), ApiError> {
        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListAuditRecords", &message);
        let pb::ListAuditRecordsRequest {
            page_size: _,
            page_token: _,
            filter,
            order,
            from_sequence: from,
            through_sequence: through,
            start_time: start,
            end_time: end,
            form,
            log_id,
        } = message;
        let mut violations = Violations::default();
        let log_id = audit::parse_log_id(&mut violations, &log_id);
        let place = list.parse_place(&mut violations, (size, &token), audit_filter::parse_place);
        let filter = audit_filter::parse(&mut violations, filter);
        let order = audit_filter::parse_order(&mut violations, order);
        let bounds = SentBounds { from, through, start, end };
        let bounds = audit_filter::parse_bounds(&mut violations, bounds);
        let form = audit::parse_form(&mut violations, form);
        let parsed = place.zip(filter).zip(order).zip(bounds).zip(form).zip(log_id);
        let ((((((size, place), filter), order), bounds), form), log_id) =
            violations.finish(parsed)?;
        Ok((Self { list, page: Page { place, size }, filter, bounds, order, form }, log_id))
    }
}

/// The messages of `WatchAuditRecords`.
struct Plain {
    log: AuditLog,
    form: Form,
}

impl Carrier for Plain {
    type Message = pb::WatchAuditRecordsResponse;

    fn carry(&mut self, progress: Progress) -> Self::Message {
        audit::send_progress(&self.log, progress, self.form)
    }

    fn carry_missing(&mut self, _from: u64, _through: u64) -> Option<Self::Message> {
        None
    }
}
