//! Bearer tokens. The server knows only their digests.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::entropy::{self, EntropyError};

/// What tokens begin with, so that secret scanners can find them.
const PREFIX: &str = "aap_";
const RANDOM_BYTES: usize = 32;

/// A new token. Its text is a secret; it is shown by [`NewToken::reveal`] alone.
pub struct NewToken(String);

impl NewToken {
    /// Makes a token of 256 random bits.
    pub fn make() -> Result<Self, EntropyError> {
        let mut bytes = [0; RANDOM_BYTES];
        entropy::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The token's text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the configuration holds of it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken")
    }
}

/// SHA-256 of a token's text. Looking one up by its bytes tells an attacker who measures the time
/// nothing: a digest can't be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits, as `aap token new` prints them")]
pub struct InvalidDigest;

impl TokenDigest {
    /// The digest of a token's text.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(
            ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref(),
        );
        Self(bytes)
    }

    /// Reads a digest from hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(InvalidDigest) };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return Err(InvalidDigest);
        }
        for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = hex_digit(high)? << 4 | hex_digit(low)?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Result<u8, InvalidDigest> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(InvalidDigest),
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_known_by_their_digests() {
        let (one, other) = (NewToken::make().unwrap(), NewToken::make().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        assert_eq!(TokenDigest::of(one.reveal()), one.digest());
        assert_eq!(TokenDigest::parse(&one.digest().to_string()), Ok(one.digest()));
        assert!(!format!("{one:?}").contains(one.reveal()));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(TokenDigest::parse(bad), Err(InvalidDigest), "{bad:?}");
        }
    }
}
