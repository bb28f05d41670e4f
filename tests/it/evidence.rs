//! Exports of the audit log, and what `aap audit verify` says of them: what was altered in any way is
//! never verified.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use aap::api::pb;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::{
    ADMIN, AUDITOR, ENFORCER, OTHER_ENFORCER, TestServer,
    clients::token_of,
    exports::{another_history, with_lines},
    processes,
    world::{self, THERE, ask_all},
};

/// The program; it verifies with exit code 0, finds something altered with 1, and can't tell with 2.
fn aap(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
    command.arg("audit").args(arguments).stdin(Stdio::null()).env_clear();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output { status, stdout, stderr } =
        processes::spawn(&mut command).unwrap().wait_with_output().unwrap();
    let told = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code(), told)
}

/// A log of two accounts, exported in every way, and what was kept of it elsewhere.
struct World {
    dir: tempfile::TempDir,
    data_dir: PathBuf,
    key: String,
    server: TestServer,
}

impl World {
    async fn start() -> Self {
        let server = TestServer::start().await;
        world::enter_page_example(&server.client(ADMIN)).await;
        let mut last = 0;
        for (caller, parent) in [(ENFORCER, None), (OTHER_ENFORCER, Some(THERE)), (ENFORCER, None)]
        {
            let mut request = ask_all(vec![world::allowed(); 300]);
            request.parent = parent.map_or(request.parent, ToOwned::to_owned);
            let mut authorization = server.client(caller).authorization();
            let answers = authorization.batch_check_access(request).await.unwrap().into_inner();
            last = answers.results.last().unwrap().receipt.as_ref().unwrap().sequence;
        }
        let request = pb::GetCheckpointRequest { size: 0, at_least_size: last };
        let checkpoint = server.client(AUDITOR).audit().get_checkpoint(request).await.unwrap();
        let (dir, data_dir) = (tempfile::tempdir().unwrap(), server.data_dir());
        let key = checkpoint.get_ref().verifier_key.clone();
        let world = Self { dir, data_dir, key, server };
        fs::write(world.path("kept"), &checkpoint.get_ref().note).unwrap();
        world
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn export(&self, name: &str, more: &[&str]) -> String {
        let (to, data_dir) = (self.path(name), self.data_dir.to_str().unwrap());
        let common = ["export", "--data-dir", data_dir, "--to", &to];
        let (code, told) = aap(&[&common, more].concat());
        assert_eq!(code, Some(0), "{told}");
        to
    }

    fn verify(&self, export: &str, more: &[&str]) -> (Option<i32>, String) {
        aap(&[&["verify", "--export", export, "--public-key", &self.key], more].concat())
    }
}

#[tokio::test]
async fn every_export_is_verified_by_the_key_alone_and_what_was_kept_elsewhere() {
    let world = World::start().await;
    let kept = world.path("kept");
    let ways: [(&str, &[&str], &str); 5] = [
        ("all.json", &[], "all 9"),
        ("all.bin", &["--form", "binary"], "all 9"),
        ("acme.json", &["--account", "acme"], "the chain of `acme` is whole"),
        ("other.bin", &["--account", "other", "--form", "binary"], "300 records are among them"),
        ("some.json", &["--from", "100", "--through", "120"], "21 records are among them"),
    ];
    for (name, more, expected) in ways {
        let export = world.export(name, more);
        for against in [&[][..], &["--against", &kept]] {
            let (code, told) = world.verify(&export, against);
            assert_eq!(code, Some(0), "{name}: {told}");
            assert!(told.contains(expected) && told.ends_with("verified\n"), "{name}: {told}");
        }
    }
    let data_dir = world.data_dir.to_str().unwrap();
    let (code, told) = aap(&["export", "--data-dir", data_dir, "--to", &kept]);
    assert_eq!(code, Some(5), "what is there is never written over: {told}");
    let (code, told) =
        aap(&["verify", "--data-dir", data_dir, "--public-key", &world.key, "--against", &kept]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("the log continues the checkpoint"), "{told}");
    // A key in a file does too; another key doesn't.
    let key_file = world.path("key");
    fs::write(&key_file, format!("{}\n", world.key)).unwrap();
    let (code, told) =
        aap(&["verify", "--export", &world.path("all.bin"), "--public-key", &key_file]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = aap(&["checkpoint", "--data-dir", data_dir]);
    assert_eq!(code, Some(0));
    assert!(told.starts_with("aap.test/audit/"), "{told}");
    world.server.stop().await;
}

#[tokio::test]
async fn a_byte_of_an_export_that_is_not_what_it_was_is_noticed() {
    let world = World::start().await;
    for (name, more) in [
        ("all.bin", &["--form", "binary"][..]),
        ("acme.bin", &["--form", "binary", "--account", "acme"]),
    ] {
        let export = world.export(name, more);
        let whole = fs::read(&export).unwrap();
        let altered = world.path("altered");
        for turn in 0..60 {
            let mut bytes = whole.clone();
            let place = turn * whole.len() / 60 + turn % 7;
            bytes[place] ^= 1 << (turn % 8);
            fs::write(&altered, &bytes).unwrap();
            let (code, told) = world.verify(&altered, &[]);
            assert!(matches!(code, Some(1 | 2)), "{name} byte {place}: {code:?} {told}");
            fs::write(&altered, &whole[..place]).unwrap();
            let (code, told) = world.verify(&altered, &[]);
            assert!(matches!(code, Some(1 | 2)), "{name} to byte {place}: {code:?} {told}");
        }
    }
    world.server.stop().await;
}

type Change = fn(&mut Vec<Value>);

#[tokio::test]
async fn what_was_altered_removed_or_put_in_is_told() {
    let world = World::start().await;
    let (all, acme) = (world.export("all", &[]), world.export("acme", &["--account", "acme"]));
    let altered = world.path("altered");
    let another: Change = |lines| {
        let bytes = lines[300]["serialized_record"].as_str().unwrap();
        let mut bytes = STANDARD.decode(bytes).unwrap();
        let place = bytes.windows(5).position(|window| window == b"other" || window == b"GetSe");
        bytes[place.unwrap()] = b'X';
        lines[300]["serialized_record"] = STANDARD.encode(bytes).into();
    };
    let damaged: Change = |lines| {
        let line = lines[300].as_object_mut().unwrap();
        line.remove("serialized_record");
        line["leaf_hash"] = STANDARD.encode([1; 32]).into();
    };
    let removed: Change = |lines| drop(lines.remove(300));
    let last_removed: Change = |lines| drop(lines.remove(lines.len() - 2));
    let twice: Change = |lines| lines.insert(300, lines[300].clone());
    let swapped: Change = |lines| lines.swap(300, 301);
    for change in [another, damaged, removed, last_removed, twice, swapped] {
        with_lines((&all, "records"), &altered, change);
        let (code, told) = world.verify(&altered, &[]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("ALTERED: "), "{told}");
    }
    // Of an account, only what is missing at the end can't be known.
    for change in [another, damaged, removed, twice, swapped] {
        with_lines((&acme, "records"), &altered, change);
        let (code, told) = world.verify(&altered, &[]);
        assert_eq!(code, Some(1), "{told}");
    }
    world.server.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_that_was_cut_back_or_signed_anew_contradicts_what_was_kept() {
    let world = World::start().await;
    let (kept, newer_kept) = (world.path("kept"), world.path("newer"));
    let World { dir, data_dir, key, server } = world;
    let setup = server.stop().await;
    let older = dir.path().join("older");
    copy(&data_dir, &older);
    let server = setup.start().await;
    world::allow(&server.client(ENFORCER)).await;
    let _kept_while_looked_at = server.stop().await;
    let data_dir = data_dir.to_str().unwrap().to_owned();
    let (_, newer) = aap(&["checkpoint", "--data-dir", &data_dir]);
    fs::write(&newer_kept, &newer).unwrap();
    let against = |data_dir: &str, kept: &str| {
        aap(&["verify", "--data-dir", data_dir, "--public-key", &key, "--against", kept])
    };
    assert_eq!(against(&data_dir, &newer_kept).0, Some(0));
    let older = older.to_str().unwrap();
    assert_eq!(against(older, &kept).0, Some(0));
    let (code, told) = against(older, &newer_kept);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("was cut back"), "{told}");
    // Signed by who has no key.
    fs::write(&newer_kept, newer.replacen("\n9", "\n8", 1)).unwrap();
    let (code, told) = against(&data_dir, &newer_kept);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("isn't signed by the key"), "{told}");
    for nothing in ["nowhere", "."] {
        let (code, told) = against(nothing, &kept);
        assert_eq!(code, Some(2), "{told}");
    }
    let (code, told) = aap(&["verify", "--export", &kept, "--public-key", &key]);
    assert_eq!(code, Some(2), "{told}");
    let (code, told) = aap(&["verify", "--export", &kept, "--public-key", "key"]);
    assert_eq!(code, Some(2), "{told}");
}

/// Asks a server, as somebody with a token in a file.
fn ask(server: &TestServer, key: &str, token: &str, more: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", server.address());
    let common = ["verify", "--server", &url, "--token-file", token, "--public-key", key];
    aap(&[&common, more].concat())
}

/// Has something recorded, and waits until a checkpoint covers it.
async fn grow(server: &TestServer) {
    let last = world::allow(&server.client(ENFORCER)).await.sequence;
    let request = pb::GetCheckpointRequest { size: 0, at_least_size: last };
    server.client(AUDITOR).audit().get_checkpoint(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_not_say_is_not_verified() {
    let world = World::start().await;
    let (kept, token, other_token) = (world.path("kept"), world.path("token"), world.path("other"));
    fs::write(&token, token_of(AUDITOR)).unwrap();
    fs::write(&other_token, token_of(ENFORCER)).unwrap();
    let World { key, server, .. } = &world;
    for (token, against, expected) in
        [(&other_token, kept.as_str(), "role"), (&token, "nowhere", "can't read `nowhere`")]
    {
        let (code, told) = ask(server, key, token, &["--against", against]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    let (code, told) = aap(&["verify", "--public-key", key, "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(2), "{told}");
    let (code, told) = aap(&["checkpoint", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(6), "{told}");
    let url = format!("http://{}", server.address());
    let (code, told) = aap(&["checkpoint", "--server", &url, "--token-file", &other_token]);
    assert_eq!(code, Some(3), "{told}");
    let (code, told) = aap(&["checkpoint", "--server", &url, "--token-file", &token]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("aap.test/audit/"), "{told}");
    world.server.stop().await;
}

/// A server's log is compared over the network, by who has no data directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_for_proofs_that_its_log_continues_what_was_kept() {
    let world = World::start().await;
    let (kept, newer_kept) = (world.path("kept"), world.path("newer"));
    let token = world.path("token");
    fs::write(&token, token_of(AUDITOR)).unwrap();
    let World { dir, data_dir, key, server } = world;
    let setup = server.stop().await;
    let older = dir.path().join("older");
    copy(&data_dir, &older);
    let server = setup.start().await;
    world::allow(&server.client(ENFORCER)).await;

    let (code, told) = ask(&server, &key, &token, &["--against", &kept, "--keep", &newer_kept]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("the log continues the checkpoint over "), "{told}");
    assert!(told.ends_with("verified\n"), "{told}");
    // What it kept is compared with the next time, and replaced by what is there then.
    let before = fs::read_to_string(&newer_kept).unwrap();
    grow(&server).await;
    let (code, told) = ask(
        &server,
        &key,
        &token,
        &["--against", &kept, "--against", &newer_kept, "--keep", &newer_kept],
    );
    assert_eq!(code, Some(0), "{told}");
    assert_ne!(fs::read_to_string(&newer_kept).unwrap(), before);
    // The same log from an older copy, which grew again in another way.
    let setup = server.stop().await;
    fs::remove_dir_all(&data_dir).unwrap();
    copy(&older, &data_dir);
    let server = setup.start().await;
    let (code, told) = ask(&server, &key, &token, &["--against", &kept]);
    assert_eq!(code, Some(0), "{told}");
    let newest = fs::read(&newer_kept).unwrap();
    for _ in 0..2 {
        let against = ["--against", newer_kept.as_str(), "--keep", newer_kept.as_str()];
        let (code, told) = ask(&server, &key, &token, &against);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("ALTERED: "), "{told}");
        assert_eq!(fs::read(&newer_kept).unwrap(), newest, "what convicts it is kept");
        for _ in 0..20 {
            world::allow(&server.client(ENFORCER)).await;
        }
        grow(&server).await;
    }
    server.stop().await;
}

/// Two checkpoints that were signed over as many records convict who signed them, whatever the
/// export is of.
#[tokio::test]
async fn another_history_by_the_same_key_is_told_of_every_export() {
    let world = World::start().await;
    let note = fs::read_to_string(world.path("kept")).unwrap();
    let mut lines = note.lines();
    let (origin, size) = (lines.next().unwrap(), lines.next().unwrap().parse().unwrap());
    let (other, kept) = (world.path("another"), world.path("kept"));
    for (name, more) in [
        ("all", &[][..]),
        ("acme", &["--account", "acme"]),
        ("some", &["--from", "100", "--through", "120"]),
    ] {
        let export = world.export(name, more);
        for size in [size, size + 100] {
            fs::write(&other, another_history(&world.data_dir, origin, size)).unwrap();
            let (code, told) = world.verify(&export, &["--against", &other]);
            assert_eq!(code, Some(1), "{name} {size}: {told}");
        }
        fs::write(&other, another_history(&world.data_dir, origin, size)).unwrap();
        let (code, told) = world.verify(&export, &["--against", &kept, "--against", &other]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("both over"), "{told}");
    }
    // What would be replaced by the server's is looked at first.
    let token = world.path("token");
    fs::write(&token, token_of(AUDITOR)).unwrap();
    let (code, told) = ask(&world.server, &world.key, &token, &["--keep", &other]);
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(fs::read_to_string(&other).unwrap(), another_history(&world.data_dir, origin, size));
    world.server.stop().await;
}
