//! Reading a PKCS#12 file: what [`super::Writer`] writes in both encodings, and what OpenSSL 3 and
//! Java write unless they are told otherwise.
//!
//! The key is what it is for; certificates in it are left where they are.

use std::num::NonZeroU32;

use cbc::{
    Decryptor,
    cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7},
};
use ring::{digest, hmac, pbkdf2};
use x509_cert::der::{
    self, Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _,
    asn1::{AnyRef, ObjectIdentifier},
};
use zeroize::Zeroizing;

use super::{
    AES_256_CBC, DATA, HMAC_SHA_256, PBE_3DES, PBES2, PBKDF2, Purpose, SHA_1, SHA_1_DIGEST,
    SHA_256, SHROUDED_KEY_BAG, derive_by,
};

/// The most bytes of a file: more than one with a long chain of certificates has.
pub const MAX_BYTES: usize = 64 * 1_024;
/// How often a password is hashed at most: some seconds' worth.
const MAX_ITERATIONS: u32 = 10_000_000;

/// Why a file can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is no such file.
    #[error("it can't be read as PKCS#12")]
    Unreadable,
    /// It is written with algorithms that aren't read here.
    #[error("it is encrypted with the algorithm {0}, which is not read here")]
    Algorithm(ObjectIdentifier),
    /// The password is another one, or something was changed.
    #[error("the password is not the file's, or the file is damaged")]
    Password,
    /// There is no key in it.
    #[error("there is no private key in it")]
    NoKey,
}

impl From<der::Error> for OpenError {
    fn from(_: der::Error) -> Self {
        Self::Unreadable
    }
}

/// The private key in a file (PKCS#8), if the password is the file's and nothing was changed.
pub fn private_key(file: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if file.len() > MAX_BYTES {
        return Err(OpenError::Unreadable);
    }
    let whole = AnyRef::from_der(file)?;
    let [version, content, mac] = parts(whole)?;
    if version != AnyRef::new(Tag::Integer, &[3])? {
        return Err(OpenError::Unreadable);
    }
    let safes = octets(content_of(content, DATA)?)?;
    authenticate(mac, safes, password)?;
    for safe in all(AnyRef::from_der(safes)?)? {
        // What is encrypted as a whole holds certificates.
        let Ok(safe) = content_of(safe, DATA) else { continue };
        for bag in all(AnyRef::from_der(octets(safe)?)?)? {
            if let Some(bag) = shrouded_key(bag)? {
                let [algorithm, encrypted] = parts(bag)?;
                return decrypt(algorithm, octets(encrypted)?, password);
            }
        }
    }
    Err(OpenError::NoKey)
}

