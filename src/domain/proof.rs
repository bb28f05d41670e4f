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
    /// Its issuer is not one that is configured.
    IssuerUnknown,
    /// Its issuer may not vouch for the access point's account.
    IssuerNotForAccount,
    /// Its issuer vouches for another type of environment than the role must trust.
    IssuerNotForTrustedRole,
    /// Its issuer has no such key.
    KeyUnknown,
    /// The keys of its issuer can't be had now.
    KeysUnavailable,
    /// It is of another role than the access point's, or names none.
    RoleMismatch,
    /// It has a parameter that isn't one of a signed `GetCallerIdentity`.
    ParameterUnknown,
    /// It has a parameter more than once.
    ParameterRepeated,
    /// It lacks a parameter.
    ParameterMissing,
    /// It has a parameter with another value than is taken.
    ParameterInvalid,
    /// The STS can't be asked now.
    StsUnavailable,
    /// The STS has refused it.
    StsRefused,
    /// What the STS answers can't be read.
    StsAnswerInvalid,
    /// The STS says that it is no role's, or of two accounts.
    IdentityMismatch,
    /// It is of another account than the access point's.
    AccountMismatch,
    /// Others than the environment may assume the role, so that to be it proves too little.
    RoleShared,
}

impl ProofProblem {
    /// Every problem.
    pub const ALL: [Self; 33] = [
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
        Self::IssuerUnknown,
        Self::IssuerNotForAccount,
        Self::IssuerNotForTrustedRole,
        Self::KeyUnknown,
        Self::KeysUnavailable,
        Self::RoleMismatch,
        Self::ParameterUnknown,
        Self::ParameterRepeated,
        Self::ParameterMissing,
        Self::ParameterInvalid,
        Self::StsUnavailable,
        Self::StsRefused,
        Self::StsAnswerInvalid,
        Self::IdentityMismatch,
        Self::AccountMismatch,
        Self::RoleShared,
    ];
}
