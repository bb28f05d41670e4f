//! Client keys: the asymmetric keys by which an application proves who it is. Only public halves are
//! known here.

use std::sync::Arc;

use super::{name::ClientKeyName, resource::Header, time::UnixNanos};

/// A client key. The private half was in one answer, or was never here at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// Its name.
    pub name: ClientKeyName,
    /// What every resource has; a client key has no description.
    pub header: Header,
    /// Whether it proves anything.
    pub state: ClientKeyState,
    /// Where it comes from.
    pub origin: ClientKeyOrigin,
    /// What the application verifies by.
    pub public_key: PublicKey,
    /// When it proves something.
    pub validity: Validity,
    /// The revision from which on sessions that it proved are good; what is older is dead for good.
    pub sessions_valid_from: u64,
}

/// The most keys that an access point has: enough to go from one to the next.
pub const MAX_CLIENT_KEYS: usize = 3;

/// Whether a client key proves anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKeyState {
    /// It does, while it is valid.
    Enabled,
    /// It doesn't.
    Disabled,
}

/// Where a client key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKeyOrigin {
    /// It was made here, and given away with this certificate (DER).
    Issued(Arc<[u8]>),
    /// It was made elsewhere: the private half was never here.
    Imported,
}

/// The public half of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its algorithm: what it verifies by, whatever a proof says of itself.
    pub algorithm: KeyAlgorithm,
    /// The key as a certificate holds it: DER of a `SubjectPublicKeyInfo` (RFC 5280).
    pub info: Arc<[u8]>,
}

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA with the exponent 65537; it signs as RS256.
    Rsa {
        /// How long its modulus is: 2,048 to 4,096.
        bits: u16,
    },
    /// The curve P-256; it signs as ES256.
    EcP256,
}

/// An algorithm that keys are made for here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MadeAlgorithm {
    /// RSA of 2,048 bits.
    #[default]
    Rsa2048,
    /// RSA of 3,072 bits.
    Rsa3072,
    /// The curve P-256.
    EcP256,
}

impl From<MadeAlgorithm> for KeyAlgorithm {
    fn from(algorithm: MadeAlgorithm) -> Self {
        match algorithm {
            MadeAlgorithm::Rsa2048 => Self::Rsa { bits: 2_048 },
            MadeAlgorithm::Rsa3072 => Self::Rsa { bits: 3_072 },
            MadeAlgorithm::EcP256 => Self::EcP256,
        }
    }
}

/// From when to when a key proves something: the start is included, the end is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    // INVARIANT: the start is before the end, and both are in whole seconds, as certificates are.
    not_before: UnixNanos,
    not_after: UnixNanos,
}

/// Why two times are no validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValidity {
    /// The start isn't before the end.
    #[error("must be at least a second after `not_before`")]
    Order,
    /// A certificate can't say so.
    #[error("must be in the years 1970 to 2261")]
    Range,
}

impl Validity {
    /// Five years and their leap days.
    const DEFAULT_SECONDS: i64 = (5 * 365 + 1) * 24 * 60 * 60;
    /// The beginning of 2262.
    const END_SECONDS: i64 = 9_214_646_400;

    /// Puts two times together; what is finer than seconds is cut off.
    pub fn new(not_before: UnixNanos, not_after: UnixNanos) -> Result<Self, InvalidValidity> {
        let seconds = 0..Self::END_SECONDS;
        if !seconds.contains(&not_before.seconds()) || !seconds.contains(&not_after.seconds()) {
            return Err(InvalidValidity::Range);
        }
        if not_before.seconds() >= not_after.seconds() {
            return Err(InvalidValidity::Order);
        }
        Ok(Self::cut(not_before, not_after))
    }

    /// What a key gets that nothing is said about.
    pub fn from_now(now: UnixNanos) -> Self {
        Self::cut(now, now.plus_seconds(Self::DEFAULT_SECONDS))
    }

    fn cut(not_before: UnixNanos, not_after: UnixNanos) -> Self {
        let cut = |time: UnixNanos| UnixNanos::from_parts(time.seconds(), 0);
        Self { not_before: cut(not_before), not_after: cut(not_after) }
    }

    /// The first point at which it proves something.
    pub fn not_before(self) -> UnixNanos {
        self.not_before
    }

    /// The first point after that at which it doesn't any more.
    pub fn not_after(self) -> UnixNanos {
        self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> UnixNanos {
        UnixNanos::from_parts(second, 0)
    }

    #[test]
    fn a_validity_has_a_second_at_least_and_whole_ones_only() {
        let late = UnixNanos::from_parts(7, 999_999_999);
        let validity = Validity::new(UnixNanos(1), late).unwrap();
        assert_eq!((validity.not_before(), validity.not_after()), (second(0), second(7)));
        for (from, to, why) in [
            (second(7), second(7), InvalidValidity::Order),
            (second(7), late, InvalidValidity::Order),
            (second(8), second(7), InvalidValidity::Order),
            (UnixNanos(-1), second(7), InvalidValidity::Range),
            (second(7), UnixNanos(i64::MAX), InvalidValidity::Range),
        ] {
            assert_eq!(Validity::new(from, to), Err(why), "{from} {to}");
        }
    }

    #[test]
    fn a_key_that_nothing_is_said_about_is_good_for_five_years() {
        let now = second(1_795_458_000);
        let validity = Validity::from_now(now);
        assert_eq!(validity.not_before().to_string(), "2026-11-23T18:20:00Z");
        assert_eq!(validity.not_after().to_string(), "2031-11-23T18:20:00Z");
    }
}
