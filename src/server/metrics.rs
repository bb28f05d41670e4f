//! Asks every part of the server what its metrics say.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    api::observed,
    audit::log::AuditLog,
    clock::Clock,
    projection::Published,
    service::{
        cursors::Cursors,
        key_notices::EndingKeys,
        refusals::Refusals,
        sessions::{Shared, counts::Count},
    },
    store::space::Space,
    telemetry::{
        instruments as i,
        meters::{CODE_NAMES, CODES, JournalMeters, Meters},
        reading::{Attribute, Metric},
        trace::SpanCounts,
        watchers::Watchers,
    },
};

use super::{Parts, accept::Usher, grpc::Doors, health::Conditions, process};

/// Everything that metrics are read from.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    node_id: Uuid,
    meters: Meters,
    published: Arc<Published>,
    log: AuditLog,
    journal: Arc<JournalMeters>,
    refusals: Refusals,
    sessions: Arc<Shared>,
    space: Arc<Space>,
    usher: Usher,
    audit_watchers: Watchers,
    change_watchers: Watchers,
    cursors: Cursors,
    spans: Arc<SpanCounts>,
    ending_keys: Arc<EndingKeys>,
    pub(super) conditions: Conditions,
    pub(super) clock: Clock,
    /// When it began to serve.
    began: Duration,
}

impl Sources {
    /// Everything there is, if it is counted.
    pub(super) fn of(parts: &Parts, doors: &Doors, conditions: Conditions) -> Option<Self> {
        let (audit_watchers, change_watchers) = doors.watchers();
        let clock = parts.settings.clock.clone();
        Some(Self {
            node_id: parts.data_dir.identity().node_id,
            meters: parts.meters.clone()?,
            published: Arc::clone(&parts.published),
            log: parts.log.clone(),
            journal: Arc::clone(&parts.journal_meters),
            refusals: parts.refusals.clone(),
            sessions: Arc::clone(doors.sessions()),
            space: Arc::clone(&parts.space),
            usher: doors.usher().clone(),
            audit_watchers,
            change_watchers,
            cursors: doors.cursors().clone(),
            spans: parts.tracer.as_ref().map(|one| Arc::clone(one.counts())).unwrap_or_default(),
            ending_keys: Arc::clone(&parts.keys.ending),
            conditions,
            began: clock.elapsed(),
            clock,
        })
    }

    /// What the process is.
    pub(super) fn resource(&self) -> Vec<Attribute> {
        vec![
            ("service.name", "aap".into()),
            ("service.version", env!("CARGO_PKG_VERSION").into()),
            ("service.instance.id", self.node_id.to_string().into()),
        ]
    }

    /// What all instruments say now.
    pub(super) fn read(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        metrics.extend(self.read_calls());
        metrics.extend(self.read_sessions());
        metrics.extend(self.read_logs());
        metrics.extend(self.read_soundness());
        metrics.extend(self.read_watchers());
        metrics.push(self.read_keys());
        metrics.push(self.read_spans());
        metrics.extend(self.read_machine());
        metrics
    }

    fn read_calls(&self) -> [Metric; 3] {
        let pairs = (0..observed::METHOD_COUNT)
            .flat_map(|method| (0..CODES).map(move |code| (method, code)));
        let calls = pairs.filter_map(|(method, code)| {
            let attributes = vec![
                ("rpc.system.name", "grpc".into()),
                ("rpc.method", observed::method_name(method).into()),
                ("rpc.response.status_code", CODE_NAMES.get(code).copied()?.into()),
            ];
            Some((attributes, self.meters.calls(method, code)?))
        });
        let decisions = self.meters.decisions().map(|(outcome, reason, count)| {
            (vec![("aap.outcome", outcome.into()), ("aap.reason", reason.into())], count)
        });
        let rejected = CODE_NAMES.into_iter().zip(self.refusals.counts());
        // The two that always can be are told from the start.
        let rejected = rejected.filter(|(name, count)| {
            *count > 0 || ["PERMISSION_DENIED", "UNAUTHENTICATED"].contains(name)
        });
        let rejected =
            rejected.map(|(name, count)| (vec![("rpc.response.status_code", name.into())], count));
        [
            Metric::by(&i::CALL_DURATION, calls),
            Metric::by(&i::DECISIONS, decisions),
            Metric::by(&i::CALLS_REJECTED, rejected),
        ]
    }

