//! Callers that change while the server runs: what a new configuration lets begin, and what it ends.

use std::{fs, os::unix::fs::symlink, time::Duration};

use aap::{
    api::pb::{
        self, ConfigurationLoadOutcome, audit_record::Event, watch_audit_records_request::Start,
    },
    clock::Clock,
    config::{self, Overrides},
    domain::time::{Date, UnixNanos},
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Refusal, Setup, TestServer,
    clients::token_of,
    configuration::Text,
    following::Changes,
    server::PATIENCE,
    watching::{Watch, refused_call_of},
    world::{self, THERE, ask},
};

/// Within what time a stream ends that its caller may not have any more.
const SOON: Duration = Duration::from_secs(1);

/// An auditor that the tests take things away from.
const EYES: &str = "eyes";
const OF_BOTH: &str = "role = \"auditor\"\naccounts = [\"acme\", \"other\"]";

/// A configuration with everybody who is never changed here.
fn base(setup: &Setup) -> Text {
    Text::new(&setup.data_dir())
        .with(ADMIN, "role = \"admin\"\naccounts = [\"acme\"]")
        .with(
            ENFORCER,
            "role = \"enforcer\"\naccounts = [\"acme\", \"other\"]\nassert_identity = true",
        )
        .with(AUDITOR, "role = \"auditor\"\naccounts = [\"*\"]")
}

