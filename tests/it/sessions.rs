//! Applications prove who they are, get sessions, and are judged by them at each check.

use aap::api::pb::{
    self, DecisionReason as Reason, ProofProblem as Problem, audit_record::Event, check::Subject,
    create_session_request::Proof,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    client_keys::files_with,
    support::{
        ADMIN, AUDITOR, Client, ENFORCER, Refusal,
        place::{Place, START},
        server::AUDIENCE,
        watching::Watch,
        world::{self, access_point_name},
    },
};

/// An application: it has a key of its own, which was never anywhere else.
pub struct Application {
    pub access_point: String,
    pub key: KeyPair,
    /// Its client key's id.
    pub id: String,
}

impl Place {
    /// An application with an access point of its own, if there is none yet, and a key.
    pub async fn application(&self, name: &str) -> Application {
        let mut admin = self.server.client(ADMIN).access_points();
        // It may be there.
        let _ = admin.create_access_point(world::new_access_point(name, &["RAMPolicy"])).await;
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let request = pb::ImportClientKeyRequest {
            parent: access_point_name(name),
            signing_request_pem: request,
            ..Default::default()
        };
        let bound = admin.import_client_key(request).await.unwrap().into_inner();
        let id = bound.name.rsplit('/').next().unwrap().to_owned();
        Application { access_point: access_point_name(name), key, id }
    }

    pub async fn ask(
        &self,
        application: &Application,
        assertion: String,
    ) -> Result<String, Status> {
        let request = pb::CreateSessionRequest {
            access_point: application.access_point.clone(),
            proof: Some(Proof::ClientKeyAssertion(assertion)),
            lifetime_seconds: 0,
        };
        let nobody = Client::without_token(self.server.channel().clone());
        nobody.sessions().create_session(request).await.map(|session| session.into_inner().token)
    }

    pub async fn session(&self, application: &Application, id: &str) -> String {
        let assertion = application.assertion(self.now, id);
        self.ask(application, assertion).await.unwrap()
    }
}

impl Application {
    pub fn claims(&self, now: i64, id: &str) -> Value {
        json!({
            "iss": self.id, "sub": self.id, "aud": AUDIENCE,
            "iat": now, "exp": now + 60, "jti": id,
        })
    }

    pub fn assertion(&self, now: i64, id: &str) -> String {
        self.signed(&json!({"alg": "ES256", "kid": self.id}), &self.claims(now, id))
    }

    /// An assertion by everybody who knows the public key, which is no secret.
    fn signed_by_public_key(&self, now: i64) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "HS256", "kid": self.id});
        let signed = format!("{}.{}", part(&header), part(&self.claims(now, "s")));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.key.subject_public_key_info());
        let tag = hmac::sign(&secret, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let pkcs8 = self.key.serialize_der();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap();
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[tokio::test]
async fn a_session_is_granted_checked_and_ended_by_what_its_key_and_access_point_allow() {
    let mut place = Place::start().await;
    let app = place.application("keyed").await;
    let session = place.session(&app, "1").await;
    assert_eq!(place.reason(&session).await, Reason::PolicyGrants);
    assert_eq!(place.reason("aaps_none").await, Reason::CredentialInvalid);

    let name = format!("{}/clientKeys/{}", app.access_point, app.id);
    let mut admin = place.server.client(ADMIN).access_points();
    let disable = pb::DisableClientKeyRequest { name: name.clone(), ..Default::default() };
    admin.disable_client_key(disable).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::CredentialDisabled);
    let refusal = place.ask(&app, app.assertion(place.now, "2")).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    let (record, event) = place.last_session_record().await;
    assert_eq!((&*record.account, event.reason()), ("acme", Reason::CredentialDisabled));

    let enable = pb::EnableClientKeyRequest { name, ..Default::default() };
    admin.enable_client_key(enable).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::CredentialInvalid);
    let session = place.session(&app, "3").await;
    assert_eq!(place.reason(&session).await, Reason::PolicyGrants);
    let (record, event) = place.last_session_record().await;
    assert_eq!((&*record.account, event.reason()), ("acme", Reason::ProofAccepted));
    assert_eq!(event.expire_time.unwrap().seconds, place.now + 900);

    let suspend =
        pb::SuspendAccessPointRequest { name: app.access_point.clone(), ..Default::default() };
    admin.suspend_access_point(suspend).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::AccessPointSuspended);
    let resume =
        pb::ResumeAccessPointRequest { name: app.access_point.clone(), ..Default::default() };
    admin.resume_access_point(resume).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::CredentialInvalid);

    let session = place.session(&app, "4").await;
    place.wait(899);
    assert_eq!(place.reason(&session).await, Reason::PolicyGrants);
    place.wait(1);
    assert_eq!(place.reason(&session).await, Reason::CredentialExpired);
    place.server.stop().await;
}