    fn read_sessions(&self) -> [Metric; 3] {
        let counts = &self.sessions.counts;
        let requests = counts.requests().map(|Count { proof, outcome, reason, count }| {
            let attributes = vec![
                ("aap.proof", proof.into()),
                ("aap.outcome", outcome.into()),
                ("aap.reason", reason.into()),
            ];
            (attributes, count)
        });
        [
            Metric::one(&i::SESSIONS, counts.lasting(self.clock.now())),
            Metric::by(&i::SESSION_REQUESTS, requests),
            Metric::one(&i::SESSION_REVOCATIONS, self.journal.revocations.read()),
        ]
    }

    fn read_logs(&self) -> [Metric; 10] {
        let (audit, journal) = (self.log.meters(), &self.journal);
        let (_, records) = self.log.bounds();
        [
            Metric::one(&i::AUDIT_RECORDS, records),
            Metric::one(&i::AUDIT_LAG, self.log.lag().as_secs_f64()),
            Metric::one(&i::AUDIT_BATCH_SIZE, audit.batches.read()),
            Metric::one(&i::AUDIT_SYNC_DURATION, audit.syncs.read()),
            Metric::one(&i::AUDIT_COMMIT_DURATION, audit.waits.read()),
            Metric::one(&i::AUDIT_AVAILABLE, self.conditions.can_record()),
            Metric::one(&i::JOURNAL_REVISION, self.published.load().revision()),
            Metric::one(&i::JOURNAL_BATCH_SIZE, journal.batches.read()),
            Metric::one(&i::JOURNAL_SYNC_DURATION, journal.syncs.read()),
            Metric::one(&i::JOURNAL_AVAILABLE, self.conditions.can_change()),
        ]
    }

    fn read_soundness(&self) -> [Metric; 5] {
        let soundness = &self.conditions.soundness;
        let damaged =
            soundness.damaged().map(|(log, count)| (vec![("aap.log", log.into())], count));
        [
            Metric::one(&i::AUDIT_SERVED_DAMAGED, soundness.is_served_damaged()),
            Metric::one(&i::SCRUB_RECORD, soundness.record()),
            Metric::one(&i::SCRUB_READ, soundness.bytes()),
            Metric::one(&i::SCRUB_FINISHED, soundness.finished()),
            Metric::by(&i::SCRUB_DAMAGED, damaged),
        ]
    }

    fn read_watchers(&self) -> [Metric; 5] {
        let (_, records) = self.log.bounds();
        let revision = self.published.load().revision();
        let logs = [
            ("audit", self.audit_watchers.read(), records),
            ("journal", self.change_watchers.read(), revision),
        ];
        let by_log = |name: &'static str| vec![("aap.log", name.into())];
        let counts = logs.map(|(name, following, _)| (by_log(name), following.count));
        let lags = logs.map(|(name, following, last)| {
            (by_log(name), following.slowest.map_or(0, |slowest| last.saturating_sub(slowest)))
        });
        let (cursors, lag) = self.cursors.lag();
        [
            Metric::by(&i::WATCHERS, counts),
            Metric::by(&i::WATCHERS_LAG, lags),
            Metric::one(&i::CURSORS, cursors),
            Metric::one(&i::CURSORS_AVAILABLE, self.conditions.can_move_cursors()),
            Metric::one(&i::CURSORS_LAG, lag),
        ]
    }

    fn read_keys(&self) -> Metric {
        let ending = self.ending_keys.read();
        let by_days = ending
            .map(|(notice, count)| (vec![("aap.days", notice.days().to_string().into())], count));
        Metric::by(&i::CLIENT_KEYS_ENDING, by_days)
    }

    fn read_spans(&self) -> Metric {
        let SpanCounts { sent, queue_full, not_sent } = &*self.spans;
        let fates = [("sent", sent), ("queue_full", queue_full), ("not_sent", not_sent)];
        let by_fate = fates.map(|(fate, count)| (vec![("aap.fate", fate.into())], count.read()));
        Metric::by(&i::SPANS, by_fate)
    }

    fn read_machine(&self) -> Vec<Metric> {
        let (open, limit) = self.usher.connections();
        let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let away = self.usher.turned_away();
        let away = away.map(|(reason, count)| (vec![("error.type", reason.into())], count));
        let (free, size) = self.space.bytes();
        let uptime = self.clock.elapsed().saturating_sub(self.began);
        let mut metrics = vec![
            Metric::one(&i::CONNECTIONS, whole(open)),
            Metric::one(&i::CONNECTIONS_LIMIT, whole(limit)),
            Metric::by(&i::CONNECTIONS_TURNED_AWAY, away),
            Metric::one(&i::DISK_FREE, free),
            Metric::one(&i::DISK_SIZE, size),
        ];
        metrics.extend(process::read());
        metrics.push(Metric::one(&i::UPTIME, uptime.as_secs_f64()));
        metrics
    }
}
