//! The program's log: for people or for machines, as much of it as is wanted now, and nothing secret.

use std::{
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Child, Stdio},
};

use aap::{
    api::pb::{self, create_session_request::Proof},
    clock::Clock,
};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    program::Place,
    sessions::Application,
    support::{
        ADMIN, AUDITOR, Client, ENFORCER,
        clients::{connect, token_of},
        configuration::Text,
        processes,
        server::{AUDIENCE, PATIENCE},
        watching::Watch,
        world,
    },
};

const PASSWORD: &str = "correct-horse-7";

/// A server whose log is a file.
struct Logged {
    child: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Drop for Logged {
    /// A test that has failed leaves no server behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Logged {
    fn start(place: &Place, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        // What two processes or threads write stays apart.
        let file = File::options().create(true).append(true).mode(0o600).open(&log).unwrap();
        let mut command = place.command();
        command.args(more).stdout(Stdio::null()).stderr(file);
        Self { child: processes::spawn(&mut command).unwrap(), log, _dir: dir }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line of the log that has all of these, and returns it.
    async fn line_with(&self, parts: &[&str]) -> String {
        let found = async {
            loop {
                let text = self.text();
                let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
                if let Some(line) = text.lines().find(has_all) {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("no line with {parts:?} in:\n{}", self.text()))
    }

    async fn client(&self, caller: &str) -> Client {
        let line = self.line_with(&["listening"]).await;
        let (_, port) = line.split_once("127.0.0.1:").unwrap();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        Client::new(connect(address), &token_of(caller))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, and returns its whole log.
    async fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.text()
    }
}

/// A configuration with everybody who calls, and something more.
fn configure(place: &Place, more: &str) {
    text(place).and(more).replace(&place.config());
}

fn text(place: &Place) -> Text {
    place.without_watchers().with(AUDITOR, "role = \"auditor\"\naccounts = [\"*\"]")
}

/// Every line of a log in JSON: its level, target and message, and its fields.
#[track_caller]
fn objects(log: &str) -> Vec<(String, String, String, Value)> {
    let objects = log.lines().map(|line| {
        let mut object: serde_json::Map<String, Value> =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let time = object.remove("timestamp").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{line}");
        let mut text = |name: &str| object.remove(name).unwrap().as_str().unwrap().to_owned();
        let (level, target, message) = (text("level"), text("target"), text("message"));
        let fields = object.remove("fields").unwrap();
        assert!(fields.is_object() && object.is_empty(), "{line}");
        (level, target, message, fields)
    });
    objects.collect()
}

#[tokio::test]
async fn a_log_for_machines_is_an_object_a_line_with_names_that_stay() {
    let place = Place::new();
    configure(&place, "[log]\nformat = \"json\"\n");
    let server = Logged::start(&place, &[]);
    server.line_with(&["serving"]).await;
    let log = server.stop().await;
    let objects = objects(&log);
    let (level, target, _, fields) =
        objects.iter().find(|(_, _, message, _)| message == "serving").unwrap();
    assert_eq!((level.as_str(), target.as_str()), ("INFO", "aap::server"));
    assert_eq!((&fields["revision"], &fields["audit_records"]), (&0.into(), &1.into()));
    let (.., fields) = objects.iter().find(|(_, _, message, _)| message == "listening").unwrap();
    assert!(fields["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn why_a_server_ends_is_an_object_too() {
    let place = Place::new();
    configure(&place, "[log]\nformat = \"json\"\n");
    let first = Logged::start(&place, &[]);
    first.line_with(&["serving"]).await;
    let mut second = Logged::start(&place, &[]);
    let status = second.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let objects = objects(&second.text());
    let (level, _, message, fields) = objects.last().unwrap();
    assert_eq!((level.as_str(), message.as_str()), ("ERROR", "the server ends"));
    assert!(fields["error"].as_str().unwrap().contains("is in use by process"), "{fields}");
    // It is said in any case.
    for filter in ["off", "off,aap::server=info"] {
        let mut second = Logged::start(&place, &["--log", filter]);
        assert_eq!(second.child.wait().unwrap().code(), Some(1));
        let said = second.text();
        assert!(said.contains("is in use by process") && !said.contains('{'), "{filter}: {said}");
    }
    first.stop().await;
}

#[tokio::test]
async fn what_is_told_and_in_what_form_changes_while_the_server_runs() {
    let place = Place::new();
    configure(&place, "");
    let server = Logged::start(&place, &[]);
    server.line_with(&["serving"]).await;
    world::enter_page_example(&server.client(ADMIN).await).await;
    assert!(!server.text().contains("DEBUG") && !server.text().contains("TRACE"));

    // Asked for by a signal.
    configure(&place, "[log]\nlevel = \"info,h2=debug\"\n");
    server.signal(Signal::HUP);
    server.line_with(&["the configuration was loaded"]).await;
    let enforcer = server.client(ENFORCER).await;
    world::allow(&enforcer).await;
    server.line_with(&["DEBUG", "h2::"]).await;

    // Found in the file; what was told before isn't any more.
    configure(&place, "[log]\nlevel = \"off,aap::server::reload=info\"\nformat = \"json\"\n");
    let from = server.line_with(&["{\"timestamp\"", "the configuration was loaded"]).await;
    world::allow(&server.client(ENFORCER).await).await;
    let log = server.stop().await;
    let (_, after) = log.split_once(&from).unwrap();
    assert_eq!(after.trim(), "", "nothing else is told");
}

#[tokio::test]
async fn a_filter_that_is_none_is_said_with_all_else_and_changes_nothing() {
    let place = Place::new();
    configure(&place, "");
    let server = Logged::start(&place, &[]);
    server.line_with(&["serving"]).await;
    configure(&place, "[log]\nlevel = \"inof\"\nformat = \"xml\"\n");
    server.signal(Signal::HUP);
    let line = server.line_with(&["ERROR", "the configuration is broken"]).await;
    for problem in
        ["`log.format` must be `text` or `json`", "`log.level` has `inof`: write a level"]
    {
        assert!(line.contains(problem), "{line}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_command_line_stands_over_what_a_new_configuration_says() {
    let place = Place::new();
    configure(&place, "[log]\nlevel = \"off\"\n");
    let server = Logged::start(&place, &["--log", "info"]);
    server.line_with(&["serving"]).await;
    configure(&place, "[log]\nlevel = \"error\"\n");
    server.signal(Signal::HUP);
    server.line_with(&["the configuration was loaded"]).await;
    assert!(server.stop().await.contains("stopped"));
}

/// Proves who an application is; returns the proof and the session that came of it.
async fn get_session(client: &Client, application: &Application) -> (String, String) {
    let granted = async {
        for number in 0.. {
            // As far ahead as a clock may be, since what was made before the start proves nothing.
            let now = Clock::system().now().0 / 1_000_000_000 + 5;
            let assertion = application.assertion(now, &format!("number-{number}"));
            let request = pb::CreateSessionRequest {
                access_point: application.access_point.clone(),
                proof: Some(Proof::ClientKeyAssertion(assertion.clone())),
                lifetime_seconds: 0,
            };
            if let Ok(session) = client.sessions().create_session(request).await {
                return (assertion, session.into_inner().token);
            }
        }
        panic!("there are more numbers")
    };
    tokio::time::timeout(PATIENCE, granted).await.expect("a session is granted")
}

/// Has everything secret sent that there is; returns it.
async fn use_secrets(server: &Logged) -> Vec<String> {
    let admin = server.client(ADMIN).await;
    world::enter_page_example(&admin).await;
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    admin.access_points().create_access_point(keyed).await.unwrap();
    let request =
        pb::IssueClientKeyRequest { password: PASSWORD.into(), ..world::issue_client_key("keyed") };
    let issued = admin.access_points().issue_client_key(request).await.unwrap().into_inner();
    let made = admin.access_points().issue_client_key(world::issue_client_key("keyed")).await;
    let made = made.unwrap().into_inner();

    let key = KeyPair::generate().unwrap();
    let signing_request = CertificateParams::default().serialize_request(&key).unwrap();
    let access_point = world::access_point_name("keyed");
    let request = pb::ImportClientKeyRequest {
        parent: access_point.clone(),
        signing_request_pem: signing_request.pem().unwrap(),
        ..Default::default()
    };
    let bound = admin.access_points().import_client_key(request).await.unwrap().into_inner();
    let id = bound.name.rsplit('/').next().unwrap().to_owned();
    let application = Application { access_point, key, id };
    let (assertion, session) = get_session(&admin, &application).await;
    world::allow(&server.client(ENFORCER).await).await;
    drop(Watch::from_end(&server.client(AUDITOR).await).await);

    let file: Value = serde_json::from_str(&issued.client_key_file).unwrap();
    let data = file["PrivateKeyData"].as_str().unwrap();
    let mut secrets =
        vec![PASSWORD.into(), made.password, assertion, session, data.chars().take(64).collect()];
    secrets.extend([ADMIN, ENFORCER, AUDITOR].map(token_of));
    secrets
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_the_log_in_either_form_however_much_is_told() {
    for format in ["text", "json"] {
        let place = Place::new();
        let log = format!("[log]\nlevel = \"trace\"\nformat = \"{format}\"\n");
        configure(&place, &format!("{log}[sessions]\naudience = \"{AUDIENCE}\"\n"));
        let server = Logged::start(&place, &[]);
        server.line_with(&["serving"]).await;
        let secrets = use_secrets(&server).await;
        // A token that stands where it doesn't belong.
        fs::write(place.config(), format!("token = \"{}\"\n", token_of(ADMIN))).unwrap();
        server.signal(Signal::HUP);
        server.line_with(&["the configuration is broken"]).await;
        let log = server.stop().await;
        assert!(log.contains("TRACE"), "what is most is told");
        if format == "json" {
            objects(&log);
        }
        for secret in secrets {
            assert!(!log.contains(&secret), "{format}: {secret}");
        }
    }
}
