//! Callers over TLS: who they are by their certificates, and certificates that change under load.

use std::{fs, net::SocketAddr, time::Duration};

use aap::{
    api::pb::{
        self, ConfigurationLoadOutcome, audit_record::Event, check::Subject,
        create_session_request::Proof,
    },
    clock::Clock,
    domain::time::{Date, UnixNanos},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinSet};
use tonic::{Code, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    AUDITOR, Client, ENFORCER, Refusal, Setup, TestServer, VIEWER,
    certificates::{Authority, Pair, Speaker, connect_from, params, self_signed},
    clients::token_of,
    configuration::Text,
    refused,
    server::PATIENCE,
    watching::{Watch, refused_call_of},
    world::{self, HERE},
};

const ADMIN_SAN: &str = "spiffe://aap.test/admin";
const EYES_SAN: &str = "dns:eyes.aap.test";

/// A server with TLS, the authorities around it, and its configuration.
struct Place {
    server: TestServer,
    /// Signs for servers.
    hosts: Authority,
    /// Signs for callers.
    callers: Authority,
    base: Text,
}

impl Place {
    async fn start() -> Self {
        Self::with(Setup::new(), "").await
    }

    /// With more in its configuration, before all tables.
    async fn with(setup: Setup, more: &str) -> Self {
        let (hosts, callers) = (Authority::new(), Authority::new());
        let dir = setup.dir.path();
        let (certificate, key) = hosts.server().write(dir, "server");
        let ca = dir.join("callers.pem");
        fs::write(&ca, &callers.certificate).unwrap();
        let base = Text::new(&setup.data_dir())
            .before(&format!("caller_ca = \"{}\"\n{more}", ca.display()))
            .with(ENFORCER, "role = \"enforcer\"\naccounts = [\"acme\"]\nassert_identity = true")
            .with(VIEWER, "role = \"viewer\"\naccounts = [\"acme\"]")
            .with(AUDITOR, "role = \"auditor\"\naccounts = [\"*\"]")
            .and(&format!(
                "[[callers]]\nname = \"admin\"\nsan = \"{ADMIN_SAN}\"\nrole = \"admin\"\n\
                 accounts = [\"acme\"]\n\
                 [[callers]]\nname = \"eyes\"\nsan = \"{EYES_SAN}\"\nrole = \"auditor\"\n\
                 accounts = [\"*\"]\n\
                 [[listeners]]\naddress = \"127.0.0.1:0\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
                certificate.display(),
                key.display(),
            ));
        let server = Setup { configuration: Some(base.clone()), ..setup }.start().await;
        Self { server, hosts, callers, base }
    }

    fn address(&self) -> SocketAddr {
        self.server.address_of(1)
    }

    fn speaker(&self) -> Speaker {
        Speaker::trusting(&self.hosts)
    }

    /// Whoever shows this certificate.
    fn showing(&self, pair: &Pair) -> Client {
        self.speaker().showing(pair.shown()).client(self.address())
    }

    fn admin(&self) -> Client {
        self.showing(&self.callers.client(ADMIN_SAN))
    }

    fn dir(&self) -> std::path::PathBuf {
        self.server.configuration_path().parent().unwrap().to_owned()
    }

    /// The next load of the configuration, which a watch waits for.
    async fn next_load(watch: &mut Watch) -> pb::ConfigurationLoadEvent {
        loop {
            if let Some(Event::ConfigurationLoad(load)) = watch.next_record().await.event {
                return load;
            }
        }
    }
}

/// What it is to somebody to look at a policy.
async fn look(client: &Client) -> Result<Response<pb::ListPoliciesResponse>, Status> {
    let request = pb::ListPoliciesRequest { parent: HERE.to_owned(), ..Default::default() };
    client.policies().list_policies(request).await
}

fn day(month: u8, day: u8) -> UnixNanos {
    UnixNanos::start_of(Date { year: 2025, month, day }).unwrap()
}

