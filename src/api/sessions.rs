//! `SessionService`. Who calls it is no caller of the API, and shows so in its message.

use tonic::{Request, Response, Status};

use crate::{
    audit::record::Call,
    domain::name::AccessPointName,
    service::sessions::{Asked, Granted, Lifetime, Sessions, ShownProof},
};

use super::{
    call,
    convert::{Violations, timestamp},
    pb::{
        self, create_session_request::Proof as SentProof, session_service_server::SessionService,
    },
    status::ApiError,
};

/// Serves `SessionService`.
#[derive(Clone, Debug)]
pub struct SessionGranting {
    sessions: Sessions,
}

impl SessionGranting {
    /// Serves it by who grants sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

/// More than any signed request has.
const MOST_PARAMETERS: usize = 32;

fn parameters_of(proof: &SentProof) -> Vec<(&str, &str)> {
    let SentProof::CallerIdentity(pb::CallerIdentity { parameters }) = proof else {
        return Vec::new();
    };
    // With more than so many, one of them must be wrong.
    parameters
        .iter()
        .take(MOST_PARAMETERS)
        .map(|pb::SignedParameter { name, value }| (name.as_str(), value.as_str()))
        .collect()
}

impl std::fmt::Debug for pb::CreateSessionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateSessionRequest")
            .field("access_point", &self.access_point)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for pb::CallerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallerIdentity")
    }
}

impl std::fmt::Debug for pb::SignedParameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedParameter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SentProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof")
    }
}

impl std::fmt::Debug for pb::Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("expire_time", &self.expire_time).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl SessionService for SessionGranting {
    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Result<Response<pb::Session>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let connection = call::connection(&extensions);
        let pb::CreateSessionRequest { access_point, proof, lifetime_seconds } = message;
        let mut violations = Violations::default();
        let name = violations.keep("access_point", AccessPointName::parse(&access_point));
        let proof = violations.require("proof", proof);
        let lifetime = violations.keep("lifetime_seconds", Lifetime::of_seconds(lifetime_seconds));
        let parameters = proof.as_ref().map_or_else(Vec::new, parameters_of);
        let shown = proof.as_ref().map(|proof| match proof {
            SentProof::ClientKeyAssertion(text) => ShownProof::Assertion(text),
            SentProof::CallerIdentity(_) => ShownProof::CallerIdentity(&parameters),
            SentProof::RoleToken(text) => ShownProof::RoleToken(text),
            SentProof::ClientKeyTls(pb::ClientKeyTls {}) => {
                let certificate = connection.and_then(|known| known.certificate.as_ref());
                ShownProof::Connection(certificate)
            }
        });
        let asked = || Some(Asked { access_point: name?, proof: shown?, lifetime: lifetime? });
        let asked = violations.finish(asked())?;
        let nobody: Call<'_> = call::facts_of("", &metadata, &extensions);
        let granted = self.sessions.create(nobody, &asked).await.map_err(ApiError::from)?;
        let Granted { token, expires } = granted;
        let (token, expire_time) = (token.reveal().to_owned(), Some(timestamp(expires)));
        Ok(Response::new(pb::Session { token, expire_time }))
    }
}
