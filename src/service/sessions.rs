//! Granting sessions: an application proves who it is, and gets a token that checks can show.
//!
//! Whoever asks is nobody yet. What it may cost the server is decided before anything of the proof is
//! looked at; of all that can be wrong, only the record has which it was.

pub mod counts;
mod roles;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    audit::{
        log::{AuditLog, RecordError},
        record::{
            Call, Draft, EventDraft,
            session::{ProofMethod, SessionDraft, SessionOutcome, Voucher},
        },
    },
    clock::Clock,
    domain::{
        access_point::{AccessPoint, AccessPointState, Authentication},
        catalog::Catalog,
        client_key::ClientKey,
        decision::DenyReason,
        name::{AccessPointName, ClientKeyName, Id},
        proof::ProofProblem,
        resource::Uid,
        rulebook::sessions::unfit,
        session::{Credential, DEFAULT_SECONDS, MAX_SECONDS, Session},
        time::UnixNanos,
    },
    identity::{
        assertion::{Assertion, Expected, Unproven},
        certificate::PeerCertificate,
        replay::{self, ReplayMemory},
        session::{SessionKeys, SessionToken},
    },
    projection::Published,
};

use counts::Counts;

use super::{
    key_uses::KeyUses,
    refusals::{Refusals, Source},
    vouching::{Vouching, WITH_STS, WITH_STS_OF_SOURCE},
};

/// The name of the reason that strangers' requests are counted under.
const REFUSED: &str = "ERROR_REASON_SESSION_REFUSED";

/// Grants sessions for the callers of one runtime. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
    refusals: Refusals,
    lane: usize,
}

/// What sessions are granted by, the same for all runtimes.
#[derive(Debug)]
pub struct Shared {
    /// What there is.
    pub published: Arc<Published>,
    /// Where it is recorded.
    pub log: AuditLog,
    /// The clock.
    pub clock: Clock,
    /// What tokens are sealed with.
    pub keys: Arc<SessionKeys>,
    /// What this server is called, if it takes assertions.
    pub audience: Option<Arc<str>>,
    /// When it started.
    pub started: UnixNanos,
    /// Which proofs were shown.
    pub replay: ReplayMemory,
    /// Which proofs of roles were shown: they take nothing from those of keys.
    pub role_replay: ReplayMemory,
    /// Who vouches for roles.
    pub vouching: Vouching,
    /// How many may ask.
    pub turnstile: Turnstile,
    /// Where it is noted that keys are used.
    pub uses: KeyUses,
    /// Where it is counted what comes of it.
    pub counts: Counts,
}

/// What an application asks for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Its access point.
    pub access_point: AccessPointName,
    /// What shows that it is that one.
    pub proof: ShownProof<'a>,
    /// How long the session is to last at most.
    pub lifetime: Lifetime,
}

/// How long a session lasts at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(i64);

/// Why a number of seconds is no lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_SECONDS}, or 0 for {DEFAULT_SECONDS}")]
pub struct InvalidLifetime;

impl Lifetime {
    /// A lifetime of so many seconds; 0 is as long as a session lasts unless it is said otherwise.
    pub fn of_seconds(seconds: i32) -> Result<Self, InvalidLifetime> {
        match i64::from(seconds) {
            0 => Ok(Self(DEFAULT_SECONDS)),
            seconds @ 1..=MAX_SECONDS => Ok(Self(seconds)),
            _ => Err(InvalidLifetime),
        }
    }
}

/// What an application shows.
#[derive(Clone, Copy, Debug)]
pub enum ShownProof<'a> {
    /// A token that its client key signed.
    Assertion(&'a str),
    /// The certificate that its connection has shown, if it has.
    Connection(Option<&'a PeerCertificate>),
    /// A token of an issuer that vouches for its role.
    RoleToken(&'a str),
    /// The parameters of a signed request, of which the STS says whose role's it is.
    CallerIdentity(&'a [(&'a str, &'a str)]),
}

/// A session that is granted.
#[derive(Debug)]
pub struct Granted {
    /// Its token.
    pub token: SessionToken,
    /// When it is over.
    pub expires: UnixNanos,
}

/// Why no session is granted.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It isn't proved. Which of all that can be wrong is, isn't told.
    #[error("the application has not proved that it is this access point")]
    Refused,
    /// Too many ask.
    #[error("too many ask for sessions")]
    TooMany,
    /// Who vouches for the application can't be asked now.
    #[error("who vouches for the application can't be asked now")]
    VoucherUnavailable,
    /// This server takes no role tokens.
    #[error("this server takes no role tokens: its configuration has no `token_issuers`")]
    NoTokenIssuers,
    /// This server takes no caller identities.
    #[error("this server takes no caller identities: its configuration has no `sts`")]
    NoSts,
    /// As many requests are with the STS as may be.
    #[error(
        "{WITH_STS} caller identities are being asked about already, or {WITH_STS_OF_SOURCE} from where this one comes"
    )]
    StsBusy,
    /// This server takes no assertions.
    #[error("this server takes no assertions: its configuration has no `sessions.audience`")]
    NoAudience,
    /// It can't be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why no session is granted, before it is settled what of that is told.
#[derive(Debug)]
enum NotGranted {
    Refused(Refusal),
    Unjudged(SessionError),
}

/// What came of looking at a proof.
struct Judged {
    /// When it was judged, and at which revision.
    now: UnixNanos,
    revision: u64,
    /// The access point asked for, if it exists.
    access_point: Option<Uid>,
    /// What is to have proved it, if it exists.
    prover: Option<Prover>,
    /// Who vouched for a role.
    vouched: Option<Vouched>,
    /// Until when it proves something, if it does.
    outcome: Result<UnixNanos, Refusal>,
}

/// What proves who an application is.
enum Prover {
    Key(Arc<ClientKey>),
    Role(Uid),
}

/// Who vouched for a role, and what the application is called there.
struct Vouched {
    issuer: Option<Id>,
    principal: Box<str>,
}

/// A request that is refused.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    reason: DenyReason,
    problem: Option<ProofProblem>,
    by: By,
}