/// What a bag has, if it is one with an encrypted key.
fn shrouded_key(bag: AnyRef<'_>) -> Result<Option<AnyRef<'_>>, OpenError> {
    let mut bag = all(bag)?.into_iter();
    let (kind, value) = (bag.next(), bag.next());
    let kind: ObjectIdentifier = kind.ok_or(OpenError::Unreadable)?.decode_as()?;
    if kind != SHROUDED_KEY_BAG {
        return Ok(None);
    }
    Ok(Some(explicit(value.ok_or(OpenError::Unreadable)?)?))
}

/// Shows that a password is the file's, and that nothing was changed.
fn authenticate(mac: AnyRef<'_>, safes: &[u8], password: &str) -> Result<(), OpenError> {
    let [tag, salt, iterations] = parts(mac)?;
    let [algorithm, tag] = parts(tag)?;
    let (name, _) = algorithm_of(algorithm)?;
    let (function, algorithm) = match name {
        SHA_1 => (SHA_1_DIGEST, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SHA_256 => (&digest::SHA256, hmac::HMAC_SHA256),
        other => return Err(OpenError::Algorithm(other)),
    };
    let iterations = count(iterations)?;
    let mut key = Zeroizing::new(vec![0; function.output_len()]);
    let purpose = (Purpose::Authentication, octets(salt)?);
    derive_by(iterations.get(), function, password, purpose, &mut key);
    let key = hmac::Key::new(algorithm, &key);
    hmac::verify(&key, safes, octets(tag)?).map_err(|_| OpenError::Password)
}

fn decrypt(
    algorithm: AnyRef<'_>,
    encrypted: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (name, parameters) = algorithm_of(algorithm)?;
    let parameters = parameters.ok_or(OpenError::Unreadable)?;
    match name {
        PBES2 => decrypt_modern(parameters, encrypted, password),
        PBE_3DES => decrypt_compatible(parameters, encrypted, password),
        other => Err(OpenError::Algorithm(other)),
    }
}

fn decrypt_modern(
    parameters: AnyRef<'_>,
    encrypted: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let [derivation, scheme] = parts(parameters)?;
    let (Some(derivation), Some(iv)) =
        (parameters_of(derivation, PBKDF2)?, parameters_of(scheme, AES_256_CBC)?)
    else {
        return Err(OpenError::Unreadable);
    };
    let mut derivation = all(derivation)?.into_iter();
    let (Some(salt), Some(iterations)) = (derivation.next(), derivation.next()) else {
        return Err(OpenError::Unreadable);
    };
    // Between them the key's length may be said, which the cipher says too.
    parameters_of(derivation.next_back().ok_or(OpenError::Unreadable)?, HMAC_SHA_256)?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        count(iterations)?,
        octets(salt)?,
        password.as_bytes(),
        key.as_mut_slice(),
    );
    let cipher = Decryptor::<aes::Aes256>::new_from_slices(key.as_slice(), octets(iv)?)
        .map_err(|_| OpenError::Unreadable)?;
    let plaintext = cipher.decrypt_padded_vec::<Pkcs7>(encrypted);
    plaintext.map(Zeroizing::new).map_err(|_| OpenError::Password)
}

fn decrypt_compatible(
    parameters: AnyRef<'_>,
    encrypted: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let [salt, iterations] = parts(parameters)?;
    let (salt, iterations) = (octets(salt)?, count(iterations)?.get());
    let (mut key, mut iv) = (Zeroizing::new([0; 24]), [0; 8]);
    let encryption = (Purpose::Encryption, salt);
    derive_by(iterations, SHA_1_DIGEST, password, encryption, key.as_mut_slice());
    derive_by(iterations, SHA_1_DIGEST, password, (Purpose::InitialVector, salt), &mut iv);
    let cipher = Decryptor::<des::TdesEde3>::new_from_slices(key.as_slice(), &iv)
        .map_err(|_| OpenError::Unreadable)?;
    let plaintext = cipher.decrypt_padded_vec::<Pkcs7>(encrypted);
    plaintext.map(Zeroizing::new).map_err(|_| OpenError::Password)
}

/// Everything in a sequence.
fn all(sequence: AnyRef<'_>) -> Result<Vec<AnyRef<'_>>, OpenError> {
    sequence.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(sequence.value())?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader)?);
    }
    Ok(parts)
}

/// What is in a sequence of that many.
fn parts<const N: usize>(sequence: AnyRef<'_>) -> Result<[AnyRef<'_>; N], OpenError> {
    all(sequence)?.try_into().map_err(|_| OpenError::Unreadable)
}

/// What is in a `ContentInfo` of a kind.
fn content_of(info: AnyRef<'_>, kind: ObjectIdentifier) -> Result<AnyRef<'_>, OpenError> {
    let [found, content] = parts(info)?;
    if found.decode_as::<ObjectIdentifier>()? != kind {
        return Err(OpenError::Unreadable);
    }
    explicit(content)
}

/// What is in an explicit tag.
fn explicit(tagged: AnyRef<'_>) -> Result<AnyRef<'_>, OpenError> {
    if tagged.tag() != (Tag::ContextSpecific { constructed: true, number: TagNumber(0) }) {
        return Err(OpenError::Unreadable);
    }
    Ok(AnyRef::from_der(tagged.value())?)
}

fn octets(any: AnyRef<'_>) -> Result<&[u8], OpenError> {
    any.tag().assert_eq(Tag::OctetString)?;
    Ok(any.value())
}

fn count(iterations: AnyRef<'_>) -> Result<NonZeroU32, OpenError> {
    let count: u32 = iterations.decode_as()?;
    let count = NonZeroU32::new(count).filter(|count| count.get() <= MAX_ITERATIONS);
    count.ok_or(OpenError::Unreadable)
}

/// The name of an algorithm and its parameters.
fn algorithm_of(
    algorithm: AnyRef<'_>,
) -> Result<(ObjectIdentifier, Option<AnyRef<'_>>), OpenError> {
    let mut parts = all(algorithm)?.into_iter();
    let name = parts.next().ok_or(OpenError::Unreadable)?.decode_as()?;
    Ok((name, parts.next()))
}

/// The parameters of an algorithm that must be that one.
fn parameters_of(
    algorithm: AnyRef<'_>,
    wanted: ObjectIdentifier,
) -> Result<Option<AnyRef<'_>>, OpenError> {
    match algorithm_of(algorithm)? {
        (name, parameters) if name == wanted => Ok(parameters),
        (other, _) => Err(OpenError::Algorithm(other)),
    }
}
