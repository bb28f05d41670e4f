//! Has those asked who vouch for the RAM roles of applications: issuers for their keys, which are kept,
//! and the STS for whose a signed request is, which is not.
//!
//! They are asked on the second runtime, never on one that serves calls; each question has bounds of
//! its own, and however many wait for the same answer, it is asked for once. An issuer whose server is
//! silent costs the others nothing.

mod places;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::StatusCode;
use tokio::runtime::Handle;

use crate::{
    clock::Clock,
    domain::{client_key::PublicKey, proof::ProofProblem},
    identity::{
        caller_identity::{Identity, MAX_ANSWER_BYTES, SignedRequest},
        https::{Answer, Asker, Endpoint, Patience, Question, Unanswered},
        key_set::{self, KeySet},
        vouchers::{KeySource, Sts, TokenIssuer, Vouchers},
    },
};

use super::refusals::Source;

use self::places::Places;
pub use self::places::{IN_ALL as WITH_STS, OF_SOURCE as WITH_STS_OF_SOURCE};

/// How much an issuer's keys may have, and how long it may take to say them.
const PATIENCE: Patience = Patience { max_bytes: key_set::MAX_BYTES, time: Duration::from_secs(5) };
/// How often an issuer is asked for its keys, so that one that it takes back counts no longer.
const REFRESH: Duration = Duration::from_mins(5);
/// How long it isn't asked again, whatever keys tokens name.
const PAUSE: Duration = Duration::from_secs(10);
/// How long keys count that it hasn't confirmed since.
const LONGEST: Duration = Duration::from_hours(24);

/// Those who vouch, as of now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vouching(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Current>,
    /// Who is with the STS.
    places: Places,
    /// Asks issuers.
    asker: Asker,
    /// Asks the STS: threads that wait for an issuer's address are none that it needs.
    sts_asker: Asker,
    /// Whether the STS's silence was logged already.
    sts_silence: Silence,
    clock: Clock,
    background: Handle,
}

#[derive(Debug)]
struct Current {
    issuers: Vec<Arc<Issuer>>,
    sts: Option<Arc<Sts>>,
}

/// Why it isn't known whose a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unidentified {
    /// It is no proof, or nobody can say so.
    Unproven(ProofProblem),
    /// As many requests are with the STS as may be.
    Busy,
}

/// An issuer, and its keys.
#[derive(Debug)]
pub struct Issuer {
    /// What the configuration says of it.
    pub config: Arc<TokenIssuer>,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Given(Arc<KeySet>),
    Asked(Arc<Asked>),
}

/// The keys of an issuer that is asked for them.
#[derive(Debug)]
struct Asked {
    endpoint: Endpoint,
    last: ArcSwapOption<Said>,
    /// When it was asked last. Held while it is asked, so that all who wait share one answer.
    tried: tokio::sync::Mutex<Option<Duration>>,
    /// Whether its silence was logged already.
    silence: Silence,
}

/// When somebody who is asked was silent last, if that was logged and isn't over. It is over with an
/// answer some time later, so that who answers now and then fills no log.
#[derive(Debug, Default)]
struct Silence(Mutex<Option<Duration>>);

/// What a silence, or its end, is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// It is to be logged.
    New,
    /// It was logged, or there is nothing to say.
    Known,
}

/// What an issuer has said, and when.
#[derive(Debug)]
struct Said {
    keys: KeySet,
    at: Duration,
}

impl Vouching {
    /// Has these asked, on that runtime.
    pub fn new(vouchers: &Vouchers, clock: Clock, background: Handle) -> Self {
        let current = ArcSwap::from_pointee(Current::of(vouchers, &[]));
        Self(Arc::new(Shared {
            current,
            places: Places::default(),
            asker: Asker::default(),
            sts_asker: Asker::default(),
            sts_silence: Silence::default(),
            clock,
            background,
        }))
    }

    /// Puts others in the place of all. What is known of an issuer whose keys are from the same
    /// server stays known.
    pub fn replace(&self, vouchers: &Vouchers) {
        let before = self.0.current.load();
        self.0.current.store(Arc::new(Current::of(vouchers, &before.issuers)));
        self.refresh();
    }

    /// Whether anybody vouches by tokens.
    pub fn takes_tokens(&self) -> bool {
        !self.0.current.load().issuers.is_empty()
    }

    /// The issuer that calls itself so.
    pub fn issuer(&self, named: &str) -> Option<Arc<Issuer>> {
        let current = self.0.current.load();
        current.issuers.iter().find(|issuer| *issuer.config.issuer == *named).map(Arc::clone)
    }

