//! `PolicyService`.

use std::mem;

use tonic::{Request, Response, Status};

use crate::{
    domain::{
        command::{Command, Target},
        event::Change,
        name::{NetworkRuleName, PolicyName, ResourceName},
    },
    service::management::Manager,
};

use super::{
    call,
    convert::{self, Repetition, SentHeader, Violations, network_rule, policy},
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
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn create_policy(
        &self,
        request: Request<pb::CreatePolicyRequest>,
    ) -> Result<Response<pb::Policy>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let location = convert::parse_parent(&message.parent)?;
        Manager::authorize_in(caller, &location).map_err(ApiError::from)?;

        let request_id = mem::take(&mut message.request_id);
        let repetition = Repetition::of(request_id, message.validate_only, &message);
        let pb::CreatePolicyRequest {
            parent: _,
            policy_id,
            policy,
            request_id: _,
            validate_only: _,
        } = message;
        let mut violations = Violations::default();
        let manner = repetition.manner("CreatePolicy", &mut violations);
        let new = policy::parse_new(&mut violations, &location, &policy_id, policy);
        let (manner, new) = violations.finish(manner.zip(new))?;

        let mode = manner.mode;
        let command = Command::CreatePolicy(new);
        let event = self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        match &event.change {
            Change::PolicyCreated(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(policy::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
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

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Result<Response<()>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", PolicyName::parse(&message.name))?;
        let resource = ResourceName::Policy(name.clone());
        Manager::authorize(caller, &resource).map_err(ApiError::from)?;

        let request_id = mem::take(&mut message.request_id);
        let repetition = Repetition::of(request_id, message.validate_only, &message);
        let pb::DeletePolicyRequest { name: _, etag, request_id: _, validate_only: _ } = message;
        let mut violations = Violations::default();
        let manner = repetition.manner("DeletePolicy", &mut violations);
        let manner = violations.finish(manner)?;

        let target = Target { name, etag: convert::parse_etag(&etag) };
        let command = Command::DeletePolicy(target);
        self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        Ok(Response::new(()))
    }

    async fn create_network_rule(
        &self,
        request: Request<pb::CreateNetworkRuleRequest>,
    ) -> Result<Response<pb::NetworkRule>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let location = convert::parse_parent(&message.parent)?;
        Manager::authorize_in(caller, &location).map_err(ApiError::from)?;

        let request_id = mem::take(&mut message.request_id);
        let repetition = Repetition::of(request_id, message.validate_only, &message);
        let pb::CreateNetworkRuleRequest {
            parent: _,
            network_rule_id,
            network_rule,
            request_id: _,
            validate_only: _,
        } = message;
        let mut violations = Violations::default();
        let manner = repetition.manner("CreateNetworkRule", &mut violations);
        let new =
            network_rule::parse_new(&mut violations, &location, &network_rule_id, network_rule);
        let (manner, new) = violations.finish(manner.zip(new))?;

        let mode = manner.mode;
        let command = Command::CreateNetworkRule(new);
        let event = self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        match &event.change {
            Change::NetworkRuleCreated(made) => {
                let header = SentHeader::made_in(mode, &made.header);
                Ok(Response::new(network_rule::send(made, header)))
            }
            _ => Err(ApiError::Internal.into()),
        }
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

    async fn delete_network_rule(
        &self,
        request: Request<pb::DeleteNetworkRuleRequest>,
    ) -> Result<Response<()>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        let caller = call::caller(&extensions)?;
        let name = convert::parse_first("name", NetworkRuleName::parse(&message.name))?;
        let resource = ResourceName::NetworkRule(name.clone());
        Manager::authorize(caller, &resource).map_err(ApiError::from)?;

        let request_id = mem::take(&mut message.request_id);
        let repetition = Repetition::of(request_id, message.validate_only, &message);
        let pb::DeleteNetworkRuleRequest { name: _, etag, request_id: _, validate_only: _ } =
            message;
        let mut violations = Violations::default();
        let manner = repetition.manner("DeleteNetworkRule", &mut violations);
        let manner = violations.finish(manner)?;

        let target = Target { name, etag: convert::parse_etag(&etag) };
        let command = Command::DeleteNetworkRule(target);
        self.manager.change(caller, manner, command).await.map_err(ApiError::from)?;
        Ok(Response::new(()))
    }
}
