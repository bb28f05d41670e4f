//! Keys of every algorithm, made, certified, packed, and imported again by a request.

use std::sync::OnceLock;

use ring::signature::{self, UnparsedPublicKey};
use x509_cert::{
    Certificate,
    builder::{Builder as _, RequestBuilder},
    der::{
        Any, Decode as _, Encode as _, EncodePem as _, Tag,
        pem::{self, LineEnding},
    },
    request::CertReq,
};

use super::{
    certificate,
    generation::PrivateKey,
    password::Password,
    pkcs12::{
        Encoding, Writer,
        reading::{self, OpenError},
    },
    public_key::{self, InvalidPublicKey},
    signing::InvalidPrivateKey,
    signing_request::{self, InvalidSigningRequest},
};
use crate::{
    domain::{
        client_key::{KeyAlgorithm, MadeAlgorithm, Validity},
        time::UnixNanos,
    },
    entropy::Entropy,
};

const ALGORITHMS: [MadeAlgorithm; 3] =
    [MadeAlgorithm::Rsa2048, MadeAlgorithm::Rsa3072, MadeAlgorithm::EcP256];

/// A key of each algorithm, made once: RSA takes its time.
fn keys() -> &'static [PrivateKey] {
    static KEYS: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let make = |algorithm| PrivateKey::generate(algorithm, &mut Entropy).unwrap();
        ALGORITHMS.into_iter().map(make).collect()
    })
}

fn public_info(key: &PrivateKey) -> Vec<u8> {
    key.to_public_key().unwrap().to_der().unwrap()
}

#[test]
fn a_key_is_of_the_algorithm_that_was_asked_for() {
    for (key, algorithm) in keys().iter().zip(ALGORITHMS) {
        let public = public_key::parse(&public_info(key)).unwrap();
        assert_eq!(public.algorithm, KeyAlgorithm::from(algorithm));
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }
}

#[test]
fn another_library_takes_the_private_key_as_it_is_packed() {
    for (key, algorithm) in keys().iter().zip(ALGORITHMS) {
        let private = key.to_pkcs8().unwrap();
        let bytes = private.as_bytes();
        match algorithm {
            MadeAlgorithm::EcP256 => {
                let random = ring::rand::SystemRandom::new();
                let signing = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                signature::EcdsaKeyPair::from_pkcs8(signing, bytes, &random).unwrap();
            }
            MadeAlgorithm::Rsa2048 | MadeAlgorithm::Rsa3072 => {
                signature::RsaKeyPair::from_pkcs8(bytes).unwrap();
            }
        }
    }
}

