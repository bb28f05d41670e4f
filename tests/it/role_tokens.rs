//! Applications prove by tokens of configured issuers under which RAM role they run.

use std::{cell::Cell, fs, path::PathBuf, sync::Arc, time::Duration};

use aap::api::pb::{
    self, DecisionReason as Reason, ProofProblem as Problem, create_session_request::Proof,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tonic::{Code, Status};

use crate::support::{
    ADMIN, Refusal, Setup,
    https::{HttpsServer, Reply},
    issuers::{IssuerKey, key_set},
    place::{Place, START},
    server::AUDIENCE,
    world::{self, access_point_name},
};

impl Place {
    async fn show(&self, access_point: &str, token: String) -> Result<String, Status> {
        let session = self.ask_at(&access_point_name(access_point), Proof::RoleToken(token)).await;
        session.map(|session| session.token)
    }

    /// Is refused, and told nothing; the record says why.
    async fn refused(&mut self, access_point: &str, token: String) -> (Reason, Problem) {
        // Strangers have a few records a second.
        self.wait(1);
        let refusal = self.show(access_point, token).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
        let (_, event) = self.last_session_record().await;
        (event.reason(), event.problem())
    }
}

/// An issuer's table, but for where its keys are.
pub fn table(name: &str, trusted_role: &str, rest: &str) -> String {
    format!(
        "[[token_issuers]]\nname = \"{name}\"\nissuer = \"https://{name}.test\"\n\
         audience = \"{AUDIENCE}\"\ntrusted_role = \"{trusted_role}\"\nrole_claim = \"role\"\n{rest}\n"
    )
}

pub const OF_ACME: &str = "accounts = [\"acme\"]";

/// The key of an issuer whose keys are in a file, and that file.
pub fn key_file(setup: &Setup, id: &str) -> (IssuerKey, PathBuf) {
    let key = IssuerKey::new(id);
    let path = setup.dir.path().join(format!("{id}.json"));
    fs::write(&path, key_set(&[&key]).to_string()).unwrap();
    (key, path)
}

pub fn claims(issuer: &str, role: &str, now: i64, id: &str) -> Value {
    json!({
        "iss": format!("https://{issuer}.test"), "aud": AUDIENCE, "sub": "workload-7",
        "iat": now, "exp": now + 600, "jti": id, "role": role,
    })
}

#[tokio::test]
async fn an_issuer_of_each_type_of_environment_proves_roles_of_that_type() {
    let setup = Setup::new();
    let (ecs, path) = key_file(&setup, "ecs-1");
    let (ack, function) = (IssuerKey::new("ack-1"), IssuerKey::new("fc-1"));
    let ack_server = HttpsServer::saying(Reply::good(&key_set(&[&ack]))).await;
    let function_server = HttpsServer::saying(Reply::good(&key_set(&[&function]))).await;
    let from = |server: &HttpsServer| {
        let (url, ca) = (server.url("/keys"), server.write_authority(setup.dir.path()));
        format!("{OF_ACME}\njwks_url = \"{url}\"\nca = \"{}\"", ca.display())
    };
    let tables = [
        table("ecs", "ecs_instance", &format!("{OF_ACME}\njwks_file = \"{}\"", path.display())),
        table("ack", "ack_worker", &from(&ack_server)),
        table("fc", "function_compute", &from(&function_server)),
    ]
    .concat();
    let mut place = Place::configured(setup, &tables).await;
    let mut roles = place.server.client(ADMIN).ram_roles();
    for (role, service) in [("KubernetesWorkerRole-1", "ecs"), ("FunctionRole", "fc")] {
        roles.create_ram_role(world::new_role(role, &[service])).await.unwrap();
    }
    place.enter("vm", "ECSRole", pb::TrustedRole::EcsInstance).await;
    place.enter("node", "KubernetesWorkerRole-1", pb::TrustedRole::AckWorker).await;
    place.enter("function", "FunctionRole", pb::TrustedRole::FunctionCompute).await;

    for (access_point, issuer, role, key) in [
        ("vm", "ecs", "ECSRole", &ecs),
        ("node", "ack", "KubernetesWorkerRole-1", &ack),
        ("function", "fc", "FunctionRole", &function),
    ] {
        let token = key.sign(&claims(issuer, role, place.now, "1"));
        let session = place.show(access_point, token.clone()).await.unwrap();
        assert_eq!(place.reason(&session).await, Reason::PolicyGrants, "{access_point}");
        let (record, event) = place.last_session_record().await;
        assert_eq!((&*record.account, event.reason()), ("acme", Reason::ProofAccepted));
        assert_eq!(event.proof_method(), pb::ProofMethod::RoleToken);
        assert_eq!((&*event.issuer, &*event.principal), (issuer, "workload-7"));
        assert!(!event.ram_role_uid.is_empty() && event.client_key_uid.is_empty());
        // It lasts no longer than its token.
        assert_eq!(event.expire_time.unwrap().seconds, place.now + 600);
        // Each token is taken once.
        let replayed = (Reason::CredentialInvalid, Problem::Replayed);
        assert_eq!(place.refused(access_point, token).await, replayed);
        let (record, event) = place.last_session_record().await;
        // Whoever has seen it can show it again, as often as it likes: that fills no account's log.
        assert_eq!((&*record.account, &*event.issuer), ("", issuer));
    }
    // The two were asked for their keys and for nothing else, at their own host.
    for server in [&ack_server, &function_server] {
        for question in server.questions() {
            assert_eq!((&*question.method, &*question.target), ("GET", "/keys"));
            assert_eq!(format!("https://{}/keys", question.host), server.url("/keys"));
        }
    }
    place.server.stop().await;
}

#[tokio::test]
async fn a_token_is_taken_once_whatever_its_issuer_and_its_role_are_by_then() {
    let setup = Setup::new();
    let (key, path) = key_file(&setup, "k");
    let keys = format!("{OF_ACME}\njwks_file = \"{}\"", path.display());
    let home = table("home", "ecs_instance", &keys);
    let mut place = Place::configured(setup, &home).await;
    let token = key.sign(&claims("home", "ECSRole", place.now, "1"));
    place.show("app", token.clone()).await.unwrap();
    let replayed = (Reason::CredentialInvalid, Problem::Replayed);
    assert_eq!(place.refused("app", token.clone()).await, replayed);
    // The operator calls its issuer otherwise.
    place.reconfigure(&home.replace("name = \"home\"", "name = \"renamed\"")).await;
    assert_eq!(place.refused("app", token.clone()).await, replayed);
    let (_, event) = place.last_session_record().await;
    assert_eq!(&*event.issuer, "renamed");
    // The role is imported anew, and is the platform's same role.
    let admin = place.server.client(ADMIN);
    let delete = world::delete_access_point("app");
    admin.access_points().delete_access_point(delete).await.unwrap();
    admin.ram_roles().delete_ram_role(world::delete_role("ECSRole")).await.unwrap();
    admin.ram_roles().create_ram_role(world::new_role("ECSRole", &["ecs"])).await.unwrap();
    place.enter("app", "ECSRole", pb::TrustedRole::EcsInstance).await;
    assert_eq!(place.refused("app", token).await, replayed);
    let token = key.sign(&claims("home", "ECSRole", place.now, "2"));
    place.show("app", token).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn an_issuer_vouches_for_nothing_beyond_its_bounds() {
    let setup = Setup::new();
    let (key, path) = key_file(&setup, "k");
    let keys = format!("jwks_file = \"{}\"", path.display());
    let tables = [
        table("home", "ecs_instance", &format!("{OF_ACME}\n{keys}")),
        table("abroad", "ecs_instance", &format!("accounts = [\"other\"]\n{keys}")),
        table("functions", "function_compute", &format!("{OF_ACME}\n{keys}")),
        table(
            "both",
            "ecs_instance",
            &format!("accounts = [\"acme\", \"other\"]\naccount_claim = \"account\"\n{keys}"),
        ),
    ]
    .concat();
    let mut place = Place::configured(setup, &tables).await;
    let invalid = |problem| (Reason::CredentialInvalid, problem);
    for (issuer, role, outcome) in [
        ("abroad", "ECSRole", invalid(Problem::IssuerNotForAccount)),
        ("functions", "ECSRole", invalid(Problem::IssuerNotForTrustedRole)),
        ("home", "ecsrole", invalid(Problem::RoleMismatch)),
        ("home", "ECSRole ", invalid(Problem::RoleMismatch)),
        ("home", "", invalid(Problem::RoleMismatch)),
        ("nobody", "ECSRole", invalid(Problem::IssuerUnknown)),
        ("both", "ECSRole", invalid(Problem::AccountMismatch)),
    ] {
        let token = key.sign(&claims(issuer, role, place.now, "1"));
        assert_eq!(place.refused("app", token).await, outcome, "{issuer} {role}");
        let (record, event) = place.last_session_record().await;
        // Whoever it is, it isn't the access point.
        assert_eq!((&*record.account, event.outcome()), ("", pb::Outcome::Deny));
    }
    for (account, granted) in [("acme", true), ("other", false), ("ACME", false)] {
        let mut claims = claims("both", "ECSRole", place.now, account);
        claims["account"] = json!(account);
        assert_eq!(place.show("app", key.sign(&claims)).await.is_ok(), granted, "{account}");
    }

    let now = place.now;
    let good = |id: &str| claims("home", "ECSRole", now, id);
    let unknown = key.sign_as(&json!({"alg": "ES256", "kid": "other"}), &good("2"));
    assert_eq!(place.refused("app", unknown).await, invalid(Problem::KeyUnknown));
    let forged = IssuerKey::new("k").sign(&good("2"));
    assert_eq!(place.refused("app", forged).await, invalid(Problem::SignatureInvalid));
    let early = claims("home", "ECSRole", START, "2");
    assert_eq!(place.refused("app", key.sign(&early)).await, invalid(Problem::IssuedBeforeStart));
    // Nobody is asked about what isn't there, or has another method.
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    let mut admin = place.server.client(ADMIN).access_points();
    admin.create_access_point(keyed).await.unwrap();
    for (access_point, reason) in
        [("nobody", Reason::AccessPointNotFound), ("keyed", Reason::AuthenticationMethodMismatch)]
    {
        let refused = place.refused(access_point, key.sign(&good("2"))).await;
        assert_eq!(refused, (reason, Problem::Unspecified));
    }
    let by_key = Proof::ClientKeyAssertion(key.sign(&good("2")));
    let refusal = place.ask_at(&access_point_name("app"), by_key).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.reason(), Reason::AuthenticationMethodMismatch);
    // None of them has used it up.
    place.show("app", key.sign(&good("2"))).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn an_issuer_changes_its_keys_without_a_restart() {
    let setup = Setup::new();
    let (old, new) = (IssuerKey::new("old"), IssuerKey::new("new"));
    let issuer = HttpsServer::saying(Reply::good(&key_set(&[&old]))).await;
    let ca = issuer.write_authority(setup.dir.path());
    let keys = format!("jwks_url = \"{}\"\nca = \"{}\"", issuer.url("/keys"), ca.display());
    let table = table("home", "ecs_instance", &format!("{OF_ACME}\n{keys}"));
    let mut place = Place::configured(setup, &table).await;
    let token = |key: &IssuerKey, now, id: &str| key.sign(&claims("home", "ECSRole", now, id));
    place.show("app", token(&old, place.now, "1")).await.unwrap();
    let asked = issuer.questions().len();

    issuer.say(Reply::good(&key_set(&[&old, &new])));
    // The key is new, so the issuer is asked; and then not again for a while, whoever shows what.
    place.show("app", token(&new, place.now, "2")).await.unwrap();
    let invented = IssuerKey::new("invented");
    for id in 0..20 {
        let token = token(&invented, place.now, &id.to_string());
        let refusal = place.show("app", token).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    }
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.problem(), Problem::KeyUnknown);
    assert_eq!(issuer.questions().len(), asked + 1);
    place.show("app", token(&old, place.now, "3")).await.unwrap();

    // One that it takes back counts until it is asked again.
    issuer.say(Reply::good(&key_set(&[&new])));
    place.wait(10);
    place.refused("app", token(&invented, place.now, "4")).await;
    assert_eq!(issuer.questions().len(), asked + 2);
    let refused = place.refused("app", token(&old, place.now, "5")).await;
    assert_eq!(refused, (Reason::CredentialInvalid, Problem::KeyUnknown));
    // While it is silent, what it said counts for a day.
    issuer.say(Reply::Say(500, Vec::new()));
    place.wait(23 * 60 * 60);
    place.show("app", token(&new, place.now, "6")).await.unwrap();
    place.wait(2 * 60 * 60);
    let refusal = place.show("app", token(&new, place.now, "7")).await.unwrap_err();
    Refusal::of(&refusal).is(Code::Unavailable, "VOUCHER_UNAVAILABLE");
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.problem(), Problem::KeysUnavailable);
    issuer.say(Reply::good(&key_set(&[&new])));
    place.wait(10);
    place.show("app", token(&new, place.now, "8")).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn a_key_that_an_issuer_takes_back_counts_no_longer_without_any_token_that_names_another() {
    let setup = Setup::new();
    let (old, new) = (IssuerKey::new("old"), IssuerKey::new("new"));
    let issuer = HttpsServer::saying(Reply::good(&key_set(&[&old, &new]))).await;
    let ca = issuer.write_authority(setup.dir.path());
    let keys = format!("jwks_url = \"{}\"\nca = \"{}\"", issuer.url("/keys"), ca.display());
    let table = table("home", "ecs_instance", &format!("{OF_ACME}\n{keys}"));
    let mut place = Place::configured(setup, &table).await;
    // It is asked at the start, before anybody shows anything.
    issuer.asked(1).await;
    let mut tokens = (1..).map(|id: u32| id.to_string());
    let mut show = async |place: &Place| {
        let claims = claims("home", "ECSRole", place.now, &tokens.next().unwrap());
        place.show("app", old.sign(&claims)).await
    };
    show(&place).await.unwrap();
    issuer.say(Reply::good(&key_set(&[&new])));
    let times = issuer.questions().len();
    // Not before it is due, and it was asked a minute ago or now.
    place.wait(200);
    place.reconfigure(&table).await;
    show(&place).await.unwrap();
    place.wait(100);
    place.reconfigure(&table).await;
    // Nobody waits for the answer, and none of these tokens has it asked for.
    issuer.asked(times + 1).await;
    let refusal = loop {
        if let Err(refusal) = show(&place).await {
            break refusal;
        }
        // Few may ask in a second.
        place.wait(1);
    };
    Refusal::of(&refusal).is(Code::Unauthenticated, "SESSION_REFUSED");
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.problem(), Problem::KeyUnknown);
    assert_eq!(issuer.questions().len(), times + 1);
    place.server.stop().await;
}

