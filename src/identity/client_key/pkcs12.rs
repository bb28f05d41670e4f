//! PKCS#12 (RFC 7292): a certificate and its private key under a password, in two encodings.
//!
//! Written by the server, and read by applications: here by the command line. The only secrets on the
//! way are the key itself, which is encrypted straight from the buffer that it was encoded in, and what
//! is derived from the password; both are zeroed.

pub mod reading;

use std::{fmt, num::NonZeroU32};

use cbc::{
    Encryptor,
    cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7},
};
use rand_core::TryCryptoRng;
use ring::{digest, hmac, pbkdf2};
use x509_cert::der::{
    Any, Encode as _, Tag, TagNumber,
    asn1::{ContextSpecific, Null, ObjectIdentifier, OctetString},
};
use zeroize::Zeroizing;

use crate::entropy::EntropyError;

use super::{MakeError, password::Password};

/// How often a password is hashed, for a bag and for the check of integrity.
pub const ITERATIONS: u32 = 100_000;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const SHROUDED_KEY_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const LOCAL_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.21");
const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const HMAC_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
const PBE_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
const SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// Bytes that are DER.
type Der = Result<Vec<u8>, MakeError>;

/// Which algorithms a file is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// PBES2 with AES-256-CBC and HMAC-SHA-256, and HMAC-SHA-256 over all.
    #[default]
    Modern,
    /// SHA-1 and triple DES, and HMAC-SHA-1 over all: for readers that know nothing newer.
    Compatible,
}

/// What of a file is its own.
pub struct Writer<'a, R> {
    /// The algorithms.
    pub encoding: Encoding,
    /// What it is encrypted under.
    pub password: &'a Password,
    /// Where salts come from.
    pub randomness: &'a mut R,
}

impl<R> fmt::Debug for Writer<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({:?})", self.encoding)
    }
}

