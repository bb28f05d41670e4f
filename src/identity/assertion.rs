//! Client-key assertions (RFC 7523): JWTs by which an application shows that it has a client key.
//!
//! Pure. What is in a token is read into types before anything is made of it; the algorithm is that
//! of the key and never of the header; at most one signature is verified. Whether a proof was shown
//! before is [`super::replay`]'s to know.

pub mod making;

use std::fmt;

use serde::Deserialize;

use crate::domain::{client_key::PublicKey, proof::ProofProblem, time::UnixNanos};

use super::jwt::{self, Audience, Hours, Jwt, Times};

/// The most bytes that an assertion has. One by a key of 4,096 bits has about 1,000.
pub const MAX_BYTES: usize = 4_096;
/// How far ahead a proof expires at most, in seconds.
const MAX_AHEAD: i64 = 5 * 60;

/// An assertion, read but not verified.
pub struct Assertion<'a> {
    jwt: Jwt<'a>,
    claims: Claims,
}

impl fmt::Debug for Assertion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion")
    }
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
        let jwt = Jwt::read(text, MAX_BYTES)?;
        let claims = serde_json::from_slice(&jwt.claims).map_err(|_| ProofProblem::Malformed)?;
        Ok(Self { jwt, claims })
    }

    /// The key that it names.
    pub fn key_id(&self) -> Result<&str, ProofProblem> {
        self.jwt.key_id()
    }

    /// Verifies it: its form, then its signature, then what it says.
    pub fn verify(&self, expected: &Expected<'_>) -> Result<Proof, Unproven> {
        self.jwt.verify(expected.key_id, expected.key).map_err(Unproven::ByAnybody)?;
        self.check_claims(expected).map_err(Unproven::ByKey)
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
        let (now, started) = (expected.now, expected.started);
        let times = Times { exp: *exp, iat: *iat, nbf: *nbf };
        let expires = times.check(Hours { now, started, max_ahead: MAX_AHEAD })?;
        Ok(Proof { id: jwt::check_id(jti.as_deref())?.into(), expires })
    }
}

#[cfg(test)]
mod tests;
