//! `aap backup`: the journal and the audit log in one file, from which `aap restore` makes a data
//! directory.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tonic::Streaming;

use crate::{
    api::pb::{self, backup_service_client::BackupServiceClient},
    audit::tree::note::{Statement, VerifierKey},
    backup::{
        head::{Head, LogHead},
        passing::Passing,
        reading::{Archive, ArchiveError},
        source::Source,
        verifying::{self, Verified, VerifyError},
        writing::Backup,
    },
    clock::Clock,
    server::{self, VerifierKeysError},
    store::{
        cursors::tree::{CursorStore as _, Loaded},
        data_dir::DataDir,
        inspection::JournalCopy,
        journal::Journal as _,
    },
};

use super::{
    complain,
    evidence::read_keys,
    failure::Failure,
    progress::{Progress, shown_bytes},
    remote::{Server, answered, block_on},
    say,
    whole_file::WholeFile,
};

/// What to back up, and where to.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The file to write, for its owner alone; `-` is the standard output. It gets its name when all
    /// of it is there.
    #[arg(long, value_name = "FILE", required = true)]
    to: Option<PathBuf>,
    /// A data directory that no server is using, instead of a server.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where a copy of the journal of a data directory is put for as long as this runs: the engine
    /// writes to what it opens.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    #[command(flatten)]
    server: Server,
}

/// What to do with a backup.
#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a backup: every byte, every event and record, and what of it was signed. Exits with 0
    /// if it is whole, with 1 if not, and with 2 if it can't be looked at.
    Verify(VerifyArguments),
}

