//! `RamRoleService`.

use std::{mem, sync::Arc};

use tonic::{Request, Response, Status};

use crate::{
    domain::{event::Change, name::RamRoleName, ram_role::RamRole},
    service::management::Manager,
};

use super::{
    call, change,
    convert::{self, SentHeader, Violations, mutation::Mutation, page::List, ram_role},
    in_background,
    pb::{self, ram_role_service_server::RamRoleService},
    status::ApiError,
};

/// Serves `RamRoleService`.
#[derive(Clone, Debug)]
pub struct RamRoles {
    manager: Manager,
}

impl RamRoles {
    /// Serves it by a manager.
    pub fn new(manager: Manager) -> Self {
        Self { manager }
    }

    /// Has a change made, and answers with what is there after it.
    async fn change_ram_role(
        &self,
        request: Request<impl Mutation>,
    ) -> Result<Response<pb::RamRole>, Status> {
        let (mode, event) = change(&self.manager, request).await?;
        match &event.change {
            Change::RamRoleCreated(made) | Change::RamRoleUpdated(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(ram_role::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }
}

#[tonic::async_trait]
impl RamRoleService for RamRoles {
    async fn create_ram_role(
        &self,
        request: Request<pb::CreateRamRoleRequest>,
    ) -> Result<Response<pb::RamRole>, Status> {
        self.change_ram_role(request).await
    }

    async fn get_ram_role(
        &self,
        request: Request<pb::GetRamRoleRequest>,
    ) -> Result<Response<pb::RamRole>, Status> {
        let (_, extensions, pb::GetRamRoleRequest { name }) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", RamRoleName::parse(&name))?;
        let found = self.manager.ram_role(caller, &name).map_err(ApiError::from)?;
        Ok(Response::new(ram_role::send(&found, SentHeader::of(&found.header))))
    }

    async fn list_ram_roles(
        &self,
        request: Request<pb::ListRamRolesRequest>,
    ) -> Result<Response<pb::ListRamRolesResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let account = convert::parse_account(&message.parent)?;
        Manager::authorize_account(caller, &account).map_err(ApiError::from)?;

        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListRamRoles", &message);
        let pb::ListRamRolesRequest { parent: _, page_size: _, page_token: _, trusted_role } =
            message;
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, size, &token);
        let filter = ram_role::parse_filter(&mut violations, trusted_role);
        let (page, filter) = violations.finish(page.zip(filter))?;

        let state = self.manager.state();
        let listed =
            in_background(move || state.catalog.list_ram_roles(&account, &filter, &page)).await?;
        let send = |item: &Arc<RamRole>| ram_role::send(item, SentHeader::of(&item.header));
        Ok(Response::new(pb::ListRamRolesResponse {
            ram_roles: listed.items.iter().map(send).collect(),
            next_page_token: list.token(listed.next_after),
        }))
    }

    async fn update_ram_role(
        &self,
        request: Request<pb::UpdateRamRoleRequest>,
    ) -> Result<Response<pb::RamRole>, Status> {
        self.change_ram_role(request).await
    }

    async fn delete_ram_role(
        &self,
        request: Request<pb::DeleteRamRoleRequest>,
    ) -> Result<Response<()>, Status> {
        change(&self.manager, request).await?;
        Ok(Response::new(()))
    }
}
