//! Applications prove under which RAM role they run by a signed request, of which the STS says whose
//! it is. The STS here is a real https server of the test.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aap::api::pb::{
    self, DecisionReason as Reason, ProofProblem as Problem, create_session_request::Proof,
};
use aap::domain::time::UnixNanos;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet};
use tonic::{Code, Status, transport::Channel};

use crate::{
    strangers,
    support::{
        ADMIN, Client, Refusal, Setup,
        https::{HttpsServer, Question, Reply},
        place::Place,
        server::AUDIENCE,
        world::{self, access_point_name},
    },
};

/// What the STS answers of the page's application.
fn identity() -> Value {
    json!({
        "RequestId": "7E1A", "AccountId": "acme", "RoleId": "300", "PrincipalId": "300:vm-ram-i-1",
        "Arn": "acs:ram::acme:assumed-role/ECSRole/vm-ram-i-1",
        "IdentityType": "AssumedRoleUser",
    })
}

fn identity_with(name: &str, value: &str) -> Reply {
    let mut identity = identity();
    identity[name] = json!(value);
    Reply::good(&identity)
}

/// A signed request's parameters. What the signature is worth, the STS alone knows.
pub fn parameters(now: i64, nonce: &str) -> Vec<(String, String)> {
    let time = UnixNanos::from_parts(now, 0).to_string();
    [
        ("AccessKeyId", "STS.NUgYrLnoC37mZZCNnAbez"),
        ("Action", "GetCallerIdentity"),
        ("Format", "JSON"),
        ("RegionId", "cn-hangzhou"),
        ("SecurityToken", "CAIS+token/of=the"),
        ("Signature", "c2lnbmF0dXJl+/="),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", nonce),
        ("SignatureVersion", "1.0"),
        ("Timestamp", &time),
        ("Version", "2015-04-01"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

pub fn proof(parameters: Vec<(String, String)>) -> Proof {
    let parameter = |(name, value)| pb::SignedParameter { name, value };
    let parameters = parameters.into_iter().map(parameter).collect();
    Proof::CallerIdentity(pb::CallerIdentity { parameters })
}

/// A server with an STS.
async fn start(sts: &HttpsServer, rest: &str) -> Place {
    let setup = Setup::new();
    let table = table(sts, &setup, rest);
    Place::configured(setup, &table).await
}

fn table(sts: &HttpsServer, setup: &Setup, rest: &str) -> String {
    let (url, ca) = (sts.url(""), sts.write_authority(setup.dir.path()));
    format!(
        "[sessions]\naudience = \"{AUDIENCE}\"\n[sts]\nendpoint = \"{url}\"\nca = \"{}\"\n{rest}\n",
        ca.display()
    )
}

impl Place {
    async fn identify(&self, parameters: Vec<(String, String)>) -> Result<pb::Session, Status> {
        self.ask_at(&access_point_name("app"), proof(parameters)).await
    }

    /// Is refused, and told nothing; the record says why.
    async fn not_identified(&mut self, parameters: Vec<(String, String)>) -> (Reason, Problem) {
        // Strangers have a few records a second.
        self.wait(1);
        let refusal = self.identify(parameters).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
        let (record, event) = self.last_session_record().await;
        assert_eq!(event.proof_method(), pb::ProofMethod::CallerIdentity);
        let shown = format!("{record:?}");
        assert!(!shown.contains("CAIS") && !shown.contains("c2lnbmF0dXJl"), "{shown}");
        (event.reason(), event.problem())
    }
}

#[tokio::test]
async fn what_the_sts_says_of_a_signed_request_proves_a_role_once() {
    let sts = HttpsServer::saying(Reply::good(&identity())).await;
    let mut place = start(&sts, "").await;
    let session = place.identify(parameters(place.now, "n-1")).await.unwrap();
    assert_eq!(session.expire_time.unwrap().seconds, place.now + 900);
    assert_eq!(place.reason(&session.token).await, Reason::PolicyGrants);
    let (record, event) = place.last_session_record().await;
    assert_eq!((&*record.account, event.reason()), ("acme", Reason::ProofAccepted));
    assert_eq!(event.proof_method(), pb::ProofMethod::CallerIdentity);
    assert_eq!(event.principal, "acs:ram::acme:assumed-role/ECSRole/vm-ram-i-1");
    assert!(!event.ram_role_uid.is_empty() && event.issuer.is_empty());

    // What it was asked: the parameters, each in its encoding, and nothing else.
    let [Question { method, target, host }] = &sts.questions()[..] else { panic!("one question") };
    assert_eq!((&**method, format!("https://{host}")), ("POST", sts.url("")));
    let time = UnixNanos::from_parts(place.now, 0).to_string().replace(':', "%3A");
    let query = format!(
        "/?AccessKeyId=STS.NUgYrLnoC37mZZCNnAbez&Action=GetCallerIdentity&Format=JSON\
         &RegionId=cn-hangzhou&SecurityToken=CAIS%2Btoken%2Fof%3Dthe\
         &Signature=c2lnbmF0dXJl%2B%2F%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=n-1\
         &SignatureVersion=1.0&Timestamp={time}&Version=2015-04-01"
    );
    assert_eq!(*target, query);

    let again = parameters(place.now, "n-1");
    let replayed = (Reason::CredentialInvalid, Problem::Replayed);
    assert_eq!(place.not_identified(again).await, replayed);
    // Another one of the same role works.
    place.identify(parameters(place.now, "n-2")).await.unwrap();

    let mut roles = place.server.client(ADMIN).ram_roles();
    roles.update_ram_role(world::update_role("ECSRole", &["fc"])).await.unwrap();
    assert_eq!(place.reason(&session.token).await, Reason::RoleNotTrusted);
    let refused = place.not_identified(parameters(place.now, "n-3")).await;
    assert_eq!(refused, (Reason::RoleNotTrusted, Problem::Unspecified));
    place.server.stop().await;
}

#[tokio::test]
async fn a_request_that_expires_while_the_sts_is_asked_is_refused() {
    let sts = HttpsServer::saying(Reply::good(&identity())).await;
    let place = start(&sts, "").await;
    let shown = parameters(place.now, "n");
    place.identify(shown.clone()).await.unwrap();
    // The first showing is forgotten when the request expires, which is while it is shown again.
    let (clock, expires) = (place.clock.clone(), UnixNanos::from_parts(place.now + 300, 0));
    sts.answer(move |_| {
        clock.set(expires);
        Reply::good(&identity())
    });
    let refusal = place.identify(shown).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    let (_, event) = place.last_session_record().await;
    assert_eq!((event.reason(), event.problem()), (Reason::CredentialInvalid, Problem::Expired));
    assert_eq!(sts.questions().len(), 2);
    place.server.stop().await;
}

#[tokio::test]
async fn a_request_that_is_not_one_to_get_the_callers_identity_is_not_sent_on() {
    let sts = HttpsServer::saying(Reply::good(&identity())).await;
    let mut place = start(&sts, "").await;
    let with = |now, name: &str, value: &str| {
        let mut all = parameters(now, "n");
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), value.to_owned()));
        all
    };
    let twice = |now, name: &str| {
        let mut all = parameters(now, "n");
        let found = all.iter().find(|(known, _)| known == name).unwrap().clone();
        all.push(found);
        all
    };
    let now = place.now;
    let early = UnixNanos::from_parts(now - 61, 0).to_string();
    let late = UnixNanos::from_parts(now + 100, 0).to_string();
    let mut much = parameters(now, "n");
    much.extend((0..10_000).map(|number| (format!("p{number}"), "x".repeat(100))));
    for (what, asked, problem) in [
        ("nothing", Vec::new(), Problem::ParameterMissing),
        ("twice the action", twice(now, "Action"), Problem::ParameterRepeated),
        ("twice the key", twice(now, "AccessKeyId"), Problem::ParameterRepeated),
        ("unknown", with(now, "RoleArn", "acs:ram::1:role/a"), Problem::ParameterUnknown),
        ("another case", with(now, "action", "GetCallerIdentity"), Problem::ParameterUnknown),
        ("a host", with(now, "Host", "evil.test"), Problem::ParameterUnknown),
        ("many", much, Problem::ParameterUnknown),
        ("another action", with(now, "Action", "AssumeRole"), Problem::ParameterInvalid),
        ("another version", with(now, "Version", "2016-01-20"), Problem::ParameterInvalid),
        ("a user's key", with(now, "AccessKeyId", "LTAI5t"), Problem::IdentityMismatch),
        ("before the start", with(now, "Timestamp", &early), Problem::IssuedBeforeStart),
        ("in the future", with(now, "Timestamp", &late), Problem::IssuedInFuture),
    ] {
        let refused = place.not_identified(asked).await;
        assert_eq!(refused, (Reason::CredentialInvalid, problem), "{what}");
    }
    let old = parameters(place.now, "n");
    place.wait(300);
    let expired = (Reason::CredentialInvalid, Problem::Expired);
    assert_eq!(place.not_identified(old).await, expired);
    // Nor is one for an access point that isn't there, or that has no role.
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    let mut admin = place.server.client(ADMIN).access_points();
    admin.create_access_point(keyed).await.unwrap();
    for access_point in ["nobody", "keyed"] {
        let name = access_point_name(access_point);
        let refusal = place.ask_at(&name, proof(parameters(place.now, "n"))).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    }
    assert_eq!(sts.connections(), 0);
    place.identify(parameters(place.now, "n")).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn whoever_the_sts_says_that_it_is_must_be_the_access_points_role() {
    let sts = HttpsServer::saying(Reply::Silence).await;
    let mut place = start(&sts, "").await;
    let arn = |arn: &str| identity_with("Arn", arn);
    let elsewhere = HttpsServer::saying(Reply::good(&identity())).await;
    let of_another = {
        let mut other = identity();
        other["AccountId"] = json!("other");
        other["Arn"] = json!("acs:ram::other:assumed-role/ECSRole/vm-ram-i-1");
        Reply::good(&other)
    };
    // Good, if it weren't so long.
    let mut huge = identity().to_string().into_bytes();
    huge.resize(10 << 20, b' ');
    for (what, reply, problem) in [
        ("a user", arn("acs:ram::acme:user/ECSRole"), Problem::IdentityMismatch),
        ("a user's type", identity_with("IdentityType", "RAMUser"), Problem::IdentityMismatch),
        ("the account itself", identity_with("IdentityType", "Account"), Problem::IdentityMismatch),
        ("another account", of_another, Problem::AccountMismatch),
        ("two accounts", identity_with("AccountId", "other"), Problem::IdentityMismatch),
        ("another case", arn("acs:ram::acme:assumed-role/ecsrole/s"), Problem::RoleMismatch),
        ("another role", arn("acs:ram::acme:assumed-role/Admin/s"), Problem::RoleMismatch),
        ("a longer role", arn("acs:ram::acme:assumed-role/ECSRole2/s"), Problem::RoleMismatch),
        ("a refusal", Reply::Say(403, b"{}".into()), Problem::StsRefused),
        (
            "a refusal with a body",
            Reply::Say(400, identity().to_string().into()),
            Problem::StsRefused,
        ),
        ("a redirect", Reply::Redirect(elsewhere.url("/")), Problem::StsAnswerInvalid),
        (
            "another success",
            Reply::Say(202, identity().to_string().into()),
            Problem::StsAnswerInvalid,
        ),
        ("too much in pieces", Reply::Pieces(huge.clone()), Problem::StsAnswerInvalid),
        ("too much", Reply::Say(200, huge), Problem::StsAnswerInvalid),
        ("no JSON", Reply::good(&"<html>"), Problem::StsAnswerInvalid),
        ("nothing", Reply::good(&""), Problem::StsAnswerInvalid),
    ] {
        sts.say(reply);
        let refused = place.not_identified(parameters(place.now, "n")).await;
        assert_eq!(refused, (Reason::CredentialInvalid, problem), "{what}");
        let (record, _) = place.last_session_record().await;
        assert_eq!(&*record.account, "", "{what}");
    }
    // None of them has used it up, and nobody else was ever asked.
    sts.say(Reply::Pieces(identity().to_string().into_bytes()));
    place.identify(parameters(place.now, "n")).await.unwrap();
    assert_eq!(elsewhere.connections(), 0);
    place.server.stop().await;
}

#[tokio::test]
async fn a_role_that_others_may_assume_proves_too_little_unless_that_is_said_to_be_enough() {
    for (rest, is_taken) in [("", false), ("accept_shared_roles = true", true)] {
        let sts = HttpsServer::saying(Reply::good(&identity())).await;
        let mut place = start(&sts, rest).await;
        let mut roles = place.server.client(ADMIN).ram_roles();
        roles.update_ram_role(world::update_role("ECSRole", &["ecs", "fc"])).await.unwrap();
        if is_taken {
            let session = place.identify(parameters(place.now, "n")).await.unwrap();
            assert_eq!(place.reason(&session.token).await, Reason::PolicyGrants);
        } else {
            let refused = place.not_identified(parameters(place.now, "n")).await;
            assert_eq!(refused, (Reason::CredentialInvalid, Problem::RoleShared));
            // Who asked has the role.
            let (record, _) = place.last_session_record().await;
            assert_eq!(&*record.account, "acme");
        }
        place.server.stop().await;
    }
}

#[tokio::test]
async fn what_an_sts_says_counts_for_nothing_when_the_configuration_says_otherwise_meanwhile() {
    let sts = HttpsServer::saying(Reply::good(&identity())).await;
    let setup = Setup::new();
    let first = table(&sts, &setup, "accept_shared_roles = true");
    let strict = table(&sts, &setup, "accept_shared_roles = false");
    let place = Place::configured(setup, &first).await;
    place.identify(parameters(place.now, "before")).await.unwrap();
    for (what, other) in [("another", &*strict), ("none", "")] {
        let told = Arc::new(Notify::new());
        let then = Box::new(Reply::good(&identity()));
        sts.say(Reply::After(Arc::clone(&told), then));
        let asked = sts.questions().len();
        let (answer, ()) = tokio::join!(place.identify(parameters(place.now, what)), async {
            sts.asked(asked + 1).await;
            place.reconfigure(other).await;
            told.notify_one();
        });
        Refusal::of(&answer.unwrap_err()).is(Code::Unavailable, "VOUCHER_UNAVAILABLE");
    }
    place.server.stop().await;
}

#[tokio::test]
async fn a_servers_own_name_can_be_demanded_among_what_is_signed() {
    let sts = HttpsServer::saying(Reply::good(&identity())).await;
    let mut place = start(&sts, "audience_parameter = \"AapAudience\"").await;
    let with = |now, nonce: &str, value: &str| {
        let mut all = parameters(now, nonce);
        all.push(("AapAudience".to_owned(), value.to_owned()));
        all
    };
    let none = parameters(place.now, "1");
    let missing = (Reason::CredentialInvalid, Problem::ParameterMissing);
    assert_eq!(place.not_identified(none).await, missing);
    let other = with(place.now, "2", "another.test");
    let mismatch = (Reason::CredentialInvalid, Problem::AudienceMismatch);
    assert_eq!(place.not_identified(other).await, mismatch);
    assert_eq!(sts.connections(), 0);
    place.identify(with(place.now, "3", AUDIENCE)).await.unwrap();
    assert!(sts.questions()[0].target.starts_with("/?AapAudience=aap.test&AccessKeyId="));
    place.server.stop().await;
}

#[tokio::test]
async fn an_sts_that_can_not_be_asked_vouches_for_nobody() {
    let sts = HttpsServer::saying(Reply::Silence).await;
    let place = start(&sts, "timeout_seconds = 1").await;
    let unavailable = async |nonce: &str| {
        let refusal = place.identify(parameters(place.now, nonce)).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unavailable, "VOUCHER_UNAVAILABLE");
        let (_, event) = place.last_session_record().await;
        assert_eq!(
            (event.outcome(), event.problem()),
            (pb::Outcome::Deny, Problem::StsUnavailable)
        );
    };
    unavailable("silent").await;
    // All of a good answer, but not its end.
    sts.say(Reply::Beginning(identity().to_string().into_bytes()));
    unavailable("in-the-middle").await;
    for status in [500, 503, 429] {
        sts.say(Reply::Say(status, identity().to_string().into()));
        unavailable(&status.to_string()).await;
    }
    place.server.stop().await;

    // Somebody else answers in its place.
    let (sts, stranger) = (HttpsServer::saying(Reply::Silence).await, {
        HttpsServer::saying(Reply::good(&identity())).await
    });
    let setup = Setup::new();
    let ca = sts.write_authority(setup.dir.path());
    let table = format!("[sts]\nendpoint = \"{}\"\nca = \"{}\"\n", stranger.url(""), ca.display());
    let place = Place::configured(setup, &table).await;
    let refusal = place.identify(parameters(place.now, "n")).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Unavailable, "VOUCHER_UNAVAILABLE");
    assert_eq!(stranger.questions().len(), 0);
    place.server.stop().await;
}

