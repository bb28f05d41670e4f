//! Callers of the API: admins, viewers, enforcers, auditors and operators, each bound to accounts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    clock::Clock,
    domain::{name::Id, time::UnixNanos},
};

use super::{
    bounds::Bounds,
    certificate::{Authorities, PeerCertificate, San},
    token::TokenDigest,
};

/// Somebody who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that records and events bear.
    pub name: Arc<str>,
    /// What it may do.
    pub role: CallerRole,
    /// Where it may do it.
    pub accounts: Accounts,
    /// From when on it is nobody, if ever.
    pub expires: Option<UnixNanos>,
}

/// What a caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerRole {
    /// Manage access points, policies and network rules.
    Admin,
    /// Look at what an admin manages, and change nothing.
    Viewer,
    /// Ask checks, as far as it may vouch for them.
    Enforcer(Assertion, Bounds),
    /// Read the audit log.
    Auditor,
    /// Take backups, which have everything of all accounts.
    Operator,
}

/// Whether an enforcer may name access points itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assertion {
    /// It may: it authenticates applications on its own.
    Allowed,
    /// It may not.
    Forbidden,
}

/// The accounts that a caller is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// All accounts, and what belongs to none.
    All,
    /// These accounts.
    Only(BTreeSet<Id>),
}

impl Accounts {
    /// Whether an account is among them.
    pub fn include(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.iter().any(|id| id.as_str() == account),
        }
    }

    /// The first of some accounts that isn't among these; `*` if it is all of them.
    pub fn first_lacking<'a>(&'a self, wanted: &'a Self) -> Option<&'a str> {
        match (self, wanted) {
            (Self::All, _) => None,
            (Self::Only(_), Self::All) => Some("*"),
            (Self::Only(accounts), Self::Only(wanted)) => {
                wanted.difference(accounts).next().map(Id::as_str)
            }
        }
    }
}

/// What showed who a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A bearer token, of which only the digest is kept.
    Token(TokenDigest),
    /// The certificate of its connection.
    Certificate(PeerCertificate),
}

/// A caller, and what showed that it is this one: enough to ask again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// The caller.
    pub caller: Arc<Caller>,
    /// What it showed.
    pub credential: Credential,
}

/// A caller that a credential is that of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'c> {
    /// The caller.
    pub caller: &'c Arc<Caller>,
    /// From when on it is nobody by this credential, if ever.
    pub expires: Option<UnixNanos>,
}

/// All callers, found by what they show.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    by_token: HashMap<TokenDigest, Arc<Caller>>,
    by_san: HashMap<San, Arc<Caller>>,
    /// Who vouches for the names in certificates.
    authorities: Arc<Authorities>,
}

impl Callers {
    /// No callers yet, and the authorities that vouch for their certificates.
    pub fn vouched_for_by(authorities: Arc<Authorities>) -> Self {
        Self { authorities, ..Self::default() }
    }

    /// Takes in a caller by its token; `false` if another one has that token.
    #[must_use]
    pub fn add(&mut self, token: TokenDigest, caller: impl Into<Arc<Caller>>) -> bool {
        self.by_token.insert(token, caller.into()).is_none()
    }

    /// Takes in a caller by the name in its certificates; `false` if another one has that name.
    #[must_use]
    pub fn add_by_san(&mut self, san: San, caller: impl Into<Arc<Caller>>) -> bool {
        self.by_san.insert(san, caller.into()).is_none()
    }

    /// The authorities that vouch for certificates.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// All callers, by name.
    pub fn by_name(&self) -> Vec<&Caller> {
        let all = self.by_token.values().chain(self.by_san.values());
        let mut callers: Vec<_> = all.map(Arc::as_ref).collect();
        callers.sort_by(|a, b| a.name.cmp(&b.name));
        callers.dedup_by(|a, b| a.name == b.name);
        callers
    }

