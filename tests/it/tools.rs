//! The tools for what is on disk, run as an operator runs them: check, export and import.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use aap::api::pb;

use crate::support::{ADMIN, AUDITOR, ENFORCER, Setup, TestServer, processes, world};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
    command.args(arguments).stdin(Stdio::null()).env_clear();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output { status, stdout, stderr } =
        processes::spawn(&mut command).unwrap().wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn check(data_dir: &Path) -> (Option<i32>, String, String) {
    run(&["store", "check", "--data-dir", data_dir.to_str().unwrap()])
}

/// A data directory with changes and decisions in it, and no server.
async fn stopped() -> Setup {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let name = world::access_point_name("app");
    let suspend = pb::SuspendAccessPointRequest { name, ..Default::default() };
    world::allow(&server.client(ENFORCER)).await;
    world::enter_cursor(&server.client(AUDITOR)).await;
    admin.access_points().suspend_access_point(suspend).await.unwrap();
    server.stop().await
}

/// Every file below a directory with its bytes, by relative path.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let relative = path.strip_prefix(directory).unwrap().to_owned();
            found.insert(relative, fs::read(&path).unwrap());
        }
    }
    found
}

/// Where a text stands in some bytes.
fn places(bytes: &[u8], text: &str) -> Vec<usize> {
    let windows = bytes.windows(text.len()).enumerate();
    windows.filter(|(_, window)| *window == text.as_bytes()).map(|(place, _)| place).collect()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_check_of_what_is_whole_says_so_and_changes_nothing() {
    let setup = stopped().await;
    let before = files(&setup.data_dir());
    let (code, told, error) = check(&setup.data_dir());
    assert_eq!((code, error.as_str()), (Some(0), ""), "{told}");
    let parts = ["journal    5 events: whole", "cursors    1 audit cursors: whole"];
    for part in parts.into_iter().chain(["snapshot   of event 5: whole", "records 1 to 3"]) {
        assert!(told.contains(part), "{told}");
    }
    assert!(files(&setup.data_dir()) == before, "looking changes nothing");
    let data_dir = setup.data_dir();
    let (code, told, _) =
        run(&["store", "check", "--json", "--data-dir", data_dir.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &report["whole"]), (Some(0), &serde_json::Value::Bool(true)), "{told}");
}

#[tokio::test]
async fn a_check_names_the_event_the_record_and_the_snapshot_that_are_damaged() {
    let setup = stopped().await;
    let (journal, whole) = (setup.data_dir().join("journal/db"), files(&setup.data_dir()));
    let mut named = 0;
    let text = "RAMPolicy";
    for place in places(&whole[Path::new("journal/db")], text) {
        flip(&journal, place);
        let (code, told, error) = check(&setup.data_dir());
        match code {
            // The engine wrote it again elsewhere.
            Some(0) => {}
            Some(1) => {
                assert!(told.contains("event") && told.contains("DAMAGED"), "{told}{error}");
                named += 1;
            }
            other => panic!("{other:?}: {told}{error}"),
        }
        flip(&journal, place);
    }
    assert!(named > 0, "no flip did any harm");

    let segment = setup.data_dir().join("audit/00000000000000000001.seg");
    let record = places(&fs::read(&segment).unwrap(), "GetSecretValue")[0];
    flip(&segment, record);
    let (code, told, _) = check(&setup.data_dir());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("record 2 is damaged"), "{told}");
    flip(&segment, record);

    let snapshot = setup.data_dir().join("snapshot");
    flip(&snapshot, fs::read(&snapshot).unwrap().len() / 2);
    let (code, told, _) = check(&setup.data_dir());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("it is damaged at byte"), "{told}");
}

