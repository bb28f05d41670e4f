//! Callers of the API: admins, viewers, enforcers and auditors, each bound to accounts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::domain::name::Id;

use super::token::TokenDigest;

/// Somebody who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that records and events bear.
    pub name: Arc<str>,
    /// What it may do.
    pub role: CallerRole,
    /// Where it may do it.
    pub accounts: Accounts,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerRole {
    /// Manage access points, policies and network rules.
    Admin,
    /// Look at what an admin manages, and change nothing.
    Viewer,
    /// Ask checks.
    Enforcer(Assertion),
    /// Read the audit log.
    Auditor,
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
}

/// All callers, found by their tokens.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    by_token: HashMap<TokenDigest, Arc<Caller>>,
}

impl Callers {
    /// Takes in a caller; `false` if another one has that token.
    #[must_use]
    pub fn add(&mut self, token: TokenDigest, caller: Caller) -> bool {
        self.by_token.insert(token, Arc::new(caller)).is_none()
    }

    /// All callers, by name.
    pub fn by_name(&self) -> Vec<&Caller> {
        let mut callers: Vec<_> = self.by_token.values().map(Arc::as_ref).collect();
        callers.sort_by(|a, b| a.name.cmp(&b.name));
        callers
    }

    /// The caller that has a token.
    pub fn authenticate(&self, token: &str) -> Option<&Arc<Caller>> {
        self.by_token.get(&TokenDigest::of(token))
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
        };
        let mut callers = Callers::default();
        assert!(callers.add(TokenDigest::of("secret"), caller.clone()));
        assert!(!callers.add(TokenDigest::of("secret"), caller.clone()));
        assert_eq!(callers.authenticate("secret").map(|caller| &**caller), Some(&caller));
        assert_eq!(callers.authenticate("Secret"), None);
        assert_eq!(callers.authenticate(""), None);
    }

    #[test]
    fn accounts_are_compared_byte_for_byte() {
        let only = Accounts::Only(BTreeSet::from([Id::parse("acme").unwrap()]));
        assert!(only.include("acme") && !only.include("Acme") && !only.include(""));
        assert!(Accounts::All.include("acme") && Accounts::All.include(""));
    }
}