/// Who can have made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Anybody,
    /// Who has the access point's key.
    Holder,
}

impl Refusal {
    fn of_anybody(reason: DenyReason) -> Self {
        Self { reason, problem: None, by: By::Anybody }
    }

    fn of_holder(reason: DenyReason) -> Self {
        Self { reason, problem: None, by: By::Holder }
    }

    fn of_proof(problem: ProofProblem, by: By) -> Self {
        Self { reason: DenyReason::CredentialInvalid, problem: Some(problem), by }
    }
}

impl Sessions {
    /// Grants sessions on the runtime `lane`.
    pub fn new(shared: Arc<Shared>, refusals: Refusals, lane: usize) -> Self {
        Self { shared, refusals: refusals.on_lane(lane), lane }
    }

    /// Grants a session, or doesn't. Either is on disk before it is answered, but for what strangers
    /// ask.
    pub async fn create(&self, call: Call<'_>, asked: &Asked<'_>) -> Result<Granted, SessionError> {
        let answer = match self.judge(call, asked).await {
            Ok(judged) => self.answer(call, asked, judged).await,
            Err(error) => Err(NotGranted::Unjudged(error)),
        };
        let Shared { clock, counts, .. } = &*self.shared;
        let until = answer.as_ref().map(|granted| granted.expires);
        counts.count(asked.proof.method(), until, clock.now());
        Ok(answer?)
    }

    async fn judge(&self, call: Call<'_>, asked: &Asked<'_>) -> Result<Judged, SessionError> {
        let Shared { clock, turnstile, audience, vouching, .. } = &*self.shared;
        let source = call.forwarded.or(call.peer).map(|address| Source::of(address.ip()));
        if !turnstile.pass(clock.elapsed(), source) {
            return Err(SessionError::TooMany);
        }
        // What isn't taken at all is told before it is told whether there is such an access point.
        Ok(match asked.proof {
            ShownProof::Assertion(text) => {
                let audience = audience.as_deref().ok_or(SessionError::NoAudience)?;
                self.judge_key(asked, |access_point, catalog, now, found| {
                    self.judge_assertion(catalog, (access_point, text), (audience, now), found)
                })
            }
            ShownProof::Connection(certificate) => {
                self.judge_key(asked, |access_point, catalog, now, found| {
                    let key = judge_connection(catalog, access_point, certificate, found)?;
                    fit(access_point, &key, now).map(|()| key)
                })
            }
            ShownProof::RoleToken(text) => {
                if !vouching.takes_tokens() {
                    return Err(SessionError::NoTokenIssuers);
                }
                self.judge_token(asked, text).await
            }
            ShownProof::CallerIdentity(parameters) => {
                let sts = vouching.sts().ok_or(SessionError::NoSts)?;
                let judged = self.judge_identity(asked, parameters, (&sts, source)).await;
                judged.ok_or(SessionError::StsBusy)?
            }
        })
    }