/// A server, its configuration without [`EYES`], and the page's example.
async fn start() -> (TestServer, Text) {
    let setup = Setup::new();
    let base = base(&setup);
    let configuration = Some(base.clone().with(EYES, OF_BOTH));
    let server = Setup { configuration, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    (server, base)
}

/// Has a configuration read, and waits until it is in force.
async fn put_in_force(server: &TestServer, text: &Text) {
    let probe = "role = \"viewer\"\naccounts = [\"acme\"]";
    server.reload(&text.clone().with("probe", probe));
    let is_known = async {
        let get = pb::GetPolicyRequest { name: world::policy_name("RAMPolicy") };
        while server.client("probe").policies().get_policy(get.clone()).await.is_err() {}
    };
    tokio::time::timeout(PATIENCE, is_known).await.expect("the configuration is taken");
}

/// How a watch ends, which it does soon.
async fn end_of(watch: Watch) -> Refusal {
    let (_, ended, _) = tokio::time::timeout(SOON, watch.end()).await.expect("it ends soon");
    Refusal::of(&ended.expect("it ends with an error"))
}

/// The next load of the configuration that a watch comes to.
async fn next_load(watch: &mut Watch) -> pb::ConfigurationLoadEvent {
    loop {
        if let Some(Event::ConfigurationLoad(load)) = watch.next_record().await.event {
            return load;
        }
    }
}

async fn check_in(enforcer: &Client, parent: &str) -> Result<pb::Receipt, Status> {
    let request = pb::CheckAccessRequest { parent: parent.to_owned(), ..ask(world::allowed()) };
    Ok(enforcer.authorization().check_access(request).await?.into_inner().receipt.unwrap())
}

#[tokio::test]
async fn a_caller_that_is_removed_has_its_watch_ended_within_a_second() {
    let (server, base) = start().await;
    let (mut idle, busy) = (
        Watch::from_end(&server.client(EYES)).await,
        Watch::from(&server.client_apart(EYES), 1).await,
    );
    let mut other = Watch::from_end(&server.client(AUDITOR)).await;
    let receipt = world::allow(&server.client(ENFORCER)).await;
    assert_eq!(idle.next().await.sequence, receipt.sequence);

    server.reload(&base);
    for watch in [idle, busy] {
        end_of(watch).await.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    }
    let begun = Watch::begin(&server.client(EYES), Start::FromSequence(1)).await;
    Refusal::of(&begun.unwrap_err()).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");

    let load = next_load(&mut other).await;
    assert_eq!(load.outcome(), ConfigurationLoadOutcome::Applied);
    let config = config::parse("aap.toml", base.as_str(), Overrides::default()).unwrap();
    assert_eq!(load.configuration_digest, config.digest());
    assert!(load.awaits_restart.is_empty() && load.problems == 0);
    // Whoever wasn't touched goes on.
    let receipt = world::allow(&server.client(ENFORCER)).await;
    while other.next().await.sequence < receipt.sequence {}
    drop(other);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_ends_with_whatever_its_caller_may_not_any_more() {
    let viewer = "role = \"viewer\"\naccounts = [\"acme\", \"other\"]";
    let narrower = "role = \"auditor\"\naccounts = [\"other\"]";
    for (change, code, reason) in [
        ("its token is another", Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
        ("its token is another caller's", Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
        ("its role is another", Code::PermissionDenied, "ROLE_NOT_SUFFICIENT"),
        ("it has lost an account", Code::PermissionDenied, "ACCOUNT_NOT_BOUND"),
    ] {
        let (server, base) = start().await;
        let watch = Watch::from_end(&server.client(EYES)).await;
        let changed = match change {
            "its token is another" => base.with_token(EYES, "new", OF_BOTH),
            "its token is another caller's" => base.with_token("ears", &token_of(EYES), OF_BOTH),
            "its role is another" => base.with(EYES, viewer),
            _ => base.with(EYES, narrower),
        };
        server.reload(&changed);
        let refusal = end_of(watch).await;
        refusal.is(code, reason);
        if code == Code::PermissionDenied {
            refusal.has("caller", EYES);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_watch_goes_on_with_the_accounts_that_its_caller_has_now() {
    let setup = Setup::new();
    let base = base(&setup);
    let auditor_of = |accounts: &str| {
        base.clone().with(EYES, &format!("role = \"auditor\"\naccounts = {accounts}"))
    };
    let configuration = Some(auditor_of("[\"acme\"]"));
    let server = Setup { configuration, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut watch = Watch::from_end(&server.client(EYES)).await;
    let enforcer = server.client(ENFORCER);
    check_in(&enforcer, THERE).await.unwrap();
    let ours = world::allow(&enforcer).await;
    assert_eq!(watch.next().await.sequence, ours.sequence);

    put_in_force(&server, &auditor_of("[\"acme\", \"other\"]")).await;
    // A message may be on its way that was read before.
    let mut seen = 0;
    while seen < 2 {
        let theirs = check_in(&enforcer, THERE).await.unwrap();
        let ours = world::allow(&enforcer).await;
        let entries = watch.all_through(ours.sequence).await;
        seen = entries.iter().filter(|entry| entry.sequence >= theirs.sequence).count();
    }
    put_in_force(&server, &auditor_of("[\"acme\"]")).await;
    let refusal = end_of(watch).await;
    refusal.is(Code::PermissionDenied, "ACCOUNT_NOT_BOUND").has("account", "other");
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_expires_is_nobody_from_then_on() {
    let start = UnixNanos::start_of(Date { year: 2030, month: 1, day: 1 });
    let start = start.unwrap();
    let setup = Setup { clock: Clock::manual(start), ..Setup::new() };
    let clock = setup.clock.clone();
    // An hour east of Greenwich it is one o'clock.
    let expires = format!("{OF_BOTH}\nexpires = 2030-01-01T01:00:00+01:00");
    let later = format!("{OF_BOTH}\nexpires = 2030-01-01T00:00:05Z");
    let configuration = Some(base(&setup).with(EYES, &expires).with("late", &later));
    let server = Setup { configuration, ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let from = Start::FromSequence(1);
    let refusal = Refusal::of(&Watch::begin(&server.client(EYES), from).await.unwrap_err());
    refusal.is(Code::Unauthenticated, "CALLER_EXPIRED");
    refusal.has("caller", EYES).has("expire_time", "2030-01-01T00:00:00Z");

    let watch = Watch::from_end(&server.client("late")).await;
    clock.set(start.plus_seconds(5));
    end_of(watch).await.is(Code::Unauthenticated, "CALLER_EXPIRED").has("caller", "late");

    let last = Watch::from_end(&server.client(AUDITOR)).await.through;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(last).await;
    let refused: Vec<_> =
        records.iter().filter(|record| refused_call_of(record).is_some()).collect();
    let [record] = refused[..] else { panic!("{refused:?}") };
    assert_eq!((&*record.caller, &*record.account), (EYES, ""));
    let refused = refused_call_of(record).unwrap();
    assert_eq!((refused.code, &*refused.reason), (16, "ERROR_REASON_CALLER_EXPIRED"));
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_expired_can_not_fill_the_log_either() {
    let setup = Setup::new();
    let expired = format!("{OF_BOTH}\nexpires = 2020-01-01T00:00:00Z");
    let configuration = Some(base(&setup).with(EYES, &expired));
    let server = Setup { configuration, ..setup }.start().await;
    let path = "/aap.v1.AuditService/GetAuditRecord";
    for _ in 0..100 {
        server.client(EYES).raw(path, Vec::new()).await.unwrap_err();
        Client::new(server.channel().clone(), "aap_wrong").raw(path, Vec::new()).await.unwrap_err();
    }
    let last = Watch::from_end(&server.client(AUDITOR)).await.through;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(last).await;
    for name in ["", EYES] {
        let refused = records.iter().filter(|one| one.caller == name).filter_map(refused_call_of);
        let count = refused.count();
        assert!((1..100).contains(&count), "{name:?}: {count}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_says_so() {
    let (server, base) = start().await;
    let mut watch = Watch::from_end(&server.client(EYES)).await;
    let mut all = Watch::from_end(&server.client(AUDITOR)).await;
    let twice = base.clone().with(EYES, OF_BOTH).with(EYES, OF_BOTH);
    for (broken, problems) in
        [(twice, 2), (base.clone().and("[tls]\n"), 1), (base.clone().and("[["), 1)]
    {
        server.reload(&broken);
        let load = next_load(&mut all).await;
        assert_eq!(load.outcome(), ConfigurationLoadOutcome::Refused);
        assert_eq!((load.problems, load.configuration_digest.len()), (problems, 0));
        let receipt = world::allow(&server.client(ENFORCER)).await;
        assert_eq!(watch.next().await.sequence, receipt.sequence);
    }
    drop((watch, all));
    server.stop().await;
}

#[tokio::test]
async fn what_a_running_server_can_not_change_is_named_in_the_record() {
    let (server, base) = start().await;
    let mut all = Watch::from_end(&server.client(AUDITOR)).await;
    let data_dir = server.configuration_path().with_file_name("data").display().to_string();
    let moved = base.as_str().replace(&data_dir, "/elsewhere");
    fs::write(server.configuration_path(), moved).unwrap();
    let load = next_load(&mut all).await;
    assert_eq!(load.outcome(), ConfigurationLoadOutcome::Applied);
    assert_eq!(load.awaits_restart, ["data_dir"]);
    drop(all);
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_changes_is_read_without_being_asked_for() {
    let (server, base) = start().await;
    let path = server.configuration_path();
    let mut all = Watch::from_end(&server.client(AUDITOR)).await;
    let watch = Watch::from_end(&server.client(EYES)).await;
    base.replace(&path);
    let (_, ended, _) = watch.end().await;
    Refusal::of(&ended.unwrap()).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    assert_eq!(next_load(&mut all).await.outcome(), ConfigurationLoadOutcome::Applied);

    // As a mounted map of configurations is changed: a link is pointed elsewhere.
    let elsewhere = path.with_extension("elsewhere");
    fs::write(&elsewhere, base.with(EYES, OF_BOTH).as_str()).unwrap();
    let link = path.with_extension("link");
    symlink(&elsewhere, &link).unwrap();
    fs::rename(&link, &path).unwrap();
    assert_eq!(next_load(&mut all).await.outcome(), ConfigurationLoadOutcome::Applied);
    drop(all);
    server.stop().await;
}

#[tokio::test]
async fn no_check_fails_while_the_configuration_is_read_again_and_again() {
    let (server, base) = start().await;
    let mut watch = Watch::from_end(&server.client(AUDITOR)).await;
    let mut checking = JoinSet::new();
    for _ in 0..8 {
        let enforcer = server.client_apart(ENFORCER);
        checking.spawn(async move {
            for _ in 0..100 {
                world::allow(&enforcer).await;
            }
        });
    }
    let versions = [base.clone().with(EYES, OF_BOTH), base.clone(), base.and("[[")];
    let mut loads = 0;
    while !checking.is_empty() {
        server.reload(&versions[loads % versions.len()]);
        next_load(&mut watch).await;
        loads += 1;
        while let Some(done) = checking.try_join_next() {
            done.unwrap();
        }
    }
    assert!(loads > 10, "{loads}");
    // Asked for in a storm, it is read as often as there is time for, and in the end for good.
    for version in versions.iter().take(2).cycle().take(1_000) {
        server.reload(version);
    }
    put_in_force(&server, &versions[0]).await;
    Watch::from_end(&server.client(EYES)).await;
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_a_file_has_nothing_to_read_again() {
    let server = TestServer::start().await;
    server.reload(&Text::new("/nowhere".as_ref()));
    world::enter_page_example(&server.client(ADMIN)).await;
    world::allow(&server.client(ENFORCER)).await;
    server.stop().await;
}

/// How a server learns of another configuration.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// It is asked to read it, as by SIGHUP.
    Asked,
    /// It finds it.
    Finds,
}

/// A caller that follows the journal, beside [`EYES`], who follows the audit log.
const READER: &str = "reader";
const OF_ACME: &str = "role = \"viewer\"\naccounts = [\"acme\"]";

/// How an open watch of changes ends.
async fn end_of_changes(mut watch: Changes) -> Refusal {
    loop {
        match watch.read().await {
            Ok(read) => read.expect("it ends with an error"),
            Err(status) => return Refusal::of(&status),
        }
    }
}

/// How long the watches of callers go on that another configuration doesn't have.
async fn time_to_end(told: Told) -> Duration {
    let setup = Setup::new();
    let base = base(&setup);
    let configuration = Some(base.clone().with(EYES, OF_BOTH).with(READER, OF_ACME));
    let server = Setup { configuration, ..setup }.start().await;
    let records = Watch::from_end(&server.client(EYES)).await;
    let changes = Changes::from_end(&server.client(READER), "accounts/acme").await;
    let clock = Clock::system();
    match told {
        Told::Asked => server.reload(&base),
        Told::Finds => base.replace(&server.configuration_path()),
    }
    let ended = async { tokio::join!(records.end(), end_of_changes(changes)) };
    let ((_, of_records, _), of_changes) =
        tokio::time::timeout(PATIENCE, ended).await.expect("they end");
    let took = clock.elapsed();
    for refusal in [Refusal::of(&of_records.unwrap()), of_changes] {
        refusal.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    }
    server.stop().await;
    took
}

#[tokio::test]
async fn a_caller_that_is_removed_has_both_its_watches_ended_within_a_second_however_it_is_told() {
    for told in [Told::Asked, Told::Finds] {
        // A machine that is busy with something else may delay one, but not each.
        let mut took = Vec::new();
        while took.iter().all(|one| *one >= SOON) && took.len() < 5 {
            took.push(time_to_end(told).await);
        }
        assert!(took.iter().any(|one| *one < SOON), "{told:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_broken_configuration_ends_no_watch_of_changes() {
    let setup = Setup::new();
    let base = base(&setup).with(READER, OF_ACME);
    let server = Setup { configuration: Some(base.clone()), ..setup }.start().await;
    let mut all = Watch::from_end(&server.client(AUDITOR)).await;
    let mut changes = Changes::from_end(&server.client(READER), "accounts/acme").await;
    for told in [Told::Asked, Told::Finds] {
        // Its content differs, so that it is found too.
        let broken = base.clone().and(&format!("[[ # {told:?}"));
        match told {
            Told::Asked => server.reload(&broken),
            Told::Finds => broken.replace(&server.configuration_path()),
        }
        assert_eq!(next_load(&mut all).await.outcome(), ConfigurationLoadOutcome::Refused);
        let policy = world::new_policy(&format!("{told:?}"), &["secret/a"], &[]);
        let made = server.client(ADMIN).policies().create_policy(policy).await.unwrap();
        assert_eq!(changes.next().await.revision, made.get_ref().revision);
    }
    drop((all, changes));
    server.stop().await;
}
