//! Whether the server lives and is ready: `grpc.health.v1.Health`, and what others go by.
//!
//! *Ready* is who can do all its work now. *Alive* is also who can't but may yet: a restart would
//! help only where a log has failed for good.

use std::{fmt, sync::Arc};

use tokio::sync::watch;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthApi, HealthServer},
    server::HealthReporter,
};

use crate::{audit::log::AuditCondition, store::writer::JournalCondition};

use super::scrub::Soundness;

/// Services that need the audit log.
const RECORDING: &[&str] = &["aap.v1.AuthorizationService", "aap.v1.SessionService"];
/// Services that need the journal.
const CHANGING: &[&str] = &[
    "aap.v1.AccessPointService",
    "aap.v1.PolicyService",
    "aap.v1.RamRoleService",
    "aap.v1.ChangeService",
];
/// Services that only read.
const READING: &[&str] = &["aap.v1.AuditService", "aap.v1.BackupService"];
/// The server as a whole: whether it is ready, under its usual name and one that says so.
const READY: &[&str] = &["", "readyz"];
/// Whether the server lives.
const ALIVE: &[&str] = &["livez"];

/// What the server's health follows from. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) audit: watch::Receiver<AuditCondition>,
    pub(super) journal: watch::Receiver<JournalCondition>,
    /// Whether cursors of the audit log can be written.
    pub(super) cursors: watch::Receiver<JournalCondition>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) soundness: Arc<Soundness>,
}

/// An answer to what is asked about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
}

impl Answer {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Conditions {
    /// Whether decisions can be recorded.
    pub(super) fn can_record(&self) -> bool {
        *self.audit.borrow() == AuditCondition::Working
    }

    /// Whether changes can be written.
    pub(super) fn can_change(&self) -> bool {
        *self.journal.borrow() == JournalCondition::Working
    }

    /// Whether cursors of the audit log can be written.
    pub(super) fn can_move_cursors(&self) -> bool {
        *self.cursors.borrow() == JournalCondition::Working
    }

    /// Whether the server stops.
    pub(super) fn stops(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether it can do all its work now.
    pub(super) fn is_ready(&self) -> Answer {
        let can_write = self.can_record() && self.can_change() && self.can_move_cursors();
        Answer::of(can_write && !self.stops())
    }

    /// Whether it can do its work, now or later, without a restart.
    pub(super) fn lives(&self) -> Answer {
        let has_failed = matches!(*self.audit.borrow(), AuditCondition::Failed { .. })
            || matches!(*self.journal.borrow(), JournalCondition::Failed { .. })
            || matches!(*self.cursors.borrow(), JournalCondition::Failed { .. });
        Answer::of(!has_failed)
    }

    /// Waits until something has changed, also when some of it can't any more; false if nothing will.
    pub(super) async fn changed(&mut self) -> bool {
        tokio::select! {
            Ok(()) = self.audit.changed() => true,
            Ok(()) = self.journal.changed() => true,
            Ok(()) = self.cursors.changed() => true,
            Ok(()) = self.stopping.changed() => true,
            else => false,
        }
    }
}

impl fmt::Display for Conditions {
    /// For people: without what the disk said, which is in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = match *self.audit.borrow() {
            AuditCondition::Working => "working",
            AuditCondition::Stalled => "stalled: the disk doesn't answer",
            AuditCondition::Failed { .. } => "failed: checks are refused until a restart",
        };
        let journal = match *self.journal.borrow() {
            JournalCondition::Working => "working",
            JournalCondition::Failed { .. } => "failed: changes are refused until a restart",
        };
        let cursors = match *self.cursors.borrow() {
            JournalCondition::Working => "working",
            JournalCondition::Failed { .. } => "failed: nobody reads by one until a restart",
        };
        let process = if self.stops() { "stopping" } else { "serving" };
        writeln!(f, "audit log: {audit}\njournal: {journal}\naudit cursors: {cursors}")?;
        writeln!(f, "process: {process}")?;
        let [(_, records), (_, events)] = self.soundness.damaged();
        let is_served = self.soundness.is_served_damaged();
        let served = if is_served { ", and served all the same" } else { "" };
        match records + events {
            0 if served.is_empty() => writeln!(f, "damage: none is known"),
            places => writeln!(f, "damage: {places} places are known, as the log says{served}"),
        }
    }
}

