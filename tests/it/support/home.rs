//! The program itself as a process: started on a directory, killed, stopped.
//!
//! What it is asked is not known here. Nothing waits for a time: a start ends with the line of the
//! log that says so, or with the process.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use aap::identity::token::NewToken;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::processes;

/// Between looking for a free port and listening on it, another process may take it.
const ATTEMPTS: usize = 5;

/// A configuration, its callers' tokens, and a data directory that servers come and go on.
pub struct Home {
    directory: TempDir,
    pub admin: NewToken,
    pub second_admin: NewToken,
    pub enforcer: NewToken,
    pub auditor: NewToken,
}

impl Home {
    pub fn new() -> Self {
        Self::with_audit("")
    }

    /// The same with more to say about the audit log.
    pub fn with_audit(more: &str) -> Self {
        let make = || NewToken::make().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (admin, second_admin) = (make(), make());
        let (enforcer, auditor) = (make(), make());
        let home = Self { directory, admin, second_admin, enforcer, auditor };
        fs::write(home.path("aap.toml"), home.configuration(more)).unwrap();
        home
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.path("data").join("journal")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where all its data is.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn configuration(&self, more: &str) -> String {
        let caller = |name: &str, token: &NewToken, more: &str| {
            let digest = token.digest();
            format!("[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{digest}\"\n{more}\n")
        };
        let assert = "role = \"enforcer\"\naccounts = [\"acme\"]\nassert_identity = true";
        [
            // Small segments, so that many are begun and sealed.
            format!("[audit]\nsegment_mebibytes = 1\n{more}\n"),
            "[disk]\nmanagement_reserve_percent = 0\ncheck_reserve_percent = 0\n".to_owned(),
            caller("admin", &self.admin, "role = \"admin\"\naccounts = [\"acme\"]"),
            caller("second-admin", &self.second_admin, "role = \"admin\"\naccounts = [\"acme\"]"),
            caller("enforcer", &self.enforcer, assert),
            caller("auditor", &self.auditor, "role = \"auditor\"\naccounts = [\"*\"]"),
        ]
        .concat()
    }

    /// Starts the server, and returns when it serves.
    pub fn start(&self) -> Server {
        self.start_until(": serving ")
    }

    /// Starts the server where one was before, and returns when it serves.
    pub fn start_at(&self, address: SocketAddr) -> Server {
        let (server, lines) = self.start_once(address);
        let serves = lines.iter().any(|line| line.contains(": serving "));
        assert!(serves, "the server does not start:\n{}", server.log.text());
        server
    }

    /// Starts the server, and kills it while it finds its data again.
    pub fn start_and_kill(&self, turns: u64) {
        let server = self.start_until(": listening ");
        for _ in 0..turns {
            thread::yield_now();
        }
        server.kill();
        server.wait_killed();
    }

    /// Starts the server, and returns when it has logged that.
    fn start_until(&self, text: &str) -> Server {
        let mut log = Log::default();
        for _ in 0..ATTEMPTS {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let (server, lines) = self.start_once(address);
            // Ends with the line, or when the process has closed its log.
            if lines.iter().any(|line| line.contains(text)) {
                return server;
            }
            log = server.log.clone();
            if !log.text().contains("can't listen on") {
                break;
            }
        }
        panic!("the server does not start:\n{}", log.text());
    }

    fn start_once(&self, address: SocketAddr) -> (Server, Receiver<String>) {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .args(["serve", "--listen", &address.to_string(), "--config"])
            .arg(self.path("aap.toml"))
            .arg("--data-dir")
            .arg(self.path("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = processes::spawn(&mut command).unwrap();
        let (log, (sender, lines)) = (Log::default(), channel());
        let (stderr, copy) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || copy.follow(stderr, &sender));
        (Server { address, log, child: Mutex::new(child) }, lines)
    }
}

/// A number that says how long a test is to be, or how it begins.
#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The program to test: the one that was just built, or another one by `AAP_BINARY`.
#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
fn binary() -> PathBuf {
    std::env::var_os("AAP_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_aap").into(), PathBuf::from)
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    log: Log,
    /// Held while the process is signalled, so that nobody signals one that was waited for.
    child: Mutex<Child>,
}

impl Server {
    /// Kills it, with no chance to do anything more.
    pub fn kill(&self) {
        self.child.lock().unwrap().kill().unwrap();
    }

    /// Waits until it is gone, killed.
    pub fn wait_killed(&self) {
        let status = self.child.lock().unwrap().wait().unwrap();
        assert!(!status.success() && status.code().is_none(), "not killed but ended: {status}");
    }

    /// Tells it to stop, and waits until it has, in good order.
    pub fn stop(&self) {
        let mut child = self.child.lock().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "stopped with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // Both do nothing to a process that was waited for.
        let _ = child.kill();
        let _ = child.wait();
        if thread::panicking() {
            println!("the server's log:\n{}", self.log.text());
        }
    }
}

/// The lines that a server has logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn follow(&self, stderr: ChildStderr, lines: &Sender<String>) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.0.lock().unwrap().push(line.clone());
            // Nobody listens any more once the server has started.
            let _ = lines.send(line);
        }
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}
