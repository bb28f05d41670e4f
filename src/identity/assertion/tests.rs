//! Assertions, good ones and every way in which one can be bad.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rsa::signature::{SignatureEncoding as _, Signer as _};
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::client_key::MadeAlgorithm,
    identity::{
        client_key::generation::PrivateKey,
        jwt::{
            TOLERANCE,
            testing::{Pair, part},
        },
    },
};

const KEY_ID: &str = "KAAP.00000000-0000-4000-8000-000000000001";
const AUDIENCE: &str = "https://aap.test";
const NOW: i64 = 1_795_458_000;

impl Pair {
    fn verify(&self, token: &str) -> Result<Proof, Unproven> {
        let started = UnixNanos::from_parts(NOW - 600, 0);
        Assertion::read(token).map_err(Unproven::ByAnybody)?.verify(&Expected {
            key_id: KEY_ID,
            key: &self.public,
            audience: AUDIENCE,
            now: UnixNanos::from_parts(NOW, 999_999_999),
            started,
        })
    }
}

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "typ": "JWT", "kid": KEY_ID })
}

fn claims() -> Value {
    json!({
        "iss": KEY_ID, "sub": KEY_ID, "aud": AUDIENCE, "jti": "one",
        "iat": NOW - 1, "exp": NOW + 60,
    })
}

/// The claims with one of them changed, or left out if it is null.
fn with(name: &str, value: Value) -> Value {
    let mut changed = claims();
    match value {
        Value::Null => changed.as_object_mut().unwrap().remove(name).map(|_| ()),
        value => changed.as_object_mut().unwrap().insert(name.to_owned(), value).map(|_| ()),
    };
    changed
}

#[test]
fn a_good_assertion_is_a_proof() {
    for (algorithm, name) in [(MadeAlgorithm::Rsa2048, "RS256"), (MadeAlgorithm::EcP256, "ES256")] {
        let pair = Pair::make(algorithm);
        let proof = Proof { id: "one".into(), expires: NOW + 60 };
        for good in [
            claims(),
            with("exp", json!(NOW + 1)),
            with("aud", json!(["https://other.test", AUDIENCE])),
            with("iat", json!(NOW + TOLERANCE)),
            with("iat", json!(NOW - 594)),
            with("nbf", json!(NOW)),
            with("more", json!({ "of": ["anything"] })),
        ] {
            let expires = good["exp"].as_i64().unwrap();
            let verified = pair.verify(&pair.token(&header(name), &good));
            assert_eq!(verified, Ok(Proof { expires, ..proof.clone() }), "{good}");
        }
    }
}