#[tokio::test]
async fn revoking_ends_every_session_there_is_and_the_changes_say_who_did_it() {
    let place = Place::start().await;
    let (app, other) = (place.application("keyed").await, place.application("other").await);
    let (old, untouched) = (place.session(&app, "1").await, place.session(&other, "1").await);
    let mut admin = place.server.client(ADMIN).access_points();
    let revoke = pb::RevokeSessionsRequest { name: app.access_point.clone(), ..Default::default() };
    let judged = pb::RevokeSessionsRequest { validate_only: true, ..revoke.clone() };
    admin.revoke_sessions(judged).await.unwrap();
    assert_eq!(place.reason(&old).await, Reason::PolicyGrants);

    let once = pb::RevokeSessionsRequest { request_id: "leak-7".into(), ..revoke.clone() };
    let revoked = admin.revoke_sessions(once.clone()).await.unwrap().into_inner();
    assert_eq!(place.reason(&old).await, Reason::CredentialInvalid);
    assert_eq!(place.reason(&untouched).await, Reason::PolicyGrants);
    // Its clock stands still, so nothing but the revision tells them apart.
    let new = place.session(&app, "2").await;
    assert_eq!(place.reason(&new).await, Reason::PolicyGrants);
    // A repetition is no second revocation.
    assert_eq!(admin.revoke_sessions(once).await.unwrap().into_inner(), revoked);
    assert_eq!(place.reason(&new).await, Reason::PolicyGrants);
    let stale = pb::RevokeSessionsRequest { etag: "of-another".into(), ..revoke };
    let refusal = admin.revoke_sessions(stale).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Aborted, "ETAG_MISMATCH").has("etag", &revoked.etag);

    let list = pb::ListChangesRequest {
        parent: "accounts/acme".into(),
        resource: app.access_point.clone(),
        page_size: 1,
        ..Default::default()
    };
    let changes = place.server.client(ADMIN).changes().list_changes(list).await.unwrap();
    let change = changes.into_inner().changes.remove(0);
    assert_eq!((&*change.actor, &*change.request_id), (ADMIN, "leak-7"));
    assert_eq!(change.change, Some(pb::change::Change::SessionsRevoked(revoked)));
    place.server.stop().await;
}

#[tokio::test]
async fn sessions_outlive_a_restart_but_not_their_access_point_whoever_gets_its_name() {
    let mut place = Place::start().await;
    let app = place.application("keyed").await;
    let session = place.session(&app, "1").await;
    let shown = app.assertion(place.now, "2");
    place.server = place.server.restart().await;
    assert_eq!(place.reason(&session).await, Reason::PolicyGrants);
    // Whether it was shown to the run before is not known any more.
    place.ask(&app, shown).await.unwrap_err();
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.problem(), Problem::IssuedBeforeStart);

    let mut admin = place.server.client(ADMIN).access_points();
    admin.delete_access_point(world::delete_access_point("keyed")).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::AccessPointNotFound);
    place.wait(60);
    let again = place.application("keyed").await;
    assert_eq!(place.reason(&session).await, Reason::AccessPointNotFound);
    let new = place.session(&again, "1").await;
    assert_eq!(place.reason(&new).await, Reason::PolicyGrants);
    let setup = place.server.stop().await;
    assert_eq!(files_with(&setup.data_dir(), session.as_bytes()), Vec::<String>::new());
}

/// An assertion, and what the record says of why it is refused.
type Bad = (String, Reason, Problem);