/// Which backup.
#[derive(Args, Debug)]
struct VerifyArguments {
    /// The backup.
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// A public key that may have signed it, as `aap audit key` printed it, or a file with such keys;
    /// can be given several times. Each part of the backup must be signed by one of them. Without any
    /// it is judged by the keys that it names itself.
    #[arg(long, value_name = "KEY")]
    public_key: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { command, to, data_dir, scratch, server } = arguments;
    if let Some(Command::Verify(arguments)) = command {
        return Ok(verify(arguments));
    }
    let to = to.as_ref().context("name a file to write")?;
    match data_dir {
        Some(data_dir) => of_stopped(data_dir, scratch, to)?,
        None => of_server(server, to)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Backs up a server that runs.
fn of_server(server: &Server, to: &Path) -> anyhow::Result<()> {
    let target = server.target_anywhere()?;
    let mut output = WholeFile::begin_private(to)?;
    let written = block_on(async {
        let mut client = BackupServiceClient::new(target.connect().await?);
        let backup = answered(client.stream_backup(pb::StreamBackupRequest {}).await)?;
        write_all(backup, &mut output, to).await.map_err(|error| unfinished(error, to))
    })?;
    let head = match output.reopen()? {
        Some(file) => Some(read_again(file)?),
        None => None,
    };
    keep(output, to, (head.as_ref(), written))
}

/// Writes what a server sends; says how many bytes.
async fn write_all(
    mut backup: Streaming<pb::StreamBackupResponse>,
    output: &mut WholeFile,
    to: &Path,
) -> anyhow::Result<u64> {
    let (mut written, mut progress) = (0, Progress::begin("backing up"));
    let (mut passing, what_came) = (Passing::default(), "what the server sent is no whole backup");
    while let Some(part) = backup.message().await.map_err(Failure::from)? {
        let pb::StreamBackupResponse { extent: _, content } = part;
        output.write_all(&content).with_context(|| format!("can't write `{}`", to.display()))?;
        passing.pass(&content).context(what_came)?;
        written += content.len() as u64;
        progress.reach(written, None);
    }
    // Who is between here and the server may have ended it as if it were whole.
    passing.end().context(what_came)?;
    Ok(written)
}

/// The same failure, and what is left of the backup.
fn unfinished(error: anyhow::Error, to: &Path) -> anyhow::Error {
    let left = match to.to_str() {
        Some("-") => "what came to the standard output is no backup: throw it away".to_owned(),
        _ => format!("nothing of it is kept: there is no `{}`", to.display()),
    };
    match error.downcast::<Failure>() {
        Ok(failure) => failure.and(left).into(),
        Err(error) => Failure::failed(format!("{error:#}"), vec![left]).into(),
    }
}

/// Reads what was written, so that a backup is whole when it gets its name.
fn read_again(file: File) -> anyhow::Result<Head> {
    let mut progress = Progress::begin("reading");
    let mut tell = |done, total| progress.reach(done, Some(total));
    let archive =
        Archive::open(Arc::new(file), &mut tell).context("what was written is no backup")?;
    Ok(archive.head().clone())
}

/// Backs up a data directory that no server uses.
fn of_stopped(path: &Path, scratch: &Path, to: &Path) -> anyhow::Result<()> {
    let data_dir = DataDir::inspect(path)?;
    let key = match server::verifier_key(&data_dir, data_dir.identity().log_id) {
        Err(VerifierKeysError::NoKeyYet) => None,
        key => Some(key?),
    };
    let copy = JournalCopy::open(&data_dir.path().join("journal"), scratch)?;
    let cursors = copy.journal().cursors()?;
    let Loaded { cursors, damaged, strays: _ } = cursors.load().map_err(anyhow::Error::msg)?;
    for damaged in damaged {
        complain(&anyhow::Error::new(damaged).context("an audit cursor is left out"));
    }
    let journal = (copy.journal().reader(), copy.journal().last());
    let when = Clock::system().now();
    let source = Source::of_stopped(&data_dir, journal, cursors, (key.as_ref(), when))?;
    let head = source.head().clone();
    let mut output = WholeFile::begin_private(to)?;
    let mut backup = Backup::begin(source)?;
    let (mut written, mut progress) = (0, Progress::begin("backing up"));
    while let Some(bytes) = backup.read()? {
        output.write_all(&bytes).with_context(|| format!("can't write `{}`", to.display()))?;
        written += bytes.len() as u64;
        progress.reach(written, None);
    }
    drop(progress);
    keep(output, to, (Some(&head), written))
}

/// Gives a backup its name, and says what is in it.
fn keep(output: WholeFile, to: &Path, (head, written): (Option<&Head>, u64)) -> anyhow::Result<()> {
    output.keep()?;
    // On the standard output nothing else is to be said.
    if let Some(head) = head.filter(|_| to.as_os_str() != "-") {
        say(format_args!("backed up {} in `{}`", shown_bytes(written), to.display()));
        tell(head);
        say("no key is in it: keep `checkpoint.key` apart, or a restore makes a new one");
    }
    Ok(())
}

/// Says what a backup has.
pub(super) fn tell(head: &Head) {
    say(format_args!("  journal    revisions 1 to {}", head.journal.revision));
    for LogHead { log_id, first, last } in &head.logs {
        match last.checked_sub(*first) {
            Some(_) => say(format_args!("  audit log  records {first} to {last} of {log_id}")),
            None => say(format_args!("  audit log  no record of {log_id}")),
        }
    }
    say(format_args!("  cursors    {}", head.cursors));
}

/// A backup that was read from end to end.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) archive: Arc<Archive>,
    pub(super) verified: Verified,
}

/// Reads and verifies a backup.
pub(super) fn read(path: &Path, public_keys: &[String]) -> anyhow::Result<Read> {
    let keys: Vec<_> = public_keys.iter().map(|key| read_keys(key)).collect::<Result<_, _>>()?;
    let named = || format!("`{}` can't be used", path.display());
    let file = File::open(path).with_context(|| format!("can't read `{}`", path.display()))?;
    let archive = {
        let mut progress = Progress::begin("reading");
        let mut tell = |done, total| progress.reach(done, Some(total));
        Arc::new(Archive::open(Arc::new(file), &mut tell).with_context(named)?)
    };
    let verified = verifying::verify(&archive, &keys.concat()).with_context(named)?;
    Ok(Read { archive, verified })
}

fn verify(arguments: &VerifyArguments) -> ExitCode {
    let VerifyArguments { backup, public_key } = arguments;
    match read(backup, public_key) {
        Ok(Read { archive, verified }) => {
            let head = archive.head();
            say(format_args!("backup of `{}`, made at {}", head.origin, head.time));
            tell(head);
            tell_signed(head, &verified);
            judge(&verified, !public_key.is_empty())
        }
        Err(error) => {
            complain(&error);
            if is_damage(&error) { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}

/// Says what is signed, and how much behind it isn't.
pub(super) fn tell_signed(head: &Head, Verified { journal, log, .. }: &Verified) {
    let last = head.logs.last().map_or(0, |log| log.last);
    for (statement, what, last) in
        [(journal, "changes", head.journal.revision), (log, "records", last)]
    {
        let Some(Statement { origin, size, .. }) = statement else { continue };
        match last.saturating_sub(*size) {
            0 => say(format_args!("`{origin}` signed the first {size} {what}, and so all")),
            rest => say(format_args!(
                "`{origin}` signed the first {size} {what}, and not the {rest} behind them"
            )),
        }
    }
}

/// Says by what it was judged, and what is wrong with it.
fn judge(Verified { key, problems, .. }: &Verified, is_trusted: bool) -> ExitCode {
    tell_key(key.as_ref(), is_trusted);
    for problem in problems {
        say(format_args!("DAMAGED: {problem}"));
    }
    if problems.is_empty() {
        say("it is whole");
        return ExitCode::SUCCESS;
    }
    say("it has every byte that it says it has, but not an audit log that is whole");
    say("  use another backup, or restore this one as it is: aap restore --accept-damage");
    ExitCode::FAILURE
}

/// Says by which key a backup was judged.
pub(super) fn tell_key(key: Option<&VerifierKey>, is_trusted: bool) {
    match key {
        Some(_) if is_trusted => say("all of it by the public keys that were given"),
        Some(key) => {
            say(format_args!("by the public key that it names itself: {key}"));
            say("  whoever wrote it could name any: give the one that you keep, by --public-key");
        }
        None => say("nothing in it is signed"),
    }
}

/// Whether something was found to be wrong, and not only that it can't be looked at.
fn is_damage(error: &anyhow::Error) -> bool {
    let archive = error.downcast_ref::<ArchiveError>();
    let verify = error.downcast_ref::<VerifyError>();
    !matches!(archive, Some(ArchiveError::Io(_)))
        && !matches!(verify, Some(VerifyError::Io(_) | VerifyError::Archive(ArchiveError::Io(_))))
        && (archive.is_some() || verify.is_some())
}