#[test]
fn what_an_assertion_says_must_be_so() {
    let pair = Pair::make(MadeAlgorithm::EcP256);
    for (name, value, problem) in [
        ("iss", Value::Null, ProofProblem::IssuerMismatch),
        ("iss", json!("KAAP.other"), ProofProblem::IssuerMismatch),
        ("sub", Value::Null, ProofProblem::IssuerMismatch),
        ("sub", json!("KAAP.other"), ProofProblem::IssuerMismatch),
        ("aud", Value::Null, ProofProblem::AudienceMismatch),
        ("aud", json!("https://aap.test/"), ProofProblem::AudienceMismatch),
        ("aud", json!([]), ProofProblem::AudienceMismatch),
        ("aud", json!(["https://other.test"]), ProofProblem::AudienceMismatch),
        ("exp", Value::Null, ProofProblem::ExpiryMissing),
        ("exp", json!(NOW), ProofProblem::Expired),
        ("exp", json!(i64::MIN), ProofProblem::Expired),
        ("exp", json!(NOW + MAX_AHEAD + 1), ProofProblem::ExpiryTooFar),
        ("exp", json!(i64::MAX), ProofProblem::ExpiryTooFar),
        ("iat", Value::Null, ProofProblem::IssueTimeMissing),
        ("iat", json!(NOW + TOLERANCE + 1), ProofProblem::IssuedInFuture),
        ("iat", json!(NOW - 595), ProofProblem::IssuedBeforeStart),
        ("iat", json!(i64::MIN), ProofProblem::IssuedBeforeStart),
        ("nbf", json!(NOW + TOLERANCE + 1), ProofProblem::NotYetValid),
        ("jti", Value::Null, ProofProblem::IdMissing),
        ("jti", json!(""), ProofProblem::IdMissing),
        ("jti", json!("x".repeat(129)), ProofProblem::IdMissing),
    ] {
        let bad = with(name, value);
        let refused = pair.verify(&pair.token(&header("ES256"), &bad));
        assert_eq!(refused, Err(Unproven::ByKey(problem)), "{bad}");
    }
    // Of the wrong type, a member isn't read at all.
    for (name, value) in [
        ("exp", json!("1795458060")),
        ("exp", json!(1.5)),
        ("iat", json!([NOW])),
        ("jti", json!(7)),
        ("iss", json!({})),
        ("aud", json!([1])),
    ] {
        let refused = pair.verify(&pair.token(&header("ES256"), &with(name, value)));
        assert_eq!(refused, Err(Unproven::ByAnybody(ProofProblem::Malformed)), "{name}");
    }
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_headers() {
    let (rsa, ec) = (Pair::make(MadeAlgorithm::Rsa2048), Pair::make(MadeAlgorithm::EcP256));
    let mismatch = Err(Unproven::ByAnybody(ProofProblem::AlgorithmMismatch));
    for name in ["none", "None", "", "HS256", "RS256", "RS512", "PS256", "es256", "ES384", "EdDSA"]
    {
        assert_eq!(ec.verify(&ec.token(&header(name), &claims())), mismatch, "{name}");
    }
    assert_eq!(rsa.verify(&rsa.token(&header("ES256"), &claims())), mismatch);

    let signed = format!("{}.{}", part(&header("none")), part(&claims()));
    assert_eq!(ec.verify(&format!("{signed}.")), mismatch);

    // The public key as the secret of an HMAC.
    for pair in [&rsa, &ec] {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &pair.public.info);
        let signed = format!("{}.{}", part(&header("HS256")), part(&claims()));
        let tag = hmac::sign(&secret, signed.as_bytes());
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
        assert_eq!(pair.verify(&forged), mismatch);
    }

    // Another key's signature under the right name.
    let invalid = Err(Unproven::ByAnybody(ProofProblem::SignatureInvalid));
    let other = Pair::make(MadeAlgorithm::EcP256);
    assert_eq!(ec.verify(&other.token(&header("ES256"), &claims())), invalid);
    assert_eq!(ec.verify(&rsa.token(&header("ES256"), &claims())), invalid);
    // An ECDSA signature as certificates have it, and one of zeros.
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let third = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
    assert_eq!(third.unwrap().public_key().as_ref().len(), 65);
    let signed = format!("{}.{}", part(&header("ES256")), part(&claims()));
    let PrivateKey::EcP256(key) = &ec.private else { panic!("a key of P-256") };
    let asn1: p256::ecdsa::DerSignature = key.sign(signed.as_bytes());
    for signature in [asn1.to_vec(), vec![0; 64], Vec::new()] {
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(ec.verify(&token), invalid);
    }
}

#[test]
fn headers_that_demand_or_hide_something_are_refused() {
    let pair = Pair::make(MadeAlgorithm::EcP256);
    let without_key = json!({ "alg": "ES256" });
    for (header, problem) in [
        (without_key, ProofProblem::KeyIdMissing),
        (json!({ "alg": "ES256", "kid": "KAAP.x" }), ProofProblem::SignatureInvalid),
        (json!({ "alg": "ES256", "kid": KEY_ID, "crit": ["b64"] }), ProofProblem::CriticalHeader),
        (json!({ "alg": "ES256", "kid": KEY_ID, "crit": null }), ProofProblem::CriticalHeader),
        (json!({ "alg": "ES256", "kid": 7 }), ProofProblem::Malformed),
        (json!({ "kid": KEY_ID }), ProofProblem::Malformed),
        (json!("ES256"), ProofProblem::Malformed),
    ] {
        let refused = pair.verify(&pair.token(&header, &claims()));
        assert_eq!(refused, Err(Unproven::ByAnybody(problem)), "{header}");
    }
}

#[test]
fn what_is_no_token_is_refused_however_it_is_broken() {
    let pair = Pair::make(MadeAlgorithm::EcP256);
    let good = pair.token(&header("ES256"), &claims());
    assert!(pair.verify(&good).is_ok());
    let malformed = Err(Unproven::ByAnybody(ProofProblem::Malformed));
    let large = "a".repeat(1_000_000);
    let parts: Vec<_> = good.split('.').collect();
    let (head, body, tail) = (parts[0], parts[1], parts[2]);
    let twice =
        URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","alg":"ES256","kid":"{KEY_ID}"}}"#));
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(1_000));
    for broken in [
        String::new(),
        "..".to_owned(),
        head.to_owned(),
        format!("{head}.{body}"),
        format!("{good}.{tail}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{head}.{body}+.{tail}"),
        format!("{large}.{body}.{tail}"),
        format!("{twice}.{body}.{tail}"),
        format!("{deep}.{body}.{tail}"),
        format!("{head}.{deep}.{tail}"),
    ] {
        assert_eq!(pair.verify(&broken), malformed, "{}", broken.get(..80).unwrap_or(&broken));
    }
    // No byte of it can be another one.
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(pair.verify(&changed).is_err(), "{place}");
    }
}
