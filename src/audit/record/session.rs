//! What records say of sessions: that one was asked for, and that one was shown.

use crate::domain::{
    decision::DenyReason,
    proof::ProofProblem,
    resource::Uid,
    session::{Credential, Session},
    time::UnixNanos,
};

use super::{OUTCOME_ALLOW, OUTCOME_DENY, cut, encode_uid, reason_number, wire};

/// An application asked for a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionDraft<'a> {
    /// When it was judged.
    pub time: UnixNanos,
    /// The access point that it is asked for, by name.
    pub access_point: &'a str,
    /// Its uid, if it exists.
    pub access_point_uid: Option<Uid>,
    /// How it was to be proved.
    pub method: ProofMethod,
    /// What is to have proved it, if it exists.
    pub credential: Option<Credential>,
    /// Who vouched for an application that proved its role.
    pub voucher: Voucher<'a>,
    /// What came of it.
    pub outcome: SessionOutcome,
    /// The revision judged at.
    pub revision: u64,
}

/// How an application proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofMethod {
    /// By a token that its client key signed.
    ClientKeyAssertion,
    /// By a connection that shows that it has its client key.
    ClientKeyTls,
    /// By a token of an issuer that vouches for its role.
    RoleToken,
    /// By a signed request to the STS, which says what role made it.
    CallerIdentity,
}

/// Who vouched for an application, and by what name. Nothing of a client key, which is its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Voucher<'a> {
    /// The issuer's name in the configuration.
    pub issuer: &'a str,
    /// What the application is called there; cut where it is too long.
    pub principal: &'a str,
}

/// Where a principal is cut.
const MAX_PRINCIPAL_BYTES: usize = 256;

/// What came of asking for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// It was granted, until then.
    Granted(UnixNanos),
    /// It was refused; something may be wrong with the proof itself.
    Refused(DenyReason, Option<ProofProblem>),
}

pub(super) fn encode(out: &mut Vec<u8>, draft: &SessionDraft<'_>) {
    let SessionDraft {
        time,
        access_point,
        access_point_uid,
        method,
        credential,
        voucher,
        outcome,
        revision,
    } = draft;
    wire::timestamp(out, 1, *time);
    wire::bytes(out, 2, access_point.as_bytes());
    encode_uid(out, 3, *access_point_uid);
    wire::integer(out, 4, method_number(*method));
    let (client_key, ram_role) = uids(*credential);
    encode_uid(out, 5, client_key);
    match outcome {
        SessionOutcome::Granted(_) => {
            wire::integer(out, 6, OUTCOME_ALLOW);
            wire::integer(out, 7, REASON_PROOF_ACCEPTED);
        }
        SessionOutcome::Refused(reason, problem) => {
            wire::integer(out, 6, OUTCOME_DENY);
            wire::integer(out, 7, reason_number(*reason));
            wire::integer(out, 8, problem.map_or(0, problem_number));
        }
    }
    wire::integer(out, 9, *revision);
    if let SessionOutcome::Granted(expires) = outcome {
        wire::timestamp(out, 10, *expires);
    }
    encode_uid(out, 11, ram_role);
    wire::bytes(out, 12, voucher.issuer.as_bytes());
    wire::bytes(out, 13, cut(voucher.principal, MAX_PRINCIPAL_BYTES).as_bytes());
}

/// The uid of a client key, and that of a RAM role.
fn uids(credential: Option<Credential>) -> (Option<Uid>, Option<Uid>) {
    match credential {
        None => (None, None),
        Some(Credential::ClientKey(uid)) => (Some(uid), None),
        Some(Credential::RamRole(uid)) => (None, Some(uid)),
    }
}

/// A session that a check showed: all that it is judged by.
pub(super) fn encode_shown(out: &mut Vec<u8>, session: &Session) {
    let Session { access_point: _, proved_by, revision, made, expires } = session;
    let (client_key, ram_role) = uids(Some(*proved_by));
    encode_uid(out, 1, client_key);
    wire::integer(out, 2, *revision);
    wire::timestamp(out, 3, *made);
    wire::timestamp(out, 4, *expires);
    encode_uid(out, 5, ram_role);
}

// The numbers of `aap.v1.DecisionReason`, `aap.v1.ProofMethod` and `aap.v1.ProofProblem`. Tests hold
// them equal.
const REASON_PROOF_ACCEPTED: u64 = 15;

fn method_number(method: ProofMethod) -> u64 {
    match method {
        ProofMethod::ClientKeyAssertion => 1,
        ProofMethod::ClientKeyTls => 2,
        ProofMethod::RoleToken => 3,
        ProofMethod::CallerIdentity => 4,
    }
}

/// Their order is that of [`ProofProblem::ALL`].
pub(in crate::audit) fn problem_number(problem: ProofProblem) -> u64 {
    match problem {
        ProofProblem::Malformed => 1,
        ProofProblem::AlgorithmMismatch => 2,
        ProofProblem::CriticalHeader => 3,
        ProofProblem::KeyIdMissing => 4,
        ProofProblem::SignatureInvalid => 5,
        ProofProblem::IssuerMismatch => 6,
        ProofProblem::AudienceMismatch => 7,
        ProofProblem::ExpiryMissing => 8,
        ProofProblem::Expired => 9,
        ProofProblem::ExpiryTooFar => 10,
        ProofProblem::IssueTimeMissing => 11,
        ProofProblem::IssuedInFuture => 12,
        ProofProblem::IssuedBeforeStart => 13,
        ProofProblem::NotYetValid => 14,
        ProofProblem::IdMissing => 15,
        ProofProblem::Replayed => 16,
        ProofProblem::MemoryFull => 17,
        ProofProblem::IssuerUnknown => 18,
        ProofProblem::IssuerNotForAccount => 19,
        ProofProblem::IssuerNotForTrustedRole => 20,
        ProofProblem::KeyUnknown => 21,
        ProofProblem::KeysUnavailable => 22,
        ProofProblem::RoleMismatch => 23,
        ProofProblem::ParameterUnknown => 24,
        ProofProblem::ParameterRepeated => 25,
        ProofProblem::ParameterMissing => 26,
        ProofProblem::ParameterInvalid => 27,
        ProofProblem::StsUnavailable => 28,
        ProofProblem::StsRefused => 29,
        ProofProblem::StsAnswerInvalid => 30,
        ProofProblem::IdentityMismatch => 31,
        ProofProblem::AccountMismatch => 32,
        ProofProblem::RoleShared => 33,
    }
}
