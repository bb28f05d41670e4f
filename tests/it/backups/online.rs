//! Backups of a server that runs: under load, by who may, one at a time.

use std::{
    collections::BTreeMap,
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aap::{
    api::pb::{self, audit_record::Event},
    backup::{head::Head, reading::Archive},
    domain::rules::RulesVersion,
};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Code, Status, Streaming};

use super::{beginning, command, done, refused, text};
use crate::{
    replay::{self, Answered},
    support::{
        ADMIN, AUDITOR, Client, ENFORCER, Fault, OPERATOR, Refusal, Setup, TestServer,
        clients::token_of,
        configuration::Text,
        random::Random,
        server::PATIENCE,
        terminal::{Said, in_a_pipe},
        watching::{Watch, check_of},
        world::{self, ask_all},
    },
};

/// How many random checks are asked of a restored server.
const CHECKS: usize = 10_000;
/// How many at a time.
const AT_ONCE: usize = 1_000;

/// Backs a server up, as a caller; on a thread of its own, so that the server goes on.
async fn back_up(server: &TestServer, caller: &str, directory: &Path) -> Said {
    let mut command = command(directory, &["backup", "--to", "b"]);
    command.env("AAP_SERVER", format!("http://{}", server.address()));
    command.env("AAP_TOKEN", token_of(caller)).env("HOME", directory);
    tokio::task::spawn_blocking(move || in_a_pipe(&mut command)).await.unwrap()
}

fn head_of(path: &Path) -> Head {
    let file = Arc::new(File::open(path).unwrap());
    Archive::open(file, &mut |_, _| {}).unwrap().head().clone()
}

/// Whoever asks and changes while a backup is made.
struct Load {
    is_over: Arc<AtomicBool>,
    /// How many batches of checks were answered.
    asked: watch::Sender<usize>,
    tasks: JoinSet<()>,
}

impl Load {
    fn begin(server: &TestServer) -> Self {
        let (is_over, asked) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        for seed in 1..=3 {
            let (enforcer, is_over) = (server.client_apart(ENFORCER), Arc::clone(&is_over));
            let (asked, mut random) = (asked.clone(), Random::new(seed));
            tasks.spawn(async move {
                let mut authorization = enforcer.authorization();
                while !is_over.load(Ordering::Relaxed) {
                    let checks = (0..20).map(|_| replay::random_check(&mut random)).collect();
                    authorization.batch_check_access(ask_all(checks)).await.unwrap();
                    asked.send_modify(|count| *count += 1);
                }
            });
        }
        let (admin, mut batches) = (server.client_apart(ADMIN), asked.subscribe());
        let over = Arc::clone(&is_over);
        tasks.spawn(async move {
            let (mut random, mut answered) = (Random::new(99), Answered::default());
            // One for some checks, so that there are not too many of them to look at in the end.
            while !over.load(Ordering::Relaxed) && batches.changed().await.is_ok() {
                answered.change(&mut random, &admin).await;
            }
        });
        Self { is_over, asked, tasks }
    }

