//! What records say of sessions: that one was asked for, and that one was shown.

use crate::domain::{
    decision::DenyReason, proof::ProofProblem, resource::Uid, session::Session, time::UnixNanos,
};

use super::{OUTCOME_ALLOW, OUTCOME_DENY, encode_uid, reason_number, wire};

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
    /// The uid of the client key that is to have proved it, if it exists.
    pub client_key: Option<Uid>,
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
}

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
        client_key,
        outcome,
        revision,
    } = draft;
    wire::timestamp(out, 1, *time);
    wire::bytes(out, 2, access_point.as_bytes());
    encode_uid(out, 3, *access_point_uid);
    wire::integer(out, 4, method_number(*method));
    encode_uid(out, 5, *client_key);
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
}

/// A session that a check showed: all that it is judged by.
pub(super) fn encode_shown(out: &mut Vec<u8>, session: &Session) {
    let Session { access_point: _, client_key, revision, made, expires } = session;
    encode_uid(out, 1, Some(*client_key));
    wire::integer(out, 2, *revision);
    wire::timestamp(out, 3, *made);
    wire::timestamp(out, 4, *expires);
}

// The numbers of `aap.v1.DecisionReason`, `aap.v1.ProofMethod` and `aap.v1.ProofProblem`. Tests hold
// them equal.
const REASON_PROOF_ACCEPTED: u64 = 15;

fn method_number(method: ProofMethod) -> u64 {
    match method {
        ProofMethod::ClientKeyAssertion => 1,
        ProofMethod::ClientKeyTls => 2,
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
    }
}
