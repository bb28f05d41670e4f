//! The callers that every test server knows, and their clients.

use std::{collections::BTreeSet, net::SocketAddr};

use aap::{
    api::pb::{
        access_point_service_client::AccessPointServiceClient,
        audit_service_client::AuditServiceClient,
        authorization_service_client::AuthorizationServiceClient,
        backup_service_client::BackupServiceClient, change_service_client::ChangeServiceClient,
        policy_service_client::PolicyServiceClient, ram_role_service_client::RamRoleServiceClient,
        session_service_client::SessionServiceClient,
    },
    domain::{name::Id, time::UnixNanos},
    identity::{
        bounds::{Bounds, OriginKind},
        caller::{Accounts, Assertion, Caller, CallerRole, Callers},
        token::TokenDigest,
    },
};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::raw_codec::RawCodec;

/// An admin of the account `acme`.
pub const ADMIN: &str = "admin";
/// Another admin of the account `acme`.
pub const SECOND_ADMIN: &str = "second-admin";
/// An admin of the account `other`.
pub const OTHER_ADMIN: &str = "other-admin";
/// A viewer of the account `acme`.
pub const VIEWER: &str = "viewer";
/// An enforcer of `acme` that names access points itself.
pub const ENFORCER: &str = "enforcer";
/// An enforcer of `acme` that may not.
pub const GATEWAY: &str = "gateway";
/// An enforcer of `acme` that may vouch for calls over the public endpoint and from `vpc-1`, to the
/// shared KMS.
pub const BOUNDED: &str = "bounded";
/// An enforcer of `other` that names access points itself.
pub const OTHER_ENFORCER: &str = "other-enforcer";
/// An auditor of all accounts.
pub const AUDITOR: &str = "auditor";
/// An auditor of the account `acme`.
pub const ACME_AUDITOR: &str = "acme-auditor";
/// Sees the records of `other`.
pub const OTHER_AUDITOR: &str = "other-auditor";

/// Takes backups.
pub const OPERATOR: &str = "operator";

/// An auditor of all accounts that has expired.
pub const EXPIRED: &str = "expired";

/// Everybody: name, role, account.
pub const EVERYBODY: [(&str, CallerRole, &str); 13] = [
    (ADMIN, CallerRole::Admin, "acme"),
    (SECOND_ADMIN, CallerRole::Admin, "acme"),
    (OTHER_ADMIN, CallerRole::Admin, "other"),
    (VIEWER, CallerRole::Viewer, "acme"),
    (ENFORCER, CallerRole::Enforcer(Assertion::Allowed, Bounds::NONE), "acme"),
    (GATEWAY, CallerRole::Enforcer(Assertion::Forbidden, Bounds::NONE), "acme"),
    (BOUNDED, CallerRole::Enforcer(Assertion::Allowed, Bounds::NONE), "acme"),
    (OTHER_ENFORCER, CallerRole::Enforcer(Assertion::Allowed, Bounds::NONE), "other"),
    (AUDITOR, CallerRole::Auditor, "*"),
    (ACME_AUDITOR, CallerRole::Auditor, "acme"),
    (OTHER_AUDITOR, CallerRole::Auditor, "other"),
    (OPERATOR, CallerRole::Operator, "*"),
    (EXPIRED, CallerRole::Auditor, "*"),
];

/// The token of a caller.
pub fn token_of(caller: &str) -> String {
    format!("the-token-of-{caller}")
}

/// All callers, for a server.
pub fn everybody() -> Callers {
    let mut callers = Callers::default();
    for (name, role, account) in EVERYBODY {
        let accounts = match account {
            "*" => Accounts::All,
            account => Accounts::Only(BTreeSet::from([Id::parse(account).unwrap()])),
        };
        let role = if name == BOUNDED { bounded() } else { role };
        let expires = (name == EXPIRED).then_some(UnixNanos(0));
        let caller = Caller { name: name.into(), role, accounts, expires };
        assert!(callers.add(TokenDigest::of(&token_of(name)), caller));
    }
    callers
}

fn bounded() -> CallerRole {
    let mut bounds = Bounds::NONE;
    bounds.origin_networks = Some(BTreeSet::from([OriginKind::Public, OriginKind::Vpc]));
    bounds.bound_vpc_ids(&["vpc-1".to_owned()]).unwrap();
    bounds.bound_instances(&["shared".to_owned()]).unwrap();
    CallerRole::Enforcer(Assertion::Allowed, bounds)
}

/// A new connection, which is made with its first call.
pub fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// Calls with a bearer token, if there is one.
#[derive(Clone, Debug)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, Bearer>;

/// Somebody who calls.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    bearer: Bearer,
}

impl Client {
    /// A caller with a token, on a connection.
    pub fn new(channel: Channel, token: &str) -> Self {
        Self { channel, bearer: Bearer(Some(format!("Bearer {token}").parse().unwrap())) }
    }

    /// A caller that shows nothing but its connection.
    pub fn without_token(channel: Channel) -> Self {
        Self { channel, bearer: Bearer(None) }
    }

    pub fn access_points(&self) -> AccessPointServiceClient<Authorized> {
        AccessPointServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn policies(&self) -> PolicyServiceClient<Authorized> {
        PolicyServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn ram_roles(&self) -> RamRoleServiceClient<Authorized> {
        RamRoleServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn sessions(&self) -> SessionServiceClient<Authorized> {
        SessionServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn changes(&self) -> ChangeServiceClient<Authorized> {
        ChangeServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn authorization(&self) -> AuthorizationServiceClient<Authorized> {
        AuthorizationServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub fn audit(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub fn backups(&self) -> BackupServiceClient<Authorized> {
        BackupServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// Calls any method with any bytes; returns the first message of the answer.
    pub async fn raw(&self, method: &str, message: impl Into<Bytes>) -> Result<Bytes, Status> {
        let mut request = Request::new(message.into());
        if let Some(token) = &self.bearer.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        raw(&self.channel, method, request).await
    }
}

/// Calls any method with any bytes and headers; returns the first message of the answer.
pub async fn raw(
    channel: &Channel,
    method: &str,
    request: Request<Bytes>,
) -> Result<Bytes, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path: PathAndQuery = method.parse().unwrap();
    let mut answer = grpc.server_streaming(request, path, RawCodec).await?.into_inner();
    Ok(answer.message().await?.expect("an answer has a message or an error"))
}
