//! The password of a client-key file: chosen by the operator, or made here and shown once.

use std::fmt;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::entropy::EntropyError;

/// A password: 8 to 64 letters, digits and `~!@#$%^&*?_-`, at least two of the three kinds.
pub struct Password(Zeroizing<String>);

/// Why a text is no password. It doesn't repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// It is too short or too long.
    #[error("must have 8 to 64 characters")]
    Length,
    /// It has a character that some reader doesn't take.
    #[error("must have only letters, digits and `{SYMBOLS}`")]
    Character,
    /// It is of one kind.
    #[error("must have at least two of letters, digits and `{SYMBOLS}`")]
    Kinds,
}

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";
const SYMBOLS: &str = "~!@#$%^&*?_-";
const KINDS: [&str; 3] = [LETTERS, DIGITS, SYMBOLS];
const MADE_LENGTH: usize = 32;

impl Password {
    /// Takes the password that an operator chose.
    pub fn choose(text: String) -> Result<Self, InvalidPassword> {
        let text = Zeroizing::new(text);
        if !(8..=64).contains(&text.len()) {
            return Err(InvalidPassword::Length);
        }
        if !text.chars().all(|letter| KINDS.iter().any(|kind| kind.contains(letter))) {
            return Err(InvalidPassword::Character);
        }
        if kinds_in(&text) < 2 { Err(InvalidPassword::Kinds) } else { Ok(Self(text)) }
    }

    /// Makes a password of 32 characters, of all kinds: over 190 bits.
    pub fn make<R>(randomness: &mut R) -> Result<Self, EntropyError>
    where
        R: TryCryptoRng<Error = EntropyError>,
    {
        let alphabet = KINDS.concat();
        loop {
            let mut text = Zeroizing::new(String::with_capacity(MADE_LENGTH));
            while text.len() < MADE_LENGTH {
                let mut byte = [0];
                randomness.try_fill_bytes(&mut byte)?;
                // What is past the end is thrown away, so that each is as likely as any other.
                let place = usize::from(byte[0] & 0x7f);
                text.extend(alphabet.chars().nth(place));
            }
            if kinds_in(&text) == KINDS.len() {
                return Ok(Self(text));
            }
        }
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

fn kinds_in(text: &str) -> usize {
    KINDS.iter().filter(|kind| text.chars().any(|letter| kind.contains(letter))).count()
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn a_chosen_password_is_of_two_kinds_at_least() {
        let longest = "a1".repeat(32);
        for good in ["password1", "~!@#$%^&*?_-1", "1234567-", longest.as_str()] {
            assert!(Password::choose(good.to_owned()).is_ok(), "{good}");
        }
        let too_long = "a1".repeat(32) + "a";
        for (bad, why) in [
            ("", InvalidPassword::Length),
            ("a1b2c3d", InvalidPassword::Length),
            (too_long.as_str(), InvalidPassword::Length),
            ("pässword1", InvalidPassword::Character),
            ("pass word1", InvalidPassword::Character),
            ("password+1", InvalidPassword::Character),
            ("password", InvalidPassword::Kinds),
            ("12345678", InvalidPassword::Kinds),
            ("~!@#$%^&", InvalidPassword::Kinds),
        ] {
            assert_eq!(Password::choose(bad.to_owned()).unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn a_made_password_is_one_that_could_be_chosen_and_is_never_printed() {
        let passwords = [0; 50].map(|_| Password::make(&mut Entropy).unwrap());
        for password in &passwords {
            assert_eq!(password.reveal().len(), 32);
            assert_eq!(kinds_in(password.reveal()), 3);
            assert!(Password::choose(password.reveal().to_owned()).is_ok());
            assert_eq!(format!("{password:?}"), "Password");
        }
        assert_ne!(passwords[0].reveal(), passwords[1].reveal());
    }
}
