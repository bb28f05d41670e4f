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

use crate::domain::{proof::ProofProblem, resource::Uid, time::UnixNanos};

/// How many proofs are remembered at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one key or one role.
    pub per_key: usize,
    /// Of all of them.
    pub in_all: usize,
}

impl Limits {
    /// A role is that of many applications, and tokens last longer than what a key signs: one for
    /// each of 8,000 nodes every quarter of an hour; and about 20 MB.
    pub const OF_ROLES: Self = Self { per_key: 32_768, in_all: 131_072 };
}

impl Default for Limits {
    /// A key that asks 13 times a second; and about 40 MB.
    fn default() -> Self {
        Self { per_key: 4_096, in_all: 262_144 }
    }
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
    by_key: HashMap<Uid, HashSet<ProofDigest>>,
    /// The same proofs by when they expire, in seconds since 1970.
    by_expiry: BTreeSet<(i64, Uid, ProofDigest)>,
    /// When the last of those expired that are forgotten: `now` goes back where two threads read the
    /// clock, or somebody sets it.
    forgotten: i64,
}

impl ReplayMemory {
    /// A memory of so many proofs.
    pub fn new(limits: Limits) -> Self {
        Self { limits, shown: Mutex::default() }
    }

    /// Remembers a proof of a key until it expires, unless it was shown before, or has expired since
    /// it was verified: its first showing is forgotten then.
    pub fn show(
        &self,
        key: Uid,
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
        let in_all = shown.by_expiry.len();
        let of_key = shown.by_key.get(&key);
        if of_key.is_some_and(|proofs| proofs.contains(&digest)) {
            return Err(ProofProblem::Replayed);
        }
        let of_key = of_key.map_or(0, HashSet::len);
        if of_key >= self.limits.per_key || in_all >= self.limits.in_all {
            return Err(ProofProblem::MemoryFull);
        }
        shown.by_key.entry(key).or_default().insert(digest);
        shown.by_expiry.insert((expires, key, digest));
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
    fn forget_expired(&mut self, now: i64) {
        while let Some(&(expires, key, digest)) = self.by_expiry.first()
            && expires <= now
        {
            self.by_expiry.pop_first();
            self.forgotten = self.forgotten.max(expires);
            let Some(proofs) = self.by_key.get_mut(&key) else { continue };
            proofs.remove(&digest);
            if proofs.is_empty() {
                self.by_key.remove(&key);
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

    fn key(number: u128) -> Uid {
        Uid(uuid::Uuid::from_u128(number))
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
            let may = number < limits.per_key;
            let wanted = if may { Ok(()) } else { Err(ProofProblem::MemoryFull) };
            assert_eq!(shown, wanted, "{number}");
        }
        assert_eq!(memory.len(), limits.per_key);
        assert_eq!(memory.show(key(1), "0", 300, second(299)), Err(ProofProblem::Replayed));
        for number in 0..limits.per_key {
            assert_eq!(memory.show(key(2), &number.to_string(), 300, second(0)), Ok(()));
        }
        assert_eq!(memory.show(key(1), "new", 400, second(300)), Ok(()));
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn when_all_keys_fill_the_memory_nothing_is_forgotten_before_it_expires() {
        let memory = ReplayMemory::new(Limits { per_key: 1_000, in_all: 1_500 });
        for number in 0..1_000 {
            assert_eq!(memory.show(key(1), &number.to_string(), 300, second(0)), Ok(()));
        }
        for number in 0..500 {
            assert_eq!(memory.show(key(2), &number.to_string(), 200, second(0)), Ok(()));
        }
        assert_eq!(memory.show(key(3), "a", 300, second(0)), Err(ProofProblem::MemoryFull));
        assert_eq!(memory.show(key(3), "a", 300, second(200)), Ok(()));
    }
}