    fn answered(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until so many more batches were answered.
    async fn go_on(&self, more: usize) {
        let wanted = self.answered() + more;
        self.asked.subscribe().wait_for(|count| *count >= wanted).await.unwrap();
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let Self { asked, tasks, .. } = self;
        // Nobody waits for another one that doesn't come.
        asked.send_modify(|count| *count += 1);
        tasks.join_all().await;
    }
}

/// The last revision that records name, up to one.
async fn last_named(server: &TestServer, through: u64) -> u64 {
    let mut watch = Watch::from(&server.client(AUDITOR), 1).await;
    let records = watch.records_through(through).await;
    let named = records.iter().filter_map(|record| match record.event.as_ref()? {
        Event::Check(check) => Some(check.revision),
        Event::ServerStart(start) => Some(start.revision),
        _ => None,
    });
    named.max().unwrap()
}

#[tokio::test]
async fn a_backup_under_load_is_restored_elsewhere_with_the_same_answers_to_10_000_checks() {
    let server = TestServer::start().await;
    // Something is allowed whatever chance brings.
    world::enter_page_example(&server.client(ADMIN)).await;
    let dir = tempfile::tempdir().unwrap();
    let load = Load::begin(&server);
    load.go_on(100).await;
    let before = load.answered();
    let Said { text: told, code } = back_up(&server, OPERATOR, dir.path()).await;
    assert_eq!(code, 0, "{told}");
    let during = load.answered() - before;
    load.go_on(50).await;
    load.end().await;
    assert!(during > 0, "checks go on meanwhile");
    let head = head_of(&dir.path().join("b"));
    let (revision, log) = (head.journal.revision, head.logs.last().unwrap().clone());
    assert!(told.contains(&format!("revisions 1 to {revision}\n")), "{told}");
    assert!(last_named(&server, log.last).await <= revision);

    // What the server itself has is the oracle.
    let key = done(dir.path(), &["audit", "key", "--data-dir", text(&server.data_dir())]);
    let setup = server.stop().await;
    let states = replay::states(&setup, RulesVersion::CURRENT);
    assert!(states.len() as u64 > revision + 1, "changes went on meanwhile");
    let told = done(dir.path(), &["backup", "verify", "b", "--public-key", key.trim_end()]);
    assert!(told.contains(&format!("signed the first {} records", log.last)), "{told}");
    assert!(told.contains(&format!("signed the first {revision} changes")), "{told}");
    assert!(told.ends_with("it is whole\n"), "{told}");

    let new = Setup::new();
    let data_dir = new.data_dir();
    let restore = ["restore", "--from", "b", "--data-dir", text(&data_dir)];
    done(dir.path(), &[&restore[..], &["--public-key", key.trim_end()]].concat());
    let server = new.start().await;
    let previous = beginning(&server).await;
    assert_eq!((previous.log_id, previous.last_sequence), (log.log_id.to_string(), log.last));
    let (enforcer, mut random) = (server.client(ENFORCER), Random::new(7));
    for _ in 0..CHECKS / AT_ONCE {
        let check = |number| match number % 10 {
            0 => world::allowed(),
            _ => replay::random_check(&mut random),
        };
        let checks = (0..AT_ONCE).map(check).collect();
        let answer = enforcer.authorization().batch_check_access(ask_all(checks)).await.unwrap();
        assert_eq!(answer.into_inner().revision, revision);
    }
    let last = Watch::from_end(&server.client(AUDITOR)).await.through;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(last).await;
    let state = &states[usize::try_from(revision).unwrap()];
    let mut outcomes = BTreeMap::new();
    for record in &records {
        let Some(check) = check_of(record) else { continue };
        let answered = check.decision.clone().unwrap();
        assert_eq!(replay::decide_again(state, record, check), answered, "{record:?}");
        *outcomes.entry(answered.outcome().as_str_name()).or_insert(0) += 1;
    }
    assert_eq!(outcomes.values().sum::<usize>(), CHECKS);
    assert!(outcomes.len() == 2, "{outcomes:?}");
    verify_trees(server, dir.path()).await;
}

/// What an auditor and an operator see of a restored server's trees.
async fn verify_trees(server: TestServer, directory: &Path) {
    let checkpoint = pb::GetCheckpointRequest::default();
    let checkpoint = server.client(AUDITOR).audit().get_checkpoint(checkpoint).await.unwrap();
    let pb::Checkpoint { note, verifier_key, .. } = checkpoint.into_inner();
    std::fs::write(directory.join("note"), note).unwrap();
    let setup = server.stop().await;
    let data_dir = setup.data_dir();
    let at = ["--data-dir", text(&data_dir)];
    let verify = ["audit", "verify", "--public-key", &verifier_key, "--against", "note"];
    let told = done(directory, &[&verify[..], &at].concat());
    assert!(told.ends_with("verified\n"), "{told}");
    let told = done(directory, &[&["store", "check"][..], &at].concat());
    assert!(told.ends_with("it is whole\n"), "{told}");
}

/// A server with more in it than a connection holds for who doesn't read.
pub(super) async fn filled(setup: Setup, thousands: usize) -> TestServer {
    let server = setup.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    for _ in 0..thousands {
        let batch = ask_all(vec![world::allowed(); AT_ONCE]);
        server.client(ENFORCER).authorization().batch_check_access(batch).await.unwrap();
    }
    server
}

pub(super) async fn begin(operator: &Client) -> Streaming<pb::StreamBackupResponse> {
    operator.backups().stream_backup(pb::StreamBackupRequest {}).await.unwrap().into_inner()
}

/// Reads what is left of a backup.
pub(super) async fn read_on(mut backup: Streaming<pb::StreamBackupResponse>) -> Result<(), Status> {
    while backup.message().await?.is_some() {}
    Ok(())
}

/// What a second operator is told.
pub async fn refused_while_one_is_made() -> Refusal {
    let server = filled(Setup::new(), 6).await;
    let _first = begin(&server.client_apart(OPERATOR)).await;
    let second = server.client_apart(OPERATOR).backups();
    let told = { second }.stream_backup(pb::StreamBackupRequest {}).await.map(drop).unwrap_err();
    Refusal::of(&told)
}

#[tokio::test]
async fn what_can_not_be_recorded_is_not_sent() {
    let server = filled(Setup::new(), 6).await;
    server.faults.fail_once(Fault::AuditSync);
    let operator = server.client_apart(OPERATOR);
    let told = operator.backups().stream_backup(pb::StreamBackupRequest {}).await.map(drop);
    Refusal::of(&told.unwrap_err()).is(Code::Unavailable, "AUDIT_UNAVAILABLE");
}

#[tokio::test]
async fn one_backup_is_made_at_a_time_and_who_goes_away_makes_room() {
    let server = filled(Setup::new(), 6).await;
    let first = begin(&server.client_apart(OPERATOR)).await;
    let mut second = server.client_apart(OPERATOR).backups();
    let mut again = async || second.stream_backup(pb::StreamBackupRequest {}).await;
    Refusal::of(&again().await.map(drop).unwrap_err())
        .is(Code::ResourceExhausted, "BACKUP_RUNNING");
    drop(first);
    let begun = tokio::time::timeout(PATIENCE, async {
        loop {
            match again().await {
                Ok(begun) => break begun.into_inner(),
                Err(status) => Refusal::of(&status).is(Code::ResourceExhausted, "BACKUP_RUNNING"),
            };
        }
    });
    let mut begun = begun.await.unwrap();
    let first = begun.message().await.unwrap().unwrap();
    let extent = first.extent.unwrap();
    assert!(first.content.is_empty() && extent.first_sequence == 1 && extent.revision == 4);
    // It has the record of itself.
    let record = Watch::from(&server.client(AUDITOR), extent.last_sequence).await;
    let Some(Event::AuditRead(read)) = { record }.next_record().await.event else { panic!() };
    assert_eq!(
        (read.method.as_str(), read.from_sequence),
        ("/aap.v1.BackupService/StreamBackup", 1)
    );
    // A stop ends it, and what came of it is no backup.
    let (_setup, outcome) = tokio::join!(server.stop_with_outcome(), read_on(begun));
    Refusal::of(&outcome.unwrap_err()).is(Code::Unavailable, "SHUTTING_DOWN");
}

#[tokio::test]
async fn only_operators_of_all_accounts_get_backups_and_who_is_none_any_more_gets_no_more() {
    let setup = Setup::new();
    let operator = "role = \"operator\"\naccounts = [\"*\"]";
    let text = |role: &str| {
        Text::new(&setup.data_dir())
            .with(ADMIN, "role = \"admin\"\naccounts = [\"acme\"]")
            .with(ENFORCER, "role = \"enforcer\"\naccounts = [\"acme\"]\nassert_identity = true")
            .with(OPERATOR, role)
    };
    let server = Setup { configuration: Some(text(operator)), ..setup.clone() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    for _ in 0..6 {
        let batch = ask_all(vec![world::allowed(); AT_ONCE]);
        server.client(ENFORCER).authorization().batch_check_access(batch).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let Said { text: told, code } = back_up(&server, ADMIN, dir.path()).await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("has the role admin") && !dir.path().join("b").exists(), "{told}");
    let mut stream = begin(&server.client_apart(OPERATOR)).await;
    assert!(stream.message().await.unwrap().unwrap().extent.is_some());
    server.reload(&text("role = \"auditor\"\naccounts = [\"*\"]"));
    let told = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            // It had all come before it was noticed.
            Ok(None) => return,
            Err(status) => break Refusal::of(&status),
        }
    };
    told.is(Code::PermissionDenied, "ROLE_NOT_SUFFICIENT");
    let Said { text: told, code } = back_up(&server, OPERATOR, dir.path()).await;
    assert_eq!(code, 3, "{told}");
    assert!(!dir.path().join("b").exists());
    server.stop().await;
    let nowhere = ["backup", "--to", "b", "--server", "http://127.0.0.1:1"];
    let told = refused(dir.path(), &nowhere, 6);
    assert!(told.contains("no server can be reached"), "{told}");
}