#[tokio::test]
async fn an_issuer_whose_keys_can_not_be_had_vouches_for_nobody_and_holds_up_nobody() {
    let setup = Setup::new();
    let key = IssuerKey::new("k");
    let set = key_set(&[&key]);
    let elsewhere = HttpsServer::saying(Reply::good(&set)).await;
    let mut much = set.to_string().into_bytes();
    much.resize(10 << 20, b' ');
    let servers = [
        ("moved", HttpsServer::saying(Reply::Redirect(elsewhere.url("/keys"))).await),
        ("much", HttpsServer::saying(Reply::Say(200, much)).await),
        ("broken", HttpsServer::saying(Reply::good(&"{")).await),
        ("missing", HttpsServer::saying(Reply::Say(404, set.to_string().into())).await),
        ("silent", HttpsServer::saying(Reply::Silence).await),
        ("stranger", HttpsServer::saying(Reply::good(&set)).await),
    ];
    let (old, new) = (IssuerKey::new("old"), IssuerKey::new("new"));
    let home = HttpsServer::saying(Reply::good(&key_set(&[&old]))).await;
    // Nobody who is trusted vouches for the last one.
    let vouched = servers.iter().map(|(name, server)| match *name {
        "stranger" => (*name, server, &elsewhere),
        _ => (*name, server, server),
    });
    let tables: String = vouched
        .chain([("home", &home, &home)])
        .map(|(name, server, by)| {
            let (url, ca) = (server.url("/keys"), by.write_authority(setup.dir.path()));
            let keys = format!("{OF_ACME}\njwks_url = \"{url}\"\nca = \"{}\"", ca.display());
            table(name, "ecs_instance", &keys)
        })
        .collect();
    let mut place = Place::configured(setup, &tables).await;
    let token = |name: &str, now| key.sign(&claims(name, "ECSRole", now, "1"));
    for (name, _) in &servers {
        let refusal = place.show("app", token(name, place.now)).await.unwrap_err();
        Refusal::of(&refusal).is(Code::Unavailable, "VOUCHER_UNAVAILABLE");
    }
    place.show("app", old.sign(&claims("home", "ECSRole", place.now, "1"))).await.unwrap();

    // While one of them is silent another one is asked, for a key that isn't known.
    place.wait(10);
    home.say(Reply::good(&key_set(&[&old, &new])));
    let (_, silent) = &servers[4];
    let (times, is_over) = (silent.questions().len(), Cell::new(false));
    let (refusal, ()) = tokio::join!(
        async {
            let refusal = place.show("app", token("silent", place.now)).await.unwrap_err();
            is_over.set(true);
            refusal
        },
        async {
            silent.asked(times + 1).await;
            let asked = home.questions().len();
            let token = new.sign(&claims("home", "ECSRole", place.now, "2"));
            let session = tokio::time::timeout(Duration::from_secs(4), place.show("app", token));
            let session = session.await.expect("nobody waits for who is silent").unwrap();
            assert!(!is_over.get());
            assert_eq!(home.questions().len(), asked + 1);
            assert_eq!(place.reason(&session).await, Reason::PolicyGrants);
        }
    );
    Refusal::of(&refusal).is(Code::Unavailable, "VOUCHER_UNAVAILABLE");
    // Nobody follows where it isn't sent by the configuration.
    assert_eq!(elsewhere.connections(), 0);
    place.server.stop().await;
}

