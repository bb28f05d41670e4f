//! `aap audit tail`: what it shows people and programs, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use aap::api::pb;
use expect_test::expect_file;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    ADMIN, AUDITOR, ENFORCER, TestServer,
    clients::token_of,
    home::{Home, Server},
    processes, refused,
    world::{self, ask, ask_all},
};

/// The program showing records of a server.
pub(crate) struct Tail {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Tail {
    fn start(address: SocketAddr, token: &str, arguments: &[&str]) -> Self {
        Self::by(&["audit", "tail"], address, token, arguments)
    }

    /// Another command that shows records.
    pub(crate) fn by(words: &[&str], address: SocketAddr, token: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
        command
            .env_clear()
            .env("AAP_TOKEN", token)
            .args(words)
            .args(["--server", &format!("http://{address}")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = processes::spawn(&mut command).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn of(server: &TestServer, arguments: &[&str]) -> Self {
        Self::start(server.address(), &token_of(AUDITOR), arguments)
    }

    /// The next lines; to be read where waiting holds up nobody.
    pub(crate) async fn lines(mut self, count: usize) -> (Self, Vec<String>) {
        let read = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            while lines.len() < count {
                let mut line = String::new();
                if self.lines.read_line(&mut line).unwrap() == 0 {
                    let mut told = String::new();
                    self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
                    panic!("it has ended after {lines:?}: {told}");
                }
                lines.push(line.trim_end().to_owned());
            }
            (self, lines)
        });
        read.await.unwrap()
    }

    /// Waits for its end: its exit code and what it has complained of.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let waited = tokio::task::spawn_blocking(move || {
            drop(self.lines);
            let mut told = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            (self.child.wait().unwrap().code(), told)
        });
        waited.await.unwrap()
    }

    /// Sends it a signal, and reads what it has shown until its end.
    pub(crate) async fn rest(mut self, signal: Signal) -> (Option<i32>, Vec<String>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let waited = tokio::task::spawn_blocking(move || {
            let (mut shown, mut told) = (String::new(), String::new());
            self.lines.read_to_string(&mut shown).unwrap();
            self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            let lines = shown.lines().map(str::to_owned).collect();
            (self.child.wait().unwrap().code(), lines, told)
        });
        waited.await.unwrap()
    }

    pub(crate) async fn interrupt(self) -> (Option<i32>, String) {
        self.signal(Signal::INT).await
    }

    pub(crate) async fn signal(self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.end().await
    }
}

/// A server with some records of different kinds; how many there are.
async fn filled() -> (TestServer, usize) {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut encrypt = world::question("key/a");
    encrypt.action = "Encrypt".into();
    encrypt.instance = "kst-1".into();
    let mut stranger = world::allowed();
    stranger.subject = Some(pb::check::Subject::AccessPoint(world::access_point_name("nobody")));
    let mut from_nowhere = world::allowed();
    from_nowhere.origin = None;
    let checks = vec![
        world::allowed(),
        world::question("secret/other"),
        // What would clear the terminal, and turn what follows around.
        world::question("secret/\u{1b}[2J\u{202e}x"),
        encrypt,
        stranger,
        from_nowhere,
    ];
    server.client(ENFORCER).authorization().batch_check_access(ask_all(checks)).await.unwrap();
    refused(server.client(ADMIN).authorization().check_access(ask(world::allowed())).await);
    refused(server.client("nobody").authorization().check_access(ask(world::allowed())).await);
    (server.restart().await, 11)
}

/// A line without what differs from run to run.
fn steady(line: &str) -> String {
    let (time, rest) = line.split_at(24);
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
    match rest.split_once("from 127.0.0.1:") {
        Some((before, after)) => {
            let (_, after) = after.split_once(':').unwrap();
            format!("<time>{before}from <peer>:{after}")
        }
        None => format!("<time>{rest}"),
    }
}

