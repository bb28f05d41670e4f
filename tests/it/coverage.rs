//! Every method of the descriptor is closed to strangers and to the wrong roles, and the standard
//! services tell everybody what they should.

use std::{collections::BTreeSet, fmt::Write as _};

use aap::api::{FILE_DESCRIPTOR_SET, pb};
use bytes::Bytes;
use expect_test::expect_file;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, GATEWAY, OPERATOR, Refusal, TestServer, VIEWER,
    clients,
    methods::{METHODS, SOME_LEASE, with_key},
    server::{
        ACCESS_POINTS, AUDIT, AUTHORIZATION, BACKUPS, CHANGES, POLICIES, RAM_ROLES, SESSIONS, WHOLE,
    },
    watching::{self, Watch},
    world,
};

/// What applications call, which are no callers: `sessions.rs` has it.
const OPEN: [&str; 1] = ["/aap.v1.SessionService/CreateSession"];

/// Every method of the API that callers call, in the descriptor's order.
fn described_methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let methods = service.method.iter();
            paths.extend(
                methods.map(|method| {
                    format!("/{}.{}/{}", file.package(), service.name(), method.name())
                }),
            );
        }
    }
    paths.retain(|path| !OPEN.contains(&path.as_str()));
    paths
}

#[test]
fn the_list_of_methods_is_the_descriptors() {
    let listed: BTreeSet<_> = METHODS.iter().map(|method| method.path.to_owned()).collect();
    assert_eq!(listed, described_methods().into_iter().collect());
}

/// A message that is under the lease with this token, if it was under any.
fn with_lease(mut message: Vec<u8>, token: &str) -> Vec<u8> {
    let place = message.windows(SOME_LEASE.len()).position(|part| part == SOME_LEASE.as_bytes());
    if let Some(place) = place {
        message[place..place + token.len()].copy_from_slice(token.as_bytes());
    }
    message
}