    /// Records what came of a request, and answers it.
    async fn answer(
        &self,
        call: Call<'_>,
        asked: &Asked<'_>,
        judged: Judged,
    ) -> Result<Granted, NotGranted> {
        let session = judged.session(asked.lifetime);
        let name = asked.access_point.to_string();
        let draft = SessionDraft {
            time: judged.now,
            access_point: &name,
            access_point_uid: judged.access_point,
            method: asked.proof.method(),
            credential: judged.prover.as_ref().map(Prover::credential),
            voucher: judged.vouched.as_ref().map_or_else(Voucher::default, Vouched::voucher),
            outcome: match &session {
                Ok(session) => SessionOutcome::Granted(session.expires),
                Err(refusal) => SessionOutcome::Refused(refusal.reason, refusal.problem),
            },
            revision: judged.revision,
        };
        let refusal = match session {
            Ok(session) => {
                self.record(call, &asked.access_point, &draft).await?;
                if let Some(Prover::Key(key)) = &judged.prover {
                    self.shared.uses.note(key, judged.now);
                }
                let token = self.shared.keys.seal(&session);
                return Ok(Granted { token, expires: session.expires });
            }
            Err(refusal) => refusal,
        };
        match refusal.by {
            By::Holder => self.record(call, &asked.access_point, &draft).await?,
            By::Anybody => self.refusals.record_session(call, REFUSED, &draft),
        }
        Err(NotGranted::Refused(refusal))
    }

    /// Judges the proof of a client key: which key it is, and whether it proves something.
    fn judge_key<F>(&self, asked: &Asked<'_>, judge: F) -> Judged
    where
        F: FnOnce(
            &AccessPoint,
            &Catalog,
            UnixNanos,
            &mut Option<Arc<ClientKey>>,
        ) -> Result<Arc<ClientKey>, Refusal>,
    {
        let (state, now) = (self.shared.published.load_full(), self.shared.clock.now());
        let access_point = state.catalog.access_point(&asked.access_point);
        let mut found = None;
        let outcome = match access_point {
            None => Err(Refusal::of_anybody(DenyReason::AccessPointNotFound)),
            Some(access_point) if access_point.authentication != Authentication::ClientKey => {
                Err(Refusal::of_anybody(DenyReason::AuthenticationMethodMismatch))
            }
            Some(access_point) => judge(access_point, &state.catalog, now, &mut found),
        };
        Judged {
            now,
            revision: state.revision(),
            access_point: access_point.map(|found| found.header.uid),
            prover: found.map(Prover::Key),
            vouched: None,
            outcome: outcome.map(|key| key.validity.not_after()),
        }
    }

    fn judge_assertion(
        &self,
        catalog: &Catalog,
        (access_point, text): (&AccessPoint, &str),
        (audience, now): (&str, UnixNanos),
        found: &mut Option<Arc<ClientKey>>,
    ) -> Result<Arc<ClientKey>, Refusal> {
        let by_anybody = |problem| Refusal::of_proof(problem, By::Anybody);
        let assertion = Assertion::read(text).map_err(by_anybody)?;
        let id = assertion.key_id().map_err(by_anybody)?;
        let key = Id::parse(id).ok().and_then(|id| {
            let access_point = access_point.name.clone();
            catalog.client_key(&ClientKeyName { access_point, id })
        });
        let key = key.ok_or_else(|| Refusal::of_anybody(DenyReason::CredentialUnknown))?;
        *found = Some(Arc::clone(key));
        let started = self.shared.started;
        let expected = Expected { key_id: id, key: &key.public_key, audience, now, started };
        let proof = assertion.verify(&expected).map_err(|unproven| match unproven {
            Unproven::ByAnybody(problem) => by_anybody(problem),
            Unproven::ByKey(problem) => Refusal::of_proof(problem, By::Holder),
        })?;
        fit(access_point, key, now)?;
        let prover = replay::Prover {
            account: access_point.name.location.account.clone(),
            credential: replay::Credential::Key(key.header.uid),
        };
        self.shared
            .replay
            .show(prover, &proof.id, proof.expires, now)
            .map_err(|problem| Refusal::of_proof(problem, By::Holder))?;
        Ok(Arc::clone(key))
    }

    async fn record(
        &self,
        call: Call<'_>,
        access_point: &AccessPointName,
        draft: &SessionDraft<'_>,
    ) -> Result<(), RecordError> {
        let draft = Draft {
            account: access_point.location.account.as_str(),
            region: access_point.location.region.as_str(),
            call,
            event: EventDraft::Session(draft),
        };
        self.shared.log.append(self.lane, [draft])?.await?;
        Ok(())
    }
}

impl From<RecordError> for NotGranted {
    fn from(error: RecordError) -> Self {
        Self::Unjudged(error.into())
    }
}

impl From<NotGranted> for SessionError {
    fn from(why: NotGranted) -> Self {
        match why {
            NotGranted::Refused(refusal) => match refusal.problem {
                Some(ProofProblem::KeysUnavailable | ProofProblem::StsUnavailable) => {
                    Self::VoucherUnavailable
                }
                _ => Self::Refused,
            },
            NotGranted::Unjudged(error) => error,
        }
    }
}

impl ShownProof<'_> {
    fn method(self) -> ProofMethod {
        match self {
            Self::Assertion(_) => ProofMethod::ClientKeyAssertion,
            Self::Connection(_) => ProofMethod::ClientKeyTls,
            Self::RoleToken(_) => ProofMethod::RoleToken,
            Self::CallerIdentity(_) => ProofMethod::CallerIdentity,
        }
    }
}