#[tokio::test]
async fn a_certificate_is_a_callers_only_if_the_authority_of_callers_says_so() {
    let place = Place::start().await;
    world::enter_page_example(&place.admin()).await;
    let (hosts, callers) = (&place.hosts, &place.callers);
    let mut as_name = params(&[]);
    as_name.distinguished_name.push(rcgen::DnType::CommonName, "admin");
    let mut for_servers = params(&[ADMIN_SAN]);
    for_servers.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    for (what, pair) in [
        ("self-signed", self_signed(&params(&[ADMIN_SAN]))),
        ("signed by another authority", hosts.client(ADMIN_SAN)),
        ("expired", callers.client_until(ADMIN_SAN, 6, 1)),
        ("of nobody", callers.client("spiffe://aap.test/other")),
        ("with a common name alone", callers.sign(&as_name)),
        ("for servers", callers.sign(&for_servers)),
    ] {
        let refusal = refused(look(&place.showing(&pair)).await);
        refusal.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
        assert!(!format!("{refusal:?}").contains("aap.test"), "{what}: {refusal:?}");
    }
    let nobody = place.speaker().client(place.address());
    refused(look(&nobody).await).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    // TLS 1.2 is good enough.
    let old = Speaker::of_tls_12(&place.hosts).showing(callers.client(ADMIN_SAN).shown());
    look(&old.client(place.address())).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn a_token_counts_whatever_certificate_comes_with_it() {
    let place = Place::start().await;
    let create = |client: Client| async move {
        let request = world::new_policy("p", &["secret/a"], &[]);
        client.policies().create_policy(request).await
    };
    let admin = place.speaker().showing(place.callers.client(ADMIN_SAN).shown());
    let viewer = admin.client_with(place.address(), &token_of(VIEWER));
    let refusal = refused(create(viewer).await);
    refusal.is(Code::PermissionDenied, "ROLE_NOT_SUFFICIENT").has("caller", VIEWER);
    let mistaken = admin.client_with(place.address(), "aap_wrong");
    refused(create(mistaken).await).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    // What an application will show besides, and a plain client with TLS.
    let own = place.speaker().showing(self_signed(&params(&[])).shown());
    for speaker in [own, place.speaker()] {
        look(&speaker.client_with(place.address(), &token_of(VIEWER))).await.unwrap();
    }
    place.server.stop().await;
}

#[tokio::test]
async fn who_does_not_hold_a_certificates_key_gets_no_connection() {
    let place = Place::start().await;
    let mut stolen = place.callers.client(ADMIN_SAN).shown();
    stolen.key = self_signed(&params(&[])).shown().key;
    for speaker in [place.speaker(), Speaker::of_tls_12(&place.hosts)] {
        let speaker = speaker.showing(stolen.clone());
        // With TLS 1.3 a client hears of it when it reads.
        let ended = match speaker.connect(place.address()).await {
            Ok(mut stream) => stream.read_u8().await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(ended.is_err());
        assert!(look(&speaker.client(place.address())).await.is_err());
    }
    look(&place.admin()).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_expires_ends_what_it_began() {
    let setup = Setup { clock: Clock::manual(day(5, 1)), ..Setup::new() };
    let clock = setup.clock.clone();
    let place = Place::with(setup, "").await;
    let eyes = place.showing(&place.callers.client_until(EYES_SAN, 6, 1));
    let admin = place.showing(&place.callers.client_until(ADMIN_SAN, 6, 1));
    look(&admin).await.unwrap();
    let watch = Watch::from_end(&eyes).await;
    clock.set(day(6, 1));
    look(&admin).await.unwrap();
    clock.set(day(6, 1).plus_seconds(1));
    let refusal = refused(look(&admin).await);
    refusal.is(Code::Unauthenticated, "CALLER_EXPIRED").has("expire_time", "2025-06-01T00:00:01Z");
    let ended = tokio::time::timeout(PATIENCE, watch.end()).await.expect("it ends");
    Refusal::of(&ended.1.unwrap()).is(Code::Unauthenticated, "CALLER_EXPIRED");
    place.server.stop().await;
}

#[tokio::test]
async fn an_authority_that_is_taken_away_takes_its_callers_with_it() {
    let place = Place::start().await;
    let (admin, eyes) = (place.admin(), place.showing(&place.callers.client(EYES_SAN)));
    look(&admin).await.unwrap();
    let watch = Watch::from_end(&eyes).await;
    let mut all = Watch::from_end(&place.server.client(AUDITOR)).await;
    let ca = place.dir().join("callers.pem");
    let new = Authority::new();
    fs::write(&ca, &new.certificate).unwrap();
    // The file alone has changed, and nobody asked.
    assert_eq!(Place::next_load(&mut all).await.outcome(), ConfigurationLoadOutcome::Applied);
    let ended = tokio::time::timeout(PATIENCE, watch.end()).await.expect("it ends");
    Refusal::of(&ended.1.unwrap()).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    refused(look(&admin).await).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    look(&place.showing(&new.client(ADMIN_SAN))).await.unwrap();
    // While both are trusted, so are both their callers, on the connections that they have.
    fs::write(&ca, format!("{}{}", new.certificate, place.callers.certificate)).unwrap();
    assert_eq!(Place::next_load(&mut all).await.outcome(), ConfigurationLoadOutcome::Applied);
    look(&admin).await.unwrap();
    drop(all);
    place.server.stop().await;
}

/// The certificate that a server shows to who connects now.
async fn shown(speaker: &Speaker, address: SocketAddr) -> Vec<u8> {
    let stream = speaker.connect(address).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn no_call_fails_while_certificates_are_replaced() {
    let setup = Setup { listeners: 3, ..Setup::new() };
    let place = Place::with(setup, "").await;
    world::enter_page_example(&place.admin()).await;
    let mut all = Watch::from_end(&place.server.client(AUDITOR)).await;
    let mut checking = JoinSet::new();
    for worker in 0..6 {
        let (speaker, address) = (place.speaker(), place.address());
        let kept = speaker.client_with(address, &token_of(ENFORCER));
        checking.spawn(async move {
            for _ in 0..60 {
                world::allow(&kept).await;
                if worker % 2 == 0 {
                    world::allow(&speaker.client_with(address, &token_of(ENFORCER))).await;
                }
            }
        });
    }
    let mut replaced = 0;
    while !checking.is_empty() {
        let before = shown(&place.speaker(), place.address()).await;
        place.hosts.server().write(&place.dir(), "server");
        place.server.reload(&place.base);
        while Place::next_load(&mut all).await.outcome() != ConfigurationLoadOutcome::Applied {}
        // Doors and callers change after the record was handed in.
        let changed = async { while shown(&place.speaker(), place.address()).await == before {} };
        tokio::time::timeout(PATIENCE, changed).await.expect("it shows another one");
        replaced += 1;
        while let Some(done) = checking.try_join_next() {
            done.unwrap();
        }
    }
    assert!(replaced > 1, "{replaced}");
    drop(all);
    place.server.stop().await;
}

#[tokio::test]
async fn certificates_that_can_not_be_used_change_nothing() {
    let place = Place::start().await;
    let mut all = Watch::from_end(&place.server.client(AUDITOR)).await;
    let before = shown(&place.speaker(), place.address()).await;
    let other = place.hosts.server();
    for (file, text) in [
        ("server.pem", other.certificate.as_str()),
        ("server-key.pem", "nothing"),
        ("callers.pem", other.certificate.as_str()),
    ] {
        let path = place.dir().join(file);
        let was = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let load = Place::next_load(&mut all).await;
        assert_eq!(
            (load.outcome(), load.problems),
            (ConfigurationLoadOutcome::Refused, 1),
            "{file}"
        );
        assert_eq!(shown(&place.speaker(), place.address()).await, before);
        look(&place.admin()).await.unwrap();
        fs::write(&path, was).unwrap();
        assert_eq!(Place::next_load(&mut all).await.outcome(), ConfigurationLoadOutcome::Applied);
    }
    drop(all);
    place.server.stop().await;
}

#[tokio::test]
async fn a_connection_of_the_wrong_kind_is_closed_and_others_go_on() {
    let place = Place::start().await;
    let tls = crate::support::clients::connect(place.address());
    assert!(look(&Client::new(tls, &token_of(VIEWER))).await.is_err(), "plain text where TLS is");
    let plain = place.speaker().client_with(place.server.address(), &token_of(VIEWER));
    assert!(look(&plain).await.is_err(), "TLS where plain text is");
    let other = place.speaker().for_protocol("http/1.1");
    assert!(other.connect(place.address()).await.is_err(), "another protocol");
    assert!(Speaker::trusting(&place.callers).connect(place.address()).await.is_err());
    look(&place.admin()).await.unwrap();
    place.server.stop().await;
}

#[tokio::test]
async fn health_is_told_over_tls_to_everybody() {
    let place = Place::start().await;
    let nobody = place.speaker().channel(place.address());
    let request = HealthCheckRequest { service: String::new() };
    let health = HealthClient::new(nobody).check(request).await.unwrap().into_inner();
    assert_eq!(health.status, tonic_health::ServingStatus::Serving as i32);
    place.server.stop().await;
}

#[tokio::test]
async fn a_refused_certificate_stands_in_the_log_with_its_peer() {
    let place = Place::start().await;
    let mut all = Watch::from_end(&place.server.client(AUDITOR)).await;
    let stranger = place.showing(&self_signed(&params(&[ADMIN_SAN])));
    refused(look(&stranger).await).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    let record = all.next_record().await;
    assert_eq!(refused_call_of(&record).unwrap().reason, "ERROR_REASON_CALLER_UNAUTHENTICATED");
    assert!(record.caller.is_empty() && record.peer.starts_with("127.0.0.1:"), "{record:?}");
    assert!(record.forwarded_peer.is_empty());
    drop(all);
    place.server.stop().await;
}

/// Reads until the other end closes, which it does soon.
async fn until_closed(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes));
    // Reset or ended: both are closed.
    let _ = closed.await.expect("it is closed in time");
}

#[tokio::test]
async fn who_never_speaks_is_not_waited_for() {
    let more = "connections = { handshake_seconds = 1 }";
    let place = Place::with(Setup::new(), more).await;
    let plain = TcpStream::connect(place.server.address()).await.unwrap();
    let tls = TcpStream::connect(place.address()).await.unwrap();
    let silent = place.speaker().connect(place.address()).await.unwrap();
    let (silent, _) = silent.into_inner();
    tokio::join!(until_closed(plain), until_closed(tls), until_closed(silent));
    place.server.stop().await;
}

#[tokio::test]
async fn a_flood_of_connections_is_no_harm_to_others() {
    let more = "connections = { max = 60, max_per_source = 20, max_handshakes = 30, \
                max_handshakes_per_source = 10 }";
    let place = Place::with(Setup::new(), more).await;
    world::enter_page_example(&place.admin()).await;
    let enforcer = place.speaker().client_with(place.address(), &token_of(ENFORCER));
    world::allow(&enforcer).await;
    // One source takes all that it can get, in plain text and in handshakes that never end.
    let mut flood = Vec::new();
    for number in 0..200 {
        let address = if number % 2 == 0 { place.server.address() } else { place.address() };
        flood.push(connect_from("127.0.7.1", address).await.unwrap());
    }
    world::allow(&enforcer).await;
    // Who connects from elsewhere, is let in; who connects from there, is not.
    let stream = connect_from("127.0.8.1", place.address()).await.unwrap();
    place.speaker().speak(stream).await.unwrap();
    look(&place.admin()).await.unwrap();
    until_closed(connect_from("127.0.7.2", place.server.address()).await.unwrap()).await;
    let stream = connect_from("127.0.7.2", place.address()).await.unwrap();
    assert!(place.speaker().speak(stream).await.is_err());
    // The places are free again when it is over.
    drop(flood);
    let again = async {
        loop {
            let stream = connect_from("127.0.7.2", place.address()).await.unwrap();
            if place.speaker().speak(stream).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there are places again");
    place.server.stop().await;
}

#[tokio::test]
async fn an_application_proves_by_its_connection_that_it_has_its_client_key() {
    let place = Place::start().await;
    let admin = place.admin();
    world::enter_page_example(&admin).await;
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    admin.access_points().create_access_point(keyed).await.unwrap();
    // What the certificate says is never believed, be it an admin's name.
    let application = self_signed(&params(&[ADMIN_SAN]));
    let key = rcgen::KeyPair::from_pem(&application.key).unwrap();
    let request = params(&[]).serialize_request(&key).unwrap().pem().unwrap();
    let request = pb::ImportClientKeyRequest {
        parent: world::access_point_name("keyed"),
        signing_request_pem: request,
        ..Default::default()
    };
    admin.access_points().import_client_key(request).await.unwrap();

    let ask = pb::CreateSessionRequest {
        access_point: world::access_point_name("keyed"),
        proof: Some(Proof::ClientKeyTls(pb::ClientKeyTls {})),
        lifetime_seconds: 0,
    };
    let shown = place.showing(&application);
    let session = shown.sessions().create_session(ask.clone()).await.unwrap().into_inner();
    let check = pb::Check { subject: Some(Subject::Session(session.token)), ..world::allowed() };
    let enforcer = place.speaker().client_with(place.address(), &token_of(ENFORCER));
    let answer = world::answer(&enforcer, check).await;
    assert_eq!(answer.decision.unwrap().outcome(), pb::Outcome::Allow);

    let list = pb::ListPoliciesRequest { parent: HERE.into(), ..Default::default() };
    let refusal = refused(shown.policies().list_policies(list).await);
    refusal.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    let other = place.showing(&self_signed(&params(&[ADMIN_SAN])));
    for other in [other, place.speaker().client(place.address())] {
        let refusal = refused(other.sessions().create_session(ask.clone()).await);
        refusal.is(Code::Unauthenticated, "SESSION_REFUSED");
    }
    place.server.stop().await;
}