    /// The key of an issuer with that id. One that isn't known may be new: the issuer is asked. What
    /// it says counts if the configuration still has it then, and as it was.
    pub async fn key(&self, issuer: &Issuer, id: &str) -> Result<PublicKey, ProofProblem> {
        let asked = match &issuer.keys {
            Keys::Given(keys) => return keys.find(id).cloned().ok_or(ProofProblem::KeyUnknown),
            Keys::Asked(asked) => Arc::clone(asked),
        };
        let Shared { clock, .. } = &*self.0;
        if let Ok(key) = asked.find(id, clock.elapsed()) {
            return Ok(key);
        }
        let (this, waiting) = (self.clone(), Arc::clone(&asked));
        let asking = self.0.background.spawn(async move { waiting.ask(&this.0, PAUSE).await });
        // If it panicked, it has said so.
        let _ = asking.await;
        let now = self.issuer(&issuer.config.issuer);
        if now.is_none_or(|now| now.config != issuer.config) {
            return Err(ProofProblem::IssuerUnknown);
        }
        asked.find(id, clock.elapsed())
    }

    /// Who says whose a signed request is, if anybody does.
    pub fn sts(&self) -> Option<Arc<Sts>> {
        self.0.current.load().sts.clone()
    }

    /// Has the STS say whose a request is, for somebody who calls from there. What it says counts if
    /// the configuration still has it then, and as it was.
    pub async fn identify(
        &self,
        sts: &Arc<Sts>,
        request: SignedRequest,
        source: Option<Source>,
    ) -> Result<Identity, Unidentified> {
        let place = self.0.places.take(source).ok_or(Unidentified::Busy)?;
        let (this, asked) = (self.clone(), Arc::clone(sts));
        let asking = self.0.background.spawn(async move {
            // Given back when the STS has answered, and not when whoever waits goes away.
            let _place = place;
            let patience = Patience { max_bytes: MAX_ANSWER_BYTES, time: asked.time };
            let question = Question::Post(request.reveal());
            let answer = this.0.sts_asker.ask(&asked.endpoint, question, patience).await;
            this.0.tell_of_sts(asked.endpoint.url(), &answer);
            read_identity(answer)
        });
        // If it panicked, it has said so.
        let identity = asking.await.unwrap_or(Err(ProofProblem::StsUnavailable));
        let identity = identity.map_err(Unidentified::Unproven)?;
        match self.sts() {
            Some(now) if now == *sts => Ok(identity),
            Some(_) | None => Err(Unidentified::Unproven(ProofProblem::StsUnavailable)),
        }
    }

    /// Asks everybody again whose keys are older than they should be.
    pub fn refresh(&self) {
        let current = self.0.current.load_full();
        let all = current.issuers.iter().filter_map(|issuer| match &issuer.keys {
            Keys::Given(_) => None,
            Keys::Asked(asked) => Some(Arc::clone(asked)),
        });
        for asked in all {
            let this = self.clone();
            self.0.background.spawn(async move { asked.ask(&this.0, REFRESH).await });
        }
    }
}

impl Shared {
    /// Logs that the STS can't be asked, or can be asked again: what is behind it is nothing that
    /// applications are told.
    fn tell_of_sts(&self, url: &str, answer: &Result<Answer, Unanswered>) {
        let now = self.clock.elapsed();
        let error = match answer {
            Ok(Answer::Other(status)) if is_unable(*status) => {
                format!("it answered {}", status.as_u16())
            }
            Ok(_) => {
                if self.sts_silence.end(now) == News::New {
                    tracing::info!(url, "the STS answers again");
                }
                return;
            }
            Err(error) => error.to_string(),
        };
        if self.sts_silence.begin(now) == News::New {
            tracing::warn!(url, error, "the STS can't be asked");
        }
    }
}

/// What an answer of the STS comes to.
fn read_identity(answer: Result<Answer, Unanswered>) -> Result<Identity, ProofProblem> {
    match answer {
        Ok(Answer::Good(body)) => Identity::read(&body),
        Ok(Answer::Other(status)) if is_unable(status) => Err(ProofProblem::StsUnavailable),
        Ok(Answer::Other(status)) if status.is_client_error() => Err(ProofProblem::StsRefused),
        // It isn't followed where it sends somebody.
        Ok(Answer::Other(_)) | Err(Unanswered::TooLarge | Unanswered::Encoded) => {
            Err(ProofProblem::StsAnswerInvalid)
        }
        Err(_) => Err(ProofProblem::StsUnavailable),
    }
}

