//! `PolicyService`.

use std::{mem, sync::Arc};

use tonic::{Request, Response, Status};

use crate::{
    domain::{
        event::Change,
        name::{NetworkRuleName, PolicyName},
        network_rule::NetworkRule,
        policy::Policy,
    },
    service::management::Manager,
};

use super::{
    call, change,
    convert::{self, SentHeader, Violations, mutation::Mutation, network_rule, page::List, policy},
    in_background,
    pb::{self, policy_service_server::PolicyService},
    status::ApiError,
};

/// Serves `PolicyService`.
#[derive(Clone, Debug)]
pub struct Policies {
    manager: Manager,
}

impl Policies {
    /// Serves it by a manager.
    pub fn new(manager: Manager) -> Self {
        Self { manager }
    }

    /// Has a change made, and answers with what is there after it.
    async fn change_policy(
        &self,
        request: Request<impl Mutation>,
    ) -> Result<Response<pb::Policy>, Status> {
        let (mode, event) = change(&self.manager, request).await?;
        match &event.change {
            Change::PolicyCreated(made) | Change::PolicyUpdated(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(policy::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }

    /// Has a change made, and answers with what is there after it.
    async fn change_network_rule(
        &self,
        request: Request<impl Mutation>,
    ) -> Result<Response<pb::NetworkRule>, Status> {
        let (mode, event) = change(&self.manager, request).await?;
        match &event.change {
            Change::NetworkRuleCreated(made) | Change::NetworkRuleUpdated(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(network_rule::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn create_policy(
        &self,
        request: Request<pb::CreatePolicyRequest>,
    ) -> Result<Response<pb::Policy>, Status> {
        self.change_policy(request).await
    }

    async fn get_policy(
        &self,
        request: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::Policy>, Status> {
        let (_, extensions, pb::GetPolicyRequest { name }) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", PolicyName::parse(&name))?;
        let found = self.manager.policy(caller, &name).map_err(ApiError::from)?;
        Ok(Response::new(policy::send(&found, SentHeader::of(&found.header))))
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let location = convert::parse_parent(&message.parent)?;
        Manager::authorize_in(caller, &location).map_err(ApiError::from)?;

        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListPolicies", &message);
        let pb::ListPoliciesRequest { parent: _, page_size: _, page_token: _, network_rule, scope } =
            message;
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, size, &token);
        let filter = policy::parse_filter(&mut violations, &location, (&network_rule, &scope));
        let (page, filter) = violations.finish(page.zip(filter))?;

        let state = self.manager.state();
        let listed =
            in_background(move || state.catalog.list_policies(&location, &filter, &page)).await?;
        let send = |item: &Arc<Policy>| policy::send(item, SentHeader::of(&item.header));
        Ok(Response::new(pb::ListPoliciesResponse {
            policies: listed.items.iter().map(send).collect(),
            next_page_token: list.token(listed.next_after),
        }))
    }

    async fn update_policy(
        &self,
        request: Request<pb::UpdatePolicyRequest>,
    ) -> Result<Response<pb::Policy>, Status> {
        self.change_policy(request).await
    }

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Result<Response<()>, Status> {
        change(&self.manager, request).await?;
        Ok(Response::new(()))
    }

    async fn create_network_rule(
        &self,
        request: Request<pb::CreateNetworkRuleRequest>,
    ) -> Result<Response<pb::NetworkRule>, Status> {
        self.change_network_rule(request).await
    }

    async fn get_network_rule(
        &self,
        request: Request<pb::GetNetworkRuleRequest>,
    ) -> Result<Response<pb::NetworkRule>, Status> {
        let (_, extensions, pb::GetNetworkRuleRequest { name }) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", NetworkRuleName::parse(&name))?;
        let found = self.manager.network_rule(caller, &name).map_err(ApiError::from)?;
        Ok(Response::new(network_rule::send(&found, SentHeader::of(&found.header))))
    }

    async fn list_network_rules(
        &self,
        request: Request<pb::ListNetworkRulesRequest>,
    ) -> Result<Response<pb::ListNetworkRulesResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let location = convert::parse_parent(&message.parent)?;
        Manager::authorize_in(caller, &location).map_err(ApiError::from)?;

        let (size, token) = (mem::take(&mut message.page_size), mem::take(&mut message.page_token));
        let list = List::of("ListNetworkRules", &message);
        let pb::ListNetworkRulesRequest { parent: _, page_size: _, page_token: _ } = message;
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, size, &token);
        let page = violations.finish(page)?;

        let state = self.manager.state();
        let listed =
            in_background(move || state.catalog.list_network_rules(&location, &page)).await?;
        let send = |item: &Arc<NetworkRule>| network_rule::send(item, SentHeader::of(&item.header));
        Ok(Response::new(pb::ListNetworkRulesResponse {
            network_rules: listed.items.iter().map(send).collect(),
            next_page_token: list.token(listed.next_after),
        }))
    }

    async fn update_network_rule(
        &self,
        request: Request<pb::UpdateNetworkRuleRequest>,
    ) -> Result<Response<pb::NetworkRule>, Status> {
        self.change_network_rule(request).await
    }

    async fn delete_network_rule(
        &self,
        request: Request<pb::DeleteNetworkRuleRequest>,
    ) -> Result<Response<()>, Status> {
        change(&self.manager, request).await?;
        Ok(Response::new(()))
    }
}
