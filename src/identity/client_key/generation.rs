//! Making key pairs. The private half is zeroed when it is dropped, and nothing prints it.

use std::fmt;

use p256::ecdsa::SigningKey as EcSigningKey;
use rand_core::TryCryptoRng;
use rsa::{
    pkcs1v15::SigningKey as RsaSigningKey, pkcs8::EncodePrivateKey as _, signature::Keypair as _,
};
use sha2::Sha256;
use x509_cert::{
    der::{Any, SecretDocument, asn1::BitString},
    spki::SubjectPublicKeyInfo,
};
use zeroize::Zeroizing;

use crate::{domain::client_key::MadeAlgorithm, entropy::EntropyError};

use super::MakeError;

/// The private half of a key.
pub enum PrivateKey {
    /// Of RSA.
    Rsa(Box<RsaSigningKey<Sha256>>),
    /// Of P-256.
    EcP256(EcSigningKey),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PrivateKey {
    /// Makes a key pair. RSA takes a tenth of a second and more: not for a thread that serves calls.
    pub fn generate<R>(algorithm: MadeAlgorithm, randomness: &mut R) -> Result<Self, MakeError>
    where
        R: TryCryptoRng<Error = EntropyError>,
    {
        match algorithm {
            MadeAlgorithm::Rsa2048 => generate_rsa(2_048, randomness),
            MadeAlgorithm::Rsa3072 => generate_rsa(3_072, randomness),
            MadeAlgorithm::EcP256 => generate_ec(randomness),
        }
    }

    /// The private half as PKCS#8, version 1: what every reader takes.
    pub fn to_pkcs8(&self) -> Result<SecretDocument, MakeError> {
        let document = match self {
            Self::Rsa(key) => key.to_pkcs8_der(),
            Self::EcP256(key) => key.to_pkcs8_der(),
        };
        document.map_err(|error| MakeError::Key(error.to_string()))
    }

    /// The public half, as a certificate holds it.
    pub fn to_public_key(&self) -> Result<SubjectPublicKeyInfo<Any, BitString>, MakeError> {
        let key = match self {
            Self::Rsa(key) => SubjectPublicKeyInfo::from_key(&key.verifying_key()),
            Self::EcP256(key) => SubjectPublicKeyInfo::from_key(key.verifying_key()),
        };
        key.map_err(|error| MakeError::Key(error.to_string()))
    }
}

fn generate_rsa<R>(bits: usize, randomness: &mut R) -> Result<PrivateKey, MakeError>
where
    R: TryCryptoRng<Error = EntropyError>,
{
    let key = rsa::PrivateKey::new(randomness, bits)
        .map_err(|error| MakeError::Key(error.to_string()))?;
    Ok(PrivateKey::Rsa(Box::new(RsaSigningKey::new(key))))
}

fn generate_ec<R>(randomness: &mut R) -> Result<PrivateKey, MakeError>
where
    R: TryCryptoRng<Error = EntropyError>,
{
    let mut scalar = Zeroizing::new([0; 32]);
    loop {
        randomness.try_fill_bytes(scalar.as_mut_slice())?;
        // Zero and what is beyond the group's order is none: one in four billion.
        if let Ok(key) = EcSigningKey::from_slice(scalar.as_slice()) {
            return Ok(PrivateKey::EcP256(key));
        }
    }
}
