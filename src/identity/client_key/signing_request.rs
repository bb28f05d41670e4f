//! Certificate signing requests (PKCS#10), by which a key is imported: the signature shows that who
//! sends it has the private half. Of all its fields only the key counts.

use x509_cert::{
    der::{
        Decode as _, Encode as _, Reader as _, SliceReader, Tag, Tagged as _,
        asn1::{AnyRef, BitStringRef, ObjectIdentifier},
        oid::db::rfc5912::{ECDSA_WITH_SHA_256, SHA_256_WITH_RSA_ENCRYPTION},
        pem,
    },
    request::CertReq,
};

use crate::domain::client_key::{KeyAlgorithm, PublicKey};

use super::public_key::{self, InvalidPublicKey, SignatureForm};

/// The most bytes that a request has, as text.
pub const MAX_BYTES: usize = 16 * 1_024;
const LABEL: &str = "CERTIFICATE REQUEST";

/// Why a text is no request that a key can be imported by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningRequest {
    /// It is too long.
    #[error("must have at most {MAX_BYTES} bytes")]
    TooLong,
    /// It isn't PEM.
    #[error("must be PEM with the label `{LABEL}`")]
    Pem,
    /// What is in it is no request.
    #[error("holds no certificate signing request (PKCS#10)")]
    Unreadable,
    /// Its key isn't taken.
    #[error("is not taken: {0}")]
    Key(#[from] InvalidPublicKey),
    /// It is signed by another algorithm.
    #[error("is signed by the algorithm {0}: sign it with SHA-256, by RSA (PKCS#1 v1.5) or ECDSA")]
    Signature(ObjectIdentifier),
    /// The signature isn't that of its key.
    #[error("has a signature that is not its key's: possession is not shown")]
    NotPossessed,
}

/// Takes the public key out of a request that shows that its sender has the private one.
pub fn parse(text: &str) -> Result<PublicKey, InvalidSigningRequest> {
    if text.len() > MAX_BYTES {
        return Err(InvalidSigningRequest::TooLong);
    }
    let (label, der) =
        pem::decode_vec(text.trim().as_bytes()).map_err(|_| InvalidSigningRequest::Pem)?;
    if label != LABEL {
        return Err(InvalidSigningRequest::Pem);
    }
    let unreadable = |_| InvalidSigningRequest::Unreadable;
    let request = CertReq::from_der(&der).map_err(unreadable)?;
    let info = request.info.public_key.to_der().map_err(unreadable)?;
    let key = public_key::parse(&info)?;
    let wanted = match key.algorithm {
        KeyAlgorithm::Rsa { .. } => SHA_256_WITH_RSA_ENCRYPTION,
        KeyAlgorithm::EcP256 => ECDSA_WITH_SHA_256,
    };
    if request.algorithm.oid != wanted {
        return Err(InvalidSigningRequest::Signature(request.algorithm.oid));
    }
    let (signed, signature) = parts(&der).map_err(unreadable)?;
    let possessed = public_key::verifies(&key, SignatureForm::Asn1, signed, signature);
    if possessed { Ok(key) } else { Err(InvalidSigningRequest::NotPossessed) }
}

/// What is signed, exactly as it was sent, and the signature.
fn parts(der: &[u8]) -> Result<(&[u8], &[u8]), x509_cert::der::Error> {
    let request = AnyRef::from_der(der)?;
    request.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(request.value())?;
    let signed = reader.tlv_bytes()?;
    reader.tlv_bytes()?;
    let signature = BitStringRef::decode(&mut reader)?;
    reader.finish()?;
    let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
    Ok((signed, signature))
}
