//! The public keys of an issuer of tokens, as it publishes them (RFC 7517).
//!
//! Pure. Keys that aren't for signatures, that have no id, that are of another kind than is taken
//! here, too weak or broken are left out: one odd key takes none of the others away. What makes a set
//! dangerous or ambiguous breaks it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use x509_cert::{
    der::{
        Any, Encode as _,
        asn1::{BitString, UintRef},
        oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1},
    },
    spki::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use crate::domain::client_key::{KeyAlgorithm, PublicKey};

use super::client_key::public_key::{self, InvalidPublicKey};

/// The most bytes that a set has.
pub const MAX_BYTES: usize = 64 * 1_024;
/// The most keys in a set.
const MAX_KEYS: usize = 64;
/// The most bytes that a key's id has.
const MAX_ID_BYTES: usize = 256;
/// The bytes of a number of P-256.
const P256_BYTES: usize = 32;

/// Keys by their ids; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(BTreeMap<Box<str>, PublicKey>);

/// Why bytes are no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// There are too many of them.
    #[error("has more than 64 KiB")]
    TooLarge,
    /// They can't be read.
    #[error("is no JSON Web Key Set")]
    Unreadable,
    /// There are too many keys.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
    /// There is a key's private half, or a shared secret.
    #[error("has what is secret of a key: make a set of public halves alone")]
    Secret,
    /// Two keys have the same id.
    #[error("has two keys of one id")]
    Ambiguous,
    /// A number of a key isn't there, or isn't one.
    #[error("has a key of which a number is missing or broken")]
    Number,
    /// A key isn't taken.
    #[error("is not taken: {0}")]
    Key(#[from] InvalidPublicKey),
    /// There is no key.
    #[error("has no key for signatures by RS256 or ES256 with an id")]
    Empty,
}

#[derive(Deserialize)]
struct Sent {
    keys: Vec<SentKey>,
}

#[derive(Deserialize)]
struct SentKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    k: Option<serde::de::IgnoredAny>,
}

impl KeySet {
    /// Reads a set.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidKeySet> {
        if bytes.len() > MAX_BYTES {
            return Err(InvalidKeySet::TooLarge);
        }
        let Sent { keys } = serde_json::from_slice(bytes).map_err(|_| InvalidKeySet::Unreadable)?;
        if keys.len() > MAX_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let (mut set, mut odd) = (BTreeMap::new(), None);
        for key in &keys {
            if key.d.is_some() || key.k.is_some() {
                return Err(InvalidKeySet::Secret);
            }
            match key.read() {
                Ok(None) => {}
                Ok(Some((id, key))) => {
                    if set.insert(id, key).is_some() {
                        return Err(InvalidKeySet::Ambiguous);
                    }
                }
                Err(error) => odd = odd.or(Some(error)),
            }
        }
        if set.is_empty() { Err(odd.unwrap_or(InvalidKeySet::Empty)) } else { Ok(Self(set)) }
    }

    /// The key of an id.
    pub fn find(&self, id: &str) -> Option<&PublicKey> {
        self.0.get(id)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The keys' ids and fingerprints.
    pub fn fingerprints(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(id, key)| (&**id, public_key::fingerprint(key)))
    }
}

