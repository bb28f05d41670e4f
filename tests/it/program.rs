//! The program itself, run as an operator runs it: its words, its exit codes, its signals.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

use aap::identity::token::TokenDigest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Refusal, VIEWER,
    clients::{connect, token_of},
    configuration::Text,
    following::Changes,
    processes,
    watching::Watch,
    world,
};

/// The program with arguments.
fn aap(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
    command.args(arguments).stdin(Stdio::null()).env_clear();
    command
}

fn output(arguments: &[&str]) -> Output {
    let mut command = aap(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    processes::spawn(&mut command).unwrap().wait_with_output().unwrap()
}

#[track_caller]
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// A directory with a configuration in it.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let all = |role: &str| format!("role = \"{role}\"\naccounts = [\"*\"]");
        let text = place.without_watchers().with(AUDITOR, &all("auditor"));
        text.with(VIEWER, &all("viewer")).replace(&place.config());
        place
    }

    pub fn without_watchers(&self) -> Text {
        Text::new(&self.data_dir())
            .with(ADMIN, "role = \"admin\"\naccounts = [\"*\"]")
            .with(ENFORCER, "role = \"enforcer\"\naccounts = [\"*\"]\nassert_identity = true")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("aap.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The command that starts a server.
    pub fn command(&self) -> Command {
        aap(&["serve", "--config", self.config().to_str().unwrap()])
    }

    /// Starts a server, and waits until it says that it serves.
    pub fn serve(&self) -> Running {
        Running::start(&mut self.command())
    }
}

/// A server that runs.
pub struct Running {
    pub child: Child,
    log: BufReader<ChildStderr>,
    address: Option<SocketAddr>,
    /// What was read of its log.
    pub begun: String,
}

impl Drop for Running {
    /// A test that has failed leaves no server behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a server, and waits until it says that it serves.
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = processes::spawn(command).unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { log, child, address: None, begun: String::new() };
        running.line_with("serving");
        running
    }

    /// The next line of the log that has a text.
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.read_line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next line of the log; panics at its end.
    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.log.read_line(&mut line).unwrap() > 0, "the log has ended");
        if let Some((_, rest)) = line.split_once("listening")
            && let Some((_, port)) = rest.split_once("127.0.0.1:")
            && !rest.starts_with(" for who asks")
        {
            let port: String = port.chars().take_while(char::is_ascii_digit).collect();
            self.address = format!("127.0.0.1:{port}").parse().ok();
        }
        self.begun.push_str(&line);
        line
    }

    pub fn client(&self, caller: &str) -> Client {
        Client::new(connect(self.address.expect("it says where it listens")), &token_of(caller))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; its exit code and the rest of its log.
    pub async fn wait(mut self) -> (Option<i32>, String) {
        let waited = tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            while self.log.read_line(&mut rest).unwrap() > 0 {}
            (self.child.wait().unwrap().code(), rest)
        });
        waited.await.unwrap()
    }
}

#[test]
fn a_new_token_comes_with_its_digest() {
    let made = output(&["token", "new"]);
    assert!(made.status.success());
    let words: Vec<_> = text(&made.stdout).split_whitespace().collect();
    let ["token", token, "token_sha256", digest] = words[..] else { panic!("{words:?}") };
    assert!(token.starts_with("aap_"));
    assert_eq!(TokenDigest::of(token).to_string(), digest);
    assert_ne!(output(&["token", "new"]).stdout, made.stdout);
}

#[test]
fn a_configuration_can_be_checked_without_serving() {
    let place = Place::new();
    let config = place.config();
    let check = ["serve", "--config", config.to_str().unwrap(), "--check-config"];
    let checked = output(&check);
    assert!(checked.status.success(), "{checked:?}");
    let begin = format!("configuration `{}` is valid; digest ", config.display());
    let digest = text(&checked.stdout).strip_prefix(&begin).unwrap().trim_end();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    assert_eq!(output(&check).stdout, checked.stdout);
    assert!(!place.data_dir().exists(), "nothing was made");

    fs::write(&config, "listen = []\n").unwrap();
    let checked = output(&check);
    assert_eq!(checked.status.code(), Some(1));
    let told = text(&checked.stderr);
    for problem in [
        "error: configuration `",
        "`listen` is missing",
        "`data_dir` is missing",
        "`callers` is missing",
    ] {
        assert!(told.contains(problem), "{told}");
    }
    let gone = output(&["serve", "--config", "/nowhere/aap.toml"]);
    assert_eq!(gone.status.code(), Some(1));
    let told = text(&gone.stderr);
    assert!(told.starts_with("error: can't read configuration `/nowhere/aap.toml`: "), "{told}");
}

