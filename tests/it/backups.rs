//! Backups and restores, as an operator makes them: what comes of one, and what comes of none.

mod cut_short;
mod forged;
mod online;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use aap::{
    api::pb::{self, audit_record::Event, gap_event::Cause},
    audit::{succession, volume::Untouched},
    store::data_dir::DataDir,
};
use tempfile::TempDir;

use crate::support::{
    ADMIN, AUDITOR, ENFORCER, Refusal, Setup, TestServer, processes,
    terminal::{Said, in_a_pipe},
    watching::Watch,
    world,
};

/// What operators are told, by what they did.
pub async fn refusals() -> [(&'static str, Refusal); 2] {
    [
        ("StreamBackup while one is made", online::refused_while_one_is_made().await),
        ("StreamBackup, when nothing of it is read", cut_short::ended_when_not_read().await),
    ]
}

/// Runs the program in a directory.
fn run(directory: &Path, words: &[&str]) -> Said {
    in_a_pipe(&mut command(directory, words))
}

fn command(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
    command.current_dir(directory).args(words).env_clear();
    command
}

/// Runs what must succeed; returns what it says.
#[track_caller]
fn done(directory: &Path, words: &[&str]) -> String {
    let Said { text, code } = run(directory, words);
    assert_eq!(code, 0, "{words:?}: {text}");
    text
}

/// Runs what must fail with an exit code; returns what it says.
#[track_caller]
fn refused(directory: &Path, words: &[&str], wanted: i32) -> String {
    let Said { text, code } = run(directory, words);
    assert_eq!(code, wanted, "{words:?}: {text}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data directory with changes, decisions and a cursor in it, and no server.
async fn stopped() -> Setup {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    world::enter_client_key(&server.client(ADMIN)).await;
    for _ in 0..300 {
        world::allow(&server.client(ENFORCER)).await;
    }
    world::enter_cursor(&server.client(AUDITOR)).await;
    server.stop().await
}

/// A backup of a data directory, in a directory of its own.
fn backed_up(setup: &Setup) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let told = done(dir.path(), &["backup", "--data-dir", text(&setup.data_dir()), "--to", "b"]);
    assert!(told.contains(" in `b`\n"), "{told}");
    dir
}

/// What the first two records of a server's log say: which log it follows, and how it began.
async fn beginning(server: &TestServer) -> pb::PreviousLog {
    let mut watch = Watch::from(&server.client(AUDITOR), 1).await;
    let (first, second) = (watch.next_record().await, watch.next_record().await);
    let Some(Event::Gap(pb::GapEvent { cause: Some(Cause::PreviousLog(previous)) })) = first.event
    else {
        panic!("{first:?}")
    };
    assert!(matches!(second.event, Some(Event::ServerStart(_))), "{second:?}");
    previous
}

#[tokio::test]
async fn a_restored_server_goes_on_where_the_backup_ends_and_its_log_names_the_former_one() {
    let setup = stopped().await;
    let former = DataDir::inspect(&setup.data_dir()).unwrap().identity().clone();
    let head =
        succession::head(&Untouched::new(setup.data_dir().join("audit")), former.log_id).unwrap();
    let dir = backed_up(&setup);
    let mode = fs::metadata(dir.path().join("b")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let told = done(dir.path(), &["backup", "verify", "b"]);
    assert!(told.ends_with("it is whole\n") && told.contains("signed the first"), "{told}");

    let new = Setup::new();
    let data_dir = new.data_dir();
    let told = done(dir.path(), &["restore", "--from", "b", "--data-dir", text(&data_dir)]);
    assert!(told.contains("give auditors the new public key"), "{told}");
    let report = done(dir.path(), &["store", "check", "--data-dir", text(&data_dir)]);
    for part in ["cursors    1 audit cursors: whole", "former log 1 segments", "it is whole"] {
        assert!(report.contains(part), "{report}");
    }
    let server = new.start().await;
    let previous = beginning(&server).await;
    assert_eq!(previous.log_id, former.log_id.to_string());
    assert_eq!(previous.last_sequence, head.sequence);
    assert_eq!(previous.last_leaf_hash, head.leaf_hash.unwrap());
    world::allow(&server.client(ENFORCER)).await;
    // The cursor is told what it will not get.
    let name = "accounts/acme/auditCursors/siem".to_owned();
    let mut audit = server.client(AUDITOR).audit();
    let cursor = audit.get_audit_cursor(pb::GetAuditCursorRequest { name }).await.unwrap();
    assert_eq!(cursor.into_inner().missed_count, head.sequence);

    let restored = server.stop().await;
    let report = done(dir.path(), &["store", "check", "--data-dir", text(&data_dir)]);
    assert!(report.contains("it is whole"), "{report}");
    // It is another server, whose checkpoints nobody takes for those of the former one.
    let now = DataDir::inspect(&data_dir).unwrap();
    assert_ne!(now.identity().node_id, former.node_id);
    assert_eq!(now.previous_logs(), [former.log_id]);
    drop(now);
    let keys = |path: &Path| done(dir.path(), &["audit", "key", "--data-dir", text(path)]);
    let (before, after) = (keys(&setup.data_dir()), keys(&data_dir));
    assert!(after.starts_with(&before) && after.lines().count() == 2, "{before}{after}");

    prove_former(&data_dir, (&former.log_id.to_string(), &before), dir.path());

    // A backup of what was restored has the former log, and what is known of it.
    let again = backed_up(&restored);
    let third = again.path().join("third");
    done(again.path(), &["restore", "--from", "b", "--data-dir", text(&third)]);
    assert_eq!(keys(&third).lines().count(), 3);
    assert!(keys(&third).starts_with(&after));
    let report = done(again.path(), &["store", "check", "--data-dir", text(&third)]);
    assert_eq!(report.matches("former log").count(), 2, "{report}");
    assert!(report.contains("it is whole"), "{report}");
}

/// What of a log of before is proved as it was before its server was lost, by its id and its key.
fn prove_former(data_dir: &Path, (log_id, key): (&str, &str), directory: &Path) {
    let at = ["--data-dir", text(data_dir), "--log", log_id];
    let note = done(directory, &[&["audit", "checkpoint"][..], &at].concat());
    fs::write(directory.join("note"), note).unwrap();
    let by = ["--public-key", key.trim_end(), "--against", "note"];
    let verify = ["audit", "verify"];
    let told = done(directory, &[&verify[..], &by, &at].concat());
    assert!(told.contains("the log continues the checkpoint over"), "{told}");
    for (to, more) in [("log", &[][..]), ("account", &["--account", "acme"])] {
        done(directory, &[&["audit", "export", "--to", to][..], &at, more].concat());
        let told = done(directory, &[&verify[..], &by, &["--export", to]].concat());
        assert!(told.ends_with("verified\n"), "{told}");
    }
    let nobodys = ["--log", "00000000-0000-4000-8000-000000000000"];
    let told = refused(directory, &[&["audit", "checkpoint"][..], &at[..2], &nobodys].concat(), 1);
    assert!(told.contains("there is no audit log `00000000-0000-4000"), "{told}");
}

#[tokio::test]
async fn no_key_is_in_a_backup_and_the_former_one_may_be_given_to_a_restore() {
    let setup = stopped().await;
    let dir = backed_up(&setup);
    let bytes = fs::read(dir.path().join("b")).unwrap();
    let key_file = setup.data_dir().join("checkpoint.key");
    let secret = fs::read_to_string(&key_file).unwrap();
    let secrets = [secret.trim_end().splitn(5, '+').last().unwrap().as_bytes(), b"PRIVATE+KEY"];
    let session_keys = fs::read(setup.data_dir().join("session.keys")).unwrap();
    for secret in secrets.into_iter().chain([&session_keys[20..52]]) {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "a key is in it");
    }
    let (_, other) = (stopped().await, Setup::new());
    let other = other.start().await.stop().await;
    let key_of = |setup: &Setup| {
        let words = ["audit", "key", "--data-dir", text(&setup.data_dir())].map(str::to_owned);
        done(dir.path(), &words.each_ref().map(String::as_str)).trim_end().to_owned()
    };
    let (key, other_key) = (key_of(&setup), key_of(&other));
    let other_file = other.data_dir().join("checkpoint.key");
    let new = dir.path().join("new");
    let restore = ["restore", "--from", "b", "--data-dir", text(&new)];
    for (more, wanted) in [
        (["--public-key", &other_key], "it is signed by the key"),
        (["--checkpoint-key", text(&other_file)], "which did not sign this backup"),
        (["--checkpoint-key", "nowhere"], "there is no such file"),
    ] {
        let told = refused(dir.path(), &[&restore[..], &more].concat(), 1);
        assert!(told.contains(wanted) && !new.exists(), "{told}");
    }
    let verify = ["backup", "verify", "b", "--public-key"];
    assert!(done(dir.path(), &[&verify[..], &[&key]].concat()).contains("keys that were given"));
    refused(dir.path(), &[&verify[..], &[&other_key]].concat(), 1);

    let more = ["--public-key", &key, "--checkpoint-key", text(&key_file)];
    let told = done(dir.path(), &[&restore[..], &more].concat());
    assert!(told.contains("by the same key under another name"), "{told}");
    assert_eq!(fs::read_to_string(new.join("checkpoint.key")).unwrap(), secret);
    assert!(!new.join("session.keys").exists());
}

#[tokio::test]
async fn what_is_damaged_cut_off_or_in_the_way_is_refused_and_nothing_is_made() {
    let setup = stopped().await;
    let dir = backed_up(&setup);
    let path = |name: &str| dir.path().join(name);
    let restore = |from: &str| {
        let words = ["restore", "--from", from, "--data-dir", "new"];
        let told = refused(dir.path(), &words, 1);
        assert!(!path("new").exists(), "{told}");
        told
    };
    let whole = fs::read(path("b")).unwrap();
    let place = whole.len() / 2;
    let mut damaged = whole.clone();
    damaged[place] ^= 1;
    fs::write(path("damaged"), &damaged).unwrap();
    fs::write(path("cut"), &whole[..place]).unwrap();
    fs::write(path("other"), "something else").unwrap();
    for (name, wanted) in [
        ("damaged", "it is damaged at byte ".to_owned()),
        ("cut", format!("it ends at byte {place}, before its end")),
        ("other", "it ends at byte 14".to_owned()),
    ] {
        let told = restore(name);
        assert!(told.contains(&wanted), "{told}");
        let told = refused(dir.path(), &["backup", "verify", name], 1);
        assert!(told.contains(&wanted), "{told}");
    }
    assert!(restore("nowhere").contains("can't read `nowhere`"));
    refused(dir.path(), &["backup", "verify", "nowhere"], 2);

    // Neither writes over what is there.
    let data_dir = setup.data_dir();
    let backup = ["backup", "--data-dir", text(&data_dir), "--to"];
    let told = refused(dir.path(), &[&backup[..], &["b"]].concat(), 5);
    assert!(told.contains("`b` is there already"), "{told}");
    assert_eq!(fs::read(path("b")).unwrap(), whole);
    fs::create_dir(path("full")).unwrap();
    fs::set_permissions(path("full"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(path("full/notes"), "mine").unwrap();
    fs::set_permissions(path("full/notes"), fs::Permissions::from_mode(0o600)).unwrap();
    for taken in ["full", text(&data_dir)] {
        let told = refused(dir.path(), &["restore", "--from", "b", "--data-dir", taken], 5);
        assert!(told.contains("is not empty; name an empty or new directory"), "{told}");
    }
    assert_eq!(fs::read_dir(path("full")).unwrap().count(), 2, "its lock, and what was there");
    let server = setup.start().await;
    let told = refused(dir.path(), &[&backup[..], &["c"]].concat(), 1);
    assert!(told.contains("is in use by process") && !path("c").exists(), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn a_log_that_was_damaged_when_it_was_backed_up_is_restored_only_if_that_is_wanted() {
    let setup = stopped().await;
    let segment = setup.data_dir().join("audit/00000000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let text_in = b"GetSecretValue";
    let places = bytes.windows(text_in.len()).enumerate();
    let place = places.filter(|(_, window)| window == text_in).nth(99).unwrap().0;
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let dir = backed_up(&setup);
    let told = refused(dir.path(), &["backup", "verify", "b"], 1);
    assert!(told.contains("DAMAGED: `audit`: record 101 is damaged"), "{told}");
    let new = Setup::new();
    let data_dir = new.data_dir();
    let restore = ["restore", "--from", "b", "--data-dir", text(&data_dir)];
    let told = refused(dir.path(), &restore, 1);
    assert!(told.contains("record 101 is damaged") && !data_dir.exists(), "{told}");
    done(dir.path(), &[&restore[..], &["--accept-damage"]].concat());
    let told = refused(dir.path(), &["store", "check", "--data-dir", text(&data_dir)], 1);
    assert!(told.contains("record 101 is damaged"), "{told}");
    let server = new.start().await;
    assert_eq!(beginning(&server).await.last_sequence, 302);
    world::allow(&server.client(ENFORCER)).await;
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_killed_leaves_nothing_that_is_taken_for_whole() {
    let setup = stopped().await;
    let dir = backed_up(&setup);
    let path = |name: &str| dir.path().join(name);
    // At moments that come one after the other, as far as this gets to look.
    for (number, moment) in
        ["LOCK", "journal", "journal/head", "audit", "audit/tree", "audit/restored"]
            .into_iter()
            .enumerate()
    {
        let name = format!("new{number}");
        let mut restore = command(dir.path(), &["restore", "--from", "b", "--data-dir", &name]);
        restore.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = processes::spawn(&mut restore).unwrap();
        while !path(&name).join(moment).exists() && child.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
        let _ = child.kill();
        let _ = child.wait();
        let again = ["restore", "--from", "b", "--data-dir", &name];
        if path(&name).join("FORMAT").exists() {
            done(dir.path(), &["store", "check", "--data-dir", &name]);
            refused(dir.path(), &again, 5);
        } else if fs::read_dir(path(&name)).unwrap().count() > 1 {
            let told = refused(dir.path(), &["store", "check", "--data-dir", &name], 2);
            assert!(told.contains("has no `FORMAT` file but is not empty"), "{told}");
            refused(dir.path(), &again, 5);
            fs::remove_dir_all(path(&name)).unwrap();
            done(dir.path(), &again);
        } else {
            done(dir.path(), &again);
        }
    }
    let data_dir = setup.data_dir();
    // What a killed one leaves of its copy of the journal goes with the test.
    let words = ["backup", "--data-dir", text(&data_dir), "--to", "killed", "--scratch", "scratch"];
    fs::create_dir(path("scratch")).unwrap();
    let mut backup = command(dir.path(), &words);
    backup.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = processes::spawn(&mut backup).unwrap();
    let has_copied = || fs::read_dir(path("scratch")).unwrap().count() > 0;
    while !has_copied() && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let _ = child.kill();
    let _ = child.wait();
    if path("killed").exists() {
        done(dir.path(), &["backup", "verify", "killed"]);
    } else {
        done(dir.path(), &words);
    }
}

#[tokio::test]
async fn the_end_of_a_killed_server_is_backed_up_as_it_is() {
    let home = crate::support::home::Home::new();
    let server = home.start();
    let channel = crate::support::clients::connect(server.address);
    let client = |token: &aap::identity::token::NewToken| {
        crate::support::Client::new(channel.clone(), token.reveal())
    };
    world::enter_page_example(&client(&home.admin)).await;
    let mut last = 0;
    for _ in 0..200 {
        last = world::allow(&client(&home.enforcer)).await.sequence;
    }
    server.kill();
    server.wait_killed();
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["backup", "--data-dir", text(&home.data()), "--to", "b"]);
    let told = done(dir.path(), &["backup", "verify", "b"]);
    assert!(told.contains(&format!("records 1 to {last} of")), "{told}");
    let new = Setup::new();
    let data_dir = new.data_dir();
    done(dir.path(), &["restore", "--from", "b", "--data-dir", text(&data_dir)]);
    let server = new.start().await;
    assert_eq!(beginning(&server).await.last_sequence, last);
    let _kept = server.stop().await;
    done(dir.path(), &["store", "check", "--data-dir", text(&data_dir)]);
}

#[tokio::test]
async fn a_log_whose_beginning_is_no_longer_kept_is_backed_up_from_there_on() {
    use aap::audit::{log::Options, retention::Retention};
    let fill = async |server: &TestServer| {
        let batch = world::ask_all(vec![world::allowed(); 1_000]);
        let mut authorization = server.client(ENFORCER).authorization();
        let answer = authorization.batch_check_access(batch).await.unwrap().into_inner();
        answer.results.last().unwrap().receipt.as_ref().unwrap().sequence
    };
    let setup = Setup::new();
    let retention = Retention { max_bytes: Some(2 << 20), ..Retention::default() };
    let options = Options { retention, ..setup.options };
    let server = Setup { options, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut first = 1;
    while first == 1 {
        fill(&server).await;
        let list = pb::ListAuditRecordsRequest {
            page_size: 1,
            order: pb::AuditRecordOrder::OldestFirst.into(),
            ..Default::default()
        };
        let listed = server.client(AUDITOR).audit().list_audit_records(list).await.unwrap();
        first = listed.into_inner().entries[0].sequence;
    }
    let setup = server.stop().await;
    let dir = backed_up(&setup);
    let told = done(dir.path(), &["backup", "verify", "b"]);
    assert!(!told.contains("records 1 to") && told.ends_with("it is whole\n"), "{told}");
    let restore = ["restore", "--from", "b", "--data-dir", "new"];
    done(dir.path(), &restore);
    let report = done(dir.path(), &["store", "check", "--data-dir", "new"]);
    assert!(report.contains("it is whole"), "{report}");
}
