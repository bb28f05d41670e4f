//! Client keys over the API: given away once, bound by a request, and gone with what they belong to.

use std::{collections::BTreeSet, fs, path::Path};

use aap::api::pb::{self, change::Change as Told};
use tonic::Code;

use crate::support::{
    ADMIN, Client, Refusal, TestServer, VIEWER,
    following::Changes,
    refused,
    world::{self, access_point_name, import_client_key, issue_client_key},
};

const PASSWORD: &str = "correct-horse-7";

/// A server with an access point that has no client keys yet.
async fn start() -> TestServer {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    server.client(ADMIN).access_points().create_access_point(keyed).await.unwrap();
    server
}

async fn issue(admin: &Client, request: pb::IssueClientKeyRequest) -> pb::IssueClientKeyResponse {
    admin.access_points().issue_client_key(request).await.unwrap().into_inner()
}

async fn list(client: &Client) -> Vec<pb::ClientKey> {
    let parent = access_point_name("keyed");
    let request = pb::ListClientKeysRequest { parent, ..Default::default() };
    client.access_points().list_client_keys(request).await.unwrap().into_inner().client_keys
}

#[tokio::test]
async fn a_key_is_given_away_with_all_that_its_application_needs() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let issued = issue(&admin, issue_client_key("keyed")).await;
    let key = issued.client_key.clone().unwrap();
    assert_eq!(
        (key.state(), key.origin()),
        (pb::ClientKeyState::Enabled, pb::ClientKeyOrigin::Issued,)
    );
    assert_eq!((key.r#type(), key.bits), (pb::ClientKeyType::EcP256, 256));
    let id = key.name.rsplit('/').next().unwrap();
    let file: serde_json::Value = serde_json::from_str(&issued.client_key_file).unwrap();
    assert_eq!(file["KeyId"], id);
    assert!(id.starts_with("KAAP.") && id.len() == 41, "{id}");
    assert_eq!(issued.password.len(), 32);
    assert!(!issued.pkcs12.is_empty());
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
    let years = seconds(&key.not_after_time) - seconds(&key.not_before_time);
    assert_eq!(years, (5 * 365 + 1) * 24 * 60 * 60);

    let chosen =
        pb::IssueClientKeyRequest { password: PASSWORD.into(), ..issue_client_key("keyed") };
    assert_eq!(issue(&admin, chosen).await.password, "");
    // What is read of it is the same, and has nothing that is secret.
    let listed = list(&server.client(VIEWER)).await;
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&key));
    server.stop().await;
}

#[tokio::test]
async fn what_is_secret_is_answered_once_whatever_is_repeated() {
    let server = start().await;
    let request = pb::IssueClientKeyRequest {
        request_id: "once".into(),
        password: PASSWORD.into(),
        ..issue_client_key("keyed")
    };
    let issued = issue(&server.client(ADMIN), request.clone()).await;
    let name = issued.client_key.unwrap().name;
    let server = server.restart().await;
    let admin = server.client(ADMIN);
    let other_password =
        pb::IssueClientKeyRequest { password: "another-horse-8".into(), ..request.clone() };
    for again in [request.clone(), other_password] {
        let refusal = refused(admin.access_points().issue_client_key(again).await);
        refusal.is(Code::FailedPrecondition, "CLIENT_KEY_ISSUED_BEFORE").has("client_key", &name);
    }
    let other = pb::IssueClientKeyRequest { encoding: 2, ..request };
    let refusal = refused(admin.access_points().issue_client_key(other).await);
    refusal.is(Code::FailedPrecondition, "REQUEST_ID_REUSED");
    assert_eq!(list(&admin).await.len(), 1);

    // What was never here can be answered again.
    let bind = async || admin.access_points().import_client_key(import_client_key("keyed")).await;
    let first = bind().await.unwrap().into_inner();
    assert_eq!(bind().await.unwrap().into_inner(), first);
    server.stop().await;
}

