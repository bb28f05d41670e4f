//! Who calls, and may they: asked when a call begins, and asked again of calls that last.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    clock::Clock,
    domain::{name::Id, time::UnixNanos},
    identity::{
        caller::{Authenticated, Caller, Credential, Found},
        roster::Roster,
    },
};

use super::permissions::{self, Needs};

/// Lets callers in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    roster: Arc<Roster>,
    clock: Clock,
}

/// Why a call isn't let in, or doesn't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The caller is nobody.
    #[error("the call has no valid bearer token, and no client certificate of a caller")]
    Unauthenticated,
    /// The caller is nobody any more. Only who holds its credential is told so.
    #[error("caller `{caller}` expired at {expires}")]
    Expired {
        /// The caller.
        caller: Arc<str>,
        /// Since when.
        expires: UnixNanos,
    },
    /// The caller's role is another.
    #[error("caller `{caller}` has the role {role}; `{method}` needs {needs}")]
    Role {
        /// The caller.
        caller: Arc<str>,
        /// Its role.
        role: &'static str,
        /// What the method needs.
        needs: Needs,
        /// The method.
        method: Box<str>,
    },
    /// The caller of a stream was bound to an account and is not any more.
    #[error("caller `{caller}` is no longer bound to account `{account}`")]
    AccountLost {
        /// The caller.
        caller: Arc<str>,
        /// The account; `*` stands for all.
        account: Box<str>,
    },
}

impl GateError {
    /// The caller's name, if it is known.
    pub fn caller(&self) -> &str {
        match self {
            Self::Unauthenticated => "",
            Self::Expired { caller, .. }
            | Self::Role { caller, .. }
            | Self::AccountLost { caller, .. } => caller,
        }
    }
}

impl Gate {
    /// A gate for those on a roster.
    pub fn new(roster: Arc<Roster>, clock: Clock) -> Self {
        Self { roster, clock }
    }

    /// Lets a caller in to a method. One that doesn't exist is nobody's: the router says so.
    pub fn admit(&self, credential: Credential, method: &str) -> Result<Authenticated, GateError> {
        let callers = self.roster.load();
        let found = callers.find(&credential, &self.clock).ok_or(GateError::Unauthenticated)?;
        self.authorize(found, method)?;
        Ok(Authenticated { caller: Arc::clone(found.caller), credential })
    }

    /// Keeps asking whether a caller that was let in may still have what a stream covers.
    pub fn standing(
        &self,
        authenticated: Authenticated,
        method: &'static str,
        scope: Scope,
    ) -> Standing {
        let mut bell = self.roster.bell();
        // Between the call's beginning and now, it may have rung.
        bell.mark_changed();
        self.await_expiry(&authenticated.credential);
        Standing { gate: self.clone(), authenticated, method, scope, bell }
    }

    /// Has the bell ring when a certificate expires. When a caller does, it rings without.
    fn await_expiry(&self, credential: &Credential) {
        if let Credential::Certificate(certificate) = credential {
            let callers = self.roster.load();
            if let Some(vouched) = certificate.vouched(callers.authorities(), self.clock.now()) {
                self.roster.await_expiry(vouched.validity().end());
            }
        }
    }

    fn authorize(&self, found: Found<'_>, method: &str) -> Result<(), GateError> {
        let Found { caller, expires } = found;
        let name = || Arc::clone(&caller.name);
        // Few callers expire, and only for them the clock is read.
        if let Some(expires) = expires
            && expires <= self.clock.now()
        {
            return Err(GateError::Expired { caller: name(), expires });
        }
        match permissions::needs_of(method) {
            Some(needs) if !needs.are_met_by(&caller.role) => Err(GateError::Role {
                caller: name(),
                role: permissions::role_name(&caller.role),
                needs,
                method: method.into(),
            }),
            _ => Ok(()),
        }
    }
}

/// What a stream covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All accounts that its caller is bound to. Losing one ends it: a gap that nobody notices would
    /// be worse.
    Bound,
    /// One account.
    Account(Id),
    /// What each of its caller's messages asks for, which is judged then.
    EachMessage,
}

/// The standing of a stream's caller.
#[derive(Debug)]
pub struct Standing {
    gate: Gate,
    authenticated: Authenticated,
    method: &'static str,
    scope: Scope,
    bell: watch::Receiver<()>,
}

impl Standing {
    /// The caller, as it was last found.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.authenticated.caller
    }

    /// Waits until the caller may have another standing: ends well if the stream may go on, for the
    /// caller that [`Self::caller`] then is. Loses nothing if it is dropped before it ends.
    pub async fn changed(&mut self) -> Result<(), GateError> {
        // The gate holds the bell's other end.
        let _ = self.bell.changed().await;
        let callers = self.gate.roster.load();
        let credential = &self.authenticated.credential;
        // A token or a name that was given to somebody else is no longer this caller's.
        let found = callers
            .find(credential, &self.gate.clock)
            .filter(|found| found.caller.name == self.caller().name)
            .ok_or(GateError::Unauthenticated)?;
        self.gate.authorize(found, self.method)?;
        // Other authorities may vouch for another time.
        self.gate.await_expiry(credential);
        let caller = found.caller;
        if let Some(account) = self.scope.lost(self.caller(), caller) {
            let (caller, account) = (Arc::clone(&caller.name), account.into());
            return Err(GateError::AccountLost { caller, account });
        }
        self.authenticated.caller = Arc::clone(caller);
        Ok(())
    }
}