#[tokio::test]
async fn the_key_that_verifies_checkpoints_is_told_also_while_a_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let key_of = |data_dir: &Path| run(&["audit", "key", "--data-dir", data_dir.to_str().unwrap()]);
    let (code, told, error) = key_of(dir.path());
    assert_eq!((code, told.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("has no `FORMAT` file"), "{error}");
    let server = TestServer::start().await;
    let request = pb::GetCheckpointRequest::default();
    let checkpoint = server.client(AUDITOR).audit().get_checkpoint(request).await.unwrap();
    let (code, told, error) = key_of(&server.data_dir());
    assert_eq!(
        (code, told.trim_end()),
        (Some(0), &*checkpoint.into_inner().verifier_key),
        "{error}"
    );
    let setup = server.stop().await;
    let key = setup.data_dir().join("checkpoint.key");
    let secret = fs::read_to_string(&key).unwrap();
    let start = |setup: Setup| async move {
        let error = tokio::task::spawn_blocking(|| setup.fail_to_start()).await.unwrap();
        format!("{:#}", anyhow::Error::from(error))
    };
    fs::remove_file(&key).unwrap();
    let error = start(setup.clone()).await;
    assert!(error.contains("is missing, but checkpoints were signed with it"), "{error}");
    fs::write(&key, secret.replace("aap.test", "aap.toast")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let error = start(setup.clone()).await;
    assert!(error.contains("its hash is another key's"), "{error}");
    fs::write(&key, secret).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = start(setup.clone()).await;
    assert!(error.contains("has mode 644, which lets others in"), "{error}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    setup.start().await.stop().await;
}

#[tokio::test]
async fn what_can_not_be_looked_at_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let (code, _, error) = check(&nowhere);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.starts_with("error: can't open data directory") && !nowhere.exists(), "{error}");
    let setup = Setup::new();
    let data_dir = setup.data_dir();
    let server = setup.start().await;
    let (code, _, error) = check(&data_dir);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("is in use by process"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn an_export_is_imported_and_exported_again_byte_for_byte() {
    let setup = stopped().await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (data_dir, before) = (setup.data_dir(), files(&setup.data_dir()));
    let data_dir = data_dir.to_str().unwrap();
    let export = |from: &str, to: &str| run(&["export", "--data-dir", from, "--to", to]);
    let (code, told, error) = export(data_dir, &path("one"));
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "exported 4 documents as of revision 5\n"),
        "{error}"
    );
    assert!(files(&setup.data_dir()) == before, "an export changes nothing");
    let (code, told, error) = run(&["import", "--from", &path("one"), "--data-dir", &path("data")]);
    assert_eq!((code, told.as_str()), (Some(0), "imported 4 documents as 5 changes\n"), "{error}");
    assert_eq!(export(&path("data"), &path("two")).0, Some(0));
    let exported = files(&dir.path().join("one"));
    assert!(files(&dir.path().join("two")) == exported);
    let app = PathBuf::from(format!("{}.json", world::access_point_name("app")));
    let text = String::from_utf8(exported[&app].clone()).unwrap();
    assert!(text.contains("\"ACCESS_POINT_STATE_SUSPENDED\"") && !text.contains("uid"), "{text}");

    // Neither writes over what is there.
    let (code, _, error) = run(&["import", "--from", &path("one"), "--data-dir", &path("data")]);
    assert_eq!(code, Some(1));
    assert!(error.contains("is not empty; name an empty or new directory"), "{error}");
    let (code, _, error) = export(data_dir, &path("two"));
    assert_eq!(code, Some(1));
    assert!(error.contains("is there already; write elsewhere, or add `--replace`"), "{error}");
    assert_eq!(check(&dir.path().join("data")).0, Some(0));

    // What is wrong is said with its place, and nothing is made.
    fs::write(dir.path().join("one").join(&app), text.replace("RAMPolicy", "Other")).unwrap();
    let (code, _, error) = run(&["import", "--from", &path("one"), "--data-dir", &path("new")]);
    assert_eq!(code, Some(1));
    let wanted = format!(
        "{}: `policies` names `{}`, which is in no document",
        app.display(),
        world::policy_name("Other")
    );
    assert!(error.contains(&wanted), "{error}");
    assert!(!dir.path().join("new").exists());
}