#[tokio::test]
async fn what_is_only_judged_makes_no_key() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let judged = pb::IssueClientKeyRequest { validate_only: true, ..issue_client_key("keyed") };
    let judged = issue(&admin, judged).await;
    let key = judged.client_key.unwrap();
    assert_eq!((judged.client_key_file, judged.pkcs12, judged.password), Default::default());
    assert_eq!((key.name, key.uid, key.public_key_pem), Default::default());
    let judged = pb::ImportClientKeyRequest { validate_only: true, ..import_client_key("keyed") };
    admin.access_points().import_client_key(judged).await.unwrap();
    assert_eq!(list(&admin).await, []);
    server.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_request_is_said_without_its_password() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let wrong = pb::IssueClientKeyRequest {
        algorithm: 9,
        encoding: 9,
        password: "no spaces are taken".into(),
        not_before_time: time(1),
        not_after_time: time(2),
        ..issue_client_key("keyed")
    };
    assert!(!format!("{wrong:?}").contains("spaces"));
    let status = admin.access_points().issue_client_key(wrong).await.unwrap_err();
    assert!(!format!("{status:?}").contains("spaces"), "{status:?}");
    let refusal = Refusal::of(&status);
    let fields: BTreeSet<_> = refusal.fields.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, BTreeSet::from(["algorithm", "encoding", "not_after_time", "password"]));
    for (from, to, field) in [
        (None, time(9_000_000_000), "not_before_time"),
        (time(1), None, "not_after_time"),
        (time(2), time(2), "not_after_time"),
    ] {
        let request = pb::ImportClientKeyRequest {
            not_before_time: from,
            not_after_time: to,
            ..import_client_key("keyed")
        };
        let refusal = refused(admin.access_points().import_client_key(request).await);
        assert_eq!(refusal.fields[0].0, field);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_key_is_disabled_enabled_deleted_and_goes_with_its_access_point() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let mut access_points = admin.access_points();
    let issued = issue(&admin, issue_client_key("keyed")).await.client_key.unwrap();
    let bound = access_points.import_client_key(import_client_key("keyed")).await.unwrap();
    let bound = bound.into_inner();
    assert_eq!(
        (bound.origin(), bound.certificate_pem.as_str()),
        (pb::ClientKeyOrigin::Imported, "",)
    );
    let name = issued.name.clone();
    let disable = pb::DisableClientKeyRequest { name: name.clone(), ..Default::default() };
    let disabled = access_points.disable_client_key(disable).await.unwrap().into_inner();
    assert_eq!(disabled.state(), pb::ClientKeyState::Disabled);
    let stale = pb::EnableClientKeyRequest {
        name: name.clone(),
        etag: issued.etag.clone(),
        ..Default::default()
    };
    let refusal = refused(access_points.enable_client_key(stale).await);
    refusal.is(Code::Aborted, "ETAG_MISMATCH").has("etag", &disabled.etag);
    let enable = pb::EnableClientKeyRequest { name: name.clone(), ..Default::default() };
    let enabled = access_points.enable_client_key(enable).await.unwrap().into_inner();
    assert_eq!(enabled.state(), pb::ClientKeyState::Enabled);
    let delete = pb::DeleteClientKeyRequest { name: name.clone(), ..Default::default() };
    access_points.delete_client_key(delete).await.unwrap();
    let get = pb::GetClientKeyRequest { name: name.clone() };
    let refusal = refused(access_points.get_client_key(get).await);
    refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", &name);

    let server = server.restart().await;
    let admin = server.client(ADMIN);
    assert_eq!(list(&admin).await, [bound]);
    let mut access_points = admin.access_points();
    access_points.delete_access_point(world::delete_access_point("keyed")).await.unwrap();
    access_points
        .create_access_point(world::new_access_point("keyed", &["RAMPolicy"]))
        .await
        .unwrap();
    assert_eq!(list(&admin).await, []);

    let mut watch = Changes::from(&admin, "accounts/acme", 1).await;
    let last = Changes::from_end(&admin, "accounts/acme").await.through;
    let told = watch.all_through(last).await;
    let keys = told.iter().filter_map(|change| match change.change.as_ref()? {
        Told::ClientKeyIssued(_) => Some("issued"),
        Told::ClientKeyImported(_) => Some("imported"),
        Told::ClientKeyDisabled(_) => Some("disabled"),
        Told::ClientKeyEnabled(_) => Some("enabled"),
        Told::ClientKeyDeleted(_) => Some("deleted"),
        _ => None,
    });
    let keys: Vec<_> = keys.collect();
    assert_eq!(keys, ["issued", "imported", "disabled", "enabled", "deleted"]);
    drop(watch);
    server.stop().await;
}

/// Every file below a directory that has some bytes in it.
pub fn files_with(directory: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, wanted));
        } else if fs::read(&path).unwrap().windows(wanted.len()).any(|part| part == wanted) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_the_data_directory() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let made = issue(&admin, issue_client_key("keyed")).await;
    let chosen = pb::IssueClientKeyRequest {
        password: PASSWORD.into(),
        request_id: "secret".into(),
        ..issue_client_key("keyed")
    };
    let chosen = issue(&admin, chosen).await;
    let setup = server.stop().await;
    let directory = setup.data_dir();
    for issued in [&made, &chosen] {
        let key = issued.client_key.as_ref().unwrap();
        // What is kept is found, so what isn't would be.
        let id = key.name.rsplit('/').next().unwrap();
        assert!(!files_with(&directory, id.as_bytes()).is_empty());
        // The last part is the check of integrity, the part before it the encrypted key.
        for place in [issued.pkcs12.len() / 2, issued.pkcs12.len() - 180] {
            let part = &issued.pkcs12[place..place + 24];
            assert_eq!(files_with(&directory, part), Vec::<String>::new());
        }
    }
    for password in [made.password.as_str(), PASSWORD] {
        assert_eq!(files_with(&directory, password.as_bytes()), Vec::<String>::new());
    }
}