impl Scope {
    /// An account that belongs to it and that the caller is no longer bound to.
    fn lost<'a>(&'a self, before: &'a Caller, now: &'a Caller) -> Option<&'a str> {
        match self {
            Self::Bound => now.accounts.first_lacking(&before.accounts),
            Self::Account(id) => (!now.accounts.include(id.as_str())).then_some(id.as_str()),
            Self::EachMessage => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::runtime::Builder;

    use super::*;
    use crate::identity::{
        caller::{Accounts, CallerRole, Callers},
        token::TokenDigest,
    };

    const WATCH: &str = "/aap.v1.AuditService/WatchAuditRecords";
    const START: UnixNanos = UnixNanos(1_000);

    fn credential(token: &str) -> Credential {
        Credential::Token(TokenDigest::of(token))
    }

    /// Callers with a token each: name, token, role, accounts.
    fn callers(all: &[(&str, &str, CallerRole, &[&str])]) -> Callers {
        let mut callers = Callers::default();
        for (name, token, role, accounts) in all {
            let accounts: BTreeSet<_> =
                accounts.iter().map(|account| Id::parse(account).unwrap()).collect();
            let (name, accounts) = ((*name).into(), Accounts::Only(accounts));
            let caller = Caller { name, role: role.clone(), accounts, expires: None };
            assert!(callers.add(TokenDigest::of(token), caller));
        }
        callers
    }

    fn auditor() -> Callers {
        callers(&[("eyes", "token", CallerRole::Auditor, &["acme", "other"])])
    }

    /// What a standing says after the callers were replaced.
    fn after(scope: Scope, then: Callers) -> Result<Arc<Caller>, GateError> {
        let roster = Arc::new(Roster::new(auditor()));
        let gate = Gate::new(Arc::clone(&roster), Clock::manual(START));
        let authenticated = gate.admit(credential("token"), WATCH).unwrap();
        // After the call was let in, and before its stream began.
        roster.replace(then);
        let mut standing = gate.standing(authenticated, WATCH, scope);
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(standing.changed()).map(|()| Arc::clone(standing.caller()))
    }

    #[test]
    fn a_stream_goes_on_only_if_its_caller_could_begin_it_now() {
        let nobody = Err(GateError::Unauthenticated);
        assert_eq!(after(Scope::Bound, Callers::default()), nobody);
        let rotated = callers(&[("eyes", "new", CallerRole::Auditor, &["acme", "other"])]);
        assert_eq!(after(Scope::Bound, rotated), nobody);
        let given_away = callers(&[("ears", "token", CallerRole::Auditor, &["acme", "other"])]);
        assert_eq!(after(Scope::Bound, given_away), nobody);
        let viewer = callers(&[("eyes", "token", CallerRole::Viewer, &["acme", "other"])]);
        let refused = after(Scope::Bound, viewer).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("caller `eyes` has the role viewer; `{WATCH}` needs auditor")
        );
        assert!(after(Scope::Bound, auditor()).is_ok());
    }

    #[test]
    fn a_stream_ends_when_its_caller_loses_an_account_that_it_covers() {
        let auditor_of =
            |accounts: &[&str]| callers(&[("eyes", "token", CallerRole::Auditor, accounts)]);
        let other = Id::parse("other").unwrap();
        for (scope, accounts, lost) in [
            (Scope::Bound, &["acme", "other"][..], None),
            (Scope::Bound, &["acme", "other", "third"], None),
            (Scope::Bound, &["acme"], Some("other")),
            (Scope::Bound, &["other", "third"], Some("acme")),
            (Scope::Account(other.clone()), &["other"], None),
            (Scope::Account(other), &["acme", "third"], Some("other")),
        ] {
            match (after(scope, auditor_of(accounts)), lost) {
                (Ok(caller), None) => {
                    assert!(accounts.iter().all(|one| caller.accounts.include(one)));
                }
                (Err(GateError::AccountLost { account, .. }), Some(lost)) => {
                    assert_eq!(&*account, lost);
                }
                (found, _) => panic!("{accounts:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_caller_is_nobody_from_the_time_on_at_which_it_expires() {
        let mut expiring = Callers::default();
        let expires = UnixNanos(START.0 + 5);
        let caller = Caller {
            name: "eyes".into(),
            role: CallerRole::Auditor,
            accounts: Accounts::All,
            expires: Some(expires),
        };
        assert!(expiring.add(TokenDigest::of("token"), caller));
        let clock = Clock::manual(START);
        let gate = Gate::new(Arc::new(Roster::new(expiring)), clock.clone());
        for (nanos, lets_in) in [(0, true), (4, true), (5, false), (6, false)] {
            clock.set(UnixNanos(START.0 + nanos));
            let admitted = gate.admit(credential("token"), WATCH);
            let expired = GateError::Expired { caller: "eyes".into(), expires };
            assert_eq!(admitted.as_ref().err(), (!lets_in).then_some(&expired), "{nanos}");
            // Who hasn't the token isn't told that there is one.
            assert_eq!(gate.admit(credential("tokem"), WATCH), Err(GateError::Unauthenticated));
        }
    }
}
