//! The calls that the test makes, and what it keeps of their answers.
//!
//! Resources are made from their kind and id alone, so that a call can be repeated word by word.

use std::net::SocketAddr;

use aap::{
    api::pb::{
        self, access_point_service_client::AccessPointServiceClient,
        audit_service_client::AuditServiceClient,
        authorization_service_client::AuthorizationServiceClient,
        change_service_client::ChangeServiceClient, policy_service_client::PolicyServiceClient,
    },
    identity::token::NewToken,
};
use prost::Message;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::support::home::Home;

pub(super) const LOCATION: &str = "accounts/acme/regions/eu-1";
/// An address that the network rules cover.
pub(super) const INSIDE: &str = "203.0.113.7";
/// An address that they don't cover.
pub(super) const OUTSIDE: &str = "198.51.100.9";

/// Every so many rules one is so large that the journal keeps it in parts.
const LARGE: u64 = 8;

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    NetworkRule,
    Policy,
    AccessPoint,
}

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Create,
    Delete,
}

/// One call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) action: Action,
    pub(super) kind: Kind,
    pub(super) id: u64,
}

impl Change {
    /// The name of what it changes.
    pub(super) fn name(self) -> String {
        name(self.kind, self.id)
    }

    pub(super) fn request_id(self) -> String {
        let Self { action, kind, id } = self;
        format!("{action:?}-{kind:?}-{id}")
    }
}

/// The name of a resource.
pub(super) fn name(kind: Kind, id: u64) -> String {
    let collection = match kind {
        Kind::NetworkRule => "networkRules",
        Kind::Policy => "policies",
        Kind::AccessPoint => "accessPoints",
    };
    format!("{LOCATION}/{collection}/{id}")
}

/// A resource as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) uid: String,
    pub(super) etag: String,
    pub(super) revision: u64,
    /// The whole answer.
    pub(super) message: Vec<u8>,
}

macro_rules! made {
    ($message:expr) => {{
        let message = $message;
        Made {
            message: message.encode_to_vec(),
            uid: message.uid,
            etag: message.etag,
            revision: message.revision,
        }
    }};
}

/// Adds a caller's token to every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    fn new(token: &NewToken) -> Self {
        Self(format!("Bearer {}", token.reveal()).parse().unwrap())
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Connection = InterceptedService<Channel, Bearer>;

/// One connection, with a client for each service.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) policies: PolicyServiceClient<Connection>,
    pub(super) changes: ChangeServiceClient<Connection>,
    access_points: AccessPointServiceClient<Connection>,
    authorization: AuthorizationServiceClient<Connection>,
    pub(super) audit: AuditServiceClient<Connection>,
}

impl Client {
    /// Connects with the first call: the server may be killed before that.
    pub(super) fn connect(home: &Home, address: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let connection = |token| InterceptedService::new(channel.clone(), Bearer::new(token));
        Self {
            policies: PolicyServiceClient::new(connection(&home.admin)),
            changes: ChangeServiceClient::new(connection(&home.admin)),
            access_points: AccessPointServiceClient::new(connection(&home.admin)),
            authorization: AuthorizationServiceClient::new(connection(&home.enforcer)),
            audit: AuditServiceClient::new(connection(&home.auditor)),
        }
    }

    /// Makes a change; a creation answers with what was made.
    pub(super) async fn perform(&mut self, change: Change) -> Result<Option<Made>, Status> {
        match change.action {
            Action::Create => self.create(change).await.map(Some),
            Action::Delete => self.delete(change).await.map(|()| None),
        }
    }

    async fn create(&mut self, change: Change) -> Result<Made, Status> {
        let Change { action: _, kind, id } = change;
        let (parent, request_id) = (LOCATION.to_owned(), change.request_id());
        Ok(match kind {
            Kind::NetworkRule => {
                let request = pb::CreateNetworkRuleRequest {
                    parent,
                    network_rule_id: id.to_string(),
                    network_rule: Some(network_rule(id)),
                    request_id,
                    validate_only: false,
                };
                made!(self.policies.create_network_rule(request).await?.into_inner())
            }
            Kind::Policy => {
                let request = pb::CreatePolicyRequest {
                    parent,
                    policy_id: id.to_string(),
                    policy: Some(policy(id)),
                    request_id,
                    validate_only: false,
                };
                made!(self.policies.create_policy(request).await?.into_inner())
            }
            Kind::AccessPoint => {
                let request = pb::CreateAccessPointRequest {
                    parent,
                    access_point_id: id.to_string(),
                    access_point: Some(access_point(id)),
                    request_id,
                    validate_only: false,
                };
                made!(self.access_points.create_access_point(request).await?.into_inner())
            }
        })
    }

