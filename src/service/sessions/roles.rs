//! Judging applications that prove under which RAM role they run: what somebody else says of them is
//! compared, byte for byte, with the access point's role.
//!
//! Nothing is asked of anybody for an access point that isn't there, or has another method. What is
//! answered is judged by what there is then, and not by what there was before the question.

use crate::{
    domain::{
        access_point::{AccessPoint, AccessPointState, Authentication, TrustedRole},
        catalog::Catalog,
        decision::DenyReason,
        name::{AccessPointName, Id},
        proof::ProofProblem,
        ram_role::RamRole,
        time::UnixNanos,
    },
    identity::{
        role_token::{self, Expected, RoleToken},
        vouchers::TokenIssuer,
    },
};

use super::{Asked, By, Judged, Prover, Refusal, Sessions, Vouched};

/// What a genuine token says, and whose it is.
struct Genuine {
    issuer: std::sync::Arc<TokenIssuer>,
    said: role_token::Vouched,
}

impl Sessions {
    /// Judges a role token.
    pub(super) async fn judge_token(&self, asked: &Asked<'_>, text: &str) -> Judged {
        let genuine = match self.by_role(&asked.access_point) {
            Ok(()) => self.verify(text).await,
            Err(refusal) => Err(refusal),
        };
        let (state, now) = (self.shared.published.load_full(), self.shared.clock.now());
        let access_point = state.catalog.access_point(&asked.access_point);
        let mut judged = Judged {
            now,
            revision: state.revision(),
            access_point: access_point.map(|found| found.header.uid),
            prover: None,
            vouched: None,
            outcome: Err(Refusal::of_anybody(DenyReason::AccessPointNotFound)),
        };
        match (genuine, access_point) {
            (Err(refusal), _) => judged.outcome = Err(refusal),
            (Ok(_), None) => {}
            (Ok(genuine), Some(access_point)) => {
                let subject = genuine.said.subject.clone();
                let issuer = Some(genuine.issuer.name.clone());
                judged.vouched = Some(Vouched { issuer, principal: subject });
                let role = role_of(&state.catalog, access_point);
                judged.prover = role.map(|role| Prover::Role(role.header.uid));
                judged.outcome = self.judge_genuine(&genuine, access_point, role, now);
            }
        }
        judged
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

    /// Verifies a token by the key that its issuer has for it.
    async fn verify(&self, text: &str) -> Result<Genuine, Refusal> {
        let vouching = &self.shared.vouching;
        let by_anybody = |problem| Refusal::of_proof(problem, By::Anybody);
        let token = RoleToken::read(text).map_err(by_anybody)?;
        let named = token.issuer().map_err(by_anybody)?;
        let issuer =
            vouching.issuer(named).ok_or_else(|| by_anybody(ProofProblem::IssuerUnknown))?;
        let id = token.key_id().map_err(by_anybody)?;
        let key = vouching.key(&issuer, id).await.map_err(by_anybody)?;
        let config = &issuer.config;
        let expected = Expected {
            key: &key,
            audience: &config.audience,
            role_claim: &config.role_claim,
            account_claim: config.account_claim.as_deref(),
            max_seconds: config.max_seconds,
            now: self.shared.clock.now(),
            started: self.shared.started,
        };
        // Whose a token is that isn't good isn't known, though its issuer made it.
        let said = token.verify(&expected).map_err(by_anybody)?;
        Ok(Genuine { issuer: std::sync::Arc::clone(config), said })
    }

    /// Until when a genuine token proves that an application is an access point.
    fn judge_genuine(
        &self,
        genuine: &Genuine,
        access_point: &AccessPoint,
        role: Option<&RamRole>,
        now: UnixNanos,
    ) -> Result<UnixNanos, Refusal> {
        let Genuine { issuer, said } = genuine;
        let (id, trusted_role) = wanted(access_point)?;
        let account = &access_point.name.location.account;
        // Whoever it is, it isn't this access point.
        let foreign = |problem| Err(Refusal::of_proof(problem, By::Anybody));
        if !issuer.accounts.contains(account) {
            return foreign(ProofProblem::IssuerNotForAccount);
        }
        if said.account.as_deref().is_some_and(|named| named != account.as_str()) {
            return foreign(ProofProblem::AccountMismatch);
        }
        if issuer.trusted_role != trusted_role {
            return foreign(ProofProblem::IssuerNotForTrustedRole);
        }
        if *said.role != *id.as_str() {
            return foreign(ProofProblem::RoleMismatch);
        }
        let role = fit(access_point, role, trusted_role)?;
        // Two issuers may give the same id.
        let id = format!("{} {}", issuer.name, said.id);
        self.shared
            .role_replay
            .show(role.header.uid, &id, said.expires, now)
            .map_err(|problem| Refusal::of_proof(problem, By::Holder))?;
        Ok(UnixNanos::from_parts(said.expires, 0))
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
