//! Role tokens, good ones and every way in which one can be bad.

use serde_json::json;

use super::*;
use crate::{
    domain::client_key::MadeAlgorithm,
    identity::jwt::testing::{Pair, part},
};

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "aap.test";
const KEY_ID: &str = "2026-11";
const NOW: i64 = 1_795_458_000;

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "typ": "JWT", "kid": KEY_ID })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "system:serviceaccount:a:b", "aud": [AUDIENCE, "other"],
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3_000, "jti": "1",
        "role": "ECSRole", "account": "acme",
        "kubernetes.io": { "namespace": "a", "serviceaccount": { "name": "b" } },
    })
}

fn verify(key: &Pair, token: &str, account_claim: Option<&str>) -> Result<Vouched, ProofProblem> {
    RoleToken::read(token)?.verify(&Expected {
        key: &key.public,
        audience: AUDIENCE,
        role_claim: "role",
        account_claim,
        max_seconds: 3_600,
        now: UnixNanos::from_parts(NOW, 0),
        started: UnixNanos::from_parts(NOW - 600, 0),
    })
}

#[test]
fn a_good_token_says_which_role_and_whose() {
    for (algorithm, made) in [("RS256", MadeAlgorithm::Rsa2048), ("ES256", MadeAlgorithm::EcP256)] {
        let key = Pair::make(made);
        let token = key.token(&header(algorithm), &claims());
        let read = RoleToken::read(&token).unwrap();
        assert_eq!((read.issuer(), read.key_id()), (Ok(ISSUER), Ok(KEY_ID)));
        assert_eq!(format!("{read:?}"), "RoleToken");
        let vouched = Vouched {
            id: "1".into(),
            expires: NOW + 3_000,
            role: "ECSRole".into(),
            account: None,
            subject: "system:serviceaccount:a:b".into(),
        };
        assert_eq!(verify(&key, &token, None), Ok(vouched.clone()));
        let account = Some("acme".into());
        assert_eq!(verify(&key, &token, Some("account")), Ok(Vouched { account, ..vouched }));
    }
}

/// The claims with another value for one; null takes it out.
fn with(name: &str, value: Value) -> Value {
    let mut all = claims();
    if value.is_null() {
        all.as_object_mut().unwrap().remove(name);
    } else {
        all[name] = value;
    }
    all
}

#[test]
fn a_token_that_says_something_else_is_refused_by_what_is_wrong() {
    let key = Pair::make(MadeAlgorithm::EcP256);
    for (name, value, problem) in [
        ("aud", json!(null), ProofProblem::AudienceMismatch),
        ("aud", json!([]), ProofProblem::AudienceMismatch),
        ("aud", json!("AAP.test"), ProofProblem::AudienceMismatch),
        ("aud", json!([AUDIENCE, 1]), ProofProblem::Malformed),
        ("aud", json!({"one": AUDIENCE}), ProofProblem::Malformed),
        ("exp", json!(null), ProofProblem::ExpiryMissing),
        ("exp", json!("soon"), ProofProblem::Malformed),
        ("exp", json!(1.5), ProofProblem::Malformed),
        ("exp", json!(NOW), ProofProblem::Expired),
        ("exp", json!(NOW + 3_601), ProofProblem::ExpiryTooFar),
        ("exp", json!(i64::MAX), ProofProblem::ExpiryTooFar),
        ("iat", json!(null), ProofProblem::IssueTimeMissing),
        ("iat", json!(NOW + 6), ProofProblem::IssuedInFuture),
        ("iat", json!(NOW - 595), ProofProblem::IssuedBeforeStart),
        ("nbf", json!(NOW + 6), ProofProblem::NotYetValid),
        ("jti", json!(null), ProofProblem::IdMissing),
        ("jti", json!(""), ProofProblem::IdMissing),
        ("jti", json!("i".repeat(129)), ProofProblem::IdMissing),
        ("jti", json!(7), ProofProblem::Malformed),
        ("role", json!(null), ProofProblem::RoleMismatch),
        ("role", json!(["ECSRole"]), ProofProblem::Malformed),
        ("account", json!(null), ProofProblem::AccountMismatch),
        ("sub", json!(1), ProofProblem::Malformed),
    ] {
        let token = key.token(&header("ES256"), &with(name, value.clone()));
        assert_eq!(verify(&key, &token, Some("account")), Err(problem), "{name}: {value}");
    }
    let nobodys = key.token(&header("ES256"), &with("iss", json!(null)));
    let read = RoleToken::read(&nobodys).unwrap();
    assert_eq!(read.issuer(), Err(ProofProblem::IssuerUnknown));
}

#[test]
fn a_token_in_another_form_or_by_another_key_is_refused() {
    let (key, other) = (Pair::make(MadeAlgorithm::EcP256), Pair::make(MadeAlgorithm::EcP256));
    let good = key.token(&header("ES256"), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (first, _) = signed.split_once('.').unwrap();
    let critical = json!({"alg": "ES256", "kid": KEY_ID, "crit": ["b64"], "b64": false});
    for (token, problem) in [
        (other.token(&header("ES256"), &claims()), ProofProblem::SignatureInvalid),
        (format!("{first}.{}.{signature}", part(&with("role", json!("Admin")))), {
            ProofProblem::SignatureInvalid
        }),
        (format!("{signed}."), ProofProblem::SignatureInvalid),
        (key.token(&header("none"), &claims()), ProofProblem::AlgorithmMismatch),
        (key.token(&header("HS256"), &claims()), ProofProblem::AlgorithmMismatch),
        (key.token(&header("RS256"), &claims()), ProofProblem::AlgorithmMismatch),
        (key.token(&critical, &claims()), ProofProblem::CriticalHeader),
        (key.token(&json!({"alg": "ES256"}), &claims()), ProofProblem::KeyIdMissing),
        (String::new(), ProofProblem::Malformed),
        ("a.b".into(), ProofProblem::Malformed),
        (format!("{good}="), ProofProblem::Malformed),
        (key.token(&json!([]), &claims()), ProofProblem::Malformed),
        (key.token(&header("ES256"), &json!([])), ProofProblem::Malformed),
        (format!("{good}{}", "A".repeat(MAX_BYTES)), ProofProblem::Malformed),
    ] {
        assert_eq!(verify(&key, &token, None), Err(problem), "{token}");
    }
}

#[test]
fn a_claim_that_is_there_twice_is_not_taken_from_either_place() {
    let claims: Result<Claims, _> = serde_json::from_str(r#"{"role": "a", "role": "b"}"#);
    assert!(claims.is_err());
    let inner: Result<Claims, _> = serde_json::from_str(r#"{"a": {"b": 1, "b": 2}, "c": 3}"#);
    assert_eq!(inner.unwrap().seconds("c"), Ok(Some(3)));
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(4_000), "]".repeat(4_000));
    assert!(serde_json::from_str::<Claims>(&deep).is_err());
}