impl<R: TryCryptoRng<Error = EntropyError>> Writer<'_, R> {
    /// Writes a certificate, and after it its key (PKCS#8): some readers take the first two things
    /// there are for these.
    pub fn write(&mut self, certificate: &[u8], private_key: &[u8]) -> Der {
        let bag = certificate_bag(certificate)?;
        let safe = sequence(&[safe_bag(CERTIFICATE_BAG, &bag, certificate)?])?;
        let (algorithm, encrypted) = self.encrypt(&safe)?;
        let content = ContextSpecific {
            tag_number: TagNumber(0),
            tag_mode: x509_cert::der::TagMode::Implicit,
            value: OctetString::new(encrypted)?,
        };
        let content = sequence(&[DATA.to_der()?, algorithm, content.to_der()?])?;
        let certificate_safe = sequence(&[0_u8.to_der()?, content])?;

        let (algorithm, encrypted) = self.encrypt(private_key)?;
        let bag = sequence(&[algorithm, octets(&encrypted)?])?;
        let key_safe = octets(&sequence(&[safe_bag(SHROUDED_KEY_BAG, &bag, certificate)?])?)?;

        let safes = sequence(&[
            content_info(ENCRYPTED_DATA, &certificate_safe)?,
            content_info(DATA, &key_safe)?,
        ])?;
        let mac = self.authenticate(&safes)?;
        sequence(&[3_u8.to_der()?, content_info(DATA, &octets(&safes)?)?, mac])
    }

    /// Encrypts under the password; the algorithm's identifier and what came of it.
    fn encrypt(&mut self, plaintext: &[u8]) -> Result<(Vec<u8>, Vec<u8>), MakeError> {
        match self.encoding {
            Encoding::Modern => self.encrypt_modern(plaintext),
            Encoding::Compatible => self.encrypt_compatible(plaintext),
        }
    }

    fn encrypt_modern(&mut self, plaintext: &[u8]) -> Result<(Vec<u8>, Vec<u8>), MakeError> {
        let (salt, iv): ([u8; 16], [u8; 16]) = (self.random()?, self.random()?);
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations(),
            &salt,
            self.password.reveal().as_bytes(),
            key.as_mut_slice(),
        );
        let cipher = Encryptor::<aes::Aes256>::new_from_slices(key.as_slice(), &iv)
            .map_err(|_| MakeError::Encryption)?;
        let derivation = sequence(&[
            octets(&salt)?,
            ITERATIONS.to_der()?,
            sequence(&[HMAC_SHA_256.to_der()?, Null.to_der()?])?,
        ])?;
        let derivation = sequence(&[PBKDF2.to_der()?, derivation])?;
        let scheme = sequence(&[AES_256_CBC.to_der()?, octets(&iv)?])?;
        let algorithm = sequence(&[PBES2.to_der()?, sequence(&[derivation, scheme])?])?;
        Ok((algorithm, cipher.encrypt_padded_vec::<Pkcs7>(plaintext)))
    }

    fn encrypt_compatible(&mut self, plaintext: &[u8]) -> Result<(Vec<u8>, Vec<u8>), MakeError> {
        let salt: [u8; 8] = self.random()?;
        let (mut key, mut iv) = (Zeroizing::new([0; 24]), [0; 8]);
        let password = self.password;
        derive(SHA_1_DIGEST, password, (Purpose::Encryption, &salt), key.as_mut_slice());
        derive(SHA_1_DIGEST, password, (Purpose::InitialVector, &salt), &mut iv);
        let cipher = Encryptor::<des::TdesEde3>::new_from_slices(key.as_slice(), &iv)
            .map_err(|_| MakeError::Encryption)?;
        let parameters = sequence(&[octets(&salt)?, ITERATIONS.to_der()?])?;
        let algorithm = sequence(&[PBE_3DES.to_der()?, parameters])?;
        Ok((algorithm, cipher.encrypt_padded_vec::<Pkcs7>(plaintext)))
    }

    /// What shows that nothing was changed, and that a password is the right one.
    fn authenticate(&mut self, safes: &[u8]) -> Der {
        let (function, algorithm, name) = match self.encoding {
            Encoding::Modern => (&digest::SHA256, hmac::HMAC_SHA256, SHA_256),
            Encoding::Compatible => (SHA_1_DIGEST, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SHA_1),
        };
        let salt: [u8; 16] = self.random()?;
        let mut key = Zeroizing::new(vec![0; function.output_len()]);
        derive(function, self.password, (Purpose::Authentication, &salt), &mut key);
        let tag = hmac::sign(&hmac::Key::new(algorithm, &key), safes);
        let name = sequence(&[name.to_der()?, Null.to_der()?])?;
        let tag = sequence(&[name, octets(tag.as_ref())?])?;
        sequence(&[tag, octets(&salt)?, ITERATIONS.to_der()?])
    }

    fn random<const N: usize>(&mut self) -> Result<[u8; N], EntropyError> {
        let mut bytes = [0; N];
        self.randomness.try_fill_bytes(&mut bytes)?;
        Ok(bytes)
    }
}

/// Derives bytes from a password as RFC 7292, appendix B.2 has it.
fn derive(
    function: &'static digest::Algorithm,
    password: &Password,
    input: (Purpose, &[u8]),
    derived: &mut [u8],
) {
    derive_by(ITERATIONS, function, password.reveal(), input, derived);
}