/// Everything that can be wrong with an assertion.
fn bad_assertions(app: &Application, other: &Application, now: i64) -> Vec<Bad> {
    let header = json!({"alg": "ES256", "kid": app.id});
    let with_header = |header: Value, problem| {
        let claims = app.claims(now, "h");
        (app.signed(&header, &claims), Reason::CredentialInvalid, problem)
    };
    let with = |name: &str, value: Value, problem| {
        let mut claims = app.claims(now, "c");
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        (app.signed(&header, &claims), Reason::CredentialInvalid, problem)
    };
    let unsigned = app.assertion(now, "u");
    let (content, _) = unsigned.rsplit_once('.').unwrap();
    let large = json!({"alg": "ES256", "kid": app.id, "pad": "x".repeat(1_000_000)});
    let unknown = json!({"alg": "ES256", "kid": "KAAP.00000000-0000-4000-8000-000000000000"});
    let unknown = app.signed(&unknown, &app.claims(now, "k"));
    let theirs = other.signed(&header, &app.claims(now, "t"));
    vec![
        (String::new(), Reason::CredentialInvalid, Problem::Malformed),
        ("a.b".into(), Reason::CredentialInvalid, Problem::Malformed),
        (format!("{content}.!"), Reason::CredentialInvalid, Problem::Malformed),
        (format!("{content}."), Reason::CredentialInvalid, Problem::SignatureInvalid),
        (theirs, Reason::CredentialInvalid, Problem::SignatureInvalid),
        (other.assertion(now, "o"), Reason::CredentialUnknown, Problem::Unspecified),
        with_header(large, Problem::Malformed),
        with_header(json!({"alg": "none", "kid": app.id}), Problem::AlgorithmMismatch),
        with_header(json!({"alg": "HS256", "kid": app.id}), Problem::AlgorithmMismatch),
        with_header(json!({"alg": "RS256", "kid": app.id}), Problem::AlgorithmMismatch),
        (app.signed_by_public_key(now), Reason::CredentialInvalid, Problem::AlgorithmMismatch),
        (unknown, Reason::CredentialUnknown, Problem::Unspecified),
        with_header(json!({"alg": "ES256"}), Problem::KeyIdMissing),
        with_header(
            json!({"alg": "ES256", "kid": app.id, "crit": ["exp"]}),
            Problem::CriticalHeader,
        ),
        with("iss", json!("somebody"), Problem::IssuerMismatch),
        with("sub", json!("somebody"), Problem::IssuerMismatch),
        with("aud", Value::Null, Problem::AudienceMismatch),
        with("aud", json!("other.test"), Problem::AudienceMismatch),
        with("aud", json!(["other.test"]), Problem::AudienceMismatch),
        with("exp", Value::Null, Problem::ExpiryMissing),
        with("exp", json!(now), Problem::Expired),
        with("exp", json!(now + 301), Problem::ExpiryTooFar),
        with("iat", Value::Null, Problem::IssueTimeMissing),
        with("iat", json!(now + 6), Problem::IssuedInFuture),
        with("iat", json!(START), Problem::IssuedBeforeStart),
        with("nbf", json!(now + 6), Problem::NotYetValid),
        with("jti", Value::Null, Problem::IdMissing),
        with("jti", json!("shown"), Problem::Replayed),
    ]
}

#[tokio::test]
async fn whatever_is_wrong_with_a_proof_is_recorded_and_not_told() {
    let mut place = Place::start().await;
    let (app, other) = (place.application("keyed").await, place.application("other").await);
    place.session(&app, "shown").await;
    let mut told = Vec::new();
    for number in 0.. {
        // The strangers' budget is that of a second.
        place.wait(1);
        let mut bad = bad_assertions(&app, &other, place.now);
        if number >= bad.len() {
            break;
        }
        let (assertion, reason, problem) = bad.swap_remove(number);
        let refusal = place.ask(&app, assertion.clone()).await.unwrap_err();
        let refusal = Refusal::of(&refusal);
        refusal.is(Code::Unauthenticated, "SESSION_REFUSED");
        told.push(format!("{refusal}"));
        let (record, event) = place.last_session_record().await;
        assert_eq!((event.reason(), event.problem()), (reason, problem), "{number}");
        assert_eq!(event.access_point, app.access_point);
        assert_eq!(event.outcome(), pb::Outcome::Deny);
        // Who doesn't have the key writes into nobody's account.
        let by_holder = event.problem() as i32 >= Problem::IssuerMismatch as i32;
        assert_eq!(record.account == "acme", by_holder, "{number}");
        let text = format!("{event:?}");
        assert!(assertion.is_empty() || !text.contains(&assertion), "{text}");
    }
    assert_eq!(told.len(), 28);
    told.dedup();
    assert_eq!(told.len(), 1, "whoever asks is told the same");
    // None of it was remembered but the one that was good.
    assert!(place.ask(&app, app.assertion(place.now, "c")).await.is_ok());
    place.server.stop().await;
}