    /// The names in certificates that are callers', each with the caller's own.
    pub fn sans(&self) -> Vec<(&San, &str)> {
        let mut sans: Vec<_> = self.by_san.iter().map(|(san, one)| (san, &*one.name)).collect();
        sans.sort_unstable();
        sans
    }

    /// The caller that has a credential, expired or not.
    pub fn find(&self, credential: &Credential, clock: &Clock) -> Option<Found<'_>> {
        match credential {
            Credential::Token(digest) => {
                let caller = self.by_token.get(digest)?;
                Some(Found { caller, expires: caller.expires })
            }
            Credential::Certificate(certificate) => self.find_by_certificate(certificate, clock),
        }
    }

    fn find_by_certificate(
        &self,
        certificate: &PeerCertificate,
        clock: &Clock,
    ) -> Option<Found<'_>> {
        let now = clock.now();
        let vouched = certificate.vouched(&self.authorities, now)?;
        let validity = vouched.validity();
        let mut callers = vouched.sans().iter().filter_map(|san| self.by_san.get(san));
        let caller = callers.next()?;
        // One that names two callers says who neither of them is.
        if now < validity.not_before || callers.any(|other| other.name != caller.name) {
            return None;
        }
        let end = validity.end();
        let expires = Some(caller.expires.map_or(end, |expires| expires.min(end)));
        Some(Found { caller, expires })
    }

    /// Whether one of them expired after one time and by another.
    pub fn expire_between(&self, after: UnixNanos, by: UnixNanos) -> bool {
        let all = self.by_token.values().chain(self.by_san.values());
        let mut times = all.filter_map(|caller| caller.expires);
        times.any(|expires| after < expires && expires <= by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_found_by_its_token_alone() {
        let caller = Caller {
            name: "ops".into(),
            role: CallerRole::Admin,
            accounts: Accounts::Only(BTreeSet::from([Id::parse("acme").unwrap()])),
            expires: None,
        };
        let mut callers = Callers::default();
        assert!(callers.add(TokenDigest::of("secret"), caller.clone()));
        assert!(!callers.add(TokenDigest::of("secret"), caller.clone()));
        let clock = Clock::manual(UnixNanos(0));
        let find = |token| {
            let credential = Credential::Token(TokenDigest::of(token));
            callers.find(&credential, &clock).map(|found| &**found.caller)
        };
        assert_eq!(find("secret"), Some(&caller));
        assert_eq!(find("Secret"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn accounts_are_compared_byte_for_byte() {
        let only = Accounts::Only(BTreeSet::from([Id::parse("acme").unwrap()]));
        assert!(only.include("acme") && !only.include("Acme") && !only.include(""));
        assert!(Accounts::All.include("acme") && Accounts::All.include(""));
    }

    #[test]
    fn an_account_that_is_lacking_is_named() {
        let only = |names: &[&str]| {
            Accounts::Only(names.iter().map(|name| Id::parse(name).unwrap()).collect())
        };
        for (has, wanted, lacking) in [
            (Accounts::All, Accounts::All, None),
            (Accounts::All, only(&["acme"]), None),
            (only(&["acme"]), Accounts::All, Some("*")),
            (only(&["acme", "other"]), only(&["acme"]), None),
            (only(&["acme"]), only(&["acme", "other"]), Some("other")),
            (only(&["other"]), only(&["acme", "more"]), Some("acme")),
        ] {
            assert_eq!(has.first_lacking(&wanted), lacking, "{has:?} {wanted:?}");
        }
    }

    #[test]
    fn a_caller_expires_once() {
        let mut callers = Callers::default();
        let (name, expires) = ("ops".into(), Some(UnixNanos(5)));
        let ops = Caller { name, role: CallerRole::Admin, accounts: Accounts::All, expires };
        assert!(callers.add(TokenDigest::of("secret"), ops));
        for (after, by, expected) in [(0, 4, false), (0, 5, true), (4, 9, true), (5, 9, false)] {
            assert_eq!(callers.expire_between(UnixNanos(after), UnixNanos(by)), expected);
        }
    }
}
