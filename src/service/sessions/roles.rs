//! Judging applications that prove under which RAM role they run: what somebody else says of them is
//! compared, byte for byte, with the access point's role.
//!
//! Nothing is asked of anybody for an access point that isn't there, or has another method. What is
//! answered is judged by what there is then, and not by what there was before the question.

use std::sync::Arc;

use crate::{
    domain::{
        access_point::{AccessPoint, AccessPointState, Authentication, TrustedRole},
        catalog::Catalog,
        decision::DenyReason,
        name::{AccessPointName, Id, RamRoleName},
        proof::ProofProblem,
        ram_role::RamRole,
        time::UnixNanos,
    },
    identity::{
        caller_identity::{self, SignedRequest},
        replay,
        role_token::{self, RoleToken},
        vouchers::{SharedRoles, Sts, TokenIssuer},
    },
    service::{refusals::Source, vouching::Unidentified},
};

use super::{Asked, By, Judged, Prover, Refusal, Sessions, Vouched};

/// What somebody else says of an application, and is believed in.
struct Testimony {
    claim: Claim,
    vouched: Vouched,
    /// What tells the proof from every other of the same role.
    id: String,
    /// Until when it could be shown again, in seconds since 1970.
    expires: i64,
    /// Until when it proves something.
    until: UnixNanos,
}

enum Claim {
    /// A genuine token of an issuer says it.
    Token(Arc<TokenIssuer>, role_token::Vouched),
    /// The STS says it.
    Identity(Arc<Sts>, caller_identity::Identity),
}

fn by_anybody(problem: ProofProblem) -> Refusal {
    Refusal::of_proof(problem, By::Anybody)
}

impl Sessions {
    /// Judges a role token.
    pub(super) async fn judge_token(&self, asked: &Asked<'_>, text: &str) -> Judged {
        let testimony = match self.by_role(&asked.access_point) {
            Ok(()) => self.verify(text).await,
            Err(refusal) => Err(refusal),
        };
        self.judge_role(asked, testimony)
    }

    /// Judges a caller identity; `None` if too many others wait for the STS.
    pub(super) async fn judge_identity(
        &self,
        asked: &Asked<'_>,
        parameters: &[(&str, &str)],
        (sts, source): (&Arc<Sts>, Option<Source>),
    ) -> Option<Judged> {
        let request = self.by_role(&asked.access_point).and_then(|()| {
            let audience = sts.audience.as_ref();
            let expected = caller_identity::Expected {
                audience: audience.map(|(name, value)| (&**name, &**value)),
                now: self.shared.clock.now(),
                started: self.shared.started,
            };
            SignedRequest::read(parameters, &expected).map_err(by_anybody)
        });
        let testimony = match request {
            Ok(request) => self.identify(sts, request, source).await?,
            Err(refusal) => Err(refusal),
        };
        Some(self.judge_role(asked, testimony))
    }

    /// Makes sure that there is an access point of that name, and that it has a role.
    fn by_role(&self, name: &AccessPointName) -> Result<(), Refusal> {
        let state = self.shared.published.load();
        match state.catalog.access_point(name).map(|found| &found.authentication) {
            Some(Authentication::RamRole { .. }) => Ok(()),
            Some(Authentication::ClientKey) => {
                Err(Refusal::of_anybody(DenyReason::AuthenticationMethodMismatch))
            }
            None => Err(Refusal::of_anybody(DenyReason::AccessPointNotFound)),
        }
    }

    /// Verifies a token by the key that its issuer has for it. Whose a token is that isn't good isn't
    /// known, though its issuer made it.
    async fn verify(&self, text: &str) -> Result<Testimony, Refusal> {
        let vouching = &self.shared.vouching;
        let token = RoleToken::read(text).map_err(by_anybody)?;
        let named = token.issuer().map_err(by_anybody)?;
        let issuer =
            vouching.issuer(named).ok_or_else(|| by_anybody(ProofProblem::IssuerUnknown))?;
        let id = token.key_id().map_err(by_anybody)?;
        let key = vouching.key(&issuer, id).await.map_err(by_anybody)?;
        let config = Arc::clone(&issuer.config);
        let expected = role_token::Expected {
            key: &key,
            audience: &config.audience,
            role_claim: &config.role_claim,
            account_claim: config.account_claim.as_deref(),
            max_seconds: config.max_seconds,
            now: self.shared.clock.now(),
            started: self.shared.started,
        };
        let said = token.verify(&expected).map_err(by_anybody)?;
        Ok(Testimony {
            vouched: Vouched { issuer: Some(config.name.clone()), principal: said.subject.clone() },
            // Two issuers may give the same id. What they are called here may change, and with the
            // length no two of them run together.
            id: format!("token {} {} {}", config.issuer.len(), config.issuer, said.id),
            expires: said.expires,
            until: UnixNanos::from_parts(said.expires, 0),
            claim: Claim::Token(config, said),
        })
    }

