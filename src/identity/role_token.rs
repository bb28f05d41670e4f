//! Role tokens: JWTs of a configured issuer, which say under which RAM role an application runs.
//!
//! Pure. Which issuer and which of its keys have to have signed a token is said by the token itself,
//! and is looked up elsewhere; that the issuer may vouch for the access point asked for is judged
//! elsewhere, too.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;

use crate::domain::{client_key::PublicKey, proof::ProofProblem, time::UnixNanos};

use super::jwt::{self, Audience, Hours, Jwt, Times};

/// The most bytes that a role token has. Those of clusters have one or two thousand.
pub const MAX_BYTES: usize = 8_192;

/// A role token, read but not verified.
pub struct RoleToken<'a> {
    jwt: Jwt<'a>,
    claims: Claims,
}

impl fmt::Debug for RoleToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoleToken")
    }
}

/// What a role token must say to whom it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The key that it names.
    pub key: &'a PublicKey,
    /// What this server is called by its issuer.
    pub audience: &'a str,
    /// The claim that names the role.
    pub role_claim: &'a str,
    /// The claim that names the account, if one does.
    pub account_claim: Option<&'a str>,
    /// How far ahead it expires at most, in seconds.
    pub max_seconds: i64,
    /// The time.
    pub now: UnixNanos,
    /// When this server started.
    pub started: UnixNanos,
}

/// What a token that was verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Its id.
    pub id: Box<str>,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
    /// The role, by its id.
    pub role: Box<str>,
    /// The account, if it is to name one.
    pub account: Option<Box<str>>,
    /// Whom it was made for; empty if it doesn't say.
    pub subject: Box<str>,
}

impl<'a> RoleToken<'a> {
    /// Reads a token in compact form.
    pub fn read(text: &'a str) -> Result<Self, ProofProblem> {
        let jwt = Jwt::read(text, MAX_BYTES)?;
        let claims = serde_json::from_slice(&jwt.claims).map_err(|_| ProofProblem::Malformed)?;
        Ok(Self { jwt, claims })
    }

    /// The issuer that it names.
    pub fn issuer(&self) -> Result<&str, ProofProblem> {
        self.claims.text("iss")?.ok_or(ProofProblem::IssuerUnknown)
    }

    /// The key that it names.
    pub fn key_id(&self) -> Result<&str, ProofProblem> {
        self.jwt.key_id()
    }

    /// Verifies it: its form, then its signature, then what it says.
    pub fn verify(&self, expected: &Expected<'_>) -> Result<Vouched, ProofProblem> {
        self.jwt.verify(self.key_id()?, expected.key)?;
        if !self.claims.is_for(expected.audience)? {
            return Err(ProofProblem::AudienceMismatch);
        }
        let claims = &self.claims;
        let times = Times {
            exp: claims.seconds("exp")?,
            iat: claims.seconds("iat")?,
            nbf: claims.seconds("nbf")?,
        };
        let Expected { now, started, max_seconds, .. } = *expected;
        let expires = times.check(Hours { now, started, max_ahead: max_seconds })?;
        let id = jwt::check_id(claims.text("jti")?)?.into();
        let role = claims.text(expected.role_claim)?.ok_or(ProofProblem::RoleMismatch)?;
        let account = match expected.account_claim {
            Some(claim) => Some(claims.text(claim)?.ok_or(ProofProblem::AccountMismatch)?.into()),
            None => None,
        };
        let subject = claims.text("sub")?.unwrap_or_default().into();
        Ok(Vouched { id, expires, role: role.into(), account, subject })
    }
}

/// A token's claims, each of them once: of one that is there twice, two readers may take another.
struct Claims(BTreeMap<String, Value>);

impl Claims {
    fn text(&self, name: &str) -> Result<Option<&str>, ProofProblem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ProofProblem::Malformed),
        }
    }

    fn seconds(&self, name: &str) -> Result<Option<i64>, ProofProblem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or(ProofProblem::Malformed),
        }
    }

    fn is_for(&self, audience: &str) -> Result<bool, ProofProblem> {
        let Some(named) = self.0.get("aud") else { return Ok(false) };
        let named = Audience::deserialize(named).map_err(|_| ProofProblem::Malformed)?;
        Ok(named.includes(audience))
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Claims, M::Error> {
                let mut claims = BTreeMap::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(M::Error::custom("a member is there twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests;
