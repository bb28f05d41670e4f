//! Secrets on their way to a person and back: files that nobody else can read, passwords on a terminal.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::failure::Failure;

/// More than a file with a secret has.
const MAX_BYTES: u64 = 256 * 1_024;

/// A new file for a secret, for its owner alone. Made before the secret is, so that nothing is made
/// that can't be kept; removed again if nothing is written to it.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    /// Nothing, once it is written.
    file: Option<File>,
}

impl NewFile {
    /// Makes the file; one that is there stays as it is.
    pub(super) fn make(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(path);
        let file = made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = format!("`{}` is there already", path.display());
                let remedy = "a secret is never written over a file: name another one".to_owned();
                Failure::conflict(message, vec![remedy]).into()
            }
            _ => anyhow::Error::new(error).context(format!("can't make `{}`", path.display())),
        })?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// Writes the secret. It is on disk when this returns.
    pub(super) fn write(mut self, secret: &[u8]) -> anyhow::Result<()> {
        let failed = || format!("can't write `{}`", self.path.display());
        if let Some(file) = &mut self.file {
            file.write_all(secret).and_then(|()| file.sync_all()).with_context(failed)?;
        }
        self.file = None;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where a password comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum PasswordSource<'a> {
    /// The first line of a file; `-` is the standard input.
    File(&'a Path),
    /// A person at a terminal.
    Terminal,
}

/// Reads a token: the first line of a file; `-` is the standard input.
pub(super) fn read_token(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let line = first_line_of(path)?;
    if line.is_empty() {
        return Err(Failure::invalid("there is no token", Vec::new()).into());
    }
    Ok(line)
}

/// Reads a password.
pub(super) fn read_password(source: PasswordSource<'_>) -> anyhow::Result<Zeroizing<String>> {
    let line = match source {
        PasswordSource::File(path) => first_line_of(path)?,
        PasswordSource::Terminal => ask()?,
    };
    if line.is_empty() {
        return Err(Failure::invalid("there is no password", Vec::new()).into());
    }
    Ok(line)
}

/// Asks a person, without showing what is typed.
fn ask() -> anyhow::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let remedy = "name a file with it: --password-file FILE".to_owned();
        return Err(Failure::invalid("which password?", vec![remedy]).into());
    }
    let before = tcgetattr(&stdin).context("can't ask for the password")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // What was typed ahead, and shown, is no password.
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("can't ask for the password")?;
    let mut stderr = io::stderr();
    let _ = write!(stderr, "Password: ").and_then(|()| stderr.flush());
    let line = first_line(&stdin);
    let _ = tcsetattr(&stdin, OptionalActions::Now, &before);
    let _ = writeln!(stderr);
    line
}

fn first_line_of(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    if path == Path::new("-") {
        return first_line(io::stdin());
    }
    let file = File::open(path).map_err(Into::into);
    file.and_then(first_line).with_context(|| format!("can't read `{}`", path.display()))
}

fn first_line(from: impl io::Read) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(from.take(MAX_BYTES)).read_line(&mut line)?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(line)
}

/// Reads a file with a secret in it.
pub(super) fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let failed = || format!("can't read `{}`", path.display());
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).with_context(failed)?;
    file.take(MAX_BYTES).read_to_string(&mut text).with_context(failed)?;
    Ok(text)
}

/// Shows a password to a person, this once. It goes to a terminal and nowhere else.
pub(super) fn show_password(password: &str) {
    let _ = writeln!(io::stderr(), "password  {password}\n(shown this once, and kept nowhere)");
}

/// Whether there is a person to show a password to.
pub(super) fn has_terminal() -> bool {
    io::stderr().is_terminal()
}
