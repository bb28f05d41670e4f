//! Keys of tests, and what they sign.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::signature::{SignatureEncoding as _, Signer as _};
use serde_json::Value;
use x509_cert::der::Encode as _;

use crate::{
    domain::client_key::{MadeAlgorithm, PublicKey},
    entropy::Entropy,
    identity::client_key::{generation::PrivateKey, public_key},
};

/// A key, and its public half.
pub(in crate::identity) struct Pair {
    pub(in crate::identity) private: PrivateKey,
    pub(in crate::identity) public: PublicKey,
}

impl Pair {
    pub(in crate::identity) fn make(algorithm: MadeAlgorithm) -> Self {
        let private = PrivateKey::generate(algorithm, &mut Entropy).unwrap();
        let info = private.to_public_key().unwrap().to_der().unwrap();
        Self { public: public_key::parse(&info).unwrap(), private }
    }

    pub(in crate::identity) fn sign(&self, signed: &str) -> Vec<u8> {
        match &self.private {
            PrivateKey::Rsa(key) => key.sign(signed.as_bytes()).to_vec(),
            PrivateKey::EcP256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(signed.as_bytes());
                signature.to_vec()
            }
        }
    }

    pub(in crate::identity) fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(&signed)))
    }
}

/// A part of a token.
pub(in crate::identity) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
