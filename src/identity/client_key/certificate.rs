//! The self-signed certificate that a key is packed with. Readers of PKCS#12 want one; nothing in
//! its fields is ever believed.

use rand_core::TryCryptoRng;
use x509_cert::{
    builder::{self, Builder as _, CertificateBuilder, profile::BuilderProfile},
    certificate::TbsCertificate,
    der::{
        DateTime, Encode as _,
        asn1::{GeneralizedTime, UtcTime},
        flagset::FlagSet,
        pem::{self, LineEnding},
    },
    ext::{Extension, ToExtension as _, pkix::KeyUsage, pkix::KeyUsages},
    name::Name,
    serial_number::SerialNumber,
    spki::SubjectPublicKeyInfoRef,
    time::{Time, Validity as CertifiedValidity},
};

use crate::{
    domain::{client_key::Validity, time::UnixNanos},
    entropy::EntropyError,
};

use super::{MakeError, generation::PrivateKey};

/// Certifies a key by itself, for an access point. DER.
pub fn certify<R>(
    key: &PrivateKey,
    access_point: &str,
    validity: Validity,
    randomness: &mut R,
) -> Result<Vec<u8>, MakeError>
where
    R: TryCryptoRng<Error = EntropyError>,
{
    // 127 bits: the first bit of a serial number is its sign, and it isn't zero.
    let mut serial = [0; 16];
    randomness.try_fill_bytes(&mut serial)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    let subject: Name = format!("CN={access_point}").parse()?;
    let builder = CertificateBuilder::new(
        SelfSigned(subject),
        SerialNumber::new(&serial)?,
        CertifiedValidity::new(time(validity.not_before())?, time(validity.not_after())?),
        key.to_public_key()?,
    )?;
    let certificate = match key {
        PrivateKey::Rsa(key) => builder.build::<_, rsa::pkcs1v15::Signature>(&**key)?,
        PrivateKey::EcP256(key) => builder.build::<_, p256::ecdsa::DerSignature>(key)?,
    };
    Ok(certificate.to_der()?)
}

const LABEL: &str = "CERTIFICATE";

/// Why a text is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be PEM with the label `{LABEL}`")]
pub struct InvalidCertificate;

/// A certificate as PEM.
pub fn to_pem(certificate: &[u8]) -> String {
    pem::encode_string(LABEL, LineEnding::LF, certificate).unwrap_or_default()
}

/// Reads a certificate from PEM. DER, of which nothing is believed.
pub fn from_pem(text: &str) -> Result<Vec<u8>, InvalidCertificate> {
    match pem::decode_vec(text.trim().as_bytes()) {
        Ok((LABEL, certificate)) => Ok(certificate),
        _ => Err(InvalidCertificate),
    }
}

/// As RFC 5280 wants it: in two digits of a year up to 2049, and in four from then on.
fn time(point: UnixNanos) -> Result<Time, MakeError> {
    let seconds =
        std::time::Duration::from_secs(u64::try_from(point.seconds()).unwrap_or_default());
    let date = DateTime::from_unix_duration(seconds)?;
    Ok(if date.year() < 2_050 {
        Time::UtcTime(UtcTime::from_date_time(date)?)
    } else {
        Time::GeneralTime(GeneralizedTime::from_date_time(date))
    })
}

/// A certificate for signing, issued by its subject.
struct SelfSigned(Name);

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        _subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let usage = KeyUsage(FlagSet::from(KeyUsages::DigitalSignature));
        Ok(vec![usage.to_extension(certificate.subject(), &[])?])
    }
}
