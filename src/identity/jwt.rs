//! JSON Web Tokens in compact form (RFC 7519), as far as all kinds of them here have it in common.
//!
//! Pure. The algorithm is that of the key and never of the header. What the claims mean, and whose
//! the key must be, is for who reads the token.

#[cfg(test)]
pub(super) mod testing;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    domain::{
        client_key::{KeyAlgorithm, PublicKey},
        proof::ProofProblem,
        time::UnixNanos,
    },
    entropy::Entropy,
};

use super::client_key::{
    generation::PrivateKey,
    public_key::{self, SignatureForm},
    signing::SigningError,
};

/// How far the clock of who makes a token may be ahead of this one, in seconds.
pub(super) const TOLERANCE: i64 = 5;
/// The most bytes of a token's id.
const MAX_ID_BYTES: usize = 128;

/// A token, taken apart but not verified.
pub(super) struct Jwt<'a> {
    /// What is signed, as it was sent.
    signed: &'a str,
    header: Header,
    /// The claims, as JSON.
    pub(super) claims: Vec<u8>,
    signature: Vec<u8>,
}

impl fmt::Debug for Jwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt")
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default)]
    crit: Presence,
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

impl<'a> Jwt<'a> {
    /// Takes a token apart that has so many bytes at most.
    pub(super) fn read(text: &'a str, max_bytes: usize) -> Result<Self, ProofProblem> {
        if text.len() > max_bytes {
            return Err(ProofProblem::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(ProofProblem::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(ProofProblem::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| ProofProblem::Malformed);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let header = serde_json::from_slice(&header).map_err(|_| ProofProblem::Malformed)?;
        Ok(Self { signed, header, claims, signature })
    }

    /// The id of the key that it names.
    pub(super) fn key_id(&self) -> Result<&str, ProofProblem> {
        self.header.kid.as_deref().ok_or(ProofProblem::KeyIdMissing)
    }

    /// Whether a key that it names has signed it: its form first, then its one signature.
    pub(super) fn verify(&self, key_id: &str, key: &PublicKey) -> Result<(), ProofProblem> {
        let algorithm = match key.algorithm {
            KeyAlgorithm::Rsa { .. } => "RS256",
            KeyAlgorithm::EcP256 => "ES256",
        };
        if self.header.alg != algorithm {
            return Err(ProofProblem::AlgorithmMismatch);
        }
        if self.header.crit == Presence::Present {
            return Err(ProofProblem::CriticalHeader);
        }
        let message = self.signed.as_bytes();
        let is_signed = self.key_id()? == key_id
            && public_key::verifies(key, SignatureForm::Fixed, message, &self.signature);
        if is_signed { Ok(()) } else { Err(ProofProblem::SignatureInvalid) }
    }
}

/// A token that was made: a secret until it was shown.
pub struct NewToken(Zeroizing<String>);

impl NewToken {
    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken")
    }
}

/// Makes a token of claims, signed by a key of that id.
pub fn make(key: &PrivateKey, key_id: &str, claims: &Value) -> Result<NewToken, SigningError> {
    let header = json!({ "alg": key.algorithm_name(), "kid": key_id, "typ": "JWT" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut text = Zeroizing::new(format!("{}.{}", part(&header), part(claims)));
    let signature = key.sign(text.as_bytes(), &mut Entropy)?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(NewToken(text))
}

/// Whom a token is for.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(super) fn includes(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// When a token was made, and when it counts, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) exp: Option<i64>,
    pub(super) iat: Option<i64>,
    pub(super) nbf: Option<i64>,
}

/// What a token's times are judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hours {
    /// The time.
    pub(super) now: UnixNanos,
    /// When this server started.
    pub(super) started: UnixNanos,
    /// How far ahead a token expires at most, in seconds.
    pub(super) max_ahead: i64,
}

impl Times {
    /// When it expires, if it counts now.
    pub(super) fn check(self, hours: Hours) -> Result<i64, ProofProblem> {
        let (now, started) = (hours.now.seconds(), hours.started.seconds());
        let expires = self.exp.ok_or(ProofProblem::ExpiryMissing)?;
        if expires <= now {
            return Err(ProofProblem::Expired);
        }
        if expires > now.saturating_add(hours.max_ahead) {
            return Err(ProofProblem::ExpiryTooFar);
        }
        let issued = self.iat.ok_or(ProofProblem::IssueTimeMissing)?;
        if issued > now.saturating_add(TOLERANCE) {
            return Err(ProofProblem::IssuedInFuture);
        }
        // By a clock that is ahead, one that the server's last run has seen can say that it was made
        // as late as this.
        if issued <= started.saturating_add(TOLERANCE) {
            return Err(ProofProblem::IssuedBeforeStart);
        }
        if self.nbf.is_some_and(|not_before| not_before > now.saturating_add(TOLERANCE)) {
            return Err(ProofProblem::NotYetValid);
        }
        Ok(expires)
    }
}

/// A token's own id.
pub(super) fn check_id(id: Option<&str>) -> Result<&str, ProofProblem> {
    id.filter(|id| (1..=MAX_ID_BYTES).contains(&id.len())).ok_or(ProofProblem::IdMissing)
}
