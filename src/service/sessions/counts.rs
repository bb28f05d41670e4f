//! What came of requests for sessions, and how many were granted that aren't over yet: for operators'
//! tools. Nothing of whose they are.

use std::{
    array,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    audit::{log::RecordError, record::session::ProofMethod},
    domain::{decision::DenyReason, proof::ProofProblem, time::UnixNanos},
    telemetry::{cells::Counter, meters::reason_name},
};

use super::{NotGranted, Refusal, SessionError};

/// How an application can prove who it is.
const METHODS: [ProofMethod; 4] = [
    ProofMethod::ClientKeyAssertion,
    ProofMethod::ClientKeyTls,
    ProofMethod::RoleToken,
    ProofMethod::CallerIdentity,
];

/// What can come of a request: it is granted, it is denied for a reason, something is wrong with its
/// proof, or it isn't judged.
const FATES: usize = 1 + DenyReason::ALL.len() + ProofProblem::ALL.len() + Unjudged::ALL.len();

/// Counts requests for sessions.
#[derive(Debug)]
pub struct Counts {
    requests: [[Counter; FATES]; METHODS.len()],
    /// How many of the sessions end in each second. Those that have ended go when another is granted,
    /// so that there are no more seconds than a session can last.
    ends: Mutex<BTreeMap<i64, u64>>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Granted,
    Denied(DenyReason),
    Unproven(ProofProblem),
    Unjudged(Unjudged),
}

/// Why a request wasn't judged, or what it was judged isn't said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unjudged {
    TooMany,
    StsBusy,
    NoAudience,
    NoTokenIssuers,
    NoSts,
    LogBusy,
    DiskFull,
    Unrecorded,
}

/// How many requests had one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How they were to be proved, as the API calls it.
    pub proof: &'static str,
    /// Whether they were granted: `allow`, `deny`, or `unjudged`.
    pub outcome: &'static str,
    /// The reason, as the API calls it.
    pub reason: &'static str,
    /// How many there were.
    pub count: u64,
}

impl Default for Counts {
    fn default() -> Self {
        let of_method = |_| array::from_fn(|_| Counter::default());
        Self { requests: array::from_fn(of_method), ends: Mutex::default() }
    }
}

impl Counts {
    /// Counts what came of a request: a session until then, or none.
    pub(super) fn count(
        &self,
        method: ProofMethod,
        answer: Result<UnixNanos, &NotGranted>,
        now: UnixNanos,
    ) {
        if let Ok(expires) = answer {
            self.expect_end(expires.seconds(), now.seconds());
        }
        let counters = self.requests.get(method as usize);
        if let Some(counter) = counters.and_then(|counters| counters.get(Fate::of(answer).place()))
        {
            counter.increment();
        }
    }

    fn expect_end(&self, second: i64, now: i64) {
        // Held to count one session, and to add up an hour's seconds.
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *ends = ends.split_off(&now.saturating_add(1));
        *ends.entry(second).or_default() += 1;
    }

    /// How many sessions were granted whose time isn't over. Whether something ended one before isn't
    /// known: a session is judged when it is shown, and kept nowhere.
    pub fn lasting(&self, now: UnixNanos) -> u64 {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().filter(|(second, _)| **second > now.seconds()).map(|(_, count)| count).sum()
    }

    /// How many requests had each fate: those that there were any of, and those that are always told,
    /// so that the first one shows as a change.
    pub fn requests(&self) -> impl Iterator<Item = Count> {
        METHODS.into_iter().zip(&self.requests).flat_map(|(method, counters)| {
            Fate::all().zip(counters).filter_map(move |(fate, counter)| {
                let count = counter.read();
                let (proof, (outcome, reason)) = (method_name(method), fate.names());
                let is_told = count > 0 || fate.is_always_told(method);
                is_told.then_some(Count { proof, outcome, reason, count })
            })
        })
    }
}

impl Fate {
    fn of(answer: Result<UnixNanos, &NotGranted>) -> Self {
        match answer {
            Ok(_) => Self::Granted,
            Err(NotGranted::Refused(Refusal { problem: Some(problem), .. })) => {
                Self::Unproven(*problem)
            }
            Err(NotGranted::Refused(Refusal { reason, .. })) => Self::Denied(*reason),
            Err(NotGranted::Unjudged(error)) => Self::Unjudged(Unjudged::of(error)),
        }
    }

    /// Every fate, each at its place.
    fn all() -> impl Iterator<Item = Self> {
        let denied = DenyReason::ALL.into_iter().map(Self::Denied);
        let unproven = ProofProblem::ALL.into_iter().map(Self::Unproven);
        let unjudged = Unjudged::ALL.into_iter().map(Self::Unjudged);
        [Self::Granted].into_iter().chain(denied).chain(unproven).chain(unjudged)
    }

    fn place(self) -> usize {
        const UNPROVEN: usize = 1 + DenyReason::ALL.len();
        const UNJUDGED: usize = UNPROVEN + ProofProblem::ALL.len();
        match self {
            Self::Granted => 0,
            Self::Denied(reason) => 1 + reason as usize,
            Self::Unproven(problem) => UNPROVEN + problem as usize,
            Self::Unjudged(why) => UNJUDGED + why as usize,
        }
    }

