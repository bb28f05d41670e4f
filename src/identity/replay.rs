//! Which proofs were shown, of a client key or of a RAM role: each works once.
//!
//! A proof is remembered only after its signature was verified, so that nobody can fill the memory
//! of a key that it doesn't have. It is forgotten when it expires, and what could have been forgotten
//! is refused, whatever its reader's clock has said before. At the limit a proof is refused and none
//! is forgotten early: that would be how to show one again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::domain::{name::Id, proof::ProofProblem, resource::Uid, time::UnixNanos};

/// How many proofs are remembered at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one key or one role.
    pub per_credential: usize,
    /// Of one account, so that it leaves others some.
    pub per_account: usize,
    /// Of all of them.
    pub in_all: usize,
}

impl Limits {
    /// A role is that of many applications, and tokens last longer than what a key signs: one for
    /// each of 8,000 nodes every quarter of an hour, in an account with two such roles; and about
    /// 40 MB.
    pub const OF_ROLES: Self =
        Self { per_credential: 32_768, per_account: 65_536, in_all: 262_144 };
}

impl Default for Limits {
    /// A key that asks 13 times a second; and about 40 MB.
    fn default() -> Self {
        Self { per_credential: 4_096, per_account: 65_536, in_all: 262_144 }
    }
}

/// What a proof is made by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prover {
    /// The account that it is of.
    pub account: Id,
    /// What it is there.
    pub credential: Credential,
}

/// What an account's application can prove something by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credential {
    /// A client key.
    Key(Uid),
    /// A RAM role, by its id: the platform's role stays the same one when it is imported again.
    Role(Id),
}

/// Remembers proofs.
#[derive(Debug)]
pub struct ReplayMemory {
    limits: Limits,
    /// Guards what is remembered; held for as long as it takes to look a proof up.
    shown: Mutex<Shown>,
}

/// The first half of SHA-256 of a proof's id: of the same size, however long that is.
type ProofDigest = [u8; 16];

#[derive(Debug, Default)]
struct Shown {
    by_prover: HashMap<Prover, HashSet<ProofDigest>>,
    /// How many of them each account has.
    by_account: HashMap<Id, usize>,
    /// The same proofs by when they expire, in seconds since 1970.
    by_expiry: BTreeSet<(i64, Prover, ProofDigest)>,
    /// When the last of those expired that are forgotten: `now` goes back where two threads read the
    /// clock, or somebody sets it.
    forgotten: i64,
}

impl ReplayMemory {
    /// A memory of so many proofs.
    pub fn new(limits: Limits) -> Self {
        Self { limits, shown: Mutex::default() }
    }