/// Of the certificate only its key counts: the handshake has shown that the other end has it.
fn judge_connection(
    catalog: &Catalog,
    access_point: &AccessPoint,
    certificate: Option<&PeerCertificate>,
    found: &mut Option<Arc<ClientKey>>,
) -> Result<Arc<ClientKey>, Refusal> {
    let unknown = || Refusal::of_anybody(DenyReason::CredentialUnknown);
    let shown = certificate.ok_or_else(unknown)?.public_key();
    let key = catalog
        .client_keys_of(&access_point.name)
        .find(|key| *key.public_key.info == **shown)
        .ok_or_else(unknown)?;
    *found = Some(Arc::clone(key));
    Ok(Arc::clone(key))
}

/// What keeps a proved application from having a session.
fn fit(access_point: &AccessPoint, key: &ClientKey, now: UnixNanos) -> Result<(), Refusal> {
    if access_point.state == AccessPointState::Suspended {
        return Err(Refusal::of_holder(DenyReason::AccessPointSuspended));
    }
    unfit(key.state, key.validity, now).map_or(Ok(()), |reason| Err(Refusal::of_holder(reason)))
}

impl Judged {
    /// A session that lasts no longer than what proved it, if it is granted.
    fn session(&self, Lifetime(seconds): Lifetime) -> Result<Session, Refusal> {
        let until = self.outcome?;
        let unknown = || Refusal::of_anybody(DenyReason::CredentialUnknown);
        let made = UnixNanos::from_parts(self.now.seconds(), 0);
        Ok(Session {
            access_point: self.access_point.ok_or_else(unknown)?,
            proved_by: self.prover.as_ref().map(Prover::credential).ok_or_else(unknown)?,
            revision: self.revision,
            made,
            expires: until.min(made.plus_seconds(seconds)),
        })
    }
}

impl Prover {
    fn credential(&self) -> Credential {
        match self {
            Self::Key(key) => Credential::ClientKey(key.header.uid),
            Self::Role(uid) => Credential::RamRole(*uid),
        }
    }
}

impl Vouched {
    fn voucher(&self) -> Voucher<'_> {
        let issuer = self.issuer.as_ref().map_or("", Id::as_str);
        Voucher { issuer, principal: &self.principal }
    }
}

/// How many requests for sessions are looked at in a second: what comes beyond costs nothing.
#[derive(Debug, Default)]
pub struct Turnstile(Mutex<Passed>);

#[derive(Debug, Default)]
struct Passed {
    window: Duration,
    sources: Vec<Option<Source>>,
}

impl Turnstile {
    /// In all: verifying so many signatures takes a few hundredths of a processor.
    pub const PER_SECOND: usize = 500;
    /// From one IPv4 /24 or IPv6 /48.
    pub const PER_SOURCE: usize = 100;

    /// Whether one more may pass.
    fn pass(&self, now: Duration, source: Option<Source>) -> bool {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(passed.window) >= Duration::from_secs(1) {
            passed.window = now;
            passed.sources.clear();
        }
        let of_source = passed.sources.iter().filter(|one| **one == source).count();
        let may_pass = passed.sources.len() < Self::PER_SECOND && of_source < Self::PER_SOURCE;
        if may_pass {
            passed.sources.push(source);
        }
        may_pass
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn one_network_takes_a_part_of_what_may_be_asked_and_all_take_no_more_than_that() {
        let turnstile = Turnstile::default();
        let pass = |now: u64, network: u8| {
            let address = IpAddr::from([192, 0, network, 1]);
            turnstile.pass(Duration::from_millis(now), Some(Source::of(address)))
        };
        assert_eq!((0..1_000).filter(|_| pass(0, 1)).count(), Turnstile::PER_SOURCE);
        let others: usize = (2..100).map(|one| (0..100).filter(|_| pass(900, one)).count()).sum();
        assert_eq!(others, Turnstile::PER_SECOND - Turnstile::PER_SOURCE);
        assert!(!pass(999, 200));
        assert!(pass(1_000, 200) && pass(1_000, 1));
    }

    #[test]
    fn a_lifetime_is_an_hour_at_most() {
        assert_eq!(Lifetime::of_seconds(0), Ok(Lifetime(900)));
        assert_eq!(Lifetime::of_seconds(3_600), Ok(Lifetime(3_600)));
        for bad in [-1, 3_601, i32::MAX, i32::MIN] {
            assert_eq!(Lifetime::of_seconds(bad), Err(InvalidLifetime), "{bad}");
        }
    }
}