#[tokio::test]
async fn every_method_takes_its_example() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let key = world::enter_client_key(&server.client(ADMIN)).await;
    let signed = pb::GetChangeCheckpointRequest { size: 0, at_least_size: 1 };
    let mut changes = server.client(ADMIN).changes();
    let from_size = changes.get_change_checkpoint(signed).await.unwrap().into_inner().size;
    world::enter_cursor(&server.client(AUDITOR)).await;
    let mut lease = String::new();
    for method in METHODS {
        let mut message = with_lease(with_key(method.message(), &key), &lease);
        if method.path.ends_with("/GetChangeConsistencyProof") {
            // Which sizes are signed is a matter of time.
            let request = pb::GetChangeConsistencyProofRequest { from_size, to_size: 0 };
            message = request.encode_to_vec();
        }
        let answered = server.client(method.caller).raw(method.path, message).await;
        let answer = answered.unwrap_or_else(|status| panic!("{}: {status:?}", method.path));
        if method.path.ends_with("ReadAuditCursor") {
            lease = pb::ReadAuditCursorResponse::decode(answer).unwrap().lease_token;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn every_method_refuses_who_has_no_valid_token() {
    let server = TestServer::start().await;
    let stranger = Client::new(server.channel().clone(), "aap_wrong");
    for path in described_methods() {
        let without = Request::new(Bytes::new());
        let answered = clients::raw(server.channel(), &path, without).await;
        Refusal::of(&answered.unwrap_err()).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
        let answered = stranger.raw(&path, Bytes::new()).await;
        Refusal::of(&answered.unwrap_err()).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    }
    server.stop().await;
}

#[tokio::test]
async fn strangers_are_recorded_up_to_a_budget_and_then_counted() {
    let server = TestServer::start().await;
    let stranger = Client::new(server.channel().clone(), "aap_wrong");
    for path in described_methods().iter().cycle().take(100) {
        stranger.raw(path, Bytes::new()).await.unwrap_err();
    }
    // Recorded without waiting, but before this one.
    let sequence = Watch::from_end(&server.client(AUDITOR)).await.through;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(sequence).await;
    let refused: Vec<_> = records.iter().filter_map(watching::refused_call_of).collect();
    assert!((1..100).contains(&refused.len()), "{}", refused.len());
    let of_strangers = records.iter().filter(|one| watching::refused_call_of(one).is_some());
    assert!(of_strangers.clone().all(|one| one.caller.is_empty() && one.account.is_empty()));
    // Auditors of an account don't see them.
    let mut own = Watch::from(&server.client(ACME_AUDITOR), 1).await;
    assert!(own.all_through(sequence).await.is_empty());
    drop(own);
    server.stop().await;
}

/// Whether a caller's role is enough for a method.
async fn is_let_in(server: &TestServer, caller: &str, path: &str) -> bool {
    match server.client(caller).raw(path, Bytes::new()).await {
        Ok(_) => true,
        Err(status) => {
            let refusal = Refusal::of(&status);
            if refusal.code == Code::PermissionDenied {
                refusal.is(Code::PermissionDenied, "ROLE_NOT_SUFFICIENT");
                refusal.has("method", path).has("caller", caller);
                return false;
            }
            assert_ne!(refusal.code, Code::Unauthenticated);
            true
        }
    }
}

#[tokio::test]
async fn every_method_lets_in_exactly_its_role() {
    let server = TestServer::start().await;
    let roles = [
        ("admin", ADMIN),
        ("viewer", VIEWER),
        ("enforcer", ENFORCER),
        ("enforcer, not asserting", GATEWAY),
        ("auditor", AUDITOR),
        ("operator", OPERATOR),
    ];
    let mut page = "Who may call what: \u{2714} lets in, \u{2718} refuses.\n".to_owned();
    let header = roles.map(|(role, _)| role).join("  ");
    writeln!(page, "\n{:<50}  {header}", "method").unwrap();
    for path in described_methods() {
        let mut line = format!("{path:<50}");
        for (role, caller) in roles {
            let sign =
                if is_let_in(&server, caller, &path).await { '\u{2714}' } else { '\u{2718}' };
            write!(line, "  {sign:<width$}", width = role.len()).unwrap();
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
    expect_file!["../snapshots/permissions.txt"].assert_eq(&page);
    server.stop().await;
}

/// What `grpc.reflection` answers, by either of its versions.
macro_rules! reflection {
    ($version:ident, $server:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest as Asked,
            server_reflection_response::MessageResponse as Answered,
        };
        let ask = |message_request| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message_request),
        };
        let questions = [
            ask(Asked::ListServices(String::new())),
            ask(Asked::FileContainingSymbol("aap.v1.AuthorizationService".to_owned())),
        ];
        let mut client = ServerReflectionClient::new($server.channel().clone());
        let answers = client.server_reflection_info(tokio_stream::iter(questions)).await;
        let mut answers = answers.unwrap().into_inner();
        let (mut services, mut files) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.message().await.unwrap() {
            match answer.message_response.unwrap() {
                Answered::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|service| service.name));
                }
                Answered::FileDescriptorResponse(found) => {
                    files.extend(found.file_descriptor_proto)
                }
                other => panic!("{other:?}"),
            }
        }
        (services, files)
    }};
}

#[tokio::test]
async fn reflection_tells_everybody_all_services_with_their_comments() {
    let server = TestServer::start().await;
    for (services, files) in [reflection!(v1, server), reflection!(v1alpha, server)] {
        let services: BTreeSet<_> = services.iter().map(String::as_str).collect();
        let own =
            [ACCESS_POINTS, POLICIES, RAM_ROLES, CHANGES, AUTHORIZATION, SESSIONS, AUDIT, BACKUPS];
        for service in own.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(services.contains(service), "{service} is not in {services:?}");
        }
        let file = files.iter().map(|bytes| FileDescriptorProto::decode(&bytes[..]).unwrap());
        let file = file.into_iter().find(|file| file.name().contains("authorization")).unwrap();
        let comments = file.source_code_info.unwrap().location;
        let comment = "Decides whether an application may do something";
        assert!(
            comments.iter().any(|place| place.leading_comments().contains(comment)),
            "the service's comment is not reflected"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn health_is_told_for_each_service_and_for_the_whole() {
    let server = TestServer::start().await;
    let services =
        [ACCESS_POINTS, POLICIES, RAM_ROLES, CHANGES, AUTHORIZATION, SESSIONS, AUDIT, BACKUPS];
    for service in [WHOLE].into_iter().chain(services) {
        server.wait_for_health(service, ServingStatus::Serving).await;
        assert_eq!(server.health(service).await, ServingStatus::Serving as i32, "{service}");
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().clone());
    let service = "aap.v1.Nothing".to_owned();
    let unknown = health.check(tonic_health::pb::HealthCheckRequest { service }).await;
    assert_eq!(unknown.map_err(|status: Status| status.code()).unwrap_err(), Code::NotFound);
    server.stop().await;
}
