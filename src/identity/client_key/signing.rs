//! Signing with a private key: what an application does, and nobody else.

use rand_core::TryCryptoRng;
use rsa::{
    pkcs1v15, pkcs8,
    signature::{RandomizedSigner as _, SignatureEncoding as _},
};
use x509_cert::der::{
    Decode as _,
    oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION},
};

use crate::entropy::EntropyError;

use super::generation::PrivateKey;

/// Why bytes are no private key that is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no private key of RSA or P-256")]
pub struct InvalidPrivateKey;

/// There is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key can't sign")]
pub struct SigningError;

impl PrivateKey {
    /// Reads a key from PKCS#8.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, InvalidPrivateKey> {
        let info = pkcs8::PrivateKeyInfoRef::from_der(bytes).map_err(|_| InvalidPrivateKey)?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => info.try_into().map(|key| Self::Rsa(Box::new(key))),
            ID_EC_PUBLIC_KEY => info.try_into().map(Self::EcP256),
            _ => return Err(InvalidPrivateKey),
        }
        .map_err(|_| InvalidPrivateKey)
    }

    /// What it signs by, as the header of a JWT names it.
    pub fn algorithm_name(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::EcP256(_) => "ES256",
        }
    }

    /// Signs a message, with SHA-256, in the form that a JWT has.
    pub fn sign<R>(&self, message: &[u8], randomness: &mut R) -> Result<Vec<u8>, SigningError>
    where
        R: TryCryptoRng<Error = EntropyError>,
    {
        match self {
            // The randomness only hides what the key's numbers are from who measures the time.
            Self::Rsa(key) => key
                .try_sign_with_rng(randomness, message)
                .map(|signature: pkcs1v15::Signature| signature.to_vec()),
            Self::EcP256(key) => key
                .try_sign_with_rng(randomness, message)
                .map(|signature: p256::ecdsa::Signature| signature.to_vec()),
        }
        .map_err(|_| SigningError)
    }
}