    async fn delete(&mut self, change: Change) -> Result<(), Status> {
        let (name, request_id) = (change.name(), change.request_id());
        let (etag, validate_only) = (String::new(), false);
        match change.kind {
            Kind::NetworkRule => {
                let request =
                    pb::DeleteNetworkRuleRequest { name, etag, request_id, validate_only };
                self.policies.delete_network_rule(request).await?;
            }
            Kind::Policy => {
                let request = pb::DeletePolicyRequest { name, etag, request_id, validate_only };
                self.policies.delete_policy(request).await?;
            }
            Kind::AccessPoint => {
                let request =
                    pb::DeleteAccessPointRequest { name, etag, request_id, validate_only };
                self.access_points.delete_access_point(request).await?;
            }
        }
        Ok(())
    }

    /// Reads a resource.
    pub(super) async fn get(&mut self, kind: Kind, id: u64) -> Result<Made, Status> {
        let name = name(kind, id);
        Ok(match kind {
            Kind::NetworkRule => {
                let request = pb::GetNetworkRuleRequest { name };
                made!(self.policies.get_network_rule(request).await?.into_inner())
            }
            Kind::Policy => {
                let request = pb::GetPolicyRequest { name };
                made!(self.policies.get_policy(request).await?.into_inner())
            }
            Kind::AccessPoint => {
                let request = pb::GetAccessPointRequest { name };
                made!(self.access_points.get_access_point(request).await?.into_inner())
            }
        })
    }

    /// Asks one check.
    pub(super) async fn check(
        &mut self,
        check: pb::Check,
        request_id: String,
    ) -> Result<pb::CheckAccessResponse, Status> {
        let (parent, check) = (LOCATION.to_owned(), Some(check));
        let request = pb::CheckAccessRequest { parent, check, request_id, at_least_revision: 0 };
        Ok(self.authorization.check_access(request).await?.into_inner())
    }

    /// Asks several checks at once.
    pub(super) async fn check_all(
        &mut self,
        checks: Vec<pb::Check>,
        request_id: String,
    ) -> Result<pb::BatchCheckAccessResponse, Status> {
        let parent = LOCATION.to_owned();
        let request =
            pb::BatchCheckAccessRequest { parent, checks, request_id, at_least_revision: 0 };
        Ok(self.authorization.batch_check_access(request).await?.into_inner())
    }
}

/// The question whether an access point may read its secret, from an address.
pub(super) fn question(access_point: u64, address: &str) -> pb::Check {
    pb::Check {
        subject: Some(pb::check::Subject::AccessPoint(name(Kind::AccessPoint, access_point))),
        action: "GetSecretValue".to_owned(),
        resource: "secret/reports/2025".to_owned(),
        instance: "shared".to_owned(),
        origin: Some(pb::Origin {
            network: Some(pb::origin::Network::PublicNetwork(pb::PublicNetwork {})),
            address: address.to_owned(),
        }),
    }
}

fn network_rule(id: u64) -> pb::NetworkRule {
    let mut addresses = vec!["203.0.113.0/24".to_owned()];
    if id.is_multiple_of(LARGE) {
        addresses
            .extend((1..800).map(|number| format!("2001:db8:{:x}:{number:x}::/64", id & 0xffff)));
    }
    pb::NetworkRule {
        kind: Some(pb::network_rule::Kind::PublicNetwork(pb::PublicNetwork {})),
        addresses,
        ..Default::default()
    }
}

fn policy(id: u64) -> pb::Policy {
    let names = vec![name(Kind::NetworkRule, id)];
    pb::Policy {
        scope: "shared".to_owned(),
        permissions: vec![pb::PermissionTemplate::SecretUser.into()],
        resources: vec!["secret/reports/*".to_owned()],
        network_access: Some(pb::policy::NetworkAccess::NetworkRules(pb::NetworkRuleNames {
            names,
        })),
        ..Default::default()
    }
}

fn access_point(id: u64) -> pb::AccessPoint {
    let client_key = pb::ClientKeyAuthentication {};
    pb::AccessPoint {
        authentication: Some(pb::access_point::Authentication::ClientKey(client_key)),
        policies: vec![name(Kind::Policy, id)],
        ..Default::default()
    }
}
