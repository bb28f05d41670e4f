//! Who vouches for the RAM roles of applications, as the configuration names them: issuers of tokens,
//! and the platform's STS.
//!
//! An issuer is bound: to the accounts that it may vouch for, to one type of environment, and to
//! one name of this server. What it says beyond that counts for nothing.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use crate::domain::{access_point::TrustedRole, name::Id};

use super::{https::Endpoint, key_set::KeySet};

/// Everybody who vouches for roles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vouchers {
    /// Issuers of tokens; no two have the same name, or the same `iss`.
    pub issuers: Vec<Arc<TokenIssuer>>,
    /// Who says whose a signed request is.
    pub sts: Option<Arc<Sts>>,
}

/// The platform's STS.
#[derive(Clone, Debug, PartialEq)]
pub struct Sts {
    /// Where it is: the host alone.
    pub endpoint: Endpoint,
    /// How long it may take to answer.
    pub time: Duration,
    /// What must be among the signed parameters, if anything must: a name, and what this server is
    /// called.
    pub audience: Option<(Box<str>, Arc<str>)>,
    /// What is made of roles that others than their environment may assume.
    pub shared_roles: SharedRoles,
}

/// What is made of a role that others than its environment may assume: who has it need not be in the
/// environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedRoles {
    /// It proves too little.
    Refused,
    /// It is good enough.
    Taken,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenIssuer {
    /// What records call it.
    pub name: Id,
    /// What it calls itself (`iss`), byte for byte.
    pub issuer: Box<str>,
    /// What it calls this server (`aud`).
    pub audience: Arc<str>,
    /// The accounts that it may vouch for.
    pub accounts: BTreeSet<Id>,
    /// The claim that names the account: needed where there is more than one.
    pub account_claim: Option<Box<str>>,
    /// The environment that it vouches for.
    pub trusted_role: TrustedRole,
    /// The claim that names the role.
    pub role_claim: Box<str>,
    /// How far ahead its tokens expire at most, in seconds.
    pub max_seconds: i64,
    /// Where its keys are from.
    pub keys: KeySource,
}

/// Where an issuer's keys are from.
#[derive(Clone, PartialEq)]
pub enum KeySource {
    /// From a file, which is read again with the configuration.
    Given(Arc<KeySet>),
    /// From a server, which is asked again and again.
    Server(Endpoint),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(keys) => f.debug_map().entries(keys.fingerprints()).finish(),
            Self::Server(endpoint) => endpoint.fmt(f),
        }
    }
}