#[test]
fn a_certificate_is_signed_by_its_own_key_and_says_whose_it_is_and_for_how_long() {
    let validity = Validity::new(
        UnixNanos::from_parts(1_795_458_000, 0),
        // 2050: written with four digits of a year.
        UnixNanos::from_parts(2_524_608_000, 0),
    )
    .unwrap();
    for (key, algorithm) in keys().iter().zip(ALGORITHMS) {
        let der = certificate::certify(key, "app-1.x_Y", validity, &mut Entropy).unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        let signed = certificate.tbs_certificate().to_der().unwrap();
        let signature = certificate.signature().as_bytes().unwrap();
        let info = certificate.tbs_certificate().subject_public_key_info();
        let verifier: &dyn signature::VerificationAlgorithm = match algorithm {
            MadeAlgorithm::EcP256 => &signature::ECDSA_P256_SHA256_ASN1,
            _ => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        let public = info.subject_public_key.as_bytes().unwrap();
        UnparsedPublicKey::new(verifier, public).verify(&signed, signature).unwrap();

        let content = certificate.tbs_certificate();
        assert_eq!(content.subject().to_string(), "CN=app-1.x_Y");
        assert_eq!(content.issuer(), content.subject());
        assert_eq!(content.validity().not_before.to_string(), "2026-11-23T18:20:00Z");
        assert_eq!(content.validity().not_after.to_string(), "2050-01-01T00:00:00Z");
        let extensions = content.extensions().unwrap();
        assert_eq!(extensions.len(), 1);
        // Critical, digitalSignature alone.
        assert!(extensions[0].critical);
        assert_eq!(extensions[0].extn_value.as_bytes(), [3, 2, 7, 0x80]);
    }
}

#[test]
fn a_packed_key_holds_neither_the_key_nor_the_password_in_the_clear() {
    let password = Password::choose("correct-horse-1".to_owned()).unwrap();
    let key = &keys()[2];
    let private = key.to_pkcs8().unwrap();
    let validity = Validity::from_now(UnixNanos::from_parts(1_795_458_000, 0));
    let certificate = certificate::certify(key, "app", validity, &mut Entropy).unwrap();
    for encoding in [Encoding::Modern, Encoding::Compatible] {
        let mut writer = Writer { encoding, password: &password, randomness: &mut Entropy };
        let packed = writer.write(&certificate, private.as_bytes()).unwrap();
        let again = writer.write(&certificate, private.as_bytes()).unwrap();
        assert_ne!(packed, again, "salts are fresh");
        let has = |needle: &[u8]| packed.windows(needle.len()).any(|window| window == needle);
        assert!(!has(&private.as_bytes()[30..60]));
        assert!(!has(&certificate[30..60]));
        assert!(!has(password.reveal().as_bytes()));
    }
}

#[test]
fn a_packed_key_is_opened_with_its_password_and_no_other() {
    let password = Password::choose("correct-horse-1".to_owned()).unwrap();
    let validity = Validity::from_now(UnixNanos::from_parts(1_795_458_000, 0));
    for key in keys() {
        let private = key.to_pkcs8().unwrap();
        let certificate = certificate::certify(key, "app", validity, &mut Entropy).unwrap();
        for encoding in [Encoding::Modern, Encoding::Compatible] {
            let mut writer = Writer { encoding, password: &password, randomness: &mut Entropy };
            let packed = writer.write(&certificate, private.as_bytes()).unwrap();
            let opened = reading::private_key(&packed, password.reveal()).unwrap();
            assert_eq!(opened.as_slice(), private.as_bytes());
            let again = PrivateKey::from_pkcs8(&opened).unwrap();
            assert_eq!(public_info(&again), public_info(key));
            for wrong in ["correct-horse-2", ""] {
                let refused = reading::private_key(&packed, wrong);
                assert_eq!(refused, Err(OpenError::Password));
            }
        }
    }
}

#[test]
fn a_file_with_anything_changed_gives_no_other_key_and_nothing_panics() {
    let password = Password::choose("correct-horse-1".to_owned()).unwrap();
    let key = &keys()[2];
    let private = key.to_pkcs8().unwrap();
    let validity = Validity::from_now(UnixNanos::from_parts(1_795_458_000, 0));
    let certificate = certificate::certify(key, "app", validity, &mut Entropy).unwrap();
    let encoding = Encoding::Modern;
    let mut writer = Writer { encoding, password: &password, randomness: &mut Entropy };
    let packed = writer.write(&certificate, private.as_bytes()).unwrap();
    let open = |file: &[u8]| reading::private_key(file, password.reveal());
    // Hashing the password takes its time: not each byte of what is encrypted.
    let (head, tail) = (0..40, packed.len() - 80..packed.len());
    for place in head.chain(tail).chain([packed.len() / 2]) {
        let mut flipped = packed.clone();
        flipped[place] ^= 1;
        // A parameter that says nothing may be another one.
        let same = open(&flipped).is_ok_and(|opened| opened.as_slice() == private.as_bytes());
        assert!(same || open(&flipped).is_err(), "{place}");
        assert_eq!(open(&packed[..place]), Err(OpenError::Unreadable), "{place}");
    }
    let long = [packed.clone(), vec![0; reading::MAX_BYTES]].concat();
    assert_eq!(open(&long), Err(OpenError::Unreadable));
    assert_eq!(open(&[]), Err(OpenError::Unreadable));
}

#[test]
fn what_is_no_private_key_signs_nothing() {
    assert_eq!(PrivateKey::from_pkcs8(&[]).unwrap_err(), InvalidPrivateKey);
    assert_eq!(PrivateKey::from_pkcs8(&public_info(&keys()[2])).unwrap_err(), InvalidPrivateKey);
}

/// A signing request by a key, as PEM.
fn request(key: &PrivateKey) -> String {
    let builder = RequestBuilder::new("CN=whoever".parse().unwrap()).unwrap();
    let request = match key {
        PrivateKey::Rsa(key) => builder.build::<_, rsa::pkcs1v15::Signature>(&**key),
        PrivateKey::EcP256(key) => builder.build::<_, p256::ecdsa::DerSignature>(key),
    };
    request.unwrap().to_pem(LineEnding::LF).unwrap()
}

#[test]
fn a_key_is_imported_by_a_request_that_it_signed() {
    for (key, algorithm) in keys().iter().zip(ALGORITHMS) {
        let text = request(key);
        let imported = signing_request::parse(&text).unwrap();
        assert_eq!(imported.algorithm, KeyAlgorithm::from(algorithm));
        assert_eq!(&imported.info[..], public_info(key));
        assert_eq!(signing_request::parse(&format!("\n{text}\n")).unwrap(), imported);
    }
}

#[test]
fn a_request_that_does_not_show_possession_is_refused() {
    let (one, other) = (&keys()[0], &keys()[2]);
    let (_, der) = pem::decode_vec(request(one).as_bytes()).unwrap();
    let mut with_other_key = CertReq::from_der(&der).unwrap();
    with_other_key.info.public_key = other.to_public_key().unwrap();
    let text = with_other_key.to_pem(LineEnding::LF).unwrap();
    let refused = signing_request::parse(&text).unwrap_err();
    assert!(matches!(refused, InvalidSigningRequest::Signature(_)), "{refused}");

    let mut with_other_name = CertReq::from_der(&der).unwrap();
    with_other_name.info.subject = "CN=somebody".parse().unwrap();
    let text = with_other_name.to_pem(LineEnding::LF).unwrap();
    assert_eq!(signing_request::parse(&text), Err(InvalidSigningRequest::NotPossessed));
}

#[test]
fn what_is_no_request_is_refused_by_name() {
    let good = request(&keys()[2]);
    let long = format!("{good}{}", " ".repeat(signing_request::MAX_BYTES));
    let other_label = good.replace("CERTIFICATE REQUEST", "CERTIFICATE");
    let (_, der) = pem::decode_vec(good.as_bytes()).unwrap();
    let cut = pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, &der[..40]).unwrap();
    for (text, why) in [
        ("", InvalidSigningRequest::Pem),
        ("garbage", InvalidSigningRequest::Pem),
        (&*long, InvalidSigningRequest::TooLong),
        (&*other_label, InvalidSigningRequest::Pem),
        (&*cut, InvalidSigningRequest::Unreadable),
    ] {
        assert_eq!(signing_request::parse(text), Err(why));
    }
    // Whatever is cut off or flipped: refused, without a panic.
    for place in 0..der.len() {
        for broken in [der[..place].to_vec(), {
            let mut flipped = der.clone();
            flipped[place] ^= 0x55;
            flipped
        }] {
            let text = pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, &broken).unwrap();
            assert!(signing_request::parse(&text).is_err(), "{place}");
        }
    }
}