/// The health of the server.
#[derive(Clone, Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { reporter: HealthReporter::new() }
    }

    /// The service that tells it.
    pub(super) fn service(&self) -> HealthServer<impl HealthApi> {
        HealthServer::new(tonic_health::server::HealthService::from_health_reporter(
            self.reporter.clone(),
        ))
    }

    /// Follows the conditions until the server stops.
    pub(super) async fn follow(self, mut conditions: Conditions) {
        loop {
            let stops = *conditions.stopping.borrow_and_update();
            conditions.audit.mark_unchanged();
            conditions.journal.mark_unchanged();
            conditions.cursors.mark_unchanged();
            self.set(RECORDING, Answer::of(conditions.can_record() && !stops)).await;
            self.set(CHANGING, Answer::of(conditions.can_change() && !stops)).await;
            self.set(READING, Answer::of(!stops)).await;
            self.set(ALIVE, conditions.lives()).await;
            self.set(READY, conditions.is_ready()).await;
            if stops || !conditions.changed().await {
                return;
            }
        }
    }

    async fn set(&self, services: &[&str], answer: Answer) {
        let status = match answer {
            Answer::Yes => ServingStatus::Serving,
            Answer::No => ServingStatus::NotServing,
        };
        for service in services {
            self.reporter.set_service_status(*service, status).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Request;
    use tonic_health::pb::HealthCheckRequest;

    use super::*;

    fn conditions(
        audit: AuditCondition,
        (journal, cursors): (JournalCondition, JournalCondition),
        stops: bool,
    ) -> (Answer, Answer) {
        let conditions = Conditions {
            audit: watch::Sender::new(audit).subscribe(),
            journal: watch::Sender::new(journal).subscribe(),
            cursors: watch::Sender::new(cursors).subscribe(),
            stopping: watch::Sender::new(stops).subscribe(),
            soundness: Arc::default(),
        };
        (conditions.lives(), conditions.is_ready())
    }

    #[tokio::test]
    async fn what_can_change_no_more_keeps_nobody_from_following_the_rest() {
        let (audit, journal) = (AuditCondition::Working, JournalCondition::Working);
        let (audit, stopping) = (watch::Sender::new(audit), watch::Sender::new(false));
        let conditions = Conditions {
            audit: audit.subscribe(),
            journal: watch::Sender::new(journal.clone()).subscribe(),
            cursors: watch::Sender::new(journal).subscribe(),
            stopping: stopping.subscribe(),
            soundness: Arc::default(),
        };
        let health = Health::new();
        let service =
            tonic_health::server::HealthService::from_health_reporter(health.reporter.clone());
        let follows = tokio::spawn(health.follow(conditions));
        let told = async |service_name: &str, wanted: ServingStatus| {
            let asked = HealthCheckRequest { service: service_name.to_owned() };
            let is_told = async {
                while !service
                    .check(Request::new(asked.clone()))
                    .await
                    .is_ok_and(|answer| answer.into_inner().status() == wanted.into())
                {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), is_told).await.expect(service_name);
        };
        told("readyz", ServingStatus::Serving).await;
        audit.send_replace(AuditCondition::Failed { reason: "it".into() });
        told("livez", ServingStatus::NotServing).await;
        stopping.send_replace(true);
        told("aap.v1.AuditService", ServingStatus::NotServing).await;
        follows.await.unwrap();
    }

    #[test]
    fn what_only_a_restart_helps_is_not_alive_and_what_may_pass_is_not_ready() {
        use Answer::{No, Yes};
        let audit_failed = || AuditCondition::Failed { reason: "it".into() };
        let journal_failed = || JournalCondition::Failed { reason: "it".into() };
        let write = || (JournalCondition::Working, JournalCondition::Working);
        let works = || (AuditCondition::Working, write());
        for ((audit, journal), stops, lives, is_ready) in [
            (works(), false, Yes, Yes),
            (works(), true, Yes, No),
            ((AuditCondition::Stalled, write()), false, Yes, No),
            ((audit_failed(), write()), false, No, No),
            ((AuditCondition::Working, (journal_failed(), write().1)), false, No, No),
            ((AuditCondition::Working, (write().0, journal_failed())), false, No, No),
        ] {
            let case = format!("{audit:?} {journal:?} {stops}");
            assert_eq!(conditions(audit, journal, stops), (lives, is_ready), "{case}");
        }
    }
}