impl SentKey {
    /// The key and its id, if it is one that tokens here can be signed by.
    fn read(&self) -> Result<Option<(Box<str>, PublicKey)>, InvalidKeySet> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let Some(id) = self.kid.as_deref() else { return Ok(None) };
        if !is_for_signatures || id.is_empty() || id.len() > MAX_ID_BYTES {
            return Ok(None);
        }
        // What isn't by an algorithm that is taken need not have numbers that are.
        let is_for = |algorithm| self.alg.as_deref().is_none_or(|named| named == algorithm);
        let key = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", _) if is_for("RS256") => self.read_rsa()?,
            ("EC", Some("P-256")) if is_for("ES256") => self.read_p256()?,
            _ => return Ok(None),
        };
        Ok(Some((id.into(), key)))
    }

    fn read_rsa(&self) -> Result<PublicKey, InvalidKeySet> {
        let (modulus, exponent) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
        let unsigned = |bytes| UintRef::new(bytes).map_err(|_| InvalidKeySet::Number);
        let numbers = vec![unsigned(&modulus)?, unsigned(&exponent)?];
        let key = numbers.to_der().map_err(|_| InvalidKeySet::Number)?;
        let algorithm = AlgorithmIdentifier { oid: RSA_ENCRYPTION, parameters: Some(Any::null()) };
        public_key(algorithm, &key)
    }

    fn read_p256(&self) -> Result<PublicKey, InvalidKeySet> {
        let (x, y) = (number(self.x.as_deref())?, number(self.y.as_deref())?);
        if x.len() != P256_BYTES || y.len() != P256_BYTES {
            return Err(InvalidKeySet::Number);
        }
        let curve = Any::encode_from(&SECP_256_R_1).map_err(|_| InvalidKeySet::Number)?;
        let algorithm = AlgorithmIdentifier { oid: ID_EC_PUBLIC_KEY, parameters: Some(curve) };
        // The uncompressed form (SEC 1).
        public_key(algorithm, &[&[4], &x[..], &y[..]].concat())
    }
}

fn number(text: Option<&str>) -> Result<Vec<u8>, InvalidKeySet> {
    let text = text.filter(|text| !text.is_empty()).ok_or(InvalidKeySet::Number)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidKeySet::Number)
}

fn public_key(algorithm: AlgorithmIdentifier<Any>, key: &[u8]) -> Result<PublicKey, InvalidKeySet> {
    let key = BitString::from_bytes(key).map_err(|_| InvalidKeySet::Number)?;
    let info = SubjectPublicKeyInfo { algorithm, subject_public_key: key }.to_der();
    Ok(public_key::parse(&info.map_err(|_| InvalidKeySet::Number)?)?)
}