#[tokio::test]
async fn sessions_die_when_the_role_trusts_otherwise_and_with_their_access_point() {
    let setup = Setup::new();
    let (key, path) = key_file(&setup, "k");
    let file = format!("{OF_ACME}\njwks_file = \"{}\"", path.display());
    let mut place = Place::configured(setup, &table("home", "ecs_instance", &file)).await;
    let token = |now, id: &str| key.sign(&claims("home", "ECSRole", now, id));
    let session = place.show("app", token(place.now, "1")).await.unwrap();
    let mut roles = place.server.client(ADMIN).ram_roles();
    roles.update_ram_role(world::update_role("ECSRole", &["fc"])).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::RoleNotTrusted);
    let refused = place.refused("app", token(place.now, "2")).await;
    assert_eq!(refused, (Reason::RoleNotTrusted, Problem::Unspecified));
    let (record, _) = place.last_session_record().await;
    assert_eq!(&*record.account, "acme");
    roles.update_ram_role(world::update_role("ECSRole", &["ecs"])).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::CredentialInvalid);
    let session = place.show("app", token(place.now, "3")).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::PolicyGrants);

    // It outlives a restart, but not a revocation.
    place.server = place.server.restart().await;
    assert_eq!(place.reason(&session).await, Reason::PolicyGrants);
    let mut admin = place.server.client(ADMIN).access_points();
    let name = access_point_name("app");
    let revoke = pb::RevokeSessionsRequest { name: name.clone(), ..Default::default() };
    admin.revoke_sessions(revoke).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::CredentialInvalid);
    place.wait(60);
    let session = place.show("app", token(place.now, "4")).await.unwrap();
    let suspend = pb::SuspendAccessPointRequest { name: name.clone(), ..Default::default() };
    admin.suspend_access_point(suspend).await.unwrap();
    assert_eq!(place.reason(&session).await, Reason::AccessPointSuspended);
    let refused = place.refused("app", token(place.now, "5")).await;
    assert_eq!(refused, (Reason::AccessPointSuspended, Problem::Unspecified));
    admin.delete_access_point(world::delete_access_point("app")).await.unwrap();
    place.enter("app", "ECSRole", pb::TrustedRole::EcsInstance).await;
    assert_eq!(place.reason(&session).await, Reason::AccessPointNotFound);
    let new = place.show("app", token(place.now, "6")).await.unwrap();
    assert_eq!(place.reason(&new).await, Reason::PolicyGrants);
    place.server.stop().await;
}

