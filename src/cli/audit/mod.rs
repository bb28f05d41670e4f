//! `aap audit`: evidence of the audit log, for who doesn't want to believe the server.

mod cursor;
mod export;
mod filter;
mod format;
mod line;
mod list;
mod online;
mod showing;
mod tail;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::server;

use super::{evidence::Verdict, remote::Server, say};

/// What to do about the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the public key that verifies the log's checkpoints, to be kept where the log isn't. If
    /// there were logs before it, theirs come first.
    Key(KeyArguments),
    /// Print the last checkpoint, of a server or of a data directory, to be kept where the log isn't.
    Checkpoint(CheckpointArguments),
    /// Export records with what proves them.
    Export(export::Arguments),
    /// Verify an export, or that a log, a server's or a data directory's, continues checkpoints kept
    /// elsewhere. Exits with 0 if everything is as it was signed, with 1 if not, and with 2 if it
    /// can't be told.
    Verify(verify::Arguments),
    /// List records that are there, the last one first.
    List(Box<list::Arguments>),
    /// Show records as they come, from the server; goes on after a lost connection where it was.
    Tail(Box<tail::Arguments>),
    /// Have the server keep places in the log, and read on from them.
    #[command(subcommand)]
    Cursor(cursor::Command),
}

/// Whose.
#[derive(Args, Debug)]
pub(super) struct KeyArguments {
    /// The data directory. A server may be using it.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

/// Whose checkpoint.
#[derive(Args, Debug)]
pub(super) struct CheckpointArguments {
    /// The data directory, instead of a server. A server may be using it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A log of before in the data directory, by its id, as `aap audit key` names it.
    #[arg(long, value_name = "LOG_ID", requires = "data_dir")]
    log: Option<Uuid>,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Key(arguments) => print_keys(arguments)?,
        Command::Checkpoint(arguments) => print_checkpoint(arguments)?,
        Command::Export(arguments) => export::run(arguments)?,
        Command::Verify(arguments) => return Ok(Verdict::tell(verify::run(arguments))),
        Command::List(arguments) => list::run(arguments)?,
        Command::Tail(arguments) => tail::run(arguments)?,
        Command::Cursor(command) => cursor::run(command)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_keys(arguments: &KeyArguments) -> anyhow::Result<()> {
    for key in server::verifier_keys(&arguments.data_dir)? {
        say(key);
    }
    Ok(())
}

fn print_checkpoint(arguments: &CheckpointArguments) -> anyhow::Result<()> {
    let CheckpointArguments { data_dir, log, server } = arguments;
    let Some(data_dir) = data_dir else {
        let note = online::last_checkpoint(server)?;
        say(note.trim_end_matches('\n'));
        return Ok(());
    };
    let server::OpenedSignedLog { log, verifier } = server::open_signed_log(data_dir, *log)?;
    let checkpoint = log.latest();
    let note = verifier.note(&checkpoint.statement(verifier.name()), &checkpoint.signature);
    say(note.trim_end_matches('\n'));
    Ok(())
}