/// A key of P-256 as a set has it, alone.
pub fn of_p256(id: &str, key: &PublicKey) -> Option<KeySet> {
    (key.algorithm == KeyAlgorithm::EcP256)
        .then(|| KeySet(BTreeMap::from([(id.into(), key.clone())])))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::client_key::MadeAlgorithm, entropy::Entropy,
        identity::client_key::generation::PrivateKey,
    };

    /// The public half of a new key, and its numbers as a set has them.
    fn made(algorithm: MadeAlgorithm) -> (PublicKey, Value) {
        let key = PrivateKey::generate(algorithm, &mut Entropy).unwrap();
        let info = key.to_public_key().unwrap().to_der().unwrap();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let numbers = match &key {
            PrivateKey::Rsa(key) => {
                use rsa::{signature::Keypair as _, traits::PublicKeyParts as _};
                let verifying = key.verifying_key();
                let public: &rsa::PublicKey = verifying.as_ref();
                json!({
                    "kty": "RSA",
                    "n": text(&public.n_bytes()),
                    "e": text(&public.e_bytes()),
                })
            }
            PrivateKey::EcP256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let bytes = point.as_bytes();
                json!({
                    "kty": "EC", "crv": "P-256",
                    "x": text(&bytes[1..33]), "y": text(&bytes[33..]),
                })
            }
        };
        (public_key::parse(&info).unwrap(), numbers)
    }

    fn with(numbers: &Value, more: Value) -> Value {
        let mut all = numbers.clone();
        let more = more.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(more);
        all
    }

    fn parse(keys: &[Value]) -> Result<KeySet, InvalidKeySet> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_are_found_by_their_ids() {
        let (rsa, rsa_numbers) = made(MadeAlgorithm::Rsa2048);
        let (ec, ec_numbers) = made(MadeAlgorithm::EcP256);
        let set = parse(&[
            with(&rsa_numbers, json!({"kid": "r", "use": "sig", "alg": "RS256", "x5c": ["…"]})),
            with(&ec_numbers, json!({"kid": "e", "key_ops": ["verify"]})),
            // What is for something else, or of another kind.
            with(&ec_numbers, json!({"kid": "enc", "use": "enc"})),
            with(&rsa_numbers, json!({"kid": "ps", "alg": "PS256"})),
            with(&rsa_numbers, json!({})),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "ed"}),
        ])
        .unwrap();
        assert_eq!(set.find("r"), Some(&rsa));
        assert_eq!(set.find("e"), Some(&ec));
        let ids: Vec<_> = set.fingerprints().map(|(id, _)| id).collect();
        assert_eq!(ids, ["e", "r"]);
    }

    #[test]
    fn an_odd_key_takes_none_of_the_others_away() {
        let (_, numbers) = made(MadeAlgorithm::EcP256);
        let good = with(&numbers, json!({"kid": "good"}));
        let rsa = |n: &str, e: &str| json!({"kty": "RSA", "kid": "odd", "n": n, "e": e});
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let long = URL_SAFE_NO_PAD.encode([0xff; 256]);
        for odd in [
            rsa(&short, "AQAB"),
            rsa(&long, "Aw"),
            rsa("?", "AQAB"),
            json!({"kty": "RSA", "kid": "odd"}),
            with(&good, json!({"kid": "odd", "x": "AA"})),
            // By the id of the good one, too.
            with(&good, json!({"y": URL_SAFE_NO_PAD.encode([7; 32])})),
        ] {
            for keys in [[odd.clone(), good.clone()], [good.clone(), odd.clone()]] {
                let set = parse(&keys).unwrap();
                let ids: Vec<_> = set.fingerprints().map(|(id, _)| id).collect();
                assert_eq!(ids, ["good"], "{odd}");
            }
        }
        // For another algorithm it isn't even odd.
        let other = with(&rsa(&short, "AQAB"), json!({"alg": "PS256"}));
        assert_eq!(parse(&[other]), Err(InvalidKeySet::Empty));
    }

    #[test]
    fn a_set_of_which_no_key_is_good_or_one_is_secret_is_none() {
        let (_, numbers) = made(MadeAlgorithm::EcP256);
        let good = with(&numbers, json!({"kid": "k"}));
        let rsa = |n: &str, e: &str| json!({"kty": "RSA", "kid": "k", "n": n, "e": e});
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let long = URL_SAFE_NO_PAD.encode([0xff; 256]);
        for (keys, error) in [
            (vec![], InvalidKeySet::Empty),
            (vec![with(&good, json!({"d": "AA"}))], InvalidKeySet::Secret),
            (vec![json!({"kty": "oct", "k": "AA"})], InvalidKeySet::Secret),
            (vec![good.clone(), good.clone()], InvalidKeySet::Ambiguous),
            (vec![with(&good, json!({"x": "AA"}))], InvalidKeySet::Number),
            (vec![with(&good, json!({"y": "?"}))], InvalidKeySet::Number),
            (vec![with(&good, json!({"y": null}))], InvalidKeySet::Number),
            (
                vec![with(&good, json!({"y": URL_SAFE_NO_PAD.encode([7; 32])}))],
                InvalidKeySet::Key(InvalidPublicKey::Point),
            ),
            (vec![rsa(&short, "AQAB")], InvalidKeySet::Key(InvalidPublicKey::Bits(1_024))),
            (vec![rsa(&long, "Aw")], InvalidKeySet::Key(InvalidPublicKey::Exponent)),
            (vec![good; 65], InvalidKeySet::TooMany),
        ] {
            assert_eq!(parse(&keys), Err(error), "{keys:?}");
        }
        for bad in ["", "[]", "{}", "{\"keys\": [1]}", "{\"keys\": [], \"keys\": []}"] {
            assert_eq!(KeySet::parse(bad.as_bytes()), Err(InvalidKeySet::Unreadable), "{bad}");
        }
        let long = vec![b' '; MAX_BYTES + 1];
        assert_eq!(KeySet::parse(&long), Err(InvalidKeySet::TooLarge));
    }
}
