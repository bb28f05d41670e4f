//! Public keys: parsed, and verified by. The algorithm is the key's own; what a signature says of
//! itself is never asked.

use ring::signature;
use x509_cert::{
    der::{
        Decode as _, Reader as _, SliceReader, Tag, Tagged as _,
        asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef},
        oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1},
        pem::{self, LineEnding},
    },
    spki::SubjectPublicKeyInfo,
};

use crate::domain::client_key::{KeyAlgorithm, PublicKey};

/// Why bytes are no key that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// They are no key.
    #[error("its public key can't be read")]
    Unreadable,
    /// It is of another algorithm.
    #[error("its key is of the algorithm {0}: take RSA or P-256")]
    Algorithm(ObjectIdentifier),
    /// It is on another curve.
    #[error("its key is on another curve than P-256")]
    Curve,
    /// It isn't a point of its curve.
    #[error("its key is no point of P-256 in uncompressed form")]
    Point,
    /// It is too short or too long.
    #[error("its key is RSA of {0} bits: take 2,048 to 4,096")]
    Bits(usize),
    /// Its exponent is another one.
    #[error("its key is RSA with another exponent than 65537")]
    Exponent,
}

/// Parses the DER of a `SubjectPublicKeyInfo`.
pub fn parse(info: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
    let parsed = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(info)
        .map_err(|_| InvalidPublicKey::Unreadable)?;
    let bytes = parsed.subject_public_key.as_bytes().ok_or(InvalidPublicKey::Unreadable)?;
    let algorithm = match parsed.algorithm.oid {
        RSA_ENCRYPTION => parse_rsa(bytes)?,
        ID_EC_PUBLIC_KEY => {
            let curve = parsed.algorithm.parameters.and_then(|any| any.decode_as().ok());
            if curve != Some(SECP_256_R_1) {
                return Err(InvalidPublicKey::Curve);
            }
            if bytes.first() != Some(&4) || p256::PublicKey::from_sec1_bytes(bytes).is_err() {
                return Err(InvalidPublicKey::Point);
            }
            KeyAlgorithm::EcP256
        }
        other => return Err(InvalidPublicKey::Algorithm(other)),
    };
    Ok(PublicKey { algorithm, info: info.into() })
}

fn parse_rsa(bytes: &[u8]) -> Result<KeyAlgorithm, InvalidPublicKey> {
    let (modulus, exponent) = read_rsa(bytes).map_err(|_| InvalidPublicKey::Unreadable)?;
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = modulus.len() * 8 - usize::try_from(zeros).unwrap_or_default();
    if !(2_048..=4_096).contains(&bits) {
        return Err(InvalidPublicKey::Bits(bits));
    }
    if exponent != [1, 0, 1] {
        return Err(InvalidPublicKey::Exponent);
    }
    Ok(KeyAlgorithm::Rsa { bits: u16::try_from(bits).unwrap_or(u16::MAX) })
}

/// The modulus and the exponent of an `RSAPublicKey` (RFC 8017).
fn read_rsa(bytes: &[u8]) -> Result<(&[u8], &[u8]), x509_cert::der::Error> {
    let sequence = AnyRef::from_der(bytes)?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(sequence.value())?;
    let (modulus, exponent) = (UintRef::decode(&mut reader)?, UintRef::decode(&mut reader)?);
    reader.finish()?;
    Ok((modulus.as_bytes(), exponent.as_bytes()))
}

const LABEL: &str = "PUBLIC KEY";

/// The key as PEM.
pub fn to_pem(key: &PublicKey) -> String {
    pem::encode_string(LABEL, LineEnding::LF, &key.info).unwrap_or_default()
}

/// Parses a key as PEM.
pub fn from_pem(text: &str) -> Result<PublicKey, InvalidPublicKey> {
    let decoded = pem::decode_vec(text.trim().as_bytes());
    let (label, info) = decoded.map_err(|_| InvalidPublicKey::Unreadable)?;
    if label == LABEL { parse(&info) } else { Err(InvalidPublicKey::Unreadable) }
}

/// SHA-256 of the key as DER, in hexadecimal digits.
pub fn fingerprint(key: &PublicKey) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &key.info);
    let mut digits = String::with_capacity(2 * digest.as_ref().len());
    for byte in digest.as_ref() {
        for half in [byte >> 4, byte & 15] {
            digits.extend(char::from_digit(half.into(), 16));
        }
    }
    digits
}

/// The form that a signature has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureForm {
    /// As in a JWT (RFC 7518): the two numbers of an ECDSA signature side by side.
    Fixed,
    /// As in a certificate: the two numbers in ASN.1.
    Asn1,
}

/// Whether a signature over a message is this key's: RSASSA-PKCS1-v1_5 with SHA-256, or ECDSA with
/// SHA-256. Nothing else is.
pub fn verifies(key: &PublicKey, form: SignatureForm, message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &dyn signature::VerificationAlgorithm = match (key.algorithm, form) {
        (KeyAlgorithm::Rsa { .. }, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (KeyAlgorithm::EcP256, SignatureForm::Fixed) => &signature::ECDSA_P256_SHA256_FIXED,
        (KeyAlgorithm::EcP256, SignatureForm::Asn1) => &signature::ECDSA_P256_SHA256_ASN1,
    };
    let info = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(&key.info);
    let bytes = info.ok().and_then(|info| info.subject_public_key.as_bytes());
    bytes.is_some_and(|bytes| {
        signature::UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok()
    })
}
