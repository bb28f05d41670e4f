//! The gRPC door: the only code that knows tonic and the public messages.
//!
//! The way of a call: [`admission`] (who calls, and may they) → a service's file (one for each
//! service of the API) → [`convert`] (messages to the domain's types and back) → `service` →
//! [`status`] (the one table from errors to statuses). Handlers hold no rules.

pub mod admission;
pub mod audit_entry;
pub mod call;
pub mod codec;
pub mod convert;
pub mod observed;
pub mod pb;
pub mod routes;
pub mod status;
pub mod stream;

mod access_points;
mod audit;
mod authorization;
mod backups;
mod changes;
mod check_stream;
mod policies;
mod ram_roles;
mod sessions;

use tonic::Request;

use crate::{domain::event::Event, service::management::Manager, store::writer::Mode};

use admission::MAX_MESSAGE_BYTES;
use convert::mutation::{self, Mutation};
use pb::{
    access_point_service_server::AccessPointServiceServer,
    audit_service_server::AuditServiceServer,
    authorization_service_server::AuthorizationServiceServer,
    backup_service_server::BackupServiceServer, change_service_server::ChangeServiceServer,
    policy_service_server::PolicyServiceServer, ram_role_service_server::RamRoleServiceServer,
    session_service_server::SessionServiceServer,
};
use routes::Routes;
use status::ApiError;

pub use access_points::AccessPoints;
pub use audit::Audit;
pub use authorization::Authorization;
pub use backups::Backups;
pub use changes::Changes;
pub use policies::Policies;
pub use ram_roles::RamRoles;
pub use sessions::SessionGranting;

/// The services of the API.
#[derive(Clone, Debug)]
pub struct Services {
    /// `AccessPointService`.
    pub access_points: AccessPoints,
    /// `PolicyService`.
    pub policies: Policies,
    /// `RamRoleService`.
    pub ram_roles: RamRoles,
    /// `ChangeService`.
    pub changes: Changes,
    /// `AuthorizationService`.
    pub authorization: Authorization,
    /// `SessionService`.
    pub sessions: SessionGranting,
    /// `AuditService`.
    pub audit: Audit,
    /// `BackupService`.
    pub backups: Backups,
}

impl Services {
    /// Adds them to what is served. [`admission`] must stand before them.
    pub fn add_to(self, routes: &mut Routes) {
        let Self {
            access_points,
            policies,
            ram_roles,
            changes,
            authorization,
            sessions,
            audit,
            backups,
        } = self;
        let limit = MAX_MESSAGE_BYTES;
        routes
            .add_service(
                AuthorizationServiceServer::new(authorization).max_decoding_message_size(limit),
            )
            .add_service(
                AccessPointServiceServer::new(access_points).max_decoding_message_size(limit),
            )
            .add_service(PolicyServiceServer::new(policies).max_decoding_message_size(limit))
            .add_service(RamRoleServiceServer::new(ram_roles).max_decoding_message_size(limit))
            .add_service(ChangeServiceServer::new(changes).max_decoding_message_size(limit))
            .add_service(SessionServiceServer::new(sessions).max_decoding_message_size(limit))
            .add_service(AuditServiceServer::new(audit).max_decoding_message_size(limit))
            .add_service(BackupServiceServer::new(backups).max_decoding_message_size(limit));
    }
}

/// The API's descriptors with their comments, as reflection serves them.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/aap.v1.descriptor.bin"));

/// Has one change made, or judged.
async fn change<M: Mutation>(
    manager: &Manager,
    request: Request<M>,
) -> Result<(Mode, Event), ApiError> {
    let (_, extensions, message) = request.into_parts();
    let caller = call::caller(&extensions)?;
    let (manner, command) = mutation::read(caller, message)?;
    let mode = manner.mode;
    Ok((mode, manager.change(caller, manner, command).await?))
}

/// Does what takes too long for the runtime that serves calls.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal)
}
