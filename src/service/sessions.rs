//! Granting sessions: an application proves who it is, and gets a token that checks can show.
//!
//! Whoever asks is nobody yet. What it may cost the server is decided before anything of the proof is
//! looked at; of all that can be wrong, only the record has which it was.

use std::{
    net::IpAddr,
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
        replay::ReplayMemory,
        session::{SessionKeys, SessionToken},
    },
    projection::Published,
};

use super::{
    key_uses::KeyUses,
    refusals::{Refusals, Source},
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
    /// How many may ask.
    pub turnstile: Turnstile,
    /// Where it is noted that keys are used.
    pub uses: KeyUses,
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
    /// This server takes no assertions.
    #[error("this server takes no assertions: its configuration has no `sessions.audience`")]
    NoAudience,
    /// It can't be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What an application shows, and what it must be meant for.
#[derive(Clone, Copy)]
enum Claimed<'a> {
    Assertion(&'a str, &'a str),
    Connection(Option<&'a PeerCertificate>),
}

/// A request that is refused.
struct Refusal {
    reason: DenyReason,
    problem: Option<ProofProblem>,
    by: By,
}

/// Who can have made a request.
#[derive(Clone, Copy, PartialEq, Eq)]
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
        let Shared { published, clock, turnstile, keys, .. } = &*self.shared;
        let source = call.forwarded.or(call.peer).map(|address| address.ip());
        if !turnstile.pass(clock.elapsed(), source) {
            return Err(SessionError::TooMany);
        }
        let proof = match asked.proof {
            // Before it is told whether there is such an access point.
            ShownProof::Assertion(text) => {
                let audience = self.shared.audience.as_deref();
                Claimed::Assertion(text, audience.ok_or(SessionError::NoAudience)?)
            }
            ShownProof::Connection(certificate) => Claimed::Connection(certificate),
        };
        let state = published.load_full();
        let now = clock.now();
        let access_point = state.catalog.access_point(&asked.access_point);
        let (key, judged) = match access_point {
            None => (None, Err(Refusal::of_anybody(DenyReason::AccessPointNotFound))),
            Some(access_point) => self.judge(&state.catalog, access_point, proof, now),
        };
        let revision = state.revision();
        let session = judged.map(|()| {
            let key = key.as_deref();
            grant(access_point, key, asked.lifetime, (revision, now))
        });
        let draft = SessionDraft {
            time: now,
            access_point: &asked.access_point.to_string(),
            access_point_uid: access_point.map(|found| found.header.uid),
            method: asked.proof.method(),
            credential: key.as_ref().map(|key| Credential::ClientKey(key.header.uid)),
            voucher: Voucher::default(),
            outcome: match &session {
                Ok(session) => SessionOutcome::Granted(session.expires),
                Err(refusal) => SessionOutcome::Refused(refusal.reason, refusal.problem),
            },
            revision,
        };
        match session {
            Ok(session) => {
                self.record(call, &asked.access_point, &draft).await?;
                if let Some(key) = &key {
                    self.shared.uses.note(key, now);
                }
                Ok(Granted { token: keys.seal(&session), expires: session.expires })
            }
            Err(Refusal { by: By::Holder, .. }) => {
                self.record(call, &asked.access_point, &draft).await?;
                Err(SessionError::Refused)
            }
            Err(Refusal { by: By::Anybody, .. }) => {
                self.refusals.record_session(call, REFUSED, &draft);
                Err(SessionError::Refused)
            }
        }
    }

    /// The key that is to have proved it, and whether it has.
    fn judge(
        &self,
        catalog: &Catalog,
        access_point: &AccessPoint,
        proof: Claimed<'_>,
        now: UnixNanos,
    ) -> (Option<Arc<ClientKey>>, Result<(), Refusal>) {
        if access_point.authentication != Authentication::ClientKey {
            let reason = DenyReason::AuthenticationMethodMismatch;
            return (None, Err(Refusal::of_anybody(reason)));
        }
        let mut found = None;
        let judged = match proof {
            Claimed::Assertion(text, audience) => {
                let expected = (audience, now);
                self.judge_assertion(catalog, (access_point, text), expected, &mut found)
            }
            Claimed::Connection(certificate) => {
                judge_connection(catalog, access_point, certificate, &mut found)
                    .and_then(|key| fit(access_point, &key, now))
            }
        };
        (found, judged)
    }

    fn judge_assertion(
        &self,
        catalog: &Catalog,
        (access_point, text): (&AccessPoint, &str),
        (audience, now): (&str, UnixNanos),
        found: &mut Option<Arc<ClientKey>>,
    ) -> Result<(), Refusal> {
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
        self.shared
            .replay
            .show(key.header.uid, &proof.id, proof.expires, now)
            .map_err(|problem| Refusal::of_proof(problem, By::Holder))
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

impl ShownProof<'_> {
    fn method(self) -> ProofMethod {
        match self {
            Self::Assertion(_) => ProofMethod::ClientKeyAssertion,
            Self::Connection(_) => ProofMethod::ClientKeyTls,
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

/// A session that lasts no longer than its key.
fn grant(
    access_point: Option<&Arc<AccessPoint>>,
    key: Option<&ClientKey>,
    Lifetime(seconds): Lifetime,
    (revision, now): (u64, UnixNanos),
) -> Session {
    let nobody = Uid(uuid::Uuid::nil());
    let made = UnixNanos::from_parts(now.seconds(), 0);
    let wanted = made.plus_seconds(seconds);
    Session {
        access_point: access_point.map_or(nobody, |access_point| access_point.header.uid),
        proved_by: Credential::ClientKey(key.map_or(nobody, |key| key.header.uid)),
        revision,
        made,
        expires: key.map_or(made, |key| key.validity.not_after().min(wanted)),
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
    fn pass(&self, now: Duration, source: Option<IpAddr>) -> bool {
        let source = source.map(Source::of);
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
    use super::*;

    #[test]
    fn one_network_takes_a_part_of_what_may_be_asked_and_all_take_no_more_than_that() {
        let turnstile = Turnstile::default();
        let pass = |now: u64, network: u8| {
            let address = IpAddr::from([192, 0, network, 1]);
            turnstile.pass(Duration::from_millis(now), Some(address))
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