#[test]
fn what_the_command_line_lacks_is_said() {
    for arguments in [&["serve"][..], &[], &["serve", "--dev", "--config", "x"], &["nothing"]] {
        let refused = output(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains("Usage: aap"), "{arguments:?}");
    }
    let version = output(&["--version"]);
    assert_eq!(text(&version.stdout), format!("aap {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_signal_to_stop_lets_open_calls_end_and_exits_with_zero() {
    let place = Place::new();
    for (round, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let server = place.serve();
        if round == 0 {
            world::enter_page_example(&server.client(ADMIN)).await;
        }
        world::allow(&server.client(ENFORCER)).await;
        let watch = Watch::from_end(&server.client(AUDITOR)).await;
        server.signal(signal);
        let ((entries, told, _), (code, log)) = tokio::join!(watch.end(), server.wait());
        assert!(entries.is_empty());
        assert_eq!(told.unwrap().code(), Code::Unavailable);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
    }
    let server = place.serve();
    let receipt = world::allow(&server.client(ENFORCER)).await;
    // Twice a start, a check, a read and a stop, and then the third start.
    assert_eq!(receipt.sequence, 10);
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(10).await;
    assert_eq!(records.len(), 10);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));
}

#[tokio::test]
async fn a_hangup_has_the_configuration_read_again() {
    let place = Place::new();
    let mut server = place.serve();
    world::enter_page_example(&server.client(ADMIN)).await;
    let watch = Watch::from_end(&server.client(AUDITOR)).await;
    let mut changes = Changes::from_end(&server.client(VIEWER), "accounts/acme").await;
    place.without_watchers().replace(&place.config());
    server.signal(Signal::HUP);
    let both = async { tokio::join!(watch.end(), changes.read()) };
    let ended = tokio::time::timeout(Duration::from_secs(1), both).await;
    let ((_, status, _), of_changes) = ended.expect("they end within a second");
    for status in [status.unwrap(), of_changes.unwrap_err()] {
        Refusal::of(&status).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    }
    assert!(server.line_with("the configuration was loaded").contains("INFO"));

    fs::write(place.config(), "listen = []\ndata_dir = \"elsewhere\"\n").unwrap();
    server.signal(Signal::HUP);
    let line = server.line_with("ERROR");
    for part in
        ["the configuration is broken; the one before it stays in force", "`listen`", "`callers`"]
    {
        assert!(line.contains(part), "{line}");
    }
    world::allow(&server.client(ENFORCER)).await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));
}

#[tokio::test]
async fn a_server_to_try_ends_with_its_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = aap(&["serve", "--dev", "--listen", "127.0.0.1:0"]);
    command.current_dir(dir.path());
    let server = Running::start(&mut command);
    server.signal(Signal::HUP);
    assert_eq!(server.wait().await.0, Some(0));
}

#[tokio::test]
async fn a_second_server_on_the_same_data_names_the_first() {
    let place = Place::new();
    let first = place.serve();
    let second = output(&["serve", "--config", place.config().to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    let told = text(&second.stderr);
    let pid = first.child.id();
    let wanted = format!(
        "error: data directory `{}` is in use by process {pid}; stop that one first",
        place.data_dir().display()
    );
    assert!(told.contains(&wanted), "{told}");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().await.0, Some(0));
}

#[tokio::test]
async fn a_killed_server_has_all_that_it_answered() {
    let place = Place::new();
    let server = place.serve();
    world::enter_page_example(&server.client(ADMIN)).await;
    let receipt = world::allow(&server.client(ENFORCER)).await;
    server.signal(Signal::KILL);
    assert_eq!(server.wait().await.0, None);
    let server = place.serve();
    let again = world::allow(&server.client(ENFORCER)).await;
    assert_eq!(again.sequence, receipt.sequence + 2, "a start stands between them");
    let mut watch = Watch::from(&server.client(AUDITOR), receipt.sequence).await;
    assert_eq!(watch.next().await.leaf_hash, receipt.leaf_hash);
    drop(watch);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));
}

/// Asserts that nobody but the owner can read or write anything here.
fn assert_closed_to_others(path: &Path) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o777;
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_closed_to_others(&entry.unwrap().path());
        }
    }
}

#[tokio::test]
async fn the_data_is_for_the_servers_own_user_alone() {
    let place = Place::new();
    let server = place.serve();
    world::enter_page_example(&server.client(ADMIN)).await;
    world::allow(&server.client(ENFORCER)).await;
    assert_closed_to_others(&place.data_dir());
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await.0, Some(0));
    assert_closed_to_others(&place.data_dir());
    let format = place.data_dir().join("FORMAT");
    fs::set_permissions(&format, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = output(&["serve", "--config", place.config().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("FORMAT` has mode 644, which lets others in; run `chmod"), "{told}");
}
