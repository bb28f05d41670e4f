//! A page for a reader with what commands say, in a pipe and on a terminal, without what is made by
//! chance.

use std::{fmt::Write as _, fs, net::SocketAddr, process::Command};

use expect_test::ExpectFile;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    ADMIN,
    clients::token_of,
    terminal::{Said, Terminal, in_a_pipe, interrupted, on_a_terminal},
};

/// A page with what commands say.
pub struct Page {
    text: String,
    address: SocketAddr,
    pub home: TempDir,
    /// The ids of client keys, in the order in which they are told of.
    keys: Vec<String>,
}

impl Page {
    pub fn new(address: SocketAddr) -> Self {
        Self { text: String::new(), address, home: tempfile::tempdir().unwrap(), keys: Vec::new() }
    }

    pub fn command(&self, caller: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
        command
            .args(words)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("TERM", "xterm-256color")
            .env("AAP_SERVER", format!("http://{}", self.address))
            .env("AAP_TOKEN", token_of(caller))
            .env("AAP_ACCOUNT", "acme")
            .env("AAP_REGION", "eu-1");
        command
    }

    /// Runs a command that changes nothing in both places.
    pub fn both(&mut self, caller: &str, line: &str) {
        let words = words(line);
        let piped = in_a_pipe(&mut self.command(caller, &words));
        let shown = on_a_terminal(&mut self.command(caller, &words));
        self.note(line, &piped);
        if shown == piped {
            self.text += "(the same on a terminal)\n\n";
        } else {
            self.note(&format!("{line} # on a terminal"), &shown);
        }
    }

    /// Has it say what it says so far in another way.
    pub fn rewrite(&mut self, rewrite: impl FnOnce(&str) -> String) {
        self.text = rewrite(&self.text);
    }

    /// Runs a command once.
    pub fn once(&mut self, line: &str) {
        self.once_by(ADMIN, line);
    }

    pub fn once_by(&mut self, caller: &str, line: &str) {
        let said = in_a_pipe(&mut self.command(caller, &words(line)));
        self.note(line, &said);
    }

    /// Runs a command once, on a terminal.
    pub fn shown(&mut self, line: &str) {
        self.shown_to(ADMIN, line);
    }

    pub fn shown_to(&mut self, caller: &str, line: &str) {
        let said = on_a_terminal(&mut self.command(caller, &words(line)));
        self.note(&format!("{line} # on a terminal"), &said);
    }

    /// Runs a command that goes on until it is interrupted, each time until it has said what there is.
    pub fn followed(&mut self, caller: &str, line: &str, until: &str) {
        let said = interrupted(&mut self.command(caller, &words(line)), until);
        self.note(&format!("{line} # until ctrl-c"), &said);
    }

    /// The same on a terminal.
    pub fn followed_on_a_terminal(&mut self, caller: &str, line: &str, until: &str) {
        let mut terminal = Terminal::start(&mut self.command(caller, &words(line)));
        terminal.wait_for(until);
        terminal.interrupt();
        self.note(&format!("{line} # until ctrl-c # on a terminal"), &terminal.end());
    }

    pub fn note(&mut self, line: &str, said: &Said) {
        let Said { text, code } = said;
        let text = text.replace(&self.address.to_string(), "SERVER");
        // What a command says of itself is always the same.
        let text = if line.contains("--help") { text } else { without_chance(&text) };
        let home = self.home.path().to_str().unwrap();
        let text = self.with_numbered_keys(&text.replace(home, "HOME"));
        let line = self.with_numbered_keys(&line.replace(&self.address.to_string(), "SERVER"));
        let _ = write!(self.text, "$ aap {line}\n{text}[{code}]\n\n");
    }

    /// A text with the ids of client keys, which are made by chance, in the order they came in.
    fn with_numbered_keys(&mut self, text: &str) -> String {
        let mut parts = text.split("KAAP.");
        let mut made = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (id, rest) = part.split_at_checked(36).unwrap_or(("", part));
            if Uuid::try_parse(id).is_err() {
                let _ = write!(made, "KAAP.{part}");
                continue;
            }
            let known = self.keys.iter().position(|key| key == id);
            let number = known.unwrap_or_else(|| {
                self.keys.push(id.to_owned());
                self.keys.len() - 1
            });
            let _ = write!(made, "KAAP.00000000-0000-4000-8000-{:012}{rest}", number + 1);
        }
        made
    }

    /// The id of the key in a client-key file.
    pub fn client_key(&self, file: &str) -> String {
        let text = fs::read_to_string(self.home.path().join(file)).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        file["KeyId"].as_str().unwrap().to_owned()
    }

    pub fn is(&self, expected: &ExpectFile) {
        expected.assert_eq(&self.text);
    }
}

/// The words of a line; spaces in apostrophes part nothing.
pub fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace()),
            _ => words.push(part),
        }
    }
    words
}

/// A line without the etags in it, wherever a terminal has broken it.
fn without_etags(line: &str) -> String {
    let is_etag = |part: &str| {
        let (hex, revision) = part.split_once('-').unwrap_or_default();
        hex.len() == 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            && revision.parse::<u64>().is_ok()
    };
    let parts = line.split('`').map(|part| if is_etag(part) { "…" } else { part });
    parts.collect::<Vec<_>>().join("`")
}

/// A text with what is made by chance left out.
fn without_chance(text: &str) -> String {
    let random = [
        "uid",
        "etag",
        "logId",
        "log",
        "leafHash",
        "fingerprint",
        "publicKeyPem",
        "certificatePem",
        "password",
        "expireTime",
        "nonce",
        "peer",
        "accessPointUid",
        "token",
        "token_sha256",
    ];
    let line = |line: &str| match line.split_whitespace().next() {
        Some(word) if random.contains(&word.trim_matches(|mark| "\":".contains(mark))) => {
            let indent = line.len() - line.trim_start().len();
            format!("{:indent$}{word} …\n", "")
        }
        Some(word) if word.starts_with("eyJ") => "eyJ…\n".to_owned(),
        Some(word) if word.starts_with("aaps_") => "aaps_…\n".to_owned(),
        Some("\"token\":") => "  \"token\": …\n".to_owned(),
        _ => format!("{}\n", without_etags(line)),
    };
    text.lines().map(line).collect()
}