    /// Has the STS say whose a request is; `None` if too many others wait for it.
    async fn identify(
        &self,
        sts: &Arc<Sts>,
        request: SignedRequest,
        source: Option<Source>,
    ) -> Option<Result<Testimony, Refusal>> {
        let (id, expires) = (format!("request {}", request.id), request.expires);
        let identity = match self.shared.vouching.identify(sts, request, source).await {
            Ok(identity) => identity,
            Err(Unidentified::Busy) => return None,
            Err(Unidentified::Unproven(problem)) => return Some(Err(by_anybody(problem))),
        };
        Some(Ok(Testimony {
            vouched: Vouched { issuer: None, principal: identity.arn.clone() },
            id,
            expires,
            // How long the role's credentials are good isn't said.
            until: UnixNanos(i64::MAX),
            claim: Claim::Identity(Arc::clone(sts), identity),
        }))
    }

    /// Judges what was said of an application by what there is now.
    fn judge_role(&self, asked: &Asked<'_>, testimony: Result<Testimony, Refusal>) -> Judged {
        let (state, now) = (self.shared.published.load_full(), self.shared.clock.now());
        let access_point = state.catalog.access_point(&asked.access_point);
        let (role, outcome) = match (&testimony, access_point) {
            (Err(refusal), _) => (None, Err(*refusal)),
            (Ok(_), None) => (None, Err(Refusal::of_anybody(DenyReason::AccessPointNotFound))),
            (Ok(testimony), Some(access_point)) => {
                let role = role_of(&state.catalog, access_point);
                (role, self.judge_testimony(testimony, access_point, role, now))
            }
        };
        Judged {
            now,
            revision: state.revision(),
            access_point: access_point.map(|found| found.header.uid),
            prover: role.map(|role| Prover::Role(role.header.uid)),
            vouched: testimony.ok().map(|testimony| testimony.vouched),
            outcome,
        }
    }

    /// Until when what was said proves that an application is an access point.
    fn judge_testimony(
        &self,
        testimony: &Testimony,
        access_point: &AccessPoint,
        role: Option<&RamRole>,
        now: UnixNanos,
    ) -> Result<UnixNanos, Refusal> {
        let (id, trusted_role) = wanted(access_point)?;
        let account = &access_point.name.location.account;
        // Whoever it is that isn't so, it isn't this access point.
        testimony.claim.check((account, id), trusted_role).map_err(by_anybody)?;
        let role = fit(access_point, role, trusted_role)?;
        let of_holder = |problem| Refusal::of_proof(problem, By::Holder);
        if let Claim::Identity(sts, _) = &testimony.claim
            && sts.shared_roles == SharedRoles::Refused
            && role.is_shared(trusted_role)
        {
            return Err(of_holder(ProofProblem::RoleShared));
        }
        let Testimony { id, expires, .. } = testimony;
        let RamRoleName { account, id: role } = role.name.clone();
        let prover = replay::Prover { account, credential: replay::Credential::Role(role) };
        let shown = self.shared.role_replay.show(prover, id, *expires, now);
        // What can be shown again and again says nothing of who shows it now.
        shown.map_err(by_anybody)?;
        Ok(testimony.until)
    }
}

impl Claim {
    /// Whether it is of an account's role, and of an environment as far as it says.
    fn check(
        &self,
        (account, role): (&Id, &Id),
        trusted_role: TrustedRole,
    ) -> Result<(), ProofProblem> {
        let (said_account, said_role) = match self {
            Self::Token(issuer, said) => {
                if !issuer.accounts.contains(account) {
                    return Err(ProofProblem::IssuerNotForAccount);
                }
                if issuer.trusted_role != trusted_role {
                    return Err(ProofProblem::IssuerNotForTrustedRole);
                }
                (said.account.as_deref(), &said.role)
            }
            Self::Identity(_, said) => (Some(&*said.account), &said.role),
        };
        if said_account.is_some_and(|said| said != account.as_str()) {
            return Err(ProofProblem::AccountMismatch);
        }
        if **said_role == *role.as_str() { Ok(()) } else { Err(ProofProblem::RoleMismatch) }
    }
}

fn role_of<'c>(catalog: &'c Catalog, access_point: &AccessPoint) -> Option<&'c RamRole> {
    let (role, _) = access_point.authentication.role(&access_point.name)?;
    catalog.ram_role(&role).map(AsRef::as_ref)
}

/// The role that an access point must be shown to have, and the environment.
fn wanted(access_point: &AccessPoint) -> Result<(&Id, TrustedRole), Refusal> {
    match &access_point.authentication {
        Authentication::RamRole { trusted_role, role } => Ok((role, *trusted_role)),
        Authentication::ClientKey => {
            Err(Refusal::of_anybody(DenyReason::AuthenticationMethodMismatch))
        }
    }
}

/// What keeps an application that has proved its role from having a session.
fn fit<'r>(
    access_point: &AccessPoint,
    role: Option<&'r RamRole>,
    trusted_role: TrustedRole,
) -> Result<&'r RamRole, Refusal> {
    if access_point.state == AccessPointState::Suspended {
        return Err(Refusal::of_holder(DenyReason::AccessPointSuspended));
    }
    let trusted = role.filter(|role| role.trust(trusted_role).is_trusted());
    trusted.ok_or_else(|| Refusal::of_holder(DenyReason::RoleNotTrusted))
}