/// Whether a status says that the STS can't answer now, whatever it is asked.
fn is_unable(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

impl Current {
    fn of(vouchers: &Vouchers, before: &[Arc<Issuer>]) -> Self {
        let issuers = vouchers.issuers.iter().map(|one| Arc::new(Issuer::of(one, before)));
        Self { issuers: issuers.collect(), sts: vouchers.sts.clone() }
    }
}

impl Issuer {
    fn of(config: &Arc<TokenIssuer>, before: &[Arc<Self>]) -> Self {
        let keys = match &config.keys {
            KeySource::Given(keys) => Keys::Given(Arc::clone(keys)),
            KeySource::Server(endpoint) => {
                let known = before.iter().find_map(|issuer| match &issuer.keys {
                    Keys::Asked(asked) if asked.endpoint == *endpoint => Some(asked),
                    Keys::Asked(_) | Keys::Given(_) => None,
                });
                Keys::Asked(known.map_or_else(|| Arc::new(Asked::at(endpoint)), Arc::clone))
            }
        };
        Self { config: Arc::clone(config), keys }
    }
}

impl Asked {
    fn at(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            last: ArcSwapOption::empty(),
            tried: tokio::sync::Mutex::new(None),
            silence: Silence::default(),
        }
    }

    /// The key of that id, as far as is known.
    fn find(&self, id: &str, now: Duration) -> Result<PublicKey, ProofProblem> {
        let last = self.last.load();
        let said = last.as_ref().filter(|said| now.saturating_sub(said.at) < LONGEST);
        let said = said.ok_or(ProofProblem::KeysUnavailable)?;
        said.keys.find(id).cloned().ok_or(ProofProblem::KeyUnknown)
    }

    /// Asks for the keys, unless that was done no longer ago than `pause`.
    async fn ask(&self, shared: &Shared, pause: Duration) {
        let mut tried = self.tried.lock().await;
        let now = shared.clock.elapsed();
        if tried.is_some_and(|tried| now.saturating_sub(tried) < pause) {
            return;
        }
        *tried = Some(now);
        let url = self.endpoint.url();
        match self.fetch(&shared.asker).await {
            Ok(keys) => {
                let count = keys.count();
                if self.silence.end(now) == News::New {
                    tracing::info!(url, count, "an issuer's keys are there again");
                }
                self.last.store(Some(Arc::new(Said { keys, at: now })));
            }
            Err(error) => {
                if self.silence.begin(now) == News::New {
                    tracing::warn!(url, %error, "an issuer's keys can't be had; it is asked again");
                }
            }
        }
    }

    async fn fetch(&self, asker: &Asker) -> Result<KeySet, String> {
        match asker.ask(&self.endpoint, Question::Get, PATIENCE).await {
            Ok(Answer::Good(body)) => KeySet::parse(&body).map_err(|error| error.to_string()),
            Ok(Answer::Other(status)) => Err(format!("it answered {}", status.as_u16())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Silence {
    /// Somebody is silent.
    fn begin(&self, now: Duration) -> News {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(now).is_none() { News::New } else { News::Known }
    }

    /// Somebody answers.
    fn end(&self, now: Duration) -> News {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = last.is_some_and(|last| now.saturating_sub(last) >= PAUSE);
        if is_over && last.take().is_some() { News::New } else { News::Known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::time::UnixNanos,
        identity::{
            caller_identity::Expected,
            https::testing::{hold_lookups, roots},
            vouchers::SharedRoles,
        },
    };

    /// A server at a port of this machine where nobody is, which has to be looked up.
    fn nobody(time: Duration) -> Arc<Sts> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let endpoint = Endpoint::parse(&url, roots()).unwrap();
        Arc::new(Sts { endpoint, time, audience: None, shared_roles: SharedRoles::Refused })
    }

    fn request() -> SignedRequest {
        let parameters = [
            ("Timestamp", "2026-11-23T16:21:20Z"),
            ("AccessKeyId", "STS.abc"),
            ("Action", "GetCallerIdentity"),
            ("Format", "JSON"),
            ("SecurityToken", "token"),
            ("Signature", "signature"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", "n-1"),
            ("SignatureVersion", "1.0"),
            ("Version", "2015-04-01"),
        ];
        let (now, started) = (UnixNanos::from_parts(1_795_450_881, 0), UnixNanos(0));
        let expected = Expected { audience: None, now, started };
        SignedRequest::read(&parameters, &expected).unwrap()
    }

    #[test]
    fn a_silence_and_its_end_are_news_once() {
        let silence = Silence::default();
        let [begin, end] = [Silence::begin, Silence::end];
        for (turn, seconds, news) in [
            (end, 0, News::Known),
            (begin, 1, News::New),
            (begin, 2, News::Known),
            // An answer in between doesn't end it.
            (end, 3, News::Known),
            (begin, 4, News::Known),
            (end, 13, News::Known),
            (end, 14, News::New),
            (end, 15, News::Known),
            (begin, 16, News::New),
        ] {
            assert_eq!(turn(&silence, Duration::from_secs(seconds)), news, "{seconds}");
        }
    }

    #[tokio::test]
    async fn a_name_server_that_is_silent_about_issuers_holds_up_no_question_to_the_sts() {
        let sts = nobody(Duration::from_mins(1));
        let vouchers = Vouchers { issuers: Vec::new(), sts: Some(Arc::clone(&sts)) };
        let vouching = Vouching::new(&vouchers, Clock::manual(UnixNanos(0)), Handle::current());
        let held = hold_lookups(&vouching.0.asker);
        let asking = vouching.identify(&sts, request(), None);
        let identified = tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap();
        let unavailable = Unidentified::Unproven(ProofProblem::StsUnavailable);
        assert_eq!(identified, Err(unavailable));
        drop(held);
    }
}
