//! Making assertions: the application's side, for the command line and for tests.

use std::fmt;

use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::time::UnixNanos,
    identity::{
        client_key::{generation::PrivateKey, signing::SigningError},
        jwt::{self, NewToken},
    },
};

/// For how long an assertion is good, in seconds: it is shown at once.
const LIFETIME: i64 = 60;

/// What an assertion is to say.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The id of the key that signs it.
    pub key_id: &'a str,
    /// The server that it is for.
    pub audience: &'a str,
    /// The time.
    pub now: UnixNanos,
    /// What no other assertion of this key has.
    pub id: Uuid,
}

/// An assertion: a secret until it was shown.
pub struct NewAssertion(NewToken);

impl NewAssertion {
    /// Makes an assertion.
    pub fn make(key: &PrivateKey, wanted: &Wanted<'_>) -> Result<Self, SigningError> {
        let Wanted { key_id, audience, now, id } = *wanted;
        let claims = json!({
            "iss": key_id,
            "sub": key_id,
            "aud": audience,
            "iat": now.seconds(),
            "exp": now.seconds().saturating_add(LIFETIME),
            "jti": id.to_string(),
        });
        Ok(Self(jwt::make(key, key_id, &claims)?))
    }

    /// The assertion itself.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl fmt::Debug for NewAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewAssertion")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::client_key::MadeAlgorithm,
        entropy::Entropy,
        identity::{
            assertion::{Assertion, Expected, Proof},
            client_key::public_key,
        },
    };
    use x509_cert::der::Encode as _;

    #[test]
    fn an_assertion_proves_what_it_was_made_for_and_is_never_printed() {
        let now = UnixNanos::from_parts(1_900_000_000, 7);
        for algorithm in [MadeAlgorithm::Rsa2048, MadeAlgorithm::EcP256] {
            let key = PrivateKey::generate(algorithm, &mut Entropy).unwrap();
            let info = key.to_public_key().unwrap().to_der().unwrap();
            let public = public_key::parse(&info).unwrap();
            let wanted = Wanted { key_id: "KAAP.1", audience: "aap", now, id: Uuid::from_u128(7) };
            let made = NewAssertion::make(&key, &wanted).unwrap();
            assert_eq!(format!("{made:?}"), "NewAssertion");
            let started = UnixNanos::from_parts(1_899_999_000, 0);
            let expected =
                Expected { key_id: "KAAP.1", key: &public, audience: "aap", now, started };
            let proof = Assertion::read(made.reveal()).unwrap().verify(&expected);
            let id = Uuid::from_u128(7).to_string().into();
            assert_eq!(proof, Ok(Proof { id, expires: 1_900_000_060 }));
        }
    }
}
