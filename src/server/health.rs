//! What `grpc.health.v1.Health` says: whether each service can do its work.

use tokio::sync::watch;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthApi, HealthServer},
    server::HealthReporter,
};

use crate::{audit::log::AuditCondition, store::writer::JournalCondition};

/// Services that need the audit log.
const RECORDING: &[&str] = &["aap.v1.AuthorizationService"];
/// Services that need the journal.
const CHANGING: &[&str] = &[
    "aap.v1.AccessPointService",
    "aap.v1.PolicyService",
    "aap.v1.RamRoleService",
    "aap.v1.ChangeService",
];
/// Services that only read.
const READING: &[&str] = &["aap.v1.AuditService"];
/// The server as a whole.
const WHOLE: &str = "";

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

    /// Follows the logs' conditions until the server stops.
    pub(super) async fn follow(
        self,
        mut audit: watch::Receiver<AuditCondition>,
        mut journal: watch::Receiver<JournalCondition>,
        mut stopping: watch::Receiver<bool>,
    ) {
        loop {
            let stops = *stopping.borrow_and_update();
            let records = *audit.borrow_and_update() == AuditCondition::Working && !stops;
            let changes = *journal.borrow_and_update() == JournalCondition::Working && !stops;
            self.set(RECORDING, records).await;
            self.set(CHANGING, changes).await;
            self.set(READING, !stops).await;
            self.set(&[WHOLE], records && changes).await;
            if stops {
                return;
            }
            let changed = tokio::select! {
                changed = audit.changed() => changed,
                changed = journal.changed() => changed,
                changed = stopping.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    async fn set(&self, services: &[&str], works: bool) {
        let status = if works { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in services {
            self.reporter.set_service_status(*service, status).await;
        }
    }
}