/// The DER of an RSA key's `SubjectPublicKeyInfo` with a modulus of so many bits.
fn rsa_info(bits: usize, exponent: &[u8]) -> Vec<u8> {
    let tlv = |tag: Tag, content: &[u8]| Any::new(tag, content).unwrap().to_der().unwrap();
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= (8 - bits % 8) % 8;
    if modulus[0] & 0x80 != 0 {
        modulus.insert(0, 0);
    }
    let numbers = [tlv(Tag::Integer, &modulus), tlv(Tag::Integer, exponent)].concat();
    let key = tlv(Tag::Sequence, &numbers);
    let algorithm = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let key = tlv(Tag::BitString, &[&[0], &key[..]].concat());
    tlv(Tag::Sequence, &[&algorithm[..], &key].concat())
}

#[test]
fn rsa_keys_have_two_to_four_thousand_bits_and_the_usual_exponent() {
    let usual = [1, 0, 1];
    for bits in [2_048, 2_049, 3_072, 4_096] {
        let parsed = public_key::parse(&rsa_info(bits, &usual)).map(|key| key.algorithm);
        let bits = u16::try_from(bits).unwrap();
        assert_eq!(parsed, Ok(KeyAlgorithm::Rsa { bits }));
    }
    for bits in [1_024, 2_047, 4_097, 8_192] {
        let refused = public_key::parse(&rsa_info(bits, &usual));
        assert_eq!(refused, Err(InvalidPublicKey::Bits(bits)));
    }
    for exponent in [&[3][..], &[1, 0, 3], &[1]] {
        let refused = public_key::parse(&rsa_info(2_048, exponent));
        assert_eq!(refused, Err(InvalidPublicKey::Exponent));
    }
}