fn derive_by(
    iterations: u32,
    function: &'static digest::Algorithm,
    password: &str,
    (purpose, salt): (Purpose, &[u8]),
    derived: &mut [u8],
) {
    // As large as it gets: growing would leave a copy behind.
    let mut units = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    for unit in password.encode_utf16().chain([0]) {
        units.extend_from_slice(&unit.to_be_bytes());
    }
    let block = function.block_len();
    let whole = |part: &[u8]| part.len().div_ceil(block) * block;
    let mut input = Zeroizing::new(Vec::with_capacity(whole(salt) + whole(&units)));
    for part in [salt, &units[..]] {
        input.extend(part.iter().cycle().take(whole(part)));
    }
    let diversifier = vec![purpose as u8; block];
    for piece in derived.chunks_mut(function.output_len()) {
        let mut context = digest::Context::new(function);
        context.update(&diversifier);
        context.update(&input);
        let mut hash = context.finish();
        for _ in 1..iterations {
            hash = digest::digest(function, hash.as_ref());
        }
        for (byte, hashed) in piece.iter_mut().zip(hash.as_ref()) {
            *byte = *hashed;
        }
        let addend: Vec<_> = hash.as_ref().iter().copied().cycle().take(block).collect();
        for number in input.chunks_mut(block) {
            add_and_one(number, &addend);
        }
    }
}

static SHA_1_DIGEST: &digest::Algorithm = &digest::SHA1_FOR_LEGACY_USE_ONLY;

/// What bytes are derived for.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Purpose {
    Encryption = 1,
    InitialVector = 2,
    Authentication = 3,
}

fn iterations() -> NonZeroU32 {
    NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MAX)
}

/// Adds two big-endian numbers of the same length, and one; what doesn't fit is lost.
fn add_and_one(number: &mut [u8], addend: &[u8]) {
    let mut carry = 1;
    for (digit, added) in number.iter_mut().zip(addend).rev() {
        let sum = u16::from(*digit) + u16::from(*added) + carry;
        let [high, low] = sum.to_be_bytes();
        *digit = low;
        carry = u16::from(high);
    }
}

fn sequence(parts: &[Vec<u8>]) -> Der {
    Ok(Any::new(Tag::Sequence, parts.concat())?.to_der()?)
}

fn set(parts: &[Vec<u8>]) -> Der {
    Ok(Any::new(Tag::Set, parts.concat())?.to_der()?)
}

fn octets(bytes: &[u8]) -> Der {
    Ok(OctetString::new(bytes)?.to_der()?)
}

fn explicit(content: &[u8]) -> Der {
    use x509_cert::der::Decode as _;
    let (tag_number, tag_mode) = (TagNumber(0), x509_cert::der::TagMode::Explicit);
    Ok(ContextSpecific { tag_number, tag_mode, value: Any::from_der(content)? }.to_der()?)
}

fn content_info(kind: ObjectIdentifier, content: &[u8]) -> Der {
    sequence(&[kind.to_der()?, explicit(content)?])
}

fn certificate_bag(certificate: &[u8]) -> Der {
    sequence(&[X509_CERTIFICATE.to_der()?, explicit(&octets(certificate)?)?])
}

/// A bag with the attribute by which readers find the key that belongs to a certificate.
fn safe_bag(kind: ObjectIdentifier, value: &[u8], certificate: &[u8]) -> Der {
    let local_key_id = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let values = set(&[octets(local_key_id.as_ref())?])?;
    let attribute = sequence(&[LOCAL_KEY_ID.to_der()?, values])?;
    sequence(&[kind.to_der()?, explicit(value)?, set(&[attribute])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        let pair = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_password_gives_the_bytes_that_others_derive_from_it() {
        // From the tests of OpenSSL and Bouncy Castle: password, salt, what for, iterations.
        for (password, salt, purpose, iterations, wanted) in [
            (
                "smeg",
                "0a58cf64530d823f",
                Purpose::Encryption,
                1,
                "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3",
            ),
            ("smeg", "0a58cf64530d823f", Purpose::InitialVector, 1, "79993dfe048d3b76"),
            (
                "queeg",
                "05dec959acff72f7",
                Purpose::Encryption,
                1_000,
                "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4",
            ),
            ("queeg", "05dec959acff72f7", Purpose::InitialVector, 1_000, "11dedad7758d4860"),
        ] {
            let salt = unhex(salt);
            let mut derived = vec![0; wanted.len() / 2];
            derive_by(iterations, SHA_1_DIGEST, password, (purpose, &salt), &mut derived);
            assert_eq!(derived, unhex(wanted));
        }
    }
}