#[tokio::test]
async fn ten_thousand_at_once_cost_the_sts_a_few_questions_and_checks_nothing() {
    let sts = HttpsServer::saying(Reply::Silence).await;
    let place = start(&sts, "timeout_seconds = 2").await;
    let refused = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    // A few connections, each with many calls.
    for lane in 0..20 {
        let channel = crate::support::clients::connect(place.server.address());
        for number in 0..500 {
            let (channel, refused) = (channel.clone(), Arc::clone(&refused));
            let parameters = parameters(place.now, &format!("{lane}-{number}"));
            asking.spawn(async move {
                let request = pb::CreateSessionRequest {
                    access_point: access_point_name("app"),
                    proof: Some(proof(parameters)),
                    lifetime_seconds: 0,
                };
                let answer =
                    Client::without_token(channel).sessions().create_session(request).await;
                let reason = Refusal::of(&answer.unwrap_err()).reason;
                let is_known = [
                    "ERROR_REASON_TOO_MANY_SESSION_REQUESTS",
                    "ERROR_REASON_TOO_MANY_CALLER_IDENTITIES",
                    "ERROR_REASON_VOUCHER_UNAVAILABLE",
                ]
                .contains(&&*reason);
                assert!(is_known, "{reason}");
                refused.fetch_add(1, Ordering::SeqCst);
            });
        }
    }
    // Checks are decided meanwhile.
    let enforcer = place.server.client(crate::support::ENFORCER);
    for _ in 0..100 {
        world::allow(&enforcer).await;
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    assert_eq!(refused.load(Ordering::SeqCst), 10_000);
    // The clock stands still, so all of them are of one second: those that are looked at are fewer
    // than those that may be with the STS at once, one after the other.
    assert!((1..=100).contains(&sts.connections()), "{}", sts.connections());
    place.server.stop().await;
}

#[tokio::test]
async fn whoever_keeps_the_sts_busy_leaves_others_some_of_it() {
    let sts = HttpsServer::saying(Reply::Silence).await;
    // It answers only one of them.
    sts.answer(|question| {
        let is_home = question.target.contains("SignatureNonce=home");
        if is_home { Reply::good(&identity()) } else { Reply::Silence }
    });
    let place = start(&sts, "timeout_seconds = 30").await;
    let stranger = strangers::connect(&place.server, "127.0.1.1");
    let ask = |channel: &Channel, nonce: &str| {
        let request = pb::CreateSessionRequest {
            access_point: access_point_name("app"),
            proof: Some(proof(parameters(place.now, nonce))),
            lifetime_seconds: 0,
        };
        let nobody = Client::without_token(channel.clone());
        async move { nobody.sessions().create_session(request).await }
    };
    let mut asking = JoinSet::new();
    for number in 0..20 {
        asking.spawn(ask(&stranger, &number.to_string()));
    }
    // Those that get no place are told so while the others wait.
    for _ in 8..20 {
        let refusal = asking.join_next().await.unwrap().unwrap().unwrap_err();
        Refusal::of(&refusal).is(Code::ResourceExhausted, "TOO_MANY_CALLER_IDENTITIES");
    }
    let neighbor = strangers::connect(&place.server, "127.0.1.2");
    let refusal = ask(&neighbor, "neighbor").await.unwrap_err();
    Refusal::of(&refusal).is(Code::ResourceExhausted, "TOO_MANY_CALLER_IDENTITIES");
    ask(&strangers::connect(&place.server, "127.0.2.1"), "home").await.unwrap();
    asking.abort_all();
    place.server.stop().await;
}

#[tokio::test]
async fn nothing_of_a_request_is_told_anywhere_else() {
    let sts = HttpsServer::saying(Reply::good(&identity())).await;
    let place = start(&sts, "").await;
    let asked = parameters(place.now, "a-nonce-of-its-own");
    place.identify(asked).await.unwrap();
    let refusal = place.identify(parameters(place.now, "a-nonce-of-its-own")).await.unwrap_err();
    assert!(!format!("{refusal:?}").contains("nonce"));
    let setup = place.server.stop().await;
    for secret in ["CAIS+token", "c2lnbmF0dXJl", "a-nonce-of-its-own", "NUgYrLnoC37mZZCNnAbez"] {
        let files = crate::client_keys::files_with(&setup.data_dir(), secret.as_bytes());
        assert_eq!(files, Vec::<String>::new(), "{secret}");
    }
    let silent = Setup::new().start().await;
    let request = pb::CreateSessionRequest {
        access_point: access_point_name("app"),
        proof: Some(proof(Vec::new())),
        lifetime_seconds: 0,
    };
    let nobody = Client::without_token(silent.channel().clone());
    let refusal = nobody.sessions().create_session(request).await.unwrap_err();
    Refusal::of(&refusal).is(Code::FailedPrecondition, "NO_STS");
    silent.stop().await;
}