#[tokio::test]
async fn what_is_asked_of_an_issuer_counts_for_nothing_when_it_is_taken_out_meanwhile() {
    let setup = Setup::new();
    let (old, new) = (IssuerKey::new("old"), IssuerKey::new("new"));
    let issuer = HttpsServer::saying(Reply::good(&key_set(&[&old]))).await;
    let ca = issuer.write_authority(setup.dir.path());
    let keys =
        format!("{OF_ACME}\njwks_url = \"{}\"\nca = \"{}\"", issuer.url("/keys"), ca.display());
    let (file_key, path) = key_file(&setup, "k");
    let other = format!("{OF_ACME}\njwks_file = \"{}\"", path.display());
    let without = table("other", "ecs_instance", &other);
    let mut place =
        Place::configured(setup, &(table("home", "ecs_instance", &keys) + &without)).await;
    let token = old.sign(&claims("home", "ECSRole", place.now, "1"));
    place.show("app", token).await.unwrap();
    place.wait(10);
    let (told, asked) = (Arc::new(Notify::new()), issuer.questions().len());
    let good = Reply::good(&key_set(&[&old, &new]));
    issuer.say(Reply::After(Arc::clone(&told), Box::new(good)));
    let token = new.sign(&claims("home", "ECSRole", place.now, "2"));
    let (answer, ()) = tokio::join!(place.show("app", token), async {
        issuer.asked(asked + 1).await;
        place.reconfigure(&without).await;
        told.notify_one();
    });
    Refusal::of(&answer.unwrap_err()).is(Code::Unauthenticated, "SESSION_REFUSED");
    let (_, event) = place.last_session_record().await;
    assert_eq!(event.problem(), Problem::IssuerUnknown);
    let token = file_key.sign(&claims("other", "ECSRole", place.now, "3"));
    place.show("app", token).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn issuers_come_and_go_with_the_configuration() {
    let setup = Setup::new();
    let (key, path) = key_file(&setup, "k");
    let place = Place::configured(setup, "").await;
    let token = |id: &str| key.sign(&claims("home", "ECSRole", place.now, id));
    let refusal = place.show("app", token("1")).await.unwrap_err();
    Refusal::of(&refusal).is(Code::FailedPrecondition, "NO_TOKEN_ISSUERS");

    let file = format!("{OF_ACME}\njwks_file = \"{}\"", path.display());
    let with_issuer = table("home", "ecs_instance", &file);
    place.reconfigure(&with_issuer).await;
    place.show("app", token("2")).await.unwrap();

    // Another key in the file of keys alone is taken, too.
    let other = IssuerKey::new("k");
    fs::write(&path, key_set(&[&other]).to_string()).unwrap();
    place.reconfigure(&with_issuer).await;
    let claims = claims("home", "ECSRole", place.now, "3");
    place.show("app", other.sign(&claims)).await.unwrap();
    place.show("app", token("none")).await.unwrap_err();
    place.reconfigure("").await;
    let refusal = place.show("app", token("4")).await.unwrap_err();
    Refusal::of(&refusal).is(Code::FailedPrecondition, "NO_TOKEN_ISSUERS");
    place.server.stop().await;
}
