//! What operators' tools are told: metrics by Prometheus' text, whether the server lives and is
//! ready, and that the documentation says what the code does.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr};

use aap::{
    api::{
        convert::decision::send_reason,
        pb::{self, create_session_request::Proof},
    },
    domain::decision::DenyReason,
    telemetry::{
        instruments::{self, Instrument, Kind},
        prometheus,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_health::ServingStatus::{NotServing, Serving};

use crate::{
    role_tokens,
    support::{
        ADMIN, AUDITOR, ENFORCER, Fault, Setup, TestServer,
        https::{HttpsServer, Reply},
        issuers::IssuerKey,
        place::Place,
        refused,
        watching::Watch,
        world,
    },
};

async fn start() -> TestServer {
    let server = Setup { tells_metrics: true, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

/// Asks over plain HTTP; returns the status and the body.
pub async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: aap\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Every sample, by name and labels.
pub async fn metrics(server: &TestServer) -> BTreeMap<String, f64> {
    let (status, text) = ask(server.metrics_address(), "GET", "/metrics").await;
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

fn call(method: &str, code: &str, part: &str) -> String {
    format!(
        "rpc_server_call_duration_seconds_{part}{{rpc_system_name=\"grpc\",\
         rpc_method=\"aap.v1.{method}\",rpc_response_status_code=\"{code}\"}}"
    )
}

#[tokio::test]
async fn metrics_tell_what_has_happened() {
    let server = start().await;
    let enforcer = server.client(ENFORCER);
    for _ in 0..3 {
        world::allow(&enforcer).await;
    }
    let batch = world::ask_all(vec![world::question("secret/other"); 2]);
    enforcer.authorization().batch_check_access(batch).await.unwrap();
    refused(enforcer.audit().get_audit_record(pb::GetAuditRecordRequest::default()).await);
    let mut watch = Watch::from(&server.client(AUDITOR), 1).await;
    let last = world::allow(&enforcer).await.sequence;
    watch.records_through(last).await;

    let told = metrics(&server).await;
    let check = "AuthorizationService/CheckAccess";
    for (name, value) in [
        (call(check, "OK", "count").as_str(), 4.0),
        (&call("AuditService/GetAuditRecord", "PERMISSION_DENIED", "count"), 1.0),
        ("aap_decisions_total{aap_outcome=\"allow\",aap_reason=\"POLICY_GRANTS\"}", 4.0),
        ("aap_decisions_total{aap_outcome=\"deny\",aap_reason=\"RESOURCE_NOT_COVERED\"}", 2.0),
        ("aap_decisions_total{aap_outcome=\"deny\",aap_reason=\"NETWORK_NOT_ALLOWED\"}", 0.0),
        ("aap_calls_rejected_total{rpc_response_status_code=\"PERMISSION_DENIED\"}", 1.0),
        ("aap_audit_available", 1.0),
        ("aap_journal_available", 1.0),
        ("aap_watchers{aap_log=\"audit\"}", 1.0),
        ("aap_watchers{aap_log=\"journal\"}", 0.0),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}");
    }
    assert!(told[&call(check, "OK", "sum")] > 0.0);
    assert!(told["aap_audit_records_total"] >= f64::from(u32::try_from(last).unwrap()));
    let revision = server.client(ADMIN);
    let made =
        revision.policies().create_policy(world::new_policy("more", &["secret/x"], &[])).await;
    let made = made.unwrap().into_inner().revision;
    let told = metrics(&server).await;
    let made = f64::from(u32::try_from(made).unwrap());
    assert_eq!(told.get("aap_journal_revision"), Some(&made));
    assert!(told["aap_journal_batch_size_count"] >= 1.0);
    assert!(told["aap_audit_sync_duration_seconds_count"] >= 1.0);
    assert!(told["aap_disk_free_bytes"] > 0.0 && told["process_memory_usage_bytes"] > 0.0);
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn what_came_of_requests_for_sessions_is_told_by_proof_and_reason() {
    let setup = Setup { tells_metrics: true, ..Setup::new() };
    // It has no keys.
    let issuer = HttpsServer::saying(Reply::Say(404, Vec::new())).await;
    let (url, ca) = (issuer.url("/keys"), issuer.write_authority(setup.dir.path()));
    let keys = format!("{}\njwks_url = \"{url}\"\nca = \"{}\"", role_tokens::OF_ACME, ca.display());
    let ecs = role_tokens::table("ecs", "ecs_instance", &keys);
    let mut place = Place::configured(setup, &ecs).await;
    let keyed = place.application("keyed").await;
    let requests = |proof: &str, outcome: &str, reason: &str| {
        format!(
            "aap_session_requests_total{{aap_proof=\"{proof}\",aap_outcome=\"{outcome}\",\
             aap_reason=\"{reason}\"}}"
        )
    };
    let granted = requests("CLIENT_KEY_ASSERTION", "allow", "PROOF_ACCEPTED");
    let silent = requests("ROLE_TOKEN", "deny", "KEYS_UNAVAILABLE");
    let told = metrics(&place.server).await;
    for name in [&granted, &silent, "aap_sessions", "aap_session_revocations_total"] {
        assert_eq!(told.get(name), Some(&0.0), "{name}");
    }

    place.session(&keyed, "1").await;
    place.wait(600);
    let shown = keyed.assertion(place.now, "2");
    place.ask(&keyed, shown.clone()).await.unwrap();
    place.ask(&keyed, shown).await.unwrap_err();
    let token = IssuerKey::new("k").sign(&role_tokens::claims("ecs", "ECSRole", place.now, "1"));
    for (access_point, proof) in [
        ("nothing", Proof::ClientKeyAssertion(keyed.assertion(place.now, "3"))),
        ("keyed", Proof::ClientKeyTls(pb::ClientKeyTls {})),
        ("app", Proof::RoleToken(token)),
        ("app", Proof::CallerIdentity(pb::CallerIdentity::default())),
    ] {
        place.ask_at(&world::access_point_name(access_point), proof).await.unwrap_err();
    }
    let told = metrics(&place.server).await;
    for (name, value) in [
        (&granted, 2.0),
        (&requests("CLIENT_KEY_ASSERTION", "deny", "REPLAYED"), 1.0),
        (&requests("CLIENT_KEY_ASSERTION", "deny", "ACCESS_POINT_NOT_FOUND"), 1.0),
        (&requests("CLIENT_KEY_TLS", "deny", "CREDENTIAL_UNKNOWN"), 1.0),
        (&silent, 1.0),
        (&requests("CALLER_IDENTITY", "unjudged", "NO_STS"), 1.0),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}");
    }
    let all = told.iter().filter(|(name, _)| name.starts_with("aap_session_requests_total"));
    assert!((all.map(|(_, count)| count).sum::<f64>() - 7.0).abs() < f64::EPSILON, "{told:?}");

    // A session lasts for a quarter of an hour.
    for (wait, lasting) in [(0, 2.0), (299, 2.0), (1, 1.0), (599, 1.0), (1, 0.0)] {
        place.wait(wait);
        let told = metrics(&place.server).await;
        assert_eq!(told.get("aap_sessions"), Some(&lasting), "{wait}");
    }
    place.server.stop().await;
}

#[tokio::test]
async fn revocations_of_sessions_are_counted_once_each() {
    let place = Place::start_with(Setup { tells_metrics: true, ..Setup::new() }).await;
    let mut admin = place.server.client(ADMIN).access_points();
    let once = pb::RevokeSessionsRequest {
        name: world::access_point_name("app"),
        request_id: "leak-7".into(),
        ..Default::default()
    };
    let judged = pb::RevokeSessionsRequest { validate_only: true, ..once.clone() };
    for (request, count) in [(judged, 0.0), (once.clone(), 1.0), (once, 1.0)] {
        admin.revoke_sessions(request).await.unwrap();
        let told = metrics(&place.server).await;
        assert_eq!(told.get("aap_session_revocations_total"), Some(&count));
    }
    place.server.stop().await;
}

#[tokio::test]
async fn every_instrument_is_told_and_nothing_else() {
    let server = start().await;
    world::allow(&server.client(ENFORCER)).await;
    let (_, text) = ask(server.metrics_address(), "GET", "/metrics").await;
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut told: Vec<_> = told.map(str::to_owned).collect();
    let mut wanted: Vec<_> = instruments::ALL.iter().map(|one| prometheus::name_of(one)).collect();
    wanted.push("target_info".to_owned());
    told.sort();
    wanted.sort();
    assert_eq!(told, wanted);
    for Instrument { attributes, .. } in instruments::ALL {
        for attribute in *attributes {
            assert!(text.contains(&format!("{}=\"", attribute.replace('.', "_"))), "{attribute}");
        }
    }
    for reason in DenyReason::ALL {
        let name = send_reason(reason).as_str_name().trim_start_matches("DECISION_REASON_");
        assert!(text.contains(&format!("aap_reason=\"{name}\"")), "{name}");
    }
    assert!(!text.contains("acme"), "nothing of an account is told");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_only_a_restart_helps_is_neither_ready_nor_alive() {
    let server = start().await;
    let address = server.metrics_address();
    let working = "audit log: working\njournal: working\naudit cursors: working\n\
                   process: serving\ndamage: none is known\n";
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(address, "GET", path).await, (200, working.to_owned()), "{path}");
    }
    for service in ["livez", "readyz"] {
        server.wait_for_health(service, Serving).await;
    }
    server.faults.fail_once(Fault::AuditSync);
    let enforcer = server.client(ENFORCER);
    refused(enforcer.authorization().check_access(world::ask(world::allowed())).await);
    for service in ["livez", "readyz"] {
        server.wait_for_health(service, NotServing).await;
    }
    for path in ["/livez", "/readyz"] {
        let (status, text) = ask(address, "GET", path).await;
        assert_eq!(status, 503, "{path}");
        assert!(text.starts_with("audit log: failed: checks are refused until a restart\n"));
    }
    assert_eq!(metrics(&server).await.get("aap_audit_available"), Some(&0.0));
    let (_, outcome) = server.stop_with_outcome().await;
    outcome.unwrap_err();
}

#[tokio::test]
async fn while_the_disk_stalls_the_server_lives_and_is_not_ready() {
    let setup = Setup::new();
    let options =
        aap::audit::log::Options { stall: std::time::Duration::from_millis(50), ..setup.options };
    let server = Setup { options, tells_metrics: true, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server.faults.block_syncs();
    let enforcer = server.client(ENFORCER);
    refused(enforcer.authorization().check_access(world::ask(world::allowed())).await);
    server.wait_for_health("readyz", NotServing).await;
    server.wait_for_health("livez", Serving).await;
    let address = server.metrics_address();
    assert_eq!(ask(address, "GET", "/livez").await.0, 200);
    assert_eq!(ask(address, "GET", "/readyz").await.0, 503);
    assert!(metrics(&server).await["aap_audit_lag_seconds"] > 0.0);
    server.faults.release();
    server.wait_for_health("readyz", Serving).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_asked_otherwise_is_refused() {
    let server = start().await;
    let address = server.metrics_address();
    assert_eq!(ask(address, "POST", "/metrics").await.0, 405);
    assert_eq!(ask(address, "GET", "/").await.0, 404);
    // One that says nothing holds up nobody.
    let _silent: Vec<_> = [(); 8].map(|()| std::net::TcpStream::connect(address).unwrap()).into();
    assert_eq!(ask(address, "GET", "/metrics").await.0, 200);
    server.stop().await;
}

#[test]
fn the_documentation_has_the_instruments_that_there_are() {
    let text = include_str!("../../TELEMETRY.md");
    let mut table = String::new();
    for instrument in instruments::ALL {
        let Instrument { name, kind, unit, description, attributes } = instrument;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let unit = if unit.is_empty() { String::new() } else { format!("`{unit}`") };
        let attributes: Vec<_> = attributes.iter().map(|one| format!("`{one}`")).collect();
        let prometheus = prometheus::name_of(instrument);
        writeln!(
            table,
            "| `{name}`<br>`{prometheus}` | {kind} | {unit} | {} | {description} |",
            attributes.join(", ")
        )
        .unwrap();
    }
    let (before, rest) = text.split_once("|---|---|---|---|---|\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let wanted = format!("{before}|---|---|---|---|---|\n{table}\n{after}");
    expect_test::expect_file!["../../TELEMETRY.md"].assert_eq(&wanted);
}
