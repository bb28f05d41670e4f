//! Client-key assertions (RFC 7523): JWTs by which an application shows that it has a client key.
//!
//! Pure. What is in a token is read into types before anything is made of it; the algorithm is that
//! of the key and never of the header; at most one signature is verified. Whether a proof was shown
//! before is [`super::replay`]'s to know.

pub mod making;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::domain::{
    client_key::{KeyAlgorithm, PublicKey},
    proof::ProofProblem,
    time::UnixNanos,
};

use super::client_key::public_key::{self, SignatureForm};

/// The most bytes that an assertion has. One by a key of 4,096 bits has about 1,000.
pub const MAX_BYTES: usize = 4_096;
/// The most bytes of a proof's id.
const MAX_ID_BYTES: usize = 128;
/// How far ahead a proof expires at most, in seconds.
const MAX_AHEAD: i64 = 5 * 60;
/// How far an application's clock may be ahead of this one, in seconds.
pub const TOLERANCE: i64 = 5;

/// An assertion, read but not verified.
pub struct Assertion<'a> {
    /// What is signed, as it was sent.
    signed: &'a str,
    header: Header,
    claims: Claims,
    signature: Vec<u8>,
}

impl fmt::Debug for Assertion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion")
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default)]
    crit: Presence,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<i64>,
    iat: Option<i64>,
    nbf: Option<i64>,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Whether a member is there, whatever its value.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Absent,
    Present,
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self::Present)
    }
}

/// What an assertion is verified against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The id of the key that it names.
    pub key_id: &'a str,
    /// That key.
    pub key: &'a PublicKey,
    /// What this server is called.
    pub audience: &'a str,
    /// The time.
    pub now: UnixNanos,
    /// When this server started.
    pub started: UnixNanos,
}

/// A proof that was verified: it counts, unless it was shown before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its id.
    pub id: Box<str>,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
}

/// Why an assertion is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// Anybody could have made it.
    ByAnybody(ProofProblem),
    /// It is the key's own, but isn't good.
    ByKey(ProofProblem),
}

impl<'a> Assertion<'a> {
    /// Reads an assertion in compact form.
    pub fn read(text: &'a str) -> Result<Self, ProofProblem> {
        if text.len() > MAX_BYTES {
            return Err(ProofProblem::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(ProofProblem::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(ProofProblem::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| ProofProblem::Malformed);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let malformed = |_| ProofProblem::Malformed;
        Ok(Self {
            signed,
            header: serde_json::from_slice(&header).map_err(malformed)?,
            claims: serde_json::from_slice(&claims).map_err(malformed)?,
            signature,
        })
    }

    /// The key that it names.
    pub fn key_id(&self) -> Result<&str, ProofProblem> {
        self.header.kid.as_deref().ok_or(ProofProblem::KeyIdMissing)
    }

    /// Verifies it: its form, then its signature, then what it says.
    pub fn verify(&self, expected: &Expected<'_>) -> Result<Proof, Unproven> {
        self.check_header(expected).map_err(Unproven::ByAnybody)?;
        let (form, message) = (SignatureForm::Fixed, self.signed.as_bytes());
        if !public_key::verifies(expected.key, form, message, &self.signature) {
            return Err(Unproven::ByAnybody(ProofProblem::SignatureInvalid));
        }
        self.check_claims(expected).map_err(Unproven::ByKey)
    }

    fn check_header(&self, expected: &Expected<'_>) -> Result<(), ProofProblem> {
        let algorithm = match expected.key.algorithm {
            KeyAlgorithm::Rsa { .. } => "RS256",
            KeyAlgorithm::EcP256 => "ES256",
        };
        if self.header.alg != algorithm {
            return Err(ProofProblem::AlgorithmMismatch);
        }
        if self.header.crit == Presence::Present {
            return Err(ProofProblem::CriticalHeader);
        }
        if self.key_id()? == expected.key_id { Ok(()) } else { Err(ProofProblem::SignatureInvalid) }
    }

    fn check_claims(&self, expected: &Expected<'_>) -> Result<Proof, ProofProblem> {
        let Claims { iss, sub, aud, exp, iat, nbf, jti } = &self.claims;
        let key_id = Some(expected.key_id);
        if iss.as_deref() != key_id || sub.as_deref() != key_id {
            return Err(ProofProblem::IssuerMismatch);
        }
        if !aud.as_ref().is_some_and(|audience| audience.includes(expected.audience)) {
            return Err(ProofProblem::AudienceMismatch);
        }
        let (now, started) = (expected.now.seconds(), expected.started.seconds());
        let expires = exp.ok_or(ProofProblem::ExpiryMissing)?;
        if expires <= now {
            return Err(ProofProblem::Expired);
        }
        if expires > now.saturating_add(MAX_AHEAD) {
            return Err(ProofProblem::ExpiryTooFar);
        }
        let issued = iat.ok_or(ProofProblem::IssueTimeMissing)?;
        if issued > now.saturating_add(TOLERANCE) {
            return Err(ProofProblem::IssuedInFuture);
        }
        // By the clock of an application that is ahead, one that the server's last run has seen can
        // say that it was made as late as this.
        if issued <= started.saturating_add(TOLERANCE) {
            return Err(ProofProblem::IssuedBeforeStart);
        }
        if nbf.is_some_and(|not_before| not_before > now.saturating_add(TOLERANCE)) {
            return Err(ProofProblem::NotYetValid);
        }
        let id = jti.as_deref().filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()));
        Ok(Proof { id: id.ok_or(ProofProblem::IdMissing)?.into(), expires })
    }
}

impl Audience {
    fn includes(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

#[cfg(test)]
mod tests;