    /// The outcome and the reason.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Granted => ("allow", "PROOF_ACCEPTED"),
            Self::Denied(reason) => ("deny", reason_name(reason)),
            Self::Unproven(problem) => ("deny", problem_name(problem)),
            Self::Unjudged(why) => ("unjudged", why.name()),
        }
    }

    /// Grants, and what somebody is to be told of at once.
    fn is_always_told(self, method: ProofMethod) -> bool {
        match self {
            Self::Granted | Self::Unjudged(Unjudged::TooMany) => true,
            Self::Unproven(ProofProblem::KeysUnavailable) => method == ProofMethod::RoleToken,
            Self::Unproven(ProofProblem::StsUnavailable) => method == ProofMethod::CallerIdentity,
            Self::Denied(_) | Self::Unproven(_) | Self::Unjudged(_) => false,
        }
    }
}

impl Unjudged {
    const ALL: [Self; 8] = [
        Self::TooMany,
        Self::StsBusy,
        Self::NoAudience,
        Self::NoTokenIssuers,
        Self::NoSts,
        Self::LogBusy,
        Self::DiskFull,
        Self::Unrecorded,
    ];

    fn of(error: &SessionError) -> Self {
        match error {
            SessionError::TooMany => Self::TooMany,
            SessionError::StsBusy => Self::StsBusy,
            SessionError::NoAudience => Self::NoAudience,
            SessionError::NoTokenIssuers => Self::NoTokenIssuers,
            SessionError::NoSts => Self::NoSts,
            SessionError::Record(RecordError::Busy) => Self::LogBusy,
            SessionError::Record(RecordError::Reserve(_)) => Self::DiskFull,
            // The first two are what refusals are told as, which are counted as what they are.
            SessionError::Refused
            | SessionError::VoucherUnavailable
            | SessionError::Record(RecordError::Unavailable) => Self::Unrecorded,
        }
    }

    /// What the caller is told, as the API has it.
    fn name(self) -> &'static str {
        match self {
            Self::TooMany => "TOO_MANY_SESSION_REQUESTS",
            Self::StsBusy => "TOO_MANY_CALLER_IDENTITIES",
            Self::NoAudience => "NO_SESSION_AUDIENCE",
            Self::NoTokenIssuers => "NO_TOKEN_ISSUERS",
            Self::NoSts => "NO_STS",
            Self::LogBusy => "AUDIT_BUSY",
            Self::DiskFull => "DISK_RESERVE_REACHED",
            Self::Unrecorded => "AUDIT_UNAVAILABLE",
        }
    }
}

/// A method's name, as the API has it.
fn method_name(method: ProofMethod) -> &'static str {
    match method {
        ProofMethod::ClientKeyAssertion => "CLIENT_KEY_ASSERTION",
        ProofMethod::ClientKeyTls => "CLIENT_KEY_TLS",
        ProofMethod::RoleToken => "ROLE_TOKEN",
        ProofMethod::CallerIdentity => "CALLER_IDENTITY",
    }
}