#[tokio::test]
async fn people_are_shown_aligned_lines_that_do_nothing_to_their_terminal() {
    let (server, count) = filled().await;
    let (tail, lines) = Tail::of(&server, &["--from", "1"]).lines(count).await;
    let page = lines.iter().map(|line| steady(line) + "\n").collect::<String>();
    expect_file!["../snapshots/tail.txt"].assert_eq(&page);
    assert_eq!(tail.interrupt().await, (Some(0), String::new()));
    server.stop().await;
}

#[tokio::test]
async fn programs_get_a_line_of_json_for_each_record() {
    let (server, count) = filled().await;
    let (tail, lines) = Tail::of(&server, &["--from", "1", "--json"]).lines(count).await;
    for (place, line) in lines.iter().enumerate() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let sequence = (place + 1).to_string();
        assert_eq!(entry["sequence"], sequence.as_str());
        assert_eq!(entry["record"]["sequence"], sequence.as_str());
        assert!(entry["leafHash"].is_string(), "{line}");
    }
    let check: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    let check = &check["record"]["check"];
    assert_eq!(check["decision"]["outcome"], "OUTCOME_ALLOW");
    assert_eq!(check["resource"], "secret/dataKey1");
    // Nobody reads any more; that is noticed with the next record.
    let ended = tokio::spawn(tail.end());
    while !ended.is_finished() {
        world::allow(&server.client(ENFORCER)).await;
    }
    assert_eq!(ended.await.unwrap(), (Some(0), String::new()));
    server.stop().await;
}

#[tokio::test]
async fn filters_are_flags_and_what_is_wrong_is_said() {
    let (server, _) = filled().await;
    let arguments = ["--from", "1", "--outcome", "deny", "--reason", "resource-not-covered"];
    let (tail, lines) = Tail::of(&server, &arguments).lines(2).await;
    assert!(lines.iter().all(|line| line.contains("RESOURCE_NOT_COVERED")), "{lines:?}");
    tail.interrupt().await;
    let address = server.address();
    for (token, arguments, code, words) in [
        (token_of(AUDITOR), &["--kind", "nothing"][..], 2, "there is none such"),
        (token_of(AUDITOR), &["--since", "yesterday"], 2, "--since"),
        (token_of(AUDITOR), &["--account", "a b"], 2, "accounts"),
        (token_of(AUDITOR), &["--from", "1000"], 2, "has no record 1000 yet"),
        (token_of(AUDITOR), &["--server", "http://192.0.2.1:1"], 2, "use https"),
        (token_of(AUDITOR), &["--server", "https://127.0.0.1:1"], 2, "--ca"),
        (token_of(AUDITOR), &["--server", "http://127.0.0.1:1"], 6, "http://127.0.0.1:1"),
        (token_of(ADMIN), &[], 3, "needs auditor"),
        ("nobody".to_owned(), &[], 3, "no valid bearer token"),
    ] {
        let mut all = arguments.to_vec();
        let address = if arguments.contains(&"--server") {
            all = vec![];
            arguments[1].to_owned()
        } else {
            format!("http://{address}")
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
        command.env_clear().env("AAP_TOKEN", &token).args(["audit", "tail", "--server", &address]);
        command.args(all).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = processes::spawn(&mut command).unwrap();
        let output =
            tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
        assert!(!told.contains(&token), "{told}");
    }
    server.stop().await;
}

#[tokio::test]
async fn it_goes_on_after_a_restart_of_the_server_and_leaves_nothing_out() {
    let home = Home::new();
    let server = home.start();
    let address = server.address;
    let tail = Tail::start(address, home.auditor.reveal(), &["--from", "1", "--json"]);
    let (tail, lines) = tail.lines(2).await;
    let stop = |server: Server| async move {
        tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    };
    stop(server).await;
    let server = home.start_at(address);
    // A start, the read, the stop, the next start, and the next read.
    let (tail, more) = tail.lines(3).await;
    let sequence = |line: &String| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["sequence"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let sequences: Vec<_> = lines.iter().chain(&more).map(sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    let (code, told) = tail.interrupt().await;
    assert_eq!(code, Some(0));
    assert!(told.contains("going on in"), "{told}");
    stop(server).await;
}
