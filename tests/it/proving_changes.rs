//! Evidence of the journal: every change is proved in a signed checkpoint, by the bytes that are stored
//! and the public key alone, across restarts, and for nobody who may not see it; and what was altered
//! is told.

use std::{fs, path::Path, process::Command};

use aap::{
    api::pb,
    audit::tree::{
        hash,
        note::{Statement, VerifierKey},
    },
    server::ServeError,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tonic::Code;

use crate::support::{
    ADMIN, Client, OTHER_ADMIN, Setup, TestServer, VIEWER,
    clients::token_of,
    exports::{another_history, with_lines},
    following::Changes,
    processes, refused,
    world::{self, THERE},
};

const ACME: &str = "accounts/acme";

async fn checkpoint_covering(viewer: &Client, revision: u64) -> pb::ChangeCheckpoint {
    let request = pb::GetChangeCheckpointRequest { size: 0, at_least_size: revision };
    viewer.changes().get_change_checkpoint(request).await.unwrap().into_inner()
}

async fn inclusion(
    viewer: &Client,
    revision: u64,
    checkpoint_size: u64,
) -> pb::ChangeInclusionProof {
    let request = pb::GetChangeInclusionProofRequest { revision, checkpoint_size };
    viewer.changes().get_change_inclusion_proof(request).await.unwrap().into_inner()
}

async fn consistency(viewer: &Client, from_size: u64, to_size: u64) -> pb::ChangeConsistencyProof {
    let request = pb::GetChangeConsistencyProofRequest { from_size, to_size };
    viewer.changes().get_change_consistency_proof(request).await.unwrap().into_inner()
}

/// The stored bytes of an account's changes, with their revisions, the first one first.
async fn stored(viewer: &Client, parent: &str) -> Vec<(u64, Vec<u8>)> {
    let form = pb::ChangeForm::Serialized.into();
    let (mut stored, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListChangesRequest {
            parent: parent.into(),
            page_size: 7,
            page_token,
            resource: String::new(),
            form,
        };
        let page = viewer.changes().list_changes(request).await.unwrap().into_inner();
        for change in page.changes {
            assert!(change.change.is_none() && change.actor.is_empty(), "nothing but the bytes");
            stored.push((change.revision, change.serialized_event));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            stored.reverse();
            return stored;
        }
    }
}

fn hashes(sent: &[Vec<u8>]) -> Vec<hash::Hash> {
    sent.iter().map(|one| one.as_slice().try_into().unwrap()).collect()
}

/// What a checkpoint states, by its note alone.
#[track_caller]
fn opened(checkpoint: &pb::ChangeCheckpoint, key: &str) -> Statement {
    let statement = VerifierKey::parse(key).unwrap().open(&checkpoint.note).unwrap();
    assert_eq!((statement.size, &statement.root[..]), (checkpoint.size, &*checkpoint.root_hash));
    statement
}

#[track_caller]
fn assert_included(proof: &pb::ChangeInclusionProof, bytes: &[u8], key: &str) {
    let statement = opened(proof.checkpoint.as_ref().unwrap(), key);
    let leaf = hash::leaf(bytes);
    assert_eq!((&*proof.leaf_hash, proof.leaf_index), (&leaf[..], proof.revision - 1));
    let path = hashes(&proof.hashes);
    let root = hash::root_by_inclusion(proof.leaf_index, statement.size, &leaf, &path);
    assert_eq!(root, Some(statement.root));
}

#[track_caller]
fn assert_consistent(proof: &pb::ChangeConsistencyProof, from: &pb::ChangeCheckpoint, key: &str) {
    assert_eq!(proof.from.as_ref(), Some(from));
    let (from, to) = (opened(from, key), opened(proof.to.as_ref().unwrap(), key));
    let path = hashes(&proof.hashes);
    assert!(hash::is_consistent((from.size, &from.root), (to.size, &to.root), &path));
}

/// Makes so many network rules in an account.
async fn make(admin: &Client, parent: &str, (from, to): (usize, usize)) {
    for number in from..to {
        let addresses = ["10.0.0.0/8"];
        let kind = world::vpc(world::VPC);
        let mut rule = world::new_rule(&format!("n{number}"), kind, &addresses);
        rule.parent = parent.into();
        admin.policies().create_network_rule(rule).await.unwrap();
    }
}

#[tokio::test]
async fn every_change_is_proved_and_every_checkpoint_continues_the_ones_before() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let first = checkpoint_covering(&admin, 4).await;
    let key = first.verifier_key.clone();
    make(&admin, world::HERE, (0, 40)).await;
    let second = checkpoint_covering(&admin, 44).await;
    let server = server.restart().await;
    let admin = server.client(ADMIN);
    make(&admin, world::HERE, (40, 60)).await;
    let last = checkpoint_covering(&server.client(VIEWER), 64).await;
    assert_eq!((last.size, &last.verifier_key), (64, &key));
    let origin = opened(&last, &key).origin;
    assert!(origin.starts_with("aap.test/audit/") && origin.ends_with("/journal"), "{origin}");

    let stored = stored(&server.client(VIEWER), ACME).await;
    assert_eq!(stored.len(), 64);
    for (revision, bytes) in &stored {
        assert_included(&inclusion(&admin, *revision, 0).await, bytes, &key);
        if *revision <= second.size {
            let proof = inclusion(&admin, *revision, second.size).await;
            assert_included(&proof, bytes, &key);
            assert_eq!(proof.checkpoint.as_ref(), Some(&second));
        }
    }
    for from in [&first, &second, &last] {
        assert_consistent(&consistency(&admin, from.size, last.size).await, from, &key);
        assert_consistent(&consistency(&admin, from.size, 0).await, from, &key);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_directory_from_before_gets_a_tree_of_what_is_there_and_a_broken_one_is_made_anew() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    make(&server.client(ADMIN), world::HERE, (0, 30)).await;
    let whole = checkpoint_covering(&server.client(ADMIN), 34).await;
    let setup = server.stop().await;
    let folder = setup.data_dir().join("journal-tree");
    // A snapshot takes the place of the first events; the tree is of all of them.
    for broken in ["leaves-00000000000000000000", "level-08", ""] {
        match broken {
            "" => fs::remove_dir_all(&folder).unwrap(),
            file => fs::remove_file(folder.join(file)).unwrap(),
        }
        let server = setup.clone().start().await;
        let admin = server.client(ADMIN);
        let again = checkpoint_covering(&admin, 34).await;
        assert_eq!((again.size, &again.root_hash), (34, &whole.root_hash), "without `{broken}`");
        let (revision, bytes) = stored(&admin, ACME).await.swap_remove(11);
        assert_included(&inclusion(&admin, revision, 0).await, &bytes, &whole.verifier_key);
        server.stop().await;
    }
    // A journal that isn't what was signed is refused: as if others had been written in their place.
    let other = TestServer::start().await;
    make(&other.client(ADMIN), world::HERE, (0, 35)).await;
    let other = other.stop().await;
    fs::remove_dir_all(setup.data_dir().join("journal")).unwrap();
    copy(&other.data_dir().join("journal"), &setup.data_dir().join("journal"));
    fs::remove_file(setup.data_dir().join("snapshot")).unwrap();
    let error = tokio::task::spawn_blocking(|| setup.fail_to_start()).await.unwrap();
    assert!(matches!(error, ServeError::JournalTree(_)), "{error:?}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_change_is_proved_to_who_may_see_it_and_a_checkpoint_to_everybody_who_may_see_some() {
    let server = TestServer::start().await;
    let (admin, other) = (server.client(ADMIN), server.client(OTHER_ADMIN));
    world::enter_page_example(&admin).await;
    make(&other, THERE, (0, 3)).await;
    let last = checkpoint_covering(&other, 7).await;
    assert_eq!(checkpoint_covering(&admin, 7).await, last);
    let theirs = stored(&other, "accounts/other").await;
    assert_eq!(theirs.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [5, 6, 7]);
    for (revision, bytes) in &theirs {
        assert_included(&inclusion(&other, *revision, 7).await, bytes, &last.verifier_key);
    }
    for (caller, revision) in [(&admin, 5), (&other, 1), (&other, 8), (&other, 1_000)] {
        for checkpoint_size in [0, 1_000_000] {
            let request = pb::GetChangeInclusionProofRequest { revision, checkpoint_size };
            let refusal = refused(caller.changes().get_change_inclusion_proof(request).await);
            refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_carries_the_stored_bytes_of_what_it_would_show() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    make(&admin, world::HERE, (0, 20)).await;
    let shown = Changes::from(&admin, ACME, 1).await.all_through(24).await;
    let request = pb::WatchChangesRequest {
        parent: ACME.into(),
        start: Some(pb::watch_changes_request::Start::FromRevision(1)),
        form: pb::ChangeForm::Serialized.into(),
    };
    let mut messages = admin.changes().watch_changes(request).await.unwrap().into_inner();
    let mut carried = Vec::new();
    while carried.len() < 24 {
        carried.extend(messages.message().await.unwrap().unwrap().changes);
    }
    let listed = stored(&admin, ACME).await;
    for ((shown, carried), (revision, bytes)) in shown.iter().zip(&carried).zip(&listed) {
        assert_eq!((shown.revision, carried.revision), (*revision, *revision));
        assert!(shown.serialized_event.is_empty());
        assert_eq!(&carried.serialized_event, bytes);
    }
    let wrong = pb::ListChangesRequest { parent: ACME.into(), form: 7, ..Default::default() };
    let refusal = refused(admin.changes().list_changes(wrong).await);
    assert_eq!((refusal.code, &*refusal.fields[0].0), (Code::InvalidArgument, "form"));
    server.stop().await;
}

/// The program, which asks a server; how it ended, and what it said.
fn aap(server: &TestServer, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
    command
        .arg("changes")
        .args(arguments)
        .env_clear()
        .env("AAP_SERVER", format!("http://{}", server.address()))
        .env("AAP_TOKEN", token_of(ADMIN))
        .env("AAP_ACCOUNT", "acme");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let output = processes::spawn(&mut command).unwrap().wait_with_output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

type Change = fn(&mut Vec<Value>);

/// Exports by their names, and what is done to them.
fn alterations() -> [(&'static str, Change); 7] {
    [
        ("all", |lines| drop(lines.remove(5))),
        ("all", |lines| lines.swap(3, 4)),
        ("all", |lines| lines[4]["change"]["actor"] = "another".into()),
        ("acme", |lines| lines[0]["scope"]["account"] = "other".into()),
        ("acme", |lines| lines[2]["inclusion"] = lines[3]["inclusion"].clone()),
        ("acme", |lines| {
            let bytes = STANDARD.decode(lines[2]["serialized_event"].as_str().unwrap()).unwrap();
            let bytes = [&bytes[..], &[0xfa, 0x7f, 0]].concat();
            lines[2]["serialized_event"] = STANDARD.encode(bytes).into();
        }),
        ("all", |lines| {
            lines[0]["checkpoint"] =
                lines[0]["checkpoint"].as_str().unwrap().replace("\n13\n", "\n12\n").into();
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_verified_by_the_key_alone_and_what_was_altered_is_told() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let kept = checkpoint_covering(&server.client(ADMIN), 4).await;
    make(&server.client(ADMIN), world::HERE, (0, 9)).await;
    checkpoint_covering(&server.client(ADMIN), 13).await;
    let (dir, data_dir) = (tempfile::tempdir().unwrap(), server.data_dir());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("kept"), &kept.note).unwrap();
    let (code, key) = aap(&server, &["key", "--data-dir", data_dir.to_str().unwrap()]);
    assert_eq!((code, key.trim()), (Some(0), &*kept.verifier_key));
    let (code, note) = aap(&server, &["checkpoint", "--at-least", "13"]);
    assert_eq!(code, Some(0), "{note}");
    assert!(note.contains("/journal\n13\n"), "{note}");
    let key = key.trim();
    for (name, more) in [("all", &["--all-accounts"][..]), ("acme", &[])] {
        let (code, told) = aap(&server, &[&["export", "--to", &path(name)], more].concat());
        assert_eq!(code, Some(0), "{told}");
        let (code, told) = aap(
            &server,
            &["verify", "--export", &path(name), "--public-key", key, "--against", &path("kept")],
        );
        assert_eq!(code, Some(0), "{name}: {told}");
        assert!(told.contains("13 changes") && told.ends_with("verified\n"), "{told}");
        let says_what_it_lacks = told.contains("only an export of all accounts shows that none is");
        assert_eq!(says_what_it_lacks, name == "acme", "{told}");
    }
    for (turn, (name, change)) in alterations().into_iter().enumerate() {
        with_lines((&path(name), "changes"), &path("altered"), change);
        let (code, told) =
            aap(&server, &["verify", "--export", &path("altered"), "--public-key", key]);
        assert_eq!(code, Some(1), "{turn}: {told}");
        assert!(told.contains("ALTERED: "), "{turn}: {told}");
        let is_of_another = told.contains("change 1 is another account's");
        assert_eq!(is_of_another, turn == 3, "{turn}: {told}");
    }
    let origin = kept.note.lines().next().unwrap();
    for (name, size) in [("all", 4), ("all", 13), ("acme", 13), ("acme", 14)] {
        fs::write(path("other"), another_history(&data_dir, origin, size)).unwrap();
        let verify = ["verify", "--export", &path(name), "--public-key", key];
        let against = ["--against", &path("kept"), "--against", &path("other")];
        let (code, told) = aap(&server, &[&verify[..], &against].concat());
        assert_eq!(code, Some(1), "{name} {size}: {told}");
        assert!(told.contains("ALTERED: "), "{name} {size}: {told}");
    }
    let text = fs::read_to_string(path("all")).unwrap();
    fs::write(path("cut"), text.rsplit_once("{\"changes\"").unwrap().0).unwrap();
    let (code, told) = aap(&server, &["verify", "--export", &path("cut"), "--public-key", key]);
    assert_eq!(code, Some(2), "{told}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_failed_leaves_nothing_and_none_is_written_over_a_file() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    // Another account's changes are nobody's to export as a whole.
    make(&server.client(OTHER_ADMIN), THERE, (0, 1)).await;
    checkpoint_covering(&server.client(ADMIN), 5).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export").to_str().unwrap().to_owned();
    let (code, told) = aap(&server, &["export", "--all-accounts", "--to", &path]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("only 4 of 5 changes"), "{told}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let (code, told) = aap(&server, &["export", "--to", &path]);
    assert_eq!(code, Some(0), "{told}");
    let exported = fs::read(&path).unwrap();
    let (code, told) = aap(&server, &["export", "--to", &path]);
    assert_eq!(code, Some(5), "{told}");
    assert_eq!(fs::read(&path).unwrap(), exported);
    server.stop().await;
}

#[tokio::test]
async fn a_journals_tree_that_rots_is_found() {
    let setup = Setup { tells_metrics: true, ..Setup::new() };
    let server = setup.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let setup = server.stop().await;
    let leaves = setup.data_dir().join("journal-tree/leaves-00000000000000000000");
    let mut bytes = fs::read(&leaves).unwrap();
    bytes[36 + 3] ^= 1;
    fs::write(&leaves, bytes).unwrap();
    fs::remove_file(setup.data_dir().join("scrub")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
    command.args(["store", "check", "--data-dir", setup.data_dir().to_str().unwrap()]).env_clear();
    command.stdout(std::process::Stdio::piped());
    let output = processes::spawn(&mut command).unwrap().wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let named = "`journal-tree/leaves-00000000000000000000` is damaged at byte 36";
    assert!(output.status.code() == Some(1) && told.contains(named), "{told}");
    let server = setup.start().await;
    let damaged = "aap_scrub_damaged{aap_log=\"journal\"}";
    while crate::telemetry::metrics(&server).await.get(damaged) != Some(&1.0) {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}
