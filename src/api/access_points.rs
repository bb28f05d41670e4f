//! `AccessPointService`.

use std::{mem, sync::Arc};

use tonic::{Request, Response, Status};

use crate::{
    domain::{
        access_point::AccessPoint,
        client_key::ClientKey,
        event::Change,
        name::{AccessPointName, ClientKeyName, ResourceName},
    },
    entropy,
    service::{
        client_keys::Issuer,
        management::{ManageError, Manager},
    },
};

use super::{
    call, change,
    convert::{
        self, SentHeader, Violations, access_point, client_key, mutation::Mutation, page::List,
    },
    in_background,
    pb::{self, access_point_service_server::AccessPointService},
    status::ApiError,
};

/// Serves `AccessPointService`.
#[derive(Clone, Debug)]
pub struct AccessPoints {
    manager: Manager,
    issuer: Issuer,
}

impl AccessPoints {
    /// Serves it by a manager and by who makes client keys.
    pub fn new(manager: Manager, issuer: Issuer) -> Self {
        Self { manager, issuer }
    }

    /// Has a client key changed, and answers with what is there after it.
    async fn change_client_key(
        &self,
        request: Request<impl Mutation>,
    ) -> Result<Response<pb::ClientKey>, Status> {
        let (mode, event) = change(&self.manager, request).await?;
        match &event.change {
            Change::ClientKeyEnabled(made) | Change::ClientKeyDisabled(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(client_key::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }

    /// Has a change made, and answers with what is there after it.
    async fn change_access_point(
        &self,
        request: Request<impl Mutation>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        let (mode, event) = change(&self.manager, request).await?;
        match &event.change {
            Change::AccessPointCreated(made)
            | Change::AccessPointUpdated(made)
            | Change::AccessPointSuspended(made)
            | Change::AccessPointResumed(made)
            | Change::SessionsRevoked(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(access_point::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }
}

#[tonic::async_trait]
impl AccessPointService for AccessPoints {
    async fn create_access_point(
        &self,
        request: Request<pb::CreateAccessPointRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        self.change_access_point(request).await
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

    async fn list_access_points(
        &self,
        request: Request<pb::ListAccessPointsRequest>,
    ) -> Result<Response<pb::ListAccessPointsResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let location = convert::parse_parent(&message.parent)?;
        Manager::authorize_in(caller, &location).map_err(ApiError::from)?;

        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListAccessPoints", &message);
        let pb::ListAccessPointsRequest {
            parent: _,
            page_size: _,
            page_token: _,
            policy,
            role,
            state,
        } = message;
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, size, &token);
        let filter =
            access_point::parse_filter(&mut violations, &location, (&policy, &role, state));
        let (page, filter) = violations.finish(page.zip(filter))?;

        let state = self.manager.state();
        let listed =
            in_background(move || state.catalog.list_access_points(&location, &filter, &page))
                .await?;
        let send = |item: &Arc<AccessPoint>| access_point::send(item, SentHeader::of(&item.header));
        Ok(Response::new(pb::ListAccessPointsResponse {
            access_points: listed.items.iter().map(send).collect(),
            next_page_token: list.token(listed.next_after),
        }))
    }

    async fn update_access_point(
        &self,
        request: Request<pb::UpdateAccessPointRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        self.change_access_point(request).await
    }

    async fn suspend_access_point(
        &self,
        request: Request<pb::SuspendAccessPointRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        self.change_access_point(request).await
    }

    async fn resume_access_point(
        &self,
        request: Request<pb::ResumeAccessPointRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        self.change_access_point(request).await
    }

    async fn revoke_sessions(
        &self,
        request: Request<pb::RevokeSessionsRequest>,
    ) -> Result<Response<pb::AccessPoint>, Status> {
        self.change_access_point(request).await
    }

    async fn delete_access_point(
        &self,
        request: Request<pb::DeleteAccessPointRequest>,
    ) -> Result<Response<()>, Status> {
        change(&self.manager, request).await?;
        Ok(Response::new(()))
    }
    async fn issue_client_key(
        &self,
        request: Request<pb::IssueClientKeyRequest>,
    ) -> Result<Response<pb::IssueClientKeyResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let (manner, wanted) = client_key::read_issue(caller, self.manager.now(), message)?;
        let issued = self.issuer.issue(caller, manner, wanted).await.map_err(ApiError::from)?;
        Ok(Response::new(client_key::send_issued(issued)))
    }

    async fn import_client_key(
        &self,
        request: Request<pb::ImportClientKeyRequest>,
    ) -> Result<Response<pb::ClientKey>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let id = entropy::uuid().map(ClientKeyName::id_for).map_err(ManageError::from);
        let own = (self.manager.now(), id.map_err(ApiError::from)?);
        let (manner, command) = client_key::read_import(caller, own, message)?;
        let mode = manner.mode;
        let event = self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        match &event.change {
            Change::ClientKeyImported(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(client_key::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }

    async fn get_client_key(
        &self,
        request: Request<pb::GetClientKeyRequest>,
    ) -> Result<Response<pb::ClientKey>, Status> {
        let (_, extensions, pb::GetClientKeyRequest { name }) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", ClientKeyName::parse(&name))?;
        let found = self.manager.client_key(caller, &name).map_err(ApiError::from)?;
        Ok(Response::new(client_key::send(&found, SentHeader::of(&found.header))))
    }

    async fn list_client_keys(
        &self,
        request: Request<pb::ListClientKeysRequest>,
    ) -> Result<Response<pb::ListClientKeysResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let parent = convert::parse_first("parent", AccessPointName::parse(&message.parent))?;
        Manager::authorize(caller, &ResourceName::AccessPoint(parent.clone()))
            .map_err(ApiError::from)?;

        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListClientKeys", &message);
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, size, &token);
        let page = violations.finish(page)?;

        self.manager.access_point(caller, &parent).map_err(ApiError::from)?;
        let listed = self.manager.state().catalog.list_client_keys(&parent, &page);
        let send = |item: &Arc<ClientKey>| client_key::send(item, SentHeader::of(&item.header));
        Ok(Response::new(pb::ListClientKeysResponse {
            client_keys: listed.items.iter().map(send).collect(),
            next_page_token: list.token(listed.next_after),
        }))
    }

    async fn enable_client_key(
        &self,
        request: Request<pb::EnableClientKeyRequest>,
    ) -> Result<Response<pb::ClientKey>, Status> {
        self.change_client_key(request).await
    }

    async fn disable_client_key(
        &self,
        request: Request<pb::DisableClientKeyRequest>,
    ) -> Result<Response<pb::ClientKey>, Status> {
        self.change_client_key(request).await
    }

    async fn delete_client_key(
        &self,
        request: Request<pb::DeleteClientKeyRequest>,
    ) -> Result<Response<()>, Status> {
        change(&self.manager, request).await?;
        Ok(Response::new(()))
    }
}