    /// Remembers a proof until it expires, unless it was shown before, or has expired since
    /// it was verified: its first showing is forgotten then.
    pub fn show(
        &self,
        prover: Prover,
        id: &str,
        expires: i64,
        now: UnixNanos,
    ) -> Result<(), ProofProblem> {
        let digest = digest(id);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.forget_expired(now.seconds());
        if expires <= now.seconds().max(shown.forgotten) {
            return Err(ProofProblem::Expired);
        }
        let of_prover = shown.by_prover.get(&prover);
        if of_prover.is_some_and(|proofs| proofs.contains(&digest)) {
            return Err(ProofProblem::Replayed);
        }
        if !shown.have_room(&prover, self.limits) {
            return Err(ProofProblem::MemoryFull);
        }
        *shown.by_account.entry(prover.account.clone()).or_default() += 1;
        shown.by_prover.entry(prover.clone()).or_default().insert(digest);
        shown.by_expiry.insert((expires, prover, digest));
        Ok(())
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).by_expiry.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shown {
    fn have_room(&self, prover: &Prover, limits: Limits) -> bool {
        let of_prover = self.by_prover.get(prover).map_or(0, HashSet::len);
        let of_account = self.by_account.get(&prover.account).copied().unwrap_or_default();
        of_prover < limits.per_credential
            && of_account < limits.per_account
            && self.by_expiry.len() < limits.in_all
    }

    fn forget_expired(&mut self, now: i64) {
        while self.by_expiry.first().is_some_and(|(expires, ..)| *expires <= now) {
            let Some((expires, prover, digest)) = self.by_expiry.pop_first() else { return };
            self.forgotten = self.forgotten.max(expires);
            if let Some(of_account) = self.by_account.get_mut(&prover.account) {
                *of_account -= 1;
                if *of_account == 0 {
                    self.by_account.remove(&prover.account);
                }
            }
            let Some(proofs) = self.by_prover.get_mut(&prover) else { continue };
            proofs.remove(&digest);
            if proofs.is_empty() {
                self.by_prover.remove(&prover);
            }
        }
    }
}

fn digest(id: &str) -> ProofDigest {
    let whole = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> Prover {
        key_of("acme", number)
    }

    fn key_of(account: &str, number: u128) -> Prover {
        let credential = Credential::Key(Uid(uuid::Uuid::from_u128(number)));
        Prover { account: Id::parse(account).unwrap(), credential }
    }

    fn role(account: &str, id: &str) -> Prover {
        let credential = Credential::Role(Id::parse(id).unwrap());
        Prover { account: Id::parse(account).unwrap(), credential }
    }

    fn second(second: i64) -> UnixNanos {
        UnixNanos::from_parts(second, 0)
    }

    #[test]
    fn a_proof_works_once_until_it_has_expired() {
        let memory = ReplayMemory::new(Limits::default());
        assert_eq!(memory.show(key(1), "a", 60, second(0)), Ok(()));
        assert_eq!(memory.show(key(1), "a", 60, second(59)), Err(ProofProblem::Replayed));
        // The same id with another expiry is the same proof.
        assert_eq!(memory.show(key(1), "a", 90, second(1)), Err(ProofProblem::Replayed));
        assert_eq!(memory.show(key(1), "b", 60, second(0)), Ok(()));
        assert_eq!(memory.show(key(2), "a", 60, second(0)), Ok(()));
        assert_eq!(memory.len(), 3);
        assert_eq!(memory.show(key(1), "a", 120, second(60)), Ok(()));
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn what_could_have_been_forgotten_is_refused() {
        let memory = ReplayMemory::new(Limits::default());
        assert_eq!(memory.show(key(1), "a", 60, second(0)), Ok(()));
        assert_eq!(memory.show(key(1), "a", 60, second(60)), Err(ProofProblem::Expired));
        // By a clock that was read before, or that was set back.
        assert_eq!(memory.show(key(1), "a", 60, second(59)), Err(ProofProblem::Expired));
        assert_eq!(memory.show(key(1), "b", 61, second(59)), Ok(()));
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn a_million_proofs_of_one_key_fill_its_own_memory_and_no_other() {
        let limits = Limits::default();
        let memory = ReplayMemory::new(limits);
        for number in 0..1_000_000 {
            let shown = memory.show(key(1), &number.to_string(), 300, second(0));
            let may = number < limits.per_credential;
            let wanted = if may { Ok(()) } else { Err(ProofProblem::MemoryFull) };
            assert_eq!(shown, wanted, "{number}");
        }
        assert_eq!(memory.len(), limits.per_credential);
        assert_eq!(memory.show(key(1), "0", 300, second(299)), Err(ProofProblem::Replayed));
        for number in 0..limits.per_credential {
            assert_eq!(memory.show(key(2), &number.to_string(), 300, second(0)), Ok(()));
        }
        assert_eq!(memory.show(key(1), "new", 400, second(300)), Ok(()));
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn when_all_keys_fill_the_memory_nothing_is_forgotten_before_it_expires() {
        let memory =
            ReplayMemory::new(Limits { per_credential: 1_000, per_account: 1_500, in_all: 1_500 });
        for number in 0..1_000 {
            assert_eq!(memory.show(key(1), &number.to_string(), 300, second(0)), Ok(()));
        }
        for number in 0..500 {
            assert_eq!(memory.show(key(2), &number.to_string(), 200, second(0)), Ok(()));
        }
        assert_eq!(memory.show(key(3), "a", 300, second(0)), Err(ProofProblem::MemoryFull));
        assert_eq!(memory.show(key(3), "a", 300, second(200)), Ok(()));
    }
    #[test]
    fn whatever_one_account_shows_others_have_room() {
        let limits = Limits::OF_ROLES;
        let memory = ReplayMemory::new(limits);
        let show = |prover: &Prover, number: usize, expires| {
            memory.show(prover.clone(), &number.to_string(), expires, second(0))
        };
        let roles = ["a", "b", "c", "d", "e"].map(|id| role("greedy", id));
        let taken = roles.iter().flat_map(|role| (0..32_768).map(move |number| (role, number)));
        let taken = taken.filter(|(role, number)| show(role, *number, 86_400).is_ok()).count();
        assert_eq!((taken, memory.len()), (limits.per_account, limits.per_account));
        assert_eq!(show(&roles[4], 0, 86_400), Err(ProofProblem::MemoryFull));
        assert_eq!(show(&roles[0], 0, 86_400), Err(ProofProblem::Replayed));
        // The same role of another account is another one.
        for number in 0..limits.per_credential {
            assert_eq!(show(&role("modest", "a"), number, 600), Ok(()));
        }
        assert!(limits.per_account * 4 <= limits.in_all);
        let room = memory.show(roles[4].clone(), "new", 86_500, second(86_400));
        assert_eq!((room, memory.len()), (Ok(()), 1));
        let shown = memory.shown.lock().unwrap();
        assert_eq!((shown.by_account.len(), shown.by_prover.len()), (1, 1));
    }
}
