//! `aap audit`: evidence of the audit log, for who doesn't want to believe the server.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::server;

use super::{complain, say};

/// What to do about the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the public key that verifies the log's checkpoints, to be kept where the log isn't. If
    /// there were logs before it, theirs come first.
    Key(KeyArguments),
}

/// Whose key.
#[derive(Args, Debug)]
pub(super) struct KeyArguments {
    /// The data directory. A server may be using it.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Key(arguments) = command;
    match print_key(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn print_key(arguments: &KeyArguments) -> anyhow::Result<()> {
    for key in server::verifier_keys(&arguments.data_dir)? {
        say(key);
    }
    Ok(())
}