#[tokio::test]
async fn a_key_that_floods_fills_its_own_memory_and_no_others() {
    /// How many proofs of a key are remembered, and how many are asked for in a second.
    const REMEMBERED: usize = 4_096;
    const A_SECOND: usize = 100;
    let mut place = Place::start().await;
    let (flood, other) = (place.application("keyed").await, place.application("keyed-too").await);
    let (mut granted, mut refused) = (0, 0);
    // All of them are still good when the last one is shown.
    for second in 0..42 {
        let mut asking = JoinSet::new();
        for turn in 0..A_SECOND {
            let assertion = flood.assertion(place.now, &format!("{second}-{turn}"));
            let request = pb::CreateSessionRequest {
                access_point: flood.access_point.clone(),
                proof: Some(Proof::ClientKeyAssertion(assertion)),
                lifetime_seconds: 0,
            };
            let nobody = Client::without_token(place.server.channel().clone());
            asking.spawn(async move { nobody.sessions().create_session(request).await });
        }
        for answered in asking.join_all().await {
            match answered {
                Ok(_) => granted += 1,
                Err(status) => {
                    Refusal::of(&status).is(Code::Unauthenticated, "SESSION_REFUSED");
                    refused += 1;
                }
            }
        }
        place.wait(1);
    }
    assert_eq!((granted, refused), (REMEMBERED, 42 * A_SECOND - REMEMBERED));
    let (record, event) = place.last_session_record().await;
    assert_eq!((&*record.account, event.problem()), ("acme", Problem::MemoryFull));

    // Others go on, what was shown stays known, and what has expired makes room.
    place.session(&other, "1").await;
    place.ask(&flood, flood.assertion(place.now, "0-0")).await.unwrap_err();
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.problem(), Problem::Replayed);
    place.wait(60);
    place.session(&flood, "later").await;
    place.server.stop().await;
}

#[tokio::test]
async fn who_is_no_access_point_with_client_keys_gets_no_session() {
    let mut place = Place::start().await;
    let app = place.application("keyed").await;
    for (name, reason) in
        [("nobody", Reason::AccessPointNotFound), ("app", Reason::AuthenticationMethodMismatch)]
    {
        place.wait(1);
        let access_point = access_point_name(name);
        let asking =
            Application { access_point, key: KeyPair::generate().unwrap(), id: app.id.clone() };
        let refusal = place.ask(&asking, app.assertion(place.now, name)).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
        let (record, event) = place.last_session_record().await;
        assert_eq!((&*record.account, event.reason()), ("", reason));
    }
    // A connection without a certificate proves nothing either.
    let request = pb::CreateSessionRequest {
        access_point: app.access_point.clone(),
        proof: Some(Proof::ClientKeyTls(pb::ClientKeyTls {})),
        lifetime_seconds: 0,
    };
    let nobody = Client::without_token(place.server.channel().clone());
    let refusal = nobody.sessions().create_session(request).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    place.server.stop().await;
}

#[tokio::test]
async fn a_session_says_which_access_point_it_is_of_and_the_record_by_what_it_was_judged() {
    let place = Place::start().await;
    let app = place.application("keyed").await;
    let session = place.session(&app, "1").await;
    let check = pb::Check {
        subject: Some(Subject::Session(session.clone())),
        ..world::question("secret/other")
    };
    let answer = world::answer(&place.server.client(ENFORCER), check).await;
    let sequence = answer.receipt.unwrap().sequence;
    let records = Watch::from(&place.server.client(AUDITOR), sequence).await;
    let record = { records }.records_through(sequence).await.remove(0);
    assert!(!format!("{record:?}").contains(&session));
    let Some(Event::Check(event)) = record.event else { panic!("a check") };
    assert_eq!(event.access_point, app.access_point);
    let Some(pb::check_event::Credential::Session(shown)) = event.credential else { panic!() };
    let (made, expires) = (shown.create_time.unwrap(), shown.expire_time.unwrap());
    assert_eq!((made.seconds, expires.seconds), (place.now, place.now + 900));
    assert!(shown.revision > 0 && !shown.client_key_uid.is_empty());
    place.server.stop().await;
}

#[tokio::test]
async fn a_session_lasts_as_long_as_is_asked_for_within_bounds() {
    let place = Place::start().await;
    let app = place.application("keyed").await;
    let nobody = Client::without_token(place.server.channel().clone());
    for (seconds, lasts) in [(1, Some(1)), (3_600, Some(3_600)), (-1, None), (3_601, None)] {
        let request = pb::CreateSessionRequest {
            access_point: app.access_point.clone(),
            proof: Some(Proof::ClientKeyAssertion(app.assertion(place.now, &seconds.to_string()))),
            lifetime_seconds: seconds,
        };
        assert!(!format!("{request:?}").contains("eyJ"), "an assertion is never printed");
        let answered = nobody.sessions().create_session(request).await;
        match lasts {
            Some(lasts) => {
                let session = answered.unwrap().into_inner();
                assert_eq!(session.expire_time.unwrap().seconds, place.now + lasts);
                assert!(!format!("{session:?}").contains("aaps_"));
            }
            None => {
                let refusal = Refusal::of(&answered.unwrap_err());
                refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
            }
        }
    }
    place.server.stop().await;
}
