//! `AccessPointService`.

use std::mem;

use tonic::{Request, Response, Status};

use crate::{
    domain::{
        command::{Command, Target},
        event::Change,
        name::{AccessPointName, ResourceName},
    },
    service::management::Manager,
};

use super::{
    call,
    convert::{self, Repetition, SentHeader, Violations, access_point},
    pb::{self, access_point_service_server::AccessPointService},
    status::ApiError,
};

/// Serves `AccessPointService`.
#[derive(Clone, Debug)]
pub struct AccessPoints {
    manager: Manager,
}

impl AccessPoints {
    /// Serves it by a manager.
    pub fn new(manager: Manager) -> Self {
        Self { manager }
    }
}

#[tonic::async_trait]
impl AccessPointService for AccessPoints {
    async fn create_access_point(
        &self,
        request: Request<pb::CreateAccessPointRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let location = convert::parse_parent(&message.parent)?;
        Manager::authorize_in(caller, &location).map_err(ApiError::from)?;

        let request_id = mem::take(&mut message.request_id);
        let repetition = Repetition::of(request_id, message.validate_only, &message);
        let pb::CreateAccessPointRequest {
            parent: _,
            access_point_id,
            access_point,
            request_id: _,
            validate_only: _,
        } = message;
        let mut violations = Violations::default();
        let manner = repetition.manner("CreateAccessPoint", &mut violations);
        let new =
            access_point::parse_new(&mut violations, &location, &access_point_id, access_point);
        let (manner, new) = violations.finish(manner.zip(new))?;

        let mode = manner.mode;
        let command = Command::CreateAccessPoint(new);
        let event = self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        match &event.change {
            Change::AccessPointCreated(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(access_point::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }

    async fn get_access_point(
        &self,
        request: Request<pb::GetAccessPointRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        let (_, extensions, pb::GetAccessPointRequest { name }) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", AccessPointName::parse(&name))?;
        let found = self.manager.access_point(caller, &name).map_err(ApiError::from)?;
        Ok(Response::new(access_point::send(&found, SentHeader::of(&found.header))))
    }

    async fn delete_access_point(
        &self,
        request: Request<pb::DeleteAccessPointRequest>,
    ) -> Result<Response<()>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", AccessPointName::parse(&message.name))?;
        let resource = ResourceName::AccessPoint(name.clone());
        Manager::authorize(caller, &resource).map_err(ApiError::from)?;

        let request_id = mem::take(&mut message.request_id);
        let repetition = Repetition::of(request_id, message.validate_only, &message);
        let pb::DeleteAccessPointRequest { name: _, etag, request_id: _, validate_only: _ } =
            message;
        let mut violations = Violations::default();
        let manner = repetition.manner("DeleteAccessPoint", &mut violations);
        let manner = violations.finish(manner)?;

        let target = Target { name, etag: convert::parse_etag(&etag) };
        let command = Command::DeleteAccessPoint(target);
        self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        Ok(Response::new(()))
    }
}
