//! What can be wrong with the proof by which an application asks for a session.

/// What is wrong with a proof. Records have it; who showed the proof isn't told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofProblem {
    /// It is no JWT in compact form, is too large, or has a member of another type.
    Malformed,
    /// Its algorithm isn't that of its key.
    AlgorithmMismatch,
    /// It demands that extensions are understood.
    CriticalHeader,
    /// It doesn't name its key.
    KeyIdMissing,
    /// The signature isn't its key's.
    SignatureInvalid,
    /// Its issuer or its subject isn't its key.
    IssuerMismatch,
    /// It isn't meant for this server.
    AudienceMismatch,
    /// It doesn't say when it expires.
    ExpiryMissing,
    /// It has expired.
    Expired,
    /// It expires too late.
    ExpiryTooFar,
    /// It doesn't say when it was made.
    IssueTimeMissing,
    /// It was made in the future.
    IssuedInFuture,
    /// It was made before this server started, which can't know whether it was shown then.
    IssuedBeforeStart,
    /// It isn't valid yet.
    NotYetValid,
    /// It has no id of its own.
    IdMissing,
    /// It was shown before.
    Replayed,
    /// As many proofs are remembered as can be.
    MemoryFull,
}

impl ProofProblem {
    /// Every problem.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::AlgorithmMismatch,
        Self::CriticalHeader,
        Self::KeyIdMissing,
        Self::SignatureInvalid,
        Self::IssuerMismatch,
        Self::AudienceMismatch,
        Self::ExpiryMissing,
        Self::Expired,
        Self::ExpiryTooFar,
        Self::IssueTimeMissing,
        Self::IssuedInFuture,
        Self::IssuedBeforeStart,
        Self::NotYetValid,
        Self::IdMissing,
        Self::Replayed,
        Self::MemoryFull,
    ];
}