/// A problem's name, as the API has it.
fn problem_name(problem: ProofProblem) -> &'static str {
    match problem {
        ProofProblem::Malformed => "MALFORMED",
        ProofProblem::AlgorithmMismatch => "ALGORITHM_MISMATCH",
        ProofProblem::CriticalHeader => "CRITICAL_HEADER",
        ProofProblem::KeyIdMissing => "KEY_ID_MISSING",
        ProofProblem::SignatureInvalid => "SIGNATURE_INVALID",
        ProofProblem::IssuerMismatch => "ISSUER_MISMATCH",
        ProofProblem::AudienceMismatch => "AUDIENCE_MISMATCH",
        ProofProblem::ExpiryMissing => "EXPIRY_MISSING",
        ProofProblem::Expired => "EXPIRED",
        ProofProblem::ExpiryTooFar => "EXPIRY_TOO_FAR",
        ProofProblem::IssueTimeMissing => "ISSUE_TIME_MISSING",
        ProofProblem::IssuedInFuture => "ISSUED_IN_FUTURE",
        ProofProblem::IssuedBeforeStart => "ISSUED_BEFORE_START",
        ProofProblem::NotYetValid => "NOT_YET_VALID",
        ProofProblem::IdMissing => "ID_MISSING",
        ProofProblem::Replayed => "REPLAYED",
        ProofProblem::MemoryFull => "MEMORY_FULL",
        ProofProblem::IssuerUnknown => "ISSUER_UNKNOWN",
        ProofProblem::IssuerNotForAccount => "ISSUER_NOT_FOR_ACCOUNT",
        ProofProblem::IssuerNotForTrustedRole => "ISSUER_NOT_FOR_TRUSTED_ROLE",
        ProofProblem::KeyUnknown => "KEY_UNKNOWN",
        ProofProblem::KeysUnavailable => "KEYS_UNAVAILABLE",
        ProofProblem::RoleMismatch => "ROLE_MISMATCH",
        ProofProblem::ParameterUnknown => "PARAMETER_UNKNOWN",
        ProofProblem::ParameterRepeated => "PARAMETER_REPEATED",
        ProofProblem::ParameterMissing => "PARAMETER_MISSING",
        ProofProblem::ParameterInvalid => "PARAMETER_INVALID",
        ProofProblem::StsUnavailable => "STS_UNAVAILABLE",
        ProofProblem::StsRefused => "STS_REFUSED",
        ProofProblem::StsAnswerInvalid => "STS_ANSWER_INVALID",
        ProofProblem::IdentityMismatch => "IDENTITY_MISMATCH",
        ProofProblem::AccountMismatch => "ACCOUNT_MISMATCH",
        ProofProblem::RoleShared => "ROLE_SHARED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::pb, service::sessions::By};

    #[test]
    fn every_fate_has_a_place_of_its_own_in_their_order() {
        assert_eq!(Fate::all().count(), FATES);
        for (place, fate) in Fate::all().enumerate() {
            assert_eq!(fate.place(), place, "{fate:?}");
        }
        for (place, method) in METHODS.into_iter().enumerate() {
            assert_eq!(method as usize, place, "{method:?}");
        }
    }

    #[test]
    fn everything_has_the_name_that_the_api_has_for_it() {
        for problem in ProofProblem::ALL {
            let name = format!("PROOF_PROBLEM_{}", problem_name(problem));
            assert!(pb::ProofProblem::from_str_name(&name).is_some(), "{name}");
            assert_eq!(
                problem_name(problem).replace('_', ""),
                format!("{problem:?}").to_uppercase()
            );
        }
        for method in METHODS {
            let name = format!("PROOF_METHOD_{}", method_name(method));
            assert!(pb::ProofMethod::from_str_name(&name).is_some(), "{name}");
            assert_eq!(method_name(method).replace('_', ""), format!("{method:?}").to_uppercase());
        }
        for why in Unjudged::ALL {
            let name = format!("ERROR_REASON_{}", why.name());
            assert!(pb::ErrorReason::from_str_name(&name).is_some(), "{name}");
        }
        assert!(pb::DecisionReason::from_str_name("DECISION_REASON_PROOF_ACCEPTED").is_some());
    }

    #[test]
    fn a_request_is_counted_by_what_came_of_it_and_most_is_told_when_it_has_been() {
        let counts = Counts::default();
        let told =
            |counts: &Counts| counts.requests().filter(|one| one.count > 0).collect::<Vec<_>>();
        assert_eq!((counts.requests().count(), told(&counts)), (10, Vec::new()));
        let refused = Refusal::of_anybody(DenyReason::CredentialUnknown);
        let unproven = Refusal::of_proof(ProofProblem::Replayed, By::Holder);
        let (key, token) = (ProofMethod::ClientKeyAssertion, ProofMethod::RoleToken);
        for (method, answer) in [
            (key, Ok(UnixNanos(10))),
            (key, Err(NotGranted::Refused(refused))),
            (key, Err(NotGranted::Refused(unproven))),
            (key, Err(NotGranted::Refused(unproven))),
            (token, Err(NotGranted::Unjudged(SessionError::NoTokenIssuers))),
        ] {
            counts.count(method, answer.as_ref().copied(), UnixNanos(0));
        }
        let wanted = [
            ("CLIENT_KEY_ASSERTION", "allow", "PROOF_ACCEPTED", 1),
            ("CLIENT_KEY_ASSERTION", "deny", "CREDENTIAL_UNKNOWN", 1),
            ("CLIENT_KEY_ASSERTION", "deny", "REPLAYED", 2),
            ("ROLE_TOKEN", "unjudged", "NO_TOKEN_ISSUERS", 1),
        ];
        let wanted =
            wanted.map(|(proof, outcome, reason, count)| Count { proof, outcome, reason, count });
        assert_eq!(told(&counts), wanted);
    }

    #[test]
    fn a_session_lasts_until_its_time_is_over_and_takes_up_no_room_after_that() {
        let counts = Counts::default();
        let at = |seconds| UnixNanos::from_parts(seconds, 999_999_999);
        let grant = |now: i64, seconds| {
            let method = ProofMethod::ClientKeyTls;
            let [now, end] = [now, seconds].map(|second| UnixNanos::from_parts(second, 0));
            counts.count(method, Ok(end), now);
        };
        assert_eq!(counts.lasting(at(0)), 0);
        grant(0, 10);
        grant(0, 10);
        grant(5, 20);
        for (now, lasting) in [(5, 3), (9, 3), (10, 1), (19, 1), (20, 0)] {
            assert_eq!(counts.lasting(at(now)), lasting, "{now}");
        }
        for now in 100..10_000 {
            grant(now, now + 3_600);
        }
        assert_eq!(counts.lasting(at(9_999)), 3_600);
        assert_eq!(counts.ends.lock().unwrap().len(), 3_600);
    }
}
